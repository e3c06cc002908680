"""Rates at their limits: the last number accepted, what nothing or everybody gives, known answers by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from clinometer.bias.mantel_haenszel import mantel_haenszel
from clinometer.bias.paired import PairedCounts
from clinometer.bias.paired_scores import paired_surpasses_p, tango, tango_statistic
from clinometer.bias.ratios import koopman, score_of_ratio
from clinometer.bias.spread import largest_gap
from clinometer.bias.strata import Stratum, condition, standardised_gap
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

NO_CONFIDENCE = (0.0, 1.0, -0.5, 1.5, math.nan)


# Tests of rates


def test_rates_of_exactly_0_and_1_can_be_tested_and_nothing_beyond():
    assert exact_binomial(0, 4, 0.0) == (1.0, "exact binomial", 4)
    assert exact_binomial(4, 4, 1.0) == (1.0, "exact binomial", 4)
    assert exact_binomial(1, 4, 0.0).p == exact_binomial(3, 4, 1.0).p == 0.0
    for rate in (-1e-9, 1 + 1e-9, math.nan):
        with pytest.raises(UsageError) as raised:
            exact_binomial(1, 4, rate)
        assert str(raised.value) == f"a rate of {rate} cannot be tested; between 0 and 1 is expected."


@pytest.mark.parametrize("table", [(0, 4, 0, 9), (4, 4, 9, 9), (1, 4, 5, 9)])
def test_every_test_says_its_name_and_from_how_many_rows(table):
    k1, n1, k2, n2 = table
    names = {
        boschloo: "Boschloo",
        fisher_exact: "Fisher exact",
        fisher_mid_p: "Fisher mid-p",
        score: "score z",
    }
    for test, name in names.items():
        made = test(*table)
        assert (made.method, made.n) == (name, 13)
        if k1 + k2 in (0, 13):
            assert made.p == (0.5 if test is fisher_mid_p else 1.0)
    made = homogeneity([k1, k2], [n1, n2])
    assert made.n == 13
    assert made.method == ("homogeneity, exact" if 0 < k1 + k2 < 13 else "homogeneity, nothing varies")


def test_boschloo_up_to_60_rows_and_fisher_up_to_an_expected_count_of_5():
    assert equality(1, 10, 2, 50) == boschloo(1, 10, 2, 50)
    assert equality(1, 10, 2, 51) == fisher_mid_p(1, 10, 2, 51)
    assert equality(2, 50, 8, 50) == score(2, 50, 8, 50)  # 10 of 100: an expected count of exactly 5
    assert equality(1, 50, 8, 50) == fisher_mid_p(1, 50, 8, 50)
    assert homogeneity([2, 8], [50, 50]).method == "homogeneity, chi-square"
    assert homogeneity([1, 8], [50, 50]).method == "homogeneity, exact"


def test_counts_at_their_ends_are_rates_and_beyond_them_are_none():
    for k, n in ((-1, 4), (5, 4), (0, 0)):
        with pytest.raises(DataError) as raised:
            exact_binomial(k, n, 0.5)
        assert str(raised.value) == f"{k} of {n} is no rate: expected 0 <= k <= n and at least 1 rows."
        for test in (boschloo, fisher_exact, fisher_mid_p, score):
            for table in ((k, n, 1, 4), (1, 4, k, n)):
                with pytest.raises(DataError, match=f"{k} of {n} is no rate"):
                    test(*table)
    with pytest.raises(DataError, match="-1 of 4 is no rate: expected 0 <= k <= n and at least 0 rows"):
        homogeneity([-1, 2], [4, 4])
    assert exact_binomial(1, 1, 0.5).p == exact_binomial(0, 1, 0.5).p == 1.0


# Ratios


@pytest.mark.parametrize("m", [1, 2, 3, 10])
@pytest.mark.parametrize("confidence", [0.3, 0.5, 0.6])
def test_a_low_confidence_still_has_its_ends_where_the_reference_has_none(m, confidence):
    """One of one against none of m: chi-square at the ratio r is m / (r - 1), so that the lower end is 1 + m / z^2.

    The search starts beyond the end there, as half a row of the reference stands for none.
    """
    z = stats.norm.ppf(0.5 + confidence / 2)
    low, high = koopman(1, 1, 0, m, confidence)
    assert high is None and low == pytest.approx(1 + m / z**2, rel=1e-9)
    other = koopman(0, m, 1, 1, confidence)
    assert other.low == 0.0 and other.high == pytest.approx(1 / (1 + m / z**2), rel=1e-9)


def test_the_statistic_is_z_at_both_ends_at_every_confidence():
    for table in ((1, 2, 0, 1), (0, 1, 1, 2), (3, 20, 0, 30), (0, 30, 3, 20), (4, 9, 5, 8)):
        for confidence in (0.05, 0.3, 0.5, 0.7, 0.999):
            z = stats.norm.ppf(0.5 + confidence / 2)
            low, high = koopman(*table, confidence)
            for end, expected in ((low, z), (high, -z)):
                if end:
                    assert float(score_of_ratio(*table, end)) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("confidence", NO_CONFIDENCE)
def test_confidences_that_are_none_are_refused_everywhere(confidence):
    strata = (Stratum(name="x", k_group=3, n_group=9, k_reference=2, n_reference=8),)
    cells = PairedCounts(both=1, first_only=2, second_only=1, neither=4)
    said = f"^confidence is {confidence}; "
    for make in (
        lambda: koopman(3, 9, 2, 8, confidence),
        lambda: standardised_gap(strata, confidence=confidence),
        lambda: condition(strata, confidence=confidence),
        lambda: mantel_haenszel([3], [9], [2], [8], confidence=confidence),
        lambda: tango(cells, confidence),
    ):
        with pytest.raises(UsageError, match=said):
            make()


def test_confidences_just_inside_are_accepted():
    strata = (Stratum(name="x", k_group=3, n_group=9, k_reference=2, n_reference=8),)
    for confidence in (1e-9, 1 - 1e-9):
        made = standardised_gap(strata, confidence=confidence)
        assert made.low < made.gap < made.high and made.confidence == confidence
        assert mantel_haenszel([3], [9], [2], [8], confidence=confidence).confidence == confidence
        assert koopman(3, 9, 2, 8, confidence).low < (3 / 9) / (2 / 8)


def test_the_confidence_is_95_percent_where_none_is_given():
    strata = (Stratum(name="x", k_group=3, n_group=9, k_reference=2, n_reference=8),)
    assert standardised_gap(strata) == standardised_gap(strata, "both", confidence=0.95)
    assert condition(strata) == condition(strata, "both", confidence=0.95)
    assert mantel_haenszel([3], [9], [2], [8]) == mantel_haenszel(
        [3], [9], [2], [8], confidence=0.95, correction=False
    )
    assert koopman(3, 9, 2, 8) == koopman(3, 9, 2, 8, 0.95)
    assert largest_gap([3, 2], [9, 8]) == largest_gap([3, 2], [9, 8], 0.95)


# Several tables


def test_counts_of_strata_at_their_ends_and_what_is_none():
    fine = mantel_haenszel([0, 9], [9, 9], [1, 7], [8, 8])
    assert fine.odds_ratio == pytest.approx((0 * 7 / 17 + 9 * 1 / 17) / (9 * 1 / 17 + 0 * 7 / 17))
    other = mantel_haenszel([3, 4], [9, 9], [0, 8], [8, 8])
    assert other.odds_ratio == pytest.approx((3 * 8 / 17) / (5 * 8 / 17))
    with pytest.raises(DataError, match=r"^there are no strata\.$"):
        mantel_haenszel([], [], [], [])
    for place, bad in ((0, -1), (0, 10), (2, -1), (2, 9), (1, math.inf), (3, math.nan), (1, 2)):
        columns = [[3.0, 3.0], [9.0, 9.0], [2.0, 2.0], [8.0, 8.0]]
        columns[place][1] = bad
        with pytest.raises(DataError) as raised:
            mantel_haenszel(*columns)
        assert str(raised.value) == (
            "strata '1', counted from 0: a count is negative, not finite or more than its rows."
        )
    for place in range(4):
        columns = [[3.0, 3.0], [9.0, 9.0], [2.0, 2.0], [8.0, 8.0]]
        columns[place] = columns[place][:1]
        with pytest.raises(DataError, match="one number per stratum is expected"):
            mantel_haenszel(*columns)


def test_a_gap_of_rates_of_0_and_1_has_the_ends_of_wilsons_intervals():
    """None of 8 and all of 5: the lower bound is 1 less the root of the squared arms, the upper one is 1."""
    z2 = stats.norm.ppf(0.975) ** 2
    made = largest_gap([0, 5], [8, 5])
    arms = z2 / (5 + z2), z2 / (8 + z2)
    assert made == pytest.approx((1.0, 1 - math.hypot(*arms), 1.0, 1), abs=1e-12)
    assert largest_gap([5, 0], [5, 8]) == made
    for n in range(1, 60):
        assert largest_gap([0, n], [3, n]).high == 1.0, "exactly: nothing is lost to rounding"
    none = largest_gap([0, 0], [8, 5])
    assert none == pytest.approx((0.0, 0.0, z2 / (5 + z2), 1), abs=1e-12)
    every = largest_gap([8, 5], [8, 5])
    assert every == pytest.approx(none, abs=1e-12)


# Pairs


def test_a_whole_difference_has_itself_as_an_end():
    whole = PairedCounts(both=0, first_only=6, second_only=0, neither=0)
    low, high = tango(whole)
    assert high == 1.0 and tango_statistic(whole, low) == pytest.approx(stats.norm.ppf(0.975), abs=1e-8)
    turned = tango(PairedCounts(both=0, first_only=0, second_only=6, neither=0))
    assert (turned.low, turned.high) == pytest.approx((-1.0, -low), abs=1e-12)
    # One row that only the first has: sqrt(d / (1 - d)) at the difference d, and z^2 / (1 + z^2) turned about.
    one = tango(PairedCounts(both=0, first_only=1, second_only=0, neither=0))
    z2 = stats.norm.ppf(0.975) ** 2
    assert one.high == 1.0 and one.low == pytest.approx((1 - z2) / (1 + z2), abs=1e-9)


def test_margins_from_0_to_1():
    cells = PairedCounts(both=1, first_only=5, second_only=1, neither=4)
    assert paired_surpasses_p(cells) == paired_surpasses_p(cells, 0.0)
    assert 0.9 < paired_surpasses_p(cells, 1 - 1e-6) <= 1.0
    for margin in (-1e-9, 1.0, math.nan):
        with pytest.raises(UsageError) as raised:
            paired_surpasses_p(cells, margin)
        assert str(raised.value) == f"the margin is {margin}; 0 or more and less than 1 is expected."
    # Beyond what the rows can show, the margin's p is the larger; with a small one McNemar's is.
    assert paired_surpasses_p(cells, 1e-6) == pytest.approx(stats.binom.sf(4, 6, 0.5))
    assert paired_surpasses_p(cells, 0.4) == pytest.approx(stats.norm.sf(tango_statistic(cells, 0.4)))


def test_what_cannot_vary_is_told_from_what_cannot_be():
    agree = PairedCounts(both=3, first_only=0, second_only=0, neither=3)
    assert tango_statistic(agree, 0.0) == 0.0
    assert np.isfinite(tango_statistic(agree, 0.1)) and tango_statistic(agree, 0.1) < 0
