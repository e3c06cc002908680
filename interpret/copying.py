"""A Subject over a copy of its model, whose weights can change without touching the user's."""

import copy
import dataclasses
import functools
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..records import Rows
from .float64 import in_float64
from .models import Subject


def copied(subject: Subject, rows: Rows) -> Subject:
    """The same Subject, with every one of its functions running a copy of its module.

    Functions that hold the module, a part of it, or one of its tensors (in a closure, as the object of a method, or
    as a default) are made anew with the copy in its place; all else is shared. On the first row the copy is then
    shown to be one: it scores as the original does, without running it, and its score moves with its own weights.

    Raises:
        ModelError: the copy is none, as where a function finds the module by a global name; or no weight has any
            effect on the score.
    """
    copies = _Copies(subject.module)
    made = copies.of(subject)
    _proved(subject, made, rows.take([0]))
    return made  # type: ignore[no-any-return]


class _Copies:
    """Copies of whatever leads to one module, each made once."""

    def __init__(self, module: nn.Module) -> None:
        self.parts: dict[int, Any] = {}  # deepcopy's own record: id of an original -> its copy
        copy.deepcopy(module, self.parts)
        self.made: dict[
            int, tuple[Any, Any]
        ] = {}  # id -> (original, kept so that its id stays its own; copy)

    def of(self, value: Any) -> Any:
        """The copy of a value, or the value itself where no module is behind it."""
        if id(value) in self.made:
            return self.made[id(value)][1]
        if isinstance(value, (nn.Module, Tensor)):
            return self._part(value)
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, types.MethodType):
            return types.MethodType(self.of(value.__func__), self.of(value.__self__))
        if isinstance(value, functools.partial):
            keywords = {name: self.of(item) for name, item in value.keywords.items()}
            return functools.partial(self.of(value.func), *(self.of(item) for item in value.args), **keywords)
        if isinstance(value, Subject):
            fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
            return self._kept(value, Subject(**{name: self.of(item) for name, item in fields.items()}))
        if type(value) in (list, tuple):
            return self._kept(value, type(value)(self.of(item) for item in value))
        if type(value) is dict:
            return self._kept(value, {key: self.of(item) for key, item in value.items()})
        return self._object(value)

    def _kept(self, value: Any, made: Any) -> Any:
        self.made[id(value)] = (value, made)
        return made

    def _part(self, value: Any) -> Any:
        if id(value) in self.parts:
            return self.parts[id(value)]
        return copy.deepcopy(value, self.parts) if isinstance(value, nn.Module) else value

    def _function(self, value: types.FunctionType) -> Any:
        if not value.__closure__ and not value.__defaults__ and not value.__kwdefaults__:
            return value
        cells = tuple(types.CellType() for _ in value.__closure__ or ())
        made = types.FunctionType(value.__code__, value.__globals__, value.__name__, None, cells or None)
        self._kept(value, made)
        functools.update_wrapper(made, value, updated=())
        made.__dict__.update({key: item for key, item in value.__dict__.items() if key != "__wrapped__"})
        made.__dict__.pop("__wrapped__", None)
        for new, old in zip(cells, value.__closure__ or (), strict=True):
            try:
                content = old.cell_contents
            except ValueError:  # a name that was never given a value
                continue
            new.cell_contents = self.of(content)
        made.__defaults__ = self.of(value.__defaults__) if value.__defaults__ else None
        made.__kwdefaults__ = self.of(value.__kwdefaults__) if value.__kwdefaults__ else None
        return made

    def _object(self, value: Any) -> Any:
        """An object is copied where one of its attributes is a module or leads to one in a step."""
        attributes = getattr(value, "__dict__", None)
        if isinstance(value, (type, types.ModuleType)) or not isinstance(attributes, dict):
            return value
        leads = [
            name
            for name, item in attributes.items()
            if isinstance(item, (nn.Module, Subject, types.MethodType)) or id(item) in self.parts
        ]
        if not leads:
            return value
        made = self._kept(value, copy.copy(value))
        for name in leads:
            object.__setattr__(made, name, self.of(attributes[name]))
        return made


def _proved(subject: Subject, made: Subject, row: Rows) -> None:
    """Show on one row that the copy runs, on weights of its own, and that they matter."""
    why = (
        f"the model {subject.name} cannot be copied with the functions around it. Let them hold the module as an argument "
        "or in a closure, and not find it by a global name"
    )
    with torch.no_grad():
        true = in_float64(subject.select(subject.forward(subject.encode(row), None)))
        with _unused(subject.module) as used:
            score = in_float64(made.select(made.forward(made.encode(row), None)))
        if used:
            raise ModelError(f"{why}: the copy still runs the original ({used[0]}).")
        if not torch.allclose(true, score, rtol=1e-3, atol=1e-3):
            raise ModelError(
                f"{why}: the copy scores {float(score[0]):.4g} where the model scores {float(true[0]):.4g}."
            )
        weights = [p for p in made.module.parameters() if p.is_floating_point()]
        before = [weight.clone() for weight in weights]
        for weight in weights:
            weight.mul_(0.5)
        moved = in_float64(made.select(made.forward(made.encode(row), None)))
        for weight, kept in zip(weights, before, strict=True):
            weight.copy_(kept)
    if torch.equal(moved, score):
        raise ModelError(
            f"{why}: half the copy's weights give the same score (so they would for a constant model)."
        )


@contextmanager
def _unused(module: nn.Module) -> Iterator[list[str]]:
    """In the body, names of parts of the module that run are put into the list."""
    used: list[str] = []

    def hook(name: str) -> Any:
        return lambda *_: used.append(name or type(module).__name__)

    handles = [part.register_forward_pre_hook(hook(name)) for name, part in module.named_modules()]
    try:
        yield used
    finally:
        for handle in handles:
            handle.remove()
