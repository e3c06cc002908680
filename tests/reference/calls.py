"""Attention calls of every kind, made up of random numbers for tests of what is computed from a call."""

import math
from typing import Any

import numpy as np
import torch
from hypothesis import strategies
from torch import Tensor

from clinometer.interpret.calls import Call


def make_call(
    *,
    n_examples: int = 2,
    n_heads: int = 4,
    key_heads: int = 2,
    n_queries: int = 7,
    n_keys: int | None = None,
    width: int = 8,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    sharpness: float = 2.0,
    left: int = 0,
    right: int = 0,
    mask: str = "keys",
    sinks: bool = False,
    bias: bool = False,
    **rest: Any,
) -> Call:
    """A call whose last example has `left` and `right` padded positions, told by a mask of some shape and type.

    Args:
        mask: "none", "keys" (boolean, one row for all queries), "full" (boolean, a row each), "additive"
            (one row, -inf), "full additive" (finite numbers too, forbidden pairs at the type's minimum).
    """
    n_keys = n_queries if n_keys is None else n_keys
    random = torch.Generator().manual_seed(seed)

    def numbers(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    open_ = torch.ones(n_examples, 1, 1, n_keys, dtype=torch.bool)
    open_[-1, :, :, :left] = False
    open_[-1, :, :, n_keys - right :] = False
    made: Tensor | None = None
    if mask == "keys":
        made = open_
    elif mask == "full":
        made = open_.expand(-1, 1, n_queries, -1) & (numbers(n_examples, 1, n_queries, n_keys) > -1)
    elif mask == "additive":
        made = torch.zeros(open_.shape, dtype=dtype).masked_fill(~open_, -math.inf)
    elif mask == "full additive":
        made = numbers(n_examples, 1, n_queries, n_keys).to(dtype).masked_fill(~open_, torch.finfo(dtype).min)
    call: dict[str, Any] = {
        "layer": "layer",
        "kind": "self",
        "way": "sdpa",
        "query": (numbers(n_examples, n_queries, n_heads, width) * sharpness).to(dtype).transpose(1, 2),
        "key": numbers(n_examples, n_keys, key_heads, width).to(dtype).transpose(1, 2),
        "value": None,
        "output": None,
        "scale": width**-0.5,
        "mask": made,
        "sinks": numbers(n_heads).to(dtype) if sinks else None,
        "position_bias": numbers(1, n_heads, n_queries, n_keys).to(dtype) if bias else None,
    }
    return Call(**{**call, **rest})


def random_classes(call: Call, seed: int = 0) -> dict[str, np.ndarray]:
    """Two classes of keys, one empty in the first example."""
    random = np.random.default_rng(seed)
    some = random.random((call.n_examples, call.n_keys)) < 0.3
    rare = random.random((call.n_examples, call.n_keys)) < 0.1
    rare[0] = False
    return {"some": some, "rare": rare}


def drawn_call(draw: Any, dtype: torch.dtype, longest: int) -> tuple[Call, int | None]:
    """A call of any shape and rule, and where its first query stands."""
    n = draw(strategies.integers(1, longest))
    kind = draw(strategies.sampled_from(["self", "self", "cache", "cross"]))
    n_keys = n if kind == "self" else draw(strategies.integers(1, longest)) + (n if kind == "cache" else 0)
    causal = kind != "cross" and draw(strategies.booleans())
    left = draw(strategies.integers(0, n_keys - 1))
    mask = draw(strategies.sampled_from(["none", "keys", "full", "additive", "full additive"]))
    right = draw(strategies.integers(0, n_keys - 1 - left)) if kind != "cache" else 0
    key_heads = draw(strategies.integers(1, 2))
    made = make_call(
        n_examples=draw(strategies.integers(1, 2)),
        key_heads=key_heads,
        n_heads=key_heads * draw(strategies.integers(1, 2)),
        n_queries=n,
        n_keys=n_keys,
        width=draw(strategies.integers(1, 9)),
        dtype=dtype,
        seed=draw(strategies.integers(0, 99)),
        sharpness=draw(strategies.sampled_from([0.0, 1.0, 8.0])),
        left=left,
        right=right,
        mask=mask,
        kind="cross" if kind == "cross" else "self",
        causal=causal,
        causal_offset=n_keys - n if causal else 0,
        window=draw(strategies.one_of(strategies.none(), strategies.integers(1, longest))),
        softcap=draw(strategies.sampled_from([None, 2.0])),
        sinks=draw(strategies.booleans()),
        bias=draw(strategies.booleans()) and mask not in ("additive", "full additive"),
    )
    if kind == "cross":
        return made, None
    if causal:
        return made, n_keys - n
    if n == n_keys:
        return made, 0
    open_ = made.allowed(slice(n - 1, n)).any(dim=1).any(dim=0)[0].nonzero()
    return made, (int(open_[-1]) if len(open_) else n_keys - 1) - (n - 1)
