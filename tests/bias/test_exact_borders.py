"""The exact p by the border of its region: the same as by looking at all tables, whatever the counts are."""

import math
from itertools import pairwise

import numpy as np
import pytest

from clinometer.bias import exact
from clinometer.bias.exact import GRID, KEPT, MOST_KEPT, NEAR, exact_exceeds_p, is_small
from clinometer.bias.intervals import exceeds_p, score_statistic

TOLERANCES = (0.0, 0.0, 0.01, 0.05, 0.1, 0.2, 0.25, 0.5, 0.9)


def _statistics(n1, n2, tolerance):
    """How far out each table is, on the side where it is further out."""
    x1, x2 = np.arange(n1 + 1)[:, None], np.arange(n2 + 1)[None, :]
    further = score_statistic(x1, n1, x2, n2, tolerance)
    return np.maximum(further, score_statistic(x2.T, n2, x1.T, n1, tolerance).T)


def _chances(n, rates):
    from scipy import stats

    return stats.binom.pmf(np.arange(n + 1), n, np.clip(rates, 0, 1)[:, None])


def _largest(n1, n2, tolerance, far):
    """The largest chance of the tables that are far, over both edges."""
    high = np.linspace(tolerance, 1, GRID)
    edges = ((high, high - tolerance), (high - tolerance, high))
    return max(float((_chances(n1, a) @ far * _chances(n2, b)).sum(axis=1).max()) for a, b in edges)


def _all_tables(k1, n1, k2, n2, tolerance):
    """p from every table, and whether rounding decides which of them are as far out as the one seen."""
    out = _statistics(n1, n2, tolerance)
    apart = np.abs(out - out[k1, k2])
    far = (out >= out[k1, k2] - NEAR).astype(float)
    p = min(1.0, max(exceeds_p(k1, n1, k2, n2, tolerance), _largest(n1, n2, tolerance, far)))
    return p, bool(((apart > 1e-11) & (apart < 1e-6)).any())


def _drawn(seed, most):
    """A pair of counts, none and all among them, and a tolerance."""
    draw = np.random.default_rng(seed)
    n1, n2 = (int(n) for n in draw.integers(1, most + 1, 2))
    k1, k2 = (int(draw.choice([0, n, *draw.integers(0, n + 1, 3)])) for n in (n1, n2))
    return k1, n1, k2, n2, float(draw.choice([*TOLERANCES, draw.random()]))


@pytest.mark.parametrize(("most", "seeds"), [(6, 600), (25, 800), (80, 120), (199, 40)])
def test_the_border_gives_the_p_of_all_tables(most, seeds):
    undecided = 0
    for seed in range(seeds):
        given = _drawn((most, seed), most)
        p, rounding = _all_tables(*given)
        undecided += rounding
        if not rounding:
            assert exact_exceeds_p(*given) == pytest.approx(p, rel=1e-10, abs=1e-13), given
    assert undecided <= seeds / 50, "nearly all were compared"


@pytest.mark.parametrize("tolerance", [0.0, 0.07, 0.3])
def test_every_table_of_the_smallest_groups(tolerance):
    for n1, n2 in ((1, 1), (1, 2), (2, 1), (3, 3), (1, 7), (5, 2), (4, 4)):
        for k1 in range(n1 + 1):
            for k2 in range(n2 + 1):
                p, rounding = _all_tables(k1, n1, k2, n2, tolerance)
                assert not rounding
                assert exact_exceeds_p(k1, n1, k2, n2, tolerance) == pytest.approx(p, rel=1e-10, abs=1e-13)


@pytest.mark.parametrize(
    "given",
    [(1, 2, 300, 900, 0.1), (2, 3, 40, 900, 0.0), (500, 600, 3, 20, 0.2), (0, 1, MOST_KEPT + 1, 400, 0.5)],
)
def test_a_group_too_large_for_its_chances_to_be_kept(given):
    _, n1, _, n2, _ = given
    assert is_small(n1, n2) and max(n1, n2) > MOST_KEPT
    exact._kept.cache_clear()
    assert exact_exceeds_p(*given) == pytest.approx(_all_tables(*given)[0], rel=1e-9)
    assert exact._kept.cache_info().currsize == 1, "that of the small one"


def test_what_is_kept_is_bounded_and_nobody_can_write_into_it():
    assert exact._kept.cache_info().maxsize == KEPT
    bytes_each = 3 * (MOST_KEPT + 2) * GRID * 8
    assert KEPT * bytes_each < 80e6
    for made in exact._of(5, 0.1):
        with pytest.raises(ValueError, match="read-only"):
            made[0, 0] = 1.0


def test_chances_of_a_group_are_binomial_and_summed_from_either_end():
    for n, tolerance in ((1, 0.0), (7, 0.0), (9, 0.2), (60, 0.9)):
        chance, up, down = exact._binomial(n, tolerance)
        rates = np.linspace(tolerance, 1, GRID) - tolerance
        np.testing.assert_allclose(chance, _chances(n, rates).T, rtol=1e-9, atol=1e-300)
        np.testing.assert_allclose(
            chance[::-1, ::-1], _chances(n, rates + tolerance).T, rtol=1e-9, atol=1e-15
        )
        assert (up[0] == 0).all() and (down[0] == 0).all()
        for last in range(n + 1):
            np.testing.assert_allclose(up[last + 1], chance[: last + 1].sum(axis=0), rtol=1e-13)
            np.testing.assert_allclose(down[last + 1], chance[n - last :].sum(axis=0), rtol=1e-13)


