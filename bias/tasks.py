"""What a task makes of labels and predictions: one truth with one decision, or one for each class or output."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import DataError, PolicyError, UsageError, did_you_mean, first
from ..evidence import Evidence
from .columns import Columns, refuse_leak
from .estimates import Bools, Design
from .influence import Floats
from .policy import CostRule, Policy

MOST_CLASSES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Columns that metrics are computed from, and what their names say of it."""

    columns: Columns
    suffix: str = ""  # of a metric's name: the class or output
    partial: bool = False  # one class of several: metrics of the whole prediction do not belong here
    only_whole: bool = False  # several classes together: only metrics of the whole prediction do
    codes: tuple["np.ndarray[tuple[int], np.dtype[np.int64]]", ...] = ()  # classes: of label and prediction
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def named(self, metric: str) -> str:
        """The metric's name in this view: true_positive_rate[cat]."""
        return f"{metric}[{self.suffix}]" if self.suffix else metric


def views_of(evidence: Evidence, rules: Policy, design: Design) -> list[View]:
    """The views of a task; none where there is neither prediction, label nor score.

    Raises:
        DataError: a column is not what the task says, or the prediction or score is the label.
        PolicyError: the policy's outputs name a column that is not there; costs without a label and a decision.
    """
    if rules.task == "binary":
        made = _binary(evidence, design)
    elif rules.task == "multiclass":
        made = _multiclass(evidence, design)
    elif rules.task == "multilabel":
        made = _multilabel(evidence, rules, design)
    else:
        made = _regression(evidence, design)
    if rules.costs is None:
        return made
    if not any(_decided(view.columns) for view in made):
        raise PolicyError(
            "the policy has costs, which need a label and a decision of two values in the evidence."
        )
    return [
        replace(view, columns=replace(view.columns, cost=_costs(view.columns, rules.costs)))
        if _decided(view.columns)
        else view
        for view in made
    ]


def _binary(evidence: Evidence, design: Design) -> list[View]:
    score = evidence.column(evidence.score) if evidence.score else None
    prediction = evidence.binary(evidence.prediction) if evidence.prediction else None
    label = (
        evidence.binary(evidence.label)
        if evidence.label and (prediction is not None or score is not None)
        else None
    )
    if prediction is None and label is None:
        return []
    notes: list[str] = []
    probability = score is not None and bool(((score >= 0) & (score <= 1)).all())
    if score is not None and label is not None and not probability:
        notes.append(
            f"{evidence.score!r} is no probability (it leaves [0, 1]): calibration, Brier score and log loss are left out."
        )
    columns = Columns(design=design, label=label, prediction=prediction, score=score, probability=probability)
    refuse_leak(columns, evidence)
    return [View(columns=columns, notes=tuple(notes))]


def _multiclass(evidence: Evidence, design: Design) -> list[View]:
    if evidence.label is None or evidence.prediction is None:
        raise UsageError("a multiclass audit needs a label and a prediction column: name both.")
    truth, said = (_texts(evidence, name) for name in (evidence.label, evidence.prediction))
    classes = tuple(sorted({*truth, *said}))
    if len(classes) > MOST_CLASSES:
        raise DataError(
            f"{evidence.label!r} and {evidence.prediction!r} have {len(classes)} classes; at most {MOST_CLASSES} are "
            'audited one by one. Is this a column of numbers? Then task = "regression".'
        )
    stray = sorted(set(said) - set(truth))
    notes = (f"Predicted and never labelled: {first(stray)}.",) if stray else ()
    place = {name: i for i, name in enumerate(classes)}
    codes = tuple(np.array([place[name] for name in names], dtype=np.int64) for names in (truth, said))
    right = codes[0] == codes[1]
    # Of the whole: a right answer is a true positive, a wrong one a false negative of the label "all".
    whole = Columns(design=design, label=np.ones(len(right), dtype=np.bool_), prediction=right)
    if right.all() and len(right) >= 20 and len(set(truth)) > 1:
        raise DataError(
            f"the prediction {evidence.prediction!r} is the label {evidence.label!r} in all {len(right)} rows. Name another "
            "column: this one is likely the label itself."
        )
    made = [View(columns=whole, only_whole=True, codes=codes, classes=classes, notes=notes)]
    for i, name in enumerate(classes):
        columns = Columns(design=design, label=codes[0] == i, prediction=codes[1] == i)
        made.append(View(columns=columns, suffix=name, partial=True))
    return made


def _multilabel(evidence: Evidence, rules: Policy, design: Design) -> list[View]:
    made = []
    for name, output in rules.outputs.items():
        for column in (output.label, output.prediction):
            if column not in evidence.table.column_names:
                raise PolicyError(
                    f"outputs.{name} names the column {column!r}: {did_you_mean(column, evidence.table.column_names)}"
                )
        part = replace(evidence, label=output.label, prediction=output.prediction, score=None)
        columns = Columns(
            design=design, label=part.binary(output.label), prediction=part.binary(output.prediction)
        )
        refuse_leak(columns, part)
        made.append(View(columns=columns, suffix=name))
    return made


def _regression(evidence: Evidence, design: Design) -> list[View]:
    if evidence.label is None or (evidence.prediction is None and evidence.score is None):
        raise UsageError(
            "an audit of a regression needs a label and a prediction column of numbers: name both."
        )
    said = evidence.prediction or evidence.score
    assert said is not None
    actual, predicted = evidence.column(evidence.label), evidence.column(said)
    for name, values in ((evidence.label, actual), (said, predicted)):
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise DataError(
                f"column {name!r} has {bad.size} values that are missing or not finite; first rows: "
                f"{first(evidence.ids[i] for i in bad)}. Leave these rows out before the audit."
            )
    if len(actual) >= 20 and np.array_equal(actual, predicted) and np.ptp(actual) > 0:
        raise DataError(
            f"the prediction {said!r} is the label {evidence.label!r} in all {len(actual)} rows. Name another column: this "
            "one is likely the label itself."
        )
    return [View(columns=Columns(design=design, actual=actual, predicted=predicted))]


def _texts(evidence: Evidence, name: str) -> Sequence[str]:
    values = evidence.group(name)
    missing = [i for i, value in enumerate(values) if value is None]
    if missing:
        raise DataError(
            f"column {name!r} has {len(missing)} missing classes; first rows: "
            f"{first(evidence.ids[i] for i in missing)}. Leave these rows out, or give missing a name of its own."
        )
    return [value for value in values if value is not None]


def _decided(columns: Columns) -> bool:
    return columns.label is not None and columns.prediction is not None


def _costs(columns: Columns, rule: CostRule) -> Floats:
    label, prediction = columns.label, columns.prediction
    assert label is not None and prediction is not None
    made: Floats = np.where(
        prediction,
        np.where(label, rule.true_positive, rule.false_positive),
        np.where(label, rule.false_negative, rule.true_negative),
    ).astype(np.float64)
    return made


def confusion(view: View) -> tuple[Bools, Bools] | None:
    """Label and prediction of a view that has both."""
    if view.columns.label is None or view.columns.prediction is None:
        return None
    return view.columns.label, view.columns.prediction
