"""Utility against gap of several fixes on the same rows, each with both of its intervals."""

from collections.abc import Sequence
from typing import Protocol

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .clear_numbers import number_marks
from .fonts import label, shorten
from .palette import BLUE, INK, MUTED, ORANGE, RULE, WIDTH, PlainTicks, bare, drawing, sheet, ticks_along
from .phrases import said
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
                said(
                    "figure.fixes",
                    utility=spoken(points.utility_metric),
                    gap=spoken(points.gap_metric),
                    attribute=points.attribute,
                    confidence=f"{points.confidence:.0%}",
                ),
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
        return said("figure.fixes_none", gap=spoken(points.gap_metric))
    least = min(known, key=lambda p: p.gap or 0.0)
    judging = points.purpose == "judge"
    made = said(
        "figure.fixes_least",
        fix=opening(shorten(least.name, IN_SENTENCE)),
        gap=spoken(points.gap_metric),
        rows=said("figure.fixes_judge" if judging else "figure.fixes_choose", n=number(points.n)),
        value=number(least.gap),
        interval=interval(least.gap_low, least.gap_high),
        utility=spoken(points.utility_metric),
        utility_value=number(least.utility),
        utility_interval=interval(least.utility_low, least.utility_high),
    )
    if least.gap_change is None:
        return f"{made}."
    return said(
        "figure.fixes_beside",
        said=made,
        gap_change=signed(least.gap_change),
        gap_interval=interval(least.gap_change_low, least.gap_change_high, sign=True),
        utility_change=signed(least.utility_change),
        utility_interval=interval(least.utility_change_low, least.utility_change_high, sign=True),
        utility=spoken(points.utility_metric),
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
    way = {"higher": "figure.fixes_higher", "lower": "figure.fixes_lower"}.get(points.better)
    axes.set_xlabel(label(said("figure.fixes_gap", gap=spoken(points.gap_metric)), 80))
    utility = spoken(points.utility_metric)
    axes.set_ylabel(label(utility if way is None else said(way, utility=utility), 60))
    if not known:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.text(
            0.5, 0.5, said("figure.nothing_to_draw"), transform=axes.transAxes, ha="center", color=MUTED
        )


def _list(axes: Axes, shown: Sequence[PointLike], left_out: int) -> None:
    axes.set_axis_off()
    axes.set_ylim(len(shown) - 0.4 + bool(left_out), -0.6)
    axes.set_xlim(0, 1)
    for y, one in enumerate(shown):
        quiet = one.utility is None or one.gap is None
        colour = MUTED if quiet or one.dominated_by else INK
        axes.text(0.0, y, f"{y + 1}  {label(one.name, 40)}", va="center", fontsize=8, color=colour)
        if quiet:
            reason = label(one.reason or said("word.undefined"), 70)
            written = said("figure.fixes_no_point", reason=reason)
        elif one.gap_change is None:
            written = said("figure.fixes_values", gap=number(one.gap), utility=number(one.utility))
        else:
            written = said(
                "figure.fixes_changes",
                gap=signed(one.gap_change),
                gap_interval=interval(one.gap_change_low, one.gap_change_high, sign=True),
                utility=signed(one.utility_change),
                utility_interval=interval(one.utility_change_low, one.utility_change_high, sign=True),
            )
            if one.dominated_by:
                written += said("figure.fixes_dominated", n=len(one.dominated_by))
        axes.text(0.47, y, written, va="center", fontsize=8, color=colour)
    if left_out:
        axes.text(
            0.0,
            len(shown),
            said("figure.more_in_the_table", n=left_out),
            va="center",
            fontsize=8,
            color=MUTED,
        )
