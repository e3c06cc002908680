"""The exact test of a difference of two rates, for tables too small for a normal curve."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from .intervals import exceeds_p, score_statistic

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MOST_CELLS = 40_000  # two groups of about 200
GRID = 201
NEAR = 2e-6  # of a tie: where a rate is 0 or 1 the cubic's root is right to 5e-7, and tables that are tied differ by it
CURVE = 256  # points of a curve from which the border is looked for: time, not results
MOST_KEPT, KEPT = 250, 64  # chances are kept of so many sizes, each of up to so many rows: 80 MB at most


def is_small(n1: int, n2: int) -> bool:
    """Whether groups of these two sizes get the exact test: there are at most 40,000 possible tables of them."""
    return (n1 + 1) * (n2 + 1) <= MOST_CELLS


def exact_exceeds_p(k1: int, n1: int, k2: int, n2: int, tolerance: float = 0.0) -> float:
    """p of the hypothesis |p1 - p2| <= tolerance, never below its true size whatever the two rates are.

    Tables are ordered by the score statistic of `exceeds_p`; p is the largest chance, over the edge of the
    hypothesis, of a table at least as far out on either side (Chan 1998; Barnard 1947 at tolerance 0). Departure:
    the edge is searched on a grid of 201 rates, and the result is never smaller than the score test's.

    Only the border of those tables is looked for: the statistic rises with the first count and falls with the second
    (Barnard's convexity condition), so that beside each first count they are those up to a second one, and those
    from a second one on.
    """
    asymptotic = exceeds_p(k1, n1, k2, n2, tolerance)
    if tolerance >= 1:
        return 1.0
    if n1 > n2:  # the same test, with the fewer rows of tables
        k1, n1, k2, n2 = k2, n2, k1, n1
    seen = (score_statistic(k1, n1, k2, n2, tolerance), score_statistic(k2, n2, k1, n1, tolerance))
    least = float(max(seen)) - NEAR

    def further(x1: Ints, x2: Ints) -> npt.NDArray[np.bool_]:
        return score_statistic(x1, n1, x2, n2, tolerance) >= least

    def other(x1: Ints, x2: Ints) -> npt.NDArray[np.bool_]:
        # Failures are counted here, so that the statistic of the swap falls with the second count, too.
        return score_statistic(n2 - x2, n2, n1 - x1, n1, tolerance) >= least

    below = _last(further, _expected(n1, n2, tolerance, least), n2)
    above = _last(other, below, n2)
    return float(min(1.0, max(asymptotic, _largest_chance(n1, n2, tolerance, below, above))))


def _expected(n1: int, n2: int, tolerance: float, least: float) -> Ints:
    """About the largest second count at which the statistic is `least`, beside each first count.

    With q1 and q2 = q1 - tolerance the restricted estimates, a and b the variances of rates there, the score
    equation says (p1 - q1) / a = -(p2 - q2) / b, and both are the statistic over sqrt(a + b): q1 draws its curve.
    """
    q1 = tolerance + (1 - tolerance) * (1 - np.cos(np.linspace(0, np.pi, CURVE))) / 2
    q2 = q1 - tolerance
    a, b = q1 * (1 - q1) / n1, q2 * (1 - q2) / n2
    slope = least / np.sqrt(np.maximum(a + b, np.finfo(float).tiny))
    rates = np.interp(np.arange(n1 + 1) / n1, q1 + slope * a, q2 - slope * b, left=-1)
    return np.clip(np.floor(rates * n2), -1, n2).astype(np.int64)


def _last(holds: Callable[[Ints, Ints], npt.NDArray[np.bool_]], guess: Ints, most: int) -> Ints:
    """The largest second count, up to `most`, at which it holds beside each first count; -1 where at none.

    A walk from a guess, one count a step, until it holds at the count and not at the next: the guess decides how long.
    """
    found, rows = guess.copy(), np.arange(len(guess))
    while len(rows):
        at = found[rows]
        here, next_one = holds(rows, np.stack([np.maximum(at, 0), np.minimum(at + 1, most)]))
        step = ((at < most) & next_one).astype(np.int64) - ((at >= 0) & ~here)
        found[rows] += step
        rows = rows[step != 0]
    return found


def _largest_chance(n1: int, n2: int, tolerance: float, below: Ints, above: Ints) -> float:
    """The largest chance, over both edges, of the tables beyond two borders.

    `below` is the last second count beside each first; `above` the same where failures are counted of both.
    """
    chance = _chance_on_the_edge(n1, n2, tolerance, below, above)
    if np.array_equal(below, above):  # counting failures gives the same tables, so that both edges are alike
        return chance
    return max(chance, _chance_on_the_edge(n1, n2, tolerance, above, below))


def _chance_on_the_edge(n1: int, n2: int, tolerance: float, below: Ints, above: Ints) -> float:
    """The largest chance of such tables where the first rate is the higher one, by the tolerance."""
    from_end = np.minimum(above[::-1], n2 - below - 1)  # no table counts twice
    # At the lower rates turned about both axes stand the chances at the higher ones.
    higher, (up, down) = _of(n1, tolerance)[0][::-1, ::-1], _of(n2, tolerance)[1:]
    return float(np.einsum("ig,ig->g", higher, up[below + 1] + down[from_end + 1]).max())


def _of(n: int, tolerance: float) -> tuple[Floats, Floats, Floats]:
    return _kept(n, tolerance) if n <= MOST_KEPT else _binomial(n, tolerance)


def _binomial(n: int, tolerance: float) -> tuple[Floats, Floats, Floats]:
    """Chance of 0 ... n of n at each rate from 0 to 1 - tolerance, (count, rate), and its sums from either end.

    The sums have a row more, the first: that of no count.
    """
    k = np.arange(n + 1)[:, None]
    rates = np.clip(np.linspace(tolerance, 1, GRID) - tolerance, 0.0, 1.0)
    ways = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        chance: Floats = np.asarray(k * np.log(rates), dtype=np.float64)
        others = (n - k) * np.log(1 - rates)
    chance[0], others[n] = 0.0, 0.0  # none of a rate of 0 is certain, and all of a rate of 1
    chance += others
    chance += ways
    np.exp(chance, out=chance)
    up, down = np.zeros((n + 2, GRID)), np.zeros((n + 2, GRID))
    np.cumsum(chance, axis=0, out=up[1:])
    np.cumsum(chance[::-1], axis=0, out=down[1:])
    for made in (chance, up, down):
        made.flags.writeable = False
    return chance, up, down


_kept = lru_cache(maxsize=KEPT)(_binomial)
