"""Run a policy over evidence: every declared group, every pair, and four possible verdicts.

The verdicts follow tests, not the intervals shown beside them. Within: for every pair of groups the one-sided
1 - alpha Newcombe (or Welch) bounds of the gap lie inside the tolerance, an intersection-union test, which needs
no adjustment. Exceeds: the hypothesis |gap| <= tolerance is rejected for some pair by a score test, with Holm's
adjustment over all pairs of all declared metrics and attributes. Neither: inconclusive. Rows whose group is
unknown are shown and compared with nobody.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError, PolicyError, did_you_mean, first
from ..evidence import Evidence
from ..records import PRECEDENCE, Audit, Cell, Finding, Status, Verdict
from .counts import Counts, count, count_groups
from .exact import exact_exceeds_p, is_small
from .groups import ALL, JOINT, UNKNOWN, declared_joint, intersect, members
from .intervals import (
    Interval,
    exceeds_p,
    mean_interval,
    mean_rows_needed,
    minimum_detectable_effect,
    newcombe,
    rows_needed,
    welch,
    wilson,
)
from .metrics import METRICS
from .multiplicity import holm
from .policy import GroupRule, Policy, read_policy

MOST_GROUPS = 200
FLAT = "the values are the same in every row: there is no standard error"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attribute:
    """One attribute or intersection, resolved: who is in which group, and who is compared."""

    name: str
    members: dict[str, list[int]]
    unknown: str | None
    reference: str | None
    exclude: dict[str, str]

    @property
    def compared(self) -> list[str]:
        return [name for name in self.members if name != self.unknown and name not in self.exclude]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """(group, reference) of every pair, the declared reference always second."""
        ordered = sorted(self.compared, key=lambda name: name == self.reference)
        return list(combinations(ordered, 2))


def audit(evidence: Evidence, policy: Policy | str | Path | None = None, *, title: str = "audit") -> Audit:
    """Rates with intervals for every group, gaps for every pair, verdicts where a tolerance is declared.

    Args:
        evidence: rows with groups, and predictions, labels, a score or measures: what is there is audited.
        policy: a Policy or the path of one. Without one nothing is gated.
        title: what the audit calls itself.

    Raises:
        DataError: no group column, nothing to audit, a label or prediction that is not binary.
        PolicyError: the policy names a column, metric or group that is not there.
    """
    rules = read_policy(policy) if isinstance(policy, (str, Path)) else policy or Policy()
    if rules.positive is not None and evidence.positive is None:
        evidence = dataclasses.replace(evidence, positive=rules.positive)
    attributes = _attributes(evidence, rules)
    rates = _available(evidence)
    means = {
        **({evidence.score: evidence.column(evidence.score)} if evidence.score else {}),
        **{name: evidence.column(name) for name in evidence.measures},
    }
    if not rates and not means:
        raise DataError("there is nothing to audit: name a prediction, a score or a measure.")
    unknown = [name for name in rules.tolerance if name not in rates and name not in means]
    if unknown:
        known = {metric.name for metric in METRICS}
        way_out = (
            "it needs a prediction column, and most rates a label column"
            if unknown[0] in known
            else did_you_mean(unknown[0], [*rates, *means])
        )
        raise PolicyError(
            f"a tolerance is declared for {first(unknown)}, which cannot be computed here: {way_out}"
        )
    prediction = evidence.binary(evidence.prediction) if evidence.prediction else None
    label = evidence.binary(evidence.label) if evidence.label and prediction is not None else None
    cells: list[Cell] = []
    findings: list[Finding] = []
    # The level that the strictest comparison of Holm's family has to reach: for planning more rows.
    family = max(1, sum(len(attribute.pairs) for attribute in attributes) * len(rules.tolerance))
    level = rules.alpha / family
    for attribute in attributes:
        if prediction is not None:
            counts = count_groups(attribute.members, prediction, label)
            everybody = count(prediction, label)
            cells += _rate_cells(attribute, counts, everybody, rates, rules)
            findings += _rate_findings(attribute, counts, rates, rules, level)
        cells += _mean_cells(attribute, means, rules)
        findings += _mean_findings(attribute, means, rules, level)
    findings = _judge(findings, rules)
    verdicts = _verdicts(findings, attributes, rules)
    overall = next((v for v in PRECEDENCE if any(entry["verdict"] == v for entry in verdicts)), None)
    return Audit(
        title=title,
        n=len(evidence),
        plan={
            "policy": rules.model_dump(mode="json"),
            "attributes": [attribute.name for attribute in attributes],
            "rates": list(rates),
            "means": list(means),
            "roles": {"label": evidence.label, "prediction": evidence.prediction, "score": evidence.score},
            "family": "Holm over all pairs of groups, declared metrics and attributes",
            "intervals": f"Wilson, Newcombe, Student and Welch, {rules.confidence:.0%}",
        },
        cells=tuple(cells),
        findings=tuple(findings),
        verdicts=tuple(verdicts),
        verdict=overall,
        notes=tuple(_notes(attributes, rules)),
        provenance=dict(evidence.provenance),
    )


def _available(evidence: Evidence) -> list[str]:
    if evidence.prediction is None:
        return []
    return [metric.name for metric in METRICS if evidence.label is not None or not metric.needs_label]


def _attributes(evidence: Evidence, rules: Policy) -> list[_Attribute]:
    names = tuple(rules.groups) or evidence.groups
    if not names:
        raise DataError("there is no group column: name at least one (--group).")
    absent = [
        n for n in (*names, *(n for joint in rules.intersections for n in joint)) if n not in evidence.groups
    ]
    if absent:
        raise PolicyError(
            f"the policy names the group column {first(absent)}, which the evidence does not have: "
            f"{did_you_mean(absent[0], evidence.groups)}"
        )
    made = []
    for name in names:
        rule = rules.groups.get(name, GroupRule())
        groups = evidence.group(name)
        made.append(_resolve(name, groups, rule.values, rule))
    for joint in rules.intersections:
        columns = [evidence.group(name) for name in joint]
        split = sorted(
            {value for column in columns for value in column if value is not None and JOINT in value}
        )
        if split:
            raise DataError(
                f"{JOINT.join(joint)}: the group {first(split)} holds {JOINT!r}, which joins names. Rename it."
            )
        declared = [rules.groups[name].values if name in rules.groups else () for name in joint]
        references = [rules.groups[name].reference if name in rules.groups else None for name in joint]
        reference = JOINT.join(str(r) for r in references) if all(references) else None
        exclude = {
            JOINT.join(parts): reason
            for i, name in enumerate(joint)
            if name in rules.groups
            for value, reason in rules.groups[name].exclude.items()
            for parts in {*zip(*columns, strict=True), *product(*declared)}
            if None not in parts and parts[i] == value
        }
        values = declared_joint(declared) if all(declared) else ()
        groups = intersect(columns)
        rule = GroupRule(reference=reference if reference in {*values, *groups} else None, exclude=exclude)
        made.append(_resolve(JOINT.join(joint), groups, values, rule))
    return made


def _resolve(name: str, groups: Sequence[str | None], values: Sequence[str], rule: GroupRule) -> _Attribute:
    who = members(groups, values)
    unknown = list(who)[-1] if any(group is None for group in groups) else None
    known = [group for group in who if group != unknown]
    if ALL in known:
        raise DataError(f"{name} has a group called {ALL!r}, the name of everybody's row. Rename it.")
    if len(known) > MOST_GROUPS:
        raise DataError(
            f"the column {name!r} has {len(known)} groups; at most {MOST_GROUPS} are compared. "
            "Bin the values, or name another column."
        )
    for key, group in [("reference", rule.reference), *(("exclude", group) for group in rule.exclude)]:
        if group is not None and group not in known:
            raise PolicyError(f"groups.{name}.{key} names the group {group!r}: {did_you_mean(group, known)}")
    return _Attribute(
        name=name, members=who, unknown=unknown, reference=rule.reference, exclude=dict(rule.exclude)
    )


def _status(n: int, rules: Policy) -> tuple[Status, str]:
    if n == 0:
        return "insufficient", "nobody in the denominator"
    if n < rules.min_group:
        return "insufficient", f"{n} in the denominator, the policy asks for {rules.min_group}"
    return "ok", ""


def _rate_cells(
    attribute: _Attribute, counts: dict[str, Counts], everybody: Counts, rates: Sequence[str], rules: Policy
) -> list[Cell]:
    made = []
    for metric in METRICS:
        if metric.name not in rates:
            continue
        for group, counted in {ALL: everybody, **counts}.items():
            k, n = metric.of(counted)
            status, note = _status(n, rules)
            ends = wilson(k, n, rules.confidence) if n else None
            made.append(
                Cell(
                    attribute=attribute.name,
                    group=group,
                    metric=metric.name,
                    n_rows=counted.n,
                    n=n,
                    k=k,
                    estimate=k / n if n else None,
                    low=ends.low if ends else None,
                    high=ends.high if ends else None,
                    status=status,
                    note=attribute.exclude.get(group, note),
                )
            )
    return made


def _mean_cells(
    attribute: _Attribute, means: dict[str, npt.NDArray[np.float64]], rules: Policy
) -> list[Cell]:
    made = []
    everybody = {ALL: list(range(sum(map(len, attribute.members.values()))))}
    for name, values in means.items():
        for group, rows in {**everybody, **attribute.members}.items():
            part = values[np.asarray(rows, dtype=int)]
            status, note = _status(len(part), rules)
            ends = mean_interval(part, rules.confidence) if len(part) > 1 else None
            if status == "ok" and ends is None:
                status, note = "insufficient", "one row has no standard error"
            made.append(
                Cell(
                    attribute=attribute.name,
                    group=group,
                    metric=name,
                    n_rows=len(part),
                    n=len(part),
                    k=None,
                    estimate=float(part.mean()) if len(part) else None,
                    low=ends.low if ends else None,
                    high=ends.high if ends else None,
                    status=status,
                    note=attribute.exclude.get(group, note),
                )
            )
    return made


def _rate_findings(
    attribute: _Attribute, counts: dict[str, Counts], rates: Sequence[str], rules: Policy, level: float
) -> list[Finding]:
    made = []
    for metric in METRICS:
        if metric.name not in rates:
            continue
        tolerance = rules.tolerance.get(metric.name)
        for group, reference in attribute.pairs:
            (k1, n1), (k2, n2) = metric.of(counts[group]), metric.of(counts[reference])
            blank = _blank(attribute, metric.name, group, reference, n1, n2, tolerance, rules)
            if blank is not None:
                made.append(blank)
                continue
            p1, p2 = k1 / n1, k2 / n2
            shown, bounds = (
                newcombe(k1, n1, k2, n2, rules.confidence),
                newcombe(k1, n1, k2, n2, 1 - 2 * rules.alpha),
            )
            made.append(
                _finding(
                    attribute,
                    metric.name,
                    group,
                    reference,
                    (n1, n2),
                    p1 - p2,
                    shown,
                    bounds,
                    tolerance,
                    _p(k1, n1, k2, n2, tolerance),
                    minimum_detectable_effect(p2, n1, n2, alpha=rules.alpha),
                    None if tolerance is None else rows_needed(k1, n1, k2, n2, tolerance, alpha=level),
                )
            )
    return made


def _mean_findings(
    attribute: _Attribute, means: dict[str, npt.NDArray[np.float64]], rules: Policy, level: float
) -> list[Finding]:
    made = []
    for name, values in means.items():
        tolerance = rules.tolerance.get(name)
        for group, reference in attribute.pairs:
            a, b = (values[np.asarray(attribute.members[g], dtype=int)] for g in (group, reference))
            blank = _blank(attribute, name, group, reference, len(a), len(b), tolerance, rules, least=2)
            if blank is not None:
                made.append(blank)
                continue
            compared = welch(a, b)
            if not compared.se > 1e-9 * max(abs(float(a.mean())), abs(float(b.mean()))):
                made.append(_unsettled(attribute, name, group, reference, len(a), len(b), tolerance, FLAT))
                continue
            needed = None
            if tolerance is not None:
                spread = (float(a.var(ddof=1)), float(b.var(ddof=1)))
                needed = mean_rows_needed(compared.estimate, spread, (len(a), len(b)), tolerance, alpha=level)
            power = 2.8015 if rules.alpha == 0.05 else _effect_size(rules.alpha)
            made.append(
                _finding(
                    attribute,
                    name,
                    group,
                    reference,
                    (len(a), len(b)),
                    compared.estimate,
                    compared.interval(rules.confidence),
                    compared.interval(1 - 2 * rules.alpha),
                    tolerance,
                    compared.exceeds_p(tolerance or 0.0),
                    power * compared.se,
                    needed,
                )
            )
    return made


def _p(k1: int, n1: int, k2: int, n2: int, tolerance: float | None) -> float:
    """p of a pair: exact where a tolerance is declared and the tables can be listed, else the score test's."""
    if tolerance is not None and is_small(n1, n2):
        return exact_exceeds_p(k1, n1, k2, n2, tolerance)
    return exceeds_p(k1, n1, k2, n2, tolerance or 0.0)


