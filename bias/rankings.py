"""Who is shown how high in one ranking or many: exposure, representation at the top, distance from a mix."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import DataError, UsageError, first
from .group_rows import Floats, Ints, numbers, positions

BLOCK = 2**20  # drawn counts held at once


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rankings:
    """Several rankings laid end to end, each from the top; `query` tells them apart."""

    queries: tuple[str, ...]
    groups: tuple[str, ...]
    query: Ints  # (item,) position in `queries`; rising
    rank: Ints  # (item,) 1 is the top
    group: Ints  # (item,) position in `groups`
    sizes: Ints  # (query,) items ranked
    mix: Floats  # (query, group) the share that each group should have; sums to one
    mix_is: str  # where it is from

    def per_query(self, weight: npt.ArrayLike) -> Floats:
        """Sums of an item's weight by query and group, (query, group)."""
        n = len(self.groups)
        made = np.bincount(self.query * n + self.group, weight, minlength=len(self.queries) * n)
        return made.reshape(len(self.queries), n).astype(np.float64)


def rankings(
    group: Sequence[str | None],
    *,
    query: Sequence[object] | None = None,
    rank: npt.ArrayLike | None = None,
    score: npt.ArrayLike | None = None,
    mix: Mapping[str, float] | None = None,
) -> Rankings:
    """Rankings from one row per ranked item.

    Args:
        group: (item,) who the item is, or is by; None is a group of its own, unknown.
        query: (item,) which ranking it is in; None: all are one.
        rank: (item,) place in its ranking: 1, 2, ... without gaps or ties.
        score: (item,) instead of rank; the largest is first.
        mix: group -> the share it should have, the same in each ranking; None: its share of the ranking's items.

    Raises:
        DataError: no items, a ranking with gaps or ties, a group without a share in `mix`.
        UsageError: both or neither of rank and score, or shares that are no shares.
    """
    if (rank is None) == (score is None):
        raise UsageError("give either the rank of each item or its score.")
    n = len(group)
    if n == 0:
        raise DataError("there are no items to rank.")
    asked = [""] * n if query is None else [str(name) for name in query]
    given = numbers(score if rank is None else rank, "score" if rank is None else "rank")  # type: ignore[arg-type]
    if len(asked) != n or len(given) != n:
        raise DataError(f"group names {n} items, query {len(asked)} and rank or score {len(given)}.")
    queries, codes = np.unique(np.array(asked, dtype=object), return_inverse=True)
    order = np.lexsort((given if score is None else -given, codes))
    codes, given = codes[order].astype(np.int64), given[order]
    sizes: Ints = np.bincount(codes, minlength=len(queries)).astype(np.int64)
    places: Ints = np.arange(n, dtype=np.int64) - np.repeat(np.cumsum(sizes) - sizes, sizes) + 1
    if score is not None:
        bad = np.flatnonzero((np.diff(given) == 0) & (np.diff(codes) == 0))
        what = "have two items with the same score, and nothing says which comes first. Give ranks"
    else:
        bad = np.flatnonzero(given != places)
        what = "are not ranked 1, 2, 3, ... without gaps or ties. Rank each of them whole"
    if bad.size:
        named = dict.fromkeys(str(queries[codes[i]]) for i in bad)
        raise DataError(f"{len(named)} rankings {what}; first: {first(named)}.")
    members = positions(group)
    groups = [*members, *(name for name in mix or {} if name not in members)]
    of_item = np.empty(n, dtype=np.int64)
    for i, rows in enumerate(members.values()):
        of_item[rows] = i
    of_item = of_item[order]
    shape = (len(queries), len(groups))
    if mix is None:
        held = np.bincount(codes * shape[1] + of_item, minlength=shape[0] * shape[1]).reshape(shape)
        shares, told = held / sizes[:, None], "each ranking's own items"
    else:
        shares, told = np.broadcast_to(_shares(mix, groups), shape).copy(), "given"
    return Rankings(
        queries=tuple(str(name) for name in queries),
        groups=tuple(groups),
        query=codes,
        rank=places,
        group=of_item,
        sizes=sizes,
        mix=shares,
        mix_is=told,
    )


