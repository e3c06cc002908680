"""Losses of rows: their means are scikit-learn's, and an infinite one is named."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from clinometer.bias.losses import (
    absolute_error,
    brier_loss,
    log_loss,
    quantile_loss,
    residual,
    squared_error,
    zero_one_loss,
)
from clinometer.errors import DataError, UsageError

P = np.array([0.9, 0.2, 0.5, 0.0, 1.0])
Y = np.array([True, False, True, False, True])
predicted = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=20)
numbers = st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=1, max_size=20)


def test_known_answers():
    assert brier_loss(P, Y) == pytest.approx([0.01, 0.04, 0.25, 0, 0])
    assert log_loss(P, Y) == pytest.approx([-math.log(0.9), -math.log(0.8), math.log(2), 0, 0])
    assert zero_one_loss(P > 0.5, Y).tolist() == [0, 0, 1, 0, 0]
    actual, guess = [1.0, 5.0], [3.0, 4.0]
    assert residual(actual, guess).tolist() == [-2, 1]
    assert absolute_error(actual, guess).tolist() == [2, 1]
    assert squared_error(actual, guess).tolist() == [4, 1]
    assert quantile_loss(actual, guess, 0.9) == pytest.approx([0.2, 0.9])
    assert quantile_loss(actual, guess, 0.5) == pytest.approx([1, 0.5])


@given(predicted)
def test_means_of_probabilities_are_scikit_learns(rows):
    p, y = (np.array(column) for column in zip(*rows, strict=True))
    assert brier_loss(p, y).mean() == pytest.approx(metrics.brier_score_loss(y, p), abs=1e-9)
    clip = np.finfo(np.float64).eps
    assert log_loss(p, y, clip=clip).mean() == pytest.approx(
        metrics.log_loss(y, np.stack([1 - p, p], axis=1), labels=[False, True]), abs=1e-9
    )
    assert zero_one_loss(p > 0.5, y).mean() == pytest.approx(metrics.zero_one_loss(y, p > 0.5), abs=1e-9)


@given(numbers, st.sampled_from([0.1, 0.5, 0.95]))
def test_means_of_errors_are_scikit_learns(rows, quantile):
    y, f = (np.array(column) for column in zip(*rows, strict=True))
    assert absolute_error(y, f).mean() == pytest.approx(metrics.mean_absolute_error(y, f), rel=1e-12)
    assert squared_error(y, f).mean() == pytest.approx(metrics.mean_squared_error(y, f), rel=1e-12)
    assert quantile_loss(y, f, quantile).mean() == pytest.approx(
        metrics.mean_pinball_loss(y, f, alpha=quantile), rel=1e-12
    )


def test_quantile_loss_is_least_at_the_quantile():
    values = np.random.default_rng(0).exponential(size=999)
    tried = np.linspace(0, 6, 601)
    means = [quantile_loss(values, np.full(999, at), 0.9).mean() for at in tried]
    assert tried[int(np.argmin(means))] == pytest.approx(np.quantile(values, 0.9), abs=0.01)


def test_small_probabilities_keep_their_digits():
    assert log_loss([1e-20], [False])[0] == pytest.approx(1e-20, rel=1e-12)
    assert log_loss([1e-300], [True])[0] == pytest.approx(300 * math.log(10), rel=1e-12)


def test_an_infinite_loss_is_named_and_a_clip_stated():
    p, y = [0.5, 0.0, 1.0, 0.3], [True, True, False, False]
    with pytest.raises(DataError, match=r"infinite in 2 rows.*'1', '2'"):
        log_loss(p, y)
    assert log_loss(p, y, clip=1e-3)[1:3] == pytest.approx([3 * math.log(10)] * 2)
    for clip in (0.0, 0.5, -1, math.nan):
        with pytest.raises(UsageError, match="clip is"):
            log_loss(p, y, clip=clip)


def test_refusals():
    with pytest.raises(
        DataError, match=r"probability has 2 values outside \[0, 1\], e.g. 1.5; first rows.*'1', '2'"
    ):
        brier_loss([0.5, 1.5, -1], [True, False, True])
    with pytest.raises(DataError, match="probability has 1 values that are missing"):
        log_loss([0.5, np.nan], [True, False])
    with pytest.raises(DataError, match="one truth value per row"):
        brier_loss([0.5], [1])
    with pytest.raises(DataError, match="different lengths"):
        absolute_error([1.0, 2.0], [1.0])
    with pytest.raises(DataError, match="different lengths"):
        zero_one_loss([True], [True, False])
    for quantile in (0, 1, math.nan):
        with pytest.raises(UsageError, match="quantile is"):
            quantile_loss([1.0], [1.0], quantile)
