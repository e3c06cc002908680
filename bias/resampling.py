"""Bootstraps: of cell counts, of weighted sums, of rows or clusters, for any function of them."""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ..errors import DataError, UsageError, first
from .bootstrapped import Bootstrapped, bootstrapped

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST_LEFT_OUT = 1_000
MOST_BYTES = 64 * 2**20  # of draws held at once


def count_cells(
    codes: Sequence[npt.NDArray[np.integer] | npt.NDArray[np.bool_]],
    sizes: Sequence[int],
    count: Ints | None = None,
) -> Ints:
    """Rows in every cell of a cross table, shape `sizes`.

    Args:
        codes: for each axis (row,) codes from 0, or true and false; for instance group, label, prediction.
        sizes: for each axis how many codes there are.
        count: (row,) how many equal rows each stands for.

    Raises:
        DataError: a code outside its axis, or columns of several lengths.
    """
    if len(codes) != len(sizes) or len({len(code) for code in codes}) != 1:
        raise DataError(
            f"{len(codes)} columns and {len(sizes)} sizes; one of each, equally long, is expected."
        )
    kind: type[np.int32] | type[np.int64] = np.int32 if math.prod(sizes) < 2**31 else np.int64
    cell: npt.NDArray[np.integer] = np.zeros(len(codes[0]), dtype=kind)
    for code, size in zip(codes, sizes, strict=True):
        if len(code) and not (code.min() >= 0 and code.max() < size):
            raise DataError(f"codes reach from {code.min()} to {code.max()}; 0 to {size - 1} is expected.")
        np.multiply(cell, kind(size), out=cell)
        np.add(cell, code, out=cell, casting="unsafe")
    if count is None:
        return np.bincount(cell, minlength=math.prod(sizes)).astype(np.int64).reshape(sizes)
    made = np.zeros(math.prod(sizes), dtype=np.int64)
    np.add.at(made, cell, count)
    return made.reshape(sizes)


def multinomial_draws(
    cells: Ints, replicates: int, seed: int = 0, *, strata: npt.NDArray[np.integer] | None = None
) -> Ints:
    """Cell counts of resampled rows, (replicate, *cells' shape): as many rows drawn as there are.

    Drawing n rows with replacement and counting them is one multinomial draw of the cells, in any number of rows.

    Args:
        cells: counts of any shape.
        replicates: how many times to draw.
        seed: of the generator; the same seed gives the same draws, however they are divided.
        strata: codes of the shape of `cells`: cells of one stratum keep their sum in every draw (a fixed number of
            rows of each group, as where the design fixed them). None: only the sum of all is kept.

    Raises:
        DataError: counts below 0 or none at all; UsageError: no replicates, or more than fit the memory allowed.
    """
    if replicates * cells.size * 8 > 16 * MOST_BYTES:
        raise UsageError(
            f"{replicates} draws of {cells.size} cells need {replicates * cells.size * 8 / 2**30:.1f} GiB: "
            "take bootstrap_cells, which goes through them in parts."
        )
    drawn = list(_cell_draws(cells, replicates, seed, strata, replicates))
    return drawn[0].reshape(replicates, *cells.shape)


