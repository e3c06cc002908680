"""Areas under ROC curves: DeLong's variance exactly, clusters, weights, and intervals at an area of 1."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from clinometer.bias.areas import (
    DELONG,
    WIDER,
    Area,
    area_difference,
    compare_areas,
    newcombe_area,
    roc_auc,
)
from clinometer.bias.influence import covariance, difference
from clinometer.bias.scored import Undefined
from clinometer.errors import DataError
from reference import ranking

GENERATOR = np.random.default_rng(20)
SCORES = np.array([0.1, 0.4, 0.35, 0.8, 0.8, 0.2, 0.9, 0.35])
LABELS = np.array([False, False, True, True, False, False, True, True])

tables = st.lists(
    st.tuples(st.integers(0, 4), st.booleans(), st.integers(1, 4)), min_size=4, max_size=14
).filter(lambda rows: min(sum(c for _, y, c in rows if y is label) for label in (True, False)) >= 2)


def columns(rows):
    score, label, count = (np.array(column) for column in zip(*rows, strict=True))
    return score / 4, label.astype(bool), count


def simulated(n, *, shift=1.0, seed=0):
    generator = np.random.default_rng(seed)
    label = generator.random(n) < 0.4
    return np.round(generator.normal(size=n) + shift * label, 1), label


def found(*arguments, **options) -> Area:
    made = roc_auc(*arguments, **options)
    assert isinstance(made, Area), made
    return made


def test_known_answer():
    positives, negatives = SCORES[LABELS], SCORES[~LABELS]
    # .35 > .1 .2, .8 > .1 .2 .4 and ties .8, .9 > all, .35 > .1 .2
    assert found(SCORES, LABELS).area == pytest.approx((2 + 3.5 + 4 + 2) / 16, abs=1e-15)
    area, variance = ranking.delong(positives, negatives)
    assert found(SCORES, LABELS).area == pytest.approx(area, abs=1e-12)
    assert found(SCORES, LABELS).value.se() ** 2 == pytest.approx(variance, rel=1e-12)


@given(tables)
def test_variance_is_delongs(rows):
    score, label, count = columns(rows)
    made = found(score, label, count=count)
    listed = np.repeat(score, count), np.repeat(label, count)
    area, variance = ranking.delong(listed[0][listed[1]], listed[0][~listed[1]])
    assert made.area == pytest.approx(area, abs=1e-12)
    assert made.value.se() ** 2 == pytest.approx(variance, abs=1e-12)
    assert made.area == pytest.approx(roc_auc_score(label, score, sample_weight=count), abs=1e-9)


@given(tables)
def test_counted_rows_give_what_their_rows_give(rows):
    score, label, count = columns(rows)
    counted = found(score, label, count=count)
    listed = found(np.repeat(score, count), np.repeat(label, count))
    assert counted.estimate == pytest.approx(listed.estimate, abs=1e-12)
    assert counted.se() == pytest.approx(listed.se(), abs=1e-10)
    assert counted.interval() == pytest.approx(listed.interval(), abs=1e-8)
    assert counted.method() == listed.method()


def test_counts_make_a_difference():
    doubled = found(SCORES, LABELS, count=np.full(8, 2))
    once = found(SCORES, LABELS)
    assert doubled.estimate == pytest.approx(once.estimate, abs=1e-15)
    assert doubled.se() < 0.8 * once.se()
    some = found(SCORES, LABELS, count=np.array([1, 5, 1, 1, 1, 1, 1, 1]))
    assert abs(some.estimate - once.estimate) > 0.01


def test_order_of_rows_and_monotone_changes_of_scores_do_nothing():
    score, label = simulated(300)
    once = found(score, label)
    mixed = np.random.default_rng(1).permutation(300)
    for other in (found(score[mixed], label[mixed]), found(np.exp(score), label)):
        assert other.estimate == pytest.approx(once.estimate, abs=1e-14)
        assert other.se() == pytest.approx(once.se(), abs=1e-14)
    assert found(-score, label).estimate == pytest.approx(1 - once.estimate, abs=1e-14)


def test_weights_agree_with_scikit_learn_and_their_scale_does_nothing():
    score, label = simulated(200)
    weight = np.random.default_rng(2).uniform(0.1, 5, 200)
    made = found(score, label, weight=weight)
    assert made.area == pytest.approx(roc_auc_score(label, score, sample_weight=weight), abs=1e-9)
    assert abs(made.area - found(score, label).area) > 1e-3
    scaled = found(score, label, weight=weight * 7)
    assert scaled.se() == pytest.approx(made.se(), rel=1e-12)
    assert scaled.n_positive == pytest.approx(made.n_positive) and made.n_positive < label.sum()
    equal = found(score, label, weight=np.full(200, 3.0))
    assert equal.se() == pytest.approx(found(score, label).se(), rel=1e-12)


def test_influence_is_the_derivative_by_the_weight_of_a_row():
    score, label = simulated(40, seed=3)
    weight = np.random.default_rng(4).uniform(0.5, 2, 40)
    made = found(score, label, weight=weight)
    for row in range(40):
        moved = []
        for change in (1 + 1e-5, 1 - 1e-5):
            other = weight.copy()
            other[row] *= change
            moved.append(roc_auc_score(label, score, sample_weight=other))
        size = made.n_positive if label[row] else made.n_negative
        small = math.sqrt(size / (size - 1) * 39 / 40)
        assert made.value.influence[row] / 40 == pytest.approx(small * (moved[0] - moved[1]) / 2e-5, abs=1e-8)


def test_two_scores_of_the_same_rows_have_delongs_joint_covariance():
    score, label = simulated(60)
    other = score + np.random.default_rng(5).normal(size=60)
    a, b = found(score, label), found(other, label)
    joint = covariance([a.value, b.value])
    pairs = [(s[label].tolist(), s[~label].tolist()) for s in (score, other)]
    assert joint[0, 1] == pytest.approx(ranking.delong_covariance(*pairs), rel=1e-12)
    paired = compare_areas(a, b)
    assert paired.se == pytest.approx(math.sqrt(joint[0, 0] + joint[1, 1] - 2 * joint[0, 1]), rel=1e-12)
    assert paired.se < math.hypot(a.se(), b.se())
    wide = area_difference(a, b)
    assert wide.low < a.estimate - b.estimate < wide.high
    assert wide == pytest.approx(paired.interval(), abs=0.03)


def test_test_of_one_half_is_brunner_and_munzels():
    for seed, shift in ((1, 0.3), (2, 0.0), (3, 1.0)):
        score, label = simulated(25, shift=shift, seed=seed)
        made = found(score, label).means()
        assert made is not None
        right = stats.brunnermunzel(score[~label], score[label])
        assert (made.estimate - 0.5) / made.se == pytest.approx(right.statistic, rel=1e-9)
        assert made._replace(estimate=made.estimate - 0.5).exceeds_p() == pytest.approx(
            right.pvalue, rel=1e-9
        )


def test_groups_are_compared_as_disjoint_rows():
    score, label = simulated(400)
    group = np.random.default_rng(6).random(400) < 0.3
    a, b = (found(score, label, rows=np.flatnonzero(mask)) for mask in (group, ~group))
    assert compare_areas(a, b).se == pytest.approx(math.hypot(a.value.se(), b.value.se()), rel=1e-12)
    assert a.area == pytest.approx(roc_auc_score(label[group], score[group]), abs=1e-9)


def test_clusters_of_equal_rows_count_once():
    score, label = simulated(80)
    once = found(score, label)
    cluster = np.repeat(np.arange(80), 6)
    many = found(np.repeat(score, 6), np.repeat(label, 6))
    assert many.se() < 0.5 * once.se()
    assert many.se(cluster) == pytest.approx(once.se(), rel=0.02)
    assert many.interval(cluster=cluster) == pytest.approx(once.interval(), abs=0.01)


@pytest.mark.parametrize("area", [0.0, 0.2, 0.5, 8 / 9, 1.0])
@pytest.mark.parametrize(("m", "n"), [(3, 3), (1, 8), (40, 12)])
def test_newcombe_is_its_equation(area, m, n):
    low, high = newcombe_area(area, m, n)
    assert (low, high) == pytest.approx(ranking.newcombe(area, m, n, norm.ppf(0.975)), abs=1e-9)
    assert low < high and low <= area <= high


def test_an_area_of_1_is_not_known_exactly():
    score, label = np.arange(20.0), np.arange(20) >= 12
    perfect = found(score, label)
    assert perfect.area == 1 and perfect.value.se() == 0
    low, high = perfect.interval()
    assert high == 1 and 0.7 < low < 0.95
    assert "Newcombe" in perfect.method() and perfect.se() > 0.02
    assert found(-score, label).interval() == pytest.approx((0, 1 - low), abs=1e-9)
    listed = found(np.tile(score, 50), np.tile(label, 50))
    assert low < listed.interval().low < 1
    of_people = listed.interval(cluster=np.tile(np.arange(20), 50))
    assert of_people.low == pytest.approx(low, abs=1e-9)


def test_scores_that_are_all_equal_have_an_interval():
    flat = found(np.zeros(30), np.arange(30) < 12)
    assert flat.area == 0.5 and flat.value.se() == 0
    assert flat.interval().low < 0.35 and flat.interval().high > 0.65


def test_one_positive_has_newcombes_interval():
    made = found(np.array([0.3, 0.1, 0.2, 0.4, 0.5]), np.array([True, False, False, False, False]))
    assert made.area == 0.5 and made.method() != DELONG
    assert made.interval() == pytest.approx(ranking.newcombe(0.5, 1, 4, norm.ppf(0.975)), abs=1e-9)


def test_a_difference_to_an_area_of_1_keeps_its_width():
    score, label = simulated(200)
    some = found(score, label)
    perfect = found(np.arange(12.0), np.arange(12) >= 7)
    low, high = area_difference(perfect, some)
    alone = difference(dataclasses.replace(perfect.value, rows=np.arange(500, 512)), some.value)
    assert 1 - some.area - low > 2 * 1.96 * alone.se  # which knows nothing of the twelve rows
    assert low < 1 - some.area < high <= 1
    made = compare_areas(perfect, some)
    assert made.se > 2 * alone.se and 0 < made.exceeds_p(0.1) <= 1


def test_intervals_hold_the_true_area():
    true = float(norm.cdf(2.0 / math.sqrt(2)))  # .921
    generator = np.random.default_rng(7)
    held, perfect = [], 0
    for _ in range(500):
        score = np.concatenate([generator.normal(2, 1, 12), generator.normal(0, 1, 15)])
        made = found(score, np.arange(27) < 12)
        low, high = made.interval()
        held.append(low <= true <= high)
        perfect += made.area == 1
    assert perfect > 5  # which the variance of 0 would each have missed
    assert 0.93 <= np.mean(held) <= 0.99


def test_intervals_hold_an_area_near_1_of_few_positives_as_delongs_alone_does_not():
    true = float(norm.cdf(3.0 / math.sqrt(2)))  # .983
    generator = np.random.default_rng(8)
    held, alone = [], []
    for _ in range(300):
        score = np.concatenate([generator.normal(3, 1, 10), generator.normal(0, 1, 200)])
        made = found(score, np.arange(210) < 10)
        ours = made.interval()
        held.append(ours.low <= true <= ours.high)
        if made.has_spread():
            plain = made.value.interval(scale="logit")
            alone.append(plain.low <= true <= plain.high)
            assert ours.low <= plain.low and made.method() == WIDER
    assert np.mean(held) >= 0.95
    assert np.mean(alone) < 0.9
    assert found(*simulated(400)).method() == DELONG


def test_one_label_has_no_area():
    for label, reason in ((np.ones(8, bool), "no negatives"), (np.zeros(8, bool), "no positives")):
        made = roc_auc(SCORES, label)
        assert isinstance(made, Undefined) and reason in made.reason and made.n == 8
    empty = roc_auc(SCORES, LABELS, rows=np.array([], dtype=np.int64))
    assert isinstance(empty, Undefined) and "no rows" in empty.reason
    gone = roc_auc(SCORES, LABELS, count=np.where(LABELS, 0, 1))
    assert isinstance(gone, Undefined) and "no positives" in gone.reason


def test_refusals():
    broken = SCORES.copy()
    broken[3] = np.nan
    with pytest.raises(DataError, match=r"score has 1 values that are missing or not finite.*'3'"):
        roc_auc(broken, LABELS)
    with pytest.raises(DataError, match=r"label has shape .* type int64; one truth value per row"):
        roc_auc(SCORES, LABELS.astype(int))
    with pytest.raises(DataError, match="lengths"):
        roc_auc(SCORES[:5], LABELS)
    with pytest.raises(DataError, match=r"weight has 1 values below 0, e.g. -1; first rows.*'7'"):
        roc_auc(SCORES, LABELS, weight=np.array([1.0] * 7 + [-1]))
    with pytest.raises(DataError, match=r"count has type float64"):
        roc_auc(SCORES, LABELS, count=np.full(8, 1.5))
    with pytest.raises(DataError, match="all 8 rows are in one cluster"):
        found(SCORES, LABELS).interval(cluster=np.zeros(8, dtype=np.int64))
    with pytest.raises(DataError, match="all 12 rows are in one cluster"):
        found(np.arange(12.0), np.arange(12) > 5).interval(cluster=np.zeros(12, dtype=np.int64))
