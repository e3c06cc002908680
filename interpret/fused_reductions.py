"""Statistics of attention maps in one pass over blocks that stay in the cache, compiled by numba (an extra)."""

import itertools
from functools import cache, partial
from typing import Any, Literal, no_type_check

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

# Plain functions of plain numbers, compiled to machine code at their first use: no type or shape is checked inside.
# All of them are in this file, since the compiled code kept on disk is renewed when the file it came from changes.
njit: Any = partial(numba.njit, nogil=True, error_model="numpy")
LANES = (
    16  # floats of one vector of the intermediate code: one register of AVX-512, two of AVX2, four of NEON
)
WIDE = bool(llvmlite.binding.get_host_cpu_features().get("avx512f"))
VECTORS = 4 if WIDE else 1
ROWS = 6  # ROWS x VECTORS sums stay in registers while a tile of scores is computed
COLUMNS = LANES * VECTORS
SHARED = 16  # keys that share a peak while the top keys are sought

NEVER = np.float32(
    -1e30
)  # the score of a pair that is not allowed; finite, because infinities are assumed away
NOTHING = np.float32(-1e29)  # a row whose largest score is below this may attend to nothing
UNDERFLOW = np.float32(-87.0)  # exp of less than this is taken as zero (it is under 2e-38)

# exp(x) = 2^n exp(x - n ln 2), |x - n ln 2| <= ln(2) / 2, ln 2 in two parts (Cody and Waite 1980); the polynomial
# interpolates exp at Chebyshev nodes, relative error 2e-9 before rounding.
LOG2_E = np.float32(1.4426950408889634)
LN2_HIGH = np.float32(0.693359375)
LN2_LOW = np.float32(-2.12194440e-4)
_FITTED = np.polynomial.chebyshev.Chebyshev.interpolate(np.exp, 6, domain=[-0.34658, 0.34658])
C0, C1, C2, C3, C4, C5, C6 = (np.float32(c) for c in _FITTED.convert(kind=np.polynomial.Polynomial).coef)
HALF, ONE, TWO, ZERO = np.float32(0.5), np.float32(1.0), np.float32(2.0), np.float32(0.0)

# In any order and without NaN; only where no constant is split in two may sums be reordered.
ORDERED = {"nnan", "ninf", "nsz", "contract", "arcp"}
FREE = {*ORDERED, "reassoc"}
OPEN = {"nsz", "contract"}  # masks hold infinities


@intrinsic
@no_type_check
def _power_of_two(typing_context, exponent):
    """2^n of a whole float, -126 <= n <= 127, by writing the exponent's bits."""

    def generate(context, builder, signature, arguments):
        whole = builder.fptosi(arguments[0], ir.IntType(32))
        bits = builder.shl(builder.add(whole, ir.IntType(32)(127)), ir.IntType(32)(23))
        return builder.bitcast(bits, ir.FloatType())

    return types.float32(types.float32), generate


@intrinsic
@no_type_check
def _larger(typing_context, one, other):
    """The larger of two numbers, said in such a way that a loop of it is vectorised (a comparison is not)."""

    def generate(context, builder, signature, arguments):
        number = ir.FloatType()
        maximum = builder.module.declare_intrinsic(
            "llvm.maxnum.f32", fnty=ir.FunctionType(number, [number] * 2)
        )
        return builder.call(maximum, arguments, fastmath=("nnan", "nsz"))

    return types.float32(types.float32, types.float32), generate


@intrinsic
@no_type_check
def _widest(typing_context):
    """Let the loops of the calling function use the widest registers, which compilers avoid for older processors' sake."""

    def generate(context, builder, signature, arguments):
        if WIDE:
            set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
@no_type_check
def _take_number(typing_context, counter):
    """The counter's value, raised by one in the same instant, so that no two threads take the same."""

    def generate(context, builder, signature, arguments):
        address = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", address, ir.IntType(64)(1), "monotonic")

    return types.int64(types.intp), generate


