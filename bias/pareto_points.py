"""One fix as a point: its utility, the largest gap of any pair, and how far both are from what they were."""

import dataclasses
from typing import Any, Literal

import numpy as np

from ..errors import first
from ..records import Finding
from .attributes import Attribute
from .cells import cells_of
from .changes import Better, level_moved
from .groups import ALL
from .influence import Ints
from .pairs import findings_of
from .pareto_records import UNMITIGATED, Point
from .placed_fixes import Placed, compared_rows, gap_before, growth_bounds, pair_keys
from .policy import Policy

SCREENED = 0.1  # of the error of an interval: what is spent on telling which pairs may have the largest gap
Ends = tuple[float, float]


def point_of(
    one: Placed, attribute: Attribute, rules: Policy, gap: str, utility: str, better: Better
) -> Point:
    """The point of one fix, with nothing said yet of who dominates whom; `reason` where it has no place."""
    design = one.models.design
    findings = _gaps(one, attribute, rules, gap, "after", 1 - rules.confidence)
    everybody = np.arange(design.size)
    whole = cells_of(
        dataclasses.replace(attribute, members={ALL: everybody}),
        utility,
        {ALL: _estimate(one, utility, everybody, "after")},
        design,
        rules,
        scale=one.models.measured[utility].metric.scale,
    )[0]
    unsettled = [f"{f.group} and {f.reference}: {f.reason}" for f in findings if f.estimate is None]
    reason = first(unsettled, 2) if unsettled else whole.note if whole.estimate is None else ""
    known: dict[str, Any] = dict.fromkeys(f.name for f in dataclasses.fields(Point))
    known |= {"name": one.name, "n": one.models.n, "group": "", "reference": "", "reason": reason}
    known |= {"dominated_by": (), "behind": ()}
    if reason:
        return Point(**known)
    widest = max(findings, key=_size)
    ends = [_absolute(f) for f in findings]
    known |= {
        "utility": whole.estimate,
        "utility_low": whole.low,
        "utility_high": whole.high,
        "gap": _size(widest),
        "gap_low": max(low for low, _ in ends),
        "gap_high": max(high for _, high in ends),
        "group": widest.group,
        "reference": widest.reference,
    }
    if one.name == UNMITIGATED:
        return Point(**known)
    moved = level_moved(
        one.utility,
        design.cluster,
        better=better,
        margin=None,
        alpha=rules.alpha,
        confidence=rules.confidence,
    )
    if moved is not None:
        known |= {
            "utility_change": moved.after - moved.before,
            "utility_change_low": moved.low,
            "utility_change_high": moved.high,
        }
    sizes = [gap_before(one, pair) for pair in pair_keys(attribute)]
    largest = [size for size in sizes if size is not None]
    if len(largest) == len(sizes):
        known["gap_change"] = _size(widest) - max(largest)
        bounds = _largest_moved(one, attribute, rules, gap)
        if bounds is not None:
            known["gap_change_low"], known["gap_change_high"] = bounds
    return Point(**known)


def _largest_moved(one: Placed, attribute: Attribute, rules: Policy, gap: str) -> Ends | None:
    """How far the largest gap moved: max |a| - max |b| over pairs, a with the fix and b without it.

    It is at least the growth of the pair that has the largest gap without the fix, and at most that of the pair that
    has it with the fix. Which pairs these are is told by simultaneous intervals: a pair whose upper end is under some
    other's lower end has not the largest gap. A tenth of the error of each side is spent on that, where there is more
    than one pair; the rest on the growths of the pairs that remain, which need no adjustment among themselves.
    """
    pairs = pair_keys(attribute)
    error = (1 - rules.confidence) / 2
    spent = SCREENED * error if len(pairs) > 1 else 0.0
    low: float | None = None
    high: float | None = None
    for when in ("before", "after"):
        able = list(range(len(pairs)))
        if spent:
            ends = [_absolute(f) for f in _gaps(one, attribute, rules, gap, when, spent)]
            able = [i for i in able if ends[i][1] >= max(start for start, _ in ends)]
        bounds = [growth_bounds(one, pairs[i], error - spent) for i in able]
        settled = [part for part in bounds if part is not None]
        if len(settled) < len(bounds):
            return None
        if when == "before":
            low = min(start for start, _ in settled)
        else:
            high = max(end for _, end in settled)
    return None if low is None or high is None else (low, high)


def _gaps(
    one: Placed, attribute: Attribute, rules: Policy, gap: str, when: Literal["before", "after"], error: float
) -> list[Finding]:
    """Every pair with an interval; all of them hold together but for this error (Bonferroni)."""
    return findings_of(
        attribute,
        gap,
        {who: _estimate(one, gap, rows, when) for who, rows in compared_rows(attribute).items()},
        rules.model_copy(update={"confidence": 1 - error / len(attribute.pairs)}),
        rules.alpha,
        tolerance=None,
        cluster=one.models.design.cluster,
    )


def _estimate(one: Placed, metric: str, rows: Ints, when: Literal["before", "after"]) -> Any:
    measured = one.models.measured[metric]
    columns = measured.before if when == "before" else measured.after
    return measured.metric.estimate(dataclasses.replace(columns, design=one.models.design), rows, exact=True)


def _size(finding: Finding) -> float:
    return abs(finding.estimate or 0.0)


def _absolute(finding: Finding) -> Ends:
    """The interval of a difference as one of its absolute value; of one that is unknown, anything."""
    if finding.low is None or finding.high is None:
        return 0.0, float("inf")
    return max(0.0, finding.low, -finding.high), max(abs(finding.low), abs(finding.high))
