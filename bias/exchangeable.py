"""What may be exchanged where slices do not differ: rows, or whole clusters, within strata."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError, first
from .items import Coded

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
MOST_UNITS = 10**9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Units:
    """Rows or clusters, gathered in cells: those of one stratum that lie in the same slices.

    A unit has a mass (1, its sampling weight, or the sum over the rows of a cluster) and a total (its value, less
    `shift`, times its mass, added up likewise). Cells are in order of strata.
    """

    coded: Coded  # the items of each cell
    stratum: Ints  # (cell,) number of its stratum, ascending from 0
    n_units: Ints  # (cell,)
    n_rows: Ints  # (cell,) rows, each as often as it counts
    mass: Floats  # (cell,) sums over its units, as the next four
    total: Floats
    total_squared: Floats
    total_times_mass: Floats
    mass_squared: Floats
    higher: Ints | None  # (cell,) units whose value is True, where values are True or False and all masses 1
    residual: Floats | None  # (unit,) otherwise: total - mass * mean of its stratum, in order of cells
    shift: float  # taken from every value, so that squares of large numbers lose no digits; 0 of truth values
    clustered: bool
    weighted: bool

    def __len__(self) -> int:
        return len(self.stratum)

    @property
    def strata(self) -> list[tuple[int, int]]:
        """First cell of each stratum and the one after its last."""
        edges = np.flatnonzero(np.diff(self.stratum, prepend=-1))
        return list(zip(edges.tolist(), [*edges[1:].tolist(), len(self.stratum)], strict=True))

    @property
    def is_rate(self) -> bool:
        """Each unit counts once, as True or False."""
        return self.higher is not None


def gather(
    coded: Coded,
    value: npt.NDArray[np.bool_] | Floats,
    *,
    count: Ints | None = None,
    weight: Floats | None = None,
    cluster: Ints | None = None,
    stratum: Ints | None = None,
) -> Units:
    """Rows as units of exchange.

    Args:
        coded: the items of each row.
        value: (row,) truth values or numbers.
        count: (row,) how often each row counts, each time as a unit of its own; with clusters, as rows of its cluster.
        weight: (row,) sampling weights.
        cluster: (row,) number of its cluster. Clusters are exchanged whole, so that all rows of one have to lie in the
            same slices.
        stratum: (row,) number of the stratum within which units are exchanged.

    Raises:
        DataError: one cluster, a column or a stratum that differs within a cluster, or too many units.
    """
    n = len(value)
    times = np.ones(n, dtype=np.int64) if count is None else count
    stratum = np.zeros(n, dtype=np.int64) if stratum is None else stratum
    mass = np.ones(n) if weight is None else weight
    shift = 0.0 if value.dtype == np.bool_ else float(np.average(value, weights=times * mass))
    total = mass * (value - shift)
    rows = np.ones(n, dtype=np.int64)  # of each unit
    if cluster is not None:
        names, where, cluster = np.unique(cluster, return_index=True, return_inverse=True)
        if len(names) < 2:
            raise DataError("all rows are of one cluster: there is nothing to exchange it with.")
        _constant(coded, stratum, cluster, names, where)
        coded, stratum = coded.take(where), stratum[where]
        total = np.asarray(np.bincount(cluster, weights=times * total), dtype=np.float64)
        mass = np.asarray(np.bincount(cluster, weights=times * mass), dtype=np.float64)
        rows = np.bincount(cluster, weights=times).astype(np.int64)
        times = (rows > 0).astype(np.int64)
    if int(times.sum()) >= MOST_UNITS:
        raise DataError(f"{int(times.sum()):,} rows are to be permuted; at most {MOST_UNITS - 1:,} can be.")
    is_rate = value.dtype == np.bool_ and weight is None and cluster is None
    order, cell = _cells(coded, stratum, total, mass, np.flatnonzero(times))
    often = times[order]
    if not is_rate and 4 * (int(cell[-1]) + 1) > 3 * int(often.sum()):  # few are alike
        order = np.repeat(order, often)
        often, cell = np.ones(len(order), dtype=np.int64), np.arange(len(order))
    starts = np.flatnonzero(np.diff(cell, prepend=-1))
    first_of = order[starts]
    made = Units(
        coded=coded.take(first_of),
        stratum=np.unique(stratum[first_of], return_inverse=True)[1],
        n_units=np.add.reduceat(often, starts),
        n_rows=np.add.reduceat(often * rows[order], starts),
        mass=np.add.reduceat(often * mass[order], starts),
        total=np.add.reduceat(often * total[order], starts),
        total_squared=np.add.reduceat(often * total[order] ** 2, starts),
        total_times_mass=np.add.reduceat(often * (total * mass)[order], starts),
        mass_squared=np.add.reduceat(often * mass[order] ** 2, starts),
        higher=np.add.reduceat(often * (total[order] > 0), starts) if is_rate else None,
        residual=None,
        shift=shift,
        clustered=cluster is not None,
        weighted=weight is not None,
    )
    if is_rate:
        return made
    lows = [low for low, _ in made.strata]
    mean = np.add.reduceat(made.total, lows) / np.add.reduceat(made.mass, lows)
    expected = mass[order] * mean[made.stratum[cell]]
    return replace(made, residual=np.repeat(total[order] - expected, often))


def _constant(coded: Coded, stratum: Ints, cluster: Ints, names: Ints, where: Ints) -> None:
    """Refuse a column, or the strata, that differ within a cluster."""
    columns: dict[str, npt.NDArray[Any]] = {
        **dict(zip(coded.names, coded.codes, strict=True)),
        "the strata": stratum,
    }
    for name, codes in columns.items():
        differs = np.unique(cluster[codes != codes[where][cluster]])
        if differs.size:
            raise DataError(
                f"{name!r} differs within {differs.size:,} clusters, the first being {first(names[differs])}, so that they "
                "cannot be exchanged whole. Leave that column out; or compare within clusters: give the cluster's column "
                "as strata, and no cluster."
            )


def _cells(coded: Coded, stratum: Ints, total: Floats, mass: Floats, present: Ints) -> tuple[Ints, Ints]:
    """Units in order of strata, items, mass and total, and the cell of each: the same for rows and for rows collapsed."""
    key = np.unique(stratum[present], return_inverse=True)[1].astype(np.int64)
    n_keys = int(key.max(initial=0)) + 1
    for codes, values in zip(coded.codes, coded.values, strict=True):
        if n_keys * len(values) > 2**62:
            key = np.unique(key, return_inverse=True)[1].astype(np.int64)
            n_keys = int(key.max(initial=0)) + 1
        key = key * len(values) + codes[present]
        n_keys *= len(values)
    order = np.lexsort((total[present], mass[present], key))
    return present[order], np.unique(key[order], return_inverse=True)[1].astype(np.int64)
