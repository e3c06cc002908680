"""Published numbers: COMPAS, Adult, EEOC, Newcombe, Wilson, Benjamini-Hochberg, fairlearn's guide."""

import itertools
import math

import numpy as np
import pytest

from clinometer.bias.counts import Counts, count, count_groups
from clinometer.bias.exact import exact_exceeds_p, is_small
from clinometer.bias.gaps import (
    adverse_impact,
    average_absolute_odds_difference,
    average_odds_difference,
    difference,
    equalized_odds_difference,
    rate,
    ratio,
)
from clinometer.bias.groups import members
from clinometer.bias.inequality import benefits, generalized_entropy
from clinometer.bias.intervals import (
    Means,
    clopper_pearson,
    exceeds_p,
    katz,
    mean_interval,
    minimum_detectable_effect,
    newcombe,
    newcombe_of_effective_n,
    score_statistic,
    upper_bound_of_none,
    welch,
    wilson,
    wilson_of_effective_n,
)
from clinometer.bias.multiplicity import benjamini_hochberg, benjamini_yekutieli, holm
from clinometer.errors import DataError
from reference.scores import score_p

COMPAS = {  # ProPublica 2016, prediction = score text is not Low: TN, FP, FN, TP
    "African-American": (990, 805, 532, 1369),
    "Caucasian": (1139, 349, 461, 505),
    "Asian": (21, 2, 3, 6),
    "Hispanic": (318, 87, 129, 103),
    "Native American": (5, 3, 1, 9),
    "Other": (208, 36, 90, 43),
}


def compas(group):
    tn, fp, fn, tp = COMPAS[group]
    return Counts(tn=tn, fp=fp, fn=fn, tp=tp)


def test_compas_counts_and_rates():
    everybody = sum((compas(group) for group in COMPAS), Counts())
    assert (everybody.tn, everybody.fp, everybody.fn, everybody.tp) == (2681, 1282, 1216, 2035)
    for counts, fpr, fnr in (
        (everybody, 0.3235, 0.3740),
        (compas("African-American"), 0.4485, 0.2799),
        (compas("Caucasian"), 0.2345, 0.4772),
    ):
        assert rate("false_positive_rate", counts) == pytest.approx(fpr, abs=5e-5)
        assert rate("false_negative_rate", counts) == pytest.approx(fnr, abs=5e-5)


def test_compas_intervals():
    black, white = (805, 1795), (349, 1488)
    assert wilson(*black) == pytest.approx((0.4256, 0.4716), abs=5e-5)
    assert wilson(*white) == pytest.approx((0.2137, 0.2567), abs=5e-5)
    assert black[0] / black[1] - white[0] / white[1] == pytest.approx(0.2139, abs=5e-5)
    assert newcombe(*black, *white) == pytest.approx((0.1821, 0.2450), abs=5e-5)
    assert (black[0] / black[1]) / (white[0] / white[1]) == pytest.approx(1.9121, abs=5e-5)
    assert katz(*black, *white) == pytest.approx((1.7212, 2.1241), abs=5e-5)


@pytest.mark.parametrize(
    ("group", "expected"), [("African-American", 2.087696), ("Asian", 0.404798), ("Caucasian", 1.091838)]
)
def test_compas_ratios_to_hispanic(group, expected):
    fpr = rate("false_positive_rate", compas(group)) / rate("false_positive_rate", compas("Hispanic"))
    assert fpr == pytest.approx(expected, abs=5e-7)


def test_mistake_a_false_positive_rate_that_is_a_false_discovery_rate():
    black, white = compas("African-American"), compas("Caucasian")
    assert rate("false_positive_rate", black) == pytest.approx(0.448, abs=5e-4)
    assert rate("false_positive_rate", white) == pytest.approx(0.235, abs=5e-4)
    assert rate("false_discovery_rate", black) == pytest.approx(0.370, abs=5e-4)
    assert rate("false_discovery_rate", white) == pytest.approx(0.409, abs=5e-4)


def test_adult_income():
    female, male = 1769 / 16192, 9918 / 32650
    assert female - male == pytest.approx(-0.194516, abs=5e-7)
    assert female / male == pytest.approx(0.35966, abs=5e-6)
    assert adverse_impact(1769, 16192, 9918, 32650).ratio == pytest.approx(0.35966, abs=5e-6)


