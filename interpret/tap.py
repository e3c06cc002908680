"""Sees every attention call of a PyTorch model while a block of code runs, and changes nothing."""

import inspect
import re
import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ..errors import CaptureError, first
from .calls import Call, Kind, Shaper, Way, unchanged

Listener = Callable[[Call], None]

SOFTMAXES = frozenset({F.softmax, torch.softmax, Tensor.softmax})
ATTENTION_CLASS = re.compile(r"attention|attn", re.IGNORECASE)
NO_SOURCE = re.compile(r"mask|bias|pos|rot|cos|sin|alibi|cache|past|resid|object_queries", re.IGNORECASE)
CACHED = re.compile(r"past|cache", re.IGNORECASE)
# What transformers' attention functions are handed: first what `_interface_call` uses, then what leaves
# attention as it is. Any other argument that is not None has its call proved on the spot.
USED = {"dropout", "scaling", "is_causal", "sliding_window", "softcap", "s_aux", "position_bias"}
IDLE = {
    "output_attentions",
    "output_hidden_states",
    "use_cache",
    "return_dict",
    "position_ids",
    "cache_position",
    "deterministic",
}


@dataclass(slots=True)
class _Frame:
    """One module whose forward is running."""

    name: str
    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def arguments(self) -> dict[str, Any]:
        names = tuple(inspect.signature(type(self.module).forward).parameters)[1:]
        positional = zip(names, self.args, strict=False)
        return {**dict(positional), **self.kwargs}


class _Tap:
    """The state of one `tap`: who is running, what was seen, what could not be."""

    def __init__(self, module: nn.Module, listener: Listener, gradients: bool) -> None:
        self.module, self.listener, self.gradients = module, listener, gradients
        self.thread = threading.get_ident()
        self.names = {
            id(part): name.replace("_orig_mod.", "").removesuffix("_orig_mod").strip(".")
            or type(part).__name__
            for name, part in module.named_modules()
        }
        self.stack: list[_Frame] = []
        self.counts: dict[str, int] = {}
        self.by_hand: list[str] = []
        self.muted = 0
        self.ran = False

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if threading.get_ident() == self.thread:
            self.ran = True
            self.stack.append(_Frame(self.names[id(module)], module, args, kwargs))

    def leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if threading.get_ident() == self.thread and self.stack:
            self.stack.pop()

    @property
    def listening(self) -> bool:
        """False outside the model, inside a call seen already, and while a checkpoint is recomputed."""
        return bool(self.stack) and not self.muted and torch._C._current_graph_task_id() == -1

    @property
    def where(self) -> str:
        return self.stack[-1].name

    def kind(self, query: Tensor, key: Tensor) -> Kind:
        """Cross where the running module was given a second sequence that is not its first."""
        for frame in reversed(self.stack):
            given = {
                name: value
                for name, value in frame.arguments().items()
                if isinstance(value, Tensor) and value.is_floating_point() and value.dim() == 3
            }
            sources = [value for name, value in given.items() if not NO_SOURCE.search(name)]
            if {"query", "key"} <= given.keys():
                sources = [given["query"], given["key"]]
            if sources:
                if any(not _same(sources[0], other) for other in sources[1:]):
                    return "cross"
                break
        cached = any(
            value is not None and CACHED.search(name)
            for frame in self.stack
            for name, value in frame.arguments().items()
        )
        return "self" if query.shape[2] == key.shape[2] or cached else "cross"

    def report(self, **seen: Any) -> None:
        """Hand one call to the listener; what is computed meanwhile is no part of the model."""
        with torch._C.DisableTorchFunction():
            self._report(**seen)

    def _report(
        self,
        *,
        where: str,
        way: Way,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        source: Tensor,
        shaper: Shaper,
        prove: str = "",
        mask: Tensor | None = None,
        **rest: Any,
    ) -> None:
        """Four axes, whatever the model used, and proof where an argument is not known."""
        if self.gradients:
            if not torch.is_grad_enabled() or torch.is_inference_mode_enabled():
                raise CaptureError(
                    f"{where}: attention ran with gradients off, so that its gradient is unknown. Run the "
                    "model without "
                    "torch.no_grad, inference_mode or reentrant checkpointing (use_reentrant=False)."
                )
            if not source.requires_grad:
                source.requires_grad_()
        n_axes = query.dim()
        if n_axes not in (2, 3, 4) or key.dim() != n_axes or value.dim() != n_axes:
            raise CaptureError(
                f"{where}: queries, keys and values have {query.dim()}, {key.dim()} and {value.dim()} axes; "
                "expected "
                "(example, head, position, width). Flatten further axes into the first one."
            )
        out = shaper(source)
        q, k, v, out = (_four_axes(part.detach()) for part in (query, key, value, out))
        n = max(q.shape[0], k.shape[0], v.shape[0])
        q, k, v = (part.expand(n, -1, -1, -1) for part in (q, k, v))
        if q.shape[1] % k.shape[1] or out.shape != (*q.shape[:3], v.shape[3]):
            raise CaptureError(
                f"{where}: queries {tuple(q.shape)} and keys {tuple(k.shape)} gave an output of "
                f"{tuple(out.shape)}; "
                f"expected {(*q.shape[:3], v.shape[3])}. This call cannot be read as attention."
            )
        if mask is not None:
            mask = mask.detach()
            mask = mask[:, None] if n_axes == 3 and mask.dim() == 3 else mask
            mask = mask[(None,) * (4 - mask.dim())]
            mask = mask[..., : k.shape[2]] if mask.shape[3] > 1 else mask
        self.counts[where] = self.counts.get(where, 0) + 1
        call = Call(
            layer=where if self.counts[where] == 1 else f"{where}#{self.counts[where]}",
            kind=self.kind(q, k),
            way=way,
            query=_kept(q),
            key=_kept(k),
            value=_kept(v),
            output=_kept(out),
            mask=mask,
            source=source if self.gradients else None,
            shaper=(lambda t: _four_axes(shaper(t))) if self.gradients else unchanged,
            versions=tuple(None if t.is_inference() else t._version for t in (q, k, v, out)),
            **rest,
        )
        if prove and not (call.certificate() or 0.0) <= call.tolerance:
            raise CaptureError(
                f"{call.layer}: the attention function was given {prove}, which changes attention in a way "
                "this "
                "version cannot recompute. Load the model with attn_implementation='sdpa', or leave the "
                "argument out."
            )
        self.listener(call)

    def close(self) -> None:
        """Refuse what would otherwise be missing without a word."""
        name = type(self.module).__name__
        if self.by_hand:
            raise CaptureError(
                f"{name}: {first(self.by_hand)} compute(s) attention by hand (a softmax), which cannot be "
                "captured yet. "
                "Let it call torch.nn.functional.scaled_dot_product_attention, or load a transformers model "
                "with "
                "attn_implementation='sdpa' or 'eager' where its class offers them."
            )
        if self.ran and not self.counts:
            raise CaptureError(
                f"{name} ran, but no attention call was seen. Either (a) it has no attention, (b) it calls "
                "a kernel by "
                "name (flash-attn, xformers) or a softmax of its own, (c) it runs compiled code, "
                "TorchScript or another "
                "thread. Call torch.nn.functional.scaled_dot_product_attention or "
                "torch.nn.MultiheadAttention in it, load a "
                "transformers model with attn_implementation='sdpa', and hand in the module as it was "
                "before compiling."
            )


class _Mode(TorchFunctionMode):
    """Sees the torch functions called on this thread."""

    def __init__(self, state: _Tap) -> None:
        super().__init__()
        self.state = state

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        state = self.state
        if func is F.scaled_dot_product_attention and state.listening:
            return _fused(state, "sdpa", args, kwargs)
        if func is F.multi_head_attention_forward and state.listening:
            return _multi_head(state, args, kwargs)
        if func in SOFTMAXES and state.listening:
            _note_softmax(state, args, kwargs)
        return func(*args, **kwargs)


