"""From p and bounds to the four verdicts: Holm over the family, then each metric of each attribute, then all.

Within: for every pair of groups the one-sided 1 - alpha Newcombe (or Welch) bounds of the gap lie inside the
tolerance, an intersection-union test, which needs no adjustment. Exceeds: the hypothesis |gap| <= tolerance is
rejected for some pair, with Holm's adjustment over all pairs of all declared metrics and attributes. Neither:
inconclusive.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from ..records import PRECEDENCE, Finding, Verdict
from .attributes import Attribute
from .multiplicity import holm
from .policy import Policy


def judge(findings: Sequence[Finding], rules: Policy) -> list[Finding]:
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


def verdicts_of(
    findings: Sequence[Finding], attributes: Sequence[Attribute], rules: Policy
) -> list[dict[str, Any]]:
    """One verdict for each attribute and gated metric: the first in order of precedence among its pairs."""
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
