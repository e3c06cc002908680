"""Planning: the table of detectable effects, statsmodels' power, simulation, refusals."""

import numpy as np
import pytest
from scipy import stats

from clinometer.bias.intervals import (
    mean_rows_needed,
    minimum_detectable_effect,
    newcombe_of_effective_n,
    rows_needed,
)
from clinometer.bias.planning import (
    design_effect,
    detectable_difference_of_means,
    detectable_paired_difference,
    detectable_paired_difference_of_means,
    paired_rows_needed,
)
from clinometer.errors import UsageError


def test_a_detectable_difference_is_found_as_often_as_asked_for():
    # Every pair of counts, at the effect of the table of a reference group of 1000: 500 rows, base rate .2.
    effect = minimum_detectable_effect(0.2, 500, 1000)
    assert effect == pytest.approx(0.064, abs=5e-4)
    k1, k2 = np.arange(501)[:, None], np.arange(1001)[None, :]
    pooled = (k1 + k2) / 1500
    se = np.sqrt(np.maximum(pooled * (1 - pooled), 1e-12) * (1 / 500 + 1 / 1000))
    rejects = np.abs(k1 / 500 - k2 / 1000) / se > 1.959964
    chance = stats.binom.pmf(k1, 500, 0.2 + effect) * stats.binom.pmf(k2, 1000, 0.2)
    assert float(chance[rejects].sum()) == pytest.approx(0.8, abs=0.01)


def test_detectable_differences_of_rates_agree_with_statsmodels():
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    effect = minimum_detectable_effect(0.2, 300, 300)
    made = proportion.power_proportions_2indep(effect, 0.2, 300, return_results=False)
    assert float(made) == pytest.approx(0.8, abs=0.01)


def test_rows_needed_settle_a_gap_with_the_power_asked_for():
    more = rows_needed(60, 200, 40, 200, 0.0)
    n = 200 + more
    generator = np.random.default_rng(0)
    k1, k2 = generator.binomial(n, 0.3, 4000), generator.binomial(n, 0.2, 4000)
    pooled = (k1 + k2) / (2 * n)
    z = (k1 - k2) / n / np.sqrt(pooled * (1 - pooled) * 2 / n)
    assert np.mean(z > stats.norm.ppf(0.95)) == pytest.approx(0.8, abs=0.04)


def test_detectable_differences_of_means_agree_with_statsmodels():
    power = pytest.importorskip("statsmodels.stats.power")
    expected = power.TTestIndPower().solve_power(None, nobs1=40, alpha=0.05, power=0.8, ratio=1)
    made = detectable_difference_of_means(4.0, 40, 4.0, 40)
    assert made == pytest.approx(2 * float(expected), rel=1e-3)
    expected = power.TTestPower().solve_power(None, nobs=25, alpha=0.05, power=0.9)
    made = detectable_paired_difference_of_means(9.0, 25, power=0.9)
    assert made == pytest.approx(3 * float(expected), rel=1e-3)


def test_paired_rows_and_differences_are_one_another_turned_over():
    rows = paired_rows_needed(0.25, 0.1)
    assert detectable_paired_difference(0.25, rows) == pytest.approx(0.1, abs=5e-4)
    assert paired_rows_needed(0.25, 0.1, power=0.9) > rows
    # A quarter of rows change, 17.5 % one way, 7.5 % the other.
    generator = np.random.default_rng(1)
    cells = generator.multinomial(rows, [0.175, 0.075, 0.75], size=4000)
    z = (cells[:, 0] - cells[:, 1]) / np.sqrt(np.maximum(1, cells[:, 0] + cells[:, 1]))
    assert np.mean(np.abs(z) > 1.96) == pytest.approx(0.8, abs=0.03)


def test_what_cannot_be_found_is_none():
    assert detectable_paired_difference(0.02, 20) is None
    assert detectable_paired_difference(0.0, 20) is None
    assert paired_rows_needed(0.2, 0.0) is None
    assert paired_rows_needed(0.5, 1e-6) is None


