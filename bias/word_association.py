"""WEAT: how word vectors associate two sets of words with two sets of attributes."""

import math
from itertools import combinations

import numpy as np
import numpy.typing as npt

from ..errors import DataError, UsageError, first
from .intervals import Interval
from .stereotypes import Scored

Floats = npt.NDArray[np.float64]
MOST_DIVISIONS = 20_000  # of the target words: with no more, every one is looked at


def weat(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    *,
    confidence: float = 0.95,
    replicates: int = 1000,
    permutations: int = 10_000,
    seed: int = 0,
) -> Scored:
    """WEAT's effect size: how much nearer X lies to A than to B, and Y the other way round (Caliskan et al. 2017).

    s(w) is the mean cosine of w with A minus that with B; d = (mean of s over X - mean over Y) / sample standard deviation
    of s over both (n - 1). p is one-sided: the share of divisions of X and Y into sets of these sizes whose difference
    is as large; over all divisions where there are 20,000 or fewer, else of `permutations` drawn, (1 + as large) / (1 +
    drawn). Interval: percentile bootstrap over target words within X and Y.

    Args:
        x, y: (word, dimension) vectors of the target words. a, b: of the attribute words.

    Raises:
        DataError: a set without two target words or without an attribute word, vectors of several lengths, or a
            vector of zeros.
    """
    sets = [
        _vectors(values, name, least)
        for values, name, least in ((x, "X", 2), (y, "Y", 2), (a, "A", 1), (b, "B", 1))
    ]
    if len({one.shape[1] for one in sets}) != 1:
        raise DataError(
            f"vectors have {first(one.shape[1] for one in sets)} dimensions; one number is expected."
        )
    s_x, s_y = ((one @ sets[2].T).mean(axis=1) - (one @ sets[3].T).mean(axis=1) for one in sets[:2])
    both = np.concatenate([s_x, s_y])
    if np.ptp(both) <= 1e-12:
        raise DataError(
            "every target word lies as near to A as the others do: the effect size is undefined, 0 by 0."
        )
    p, test = _weat_p(s_x, s_y, permutations, seed)
    ends, kind = _weat_interval(s_x, s_y, confidence, replicates, seed)
    return Scored(
        name="WEAT d",
        estimate=_effect(s_x, s_y),
        low=None if ends is None else ends.low,
        high=None if ends is None else ends.high,
        ideal=0.0,
        n=len(both),
        of=f"target words ({len(s_x)} and {len(s_y)})",
        p=p,
        test=test,
        interval=kind,
        confidence=confidence,
    )


def _effect(s_x: Floats, s_y: Floats) -> float:
    spread = float(np.concatenate([s_x, s_y]).std(ddof=1))
    return float(s_x.mean() - s_y.mean()) / spread if spread > 0 else math.nan


def _weat_p(s_x: Floats, s_y: Floats, permutations: int, seed: int) -> tuple[float, str]:
    both, n = np.concatenate([s_x, s_y]), len(s_x)
    seen = float(s_x.sum()) - 1e-12
    divisions = math.comb(len(both), n)
    if divisions <= MOST_DIVISIONS:
        sums = np.array([both[list(chosen)].sum() for chosen in combinations(range(len(both)), n)])
        return float(np.mean(sums >= seen)), f"all {divisions} divisions, one-sided"
    if permutations < 99:
        raise UsageError(f"permutations is {permutations}; 99 or more are expected.")
    generator = np.random.default_rng(seed)
    drawn = np.array([both[generator.permutation(len(both))[:n]].sum() for _ in range(permutations)])
    return float(
        (1 + np.count_nonzero(drawn >= seen)) / (1 + permutations)
    ), f"{permutations} divisions drawn, one-sided"


def _weat_interval(
    s_x: Floats, s_y: Floats, confidence: float, replicates: int, seed: int
) -> tuple[Interval | None, str]:
    generator = np.random.default_rng(seed)
    draws = np.array(
        [
            _effect(
                s_x[generator.integers(0, len(s_x), len(s_x))], s_y[generator.integers(0, len(s_y), len(s_y))]
            )
            for _ in range(replicates)
        ]
    )
    defined = draws[np.isfinite(draws)]
    if len(defined) < 0.95 * replicates:
        return None, "none: too few words to draw again"
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(
        float(low), float(high)
    ), f"percentile bootstrap over target words, {replicates} replicates"


def _vectors(values: npt.ArrayLike, name: str, least: int) -> Floats:
    made = np.asarray(values, dtype=np.float64)
    if made.ndim != 2 or len(made) < least:
        raise DataError(
            f"{name} has shape {made.shape}; {least} vectors or more, (word, dimension), are expected."
        )
    length = np.linalg.norm(made, axis=1)
    bad = np.flatnonzero(~(length > 0) | ~np.isfinite(length))
    if bad.size:
        raise DataError(f"vectors {first(bad)} of {name} are zero or no numbers: they have no direction.")
    unit: Floats = made / length[:, None]
    return unit
