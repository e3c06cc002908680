"""Intervals of a ratio of two rates, as the impact ratio: score intervals that stand a count of zero."""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from ..errors import DataError, UsageError
from .intervals import katz

Method = Literal["koopman", "miettinen_nurminen", "katz"]


class RatioInterval(NamedTuple):
    """A lower end and an upper one; None above where nothing bounds the ratio."""

    low: float
    high: float | None


def ratio_of_rates(k: int, n: int, k_reference: int, n_reference: int) -> float | None:
    """(k / n) / (k_reference / n_reference); None, for infinite, where the reference alone has a rate of zero.

    Raises:
        DataError: no rows, counts that are no rate, or both rates zero: 0 / 0 is undefined.
    """
    _checked(k, n, k_reference, n_reference)
    return (k / n) / (k_reference / n_reference) if k_reference else None


def koopman(k: int, n: int, k_reference: int, n_reference: int, confidence: float = 0.95) -> RatioInterval:
    """Koopman's score interval of the ratio of two independent rates (1984, Biometrics 40, 513).

    The ratios that Pearson's chi-square does not reject. Where k is 0 the lower end is 0; where the reference's
    count is 0 nothing bounds the ratio above.

    Raises:
        DataError: no rows, counts that are no rate, or both rates zero: 0 / 0 is undefined.
    """
    return _inverted(k, n, k_reference, n_reference, confidence, 1.0)


def miettinen_nurminen(
    k: int, n: int, k_reference: int, n_reference: int, confidence: float = 0.95
) -> RatioInterval:
    """Miettinen & Nurminen's score interval (1985, eq. 10): Koopman's with variance times N / (N - 1)."""
    total = n + n_reference
    return _inverted(k, n, k_reference, n_reference, confidence, total / max(1, total - 1))


def ratio_interval(
    k: int,
    n: int,
    k_reference: int,
    n_reference: int,
    confidence: float = 0.95,
    *,
    method: Method = "koopman",
) -> RatioInterval:
    """Interval of a ratio by the method named.

    Raises:
        DataError: as `koopman`; with `katz` also where any count is 0, which its logarithm does not stand.
        UsageError: no such method.
    """
    if method == "koopman":
        return koopman(k, n, k_reference, n_reference, confidence)
    if method == "miettinen_nurminen":
        return miettinen_nurminen(k, n, k_reference, n_reference, confidence)
    if method != "katz":
        raise UsageError(f"there is no method {method!r}: take koopman, miettinen_nurminen or katz.")
    _checked(k, n, k_reference, n_reference)
    if k == 0 or k_reference == 0:
        raise DataError(
            f"{k} of {n} over {k_reference} of {n_reference}: Katz's interval stands no zero; take koopman."
        )
    return RatioInterval(*katz(k, n, k_reference, n_reference, confidence))


def falls_short_p(k: int, n: int, k_reference: int, n_reference: int, least: float) -> float:
    """p of the hypothesis that the ratio is at least `least` (0.8: four fifths), from Koopman's statistic.

    One-sided: small where the ratio is smaller than that beyond chance.

    Raises:
        DataError: as `koopman`.
        UsageError: `least` is no positive number.
    """
    _checked(k, n, k_reference, n_reference)
    _positive(least)
    return float(stats.norm.cdf(score_of_ratio(k, n, k_reference, n_reference, least)))


def score_of_ratio(
    k: Any, n: int, k_reference: Any, n_reference: int, ratio: float, variance_factor: float = 1.0
) -> npt.NDArray[np.float64]:
    """Signed score statistic of "the ratio is `ratio`", for arrays of counts that broadcast.

    p1 - ratio * p2 over its standard error at the maximum likelihood estimate under the hypothesis. Where both
    counts are 0 every ratio fits, and it is 0.
    """
    k1, k2 = np.asarray(k, dtype=np.float64), np.asarray(k_reference, dtype=np.float64)
    p1, p2 = k1 / n, k2 / n_reference
    a = (n + n_reference) * ratio
    b = n * ratio + k1 + n_reference + k2 * ratio
    # The smaller root of a x^2 - b x + (k1 + k2), in the form that loses no digits.
    restricted = 2 * (k1 + k2) / (b + np.sqrt(np.maximum(b * b - 4 * a * (k1 + k2), 0.0)))
    second = np.clip(restricted, 0.0, min(1.0, 1 / ratio))
    first = np.clip(ratio * second, 0.0, 1.0)
    variance = first * (1 - first) / n + ratio * ratio * second * (1 - second) / n_reference
    over = p1 - ratio * p2
    spread = np.sqrt(variance * variance_factor)
    flat = np.where(np.abs(over) < 1e-12, 0.0, np.copysign(np.inf, over))
    made: npt.NDArray[np.float64] = np.where(spread > 0, over / np.where(spread > 0, spread, 1.0), flat)
    return made


def _inverted(k1: int, n1: int, k2: int, n2: int, confidence: float, factor: float) -> RatioInterval:
    _checked(k1, n1, k2, n2)
    if not 0 < confidence < 1:
        raise UsageError(f"confidence is {confidence}; a number between 0 and 1 is expected.")
    z = float(stats.norm.ppf(0.5 + confidence / 2))

    def statistic(log_ratio: float) -> float:
        return float(score_of_ratio(k1, n1, k2, n2, math.exp(log_ratio), factor))

    # Between the two ends the statistic falls from z to -z; a half in place of a zero only starts the search.
    start = math.log(max(k1, 0.5) / n1) - math.log(max(k2, 0.5) / n2)
    low = 0.0 if k1 == 0 else math.exp(_crossing(lambda x: statistic(x) - z, start, -1.0))
    high = None if k2 == 0 else math.exp(_crossing(lambda x: statistic(x) + z, start, 1.0))
    return RatioInterval(low, high)


def _crossing(falling: Callable[[float], float], start: float, step: float) -> float:
    """Where a falling function crosses 0, searched from `start` in the direction of `step` first."""
    inner = start
    while (falling(inner) > 0) == (step < 0):  # the start of a rate of zero may lie beyond the end
        inner -= step
    outer = inner + step
    while (falling(outer) > 0) != (step < 0):
        inner, outer, step = outer, outer + 2 * step, 2 * step
    return float(optimize.brentq(falling, min(inner, outer), max(inner, outer), xtol=1e-14))


def _checked(k1: int, n1: int, k2: int, n2: int) -> None:
    for k, n in ((k1, n1), (k2, n2)):
        if n < 1 or not 0 <= k <= n:
            raise DataError(f"{k} of {n} is no rate: expected 0 <= k <= n and at least one row.")
    if k1 == 0 and k2 == 0:
        raise DataError(
            f"both rates are 0 (0 of {n1}, 0 of {n2}): their ratio is undefined. Compare the difference instead."
        )


def _positive(ratio: float) -> None:
    if not (math.isfinite(ratio) and ratio > 0):
        raise UsageError(f"a ratio of {ratio} cannot be tested; a positive number is expected, as 0.8.")
