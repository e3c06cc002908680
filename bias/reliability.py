"""Probabilities in bins against what came out: the reliability curve, and calibration error without its bias."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from .group_rows import Floats
from .intervals import Interval, wilson_of_effective_n
from .scored import Scored, Undefined, scored

Binning = Literal["equal mass", "equal width"]
BINS = 15  # as in Guo et al. 2017


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Rows whose probability is in [low_edge, high_edge); the last bin holds its upper edge too."""

    low_edge: float
    high_edge: float
    n: int  # rows
    mean_probability: float | None  # None: no rows (or no weight) in the bin
    positive_rate: float | None
    interval: Interval | None  # Wilson's, of the positive rate; with weights out of Kish's effective n


def reliability_curve(
    probability: npt.ArrayLike,
    label: npt.ArrayLike,
    *,
    n_bins: int = BINS,
    binning: Binning = "equal mass",
    confidence: float = 0.95,
    count: npt.ArrayLike | None = None,
    weight: npt.ArrayLike | None = None,
    rows: npt.ArrayLike | None = None,
) -> tuple[Bin, ...]:
    """Mean probability and share of positives of each bin, with Wilson's interval, the lowest bin first.

    Args:
        n_bins: 1 or more. Bins of equal mass can be fewer: equal probabilities stay in one bin.
        binning: "equal width" divides [0, 1]; "equal mass" divides the rows (of the group, weighted), so that edges
            differ between groups.
        The others: as `calibration.calibration_in_the_large`.

    Raises:
        DataError: a probability outside [0, 1]; see `scored.scored`. UsageError: no bins, or another binning.
    """
    given = scored(probability, label, count=count, weight=weight, rows=rows, probability=True)
    edges = _edges(given, n_bins, binning)
    sums = _summed(given, edges)
    made = []
    for i, (low, high) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
        filled = bool(sums.mass[i] > 0)
        rate = min(1.0, max(0.0, float(sums.positive[i] / sums.mass[i]))) if filled else None
        made.append(
            Bin(
                low_edge=low,
                high_edge=high,
                n=int(sums.n[i]),
                mean_probability=float(sums.probability[i] / sums.mass[i]) if filled else None,
                positive_rate=rate,
                interval=None
                if rate is None
                else wilson_of_effective_n(rate, float(sums.effective[i]), confidence),
            )
        )
    return tuple(made)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationError:
    """The distance between probabilities and what came out, over bins, each weighing its share of the rows.

    A perfectly calibrated model has a `plain` error above 0, the larger the fewer rows there are: small groups look
    worse calibrated than large ones. The two debiased ones are 0 on average for such a model.
    """

    n: int
    n_bins: int  # that hold rows
    binning: Binning
    plain: float  # the expected calibration error: mean |mean probability - positive rate|
    expected_if_calibrated: float  # what `plain` would be on average, were these probabilities right
    squared_debiased: float | None  # can be below 0; None: no bin holds two rows
    n_alone: int  # rows alone in their bin, which `squared_debiased` leaves out

    @property
    def debiased(self) -> float:
        """`plain` less `expected_if_calibrated`: on average 0 for a calibrated model, and never above the true error."""
        return self.plain - self.expected_if_calibrated

    @property
    def root_mean_square(self) -> float | None:
        """The root of `squared_debiased`, 0 where that is below 0."""
        return None if self.squared_debiased is None else math.sqrt(max(0.0, self.squared_debiased))


