"""Tokens followed through a run of a model, function by function, and what is left of each tensor without them."""

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from . import arguments
from . import function_kinds as kinds
from .arguments import INPUT, Args, Named, Step

# How surely a tensor is a factor, and not what it is multiplied with; 0 where it is none.
SCALE, WEIGHTS, SIGMOID, GATE = 4, 3, 2, 1


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What is known of a tensor that depends on the tokens."""

    rest: Tensor | None  # the tensor without the tokens
    rank: int  # how surely it is a factor
    root: int  # tensors of one root come from one tensor, element by element


class Following(TorchFunctionMode):
    """Follows what depends on the tokens through torch's functions on this thread, and runs rules in their place.

    Constants, other threads and other models pass through. A tensor's `rest` is what the model makes of its constants
    alone (bias terms, positions, types) with every factor (attention, scales, slopes, gates) as it is when the tokens
    are there. It is computed forward, beside the model: each function is run again on the rests of its arguments.

    Args:
        rules: function -> what is run instead of it where an argument is followed.
        rest: whether rests are computed.
    """

    def __init__(self, rules: Mapping[Any, Callable[["Following", Step], Any]], *, rest: bool) -> None:
        super().__init__()
        self.rules, self.with_rest = rules, rest
        self.parts: Any = WeakIdKeyDictionary()  # tensor -> Part, as long as the tensor lives
        self.numbers = itertools.count()
        self.thread = threading.get_ident()
        self.muted = 0
        self.curved: dict[str, None] = {}  # functions a gradient passed that no rule makes linear

    def start(self, embedded: Tensor) -> Tensor:
        """The tokens' embeddings, followed from here on. Their rest is zero."""
        made = embedded.clone()
        self.note(made, torch.zeros_like(embedded.detach()) if self.with_rest else None)
        return made

    def rest(self, tensor: Tensor) -> Tensor:
        """What is left of a tensor without the tokens: itself, where it does not depend on them."""
        part = self.parts.get(tensor)
        made: Tensor = tensor if part is None or part.rest is None else part.rest
        return made.detach()

    def forget(self) -> None:
        """Let go of all that is known of tensors."""
        self.parts = WeakIdKeyDictionary()

    def __torch_function__(self, func: Any, types: Any, args: Args = (), kwargs: Named | None = None) -> Any:
        named = kwargs or {}
        if self.muted or not torch.is_grad_enabled() or func in kinds.BESIDE:
            return func(*args, **named)
        places = [place for place, item in arguments.items(args, named) if item in self.parts]
        function = kinds.same(func)
        if function in kinds.LENDING:
            places = [place for place in places if place in INPUT]
        if not places:
            return func(*args, **named)
        step = Step(call=func, function=function, args=args, kwargs=named, places=places)
        rule = self.rules.get(function)
        return self.plain(step) if rule is None else rule(self, step)

    def plain(self, step: Step) -> Any:
        """The function of the arguments; as its rest, the function of their rests."""
        if not step.places:
            return step.run()
        written = step.args[0] if step.args and kinds.in_place(step.call) else step.kwargs.get("out")
        twin = self._twin(written) if isinstance(written, Tensor) else None
        known = [self.parts[step.at(place)] for place in step.places]
        result = step.run()
        made = arguments.tensors(written if result is None else result)
        if not any(tensor.requires_grad for tensor in made):
            return result
        rests: Sequence[Tensor | None] = [None] * len(made)
        if self.with_rest:
            swapped = partial(self._swapped, written=written, twin=twin)
            with torch.no_grad(), torch._C.DisableTorchFunction():
                given, named = arguments.mapped(step.args, swapped), arguments.mapped(step.kwargs, swapped)
                again = step.call(*given, **named)
            rests = arguments.tensors(again if twin is None else twin)
        rank, root = self.rank(step, known), self._root(step, known)
        for tensor, rest in zip(made, rests, strict=True):
            if tensor.requires_grad:
                self.note(tensor, rest, rank, root)
        return self.watched(step, result) if step.function in kinds.CURVED and rank < WEIGHTS else result

    def note(self, tensor: Tensor, rest: Tensor | None, rank: int = 0, root: int | None = None) -> None:
        """Follow a tensor from here on."""
        self.parts[tensor] = Part(rest, rank, next(self.numbers) if root is None else root)

    def like(self, tensor: Tensor, other: Tensor) -> Tensor:
        """A tensor, from here on followed as another one is."""
        part = self.parts[other]
        self.note(tensor, part.rest, part.rank, part.root)
        return tensor

    def ranked(self, result: Any, rank: int) -> Any:
        """A function's result, which is a factor at least as surely as the rank says."""
        for tensor in arguments.tensors(result):
            part = self.parts.get(tensor)
            if part is not None:
                self.note(tensor, part.rest, max(rank, part.rank), part.root)
        return result

    def rank(self, step: Step, known: Sequence[Part]) -> int:
        """How surely a function of factors gives a factor."""
        lowest = min(part.rank for part in known)
        carried = step.function in kinds.CARRYING and (len(known) == 1 or step.function in kinds.DIVISIONS)
        return lowest if lowest >= WEIGHTS or carried else 0

    def written(self, target: Tensor, made: Tensor) -> Tensor:
        """A function's result, written into a tensor."""
        twin, part = self._twin(target), self.parts[made]
        target.copy_(made)
        if twin is not None:
            twin.copy_(part.rest)
        self.note(target, twin, part.rank, part.root)
        return target

    def watched(self, step: Step, result: Any) -> Any:
        """The result of a function that no rule makes linear: its name is kept should a gradient come back through it."""
        name = str(getattr(step.call, "__name__", step.call)).strip("_")
        for tensor in arguments.tensors(result):
            if tensor.requires_grad:
                tensor.register_hook(lambda _: self.curved.setdefault(name))  # type: ignore[no-untyped-call]
        return result

    def _root(self, step: Step, known: Sequence[Part]) -> int | None:
        roots = {part.root for part in known}
        return roots.pop() if step.function in kinds.ELEMENTWISE and len(roots) == 1 else None

    def _swapped(self, tensor: Tensor, *, written: Any, twin: Tensor | None) -> Tensor:
        if tensor is written and twin is not None:
            return twin
        return self.rest(tensor) if tensor in self.parts else tensor

    def _twin(self, written: Tensor) -> Tensor | None:
        """The rest of a tensor about to be written into. Where it is a part of a constant, the whole is followed."""
        if written in self.parts:
            return self.parts[written].rest  # type: ignore[no-any-return]
        base = written._base
        if base is None:
            return written.detach().clone() if self.with_rest else None
        if base not in self.parts:
            self.note(base, base.detach().clone() if self.with_rest else None)
        whole: Tensor | None = self.parts[base].rest
        if whole is None:
            return None
        offset = written.storage_offset() - base.storage_offset()
        return whole.as_strided(written.shape, written.stride(), offset)
