"""Edges of intervals and influences: the first number refused, thresholds, limits without overflow."""

import math

import numpy as np
import pytest
from scipy import stats

from clinometer.bias.influence import Influenced, _expit, difference, mean
from clinometer.bias.intervals import (
    MOST_ROWS,
    Interval,
    Means,
    _fewest,
    _has_left,
    clopper_pearson,
    exceeds_p,
    katz,
    mean_interval,
    mean_rows_needed,
    minimum_detectable_effect,
    newcombe,
    rows_needed,
    upper_bound_of_none,
    welch,
    wilson,
    wilson_of_effective_n,
)
from clinometer.errors import DataError, UsageError

OF_COUNTS = {
    "wilson": wilson,
    "clopper_pearson": clopper_pearson,
    "newcombe, first": lambda k, n: newcombe(k, n, 1, 2),
    "newcombe, second": lambda k, n: newcombe(1, 2, k, n),
    "exceeds_p, first": lambda k, n: exceeds_p(k, n, 1, 2),
    "exceeds_p, second": lambda k, n: exceeds_p(1, 2, k, n),
}


@pytest.mark.parametrize("name", OF_COUNTS)
def test_counts_from_none_to_all_and_none_beyond(name):
    for k, n in ((0, 1), (1, 1), (0, 5), (5, 5), (3, 5)):
        OF_COUNTS[name](k, n)
    for k, n in ((0, 0), (-1, 5), (6, 5), (1, 0), (0, -1)):
        with pytest.raises(ValueError, match=f"^{k} of {n} is no rate: expected 0 <= k <= n and n >= 1$"):
            OF_COUNTS[name](k, n)


def test_the_bound_of_none_is_one_less_the_root_of_alpha_and_needs_a_row():
    assert upper_bound_of_none(1) == pytest.approx(0.95)
    assert upper_bound_of_none(2, 0.91) == pytest.approx(0.7)
    assert upper_bound_of_none(59) < 0.05 < upper_bound_of_none(58)
    # One-sided, so that it is the upper end of the exact interval at twice the error.
    assert upper_bound_of_none(40) == pytest.approx(clopper_pearson(0, 40, 0.9).high, rel=1e-12)
    for n in (0, -1):
        with pytest.raises(ValueError, match=f"^0 of {n} is no rate: expected 0 <= k <= n and n >= 1$"):
            upper_bound_of_none(n)


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.1, 1.1, math.nan])
def test_a_confidence_is_between_none_and_all(confidence):
    with pytest.raises(ValueError, match=f"^confidence is {confidence}, expected between 0 and 1$"):
        wilson(1, 2, confidence)
    with pytest.raises(ValueError, match="expected between 0 and 1"):
        katz(1, 2, 1, 2, confidence)


def test_the_ends_of_wilson_are_exactly_none_and_all_there_and_nowhere_else():
    assert wilson(0, 7).low == 0.0 and wilson(7, 7).high == 1.0
    assert wilson(1, 7).low > 0 and wilson(6, 7).high < 1
    assert clopper_pearson(0, 7) == (0.0, pytest.approx(1 - 0.025 ** (1 / 7)))
    assert clopper_pearson(7, 7) == (pytest.approx(0.025 ** (1 / 7)), 1.0)
    assert wilson(0, 7).high == pytest.approx(stats.norm.ppf(0.975) ** 2 / (7 + stats.norm.ppf(0.975) ** 2))
    assert wilson_of_effective_n(0.5, 0.5) != wilson_of_effective_n(0.5, 1.5)
    for rate, n in ((-0.01, 1), (1.01, 1), (0.5, 0), (0.5, math.inf), (0.5, math.nan)):
        with pytest.raises(
            ValueError, match=f"^a rate of {rate} in {n} rows: expected 0 <= rate <= 1 and n > 0$"
        ):
            wilson_of_effective_n(rate, n)
    for rate in (0, 1):
        assert wilson_of_effective_n(rate, 1e-3)[rate] == rate


