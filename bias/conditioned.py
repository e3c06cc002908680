"""What becomes of a gap in selection when a column is held fixed: the strata of evidence."""

import numpy as np

from ..evidence import Evidence
from ..records import Summary
from .attributes import Attribute
from .disparity import conditional_demographic_disparity
from .groups import OTHERS
from .intervals import Interval
from .policy import Policy
from .scored import Undefined
from .strata import condition, stratify
from .tasks import View


def conditioned(attribute: Attribute, view: View, evidence: Evidence, rules: Policy) -> list[Summary]:
    """For each group against everyone else: the gap in selection rate with the strata held fixed, and CDD."""
    selected, design = view.columns.prediction, view.columns.design
    assert selected is not None
    strata = evidence.stratum
    if strata is None:
        return []
    codes, names = strata
    known = attribute.rows(OTHERS)
    stratum = [None if codes[i] < 0 else names[codes[i]] for i in known]
    count = None if design.count is None else design.count[known]
    made = []
    held = ", ".join(evidence.strata)
    for group in attribute.compared:
        member = np.zeros(design.size, dtype=np.bool_)
        member[attribute.members[group]] = True
        if not member.any() or member[known].all():
            continue
        found = condition(
            stratify(selected[known], member[known], stratum, count=count), confidence=rules.confidence
        )
        inside = found.standardised
        ends = None if inside.low is None or inside.high is None else Interval(inside.low, inside.high)
        disparity = conditional_demographic_disparity(selected[known], member[known], stratum, count=count)
        for metric, estimate, interval, words, source in (
            (
                f"gap in selection_rate with {held} held fixed",
                inside.gap,
                ends,
                found.words,
                "Bickel, Hammel & O'Connell 1975; direct standardisation",
            ),
            (
                f"conditional demographic disparity in {held}",
                None if isinstance(disparity.overall, Undefined) else disparity.overall.estimate,
                None
                if isinstance(disparity.overall, Undefined)
                else disparity.overall.interval(rules.confidence),
                "above 0 the group is more among the rejected than among the selected of the same stratum",
                "Wachter, Mittelstadt & Russell 2021",
            ),
        ):
            made.append(
                Summary(
                    attribute=attribute.name,
                    group=group,
                    metric=view.named(metric),
                    estimate=estimate,
                    low=None if interval is None else interval.low,
                    high=None if interval is None else interval.high,
                    n=design.rows(attribute.members[group]),
                    words=words,
                    source=source,
                )
            )
    return made
