"""Paired decisions: Newcombe's own examples, McNemar, scipy, statsmodels, refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from clinometer.bias.intervals import newcombe
from clinometer.bias.paired import (
    PairedCounts,
    mcnemar_exact,
    mcnemar_mid_p,
    newcombe_paired,
    pair,
    paired_difference,
    paired_odds,
    paired_ratio,
    sign_test,
    wilcoxon,
)
from clinometer.errors import DataError
from reference.inference import paired_newcombe

CELLS = st.tuples(*[st.integers(0, 30)] * 4).filter(lambda t: sum(t) > 0)


def cells(a, b, c, d):
    return PairedCounts(both=a, first_only=b, second_only=c, neither=d)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ((36, 12, 2, 0), (0.0569, 0.3404)),  # Newcombe 1998, paired
        ((1, 1, 7, 12), (-0.507, -0.026)),  # Fagerland, Lydersen & Laake 2014, airway responsiveness
        ((54, 0, 0, 0), (-0.0664, 0.0664)),  # no difference seen is not no interval
    ],
)
def test_published_intervals(table, expected):
    assert newcombe_paired(cells(*table)) == pytest.approx(expected, abs=5e-4)


def test_published_tests():
    # Fagerland, Lydersen & Laake 2013: 1 row one way, 7 the other.
    assert mcnemar_exact(cells(1, 1, 7, 12)).p == pytest.approx(0.0703, abs=5e-5)
    assert mcnemar_mid_p(cells(1, 1, 7, 12)).p == pytest.approx(0.0391, abs=5e-5)


@given(CELLS)
def test_slow_twin_of_the_interval(table):
    low, high = newcombe_paired(cells(*table), 0.9)
    assert (low, high) == pytest.approx(paired_newcombe(*table, 0.9), abs=1e-9)
    assert -1 - 1e-12 <= low <= cells(*table).difference <= high <= 1 + 1e-12


@given(CELLS)
def test_first_and_second_changed_about_turn_the_interval_over(table):
    a, b, c, d = table
    low, high = newcombe_paired(cells(a, b, c, d))
    assert newcombe_paired(cells(a, c, b, d)) == pytest.approx((-high, -low), abs=1e-12)


def test_without_correlation_it_is_the_interval_of_independent_rates():
    # Every product of margins over n: phi is 0.
    assert newcombe_paired(cells(12, 28, 18, 42)) == pytest.approx(newcombe(40, 100, 30, 100), abs=1e-12)
    tied = newcombe_paired(cells(29, 11, 1, 59))  # the control: the same rates, strongly tied
    assert tied.high - tied.low < 0.7 * (newcombe(40, 100, 30, 100).high - newcombe(40, 100, 30, 100).low)


@given(CELLS)
def test_mcnemar_agrees_with_statsmodels_and_mid_p_is_smaller(table):
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    a, b, c, d = table
    exact = mcnemar_exact(cells(*table))
    assert exact.n == b + c
    if b + c:
        assert exact.p == pytest.approx(float(tables.mcnemar([[a, b], [c, d]]).pvalue), abs=1e-12)
        assert exact.p == pytest.approx(stats.binomtest(b, b + c).pvalue, abs=1e-12)
    else:
        assert exact.p == 1.0
    assert mcnemar_mid_p(cells(*table)).p <= exact.p


def test_mid_p_is_of_its_size_where_the_exact_test_is_far_below_it():
    changed = 25
    chance = stats.binom.pmf(np.arange(changed + 1), changed, 0.5)
    sizes = []
    for test in (mcnemar_exact, mcnemar_mid_p):
        rejects = [test(cells(5, k, changed - k, 5)).p <= 0.05 for k in range(changed + 1)]
        sizes.append(float(chance[rejects].sum()))
    assert sizes[0] < 0.045 and sizes[0] <= sizes[1] <= 0.051


@given(st.integers(0, 10_000))
def test_rows_and_rows_with_counts_are_the_same(seed):
    generator = np.random.default_rng(seed)
    first, second = generator.random((2, 10)) < 0.5
    count = generator.integers(1, 5, 10)
    each = np.repeat(np.arange(10), count)
    moved = generator.integers(-3, 4, 10).astype(float)
    assert pair(first, second, count) == pair(first[each], second[each])
    assert paired_difference(first, second, count=count) == pytest.approx(
        paired_difference(first[each], second[each]), abs=1e-12
    )
    assert sign_test(moved, count) == sign_test(moved[each])


def test_paired_t_sign_and_wilcoxon_agree_with_scipy():
    generator = np.random.default_rng(3)
    x = generator.normal(size=40)
    y = x + generator.normal(0.3, 1, size=40)
    ours = paired_difference(x, y)
    expected = stats.ttest_rel(x, y)
    assert ours.exceeds_p() == pytest.approx(expected.pvalue, abs=1e-12)
    assert ours.interval(0.9) == pytest.approx(tuple(expected.confidence_interval(0.9)), abs=1e-12)
    up = int((x > y).sum())
    assert sign_test(x - y).p == pytest.approx(stats.binomtest(up, 40).pvalue, abs=1e-12)
    assert wilcoxon(x - y).p == pytest.approx(stats.wilcoxon(x, y).pvalue, abs=1e-12)
    some, count = np.arange(-4.0, 9.0), np.arange(13) % 3 + 1
    assert wilcoxon(some, count) == wilcoxon(np.repeat(some, count))
    nothing = np.zeros(5)
    assert sign_test(nothing) == (1.0, "sign test", 0)
    assert wilcoxon(nothing).p == 1.0


def test_clusters_count_as_one():
    generator = np.random.default_rng(0)
    cluster = np.repeat(np.arange(12), 10)
    first = np.repeat(generator.random(12) < 0.6, 10)  # a person's ten rows all say the same
    second = np.zeros(120, dtype=bool)
    apart, together = paired_difference(first, second), paired_difference(first, second, cluster=cluster)
    one_each = paired_difference(first[::10], second[::10])
    assert together == pytest.approx(one_each, abs=1e-12)
    assert together.se > 2.5 * apart.se  # the control


def test_paired_odds():
    estimate, (low, high) = paired_odds(cells(5, 12, 4, 9))
    assert estimate == 3.0
    exact = stats.binomtest(12, 16).proportion_ci()
    assert (low, high) == pytest.approx((exact.low / (1 - exact.low), exact.high / (1 - exact.high)))
    estimate, (low, high) = paired_odds(cells(5, 6, 0, 9))
    assert estimate is None and high is None and low > 0.8


@given(CELLS.filter(lambda t: sum(t[:3]) > 0))
def test_paired_ratio_turned_over(table):
    a, b, c, d = table
    low, high = paired_ratio(cells(a, b, c, d))
    other_low, other_high = paired_ratio(cells(a, c, b, d))
    assert (high is None) == (a + c == 0) == (other_low == 0)
    assert (low == 0) == (a + b == 0) == (other_high is None)
    if high is not None:
        assert low <= (a + b) / (a + c) <= high
        assert 1 / high == pytest.approx(other_low, rel=1e-9)
    assert paired_ratio(cells(a, b, c, 7 * d)) == (low, high)


def test_paired_ratio_of_many_rows_is_the_delta_method():
    a, b, c = 3000, 500, 300
    ratio, se = 3500 / 3300, np.sqrt((b + c) / ((a + b) * (a + c)))
    expected = ratio * np.exp(1.959964 * se * np.asarray([-1, 1]))
    assert paired_ratio(cells(a, b, c, 900)) == pytest.approx(expected, rel=1e-3)
    apart = ratio * np.exp(1.959964 * np.sqrt(1 / 3500 + 1 / 3300 - 2 / 4700))
    assert paired_ratio(cells(a, b, c, 900)).high < 0.995 * apart  # the control: not as of independent rows


def test_paired_ratio_covers():
    n = 20
    tables = [
        (a, b, c, n - a - b - c) for a in range(n + 1) for b in range(n + 1 - a) for c in range(n + 1 - a - b)
    ]
    found = []
    ends = [paired_ratio(cells(*t)) if sum(t[:3]) else (0.0, None) for t in tables]
    low = np.asarray([e[0] for e in ends])
    high = np.asarray([np.inf if e[1] is None else e[1] for e in ends])
    for p, q, both in ((0.3, 0.3, 0.2), (0.5, 0.3, 0.25), (0.8, 0.6, 0.5), (0.2, 0.5, 0.1), (0.9, 0.7, 0.65)):
        chance = stats.multinomial.pmf(np.asarray(tables), n, [both, p - both, q - both, 1 - p - q + both])
        found.append(float(chance[(low <= p / q) & (p / q <= high)].sum()))
    assert np.mean(found) > 0.94 and min(found) > 0.92


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: cells(0, 0, 0, 0), "at least one row"),
        (lambda: cells(3, -1, 2, 2), "counts of 0 or more"),
        (lambda: paired_odds(cells(5, 0, 0, 9)), "none of 14 rows changed"),
        (lambda: paired_ratio(cells(0, 0, 0, 9)), "both rates are 0 in 9 rows"),
        (lambda: pair(np.ones(3, dtype=bool), np.ones(2, dtype=bool)), "the same rows"),
        (lambda: pair(np.ones(3), np.ones(3)), "true and false"),
        (lambda: paired_difference([1.0], [2.0]), "no standard error"),
        (lambda: paired_difference([1.0, 2], [2.0, 2], cluster=np.zeros(2, dtype=int)), "in one cluster"),
    ],
)
def test_refusals(make, match):
    with pytest.raises(DataError, match=match):
        make()
