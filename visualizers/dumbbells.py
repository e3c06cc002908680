"""Both kinds of error of every group in one row: false positives and false negatives with their intervals."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..errors import UsageError, first
from ..records import Audit, Cell
from .fonts import shorten
from .gaps import EVERYBODY
from .palette import BLUE, INK, MUTED, ORANGE, RULE, WIDTH, drawing, sheet, ticks_along
from .phrases import said
from .rows import aside, headline, more, note, row_names, with_headings
from .wording import IN_SENTENCE, drawn_word, interval, number, opening, spoken

BOTH = ("false_positive_rate", "false_negative_rate")
MOST_ROWS = 25
ROW = 0.37  # inches
APART = 0.15  # of a row: the two intervals are drawn one above the other
LOOKS = ((BLUE, "o", "●"), (ORANGE, "s", "■"))  # of the two metrics


class _Row(NamedTuple):
    attribute: str
    group: str
    cells: tuple[Cell | None, Cell | None]


def both_rates(audit: Audit) -> bool:
    """Whether an audit holds both kinds of error."""
    return set(BOTH) <= {cell.metric for cell in audit.cells}


def dumbbells(audit: Audit, metrics: tuple[str, str] = BOTH) -> Figure:
    """A row for each group: a disc and a square for its two rates, joined, each with its own interval and k / n.

    A hollow mark has too few rows for the policy; a rate without an estimate is said in words. Each rate is of its own
    denominator: a long bar is a group that errs one way more than the other, not a group that errs most.

    Args:
        metrics: the two drawn; of one class of several "false_positive_rate[cat]".

    Raises:
        UsageError: the audit has not both.
    """
    rows = _rows(audit, metrics)
    shown = rows[:MOST_ROWS]
    lines = with_headings([row.attribute for row in shown])
    with drawing():
        figure = sheet(WIDTH, 1.15 + ROW * len(lines))
        axes = figure.add_subplot()
        everybody = said("word.everybody")
        row_names(
            axes, lines, [everybody if row.group == EVERYBODY else row.group for row in shown], room=2.1
        )
        for y, line in enumerate(lines):
            if not isinstance(line, str):
                _bell(axes, y, shown[line])
        ticks_along(axes, 6)
        axes.margins(x=0.05)
        axes.grid(axis="x", color=RULE, linewidth=0.6)
        axes.set_axisbelow(True)
        _legend(axes, metrics)
        note(
            figure,
            said("figure.errors_note", more=more(len(rows) - len(shown), said("figure.groups"))),
        )
        one, other = map(spoken, metrics)
        headline(figure, said("figure.errors", one=one, other=other, confidence=_confidence(audit)))
    return figure


def describe(audit: Audit, metrics: tuple[str, str] = BOTH) -> str:
    """One sentence for each rate, its lowest and highest group with enough rows; and what a gap between them is not."""
    rows = [row for row in _rows(audit, metrics) if row.group != EVERYBODY]
    made = []
    for i, metric in enumerate(metrics):
        cells = [row.cells[i] for row in rows]
        known = [c for c in cells if c is not None and c.estimate is not None and c.status == "ok"]
        if not known:
            made.append(said("figure.errors_none", metric=opening(spoken(metric))))
            continue
        ends = [min(known, key=lambda c: c.estimate or 0.0), max(known, key=lambda c: c.estimate or 0.0)]
        low, high = (
            f"{shorten(c.group, IN_SENTENCE)} {number(c.estimate)} {interval(c.low, c.high)} (n = {number(c.n)})"
            for c in ends
        )
        made.append(said("figure.errors_from_to", metric=opening(spoken(metric)), low=low, high=high))
    return " ".join([*made, said("figure.errors_alone")])


def _rows(audit: Audit, metrics: tuple[str, str]) -> list[_Row]:
    known = dict.fromkeys(cell.metric for cell in audit.cells)
    absent = [name for name in metrics if name not in known]
    if absent or len(metrics) != 2:
        raise UsageError(
            f"two metrics of the audit are drawn together, and {first(absent or metrics)} is not among them: "
            f"{first(known, 12)}. Errors need labels and predictions."
        )
    found: dict[tuple[str, str], list[Cell | None]] = {}
    for cell in audit.cells:
        if cell.metric in metrics:
            attribute = "" if cell.group == EVERYBODY else cell.attribute
            pair = found.setdefault((attribute, cell.group), [None, None])
            at = metrics.index(cell.metric)
            pair[at] = pair[at] or cell
    whole = [key for key in found if key[1] == EVERYBODY]
    ordered = [*whole, *(key for key in found if key[1] != EVERYBODY)]
    return [_Row(*key, (found[key][0], found[key][1])) for key in ordered]


def _bell(axes: Axes, y: float, row: _Row) -> None:
    places = [c.estimate for c in row.cells if c is not None and c.estimate is not None]
    if len(places) == 2:
        axes.plot(places, [y, y], color=RULE, linewidth=4.5, solid_capstyle="round", zorder=1)
    for cell, (colour, mark, sign), shift in zip(row.cells, LOOKS, (-APART, APART), strict=True):
        if cell is None:
            continue
        counted = f"{number(cell.k)}/{number(cell.n)}" if cell.k is not None else f"n = {number(cell.n)}"
        if cell.estimate is None:
            aside(
                axes,
                y + shift,
                f"{sign} {said('figure.no_estimate_n', n=number(cell.n))}",
                colour=MUTED,
                size=7.5,
            )
            continue
        if cell.low is not None and cell.high is not None:
            axes.plot(
                [cell.low, cell.high],
                [y + shift] * 2,
                color=colour,
                linewidth=1.5,
                solid_capstyle="butt",
                zorder=2,
            )
        axes.plot(
            [cell.estimate],
            [y + shift],
            marker=mark,
            markersize=5.5,
            color=colour,
            markerfacecolor=colour if cell.status == "ok" else "white",
            zorder=3,
        )
        flag = "" if cell.status == "ok" else f"  {drawn_word(cell.status)}"
        aside(
            axes,
            y + shift,
            f"{sign} {number(cell.estimate)} {interval(cell.low, cell.high)}  {counted}{flag}",
            colour=INK,
            size=7.5,
        )


def _legend(axes: Axes, metrics: Sequence[str]) -> None:
    handles = [
        Line2D([], [], color=colour, marker=mark, markersize=5.5, linewidth=1.5, label=spoken(metric)[:60])
        for metric, (colour, mark, _) in zip(metrics, LOOKS, strict=True)
    ]
    axes.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=2,
        frameon=False,
        fontsize=8,
        borderpad=0,
        handlelength=1.6,
    )


def _confidence(audit: Audit) -> str:
    policy = audit.plan.get("policy", {})
    value = policy.get("confidence") if isinstance(policy, dict) else None
    return f"{value:.0%}" if isinstance(value, float) else said("figure.two_sided")
