"""Clusters and weights: known designs, statsmodels, coverage by simulation, refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from clinometer.bias.clusters import (
    FEW,
    clustered_difference,
    clustered_mean,
    clustered_rate,
    effective_rows,
    newcombe_clustered,
    permutation_within,
)
from clinometer.bias.intervals import mean_interval, newcombe, welch, wilson
from clinometer.errors import DataError
from reference.inference import clustered_difference as slow_difference


def test_rows_by_themselves_are_the_plain_intervals():
    x = np.random.default_rng(0).normal(size=30)
    success = x > 0.4
    k = int(success.sum())
    assert clustered_mean(x).interval() == pytest.approx(mean_interval(x), abs=1e-12)
    assert clustered_rate(success).interval() == pytest.approx(wilson(k, 30), abs=1e-12)
    assert clustered_rate(success, cluster=np.arange(30)).interval() == pytest.approx(
        wilson(k, 30), abs=1e-12
    )
    a, b = clustered_rate(success[:20]), clustered_rate(success[20:])
    expected = newcombe(int(success[:20].sum()), 20, int(success[20:].sum()), 10)
    assert newcombe_clustered(a, b) == pytest.approx(expected, abs=1e-12)


def test_clusters_that_repeat_one_answer_are_worth_one_row_each():
    cluster = np.repeat(np.arange(20), 5)
    success = np.repeat(np.arange(20) < 7, 5)
    made = clustered_rate(success, cluster=cluster)
    assert (made.n, made.n_clusters, made.df) == (100, 20, 19.0)
    assert made.effective_n == pytest.approx(20)
    # t of 19 degrees of freedom in place of 99: a little wider than Wilson of 20.
    narrow, wide = wilson(7, 20), made.interval()
    assert wide.low < narrow.low and wide.high > narrow.high
    assert wide == pytest.approx(narrow, abs=0.02)
    assert clustered_rate(success).effective_n == pytest.approx(100)  # the control


def test_a_rate_of_zero_is_as_certain_as_there_are_clusters():
    cluster = np.repeat(np.arange(20), 50)
    made = clustered_rate(np.zeros(1000, dtype=bool), cluster=cluster)
    assert made.effective_n == 20
    assert made.interval().high > 0.15 > 0.01 > clustered_rate(np.zeros(1000, dtype=bool)).interval().high


def test_kish():
    assert effective_rows(np.full(9, 2.0)) == pytest.approx(9)
    assert effective_rows(np.asarray([1.0, 1, 2])) == pytest.approx(16 / 6)
    assert effective_rows(np.asarray([1.0, 2]), np.asarray([2, 1])) == pytest.approx(16 / 6)
    weight = np.asarray([1.0, 1, 2, 2])
    made = clustered_rate(np.asarray([True, False, True, False]), weight=weight)
    assert made.effective_n == pytest.approx(36 / 10) and made.estimate == 0.5


@given(st.integers(0, 10_000))
def test_rows_and_rows_with_counts_are_the_same(seed):
    generator = np.random.default_rng(seed)
    success, count = generator.random(12) < 0.5, generator.integers(1, 4, 12)
    cluster, weight = generator.permutation(12) // 3, generator.random(12) + 0.1
    each = np.repeat(np.arange(12), count)
    for extra in ({}, {"cluster": cluster}, {"weight": weight}, {"cluster": cluster, "weight": weight}):
        few = clustered_rate(success, count=count, **extra)
        many = clustered_rate(success[each], **{name: value[each] for name, value in extra.items()})
        assert few.interval() == pytest.approx(many.interval(), abs=1e-9)
        assert (few.n, few.n_clusters) == (many.n, many.n_clusters)


@given(st.integers(0, 10_000))
def test_groups_that_share_people_are_as_by_hand(seed):
    generator = np.random.default_rng(seed)
    x, cluster = generator.normal(size=40), generator.integers(0, 8, 40)
    cluster[:2] = 0, 1
    group = generator.random(40) < 0.5
    group[:2], group[2:4] = True, False
    cluster[2:4] = 0, 1
    gap = clustered_difference(x, group, ~group, cluster=cluster)
    expected = slow_difference(x.tolist(), group.tolist(), (~group).tolist(), cluster.tolist())
    assert (gap.estimate, gap.se) == pytest.approx(expected, abs=1e-12)


def test_without_clusters_a_difference_is_welchs():
    x = np.random.default_rng(1).normal(size=40)
    group = np.arange(40) < 15
    assert clustered_difference(x, group, ~group) == pytest.approx(welch(x[group], x[~group]), abs=1e-12)


def test_people_in_both_groups_make_a_gap_surer():
    generator = np.random.default_rng(0)
    cluster = np.repeat(np.arange(40), 4)
    x = 2 * generator.normal(size=40)[cluster] + generator.normal(size=160)
    group = np.tile([True, True, False, False], 40)
    paired = clustered_difference(x, group, ~group, cluster=cluster)
    apart = clustered_difference(x, group, ~group, cluster=cluster * 2 + group)
    assert paired.se < 0.6 * apart.se
    assert paired.df == 39


def test_intervals_cover_where_rows_alone_do_not():
    generator = np.random.default_rng(7)
    covered = naive = 0
    runs, clusters, size = 300, 30, 10
    cluster = np.repeat(np.arange(clusters), size)
    for _ in range(runs):
        success = generator.random(clusters * size) < generator.beta(1.5, 3.5, clusters)[cluster]
        low, high = clustered_rate(success, cluster=cluster).interval()
        covered += low <= 0.3 <= high
        low, high = wilson(int(success.sum()), len(success))
        naive += low <= 0.3 <= high
    assert covered >= 0.92 * runs
    assert naive <= 0.85 * runs


def test_permutation_within_clusters():
    generator = np.random.default_rng(0)
    cluster = np.repeat(np.arange(25), 6)
    group = generator.random(150) < 0.3 + 0.4 * (cluster % 2)
    level = 3.0 * (cluster % 2)  # clusters with more of the group are higher, for everybody in them
    x = level + generator.normal(size=150)
    assert permutation_within(x, group, cluster) > 0.05
    assert welch(x[group], x[~group]).exceeds_p() < 0.01  # the control: between clusters there is a gap
    assert permutation_within(x + 0.8 * group, group, cluster) < 0.01
    assert permutation_within(x, group, cluster, seed=3) == permutation_within(x, group, cluster, seed=3)


def test_few_clusters_are_flagged():
    x = np.random.default_rng(0).normal(size=100)
    assert clustered_mean(x, cluster=np.arange(100) % (FEW - 1)).few
    assert not clustered_mean(x, cluster=np.arange(100) % FEW).few
    assert not clustered_mean(x[:5]).few
    cluster = np.arange(100) % 25
    assert clustered_rate(cluster < FEW - 1, cluster=cluster).few  # nine people have a success
    assert not clustered_rate(cluster < FEW, cluster=cluster).few
    assert not clustered_rate(cluster < 0, cluster=cluster).few  # none has one: the bound is of 25 people


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: clustered_mean(np.ones(9), cluster=np.zeros(9, dtype=int)), "all 9 rows are in one cluster"),
        (lambda: clustered_rate(np.ones(9, dtype=bool), cluster=np.zeros(9, dtype=int)), "in one cluster"),
        (
            lambda: clustered_difference(
                np.arange(6), np.arange(6) < 3, np.arange(6) > 2, cluster=np.asarray([0, 0, 0, 1, 2, 3])
            ),
            "all 3 rows are in one cluster",
        ),
        (lambda: clustered_mean(np.ones(3), weight=np.asarray([1.0, -1, 1])), "negative"),
        (lambda: effective_rows(np.asarray([1.0, -1])), "negative or no number at '1'"),
        (lambda: effective_rows(np.zeros(3)), "no row weighs anything"),
        (lambda: clustered_mean(np.arange(9.0)).adjusted_n(), "a mean has no effective number"),
        (
            lambda: permutation_within(
                np.arange(4), np.asarray([1, 1, 0, 0], bool), np.asarray([0, 0, 1, 1])
            ),
            "nothing can be shuffled",
        ),
    ],
)
def test_refusals(make, match):
    with pytest.raises(DataError, match=match):
        make()


def test_the_interval_of_a_rate_is_at_95_percent_unless_said_otherwise():
    generator = np.random.default_rng(5)
    cluster = np.repeat(np.arange(15), 4)
    made = clustered_rate(generator.random(60) < 0.4, cluster=cluster)
    assert made.adjusted_n() == made.adjusted_n(0.95) != made.adjusted_n(0.94)
    rows, units = stats.t.ppf(0.975, [59, 14])
    assert made.adjusted_n() == pytest.approx(made.effective_n * (rows / units) ** 2)
    assert made.interval() == made.interval(0.95)
    assert newcombe_clustered(made, made) == newcombe_clustered(made, made, 0.95)
