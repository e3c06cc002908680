"""Rows on disk: a file of any size, copied once to a Parquet file from which any stretch of rows is read alone.

Values are of the kinds that reading the whole file at once would have given: a column of a CSV file is whole numbers
where all of its values are. Only the columns that are asked for are copied.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pa_compute
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from .errors import DataError, UsageError, did_you_mean, first
from .evidence import Evidence, fresh, from_table
from .records import Rows
from .source_files import CSV, Options, files_of, kind_of
from .whole_files import file_hash, whole

ROWS_TOGETHER = 1024
BLOCK = 2**24  # bytes of a CSV file that are looked at together
# In the order in which Arrow tries them; a column is of the first that takes all of its values.
KINDS = (
    pa.null(),
    pa.int64(),
    pa.bool_(),
    pa.date32(),
    pa.time32("s"),
    pa.timestamp("s"),
    pa.timestamp("ns"),
    pa.float64(),
    pa.string(),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which columns of a file are what, for a model: see `review.read_rows`."""

    inputs: tuple[str, ...]
    optional: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    label: str | None = None
    id: str | None = None


class StagedRows:
    """Rows in a Parquet file of one's own, read stretch by stretch.

    Args:
        path: the file that `stage` wrote.
        columns: what its columns are; `id` is named.
    """

    def __init__(self, path: Path, columns: Columns) -> None:
        self.path, self.columns = path, columns
        try:
            self.file = pa_parquet.ParquetFile(path)
            head, names = self.file.metadata, self.file.schema_arrow.names
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise self._damaged(error) from error
        needed = (columns.id, columns.label, *columns.inputs, *columns.groups)
        missing = [name for name in needed if name is not None and name not in names]
        if missing or len(set(names)) < len(names):
            raise self._damaged(f"it lacks {first(missing)}" if missing else "it has a column twice")
        self.ends = np.cumsum([head.row_group(i).num_rows for i in range(head.num_row_groups)])

    def __len__(self) -> int:
        return int(self.file.metadata.num_rows)

    def table(self, begin: int, end: int) -> pa.Table:
        """The rows [begin, end) as they are in the file.

        Raises:
            DataError: the file is damaged.
        """
        places = np.flatnonzero((self.ends > begin) & (np.r_[0, self.ends[:-1]] < end))
        try:
            read = self.file.read_row_groups(places.tolist())
            read.validate(full=True)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise self._damaged(error) from error
        before = int(self.ends[places[0] - 1]) if len(places) and places[0] else 0
        if len(read) < end - before:
            raise self._damaged(f"it has no rows {begin} to {end - 1}")
        return read.slice(begin - before, end - begin)

    def _damaged(self, why: Exception | str) -> DataError:
        reason = (str(why) or type(why).__name__).splitlines()[0]
        return DataError(
            f"{self.path} is not the copy of the rows that was made: {reason}. Remove it and run again: it is made anew."
        )

    def rows(self, begin: int, end: int, without: Sequence[int] = ()) -> Rows:
        """The rows [begin, end) for a model, but for those at these places.

        Raises:
            DataError: a label is neither 0 nor 1; two rows of the stretch share an id.
        """
        table = self.table(begin, end)
        if without:
            table = table.take([i for i in range(end - begin) if begin + i not in set(without)])
        return rows_of(from_table(table, id=self.columns.id), self.columns)

    def at(self, places: npt.ArrayLike) -> Rows:
        """The rows at these places, in rising order, for a model; each stretch of the file is read once.

        Raises:
            DataError: a label is neither 0 nor 1; two rows share an id; the file is damaged.
        """
        wanted, parts = np.asarray(places, dtype=np.intp), []
        for end, begin in zip(self.ends.tolist(), np.r_[0, self.ends[:-1]].tolist(), strict=True):
            inside = wanted[(wanted >= begin) & (wanted < end)] - begin
            if len(inside):
                parts.append(self.table(begin, end).take(inside))
        return rows_of(from_table(pa.concat_tables(parts), id=self.columns.id), self.columns)

    def ids(self, begin: int, end: int) -> tuple[str, ...]:
        """The names of the rows [begin, end)."""
        column = self.table(begin, end).column(self.columns.id)
        return tuple(str(value) for value in column.to_pylist())