def _shares(mix: Mapping[str, float], groups: Sequence[str]) -> Floats:
    missing = [name for name in groups if name not in mix]
    if missing:
        raise DataError(f"the mix has no share for {first(missing)}, who are ranked. Give every group one.")
    shares = np.array([float(mix[name]) for name in groups])
    if not np.all(np.isfinite(shares) & (shares > 0)) or not math.isclose(shares.sum(), 1.0, abs_tol=1e-9):
        raise UsageError(f"the shares {first(mix.items())} are not above 0 and 1 in all.")
    return shares


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """A number of several rankings; its interval is of rankings drawn again."""

    estimate: float | None
    low: float | None
    high: float | None
    n_queries: int  # rankings it is of
    n_items: int
    note: str  # why something is None


def exposure_gap(
    ranked: Rankings, *, confidence: float = 0.95, replicates: int = 1000, seed: int = 0
) -> dict[str, Ranked]:
    """Each group's share of exposure minus its share of the mix, averaged over rankings; 0 is proportional.

    An item at rank r has the exposure 1 / log2(1 + r) (Singh & Joachims 2018, section 3). A group has a say in the
    rankings where it has an item or should have one.
    """
    shares = ranked.per_query(1 / np.log2(1 + ranked.rank))
    shares /= shares.sum(axis=1, keepdims=True)
    return _by_group(ranked, shares - ranked.mix, lambda sums, n: sums[0] / n, confidence, replicates, seed)


def exposure_ratio(
    ranked: Rankings, *, confidence: float = 0.95, replicates: int = 1000, seed: int = 0
) -> dict[str, Ranked]:
    """Each group's share of exposure over its share of the mix, both summed over rankings; 1 is proportional."""
    shares = ranked.per_query(1 / np.log2(1 + ranked.rank))
    shares /= shares.sum(axis=1, keepdims=True)
    return _by_group(
        ranked,
        np.stack([shares, ranked.mix]),
        lambda sums, n: sums[0] / sums[1],
        confidence,
        replicates,
        seed,
    )


def skew_at(
    ranked: Rankings, k: int, *, confidence: float = 0.95, replicates: int = 1000, seed: int = 0
) -> dict[str, Ranked]:
    """ln(share of the first k / share of the mix) of each group; 0 is proportional (Geyik et al. 2019, def. 2).

    Over several rankings, shares are of all their first k places together, so that one ranking without the group does
    not make the whole infinite. A ranking of fewer than k items has all of them as its first. A group with nobody
    there has a skew of minus infinity: None, with a note.
    """
    if k < 1:
        raise UsageError(f"k is {k}; the first place or more are expected.")
    top = ranked.per_query(ranked.rank <= k)
    wanted = ranked.mix * np.minimum(ranked.sizes, k)[:, None]

    def skew(sums: Floats, n: Floats) -> Floats:
        with np.errstate(divide="ignore"):
            made: Floats = np.log(sums[0] / sums[1])
        return made

    return _by_group(ranked, np.stack([top, wanted]), skew, confidence, replicates, seed)


def infeasible_index(ranked: Rankings, *, k: int | None = None) -> dict[str, int]:
    """Of each ranking, at how many places r the first r hold fewer than floor(share * r) of some group.

    Geyik et al. 2019, def. 4 (InfeasibleIndex), over r = 1 ... k. The floor is of whole numbers where the mix is the
    ranking's own: in floating point .29 * 100 is below 29.
    """
    if k is not None and k < 1:
        raise UsageError(f"k is {k}; the first place or more are expected.")
    held, own = _cumulative(ranked), ranked.per_query(np.ones(len(ranked.rank)))
    place = ranked.rank[:, None]
    if ranked.mix_is == "given":
        least = np.floor(ranked.mix[ranked.query] * place + 1e-9)
    else:
        least = (own[ranked.query].astype(np.int64) * place) // ranked.sizes[ranked.query][:, None]
    short = np.any(held < least, axis=1) & (ranked.rank <= (k or np.iinfo(np.int64).max))
    found = np.bincount(ranked.query, short, minlength=len(ranked.queries))
    return {name: int(n) for name, n in zip(ranked.queries, found, strict=True)}


def ndkl(ranked: Rankings, *, confidence: float = 0.95, replicates: int = 1000, seed: int = 0) -> Ranked:
    """Normalised discounted divergence of the first r from the mix, averaged over rankings; 0 is proportional.

    sum_r KL(first r || mix) / log2(1 + r) over sum_r 1 / log2(1 + r), with natural logarithms (Geyik et al. 2019,
    def. 5; Yang & Stoyanovich 2017). It is above 0 for almost every ranking, by chance too: whole numbers of items
    cannot follow the mix at the first places.
    """
    values = ndkl_by_query(ranked)
    everybody = np.ones(len(values), dtype=np.bool_)
    return _bootstrap(
        values[None], everybody, ranked, lambda s, n: s[0] / n, confidence, replicates, seed, len(ranked.rank)
    )


