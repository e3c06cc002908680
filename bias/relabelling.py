"""Group labels dealt out again among rows, or among whole clusters: what chance alone makes of a distance."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ..errors import DataError, UsageError
from .group_rows import Bools, Ints

BLOCK = 2**20  # memberships held at once: few enough for a processor's cache
NEAR = 1e-12  # relative; equal statistics may differ by their rounding


def deal(
    member: Bools, replicates: int, generator: np.random.Generator, *, cluster: Ints | None = None
) -> Iterator[Bools]:
    """Blocks of memberships dealt out again, (replicate, row), as many members as before in each.

    With clusters that lie each on one side, whole clusters are exchanged; where a cluster has rows of both sides,
    labels are exchanged within each cluster. Both are exact under the hypothesis that they are exchangeable.

    Args:
        member: (row,) whether it is in the group.
        replicates: memberships in all, 1 or more.
        generator: of the draws.
        cluster: (row,) codes of what was drawn independently.
    """
    if replicates < 1:
        raise UsageError(f"{replicates} permutations; 1 or more are expected.")
    n = len(member)
    size = max(1, BLOCK // max(1, n))
    codes, whole = None, False
    if cluster is not None:
        if cluster.shape != member.shape:
            raise DataError(f"cluster has shape {cluster.shape}, {member.shape} is expected.")
        names, codes = np.unique(cluster, return_inverse=True)
        inside = np.bincount(codes, member, minlength=len(names))
        sizes = np.bincount(codes, minlength=len(names))
        whole = bool(np.all((inside == 0) | (inside == sizes)))
        side = inside > 0
    for start in range(0, replicates, size):
        many = min(size, replicates - start)
        if codes is None:
            yield _subsets(n, int(np.count_nonzero(member)), many, generator)
        elif whole:
            yield generator.permuted(np.broadcast_to(side, (many, len(side))), axis=1)[:, codes]
        else:
            order = np.argsort(codes, kind="stable")
            block = np.empty((many, n), dtype=np.bool_)
            for row in block:
                # Labels in a random order within each cluster, put back on the cluster's rows.
                row[order] = member[np.lexsort((generator.random(n), codes))]
            yield block


def _subsets(n: int, size: int, many: int, generator: np.random.Generator) -> Bools:
    """`many` sets of `size` rows out of n, each equally likely, (set, row). Ten times as fast as shuffling labels."""
    block = np.zeros((many, n), dtype=np.bool_)
    fewer = min(size, n - size)
    for row in block:
        row[generator.choice(n, fewer, replace=False, shuffle=False)] = True
    return block if fewer == size else ~block


def chance(statistic: float, null: npt.NDArray[np.float64]) -> float:
    """p of a statistic at least as large, the data themselves counted among the permutations (Phipson & Smyth 2010)."""
    least = statistic - NEAR * max(1.0, abs(statistic))
    return float(1 + np.count_nonzero(null >= least)) / (1 + len(null))
