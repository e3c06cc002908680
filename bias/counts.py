"""Sufficient statistics of one group: what every rate is computed from, and what adds up across files."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Cells of a group's confusion matrix. Without labels, `fp` holds the selected and `tn` the others."""

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0
    labelled: bool = True

    @property
    def n(self) -> int:
        """Rows counted."""
        return self.tp + self.fp + self.fn + self.tn

    def __add__(self, other: "Counts") -> "Counts":
        """Counts of both together, exactly."""
        if self.labelled != other.labelled:
            raise ValueError("counts with labels and counts without cannot be added")
        return Counts(
            tp=self.tp + other.tp,
            fp=self.fp + other.fp,
            fn=self.fn + other.fn,
            tn=self.tn + other.tn,
            labelled=self.labelled,
        )


def count(prediction: Bools, label: Bools | None = None) -> Counts:
    """Counts of some rows from their decisions and, where there are any, their labels."""
    if label is None:
        selected = int(prediction.sum())
        return Counts(fp=selected, tn=len(prediction) - selected, labelled=False)
    tn, fn, fp, tp = np.bincount(prediction.astype(int) * 2 + label.astype(int), minlength=4).tolist()
    return Counts(tp=tp, fp=fp, fn=fn, tn=tn)


def count_groups(
    members: Mapping[str, npt.ArrayLike], prediction: Bools, label: Bools | None = None
) -> dict[str, Counts]:
    """Counts of each group, from the positions of its rows."""
    made = {}
    for name, rows in members.items():
        index = np.asarray(rows, dtype=np.intp)
        made[name] = count(prediction[index], None if label is None else label[index])
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Rows, mean and sum of squared deviations of a score or a measure in one group."""

    n: int = 0
    mean: float = 0.0  # of no rows: 0, and not to be used
    squares: float = 0.0

    @property
    def variance(self) -> float:
        """The sample variance; needs two rows."""
        if self.n < 2:
            raise ValueError("two rows are needed for a variance")
        return self.squares / (self.n - 1)

    def __add__(self, other: "Moments") -> "Moments":
        """Moments of both together (Chan, Golub & LeVeque 1979, eq. 2.1), to rounding."""
        n = self.n + other.n
        if not self.n or not other.n:
            return other if not self.n else self
        step = other.mean - self.mean
        return Moments(
            n=n,
            mean=self.mean + step * other.n / n,
            squares=self.squares + other.squares + step * step * self.n * other.n / n,
        )


def moments(values: npt.NDArray[np.float64]) -> Moments:
    """Moments of some rows, the same to the last bit in whatever order they come."""
    n = len(values)
    if n == 0:
        return Moments()
    if values.min() == values.max():  # rounding must not make a constant vary
        return Moments(n=n, mean=float(values[0]))
    mean = math.fsum(values.tolist()) / n
    return Moments(n=n, mean=mean, squares=math.fsum(np.square(values - mean).tolist()))
