"""Rollout and gradient-weighted relevance of one token: its row, by products of a vector with blocks of maps."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import CaptureError, UsageError, did_you_mean, first
from .calls import Call
from .trace import Trace

Fusion = Literal["mean", "max", "min"]
Stack = str | Sequence[int | str]
# The token whose row is wanted, one for all examples or one for each; or shares of several tokens' rows.
Start = int | Sequence[int] | Float[np.ndarray, "example query"]
# A map whose heads are fused, for a range of queries: (example, query, key).
Block = Callable[[slice], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CrossRelevance:
    """What one target token's row holds of the target and of the source, by Chefer's rules. Not negative."""

    target: Float[np.ndarray, "example target_key"]
    source: Float[np.ndarray, "example source_key"]


def rollout(
    trace: Trace,
    *,
    query: Start,
    layers: Stack | None = None,
    residual: float = 0.5,
    heads: Fusion = "mean",
) -> Float[np.ndarray, "example key"]:
    """One row of attention rollout: how much of a token's last position can have come from each input position.

    The row `query` of the product of all layers' (1 - residual) * A + residual * I, each row divided by its
    sum, last layer first (Abnar & Zuidema 2020, section 3). A one-hot row is multiplied block by block, so
    that no N x N matrix is ever held. With sinks, what a head leaves to its sink is left to the residual.
    A token that attends to nothing keeps what it has.

    It shows where information could have flowed, if every value counted alike. It is no explanation: values,
    feed-forward layers, signs and the target are not in it, and in our measurements it ranks tokens by their
    effect little better than chance. Use it as a baseline.

    Args:
        trace: of one forward pass in which all layers attend over the same positions.
        query: the token whose row is wanted, one for all examples or one for each, negative from the end; or shares
            of the rows of several tokens (example, query), not negative, of which the weighted sum is returned.
        layers: one stack of self-attention, in the order it runs: a part of the model by name ("encoder"),
            of which cross-attention is left out, or layers by name or place. All of them where None.
        residual: the share of a token that skips attention, from 0 to 1.
        heads: how heads are fused: "mean" as in the paper, or the largest or least weight ("max", "min").

    Returns:
        (example, key), float64, each row summing to one (to the sum of the shares); zero for padding.

    Raises:
        UsageError: no such layer or query, a query that is padding, layers that are no one stack.
    """
    if not 0 <= residual <= 1:
        raise UsageError(f"residual is {residual}; expected a share of the token, from 0 to 1.")
    if heads not in ("mean", "max", "min"):
        raise UsageError(f"heads cannot be fused by {heads!r}; {did_you_mean(heads, ('mean', 'max', 'min'))}")
    calls = [trace.calls[place] for place in _stack(trace, layers, "rollout")]
    row = _starting(calls[-1], query)
    for call in reversed(calls):
        row = rolled(row, call, fused(call, heads), residual)
    return _numpy(row)


def relevance(trace: Trace, *, query: Start, layers: Stack | None = None) -> Float[np.ndarray, "example key"]:
    """One row of gradient-weighted attention: evidence for the target that reached a token, by input position.

    Row `query` of R - I, where R = I and, layer by layer, R <- R + C R with C = mean over heads of
    max(0, A * dA), dA = dO V^T the gradient of the trace's target (Chefer et al. 2021b, equations 5 and 6).
    The row is found by vector-block products from the last layer down, in memory linear in the positions.

    It depends on the target, but only on what speaks for it: max(0, .) drops what speaks against. Values
    count through the gradient alone, feed-forward layers not at all, and rows have no unit and do not add
    up to the target. In our measurements it ranks tokens much better than rollout and worse than integrated
    gradients.

    Args:
        trace: made by `attention_gradient`, of one forward pass over the same positions in all layers.
        query: the token the target is read from, or shares of several; as for `rollout`.
        layers: as for `rollout`.

    Returns:
        (example, key), float64, not negative; zero for padding.

    Raises:
        UsageError: see `rollout`; also a trace without gradients.
        CaptureError: a layer whose values are not known.
    """
    places = _stack(trace, layers, "relevance")
    start = _starting(trace.calls[places[-1]], query)
    return _numpy(_gathered(start, trace, places))


def cross_relevance(
    trace: Trace, *, query: Start, encoder: Stack | None = None, decoder: Stack | None = None
) -> CrossRelevance:
    """`relevance` in an encoder-decoder: one target token's row over the target and over the source.

    The rules of Chefer et al. 2021b for two streams, t (target) and s (source), C as in `relevance`:
    self-attention of a stream R_ss <- R_ss + C R_ss, and in the decoder also R_ts <- R_ts + C R_ts
    (equations 6 and 7); cross-attention R_ts <- R_ts + N(R_tt)^T C N(R_ss) (equation 10), where N divides
    the rows of R - I by their sums and adds I (equations 8 and 9). A row of R - I that is zero stays zero
    (the authors' code drops every sum that such a row enters).
    Equation 11 changes nothing here, as no source position sees the target.

    The row is exact and no square matrix is held: one sweep back through the decoder, one forward for all
    cross-attention layers at once, then one forward and one back through the encoder.

    Args:
        trace: made by `attention_gradient`, of one forward pass.
        query: the target position whose row is wanted, or shares of several; as for `rollout`.
        encoder: the stack that reads the source; told by the names of the layers where None.
        decoder: the stack that writes the target, cross-attention included.

    Returns:
        Rows of R_tt - I and of R_ts.

    Raises:
        UsageError: the stacks cannot be told apart or do not fit together; see `relevance`.
        CaptureError: a layer whose values are not known.
    """
    _gradients(trace)
    encoder, decoder = streams(trace) if encoder is None or decoder is None else (encoder, decoder)
    reading = _stack(trace, encoder, "relevance of the source")
    writing = _chosen(trace, decoder)
    own = [place for place in writing if trace.calls[place].kind == "self"]
    crossing = [place for place in writing if trace.calls[place].kind == "cross"]
    _one_set_of_positions(trace, own, "relevance of the target")
    source, target = trace.calls[reading[-1]], trace.calls[own[-1]] if own else None
    if target is None or not crossing:
        raise UsageError(
            f"{decoder!r} has {len(own)} layers of self- and {len(crossing)} of cross-attention; expected both."
        )
    for place in crossing:
        call = trace.calls[place]
        got = (call.n_examples, call.n_queries, call.n_keys)
        if got != (target.n_examples, target.n_queries, source.n_queries) or source.n_examples != got[0]:
            raise UsageError(
                f"{call.layer} has {got} examples, queries and keys; the decoder has {target.n_examples} "
                f"examples of {target.n_queries} positions, the encoder {source.n_examples} of {source.n_queries}."
            )

    # Back through the decoder: with which weights the final row reads R_ts as each cross-attention left it.
    start = _starting(target, query)
    row, read = torch.zeros_like(start), {}
    for place in reversed(writing):
        if trace.calls[place].kind == "cross":
            read[place] = start + row
        else:
            row = row + times(start + row, *_positive(trace, place))
    # Forward: (R_tt - I) times each of them, and times one, which gives the sums of its rows.
    asked = torch.stack([torch.ones_like(start), *(read[place] for place in crossing)], dim=2)
    done = torch.zeros_like(asked)
    entering = torch.zeros(source.n_examples, source.n_queries, dtype=torch.float64)
    for place in writing:
        if trace.calls[place].kind == "self":
            done = done + _applied(asked + done, *_positive(trace, place))
            continue
        at = 1 + crossing.index(place)
        entering += times(asked[..., at] + _ratio(done[..., at], done[..., 0]), *_positive(trace, place))
    # Through the encoder: entering^T N(R_ss).
    ones = torch.ones_like(entering)[..., None]
    sums = torch.zeros_like(ones)
    for place in reading:
        sums = sums + _applied(ones + sums, *_positive(trace, place))
    found = entering + _gathered(_ratio(entering, sums[..., 0]), trace, reading)
    return CrossRelevance(target=_numpy(row), source=_numpy(found))


# Which layers.


def _chosen(trace: Trace, layers: Stack | None) -> list[int]:
    """Places in the trace, ascending."""
    if layers is None:
        return list(range(len(trace.calls)))
    if isinstance(layers, str):
        found = [
            place
            for place, name in enumerate(trace.layers)
            if name == layers or name.startswith((f"{layers}.", f"{layers}#"))
        ]
        if not found:
            parts = {
                name.rsplit(".", depth)[0] for name in trace.layers for depth in range(name.count(".") + 1)
            }
            raise UsageError(
                f"no part of the model with attention is named {layers!r}; {did_you_mean(layers, parts)}"
            )
        return found
    places = [trace.layers.index(trace.call(layer).layer) for layer in layers]
    if not places:
        raise UsageError("no layer was named; expected one at least, or layers=None for all.")
    if places != sorted(set(places)):
        raise UsageError(
            f"layers are {first(trace.layers[place] for place in places)}; expected each once, in the order they run."
        )
    return places


def _stack(trace: Trace, layers: Stack | None, what: str) -> list[int]:
    """The places of one stack of self-attention."""
    places = _chosen(trace, layers)
    crossing = [trace.layers[place] for place in places if trace.calls[place].kind == "cross"]
    if crossing and isinstance(layers, str):
        places = [place for place in places if trace.calls[place].kind == "self"]
        if not places:
            raise UsageError(f"{layers!r} has no self-attention, only {first(crossing)}.")
    elif crossing:
        raise UsageError(
            f"{first(crossing)}: cross-attention leads from one sequence to another, and {what} is defined "
            "within one. Name one stack, as in layers='encoder'; cross_relevance() has rules for both."
        )
    _one_set_of_positions(trace, places, what)
    return places


def _one_set_of_positions(trace: Trace, places: Sequence[int], what: str) -> None:
    calls = [trace.calls[place] for place in places]
    rectangular = [call.layer for call in calls if call.n_queries != call.n_keys]
    if rectangular:
        raise UsageError(
            f"{first(rectangular)}: queries are fewer than keys, as when generating with a cache; {what} needs "
            "all positions of all layers. Trace one forward pass over the whole sequence, without a cache."
        )
    shapes = {(call.n_examples, call.n_queries): call.layer for call in calls}
    if len(shapes) > 1:
        raise UsageError(
            f"layers differ in (examples, positions): {', '.join(f'{s} in {n!r}' for s, n in shapes.items())}; "
            f"{what} needs the same positions in each. Name one stack with layers=, of one forward pass."
        )


def streams(trace: Trace) -> tuple[list[int], list[int]]:
    """Places of the encoder's and of the decoder's calls, told by the first part of a name in which they differ.

    Raises:
        UsageError: they cannot be told apart.
    """
    names = [name.partition("#")[0].split(".") for name in trace.layers]
    shared = 0
    while all(len(name) > shared for name in names) and len({name[shared] for name in names}) == 1:
        shared += 1
    part = ["".join(name[shared : shared + 1]) for name in names]
    writing = {part[place] for place, kind in enumerate(trace.kinds) if kind == "cross"}
    reading = set(part) - writing
    if len(writing) != 1 or len(reading) != 1:
        raise UsageError(
            f"which layers are the encoder's cannot be told from their names ({first(trace.layers)}; "
            f"{trace.kinds.count('cross')} of {len(names)} are cross-attention). Name both: encoder=, decoder=."
        )
    return (
        [place for place in range(len(names)) if part[place] in reading],
        [place for place in range(len(names)) if part[place] in writing],
    )


# Products of vectors with maps. Vectors are float64 on the CPU, maps in the precision of their call.


def _starting(call: Call, query: Start) -> Float[Tensor, "example query"]:
    """The rows to begin with.

    Raises:
        UsageError: a query that does not exist or is padding.
    """
    if isinstance(query, np.ndarray):
        return _shared(call, query)
    n, wanted = (
        call.n_examples,
        [int(query)] * call.n_examples if isinstance(query, int | np.integer) else list(query),
    )
    if len(wanted) != n:
        raise UsageError(f"{len(wanted)} queries were named for {n} examples; expected one, or one for each.")
    size = call.n_queries
    outside = [at for at in wanted if not -size <= at < size]
    if outside:
        raise UsageError(f"query {outside[0]} does not exist: {call.layer} has {size}, so 0 to {size - 1}.")
    places = torch.tensor(wanted) % size
    padded = (~call.valid().cpu()[torch.arange(n), places]).nonzero()[:, 0].tolist()
    if padded:
        raise UsageError(
            f"query {wanted[padded[0]]} of example {padded[0]} is padding (and {len(padded) - 1} more). "
            "Name a token that is real in each example."
        )
    row = torch.zeros(n, size, dtype=torch.float64)
    row[torch.arange(n), places] = 1.0
    return row


def _shared(call: Call, shares: Float[np.ndarray, "example query"]) -> Float[Tensor, "example query"]:
    if shares.shape != (call.n_examples, call.n_queries) or not (shares >= 0).all():
        raise UsageError(
            f"shares of queries are {shares.shape}, least {shares.min(initial=0.0):g}; expected numbers that are not "
            f"negative, ({call.n_examples}, {call.n_queries}) for the examples and queries of {call.layer}."
        )
    row = torch.from_numpy(shares).double()
    padded = (row.ne(0) & ~call.valid().cpu()).nonzero().tolist()
    if padded:
        raise UsageError(
            f"query {padded[0][1]} of example {padded[0][0]} is padding (and {len(padded) - 1} more). Give shares to "
            "real tokens alone."
        )
    return row


def _busy(call: Call, row: Float[Tensor, "example query"]) -> Iterator[slice]:
    """Ranges of queries in which some row is not zero: of a one-hot row, that query alone."""
    heavy = row.ne(0).any(dim=0).nonzero()[:, 0]
    for queries in call.blocks():
        inside = heavy[(heavy >= queries.start) & (heavy < queries.stop)]
        if inside.numel():
            yield slice(int(inside[0]), int(inside[-1]) + 1)


def fused(call: Call, heads: Fusion = "mean") -> Block:
    """A call's maps with the heads fused, by blocks."""

    def block(queries: slice) -> Float[Tensor, "example query key"]:
        weights = call.weights(queries)
        if heads == "mean":
            return weights.mean(dim=1)
        return weights.amax(dim=1) if heads == "max" else weights.amin(dim=1)

    return block


@torch.no_grad()
def rolled(
    row: Float[Tensor, "example key"], call: Call, block: Block, residual: float
) -> Float[Tensor, "example key"]:
    """A row times ((1 - residual) A + residual I) with its rows divided by their sums, A given by blocks."""
    moved, kept = torch.zeros_like(row), torch.zeros_like(row)
    with torch.autocast(call.device.type, enabled=False):
        for queries in _busy(call, row):
            part = block(queries)
            sums = (1 - residual) * part.sum(dim=2).cpu().double() + residual
            share = _ratio(row[:, queries], sums)
            moved += torch.bmm(share[:, None].to(part.device, part.dtype), part)[:, 0].cpu().double()
            kept[:, queries] = torch.where(sums > 0, residual * share, row[:, queries])
    return (1 - residual) * moved + kept


def _gradients(trace: Trace) -> tuple[Tensor, ...]:
    """dO of each call.

    Raises:
        UsageError: the trace was made without gradients.
    """
    if trace.gradients is None:
        raise UsageError("this trace has no gradients. Make it with attention_gradient(run, module).")
    return trace.gradients


def _positive(trace: Trace, place: int) -> tuple[Call, Block]:
    """C = mean over heads of max(0, A * dA), by blocks."""
    call, gradient = trace.calls[place], _gradients(trace)[place]
    if call.value is None:
        raise CaptureError(
            f"{call.layer}: the values are not known ({call.way}), and relevance needs them for dA = dO V^T. "
            "Use keep_values=True; where a model only returns its weights there is no such gradient."
        )
    value = call.repeated(call.value.to(call.compute_dtype)).transpose(2, 3)

    def block(queries: slice) -> Tensor:
        there = gradient[:, :, queries].to(device=call.device, dtype=call.compute_dtype)
        return torch.matmul(there, value).mul_(call.weights(queries)).clamp_(min=0.0).mean(dim=1)

    return call, block


def _gathered(
    start: Float[Tensor, "example key"], trace: Trace, places: Sequence[int]
) -> Float[Tensor, "example key"]:
    """start^T (R - I), R the product of all I + C, last layer first."""
    found = torch.zeros_like(start)
    for place in reversed(places):
        found = found + times(start + found, *_positive(trace, place))
    return found


@torch.no_grad()
def times(row: Float[Tensor, "example query"], call: Call, block: Block) -> Float[Tensor, "example key"]:
    """A row vector times a matrix given by blocks of its rows."""
    found = torch.zeros(call.n_examples, call.n_keys, dtype=torch.float64)
    with torch.autocast(call.device.type, enabled=False):
        for queries in _busy(call, row):
            part = block(queries)
            vector = row[:, None, queries].to(device=part.device, dtype=part.dtype)
            found += torch.bmm(vector, part)[:, 0].cpu().double()
    return found


@torch.no_grad()
def _applied(
    columns: Float[Tensor, "example key column"], call: Call, block: Block
) -> Float[Tensor, "example query column"]:
    """A matrix given by blocks of its rows times column vectors."""
    found = torch.zeros(call.n_examples, call.n_queries, columns.shape[2], dtype=torch.float64)
    with torch.autocast(call.device.type, enabled=False):
        for queries in call.blocks():
            part = block(queries)
            found[:, queries] = (
                torch.bmm(part, columns.to(device=part.device, dtype=part.dtype)).cpu().double()
            )
    return found


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    """above / below, and zero where below is."""
    return torch.where(below > 0, above / torch.where(below > 0, below, 1.0), 0.0)


def _numpy(row: Tensor) -> Float[np.ndarray, "..."]:
    return row.numpy()
