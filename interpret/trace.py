"""Attention maps computed on demand from the queries and keys that were kept, with their certificate."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import CaptureError, UsageError, did_you_mean, first
from ..records import Floats
from .calls import Call, not_reproduced
from .float64 import float64_device, in_float64, sum_in_float64
from .head_roles import HeadRole, roles, summaries
from .planning import Plan
from .reductions import Engine, Statistics, reduce
from .token_classes import feature_classes, token_classes

if TYPE_CHECKING:
    from .rollout import CrossRelevance

STATISTICS = ("entropy", "received")
DECODER = re.compile(r"(^|\.)decoder(\.|$)")


class Trace:
    """Every attention call of one run.

    A layer is given by its name or its place in `layers` (negative from the end).

    Maps have the axes example, head, query, key; rows sum to one, and are zero for a query that may attend to
    nothing. They are computed in float32, in float64 for a float64 model. "Attention" is what a head looks
    at, which is not what matters: see `contribution`.
    """

    def __init__(
        self,
        calls: Sequence[Call],
        *,
        output: Any = None,
        gradients: Sequence[Tensor] | None = None,
        sampled: Mapping[str, float] | None = None,
        unseen: Sequence[str] = (),
        statistics: Sequence[Statistics] = (),
        plan: Plan | None = None,
        tokens: Sequence[Sequence[str]] | None = None,
        special: Collection[str] = (),
    ) -> None:
        self.calls = tuple(calls)
        self.reduced = tuple(statistics)  # one per call, where they were computed while tracing
        self.layers: tuple[str, ...] = tuple(one.layer for one in self.calls or self.reduced)
        self.kinds: tuple[str, ...] = tuple(one.kind for one in self.calls or self.reduced)
        self.plan = plan  # what was kept, and why, where a memory budget was given
        self.tokens = None if tokens is None else tuple(tuple(row) for row in tokens)
        self.decoder_tokens: tuple[tuple[str, ...], ...] | None = None  # of an encoder-decoder
        self.special = frozenset(special)  # names of special tokens
        self.output = output  # what the run returned
        self.gradients = None if gradients is None else tuple(gradients)  # dO, (example, head, query, width)
        self.sampled = dict(
            sampled or {}
        )  # ||A V - O|| / ||O|| per layer, on the queries sampled while tracing
        self.unseen = tuple(unseen)  # modules that are attention by name and made no call that was seen
        self._certificate: dict[str, float] | None = None

    def call(self, layer: int | str) -> Call:
        """The call kept for a layer.

        Raises:
            UsageError: there is no such layer.
        """
        place = self._place(layer)
        if not self.calls:
            raise UsageError(
                "only statistics of this trace were kept, no map can be computed. Give it more memory (max_memory=), "
                "fewer or shorter rows."
            )
        return self.calls[place]

    def _place(self, layer: int | str) -> int:
        if isinstance(layer, str):
            if layer not in self.layers:
                raise UsageError(f"no layer is named {layer!r}; {did_you_mean(layer, self.layers)}")
            return self.layers.index(layer)
        return _index("layer", layer, len(self.layers), "the trace")

    def _one(self, layer: int | str, head: int, example: int) -> Call:
        call = self.call(layer)
        return call.part(
            _index("example", example, call.n_examples, call.layer),
            _index("head", head, call.n_heads, call.layer),
        )

    def n_heads(self, layer: int | str) -> int:
        """Query heads of a layer."""
        return (self.calls or self.reduced)[self._place(layer)].n_heads

    def map(self, layer: int | str, head: int, example: int) -> Floats:
        """One map (query, key), each row summing to one, proved against the output of the head.

        Raises:
            UsageError: there is no such layer, head or example.
            CaptureError: the map does not reproduce what the head gave.
        """
        call = self._one(layer, head, example)
        return _numpy(_whole(call)[0, 0])

    def row(self, layer: int | str, head: int, example: int, query: int) -> Floats:
        """What one query attends to: (key,), summing to one."""
        call = self._one(layer, head, example)
        at = _index("query", query, call.n_queries, call.layer)
        return _numpy(call.weights(slice(at, at + 1))[0, 0, 0])

    def maps(self, layer: int | str) -> Float[Tensor, "example head query key"]:
        """All maps of a layer, held whole: N x N numbers per example and head. Proved as `map` is."""
        return _whole(self.call(layer))

    def each(self) -> Iterator[tuple[str, Float[Tensor, "example head query key"]]]:
        """Layer by layer, its name and its maps, one layer held at a time."""
        for layer in self.layers:
            yield layer, self.maps(layer)

    def received(self, layer: int | str) -> Float[np.ndarray, "example head key"]:
        """Attention each key receives: the mean of its column over the queries that are no padding.

        In [0, 1]; sums to one over keys (to less where there are sinks). Which queries are padding is read
        from the mask, so that padded queries of cross-attention count.
        """
        call = self.call(layer)
        valid = call.valid()
        shape = (call.n_examples, call.n_heads, call.n_keys)
        total = torch.zeros(shape, dtype=torch.float64, device=float64_device(valid.device))
        for rows in call.blocks():
            counted = valid[:, None, rows, None]
            total += sum_in_float64(call.weights(rows).masked_fill(~counted, 0.0), 2)
        return _numpy(total / valid.sum(dim=1).clamp(min=1)[:, None, None].to(total.device))

    def entropy(self, layer: int | str) -> Float[np.ndarray, "example head query"]:
        """Entropy of each row in nats, from 0 to ln(keys); NaN for queries that are padding."""
        call = self.call(layer)
        parts = [-torch.special.xlogy(w, w).sum(dim=3) for w in map(call.weights, call.blocks())]
        return _numpy(torch.cat(parts, dim=2).masked_fill(~call.valid()[:, None, :], torch.nan))

    def statistic(self, name: str, layer: int | str | None = None) -> Floats:
        """A statistic of every map, never holding a whole one: "entropy" per query, or "received" per key.

        Returns:
            (example, layer, head, query or key), NaN where a layer is shorter than the longest; without the
            layer axis where one layer is named.

        Raises:
            UsageError: an unknown statistic, or layers that differ in their examples or heads (name one
            layer).
        """
        if name not in STATISTICS:
            raise UsageError(f"no statistic is named {name!r}; {did_you_mean(name, STATISTICS)}")
        compute = self.entropy if name == "entropy" else self.received
        if layer is not None:
            return compute(layer)
        self._alike()
        parts = [compute(i) for i in range(len(self.layers))]
        width = max(part.shape[2] for part in parts)
        padded = [
            np.pad(part, ((0, 0), (0, 0), (0, width - part.shape[2])), constant_values=np.nan)
            for part in parts
        ]
        return np.stack(padded, axis=1)

    def statistics(
        self,
        layer: int | str | None = None,
        *,
        classes: Mapping[str, Bool[np.ndarray, "example key"]] | None = None,
        top: int = 0,
        engine: Engine = "auto",
    ) -> tuple[Statistics, ...]:
        """Statistics of every map, or of one layer's, block by block: no map is held whole.

        Row entropy, largest weight, distance, attention received per key, shares on the first token, the token
        itself and its neighbours, and on classes of tokens. See `reductions.Statistics`.

        Args:
            layer: one layer; all of them where None.
            classes: name -> keys that belong to it. Where None, the classes that the tokens tell: special tokens
                and separators, in layers whose keys are the tokens.
            top: how many of the largest weights of each row are kept.
            engine: what computes them; see `reductions.reduce`.

        Raises:
            UsageError: see `reduce`; also where only statistics were kept and others are asked for.
        """
        places = range(len(self.layers)) if layer is None else [self._place(layer)]
        if not self.calls:
            if classes is not None or top:
                raise UsageError(
                    "only statistics of this trace were kept: ask for classes and top while tracing."
                )
            return tuple(self.reduced[place] for place in places)
        return tuple(
            reduce(
                self.calls[place],
                classes=self.classes(place) if classes is None else classes,
                top=top,
                engine=engine,
            )
            for place in places
        )

    def classes(
        self,
        layer: int | str,
        *,
        frequencies: Mapping[str, int] | None = None,
        features: Sequence[str] = (),
    ) -> dict[str, Bool[np.ndarray, "example key"]]:
        """Special tokens, separators, rare and named tokens among the keys of a layer.

        Empty where the tokens are not that layer's keys (cross-attention, pooled or shifted positions).

        Args:
            frequencies: token -> how often it was seen in a corpus: what is rare.
            features: tokens that each make a class of their own.
        """
        call = self.call(layer)
        names = self.decoder_tokens if self.decoder_tokens and DECODER.search(call.layer) else self.tokens
        if names is None or call.kind != "self" or call.n_queries != call.n_keys:
            return {}
        real = call.valid().cpu().numpy()
        if any(
            int(real[i].sum()) not in (len(row), call.n_keys) or len(row) > call.n_keys
            for i, row in enumerate(names)
        ):
            return {}
        left = [int(row.argmax()) for row in real]
        found = token_classes(
            names, call.n_keys, special=self.special, frequencies=frequencies, padded_left=left
        )
        return found | feature_classes(names, call.n_keys, features, left)

    def roles(self, statistics: Sequence[Statistics] | None = None) -> tuple[HeadRole, ...]:
        """What each head does, in words, where its statistics pass a stated threshold; see `head_roles.RULES`."""
        return roles(self.statistics() if statistics is None else statistics)

    def heads(self, statistics: Sequence[Statistics] | None = None) -> Any:
        """One line per head as a pandas DataFrame: mean statistics over queries (no padding), and roles."""
        import pandas as pd

        found = self.statistics() if statistics is None else tuple(statistics)
        return pd.DataFrame(
            [
                {
                    "layer": one.layer,
                    "head": one.head,
                    "entropy": one.entropy,
                    "distance": one.distance,
                    **one.shares,
                    "roles": ", ".join(one.roles),
                    "queries": one.n_queries,
                }
                for one in summaries(found)
            ]
        )

    def rollout(
        self,
        query: int | Sequence[int],
        *,
        layers: str | Sequence[int | str] | None = None,
        residual: float = 0.5,
        heads: Literal["mean", "max", "min"] = "mean",
    ) -> Float[np.ndarray, "example key"]:
        """One row of attention rollout: a baseline, no explanation. See `rollout.rollout`."""
        from .rollout import rollout

        return rollout(self, query=query, layers=layers, residual=residual, heads=heads)

    def relevance(
        self, query: int | Sequence[int], *, layers: str | Sequence[int | str] | None = None
    ) -> Float[np.ndarray, "example key"]:
        """Gradient-weighted attention that reaches one token, by input position. See `rollout.relevance`."""
        from .rollout import relevance

        return relevance(self, query=query, layers=layers)

    def cross_relevance(
        self,
        query: int | Sequence[int],
        *,
        encoder: str | Sequence[int | str] | None = None,
        decoder: str | Sequence[int | str] | None = None,
    ) -> "CrossRelevance":
        """`relevance` of one target token over target and source. See `rollout.cross_relevance`."""
        from .rollout import cross_relevance

        return cross_relevance(self, query=query, encoder=encoder, decoder=decoder)

    def save(self, folder: str | Path, *, force: bool = False) -> None:
        """Write the trace as safetensors and JSON, whole or not at all. See `trace_files.save_trace`."""
        from .trace_files import save_trace

        save_trace(self, folder, tokens=self.tokens, force=force)

    def certificate(self) -> dict[str, float]:
        """||A V - O|| / ||O|| per layer: how far the map, computed again, is from what the model used.

        Exact, over every query that may attend to something, where values were kept; as found while tracing
        (`sampled`) where they were not. About 1e-7 in float32, 3e-3 in bfloat16. Layers known only by the
        weights they return (`way` is "returned") have none.

        Raises:
            CaptureError: the values were not kept, and the trace was made without a certificate.
        """
        if self._certificate is None:
            errors: dict[str, float] = {}
            for call in self.calls:
                error = call.certificate()
                error = self.sampled.get(call.layer) if error is None else error
                if error is not None:
                    errors[call.layer] = error
                elif call.can_gate:
                    raise CaptureError(
                        "this trace kept no values, so nothing certifies it. Use keep_values=True, or "
                        "certify='sampled' while tracing."
                    )
            self._certificate = errors
        return dict(self._certificate)

    def certify(self) -> None:
        """Refuse the trace unless each layer's map reproduces the layer's output.

        Tolerances: 1e-9 in float64, 1e-4 in float32, 2e-2 in bfloat16 and float16.

        Raises:
            CaptureError: naming the layers that fail.
        """
        errors = self.certificate()
        failed = [call for call in self.calls if not errors.get(call.layer, 0.0) <= call.tolerance]
        if failed:
            raise not_reproduced(
                [call.layer for call in failed], errors[failed[0].layer], failed[0].tolerance
            )

    def contribution(self, layer: int | str) -> Float[np.ndarray, "example head query key"]:
        """A * dA, signed, in units of the target: dA = dO V^T is the target's gradient at the map.

        Its sum over queries and keys is <O, dO>, the first-order effect of scaling the head (Michel et al.
        2019).

        Raises:
            UsageError: the trace was made without gradients.
        """
        place = self._place(layer)
        call, gradient = self.calls[place], self._gradients()[place].to(self.calls[place].compute_dtype)
        value = call.repeated(_value(call).to(call.compute_dtype))
        parts = [
            call.weights(rows) * torch.matmul(gradient[:, :, rows], value.transpose(2, 3))
            for rows in call.blocks()
        ]
        return _numpy(torch.cat(parts, dim=2))

    def head_contribution(self) -> Float[np.ndarray, "example layer head"]:
        """<O, dO> of every head: the sum of its `contribution`, without computing a map.

        Raises:
            UsageError: the trace was made without gradients, or layers differ in their examples or heads.
        """
        self._alike()
        outputs = [call.output for call in self.calls]
        parts = [
            (in_float64(output) * in_float64(gradient)).sum(dim=(2, 3))
            for output, gradient in zip(outputs, self._gradients(), strict=True)
            if output is not None
        ]
        return _numpy(torch.stack(parts, dim=1))

    def _gradients(self) -> tuple[Tensor, ...]:
        if self.gradients is None:
            raise UsageError("this trace has no gradients. Make it with attention_gradient(run, module).")
        return self.gradients

    def _alike(self) -> None:
        shapes = {(call.n_examples, call.n_heads) for call in self.calls}
        if len(shapes) != 1:
            raise UsageError(f"layers differ in (examples, heads): {sorted(shapes)}. Name one layer.")

    def summary(self) -> Any:
        """One line per call as a pandas DataFrame; `entropy` is a mean over queries (no padding), in nats."""
        import pandas as pd

        if not self.calls:
            return pd.DataFrame(
                [
                    {
                        "layer": one.layer,
                        "kind": one.kind,
                        "examples": one.n_examples,
                        "heads": one.n_heads,
                        "queries": one.n_queries,
                        "keys": one.n_keys,
                        "entropy": _mean(one.entropy),
                        "certificate": self.sampled.get(one.layer),
                    }
                    for one in self.reduced
                ]
            )
        kept = all(call.value is not None for call in self.calls if call.can_gate)
        errors = self.certificate() if kept else self.sampled
        return pd.DataFrame(
            [
                {
                    "layer": call.layer,
                    "kind": call.kind,
                    "way": call.way,
                    "examples": call.n_examples,
                    "heads": call.n_heads,
                    "key_heads": call.n_key_heads,
                    "queries": call.n_queries,
                    "keys": call.n_keys,
                    "dtype": str(call.dtype).removeprefix("torch."),
                    "entropy": _mean(self.entropy(call.layer)),
                    "certificate": errors.get(call.layer),
                }
                for call in self.calls
            ]
        )

    def __len__(self) -> int:
        return len(self.layers)

    def __repr__(self) -> str:
        some = self.calls or self.reduced
        heads = sorted({one.n_heads for one in some})
        notes = [
            f"{self.kinds.count('cross')} of them cross",
            f"heads {heads}",
            f"{some[0].n_examples} examples",
            *(["with gradients"] if self.gradients is not None else []),
            *(["statistics only"] if not self.calls else []),
            *([f"not seen: {first(self.unseen)}"] if self.unseen else []),
        ]
        return f"Trace({len(self)} attention calls, {', '.join(notes)})"


def _whole(call: Call) -> Tensor:
    """The maps of a call, proved where its output was kept."""
    maps = torch.cat([call.weights(rows) for rows in call.blocks()], dim=2)
    if call.value is not None and call.output is not None:
        seen = call.output.to(maps.dtype)
        live = call.live(slice(0, call.n_queries))[..., None]
        again = torch.matmul(maps, call.repeated(call.value.to(maps.dtype)))
        size = float(in_float64(seen.masked_fill(~live, 0.0)).norm())
        error = float(in_float64((again - seen).masked_fill(~live, 0.0)).norm())
        if not error <= call.tolerance * size:
            raise not_reproduced([call.layer], error / size if size else float("inf"), call.tolerance)
    return maps


def _value(call: Call) -> Tensor:
    if call.value is None:
        raise UsageError(f"{call.layer}: the values were not kept. Use keep_values=True.")
    return call.value


def _index(axis: str, at: int, size: int, where: str) -> int:
    if not -size <= at < size:
        raise UsageError(
            f"{axis} {at} does not exist: {where} has {size}, so 0 to {size - 1} (or from the end, -1)."
        )
    return at % size


def _numpy(tensor: Tensor) -> Floats:
    return tensor.detach().cpu().numpy()


def _mean(values: Floats) -> float:
    counted = values[~np.isnan(values)]
    return float(counted.mean()) if counted.size else float("nan")
