"""One row per example: scores, labels, groups and measures, checked at the border.

A Parquet file written here carries the role of each column in its schema metadata, so that it can be read back
without naming them. Everybody else's CSV or Parquet file is read by naming the columns.
"""

import codecs
import io
import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from .errors import DataError, OutputError, UsageError, did_you_mean, first

METADATA = b"clinometer"
TRUE = {"1", "true", "yes"}
FALSE = {"0", "false", "no"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """An Arrow table and the roles of its columns.

    `id` names a row; `label`, `prediction` and `score` are optional; `groups` are sensitive attributes, whose
    missing values stay unknown; `measures` are numbers audited exactly like a score.
    """

    table: pa.Table
    id: str
    label: str | None = None
    prediction: str | None = None
    score: str | None = None
    groups: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    positive: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def ids(self) -> tuple[str, ...]:
        """The name of every row."""
        return tuple(_text(value) or "" for value in self.table.column(self.id).to_pylist())

    @property
    def frame(self) -> Any:
        """The table as a pandas DataFrame."""
        return self.table.to_pandas()

    def column(self, name: str) -> npt.NDArray[np.float64]:
        """A column of numbers, (example,), float64, NaN where missing.

        Raises:
            DataError: a value is not a number.
        """
        self._has(name)
        values = self.table.column(name).to_pylist()
        try:
            return np.array(
                [math.nan if value is None else float(value) for value in values], dtype=np.float64
            )
        except (TypeError, ValueError):
            bad = [i for i, value in enumerate(values) if value is not None and not _is_number(value)]
            raise DataError(
                f"column {name!r} has {len(bad)} values that are no numbers, e.g. {values[bad[0]]!r}; first rows: "
                f"{first(self.ids[i] for i in bad)}. Give numbers, or name another column."
            ) from None

    def binary(self, name: str) -> npt.NDArray[np.bool_]:
        """A column of two values, (example,): True where it is the positive one.

        Booleans, 0/1 and yes/no need no `positive`; any other two values need it.

        Raises:
            DataError: a value is missing, there are three values or more, or nobody said which is positive.
        """
        self._has(name)
        texts = [_text(value) for value in self.table.column(name).to_pylist()]
        missing = [i for i, text in enumerate(texts) if text is None]
        if missing:
            raise DataError(
                f"column {name!r} has {len(missing)} missing values where two values are expected; first rows: "
                f"{first(self.ids[i] for i in missing)}. Leave these rows out, or fill them in, before the audit."
            )
        values = sorted({text for text in texts if text is not None})
        lowered = {value.lower() for value in values}
        if self.positive is not None and self.positive in values:
            if len(values) > 2:
                raise self._third(name, texts, values)
            return np.array([text == self.positive for text in texts], dtype=np.bool_)
        if lowered <= TRUE | FALSE and len(lowered & TRUE) <= 1 and len(lowered & FALSE) <= 1:
            return np.array([text is not None and text.lower() in TRUE for text in texts], dtype=np.bool_)
        if len(values) > 2:
            raise self._third(name, texts, values)
        if self.positive is not None and len(values) == 1 and self._seen_elsewhere(name):
            return np.zeros(len(texts), dtype=np.bool_)
        raise DataError(
            f"column {name!r} holds {first(values)}"
            + (f", and not the positive value {self.positive!r}" if self.positive is not None else "")
            + f". Say which value is the positive one: --positive {values[-1]}."
        )

    def _seen_elsewhere(self, name: str) -> bool:
        """The positive value occurs in the label or the prediction, so that its absence here means "none"."""
        others = [role for role in (self.label, self.prediction) if role not in {None, name}]
        return any(
            _text(value) == self.positive for role in others for value in self.table.column(role).to_pylist()
        )

    def _third(self, name: str, texts: Sequence[str | None], values: Sequence[str]) -> DataError:
        counts = {value: texts.count(value) for value in values}
        usual = set(sorted(counts, key=lambda value: -counts[value])[:2])
        rows = [self.ids[i] for i, text in enumerate(texts) if text not in usual]
        return DataError(
            f"column {name!r} has {len(values)} values ({first(values)}) where two are expected; rows with a third: "
            f"{first(rows)}. Map them to two values, or name another column."
        )

    def group(self, name: str) -> tuple[str | None, ...]:
        """The group of every row; None where it is missing or empty: unknown stays unknown."""
        self._has(name)
        return tuple(_text(value) for value in self.table.column(name).to_pylist())

    def _has(self, name: str) -> None:
        if name not in self.table.column_names:
            raise DataError(f"there is no column {name!r}: {did_you_mean(name, self.table.column_names)}")

    def __repr__(self) -> str:
        return f"Evidence({len(self)} rows, groups {list(self.groups)}, {len(self.measures)} measures)"


def _is_number(value: object) -> bool:
    try:
        float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return True


def _text(value: object) -> str | None:
    """A value as a group's or a row's name: 1.0 is "1", missing and empty are None."""
    if value is None:
        return None
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return str(int(value)) if value.is_integer() else repr(value)
    text = str(value).strip()
    return text or None


def from_columns(
    columns: Mapping[str, Any],
    *,
    id: str | None = None,
    label: str | None = None,
    prediction: str | None = None,
    score: str | None = None,
    groups: Sequence[str] = (),
    measures: Sequence[str] = (),
    positive: str | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Evidence:
    """Evidence from named columns of equal length.

    Without `id`, rows are named by their number. See `from_table` for the errors.
    """
    arrays: dict[str, pa.Array] = {}
    for name, values in columns.items():
        try:
            arrays[name] = pa.array(
                values.tolist() if isinstance(values, np.ndarray) else list(values), from_pandas=True
            )
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise DataError(
                f"column {name!r} mixes kinds of values: {error}. Give one kind in a column."
            ) from error
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"columns differ in length: {lengths}. One value per row is expected.")
    return from_table(
        pa.table(arrays),
        id=id,
        label=label,
        prediction=prediction,
        score=score,
        groups=groups,
        measures=measures,
        positive=positive,
        provenance=provenance,
    )


def from_frame(frame: Any, **roles: Any) -> Evidence:
    """Evidence from a pandas, polars or Arrow frame; roles as in `from_columns`."""
    import narwhals as nw

    try:
        native = nw.from_native(frame, eager_only=True)
    except TypeError as error:
        raise DataError(f"{type(frame).__name__} is no data frame: give pandas, polars or Arrow.") from error
    except nw.exceptions.DuplicateError as error:
        raise DataError("the frame has two columns of one name. Give each column its own name.") from error
    try:
        table = native.to_arrow()
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        reason = "; ".join(str(part) for part in reversed(error.args))
        raise DataError(f"a column mixes kinds of values: {reason}. Give one kind in a column.") from error
    return from_table(table, **roles)


def from_table(
    table: pa.Table,
    *,
    id: str | None = None,
    label: str | None = None,
    prediction: str | None = None,
    score: str | None = None,
    groups: Sequence[str] = (),
    measures: Sequence[str] = (),
    positive: str | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Evidence:
    """Evidence from an Arrow table.

    Raises:
        DataError: no rows, two rows with one id, a score or measure that is not finite.
        UsageError: a role names a column that is not there.
    """
    if table.num_rows == 0:
        raise DataError("the table has no rows. One row per example is expected.")
    named = [name for name in (id, label, prediction, score, *groups, *measures) if name is not None]
    absent = [name for name in named if name not in table.column_names]
    if absent:
        raise UsageError(
            f"there is no column {first(absent)}: {did_you_mean(absent[0], table.column_names)} "
            f"Columns: {first(table.column_names, 12)}."
        )
    if id is None:
        id = "id" if "id" in table.column_names else _fresh("id", table.column_names)
        if id not in table.column_names:
            table = table.add_column(0, id, pa.array([str(i) for i in range(table.num_rows)]))
    made = Evidence(
        table=table,
        id=id,
        label=label,
        prediction=prediction,
        score=score,
        groups=tuple(groups),
        measures=tuple(measures),
        positive=positive,
        provenance=provenance or {},
    )
    ids = made.ids
    nameless = [i for i, name in enumerate(ids) if not name]
    if nameless:
        raise DataError(
            f"column {id!r} is empty in row {first(nameless)}, counted from 0. Every row needs an id."
        )
    if len(set(ids)) != len(ids):
        seen: set[str] = set()
        twice = [name for name in ids if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
        raise DataError(
            f"column {id!r} names {len(twice)} rows twice: {first(twice)}. Ids have to be unique."
        )
    for name in (*([score] if score else []), *measures):
        values = made.column(name)
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise DataError(
                f"column {name!r} has {bad.size} values that are missing or not finite; first rows: "
                f"{first(ids[i] for i in bad)}. Leave these rows out, or score them again."
            )
    return made


def _fresh(name: str, taken: Sequence[str]) -> str:
    while name in taken:
        name = f"row {name}"
    return name


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
        raise DataError(f"{file} is not a file. Name a CSV or Parquet file.")
    if file.stat().st_size == 0:
        raise DataError(f"{file} is empty. One header line and one row per example are expected.")
    suffix = file.suffix.lower()
    if suffix == ".csv":
        table = _read_csv(file, id or "id")
    elif suffix in {".parquet", ".pq"}:
        try:
            table = pa_parquet.read_table(file)
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{file} is not a whole Parquet file: {str(error).splitlines()[0]}") from error
    else:
        raise DataError(f"{file} has the suffix {suffix or '(none)'!r}; .csv or .parquet is expected.")
    kept = (table.schema.metadata or {}).get(METADATA)
    roles: dict[str, Any] = _roles(kept, file) if kept else {}
    for name in ("id", "label", "prediction", "score"):
        if not kept and name in table.column_names:
            roles[name] = name
    given = {"id": id, "label": label, "prediction": prediction, "score": score, "positive": positive}
    roles.update({name: value for name, value in given.items() if value is not None})
    if groups is not None:
        roles["groups"] = tuple(groups)
    if measures is not None:
        roles["measures"] = tuple(measures)
    try:
        return from_table(table, **roles)
    except (DataError, UsageError) as error:
        raise type(error)(f"{file}: {error}") from error


def _roles(metadata: bytes, file: Path) -> dict[str, Any]:
    known = {"id", "label", "prediction", "score", "groups", "measures", "positive", "provenance"}
    try:
        roles = json.loads(metadata)
    except ValueError as error:
        raise DataError(f"{file} carries roles that are not JSON: {error}. Write the file again.") from error
    if not isinstance(roles, dict) or not set(roles) <= known:
        raise DataError(f"{file} carries roles that this version does not know. Write the file again.")
    return roles


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
        table = pa_csv.read_csv(
            io.BytesIO(bare),
            # One block, so that a column's kind is inferred from all its rows; one thread, so that rows are numbered.
            read_options=pa_csv.ReadOptions(use_threads=False, block_size=min(len(bare) + 1, 2**31 - 1)),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(strings_can_be_null=True, column_types={id: pa.string()}),
        )
    except pa.ArrowInvalid as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{file} cannot be read as a table: {reason} (the header is row 1). "
            "Every row needs as many values as the header, and a value with a comma needs quotes."
        ) from error
    twice = {name for name in table.column_names if table.column_names.count(name) > 1}
    if twice:
        raise DataError(
            f"{file} has two columns called {first(sorted(twice))}. Give each column its own name."
        )
    return table


def write(evidence: Evidence, path: str | Path) -> None:
    """Write evidence as Parquet, roles included; the file appears whole or not at all, the same bytes each time.

    Raises:
        OutputError: the file cannot be written.
    """
    target = Path(path)
    roles = {
        "id": evidence.id,
        "label": evidence.label,
        "prediction": evidence.prediction,
        "score": evidence.score,
        "groups": list(evidence.groups),
        "measures": list(evidence.measures),
        "positive": evidence.positive,
        "provenance": dict(evidence.provenance),
    }
    table = evidence.table.replace_schema_metadata({METADATA: json.dumps(roles, sort_keys=True).encode()})
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
        temporary = Path(name)
        os.close(handle)
        pa_parquet.write_table(table, temporary, compression="zstd")
        os.chmod(temporary, 0o644)
        temporary.replace(target)
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror or error}.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
