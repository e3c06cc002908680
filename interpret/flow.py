"""Attention flow: how much can flow from the position a target is read from to each token, maps as capacities."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ..errors import DataError, UsageError, first
from ..records import Attribution, Floats, Rows
from .batches import MAX_MEMORY
from .models import Subject
from .reading import Found, Reading, read
from .rollout import fused

UNIT = 2**30  # capacity 1 as a whole number, of 32 bits, which is what scipy's maximum flow takes
BLIND = (
    "no explanation: like attention rollout, which ranked tokens hardly better than chance in our measurements, it knows "
    "neither values nor signs nor the target"
)


def attention_flow(
    subject: Subject,
    rows: Rows,
    *,
    residual: float = 0.5,
    most_tokens: int = 128,
    batch_size: int = 64,
    max_memory: int = MAX_MEMORY,
    seed: int = 0,
    progress: bool = False,
) -> Attribution:
    """The largest flow from the position the target is read from to each token, maps as capacities; no explanation.

    A layered graph has a node for each position before and after each layer, and an edge from position i after a layer
    to j before it, of capacity mean over heads of (1 - residual) A_ij + residual I_ij; the score of token j is the
    maximum flow from the reading position after the last layer to j before the first (Abnar & Zuidema 2020, section
    3), each token's by itself. A position that attends to nothing has the edge to itself alone. Where several
    positions are read, a source before them leads to each with a capacity of its share: a departure, as the paper
    reads one.

    scipy's maximum flow (Dinic's algorithm) takes whole numbers: capacities are rounded to multiples of 2^-30. A flow
    is then off by at most 2^-31 for each of the L n^2 edges (1.1e-5 for 64 positions and 6 layers), as a minimum cut
    has no more of them.

    Args:
        residual: the share of a position that skips attention, from 0 to 1.
        most_tokens: longer rows are refused, the model's own first tokens counted. On one core a row of 64
            positions and 6 layers took .05 s, of 128 .3 s, of 256 4 s, of 512 about a minute.
        batch_size: rows traced together.
        max_memory: bytes that one pass may keep for its backward pass; fewer rows run together accordingly.
        seed: not used; every method takes one.
        progress: show a bar.

    Returns:
        Scores (example, token) in [0, 1], without a unit, float64, 0 beyond an example's last token. Flows to several
        tokens may share capacities, so that their sum is no share of anything.

    Raises:
        UsageError: a residual or `most_tokens` out of range.
        DataError: a row longer than `most_tokens`; see also `attention_methods.attention_x_gradient`.
        ModelError: an encoder-decoder, for which attention flow is not defined.
    """
    if not 0 <= residual <= 1:
        raise UsageError(f"residual is {residual}; expected a share of the token, from 0 to 1.")
    if most_tokens < 1:
        raise UsageError(f"most_tokens is {most_tokens}; expected 1 or more.")
    lengths = [len(subject.prefix) + len(tokens) for tokens in subject.names(rows)] if len(rows) else []
    long = [rows.ids[i] for i, n in enumerate(lengths) if n > most_tokens]
    if long:
        raise DataError(
            f"{len(long)} rows have more than {most_tokens} tokens (up to {max(lengths)}), and attention flow takes one "
            f"maximum flow through {most_tokens}^2 edges a layer for each; first rows: {first(long)}. Shorten them, raise "
            "most_tokens and wait, or use attention rollout, which needs no flow."
        )

    def compute(reading: Reading) -> Found:
        reading.one_stack("attention flow")
        calls = [reading.trace.calls[place] for place in reading.own]
        mixed = [
            np.concatenate([fused(call)(queries).cpu().double().numpy() for queries in call.blocks()], axis=1)
            for call in calls
        ]
        scores = np.zeros_like(reading.share)
        for i, n_tokens in enumerate(reading.n_tokens):
            n = len(subject.prefix) + n_tokens
            maps = [with_residual(layer[i, :n, :n], residual) for layer in mixed]
            scores[i, :n] = flows(maps, reading.share[i, :n])
        return Found(scores=scores, pooled=reading.pools)

    return read(
        "attention flow",
        subject,
        rows,
        compute,
        batch_size=batch_size,
        max_memory=max_memory,
        progress=progress,
        notes=(BLIND,),
    )


def with_residual(weights: Float[np.ndarray, "query key"], residual: float) -> Float[np.ndarray, "query key"]:
    """(1 - residual) A + residual I; of a position that attends to nothing, the identity."""
    mixed: Floats = (1 - residual) * weights + residual * np.eye(len(weights))
    nothing = weights.sum(axis=1) == 0
    mixed[nothing] = np.eye(len(weights))[nothing]
    return mixed


def flows(
    capacities: Sequence[Float[np.ndarray, "query key"]], share: Float[np.ndarray, " query"]
) -> Float[np.ndarray, " key"]:
    """The maximum flow to each position before the first layer.

    Args:
        capacities: of each layer, first layer first.
        share: capacity of the edge from the source to each position after the last layer.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import maximum_flow

    n, n_layers = len(share), len(capacities)
    # Nodes: level x n + position, level 0 before the first layer; then the source.
    source = (n_layers + 1) * n
    starts = [np.full(n, source)]
    ends = [n_layers * n + np.arange(n)]
    sizes = [share]
    for level, layer in enumerate(capacities, start=1):
        query, key = np.indices((n, n)).reshape(2, -1)
        starts.append(level * n + query)
        ends.append((level - 1) * n + key)
        sizes.append(layer.reshape(-1))
    whole = np.rint(np.concatenate(sizes) * UNIT).astype(np.int32)
    graph = coo_array(
        (whole, (np.concatenate(starts), np.concatenate(ends))), shape=(source + 1, source + 1)
    ).tocsr()
    graph.eliminate_zeros()
    graph.indices, graph.indptr = graph.indices.astype(np.int32), graph.indptr.astype(np.int32)
    return np.array([maximum_flow(graph, source, target).flow_value / UNIT for target in range(n)])