def rows_of(evidence: Evidence, columns: Columns) -> Rows:
    """Rows for a model from a table: inputs as arrays, labels 0 and 1, groups as texts, unknown ones None.

    Raises:
        DataError: a label is neither 0 nor 1.
    """
    frame = evidence.table.select(
        list(
            dict.fromkeys(
                (*columns.inputs, *(n for n in columns.optional if n in evidence.table.column_names))
            )
        )
    ).to_pandas()
    return Rows(
        ids=evidence.ids,
        inputs={name: frame[name].to_numpy() for name in frame.columns},
        labels=None if columns.label is None else evidence.binary(columns.label).astype(np.int64),
        groups={name: evidence.group(name) for name in columns.groups},
    )


def stage(
    source: Any, target: Path, columns: Columns, *, rows_together: int = ROWS_TOGETHER
) -> tuple[StagedRows, str]:
    """Copy the columns that are needed to one Parquet file; the rows, and SHA-256 of what was copied.

    Args:
        source: a CSV or Parquet file, a pattern, or a list of files of one kind.
        target: the file to be made; whole or not there.
        columns: which columns are what. Without `id` a column of that name is taken, or rows are numbered from 0.
        rows_together: rows of a row group, which is what is read at once; the checksum depends on it.

    Raises:
        DataError: a file is missing, empty or damaged, or lacks a column.
        OutputError: the copy cannot be written.
    """
    files = files_of(source)
    schema = _csv_schema(files, columns.id or "id") if kind_of(files[0]) == CSV else _parquet_schema(files)
    missing = [name for name in columns.inputs if name not in schema.names]
    if missing:
        raise DataError(
            f"{files[0]} lacks the model's column {first(missing)}: {did_you_mean(missing[0], schema.names)}"
        )
    for name in (columns.label, columns.id, *columns.groups):
        if name is not None and name not in schema.names:
            raise UsageError(f"{files[0]} has no column {name!r}: {did_you_mean(name, schema.names)}")
    named = columns.id or ("id" if "id" in schema.names else None)
    id = named or fresh("id", schema.names)
    wanted = [
        *([named] if named else []),
        *(
            n
            for n in (*columns.inputs, *columns.optional, *columns.groups, columns.label)
            if n in schema.names
        ),
    ]
    kept = pa.schema([schema.field(name) for name in dict.fromkeys(wanted)])
    written = kept if named else kept.insert(0, pa.field(id, pa.string()))
    parts = _csv_parts(files, schema) if kind_of(files[0]) == CSV else _parquet_parts(files)
    n = 0
    with whole(target, durable=True) as temporary:
        with pa_parquet.ParquetWriter(temporary, written, compression="zstd") as writer:
            for table in _regrouped((part.select(kept.names).cast(kept) for part in parts), rows_together):
                if not named:
                    numbers = pa.array([str(i) for i in range(n, n + len(table))], pa.string())
                    table = table.add_column(0, id, numbers)
                writer.write_table(table, row_group_size=rows_together)
                n += len(table)
        if not n:
            raise DataError(f"{files[0]} has no rows. One row per example is expected.")
        if named:
            _refuse_twice(temporary, id)
    made = StagedRows(target, replace(columns, id=id))
    return made, file_hash(target)


def _refuse_twice(file: Path, id: str) -> None:
    """Refuse rows that share an id, found out of core."""
    opened = pa_parquet.ParquetFile(file)
    kind = pa.schema([opened.schema_arrow.field(id)])
    reader = pa.RecordBatchReader.from_batches(kind, opened.iter_batches(columns=[id]))
    connection = Options().connected()
    try:
        rows = connection.from_arrow(reader).set_alias("rows")
        counted = rows.aggregate(f"{_quoted(id)} AS name, count(*) AS n", _quoted(id)).filter("n > 1")
        twice = counted.order("name").limit(4).fetchall()
    finally:
        connection.close()
    if twice:
        raise DataError(
            f"column {id!r} names rows twice: {first([str(name) for name, _ in twice])}. Ids have to be unique."
        )


