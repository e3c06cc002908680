"""Run a policy over evidence: every declared group, every comparison, and four possible verdicts.

The verdicts follow tests, not the intervals shown beside them (`verdicts.py`). Rows whose group is unknown are
shown and compared with nobody.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from ..errors import DataError, PolicyError, UsageError, did_you_mean, first
from ..evidence import Evidence
from ..records import PRECEDENCE, Audit, Cell, Finding, Summary
from .areas import Area
from .attributes import Attribute, resolve_attributes
from .cells import cells_of
from .columns import FEW_CLUSTERS, Columns, design_of
from .estimates import Counted, Estimate, mean_of
from .groups import ALL, OTHERS
from .impossibility import not_both
from .influence import Ints
from .metrics import METRICS, Metric
from .own_metrics import Own, own_metric
from .pairs import findings_of
from .policy import Policy, read_policy
from .summaries import summaries_of
from .tasks import View, views_of
from .verdicts import homogeneity_p, judge, verdicts_of

LARGEST = 1e100  # of a number that is audited: its square is still a number, and so is the sum of many
Measure = Callable[[Ints, bool], Estimate | Area]  # rows, exact -> estimate


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """One quantity that is computed in every group."""

    name: str
    metric: Metric | None  # None: the mean of a score or a measure
    measure: Measure


def audit(
    evidence: Evidence,
    policy: Policy | str | Path | None = None,
    *,
    own: Mapping[str, Own] | None = None,
    title: str = "audit",
) -> Audit:
    """Metrics with intervals for every group, gaps for every comparison, verdicts where a tolerance is declared.

    Args:
        evidence: rows with groups, and predictions, labels, a score or measures: what is there is audited. Rows may be
            counted together (`count`), weighed (`weight`) or come in clusters (`cluster`).
        policy: a Policy or the path of one. Without one nothing is gated.
        own: metrics of your own, name -> function of columns by name (`own_metrics.own_metric`), with bootstrap errors.
        title: what the audit calls itself.

    Raises:
        DataError: no group column, nothing to audit, a label or prediction that is not what the task says, a
            prediction or score that is the label, weights or clusters that cannot be used.
        PolicyError: the policy names a column, metric or group that is not there.
    """
    rules = read_policy(policy) if isinstance(policy, (str, Path)) else policy or Policy()
    if rules.positive is not None and evidence.positive is None:
        evidence = dataclasses.replace(evidence, positive=rules.positive)
    _refuse_beyond(evidence)
    design = design_of(evidence)
    attributes = resolve_attributes(evidence, rules)
    views = views_of(evidence, rules, design)
    audited = [
        *(one for view in views for one in _of_view(view)),
        *_own(own or {}, views, Columns(design=design)),
        *_means(evidence, Columns(design=design)),
    ]
    if not audited:
        raise DataError("there is nothing to audit: name a prediction, a score or a measure.")
    tolerances = _tolerances(audited, rules)
    # The level that the strictest comparison of Holm's family has to reach: for planning more rows.
    family = max(1, sum(len(attribute.pairs) for attribute in attributes) * len(tolerances))
    cells: list[Cell] = []
    findings: list[Finding] = []
    homogeneity: dict[tuple[str, str], float] = {}
    for attribute in attributes:
        for one in audited:
            shown = {name: one.measure(attribute.rows(name), True) for name in (ALL, *attribute.members)}
            scale = one.metric.scale if one.metric else "identity"
            cells += cells_of(attribute, one.name, shown, design, rules, scale=scale)
            findings += findings_of(
                attribute,
                one.name,
                _compared(attribute, one, shown),
                rules,
                rules.alpha / family,
                tolerance=tolerances.get(one.name),
                cluster=design.cluster,
                better=one.metric.better if one.metric else "neither",
            )
            if rules.family == "gatekeeping" and one.name in tolerances:
                groups = [shown[name] for name in attribute.compared]
                homogeneity[attribute.name, one.name] = homogeneity_p(groups, design.cluster)
    summaries: list[Summary] = []
    for attribute in attributes:
        for view in views:
            summaries += summaries_of(attribute, view, evidence, rules)
    findings = judge(findings, rules, homogeneity)
    verdicts = verdicts_of(findings, attributes, tolerances)
    overall = next((v for v in PRECEDENCE if any(entry["verdict"] == v for entry in verdicts)), None)
    return Audit(
        title=title,
        n=design.rows(np.arange(len(evidence))),
        plan=_plan(evidence, rules, attributes, audited),
        cells=tuple(cells),
        findings=tuple(findings),
        summaries=tuple(summaries),
        verdicts=tuple(verdicts),
        verdict=overall,
        notes=(*_notes(evidence, attributes, rules, views), *not_both(findings)),
        provenance=dict(evidence.provenance),
    )


def _of_view(view: View) -> list[Audited]:
    """What can be computed of one label with its prediction or score."""
    made = []
    for metric in METRICS:
        if not set(metric.needs) <= view.columns.known or (metric.whole and view.partial):
            continue
        if view.only_whole and not metric.whole:
            continue

        def measure(rows: Ints, exact: bool, metric: Metric = metric) -> Estimate | Area:
            return metric.estimate(view.columns, rows, exact=exact)

        made.append(Audited(name=view.named(metric.name), metric=metric, measure=measure))
    return made


def _own(own: Mapping[str, Own], views: list[View], columns: Columns) -> list[Audited]:
    """The user's metrics on each view; on one of several classes or outputs with its name."""
    taken = sorted(set(own) & {metric.name for metric in METRICS})
    if taken:
        raise UsageError(f"{first(taken)} is the name of a metric that is there: call your own otherwise.")
    whole = [view for view in views if not view.only_whole] or [View(columns=columns)]
    return [
        Audited(name=view.named(name), metric=None, measure=own_metric(function, name, view.columns))
        for name, function in own.items()
        for view in whole
    ]


