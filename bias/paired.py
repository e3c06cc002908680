"""The same rows decided twice, by two models or before a swap as after: differences, odds, tests."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from ..errors import DataError
from .influence import difference, mean
from .intervals import Interval, Means, clopper_pearson, wilson
from .ratios import RatioInterval
from .tests_of_rates import Tested

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedCounts:
    """Rows by what the first and the second said of them: the four cells of a paired table."""

    both: int
    first_only: int
    second_only: int
    neither: int

    def __post_init__(self) -> None:
        cells = (self.both, self.first_only, self.second_only, self.neither)
        if min(cells) < 0 or sum(cells) == 0:
            raise DataError(f"cells of {cells}: expected counts of 0 or more, and at least one row.")

    @property
    def n(self) -> int:
        """Rows, each decided twice."""
        return self.both + self.first_only + self.second_only + self.neither

    @property
    def rate_first(self) -> float:
        """Share of rows that the first said yes to."""
        return (self.both + self.first_only) / self.n

    @property
    def rate_second(self) -> float:
        """Share of rows that the second said yes to."""
        return (self.both + self.second_only) / self.n

    @property
    def difference(self) -> float:
        """First rate minus second."""
        return (self.first_only - self.second_only) / self.n

    @property
    def changed(self) -> int:
        """Rows on which the two differ, either way."""
        return self.first_only + self.second_only


def pair(first: Bools, second: Bools, count: Ints | None = None) -> PairedCounts:
    """The four cells of two decisions of each row.

    Args:
        first, second: (row,) decisions, errors, or whatever is true or false of a row.
        count: (row,) how many equal rows each stands for.

    Raises:
        DataError: shapes that differ, something other than true and false, or no rows.
    """
    _same_rows(first, second, count)
    if first.dtype != np.bool_ or second.dtype != np.bool_:
        raise DataError(f"decisions are {first.dtype} and {second.dtype}; true and false are expected.")
    code = np.where(first, 0, 2) + np.where(second, 0, 1)
    times = np.ones(len(code), dtype=np.int64) if count is None else count
    cells = [int(times[code == value].sum()) for value in range(4)]
    return PairedCounts(both=cells[0], first_only=cells[1], second_only=cells[2], neither=cells[3])


def newcombe_paired(cells: PairedCounts, confidence: float = 0.95) -> Interval:
    """Newcombe's interval of first rate minus second (1998, Statistics in Medicine 17, 2635, method 10).

    Wilson's intervals of both rates, put together with the correlation of the two, whose numerator is taken
    nearer to zero by half the rows where it is positive (his continuity correction of phi).
    """
    a, b, c, d = cells.both, cells.first_only, cells.second_only, cells.neither
    n = cells.n
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    product = a * d - b * c
    nearer = max(product - n / 2, 0.0) if product > 0 else float(product)
    phi = nearer / math.sqrt(margins) if margins else 0.0
    p1, p2 = cells.rate_first, cells.rate_second
    l1, u1 = wilson(a + b, n, confidence)
    l2, u2 = wilson(a + c, n, confidence)
    below = (p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2
    above = (u1 - p1) ** 2 - 2 * phi * (u1 - p1) * (p2 - l2) + (p2 - l2) ** 2
    at = cells.difference
    return Interval(at - math.sqrt(max(0.0, below)), at + math.sqrt(max(0.0, above)))


def mcnemar_exact(cells: PairedCounts) -> Tested:
    """McNemar's exact test that both rates are equal: binomial on the rows that changed; 1 where none did."""
    fewer = min(cells.first_only, cells.second_only)
    p = min(1.0, 2 * float(stats.binom.cdf(fewer, cells.changed, 0.5)))
    return Tested(p, "McNemar exact", cells.changed)


def mcnemar_mid_p(cells: PairedCounts) -> Tested:
    """McNemar's mid-p test: half the chance of what was seen is left out on each side (Fagerland et al. 2013).

    Nearly of its nominal size; the exact test is far below it. 1 where no row changed.
    """
    fewer = min(cells.first_only, cells.second_only)
    tail = float(stats.binom.cdf(fewer, cells.changed, 0.5) - stats.binom.pmf(fewer, cells.changed, 0.5) / 2)
    return Tested(min(1.0, 2 * tail), "McNemar mid-p", cells.changed)