def _effect_size(alpha: float, power: float = 0.8) -> float:
    from scipy import stats

    return float(stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power))


def _blank(
    attribute: _Attribute,
    metric: str,
    group: str,
    reference: str,
    n1: int,
    n2: int,
    tolerance: float | None,
    rules: Policy,
    *,
    least: int = 1,
) -> Finding | None:
    """A pair that cannot be compared, with the reason; None where it can."""
    reasons: list[str] = []
    worst: Status = "ok"
    for name, n in ((group, n1), (reference, n2)):
        status, note = _status(n, rules)
        if status == "ok" and n < least:
            status, note = "insufficient", "one row has no standard error"
        if status != "ok":
            worst = status
            reasons.append(f"{name}: {note}")
    if not reasons:
        return None
    return _unsettled(attribute, metric, group, reference, n1, n2, tolerance, "; ".join(reasons), worst)


def _unsettled(
    attribute: _Attribute,
    metric: str,
    group: str,
    reference: str,
    n1: int,
    n2: int,
    tolerance: float | None,
    reason: str,
    status: Status = "insufficient",
) -> Finding:
    return Finding(
        attribute=attribute.name,
        metric=metric,
        group=group,
        reference=reference,
        n_group=n1,
        n_reference=n2,
        estimate=None,
        low=None,
        high=None,
        upper_bound=None,
        tolerance=tolerance,
        p=None,
        p_adjusted=None,
        minimum_detectable_effect=None,
        n_needed=None,
        status=status,
        verdict=None if tolerance is None else "not assessed",
        reason=reason,
    )


