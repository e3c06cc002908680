"""A rate of every group against the threshold of a score, with the gap between groups below it."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..errors import UsageError
from ..records import Floats, Values
from .fonts import label, shorten
from .gaps import EVERYBODY
from .palette import INK, ORANGE, RULE, WIDTH, PlainTicks, bare, drawing, sheet, ticks_along
from .rows import fitted, headline, note
from .series import LINES
from .wording import IN_SENTENCE, interval, number, opening, spoken

MOST_GROUPS = len(LINES)
MARKS = 7  # along a line


class SweepLike(Protocol):
    """What is drawn: `bias.group_thresholds.GroupThresholds` is the real one. Arrays are (group, threshold)."""

    @property
    def attribute(self) -> str: ...
    @property
    def metric(self) -> str: ...
    @property
    def score(self) -> str: ...
    @property
    def confidence(self) -> float: ...
    @property
    def min_group(self) -> int: ...
    @property
    def n(self) -> int: ...
    @property
    def threshold(self) -> Floats: ...
    @property
    def groups(self) -> Sequence[str]: ...
    @property
    def compared(self) -> Sequence[str]: ...
    @property
    def denominator(self) -> Values: ...
    @property
    def estimate(self) -> Floats: ...
    @property
    def low(self) -> Floats: ...
    @property
    def high(self) -> Floats: ...
    @property
    def gap(self) -> Floats: ...
    @property
    def gap_low(self) -> Floats: ...
    @property
    def gap_high(self) -> Floats: ...
    @property
    def current(self) -> float | None: ...
    @property
    def note(self) -> str: ...


def threshold_sweep(record: SweepLike) -> Figure:
    """Above, each group's rate with its interval as a band; below, the largest gap; a line where the threshold is now.

    A line stops where its group has fewer rows in the denominator than the policy asks for. Of many groups the largest
    are drawn; the gap is between all that are compared.

    Raises:
        UsageError: no threshold, or no group with rows.
    """
    shown, left_out = _shown(record)
    with drawing():
        figure = sheet(WIDTH, 5.4 + 0.17 * -(-len(shown) // 3))
        above, under = figure.subplots(2, 1, sharex=True, height_ratios=[2.5, 1.0])
        handles = []
        for name, look in zip(shown, LINES, strict=False):
            i = record.groups.index(name)
            enough = record.denominator[i] >= max(1, record.min_group)
            if not enough.any():
                most = number(int(record.denominator[i].max()))
                handles.append(
                    Line2D([], [], linestyle="none", label=f"{fitted(name, 1.0, 7.5)}, n = {most}: too few")
                )
                continue
            y, low, high = (np.where(enough, part[i], np.nan) for part in _parts(record))
            above.fill_between(record.threshold, low, high, color=look.colour, alpha=0.13, linewidth=0)
            (line,) = above.plot(
                record.threshold, y, color=look.colour, linestyle=look.dash, linewidth=1.5, marker=look.mark
            )
            line.set_markersize(4.2)
            line.set_markevery(max(1, len(record.threshold) // MARKS))
            n = record.denominator[i]
            said = (
                number(int(n.max()))
                if n.min() == n.max()
                else f"{number(int(n.min()))} to {number(int(n.max()))}"
            )
            handles.append(
                Line2D(
                    [],
                    [],
                    color=look.colour,
                    linestyle=look.dash,
                    marker=look.mark,
                    markersize=4.2,
                    label=f"{fitted(name, 1.0, 7.5)}, n = {said}",
                )
            )
        _gap(under, record)
        _dress(above, under, record)
        above.legend(
            handles=handles,
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=min(3, len(handles)),
            frameon=False,
            fontsize=7.5,
            borderpad=0,
            handlelength=3.2,
        )
        headline(
            figure,
            f"{spoken(record.metric)} against the threshold of {record.score}, by {record.attribute}, "
            f"{record.confidence:.0%} intervals",
        )
        note(figure, _foot(record, left_out))
    return figure


def describe(record: SweepLike) -> str:
    """Two sentences: the gap at the threshold in use, and where over all thresholds it is largest."""
    _shown(record)
    there = np.flatnonzero(np.isfinite(record.gap))
    head = (
        f"{opening(spoken(record.metric))} by {shorten(record.attribute, IN_SENTENCE)} over {len(record.threshold)} "
        f"thresholds of {shorten(record.score, IN_SENTENCE)}, n = {number(record.n)} rows"
    )
    if not there.size:
        return f"{head}: at no threshold have two groups enough rows to be compared."

    def said(t: int) -> str:
        ends = interval(float(record.gap_low[t]), float(record.gap_high[t]))
        return f"{number(float(record.gap[t]))} {ends} at {number(float(record.threshold[t]))}"

    worst = int(there[np.argmax(record.gap[there])])
    now = _at_current(record)
    current = (
        f"in use the largest gap is {said(now)}"
        if now is not None and now in set(there.tolist())
        else f"no threshold in use ({record.note or 'no gap at it'})"
    )
    return (
        f"{head}: {current}; over all it is largest, {said(worst)}. A threshold chosen from these gaps "
        "tends to show a larger one on new rows."
    )


def _parts(record: SweepLike) -> tuple[Floats, Floats, Floats]:
    return record.estimate, record.low, record.high


def _shown(record: SweepLike) -> tuple[list[str], int]:
    """Everybody and the groups with most rows, in the record's order; how many are left out."""
    rows = {name: int(record.denominator[i].max(initial=0)) for i, name in enumerate(record.groups)}
    known = [name for name in record.groups if name != EVERYBODY and rows[name]]
    if not len(record.threshold) or not known:
        raise UsageError(
            f"there are {len(record.threshold)} thresholds and {len(known)} groups of {record.attribute!r} with rows: "
            "there is nothing to draw."
        )
    largest = sorted(known, key=lambda name: -rows[name])[:MOST_GROUPS]
    return [name for name in known if name in largest], len(known) - len(largest)


