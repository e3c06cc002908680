"""A folder that one run works in at a time: a second run is told which process has it, and what to do.

The claim is a lock of the system on a file within the folder (`flock`), and ends with its process, however that ends: a
run that was killed holds nothing. The file names the process and is removed before the folder is let go. It decides no
result. Windows has no such locks, and some file systems have none: there `Held.told` says that two runs at once go
unnoticed, and no file is made.
"""

import contextlib
import importlib
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import OutputError

NAME = "in-use"
ASIDE = ".removed-"
ATTEMPTS = 100  # to lock a file that runs which end just now are removing


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A folder that this process works in alone; `told` says why that is not known, or is ""."""

    folder: Path
    told: str = ""

    def clear(self) -> None:
        """Remove what is in the folder but the file that is locked; the folder goes itself when it is let go.

        A folder in it gets another name first: half of one, left by a kill, is nothing that a run would find.
        """
        for path in list(self.folder.iterdir()):
            if path.is_dir() and not path.is_symlink():
                aside = path if path.name.startswith(ASIDE) else self.folder / f"{ASIDE}{os.urandom(4).hex()}"
                with contextlib.suppress(OSError):
                    path = path.rename(aside)
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != NAME or self.told:
                with contextlib.suppress(OSError):
                    path.unlink()


@contextmanager
def held(folder: Path) -> Iterator[Held]:
    """Work in a folder that no other run works in; it is made where it is not there, and removed where it stays empty.

    Raises:
        OutputError: another run works in it, with its process; or it cannot be made.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    handle, told = None, ""
    try:
        handle, told = _claimed(folder)
        yield Held(folder=folder, told=told)
    finally:
        with contextlib.suppress(OSError):
            if handle is not None:
                (folder / NAME).unlink(missing_ok=True)  # while it is locked: it is nobody else's
        with contextlib.suppress(OSError):  # the first that holds something ends it
            for path in made or [folder]:
                path.rmdir()
        if handle is not None:
            os.close(handle)


def _claimed(folder: Path) -> tuple[int | None, str]:
    """The open file that is locked, or None and why nothing is."""
    locks, file = _locks(), folder / NAME
    try:
        for _ in range(ATTEMPTS):
            folder.mkdir(parents=True, exist_ok=True)
            if locks is None:
                return None, f"this system has no file locks: another run in {folder} would go unnoticed"
            try:
                handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
            except FileNotFoundError:
                continue  # the folder was removed in between
            claimed, told = False, ""
            try:
                claimed, told = _locked(locks, handle, folder)
            finally:
                if not claimed:
                    os.close(handle)
            if claimed:
                return handle, ""
            if told:
                file.unlink(missing_ok=True)
                return None, told
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}.") from error
    raise OutputError(f"{folder} is made and removed by other runs all the time. Name another folder.")


def _locked(locks: Any, handle: int, folder: Path) -> tuple[bool, str]:
    """Whether the file is locked now and is the folder's; and why it cannot be, where there are no locks.

    Raises:
        OutputError: another run has it.
    """
    try:
        locks.flock(handle, locks.LOCK_EX | locks.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        raise OutputError(
            f"{folder} is in use by another run{_named(handle)}. Wait until that has ended, or name another folder "
            "(--out)."
        ) from error
    except OSError as error:
        reason = error.strerror or error
        return False, f"no file can be locked there ({reason}): another run in {folder} would go unnoticed"
    try:
        ours = os.path.samestat(os.fstat(handle), os.stat(folder / NAME))
    except FileNotFoundError:
        ours = False  # the run that had it removed it, and ended
    if ours:
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    return ours, ""


def _named(handle: int) -> str:
    """In words, the process that has a locked file, and its machine where that is another."""
    found = re.fullmatch(rb"process (\d{1,10}) on ([\w.-]{1,255})\n", os.pread(handle, 300, 0), re.ASCII)
    if found is None:
        return ""
    where = found[2].decode()
    return f" (process {found[1].decode()}{'' if where == socket.gethostname() else f' on {where}'})"


def _locks() -> Any:
    """Python's module of the system's file locks, or None where the system has none (Windows)."""
    try:
        return importlib.import_module("fcntl")
    except ImportError:
        return None
