"""Inequality of benefits: AIF360's table, limits, parts that add up, influences that are derivatives."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinometer.bias.inequality import (
    benefits,
    coefficient_of_variation,
    decompose_entropy,
    entropy_interval,
    generalized_entropy,
    theil_index,
)
from clinometer.bias.scored import Undefined
from clinometer.errors import DataError, UsageError
from reference.group_metrics import entropy_index

ALPHAS = (-1.0, 0.0, 0.5, 1.0, 2.0, 3.0)
positive = st.lists(st.floats(0.1, 10), min_size=2, max_size=12)


def aif360_table():
    label = np.array([1, 0, 1, 1, 0, 0, 1, 0, 1, 1], dtype=bool)
    prediction = label.copy()
    prediction[[3, 9]] = False
    prediction[[4, 5]] = True
    return label, prediction


def test_aif360_table():
    label, prediction = aif360_table()
    benefit = benefits(label, prediction)
    assert generalized_entropy(benefit).estimate == pytest.approx(0.2, abs=1e-12)
    assert theil_index(benefit).estimate == pytest.approx(0.4 * math.log(2), abs=1e-12)
    assert coefficient_of_variation(benefit).estimate == pytest.approx(math.sqrt(0.4), abs=1e-12)
    for alpha in (0.5, 1.0, 2.0, 3.0):
        ours = generalized_entropy(benefit, alpha).estimate
        assert ours == pytest.approx(entropy_index(benefit.tolist(), alpha), abs=1e-12)


def test_the_coefficient_of_variation_is_scipys():
    from scipy import stats

    benefit = np.random.default_rng(0).gamma(2, size=50)
    assert coefficient_of_variation(benefit).estimate == pytest.approx(stats.variation(benefit), rel=1e-12)


@given(positive, st.sampled_from(ALPHAS))
def test_slow_twin(values, alpha):
    assert generalized_entropy(values, alpha).estimate == pytest.approx(
        entropy_index(values, alpha), abs=1e-9
    )


def test_theil_and_the_log_deviation_are_the_limits():
    values = np.random.default_rng(1).gamma(2, size=40)
    for alpha in (0.0, 1.0):
        near = [generalized_entropy(values, alpha + step).estimate for step in (-1e-5, 1e-5)]
        assert generalized_entropy(values, alpha).estimate == pytest.approx(np.mean(near), abs=1e-7)


@given(st.lists(st.tuples(st.floats(0.1, 10), st.integers(1, 4)), min_size=2, max_size=8))
def test_counts_are_rows(pairs):
    values = np.array([value for value, _ in pairs])
    count = np.array([n for _, n in pairs])
    for alpha in ALPHAS:
        collapsed = generalized_entropy(values, alpha, count=count)
        spread = generalized_entropy(np.repeat(values, count), alpha)
        assert collapsed.estimate == pytest.approx(spread.estimate, abs=1e-12)
        assert collapsed.se() == pytest.approx(spread.se(), abs=1e-9)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_influence_is_the_derivative(alpha):
    values = np.array([0.5, 1.0, 1.5, 4.0])
    count = np.full(4, 10**6)
    whole = generalized_entropy(values, alpha, count=count)
    for i in range(4):
        more = count.copy()
        more[i] += 1
        moved = generalized_entropy(values, alpha, count=more).estimate
        assert (moved - whole.estimate) * more.sum() == pytest.approx(whole.influence[i], abs=1e-4)


def test_the_standard_error_is_that_of_rows_drawn_again():
    generator = np.random.default_rng(2)
    values = generator.gamma(2, size=300)
    drawn = generator.multinomial(300, np.full(300, 1 / 300), size=3000)
    mean, squares = drawn @ values / 300, drawn @ values**2 / 300
    bootstrapped = np.std((squares / mean**2 - 1) / 2)
    assert generalized_entropy(values).se() == pytest.approx(bootstrapped, rel=0.1)


@given(
    st.lists(st.tuples(st.floats(0.1, 10), st.sampled_from(["a", "b", None])), min_size=1, max_size=15),
    st.sampled_from(ALPHAS),
)
def test_between_and_within_add_up(rows, alpha):
    values, groups = [value for value, _ in rows], [group for _, group in rows]
    parts = decompose_entropy(values, groups, alpha)
    assert parts.between + parts.within == pytest.approx(parts.total, abs=1e-9)
    assert sum(part.contribution for part in parts.groups) == pytest.approx(parts.within, abs=1e-12)
    means = [np.mean([v for v, g in rows if g == group]) for group in groups]
    assert parts.between == pytest.approx(entropy_index(means, alpha), abs=1e-9)


def test_groups_alike_have_nothing_between_them_and_others_do():
    alike = decompose_entropy([1.0, 2.0, 1.0, 2.0], ["a", "a", "b", "b"])
    assert alike.between == pytest.approx(0, abs=1e-15) and alike.within > 0
    apart = decompose_entropy([1.0, 1.0, 2.0, 2.0], ["a", "a", "b", "b"])
    assert apart.within == 0 and apart.between == pytest.approx(1 / 18)


def test_a_group_without_any_benefit_has_no_index():
    parts = decompose_entropy([0.0, 0.0, 1.0, 2.0], ["a", "a", "b", "b"])
    assert parts.groups[0].index is None and parts.groups[0].contribution == 0
    assert parts.between + parts.within == pytest.approx(parts.total)


def test_counts_of_zero_are_nobody():
    parts = decompose_entropy([1.0, 2.0, 9.0, 3.0], ["a", "a", "c", "b"], 0.0, count=np.array([1, 2, 0, 1]))
    assert [part.group for part in parts.groups] == ["a", "b"]
    assert parts.total == pytest.approx(entropy_index([1, 2, 2, 3], 0))


def test_no_interval_where_all_are_alike_and_one_where_they_are_not():
    alike = generalized_entropy([1.0, 1.0, 1.0])
    assert alike.estimate == 0 and entropy_interval(alike) is None
    assert entropy_interval(coefficient_of_variation([2.0, 2.0])) is None
    low, high = entropy_interval(generalized_entropy([1.0, 2.0, 1.5, 0.7]))
    assert 0 < low < high
    assert generalized_entropy([], rows=np.array([], dtype=int)) == Undefined(
        reason="nobody in the denominator", n=0
    )


def test_refusals():
    with pytest.raises(DataError, match="benefits are negative"):
        generalized_entropy([1.0, -1.0])
    with pytest.raises(DataError, match="every benefit is 0"):
        generalized_entropy([0.0, 0.0])
    with pytest.raises(DataError, match="1 rows have no benefit, and at alpha 0"):
        generalized_entropy([0.0, 1.0], 0.0)
    with pytest.raises(DataError, match="not finite"):
        generalized_entropy([math.nan, 1.0])
    with pytest.raises(UsageError, match="alpha is inf"):
        generalized_entropy([1.0], math.inf)
    with pytest.raises(DataError, match="whole numbers of rows"):
        generalized_entropy([1.0, 2.0], count=np.array([0.5, 1.0]))
    with pytest.raises(DataError, match="different lengths"):
        generalized_entropy([1.0, 2.0], count=np.array([1]))
    with pytest.raises(DataError, match="rows names '7'"):
        generalized_entropy([1.0, 2.0], rows=np.array([7]))
    with pytest.raises(DataError, match="one group a row"):
        decompose_entropy([1.0, 2.0], ["a"])
    with pytest.raises(DataError, match="no rows"):
        decompose_entropy([], [])
    with pytest.raises(DataError, match="one truth value per row"):
        benefits(np.array([0, 1]), np.array([True, False]))
