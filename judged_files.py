"""What a command that judges files reads and hands over: evidence in, a line, tables or JSON out."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UsageError
from .output import emit, emit_json, write

if TYPE_CHECKING:
    from .evidence import Evidence


def evidence_from(file: str, roles: dict[str, Any]) -> "Evidence":
    """One file is read; a pattern or a folder is counted where it lies."""
    from .evidence_files import read
    from .sources import scan

    path = Path(file)
    if (path.is_dir() or any(sign in file for sign in "*?[")) and not path.is_file():
        return scan(path if path.is_dir() else file, **roles).counted()
    return read(path, **roles)


def refuse_overwriting(out: Path | None, *read: Path | None) -> None:
    """Refuse an output that is one of the files read.

    Raises:
        UsageError: it is.
    """
    if out is not None and out.resolve() in {path.resolve() for path in read if path is not None}:
        raise UsageError(f"--out {out} would overwrite what is read. Name another file.")


def deliver(as_text: str, line: str, tables: str, json: bool, quiet: bool, out: Path | None) -> None:
    """Write JSON where a file is named; print JSON, one line, or tables."""
    if out is not None:
        write(out, as_text)
    if json:
        emit_json(as_text)
    else:
        emit(line if quiet else tables)
