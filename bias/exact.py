"""The exact test of a difference of two rates, for tables too small for a normal curve."""

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln, xlogy

from .intervals import exceeds_p, score_statistic

MOST_CELLS = 40_000  # two groups of about 200
GRID = 201
NEAR = 1e-9


def is_small(n1: int, n2: int) -> bool:
    """Whether every possible table of these two sizes can be listed."""
    return (n1 + 1) * (n2 + 1) <= MOST_CELLS


def exact_exceeds_p(k1: int, n1: int, k2: int, n2: int, tolerance: float = 0.0) -> float:
    """p of the hypothesis |p1 - p2| <= tolerance, never below its true size whatever the two rates are.

    Tables are ordered by the score statistic of `exceeds_p`; p is the largest chance, over the edge of the
    hypothesis, of a table at least as far out on either side (Chan 1998; Barnard 1947 at tolerance 0). Departure:
    the edge is searched on a grid of 201 rates, and the result is never smaller than the score test's.
    """
    asymptotic = exceeds_p(k1, n1, k2, n2, tolerance)
    if tolerance >= 1:
        return 1.0
    x1, x2 = np.arange(n1 + 1)[:, None], np.arange(n2 + 1)[None, :]
    # Mirrored tables are one another's relabelling, so the statistic of the other side is that of the swap.
    further = score_statistic(x1, n1, x2, n2, tolerance)
    other = score_statistic(x2.T, n2, x1.T, n1, tolerance).T
    extreme = np.maximum(further, other)
    region = (extreme >= extreme[k1, k2] - NEAR).astype(np.float64)
    high = np.linspace(tolerance, 1, GRID)
    chance = [
        np.einsum("gi,ij,gj->g", _binomial(n1, a), region, _binomial(n2, b), optimize=True).max()
        for a, b in ((high, high - tolerance), (high - tolerance, high))
    ]
    return float(min(1.0, max(asymptotic, *chance)))


def _binomial(n: int, rates: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Chance of 0 ... n of n at each rate, (rate, count)."""
    k = np.arange(n + 1)
    rate = np.clip(rates, 0.0, 1.0)[:, None]
    ways = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    chance: npt.NDArray[np.float64] = np.exp(ways + xlogy(k, rate) + xlogy(n - k, 1 - rate))
    return chance
