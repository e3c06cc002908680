"""A metric of scores that can be computed again on resampled rows: what a verification recomputes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import DataError, UsageError, first
from ..records import Contrast, Floats

Ints = npt.NDArray[np.int64]
# Scores (row,) and how often each row counts (replicate, row) -> the metric of each replicate, NaN where undefined.
Values = Callable[[Floats, Floats], Floats]

MOST_UNDEFINED = 0.05  # of the resamples in which a metric may be undefined
BLOCK = 256  # replicates computed at once


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Audited:
    """A signed gap as a function of scores.

    `strata` are codes of rows that are drawn again among themselves, so that group sizes stay what they are; None
    draws from all rows.
    """

    name: str
    unit: str
    values: Values
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
    """The gap in the rate of scores above a threshold: with rows of one label only, of its error rate.

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


def drawn_again(
    n_rows: int, strata: Ints | None, cluster: Ints | None, replicates: int, seed: int
) -> Floats:
    """How often each row counts in each resample, (replicate, row).

    Rows are drawn with replacement within strata, or whole clusters from all clusters.

    Raises:
        DataError: one cluster alone, or codes that are not one per row.
    """
    for what, codes in (("strata", strata), ("cluster", cluster)):
        if codes is not None and len(codes) != n_rows:
            raise DataError(f"{what} has {len(codes)} codes for {n_rows} rows; one per row is expected.")
    generator = np.random.default_rng(seed)
    if cluster is not None:
        names, codes = np.unique(cluster, return_inverse=True)
        if len(names) < 2:
            raise DataError("there is one cluster: drawing clusters again shows nothing. Two are needed.")
        counts = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=replicates)
        return counts[:, codes].astype(np.float64)
    made = np.zeros((replicates, n_rows))
    codes = np.zeros(n_rows, dtype=np.int64) if strata is None else strata
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        made[:, rows] = generator.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=replicates)
    return made


def of_scores(metric: Audited, scores: Floats, counts: Floats) -> Floats:
    """The metric of each score vector (vector, row) in each resample: (vector, replicate).

    Raises:
        DataError: the metric gives something else than one number per resample.
    """
    made = np.empty((len(scores), len(counts)))
    for i, one in enumerate(scores):
        for start in range(0, len(counts), BLOCK):
            block = counts[start : start + BLOCK]
            found = np.asarray(metric.values(one, block), dtype=np.float64)
            if found.shape != (len(block),):
                raise DataError(
                    f"the metric {metric.name!r} gave {found.shape} for {len(block)} resamples; one number each is expected."
                )
            made[i, start : start + len(block)] = found
    return made


def defined(metric: Audited, values: Floats, names: tuple[str, ...]) -> None:
    """Refuse a metric that is undefined on the rows themselves, naming for which change of the model."""
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise DataError(
            f"{metric.name} is undefined on these rows {first(names[i] for i in bad)}: a denominator is empty. Give more "
            "held-out rows."
        )