def test_design_effect():
    assert design_effect(10, 0.05) == pytest.approx(1.45)
    assert design_effect(1, 0.9) == 1


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: detectable_difference_of_means(1, 1, 1, 9), "two in each group"),
        (lambda: detectable_paired_difference_of_means(1, 1), "two are needed"),
        (lambda: detectable_paired_difference(1.2, 9), "1.2 of 9 rows"),
        (lambda: paired_rows_needed(0.1, 0.2), "cannot come from"),
        (lambda: paired_rows_needed(0.2, 0.1, power=0.01), "power 0.01"),
        (lambda: design_effect(0.5, 0.1), "0.5 rows in a cluster"),
    ],
)
def test_refusals(make, match):
    with pytest.raises(UsageError, match=match):
        make()


# Numbers at the edges


def power_of_the_score_test(rate, effect, n1, n2, alpha=0.05):
    """The textbook's: the chance that (p1 - p2) passes z standard errors of the pooled rate, by the normal curve."""
    high, low = rate + effect, rate
    pooled = (n1 * high + n2 * low) / (n1 + n2)
    null = np.sqrt(pooled * (1 - pooled) * (1 / n1 + 1 / n2))
    spread = np.sqrt(high * (1 - high) / n1 + low * (1 - low) / n2)
    return stats.norm.sf((stats.norm.isf(alpha / 2) * null - effect) / spread)


@pytest.mark.parametrize("sizes", [(30, 1000), (1000, 30), (50, 50), (7, 9)])
@pytest.mark.parametrize("rate", [0.0, 0.05, 0.5])
def test_a_detectable_effect_has_exactly_the_power_asked_for(rate, sizes):
    for settings in ({}, {"alpha": 0.01}, {"power": 0.95}):
        effect = minimum_detectable_effect(rate, *sizes, **settings)
        if effect is None:  # not even a rate of 1 would do
            assert rate == 0.5 and min(sizes) < 10
            nearly = power_of_the_score_test(rate, 1 - rate - 1e-9, *sizes, settings.get("alpha", 0.05))
            assert nearly < settings.get("power", 0.8)
            continue
        reached = power_of_the_score_test(rate, effect, *sizes, settings.get("alpha", 0.05))
        assert reached == pytest.approx(settings.get("power", 0.8), abs=1e-6)
        assert minimum_detectable_effect(1 - rate, *sizes, **settings) == pytest.approx(effect), "mirrored"


def test_from_a_rate_of_zero_four_rows_can_find_a_rate_of_one_and_three_cannot():
    # 2 of 2 beside 0 of 2 has the pooled error 1 / sqrt(4), and 1.96 / 2 < 1; of three rows 1.96 / sqrt(3) > 1.
    assert minimum_detectable_effect(0.0, 2, 2) == pytest.approx(1.0, abs=0.01)
    assert minimum_detectable_effect(1.0, 2, 2) == minimum_detectable_effect(0.0, 2, 2)
    assert minimum_detectable_effect(0.0, 1, 2) is None


@pytest.mark.parametrize(
    "pair", [(60, 200, 40, 150, 0.0), (40, 150, 60, 200, 0.05), (30, 100, 33, 100, 0.1), (5, 50, 5, 60, 0.1)]
)
def test_rows_needed_is_the_smallest_number_that_settles(pair):
    k1, n1, k2, n2, tolerance = pair
    more = rows_needed(*pair)
    level = 2 * stats.norm.cdf(stats.norm.ppf(0.95) + stats.norm.ppf(0.8)) - 1
    d = k1 / n1 - k2 / n2

    def settled(add):
        ends = newcombe_of_effective_n(k1 / n1, n1 + add, k2 / n2, n2 + add, level)
        within = max(map(abs, ends)) <= tolerance
        beyond = ends.low > tolerance or ends.high < -tolerance
        return within if abs(d) <= tolerance else beyond

    assert more > 1 and settled(more) and not settled(more - 1)
    assert rows_needed(*pair, alpha=0.01) > more and rows_needed(*pair, power=0.9) > more
    assert rows_needed(k2, n2, k1, n1, tolerance) == more, "the same seen from the other group"


