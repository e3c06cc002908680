"""Every pair of groups compared: the gap, its interval, its bounds, its p, and the rows that would settle it."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from ..records import Finding, Status
from .attributes import Attribute
from .cells import status_of
from .counts import Counts
from .exact import exact_exceeds_p, is_small
from .intervals import (
    Interval,
    exceeds_p,
    mean_rows_needed,
    minimum_detectable_effect,
    newcombe,
    rows_needed,
    welch,
)
from .metrics import METRICS
from .policy import Policy

FLAT = "the values are the same in every row: there is no standard error"


def rate_findings(
    attribute: Attribute, counts: Mapping[str, Counts], rates: Sequence[str], rules: Policy, level: float
) -> list[Finding]:
    """Each available rate, each pair: Newcombe's interval and bounds, p, what could be detected. No verdict yet.

    `level` is the strictest level of Holm's family: what more rows are planned for.
    """
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


def mean_findings(
    attribute: Attribute, means: Mapping[str, npt.NDArray[np.float64]], rules: Policy, level: float
) -> list[Finding]:
    """Each mean, each pair: Welch's interval and bounds, p, what could be detected. No verdict yet."""
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
            power = _effect_size(rules.alpha)
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
    return float(stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power))


def _blank(
    attribute: Attribute,
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
        status, note = status_of(n, rules)
        if status == "ok" and n < least:
            status, note = "insufficient", "one row has no standard error"
        if status != "ok":
            worst = status
            reasons.append(f"{name}: {note}")
    if not reasons:
        return None
    return _unsettled(attribute, metric, group, reference, n1, n2, tolerance, "; ".join(reasons), worst)


def _unsettled(
    attribute: Attribute,
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
    attribute: Attribute,
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
