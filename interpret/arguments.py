"""One call of one of torch's functions, and the tensors among its arguments, each at its place."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

Place = tuple[str | int, ...]  # ("args", 0), ("args", 1, 0) in a list, ("kwargs", "other")
Args = tuple[Any, ...]
Named = dict[str, Any]

# Where arguments lie that a rule asks for.
INPUT: frozenset[Place] = frozenset({("args", 0), ("kwargs", "input"), ("kwargs", "self")})
SECOND: frozenset[Place] = frozenset({("args", 1), ("kwargs", "other")})
VALUES: frozenset[Place] = frozenset({("args", 2), ("kwargs", "value")})
BIAS: frozenset[Place] = frozenset({("args", 2), ("kwargs", "bias")})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """One function of torch on arguments of which some, at `places`, are followed."""

    call: Callable[..., Any]  # what was called
    function: Any  # the function itself; of an operator's overload, the operator
    args: Args
    kwargs: Named
    places: Sequence[Place]

    def run(self) -> Any:
        """What the function returns."""
        return self.call(*self.args, **self.kwargs)

    def at(self, place: Place) -> Tensor:
        """The tensor at a place."""
        found: Any = self.args if place[0] == "args" else self.kwargs
        for key in place[1:]:
            found = found[key]
        return found  # type: ignore[no-any-return]

    def argument(self, name: str, place: int) -> Any:
        """An argument by name or place; None where it was not given."""
        return argument(name, self.args, self.kwargs, place)

    @property
    def only(self) -> Tensor | None:
        """The input, where it alone is followed."""
        return self.at(self.places[0]) if len(self.places) == 1 and self.places[0] in INPUT else None

    def replaced(self, new: Mapping[Place, Tensor], *, constant: bool = False) -> "Step":
        """The step with other tensors at some places, which are followed unless they are constant."""

        def changed(item: Any, place: Place) -> Any:
            if place in new:
                return new[place]
            if type(item) in (list, tuple):
                return type(item)(changed(inner, (*place, i)) for i, inner in enumerate(item))
            return item

        return dataclasses.replace(
            self,
            args=tuple(changed(item, ("args", i)) for i, item in enumerate(self.args)),
            kwargs={key: changed(item, ("kwargs", key)) for key, item in self.kwargs.items()},
            places=[place for place in self.places if not (constant and place in new)],
        )

    def calling(self, function: Callable[..., Any]) -> "Step":
        """The step with another function of the same arguments."""
        return dataclasses.replace(self, call=function, function=function)


def items(args: Args, kwargs: Named) -> Iterator[tuple[Place, Tensor]]:
    """Every tensor among arguments, with its place."""
    for start, given in (("args", enumerate(args)), ("kwargs", kwargs.items())):
        for key, item in given:
            if isinstance(item, Tensor):
                yield (start, key), item
            elif isinstance(item, (list, tuple)):
                for i, inner in enumerate(item):
                    if isinstance(inner, Tensor):
                        yield (start, key, i), inner


def mapped(item: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Arguments, or one of them, with every tensor changed."""
    if isinstance(item, Tensor):
        return change(item)
    if type(item) in (list, tuple):
        return type(item)(mapped(inner, change) for inner in item)
    if type(item) is dict:
        return {key: mapped(inner, change) for key, inner in item.items()}
    return item


def tensors(result: Any) -> list[Tensor]:
    """The tensors that a function returned, in order."""
    if isinstance(result, Tensor):
        return [result]
    if isinstance(result, (list, tuple)):
        return [tensor for item in result for tensor in tensors(item)]
    return []


def argument(name: str, args: Args, kwargs: Named, place: int) -> Any:
    """An argument by name or place; None where it was not given."""
    return kwargs[name] if name in kwargs else (args[place] if len(args) > place else None)
