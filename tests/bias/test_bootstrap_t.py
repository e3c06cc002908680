"""Errors are Welch's, the paired and the clustered ones; sparse is dense; intervals cover at their rate."""

import numpy as np
import pytest
from scipy import sparse, stats

from clinometer.bias.bootstrap_t import bootstrap_t
from clinometer.bias.influence import difference, mean
from clinometer.bias.upper_quantiles import UpperQuantiles
from clinometer.errors import DataError


def two(n=40, m=70, columns=3, seed=0):
    generator = np.random.default_rng(seed)
    values = generator.gamma(2.0, size=(n + m, columns))
    return values, np.repeat([1 / n, -1 / m], [n, m])


def test_of_equal_weights_the_error_is_welchs():
    values, weights = two()
    made = bootstrap_t(values, weights, replicates=60)
    for column in range(3):
        found = stats.ttest_ind(values[:40, column], values[40:, column], equal_var=False)
        estimate = weights @ values[:, column]
        assert made.error[column] == pytest.approx(estimate / found.statistic, rel=1e-10)


def test_of_pairs_the_error_is_that_of_their_differences():
    generator = np.random.default_rng(0)
    one = generator.normal(size=(30, 2))
    other = one + 0.1 * generator.normal(size=(30, 2))
    weights = np.repeat([1 / 30, -1 / 30], 30)
    made = bootstrap_t(
        np.concatenate([one, other]), weights, cluster=np.tile(np.arange(30), 2), replicates=60
    )
    np.testing.assert_allclose(made.error, (one - other).std(axis=0, ddof=1) / np.sqrt(30), rtol=1e-10)
    apart = bootstrap_t(np.concatenate([one, other]), weights, replicates=60)
    assert (apart.error > 5 * made.error).all()  # the control: without pairs it is another number


@pytest.mark.parametrize("weighted", [False, True])
def test_of_clusters_on_one_side_each_the_error_is_that_of_their_influence(weighted):
    generator = np.random.default_rng(1)
    cluster = np.repeat(np.arange(24), generator.integers(1, 6, size=24))
    values = generator.normal(size=len(cluster)) + generator.normal(size=24)[cluster]
    inside = cluster < 10
    weight = generator.uniform(0.5, 2, size=len(cluster)) if weighted else np.ones(len(cluster))
    weights = np.where(inside, weight / weight[inside].sum(), -weight / weight[~inside].sum())
    made = bootstrap_t(values[:, None], weights, cluster=cluster, replicates=60)
    parts = [mean(values[rows], rows=np.flatnonzero(rows), weight=weight[rows]) for rows in (inside, ~inside)]
    assert made.error[0] == pytest.approx(difference(*parts, cluster=cluster).se, rel=1e-10)


def test_counted_rows_are_rows_written_out():
    values, _ = two(12, 15, seed=4)
    count = np.random.default_rng(2).integers(1, 5, size=27)
    side = np.arange(27) < 12
    weights = np.where(side, count / count[side].sum(), -count / count[~side].sum())
    made = bootstrap_t(values, weights, count=count, replicates=4000)
    rows = np.repeat(np.arange(27), count)
    long = bootstrap_t(values[rows], (weights / count)[rows], replicates=4000)
    np.testing.assert_allclose(made.error, long.error, rtol=1e-10)
    np.testing.assert_allclose(made.pointwise, long.pointwise, rtol=0.06)  # draws differ
    assert made.simultaneous == pytest.approx(long.simultaneous, rel=0.06)


def test_sparse_and_dense_give_the_same():
    generator = np.random.default_rng(3)
    values = generator.normal(size=(60, 9)) * (
        generator.random((60, 9)) < [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1]
    )
    weights = np.repeat([1 / 25, -1 / 35], [25, 35])
    cluster = generator.integers(0, 30, size=60)
    for more in ({}, {"cluster": cluster}):
        dense = bootstrap_t(values, weights, replicates=100, **more)
        wide = sparse.hstack([sparse.csr_array(values), sparse.csr_array((60, 400))])
        thin = bootstrap_t(wide, weights, replicates=100, **more)
        np.testing.assert_allclose(thin.error[:9], dense.error, rtol=1e-9)
        np.testing.assert_allclose(thin.pointwise[:9], dense.pointwise, rtol=1e-6)
        assert thin.simultaneous == pytest.approx(dense.simultaneous, rel=1e-6)


