"""Reliability curves, and calibration errors that are near 0 for a calibrated model where the plain one is not."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from clinometer.bias.intervals import wilson
from clinometer.bias.reliability import CalibrationError, calibration_error, reliability_curve
from clinometer.bias.scored import Undefined
from clinometer.errors import DataError, UsageError
from reference import calibrated

tables = st.lists(st.tuples(st.integers(0, 10), st.booleans(), st.integers(1, 4)), min_size=1, max_size=25)


def columns(rows):
    p, label, count = (np.array(column) for column in zip(*rows, strict=True))
    return p / 10, label.astype(bool), count


def drawn(n, generator, shift=0.0):
    p = generator.beta(1.5, 3, n)
    return p, generator.random(n) < np.clip(p + shift, 0, 1)


def error(*arguments, **options) -> CalibrationError:
    made = calibration_error(*arguments, **options)
    assert isinstance(made, CalibrationError), made
    return made


def edges_of(curve):
    return [curve[0].low_edge, *(part.high_edge for part in curve)]


@given(tables, st.sampled_from(["equal width", "equal mass"]), st.integers(1, 6))
def test_bins_and_errors_are_those_of_the_loops_and_of_counted_rows(rows, binning, n_bins):
    p, label, count = columns(rows)
    listed = np.repeat(p, count), np.repeat(label, count)
    curve = reliability_curve(p, label, n_bins=n_bins, binning=binning, count=count)
    for part, other in zip(curve, reliability_curve(*listed, n_bins=n_bins, binning=binning), strict=True):
        known = part.mean_probability is not None
        exact = dataclasses.replace(other, mean_probability=part.mean_probability)
        assert part == exact and known == (other.mean_probability is not None)
    slow = calibrated.binned(listed[0].tolist(), listed[1].tolist(), edges_of(curve))
    for part, inside in zip(curve, slow, strict=True):
        assert part.n == len(inside)
        if not inside:
            assert part.positive_rate is None and part.interval is None and part.mean_probability is None
            continue
        k = sum(y for _, y in inside)
        assert part.positive_rate == k / len(inside)
        assert part.interval == wilson(k, len(inside))
        assert part.mean_probability == pytest.approx(np.mean([x for x, _ in inside]), abs=1e-12)
    made = error(p, label, n_bins=n_bins, binning=binning, count=count)
    assert made.plain == pytest.approx(calibrated.plain_error(slow), abs=1e-12)
    assert made.expected_if_calibrated == pytest.approx(calibrated.expected_if_calibrated(slow), abs=1e-12)
    assert made.n_alone == sum(len(inside) == 1 for inside in slow)
    if any(len(inside) > 1 for inside in slow):
        assert made.squared_debiased == pytest.approx(
            calibrated.squared_error(slow, of_label_alone=False), abs=1e-12
        )
    else:
        assert made.squared_debiased is None and made.root_mean_square is None


@given(tables)
def test_squared_error_is_kumars_where_probabilities_are_alike_within_bins(rows):
    p, label, count = columns(rows)
    made = error(p, label, n_bins=100, binning="equal width", count=count)  # one bin for each tenth
    listed = np.repeat(p, count).tolist(), np.repeat(label, count).tolist()
    slow = calibrated.binned(*listed, [i / 100 for i in range(101)])
    if any(len(inside) > 1 for inside in slow):
        assert made.squared_debiased == pytest.approx(
            calibrated.squared_error(slow, of_label_alone=True), abs=1e-12
        )


def test_a_calibrated_model_has_a_plain_error_and_no_debiased_one():
    generator = np.random.default_rng(0)
    plain, debiased, squared, kumar = [], [], [], []
    for _ in range(400):
        p, label = drawn(300, generator)
        made = error(p, label)
        plain.append(made.plain)
        debiased.append(made.debiased)
        squared.append(made.squared_debiased)
        curve = reliability_curve(p, label)
        bins = calibrated.binned(p.tolist(), label.tolist(), edges_of(curve))
        kumar.append(calibrated.squared_error(bins, of_label_alone=True))
    assert np.mean(plain) > 0.06
    for values in (debiased, squared):
        assert abs(np.mean(values)) < 3 * np.std(values) / 20
    assert abs(np.mean(debiased)) < 0.003 and abs(np.mean(squared)) < 0.0005
    assert np.mean(kumar) < np.mean(squared)  # whose variance of y alone takes the spread of p away too


def test_an_uncalibrated_model_keeps_its_error():
    generator = np.random.default_rng(1)
    made = [error(*drawn(2000, generator, shift=0.2)) for _ in range(30)]
    assert np.mean([one.debiased for one in made]) > 0.15
    assert np.mean([one.debiased for one in made]) <= 0.2
    assert np.mean([one.root_mean_square for one in made]) == pytest.approx(0.195, abs=0.01)


def test_small_groups_look_no_worse_calibrated():
    generator = np.random.default_rng(2)
    small = [error(*drawn(60, generator), n_bins=10) for _ in range(300)]
    large = [error(*drawn(3000, generator), n_bins=10) for _ in range(60)]
    assert np.mean([one.plain for one in small]) > 4 * np.mean([one.plain for one in large])
    assert np.mean([one.debiased for one in small]) == pytest.approx(0, abs=0.01)


def test_curve_is_scikit_learns():
    p, label = drawn(500, np.random.default_rng(3))
    true, predicted = calibration_curve(label, p, n_bins=10, strategy="uniform")
    curve = [part for part in reliability_curve(p, label, n_bins=10, binning="equal width") if part.n]
    assert [part.positive_rate for part in curve] == pytest.approx(true, abs=1e-12)
    assert [part.mean_probability for part in curve] == pytest.approx(predicted, abs=1e-12)
    parts = reliability_curve(p, label, n_bins=10)
    assert [part.n for part in parts] == [50] * 10
    assert parts[0].low_edge == p.min() and parts[-1].high_edge == p.max()


def test_weights_move_the_curve_and_their_scale_does_nothing():
    p, label = drawn(200, np.random.default_rng(4))
    weight = np.where(label, 3.0, 1.0)
    once, weighted = (error(p, label, weight=w) for w in (np.ones(200), weight))
    assert once == error(p, label)
    assert weighted.plain > once.plain + 0.05
    scaled = error(p, label, weight=10 * weight)
    assert scaled.squared_debiased == pytest.approx(weighted.squared_debiased, rel=1e-9)
    curve = reliability_curve(p, label, weight=weight, n_bins=2, binning="equal width")
    inside = p < 0.5
    rate = weight[inside & label].sum() / weight[inside].sum()
    n = weight[inside].sum() ** 2 / (weight[inside] ** 2).sum()
    assert curve[0].positive_rate == pytest.approx(rate) and curve[0].n == inside.sum()
    low, high = wilson(round(rate * n), round(n))
    assert curve[0].interval == pytest.approx((low, high), abs=0.01)


def test_groups_and_none():
    p, label = drawn(100, np.random.default_rng(5))
    rows = np.arange(0, 100, 3)
    assert error(p, label, rows=rows) == error(p[rows], label[rows])
    nobody = calibration_error(p, label, rows=np.array([], dtype=np.int64))
    assert isinstance(nobody, Undefined) and nobody.reason == "no rows"
    assert [part.n for part in reliability_curve(p, label, rows=np.array([], dtype=np.int64))] == [0]


def test_refusals():
    with pytest.raises(DataError, match=r"outside \[0, 1\], e.g. -0.1; first rows.*'0'"):
        calibration_error([-0.1, 0.5], [True, False])
    with pytest.raises(UsageError, match="n_bins is 0"):
        reliability_curve([0.1, 0.5], [True, False], n_bins=0)
    with pytest.raises(UsageError, match="binning is 'uniform'"):
        calibration_error([0.1, 0.5], [True, False], binning="uniform")