def test_new_york_local_law_144_example():
    assert adverse_impact(555, 1181, 667, 1390).ratio == pytest.approx(0.979, abs=5e-4)


def test_eeoc_question_11_eighty_percent_is_not_below_eighty_percent():
    impacts = [adverse_impact(k, 100, 60, 100) for k in (45, 48, 51)]
    assert [impact.ratio for impact in impacts] == pytest.approx([0.75, 0.80, 0.85])
    assert [impact.below_four_fifths for impact in impacts] == [True, False, False]
    assert (4 / 100) / (5 / 100) < 0.8, "the trap: in floating point 4 % of 5 % can be below 80 %"
    assert not adverse_impact(4, 100, 5, 100).below_four_fifths


def test_adverse_impact_and_its_shortfall():
    impact = adverse_impact(510, 2441, 925, 2409)
    assert impact.ratio == pytest.approx(0.544, abs=5e-4)
    assert impact.z == pytest.approx(-13.354, abs=5e-4)
    assert (impact.shortfall_to_rule, impact.shortfall_to_parity) == (240, 427)
    with pytest.raises(ValueError, match="selected nobody"):
        adverse_impact(1, 10, 0, 10)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((56, 70, 48, 80), (0.0524, 0.3339)),
        ((9, 10, 3, 10), (0.1705, 0.8090)),
        ((0, 10, 0, 20), (-0.1611, 0.2775)),
        ((10, 10, 0, 10), (0.6075, 1.0)),
    ],
)
def test_newcombe_1998_method_10(counts, expected):
    assert newcombe(*counts) == pytest.approx(expected, abs=5e-5)


def test_wilson_1927():
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


@pytest.mark.parametrize(("n", "expected"), [(10, 0.259), (30, 0.095), (100, 0.030)])
def test_upper_bound_of_none_seen(n, expected):
    assert upper_bound_of_none(n) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize(("k", "n"), [(0, 9), (3, 17), (50, 80), (12, 12)])
def test_intervals_of_a_rate_equal_statsmodels(k, n):
    from statsmodels.stats.proportion import proportion_confint

    assert wilson(k, n) == pytest.approx(proportion_confint(k, n, method="wilson"), abs=1e-12)
    assert clopper_pearson(k, n) == pytest.approx(proportion_confint(k, n, method="beta"), abs=1e-12)


@pytest.mark.parametrize("counts", [(56, 70, 48, 80), (9, 10, 3, 10), (200, 400, 250, 900)])
def test_intervals_of_two_rates_equal_statsmodels(counts):
    from statsmodels.stats.proportion import confint_proportions_2indep

    expected = confint_proportions_2indep(*counts, method="newcomb", compare="diff")
    assert newcombe(*counts) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("tolerance", [0.0, 0.05, 0.2])
@pytest.mark.parametrize("counts", [(56, 70, 48, 80), (48, 80, 56, 70), (9, 10, 3, 10), (200, 400, 250, 900)])
def test_the_score_test_equals_its_slow_twin(counts, tolerance):
    from statsmodels.stats.proportion import proportions_ztest

    assert exceeds_p(*counts, tolerance) == pytest.approx(score_p(*counts, tolerance), abs=1e-7)
    if tolerance == 0:
        pooled = proportions_ztest(counts[::2], counts[1::2])[1]
        assert exceeds_p(*counts) == pytest.approx(pooled, abs=1e-12), "the textbook's pooled test"


@pytest.mark.parametrize(
    ("counts", "tolerance"), [((10, 10, 0, 10), 0.0), ((5, 5, 5, 5), 0.0), ((5, 5, 5, 5), 0.1)]
)
def test_the_score_test_at_the_edges(counts, tolerance):
    p = exceeds_p(*counts, tolerance)
    assert 0 <= p <= 1
    assert (p < 0.001) == (counts == (10, 10, 0, 10))


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (10, (0.26, 0.38, 0.39)),
        (30, (0.14, 0.22, 0.25)),
        (100, (0.08, 0.13, 0.15)),
        (500, (0.038, 0.064, 0.076)),
    ],
)
def test_minimum_detectable_effect_against_a_thousand(n, expected):
    got = [minimum_detectable_effect(base, n, 1000) for base in (0.05, 0.2, 0.5)]
    assert got == pytest.approx(expected, abs=0.006)
    assert minimum_detectable_effect(0.95, n, 1000) == pytest.approx(got[0]), "mirrored"


