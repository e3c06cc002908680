"""Rows that belong together or weigh differently: rates, means, differences with the right standard error."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from ..errors import DataError, first
from .influence import Influenced, difference, mean
from .intervals import Interval, Means, newcombe_of_effective_n, wilson_of_effective_n

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FEW = 10  # clusters below which the t interval is known to be too short (Cameron, Gelbach & Miller 2008)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clustered:
    """A mean or a rate of rows that come in clusters, or weigh differently."""

    estimate: float
    se: float
    df: float  # clusters - 1, or rows - 1 where there are none
    n: int  # rows
    n_clusters: int | None
    effective_n: float | None  # independent rows that would say as much; None for means
    few: bool  # fewer than 10 clusters, or of a rate with either outcome: the interval is likely too short

    def interval(self, confidence: float = 0.95) -> Interval:
        """Student's t interval of a mean; of a rate Wilson's from the effective number of rows.

        For a rate that number is first taken down where clusters are few (`adjusted_n`).
        Source: Korn & Graubard 1998, Survey Methodology 24; Wilson's in place of their Clopper-Pearson interval, as
        Dean & Pagano 2015, Statistical Methods in Medical Research 24, find it.
        """
        if self.effective_n is None:
            return Means(self.estimate, self.se, self.df).interval(confidence)
        return wilson_of_effective_n(self.estimate, self.adjusted_n(confidence), confidence)

    def adjusted_n(self, confidence: float = 0.95) -> float:
        """Effective rows of a rate times the squared ratio of t's quantiles at rows - 1 and clusters - 1.

        Raises:
            DataError: this is a mean, not a rate.
        """
        if self.effective_n is None:
            raise DataError("a mean has no effective number of rows; only a rate does.")
        tail = 0.5 + confidence / 2
        of_rows, of_clusters = stats.t.ppf(tail, [self.n - 1, self.df])
        return self.effective_n * float(of_rows / of_clusters) ** 2


def effective_rows(weight: Floats, count: Ints | None = None) -> float:
    """Kish's effective number of rows, (sum w)^2 / sum w^2 (1965, section 11.7).

    Raises:
        DataError: a weight that is negative or no number, or weights of nothing in all.
    """
    bad = np.flatnonzero(~((weight >= 0) & np.isfinite(weight)))
    if len(bad):
        raise DataError(f"weight is negative or no number at {first(bad)}; 0 or more is expected.")
    times = np.ones(len(weight), dtype=np.int64) if count is None else count
    total, squares = float(np.sum(times * weight)), float(np.sum(times * weight**2))
    if not total > 0:
        raise DataError("no row weighs anything: there is nothing to estimate.")
    return total * total / squares


def clustered_mean(
    values: Floats,
    *,
    cluster: Ints | None = None,
    count: Ints | None = None,
    weight: Floats | None = None,
) -> Clustered:
    """A mean with its cluster-robust standard error and t with clusters - 1 degrees of freedom.

    Args:
        values: (row,) numbers.
        cluster: (row,) codes of what was drawn independently; None: every row by itself.
        count: (row,) how many equal rows each stands for.
        weight: (row,) sampling weights.

    Raises:
        DataError: fewer than two rows, all in one cluster, or impossible weights.
    """
    return _summary(mean(values, rows=None, count=count, weight=weight), cluster, None)


def clustered_rate(
    success: Bools,
    *,
    cluster: Ints | None = None,
    count: Ints | None = None,
    weight: Floats | None = None,
) -> Clustered:
    """A rate with its effective number of rows: Kish's of the weights, in clusters rate (1 - rate) / se^2.

    It is never above the number of rows. In clusters at a rate of 0 or 1, which has no variance to see, it is the
    number of clusters: the most that clustering can take away. Where fewer than 10 clusters have a success, or a
    failure, the standard error itself is unsure and `few` says so (simulated: 85 % of 95 % intervals cover a rate of
    .05 in 30 clusters with a correlation of .5).

    Args, Raises: as `clustered_mean`.
    """
    made = mean(success.astype(np.float64), rows=None, count=count, weight=weight)
    p = made.estimate
    weighed = float(made.n) if weight is None else effective_rows(weight, count)
    se = made.se(cluster)
    if cluster is None:
        effective = weighed
    elif 0 < p < 1 and se > 0:
        n_clusters = _n_clusters(made, cluster)  # without the small-sample factor, which t's quantile is for
        effective = min(p * (1 - p) / (se * se * (n_clusters - 1) / n_clusters), float(made.n))
    else:
        effective = min(float(_n_clusters(made, cluster)), weighed)
    few = False
    if cluster is not None:
        there = np.ones(len(success), np.bool_) if count is None else count > 0
        few = any(0 < len(np.unique(cluster[there & (success == value)])) < FEW for value in (True, False))
    return _summary(made, cluster, effective, few)


def clustered_difference(
    values: npt.ArrayLike,
    group: Bools,
    reference: Bools,
    *,
    cluster: Ints | None = None,
    count: Ints | None = None,
    weight: Floats | None = None,
) -> Means:
    """Mean of the group minus mean of the reference, which may share clusters (or even rows).

    What each cluster does to both means is taken together before squaring, so that people who are in both groups
    are not counted as two.

    Args:
        values: (row,) numbers, or true and false.
        group, reference: (row,) which rows belong to each.
        cluster, count, weight: (row,), as `clustered_mean`.

    Raises:
        DataError: a group with fewer than two rows, or all of them in one cluster.
    """
    given = np.asarray(values, dtype=np.float64)

    def of(who: Bools) -> Influenced:
        rows = np.flatnonzero(who)
        return mean(
            given[rows],
            rows=rows,
            count=None if count is None else count[rows],
            weight=None if weight is None else weight[rows],
        )

    return difference(of(group), of(reference), cluster=cluster)


def newcombe_clustered(group: Clustered, reference: Clustered, confidence: float = 0.95) -> Interval:
    """Newcombe's interval of a difference of two rates from their effective numbers of rows.

    For groups that share no clusters; where they do, `clustered_difference` knows what they share.
    """
    n_group, n_reference = group.adjusted_n(confidence), reference.adjusted_n(confidence)
    return newcombe_of_effective_n(group.estimate, n_group, reference.estimate, n_reference, confidence)


def permutation_within(
    values: npt.ArrayLike, group: Bools, cluster: Ints, *, replicates: int = 999, seed: int = 0
) -> float:
    """p that group says nothing of the values within clusters: group labels are shuffled inside each cluster.

    The statistic is the absolute difference of means; p = (1 + as far out) / (1 + replicates). Exact for rows that
    are exchangeable within their cluster, whatever differs between clusters (Good 2005, chapter 4).

    Raises:
        DataError: no cluster has rows both in the group and outside it, so that nothing can be shuffled.
    """
    given = np.asarray(values, dtype=np.float64)
    codes = np.unique(cluster, return_inverse=True)[1]
    inside, rows = np.bincount(codes, group), np.bincount(codes)
    if not np.any((inside > 0) & (inside < rows)):
        raise DataError(
            "no cluster has rows both in the group and outside: nothing can be shuffled within one."
        )
    order = np.argsort(codes, kind="stable")
    given, group, codes = given[order], group[order], codes[order]
    n_in = int(group.sum())
    total = float(given.sum())

    def gap(chosen: Bools) -> float:
        here = float(given[chosen].sum())
        return abs(here / n_in - (total - here) / (len(given) - n_in))

    generator = np.random.default_rng(seed)
    seen = gap(group)
    further = 0
    for _ in range(replicates):
        shuffled = group[np.lexsort((generator.random(len(codes)), codes))]
        further += gap(shuffled) >= seen * (1 - 1e-12)
    return (1 + further) / (1 + replicates)


def _n_clusters(made: Influenced, cluster: Ints) -> int:
    return len(np.unique(cluster if made.count is None else cluster[made.count > 0]))


def _summary(made: Influenced, cluster: Ints | None, effective: float | None, few: bool = False) -> Clustered:
    found = made.means(cluster)
    n_clusters = None if cluster is None else _n_clusters(made, cluster)
    return Clustered(
        estimate=found.estimate,
        se=found.se,
        df=found.df,
        n=made.n,
        n_clusters=n_clusters,
        effective_n=effective,
        few=few or (n_clusters is not None and n_clusters < FEW),
    )
