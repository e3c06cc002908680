"""The audit after a fix, on rows that had no part in it: what closed, who paid, what else changed."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError
from ..evidence import Evidence
from ..records import Audit, plain
from .attributes import resolve_attributes
from .audit import audit
from .changes import Better
from .choosing import Choice
from .columns import design_of
from .compared import Change, Comparison
from .comparison import compare
from .estimates import interval_of, rate_of, value_of
from .groups import ALL
from .matching import match
from .metrics import BY_NAME
from .mitigation import Mitigation
from .policy import Policy, read_policy
from .seen_rows import Seen, refuse_seen, seen_rows

SIDE_EFFECTS = ("accuracy", "roc_auc", "brier_score", "calibration_in_the_large", "expected_cost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreeing:
    """How often the decision is the one that it was without the fix."""

    attribute: str  # "" for everybody
    group: str
    n: int
    rate: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedAgain:
    """Before and after a fix on the same held-out rows, under the same policy."""

    name: str
    n: int  # rows, each as often as it counts
    before: Audit
    after: Audit
    comparison: Comparison  # `decision` in its words: no worse, worse, inconclusive, not assessed
    gaps: tuple[Change, ...]  # of every declared metric, and those with a margin
    agreement: tuple[Agreeing, ...]  # everybody, then each group
    improved: tuple[Change, ...]  # beyond noise: of a gap, that it became smaller
    worsened: tuple[Change, ...]  # beyond noise: of a gap, that it grew
    seen: tuple[Seen, ...]  # rows that the fix was fitted and chosen on
    rows: Seen  # the rows that judged it

    @property
    def worse_off(self) -> tuple[Change, ...]:
        """Groups for which a metric got worse, beyond noise or beyond its margin."""
        return tuple(one for one in self._worse() if not one.is_gap and one.attribute)

    @property
    def grown(self) -> tuple[Change, ...]:
        """Gaps that grew, beyond noise or beyond their margin, of any attribute and metric compared."""
        return tuple(one for one in self._worse() if one.is_gap)

    @property
    def closed(self) -> tuple[Change, ...]:
        """Declared gaps that became smaller beyond noise."""
        return tuple(one for one in self.improved if one.is_gap and one in self.gaps)

    @property
    def levelled_down(self) -> tuple[Change, ...]:
        """Gaps that closed although the group that was worse off did not gain: others lost.

        Of metrics of which one direction is better; "gained" is told by the estimate.
        """
        made = []
        for one in self.closed:
            if (
                one.better == "neither"
                or one.before is None
                or one.reference not in self._groups(one.attribute)
            ):
                continue
            sign = 1.0 if one.better == "higher" else -1.0
            behind = one.group if sign * one.before < 0 else one.reference
            level = self.comparison.of(one.metric, behind, attribute=one.attribute)
            if level.change is not None and sign * level.change <= 0:
                made.append(one)
        return tuple(made)

    @property
    def side_effects(self) -> tuple[Change, ...]:
        """Everybody: accuracy, ranking, calibration and cost, as far as the columns have them."""
        return tuple(
            one for one in self.comparison.changes if not one.attribute and one.metric in SIDE_EFFECTS
        )

    def cost_by_group(self, metric: str = "accuracy") -> tuple[Change, ...]:
        """What the fix costs each group in a metric.

        Raises:
            UsageError: it was not compared.
        """
        found = tuple(
            one
            for one in self.comparison.changes
            if one.attribute and not one.is_gap and one.metric == metric
        )
        if not found:
            raise UsageError(
                f"{metric!r} of groups was not compared; there are "
                f"{sorted({one.metric for one in self.comparison.changes})}."
            )
        return found

    @property
    def frame(self) -> Any:
        """Every change as a row of a pandas DataFrame, with what it is and whether it is beyond noise."""
        import pandas as pd

        held = []
        for one in self.comparison.changes:
            what = "gap" if one.is_gap else "group" if one.attribute else "everybody"
            way = "improved" if one in self.improved else "worsened" if one in self.worsened else ""
            declared = one.margin is not None or one in self.gaps
            held.append({"what": what, "declared": declared, **plain(one), "beyond_noise": way})
        return pd.DataFrame(held)

    @property
    def exit_code(self) -> int:
        """That of the comparison: 0 no worse or nothing declared, 1 worse, 4 inconclusive or not assessed."""
        return self.comparison.exit_code

    def _worse(self) -> list[Change]:
        return [one for one in self.comparison.changes if one in self.worsened or one.decision == "worse"]

    def _groups(self, attribute: str) -> set[str]:
        return {one.group for one in self.comparison.changes if one.attribute == attribute and not one.is_gap}

    def __repr__(self) -> str:
        return (
            f"AuditedAgain({self.name}: {self.n} rows, {len(self.closed)} of {len(self.gaps)} declared gaps closed, "
            f"{len(self.worse_off)} groups' metrics worse, {len(self.grown)} gaps grown: "
            f"{self.comparison.decision or 'no margin declared'})"
        )


def audit_again(
    before: Evidence,
    after: Evidence,
    policy: Policy | str | Path,
    *,
    fix: Mitigation | Choice | Sequence[Seen],
    name: str | None = None,
    tolerance_change: Mapping[str, float] | None = None,
    tolerance_gap_change: Mapping[str, float] | None = None,
    set_by: str | None = None,
    metrics: Sequence[str] | None = None,
    better: Mapping[str, Better] | None = None,
) -> AuditedAgain:
    """Both audits, and every change of every group and gap, paired row by row.

    A gap is declared where the policy has a tolerance of its metric, or `tolerance_gap_change` a margin. Besides them
    accuracy, ranking, calibration and cost are compared, of everybody and of each group of every attribute of the policy.

    The comparison judges margins. Beside it every change is asked, with no margin, whether it got better or worse
    beyond noise: by one-sided bounds at alpha over twice their number (Bonferroni, both directions), of a gap by its size.

    Args:
        before, after: the held-out rows as decided without and with the fix.
        policy: groups, tolerances, alpha; both audits follow it.
        fix: what was chosen, or the mitigation, or the rows that either has seen: they are refused as judges.
        name: of the fix; that of `fix` where it has one.
        tolerance_change, tolerance_gap_change, set_by, better: margins, as `comparison.compare` takes them.
        metrics: what is compared besides; None takes the policy's, and the side effects.

    Raises:
        DataError: rows that the fix was fitted or chosen on, rows that are not the same, or what the audit refuses.
        UsageError, PolicyError: as `compare` and `audit`.
    """
    rules = read_policy(policy) if isinstance(policy, (str, Path)) else policy
    seen = tuple(fix.seen) if isinstance(fix, (Mitigation, Choice)) else tuple(fix)
    called = name or (fix.name if isinstance(fix, (Mitigation, Choice)) else "the fix")
    refuse_seen(before, [one for one in seen if one.role != "judge"], name=called, doing="judge")
    before, after, *_ = match(before, after)
    audits = [
        audit(one, rules, title=f"{called}: {when}") for one, when in ((before, "before"), (after, "after"))
    ]
    there = {cell.metric for cell in audits[0].cells} & {cell.metric for cell in audits[1].cells}
    wanted = [*(rules.tolerance if metrics is None else metrics), *SIDE_EFFECTS]
    compared = [metric for metric in dict.fromkeys(wanted) if metric in there or metric not in BY_NAME]
    comparison = compare(
        before,
        after,
        rules,
        tolerance_change=tolerance_change,
        tolerance_gap_change=tolerance_gap_change,
        set_by=set_by,
        metrics=compared,
        better=better,
        title=called,
    )
    declared = {*rules.tolerance, *(tolerance_gap_change or {})}
    return AuditedAgain(
        name=called,
        n=comparison.n,
        before=audits[0],
        after=audits[1],
        comparison=comparison,
        gaps=tuple(one for one in comparison.changes if one.is_gap and one.metric in declared),
        agreement=tuple(_agreement(before, after, rules)),
        improved=_beyond_noise(before, after, rules, comparison, better),
        worsened=_beyond_noise(after, before, rules, comparison, better),
        seen=seen,
        rows=seen_rows(before, "judge"),
    )


def _beyond_noise(
    before: Evidence,
    after: Evidence,
    rules: Policy,
    comparison: Comparison,
    better: Mapping[str, Better] | None,
) -> tuple[Change, ...]:
    """The changes that are an improvement from the first to the second, whatever else was looked at."""
    asked = [
        one for one in comparison.changes if one.p is not None and (one.is_gap or one.better != "neither")
    ]
    if not asked:
        return ()
    found = compare(
        before,
        after,
        rules.model_copy(update={"alpha": rules.alpha / (2 * len(asked))}),
        metrics=list(dict.fromkeys(one.metric for one in comparison.changes)),
        better=better,
    )
    sure = {_key(one) for one in found.changes if one.upper_bound is not None and one.upper_bound < 0}
    return tuple(one for one in asked if _key(one) in sure)


def _key(one: Change) -> tuple[str, str, str, str]:
    return one.attribute, one.group, one.reference, one.metric


def _agreement(before: Evidence, after: Evidence, rules: Policy) -> list[Agreeing]:
    """How often both say the same, of everybody and of each group; of decisions only."""
    one, two, *_ = match(*(_positive(side, rules) for side in (before, after)))
    if one.prediction is None or two.prediction is None or rules.task not in {"binary", "multiclass"}:
        return []
    if rules.task == "binary":
        same = one.binary(one.prediction) == two.binary(two.prediction)
    else:
        same = np.array(
            [a == b for a, b in zip(one.group(one.prediction), two.group(two.prediction), strict=True)]
        )
    design = design_of(one)
    everybody = np.arange(len(one))
    asked = [("", ALL, everybody)]
    asked += [
        (a.name, group, rows) for a in resolve_attributes(one, rules) for group, rows in a.members.items()
    ]
    made = []
    for attribute, group, rows in asked:
        rate = rate_of(design, same, np.ones(len(same), dtype=np.bool_), np.asarray(rows, dtype=np.int64))
        ends = interval_of(rate, rules.confidence, design.cluster)
        made.append(
            Agreeing(
                attribute=attribute,
                group=group,
                n=rate.n,
                rate=value_of(rate),
                low=None if ends is None else ends.low,
                high=None if ends is None else ends.high,
            )
        )
    return made


def _positive(evidence: Evidence, rules: Policy) -> Evidence:
    if rules.positive is None or evidence.positive is not None:
        return evidence
    return dataclasses.replace(evidence, positive=rules.positive)
