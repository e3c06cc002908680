"""Rows and what a model makes of them, as evidence: label, decision, score, groups."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .errors import DataError, first
from .evidence import Evidence, from_columns
from .records import Floats, Rows

if TYPE_CHECKING:
    from .interpret.models import Subject

COLUMNS = ("id", "label", "prediction", "score")


def evidence_of(subject: "Subject", rows: Rows, scores: Floats) -> Evidence:
    """One row per example: its label where there is one, the decision, the score behind it, and its groups.

    Args:
        scores: (example,) of `interpret.models.score`.

    Raises:
        DataError: a group column has a name that evidence itself uses; the subject's target has no threshold.
    """
    refuse_names(rows)
    if not np.isfinite(subject.threshold):
        raise DataError(
            f"the target {subject.target!r} has no threshold, so that nothing says which rows are predicted positive. "
            "Take the subject as it was loaded, or give it one: dataclasses.replace(subject, threshold=...)."
        )
    columns: dict[str, Any] = {"id": list(rows.ids)}
    if rows.labels is not None:
        columns["label"] = binary(rows.labels, rows.ids)
    columns["prediction"] = (scores > subject.threshold).astype(np.int64)
    columns["score"] = scores
    columns.update({name: list(values) for name, values in rows.groups.items()})
    return from_columns(
        columns,
        id="id",
        label=None if rows.labels is None else "label",
        prediction="prediction",
        score="score",
        groups=tuple(rows.groups),
        provenance={
            "model": subject.name,
            "target": subject.target,
            "threshold": subject.threshold,
            **subject.provenance,
        },
    )


def refuse_names(rows: Rows) -> None:
    """Refuse group columns that are called like evidence's own.

    Raises:
        DataError: there is one.
    """
    taken = sorted(set(rows.groups) & set(COLUMNS))
    if taken:
        raise DataError(f"group columns {first(taken)} have names that evidence itself uses; rename them.")


def binary(labels: npt.ArrayLike, ids: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """Labels as 0 and 1.

    Raises:
        DataError: something else is among them, with the first rows.
    """
    given = np.asarray(labels)
    bad = [i for i, value in enumerate(given.tolist()) if value not in (0, 1)]
    if bad:
        raise DataError(
            f"labels are 0 and 1 (whether the label scored is true of a row); these hold "
            f"{first(sorted({str(given[i]) for i in bad}))}, first rows: {first(ids[i] for i in bad)}. Say which is 1, and "
            "score that label (positive=...)."
        )
    return given.astype(np.int64)
