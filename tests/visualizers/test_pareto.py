"""The chart of fixes: every fix has its line, hollow is dominated, nothing known is drawn as nothing."""

import dataclasses

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from clinometer.bias.pareto_records import UNMITIGATED, Pareto, Point
from clinometer.bias.seen_rows import Seen
from clinometer.visualizers import palette
from clinometer.visualizers import pareto as chart
from clinometer.visualizers.clear_numbers import NEAR, STEP
from clinometer.visualizers.pareto import describe, pareto_chart

SEEN = Seen(role="judge", n=0, sha256="", rows=None, clusters=None)  # type: ignore[arg-type]


def point(name: str, utility: float | None, gap: float | None, **more: object) -> Point:
    known = utility is not None and gap is not None
    base = name == UNMITIGATED
    made = {
        "name": name,
        "n": 1000,
        "utility": utility,
        "utility_low": utility - 0.01 if known else None,
        "utility_high": utility + 0.01 if known else None,
        "gap": gap,
        "gap_low": max(0.0, gap - 0.02) if known else None,
        "gap_high": gap + 0.02 if known else None,
        "group": "a",
        "reference": "b",
        "utility_change": utility - 0.9 if known and not base else None,
        "utility_change_low": utility - 0.91 if known and not base else None,
        "utility_change_high": utility - 0.89 if known and not base else None,
        "gap_change": gap - 0.2 if known and not base else None,
        "gap_change_low": gap - 0.22 if known and not base else None,
        "gap_change_high": gap - 0.18 if known and not base else None,
        "dominated_by": (),
        "behind": (),
    }
    return Point(**{**made, **more})  # type: ignore[arg-type]


def record(*points: Point, purpose: str = "judge") -> Pareto:
    return Pareto(
        title="fixes",
        attribute="sex",
        gap_metric="true_positive_rate",
        utility_metric="accuracy",
        better="higher",
        purpose=purpose,  # type: ignore[arg-type]
        confidence=0.95,
        n=1000,
        points=points,
        rows=SEEN,
        seen=(),
    )


FIXES = record(
    point(UNMITIGATED, 0.9, 0.2),
    point("by group", 0.88, 0.03),
    point("poor", 0.7, 0.25, dominated_by=(UNMITIGATED, "by group")),
    point("$untold$ <b>", None, None, reason="a and b: nobody in the denominator"),
)


def words(figure: object) -> str:
    figure.draw_without_rendering()  # type: ignore[attr-defined]
    return "\n".join(t.get_text() for t in figure.findobj() if hasattr(t, "get_text"))  # type: ignore[attr-defined]


@pytest.mark.parametrize("made", [FIXES, record(), record(point("x", None, None, reason="none"))])
@pytest.mark.parametrize("kind", ["png", "svg"])
def test_it_saves_the_same_bytes_twice(made: Pareto, kind: str) -> None:
    one, two = (palette.encoded(pareto_chart(made), kind, dpi=50) for _ in range(2))  # type: ignore[arg-type]
    assert one == two and len(one) > 500


def test_every_fix_has_its_line_and_both_intervals() -> None:
    figure = pareto_chart(FIXES, chosen="by group")
    said = words(figure)
    for name in ("1  unmitigated", "2  by group", "3  poor", "$untold$ <b>"):
        assert name in said
    assert "no point: a and b: nobody in the denominator" in said
    assert "gap −0.170 [−0.190, −0.150], utility −0.020 [−0.030, −0.010]" in said
    assert "dominated by 2" in said
    axes = figure.axes[0]
    lines = [line for line in axes.get_lines() if len(line.get_xdata()) == 2]
    assert len(lines) == 6  # two intervals of each of three points
    across = next(line for line in lines if list(line.get_ydata()) == [0.88, 0.88])
    assert list(across.get_xdata()) == pytest.approx([0.01, 0.05])


def test_marks_say_what_they_are() -> None:
    axes = pareto_chart(FIXES, chosen="by group").axes[0]
    marks = {
        (line.get_xdata()[0], line.get_ydata()[0], line.get_markersize()): line
        for line in axes.get_lines()
        if len(line.get_xdata()) == 1
    }
    assert marks[0.2, 0.9, 7.5].get_marker() == "D"
    assert to_rgba(marks[0.25, 0.7, 6].get_markerfacecolor()) == to_rgba("white")
    assert to_rgba(marks[0.03, 0.88, 6].get_markerfacecolor()) == to_rgba(palette.BLUE)
    assert (0.03, 0.88, 12) in marks and len(marks) == 4  # one ring
    assert len([m for m in pareto_chart(FIXES).axes[0].get_lines() if m.get_markersize() == 12]) == 0


