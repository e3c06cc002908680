"""What each fix costs and what it closes, on the same rows: utility against gap, each paired to what it replaces."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any, Literal

import numpy as np

from ..errors import DataError, PolicyError, UsageError, did_you_mean, first
from ..evidence import Evidence
from ..records import Finding, plain
from .attributes import BEST, Attribute, resolve_attributes
from .cells import cells_of
from .changes import Better, Moved, Side, gap_moved, level_moved, side_of
from .decision_rules import Floats
from .groups import ALL, OTHERS
from .influence import Ints
from .matching import match
from .mitigation import Mitigation
from .pairs import findings_of
from .policy import GroupRule, Policy
from .seen_rows import Seen, refuse_seen, seen_rows
from .two_models import TwoModels, two_models

UNMITIGATED = "unmitigated"
Purpose = Literal["choose", "judge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What a fix makes of the rows, and the rows that it must not be judged on."""

    name: str
    evidence: Evidence
    seen: tuple[Seen, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One fix: its utility, its largest gap of any two groups, and how both differ from the unmitigated."""

    name: str
    n: int  # rows, each as often as it counts
    utility: float | None
    utility_low: float | None
    utility_high: float | None
    gap: float | None  # the largest absolute difference of the pairs compared
    gap_low: float | None  # simultaneous over the pairs
    gap_high: float | None
    group: str  # the pair that has it
    reference: str
    utility_change: float | None  # fix minus unmitigated, on the same rows
    utility_change_low: float | None
    utility_change_high: float | None
    gap_change: float | None  # of the largest gap
    gap_change_low: float | None
    gap_change_high: float | None
    dominated_by: tuple[str, ...]  # no worse in both and better in one, beyond noise
    behind: tuple[str, ...]  # at least as good in both estimates, which shows nothing beyond noise
    reason: str = ""  # why there is no utility or no gap


@dataclass(frozen=True, slots=True, kw_only=True)
class Pareto:
    """Fixes beside one another on the same rows, the unmitigated first."""

    title: str
    attribute: str
    gap_metric: str
    utility_metric: str
    better: Better  # which way utility is better
    purpose: Purpose  # what these rows are for
    confidence: float
    n: int
    points: tuple[Point, ...]
    rows: Seen
    seen: tuple[tuple[str, tuple[Seen, ...]], ...]  # name -> the rows each was fitted and chosen on
    notes: tuple[str, ...] = ()

    def of(self, name: str) -> Point:
        """One point.

        Raises:
            UsageError: there is none of this name.
        """
        for point in self.points:
            if point.name == name:
                return point
        raise UsageError(f"there is no fix {name!r}: {did_you_mean(name, [p.name for p in self.points])}")

    @property
    def front(self) -> tuple[str, ...]:
        """The fixes that no other dominates beyond noise."""
        return tuple(p.name for p in self.points if not p.dominated_by and not p.reason)

    @property
    def frame(self) -> Any:
        """Every point as a row of a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame([plain(point) for point in self.points])

    def __repr__(self) -> str:
        return (
            f"Pareto({self.title}: {len(self.points)} points, {self.utility_metric} against {self.gap_metric} by "
            f"{self.attribute}, {self.n} rows to {self.purpose})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The fix that was chosen, by what rule, and all rows that it must not be judged on."""

    name: str
    floor: float
    rule: str
    open_to: tuple[str, ...]  # those that kept the floor
    seen: tuple[Seen, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """One fix with what its point is made of."""

    name: str
    models: TwoModels
    utility: Side
    groups: dict[str, Side]  # group, or what a group is compared with


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
    simultaneous over pairs. Its change lies between the smallest and the largest growth of any pair, which is
    sharp with two groups and wide with many.

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
    found, placed = None, []
    for name, after in [(UNMITIGATED, before), *((one.name, one.evidence) for one in candidates)]:
        matched = match(before, after)
        found = found or _attribute(matched.before, attribute, rules)
        models = two_models(matched.before, matched.after, rules)
        placed.append(_placed(name, models, found, gap, utility))
    assert found is not None
    better = placed[0].models.better(utility)
    if better == "neither":
        raise UsageError(f"{utility} is better neither higher nor lower: it is no utility. Name one that is.")
    points = [_point(one, found, rules, gap, utility, better) for one in placed]
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


def choose(points: Pareto, floor: float, *, beyond_noise: bool = False) -> Choice:
    """The fix with the smallest gap among those that keep the floor; of equals the one with more utility.

    The unmitigated takes part: nothing is changed where no fix makes the gap smaller.

    Args:
        points: made on rows that choose.
        floor: the least utility accepted; where lower is better (a loss, a cost), the most.
        beyond_noise: the end of the interval, not the estimate, has to keep the floor.

    Raises:
        DataError: the rows judge: nothing is chosen on them. UsageError: nothing keeps the floor.
    """
    if points.purpose == "judge":
        raise DataError(
            f"these {points.n} rows judge: a fix chosen on them would be judged by the rows that made it look best. "
            'Choose on other rows (pareto with purpose="choose"), and judge the one chosen here.'
        )
    sign = -1.0 if points.better == "lower" else 1.0

    def kept(point: Point) -> float | None:
        end = point.utility_low if sign > 0 else point.utility_high
        value = end if beyond_noise else point.utility
        return None if value is None or point.reason or point.gap is None else sign * value

    open_to = [p for p in points.points if (value := kept(p)) is not None and value >= sign * floor]
    if not open_to:
        known = [value for p in points.points if (value := kept(p)) is not None]
        best = f"the best is {sign * max(known):.4g}" if known else "none has a utility and a gap"
        raise UsageError(
            f"no fix keeps a {points.utility_metric} of {floor:g}, nor do the rows as they are: {best}. Name another floor."
        )
    best_of = min(open_to, key=lambda p: (p.gap or 0.0, -sign * (p.utility or 0.0)))
    return Choice(
        name=best_of.name,
        floor=float(floor),
        rule=f"smallest gap in {points.gap_metric} by {points.attribute} among those that keep {points.utility_metric} "
        + ("beyond noise" if beyond_noise else "in the estimate"),
        open_to=tuple(p.name for p in open_to),
        seen=(*dict(points.seen)[best_of.name], points.rows),
    )


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


def _placed(name: str, models: TwoModels, attribute: Attribute, gap: str, utility: str) -> Placed:
    for metric in (gap, utility):
        if metric not in models.measured:
            raise UsageError(
                f"{metric!r} cannot be computed of {name}: {did_you_mean(metric, list(models.measured))}"
            )
    everybody = np.arange(models.design.size)
    groups = {who: models.side(gap, rows) for who, rows in _compared(attribute).items()}
    return Placed(name=name, models=models, utility=models.side(utility, everybody), groups=groups)


def _compared(attribute: Attribute) -> dict[str, Ints]:
    """Rows of each group that is compared and of what it is compared with; everybody else as `OTHERS + group`."""
    made: dict[str, Ints] = {}
    for group, reference in attribute.pairs:
        made[group] = np.asarray(attribute.rows(group), dtype=np.int64)
        key = OTHERS + group if reference == OTHERS else reference
        made[key] = np.asarray(attribute.rows(reference, but=group), dtype=np.int64)
    return made


def _keys(attribute: Attribute) -> list[tuple[str, str]]:
    return [(g, OTHERS + g if r == OTHERS else r) for g, r in attribute.pairs]


def _point(one: Placed, attribute: Attribute, rules: Policy, gap: str, utility: str, better: Better) -> Point:
    models = one.models
    design = models.design

    def estimate(metric: str, rows: Ints) -> Any:
        measured = models.measured[metric]
        return measured.metric.estimate(dataclasses.replace(measured.after, design=design), rows, exact=True)

    findings = findings_of(
        attribute,
        gap,
        {who: estimate(gap, rows) for who, rows in _compared(attribute).items()},
        rules.model_copy(update={"confidence": 1 - (1 - rules.confidence) / len(attribute.pairs)}),
        rules.alpha,
        tolerance=None,
        cluster=design.cluster,
    )
    whole = cells_of(
        attribute,
        utility,
        {ALL: estimate(utility, np.arange(design.size))},
        design,
        rules,
        scale=models.measured[utility].metric.scale,
    )[0]
    unsettled = [f"{f.group} and {f.reference}: {f.reason}" for f in findings if f.estimate is None]
    reason = first(unsettled, 2) if unsettled else whole.note if whole.estimate is None else ""
    blank: dict[str, Any] = dict.fromkeys(f.name for f in dataclasses.fields(Point))
    blank |= {"name": one.name, "n": models.n, "group": "", "reference": "", "dominated_by": (), "behind": ()}
    if reason:
        return Point(**(blank | {"reason": reason}))
    widest = max(findings, key=lambda f: abs(f.estimate or 0.0))
    ends = [_absolute(f) for f in findings]
    blank |= {
        "utility": whole.estimate,
        "utility_low": whole.low,
        "utility_high": whole.high,
        "gap": abs(widest.estimate or 0.0),
        "gap_low": max(low for low, _ in ends),
        "gap_high": max(high for _, high in ends),
        "group": widest.group,
        "reference": widest.reference,
        "reason": "",
    }
    if one.name == UNMITIGATED:
        return Point(**blank)
    side = one.utility
    moved = level_moved(
        side, design.cluster, better=better, margin=None, alpha=rules.alpha, confidence=rules.confidence
    )
    growths = [_growth(one, pair, (1 - rules.confidence) / 2) for pair in _keys(attribute)]
    gaps_before = [_gap_of(one, pair, "before") for pair in _keys(attribute)]
    blank |= {
        "utility_change": None if moved is None else moved.after - moved.before,
        "utility_change_low": None if moved is None else moved.low,
        "utility_change_high": None if moved is None else moved.high,
        "gap_change": abs(widest.estimate or 0.0) - max(gaps_before),
    }
    if all(low is not None for low in growths):
        pairs = [pair for pair in growths if pair is not None]
        blank |= {
            "gap_change_low": min(low for low, _ in pairs),
            "gap_change_high": max(high for _, high in pairs),
        }
    return Point(**blank)


def _absolute(finding: Finding) -> tuple[float, float]:
    """The interval of a difference as one of its absolute value."""
    low, high = float(finding.low or 0.0), float(finding.high or 0.0)
    return max(0.0, low, -high), max(abs(low), abs(high))


def _gap_of(one: Placed, pair: tuple[str, str], when: Literal["before", "after"]) -> float:
    values = [getattr(one.groups[who], when) for who in pair]
    return abs(values[0].estimate - values[1].estimate) if None not in values else 0.0


def _growth(one: Placed, pair: tuple[str, str], alpha: float) -> tuple[float, float] | None:
    """Bounds, each one-sided at alpha, of how much larger a pair's gap is with the fix than without."""
    up = _moved(one, pair, alpha)
    down = _moved(_turned(one), pair, alpha)
    return None if up is None or down is None else (-down.upper_bound, up.upper_bound)


def _moved(one: Placed, pair: tuple[str, str], alpha: float) -> Moved | None:
    return gap_moved(
        one.groups[pair[0]],
        one.groups[pair[1]],
        one.models.cluster,
        margin=None,
        alpha=alpha,
        confidence=1 - 2 * alpha,
        apart=pair[1] != ALL,
    )


def _turned(one: Placed) -> Placed:
    """Before and after exchanged."""

    def turn(side: Side) -> Side:
        own = None if side.own is None else side.own[::-1, ::-1]
        return dataclasses.replace(side, before=side.after, after=side.before, own=own)

    return dataclasses.replace(one, groups={who: turn(side) for who, side in one.groups.items()})


def _against(worse: Placed, better: Placed, attribute: Attribute) -> Placed:
    """Two fixes paired: `worse` before, `better` after."""

    def pair(one: Side, two: Side, rows: Ints) -> Side:
        return side_of(
            one.after,
            two.after,
            rows,
            worse.models.design,
            sizes=(one.n_after, two.n_after),
            is_rate=one.is_rate,
        )

    rows = _compared(attribute)
    return Placed(
        name=better.name,
        models=worse.models,
        utility=pair(worse.utility, better.utility, np.arange(worse.models.design.size)),
        groups={who: pair(worse.groups[who], better.groups[who], rows[who]) for who in rows},
    )


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
    if min(lead) < -max(accepted) or max(lead) <= 0:
        return point
    paired = _against(mine, theirs, attribute)
    loss = level_moved(
        paired.utility, paired.models.cluster, better=better, margin=None, alpha=level, confidence=1 - 2 * level
    )
    growths = [_moved(paired, pair, level) for pair in _keys(attribute)]
    bounds = None
    if loss is not None and all(one is not None for one in growths):
        bounds = loss.upper_bound, max(one.upper_bound for one in growths if one is not None)
    beyond = bounds is not None and bounds[0] <= accepted[0] and bounds[1] <= accepted[1] and min(bounds) < 0
    if beyond:
        return dataclasses.replace(point, dominated_by=(*point.dominated_by, other.name))
    return dataclasses.replace(point, behind=(*point.behind, other.name)) if min(lead) >= 0 else point
