"""Whether taking heads out moves an audited metric on rows never screened, and more than other heads do."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import DataError, UsageError, first
from ..records import Contrast, Floats, Rows
from .ablation import Head, ablated
from .audited import Audited, mean_score
from .gate_effects import Unit
from .head_tests import POWER, HeadTest, claim, tested
from .interventions import every_head
from .models import Subject
from .paired_effects import paired
from .random_sets import random_sets
from .screening import Screening, check_contrast


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
    def detectable(self) -> float | None:
        """The smallest effect of one candidate that would have been verified with a probability of 80 %."""
        known = [test.detectable for test in self.tests if test.detectable is not None]
        return min(known, default=None)

    def sentence(self) -> str:
        """The finding in words."""
        where = f"on {len(self.ids)} held-out rows"
        found = [test for test in self.tests if test.verified]
        if self.together is not None and self.together.verified:
            found.append(self.together)
        if not found:
            said = f"No head set verified {where}: {self.metric} is {self.before:.4g} {self.unit}."
            if self.detectable is None:
                return f"{said} No candidate changed it in any row, so that nothing is known of its power."
            return f"{said} An effect of {self.detectable:.3g} would have been verified with a probability of {POWER:.0%}."
        parts = [
            f"{' and '.join(f'{layer} head {head}' for layer, head in test.heads)} moves it by {-test.removed:+.4g} "
            f"[{-test.high:+.4g}, {-test.low:+.4g}]"
            for test in found
        ]
        return (
            f"Verified {where} ({self.metric} is {self.before:.4g} {self.unit}): taking out {'; '.join(parts)} "
            f"(how: {self.how}; simultaneous {self.confidence:.0%} intervals)."
        )


def verify(
    subject: Subject,
    rows: Rows,
    contrast: Contrast,
    screening: Screening,
    *,
    heads: Sequence[Head] | None = None,
    n_candidates: int = 4,
    how: str = "mean",
    metric: Audited | None = None,
    reference: Rows | None = None,
    cluster: npt.NDArray[np.integer] | None = None,
    n_random: int = 39,
    least: float = 0.0,
    confidence: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
    batch_size: int = 32,
    together: int = 4,
    progress: bool = False,
) -> Verification:
    """Take the heads that screening names out of the model and compute the audited metric again on held-out rows.

    A set is verified where (a) its simultaneous interval excludes 0 on the side that screening claims: effects are
    studentised by their paired standard error over resamples, and the critical value is the quantile of the largest |t|
    over all sets tested (Westfall & Young 1993, max-T), times the ratio of Student's to the normal quantile with the
    rows of the smaller side (or the clusters) less one as degrees of freedom; and (b) it moves the metric
    further than other sets of as many heads: its rank among them is at most 1 - confidence, or, where fewer sets exist
    than that asks for, it is the first.

    Args:
        rows: held out; none of them was screened.
        contrast: over these rows. It is the metric where none is given; its two sides are drawn again each by itself.
        screening: of other rows. Its signs are the claims.
        heads: the candidates; by default the `n_candidates` with the largest first-order effects, at most half of all.
        how: see `ablated`.
        metric: what an audit measured, decisions included, as a function of scores.
        reference: rows whose outputs stand in; by default `rows`.
        cluster: (row,) codes of rows that were drawn together (a text and its swaps, a person).
        n_random: sets of other heads per set tested.
        least: the smallest effect that matters, in the unit of the metric; a smaller one is not verified.

    Raises:
        DataError: a row was screened too, a side has fewer than two rows, or the metric is undefined.
        UsageError: heads that do not exist or leave none to compare with.
    """
    _check(rows, contrast, screening, cluster, replicates, confidence, n_random)
    if not 0 <= least < math.inf:
        raise UsageError(f"least is {least}; 0 or more is expected, in the unit of the metric.")
    known = tuple((one.unit.layer, one.unit.head) for one in screening.shares if one.unit.head is not None)
    candidates = _candidates(screening, known, heads, n_candidates)
    if metric is None:
        kept = np.flatnonzero(contrast.weights)
        rows, cluster = rows.take(kept), None if cluster is None else np.asarray(cluster)[kept]
        contrast = dataclasses.replace(contrast, ids=rows.ids, weights=np.asarray(contrast.weights)[kept])
        metric = mean_score(contrast, unit=subject.unit)
    there = every_head(subject, rows)
    gone = [str(Unit(*head)) for head in known if head not in there]
    if gone:
        raise UsageError(f"{subject.name} has no {first(gone)}: it is not the subject that was screened.")
    sets: list[tuple[Head, ...]] = [(head,) for head in candidates]
    if len(candidates) > 1:
        sets.append(candidates)
    needed = math.ceil(1 / (1 - confidence) - 1e-9) - 1
    others = [random_sets(one, candidates, known, n_random, needed, seed) for one in sets]
    runs: dict[frozenset[Head], int] = {frozenset(): 0}
    for one in (*sets, *(one for some in others for one in some.sets)):
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
    judged = paired(
        metric,
        scores,
        tested=[runs[frozenset(one)] for one in sets],
        cluster=None if cluster is None else np.asarray(cluster, dtype=np.int64),
        degrees=_degrees(contrast, cluster),
        confidence=confidence,
        replicates=replicates,
        seed=seed,
    )
    tests = tuple(
        tested(
            one,
            judged,
            place,
            np.array([judged.removed[runs[frozenset(other)]] for other in some.sets]),
            some.source,
            claim(screening, one, metric.follows),
            least,
            1 - confidence,
        )
        for place, (one, some) in enumerate(zip(sets, others, strict=True))
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
        before_low=judged.before_low,
        before_high=judged.before_high,
        tests=tests[: len(candidates)],
        together=tests[-1] if len(candidates) > 1 else None,
        confidence=confidence,
        critical=judged.critical,
        replicates=replicates,
        seed=seed,
        scores=scores[0],
        changed=scores[[runs[frozenset(one)] for one in sets]],
    )


def _check(
    rows: Rows,
    contrast: Contrast,
    screening: Screening,
    cluster: npt.NDArray[np.integer] | None,
    replicates: int,
    confidence: float,
    n_random: int,
) -> None:
    check_contrast(rows, contrast)
    seen = set(screening.ids) & set(rows.ids)
    if seen:
        raise DataError(
            f"{len(seen)} of {len(rows)} held-out rows were screened too: {first(sorted(seen))}. What screening chose has "
            "to be verified on other rows."
        )
    for sign, name in ((1, contrast.group), (-1, contrast.reference)):
        n = int((np.sign(contrast.weights) == sign).sum())
        if n < 2:
            raise DataError(
                f"{n} held-out row(s) of {name!r} weigh something; two or more on each side are needed."
            )
    if cluster is not None and len(cluster) != len(rows):
        raise DataError(f"cluster has {len(cluster)} codes for {len(rows)} rows; one per row is expected.")
    if replicates < 200 or not 0.5 < confidence < 1:
        raise UsageError(
            f"{replicates} resamples at confidence {confidence}: expected 200 or more, and more than .5."
        )
    if n_random < 1:
        raise UsageError(f"n_random is {n_random}: nothing is verified without other heads to compare with.")


def _candidates(
    screening: Screening, known: Sequence[Head], heads: Sequence[Head] | None, n: int
) -> tuple[Head, ...]:
    if heads is None:
        if n < 1:
            raise UsageError(f"n_candidates is {n}, expected 1 or more.")
        ranked = screening.ranked()[: min(n, max(1, len(known) // 2))]
        return tuple((one.unit.layer, one.unit.head) for one in ranked if one.unit.head is not None)
    chosen = tuple(dict.fromkeys(heads))
    for layer, head in chosen:
        screening.of(layer, head)
    if not chosen or len(chosen) >= len(known):
        raise UsageError(
            f"{len(chosen)} of {len(known)} heads are candidates; one or more are expected, and others to compare with."
        )
    return chosen


def _degrees(contrast: Contrast, cluster: npt.NDArray[np.integer] | None) -> int:
    if cluster is not None:
        return max(1, len(np.unique(cluster)) - 1)
    return min(int((contrast.weights > 0).sum()), int((contrast.weights < 0).sum())) - 1
