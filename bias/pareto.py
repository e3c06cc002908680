"""Utility against gap of several fixes on the same rows, each paired with the rows as they are without one."""

import dataclasses
from collections.abc import Sequence
from itertools import permutations

from ..errors import DataError, PolicyError, UsageError, did_you_mean, first
from ..evidence import Evidence
from .attributes import BEST, Attribute, resolve_attributes
from .changes import Better, level_moved
from .decision_rules import Floats
from .matching import match
from .mitigation import Mitigation
from .pareto_points import point_of
from .pareto_records import UNMITIGATED, Candidate, Pareto, Point, Purpose
from .placed_fixes import (
    Placed,
    moved_gap,
    pair_keys,
    paired_with,
    place_fix,
)
from .policy import GroupRule, Policy
from .seen_rows import refuse_seen, seen_rows
from .two_models import two_models


def candidate(mitigation: Mitigation, evidence: Evidence, features: Floats | None = None) -> Candidate:
    """What a mitigation makes of the rows of evidence; `features` (row, feature) where its rule decides on them."""
    return Candidate(
        name=mitigation.name, evidence=mitigation.apply(evidence, features), seen=mitigation.seen
    )


def pareto(
    before: Evidence,
    candidates: Sequence[Candidate],
    policy: Policy | None = None,
    *,
    attribute: str,
    gap: str = "true_positive_rate",
    utility: str = "accuracy",
    purpose: Purpose,
    accepted_loss: float = 0.0,
    accepted_growth: float = 0.0,
    title: str = "fixes",
) -> Pareto:
    """Utility and largest gap of each fix with intervals, and which are dominated beyond noise.

    A fix is dominated by another that is no worse in utility by more than `accepted_loss`, has no gap larger by more
    than `accepted_growth`, and is better in one of the two. All of it has to hold beyond noise: by one-sided bounds of
    the differences on the same rows, which need no adjustment within a pair of fixes (intersection-union); alpha is
    divided by the number of ordered pairs of fixes.

    The gap is the largest over pairs of groups, an estimate that leans upwards where gaps are small. Its interval is
    simultaneous over pairs; that of its change holds for the largest gap of each, whichever pair that is, and is sharp
    where there are two groups.

    Args:
        before: the rows as they are decided without a fix.
        candidates: the same rows as decided with each, see `candidate`.
        policy: how groups are compared, alpha, confidence, min_group and costs; its tolerances play no part.
        attribute: the group column, or a declared intersection, whose gap is shown.
        gap: a metric of `metrics.METRICS`.
        utility: a metric of which one direction is better; expected_cost with the policy's costs.
        purpose: what the rows are for. On rows that judge nothing can be chosen.
        accepted_loss: of utility, in its units.
        accepted_growth: of the gap.
        title: what the chart calls itself.

    Raises:
        DataError: rows that a fix was fitted on, or that it was chosen on where they should judge; rows that are not
            the same. UsageError: two fixes of one name, an unknown metric. PolicyError: no such attribute.
    """
    rules = policy or Policy()
    if attribute not in {*rules.groups, *before.groups} and not rules.intersections:
        raise PolicyError(f"there is no attribute {attribute!r}: {did_you_mean(attribute, before.groups)}")
    if purpose not in {"choose", "judge"}:
        raise UsageError(f"purpose is {purpose!r}; 'choose' or 'judge' is expected.")
    if not (accepted_loss >= 0 and accepted_growth >= 0):
        raise UsageError("accepted_loss and accepted_growth are 0 or more.")
    names = [UNMITIGATED, *(one.name for one in candidates)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"two fixes are called {first(twice)}: give each its own name.")
    used = {"fit", "choose"} if purpose == "judge" else {"fit"}
    for one in candidates:
        refuse_seen(before, [s for s in one.seen if s.role in used], name=one.name, doing=purpose)
    found: Attribute | None = None
    placed: list[Placed] = []
    for name, after in [(UNMITIGATED, before), *((one.name, one.evidence) for one in candidates)]:
        matched = match(*(_positive(one, rules) for one in (before, after)))
        found = found or _attribute(matched.before, attribute, rules)
        models = two_models(matched.before, matched.after, rules)
        placed.append(place_fix(name, models, found, gap, utility))
    assert found is not None
    better = placed[0].models.better(utility)
    if better == "neither":
        raise UsageError(f"{utility} is better neither higher nor lower: it is no utility. Name one that is.")
    points = [point_of(one, found, rules, gap, utility, better) for one in placed]
    known = [i for i, point in enumerate(points) if not point.reason]
    level = rules.alpha / max(1, len(known) * (len(known) - 1))
    for i, j in permutations(known, 2):
        points[j] = _ranked(
            points[j], points[i], placed[j], placed[i], found, better, level, (accepted_loss, accepted_growth)
        )
    return Pareto(
        title=title,
        attribute=found.name,
        gap_metric=gap,
        utility_metric=utility,
        better=better,
        purpose=purpose,
        confidence=rules.confidence,
        n=placed[0].models.n,
        points=tuple(points),
        rows=seen_rows(before, purpose),
        seen=((UNMITIGATED, ()), *((one.name, tuple(one.seen)) for one in candidates)),
        notes=(
            "These rows choose: what is read off them of the fix that is chosen flatters it. Judge it on others.",
        )
        if purpose == "choose"
        else (),
    )


def _positive(evidence: Evidence, rules: Policy) -> Evidence:
    if rules.positive is None or evidence.positive is not None:
        return evidence
    return dataclasses.replace(evidence, positive=rules.positive)


def _attribute(evidence: Evidence, name: str, rules: Policy) -> Attribute:
    asked = rules
    if name not in rules.groups and name in evidence.groups:
        asked = rules.model_copy(update={"groups": {**rules.groups, name: GroupRule()}})
    attributes = resolve_attributes(evidence, asked)
    for one in attributes:
        if one.name == name:
            if one.reference == BEST:
                raise PolicyError(
                    f"groups.{name}: the best group can be another one with a fix. Name the reference."
                )
            if not one.pairs:
                raise DataError(f"{name} has fewer than two groups to compare: {first(one.compared)}.")
            return one
    raise PolicyError(f"there is no attribute {name!r}: {did_you_mean(name, [a.name for a in attributes])}")


def _ranked(
    point: Point,
    other: Point,
    mine: Placed,
    theirs: Placed,
    attribute: Attribute,
    better: Better,
    level: float,
    accepted: tuple[float, float],
) -> Point:
    """The point, knowing whether the other is ahead of it."""
    sign = -1.0 if better == "lower" else 1.0
    lead = sign * ((other.utility or 0.0) - (point.utility or 0.0)), (point.gap or 0.0) - (other.gap or 0.0)
    if lead[0] < -accepted[0] or lead[1] < -accepted[1] or max(lead) <= 0:
        return point
    paired = paired_with(mine, theirs, attribute)
    loss = level_moved(
        paired.utility,
        paired.models.cluster,
        better=better,
        margin=None,
        alpha=level,
        confidence=1 - 2 * level,
    )
    growths = [moved_gap(paired, pair, level) for pair in pair_keys(attribute)]
    bounds = None
    if loss is not None and all(one is not None for one in growths):
        bounds = loss.upper_bound, max(one.upper_bound for one in growths if one is not None)
    beyond = bounds is not None and bounds[0] <= accepted[0] and bounds[1] <= accepted[1] and min(bounds) < 0
    if beyond:
        return dataclasses.replace(point, dominated_by=(*point.dominated_by, other.name))
    return dataclasses.replace(point, behind=(*point.behind, other.name)) if min(lead) >= 0 else point
