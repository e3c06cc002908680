"""A search of slices from rows to record: find, compare, permute, group."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import DataError
from .counts import Bools
from .exchangeable import Units
from .importance import contributions, global_importance
from .itemsets import Itemsets, find_itemsets
from .multiplicity import holm
from .permutations import max_t
from .redundancy import group_nested, nearest_parents, overlap
from .slice_asked import CONFIRMED, Asked
from .slice_effects import Compared, bonferroni, compare
from .slice_masks import Masks
from .slice_records import ItemImportance, Slice, SliceSearch
from .slice_table import Table

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
EPSILON = 0.05  # standard deviations of a row's value
CHOSEN_FROM = 500  # the strongest, of whose groups the leaders go
FEWEST = 5  # clusters, and in the half that confirms rows, of a slice and of its complement


class _Tested(NamedTuple):
    """Slices that are tested, with everything that is told of them."""

    positions: Ints  # of the itemsets that are tested, strongest first
    compared: Compared  # all itemsets, in the rows that numbers are told of
    units: Units  # of those rows
    p: Floats  # adjusted
    critical: float


def search(table: Table, asked: Asked) -> SliceSearch:
    """Search the rows."""
    asked.check()
    if not len(table.value):
        raise DataError("no row counts: nobody is in the denominator.")
    if asked.confirm is None:
        itemsets, tested = _by_max_t(table, asked)
        return _record(table, asked, itemsets, tested, tested.compared, None)
    discover, confirm = table.split(asked.confirm, asked.seed)
    if not len(discover.value) or not len(confirm.value):
        raise DataError(f"confirm={asked.confirm} leaves one part of {table.n} rows empty.")
    itemsets, compared, tested = _by_confirming(discover, confirm, asked)
    return _record(table, asked, itemsets, tested, compared, (discover.n, confirm.n))


def _look(table: Table, asked: Asked) -> tuple[Itemsets, Units, Compared, Ints]:
    """Conjunctions above the support, what is exchanged, all compared, and which can be tested, strongest first."""
    minimum = max(asked.min_count, math.ceil(asked.min_support * table.n - 1e-9))
    itemsets = find_itemsets(
        table.coded, minimum=minimum, depth=asked.depth, count=table.count, engine=asked.engine
    )
    if not len(itemsets):
        raise DataError(
            f"no slice holds {minimum:,} of the {table.n:,} rows of the denominator. Lower min_support or min_count, "
            "or give more rows."
        )
    units = table.units()
    compared = compare(Masks.of(itemsets, units.coded), units)
    enough = (compared.n >= asked.min_count) & (compared.total - compared.n >= asked.min_count)
    if units.clustered:
        enough &= np.minimum(compared.n_units, compared.total_units - compared.n_units) >= FEWEST
    positions = np.flatnonzero(enough & compared.testable)
    if not positions.size:
        raise DataError(
            f"none of {len(itemsets):,} slices can be compared with its complement: either {asked.of} does not vary, or "
            f"every slice leaves fewer than {asked.min_count} rows"
            + (f" or {FEWEST} clusters" if units.clustered else "")
            + " outside it. Name columns that divide the rows."
        )
    order = np.argsort(-np.abs(compared.z[positions]), kind="stable")
    return itemsets, units, compared, positions[order]


def _by_max_t(table: Table, asked: Asked) -> tuple[Itemsets, _Tested]:
    itemsets, units, compared, positions = _look(table, asked)
    natural = np.sort(positions)  # shorter slices first, as masks are made
    null = max_t(
        Masks.of(itemsets, units.coded, natural),
        units,
        compared.z[natural],
        compared.expected[natural],
        compared.sd[natural],
        permutations=asked.permutations,
        seed=asked.seed,
        max_memory=asked.max_memory,
    )
    p = null.adjusted(compared.z[positions])
    return itemsets, _Tested(positions, compared, units, p, null.critical(asked.alpha))


def _by_confirming(discover: Table, confirm: Table, asked: Asked) -> tuple[Itemsets, Compared, _Tested]:
    """Slices that one part of the rows chooses, tested in the other."""
    itemsets, units, chosen_by, positions = _look(discover, asked)
    other = confirm.units()
    compared = compare(Masks.of(itemsets, other.coded), other)
    smaller = np.minimum(compared.n_units, compared.total_units - compared.n_units)
    able = positions[compared.testable[positions] & (smaller[positions] >= FEWEST)][:CHOSEN_FROM]
    if not able.size:
        raise DataError(
            f"no slice has {FEWEST} rows in the part that confirms. Raise confirm, or give more rows."
        )
    redundant = _redundant(itemsets, chosen_by, asked, units)[1]
    group = _groups(itemsets, units, chosen_by, able, redundant[able], asked.jaccard)
    plain_first = np.argsort(redundant[able], kind="stable")  # a redundant slice leads where no other can
    leaders = able[plain_first[np.unique(group[plain_first], return_index=True)[1]]]
    leaders = leaders[np.argsort(-np.abs(chosen_by.z[leaders]), kind="stable")][:CONFIRMED]
    natural = np.sort(leaders)
    null = max_t(
        Masks.of(itemsets, other.coded, natural),
        other,
        compared.z[natural],
        compared.expected[natural],
        compared.sd[natural],
        permutations=asked.permutations,
        seed=asked.seed,
        max_memory=asked.max_memory,
    )
    p = holm(null.alone)[np.searchsorted(natural, leaders)]
    order = np.argsort(-np.abs(compared.z[leaders]), kind="stable")
    critical = bonferroni(asked.alpha, len(leaders))
    return itemsets, chosen_by, _Tested(leaders[order], compared, other, p[order], critical)


def _epsilon(asked: Asked, units: Units, compared: Compared) -> float:
    if asked.epsilon is not None:
        return asked.epsilon
    mean = compared.overall - units.shift
    squares = units.total_squared - 2 * mean * units.total_times_mass + mean**2 * units.mass_squared
    return EPSILON * math.sqrt(max(float(squares.sum()), 0.0) / float(units.mass_squared.sum()))


def _redundant(
    itemsets: Itemsets, compared: Compared, asked: Asked, units: Units
) -> tuple[Ints, Bools, Ints, Floats, float]:
    """What stands where without an item; which slices a shorter one says; it; what the item adds; epsilon."""
    without = itemsets.without_each()
    parent, added = nearest_parents(without, compared.mean, compared.overall)
    epsilon = _epsilon(asked, units, compared)
    share = compared.n / np.maximum(compared.n[parent], 1)
    says_it = (np.abs(added) <= epsilon) | (share >= asked.jaccard)
    return without, (parent >= 0) & says_it & compared.testable[parent], parent, added, epsilon


def _groups(
    itemsets: Itemsets, units: Units, compared: Compared, chosen: Ints, redundant: Bools, jaccard: float
) -> Ints:
    order = np.argsort(chosen, kind="stable")
    rows = np.empty((len(chosen), len(units)), dtype=np.uint8)
    rows[order] = Masks.of(itemsets, units.coded, chosen[order]).rows(0, len(chosen), np.uint8)
    return group_nested(compared.effect[chosen], *overlap(rows, units.n_rows), redundant, jaccard)


def _record(
    table: Table,
    asked: Asked,
    itemsets: Itemsets,
    tested: _Tested,
    discovered: Compared,
    parts: tuple[int, int] | None,
) -> SliceSearch:
    compared, units = tested.compared, tested.units
    shown = tested.positions[: asked.most]
    without, redundant, parent, added, epsilon = _redundant(itemsets, compared, asked, units)
    group = _groups(itemsets, units, compared, shown, redundant[shown], asked.jaccard)
    low, high = compared.intervals(tested.critical)
    if table.value.dtype == np.bool_:
        low, high = np.maximum(low, -1.0), np.minimum(high, 1.0)
    divergence = compared.mean - compared.overall
    made = [
        Slice(
            items=itemsets.named(at),
            n=int(compared.n[at]),
            n_complement=int(compared.total - compared.n[at]),
            support=float(compared.n[at] / compared.total),
            n_clusters=int(compared.n_units[at]) if units.clustered else None,
            k=None if compared.hits is None else int(compared.hits[at]),
            estimate=float(compared.mean[at]),
            complement=float(compared.complement[at]),
            effect=float(compared.effect[at]),
            low=float(low[at]),
            high=float(high[at]),
            z=float(compared.z[at]),
            p_adjusted=float(tested.p[i]),
            found=bool(tested.p[i] <= asked.alpha + 1e-12),
            parent=itemsets.named(parent[at]) if parent[at] >= 0 else None,
            parent_effect=_known(compared.effect[parent[at]]) if parent[at] >= 0 else None,
            incremental_effect=float(added[at]) if parent[at] >= 0 else None,
            redundant=bool(redundant[at]),
            group=int(group[i]),
            contributions=contributions(int(at), without, divergence),
        )
        for i, at in enumerate(shown)
    ]
    n_values = tuple(len(values) for values in table.coded.values)
    gained = discovered.mean - discovered.overall
    importance = global_importance(itemsets, without, gained, n_values)
    return SliceSearch(
        of=asked.of,
        words=asked.words,
        kind="rate" if table.value.dtype == np.bool_ else "mean",
        method="max-T" if parts is None else "discover and confirm",
        slices=tuple(made),
        importance=tuple(
            ItemImportance(
                item=itemsets.items[i],
                n=int(itemsets.support[i]),
                divergence=float(gained[i]),
                importance=float(importance[i]),
            )
            for i in np.argsort(-np.abs(importance), kind="stable")
        ),
        columns=asked.columns,
        terms=asked.terms,
        overall=compared.overall,
        n=table.n,
        n_discover=parts[0] if parts else None,
        n_confirm=parts[1] if parts else None,
        n_clusters=compared.total_units if units.clustered else None,
        n_strata=len(units.strata),
        strata=asked.strata,
        cluster=asked.cluster,
        weighted=units.weighted,
        n_searched=len(itemsets),
        n_tested=len(tested.positions),
        n_found=int(np.count_nonzero(tested.p <= asked.alpha + 1e-12)),
        min_support=asked.min_support,
        min_count=asked.min_count,
        depth=asked.depth,
        alpha=asked.alpha,
        critical=tested.critical,
        permutations=asked.permutations,
        epsilon=epsilon,
        jaccard=asked.jaccard,
        seed=asked.seed,
        engine=itemsets.engine,
    )


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
