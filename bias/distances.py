"""How far apart the distributions of a number lie in two groups, with p from labels dealt out again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..errors import DataError, first
from .group_rows import Bools, Floats, Ints, numbers, positions, same_length, truth, whole_counts
from .relabelling import chance, deal

Kind = Literal["kolmogorov_smirnov", "wasserstein"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """A distance between two distributions, and the chance of one as large were the labels exchangeable."""

    kind: str
    estimate: float  # Kolmogorov-Smirnov: 0 to 1; Wasserstein: in the unit of the values
    p: float
    n_group: int
    n_reference: int
    replicates: int
    seed: int


def kolmogorov_smirnov(
    values: npt.ArrayLike,
    member: Bools,
    *,
    reference: Bools | None = None,
    count: Ints | None = None,
    cluster: Ints | None = None,
    replicates: int = 2000,
    seed: int = 0,
) -> Distance | None:
    """The largest vertical distance of the two distribution functions, with a permutation p that allows ties.

    Args:
        values: (row,) scores, or residuals.
        member: (row,) in the group.
        reference: (row,) in the reference; None: everybody else.
        count: (row,) how often each row counts.
        cluster: (row,) codes of what was drawn independently: see `relabelling.deal`.
        replicates: permutations; p is at least 1 / (replicates + 1).
        seed: of the permutations.

    Returns:
        The distance, or None where the group or the reference has no rows.
    """
    return _distance("kolmogorov_smirnov", values, member, reference, count, cluster, replicates, seed)


def wasserstein(
    values: npt.ArrayLike,
    member: Bools,
    *,
    reference: Bools | None = None,
    count: Ints | None = None,
    cluster: Ints | None = None,
    replicates: int = 2000,
    seed: int = 0,
) -> Distance | None:
    """The area between the two distribution functions: how far values would have to move. As `kolmogorov_smirnov`."""
    return _distance("wasserstein", values, member, reference, count, cluster, replicates, seed)


def score_parity(
    score: npt.ArrayLike,
    group: Sequence[str | None],
    *,
    count: Ints | None = None,
    cluster: Ints | None = None,
    replicates: int = 2000,
    seed: int = 0,
) -> dict[str, Distance | None]:
    """Of each group, the largest |P(f >= z | group) - P(f >= z)| over all z (Agarwal, Dudik & Wu 2019, def. 1).

    That is (1 - n_g / n) times the Kolmogorov-Smirnov distance of the group from everybody else, and has its p. None
    for a group without rows, and for one that is everybody.
    """
    values = numbers(score, "score")
    if len(group) != len(values):
        raise DataError(f"group names {len(group)} rows, score has {len(values)}: one group a row.")
    found: dict[str, Distance | None] = {}
    for name, where in positions(group).items():
        member = np.zeros(len(values), dtype=np.bool_)
        member[where] = True
        made = kolmogorov_smirnov(
            values, member, count=count, cluster=cluster, replicates=replicates, seed=seed
        )
        found[name] = made and Distance(
            kind="score_parity",
            estimate=made.estimate * made.n_reference / (made.n_group + made.n_reference),
            p=made.p,
            n_group=made.n_group,
            n_reference=made.n_reference,
            replicates=replicates,
            seed=seed,
        )
    return found


def _distance(
    kind: Kind,
    values: npt.ArrayLike,
    member: Bools,
    reference: Bools | None,
    count: Ints | None,
    cluster: Ints | None,
    replicates: int,
    seed: int,
) -> Distance | None:
    given = numbers(values, "values")
    inside = truth(member, "member")
    outside = ~inside if reference is None else truth(reference, "reference")
    times = np.ones(len(given), dtype=np.int64) if count is None else whole_counts(count)
    same_length({"values": given, "member": inside, "reference": outside, "count": times})
    both = np.flatnonzero(inside & outside)
    if both.size:
        raise DataError(f"rows {first(both)} are in the group and in its reference.")
    # In order of value, so that rows and rows collapsed with counts are dealt the same labels.
    taken = np.flatnonzero((inside | outside) & (times > 0))
    keys = [inside[taken], given[taken]]
    if cluster is not None:
        same_length({"values": given, "cluster": np.asarray(cluster)})
        keys.insert(0, np.asarray(cluster)[taken])
    order = np.repeat(taken[np.lexsort(keys)], times[taken[np.lexsort(keys)]])
    labels, ordered = inside[order], given[order]
    n_group = int(labels.sum())
    n_reference = len(labels) - n_group
    if n_group == 0 or n_reference == 0:
        return None
    steps = np.flatnonzero(np.diff(ordered))
    widths = np.diff(ordered)[steps]

    def distances(block: Bools) -> Floats:
        """Of each membership, (replicate,)."""
        if not len(steps):
            return np.zeros(len(block))
        below = np.cumsum(block, axis=1, dtype=np.int32)
        # Exchanging whole clusters of different sizes changes how many rows the group has.
        inside = below[:, -1:].astype(np.float64)
        outside = len(ordered) - inside
        apart = (below[:, :-1] if len(steps) == len(ordered) - 1 else below[:, steps]) * (
            1 / inside + 1 / outside
        )
        apart -= (steps + 1) / outside
        made: Floats
        if kind == "wasserstein":
            made = np.abs(apart, out=apart) @ widths
        else:
            made = np.maximum(apart.max(axis=1), -apart.min(axis=1))
        return made

    estimate = float(distances(labels[None])[0])
    codes = None if cluster is None else np.asarray(cluster)[order]
    generator = np.random.default_rng(seed)
    null = np.concatenate([distances(b) for b in deal(labels, replicates, generator, cluster=codes)])
    return Distance(
        kind=kind,
        estimate=estimate,
        p=chance(estimate, null),
        n_group=n_group,
        n_reference=n_reference,
        replicates=replicates,
        seed=seed,
    )
