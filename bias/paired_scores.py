"""Tango's score test of a paired difference of rates, against any margin, and the interval that it gives."""

import math

from scipy import optimize, stats

from ..errors import UsageError
from .intervals import Interval
from .paired import PairedCounts


def tango_statistic(cells: PairedCounts, difference: float) -> float:
    """Signed score statistic of "first rate - second rate is `difference`" (Tango 1998, eq. 6).

    At 0 its square is McNemar's statistic. It is 0 where the hypothesis fits what was seen exactly.
    """
    n, b, c = cells.n, cells.first_only, cells.second_only
    over = b - c - n * difference
    # The chance of a row of the second only, most likely under the hypothesis: the root of a quadratic.
    linear = -b - c + (2 * n - b + c) * difference
    constant = -c * difference * (1 - difference)
    root = (math.sqrt(max(0.0, linear * linear - 8 * n * constant)) - linear) / (4 * n)
    variance = n * (2 * root + difference * (1 - difference))
    if variance <= 1e-12 * n:
        return 0.0 if abs(over) < 1e-9 else math.copysign(math.inf, over)
    return over / math.sqrt(variance)


def tango(cells: PairedCounts, confidence: float = 0.95) -> Interval:
    """Tango's score interval of first rate minus second (1998, Statistics in Medicine 17, 891).

    It keeps its width where few rows or none changed, in which Newcombe's paired interval shrinks: of 100 rows that all
    agree the ends are -.037 and .037.

    Raises:
        UsageError: a confidence that is none.
    """
    if not 0 < confidence < 1:
        raise UsageError(f"confidence is {confidence}; a number between 0 and 1 is expected.")
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    at = cells.difference

    def end(edge: float, sign: float) -> float:
        def beyond(difference: float) -> float:
            statistic = sign * tango_statistic(cells, difference)
            return min(statistic, 1e6) - z

        if beyond(edge) < 0:
            return edge
        return float(optimize.brentq(beyond, *sorted((edge, at)), xtol=1e-13))

    near = 1 - 1e-12
    low = -1.0 if at <= -near else end(-near, 1.0)
    high = 1.0 if at >= near else end(near, -1.0)
    return Interval(max(-1.0, low), min(1.0, high))


def paired_surpasses_p(cells: PairedCounts, margin: float = 0.0) -> float:
    """p of "first rate - second rate <= margin", one-sided: small where the first is larger beyond chance.

    The larger of Tango's and, since a margin of 0 or more is no easier to pass than none, McNemar's exact one-sided p.

    Raises:
        UsageError: a margin below 0 or of 1 or more.
    """
    if not 0 <= margin < 1:
        raise UsageError(f"the margin is {margin}; 0 or more and less than 1 is expected.")
    exact = float(stats.binom.sf(cells.first_only - 1, cells.changed, 0.5)) if cells.changed else 1.0
    if margin == 0:
        return min(1.0, exact)
    return min(1.0, max(exact, float(stats.norm.sf(tango_statistic(cells, margin)))))
