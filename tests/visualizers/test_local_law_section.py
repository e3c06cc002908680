"""The section on Local Law 144: the rule's own columns, no verdict, and names that are only names."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from clinometer.bias.local_law_144 import LocalLaw144, local_law_144
from clinometer.evidence import from_columns
from clinometer.visualizers.local_law_section import Publication, markdown, section
from clinometer.visualizers.wording import number

SCRIPT = "<script>alert(1)</script>"
BAR = "a | b\n| c"


def audited(rate="selection rate", races=("White", "Black", SCRIPT, BAR), n=600) -> LocalLaw144:
    draw = np.random.default_rng(0)
    race = [None if draw.random() < 0.03 else str(value) for value in draw.choice(races, n)]
    columns = {
        "id": [str(i) for i in range(n)],
        "sex": draw.choice(["female", "male"], n).tolist(),
        "race": race,
        "hired": draw.integers(0, 2, n),
        "score": draw.random(n),
    }
    made = from_columns(columns, id="id", prediction="hired", score="score", groups=("sex", "race"))
    return local_law_144(made, sex="sex", race_ethnicity="race", rate=rate, races=("Nobody",))


class Cells(HTMLParser):
    """The rows of every table, and every element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.seen: list[str] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th"}:
            self.inside = False

    def handle_data(self, text: str) -> None:
        if self.inside:
            self.rows[-1][-1] += text


@pytest.mark.parametrize("rate", ["selection rate", "scoring rate"])
def test_every_number_of_the_section_is_the_records(rate):
    made = audited(rate)
    rows = Cells(section(made)).rows
    heads = [row for row in rows if row[0] == "category"]
    assert len(heads) == 3, "by sex, by race, by both"
    assert ("selected" in heads[0]) is (rate == "selection rate")
    body = [row for row in rows if row[0] != "category"]
    assert len(body) == len(made.categories)
    for row, one in zip(body, made.categories, strict=True):
        selected = [number(one.n_selected)] if rate == "selection rate" else []
        interval = "–" if one.low is None else f"[{number(one.low)}, {number(one.high)}]"
        assert row[0] == one.category
        assert row[1:-1] == [
            number(one.n_applicants), *selected, number(one.rate), number(one.impact_ratio), interval,
        ]  # fmt: skip
        assert row[-1].startswith(one.status)


def test_a_category_with_no_applicants_is_shown_without_a_number():
    row = next(row for row in Cells(section(audited())).rows if row[0] == "Nobody")
    assert row[1:] == ["0", "0", "–", "–", "–", "insufficient: no applicants"]


def test_applicants_of_no_category_are_counted_under_each_table():
    made = audited()
    counts = re.findall(r"in none of these rates: (\d+)\.", section(made))
    assert counts == [str(one.n_applicants) for one in made.unknown] and int(counts[1]) > 0
    assert re.findall(r"in none of these rates: (\d+)\.", markdown(made)) == counts


def test_names_are_only_names():
    page = section(audited())
    assert SCRIPT not in page and "&lt;script&gt;" in page
    assert "script" not in Cells(page).seen
    text = markdown(audited())
    assert SCRIPT not in text
    for table in re.findall(r"(?:^\|.*\|\n)+", text, flags=re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    assert text.count("\n### ") == 3


def test_what_the_rule_has_published_is_said_or_said_to_be_missing():
    page = section(audited())
    assert page.count("not said") == 4
    said = Publication(audited="2026-11-03", distributed="2026-12-01", source=SCRIPT, auditor="somebody else")
    page = section(audited(), said)
    assert "not said" not in page and "2026-11-03" in page and SCRIPT not in page
    assert "| Date of the audit | 2026-11-03 |" in markdown(audited(), said)
    assert "median of all scores" in section(audited("scoring rate"))


def test_there_is_no_verdict_and_the_section_can_be_put_into_a_page():
    page = section(audited())
    assert page.startswith('<section id="local-law-144"') and page.rstrip().endswith("</section>")
    assert hasattr(page, "__html__"), "a template takes it as it is"
    words = re.sub(r"<[^>]*>", " ", page).lower()
    assert "carry no verdict" in words
    for verdict in ("within tolerance", "exceeds tolerance", "four-fifths", " passes the", "fails the"):
        assert verdict not in words
