"""One row per example: scores, labels, groups and measures, checked at the border."""

import importlib
import math
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pa_compute

from .errors import DataError, UsageError, did_you_mean, first

TRUE = {"1", "true", "yes"}
FALSE = {"0", "false", "no"}
MOST_ROWS = 2**62
JOINT = " & "
NOT_FINITE = "values that are missing or not finite"
NO_COUNT = "counts that are no whole number of at least 1"
NO_CLUSTER = "Give each row its person or document, or a value of its own."
NEGATIVE_WEIGHT = "A weight says how many people a row represents, and is 0 or more."


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """An Arrow table and the roles of its columns.

    `id` names a row; `label`, `prediction` and `score` are optional; `groups` are sensitive attributes, whose
    missing values stay unknown; `measures` are numbers audited exactly like a score. A row stands for `count`
    rows that are alike; a measure is then their mean, and `squares` names, for a measure, the column of the
    sum of their squared deviations from it. `weight` is the sampling weight of each of these rows, `cluster`
    the person or document that repeats, `strata` are what a comparison is made within.
    """

    table: pa.Table
    id: str
    label: str | None = None
    prediction: str | None = None
    score: str | None = None
    groups: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    positive: str | None = None
    count: str | None = None
    weight: str | None = None
    cluster: str | None = None
    strata: tuple[str, ...] = ()
    squares: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def n(self) -> int:
        """How many rows all rows stand for: the sum of the counts."""
        return len(self) if self.count is None else int(self.counts.sum())

    @property
    def ids(self) -> tuple[str, ...]:
        """The name of every row."""
        column = self.table.column(self.id)
        if pa.types.is_integer(column.type):
            column = pa_compute.cast(column, pa.string())
        return tuple(_text(value) or "" for value in column.to_pylist())

    @property
    def frame(self) -> Any:
        """The table as a pandas DataFrame."""
        return self.table.to_pandas()

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """How many rows each row stands for, (example,); ones without a column of counts."""
        if self.count is None:
            return np.ones(len(self), dtype=np.int64)
        column = self.table.column(self.count)
        if pa.types.is_integer(column.type):
            return np.array(pa_compute.cast(column, pa.int64()).to_numpy(), dtype=np.int64)
        return self.column(self.count).astype(np.int64)

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """The sampling weight of each of the rows that a row stands for, (example,); ones without a column."""
        return np.ones(len(self)) if self.weight is None else self.column(self.weight)

    @property
    def clusters(self) -> npt.NDArray[np.int32] | None:
        """The person or document of every row as a code from 0, (example,); None without a column."""
        return None if self.cluster is None else self.codes(self.cluster)[0]

    @property
    def stratum(self) -> tuple[npt.NDArray[np.int32], tuple[str, ...]] | None:
        """The stratum of every row as a code into the names, (example,), -1 where a part is unknown; None without.

        Of several strata the joint ones that occur, "A & male".

        Raises:
            DataError: a value of several strata holds the sign that joins names.
        """
        if not self.strata:
            return None
        coded = [self.codes(name) for name in self.strata]
        if len(coded) == 1:
            return coded[0]
        split = sorted({value for _, names in coded for value in names if JOINT in value})
        if split:
            raise DataError(
                f"{JOINT.join(self.strata)}: the stratum {first(split)} holds {JOINT!r}, which joins names. Rename it."
            )
        known = np.all([codes >= 0 for codes, _ in coded], axis=0)
        parts = np.stack([codes[known] for codes, _ in coded], axis=1)
        distinct, position = np.unique(parts, axis=0, return_inverse=True)
        joint = np.full(len(self), -1, dtype=np.int32)
        joint[known] = position.reshape(-1)
        names = [JOINT.join(coded[i][1][code] for i, code in enumerate(row)) for row in distinct.tolist()]
        return joint, tuple(names)

    def column(self, name: str) -> npt.NDArray[np.float64]:
        """A column of numbers, (example,), float64, NaN where missing.

        Raises:
            DataError: a value is not a number.
        """
        self._has(name)
        kind = self.table.column(name).type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind):
            numbers = pa_compute.cast(self.table.column(name), pa.float64(), safe=False)
            return np.array(numbers.to_numpy(), dtype=np.float64)
        position, values = self._distinct(name)
        known = np.full(len(values) + 1, math.nan)  # the last for position -1
        try:
            for i, value in enumerate(values):
                known[i] = math.nan if value is None else float(value)
        except (TypeError, ValueError):
            no_number = np.array([value is not None and not _is_number(value) for value in values] + [False])
            bad = np.flatnonzero(no_number[position])
            ids = self.ids
            raise DataError(
                f"column {name!r} has {len(bad)} values that are no numbers, e.g. {values[position[bad[0]]]!r}; first "
                f"rows: {first(ids[i] for i in bad)}. Give numbers, or name another column."
            ) from None
        return known[position]

    def binary(self, name: str) -> npt.NDArray[np.bool_]:
        """A column of two values, (example,): True where it is the positive one.

        Booleans, 0/1 and yes/no need no `positive`; any other two values need it.

        Raises:
            DataError: a value is missing, there are three values or more, or nobody said which is positive.
        """
        codes, values = self.codes(name)
        missing = np.flatnonzero(codes < 0)
        if missing.size:
            ids = self.ids
            raise DataError(
                f"column {name!r} has {len(missing)} missing values where two values are expected; first rows: "
                f"{first(ids[i] for i in missing)}. Leave these rows out, or fill them in, before the audit."
            )
        lowered = {value.lower() for value in values}
        if self.positive is not None and self.positive in values:
            if len(values) > 2:
                raise self._third(name, codes, values)
            return np.asarray(codes == values.index(self.positive), dtype=np.bool_)
        if lowered <= TRUE | FALSE and len(lowered & TRUE) <= 1 and len(lowered & FALSE) <= 1:
            return np.array([value.lower() in TRUE for value in values], dtype=np.bool_)[codes]
        if len(values) > 2:
            raise self._third(name, codes, values)
        if self.positive is not None and len(values) == 1 and self._seen_elsewhere(name):
            return np.zeros(len(codes), dtype=np.bool_)
        raise DataError(
            f"column {name!r} holds {first(values)}"
            + (f", and not the positive value {self.positive!r}" if self.positive is not None else "")
            + f". Say which value is the positive one: --positive {values[-1]}."
        )

    def _seen_elsewhere(self, name: str) -> bool:
        """The positive value occurs in the label or the prediction, so that its absence here means "none"."""
        others = [role for role in (self.label, self.prediction) if role is not None and role != name]
        return any(self.positive in self.codes(role)[1] for role in others)

    def _third(self, name: str, codes: npt.NDArray[np.int32], values: Sequence[str]) -> DataError:
        often = np.bincount(codes, minlength=len(values))
        usual = sorted(range(len(values)), key=lambda i: -often[i])[:2]
        ids = self.ids
        rows = [ids[i] for i in np.flatnonzero(~np.isin(codes, usual))]
        return DataError(
            f"column {name!r} has {len(values)} values ({first(values)}) where two are expected; rows with a third: "
            f"{first(rows)}. Map them to two values, or name another column."
        )

    def group(self, name: str) -> tuple[str | None, ...]:
        """The group of every row; None where it is missing or empty: unknown stays unknown."""
        codes, names = self.codes(name)
        return tuple(np.array([*names, None], dtype=object)[codes].tolist())

    def codes(self, name: str) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
        """The value of every row as a code into the sorted names, (example,); -1 where it is missing or empty.

        Raises:
            DataError: there is no such column.
        """
        self._has(name)
        position, values = self._distinct(name)
        texts = [_text(value) for value in values]
        names = sorted({text for text in texts if text is not None})
        code = {text: i for i, text in enumerate(names)}
        known = np.array([-1 if text is None else code[text] for text in texts] + [-1], dtype=np.int32)
        return known[position], tuple(names)

    def _distinct(self, name: str) -> tuple[npt.NDArray[np.int32], list[Any]]:
        """Where each row's value is among the distinct ones, -1 where it is null; the distinct values."""
        column = self.table.column(name)
        if pa.types.is_nested(column.type) or pa.types.is_null(column.type):
            return np.arange(len(column), dtype=np.int32), column.to_pylist()
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        chunks = column.unify_dictionaries().chunks
        encoded = pa.concat_arrays(chunks) if chunks else pa.array([], column.type)
        position = (
            encoded.indices.cast(pa.int32()).fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
        )
        return position, encoded.dictionary.to_pylist()

    def _has(self, name: str) -> None:
        if name not in self.table.column_names:
            raise DataError(f"there is no column {name!r}: {did_you_mean(name, self.table.column_names)}")

    def __repr__(self) -> str:
        rows = f"{len(self)} rows" if self.count is None else f"{len(self)} distinct rows of {self.n}"
        return f"Evidence({rows}, groups {list(self.groups)}, {len(self.measures)} measures)"


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
    count: str | None = None,
    weight: str | None = None,
    cluster: str | None = None,
    strata: Sequence[str] = (),
    squares: Mapping[str, str] | None = None,
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
        count=count,
        weight=weight,
        cluster=cluster,
        strata=strata,
        squares=squares,
        provenance=provenance,
    )


