"""Whether groups are confused alike: distances between their tables of classes, with permutation p."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from ..errors import DataError, UsageError, first
from .classes import Confusion
from .group_rows import Bools, Ints
from .relabelling import chance, deal

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Homogeneity:
    """How far apart groups' tables are, and the chance of as much were the group labels exchangeable."""

    kind: str
    estimate: float  # total variation: 0 to 1; chi-squared: 0 or more, without a unit
    p: float
    groups: tuple[str, ...]
    n: tuple[int, ...]  # rows of each
    without_rows: tuple[str, ...]
    replicates: int
    seed: int


def total_variation(
    one: Confusion, other: Confusion, *, replicates: int = 2000, seed: int = 0
) -> Homogeneity | None:
    """Half the sum over cells of |share in one - share in the other|: 0 the same table, 1 no cell in common.

    The tables are of label and prediction together, so that groups with other labels are far apart too, however well
    they are predicted. It is above 0 by chance: judge it by its p. None where one of them has no rows.
    """
    return _tested("total_variation", {"one": one, "other": other}, replicates, seed)


def chi_squared(
    confusions: Mapping[str, Confusion], *, replicates: int = 2000, seed: int = 0
) -> Homogeneity | None:
    """Pearson's statistic of group by cell, with a permutation p, for any number of groups and however few rows.

    Permuted tables have the same rows per group and the same rows per cell (Patefield 1981, by scipy). None where
    fewer than two groups have rows.
    """
    return _tested("chi_squared", confusions, replicates, seed)


def clustered_total_variation(
    cell: Ints, member: Bools, cluster: Ints, *, replicates: int = 2000, seed: int = 0
) -> Homogeneity | None:
    """`total_variation` of rows that come in clusters, of the group and everybody else.

    Args:
        cell: (row,) code of its label and prediction together.
        member: (row,) in the group.
        cluster: (row,) what was drawn independently: labels are exchanged as in `relabelling.deal`.
        replicates: permutations.
        seed: of the permutations.
    """
    if not cell.shape == member.shape == cluster.shape:
        raise DataError(f"cell, member, cluster have shapes {cell.shape}, {member.shape}, {cluster.shape}.")
    n = int(member.sum())
    if n in {0, len(member)}:
        return None
    codes = np.unique(cell, return_inverse=True)[1]
    onehot = np.zeros((len(codes), int(codes.max()) + 1))
    onehot[np.arange(len(codes)), codes] = 1

    def distances(block: Bools) -> Floats:
        inside = block.astype(np.float64) @ onehot
        size = inside.sum(axis=1, keepdims=True)
        outside = onehot.sum(axis=0) - inside
        made: Floats = np.abs(inside / size - outside / (len(codes) - size)).sum(axis=1) / 2
        return made

    generator = np.random.default_rng(seed)
    estimate = float(distances(member[None])[0])
    null = np.concatenate([distances(b) for b in deal(member, replicates, generator, cluster=cluster)])
    return Homogeneity(
        kind="total_variation",
        estimate=estimate,
        p=chance(estimate, null),
        groups=("group", "everybody else"),
        n=(n, len(member) - n),
        without_rows=(),
        replicates=replicates,
        seed=seed,
    )


def permuted_chi_squared(table: Ints, *, replicates: int = 2000, seed: int = 0) -> tuple[float, float] | None:
    """Pearson's statistic of a table of counts (group, outcome), and its permutation p.

    None where fewer than two groups, or fewer than two outcomes, have rows.
    """
    kept = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    if min(kept.shape) < 2:
        return None
    found = _statistics("chi_squared", kept, replicates, seed)
    return found


def _tested(kind: str, confusions: Mapping[str, Confusion], replicates: int, seed: int) -> Homogeneity | None:
    named: list[tuple[Any, ...]] = [table.classes for table in confusions.values()]
    if any(classes != named[0] for classes in named):
        raise DataError(
            f"the tables have different classes: {first(named)}. Make them with the same `classes`."
        )
    empty = tuple(name for name, table in confusions.items() if table.n == 0)
    groups = tuple(name for name in confusions if name not in empty)
    if len(groups) < 2:
        return None
    table = np.stack([confusions[name].counts.ravel() for name in groups])
    estimate, p = _statistics(kind, table[:, table.sum(axis=0) > 0], replicates, seed)
    return Homogeneity(
        kind=kind,
        estimate=estimate,
        p=p,
        groups=groups,
        n=tuple(confusions[name].n for name in groups),
        without_rows=empty,
        replicates=replicates,
        seed=seed,
    )


def _statistics(kind: str, table: Ints, replicates: int, seed: int) -> tuple[float, float]:
    """The statistic of a table (group, cell) without empty rows or columns, and its permutation p."""
    if replicates < 1:
        raise UsageError(f"{replicates} permutations; 1 or more are expected.")
    sizes, cells = table.sum(axis=1), table.sum(axis=0)
    n = int(sizes.sum())
    expected = sizes[:, None] * (cells / n)

    def statistic(tables: npt.NDArray[Any]) -> Floats:
        made: Floats
        if kind == "chi_squared":
            made = ((tables - expected) ** 2 / expected).sum(axis=(-2, -1))
        else:
            shares = tables / sizes[:, None]
            made = np.abs(shares[..., 0, :] - shares[..., 1, :]).sum(axis=-1) / 2
        return made

    estimate = float(statistic(table))
    if len(cells) < 2:
        return estimate, 1.0
    drawn = stats.random_table(sizes, cells).rvs(size=replicates, random_state=np.random.default_rng(seed))
    return estimate, chance(estimate, statistic(drawn.reshape(replicates, *table.shape)))
