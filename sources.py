"""Tables of any size, from anywhere, opened without being read.

Files are scanned out of core by DuckDB, which keeps to a stated amount of memory; frames and lazy tables of other
engines stay where they are. What an audit needs of them is counted by the engine that holds them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from .distinct_rows import MOST_EXACT, SCORE_BINS, Binned, Roles, ScoreRule, binned_before, keep_roles
from .errors import DataError, UsageError, first
from .evidence import Evidence
from .evidence_files import csv_values
from .merging import merge as merge
from .source_files import CSV, Options, csv_relation, files_of, kind_of, parquet_relation, saved_dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A table that was opened and not read, and the roles of its columns."""

    frame: Any
    roles: Roles
    written: bool = False  # the values are text as it stands in a CSV file
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    binned: Binned | None = None  # how the scores were binned before

    def counted(
        self,
        keys: Sequence[str] | None = None,
        *,
        score_edges: tuple[float, float] | None = None,
        score_bins: int = SCORE_BINS,
        most_exact: int = MOST_EXACT,
        most_weights: int = 10_000,
        most_rows: int = 5_000_000,
    ) -> Evidence:
        """Evidence of the distinct rows with how many there are of each, in an order that no engine changes.

        Rows are alike if their groups, strata, cluster, label, prediction, weight and score are. A measure
        becomes its mean among them and the sum of squared deviations from it, both from exact sums. Values are
        named as in a file that is read whole: 1.0 is "1", missing and empty are unknown.

        Args:
            keys: only these groups, strata, label, prediction and score; weight and cluster always count.
            score_edges: the lowest and highest score, for bins that parts counted apart can share. Without
                it 0 and 1 where all scores are between them, otherwise the extremes found.
            score_bins: equal bins between the edges, where there are too many distinct scores.
            most_exact: up to so many distinct scores are kept exactly; 0 puts them into bins in any case.
            most_weights: at most so many distinct weights.
            most_rows: at most so many distinct rows; what bounds memory here.

        Raises:
            DataError: the table is empty or cannot be read, numbers that are missing, not finite or negative
                where that cannot be, scores outside the edges, too many distinct weights or rows.
            UsageError: roles or limits that do not go together.
        """
        from .counting import Limits, count_rows

        return count_rows(
            self.frame,
            keep_roles(self.roles, keys),
            rule=ScoreRule(most_exact=most_exact, bins=score_bins, edges=score_edges),
            limits=Limits(weights=most_weights, rows=most_rows),
            spelled=self._spelled,
            before=self.binned,
            provenance=self.provenance,
        )

    def _spelled(self, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
        if name in self.names:
            named = [*self.names[name]]
            if not pa.types.is_integer(column.type) and not pa.types.is_null(column.type):
                raise DataError(
                    f"column {name!r} is to hold numbers of its {len(named)} classes, and holds {column.type}. Save the "
                    "data set again."
                )
            values = [named[c] if c is not None and 0 <= c < len(named) else None for c in column.to_pylist()]
            return pa.chunked_array([pa.array(values, pa.string())])
        # As `evidence.read` does, ids keep their zeros.
        return csv_values(column) if self.written and name != (self.roles.id or "id") else column

    def __repr__(self) -> str:
        engine = str(self.frame.implementation).removeprefix("Implementation.").lower()
        return f"Source({engine}, groups {list(self.roles.groups)}, {len(self.roles.measures)} measures)"


def scan(
    source: Any,
    *,
    id: str | None = None,
    label: str | None = None,
    prediction: str | None = None,
    score: str | None = None,
    groups: Sequence[str] | None = None,
    measures: Sequence[str] | None = None,
    positive: str | None = None,
    count: str | None = None,
    weight: str | None = None,
    cluster: str | None = None,
    strata: Sequence[str] | None = None,
    squares: Mapping[str, str] | None = None,
    provenance: Mapping[str, Any] | None = None,
    memory_limit: str | None = None,
    threads: int | None = None,
    temporary: str | Path | None = None,
) -> Source:
    """A table of any size, opened and not read.

    Args:
        source: a CSV or Parquet file, a pattern (`part-*.parquet`, `**` for folders within), a list of files;
            the folder of a Hugging Face data set that was saved to disk; a frame or lazy table of pandas,
            polars, Arrow, DuckDB or whatever else narwhals accepts; evidence.
        id: names a row in messages; it is not kept.
        label, prediction, score, groups, measures, positive, count, weight, cluster, strata, squares: as in
            `Evidence`. Files give those that were not named as `evidence.read` does.
        provenance: kept in the evidence.
        memory_limit: of DuckDB for files, "1GB" where nothing is said; beyond it, it works on disk.
        threads: of DuckDB for files; all processors where nothing is said.
        temporary: folder for what DuckDB puts on disk; the system's own where nothing is said.

    Raises:
        DataError: files that are missing, of two kinds, or without the same columns.
        UsageError: a role names a column that is not there; an engine's option for a frame of another engine.
    """
    import narwhals as nw

    given: dict[str, Any] = {
        "id": id,
        "label": label,
        "prediction": prediction,
        "score": score,
        "groups": groups,
        "measures": measures,
        "positive": positive,
        "count": count,
        "weight": weight,
        "cluster": cluster,
        "strata": strata,
        "squares": squares,
    }
    options = Options(memory_limit=memory_limit, threads=threads, temporary=temporary)
    names: Mapping[str, tuple[str, ...]] = {}
    carried: dict[str, Any] = {}
    written = False
    if isinstance(source, Evidence):
        fields = (
            "label",
            "prediction",
            "score",
            "groups",
            "measures",
            "positive",
            "count",
            "weight",
            "cluster",
        )
        own = {name: getattr(source, name) for name in ("id", *fields, "strata", "squares")}
        given = {**own, **{name: value for name, value in given.items() if value is not None}}
        if measures is not None and squares is None:
            given["squares"] = {m: s for m, s in source.squares.items() if m in measures}
        carried = dict(source.provenance)
        source = source.table
    if isinstance(source, (str, Path)) and Path(source).is_dir():
        table, names = saved_dataset(Path(source))
        native = _from_arrow(options, table, Path(source))
        names = {n: v for n, v in names.items() if n in {*(groups or ()), *(strata or ())}}
    elif isinstance(source, (str, Path)) or (
        isinstance(source, (list, tuple)) and all(isinstance(part, (str, Path)) for part in source)
    ):
        files = files_of(source)
        written = kind_of(files[0]) == CSV
        if written:
            native, given = csv_relation(files, given, options)
        else:
            native, given = parquet_relation(files, given, options)
        carried = given.pop("provenance", None) or {}
    else:
        if options.stated:
            raise UsageError(
                f"{first(options.stated)} is an option for files; the frame's own engine has its own."
            )
        native = _decoded(source) if isinstance(source, pa.Table) else source
    try:
        frame = nw.from_native(native).lazy()
    except TypeError as error:
        raise DataError(
            f"{type(source).__name__} is no table: give files, a saved data set, or a frame of pandas, polars, Arrow, "
            "DuckDB or another engine that narwhals accepts."
        ) from error
    except nw.exceptions.DuplicateError as error:
        raise DataError("the frame has two columns of one name. Give each column its own name.") from error
    roles = Roles.of(given)
    roles.check(frame.collect_schema().names())
    kept = {name: value for name, value in carried.items() if name not in {"counted", "notes"}}
    return Source(
        frame=frame,
        roles=roles,
        written=written,
        names=names,
        provenance={**kept, **(provenance or {})},
        binned=binned_before(carried) if roles.score is not None else None,
    )


def _from_arrow(options: Options, table: pa.Table, folder: Path) -> Any:
    import duckdb

    try:
        return options.connected().from_arrow(table)
    except duckdb.Error as error:
        raise DataError(
            f"{folder} holds a kind of column that is not read: {str(error).splitlines()[0]}"
        ) from error


def _decoded(table: pa.Table) -> pa.Table:
    """The table with the values of its dictionaries, which need not be the same in every chunk."""
    for i, kind in enumerate(table.schema.types):
        if pa.types.is_dictionary(kind):
            table = table.set_column(i, table.schema.names[i], table.column(i).cast(kind.value_type))
    return table
