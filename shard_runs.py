"""A run over shards: rows copied to a folder, a plan of what decides the bytes, an engine that works."""

import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from .engines import Team, run, threads
from .errors import DataError, OutputError, UsageError, did_you_mean
from .half_precision import ROUNDINGS, Rounding, check_asked, compared, is_half, keep, kept, refuse
from .held_folders import Held, held
from .records import plain
from .sealed_notes import read_note, write_note
from .shard_work import ON_BAD_ROW, Job, Kind, LeftOut, OnBadRow
from .shards import SHARD_ROWS, Plan, Shards
from .source_files import files_of
from .staged_rows import Columns, StagedRows, stage
from .terminal import printable
from .whole_files import file_hash

if TYPE_CHECKING:
    from .interpret.models import Subject

PACKAGES = ("clinometer", "torch", "transformers", "numpy", "pyarrow")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Who works on how much at a time. Of these, rows of a shard and of a batch, and threads, decide the last bits.

    Args:
        engine: "local" (this machine), "torchrun" (in processes that torchrun started) or "ray" (an actor pool).
        workers: processes of `local`, actors of `ray`; torchrun says itself how many there are.
        threads: of each worker; where None, those that torch takes, shared out among the workers.
        shard_rows: at most so many rows of a shard; a shard is what a killed run does again at most, per worker.
        batch_size: rows encoded together.
        on_bad_row: "stop" at a row that cannot be used, or "skip" it and list it.
        rounding: of a model in half precision: "check" 512 rows beside float32 and refuse where decisions differ, "record"
            how much they differ and go on, or "skip" this.
    """

    engine: str = "local"
    workers: int = 1
    threads: int | None = None
    shard_rows: int = SHARD_ROWS
    batch_size: int = 64
    on_bad_row: str = "stop"
    rounding: str = "check"

    def __post_init__(self) -> None:
        for name, known in (("on_bad_row", ON_BAD_ROW), ("rounding", ROUNDINGS)):
            value = getattr(self, name)
            if value not in known:
                raise UsageError(f"{name} is {value!r}: {did_you_mean(value, known)}")
        for name in ("workers", "shard_rows", "batch_size", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}; 1 or more is expected.")

    @property
    def threads_each(self) -> int:
        """Threads of each worker."""
        import torch

        if self.threads is not None:
            return self.threads
        return max(1, torch.get_num_threads() // (self.workers if self.engine != "torchrun" else 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A run that can be carried out: its rows are in its folder, its plan is known."""

    job: Job
    subject: "Subject"
    rows: StagedRows
    how: Work
    told: str  # what became of an unfinished run of another plan that was there
    rounding: Rounding | None = None  # of a model in half precision, in the process that leads

    def carry_out(self, team: Team, *, progress: bool = False) -> None:
        """Have all shards done.

        Raises:
            DataError, ModelError, UsageError, OutputError: see `engines.run`.
        """
        alone = self.how.engine == "torchrun" or (self.how.engine == "local" and self.how.workers == 1)
        run(
            self.job,
            engine=self.how.engine,
            workers=self.how.workers,
            team=team,
            subject=self.subject if alone or self.job.model is None else None,
            progress=progress,
        )

    @property
    def shards(self) -> Shards:
        """The shards, some or all of them done."""
        return Shards(self.job.shards, self.job.plan)

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """The rows that were left out, in order, when all shards are done."""
        return tuple(one for part in self.shards.each() for one in part.left_out)


@contextmanager
def alone(folder: Path, team: Team, *, say: bool) -> Iterator[Held | None]:
    """Hold the folder of a run, in the process that leads; None in the others. `say`: print where that cannot be known."""
    if not team.leads:
        yield None
        return
    with held(folder) as hold:
        if hold.told and say:
            print(f"note: {printable(hold.told)}", file=sys.stderr)
        yield hold


