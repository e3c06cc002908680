"""Records out of the JSON that `records.plain` made of them, and the JSON schema of a record, from its types."""

import dataclasses
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from .errors import DataError, did_you_mean

# (record, field) -> its type, where the record itself says `Any` so that it need not know another room's records.
Known = Mapping[tuple[type, str], Any]


def saved_fields(record: type) -> list[dataclasses.Field[Any]]:
    """The fields of a record that `records.plain` writes."""
    return [one for one in dataclasses.fields(record) if one.metadata.get("saved", True)]


def types_of(record: type, known: Known) -> dict[str, Any]:
    """The type of every saved field."""
    named = {kind.__name__: kind for kind in known.values() if isinstance(kind, type)}  # behind TYPE_CHECKING
    hints = get_type_hints(record, localns=named)
    return {one.name: known.get((record, one.name), hints[one.name]) for one in saved_fields(record)}


def rebuild(kind: Any, value: Any, known: Known, where: str = "") -> Any:
    """A value of this type from its JSON.

    A number that is null where a number is expected becomes not-a-number, as `plain` writes those.

    Raises:
        DataError: a key is missing or unknown, or a value is of another kind; the message says where.
    """
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _record(kind, value, known, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _one_of(arguments, value, known, where)
    if origin is Literal:
        if value not in arguments:
            raise _wrong(where, f"one of {', '.join(map(repr, arguments))}", value)
        return value
    if origin is np.ndarray:
        return _array(arguments, value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong(where, "a list", value)
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(rebuild(arguments[0], one, known, f"{where}[{i}]") for i, one in enumerate(value))
        if len(arguments) != len(value):
            raise _wrong(where, f"a list of {len(arguments)}", value)
        pairs = enumerate(zip(arguments, value, strict=True))
        return tuple(rebuild(of, one, known, f"{where}[{i}]") for i, (of, one) in pairs)
    if _named(kind):
        if not isinstance(value, list) or len(value) != len(kind._fields):
            raise _wrong(where, f"a list of {len(kind._fields)}", value)
        hints = get_type_hints(kind)
        named = zip(kind._fields, value, strict=True)
        return kind(*(rebuild(hints[name], one, known, f"{where}.{name}") for name, one in named))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise _wrong(where, "an object", value)
        of = arguments[1]
        return {key: rebuild(of, one, known, f"{where}.{key}") for key, one in value.items()}
    return _scalar(kind, value, where)


def _record(kind: type, value: Any, known: Known, where: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)
    hints = types_of(kind, known)
    unknown = [key for key in value if key not in hints]
    if unknown:
        raise DataError(
            f"{where or 'it'} has the key {unknown[0]!r}: {did_you_mean(unknown[0], hints)} "
            "It was written by another version of clinometer: make it again."
        )
    made = {}
    for one in saved_fields(kind):
        if one.name in value:
            made[one.name] = rebuild(
                hints[one.name], value[one.name], known, f"{where}.{one.name}".lstrip(".")
            )
        elif one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING:
            raise DataError(f"{where or 'it'} lacks the key {one.name!r}. Make it again with this version.")
    return kind(**made)


def _named(kind: Any) -> bool:
    """Whether it is a tuple with names, which `plain` writes as a list."""
    return isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")


def _one_of(kinds: tuple[Any, ...], value: Any, known: Known, where: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    others = [kind for kind in kinds if kind is not type(None)]
    for kind in others[:-1]:
        if isinstance(value, dict) == dataclasses.is_dataclass(kind):
            return rebuild(kind, value, known, where)
    return rebuild(others[-1], value, known, where)


def _array(arguments: tuple[Any, ...], value: Any, where: str) -> Any:
    if not isinstance(value, list):
        raise _wrong(where, "a list of numbers", value)
    (inner,) = get_args(arguments[1]) or (Any,)
    inner = get_origin(inner) or inner
    if inner is np.bool_:
        return np.array(value, dtype=bool)
    if isinstance(inner, type) and issubclass(inner, np.integer):
        return np.array(value, dtype=np.int64)
    try:
        return np.array(value, dtype=np.float64)  # null becomes not-a-number
    except (TypeError, ValueError) as error:
        raise DataError(f"{where} is expected to be a block of numbers: {error}.") from error


def _scalar(kind: Any, value: Any, where: str) -> Any:
    if kind is float:
        if value is None:
            return float("nan")
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
    elif kind is int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    elif kind in (str, bool) and isinstance(value, kind):
        return value
    raise _wrong(where, getattr(kind, "__name__", str(kind)), value)


def _wrong(where: str, expected: str, value: Any) -> DataError:
    written = repr(value)
    return DataError(
        f"{where or 'it'} is {written if len(written) < 60 else written[:57] + '...'}; {expected} is expected."
    )


def schema_of(kind: Any, known: Known, *, title: str) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of what `records.plain` makes of this record.

    Every saved field is required: a record is written whole. A number that was not finite is written as null.
    """
    definitions: dict[str, Any] = {}
    top = _schema(kind, known, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **top,
        "$defs": dict(sorted(definitions.items())),
    }


SCALARS: Mapping[Any, dict[str, Any]] = {
    float: {"type": ["number", "null"]},
    int: {"type": "integer"},
    str: {"type": "string"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
}


def _schema(kind: Any, known: Known, definitions: dict[str, Any]) -> dict[str, Any]:
    if kind is Any:
        return {}
    if kind in SCALARS:
        return dict(SCALARS[kind])
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _schema_of_record(kind, known, definitions)
    origin, arguments = get_origin(kind), get_args(kind)

    def inside(one: Any) -> dict[str, Any]:
        return _schema(one, known, definitions)

    if origin in (Union, types.UnionType):
        return {"anyOf": [inside(one) for one in arguments]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is np.ndarray:
        _define_numbers(definitions)
        return {"$ref": "#/$defs/numbers"}
    if _named(kind):
        items = [inside(of) for of in get_type_hints(kind).values()]
        return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return {"type": "array", "items": inside(arguments[0])}
    if origin is tuple:
        return {"type": "array", "prefixItems": [inside(one) for one in arguments], "items": False}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": inside(arguments[1])}
    raise TypeError(f"{kind!r} has no JSON schema here: teach typed_json of it")


def _define_numbers(definitions: dict[str, Any]) -> None:
    """An array of any number of axes: numbers, truth values, null for what is not finite."""
    definitions["numbers"] = {
        "type": "array",
        "items": {"anyOf": [{"type": ["number", "boolean", "null"]}, {"$ref": "#/$defs/numbers"}]},
    }


def _schema_of_record(kind: type, known: Known, definitions: dict[str, Any]) -> dict[str, Any]:
    if kind.__name__ not in definitions:
        definitions[kind.__name__] = {}  # its place is taken, should it name itself
        hints = types_of(kind, known)
        definitions[kind.__name__] = {
            "type": "object",
            "description": (kind.__doc__ or "").split("\n")[0],
            "properties": {name: _schema(of, known, definitions) for name, of in hints.items()},
            "required": sorted(hints),
            "additionalProperties": False,
        }
    return {"$ref": f"#/$defs/{kind.__name__}"}