@pytest.mark.parametrize("none", [(0, 5, 1, 5), (1, 5, 0, 5), (0, 5, 0, 5)])
def test_a_ratio_of_none_has_no_log_interval_and_of_one_has(none):
    with pytest.raises(ValueError, match=r"^a ratio of a rate of zero has no log interval$"):
        katz(*none)
    low, high = katz(1, 5, 1, 5)
    assert low * high == pytest.approx(1) and math.log(high) == pytest.approx(1.959963985 * math.sqrt(1.6))


def test_rates_that_do_not_vary_are_judged_at_the_tolerance_itself():
    for k in (0, 4):
        assert exceeds_p(k, 4, k, 4, 0.0) == 1.0
    assert exceeds_p(4, 4, 0, 4, 0.0) < 0.05
    made = Means(0.25, 0.0, 9.0)
    assert [made.exceeds_p(t) for t in (0.0, 0.2499, 0.25, 0.26)] == [0.0, 0.0, 1.0, 1.0]
    assert Means(-0.25, 0.0, 9.0).exceeds_p(0.25) == 1.0
    assert Means(0.0, 1.0, 9.0).exceeds_p() == 1.0  # twice one half, and never more than 1


@pytest.mark.parametrize(
    ("ends", "gap", "tolerance", "left"),
    [
        ((-0.1, 0.1), 0.0, 0.1, True),
        ((-0.1, 0.11), 0.005, 0.1, False),
        ((-0.11, 0.1), -0.005, 0.1, False),
        ((0.0, 0.2), 0.1, 0.1, False),  # a gap at the tolerance is within it
        ((0.1, 0.3), 0.2, 0.1, False),  # an end at the tolerance has not left it
        ((0.101, 0.3), 0.2, 0.1, True),
        ((-0.3, -0.101), -0.2, 0.1, True),
        ((-0.3, -0.1), -0.2, 0.1, False),
    ],
)
def test_when_an_interval_has_left_the_tolerance(ends, gap, tolerance, left):
    assert _has_left(Interval(*ends), gap, tolerance) is left


@pytest.mark.parametrize("least", [1, 2, 3, 4, 5, 7, 8, 9, 1000, 2**29])
def test_the_fewest_rows_are_found_exactly(least):
    assert _fewest(lambda more: more >= least) == least


def test_beyond_a_billion_rows_nothing_is_said():
    assert MOST_ROWS == 10**9
    assert _fewest(lambda more: False) is None
    assert _fewest(lambda more: more >= 2**29 + 1) is None  # the next number that is tried is beyond
    assert rows_needed(5, 10, 5, 10, 0.0) is None and mean_rows_needed(0.1, (1.0, 1.0), (5, 5), 0.1) is None


def test_what_is_needed_is_what_the_formula_asks_for_and_one_row_less_is_not():
    more = mean_rows_needed(0.5, (1.0, 2.0), (10, 20), 0.1)
    z = stats.norm.ppf(0.95) + stats.norm.ppf(0.8)

    def low(rows):
        return 0.5 - z * math.sqrt(1 / (10 + rows) + 2 / (20 + rows))

    assert low(more) > 0.1 >= low(more - 1)
    assert mean_rows_needed(-0.5, (1.0, 2.0), (10, 20), 0.1) == more
    assert mean_rows_needed(0.5, (1.0, 2.0), (10, 20), 0.1, alpha=0.01) > more
    assert mean_rows_needed(0.5, (1.0, 2.0), (10, 20), 0.1, power=0.9) > more


