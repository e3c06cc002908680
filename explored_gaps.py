"""The gap that an explorer watches: by name, from a contrast, or the largest that a policy gates."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .bias.audit import audit
from .bias.contrasts import conditional_gap, mean_gap
from .bias.gap_contrast import GapContrast, meant
from .bias.policy import Policy
from .errors import DataError, UsageError, did_you_mean, first
from .records import Contrast, Floats, Rows
from .scored_rows import evidence_of

if TYPE_CHECKING:
    from .interpret.models import Subject
    from .interpret.watched_gaps import GapAsked

GAPS = ("mean_score", "selection_rate", "true_positive_rate", "false_positive_rate")
Named = tuple[str, str, str | None, str]
AskedGap = Contrast | GapContrast | Named


def asked_gap(
    subject: "Subject",
    pool: Rows,
    n_rows: int,
    gap: AskedGap,
    seed: int,
    *,
    cluster: npt.NDArray[np.int64] | None = None,
) -> "GapAsked":
    """The gap over the pool, ready to be watched.

    Args:
        pool: rows that were drawn from n_rows.
        gap: (attribute, group, reference or None for everyone else, metric); or a contrast that knows every row of the
            pool by its id: each side's weights are taken over the pool, and keep their sum.
        cluster: (row of the pool,) codes of rows that are drawn together; by default the contrast's own.

    Raises:
        UsageError: no such metric, or a contrast of changes along swaps.
        DataError: the contrast knows other rows, or a side of it has none here.
    """
    from .interpret.audited import Audited, decision_rate, mean_score
    from .interpret.watched_gaps import GapAsked

    drawn = "" if len(pool) == n_rows else f", {len(pool)} of {n_rows} rows drawn with seed {seed}"
    if isinstance(gap, tuple):
        known = _named(subject, pool, gap)
        metric = (
            mean_score(known.contrast, unit=subject.unit)
            if gap[3] == "mean_score"
            else decision_rate(known.contrast, subject.threshold)
        )
        reference = known.contrast.reference
        words = f"{gap[3].replace('_', ' ')}, {gap[1]} minus {reference}{drawn}"
        return GapAsked(words=words, rows=pool, contrast=known.contrast, metric=metric, cluster=cluster)
    known = _over(meant(gap), pool)
    metric = mean_score(known.contrast, unit=subject.unit)
    soft = known.soft
    if soft is not None:
        plain = metric.values

        def surrogate(scores: Floats, counts: Floats) -> Floats:
            return plain(soft(scores), counts)

        metric = Audited(
            name=known.words, unit="", values=surrogate, follows=metric.follows, strata=metric.strata
        )
    return GapAsked(
        words=f"{known.words}{drawn}",
        rows=pool,
        contrast=known.contrast,
        metric=metric,
        cluster=known.cluster if cluster is None else cluster,
    )


def _named(subject: "Subject", pool: Rows, gap: Named) -> GapContrast:
    if len(gap) != 4:
        raise UsageError(
            f"gap={gap!r}: (attribute, group, reference, metric) is expected, e.g. ('race', 'black', 'white', "
            "'selection_rate')."
        )
    attribute, group, reference, metric = gap
    if metric not in GAPS:
        raise UsageError(f"the metric is {metric!r}; {did_you_mean(metric, GAPS)}")
    known = subject
    if metric == "mean_score" and not np.isfinite(subject.threshold):
        known = dataclasses.replace(subject, threshold=0.0)  # decisions are no part of a mean score
    evidence = evidence_of(known, pool, np.zeros(len(pool)))
    if metric in ("true_positive_rate", "false_positive_rate"):
        return conditional_gap(evidence, attribute, group, reference, label=metric == "true_positive_rate")
    return mean_gap(evidence, attribute, group, reference)


def _over(gap: GapContrast, pool: Rows) -> GapContrast:
    """The contrast over the rows of the pool."""
    if gap.changes:
        raise UsageError(
            "this contrast is of changes along swaps, which no single row has. Watch the gap between the pair rows: "
            "swapped_gap with rows=pair_rows(pairs)."
        )
    place = {name: i for i, name in enumerate(gap.ids)}
    absent = [name for name in pool.ids if name not in place]
    if absent:
        raise DataError(
            f"the contrast does not know the rows {first(absent)}. Make it from the rows explored."
        )
    at = np.array([place[name] for name in pool.ids])
    weights = np.asarray(gap.contrast.weights, dtype=np.float64)
    taken = weights[at].copy()
    for sign in (1.0, -1.0):
        side = sign * taken > 0
        if not side.any():
            raise DataError(
                "a side of the contrast has no row among those the gap is watched on (gap_rows=)."
            )
        taken[side] *= weights[sign * weights > 0].sum() / taken[side].sum()
    contrast = dataclasses.replace(gap.contrast, ids=pool.ids, weights=taken)
    return dataclasses.replace(
        gap,
        contrast=contrast,
        cluster=None if gap.cluster is None else gap.cluster[at],
        count=None if gap.count is None else gap.count[at],
        stratum=None if gap.stratum is None else gap.stratum[at],
    )


def gap_of_policy(subject: "Subject", pool: Rows, policy: Policy | str | Path) -> Named | None:
    """The largest gap that the policy gates, among those that can be watched; None where there is none."""
    from .interpret.models import score

    found = audit(evidence_of(subject, pool, score(subject, pool)), policy)
    names = {"score": "mean_score"} | {name: name for name in GAPS}
    gated = [
        one
        for one in found.findings
        if one.verdict is not None
        and one.estimate is not None
        and one.metric in names
        and " & " not in one.attribute
    ]
    if not gated:
        return None
    most = max(gated, key=lambda one: abs(one.estimate or 0.0))
    reference = most.reference if most.reference in pool.groups.get(most.attribute, ()) else None
    return most.attribute, most.group, reference, names[most.metric]
