"""A quantity with its values on resampled data: standard error, percentile interval, BCa interval."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from ..errors import DataError, UsageError, first
from .intervals import Interval

Floats = npt.NDArray[np.float64]

MOST_UNDEFINED = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrapped:
    """A quantity, its values on resampled data, and what is needed for its intervals."""

    estimate: float
    draws: Floats  # (replicate,) the defined ones
    n_undefined: int  # replicates on which the quantity was undefined
    seed: int
    left_out: Floats | None = None  # (unit,) values with one unit left out, for BCa
    times: Floats | None = None  # (unit,) how many such units there are

    @property
    def se(self) -> float:
        """Standard deviation over the replicates."""
        self._usable()
        return float(self.draws.std(ddof=1))

    def percentile(self, confidence: float = 0.95) -> Interval:
        """The percentile interval (Efron 1979). Wrong for a maximum minus a minimum, which draws only widen.

        Raises:
            DataError: the quantity was undefined on more than 5 % of the replicates.
        """
        self._usable()
        tail = (1 - confidence) / 2
        low, high = np.quantile(self.draws, [tail, 1 - tail])
        return Interval(float(low), float(high))

    def bca(self, confidence: float = 0.95) -> Interval:
        """The bias-corrected and accelerated interval (Efron 1987).

        Raises:
            DataError: undefined on more than 5 % of the replicates, on data with one unit left out, or every
                replicate on one side of the estimate, where the correction is infinite.
            UsageError: it was made without the values that leave one unit out.
        """
        self._usable()
        if self.left_out is None or self.times is None:
            raise UsageError("there are no values with one unit left out: ask for bca=True when resampling.")
        below = np.mean((self.draws < self.estimate) + 0.5 * (self.draws == self.estimate))
        if below in (0.0, 1.0):
            raise DataError(
                "every replicate is on one side of the estimate: no BCa interval. An exact bound is needed."
            )
        if not np.all(np.isfinite(self.left_out)):
            raise DataError("the quantity is undefined with one unit left out: there is no BCa interval.")
        bias = float(stats.norm.ppf(below))
        away = np.average(self.left_out, weights=self.times) - self.left_out
        squares = float(np.sum(self.times * away**2))
        skew = float(np.sum(self.times * away**3)) / (6 * squares**1.5) if squares > 0 else 0.0
        tail = (1 - confidence) / 2
        at = [bias + float(stats.norm.ppf(p)) for p in (tail, 1 - tail)]
        levels = [float(stats.norm.cdf(bias + x / (1 - skew * x))) for x in at]
        low, high = np.quantile(self.draws, levels)
        return Interval(float(low), float(high))

    def _usable(self) -> None:
        asked = len(self.draws) + self.n_undefined
        if self.n_undefined > MOST_UNDEFINED * asked:
            raise DataError(
                f"the quantity was undefined on {self.n_undefined} of {asked} replicates: too few rows."
            )


def bootstrapped(
    estimate: Floats, draws: Floats, seed: int, left_out: Floats | None, times: Floats | None
) -> list[Bootstrapped]:
    """A record for each quantity, from (quantity,), (replicate, quantity), (unit, quantity) and (unit,).

    Raises:
        DataError: a quantity is undefined on the data.
    """
    undefined = np.flatnonzero(~np.isfinite(estimate))
    if len(undefined):
        raise DataError(f"quantities {first(undefined)} are undefined on the data: leave them out.")
    made = []
    for i, at in enumerate(estimate.tolist()):
        column = draws[:, i]
        defined = column[np.isfinite(column)]
        made.append(
            Bootstrapped(
                estimate=at,
                draws=defined,
                n_undefined=len(column) - len(defined),
                seed=seed,
                left_out=None if left_out is None else left_out[:, i],
                times=times,
            )
        )
    return made
