"""The report: a review as one self-contained page, verdict first."""

import dataclasses
import hashlib
import json
import math
import re
import shlex
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..records import Audit, Cell, Finding, Review, plain
from . import answers, faithful, gaps, ledger, local_law_section
from .fonts import MISSING, shorten, undrawable
from .local_law_section import Publication
from .palette import MARKS
from .phrases import LANGUAGE, Phrases, phrases
from .plates import Drawn, data_uri, draw, drawn_metrics
from .wording import gap_sentence, interval, number, opening, p_value, signed, spoken, worded

Row = TypeVar("Row", Cell, Finding)
LATER = ("curves", "law")  # fields of a review that older ones lack
# Names in a page are escaped, so that no other paragraph looks like this one.
BESIDE = re.compile(r'<p class="beside">.*?</p>\n')
SMALLEST = 7.0  # points: the smallest letters of a figure
LEAST = 9 * 72 / SMALLEST  # pixels of the page to an inch of a figure, so that these are nine pixels high
SKEWED = 15  # measures shown before "all"


def render(
    review: Review, drawn: Drawn | None = None, *, explorer: str = "", language: str = LANGUAGE
) -> str:
    """The whole report as one HTML file: no network, no file beside it, the same text for the same review.

    Every name from the data is escaped; every number comes from the records. The picker of heads is the only
    script, and without it each head is under "all heads".

    Args:
        review: the review.
        drawn: its pictures, where they were drawn already.
        explorer: the name of the file of an explorer that lies beside the page; the page links to it.
        language: of the page's phrases (`phrases.phrases`), and of the figures, where they are drawn here. What the records
            say stays as it is, and so does a figure that was drawn already.

    Raises:
        UsageError: there are no phrases in the language, or not all.
    """
    say = phrases(language)
    drawn = drawn or draw(review, language=language)
    environment = Environment(
        loader=PackageLoader("clinometer.visualizers"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=number,
        signed=signed,
        p=p_value,
        spoken=spoken,
        sentence=partial(gap_sentence, say=say),
        worded=partial(worded, say=say),
        opening=opening,
        shorten=shorten,
        by_metric=_by_metric,
    )
    environment.globals.update(
        t=say, interval=interval, MARKS=MARKS, MISSING=MISSING, other=ledger.other, total=ledger.shares_total
    )
    shown = [
        {
            "name": p.name,
            "kind": p.kind,
            "about": p.about,
            "alt": p.alt,
            "src": data_uri(drawn.png[p.name]),
            "least": math.ceil(LEAST * p.figure.get_figwidth()),
        }
        for p in drawn.plates
        # The picker shows both halves of a map one by one, so that they stay legible on a telephone.
        if p.kind != "map"
    ]
    policy = review.audit.plan.get("policy")
    return environment.get_template("report.html.j2").render(
        review=review,
        explorer=explorer,
        audit=review.audit,
        policy=policy if isinstance(policy, Mapping) else {},
        report_id=report_id(review),
        plates=shown,
        metrics=drawn_metrics(review.audit),
        worst=worst_gap(review.audit),
        tally=_tally(review.audit),
        sections=_by_attribute(review.audit),
        definitions=review.audit.plan.get("metrics", {}),
        search=None if isinstance(review.slices, str) else review.slices,
        not_searched=review.slices if isinstance(review.slices, str) else "",
        calibrated=_calibrated(review.curves),
        swept=_swept(review.curves),
        no_curves=review.curves if isinstance(review.curves, str) else "",
        not_drawn=getattr(review.curves, "notes", ()),
        city="" if review.law is None else _law(review, say),
        measures=_measures(review.measures) if review.measures else [],
        measure_cells=[c for c in review.measures.cells if c.group != gaps.EVERYBODY]
        if review.measures
        else [],
        skewed=SKEWED,
        views=[
            {
                "view": view,
                "heads": shown_heads,
                "n_heads": view.importance.size,
                "importance": view.importance.tolist(),
            }
            for view, shown_heads in zip(review.views, drawn.heads, strict=True)
        ],
        asked=answers.asked(review, say),
        fixed=answers.fixed(review, say),
        methods=[] if review.faithfulness is None else faithful.ordered(review.faithfulness),
        command=_command(review),
        not_assessed=_not_assessed(review, say),
        roles=[
            ("prepared by", say("sign-off.prepared_by")),
            ("reviewed by", say("sign-off.reviewed_by")),
            ("approved by", say("sign-off.approved_by")),
        ],
        boxes=undrawable(_names(review)),
    )


def without_explorer(page: str) -> str:
    """A page without its link to the explorer, for a folder that has none."""
    return BESIDE.sub("", page)


def worst_gap(audit: Audit) -> Finding | None:
    """The largest difference among gated pairs with the overall verdict, else among all pairs drawn."""
    known = [f for f in audit.findings if f.estimate is not None and f.metric in drawn_metrics(audit)]
    decisive = [f for f in known if f.verdict is not None and f.verdict == audit.verdict]
    return max(decisive or known, key=lambda f: abs(f.estimate or 0.0), default=None)


def report_id(review: Review) -> str:
    """Twelve characters that name what the review says, whenever it was made."""
    content = plain(dataclasses.replace(review, created=""))
    # Reviews that were saved before there were any keep their name.
    content = {name: value for name, value in content.items() if value is not None or name not in LATER}
    written = json.dumps(content, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(written.encode()).hexdigest()[:12]


def _by_attribute(audit: Audit) -> list[dict[str, Any]]:
    """Cells and findings of each attribute, metric by metric, gated metrics first."""
    gated = drawn_metrics(audit)
    made = []
    for attribute in dict.fromkeys(cell.attribute for cell in audit.cells):
        compared = {g for f in audit.findings if f.attribute == attribute for g in (f.group, f.reference)}
        cells = [c for c in audit.cells if c.attribute == attribute]
        findings = [f for f in audit.findings if f.attribute == attribute]
        made.append(
            {
                "attribute": attribute,
                "cells": [c for c in _in_order(cells, gated) if c.metric in gated],
                "more_cells": [c for c in cells if c.metric not in gated],
                "findings": [f for f in _in_order(findings, gated) if f.metric in gated],
                "more_findings": [f for f in findings if f.metric not in gated],
                "alone": {c.group for c in cells if c.group != gaps.EVERYBODY and c.group not in compared},
                "summaries": [one for one in audit.summaries if one.attribute == attribute],
            }
        )
    return made


def _in_order(items: list[Row], metrics: list[str]) -> list[Row]:
    place = {metric: i for i, metric in enumerate(metrics)}
    return sorted(items, key=lambda item: place.get(item.metric, len(place)))


def _by_metric(items: list[Row]) -> list[tuple[str, list[Row]]]:
    return [(m, [i for i in items if i.metric == m]) for m in dict.fromkeys(item.metric for item in items)]


def _calibrated(curves: Any) -> list[dict[str, Any]]:
    """Each attribute with the groups of its table, and whether a group has the rows that the policy asks for."""
    return [
        {
            "of": one,
            "groups": [{"of": group, "enough": group.n >= one.min_group} for group in one.groups],
        }
        for one in getattr(curves, "reliability", ())
    ]


def _swept(curves: Any) -> list[dict[str, Any]]:
    """Each rate over thresholds: the gap of each threshold with the rate of each group there."""
    return [
        {
            "of": one,
            "rows": [
                {
                    "threshold": float(threshold),
                    "in_use": one.current is not None and float(threshold) == one.current,
                    "gap": [_known(part[t]) for part in (one.gap, one.gap_low, one.gap_high)],
                    "groups": [
                        {
                            "n": int(one.denominator[g, t]),
                            "rate": [_known(part[g, t]) for part in (one.estimate, one.low, one.high)],
                            "enough": int(one.denominator[g, t]) >= max(1, one.min_group),
                        }
                        for g in range(len(one.groups))
                    ],
                }
                for t, threshold in enumerate(one.threshold)
            ],
        }
        for one in getattr(curves, "thresholds", ())
    ]


def _known(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def _law(review: Review, say: Phrases) -> Markup:
    """The tables of Local Law 144; the day of the audit is that of the review where nobody said another."""
    found = review.law
    said = Publication(
        audited=found.audited or review.created[:10],
        distributed=found.distributed,
        source=found.source,
        auditor=found.auditor,
    )
    return local_law_section.section(found.tables, said, say)


def _measures(audit: Audit) -> list[dict[str, Any]]:
    """Findings on measures, the clearest first, each with the two means."""
    means = {(c.attribute, c.metric, c.group): c for c in audit.cells}
    ordered = sorted(
        audit.findings,
        key=lambda f: (f.p_adjusted is None, f.p_adjusted or 0.0, f.p or 0.0, -abs(f.estimate or 0.0)),
    )
    return [
        {
            "finding": f,
            "group": means.get((f.attribute, f.metric, f.group)),
            "reference": means.get((f.attribute, f.metric, f.reference)),
        }
        for f in ordered
    ]


def _tally(audit: Audit) -> dict[str, int]:
    verdicts = [f.verdict for f in audit.findings if f.verdict is not None]
    return {
        verdict: verdicts.count(verdict) for verdict in MARKS if verdict is not None and verdict in verdicts
    }


def _names(review: Review) -> Iterator[str]:
    """Every name that a figure may draw."""
    for audit in (review.audit, review.measures):
        for cell in audit.cells if audit else ():
            yield from (cell.attribute, cell.group, cell.metric)
    for account in review.ledgers:
        yield from (share.unit for share in account.shares)
    for answer in review.why:
        yield from (answer.found.group, answer.found.reference, answer.found.attribute)
    for view in review.views:
        yield from (view.title, *view.labels)


def _not_assessed(review: Review, say: Phrases) -> Iterator[str]:
    for finding in review.audit.findings:
        if finding.verdict == "not assessed":
            yield f"{gap_sentence(finding, say)}."
    if isinstance(review.curves, str):
        yield say.plain("limits.no_curves")
    if review.measures is None:
        yield say.plain("limits.no_measures")
    if not review.ledgers:
        yield say.plain("limits.no_ledger")
    if not review.views:
        yield say.plain("limits.no_view")
    if not review.why:
        yield say.plain("limits.no_head")
    if review.mitigated is None:
        yield say.plain("limits.no_fix")


def _command(review: Review) -> str:
    plan = review.audit.plan
    roles = plan.get("roles")
    policy = plan.get("policy")
    named = policy.get("groups") if isinstance(policy, Mapping) else None
    groups = named or review.data.get("groups") or {}
    words = ["clinometer", "audit", "evidence.parquet"]
    for role in ("label", "prediction", "score"):
        if isinstance(roles, Mapping) and roles.get(role):
            words += [f"--{role}", str(roles[role])]
    for group in groups:
        words += ["--group", str(group)]
    return shlex.join([*words, "--policy", "policy.toml"])
