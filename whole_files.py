"""A file or a folder is whole or not there: written beside its place, flushed to the disk, and renamed."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import OutputError


@contextmanager
def whole(path: Path, *, durable: bool = False, instead: str = "") -> Iterator[Path]:
    """A temporary file beside `path`, which takes its place at the end, or leaves no trace.

    Args:
        path: where the file will be; its folder exists.
        instead: what to do where it cannot be written, a sentence for the message.
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
        told = f"{path} cannot be written: {error.strerror or error}. {instead}"
        raise OutputError(told.strip()) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def put(made: Path, target: Path) -> None:
    """Rename the folder made to the target; one that is there is set aside, and comes back if that fails or is stopped.

    Raises:
        OSError: it cannot be renamed.
    """
    if not target.is_dir():
        made.rename(target)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}-before-", dir=target.parent))
    before = aside / "before"
    try:
        target.rename(before)
        made.rename(target)
    except BaseException:  # Ctrl-C, too
        if before.exists() and not target.exists():
            before.rename(target)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


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
