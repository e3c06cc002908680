"""Curves over all thresholds: ROC curve, average precision, and the area between two ROC curves."""

from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from .group_rows import Bools, Floats, Ints, same_length, truth
from .influence import Influenced
from .intervals import Interval
from .relabelling import chance, deal
from .scored import Scored, Undefined, scored


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Rows sorted into the distinct values of their score, with the mass of each label at each."""

    score: Floats  # (step,) ascending
    positive: Floats  # (step,)
    negative: Floats  # (step,)
    step: npt.NDArray[np.intp]  # (example,) where each row is


def steps(given: Scored) -> Steps:
    """The distinct scores of some rows: ties are exact, whether rows are listed or counted."""
    order = np.argsort(given.score)
    ordered = given.score[order]
    new = np.ones(len(ordered), dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    step = np.empty(len(order), dtype=np.intp)
    step[order] = np.cumsum(new) - 1
    distinct = ordered[new]
    mass = given.mass
    positive, negative = (
        np.bincount(step, np.where(of, mass, 0.0), minlength=len(distinct)).astype(np.float64, copy=False)
        for of in (given.label, ~given.label)
    )
    return Steps(score=distinct, positive=positive, negative=negative, step=step)


def one_class(given: Scored) -> Undefined | None:
    """Why these rows cannot be ranked: only one label occurs; None where both do."""
    positives, negatives = float(given.mass[given.label].sum()), float(given.mass[~given.label].sum())
    if positives > 0 and negatives > 0:
        return None
    which = "rows" if positives == negatives else "positives" if positives == 0 else "negatives"
    return Undefined(reason=f"no {which}: nothing to rank", n=given.n)


def average_precision(
    score: npt.ArrayLike,
    label: npt.ArrayLike,
    *,
    count: npt.ArrayLike | None = None,
    weight: npt.ArrayLike | None = None,
    rows: npt.ArrayLike | None = None,
) -> Influenced | Undefined:
    """Mean precision at the score of each positive, with its influence: sum_k (R_k - R_k-1) P_k as scikit-learn.

    Influence is the derivative of the estimate by the mass of a row (no bootstrap): a row moves the precision at
    every threshold at or below its score, and a positive is itself one of the thresholds averaged over.

    Returns:
        In (0, 1]; `Undefined` without positives, or without negatives, where it is 1 whatever the scores.
    """
    given = scored(score, label, count=count, weight=weight, rows=rows)
    missing = one_class(given)
    if missing is not None:
        return missing
    made = steps(given)
    positives = float(made.positive.sum())
    above = np.cumsum((made.positive + made.negative)[::-1])[::-1]
    # A threshold whose rows all weigh nothing selects what the next one selects.
    reached = np.where(above > 0, above, 1.0)
    precision = np.cumsum(made.positive[::-1])[::-1] / reached
    estimate = float(made.positive @ precision) / positives
    of_positive = np.cumsum(made.positive / reached)
    of_all = np.cumsum(made.positive * precision / reached)
    at = made.step
    influence = given.label * (precision[at] - estimate + of_positive[at]) - of_all[at]
    influence *= given.n / positives if given.weight is None else given.n / positives * given.weight
    return given.influenced(min(estimate, 1.0), influence)


def precision_interval(
    value: Influenced, confidence: float = 0.95, *, cluster: Ints | None = None
) -> Interval | Undefined:
    """Interval of an average precision on the logit scale; `Undefined` where every positive is above all negatives."""
    if value.estimate >= 1 or value.se(cluster) <= 1e-12:
        reason = (
            "no row would move the average precision: look at the interval of the area under the ROC curve"
        )
        return Undefined(reason=reason, n=value.n)
    return value.interval(confidence, cluster=cluster, scale="logit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A ROC curve: rates of those with a score at or above each threshold, from nobody to everybody."""

    threshold: Floats  # (point,) descending, infinity first
    false_positive_rate: Floats  # (point,) ascending from 0 to 1
    true_positive_rate: Floats  # (point,) ascending from 0 to 1


def roc_curve(
    score: npt.ArrayLike,
    label: npt.ArrayLike,
    *,
    count: npt.ArrayLike | None = None,
    weight: npt.ArrayLike | None = None,
) -> Curve | Undefined:
    """The ROC curve with a point for each distinct score, none left out."""
    given = scored(score, label, count=count, weight=weight)
    missing = one_class(given)
    if missing is not None:
        return missing
    made = steps(given)
    return _curve(made.score, made.positive, made.negative)


