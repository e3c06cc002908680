"""All conjunctions of items above a support, by bitsets."""

import importlib.util
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import UsageError, did_you_mean
from .items import Coded, Item

Ints = npt.NDArray[np.int64]
Bits = npt.NDArray[np.uint64]
Engine = Literal["auto", "numpy", "numba"]
ENGINES = ("auto", "numpy", "numba")
MOST = 1_000_000  # conjunctions kept before the search gives up
WORTH_COMPILING = 2**27  # rows times items times depth: below, NumPy is done before numba is loaded


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Itemsets:
    """Conjunctions of one item or more, shorter ones first, then in order of their items."""

    items: tuple[Item, ...]  # the frequent ones, in order of columns
    keys: tuple[tuple[int, int], ...]  # column and code of each item
    members: npt.NDArray[np.int32]  # (itemset, depth): numbers of items, ascending; -1 where there are fewer
    support: Ints  # (itemset,) rows, each as often as it counts
    hits: Ints | None  # (itemset,) those of them that were marked
    n: int  # rows of the table, each as often as it counts
    engine: str  # "numpy" or "numba": what found them

    def __len__(self) -> int:
        return len(self.members)

    @property
    def size(self) -> Ints:
        """Items of each, (itemset,)."""
        return np.asarray(np.count_nonzero(self.members >= 0, axis=1), dtype=np.int64)

    def named(self, position: int) -> tuple[Item, ...]:
        """The items of one."""
        return tuple(self.items[i] for i in self.members[position] if i >= 0)

    def without_each(self) -> Ints:
        """Where each itemset stands without its j-th item, (itemset, depth); -1 is everybody, -2 no such item."""
        m, depth = max(1, len(self.items)), self.members.shape[1]
        made = np.full((len(self), depth), -2, dtype=np.int64)
        size = self.size
        starts = np.searchsorted(size, np.arange(depth + 2))
        made[: starts[2], 0] = -1
        keys = [
            np.zeros(0, dtype=np.int64),
            np.arange(m),
        ]  # of each size: place of the first items, last item
        for k in range(2, depth + 1):
            mine = self.members[starts[k] : starts[k + 1], :k].astype(np.int64)
            prefix = mine[:, 0]
            for j in range(1, k - 1):
                prefix = np.searchsorted(keys[j + 1], prefix * m + mine[:, j])
            keys.append(prefix * m + mine[:, k - 1])
            made[starts[k] : starts[k + 1], k - 1] = prefix + starts[k - 1]
            for j in range(k - 1):
                shorter = made[prefix + starts[k - 1], j]  # of the prefix, without its j-th item
                if k == 2:
                    found = mine[:, 1]
                else:
                    found = np.searchsorted(keys[k - 1], (shorter - starts[k - 2]) * m + mine[:, k - 1])
                made[starts[k] : starts[k + 1], j] = found + starts[k - 1]
        return made


def find_itemsets(
    coded: Coded,
    *,
    minimum: int,
    depth: int | None = None,
    count: Ints | None = None,
    marked: npt.NDArray[np.bool_] | None = None,
    engine: Engine = "auto",
    most: int = MOST,
) -> Itemsets:
    """Every conjunction of items that holds for `minimum` rows or more, each column in it once at most.

    Depth first over bitsets, each joined with the later ones that share all items but the last (Eclat: Zaki 2000,
    IEEE Transactions on Knowledge and Data Engineering 12, 372-390). Beside what is returned it takes at most an eighth
    of a byte for each row, item and level of depth.

    Args:
        coded: columns and terms of the rows.
        minimum: rows, 1 or more.
        depth: items of a conjunction; None: as many as there are columns.
        count: (row,) how often each row counts; None: once.
        marked: (row,) rows that are counted apart, e.g. the errors.
        engine: "numpy"; "numba" is the same search compiled (the `fast` extra); "auto" takes the second where it is
            installed and the table is large. The result says which it was.
        most: conjunctions to keep; a search that finds more is refused.

    Raises:
        UsageError: an impossible number, an unknown engine, "numba" where it is not installed, or too many
            conjunctions.
    """
    if engine not in ENGINES:
        raise UsageError(f"no engine is named {engine!r}; {did_you_mean(engine, ENGINES)}")
    if minimum < 1 or (depth is not None and depth < 1):
        raise UsageError(f"minimum is {minimum} and depth {depth}: expected 1 or more of both.")
    depth = len(coded.names) if depth is None else min(depth, len(coded.names))
    installed = importlib.util.find_spec("numba") is not None
    if engine == "numba" and not installed:
        raise UsageError(
            "engine='numba' needs numba (pip install 'clinometer[fast]'). Use 'numpy' or 'auto'."
        )
    keys = coded.keys
    if engine == "auto":
        engine = "numba" if installed and len(keys) * len(coded) * depth >= WORTH_COMPILING else "numpy"
    n = len(coded) if count is None else int(count.sum())
    planes = None if count is None or np.all(count == 1) else _planes(count)
    marks = None if marked is None else _pack(marked)
    kept, support, bits = [], [], []
    for key in keys:
        packed = _pack(coded.codes[key[0]] == key[1])
        rows = int(_weigh(packed[None], planes)[0])
        if rows >= minimum:
            kept.append(key)
            support.append(rows)
            bits.append(packed)
    everything = np.stack(bits) if bits else np.zeros((0, 1), dtype=np.uint64)
    columns = np.array([column for column, _ in kept], dtype=np.int64)
    search = _by_numba if engine == "numba" else _by_numpy
    found = search(
        everything, columns, np.array(support, dtype=np.int64), planes, marks, minimum, depth, most
    )
    if found is None:
        raise UsageError(
            f"more than {most:,} conjunctions hold for {minimum:,} rows of {n:,} or more. Raise min_support, lower "
            "depth, or name fewer columns."
        )
    members, rows_of, hits = found
    named = {key: item for key, item in zip(keys, coded.items, strict=True)}
    return Itemsets(
        items=tuple(named[key] for key in kept),
        keys=tuple(kept),
        members=members,
        support=rows_of,
        hits=hits,
        n=n,
        engine=engine,
    )


