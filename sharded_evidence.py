"""Evidence of any number of rows: scored shard by shard, by any engine, resumed where it was killed."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pa_parquet

from .engines import Team, joined, keeping
from .errors import DataError, OutputError, first
from .evidence import Evidence, from_table
from .evidence_files import carried
from .evidence_files import read as read_evidence
from .half_precision import NOT_COMPARED, Rounding, is_half, read_back
from .held_folders import Held
from .sealed_notes import read_note, write_note
from .shard_runs import Prepared, Work, alone, beside_float32, prepare
from .shard_work import LeftOut
from .shards import is_left_out
from .sources import Source, scan
from .staged_rows import Columns
from .whole_files import file_hash, remove_unfinished, whole

if TYPE_CHECKING:
    from .interpret.models import Subject


FILES = ("evidence.parquet", "run.json", "timings.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRun:
    """Evidence in a folder: how many rows it has, which were left out and why, and its checksum."""

    folder: Path
    n: int
    left_out: tuple[LeftOut, ...]
    plan: str  # SHA-256 of everything that decides the bytes
    sha256: str  # of evidence.parquet
    told: str = ""  # what became of an unfinished run that was there
    rounding: Rounding | None = (
        None  # of a model in half precision: what that changed on rows scored in float32, too
    )

    @property
    def path(self) -> Path:
        """The Parquet file."""
        return self.folder / "evidence.parquet"

    def read(self) -> Evidence:
        """All of it, in memory."""
        return read_evidence(self.path)

    def scan(self) -> Source:
        """Opened and not read; `scan().counted()` is what `cm.audit` takes, counted out of core."""
        return scan(self.path)

    def __repr__(self) -> str:
        out = f", {len(self.left_out)} left out" if self.left_out else ""
        return f"EvidenceRun({self.n} rows{out}, {self.path})"


def evidence(
    model: "Subject | str | Path",
    source: Any,
    *,
    groups: Sequence[str],
    out: str | Path,
    label: str | None = None,
    id: str | None = None,
    work: Work | None = None,
    load: Mapping[str, Any] | None = None,
    force: bool = False,
    progress: bool = False,
) -> EvidenceRun | None:
    """Score every row of files of any size and write one Parquet file of evidence, in constant memory.

    The file is the same, byte for byte, whatever the engine and the number of workers, and whether or not the run was
    killed on the way. Called again after it was killed, it goes on where it was; called again when all is done, it
    returns what is there.

    Args:
        model: a folder for `load`; or a subject in memory, which one worker in this process scores.
        source: a CSV or Parquet file, a pattern, or a list of files of one kind.
        groups: group columns.
        out: a folder: evidence.parquet, run.json (the plan, the rows left out, the checksum), timings.json.
        label: the column of the truth, 0 or 1.
        id: the column that names a row; by default `id` where there is one, else rows are numbered from 0.
        work: engine, workers, rows of a shard; see `shard_runs.Work`.
        load: arguments of `load`, for a model's folder: device, dtype, positive, ...
        force: replace evidence of another run that is there.
        progress: show a bar.

    Returns:
        What was written; None in processes of torchrun other than the first.

    Raises:
        DataError: a file cannot be read, lacks a column, or holds a row that cannot be used.
        ModelError: the model cannot be loaded; in half precision it decides otherwise than in float32.
        UsageError: settings that do not go together.
        OutputError: the folder holds something else, is in use by another run, or cannot be written; a worker was ended
            from outside.
    """
    how, target = work or Work(), Path(out)
    columns = Columns(inputs=(), groups=tuple(groups), label=label, id=id)
    began = time.perf_counter()
    with joined(how.engine) as team, _alone(target, team, say=progress) as hold:
        prepared = prepare("scores", model, source, columns, target / "unfinished", how, team, load=load)
        there = finished(target, prepared.job.plan.id, force=force)
        team.wait()
        if there is None:
            prepared = beside_float32(prepared, team)
            team.wait()
            prepared.carry_out(team, progress=progress)
        if hold is None:
            return None
        if there is None:
            with keeping(prepared.job):
                there = _merged(prepared, target)
                timings = {
                    "engine": how.engine,
                    "workers": team.size if how.engine == "torchrun" else how.workers,
                    "seconds": time.perf_counter() - began,
                    "seconds_of_shards": prepared.shards.seconds(),
                }
                with whole(target / "timings.json", durable=True) as temporary:
                    text = json.dumps(timings, sort_keys=True, indent=1, allow_nan=False)
                    temporary.write_text(text + "\n", encoding="utf-8")
        hold.clear()
        return there


@contextmanager
def _alone(target: Path, team: Team, *, say: bool) -> Iterator[Held | None]:
    """Hold the folder of the run, which may be written and is rid of what a killed run was writing."""
    if team.leads:
        _may_write(target)
    with alone(target / "unfinished", team, say=say) as hold:
        if hold is not None:
            remove_unfinished(target, *FILES)
        yield hold


def _may_write(target: Path) -> None:
    """Refuse a folder of anything else."""
    if target.is_dir():
        begun = tuple(f".{name}-" for name in FILES)  # what a run that was killed was writing
        strange = {path.name for path in target.iterdir() if not path.name.startswith(begun)}
        strange -= {*FILES, "unfinished"}
        if not strange:
            return
        raise OutputError(
            f"{target} holds something other than evidence ({min(strange)}). Name another folder."
        )
    if target.exists():
        raise OutputError(f"{target} is a file; a folder is expected.")


def finished(target: Path, plan: str, *, force: bool = False) -> EvidenceRun | None:
    """What an earlier run of the same plan wrote, where it is whole: its note, and the evidence that the note is of.

    Raises:
        OutputError: there is something else, which would be replaced, and `force` is not given.
    """
    said, path = read_note(target / "run.json"), target / "evidence.parquet"
    if said is not None and said.get("plan") == plan and _fits(said, path):
        return EvidenceRun(
            folder=target,
            n=said["n"],
            left_out=tuple((place, name, why) for place, name, why in said["left_out"]),
            plan=plan,
            sha256=said["evidence_sha256"],
            rounding=read_back(said.get("rounding")),
        )
    if force or not (target / "run.json").exists():
        return None
    if said is not None and said.get("plan") != plan:
        raise OutputError(
            f"{target} holds evidence of another run (other rows, model or settings). Name another folder, or "
            "replace it with --force."
        )
    what = "run.json" if said is None else "evidence.parquet"
    raise OutputError(
        f"{target} holds evidence that is not as it was written: the checksum of {what} does not hold. Name another "
        "folder, or make it again with --force."
    )


def _fits(said: Mapping[str, Any], path: Path) -> bool:
    """Whether a note is of this file of evidence."""
    try:
        known = type(said.get("n")) is int and is_left_out(said.get("left_out"))
        known = known and ("rounding" not in said or read_back(said["rounding"]) is not None)
        same = known and path.is_file() and file_hash(path) == said.get("evidence_sha256")
        return same and bool(pa_parquet.read_metadata(path).num_rows == said["n"])
    except (OSError, pa.ArrowException):
        return False


def _merged(prepared: Prepared, target: Path) -> EvidenceRun:
    """One Parquet file of all shards, a row group each, and the note that says what it is of."""
    path, subject, plan = target / "evidence.parquet", prepared.subject, prepared.job.plan
    left_out: list[LeftOut] = []
    n, writer = 0, None
    (target / "run.json").unlink(missing_ok=True)
    with whole(path, durable=True) as temporary:
        try:
            for part in prepared.shards.each():
                if writer is None:
                    columns = prepared.job.columns
                    roles = from_table(
                        part.table,
                        id="id",
                        label=None if columns.label is None else "label",
                        prediction="prediction",
                        score="score",
                        groups=columns.groups,
                        provenance={
                            "model": subject.name,
                            "target": subject.target,
                            "threshold": subject.threshold,
                            **subject.provenance,
                            "plan": plan.id,
                            **_rounded(prepared),
                        },
                    )
                    writer = pa_parquet.ParquetWriter(
                        temporary, part.table.schema.with_metadata(carried(roles)), compression="zstd"
                    )
                if not part.table.schema.equals(writer.schema):
                    raise DataError(
                        f"the shards of {prepared.shards.folder} hold different columns: {first(part.table.column_names)} "
                        f"and {first(writer.schema.names)}. Remove {prepared.job.shards.parent} and run again."
                    )
                writer.write_table(part.table.replace_schema_metadata(carried(roles)))
                left_out += part.left_out
                n += len(part.table)
        finally:
            if writer is not None:
                writer.close()
    made = EvidenceRun(
        folder=target,
        n=n,
        left_out=tuple(left_out),
        plan=plan.id,
        sha256=file_hash(path),
        told=prepared.told,
        rounding=prepared.rounding,
    )
    note = {
        "plan": plan.id,
        "settings": dict(plan.settings),
        "shard_rows": plan.shard_rows,
        "n": n,
        "left_out": left_out,
        "evidence_sha256": made.sha256,
        **({"rounding": asdict(made.rounding)} if made.rounding is not None else {}),
    }
    write_note(target / "run.json", note, indent=1)
    return made


def _rounded(prepared: Prepared) -> dict[str, Any]:
    """What evidence in half precision says of it, for whoever audits it: in the report's notes, and in numbers."""
    dtype = str(prepared.job.plan.settings["dtype"])
    if not is_half(dtype):
        return {}
    if prepared.rounding is None:
        return {"limits": [_sentence(NOT_COMPARED.format(dtype=dtype))]}
    numbers = asdict(prepared.rounding)
    del numbers["ids"]  # of rows: run.json has them, and what is made of evidence may be shown to others
    return {"limits": [_sentence(str(prepared.rounding))], "rounding": numbers}


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."
