"""Bootstraps: scipy's intervals, laws of the draws, mistakes of other tools, refusals."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from clinometer.bias.bootstrapped import Bootstrapped
from clinometer.bias.resampling import (
    bootstrap_cells,
    bootstrap_rows,
    count_cells,
    multinomial_draws,
    poisson_totals,
)
from clinometer.bias.spread import largest_gap
from clinometer.errors import DataError, UsageError
from reference.inference import bca


def rates(cells):
    """Share of the second code, (draw, group)."""
    return cells[..., 1] / np.maximum(cells.sum(axis=-1), 1)


def test_cells_are_counted_as_rows_are():
    generator = np.random.default_rng(0)
    group, label = generator.integers(0, 3, 200), generator.random(200) < 0.3
    cells = count_cells([group, label], (3, 2))
    assert cells.sum() == 200
    for g in range(3):
        assert cells[g].tolist() == [int(((group == g) & (label == y)).sum()) for y in (False, True)]
    count = generator.integers(0, 4, 200)
    each = np.repeat(np.arange(200), count)
    assert np.array_equal(
        count_cells([group, label], (3, 2), count), count_cells([group[each], label[each]], (3, 2))
    )
    assert not np.array_equal(count_cells([group, label], (3, 2), count), cells)


def test_draws_have_the_moments_of_a_multinomial():
    cells = np.asarray([[30, 10], [5, 55]])
    draws = multinomial_draws(cells, 20_000, seed=1)
    assert draws.shape == (20_000, 2, 2)
    assert np.all(draws.sum(axis=(1, 2)) == 100)
    share = cells / 100
    assert draws.mean(axis=0) == pytest.approx(cells, abs=0.15)
    assert draws.var(axis=0) == pytest.approx(100 * share * (1 - share), rel=0.05)
    assert draws.sum(axis=2).std(axis=0).min() > 4  # the control of the next test


def test_strata_keep_their_rows():
    cells = np.asarray([[30, 10], [5, 55], [0, 0]])
    strata = np.asarray([[0, 0], [1, 1], [2, 2]])
    draws = multinomial_draws(cells, 500, strata=strata)
    assert np.all(draws.sum(axis=2) == cells.sum(axis=1))
    assert draws[:, 0, 0].std() == pytest.approx(np.sqrt(40 * 0.75 * 0.25), rel=0.1)


@given(st.integers(1, 30))
def test_the_parts_in_which_draws_are_made_do_not_matter(seed):
    cells = np.random.default_rng(seed).integers(0, 20, (4, 2)) + 1
    whole = bootstrap_cells(rates, cells, 60, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clinometer.bias.resampling.MOST_BYTES", 8 * 8 * 7)
        parts = bootstrap_cells(rates, cells, 60, seed)
    for a, b in zip(whole, parts, strict=True):
        assert np.array_equal(a.draws, b.draws)
    assert not np.array_equal(whole[0].draws, bootstrap_cells(rates, cells, 60, seed + 1)[0].draws)


def test_bootstrap_of_cells_is_the_bootstrap_of_rows():
    generator = np.random.default_rng(4)
    group, right = generator.integers(0, 2, 300), generator.random(300) < 0.7
    cells = count_cells([group, right], (2, 2))

    def gap(group, right):
        return right[group == 0].mean() - right[group == 1].mean()

    by_rows = bootstrap_rows(gap, group, right, replicates=3000)[0]
    by_cells = bootstrap_cells(lambda c: rates(c)[:, 0] - rates(c)[:, 1], cells, 3000)[0]
    assert by_rows.estimate == pytest.approx(by_cells.estimate, abs=1e-12)
    assert by_rows.se == pytest.approx(by_cells.se, rel=0.06)
    assert by_rows.percentile() == pytest.approx(by_cells.percentile(), abs=0.012)


def test_bca_agrees_with_the_slow_twin_and_with_scipy():
    x = np.random.default_rng(0).gamma(1.0, size=40)
    ours = bootstrap_rows(np.mean, x, bca=True, replicates=4000)[0]
    left_out = [float(np.delete(x, i).mean()) for i in range(40)]
    assert ours.bca() == pytest.approx(bca(x.mean(), ours.draws.tolist(), left_out), abs=1e-12)
    other = stats.bootstrap((x,), np.mean, n_resamples=4000, method="BCa", rng=np.random.default_rng(1))
    assert ours.bca() == pytest.approx(tuple(other.confidence_interval), abs=0.02)
    assert abs(ours.bca().high - ours.percentile().high) > 0.01  # skewed: the two are not the same


def test_bca_of_many_rows_leaves_out_blocks():
    x = np.random.default_rng(1).gamma(0.2, size=3000)
    calls = []

    def mean(rows):
        calls.append(len(rows))
        return float(rows.mean())

    blocks = bootstrap_rows(mean, x, bca=True, replicates=500)[0]
    assert len(calls) == 1 + 500 + 1000 and calls[-1] == 2997
    one_by_one = [(x.sum() - value) / 2999 for value in x]
    expected = bca(x.mean(), blocks.draws.tolist(), one_by_one)
    assert blocks.bca() == pytest.approx(expected, abs=0.15 * (expected[1] - x.mean()))
    assert blocks.bca() != pytest.approx(blocks.percentile(), abs=1e-6)


def test_bca_over_cells_weighs_each_cell_by_its_rows():
    cells = np.asarray([37, 3])
    made = bootstrap_cells(lambda c: c[:, 1] / c.sum(axis=1), cells, 3000, bca=True)[0]
    left_out = [3 / 39] * 37 + [2 / 39] * 3
    assert made.bca() == pytest.approx(bca(3 / 40, made.draws.tolist(), left_out), abs=1e-12)


def test_rows_and_rows_with_counts_are_the_same():
    generator = np.random.default_rng(2)
    x, count = generator.normal(size=15), generator.integers(1, 4, 15)
    each = np.repeat(np.arange(15), count)
    few = bootstrap_rows(np.mean, x, count=count, replicates=50, bca=True)[0]
    many = bootstrap_rows(np.mean, x[each], replicates=50, bca=True)[0]
    assert np.array_equal(few.draws, many.draws)
    assert few.bca() == pytest.approx(many.bca(), abs=1e-12)


def test_clusters_are_drawn_whole():
    cluster = np.repeat(np.arange(12), 10)
    x = np.repeat(np.random.default_rng(0).normal(size=12), 10)
    together = bootstrap_rows(np.mean, x, cluster=cluster, replicates=1500)[0]
    expected = bootstrap_rows(np.mean, x[::10], replicates=1500)[0]
    assert together.draws == pytest.approx(expected.draws, abs=1e-12)
    assert together.se > 2.5 * bootstrap_rows(np.mean, x, replicates=300)[0].se  # the control

    def sizes(rows):
        return float(len(rows)), float(max(np.bincount(rows)))

    uneven = np.asarray([0, 0, 0, 1, 1, 5])
    size, most = bootstrap_rows(sizes, np.arange(6), cluster=uneven, replicates=200)
    assert set(size.draws) <= {3.0, 4, 5, 6, 7, 8, 9} and most.estimate == 1


def test_poisson_totals_have_the_moments_of_weighted_sums():
    generator = np.random.default_rng(0)
    cell, weight = generator.integers(0, 3, 400), generator.choice([0.5, 1.0, 2.5], 400)
    totals = poisson_totals(cell, 3, 8000, weight=weight)
    for c in range(3):
        here = weight[cell == c]
        assert totals[:, c].mean() == pytest.approx(here.sum(), rel=0.01)
        assert totals[:, c].var() == pytest.approx((here**2).sum(), rel=0.06)
    cluster = np.arange(400) // 8
    tied = poisson_totals(cell, 3, 8000, weight=weight, cluster=cluster)
    for c in range(3):
        sums = np.bincount(cluster[cell == c], weight[cell == c])
        assert tied[:, c].var() == pytest.approx((sums**2).sum(), rel=0.06)
    assert np.corrcoef(tied.T)[0, 1] > 0.3 > 0.05 > abs(np.corrcoef(totals.T)[0, 1])


def test_poisson_totals_of_rows_with_counts():
    cell, weight, count = np.asarray([0, 0, 1]), np.asarray([1.0, 2, 3]), np.asarray([4, 1, 2])
    each = np.repeat(np.arange(3), count)
    few = poisson_totals(cell, 2, 40, weight=weight, count=count)
    assert np.array_equal(few, poisson_totals(cell[each], 2, 40, weight=weight[each]))


def test_mistake_a_percentile_bootstrap_of_the_largest_gap():
    # Eight equal groups of 50: it says that they differ in every simulation, our bounds in hardly any.
    generator = np.random.default_rng(0)
    simulations = 120
    bootstrap_differs = ours_differ = 0
    for seed in range(simulations):
        k = generator.binomial(50, 0.4, 8)
        cells = np.stack([50 - k, k], axis=1)
        made = bootstrap_cells(lambda c: np.ptp(rates(c), axis=1), cells, 400, seed)[0]
        bootstrap_differs += made.percentile().low > 0
        ours_differ += largest_gap(k.tolist(), [50] * 8).low > 0
    assert bootstrap_differs == simulations
    assert ours_differ <= 0.06 * simulations


def test_mistake_a_percentile_taken_for_a_quantile():
    # np.percentile(x, 0.025) is the 0.00025 quantile: nearly the smallest and the largest draw.
    draws = np.random.default_rng(0).normal(size=100_000)
    low, high = Bootstrapped(estimate=0.0, draws=draws, n_undefined=0, seed=0).percentile()
    assert (low, high) == pytest.approx((-1.96, 1.96), abs=0.03)
    assert np.percentile(draws, 0.025) < -3.3  # the mistake
    assert np.mean((draws >= low) & (draws <= high)) == pytest.approx(0.95, abs=1e-4)


def test_undefined_replicates_are_counted():
    cells = np.asarray([[4, 0], [50, 2]])  # a rate among the second column: now and then nobody

    def second(c):
        n = c[:, 1, 1] + c[:, 0, 1]
        return np.where(n > 0, c[:, 1, 1] / np.maximum(n, 1), np.nan)

    made = bootstrap_cells(second, cells, 500)[0]
    assert 20 < made.n_undefined < 120 and np.all(np.isfinite(made.draws))
    with pytest.raises(DataError, match=r"undefined on \d+ of 500 replicates: too few rows"):
        made.percentile()


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: multinomial_draws(np.zeros(3, dtype=int), 10), DataError, "cells hold no rows"),
        (lambda: multinomial_draws(np.asarray([3, -1]), 10), DataError, "cells hold '-1'"),
        (lambda: multinomial_draws(np.asarray([3, 1]), 0), UsageError, "0 replicates"),
        (lambda: multinomial_draws(np.ones(10**5, dtype=int), 10**5), UsageError, "74.5 GiB: take bootstrap_cells"),
        (lambda: multinomial_draws(np.ones(3, dtype=int), 9, strata=np.zeros(2, dtype=int)), DataError, "2 codes"),
        (lambda: bootstrap_cells(lambda c: c.sum(), np.asarray([3, 1]), 9), UsageError, r"gave shape \(\) for 1"),
        (lambda: bootstrap_cells(lambda c: np.full(len(c), np.nan), np.asarray([3]), 9), DataError, "undefined on the data"),
        (lambda: bootstrap_rows(np.mean, np.ones(3), cluster=np.zeros(3, dtype=int)), DataError, "there is one cluster"),
        (lambda: bootstrap_rows(np.mean, np.ones(1)), DataError, "there is one row"),
        (lambda: bootstrap_rows(np.mean, np.ones(0)), DataError, "not 0"),
        (lambda: bootstrap_rows(np.mean, np.ones(3), count=np.ones(2, dtype=int)), DataError, "'2', '3' rows long"),
        (lambda: bootstrap_rows(np.mean, np.arange(9.0), replicates=9)[0].bca(), UsageError, "ask for bca=True"),
        (lambda: count_cells([np.asarray([0, 3])], (3,)), DataError, "reach from 0 to 3; 0 to 2"),
        (lambda: poisson_totals(np.zeros(2, dtype=int), 1, 5, weight=np.asarray([1.0, -2])), DataError, "at '1'"),
        (lambda: poisson_totals(np.zeros(2, dtype=int), 1, 5, cluster=np.zeros(2, dtype=int)), DataError, "one cluster"),
    ],
)  # fmt: skip
def test_refusals(make, error, match):
    with pytest.raises(error, match=match):
        make()


def test_degenerate_bca():
    flat = Bootstrapped(
        estimate=5.0,
        draws=np.asarray([1.0, 2, 3]),
        n_undefined=0,
        seed=0,
        left_out=np.ones(3),
        times=np.ones(3),
    )
    with pytest.raises(DataError, match="every replicate is on one side"):
        flat.bca()
    same = bootstrap_rows(np.mean, np.ones(9), replicates=9, bca=True)[0]
    assert same.bca() == (1.0, 1.0)


# Edges of what is asked for


def test_draws_that_just_fit_the_memory_are_made(monkeypatch):
    monkeypatch.setattr("clinometer.bias.resampling.MOST_BYTES", 100)
    cells = np.asarray([[3, 1], [2, 4]])
    # 50 draws of 4 cells of 8 bytes are 1,600, sixteen times what is held at once.
    assert multinomial_draws(cells, 50).shape == (50, 2, 2)
    with pytest.raises(UsageError, match=r"51 draws of 4 cells need 0.0 GiB: take bootstrap_cells"):
        multinomial_draws(cells, 51)
    # Parts of three draws are the same draws.
    (parts,) = bootstrap_cells(lambda c: c[:, 0, 0] / c.sum(axis=(1, 2)), cells, 50, seed=4)
    assert parts.draws * 10 == pytest.approx(multinomial_draws(cells, 50, seed=4)[:, 0, 0])


def test_the_message_names_the_memory_that_draws_would_need():
    with pytest.raises(UsageError, match=r"1000000 draws of 1000 cells need 7.5 GiB"):
        multinomial_draws(np.ones(1000, dtype=np.int64), 1_000_000)


def test_two_is_the_fewest_of_replicates_of_rows_and_of_clusters():
    assert len(multinomial_draws(np.asarray([3, 1]), 2)) == 2
    with pytest.raises(UsageError, match="1 replicates say nothing"):
        multinomial_draws(np.asarray([3, 1]), 1)
    (made,) = bootstrap_rows(np.mean, np.array([0.0, 1.0]), replicates=50)
    assert set(made.draws.tolist()) <= {0.0, 0.5, 1.0} and made.estimate == 0.5
    with pytest.raises(DataError, match=r"one row: drawing rows again .* Two are needed"):
        bootstrap_rows(np.mean, np.array([0.0]))
    pair = np.array([0, 0, 1])
    (made,) = bootstrap_rows(np.mean, np.array([0.0, 1.0, 5.0]), cluster=pair, replicates=200, bca=True)
    # Either cluster twice, or both: means .5, 2 and 5. Left out: the first leaves 5, the second .5.
    assert set(made.draws.tolist()) == {0.5, 2.0, 5.0}
    assert made.left_out.tolist() == [5.0, 0.5] and made.times.tolist() == [1.0, 1.0]
    with pytest.raises(DataError, match="one cluster: drawing clusters again"):
        bootstrap_rows(np.mean, np.zeros(3), cluster=np.zeros(3, dtype=int))
    with pytest.raises(DataError, match="one cluster"):
        poisson_totals(np.zeros(3, dtype=int), 1, 5, cluster=np.zeros(3, dtype=int))
    assert poisson_totals(np.zeros(2, dtype=int), 1, 5, cluster=np.arange(2)).shape == (5, 1)


def test_rows_that_stand_for_several_leave_one_of_them_out():
    values, count = np.array([0.0, 3.0]), np.array([3, 1])
    (made,) = bootstrap_rows(np.mean, values, count=count, replicates=20, bca=True)
    assert made.estimate == 0.75
    assert made.left_out.tolist() == [1.0, 0.0] and made.times.tolist() == [3.0, 1.0]
    (cells,) = bootstrap_cells(lambda c: 3 * c[:, 1] / c.sum(axis=1), count, 20, bca=True)
    assert cells.left_out == pytest.approx(made.left_out) and cells.times.tolist() == [3.0, 1.0]


def test_weights_of_zero_are_weights_and_negative_ones_are_none():
    cell = np.array([0, 0, 1])
    assert poisson_totals(cell, 2, 40, weight=np.array([0.0, 0.0, 1.0]))[:, 0].tolist() == [0.0] * 40
    for bad in (-1e-9, np.nan):
        with pytest.raises(DataError, match="negative or no number at '1'"):
            poisson_totals(cell, 2, 40, weight=np.array([1.0, bad, 1.0]))


def test_codes_at_the_edge_of_their_axis():
    assert count_cells([np.array([0, 2])], (3,)).tolist() == [1, 0, 1]
    assert count_cells([np.zeros(0, dtype=int)], (3,)).tolist() == [0, 0, 0]
    for code in ([3], [-1]):
        with pytest.raises(DataError, match="0 to 2 is expected"):
            count_cells([np.array(code)], (3,))
    with pytest.raises(DataError, match="1 columns and 2 sizes"):
        count_cells([np.array([0])], (3, 2))
    with pytest.raises(DataError, match="counts of 0 or more, not all 0"):
        multinomial_draws(np.array([0, 0]), 5)
    with pytest.raises(DataError, match="cells hold '-1'"):
        multinomial_draws(np.array([3, -1]), 5)


def test_a_twentieth_of_undefined_replicates_is_borne_and_no_more():
    def made(undefined):
        return Bootstrapped(estimate=1.0, draws=np.arange(20.0 - undefined), n_undefined=undefined, seed=0)

    assert made(1).se == pytest.approx(np.arange(19.0).std(ddof=1))
    assert made(1).percentile(0.5) == pytest.approx((4.5, 13.5))
    for ask in (lambda one: one.se, lambda one: one.percentile()):
        with pytest.raises(DataError, match="undefined on 2 of 20 replicates"):
            ask(made(2))


def test_without_variance_among_those_left_out_nothing_is_accelerated():
    flat = Bootstrapped(
        estimate=2.0,
        draws=np.arange(5.0),
        n_undefined=0,
        seed=0,
        left_out=np.full(4, 2.0),
        times=np.ones(4),
    )
    # As many draws below as above, counting half of the tie: no bias, so it is the percentile interval.
    assert flat.bca(0.5) == pytest.approx(flat.percentile(0.5), abs=1e-9)
    for draws in (np.full(5, 3.0), np.full(5, 1.0)):
        with pytest.raises(DataError, match="every replicate is on one side"):
            dataclasses.replace(flat, draws=draws).bca()
