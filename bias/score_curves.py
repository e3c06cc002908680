"""What is drawn of a score: reliability and rates over thresholds by attribute, and why something is missing."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..errors import DataError, UsageError
from ..evidence import Evidence
from ..records import Audit
from .group_reliability import GroupReliability, group_reliability
from .group_thresholds import MOST_THRESHOLDS, GroupThresholds, group_thresholds, metrics_with_thresholds
from .policy import Policy

MOST_ATTRIBUTES = 4
MOST_METRICS = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoreCurves:
    """Curves of the single attributes of an audit, in its order; a note for each that is missing."""

    reliability: tuple[GroupReliability, ...]  # of a probability
    thresholds: tuple[GroupThresholds, ...]  # of the score that decisions follow
    notes: tuple[str, ...]

    @property
    def by_attribute(self) -> list[GroupReliability | GroupThresholds]:
        """All of them, attribute by attribute."""
        made: list[GroupReliability | GroupThresholds] = [*self.reliability, *self.thresholds]
        swept, binned = ([one.attribute for one in part] for part in (self.thresholds, self.reliability))
        order = list(dict.fromkeys([*swept, *binned]))
        return sorted(made, key=lambda one: order.index(one.attribute))


def score_curves(
    evidence: Evidence,
    rules: Policy,
    made: Audit,
    *,
    probability: Evidence | str | None = None,
    named: tuple[str, str] | None = None,
    most: int = MOST_THRESHOLDS,
) -> ScoreCurves:
    """Calibration of every single attribute of an audit, and the gated rates over thresholds of the score.

    Args:
        evidence: with a label and a score.
        rules: the policy of the audit.
        made: the audit: its attributes, and the metrics that have a tolerance (else the selection rate).
        probability: the same rows with a probability as their score, where the score is none; a text says why there is no
            probability; None takes the score.
        named: what the probability and the score are called in figures; by default their columns.
        most: thresholds of one sweep.

    Raises:
        DataError: there is no label or no score. UsageError: another task than binary.
    """
    missing = "label" if evidence.label is None else "score"
    if evidence.label is None or evidence.score is None:
        raise DataError(
            f"there is no {missing}: calibration and rates over thresholds need a label and a score"
        )
    if rules.task != "binary":
        raise UsageError(f"the task is {rules.task}: curves of a score are drawn of a binary one")
    joint = {" & ".join(names) for names in rules.intersections}
    attributes = [name for name in made.plan["attributes"] if name not in joint]
    gated = dict.fromkeys(f.metric for f in made.findings if f.tolerance is not None)
    metrics = metrics_with_thresholds(list(gated))[:MOST_METRICS] or ("selection_rate",)
    reliability: list[GroupReliability] = []
    thresholds: list[GroupThresholds] = []
    notes: list[str] = []

    def attempt(what: str, into: list[Any], make: Callable[[], Any], name: str | None) -> None:
        try:
            found = make()
        except (DataError, UsageError) as error:
            notes.append(f"{what}: {error}")
            return
        into.append(found if name is None else dataclasses.replace(found, score=name))

    of_probability, of_score = named or (None, None)
    for name in attributes[:MOST_ATTRIBUTES]:
        if not isinstance(probability, str):
            make = partial(group_reliability, probability or evidence, name, rules)
            attempt(f"calibration by {name}", reliability, make, of_probability)
        for metric in metrics:
            sweep = partial(group_thresholds, evidence, name, metric, rules, most=most)
            attempt(f"thresholds of {metric} by {name}", thresholds, sweep, of_score)
    if isinstance(probability, str):
        notes.insert(0, f"calibration: {probability}")
    left = attributes[MOST_ATTRIBUTES:]
    if left:
        few = f"{MOST_ATTRIBUTES} attributes are drawn"
        notes.append(f"calibration and thresholds by {', '.join(left)}: {few}")
    return ScoreCurves(reliability=tuple(reliability), thresholds=tuple(thresholds), notes=tuple(notes))
