"""Heads scaled, replaced or patched, and edges cut, while a block of code runs a model."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..errors import UsageError, did_you_mean, first
from .calls import Call
from .observer import Spot
from .tap import tap
from .trace import Trace

Layer = int | str
Head = int | None  # None: every head of the layer


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """Pairs that may no longer attend: queries that look at keys, in one head or in all.

    Positions count from 0, or from the end with -1. `None` means every query, or every head. The weight that is
    cut goes to the other keys, as softmax gives it.
    """

    layer: Layer
    key: int
    query: int | None = None
    head: Head = None


@dataclass(frozen=True, slots=True)
class Mean:
    """A head's output becomes its mean over the examples and the queries (no padding) of a trace."""

    trace: Trace


@dataclass(frozen=True, slots=True)
class Patch:
    """A head's output becomes the one it had in another run: example by example and query by query.

    A trace of one example is used for every example.
    """

    trace: Trace


@dataclass(frozen=True, slots=True)
class Resample:
    """A head's output becomes the one it had for another example of a trace, drawn with a seed.

    Where the trace is of the same examples, no example is given its own output.
    """

    trace: Trace
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """A head's output becomes this, whatever the input: (width,) at every query, or (query, width), one for each.

    Queries beyond the last row get the last row. Of head `None`, all heads: (head, width) or (head, query, width).
    """

    output: Tensor


