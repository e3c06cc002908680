"""The compiled pass over a call: what it is handed, and the threads that share its work."""

import threading
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import UsageError
from . import fused_reductions as kernel
from .calls import NEVER as NEVER_ADDITIVE
from .calls import Call, may_attend
from .positions import Positions, same_for_all_queries
from .torch_reductions import ROWS, Reduced

SCORES_BYTES = (
    2**20
)  # scores of one block: half of the second-level cache of a core, the other half is for keys
LEAST_QUERIES = 24  # per block: fewer would read the keys from memory more often than they compute
UNITS_PER_THREAD = 4  # pieces of work a thread should find, so that none is left alone with a long one


def by_numba(
    call: Call,
    positions: Positions,
    classes: Float[Tensor, "example class key"],
    *,
    top: int = 0,
    max_memory: int | None = None,
) -> Reduced:
    """Every statistic of a call's maps in one pass over the scores, in float32, on as many threads as torch uses.

    Raises:
        UsageError: `max_memory` does not hold the working memory of one thread.
    """
    scan = kernel.scan()
    shape = (call.n_examples, call.n_heads, call.n_queries)
    threads = max(1, min(torch.get_num_threads(), shape[0] * shape[1] * -(-call.n_queries // LEAST_QUERIES)))
    block, threads = _plan(call, threads, max_memory)
    n_chunks = 1
    if shape[0] * shape[1] % threads != 0 and shape[0] * shape[1] < UNITS_PER_THREAD * threads:
        wanted = -(-UNITS_PER_THREAD * threads // (shape[0] * shape[1]))
        n_chunks = max(1, min(wanted, call.n_queries // block))
    rows = np.zeros((len(ROWS), *shape), np.float32)
    shares = np.zeros((classes.shape[1], *shape), np.float32)
    received = np.zeros((n_chunks, *shape[:2], call.n_keys))
    keys, weights = np.full((*shape, top), -1), np.zeros((*shape, top), np.float32)
    query, key = (part.to(torch.float32).numpy() for part in call.pair)
    offset = call.causal_offset
    masks, key_from, key_to = _masks(call)
    arguments = (
        np.zeros(1, np.int64), n_chunks, block, query, key, np.float32(call.scale),
        np.float32(call.softcap or 0.0),
        np.zeros(0, np.float32) if call.sinks is None else call.sinks.float().contiguous().numpy(),
        call.causal, offset, -1 if call.window is None else call.window, key_from, key_to, *masks,
        positions.first_key.numpy(), positions.valid.byte().contiguous().numpy(), positions.shift or 0,
        np.arange(call.n_keys, dtype=np.float32), classes.contiguous().numpy(),
        rows, shares, received, keys, weights,
    )  # fmt: skip
    _share(scan, arguments, threads)
    return Reduced(
        rows=torch.from_numpy(rows),
        shares=torch.from_numpy(shares),
        received=torch.from_numpy(received.sum(axis=0)),
        top_keys=torch.from_numpy(keys),
        top_weights=torch.from_numpy(weights),
    )


def _plan(call: Call, threads: int, max_memory: int | None) -> tuple[int, int]:
    """Queries of a block, a multiple of the tile, and threads."""
    row = 4 * (-(-call.n_keys // kernel.COLUMNS) * kernel.COLUMNS)
    block = max(LEAST_QUERIES, SCORES_BYTES // max(1, row))
    block = min(block, max(1, call.n_queries))
    if max_memory is not None:
        packed = row * (call.pair[0].shape[3] + 2)
        if max_memory < packed + kernel.ROWS * row:
            raise UsageError(
                f"{call.layer}: max_memory is {max_memory} bytes; one thread of the compiled pass takes "
                f"{packed + kernel.ROWS * row} over {call.n_keys} keys. Allow that, or use engine='torch'."
            )
        threads = max(1, min(threads, max_memory // (packed + kernel.ROWS * row)))
        block = min(block, (max_memory // threads - packed) // row)
    return max(
        1, -(-block // kernel.ROWS) if max_memory is None else block // kernel.ROWS
    ) * kernel.ROWS, threads


def _masks(call: Call) -> tuple[tuple[Any, ...], Any, Any]:
    """What is added per key, forbidden per pair and added per pair, each empty where there is none; the range of keys."""
    allow, extra = np.zeros((1, 1, 1, 0), np.uint8), np.zeros((1, 1, 1, 0), np.float32)
    key_bias = np.zeros((1, 1, 0), np.float32)
    if call.mask is None and call.position_bias is None:
        every = np.full(call.n_examples, call.n_keys, np.int64)
        return (key_bias, allow, extra, np.float32(NEVER_ADDITIVE)), np.zeros_like(every), every
    bias = torch.zeros(1, 1, call.n_keys)
    for part in (call.mask, call.position_bias):
        if part is None:
            continue
        narrow = _narrow(part)
        if same_for_all_queries(part):
            number = narrow[:, :, 0].float() if part.dtype != torch.bool else 0.0
            bias = bias + torch.where(may_attend(narrow[:, :, 0]), number, float(kernel.NEVER))
        elif part.dtype == torch.bool:
            allow = narrow.contiguous().view(torch.uint8).numpy()
        else:
            extra = narrow.contiguous().numpy()
    reachable = (bias > float(kernel.NOTHING)).any(dim=1).expand(call.n_examples, -1)
    some = reachable.any(dim=1)
    key_from = torch.where(some, reachable.byte().argmax(dim=1), 0)
    key_to = torch.where(some, call.n_keys - reachable.byte().flip(1).argmax(dim=1), 0)
    places = torch.arange(call.n_keys)
    within = (places >= key_from[:, None]) & (places < key_to[:, None])
    if bool((bias.masked_fill(~within[:, None], 0.0) != 0).any()):
        key_bias = bias.contiguous().numpy()
    return (key_bias, allow, extra, np.float32(NEVER_ADDITIVE)), key_from.numpy(), key_to.numpy()


def _narrow(extra: Tensor) -> Tensor:
    """A mask or bias without the axes along which it repeats itself."""
    for axis in range(3):
        if extra.shape[axis] > 1 and extra.stride(axis) == 0:
            extra = extra.narrow(axis, 0, 1)
    return extra


def _share(scan: Any, arguments: tuple[Any, ...], n_threads: int) -> None:
    """Run the pass in this thread and in others until its work is done; an error of any of them is raised here."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            scan(*arguments)
        except BaseException as error:
            errors.append(error)

    others = [threading.Thread(target=work, daemon=True) for _ in range(n_threads - 1)]
    for thread in others:
        thread.start()
    work()
    for thread in others:
        thread.join()
    if errors:
        raise errors[0]
