"""Which slices say the same: those to which an item adds nothing, those that are nested."""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
BLOCK = 4096  # cells at once


def nearest_parents(without: Ints, mean: Floats, overall: float) -> tuple[Ints, Floats]:
    """For each slice the one-item-shorter slice whose mean is nearest, and what the left-out item adds to it.

    DivExplorer's rule (Pastor et al. 2021, section 5) calls a slice redundant where any of its items adds no more
    than epsilon; the nearest parent is the one to ask.

    Args:
        without: (slice, depth) position of the slice without its j-th item, -1 everybody, -2 no such item.
        mean: (slice,) of each.
        overall: the mean of everybody.

    Returns:
        (slice,) position of the parent, -1 for slices of one item; (slice,) mean of the slice minus the parent's.
    """
    means = np.append(mean, overall)  # -1 is the last
    added = np.where(without >= -1, mean[:, None] - means[np.maximum(without, -1)], np.inf)
    nearest = np.argmin(np.abs(added), axis=1)
    rows = np.arange(len(mean))
    return without[rows, nearest], added[rows, nearest]


def overlap(rows: npt.NDArray[Any], n_rows: Ints) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Jaccard's index of the rows of each two slices, and whether one holds all rows of the other.

    Args:
        rows: (slice, cell), 1 where the cell lies in the slice.
        n_rows: (cell,) rows of each cell.

    Returns:
        Two (slice, slice) arrays.
    """
    both = np.zeros((len(rows), len(rows)))
    for start in range(0, len(n_rows), BLOCK):
        part = rows[:, start : start + BLOCK].astype(np.float64)
        both += (part * n_rows[start : start + BLOCK]) @ part.T
    own = np.diag(both)
    jaccard = both / (own[:, None] + own[None, :] - both)
    return jaccard, both >= np.minimum(own[:, None], own[None, :])


def group_nested(
    effect: Floats,
    jaccard: Floats,
    nested: npt.NDArray[np.bool_],
    redundant: npt.NDArray[np.bool_],
    least: float,
) -> Ints:
    """The group of each slice, numbered from 0 by its first: slices that come first are leaders.

    In the order given (strongest first) a slice joins the first leader that differs from its complement in the same
    direction and that it is nested with, or whose rows are nearly its own; else it leads a group. Redundant slices
    never lead where another can.

    Args:
        effect: (slice,) whose sign is the direction.
        jaccard: (slice, slice) of the rows.
        nested: (slice, slice) one holds all rows of the other.
        redundant: (slice,) a shorter slice says the same.
        least: Jaccard's index from which on two slices are nearly the same rows.
    """
    group = np.full(len(effect), -1, dtype=np.int64)
    leaders: list[int] = []
    alike = (nested | (jaccard >= least)) & (np.sign(effect)[:, None] == np.sign(effect)[None, :])
    for i in (*np.flatnonzero(~redundant), *np.flatnonzero(redundant)):
        mine = [leader for leader in leaders if alike[i, leader]]
        if mine:
            group[i] = group[mine[0]]
        else:
            group[i] = len(leaders)
            leaders.append(int(i))
    return group
