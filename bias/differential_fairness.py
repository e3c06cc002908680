"""How far apart the chances of an outcome are in any two groups: smoothed empirical differential fairness."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ..errors import DataError, UsageError, first
from .counts import Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferentialFairness:
    """The largest |ln p_i - ln p_j| of any outcome and any two groups, and where it is.

    With epsilon e, no outcome is more than exp(e) times as likely in one group as in another.
    """

    epsilon: float | None  # None with fewer than two groups that have rows
    low: float | None
    high: float | None
    outcome: str | None  # at which it is largest
    likelier: str | None  # group
    less_likely: str | None  # group
    n_comparisons: int
    concentration: float
    confidence: float
    without_rows: tuple[str, ...]  # groups that the prior alone would have spoken for


def decisions(counts: Mapping[str, Counts]) -> dict[str, dict[str, int]]:
    """Group -> outcome -> rows, of the two outcomes of a decision."""
    return {group: {"selected": c.tp + c.fp, "not selected": c.fn + c.tn} for group, c in counts.items()}


def differential_fairness(
    outcomes: Mapping[str, Mapping[str, int]], *, concentration: float = 0.5, confidence: float = 0.95
) -> DifferentialFairness:
    """Smoothed empirical differential fairness of outcomes by group (Foulds et al., "An
    intersectional definition of fairness", ICDE 2020, first of 2018: its smoothed estimator).

    p = (k + a) / (n + R a) for R outcomes, with a the concentration of each outcome: at .5 and two outcomes what
    others call a total concentration of 1. Every outcome that any group has is an outcome of all of them.

    The interval is simultaneous over pairs and outcomes (Bonferroni), by the delta method on the log scale,
    var(ln p) = 1 / (k + a) - 1 / (n + R a): its lower end is the largest lower end of a comparison, or 0, its upper
    end the largest upper end. A percentile bootstrap of a largest gap would leave out 0 where there is no gap.
    Rows are taken to be independent.

    Args:
        outcomes: group -> outcome -> rows.
        concentration: above 0.
        confidence: of the interval.

    Raises:
        DataError: a negative count, or fewer than two outcomes.
        UsageError: a concentration of 0 or less, where a group without an outcome has no finite logarithm.
    """
    if not (math.isfinite(concentration) and concentration > 0):
        raise UsageError(f"the concentration is {concentration}; a number above 0 is expected.")
    if not 0 < confidence < 1:
        raise UsageError(f"confidence is {confidence}; expected between 0 and 1.")
    names = sorted({outcome for counted in outcomes.values() for outcome in counted})
    if len(names) < 2:
        raise DataError(
            f"there is the outcome {first(names)}; two are expected. Name the outcomes with 0 rows too."
        )
    negative = [group for group, counted in outcomes.items() if any(k < 0 for k in counted.values())]
    if negative:
        raise DataError(f"groups {first(negative)} have a negative number of rows.")
    sizes = {group: sum(counted.values()) for group, counted in outcomes.items()}
    empty = tuple(group for group, n in sizes.items() if n == 0)
    known = [group for group, n in sizes.items() if n]
    n_comparisons = math.comb(len(known), 2) * len(names)
    at: tuple[str, str, str] | None = None
    epsilon, low, high = 0.0, 0.0, 0.0
    z = float(stats.norm.isf((1 - confidence) / (2 * max(1, n_comparisons))))

    k = np.array([[outcomes[group].get(name, 0) + concentration for name in names] for group in known])
    n = np.array([[sizes[group] + len(names) * concentration] for group in known])
    p, v = np.array([[math.log(ratio) for ratio in row] for row in (k / n).tolist()]), 1 / k - 1 / n
    for one in range(len(known) - 1):  # one group with all that follow at once: (group, outcome)
        apart = np.abs(p[one] - p[one + 1 :])
        half = z * np.sqrt(v[one] + v[one + 1 :])
        most = float(apart.max())
        if at is None or most > epsilon:
            other, outcome = divmod(int(apart.argmax()), len(names))
            other += one + 1
            more, less = (one, other) if p[one, outcome] >= p[other, outcome] else (other, one)
            epsilon, at = most, (names[outcome], known[more], known[less])
        low, high = max(low, float((apart - half).max())), max(high, float((apart + half).max()))
    found = at is not None
    return DifferentialFairness(
        epsilon=epsilon if found else None,
        low=low if found else None,
        high=high if found else None,
        outcome=at[0] if at else None,
        likelier=at[1] if at else None,
        less_likely=at[2] if at else None,
        n_comparisons=n_comparisons,
        concentration=concentration,
        confidence=confidence,
        without_rows=empty,
    )
