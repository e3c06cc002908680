"""Utility against gap of several fixes on the same rows, each with both of its intervals."""

from collections.abc import Sequence
from typing import Protocol

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .clear_numbers import number_marks
from .fonts import label, shorten
from .palette import BLUE, INK, MUTED, ORANGE, RULE, WIDTH, PlainTicks, bare, drawing, sheet, ticks_along
from .wording import IN_SENTENCE, interval, number, opening, signed, spoken

MOST_POINTS = 40
ROW = 0.24  # inches
UNMITIGATED = "unmitigated"


class PointLike(Protocol):
    """What is drawn of one fix."""

    @property
    def name(self) -> str: ...
    @property
    def utility(self) -> float | None: ...
    @property
    def utility_low(self) -> float | None: ...
    @property
    def utility_high(self) -> float | None: ...
    @property
    def gap(self) -> float | None: ...
    @property
    def gap_low(self) -> float | None: ...
    @property
    def gap_high(self) -> float | None: ...
    @property
    def gap_change(self) -> float | None: ...
    @property
    def gap_change_low(self) -> float | None: ...
    @property
    def gap_change_high(self) -> float | None: ...
    @property
    def utility_change(self) -> float | None: ...
    @property
    def utility_change_low(self) -> float | None: ...
    @property
    def utility_change_high(self) -> float | None: ...
    @property
    def dominated_by(self) -> tuple[str, ...]: ...
    @property
    def reason(self) -> str: ...


class ParetoLike(Protocol):
    """What is drawn of several."""

    @property
    def attribute(self) -> str: ...
    @property
    def gap_metric(self) -> str: ...
    @property
    def utility_metric(self) -> str: ...
    @property
    def better(self) -> str: ...
    @property
    def purpose(self) -> str: ...
    @property
    def confidence(self) -> float: ...
    @property
    def n(self) -> int: ...
    @property
    def points(self) -> Sequence[PointLike]: ...


def pareto_chart(points: ParetoLike, chosen: str | None = None) -> Figure:
    """Each fix as a numbered mark with its two intervals; a list below says which is which, and what it costs.

    No number lies on another or on a mark: where marks crowd, a line leads from the mark to its number. A hollow mark is
    dominated by another beyond noise; a diamond is the rows without a fix; a ring is the chosen one. A fix without a
    utility or a gap keeps its line in the list. Better is towards the side that the axes name. Overlapping intervals do
    not mean that two fixes are alike: on the same rows their difference is known more closely than either.
    """
    shown = list(points.points)[:MOST_POINTS]
    with drawing():
        figure = sheet(WIDTH, 3.6 + ROW * len(shown))
        axes, listed = figure.subplots(2, 1, height_ratios=[3.0, max(0.3, ROW * len(shown))])
        known = [
            (i, one) for i, one in enumerate(shown, 1) if one.utility is not None and one.gap is not None
        ]
        for _, one in known:
            _mark(axes, one, one.name == chosen)
        _axes(axes, points, len(known))
        _list(listed, shown, len(points.points) - len(shown))
        figure.suptitle(
            label(
                f"{spoken(points.utility_metric)} against the largest gap in {spoken(points.gap_metric)} by "
                f"{points.attribute}, {points.confidence:.0%} intervals",
                110,
            ),
            x=0.01,
            ha="left",
            fontsize=9.5,
            fontweight="bold",
        )
        number_marks(figure, axes, [(i, one.gap or 0.0, one.utility or 0.0) for i, one in known])
    return figure


