"""Probabilities of every group against what came out: bins with intervals beside the line of a right score."""

from collections.abc import Sequence
from typing import Protocol

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..errors import UsageError
from .fonts import shorten
from .gaps import EVERYBODY
from .palette import BLUE, INK, MUTED, RULE, WIDTH, PlainTicks, bare, drawing, sheet
from .phrases import said
from .rows import fitted, headline, more, note
from .wording import IN_SENTENCE, interval, number, signed

MOST_GROUPS = 12
ACROSS = 4  # panels
FEW = 20  # rows of a bin below which its mark is hollow
UNKNOWN = "unknown"
LARGEST = 36.0  # square points of the fullest bin's mark


class EndsLike(Protocol):
    """Both ends of an interval."""

    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


class BinLike(Protocol):
    """What is drawn of one bin."""

    @property
    def n(self) -> int: ...
    @property
    def mean_probability(self) -> float | None: ...
    @property
    def positive_rate(self) -> float | None: ...
    @property
    def interval(self) -> EndsLike | None: ...


class CurveLike(Protocol):
    """What is drawn of one group."""

    @property
    def group(self) -> str: ...
    @property
    def n(self) -> int: ...
    @property
    def bins(self) -> Sequence[BinLike]: ...
    @property
    def excess(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...
    @property
    def note(self) -> str: ...


class ReliabilityLike(Protocol):
    """What is drawn of several: `bias.group_reliability.GroupReliability` is the real one."""

    @property
    def attribute(self) -> str: ...
    @property
    def score(self) -> str: ...
    @property
    def confidence(self) -> float: ...
    @property
    def min_group(self) -> int: ...
    @property
    def groups(self) -> Sequence[CurveLike]: ...


def calibration_curves(record: ReliabilityLike) -> Figure:
    """A panel for everybody and each group: marks above the diagonal came out more often than was said, below less.

    Whiskers are intervals of each bin's share of positives. A hollow mark has fewer than 20 rows, or fewer than the
    policy's smallest group. Behind every group everybody's curve is drawn in grey.

    Raises:
        UsageError: no group has a row.
    """
    known = _known(record)
    shown = known[:MOST_GROUPS]
    lines = -(-len(shown) // ACROSS)
    across = min(ACROSS, max(2, len(shown)))
    side = (WIDTH - 0.5) / across
    whole = next((one for one in record.groups if one.group == EVERYBODY), None)
    with drawing():
        figure = sheet(WIDTH, 1.0 + lines * (side + 0.52))
        panels = figure.subplots(lines, across, sharex=True, sharey=True, squeeze=False)
        for i, axes in enumerate(panels.flat):
            if i >= len(shown):
                axes.set_axis_off()
                continue
            _panel(axes, shown[i], record, None if shown[i] is whole else whole)
            if i % across == 0:
                axes.set_ylabel(said("figure.calibration_share"), fontsize=8)
            if i + across >= len(shown):
                axes.xaxis.set_tick_params(labelbottom=True)
                axes.set_xlabel(said("figure.calibration_mean"), fontsize=8)
        empty = len(record.groups) - len(known)
        headline(
            figure,
            said(
                "figure.calibration",
                score=record.score,
                attribute=record.attribute,
                confidence=f"{record.confidence:.0%}",
            ),
        )
        note(
            figure,
            said(
                "figure.calibration_note",
                few=max(FEW, record.min_group),
                more=more(len(known) - len(shown), said("figure.groups")),
                empty=said("figure.calibration_empty", n=empty) if empty else "",
            ),
        )
    return figure


def describe(record: ReliabilityLike) -> str:
    """Two sentences: the groups scored highest and lowest beside what came out, with intervals and n."""
    nobodys = (EVERYBODY, UNKNOWN)  # neither is a group that is compared
    groups = [one for one in _known(record) if one.group not in nobodys and one.excess is not None]
    judged = [one for one in groups if one.low is not None and one.n >= record.min_group]
    if not judged:
        n = sum(one.n for one in record.groups if one.group != EVERYBODY)
        return said("figure.calibration_none", score=record.score, attribute=record.attribute, n=number(n))
    ends = [min(judged, key=lambda one: one.excess or 0.0), max(judged, key=lambda one: one.excess or 0.0)]
    low, high = (
        f"{shorten(one.group, IN_SENTENCE)} {signed(one.excess)} {interval(one.low, one.high, sign=True)} "
        f"(n = {number(one.n)})"
        for one in ends
    )
    return said(
        "figure.calibration_from_to",
        score=shorten(record.score, IN_SENTENCE),
        attribute=shorten(record.attribute, IN_SENTENCE),
        low=low,
        high=high,
    )


def _known(record: ReliabilityLike) -> list[CurveLike]:
    known = [one for one in record.groups if one.n]
    if not known:
        raise UsageError(f"no group of {record.attribute!r} has a row: there is no curve to draw.")
    return sorted(known, key=lambda one: one.group != EVERYBODY)


def _panel(axes: Axes, one: CurveLike, record: ReliabilityLike, behind: CurveLike | None) -> None:
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, dashes=(4, 3), zorder=1)
    if behind is not None:
        axes.plot(*_places(behind.bins), color=RULE, linewidth=2.2, zorder=1, solid_capstyle="round")
    colour = INK if one.group == EVERYBODY else BLUE
    axes.plot(*_places(one.bins), color=colour, linewidth=0.9, alpha=0.55, zorder=2)
    fullest = max((part.n for part in one.bins), default=1)
    for part in one.bins:
        if part.mean_probability is None or part.positive_rate is None:
            continue
        if part.interval is not None:
            axes.plot(
                [part.mean_probability] * 2,
                [part.interval.low, part.interval.high],
                color=colour,
                linewidth=1.2,
                solid_capstyle="butt",
                zorder=2,
            )
        axes.scatter(
            [part.mean_probability],
            [part.positive_rate],
            s=max(12.0, LARGEST * part.n / fullest),
            marker="D" if one.group == EVERYBODY else "o",
            facecolors=colour if part.n >= max(FEW, record.min_group) else "white",
            edgecolors=colour,
            linewidths=1.0,
            zorder=3,
        )
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    axes.set_aspect("equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks([0, 0.5, 1])
        axis.set_major_formatter(PlainTicks())
    bare(axes)
    axes.spines["left"].set_visible(True)
    excess = (
        [said("figure.calibration_excess", excess=signed(one.excess)), interval(one.low, one.high, sign=True)]
        if one.excess is not None
        else [fitted(one.note or said("figure.no_estimate"), 1.5, 7.0)]
    )
    name = said("word.everybody") if one.group == EVERYBODY else one.group
    axes.set_title(fitted(name, 1.5, 8.5, bold=True), fontsize=8.5, pad=36)
    for line, text in enumerate([f"n = {number(one.n)}", *excess]):
        axes.annotate(
            text,
            (0, 1),
            xycoords="axes fraction",
            xytext=(0, 4 + 10 * (len(excess) - line)),
            textcoords="offset points",
            fontsize=7,
            color=MUTED,
            va="bottom",
        )


def _places(bins: Sequence[BinLike]) -> tuple[list[float], list[float]]:
    there = [
        (part.mean_probability, part.positive_rate)
        for part in bins
        if part.mean_probability is not None and part.positive_rate is not None
    ]
    return [x for x, _ in there], [y for _, y in there]