def from_frame(frame: Any, **roles: Any) -> Evidence:
    """Evidence from a pandas, polars or Arrow frame; roles as in `from_columns`."""
    import narwhals as nw

    try:
        native = nw.from_native(frame, eager_only=True)
    except TypeError as error:
        raise DataError(
            f"{type(frame).__name__} is no data frame: give pandas, polars or Arrow. "
            "A lazy table, or one larger than memory, is counted by clinometer.sources.scan."
        ) from error
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
    count: str | None = None,
    weight: str | None = None,
    cluster: str | None = None,
    strata: Sequence[str] = (),
    squares: Mapping[str, str] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Evidence:
    """Evidence from an Arrow table.

    Raises:
        DataError: no rows, two rows with one id, a score or measure that is not finite, a count below 1, a
            negative weight or only zeros, a row without a cluster, squares below 0.
        UsageError: a role names a column that is not there, or one column is count and weight.
    """
    if table.num_rows == 0:
        raise DataError("the table has no rows. One row per example is expected.")
    squares = dict(squares or {})
    check_names(
        table.column_names,
        (
            id,
            label,
            prediction,
            score,
            count,
            weight,
            cluster,
            *groups,
            *measures,
            *strata,
            *squares.values(),
        ),
    )
    check_squares(measures, count, weight, squares)
    numbered = id is None and "id" not in table.column_names
    if id is None:
        id = "id" if "id" in table.column_names else fresh("id", table.column_names)
        if numbered:
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
        count=count,
        weight=weight,
        cluster=cluster,
        strata=tuple(strata),
        squares=squares,
        provenance=provenance or {},
    )
    if not numbered:
        _check_ids(made)
    _check_numbers(made)
    return made


