"""ROC curves, average precision and ABROCA, against scikit-learn, plain loops and answers known beforehand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from clinometer.bias.curves import (
    AbrocaTest,
    Curve,
    abroca,
    abroca_test,
    average_precision,
    precision_interval,
    roc_curve,
)
from clinometer.bias.influence import Influenced
from clinometer.bias.scored import Undefined
from clinometer.errors import DataError
from reference import ranking

tables = st.lists(
    st.tuples(st.integers(0, 4), st.booleans(), st.integers(1, 4)), min_size=3, max_size=12
).filter(lambda rows: len({y for _, y, _ in rows}) == 2)


def columns(rows):
    score, label, count = (np.array(column) for column in zip(*rows, strict=True))
    return score / 4, label.astype(bool), count


def precision(*arguments, **options) -> Influenced:
    made = average_precision(*arguments, **options)
    assert isinstance(made, Influenced), made
    return made


def curve(*arguments, **options) -> Curve:
    made = roc_curve(*arguments, **options)
    assert isinstance(made, Curve), made
    return made


@given(tables)
def test_roc_curve_is_scikit_learns(rows):
    score, label, count = columns(rows)
    false, true, threshold = metrics.roc_curve(label, score, sample_weight=count, drop_intermediate=False)
    made = curve(score, label, count=count)
    assert made.threshold == pytest.approx(threshold)
    assert made.false_positive_rate == pytest.approx(false, abs=1e-12)
    assert made.true_positive_rate == pytest.approx(true, abs=1e-12)


@given(tables)
def test_average_precision_is_scikit_learns_and_the_loops(rows):
    score, label, count = columns(rows)
    made = precision(score, label, count=count)
    assert made.estimate == pytest.approx(
        metrics.average_precision_score(label, score, sample_weight=count), abs=1e-9
    )
    listed = np.repeat(score, count).tolist(), np.repeat(label, count).tolist()
    assert made.estimate == pytest.approx(ranking.average_precision(*listed), abs=1e-12)
    assert float(count @ made.influence) == pytest.approx(0, abs=1e-9)


@given(tables)
def test_counted_rows_give_what_their_rows_give(rows):
    score, label, count = columns(rows)
    counted = precision(score, label, count=count)
    listed = precision(np.repeat(score, count), np.repeat(label, count))
    assert counted.se() == pytest.approx(listed.se(), abs=1e-10)
    assert np.repeat(counted.influence, count) == pytest.approx(listed.influence, abs=1e-10)


def test_influence_is_the_derivative_by_the_weight_of_a_row():
    generator = np.random.default_rng(0)
    label = generator.random(50) < 0.4
    score = np.round(generator.normal(size=50) + label, 1)
    weight = generator.uniform(0.5, 2, 50)
    made = precision(score, label, weight=weight)
    for row in range(50):
        moved = []
        for change in (1 + 1e-5, 1 - 1e-5):
            other = weight.copy()
            other[row] *= change
            moved.append(metrics.average_precision_score(label, score, sample_weight=other))
        assert made.influence[row] / 50 == pytest.approx((moved[0] - moved[1]) / 2e-5, abs=1e-8)
    assert np.abs(made.influence).max() > 0.1


def test_standard_error_is_that_of_new_samples():
    generator = np.random.default_rng(1)
    made = []
    for _ in range(400):
        label = generator.random(300) < 0.3
        made.append(precision(generator.normal(size=300) + 1.5 * label, label))
    true = np.std([one.estimate for one in made], ddof=1)
    assert np.mean([one.se() for one in made]) == pytest.approx(true, rel=0.12)


def test_interval_of_average_precision():
    generator = np.random.default_rng(2)
    label = generator.random(200) < 0.3
    made = precision(generator.normal(size=200) + label, label)
    found = precision_interval(made)
    assert not isinstance(found, Undefined)
    assert 0 < found.low < made.estimate < found.high < 1
    perfect = precision(label.astype(float), label)
    nothing = precision_interval(perfect)
    assert perfect.estimate == 1 and isinstance(nothing, Undefined) and "area under" in nothing.reason


@given(tables, tables)
def test_abroca_is_the_mean_distance_of_the_curves(first, second):
    (a, a_label, a_count), (b, b_label, b_count) = columns(first), columns(second)
    made = abroca(curve(a, a_label, count=a_count), curve(b, b_label, count=b_count))
    one = np.repeat(a, a_count).tolist(), np.repeat(a_label, a_count).tolist()
    other = np.repeat(b, b_count).tolist(), np.repeat(b_label, b_count).tolist()
    grid = (np.arange(200) + 0.5) / 200
    slow = np.mean([abs(ranking.height(*one, x) - ranking.height(*other, x)) for x in grid])
    assert made == pytest.approx(slow, abs=0.012)
    assert 0 <= made <= 1


def test_abroca_known_answers():
    label = np.arange(10) >= 5
    perfect, reversed_, flat = (curve(s, label) for s in (np.arange(10.0), -np.arange(10.0), np.zeros(10)))
    assert abroca(perfect, perfect) == 0
    assert abroca(perfect, reversed_) == pytest.approx(1, abs=1e-15)
    assert abroca(perfect, flat) == pytest.approx(0.5, abs=1e-15)
    # (0, 0) (0, 1/2) (1, 1/2) (1, 1) crosses the diagonal in the middle: two triangles of 1/8
    crossing = curve(np.array([3.0, 2.0, 1.0]), np.array([True, False, True]))
    assert abroca(crossing, flat) == pytest.approx(0.25, abs=1e-15)


def test_abroca_by_chance():
    generator = np.random.default_rng(3)
    label = generator.random(120) < 0.5
    member = generator.random(120) < 0.3
    same = generator.normal(size=120) + label
    alike = abroca_test(same, label, member, replicates=199)
    assert isinstance(alike, AbrocaTest)
    two = [curve(same[side], label[side]) for side in (member, ~member)]
    assert alike.estimate == pytest.approx(abroca(*two), abs=1e-14)
    assert alike.estimate > 0.03 and alike.p > 0.1
    assert alike.estimate < 2 * alike.expected_by_chance
    other = abroca_test(np.where(member, -same, same), label, member, replicates=199)
    assert isinstance(other, AbrocaTest) and other.p == 1 / 200
    assert other.estimate > 3 * other.expected_by_chance


def test_abroca_by_chance_is_right_as_often_as_it_says():
    generator = np.random.default_rng(4)
    small = []
    for seed in range(150):
        label, member = generator.random((2, 60)) < 0.5
        made = abroca_test(
            np.round(generator.normal(size=60) + label, 1), label, member, replicates=39, seed=seed
        )
        assert isinstance(made, AbrocaTest)
        small.append(made.p <= 0.1)
    assert 0.04 < np.mean(small) < 0.16


def test_abroca_by_chance_of_counted_rows_and_of_clusters():
    generator = np.random.default_rng(5)
    label, member = generator.random((2, 40)) < 0.5
    score = np.round(generator.normal(size=40) + label + 0.8 * member, 1)
    count = generator.integers(0, 4, 40)
    listed = [np.repeat(column, count) for column in (score, label, member)]
    assert abroca_test(score, label, member, count=count, replicates=50) == abroca_test(
        *listed, replicates=50
    )
    many = [np.repeat(column, 8) for column in (score, label, member)]
    rows, people = (
        abroca_test(*many, replicates=199, cluster=codes) for codes in (None, np.repeat(np.arange(40), 8))
    )
    assert isinstance(rows, AbrocaTest) and isinstance(people, AbrocaTest)
    assert rows.p < 0.02 < people.p
    nobody = abroca_test(score, label, np.zeros(40, bool))
    assert isinstance(nobody, Undefined) and "no rows" in nobody.reason


def test_one_label_is_undefined():
    score = np.arange(5.0)
    for function in (average_precision, roc_curve):
        made = function(score, np.ones(5, bool))
        assert isinstance(made, Undefined) and "no negatives" in made.reason
        made = function(score, np.zeros(5, bool))
        assert isinstance(made, Undefined) and "no positives" in made.reason


def test_refusals():
    with pytest.raises(DataError, match="not finite"):
        average_precision([0.1, np.inf], [True, False])
    with pytest.raises(DataError, match="one truth value per row"):
        roc_curve([0.1, 0.2], [1, 0])
