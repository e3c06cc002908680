"""The page's phrases: each is used, each used one is there, and another language leaves no English."""

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from project_files import ROOT
from test_published_law import ASKED, hired

from clinometer.errors import UsageError
from clinometer.published_law import published
from clinometer.records import Audit, Review, plain
from clinometer.visualizers import page, plates
from clinometer.visualizers.local_law_section import markdown
from clinometer.visualizers.phrases import english, languages, phrases
from clinometer.visualizers.wording import WORDS
from reference.answered import drawn_fix, drawn_gap
from reference.bracketed import PARTS, WORD, bracketed, everything, outside_brackets, said_by
from reference.reviews import sample_review

HERE = ROOT / "visualizers"
TEMPLATES = ("report.html.j2", "heads_out.html.j2", "fix.html.j2", "local_law_144.html.j2")
FIGURES = (
    *(
        "gaps",
        "rows",
        "intersections",
        "dumbbells",
        "calibration_curves",
        "threshold_sweep",
        "slice_table",
        "tokens",
    ),
    *("ledger", "accounts", "gap_parts", "mediation", "pareto", "faithful", "heads", "maps", "plates"),
)
MODULES = ("page", "wording", "answers", "answer_sentences", "local_law_section", *FIGURES)
CODE = re.compile(r"\{%.*?%\}|\{\{.*?\}\}|\{#.*?#\}", re.DOTALL)
READ = ("alt", "title", "aria-label")


def sources() -> dict[str, str]:
    files = [*(HERE / "templates" / name for name in TEMPLATES), *(HERE / f"{name}.py" for name in MODULES)]
    return {file.name: file.read_text(encoding="utf-8") for file in files}


def test_every_phrase_is_used_and_every_phrase_used_is_there() -> None:
    text = "\n".join(sources().values())
    used = set(
        re.findall(
            r"""(?:\bt|\bsay|\bsaid|\bplain|\btell)\(\s*["']([a-z][a-z0-9-]*\.[a-z0-9_-]+)["']""", text
        )
    )
    assert used - set(english().texts) == set()
    quoted = set(re.findall(r"""["']([a-z][a-z0-9-]*\.[a-z0-9_-]+)["']""", text))
    assert set(english().texts) - quoted == set()
    assert set(WORDS.values()) <= set(english().texts)


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_sentence_is_left_in_a_template(name: str) -> None:
    text = sources()[name]
    assert words_outside(text) == []
    assert words_outside(text.replace("<p>", "<p>Planted here ", 1)) == ["Planted", "here"]
    assert texts_inside(text) == []
    assert texts_inside(text + '{{ "planted here" if a else b }}') == ["planted here"]


def words_outside(text: str) -> list[str]:
    """Words of a template that no expression gives: its text, and what is read out."""
    text = re.sub(
        r"<style>.*?</style>|<script>.*?</script>|<meta [^>]*>|<!doctype html>", "", text, flags=re.DOTALL
    )
    text = CODE.sub(lambda found: re.sub(r"[<>\"\w]", "_", found[0]), text)
    read = re.findall(rf'(?:{"|".join(READ)})="([^"]*)"', text)
    return [
        word
        for part in (re.sub(r"<[^>]+>", " ", text), *read)
        for word in WORD.findall(part)
        if "_" not in word
    ]


def texts_inside(text: str) -> list[str]:
    """Texts of several words that an expression of a template spells out."""
    inside = " ".join(CODE.findall(text)).replace('class="', "")
    return [one for one in re.findall(r'"([^"]*)"', inside) if len(WORD.findall(one)) > 1 and " " in one]


# Another language


