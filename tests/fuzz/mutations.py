"""Valid files made wrong: bytes flipped, cut and doubled; keys, values and kinds of a parsed file exchanged."""

import copy
import json
import math
from random import Random
from typing import Any

# What a reader meets where it expects something else.
ODD: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        2,
        10**9,
        2**63,
        -(2**63) - 1,
        10**40,
        10**400,
        0.0,
        -0.0,
        0.5,
        1.5,
        -3.25,
    ),
    *(
        1e308,
        5e-324,
        math.inf,
        -math.inf,
        math.nan,
        "",
        " ",
        "\x00",
        "0",
        "1",
        "nan",
        "inf",
        "a\nb",
        "\x1b[2J",
    ),
    *("__import__('os').system('true')", "<script>alert(1)</script>", "{{ 7 * 7 }}", "{0.__class__}", "%s%n"),
    *("../../../etc/passwd", "/etc/passwd", "C:\\x", "=1+1", "'; DROP TABLE t; --", '"', "'", "\\", "\u202e"),
    *("\ud800", "日本", "x" * 5000, [], {}, [[]], [None], [{}], {"": 0}, {"a": {"b": {}}}, [0] * 300),
    *(
        ["a", 1, None],
        [1, 2, 3],
        [0.1, 0.2],
        ["a", "a"],
        {"__proto__": 1},
        {"dtype": "Tensor"},
        {"class": []},
    ),
)
BYTES = (
    *(
        b"\x00",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\n",
        b"\r\n",
        b",",
        b'"',
        b"'",
        b"[",
        b"{",
        b"}",
    ),
    *(
        b"=",
        b"#",
        b"\\",
        b"\\u0000",
        b"1e999",
        b"NaN",
        b"-1",
        b"1" * 5000,
        b"[" * 3000,
        b"a." * 3000,
        b'{"a":' * 2000,
    ),
    *(b"x" * 20_000, b"2026-02-30", b"0x" + b"f" * 3000, b"PAR1", b"null", b"\xf0\x9f\x8f\xa0"),
)


def bytes_changed(draw: Random, raw: bytes) -> bytes:
    """The file with one to four changes of its bytes."""
    for _ in range(draw.randint(1, 4)):
        at = draw.randint(0, len(raw))
        size = min(draw.choice((1, 1, 2, 7, 40, 300)), max(len(raw) - at, 0))
        kind = draw.randrange(6)
        if kind == 0 and at < len(raw):
            raw = raw[:at] + bytes([raw[at] ^ (1 << draw.randrange(8))]) + raw[at + 1 :]
        elif kind == 1:
            raw = raw[:at] + raw[at + size :]
        elif kind == 2:
            raw = raw[: at + size] + raw[at : at + size] * draw.choice((1, 1, 50)) + raw[at + size :]
        elif kind == 3:
            raw = raw[:at] + draw.choice(BYTES) + raw[at:]
        elif kind == 4:
            raw = raw[:at] + draw.randbytes(size) + raw[at + size :]
        elif draw.random() < 0.5:
            raw = raw[:at]
    return raw


def tree_changed(draw: Random, tree: Any) -> Any:
    """The parsed file with one to four changes of its keys, values and kinds."""
    made = copy.deepcopy(tree)
    for _ in range(draw.randint(1, 4)):
        made = _changed(draw, made)
    return made