def test_the_axes_say_which_way_is_better_and_nothing_is_drawn_as_nothing() -> None:
    said = words(pareto_chart(FIXES))
    assert "largest gap in true positive rate (smaller is better)" in said
    assert "accuracy (higher is better)" in said
    cost = dataclasses.replace(FIXES, better="lower", utility_metric="expected_cost")
    assert "expected cost (lower is better)" in words(pareto_chart(cost))
    assert "nothing to draw" in words(pareto_chart(record()))
    assert "nothing to draw" not in said


def test_more_fixes_than_can_be_told_apart_are_counted() -> None:
    many = record(*(point(f"fix {i}", 0.8, 0.1) for i in range(chart.MOST_POINTS + 3)))
    assert "3 more in the table" in words(pareto_chart(many))


def crowded() -> Pareto:
    """Eleven fixes about the rows without one, ten elsewhere, and five in one place."""
    draw = np.random.default_rng(0)
    near = [point(f"near {i}", 0.9 - 0.002 * (i % 3), 0.2 - 0.003 * (i % 4)) for i in range(11)]
    far = [point(f"far {i}", 0.8 + 0.1 * draw.random(), 0.05 + 0.1 * draw.random()) for i in range(10)]
    return record(
        point(UNMITIGATED, 0.9, 0.2), *near, *far, *(point(f"same {i}", 0.85, 0.1) for i in range(5))
    )


def drawn_numbers(made: Pareto, dpi: float) -> tuple[dict[int, Bbox], np.ndarray, Bbox]:
    """Boxes of the numbers in pixels, the middles of the marks, and the frame, as they are saved."""
    figure = pareto_chart(made)
    figure.set_dpi(dpi)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    boxes = {int(t.get_text()): Text.get_window_extent(t) for t in axes.texts}
    marks = np.array([axes.transData.transform((p.gap, p.utility)) for p in made.points])
    return boxes, marks, axes.get_window_extent()


@pytest.mark.parametrize("dpi", [72, 150])
@pytest.mark.parametrize(
    "made",
    [crowded(), record(*(point(f"same {i}", 0.9, 0.2) for i in range(40)))],
    ids=["crowd", "one place"],
)
def test_no_number_lies_on_another_or_on_a_mark(made: Pareto, dpi: float) -> None:
    boxes, marks, frame = drawn_numbers(made, dpi)
    assert sorted(boxes) == list(range(1, len(made.points) + 1))
    for one, box in boxes.items():
        assert not [other for other, taken in boxes.items() if other != one and box.overlaps(taken)]
        distance = np.hypot(
            np.clip(marks[:, 0], box.x0, box.x1) - marks[:, 0],
            np.clip(marks[:, 1], box.y0, box.y1) - marks[:, 1],
        )
        assert distance.min() >= 3 * dpi / 72, f"{one} lies on a mark"
        assert frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1


def test_a_number_that_is_pushed_away_has_a_line_to_its_mark() -> None:
    made = crowded()
    for note in pareto_chart(made).axes[0].texts:
        assert isinstance(note, Annotation)
        own = made.points[int(note.get_text()) - 1]
        assert tuple(note.xy) == (own.gap, own.utility)
        near = np.hypot(*note.xyann) <= NEAR + STEP / 2
        assert (note.arrow_patch is None) == near
    assert [n.arrow_patch for n in pareto_chart(FIXES).axes[0].texts] == [None] * 3
    assert any(n.arrow_patch is not None for n in pareto_chart(made).axes[0].texts)


def test_negative_control_of_numbers_at_one_offset() -> None:
    """Numbers up and to the right of each mark, as they were once, do overlap in the crowd."""
    made = crowded()
    figure = pareto_chart(record(*made.points[:1]))
    axes = figure.axes[0]
    notes = [
        axes.annotate(str(i), (p.gap, p.utility), xytext=(5, 4), textcoords="offset points")
        for i, p in enumerate(made.points)
    ]
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(note) for note in notes]
    assert any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])


def test_one_sentence() -> None:
    said = describe(FIXES)
    assert said.startswith(
        "By group has the smallest gap in true positive rate on 1,000 rows that judge: 0.030"
    )
    assert "−0.170 [−0.190, −0.150] of the gap and −0.020 [−0.030, −0.010] of accuracy" in said
    assert "flatter what is chosen" in describe(record(*FIXES.points, purpose="choose"))
    assert describe(record(point(UNMITIGATED, 0.9, 0.0))).endswith("accuracy 0.900 [0.890, 0.910].")
    assert "none has a utility and a gap" in describe(record())


def test_the_name_of_the_rows_without_a_fix_is_the_records() -> None:
    assert chart.UNMITIGATED == UNMITIGATED
