"""Rows of a table with a sensitive column flipped, and how many real rows share what comes out."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError, UsageError, did_you_mean, first
from ..records import Rows
from .swapped_rows import NotSwapped, Swap, Swapped, assemble, unique_ids

Changes = Mapping[str, Mapping[Any, Any]]


def flipped(
    rows: Rows,
    column: str,
    values: Mapping[Any, Any],
    *,
    along: Changes | None = None,
    beside: Sequence[str] = (),
    edges: Mapping[str, Sequence[float]] | None = None,
    minimum: int = 5,
) -> Swapped:
    """Copies of the rows with one column's value replaced, with a warning where hardly a real row is like them.

    A flip leaves everything else as it is, so that it can make what nobody is: a husband who is female. For each
    copy the real rows are counted that share its values in the flipped columns and in those named by `beside`;
    where fewer than `minimum` do, the copy carries a warning. It is scored all the same.

    Args:
        column: an input of the model.
        values: old value -> new value; rows with any other value are left out and listed.
        along: further columns that change with it, old -> new each; a value that is not named stays.
        beside: columns that have to fit the flipped ones, as relationship fits sex.
        edges: of numeric columns among them: inner edges of bins, increasing; a bin holds its lower edge.
        minimum: real rows alike below which a copy is called implausible.

    Raises:
        DataError: a column is missing, has no such value, or no row can be flipped.
        UsageError: a value becomes itself, edges that do not increase, or a column is named twice.
    """
    changes: dict[str, Mapping[Any, Any]] = {column: values, **(along or {})}
    compared = (*changes, *beside)
    _check(rows, changes, compared, edges or {}, minimum)
    unique_ids(rows.ids)
    given = {name: list(rows.inputs[name]) for name in compared}
    place = [i for i, value in enumerate(given[column]) if value in values]
    inside = set(place)
    left = [
        NotSwapped(id=rows.ids[i], variant=column, reason="value not flipped", detail=str(value))
        for i, value in enumerate(given[column])
        if i not in inside
    ]
    if not place:
        raise DataError(
            f"column {column!r} has none of {first(values)} in {len(rows)} rows; it holds "
            f"{first(dict.fromkeys(given[column]))}."
        )
    new = {
        name: [mapping.get(given[name][i], given[name][i]) for i in place]
        for name, mapping in changes.items()
    }
    keys = {name: _binned(name, given[name] + list(new.get(name, [])), edges or {}) for name in compared}
    real: Counter[tuple[Hashable, ...]] = Counter(
        zip(*(keys[name][: len(rows)] for name in compared), strict=True)
    )
    made = []
    for n, i in enumerate(place):
        combination = tuple(
            keys[name][len(rows) + n] if name in changes else keys[name][i] for name in compared
        )
        alike = real[combination]
        old_value, new_value = given[column][i], new[column][n]
        made.append(
            Swap(
                id=f"{rows.ids[i]} [{column} = {new_value}]",
                original=rows.ids[i],
                variant=column,
                direction=f"{old_value} -> {new_value}",
                changes={
                    name: (str(given[name][i]), str(new[name][n]))
                    for name in changes
                    if new[name][n] != given[name][i]
                },
                n_alike=alike,
                warning=_warning(alike, minimum, compared, combination),
            )
        )
    warned = sum(bool(one.warning) for one in made)
    notes = (
        [f"{warned} of {len(made)} flipped rows have fewer than {minimum} real rows like them"]
        if warned
        else []
    )
    if left:
        notes.append(f"left out: {len(left)} rows with another value of {column}")
    return assemble(
        rows,
        {name: _as_before(rows.inputs[name], listed) for name, listed in new.items()},
        made,
        place,
        left,
        column=None,
        provenance={
            "flipped": {name: {str(a): str(b) for a, b in m.items()} for name, m in changes.items()},
            "beside": list(beside),
            "edges": {name: list(cuts) for name, cuts in (edges or {}).items()},
            "minimum": minimum,
        },
        notes=tuple(notes),
    )


def _check(
    rows: Rows, changes: Changes, compared: Sequence[str], edges: Mapping[str, Sequence[float]], minimum: int
) -> None:
    if not len(rows):
        raise DataError("there are no rows to flip.")
    twice = [name for name, times in Counter(compared).items() if times > 1]
    if twice:
        raise UsageError(
            f"{first(twice)} is named twice; a column is flipped, or changes along, or stands beside."
        )
    for name in (*compared, *edges):
        if name not in rows.inputs:
            raise DataError(f"the rows have no column {name!r}: {did_you_mean(name, rows.inputs)}")
        if np.asarray(rows.inputs[name]).ndim != 1:
            raise DataError(
                f"column {name!r} has shape {np.asarray(rows.inputs[name]).shape}; one value per row is expected."
            )
    for name, mapping in changes.items():
        held = set(rows.inputs[name])
        absent = [value for value in mapping if value not in held]
        if absent or not mapping:
            raise DataError(
                f"column {name!r} has no value {first(absent) or '(none was named)'}; it holds "
                f"{first(dict.fromkeys(rows.inputs[name]))}."
            )
        same = [old for old, new in mapping.items() if old == new]
        if same:
            raise UsageError(f"{first(same)} of {name!r} becomes itself: leave it out.")
    wrong = [name for name, cuts in edges.items() if not cuts or any(np.diff(np.asarray(cuts)) <= 0)]
    if wrong:
        raise UsageError(f"edges of {first(wrong)} do not increase: {list(edges[wrong[0]])}.")
    if minimum < 1:
        raise UsageError(f"minimum is {minimum}; 1 row or more is expected.")


def _binned(name: str, values: list[Any], edges: Mapping[str, Sequence[float]]) -> list[Hashable]:
    """Values as they are compared: a numeric column with edges by its bin."""
    if name not in edges:
        return ["missing" if isinstance(value, float) and np.isnan(value) else value for value in values]
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"column {name!r} has edges and holds values that are no numbers: {error}."
        ) from error
    cuts = [-np.inf, *edges[name], np.inf]
    return [
        f"{cuts[i]:g} to {cuts[i + 1]:g}"
        for i in np.searchsorted(np.asarray(edges[name]), numbers, side="right").tolist()
    ]


def _warning(alike: int, minimum: int, names: Sequence[str], combination: Sequence[Hashable]) -> str:
    if alike >= minimum:
        return ""
    shown = ", ".join(f"{name} = {value}" for name, value in zip(names, combination, strict=True))
    return f"{alike} real {'row has' if alike == 1 else 'rows have'} {shown}"


def _as_before(column: npt.NDArray[Any], values: list[Any]) -> npt.NDArray[Any]:
    """The new values in the column's own number type; texts may need more room, and get it."""
    before = np.asarray(column)
    if before.dtype.kind in "UO":
        return np.array(values, dtype=object if before.dtype.kind == "O" else None)
    made = np.array(values)
    if not np.can_cast(made.dtype, before.dtype, "same_kind"):
        raise DataError(
            f"new values {first(dict.fromkeys(values))} do not fit a column of {before.dtype}: give values of its kind."
        )
    return made.astype(before.dtype)
