"""Evidence of any number of rows: scored shard by shard, by any engine, resumed where it was killed."""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pa_parquet

from .engines import joined
from .errors import OutputError
from .evidence import Evidence, from_table
from .evidence_files import carried
from .evidence_files import read as read_evidence
from .shard_runs import Prepared, Work, prepare
from .shard_work import LeftOut
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
        ModelError: the model cannot be loaded.
        UsageError: settings that do not go together.
        OutputError: the folder holds something else, or cannot be written; a worker was ended from outside.
    """
    how, target = work or Work(), Path(out)
    columns = Columns(inputs=(), groups=tuple(groups), label=label, id=id)
    began = time.perf_counter()
    with joined(how.engine) as team:
        if team.leads:
            _may_write(target)
        prepared = prepare("scores", model, source, columns, target / "unfinished", how, team, load=load)
        there = _there(target, prepared.job.plan.id)
        if there is None and (target / "run.json").exists() and not force:
            raise OutputError(
                f"{target} holds evidence of another run (other rows, model or settings). Name another folder, or "
                "replace it with --force."
            )
        team.wait()
        if there is None:
            prepared.carry_out(team, progress=progress)
        if not team.leads:
            return None
        if there is None:
            there = _merged(prepared, target)
            timings = {
                "engine": how.engine,
                "workers": team.size if how.engine == "torchrun" else how.workers,
                "seconds": time.perf_counter() - began,
                "seconds_of_shards": prepared.shards.seconds(),
            }
            _write_json(target / "timings.json", timings)
        shutil.rmtree(target / "unfinished", ignore_errors=True)
        return there


def _may_write(target: Path) -> None:
    """Refuse a folder of anything else."""
    if target.is_dir():
        remove_unfinished(target, *FILES)
        strange = {path.name for path in target.iterdir()} - {*FILES, "unfinished"}
        if not strange:
            return
        raise OutputError(
            f"{target} holds something other than evidence ({min(strange)}). Name another folder."
        )
    if target.exists():
        raise OutputError(f"{target} is a file; a folder is expected.")


def _there(target: Path, plan: str) -> EvidenceRun | None:
    """What an earlier run of the same plan wrote, if it is whole."""
    try:
        said = json.loads((target / "run.json").read_text("utf-8"))
        if said["plan"] != plan or file_hash(target / "evidence.parquet") != said["evidence_sha256"]:
            return None
        left_out = tuple((place, name, why) for place, name, why in said["left_out"])
        return EvidenceRun(
            folder=target, n=said["n"], left_out=left_out, plan=plan, sha256=said["evidence_sha256"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


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
                        },
                    )
                    writer = pa_parquet.ParquetWriter(
                        temporary, part.table.schema.with_metadata(carried(roles)), compression="zstd"
                    )
                writer.write_table(part.table.replace_schema_metadata(carried(roles)))
                left_out += part.left_out
                n += len(part.table)
        finally:
            if writer is not None:
                writer.close()
    made = EvidenceRun(
        folder=target, n=n, left_out=tuple(left_out), plan=plan.id, sha256=file_hash(path), told=prepared.told
    )
    note = {
        "plan": plan.id,
        "settings": dict(plan.settings),
        "shard_rows": plan.shard_rows,
        "n": n,
        "left_out": left_out,
        "evidence_sha256": made.sha256,
    }
    _write_json(target / "run.json", note)
    return made


def _write_json(path: Path, said: Mapping[str, Any]) -> None:
    with whole(path, durable=True) as temporary:
        text = json.dumps(said, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