class Pieces(HTMLParser):
    """All text of a page, what is read out included, a line for each piece; captions of figures by themselves."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self.captions: list[str] = []
        self.silent = self.caption = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.silent = tag in {"style", "script"}
        self.caption = tag == "figcaption"
        self.pieces += [value for name, value in attrs if name in READ and value and tag != "img"]
        self.captions += [value for name, value in attrs if name == "alt" and value]

    def handle_endtag(self, tag: str) -> None:
        self.silent = self.caption = False

    def handle_data(self, text: str) -> None:
        if not self.silent:
            (self.captions if self.caption else self.pieces).append(text)


@pytest.fixture(scope="module")
def reviews() -> dict[str, Review]:
    made = sample_review(rows=120, layers=1, heads=2)
    full = {
        "why": (drawn_gap(), drawn_gap(verified=False, group="x")),
        "mitigated": drawn_fix(),
        "law": published(hired(), ASKED),
    }
    empty = Audit(title="", n=0, plan={}, cells=(), findings=(), verdicts=(), verdict=None)
    nothing = {
        "measures": None,
        "ledgers": (),
        "views": (),
        "attribution": {},
        "certificate": {},
        "limits": (),
    }
    bare = dataclasses.replace(made, **nothing, heads=(), curves=None)
    return {
        "full": dataclasses.replace(made, **full),
        "bare": bare,
        "reasons": dataclasses.replace(bare, curves="§ no label", slices="§ one column"),
        "empty": dataclasses.replace(bare, audit=empty),
    }


def blank(review: Review) -> plates.Drawn:
    """Pictures of one pixel with captions: what is drawn in them is tested with the figures."""
    made = []
    for metric in plates.drawn_metrics(review.audit):
        made += [("rates", metric), ("gaps", metric)]
    made += [("intersections", "race & sex"), ("errors", ""), ("attribution", ""), ("calibration", "0")]
    png = plates.encoded(Figure(figsize=(1, 1)), "png", dpi=1)
    pictures = tuple(
        plates.Plate(name=f"p{i}", kind=kind, about=about, figure=Figure(), alt=f"caption {i}")
        for i, (kind, about) in enumerate(made)
    )
    head = plates.Head(layer=0, head=0, effect=0.5, attends="data:", matters="data:", alt="caption of a head")
    return plates.Drawn(
        plates=pictures, png={one.name: png for one in pictures}, heads=((head,),) * len(review.views)
    )


@pytest.mark.parametrize("name", ["full", "bare", "reasons", "empty"])
def test_in_another_language_all_that_is_no_data_is_said_in_it(
    name: str, reviews: dict[str, Review], tmp_path: Path
) -> None:
    review = reviews[name]
    drawn = blank(review)
    text = page.render(review, drawn, explorer="explorer.html", language=str(bracketed(tmp_path)))
    assert '<html lang="xx">' in text and text.count("⟦") > 60
    found = Pieces(text)
    assert unsaid(found, review) == []
    assert len(unsaid(Pieces(page.render(review, drawn)), review)) > 50, "the negative control: English"
    captions = {plate.alt for plate in drawn.plates} | {head.alt for heads in drawn.heads for head in heads}
    assert {one for one in found.captions if "⟦" not in one} <= captions, "captions belong to figures"


def unsaid(found: Pieces, review: Review) -> list[str]:
    """What a page says outside brackets, and no record of the review does."""
    data = said_by(json.loads(json.dumps(plain(review), default=str)))
    for answer in (*review.why, *([review.mitigated] if review.mitigated else [])):
        known = said_by(json.loads(json.dumps(everything(answer.found), default=str)))
        data = (data | known) - said_by(list(answer.sentences))
    parts = [part.strip() for line in outside_brackets(found.pieces) for part in PARTS.split(line)]
    return [
        part
        for part in parts
        if WORD.search(part) and part.strip(" .") not in data and not part.startswith("clinometer audit")
    ]


# Files


def test_english_is_there_and_the_default() -> None:
    assert languages() == ["en"] and phrases() is english()
    assert next(iter(english().texts)) == "page.language"


def test_a_phrase_holds_marks_and_no_other_element() -> None:
    texts = {"a.b": '<em>x</em> & {n} <script>"{n}"</script> <em onclick=1>', "a.c": "one<br>two {n}"}
    made = type(english())(texts)
    assert made("a.b", n="<b>") == (
        "<em>x</em> &amp; &lt;b&gt; &lt;script&gt;&quot;&lt;b&gt;&quot;&lt;/script&gt; &lt;em onclick=1&gt;"
    )
    assert made.plain("a.c", n="<b>") == "one two <b>"
    with pytest.raises(KeyError):
        made("a.b")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda texts: texts.pop("nav.who"), r"lacks the phrase 'nav.who'; its English is 'Who'"),
        (
            lambda texts: [texts.pop(key) for key in list(texts)[5:9]],
            r"lacks the phrase '[\w.-]+' \(and 3 more\)",
        ),
        (
            lambda texts: texts.update({"nav.whom": "x"}),
            "has a phrase 'nav.whom' that no page uses: did you mean",
        ),
        (lambda texts: texts.update({"who.tables_by": "x"}), "'who.tables_by' lacks {attribute}"),
        (lambda texts: texts.update({"nav.who": "{x}"}), "'nav.who' has {x}; no fields are expected"),
        (lambda texts: texts.update({"nav.who": 1}), "holds no phrases: an object is expected"),
    ],
    ids=["missing", "several", "unknown", "field", "more fields", "kind"],
)
def test_a_language_that_is_not_whole_is_refused_and_the_first_is_named(
    change, said: str, tmp_path: Path
) -> None:
    texts = dict(english().texts)
    change(texts)
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(texts), encoding="utf-8")
    with pytest.raises(UsageError, match=said):
        phrases(str(file))


@pytest.mark.parametrize("name", ["zz", "../en", "en/../en", ""])
def test_a_language_without_a_file_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"no phrases in .*report\.en\.json is one to begin with"):
        phrases(name)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Name a file of phrases"):
        phrases(str(tmp_path / "none.json"))


def test_the_markdown_of_the_city_stays_english() -> None:
    assert "Audited by" in markdown(published(hired(), ASKED).tables)
