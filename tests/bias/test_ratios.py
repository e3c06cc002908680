"""Ratios of rates: published intervals, agreement with statsmodels, zeros, refusals."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from clinometer.bias.intervals import katz
from clinometer.bias.ratios import (
    falls_short_p,
    koopman,
    miettinen_nurminen,
    ratio_interval,
    ratio_of_rates,
    score_of_ratio,
)
from clinometer.errors import DataError, UsageError
from reference.inference import pearson_of_ratio

TABLES = st.tuples(st.integers(0, 40), st.integers(1, 40), st.integers(0, 40), st.integers(1, 40)).filter(
    lambda t: t[0] <= t[1] and t[2] <= t[3] and t[0] + t[2] > 0
)


def test_koopmans_own_example():
    # 36 of 40 against 16 of 80 (Koopman 1984).
    assert koopman(36, 40, 16, 80) == pytest.approx((2.94, 7.15), abs=0.005)


def test_compas_ratio_of_false_positive_rates():
    assert ratio_interval(805, 1795, 349, 1488, method="katz") == pytest.approx((1.7212, 2.1241), abs=5e-5)
    assert ratio_of_rates(805, 1795, 349, 1488) == pytest.approx(1.9121, abs=5e-5)
    assert koopman(805, 1795, 349, 1488) == pytest.approx((1.7212, 2.1241), abs=2e-3)


@given(TABLES)
def test_ends_are_where_statsmodels_puts_them(table):
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    assume(
        0 < table[0] < table[1] and 0 < table[2] < table[3]
    )  # its closed form divides by zero at the edges
    for ours, correction in ((koopman, False), (miettinen_nurminen, True)):
        made = proportion.confint_proportions_2indep(
            *table, compare="ratio", method="score", correction=correction
        )
        got = ours(*table)
        assert got.low == pytest.approx(float(made[0]), rel=1e-7)
        assert got.high == pytest.approx(float(made[1]), rel=1e-7)


@given(TABLES)
def test_the_statistic_is_z_at_both_ends_and_ends_hold_the_ratio(table):
    low, high = koopman(*table)
    ratio = ratio_of_rates(*table)
    z = stats.norm.ppf(0.975)
    assert (low == 0) == (table[0] == 0)
    assert (high is None) == (table[2] == 0) == (ratio is None)
    assert low <= (math.inf if ratio is None else ratio) <= (math.inf if high is None else high)
    if low > 0:
        assert float(score_of_ratio(*table, low)) == pytest.approx(z, abs=1e-6)
    if high is not None:
        assert float(score_of_ratio(*table, high)) == pytest.approx(-z, abs=1e-6)


@given(TABLES)
def test_the_two_groups_changed_about_turn_the_interval_over(table):
    k1, n1, k2, n2 = table
    low, high = koopman(k1, n1, k2, n2)
    other_low, other_high = koopman(k2, n2, k1, n1)
    assert (0.0 if high is None else 1 / high) == pytest.approx(other_low, rel=1e-8)
    assert (other_high is None) == (low == 0)
    if other_high is not None:
        assert 1 / other_high == pytest.approx(low, rel=1e-8)


@pytest.mark.parametrize("table", [(3, 20, 10, 30), (12, 14, 2, 9), (1, 50, 4, 33)])
@pytest.mark.parametrize("ratio", [0.3, 0.8, 1.0, 1.9])
def test_slow_twin(table, ratio):
    slow = pearson_of_ratio(*table, ratio)
    assert float(score_of_ratio(*table, ratio)) ** 2 == pytest.approx(slow, rel=1e-6)


def test_slow_twin_where_a_whole_group_succeeded():
    assert float(score_of_ratio(5, 5, 3, 9, 0.8)) ** 2 == pytest.approx(
        pearson_of_ratio(5, 5, 3, 9, 0.8), rel=1e-6
    )
    assert koopman(5, 5, 3, 9).low > 1 and koopman(9, 9, 9, 9).low < 1 < koopman(9, 9, 9, 9).high


def test_at_a_ratio_of_one_it_is_pearsons_chi_square():
    expected = stats.chi2_contingency([[7, 13], [15, 10]], correction=False)[0]
    assert float(score_of_ratio(7, 20, 15, 25, 1.0)) ** 2 == pytest.approx(expected, rel=1e-12)


def test_katz_is_only_wider_where_counts_are_small():
    for scale, near in ((1, 0.5), (1000, 0.005)):
        wide = katz(3 * scale, 20 * scale, 10 * scale, 30 * scale)
        score = koopman(3 * scale, 20 * scale, 10 * scale, 30 * scale)
        assert wide == pytest.approx(score, rel=near)
    assert katz(3, 20, 10, 30) != pytest.approx(koopman(3, 20, 10, 30), rel=0.05)


def test_zero_of_a_group_gives_an_upper_bound_only():
    low, high = koopman(0, 20, 5, 30)
    assert low == 0 and 1 < high < 1.1
    assert koopman(0, 200, 50, 300).high < 0.15  # many rows do say something
    low, high = koopman(5, 20, 0, 30)
    assert high is None and low > 2


def test_falling_short_of_four_fifths():
    # EEOC Q&A 11: 48 % of 60 %; at exactly four fifths the statistic is 0, at less p is small only with rows.
    assert falls_short_p(48, 100, 60, 100, 0.8) == pytest.approx(0.5)
    assert falls_short_p(45, 100, 60, 100, 0.8) > 0.2
    assert falls_short_p(4500, 10_000, 6000, 10_000, 0.8) < 1e-4
    assert falls_short_p(0, 100, 60, 100, 0.8) < 1e-9


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: koopman(0, 5, 0, 9), DataError, "both rates are 0"),
        (lambda: ratio_of_rates(0, 5, 0, 9), DataError, "undefined"),
        (lambda: koopman(3, 2, 1, 9), DataError, "3 of 2 is no rate"),
        (lambda: koopman(0, 0, 1, 9), DataError, "at least one row"),
        (lambda: ratio_interval(0, 5, 3, 9, method="katz"), DataError, "take koopman"),
        (lambda: ratio_interval(1, 5, 3, 9, method="wald"), UsageError, "no method 'wald'"),
        (lambda: koopman(1, 5, 3, 9, 95), UsageError, "confidence is 95"),
        (lambda: falls_short_p(1, 5, 3, 9, 0.0), UsageError, "a ratio of 0.0"),
    ],
)
def test_refusals(make, error, match):
    with pytest.raises(error, match=match):
        make()


def test_one_of_each_has_katzs_interval_and_none_has_not():
    # ln 1 +- 1.96 sqrt(1 - 1/5 + 1 - 1/5).
    ends = math.exp(1.959964 * math.sqrt(1.6))
    assert ratio_interval(1, 5, 1, 5, method="katz") == pytest.approx((1 / ends, ends), rel=1e-6)
    for table in ((0, 5, 3, 9), (3, 9, 0, 5)):
        with pytest.raises(DataError, match=f"{table[0]} of {table[1]} over {table[2]} of {table[3]}: Katz"):
            ratio_interval(*table, method="katz")
    assert ratio_interval(3, 20, 10, 30) == koopman(3, 20, 10, 30)
    assert ratio_interval(3, 20, 10, 30, method="miettinen_nurminen") == miettinen_nurminen(3, 20, 10, 30)
    assert ratio_interval(3, 20, 10, 30, 0.9, method="katz") == katz(3, 20, 10, 30, 0.9)


def test_one_row_each_and_what_is_refused_at_the_edge():
    assert ratio_of_rates(1, 1, 1, 1) == 1.0 and ratio_of_rates(0, 1, 1, 1) == 0.0
    assert ratio_of_rates(1, 1, 0, 1) is None
    low, high = koopman(1, 1, 1, 1)
    assert low == pytest.approx(1 / high) and low < 1
    assert miettinen_nurminen(1, 1, 1, 1).low < low, "the variance of two rows is taken times 2"
    for table in ((-1, 5, 1, 5), (1, 5, -1, 5), (1, 5, 6, 5), (1, 5, 0, 0)):
        with pytest.raises(DataError, match="is no rate"):
            ratio_of_rates(*table)
    for confidence in (0.0, 1.0):
        with pytest.raises(UsageError, match="between 0 and 1"):
            koopman(1, 5, 3, 9, confidence)
    for least in (-0.8, math.inf, math.nan):
        with pytest.raises(UsageError, match="a positive number is expected"):
            falls_short_p(1, 5, 3, 9, least)
    with pytest.raises(DataError, match=r"0 of 5, 0 of 9"):
        falls_short_p(0, 5, 0, 9, 0.8)


def test_the_statistic_where_nothing_varies():
    assert float(score_of_ratio(0, 5, 0, 9, 0.8)) == 0.0, "every ratio fits 0 and 0"
    assert float(score_of_ratio(5, 5, 9, 9, 1.0)) == 0.0
    # All of 5 beside none of 9 at a ratio of 1: the root of Pearson's chi-square of that table.
    expected = stats.chi2_contingency([[5, 0], [0, 9]], correction=False)[0]
    assert float(score_of_ratio(5, 5, 0, 9, 1.0)) == pytest.approx(math.sqrt(expected))
    assert float(score_of_ratio(0, 9, 5, 5, 1.0)) == pytest.approx(-math.sqrt(expected))
