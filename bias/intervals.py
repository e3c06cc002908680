"""Intervals and tests for a rate, for a difference of rates, for a ratio of rates and for a difference of means."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats


class Interval(NamedTuple):
    """A lower and an upper end."""

    low: float
    high: float


def _z(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, expected between 0 and 1")
    return float(stats.norm.ppf(0.5 + confidence / 2))


def _counted(k: int, n: int) -> None:
    if n < 1 or not 0 <= k <= n:
        raise ValueError(f"{k} of {n} is no rate: expected 0 <= k <= n and n >= 1")


def wilson(k: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of k / n (1927), without continuity correction."""
    _counted(k, n)
    z = _z(confidence)
    p = k / n
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = 0.0 if k == 0 else (centre - half) / scale
    high = 1.0 if k == n else (centre + half) / scale
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
    two-sided score test of equality.
    """
    _counted(k1, n1)
    _counted(k2, n2)
    if k1 / n1 < k2 / n2:
        k1, n1, k2, n2 = k2, n2, k1, n1
    gap = k1 / n1 - k2 / n2
    se = _restricted_error(k1, n1, k2, n2, tolerance)
    if se == 0:
        return 1.0 if gap <= tolerance else 0.0
    return float(min(1.0, stats.norm.sf((gap - tolerance) / se) + stats.norm.sf((gap + tolerance) / se)))


def _restricted_error(k1: int, n1: int, k2: int, n2: int, delta: float) -> float:
    """Standard error of p1 - p2 at the maximum likelihood estimate under p1 - p2 = delta (their appendix)."""
    p1, p2 = k1 / n1, k2 / n2
    theta = n2 / n1
    a = 1 + theta
    b = -(1 + theta + p1 + theta * p2 + delta * (theta + 2))
    c = delta * delta + delta * (2 * p1 + theta + 1) + p1 + theta * p2
    d = -p1 * delta * (1 + delta)
    v = b**3 / (27 * a**3) - b * c / (6 * a * a) + d / (2 * a)
    square = b * b / (9 * a * a) - c / (3 * a)
    u = math.copysign(math.sqrt(max(square, 0.0)), v)
    w = (math.pi + math.acos(max(-1.0, min(1.0, v / u**3 if u else 0.0)))) / 3
    q1 = min(1.0, max(delta, 2 * u * math.cos(w) - b / (3 * a)))
    q2 = min(1.0, max(0.0, q1 - delta))
    return math.sqrt(q1 * (1 - q1) / n1 + q2 * (1 - q2) / n2)


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
    df = total**2 / (v1**2 / (len(first) - 1) + v2**2 / (len(second) - 1)) if total > 0 else float(len(first))
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
    z, target = float(stats.norm.ppf(1 - alpha / 2)), float(stats.norm.ppf(power))

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
    gap: float, variance: float, tolerance: float, have: int, *, alpha: float = 0.05, power: float = 0.8
) -> int | None:
    """More rows per group until a gap of this size is settled on its side of the tolerance.

    `variance` is the sum of the two groups' variances per row. None where the gap is the tolerance.
    """
    distance = abs(abs(gap) - tolerance)
    if distance == 0:
        return None
    z = float(stats.norm.ppf(1 - alpha) + stats.norm.ppf(power))
    return max(1, math.ceil((z / distance) ** 2 * variance) - have)