def paired_odds(cells: PairedCounts, confidence: float = 0.95) -> tuple[float | None, RatioInterval]:
    """Odds that a row which changed is of the first only: estimate and exact interval (Clopper-Pearson).

    The estimate is None, for infinite, where the second alone has no row; the upper end likewise.

    Raises:
        DataError: no row changed, so there are no odds.
    """
    if cells.changed == 0:
        raise DataError(f"none of {cells.n} rows changed: the paired odds are undefined, 0 to 0.")
    low, high = clopper_pearson(cells.first_only, cells.changed, confidence)
    estimate = cells.first_only / cells.second_only if cells.second_only else None
    return estimate, RatioInterval(low / (1 - low), None if high == 1 else high / (1 - high))


def paired_ratio(cells: PairedCounts, confidence: float = 0.95) -> RatioInterval:
    """Interval of first rate over second on the same rows: Bonett & Price's hybrid of two Wilson intervals (2006).

    Rows that neither said yes to say nothing of a ratio and are left out; Wilson's quantile is scaled so that the
    quotient of the two ends has the variance of the logarithm of a paired ratio. None above where the second has none.

    Raises:
        DataError: neither said yes to any row, so that the ratio is 0 / 0.
    """
    one, other = cells.both + cells.first_only, cells.both + cells.second_only
    n = cells.n - cells.neither
    if n == 0:
        raise DataError(f"both rates are 0 in {cells.n} rows: their ratio is undefined.")
    joint = math.sqrt((cells.changed + 2) / ((one + 1) * (other + 1)))
    apart = sum(math.sqrt((1 - (k + 1) / (n + 2)) / (k + 1)) for k in (one, other))
    z = float(stats.norm.ppf(0.5 + confidence / 2)) * joint / apart
    scaled = 2 * float(stats.norm.cdf(z)) - 1
    l1, u1 = wilson(one, n, scaled)
    l2, u2 = wilson(other, n, scaled)
    return RatioInterval(l1 / u2, u1 / l2 if l2 > 0 else None)


def paired_difference(
    first: npt.ArrayLike, second: npt.ArrayLike, *, count: Ints | None = None, cluster: Ints | None = None
) -> Means:
    """Mean of first minus second on the same rows, with its standard error: the paired t test and interval.

    With `cluster`, the differences are added up within each cluster first, and degrees of freedom are clusters - 1.

    Args:
        first, second: (row,) numbers, or true and false.
        count: (row,) how many equal rows each stands for.
        cluster: (row,) codes of people, documents or templates that rows belong to.

    Raises:
        DataError: shapes that differ, fewer than two rows, or all of them in one cluster.
    """
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    _same_rows(x, y, count)
    return difference(mean(x, rows=None, count=count), mean(y, rows=None, count=count), cluster=cluster)


def sign_test(differences: Floats, count: Ints | None = None) -> Tested:
    """Exact test that rises are as likely as falls; rows without a difference are left out. 1 where none has one."""
    times = np.ones(len(differences), dtype=np.int64) if count is None else count
    up, down = int(times[differences > 0].sum()), int(times[differences < 0].sum())
    p = float(stats.binomtest(up, up + down, 0.5).pvalue) if up + down else 1.0
    return Tested(p, "sign test", up + down)


def wilcoxon(differences: Floats, count: Ints | None = None) -> Tested:
    """Wilcoxon's signed-rank test, by scipy; rows without a difference are left out. 1 where none has one."""
    values = differences if count is None else np.repeat(differences, count)
    moved = values[values != 0]
    p = float(stats.wilcoxon(moved).pvalue) if len(moved) else 1.0
    return Tested(p, "Wilcoxon signed-rank", len(moved))


def _same_rows(first: npt.NDArray[np.generic], second: npt.NDArray[np.generic], count: Ints | None) -> None:
    shapes = [first.shape, second.shape, *([] if count is None else [count.shape])]
    if first.ndim != 1 or len(set(shapes)) > 1:
        raise DataError(f"shapes are {shapes}; one value for each of the same rows is expected.")
