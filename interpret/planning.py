"""A plan that says beforehand what of a trace fits into memory: whole maps, queries and keys, or statistics."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ..errors import UsageError, did_you_mean
from . import calls as call_blocks
from .calls import Call
from .keeping import BORROWED, Keep, Keeper, memory, own_shape, place_of, size

Choice = Literal["maps", "queries and keys", "statistics"]
CHOICES: tuple[Choice, ...] = get_args(Choice)  # the most that can be kept comes first

WORKING_BLOCKS = 10  # pieces of BLOCK_BYTES alive at once while a map is reduced
STATISTIC_BYTES = 96  # of all statistics of a head, per query and per key


@dataclass(frozen=True, slots=True, kw_only=True)
class CallShape:
    """The sizes of one call: what a plan is made from."""

    layer: str
    examples: int
    heads: int
    key_heads: int
    queries: int
    keys: int
    width: int  # of a query; 0 where only the map is seen
    value_width: int
    itemsize: int = 4  # bytes of a number
    extras: tuple[tuple[tuple[int, int, int, int], int], ...] = ()  # shape and itemsize of mask, bias, sinks

    @classmethod
    def of(cls, call: Call) -> "CallShape":
        """The sizes of a call that was seen, extras left out."""
        width = 0 if call.query is None else call.query.shape[3]
        inner = call.value if call.value is not None else call.output
        return cls(
            layer=call.layer,
            examples=call.n_examples,
            heads=call.n_heads,
            key_heads=call.n_key_heads if width or call.value is None else call.value.shape[1],
            queries=call.n_queries,
            keys=call.n_keys,
            width=width,
            value_width=width if inner is None else inner.shape[3],
            itemsize=call.dtype.itemsize,
        )

    def stretched(
        self, *, examples: int | None = None, queries: int | None = None, keys: int | None = None
    ) -> "CallShape":
        """The same call for other inputs: a plan for long texts from one look at a short one."""
        new = (examples or self.examples, self.heads, queries or self.queries, keys or self.keys)
        extras = tuple(
            ((e if e == 1 else new[0], h, q if q == 1 else new[2], k if k == 1 else new[3]), itemsize)
            for (e, h, q, k), itemsize in self.extras
        )
        return dataclasses.replace(self, examples=new[0], queries=new[2], keys=new[3], extras=extras)

    def n_bytes(
        self,
        choice: Choice,
        keep: Keep,
        *,
        gradients: bool = False,
        statistic_bytes: int = STATISTIC_BYTES,
    ) -> int:
        """Bytes kept of the call."""
        if choice == "statistics":
            return self.examples * self.heads * (self.queries + self.keys) * statistic_bytes
        number = self._itemsize(keep, self.itemsize)
        map_number = self._itemsize(keep, 8 if self.itemsize == 8 else 4 if self.width else self.itemsize)
        out = self.heads * self.queries * self.value_width
        value_heads = self.heads if choice == "maps" and self.width else self.key_heads
        kept = value_heads * self.keys * self.value_width * number if keep.values else 0
        kept += out * number if keep.outputs else 0
        kept += out * self.itemsize if gradients else 0
        if choice == "maps" or not self.width:
            kept += self.heads * self.queries * self.keys * map_number
        else:
            kept += (self.heads * self.queries + self.key_heads * self.keys) * self.width * number
        borrowed = sum(math.prod(shape) * each for shape, each in self.extras)
        return self.examples * kept + (0 if choice == "maps" and self.width else borrowed)

    @staticmethod
    def _itemsize(keep: Keep, itemsize: int) -> int:
        return itemsize if keep.dtype is None else min(itemsize, keep.dtype.itemsize)

    @property
    def working_bytes(self) -> int:
        """Bytes needed meanwhile to reduce or fill a map block by block."""
        row = self.examples * self.heads * self.keys * (8 if self.itemsize == 8 else 4)
        return WORKING_BLOCKS * min(row * self.queries, max(row, call_blocks.BLOCK_BYTES))


def shapes(calls: Sequence[Call]) -> tuple[CallShape, ...]:
    """The sizes of calls; a mask that several share is counted with the first."""
    seen: set[tuple[Any, ...]] = set()
    found = []
    for call in calls:
        extras = []
        for name in BORROWED:
            part: Tensor | None = getattr(call, name)
            if part is None or place_of(part) in seen:
                continue
            seen.add(place_of(part))
            own = own_shape(part)
            shape = (1, own[0], 1, 1) if part.dim() == 1 else (own[0], own[1], own[2], own[3])
            extras.append((shape, part.element_size()))
        found.append(dataclasses.replace(CallShape.of(call), extras=tuple(extras)))
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What of a trace fits into `max_memory`: the most that does, of what was allowed."""

    choice: Choice
    max_memory: int
    kept: Mapping[Choice, int]  # bytes kept in the end, of each choice
    working: int  # bytes needed besides, while a map is computed block by block
    n_calls: int
    largest: CallShape
    keep: Keep
    allow: tuple[Choice, ...]
    cheaper: Mapping[str, int]  # queries and keys kept in other ways: bytes

    def needs(self, choice: Choice) -> int:
        """The least `max_memory` with which a choice fits."""
        return self.kept[choice] + self.working

    def keeper(self, *, reduce: Callable[[Call], Any] | None = None) -> Keeper:
        """The listener that does what was planned, and refuses a call that was not in the plan.

        Raises:
            UsageError: statistics were chosen, and nothing computes them.
        """
        if self.choice == "statistics":
            if reduce is None:
                raise UsageError(
                    f"only statistics fit into {size(self.max_memory)}: give reduce=.\n{self.explain()}"
                )
            return Keeper(reduce=reduce)
        maps: Literal["given", "full"] = "full" if self.choice == "maps" else "given"
        limit = self.max_memory - self.working
        return Keeper(dataclasses.replace(self.keep, maps=maps), reduce=reduce, max_memory=limit)

    def explain(self) -> str:
        """The bytes of each choice, which was made, and by which figures."""
        shape = self.largest
        meaning = {
            "maps": "every map whole",
            "queries and keys": "queries and keys, maps on demand",
            "statistics": "statistics only, each call reduced at once",
        }
        lines = [
            f"{self.n_calls} attention calls; the largest is {shape.layer}: {shape.examples} examples, {shape.heads} "
            f"heads ({shape.key_heads} of keys), {shape.queries} queries by {shape.keys} keys, width {shape.width}, "
            f"{shape.itemsize} bytes a number.",
            f"max_memory is {size(self.max_memory)}. Each choice needs, with {size(self.working)} to work with "
            f"({WORKING_BLOCKS} blocks of a map; the model's own memory is not counted):",
        ]
        for choice in CHOICES:
            fits = self.needs(choice) <= self.max_memory
            said = "does not fit" if not fits else "chosen" if choice == self.choice else "fits"
            said += "" if choice in self.allow else ", not allowed"
            lines.append(f"  {meaning[choice]:<44}{size(self.needs(choice)):>10}  {said}")
        cheaper = "; ".join(f"{how} {size(n)}" for how, n in self.cheaper.items())
        lines.append(f"Queries and keys kept in another way: {cheaper}.")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"Plan({self.choice!r}: {size(self.needs(self.choice))} of {size(self.max_memory)})"


