"""Rates of every group at every threshold of a score, and selections: above a median, or of a share at the top."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError, UsageError, did_you_mean, first
from .counts import Counts
from .group_rows import Bools, Floats, Ints, column, positions, same_length, truth, whole_counts
from .metrics import BY_NAME, METRICS, Metric

# What a rate does as the threshold rises: predictive values are not monotone, but tend to.
FALLS = {
    "selection_rate",
    "true_positive_rate",
    "false_positive_rate",
    "false_discovery_rate",
    "negative_predictive_value",
}
RISES = {"true_negative_rate", "false_negative_rate", "positive_predictive_value", "false_omission_rate"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Confusion counts of each group, were rows predicted positive from each threshold on (score >= threshold)."""

    threshold: Floats  # (threshold,) ascending; infinity, at which nobody is selected, last
    groups: tuple[str, ...]
    tp: Ints  # (group, threshold)
    fp: Ints
    fn: Ints
    tn: Ints
    labelled: bool  # without labels `fp` holds the selected and `tn` the others, as in `Counts`

    def counts(self, group: str, threshold: int) -> Counts:
        """Counts of a group at the threshold of this position."""
        at = (self._position(group), threshold)
        return Counts(
            tp=int(self.tp[at]),
            fp=int(self.fp[at]),
            fn=int(self.fn[at]),
            tn=int(self.tn[at]),
            labelled=self.labelled,
        )

    def rate(self, metric: str) -> tuple[Ints, Ints]:
        """k and n of a rate of `metrics.METRICS`, each (group, threshold). The rate is undefined where n is 0."""
        found = self._metric(metric)
        return self._total(found.numerator), self._total(found.denominator)

    def threshold_where(
        self, metric: str, group: str, *, at_least: float | None = None, at_most: float | None = None
    ) -> float | None:
        """The threshold at which a group's rate meets a bound with the least to spare; None where none meets it.

        For a rate that falls as the threshold rises (selection, true and false positive rate, false discovery
        rate, negative predictive value) "at least" gives the highest threshold that meets it and "at most" the
        lowest; for the others the reverse. Predictive values go up and down: between thresholds that meet the
        bound others may not.

        Raises:
            UsageError: neither or both bounds, a metric that neither rises nor falls, an unknown name.
        """
        if (at_least is None) == (at_most is None):
            raise UsageError("a bound is at_least or at_most: give one of the two.")
        self._metric(metric)
        if metric not in FALLS | RISES:
            raise UsageError(
                f"{metric} neither rises nor falls with the threshold: no threshold meets it with the least to spare. "
                f"Metrics that do: {first(sorted(FALLS | RISES), 12)}."
            )
        k, n = (part[self._position(group)] for part in self.rate(metric))
        bound = at_least if at_least is not None else at_most
        # Whole numbers against an exact bound: .8 of 5 is 4, which 4 / 5 >= .8 need not say in floating point.
        wanted = Fraction(str(bound))
        scaled = n.astype(object) * wanted.numerator
        mine = k.astype(object) * wanted.denominator
        met = (n > 0) & ((mine >= scaled) if at_least is not None else (mine <= scaled)).astype(np.bool_)
        found = np.flatnonzero(met)
        if not found.size:
            return None
        highest = (metric in FALLS) == (at_least is not None)
        return float(self.threshold[found[-1 if highest else 0]])

    def _total(self, cells: Sequence[str]) -> Ints:
        made: Ints = sum((getattr(self, cell) for cell in cells), start=np.zeros_like(self.tp))
        return made

    def _metric(self, name: str) -> Metric:
        rates = [metric.name for metric in METRICS if metric.kind == "rate"]
        if name not in rates:
            raise UsageError(f"there is no rate {name!r}: {did_you_mean(name, rates)}")
        if BY_NAME[name].needs_label and not self.labelled:
            raise UsageError(f"{name} needs labels, and the sweep was made without.")
        return BY_NAME[name]

    def _position(self, group: str) -> int:
        if group not in self.groups:
            raise UsageError(f"there is no group {group!r}: {did_you_mean(group, self.groups)}")
        return self.groups.index(group)


def sweep(
    score: npt.ArrayLike,
    label: npt.ArrayLike | None,
    group: Sequence[str | None],
    *,
    thresholds: npt.ArrayLike | None = None,
    count: npt.ArrayLike | None = None,
) -> Sweep:
    """Counts of every group at every threshold, in one sort: all rates of `metrics.METRICS` follow.

    Args:
        score: (row,) larger is more likely positive.
        label: (row,) True is positive; None where there are none.
        group: (row,) names; None is unknown, a group of its own.
        thresholds: ascending; None takes every distinct score, and infinity after the last.
        count: (row,) how many equal rows each stands for.

    Raises:
        DataError: no rows, columns of several lengths, a score that is no finite number, a label that is not
            boolean. UsageError: thresholds that do not ascend.
    """
    values = _finite(score)
    columns: dict[str, npt.NDArray[Any]] = {"score": values, "group": np.asarray(group, dtype=object)}
    y = np.zeros(len(values), dtype=np.bool_) if label is None else truth(label, "label")
    columns["label"] = y
    times = np.ones(len(values), dtype=np.int64) if count is None else whole_counts(count)
    columns["count"] = times
    same_length(columns)
    if not len(values):
        raise DataError("there are no rows: nothing has a threshold.")
    at = np.append(np.unique(values), np.inf) if thresholds is None else _ascending(thresholds)
    # The last threshold at or under the score: a row is selected at it and at all below it.
    step = np.searchsorted(at, values, side="right")
    members = positions(group)
    selected = {True: np.empty((len(members), len(at)), np.int64)}
    selected[False] = selected[True].copy()
    totals = {kind: np.empty((len(members), 1), np.int64) for kind in (True, False)}
    for i, rows in enumerate(members.values()):
        for kind in (True, False):
            some = rows[y[rows] == kind]
            there = np.zeros(len(at) + 1, dtype=np.int64)
            np.add.at(there, step[some], times[some])
            totals[kind][i] = there.sum()
            selected[kind][i] = there[::-1].cumsum()[::-1][1:]
    return Sweep(
        threshold=at,
        groups=tuple(members),
        tp=selected[True],
        fp=selected[False],
        fn=totals[True] - selected[True],
        tn=totals[False] - selected[False],
        labelled=label is not None,
    )


