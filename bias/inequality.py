"""Inequality of benefit among individuals: generalised entropy, its limits, its division by groups."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import DataError, UsageError, first
from .group_rows import Bools, Floats, Ints, Taken, positions, same_length, take, truth
from .influence import Influenced
from .intervals import Interval
from .scored import Undefined


def benefits(label: Bools, prediction: Bools) -> Floats:
    """The benefit of each row, prediction - label + 1: 0 wrongly denied, 1 as labelled, 2 wrongly granted.

    Source: Speicher et al. 2018, "A unified approach to quantifying algorithmic unfairness", KDD 2018.
    """
    same_length({"label": truth(label, "label"), "prediction": truth(prediction, "prediction")})
    made: Floats = prediction.astype(np.float64) - label.astype(np.float64) + 1.0
    return made


def generalized_entropy(
    benefit: npt.ArrayLike, alpha: float = 2.0, *, rows: Ints | None = None, count: Ints | None = None
) -> Influenced | Undefined:
    """The generalised entropy index of the rows' benefits, 0 where all are alike (Speicher et al. 2018; Shorrocks 1980).

    (mean((b / mu)^alpha) - 1) / (alpha (alpha - 1)); its limits are Theil's index at alpha 1 and the mean log
    deviation at alpha 0. The influence is the index's derivative in the direction of a row. It vanishes where all
    benefits are alike: see `entropy_interval`.

    Args:
        benefit: (row,) zero or more, not all zero: see `benefits`.
        alpha: any finite number; larger ones weigh large benefits more.
        rows: positions of a group's rows; None: all.
        count: (row,) how often each row counts.

    Returns:
        The index with its influences, or Undefined where there are no rows.

    Raises:
        DataError: a benefit is negative, all are zero, or one is zero at an alpha of 0 or less, where the index
            is infinite.
    """
    part = _benefits(benefit, alpha, rows, count)
    if part.n == 0:
        return Undefined(reason="nobody in the denominator", n=0)
    return part.influenced(*_index(part, alpha))


def theil_index(
    benefit: npt.ArrayLike, *, rows: Ints | None = None, count: Ints | None = None
) -> Influenced | Undefined:
    """Theil's index, mean((b / mu) ln(b / mu)): generalised entropy at alpha 1; at most ln n."""
    return generalized_entropy(benefit, 1.0, rows=rows, count=count)


def coefficient_of_variation(
    benefit: npt.ArrayLike, *, rows: Ints | None = None, count: Ints | None = None
) -> Influenced | Undefined:
    """Standard deviation over mean of the benefits, sqrt(2 GE(2)); undefined without rows.

    The standard deviation divides by n. Where all benefits are alike the root has no derivative; the influence is
    zero there and says nothing: see `entropy_interval`.
    """
    index = generalized_entropy(benefit, 2.0, rows=rows, count=count)
    if isinstance(index, Undefined):
        return index
    value = math.sqrt(2 * index.estimate)
    influence = index.influence / value if value > 0 else np.zeros_like(index.influence)
    return Influenced(estimate=value, influence=influence, rows=index.rows, count=index.count)


def entropy_interval(
    index: Influenced, confidence: float = 0.95, *, cluster: Ints | None = None
) -> Interval | None:
    """The interval of an index of inequality, on the log scale; None at 0, where the delta method has no say."""
    if index.estimate <= 0 or not np.any(index.influence):
        return None
    return index.interval(confidence, cluster=cluster, scale="log")


@dataclass(frozen=True, slots=True, kw_only=True)
class EntropyPart:
    """A group's part of the inequality within groups."""

    group: str
    n: int
    mean: float  # benefit
    index: float | None  # within the group; None where nobody in it has a benefit
    contribution: float  # to the inequality within groups


@dataclass(frozen=True, slots=True, kw_only=True)
class EntropyParts:
    """Generalised entropy divided: total = between + within, and within = the sum of the groups' contributions."""

    alpha: float
    total: float
    between: float  # what would be left, had everybody the mean benefit of their group
    within: float
    groups: tuple[EntropyPart, ...]


