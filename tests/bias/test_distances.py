"""Distances between distributions: scipy's, their p under no difference, clusters, a slow twin of score parity."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from clinometer.bias.distances import kolmogorov_smirnov, score_parity, wasserstein
from clinometer.bias.relabelling import chance, deal
from clinometer.errors import DataError, UsageError
from reference import group_metrics

rows = st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=2, max_size=30)


@given(rows)
def test_agrees_with_scipy(pairs):
    values, member = (np.array(part) for part in zip(*pairs, strict=True))
    assume(0 < member.sum() < len(member))
    one, other = values[member], values[~member]
    ours = kolmogorov_smirnov(values, member, replicates=1)
    assert ours.estimate == pytest.approx(stats.ks_2samp(one, other).statistic, abs=1e-12)
    moved = wasserstein(values, member, replicates=1)
    assert moved.estimate == pytest.approx(stats.wasserstein_distance(one, other), abs=1e-9)


def test_p_is_near_the_exact_one_without_ties():
    generator = np.random.default_rng(0)
    values, member = generator.normal(size=40), np.arange(40) < 15
    values[member] += 0.6
    exact = stats.ks_2samp(values[member], values[~member], method="exact").pvalue
    ours = kolmogorov_smirnov(values, member, replicates=20_000, seed=1).p
    assert ours == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000))


def test_counts_are_rows():
    values, member = np.array([0.1, 0.1, 0.4, 0.7, 0.7]), np.array([True, False, True, False, True])
    count = np.array([3, 1, 2, 5, 0])
    for distance in (kolmogorov_smirnov, wasserstein):
        collapsed = distance(values, member, count=count, replicates=200)
        spread = distance(np.repeat(values, count), np.repeat(member, count), replicates=200)
        assert collapsed == spread


def test_p_keeps_its_level_with_ties_and_finds_a_difference():
    generator = np.random.default_rng(1)
    false = true = 0
    for seed in range(200):
        values = generator.integers(0, 4, size=40).astype(float)
        member = generator.permutation(40) < 15
        false += kolmogorov_smirnov(values, member, replicates=199, seed=seed).p <= 0.05
        true += wasserstein(values + 2 * member, member, replicates=199, seed=seed).p <= 0.05
    assert false <= 20 and true == 200


def test_clusters_keep_the_level_that_rows_alone_lose():
    generator = np.random.default_rng(2)
    naive = ours = 0
    for seed in range(100):
        cluster = np.repeat(np.arange(20), 10)
        values = generator.normal(size=20)[cluster] + 0.1 * generator.normal(size=200)
        member = (generator.permutation(20) < 10)[cluster]
        naive += kolmogorov_smirnov(values, member, replicates=99, seed=seed).p <= 0.05
        ours += kolmogorov_smirnov(values, member, cluster=cluster, replicates=99, seed=seed).p <= 0.05
    assert naive > 50 and ours <= 12


def test_labels_are_dealt_within_mixed_clusters_and_whole_ones_are_exchanged():
    generator = np.random.default_rng(3)
    cluster = np.array([0, 1, 0, 1, 0, 2, 2])
    member = np.array([True, False, False, True, False, True, True])
    for block in deal(member, 50, generator, cluster=cluster):
        assert np.all(block[:, [0, 2, 4]].sum(axis=1) == 1) and np.all(block[:, [1, 3]].sum(axis=1) == 1)
        assert np.all(block[:, [5, 6]]) and len(np.unique(block, axis=0)) > 1
    whole = np.array([True, False, True, False, True, False, False])
    for block in deal(whole, 50, generator, cluster=cluster):
        assert np.all(block[:, 0] == block[:, 2]) and np.all(block[:, 5] == block[:, 6])
        assert set(block.sum(axis=1).tolist()) == {2, 3}
    assert sum(len(block) for block in deal(member, 7, generator)) == 7


@pytest.mark.parametrize("n_members", [2, 3])
def test_every_set_of_rows_is_dealt_equally_often(n_members):
    member = np.arange(5) < n_members
    dealt = np.concatenate(list(deal(member, 20_000, np.random.default_rng(4))))
    sets, times = np.unique(dealt, axis=0, return_counts=True)
    assert len(sets) == 10 and np.all(sets.sum(axis=1) == n_members)
    assert stats.chisquare(times).pvalue > 0.001


def test_chance_counts_the_data_and_is_never_zero():
    assert chance(5.0, np.array([1.0, 2.0, 3.0])) == 0.25
    assert chance(2.0, np.array([1.0, 2.0 - 1e-15, 3.0])) == 0.75


def test_values_that_are_all_alike_are_no_distance_apart():
    made = kolmogorov_smirnov([1.0, 1.0, 1.0], np.array([True, False, True]), replicates=20)
    assert made.estimate == 0 and made.p == 1
    assert kolmogorov_smirnov([1.0, 2.0], np.array([True, True])) is None


@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from("abc")), min_size=2, max_size=25))
def test_score_parity_slow_twin(pairs):
    score, group = [value for value, _ in pairs], [name for _, name in pairs]
    made = score_parity(score, group, replicates=1)
    for name, distance in made.items():
        expected = group_metrics.score_parity(score, [g == name for g in group])
        assert (0 if distance is None else distance.estimate) == pytest.approx(expected, abs=1e-12)


def test_refusals():
    yes = np.array([True, False])
    with pytest.raises(DataError, match="rows '0' are in the group and in its reference"):
        kolmogorov_smirnov([1.0, 2.0], yes, reference=yes)
    with pytest.raises(UsageError, match="0 permutations"):
        kolmogorov_smirnov([1.0, 2.0], yes, replicates=0)
    with pytest.raises(DataError, match="different lengths"):
        wasserstein([1.0, 2.0], yes, cluster=np.array([1]))
    with pytest.raises(DataError, match="one group a row"):
        score_parity([1.0, 2.0], ["a"])
