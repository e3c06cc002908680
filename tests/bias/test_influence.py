"""Influence: means, differences and clusters from one rule, beside t tests, GEE and plain loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from clinometer.bias.influence import Influenced, covariance, difference, mean
from clinometer.errors import DataError, UsageError
from reference.inference import clustered_difference


def drawn(size, seed=0):
    return np.random.default_rng(seed).normal(size=size)


def test_disjoint_rows_give_welchs_test():
    x, y = drawn(30), drawn(20, 1) + 0.3
    gap = difference(mean(x, rows=np.arange(30)), mean(y, rows=np.arange(30, 50)))
    expected = stats.ttest_ind(x, y, equal_var=False)
    assert gap.exceeds_p() == pytest.approx(expected.pvalue, abs=1e-12)
    assert gap.df == pytest.approx(expected.df, abs=1e-9)
    assert gap.interval() == pytest.approx(tuple(expected.confidence_interval()), abs=1e-12)


def test_the_same_rows_twice_give_the_paired_test():
    x = drawn(30)
    y = x + drawn(30, 1)
    gap = difference(mean(x, rows=None), mean(y, rows=None))
    expected = stats.ttest_rel(x, y)
    assert gap.exceeds_p() == pytest.approx(expected.pvalue, abs=1e-12)
    assert gap.df == 29
    apart = difference(mean(x, rows=np.arange(30)), mean(y, rows=np.arange(30, 60)))
    assert apart.se > 1.2 * gap.se  # the control: without knowing that rows are the same


def test_an_estimate_minus_itself_has_no_error_at_all():
    x = drawn(17)
    gap = difference(mean(x, rows=None), mean(x, rows=None))
    assert (gap.estimate, gap.se, gap.exceeds_p(0.0)) == (0.0, 0.0, 1.0)


def test_a_group_beside_everybody_counts_shared_rows_once():
    x = drawn(40)
    group = np.arange(40) < 15
    part, whole = mean(x[group], rows=np.flatnonzero(group)), mean(x, rows=None)
    joint = covariance([part, whole])
    by_hand = np.sum((x[group] - x[group].mean()) * (x[group] - x.mean())) / (15 * 40)
    assert joint[0, 1] == pytest.approx(by_hand * np.sqrt(15 / 14 * 40 / 39), abs=1e-15)
    expected = joint[0, 0] + joint[1, 1] - 2 * joint[0, 1]
    assert difference(part, whole).se ** 2 == pytest.approx(expected, rel=1e-12)
    assert difference(part, whole).df == 14


@given(st.integers(0, 10_000))
def test_rows_and_rows_with_counts_are_the_same(seed):
    generator = np.random.default_rng(seed)
    x, count = generator.normal(size=12), generator.integers(0, 4, 12)
    count[:2] = 2
    cluster = generator.integers(0, 4, 12)
    cluster[:2] = 0, 1
    each = np.repeat(np.arange(12), count)
    few, many = mean(x, rows=None, count=count), mean(x[each], rows=None)
    assert few.estimate == pytest.approx(many.estimate, abs=1e-12)
    assert few.n == many.n
    assert few.means() == pytest.approx(many.means(), abs=1e-12)
    assert few.means(cluster) == pytest.approx(many.means(cluster[each]), abs=1e-12)


@given(st.integers(0, 10_000))
def test_clusters_are_as_by_hand(seed):
    generator = np.random.default_rng(seed)
    x, cluster = generator.normal(size=30), generator.integers(0, 6, 30)
    group, reference = generator.random(30) < 0.5, generator.random(30) < 0.7
    group[:2] = reference[:2] = True
    cluster[:2] = 0, 1
    a, b = (mean(x[who], rows=np.flatnonzero(who)) for who in (group, reference))
    gap = difference(a, b, cluster=cluster)
    expected = clustered_difference(x.tolist(), group.tolist(), reference.tolist(), cluster.tolist())
    assert (gap.estimate, gap.se) == pytest.approx(expected, abs=1e-12)


def test_clusters_agree_with_statsmodels():
    sm = pytest.importorskip("statsmodels.api")
    generator = np.random.default_rng(5)
    cluster = np.repeat(np.arange(20), 6)
    x = generator.normal(size=120) + generator.normal(size=20)[cluster]
    fit = sm.OLS(x, np.ones((120, 1))).fit(
        cov_type="cluster", cov_kwds={"groups": cluster, "use_correction": False}
    )
    ours = mean(x, rows=None)
    assert ours.se(cluster) == pytest.approx(float(fit.bse[0]) * np.sqrt(20 / 19), abs=1e-12)
    assert ours.se(cluster) > 1.3 * ours.se()  # the control: clusters do matter here
    assert ours.se(np.arange(120)) == pytest.approx(ours.se(), abs=1e-15)  # each row a cluster of its own


def test_codes_of_clusters_mean_nothing_by_themselves():
    x, cluster = drawn(40), np.random.default_rng(1).integers(0, 8, 40)
    names = np.asarray([7, 10**12, 3, 900, 42, 5, 11, 2**60])
    assert mean(x, rows=None).means(names[cluster]) == pytest.approx(mean(x, rows=None).means(cluster))


def test_weights_scale_away_and_equal_weights_are_none():
    x, w = drawn(25), np.random.default_rng(2).random(25)
    assert mean(x, rows=None, weight=3 * w).means() == pytest.approx(mean(x, rows=None, weight=w).means())
    assert mean(x, rows=None, weight=np.full(25, 2.0)).means() == pytest.approx(mean(x, rows=None).means())
    assert mean(x, rows=None, weight=w).se() != pytest.approx(mean(x, rows=None).se(), rel=1e-3)


def test_intervals_on_other_scales_stay_inside():
    generator = np.random.default_rng(0)
    auc = Influenced(estimate=0.97, influence=generator.normal(size=50) * 0.3, rows=None)
    assert auc.interval().high > 1
    low, high = auc.interval(scale="logit")
    assert 0 < low < 0.97 < high < 1
    low, high = auc.interval(scale="log")
    assert np.sqrt(low * high) == pytest.approx(0.97)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: mean(drawn(1), rows=None).se(), DataError, "1 rows have no standard error"),
        (lambda: mean(drawn(9), rows=None).se(np.zeros(9, dtype=int)), DataError, "9 rows are in one cluster"),
        (lambda: mean(drawn(9), rows=None).se(np.arange(4)), DataError, "at least 9 rows"),
        (lambda: mean(drawn(9), rows=None).se(np.full(9, -1)), DataError, "give every row a cluster"),
        (lambda: mean(drawn(3), rows=np.asarray([0, 0, 1])), DataError, "twice"),
        (lambda: mean(drawn(3), rows=np.arange(2)), DataError, r"rows has shape \(2,\)"),
        (lambda: mean(drawn(3), rows=None, weight=np.asarray([1.0, -1, 1])), DataError, "negative or no number at '1'"),
        (lambda: mean(drawn(3), rows=None, weight=np.zeros(3)), DataError, "none that weighs"),
        (lambda: mean(np.empty(0), rows=None), DataError, "there are no rows"),
        (lambda: Influenced(estimate=np.nan, influence=drawn(3), rows=None), UsageError, "the estimate is nan"),
        (lambda: Influenced(estimate=0.0, influence=np.asarray([0, np.inf]), rows=None), DataError, "at '1'"),
        (
            lambda: Influenced(estimate=1.0, influence=drawn(3), rows=None).interval(scale="logit"),
            UsageError,
            "take an exact bound",
        ),
        (
            lambda: difference(mean(drawn(3), rows=None, count=np.asarray([1, 2, 1])), mean(drawn(3), rows=None)),
            DataError,
            "rows '1' have another count",
        ),
    ],
)  # fmt: skip
def test_refusals(make, error, match):
    with pytest.raises(error, match=match):
        make()
