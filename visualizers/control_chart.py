"""Gaps over dates beside the limits that the first dates set; dates outside them are marked by shape."""

from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from typing import Any, Protocol

from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..errors import UsageError, first
from .fonts import shorten
from .palette import BAND, BLUE, INK, MUTED, ORANGE, RULE, WIDTH, PlainTicks, bare, drawing, sheet
from .rows import fitted, headline, note
from .wording import IN_SENTENCE, number, signed, spoken

MOST_CHARTS = 6
HEIGHT = 1.75  # inches
LOOKS = {  # status of a date: mark, colour, filled
    "baseline": ("o", MUTED, False),
    "in control": ("o", BLUE, True),
    "grew": ("^", ORANGE, True),
    "shrank": ("v", INK, True),
    "too small": ("x", MUTED, False),
}


class PointLike(Protocol):
    """What is drawn of one date."""

    @property
    def date(self) -> date: ...
    @property
    def n_group(self) -> float: ...
    @property
    def n_reference(self) -> float: ...
    @property
    def estimate(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...
    @property
    def statistic(self) -> float | None: ...
    @property
    def status(self) -> Any: ...


class ChartLike(Protocol):
    """What is drawn of one chart."""

    @property
    def kind(self) -> Any: ...
    @property
    def centre(self) -> float | None: ...
    @property
    def limit(self) -> float | None: ...
    @property
    def level(self) -> float: ...
    @property
    def n_baseline(self) -> int: ...
    @property
    def points(self) -> Sequence[PointLike]: ...
    @property
    def reason(self) -> str: ...


class GapLike(Protocol):
    """Whose chart it is."""

    @property
    def attribute(self) -> str: ...
    @property
    def metric(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def reference(self) -> str: ...
    @property
    def chart(self) -> ChartLike: ...
    @property
    def outcome(self) -> Any: ...
    @property
    def reason(self) -> str: ...


class MonitoringLike(Protocol):
    """What is drawn of all: `bias.monitored.Monitoring` is the real one."""

    @property
    def title(self) -> str: ...
    @property
    def dates(self) -> Sequence[date]: ...
    @property
    def since(self) -> date | None: ...
    @property
    def charts(self) -> Sequence[GapLike]: ...


def control_chart(record: MonitoringLike, metric: str | None = None) -> Figure:
    """A panel for each gap, those with an alarm first: its value at every date, the centre and the limits.

    The grey ground is the baseline. ▲ a gap that grew beyond the limits, ▼ one that shrank, × a date that is too
    small to be judged. A chart that smooths over dates is drawn as its statistic beside its limit.

    Args:
        metric: its charts alone; None: all.

    Raises:
        UsageError: no chart, or none of the metric.
    """
    charts = _charts(record, metric)
    shown = charts[:MOST_CHARTS]
    with drawing():
        figure = sheet(WIDTH, 1.15 + HEIGHT * len(shown))
        panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
        for axes, one in zip(panels, shown, strict=True):
            _panel(axes, one, record.since)
        locator = AutoDateLocator(minticks=3, maxticks=8)  # type: ignore[no-untyped-call]
        panels[-1].xaxis.set_major_locator(locator)
        panels[-1].xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        _legend(panels[0])
        headline(figure, f"{record.title}: gaps over {len(record.dates)} dates")
        left_out = len(charts) - len(shown)
        note(
            figure,
            f"limits alarm without a change once in {number(round(1 / shown[0].chart.level))} dates of a chart; they come "
            f"from the baseline{f'; {left_out} more charts are not drawn' if left_out else ''}. Inside the limits means: as "
            "before, however large it was before. A chart says when, not why.",
        )
    return figure


def describe(record: MonitoringLike, metric: str | None = None, top: int = 3) -> str:
    """Two sentences: how many charts alarm, and the latest date of each of the first with its limits and n."""
    charts = _charts(record, metric)
    alarms = [one for one in charts if one.outcome == "alarm"]
    said = [_words(one) for one in (alarms or charts)[:top]]
    return (
        f"{len(charts)} gap{'s' if len(charts) != 1 else ''} over {len(record.dates)} dates: {len(alarms)} "
        f"{'alarms' if len(alarms) != 1 else 'alarm'}. {'; '.join(said)}. "
        "A gap inside its limits is as it was, however large."
    )


def _words(one: GapLike) -> str:
    names = [shorten(name, 24) for name in (one.group, one.reference)]
    head = f"{shorten(spoken(one.metric), IN_SENTENCE)}, {names[0]} minus {names[1]}"
    out = [point for point in one.chart.points if point.status in {"grew", "shrank"}]
    known = [point for point in one.chart.points if point.estimate is not None]
    if not known:
        return f"{head}: {one.outcome}, n = 0 at all {len(one.chart.points)} dates"
    point = out[-1] if out else known[-1]
    # A chart that smooths has no limits of the gap: its statistic is beside the limit of that.
    limits = (
        f"limits [{signed(point.low)}, {signed(point.high)}]"
        if point.low is not None
        else f"statistic {number(point.statistic, 2)}, limit ±{number(one.chart.limit, 2)}"
    )
    return (
        f"{head}: {one.outcome}, {signed(point.estimate)} on {point.date}, {limits}, n = {_count(point.n_group)} and "
        f"{_count(point.n_reference)}"
    )


def _count(n: float) -> str:
    return number(round(n)) if float(n).is_integer() else number(float(n), 1)


def _charts(record: MonitoringLike, metric: str | None) -> list[GapLike]:
    charts = [one for one in record.charts if metric in {None, one.metric} and one.chart.points]
    if not charts:
        known = dict.fromkeys(one.metric for one in record.charts)
        asked = "no chart" if metric is None else f"no chart of {metric!r}"
        raise UsageError(
            f"the monitoring holds {asked}: there is nothing to draw. It has {first(known, 12) or 'none'}."
        )
    return sorted(charts, key=lambda one: {"alarm": 0, "not assessed": 1}.get(str(one.outcome), 2))


def _day(at: date) -> float:
    """A date as a place along the axis."""
    return float(date2num(at))  # type: ignore[no-untyped-call]


def _panel(axes: Axes, one: GapLike, since: date | None) -> None:
    chart = one.chart
    smooth = chart.kind == "ewma"
    places = [_day(point.date) for point in chart.points]
    base = [x for x, point in zip(places, chart.points, strict=True) if point.status == "baseline"]
    step = min((b - a for a, b in pairwise(places)), default=1.0)
    if base:
        axes.axvspan(base[0] - step / 2, base[-1] + step / 2, color=BAND, zorder=0)
    if since is not None:
        axes.axvline(_day(since), color=MUTED, linewidth=0.8, dashes=(2, 2))
    middle = 0.0 if smooth else chart.centre
    if middle is not None:
        axes.axhline(middle, color=MUTED, linewidth=0.9)
    _limits(axes, chart, places, smooth)
    values = [point.statistic if smooth else point.estimate for point in chart.points]
    there = [(x, v) for x, v in zip(places, values, strict=True) if v is not None]
    axes.plot([x for x, _ in there], [v for _, v in there], color=RULE, linewidth=1.0, zorder=1)
    for x, value, point in zip(places, values, chart.points, strict=True):
        mark, colour, filled = LOOKS[str(point.status)]
        if value is None:  # nobody in a denominator: a cross at the foot, where it can be seen
            axes.plot([x], [0.04], mark, color=colour, markersize=4.5, transform=axes.get_xaxis_transform())
            continue
        out = point.status in {"grew", "shrank"}
        axes.plot(
            [x],
            [value],
            marker=mark,
            markersize=7 if out else 4.5,
            color=colour,
            markerfacecolor=colour if filled else "white",
            linestyle="none",
            zorder=4 if out else 3,
        )
    _dress(axes, one, smooth)


def _limits(axes: Axes, chart: ChartLike, places: list[float], smooth: bool) -> None:
    if smooth:
        for sign in (-1, 1):
            if chart.limit is not None:
                axes.axhline(sign * chart.limit, color=INK, linewidth=0.9, dashes=(5, 2))
        return
    known = [
        (x, point.low, point.high)
        for x, point in zip(places, chart.points, strict=True)
        if point.low is not None and point.high is not None
    ]
    for side in (1, 2):
        axes.step(
            [row[0] for row in known],
            [float(row[side] or 0.0) for row in known],
            where="mid",
            color=INK,
            linewidth=0.9,
            linestyle=(0, (5, 2)),
            zorder=2,
        )


def _dress(axes: Axes, one: GapLike, smooth: bool) -> None:
    bare(axes)
    axes.spines["left"].set_visible(True)
    axes.yaxis.set_major_formatter(PlainTicks())
    axes.locator_params(axis="y", nbins=5)
    axes.margins(y=0.14)
    axes.set_ylabel("smoothed, in\nstandard errors" if smooth else "gap", fontsize=7.5)
    sides = []
    for side in ("n_group", "n_reference"):
        n = [float(getattr(point, side)) for point in one.chart.points]
        sides.append(_count(min(n)) if min(n) == max(n) else f"{_count(min(n))} to {_count(max(n))}")
    axes.set_title(
        f"{fitted(spoken(one.metric), 2.3, 8.5, bold=True)}, {fitted(one.group, 1.5, 8.5, bold=True)} − "
        f"{fitted(one.reference, 1.5, 8.5, bold=True)}: {one.outcome}",
        fontsize=8.5,
        pad=14,
        color=ORANGE if one.outcome == "alarm" else INK,
    )
    reason = _said(one)
    axes.text(
        0,
        1.03,
        fitted(f"n {sides[0]} and {sides[1]} per date{f'; {reason}' if reason else ''}", WIDTH - 0.8, 7.5),
        transform=axes.transAxes,
        fontsize=7.5,
        color=MUTED,
        va="bottom",
    )


def _said(one: GapLike) -> str:
    """When a gap left its limits, in few words; else why it was not judged."""
    chart = one.chart
    grew = [point for point in chart.points if point.status == "grew"]
    out = grew or [point for point in chart.points if point.status == "shrank"]
    if not out or one.outcome == "not assessed":
        return one.reason or chart.reason
    last = out[-1]
    when = f"on {last.date}" if len(out) == 1 else f"on {len(out)} dates, last {last.date}"
    return f"{last.status} {when}: {signed(last.estimate)}, usually {signed(chart.centre)}"


def _legend(axes: Axes) -> None:
    words = {
        "grew": "grew",
        "shrank": "shrank",
        "in control": "in control",
        "baseline": "baseline",
        "too small": "too small",
    }
    handles = [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=LOOKS[status][0],
            color=LOOKS[status][1],
            markerfacecolor=LOOKS[status][1] if LOOKS[status][2] else "white",
            markersize=5,
            label=word,
        )
        for status, word in words.items()
    ]
    handles.append(Line2D([], [], color=INK, linewidth=0.9, dashes=(5, 2), label="limits"))
    axes.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0, 1.23),
        ncols=6,
        frameon=False,
        fontsize=7.5,
        borderpad=0,
        handletextpad=0.3,
        columnspacing=1.1,
    )
