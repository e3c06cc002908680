"""What half precision does to decisions: a sample of rows is scored in float32, too, before anything is made.

A number type of 16 bits rounds every product of a model; rows near the threshold may be decided otherwise. Evidence
is made in such a type only where that is measured to be rare, or where its maker says that it is to be recorded alone.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .bias.intervals import clopper_pearson
from .errors import DataError, InputError, ModelError, UsageError, first
from .sealed_notes import read_note, write_note
from .shard_work import SKIP_THEM, OnBadRow, score_rows, unusable
from .staged_rows import StagedRows

if TYPE_CHECKING:
    from .interpret.models import Subject

HALF = ("bfloat16", "float16")
ROUNDINGS = ("check", "record", "skip")
COMPARED = 512  # 2 of them decided otherwise are too many: the interval of 1 ends at .0093, of 2 at .0123
MOST_CHANGED = 0.01
CONFIDENCE = 0.95  # of the upper end alone
NAMED = 20  # rows that a note lists


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """How a model in half precision scored and decided beside itself in float32, on some rows or all.

    Args:
        dtype: the number type.
        n_rows: rows there are; where all were drawn, those of them that can be scored.
        n: rows that were scored in both.
        changed: of them, those on the other side of the threshold.
        largest: the largest difference of two scores.
        unit: of the scores.
        ids: of rows decided otherwise, the first 20.
    """

    dtype: str
    n_rows: int
    n: int
    changed: int
    largest: float
    unit: str
    ids: tuple[str, ...] = ()

    @property
    def most(self) -> float:
        """The share of all rows decided otherwise: itself where all were compared, else the upper end of its interval.

        One-sided, at 95 %, by Clopper & Pearson (1934); rows are drawn without replacement, which makes it wider than it
        would have to be.
        """
        if self.n == self.n_rows:
            return self.changed / self.n
        return clopper_pearson(self.changed, self.n, 2 * CONFIDENCE - 1).high

    @property
    def holds(self) -> bool:
        """Whether at most one row in a hundred is decided otherwise."""
        return self.most <= MOST_CHANGED

    def __str__(self) -> str:
        rows = "all rows" if self.n == self.n_rows else f"{self.n} of {self.n_rows} rows, drawn at random,"
        share = "" if self.n == self.n_rows else f", so of all rows at most {100 * self.most:.2f} % (95 %)"
        return (
            f"scores are computed in {self.dtype}; {rows} were scored in float32, too: {self.changed} decided otherwise"
            f"{share}; the largest difference of two scores is {self.largest:.3g} {self.unit}"
        )


NOT_BESIDE = "With --rounding skip nothing is compared, and that is written beside the scores."
NOT_COMPARED = "scores are computed in {dtype} and were not compared with float32"


def is_half(dtype: str) -> bool:
    """Whether a number type has 16 bits."""
    return dtype in HALF


def check_asked(rounding: str, dtype: str, *, in_folder: bool) -> None:
    """Refuse to compare a model that was handed over in half precision: its float32 weights are not there.

    Raises:
        UsageError: that is asked.
    """
    if is_half(dtype) and rounding != "skip" and not in_folder:
        raise UsageError(
            f"a model in memory in {dtype} has no float32 weights that its decisions could be compared with. Name its "
            f"folder instead, with load={{'dtype': {dtype!r}}}, or take rounding='skip': that nothing was compared is then "
            "written beside the scores."
        )


def compared(
    subject: "Subject",
    model: Path,
    load: Mapping[str, Any],
    rows: StagedRows,
    *,
    batch_size: int,
    on_bad_row: OnBadRow,
) -> Rounding:
    """Score up to 512 rows, drawn at random, with a subject in half precision and with its model in float32.

    Args:
        subject: as it will score all rows.
        model: its folder, which is loaded a second time.
        load: arguments of `interpret.models.load` that the subject was loaded with.
        rows: all rows.
        on_bad_row: "skip" leaves rows out that cannot be scored; "stop" does not.

    Raises:
        DataError: a row cannot be scored; or, with "skip", none of those drawn.
        ModelError: memory does not hold the model twice; it cannot be loaded in float32.
    """
    from .interpret.batches import out_of_memory
    from .interpret.models import load as load_model

    dtype = str(next(subject.module.parameters()).dtype).removeprefix("torch.")
    places = drawn(len(rows))
    if on_bad_row == "skip":
        places = _usable(subject, rows, places, batch_size)
    try:
        sample = rows.at(places)
        found = score_rows(subject, sample, batch_size)
    except DataError as error:
        raise DataError(f"{error}{SKIP_THEM if on_bad_row == 'stop' else ''}") from error
    try:
        wide = load_model(model, **{**load, "dtype": "float32"})
        expected = score_rows(wide, sample, batch_size)
    except InputError as error:
        raise type(error)(f"in float32, to compare {dtype} with: {error} {NOT_BESIDE}") from error
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise ModelError(
            f"memory does not hold the model in float32, too, to compare {dtype} with. Take a device with room for both, or "
            f"a larger one for this alone. {NOT_BESIDE}"
        ) from error
    otherwise = np.flatnonzero((found > subject.threshold) != (expected > wide.threshold))
    return Rounding(
        dtype=dtype,
        n_rows=len(sample) if len(rows) <= COMPARED else len(rows),
        n=len(sample),
        changed=len(otherwise),
        largest=float(np.abs(found - expected).max()),
        unit=subject.unit,
        ids=tuple(sample.ids[i] for i in otherwise[:NAMED]),
    )


def drawn(n_rows: int) -> npt.NDArray[np.intp]:
    """The places of rows to be compared, in order: all, or so many at random; the same for the same number of rows."""
    if n_rows <= COMPARED:
        return np.arange(n_rows)
    return np.sort(np.random.default_rng(0).choice(n_rows, COMPARED, replace=False))


def _usable(
    subject: "Subject", rows: StagedRows, places: npt.NDArray[np.intp], batch_size: int
) -> npt.NDArray[np.intp]:
    """The places of rows that the subject can score."""

    def check(begin: int, end: int) -> None:
        score_rows(subject, rows.at(places[begin:end]), batch_size)

    bad = unusable(check, 0, len(places), lambda i: rows.ids(int(places[i]), int(places[i]) + 1)[0])
    left = np.delete(places, [i for i, _, _ in bad])
    if not len(left):
        raise DataError(f"none of {len(places)} rows drawn can be used; the first, {bad[0][1]}: {bad[0][2]}")
    return left


def refuse(found: Rounding) -> None:
    """Refuse number types that decide too many rows otherwise.

    Raises:
        ModelError: more than one row in a hundred may be.
    """
    if found.holds:
        return
    raise ModelError(
        f"{found}. That is more than the {100 * MOST_CHANGED:.0f} % up to which it is taken for the same model; decided "
        f"otherwise: {first(found.ids)}. Score in float32 (--dtype float32). Where {found.dtype} is what decides in use, so "
        "that its decisions are the ones to audit, say so: with --rounding record the scores are made, and the difference "
        "is written beside them."
    )


def kept(note: Path, plan: str) -> Rounding | None:
    """What was compared for this plan before the run was killed."""
    said = read_note(note)
    if said is None or said.get("plan") != plan:
        return None
    return read_back(said.get("rounding"))


def keep(note: Path, plan: str, found: Rounding) -> None:
    """Write down what was compared.

    Raises:
        OutputError: it cannot be written.
    """
    write_note(note, {"plan": plan, "rounding": asdict(found)})


def read_back(said: Any) -> Rounding | None:
    """A Rounding from its JSON; None where it is none."""
    try:
        found = Rounding(**{**said, "ids": tuple(said["ids"])})
    except (TypeError, KeyError):
        return None
    numbers = (found.changed, found.n, found.n_rows)
    known = all(type(number) is int for number in numbers) and type(found.largest) in (int, float)
    texts = all(isinstance(text, str) for text in (found.dtype, found.unit, *found.ids))
    if not known or not texts or not 0 <= found.changed <= found.n <= found.n_rows or not found.n:
        return None
    if not math.isfinite(found.largest):
        return None
    return found
