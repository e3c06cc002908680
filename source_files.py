"""Files as lazy tables of DuckDB, which reads them piece by piece."""

import csv
import glob
import gzip
import re
import tempfile
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pa_parquet

from .bounded_files import read_json
from .distinct_rows import Roles, binned_before
from .errors import DataError, UsageError, did_you_mean, first
from .evidence_files import roles_of

LONGEST_HEADER = 2**24  # characters
LONGEST_NAME = 200  # characters of a file's name
CSV, PARQUET = (".csv", ".csv.gz"), (".parquet", ".pq")
# What pyarrow reads as missing in a CSV file, and therefore `evidence.read` too.
MISSING = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("N/A", "NA", "NULL", "NaN", "n/a", "nan", "null"),
)


def kind_of(file: Path) -> tuple[str, ...]:
    for kind in (CSV, PARQUET):
        if file.name.lower().endswith(kind):
            return kind
    raise DataError(
        f"{file} has the suffix {file.suffix or '(none)'!r}; {first([*CSV, *PARQUET])} is expected."
    )


def files_of(source: Any) -> list[Path]:
    """The files that are named, in order, each once; patterns in the order of names."""
    found: dict[Path, None] = {}
    for part in [source] if isinstance(source, (str, Path)) else source:
        if Path(part).is_file():
            found[Path(part)] = None
            continue
        matches = sorted(Path(name) for name in glob.glob(str(part), recursive=True) if Path(name).is_file())
        if not matches:
            raise DataError(
                f"{part} is no file, and matches none. Name CSV or Parquet files, or a saved data set."
            )
        found |= dict.fromkeys(matches)
    files = list(found)
    if not files:
        raise DataError("there are no files. Name at least one CSV or Parquet file.")
    other = [file for file in files if kind_of(file) != kind_of(files[0])]
    if other:
        raise DataError(
            f"{files[0]} and {other[0]} are of two kinds. Scan each kind by itself, and merge the counts."
        )
    empty = [file for file in files if file.stat().st_size == 0]
    if empty:
        raise DataError(f"{first(empty)} is empty.")
    return files


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What DuckDB may use: memory, threads, and a folder for what does not fit into memory."""

    memory_limit: str | None = None
    threads: int | None = None
    temporary: str | Path | None = None

    @property
    def stated(self) -> list[str]:
        """The names of those that were given."""
        return [item.name for item in fields(self) if getattr(self, item.name) is not None]

    def connected(self) -> Any:
        """A DuckDB of its own, in memory, within these bounds; it fetches nothing from a network."""
        import duckdb

        folder = Path(self.temporary if self.temporary is not None else tempfile.gettempdir())
        if not folder.is_dir():
            raise UsageError(f"temporary is {str(folder)!r}, which is no folder.")
        settings: dict[str, Any] = {
            "memory_limit": self.memory_limit or "1GB",
            "temp_directory": str(folder / f"clinometer-duckdb-{uuid.uuid4().hex}"),
            "autoinstall_known_extensions": False,
        }
        if self.threads is not None:
            if self.threads < 1:
                raise UsageError(f"threads is {self.threads}; at least 1 is expected.")
            settings["threads"] = self.threads
        try:
            return duckdb.connect(":memory:", config=settings)
        except duckdb.Error as error:
            raise UsageError(f"memory_limit={self.memory_limit!r}: {str(error).splitlines()[0]}") from error


def _literal(file: Path) -> str:
    """A file's name in which DuckDB sees no pattern."""
    return re.sub(r"([*?\[])", r"[\1]", str(file))


def parquet_relation(
    files: Sequence[Path], given: dict[str, Any], options: Options
) -> tuple[Any, dict[str, Any]]:
    schemas = []
    for file in files:
        try:
            schemas.append(pa_parquet.read_schema(file))
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{file} is not a whole Parquet file: {str(error).splitlines()[0]}") from error
    roles = roles_of(schemas[0], files[0], given)
    needed = _needed(Roles.of(roles))
    carried = roles.get("provenance") or {}
    for file, schema in zip(files, schemas, strict=True):
        if file != files[0]:
            other = roles_of(schema, file, given)
            differ = [
                name for name in roles | other if name != "provenance" and roles.get(name) != other.get(name)
            ]
            if differ:
                raise DataError(
                    f"{file} carries another {first(differ)} than {files[0]}: {other.get(differ[0])!r} and "
                    f"{roles.get(differ[0])!r}. Name it."
                )
            one, two = (binned_before(made.get("provenance") or {}) for made in (roles, other))
            if one != two:
                raise DataError(
                    f"{file} and {files[0]} keep their scores in different bins, or one of them exactly. Read each "
                    "with clinometer.read_evidence, and merge them."
                )
            theirs = other.get("provenance") or {}
            carried = {name: value for name, value in carried.items() if theirs.get(name) == value}
    _same_columns({file: schema.names for file, schema in zip(files, schemas, strict=True)}, needed)
    relation = options.connected().read_parquet([_literal(file) for file in files], union_by_name=True)
    counted = (roles.get("provenance") or {}).get("counted")
    return relation, {**roles, "provenance": {**carried, "counted": counted}}


def _needed(roles: Roles) -> list[str]:
    return [name for name in dict.fromkeys((roles.id, *roles.texts, *roles.numbers)) if name is not None]


