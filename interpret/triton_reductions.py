"""Statistics of attention maps on a GPU: two passes over tiles of scores that never leave the chip, in Triton.

The first pass goes along the keys of a block of queries with a running largest score (the online softmax of Milakov
and Gimelshein 2018, as FlashAttention uses it) and leaves the statistics of each row and its normaliser; the second goes
along the queries of a block of keys, computes the weights again and adds them up by key. No map is written.
"""

from typing import Any, no_type_check

import triton
import triton.language as tl

# Plain functions of numbers and addresses, compiled for the device at their first use: no type or shape is checked inside.
NEVER = tl.constexpr(
    -1e30
)  # the score of a pair that is not allowed; finite, so that differences of two are numbers


@triton.jit
@no_type_check
def _masked(
    scores, allowed, extra, i, j, stride_query, stride_key, threshold, inside, KIND: tl.constexpr
):  # fmt: skip
    """Scores and what is allowed after a mask or bias: KIND 0 none, 1 boolean, 2 additive."""
    if KIND > 0:
        address = extra + i[:, None] * stride_query + j[None, :] * stride_key
        if KIND == 1:
            allowed = allowed & (tl.load(address, mask=inside, other=0) != 0)
        else:
            added = tl.load(address, mask=inside, other=0.0).to(tl.float32)
            allowed = allowed & (added > threshold)
            scores = scores + added
    return scores, allowed


@triton.jit
@no_type_check
def _tile(
    query, key, bias, mask, i, j, key_stride, key_step, width, scale, softcap, offset, window,
    bias_query, bias_key, bias_threshold, mask_query, mask_key, mask_threshold, n_queries, n_keys,
    BIAS: tl.constexpr, MASK: tl.constexpr, CAUSAL: tl.constexpr, WINDOW: tl.constexpr, CAP: tl.constexpr,
    WIDTH: tl.constexpr,
):  # fmt: skip
    """One tile (query, key): scores, NEVER where a query may not attend, and where it may."""
    d = tl.arange(0, WIDTH)
    keys = tl.load(
        key + j[:, None] * key_stride + d[None, :] * key_step,
        mask=(j[:, None] < n_keys) & (d[None, :] < width),
        other=0.0,
    )
    scores = tl.dot(query, tl.trans(keys), input_precision="ieee") * scale
    if CAP:
        # tanh(x) = (1 - e) / (1 + e) with e = exp(-2 |x|), which cannot overflow
        e = tl.exp(-2.0 * tl.abs(scores) / softcap)
        size = softcap * ((1.0 - e) / (1.0 + e))
        scores = tl.where(scores < 0, -size, size)
    inside = (i[:, None] < n_queries) & (j[None, :] < n_keys)
    allowed = inside
    last = i[:, None] + offset
    if CAUSAL:
        allowed = allowed & (j[None, :] <= last)
    if WINDOW:
        allowed = allowed & (j[None, :] > last - window)
        if not CAUSAL:
            allowed = allowed & (j[None, :] < last + window)
    scores, allowed = _masked(scores, allowed, bias, i, j, bias_query, bias_key, bias_threshold, inside, BIAS)
    scores, allowed = _masked(scores, allowed, mask, i, j, mask_query, mask_key, mask_threshold, inside, MASK)
    return tl.where(allowed, scores, NEVER), allowed


