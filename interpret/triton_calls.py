"""The Triton pass over a call: which calls it can take, and what it is handed."""

import importlib.util
import math
import os
from contextlib import nullcontext
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .calls import NEVER, Call
from .positions import Positions
from .torch_reductions import ROWS, Reduced

TILES = {
    64: 64,
    128: 32,
    256: 16,
}  # numbers of a head, up to which -> queries, and keys, of a tile that fits the chip
WIDEST = max(TILES)
LEAST = 16  # of any axis of a product on the chip


def obstacle(call: Call) -> str | None:
    """Why the Triton pass cannot take this call; None where it can."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed (it comes with torch's builds for CUDA)"
    if call.given is not None:
        return "the model handed out its map, so that there are no queries and keys"
    if call.device.type != "cuda" and not interpreted():
        return f"the call was kept on {call.device}, and it runs on CUDA devices"
    if call.compute_dtype != torch.float32:
        return "the call is computed in float64, and it computes in float32"
    if call.pair[0].shape[3] > WIDEST:
        return f"its heads are {call.pair[0].shape[3]} wide, and {WIDEST} fit onto the chip"
    if call.sinks is not None and not bool(call.sinks.isfinite().all()):
        return "a sink is not finite"
    # A sum is finite only where every term is; most calls are settled by it.
    if any(
        not math.isfinite(float(part.float().sum())) and not bool(part.isfinite().all()) for part in call.pair
    ):
        return "queries or keys are not finite"
    return None


def interpreted() -> bool:
    """Whether Triton was told to run its kernels in Python, on the CPU: slow, for tests."""
    return os.environ.get("TRITON_INTERPRET") == "1"


@torch.no_grad()
def by_triton(call: Call, positions: Positions, classes: Float[Tensor, "example class key"]) -> Reduced:
    """Every statistic of a call's maps but the largest weights, in float32, sums by key in float64."""
    from . import triton_reductions as kernel

    shape = (call.n_examples, call.n_heads, call.n_queries)
    query, key = call.pair
    if query.dtype != key.dtype or (interpreted() and query.dtype == torch.bfloat16):
        query, key = (
            query.float(),
            key.float(),
        )  # the interpreter multiplies bfloat16 as if it were whole numbers
    made: dict[str, Any] = {"device": call.device, "dtype": torch.float32}
    rows, normaliser = torch.zeros(len(ROWS), *shape, **made), torch.zeros(shape, **made)
    shares = torch.zeros(classes.shape[1], *shape, **made)
    received = torch.zeros(*shape[:2], call.n_keys, dtype=torch.float64, device=call.device)
    found = Reduced(
        rows=rows,
        shares=shares,
        received=received,
        top_keys=torch.full((*shape, 0), -1, device=call.device),
        top_weights=torch.zeros(*shape, 0, **made),
    )
    units = shape[0] * shape[1]
    if not units or not call.n_queries or not call.n_keys:
        return found
    bias, bias_kind, bias_numbers = _extra(call, call.position_bias, query)
    mask, mask_kind, mask_numbers = _extra(call, call.mask, query)
    tile = next(size for widest, size in TILES.items() if query.shape[3] <= widest)
    width = max(LEAST, 1 << (query.shape[3] - 1).bit_length())
    constants: dict[str, Any] = {
        "BIAS": bias_kind,
        "MASK": mask_kind,
        "CAUSAL": call.causal,
        "WINDOW": call.window is not None,
        "CAP": call.softcap is not None,
        "WIDTH": width,
        "QUERIES": tile,
        "KEYS": tile,
    }
    strides = (*query.stride(), *key.stride(), *bias_numbers, *mask_numbers)
    sizes = (call.n_heads, call.group_size, call.n_queries, call.n_keys, query.shape[3])
    rule = (float(call.scale), float(call.softcap or 0.0), call.causal_offset, call.window or 0)
    sinks = query if call.sinks is None else call.sinks.float().contiguous()
    n_classes = classes.shape[1]
    with torch.cuda.device(call.device) if call.device.type == "cuda" else nullcontext():
        kernel.launch(
            kernel.rows_of,
            (units, -(-call.n_queries // tile)),
            (
                query, key, bias, mask, sinks, classes.float().contiguous(), positions.first_key.contiguous(),
                rows, shares, normaliser, *strides, *sizes, *rule, positions.shift or 0, normaliser.numel(),
            ),
            N_CLASSES=n_classes,
            CLASSES=max(LEAST, 1 << max(0, n_classes - 1).bit_length()),
            SINKS=call.sinks is not None,
            NEIGHBOURS=positions.shift is not None,
            **constants,
        )  # fmt: skip
        counted = positions.valid.byte().contiguous()
        kernel.launch(
            kernel.columns_of,
            (units, -(-call.n_keys // tile)),
            (query, key, bias, mask, counted, normaliser, received, *strides, *sizes, *rule),
            **constants,
        )
    return found


def _extra(call: Call, extra: Tensor | None, other: Tensor) -> tuple[Tensor, int, tuple[Any, ...]]:
    """A mask or bias as the kernel takes it: its memory, its kind, its steps (0 where it repeats), what still allows."""
    if extra is None:
        return other, 0, (0, 0, 0, 0, 0.0)
    shape = (call.n_examples, call.n_heads, call.n_queries, call.n_keys)
    steps = extra.expand(shape).stride()
    if extra.dtype == torch.bool:
        return extra.view(torch.uint8), 1, (*steps, 0.0)
    return extra, 2, (*steps, float(max(NEVER, torch.finfo(extra.dtype).min / 2)))