def _finding(
    attribute: _Attribute,
    metric: str,
    group: str,
    reference: str,
    sizes: tuple[int, int],
    estimate: float,
    shown: Interval,
    bounds: Interval,
    tolerance: float | None,
    p: float,
    detectable: float | None,
    needed: int | None,
) -> Finding:
    return Finding(
        attribute=attribute.name,
        metric=metric,
        group=group,
        reference=reference,
        n_group=sizes[0],
        n_reference=sizes[1],
        estimate=estimate,
        low=shown.low,
        high=shown.high,
        upper_bound=max(abs(bounds.low), abs(bounds.high)),
        tolerance=tolerance,
        p=p,
        p_adjusted=None,
        minimum_detectable_effect=detectable,
        n_needed=needed,
        status="ok",
        verdict=None,
    )


def _judge(findings: list[Finding], rules: Policy) -> list[Finding]:
    """Adjust p over the family and give each pair its verdict.

    With tolerances the family is all pairs they apply to; without any it is all pairs, tested for any gap.
    """
    gated = bool(rules.tolerance)
    family = [i for i, f in enumerate(findings) if f.p is not None and (f.tolerance is not None or not gated)]
    made = list(findings)
    adjusted = holm([float(findings[i].p or 0.0) for i in family])
    for i, p in zip(family, adjusted, strict=True):
        finding = findings[i]
        verdict: Verdict | None = None
        needed, reason = None, ""
        if finding.tolerance is not None and finding.upper_bound is not None:
            if p < rules.alpha:
                verdict = "exceeds tolerance"
            elif finding.upper_bound <= finding.tolerance:
                verdict = "within tolerance"
            else:
                verdict, needed = "inconclusive", finding.n_needed
                reason = (
                    "the gap is the tolerance: no number of rows settles it"
                    if needed is None
                    else f"about {needed} more rows in each group would settle a gap of this size"
                )
        made[i] = dataclasses.replace(
            finding, p_adjusted=float(p), verdict=verdict, n_needed=needed, reason=reason
        )
    return made


