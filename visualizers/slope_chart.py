"""A metric of every group before and after, as slopes; below them each change with its paired interval."""

from collections.abc import Sequence
from typing import Any, Protocol

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..errors import UsageError, first
from .fonts import label, shorten
from .gaps import EVERYBODY
from .palette import BLUE, INK, MUTED, ORANGE, RULE, WIDTH, PlainTicks, drawing, sheet, ticks_along
from .rows import aside, fitted, headline, more, note, row_names, with_headings
from .wording import IN_SENTENCE, interval, number, opening, signed, spoken

MOST_SLOPES = 14
MOST_ROWS = 30
ROW = 0.25  # inches
NAME = 1.7  # inches of a name beside a slope
WORSE = "worse"


class ChangeLike(Protocol):
    """What is drawn of one change."""

    @property
    def attribute(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def reference(self) -> str: ...
    @property
    def metric(self) -> str: ...
    @property
    def better(self) -> Any: ...
    @property
    def n_before(self) -> int: ...
    @property
    def n_after(self) -> int: ...
    @property
    def before(self) -> float | None: ...
    @property
    def after(self) -> float | None: ...
    @property
    def change(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...
    @property
    def margin(self) -> float | None: ...
    @property
    def decision(self) -> Any: ...
    @property
    def status(self) -> Any: ...
    @property
    def reason(self) -> str: ...


class ComparisonLike(Protocol):
    """What is drawn of two models: `bias.compared.Comparison` is the real one."""

    @property
    def title(self) -> str: ...
    @property
    def n(self) -> int: ...
    @property
    def changes(self) -> Sequence[ChangeLike]: ...


def slope_chart(record: ComparisonLike, metric: str | None = None) -> Figure:
    """Above, a line for each group from its old to its new value; below, the change with its paired interval and n.

    Overlapping ends above do not mean that nothing changed: both models were run on the same rows, and the interval of
    the change below is the one to read. ▲ and orange: worse than the margin that was declared.

    Args:
        metric: the one drawn; None: the first with a margin, else the first compared.

    Raises:
        UsageError: the metric was not compared.
    """
    metric, rows = _asked(record, metric)
    shown = rows[:MOST_ROWS]
    lines = with_headings([row.attribute for row in shown])
    known = [row for row in shown if row.before is not None and row.after is not None]
    # Everybody, and of many groups those that changed most.
    largest = sorted(known, key=lambda row: (row.group != EVERYBODY, -abs(row.change or 0.0)))[:MOST_SLOPES]
    slopes = [row for row in known if row in largest]
    with drawing():
        heights = [max(1.8, 0.5 + 0.22 * len(slopes)), 0.4 + ROW * len(lines)]
        figure = sheet(WIDTH, 0.9 + sum(heights))
        # Parts of their own, so that the words beside the changes do not make the slopes narrow.
        parts = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)
        upper, lower = parts[0, 0], parts[1, 0]
        above, under = upper.add_subplot(), lower.add_subplot()
        _slopes(above, slopes)
        names = ["everybody" if row.group == EVERYBODY else row.group for row in shown]
        row_names(under, lines, names, room=1.8)
        under.axvline(0, color=MUTED, linewidth=0.8, zorder=1)
        margin = next((row.margin for row in shown if row.margin is not None), None)
        for y, line in enumerate(lines):
            if not isinstance(line, str):
                _change(under, y, shown[line])
        ticks_along(under, 5)
        under.margins(x=0.08)
        better = {"higher": "higher is better", "lower": "lower is better"}.get(
            str(rows[0].better), "no better side"
        )
        note(
            figure,
            f"below: change, new minus old, with its paired interval, on the same n = {number(record.n)} rows; {better}"
            f"{'' if margin is None else f'; margin {number(margin)}'}"
            f"{f'; above, the {len(slopes)} that changed most' if len(known) > len(slopes) else ''}"
            f"{more(len(rows) - len(shown), 'groups')}. Both models saw the same rows: read the interval of the change, not "
            "the distance of two values.",
        )
        headline(figure, f"{spoken(metric)}, old and new: {record.title}")
    return figure


def describe(record: ComparisonLike, metric: str | None = None) -> str:
    """Two sentences: everybody's change and the group that changed most, with paired intervals and n."""
    metric, rows = _asked(record, metric)
    known = [row for row in rows if row.change is not None]
    if not known:
        return (
            f"{opening(spoken(metric))}, old and new: no change could be estimated, n = {number(record.n)}."
        )
    whole = next((row for row in known if row.group == EVERYBODY), None)
    groups = [row for row in known if row.group != EVERYBODY]
    said = [] if whole is None else [f"everybody {_words(whole)}"]
    if groups:
        most = max(groups, key=lambda row: abs(row.change or 0.0))
        said.append(f"most of all {shorten(most.group, IN_SENTENCE)} {_words(most)}")
    return (
        f"{opening(spoken(metric))}, old and new, on the same n = {number(record.n)} rows: {'; '.join(said)}. The largest "
        "of several changes is chosen by looking."
    )


def _words(row: ChangeLike) -> str:
    n = (
        number(row.n_before)
        if row.n_before == row.n_after
        else f"{number(row.n_before)} and {number(row.n_after)}"
    )
    return (
        f"{number(row.before)} to {number(row.after)}, change {signed(row.change)} "
        f"{interval(row.low, row.high, sign=True)} (n = {n})"
    )


def _asked(record: ComparisonLike, metric: str | None) -> tuple[str, list[ChangeLike]]:
    levels = [row for row in record.changes if not row.reference]
    known = list(dict.fromkeys(row.metric for row in levels))
    if not known:
        raise UsageError(
            f"the comparison {record.title!r} holds no metric of a group: there is nothing to draw."
        )
    if metric is None:
        gated = [row.metric for row in record.changes if row.margin is not None and row.metric in known]
        metric = (gated or known)[0]
    if metric not in known:
        raise UsageError(f"{metric!r} was not compared: {first(known, 12)} were.")
    rows = [row for row in levels if row.metric == metric]
    return metric, sorted(rows, key=lambda row: row.group != EVERYBODY)


def _colour(row: ChangeLike) -> str:
    return INK if row.group == EVERYBODY else ORANGE if row.decision == WORSE else BLUE


def _slopes(axes: Axes, rows: Sequence[ChangeLike]) -> None:
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 1], ["old", "new"])
    axes.tick_params(axis="x", length=0, labelcolor=INK)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    axes.yaxis.set_major_formatter(PlainTicks())
    axes.set_yticks([])
    for x in (0, 1):
        axes.axvline(x, color=RULE, linewidth=1.0, zorder=0)
    if not rows:
        axes.text(
            0.5, 0.5, "no group has a value in both", transform=axes.transAxes, ha="center", color=MUTED
        )
        return
    ends = [value for row in rows for value in (row.before, row.after) if value is not None]
    # Words take a share of the height; where they are pushed apart the axis grows until all of them are on it.
    room = max(max(ends) - min(ends), 1e-9)
    least = max(room, 1e-9) / max(6, len(rows)) * 1.05
    sides = [(x, [(row.before if x == 0 else row.after) or 0.0 for row in rows]) for x in (0, 1)]
    places = {x: _apart(values, least) for x, values in sides}
    everything = [*ends, *places[0], *places[1]]
    axes.set_ylim(min(everything) - 0.7 * least, max(everything) + 0.7 * least)
    for row in rows:
        colour = _colour(row)
        axes.plot(
            [0, 1],
            [row.before or 0.0, row.after or 0.0],
            color=colour,
            linewidth=2.0 if row.group == EVERYBODY else 1.3,
            marker="D" if row.group == EVERYBODY else "^" if row.decision == WORSE else "o",
            markersize=5,
            markerfacecolor=colour if row.status == "ok" else "white",
            clip_on=False,
            zorder=3,
        )
    for x, values in sides:
        for row, value, y in zip(rows, values, places[x], strict=True):
            name = "everybody" if row.group == EVERYBODY else row.group
            written = (
                f"{fitted(name, NAME, 7.5)}  {number(value)}"
                if x == 0
                else f"{number(value)}  {fitted(name, NAME, 7.5)}"
            )
            edge = -0.012 if x == 0 else 1.012
            axes.plot(
                [x, edge + (edge - x) * 1.2], [value, y], color=RULE, linewidth=0.7, clip_on=False, zorder=1
            )
            axes.text(
                edge + (edge - x) * 1.6,
                y,
                written,
                ha="right" if x == 0 else "left",
                va="center",
                fontsize=7.5,
                color=_colour(row),
                fontweight="bold" if row.group == EVERYBODY else "normal",
            )


