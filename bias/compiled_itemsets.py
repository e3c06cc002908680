"""The search for conjunctions over bitsets, compiled by numba (an extra)."""

from functools import cache, partial
from typing import Any, no_type_check

import llvmlite.binding
import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

# All of the compiled functions are in this file, since the code kept on disk is renewed when its file changes.
njit: Any = partial(numba.njit, nogil=True, error_model="numpy")
WIDE = bool(llvmlite.binding.get_host_cpu_features().get("avx512f"))


@intrinsic
@no_type_check
def _ones(typing_context, word):
    """How many bits of a word are set."""

    def generate(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


@intrinsic
@no_type_check
def _widest(typing_context):
    """Let the loops of the calling function use the widest registers."""

    def generate(context, builder, signature, arguments):
        if WIDE:
            set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), generate


@njit
@no_type_check
def _joined(one, other, out):
    """Write the common bits of two sets, and count them."""
    _widest()
    total = np.uint64(0)
    for w in range(one.shape[0]):
        common = one[w] & other[w]
        out[w] = common
        total += _ones(common)
    return np.int64(total)


@njit
@no_type_check
def _common(one, other):
    """Count the common bits of two sets."""
    _widest()
    total = np.uint64(0)
    for w in range(one.shape[0]):
        total += _ones(one[w] & other[w])
    return np.int64(total)


@njit
@no_type_check
def _common_of_three(one, other, third):
    """Count the common bits of three sets."""
    _widest()
    total = np.uint64(0)
    for w in range(one.shape[0]):
        total += _ones(one[w] & other[w] & third[w])
    return np.int64(total)


@no_type_check
def _mine(bits, columns, support, planes, marks, minimum, depth, most):
    """Conjunctions depth first: members, rows, marked rows; one more than `most` where there are too many."""
    n_items, n_words = bits.shape
    capacity = 4096
    members = np.full((capacity, max(depth, 1)), -1, np.int32)
    rows = np.zeros(capacity, np.int64)
    hits = np.zeros(capacity, np.int64)
    found = 0
    sets = np.empty((max(depth - 1, 0), n_items, n_words), np.uint64)  # of the levels below the first
    ids = np.empty((max(depth, 1), n_items), np.int64)
    counts = np.empty((max(depth, 1), n_items), np.int64)
    width, place = np.zeros(max(depth, 1), np.int64), np.zeros(max(depth, 1), np.int64)
    ids[0] = np.arange(n_items)
    counts[0] = support
    width[0] = n_items
    level = 0
    while level >= 0:
        a = place[level]
        if a == width[level]:
            level -= 1
            continue
        place[level] += 1
        if found == capacity:
            capacity *= 2
            wider = np.full((capacity, members.shape[1]), -1, np.int32)
            wider[:found] = members
            members = wider
            longer = np.zeros(capacity, np.int64)
            longer[:found] = rows
            rows = longer
            more = np.zeros(capacity, np.int64)
            more[:found] = hits
            hits = more
        mine = bits[ids[0, a]] if level == 0 else sets[level - 1, a]
        for j in range(level):
            members[found, j] = ids[j, place[j] - 1]
        members[found, level] = ids[level, a]
        rows[found] = counts[level, a]
        if marks.shape[0] > 0:
            if planes.shape[0] == 0:
                hits[found] = _common(mine, marks[0])
            else:
                for j in range(planes.shape[0]):
                    hits[found] += _common_of_three(mine, marks[0], planes[j]) << j
        found += 1
        if found > most:
            break
        if level + 1 == depth:
            continue
        kept = 0
        column = columns[ids[level, a]]
        for b in range(a + 1, width[level]):
            if columns[ids[level, b]] == column:
                continue
            other = bits[ids[0, b]] if level == 0 else sets[level - 1, b]
            out = sets[level, kept]
            total = _joined(mine, other, out)
            if planes.shape[0] > 0:
                total = np.int64(0)
                for j in range(planes.shape[0]):
                    total += _common(out, planes[j]) << j
            if total >= minimum:
                ids[level + 1, kept] = ids[level, b]
                counts[level + 1, kept] = total
                kept += 1
        if kept > 0:
            level += 1
            width[level] = kept
            place[level] = 0
    return members[:found].copy(), rows[:found].copy(), hits[:found].copy()


@cache
def mine() -> Any:
    """The compiled search: from the cache on disk where there is one, else compiled (seconds)."""
    words, numbers, i64 = types.Array(types.uint64, 2, "C"), types.Array(types.int64, 1, "C"), types.int64
    signature = (words, numbers, numbers, words, words, i64, i64, i64)
    try:
        compiled: Any = njit(cache=True)(_mine)
        compiled.compile(signature)
    except (
        Exception
    ):  # no folder can be written, or what is in it is damaged; what the code does wrong fails again
        compiled = njit()(_mine)
        compiled.compile(signature)
    return compiled
