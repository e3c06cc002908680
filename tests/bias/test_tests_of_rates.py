"""Tests of equal rates: scipy, every table counted, sizes by enumeration, refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clinometer.bias.tests_of_rates import (
    boschloo,
    equality,
    exact_binomial,
    fisher_exact,
    fisher_mid_p,
    homogeneity,
    score,
)
from clinometer.errors import DataError, UsageError
from reference.inference import homogeneity_p

GROUPS = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), min_size=2, max_size=4).map(
    lambda pairs: ([min(k, n) for k, n in pairs], [n for _, n in pairs])
)


def test_tea():
    # Fisher's tea: 3 of 4 and 1 of 4.
    assert fisher_exact(3, 4, 1, 4).p == pytest.approx(34 / 70)
    assert fisher_mid_p(3, 4, 1, 4).p == pytest.approx(34 / 70 - 8 / 70)


@given(st.integers(1, 15), st.integers(1, 15), st.data())
def test_agreement_with_scipy(n1, n2, data):
    k1, k2 = data.draw(st.integers(0, n1)), data.draw(st.integers(0, n2))
    table = [[k1, n1 - k1], [k2, n2 - k2]]
    assert fisher_exact(k1, n1, k2, n2).p == pytest.approx(float(stats.fisher_exact(table)[1]), abs=1e-12)
    assert 0 <= fisher_mid_p(k1, n1, k2, n2).p <= fisher_exact(k1, n1, k2, n2).p
    if 0 < k1 + k2 < n1 + n2:
        chi2 = stats.chi2_contingency(table, correction=False)
        assert score(k1, n1, k2, n2).p == pytest.approx(float(chi2[1]), abs=1e-12)


def test_boschloo_is_scipys_and_stronger_than_fisher():
    # The samples are the columns of scipy's table; as rows, .38416 would come out for the first.
    assert boschloo(8, 10, 6, 10).p == pytest.approx(0.40057, abs=5e-6)
    assert boschloo(3, 10, 8, 10).p == pytest.approx(stats.boschloo_exact([[3, 8], [7, 2]]).pvalue)
    assert boschloo(3, 10, 8, 10).p < fisher_exact(3, 10, 8, 10).p
    assert boschloo(0, 4, 0, 9).p == boschloo(4, 4, 9, 9).p == 1.0


def test_boschloo_is_the_largest_chance_over_all_common_rates():
    """Of tables whose Fisher p is no larger, over a fine grid of rates: the definition, by enumeration."""
    n, seen = 6, fisher_exact(5, 6, 1, 6).p
    region = np.array(
        [[fisher_exact(a, n, b, n).p <= seen * (1 + 1e-9) for b in range(n + 1)] for a in range(n + 1)]
    )
    rates = np.linspace(0, 1, 2001)
    chance = stats.binom.pmf(np.arange(n + 1)[:, None], n, rates)
    sizes = np.einsum("ag,ab,bg->g", chance, region, chance)
    assert boschloo(5, 6, 1, 6).p == pytest.approx(sizes.max(), abs=2e-4)


def test_exact_binomial_is_scipys():
    assert exact_binomial(7, 20, 0.5).p == pytest.approx(stats.binomtest(7, 20, 0.5).pvalue)


def test_sizes_by_enumeration():
    n, rates = 18, np.linspace(0.05, 0.95, 19)
    tables = [(a, b) for a in range(n + 1) for b in range(n + 1)]
    sizes = {}
    for test in (fisher_exact, fisher_mid_p):
        rejects = np.asarray([test(a, n, b, n).p <= 0.05 for a, b in tables])
        chance = np.stack([[stats.binom.pmf(k, n, p) for k in range(n + 1)] for p in rates])
        both = np.einsum("ri,rj->rij", chance, chance).reshape(len(rates), -1)
        sizes[test.__name__] = both @ rejects
    assert sizes["fisher_exact"].max() < 0.032  # far below 5 %
    assert sizes["fisher_exact"].max() < sizes["fisher_mid_p"].max() < 0.06


def test_which_test_is_picked():
    assert equality(3, 20, 9, 30).method == "Boschloo"
    assert equality(1, 300, 4, 400).method == "Fisher mid-p"
    assert equality(100, 300, 90, 400).method == "score z"
    assert equality(100, 300, 90, 400).p == pytest.approx(score(100, 300, 90, 400).p)
    assert equality(100, 300, 90, 400).n == 700


@settings(max_examples=40)
@given(GROUPS)
def test_homogeneity_counts_every_table(groups):
    k, n = groups
    if 0 < sum(k) < sum(n):
        got = homogeneity(k, n)
        assert got.method == "homogeneity, exact"
        assert got.p == pytest.approx(homogeneity_p(k, n), abs=1e-9)


def test_homogeneity_of_two_groups_agrees_with_scipy_and_curve_with_chi_square():
    table = np.asarray([[40, 60], [55, 45], [30, 70]])
    curve = homogeneity(table[:, 0].tolist(), table.sum(axis=1).tolist())
    assert curve.method == "homogeneity, chi-square"
    assert curve.p == pytest.approx(stats.chi2_contingency(table, correction=False)[1], abs=1e-12)


def test_many_small_groups_are_permuted_and_seeded():
    k, n = [3, 0, 2, 9, 1, 1, 0, 4], [30] * 8
    made = homogeneity(k, n, replicates=4000)
    assert "permutation (4000 tables, seed 0)" in made.method
    assert made == homogeneity(k, n, replicates=4000)
    again = homogeneity(k, n, replicates=4000, seed=1)
    assert made.p != again.p and made.p == pytest.approx(again.p, abs=0.01)
    exact = homogeneity([3, 0, 2], [9, 9, 9], approximate=False)
    assert exact.method == "homogeneity, exact"


def test_more_rows_than_numpy_permutes():
    listed = homogeneity([10**9, 1], [2 * 10**9, 4])
    assert listed.method == "homogeneity, exact"
    assert listed.p == pytest.approx(stats.binomtest(1, 4, 0.5).pvalue, abs=1e-5)
    k, n = [10**9, 2, 5, 9, 0, 4, 1, 5], [2 * 10**9, 9, 9, 9, 9, 9, 9, 9]
    made = homogeneity(k, n, replicates=2000)
    assert "simulation at the common rate" in made.method
    assert made.p == pytest.approx(homogeneity([k[0] // 10**5, *k[1:]], [n[0] // 10**5, *n[1:]]).p, abs=0.01)


def test_groups_without_rows_say_nothing():
    assert homogeneity([3, 0, 7], [9, 0, 9]) == homogeneity([3, 7], [9, 9])
    assert homogeneity([0, 0], [9, 9]).p == homogeneity([9, 9], [9, 9]).p == 1.0


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: homogeneity([1], [4]), DataError, "1 groups have rows"),
        (lambda: homogeneity([1, 0], [4, 0]), DataError, "1 groups have rows"),
        (lambda: homogeneity([1, 2], [4]), DataError, "2 counts and 1 denominators"),
        (lambda: homogeneity([1, 5], [4, 4]), DataError, "5 of 4 is no rate"),
        (lambda: equality(0, 0, 1, 4), DataError, "0 of 0 is no rate"),
        (lambda: exact_binomial(1, 4, 1.5), UsageError, "rate of 1.5"),
    ],
)
def test_refusals(make, error, match):
    with pytest.raises(error, match=match):
        make()