def decompose_entropy(
    benefit: npt.ArrayLike, group: Sequence[str | None], alpha: float = 2.0, *, count: Ints | None = None
) -> EntropyParts:
    """Inequality between groups and within them (Shorrocks 1980; Speicher et al. 2018).

    Rows without a group are one group, unknown. A group's contribution is (n_g / n) (mu_g / mu)^alpha GE_g.

    Raises:
        DataError: as `generalized_entropy`, or there are no rows.
    """
    whole = _benefits(benefit, alpha, None, count)
    if whole.n == 0:
        raise DataError("there are no rows, and so no inequality to divide.")
    if len(group) != len(whole.numbers("benefit")):
        raise DataError(
            f"group names {len(group)} rows, benefit has {len(whole.columns['benefit'])}: one group a row."
        )
    values, mu = whole.numbers("benefit"), whole.mean(whole.numbers("benefit"))
    level = np.empty_like(values)
    made = []
    for name, where in positions(group).items():
        part = take(rows=where, count=whole.count, benefit=values)
        if part.n == 0:
            continue
        mean = part.mean(part.numbers("benefit"))
        level[where] = mean
        index = _index(part, alpha)[0] if mean > 0 else None
        share = part.n / whole.n
        made.append(
            EntropyPart(
                group=name,
                n=part.n,
                mean=mean,
                index=index,
                contribution=0.0 if index is None else share * (mean / mu) ** alpha * index,
            )
        )
    counted = whole.times > 0
    between = take(rows=np.flatnonzero(counted), count=whole.count, benefit=np.where(counted, level, 0.0))
    return EntropyParts(
        alpha=alpha,
        total=_index(whole, alpha)[0],
        between=_index(between, alpha)[0],
        within=math.fsum(part.contribution for part in made),
        groups=tuple(made),
    )


def _benefits(benefit: npt.ArrayLike, alpha: float, rows: Ints | None, count: Ints | None) -> Taken:
    if not math.isfinite(alpha):
        raise UsageError(f"alpha is {alpha}; a finite number is expected.")
    part = take(rows=rows, count=count, benefit=benefit)
    values, present = part.numbers("benefit"), part.times > 0
    negative = np.flatnonzero(values < 0)
    if negative.size:
        raise DataError(
            f"{negative.size} benefits are negative; first rows: {first(negative)}. A benefit is 0 or more."
        )
    if part.n and not np.any(values[present] > 0):
        raise DataError(
            "every benefit is 0: shares of nothing cannot be unequal. Give a benefit to somebody."
        )
    if alpha <= 0 and np.any(values[present] == 0):
        raise DataError(
            f"{int(np.sum(part.times[values == 0]))} rows have no benefit, and at alpha {alpha:g} the index is "
            "infinite. Take an alpha above 0."
        )
    return part


def _index(part: Taken, alpha: float) -> tuple[float, Floats]:
    """The index of benefits that are not all zero, and the influence of each row on it."""
    b = part.numbers("benefit")
    mu = part.mean(b)
    # A row that counts nothing may hold anything; it has no influence.
    safe = np.where(b > 0, b, 1.0)
    if alpha == 1:
        weighted = np.where(b > 0, b * np.log(safe), 0.0)
        mean = part.mean(weighted)
        value = mean / mu - math.log(mu)
        influence = (weighted - mean) / mu - (mean / mu**2 + 1 / mu) * (b - mu)
    elif alpha == 0:
        logs = np.log(safe)
        mean = part.mean(logs)
        value = math.log(mu) - mean
        influence = (b - mu) / mu - (logs - mean)
    else:
        powers = np.where(b > 0, safe**alpha, 0.0)
        mean = part.mean(powers)
        scale = alpha * (alpha - 1)
        value = (mean / mu**alpha - 1) / scale
        influence = ((powers - mean) / mu**alpha - alpha * mean * (b - mu) / mu ** (alpha + 1)) / scale
    return max(0.0, value), influence
