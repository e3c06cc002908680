"""What two models said of the same rows, metric by metric: each value with the influence of every row."""

import dataclasses
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..errors import UsageError
from ..evidence import Evidence
from .areas import Area
from .changes import Better, Bools, Floats, Ints, Side, mean_side, rate_side, side_of
from .columns import Columns, design_of
from .estimates import Design
from .influence import Influenced
from .matching import same_values
from .metrics import METRICS, Metric
from .policy import Policy
from .tasks import views_of

OF_THE_DATA = {"base_rate"}  # the same labels: no model moves it


class Measured(NamedTuple):
    """One metric with the columns that it is computed from, before and after."""

    metric: Metric
    before: Columns
    after: Columns


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoModels:
    """Columns of both models over the same rows, and what can be computed from them."""

    design: Design
    measured: dict[str, Measured]
    means: dict[str, tuple[Floats, Floats]]  # score and measures

    @property
    def names(self) -> list[str]:
        """Everything that can be compared."""
        return [*self.measured, *self.means]

    @property
    def n(self) -> int:
        """Rows, each as often as it counts."""
        return self.design.rows(np.arange(self.design.size))

    @property
    def cluster(self) -> Ints | None:
        """Codes of what was drawn independently."""
        return self.design.cluster

    def better(self, name: str) -> Better:
        """Which way is better; of a score or measure nobody knows."""
        return self.measured[name].metric.better if name in self.measured else "neither"

    def words(self, name: str) -> str:
        """The metric in words, with its denominator."""
        return self.measured[name].metric.words if name in self.measured else "mean, of all"

    def side(self, name: str, rows: Ints) -> Side:
        """One metric of some rows before and after."""
        if name in self.means:
            return mean_side(self.means[name], rows, self.design)
        metric, before, after = self.measured[name]
        if metric.kind == "rate":
            return rate_side(
                (_cells(before, metric.numerator), _cells(after, metric.numerator)),
                (_cells(before, metric.denominator), _cells(after, metric.denominator)),
                rows,
                self.design,
            )
        n = self.design.rows(rows)
        one, why = _influenced(metric, before, rows)
        two, why_after = _influenced(metric, after, rows)
        why = why or why_after
        return side_of(one, two, rows, self.design, sizes=(n, n), is_rate=False, undefined=why)


def two_models(before: Evidence, after: Evidence, rules: Policy) -> TwoModels:
    """The columns of two matched tables, checked to hold the same truth.

    Raises:
        DataError: labels that differ between the two, or a column that is not what its role says.
        PolicyError: costs or outputs that the evidence has no columns for.
    """
    design = design_of(before)
    # A cluster for each row is no cluster, and makes every metric tell the influence of each row.
    told = (
        design
        if design.cluster is not None
        else dataclasses.replace(design, cluster=np.arange(design.size, dtype=np.int64))
    )
    one, two = ({view.named(""): view for view in views_of(e, rules, told)} for e in (before, after))
    measured = {}
    for key in [key for key in one if key in two]:
        mine, theirs = one[key].columns, two[key].columns
        for truth, other in ((mine.label, theirs.label), (mine.actual, theirs.actual)):
            if truth is not None and other is not None:
                same_values("the label", before, truth.tolist(), other.tolist())
        for metric in METRICS:
            whole = one[key].only_whole, one[key].partial
            if set(metric.needs) <= mine.known & theirs.known and metric.name not in OF_THE_DATA:
                if (whole[0] and not metric.whole) or (whole[1] and metric.whole):
                    continue
                measured[one[key].named(metric.name)] = Measured(metric, mine, theirs)
    means = {}
    if before.score is not None and after.score is not None:
        means[before.score] = (before.column(before.score), after.column(after.score))
    for name in before.measures:
        if name not in before.squares:  # of rows that were counted together no difference of each is known
            means[name] = (before.column(name), after.column(name))
    return TwoModels(design=design, measured=measured, means=means)


def _cells(columns: Columns, cells: tuple[str, ...]) -> Bools:
    """Rows that lie in any of these cells of the confusion matrix."""
    prediction, label = columns.prediction, columns.label
    if prediction is None:
        raise UsageError("a rate needs a prediction column, and none is named.")
    made = np.zeros(len(prediction), dtype=np.bool_)
    if label is None:  # selection alone: both cells of a decision, or all four
        for decided in ("p", "n"):
            if any(cell[1] == decided for cell in cells):
                made |= prediction == (decided == "p")
        return made
    for cell in cells:
        made |= (prediction == (cell[1] == "p")) & ((label == prediction) == (cell[0] == "t"))
    return made


def _influenced(metric: Metric, columns: Columns, rows: Ints) -> tuple[Influenced | None, str]:
    """The metric with the influence of each row, or why there is none."""
    if not rows.size:
        return None, ""
    made = metric.estimate(columns, rows, exact=False)
    if isinstance(made, Area):
        if made.means(columns.design.cluster) is not None:
            return made.value, ""
        return None, f"{metric.name} is {made.estimate:g} or of too few rows: its variance is unknown"
    if isinstance(made, Influenced):
        return made, ""
    return None, str(getattr(made, "reason", "")) or f"{metric.name} has no error of each row here"