def prepare(
    kind: Kind,
    model: "Subject | str | Path",
    source: Any,
    columns: Columns,
    folder: Path,
    how: Work,
    team: Team,
    *,
    load: Mapping[str, Any] | None = None,
) -> Prepared:
    """Copy the rows to a folder, unless they are there, and open the folder of shards of this plan.

    Args:
        kind: what is made of a row: its score, or its explanation.
        model: a folder for `load`, or a subject in memory.
        source: see `staged_rows.stage`.
        columns: id, label and groups; the model's inputs are added.
        folder: of the run, to be removed when what was made has been written elsewhere.
        how: who works.
        team: from `engines.joined`.
        load: arguments of `load`.

    Raises:
        DataError, ModelError, UsageError, OutputError: see `sharded_evidence.evidence`.
    """
    from .interpret.models import load as load_model

    settings = _placed(load or {}, team)
    in_folder = isinstance(model, (str, Path))
    subject = load_model(cast(Any, model), **settings) if in_folder else cast("Subject", model)
    dtype = str(next(subject.module.parameters()).dtype).removeprefix("torch.")
    check_asked(how.rounding, dtype, in_folder=in_folder)
    read = replace(columns, inputs=tuple(subject.columns), optional=tuple(subject.optional))
    if team.leads:
        copied(source, folder, read)
    team.wait()
    rows, rows_hash = opened_copy(folder, read)
    plan = Plan(
        n_rows=len(rows),
        shard_rows=how.shard_rows,
        settings={
            "kind": kind,
            "model": plain(identity(subject)),
            "rows_sha256": rows_hash,
            "columns": plain(rows.columns),
            "batch_size": how.batch_size,
            "threads": how.threads_each,
            "device": subject.device.type,
            "dtype": dtype,
            **({"rounding": how.rounding} if is_half(dtype) else {}),
            "on_bad_row": how.on_bad_row,
            "versions": versions(),
        },
    )
    told = Shards.opened(folder / "run", plan)[1] if team.leads else ""
    team.wait()
    job = Job(
        shards=folder / "run",
        plan=plan,
        rows=rows.path,
        columns=rows.columns,
        kind=kind,
        model=Path(cast(Any, model)) if in_folder else None,
        load=settings,
        batch_size=how.batch_size,
        threads=how.threads_each,
        on_bad_row=cast(OnBadRow, how.on_bad_row),
    )
    return Prepared(job=job, subject=subject, rows=rows, how=how, told=told)


def beside_float32(prepared: Prepared, team: Team) -> Prepared:
    """The run with what half precision changes in it, measured once for a plan, by the process that leads.

    Raises:
        ModelError: it is too much, and `Work.rounding` is "check"; see `half_precision.compared`.
        DataError: a row cannot be scored.
    """
    job = prepared.job
    if not team.leads or not is_half(str(job.plan.settings["dtype"])) or prepared.how.rounding == "skip":
        return prepared
    note = job.shards.parent / "rounding.json"
    found = kept(note, job.plan.id)
    if found is None:
        with threads(job.threads):
            found = compared(
                prepared.subject,
                cast(Path, job.model),
                job.load,
                prepared.rows,
                batch_size=job.batch_size,
                on_bad_row=job.on_bad_row,
            )
        keep(note, job.plan.id, found)
    if prepared.how.rounding == "check":
        refuse(found)
    return replace(prepared, rounding=found)


def _placed(load: Mapping[str, Any], team: Team) -> dict[str, Any]:
    """The arguments of `load` with, of several GPUs of a machine, the one of this process."""
    settings = dict(load)
    if team.size > 1 and settings.get("device") == "cuda":
        settings["device"] = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return settings


def copied(source: Any, folder: Path, columns: Columns) -> bool:
    """Copy the rows to a folder, unless they were copied before from the same files; whether they were copied now.

    Raises:
        DataError, UsageError, OutputError: see `staged_rows.stage`.
    """
    said = {
        "files": {str(i): file_hash(file) for i, file in enumerate(files_of(source))},
        "columns": plain(columns),
    }
    note, target = folder / "source.json", folder / "rows.parquet"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        before = read_note(note)
        same = before is not None and {name: before.get(name) for name in said} == said
        if (
            before is not None
            and same
            and target.is_file()
            and file_hash(target) == before.get("rows_sha256")
        ):
            return False
    except OSError as error:
        raise OutputError(f"{folder} cannot be used: {error.strerror or error}.") from error
    rows, rows_hash = stage(source, target, columns)
    write_note(note, {**said, "rows_sha256": rows_hash, "id": rows.columns.id})
    return True


def opened_copy(folder: Path, columns: Columns) -> tuple[StagedRows, str]:
    """The rows that `copied` wrote, and SHA-256 of their file.

    Raises:
        DataError: the copy is not there, or damaged.
    """
    note = read_note(folder / "source.json") or {}
    named, rows_hash = note.get("id"), note.get("rows_sha256")
    if not isinstance(named, str) or not isinstance(rows_hash, str):
        raise DataError(
            f"{folder} has no whole source.json: its rows are copied again when the run is begun again."
        )
    return StagedRows(folder / "rows.parquet", replace(columns, id=named)), rows_hash


def identity(subject: "Subject") -> dict[str, Any]:
    """What tells a model and what is asked of it from any other: names, target, threshold, and hashes of its weights."""
    import torch

    told = dict(subject.provenance)
    if "weights_sha256" not in told:
        digest = hashlib.sha256()
        for name, tensor in sorted(subject.module.state_dict().items()):
            if isinstance(tensor, torch.Tensor):
                digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
                digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        told["state_sha256"] = digest.hexdigest()
    return {
        "name": subject.name,
        "target": subject.target,
        "threshold": subject.threshold,
        "labels": list(subject.labels),
        "provenance": told,
    }


def versions() -> dict[str, str]:
    """Of the packages that a number may depend on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found