def ndkl_by_query(ranked: Rankings) -> Floats:
    """NDKL of each ranking, (query,)."""
    share = _cumulative(ranked) / ranked.rank[:, None]
    mix = ranked.mix[ranked.query]
    over = np.where(share > 0, share / np.where(mix > 0, mix, 1.0), 1.0)
    divergence = np.sum(share * np.log(over), axis=1)
    discount = 1 / np.log2(1 + ranked.rank)
    n = len(ranked.queries)
    made: Floats = np.bincount(ranked.query, divergence * discount, minlength=n) / np.bincount(
        ranked.query, discount, minlength=n
    )
    return made


def _cumulative(ranked: Rankings) -> Floats:
    """Items of each group among the first of its ranking, at each place, (item, group)."""
    inside = np.zeros((len(ranked.rank), len(ranked.groups)))
    inside[np.arange(len(ranked.rank)), ranked.group] = 1
    running = np.cumsum(inside, axis=0)
    ends = np.cumsum(ranked.sizes)
    before = np.vstack([np.zeros(len(ranked.groups)), running[ends[:-1] - 1]])
    made: Floats = running - before[ranked.query]
    return made


def _by_group(
    ranked: Rankings,
    parts: Floats,
    formula: Callable[[Floats, Floats], Floats],
    confidence: float,
    replicates: int,
    seed: int,
) -> dict[str, Ranked]:
    """A number of each group from sums over the rankings of parts, ([part,] query, group)."""
    stacked = parts if parts.ndim == 3 else parts[None]
    items = ranked.per_query(np.ones(len(ranked.rank)))
    made = {}
    for i, name in enumerate(ranked.groups):
        there = (items[:, i] > 0) | (ranked.mix[:, i] > 0)
        made[name] = _bootstrap(
            stacked[:, :, i], there, ranked, formula, confidence, replicates, seed, int(items[:, i].sum())
        )
    return made


def _bootstrap(
    parts: Floats,
    there: npt.NDArray[np.bool_],
    ranked: Rankings,
    formula: Callable[[Floats, Floats], Floats],
    confidence: float,
    replicates: int,
    seed: int,
    n_items: int,
) -> Ranked:
    """The number and its percentile interval, rankings drawn with replacement."""
    if replicates < 50 or not 0 < confidence < 1:
        raise UsageError(
            f"{replicates} replicates at confidence {confidence}: expected 50 or more, between 0 and 1."
        )
    used = parts[:, there]  # (part, query)
    n = used.shape[1]
    estimate = float(formula(used.sum(axis=1)[:, None], np.array([float(n)]))[0])
    if not math.isfinite(estimate):
        note = "nobody of the group there: the logarithm of a share of 0"
        return Ranked(estimate=None, low=None, high=None, n_queries=n, n_items=n_items, note=note)
    if n < 2:
        note = "one ranking: how much another would differ is unknown"
        return Ranked(estimate=estimate, low=None, high=None, n_queries=n, n_items=n_items, note=note)
    generator = np.random.default_rng(seed)
    drawn = []
    size = max(1, BLOCK // n)
    for start in range(0, replicates, size):
        many = min(size, replicates - start)
        chosen = generator.integers(0, n, size=(many, n)) + np.arange(many)[:, None] * n
        times = np.bincount(chosen.ravel(), minlength=many * n).reshape(many, n)
        drawn.append(formula(used @ times.T, np.full(many, float(n))))
    values = np.concatenate(drawn)
    # Order statistics: an interpolated quantile of minus infinity would be no number.
    ordered = np.sort(values)
    tail = (1 - confidence) / 2 * (replicates - 1)
    low, high = float(ordered[math.floor(tail)]), float(ordered[math.ceil(replicates - 1 - tail)])
    open_below = not math.isfinite(low)
    return Ranked(
        estimate=estimate,
        low=None if open_below else low,
        high=high,
        n_queries=n,
        n_items=n_items,
        note="some draws hold nobody of the group: no lower end" if open_below else "",
    )
