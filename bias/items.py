"""What conjunctions are made of: one value of a column, or a term that a text holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..errors import DataError, first
from ..evidence import Evidence
from .groups import UNKNOWN

MOST_VALUES = 200  # distinct values of a column; more is a name or a number, no group
MOST_NUMBERS = 50  # distinct values of a column of floats
PRESENT = "present"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One condition of a slice."""

    column: str
    value: str
    term: bool = False  # the column is a term, and the rows are those that hold it

    def __str__(self) -> str:
        return self.column if self.term else f"{self.column}={self.value}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Coded:
    """Columns as small numbers: which item of each column a row has."""

    names: tuple[str, ...]  # columns, then terms
    values: tuple[tuple[str, ...], ...]  # of each column, by code; of a term: absent, present
    codes: tuple[npt.NDArray[np.uint8], ...]  # of each column, (row,)
    n_terms: int = 0  # the last so many columns are terms, of which code 0 is no item

    def __len__(self) -> int:
        return len(self.codes[0])

    @property
    def items(self) -> tuple[Item, ...]:
        """Every item, in order of columns and codes."""
        return tuple(
            Item(column=self.names[j], value=self.values[j][code], term=self.is_term(j))
            for j, code in self.keys
        )

    @property
    def keys(self) -> list[tuple[int, int]]:
        """(column, code) of every item."""
        return [
            (j, code)
            for j, values in enumerate(self.values)
            for code in range(self.is_term(j), len(values))  # a term's absence is no item
        ]

    def is_term(self, column: int) -> bool:
        """Whether a column, by number, is a term."""
        return column >= len(self.names) - self.n_terms

    def take(self, rows: npt.NDArray[Any]) -> "Coded":
        """Some rows, by number or by mask."""
        return Coded(
            names=self.names,
            values=self.values,
            codes=tuple(codes[rows] for codes in self.codes),
            n_terms=self.n_terms,
        )


def code_columns(columns: Mapping[str, Any], terms: Mapping[str, npt.ArrayLike] | None = None) -> Coded:
    """Columns and terms as codes; a missing value is a value of its own, "unknown".

    Args:
        columns: (row,) values each, of a few kinds: an array, a list, or an Arrow column. Numbers are groups by
            their values: 50 of them at most where they are floats.
        terms: (row,) truth values each: whether the text of the row holds the term.

    Raises:
        DataError: no column, columns of several lengths, a column of too many values (named), a term that is no
            truth value.
    """
    arrays = {name: _arrow(name, values) for name, values in columns.items()}
    sizes = {name: len(values) for name, values in arrays.items()}
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise DataError(f"columns of the same rows have different lengths: {told}.")
    return code_evidence(Evidence(table=pa.table(arrays), id=""), tuple(arrays), terms)


def code_evidence(
    evidence: Evidence, columns: Sequence[str], terms: Mapping[str, npt.ArrayLike] | None = None
) -> Coded:
    """Columns of evidence, by name, and terms as codes: see `code_columns`.

    Raises:
        DataError: no column, no such column, a column of too many values (named), a term that is no truth value.
    """
    held = {name: np.asarray(value) for name, value in (terms or {}).items()}
    if not columns and not held:
        raise DataError("there is no column to search: name at least one (columns=), or give terms=.")
    twice = sorted(set(columns) & set(held))
    if twice:
        raise DataError(f"{first(twice)} names a column and a term. Rename the term.")
    bad = [name for name, value in held.items() if value.dtype != np.bool_ or value.ndim != 1]
    if bad:
        raise DataError(f"the term {first(bad)} is no array of truth values, one per row.")
    n = len(evidence) if columns else len(next(iter(held.values())))
    short = [f"{name} {len(value)}" for name, value in held.items() if len(value) != n]
    if short:
        raise DataError(f"terms of {n} rows have other lengths: {first(short)}.")
    coded = {name: _code(evidence, name) for name in columns}
    return Coded(
        names=(*coded, *held),
        values=(*(values for values, _ in coded.values()), *(("absent", PRESENT) for _ in held)),
        codes=(*(codes for _, codes in coded.values()), *(value.astype(np.uint8) for value in held.values())),
        n_terms=len(held),
    )


def _code(evidence: Evidence, name: str) -> tuple[tuple[str, ...], npt.NDArray[np.uint8]]:
    """The distinct values in order of name, unknown last, and the code of each row."""
    codes, known = evidence.codes(name)
    if pa.types.is_floating(evidence.table.column(name).type) and len(known) > MOST_NUMBERS:
        raise DataError(
            f"the column {name!r} holds {len(known):,} different numbers; at most {MOST_NUMBERS} are groups by "
            "themselves. Bin them, cm.bins(values, edges), and search the bins."
        )
    if len(known) > MOST_VALUES:
        raise DataError(
            f"the column {name!r} has {len(known):,} values; at most {MOST_VALUES} are searched. Leave it out, "
            "join its values to fewer, or bin its numbers: cm.bins(values, edges)."
        )
    unknown = UNKNOWN
    while unknown in known:  # a group may really be called "unknown"
        unknown = f"{unknown} (missing)"
    missing = codes < 0
    values = (*known, unknown) if missing.any() else known
    return values, np.where(missing, len(known), codes).astype(np.uint8)


def _arrow(name: str, values: Any) -> Any:
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError) as error:
        raise DataError(f"the column {name!r} is no list of values of one kind: {error}.") from error
