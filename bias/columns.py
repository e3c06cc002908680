"""The columns that metrics of an audit are computed from, read once and checked."""

from dataclasses import dataclass

import numpy as np

from ..errors import DataError, first
from ..evidence import Evidence
from .estimates import Bools, Design
from .influence import Floats
from .row_roles import row_clusters, row_counts, row_weights

FEW_CLUSTERS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What is known of each row. (row,) each; None where the evidence does not have it."""

    design: Design
    label: Bools | None = None
    prediction: Bools | None = None
    score: Floats | None = None
    probability: bool = False  # whether every score is in [0, 1]
    actual: Floats | None = None  # regression: what came out
    predicted: Floats | None = None
    cost: Floats | None = None  # of each row's decision

    @property
    def known(self) -> frozenset[str]:
        """Names of what is there, as metrics ask for it."""
        there = {
            name
            for name in ("label", "prediction", "score", "actual", "predicted", "cost")
            if getattr(self, name) is not None
        }
        return frozenset(there | ({"probability"} if self.score is not None and self.probability else set()))


def design_of(evidence: Evidence) -> Design:
    """Counts, weights and clusters of evidence.

    Raises:
        DataError: a count, weight or cluster that cannot be one; all rows in one cluster.
    """
    return Design(
        size=len(evidence),
        count=row_counts(evidence),
        weight=row_weights(evidence),
        cluster=row_clusters(evidence),
    )


def leaks(columns: Columns) -> str:
    """Why label and prediction, or label and score, look like one column; "" where they do not."""
    if columns.label is None or len(columns.label) < 20:
        return ""
    if columns.prediction is not None and np.array_equal(columns.label, columns.prediction):
        return "prediction"
    if columns.score is not None and np.array_equal(columns.score, columns.label.astype(np.float64)):
        return "score"
    return ""


def refuse_leak(columns: Columns, evidence: Evidence) -> None:
    """Refuse a prediction or score that is the label itself.

    Raises:
        DataError: they are the same in all of 20 rows or more, of both values.
    """
    what = leaks(columns)
    if not what or columns.label is None or columns.label.all() or not columns.label.any():
        return
    name = evidence.prediction if what == "prediction" else evidence.score
    raise DataError(
        f"the {what} {name!r} is the label {evidence.label!r} in all {len(evidence)} rows (first: "
        f"{first(evidence.ids[:3])}). No model is right everywhere: likely causes are (a) one column named twice, (b) a "
        f"label made from the {what}, (c) rows the model was trained on. Name another column, or audit without a label."
    )