def plan(
    calls: Sequence[CallShape] | Sequence[Call],
    max_memory: int | str,
    *,
    n_calls: int | None = None,
    keep: Keep | None = None,
    allow: Sequence[Choice] = CHOICES,
    gradients: bool = False,
    statistic_bytes: int = STATISTIC_BYTES,
) -> Plan:
    """What to keep of a trace so that it fits: every map, queries and keys, or statistics.

    Args:
        calls: all calls or the first of them, seen or as shapes (see `shapes` and `CallShape.stretched`).
        max_memory: bytes, or a text as "2 GB" or "512 MiB".
        n_calls: how many calls there will be, where these are the first. The others are counted like the
            largest of these and are taken to share its mask; `Plan.keeper` refuses what turns out larger.
        keep: the number type and the parts wanted.
        allow: the choices to choose from. Name one to have it or an error.
        gradients: whether dO is kept of each call too. (The graph of the forward pass is not counted.)
        statistic_bytes: kept by the reducer for each head, per query and per key.

    Raises:
        UsageError: no allowed choice fits; the message names the least `max_memory` that works. Also where
            there is no call, or `n_calls` is less than the calls handed in.
    """
    limit, keep = memory(max_memory), Keep() if keep is None else keep
    seen = [call for call in calls if isinstance(call, CallShape)]
    seen = seen or list(shapes([call for call in calls if isinstance(call, Call)]))
    n = len(seen) if n_calls is None else n_calls
    if not seen or n < len(seen):
        raise UsageError(
            f"{len(seen)} calls were handed in and n_calls is {n_calls}; expected one call or more."
        )
    unknown = [choice for choice in allow if choice not in CHOICES]
    if unknown or not allow:
        raise UsageError(f"allow is {tuple(allow)!r}; {did_you_mean(''.join(unknown[:1]), CHOICES)}")
    largest = max(seen, key=lambda shape: shape.n_bytes("maps", Keep()))
    others = [dataclasses.replace(largest, extras=())] * (n - len(seen))

    def total(choice: Choice, how: Keep) -> int:
        return sum(
            shape.n_bytes(choice, how, gradients=gradients, statistic_bytes=statistic_bytes)
            for shape in (*seen, *others)
        )

    kept: dict[Choice, int] = {choice: total(choice, keep) for choice in CHOICES}
    working = max(shape.working_bytes for shape in seen)
    fitting = [choice for choice in CHOICES if choice in allow and kept[choice] + working <= limit]
    half = dataclasses.replace(keep, dtype=torch.bfloat16)
    cheaper = {
        "without values and outputs": dataclasses.replace(keep, values=False, outputs=False),
        "in bfloat16": half,
        "both": dataclasses.replace(half, values=False, outputs=False),
    }
    made = Plan(
        choice=fitting[0] if fitting else allow[0],
        max_memory=limit,
        kept=kept,
        working=working,
        n_calls=n,
        largest=largest,
        keep=keep,
        allow=tuple(allow),
        cheaper={how: total("queries and keys", kept_so) + working for how, kept_so in cheaper.items()},
    )
    if not fitting:
        least = min(allow, key=lambda choice: kept[choice])
        raise UsageError(
            f"max_memory is {size(limit)}, too little for {' or '.join(repr(c) for c in allow)}. The least that works "
            f"is max_memory={made.needs(least)} ({size(made.needs(least))}), for {least!r}; {size(working)} of it are "
            "blocks of a map. It shrinks with fewer examples, shorter inputs, or what is said last here.\n"
            f"{made.explain()}"
        )
    return made
