"""Means over rows with bootstrap intervals, every column drawn with the same rows."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtr, ndtri

from ..errors import UsageError
from ..records import Floats

BLOCK = 256  # replicates drawn at once
Statistic = Callable[[Floats], Floats]  # means (..., column) -> results (..., result)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Estimates:
    """Estimates with their intervals; NaN where there are too few rows for one."""

    estimate: Float[np.ndarray, " result"]
    low: Float[np.ndarray, " result"]
    high: Float[np.ndarray, " result"]
    n: Int[np.ndarray, " column"]  # rows where the column is known


def same(means: Floats) -> Floats:
    """The means themselves."""
    return means


def estimates(
    values: Float[np.ndarray, "example column"],
    *,
    replicates: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    statistic: Statistic = same,
) -> Estimates:
    """Means of columns over rows, or a smooth function of these means, with bootstrap intervals over rows.

    Intervals are bias-corrected and accelerated (Efron & Tibshirani 1993, section 14.3). A replicate draws rows for
    all columns at once, so that a column of differences is a paired comparison. NaN is a row where the column is not
    known; it is left out of this column.

    Args:
        values: one row per example.
        replicates: 50 or more.
        confidence: of each interval, for each result alone.
        statistic: takes means along its last axis.

    Returns:
        An interval is NaN with fewer than two known rows, and the estimate itself where all rows are equal.

    Raises:
        UsageError: too few replicates, or an impossible confidence.
    """
    checked(replicates, confidence)
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    weight = known.astype(np.float64)
    n, n_rows = known.sum(axis=0), len(values)
    total = filled.sum(axis=0)
    estimate = statistic(_ratio(total, n.astype(np.float64)))
    without = statistic(_ratio(total - filled, n - weight))
    generator = np.random.default_rng(seed)
    drawn = []
    for start in range(0, replicates, BLOCK):
        size = min(BLOCK, replicates - start)
        counts = generator.multinomial(n_rows, np.full(n_rows, 1 / max(n_rows, 1)), size=size).astype(
            np.float64
        )
        drawn.append(statistic(_ratio(counts @ filled, counts @ weight)))
    ends = [
        _ends(
            estimate[i], column, without[known[:, i], i] if statistic is same else without[:, i], confidence
        )
        for i, column in enumerate(np.concatenate(drawn).T)
    ]
    made = np.array(ends).reshape(len(estimate), 2)
    return Estimates(estimate=estimate, low=made[:, 0], high=made[:, 1], n=n)


def checked(replicates: int, confidence: float) -> None:
    """Refuse numbers that make no interval.

    Raises:
        UsageError: fewer than 50 replicates, or a confidence that is none.
    """
    if replicates < 50 or not 0 < confidence < 1:
        raise UsageError(
            f"{replicates} replicates at confidence {confidence}: expected 50 or more, and between 0 and 1."
        )


def _ratio(top: Floats, bottom: Floats) -> Floats:
    made: Floats = np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1.0), np.nan)
    return made


def _ends(estimate: float, drawn: Floats, without: Floats, confidence: float) -> tuple[float, float]:
    """Both ends of one interval from its replicates and its jackknife."""
    drawn, without = drawn[np.isfinite(drawn)], without[np.isfinite(without)]
    if not np.isfinite(estimate) or len(drawn) < 50 or len(without) < 2:
        return np.nan, np.nan
    below = (np.count_nonzero(drawn < estimate) + np.count_nonzero(drawn <= estimate)) / (2 * len(drawn))
    edge = 1 / (2 * len(drawn))
    bias = float(ndtri(np.clip(below, edge, 1 - edge)))
    deviation = without.mean() - without
    square = float((deviation**2).sum())
    if square <= (1e-12 * max(1.0, abs(estimate))) ** 2:
        return float(estimate), float(estimate)
    acceleration = float((deviation**3).sum()) / (6 * square**1.5)
    ends = []
    for tail in ((1 - confidence) / 2, (1 + confidence) / 2):
        shifted = bias + float(ndtri(tail))
        ends.append(float(np.quantile(drawn, ndtr(bias + shifted / (1 - acceleration * shifted)))))
    return ends[0], ends[1]
