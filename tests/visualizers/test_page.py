"""The page: every number from the record, every name as text, nothing from outside, nothing undefined."""

import dataclasses
import html
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from clinometer.records import Audit, Review
from clinometer.visualizers import fonts, page, plates
from clinometer.visualizers.wording import number, signed
from reference.reviews import HOSTILE, SCRIPT, sample_review

VOID = {"meta", "img", "br", "link", "input"}


class Parsed(HTMLParser):
    """Elements, their text, and whether every element is closed by itself."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.data: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "data":
            self.data.append(str(dict(attrs)["value"]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.words.append(text)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def review() -> Review:
    return sample_review()


@pytest.fixture(scope="module")
def rendered(review: Review) -> str:
    return page.render(review)


@pytest.fixture(scope="module")
def parsed(rendered: str) -> Parsed:
    return Parsed(rendered)


@pytest.fixture(scope="module")
def hostile() -> str:
    return page.render(sample_review(hostile=True, rows=300, layers=2, heads=2))


def bare(review: Review) -> Review:
    """A review with nothing but an audit that gates nothing."""
    return dataclasses.replace(
        review,
        measures=None,
        ledgers=(),
        views=(),
        attribution={},
        certificate={},
        model={},
        data={},
        feature_notes=(),
        limits=(),
        provenance={},
        sign_off={},
    )


def test_same_review_same_page() -> None:
    first, second = (page.render(sample_review(rows=200, layers=1, heads=2)) for _ in range(2))
    assert first == second


def test_page_is_small_and_needs_nothing_from_outside(rendered: str, parsed: Parsed) -> None:
    assert len(rendered.encode()) < 5_000_000
    assert re.search(r"https?://|//cdn|@import|url\(", rendered) is None
    assert all(str(image["src"]).startswith("data:image/png;base64,") for image in parsed.named("img"))
    assert parsed.named("link") == [] and all("src" not in script for script in parsed.named("script"))
    policy = next(
        m["content"] for m in parsed.named("meta") if m.get("http-equiv") == "Content-Security-Policy"
    )
    assert str(policy).startswith("default-src 'none'; img-src data:;")


def test_every_picture_has_words_and_every_table_headings(rendered: str, parsed: Parsed) -> None:
    assert len(parsed.named("img")) > 10
    assert all(len(str(image.get("alt") or "")) > 20 for image in parsed.named("img"))
    assert len(parsed.named("caption")) == len(parsed.named("table"))
    assert all(cell.get("scope") in {"col", "row", "rowgroup"} for cell in parsed.named("th"))
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {str(a["href"]).removeprefix("#") for a in parsed.named("a")}
    assert links <= set(map(str, ids))


def test_sections_stand_in_order(parsed: Parsed) -> None:
    sections = [attributes["id"] for attributes in parsed.named("section")]
    assert sections == [
        "verdict", "who", "combinations", "errors", "thresholds", "measures", "why", "heads-out", "fix",
        "attention", "trust", "made", "limits",
        "sign-off", "reproduce",
    ]  # fmt: skip


def test_every_number_of_the_audit_is_on_the_page(review: Review, parsed: Parsed) -> None:
    there = set(parsed.data)
    assert review.measures is not None
    for audit in (review.audit, review.measures):
        for cell in audit.cells:
            if audit is review.measures and cell.group == "(all)":
                continue
            for value in (cell.n_rows, cell.n, cell.k, cell.estimate, cell.low, cell.high):
                assert value is None or str(value) in there
        for f in audit.findings:
            values = [f.n_group, f.n_reference, f.estimate, f.low, f.high, f.p, f.p_adjusted]
            values += [f.minimum_detectable_effect]
            values += [f.upper_bound, f.n_needed, f.tolerance] if audit is review.audit else []
            for value in values:
                assert value is None or str(value) in there


def test_every_number_of_the_curves_is_on_the_page(review: Review, parsed: Parsed) -> None:
    there = set(parsed.data)
    assert len(review.curves.reliability) == 2 and len(review.curves.thresholds) == 4
    for one in review.curves.reliability:
        for group in one.groups:
            assert {str(v) for v in (group.n, group.excess, group.low, group.high) if v is not None} <= there
    for one in review.curves.thresholds:
        enough = one.denominator >= one.min_group
        for part in (one.estimate[enough], one.low[enough], one.high[enough], one.gap, one.gap_low):
            assert {str(v) for v in part.tolist() if v == v} <= there
        assert one.current in one.threshold
    assert parsed.text.count("in use") >= 4


def test_groups_too_small_are_said_to_be_and_have_no_rate() -> None:
    text = Parsed(page.render(bare(sample_review(rows=40, layers=1, heads=1)))).text
    assert re.search(r"insufficient: [0-4] rows, the policy asks for 5", text)
    assert re.search(r"too few [0-4] ", text)


@pytest.mark.parametrize(
    ("curves", "said"),
    [
        (
            "there is no label",
            ["Calibration was not looked at: there is no label.", "at: there is no label."],
        ),
        (
            None,
            [
                "Calibration was not looked at: this review was made before",
                "No other threshold was looked at:",
            ],
        ),
    ],
    ids=["reason", "older"],
)
def test_without_curves_the_page_says_why(review: Review, curves: str | None, said: list[str]) -> None:
    text = Parsed(page.render(dataclasses.replace(bare(review), curves=curves))).text
    assert all(sentence in text for sentence in said)
    assert "Calibration by" not in text
    assert ("Calibration and other thresholds were not looked at." in text) == (curves is not None)


def test_every_share_is_on_the_page_and_the_identity_is_printed(review: Review, parsed: Parsed) -> None:
    there = set(parsed.data)
    for account in review.ledgers:
        for s in account.shares:
            for value in (s.estimate, s.low, s.high, s.simultaneous_low, s.simultaneous_high):
                assert str(value) in there
        written = f"residual {signed(account.residual)} = gap {signed(account.gap)}"
        assert written in re.sub(r"\s+", " ", parsed.text)


def test_every_heads_statistics_are_on_the_page_with_their_n(review: Review, rendered: str) -> None:
    table = rendered.partition("Statistics of each head")[2].partition("</table>")[0]
    assert table.count("<tr>") == len(review.heads) + 1
    for column in review.heads[0].shares:
        assert f">{column}</th>" in table
    assert table.count(">itself</td>") == sum("itself" in head.roles for head in review.heads) > 0
    assert f"means over {review.heads[0].n_queries} queries of {review.heads[0].n_examples} rows" in rendered
    assert "it says nothing about what the head does" in rendered
    without = page.render(dataclasses.replace(review, heads=()))
    assert "Statistics of each head" not in without


def test_a_number_reads_as_its_value(rendered: str) -> None:
    pairs = re.findall(r'<data value="([^"]+)">([^<]+)</data>', rendered)
    assert len(pairs) > 2000
    for value, shown in pairs:
        if shown.startswith("&lt;"):
            assert float(value) < 0.0001
            continue
        read = float(html.unescape(shown).replace("−", "-").replace(",", ""))
        assert read == pytest.approx(float(value), abs=6e-4, rel=0.05)


def test_verdict_policy_and_who_set_it_come_first(review: Review, parsed: Parsed) -> None:
    opening = parsed.text[: parsed.text.index("Verdict per attribute")]
    assert "Exceeds tolerance" in opening and "the authors of the tests" in opening
    worst = page.worst_gap(review.audit)
    assert worst is not None and signed(worst.estimate) in opening and number(review.audit.n) in opening
    assert "unknown" in parsed.text and "compared with nobody" in parsed.text


def test_words_that_claim_too_much_are_not_used(parsed: Parsed) -> None:
    said = parsed.text.replace("differential fairness", "")  # the published name of a quantity
    assert re.search(r"\b(un)?(fair|biased|because|fairness)\b", said, re.IGNORECASE) is None
    assert "is not evidence of equality" in parsed.text
    assert "not a cause" in parsed.text and "Attention is not an explanation" in parsed.text


def test_nothing_undefined(parsed: Parsed) -> None:
    assert re.search(r"\b(None|nan|Undefined|inf)\b", parsed.text) is None


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_text(name: str, hostile: str) -> None:
    parsed = Parsed(hostile)
    assert name in "".join(parsed.words)
    assert len(parsed.named("script")) == 1 and len(parsed.named("style")) == 1 and parsed.named("b") == []
    assert SCRIPT not in hostile
    assert not any(key.startswith("on") for _, attributes in parsed.elements for key in attributes)


def test_a_hostile_page_stays_under_its_size(hostile: str) -> None:
    assert len(hostile.encode()) < 5_000_000


def test_a_review_with_nothing_else_is_still_a_page(review: Review) -> None:
    parsed = Parsed(page.render(bare(sample_review(tolerance=False, rows=200, layers=1, heads=1))))
    assert "No tolerance declared" in parsed.text and "nobody set one" in parsed.text
    for said in (
        "No measures were tested",
        "No ledger was made",
        "No attention map was kept",
        "No limit was stated",
    ):
        assert said in parsed.text
    assert re.search(r"\b(None|nan|Undefined)\b", parsed.text) is None


def test_an_empty_audit_is_still_a_page(review: Review) -> None:
    empty = Audit(title="", n=0, plan={}, cells=(), findings=(), verdicts=(), verdict=None)
    assert (
        "no pair could be compared"
        in Parsed(page.render(dataclasses.replace(bare(review), audit=empty))).text
    )


def test_not_assessed_pairs_are_listed(review: Review) -> None:
    changed = dataclasses.replace(
        review.audit.findings[0],
        estimate=None,
        low=None,
        high=None,
        verdict="not assessed",
        reason="black: 2 rows",
    )
    audit = dataclasses.replace(
        review.audit, findings=(changed, *review.audit.findings[1:]), verdict="not assessed"
    )
    text = Parsed(page.render(dataclasses.replace(bare(review), audit=audit))).text
    assert "no estimate, black: 2 rows" in text and "Not assessed" in text


def test_report_id_is_of_the_content_and_not_of_the_time(review: Review) -> None:
    later = dataclasses.replace(review, created="2031-01-01T00:00:00+00:00")
    assert page.report_id(later) == page.report_id(review)
    assert page.report_id(dataclasses.replace(review, title="another")) != page.report_id(review)


def test_figures_are_saved_twice_each_with_names_that_any_system_takes(tmp_path: Path) -> None:
    review = sample_review(hostile=True, rows=200)
    drawn = plates.draw(review)
    names = [plate.name for plate in drawn.plates]
    written = plates.save_figures(drawn, tmp_path / "figures")
    assert [p.name for p in written] == [f"{name}.{kind}" for name in names for kind in ("png", "svg")]
    assert all(re.fullmatch(r"[a-z0-9-]+\.(png|svg)", path.name) for path in written)
    assert len({path.name for path in written}) == len(written)
    for kind in ("rates-selection-rate", "gaps-selection-rate", "attribution-mean", "heads-0", "ledger-sex"):
        assert any(name.startswith(kind) for name in names)


def test_the_command_can_be_pasted(rendered: str) -> None:
    command = "clinometer audit evidence.parquet --label label --prediction prediction --score score"
    assert f"{command} --group race --group sex --policy policy.toml" in rendered


def test_drawing_shows_its_progress_only_where_asked(capfd: pytest.CaptureFixture[str]) -> None:
    review = sample_review(rows=200, layers=1, heads=2)
    plates.draw(review)
    assert capfd.readouterr().err == ""
    drawn = plates.draw(review, progress=True)
    total = len(drawn.plates) + sum(map(len, drawn.heads))
    assert f"{total}/{total}" in capfd.readouterr().err


def test_drawn_once_or_anew_the_page_is_the_same() -> None:
    review = sample_review(rows=200, layers=1, heads=2)
    assert page.render(review, plates.draw(review)) == page.render(review)


def test_characters_without_a_font_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    review = sample_review(hostile=True, rows=200, layers=1, heads=1)
    latin = frozenset(range(0x250))
    monkeypatch.setattr(fonts, "_drawable", lambda: latin)
    assert "has (信 用 🏠 " in Parsed(page.render(review)).text
    everything = frozenset(range(0x110000))
    monkeypatch.setattr(fonts, "_drawable", lambda: everything)
    assert "that no font" not in Parsed(page.render(review)).text


def test_the_page_links_to_an_explorer_only_where_one_lies_beside_it(rendered: str) -> None:
    review = bare(sample_review(rows=60, layers=1, heads=1))
    without, linked = page.render(review), page.render(review, explorer="explorer.html")
    assert "explorer" not in rendered and "explorer" not in without
    (link,) = [a for a in Parsed(linked).named("a") if not str(a["href"]).startswith("#")]
    assert link["href"] == "explorer.html"
    assert page.without_explorer(linked) == without


def test_only_so_many_maps_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plates, "MOST_MAPS", 6)
    text = page.render(sample_review(rows=200))
    assert "The 3 of 12 heads with the largest effect" in text