@intrinsic
@no_type_check
def _multiply(typing_context, query, panel, width, out, stride):
    """One tile of scores: out (ROWS, COLUMNS) = query (width, ROWS)^T panel (width, COLUMNS), by addresses."""

    def generate(context, builder, signature, arguments):
        number, vector = ir.FloatType(), ir.VectorType(ir.FloatType(), LANES)
        i32, i64 = ir.IntType(32), ir.IntType(64)
        width, stride = arguments[2], arguments[4]
        query, panel, out = (builder.inttoptr(arguments[i], number.as_pointer()) for i in (0, 1, 3))
        fma = builder.module.declare_intrinsic(
            f"llvm.fma.v{LANES}f32", fnty=ir.FunctionType(vector, [vector] * 3)
        )
        undefined, first_lane = (
            ir.Constant(vector, ir.Undefined),
            ir.Constant(ir.VectorType(i32, LANES), [0] * LANES),
        )

        def vector_at(start, index):
            return builder.bitcast(builder.gep(start, [index]), vector.as_pointer())

        before = builder.block
        loop, after = builder.append_basic_block("multiply"), builder.append_basic_block("multiplied")
        builder.branch(loop)
        builder.position_at_end(loop)
        step = builder.phi(i64)
        sums = [[builder.phi(vector) for _ in range(VECTORS)] for _ in range(ROWS)]
        column, row = builder.mul(step, i64(COLUMNS)), builder.mul(step, i64(ROWS))
        keys = [
            builder.load(vector_at(panel, builder.add(column, i64(v * LANES))), align=4)
            for v in range(VECTORS)
        ]
        updated = []
        for r in range(ROWS):
            one = builder.load(builder.gep(query, [builder.add(row, i64(r))]))
            one = builder.insert_element(undefined, one, i32(0))
            spread = builder.shuffle_vector(one, undefined, first_lane)
            updated.append([builder.call(fma, [spread, keys[v], sums[r][v]]) for v in range(VECTORS)])
        following = builder.add(step, i64(1))
        builder.cbranch(builder.icmp_signed("<", following, width), loop, after)
        step.add_incoming(i64(0), before)
        step.add_incoming(following, loop)
        for r, v in itertools.product(range(ROWS), range(VECTORS)):
            sums[r][v].add_incoming(ir.Constant(vector, [0.0] * LANES), before)
            sums[r][v].add_incoming(updated[r][v], loop)
        builder.position_at_end(after)
        for r, v in itertools.product(range(ROWS), range(VECTORS)):
            place = builder.add(builder.mul(stride, i64(r)), i64(v * LANES))
            builder.store(updated[r][v], vector_at(out, place), align=4)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), generate


@njit(fastmath=ORDERED)
@no_type_check
def _exp(x):
    """e^x in float32 for -87 <= x <= 88, relative error about 1e-7."""
    n = np.floor(x * LOG2_E + HALF)
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    return (C0 + r * (C1 + r * (C2 + r * (C3 + r * (C4 + r * (C5 + r * C6)))))) * _power_of_two(n)


@njit(fastmath=FREE)
@no_type_check
def _cap(row, softcap):
    """softcap * tanh(score / softcap), in place; tanh(x) = (1 - e) / (1 + e) with e = exp(-2 x)."""
    _widest()
    twice = -TWO / softcap
    for j in range(row.shape[0]):
        e = _exp(-_larger(-_larger(row[j] * twice, UNDERFLOW), UNDERFLOW))
        row[j] = softcap * ((ONE - e) / (ONE + e))


@njit(fastmath=FREE)
@no_type_check
def _add(row, bias):
    """Add a row of finite numbers, in place."""
    _widest()
    for j in range(row.shape[0]):
        row[j] += bias[j]


@njit(fastmath=OPEN)
@no_type_check
def _add_mask(row, mask, threshold):
    """Add an additive mask, in place; at or below the threshold it forbids."""
    _widest()
    for j in range(row.shape[0]):
        row[j] = row[j] + mask[j] if mask[j] > threshold else NEVER


