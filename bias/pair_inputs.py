"""Scores, decisions and clusters of swapped pairs, checked and put side by side."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError, UsageError, first
from .swapped_rows import Swapped

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def scores(
    swapped: Swapped, original: npt.ArrayLike | None, copies: npt.ArrayLike | None, *, per_pair: bool
) -> tuple[Floats | None, Floats | None]:
    """Scores before and after, (pair,) each; those before come per pair, or per original row."""
    if (original is None) != (copies is None):
        raise UsageError("scores of the originals and of the swapped rows are expected, or of neither.")
    if original is None or copies is None:
        return None, None
    made = []
    ids_before, place = _before(swapped, per_pair)
    for what, given, ids in (
        ("original", original, ids_before),
        ("swapped", copies, swapped.rows.ids),
    ):
        try:
            values = np.asarray(given, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"scores of the {what} rows are no numbers: {error}.") from error
        _same_length(values, ids, f"scores of the {what} rows")
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise DataError(
                f"{bad.size} scores of the {what} rows are not finite; first rows: {first(ids[i] for i in bad)}. Score them "
                "again, or leave these rows out before swapping."
            )
        made.append(values)
    return made[0][place], made[1]


def predictions(
    swapped: Swapped,
    score_original: npt.ArrayLike | None,
    score_swapped: npt.ArrayLike | None,
    threshold: float | None,
    original: npt.ArrayLike | None,
    copies: npt.ArrayLike | None,
    *,
    per_pair: bool,
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]] | None:
    """Decisions before and after, (pair,) each; None where there are none."""
    if (original is None) != (copies is None):
        raise UsageError("predictions of the originals and of the swapped rows are expected, or of neither.")
    if threshold is not None:
        if original is not None:
            raise UsageError("a threshold and predictions are given: one of them decides.")
        before, after = scores(swapped, score_original, score_swapped, per_pair=per_pair)
        if before is None or after is None:
            raise UsageError("a threshold needs scores.")
        if not math.isfinite(threshold):
            raise UsageError(f"the threshold is {threshold}; a finite number is expected.")
        return before > threshold, after > threshold
    if original is None or copies is None:
        return None
    first_of, second = np.asarray(original), np.asarray(copies)
    ids_before, place = _before(swapped, per_pair)
    _same_length(first_of, ids_before, "predictions of the original rows")
    _same_length(second, swapped.rows.ids, "predictions of the swapped rows")
    for values, ids in ((first_of, ids_before), (second, swapped.rows.ids)):
        absent = [ids[i] for i, value in enumerate(values.tolist()) if value is None or value != value]
        if absent:
            raise DataError(f"{len(absent)} predictions are missing; first rows: {first(absent)}.")
    if (first_of.dtype == np.bool_) != (second.dtype == np.bool_):
        raise DataError(
            f"predictions are {first_of.dtype} before and {second.dtype} after the swap: nothing would be equal. Give "
            "both in one form."
        )
    return first_of[place], second


def _before(swapped: Swapped, per_pair: bool) -> tuple[tuple[str, ...], Ints]:
    """Whose scores the first ones are, and where those of each pair stand among them."""
    if per_pair:
        return tuple(one.original for one in swapped.swaps), np.arange(len(swapped))
    return swapped.original.ids, swapped.place


def _same_length(values: npt.NDArray[Any], ids: Sequence[str], what: str) -> None:
    if values.shape != (len(ids),):
        raise DataError(
            f"{what} have shape {values.shape}; {(len(ids),)} is expected, one for each row, in order."
        )


def clusters(swapped: Swapped, cluster: Sequence[Any] | npt.NDArray[Any] | None) -> Ints:
    """A code for each pair: of its cluster, or of its original row."""
    if cluster is None:
        return swapped.place
    listed = np.asarray(cluster).tolist()
    ids = swapped.original.ids
    if len(listed) != len(ids):
        raise DataError(
            f"cluster names {len(listed)} rows; one for each of {len(ids)} original rows is expected."
        )
    missing = [ids[i] for i, value in enumerate(listed) if value is None or value != value or value == ""]
    if missing:
        raise DataError(f"{len(missing)} rows have no cluster; first: {first(missing)}. Give every row one.")
    codes = {value: i for i, value in enumerate(dict.fromkeys(listed))}
    made = np.array([codes[value] for value in listed], dtype=np.int64)[swapped.place]
    if len(np.unique(made)) < 2:
        raise DataError(
            "all pairs are in one cluster, so that nothing is known of their error. Name what tells independent people, "
            "documents or templates apart, or leave cluster out."
        )
    return made
