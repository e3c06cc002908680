"""Run a policy over evidence: every declared group, every pair, and four possible verdicts.

The verdicts follow tests, not the intervals shown beside them (`verdicts.py`). Rows whose group is unknown are
shown and compared with nobody.
"""

import dataclasses
import math
from pathlib import Path

from ..errors import DataError, PolicyError, did_you_mean, first
from ..evidence import Evidence
from ..records import PRECEDENCE, Audit, Cell, Finding
from .attributes import Attribute, resolve_attributes
from .cells import mean_cells, rate_cells
from .counts import count, count_groups
from .metrics import METRICS
from .pairs import mean_findings, rate_findings
from .policy import Policy, read_policy
from .verdicts import judge, verdicts_of


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
    attributes = resolve_attributes(evidence, rules)
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
            cells += rate_cells(attribute, counts, everybody, rates, rules)
            findings += rate_findings(attribute, counts, rates, rules, level)
        cells += mean_cells(attribute, means, rules)
        findings += mean_findings(attribute, means, rules, level)
    findings = judge(findings, rules)
    verdicts = verdicts_of(findings, attributes, rules)
    overall = next((v for v in PRECEDENCE if any(entry["verdict"] == v for entry in verdicts)), None)
    return Audit(
        title=title,
        n=len(evidence),
        plan={
            "policy": rules.model_dump(mode="json"),
            "attributes": [attribute.name for attribute in attributes],
            "rates": {metric.name: metric.words for metric in METRICS if metric.name in rates},
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


def _notes(attributes: list[Attribute], rules: Policy) -> list[str]:
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
