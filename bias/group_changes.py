"""Each change of a group and each change of a gap, measured and not yet judged."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from .attributes import Attribute
from .changes import Better, Moved, Side, gap_moved, level_moved
from .compared import Change
from .groups import ALL
from .metrics import RATES
from .policy import Policy
from .two_models import TwoModels

POWER = 0.8


def changes_of(
    attribute: Attribute,
    name: str,
    better: Better,
    levels: Mapping[str, float],
    gaps: Mapping[str, float],
    rules: Policy,
    models: TwoModels,
) -> list[Change]:
    """One metric: of each group of an attribute, then of each comparison of two.

    Groups that are compared with nobody (unknown, excluded) are measured and have no margin.
    """
    made = []
    measured = {
        group: models.side(name, np.asarray(rows, dtype=np.int64))
        for group, rows in attribute.members.items()
    }
    for group, side in measured.items():
        judged = group in attribute.compared
        margin = levels.get(name) if judged else None
        one = level_change(attribute.name, group, name, better, side, margin, rules, models)
        if not judged:
            reason = attribute.exclude.get(group, "no recorded group: shown, and judged in nothing")
            one = dataclasses.replace(one, reason=reason)
        made.append(one)
    for group, reference in attribute.pairs:
        other = measured.get(reference)
        if other is None:  # everybody, or everybody else
            other = models.side(name, np.asarray(attribute.rows(reference, but=group), dtype=np.int64))
        sides = (measured[group], other)
        made.append(
            gap_change(attribute.name, (group, reference), name, better, sides, gaps.get(name), rules, models)
        )
    return made


def level_change(
    attribute: str,
    group: str,
    name: str,
    better: Better,
    side: Side,
    margin: float | None,
    rules: Policy,
    models: TwoModels,
) -> Change:
    """How one metric of one group moved."""
    reason = _why_not([(group, side)], rules)
    moved = (
        None
        if reason
        else level_moved(
            side, models.cluster, better=better, margin=margin, alpha=rules.alpha, confidence=rules.confidence
        )
    )
    cells = side.cells
    return _change(
        attribute=attribute,
        group=group,
        reference="",
        metric=name,
        better=better,
        n_before=side.n_before,
        n_after=side.n_after,
        n_gained=None if cells is None else cells.first_only,
        n_lost=None if cells is None else cells.second_only,
        margin=margin,
        moved=moved,
        reason=reason,
    )


def gap_change(
    attribute: str,
    pair: tuple[str, str],
    name: str,
    better: Better,
    sides: tuple[Side, Side],
    margin: float | None,
    rules: Policy,
    models: TwoModels,
) -> Change:
    """How the gap of a group and its reference moved."""
    reason = _why_not(list(zip(pair, sides, strict=True)), rules)
    moved = (
        None
        if reason
        else gap_moved(
            *sides,
            models.cluster,
            margin=margin,
            alpha=rules.alpha,
            confidence=rules.confidence,
            apart=pair[1] != ALL,
        )
    )
    return _change(
        attribute=attribute,
        group=pair[0],
        reference=pair[1],
        metric=name,
        better=better,
        n_before=min(side.n_before for side in sides),
        n_after=min(side.n_after for side in sides),
        n_gained=None,
        n_lost=None,
        margin=margin,
        moved=moved,
        reason=reason,
    )


def _why_not(sides: Sequence[tuple[str, Side]], rules: Policy) -> str:
    for group, side in sides:
        for when, n in (("before", side.n_before), ("after", side.n_after)):
            if n == 0:
                return f"{group}: nobody in the denominator {when}"
            if n < rules.min_group:
                return f"{group}: {n} in the denominator {when}, the policy asks for {rules.min_group}"
        if not side.defined:
            return f"{group}: {side.undefined or 'undefined in these rows'}"
    return ""


def _change(*, moved: Moved | None, reason: str, margin: float | None, **known: Any) -> Change:
    if moved is None:
        blank: dict[str, Any] = dict.fromkeys(
            ("before", "after", "change", "low", "high", "worsening", "upper_bound", "p"), None
        )
        return Change(
            **known,
            **blank,
            margin=margin,
            p_adjusted=None,
            method="",
            status="insufficient",
            decision=None if margin is None else "not assessed",
            reason=reason
            or "too few rows or clusters, or values that never vary: there is no standard error",
        )
    # A rate moves by 1 at most, the gap of two by 2: with few rows Student's interval knows no such end.
    rate = known["metric"].split("[")[0] in {one.name for one in RATES}
    most = (2.0 if known["reference"] else 1.0) if rate else math.inf
    return Change(
        **known,
        before=moved.before,
        after=moved.after,
        change=moved.after - moved.before,
        low=None if moved.low is None else max(moved.low, -most),
        high=None if moved.high is None else min(moved.high, most),
        worsening=moved.worsening,
        upper_bound=moved.upper_bound,
        margin=margin,
        p=moved.p,
        p_adjusted=None,
        method=moved.method,
        status="ok",
        decision=None,
        reason="" if margin is None else _planned(moved, margin, known["n_before"]),
    )


def _planned(moved: Moved, margin: float, n: int) -> str:
    """How many more rows would settle a change of this size: kept where it turns out inconclusive."""
    away = abs(margin - moved.worsening)
    if away < 1e-12:
        return "the worsening is the margin: no number of rows settles it"
    z = float(stats.norm.ppf(0.95) + stats.norm.ppf(POWER))
    needed = math.ceil(n * (z * moved.se / away) ** 2) - n
    return f"about {max(1, needed)} more rows in each denominator would settle a change of this size"