@triton.jit
@no_type_check
def _places(
    unit, n_heads, group_size, query, key, bias, mask, query_example, query_head, key_example, key_head,
    bias_example, bias_head, mask_example, mask_head,
):  # fmt: skip
    """Where the numbers of one example and head begin."""
    example = (unit // n_heads).to(tl.int64)
    head = (unit % n_heads).to(tl.int64)
    return (
        query + example * query_example + head * query_head,
        key + example * key_example + (head // group_size) * key_head,
        bias + example * bias_example + head * bias_head,
        mask + example * mask_example + head * mask_head,
    )


@triton.jit
@no_type_check
def rows_of(
    query, key, bias, mask, sinks, classes, first_key, out, shares, normaliser,
    query_example, query_head, query_stride, query_step, key_example, key_head, key_stride, key_step,
    bias_example, bias_head, bias_query, bias_key, bias_threshold,
    mask_example, mask_head, mask_query, mask_key, mask_threshold,
    n_heads, group_size, n_queries, n_keys, width, scale, softcap, offset, window, shift, plane,
    N_CLASSES: tl.constexpr, CLASSES: tl.constexpr, BIAS: tl.constexpr, MASK: tl.constexpr, CAUSAL: tl.constexpr,
    WINDOW: tl.constexpr, CAP: tl.constexpr, SINKS: tl.constexpr, NEIGHBOURS: tl.constexpr,
    WIDTH: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """Rows of one block of queries of one example and head, and log of the normaliser of each.

    `out` (8, unit, query) holds entropy, peak, distance, first, itself, previous, following, mass; a plane of it is
    `plane` numbers. `shares` (class, unit, query). A row that may attend to nothing has 0 everywhere and a normaliser
    that makes every weight 0.
    """
    unit = tl.program_id(0)
    begin = tl.program_id(1) * QUERIES
    q, k, b, m = _places(
        unit, n_heads, group_size, query, key, bias, mask, query_example, query_head, key_example, key_head,
        bias_example, bias_head, mask_example, mask_head,
    )  # fmt: skip
    i = begin + tl.arange(0, QUERIES).to(tl.int64)
    d = tl.arange(0, WIDTH)
    asked = tl.load(
        q + i[:, None] * query_stride + d[None, :] * query_step,
        mask=(i[:, None] < n_queries) & (d[None, :] < width),
        other=0.0,
    )
    first = tl.load(first_key + unit // n_heads)
    position = i + shift
    low, high = 0, n_keys
    if CAUSAL:
        high = tl.minimum(n_keys, begin + QUERIES + offset)
    if WINDOW:
        low = tl.maximum(0, begin + offset - window + 1) // KEYS * KEYS
        if not CAUSAL:
            high = tl.minimum(n_keys, begin + QUERIES - 1 + offset + window)
    top = tl.full([QUERIES], NEVER, tl.float32)
    total = tl.zeros([QUERIES], tl.float32)
    weighted = tl.zeros([QUERIES], tl.float32)  # sum of e (score - top)
    far = tl.zeros([QUERIES], tl.float32)
    on_first = tl.zeros([QUERIES], tl.float32)
    on_itself = tl.zeros([QUERIES], tl.float32)
    on_previous = tl.zeros([QUERIES], tl.float32)
    on_following = tl.zeros([QUERIES], tl.float32)
    on_classes = tl.zeros([QUERIES, CLASSES], tl.float32)
    c = tl.arange(0, CLASSES)
    for start in range(low, high, KEYS):
        j = start + tl.arange(0, KEYS).to(tl.int64)
        scores, allowed = _tile(
            asked, k, b, m, i, j, key_stride, key_step, width, scale, softcap, offset, window,
            bias_query, bias_key, bias_threshold, mask_query, mask_key, mask_threshold, n_queries, n_keys,
            BIAS, MASK, CAUSAL, WINDOW, CAP, WIDTH,
        )  # fmt: skip
        higher = tl.maximum(top, tl.max(scores, axis=1))
        shrink = tl.exp(top - higher)
        gap = scores - higher[:, None]
        e = tl.where(allowed, tl.exp(gap), 0.0)
        weighted = shrink * (weighted + (top - higher) * total) + tl.sum(e * gap, axis=1)
        total = shrink * total + tl.sum(e, axis=1)
        on_first = shrink * on_first + tl.sum(tl.where(j[None, :] == first, e, 0.0), axis=1)
        if NEIGHBOURS:
            away = j[None, :] - position[:, None]
            far = shrink * far + tl.sum(e * tl.abs(away).to(tl.float32), axis=1)
            on_itself = shrink * on_itself + tl.sum(tl.where(away == 0, e, 0.0), axis=1)
            on_previous = shrink * on_previous + tl.sum(tl.where(away == -1, e, 0.0), axis=1)
            on_following = shrink * on_following + tl.sum(tl.where(away == 1, e, 0.0), axis=1)
        if N_CLASSES > 0:
            members = tl.load(
                classes + ((unit // n_heads) * N_CLASSES + c[None, :]) * n_keys + j[:, None],
                mask=(c[None, :] < N_CLASSES) & (j[:, None] < n_keys),
                other=0.0,
            )
            on_classes = shrink[:, None] * on_classes + tl.dot(e, members, input_precision="ieee")
        top = higher
    live = total > 0
    mass = total
    if SINKS:
        sink = tl.load(sinks + unit % n_heads).to(tl.float32)
        higher = tl.maximum(top, sink)
        shrink = tl.exp(top - higher)
        peak = shrink
        weighted = shrink * (weighted + (top - higher) * total)
        mass = shrink * total
        far = shrink * far
        on_first = shrink * on_first
        on_itself = shrink * on_itself
        on_previous = shrink * on_previous
        on_following = shrink * on_following
        on_classes = shrink[:, None] * on_classes
        total = mass + tl.exp(sink - higher)
        top = higher
    else:
        peak = tl.full([QUERIES], 1.0, tl.float32)
    norm = tl.where(live, 1.0 / tl.where(total > 0, total, 1.0), 0.0)
    logarithm = tl.log(tl.where(total > 0, total, 1.0))
    entropy = tl.maximum(0.0, (logarithm * mass - weighted) * norm)
    here = i < n_queries
    at = unit.to(tl.int64) * n_queries + i
    step = tl.cast(plane, tl.int64)
    tl.store(out + at, tl.where(live, entropy, 0.0), mask=here)
    tl.store(out + step + at, tl.where(live, peak * norm, 0.0), mask=here)
    tl.store(
        out + 2 * step + at, tl.where(live & (mass > 0), far / tl.where(mass > 0, mass, 1.0), 0.0), mask=here
    )
    tl.store(out + 3 * step + at, on_first * norm, mask=here)
    tl.store(out + 4 * step + at, on_itself * norm, mask=here)
    tl.store(out + 5 * step + at, on_previous * norm, mask=here)
    tl.store(out + 6 * step + at, on_following * norm, mask=here)
    tl.store(out + 7 * step + at, mass * norm, mask=here)
    if N_CLASSES > 0:
        tl.store(
            shares + c[None, :] * step + at[:, None],
            on_classes * norm[:, None],
            mask=here[:, None] & (c[None, :] < N_CLASSES),
        )
    tl.store(normaliser + at, tl.where(live, top + logarithm, -NEVER), mask=here)


@triton.jit
@no_type_check
def columns_of(
    query, key, bias, mask, counted, normaliser, received,
    query_example, query_head, query_stride, query_step, key_example, key_head, key_stride, key_step,
    bias_example, bias_head, bias_query, bias_key, bias_threshold,
    mask_example, mask_head, mask_query, mask_key, mask_threshold,
    n_heads, group_size, n_queries, n_keys, width, scale, softcap, offset, window,
    BIAS: tl.constexpr, MASK: tl.constexpr, CAUSAL: tl.constexpr, WINDOW: tl.constexpr, CAP: tl.constexpr,
    WIDTH: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """What a block of keys of one example and head receives, summed over the queries that count, in float64."""
    unit = tl.program_id(0)
    begin = tl.program_id(1) * KEYS
    q, k, b, m = _places(
        unit, n_heads, group_size, query, key, bias, mask, query_example, query_head, key_example, key_head,
        bias_example, bias_head, mask_example, mask_head,
    )  # fmt: skip
    j = begin + tl.arange(0, KEYS).to(tl.int64)
    d = tl.arange(0, WIDTH)
    low, high = 0, n_queries
    if CAUSAL:
        low = tl.maximum(0, begin - offset) // QUERIES * QUERIES
    if WINDOW:
        high = tl.maximum(0, tl.minimum(n_queries, begin + KEYS - 1 - offset + window))
        if not CAUSAL:
            low = tl.maximum(0, begin - offset - window + 1) // QUERIES * QUERIES
    sums = tl.zeros([KEYS], tl.float64)
    for start in range(low, high, QUERIES):
        i = start + tl.arange(0, QUERIES).to(tl.int64)
        asked = tl.load(
            q + i[:, None] * query_stride + d[None, :] * query_step,
            mask=(i[:, None] < n_queries) & (d[None, :] < width),
            other=0.0,
        )
        scores, allowed = _tile(
            asked, k, b, m, i, j, key_stride, key_step, width, scale, softcap, offset, window,
            bias_query, bias_key, bias_threshold, mask_query, mask_key, mask_threshold, n_queries, n_keys,
            BIAS, MASK, CAUSAL, WINDOW, CAP, WIDTH,
        )  # fmt: skip
        here = i < n_queries
        at = unit.to(tl.int64) * n_queries + i
        norm = tl.load(normaliser + at, mask=here, other=-NEVER)
        counts = tl.load(counted + (unit // n_heads).to(tl.int64) * n_queries + i, mask=here, other=0) != 0
        weights = tl.where(allowed & counts[:, None], tl.exp(scores - norm[:, None]), 0.0)
        sums += tl.sum(weights, axis=0).to(tl.float64)
    tl.store(received + unit.to(tl.int64) * n_keys + j, sums, mask=j < n_keys)


def launch(kernel: Any, grid: tuple[int, int], numbers: tuple[Any, ...], **constants: Any) -> None:
    """Run a kernel over a grid (unit, block)."""
    kernel[grid](*numbers, **constants, num_warps=4, num_stages=2)
