"""Every default and every constant of `bias/`, as one table that is written and compared.

    python tests/bias/pinned_defaults.py > tests/bias/pinned_defaults.json

Of each module: what a function, or a method of a class, takes where nobody says; what a record holds where nobody
says, and the bounds of what a file may say; and the constants that are numbers, texts, or short lists of them.
"""

import ast
import dataclasses
import importlib
import inspect
import json
import pkgutil
import types
from collections.abc import Iterator
from typing import Any

import clinometer.bias

PLAIN = (bool, int, float, str)
MOST = 12  # of a list that is a constant: longer ones are lists of words, which have tests of their own
HAS_NUMBA = importlib.util.find_spec("numba") is not None
MODULES = sorted(one.name for one in pkgutil.iter_modules(clinometer.bias.__path__))
OF_THE_MACHINE = {"WIDE"}  # what its processor can do
IMPORTED = [name for name in MODULES if HAS_NUMBA or not name.startswith("compiled_")]


def is_plain(value: object) -> bool:
    if isinstance(value, (tuple, frozenset, set)):
        return len(value) <= MOST and all(is_plain(one) for one in value)
    if isinstance(value, dict):
        return len(value) <= MOST and all(is_plain(one) for pair in value.items() for one in pair)
    return value is None or isinstance(value, PLAIN)


def as_json(value: Any) -> Any:
    if isinstance(value, (frozenset, set)):
        return sorted(as_json(one) for one in value)
    if isinstance(value, tuple):
        return [as_json(one) for one in value]
    if isinstance(value, dict):
        return {str(key): as_json(one) for key, one in value.items()}
    return value


def of_function(function: Any) -> dict[str, Any]:
    return {
        one.name: as_json(one.default)
        for one in inspect.signature(function).parameters.values()
        if one.default is not inspect.Parameter.empty and is_plain(one.default)
    }


def of_class(kind: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Defaults of the fields of a record, bounds of the keys of a file, and defaults of the methods of a class."""
    if hasattr(kind, "model_fields"):
        keys = {}
        for name, key in kind.model_fields.items():
            given = [] if key.is_required() or not is_plain(key.default) else [as_json(key.default)]
            bounds = [repr(one) for one in key.metadata if type(one).__module__.startswith("annotated_types")]
            keys[name] = [*given, *bounds]
        yield kind.__name__, keys
    if dataclasses.is_dataclass(kind):
        fields = {
            one.name: as_json(one.default)
            for one in dataclasses.fields(kind)
            if one.default is not dataclasses.MISSING and is_plain(one.default)
        }
        yield kind.__name__, fields
    for name, method in vars(kind).items():
        made = dataclasses.is_dataclass(kind) or issubclass(kind, tuple)
        if (
            inspect.isfunction(method)
            and not (name.startswith("__") and made)
            and not hasattr(kind, "model_fields")
        ):
            yield f"{kind.__name__}.{name}", of_function(method)


def constants(module: types.ModuleType) -> set[str]:
    """Names in capitals that the module itself gives a value."""
    found = set()
    for node in ast.parse(inspect.getsource(module)).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            found |= {name.id for name in names if isinstance(name, ast.Name) and name.id.isupper()}
    return found


def of_module(module: types.ModuleType) -> dict[str, Any]:
    """Constants by name, functions and methods by name with what they take where nobody says."""
    found: dict[str, Any] = {}
    own = constants(module)
    for name, value in vars(module).items():
        here = getattr(value, "__module__", None) == module.__name__
        if name in own - OF_THE_MACHINE and is_plain(value):
            found[name] = as_json(value)
        elif inspect.isfunction(value) and here:
            found[name] = of_function(value)
        elif isinstance(value, type) and here:
            found.update(of_class(value))
    return {name: value for name, value in sorted(found.items()) if value not in ({}, [])}


def of_all() -> dict[str, dict[str, Any]]:
    modules = {name: importlib.import_module(f"clinometer.bias.{name}") for name in IMPORTED}
    return {name: made for name, module in modules.items() if (made := of_module(module))}


def lines() -> Iterator[str]:
    """The table as JSON, a line for each name: what changed is then read at once."""
    modules = of_all()
    yield "{"
    for i, (module, made) in enumerate(modules.items()):
        yield f"{json.dumps(module)}: {{"
        for j, (name, value) in enumerate(made.items()):
            comma = "," if j + 1 < len(made) else ""
            yield f"  {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}{comma}"
        yield "}," if i + 1 < len(modules) else "}"
    yield "}"


if __name__ == "__main__":
    print("\n".join(lines()))
