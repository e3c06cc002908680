"""Attention that torch itself computes: its fused call, and the body of its multi-head attention."""

import inspect
import types
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .calls import Way
from .observer import Asked, Layout, Observer, begin, dropout_error, four_axes

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
_MULTI_HEAD = inspect.signature(F.multi_head_attention_forward)


def fused(taps: list[Observer], way: Way, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Torch's fused call: causal is aligned with the upper left corner, a boolean mask is True where open."""
    given = _FUSED.bind(*args, **kwargs)
    given.apply_defaults()
    wanted = given.arguments
    if wanted["dropout_p"] > 0:
        raise dropout_error(taps[-1].where, wanted["dropout_p"])
    query = wanted["query"]
    asked = Asked(
        way=way,
        query=query,
        key=wanted["key"],
        value=wanted["value"],
        mask=wanted["attn_mask"],
        causal=bool(wanted["is_causal"]),
        scale=query.shape[-1] ** -0.5 if wanted["scale"] is None else float(wanted["scale"]),
    )
    seen = begin(asked, [(tap, tap.where) for tap in taps])
    if seen.asked is asked:
        output: Tensor = F.scaled_dot_product_attention(*args, **kwargs)
    else:
        wanted["attn_mask"], wanted["is_causal"] = seen.asked.mask, False
        output = F.scaled_dot_product_attention(**wanted)
    return seen.finish(output, Layout(four_axes, lambda t: t.reshape(output.shape)))


def multi_head(taps: list[Observer], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run the body of torch's multi-head attention with its two ways to attend observed.

    Called from inside the mode, the original would hide its fused call, and called with the mode on it would
    come back here for ever. Its code is therefore run over a copy of its globals.
    """
    original = F.multi_head_attention_forward
    given = _MULTI_HEAD.bind(*args, **kwargs)
    given.apply_defaults()
    wanted = given.arguments
    if wanted["training"] and wanted["dropout_p"] > 0:
        raise dropout_error(taps[-1].where, wanted["dropout_p"])
    explicit = _Explicit(taps, wanted["num_heads"])

    class Torch:
        """The module torch, with the two products observed."""

        def __getattr__(self, name: str) -> Any:
            return {"bmm": explicit.bmm, "baddbmm": explicit.baddbmm}.get(name) or getattr(torch, name)

    names = {
        **vars(F),
        "has_torch_function": lambda _: False,
        "scaled_dot_product_attention": lambda *inner, **named: fused(taps, "multi-head", inner, named),
        "softmax": explicit.softmax,
        "torch": Torch(),
    }
    body = types.FunctionType(original.__code__, names, original.__name__, original.__defaults__)
    body.__kwdefaults__ = original.__kwdefaults__
    return body(*args, **kwargs)


class _Explicit:
    """The body's way to attend where weights are asked for: product, softmax, product, on (example x head)."""

    def __init__(self, taps: list[Observer], n_heads: int) -> None:
        self.taps, self.n_heads = taps, n_heads
        self.scores: tuple[Tensor, Tensor, Tensor | None] | None = None
        self.mask: Tensor | None = None
        self.softened: Tensor | None = None

    def heads(self, flat: Tensor) -> Tensor:
        return flat.reshape(-1, self.n_heads, *flat.shape[1:])

    def baddbmm(self, mask: Tensor, query: Tensor, key: Tensor) -> Tensor:
        self.scores = query, key, mask
        return torch.baddbmm(mask, query, key)

    def softmax(self, scores: Tensor, dim: int) -> Tensor:
        """The softmax, after the edges are cut that an editor wants cut."""
        query, key, mask = self._scores()
        self.mask = None if mask is None else (self.heads(mask) if mask.shape[0] > 1 else mask[None])
        asked = self._asked(query, key, query)
        cut = begin(asked, [(tap, tap.where) for tap in self.taps]).asked
        if cut is not asked and cut.mask is not None:
            self.mask = cut.mask
            mask = cut.mask if cut.mask.is_floating_point() else _additive(cut.mask, scores.dtype)
            shape = (scores.shape[0] // self.n_heads, self.n_heads, *scores.shape[1:])
            scores = torch.baddbmm(mask.expand(shape).reshape(scores.shape), query, key)
        self.softened = F.softmax(scores, dim=dim)
        return self.softened

    def bmm(self, left: Tensor, right: Tensor) -> Tensor:
        if self.softened is None:
            self.scores = left, right, None
            return torch.bmm(left, right)
        query, key, _ = self._scores()
        asked = self._asked(query, key, right)
        output = torch.bmm(left, right)
        seen = begin(asked, [(tap, tap.where) for tap in self.taps])
        return seen.finish(output, Layout(self.heads, lambda t: t.reshape(output.shape)))

    def _scores(self) -> tuple[Tensor, Tensor, Tensor | None]:
        if self.scores is None:
            raise RuntimeError("torch's multi-head attention took a softmax before any product")
        return self.scores

    def _asked(self, query: Tensor, key: Tensor, value: Tensor) -> Asked:
        return Asked(
            way="multi-head",
            query=self.heads(query),
            key=self.heads(key.transpose(1, 2)),
            value=self.heads(value) if value is not query else self.heads(key.transpose(1, 2)),
            mask=self.mask,
            scale=1.0,  # the body has scaled the queries already
        )


def _additive(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros_like(allowed, dtype=dtype).masked_fill(~allowed, torch.finfo(dtype).min)
