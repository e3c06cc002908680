"""More than two classes: who is taken for what, as a table for each group and as one class against the rest."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import DataError, UsageError, did_you_mean, first
from .counts import Counts
from .gaps import difference, rate
from .group_rows import Bools, Ints, positions, whole_counts
from .metrics import BY_NAME

Average = Literal["macro", "micro", "weighted"]
Quantity = Literal["precision", "recall", "f1"]


def one_vs_rest(
    label: Sequence[Any] | npt.NDArray[Any], prediction: Sequence[Any] | npt.NDArray[Any], name: Any
) -> tuple[Bools, Bools]:
    """Whether each row is labelled, and whether it is predicted, as one class, (row,) each.

    With them every quantity of two classes is one of this class against the rest.

    Raises:
        DataError: columns of two lengths, or a class that neither of them has.
    """
    y, f = _pair(label, prediction)
    truth, taken = np.asarray(y == name, dtype=np.bool_), np.asarray(f == name, dtype=np.bool_)
    if not truth.any() and not taken.any():
        known = {str(value) for value in (*np.unique(y), *np.unique(f))}
        raise DataError(f"no row is labelled or predicted {name!r}: {did_you_mean(str(name), sorted(known))}")
    return truth, taken


def classes_of(
    label: Sequence[Any] | npt.NDArray[Any], prediction: Sequence[Any] | npt.NDArray[Any]
) -> tuple[Any, ...]:
    """The classes that occur among labels or predictions, in order."""
    y, f = _pair(label, prediction)
    return tuple(np.unique(np.concatenate([y, f])).tolist())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Confusion:
    """How many rows of each class were predicted as each class."""

    classes: tuple[Any, ...]
    counts: Ints  # (label, prediction)

    @property
    def n(self) -> int:
        """Rows."""
        return int(self.counts.sum())

    def against_rest(self, name: Any) -> Counts:
        """The two-by-two counts of one class against the rest."""
        at = self._position(name)
        tp = int(self.counts[at, at])
        fn, fp = int(self.counts[at].sum()) - tp, int(self.counts[:, at].sum()) - tp
        return Counts(tp=tp, fp=fp, fn=fn, tn=self.n - tp - fn - fp)

    def _position(self, name: Any) -> int:
        if name not in self.classes:
            raise DataError(
                f"there is no class {name!r}: {did_you_mean(str(name), [str(c) for c in self.classes])}"
            )
        return self.classes.index(name)

    def __add__(self, other: "Confusion") -> "Confusion":
        """Both together, exactly."""
        if self.classes != other.classes:
            raise DataError(
                f"confusions of the classes {first(self.classes)} and {first(other.classes)} cannot be added."
            )
        return Confusion(classes=self.classes, counts=self.counts + other.counts)


def confusion(
    label: Sequence[Any] | npt.NDArray[Any],
    prediction: Sequence[Any] | npt.NDArray[Any],
    *,
    classes: Sequence[Any] | None = None,
    rows: Ints | None = None,
    count: Ints | None = None,
) -> Confusion:
    """The confusion table of some rows.

    Args:
        label: (row,) class of each row.
        prediction: (row,) class that each was given.
        classes: all of them, in the order of the table; None: those that occur.
        rows: positions of a group's rows; None: all.
        count: (row,) how often each row counts.

    Raises:
        DataError: columns of several lengths, a class that is missing from `classes`, a negative count.
    """
    y, f = _pair(label, prediction)
    named, cells = _coded(y, f, classes)
    return _counted(named, cells, rows, _times(count, len(y)))


def confusion_by_group(
    label: Sequence[Any] | npt.NDArray[Any],
    prediction: Sequence[Any] | npt.NDArray[Any],
    group: Sequence[str | None],
    *,
    classes: Sequence[Any] | None = None,
    count: Ints | None = None,
) -> dict[str, Confusion]:
    """The confusion table of each group, all with the same classes; rows without a group are one, unknown, last."""
    y, f = _pair(label, prediction)
    if len(group) != len(y):
        raise DataError(f"group names {len(group)} rows, there are {len(y)}: one group a row.")
    named, cells = _coded(y, f, classes)
    times = _times(count, len(y))
    return {name: _counted(named, cells, rows, times) for name, rows in positions(group).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassGaps:
    """A rate of each class against the rest: its largest difference between groups, and the mean of them."""

    metric: str
    rates: Mapping[str, Mapping[Any, float | None]]  # group -> class -> rate; None: nobody in the denominator
    gaps: Mapping[
        Any, float | None
    ]  # class -> largest minus smallest; None: fewer than two groups have a rate
    macro: float | None  # mean of the gaps there are
    widest: Any  # class with the largest gap
    undefined: tuple[tuple[str, Any], ...]  # (group, class) without a rate: never taken for 0


def class_gaps(confusions: Mapping[str, Confusion], metric: str = "true_positive_rate") -> ClassGaps:
    """A rate's gap between groups, class by class against the rest, and the macro average of the gaps.

    Args:
        confusions: of `confusion_by_group`.
        metric: a rate of `metrics.METRICS`.

    Raises:
        UsageError: there is no such rate.
    """
    rates_known = [name for name, known in BY_NAME.items() if known.numerator]
    if metric not in rates_known:
        raise UsageError(f"there is no rate {metric!r}: {did_you_mean(metric, rates_known)}")
    if not confusions:
        raise DataError("there are no groups.")
    names = next(iter(confusions.values())).classes
    rates = {
        group: {name: rate(metric, table.against_rest(name)) for name in names}
        for group, table in confusions.items()
    }
    gaps = {name: difference({group: of[name] for group, of in rates.items()}) for name in names}
    defined = {name: gap for name, gap in gaps.items() if gap is not None}
    return ClassGaps(
        metric=metric,
        rates=rates,
        gaps=gaps,
        macro=math.fsum(defined.values()) / len(defined) if defined else None,
        widest=max(defined, key=lambda name: defined[name]) if defined else None,
        undefined=tuple(
            (group, name) for group, of in rates.items() for name, value in of.items() if value is None
        ),
    )


def accuracy(table: Confusion) -> float | None:
    """Share of rows predicted as labelled: recall averaged micro, or weighted by the labels. None without rows."""
    return float(np.trace(table.counts)) / table.n if table.n else None


def balanced_accuracy(table: Confusion) -> float | None:
    """Mean recall of the classes that have labels; None without rows.

    Groups that lack a class have the mean of other classes than the rest: `averaged` refuses such a mean.
    """
    sizes = table.counts.sum(axis=1)
    there = sizes > 0
    return float(np.mean(np.diag(table.counts)[there] / sizes[there])) if there.any() else None


def averaged(table: Confusion, quantity: Quantity, average: Average = "macro") -> float | None:
    """Precision, recall or F1 over the classes that occur in the table.

    `macro`: each class alike; `weighted`: by its labels; `micro`: of all decisions together, which for one class per
    row is the accuracy. None where a class that weighs something has none: precision of a class that is never
    predicted, recall of one that is never a label. Departure from tools that take these for 0.
    """
    if quantity not in {"precision", "recall", "f1"} or average not in {"macro", "micro", "weighted"}:
        raise UsageError(
            f"{quantity!r}, {average!r}: precision, recall or f1, and macro, micro or weighted are expected."
        )
    hit = np.diag(table.counts).astype(np.float64)
    labelled, predicted = table.counts.sum(axis=1), table.counts.sum(axis=0)
    if table.n == 0:
        return None
    if average == "micro":
        return float(hit.sum()) / table.n
    below = {"precision": predicted, "recall": labelled, "f1": (labelled + predicted) / 2}[quantity]
    weight = (labelled + predicted > 0).astype(np.float64) if average == "macro" else labelled / table.n
    used = weight > 0
    if np.any(below[used] == 0):
        return None
    return float(np.average(hit[used] / below[used], weights=weight[used]))


def matthews_correlation(table: Confusion) -> float | None:
    """The correlation of labels with predictions, -1 to 1 (Gorodkin 2004); None where either is always the same."""
    n = float(table.n)
    labelled = table.counts.sum(axis=1).astype(np.float64)
    predicted = table.counts.sum(axis=0).astype(np.float64)
    spread = (n**2 - labelled @ labelled) * (n**2 - predicted @ predicted)
    if spread <= 0:
        return None
    return float((n * np.trace(table.counts) - labelled @ predicted) / math.sqrt(spread))


def _pair(
    label: Sequence[Any] | npt.NDArray[Any], prediction: Sequence[Any] | npt.NDArray[Any]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    columns = []
    for what, values in (("label", label), ("prediction", prediction)):
        array = values if isinstance(values, np.ndarray) else np.array(values, dtype=object)
        if array.ndim != 1:
            raise DataError(f"{what} has shape {array.shape}: one class per row is expected.")
        if array.dtype.kind == "O":
            missing = [i for i, value in enumerate(array) if value is None or value != value]
        else:
            missing = np.flatnonzero(array != array).tolist()
        if missing:
            raise DataError(
                f"{what} is missing in {len(missing)} rows, first, counted from 0: {first(missing)}. "
                "Leave these rows out, or give them a class."
            )
        if array.dtype.kind == "O":
            text = [isinstance(value, str) for value in array]
            if any(text) and not all(text):
                raise DataError(f"{what} holds both texts and other values. Give classes of one kind.")
            array = np.array(array.tolist())
        columns.append(array)
    y, f = columns
    if y.shape != f.shape:
        raise DataError(f"label has {len(y)} rows and prediction {len(f)}: one class per row each.")
    if len(y) and (y.dtype.kind in "US") != (f.dtype.kind in "US"):
        raise DataError(
            f"label holds {y.dtype} and prediction {f.dtype}: no class of one can be one of the other."
        )
    return y, f


def _coded(
    y: npt.NDArray[Any], f: npt.NDArray[Any], classes: Sequence[Any] | None
) -> tuple[tuple[Any, ...], Ints]:
    """All classes, and the cell of each row: its label's position times the number of classes, plus its prediction's."""
    found, codes = np.unique(np.concatenate([y, f]), return_inverse=True)
    named = tuple(found.tolist()) if classes is None else tuple(classes)
    if len(set(named)) != len(named):
        raise UsageError(f"classes names one twice: {first(named)}.")
    position = {name: i for i, name in enumerate(named)}
    strange = [value for value in found.tolist() if value not in position]
    if strange:
        raise DataError(
            f"the classes {first(strange)} occur, and {first(named)} are expected. Name them all."
        )
    placed = np.array([position[value] for value in found.tolist()], dtype=np.int64)[codes]
    cells: Ints = placed[: len(y)] * len(named) + placed[len(y) :]
    return named, cells


def _times(count: Ints | None, n: int) -> Ints | None:
    times = None if count is None else whole_counts(count)
    if times is not None and len(times) != n:
        raise DataError(f"there are {n} rows and {len(times)} counts.")
    return times


def _counted(named: tuple[Any, ...], cells: Ints, rows: Ints | None, times: Ints | None) -> Confusion:
    size = len(named)
    chosen = cells if rows is None else cells[rows]
    made = np.zeros(size * size, dtype=np.int64)
    np.add.at(made, chosen, 1 if times is None else times if rows is None else times[rows])
    return Confusion(classes=named, counts=made.reshape(size, size))
