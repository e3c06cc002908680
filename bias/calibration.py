"""Whether probabilities mean what they say: on average, and by the slope and intercept of a recalibration."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import DataError, UsageError, first
from .group_rows import Floats
from .influence import Influenced
from .scored import Scored, Undefined, scored

MOST_STEPS = 100
ROUNDING = 1e-12  # of a likelihood that is a sum over rows
CONVERGED = 1e-12  # of a row's mean gradient, in units of probability (and of logit times probability)


def calibration_in_the_large(
    probability: npt.ArrayLike,
    label: npt.ArrayLike,
    *,
    count: npt.ArrayLike | None = None,
    weight: npt.ArrayLike | None = None,
    rows: npt.ArrayLike | None = None,
) -> Influenced | Undefined:
    """Mean probability less the share of positives, in [-1, 1]: above 0 where too much is predicted.

    Source: Van Calster et al. 2019, BMC Medicine 17, 230 ("calibration in the large").

    Args:
        probability: (row,) of the whole table.
        label: (row,) True is positive.
        count: (row,) how many equal rows each stands for.
        weight: (row,) sampling weights.
        rows: positions of the rows of one group; None: all.

    Returns:
        With the influence of each row: `.interval()` is Student's, `influence.difference` compares two groups.

    Raises:
        DataError: a probability outside [0, 1]; see `scored.scored`.
    """
    given = scored(probability, label, count=count, weight=weight, rows=rows, probability=True)
    mass = given.mass
    total = float(mass.sum())
    if total <= 0:
        return Undefined(reason="no rows", n=given.n)
    excess = given.score - given.label
    mean = float(mass @ excess) / total
    return given.influenced(mean, _per_row(given) * (excess - mean) * (given.n / total))


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalibration:
    """The logistic regression of the label on the logit of its probability: logit P(positive) = intercept + slope x.

    A slope under 1: probabilities are too extreme; over 1: not extreme enough. Calibrated: intercept 0, slope 1.
    """

    intercept: Influenced  # in logits
    slope: Influenced  # in logits per logit


def logistic_recalibration(
    probability: npt.ArrayLike,
    label: npt.ArrayLike,
    *,
    clip: float | None = None,
    count: npt.ArrayLike | None = None,
    weight: npt.ArrayLike | None = None,
    rows: npt.ArrayLike | None = None,
) -> Recalibration | Undefined:
    """Slope and intercept of calibration, by Newton's method, with the influence of each row.

    Source: Cox 1958, Biometrika 45, 562; Miller, Hui & Tierney 1991. The influence is the inverse information
    times a row's score, so that standard errors are the sandwich's (Huber 1967): they do not suppose that the
    recalibration is true, and with clusters are cluster-robust.

    Args:
        clip: probabilities are moved into [clip, 1 - clip] first; without it one of exactly 0 or 1, whose logit is
            infinite, is refused. The others: as `calibration_in_the_large`.

    Returns:
        `Undefined` where only one label occurs, where all probabilities are equal, and where they separate the
        labels, so that the slope is infinite.

    Raises:
        DataError: a probability outside [0, 1], or of exactly 0 or 1 without `clip`. UsageError: `clip`.
    """
    given = scored(probability, label, count=count, weight=weight, rows=rows, probability=True)
    logit = _logit(given, clip)
    reason = _no_slope(given, logit)
    if reason is not None:
        return Undefined(reason=reason, n=given.n)
    centre = float(given.mass @ logit) / float(
        given.mass.sum()
    )  # so that Newton's equations are well conditioned
    design = np.stack([np.ones_like(logit), logit - centre], axis=1)
    share = float(given.mass @ given.label) / float(given.mass.sum())
    start = np.array([np.log(share / (1 - share)), 0.0])  # where the information is never singular
    found, influence = _fitted(given, design, np.zeros_like(logit), start)
    return Recalibration(
        intercept=given.influenced(
            float(found[0] - centre * found[1]), influence[:, 0] - centre * influence[:, 1]
        ),
        slope=given.influenced(float(found[1]), influence[:, 1]),
    )


def calibration_intercept(
    probability: npt.ArrayLike,
    label: npt.ArrayLike,
    *,
    clip: float | None = None,
    count: npt.ArrayLike | None = None,
    weight: npt.ArrayLike | None = None,
    rows: npt.ArrayLike | None = None,
) -> Influenced | Undefined:
    """The shift in logits that makes probabilities right on average, with the slope held at 1: 0 is best.

    Above 0 where too little is predicted: the sign is the opposite of `calibration_in_the_large`'s. Source: Cox
    1958; Van Calster et al. 2019 ("calibration intercept"). Arguments, results and errors as `logistic_recalibration`.
    """
    given = scored(probability, label, count=count, weight=weight, rows=rows, probability=True)
    logit = _logit(given, clip)
    reason = _one_label(given)
    if reason is not None:
        return Undefined(reason=reason, n=given.n)
    found, influence = _fitted(given, np.ones((len(logit), 1)), logit, np.zeros(1))
    return given.influenced(float(found[0]), influence[:, 0])


def _per_row(given: Scored) -> Floats:
    """The weight of one row, whatever it counts."""
    return np.ones(len(given.score)) if given.weight is None else given.weight


def _logit(given: Scored, clip: float | None) -> Floats:
    p = given.score
    if clip is not None:
        if not 0 < clip < 0.5:
            raise UsageError(f"clip is {clip}; a number between 0 and 0.5 is expected, e.g. 1e-6.")
        p = np.clip(p, clip, 1 - clip)
    certain = np.flatnonzero((p == 0) | (p == 1))
    if certain.size:
        named = certain if given.rows is None else given.rows[certain]
        raise DataError(
            f"probability is exactly 0 or 1 in {certain.size} rows, whose logit is infinite; first rows, counted from "
            f"0: {first(named)}. Clip (clip=1e-6), which the slope then depends on, or take calibration in the large."
        )
    made: Floats = np.log(p) - np.log1p(-p)
    return made


def _one_label(given: Scored) -> str | None:
    positive, negative = (
        float(given.mass[given.label].sum()),
        float(given.mass[~given.label].sum()),
    )
    if positive > 0 and negative > 0:
        return None
    missing = "rows" if positive == negative else "positives" if positive == 0 else "negatives"
    return f"no {missing}: no finite recalibration fits"


def _no_slope(given: Scored, logit: Floats) -> str | None:
    """Why there is no slope; None where the likelihood has a maximum (Albert & Anderson 1984)."""
    reason = _one_label(given)
    if reason is not None:
        return reason
    there = given.mass > 0
    positive, negative = logit[given.label & there], logit[~given.label & there]
    if min(positive.min(), negative.min()) == max(positive.max(), negative.max()):
        return "all probabilities are equal: there is no slope"
    if positive.min() >= negative.max() or positive.max() <= negative.min():
        return "the probabilities separate the labels: the slope is infinite"
    return None


def _fitted(given: Scored, design: Floats, offset: Floats, start: Floats) -> tuple[Floats, Floats]:
    """Maximum likelihood of a logistic regression, and the influence of each row on it, (taken, coefficient)."""
    mass, label = given.mass, given.label.astype(np.float64)
    total = float(mass.sum())

    def likelihood(at: Floats) -> float:
        linear = offset + design @ at
        return float(mass @ (label * linear - np.logaddexp(0.0, linear)))

    at = start
    value = likelihood(at)
    for _ in range(MOST_STEPS):
        fitted = _expit(offset + design @ at)
        score = design.T @ (mass * (label - fitted))
        information = (design * (mass * fitted * (1 - fitted))[:, None]).T @ design
        if not np.linalg.cond(information) < 1 / np.finfo(np.float64).eps:
            break
        if np.abs(score).max() <= CONVERGED * total:
            each = (design * (_per_row(given) * (label - fitted))[:, None]).T
            influence = given.n * np.linalg.solve(information, each).T
            return at, influence.astype(np.float64, copy=False)
        step = np.linalg.solve(information, score)
        size = 1.0
        # The likelihood is concave: half a step often enough never makes it smaller, but for rounding.
        while likelihood(at + size * step) < value - ROUNDING * abs(value) and size > ROUNDING:
            size /= 2
        at = at + size * step
        value = likelihood(at)
    raise DataError(
        f"the recalibration did not converge in {MOST_STEPS} steps: the probabilities almost separate the labels. "
        "Take calibration in the large, or more rows."
    )


def _expit(x: Floats) -> Floats:
    """1 / (1 + exp(-x)), without overflow."""
    made: Floats = np.exp(-np.logaddexp(0.0, -x))
    return made
