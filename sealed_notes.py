"""Notes in JSON that carry their own checksum: read back as they were written, or not at all."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .bounded_files import read_json
from .errors import DataError
from .whole_files import whole

SEAL = "sha256_of_the_rest"


def write_note(path: Path, said: Mapping[str, Any], *, indent: int | None = None) -> None:
    """Write a note, whole or not at all, flushed to the disk.

    Raises:
        OutputError: it cannot be written.
    """
    as_read: dict[str, Any] = json.loads(json.dumps(said))  # JSON has lists for tuples, and texts for keys
    sealed = {**as_read, SEAL: _seal(as_read)}
    text = json.dumps(sealed, sort_keys=True, indent=indent, ensure_ascii=False)
    with whole(path, durable=True) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_note(path: Path) -> dict[str, Any] | None:
    """What was written to a note, without its checksum; None where it is not there, or is anything else than that."""
    try:
        said = read_json(path, DataError)
    except DataError:
        return None  # which one of these does not matter: what it was about is made again
    if not isinstance(said, dict) or said.pop(SEAL, None) != _seal(said):
        return None
    return said


def _seal(said: Mapping[str, Any]) -> str:
    """SHA-256 of the note's values, however they are laid out in the file."""
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
