"""Tests that rates are equal: exact, mid-p, score, of two groups or of many."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from ..errors import DataError, UsageError
from .intervals import exceeds_p

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST_BOSCHLOO = 60  # rows of both groups: beyond it the search over the nuisance rate takes too long
LEAST_EXPECTED = 5.0  # Cochran's rule for the chi-square curve (1954)
MOST_TABLES = 200_000
CHUNK = 1 << 20
MOST_PERMUTED = 10**9  # rows that NumPy's hypergeometric draws stand
NEAR = 1e-9


class Tested(NamedTuple):
    """A p-value, by which test, from how many rows."""

    p: float
    method: str
    n: int


def fisher_exact(k1: int, n1: int, k2: int, n2: int) -> Tested:
    """Fisher's exact test of two rates, two-sided: tables no likelier than the one seen (scipy)."""
    table = _table(k1, n1, k2, n2)
    return Tested(min(1.0, float(stats.fisher_exact(table)[1])), "Fisher exact", n1 + n2)


def fisher_mid_p(k1: int, n1: int, k2: int, n2: int) -> Tested:
    """Fisher's test with half the chance of the table seen taken off (Lancaster 1961; Fagerland et al. 2015).

    Nearly of its nominal size on average, where Fisher's own is far below it; it may pass it a little.
    """
    _table(k1, n1, k2, n2)
    seen = float(stats.hypergeom.pmf(k1, n1 + n2, k1 + k2, n1))
    return Tested(max(0.0, fisher_exact(k1, n1, k2, n2).p - seen / 2), "Fisher mid-p", n1 + n2)


def boschloo(k1: int, n1: int, k2: int, n2: int) -> Tested:
    """Boschloo's exact unconditional test (1970), two-sided, by scipy; for small groups."""
    table = _table(k1, n1, k2, n2)
    if k1 + k2 in (0, n1 + n2):  # one table alone has these margins
        return Tested(1.0, "Boschloo", n1 + n2)
    # scipy takes the two samples as columns.
    return Tested(min(1.0, float(stats.boschloo_exact(table.T).pvalue)), "Boschloo", n1 + n2)


def score(k1: int, n1: int, k2: int, n2: int) -> Tested:
    """The pooled two-proportion z test, which is Pearson's chi-square without correction."""
    _table(k1, n1, k2, n2)
    return Tested(exceeds_p(k1, n1, k2, n2), "score z", n1 + n2)


def exact_binomial(k: int, n: int, rate: float) -> Tested:
    """The exact two-sided test that a rate is `rate`, by scipy (Clopper & Pearson 1934).

    Raises:
        UsageError: `rate` is outside 0 to 1.
    """
    _whole(k, n)
    if not 0 <= rate <= 1:
        raise UsageError(f"a rate of {rate} cannot be tested; between 0 and 1 is expected.")
    return Tested(float(stats.binomtest(k, n, rate).pvalue), "exact binomial", n)


def equality(k1: int, n1: int, k2: int, n2: int) -> Tested:
    """Test that two independent rates are equal, by the test that suits their size, which it names.

    Boschloo's up to 60 rows in all; Fisher's mid-p while an expected count is under 5; else the score test.
    """
    table = _table(k1, n1, k2, n2)
    if n1 + n2 <= MOST_BOSCHLOO:
        return boschloo(k1, n1, k2, n2)
    if _expected(table).min() < LEAST_EXPECTED:
        return fisher_mid_p(k1, n1, k2, n2)
    return score(k1, n1, k2, n2)


