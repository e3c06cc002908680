"""How far several groups lie apart: a bounded largest gap, a spread without its upward bias, shrunken rates."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from ..errors import DataError

Floats = npt.NDArray[np.float64]


class LargestGap(NamedTuple):
    """The largest difference of any two groups, and bounds that hold for all pairs at once."""

    estimate: float
    low: float
    high: float
    n_pairs: int


class Spread(NamedTuple):
    """Standard deviation between groups: as observed, and without what sampling alone adds to it."""

    observed: float
    corrected: float  # 0 where sampling alone explains the observed


def largest_gap(k: Sequence[int], n: Sequence[int], confidence: float = 0.95) -> LargestGap:
    """Largest minus smallest rate with simultaneous bounds, for display: they are conservative.

    Newcombe's interval of every pair at error alpha / pairs; low is the largest lower end, but 0 at least, and high
    the largest upper end (Bonferroni). Unlike a percentile bootstrap of the maximum minus the minimum, the lower
    bound is above 0 for equal groups in no more than alpha of samples.

    Args:
        k: successes of each group.
        n: rows of each group. Groups without rows are left out.

    Raises:
        DataError: fewer than two groups with rows, or counts that are no rate.
    """
    success, rows = _there(k, n)
    p = success / rows
    n_pairs = math.comb(len(p), 2)
    z = float(stats.norm.ppf(1 - (1 - confidence) / (2 * n_pairs)))
    low, high = _wilson(success, rows, z)
    difference = p[:, None] - p[None, :]
    lower = difference - np.hypot((p - low)[:, None], (high - p)[None, :])
    upper = difference + np.hypot((high - p)[:, None], (p - low)[None, :])
    other = ~np.eye(len(p), dtype=bool)
    return LargestGap(
        float(p.max() - p.min()), max(0.0, float(lower[other].max())), float(upper[other].max()), n_pairs
    )


def between_group_sd(k: Sequence[int], n: Sequence[int]) -> Spread:
    """Standard deviation of the groups' true rates: what sampling adds is taken off, 0 at least.

    The variance of the observed rates (over groups - 1) minus the mean of rate (1 - rate) / n (Lum, Zhang & Bower
    2022, "De-biasing bias measurement", section 4). Every spread of observed rates, the maximum minus the minimum
    and the ratio too, is too large on average, the more so with more and smaller groups.

    Raises:
        DataError: fewer than two groups with rows, or counts that are no rate.
    """
    success, rows = _there(k, n)
    p = success / rows
    observed = float(p.var(ddof=1))
    return Spread(math.sqrt(observed), math.sqrt(max(0.0, observed - float(np.mean(p * (1 - p) / rows)))))


def between_group_sd_of_draws(rates: Floats, n: npt.ArrayLike) -> Floats:
    """`between_group_sd(...).corrected` of bootstrap draws, (draw,): corrected twice, as a draw adds its own noise.

    Variance minus twice the mean of rate (1 - rate) / n, plus the mean of rate (1 - rate) / n^2 (the same, section 4.3).

    Args:
        rates: (draw, group) rates of resampled rows.
        n: (group,) or (draw, group) rows that they are out of.
    """
    rows = np.broadcast_to(np.asarray(n, dtype=np.float64), rates.shape)
    noise = rates * (1 - rates) / rows
    made = rates.var(axis=1, ddof=1) - 2 * noise.mean(axis=1) + (noise / rows).mean(axis=1)
    corrected: Floats = np.sqrt(np.maximum(0.0, made))
    return corrected


def shrunken(k: Sequence[int], n: Sequence[int]) -> Floats:
    """Rates drawn towards the rate of all, the more the fewer rows: for display and ranking, never for a gate.

    weight * rate + (1 - weight) * rate of all, weight = tau^2 / (tau^2 + sigma^2), tau the corrected
    `between_group_sd`, sigma^2 = rate of all (1 - rate of all) / n. Departure: the rate of all and not the group's own
    is in sigma^2, as 0 of 3 would otherwise be taken for certain. NaN nowhere: groups without rows get the rate of all.

    Raises:
        DataError: fewer than two groups with rows, or counts that are no rate.
    """
    success, rows, centre = _all_groups(k, n)
    if not 0 < centre < 1:
        return np.full(len(rows), centre)
    tau2 = between_group_sd(k, n).corrected ** 2
    there = np.maximum(rows, 1)
    weight = np.where(rows > 0, tau2 / (tau2 + centre * (1 - centre) / there), 0.0)
    made: Floats = weight * (success / there) + (1 - weight) * centre
    return made


def beta_binomial_shrunken(k: Sequence[int], n: Sequence[int]) -> Floats:
    """Rates drawn towards the rate of all by a beta prior of the groups' spread: for display, never for a gate.

    (k + m * rate of all) / (n + m), where m = rate of all (1 - rate of all) / tau^2 - 1 (method of moments; Kleinman
    1973). Where no spread is left after `between_group_sd`, every group gets the rate of all.

    Raises:
        DataError: fewer than two groups with rows, or counts that are no rate.
    """
    success, rows, centre = _all_groups(k, n)
    tau2 = between_group_sd(k, n).corrected ** 2
    if tau2 == 0 or not 0 < centre < 1:
        return np.full(len(rows), centre)
    prior = max(0.0, centre * (1 - centre) / tau2 - 1)
    made: Floats = np.where(
        rows + prior > 0, (success + prior * centre) / np.maximum(rows + prior, 1e-300), centre
    )
    return made


def largest_ratio(k: Sequence[int], n: Sequence[int]) -> float | None:
    """Largest rate over smallest; None where the smallest is 0. Too large on average, as every raw spread."""
    success, rows = _there(k, n)
    p = success / rows
    return float(p.max() / p.min()) if p.min() > 0 else None


def mean_absolute_deviation(k: Sequence[int], n: Sequence[int]) -> float:
    """Mean distance of the groups' rates from their mean. Too large on average, as every raw spread."""
    success, rows = _there(k, n)
    p = success / rows
    return float(np.mean(np.abs(p - p.mean())))


def _wilson(success: Floats, rows: Floats, z: float) -> tuple[Floats, Floats]:
    p = success / rows
    centre = p + z * z / (2 * rows)
    half = z * np.sqrt(p * (1 - p) / rows + z * z / (4 * rows * rows))
    scale = 1 + z * z / rows
    return np.where(p == 0, 0.0, (centre - half) / scale), np.where(p == 1, 1.0, (centre + half) / scale)


def _there(k: Sequence[int], n: Sequence[int]) -> tuple[Floats, Floats]:
    success, rows = np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64)
    if success.shape != rows.shape or success.ndim != 1 or np.any((success < 0) | (success > rows)):
        raise DataError(f"{list(k)} of {list(n)} are no rates: expected 0 <= k <= n for each group.")
    some = rows > 0
    if some.sum() < 2:
        raise DataError(f"{int(some.sum())} groups have rows; two are needed to compare.")
    return success[some], rows[some]


def _all_groups(k: Sequence[int], n: Sequence[int]) -> tuple[Floats, Floats, float]:
    _there(k, n)
    success, rows = np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64)
    return success, rows, float(success.sum() / rows.sum())
