"""One metric of one group of rows: counted, averaged, or with the influence of each row; never a bare number."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from ..errors import DataError
from .clusters import Clustered, clustered_rate
from .influence import Floats, Influenced, Ints, Scale
from .intervals import Interval, Means, wilson
from .scored import Undefined

Bools = npt.NDArray[np.bool_]


class Counted(NamedTuple):
    """k of n independent rows."""

    k: int
    n: int


class Moments(NamedTuple):
    """A mean of n independent rows."""

    n: int
    mean: float
    squares: float  # sum of squared deviations from the mean

    @property
    def variance(self) -> float:
        """Of one row; n - 1 in the denominator."""
        return self.squares / (self.n - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surveyed:
    """A rate of rows that weigh differently or come in clusters."""

    influenced: Influenced
    clustered: Clustered | None  # None where one cluster has them all

    @property
    def n(self) -> int:
        """Rows in the denominator."""
        return self.influenced.n

    @property
    def estimate(self) -> float:
        return self.influenced.estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampled:
    """A function of the user's, with its values on rows drawn again."""

    estimate: float
    se: float
    ends: tuple[float, ...]  # (replicate,)
    n: int
    units: int  # rows, or clusters
    rows: Ints


Estimate = Counted | Moments | Influenced | Surveyed | Resampled | Undefined


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """How the rows of a table came about: how often each counts, its sampling weight, and what it was drawn with."""

    size: int  # rows of the table
    count: Ints | None = None  # (row,)
    weight: Floats | None = None  # (row,)
    cluster: Ints | None = None  # (row,) codes

    @property
    def simple(self) -> bool:
        """Whether rows are independent and equally likely, so that counts are binomial."""
        return self.weight is None and self.cluster is None

    def rows(self, which: Ints) -> int:
        """Rows there are, each as often as it counts."""
        return len(which) if self.count is None else int(self.count[which].sum())

    def counts(self, which: Ints) -> Ints:
        """How often each counts, (taken,)."""
        return np.ones(len(which), dtype=np.int64) if self.count is None else self.count[which]


def rate_of(
    design: Design, numerator: Bools, denominator: Bools, rows: Ints, *, exact: bool = True
) -> Estimate:
    """The share of `numerator` among the rows that are in `denominator`, both (row,) of the whole table.

    Counted where the design is simple (and `exact`); else a ratio of weighted sums with its linearised influence
    (Cochran 1977, section 6.3; Deville 1999).
    """
    inside = rows[denominator[rows]]
    n = design.rows(inside)
    if n == 0:
        return Undefined(reason="nobody in the denominator", n=0)
    hit = numerator[inside]
    if design.simple and exact:
        return Counted(design.rows(inside[hit]), n)
    made = mean_of(design, hit.astype(np.float64), inside, exact=exact)
    if not isinstance(made, Influenced) or not exact:
        return made
    cluster = None if design.cluster is None else design.cluster[inside]
    told_apart = n > 1 if cluster is None else len(np.unique(cluster)) > 1
    return Surveyed(
        influenced=made,
        clustered=clustered_rate(
            hit,
            cluster=cluster,
            count=None if design.count is None else design.count[inside],
            weight=None if design.weight is None else design.weight[inside],
        )
        if told_apart
        else None,
    )


def mean_of(
    design: Design, values: Floats, rows: Ints, squares: Floats | None = None, *, exact: bool = True
) -> Estimate:
    """The mean of `values` (taken,), one for each of `rows`.

    `squares` (taken,) is what the rows that each counted row stands for deviate from its value, squared and summed.
    """
    count = design.counts(rows)
    n = int(count.sum())
    if n == 0:
        return Undefined(reason="nobody in the denominator", n=0)
    if design.simple and exact:
        if design.count is None:
            mean = float(values.mean())
            return Moments(n, mean, float(np.sum((values - mean) ** 2)))
        mean = float((count @ values) / n)
        within = 0.0 if squares is None else float(squares.sum())
        return Moments(n, mean, float(count @ (values - mean) ** 2) + within)
    spread = squares is not None and bool(np.any(squares > 0)) and design.cluster is None
    if spread and not exact:
        raise DataError(
            "a measure of rows that were counted together cannot be compared with everybody: its values within a row are "
            'gone. Audit the rows themselves, or take compare = "complement".'
        )
    weight = np.ones(len(rows)) if design.weight is None else design.weight[rows]
    mass = count * weight
    total = float(mass.sum())
    if total == 0:
        return Undefined(reason=f"all {n} rows in the denominator have weight 0", n=n)
    mean = float(mass @ values / total)
    away = values - mean
    if (
        spread and squares is not None
    ):  # what counted rows deviate by on average, squared; in clusters only sums count
        away = np.copysign(np.sqrt(away**2 + squares / count), away)
    return Influenced(
        estimate=mean,
        influence=n * weight * away / total,
        rows=rows,
        count=None if design.count is None else count,
    )


def value_of(made: Estimate) -> float | None:
    """The number itself; None where there is none."""
    if isinstance(made, Counted):
        return made.k / made.n
    if isinstance(made, Moments):
        return made.mean
    return None if isinstance(made, Undefined) else made.estimate


def interval_of(
    made: Estimate, confidence: float, cluster: Ints | None, scale: Scale = "identity"
) -> Interval | None:
    """Wilson's, Student's, or Student's on the influence; None where one row or cluster has no error."""
    if isinstance(made, Counted):
        return wilson(made.k, made.n, confidence)
    if isinstance(made, Moments):
        if made.n < 2:
            return None
        half = float(stats.t.ppf(0.5 + confidence / 2, made.n - 1)) * (made.variance / made.n) ** 0.5
        return Interval(made.mean - half, made.mean + half)
    if isinstance(made, Surveyed):
        return None if made.clustered is None else made.clustered.interval(confidence)
    if isinstance(made, Resampled):
        low, high = np.quantile(made.ends, [(1 - confidence) / 2, (1 + confidence) / 2])
        return Interval(float(low), float(high))
    if isinstance(made, Influenced) and units(made, cluster) > 1:
        inside = 0 < made.estimate < 1 if scale == "logit" else made.estimate > 0
        return made.interval(confidence, cluster=cluster, scale=scale if inside else "identity")
    return None


def units(made: Estimate, cluster: Ints | None) -> int:
    """Independent draws behind an estimate: rows, or clusters."""
    if isinstance(made, Surveyed):
        return units(made.influenced, cluster)
    if isinstance(made, Resampled):
        return made.units
    if not isinstance(made, Influenced) or cluster is None:
        return made.n
    where = np.arange(len(made.influence)) if made.rows is None else made.rows
    return len(np.unique(cluster[where]))


def welch_of(a: Moments, b: Moments) -> Means:
    """Welch's difference of means (1947), a minus b. Each needs two rows."""
    v1, v2 = a.variance / a.n, b.variance / b.n
    total = v1 + v2
    part = v1 / total if total > 0 else 0.5
    df = 1 / (part**2 / (a.n - 1) + (1 - part) ** 2 / (b.n - 1))
    return Means(a.mean - b.mean, total**0.5, df)