@njit(fastmath=OPEN)
@no_type_check
def _forbid(row, mask):
    """Forbid where a boolean mask is zero, in place."""
    _widest()
    for j in range(row.shape[0]):
        row[j] = row[j] if mask[j] != 0 else NEVER


@njit(fastmath=FREE)
@no_type_check
def _largest(row):
    _widest()
    top = NEVER
    for j in range(row.shape[0]):
        top = _larger(top, row[j])
    return top


@njit(fastmath=FREE)
@no_type_check
def _exponentiate(row, places, top, position):
    """Scores to e_j = exp(score - top), in place; sums of e_j, e_j (score - top), e_j |j - position|."""
    _widest()
    total, weighted, far = ZERO, ZERO, ZERO
    for j in range(row.shape[0]):
        x = row[j] - top
        clipped = _larger(x, UNDERFLOW)
        e = _exp(clipped)
        e = e if x > UNDERFLOW else ZERO
        row[j] = e
        total += e
        weighted += e * clipped
        far += e * abs(places[j] - position)
    return total, weighted, far


@njit(fastmath=FREE)
@no_type_check
def _dot(row, other):
    _widest()
    total = ZERO
    for j in range(row.shape[0]):
        total += row[j] * other[j]
    return total


@njit(fastmath=FREE)
@no_type_check
def _gather(sums, a, b, c, d, w):
    """Add four weighted rows to the sums by key."""
    _widest()
    wa, wb, wc, wd = w[0], w[1], w[2], w[3]
    for j in range(sums.shape[0]):
        sums[j] += (wa * a[j] + wb * b[j]) + (wc * c[j] + wd * d[j])


@njit()
@no_type_check
def _insert(values, keys, value, key):
    """Put a value into a descending list, its smallest falls out; equal values stay in order of arrival."""
    at = values.shape[0] - 1
    while at > 0 and values[at - 1] < value:
        values[at] = values[at - 1]
        keys[at] = keys[at - 1]
        at -= 1
    values[at] = value
    keys[at] = key


@njit(fastmath=FREE)
@no_type_check
def _peaks(row, peaks):
    """The largest of row[c], row[c + n], row[c + 2n], ... for each c below n = the number of peaks."""
    _widest()
    n = peaks.shape[0]
    peaks[:] = ZERO
    for start in range(0, row.shape[0], n):
        part = row[start : start + n]
        for c in range(part.shape[0]):
            peaks[c] = _larger(peaks[c], part[c])


@njit()
@no_type_check
def _find_top(row, start, peaks, values, keys):
    """The largest weights of a row and their keys, exact: only where a peak is among the k largest peaks can they be."""
    values[:] = ZERO
    keys[:] = -1
    n, last = peaks.shape[0], values.shape[0] - 1
    _peaks(row, peaks)
    for c in range(n):
        if peaks[c] > values[last]:
            _insert(values, keys, peaks[c], -1)
    threshold = values[last]  # at least k weights are as large
    values[:] = ZERO
    for c in range(n):
        if peaks[c] >= threshold and peaks[c] > values[last]:
            for j in range(c, row.shape[0], n):
                if row[j] > values[last]:
                    _insert(values, keys, row[j], start + j)


@njit()
@no_type_check
def _pack_keys(key, panels):
    """Keys (key, width) as panels (panel, width, COLUMNS), zero beyond the last."""
    n, width = key.shape
    for p in range(panels.shape[0]):
        panel = panels[p]
        for c in range(COLUMNS):
            j = p * COLUMNS + c
            if j < n:
                for d in range(width):
                    panel[d, c] = key[j, d]
            else:
                for d in range(width):
                    panel[d, c] = ZERO