def _changed(draw: Random, tree: Any) -> Any:
    places = list(_places(tree))
    if not places:
        return copy.deepcopy(draw.choice(ODD))
    # Half of the changes go near the root, where the keys are that a reader looks for.
    near = [place for place in places if place[2] <= 2]
    holder, key, _ = draw.choice(near if near and draw.random() < 0.5 else places)
    kind = draw.randrange(9)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[draw.choice((f"{key}x", "", "x", "id", key.upper()))] = holder.pop(key)
    elif kind == 2:
        other_holder, other_key, _ = draw.choice(places)
        taken = copy.deepcopy(other_holder[other_key]) if _has(other_holder, other_key) else None
        holder[key] = taken
    elif kind == 3:
        holder[key] = [copy.deepcopy(holder[key])] * draw.choice((1, 2, 40))
    elif kind == 4:
        for _ in range(draw.choice((1, 5, 80))):
            holder[key] = {"a": holder[key]} if draw.random() < 0.5 else [holder[key]]
    elif kind == 5 and isinstance(holder, dict):
        holder[draw.choice(("extra", "schema_version", "kind", "\x00", "a.b", f" {key}"))] = holder[key]
    elif kind == 6 and isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
        change = draw.choice((lambda x: -x, lambda x: x * 10, lambda x: x + 1, _float, str, lambda x: 10**18))
        holder[key] = change(holder[key])
    elif kind == 7 and isinstance(holder[key], str):
        text: str = holder[key]
        holder[key] = draw.choice(
            (text[:-1], text * 2, text.upper(), f" {text}", f"../{text}", text + "\x00")
        )
    else:
        holder[key] = copy.deepcopy(draw.choice(ODD))
    return tree


def _float(number: float) -> float:
    return float(number) if abs(number) < 1e300 else math.inf


def _has(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else key < len(holder)


def _places(tree: Any) -> "list[tuple[Any, Any, int]]":
    """Where a value is: what holds it, under which key or number, how deep. Of long lists the first few."""
    found, level = [], [(tree, 1)]
    while level:
        holder, depth = level.pop()
        if isinstance(holder, dict):
            keys: list[Any] = list(holder)
        elif isinstance(holder, list):
            keys = list(range(min(len(holder), 5)))
        else:
            continue
        for key in keys:
            found.append((holder, key, depth))
            if depth < 12:
                level.append((holder[key], depth + 1))
    return found


def as_json(tree: Any) -> bytes:
    """The tree as JSON, with what JSON of other programs holds too: NaN, halves of characters."""
    return json.dumps(tree).encode()


def as_toml(tree: Any) -> bytes:
    """The tree as TOML, each key of the top in a line of its own; what TOML cannot hold is written all the same."""
    if not isinstance(tree, dict):
        return _toml(tree).encode("utf-8", "surrogatepass")
    lines = [f"{_toml_text(str(key))} = {_toml(value)}" for key, value in tree.items()]
    return "\n".join([*lines, ""]).encode("utf-8", "surrogatepass")


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml_text(str(key))} = {_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _toml_text(value)
    return "null" if value is None else repr(value)


def _toml_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def odd_column(draw: Random, n: int) -> Any:
    """A column of n values, of a kind that nobody expects."""
    import datetime
    import decimal

    import numpy as np
    import pyarrow as pa

    made = draw.randrange(14)
    texts = [str(draw.choice(ODD)).encode("utf-8", "ignore").decode() for _ in range(n)]
    numbers = [draw.choice((0.0, 1.0, 1e308, float("inf"), float("nan"), -1.0)) for _ in range(n)]
    return (
        lambda: pa.nulls(n),
        lambda: pa.array(texts),
        lambda: pa.array(numbers),
        lambda: pa.array(texts).dictionary_encode(),
        lambda: pa.array([[1, 2]] * n),
        lambda: pa.array([{"a": 1}] * n),
        lambda: pa.array([b"\xff\x00"] * n),
        lambda: pa.array([decimal.Decimal("1.5")] * n),
        lambda: pa.array([datetime.datetime(1, 1, 1)] * n, pa.timestamp("us")),
        lambda: pa.array([datetime.timedelta(days=99999)] * n),
        lambda: pa.array([2**64 - 1 - (i % 2) for i in range(n)], pa.uint64()),
        lambda: pa.array([bool(i % 2) for i in range(n)]),
        lambda: pa.array(np.full(n, 0.5, np.float16)),
        lambda: pa.array([2**62] * n),
    )[made]()