def _same_columns(columns: Mapping[Path, Sequence[str]], needed: Sequence[str]) -> None:
    """Refuse a needed column that some files have and others lack: its values would be missing in silence."""
    for name in needed:
        having = [file for file, names in columns.items() if name in names]
        lacking = [file for file, names in columns.items() if name not in names]
        if having and lacking:
            raise DataError(
                f"{lacking[0]} has no column {name!r}, which {having[0]} has: {did_you_mean(name, columns[lacking[0]])}"
            )


def csv_relation(
    files: Sequence[Path], given: dict[str, Any], options: Options
) -> tuple[Any, dict[str, Any]]:
    """Every column as it is written; columns of numbers as numbers."""
    headers = {file: _header(file) for file in files}
    names = headers[files[0]]
    roles = roles_of(pa.schema([pa.field(name, pa.string()) for name in names]), files[0], given)
    made = Roles.of(roles)
    needed = _needed(made)
    _same_columns(headers, needed)
    made.check(names)
    connection = options.connected()
    relations = []
    for header in dict.fromkeys(tuple(headers[file]) for file in files):
        alike = [_literal(file) for file in files if tuple(headers[file]) == header]
        kinds = {name: "DOUBLE" if name in made.numbers else "VARCHAR" for name in header}
        relation = connection.read_csv(
            alike,
            columns=kinds,
            auto_detect=False,
            header=True,
            delimiter=",",
            quotechar='"',
            escapechar='"',
            na_values=list(MISSING),
        )
        relations.append(relation.project(", ".join('"' + name.replace('"', '""') + '"' for name in needed)))
    joined = relations[0]
    for relation in relations[1:]:
        joined = joined.union(relation)
    return joined, roles


def _header(file: Path) -> list[str]:
    opened = gzip.open if file.name.lower().endswith(".gz") else open
    try:
        with opened(file, "rt", encoding="utf-8-sig", newline="") as lines:
            header = next((row for row in csv.reader(_bounded(lines)) if row), None)
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8: {error.reason}. Save it as UTF-8, e.g. with iconv.") from error
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise DataError(f"{file} cannot be read: {error}. A header line of columns is expected.") from error
    if header is None:
        raise DataError(f"{file} is empty. One header line and one row per example are expected.")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(f"{file} has two columns called {first(twice)}. Give each column its own name.")
    return header


def _bounded(lines: Any) -> Iterator[str]:
    """Lines that are no longer than a header can be: a packed file may hold one that memory cannot."""
    while line := lines.readline(LONGEST_HEADER + 1):
        if len(line) > LONGEST_HEADER:
            raise csv.Error(f"its first line has more than {LONGEST_HEADER:,} characters")
        yield line


def saved_dataset(folder: Path) -> tuple[pa.Table, dict[str, tuple[str, ...]]]:
    """The table of a data set saved with `save_to_disk`, mapped and not read; the names of its classes."""
    if (folder / "dataset_dict.json").is_file():
        splits = _json(folder / "dataset_dict.json").get("splits", [])
        raise DataError(f"{folder} holds the splits {first(splits)}. Name one of them: its folder is within.")
    if not (folder / "state.json").is_file():
        raise DataError(
            f"{folder} is a folder without state.json, so no data set that was saved with save_to_disk. "
            f"For files in a folder give a pattern, as {folder / '*.parquet'}."
        )
    state = _json(folder / "state.json")
    if state.get("_indices_data_files") or state.get("_indices_files"):
        raise DataError(
            f"{folder} was saved with a selection of its rows apart. Save it again after flatten_indices()."
        )
    tables = []
    entries = state.get("_data_files") or []
    names = (
        [entry.get("filename") for entry in entries if isinstance(entry, dict)]
        if isinstance(entries, list)
        else []
    )
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or len(name) > LONGEST_NAME:
            raise DataError(
                f"{folder / 'state.json'} names the file {name!r}; a name of a file beside it is expected. Save the data "
                "set again."
            )
        file = folder / name
        if not file.is_file():
            raise DataError(f"{folder} lacks {name!r}, which its state.json names.")
        try:
            mapped = pa.memory_map(str(file))
            try:
                tables.append(pa.ipc.open_stream(mapped).read_all())
            except pa.ArrowInvalid:
                tables.append(pa.ipc.open_file(mapped).read_all())
            tables[-1].validate(full=True)  # of texts that are none, and places that lie outside
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise DataError(f"{file} is no Arrow file: {str(error).splitlines()[0]}") from error
    if not tables or len(names) != len(entries):
        raise DataError(f"{folder} names no data files in its state.json.")
    info = folder / "dataset_info.json"
    features = (_json(info).get("features") or {}) if info.is_file() else {}
    if not isinstance(features, dict):
        raise DataError(f"{info} has features {features!r}; an object is expected. Save the data set again.")
    classes = {
        name: tuple(map(str, feature["names"]))
        for name, feature in features.items()
        if isinstance(feature, dict)
        and feature.get("_type") == "ClassLabel"
        and isinstance(feature.get("names"), list)
        and feature["names"]
    }
    try:
        return pa.concat_tables(tables), classes
    except pa.ArrowInvalid as error:
        raise DataError(f"{folder}: its files differ: {str(error).splitlines()[0]}") from error


def _json(file: Path) -> dict[str, Any]:
    read = read_json(file, DataError, way_out="Save the data set again.")
    if not isinstance(read, dict):
        raise DataError(
            f"{file} holds a {type(read).__name__}; an object is expected. Save the data set again."
        )
    return read
