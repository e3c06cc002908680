"""Which method to use for a model, from the evidence; and what a reader has to know of the others."""

from collections.abc import Mapping, Sequence

from ..records import Attribution, Measured
from .measures import AREA, CHANCE, COMPREHENSIVENESS
from .methods import BY_NAME

ATTENTION = (
    "attention is not an explanation: where a head looks is not what moves the target. Values, feed-forward layers, "
    "signs and the target are not in it; shown as a baseline"
)
KEPT = 0.95  # share of rows in which sums have to be what was promised, for a method to count as adding up
BLIND = "does not depend on the target: it cannot tell evidence for a label from evidence against it"


def ranked(measured: Sequence[Measured]) -> tuple[str, ...]:
    """Methods by the area between the curves over all rows, best first; those without one last."""
    areas = [one for one in measured if one.measure == AREA and one.group == ""]
    ordered = sorted(areas, key=lambda one: (one.estimate is None, -(one.estimate or 0.0)))
    return tuple(one.method for one in ordered)


def recommended(
    measured: Sequence[Measured], attributions: Mapping[str, Attribution]
) -> tuple[str | None, str]:
    """The method to use, and why.

    A candidate is better than random scores, and with the first (or first itself) on the area between the curves
    and on comprehensiveness: its mean lies within the interval of the best method's, or the interval of its paired
    difference to the best holds 0 (a difference can be sure and too small to matter). Of the candidates,
    those whose scores add up (as promised, in 95 % of the rows) go first, then the one with the larger area. Where no
    method is with the first on both, the first by area is taken. Where none is better than random scores, none is
    recommended.
    """
    area = {
        one.method: one
        for one in measured
        if one.measure == AREA and one.group == "" and one.method != CHANCE
    }
    whole = {one.method: one for one in measured if one.measure == COMPREHENSIVENESS and one.group == ""}
    able = [
        name for name, one in area.items() if one.above_chance_low is not None and one.above_chance_low > 0
    ]
    if not able:
        return None, "no method is shown to be better than random scores on these rows"
    best = [max(of.values(), key=lambda one: one.estimate or 0.0) for of in (area, whole)]
    both = [name for name in able if _with_first(area[name], best[0]) and _with_first(whole[name], best[1])]
    pool = both or able
    adding = [name for name in both if _adds_up(attributions[name])]
    chosen = max(adding or pool, key=lambda name: area[name].estimate or 0.0)
    if not both:
        return (
            chosen,
            "first by the area between the curves; no method is with the first on comprehensiveness too",
        )
    first = next(name for name in ranked(measured) if name != CHANCE)
    standing = "first" if chosen == first else f"with the first ({first})"
    sums = "its scores add up" if adding else "no method that adds up is with it"
    return (
        chosen,
        f"{standing} by the area between the curves and with the first on comprehensiveness; {sums}",
    )


def _adds_up(one: Attribution) -> bool:
    return one.adds_up and float(one.converged.mean()) >= KEPT


def _with_first(one: Measured, best: Measured) -> bool:
    """Whether a method is the best, within its interval, or not to be told from it on the same rows."""
    if one.estimate is None or one.behind is None:
        return False
    within = best.low is not None and one.estimate >= best.low
    return one.behind == 0 or within or (one.behind_low is not None and one.behind_low <= 0)


def labels(attributions: Mapping[str, Attribution]) -> tuple[str, ...]:
    """What has to be said of methods that are no explanation of the target, and of rows that did not converge."""
    made = []
    for name, attribution in attributions.items():
        method = BY_NAME.get(attribution.method)
        lower = attribution.method.lower()
        if method is not None and not method.class_specific:
            plain = any(word in lower for word in ("attention", "rollout"))
            made.append(f"{name}: {ATTENTION if plain else BLIND}")
        n = int((~attribution.converged).sum())
        if n:
            made.append(f"{name}: {n} of {len(attribution)} rows did not converge")
    return tuple(made)
