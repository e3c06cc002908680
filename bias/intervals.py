"""Intervals and tests for a rate, for a difference of rates, for a ratio of rates and for a difference of means."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special, stats

MOST_ROWS = 10**9


class Interval(NamedTuple):
    """A lower and an upper end."""

    low: float
    high: float


def _z(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, expected between 0 and 1")
    return float(special.ndtri(0.5 + confidence / 2))


def _counted(k: int, n: int) -> None:
    if n < 1 or not 0 <= k <= n:
        raise ValueError(f"{k} of {n} is no rate: expected 0 <= k <= n and n >= 1")


def wilson(k: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of k / n (1927), without continuity correction."""
    _counted(k, n)
    return _wilson(k / n, n, confidence)


def wilson_of_effective_n(rate: float, n: float, confidence: float = 0.95) -> Interval:
    """Wilson's interval of a rate seen in n rows, where n may be fractional: an effective number of rows.

    For weighted or clustered rows (Korn & Graubard 1998, Survey Methodology 24; Dean & Pagano 2015, Statistical
    Methods in Medical Research 24).
    """
    if not 0 <= rate <= 1 or not 0 < n < math.inf:
        raise ValueError(f"a rate of {rate} in {n} rows: expected 0 <= rate <= 1 and n > 0")
    return _wilson(rate, n, confidence)


def newcombe_of_effective_n(
    rate_1: float, n_1: float, rate_2: float, n_2: float, confidence: float = 0.95
) -> Interval:
    """Newcombe's interval (method 10) of a difference of rates from two effective numbers of rows, independent."""
    l1, u1 = wilson_of_effective_n(rate_1, n_1, confidence)
    l2, u2 = wilson_of_effective_n(rate_2, n_2, confidence)
    d = rate_1 - rate_2
    return Interval(d - math.hypot(rate_1 - l1, u2 - rate_2), d + math.hypot(u1 - rate_1, rate_2 - l2))


def _wilson(p: float, n: float, confidence: float) -> Interval:
    z = _z(confidence)
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = 0.0 if p == 0 else (centre - half) / scale
    high = 1.0 if p == 1 else (centre + half) / scale
    return Interval(low, high)


def clopper_pearson(k: int, n: int, confidence: float = 0.95) -> Interval:
    """Clopper & Pearson's exact interval of k / n (1934)."""
    _counted(k, n)
    tail = (1 - confidence) / 2
    low = 0.0 if k == 0 else float(stats.beta.ppf(tail, k, n - k + 1))
    high = 1.0 if k == n else float(stats.beta.ppf(1 - tail, k + 1, n - k))
    return Interval(low, high)


def upper_bound_of_none(n: int, confidence: float = 0.95) -> float:
    """The one-sided upper bound of a rate of which 0 of n were seen: 1 - alpha ** (1 / n)."""
    _counted(0, n)
    return float(1 - (1 - confidence) ** (1 / n))


def newcombe(k1: int, n1: int, k2: int, n2: int, confidence: float = 0.95) -> Interval:
    """Newcombe's hybrid score interval of k1/n1 - k2/n2 (1998, method 10)."""
    _counted(k1, n1)
    _counted(k2, n2)
    p1, p2 = k1 / n1, k2 / n2
    l1, u1 = wilson(k1, n1, confidence)
    l2, u2 = wilson(k2, n2, confidence)
    d = p1 - p2
    return Interval(d - math.hypot(p1 - l1, u2 - p2), d + math.hypot(u1 - p1, p2 - l2))


def katz(k1: int, n1: int, k2: int, n2: int, confidence: float = 0.95) -> Interval:
    """Katz's log interval of the ratio (k1/n1) / (k2/n2) (1978).

    Raises:
        ValueError: a count is zero, where the log ratio has no finite standard error.
    """
    if k1 == 0 or k2 == 0:
        raise ValueError("a ratio of a rate of zero has no log interval")
    spread = _z(confidence) * math.sqrt(1 / k1 - 1 / n1 + 1 / k2 - 1 / n2)
    ratio = (k1 / n1) / (k2 / n2)
    return Interval(ratio * math.exp(-spread), ratio * math.exp(spread))


