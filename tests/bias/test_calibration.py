"""Calibration on average and by recalibration: statsmodels' estimates and sandwich errors, refusals."""

import warnings

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from clinometer.bias.calibration import (
    Recalibration,
    calibration_in_the_large,
    calibration_intercept,
    logistic_recalibration,
)
from clinometer.bias.influence import Influenced, difference
from clinometer.bias.scored import Undefined
from clinometer.errors import DataError, UsageError

tables = st.lists(
    st.tuples(st.sampled_from([0.05, 0.2, 0.5, 0.7, 0.9]), st.booleans(), st.integers(1, 4)),
    min_size=4,
    max_size=14,
)


def simulated(n, *, seed=0, slope=1.0, intercept=0.0):
    generator = np.random.default_rng(seed)
    logit = generator.normal(-0.5, 1.5, n)
    label = generator.random(n) < 1 / (1 + np.exp(-(intercept + slope * logit)))
    return 1 / (1 + np.exp(-logit)), label


def recalibrated(*arguments, **options) -> Recalibration:
    made = logistic_recalibration(*arguments, **options)
    assert isinstance(made, Recalibration), made
    return made


def shifted(*arguments, **options) -> Influenced:
    made = calibration_intercept(*arguments, **options)
    assert isinstance(made, Influenced), made
    return made


def columns(rows):
    p, label, count = (np.array(column) for column in zip(*rows, strict=True))
    return p, label, count


def test_calibration_in_the_large_is_a_mean():
    p, label = simulated(200, intercept=0.4)
    made = calibration_in_the_large(p, label)
    assert isinstance(made, Influenced)
    assert made.estimate == pytest.approx(p.mean() - label.mean(), abs=1e-15)
    t = stats.ttest_1samp(p - label, 0)
    assert made.interval() == pytest.approx(t.confidence_interval(0.95), abs=1e-12)
    assert made.exceeds_p() == pytest.approx(t.pvalue, rel=1e-9)


