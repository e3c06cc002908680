"""Shards: the parts of a long run, each written once and whole with its checksum, so that a killed run goes on.

A folder of shards holds `plan.json`, which says what decides the bytes, and for each shard a Parquet table and, written
after it, a note that names the plan, the table's checksum and its own. A shard counts as done where its note is there
and both checksums hold; a run that is killed at any moment leaves shards that are done and files that are not
looked at. How many workers there are, and what ran when, is in neither.
"""

import hashlib
import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pa_parquet

from .bounded_files import read_json
from .errors import DataError, OutputError, UsageError
from .sealed_notes import read_note, write_note
from .whole_files import file_hash, whole

SHARD_ROWS = 1024
LAYOUT = 2  # of a folder of shards; another one is begun anew
LONGEST_NAME, LONGEST_TIME = 40, 64  # characters of a setting that is named, of seconds in a file


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which rows belong together, and everything else that decides what is computed of them.

    The rows are divided into the fewest shards of at most `shard_rows`, of sizes that differ by one at most.
    """

    n_rows: int
    shard_rows: int = SHARD_ROWS
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.shard_rows < 1:
            raise UsageError(f"shard_rows is {self.shard_rows}; 1 or more is expected (--shard-rows).")
        if self.n_rows < 1:
            raise DataError("there are no rows. One row per example is expected.")

    @property
    def n_shards(self) -> int:
        """How many shards there are."""
        return -(-self.n_rows // self.shard_rows)

    def bounds(self, index: int) -> tuple[int, int]:
        """The rows [first, last) of a shard."""
        return index * self.n_rows // self.n_shards, (index + 1) * self.n_rows // self.n_shards

    @property
    def id(self) -> str:
        """SHA-256 of the plan: two runs with one id write the same bytes."""
        return hashlib.sha256(self._text().encode()).hexdigest()

    def _text(self) -> str:
        said = {
            "layout": LAYOUT,
            "n_rows": self.n_rows,
            "shard_rows": self.shard_rows,
            "settings": dict(self.settings),
        }
        return json.dumps(said, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def write(self, path: Path) -> None:
        """Write the plan as JSON.

        Raises:
            OutputError: it cannot be written.
        """
        with whole(path, durable=True) as temporary:
            temporary.write_text(self._text(), encoding="utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """What was computed of the rows of one shard.

    `table` has one row per row of the shard, but for those left out; `notes` are JSON; `left_out` are the rows that
    could not be used: their place among all rows, their id, and why.
    """

    table: pa.Table
    notes: Mapping[str, Any] = field(default_factory=dict)
    left_out: tuple[tuple[int, str, str], ...] = ()


class Shards:
    """The folder of a plan's shards. See the module."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder, self.plan = folder, plan

    @classmethod
    def opened(cls, folder: str | Path, plan: Plan) -> tuple[Self, str]:
        """The folder of this plan's shards, made where it is not there; and what became of one of another plan.

        Shards of another plan (other rows, another model, other settings) are of no use to this run and are removed;
        the words say which settings differ. They are "" where nothing was removed.

        Raises:
            OutputError: the folder cannot be made, or holds something that is no run of shards.
        """
        where, told = Path(folder), ""
        kept = where / "plan.json"
        try:
            if where.exists() and not where.is_dir():
                raise OutputError(f"{where} is a file; a folder is expected.")
            if where.is_dir() and not kept.is_file() and not _unbegun(where):
                raise OutputError(
                    f"{where} holds something other than an unfinished run. Name another folder."
                )
            if kept.is_file() and kept.read_bytes() != plan._text().encode():
                told = _differences(kept, plan)
                shutil.rmtree(where / "shards", ignore_errors=True)
                kept.unlink()
            (where / "shards").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{where} cannot be written: {error.strerror or error}.") from error
        if not kept.is_file():
            plan.write(kept)
        return cls(where, plan), told

    def missing(self) -> tuple[int, ...]:
        """The shards that are not done, in order; those with a wrong checksum among them."""
        return tuple(index for index in range(self.plan.n_shards) if not self._whole(index))

    def put(self, index: int, product: Product, seconds: float) -> None:
        """Write a shard: its table first, its note last, each of them whole.

        Raises:
            OutputError: a file cannot be written; the shard then counts as not done.
        """
        table = self._path(index, "parquet")
        with whole(table, durable=True) as temporary:
            pa_parquet.write_table(product.table, temporary, compression="zstd")
        note = {
            "plan": self.plan.id,
            "rows": self.plan.bounds(index),
            "sha256": file_hash(table),
            "left_out": product.left_out,
            "notes": product.notes,
        }
        with whole(self._path(index, "seconds")) as temporary:
            temporary.write_text(f"{seconds:.6f}\n", encoding="utf-8")
        write_note(self._path(index, "json"), note)

    def get(self, index: int) -> Product:
        """A shard that is done.

        Raises:
            DataError: it is not done, or its files are damaged.
        """
        note = self._note(index)
        if note is None or not self._whole(index):
            raise DataError(
                f"shard {index} of {self.folder} is not done, or damaged. Run again: it is made anew."
            )
        path, (begin, end) = self._path(index, "parquet"), self.plan.bounds(index)
        expected = end - begin - len(note["left_out"])
        try:
            found = pa_parquet.read_metadata(path).num_rows  # before memory is taken for what it claims
            table = pa_parquet.read_table(path) if found == expected else None
            if table is not None:
                table.validate(full=True)
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise DataError(
                f"shard {index} of {self.folder} cannot be read: {reason}. {self._way_out(index)}"
            ) from error
        if table is None:
            raise DataError(
                f"shard {index} of {self.folder} has {found} rows, expected {expected}. {self._way_out(index)}"
            )
        left_out = tuple((place, name, why) for place, name, why in note["left_out"])
        return Product(table=table, notes=note["notes"], left_out=left_out)

    def each(self) -> Iterator[Product]:
        """All shards, in order, one at a time.

        Raises:
            DataError: one is not done, or damaged.
        """
        for index in range(self.plan.n_shards):
            yield self.get(index)

    def seconds(self) -> tuple[float | None, ...]:
        """How long each shard took, in the order of the shards; None where its file no longer says."""
        return tuple(_seconds(self._path(index, "seconds")) for index in range(self.plan.n_shards))

    def _path(self, index: int, suffix: str) -> Path:
        return self.folder / "shards" / f"{index:06d}.{suffix}"

    def _way_out(self, index: int) -> str:
        return f"Remove {self._path(index, 'json')} and run again: the shard is made anew."

    def _note(self, index: int) -> dict[str, Any] | None:
        """What was kept of a shard of this plan, or None."""
        note = read_note(self._path(index, "json"))
        if note is None or note.get("plan") != self.plan.id or note.get("rows") != [*self.plan.bounds(index)]:
            return None
        known = isinstance(note.get("sha256"), str) and isinstance(note.get("notes"), dict)
        return note if known and is_left_out(note.get("left_out")) else None

    def _whole(self, index: int) -> bool:
        note = self._note(index)
        if note is None:
            return False
        try:
            return bool(file_hash(self._path(index, "parquet")) == note["sha256"])
        except OSError:
            return False

    def __repr__(self) -> str:
        return f"Shards({self.plan.n_shards} of {self.plan.n_rows} rows, {len(self.missing())} not done)"