def exceeds_p(k1: int, n1: int, k2: int, n2: int, tolerance: float = 0.0) -> float:
    """p of the hypothesis |p1 - p2| <= tolerance, from Farrington & Manning's score statistic (1990).

    The chance, at the edge of the hypothesis, of a statistic as far out on either side; at tolerance 0 the
    two-sided score test of equality. For large groups: see `exact.exact_exceeds_p`.
    """
    _counted(k1, n1)
    _counted(k2, n2)
    if k1 / n1 < k2 / n2:
        k1, n1, k2, n2 = k2, n2, k1, n1
    gap = k1 / n1 - k2 / n2
    se = float(_restricted_error(k1 / n1, n1, k2 / n2, n2, tolerance))
    if se == 0:
        return 1.0 if gap <= tolerance else 0.0
    return float(min(1.0, special.ndtr(-(gap - tolerance) / se) + special.ndtr(-(gap + tolerance) / se)))


def score_statistic(k1: Any, n1: int, k2: Any, n2: int, tolerance: float) -> npt.NDArray[np.float64]:
    """(p1 - p2 - tolerance) over its restricted standard error, for arrays of counts that broadcast."""
    p1, p2 = np.asarray(k1) / n1, np.asarray(k2) / n2
    se = _restricted_error(p1, n1, p2, n2, tolerance)
    over = p1 - p2 - tolerance
    flat = np.where(over > 0, np.inf, np.where(over < 0, -np.inf, 0.0))
    statistic: npt.NDArray[np.float64] = np.where(se > 0, over / np.where(se > 0, se, 1.0), flat)
    return statistic


def _restricted_error(p1: Any, n1: int, p2: Any, n2: int, delta: float) -> npt.NDArray[np.float64]:
    """Standard error of p1 - p2 at the maximum likelihood estimate under p1 - p2 = delta (their appendix)."""
    theta = n2 / n1
    a = 1 + theta
    b = -(1 + theta + p1 + theta * p2 + delta * (theta + 2))
    c = delta * delta + delta * (2 * p1 + theta + 1) + p1 + theta * p2
    d = -p1 * delta * (1 + delta)
    v = b**3 / (27 * a**3) - b * c / (6 * a * a) + d / (2 * a)
    square = b * b / (9 * a * a) - c / (3 * a)
    u = np.copysign(np.sqrt(np.maximum(square, 0.0)), v)
    cosine = np.clip(np.where(u == 0, 0.0, v / np.where(u == 0, 1.0, u**3)), -1.0, 1.0)
    q1 = 2 * u * np.cos((np.pi + np.arccos(cosine)) / 3) - b / (3 * a)
    q1 = np.clip(q1, delta, 1.0)
    q2 = np.clip(q1 - delta, 0.0, 1.0)
    error: npt.NDArray[np.float64] = np.sqrt(q1 * (1 - q1) / n1 + q2 * (1 - q2) / n2)
    # At a pooled rate of 0 or 1 the cubic leaves rounding where there is no variance at all.
    none = (delta == 0) & (((p1 == 0) & (p2 == 0)) | ((p1 == 1) & (p2 == 1)))
    return np.where(none, 0.0, error)


class Means(NamedTuple):
    """A difference of means: estimate, standard error, degrees of freedom."""

    estimate: float
    se: float
    df: float

    def interval(self, confidence: float = 0.95) -> Interval:
        """The t interval of the difference."""
        half = float(stats.t.ppf(0.5 + confidence / 2, self.df)) * self.se
        return Interval(self.estimate - half, self.estimate + half)

    def exceeds_p(self, tolerance: float = 0.0) -> float:
        """p of the hypothesis |difference| <= tolerance."""
        gap = abs(self.estimate)
        if self.se == 0:
            return 1.0 if gap <= tolerance else 0.0
        near, far = (gap - tolerance) / self.se, (gap + tolerance) / self.se
        return float(min(1.0, stats.t.sf(near, self.df) + stats.t.sf(far, self.df)))


