"""Losses row by row, so that the loss of a group is a mean like any other."""

import math

import numpy as np
import numpy.typing as npt

from ..errors import DataError, UsageError, first
from .group_rows import Bools, Floats, column, same_length, truth
from .scored import probabilities


def brier_loss(probability: npt.ArrayLike, label: npt.ArrayLike) -> Floats:
    """(probability - label)^2 of each row, in [0, 1]: its mean is the Brier score (Brier 1950, for two classes).

    Departure: Brier's own sum runs over both classes and is twice as large; this is scikit-learn's.

    Raises:
        DataError: a probability outside [0, 1], a label that is not boolean, lengths that differ.
    """
    p, y = _predicted(probability, label)
    made: Floats = (p - y) ** 2
    return made


def log_loss(probability: npt.ArrayLike, label: npt.ArrayLike, *, clip: float | None = None) -> Floats:
    """-ln of the probability given to what came out, of each row, in nats, 0 or more.

    Args:
        clip: a row's loss is that of a probability of `clip` at most, so at most -ln(clip). This decides the mean
            wherever a certain prediction was wrong: there is no default.

    Raises:
        DataError: a loss is infinite (nothing was given to what came out) and `clip` is not set; see `brier_loss`.
        UsageError: `clip` is not between 0 and 1/2.
    """
    p, y = _predicted(probability, label)
    if clip is not None and not 0 < clip < 0.5:
        raise UsageError(f"clip is {clip}; a number between 0 and 0.5 is expected, e.g. 1e-15.")
    with np.errstate(divide="ignore"):  # the infinite are named below
        # log1p keeps the digits of a probability near 0 that 1 - p would lose.
        made: Floats = -np.where(y, np.log(p), np.log1p(-p))
    if clip is not None:
        made = np.minimum(made, -math.log(clip))
        return made
    infinite = np.flatnonzero(np.isinf(made))
    if infinite.size:
        raise DataError(
            f"the log loss is infinite in {infinite.size} rows, which were given probability 0 of what came out; "
            f"first rows, counted from 0: {first(infinite)}. Take the Brier loss, or clip, and say so."
        )
    return made


def zero_one_loss(prediction: npt.ArrayLike, label: npt.ArrayLike) -> Floats:
    """1 where the prediction is not the label, else 0, of each row: its mean is the error rate.

    Raises:
        DataError: a prediction or label that is not boolean, lengths that differ.
    """
    decided, y = truth(prediction, "prediction"), truth(label, "label")
    same_length({"prediction": decided, "label": y})
    made: Floats = (decided != y).astype(np.float64)
    return made


def residual(actual: npt.ArrayLike, predicted: npt.ArrayLike) -> Floats:
    """actual - predicted of each row, in their unit: its mean is above 0 where too little is predicted.

    Raises:
        DataError: a value that is missing or not finite, lengths that differ.
    """
    y, f = _numbers(actual, predicted)
    made: Floats = y - f
    return made


def absolute_error(actual: npt.ArrayLike, predicted: npt.ArrayLike) -> Floats:
    """|actual - predicted| of each row, in their unit. Raises as `residual`."""
    return np.abs(residual(actual, predicted))


def squared_error(actual: npt.ArrayLike, predicted: npt.ArrayLike) -> Floats:
    """(actual - predicted)^2 of each row, in their unit squared. Raises as `residual`."""
    made: Floats = residual(actual, predicted) ** 2
    return made


def quantile_loss(actual: npt.ArrayLike, predicted: npt.ArrayLike, quantile: float) -> Floats:
    """The pinball loss of each row (Koenker & Bassett 1978): smallest on average at the true quantile.

    quantile * (actual - predicted) where too little was predicted, (1 - quantile) * (predicted - actual) where
    too much; at 1/2 it is half the absolute error.

    Raises:
        UsageError: `quantile` is not between 0 and 1. DataError: as `residual`.
    """
    if not 0 < quantile < 1:
        raise UsageError(f"quantile is {quantile}; a number between 0 and 1 is expected, e.g. 0.9.")
    error = residual(actual, predicted)
    made: Floats = np.where(error >= 0, quantile * error, (quantile - 1) * error)
    return made


def _predicted(probability: npt.ArrayLike, label: npt.ArrayLike) -> tuple[Floats, Bools]:
    p, y = probabilities(probability), truth(label, "label")
    same_length({"probability": p, "label": y})
    return p, y


def _numbers(actual: npt.ArrayLike, predicted: npt.ArrayLike) -> tuple[Floats, Floats]:
    y = column(actual, "actual")
    f = column(predicted, "predicted")
    same_length({"actual": y, "predicted": f})
    return y, f
