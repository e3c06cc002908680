"""What a search of slices compares: a value of each row that is in the denominator."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import DataError, UsageError, did_you_mean, first
from ..evidence import Evidence
from . import losses
from .counts import Bools
from .metrics import BY_NAME, CLIP

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """A rate's truth values, or a mean's numbers."""

    value: Bools | Floats  # (row,)
    inside: Bools  # (row,) in the denominator
    words: str


LOSSES: dict[str, Callable[[Evidence], Floats]] = {
    "brier_score": lambda e: losses.brier_loss(_numbers(e, "score"), _truth(e, "label")),
    "log_loss": lambda e: losses.log_loss(_numbers(e, "score"), _truth(e, "label"), clip=CLIP),
    "calibration_in_the_large": lambda e: _numbers(e, "score") - _truth(e, "label"),
    "mean_residual": lambda e: losses.residual(_numbers(e, "label"), _predicted(e)),
    "mean_absolute_error": lambda e: losses.absolute_error(_numbers(e, "label"), _predicted(e)),
    "mean_squared_error": lambda e: losses.squared_error(_numbers(e, "label"), _predicted(e)),
}


def known_outcomes(evidence: Evidence) -> tuple[str, ...]:
    """Everything that can be asked for by name: rates, means of a loss, the score and measures."""
    rates = [name for name, metric in BY_NAME.items() if metric.numerator]
    return (*rates, *LOSSES, *([evidence.score] if evidence.score else []), *evidence.measures)


def outcome(evidence: Evidence, of: str) -> Outcome:
    """The value of each row and who is in the denominator, of a metric or a measure by name.

    Raises:
        UsageError: no such name.
        DataError: what it needs is not in the evidence, nobody is in the denominator, or a measure is a mean of
            several rows, which cannot be exchanged one by one.
    """
    metric = BY_NAME.get(of)
    if metric is not None and metric.numerator:
        return _rate(evidence, of)
    everybody = np.ones(len(evidence), dtype=np.bool_)
    if of in LOSSES:
        words = BY_NAME[of].words
        return Outcome(value=LOSSES[of](evidence), inside=everybody, words=words)
    if of == evidence.score or of in evidence.measures:
        spread = evidence.squares.get(of)
        if spread is not None and np.any(evidence.column(spread) > 0):
            raise DataError(
                f"{of!r} holds means of several rows that differ ({spread!r} is above 0), and the search exchanges single "
                "rows. Give one row per example."
            )
        return Outcome(value=evidence.column(of), inside=everybody, words=f"mean of {of}, of all")
    raise UsageError(
        f"slices cannot be searched by {of!r}: {did_you_mean(of, known_outcomes(evidence))} Rates, means of a loss, the "
        "score and measures can."
    )


def _rate(evidence: Evidence, of: str) -> Outcome:
    metric = BY_NAME[of]
    prediction = _truth(evidence, "prediction")
    label = _truth(evidence, "label") if metric.needs_label else np.zeros_like(prediction)
    cells = {
        "tp": prediction & label,
        "fp": prediction & ~label,
        "fn": ~prediction & label,
        "tn": ~prediction & ~label,
    }
    inside = np.any([cells[name] for name in metric.denominator], axis=0)
    if not inside.any():
        raise DataError(
            f"{of} is {metric.words}: nobody is in its denominator. Search by another rate, or give other rows."
        )
    value = np.any([cells[name] for name in metric.numerator], axis=0)
    return Outcome(value=value, inside=inside, words=metric.words)


def _named(evidence: Evidence, role: str) -> str:
    name: str | None = getattr(evidence, role)
    if name is None:
        raise DataError(f"the evidence has no {role}: name its column ({role}=).")
    return name


def _truth(evidence: Evidence, role: str) -> Bools:
    return evidence.binary(_named(evidence, role))


def _numbers(evidence: Evidence, role: str) -> Floats:
    name = _named(evidence, role)
    values = evidence.column(name)
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise DataError(
            f"column {name!r} has {bad.size} values that are missing or not finite; first rows: "
            f"{first(evidence.ids[i] for i in bad)}. Leave these rows out."
        )
    return values


def _predicted(evidence: Evidence) -> Floats:
    return _numbers(evidence, "prediction" if evidence.prediction is not None else "score")
