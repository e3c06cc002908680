"""What transformers' registry of attention functions hands out, observed while a tap is open."""

import inspect
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, wraps
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import CaptureError, first
from .observer import Asked, Layout, active, begin, dropout_error, muted

# What transformers' attention functions are handed: first what `_asked` uses, then what leaves attention as
# it is. Any other argument that is not None has its call proved on the spot.
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

_lock = threading.Lock()
_installed: dict[str, Any] = {"count": 0}


@contextmanager
def observed_registry() -> Iterator[None]:
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
    try:
        yield
    finally:
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
    if not active() or getattr(function, "_seen_by_tap", False):
        return function

    @wraps(function)
    def attend(
        module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any
    ) -> Any:
        places = [
            (tap, tap.names[id(module)]) for tap in active() if id(module) in tap.names and tap.listening
        ]
        if not places:
            return function(module, query, key, value, *args, **kwargs)
        mask = args[0] if args else kwargs.get("attention_mask")
        named = {key_: item for key_, item in kwargs.items() if key_ != "attention_mask"}
        named |= dict(zip(_extra_names(function), args[1:], strict=False))
        asked = _asked(places[0][1], module, name or "eager", query, key, value, mask, named)
        seen = begin(asked, places)
        if seen.asked is not asked:
            cut = seen.asked.mask
            if cut is not None and "sdpa" not in (name or "eager") and cut.dtype == torch.bool:
                cut = torch.zeros_like(cut, dtype=query.dtype).masked_fill(~cut, torch.finfo(query.dtype).min)
            args, kwargs = (), {**named, "attention_mask": cut}
        with muted():
            result = function(module, query, key, value, *args, **kwargs)
        layout = _layout(result[0], query, value)
        output = seen.finish(result[0], layout)
        return result if output is result[0] else (output, *result[1:])

    attend._seen_by_tap = True  # type: ignore[attr-defined]
    return attend


@lru_cache(maxsize=64)
def _extra_names(function: Any) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)[5:]


def _asked(
    where: str,
    module: nn.Module,
    name: str,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Any,
    named: dict[str, Any],
) -> Asked:
    """What transformers asked of its attention function, in the words of a `Call`."""
    dropout = named.get("dropout") or 0.0
    if dropout > 0 and (name != "eager" or module.training):
        raise dropout_error(where, dropout)
    if not (mask is None or isinstance(mask, Tensor)) or named.get("cache") is not None:
        raise CaptureError(
            f"{where}: attention {name!r} was given a {type(mask).__name__} as mask or a paged cache, which cannot be "
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
    return Asked(
        way="interface",
        query=query,
        key=key,
        value=value,
        mask=mask,
        scale=query.shape[-1] ** -0.5 if scale is None else float(scale),
        causal=causal,
        causal_offset=n_keys - n_queries if flash else 0,
        window=named.get("sliding_window") if flash else None,
        softcap=named.get("softcap"),
        sinks=None if name == "sdpa" else named.get("s_aux"),
        position_bias=named.get("position_bias"),
        prove=first(unknown) if unknown else "",
        rounded=torch.float32
        if "eager" in name
        else None,  # transformers' eager functions take it in float32
        fixed_mask=flash,
    )


def _layout(output: Tensor, query: Tensor, value: Tensor) -> Layout:
    """From the layout an attention function of transformers returned to (example, head, query, width)."""
    n_heads, n_queries, width, shape = query.shape[1], query.shape[2], value.shape[3], output.shape
    if output.dim() == 4 and output.shape[1:3] != (n_queries, n_heads):
        return Layout(lambda tensor: tensor, lambda tensor: tensor)
    return Layout(
        lambda tensor: tensor.reshape(-1, n_queries, n_heads, width).transpose(1, 2),
        lambda tensor: tensor.transpose(1, 2).reshape(shape),
    )