def _refuse_beyond(evidence: Evidence) -> None:
    """Refuse numbers whose squares, added up, no number can hold.

    Raises:
        DataError: with the column and its first rows.
    """
    named = [evidence.score, evidence.weight, *evidence.measures]
    for name in [name for name in named if name is not None]:
        beyond = np.flatnonzero(np.abs(evidence.column(name)) > LARGEST)
        if beyond.size:
            raise DataError(
                f"column {name!r} has {beyond.size} values beyond {LARGEST:g}; first rows: "
                f"{first(evidence.ids[i] for i in beyond)}. Give them in another unit, or leave these rows out."
            )


def _means(evidence: Evidence, columns: Columns) -> list[Audited]:
    """The means of the score and of every measure."""
    names = [*([evidence.score] if evidence.score else []), *evidence.measures]
    made = []
    for name in names:
        values = evidence.column(name)
        inside = evidence.squares.get(name)
        squares = None if inside is None else evidence.column(inside)

        def measure(
            rows: Ints,
            exact: bool,
            values: "np.ndarray[tuple[int], np.dtype[np.float64]]" = values,
            squares: "np.ndarray[tuple[int], np.dtype[np.float64]] | None" = squares,
        ) -> Estimate:
            return mean_of(
                columns.design, values[rows], rows, None if squares is None else squares[rows], exact=exact
            )

        made.append(Audited(name=name, metric=None, measure=measure))
    return made


def _compared(
    attribute: Attribute, one: Audited, shown: Mapping[str, Estimate | Area]
) -> dict[str, Estimate | Area]:
    """Estimates of groups and references: with everybody a group shares rows, so that influence is needed."""
    if attribute.compare == "overall":
        return {name: one.measure(attribute.rows(name), False) for name in shown}
    made = dict(shown)
    if attribute.compare == "complement" and attribute.pairs:  # of one group alone there are none
        whole = one.measure(attribute.rows(OTHERS), True) if isinstance(shown[ALL], Counted) else None
        for name in attribute.compared:
            less = None if whole is None else _less(whole, shown[name])
            made[OTHERS + name] = less or one.measure(attribute.rows(OTHERS, but=name), True)
    return made


def _less(whole: Estimate | Area, part: Estimate | Area) -> Counted | None:
    """A count of the rows that are not in a part, by subtraction; None where that is no count."""
    if isinstance(whole, Counted) and isinstance(part, Counted) and whole.n > part.n:
        return Counted(whole.k - part.k, whole.n - part.n)
    return None


