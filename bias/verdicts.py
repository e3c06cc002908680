"""From p and bounds to the four verdicts: Holm over the family, then each metric of each attribute, then all.

Within: for every pair of groups the one-sided 1 - alpha Newcombe (or Welch) bounds of the gap lie inside the
tolerance, an intersection-union test, which needs no adjustment. Exceeds: the hypothesis |gap| <= tolerance is
rejected for some pair, with Holm's adjustment over all pairs of all declared metrics and attributes. Neither:
inconclusive.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from scipy import stats

from ..records import PRECEDENCE, Finding, Verdict
from .areas import Area
from .attributes import Attribute
from .estimates import Counted, Estimate, Moments, Surveyed, units
from .influence import Influenced, Ints
from .multiplicity import gatekeeping, holm
from .policy import Policy
from .scored import Undefined
from .tests_of_rates import homogeneity


def judge(
    findings: Sequence[Finding], rules: Policy, homogeneity: Mapping[tuple[str, str], float] | None = None
) -> list[Finding]:
    """Adjust p over the family and give each pair its verdict.

    With tolerances the family is all pairs they apply to; without any it is all pairs, tested for any gap. Where the
    policy's family is gatekeeping, each attribute on each gated metric is a gate of its own: (attribute, metric) -> p
    that none of its groups differ.
    """
    gated = bool(rules.tolerance)
    family = [i for i, f in enumerate(findings) if f.p is not None and (f.tolerance is not None or not gated)]
    made = list(findings)
    adjusted = _adjusted(findings, family, homogeneity if gated else None)
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


def _adjusted(
    findings: Sequence[Finding], family: Sequence[int], homogeneity: Mapping[tuple[str, str], float] | None
) -> Sequence[float]:
    p = [float(findings[i].p or 0.0) for i in family]
    if not homogeneity:
        return list(map(float, holm(p)))
    gates = {f"{attribute}\n{metric}": one for (attribute, metric), one in homogeneity.items()}
    places: dict[str, list[int]] = {name: [] for name in gates}
    for place, i in enumerate(family):
        places[f"{findings[i].attribute}\n{findings[i].metric}"].append(place)
    found = gatekeeping(gates, {name: [p[place] for place in inside] for name, inside in places.items()})
    made = [0.0] * len(family)
    for name, inside in places.items():
        for place, value in zip(inside, found[name].members, strict=True):
            made[place] = float(value)
    return made


def homogeneity_p(groups: Sequence[Estimate | Area], cluster: Ints | None) -> float:
    """p that an estimate is the same in all groups: exact or chi-square for counts, else a Wald test; 1 for one group."""
    counted = [one for one in groups if isinstance(one, Counted)]
    if len(counted) > 1 and len(counted) == sum(not isinstance(one, Undefined) for one in groups):
        return homogeneity([one.k for one in counted], [one.n for one in counted]).p
    parts = []
    for one in groups:
        if isinstance(one, Moments) and one.n > 1 and one.squares > 0:
            parts.append((one.mean, one.variance / one.n))
        elif isinstance(one, Area):
            parts.append((one.estimate, one.se(cluster) ** 2))
        elif isinstance(one, Influenced | Surveyed) and units(one, cluster) > 1:
            influenced = one.influenced if isinstance(one, Surveyed) else one
            parts.append((influenced.estimate, influenced.se(cluster) ** 2))
    parts = [(value, variance) for value, variance in parts if variance > 0]
    if len(parts) < 2:
        return 1.0
    weight = [1 / variance for _, variance in parts]
    middle = sum(w * value for w, (value, _) in zip(weight, parts, strict=True)) / sum(weight)
    statistic = sum(w * (value - middle) ** 2 for w, (value, _) in zip(weight, parts, strict=True))
    return float(stats.chi2.sf(statistic, len(parts) - 1))


def verdicts_of(
    findings: Sequence[Finding], attributes: Sequence[Attribute], tolerances: Mapping[str, float]
) -> list[dict[str, Any]]:
    """One verdict for each attribute and gated metric: the first in order of precedence among its pairs."""
    made: list[dict[str, Any]] = []
    for attribute in attributes:
        for metric, tolerance in tolerances.items():
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
