"""One fix paired with any other, row by row: its utility for everybody, its rates in each group."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from ..errors import UsageError, did_you_mean
from .attributes import Attribute
from .changes import Moved, Side, gap_moved, side_of
from .groups import ALL, OTHERS
from .influence import Ints
from .two_models import TwoModels


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """One fix with what its point is made of."""

    name: str
    models: TwoModels
    utility: Side
    groups: dict[str, Side]  # group, or what a group is compared with


def place_fix(name: str, models: TwoModels, attribute: Attribute, gap: str, utility: str) -> Placed:
    """Utility of everybody and the gap's metric of every group, without the fix and with it.

    Raises:
        UsageError: a metric that these columns do not allow.
    """
    for metric in (gap, utility):
        if metric not in models.measured:
            raise UsageError(
                f"{metric!r} cannot be computed of {name}: {did_you_mean(metric, list(models.measured))}"
            )
    everybody = np.arange(models.design.size)
    groups = {who: models.side(gap, rows) for who, rows in compared_rows(attribute).items()}
    return Placed(name=name, models=models, utility=models.side(utility, everybody), groups=groups)


def compared_rows(attribute: Attribute) -> dict[str, Ints]:
    """Rows of each group that is compared and of what it is compared with; everybody else as `OTHERS + group`."""
    made: dict[str, Ints] = {}
    for group, reference in attribute.pairs:
        made[group] = np.asarray(attribute.rows(group), dtype=np.int64)
        key = OTHERS + group if reference == OTHERS else reference
        made[key] = np.asarray(attribute.rows(reference, but=group), dtype=np.int64)
    return made


def pair_keys(attribute: Attribute) -> list[tuple[str, str]]:
    """The comparisons of an attribute, by the names that `compared_rows` gives."""
    return [(g, OTHERS + g if r == OTHERS else r) for g, r in attribute.pairs]


def gap_before(one: Placed, pair: tuple[str, str]) -> float | None:
    """The size of a pair's gap without the fix; None where it is undefined."""
    values = [one.groups[who].before for who in pair]
    if values[0] is None or values[1] is None:
        return None
    return abs(values[0].estimate - values[1].estimate)


def growth_bounds(one: Placed, pair: tuple[str, str], alpha: float) -> tuple[float, float] | None:
    """Bounds, each one-sided at alpha, of how much larger a pair's gap is with the fix than without."""
    up = moved_gap(one, pair, alpha)
    down = moved_gap(_turned(one), pair, alpha)
    return None if up is None or down is None else (-down.upper_bound, up.upper_bound)


def moved_gap(one: Placed, pair: tuple[str, str], alpha: float) -> Moved | None:
    """How far a pair's gap moved and grew; its upper bound is one-sided at alpha."""
    return gap_moved(
        one.groups[pair[0]],
        one.groups[pair[1]],
        one.models.cluster,
        margin=None,
        alpha=alpha,
        confidence=1 - 2 * alpha,
        apart=pair[1] != ALL,
    )


def _turned(one: Placed) -> Placed:
    """Before and after exchanged."""

    def turn(side: Side) -> Side:
        own = None if side.own is None else side.own[::-1, ::-1]
        return dataclasses.replace(side, before=side.after, after=side.before, own=own)

    return dataclasses.replace(one, groups={who: turn(side) for who, side in one.groups.items()})


def paired_with(worse: Placed, better: Placed, attribute: Attribute) -> Placed:
    """Two fixes paired: `worse` before, `better` after."""

    def pair(one: Side, two: Side, rows: Ints) -> Side:
        return side_of(
            one.after,
            two.after,
            rows,
            worse.models.design,
            sizes=(one.n_after, two.n_after),
            is_rate=one.is_rate,
        )

    rows = compared_rows(attribute)
    return Placed(
        name=better.name,
        models=worse.models,
        utility=pair(worse.utility, better.utility, np.arange(worse.models.design.size)),
        groups={who: pair(worse.groups[who], better.groups[who], rows[who]) for who in rows},
    )
