"""What commands print and write: a reader that went away changes no exit code, and a file is whole or not there."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from .whole_files import whole


def as_json(made: Any) -> str:
    """A record as JSON, the same bytes each time."""
    from .records import plain  # numpy, which no `--help` should wait for

    return json.dumps(plain(made), ensure_ascii=False, sort_keys=True, indent=1, allow_nan=False) + "\n"


def write(path: Path, text: str, flag: str = "--out") -> None:
    """The file appears whole or not at all; `flag` is what names it."""
    with whole(path, instead=f"Name another with {flag}.") as temporary:
        temporary.write_text(text, encoding="utf-8")


def emit(text: str) -> None:
    """Print; a reader that went away (`| head`) changes no exit code."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def emit_json(text: str) -> None:
    """Print JSON; where the terminal or pipe has no Unicode, with JSON's own escapes."""
    if not (sys.stdout.encoding or "").lower().startswith("utf"):
        text = json.dumps(json.loads(text), sort_keys=True, indent=1) + "\n"
    emit(text)
