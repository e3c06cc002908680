"""Flip rates and shifts of pairs: scipy and statsmodels agree, clusters count once, bounds keep their promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from clinometer.bias.pair_statistics import flips, mean_bound, rate_bound, shift
from clinometer.errors import DataError


def drawn(n=60, seed=0):
    generator = np.random.default_rng(seed)
    before = generator.normal(size=n)
    return before, before + generator.normal(0.2, 0.5, size=n), generator.integers(0, 12, size=n)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_flips_agree_with_statsmodels_and_scipy(both, up, down, neither):
    n = both + up + down + neither
    if n == 0:
        return
    before = np.array([True] * both + [False] * up + [True] * down + [False] * neither)
    after = np.array([True] * both + [True] * up + [False] * down + [False] * neither)
    made = flips(before, after)
    k = up + down
    assert (made.n, made.n_flipped, made.n_to_positive, made.n_to_negative) == (n, k, up, down)
    method = "beta" if made.interval == "Clopper-Pearson" else "wilson"
    low, high = proportion_confint(k, n, method=method)
    assert made.low == pytest.approx(low, abs=1e-9) and made.high == pytest.approx(high, abs=1e-9)
    if k:
        assert made.p_direction == pytest.approx(
            mcnemar([[both, down], [up, neither]], exact=True).pvalue, abs=1e-9
        )
    else:
        assert made.p_direction is None
    assert made.difference == pytest.approx(after.mean() - before.mean())
    assert made.difference_low <= made.difference <= made.difference_high


def test_the_shift_is_the_paired_t_test():
    before, after, _ = drawn()
    made = shift(before, after)
    tested = stats.ttest_rel(after, before)
    ends = tested.confidence_interval(0.95)
    assert made.mean == pytest.approx((after - before).mean(), abs=1e-12)
    assert (made.low, made.high) == (pytest.approx(ends.low, abs=1e-9), pytest.approx(ends.high, abs=1e-9))
    assert made.p == pytest.approx(tested.pvalue, abs=1e-9)
    assert made.mean_absolute == pytest.approx(np.abs(after - before).mean())
    assert made.largest == np.abs(after - before).max()


def test_the_clustered_shift_is_statsmodels_cluster_robust_mean():
    before, after, cluster = drawn()
    made = shift(before, after, cluster=cluster)
    fitted = OLS(after - before, np.ones(len(before))).fit(
        cov_type="cluster", cov_kwds={"groups": cluster, "df_correction": True}, use_t=True
    )
    # statsmodels' factor is G/(G-1) * (n-1)/(n-k), which is G/(G-1) for a mean.
    low, high = fitted.conf_int()[0]
    assert (made.low, made.high) == (pytest.approx(low, abs=1e-9), pytest.approx(high, abs=1e-9))
    assert made.p == pytest.approx(fitted.pvalues[0], abs=1e-9)
    assert made.n_units == len(set(cluster.tolist()))


def test_rows_repeated_within_clusters_are_no_new_evidence():
    before, after, _ = drawn(30)
    once = shift(before, after)
    many = shift(np.repeat(before, 5), np.repeat(after, 5), cluster=np.repeat(np.arange(30), 5))
    assert (many.low, many.high) == (pytest.approx(once.low), pytest.approx(once.high))
    careless = shift(np.repeat(before, 5), np.repeat(after, 5))
    assert careless.high - careless.low < 0.5 * (once.high - once.low), (
        "the control: without clusters it narrows"
    )


def test_the_bootstrap_stays_near_t_and_clusters_widen_it():
    before, after, cluster = drawn(200)
    t, drawn_again = shift(before, after), shift(before, after, replicates=400, seed=1)
    assert drawn_again.interval.startswith("BCa bootstrap over pairs")
    assert abs(drawn_again.low - t.low) < 0.03 and abs(drawn_again.high - t.high) < 0.03
    assert (drawn_again.low, drawn_again.high) != (t.low, t.high)
    assert shift(before, after, replicates=400, seed=1) == drawn_again
    assert "over clusters" in shift(before, after, cluster=cluster, replicates=100).interval


def test_shifts_of_several_directions_have_no_mean():
    before, after, _ = drawn()
    made = shift(before, after, one_direction=False)
    assert made.mean is made.low is made.p is None and made.mean_absolute > 0


@given(st.integers(1, 200), st.floats(0, 1), st.floats(0.01, 0.9))
def test_bounds_of_a_rate_are_clopper_and_pearsons(n, share, tolerance):
    k = round(share * n)
    if n < 2:
        return
    flipped = np.arange(n) < k
    made = rate_bound(flipped, tolerance)
    assert made.upper == pytest.approx(proportion_confint(k, n, alpha=0.1, method="beta")[1], abs=1e-9)
    assert made.p == pytest.approx(stats.binomtest(k, n, tolerance, alternative="greater").pvalue, abs=1e-9)


def test_in_clusters_a_rate_needs_more_to_be_within():
    flipped = np.zeros(200, dtype=bool)
    flipped[:4] = True
    alone = rate_bound(flipped, 0.1)
    together = rate_bound(flipped, 0.1, cluster=np.arange(200) // 20)
    assert alone.upper < 0.1 < together.upper
    none = rate_bound(np.zeros(200, dtype=bool), 0.1, cluster=np.arange(200) // 20)
    ratio = stats.t.ppf(0.95, 199) / stats.t.ppf(0.95, 9)
    assert none.upper == pytest.approx(1 - 0.05 ** (1 / (10 * ratio**2)), abs=1e-9), (
        "10 clusters, not 200 rows"
    )
    each = rate_bound(flipped, 0.1, cluster=np.arange(200))
    assert (each.upper, each.p) == (pytest.approx(alone.upper), pytest.approx(alone.p))


@pytest.mark.parametrize(("n_clusters", "size", "correlation"), [(10, 20, 0.3), (20, 10, 0.1), (40, 5, 0.1)])
def test_false_within_is_kept_at_alpha_in_clusters(n_clusters, size, correlation):
    """Flips drawn from a beta-binomial whose rate is the tolerance: within in 5 % of draws at most, and noise."""
    generator = np.random.default_rng(n_clusters)
    tolerance, codes, draws = 0.1, np.repeat(np.arange(n_clusters), size), 400
    a, b = (rate * (1 - correlation) / correlation for rate in (tolerance, 1 - tolerance))
    within = exceeds = 0
    for _ in range(draws):
        rates = generator.beta(a, b, size=n_clusters)
        flipped = generator.random(len(codes)) < rates[codes]
        made = rate_bound(flipped, tolerance, cluster=codes)
        within += made.upper <= tolerance
        exceeds += made.p < 0.05
    noise = 3 * np.sqrt(0.05 * 0.95 / draws)
    assert within / draws <= 0.05 + noise and exceeds / draws <= 0.05 + noise


def test_a_tolerance_of_zero():
    one = rate_bound(np.array([True] + [False] * 99), 0.0)
    none = rate_bound(np.zeros(100, dtype=bool), 0.0)
    assert one.p == 0.0 and none.p == 1.0 and none.upper > 0 and none.n_needed is None


def test_bounds_of_means():
    values = np.random.default_rng(0).normal(-0.3, 1, size=50)
    made = mean_bound(values, 0.5, signed=True)
    low = stats.t.interval(0.9, 49, loc=values.mean(), scale=values.std(ddof=1) / np.sqrt(50))[0]
    assert made.upper == pytest.approx(-low, abs=1e-9)
    above = mean_bound(np.abs(values), 0.5, signed=False)
    t = stats.ttest_1samp(np.abs(values), 0.5, alternative="greater")
    assert above.p == pytest.approx(t.pvalue, abs=1e-9)
    still = mean_bound(np.zeros(20), 0.1, signed=True)
    assert (still.upper, still.p) == (0.0, 1.0)


def test_false_within_is_kept_at_alpha():
    """Pairs whose true flip rate is the tolerance are called within in 5 % of draws at most; half of it, most times."""
    generator = np.random.default_rng(0)
    n, tolerance = 200, 0.1
    counts = generator.binomial(n, tolerance, size=2000)
    uppers = {k: rate_bound(np.arange(n) < k, tolerance).upper for k in set(counts.tolist())}
    assert np.mean([uppers[k] <= tolerance for k in counts.tolist()]) <= 0.05
    counts = generator.binomial(n, tolerance / 2, size=2000)
    uppers = {k: rate_bound(np.arange(n) < k, tolerance).upper for k in set(counts.tolist())}
    assert np.mean([uppers[k] <= tolerance for k in counts.tolist()]) > 0.6


def test_the_number_needed_settles_it():
    flipped = np.arange(100) < 7
    made = rate_bound(flipped, 0.1)
    assert made.upper > 0.1
    n = 100 + made.n_needed
    assert rate_bound(np.arange(n) < round(0.07 * n), 0.1).upper <= 0.1
    assert rate_bound(np.arange(120) < round(0.07 * 120), 0.1).upper > 0.1


def test_one_cluster_has_no_interval():
    before, after, _ = drawn(10)
    one = np.zeros(10, dtype=np.int64)
    made = shift(before, after, cluster=one)
    assert made.low is made.p is None and made.mean is not None
    assert flips(before > 0, after > 0, cluster=one).low is None
    with pytest.raises(DataError, match="one cluster"):
        rate_bound(np.array([True, False]), 0.1, cluster=np.zeros(2, dtype=np.int64))


# Edges: few pairs, two clusters, nothing that varies


@pytest.mark.parametrize(
    ("n", "k", "kind"),
    [
        (1, 0, "Clopper-Pearson"),
        (19, 1, "Clopper-Pearson"),
        (20, 1, "Wilson"),
        (20, 0, "Clopper-Pearson"),
        (20, 20, "Clopper-Pearson"),
        (20, 19, "Wilson"),
    ],
)
def test_below_twenty_pairs_and_at_no_or_only_flips_the_interval_is_exact(n, k, kind):
    made = flips(np.zeros(n, dtype=bool), np.arange(n) < k)
    assert made.interval == kind and (made.n, made.n_units, made.rate) == (n, n, k / n)
    method = "beta" if kind == "Clopper-Pearson" else "wilson"
    assert (made.low, made.high) == pytest.approx(proportion_confint(k, n, method=method), abs=1e-9)


def test_two_clusters_are_enough_for_an_interval_of_flips_and_one_is_not():
    before, after = np.zeros(8, dtype=bool), np.arange(8) % 4 < 1
    after[0] = False  # one flip, in the second cluster
    two, one = np.arange(8) // 4, np.zeros(8, dtype=np.int64)
    made = flips(before, after, cluster=two)
    assert made.interval == "Wilson at the effective number" and 0 <= made.low < made.rate < made.high <= 1
    # The direction is the cluster-robust t of after minus before: means 0 and 1/4, with one degree of freedom.
    assert (made.n_units, made.difference, made.direction_test) == (2, 0.125, "cluster-robust t")
    ends = stats.ttest_1samp([0.0, 0.25], 0.0)
    assert made.p_direction == pytest.approx(ends.pvalue)
    assert (made.difference_low, made.difference_high) == pytest.approx(tuple(ends.confidence_interval()))
    made = flips(before, after, cluster=one)
    assert (made.low, made.high, made.interval) == (None, None, "none: one cluster")
    assert (made.difference_low, made.p_direction, made.direction_test) == (None, None, "")
    assert made.difference == 0.125, "what was seen is said all the same"
    none = flips(before, before, cluster=two)
    assert none.n_flipped == 0 and none.p_direction is None and none.difference == 0.0
    words = flips(np.array(["a", "b"]), np.array(["a", "c"]))
    assert (words.n_flipped, words.n_to_positive, words.difference, words.p_direction) == (
        1,
        None,
        None,
        None,
    )


def test_a_shift_of_one_pair_of_two_and_of_pairs_that_move_alike():
    one = shift(np.array([0.25]), np.array([0.75]))
    assert (one.mean, one.low, one.p, one.interval) == (0.5, None, None, "none: one pair or cluster")
    assert (one.mean_absolute, one.mean_absolute_low, one.largest) == (0.5, None, 0.5)
    two = shift(np.zeros(2), np.array([-0.25, 0.75]))
    ends = stats.ttest_1samp([-0.25, 0.75], 0.0)
    assert (two.low, two.high) == pytest.approx(tuple(ends.confidence_interval()))
    assert two.p == pytest.approx(ends.pvalue) and two.interval == "paired t"
    # The mean size is .5, its interval reaches far below 0, where no size is.
    assert (two.mean_absolute, two.mean_absolute_low, two.largest) == (0.5, 0.0, 0.75)
    assert two.mean_absolute_high == pytest.approx(0.5 + 12.7062047 * 0.25)
    alike = shift(np.zeros(5), np.full(5, 0.5), replicates=50)
    assert (alike.low, alike.high, alike.mean_absolute_low, alike.mean_absolute_high) == (0.5,) * 4


def test_more_pairs_for_a_rate_by_hand():
    # (1.644854 sqrt(.1 .9) + .841621 sqrt(.07 .93))^2 / .03^2 = 557.3 pairs, of which there are 100.
    assert rate_bound(np.arange(100) < 7, 0.1).n_needed == 458
    assert rate_bound(np.arange(100) < 90, 0.1).n_needed == 1, "one is the fewest that is said"
    z = stats.norm.isf(0.01) * 0.3 + 0.8416212 * np.sqrt(0.07 * 0.93)
    assert rate_bound(np.arange(100) < 7, 0.1, alpha=0.01).n_needed == np.ceil((z / 0.03) ** 2) - 100
    at = rate_bound(np.arange(100) < 10, 0.1)
    assert at.n_needed is None and at.estimate == 0.1
    every = rate_bound(np.ones(10, dtype=bool), 0.5)
    assert (every.upper, every.estimate) == (1.0, 1.0) and every.p == pytest.approx(2.0**-10)


def test_from_thirty_clusters_on_they_are_no_longer_each_one_pair():
    # One flip in the first cluster of three. 29 clusters: the bound is Clopper and Pearson's of 29 pairs at 1/87.
    for clusters, counted in ((29, True), (30, False)):
        n = 3 * clusters
        made = rate_bound(np.arange(n) < 1, 0.1, cluster=np.arange(n) // 3)
        k = clusters / n
        of_clusters = stats.beta.ppf(0.95, k + 1, clusters - k)
        assert abs(made.upper - of_clusters) < 1e-9 if counted else made.upper < of_clusters - 0.01


def test_more_pairs_for_a_mean_by_hand_and_without_variance():
    # 0, 2, 0, 2 ...: mean 1, variance 20/19 of 20 values; (1.644854 + .841621)^2 20/19 / .25^2 = 104.1.
    values = np.tile([0.0, 2.0], 10)
    for signed, sign in ((True, 1), (True, -1), (False, 1)):
        made = mean_bound(sign * values, 0.75, signed=signed)
        assert made.n_needed == 85
        assert made.upper == pytest.approx(1 + stats.t.ppf(0.95, 19) * np.sqrt(20 / 19 / 20))
    z = stats.norm.isf(0.01) + stats.norm.ppf(0.8)
    tighter = mean_bound(values, 0.75, signed=False, alpha=0.01)
    assert tighter.n_needed == np.ceil(20 / 19 * (z / 0.25) ** 2) - 20
    assert mean_bound(values, 1.0, signed=False).n_needed is None, "at the tolerance no number settles it"
    assert mean_bound(values, 9.0, signed=False).n_needed == 1
    still = np.full(3, 0.5)
    for tolerance, p in ((0.4, 0.0), (0.5, 1.0), (0.6, 1.0)):
        assert mean_bound(still, tolerance, signed=False).p == p
        assert mean_bound(-still, tolerance, signed=True).p == p
    with pytest.raises(DataError):
        mean_bound(np.zeros(1), 0.1, signed=True)