def _curve(score: Floats, positive: Floats, negative: Floats) -> Curve:
    rising = [np.concatenate([[0.0], np.cumsum(mass[::-1])]) for mass in (negative, positive)]
    false, true = (mass / mass[-1] for mass in rising)
    return Curve(
        threshold=np.concatenate([[np.inf], score[::-1]]), false_positive_rate=false, true_positive_rate=true
    )


def abroca(first: Curve, second: Curve) -> float:
    """Area between two ROC curves, the integral of their distance over false positive rates, in [0, 1].

    Source: Gardner, Brooks & Baker 2019, LAK, eq. 1; exact between the points of straight-lined curves, where the
    paper interpolates on a grid. It cannot be negative, so that chance alone makes it larger than 0: no interval
    from standard errors belongs to it. `abroca_test` says how large.
    """
    at = np.union1d(first.false_positive_rate, second.false_positive_rate)
    width = np.diff(at)
    left = _height(first, at[:-1], after=True) - _height(second, at[:-1], after=True)
    right = _height(first, at[1:], after=False) - _height(second, at[1:], after=False)
    size = np.abs(left) + np.abs(right)
    crossed = (left**2 + right**2) / np.where(size > 0, 2 * size, 1.0)
    return float(width @ np.where(left * right < 0, crossed, size / 2))


def _height(curve: Curve, at: Floats, *, after: bool) -> Floats:
    """The curve just after, or just before, each false positive rate: at a vertical piece the two differ."""
    false, true = curve.false_positive_rate, curve.true_positive_rate
    if after:
        start = np.searchsorted(false, at, side="right") - 1
        stop = start + 1
    else:
        stop = np.searchsorted(false, at, side="left")
        start = stop - 1
    slope = (true[stop] - true[start]) / (false[stop] - false[start])
    made: Floats = true[start] + slope * (at - false[start])
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class AbrocaTest:
    """ABROCA of a group against everybody else, beside what chance alone makes of it."""

    estimate: float
    expected_by_chance: float  # mean over permutations
    p: float  # of the hypothesis that scores do not depend on the group among rows of one label
    replicates: int
    seed: int


def abroca_test(
    score: npt.ArrayLike,
    label: npt.ArrayLike,
    member: npt.ArrayLike,
    *,
    count: npt.ArrayLike | None = None,
    cluster: Ints | None = None,
    replicates: int = 999,
    seed: int = 0,
) -> AbrocaTest | Undefined:
    """ABROCA of a group against everybody else, with its permutation p: membership is dealt out again within each label.

    Args:
        member: (row,) True in the group.
        cluster: (row,) codes of what was drawn independently: see `relabelling.deal`.
        replicates: permutations, each of which takes as long as a sort; p is at least 1 / (replicates + 1).
        The others: as `roc_curve`.

    Returns:
        `Undefined` where the group, or everybody else, has only one label.
    """
    given = scored(score, label, count=count)
    inside = truth(member, "member")
    same_length({"score": given.score, "member": inside})
    for side in (inside, ~inside):
        missing = one_class(given.among(side))
        if missing is not None:
            return missing
    times = np.ones(len(inside), dtype=np.int64) if given.count is None else given.count
    made = steps(given)
    step = np.repeat(made.step, times)
    labels, members = np.repeat(given.label, times), np.repeat(inside, times)
    codes = None if cluster is None else np.repeat(cluster, times)
    size = len(made.score)
    total = {kind: np.bincount(step[labels == kind], minlength=size) for kind in (True, False)}

    def distance(positives: Bools, negatives: Bools) -> float:
        drawn = [(True, positives), (False, negatives)]
        group = {kind: np.bincount(step[labels == kind][who], minlength=size) for kind, who in drawn}
        first, second = (
            _curve(made.score, *(counts[kind].astype(np.float64) for kind in (True, False)))
            for counts in (group, {kind: total[kind] - group[kind] for kind in (True, False)})
        )
        return abroca(first, second)

    generator = np.random.default_rng(seed)
    dealt = []
    for kind in (True, False):
        some = labels == kind
        of = None if codes is None else codes[some]
        blocks = deal(members[some], replicates, generator, cluster=of)
        dealt.append(chain.from_iterable(blocks))
    null = np.array([distance(*pair) for pair in zip(*dealt, strict=True)])
    estimate = distance(members[labels], members[~labels])
    return AbrocaTest(
        estimate=estimate,
        expected_by_chance=float(null.mean()),
        p=chance(estimate, null),
        replicates=replicates,
        seed=seed,
    )
