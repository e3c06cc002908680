"""Two models on the same rows: did accuracy, each group's rates and each gap move, beyond noise, and for whom.

A change is judged against a margin that somebody declared. Worse: "worse by no more than the margin" is rejected,
with Holm's adjustment over all that is declared. No worse: the one-sided 1 - alpha bound of the worsening is inside
the margin, for everything declared (intersection-union, which needs no adjustment). Neither: inconclusive.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..errors import DataError, PolicyError, UsageError, did_you_mean, first
from ..evidence import Evidence
from .attributes import BEST, Attribute, resolve_attributes
from .changes import Better
from .compared import DECISIONS, Change, Comparison, Decision
from .group_changes import changes_of, level_change
from .groups import ALL
from .matching import Matched, match
from .multiplicity import holm
from .policy import Policy, read_policy
from .two_models import TwoModels, two_models


def compare(
    before: Evidence,
    after: Evidence,
    policy: Policy | str | Path | None = None,
    *,
    tolerance_change: Mapping[str, float] | None = None,
    tolerance_gap_change: Mapping[str, float] | None = None,
    set_by: str | None = None,
    metrics: Sequence[str] | None = None,
    better: Mapping[str, Better] | None = None,
    intersect: bool = False,
    title: str = "comparison",
) -> Comparison:
    """Each metric of everybody and of each group, and each gap, before and after on the same rows.

    Args:
        before, after: what two models, or one on two dates, said of the same rows, joined by id.
        policy: groups, exclusions, alpha, confidence, min_group. Its tolerances judge one model and are not judged here;
            the metrics they name are compared.
        tolerance_change: metric -> the largest worsening that is accepted, of everybody and of each group. Where neither
            direction is better (a selection rate) it is the largest change either way.
        tolerance_gap_change: metric -> the largest growth of any gap's absolute value that is accepted.
        set_by: who set the margins; the policy's `set_by` where it is not given.
        metrics: what is compared besides what has a margin; None is what the policy gates, and all there is where
            it gates nothing and no margin is declared.
        better: which way is better, of scores and measures, or where you differ with the table.
        intersect: compare the rows in common; without it rows on one side only are refused.
        title: what the comparison calls itself.

    Raises:
        DataError: rows that are not the same, labels or groups that differ, no group column.
        PolicyError: the policy names what is not there, or asks for a reference that differs between the models.
        UsageError: a margin of an unknown metric or below 0, or margins that nobody set.
    """
    rules = read_policy(policy) if isinstance(policy, (str, Path)) else policy or Policy()
    levels, gaps = dict(tolerance_change or {}), dict(tolerance_gap_change or {})
    owner = set_by or rules.set_by
    _declared(levels, gaps, owner)
    if rules.positive is not None:
        before, after = (
            one if one.positive is not None else dataclasses.replace(one, positive=rules.positive)
            for one in (before, after)
        )
    matched = match(before, after, intersect=intersect)
    attributes = resolve_attributes(matched.before, rules)
    _same_reference(attributes)
    models = two_models(matched.before, matched.after, rules)
    names = _chosen(models, rules, levels, gaps, metrics)
    ways = {name: (better or {}).get(name, models.better(name)) for name in names}
    stray = [name for name in better or {} if name not in ways]
    if stray:
        raise UsageError(
            f"better names {first(stray)}, which is not compared: {did_you_mean(stray[0], names)}"
        )
    changes: list[Change] = []
    for name in names:
        everybody = models.side(name, np.arange(len(matched.before)))
        changes.append(level_change("", ALL, name, ways[name], everybody, levels.get(name), rules, models))
        for attribute in attributes:
            changes += changes_of(attribute, name, ways[name], levels, gaps, rules, models)
    changes = _judged(changes, rules.alpha)
    return Comparison(
        title=title,
        n=models.n,
        only_before=matched.only_before,
        only_after=matched.only_after,
        plan={
            "policy": rules.model_dump(mode="json"),
            "tolerance_change": levels,
            "tolerance_gap_change": gaps,
            "set_by": owner,
            "better": ways,
            "attributes": [attribute.name for attribute in attributes],
            "metrics": {name: models.words(name) for name in names},
            "family": "Holm over all declared changes" if levels or gaps else "Holm over all changes",
        },
        changes=tuple(changes),
        decision=next((d for d in DECISIONS if any(one.decision == d for one in changes)), None),
        notes=tuple(_notes(matched, attributes, rules, levels, gaps)),
        provenance={"before": dict(before.provenance), "after": dict(after.provenance)},
    )


def _declared(levels: Mapping[str, float], gaps: Mapping[str, float], owner: str | None) -> None:
    for key, margins in (("tolerance_change", levels), ("tolerance_gap_change", gaps)):
        for metric, value in margins.items():
            if not 0 <= value < math.inf:
                raise UsageError(f"{key} of {metric} is {value}; a number of 0 or more is expected.")
    if (levels or gaps) and not (owner or "").strip():
        raise UsageError('margins are declared and nobody is named: add set_by="who set them" (--set-by).')


def _same_reference(attributes: Sequence[Attribute]) -> None:
    best = [attribute.name for attribute in attributes if attribute.reference == BEST]
    if best:
        raise PolicyError(
            f"groups.{best[0]}: the best group can be another one after than before. Name the reference to compare with."
        )


def _chosen(
    models: TwoModels,
    rules: Policy,
    levels: Mapping[str, float],
    gaps: Mapping[str, float],
    metrics: Sequence[str] | None,
) -> list[str]:
    known = models.names
    gated = [name for name in rules.tolerance if name in known]
    wanted = list(metrics) if metrics is not None else (gated or ([] if levels or gaps else known))
    names = list(dict.fromkeys([*levels, *gaps, *wanted]))
    absent = [name for name in names if name not in known]
    if absent:
        raise UsageError(f"{first(absent)} cannot be compared here: {did_you_mean(absent[0], known)}")
    if not names:
        raise DataError("there is nothing to compare: name a prediction, a score, a measure, or metrics.")
    return names


def _judged(changes: Sequence[Change], alpha: float) -> list[Change]:
    gated = any(one.margin is not None for one in changes)
    family = [
        i for i, one in enumerate(changes) if one.p is not None and (one.margin is not None or not gated)
    ]
    made = list(changes)
    adjusted = holm([float(changes[i].p or 0.0) for i in family])
    for i, p in zip(family, adjusted.tolist(), strict=True):
        one = changes[i]
        decision: Decision | None = None
        if one.margin is not None and one.upper_bound is not None:
            decision = (
                "worse" if p < alpha else "no worse" if one.upper_bound <= one.margin else "inconclusive"
            )
        made[i] = dataclasses.replace(
            one,
            p_adjusted=p,
            decision=decision,
            reason=one.reason if decision in {None, "inconclusive"} else "",
        )
    return made


def _notes(
    matched: Matched,
    attributes: Sequence[Attribute],
    rules: Policy,
    levels: Mapping[str, float],
    gaps: Mapping[str, float],
) -> list[str]:
    notes = []
    if not levels and not gaps:
        notes.append(
            "No margin is declared: nothing is gated, and p is of the hypothesis that nothing changed."
        )
    if matched.only_before or matched.only_after:
        notes.append(
            f"Compared on the rows in common: {len(matched.only_before)} are only before "
            f"and {len(matched.only_after)} only after. Rows that a model did not score may be its hardest."
        )
    if rules.tolerance:
        notes.append("The policy's tolerances judge one model: audit each. Here only the change is judged.")
    for attribute in attributes:
        if attribute.unknown is not None:
            n = len(attribute.members[attribute.unknown])
            notes.append(
                f"{attribute.name}: {n} rows have no recorded group; they are shown and judged in nothing."
            )
        for group, reason in attribute.exclude.items():
            notes.append(f"{attribute.name}: {group} is judged in nothing; the policy's reason: {reason}")
    zero = [name for margins in (levels, gaps) for name, value in margins.items() if value == 0]
    if zero:
        notes.append(
            f"A margin of 0 ({first(zero)}) can hardly ever be shown to be kept: only passed, or inconclusive."
        )
    return notes
