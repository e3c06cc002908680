"""One case of a reader: made by its seed, read, and held to the contract of errors."""

import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from fuzz.readers import Files, Reader, put

from clinometer.errors import ClinometerError

LONGEST_MESSAGE = 2200  # characters
HANGS = 30  # seconds after which a case is given up


class Hung(BaseException):
    """The reader did not come back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What became of one case."""

    reader: str
    seed: int
    outcome: str  # "accepted", "rejected", "broken"
    seconds: float
    said: str  # the message of the error


def made_of(reader: Reader, files: Files, seed: int) -> Files:
    """The files of this case, the same for the same seed."""
    return reader.changed(Random(f"{reader.name} {seed}"), files)


def run(reader: Reader, files: Files, seed: int, folder: Path) -> Case:
    """Write the files of a case, read them, and say what became of it. Any warning is an error."""
    put(made_of(reader, files, seed), folder)
    started = time.perf_counter()
    outcome, said, made = "accepted", "", None
    try:
        with warnings.catch_warnings(), _given_up():
            warnings.simplefilter("error")
            try:
                made = reader.read(folder)
            except ClinometerError as error:
                said = str(error)
                fault = fault_of(said, folder)
                outcome, said = "broken" if fault else "rejected", f"{fault}{said}"
            else:
                outcome, said = _used(reader, made)
    except (Exception, Hung) as error:
        outcome, said = "broken", f"{type(error).__name__}: {error}"
    seconds = time.perf_counter() - started
    return Case(reader=reader.name, seed=seed, outcome=outcome, seconds=seconds, said=said)


def _used(reader: Reader, made: Any) -> tuple[str, str]:
    """What becomes of a file that is read: it can be used, or is refused then, by an error of ours."""
    try:
        reader.use(made)
    except ClinometerError as error:
        return "rejected", str(error)
    return "accepted", ""


def fault_of(message: str, folder: Path) -> str:
    """What the message of a reader lacks, or "": it names the file, is no wall of text and no address."""
    if str(folder) not in message:
        return "no file is named: "
    if len(message) > LONGEST_MESSAGE:
        return f"{len(message)} characters: "
    return "an address: " if " object at 0x" in message else ""


@contextmanager
def _given_up() -> Iterator[None]:
    """Nothing is read for longer than `HANGS` seconds, where the system has alarms."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def stop(*_: Any) -> None:
        raise Hung(f"{HANGS} s and no end")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(HANGS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