def _gap(axes: Axes, record: SweepLike) -> None:
    axes.fill_between(record.threshold, record.gap_low, record.gap_high, color=RULE, linewidth=0)
    axes.plot(record.threshold, record.gap, color=INK, linewidth=1.4)
    now = _at_current(record)
    if now is not None and np.isfinite(record.gap[now]):
        axes.plot([record.threshold[now]], [record.gap[now]], "o", color=ORANGE, markersize=5.5, zorder=4)


def _at_current(record: SweepLike) -> int | None:
    if record.current is None:
        return None
    found = np.flatnonzero(record.threshold == record.current)
    return int(found[0]) if found.size else None


def _dress(above: Axes, under: Axes, record: SweepLike) -> None:
    for axes in (above, under):
        bare(axes)
        axes.spines["left"].set_visible(True)
        axes.grid(color=RULE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.yaxis.set_major_formatter(PlainTicks())
        if record.current is not None:
            axes.axvline(record.current, color=ORANGE, linewidth=1.1, dashes=(4, 2), zorder=1)
    if record.current is not None:
        above.annotate(
            f"in use {number(record.current)}",
            (record.current, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(4, -9),
            textcoords="offset points",
            fontsize=7.5,
            color=ORANGE,
        )
    above.set_ylim(-0.02, 1.02)
    under.set_ylim(bottom=0)
    under.locator_params(axis="y", nbins=4)
    above.set_ylabel(label(spoken(record.metric), 40))
    under.set_ylabel("largest gap")
    ticks_along(under, 7)
    under.set_xlabel(label(f"threshold: positive where {record.score} is at least so much", 100), fontsize=8)


def _foot(record: SweepLike, left_out: int) -> str:
    now = _at_current(record)
    if now is None:
        said = f"no threshold in use is drawn: {record.note or 'it is none of those swept'}"
    else:
        gap = (
            f"gap {number(float(record.gap[now]))} {interval(float(record.gap_low[now]), float(record.gap_high[now]))}"
            if np.isfinite(record.gap[now])
            else "no gap: fewer than two groups have enough rows"
        )
        said = f"orange: the threshold in use, {number(float(record.threshold[now]))}, {gap}"
    more = f"; {left_out} more groups are not drawn and count in the gap" if left_out else ""
    return (
        f"{said}{more}. Bands: of each rate alone; of the gap, for all pairs of groups with "
        f"{number(max(1, record.min_group))} in the denominator, at one threshold. A threshold chosen from this "
        "picture tends to look better here than on new rows."
    )
