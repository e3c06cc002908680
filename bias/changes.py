"""How far a rate, a mean or a gap moved on the same rows, how sure that is, and whether it got worse."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from .estimates import Design
from .influence import Influenced, covariance, mean
from .intervals import Interval
from .paired import PairedCounts, newcombe_paired, pair
from .paired_scores import paired_surpasses_p, tango

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Better = Literal["higher", "lower", "neither"]


class Moved(NamedTuple):
    """A change: its interval for reading, and what a margin is judged by."""

    before: float
    after: float
    low: float | None  # two-sided interval of after - before
    high: float | None
    worsening: float  # in the direction that is worse; of a gap: growth of its absolute value
    upper_bound: float  # one-sided 1 - alpha bound of the worsening
    p: float  # of "worsening <= margin"; without a margin of "no change"
    se: float
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One metric of one group of rows under both models."""

    before: Influenced | None
    after: Influenced | None
    n_before: int  # denominators, each row as often as it counts
    n_after: int
    cells: (
        PairedCounts | None
    )  # of independent rows that are in the denominator both times: after first, before second
    is_rate: bool
    own: Floats | None = (
        None  # covariance of (after, before) where rows are independent and there are two of each
    )
    undefined: str = ""  # why a value is missing

    @property
    def defined(self) -> bool:
        """Whether both have a value."""
        return self.before is not None and self.after is not None


def side_of(
    before: Influenced | None,
    after: Influenced | None,
    rows: Ints,
    design: Design,
    *,
    sizes: tuple[int, int],
    is_rate: bool,
    cells: PairedCounts | None = None,
    undefined: str = "",
) -> Side:
    """Both values of ascending `rows`, with what they have in common.

    Args:
        before, after: values whose rows are among `rows`; None where undefined.
        rows: positions in the whole table.
        design: of the whole table.
        sizes: denominators before and after.
        is_rate: whether it is k of n.
        cells: the paired table, where the denominator is the same.
        undefined: why a value is missing.
    """
    own = None
    if before is not None and after is not None and design.cluster is None and min(before.n, after.n) > 1:
        here = [
            part if part.rows is None else dataclasses.replace(part, rows=np.searchsorted(rows, part.rows))
            for part in (after, before)
        ]
        own = covariance(here)
    return Side(
        before=before,
        after=after,
        n_before=sizes[0],
        n_after=sizes[1],
        cells=cells,
        is_rate=is_rate,
        own=own,
        undefined=undefined,
    )


def rate_side(
    numerators: tuple[Bools, Bools], denominators: tuple[Bools, Bools], rows: Ints, design: Design
) -> Side:
    """A rate of `rows` before and after, from (row,) truth values of the whole table: who is counted, out of whom."""
    inside = [rows[denominator[rows]] for denominator in denominators]
    parts = [
        _mean(numerator[where].astype(np.float64), where, design)
        for numerator, where in zip(numerators, inside, strict=True)
    ]
    cells = None
    if design.simple and np.array_equal(inside[0], inside[1]) and _size(inside[0], design.count):
        count = None if design.count is None else design.count[inside[0]]
        cells = pair(numerators[1][inside[0]], numerators[0][inside[0]], count)
    sizes = (_size(inside[0], design.count), _size(inside[1], design.count))
    return side_of(parts[0], parts[1], rows, design, sizes=sizes, is_rate=True, cells=cells)


def mean_side(values: tuple[Floats, Floats], rows: Ints, design: Design) -> Side:
    """A mean of `rows` before and after, from (row,) numbers of the whole table."""
    before, after = (_mean(value[rows], rows, design) for value in values)
    n = _size(rows, design.count)
    return side_of(before, after, rows, design, sizes=(n, n), is_rate=False)


def level_moved(
    side: Side,
    cluster: Ints | None,
    *,
    better: Better,
    margin: float | None,
    alpha: float,
    confidence: float,
) -> Moved | None:
    """How far a rate or mean moved; None where fewer than two rows or clusters leave no error, or nothing ever varies.

    Rates of independent rows with one denominator: Newcombe's paired interval for reading, Tango's bounds and McNemar's
    exact (with a margin: Tango's) p for judging. All else: Student's t on the influence of each row, clusters summed
    first; a rate's variance is that of two more rows, one that moved each way, so that perfect agreement of a few
    rows proves little (as Bonett & Price 2012). A mean has them only where no row moved at all.
    """
    if side.before is None or side.after is None:
        return None
    before, after = side.before.estimate, side.after.estimate
    change = after - before
    spread = _spread([side], (1.0, -1.0), cluster)
    if spread is None:
        return None
    se, df = spread
    sign = {"higher": -1.0, "lower": 1.0, "neither": 0.0}[better]
    worsening = sign * change if sign else abs(change)
    if side.cells is not None:
        shown = newcombe_paired(side.cells, confidence)
        bounds = tango(side.cells, 1 - 2 * alpha)
        up = paired_surpasses_p(side.cells, min(margin or 0.0, 1 - 1e-9))
        down = paired_surpasses_p(_swapped(side.cells), min(margin or 0.0, 1 - 1e-9))
        method = "Newcombe paired; Tango; McNemar exact"
    else:
        if se == 0:
            return None
        half = float(stats.t.ppf(0.5 + confidence / 2, df)) * se
        shown = Interval(change - half, change + half)
        half = float(stats.t.ppf(1 - alpha, df)) * se
        bounds = Interval(change - half, change + half)
        up, down = (float(stats.t.sf((way * change - (margin or 0.0)) / se, df)) for way in (1, -1))
        method = "cluster-robust t" if cluster is not None else "paired t on the influence of each row"
    p = min(1.0, 2 * min(up, down)) if margin is None or not sign else up if sign > 0 else down
    ends = {1.0: bounds.high, -1.0: -bounds.low, 0.0: max(abs(bounds.low), abs(bounds.high))}
    return Moved(before, after, shown.low, shown.high, worsening, ends[sign], p, se, method)


