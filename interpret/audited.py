"""A metric of scores that can be computed again on resampled rows: what a verification recomputes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from ..records import Contrast, Floats

Ints = npt.NDArray[np.int64]
# Scores (row,) and how often each row counts (replicate, row) -> the metric of each replicate, NaN where undefined.
Values = Callable[[Floats, Floats], Floats]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Audited:
    """A gap as a function of scores.

    `follows` says which way it goes when the contrast of scores rises: 1 with it (mean score, selection rate,
    true-positive rate), -1 against it (false-negative rate), 0 for a gap that has no sign and rises with the size of
    the contrast (the largest rate minus the smallest). `strata` are codes of rows that are drawn again among
    themselves, so that group sizes stay what they are; None draws from all rows.
    """

    name: str
    unit: str
    values: Values
    follows: int = 1
    strata: Ints | None = None  # (row,)


def mean_score(contrast: Contrast, *, unit: str = "logit") -> Audited:
    """The gap in mean score that the contrast's weights say.

    In a resample each side keeps its total weight: sum over sides of W sum(c w s) / sum(c w).
    """
    weights = np.asarray(contrast.weights, dtype=np.float64)
    return Audited(
        name=f"difference in mean score, {contrast.group} - {contrast.reference}",
        unit=unit,
        values=lambda scores, counts: _two_sides(weights, scores, counts),
        strata=np.sign(weights).astype(np.int64),
    )


def decision_rate(contrast: Contrast, threshold: float) -> Audited:
    """The gap in the rate of scores above a threshold: the selection rate, or with rows of one label alone in the
    contrast the true-positive or the false-positive rate.

    Raises:
        UsageError: the threshold is not finite.
    """
    if not np.isfinite(threshold):
        raise UsageError(f"the threshold is {threshold}; a finite score is expected.")
    weights = np.asarray(contrast.weights, dtype=np.float64)
    return Audited(
        name=f"difference in the rate of scores above {threshold:g}, {contrast.group} - {contrast.reference}",
        unit="rate",
        values=lambda scores, counts: _two_sides(weights, (scores > threshold).astype(np.float64), counts),
        strata=np.sign(weights).astype(np.int64),
    )


def _two_sides(weights: Floats, scores: Floats, counts: Floats) -> Floats:
    made = np.zeros(len(counts))
    for sign in (1.0, -1.0):
        side = np.maximum(sign * weights, 0.0)
        total = side.sum()
        if total > 0:
            here = counts @ side
            with np.errstate(invalid="ignore", divide="ignore"):
                made += sign * total * np.where(here > 0, (counts @ (side * scores)) / here, np.nan)
    return made
