"""Pairs of a row and its swapped copy: how often the decision flips, how far the score moves."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from ..errors import DataError
from .clusters import Clustered, clustered_mean, clustered_rate
from .intervals import Interval, Means, clopper_pearson, wilson
from .paired import mcnemar_exact, newcombe_paired, pair
from .resampling import bootstrap_rows

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
FEW_CLUSTERS = 30
FEW_PAIRS = 20  # below it, and at no or only flips, the exact interval is shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Flips:
    """How often the prediction of a swapped copy differs from that of its original."""

    n: int  # pairs
    n_units: int  # pairs, or clusters of them
    n_flipped: int
    rate: float  # n_flipped / n
    low: float | None  # None where everything is in one cluster
    high: float | None
    interval: str  # which interval it is
    n_to_positive: int | None  # negative before and positive after; None where predictions are not two-valued
    n_to_negative: int | None
    difference: float | None  # share predicted positive after minus before
    difference_low: float | None
    difference_high: float | None
    p_direction: float | None  # of "as many flip one way as the other"; None where none flipped
    direction_test: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """How far the score moves from an original to its swapped copy: score after minus before."""

    n: int
    n_units: int
    mean: float | None  # None over several directions, where opposite shifts would cancel
    low: float | None
    high: float | None
    p: float | None  # of "the mean shift is 0": paired t, or its cluster-robust form
    interval: str
    mean_absolute: float  # mean |shift|: of the shifts of single pairs, whatever their sign
    mean_absolute_low: float | None
    mean_absolute_high: float | None
    largest: float  # largest |shift|


def flips(
    before: npt.NDArray[np.generic],
    after: npt.NDArray[np.generic],
    *,
    cluster: Ints | None = None,
    confidence: float = 0.95,
) -> Flips:
    """The flip rate with its interval, and in which direction decisions flip.

    The interval is Wilson's, of fewer than 20 pairs or where none or all flip Clopper and Pearson's; in clusters
    Wilson's from the effective number of pairs (Korn & Graubard 1998). Direction: McNemar's exact test and
    Newcombe's paired interval; in clusters, where pairs are not independent, the cluster-robust t of after minus before.

    Args:
        before, after: (pair,) predictions. Of bool there is a direction.
        cluster: (pair,) codes of what was drawn independently: documents, templates, people.
    """
    flipped = np.asarray(before != after)
    n, k = len(flipped), int(np.count_nonzero(flipped))
    units = n if cluster is None else len(np.unique(cluster))
    shown, kind = _rate_interval(flipped, cluster, confidence)
    up = down = None
    gap: Interval | None = None
    p: float | None = None
    test = ""
    if before.dtype == np.bool_ and after.dtype == np.bool_:
        moved = after.astype(np.float64) - before.astype(np.float64)
        up, down = int(np.count_nonzero(moved > 0)), int(np.count_nonzero(moved < 0))
        if cluster is None:
            cells = pair(after.astype(np.bool_), before.astype(np.bool_))
            gap, test = newcombe_paired(cells, confidence), "McNemar exact"
            p = mcnemar_exact(cells).p if k else None
        elif units > 1:
            mean = _means(clustered_mean(moved, cluster=cluster))
            gap, test = mean.interval(confidence), "cluster-robust t"
            p = mean.exceeds_p() if k else None
    return Flips(
        n=n,
        n_units=units,
        n_flipped=k,
        rate=k / n,
        low=None if shown is None else shown.low,
        high=None if shown is None else shown.high,
        interval=kind,
        n_to_positive=up,
        n_to_negative=down,
        difference=None if up is None or down is None else (up - down) / n,
        difference_low=None if gap is None else gap.low,
        difference_high=None if gap is None else gap.high,
        p_direction=p,
        direction_test=test,
    )


def shift(
    before: Floats,
    after: Floats,
    *,
    cluster: Ints | None = None,
    confidence: float = 0.95,
    one_direction: bool = True,
    replicates: int = 0,
    seed: int = 0,
) -> Shift:
    """The mean shift of the score and the mean of its size, with intervals.

    Student's t of the differences (the paired t test); in clusters they are added up within each first and degrees of
    freedom are clusters - 1. With `replicates`, the BCa bootstrap over pairs or clusters in its place; of several
    directions there is no mean shift. Intervals need two pairs (clusters); of one they are None.
    """
    moved = after - before
    n = len(moved)
    units = n if cluster is None else len(np.unique(cluster))
    kind = "paired t" if cluster is None else "cluster-robust t"
    ends: list[Interval | None] = [None, None]
    p = None
    columns = (moved, np.abs(moved))
    if units > 1:
        p = _means(clustered_mean(moved, cluster=cluster)).exceeds_p()
        if replicates:
            kind = f"BCa bootstrap over {'pairs' if cluster is None else 'clusters'}, {replicates} replicates"
            ends = [_bca(values, cluster, confidence, replicates, seed) for values in columns]
        else:
            ends = [clustered_mean(values, cluster=cluster).interval(confidence) for values in columns]
    of_mean, of_size = ends
    shown = of_mean if one_direction else None
    return Shift(
        n=n,
        n_units=units,
        mean=float(moved.mean()) if one_direction else None,
        low=None if shown is None else shown.low,
        high=None if shown is None else shown.high,
        p=p if one_direction else None,
        interval=kind if units > 1 else "none: one pair or cluster",
        mean_absolute=float(np.abs(moved).mean()),
        mean_absolute_low=None if of_size is None else max(0.0, of_size.low),
        mean_absolute_high=None if of_size is None else of_size.high,
        largest=float(np.abs(moved).max()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """One number held against its tolerance: the bound for "within", the p for "exceeds", how many pairs settle it."""

    estimate: float
    upper: float  # one-sided 1 - alpha upper bound (of the size, for a signed number)
    p: float  # of "no more than the tolerance"
    n_needed: int | None  # more pairs that would settle it; None where no number would


def rate_bound(
    flipped: Bools, tolerance: float, *, cluster: Ints | None = None, alpha: float = 0.05
) -> Bound:
    """A rate against its tolerance: Clopper and Pearson's one-sided bound, and the exact binomial test.

    In clusters both are taken at the effective number of pairs, with its small-sample factor, which need not be whole
    (Korn & Graubard 1998). With fewer than 30 clusters the bound counts each of them as one pair: how much rare flips
    cluster cannot be seen in so few, and simulated false "within" was up to 12 % at a nominal 5 %.

    Raises:
        DataError: everything is in one cluster.
    """
    made = clustered_rate(flipped, cluster=cluster)
    n = float(made.n) if cluster is None else min(float(made.n), made.adjusted_n(1 - 2 * alpha))
    k = made.estimate * n
    p = 1.0 if k == 0 else float(stats.beta.cdf(tolerance, k, n - k + 1))
    if made.n_clusters is not None and made.n_clusters < min(FEW_CLUSTERS, made.n):
        n = min(n, float(made.n_clusters))
        k = made.estimate * n
    upper = 1.0 if made.estimate == 1 else float(stats.beta.ppf(1 - alpha, k + 1, n - k))
    needed = None
    if made.estimate != tolerance:
        spread = _z(alpha) * math.sqrt(tolerance * (1 - tolerance))
        spread += stats.norm.ppf(0.8) * math.sqrt(made.estimate * (1 - made.estimate))
        needed = max(1, math.ceil(made.n / n * (spread / (tolerance - made.estimate)) ** 2) - made.n)
    if tolerance == 0 and k == 0:
        needed = None
    return Bound(estimate=made.estimate, upper=upper, p=p, n_needed=needed)


def mean_bound(
    values: Floats, tolerance: float, *, cluster: Ints | None = None, alpha: float = 0.05, signed: bool
) -> Bound:
    """A mean against its tolerance, by Student's t (cluster-robust): of a signed one its size is held against it.

    Raises:
        DataError: fewer than two values, or all of them in one cluster.
    """
    found = _means(clustered_mean(values, cluster=cluster))
    ends = found.interval(1 - 2 * alpha)
    if signed:
        upper, p = max(abs(ends.low), abs(ends.high)), found.exceeds_p(tolerance)
    else:
        upper = ends.high
        over = found.estimate - tolerance
        p = float(stats.t.sf(over / found.se, found.df)) if found.se else (0.0 if over > 0 else 1.0)
    distance = abs(abs(found.estimate) - tolerance)
    needed = None
    if distance > 0:
        per_pair = len(values) * found.se**2
        z = _z(alpha) + float(stats.norm.ppf(0.8))
        needed = max(1, math.ceil(per_pair * (z / distance) ** 2) - len(values))
    return Bound(estimate=found.estimate, upper=upper, p=p, n_needed=needed)


def _means(made: Clustered) -> Means:
    return Means(made.estimate, made.se, made.df)


def _z(alpha: float) -> float:
    return float(stats.norm.ppf(1 - alpha))


def _rate_interval(flipped: Bools, cluster: Ints | None, confidence: float) -> tuple[Interval | None, str]:
    n, k = len(flipped), int(np.count_nonzero(flipped))
    if cluster is None:
        if n < FEW_PAIRS or k in (0, n):
            return clopper_pearson(k, n, confidence), "Clopper-Pearson"
        return wilson(k, n, confidence), "Wilson"
    if len(np.unique(cluster)) < 2:
        return None, "none: one cluster"
    return clustered_rate(flipped, cluster=cluster).interval(confidence), "Wilson at the effective number"


def _bca(
    values: Floats, cluster: Ints | None, confidence: float, replicates: int, seed: int
) -> Interval | None:
    if np.ptp(values) == 0:
        return Interval(float(values[0]), float(values[0]))
    (made,) = bootstrap_rows(np.mean, values, cluster=cluster, replicates=replicates, seed=seed, bca=True)
    try:
        return made.bca(confidence)
    except DataError:
        return None
