"""Every figure of the table stays on its sheet, says n in words and suits its record, whatever the names."""

import math
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from clinometer.errors import OutputError, UsageError
from clinometer.visualizers import (
    palette,
    picture_folder,
    rows,
)
from clinometer.visualizers.figures import FIGURES, alt_text, figure, kinds
from reference.pictured import HOSTILE_GROUPS, records

# Figures of this table that have their own tests of what they show elsewhere.
ELSEWHERE = {"rates", "gaps", "ledger", "parts", "heads", "map", "mediation", "bars", "methods", "fixes"}
OWN = [name for name in FIGURES if name not in ELSEWHERE]


@cache
def pictured(kind: str, hostile: bool = False) -> Figure:
    """The figure of a kind's record, laid out once for all tests that look at it and change nothing."""
    made = figure(records(hostile)[kind], kind)
    made.draw_without_rendering()
    return made


def words(drawn: Figure) -> str:
    drawn.draw_without_rendering()
    return "\n".join(artist.get_text() for artist in drawn.findobj(Text))


def test_every_kind_has_a_record_here() -> None:
    assert set(records()) == set(FIGURES)


# Laws of every figure.


@pytest.mark.parametrize("kind", OWN)
def test_the_same_record_gives_the_same_bytes(kind: str) -> None:
    one, two = (figure(records()[kind], kind) for _ in range(2))
    for suffix in ("png", "svg"):
        first, second = (palette.encoded(made, suffix, dpi=40) for made in (one, two))  # type: ignore[arg-type]
        assert first == second and len(first) > 500


@pytest.mark.parametrize("kind", FIGURES)
def test_names_that_try_to_break_out_are_drawn(kind: str) -> None:
    drawn = pictured(kind, hostile=True)
    assert len(palette.encoded(drawn, "png", dpi=50)) > 500
    assert max(len(line) for line in words(drawn).splitlines()) < 400
    assert len(alt_text(records(hostile=True)[kind], kind)) < 1200


@pytest.mark.parametrize("hostile", [False, True])
@pytest.mark.parametrize("kind", OWN)
def test_nothing_leaves_the_sheet(kind: str, hostile: bool) -> None:
    drawn = pictured(kind, hostile)
    box = drawn.get_tightbbox()
    width, height = drawn.get_size_inches()
    assert box.x0 > -0.02 and box.y0 > -0.02 and box.x1 < width + 0.02 and box.y1 < height + 0.02


@pytest.mark.parametrize("kind", OWN)
def test_no_words_lie_on_others(kind: str) -> None:
    drawn = pictured(kind)
    own = [*drawn.texts]
    for part in drawn.subfigs:
        own += part.texts
    for axes in drawn.axes:
        own += [*axes.texts, axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label]
        own += [*(axes.get_legend().get_texts() if axes.get_legend() else [])]
        low, high = sorted(axes.get_ylim())
        ticks = axes.yaxis.get_major_ticks() if axes.axison else []
        own += [tick.label1 for tick in ticks if low <= tick.get_loc() <= high and tick.label1.get_visible()]
    shown = [text for text in own if text.get_text().strip() and text.get_visible()]
    boxes = [text.get_window_extent() for text in shown]
    for i, one in enumerate(boxes):
        for j in range(i):
            other = boxes[j]
            wide = min(one.x1, other.x1) - max(one.x0, other.x0)
            high = min(one.y1, other.y1) - max(one.y0, other.y0)
            said = f"{shown[i].get_text()!r} on {shown[j].get_text()!r}"
            assert wide <= 1.5 or high <= 0.3 * min(one.height, other.height), said


@pytest.mark.parametrize("kind", FIGURES)
def test_the_sentence_has_n_or_says_how_many(kind: str) -> None:
    said = alt_text(records()[kind], kind)
    counted = re.search(r"n = [\d,]+|\d+ heads|[\d,]+ rows|of \d+", said)
    if kind in OWN:
        counted = re.search(r"n = [\d,]+", said)
        assert said.count(". ") >= 1, "a sentence with what the figure does not say"
    assert counted or kind == "map", said
    assert not re.search(r"\bbecause\b|\bfair\b|unbiased", said)


