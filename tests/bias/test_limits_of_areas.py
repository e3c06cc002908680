"""Areas at their limits: degrees of freedom of a comparison with an area of 1, and of few rows of a label."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from clinometer.bias.areas import NEWCOMBE, compare_areas, newcombe_area, roc_auc
from clinometer.bias.group_reliability import group_reliability
from clinometer.bias.policy import Policy
from clinometer.evidence import from_columns


def perfect(positives, negatives):
    """An area of exactly 1."""
    n = positives + negatives
    return roc_auc(np.arange(float(n)), np.arange(n) >= negatives)


def some(n=60, seed=0):
    generator = np.random.default_rng(seed)
    label = np.arange(n) % 3 == 0
    return roc_auc(np.round(generator.normal(size=n) + label, 1), label)


def newcombes_error(area, m, n):
    low, high = newcombe_area(area, m, n, 0.95)
    return max(area - low, high - area) / norm.ppf(0.975)


@pytest.mark.parametrize(
    ("positives", "negatives", "df"), [(1, 9, 1), (2, 9, 1), (3, 9, 2), (9, 4, 3), (12, 12, 11)]
)
def test_a_comparison_with_an_area_of_1_has_satterthwaites_degrees_of_both(positives, negatives, df):
    """Of the area of 1: one less than the smaller label, and 1 at least; of the other: those of its own variance."""
    whole, other = perfect(positives, negatives), some()
    assert whole.area == 1 and whole.means() is None and whole.method() == NEWCOMBE
    own = other.means()
    variances = newcombes_error(1.0, positives, negatives) ** 2, own.se**2
    expected = sum(variances) ** 2 / (variances[0] ** 2 / df + variances[1] ** 2 / own.df)
    for first, second, sign in ((whole, other, 1), (other, whole, -1)):
        made = compare_areas(first, second)
        assert made.estimate == pytest.approx(sign * (1 - other.area), abs=1e-12)
        assert made.se == pytest.approx(math.sqrt(sum(variances)), rel=1e-9)
        assert made.df == pytest.approx(expected, rel=1e-9)


def test_two_areas_of_1_differ_by_0_with_the_errors_of_both():
    made = compare_areas(perfect(4, 9), perfect(6, 3))
    variances = newcombes_error(1.0, 4, 9) ** 2, newcombes_error(1.0, 6, 3) ** 2
    assert (made.estimate, made.se) == pytest.approx((0.0, math.sqrt(sum(variances))))
    assert made.df == pytest.approx(sum(variances) ** 2 / (variances[0] ** 2 / 3 + variances[1] ** 2 / 2))


def test_two_areas_with_a_variance_have_degrees_of_their_own():
    a, b = some(60, 1), some(90, 2)
    one, other = a.means(), b.means()
    made = compare_areas(a, b)
    expected = (one.se**2 + other.se**2) ** 2 / (one.se**4 / one.df + other.se**4 / other.df)
    assert made.df == pytest.approx(expected) and made.estimate == pytest.approx(a.area - b.area)


def test_clusters_are_counted_in_place_of_rows():
    generator = np.random.default_rng(0)
    label = np.concatenate([np.arange(10) >= 6, np.arange(60) % 3 == 0])
    score = np.concatenate([np.arange(10.0), np.round(generator.normal(size=60) + label[10:], 1)])
    whole, other = (roc_auc(score, label, rows=rows) for rows in (np.arange(10), np.arange(10, 70)))
    cluster = np.arange(70) // 2  # of the area of 1: two clusters of positives and three of negatives
    assert whole.area == 1
    made = compare_areas(whole, other, cluster=cluster)
    own = other.means(cluster)
    variances = newcombes_error(1.0, 2, 3) ** 2, own.se**2
    expected = sum(variances) ** 2 / (variances[0] ** 2 / 1 + variances[1] ** 2 / own.df)
    assert (made.se, made.df) == pytest.approx((math.sqrt(sum(variances)), expected))


def test_one_row_of_a_label_has_no_variance_and_two_have():
    one = roc_auc([0.3, 0.1, 0.2, 0.4], np.array([True, False, False, False]))
    two = roc_auc([0.3, 0.1, 0.2, 0.4, 0.15], np.array([True, False, False, False, True]))
    assert one.means() is None and not one.has_spread()
    assert two.means() is not None and two.has_spread()
    assert one.se() == pytest.approx(newcombes_error(2 / 3, 1, 3))
    assert two.se() == two.means().se


# Scores of groups against what happened


def test_the_excess_of_a_group_has_both_ends_from_two_rows_on():
    evidence = from_columns(
        {
            "y": [1, 0, 1, 0, 1, 1, 0],
            "s": [0.5, 0.25, 0.75, 0.25, 0.5, 0.5, 0.25],
            "g": ["many"] * 4 + ["two"] * 2 + ["one"],
        },
        label="y",
        score="s",
        groups=["g"],
    )
    made = {one.group: one for one in group_reliability(evidence, "g", Policy()).groups}
    assert (made["one"].n, made["one"].excess) == (1, 0.25)
    assert (made["one"].low, made["one"].high) == (None, None)
    assert made["one"].note == "one row has no standard error"
    # Score minus label of the four: -.5, .25, -.25, .25, a mean of -.0625.
    many = made["many"]
    assert (many.n, many.excess, many.note) == (4, -0.0625, "")
    assert many.low < many.excess < many.high
    assert many.high - many.excess == pytest.approx(many.excess - many.low)
    assert made["two"].excess == -0.5 and made["two"].low is not None and made["two"].high is not None
