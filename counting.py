"""How many rows are alike, asked of any engine by one set of narwhals expressions.

The engine groups by the values as it holds them and adds up integers; the few distinct rows that come back are
then spelled, merged and sorted here, by the same code for all engines.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import narwhals as nw
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .distinct_rows import Binned, Ints, Roles, ScoreRule, Tally, evidence_of
from .errors import ClinometerError, DataError, UsageError, first
from .evidence import MOST_ROWS, NEGATIVE_WEIGHT, NO_CLUSTER, NO_COUNT, NOT_FINITE, Evidence, fresh
from .exact_sums import LARGEST, Grid, nearby

Frame = nw.LazyFrame[Any]
NUMBER = r"^\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a counted table may hold."""

    weights: int
    rows: int

    def __post_init__(self) -> None:
        for name, value in (("most_weights", self.weights), ("most_rows", self.rows)):
            if value < 1:
                raise UsageError(f"{name} is {value}; at least 1 is expected.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What a first pass finds: rows, and the extremes of each column of numbers."""

    n: int
    low: Mapping[str, float]
    high: Mapping[str, float]


def count_rows(
    frame: Frame,
    roles: Roles,
    *,
    rule: ScoreRule,
    limits: Limits,
    spelled: Callable[[str, pa.ChunkedArray], pa.ChunkedArray],
    before: Binned | None,
    provenance: Mapping[str, Any],
) -> Evidence:
    """Counted evidence of a lazy frame, in three passes: check, count the distinct scores and weights, group.

    Args:
        frame: any lazy frame that narwhals accepts.
        roles: of its columns.
        rule: how scores are kept.
        limits: on the distinct weights and the distinct rows.
        before: the bins that the scores are in already.
        spelled: makes of the distinct raw values of a column the values that are printed.
        provenance: kept in the evidence.

    Raises:
        DataError: no rows, numbers that cannot be used, too many distinct weights or rows.
        UsageError: roles that do not go together.
    """
    with _told():
        schema = frame.collect_schema()
    roles.check(list(schema))
    nested = [name for name in roles.texts if schema[name].is_nested()]
    if nested:
        raise DataError(
            f"column {first(nested)} holds lists or structures where one value per row is expected."
        )
    frame = frame.select(*dict.fromkeys((*([roles.id] if roles.id else []), *roles.texts, *roles.numbers)))
    frame = _numbered(frame, roles, schema)
    seen = _check(frame, roles)
    binned = _bins(frame, roles, rule, seen) if before is None else before
    if before is not None and rule.edges not in {None, (before.low, before.high)}:
        raise UsageError(
            f"the scores are already in {before.bins:,} bins between {before.low} and {before.high}: "
            "score_edges cannot be others."
        )
    if roles.weight is not None and _distinct(frame, roles.weight, limits.weights) > limits.weights:
        raise DataError(
            f"column {roles.weight!r} has more than {limits.weights:,} distinct weights, each of which is counted "
            "by itself. Round the weights, raise most_weights, or read the rows with clinometer.read_evidence."
        )
    raw, grids = _group(frame, roles, binned, seen, limits)
    made = evidence_of(_tally(raw, roles, binned, grids, spelled), roles, binned, provenance)
    if made.n != seen.n:
        raise DataError(f"{seen.n} rows were checked and {made.n} counted: the source changed in between.")
    return made


def _numbered(frame: Frame, roles: Roles, schema: Mapping[str, Any]) -> Frame:
    """The frame with its numbers as 64-bit floating numbers, whatever they were."""
    for name in roles.numbers:
        kind = schema[name]
        if kind.is_temporal() or kind.is_nested():
            raise DataError(f"column {name!r} holds {kind} where numbers are expected. Name another column.")
        if isinstance(kind, (nw.String, nw.Categorical, nw.Enum)):
            frame = frame.with_columns(nw.col(name).cast(nw.String))
            bad = ~nw.col(name).str.contains(NUMBER)
            _refuse(
                frame, roles, name, bad, "values that are no numbers", "Give numbers, or name another column."
            )
    if not roles.numbers:
        return frame
    with _told():
        return frame.with_columns(*(nw.col(name).cast(nw.Float64) for name in roles.numbers))


@contextmanager
def _told() -> Iterator[None]:
    """Errors of an engine that is asked something, as ours."""
    try:
        yield
    except ClinometerError:
        raise
    except Exception as error:
        raise _engine_error(error) from error


def _engine_error(error: Exception) -> Exception:
    """An engine's complaint as ours; what is no engine's stays what it is."""
    module = type(error).__module__.split(".")[0]
    if module not in {"duckdb", "_duckdb", "polars", "narwhals", "pyarrow"} and not isinstance(
        error, (ValueError, TypeError, OSError)
    ):
        return error
    said = "; ".join(str(part) for part in reversed(error.args))
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if "CSV Error" in str(error):
        return DataError(
            f"the file cannot be read as a table: {'; '.join(lines[:3])}. Every row needs as many values as the "
            "header, a column of numbers only numbers, and a value with a comma quotes."
        )
    if "RFC 4180" in str(error):
        return DataError(
            "the file cannot be read as a table: its quotes or the ends of its lines are not those of a CSV file. "
            "Every line has to end alike, and a quote within quotes is doubled."
        )
    says = " ".join(lines[:4])
    if type(error).__name__ == "OutOfMemoryException":
        return DataError(
            f"counting needs more memory than it may use: {says} Raise memory_limit, or name fewer keys."
        )
    return DataError(f"the table cannot be counted: {says}")


def _collect(frame: Frame) -> pa.Table:
    options: dict[str, Any] = {"engine": "streaming"} if frame.implementation.is_polars() else {}
    names = frame.collect_schema().names()
    with _told():
        return frame.collect(backend="pyarrow", **options).to_native().select(names)


def _check(frame: Frame, roles: Roles) -> _Seen:
    """Refuse an empty table and numbers that cannot be used; the extremes of the rest."""
    asked = [nw.len().alias("n")]
    for i, name in enumerate(roles.numbers):
        value = nw.col(name)
        asked += [
            value.is_finite().cast(nw.Int64).sum().alias(f"finite {i}"),
            value.min().alias(f"low {i}"),
            value.max().alias(f"high {i}"),
        ]
    if roles.count is not None:
        whole = nw.col(roles.count) == nw.col(roles.count).floor()
        asked.append(whole.cast(nw.Int64).sum().alias("whole"))
        asked.append(nw.col(roles.count).sum().alias("total"))
    (row,) = _collect(frame.select(*asked)).to_pylist()
    n = int(row["n"])
    if n == 0:
        raise DataError("the table has no rows. One row per example is expected.")
    low = {name: row[f"low {i}"] for i, name in enumerate(roles.numbers)}
    high = {name: row[f"high {i}"] for i, name in enumerate(roles.numbers)}
    for i, name in enumerate(roles.numbers):
        value = nw.col(name)
        if int(row[f"finite {i}"] or 0) != n:
            way_out = {roles.count: "Count each row.", roles.weight: "Leave these rows out, or weight them."}
            bad = value.is_null() | value.is_nan() | ~value.is_finite()
            _refuse(
                frame,
                roles,
                name,
                bad,
                NOT_FINITE,
                way_out.get(name, "Leave these rows out, or score them again."),
            )
        if name in roles.measures and max(-low[name], high[name]) > LARGEST:
            raise DataError(
                f"column {name!r} reaches from {low[name]} to {high[name]}: its squares are not finite."
            )
    for name in roles.squares.values():
        if low[name] < 0:
            _refuse(
                frame, roles, name, nw.col(name) < 0, "sums of squares below 0", "They are of deviations."
            )
    if roles.weight is not None and low[roles.weight] < 0:
        _refuse(frame, roles, roles.weight, nw.col(roles.weight) < 0, "negative weights", NEGATIVE_WEIGHT)
    if roles.weight is not None and high[roles.weight] == 0:
        raise DataError(f"column {roles.weight!r} has the weight 0 in every row: nobody is represented.")
    if roles.count is not None:
        value = nw.col(roles.count)
        if int(row["whole"]) != n or low[roles.count] < 1:
            bad = (value < 1) | (value != value.floor())
            _refuse(frame, roles, roles.count, bad, NO_COUNT, "A row that stands for nobody is left out.")
        if row["total"] >= MOST_ROWS:
            raise DataError(
                f"column {roles.count!r} adds up to {row['total']:.3g} rows; below 2**62 are expected."
            )
        totalled = _collect(frame.select(value.cast(nw.Int64).sum().alias("total")))
        n = int(totalled.column("total")[0].as_py())
    return _Seen(n=n, low=low, high=high)


def _refuse(frame: Frame, roles: Roles, name: str, bad: Any, what: str, way_out: str) -> None:
    """Refuse the rows that are bad, if there are any: how many, and the first of them."""
    found = frame.filter(bad)
    n = int(_collect(found.select(nw.len().alias("n"))).column("n")[0].as_py())
    if n == 0:
        return
    shown = [name] if roles.id is None else [roles.id]
    examples = _collect(found.select(*shown).head(6)).column(0).to_pylist()
    if roles.id is None:
        where = f", e.g. {examples[0]!r}; name an id column to see in which rows"
    else:
        rows = ", ".join(repr(str(value)) for value in examples[:5])
        where = f"; first rows: {rows}" + (f" and {n - 5} more" if n > 5 else "")
    raise DataError(f"column {name!r} has {n} {what}{where}. {way_out}")


def _distinct(frame: Frame, name: str, limit: int) -> int:
    """How many distinct values a column has, at most one more than the limit."""
    only = frame.select(nw.col(name))

    def groups(rows: Frame) -> int:
        found = rows.group_by(name, drop_null_keys=False).agg(nw.len().alias(fresh("n", [name])))
        return int(_collect(found.select(name).head(limit + 1)).num_rows)

    # The first rows often prove that there are too many, without a pass over all.
    at_least = groups(only.head(2 * limit + 2))
    return at_least if at_least > limit else groups(only)


def _bins(frame: Frame, roles: Roles, rule: ScoreRule, seen: _Seen) -> Binned | None:
    if roles.score is None or _distinct(frame, roles.score, rule.most_exact) <= rule.most_exact:
        return None
    low, high = rule.edges_of(seen.low[roles.score], seen.high[roles.score])
    if seen.low[roles.score] < low or seen.high[roles.score] > high:
        value = nw.col(roles.score)
        reach = f"They reach from {seen.low[roles.score]} to {seen.high[roles.score]}."
        _refuse(
            frame,
            roles,
            roles.score,
            (value < low) | (value > high),
            f"scores outside {low} and {high}",
            reach,
        )
    return Binned(low=low, high=high, bins=rule.bins)


def _group(
    frame: Frame, roles: Roles, binned: Binned | None, seen: _Seen, limits: Limits
) -> tuple[pa.Table, dict[str, tuple[float, Grid, Grid]]]:
    """The distinct raw rows with their integer sums; of each measure what was taken off, and its grids."""
    prefix = "sum"
    while any(name.startswith(prefix) for name in frame.collect_schema().names()):
        prefix += "_"
    keys = [*roles.texts, *(name for name in (roles.weight, roles.score) if name is not None)]
    if binned is not None and roles.score is not None:
        position = ((nw.col(roles.score) - binned.low) * binned.factor).floor().cast(nw.Int64)
        frame = frame.with_columns(position.alias(roles.score))
    each = nw.lit(1) if roles.count is None else nw.col(roles.count).cast(nw.Int64)
    parts: dict[str, Any] = {}
    grids: dict[str, tuple[float, Grid, Grid]] = {}
    for i, name in enumerate(roles.measures):
        off = nearby(seen.low[name], seen.high[name])
        grid = Grid.of(max(abs(seen.low[name] - off), abs(seen.high[name] - off)), seen.n)
        number = nw.col(name) - off
        cut = [*grid.cut(number), *grid.squared.cut(number * number)]
        parts |= {f"{prefix} {i} {j}": part.cast(nw.Int64) * each for j, part in enumerate(cut)}
        inside = Grid.of(seen.high[roles.squares[name]] if name in roles.squares else 0.0, seen.n)
        if name in roles.squares:
            cut = [*inside.cut(nw.col(roles.squares[name]))]
            parts |= {f"{prefix} {i} {j + 4}": part.cast(nw.Int64) for j, part in enumerate(cut)}
        grids[name] = (off, grid, inside)
    n = f"{prefix} n"
    if roles.count is not None:
        parts[n] = each
    counted = nw.len().alias(n) if roles.count is None else nw.col(n).sum().alias(n)
    sums = [nw.col(name).sum().alias(name) for name in parts if name != n]
    frame = frame.select(*keys, *(part.alias(name) for name, part in parts.items()))
    names = [n, *(name for name in parts if name != n)]
    with _told():
        grouped = frame.group_by(keys, drop_null_keys=False).agg(counted, *sums)
        grouped = grouped.with_columns(*(nw.col(name).cast(nw.Int64) for name in names)).select(*keys, *names)
    raw = _collect(grouped.head(limits.rows + 1))
    if raw.num_rows > limits.rows:
        raise DataError(
            f"there are more than {limits.rows:,} distinct rows of {first(keys, 12)}. Count by fewer keys, "
            "put scores into fewer bins (most_exact=0, score_bins=...), or raise most_rows."
        )
    return raw, grids


def _tally(
    raw: pa.Table,
    roles: Roles,
    binned: Binned | None,
    grids: Mapping[str, tuple[float, Grid, Grid]],
    spelled: Callable[[str, pa.ChunkedArray], pa.ChunkedArray],
) -> Tally:
    def numbers(index: int) -> npt.NDArray[Any]:
        return cast("npt.NDArray[Any]", raw.column(index).to_numpy())

    texts = {}
    for i, name in enumerate(roles.texts):
        texts[name] = Evidence(table=pa.table({name: spelled(name, raw.column(i))}), id=name).codes(name)
    at = len(texts)
    weight = score = None
    if roles.weight is not None:
        weight, at = np.asarray(numbers(at), dtype=np.float64), at + 1
    if roles.score is not None:
        score = (
            binned.middles(numbers(at)) if binned is not None else np.asarray(numbers(at), dtype=np.float64)
        )
        at += 1
    measures: dict[str, tuple[npt.NDArray[Any], ...]] = {}
    counts = numbers(at)
    if roles.cluster is not None and (missing := int(counts[texts[roles.cluster][0] < 0].sum())):
        raise DataError(f"column {roles.cluster!r} has {missing} rows without a cluster. {NO_CLUSTER}")
    for name in roles.measures:
        own = range(at + 1, at + 5 + 2 * (name in roles.squares))
        measures[name] = tuple(numbers(position) for position in own)
        at = own[-1]

    def join(
        name: str, arrays: tuple[npt.NDArray[Any], ...], _: Ints, starts: Ints, counts: Ints
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        off, grid, inside = grids[name]
        sums = [np.add.reduceat(array, starts) for array in arrays]
        total = grid.total(sums[0], sums[1])
        squares = grid.squared.total(sums[2], sums[3]) - total * total / counts
        squares = np.where(counts > 1, np.maximum(squares, 0.0), 0.0)
        if len(sums) > 4:
            squares += inside.total(sums[4], sums[5])
        return off + total / counts, squares

    return Tally(texts=texts, weight=weight, score=score, counts=counts, measures=measures, join=join)
