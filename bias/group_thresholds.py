"""A rate of every group at every threshold of a score, with intervals, and the gap between groups."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError, UsageError
from ..evidence import Evidence
from .group_reliability import attribute_of, declared, scored_columns
from .group_rows import Bools, Floats, Ints
from .groups import ALL
from .intervals import wilson
from .metrics import BY_NAME
from .policy import Policy
from .spread import largest_gap
from .thresholds import Sweep, sweep

MOST_THRESHOLDS = 100


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupThresholds:
    """One rate over thresholds: of everybody, of each group, and the largest gap between groups that are compared."""

    attribute: str
    metric: str
    score: str
    confidence: float
    min_group: int  # the policy's: the gap is between groups with so many in the denominator
    n: int  # rows
    threshold: Floats  # (threshold,) ascending, finite
    groups: tuple[str, ...]  # everybody first
    compared: tuple[str, ...]  # the groups between which the gap is
    k: Ints  # (group, threshold)
    denominator: Ints  # (group, threshold)
    estimate: Floats  # (group, threshold) NaN where the denominator is empty
    low: Floats  # Wilson's, of each rate alone
    high: Floats
    gap: Floats  # (threshold,) largest minus smallest of the groups compared; NaN where fewer than two have enough
    gap_low: Floats  # bounds that hold for all pairs of groups at once, at one threshold
    gap_high: Floats
    current: float | None  # the threshold that the predictions in the evidence follow
    note: str = ""  # why there is none

    @property
    def frame(self) -> Any:
        """Every group x threshold as a row of a pandas DataFrame."""
        import pandas as pd

        parts = [
            pd.DataFrame(
                {
                    "attribute": self.attribute,
                    "metric": self.metric,
                    "group": name,
                    "threshold": self.threshold,
                    "k": self.k[i],
                    "n": self.denominator[i],
                    "estimate": self.estimate[i],
                    "low": self.low[i],
                    "high": self.high[i],
                }
            )
            for i, name in enumerate(self.groups)
        ]
        return pd.concat(parts, ignore_index=True)


def group_thresholds(
    evidence: Evidence,
    attribute: str,
    metric: str = "selection_rate",
    policy: Policy | None = None,
    *,
    most: int = MOST_THRESHOLDS,
) -> GroupThresholds:
    """A rate of everybody and every group, were rows predicted positive from each threshold on.

    Args:
        evidence: with a label and a score; where it has predictions, the threshold they follow is found and shown.
        attribute: a group column, or an intersection of the policy.
        metric: a rate of `metrics.METRICS` that follows from counts.
        policy: who the groups are and which are compared, the confidence, the smallest group.
        most: thresholds; of more distinct scores so many quantiles are taken, and the current threshold.

    Raises:
        DataError: no label or no score; rows with weights or in clusters, whose counts say too much. UsageError: a metric
            that is no rate, no such attribute, fewer than two thresholds asked for.
    """
    if most < 2:
        raise UsageError(f"most is {most}; two thresholds or more are expected.")
    rules = declared(evidence, policy)
    chosen, columns = attribute_of(evidence, attribute, rules), scored_columns(evidence, rules)
    if not columns.design.simple:
        raise DataError(
            "rows with weights or in clusters have no plain counts at a threshold: audit them at the one you use."
        )
    assert columns.score is not None and columns.label is not None
    current, note = _current(columns.score, columns.prediction)
    at = _thresholds(columns.score, current, most)
    groups = np.empty(len(evidence), dtype=object)
    for name, rows in chosen.members.items():
        groups[rows] = name
    counts = columns.design.count
    by_group = sweep(columns.score, columns.label, groups.tolist(), thresholds=at, count=counts)
    everybody = sweep(columns.score, columns.label, [ALL] * len(evidence), thresholds=at, count=counts)
    members = [name for name in chosen.members if len(chosen.members[name])]
    parts = [everybody.rate(metric), _ordered(by_group, members, metric)]
    k, n = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    estimate, low, high = _rates(k, n, rules.confidence)
    compared = [name for name in chosen.compared if name in members]
    places = [1 + members.index(name) for name in compared]
    gap, gap_low, gap_high = _gaps(k[places], n[places], rules)
    return GroupThresholds(
        attribute=chosen.name,
        metric=metric,
        score=evidence.score or "",
        confidence=rules.confidence,
        min_group=rules.min_group,
        n=columns.design.rows(np.arange(len(evidence))),
        threshold=at,
        groups=(ALL, *members),
        compared=tuple(compared),
        k=k,
        denominator=n,
        estimate=estimate,
        low=low,
        high=high,
        gap=gap,
        gap_low=gap_low,
        gap_high=gap_high,
        current=current,
        note=note,
    )


def metrics_with_thresholds(names: Sequence[str]) -> tuple[str, ...]:
    """Those of some metrics that follow from counts at a threshold and move with it."""
    return tuple(
        name
        for name in names
        if name in BY_NAME and BY_NAME[name].kind == "rate" and name not in {"base_rate"}
    )


def _current(score: Floats, prediction: Bools | None) -> tuple[float | None, str]:
    """The lowest score predicted positive, where every score from it on is, and none below."""
    if prediction is None:
        return None, "there are no predictions that would follow a threshold"
    if not prediction.any():
        return None, "no row is predicted positive"
    lowest = float(score[prediction].min())
    below = score[~prediction]
    if below.size and float(below.max()) >= lowest:
        return None, "the predictions follow no single threshold of the score"
    return lowest, ""


def _thresholds(score: Floats, current: float | None, most: int) -> Floats:
    distinct = np.unique(score)
    if len(distinct) > most:
        places = np.unique(np.linspace(0, len(distinct) - 1, most).round().astype(int))
        by_value = distinct[places]
        by_rows = np.quantile(score, np.linspace(0, 1, most), method="closest_observation")
        # Half of them even over distinct scores, half over rows: neither a tail nor the middle is drawn by a few points.
        distinct = np.unique(np.concatenate([by_value[::2], by_rows[::2]]))
    if current is not None:
        distinct = np.union1d(distinct, [current])
    return distinct.astype(np.float64)


def _ordered(found: Sweep, members: Sequence[str], metric: str) -> tuple[Ints, Ints]:
    k, n = found.rate(metric)
    places = [found.groups.index(name) for name in members]
    return k[places], n[places]


def _rates(k: Ints, n: Ints, confidence: float) -> tuple[Floats, Floats, Floats]:
    estimate, low, high = (np.full(k.shape, math.nan) for _ in range(3))
    for at in zip(*np.nonzero(n), strict=True):
        estimate[at] = k[at] / n[at]
        low[at], high[at] = wilson(int(k[at]), int(n[at]), confidence)
    return estimate, low, high


def _gaps(k: Ints, n: Ints, rules: Policy) -> tuple[Floats, Floats, Floats]:
    """The largest gap at each threshold between the groups that have enough rows there."""
    made = np.full((3, k.shape[1]), math.nan)
    for t in range(k.shape[1]):
        there = n[:, t] >= max(1, rules.min_group)
        if there.sum() > 1:
            found = largest_gap(k[there, t].tolist(), n[there, t].tolist(), rules.confidence)
            made[:, t] = found.estimate, found.low, found.high
    return made[0], made[1], made[2]
