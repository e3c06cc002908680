"""Bootstrap-t of differences of weighted means, over thousands of sparse columns: critical values of |t|."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from ..errors import DataError
from .upper_quantiles import UpperQuantiles

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
BLOCK = 256  # replicates drawn at once
MOST_NUMBERS = 2**23  # of one array of a block: 64 MiB
MOST_DENSE = 2**25  # numbers of a matrix held dense: 256 MiB
FLOOR = 0.25  # of a sparse column's standard error: no replicate is studentised by less
ALIKE = 1e-13  # a variance this much smaller than what it is a difference of is rounding


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Critical:
    """Standard errors of differences, and how many of them an interval reaches to either side."""

    error: Floats  # (column,)
    pointwise: Floats  # (column,) critical value of a column's own |t|
    simultaneous: float  # of the largest |t| over the family

    @property
    def near(self) -> Floats:
        """(column,) half the width of the pointwise interval."""
        return self.pointwise * self.error

    @property
    def far(self) -> Floats:
        """(column,) half the width of the simultaneous interval."""
        return self.simultaneous * self.error


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    block: int  # whose draws it uses
    sign: float
    weight: Floats  # (unit,) what one draw of a unit weighs
    weighed: Any  # (unit, column) weight * value, of columns that are mostly filled less their mean
    squares: Any  # (unit, column) weighed^2
    crossed: Any  # (unit, column) weighed * weight
    centre: Floats  # (column,) the mean on the data themselves


@dataclass(frozen=True, slots=True, eq=False)
class _Draws:
    times: tuple[Ints, ...]  # of each block of units: how often each is there
    sides: tuple[_Side, ...]
    joint: bool  # both sides are drawn together
    holds: tuple[Any, ...]  # of each block: (unit, column) whether it holds the column's unit

    def moments(self, drawn: list[Floats]) -> tuple[Floats, Floats, Floats]:
        """Deviation of each difference from the data's, its squared standard error, and the scale of that square.

        A mean's squared error is n / (n - 1) times the sum over drawn units of (weight (value - mean) / total weight)^2;
        where a unit is on both sides, of the difference of what it does on each.
        """
        means, totals = [], []
        deviation, variance = 0.0, 0.0
        for side in self.sides:
            m = drawn[side.block]
            n = int(self.times[side.block].sum())
            total = (m @ side.weight)[:, None]
            mean = (m @ side.weighed) / total
            square = (
                m @ side.squares - 2 * mean * (m @ side.crossed) + mean**2 * (m @ side.weight**2)[:, None]
            )
            deviation = deviation + side.sign * (mean - side.centre)
            variance = variance + np.maximum(square, 0.0) / total**2 * (n / (n - 1))
            means.append(mean)
            totals.append(total)
        scale = np.asarray(variance)
        if self.joint:
            a, b = self.sides
            m, n = drawn[0], int(self.times[0].sum())
            shared = (
                m @ _times(a.weighed, b.weighed)
                - means[0] * (m @ _by_row(b.weighed, a.weight))
                - means[1] * (m @ _by_row(a.weighed, b.weight))
                + means[0] * means[1] * (m @ (a.weight * b.weight))[:, None]
            )
            variance = variance - 2 * shared / (totals[0] * totals[1]) * (n / (n - 1))
        return np.asarray(deviation), np.maximum(variance, 0.0), scale


def bootstrap_t(
    values: Any,
    weights: Floats,
    *,
    cluster: Ints | None = None,
    count: Ints | None = None,
    stratum: Ints | None = None,
    family: int | None = None,
    holds: Any | None = None,
    minimum: int = 0,
    confidence: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
) -> Critical:
    """Critical values for the weighted difference (or weighted mean, where all weights have one sign) of each column.

    Rows are drawn again within each side, as many as there are; whole clusters where there are any, both sides together
    where a cluster has rows on both. Weights travel with the rows and each side's mean is divided by the weight
    drawn. Each replicate is studentised by its own linearised standard error (Efron & Tibshirani 1993, section
    12.5; for clusters Cameron, Gelbach & Miller 2008).

    Args:
        values: (row, column), dense or sparse.
        weights: (row,) positive on one side, negative on the other; 0 takes no part.
        cluster: (row,) codes of rows that are drawn together.
        count: (row,) how many equal rows each stands for; its weight is that of all of them.
        stratum: (row,) codes of strata whose mix the weights fix: what varies between them is no error, so that values
            are taken less the mean of their side's stratum (of their side, where a stratum has one row of it), times
            sqrt(n / (n - 1)). Columns that less than a twentieth of the rows fill are left as they are, which widens.
        family: how many columns, from the first, the largest |t| is taken over; None: all.
        holds: (row, column) 1 where a row holds the unit of a column, for columns that few rows fill. Replicates in
            which fewer than `minimum` rows (clusters) hold it, or fewer than in the data where those are fewer yet, do
            not count for it: with so few it would not be listed. Nor is a replicate studentised by less than a quarter of
            the column's standard error, as one would be that drew the same row each time.
        confidence, replicates, seed: of the intervals.

    Raises:
        DataError: a side with fewer than two rows or clusters, replicates below 50, a confidence out of range.
    """
    if replicates < 50 or not 0 < confidence < 1:
        raise DataError(
            f"{replicates} replicates at confidence {confidence}: expected 50 or more, between 0 and 1."
        )
    given = sparse.csr_array(values) if sparse.issparse(values) else np.asarray(values, dtype=np.float64)
    made = _draws(given, np.asarray(weights, dtype=np.float64), cluster, count, stratum, holds)
    _, variance, scale = made.moments([times[None].astype(np.float64) for times in made.times])
    error = np.sqrt(np.where(variance[0] <= ALIKE * scale[0], 0.0, variance[0]))
    columns = len(error)
    family = columns if family is None else family
    need = np.zeros(columns)
    if holds is not None:
        there = sum(np.asarray(times @ part) for times, part in zip(made.times, made.holds, strict=True))
        need = np.minimum(minimum, there)
    tiny = np.maximum(error * (1e-9 if holds is None else FLOOR), np.finfo(np.float64).tiny)
    top = UpperQuantiles(columns, replicates, confidence)
    largest = np.empty(replicates)
    generator = np.random.default_rng(seed)
    widest = max(columns, *(len(times) for times in made.times))
    block = max(8, min(BLOCK, MOST_NUMBERS // widest))
    for start in range(0, replicates, block):
        size = min(block, replicates - start)
        drawn = [
            generator.multinomial(int(times.sum()), times / times.sum(), size=size).astype(np.float64)
            for times in made.times
        ]
        with np.errstate(invalid="ignore", divide="ignore"):
            deviation, variance, _ = made.moments(drawn)
            t = np.abs(deviation) / np.maximum(np.sqrt(variance), tiny)
        t[:, error == 0] = 0.0
        if holds is not None:
            there = sum(np.asarray(m @ part) for m, part in zip(drawn, made.holds, strict=True))
            t[there < need] = np.nan
        top.add(t)
        counted = np.where(np.isnan(t[:, :family]), 0.0, t[:, :family])
        largest[start : start + size] = counted.max(axis=1, initial=0.0)
    far = float(np.quantile(largest, confidence, method="higher"))
    return Critical(error=error, pointwise=top.quantile(far), simultaneous=far)


def _draws(
    values: Any,
    weights: Floats,
    cluster: Ints | None,
    count: Ints | None,
    stratum: Ints | None,
    holds: Any | None,
) -> _Draws:
    rows = [np.flatnonzero(weights > 0), np.flatnonzero(weights < 0)]
    present = [(1.0 if i == 0 else -1.0, part) for i, part in enumerate(rows) if part.size]
    if not present:
        raise DataError("no row weighs anything: there is nothing to draw again.")
    unit: Ints = np.arange(len(weights)) if cluster is None else np.asarray(cluster, dtype=np.int64)
    owners = [np.unique(unit[part]) for _, part in present]
    joint = len(owners) == 2 and bool(np.intersect1d(owners[0], owners[1]).size)
    blocks = [np.union1d(owners[0], owners[1])] if joint else owners
    times = []
    for block in blocks:
        single = cluster is None and count is not None
        times.append(np.asarray(count)[block] if single else np.ones(len(block), dtype=np.int64))
    sides, held = [], []
    for i, (sign, part) in enumerate(present):
        at = 0 if joint else i
        place = np.searchsorted(blocks[at], unit[part])
        if len(owners[i]) < 2:
            what = "rows" if cluster is None else "clusters"
            raise DataError(
                f"one side of the contrast has {len(owners[i])} {what}; at least two are needed to draw again."
            )
        side_strata = None if stratum is None else np.asarray(stratum)[part]
        sides.append(_side(at, sign, values[part], np.abs(weights[part]), place, times[at], side_strata))
        if holds is not None:
            held.append(_gathered(sparse.csr_array(holds)[part], place, len(times[at])))
    if holds is not None:
        held = [held[0] + held[1]] if joint else held
        held = [_capped(part) for part in held]
    return _Draws(tuple(times), tuple(sides), joint, tuple(held))


def _side(
    block: int, sign: float, values: Any, weights: Floats, place: Ints, times: Ints, stratum: Ints | None
) -> _Side:
    weights = weights / weights.sum()
    if sparse.issparse(values):
        weighed = _fast(_gathered(_by_row(_centred(values, weights, stratum), weights), place, len(times)))
    else:
        weighed = _adding(place, len(times)) @ _by_row(_residuals(values, weights, stratum), weights)
    weight = np.bincount(place, weights, minlength=len(times)) / times
    weighed = _by_row(weighed, 1 / times)
    return _Side(
        block=block,
        sign=sign,
        weight=weight,
        weighed=weighed,
        squares=_times(weighed, weighed),
        crossed=_by_row(weighed, weight),
        centre=np.asarray(times @ weighed) / float(times @ weight),
    )


def _residuals(dense: Floats, weights: Floats, stratum: Ints | None) -> Floats:
    """Values less their mean, or less their stratum's and spread to its degrees of freedom."""
    mean = weights @ dense
    if stratum is None:
        return dense - mean
    codes = np.unique(stratum, return_inverse=True)[1]
    n = np.bincount(codes)
    means = _adding(codes, len(n)) @ _by_row(dense, weights) / np.bincount(codes, weights)[:, None]
    means[n < 2] = mean
    spread = np.sqrt(np.where(n < 2, 1.0, n / np.maximum(n - 1, 1)))
    made: Floats = (dense - means[codes]) * spread[codes, None]
    return made


