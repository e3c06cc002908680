"""Two groups compared on one metric: the gap, its interval, its bounds, its p, the rows that settle it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ..errors import DataError
from ..records import Finding, Status
from .areas import Area, area_difference, compare_areas
from .attributes import BEST, Attribute
from .cells import size_of, status_of
from .clusters import newcombe_clustered
from .estimates import Counted, Estimate, Moments, Resampled, Surveyed, value_of, welch_of
from .exact import exact_exceeds_p, is_small
from .groups import ALL, OTHERS
from .influence import Influenced, Ints, difference, shared
from .intervals import (
    Interval,
    Means,
    exceeds_p,
    mean_rows_needed,
    minimum_detectable_effect,
    newcombe,
    rows_needed,
)
from .policy import Policy

FLAT = "the values are the same in every row: there is no standard error"
Measured = Estimate | Area


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """What is known of a difference of two groups."""

    estimate: float
    shown: Interval  # two-sided, at the confidence of what is shown
    bounds: Interval  # two-sided at 1 - 2 alpha: each end is a one-sided bound
    p: float  # of |gap| <= tolerance
    detectable: float | None
    needed: int | None


def findings_of(
    attribute: Attribute,
    metric: str,
    estimates: Mapping[str, Measured],
    rules: Policy,
    level: float,
    *,
    tolerance: float | None,
    cluster: Ints | None,
    better: str = "neither",
) -> list[Finding]:
    """Each comparison of an attribute on one metric. No verdict yet.

    Args:
        estimates: group -> estimate; also of the references that a comparison names, `OTHERS + group` for everyone else.
        level: the strictest level of Holm's family: what more rows are planned for.
        tolerance: of the metric, None where nothing is gated.
        cluster: codes of what was drawn independently.
        better: which way is better: decides the reference where the best group is.
    """
    made = []
    for group, reference in _oriented(attribute, estimates, better):
        a = estimates[group]
        b = estimates[OTHERS + group if reference == OTHERS else reference]
        reason, status = _why_not({group: a, reference: b}, rules, cluster)
        gap = None if reason else _gap(a, b, tolerance, rules, level, cluster)
        if gap is None:
            made.append(
                _unsettled(
                    attribute,
                    metric,
                    group,
                    reference,
                    size_of(a),
                    size_of(b),
                    tolerance,
                    reason or FLAT,
                    status,
                )
            )
            continue
        made.append(
            Finding(
                attribute=attribute.name,
                metric=metric,
                group=group,
                reference=reference,
                n_group=size_of(a),
                n_reference=size_of(b),
                estimate=gap.estimate,
                low=gap.shown.low,
                high=gap.shown.high,
                upper_bound=max(abs(gap.bounds.low), abs(gap.bounds.high)),
                tolerance=tolerance,
                p=gap.p,
                p_adjusted=None,
                minimum_detectable_effect=gap.detectable,
                n_needed=gap.needed,
                status="ok",
                verdict=None,
            )
        )
    return made


def _oriented(attribute: Attribute, estimates: Mapping[str, Measured], better: str) -> list[tuple[str, str]]:
    """(group, reference) of every comparison; the best group is second where the policy asks for it."""
    if attribute.reference != BEST:
        return attribute.pairs
    known = {name: value for name in attribute.compared if (value := _value(estimates[name])) is not None}
    if not known:
        return attribute.pairs
    best = (min if better == "lower" else max)(known, key=lambda name: (known[name], name))
    names = [name for name in attribute.compared if name != best]
    if attribute.compare == "reference":
        return [(name, best) for name in names]
    if attribute.compare != "pairs":
        return attribute.pairs
    return [*((a, b) for i, a in enumerate(names) for b in names[i + 1 :]), *((name, best) for name in names)]


def _gap(
    a: Measured, b: Measured, tolerance: float | None, rules: Policy, level: float, cluster: Ints | None
) -> Gap | None:
    """The comparison, by the way that both estimates allow; None where nothing varies."""
    if isinstance(a, Counted) and isinstance(b, Counted):
        counts = (*a, *b)
        return Gap(
            estimate=a.k / a.n - b.k / b.n,
            shown=newcombe(*counts, rules.confidence),
            bounds=newcombe(*counts, 1 - 2 * rules.alpha),
            p=_p(*counts, tolerance),
            detectable=minimum_detectable_effect(b.k / b.n, a.n, b.n, alpha=rules.alpha),
            needed=None if tolerance is None else rows_needed(*counts, tolerance, alpha=level),
        )
    if isinstance(a, Area) and isinstance(b, Area):
        means = compare_areas(a, b, cluster=cluster)
        shown, bounds = (
            area_difference(a, b, confidence, cluster=cluster)
            for confidence in (rules.confidence, 1 - 2 * rules.alpha)
        )
        return _from(means, shown, bounds, size_of(a), size_of(b), tolerance, rules, level)
    if isinstance(a, Moments) and isinstance(b, Moments):
        means = welch_of(a, b)
        spread = (a.variance, b.variance)
    elif isinstance(a, Resampled) and isinstance(b, Resampled):
        if cluster is not None and np.intersect1d(cluster[a.rows], cluster[b.rows]).size:
            raise DataError(
                "two groups share clusters, so that a metric of your own has no error of their difference: leave the "
                "metric or the clusters out."
            )
        means = Means(a.estimate - b.estimate, math.hypot(a.se, b.se), float(min(a.units, b.units) - 1))
        spread = (a.se**2 * a.n, b.se**2 * b.n)
    elif isinstance(a, Surveyed) and isinstance(b, Surveyed):
        return _of_surveys(a, b, tolerance, rules, level, cluster)
    else:
        assert isinstance(a, Influenced) and isinstance(b, Influenced)
        means = difference(a, b, cluster=cluster)
        spread = (a.means(cluster).se ** 2 * a.n, b.means(cluster).se ** 2 * b.n)
    if not means.se > 1e-9 * max(abs(value_of(a) or 0.0), abs(value_of(b) or 0.0)):
        return None
    return _from(
        means,
        means.interval(rules.confidence),
        means.interval(1 - 2 * rules.alpha),
        a.n,
        b.n,
        tolerance,
        rules,
        level,
        spread,
    )


def _of_surveys(
    a: Surveyed, b: Surveyed, tolerance: float | None, rules: Policy, level: float, cluster: Ints | None
) -> Gap | None:
    """Newcombe's interval from effective numbers of rows; where the two share rows or clusters, Student's."""
    means = difference(a.influenced, b.influenced, cluster=cluster)
    if not means.se > 0:
        return None
    spread = tuple(one.influenced.means(cluster).se ** 2 * one.n for one in (a, b))
    if shared(a.influenced, b.influenced, cluster) or a.clustered is None or b.clustered is None:
        shown, bounds = (means.interval(c) for c in (rules.confidence, 1 - 2 * rules.alpha))
    else:
        shown, bounds = (
            newcombe_clustered(a.clustered, b.clustered, c) for c in (rules.confidence, 1 - 2 * rules.alpha)
        )
    return _from(means, shown, bounds, a.n, b.n, tolerance, rules, level, (spread[0], spread[1]))


def _from(
    means: Means,
    shown: Interval,
    bounds: Interval,
    n_a: int,
    n_b: int,
    tolerance: float | None,
    rules: Policy,
    level: float,
    spread: tuple[float, float] | None = None,
) -> Gap:
    power = float(stats.norm.ppf(1 - rules.alpha / 2) + stats.norm.ppf(0.8))
    if spread is None:  # what each side adds is not told apart: as of groups that vary alike
        spread = (means.se**2 / (1 / n_a + 1 / n_b),) * 2
    needed = None
    if tolerance is not None:
        needed = mean_rows_needed(means.estimate, spread, (n_a, n_b), tolerance, alpha=level)
    return Gap(
        estimate=means.estimate,
        shown=shown,
        bounds=bounds,
        p=means.exceeds_p(tolerance or 0.0),
        detectable=power * means.se,
        needed=needed,
    )


def _p(k1: int, n1: int, k2: int, n2: int, tolerance: float | None) -> float:
    """p of a pair: exact where a tolerance is declared and the tables can be listed, else the score test's."""
    if tolerance is not None and is_small(n1, n2):
        return exact_exceeds_p(k1, n1, k2, n2, tolerance)
    return exceeds_p(k1, n1, k2, n2, tolerance or 0.0)


def _value(made: Measured) -> float | None:
    return made.estimate if isinstance(made, Area) else value_of(made)


def _why_not(named: Mapping[str, Measured], rules: Policy, cluster: Ints | None) -> tuple[str, Status]:
    """Why a pair cannot be compared, and its status; "" where it can."""
    reasons: list[str] = []
    worst: Status = "ok"
    for name, made in named.items():
        status, note = status_of(made, rules, cluster)
        if status != "ok":
            worst = status
            reasons.append(f"{'everybody' if name == ALL else name}: {note}")
    return "; ".join(reasons), worst


def _unsettled(
    attribute: Attribute,
    metric: str,
    group: str,
    reference: str,
    n1: int,
    n2: int,
    tolerance: float | None,
    reason: str,
    status: Status,
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
        status="insufficient" if status == "ok" else status,
        verdict=None if tolerance is None else "not assessed",
        reason=reason,
    )