@pytest.mark.parametrize("kind", OWN)
def test_the_figure_itself_holds_n(kind: str) -> None:
    assert re.search(r"n = \d|\d/\d|\bn \d", words(pictured(kind)))


def test_dollar_signs_are_drawn_as_they_are() -> None:
    said = words(figure(records(hostile=True)["calibration"]))
    assert HOSTILE_GROUPS[0][:5] in said
    assert "…" in said  # ten thousand letters, shortened


# What suits a record.


def test_the_first_kind_that_suits_is_drawn() -> None:
    assert kinds(records()["rates"]) == ("rates", "gaps", "intersections", "errors")
    assert kinds(records()["control"]) == ("control",)
    assert figure(records()["slices"]).get_suptitle().startswith("selection rate: combinations")


def test_what_cannot_be_drawn_is_told_what_can() -> None:
    with pytest.raises(UsageError, match=r"this int cannot be drawn.*control \(gaps over dates"):
        figure(3)
    with pytest.raises(UsageError, match=r"this Audit cannot be drawn as 'control'. It can as: rates"):
        figure(records()["rates"], "control")
    with pytest.raises(UsageError, match="'colour' is no choice of this figure: metric"):
        figure(records()["rates"], "rates", colour="red")
    with pytest.raises(UsageError, match=r"'true_positive_rte' was not audited: did you mean"):
        figure(records()["rates"], metric="true_positive_rte")
    with pytest.raises(UsageError, match="layer 7, head 0: the view has 2 layers of 2"):
        figure(records()["map"], "map", layer=7, head=0)


def test_every_kind_is_structurally_known() -> None:
    for kind, record in records().items():
        assert kind in kinds(record)


# Words, and files.


def test_a_headline_is_wrapped_and_cut() -> None:
    long = rows.wrapped("word " * 100, 2.0, 8, lines=3)
    assert len(long.splitlines()) == 3 and all(rows.inches(line, 8) <= 2.0 for line in long.splitlines())
    assert (
        "\n" not in rows.wrapped("W" * 500, 1.0, 8) and rows.inches(rows.wrapped("W" * 500, 1.0, 8), 8) <= 1.0
    )
    assert rows.wrapped("short", 2.0, 8) == "short"
    assert rows.fitted("W" * 10_000, 0.5, 8).count("W") < 8 and "…" in rows.fitted("W" * 10_000, 0.5, 8)


def test_a_folder_of_figures_is_whole_and_told_in_words(tmp_path: Path) -> None:
    target = tmp_path / "new" / "figures"
    written = picture_folder.save(
        [records(hostile=True)["slopes"], records()["control"]], target, "a *title*", ["no curve: <b>"]
    )
    names = {path.name for path in written}
    page = (target / "figures.md").read_text(encoding="utf-8")
    assert {"slopes-true-positive-rate.png", "slopes-true-positive-rate.svg", "figures.md"} <= names
    assert "control-selection-rate.png" in names and len(names) == 5
    for name in names - {"figures.md"}:
        assert name in page
    assert "<script>" not in page and "&lt;b&gt;" in page and r"a \*title\*" in page
    assert page.count("![") == sum(name.endswith(".png") for name in names)
    assert not [path for path in target.parent.iterdir() if path.name.startswith(".")]
    with pytest.raises(OutputError, match="is not empty"):
        picture_folder.save([records()["slopes"]], target, "again")
    with pytest.raises(OutputError, match="is a file"):
        picture_folder.save([records()["slopes"]], target / "figures.md", "again")
    with pytest.raises(UsageError, match="this int cannot be drawn"):
        picture_folder.save([3], tmp_path / "other", "nothing")
    assert not (tmp_path / "other").exists()


def test_a_record_is_drawn_as_everything_it_holds() -> None:
    made: list[Any] = picture_folder.pictures(records()["rates"])
    assert {one.kind for one in made} == {"rates", "gaps", "intersections", "errors"}
    assert len({one.name for one in made}) == len(made)
    assert [one.kind for one in picture_folder.pictures(records()["slopes"])] == ["slopes"]
    assert not math.isnan(made[0].figure.get_size_inches()[0])