_FUSED = inspect.Signature(
    [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default)
        for name, default in [
            *((name, inspect.Parameter.empty) for name in ("query", "key", "value")),
            ("attn_mask", None),
            ("dropout_p", 0.0),
            ("is_causal", False),
            ("scale", None),
            ("enable_gqa", False),
        ]
    ]
)


def _fused(state: _Tap, way: Way, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Torch's fused call: causal is aligned with the upper left corner, a boolean mask is True where open."""
    given = _FUSED.bind(*args, **kwargs)
    given.apply_defaults()
    asked = given.arguments
    where = state.where
    if asked["dropout_p"] > 0:
        raise _dropout(where, asked["dropout_p"])
    output: Tensor = F.scaled_dot_product_attention(*args, **kwargs)
    query = asked["query"]
    state.report(
        where=where,
        way=way,
        query=query,
        key=asked["key"],
        value=asked["value"],
        source=output,
        shaper=unchanged,
        mask=asked["attn_mask"],
        causal=bool(asked["is_causal"]),
        scale=query.shape[-1] ** -0.5 if asked["scale"] is None else float(asked["scale"]),
    )
    return output


def _multi_head(state: _Tap, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run the body of torch's multi-head attention with its two ways to attend observed.

    Called from inside the mode, the original would hide its fused call, and called with the mode on it would
    come back here for ever. Its code is therefore run over a copy of its globals.
    """
    original = F.multi_head_attention_forward
    given = inspect.signature(original).bind(*args, **kwargs)
    given.apply_defaults()
    asked = given.arguments
    where = state.where
    if asked["training"] and asked["dropout_p"] > 0:
        raise _dropout(where, asked["dropout_p"])
    n_heads = asked["num_heads"]
    scores: list[tuple[Tensor, Tensor, Tensor | None]] = []

    def heads(flat: Tensor) -> Tensor:
        return flat.reshape(-1, n_heads, *flat.shape[1:])

    def baddbmm(mask: Tensor, query: Tensor, key: Tensor) -> Tensor:
        scores.append((query, key, mask))
        return torch.baddbmm(mask, query, key)

    def bmm(left: Tensor, right: Tensor) -> Tensor:
        if not scores:
            scores.append((left, right, None))
            return torch.bmm(left, right)
        output = torch.bmm(left, right)
        query, key, mask = scores[0]
        state.report(
            where=where,
            way="multi-head",
            query=heads(query),
            key=heads(key.transpose(1, 2)),
            value=heads(right),
            source=output,
            shaper=heads,
            mask=None if mask is None else (heads(mask) if mask.shape[0] > 1 else mask[None]),
            scale=1.0,  # the body has scaled the queries already
        )
        return output

    class Torch:
        """The module torch, with the two products observed."""

        def __getattr__(self, name: str) -> Any:
            return {"bmm": bmm, "baddbmm": baddbmm}.get(name) or getattr(torch, name)

    def fused(*inner: Any, **named: Any) -> Tensor:
        return _fused(state, "multi-head", inner, named)

    names = {
        **vars(F),
        "has_torch_function": lambda _: False,
        "scaled_dot_product_attention": fused,
        "torch": Torch(),
    }
    body = types.FunctionType(original.__code__, names, original.__name__, original.__defaults__)
    body.__kwdefaults__ = original.__kwdefaults__
    return body(*args, **kwargs)


def _note_softmax(state: _Tap, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Remember a module that takes a softmax over (…, query, key) itself."""
    scores = args[0] if args else kwargs.get("input")
    dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
    over_keys = isinstance(scores, Tensor) and scores.dim() >= 3 and dim in (-1, scores.dim() - 1)
    if over_keys and any(ATTENTION_CLASS.search(type(frame.module).__name__) for frame in state.stack[-2:]):
        label = f"{state.where} ({type(state.stack[-1].module).__name__})"
        if label not in state.by_hand:
            state.by_hand.append(label)


_lock = threading.Lock()
_installed: dict[str, Any] = {"count": 0}
_local = threading.local()


def _active() -> list[_Tap]:
    """The taps open on this thread, outermost first."""
    if not hasattr(_local, "taps"):
        _local.taps = []
    taps: list[_Tap] = _local.taps
    return taps


@contextmanager
def _interface(state: _Tap) -> Iterator[None]:
    """Wrap what transformers' registry of attention functions hands out, while any tap is open."""
    modeling = sys.modules.get("transformers.modeling_utils")
    if modeling is None:
        yield
        return
    registry = modeling.AttentionInterface
    with _lock:
        if _installed["count"] == 0:
            _install(registry)
        _installed["count"] += 1
    _active().append(state)
    try:
        yield
    finally:
        _active().remove(state)
        with _lock:
            _installed["count"] -= 1
            if _installed["count"] == 0:
                _uninstall(registry)


def _install(registry: Any) -> None:
    get_interface, get_item = registry.get_interface, registry.__getitem__

    def seen_interface(self: Any, attn_implementation: str, default: Any) -> Any:
        return _observed(get_interface(self, attn_implementation, default), attn_implementation)

    def seen_item(self: Any, key: str) -> Any:
        return _observed(get_item(self, key), key)

    _installed["own_item"] = "__getitem__" in vars(registry)
    _installed["before"] = (get_interface, get_item)
    _installed["after"] = (seen_interface, seen_item)
    registry.get_interface, registry.__getitem__ = seen_interface, seen_item


def _uninstall(registry: Any) -> None:
    """Put back what was there, unless somebody has wrapped ours meanwhile (which passes all through)."""
    (get_interface, get_item), (seen_interface, seen_item) = _installed["before"], _installed["after"]
    if registry.get_interface is seen_interface:
        registry.get_interface = get_interface
    if registry.__getitem__ is seen_item:
        if _installed["own_item"]:
            registry.__getitem__ = get_item
        else:
            del registry.__getitem__


def _observed(function: Any, name: str | None) -> Any:
    """The attention function, telling this thread's taps of each call; itself where there are none."""
    if not _active() or getattr(function, "_seen_by_tap", False):
        return function

    @wraps(function)
    def attend(
        module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any
    ) -> Any:
        listening = [tap for tap in _active() if id(module) in tap.names and tap.listening]
        if not listening:
            return function(module, query, key, value, *args, **kwargs)
        mask = args[0] if args else kwargs.get("attention_mask")
        named = {key_: item for key_, item in kwargs.items() if key_ != "attention_mask"}
        named |= dict(zip(_extra_names(function), args[1:], strict=False))
        asked = _asked(listening[0].names[id(module)], module, name or "eager", query, key, mask, named)
        for tap in listening:
            tap.muted += 1
        try:
            result = function(module, query, key, value, *args, **kwargs)
        finally:
            for tap in listening:
                tap.muted -= 1
        for tap in listening:
            tap.report(
                where=tap.names[id(module)],
                way="interface",
                query=query,
                key=key,
                value=value,
                source=result[0],
                shaper=_shaper(result[0], query, value),
                **asked,
            )
        return result

    attend._seen_by_tap = True  # type: ignore[attr-defined]
    return attend


def _extra_names(function: Any) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)[5:]


def _asked(
    where: str, module: nn.Module, name: str, query: Tensor, key: Tensor, mask: Any, named: dict[str, Any]
) -> dict[str, Any]:
    """What transformers asked of its attention function, in the words of a `Call`."""
    dropout = named.get("dropout") or 0.0
    if dropout > 0 and (name != "eager" or module.training):
        raise _dropout(where, dropout)
    if not (mask is None or isinstance(mask, Tensor)) or named.get("cache") is not None:
        raise CaptureError(
            f"{where}: attention {name!r} was given a {type(mask).__name__} as mask or a paged cache, which "
            "cannot be "
            "read yet. Load the model with attn_implementation='sdpa'."
        )
    flash = not ("sdpa" in name or "eager" in name)
    n_queries, n_keys = query.shape[2], key.shape[2]
    causal = False
    if name != "eager" and n_queries > 1 and (mask is None or flash):
        stated = named.get("is_causal")
        causal = bool(getattr(module, "is_causal", True) if stated is None else stated)
    if mask is not None and flash and mask.dim() == 2:
        mask = mask.bool()[:, None, None, :]
    scale = named.get("scaling")
    unknown = [key_ for key_, item in named.items() if item is not None and key_ not in USED | IDLE]
    return {
        "mask": mask,
        "scale": query.shape[-1] ** -0.5 if scale is None else float(scale),
        "causal": causal,
        "causal_offset": n_keys - n_queries if flash else 0,
        "window": named.get("sliding_window") if flash else None,
        "softcap": named.get("softcap"),
        "sinks": None if name == "sdpa" or named.get("s_aux") is None else named["s_aux"].detach(),
        "position_bias": None if named.get("position_bias") is None else named["position_bias"].detach(),
        "prove": first(unknown) if unknown else "",
    }


def _shaper(output: Tensor, query: Tensor, value: Tensor) -> Shaper:
    """From the layout an attention function of transformers returned to (example, head, query, width)."""
    n_heads, n_queries = query.shape[1], query.shape[2]
    if output.dim() == 4 and output.shape[1:3] != (n_queries, n_heads):
        return unchanged
    return lambda tensor: tensor.reshape(-1, n_queries, n_heads, value.shape[3]).transpose(1, 2)


def _four_axes(tensor: Tensor) -> Tensor:
    return tensor if tensor.dim() == 4 else tensor[:, None] if tensor.dim() == 3 else tensor[None, None]


def _kept(tensor: Tensor) -> Tensor:
    """The tensor itself; a copy where torch would not tell that it was written over."""
    return tensor.clone() if tensor.is_inference() else tensor


def _same(one: Tensor, other: Tensor) -> bool:
    return one is other or (one.shape == other.shape and one.data_ptr() == other.data_ptr())


def _dropout(where: str, rate: float) -> CaptureError:
    return CaptureError(
        f"{where}: attention dropout is on (rate {rate:g}), so that a map would differ from run to run and "
        "from the "
        "output. Call .eval() on the model first."
    )


@contextmanager
def tap(module: nn.Module, listener: Listener, *, gradients: bool = False) -> Iterator[None]:
    """Hand every attention call that `module` makes in the body, on this thread, to `listener`.

    Three ways in, one kind of event, nothing reported twice: what transformers' attention registry hands
    out, the body of torch's multi-head attention, and torch's fused scaled_dot_product_attention. The model
    computes what it would have computed, bit for bit; only torch's inference-time fused encoder layer is
    left for the ordinary one (equal on tokens that are no padding). Calls are named after the module they
    are made in, "name#2" from the second call of a module on. Calls repeated by gradient checkpointing
    during backward are not reported. A compiled module runs its original code while the tap is open. Taps
    may be nested; other models and threads pass through.

    Args:
        module: the model, or the part of it, to listen to.
        listener: called once per attention call, in order, right after it.
        gradients: keep each output attached to the graph (`Call.source`), for its gradient.

    Raises:
        CaptureError: at the call: dropout is on, or an argument changes attention in a way that is not
            understood. At the end of the body: the module ran but no attention call was seen, or one of its
            modules computes attention by hand.
    """
    state = _Tap(module, listener, gradients)
    with ExitStack() as stack:
        if any(
            hasattr(part, "_orig_mod") or part._compiled_call_impl is not None for part in module.modules()
        ):
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        for part in module.modules():
            stack.callback(part.register_forward_pre_hook(state.enter, with_kwargs=True, prepend=True).remove)
            stack.callback(part.register_forward_hook(state.leave, always_call=True).remove)
        stack.enter_context(_interface(state))
        stack.enter_context(_Mode(state))
        yield
    state.close()
