"""What is kept of one date's evidence: a tally of both groups of every declared gap."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from ..errors import DataError, PolicyError, UsageError, did_you_mean, first
from ..evidence import Evidence
from .attributes import BEST, LARGEST, Attribute, resolve_attributes
from .clusters import effective_rows
from .columns import Columns, design_of
from .control_charts import Tally
from .estimates import Counted, Design, Estimate, Moments, mean_of
from .influence import Influenced, Ints
from .metrics import METRICS, Metric
from .policy import Policy
from .tasks import View, views_of

NOBODY = Tally(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """What is kept of a date: tallies of both groups of each gap, and which metrics are rates."""

    tallies: Mapping[tuple[str, str, str, str], tuple[Tally, Tally]]
    rates: frozenset[str]
    clustered: bool


def tallied(evidence: Evidence, rules: Policy, names: Sequence[str], at: date) -> Period:
    try:
        return _tally_all(evidence, rules, names)
    except (DataError, UsageError) as error:
        raise type(error)(f"{at}: {error}") from error


def _tally_all(evidence: Evidence, rules: Policy, names: Sequence[str]) -> Period:
    if rules.positive is not None and evidence.positive is None:
        evidence = dataclasses.replace(evidence, positive=rules.positive)
    design = design_of(evidence)
    attributes = resolve_attributes(evidence, rules)
    _chartable(attributes, rules)
    known: dict[str, tuple[Metric, Columns] | str] = {
        view.named(metric.name): (metric, view.columns)
        for view in views_of(
            evidence, rules, Design(size=design.size, count=design.count, weight=design.weight)
        )
        for metric in _metrics_of(view)
    }
    for column in (*([evidence.score] if evidence.score else []), *evidence.measures):
        known[column] = column
    absent = [name for name in names if name not in known]
    if absent:
        raise PolicyError(f"{first(absent)} cannot be charted here: {did_you_mean(absent[0], known)}")
    tallies = {}
    for name in names:
        for attribute in attributes:
            for group, reference in attribute.pairs:
                rows = (
                    np.asarray(attribute.members[group], dtype=np.int64),
                    np.asarray(attribute.rows(reference, but=group), dtype=np.int64),
                )
                made = tuple(_tally(evidence, known[name], design, part) for part in rows)
                tallies[attribute.name, name, group, reference] = (made[0], made[1])
    rates = {name for name in names if not isinstance(what := known[name], str) and what[0].kind == "rate"}
    return Period(tallies=tallies, rates=frozenset(rates), clustered=design.cluster is not None)


def _metrics_of(view: View) -> list[Metric]:
    return [
        metric
        for metric in METRICS
        if set(metric.needs) <= view.columns.known
        and metric.kind in {"rate", "mean"}
        and not (metric.whole and view.partial)
        and (metric.whole or not view.only_whole)
    ]


def _chartable(attributes: Sequence[Attribute], rules: Policy) -> None:
    for name, rule in rules.groups.items():
        if rule.reference in {BEST, LARGEST}:
            raise PolicyError(
                f"groups.{name}: {rule.reference} can be another group at each date. Name the reference."
            )
    for attribute in attributes:
        if attribute.compare == "overall":
            raise PolicyError(
                f"groups.{attribute.name}: a chart of a group minus everybody counts its rows twice. "
                'Take compare = "complement".'
            )


def _tally(evidence: Evidence, what: tuple[Metric, Columns] | str, design: Design, rows: Ints) -> Tally:
    if not rows.size:
        return NOBODY
    made: Estimate | Any
    if isinstance(what, str):
        inside = evidence.squares.get(what)
        squares = None if inside is None else evidence.column(inside)[rows]
        plain_design = Design(size=design.size, count=design.count, weight=design.weight)
        made = mean_of(plain_design, evidence.column(what)[rows], rows, squares)
    else:
        metric, columns = what
        made = metric.estimate(columns, rows)
    made = getattr(made, "influenced", made)
    if isinstance(made, Counted):
        rate = made.k / made.n
        return Tally(float(made.n), rate, made.n * rate * (1 - rate))
    if isinstance(made, Moments):
        return Tally(float(made.n), made.mean, made.squares)
    if isinstance(made, Influenced) and design.weight is not None:
        weight = design.weight[made.rows] if made.rows is not None else design.weight
        n = effective_rows(weight, made.count)
        variance = made.means().se ** 2 * n if made.n > 1 else math.nan
        return Tally(n, made.estimate, variance * n)
    return NOBODY