def bootstrap_cells(
    function: Callable[[Ints], Floats],
    cells: Ints,
    replicates: int = 2_000,
    seed: int = 0,
    *,
    strata: npt.NDArray[np.integer] | None = None,
    bca: bool = False,
) -> list[Bootstrapped]:
    """Bootstrap of any function of cell counts, in parts that fit the memory.

    Args:
        function: maps counts (draw, *cells' shape) to values (draw,) or (draw, quantity); NaN is undefined.
        cells: counts of any shape.
        replicates, seed, strata: as `multinomial_draws`.
        bca: compute the values with one row left out, of which there are as many as cells that have rows.

    Returns:
        One record for each quantity.

    Raises:
        DataError: a quantity is undefined on the data themselves.
    """
    shape = cells.shape
    step = max(1, MOST_BYTES // (8 * max(1, cells.size)))

    def values(counts: Ints) -> Floats:
        made = np.asarray(function(counts.reshape(-1, *shape)), dtype=np.float64)
        if made.shape[:1] != (len(counts),) or made.ndim > 2:
            raise UsageError(
                f"the function gave shape {made.shape} for {len(counts)} draws; one value, or one row of values, "
                "for each draw is expected."
            )
        return made.reshape(len(counts), -1)

    flat = cells.reshape(1, -1)
    estimate = values(flat)[0]
    draws = np.concatenate([values(part) for part in _cell_draws(cells, replicates, seed, strata, step)])
    left_out = times = None
    if bca:
        filled = np.flatnonzero(flat[0])
        times = flat[0, filled].astype(np.float64)
        parts = [filled[i : i + step] for i in range(0, len(filled), step)]
        left_out = np.concatenate([values(flat - np.eye(flat.size, dtype=np.int64)[part]) for part in parts])
    return bootstrapped(estimate, draws, seed, left_out, times)


def bootstrap_rows(
    function: Callable[..., float | Sequence[float]],
    *columns: npt.NDArray[np.generic],
    count: Ints | None = None,
    cluster: npt.NDArray[np.integer] | None = None,
    replicates: int = 1_000,
    seed: int = 0,
    bca: bool = False,
) -> list[Bootstrapped]:
    """Bootstrap of any function of rows: rows, or whole clusters of them, drawn with replacement.

    Args:
        function: called with every column restricted to the rows drawn; gives a number or several, NaN for undefined.
        columns: (row, ...) arrays of the same length.
        count: (row,) how many equal rows each stands for. Rows in the same order give the same draws either way.
        cluster: (row,) codes; clusters are drawn, and each brings all of its rows.
        replicates: how many times to draw.
        seed: of the generator.
        bca: also compute the function with each distinct row, or each cluster, left out: as many calls more. From
            1,000 on, that many random blocks of them are left out instead, whose skewness gives the same acceleration.

    Raises:
        DataError: columns of several lengths, no rows, one cluster, or an estimate that is undefined.
    """
    lengths = {len(column) for column in (*columns, *(x for x in (count, cluster) if x is not None))}
    if len(lengths) != 1 or lengths == {0}:
        raise DataError(f"columns are {first(sorted(lengths))} rows long; one length, not 0, is expected.")
    size = lengths.pop()
    rows = np.arange(size) if count is None else np.repeat(np.arange(size), count)
    generator = np.random.default_rng(seed)
    if cluster is None:
        ends = np.arange(len(rows) + 1)
        units = rows  # where units are alike, one of them is left out for all
    else:
        codes = np.unique(cluster[rows], return_inverse=True)[1]
        rows = rows[np.argsort(codes, kind="stable")]
        ends = np.concatenate([[0], np.cumsum(np.bincount(codes))])
        units = np.arange(len(ends) - 1)
    n_units = len(ends) - 1
    if n_units < 2:
        what = "row" if cluster is None else "cluster"
        raise DataError(f"there is one {what}: drawing {what}s again shows nothing. Two are needed.")

    def values(chosen: Ints) -> Floats:
        lengths = ends[chosen + 1] - ends[chosen]
        offset = np.cumsum(lengths) - lengths
        index = rows[np.arange(int(lengths.sum())) + np.repeat(ends[chosen] - offset, lengths)]
        return np.atleast_1d(np.asarray(function(*(column[index] for column in columns)), dtype=np.float64))

    estimate = values(np.arange(n_units))
    draws = np.stack([values(generator.integers(0, n_units, n_units)) for _ in range(replicates)])
    left_out = times = None
    if bca:
        _, begin, alike = np.unique(units, return_index=True, return_counts=True)
        times = alike.astype(np.float64)
        blocks = [np.asarray([i]) for i in begin]
        if len(blocks) > MOST_LEFT_OUT:
            blocks = np.array_split(np.random.default_rng(seed).permutation(n_units), MOST_LEFT_OUT)
            times = np.ones(MOST_LEFT_OUT)
        left_out = np.stack([values(np.delete(np.arange(n_units), block)) for block in blocks])
    return bootstrapped(estimate, draws, seed, left_out, times)


def poisson_totals(
    cell: npt.NDArray[np.integer],
    n_cells: int,
    replicates: int,
    seed: int = 0,
    *,
    weight: Floats | None = None,
    count: Ints | None = None,
    cluster: npt.NDArray[np.integer] | None = None,
) -> Floats:
    """Resampled sums of weights in each cell, (replicate, cell): every row counts Poisson(1) times.

    For weighted rows, whose sums are no counts (Chamandy et al. 2012; Oza & Russell 2001). The number of rows
    varies, which metrics that are ratios of sums do not notice. Equal rows are drawn together, since a sum
    of Poisson variables is one.

    Args:
        cell: (row,) code of the row's cell.
        n_cells: how many cells there are.
        replicates, seed: how many draws, and of which generator.
        weight: (row,) sampling weights; None is 1.
        count: (row,) how many equal rows each stands for.
        cluster: (row,) codes; all rows of a cluster count equally often.

    Raises:
        DataError: a negative weight, or fewer than two clusters.
    """
    from scipy import sparse

    weights = np.ones(len(cell)) if weight is None else np.asarray(weight, dtype=np.float64)
    if np.any(~(weights >= 0)):
        raise DataError(f"weight is negative or no number at {first(np.flatnonzero(~(weights >= 0)))}.")
    times = np.ones(len(cell), dtype=np.int64) if count is None else count
    if cluster is None:
        distinct, at = np.unique(weights, return_inverse=True)
        kinds, which = np.unique(cell.astype(np.int64) * len(distinct) + at, return_inverse=True)
        expected: Floats = np.bincount(which, times, minlength=len(kinds)).astype(np.float64)
        columns, sums = (kinds // len(distinct)).astype(np.int64), distinct[kinds % len(distinct)]
        unit = np.arange(len(columns))
    else:
        codes = np.unique(cluster, return_inverse=True)[1]
        expected = np.ones(int(codes.max(initial=-1)) + 1)
        if len(expected) < 2:
            raise DataError("there is one cluster: drawing clusters again shows nothing. Two are needed.")
        columns, sums, unit = cell.astype(np.int64), weights * times, codes
    table = sparse.csr_array((sums, (unit, columns)), shape=(len(expected), n_cells))
    generator = np.random.default_rng(seed)
    step = max(1, MOST_BYTES // (8 * len(expected)))
    made = np.empty((replicates, n_cells))
    for begin in range(0, replicates, step):
        size = (min(step, replicates - begin), len(expected))
        made[begin : begin + size[0]] = (table.T @ generator.poisson(expected, size).T).T
    return made


def _cell_draws(
    cells: Ints, replicates: int, seed: int, strata: npt.NDArray[np.integer] | None, step: int
) -> Iterator[Ints]:
    flat = cells.reshape(-1)
    if np.any(flat < 0) or not flat.sum() > 0:
        raise DataError(
            f"cells hold {first(flat[flat < 0]) or 'no rows'}; counts of 0 or more, not all 0, are expected."
        )
    if replicates < 2:
        raise UsageError(f"{replicates} replicates say nothing; 1000 or more are usual.")
    codes = np.zeros(flat.size, dtype=np.int64) if strata is None else np.asarray(strata).reshape(-1)
    if codes.shape != flat.shape:
        raise DataError(f"strata has {codes.size} codes for {flat.size} cells; one for each is expected.")
    # A generator for each stratum: then parts of any size give the same draws.
    parts = [np.flatnonzero((codes == code) & (flat > 0)) for code in np.unique(codes)]
    parts = [part for part in parts if len(part)]
    seeds = np.random.SeedSequence(seed).spawn(len(parts))
    generators = [np.random.default_rng(child) for child in seeds]
    for begin in range(0, replicates, step):
        size = min(step, replicates - begin)
        drawn = np.zeros((size, flat.size), dtype=np.int64)
        for part, generator in zip(parts, generators, strict=True):
            n = int(flat[part].sum())
            drawn[:, part] = generator.multinomial(n, flat[part] / n, size=size)
        yield drawn
