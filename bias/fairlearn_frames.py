"""fairlearn's MetricFrame, read and made."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import DataError, UsageError, did_you_mean
from ..evidence import Evidence
from ..records import Cell
from .counts import count as count_cells
from .groups import ALL, JOINT, UNKNOWN
from .intervals import wilson
from .metrics import BY_NAME, METRICS, Metric
from .row_roles import row_counts

COUNT = "count"
WHOLE = {metric.name for metric in METRICS if metric.denominator == ("tp", "fp", "fn", "tn")}


def from_metric_frame(frame: Any, *, confidence: float = 0.95) -> tuple[Cell, ...]:
    """Every group and metric of a MetricFrame as cells, overall first.

    A MetricFrame keeps results and no rows. Where it has the metric `count` (fairlearn.metrics.count), rates whose
    denominator is the whole group get back their k, n and Wilson interval; any other number has no known
    denominator and says so: its status is "undefined", its n 0 and its interval missing.

    Args:
        frame: a fairlearn MetricFrame of one metric or several, without control features.
        confidence: of the intervals.

    Raises:
        DataError: it is none, or has control features.
    """
    for name in ("by_group", "overall", "sensitive_levels", "control_levels"):
        if not hasattr(frame, name):
            raise DataError(f"{type(frame).__name__} is no MetricFrame: it has no {name}.")
    if frame.control_levels:
        raise DataError(
            f"the MetricFrame has the control features {frame.control_levels}: its groups are cells of strata. "
            "Make one MetricFrame for each stratum."
        )
    table, overall = frame.by_group, frame.overall
    if not hasattr(table, "columns"):  # one bare metric
        name = str(table.name) if table.name is not None else "metric"
        table, overall = table.to_frame(name), {name: overall}
    attribute = JOINT.join(str(level) for level in frame.sensitive_levels)
    made = [_cell(attribute, ALL, str(metric), overall, confidence) for metric in table.columns]
    for key, row in table.iterrows():
        group = JOINT.join(_name(part) for part in (key if isinstance(key, tuple) else (key,)))
        made += [_cell(attribute, group, str(metric), row, confidence) for metric in table.columns]
    return tuple(cell for cell in made if cell.metric != COUNT)


def to_metric_frame(
    evidence: Evidence, metrics: Sequence[str] | None = None, groups: Sequence[str] | None = None
) -> Any:
    """A fairlearn MetricFrame of our rates over the rows of evidence, with fairlearn's `count`.

    Rates are those of `METRICS`, undefined (None) where their denominator is empty, in which fairlearn's own functions
    give 0. Unknown groups are a group of their own.

    Args:
        evidence: rows with a prediction, and a label where a metric needs one.
        metrics: names of rates; None takes all that the columns allow.
        groups: the group columns, taken together; None takes the evidence's.

    Raises:
        UsageError: a name that is no rate, or one that needs a label where there is none.
        DataError: no prediction or no group column.
    """
    from fairlearn.metrics import MetricFrame

    if evidence.prediction is None:
        raise DataError("a MetricFrame of rates takes a prediction column, and none is named.")
    chosen = tuple(groups) if groups is not None else evidence.groups
    if not chosen:
        raise DataError("there is no group column: name at least one.")
    names = (
        [m.name for m in METRICS if evidence.label is not None or not m.needs_label]
        if metrics is None
        else list(metrics)
    )
    functions: dict[str, Callable[..., Any]] = {}
    for name in names:
        if name not in BY_NAME:
            raise UsageError(f"there is no rate {name!r}: {did_you_mean(name, BY_NAME)}")
        if BY_NAME[name].needs_label and evidence.label is None:
            raise UsageError(f"{name} needs a label column, and none is named.")
        functions[name] = _rate_function(BY_NAME[name], labelled=evidence.label is not None)
    functions[COUNT] = lambda label, prediction: len(prediction)
    prediction = evidence.binary(evidence.prediction)
    label = evidence.binary(evidence.label) if evidence.label is not None else prediction
    counted = row_counts(evidence)
    where = np.arange(len(evidence)) if counted is None else np.repeat(np.arange(len(evidence)), counted)
    return MetricFrame(
        metrics=functions,
        y_true=label[where],
        y_pred=prediction[where],
        sensitive_features={name: _known(evidence.group(name), where) for name in chosen},
    )


def _rate_function(metric: Metric, *, labelled: bool) -> Callable[..., float | None]:
    def rate(label: Any, prediction: Any) -> float | None:
        decided = np.asarray(prediction, dtype=np.bool_)
        k, n = metric.of(count_cells(decided, np.asarray(label, dtype=np.bool_) if labelled else None))
        return k / n if n else None

    rate.__name__ = metric.name
    return rate


def _known(groups: tuple[str | None, ...], where: Any) -> Any:
    label = UNKNOWN
    while label in groups:  # a group may really be called "unknown"
        label = f"{label} (missing)"
    return np.array([label if group is None else group for group in groups], dtype=object)[where]


def _name(value: Any) -> str:
    """A group's name: the value itself, 2 and 2.0 both "2"."""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _cell(attribute: str, group: str, metric: str, row: Any, confidence: float) -> Cell:
    value = row[metric]
    estimate = None if value is None or value != value else float(value)
    rows = int(row[COUNT]) if COUNT in row else 0
    k = None
    if metric in WHOLE and estimate is not None and rows:
        k = round(estimate * rows)
        if abs(k - estimate * rows) > 1e-6 * max(1.0, rows):
            k = None  # weighted: no count of rows
    ends = wilson(k, rows, confidence) if k is not None else None
    note = ""
    if estimate is None:
        note = "undefined in the MetricFrame"
    elif k is None:
        note = "the MetricFrame does not say out of how many"
    return Cell(
        attribute=attribute,
        group=group,
        metric=metric,
        n_rows=rows,
        n=rows if k is not None else 0,
        k=k,
        estimate=estimate,
        low=ends.low if ends else None,
        high=ends.high if ends else None,
        status="ok" if k is not None else "undefined",
        note=note,
    )