def describe(points: ParetoLike) -> str:
    """One sentence: the fix with the smallest gap, and what it costs beside the rows without a fix."""
    known = [p for p in points.points if p.gap is not None and p.utility is not None]
    if not known:
        return f"Fixes by {spoken(points.gap_metric)}: none has a utility and a gap."
    least = min(known, key=lambda p: p.gap or 0.0)
    rows = f"{number(points.n)} rows that {'judge' if points.purpose == 'judge' else 'choose, and flatter what is chosen'}"
    said = (
        f"{opening(shorten(least.name, IN_SENTENCE))} has the smallest gap in {spoken(points.gap_metric)} on {rows}: "
        f"{number(least.gap)} {interval(least.gap_low, least.gap_high)}, {spoken(points.utility_metric)} "
        f"{number(least.utility)} {interval(least.utility_low, least.utility_high)}"
    )
    if least.gap_change is None:
        return f"{said}."
    return (
        f"{said}; beside no fix {signed(least.gap_change)} "
        f"{interval(least.gap_change_low, least.gap_change_high, sign=True)} of the gap and {signed(least.utility_change)} "
        f"{interval(least.utility_change_low, least.utility_change_high, sign=True)} of {spoken(points.utility_metric)}."
    )


def _mark(axes: Axes, one: PointLike, chosen: bool) -> None:
    x, y = one.gap or 0.0, one.utility or 0.0
    base = one.name == UNMITIGATED
    colour = INK if base else MUTED if one.dominated_by else BLUE
    if one.gap_low is not None and one.gap_high is not None:
        axes.plot([one.gap_low, one.gap_high], [y, y], color=colour, linewidth=1.0, alpha=0.55)
    if one.utility_low is not None and one.utility_high is not None:
        axes.plot([x, x], [one.utility_low, one.utility_high], color=colour, linewidth=1.0, alpha=0.55)
    axes.plot(
        [x],
        [y],
        marker="D" if base else "o",
        markersize=7.5 if base else 6,  # its corners show under a dot in the same place
        color=colour,
        markerfacecolor="white" if one.dominated_by else colour,
        zorder=3,
    )
    if chosen:
        axes.plot([x], [y], marker="o", markersize=12, color=ORANGE, markerfacecolor="none", zorder=4)


def _axes(axes: Axes, points: ParetoLike, known: int) -> None:
    bare(axes)
    axes.spines["left"].set_visible(True)
    ticks_along(axes, 6)
    axes.yaxis.set_major_formatter(PlainTicks())
    axes.grid(color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.margins(0.08)
    way = {"higher": "higher is better", "lower": "lower is better"}.get(points.better, "")
    axes.set_xlabel(label(f"largest gap in {spoken(points.gap_metric)} (smaller is better)", 80))
    axes.set_ylabel(label(f"{spoken(points.utility_metric)}" + (f" ({way})" if way else ""), 60))
    if not known:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.text(0.5, 0.5, "nothing to draw", transform=axes.transAxes, ha="center", color=MUTED)


def _list(axes: Axes, shown: Sequence[PointLike], left_out: int) -> None:
    axes.set_axis_off()
    axes.set_ylim(len(shown) - 0.4 + bool(left_out), -0.6)
    axes.set_xlim(0, 1)
    for y, one in enumerate(shown):
        quiet = one.utility is None or one.gap is None
        colour = MUTED if quiet or one.dominated_by else INK
        axes.text(0.0, y, f"{y + 1}  {label(one.name, 40)}", va="center", fontsize=8, color=colour)
        if quiet:
            said = f"no point: {label(one.reason or 'undefined', 70)}"
        elif one.gap_change is None:
            said = f"gap {number(one.gap)}, utility {number(one.utility)}"
        else:
            said = (
                f"gap {signed(one.gap_change)} {interval(one.gap_change_low, one.gap_change_high, sign=True)}, "
                f"utility {signed(one.utility_change)} "
                f"{interval(one.utility_change_low, one.utility_change_high, sign=True)}"
            )
            if one.dominated_by:
                said += f"; dominated by {len(one.dominated_by)}"
        axes.text(0.47, y, said, va="center", fontsize=8, color=colour)
    if left_out:
        axes.text(0.0, len(shown), f"{left_out} more in the table", va="center", fontsize=8, color=MUTED)
