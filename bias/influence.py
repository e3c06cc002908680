"""An estimate with the influence of each row on it: standard errors, clusters and differences from one rule."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from ..errors import DataError, UsageError, first
from .intervals import Interval, Means

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Scale = Literal["identity", "log", "logit"]
MOST_LOGGED = 300.0  # an end more than e to this times the estimate away is put there: it says nothing, and stays a number


@dataclass(frozen=True, slots=True, kw_only=True)
class Influenced:
    """An estimate, and what each row adds to its error: estimate - truth is about the mean of the influence.

    With n the sum of `count`, se^2 = sum(count * influence^2) / (n (n - 1)). For a mean, whose influence is
    value - mean, this is s^2 / n; for a weighted mean it is n * weight * (value - mean) / sum(count * weight).
    Influence is that of one row: a row that stands for `count` equal rows gives each of them this much.
    Source: Hampel 1974; as `linearisation` in Deville 1999, Survey Methodology 25.
    """

    estimate: float
    influence: Floats  # (row,), in units of the estimate; sums to about zero with `count`
    rows: (
        Ints | None
    )  # (row,) positions in the table that estimates are compared on; None: all its rows in order
    count: Ints | None = None  # (row,) how many equal rows each stands for; None: one

    def __post_init__(self) -> None:
        if not math.isfinite(self.estimate):
            raise UsageError(
                f"the estimate is {self.estimate}; a finite number is expected, leave undefined ones out."
            )
        size = len(self.influence)
        for name, values in (("rows", self.rows), ("count", self.count)):
            if values is not None and values.shape != (size,):
                raise DataError(f"{name} has shape {values.shape}, {(size,)} is expected, as of influence.")
        if self.rows is not None and size and (self.rows.min() < 0 or np.bincount(self.rows).max() > 1):
            raise DataError("rows holds a position twice, or a negative one: each row of the table once.")
        bad = np.flatnonzero(~np.isfinite(self.influence))
        if len(bad):
            raise DataError(
                f"influence is no finite number at {first(bad)}: the estimate has no derivative there."
            )
        if self.count is not None and np.any(self.count < 0):
            raise DataError(
                f"count is negative at {first(np.flatnonzero(self.count < 0))}; expected 0 or more."
            )

    @property
    def n(self) -> int:
        """Rows that the estimate is of, each as often as it counts."""
        return len(self.influence) if self.count is None else int(self.count.sum())

    def se(self, cluster: Ints | None = None) -> float:
        """Standard error in units of the estimate; see `means`."""
        return self.means(cluster).se

    def means(self, cluster: Ints | None = None) -> Means:
        """Estimate, standard error, degrees of freedom (n - 1, or clusters - 1).

        Args:
            cluster: (table row,) codes of what was drawn independently (people, documents). Influence is summed
                within each first: se^2 = G / (G - 1) sum over G clusters of (sum of count * influence / n)^2.

        Raises:
            DataError: fewer than two rows, or all of them in one cluster.
        """
        variance = float(covariance([self], cluster)[0, 0])
        return Means(float(self.estimate), math.sqrt(variance), float(_units(self, cluster) - 1))

    def interval(
        self, confidence: float = 0.95, *, cluster: Ints | None = None, scale: Scale = "identity"
    ) -> Interval:
        """Student's t interval, made on `scale` and brought back (delta method).

        Raises:
            UsageError: the estimate is not inside the range of the scale, as an AUC of 1 on the logit's.
        """
        made = self.means(cluster)
        half = float(stats.t.ppf(0.5 + confidence / 2, made.df)) * made.se
        at = float(self.estimate)
        if scale == "identity":
            return Interval(at - half, at + half)
        if at <= 0 or (scale == "logit" and at >= 1):
            raise UsageError(
                f"an estimate of {at} has no interval on the {scale} scale: take an exact bound."
            )
        if scale == "log":
            factor = math.exp(min(half / at, MOST_LOGGED))
            return Interval(at / factor, at * factor)
        middle, half = math.log(at / (1 - at)), half / (at * (1 - at))
        return Interval(_expit(middle - half), _expit(middle + half))

    def exceeds_p(self, tolerance: float = 0.0, *, cluster: Ints | None = None) -> float:
        """p of the hypothesis |estimate| <= tolerance."""
        return self.means(cluster).exceeds_p(tolerance)


def mean(
    values: Floats, *, rows: Ints | None, count: Ints | None = None, weight: Floats | None = None
) -> Influenced:
    """The mean of some rows with its influence; with `weight` the weighted one (a ratio of two sums).

    Args:
        values: (row,) numbers, or 0 and 1 for a rate.
        rows: (row,) positions in the table that is compared on; None: all its rows in order.
        count: (row,) how many equal rows each stands for.
        weight: (row,) sampling weights.

    Raises:
        DataError: no rows, or weights that are negative or nothing in all.
    """
    given = np.asarray(values, dtype=np.float64)
    parts = np.ones(len(given)) if weight is None else np.asarray(weight, dtype=np.float64)
    times = np.ones(len(given)) if count is None else np.asarray(count, dtype=np.float64)
    if np.any(~(parts >= 0)) or not np.all(np.isfinite(parts)):
        raise DataError(f"weight is negative or no number at {first(np.flatnonzero(~(parts >= 0)))}.")
    total = float(np.sum(parts * times))
    if not total > 0:
        raise DataError("there are no rows, or none that weighs anything: their mean is undefined.")
    centre = float(np.sum(parts * times * given) / total)
    influence = float(times.sum()) / total * parts * (given - centre)
    return Influenced(estimate=centre, influence=influence, rows=rows, count=count)


def difference(a: Influenced, b: Influenced, *, cluster: Ints | None = None) -> Means:
    """a - b, with its standard error from the influence of each row (or cluster) on both.

    Rows or clusters that both use are counted once, with the difference of what they do: the same rows twice
    give the paired t test, disjoint rows Welch's. Degrees of freedom are Welch's where nothing is shared, else
    those of the one with fewer rows (clusters).

    Returns:
        A difference of means: `.interval(confidence)` and `.exceeds_p(tolerance)` are its interval and p.

    Raises:
        DataError: fewer than two rows or clusters in one, or counts of a shared row that differ.
    """
    (one, other), times = _parts([a, b], cluster)
    variance = float(np.sum(times * (one - other) ** 2))
    df_a, df_b = float(_units(a, cluster) - 1), float(_units(b, cluster) - 1)
    df = min(df_a, df_b)
    if not shared(a, b, cluster):
        part = float(np.sum(times * one**2)) / variance if variance > 0 else 0.5
        df = float(1 / (part**2 / df_a + (1 - part) ** 2 / df_b))
    return Means(float(a.estimate - b.estimate), math.sqrt(variance), df)


def covariance(estimates: Sequence[Influenced], cluster: Ints | None = None) -> Floats:
    """Covariance of several estimates that may share rows, (estimate, estimate).

    With it follow differences, and by the delta method any smooth function: gradient @ covariance @ gradient.
    """
    parts, times = _parts(estimates, cluster)
    made: Floats = (parts * times) @ parts.T
    return made


def _parts(estimates: Sequence[Influenced], cluster: Ints | None) -> tuple[Floats, Ints]:
    """What each row (or cluster) adds to each estimate, (estimate, unit), and how often it does, (unit,)."""
    size = max(_end(estimate) for estimate in estimates)
    codes = None if cluster is None else _codes(cluster, size)
    n_units = size if codes is None else int(codes.max(initial=-1)) + 1
    parts = np.zeros((len(estimates), n_units))
    times = np.full(n_units, 0 if codes is None else 1, dtype=np.int64)
    for part, estimate in zip(parts, estimates, strict=True):
        units = _units(estimate, cluster)
        if units < 2:
            raise DataError(_too_few(estimate, cluster))
        # The square root shares out the small-sample factor, so that a difference gets each side's own.
        influence = estimate.influence * (math.sqrt(units / (units - 1)) / estimate.n)
        where = np.arange(len(influence)) if estimate.rows is None else estimate.rows
        count = np.ones(len(where), dtype=np.int64) if estimate.count is None else estimate.count
        if codes is not None:
            part += np.bincount(codes[where], count * influence, minlength=n_units)
            continue
        clash = where[(times[where] > 0) & (count > 0) & (times[where] != count)]
        if len(clash):
            raise DataError(f"rows {first(clash)} have another count in one estimate than in another.")
        times[where] = np.maximum(times[where], count)
        part[where] = np.where(count > 0, influence, 0.0)
    return parts, times


def _codes(cluster: Ints, size: int) -> Ints:
    if cluster.ndim != 1 or len(cluster) < size:
        raise DataError(
            f"cluster has shape {cluster.shape}; one code for each of at least {size} rows is expected."
        )
    if not np.issubdtype(cluster.dtype, np.integer) or np.any(cluster < 0):
        raise DataError("cluster holds something other than codes 0, 1, ...: give every row a cluster.")
    if int(cluster.max(initial=0)) < 4 * len(cluster):
        return cluster
    codes: Ints = np.unique(cluster, return_inverse=True)[1]
    return codes


def _rows(estimate: Influenced) -> Ints:
    """Positions of the rows that count for something."""
    where: Ints = np.arange(len(estimate.influence)) if estimate.rows is None else estimate.rows
    return where if estimate.count is None else where[estimate.count > 0]


def _end(estimate: Influenced) -> int:
    return len(estimate.influence) if estimate.rows is None else int(estimate.rows.max(initial=-1)) + 1


def _units(estimate: Influenced, cluster: Ints | None) -> int:
    """Independent draws: rows, or clusters that have a row of this estimate."""
    if cluster is None:
        return estimate.n
    return int(np.count_nonzero(np.bincount(_codes(cluster, _end(estimate))[_rows(estimate)])))


def shared(a: Influenced, b: Influenced, cluster: Ints | None) -> bool:
    """Whether two estimates use a row, or a cluster, in common."""
    mine, theirs = _rows(a), _rows(b)
    if cluster is not None:
        codes = _codes(cluster, max(_end(a), _end(b)))
        mine, theirs = codes[mine], codes[theirs]
    used = np.zeros(int(max(mine.max(initial=0), theirs.max(initial=0))) + 1, dtype=np.bool_)
    used[mine] = True
    return bool(used[theirs].any())


def _too_few(estimate: Influenced, cluster: Ints | None) -> str:
    if cluster is not None and estimate.n > 1:
        return (
            f"all {estimate.n} rows are in one cluster: their standard error is unknown. Name a cluster column "
            "that tells independent people or documents apart, or none."
        )
    return f"{estimate.n} rows have no standard error; two are needed."


def _expit(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
