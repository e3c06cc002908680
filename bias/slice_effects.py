"""Each slice beside its complement: the difference within strata, with its statistic and its standard error."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .exchangeable import Units
from .slice_masks import Masks

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
BLOCK_BYTES = 2**26


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Compared:
    """Slices, each with everybody who is not in it; NaN where one of the two has nobody in any common stratum."""

    n: Ints  # (slice,) rows, each as often as it counts
    n_units: Ints  # (slice,) rows or clusters
    hits: Ints | None  # (slice,) of a rate: rows that are true
    mean: Floats  # (slice,) weighted where there are weights
    complement: Floats  # (slice,) the same of everybody else
    effect: Floats  # (slice,) slice minus complement, within strata
    z: Floats  # (slice,) the effect over its standard deviation under permutation
    expected: Floats  # (slice,) of the permuted sum: of true units, or of residuals
    sd: Floats  # (slice,) of the permuted sum
    error: Floats  # (slice,) standard error of the effect
    total: int  # rows of everybody
    total_units: int
    overall: float  # the mean of everybody
    is_rate: bool  # true or false, one stratum, no clusters, no weights: Newcombe's interval can be taken

    @property
    def testable(self) -> npt.NDArray[np.bool_]:
        """(slice,) there is a complement, and permuting changes something."""
        return np.isfinite(self.z)

    def intervals(self, z: float) -> tuple[Floats, Floats]:
        """Intervals of the effects at a critical value.

        Of rates Newcombe's (1998, method 10), his z being ours; else the effect with z standard errors on either
        side. With the critical value of max-T they hold for all slices at once; with a normal quantile for one.
        """
        if not self.is_rate or self.hits is None:
            return self.effect - z * self.error, self.effect + z * self.error
        all_hits = round(self.overall * self.total)
        p, low, high = _wilson(self.hits, self.n, z)
        q, below, above = _wilson(all_hits - self.hits, self.total - self.n, z)
        return (
            self.effect - np.sqrt((p - low) ** 2 + (above - q) ** 2),
            self.effect + np.sqrt((high - p) ** 2 + (q - below) ** 2),
        )


def compare(masks: Masks, units: Units) -> Compared:
    """Every slice beside its complement.

    The sum over a slice of value minus the stratum's mean is W times the difference of the two means, in each stratum
    weighted as Mantel and Haenszel do, W being the sum of m_slice m_complement / m over strata. Its variance where the
    units of a stratum are permuted is exact: n (N - n) / (N (N - 1)) times their sum of squares. So z compares slices of
    every size alike.

    The standard error is the larger of that and of the one where slice and complement each have a variance of
    their own, over units (clusters: the sandwich with factor G / (G - 1)).
    """
    strata = units.strata
    true = np.zeros(len(units)) if units.higher is None else units.higher
    told = (
        units.n_units,
        units.mass,
        units.total,
        units.total_squared,
        units.total_times_mass,
        units.mass_squared,
    )
    columns = np.stack([*told, units.n_rows, true], axis=1).astype(np.float64)
    s, m = len(strata), len(masks)
    n = np.zeros(m, dtype=np.int64)
    n_units, hits = n.copy(), n.copy()
    mass, total, deviation, variance, weight, expected, error = (np.zeros(m) for _ in range(7))
    block = max(1, BLOCK_BYTES // (9 * len(units)))
    wholes = [columns[low:high].sum(axis=0) for low, high in strata]
    for first, last, rows in masks.blocks(block, np.float64):
        here = slice(first, last)
        for (low, high), whole in zip(strata, wholes, strict=True):
            inside = rows[:, low:high] @ columns[low:high]
            found = _stratum(inside[:, :6], whole[:6])
            for column, at in ((n_units, 0), (n, 6), (hits, 7)):
                column[here] += np.rint(inside[:, at]).astype(np.int64)
            mass[here] += inside[:, 1]
            total[here] += inside[:, 2]
            deviation[here] += found[0]
            variance[here] += found[1]
            weight[here] += found[2]
            error[here] += found[3]
            expected[here] += inside[:, 1] * whole[2] / whole[1]
    everybody = np.sum(wholes, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        sd = np.sqrt(variance)
        solid = (weight > 0) & (variance > 1e-12 * max(1e-300, float(everybody[3])))
        effect = np.where(weight > 0, deviation / weight, np.nan)
        spread = np.maximum(np.sqrt(error), sd) / weight
        other = everybody[1] - mass
        return Compared(
            n=n,
            n_units=n_units,
            hits=hits if units.higher is not None else None,
            mean=np.where(mass > 0, total / mass + units.shift, np.nan),
            complement=np.where(other > 0, (everybody[2] - total) / other + units.shift, np.nan),
            effect=effect,
            z=np.where(solid, deviation / sd, np.nan),
            expected=expected if units.is_rate else np.zeros(m),
            sd=sd,
            error=np.where(weight > 0, spread, np.nan),
            total=int(units.n_rows.sum()),
            total_units=int(units.n_units.sum()),
            overall=float(everybody[2] / everybody[1]) + units.shift,
            is_rate=units.is_rate and s == 1,
        )


def _stratum(inside: Floats, whole: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Of one stratum: deviation from the mean, its variance under permutation, weight, variance with own spreads.

    Columns of `inside` (slice, 6) and `whole` (6,): units, mass, total, total squared, total times mass, mass squared.
    """
    size, mass, total = whole[:3]
    mean = total / mass
    squares = max(0.0, whole[3] - 2 * mean * whole[4] + mean**2 * whole[5])
    units, in_mass, in_total = inside.T[:3]
    deviation = in_total - in_mass * mean
    variance = units * (size - units) / (size * max(size - 1, 1)) * squares
    weight = in_mass * (mass - in_mass) / mass
    each = squares / max(size - 1, 1)
    own = _spread(inside, each) + _spread(whole - inside, each)
    return deviation, variance, weight, weight**2 * own


def _spread(sums: Floats, each: float) -> Floats:
    """Variance of the mean of each set of units, (slice,); a single unit has the stratum's; nobody has none."""
    units, mass, total, squared, crossed, masses = sums.T
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total / mass
        squares = np.maximum(squared - 2 * mean * crossed + mean**2 * masses, 0.0)
        own = np.where(units > 1.5, squares * units / (units - 1), each * units)
        return np.where(units > 0.5, own / mass**2, 0.0)


def _wilson(k: Ints, n: Ints, z: float) -> tuple[Floats, Floats, Floats]:
    """Rates and Wilson's limits at a critical value, (slice,) each; NaN of nobody."""
    with np.errstate(divide="ignore", invalid="ignore"):
        p = k / n
        centre = p + z * z / (2 * n)
        half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        scale = 1 + z * z / n
        low = np.where(k == 0, 0.0, (centre - half) / scale)
        high = np.where(k == n, 1.0, (centre + half) / scale)
    return p, low, high


def bonferroni(alpha: float, tests: int) -> float:
    """The two-sided normal quantile with which `tests` intervals hold together."""
    from scipy import stats

    return float(stats.norm.isf(alpha / (2 * max(1, tests)))) if alpha > 0 else math.inf