def calibration_error(
    probability: npt.ArrayLike,
    label: npt.ArrayLike,
    *,
    n_bins: int = BINS,
    binning: Binning = "equal mass",
    count: npt.ArrayLike | None = None,
    weight: npt.ArrayLike | None = None,
    rows: npt.ArrayLike | None = None,
) -> CalibrationError | Undefined:
    """The calibration error over bins, plain and debiased. Rows are taken as independent.

    Plain: ECE of Naeini et al. 2015 and Guo et al. 2017, eq. 3. Debiased: less its mean under calibration,
    sum_b share_b sqrt(2 / pi) sigma_b, with sigma_b^2 the variance of the bin's mean of p - y where every p is right
    (normal approximation); by the triangle inequality this is on average not above the true binned error. Squared:
    sum_b share_b ((mean of p - y)^2 - s_b^2 / n_b), unbiased (Bröcker 2012; Ferro & Fricker 2012; Kumar et al. 2019,
    definition 5.2). Departure from the latter: s_b^2 is the variance of p - y, not of y alone, since probabilities
    differ within a bin; where they do not, the two are equal. No interval: at 0, where it matters, neither the
    bootstrap nor a standard error is right.

    Args: as `reliability_curve`.

    Returns:
        `Undefined` without rows.

    Raises:
        DataError, UsageError: as `reliability_curve`.
    """
    given = scored(probability, label, count=count, weight=weight, rows=rows, probability=True)
    edges = _edges(given, n_bins, binning)
    sums = _summed(given, edges)
    total = float(sums.mass.sum())
    if total <= 0:
        return Undefined(reason="no rows", n=given.n)
    filled = sums.mass > 0
    share, mass = sums.mass[filled] / total, sums.mass[filled]
    gap = (sums.probability - sums.positive)[filled] / mass
    if_right = np.sqrt(2 / np.pi * sums.bernoulli[filled]) / mass
    effective = sums.effective[filled]
    several = effective > 1
    squared: float | None = None
    if several.any():
        deviations = sums.square[filled] - 2 * gap * sums.product[filled] + gap**2 * sums.weights[filled]
        small = effective[several] / (effective[several] - 1)
        variance = deviations[several] / mass[several] ** 2 * small
        squared = float(share[several] @ (gap[several] ** 2 - variance) / share[several].sum())
    return CalibrationError(
        n=given.n,
        n_bins=int(filled.sum()),
        binning=binning,
        plain=float(share @ np.abs(gap)),
        expected_if_calibrated=float(share @ if_right),
        squared_debiased=squared,
        n_alone=int(sums.n[filled][~several].sum()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sums:
    """Sums over the rows of each bin, (bin,): c is a row's count, w its weight, d = probability - label."""

    n: Floats  # c
    mass: Floats  # c w
    weights: Floats  # c w^2
    probability: Floats  # c w p
    positive: Floats  # c w y
    bernoulli: Floats  # c w^2 p (1 - p)
    product: Floats  # c w^2 d
    square: Floats  # c w^2 d^2

    @property
    def effective(self) -> Floats:
        """Rows, or Kish's effective number of them. (bin,)"""
        made: Floats = self.mass**2 / np.where(self.weights > 0, self.weights, 1.0)
        return made


def _summed(given: Scored, edges: Floats) -> _Sums:
    which = np.searchsorted(edges[1:-1], given.score, side="right")
    size = len(edges) - 1
    count = np.ones(len(given.score)) if given.count is None else given.count.astype(np.float64)
    mass = given.mass
    squares = mass if given.weight is None else mass * given.weight
    p, d = given.score, given.score - given.label

    def added(values: Floats) -> Floats:
        return np.bincount(which, values, minlength=size).astype(np.float64, copy=False)

    return _Sums(
        n=added(count),
        mass=added(mass),
        weights=added(squares),
        probability=added(mass * p),
        positive=added(mass * given.label),
        bernoulli=added(squares * p * (1 - p)),
        product=added(squares * d),
        square=added(squares * d * d),
    )


def _edges(given: Scored, n_bins: int, binning: Binning) -> Floats:
    if n_bins < 1:
        raise UsageError(f"n_bins is {n_bins}; 1 or more are expected.")
    if binning == "equal width":
        return np.linspace(0.0, 1.0, n_bins + 1)
    if binning != "equal mass":
        raise UsageError(f"binning is {binning!r}; 'equal mass' or 'equal width' is expected.")
    values, which = np.unique(given.score, return_inverse=True)
    mass = np.bincount(which, given.mass, minlength=len(values))
    values, mass = values[mass > 0], mass[mass > 0]
    if not len(values):
        return np.array([0.0, 1.0])
    before = np.cumsum(mass) - mass
    # A bin begins at the first value below which lies its share; the margin is rounding in sums of weights.
    wanted = np.arange(1, n_bins) / n_bins * mass.sum() * (1 - 1e-12)
    start = np.searchsorted(before, wanted)
    inner = np.unique(values[start[(start > 0) & (start < len(values))]])
    return np.concatenate([values[:1], inner, values[-1:]])
