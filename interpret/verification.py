"""Whether taking heads out moves an audited metric on rows never screened, and more than other heads do."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from ..errors import DataError, UsageError, did_you_mean, first
from ..records import Contrast, Floats, Rows
from .ablation import Head, How, ablated
from .audited import MOST_UNDEFINED, Audited, defined, drawn_again, mean_score, of_scores
from .interventions import every_head
from .models import Subject
from .random_sets import RandomSets, random_sets
from .screening import Screening, check_contrast

POWER = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadTest:
    """What taking one set of heads out did to the metric on held-out rows, and whether that is verified."""

    heads: tuple[Head, ...]
    claimed: int  # 1: taking them out lowers the metric as it stands (they carry it); -1: it raises it
    before: float
    after: float
    removed: float  # before - after
    error: float  # standard error over resamples of rows, paired
    low: float  # simultaneous over all sets tested
    high: float
    p: float  # max-T adjusted, two-sided
    n_random: int  # other sets of as many heads
    random_from: str  # "the same layers" or "the whole model"
    random_rank: float | None  # p: share of other sets that move the metric as far, the set itself counted
    random_level: float  # what it has to be at most
    detectable: float  # the effect that would have been verified with a probability of 80 %
    verified: bool
    reason: str  # why not; "" where it is


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verification:
    """Tests of candidate heads, each alone and all together, on rows that were not screened."""

    attribute: str
    group: str
    reference: str
    target: str
    metric: str
    unit: str
    how: str
    ids: tuple[str, ...]
    n_clusters: int | None
    before: float
    before_low: float  # pointwise interval of the metric itself
    before_high: float
    tests: tuple[HeadTest, ...]  # each candidate alone
    together: HeadTest | None  # None for a single candidate
    confidence: float
    critical: float  # of the largest |t|
    replicates: int
    seed: int
    scores: Floats  # (row,) unchanged
    changed: Floats  # (test, row): candidates in order, then together

    @property
    def verified(self) -> tuple[Head, ...]:
        """The heads that are verified one by one."""
        return tuple(test.heads[0] for test in self.tests if test.verified)

    @property
    def detectable(self) -> float:
        """The smallest effect of a single head that would have been verified with a probability of 80 %."""
        return min(test.detectable for test in self.tests)

    def sentence(self) -> str:
        """The finding in words."""
        if self.verified:
            names = ", ".join(f"{layer} head {head}" for layer, head in self.verified)
            return (
                f"Verified on {len(self.ids)} held-out rows: taking out {names} ({self.how}), each alone, moves "
                f"{self.metric} ({self.before:.4g} {self.unit}) as claimed."
            )
        return (
            f"No head set verified on {len(self.ids)} held-out rows. An effect of {self.detectable:.3g} {self.unit} on "
            f"{self.metric} ({self.before:.4g}) would have been verified with a probability of {POWER:.0%}."
        )


def verify(
    subject: Subject,
    rows: Rows,
    contrast: Contrast,
    screening: Screening,
    *,
    heads: Sequence[Head] | None = None,
    n_candidates: int = 4,
    how: How = "mean",
    metric: Audited | None = None,
    reference: Rows | None = None,
    cluster: npt.NDArray[np.integer] | None = None,
    n_random: int = 39,
    confidence: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
    batch_size: int = 32,
    together: int = 12,
    progress: bool = False,
) -> Verification:
    """Take the heads that screening names out of the model and compute the audited metric again on held-out rows.

    A set is verified where (a) its simultaneous interval excludes 0 on the claimed side: effects are studentised by
    their paired standard error over resamples, and the critical value is the quantile of the largest |t| over all sets
    tested (Westfall & Young 1993), times the ratio of t's to the normal quantile at the rows of the smaller side (or
    clusters) less one; and (b) it moves the metric further than other sets of as many heads, of the same layers
    where there are enough: the rank of its effect among theirs is at most 1 - confidence, or, where fewer sets
    exist than that asks for, it is the first.

    Args:
        rows: held out; none of them was screened.
        contrast: over these rows. It is the metric where none is given, and says which side rows are on.
        screening: of other rows. Its signs are the claims.
        heads: the candidates; by default the `n_candidates` with the largest first-order effects, at most half of all.
        how: see `ablated`.
        metric: what an audit measured, decisions included, as a function of scores. Its sign on these rows
            says what "lower" is.
        reference: rows whose outputs stand in; by default `rows`.
        cluster: (row,) codes of rows that were drawn together (a text and its swaps, a person).
        n_random: sets of other heads per set tested.

    Raises:
        DataError: a row was screened too, a side has fewer than two rows, or the metric is undefined.
        UsageError: heads that do not exist or leave none to compare with.
    """
    check_contrast(rows, contrast)
    seen = set(screening.ids) & set(rows.ids)
    if seen:
        raise DataError(
            f"{len(seen)} of {len(rows)} held-out rows were screened too: {first(sorted(seen))}. What screening chose has "
            "to be verified on other rows."
        )
    if replicates < 200 or not 0.5 < confidence < 1:
        raise UsageError(
            f"{replicates} resamples at confidence {confidence}: expected 200 or more, and more than .5."
        )
    if n_random < 1:
        raise UsageError(f"n_random is {n_random}: nothing is verified without other heads to compare with.")
    known = tuple((one.unit.layer, one.unit.head) for one in screening.shares if one.unit.head is not None)
    candidates = _candidates(screening, known, heads, n_candidates)
    if metric is None:
        metric = mean_score(contrast, unit=subject.unit)
        kept = np.flatnonzero(contrast.weights)
        rows, cluster = rows.take(kept), None if cluster is None else np.asarray(cluster)[kept]
        contrast = _only(contrast, kept)
        metric = mean_score(contrast, unit=subject.unit)
    there = set(every_head(subject, rows.take([0])))
    if not there >= set(known):
        raise UsageError(f"the subject has no {first(set(known) - there)}: it is not the one screened.")

    sets = [(head,) for head in candidates]
    if len(candidates) > 1:
        sets.append(tuple(candidates))
    others = [
        random_sets(one, candidates, known, n_random, math.ceil(1 / (1 - confidence) - 1e-9) - 1, seed)
        for one in sets
    ]
    runs: dict[frozenset[Head], int] = {frozenset(): 0}
    for some in (sets, *(one.sets for one in others)):
        for one in some:
            runs.setdefault(frozenset(one), len(runs))
    scores = ablated(
        subject,
        rows,
        [sorted(one) for one in runs],
        how=how,
        reference=reference,
        batch_size=batch_size,
        together=together,
        seed=seed,
        progress=progress,
    )
    judged = _Judged(metric, contrast, scores, cluster, replicates, confidence, seed)
    direction = _direction(screening, judged.before if metric.strata is None or True else 0.0)
    tests = judged.tests(
        sets, others, [runs[frozenset(one)] for one in sets], runs, _claims(screening, sets, direction)
    )
    return Verification(
        attribute=contrast.attribute,
        group=contrast.group,
        reference=contrast.reference,
        target=subject.target,
        metric=metric.name,
        unit=metric.unit,
        how=how,
        ids=rows.ids,
        n_clusters=None if cluster is None else len(np.unique(cluster)),
        before=judged.before,
        before_low=judged.interval[0],
        before_high=judged.interval[1],
        tests=tests[: len(candidates)],
        together=tests[-1] if len(candidates) > 1 else None,
        confidence=confidence,
        critical=judged.critical,
        replicates=replicates,
        seed=seed,
        scores=scores[0],
        changed=scores[[runs[frozenset(one)] for one in sets]],
    )
