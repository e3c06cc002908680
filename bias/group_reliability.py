"""The reliability of a probability in every group of an attribute, with intervals: what a figure of it draws."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from ..errors import DataError, UsageError, did_you_mean
from ..evidence import Evidence
from .attributes import Attribute, resolve_attributes
from .calibration import calibration_in_the_large
from .columns import Columns, design_of
from .groups import ALL
from .policy import GroupRule, Policy
from .reliability import Bin, Binning, reliability_curve
from .scored import Undefined
from .tasks import views_of

BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """One group's bins, and how far its mean probability lies above the share of positives."""

    group: str
    n: int  # rows
    bins: tuple[Bin, ...]
    excess: float | None  # mean probability minus base rate; above 0: scored too high
    low: float | None
    high: float | None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupReliability:
    """Reliability curves of everybody and of each group, each in bins of its own."""

    attribute: str
    score: str
    confidence: float
    binning: Binning
    min_group: int  # the policy's: a bin with fewer rows is shown as such
    groups: tuple[Reliability, ...]  # everybody first

    @property
    def frame(self) -> Any:
        """Every group x bin as a row of a pandas DataFrame."""
        import pandas as pd

        rows = []
        for one in self.groups:
            for part in one.bins:
                ends = part.interval
                rows.append(
                    {
                        "attribute": self.attribute,
                        "group": one.group,
                        "low_edge": part.low_edge,
                        "high_edge": part.high_edge,
                        "n": part.n,
                        "mean_probability": part.mean_probability,
                        "positive_rate": part.positive_rate,
                        "low": None if ends is None else ends.low,
                        "high": None if ends is None else ends.high,
                    }
                )
        return pd.DataFrame(rows)


def group_reliability(
    evidence: Evidence,
    attribute: str,
    policy: Policy | None = None,
    *,
    n_bins: int = BINS,
    binning: Binning = "equal mass",
) -> GroupReliability:
    """Bins of the score's probabilities against the share of positives, for everybody and every group.

    Args:
        evidence: with a label and a score in [0, 1].
        attribute: a group column, or an intersection of the policy, "race & sex".
        policy: who the groups are, the confidence, the smallest group.
        n_bins, binning: as `reliability.reliability_curve`; equal mass divides each group's own rows.

    Raises:
        DataError: no label, no score, a score that is no probability, or rows that come in clusters, whose bins have no
            interval here. UsageError: another task than binary, no such attribute.
    """
    rules = declared(evidence, policy)
    chosen, columns = attribute_of(evidence, attribute, rules), scored_columns(evidence, rules)
    if not columns.probability:
        raise DataError(
            f"the score {evidence.score!r} leaves [0, 1]: it is no probability, and has no reliability. Give probabilities."
        )
    if columns.design.cluster is not None:
        raise DataError(
            f"rows come in clusters ({evidence.cluster!r}), and the intervals of bins take them as independent. Audit "
            "calibration_in_the_large, whose errors go by clusters."
        )
    made = [
        _one(name, columns, chosen.rows(name), n_bins, binning, rules.confidence)
        for name in (ALL, *chosen.members)
    ]
    return GroupReliability(
        attribute=chosen.name,
        score=evidence.score or "",
        confidence=rules.confidence,
        binning=binning,
        min_group=rules.min_group,
        groups=tuple(made),
    )


def declared(evidence: Evidence, policy: Policy | None) -> Policy:
    """The policy; without one its defaults.

    Raises:
        UsageError: its task is not the binary one, of which alone a score has a curve.
    """
    rules = policy or Policy()
    if rules.task != "binary":
        raise UsageError(f"the task is {rules.task}; curves of a score are drawn of a binary one.")
    return rules


def attribute_of(evidence: Evidence, name: str, rules: Policy) -> Attribute:
    """One attribute or intersection by name, resolved as an audit resolves it.

    Raises:
        UsageError: there is none of this name.
    """
    if name not in rules.groups and name in evidence.groups:
        rules = rules.model_copy(update={"groups": {**rules.groups, name: GroupRule()}})
    found = {one.name: one for one in resolve_attributes(evidence, rules)}
    if name not in found:
        raise UsageError(f"there is no attribute {name!r}: {did_you_mean(name, found)}")
    return found[name]


def scored_columns(evidence: Evidence, rules: Policy) -> Columns:
    """Label, prediction and score as an audit reads them.

    Raises:
        DataError: there is no label or no score.
    """
    if evidence.label is None or evidence.score is None:
        missing = "label" if evidence.label is None else "score"
        raise DataError(f"the evidence has no {missing}: a curve needs both. Name the column ({missing}=).")
    if rules.positive is not None and evidence.positive is None:
        evidence = dataclasses.replace(evidence, positive=rules.positive)
    return views_of(evidence, rules.model_copy(update={"costs": None}), design_of(evidence))[0].columns


def _one(
    name: str, columns: Columns, rows: Any, n_bins: int, binning: Binning, confidence: float
) -> Reliability:
    assert columns.score is not None and columns.label is not None
    design = columns.design
    where = {"count": design.count, "weight": design.weight, "rows": rows}
    if not len(rows):
        return Reliability(group=name, n=0, bins=(), excess=None, low=None, high=None, note="no rows")
    bins = reliability_curve(
        columns.score, columns.label, n_bins=n_bins, binning=binning, confidence=confidence, **where
    )
    found = calibration_in_the_large(columns.score, columns.label, **where)
    if isinstance(found, Undefined):
        return Reliability(
            group=name, n=found.n, bins=bins, excess=None, low=None, high=None, note=found.reason
        )
    ends = found.interval(confidence) if found.n > 1 else None
    return Reliability(
        group=name,
        n=found.n,
        bins=bins,
        excess=found.estimate,
        low=None if ends is None else ends.low,
        high=None if ends is None else ends.high,
        note="" if ends is not None else "one row has no standard error",
    )
