"""The rows of a group, taken from columns whose lengths, numbers and counts were checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError, first
from .groups import members
from .influence import Influenced

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Taken:
    """Some rows of a table: their columns, where they lie in it, and how often each counts."""

    columns: dict[str, npt.NDArray[Any]]  # (taken,) each: truth values as they were, else float64
    rows: Ints | None  # (taken,) positions in the table; None: all of them in order
    count: Ints | None  # (taken,) None: each once
    n: int  # rows, each as often as it counts

    @property
    def times(self) -> Floats:
        """How often each taken row counts, as numbers, (taken,)."""
        size = len(next(iter(self.columns.values())))
        return np.ones(size) if self.count is None else self.count.astype(np.float64)

    def mean(self, values: npt.NDArray[Any]) -> float:
        """The mean of values of the taken rows, (taken,)."""
        return float(self.times @ values) / self.n

    @property
    def pull(self) -> Floats:
        """Each taken row's sampling weight over the mean one, (taken,); ones without a column `weight`."""
        if "weight" not in self.columns:
            return np.ones(len(self.times))
        weight = self.numbers("weight")
        made: Floats = weight * (self.n / float(self.times @ weight))
        return made

    @property
    def weightless(self) -> bool:
        """No row, or none that weighs anything: nothing can be averaged."""
        return self.n == 0 or ("weight" in self.columns and not self.times @ self.numbers("weight") > 0)

    def numbers(self, name: str) -> Floats:
        """A column as float64, truth values as 1 and 0, (taken,)."""
        made: Floats = self.columns[name].astype(np.float64, copy=False)
        return made

    def influenced(self, estimate: float, influence: Floats) -> Influenced:
        """An estimate of these rows with the influence of each."""
        return Influenced(
            estimate=estimate,
            influence=np.asarray(influence, dtype=np.float64),
            rows=self.rows,
            count=self.count,
        )


def take(*, rows: Ints | None, count: Ints | None, **columns: npt.ArrayLike) -> Taken:
    """The named rows of columns that lie side by side.

    Args:
        rows: positions of the rows taken, each once; None takes all.
        count: (row,) how often each row of the table counts; None: once.
        columns: (row,) numbers or truth values of the whole table.

    Raises:
        DataError: columns of several lengths, a number that is not finite, a count that is negative or no whole
            number, a position outside the table.
    """
    arrays = {name: column(values, name) for name, values in columns.items()}
    size = same_length({**arrays, **({} if count is None else {"count": np.asarray(count)})})
    counted = None if count is None else whole_counts(count)
    if rows is None:
        n = size if counted is None else int(counted.sum())
        return Taken(columns=arrays, rows=None, count=counted, n=n)
    where = np.asarray(rows, dtype=np.int64)
    outside = where[(where < 0) | (where >= size)]
    if outside.size:
        raise DataError(f"rows names {first(outside)}; the columns have rows 0 to {size - 1}.")
    part = None if counted is None else counted[where]
    n = len(where) if part is None else int(part.sum())
    taken = {name: values[where] for name, values in arrays.items()}
    return Taken(columns=taken, rows=where, count=part, n=n)


def column(values: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    """A column as truth values or as finite float64, (row,)."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise DataError(f"{name} has shape {array.shape}; one value per row is expected.")
    if array.dtype == np.bool_:
        return array
    if array.dtype.kind not in "iuf":
        raise DataError(f"{name} holds values of type {array.dtype}; numbers are expected.")
    numbers: Floats = array.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if bad.size:
        raise DataError(
            f"{name} has {bad.size} values that are missing or not finite; first rows, counted from 0: "
            f"{first(bad)}. Leave these rows out, or score them again."
        )
    return numbers


def truth(values: npt.ArrayLike, name: str) -> Bools:
    """A column of truth values, (row,).

    Raises:
        DataError: it holds anything else: 0 and 1 say nothing of which is positive where other numbers may occur.
    """
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype != np.bool_:
        raise DataError(
            f"{name} has shape {array.shape} and type {array.dtype}; one truth value per row is expected."
        )
    return array


def same_length(columns: dict[str, npt.NDArray[Any]]) -> int:
    """The number of rows that all columns have."""
    sizes = {name: len(values) for name, values in columns.items()}
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise DataError(f"columns of the same rows have different lengths: {told}.")
    return next(iter(sizes.values()))


def whole_counts(count: npt.ArrayLike) -> Ints:
    """How often each row counts, as whole numbers of zero or more, (row,)."""
    array = np.asarray(count)
    if not np.issubdtype(array.dtype, np.integer):
        raise DataError(
            f"count has type {array.dtype}; whole numbers of rows are expected. Sampling weights are no counts."
        )
    counted: Ints = array.astype(np.int64)
    if np.any(counted < 0):
        raise DataError(
            f"count is negative in rows {first(np.flatnonzero(counted < 0))}; expected 0 or more."
        )
    return counted


def numbers(values: npt.ArrayLike, name: str) -> Floats:
    """A column as finite float64, truth values as 1 and 0, (row,)."""
    made: Floats = column(values, name).astype(np.float64, copy=False)
    return made


def positions(group: Sequence[str | None]) -> dict[str, Ints]:
    """Positions of the rows of each group, in order of name; rows without a group last, as unknown."""
    return {name: np.asarray(rows, dtype=np.int64) for name, rows in members(group).items()}
