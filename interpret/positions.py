"""Where the queries and keys of a call stand: padding, how many keys are open, and who is whose neighbour."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from .calls import Call, may_attend


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Positions:
    """Padding and positions of one call, found without a query x key block where the mask allows it.

    `valid` is `Call.valid()`. A key is seen where any query of the example may attend to it, in any head: the
    keys that are no padding, as far as the mask tells.
    """

    n_allowed: Int[Tensor, "example head query"]  # keys each query may attend to
    seen: Bool[Tensor, "example key"]
    valid: Bool[Tensor, "example query"]
    shift: int | None  # query i stands at key position i + shift; None where they share no positions

    @classmethod
    def of(cls, call: Call) -> "Positions":
        """Read the positions of a call from its mask, its causal rule and its window."""
        n_allowed, seen = _reach(call)
        alive = (n_allowed > 0).any(dim=1).expand(call.n_examples, -1)
        seen = seen.expand(call.n_examples, -1)
        return cls(
            n_allowed=n_allowed.expand(call.n_examples, call.n_heads, -1),
            seen=seen,
            valid=alive & seen if call.kind == "self" and call.n_queries == call.n_keys else alive,
            shift=_shift(call),
        )

    @property
    def first_key(self) -> Int[Tensor, " example"]:
        """The first key of each example that is no padding; 0 where all are."""
        return self.seen.byte().argmax(dim=1)


def ranges(call: Call) -> tuple[Int[Tensor, " query"], Int[Tensor, " query"]]:
    """From which key on, and up to before which, the causal rule and the window let each query attend."""
    last = torch.arange(call.n_queries, device=call.device) + call.causal_offset
    start, stop = torch.zeros_like(last), torch.full_like(last, call.n_keys)
    if call.window is not None:
        start = (last - call.window + 1).clamp(0, call.n_keys)
    if call.causal:
        stop = (last + 1).clamp(0, call.n_keys)
    elif call.window is not None:
        stop = (last + call.window).clamp(0, call.n_keys)
    return start, torch.maximum(start, stop)


def open_keys(call: Call) -> Bool[Tensor, "#example #head key"] | None:
    """The keys that the masks leave open to every query alike; None where a mask tells queries apart."""
    result = torch.ones(1, 1, call.n_keys, dtype=torch.bool, device=call.device)
    for extra in (call.mask, call.position_bias):
        if extra is not None:
            if not same_for_all_queries(extra):
                return None
            result = result & may_attend(extra[:, :, 0])
    return result


def same_for_all_queries(extra: Tensor) -> bool:
    """Whether a 4-D mask or bias has one row that serves all queries."""
    return extra.shape[2] == 1 or extra.stride(2) == 0


def _reach(call: Call) -> tuple[Int[Tensor, "#example #head query"], Bool[Tensor, "#example key"]]:
    keys = None if call.given is not None else open_keys(call)
    if keys is None:
        return _reach_by_blocks(call)
    if call.window is None and not call.causal:
        n_open = keys.sum(dim=2, keepdim=True)
        return n_open.expand(-1, -1, call.n_queries), keys.any(dim=1) & (call.n_queries > 0)
    start, stop = ranges(call)
    before = torch.nn.functional.pad(keys.cumsum(dim=2), (1, 0))
    # A key is reached where a range that is not empty covers it: one step up at its start, one down at its end.
    steps = torch.zeros(call.n_keys + 1, dtype=torch.long, device=call.device)
    one = torch.ones_like(start)
    steps.index_add_(0, start, one).index_add_(0, stop, -one)
    return before[:, :, stop] - before[:, :, start], keys.any(dim=1) & (steps.cumsum(0)[:-1] > 0)


def _reach_by_blocks(call: Call) -> tuple[Int[Tensor, "#example #head query"], Bool[Tensor, "#example key"]]:
    n_allowed, seen = [], torch.zeros(1, call.n_keys, dtype=torch.bool, device=call.device)
    for queries in call.blocks():
        allowed = call.allowed(queries)
        n_allowed.append(allowed.sum(dim=3))
        seen = seen | allowed.any(dim=1).any(dim=1)
    if not n_allowed:
        return torch.zeros(1, 1, 0, dtype=torch.long, device=call.device), seen
    return torch.cat(n_allowed, dim=2), seen


def _shift(call: Call) -> int | None:
    if call.kind == "cross":
        return None
    if call.causal:
        return call.causal_offset
    if call.n_queries == call.n_keys or call.n_queries == 0:
        return 0
    allowed = call.allowed(slice(call.n_queries - 1, call.n_queries)).any(dim=1).any(dim=0)[0]
    places = allowed.nonzero()
    last = int(places[-1]) if len(places) else call.n_keys - 1
    return last - (call.n_queries - 1)
