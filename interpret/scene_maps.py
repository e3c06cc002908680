"""Every head's maps of one example: whole where they are small, else block means and windows on demand."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from ..errors import ModelError, UsageError, first
from ..records import Floats, Rows
from ..scenes import Attends, Detail
from .calls import Call
from .float64 import in_float64, sum_in_float64
from .models import Subject
from .trace import DECODER, Trace
from .tracing import gradient_trace

BLOCKS = 64  # at most so many blocks along an axis of an overview
HELD = 1  # traces of long examples that are held at a time


def block_size(n: int, blocks: int = BLOCKS) -> int:
    """Positions in one block of an overview of n positions; the last block may be shorter."""
    return -(-n // blocks)


def block_means(weights: Floats, *, queries: int | None = None, keys: int | None = None) -> Floats:
    """Means over blocks of the last two axes; blocks of as many positions as given, the last ones shorter."""
    n_queries, n_keys = weights.shape[-2:]
    starts = [np.arange(0, n, size or block_size(n)) for n, size in ((n_queries, queries), (n_keys, keys))]
    counts = [np.diff([*edges, n]) for edges, n in zip(starts, (n_queries, n_keys), strict=True)]
    sums = np.add.reduceat(np.add.reduceat(weights, starts[0], axis=-2), starts[1], axis=-1)
    made: Floats = sums / (counts[0][:, None] * counts[1][None, :])
    return made


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """The calls of one example's gradient trace that an explorer shows, of one kind."""

    trace: Trace
    places: tuple[int, ...]  # among the trace's calls
    left_out: tuple[str, ...]  # calls of other positions, or of the other kind

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the calls shown."""
        return tuple(self.trace.layers[place] for place in self.places)

    @property
    def calls(self) -> tuple[Call, ...]:
        """The calls shown."""
        return tuple(self.trace.calls[place] for place in self.places)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Layers, heads, queries, keys."""
        call = self.calls[0]
        return len(self.places), call.n_heads, call.n_queries, call.n_keys

    def importance(self) -> Floats:
        """<O, dO> of every head: the sum of A x dA over queries and keys. (layer, head)"""
        gradients = self.trace.gradients
        if gradients is None or any(call.output is None for call in self.calls):
            raise ModelError("what heads gave out was not seen, so that A x dA is not known.")
        made = [
            (in_float64(call.output) * in_float64(gradients[place])).sum(dim=(0, 2, 3))
            for place, call in zip(self.places, self.calls, strict=True)
            if call.output is not None
        ]
        return torch.stack(made).cpu().numpy()

    def attention(self) -> Floats:
        """Every map, proved against the output of its layer. (layer, head, query, key)"""
        return np.stack([self.trace.maps(place)[0].float().cpu().numpy() for place in self.places])

    def contribution(self) -> Floats:
        """A x dA of every map, signed. (layer, head, query, key)"""
        return np.stack([self.trace.contribution(place)[0].astype(np.float32) for place in self.places])

    def overview(self) -> Floats:
        """Block means of every map, never holding a whole one. (layer, head, block, block)"""
        return np.stack([_overview(call) for call in self.calls])

    def window(
        self, layer: int, head: int, first_query: int, last_query: int, first_key: int, last_key: int
    ) -> tuple[Floats, Floats]:
        """A and A x dA of one head for queries and keys [first, last), each (query, key).

        Raises:
            UsageError: there is no such layer, head, query or key.
        """
        n_layers, n_heads, n_queries, n_keys = self.shape
        for name, start, stop, size in (
            ("layer", layer, layer + 1, n_layers),
            ("head", head, head + 1, n_heads),
            ("query", first_query, last_query, n_queries),
            ("key", first_key, last_key, n_keys),
        ):
            if not 0 <= start < stop <= size:
                raise UsageError(
                    f"{name} [{start}, {stop}) does not exist: there are {size}, counted from 0."
                )
        place = self.places[layer]
        call, gradients = self.trace.calls[place].part(0, head), self.trace.gradients
        if gradients is None or call.value is None:
            raise UsageError("the trace has no gradients, or no values.")
        rows = slice(first_query, last_query)
        weights = call.weights(rows)[0, 0, :, first_key:last_key]
        value = call.value[0, 0, first_key:last_key].to(weights.dtype)
        moved = gradients[place][0, head, rows].to(weights.dtype) @ value.T
        return weights.cpu().numpy(), (weights * moved).cpu().numpy()