BH = (
    0.0001,
    0.0004,
    0.0019,
    0.0095,
    0.0201,
    0.0278,
    0.0298,
    0.0344,
    0.0459,
    0.3240,
    0.4262,
    0.5719,
    0.6528,
    0.7590,
    1,
)


def test_mistake_benjamini_hochberg_that_depends_on_the_order_of_its_input():
    generator = np.random.default_rng(0)
    p = np.array(BH)
    for order in itertools.chain(
        [np.arange(15), np.arange(15)[::-1]], (generator.permutation(15) for _ in range(50))
    ):
        assert (benjamini_hochberg(p[order]) <= 0.05).sum() == 4
        assert (p[order] * 15 <= 0.05).sum() == 3
        np.testing.assert_allclose(benjamini_hochberg(p[order]), benjamini_hochberg(p)[order])


def test_adjusted_p_values_equal_statsmodels():
    from statsmodels.stats.multitest import multipletests

    p = np.random.default_rng(1).random(40) ** 3
    for ours, name in ((holm, "holm"), (benjamini_hochberg, "fdr_bh"), (benjamini_yekutieli, "fdr_by")):
        np.testing.assert_allclose(ours(p), multipletests(p, method=name)[1], atol=1e-12)
    assert holm([]).shape == (0,)
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([0.5, np.nan])


Y_TRUE = np.array([0, 1, 1, 1, 1, 0, 1, 0, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1], dtype=bool)
Y_PRED = np.array([0, 0, 1, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1, 0], dtype=bool)
GROUP = list("bbabbcccaacabccbcc")


def test_fairlearn_user_guide():
    counts = count_groups(members(GROUP), Y_PRED, Y_TRUE)
    everybody = count(Y_PRED, Y_TRUE)
    names = ("true_positive_rate", "false_positive_rate", "selection_rate")
    assert [rate(name, everybody) for name in names] == pytest.approx([0.5, 2 / 3, 5 / 9], abs=5e-7)
    expected = {"a": (0.5, 1.0, 0.75, 4), "b": (0.6, 0.0, 0.5, 6), "c": (0.4, 2 / 3, 0.5, 8)}
    for group, (tpr, fpr, selected, n) in expected.items():
        assert [rate(name, counts[group]) for name in names] == pytest.approx([tpr, fpr, selected])
        assert counts[group].n == n
    selection = {group: rate("selection_rate", counted) for group, counted in counts.items()}
    assert difference(selection) == pytest.approx(0.25)
    assert ratio(selection) == pytest.approx(2 / 3)
    odds = max(equalized_odds_difference(counts[a], counts[b]) for a, b in itertools.combinations("abc", 2))
    assert odds == pytest.approx(1.0)


def test_generalised_entropy_of_the_aif360_table():
    label = np.array([1, 0, 0, 1, 0, 0, 1, 0, 1, 1], dtype=bool)
    prediction = label.copy()
    prediction[[3, 9]] = False
    prediction[[4, 5]] = True
    benefit = benefits(label, prediction)
    assert generalized_entropy(benefit, 2).estimate == pytest.approx(0.2)
    assert generalized_entropy(benefit, 1).estimate == pytest.approx(0.4 * math.log(2))
    with pytest.raises(DataError, match="infinite"):
        generalized_entropy(benefit, 0)


def test_signed_average_odds_hides_what_absolute_odds_show():
    y, predicted = np.array([1, 0, 1, 0], bool), np.array([1, 0, 0, 1], bool)
    a, b = (count(predicted[part], y[part]) for part in ([0, 1], [2, 3]))
    assert average_odds_difference(a, b) == 0
    assert average_absolute_odds_difference(a, b) == 1
    assert equalized_odds_difference(a, b) == 1


def test_mistake_a_group_without_positives_given_a_true_positive_rate_of_zero():
    none = Counts(fp=3, tn=5)
    assert rate("true_positive_rate", none) is None
    assert equalized_odds_difference(none, Counts(tp=4, fn=1, fp=1, tn=2)) is None
    assert difference({"none": None, "a": 0.8, "b": 0.7}) == pytest.approx(0.1)


