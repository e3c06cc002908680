"""How wrong predictions of a number are in a group: residuals, errors, explained variance, quantile loss.

Each function takes the label and prediction of the whole table, (row,), in the label's unit; `rows`, the positions of
a group (None: all); `count`, how often each row counts; and `weight`, sampling weights.
"""

import math

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from .group_rows import Floats, Ints, Taken, take
from .influence import Influenced, difference
from .intervals import Interval
from .scored import Undefined, sampling_weights


def mean_residual(
    label: npt.ArrayLike,
    prediction: npt.ArrayLike,
    *,
    rows: Ints | None = None,
    count: Ints | None = None,
    weight: npt.ArrayLike | None = None,
) -> Influenced | Undefined:
    """Mean of label - prediction, in the label's unit; above 0 the group is predicted too low. Undefined without rows.

    The difference of two groups' mean residuals is the residual gap: `influence.difference`.
    """
    part = _part(label, prediction, rows, count, weight)
    return _mean(part, part.numbers("label") - part.numbers("prediction"))


def mean_absolute_error(
    label: npt.ArrayLike,
    prediction: npt.ArrayLike,
    *,
    rows: Ints | None = None,
    count: Ints | None = None,
    weight: npt.ArrayLike | None = None,
) -> Influenced | Undefined:
    """Mean of |label - prediction|, in the label's unit. Undefined without rows."""
    part = _part(label, prediction, rows, count, weight)
    return _mean(part, np.abs(part.numbers("label") - part.numbers("prediction")))


def mean_squared_error(
    label: npt.ArrayLike,
    prediction: npt.ArrayLike,
    *,
    rows: Ints | None = None,
    count: Ints | None = None,
    weight: npt.ArrayLike | None = None,
) -> Influenced | Undefined:
    """Mean of (label - prediction)^2, in the label's unit squared. Undefined without rows."""
    part = _part(label, prediction, rows, count, weight)
    return _mean(part, (part.numbers("label") - part.numbers("prediction")) ** 2)


def root_mean_squared_error(
    label: npt.ArrayLike,
    prediction: npt.ArrayLike,
    *,
    rows: Ints | None = None,
    count: Ints | None = None,
    weight: npt.ArrayLike | None = None,
) -> Influenced | Undefined:
    """Root of the mean squared error, in the label's unit. Undefined without rows.

    Influence by the delta method, (e^2 - MSE) / (2 RMSE). Where every prediction is exact the root has no derivative;
    the influence is zero there, and an interval would say nothing.
    """
    squared = mean_squared_error(label, prediction, rows=rows, count=count, weight=weight)
    if isinstance(squared, Undefined):
        return squared
    root = math.sqrt(squared.estimate)
    influence = squared.influence / (2 * root) if root > 0 else np.zeros_like(squared.influence)
    return Influenced(estimate=root, influence=influence, rows=squared.rows, count=squared.count)


def explained_variance(
    label: npt.ArrayLike,
    prediction: npt.ArrayLike,
    *,
    rows: Ints | None = None,
    count: Ints | None = None,
    weight: npt.ArrayLike | None = None,
) -> Influenced | Undefined:
    """R^2 = 1 - MSE / variance of the group's own labels, at most 1. Undefined where the labels are all alike.

    A group whose labels vary less has a lower R^2 at the same errors: compare it beside the mean absolute error.
    """
    part = _part(label, prediction, rows, count, weight)
    if part.weightless:
        return Undefined(reason="nobody in the denominator", n=part.n)
    y, pull = part.numbers("label"), part.pull
    counted = y[part.times * pull > 0]
    if np.all(counted == counted[0]):
        return Undefined(reason="the labels are all alike: there is no variance to explain", n=part.n)
    squares = (y - part.numbers("prediction")) ** 2
    spread = (y - part.mean(pull * y)) ** 2
    error, variance = part.mean(pull * squares), part.mean(pull * spread)
    return part.influenced(1 - error / variance, pull * (error * spread / variance**2 - squares / variance))


def quantile_loss(
    label: npt.ArrayLike,
    prediction: npt.ArrayLike,
    quantile: float,
    *,
    rows: Ints | None = None,
    count: Ints | None = None,
    weight: npt.ArrayLike | None = None,
) -> Influenced | Undefined:
    """Mean pinball loss of predictions of a quantile (Koenker & Bassett 1978), in the label's unit. Undefined without rows.

    q (y - f) where the label is above the prediction, (1 - q) (f - y) where it is below.
    """
    part = _part(label, prediction, rows, count, weight)
    return _mean(part, _pinball(part, quantile))


def quantile_coverage(
    label: npt.ArrayLike,
    prediction: npt.ArrayLike,
    quantile: float,
    *,
    rows: Ints | None = None,
    count: Ints | None = None,
    weight: npt.ArrayLike | None = None,
) -> Influenced | Undefined:
    """Share of labels at or below the predicted quantile, minus the quantile: 0 is calibrated. Undefined without rows."""
    part = _part(label, prediction, rows, count, weight)
    _quantile(quantile)
    below = (part.numbers("label") <= part.numbers("prediction")).astype(np.float64)
    return _mean(part, below - quantile)


def error_ratio(
    first: Influenced, second: Influenced, confidence: float = 0.95, *, cluster: Ints | None = None
) -> tuple[float, Interval, float] | Undefined:
    """first / second of two positive estimates, its interval and p of a ratio of 1, on the log scale.

    For mean absolute errors or roots of mean squares of two groups. Undefined where one of them is not above 0.
    """
    if first.estimate <= 0 or second.estimate <= 0:
        return Undefined(reason="an error of 0 has no ratio on the log scale", n=first.n + second.n)
    logs = [
        Influenced(
            estimate=math.log(e.estimate), influence=e.influence / e.estimate, rows=e.rows, count=e.count
        )
        for e in (first, second)
    ]
    made = difference(logs[0], logs[1], cluster=cluster)
    low, high = made.interval(confidence)
    return math.exp(made.estimate), Interval(math.exp(low), math.exp(high)), made.exceeds_p()


def _part(
    label: npt.ArrayLike,
    prediction: npt.ArrayLike,
    rows: Ints | None,
    count: Ints | None,
    weight: npt.ArrayLike | None,
) -> Taken:
    columns = {"label": label, "prediction": prediction}
    if weight is not None:
        columns["weight"] = sampling_weights(weight)
    return take(rows=rows, count=count, **columns)


def _mean(part: Taken, values: Floats) -> Influenced | Undefined:
    if part.weightless:
        return Undefined(reason="nobody in the denominator", n=part.n)
    pull = part.pull
    mean = part.mean(pull * values)
    return part.influenced(mean, pull * (values - mean))


def _quantile(quantile: float) -> None:
    if not 0 < quantile < 1:
        raise UsageError(f"the quantile is {quantile}; expected between 0 and 1.")


def _pinball(part: Taken, quantile: float) -> Floats:
    _quantile(quantile)
    over = part.numbers("label") - part.numbers("prediction")
    loss: Floats = np.maximum(quantile * over, (quantile - 1) * over)
    return loss
