"""The table of rates: what is counted, out of what, and where the definition is from."""

from dataclasses import dataclass
from typing import Literal

from .counts import Counts

CellName = Literal["tp", "fp", "fn", "tn"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A rate of a group: `numerator` cells out of `denominator` cells, undefined (None) out of nothing."""

    name: str
    numerator: tuple[CellName, ...]
    denominator: tuple[CellName, ...]
    needs_label: bool
    words: str  # the rate in words, with its denominator
    source: str

    def of(self, counts: Counts) -> tuple[int, int]:
        """k and n of this rate."""
        return (
            sum(getattr(counts, cell) for cell in self.numerator),
            sum(getattr(counts, cell) for cell in self.denominator),
        )


EVERYBODY: tuple[CellName, ...] = ("tp", "fp", "fn", "tn")
FAIRLEARN = "fairlearn.metrics"
SKLEARN = "sklearn.metrics"
CONFUSION = "Fawcett 2006, Pattern Recognition Letters 27, table 1"
METRICS: tuple[Metric, ...] = (
    Metric(
        name="selection_rate",
        numerator=("tp", "fp"),
        denominator=EVERYBODY,
        needs_label=False,
        words="predicted positive, of all",
        source=FAIRLEARN,
    ),
    Metric(
        name="base_rate",
        numerator=("tp", "fn"),
        denominator=EVERYBODY,
        needs_label=True,
        words="labelled positive, of all: says something of the data, not of the model",
        source=CONFUSION,
    ),
    Metric(
        name="accuracy",
        numerator=("tp", "tn"),
        denominator=EVERYBODY,
        needs_label=True,
        words="predicted as labelled, of all",
        source=SKLEARN,
    ),
    Metric(
        name="error_rate",
        numerator=("fp", "fn"),
        denominator=EVERYBODY,
        needs_label=True,
        words="predicted otherwise than labelled, of all",
        source=CONFUSION,
    ),
    Metric(
        name="true_positive_rate",
        numerator=("tp",),
        denominator=("tp", "fn"),
        needs_label=True,
        words="predicted positive, of those labelled positive",
        source=FAIRLEARN,
    ),
    Metric(
        name="false_negative_rate",
        numerator=("fn",),
        denominator=("tp", "fn"),
        needs_label=True,
        words="predicted negative, of those labelled positive",
        source=FAIRLEARN,
    ),
    Metric(
        name="false_positive_rate",
        numerator=("fp",),
        denominator=("fp", "tn"),
        needs_label=True,
        words="predicted positive, of those labelled negative",
        source=FAIRLEARN,
    ),
    Metric(
        name="true_negative_rate",
        numerator=("tn",),
        denominator=("fp", "tn"),
        needs_label=True,
        words="predicted negative, of those labelled negative",
        source=FAIRLEARN,
    ),
    Metric(
        name="positive_predictive_value",
        numerator=("tp",),
        denominator=("tp", "fp"),
        needs_label=True,
        words="labelled positive, of those predicted positive (precision)",
        source=SKLEARN,
    ),
    Metric(
        name="false_discovery_rate",
        numerator=("fp",),
        denominator=("tp", "fp"),
        needs_label=True,
        words="labelled negative, of those predicted positive",
        source=CONFUSION,
    ),
    Metric(
        name="negative_predictive_value",
        numerator=("tn",),
        denominator=("fn", "tn"),
        needs_label=True,
        words="labelled negative, of those predicted negative",
        source=CONFUSION,
    ),
    Metric(
        name="false_omission_rate",
        numerator=("fn",),
        denominator=("fn", "tn"),
        needs_label=True,
        words="labelled positive, of those predicted negative",
        source=CONFUSION,
    ),
)
BY_NAME = {metric.name: metric for metric in METRICS}