def gap_moved(
    group: Side,
    reference: Side,
    cluster: Ints | None,
    *,
    margin: float | None,
    alpha: float,
    confidence: float,
    apart: bool = True,
) -> Moved | None:
    """How far the gap of two groups moved, and how far it grew: |gap after| - |gap before|.

    The growth's bound: |a| - |b| <= m holds where for both signs s of a and some sign t of b, s a - t b <= m;
    each of the two signs t is tested at alpha / 2, the two s at alpha (intersection-union). "Grew by more than m" is,
    for one s, s a - t b > m for both t; p is the chance, at the edge, of such a statistic for either s. A gap that
    changed sides is thus judged by its size. `apart` says that no row is in both groups. None as in `level_moved`.
    """
    sides = [group, reference]
    if not (group.defined and reference.defined):
        return None
    values = [part.estimate for side in sides for part in (side.after, side.before) if part is not None]
    after, before = values[0] - values[2], values[1] - values[3]
    errors = {}
    for way in (1.0, -1.0):  # after - before, after + before
        spread = _spread(sides, (1.0, -way, -1.0, way), cluster, apart=apart)
        if spread is None or spread[0] == 0:
            return None
        errors[way] = spread
    se, df = errors[1.0]
    half = float(stats.t.ppf(0.5 + confidence / 2, df)) * se
    edge = margin or 0.0

    def near(s: float, t: float) -> tuple[float, float, float]:
        error, freedom = errors[1.0 if s == t else -1.0]
        return s * after - t * before, error, freedom

    bound = max(min(_upper(*near(s, t), alpha / 2) for t in (1.0, -1.0)) for s in (1.0, -1.0))
    if margin is None:
        p = float(min(1.0, 2 * stats.t.sf(abs(after - before) / se, df)))
    else:
        statistic = max(
            min((value - edge) / error for value, error, _ in (near(s, 1.0), near(s, -1.0)))
            for s in (1.0, -1.0)
        )
        widest = max(error for error, _ in errors.values())
        p = float(min(1.0, stats.t.sf(statistic, df) + stats.t.sf(statistic + 2 * edge / widest, df)))
    return Moved(
        before,
        after,
        after - before - half,
        after - before + half,
        abs(after) - abs(before),
        bound,
        p,
        se,
        "cluster-robust t" if cluster is not None else "t on the influence of each row",
    )


def _upper(value: float, error: float, df: float, alpha: float) -> float:
    return value + float(stats.t.ppf(1 - alpha, df)) * error


def _spread(
    sides: Sequence[Side], signs: Sequence[float], cluster: Ints | None, *, apart: bool = True
) -> tuple[float, float] | None:
    """Standard error and degrees of freedom of a signed sum of (after, before) of each side.

    `apart` says that no row is in two sides.
    """
    parts = [part for side in sides for part in (side.after, side.before) if part is not None]
    units = [_units(part, cluster) for part in parts]
    if min(units) < 2:
        return None
    weights = np.asarray(signs)
    if apart and all(side.own is not None for side in sides):
        blocks = zip(sides, weights.reshape(-1, 2), strict=True)
        variance = float(sum(part @ side.own @ part for side, part in blocks if side.own is not None))
    else:
        variance = float(weights @ covariance(parts, cluster) @ weights)
    scale = max(abs(part.estimate) for part in parts)
    if variance <= (1e-9 * scale) ** 2:
        variance = 0.0
    still = variance == 0
    for side in sides:
        both = [part for part in (side.after, side.before) if part is not None]
        numbers = [_units(part, cluster) for part in both]
        if side.is_rate:  # a row (or cluster) more that moved each way
            variance += sum(1 / number**2 for number in numbers)
        elif still:  # no row moved: one more that moved each way, by as much as rows differ
            variance += sum(part.se(cluster) ** 2 / n for part, n in zip(both, numbers, strict=True))
    return math.sqrt(variance), float(min(units) - 1)


def _units(part: Influenced, cluster: Ints | None) -> int:
    """Independent rows or clusters behind an estimate."""
    if cluster is None:
        return part.n
    where = np.arange(len(part.influence)) if part.rows is None else part.rows
    return len(np.unique(cluster[where]))


def _mean(values: Floats, where: Ints, design: Design) -> Influenced | None:
    count = None if design.count is None else design.count[where]
    weight = None if design.weight is None else design.weight[where]
    mass = (np.ones(len(where)) if count is None else count) * (1.0 if weight is None else weight)
    if not np.sum(mass) > 0:
        return None
    return mean(values, rows=where, count=count, weight=weight)


def _size(where: Ints, count: Ints | None) -> int:
    return len(where) if count is None else int(count[where].sum())


def _swapped(cells: PairedCounts) -> PairedCounts:
    return PairedCounts(
        both=cells.both, first_only=cells.second_only, second_only=cells.first_only, neither=cells.neither
    )
