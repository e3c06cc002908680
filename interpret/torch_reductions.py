"""Statistics of attention maps by torch operations on blocks of queries: exact, on every device and call."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import UsageError
from .calls import BLOCK_BYTES, Call
from .float64 import float64_device, sum_in_float64
from .positions import Positions

HELD = 6  # blocks of the map's size that are alive at the same time, masks and intermediate results included
ON_CUDA = 8  # times BLOCK_BYTES on a CUDA device, which small blocks would leave idle


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reduced:
    """The numbers of one call before padding is marked; `rows` are named in ROWS."""

    rows: Float[Tensor, "row example head query"]
    shares: Float[Tensor, "class example head query"]
    received: Float[Tensor, "example head key"]  # float64, summed over valid queries
    top_keys: Int[Tensor, "example head query k"]
    top_weights: Float[Tensor, "example head query k"]


ROWS = ("entropy", "peak", "distance", "first", "itself", "previous", "following", "mass")


@torch.no_grad()
def by_torch(
    call: Call,
    positions: Positions,
    classes: Float[Tensor, "example class key"],
    *,
    top: int = 0,
    max_memory: int | None = None,
) -> Reduced:
    """Every statistic of a call's maps, block by block.

    Raises:
        UsageError: `max_memory` does not hold the rows of one query.
    """
    shape = (call.n_examples, call.n_heads, call.n_queries)
    dtype, device = call.compute_dtype, call.device
    found = Reduced(
        rows=torch.zeros(len(ROWS), *shape, dtype=dtype, device=device),
        shares=torch.zeros(classes.shape[1], *shape, dtype=dtype, device=device),
        received=torch.zeros(*shape[:2], call.n_keys, dtype=torch.float64, device=float64_device(device)),
        top_keys=torch.full((*shape, top), -1, device=device),
        top_weights=torch.zeros(*shape, top, dtype=dtype, device=device),
    )
    if call.n_keys == 0:
        return found
    places = torch.arange(call.n_keys, device=device)
    padding = None if bool(positions.valid.all()) else ~positions.valid[:, None, :, None]
    by_class = classes.to(dtype).transpose(1, 2)[:, None]
    step = _step(call, max_memory)
    for start in range(0, call.n_queries, step):
        queries = slice(start, min(start + step, call.n_queries))
        weights = call.weights(queries)
        found.rows[:, :, :, queries] = _of_rows(weights, queries, positions, places)
        counted = weights if padding is None else weights.masked_fill(padding[:, :, queries], 0.0)
        found.received.add_(sum_in_float64(counted, 2))
        if classes.shape[1]:
            found.shares[:, :, :, queries] = torch.matmul(weights, by_class).permute(3, 0, 1, 2)
        if top:
            largest = weights.topk(min(top, call.n_keys), dim=3)
            kept = slice(0, largest.values.shape[3])
            found.top_weights[:, :, queries, kept] = largest.values
            found.top_keys[:, :, queries, kept] = largest.indices.masked_fill(largest.values == 0, -1)
    return found


def _of_rows(
    weights: Float[Tensor, "example head query key"],
    queries: slice,
    positions: Positions,
    places: Int[Tensor, " key"],
) -> Float[Tensor, "row example head query"]:
    n_keys = weights.shape[3]
    mass = weights.sum(dim=3)
    entropy = -torch.special.xlogy(weights, weights).sum(dim=3)
    first = positions.first_key[:, None, None, None].expand(*weights.shape[:3], 1)
    rows = [entropy, weights.amax(dim=3), mass, weights.gather(3, first)[..., 0]]
    if positions.shift is None:
        rows[2:3] = [torch.zeros_like(mass)]
        rows += [torch.zeros_like(mass)] * 3
    else:
        at = torch.arange(queries.start, queries.stop, device=weights.device) + positions.shift
        far = (places - at[:, None]).abs().to(weights.dtype)
        rows[2] = torch.einsum("ehqk,qk->ehq", weights, far) / mass.masked_fill(mass == 0, 1.0)
        for neighbour in (at, at - 1, at + 1):
            there = (neighbour >= 0) & (neighbour < n_keys)
            index = neighbour.clamp(0, n_keys - 1)[None, None, :, None].expand(*weights.shape[:3], 1)
            rows.append(weights.gather(3, index)[..., 0] * there)
    return torch.stack([*rows, mass])


def _step(call: Call, max_memory: int | None) -> int:
    size = 8 if call.compute_dtype == torch.float64 else 4
    row = max(1, call.n_examples * call.n_heads * call.n_keys * size)
    usual = BLOCK_BYTES * (ON_CUDA if call.device.type == "cuda" else 1)
    if max_memory is None:
        return max(1, usual // row)
    if max_memory < HELD * row:
        raise UsageError(
            f"{call.layer}: max_memory is {max_memory} bytes; the rows of one query in {call.n_examples} examples "
            f"and {call.n_heads} heads over {call.n_keys} keys take {HELD * row}. Allow that, or run fewer examples."
        )
    return min(max_memory // HELD, usual) // row
