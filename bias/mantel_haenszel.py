"""One odds ratio for several two-by-two tables, its interval, its test, and whether the tables agree on it."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from ..errors import DataError, UsageError, first

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledOdds:
    """The Mantel-Haenszel odds ratio of a group against a reference, holding the stratum fixed."""

    odds_ratio: (
        float | None
    )  # above 1: the group has the outcome more often; None: 0 / 0, or a denominator of 0
    low: float | None
    high: float | None
    p: (
        float | None
    )  # Cochran-Mantel-Haenszel, of an odds ratio of 1 in every stratum; None: nothing could vary
    p_equal: float | None  # Breslow & Day with Tarone's correction, of one odds ratio in all strata
    confidence: float
    note: str  # why something is None


def mantel_haenszel(
    k_group: npt.ArrayLike,
    n_group: npt.ArrayLike,
    k_reference: npt.ArrayLike,
    n_reference: npt.ArrayLike,
    *,
    confidence: float = 0.95,
    correction: bool = False,
) -> PooledOdds:
    """The pooled odds ratio sum(a d / n) / sum(b c / n) over strata (Mantel & Haenszel 1959).

    Its interval is exp(ln OR +- z se) with the variance of Robins, Breslow & Greenland (1986), which holds for few
    large strata and for many small ones. Strata in which one of the two groups has nobody, or all have one outcome,
    add nothing to any of the sums. Rows are taken to be independent.

    Args:
        k_group: (stratum,) rows of the group with the outcome.
        n_group: (stratum,) rows of the group.
        k_reference: (stratum,) as k_group.
        n_reference: (stratum,) as n_group.
        confidence: of the interval.
        correction: take half a row off the test's difference (continuity).

    Raises:
        DataError: no strata, or a count that is negative, not finite or more than its n.
    """
    if not 0 < confidence < 1:
        raise UsageError(f"confidence is {confidence}; expected between 0 and 1.")
    k1, n1, k2, n2 = _counts(k_group, n_group, k_reference, n_reference)
    a, b, c, d = k1, n1 - k1, k2, n2 - k2
    n = n1 + n2
    informative = n > 1
    a, b, c, d, n = (x[informative] for x in (a, b, c, d, n))
    p = _test(a, b, c, d, n, correction)
    r, s = a * d / n, b * c / n
    over, under = float(r.sum()), float(s.sum())
    if over == 0 and under == 0:
        return PooledOdds(
            odds_ratio=None,
            low=None,
            high=None,
            p_equal=None,
            p=p,
            confidence=confidence,
            note="no stratum has both groups and outcomes",
        )
    if under == 0:
        note = "in no stratum does the reference have the outcome where the group lacks it: no finite ratio"
        return PooledOdds(
            odds_ratio=None, low=None, high=None, p_equal=None, p=p, confidence=confidence, note=note
        )
    ratio = over / under
    if over == 0:
        note = "in no stratum does the group have the outcome where the reference lacks it: no interval"
        return PooledOdds(
            odds_ratio=0.0, low=None, high=None, p_equal=None, p=p, confidence=confidence, note=note
        )
    share = (a + d) / n
    variance = (
        float((share * r).sum()) / (2 * over**2)
        + float((share * s + (1 - share) * r).sum()) / (2 * over * under)
        + float(((1 - share) * s).sum()) / (2 * under**2)
    )
    half = float(stats.norm.ppf(0.5 + confidence / 2)) * math.sqrt(variance)
    p_equal = _equal(a, b, c, d, ratio)
    return PooledOdds(
        odds_ratio=ratio,
        low=ratio * math.exp(-half),
        high=ratio * math.exp(half),
        p_equal=p_equal,
        p=p,
        confidence=confidence,
        note="" if p_equal is not None else "fewer than two strata can show different odds ratios",
    )


def _counts(*given: npt.ArrayLike) -> tuple[Floats, ...]:
    arrays = [np.asarray(values, dtype=np.float64) for values in given]
    if any(array.shape != arrays[0].shape or array.ndim != 1 for array in arrays):
        raise DataError(
            f"counts have shapes {first(array.shape for array in arrays)}; one number per stratum is expected."
        )
    if not len(arrays[0]):
        raise DataError("there are no strata.")
    k1, n1, k2, n2 = arrays
    finite = np.all([np.isfinite(array) for array in arrays], axis=0)
    bad = np.flatnonzero(~(finite & (k1 >= 0) & (k1 <= n1) & (k2 >= 0) & (k2 <= n2)))
    if bad.size:
        raise DataError(
            f"strata {first(bad)}, counted from 0: a count is negative, not finite or more than its rows."
        )
    return tuple(arrays)


def _test(a: Floats, b: Floats, c: Floats, d: Floats, n: Floats, correction: bool) -> float | None:
    """Cochran (1954), Mantel & Haenszel (1959): chi-squared with one degree of freedom, given all margins."""
    variance = float(((a + b) * (c + d) * (a + c) * (b + d) / (n**2 * (n - 1))).sum())
    if variance == 0:
        return None
    distance = abs(float((a - (a + b) * (a + c) / n).sum()))
    statistic = max(0.0, distance - 0.5 if correction else distance) ** 2 / variance
    return float(stats.chi2.sf(statistic, 1))


def _equal(a: Floats, b: Floats, c: Floats, d: Floats, ratio: float) -> float | None:
    """Breslow & Day (1980, eq. 4.30) with Tarone's correction (1985), over strata whose margins can vary."""
    vary = ((a + b) > 0) & ((c + d) > 0) & ((a + c) > 0) & ((b + d) > 0)
    if vary.sum() < 2:
        return None
    a, row, column, rest = a[vary], (a + b)[vary], (a + c)[vary], (d - a)[vary]
    # The first cell x at which the table with these margins has this odds ratio: x (rest + x) = ratio (row - x)
    # (column - x). At a ratio of 1 the equation is linear.
    square, linear, constant = 1 - ratio, rest + ratio * (row + column), -ratio * row * column
    root = np.sqrt(linear**2 - 4 * square * constant)
    # The root between the margins, each time in the form that does not cancel; linear < 0 only where square > 0.
    falling = linear < 0
    expected = np.where(
        falling,
        (root - linear) / np.where(falling, 2 * square, 1.0),
        -2 * constant / np.where(falling, 1.0, linear + root),
    )
    variance = 1 / (1 / expected + 1 / (row - expected) + 1 / (column - expected) + 1 / (rest + expected))
    statistic = float(((a - expected) ** 2 / variance).sum())
    statistic -= float((a - expected).sum()) ** 2 / float(variance.sum())
    return float(stats.chi2.sf(max(0.0, statistic), int(vary.sum()) - 1))