def check_names(columns: Sequence[str], named: Sequence[str | None]) -> None:
    """Refuse roles of columns that are not there.

    Raises:
        UsageError: with the nearest column that is there.
    """
    absent = [name for name in named if name is not None and name not in columns]
    if absent:
        raise UsageError(
            f"there is no column {first(absent)}: {did_you_mean(absent[0], columns)} Columns: {first(columns, 12)}."
        )


def check_squares(
    measures: Sequence[str], count: str | None, weight: str | None, squares: Mapping[str, str]
) -> None:
    """Refuse squares of what is no measure or is not counted, and one column as both count and weight.

    Raises:
        UsageError: what does not go together.
    """
    stray = [name for name in squares if name not in measures]
    if stray:
        raise UsageError(
            f"squares are given for {first(stray)}, no measure: {did_you_mean(stray[0], measures)}"
        )
    if squares and count is None:
        raise UsageError(
            "squares say how a measure varies among the rows that a row stands for: name the column of counts too."
        )
    if count is not None and count == weight:
        raise UsageError(
            f"{count!r} is named as count and as weight. A count says how many rows were seen; a weight says how many "
            "people each of them represents. Name one."
        )


def _check_ids(made: Evidence) -> None:
    ids = made.ids
    nameless = [i for i, name in enumerate(ids) if not name]
    if nameless:
        raise DataError(
            f"column {made.id!r} is empty in row {first(nameless)}, counted from 0. Every row needs an id."
        )
    if len(set(ids)) != len(ids):
        seen: set[str] = set()
        twice = [name for name in ids if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
        raise DataError(
            f"column {made.id!r} names {len(twice)} rows twice: {first(twice)}. Ids have to be unique."
        )


def _check_numbers(made: Evidence) -> None:
    def refuse(name: str, bad: npt.NDArray[np.bool_], what: str, way_out: str) -> None:
        if bad.any():
            ids = made.ids
            rows = first(ids[i] for i in np.flatnonzero(bad))
            raise DataError(f"column {name!r} has {int(bad.sum())} {what}; first rows: {rows}. {way_out}")

    for name in (*([made.score] if made.score else []), *made.measures):
        refuse(
            name, ~np.isfinite(made.column(name)), NOT_FINITE, "Leave these rows out, or score them again."
        )
    if made.count is not None:
        counts = made.column(made.count)
        whole = np.isfinite(counts) & (counts == np.floor(counts)) & (counts >= 1)
        refuse(made.count, ~whole, NO_COUNT, "A row that stands for nobody is left out.")
        if counts.sum() >= MOST_ROWS:
            raise DataError(
                f"column {made.count!r} adds up to {counts.sum():.3g} rows; below 2**62 are expected."
            )
    if made.weight is not None:
        weights = made.column(made.weight)
        refuse(made.weight, ~np.isfinite(weights), NOT_FINITE, "Leave these rows out, or weight them.")
        refuse(made.weight, weights < 0, "negative weights", NEGATIVE_WEIGHT)
        if not weights.any():
            raise DataError(f"column {made.weight!r} has the weight 0 in every row: nobody is represented.")
    if made.cluster is not None:
        refuse(made.cluster, made.codes(made.cluster)[0] < 0, "rows without a cluster", NO_CLUSTER)
    for name in made.squares.values():
        squares = made.column(name)
        refuse(
            name,
            ~(np.isfinite(squares) & (squares >= 0)),
            "sums of squares that are missing, not finite or below 0",
            "Give the sum of squared deviations from the mean of the rows that a row stands for.",
        )


class _Callable(types.ModuleType):
    """Lets `clinometer.evidence(...)` work after `import clinometer.evidence` has put this module in its place."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return importlib.import_module("clinometer.sharded_evidence").evidence(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable


def fresh(name: str, taken: Sequence[str]) -> str:
    """The name, or where it is taken, one made of it that is not."""
    while name in taken:
        name = f"row {name}"
    return name