def welch(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> Means:
    """Welch's difference of means (1947), first minus second. Each needs two rows."""
    if len(first) < 2 or len(second) < 2:
        raise ValueError("two rows in each group are needed for a standard error")
    v1, v2 = first.var(ddof=1) / len(first), second.var(ddof=1) / len(second)
    total = v1 + v2
    part = v1 / total if total > 0 else 0.5
    df = 1 / (part**2 / (len(first) - 1) + (1 - part) ** 2 / (len(second) - 1))
    return Means(float(first.mean() - second.mean()), float(math.sqrt(total)), float(df))


def mean_interval(values: npt.NDArray[np.float64], confidence: float = 0.95) -> Interval:
    """Student's t interval of a mean. Needs two rows."""
    if len(values) < 2:
        raise ValueError("two rows are needed for a standard error")
    half = float(stats.t.ppf(0.5 + confidence / 2, len(values) - 1)) * float(
        values.std(ddof=1) / math.sqrt(len(values))
    )
    return Interval(float(values.mean()) - half, float(values.mean()) + half)


def minimum_detectable_effect(
    rate: float, n1: int, n2: int, *, alpha: float = 0.05, power: float = 0.8
) -> float | None:
    """The smallest rise from `rate` in a group of n1 that a score test against n2 rows finds with this power.

    Planning information: it changes no verdict. None where even a rate of 1 would not be found; a rate above
    one half is mirrored, so that the change is towards the far end.
    """
    base = min(rate, 1 - rate)
    z, target = float(special.ndtri(1 - alpha / 2)), float(special.ndtri(power))

    def found(delta: float) -> float:
        other = base + delta
        pooled = (n1 * other + n2 * base) / (n1 + n2)
        null = math.sqrt(pooled * (1 - pooled) * (1 / n1 + 1 / n2))
        true = math.sqrt(other * (1 - other) / n1 + base * (1 - base) / n2)
        return (delta - z * null) / true if true > 0 else (math.inf if delta > z * null else -math.inf)

    low, high = 0.0, 1 - base
    if found(high) < target:
        return None
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) >= target else (middle, high)
    return high


def rows_needed(
    k1: int, n1: int, k2: int, n2: int, tolerance: float, *, alpha: float = 0.05, power: float = 0.8
) -> int | None:
    """More rows in each group that would settle the pair with this chance, were the rates those now seen.

    The smallest number at which Newcombe's interval, widened from the test's quantile by that of the power, has
    left the tolerance on the side where the gap is. `alpha` is the level that the test would have to reach, after
    any adjustment. None where the gap is so near the tolerance that a billion rows would not do.
    """
    p1, p2 = k1 / n1, k2 / n2
    confidence = 2 * float(special.ndtr(special.ndtri(1 - alpha) + special.ndtri(power))) - 1

    def settled(more: int) -> bool:
        # Rates as they are now, in groups that are larger: counts need not be whole for Wilson's formula.
        l1, u1 = _wilson(p1, n1 + more, confidence)
        l2, u2 = _wilson(p2, n2 + more, confidence)
        d = p1 - p2
        return _has_left(
            Interval(d - math.hypot(p1 - l1, u2 - p2), d + math.hypot(u1 - p1, p2 - l2)), d, tolerance
        )

    return _fewest(settled)


def mean_rows_needed(
    gap: float,
    variances: tuple[float, float],
    sizes: tuple[int, int],
    tolerance: float,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
) -> int | None:
    """More rows in each group that would settle a difference of means; as `rows_needed`."""
    z = float(special.ndtri(1 - alpha) + special.ndtri(power))

    def settled(more: int) -> bool:
        half = z * math.sqrt(sum(v / (n + more) for v, n in zip(variances, sizes, strict=True)))
        return _has_left(Interval(gap - half, gap + half), gap, tolerance)

    return _fewest(settled)


def _has_left(interval: Interval, gap: float, tolerance: float) -> bool:
    if abs(gap) <= tolerance:
        return max(abs(interval.low), abs(interval.high)) <= tolerance
    return (interval.low if gap > 0 else -interval.high) > tolerance


def _fewest(settled: Callable[[int], bool]) -> int | None:
    high = 1
    while not settled(high):
        high *= 2
        if high > MOST_ROWS:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if settled(middle) else (middle, high)
    return high