def _unbegun(folder: Path) -> bool:
    """Whether a folder without a plan holds nothing but what a run leaves that was killed before it wrote its plan."""
    others = [path for path in folder.iterdir() if not path.name.startswith(".plan.json-")]
    return all(path.name == "shards" and path.is_dir() and not any(path.iterdir()) for path in others)


def is_left_out(held: Any) -> bool:
    """Whether it is a list of rows that were left out, as JSON has it: places, ids, reasons."""
    return isinstance(held, list) and all(
        isinstance(one, list) and [type(part) for part in one] == [int, str, str] for one in held
    )


def _seconds(path: Path) -> float | None:
    try:
        with path.open("rb") as file:
            raw = file.read(LONGEST_TIME + 1)
        said = float(raw)
    except (OSError, ValueError):
        return None
    return said if len(raw) <= LONGEST_TIME and math.isfinite(said) and said >= 0 else None


def _differences(kept: Path, plan: Plan) -> str:
    """In words, what of a plan on disk is not as in this one."""
    try:
        before = read_json(kept, DataError)
    except DataError:
        return "the plan that was there cannot be read"
    if not isinstance(before, dict) or not isinstance(before.get("settings"), dict):
        return "the plan that was there cannot be read"
    now = json.loads(plan._text())
    before, now = ({**one.pop("settings"), **one} for one in (before, now))
    other: Sequence[str] = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    if not other:
        return "the plan that was there is not as it was written"
    named = [name for name in other if name in now or (name.isidentifier() and len(name) <= LONGEST_NAME)]
    strange = ["what is no setting"] if len(named) < len(other) else []
    return f"the unfinished run that was there differs in {', '.join([*named, *strange])}"
