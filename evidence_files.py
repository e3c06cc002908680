"""Evidence in files: Parquet that carries the role of each column, and everybody's CSV or Parquet.

A Parquet file written here has the roles in its schema metadata, so that it can be read back without naming them.
Everybody else's file is read by naming the columns.
"""

import codecs
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from .bounded_files import parsed_json
from .errors import DataError, UsageError, first
from .evidence import Evidence, from_table
from .whole_files import whole

METADATA = b"clinometer"
MOST_VALUES = 2**32  # of a table that is read at once: 32 GB of numbers
LATER_ROLES = ("count", "weight", "cluster", "strata", "squares")


def read(
    path: str | Path,
    *,
    label: str | None = None,
    prediction: str | None = None,
    score: str | None = None,
    groups: Sequence[str] | None = None,
    measures: Sequence[str] | None = None,
    id: str | None = None,
    positive: str | None = None,
    count: str | None = None,
    weight: str | None = None,
    cluster: str | None = None,
    strata: Sequence[str] | None = None,
    squares: Mapping[str, str] | None = None,
) -> Evidence:
    """Evidence from a CSV (UTF-8) or Parquet file; the suffix says which.

    Roles named here come first, then those that a file of ours carries, then columns that are called `id`,
    `label`, `prediction` or `score`.

    Raises:
        DataError: the file is missing, empty, in another encoding, ragged, or of another kind.
        UsageError: a role names a column that is not there.
    """
    file = Path(path)
    if not file.is_file():
        if set(str(path)) & set("*?["):
            raise DataError(
                f"{file} is not a file but a pattern: clinometer.sources.scan counts the rows of all files that match."
            )
        raise DataError(f"{file} is not a file. Name a CSV or Parquet file.")
    if file.stat().st_size == 0:
        raise DataError(f"{file} is empty. One header line and one row per example are expected.")
    suffix = file.suffix.lower()
    if suffix == ".csv":
        table = _read_csv(file, id or "id")
    elif suffix in {".parquet", ".pq"}:
        try:
            _refuse_too_many(file)
            table = pa_parquet.read_table(file)
            table.validate(full=True)  # of texts that are none, and places that lie outside
            names = table.column_names
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"{file} is not a whole Parquet file: {(str(error) or type(error).__name__).splitlines()[0]}"
            ) from error
        _refuse_twice(names, file)
    else:
        raise DataError(f"{file} has the suffix {suffix or '(none)'!r}; .csv or .parquet is expected.")
    roles = roles_of(
        table.schema,
        file,
        {
            "id": id,
            "label": label,
            "prediction": prediction,
            "score": score,
            "positive": positive,
            "count": count,
            "weight": weight,
            "cluster": cluster,
            "groups": groups,
            "measures": measures,
            "strata": strata,
            "squares": squares,
        },
    )
    try:
        return from_table(table, **roles)
    except (DataError, UsageError) as error:
        raise type(error)(f"{file}: {error}") from error


