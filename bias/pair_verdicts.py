"""Flip rates and score shifts of swapped pairs against the tolerances that somebody declared."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError, did_you_mean
from ..records import Verdict
from .multiplicity import holm
from .pair_statistics import Bound, mean_bound, rate_bound

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
MEASURES = ("flip_rate", "mean_shift", "mean_absolute_shift")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One measure of one direction against its tolerance."""

    direction: str
    measure: str  # of MEASURES
    tolerance: float
    estimate: float | None
    upper_bound: float | None  # one-sided 1 - alpha
    p: float | None  # of "no more than the tolerance"
    p_adjusted: float | None  # Holm over everything judged here
    n_needed: int | None  # more pairs that would settle an inconclusive one
    verdict: Verdict
    reason: str = ""


def tolerances(given: Mapping[str, Any]) -> dict[str, float]:
    """The tolerances, checked.

    Raises:
        UsageError: an unknown measure, or a number that is no tolerance.
    """
    for name, value in given.items():
        if name not in MEASURES:
            raise UsageError(f"there is no measure {name!r} of pairs: {did_you_mean(name, MEASURES)}")
        if not (isinstance(value, (int, float)) and math.isfinite(value) and value >= 0):
            raise UsageError(f"the tolerance of {name} is {value!r}; a number of 0 or more is expected.")
        if name == "flip_rate" and value >= 1:
            raise UsageError(
                f"the tolerance of flip_rate is {value}; a share below 1 is expected, as 0.05 for 5 %."
            )
    return {name: float(value) for name, value in given.items()}


def judge(
    places: Mapping[str, Ints],
    flipped_: Bools | None,
    shifts: Floats | None,
    codes: Ints | None,
    declared: Mapping[str, float],
    alpha: float,
    minimum: int,
) -> tuple[Judged, ...]:
    """A verdict for each direction and declared measure; see `counterfactuals.compare_pairs`.

    Args:
        places: direction -> positions of its pairs.
        codes: (pair,) clusters; None where every pair is its own.
    """
    found: list[tuple[str, str, Bound | None, str]] = []
    for direction, where in places.items():
        inside = None if codes is None else codes[where]
        units = len(where) if inside is None else len(np.unique(inside))
        for measure, allowed in declared.items():
            if measure == "mean_shift" and " & " in direction:
                continue
            values = flipped_ if measure == "flip_rate" else shifts
            if values is None:
                needs = "predictions or a threshold" if measure == "flip_rate" else "scores"
                found.append((direction, measure, None, f"{measure} needs {needs}"))
            elif units < minimum:
                what = "pairs" if inside is None else "clusters of pairs"
                found.append((direction, measure, None, f"{units} {what}; {minimum} are needed to judge"))
            elif measure == "flip_rate":
                bound = rate_bound(values[where].astype(np.bool_), allowed, cluster=inside, alpha=alpha)
                found.append((direction, measure, bound, ""))
            else:
                signed = measure == "mean_shift"
                part = values[where].astype(np.float64)
                part = part if signed else np.abs(part)
                bound = mean_bound(part, allowed, cluster=inside, alpha=alpha, signed=signed)
                found.append((direction, measure, bound, ""))
    adjusted = iter(holm([bound.p for _, _, bound, _ in found if bound is not None]).tolist())
    made = [
        _not_assessed(direction, measure, declared[measure], reason)
        if bound is None
        else _verdict(direction, measure, declared[measure], bound, next(adjusted), alpha)
        for direction, measure, bound, reason in found
    ]
    if declared and not made:
        reason = "texts name several groups each, so that their shift has no direction"
        made.append(_not_assessed("all", "mean_shift", declared["mean_shift"], reason))
    return tuple(made)


def _not_assessed(direction: str, measure: str, tolerance: float, reason: str) -> Judged:
    return Judged(
        direction=direction,
        measure=measure,
        tolerance=tolerance,
        estimate=None,
        upper_bound=None,
        p=None,
        p_adjusted=None,
        n_needed=None,
        verdict="not assessed",
        reason=reason,
    )


def _verdict(
    direction: str, measure: str, tolerance: float, bound: Bound, adjusted: float, alpha: float
) -> Judged:
    verdict: Verdict = "inconclusive"
    reason = ""
    if adjusted < alpha:
        verdict = "exceeds tolerance"
    elif bound.upper <= tolerance:
        verdict = "within tolerance"
    else:
        reason = (
            "no number of pairs settles it"
            if bound.n_needed is None
            else f"about {bound.n_needed} more pairs would settle a value of this size"
        )
    return Judged(
        direction=direction,
        measure=measure,
        tolerance=tolerance,
        estimate=bound.estimate,
        upper_bound=bound.upper,
        p=bound.p,
        p_adjusted=adjusted,
        n_needed=bound.n_needed if verdict == "inconclusive" else None,
        verdict=verdict,
        reason=reason,
    )