Found = tuple[npt.NDArray[np.int32], Ints, Ints | None]


def _pack(mask: npt.NDArray[np.bool_]) -> Bits:
    """Truth values as words of 64 bits, the rest of the last word zero."""
    filled = np.zeros(-(-len(mask) // 64) * 64 or 64, dtype=np.bool_)
    filled[: len(mask)] = mask
    return np.packbits(filled, bitorder="little").view(np.uint64)


def _planes(count: Ints) -> Bits:
    """Bit j of each count, packed: (bit, word)."""
    n_bits = max(1, int(count.max(initial=0)).bit_length())
    return np.stack([_pack((count >> j & 1).astype(np.bool_)) for j in range(n_bits)])


def _weigh(bits: Bits, planes: Bits | None) -> Ints:
    """Rows in each bitset, (set,), each as often as it counts."""
    if planes is None:
        return np.asarray(np.bitwise_count(bits).sum(axis=1, dtype=np.int64))
    total = np.zeros(len(bits), dtype=np.int64)
    for j, plane in enumerate(planes):
        total += np.bitwise_count(bits & plane).sum(axis=1, dtype=np.int64) << j
    return total


def _by_numpy(
    bits: Bits,
    columns: Ints,
    support: Ints,
    planes: Bits | None,
    marks: Bits | None,
    minimum: int,
    depth: int,
    most: int,
) -> Found | None:
    """One pass of NumPy for the extensions of each conjunction."""
    classes: list[list[tuple[tuple[int, ...], Ints, Ints, Ints | None]]] = [[] for _ in range(depth)]
    n_found = 0

    def grow(prefix: tuple[int, ...], ids: Ints, bits: Bits, support: Ints) -> None:
        nonlocal n_found
        n_found += len(ids)
        if n_found > most:
            return
        hits = None if marks is None else _weigh(bits & marks, planes)
        classes[len(prefix)].append((prefix, ids, support, hits))
        if len(prefix) + 1 == depth:
            return
        later = np.searchsorted(columns[ids], columns[ids], side="right")
        for a in range(len(ids)):
            if later[a] == len(ids):
                break
            joined = bits[later[a] :] & bits[a]
            rows = _weigh(joined, planes)
            kept = np.flatnonzero(rows >= minimum)
            if kept.size:
                some = joined if kept.size == len(joined) else joined[kept]
                grow((*prefix, int(ids[a])), ids[later[a] :][kept], some, rows[kept])

    if len(bits):
        grow((), np.arange(len(bits)), bits, support)
    if n_found > most:
        return None
    members = np.full((n_found, max(1, depth)), -1, dtype=np.int32)
    flat = [entry for level in classes for entry in level]
    at = 0
    for prefix, ids, _, _ in flat:
        members[at : at + len(ids), : len(prefix)] = prefix
        members[at : at + len(ids), len(prefix)] = ids
        at += len(ids)
    nothing = np.zeros(0, dtype=np.int64)
    return (
        members,
        np.concatenate([nothing, *(rows for _, _, rows, _ in flat)]),
        None if marks is None else np.concatenate([nothing, *(h for *_, h in flat if h is not None)]),
    )


def _by_numba(
    bits: Bits,
    columns: Ints,
    support: Ints,
    planes: Bits | None,
    marks: Bits | None,
    minimum: int,
    depth: int,
    most: int,
) -> Found | None:
    """The same search, compiled."""
    from .compiled_itemsets import mine  # numba is an extra, and loading it takes a while

    none = np.zeros((0, bits.shape[1]), dtype=np.uint64)
    members, rows, hits = mine()(
        bits,
        columns,
        support,
        none if planes is None else planes,
        none if marks is None else marks[None],
        minimum,
        depth,
        most,
    )
    if len(members) > most:
        return None
    order: Any = np.argsort(np.count_nonzero(members >= 0, axis=1), kind="stable")
    return members[order], rows[order], hits[order] if marks is not None else None