def test_the_smallest_effect_solves_its_equation_and_a_rate_is_mirrored():
    found = minimum_detectable_effect(0.2, 60, 90)
    other, pooled = 0.2 + found, (60 * (0.2 + found) + 90 * 0.2) / 150
    null = math.sqrt(pooled * (1 - pooled) * (1 / 60 + 1 / 90))
    true = math.sqrt(other * (1 - other) / 60 + 0.2 * 0.8 / 90)
    assert (found - stats.norm.ppf(0.975) * null) / true == pytest.approx(stats.norm.ppf(0.8), abs=1e-9)
    assert minimum_detectable_effect(0.8, 60, 90) == pytest.approx(found, abs=1e-12)
    assert minimum_detectable_effect(0.5, 3, 3) is None and minimum_detectable_effect(0.0, 9, 9) is not None


def test_two_rows_are_the_fewest_that_have_an_error():
    one, two = np.array([1.0]), np.array([1.0, 3.0])
    for pair in ((one, two), (two, one)):
        with pytest.raises(ValueError, match=r"^two rows in each group are needed for a standard error$"):
            welch(*pair)
    assert welch(two, two) == pytest.approx((0.0, math.sqrt(2), 2.0))
    with pytest.raises(ValueError, match=r"^two rows are needed for a standard error$"):
        mean_interval(one)
    assert mean_interval(two) == pytest.approx((2 - 12.7062047364, 2 + 12.7062047364))
    flat = welch(np.array([2.0, 2.0, 2.0]), np.array([1.0, 1.0]))
    assert flat == (1.0, 0.0, pytest.approx(1 / (0.25 / 2 + 0.25 / 1)))


# Influence


def at(estimate, influence=(0.1, -0.1, 0.2, -0.2)):
    return Influenced(estimate=estimate, influence=np.array(influence), rows=None)


@pytest.mark.parametrize("estimate", [1e-4, 1e-6, 1e-150])
def test_an_error_beyond_all_bounds_leaves_two_numbers(estimate):
    """Half the width is 3,000 times the estimate and more, and e to that is no number."""
    low, high = at(estimate).interval(scale="log")
    assert 0 <= low < estimate < high < math.inf
    assert high / estimate == pytest.approx(math.exp(300.0)) == estimate / low


def test_every_scale_takes_what_is_inside_its_range():
    half = stats.t.ppf(0.975, 3) * at(0.0).se()
    assert at(0.0).se() == pytest.approx(math.sqrt(0.1 / 12))
    for estimate in (-2.0, 0.0, 1.0, 7.0):
        assert at(estimate).interval() == pytest.approx((estimate - half, estimate + half))
    for estimate in (0.01, 1.0, 2.5):  # a ratio may well be 1, or more
        low, high = at(estimate).interval(scale="log")
        assert (math.log(estimate / low), math.log(high / estimate)) == pytest.approx((half / estimate,) * 2)
    for estimate in (0.02, 0.5, 0.98):
        low, high = at(estimate).interval(scale="logit")
        odds = [value / (1 - value) for value in (low, estimate, high)]
        wide = half / (estimate * (1 - estimate))
        assert math.log(odds[1] / odds[0]) == pytest.approx(wide, rel=1e-6)
        assert math.log(odds[2] / odds[1]) == pytest.approx(wide, rel=1e-6)


@pytest.mark.parametrize(
    ("estimate", "scale"), [(0.0, "log"), (-0.5, "log"), (0.0, "logit"), (-0.5, "logit"), (1.0, "logit"), (1.5, "logit")]
)  # fmt: skip
def test_no_scale_takes_its_own_end(estimate, scale):
    with pytest.raises(
        UsageError,
        match=f"^an estimate of {estimate} has no interval on the {scale} scale: take an exact bound\\.$",
    ):
        at(estimate).interval(scale=scale)


def test_the_logistic_function_overflows_nowhere():
    assert [_expit(x) for x in (-math.inf, -800.0, 0.0, 800.0, math.inf)] == [0.0, 0.0, 0.5, 1.0, 1.0]
    for x in (0.25, 1.0, 3.0, 30.0, 700.0):
        assert _expit(x) == pytest.approx(1 / (1 + math.exp(-x)), rel=1e-15)
        assert _expit(-x) == pytest.approx(math.exp(-x) / (1 + math.exp(-x)), rel=1e-15)
        assert _expit(-x) + _expit(x) == pytest.approx(1.0, abs=1e-15)
    assert at(0.5, (900.0, -900.0)).interval(scale="logit") == (0.0, 1.0)


