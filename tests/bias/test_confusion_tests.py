"""Distances between tables of classes: by hand, scipy's chi-squared, the level of permutation p."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from clinometer.bias.classes import Confusion, confusion_by_group
from clinometer.bias.confusion_tests import (
    chi_squared,
    clustered_total_variation,
    permuted_chi_squared,
    total_variation,
)
from clinometer.errors import DataError, UsageError


def table_of(counts):
    return Confusion(classes=("a", "b"), counts=np.array(counts, dtype=np.int64))


def test_by_hand():
    made = total_variation(table_of([[5, 0], [0, 5]]), table_of([[5, 5], [5, 5]]))
    assert made.estimate == pytest.approx(0.5)
    assert total_variation(table_of([[3, 0], [0, 0]]), table_of([[0, 0], [0, 3]])).estimate == 1
    same = total_variation(table_of([[4, 2], [0, 2]]), table_of([[2, 1], [0, 1]]))
    assert same.estimate == 0 and same.p == 1


@given(st.lists(st.lists(st.integers(1, 20), min_size=4, max_size=4), min_size=2, max_size=4))
def test_the_statistic_is_scipys(counts):
    tables = {f"g{i}": table_of(np.reshape(row, (2, 2))) for i, row in enumerate(counts)}
    made = chi_squared(tables, replicates=1)
    assert made.estimate == pytest.approx(
        stats.chi2_contingency(counts, correction=False).statistic, abs=1e-9
    )


def test_p_is_near_fishers_and_the_large_sample_one():
    small = np.array([[1, 7], [8, 3]])
    exact = stats.chi2_contingency(small, correction=False).statistic
    ours = permuted_chi_squared(small, replicates=20_000)
    assert ours[0] == pytest.approx(exact)
    assert ours[1] == pytest.approx(stats.fisher_exact(small).pvalue, abs=0.01)
    large = np.array([[100, 130, 90], [120, 100, 100]])
    peer = stats.chi2_contingency(large).pvalue
    assert permuted_chi_squared(large, replicates=20_000)[1] == pytest.approx(peer, abs=0.02)


def test_p_keeps_its_level_and_finds_a_difference():
    generator = np.random.default_rng(0)
    false = true = 0
    for seed in range(200):
        one, other = generator.multinomial(30, [0.4, 0.3, 0.2, 0.1], size=2)
        moved = generator.multinomial(30, [0.1, 0.2, 0.3, 0.4])
        first = table_of(one.reshape(2, 2))
        false += total_variation(first, table_of(other.reshape(2, 2)), replicates=199, seed=seed).p <= 0.05
        true += total_variation(first, table_of(moved.reshape(2, 2)), replicates=199, seed=seed).p <= 0.05
    assert false <= 20 and true >= 150


def test_rows_dealt_again_and_tables_drawn_again_agree():
    generator = np.random.default_rng(1)
    cell, member = generator.integers(0, 4, size=60), np.arange(60) < 25
    label, prediction = (cell // 2).tolist(), (cell % 2).tolist()
    tables = confusion_by_group(label, prediction, ["g" if m else "h" for m in member])
    by_table = total_variation(tables["g"], tables["h"], replicates=10_000)
    by_row = clustered_total_variation(cell, member, np.arange(60), replicates=10_000)
    assert by_row.estimate == pytest.approx(by_table.estimate, abs=1e-12)
    assert by_row.p == pytest.approx(by_table.p, abs=0.03)


def test_clusters_keep_the_level_that_rows_alone_lose():
    generator = np.random.default_rng(2)
    naive = ours = 0
    for seed in range(100):
        cluster = np.repeat(np.arange(20), 10)
        cell = generator.integers(0, 4, size=20)[cluster]
        member = (generator.permutation(20) < 10)[cluster]
        rows = np.arange(200)
        naive += clustered_total_variation(cell, member, rows, replicates=99, seed=seed).p <= 0.05
        ours += clustered_total_variation(cell, member, cluster, replicates=99, seed=seed).p <= 0.05
    assert naive > 50 and ours <= 12


def test_groups_without_rows_are_named():
    tables = {
        "g": table_of([[3, 1], [0, 2]]),
        "h": table_of([[1, 1], [1, 1]]),
        "i": table_of([[0, 0], [0, 0]]),
    }
    made = chi_squared(tables)
    assert made.groups == ("g", "h") and made.without_rows == ("i",) and made.n == (6, 4)
    assert chi_squared({"g": tables["g"], "i": tables["i"]}) is None
    assert total_variation(tables["g"], tables["i"]) is None
    assert permuted_chi_squared(np.array([[3, 0], [2, 0]])) is None
    assert clustered_total_variation(np.array([1, 2]), np.array([True, True]), np.array([0, 1])) is None


def test_refusals():
    other = Confusion(classes=("a", "c"), counts=np.ones((2, 2), dtype=np.int64))
    with pytest.raises(DataError, match="different classes"):
        total_variation(table_of([[1, 0], [0, 1]]), other)
    with pytest.raises(UsageError, match="0 permutations"):
        chi_squared({"g": table_of([[1, 0], [0, 1]]), "h": table_of([[1, 1], [0, 1]])}, replicates=0)
    with pytest.raises(DataError, match="have shapes"):
        clustered_total_variation(np.array([1]), np.array([True, False]), np.array([0, 1]))
