"""The modules whose forward is running, and what their arguments tell of an attention call."""

import inspect
import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from torch import Tensor, nn

from .calls import Kind

NO_SOURCE = re.compile(r"mask|bias|pos|rot|cos|sin|alibi|cache|past|resid|object_queries", re.IGNORECASE)
QUERY = re.compile(r"^(query|q)(_|$)", re.IGNORECASE)
KEY = re.compile(r"^(key|k)(_(?!value|padding)|$)", re.IGNORECASE)
CACHED = re.compile(r"past|cache", re.IGNORECASE)
N_HEADS = ("num_heads", "num_attention_heads", "n_heads", "n_head", "nhead", "heads")


@dataclass(slots=True)
class Frame:
    """One module whose forward is running."""

    name: str
    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    n_seen: int  # calls seen, and modules found unseen, when it began
    n_unseen: int

    def arguments(self) -> dict[str, Any]:
        """What its forward was given, by name."""
        return {
            **dict(zip(_parameters(cast(Hashable, type(self.module))), self.args, strict=False)),
            **self.kwargs,
        }


@lru_cache(maxsize=512)
def _parameters(kind: Any) -> tuple[str, ...]:
    return tuple(inspect.signature(kind.forward).parameters)[1:]


def kind_of(stack: Sequence[Frame], n_queries: int, n_keys: int) -> Kind:
    """Cross where queries and keys come from two sequences, as far as the running modules' arguments tell.

    The innermost module that was given sequences decides: by its query and key, where it has arguments of these
    names; else by a second sequence, as long as the keys, that is not its first; else by its only sequence, which
    is the queries' (self) or, where it is as long as the keys alone, the keys' (cross, with learned queries).
    """
    for frame in reversed(stack):
        given = _sequences(frame)
        query = next((value for name, value in given.items() if QUERY.search(name)), None)
        key = next((value for name, value in given.items() if KEY.search(name)), None)
        if query is not None and key is not None:
            return "self" if _same(query, key) else "cross"
        sources = [value for name, value in given.items() if not NO_SOURCE.search(name)]
        if len(sources) > 1 and any(
            not _same(sources[0], other) and n_keys in other.shape[:2] for other in sources[1:]
        ):
            return "cross"
        if sources:
            lengths = sources[0].shape[:2]
            return "cross" if n_keys in lengths and n_queries not in lengths else "self"
    cached = any(
        value is not None and CACHED.search(name)
        for frame in stack
        for name, value in frame.arguments().items()
    )
    return "self" if n_queries == n_keys or cached else "cross"


def lengths(stack: Sequence[Frame]) -> set[int]:
    """How long the sequences (example, token, width) are that the innermost running modules were given."""
    return {value.shape[1] for frame in stack[-3:] for value in _sequences(frame).values()}


def _sequences(frame: Frame) -> dict[str, Tensor]:
    return {
        name: value
        for name, value in frame.arguments().items()
        if isinstance(value, Tensor) and value.is_floating_point() and value.dim() == 3
    }


def stated_heads(stack: Sequence[Frame]) -> set[int]:
    """The numbers of heads that the innermost running modules, or their configurations, say they have."""
    holders = [
        holder for frame in stack[-3:] for holder in (frame.module, getattr(frame.module, "config", None))
    ]
    found = {getattr(holder, name, None) for holder in holders for name in N_HEADS}
    return {n for n in found if isinstance(n, int) and not isinstance(n, bool) and n > 0}


def _same(one: Tensor, other: Tensor) -> bool:
    return one is other or (one.shape == other.shape and one.data_ptr() == other.data_ptr())