def _apart(values: Sequence[float], least: float) -> list[float]:
    """Places for words beside values: in the same order, none nearer to the next than `least`, as near as may be."""
    order = sorted(range(len(values)), key=lambda i: (values[i], i))
    # Neighbours that are too near become one block around their mean, and blocks merge until none overlap.
    blocks: list[list[Any]] = []  # [centre of the block, its members]
    for i in order:
        blocks.append([values[i], [i]])
        while len(blocks) > 1:
            (low, a), (high, b) = blocks[-2], blocks[-1]
            if high - low >= least * (len(a) + len(b)) / 2:
                break
            blocks[-2:] = [[(low * len(a) + high * len(b)) / (len(a) + len(b)), [*a, *b]]]
    made = [0.0] * len(values)
    for centre, members in blocks:
        for place, i in enumerate(members):
            made[i] = centre + least * (place - (len(members) - 1) / 2)
    return made


def _change(axes: Axes, y: float, row: ChangeLike) -> None:
    if row.change is None:
        reason = label((row.reason or str(row.status)).removeprefix(f"{row.group}: "), 56)
        aside(axes, y, f"no estimate, n = {number(row.n_after)}: {reason}", colour=MUTED)
        return
    colour = _colour(row)
    if row.low is not None and row.high is not None:
        axes.plot([row.low, row.high], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt")
    axes.plot(
        [row.change],
        [y],
        marker="D" if row.group == EVERYBODY else "^" if row.decision == WORSE else "o",
        markersize=5.5,
        color=colour,
        markerfacecolor=colour if row.status == "ok" else "white",
    )
    word = "" if row.decision is None else f"  {'▲ ' if row.decision == WORSE else ''}{row.decision}"
    flag = "" if row.status == "ok" else f"  {row.status}"
    n = (
        number(row.n_after)
        if row.n_before == row.n_after
        else f"{number(row.n_before)}, {number(row.n_after)}"
    )
    aside(axes, y, f"{signed(row.change)} {interval(row.low, row.high, sign=True)}  n = {n}{word}{flag}")
