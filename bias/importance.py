"""How much each item counts: Shapley values of divergence, of one slice or over all that were found.

The divergence of a slice is its mean minus everybody's (Pastor, de Alfaro and Baralis 2021, "Looking for Trouble:
Analyzing Classifier Behavior via Pattern Divergence", SIGMOD).
"""

from itertools import combinations
from math import factorial

import numpy as np
import numpy.typing as npt

from .itemsets import Itemsets

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def contributions(position: int, without: Ints, divergence: Floats) -> tuple[float, ...]:
    """The Shapley value of each item of one slice; they add up to its divergence.

    The paper's contribution of an item a to a slice I: the sum over J within I without a of
    |J|! (|I| - |J| - 1)! / |I|! (divergence(J with a) - divergence(J)). Every J is known, since what a slice holds is
    above the support that the slice is above.

    Args:
        position: of the slice.
        without: `Itemsets.without_each()`.
        divergence: (slice,) of each that was found.
    """
    n = int(np.count_nonzero(without[position] >= -1))
    everything = frozenset(range(n))
    at = {everything: position}
    for size in range(n, 0, -1):  # each subset from a larger one, its items counted among those that are left
        for chosen in map(frozenset, combinations(range(n), size)):
            for place, j in enumerate(sorted(chosen)):
                at[chosen - {j}] = int(without[at[chosen], place])
    value = {chosen: 0.0 if not chosen else float(divergence[where]) for chosen, where in at.items()}
    return tuple(
        sum(
            factorial(len(chosen)) * factorial(n - len(chosen) - 1) / factorial(n)
            * (value[chosen | {j}] - value[chosen])
            for chosen in value
            if j not in chosen
        )
        for j in range(n)
    )  # fmt: skip


def global_importance(
    itemsets: Itemsets, without: Ints, divergence: Floats, n_values: tuple[int, ...]
) -> Floats:
    """How much each item counts over everything that was found, (item,).

    The paper's global divergence of an item a, which generalises the Shapley value to items of several values: over
    sets B of other columns and conjunctions J of one value of each of them, J with a above the support,
    |B|! (|A| - |B| - 1)! / (|A|! m(B) m(column of a)) (divergence(J with a) - divergence(J)), where A are all columns
    and m the product of their numbers of values. Where a depth was set the sum ends there.

    Args:
        itemsets: what was found.
        without: `itemsets.without_each()`.
        divergence: (itemset,).
        n_values: values of each column that was searched; a term has two.
    """
    columns = np.array([column for column, _ in itemsets.keys], dtype=np.int64)
    values = np.array(n_values, dtype=np.float64)
    n = len(n_values)
    size = itemsets.size
    present = itemsets.members >= 0
    of_column = (
        np.where(present, values[columns[np.maximum(itemsets.members, 0)]], 1.0) if len(columns) else 1.0
    )
    by_size = np.array([0.0, *(factorial(k - 1) * factorial(n - k) / factorial(n) for k in range(1, n + 1))])
    weight = by_size[size] / np.prod(of_column, axis=1)
    shorter = np.append(divergence, 0.0)[np.maximum(without, -1)]
    gain = np.where(present, (divergence[:, None] - shorter) * weight[:, None], 0.0)
    items = np.maximum(itemsets.members, 0).ravel()
    return np.asarray(
        np.bincount(items, weights=gain.ravel(), minlength=len(itemsets.items)), dtype=np.float64
    )