@njit()
@no_type_check
def _pack_queries(query, start, stop, scale, groups):
    """Queries start..stop times the scale as groups (group, width, ROWS), zero beyond the last."""
    for g in range((stop - start + ROWS - 1) // ROWS):
        for r in range(ROWS):
            i = start + g * ROWS + r
            for d in range(query.shape[1]):
                groups[g, d, r] = query[i, d] * scale if i < stop else ZERO


@njit()
@no_type_check
def _share(row, key, low, high, norm):
    return row[key - low] * norm if low <= key < high else ZERO


@no_type_check
def _scan(
    counter, n_chunks, block, query, key, scale, softcap, sinks, causal, offset, window, key_from, key_to,
    key_bias, allow, extra, threshold, first_key, counted, shift, places, classes,
    out, shares, received, top_keys, top_weights,
):  # fmt: skip
    """Take units of work (an example, a head, a run of its queries) until none is left.

    Block by block of queries: scores of the block, then row by row the softmax and its sums, while the block is
    in the cache. `out` holds entropy, peak, distance, first, itself, previous, following, mass.
    """
    _widest()
    n_heads, n_queries, width = query.shape[1:]
    n_keys = key.shape[2]
    group_size = n_heads // key.shape[1]
    n_panels = (n_keys + COLUMNS - 1) // COLUMNS
    panels = np.empty((n_panels, width, COLUMNS), np.float32)
    groups = np.empty((block // ROWS, width, ROWS), np.float32)
    scores = np.empty((block, n_panels * COLUMNS), np.float32)
    sums = np.empty(n_panels * COLUMNS, np.float32)
    norms = np.empty(block + 4, np.float32)
    bounds = np.empty((block, 2), np.int64)
    k = top_weights.shape[3]
    peaks = np.empty(n_keys // SHARED + COLUMNS, np.float32)
    run = (n_queries + n_chunks - 1) // n_chunks
    packed = -1
    while True:
        unit = _take_number(counter.ctypes.data)
        if unit >= query.shape[0] * n_heads * n_chunks:
            return
        chunk = unit % n_chunks
        head = (unit // n_chunks) % n_heads
        example = unit // (n_chunks * n_heads)
        key_head = head // group_size
        if packed != example * n_heads + key_head:
            _pack_keys(key[example, key_head], panels)
            packed = example * n_heads + key_head
        stop_run = min(n_queries, (chunk + 1) * run)
        for start in range(chunk * run, stop_run, block):
            stop = min(start + block, stop_run)
            low, high = n_keys, 0
            for i in range(start, stop):
                last = i + offset
                a, b = key_from[example], key_to[example]
                if causal:
                    b = min(b, last + 1)
                if window >= 0:
                    a = max(a, last - window + 1)
                    if not causal:
                        b = min(b, last + window)
                bounds[i - start, 0], bounds[i - start, 1] = a, b
                if b > a:
                    low, high = min(low, a), max(high, b)
            if high <= low:
                for i in range(start, stop):
                    out[:, example, head, i] = ZERO
                    shares[:, example, head, i] = ZERO
                    top_keys[example, head, i] = -1
                    top_weights[example, head, i] = ZERO
                continue
            _pack_queries(query[example, head], start, stop, scale, groups)
            first_panel, last_panel = low // COLUMNS, (high + COLUMNS - 1) // COLUMNS
            for p in range(first_panel, last_panel):
                for g in range((stop - start + ROWS - 1) // ROWS):
                    _multiply(
                        groups[g].ctypes.data,
                        panels[p].ctypes.data,
                        width,
                        scores[g * ROWS, (p - first_panel) * COLUMNS :].ctypes.data,
                        scores.shape[1],
                    )
            base = first_panel * COLUMNS  # the key of the first column of `scores`
            for r in range(stop - start):
                i = start + r
                a, b = bounds[r, 0], bounds[r, 1]
                if b <= a:
                    a, b = low, low
                whole = scores[r]
                row = whole[a - base : b - base]
                if softcap > ZERO:
                    _cap(row, softcap)
                if extra.shape[3] > 0:
                    rows = extra[min(example, extra.shape[0] - 1), min(head, extra.shape[1] - 1), i]
                    _add_mask(row, rows[a:b], threshold)
                if allow.shape[3] > 0:
                    _forbid(
                        row, allow[min(example, allow.shape[0] - 1), min(head, allow.shape[1] - 1), i][a:b]
                    )
                if key_bias.shape[2] > 0:
                    _add(
                        row,
                        key_bias[min(example, key_bias.shape[0] - 1), min(head, key_bias.shape[1] - 1)][a:b],
                    )
                highest = _largest(row)
                whole[low - base : a - base] = ZERO
                whole[b - base : high - base] = ZERO
                if highest < NOTHING:
                    row[:] = ZERO
                    norms[r] = ZERO
                    out[:, example, head, i] = ZERO
                    shares[:, example, head, i] = ZERO
                    top_keys[example, head, i] = -1
                    top_weights[example, head, i] = ZERO
                    continue
                top = max(highest, sinks[head]) if sinks.shape[0] > 0 else highest
                position = i + shift
                total, weighted, far = _exponentiate(row, places[a:b], top, np.float32(position))
                mass = total
                if sinks.shape[0] > 0:
                    total += _exp(max(sinks[head] - top, UNDERFLOW))
                norm = ONE / total
                norms[r] = norm if counted[example, i] else ZERO
                out[0, example, head, i] = max(ZERO, (np.log(total) * mass - weighted) * norm)
                out[1, example, head, i] = _exp(max(highest - top, UNDERFLOW)) * norm
                out[2, example, head, i] = far / mass if mass > ZERO else ZERO
                out[3, example, head, i] = _share(row, first_key[example], a, b, norm)
                out[4, example, head, i] = _share(row, position, a, b, norm)
                out[5, example, head, i] = _share(row, position - 1, a, b, norm)
                out[6, example, head, i] = _share(row, position + 1, a, b, norm)
                out[7, example, head, i] = mass * norm
                for c in range(classes.shape[1]):
                    shares[c, example, head, i] = _dot(row, classes[example, c, a:b]) * norm
                if k > 0:
                    weights, keys = top_weights[example, head, i], top_keys[example, head, i]
                    _find_top(row, a, peaks[: (b - a) // SHARED + COLUMNS], weights, keys)
                    for t in range(k):
                        weights[t] *= norm
            span = sums[: high - low]
            span[:] = ZERO
            left, right = low - base, high - base
            r = 0
            norms[stop - start : stop - start + 4] = ZERO
            while r < stop - start:
                e = stop - start - 1
                _gather(
                    span,
                    scores[r, left:right],
                    scores[min(r + 1, e), left:right],
                    scores[min(r + 2, e), left:right],
                    scores[min(r + 3, e), left:right],
                    norms[r : r + 4],
                )
                r += 4
            received[chunk, example, head, low:high] += span


@cache
def scan() -> Any:
    """The compiled kernel: from the cache on disk where there is one, else compiled (seconds), also where none can be."""
    f32, i64, b1 = types.float32, types.int64, types.boolean

    def array(kind: Any, dimensions: int, layout: Literal["C", "A"] = "C") -> Any:
        return types.Array(kind, dimensions, layout)

    signature = types.void(
        array(i64, 1), i64, i64, array(f32, 4, "A"), array(f32, 4, "A"), f32, f32, array(f32, 1), b1, i64, i64,
        array(i64, 1), array(i64, 1), array(f32, 3), array(types.uint8, 4, "A"), array(f32, 4, "A"), f32,
        array(i64, 1), array(types.uint8, 2), i64, array(f32, 1), array(f32, 3),
        array(f32, 4), array(f32, 4), array(types.float64, 4), array(i64, 4), array(f32, 4),
    )  # fmt: skip
    try:
        compiled: Any = njit(cache=True)(_scan)
        compiled.compile(signature)
    except (
        Exception
    ):  # no folder can be written, or what is in it is damaged; what the code does wrong fails again
        compiled = njit()(_scan)
        compiled.compile(signature)
    compiled.disable_compile()  # arrays of other layouts are read through the same code
    return compiled
