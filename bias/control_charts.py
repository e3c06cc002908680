"""One gap over time as a control chart: its centre, its noise, its limits, and the dates that leave them.

The noise of a date is that of its rows (binomial, for a rate, at the baseline's rate) times a dispersion that the
baseline shows: a p'-chart of a difference (Laney 2002, Quality Engineering 14, 531). Departures: the dispersion
is the baseline's mean squared deviation instead of its moving range; it is never below what independent rows fall
short of once in twenty; the limits are prediction limits, Student's t with the error of the centre in them, so
that a short baseline makes them wide instead of making false alarms.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from ..errors import UsageError

Kind = Literal["shewhart", "ewma"]
PointStatus = Literal["baseline", "in control", "grew", "shrank", "too small"]
LEAST_BASELINE = 5
LEAST_EXPECTED, LEAST_BINOMIAL = 5.0, 20.0
RARELY = 0.05  # how often independent rows vary less between dates than is believed


class Tally(NamedTuple):
    """One metric of one group at one date: effective rows in the denominator, their mean, their squared deviations."""

    n: float
    mean: float
    squares: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One date of a chart."""

    date: date
    n_group: float  # denominators; with weights Kish's effective number
    n_reference: float
    estimate: float | None  # the gap: group minus reference
    low: float | None  # limits of the gap; None where the chart smooths over dates
    high: float | None
    statistic: (
        float | None
    )  # deviation from the centre in standard errors; of the smoothed gap where it smooths
    status: PointStatus
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A gap over time. `centre` and `dispersion` are None where the baseline gives none, and `reason` says why."""

    kind: Kind
    centre: float | None
    dispersion: float | None  # variance between dates over that of independent rows
    limit: float | None  # of |statistic|
    level: float  # chance that one date in control alarms
    n_baseline: int  # usable dates
    points: tuple[Point, ...]
    reason: str = ""

    @property
    def alarms(self) -> tuple[Point, ...]:
        """The dates out of control."""
        return tuple(point for point in self.points if point.status in {"grew", "shrank"})


def control_chart(
    dates: Sequence[date],
    groups: Sequence[Tally],
    references: Sequence[Tally],
    *,
    baseline: int,
    level: float,
    is_rate: bool,
    kind: Kind = "shewhart",
    smoothing: float = 0.2,
    binomial: bool = False,
    least: float | None = None,
    smallest: int = 1,
) -> Chart:
    """The gap of two groups at each date, and whether it left the limits that the first dates set.

    Args:
        dates: ascending.
        groups, references: one tally for each date.
        baseline: how many of the first dates set centre and dispersion.
        level: the chance that a date without a change alarms, on either side.
        is_rate: whether means are rates of yes or no.
        kind: "shewhart" looks at each date alone, "ewma" at an exponentially weighted mean of them (Roberts 1959),
            which finds small lasting shifts sooner.
        smoothing: the weight of the newest date in it.
        binomial: take the dispersion as 1: only where dates vary by the drawing of rows and by nothing else.
        least: yes and no expected of each group at the baseline's rate (rows, of a mean) below which a date is too
            small; None is 5, and 20 with binomial limits, whose normal curve is trusted further out.
        smallest: rows in a denominator below which a date is too small whatever its rate.

    Raises:
        UsageError: a level or smoothing that is none, fewer baseline dates than 5.
    """
    if not 0 < level < 1 or not 0 < smoothing <= 1:
        raise UsageError(f"the level is {level} and the smoothing {smoothing}; both lie between 0 and 1.")
    if baseline < LEAST_BASELINE:
        raise UsageError(f"the baseline is {baseline} dates; {LEAST_BASELINE} or more are needed for limits.")
    enough = least if least is not None else (LEAST_BINOMIAL if binomial else LEAST_EXPECTED)
    spread = [_within(tallies[:baseline], is_rate) for tallies in (groups, references)]
    usable = [
        all(
            tally.n >= smallest and _large(tally, part, enough, is_rate)
            for tally, part in zip(pair, spread, strict=True)
        )
        for pair in zip(groups, references, strict=True)
    ]
    gaps = [a.mean - b.mean for a, b in zip(groups, references, strict=True)]
    noise = [
        spread[0].variance / a.n + spread[1].variance / b.n if fine else math.nan
        for a, b, fine in zip(groups, references, usable, strict=True)
    ]
    first_ones = [i for i in range(min(baseline, len(dates))) if usable[i]]
    found = _baseline([gaps[i] for i in first_ones], [noise[i] for i in first_ones], binomial)
    limit = None
    if found is not None:
        tail = level / 2
        limit = float(stats.norm.isf(tail) if binomial else stats.t.isf(tail, len(first_ones) - 1))
    points: list[Point] = []
    walk = _Walk(found, smoothing if kind == "ewma" else 1.0)
    for i, at in enumerate(dates):
        status: PointStatus = "baseline" if i < baseline else "in control"
        low = high = statistic = None
        note = ""
        if not usable[i]:
            status, note = "too small", _too_small(groups[i], references[i], enough, smallest, is_rate)
        elif found is not None and limit is not None:
            statistic, error = walk.at(gaps[i], noise[i], follow=i >= baseline)
            if kind == "shewhart":
                low, high = found.centre - limit * error, found.centre + limit * error
            if abs(statistic) > limit:
                if i < baseline:
                    note = "outside the limits that it helped to set"
                else:
                    away = found.centre == 0 or abs(found.centre + statistic * error) > abs(found.centre)
                    status = "grew" if away else "shrank"
        empty = min(groups[i].n, references[i].n) <= 0
        points.append(
            Point(
                date=at,
                n_group=groups[i].n,
                n_reference=references[i].n,
                estimate=None if empty else gaps[i],
                low=low,
                high=high,
                statistic=statistic,
                status=status,
                note=note,
            )
        )
    return Chart(
        kind=kind,
        centre=found.centre if found else None,
        dispersion=found.dispersion if found else None,
        limit=limit,
        level=level,
        n_baseline=len(first_ones),
        points=tuple(points),
        reason=""
        if found
        else f"{len(first_ones)} of the first {baseline} dates are large enough; {LEAST_BASELINE} are needed for limits",
    )


class _Baseline(NamedTuple):
    centre: float
    information: float  # sum of 1 / noise
    dispersion: float


def _baseline(gaps: Sequence[float], noise: Sequence[float], binomial: bool) -> _Baseline | None:
    if len(gaps) < LEAST_BASELINE:
        return None
    d, v = np.asarray(gaps), np.asarray(noise)
    information = float(np.sum(1 / v))
    centre = float(np.sum(d / v)) / information
    seen = float(np.sum((d - centre) ** 2 / v)) / (len(d) - 1)
    least = float(stats.chi2.ppf(RARELY, len(d) - 1)) / (len(d) - 1)
    return _Baseline(centre, information, 1.0 if binomial else max(least, seen))


class _Walk:
    """The deviation from the centre along the dates, smoothed where newer dates weigh less than all."""

    def __init__(self, found: _Baseline | None, smoothing: float) -> None:
        self.found = found
        self.smoothing = smoothing
        self.value = 0.0  # smoothed deviation in units of each date's noise
        self.own = 0.0  # sum of squared weights
        self.shared = 0.0  # sum of weight / noise's root: how the centre's error enters

    def at(self, gap: float, noise: float, *, follow: bool) -> tuple[float, float]:
        """The statistic of a date, and the error of the gap that it is in units of."""
        assert self.found is not None
        root = math.sqrt(noise)
        part = self.smoothing if follow else 1.0
        kept = 1 - part
        value = kept * self.value + part * (gap - self.found.centre) / root
        own = kept**2 * self.own + part**2
        shared = kept * self.shared + part / root
        if follow:
            self.value, self.own, self.shared = value, own, shared
        error = math.sqrt(self.found.dispersion * (own + shared**2 / self.found.information))
        return value / error, error * root


class _Spread(NamedTuple):
    rate: float  # mean over the baseline
    variance: float  # of one row


def _within(tallies: Sequence[Tally], is_rate: bool) -> _Spread:
    there = [tally for tally in tallies if tally.n > 0]
    n = sum(tally.n for tally in there)
    if n <= 0:
        return _Spread(math.nan, math.nan)
    rate = sum(tally.n * tally.mean for tally in there) / n
    if is_rate:
        return _Spread(rate, rate * (1 - rate))
    free = n - len(there)
    return _Spread(rate, sum(tally.squares for tally in there) / free if free > 0 else math.nan)


def _large(tally: Tally, spread: _Spread, least: float, is_rate: bool) -> bool:
    if not tally.n > 0 or not spread.variance > 0:
        return False
    expected = tally.n * (min(spread.rate, 1 - spread.rate) if is_rate else 1.0)
    return expected >= least


def _too_small(group: Tally, reference: Tally, least: float, smallest: int, is_rate: bool) -> str:
    sizes = f"{group.n:g} and {reference.n:g} in the denominators"
    if min(group.n, reference.n) < smallest:
        return f"{sizes}: fewer than {smallest} in one"
    if is_rate:
        return f"{sizes}: fewer than {least:g} of yes or of no are expected at the baseline's rates"
    return f"{sizes}: fewer than {least:g} in one, or values that never vary"
