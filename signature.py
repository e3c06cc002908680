"""The hashes of a folder's files, written beside them, and what of it has changed since.

A list of hashes says that nothing changed by accident, not who wrote it: whoever can write the folder can write the list
again. Its own hash, the seal, is what a reviewer notes elsewhere.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .bounded_files import read_json
from .errors import DataError
from .whole_files import file_hash

NAME = "hashes.json"
FORMAT = "clinometer hashes 1"
Outcome = Literal["matches", "differs", "not there", "not recorded", "not checked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing whose hash was recorded, and what it is now."""

    what: str  # "file", "model", "data"
    name: str  # of the file or the part
    outcome: Outcome
    recorded: str | None  # SHA-256, in hexadecimal
    found: str | None
    note: str = ""


def write_hashes(folder: Path) -> None:
    """Write the hash of every file of a folder into it; the list comes last, when all else is there."""
    files = {path: file_hash(folder / path) for path in _files(folder)}
    text = json.dumps({"format": FORMAT, "files": files}, indent=1, sort_keys=True, ensure_ascii=False)
    (folder / NAME).write_text(text + "\n", encoding="utf-8")


def seal(folder: Path) -> str | None:
    """SHA-256 of the list of hashes itself; None where there is no list."""
    file = folder / NAME
    return file_hash(file) if file.is_file() else None


def check_files(folder: Path) -> tuple[Check, ...]:
    """Every file that the list names, as it is now; then files that it does not name, which were added since.

    Raises:
        DataError: the list is damaged, or names files outside the folder.
    """
    if not (folder / NAME).is_file():
        return (
            Check(
                what="file",
                name=NAME,
                outcome="not there",
                recorded=None,
                found=None,
                note="the folder was written before hashes were kept, or the list was removed",
            ),
        )
    kept = _kept(folder)
    there = _files(folder)
    checks = []
    for name, recorded in kept.items():
        found = file_hash(folder / name) if name in there else None
        outcome: Outcome = "not there" if found is None else "matches" if found == recorded else "differs"
        checks.append(Check(what="file", name=name, outcome=outcome, recorded=recorded, found=found))
    for name in there:
        if name not in kept:
            checks.append(
                Check(
                    what="file",
                    name=name,
                    outcome="not recorded",
                    recorded=None,
                    found=file_hash(folder / name),
                    note="added since",
                )
            )
    return tuple(checks)


def _kept(folder: Path) -> dict[str, str]:
    file = folder / NAME
    held: Any = read_json(file, DataError, way_out="Write the folder again.")
    files = held.get("files") if isinstance(held, dict) else None
    if not isinstance(held, dict) or held.get("format") != FORMAT or not isinstance(files, dict):
        raise DataError(
            f"{file} is no list of hashes: {FORMAT!r} is expected as its format. Write the folder again."
        )
    for name, recorded in files.items():
        inside = (folder / name).resolve()
        if Path(name).is_absolute() or not inside.is_relative_to(folder.resolve()):
            raise DataError(f"{file} names {name!r}, which is not within the folder. Write the folder again.")
        if not isinstance(recorded, str) or len(recorded) != len(hashlib.sha256().hexdigest()):
            raise DataError(f"{file} has {recorded!r} for {name!r}; a SHA-256 in hexadecimal is expected.")
    return files


def _files(folder: Path) -> list[str]:
    """Every file of a folder but the list, as paths within it. Links are not followed into other folders."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path != folder / NAME
    )
