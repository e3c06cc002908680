"""Bars that add up: each from where the one before it ended, and what they add up to at the end."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .fonts import label
from .palette import BLUE, INK, MUTED, ORANGE, RULE, WIDTH, bare, drawing, sheet, ticks_along
from .phrases import said
from .wording import interval, signed

TOTAL = "#3c4450"
Row = tuple[str, float, tuple[float, float] | None]  # name, amount, ends of its whisker


def account(
    rows: Sequence[Row],
    total: Row,
    *,
    unit: str,
    title: str,
    row_height: float,
    least_height: float,
    ticks: int,
) -> Figure:
    """The rows one after the other, with their whiskers at the end of each bar, and the total from zero.

    Args:
        total: drawn below a rule; its whisker is its own interval.
        unit: of the amounts.
        row_height, least_height: in inches; the figure is as high as its rows and the least besides.
        ticks: at most so many along the axis.
    """
    last = len(rows)
    with drawing():
        figure = sheet(WIDTH, least_height + row_height * (last + 1))
        axes = figure.add_subplot()
        level = 0.0
        for y, (_, value, ends) in enumerate(rows):
            axes.barh(y, value, left=level, height=0.62, color=BLUE if value >= 0 else ORANGE)
            if ends is not None:
                axes.plot([level + ends[0], level + ends[1]], [y, y], color=INK, linewidth=1.1)
            axes.plot([level + value] * 2, [y - 0.31, y + 1.31], color=MUTED, linewidth=0.6)
            level += value
        axes.barh(last, total[1], height=0.62, facecolor=TOTAL)
        if total[2] is not None:
            axes.plot(list(total[2]), [last, last], color=ORANGE, linewidth=1.4)
        for y, row in enumerate((*rows, total)):
            _aside(axes, y, row, bold=y == last)
        axes.axvline(0, color=MUTED, linewidth=0.8, zorder=0)
        axes.axhline(last - 0.5, color=RULE, linewidth=0.8)
        axes.set_yticks(range(last + 1), [name for name, _, _ in (*rows, total)])
        axes.get_yticklabels()[-1].set_fontweight("bold")
        axes.set_ylim(last + 0.6, -0.6)
        ticks_along(axes, ticks)
        axes.set_xlabel(label(said("figure.cumulated", unit=unit), 80))
        bare(axes)
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, fontweight="bold")
    return figure


def _aside(axes: Axes, y: int, row: Row, *, bold: bool) -> None:
    """The amount beside its row, with its interval."""
    _, value, ends = row
    axes.text(
        1.02,
        y,
        signed(value) + ("" if ends is None else f" {interval(*ends, sign=True)}"),
        transform=axes.get_yaxis_transform(),
        va="center",
        fontsize=8,
        fontweight="bold" if bold else "normal",
    )