def homogeneity(
    k: Sequence[int],
    n: Sequence[int],
    *,
    replicates: int = 9_999,
    seed: int = 0,
    approximate: bool | None = None,
) -> Tested:
    """Test that the rates of all groups are equal, by Pearson's chi-square statistic.

    Groups without rows say nothing and are left out. The chi-square curve where every expected count is 5 or
    more; else the statistic's own distribution given both margins: all tables where they can be listed, or
    `replicates` random ones with p = (1 + as far out) / (1 + replicates). From a billion rows on, random tables keep
    the rows of each group but not the sum of successes, which then hardly varies.

    Args:
        k: successes of each group.
        n: rows of each group.
        replicates: random tables, where they are too many to list.
        seed: of the random tables.
        approximate: True takes the curve, False never does; None goes by the expected counts.

    Raises:
        DataError: fewer than two groups with rows, or counts that are no rate.
    """
    if len(k) != len(n):
        raise DataError(
            f"{len(k)} counts and {len(n)} denominators; one of each for every group is expected."
        )
    for one, size in zip(k, n, strict=True):
        _whole(one, size, least=0)
    there = [i for i, size in enumerate(n) if size > 0]
    if len(there) < 2:
        raise DataError(f"{len(there)} groups have rows; two are needed to compare.")
    success = np.asarray([k[i] for i in there], dtype=np.int64)
    rows = np.asarray([n[i] for i in there], dtype=np.int64)
    total, everybody = int(success.sum()), int(rows.sum())
    if total in (0, everybody):  # every rate is the same, in every table of these margins
        return Tested(1.0, "homogeneity, nothing varies", everybody)
    table = np.stack([success, rows - success], axis=1)
    if approximate is None:
        approximate = bool(_expected(table).min() >= LEAST_EXPECTED)
    if approximate:
        p = float(stats.chi2_contingency(table, correction=False)[1])
        return Tested(p, "homogeneity, chi-square", everybody)
    seen = float(_pearson(success[None, :], rows)[0])
    if _n_tables(rows, total) <= MOST_TABLES:
        tables, chance = _all_tables(rows, total)
        p = float(chance[_pearson(tables, rows) >= seen * (1 - NEAR)].sum())
        return Tested(min(1.0, p), "homogeneity, exact", everybody)
    generator = np.random.default_rng(seed)
    further, step = 0, max(1, CHUNK // len(rows))
    permuted = everybody < MOST_PERMUTED
    for begin in range(0, replicates, step):
        size = min(step, replicates - begin)
        if permuted:
            drawn = generator.multivariate_hypergeometric(rows, total, size=size)
        else:
            drawn = generator.binomial(rows, total / everybody, size=(size, len(rows)))
        further += int(np.sum(_pearson(drawn, rows) >= seen * (1 - NEAR)))
    p = (1 + further) / (1 + replicates)
    how = "permutation" if permuted else "simulation at the common rate"
    return Tested(p, f"homogeneity, {how} ({replicates} tables, seed {seed})", everybody)


def _pearson(success: Ints, rows: Ints) -> Floats:
    """Pearson's statistic of tables with the same margins, (table,); up to a factor that they share."""
    rate = success.sum(axis=1, keepdims=True) / rows.sum()
    made: Floats = ((success - rows * rate) ** 2 / rows).sum(axis=1)
    return made


def _n_tables(rows: Ints, total: int) -> float:
    """How many tables have these margins, or at most have; infinity as soon as they are beyond listing."""
    sizes = sorted(np.minimum(rows, total).tolist())
    at_most = float(math.prod(size + 1.0 for size in sizes[:-1]))  # the last group takes what is left
    if at_most <= MOST_TABLES or total > MOST_TABLES:
        return at_most
    ways = np.zeros(total + 1)
    ways[0] = 1.0
    for size in rows.tolist():
        summed = np.cumsum(ways)
        ways = summed - np.concatenate([np.zeros(min(size + 1, total + 1)), summed[: max(0, total - size)]])
        if ways.max() > 1e12:
            return math.inf
    return float(ways[total])


def _all_tables(rows: Ints, total: int) -> tuple[Ints, Floats]:
    """Every table of these margins, (table, group), and its multivariate hypergeometric chance."""
    tables = np.zeros((1, 0), dtype=np.int64)
    left = np.asarray([total])
    behind = int(rows.sum())
    for size in rows.tolist():
        behind -= size
        low, high = np.maximum(0, left - behind), np.minimum(size, left)
        times = high - low + 1
        which = np.repeat(np.arange(len(tables)), times)
        start = np.cumsum(times) - times
        taken = np.arange(len(which)) - start[which] + low[which]
        tables, left = np.concatenate([tables[which], taken[:, None]], axis=1), left[which] - taken
    chance: Floats = np.exp(stats.multivariate_hypergeom.logpmf(tables, rows, total))
    return tables, chance


def _expected(table: npt.NDArray[np.int64]) -> Floats:
    made: Floats = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / table.sum()
    return made


def _whole(k: int, n: int, *, least: int = 1) -> None:
    if n < least or not 0 <= k <= n:
        raise DataError(f"{k} of {n} is no rate: expected 0 <= k <= n and at least {least} rows.")


def _table(k1: int, n1: int, k2: int, n2: int) -> npt.NDArray[np.int64]:
    _whole(k1, n1)
    _whole(k2, n2)
    return np.asarray([[k1, n1 - k1], [k2, n2 - k2]], dtype=np.int64)
