"""Rows with a score, checked once: what each was given, how it came out, and how many rows it stands for."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import DataError, first
from .group_rows import Bools, Floats, Ints, column, take, truth
from .influence import Influenced


@dataclass(frozen=True, slots=True, kw_only=True)
class Undefined:
    """A quantity that does not exist for these rows, and why: never 0, never NaN."""

    reason: str
    n: int  # rows there were


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Some rows of a table. `rows` are their positions in it, so that estimates of several groups can be compared."""

    score: Floats  # (taken,)
    label: Bools  # (taken,)
    count: Ints | None  # (taken,) equal rows that each stands for; None: one
    weight: Floats | None  # (taken,) sampling weights; None: one
    rows: Ints | None  # (taken,); None: all rows of the table, in order

    @property
    def n(self) -> int:
        """Rows, each as often as it counts."""
        return len(self.score) if self.count is None else int(self.count.sum())

    @property
    def mass(self) -> Floats:
        """What each row adds to a sum: its count times its weight. (taken,)"""
        if self.count is None:
            return np.ones(len(self.score)) if self.weight is None else self.weight
        return self.count.astype(np.float64) if self.weight is None else self.count * self.weight

    def size(self, among: Bools) -> float:
        """Rows of a part; with weights Kish's effective number, (sum w)^2 / sum w^2 (1965, section 11.7)."""
        count = np.ones(len(self.score)) if self.count is None else self.count.astype(np.float64)
        if self.weight is None:
            return float(count[among].sum())
        squares = float((count * self.weight**2)[among].sum())
        return float((count * self.weight)[among].sum()) ** 2 / squares if squares > 0 else 0.0

    def among(self, which: Bools, label: Bools | None = None) -> "Scored":
        """The rows where a mask is True, at their positions in the table; `label` (taken,) replaces the label."""
        return Scored(
            score=self.score[which],
            label=(self.label if label is None else label)[which],
            count=None if self.count is None else self.count[which],
            weight=None if self.weight is None else self.weight[which],
            rows=np.flatnonzero(which) if self.rows is None else self.rows[which],
        )

    def influenced(self, estimate: float, influence: Floats) -> Influenced:
        """An estimate with the influence of each of these rows."""
        return Influenced(estimate=estimate, influence=influence, rows=self.rows, count=self.count)


def scored(
    score: npt.ArrayLike,
    label: npt.ArrayLike,
    *,
    count: npt.ArrayLike | None = None,
    weight: npt.ArrayLike | None = None,
    rows: npt.ArrayLike | None = None,
    probability: bool = False,
) -> Scored:
    """Rows of a table with a score, after a check of everything handed in.

    Args:
        score: (row,) of the whole table.
        label: (row,) True is positive.
        count: (row,) how many equal rows each stands for; None: one.
        weight: (row,) sampling weights; None: one.
        rows: positions of the rows taken, each once; None takes all.
        probability: scores have to be between 0 and 1.

    Raises:
        DataError: columns of several lengths, a score that is no finite number or (`probability`) outside [0, 1],
            a label that is not boolean, a count that is negative or not whole, a negative weight.
    """
    columns: dict[str, npt.ArrayLike] = {
        "probability" if probability else "score": score,
        "label": truth(np.asarray(label), "label"),
    }
    if weight is not None:
        columns["weight"] = sampling_weights(weight)
    counted = None if count is None else np.asarray(count)
    part = take(rows=None if rows is None else np.asarray(rows, dtype=np.int64), count=counted, **columns)
    values = next(iter(part.columns.values()))
    if probability:
        probabilities(values, part.rows)
    return Scored(
        score=values,
        label=part.columns["label"] > 0,
        count=part.count,
        weight=part.columns.get("weight"),
        rows=part.rows,
    )


def probabilities(values: npt.ArrayLike, rows: Ints | None = None, name: str = "probability") -> Floats:
    """Numbers between 0 and 1, in one row.

    Raises:
        DataError: one is missing, not finite, or outside.
    """
    made: Floats = column(values, name)
    bad = np.flatnonzero((made < 0) | (made > 1))
    if bad.size:
        named = bad if rows is None else rows[bad]
        raise DataError(
            f"{name} has {bad.size} values outside [0, 1], e.g. {made[bad[0]]:g}; first rows, counted from 0: "
            f"{first(named)}. A logit becomes a probability by 1 / (1 + exp(-x)), a percentage by dividing by 100."
        )
    return made


def sampling_weights(values: npt.ArrayLike) -> Floats:
    """Weights of zero or more, in one row.

    Raises:
        DataError: one is missing, not finite, or negative.
    """
    made: Floats = column(values, "weight")
    bad = np.flatnonzero(made < 0)
    if bad.size:
        raise DataError(
            f"weight has {bad.size} values below 0, e.g. {made[bad[0]]:g}; first rows, counted from 0: {first(bad)}. "
            "A weight says how many people a row speaks for: leave rows out by a weight of 0."
        )
    return made
