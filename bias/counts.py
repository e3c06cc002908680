"""Sufficient statistics of one group: what every rate is computed from, and what adds up across files."""

from collections.abc import Mapping, Sequence
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
    members: Mapping[str, Sequence[int]], prediction: Bools, label: Bools | None = None
) -> dict[str, Counts]:
    """Counts of each group, from the positions of its rows."""
    made = {}
    for name, rows in members.items():
        index = np.asarray(rows, dtype=int)
        made[name] = count(prediction[index], None if label is None else label[index])
    return made