def test_two_rows_or_clusters_are_the_fewest():
    two = mean(np.array([1.0, 3.0]), rows=None)
    assert two.means() == pytest.approx((2.0, 1.0, 1.0))
    assert two.means(np.array([5, 2])) == pytest.approx((2.0, 1.0, 1.0))
    with pytest.raises(DataError, match=r"^1 rows have no standard error; two are needed\.$"):
        mean(np.array([1.0]), rows=None).se(np.array([0]))
    with pytest.raises(DataError, match=r"^all 2 rows are in one cluster: their standard error is unknown\."):
        two.se(np.array([3, 3]))
    counted = mean(np.array([1.0, 3.0]), rows=None, count=np.array([2, 0]))
    assert (counted.n, counted.estimate, counted.se()) == (2, 1.0, 0.0)  # a row twice is two rows


def test_a_position_is_taken_once_and_none_is_negative():
    values = np.array([1.0, 2.0, 4.0])
    assert mean(values, rows=np.array([0, 9, 3])).n == 3
    for rows in ([0, 1, 1], [0, -1, 2]):
        with pytest.raises(
            DataError, match=r"^rows holds a position twice, or a negative one: each row of the table once\.$"
        ):
            mean(values, rows=np.array(rows))
    with pytest.raises(DataError, match=r"^count is negative at '1'; expected 0 or more\.$"):
        Influenced(estimate=0.0, influence=values, rows=None, count=np.array([0, -1, 1]))
    with pytest.raises(DataError, match=r"^count has shape \(2,\), \(3,\) is expected, as of influence\.$"):
        Influenced(estimate=0.0, influence=values, rows=None, count=np.array([1, 1]))
    with pytest.raises(DataError, match=r"^weight is negative or no number at '1'\.$"):
        mean(values, rows=None, weight=np.array([0.0, np.nan, 1.0]))
    assert mean(values, rows=None, weight=np.array([0.0, 0.0, 1.0])).estimate == 4.0


def test_codes_of_clusters_are_for_every_row_and_none_is_negative():
    three = mean(np.array([1.0, 2.0, 4.0]), rows=None)
    assert three.se(np.array([0, 1, 2])) == three.se(
        np.array([0, 1, 2, 2])
    )  # one code more is of another row
    with pytest.raises(
        DataError, match=r"^cluster has shape \(2,\); one code for each of at least 3 rows is expected\.$"
    ):
        three.se(np.array([0, 1]))
    for bad in ([0, 1, -1], [0.0, 1.0, 2.0]):
        with pytest.raises(DataError, match=r"^cluster holds something other than codes 0, 1, "):
            three.se(np.array(bad))


def test_degrees_of_freedom_of_rows_that_share_nothing_and_of_rows_that_do():
    x, y = np.array([1.0, 2.0, 4.0, 8.0]), np.array([0.0, 5.0, 1.0])
    apart = difference(mean(x, rows=np.arange(4)), mean(y, rows=np.arange(4, 7)))
    assert apart.df == pytest.approx(stats.ttest_ind(x, y, equal_var=False).df)
    assert difference(mean(x, rows=np.arange(4)), mean(y, rows=np.arange(3, 6))).df == 2  # one row in common
    touching = difference(
        mean(x, rows=np.arange(4)), mean(y, rows=np.arange(4, 7)), cluster=np.array([0, 1, 2, 3, 3, 4, 5])
    )
    assert touching.df == 2  # one cluster in common
    flat = difference(mean(np.ones(4), rows=np.arange(4)), mean(np.zeros(3), rows=np.arange(4, 7)))
    assert flat == (1.0, 0.0, pytest.approx(1 / (0.25 / 3 + 0.25 / 2)))