def test_slow_twin():
    """The same draws in plain loops: each replicate's mean, error and |t| written out."""
    values, weights = two(9, 14, columns=2, seed=6)
    made = bootstrap_t(values, weights, replicates=80, seed=5)
    generator = np.random.default_rng(5)
    draws = [generator.multinomial(n, np.full(n, 1 / n), size=80) for n in (9, 14)]
    expected = np.empty((80, 2))
    for r in range(80):
        for column in range(2):
            distance, square = 0.0, 0.0
            for sign, part, drawn in (
                (1, values[:9, column], draws[0][r]),
                (-1, values[9:, column], draws[1][r]),
            ):
                again = np.repeat(part, drawn)
                distance += sign * (again.mean() - part.mean())
                square += again.var(ddof=1) / len(again)
            expected[r, column] = abs(distance) / np.sqrt(square)
    np.testing.assert_allclose(
        made.pointwise, np.quantile(expected, 0.95, axis=0, method="higher"), rtol=1e-9
    )
    assert made.simultaneous == pytest.approx(
        np.quantile(expected.max(axis=1), 0.95, method="higher"), rel=1e-9
    )


def test_intervals_of_clustered_rows_cover_at_their_rate_and_without_clusters_they_do_not():
    generator = np.random.default_rng(7)
    cluster = np.repeat(np.arange(40), 5)
    weights = np.where(np.arange(200) % 2 == 0, 1 / 100, -1 / 100)  # clusters lie on both sides
    covered = {"with": 0, "without": 0}
    for i in range(200):
        lean = generator.normal(size=40)[cluster] * np.where(weights > 0, 1.0, -1.0)
        values = (lean + generator.normal(size=200))[:, None]
        estimate = abs(float(weights @ values[:, 0]))
        for name, codes in (("with", cluster), ("without", None)):
            made = bootstrap_t(values, weights, cluster=codes, replicates=200, seed=i)
            covered[name] += estimate <= made.near[0]
    assert abs(covered["with"] / 200 - 0.95) <= 3 * np.sqrt(0.95 * 0.05 / 200)
    assert covered["without"] / 200 < 0.85


def test_the_seed_decides_the_draws():
    values, weights = two()
    one, again, other = (bootstrap_t(values, weights, replicates=60, seed=s).pointwise for s in (0, 0, 1))
    assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_what_cannot_be_drawn_is_refused():
    values, weights = two()
    with pytest.raises(DataError, match="50 or more"):
        bootstrap_t(values, weights, replicates=49)
    with pytest.raises(DataError, match="1 clusters; at least two"):
        bootstrap_t(values, weights, cluster=np.where(weights > 0, 0, np.arange(110)))
    with pytest.raises(DataError, match="no row weighs anything"):
        bootstrap_t(values, np.zeros(110))


def test_within_strata_the_error_is_that_of_the_standardised_difference():
    """sum of share^2 (s1^2 / n1 + s2^2 / n2) but for the sides' own n / (n - 1); without strata it is far too wide."""
    generator = np.random.default_rng(3)
    side, stratum = np.repeat([True, False], 200), np.tile(np.repeat(np.arange(4), 50), 2)
    values = 5.0 * stratum + generator.normal(size=400)
    weights = np.where(side, 1 / 200, -1 / 200)
    made = bootstrap_t(values[:, None], weights, stratum=stratum, replicates=200)
    parts = [values[(side == s) & (stratum == k)] for s in (True, False) for k in range(4)]
    expected = np.sqrt(sum(part.var(ddof=1) / 50 / 16 for part in parts) * 200 / 199)
    assert made.error[0] == pytest.approx(expected, rel=1e-9)
    thin = bootstrap_t(sparse.csr_array(values[:, None]), weights, stratum=stratum, replicates=200)
    assert thin.error[0] == pytest.approx(expected, rel=1e-9)
    assert bootstrap_t(values[:, None], weights, replicates=200).error[0] > 4 * expected
    alone = np.where(np.arange(400) == 0, 9, stratum)  # a stratum of one row has no variance of its own
    assert bootstrap_t(values[:, None], weights, stratum=alone, replicates=60).error[0] > expected


def test_upper_quantiles_are_numpys_whatever_comes_when():
    generator = np.random.default_rng(0)
    values = generator.normal(size=(101, 7))
    values[generator.random((101, 7)) < 0.3] = np.nan
    values[:, 6] = np.nan
    for confidence in (0.5, 0.9, 0.95, 0.99):
        made = UpperQuantiles(7, 101, confidence)
        for part in np.array_split(values, 6):
            made.add(part)
        expected = [np.quantile(c[~np.isnan(c)], confidence, method="higher") for c in values.T[:6]]
        np.testing.assert_array_equal(made.quantile(-1.0), [*expected, -1.0])
