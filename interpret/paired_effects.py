"""What changes of a model do to a metric on the same rows: paired effects with simultaneous critical values."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ..errors import DataError
from ..records import Floats
from .audited import Audited, Ints

MOST_UNDEFINED = 0.05  # of the resamples in which a metric may be undefined
BLOCK = 256  # replicates computed at once


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Paired:
    """A metric before a change less the metric after it, of several changes of one model."""

    before: float
    before_low: float  # pointwise
    before_high: float
    removed: Floats  # (run,) before - after
    tested: tuple[int, ...]  # the runs with an error
    error: Floats  # (tested,) standard deviation over resamples
    p: Floats  # (tested,) max-T adjusted
    critical: float


def paired(
    metric: Audited,
    scores: Floats,
    *,
    tested: Sequence[int],
    cluster: Ints | None,
    degrees: int,
    confidence: float,
    replicates: int,
    seed: int,
) -> Paired:
    """The effects of runs on a metric, those that are tested with errors over the same resamples of rows.

    Args:
        scores: (run, row); the first run is the unchanged model.
        tested: runs that are tested together.
        degrees: of freedom, of the t quantile that widens the critical value for few rows.

    Raises:
        DataError: the metric is undefined on the rows, or in more than 5 % of resamples.
    """
    n_rows = scores.shape[1]
    plain = of_scores(metric, scores, np.ones((1, n_rows)))[:, 0]
    if not np.all(np.isfinite(plain)):
        raise DataError(
            f"{metric.name} is undefined on these {n_rows} rows in {int((~np.isfinite(plain)).sum())} of {len(plain)} runs: "
            "a denominator is empty. Give more held-out rows."
        )
    counts = drawn_again(n_rows, metric.strata, cluster, replicates, seed)
    drawn = of_scores(metric, scores[[0, *tested]], counts)
    good = np.all(np.isfinite(drawn), axis=0)
    if good.mean() < 1 - MOST_UNDEFINED:
        raise DataError(
            f"{metric.name} is undefined in {1 - good.mean():.0%} of resamples of {n_rows} rows, at most "
            f"{MOST_UNDEFINED:.0%} may be: a group is too small. Give more held-out rows."
        )
    drawn = drawn[:, good]
    removed = plain[0] - plain
    effects = drawn[0] - drawn[1:]
    error = effects.std(axis=1, ddof=1)
    error[error <= 1e-12 * max(1.0, float(np.abs(drawn).max()))] = 0.0
    tail = 0.5 + confidence / 2
    wider = float(stats.t.ppf(tail, degrees) / stats.norm.ppf(tail))
    moved = error > 0
    here = removed[list(tested)]
    if moved.any():
        t = np.abs(effects[moved] - here[moved, None]) / error[moved, None]
        largest = wider * t.max(axis=0)
    else:
        largest = np.zeros(drawn.shape[1])
    p = np.ones(len(tested))
    for i in np.flatnonzero(moved):
        p[i] = (1 + np.count_nonzero(largest >= abs(here[i]) / error[i])) / (1 + len(largest))
    half = wider * float(stats.norm.ppf(tail)) * float(drawn[0].std(ddof=1))
    return Paired(
        before=float(plain[0]),
        before_low=float(plain[0]) - half,
        before_high=float(plain[0]) + half,
        removed=removed,
        tested=tuple(tested),
        error=error,
        p=p,
        critical=float(np.quantile(largest, confidence, method="higher")),
    )


def drawn_again(n_rows: int, strata: Ints | None, cluster: Ints | None, replicates: int, seed: int) -> Floats:
    """How often each row counts in each resample, (replicate, row).

    Rows are drawn with replacement within strata, or whole clusters from all clusters.

    Raises:
        DataError: one cluster alone, or codes that are not one per row.
    """
    for what, codes in (("strata", strata), ("cluster", cluster)):
        if codes is not None and len(codes) != n_rows:
            raise DataError(f"{what} has {len(codes)} codes for {n_rows} rows; one per row is expected.")
    generator = np.random.default_rng(seed)
    if cluster is not None:
        names, codes = np.unique(cluster, return_inverse=True)
        if len(names) < 2:
            raise DataError("there is one cluster: drawing clusters again shows nothing. Two are needed.")
        counts = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=replicates)
        return counts[:, codes].astype(np.float64)
    made = np.zeros((replicates, n_rows))
    codes = np.zeros(n_rows, dtype=np.int64) if strata is None else strata
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        made[:, rows] = generator.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=replicates)
    return made


def of_scores(metric: Audited, scores: Floats, counts: Floats) -> Floats:
    """The metric of each score vector (vector, row) in each resample: (vector, replicate).

    Raises:
        DataError: the metric gives something else than one number per resample.
    """
    made = np.empty((len(scores), len(counts)))
    for i, one in enumerate(scores):
        for start in range(0, len(counts), BLOCK):
            block = counts[start : start + BLOCK]
            found = np.asarray(metric.values(one, block), dtype=np.float64)
            if found.shape != (len(block),):
                raise DataError(
                    f"the metric {metric.name!r} gave {found.shape} for {len(block)} resamples; one number each is expected."
                )
            made[i, start : start + len(block)] = found
    return made