@pytest.mark.parametrize("n", [2, 5, 8, 15])
@pytest.mark.parametrize("tolerance", [0.0, 0.05])
def test_the_exact_test_holds_its_size_where_the_score_test_does_not(n, tolerance):
    from scipy import stats

    tables = [(i, j) for i in range(n + 1) for j in range(n + 1)]
    exact = np.array([exact_exceeds_p(i, n, j, n, tolerance) for i, j in tables])
    score = np.array([exceeds_p(i, n, j, n, tolerance) for i, j in tables])
    worst = {"exact": 0.0, "score": 0.0}
    for high in np.linspace(tolerance, 1, 37):
        one, other = (stats.binom.pmf(range(n + 1), n, p) for p in (high, high - tolerance))
        chance = np.outer(one, other)
        for name, p in (("exact", exact), ("score", score)):
            worst[name] = max(worst[name], float(chance.ravel()[p < 0.05].sum()))
    assert worst["exact"] <= 0.05 + 1e-3
    if tolerance:
        assert worst["score"] > 0.05, "the control: the normal curve alone would reject too often"


# Edges of the intervals and of the tests


def test_the_score_test_where_one_rate_is_zero_or_one_is_the_pooled_test():
    from scipy import stats

    # 0 of 10 beside 3 of 10: pooled .15, and the same seen from the other end, 10 of 10 beside 7 of 10.
    z = 0.3 / math.sqrt(0.15 * 0.85 * (1 / 10 + 1 / 10))
    for counts in ((0, 10, 3, 10), (3, 10, 0, 10), (10, 10, 7, 10), (7, 10, 10, 10)):
        assert exceeds_p(*counts) == pytest.approx(2 * stats.norm.sf(z), abs=1e-12)
    assert float(score_statistic(0, 10, 3, 10, 0.0)) == pytest.approx(-z)
    assert float(score_statistic(10, 10, 7, 10, 0.0)) == pytest.approx(z)


def test_where_nothing_varies_the_score_statistic_is_zero_or_beyond_every_number():
    none = score_statistic(np.array([0, 10]), 10, np.array([0, 20]), 20, 0.0)
    assert none.tolist() == [0.0, 0.0], "both 0 of all, both all of all"
    assert exceeds_p(0, 10, 0, 20) == exceeds_p(10, 10, 20, 20) == 1.0
    # At a difference of 1 one rate is 1, the other 0: without variance.
    assert score_statistic(np.array([5, 10]), 10, np.array([5, 0]), 10, 1.0).tolist() == [-math.inf, 0.0]
    assert exceeds_p(10, 10, 0, 10, 1.0) == exceeds_p(5, 10, 5, 10, 1.0) == 1.0


def test_the_exact_test_is_barnards_of_scipys_manual_and_its_limit_of_size():
    # scipy's example of barnard_exact: 7 of 15 beside 12 of 15, p = .0682; the normal curve says .0582.
    assert exact_exceeds_p(7, 15, 12, 15) == pytest.approx(0.06815, abs=2e-4)
    assert exact_exceeds_p(10, 10, 0, 10, 1.0) == 1.0
    # Two groups of 1 and 1, 1 beside 0: at rates of a half a quarter of draws on either side, a half in all.
    assert exact_exceeds_p(1, 1, 0, 1) == pytest.approx(0.5)
    # 40,000 tables are listed, and not one more.
    assert is_small(199, 199) and not is_small(199, 200) and not is_small(40_000, 0)
    assert is_small(39_999, 0)


