"""The four-fifths rule: 80 % is not below 80 %, significance and small numbers stand apart, shortfalls."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from clinometer.bias.four_fifths import four_fifths, impact_of
from clinometer.errors import DataError, UsageError
from clinometer.evidence import from_columns


def by_name(counts, **settings):
    return {one.group: one for one in impact_of(counts, **settings)}


def test_question_and_answer_11():
    made = by_name({"a": (60, 100), "b": (45, 100), "c": (48, 100), "d": (51, 100)})
    assert [made[g].ratio for g in "bcd"] == [0.75, 0.8, 0.85]
    assert [made[g].below_four_fifths for g in "abcd"] == [False, True, False, False]


def test_the_trap_of_floating_point_is_real_and_avoided():
    assert (4 / 25) / (1 / 5) < 0.8
    assert by_name({"a": (1, 5), "b": (4, 25)})["b"].below_four_fifths is False


@pytest.mark.parametrize("scale", [1, 7, 10**6])
def test_eighty_per_cent_is_not_below_eighty_per_cent(scale):
    made = by_name({"high": (9 * scale, 30 * scale), "low": (12 * scale, 50 * scale)})
    assert made["low"].below_four_fifths is False


def test_published_adverse_impact():
    female = by_name({"female": (510, 2441), "male": (925, 2409)})["female"]
    assert round(female.ratio, 3) == 0.544
    assert round(female.z, 3) == -13.354
    assert (female.shortfall_to_rule, female.shortfall_to_parity) == (240, 427)
    assert female.below_four_fifths is True
    assert female.small_numbers is False
    assert female.p == pytest.approx(stats.fisher_exact([[510, 1931], [925, 1484]]).pvalue, rel=1e-9)


def test_below_four_fifths_on_small_numbers_is_said_and_is_not_significant():
    made = by_name({"few": (2, 4), "many": (40, 60)})["few"]
    assert made.below_four_fifths is True
    assert made.small_numbers is True
    assert (made.moves_to_rule, made.moves_to_parity) == (1, 1)
    assert made.p > 0.5


def test_a_significant_difference_above_four_fifths_is_still_reported():
    made = by_name({"a": (9000, 10_000), "b": (8000, 10_000)})["b"]
    assert made.below_four_fifths is False
    assert made.p_adjusted < 1e-10
    assert made.small_numbers is False


@given(st.integers(0, 30), st.integers(1, 30), st.integers(1, 30), st.integers(1, 30))
def test_moves_are_the_fewest_that_do(k, n, k_reference, n_reference):
    k, k_reference = min(k, n), min(k_reference, n_reference)
    if k * n_reference > k_reference * n:
        return
    made = by_name({"g": (k, n), "r": (k_reference, n_reference)}, reference="r")["g"]

    def done(m, part):
        return 5 * (k + m) * n_reference >= part * n * (k_reference - m)

    for part, told in ((4, made.moves_to_rule), (5, made.moves_to_parity)):
        possible = [m for m in range(min(n - k, k_reference) + 1) if done(m, part)]
        assert told == (possible[0] if possible else None)


def test_holm_is_over_the_groups_compared():
    made = by_name({"a": (60, 100), "b": (45, 100), "c": (48, 100)})
    low, high = sorted([made["b"].p, made["c"].p])
    assert sorted([made["b"].p_adjusted, made["c"].p_adjusted]) == pytest.approx(
        [2 * low, max(2 * low, high)]
    )
    assert made["a"].p is None


def evidence(groups, hits):
    return from_columns({"group": groups, "hit": hits}, prediction="hit", groups=["group"])


def test_from_rows_the_reference_is_the_highest_rate_and_unknown_is_counted():
    made = four_fifths(
        evidence(["2"] * 10 + ["0"] * 10 + [None], [1] * 5 + [0] * 5 + [1] * 9 + [0] + [1]), "group"
    )
    assert made.reference == "0"  # neither the highest value nor the largest
    assert made.n == 21
    assert made.n_unknown == 1
    assert made.of("2").ratio == pytest.approx(5 / 9)
    assert "1 rows have no recorded group" in " ".join(made.notes)
    assert "2: below four fifths; the difference is not significant" in " ".join(made.notes)
    assert list(made.frame["group"]) == ["0", "2"]


def test_groups_of_any_size_and_of_nobody_are_shown():
    made = four_fifths(evidence(["a", "a", "b"], [1, 1, 0]), "group", groups=["a", "b", "z"])
    assert [one.group for one in made.groups] == ["a", "b", "z"]
    assert made.of("z").status == "insufficient" and made.of("z").ratio is None
    assert made.of("b").ratio == 0


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: four_fifths(evidence(["a", "b"], [0, 0]), "group"), DataError, "nobody of . was selected"),
        (lambda: four_fifths(evidence(["a", "a"], [1, 0]), "group"), DataError, "1 groups with anybody"),
        (lambda: four_fifths(evidence(["a", "b"], [1, 0]), "group", reference="c"), UsageError, "no rows"),
        (lambda: four_fifths(evidence(["a", "b"], [1, 0]), "group", few_moves=0), UsageError, "1 or more"),
        (
            lambda: four_fifths(from_columns({"g": ["a"]}, groups=["g"]), "g"),
            DataError,
            "name a prediction column",
        ),
    ],
)
def test_refusals(make, error, said):
    with pytest.raises(error, match=said):
        make()
