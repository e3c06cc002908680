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
from .phrases import said
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
                few = said("figure.thresholds_too_few", group=fitted(name, 1.0, 7.5), n=most)
                handles.append(Line2D([], [], linestyle="none", label=few))
                continue
            y, low, high = (np.where(enough, part[i], np.nan) for part in _parts(record))
            above.fill_between(record.threshold, low, high, color=look.colour, alpha=0.13, linewidth=0)
            (line,) = above.plot(
                record.threshold, y, color=look.colour, linestyle=look.dash, linewidth=1.5, marker=look.mark
            )
            line.set_markersize(4.2)
            line.set_markevery(max(1, len(record.threshold) // MARKS))
            handles.append(
                Line2D(
                    [],
                    [],
                    color=look.colour,
                    linestyle=look.dash,
                    marker=look.mark,
                    markersize=4.2,
                    label=_counted(name, record.denominator[i]),
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
            said(
                "figure.thresholds",
                metric=spoken(record.metric),
                score=record.score,
                attribute=record.attribute,
                confidence=f"{record.confidence:.0%}",
            ),
        )
        note(figure, _foot(record, left_out))
    return figure


def describe(record: SweepLike) -> str:
    """Two sentences: the gap at the threshold in use, and where over all thresholds it is largest."""
    _shown(record)
    there = np.flatnonzero(np.isfinite(record.gap))
    head = said(
        "figure.thresholds_head",
        metric=opening(spoken(record.metric)),
        attribute=shorten(record.attribute, IN_SENTENCE),
        n_thresholds=len(record.threshold),
        score=shorten(record.score, IN_SENTENCE),
        n=number(record.n),
    )
    if not there.size:
        return said("figure.thresholds_none", head=head)

    def gap_at(t: int) -> str:
        return said(
            "figure.thresholds_gap_at",
            gap=number(float(record.gap[t])),
            interval=interval(float(record.gap_low[t]), float(record.gap_high[t])),
            threshold=number(float(record.threshold[t])),
        )

    worst = int(there[np.argmax(record.gap[there])])
    now = _at_current(record)
    current = (
        said("figure.thresholds_in_use_gap", gap=gap_at(now))
        if now is not None and now in set(there.tolist())
        else said("figure.thresholds_no_use", reason=record.note or said("figure.thresholds_no_gap_at_it"))
    )
    return said("figure.thresholds_said", head=head, current=current, worst=gap_at(worst))


def _counted(name: str, n: Values) -> str:
    """A group with its denominators, from the least to the most over all thresholds."""
    group, least, most = fitted(name, 1.0, 7.5), number(int(n.min())), number(int(n.max()))
    if least == most:
        return said("figure.thresholds_n", group=group, n=most)
    return said("figure.thresholds_n_range", group=group, least=least, most=most)


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
            said("figure.thresholds_in_use", threshold=number(record.current)),
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
    under.set_ylabel(said("figure.largest_gap"))
    ticks_along(under, 7)
    under.set_xlabel(label(said("figure.thresholds_axis", score=record.score), 100), fontsize=8)


def _foot(record: SweepLike, left_out: int) -> str:
    now = _at_current(record)
    if now is None:
        made = said("figure.thresholds_foot_none", reason=record.note or said("figure.thresholds_not_swept"))
    else:
        ends = interval(float(record.gap_low[now]), float(record.gap_high[now]))
        gap = (
            said("figure.thresholds_foot_gap", gap=number(float(record.gap[now])), interval=ends)
            if np.isfinite(record.gap[now])
            else said("figure.thresholds_foot_no_gap")
        )
        made = said("figure.thresholds_foot", threshold=number(float(record.threshold[now])), gap=gap)
    return said(
        "figure.thresholds_note",
        said=made,
        more=said("figure.thresholds_foot_more", n=left_out) if left_out else "",
        least=number(max(1, record.min_group)),
    )