def test_groups_are_compared_as_welch_does():
    p, label = simulated(300)
    group = np.arange(300) % 3 == 0
    a, b = (calibration_in_the_large(p, label, rows=np.flatnonzero(g)) for g in (group, ~group))
    assert isinstance(a, Influenced) and isinstance(b, Influenced)
    t = stats.ttest_ind((p - label)[group], (p - label)[~group], equal_var=False)
    assert difference(a, b).exceeds_p() == pytest.approx(t.pvalue, rel=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
def test_recalibration_is_statsmodels_with_the_sandwich(weighted):
    p, label = simulated(250, slope=0.7, intercept=0.3)
    weight = np.random.default_rng(1).uniform(0.2, 3, 250) if weighted else None
    made = recalibrated(p, label, weight=weight)
    design = sm.add_constant(np.log(p / (1 - p)))
    model = sm.GLM(label.astype(float), design, family=sm.families.Binomial(), freq_weights=weight)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # statsmodels says that weights and the sandwich were not tested together
        fit = model.fit(tol=1e-14)
    assert (made.intercept.estimate, made.slope.estimate) == pytest.approx(fit.params, abs=1e-9)
    each = design * ((1 if weight is None else weight) * (label - fit.fittedvalues))[:, None]
    bread = np.linalg.inv(
        (design * ((1 if weight is None else weight) * fit.fittedvalues * (1 - fit.fittedvalues))[:, None]).T
        @ design
    )
    sandwich = np.sqrt(np.diag(bread @ each.T @ each @ bread) * 250 / 249)
    assert (made.intercept.se(), made.slope.se()) == pytest.approx(sandwich, rel=1e-7)
    if not weighted:
        robust = sm.GLM(label.astype(float), design, family=sm.families.Binomial()).fit(
            cov_type="HC0", tol=1e-14
        )
        assert (made.intercept.se(), made.slope.se()) == pytest.approx(
            robust.bse * np.sqrt(250 / 249), rel=1e-7
        )
        assert shifted(p, label).estimate == pytest.approx(
            sm.GLM(label.astype(float), np.ones(250), family=sm.families.Binomial(), offset=design[:, 1])
            .fit(tol=1e-14)
            .params[0],
            abs=1e-9,
        )


def test_clusters_give_statsmodels_cluster_robust_errors():
    p, label = simulated(240, slope=0.8)
    cluster = np.random.default_rng(2).integers(0, 30, 240)
    made = recalibrated(p, label)
    design = sm.add_constant(np.log(p / (1 - p)))
    fit = sm.GLM(label.astype(float), design, family=sm.families.Binomial()).fit(
        cov_type="cluster", cov_kwds={"groups": cluster, "use_correction": False}, tol=1e-14
    )
    groups = len(np.unique(cluster))
    assert (made.intercept.se(cluster), made.slope.se(cluster)) == pytest.approx(
        fit.bse * np.sqrt(groups / (groups - 1)), rel=1e-7
    )
    repeated = recalibrated(np.repeat(p, 5), np.repeat(label, 5))
    assert repeated.slope.se() < 0.5 * made.slope.se()
    assert repeated.slope.se(np.repeat(np.arange(240), 5)) == pytest.approx(made.slope.se(), rel=1e-9)


@given(tables)
def test_counted_rows_give_what_their_rows_give(rows):
    p, label, count = columns(rows)
    listed = np.repeat(p, count), np.repeat(label, count)
    one, other = calibration_in_the_large(p, label, count=count), calibration_in_the_large(*listed)
    assert isinstance(one, Influenced) and isinstance(other, Influenced)
    assert (one.estimate, one.se()) == pytest.approx((other.estimate, other.se()), abs=1e-12)
    counted, rows_listed = logistic_recalibration(p, label, count=count), logistic_recalibration(*listed)
    if isinstance(counted, Undefined):
        assert counted == rows_listed
        return
    assert isinstance(rows_listed, Recalibration)
    for name in ("intercept", "slope"):
        a, b = getattr(counted, name), getattr(rows_listed, name)
        assert (a.estimate, a.se()) == pytest.approx((b.estimate, b.se()), rel=1e-7, abs=1e-7)
    a, b = shifted(p, label, count=count), shifted(*listed)
    assert (a.estimate, a.se()) == pytest.approx((b.estimate, b.se()), rel=1e-8, abs=1e-8)


def test_influence_is_the_derivative_by_the_weight_of_a_row():
    p, label = simulated(40, seed=3)
    weight = np.random.default_rng(4).uniform(0.5, 2, 40)
    for of in (
        lambda w: recalibrated(p, label, weight=w).slope,
        lambda w: recalibrated(p, label, weight=w).intercept,
        lambda w: shifted(p, label, weight=w),
        lambda w: calibration_in_the_large(p, label, weight=w),
    ):
        made = of(weight)
        assert np.abs(made.influence).max() > 0.1
        for row in range(0, 40, 7):
            moved = []
            for change in (1 + 1e-4, 1 - 1e-4):
                other = weight.copy()
                other[row] *= change
                moved.append(of(other).estimate)
            assert made.influence[row] / 40 == pytest.approx((moved[0] - moved[1]) / 2e-4, abs=1e-6)


def test_intervals_hold_the_truth_and_miss_another():
    held, missed = [], []
    for seed in range(250):
        p, label = simulated(200, seed=seed, slope=0.6, intercept=0.5)
        made = recalibrated(p, label)
        low, high = made.slope.interval()
        held.append(
            [low <= 0.6 <= high, made.intercept.interval().low <= 0.5 <= made.intercept.interval().high]
        )
        missed.append(not low <= 1 <= high)
    assert np.all(np.mean(held, axis=0) > 0.92) and np.all(np.mean(held, axis=0) < 0.98)
    assert np.mean(missed) > 0.5


def test_signs():
    p = np.full(100, 0.8)
    label = np.arange(100) < 50
    large = calibration_in_the_large(p, label)
    assert isinstance(large, Influenced) and large.estimate == pytest.approx(0.3)
    assert shifted(p, label).estimate == pytest.approx(-np.log(4))
    extreme, tame = (recalibrated(*simulated(4000, seed=5, slope=s)).slope.estimate for s in (0.5, 2.0))
    assert extreme < 0.7 and tame > 1.6


def test_what_has_no_slope_says_why():
    label = np.arange(10) >= 5
    cases = {
        "equal": (np.full(10, 0.3), label),
        "separate": (np.linspace(0.1, 0.9, 10), label),
        "separate the labels": (np.linspace(0.9, 0.1, 10), label),
        "no positives": (np.linspace(0.1, 0.9, 10), np.zeros(10, bool)),
        "no negatives": (np.linspace(0.1, 0.9, 10), np.ones(10, bool)),
    }
    for words, case in cases.items():
        made = logistic_recalibration(*case)
        assert isinstance(made, Undefined) and words in made.reason and made.n == 10
    tied = logistic_recalibration(np.array([0.1, 0.5, 0.5, 0.9]), np.array([False, False, True, True]))
    assert isinstance(tied, Undefined) and "separate" in tied.reason
    one = calibration_intercept(np.linspace(0.1, 0.9, 10), np.ones(10, bool))
    assert isinstance(one, Undefined) and "no negatives" in one.reason
    nobody = calibration_in_the_large([0.5], [True], rows=np.array([], dtype=np.int64))
    assert isinstance(nobody, Undefined) and nobody.reason == "no rows"


def test_extreme_probabilities_converge():
    generator = np.random.default_rng(6)
    label = generator.random(400) < 0.5
    p = np.where(generator.random(400) < 0.8, label, ~label) * (1 - 2e-12) + 1e-12
    made = recalibrated(p, label)
    fitted = 1 / (1 + np.exp(-(made.intercept.estimate + made.slope.estimate * np.log(p / (1 - p)))))
    assert fitted[p > 0.5].mean() == pytest.approx(label[p > 0.5].mean(), abs=1e-9)
    assert shifted(p, label).estimate != 0


def test_refusals():
    with pytest.raises(
        DataError, match=r"probability has 1 values outside \[0, 1\], e.g. 1.5; first rows.*'1'"
    ):
        calibration_in_the_large([0.5, 1.5], [True, False])
    with pytest.raises(DataError, match="missing or not finite"):
        calibration_in_the_large([0.5, np.nan], [True, False])
    with pytest.raises(DataError, match=r"exactly 0 or 1 in 2 rows.*'0', '3'.*clip=1e-6"):
        logistic_recalibration([0.0, 0.3, 0.4, 1.0], [True, False, True, False])
    with pytest.raises(DataError, match=r"exactly 0 or 1 in 1 rows.*'3'"):
        logistic_recalibration([0.0, 0.3, 0.4, 1.0], [True, False, True, False], rows=[1, 2, 3])
    clipped = logistic_recalibration([0.0, 0.3, 0.4, 1.0], [True, False, True, False], clip=0.01)
    assert isinstance(clipped, Recalibration)
    with pytest.raises(UsageError, match="clip is 0"):
        calibration_intercept([0.2, 0.3], [True, False], clip=0.0)
    with pytest.raises(DataError, match="one truth value per row"):
        calibration_in_the_large([0.2, 0.3], [1, 0])


def test_probabilities_are_clipped_by_less_than_a_half():
    p, label = [0.0, 0.3, 0.4, 1.0], [True, False, True, False]
    assert isinstance(logistic_recalibration(p, label, clip=0.29), Recalibration)
    for clip in (0.5, 0.6, 1.0, -0.1):
        with pytest.raises(UsageError, match=r"between 0 and 0\.5 is expected"):
            logistic_recalibration(p, label, clip=clip)


def test_rows_that_weigh_nothing_have_no_calibration_and_those_that_weigh_little_have():
    p, label = [0.25, 0.75], [False, True]
    assert isinstance(calibration_in_the_large(p, label, count=[0, 0]), Undefined)
    for weight in ([0.25, 0.25], [0.5, 0.0]):
        made = calibration_in_the_large(p, label, weight=weight)
        assert isinstance(made, Influenced)
        assert made.estimate == pytest.approx(0.0 if weight[1] else 0.25)
