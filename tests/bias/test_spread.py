"""Spread between groups: slow twin, bias by simulation, coverage, shrinkage, refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinometer.bias.intervals import newcombe
from clinometer.bias.resampling import multinomial_draws
from clinometer.bias.spread import (
    beta_binomial_shrunken,
    between_group_sd,
    between_group_sd_of_draws,
    largest_gap,
    largest_ratio,
    mean_absolute_deviation,
    shrunken,
)
from clinometer.errors import DataError
from reference.inference import largest_gap as slow_gap

GROUPS = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 60)), min_size=2, max_size=6).map(
    lambda pairs: ([min(k, n) for k, n in pairs], [n for _, n in pairs])
)


@given(GROUPS)
def test_slow_twin_of_the_bounds(groups):
    made = largest_gap(*groups)
    assert (made.low, made.high) == pytest.approx(slow_gap(*groups), abs=1e-9)
    assert 0 <= made.low <= made.estimate <= made.high <= 1 + 1e-12


def test_of_two_groups_the_bounds_are_newcombes():
    low, high = newcombe(50, 80, 20, 70)
    assert largest_gap([20, 50], [70, 80]) == pytest.approx((50 / 80 - 20 / 70, low, high, 1), abs=1e-12)


def test_bounds_cover_and_seldom_raise_a_false_alarm():
    generator = np.random.default_rng(0)
    null = [largest_gap(generator.binomial(50, 0.3, 8), [50] * 8).low > 0 for _ in range(400)]
    assert np.mean(null) <= 0.06
    truth = [0.2, 0.3, 0.35, 0.5]
    rows = [40, 80, 200, 60]
    made = [largest_gap(generator.binomial(rows, truth), rows) for _ in range(400)]
    assert np.mean([gap.low <= 0.3 <= gap.high for gap in made]) >= 0.95
    assert np.mean([gap.low > 0 for gap in made]) > 0.5  # the control: a gap of .3 is found


def test_correction_takes_off_what_sampling_adds():
    generator = np.random.default_rng(1)
    none = [between_group_sd(generator.binomial(50, 0.4, 8), [50] * 8) for _ in range(500)]
    assert np.mean([made.observed**2 for made in none]) == pytest.approx(0.24 / 50, rel=0.1)
    assert np.median([made.corrected for made in none]) < 0.02 < 0.06 < np.median([m.observed for m in none])
    truth = np.asarray([0.2, 0.3, 0.4, 0.5, 0.6, 0.35, 0.45, 0.4])
    some = [between_group_sd(generator.binomial(50, truth), [50] * 8) for _ in range(500)]
    true = truth.var(ddof=1)
    assert np.mean([made.corrected**2 for made in some]) == pytest.approx(true, rel=0.08)
    assert np.mean([made.observed**2 for made in some]) > 1.2 * true


def test_draws_are_corrected_twice():
    k, n = np.asarray([18, 22, 20, 25, 15, 21, 19, 24]), 50
    cells = np.stack([n - k, k], axis=1)
    strata = np.repeat(np.arange(8), 2).reshape(8, 2)
    rates = multinomial_draws(cells, 4000, strata=strata)[..., 1] / n
    once = np.sqrt(np.maximum(0, rates.var(axis=1, ddof=1) - (rates * (1 - rates) / n).mean(axis=1)))
    twice = between_group_sd_of_draws(rates, [n] * 8)
    assert between_group_sd(k, [n] * 8).corrected == 0
    assert np.median(twice) == 0 and np.median(once) > 0.02


def test_known_spread():
    made = between_group_sd([10, 40], [100, 100])
    assert made.observed**2 == pytest.approx(0.045)
    assert made.corrected**2 == pytest.approx(0.045 - (0.09 + 0.24) / 200)


@pytest.mark.parametrize("shrink", [shrunken, beta_binomial_shrunken])
def test_small_groups_are_drawn_further(shrink):
    k, n = [0, 300, 120, 900], [3, 1000, 200, 1500]
    made = shrink(k, n)
    centre = sum(k) / sum(n)
    moved = np.abs(made - np.asarray(k) / n) / np.abs(centre - np.asarray(k) / n)
    assert np.all((moved >= 0) & (moved <= 1)) and moved[0] > 0.3 > 0.05 > moved[3]
    assert shrink([10, 20], [100, 200]) == pytest.approx([0.1, 0.1])  # nothing but sampling
    assert shrink([10, 0, 60], [100, 0, 100])[1] == pytest.approx(70 / 200)  # nobody: the rate of all
    assert shrink([0, 0], [5, 9]).tolist() == [0, 0]


def test_shrunken_rates_are_nearer_to_the_truth():
    generator = np.random.default_rng(2)
    raw = drawn = other = 0.0
    for _ in range(200):
        truth = generator.beta(8, 12, 10)
        rows = generator.integers(10, 60, 10)
        k = generator.binomial(rows, truth)
        raw += np.sum((k / rows - truth) ** 2)
        drawn += np.sum((shrunken(k, rows) - truth) ** 2)
        other += np.sum((beta_binomial_shrunken(k, rows) - truth) ** 2)
    assert drawn < 0.85 * raw and other < 0.85 * raw


def test_raw_spreads():
    assert largest_ratio([10, 40, 0], [100, 100, 0]) == pytest.approx(4)
    assert largest_ratio([0, 40], [100, 100]) is None
    assert mean_absolute_deviation([10, 40], [100, 100]) == pytest.approx(0.15)


@pytest.mark.parametrize(
    "make", [largest_gap, between_group_sd, shrunken, beta_binomial_shrunken, largest_ratio, mean_absolute_deviation]
)  # fmt: skip
def test_refusals(make):
    with pytest.raises(DataError, match="1 groups have rows"):
        make([3, 0], [9, 0])
    with pytest.raises(DataError, match="expected 0 <= k <= n"):
        make([3, 9], [9, 8])
