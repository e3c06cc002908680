"""The explorer beside a report: a few examples head by head, and the gap of the worst finding."""

import dataclasses
from typing import TYPE_CHECKING

from .errors import ClinometerError
from .explored_gaps import GAPS, Named
from .exploring import explore
from .records import Audit, Rows

if TYPE_CHECKING:
    from .interpret.models import Subject
    from .visualizers.explorer import Explorer

EXAMPLES = 8


def explorer_beside(
    subject: "Subject", rows: Rows, audit: Audit, *, seed: int = 0, progress: bool = False
) -> "tuple[Explorer | None, str]":
    """The explorer of a review: at most eight examples, and the gap that the review is about, where it can be watched.

    What is closed head by head, and on how many rows the gap is watched, is bounded by operations (`exploring.explore`).

    Args:
        subject: the model.
        rows: the rows that were reviewed.
        audit: of the predictions.
        seed: of the examples that are drawn.

    Returns:
        The explorer and no words; or None and why there is none.
    """
    try:
        made = explore(
            subject, rows, n=EXAMPLES, gap=worst_watched(audit, rows), seed=seed, progress=progress
        )
    except ClinometerError as error:
        return None, f"No explorer lies beside this page: {error}"
    return made, ""


def worst_watched(audit: Audit, rows: Rows) -> Named | None:
    """The largest of the gaps with the overall verdict that an explorer can watch, else of all; None where none can be."""
    from .visualizers.page import worst_gap

    metrics = {"score": "mean_score"} | {name: name for name in GAPS}
    there = [
        f
        for f in audit.findings
        if f.metric in metrics and f.attribute in rows.groups and f.group in rows.groups[f.attribute]
    ]
    worst = worst_gap(dataclasses.replace(audit, findings=tuple(there)))
    if worst is None:
        return None
    # A reference that is no group of the column stands for everyone else.
    reference = worst.reference if worst.reference in rows.groups[worst.attribute] else None
    return worst.attribute, worst.group, reference, metrics[worst.metric]