def roles_of(schema: pa.Schema, file: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """The given roles, before those that a file of ours carries, before columns that are called after a role.

    Raises:
        DataError: the file carries roles that cannot be read.
    """
    kept = (schema.metadata or {}).get(METADATA)
    roles: dict[str, Any] = _roles(kept, file) if kept else {}
    for name in ("id", "label", "prediction", "score"):
        if not kept and name in schema.names:
            roles[name] = name
    roles.update({name: value for name, value in given.items() if value is not None})
    if given.get("measures") is not None and given.get("squares") is None:
        roles["squares"] = {m: s for m, s in (roles.get("squares") or {}).items() if m in roles["measures"]}
    return roles


def _roles(metadata: bytes, file: Path) -> dict[str, Any]:
    known = {
        "id",
        "label",
        "prediction",
        "score",
        "groups",
        "measures",
        "positive",
        "provenance",
        *LATER_ROLES,
    }
    roles = parsed_json(
        metadata.decode("utf-8", "backslashreplace"),
        f"{file}: its roles",
        DataError,
        way_out="Write the file again.",
    )
    if not isinstance(roles, dict) or not set(roles) <= known:
        raise DataError(f"{file} carries roles that this version does not know. Write the file again.")
    for role, value in roles.items():
        if not _is_role(role, value):
            raise DataError(f"{file} carries the role {role} as {value!r}. Write the file again.")
    return roles


def _is_role(role: str, value: Any) -> bool:
    """Whether a role has the kind of value that `write` gives it: columns by name, lists of them, what is known."""
    if role == "provenance":
        return isinstance(value, dict)
    if role == "squares":
        return isinstance(value, dict) and all(isinstance(name, str) for name in value.values())
    if role in {"groups", "measures", "strata"}:
        return isinstance(value, list) and all(isinstance(name, str) for name in value)
    return value is None or isinstance(value, str)


def _read_csv(file: Path, id: str) -> pa.Table:
    """The table of a CSV file. Ids are read as text, so that 007 keeps its zeros."""
    raw = file.read_bytes()
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        likely = "utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "latin1"
        raise DataError(
            f"{file} is not UTF-8: byte {error.start} in line {line} (0x{raw[error.start]:02x}) cannot be read. "
            f"Save it as UTF-8, e.g. iconv -f {likely} -t utf-8 {file.name} > utf8.csv."
        ) from error
    bare = raw.removeprefix(b"\xef\xbb\xbf")
    if not bare.strip():
        raise DataError(f"{file} is empty. One header line and one row per example are expected.")
    try:
        table = _csv_table(
            bare, pa_csv.ConvertOptions(strings_can_be_null=True, column_types={id: pa.string()})
        )
    except pa.ArrowInvalid as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{file} cannot be read as a table: {reason} (the header is row 1). "
            "Every row needs as many values as the header, and a value with a comma needs quotes."
        ) from error
    _refuse_twice(table.column_names, file)
    return table


def _refuse_too_many(file: Path) -> None:
    """Refuse a file of more values than are read at once: packed, equal values take next to nothing on disk."""
    head = pa_parquet.read_metadata(file)
    if head.num_rows * head.num_columns > MOST_VALUES:
        raise DataError(
            f"{file} has {head.num_rows:,} rows of {head.num_columns:,} columns; at most {MOST_VALUES:,} values are read at "
            "once. clinometer.sources.scan (`clinometer count`) counts them piece by piece."
        )


def _refuse_twice(names: Sequence[str], file: Path) -> None:
    twice = {name for name, n in Counter(names).items() if n > 1}
    if twice:
        raise DataError(
            f"{file} has two columns called {first(sorted(twice))}. Give each column its own name."
        )


def csv_values(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Distinct values as written in a CSV file, of the kind that `read` infers from all of them."""
    quoted = ['"' + text.replace('"', '""') + '"' for text in column.to_pylist() if text is not None]
    if not quoted:
        return column
    raw = "\n".join(["value", *quoted]).encode()
    values = _csv_table(raw, pa_csv.ConvertOptions(strings_can_be_null=True)).column("value")
    position = np.cumsum(column.is_valid().to_numpy()) - 1
    return values.take(pa.array(position, mask=column.is_null().to_numpy()))


def _csv_table(raw: bytes, convert: pa_csv.ConvertOptions) -> pa.Table:
    return pa_csv.read_csv(
        io.BytesIO(raw),
        # One block, so that a column's kind is inferred from all its rows; one thread, so that rows are numbered.
        read_options=pa_csv.ReadOptions(use_threads=False, block_size=min(len(raw) + 1, 2**31 - 1)),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=convert,
    )


def carried(evidence: Evidence) -> dict[bytes, bytes]:
    """What a file of ours says of its columns, in the metadata of its schema."""
    roles = {
        "id": evidence.id,
        "label": evidence.label,
        "prediction": evidence.prediction,
        "score": evidence.score,
        "groups": list(evidence.groups),
        "measures": list(evidence.measures),
        "positive": evidence.positive,
        "provenance": dict(evidence.provenance),
        # Written where they are used alone, so that a file without them can be read by the versions before them.
        **{role: value for role in LATER_ROLES if (value := getattr(evidence, role))},
    }
    return {METADATA: json.dumps(roles, sort_keys=True).encode()}


def write(evidence: Evidence, path: str | Path) -> None:
    """Write evidence as Parquet, roles included; the file appears whole or not at all, the same bytes each time.

    Raises:
        OutputError: the file cannot be written.
    """
    target = Path(path)
    table = evidence.table.replace_schema_metadata(carried(evidence))
    with whole(target) as temporary:
        pa_parquet.write_table(table, temporary, compression="zstd")
