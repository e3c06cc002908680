"""A file is whole or not there: written beside its place, flushed to the disk, and renamed."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import OutputError


@contextmanager
def whole(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """A temporary file beside `path`, which takes its place at the end, or leaves no trace.

    Args:
        path: where the file will be; its folder exists.
        durable: the bytes and the name are on the disk before this returns, so that a machine that stops keeps them.

    Raises:
        OutputError: the file cannot be written.
    """
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        temporary = Path(name)
        os.close(handle)
        yield temporary
        temporary.chmod(0o644)
        if durable:
            _flush(temporary)
        temporary.replace(path)
        if durable:
            _flush(path.parent)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def remove_unfinished(folder: Path, *names: str) -> None:
    """Remove what `whole` was writing to files of these names when its process was killed."""
    for name in names:
        for path in folder.glob(f".{name}-*"):
            path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
