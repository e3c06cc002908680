"""Errors of predictions of a number: scikit-learn's, influences that are derivatives, groups compared."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinometer.bias.influence import difference
from clinometer.bias.regression import (
    error_ratio,
    explained_variance,
    mean_absolute_error,
    mean_residual,
    mean_squared_error,
    quantile_coverage,
    quantile_loss,
    root_mean_squared_error,
)
from clinometer.bias.scored import Undefined
from clinometer.errors import DataError, UsageError

LABEL = np.array([3.0, -0.5, 2.0, 7.0])
PREDICTION = np.array([2.5, 0.0, 2.0, 8.0])
ERRORS = {
    "residual": mean_residual,
    "absolute": mean_absolute_error,
    "squared": mean_squared_error,
    "root": root_mean_squared_error,
    "explained": explained_variance,
    "quantile": lambda y, f, **kw: quantile_loss(y, f, 0.3, **kw),
    "coverage": lambda y, f, **kw: quantile_coverage(y, f, 0.3, **kw),
}


def test_known_answers_of_the_scikit_learn_guide():
    assert mean_absolute_error(LABEL, PREDICTION).estimate == 0.5
    assert mean_squared_error(LABEL, PREDICTION).estimate == 0.375
    assert root_mean_squared_error(LABEL, PREDICTION).estimate == pytest.approx(0.612, abs=5e-4)
    assert explained_variance(LABEL, PREDICTION).estimate == pytest.approx(0.948, abs=1e-3)
    assert mean_residual(LABEL, PREDICTION).estimate == -0.25
    assert quantile_coverage(LABEL, PREDICTION, 0.5).estimate == 0.25


numbers = st.floats(-50, 50)


@given(st.lists(st.tuples(numbers, numbers), min_size=3, max_size=20), st.floats(0.05, 0.95))
def test_agrees_with_scikit_learn(rows, quantile):
    from sklearn import metrics

    y, f = (np.array(part) for part in zip(*rows, strict=True))
    assert mean_absolute_error(y, f).estimate == pytest.approx(metrics.mean_absolute_error(y, f), abs=1e-9)
    assert root_mean_squared_error(y, f).estimate == pytest.approx(
        metrics.root_mean_squared_error(y, f), abs=1e-9
    )
    assert quantile_loss(y, f, quantile).estimate == pytest.approx(
        metrics.mean_pinball_loss(y, f, alpha=quantile), abs=1e-9
    )
    if np.ptp(y) > 1e-3:
        assert explained_variance(y, f).estimate == pytest.approx(metrics.r2_score(y, f), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", ERRORS)
def test_counts_are_rows(name):
    count = np.array([3, 1, 2, 4])
    collapsed = ERRORS[name](LABEL, PREDICTION, count=count)
    spread = ERRORS[name](np.repeat(LABEL, count), np.repeat(PREDICTION, count))
    assert collapsed.estimate == pytest.approx(spread.estimate, abs=1e-12)
    assert collapsed.se() == pytest.approx(spread.se(), abs=1e-12)


@pytest.mark.parametrize("name", ERRORS)
def test_whole_weights_have_the_estimate_of_counts_and_the_error_of_rows(name):
    weight = np.array([3, 1, 2, 4])
    weighed = ERRORS[name](LABEL, PREDICTION, weight=weight)
    counted = ERRORS[name](LABEL, PREDICTION, count=weight)
    assert weighed.estimate == pytest.approx(counted.estimate, abs=1e-12)
    assert weighed.n == 4 and weighed.se() > counted.se(), "weights are no rows"
    alike = ERRORS[name](LABEL, PREDICTION, weight=np.full(4, 0.3))
    assert alike.se() == pytest.approx(ERRORS[name](LABEL, PREDICTION).se(), abs=1e-12)


def test_a_weighted_error_is_scikit_learns():
    from sklearn import metrics

    weight = [0.5, 2.0, 1.0, 0.1]
    for ours, peer in (
        (mean_absolute_error, metrics.mean_absolute_error),
        (root_mean_squared_error, metrics.root_mean_squared_error),
        (explained_variance, metrics.r2_score),
    ):
        assert ours(LABEL, PREDICTION, weight=weight).estimate == pytest.approx(
            peer(LABEL, PREDICTION, sample_weight=weight), abs=1e-12
        )


@pytest.mark.parametrize("name", ERRORS)
def test_the_influence_is_the_derivative(name):
    count = np.array([3, 1, 2, 4]) * 10**6
    whole = ERRORS[name](LABEL, PREDICTION, count=count)
    for i in range(4):
        more = count.copy()
        more[i] += 1
        moved = ERRORS[name](LABEL, PREDICTION, count=more)
        assert (moved.estimate - whole.estimate) * more.sum() == pytest.approx(whole.influence[i], abs=1e-4)


@pytest.mark.parametrize("name", ERRORS)
def test_rows_of_a_group_are_the_group_alone(name):
    rows = np.array([3, 0, 1])
    inside, alone = ERRORS[name](LABEL, PREDICTION, rows=rows), ERRORS[name](LABEL[rows], PREDICTION[rows])
    assert inside.estimate == alone.estimate and inside.rows.tolist() == [3, 0, 1]
    assert isinstance(ERRORS[name](LABEL, PREDICTION, rows=np.array([], dtype=int)), Undefined)


def test_the_standard_error_of_the_root_is_that_of_rows_drawn_again():
    generator = np.random.default_rng(0)
    y, f = generator.normal(size=(2, 300))
    drawn = generator.multinomial(300, np.full(300, 1 / 300), size=3000)
    assert root_mean_squared_error(y, f).se() == pytest.approx(
        np.std(np.sqrt(drawn @ (y - f) ** 2 / 300)), rel=0.1
    )


def test_the_residual_gap_is_welchs():
    from scipy import stats

    generator = np.random.default_rng(1)
    y, f = generator.normal(size=(2, 60))
    one, other = np.arange(25), np.arange(25, 60)
    gap = difference(mean_residual(y, f, rows=one), mean_residual(y, f, rows=other))
    peer = stats.ttest_ind((y - f)[one], (y - f)[other], equal_var=False)
    assert gap.exceeds_p() == pytest.approx(peer.pvalue, abs=1e-9)
    assert gap.interval() == pytest.approx(tuple(peer.confidence_interval()), abs=1e-9)


def test_the_ratio_of_errors_covers_the_truth_and_finds_a_difference():
    generator = np.random.default_rng(2)
    held = found = 0
    for _ in range(200):
        residual = generator.normal(size=200) * np.repeat([2.0, 1.0], 100)
        one, other = (
            root_mean_squared_error(residual, np.zeros(200), rows=np.arange(*ends))
            for ends in ((0, 100), (100, 200))
        )
        ratio, (low, high), p = error_ratio(one, other)
        held += low <= 2 <= high
        found += p < 0.05
        assert low < ratio < high
    assert held >= 184 and found == 200


def test_a_ratio_to_no_error_is_undefined():
    exact = mean_absolute_error(LABEL, LABEL)
    assert exact.estimate == 0
    assert isinstance(error_ratio(mean_absolute_error(LABEL, PREDICTION), exact), Undefined)
    assert root_mean_squared_error(LABEL, LABEL).estimate == 0
    alike = mean_absolute_error(LABEL, LABEL + 1)
    assert error_ratio(alike, alike) == (1.0, (1.0, 1.0), 1.0)


def test_labels_that_are_alike_have_nothing_to_explain():
    for made in (
        explained_variance([2.0, 2.0], [1.0, 3.0]),
        explained_variance([2.0, 2.0, 5.0], [1.0, 3.0, 4.0], count=np.array([1, 1, 0])),
        explained_variance([2.0, 2.0, 5.0], [1.0, 3.0, 4.0], weight=[1.0, 1.0, 0.0]),
    ):
        assert isinstance(made, Undefined) and "all alike" in made.reason
    assert isinstance(mean_absolute_error([1.0], [2.0], weight=[0.0]), Undefined)


def test_refusals():
    with pytest.raises(DataError, match="label has 1 values that are missing or not finite"):
        mean_absolute_error([math.nan, 1.0], [1.0, 1.0])
    with pytest.raises(DataError, match="different lengths: label 2, prediction 1"):
        mean_absolute_error([1.0, 2.0], [1.0])
    with pytest.raises(DataError, match="numbers are expected"):
        mean_absolute_error(["a", "b"], [1.0, 2.0])
    with pytest.raises(DataError, match="weight has 1 values below 0"):
        mean_absolute_error(LABEL, PREDICTION, weight=[1.0, -1.0, 1.0, 1.0])
    with pytest.raises(UsageError, match="quantile is 1"):
        quantile_loss(LABEL, PREDICTION, 1)
    with pytest.raises(DataError, match="count is negative in rows '1'"):
        mean_absolute_error([1.0, 2.0], [1.0, 1.0], count=np.array([1, -1]))
