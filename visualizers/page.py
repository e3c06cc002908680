"""The report: a review as one self-contained page, verdict first, and its figures as files."""

import base64
import dataclasses
import hashlib
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from ..records import Audit, Cell, Finding, Review, plain
from . import gaps, heads, ledger, maps, tokens
from .palette import MARKS, encoded, shorten
from .wording import gap_sentence, interval, number, opening, p_value, signed, spoken

Row = TypeVar("Row", Cell, Finding)
MOST_METRICS = 4  # drawn; the tables hold all
MOST_LEDGERS = 6
MOST_MAPS = 24  # heads drawn for the picker, over all views
FIGURE_DPI = 150
MAP_DPI = 110
COLOURS = 128
MAP_BYTES = 2_000_000  # of all maps together; a page that opens at once is worth more than the last head
SKEWED = 15  # measures shown before "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plate:
    """One figure with the sentence that says what it shows."""

    name: str
    kind: str  # "rates", "gaps", "attribution", "ledger", "heads" or "map"
    about: str  # metric, or position of the ledger or view
    figure: Figure
    alt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Both maps of one head, as data URIs for the picker."""

    layer: int
    head: int
    effect: float
    attends: str
    matters: str
    alt: str


def render(review: Review) -> str:
    """The whole report as one HTML file: no network, no file beside it, the same text for the same review.

    Every name from the data is escaped; every number comes from the records. The picker of heads is the only
    script, and without it each head is under "all heads".
    """
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
        sentence=gap_sentence,
        opening=opening,
        shorten=shorten,
        by_metric=_by_metric,
    )
    environment.globals.update(interval=interval, MARKS=MARKS, other=ledger.other, total=ledger.shares_total)
    shown = [
        {
            "name": p.name,
            "kind": p.kind,
            "about": p.about,
            "alt": p.alt,
            "src": _uri(encoded(p.figure, "png", dpi=FIGURE_DPI, colours=COLOURS)),
        }
        for p in plates(review)
        if p.kind
        != "map"  # the picker shows both halves one by one, so that they stay legible on a telephone
    ]
    policy = review.audit.plan.get("policy")
    return environment.get_template("report.html.j2").render(
        review=review,
        audit=review.audit,
        policy=policy if isinstance(policy, Mapping) else {},
        report_id=report_id(review),
        plates=shown,
        metrics=drawn_metrics(review.audit),
        worst=worst_gap(review.audit),
        tally=_tally(review.audit),
        sections=_by_attribute(review.audit),
        measures=_measures(review.measures) if review.measures else [],
        measure_cells=[c for c in review.measures.cells if c.group != gaps.EVERYBODY]
        if review.measures
        else [],
        skewed=SKEWED,
        views=[
            {
                "view": view,
                "heads": drawn,
                "n_heads": view.importance.size,
                "importance": view.importance.tolist(),
            }
            for view, drawn in zip(review.views, _drawn_heads(review), strict=True)
        ],
        command=_command(review),
        not_assessed=_not_assessed(review),
    )


def figures(review: Review) -> dict[str, Figure]:
    """Every figure of the report by its file name: rates, gaps, attribution, ledgers, heads, maps."""
    return {plate.name: plate.figure for plate in plates(review)}


def save_figures(review: Review, folder: str | Path) -> tuple[Path, ...]:
    """Write every figure as PNG (150 dpi) and SVG into a folder, which is made where it is missing."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for name, figure in figures(review).items():
        for kind in ("png", "svg"):
            path = target / f"{name}.{kind}"
            path.write_bytes(encoded(figure, "svg" if kind == "svg" else "png", dpi=FIGURE_DPI))
            written.append(path)
    return tuple(written)


