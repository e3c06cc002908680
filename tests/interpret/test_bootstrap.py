"""Intervals over rows are scipy's, column by column, on the same draws; missing rows are left out."""

import numpy as np
import pytest
from scipy import stats

from clinometer.errors import UsageError
from clinometer.interpret.bootstrap import estimates


@pytest.fixture
def values():
    return np.random.default_rng(0).exponential(size=(40, 3))


def test_agrees_with_scipys_bias_corrected_and_accelerated_interval(values):
    made = estimates(values, replicates=20_000, seed=1)
    for i in range(3):
        found = stats.bootstrap(
            (values[:, i],), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(2)
        ).confidence_interval
        np.testing.assert_allclose((made.low[i], made.high[i]), (found.low, found.high), atol=0.015)
        assert made.low[i] < made.estimate[i] < made.high[i]
    np.testing.assert_allclose(made.estimate, values.mean(axis=0), rtol=1e-12)


def test_a_function_of_means_agrees_with_scipy(values):
    made = estimates(
        values, replicates=20_000, seed=1, statistic=lambda means: means[..., :1] / means[..., 1:2]
    )
    found = stats.bootstrap(
        (values[:, 0], values[:, 1]),
        lambda a, b, axis: a.mean(axis=axis) / b.mean(axis=axis),
        paired=True,
        n_resamples=20_000,
        method="BCa",
        rng=np.random.default_rng(2),
    ).confidence_interval
    np.testing.assert_allclose((made.low[0], made.high[0]), (found.low, found.high), atol=0.04)


def test_missing_rows_are_left_out_of_their_column_alone(values):
    holed = values.copy()
    holed[::4, 1] = np.nan
    made, whole = estimates(holed), estimates(values)
    assert made.n.tolist() == [40, 30, 40]
    np.testing.assert_allclose(made.estimate[1], values[np.arange(40) % 4 != 0, 1].mean(), rtol=1e-12)
    np.testing.assert_array_equal(made.low[[0, 2]], whole.low[[0, 2]])
    assert made.high[1] - made.low[1] > whole.high[1] - whole.low[1]  # fewer rows, a wider interval


def test_too_few_rows_have_no_interval_and_equal_rows_no_width():
    made = estimates(np.array([[1.0, 2.0, np.nan], [np.nan, 2.0, np.nan], [np.nan, 2.0, np.nan]]))
    assert made.n.tolist() == [1, 3, 0]
    assert made.estimate[0] == 1.0 and np.isnan(made.low[0])
    assert made.low[1] == made.high[1] == 2.0
    assert np.isnan(made.estimate[2]) and np.isnan(made.high[2])


def test_columns_share_their_draws_so_that_a_difference_is_paired(values):
    noise = np.random.default_rng(3).normal(size=40) * 1e-3
    both = np.stack([values[:, 0], values[:, 0] + 0.01 + noise, 0.01 + noise], axis=1)
    made = estimates(both)
    assert made.low[2] > 0  # the difference is plain, although the two intervals overlap
    assert made.low[1] < made.high[0]


def test_one_seed_one_answer(values):
    one, same, other = estimates(values, seed=1), estimates(values, seed=1), estimates(values, seed=2)
    np.testing.assert_array_equal(one.low, same.low)
    assert (one.low != other.low).any()


def test_covers_the_true_mean_about_as_often_as_stated():
    generator = np.random.default_rng(0)
    made = [estimates(generator.exponential(size=(60, 4)), replicates=400, seed=i) for i in range(100)]
    covered = np.mean([(one.low <= 1) & (one.high >= 1) for one in made])
    assert 0.9 < covered < 0.98


@pytest.mark.parametrize(("replicates", "confidence"), [(10, 0.95), (1000, 1.0), (1000, 0.0)])
def test_numbers_that_make_no_interval_are_refused(values, replicates, confidence):
    with pytest.raises(UsageError, match="50 or more, and between 0 and 1"):
        estimates(values, replicates=replicates, confidence=confidence)
