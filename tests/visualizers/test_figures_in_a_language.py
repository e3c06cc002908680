"""Figures of a report in another language: no word of English is in them, nor in the sentences beside them."""

import dataclasses
import json
import re
import threading
from pathlib import Path

import pytest

from clinometer.records import Review, plain
from clinometer.visualizers import maps, page, palette, plates
from clinometer.visualizers.phrases import current, english, phrases, said, speaking
from clinometer.visualizers.wording import drawn_word, opening, spoken
from reference.answered import drawn_fix, drawn_gap
from reference.bracketed import WORD, bracketed, everything, said_by
from reference.pictured import records
from reference.reviews import sample_review

INSIDE = re.compile(r"⟦[^⟦⟧]*⟧")
UNITS = {"logit", "rate"}  # of numbers, as the records name them


@pytest.fixture(scope="module")
def review() -> Review:
    return dataclasses.replace(
        sample_review(rows=300, layers=2, heads=2),
        why=(drawn_gap(), drawn_gap(verified=False, group="x")),
        mitigated=drawn_fix(),
        faithfulness=records()["methods"],
        slices=records()["slices"],
    )


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bracketed(tmp_path_factory.mktemp("language"))


def pieces(plate: plates.Plate) -> list[str]:
    """Every text of a figure, and the sentence beside it; titles are broken into lines."""
    return [*texts(plate.figure), plate.alt]


def texts(figure) -> list[str]:
    figure.draw_without_rendering()
    drawn = [one for one in figure.findobj() if hasattr(one, "get_text") and one.get_visible()]
    return [" ".join(one.get_text().split()) for one in drawn]


def outside(written: list[str], known: set[str]) -> list[str]:
    """Words that are in no bracket and in no record."""
    left = []
    for text in written:
        while INSIDE.search(text):
            text = INSIDE.sub(" ", text)
        names = [name for name in known if name in text] if WORD.search(text) else []
        for name in sorted(names, key=len, reverse=True):
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", " ", text)
        left += WORD.findall(text)
    return left


@pytest.fixture(scope="module")
def known(review: Review) -> set[str]:
    found = said_by(json.loads(json.dumps(plain(review), default=str)))
    for answer in (*review.why, review.mitigated):
        found |= said_by(json.loads(json.dumps(everything(answer.found), default=str)))
    found -= {one for answer in (*review.why, review.mitigated) for one in answer.sentences}
    metrics = {spoken(cell.metric) for cell in review.audit.cells}
    own = UNITS | metrics | set(map(opening, metrics))
    return {one for one in found if len(one) > 1} - set(english().texts.values()) | own


def test_no_english_is_left_in_a_figure_or_beside_it(review: Review, other: Path, known: set[str]) -> None:
    with speaking(phrases(str(other))):
        made = plates.plates(review)
        alone = [draw(review.views[0], 0, 0) for draw in (maps.attention_map, maps.contribution_map)]
    kinds = {one.kind for one in made}
    assert kinds >= {"rates", "gaps", "intersections", "errors", "calibration", "thresholds", "slices"}
    assert kinds >= {"attribution", "ledger", "parts", "heads-out", "fixes", "faithfulness", "heads", "map"}
    left = {one.name: outside(pieces(one), known) for one in made}
    left |= {f"alone {i}": outside(texts(figure), known) for i, figure in enumerate(alone)}
    assert {name: words for name, words in left.items() if words} == {}
    in_english = [outside(pieces(one), known) for one in plates.plates(review)]
    assert all(len(words) > 2 for words in in_english), "the negative control"


def test_what_is_drawn_once_is_drawn_in_the_language_of_the_page(
    review: Review, other: Path, monkeypatch
) -> None:
    spoken = []
    nothing = plates.Drawn(plates=(), png={}, heads=((),) * len(review.views))
    monkeypatch.setattr(plates, "_drawn", lambda made, progress: spoken.append(current()) or nothing)
    page.render(review, language=str(other))
    page.render(review)
    plates.draw(review, language=str(other))
    assert [one("word.other") for one in spoken] == ["⟦other⟧", "other", "⟦other⟧"]


NOTHING = plates.Drawn(plates=(), png={}, heads=())


def test_a_language_ends_where_its_block_ends_and_is_of_one_thread(other: Path) -> None:
    heard = []
    with speaking(phrases(str(other))):
        assert said("word.other") == "⟦other⟧"
        thread = threading.Thread(target=lambda: heard.append(said("word.other")))
        thread.start()
        thread.join()
        with speaking(english()):
            assert said("word.other") == "other"
        assert drawn_word("within tolerance") == "⟦within tolerance⟧" and drawn_word("mine") == "mine"
    assert said("word.other") == "other" and current() is english() and heard == ["other"]
    with pytest.raises(RuntimeError), speaking(phrases(str(other))):
        raise RuntimeError
    assert current() is english(), "also where a figure could not be drawn"


def test_letters_of_figures_are_as_large_as_the_page_takes_them_to_be(review: Review) -> None:
    """The page makes a figure so wide that its smallest letters can be read on a telephone."""
    sizes = {}
    for plate in plates.plates(review):
        if plate.kind != "map":  # shown by the picker, which gives each half the whole width
            plate.figure.draw_without_rendering()
            sizes[plate.name] = min(
                one.get_fontsize()
                for one in plate.figure.findobj()
                if hasattr(one, "get_fontsize") and one.get_text().strip()
            )
    assert len(sizes) > 15 and min(sizes.values()) >= page.SMALLEST, sizes
    assert pytest.approx(9 * palette.WIDTH) == palette.WIDTH * page.LEAST * page.SMALLEST / 72