def test_rows_needed_for_a_mean_by_hand():
    # Variance 1 in each: 2 z^2 / .2^2 rows in each group, z = 1.645 + .842, are 309.1: 310, of which there are 50.
    assert mean_rows_needed(0.3, (1.0, 1.0), (50, 50), 0.1) == 260
    assert mean_rows_needed(-0.3, (1.0, 1.0), (50, 50), 0.1) == 260
    assert mean_rows_needed(0.1, (1.0, 1.0), (50, 50), 0.3) == 260
    assert mean_rows_needed(0.3, (2.0, 0.0), (50, 50), 0.1) == 260
    z = stats.norm.isf(0.01) + stats.norm.ppf(0.9)
    more = mean_rows_needed(0.3, (1.0, 1.0), (50, 50), 0.1, alpha=0.01, power=0.9)
    assert more == np.ceil(2 * z**2 / 0.04) - 50
    assert mean_rows_needed(0.3, (1.0, 1.0), (5000, 5000), 0.1) == 1, "one is the fewest that is said"
    # At the tolerance no number of rows tells the two sides apart, unless nothing varies: then it is within.
    assert mean_rows_needed(0.1, (1.0, 1.0), (50, 50), 0.1) is None
    assert mean_rows_needed(0.1, (0.0, 0.0), (50, 50), 0.1) == 1
    assert mean_rows_needed(0.1 + 1e-6, (1.0, 1.0), (50, 50), 0.1) is None, "a billion rows would not do"


def test_means_of_two_rows_of_uneven_variance_and_of_none():
    sizes, variances = (2, 7), (9.0, 2.0)
    v1, v2 = variances[0] / sizes[0], variances[1] / sizes[1]
    df = (v1 + v2) ** 2 / (v1**2 / 1 + v2**2 / 6)  # Welch and Satterthwaite
    made = detectable_difference_of_means(9.0, 2, 2.0, 7)
    lost = stats.nct.cdf(stats.t.isf(0.025, df), df, made / np.sqrt(v1 + v2))
    assert lost == pytest.approx(0.2, abs=1e-6)
    assert detectable_difference_of_means(0.0, 2, 0.0, 2) == 0.0
    made = detectable_paired_difference_of_means(4.0, 2)
    assert stats.nct.cdf(stats.t.isf(0.025, 1), 1, made / np.sqrt(4 / 2)) == pytest.approx(0.2, abs=1e-6)


def test_paired_numbers_by_hand():
    # ((1.95996 sqrt(.25) + .84162 sqrt(.25 - .01)) / .1)^2 = 193.8.
    assert paired_rows_needed(0.25, 0.1) == paired_rows_needed(0.25, -0.1) == 194
    # All rows that change do so in one direction: (1.95996 / sqrt(.2) + .84162 sqrt(.16) / .2)^2 = 36.8.
    assert paired_rows_needed(0.2, 0.2) == 37
    assert paired_rows_needed(1.0, 1.0) == 4
    made = detectable_paired_difference(1.0, 100)
    assert 10 * made == pytest.approx(1.959964 + 0.841621 * np.sqrt(1 - made**2), abs=1e-5)
    made = detectable_paired_difference(0.3, 80, alpha=0.01, power=0.9)
    assert np.sqrt(80) * made == pytest.approx(
        2.575829 * np.sqrt(0.3) + 1.281552 * np.sqrt(0.3 - made**2), abs=1e-5
    )
    assert detectable_paired_difference(1.0, 1) is None, "one row is no error; it finds nothing"
    assert design_effect(1, -1) == design_effect(1, 1) == 1 and design_effect(3, 1) == 3


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: detectable_difference_of_means(1, 9, 1, 1), "9 and 1 rows"),
        (lambda: detectable_paired_difference(0.2, 0), "of 0 rows"),
        (lambda: detectable_paired_difference(-0.1, 9), "-0.1 of 9 rows"),
        (lambda: paired_rows_needed(0.0, 0.0), "share of 0.0 of rows"),
        (lambda: paired_rows_needed(1.1, 0.5), "share of 1.1 of rows"),
        (lambda: paired_rows_needed(0.2, 0.1, alpha=0.0), "alpha 0.0"),
        (lambda: paired_rows_needed(0.2, 0.1, power=1.0), "power 1.0"),
        (lambda: paired_rows_needed(0.2, 0.1, alpha=0.5, power=0.5), "0 < alpha < power < 1"),
        (lambda: design_effect(2, 1.1), "correlation 1.1"),
        (lambda: design_effect(2, -1.1), "correlation -1.1"),
    ],
)
def test_refusals_at_the_exact_boundary(make, match):
    with pytest.raises(UsageError, match=match):
        make()