def _overview(call: Call) -> Floats:
    """Block means of one call's maps, some whole blocks of queries at a time. (head, block, block)"""
    size = block_size(call.n_queries)
    made = []
    for start in range(0, call.n_queries, size):
        sums = np.zeros((call.n_heads, call.n_keys))
        stop = min(start + size, call.n_queries)
        step = max(1, min(size, 2**23 // max(1, call.n_heads * call.n_keys)))
        for begin in range(start, stop, step):
            some = call.weights(slice(begin, min(begin + step, stop)))[0]
            sums += sum_in_float64(some, 1).cpu().numpy()
        made.append(block_means(sums[:, None, :] / (stop - start), queries=1)[:, 0])
    return np.stack(made, axis=1).astype(np.float32)


def seen(subject: Subject, row: Rows, *, attends: Attends = "self", n_tokens: int) -> Seen:
    """One row's calls with the gradient of the subject's target, those whose positions are the example's tokens.

    Self-attention: n_tokens queries and keys, not of a decoder that reads other tokens. Cross-attention: n_tokens keys.

    Raises:
        ModelError: there is no such call, or calls differ in their number of heads.
    """
    trace = gradient_trace(subject, subject.encode(row))
    trace.tokens = tuple((*subject.prefix, *names) for names in subject.names(row))
    trace.special = frozenset(subject.special)
    paired = subject.decoder_names is not None
    trace.decoder_tokens = subject.decoder_names(row) if subject.decoder_names is not None else None
    n_queries = len(trace.decoder_tokens[0]) if trace.decoder_tokens and attends == "cross" else n_tokens
    places = [
        place
        for place, call in enumerate(trace.calls)
        if call.kind == attends
        and (call.n_queries, call.n_keys) == (n_queries, n_tokens)
        and not (attends == "self" and paired and DECODER.search(call.layer))
    ]
    if not places:
        shapes = {f"{c.kind}, {c.n_queries} x {c.n_keys}" for c in trace.calls}
        raise ModelError(
            f"{subject.name} makes no call of {attends}-attention over {n_queries} queries and the {n_tokens} tokens of "
            f"{row.ids[0]!r}; it made {first(sorted(shapes))}. Its maps are in cm.trace(subject, rows)."
        )
    heads = {trace.calls[place].n_heads for place in places}
    if len(heads) != 1:
        raise ModelError(f"attention calls have {sorted(heads)} heads; one number for all is expected.")
    left = tuple(name for place, name in enumerate(trace.layers) if place not in places)
    return Seen(trace=trace, places=tuple(places), left_out=left)


class Windows:
    """Windows of long examples' maps. The trace of the example asked last is held, others are made again."""

    def __init__(self, held: int = HELD) -> None:
        self.held = held
        self.traces: OrderedDict[str, Seen] = OrderedDict()

    def of(self, name: str, make: Callable[[], Seen]) -> Detail:
        """The way to one example's windows."""

        def detail(
            layer: int, head: int, first_query: int, last_query: int, first_key: int, last_key: int
        ) -> tuple[Floats, Floats]:
            if name not in self.traces:
                while len(self.traces) >= self.held:
                    self.traces.popitem(last=False)
                self.traces[name] = make()
            return self.traces[name].window(layer, head, first_query, last_query, first_key, last_key)

        return detail


Size = Literal["whole", "windows"]


def chosen_size(shape: Sequence[int], n_scenes: int, max_memory: int) -> Size:
    """Whether maps and contributions of so many examples of this shape fit into memory, four bytes a number."""
    return "whole" if 8 * int(np.prod(shape, dtype=np.int64)) * n_scenes <= max_memory else "windows"