def plates(review: Review) -> list[Plate]:
    """The figures of the report in the order of the page, each with its sentence."""
    made: list[Plate] = []

    def add(kind: str, about: str, figure: Figure, alt: str, *parts: object) -> None:
        name = "-".join([kind, *[_slug(str(part)) for part in parts]])
        taken = {plate.name for plate in made}
        while name in taken:
            name += "-next"
        made.append(Plate(name=name, kind=kind, about=about, figure=figure, alt=alt))

    audit = review.audit
    for metric in drawn_metrics(audit):
        add("rates", metric, gaps.forest(audit, metric), gaps.describe_rates(audit, metric), metric)
        add("gaps", metric, gaps.gap_forest(audit, metric), gaps.describe_gaps(audit, metric), metric)
    means = _mean_attribution(review)
    if means:
        names = [cell.metric.removeprefix("attribution[").removesuffix("]") for cell in means]
        scores = [cell.estimate or 0.0 for cell in means]
        unit = str(review.attribution.get("unit", "logit"))
        figure = tokens.attribution_bars(
            names,
            scores,
            intervals=[(cell.low, cell.high) for cell in means],
            unit=unit,
            title=f"mean attribution per feature over {number(means[0].n)} rows",
        )
        add("attribution", "", figure, "Mean attribution. " + tokens.describe(names, scores, unit), "mean")
    for i, account in enumerate(review.ledgers[:MOST_LEDGERS]):
        parts = (account.attribute, account.group, account.reference)
        add("ledger", str(i), ledger.waterfall(account), ledger.describe(account), *parts)
    for i, view in enumerate(review.views):
        add("heads", str(i), heads.head_grid(view), heads.describe(view), i)
        for layer, head in heads.most_important(view):
            pair, alt = maps.map_pair(view, layer, head), maps.describe(view, layer, head)
            add("map", str(i), pair, alt, i, f"layer-{layer}", f"head-{head}")
    return made


def drawn_metrics(audit: Audit) -> list[str]:
    """The metrics drawn: those with a tolerance, else the first one audited."""
    gated = dict.fromkeys(f.metric for f in audit.findings if f.tolerance is not None)
    gated.update(dict.fromkeys(str(entry["metric"]) for entry in audit.verdicts))
    return (list(gated) or list(dict.fromkeys(cell.metric for cell in audit.cells))[:1])[:MOST_METRICS]


def worst_gap(audit: Audit) -> Finding | None:
    """The largest difference among gated pairs with the overall verdict, else among all pairs drawn."""
    known = [f for f in audit.findings if f.estimate is not None and f.metric in drawn_metrics(audit)]
    decisive = [f for f in known if f.verdict is not None and f.verdict == audit.verdict]
    return max(decisive or known, key=lambda f: abs(f.estimate or 0.0), default=None)


def report_id(review: Review) -> str:
    """Twelve characters that name what the review says, whenever it was made."""
    content = plain(dataclasses.replace(review, created=""))
    written = json.dumps(content, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(written.encode()).hexdigest()[:12]


def _drawn_heads(review: Review) -> list[list[Head]]:
    each = MOST_MAPS // max(1, len(review.views))
    budget = MAP_BYTES // max(1, len(review.views))
    made = []
    for view in review.views:
        drawn: list[Head] = []
        spent = 0
        for layer, head in heads.most_important(view, max(1, each)):
            if spent > budget:
                break
            attends = encoded(maps.attention_map(view, layer, head), "png", dpi=MAP_DPI, colours=COLOURS)
            matters = encoded(maps.contribution_map(view, layer, head), "png", dpi=MAP_DPI, colours=COLOURS)
            spent += len(attends) + len(matters)
            drawn.append(
                Head(
                    layer=layer,
                    head=head,
                    effect=float(view.importance[layer, head]),
                    attends=_uri(attends),
                    matters=_uri(matters),
                    alt=maps.describe(view, layer, head),
                )
            )
        made.append(drawn)
    return made


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
            }
        )
    return made


def _in_order(items: list[Row], metrics: list[str]) -> list[Row]:
    place = {metric: i for i, metric in enumerate(metrics)}
    return sorted(items, key=lambda item: place.get(item.metric, len(place)))


def _by_metric(items: list[Row]) -> list[tuple[str, list[Row]]]:
    return [(m, [i for i in items if i.metric == m]) for m in dict.fromkeys(item.metric for item in items)]


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


def _mean_attribution(review: Review) -> list[Cell]:
    found: dict[str, Cell] = {}
    for cell in review.measures.cells if review.measures else ():
        whole = cell.group == gaps.EVERYBODY and cell.estimate is not None
        if whole and cell.metric.startswith("attribution["):
            found.setdefault(cell.metric, cell)
    return list(found.values())


def _tally(audit: Audit) -> dict[str, int]:
    verdicts = [f.verdict for f in audit.findings if f.verdict is not None]
    return {
        verdict: verdicts.count(verdict) for verdict in MARKS if verdict is not None and verdict in verdicts
    }


def _not_assessed(review: Review) -> Iterator[str]:
    for finding in review.audit.findings:
        if finding.verdict == "not assessed":
            yield f"{gap_sentence(finding)}."
    if review.measures is None:
        yield "Measures that explanation adds were not tested across groups."
    if not review.ledgers:
        yield "No gap was divided among features: there is no ledger."
    if not review.views:
        yield "No attention map was kept."


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


def _uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _slug(name: str) -> str:
    kept = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return kept[:40].strip("-") or "x" + hashlib.sha256(name.encode()).hexdigest()[:8]
