"""What a worker does with one shard: scores its rows, or explains them, and writes what it found.

The worker is the same whatever engine runs it. It loads the model once, and a shard's bytes depend on the plan alone:
on its rows, on how they are put into batches, on the number of threads, and on the kind of device.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .errors import CaptureError, DataError, InputError, UsageError
from .explanations import explained
from .records import Floats, Rows
from .scored_rows import evidence_of
from .shards import Plan, Product, Shards
from .staged_rows import Columns, StagedRows

if TYPE_CHECKING:
    from .interpret.models import Subject

Kind = Literal["scores", "explanations"]
OnBadRow = Literal["stop", "skip"]
ON_BAD_ROW = ("stop", "skip")
SKIP_THEM = " To leave such rows out and have them listed: --on-bad-row skip."
LeftOut = tuple[int, str, str]  # place among all rows, id, why


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a worker in any process needs to know. Everything but the places of files is in the plan's settings."""

    shards: Path
    plan: Plan
    rows: Path  # as `staged_rows.stage` wrote them
    columns: Columns
    kind: Kind
    model: Path | None = None  # a folder for `load`; None where the subject is in memory
    load: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int = 64
    threads: int = 1
    on_bad_row: OnBadRow = "stop"


class Worker:
    """Loads the model once; called with a shard's number, computes the shard and writes it.

    Raises:
        ModelError: the model cannot be loaded.
    """

    def __init__(self, job: Job, subject: "Subject | None" = None) -> None:
        import torch

        from .interpret.models import load

        torch.set_num_threads(job.threads)
        if subject is None:
            if job.model is None:
                raise UsageError(
                    "a model in memory is scored in this process alone. Name its folder instead."
                )
            subject = load(job.model, **job.load)
        self.job, self.subject = job, subject
        self.rows = StagedRows(job.rows, job.columns)
        self.shards = Shards(job.shards, job.plan)

    def __call__(self, index: int) -> int:
        """Compute one shard, write it, and return its number of rows.

        Raises:
            DataError: a row cannot be used, and rows are not left out; or no row of the shard can.
        """
        began = time.perf_counter()
        begin, end = self.job.plan.bounds(index)
        left_out = [] if self.job.on_bad_row == "stop" else self._unusable(begin, end)
        if len(left_out) == end - begin:
            raise DataError(
                f"none of the rows {begin} to {end - 1} can be used; the first, {left_out[0][1]}: {left_out[0][2]}"
            )
        try:
            rows = self.rows.rows(begin, end, [place for place, _, _ in left_out])
            made = self._made(rows)
        except InputError as error:
            more = SKIP_THEM if self.job.on_bad_row == "stop" and isinstance(error, DataError) else ""
            raise type(error)(f"in rows {begin} to {end - 1}: {error}{more}") from error
        self.shards.put(
            index,
            Product(table=made.table, notes=made.notes, left_out=tuple(left_out)),
            time.perf_counter() - began,
        )
        return end - begin

    def _made(self, rows: Rows) -> Product:
        if self.job.kind == "explanations":
            return explained(self.subject, rows, batch_size=self.job.batch_size)
        return scores(self.subject, rows, batch_size=self.job.batch_size)

    def _unusable(self, begin: int, end: int) -> list[LeftOut]:
        def check(first: int, last: int) -> None:
            score_rows(self.subject, self.rows.rows(first, last), self.job.batch_size)

        return unusable(check, begin, end, lambda place: self.rows.ids(place, place + 1)[0])


def unusable(
    check: Callable[[int, int], None], begin: int, end: int, name: Callable[[int], str]
) -> list[LeftOut]:
    """The places in [begin, end) at which `check` of one row fails, found by halving stretches that fail.

    Raises:
        CaptureError: what fails is not the row but the way into the model.
    """
    try:
        check(begin, end)
    except CaptureError:
        raise
    except InputError as error:
        if end - begin == 1:
            return [(begin, name(begin), str(error))]
        middle = (begin + end) // 2
        return [*unusable(check, begin, middle, name), *unusable(check, middle, end, name)]
    return []


def scores(subject: "Subject", rows: Rows, *, batch_size: int) -> Product:
    """One shard's evidence: id, label, decision, score, groups; of the same kinds in every shard."""
    table = evidence_of(subject, rows, score_rows(subject, rows, batch_size)).table
    kinds = {"id": pa.string(), "label": pa.int64(), "prediction": pa.int64(), "score": pa.float64()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in table.column_names])
    return Product(table=table.cast(schema))


def score_rows(subject: "Subject", rows: Rows, batch_size: int) -> Floats:
    """The score of every row, (example,), rows of about one length together, half as many where memory runs out.

    Raises:
        DataError: a row cannot be encoded, or a score is not finite.
    """
    import torch

    from .interpret.batches import backing_off, bucketed
    from .interpret.models import check_finite

    lengths = [len(names) for names in subject.names(rows)]
    made = np.zeros(len(rows))

    def some(places: Sequence[int]) -> Callable[[int], list[torch.Tensor]]:
        def run(at_once: int) -> list[torch.Tensor]:
            parts = [places[i : i + at_once] for i in range(0, len(places), at_once)]
            encoded = (subject.encode(rows.take(part)) for part in parts)
            return [subject.select(subject.forward(one, None)) for one in encoded]

        return run

    def read(index: npt.NDArray[np.intp], begun: list[torch.Tensor]) -> None:
        made[index] = np.concatenate([part.cpu().double().numpy() for part in begun])

    before: tuple[npt.NDArray[np.intp], list[torch.Tensor]] | None = None
    with torch.no_grad():
        for index in bucketed(lengths, batch_size):
            begun = backing_off(some(index.tolist()), len(index), "scoring")
            if before is not None:
                read(*before)  # only now, so that a GPU has the next batch before it is waited for
            before = index, begun
    if before is not None:
        read(*before)
    check_finite(made, rows.ids, subject.name)
    return made