def _quoted(name: str) -> str:
    """A column's name as SQL takes it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def _regrouped(parts: Iterator[pa.Table], rows_together: int) -> Iterator[pa.Table]:
    """The same rows in tables of so many, the last one shorter."""
    held: list[pa.Table] = []
    n = 0
    for part in parts:
        held.append(part)
        n += len(part)
        if n < rows_together:
            continue
        joined = pa.concat_tables(held)
        whole_ones = n // rows_together * rows_together
        for begin in range(0, whole_ones, rows_together):
            yield joined.slice(begin, rows_together).combine_chunks()
        held, n = [joined.slice(whole_ones)], n - whole_ones
    if n:
        yield pa.concat_tables(held).combine_chunks()


def _parquet_schema(files: Sequence[Path]) -> pa.Schema:
    schemas = []
    for file in files:
        try:
            schemas.append(pa_parquet.read_schema(file).remove_metadata())
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{file} is not a whole Parquet file: {str(error).splitlines()[0]}") from error
        if not schemas[-1].equals(schemas[0]):
            raise DataError(f"{file} has other columns, or columns of other kinds, than {files[0]}.")
    return schemas[0]


def _parquet_parts(files: Sequence[Path]) -> Iterator[pa.Table]:
    for file in files:
        try:
            for batch in pa_parquet.ParquetFile(file).iter_batches(batch_size=2**14):
                yield pa.Table.from_batches([batch])
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{file} is not a whole Parquet file: {str(error).splitlines()[0]}") from error


def _csv_schema(files: Sequence[Path], id: str) -> pa.Schema:
    """The kind of each column that reading all files whole would give, found block by block."""
    names: list[str] | None = None
    possible: dict[str, list[pa.DataType]] = {}
    for file in files:
        with _csv(file, None) as reader:
            if names is not None and reader.schema.names != names:
                raise DataError(f"{file} has other columns than {files[0]}.")
            names = reader.schema.names
            twice = {name for name in names if names.count(name) > 1}
            if twice:
                raise DataError(
                    f"{file} has two columns called {first(sorted(twice))}. Give each column its own name."
                )
            for batch in _batches(reader, file):
                for name in names:
                    values = pa_compute.unique(batch.column(name))
                    possible[name] = [k for k in possible.get(name, KINDS) if _takes(values, k)]
    return pa.schema(
        [(name, pa.string() if name == id else possible.get(name, KINDS)[0]) for name in names or ()]
    )


def _takes(values: pa.Array, kind: pa.DataType) -> bool:
    """Whether a CSV file of these texts could be read as this kind."""
    if kind == pa.string():
        return True
    texts = [text for text in values.to_pylist() if text is not None]
    if not texts or kind == pa.null():
        return not texts
    raw = "\n".join(["value", *('"' + text.replace('"', '""') + '"' for text in texts)]).encode()
    convert = pa_csv.ConvertOptions(column_types={"value": kind}, strings_can_be_null=True)
    try:
        pa_csv.read_csv(
            pa.BufferReader(raw),
            convert_options=convert,
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        )
    except pa.ArrowInvalid:
        return False
    return True


def _csv_parts(files: Sequence[Path], schema: pa.Schema) -> Iterator[pa.Table]:
    for file in files:
        with _csv(file, schema) as reader:
            for batch in _batches(reader, file):
                yield pa.Table.from_batches([batch])


def _csv(file: Path, schema: pa.Schema | None) -> Any:
    """A reader of blocks: all columns as text, or as these kinds."""
    try:
        if schema is None:
            with pa.input_stream(file) as opened:
                head = pa_csv.open_csv(
                    opened,
                    read_options=pa_csv.ReadOptions(block_size=BLOCK, use_threads=False),
                    parse_options=pa_csv.ParseOptions(newlines_in_values=True),
                ).schema.names
            types: dict[str, pa.DataType] = dict.fromkeys(head, pa.string())
        else:
            types = {name: schema.field(name).type for name in schema.names}
        return pa_csv.open_csv(
            file,
            read_options=pa_csv.ReadOptions(block_size=BLOCK, use_threads=False),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(strings_can_be_null=True, column_types=types),
        )
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(file, error) from error


def _batches(reader: Any, file: Path) -> Iterator[pa.RecordBatch]:
    try:
        yield from reader
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> DataError:
    return DataError(
        f"{file} cannot be read as a table: {str(error).splitlines()[0]} (UTF-8, one header line, as many values in "
        "every row as in the header; a value with a comma needs quotes)."
    )
