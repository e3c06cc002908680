"""What decisions cost in a unit that a reviewer knows: a cost for each label and prediction, by group."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError, UsageError, did_you_mean, first
from .cost_matrices import CostMatrix, as_text
from .group_rows import Floats, Ints, positions, take
from .influence import Influenced, difference
from .intervals import Interval
from .scored import Undefined, sampling_weights


def costs_of(label: Sequence[Any], prediction: Sequence[Any], matrix: CostMatrix) -> Floats:
    """The cost of each row, (row,), in the matrix's unit.

    Raises:
        DataError: columns of two lengths, or a value that the matrix has no cost for.
    """
    if len(label) != len(prediction):
        raise DataError(f"there are {len(label)} labels and {len(prediction)} predictions.")
    codes = []
    for what, values, known in (
        ("label", label, matrix.labels),
        ("prediction", prediction, matrix.predictions),
    ):
        position = {name: i for i, name in enumerate(known)}
        found = [position.get(as_text(value), -1) for value in values]
        strange = [i for i, at in enumerate(found) if at < 0]
        if strange:
            name = as_text(values[strange[0]])
            raise DataError(
                f"{what} {name!r} has no cost; {len(strange)} rows, first, counted from 0: {first(strange)}. "
                f"{did_you_mean(name, known)} Give it a cost, or correct the rows."
            )
        codes.append(np.asarray(found, dtype=np.int64))
    table = np.array([[matrix.cells[y][p] for p in matrix.predictions] for y in matrix.labels])
    made: Floats = table[codes[0], codes[1]]
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupCost:
    """What the decisions about a group cost."""

    group: str
    n: int
    per_decision: float | None  # mean, in `unit`; None without rows
    low: float | None  # None where there is no standard error: see the note
    high: float | None
    total: float  # over the rows seen
    unit: str
    note: str


def expected_cost(
    cost: Floats,
    *,
    rows: Ints | None = None,
    count: Ints | None = None,
    weight: npt.ArrayLike | None = None,
) -> Influenced | Undefined:
    """The mean cost of a decision, of a group's rows; undefined without rows.

    Args:
        cost: (row,) of `costs_of`.
        rows: positions of the group's rows; None: all.
        count: (row,) how often each row counts.
        weight: (row,) sampling weights.
    """
    columns: dict[str, npt.ArrayLike] = {"cost": cost}
    if weight is not None:
        columns["weight"] = sampling_weights(weight)
    part = take(rows=rows, count=count, **columns)
    if part.weightless:
        return Undefined(reason="nobody in the denominator", n=part.n)
    values, pull = part.numbers("cost"), part.pull
    mean = part.mean(pull * values)
    return part.influenced(mean, pull * (values - mean))


def group_costs(
    label: Sequence[Any],
    prediction: Sequence[Any],
    group: Sequence[str | None],
    matrix: CostMatrix,
    *,
    count: Ints | None = None,
    cluster: Ints | None = None,
    confidence: float = 0.95,
) -> tuple[GroupCost, ...]:
    """The cost of a decision about each group, with Student's (cluster-robust) interval; unknown is a group, last."""
    if not 0 < confidence < 1:
        raise UsageError(f"confidence is {confidence}; expected between 0 and 1.")
    cost = costs_of(label, prediction, matrix)
    if len(group) != len(cost):
        raise DataError(f"group names {len(group)} rows, there are {len(cost)}: one group a row.")
    made = []
    for name, rows in positions(group).items():
        mean = expected_cost(cost, rows=rows, count=count)
        if isinstance(mean, Undefined):
            ends, note = None, mean.reason
        else:
            ends, note = _interval(mean, confidence, cluster)
        made.append(
            GroupCost(
                group=name,
                n=mean.n,
                per_decision=None if isinstance(mean, Undefined) else mean.estimate,
                low=ends.low if ends else None,
                high=ends.high if ends else None,
                total=0.0 if isinstance(mean, Undefined) else mean.estimate * mean.n,
                unit=matrix.unit,
                note=note,
            )
        )
    return tuple(made)


def cost_difference(
    cost: Floats,
    group: Ints,
    reference: Ints,
    *,
    count: Ints | None = None,
    cluster: Ints | None = None,
    confidence: float = 0.95,
) -> tuple[float, Interval] | Undefined:
    """Cost of a decision about the group minus that about the reference, with its interval (Welch's, or by cluster).

    Args:
        cost: (row,) of `costs_of`.
        group: positions of its rows.
        reference: positions of its rows.
        count: (row,) how often each row counts.
        cluster: (row,) codes of what was drawn independently.
        confidence: of the interval.

    Returns:
        The difference in the matrix's unit and its interval; Undefined where one of them has no rows.

    Raises:
        DataError: one row, or one cluster, has no standard error.
    """
    one = expected_cost(cost, rows=group, count=count)
    other = expected_cost(cost, rows=reference, count=count)
    if isinstance(one, Undefined):
        return one
    if isinstance(other, Undefined):
        return other
    made = difference(one, other, cluster=cluster)
    return made.estimate, made.interval(confidence)


def _interval(mean: Influenced, confidence: float, cluster: Ints | None) -> tuple[Interval | None, str]:
    if mean.n < 2:
        return None, "one row has no standard error"
    if not np.any(mean.influence):
        return None, "every decision costs the same: there is no standard error"
    if cluster is not None:
        rows = mean.rows if mean.rows is not None else np.arange(len(mean.influence))
        counted = rows if mean.count is None else rows[mean.count > 0]
        if len(np.unique(cluster[counted])) < 2:
            return None, "all rows are in one cluster: their standard error is unknown"
    return mean.interval(confidence, cluster=cluster), ""
