"""From the scores of a method to the record that all methods return, with its certificate."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..errors import ModelError
from ..records import Attribution, Floats, Rows
from .models import Subject, check_finite

RELATIVE_TOLERANCE = 0.01  # completeness error allowed, as a part of |f(x) - f(b)|
FLOOR = 0.05  # ... or of this many standard deviations of the scores, where |f(x) - f(b)| is smaller


def allowed(value: Floats, base_value: Floats, spread: float) -> Floats:
    """The completeness error at which an example counts as converged, (example,).

    1 % of |f(x) - f(b)|, or of .05 standard deviations of the scores where these are more.
    """
    made: Floats = RELATIVE_TOLERANCE * np.maximum(np.abs(value - base_value), FLOOR * spread)
    return made


def rounding(value: Floats) -> Floats:
    """What float32 arithmetic alone may add to a completeness error, (example,)."""
    made: Floats = 1e-6 * np.maximum(1.0, np.abs(value))
    return made


def attributed(
    method: str,
    subject: Subject,
    rows: Rows,
    names: tuple[tuple[str, ...], ...],
    scores: Floats,
    *,
    value: Floats,
    base_value: Floats | None = None,
    unit: str | None = None,
    baseline: str | None = None,
    nodes: npt.NDArray[np.integer] | None = None,
    errors: Floats | None = None,
    seed: int | None = None,
    notes: Sequence[str] = (),
) -> Attribution:
    """The record of a method's scores; which examples converged follows from the sums.

    Args:
        method: its name in the table of methods.
        names: token names per example.
        scores: (example, token).
        value: (example,) the target.
        base_value: (example,) what the scores are promised to start from; None where nothing is promised.
        unit: by default the subject's; "" for scores without one.
        baseline: by default the subject's; "" for methods that compare with nothing.

    Raises:
        DataError: a score that is not finite, with the first rows.
    """
    check_finite(scores.sum(axis=1), rows.ids, subject.name)
    n = len(rows)
    base = np.full(n, np.nan) if base_value is None else base_value
    promised = base_value is not None
    tolerance = allowed(value, base, float(np.std(value)))
    error = np.abs(value - base - scores.sum(axis=1))
    return Attribution(
        method=method,
        target=subject.target,
        unit=subject.unit if unit is None else unit,
        baseline=subject.baseline if baseline is None else baseline,
        ids=rows.ids,
        tokens=names,
        scores=scores,
        value=value,
        base_value=base,
        nodes=np.zeros(n, dtype=np.int64) if nodes is None else nodes,
        converged=error <= tolerance + rounding(value) if promised else np.ones(n, dtype=np.bool_),
        tolerance=tolerance,
        errors=errors,
        seed=seed,
        notes=tuple(notes),
    )


def averaged(parts: Sequence[Attribution], baseline: str) -> Attribution:
    """The mean of attributions of the same rows against several references: the expectation over them.

    Each part keeps its promise, so the mean does: it adds up to value - mean(base_value). Standard errors are
    combined as of independent parts. An example has converged where it did against every reference.

    Raises:
        ModelError: there are no parts, or they are of different rows or targets.
    """
    first = parts[0] if parts else None
    if first is None or any(
        (p.ids, p.tokens, p.target) != (first.ids, first.tokens, first.target) for p in parts
    ):
        raise ModelError("attributions of different rows, tokens or targets have no mean.")
    errors = [part.errors for part in parts]
    known = [error for error in errors if error is not None]
    return dataclasses.replace(
        first,
        baseline=baseline,
        scores=np.mean([part.scores for part in parts], axis=0),
        base_value=np.mean([part.base_value for part in parts], axis=0),
        nodes=np.sum([part.nodes for part in parts], axis=0),
        converged=np.all([part.converged for part in parts], axis=0),
        tolerance=np.mean([part.tolerance for part in parts], axis=0),
        errors=np.sqrt(np.sum(np.square(known), axis=0)) / len(parts) if len(known) == len(parts) else None,
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )
