"""Gaps within strata: Berkeley 1973, agreement with statsmodels, counts as rows, refusals."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from clinometer.bias.disparity import conditional_demographic_disparity, demographic_disparity
from clinometer.bias.influence import Influenced
from clinometer.bias.intervals import newcombe
from clinometer.bias.mantel_haenszel import mantel_haenszel
from clinometer.bias.scored import Undefined
from clinometer.bias.strata import Stratum, condition, standardised_gap, stratify
from clinometer.errors import DataError, UsageError
from reference.group_metrics import conditional_disparity

# Graduate admissions, autumn 1973, of the six largest departments: Bickel, Hammel & O'Connell 1975 (Science 187),
# as in R's UCBAdmissions. Department: women admitted, women, men admitted, men.
BERKELEY = {
    "A": (89, 108, 512, 825),
    "B": (17, 25, 353, 560),
    "C": (202, 593, 120, 325),
    "D": (131, 375, 138, 417),
    "E": (94, 393, 53, 191),
    "F": (24, 341, 22, 373),
}


def strata_of(tables):
    return tuple(
        Stratum(name=name, k_group=k1, n_group=n1, k_reference=k2, n_reference=n2)
        for name, (k1, n1, k2, n2) in tables.items()
    )


def rows_of(tables):
    """Selected, member, stratum and count of the four cells of each stratum."""
    selected, member, stratum, count = [], [], [], []
    for name, (k1, n1, k2, n2) in tables.items():
        for inside, k, n in ((True, k1, n1), (False, k2, n2)):
            for chosen, times in ((True, k), (False, n - k)):
                selected.append(chosen)
                member.append(inside)
                stratum.append(name)
                count.append(times)
    return np.array(selected), np.array(member), stratum, np.array(count)


def test_berkeley_is_reversed_by_conditioning_on_department():
    made = condition(strata_of(BERKELEY))
    assert sum(s.k_group for s in made.strata) == 557 and sum(s.n_group for s in made.strata) == 1835
    assert sum(s.k_reference for s in made.strata) == 1198 and sum(s.n_reference for s in made.strata) == 2691
    assert made.marginal_gap == pytest.approx(-0.1416, abs=5e-5)
    assert made.marginal.high < 0 < made.standardised.low
    assert made.standardised.gap == pytest.approx(0.0426, abs=5e-4)
    assert made.relation == "reversed" and made.sign_changes
    assert (made.n_group_ahead, made.n_reference_ahead) == (4, 2)
    assert "reverses the gap: -0.142 over all rows, +0.04" in made.words


def test_berkeley_odds_ratio_is_that_of_r():
    odds = condition(strata_of(BERKELEY)).odds
    # mantelhaen.test(UCBAdmissions): men over women .9046968 (.7719074, 1.0603298), corrected p .2323.
    assert 1 / odds.odds_ratio == pytest.approx(0.9046968, abs=1e-7)
    assert (1 / odds.high, 1 / odds.low) == pytest.approx((0.7719074, 1.0603298), abs=1e-7)
    corrected = mantel_haenszel(*(np.array(list(BERKELEY.values())).T), correction=True)
    assert corrected.p == pytest.approx(0.2323, abs=5e-5)
    assert odds.p_equal < 0.01, "department A is not like the others"


def statsmodels_table(tables):
    from statsmodels.stats.contingency_tables import StratifiedTable

    return StratifiedTable([np.array([[k1, n1 - k1], [k2, n2 - k2]]) for k1, n1, k2, n2 in tables])


cell = st.integers(1, 30)


@given(st.lists(st.tuples(cell, cell, cell, cell), min_size=2, max_size=6))
def test_agrees_with_statsmodels(cells):
    tables = [(a, a + b, c, c + d) for a, b, c, d in cells]
    peer = statsmodels_table(tables)
    ours = mantel_haenszel(*np.array(tables).T)
    assert ours.odds_ratio == pytest.approx(peer.oddsratio_pooled, rel=1e-9)
    assert (ours.low, ours.high) == pytest.approx(peer.oddsratio_pooled_confint(), rel=1e-9)
    assert ours.p == pytest.approx(peer.test_null_odds().pvalue, abs=1e-9)
    corrected = mantel_haenszel(*np.array(tables).T, correction=True)
    if abs(sum(a - (a + b) * (a + c) / (a + b + c + d) for a, b, c, d in cells)) > 0.5:
        assert corrected.p == pytest.approx(peer.test_null_odds(correction=True).pvalue, abs=1e-9)
    if abs(peer.oddsratio_pooled - 1) > 1e-6:  # where its quadratic equation divides by zero
        peer_p = peer.test_equal_odds(adjust=True).pvalue
        assert ours.p_equal == pytest.approx(peer_p, abs=1e-7)


def test_one_odds_ratio_of_exactly_one_has_a_test_of_equality():
    alike = mantel_haenszel([2, 4], [4, 8], [3, 5], [6, 10])
    assert alike.odds_ratio == pytest.approx(1) and alike.p_equal == pytest.approx(1)
    unlike = mantel_haenszel([90, 10], [100, 100], [10, 90], [100, 100])
    assert unlike.odds_ratio == pytest.approx(1) and unlike.p_equal < 1e-9


def test_tables_that_say_nothing_change_nothing():
    tables = list(BERKELEY.values())
    whole = mantel_haenszel(*np.array(tables).T)
    with_empty = mantel_haenszel(*np.array([*tables, (0, 0, 5, 9), (3, 3, 4, 4), (1, 1, 0, 0)]).T)
    for name in ("odds_ratio", "low", "high", "p", "p_equal"):
        assert getattr(with_empty, name) == pytest.approx(getattr(whole, name), rel=1e-12)


def test_odds_that_are_undefined_say_why():
    none = mantel_haenszel([0], [0], [5], [9])
    assert none.odds_ratio is None and none.p is None and "no stratum has both" in none.note
    never = mantel_haenszel([5], [5], [3], [9])
    assert never.odds_ratio is None and never.p < 0.05 and "no finite ratio" in never.note
    nobody = mantel_haenszel([0], [5], [3], [9])
    assert nobody.odds_ratio == 0 and nobody.low is None and "no interval" in nobody.note
    assert mantel_haenszel([2], [5], [3], [9]).p_equal is None


def test_standardised_rates_of_berkeley_by_hand():
    made = standardised_gap(strata_of(BERKELEY), "reference")
    men = sum(n2 for _, _, _, n2 in BERKELEY.values())
    by_hand = sum(n2 / men * k1 / n1 for k1, n1, _, n2 in BERKELEY.values())
    assert made.rate_group == pytest.approx(by_hand, abs=1e-12)
    assert made.rate_reference == pytest.approx(1198 / 2691, abs=1e-12)
    assert made.weights_are == "rows of the reference" and sum(made.weights.values()) == pytest.approx(1)
    equal = standardised_gap(strata_of(BERKELEY), dict.fromkeys(BERKELEY, 1.0))
    gaps = [k1 / n1 - k2 / n2 for k1, n1, k2, n2 in BERKELEY.values()]
    assert equal.gap == pytest.approx(np.mean(gaps), abs=1e-12) and equal.weights_are == "given"


def test_one_stratum_is_newcombe():
    made = standardised_gap(strata_of({"all": (56, 70, 48, 80)}))
    assert (made.low, made.high) == pytest.approx(newcombe(56, 70, 48, 80), abs=1e-12)


def test_the_interval_of_a_standardised_gap_covers_it():
    generator = np.random.default_rng(0)
    p1, p2 = np.array([0.1, 0.5, 0.8]), np.array([0.2, 0.4, 0.8])
    n1, n2 = np.array([30, 20, 10]), np.array([15, 30, 25])
    weights = (n1 + n2) / (n1 + n2).sum()
    truth, held = float(weights @ (p1 - p2)), 0
    for _ in range(400):
        k1, k2 = generator.binomial(n1, p1), generator.binomial(n2, p2)
        cells = zip(k1.tolist(), n1.tolist(), k2.tolist(), n2.tolist(), strict=True)
        made = standardised_gap(strata_of(dict(zip("abc", cells, strict=True))))
        held += made.low <= truth <= made.high
    assert held >= 0.93 * 400


def test_strata_with_one_side_only_are_left_out_by_name():
    made = standardised_gap(strata_of({"x": (3, 10, 4, 10), "y": (0, 0, 5, 7)}))
    assert made.left_out == {"y": 7} and made.weights == {"x": 1.0}
    none = condition(strata_of({"x": (3, 10, 0, 0), "y": (0, 0, 5, 7)}))
    assert none.relation == "not assessed" and none.standardised.gap is None
    assert none.marginal_gap is not None and "nothing can be compared" in none.words


@pytest.mark.parametrize(
    ("tables", "relation"),
    [
        ({"x": (80, 100, 20, 100), "y": (80, 100, 20, 100)}, "kept"),
        ({"x": (90, 100, 450, 500), "y": (50, 500, 10, 100)}, "removed"),
        ({"x": (50, 100, 50, 100), "y": (50, 100, 51, 100)}, "not shown"),
        ({"x": (90, 100, 320, 400), "y": (80, 400, 10, 100)}, "reversed"),
        ({"x": (360, 400, 480, 600), "y": (180, 600, 80, 400)}, "appears"),
    ],
)
def test_what_conditioning_does_is_named(tables, relation):
    assert condition(strata_of(tables)).relation == relation


def test_removed_is_not_called_proof():
    words = condition(strata_of({"x": (90, 100, 450, 500), "y": (50, 500, 10, 100)})).words
    assert "does not prove that there is none" in words


def test_stratify_counts_rows_and_rows_with_counts():
    selected, member, stratum, count = rows_of(BERKELEY)
    collapsed = stratify(selected, member, stratum, count=count)
    assert collapsed == strata_of(BERKELEY)
    spread = stratify(
        np.repeat(selected, count), np.repeat(member, count), np.repeat(stratum, count).tolist()
    )
    assert spread == collapsed


def test_rows_without_a_stratum_are_one_of_their_own():
    made = stratify(np.array([True, False]), np.array([True, False]), [None, "x"])
    assert [s.name for s in made] == ["x", "unknown"] and made[1].k_group == 1


def test_demographic_disparity_of_berkeley():
    selected, member, stratum, count = rows_of(BERKELEY)
    marginal = demographic_disparity(selected, member, count=count)
    assert marginal.estimate == pytest.approx(1278 / 2771 - 557 / 1755, abs=1e-12)
    made = conditional_demographic_disparity(selected, member, stratum, count=count)
    assert made.overall.estimate < 0 < marginal.estimate
    a = made.strata["A"]
    assert a == pytest.approx(19 / 332 - 89 / 601, abs=1e-12) and made.n == 4526
    low, high = made.overall.interval()
    assert low < made.overall.estimate < high < 0.05


row = st.tuples(st.booleans(), st.booleans(), st.sampled_from("xyz"))


@given(st.lists(row, min_size=1, max_size=30))
def test_conditional_disparity_slow_twin(rows):
    selected, member, stratum = (list(part) for part in zip(*rows, strict=True))
    made = conditional_demographic_disparity(np.array(selected), np.array(member), stratum)
    expected = conditional_disparity(selected, member, stratum)
    if expected is None:
        assert isinstance(made.overall, Undefined) and sum(made.left_out.values()) == len(rows)
    else:
        assert made.overall.estimate == pytest.approx(expected, abs=1e-12)
        assert made.n + sum(made.left_out.values()) == len(rows)


@given(st.lists(row, min_size=4, max_size=12), st.integers(2, 4))
def test_disparity_of_rows_with_counts(rows, times):
    selected, member, stratum = (list(part) for part in zip(*rows, strict=True))
    count = np.arange(len(rows)) % times + 1
    one = conditional_demographic_disparity(np.array(selected), np.array(member), stratum, count=count)
    other = conditional_demographic_disparity(
        np.repeat(selected, count), np.repeat(member, count), np.repeat(stratum, count).tolist()
    )
    assume(isinstance(one.overall, Influenced))
    assert one.overall.estimate == pytest.approx(other.overall.estimate, abs=1e-12)
    assert one.overall.se() == pytest.approx(other.overall.se(), abs=1e-12)


def test_the_disparity_influence_is_its_derivative():
    selected, member, stratum, _ = rows_of({"x": (3, 7, 4, 9), "y": (5, 6, 2, 8)})
    count = np.array([3, 4, 4, 5, 5, 1, 2, 6]) * 10**5
    whole = conditional_demographic_disparity(selected, member, stratum, count=count).overall
    for i in range(8):
        more = count.copy()
        more[i] += 1
        moved = conditional_demographic_disparity(selected, member, stratum, count=more).overall
        assert (moved.estimate - whole.estimate) * more.sum() == pytest.approx(whole.influence[i], abs=1e-4)


def test_mistake_a_stratum_without_refusals_has_no_disparity_of_zero():
    selected = np.array([True, True, True, False, True, False])
    member = np.array([True, False, True, True, False, False])
    made = conditional_demographic_disparity(selected, member, ["x", "x", "y", "y", "y", "y"])
    assert made.strata["x"] is None and made.left_out == {"x": 2}
    alone = conditional_demographic_disparity(selected[2:], member[2:], ["y"] * 4)
    assert made.overall.estimate == alone.overall.estimate
    nothing = demographic_disparity(np.array([True, True]), np.array([True, False]))
    assert isinstance(nothing, Undefined) and "everybody or nobody" in nothing.reason


def test_refusals():
    yes = np.array([True, False])
    with pytest.raises(DataError, match="one stratum a row"):
        stratify(yes, yes, ["x"])
    with pytest.raises(DataError, match="rows '0' are in the group and in its reference"):
        stratify(yes, yes, ["x", "x"], reference=np.array([True, True]))
    with pytest.raises(DataError, match="one truth value per row"):
        stratify(np.array([1, 0]), yes, ["x", "x"])
    with pytest.raises(DataError, match="no strata"):
        standardised_gap([])
    with pytest.raises(UsageError, match="missing for 'F'"):
        standardised_gap(strata_of(BERKELEY), dict.fromkeys("ABCDE", 1.0))
    with pytest.raises(UsageError, match="negative, not finite or all zero"):
        standardised_gap(strata_of(BERKELEY), {**dict.fromkeys("ABCDE", 1.0), "F": math.nan})
    with pytest.raises(UsageError, match="'sideways'"):
        standardised_gap(strata_of(BERKELEY), "sideways")
    with pytest.raises(DataError, match="strata '1', counted from 0"):
        mantel_haenszel([1, 5], [2, 4], [1, 1], [2, 2])
    with pytest.raises(DataError, match="one number per stratum"):
        mantel_haenszel([1], [2, 4], [1, 1], [2, 2])


def test_weights_of_zero_are_given_and_others_refused():
    weights = {**dict.fromkeys("ABCDE", 0.0), "F": 2.0}
    made = standardised_gap(strata_of(BERKELEY), weights)
    assert made.gap == pytest.approx(standardised_gap(strata_of({"F": BERKELEY["F"]})).gap)
    for bad in (-0.5, math.inf):
        with pytest.raises(UsageError, match="weights of 'F' are negative"):
            standardised_gap(strata_of(BERKELEY), {**dict.fromkeys("ABCDE", 1.0), "F": bad})
    with pytest.raises(UsageError, match="weights of all strata are negative, not finite or all zero"):
        standardised_gap(strata_of(BERKELEY), dict.fromkeys("ABCDEF", 0.0))
