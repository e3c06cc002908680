"""Planning: the table of detectable effects, statsmodels' power, simulation, refusals."""

import numpy as np
import pytest
from scipy import stats

from clinometer.bias.intervals import minimum_detectable_effect, rows_needed
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
