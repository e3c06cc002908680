"""Row weights under which the label is independent of the group, for a model that is trained with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError, UsageError, first
from .group_rows import positions, same_length, truth

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
LABELS = ("negative", "positive")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reweighing:
    """The weight of each group with each label."""

    groups: tuple[str, ...]
    n: Floats  # (group, label) rows, or the sum of their sampling weights; labels are negative, positive
    weight: Floats  # (group, label)

    def rows(self, label: npt.ArrayLike, group: Sequence[str | None]) -> Floats:
        """The weight of each row, (row,); 1 where the group is unknown.

        Raises:
            DataError: a group that has no weight.
        """
        positive = truth(label, "label")
        names = np.asarray(group, dtype=object)
        same_length({"label": positive, "group": names})
        made = np.ones(len(positive))
        met = {g for g in names.tolist() if g is not None}
        stray = sorted(met - set(self.groups))
        if stray:
            raise DataError(
                f"there is no weight for the group {first(stray)}: weights are of {first(self.groups, 12)}."
            )
        for i, name in enumerate(self.groups):
            here = names == name
            made[here] = self.weight[i, positive[here].astype(np.int64)]
        return made

    @property
    def frame(self) -> Any:
        """Groups by labels as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.weight, index=pd.Index(self.groups, name="group"), columns=list(LABELS))


def reweighing(
    label: npt.ArrayLike, group: Sequence[str | None], *, weight: npt.ArrayLike | None = None
) -> Reweighing:
    """w(g, y) = P(g) P(y) / P(g, y): what was expected of independence over what is there.

    Under these weights every group has the base rate of all, each group weighs what it did, and so does each label.
    Rows of unknown group are counted in nothing and keep the weight 1.
    Source: Kamiran & Calders 2012, Knowledge and Information Systems 33, section 4.2.

    Args:
        label: (row,) True is positive.
        group: (row,) names; None is unknown.
        weight: (row,) how often each row counts, or its sampling weight.

    Raises:
        DataError: a group without a row of one label: no weight makes up for rows that are not there.
        UsageError: a weight that is negative or no number.
    """
    positive = truth(label, "label")
    names = np.asarray(group, dtype=object)
    times = np.ones(len(positive)) if weight is None else np.asarray(weight, dtype=np.float64)
    same_length({"label": positive, "group": names, "weight": times})
    bad = np.flatnonzero(~((times >= 0) & np.isfinite(times)))
    if bad.size:
        raise UsageError(f"weight is negative or no number in rows {first(bad)}; 0 or more is expected.")
    known = np.array([name is not None for name in names.tolist()], dtype=np.bool_)
    if not known.any():
        raise DataError("no row has a known group: there is nothing to weigh.")
    members = positions(names[known].tolist())
    inside, mass = positive[known], times[known]
    n = np.array([[mass[rows][inside[rows] == y].sum() for y in (False, True)] for rows in members.values()])
    groups = tuple(members)
    empty = [f"{group}, {LABELS[y]}" for i, group in enumerate(groups) for y in (0, 1) if not n[i, y] > 0]
    if empty:
        raise DataError(
            f"there are no rows of {first(empty)}: no weight makes label and group independent there. Put small groups "
            "together, or gather such rows."
        )
    expected = n.sum(axis=1, keepdims=True) * n.sum(axis=0, keepdims=True) / n.sum()
    return Reweighing(groups=groups, n=n, weight=expected / n)
