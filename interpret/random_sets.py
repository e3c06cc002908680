"""Sets of heads to compare a set with: as many heads, from the same layers where there are enough."""

import itertools
import math
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .ablation import Head

MOST_LISTED = 20_000  # sets are listed and drawn from up to this many; beyond it they are drawn one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomSets:
    """Distinct sets, and where they are from."""

    sets: tuple[tuple[Head, ...], ...]
    source: str


def random_sets(
    heads: Sequence[Head],
    apart: Collection[Head],
    every: Sequence[Head],
    n: int,
    enough: int,
    seed: int,
) -> RandomSets:
    """Up to `n` distinct sets of as many heads as `heads`, none of them in `apart`.

    Each has as many heads of each layer as `heads` has, where `enough` such sets exist; else they are from all
    layers. Where no more than `n` exist, all of them are taken.
    """
    free = [head for head in every if head not in set(apart)]
    wanted = Counter(layer for layer, _ in heads)
    pools = [([head for head in free if head[0] == layer], k) for layer, k in wanted.items()]
    n_same = math.prod(math.comb(len(pool), k) for pool, k in pools)
    if n_same >= enough:
        return RandomSets(sets=_drawn(pools, n_same, n, seed), source="the same layers")
    whole = [(free, len(heads))]
    return RandomSets(sets=_drawn(whole, math.comb(len(free), len(heads)), n, seed), source="the whole model")


def _drawn(
    pools: Sequence[tuple[Sequence[Head], int]], n_sets: int, n: int, seed: int
) -> tuple[tuple[Head, ...], ...]:
    generator = np.random.default_rng(seed)
    if n_sets <= MOST_LISTED:
        listed = [tuple(itertools.chain(*parts)) for parts in _products(pools)]
        if len(listed) <= n:
            return tuple(listed)
        return tuple(listed[i] for i in sorted(generator.choice(len(listed), n, replace=False)))
    found: dict[frozenset[Head], tuple[Head, ...]] = {}
    while len(found) < n:
        one = tuple(
            pool[i] for pool, k in pools for i in sorted(generator.choice(len(pool), k, replace=False))
        )
        found.setdefault(frozenset(one), one)
    return tuple(found.values())


def _products(pools: Sequence[tuple[Sequence[Head], int]]) -> Iterator[tuple[tuple[Head, ...], ...]]:
    return itertools.product(*(itertools.combinations(pool, k) for pool, k in pools))