def _verdicts(findings: list[Finding], attributes: list[_Attribute], rules: Policy) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for attribute in attributes:
        for metric, tolerance in rules.tolerance.items():
            pairs = [f for f in findings if f.attribute == attribute.name and f.metric == metric]
            verdict: Verdict = "not assessed"
            reason = f"{attribute.name} has fewer than two groups to compare"
            if pairs:
                verdict = next(v for v in PRECEDENCE if any(f.verdict == v for f in pairs))
                which = [f for f in pairs if f.verdict == verdict]
                worst = max(which, key=lambda f: abs(f.estimate or 0.0))
                reason = f"{len(which)} of {len(pairs)} pairs; {_sentence(worst)}"
            made.append(
                {
                    "attribute": attribute.name,
                    "metric": metric,
                    "tolerance": tolerance,
                    "verdict": verdict,
                    "reason": reason,
                }
            )
    return made


def _sentence(finding: Finding) -> str:
    pair = f"{finding.group} minus {finding.reference}"
    if finding.estimate is None or finding.low is None or finding.high is None:
        return f"{pair}: {finding.reason}"
    said = f"{pair} {finding.estimate:+.3f} [{finding.low:+.3f}, {finding.high:+.3f}]"
    return (
        said
        + f" (n = {finding.n_group} and {finding.n_reference})"
        + (f"; {finding.reason}" if finding.reason else "")
    )


def _notes(attributes: list[_Attribute], rules: Policy) -> list[str]:
    notes = []
    if not rules.tolerance:
        notes.append(
            "No tolerance is declared: nothing is gated, and p is of the hypothesis that there is no gap."
        )
    for attribute in attributes:
        if attribute.unknown is not None:
            n = len(attribute.members[attribute.unknown])
            notes.append(
                f"{attribute.name}: {n} rows have no recorded group; they are shown and compared with nobody."
            )
        empty = [name for name in attribute.compared if not attribute.members[name]]
        if empty:
            notes.append(f"{attribute.name}: no rows of {first(empty)}.")
        for group, reason in attribute.exclude.items():
            notes.append(f"{attribute.name}: {group} is compared with nobody; the policy's reason: {reason}")
    if any(math.isclose(f, 0.0) for f in rules.tolerance.values()):
        notes.append("A tolerance of 0 can never be shown to be met: only exceeded, or inconclusive.")
    return notes


__all__ = ["UNKNOWN", "audit"]
