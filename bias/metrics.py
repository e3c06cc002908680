"""The table of metrics: what each is, out of what, which way is better, and where the definition is from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from . import curves, losses, regression
from .areas import Area, roc_auc
from .calibration import calibration_intercept, logistic_recalibration
from .columns import Columns
from .counts import Counts
from .estimates import Bools, Estimate, mean_of, rate_of
from .influence import Floats, Ints, Scale
from .scored import Undefined

CellName = Literal["tp", "fp", "fn", "tn"]
Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """What is measured in a group.

    A rate is `numerator` cells out of `denominator` cells, undefined out of nothing. Every other metric is a function
    of the columns and the positions of the group's rows.
    """

    name: str
    words: str  # the metric in words, with its denominator
    source: str
    needs: tuple[str, ...]  # of label, prediction, score, probability, actual, predicted, cost
    kind: Literal["rate", "mean", "score"] = "rate"
    better: Better = "neither"
    numerator: tuple[CellName, ...] = ()
    denominator: tuple[CellName, ...] = ()
    function: Callable[[Columns, Ints], Estimate | Area] | None = None
    scale: Scale = "identity"  # on which intervals are made
    whole: bool = False  # of the whole prediction, not of one class of several

    @property
    def needs_label(self) -> bool:
        return "label" in self.needs

    def of(self, counts: Counts) -> tuple[int, int]:
        """k and n of a rate."""
        return (
            sum(getattr(counts, cell) for cell in self.numerator),
            sum(getattr(counts, cell) for cell in self.denominator),
        )

    def estimate(self, columns: Columns, rows: Ints, *, exact: bool = True) -> Estimate | Area:
        """The metric of these rows; `exact` counts a rate where rows are independent and equally likely."""
        if self.function is not None:
            return self.function(columns, rows)
        assert columns.prediction is not None
        numerator, denominator = (_cells(columns, cells) for cells in (self.numerator, self.denominator))
        return rate_of(columns.design, numerator, denominator, rows, exact=exact)


def _cells(columns: Columns, cells: tuple[CellName, ...]) -> Bools:
    """Rows that lie in any of these cells of the confusion matrix."""
    predicted = columns.prediction
    assert predicted is not None
    if set(cells) >= {"tp", "fp", "fn", "tn"}:
        return np.ones(len(predicted), dtype=np.bool_)
    if set(cells) == {"tp", "fp"}:
        return predicted
    label = columns.label
    assert label is not None
    made = np.zeros(len(predicted), dtype=np.bool_)
    for cell in cells:
        right, decided = cell[0] == "t", cell[1] == "p"
        made |= (predicted == decided) & ((label == predicted) == right)
    return made


def _mean(values: Callable[[Columns], Floats]) -> Callable[[Columns, Ints], Estimate]:
    """The mean of something that every row has."""

    def of(columns: Columns, rows: Ints) -> Estimate:
        return mean_of(columns.design, values(columns)[rows], rows)

    return of


def _scored(columns: Columns) -> tuple[Floats, Bools]:
    return _probability(columns), _label(columns)


def _probability(columns: Columns) -> Floats:
    assert columns.score is not None
    return columns.score


def _label(columns: Columns) -> Bools:
    assert columns.label is not None
    return columns.label


def _truth(columns: Columns) -> Floats:
    return _label(columns).astype(np.float64)


def _numbers(columns: Columns) -> tuple[Floats, Floats]:
    assert columns.actual is not None and columns.predicted is not None
    return columns.actual, columns.predicted


def _cost(columns: Columns) -> Floats:
    assert columns.cost is not None
    return columns.cost


def _recalibrated(columns: Columns, rows: Ints) -> Estimate:
    found = logistic_recalibration(
        *_scored(columns),
        rows=rows,
        clip=LOGIT_CLIP,
        count=columns.design.count,
        weight=columns.design.weight,
    )
    return found if isinstance(found, Undefined) else found.slope


CLIP = 1e-15
LOGIT_CLIP = 1e-6
EVERYBODY: tuple[CellName, ...] = ("tp", "fp", "fn", "tn")
FAIRLEARN = "fairlearn.metrics"
SKLEARN = "sklearn.metrics"
CONFUSION = "Fawcett 2006, Pattern Recognition Letters 27, table 1"
METRICS: tuple[Metric, ...] = (
    Metric(
        name="selection_rate",
        numerator=("tp", "fp"),
        denominator=EVERYBODY,
        needs=("prediction",),
        better="neither",
        words="predicted positive, of all",
        source=FAIRLEARN,
    ),
    Metric(
        name="base_rate",
        numerator=("tp", "fn"),
        denominator=EVERYBODY,
        needs=("prediction", "label"),
        better="neither",
        words="labelled positive, of all: says something of the data, not of the model",
        source=CONFUSION,
    ),
    Metric(
        name="accuracy",
        numerator=("tp", "tn"),
        denominator=EVERYBODY,
        needs=("prediction", "label"),
        better="higher",
        whole=True,
        words="predicted as labelled, of all",
        source=SKLEARN,
    ),
    Metric(
        name="error_rate",
        numerator=("fp", "fn"),
        denominator=EVERYBODY,
        needs=("prediction", "label"),
        better="lower",
        whole=True,
        words="predicted otherwise than labelled, of all",
        source=CONFUSION,
    ),
    Metric(
        name="true_positive_rate",
        numerator=("tp",),
        denominator=("tp", "fn"),
        needs=("prediction", "label"),
        better="higher",
        words="predicted positive, of those labelled positive",
        source=FAIRLEARN,
    ),
    Metric(
        name="false_negative_rate",
        numerator=("fn",),
        denominator=("tp", "fn"),
        needs=("prediction", "label"),
        better="lower",
        words="predicted negative, of those labelled positive",
        source=FAIRLEARN,
    ),
    Metric(
        name="false_positive_rate",
        numerator=("fp",),
        denominator=("fp", "tn"),
        needs=("prediction", "label"),
        better="lower",
        words="predicted positive, of those labelled negative",
        source=FAIRLEARN,
    ),
    Metric(
        name="true_negative_rate",
        numerator=("tn",),
        denominator=("fp", "tn"),
        needs=("prediction", "label"),
        better="higher",
        words="predicted negative, of those labelled negative",
        source=FAIRLEARN,
    ),
    Metric(
        name="positive_predictive_value",
        numerator=("tp",),
        denominator=("tp", "fp"),
        needs=("prediction", "label"),
        better="higher",
        words="labelled positive, of those predicted positive (precision)",
        source=SKLEARN,
    ),
    Metric(
        name="false_discovery_rate",
        numerator=("fp",),
        denominator=("tp", "fp"),
        needs=("prediction", "label"),
        better="lower",
        words="labelled negative, of those predicted positive",
        source=CONFUSION,
    ),
    Metric(
        name="negative_predictive_value",
        numerator=("tn",),
        denominator=("fn", "tn"),
        needs=("prediction", "label"),
        better="higher",
        words="labelled negative, of those predicted negative",
        source=CONFUSION,
    ),
    Metric(
        name="false_omission_rate",
        numerator=("fn",),
        denominator=("fn", "tn"),
        needs=("prediction", "label"),
        better="lower",
        words="labelled positive, of those predicted negative",
        source=CONFUSION,
    ),
    Metric(
        name="roc_auc",
        kind="score",
        needs=("label", "score"),
        better="higher",
        function=lambda c, rows: roc_auc(
            *_scored(c), rows=rows, count=c.design.count, weight=c.design.weight
        ),
        words="chance that a row labelled positive scores above one labelled negative, both of the group",
        source="DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44",
    ),
    Metric(
        name="average_precision",
        kind="score",
        needs=("label", "score"),
        better="higher",
        scale="logit",
        function=lambda c, rows: curves.average_precision(
            *_scored(c), rows=rows, count=c.design.count, weight=c.design.weight
        ),
        words="mean precision at the score of each row labelled positive; moves with the base rate",
        source=SKLEARN,
    ),
    Metric(
        name="brier_score",
        kind="mean",
        needs=("label", "probability"),
        better="lower",
        function=_mean(lambda c: losses.brier_loss(*_scored(c))),
        words="mean of (probability - label)^2, of all",
        source="Brier 1950, Monthly Weather Review 78, one class",
    ),
    Metric(
        name="log_loss",
        kind="mean",
        needs=("label", "probability"),
        better="lower",
        function=_mean(lambda c: losses.log_loss(*_scored(c), clip=CLIP)),
        words=f"mean of -ln(probability of what came out), of all, probabilities clipped at {CLIP:g}",
        source=SKLEARN,
    ),
    Metric(
        name="calibration_in_the_large",
        kind="mean",
        needs=("label", "probability"),
        function=_mean(lambda c: _probability(c) - _truth(c)),
        words="mean probability minus base rate, of all: above 0 the group is scored too high",
        source="Cox 1958, Biometrika 45; Van Calster et al. 2016",
    ),
    Metric(
        name="calibration_slope",
        kind="score",
        needs=("label", "probability"),
        function=lambda c, rows: _recalibrated(c, rows),
        words="slope of a logistic regression of the label on the logit: under 1 probabilities are too extreme",
        source="Cox 1958, Biometrika 45; Miller, Hui & Tierney 1991",
    ),
    Metric(
        name="calibration_intercept",
        kind="score",
        needs=("label", "probability"),
        function=lambda c, rows: calibration_intercept(
            *_scored(c), rows=rows, clip=LOGIT_CLIP, count=c.design.count, weight=c.design.weight
        ),
        words="shift in logits that makes probabilities right on average: above 0 the group is scored too low",
        source="Cox 1958, Biometrika 45; Van Calster et al. 2019",
    ),
    Metric(
        name="expected_cost",
        kind="mean",
        needs=("cost",),
        better="lower",
        function=_mean(_cost),
        words="mean cost of a decision under the policy's costs, of all",
        source="Elkan 2001, IJCAI, section 1",
    ),
    Metric(
        name="mean_residual",
        kind="mean",
        needs=("actual", "predicted"),
        function=_mean(lambda c: losses.residual(*_numbers(c))),
        words="mean of label minus prediction, of all: above 0 the group is predicted too low",
        source="Agarwal, Dudik & Wu 2019, ICML",
    ),
    Metric(
        name="mean_absolute_error",
        kind="mean",
        needs=("actual", "predicted"),
        better="lower",
        function=_mean(lambda c: losses.absolute_error(*_numbers(c))),
        words="mean of |label - prediction|, of all",
        source=SKLEARN,
    ),
    Metric(
        name="mean_squared_error",
        kind="mean",
        needs=("actual", "predicted"),
        better="lower",
        function=_mean(lambda c: losses.squared_error(*_numbers(c))),
        words="mean of (label - prediction)^2, of all",
        source=SKLEARN,
    ),
    Metric(
        name="root_mean_squared_error",
        kind="score",
        needs=("actual", "predicted"),
        better="lower",
        function=lambda c, rows: regression.root_mean_squared_error(
            *_numbers(c), rows=rows, count=c.design.count, weight=c.design.weight
        ),
        words="root of the mean squared error, of all",
        source=SKLEARN,
    ),
    Metric(
        name="explained_variance",
        kind="score",
        needs=("actual", "predicted"),
        better="higher",
        function=lambda c, rows: regression.explained_variance(
            *_numbers(c), rows=rows, count=c.design.count, weight=c.design.weight
        ),
        words="1 - mean squared error / variance of the group's own labels (R^2)",
        source=SKLEARN,
    ),
)
BY_NAME = {metric.name: metric for metric in METRICS}
RATES = tuple(metric for metric in METRICS if metric.kind == "rate")
