"""Gaps between groups: differences, ratios, and the summaries that are published of them."""

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

from .counts import Counts
from .metrics import BY_NAME


def rate(metric: str, counts: Counts) -> float | None:
    """A rate of the table, None where its denominator is zero."""
    k, n = BY_NAME[metric].of(counts)
    return k / n if n else None


def difference(rates: Mapping[str, float | None]) -> float | None:
    """Largest minus smallest of the defined rates (fairlearn's `difference(method="between_groups")`)."""
    defined = [value for value in rates.values() if value is not None]
    return max(defined) - min(defined) if len(defined) > 1 else None


def ratio(rates: Mapping[str, float | None]) -> float | None:
    """Smallest over largest of the defined rates; None where the largest is zero."""
    defined = [value for value in rates.values() if value is not None]
    return min(defined) / max(defined) if len(defined) > 1 and max(defined) > 0 else None


def to_overall(rates: Mapping[str, float | None], overall: float) -> float | None:
    """The largest distance of a defined rate from the overall rate."""
    defined = [abs(value - overall) for value in rates.values() if value is not None]
    return max(defined) if defined else None


def _pair(metric: str, a: Counts, b: Counts) -> float | None:
    first, second = rate(metric, a), rate(metric, b)
    return None if first is None or second is None else first - second


def equalized_odds_difference(a: Counts, b: Counts) -> float | None:
    """The larger of the true-positive-rate gap and the false-positive-rate gap (Hardt et al. 2016)."""
    tpr, fpr = _pair("true_positive_rate", a, b), _pair("false_positive_rate", a, b)
    return None if tpr is None or fpr is None else max(abs(tpr), abs(fpr))


def average_odds_difference(a: Counts, b: Counts) -> float | None:
    """Mean of the signed gaps: opposite gaps cancel, so nothing may be gated on it."""
    tpr, fpr = _pair("true_positive_rate", a, b), _pair("false_positive_rate", a, b)
    return None if tpr is None or fpr is None else (tpr + fpr) / 2


def average_absolute_odds_difference(a: Counts, b: Counts) -> float | None:
    """Mean of the absolute gaps."""
    tpr, fpr = _pair("true_positive_rate", a, b), _pair("false_positive_rate", a, b)
    return None if tpr is None or fpr is None else (abs(tpr) + abs(fpr)) / 2


class Impact(NamedTuple):
    """A group's selection against a reference's: the four-fifths rule's quantities, kept apart."""

    ratio: float
    below_four_fifths: bool
    z: float  # pooled two-proportion statistic
    shortfall_to_rule: int  # selections more that would reach four fifths
    shortfall_to_parity: int


def adverse_impact(k: int, n: int, k_reference: int, n_reference: int) -> Impact:
    """Impact ratio, its test and its shortfall (29 CFR 1607.4(D)), in exact fractions: 80 % is not below 80 %.

    Shortfalls are to the nearest whole selection.

    Raises:
        ValueError: the reference selected nobody.
    """
    if k_reference == 0:
        raise ValueError("the reference selected nobody: there is no ratio")
    ours, theirs = Fraction(k, n), Fraction(k_reference, n_reference)
    rule = Fraction(4, 5)
    pooled = (k + k_reference) / (n + n_reference)
    se = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / n_reference))
    return Impact(
        ratio=float(ours / theirs),
        below_four_fifths=ours / theirs < rule,
        z=float(ours - theirs) / se if se else 0.0,
        shortfall_to_rule=max(0, round(rule * theirs * n) - k),
        shortfall_to_parity=max(0, round(theirs * n) - k),
    )