def median(score: npt.ArrayLike, count: npt.ArrayLike | None = None) -> float:
    """The median of the rows, each as often as it counts: the mean of the middle two where their number is even.

    Raises:
        DataError: no rows, or a score that is no finite number.
    """
    values, times = _counted(score, count)
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(times[order])
    n = int(reached[-1]) if len(reached) else 0
    if n == 0:
        raise DataError("there are no rows: there is no median.")
    low, high = (int(np.searchsorted(reached, k, side="right")) for k in ((n - 1) // 2, n // 2))
    return float((values[order[low]] + values[order[high]]) / 2)


def above_median(score: npt.ArrayLike, count: npt.ArrayLike | None = None) -> Bools:
    """Which rows score strictly above the median of all of them: the scoring rate is the selection rate of these.

    Source: NYC Local Law 144, 6 RCNY 5-300 ("scoring rate"). Rows at the median are not above it, so that with
    ties less than half of the sample is.

    Args:
        score: (row,) of the full sample, never of one category.
        count: (row,) how many equal rows each stands for.
    """
    made: Bools = np.asarray(score, dtype=np.float64) > median(score, count)
    return made


def scoring_rate(
    score: npt.ArrayLike, count: npt.ArrayLike | None = None, *, rows: npt.ArrayLike | None = None
) -> tuple[int, int]:
    """k and n of a category's scoring rate: its rows above the median of the full sample, and its rows.

    Args:
        score, count: of the full sample, as `above_median`.
        rows: positions of the category's rows; None: all.
    """
    above = above_median(score, count)
    _, times = _counted(score, count)
    where = np.arange(len(times)) if rows is None else np.asarray(rows, dtype=np.int64)
    return int(times[where][above[where]].sum()), int(times[where].sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class TopShare:
    """Those selected when a share of all rows is taken from the top."""

    threshold: float  # the lowest score taken; infinity where nobody is
    selected: Bools  # (row,)
    n_wanted: int  # the share of the rows, rounded down
    n_selected: int  # rows taken; differs from n_wanted where ties cross the boundary
    n_tied: int  # rows at the boundary, where it divides them; else 0


def select_top(
    score: npt.ArrayLike, share: float, *, ties: str = "all", count: npt.ArrayLike | None = None
) -> TopShare:
    """The share of rows with the highest scores; rows of one score are taken together or not at all.

    Args:
        share: of all rows, in [0, 1]; the number of rows is rounded down, in exact arithmetic.
        ties: where the boundary divides equal scores, "all" takes them and "none" leaves them.
        count: (row,) how many equal rows each stands for.

    Raises:
        UsageError: a share outside [0, 1], another rule for ties. DataError: a score that is no finite number.
    """
    if not 0 <= share <= 1:
        raise UsageError(f"share is {share}; a number between 0 and 1 is expected.")
    if ties not in {"all", "none"}:
        raise UsageError(f"ties is {ties!r}; 'all' or 'none' is expected.")
    values, times = _counted(score, count)
    distinct, step = np.unique(values, return_inverse=True)
    there = np.zeros(len(distinct), dtype=np.int64)
    np.add.at(there, step, times)
    reached = there[::-1].cumsum()[::-1]  # rows at or above each distinct score
    wanted = math.floor(Fraction(str(share)) * int(times.sum()))
    whole = int(np.count_nonzero(reached > wanted))  # distinct scores too low to be taken whole
    divided = wanted > 0 and whole > 0 and (reached[whole] if whole < len(reached) else 0) < wanted
    start = whole - 1 if divided and ties == "all" else whole
    selected: Bools = step >= start
    return TopShare(
        threshold=float(distinct[start]) if start < len(distinct) else math.inf,
        selected=selected,
        n_wanted=wanted,
        n_selected=int(times[selected].sum()),
        n_tied=int(there[whole - 1]) if divided else 0,
    )


def _finite(score: npt.ArrayLike) -> Floats:
    made: Floats = column(score, "score")
    return made


def _counted(score: npt.ArrayLike, count: npt.ArrayLike | None) -> tuple[Floats, Ints]:
    values = _finite(score)
    times = np.ones(len(values), dtype=np.int64) if count is None else whole_counts(count)
    same_length({"score": values, "count": times})
    return values, times


def _ascending(thresholds: npt.ArrayLike) -> Floats:
    at = np.asarray(thresholds, dtype=np.float64)
    if at.ndim != 1 or not len(at) or np.isnan(at).any() or np.any(np.diff(at) <= 0):
        raise UsageError(
            "thresholds in one row are expected, each larger than the one before, and one at least."
        )
    return at
