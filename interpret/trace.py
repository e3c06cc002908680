"""Attention maps computed on demand from the queries and keys that were kept, with their certificate."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import CaptureError, UsageError, did_you_mean, first
from ..records import Floats
from .calls import Call
from .tap import tap

STATISTICS = ("entropy", "received")
SAMPLED_QUERIES = 32  # certified in each call while tracing


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
    ) -> None:
        self.calls = tuple(calls)
        self.layers: tuple[str, ...] = tuple(call.layer for call in self.calls)
        self.kinds: tuple[str, ...] = tuple(call.kind for call in self.calls)
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
        return self.calls[self._place(layer)]

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
        return self.call(layer).n_heads

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
        total = torch.zeros(
            call.n_examples, call.n_heads, call.n_keys, dtype=torch.float64, device=valid.device
        )
        for rows in call.blocks():
            counted = valid[:, None, rows, None]
            total += call.weights(rows).masked_fill(~counted, 0.0).sum(dim=2, dtype=torch.float64)
        return _numpy(total / valid.sum(dim=1).clamp(min=1)[:, None, None])

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
            raise _not_reproduced(
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
            (output.double() * gradient.double()).sum(dim=(2, 3))
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
        return len(self.calls)

    def __repr__(self) -> str:
        n_cross = self.kinds.count("cross")
        heads = sorted({call.n_heads for call in self.calls})
        return (
            f"Trace({len(self)} attention calls, {n_cross} of them cross, heads {heads}, "
            f"{self.calls[0].n_examples} examples{', with gradients' if self.gradients is not None else ''})"
        )


def trace(
    run: Callable[[], Any],
    module: nn.Module,
    *,
    keep_values: bool = True,
    certify: Literal["sampled", "exact"] | None = "sampled",
    seed: int = 0,
    unseen: Literal["refuse", "list"] = "refuse",
) -> Trace:
    """Run `run()` once and keep the queries, keys, mask and scale of each attention call of `module` in it.

    Args:
        run: calls the model in any way; what it returns is `Trace.output`.
        module: the model whose attention calls are wanted.
        keep_values: keep values and outputs too, which the exact certificate needs.
        certify: prove each call as it is seen, on 32 queries drawn with `seed` or on all; None proves nothing
            until a map is asked for.
        unseen: see `tap`.

    Raises:
        CaptureError: see `tap`; also where `run` did not run the module, wrote over what was kept, or a call's
            map does not reproduce its output.
    """
    return _listen(
        run, module, gradients=False, certify=certify, seed=seed, unseen=unseen, keep_values=keep_values
    )


def attention_gradient(run: Callable[[], Tensor], module: nn.Module) -> Trace:
    """A trace that also knows dO, the gradient of a target at every attention output, from one backward pass.

    Parameters need no gradient and keep theirs: nothing is accumulated. dO is zero where the target does not
    depend on a call.

    Args:
        run: returns the target, one number per example, (example,).
        module: the model whose attention calls are wanted.

    Raises:
        CaptureError: see `tap`; also where the model ran without gradients or the target does not depend on
        attention.
    """
    with torch.enable_grad():
        seen = _listen(run, module, gradients=True)
    calls, target = seen.calls, seen.output
    if not isinstance(target, Tensor) or target.dim() != 1 or not target.is_floating_point():
        got = tuple(target.shape) if isinstance(target, Tensor) else type(target).__name__
        raise CaptureError(f"the target is {got}; expected one number per example, a tensor (example,).")
    if not target.requires_grad:
        raise CaptureError(
            "the target has no gradient. Run the model without no_grad, detach or NumPy on the way."
        )
    sources = [call.source for call in calls if call.source is not None]
    found: tuple[Tensor | None, ...] = torch.autograd.grad(target.sum(), sources, allow_unused=True)
    if all(gradient is None for gradient in found):
        raise CaptureError(
            "the target does not depend on any attention output; nothing carries a gradient back."
        )
    gradients = [
        call.shaper(torch.zeros_like(source) if gradient is None else gradient).detach()
        for call, source, gradient in zip(calls, sources, found, strict=True)
    ]
    return Trace(
        [dataclasses.replace(call, source=None) for call in calls],
        output=target.detach(),
        gradients=gradients,
        sampled=seen.sampled,
    )


def _listen(
    run: Callable[[], Any],
    module: nn.Module,
    *,
    gradients: bool,
    certify: Literal["sampled", "exact"] | None = "sampled",
    seed: int = 0,
    unseen: Literal["refuse", "list"] = "refuse",
    keep_values: bool = True,
) -> Trace:
    if certify not in ("sampled", "exact", None):
        raise UsageError(f"certify is {certify!r}; expected 'sampled', 'exact' or None.")
    calls: list[Call] = []
    errors: dict[str, float] = {}

    def keep(call: Call) -> None:
        if certify is not None:
            error = call.certificate(
                sample=SAMPLED_QUERIES if certify == "sampled" else None, seed=seed + len(calls)
            )
            if error is not None:
                errors[call.layer] = error
                if not error <= call.tolerance:
                    raise _not_reproduced([call.layer], error, call.tolerance)
        calls.append(call if keep_values else dataclasses.replace(call, value=None, output=None, versions=()))

    with tap(module, keep, gradients=gradients, unseen=unseen) as state:
        output = run()
    if not calls:
        raise CaptureError(
            f"the run made no call of {type(module).__name__}. Hand in the module that it runs, not a copy of it."
        )
    overwritten = [call.layer for call in calls if call.changed_in_place()]
    if overwritten:
        raise CaptureError(
            f"{first(overwritten)}: queries, keys, values or output were changed in place after the call (a static "
            "cache does so), so that what was kept is no longer what was used. Trace one forward pass, without a cache."
        )
    return Trace(calls, output=output, sampled=errors, unseen=state.unseen)


def _whole(call: Call) -> Tensor:
    """The maps of a call, proved where its output was kept."""
    maps = torch.cat([call.weights(rows) for rows in call.blocks()], dim=2)
    if call.value is not None and call.output is not None:
        seen = call.output.to(maps.dtype)
        live = call.live(slice(0, call.n_queries))[..., None]
        again = torch.matmul(maps, call.repeated(call.value.to(maps.dtype)))
        size = float(seen.masked_fill(~live, 0.0).double().norm())
        error = float((again - seen).masked_fill(~live, 0.0).double().norm())
        if not error <= call.tolerance * size:
            raise _not_reproduced([call.layer], error / size if size else float("inf"), call.tolerance)
    return maps


def _not_reproduced(layers: Sequence[str], error: float, tolerance: float) -> CaptureError:
    return CaptureError(
        f"{first(layers)}: the attention map does not reproduce the layer's output: ||A V - O|| / ||O|| is "
        f"{error:.2g}, at most {tolerance:.0e} is expected. Either (a) the model changes attention in a way that is not "
        "understood (mask, bias, scale), or (b) its output is not finite. Maps of this layer would be wrong; load the "
        "model with attn_implementation='eager' and compare."
    )


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