Value = float | Tensor | Mean | Patch | Resample | Constant
Heads = Mapping[tuple[Layer, Head], Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervention:
    """What is changed in one run: values of heads, and edges that are cut."""

    heads: Heads = dataclasses.field(default_factory=dict)
    cut: tuple[Edge, ...] = ()

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers it changes, each once."""
        return tuple(dict.fromkeys([*(layer for layer, _ in self.heads), *(edge.layer for edge in self.cut)]))


class Gates:
    """An editor that applies one intervention to every row, or one to each equal share of the rows."""

    def __init__(self, interventions: Sequence[Intervention]) -> None:
        self.interventions = tuple(interventions)
        self.met: set[Layer] = set()
        for intervention in self.interventions:
            for (layer, head), value in intervention.heads.items():
                _check(layer, head, value)
            for edge in intervention.cut:
                _check(edge.layer, edge.head, 0.0)

    def cut(self, spot: Spot) -> Bool[Tensor, "#example #head query key"] | None:
        """The pairs to cut at a call; None where there are none."""
        wanted = [
            (rows, edge) for rows, one in self._shares(spot) for edge in one.cut if _meant(edge.layer, spot)
        ]
        if not wanted:
            return None
        pairs = torch.zeros(
            spot.n_examples, spot.n_heads, spot.n_queries, spot.n_keys, dtype=torch.bool, device=spot.device
        )
        for rows, edge in wanted:
            self.met.add(edge.layer)
            heads = slice(None) if edge.head is None else _at("head", edge.head, spot.n_heads, spot.layer)
            queries = (
                slice(None) if edge.query is None else _at("query", edge.query, spot.n_queries, spot.layer)
            )
            pairs[rows, heads, queries, _at("key", edge.key, spot.n_keys, spot.layer)] = True
        return pairs

    def change(
        self, spot: Spot, output: Float[Tensor, "example head query width"]
    ) -> Float[Tensor, "example head query width"]:
        """The output with the heads of this layer changed."""
        wanted = [
            (rows, layer, head, value)
            for rows, one in self._shares(spot)
            for (layer, head), value in one.heads.items()
            if _meant(layer, spot)
        ]
        if not wanted:
            return output
        changed = output.clone()
        for rows, layer, head, value in wanted:
            self.met.add(layer)
            heads = slice(None) if head is None else _at("head", head, spot.n_heads, spot.layer)
            if isinstance(value, (Mean, Patch, Resample, Constant)):
                put = _replacement(value, spot, rows, heads)
                changed[rows, heads] = put.to(dtype=output.dtype, device=output.device)
            else:
                changed[rows, heads] = output[rows, heads] * value
        return changed

    def missed(self) -> tuple[Layer, ...]:
        """Layers that are to be changed and at which no call was made."""
        wanted = dict.fromkeys(layer for one in self.interventions for layer in one.layers)
        return tuple(layer for layer in wanted if layer not in self.met)

    def _shares(self, spot: Spot) -> Iterator[tuple[slice, Intervention]]:
        n = len(self.interventions)
        if spot.n_examples % n:
            raise UsageError(
                f"{spot.layer}: {spot.n_examples} rows cannot be shared by {n} interventions; give each the same rows."
            )
        size = spot.n_examples // n
        for i, one in enumerate(self.interventions):
            yield slice(i * size, (i + 1) * size), one


@contextmanager
def gates(model: Any, heads: Heads | None = None, *, cut: Sequence[Edge] = ()) -> Iterator[None]:
    """Run a model in the body with heads scaled, replaced or patched, and edges cut, at every call it makes.

        with gates(subject, {("encoder.layer.0.attention.self", 3): 0.0, (1, 5): Mean(trace)}):
            subject.forward(batch, None)

    A trace made inside sees what attention computed, before the gate. Works at every way in but weights that are
    only returned; cutting an edge needs a kernel that takes a mask.

    Args:
        model: a Subject or a module.
        heads: (layer, head) -> a factor (0 closes the head, 1 changes nothing; a tensor with a gradient is a gate
            that can be learned), `Mean`, `Patch` or `Resample` of a trace, or a `Constant`. A layer is a name as in
            `Trace.layers`, or its place among the calls of one forward pass; head `None` means every head.
        cut: edges that are cut.

    Raises:
        UsageError: a layer, head or position does not exist, or a patch does not fit.
        CaptureError: see `tap`.
    """
    module = model if isinstance(model, nn.Module) else model.module
    editor = Gates([Intervention(heads=dict(heads or {}), cut=tuple(cut))])
    with tap(module, editor=editor) as state:
        yield
    _refuse_missed(editor, state.ran, tuple(state.counts))


def _refuse_missed(editor: Gates, ran: bool, layers: tuple[str, ...]) -> None:
    missed = editor.missed()
    if missed and ran:
        names = [layer for layer in missed if isinstance(layer, str)]
        hint = did_you_mean(names[0], layers) if names else f"the run made {len(layers)} calls or fewer"
        raise UsageError(
            f"no attention call was made at {first(map(str, missed))}, so nothing was changed there: {hint}"
        )


def _check(layer: Layer, head: Head, value: Value) -> None:
    if isinstance(layer, int) and layer < 0:
        raise UsageError(
            f"layer {layer} counts from the end, which is not known before the run; count from 0."
        )
    if isinstance(value, Tensor) and value.numel() != 1:
        raise UsageError(f"the gate of ({layer}, {head}) has {value.numel()} numbers; a gate is one factor.")
    if isinstance(value, float | int) and not -1e6 < value < 1e6:
        raise UsageError(
            f"the gate of ({layer}, {head}) is {value}; a finite factor is expected, 0 closes the head."
        )


def _meant(layer: Layer, spot: Spot) -> bool:
    return layer == spot.layer or (isinstance(layer, int) and layer == spot.index)


def _at(axis: str, place: int, size: int, where: str) -> int:
    if not -size <= place < size:
        raise UsageError(f"{where}: {axis} {place} does not exist; there are {size}, so 0 to {size - 1}.")
    return place % size


def _replacement(value: Mean | Patch | Resample | Constant, spot: Spot, rows: slice, heads: Any) -> Tensor:
    """What is put in place of an output: (example, query, width) of a head, with the head axis for all heads."""
    if isinstance(value, Constant):
        return _constant(value.output, spot, isinstance(heads, slice)).expand(
            rows.stop - rows.start, *[-1] * (2 + isinstance(heads, slice))
        )
    call = value.trace.call(spot.layer if spot.layer in value.trace.layers else spot.index)
    output = _output(call)
    n = rows.stop - rows.start
    if isinstance(value, Mean):
        valid = call.valid()
        mean = (output * valid[:, None, :, None]).sum(dim=(0, 2)) / valid.sum()
        if isinstance(heads, slice):
            return mean[None, :, None, :].expand(n, -1, spot.n_queries, -1)
        return mean[heads].expand(n, spot.n_queries, -1)
    if output.shape[1] != spot.n_heads or output.shape[2] != spot.n_queries:
        raise UsageError(
            f"{spot.layer}: the trace has {output.shape[1]} heads and {output.shape[2]} queries there, this run has "
            f"{spot.n_heads} and {spot.n_queries}. Patch between inputs of the same length."
        )
    other = output[:, heads]
    if isinstance(value, Resample):
        return other[_others(n, len(other), value.seed, spot.layer)]
    if len(other) not in (1, n):
        raise UsageError(
            f"{spot.layer}: the trace has {len(other)} examples and this run {n}; one or as many are expected."
        )
    return other.expand(n, *other.shape[1:])


def _constant(given: Tensor, spot: Spot, every: bool) -> Tensor:
    """A constant output at each query of a call: (query, width), with the head axis first for every head."""
    axes = "head, width) or (head, query, width" if every else "width,) or (query, width"
    if given.dim() - every not in (1, 2) or (every and len(given) != spot.n_heads) or not given.numel():
        raise UsageError(
            f"{spot.layer}: the constant is {tuple(given.shape)}; ({axes}) is expected, of {spot.n_heads} heads."
        )
    if given.dim() - every == 1:
        given = given.unsqueeze(-2)
    rows = torch.arange(spot.n_queries, device=given.device).clamp(max=given.shape[-2] - 1)
    return given.index_select(-2, rows)


def _others(n: int, n_donors: int, seed: int, where: str) -> Tensor:
    """A donor for each row: never the row of the same place, where there are as many donors as rows."""
    if n_donors < 2:
        raise UsageError(
            f"{where}: resampling needs a trace of two examples or more, and this one has {n_donors}."
        )
    generator = torch.Generator().manual_seed(seed)
    if n_donors != n:
        return torch.randint(n_donors, (n,), generator=generator)
    shift = torch.randint(1, n_donors, (n,), generator=generator)
    return (torch.arange(n) + shift) % n_donors


def _output(call: Call) -> Tensor:
    if call.output is None:
        raise UsageError(f"{call.layer}: the trace kept no outputs. Use keep_values=True.")
    return call.output