def test_one_row_and_what_is_no_rate():
    assert wilson(0, 1) == pytest.approx((0.0, 3.841459 / 4.841459), abs=1e-6)
    assert wilson(1, 1) == pytest.approx((1 / 4.841459, 1.0), abs=1e-6)
    assert clopper_pearson(0, 1) == pytest.approx((0, 0.975)) and upper_bound_of_none(1) == pytest.approx(
        0.95
    )
    assert wilson_of_effective_n(0.0, 0.5).low == 0 and wilson_of_effective_n(1.0, 0.5).high == 1
    assert newcombe_of_effective_n(0.8, 70, 0.6, 80) == pytest.approx(newcombe(56, 70, 48, 80), abs=1e-12)
    for counts in ((0, 0), (-1, 5), (6, 5)):
        for make in (
            lambda k, n: wilson(k, n),
            lambda k, n: clopper_pearson(k, n),
            lambda k, n: newcombe(k, n, 1, 2),
            lambda k, n: newcombe(1, 2, k, n),
            lambda k, n: exceeds_p(k, n, 1, 2),
            lambda k, n: exceeds_p(1, 2, k, n),
        ):
            with pytest.raises(ValueError, match=f"{counts[0]} of {counts[1]} is no rate"):
                make(*counts)
    for rate_, n in ((-0.01, 5), (1.01, 5), (0.5, 0), (0.5, math.inf)):
        with pytest.raises(ValueError, match="expected 0 <= rate <= 1 and n > 0"):
            wilson_of_effective_n(rate_, n)
    for confidence in (0.0, 1.0):
        with pytest.raises(ValueError, match="between 0 and 1"):
            wilson(1, 2, confidence)
    for counts in ((0, 5, 1, 5), (1, 5, 0, 5)):
        with pytest.raises(ValueError, match="no log interval"):
            katz(*counts)


def test_differences_of_means_beside_scipy_with_two_rows_and_without_variance():
    from scipy import stats

    first, second = np.array([1.0, 4.0]), np.array([0.0, 1.0, 1.5])
    made, expected = welch(first, second), stats.ttest_ind(first, second, equal_var=False)
    assert (made.estimate, made.df) == pytest.approx((2.5 - 2.5 / 3, expected.df))
    assert made.exceeds_p() == pytest.approx(expected.pvalue)
    assert made.interval() == pytest.approx(tuple(expected.confidence_interval()))
    assert mean_interval(first) == pytest.approx(stats.t.interval(0.95, 1, loc=2.5, scale=1.5))
    flat = welch(np.full(3, 2.0), np.full(3, 1.5))
    assert (flat.estimate, flat.se, flat.df) == (0.5, 0.0, 4.0)
    assert flat.interval() == (0.5, 0.5)
    for one, two in ((first[:1], second), (second, first[:1])):
        with pytest.raises(ValueError, match="two rows in each group"):
            welch(one, two)
    with pytest.raises(ValueError, match="two rows are needed"):
        mean_interval(first[:1])


def test_p_of_a_mean_against_a_tolerance():
    from scipy import stats

    # (1 - .4) / .5 = 1.2 on the near side, (1 + .4) / .5 = 2.8 on the far one, whatever the sign.
    for estimate in (1.0, -1.0):
        expected = stats.t.sf(1.2, 10) + stats.t.sf(2.8, 10)
        assert Means(estimate, 0.5, 10).exceeds_p(0.4) == pytest.approx(expected)
        still = Means(estimate, 0.0, 10)
        assert (still.exceeds_p(1.0), still.exceeds_p(0.99)) == (1.0, 0.0)


def test_average_odds_and_ratios_by_hand():
    a, b = Counts(tp=9, fn=1, fp=1, tn=9), Counts(tp=5, fn=5, fp=4, tn=6)  # .9 and .1 beside .5 and .4
    assert average_odds_difference(a, b) == pytest.approx((0.4 - 0.3) / 2)
    assert average_absolute_odds_difference(a, b) == pytest.approx((0.4 + 0.3) / 2)
    assert equalized_odds_difference(a, b) == pytest.approx(0.4)
    none = Counts(fp=3, tn=5)
    for made in (average_odds_difference, average_absolute_odds_difference):
        assert made(none, a) is made(a, none) is None
    assert ratio({"a": 0.2}) is ratio({"a": 0.0, "b": 0.0}) is ratio({"a": None, "b": 0.5}) is None
    assert ratio({"a": 0.0, "b": 0.5, "c": None}) == 0.0 and ratio({"a": 0.25, "b": 0.5}) == 0.5
    assert difference({"a": 0.2}) is difference({}) is None
    assert adverse_impact(0, 10, 10, 10).ratio == 0.0 and adverse_impact(10, 10, 10, 10).z == 0.0
