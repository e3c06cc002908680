"""Several labels a row: each label audited as two classes of its own, with false discoveries kept down."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DataError, UsageError, did_you_mean, first
from .confusion_tests import permuted_chi_squared
from .counts import Counts
from .gaps import difference, rate
from .group_rows import Bools, Floats, Ints, positions, take, truth, whole_counts
from .influence import Influenced
from .metrics import BY_NAME
from .multiplicity import benjamini_hochberg
from .scored import Undefined

Pairs = Mapping[str, tuple[Bools, Bools]]  # label name -> (label, prediction), (row,) each


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelGap:
    """One label's rate in every group, its largest gap, and how surely the groups differ."""

    label: str
    metric: str
    counts: Mapping[str, Counts]  # group -> counts
    rates: Mapping[str, float | None]  # None: nobody in the denominator
    gap: float | None  # largest minus smallest; None: fewer than two groups have a rate
    p: float | None  # permutation chi-squared, of the same rate in all groups; None: nothing to compare
    p_adjusted: float | None  # Benjamini-Hochberg over the labels: for exploration, never for a gate


def label_gaps(
    pairs: Pairs,
    group: Sequence[str | None],
    metric: str = "true_positive_rate",
    *,
    count: Ints | None = None,
    replicates: int = 2000,
    seed: int = 0,
) -> tuple[LabelGap, ...]:
    """A rate's gap between groups for each label, in the order given, with p adjusted over the labels.

    Args:
        pairs: label name -> (label, prediction), truth values of each row.
        group: (row,) group of each row; rows without one are shown as unknown and compared with nobody.
        metric: a rate of `metrics.METRICS`.
        count: (row,) how often each row counts.
        replicates: permutations of each label's test; p is at least 1 / (replicates + 1).
        seed: of the permutations.

    Raises:
        DataError: no labels, columns of several lengths, or other values than True and False.
        UsageError: there is no such rate.
    """
    rates_known = [name for name, known in BY_NAME.items() if known.numerator]
    if metric not in rates_known:
        raise UsageError(f"there is no rate {metric!r}: {did_you_mean(metric, rates_known)}")
    n = _checked(pairs)
    if len(group) != n:
        raise DataError(f"group names {len(group)} rows, the labels have {n}: one group a row.")
    times = np.ones(n, dtype=np.int64) if count is None else whole_counts(count)
    if len(times) != n:
        raise DataError(f"count has {len(times)} rows, the labels have {n}.")
    known = {name: rows for name, rows in positions(group).items() if group[int(rows[0])] is not None}
    everybody = positions(group)
    found = []
    for i, (name, (label, prediction)) in enumerate(pairs.items()):
        counts = {
            who: _counted(label[rows], prediction[rows], times[rows]) for who, rows in everybody.items()
        }
        cells = [BY_NAME[metric].of(counts[who]) for who in known]
        table = np.array([[k, of - k] for k, of in cells], dtype=np.int64).reshape(-1, 2)
        p = _p(table, replicates, seed + i)
        rates = {who: rate(metric, counts[who]) for who in everybody}
        gap = difference({who: rates[who] for who in known})
        found.append((name, counts, rates, gap, p))
    tested = [entry[4] for entry in found if entry[4] is not None]
    adjusted = iter(benjamini_hochberg(tested).tolist())
    return tuple(
        LabelGap(
            label=name,
            metric=metric,
            counts=counts,
            rates=rates,
            gap=gap,
            p=p,
            p_adjusted=None if p is None else next(adjusted),
        )
        for name, counts, rates, gap, p in found
    )


def hamming_loss(
    pairs: Pairs, *, rows: Ints | None = None, count: Ints | None = None
) -> Influenced | Undefined:
    """Share of a row's labels that are predicted wrongly, averaged over rows; undefined without rows."""
    n = _checked(pairs)
    wrong = np.zeros(n)
    for label, prediction in pairs.values():
        wrong += label != prediction
    return _mean(wrong / len(pairs), rows, count)


def subset_accuracy(
    pairs: Pairs, *, rows: Ints | None = None, count: Ints | None = None
) -> Influenced | Undefined:
    """Share of rows with every label predicted rightly; undefined without rows."""
    n = _checked(pairs)
    right = np.ones(n, dtype=np.bool_)
    for label, prediction in pairs.values():
        right &= label == prediction
    return _mean(right.astype(np.float64), rows, count)


def _mean(values: Floats, rows: Ints | None, count: Ints | None) -> Influenced | Undefined:
    part = take(rows=rows, count=count, values=values)
    if part.n == 0:
        return Undefined(reason="nobody in the denominator", n=0)
    mean = part.mean(part.numbers("values"))
    return part.influenced(mean, part.numbers("values") - mean)


def _checked(pairs: Pairs) -> int:
    """The number of rows of all labels."""
    if not pairs:
        raise DataError("there are no labels: give label name -> (label, prediction).")
    sizes = {}
    for name, (label, prediction) in pairs.items():
        one, other = truth(label, f"label {name!r}"), truth(prediction, f"prediction of {name!r}")
        sizes[f"label {name}"], sizes[f"prediction of {name}"] = len(one), len(other)
    most = max(sizes.values())
    short = [name for name, size in sizes.items() if size != most]
    if short:
        raise DataError(f"{first(short)} have fewer rows than the others, {most}.")
    return most


def _counted(label: Bools, prediction: Bools, times: Ints) -> Counts:
    cells = [0, 0, 0, 0]
    for i in range(4):
        cells[i] = int(times[(prediction * 2 + label) == i].sum())
    tn, fn, fp, tp = cells
    return Counts(tp=tp, fp=fp, fn=fn, tn=tn)


def _p(table: Ints, replicates: int, seed: int) -> float | None:
    found = permuted_chi_squared(table, replicates=replicates, seed=seed)
    return None if found is None else found[1]