def _tolerances(audited: list[Audited], rules: Policy) -> dict[str, float]:
    """Name of each gated quantity -> tolerance: a metric's goes to each class or output that has it."""
    names = [one.name for one in audited]
    made: dict[str, float] = {}
    for declared, tolerance in rules.tolerance.items():
        meant = [one.name for one in audited if one.name == declared or one.name.split("[")[0] == declared]
        if not meant:
            known = {metric.name: metric for metric in METRICS}
            base = declared.split("[")[0]
            way_out = (
                f"it needs {' and '.join(known[base].needs)}"
                if base in known
                else did_you_mean(declared, names)
            )
            raise PolicyError(
                f"a tolerance is declared for {first([declared])}, which cannot be computed here: {way_out}"
            )
        made.update(dict.fromkeys(meant, tolerance))
    return made


def _plan(
    evidence: Evidence, rules: Policy, attributes: list[Attribute], audited: list[Audited]
) -> dict[str, object]:
    kinds = {
        one.name: f"{one.metric.words} [{one.metric.source}]" for one in audited if one.metric is not None
    }
    plan: dict[str, object] = {
        "policy": rules.model_dump(mode="json"),
        "attributes": [attribute.name for attribute in attributes],
        "rates": {one.name: one.metric.words for one in audited if one.metric and one.metric.kind == "rate"},
        "metrics": kinds,
        "means": [one.name for one in audited if one.metric is None],
        "roles": {
            role: getattr(evidence, role)
            for role in ("label", "prediction", "score", "count", "weight", "cluster")
        },
        "comparisons": {attribute.name: attribute.compare for attribute in attributes},
        "references": {attribute.name: attribute.reference for attribute in attributes},
        "family": (
            "Holm over all comparisons of groups, declared metrics and attributes"
            if rules.family == "holm"
            else "attributes first (homogeneity, Holm), then the comparisons of those that differ (Holm)"
        ),
        "intervals": f"Wilson, Newcombe, Student, Welch and DeLong, {rules.confidence:.0%}",
    }
    if evidence.strata:
        plan["strata"] = list(evidence.strata)
    return plan


def _notes(evidence: Evidence, attributes: list[Attribute], rules: Policy, views: list[View]) -> list[str]:
    said = evidence.provenance
    made = [str(limit) for part in (said, *said.get("parts", ())) for limit in part.get("limits", ())]
    notes = [*dict.fromkeys(made), *(str(note) for note in said.get("notes", ()))]
    if not rules.tolerance:
        notes.append(
            "No tolerance is declared: nothing is gated, and p is of the hypothesis that there is no gap."
        )
    for attribute in attributes:
        if attribute.unknown is not None:
            n = int(evidence.counts[attribute.members[attribute.unknown]].sum())
            notes.append(
                f"{attribute.name}: {n} rows have no recorded group; they are shown and compared with nobody."
            )
        empty = [name for name in attribute.compared if not len(attribute.members[name])]
        if empty:
            notes.append(f"{attribute.name}: no rows of {first(empty)}.")
        for group, reason in attribute.exclude.items():
            notes.append(f"{attribute.name}: {group} is compared with nobody; the policy's reason: {reason}")
    if any(math.isclose(f, 0.0) for f in rules.tolerance.values()):
        notes.append("A tolerance of 0 can never be shown to be met: only exceeded, or inconclusive.")
    if evidence.weight is not None:
        notes.append(
            f"Rows are weighted by {evidence.weight!r}: estimates are of the weighted rows, counts n are of the rows "
            "there are, and intervals follow the effective number of rows (Kish 1965)."
        )
    if evidence.cluster is not None:
        clusters = evidence.clusters
        n = 0 if clusters is None else len(np.unique(clusters))
        notes.append(
            f"Rows come in {n} clusters ({evidence.cluster!r}): errors are cluster-robust, n counts rows."
            + (f" Fewer than {FEW_CLUSTERS} clusters make intervals too narrow." if n < FEW_CLUSTERS else "")
        )
    for view in views:
        notes += [note for note in view.notes if note not in notes]
    return notes
