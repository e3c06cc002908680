"""Words at their limits: the fewest draws and examples, and which columns a simultaneous interval counts."""

import numpy as np
import pytest

from clinometer.bias import parts_of_gaps
from clinometer.bias.ledger import contrast_of
from clinometer.bias.parts_of_gaps import NAMES, parts_of_gap
from clinometer.bias.words import word_differences, word_effects
from clinometer.errors import DataError, UsageError
from reference.dividing import attributed


def record(n=12):
    """Two words in every example, and one in the first two alone."""
    generator = np.random.default_rng(0)
    tokens = [["plain", "other", "rare"] if i < 2 else ["plain", "other"] for i in range(n)]
    return attributed(tokens, [generator.normal(size=len(one)).tolist() for one in tokens])


GROUPS = ["a", "b"] * 6


@pytest.mark.parametrize(
    ("minimum", "draws", "confidence"),
    [
        (0, 50, 0.95),
        (-1, 50, 0.95),
        (1, 49, 0.95),
        (1, 0, 0.95),
        (1, 50, 0.0),
        (1, 50, 1.0),
        (1, 50, -0.1),
        (1, 50, 1.1),
    ],
)
def test_numbers_beyond_their_limits_are_refused_with_all_three(minimum, draws, confidence):
    with pytest.raises(DataError) as raised:
        word_effects(record(), minimum=minimum, replicates=draws, confidence=confidence)
    assert str(raised.value) == (
        f"minimum is {minimum}, draws {draws}, confidence {confidence}: expected 1 or more, 50 or more, "
        "between 0 and 1."
    )


def test_numbers_at_their_limits_are_taken():
    assert len(word_effects(record(), minimum=1, replicates=50)) == 3
    assert len(word_effects(record(), minimum=1, replicates=51)) == 3
    narrow, wide = (
        {one.unit: one for one in word_effects(record(), replicates=200, confidence=confidence)}["plain"]
        for confidence in (1e-9, 1 - 1e-9)
    )
    assert wide.low < narrow.low <= narrow.high < wide.high
    for name, value in (("minimum", 0), ("permutations", 49)):
        with pytest.raises(DataError, match="expected 1 or more, 50 or more"):
            word_differences(record(), GROUPS, "a", **{name: value})
    made = word_differences(record(), GROUPS, "a", minimum=1, permutations=50)
    assert {one.unit for one in made} == {"plain", "other"}
    assert all(one.p * 51 == pytest.approx(round(one.p * 51)) and one.p >= 1 / 51 for one in made)


def test_a_word_is_counted_from_exactly_the_minimum_of_examples_on():
    for minimum, found in ((1, 3), (2, 3), (3, 2), (12, 2)):
        assert len(word_effects(record(), minimum=minimum, replicates=50)) == found
    with pytest.raises(DataError) as raised:
        word_effects(record(), minimum=13, replicates=50)
    assert str(raised.value) == (
        "no unit occurs in 13 of the 12 examples; the most frequent is in 12. Lower minimum, or give more rows."
    )
    assert len(word_differences(record(), GROUPS, "a", minimum=6, permutations=50)) == 2
    with pytest.raises(DataError) as raised:
        word_differences(record(), GROUPS, "a", minimum=7, permutations=50)
    assert str(raised.value) == (
        "no unit occurs in 7 examples of both 'a' (6 examples) and 'everyone else' (6). Lower minimum, or give "
        "more rows."
    )


def test_five_examples_and_a_thousand_draws_where_nothing_is_asked():
    assert word_effects(record()) == word_effects(
        record(), minimum=5, fold_case=True, contexts=3, confidence=0.95, replicates=1000, seed=0
    )
    assert word_differences(record(), GROUPS, "a") == word_differences(
        record(), GROUPS, "a", None, minimum=5, fold_case=True, permutations=2000, seed=0
    )


# Parts of a gap


@pytest.mark.parametrize("words", [3, 4])
def test_both_parts_of_every_unit_are_the_family_and_the_totals_are_not(monkeypatch, words):
    """The simultaneous width of a unit counts its frequency and its treatment, and no part of the whole gap."""
    seen = {}

    def watched(values, weights, **settings):
        seen.update(settings, columns=values.shape[1], made=bootstrap_t(values, weights, **settings))
        return seen["made"]

    bootstrap_t = parts_of_gaps.bootstrap_t
    monkeypatch.setattr(parts_of_gaps, "bootstrap_t", watched)
    generator = np.random.default_rng(1)
    names = [f"w{i}" for i in range(words)]
    tokens = [[name for name in names if generator.random() < 0.7] or names[:1] for _ in range(60)]
    made = attributed(tokens, [generator.normal(size=len(one)).tolist() for one in tokens])
    pair = contrast_of(made.ids, ["a"] * 30 + ["b"] * 30, "group", "a", "b")
    found = parts_of_gap(made, pair, minimum=2, replicates=60)
    assert len(found.units) == words
    assert seen["family"] == 2 * words and seen["columns"] == 2 * words + len(NAMES) + 1
    near, far = seen["made"].near, seen["made"].far
    for i, one in enumerate(found.units):
        assert one.frequency_high - one.frequency == pytest.approx(far[i])
        assert one.treatment_high - one.treatment == pytest.approx(far[words + i])
        assert one.frequency - one.frequency_low == pytest.approx(far[i])
        assert one.treatment - one.treatment_low == pytest.approx(far[words + i])
    for part, width in zip(found.parts, near[2 * words :], strict=False):
        assert (part.high - part.estimate, part.estimate - part.low) == pytest.approx((width, width))
    assert (found.gap_high - found.gap, found.gap - found.gap_low) == pytest.approx((near[-1], near[-1]))


def test_the_minimum_of_parts_is_2_rows_and_a_unit_at_it_is_divided():
    made = record(40)
    pair = contrast_of(made.ids, ["a", "b"] * 20, "group", "a", "b")
    with pytest.raises(UsageError) as raised:
        parts_of_gap(made, pair, minimum=1, replicates=50)
    assert str(raised.value) == "minimum is 1; 2 rows or more are needed for an interval."
    two, three = (parts_of_gap(made, pair, minimum=minimum, replicates=50) for minimum in (2, 3))
    assert (two.n_too_rare, three.n_too_rare) == (0, 1)
    assert [one.unit for one in two.units] == ["plain", "other", "rare"]
    assert [one.unit for one in three.units] == ["plain", "other"]
    with pytest.raises(DataError, match="no unit is in 41 rows of the contrast"):
        parts_of_gap(made, pair, minimum=41, replicates=50)