def _centred(values: Any, weights: Floats, stratum: Ints | None) -> Any:
    """Columns that are mostly filled less their mean: then squares lose no digits. Those of mostly zeros lose none."""
    n = len(weights)
    least = n / 2 if stratum is None else n / 20
    filled = np.bincount(values.indices[values.data != 0], minlength=values.shape[1]) > least
    if not filled.any():
        return values
    dense = _residuals(values[:, filled].toarray(), weights, stratum)
    light = values @ sparse.diags_array((~filled).astype(np.float64))
    index = np.flatnonzero(filled)
    heavy = sparse.csr_array(
        (dense.ravel(), (np.repeat(np.arange(n), len(index)), np.tile(index, n))), shape=values.shape
    )
    return sparse.csr_array(light + heavy)


def _gathered(rows: Any, place: Ints, n: int) -> Any:
    """Rows added up by unit, (unit, column)."""
    return sparse.csr_array(_adding(place, n) @ rows)


def _adding(place: Ints, n: int) -> Any:
    return sparse.csr_array((np.ones(len(place)), (place, np.arange(len(place)))), shape=(n, len(place)))


def _capped(held: Any) -> Any:
    held = sparse.csr_array(held)
    held.eliminate_zeros()
    held.data = np.ones_like(held.data, dtype=np.float64)
    return held


def _fast(matrix: Any) -> Any:
    """A dense matrix where that multiplies faster and fits."""
    size = matrix.shape[0] * matrix.shape[1]
    return matrix.toarray() if matrix.nnz > 0.2 * size and size <= MOST_DENSE else matrix


def _times(a: Any, b: Any) -> Any:
    return sparse.csr_array(a.multiply(b)) if sparse.issparse(a) else a * _plain(b)


def _plain(matrix: Any) -> Any:
    return matrix.toarray() if sparse.issparse(matrix) else matrix


def _by_row(matrix: Any, factor: Floats) -> Any:
    if sparse.issparse(matrix):
        return sparse.csr_array(sparse.diags_array(factor) @ matrix)
    return matrix * factor[:, None]
