"""How a cost grows with a size: the slope in log-log, and what a linear or a quadratic cost would have become."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from scipy import stats


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """A cost as a power of a size: 1 is linear, 2 quadratic, 0 constant."""

    slope: float  # over all sizes, by least squares of logarithms
    low: float | None  # 95 % of it by Student's t; None: fewer than three sizes
    high: float | None
    last: float  # between the two largest sizes, where what is fixed weighs least
    found: float  # the cost at the largest size over that at the smallest
    linear: float  # ... were it linear
    quadratic: float


def growth(sizes: Sequence[float], costs: Sequence[float]) -> Growth:
    """How costs, all above 0, grow with sizes, ascending and above 0.

    The interval says how straight the line is over these sizes. It is not what a repetition would vary by.

    Raises:
        ValueError: fewer than two sizes, sizes that do not ascend, or a cost that has no logarithm.
    """
    if len(sizes) < 2 or any(not a < b for a, b in pairwise(sizes)):
        raise ValueError(f"sizes are {list(sizes)}; two or more, ascending, are expected")
    if min(sizes[0], *costs) <= 0:
        raise ValueError(f"sizes {list(sizes)} and costs {list(costs)} must be above 0")
    x, y = [math.log(size) for size in sizes], [math.log(cost) for cost in costs]
    n, x_mean, y_mean = len(x), math.fsum(x) / len(x), math.fsum(y) / len(y)
    spread = math.fsum((a - x_mean) ** 2 for a in x)
    slope = math.fsum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True)) / spread
    off = math.fsum((b - y_mean - slope * (a - x_mean)) ** 2 for a, b in zip(x, y, strict=True))
    half = float(stats.t.ppf(0.975, n - 2)) * math.sqrt(off / (n - 2) / spread) if n > 2 else None
    ratio = sizes[-1] / sizes[0]
    return Growth(
        slope=slope,
        low=None if half is None else slope - half,
        high=None if half is None else slope + half,
        last=(y[-1] - y[-2]) / (x[-1] - x[-2]),
        found=costs[-1] / costs[0],
        linear=ratio,
        quadratic=ratio**2,
    )