@pytest.mark.parametrize("seed", range(30))
def test_any_two_borders_give_the_chance_of_what_is_beyond_them_and_no_table_counts_twice(seed):
    draw = np.random.default_rng(seed)
    n1, n2, tolerance = (
        int(draw.integers(1, 9)),
        int(draw.integers(1, 9)),
        float(draw.choice([0.0, 0.1, 0.6])),
    )
    below, above = (np.sort(draw.integers(-1, n2 + 1, n1 + 1)) for _ in range(2))
    second = np.arange(n2 + 1)
    far = (second <= below[:, None]) | (n2 - second <= above[::-1, None])
    found = exact._largest_chance(n1, n2, tolerance, below, above)
    assert found == pytest.approx(_largest(n1, n2, tolerance, far.astype(float)), rel=1e-12)


@pytest.mark.parametrize("guess", [-1, 0, 3, 6, "drawn"])
def test_the_walk_ends_at_the_same_border_wherever_it_starts(guess):
    border, most = np.array([-1, -1, 0, 2, 3, 6, 6]), 6

    def holds(rows, counts):
        assert (counts >= 0).all() and (counts <= most).all(), "a count that there is not was asked for"
        return counts <= border[rows]

    first = np.random.default_rng(4).integers(-1, most + 1, 7) if guess == "drawn" else np.full(7, guess)
    given = first.copy()
    assert exact._last(holds, first, most).tolist() == border.tolist()
    assert (first == given).all(), "the guess is left as it was"


@pytest.mark.parametrize("tolerance", [0.0, 0.003, 0.1, 0.5, 0.97])
def test_the_statistic_rises_with_the_first_count_and_falls_with_the_second(tolerance):
    # Barnard's condition, without which a row of tables could have more ends than one. By more than the rate itself.
    for n1, n2 in ((1, 1), (1, 40), (40, 1), (7, 11), (30, 30), (199, 199), (3, 9000)):
        out = score_statistic(np.arange(n1 + 1)[:, None], n1, np.arange(n2 + 1)[None, :], n2, tolerance)
        assert (np.diff(out, axis=0) * n1).min() > 1
        assert (-np.diff(out, axis=1) * n2).min() > 1


def test_neither_the_order_of_the_groups_nor_what_is_counted_changes_p():
    for seed in range(60):
        k1, n1, k2, n2, tolerance = _drawn((1, seed), 30)
        p, rounding = _all_tables(k1, n1, k2, n2, tolerance)
        if not rounding:
            assert exact_exceeds_p(k2, n2, k1, n1, tolerance) == exact_exceeds_p(k1, n1, k2, n2, tolerance)
            other = exact_exceeds_p(n1 - k1, n1, n2 - k2, n2, tolerance)
            assert other == pytest.approx(p, rel=1e-10, abs=1e-13)


@pytest.mark.parametrize("tolerance", [0.0, 0.1])
def test_a_larger_gap_never_has_a_larger_p(tolerance):
    n1, n2, k2 = 40, 23, 6
    first = math.ceil(n1 * k2 / n2)
    p = [exact_exceeds_p(k1, n1, k2, n2, tolerance) for k1 in range(first, n1 + 1)]
    assert all(later <= before + 1e-15 for before, later in pairwise(p))
    assert p[0] > 0.5 and p[-1] < 1e-6


def test_few_tables_are_looked_at(monkeypatch):
    # Time itself is not asserted: some eight tables beside each count of the smaller group are enough, of both sides.
    asked = []

    def counted(k1, n1, k2, n2, tolerance):
        made = score_statistic(k1, n1, k2, n2, tolerance)
        asked.append(made.size)
        return made

    monkeypatch.setattr(exact, "score_statistic", counted)
    for tolerance in (0.0, 0.05, 0.3):
        for k1, k2 in ((0, 9), (60, 75), (150, 20), (198, 198)):
            asked.clear()
            exact_exceeds_p(k1, 198, k2, 198, tolerance)
            assert 0 < sum(asked) <= 8 * 199
        for given in ((2, 10, 500, 1500), (500, 1500, 2, 10)):
            asked.clear()
            exact_exceeds_p(*given, tolerance)
            assert 0 < sum(asked) <= 12 * 11


def test_failures_have_the_p_of_successes_at_the_ends_of_the_rates() -> None:
    """Counting the other outcome mirrors all tables; ties of mirrored tables differ by rounding where a rate is 0 or 1."""
    apart = 0
    for n1, n2 in ((2, 3), (2, 7), (4, 4), (2, 17), (9, 16), (12, 18)):
        for tolerance in (0.05, 0.1, 0.25, 0.5):
            for k1 in (0, n1):
                for k2 in range(n2 + 1):
                    one = exact_exceeds_p(k1, n1, k2, n2, tolerance)
                    other = exact_exceeds_p(n1 - k1, n1, n2 - k2, n2, tolerance)
                    apart += abs(one - other) > 1e-9
    assert apart == 0
