"""Small files that somebody else wrote, TOML and JSON: read whole within bounds, or refused in one sentence.

Bounded are the size, the depth of nesting, the parts of a dotted key (which cost their square) and the size of a whole
number, so that no file makes a reader run for minutes, out of memory or out of stack.
"""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from .errors import ClinometerError

LARGEST_TOML, LARGEST_JSON = 2**23, 2**28  # bytes
DEEPEST = 64  # tables within tables, lists within lists
WIDEST = 1000  # bits of a whole number: more is beyond any floating-point number

_PART = r"""(?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[\w-]+)"""
_DOTTED = re.compile(rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*")
_HALF = re.compile(r"\\u[dD][89a-fA-F]")  # of a character beyond the first 65,536, which JSON writes in two


def read_toml(
    path: str | Path,
    error: type[ClinometerError],
    *,
    name: str | None = None,
    way_out: str = "Name another file.",
) -> dict[str, Any]:
    """The table of a TOML file.

    Args:
        path: the file.
        error: what is raised.
        name: what messages call the file; its path unless said.
        way_out: the last sentence where the file cannot be opened, or is too large or too deep.

    Raises:
        `error`: it cannot be opened, is larger or deeper than any such file is, no UTF-8, or no TOML.
    """
    called = name or str(path)
    text = _text(Path(path), called, error, LARGEST_TOML, way_out)
    if any(found.group().count(".") >= DEEPEST for found in _DOTTED.finditer(text)):
        raise _too_deep(called, error, way_out)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as broken:
        raise error(
            f"{called} cannot be read: it is not TOML: {broken}. Text needs quotation marks."
        ) from broken
    except RecursionError as broken:
        raise _too_deep(called, error, way_out) from broken
    except ValueError as broken:  # a number of thousands of digits, a date that no calendar has
        raise error(f"{called} cannot be read: it is not TOML: {broken}. {way_out}") from broken
    _check(values, called, error, way_out)
    return values


def read_json(
    path: str | Path,
    error: type[ClinometerError],
    *,
    name: str | None = None,
    way_out: str = "Save it again.",
    largest: int = LARGEST_JSON,
) -> Any:
    """The value of a JSON file; arguments as of `read_toml`, and `largest`, the most bytes that are read.

    Raises:
        `error`: it cannot be opened, is larger or deeper than any such file is, no UTF-8, or no JSON.
    """
    called = name or str(path)
    text = _text(Path(path), called, error, largest, way_out)
    return parsed_json(text, called, error, way_out=way_out)


def parsed_json(text: str, called: str, error: type[ClinometerError], *, way_out: str) -> Any:
    """The value of a JSON text that lies somewhere else than in a file of its own.

    Raises:
        `error`: as `read_json`.
    """
    try:
        values = json.loads(text)
    except RecursionError as broken:
        raise _too_deep(called, error, way_out) from broken
    except ValueError as broken:
        raise error(f"{called} cannot be read: it is not JSON: {broken}. {way_out}") from broken
    _check([values], called, error, way_out)
    if _HALF.search(text):
        try:
            json.dumps(values, ensure_ascii=False).encode()
        except UnicodeEncodeError as broken:
            raise error(
                f"{called} cannot be read: it holds half of a character (U+{ord(broken.object[broken.start]):X}), "
                f"which is no text. {way_out}"
            ) from broken
    return values


def _text(file: Path, called: str, error: type[ClinometerError], largest: int, way_out: str) -> str:
    try:
        with file.open("rb") as opened:
            raw = opened.read(largest + 1)
    except (OSError, ValueError) as broken:  # ValueError: a path with a zero byte
        reason = getattr(broken, "strerror", None) or broken
        raise error(f"{called} cannot be read: {reason}. {way_out}") from broken
    if len(raw) > largest:
        raise error(
            f"{called} cannot be read: it has more than {largest:,} bytes, and no such file has. {way_out}"
        )
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as broken:
        line = raw[: broken.start].count(b"\n") + 1
        raise error(
            f"{called} cannot be read: it is not UTF-8: byte {broken.start} in line {line}. Save it as UTF-8."
        ) from broken


def _check(values: Any, called: str, error: type[ClinometerError], way_out: str) -> None:
    """Refuse values that are nested deeper, or numbers that are larger, than those who use them can bear."""
    level: list[Any] = [values]
    for _ in range(DEEPEST + 1):
        below: list[Any] = []
        for one in level:
            for value in one.values() if type(one) is dict else one:
                if type(value) is dict or type(value) is list:
                    below.append(value)
                elif type(value) is int and value.bit_length() > WIDEST:
                    raise error(
                        f"{called} cannot be read: it holds a whole number of {value.bit_length():,} bits; at most "
                        f"{WIDEST} are expected. {way_out}"
                    )
        if not below:
            return
        level = below
    raise _too_deep(called, error, way_out)


def _too_deep(called: str, error: type[ClinometerError], way_out: str) -> ClinometerError:
    return error(f"{called} cannot be read: it is nested too deeply, more than {DEEPEST} levels. {way_out}")
