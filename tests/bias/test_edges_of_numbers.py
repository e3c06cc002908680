"""Edges of what is asked for: a confidence between none and all, the fewest replicates, one row alone."""

import numpy as np
import pytest

from clinometer.bias.counts import Counts
from clinometer.bias.gaps import (
    average_absolute_odds_difference,
    average_odds_difference,
    equalized_odds_difference,
)
from clinometer.bias.rankings import exposure_gap, exposure_ratio, ndkl, rankings, skew_at
from clinometer.bias.resampling import count_cells
from clinometer.bias.span_labels import count_tagged_spans, share_interval, span_f1
from clinometer.bias.stereotypes import bbq_disambiguated, wino_bias
from clinometer.bias.strata import standardised_gap, stratify
from clinometer.bias.tests_of_rates import homogeneity
from clinometer.bias.word_association import weat
from clinometer.errors import DataError, UsageError

RANKED = rankings(
    ["a", "b", "b", "a", "a", "b"] * 2, query=[i // 3 for i in range(12)], score=np.arange(12.0) * 5 % 7
)
STRATA = stratify(
    np.array([1, 0, 1, 0, 0, 1, 1, 0], dtype=bool),
    np.array([1, 1, 0, 0] * 2, dtype=bool),
    list("sssstttt"),
)
TAGS = {f"d{i}": ["B-X", "O", "B-X"] for i in range(4)}
SPANS = count_tagged_spans(TAGS, {**TAGS, "d0": ["O", "O", "B-X"]})
DRAWN = {
    "exposure_gap": lambda **more: exposure_gap(RANKED, **more),
    "exposure_ratio": lambda **more: exposure_ratio(RANKED, **more),
    "skew_at": lambda **more: skew_at(RANKED, 2, **more),
    "ndkl": lambda **more: ndkl(RANKED, **more),
}
SURE = {
    **{
        name: lambda confidence, of=of: of(confidence=confidence, replicates=50) for name, of in DRAWN.items()
    },
    "standardised_gap": lambda confidence: standardised_gap(STRATA, confidence=confidence),
    "share_interval": lambda confidence: share_interval(span_f1(SPANS), confidence),
}


@pytest.mark.parametrize("name", SURE)
def test_a_confidence_is_more_than_none_and_less_than_all(name):
    for confidence in (0.0, 1.0, -0.1, 1.1, float("nan")):
        with pytest.raises(UsageError, match=f"confidence (is )?{confidence}[:;] expected .*between 0 and 1"):
            SURE[name](confidence)
    for confidence in (1e-6, 0.999):
        SURE[name](confidence)


@pytest.mark.parametrize("name", DRAWN)
def test_fifty_replicates_are_the_fewest(name):
    DRAWN[name](replicates=50)
    for replicates in (49, 0, -1):
        with pytest.raises(
            UsageError,
            match=rf"^{replicates} replicates at confidence 0\.95: expected 50 or more, between 0 and 1\.$",
        ):
            DRAWN[name](replicates=replicates)


def test_one_question_is_enough_and_none_is_not():
    one = np.array([True])
    assert wino_bias(one, one, paired=True).n == 2  # sentences, one of each kind
    assert bbq_disambiguated(one, ~one).n == 1
    none = np.array([], dtype=bool)
    with pytest.raises(DataError, match="true and false, one for each question, are expected"):
        wino_bias(none, none, paired=True)


def test_documents_have_an_interval_from_two_on():
    two = count_tagged_spans(
        {name: TAGS[name] for name in ("d0", "d1")}, {name: TAGS[name] for name in ("d0", "d1")}
    )
    low, high = share_interval(span_f1(two))
    assert 0 < low < high == 1
    assert share_interval(span_f1(two, rows=np.array([0]))) is None


def test_a_group_without_rows_is_none_of_those_that_are_compared():
    some, more = (
        homogeneity([3, 9], [10, 12], replicates=99),
        homogeneity([3, 0, 9], [10, 0, 12], replicates=99),
    )
    assert some == more
    with pytest.raises(DataError, match=r"^1 groups have rows; two are needed to compare\.$"):
        homogeneity([3, 0], [10, 0])


@pytest.mark.parametrize(
    "difference", [equalized_odds_difference, average_odds_difference, average_absolute_odds_difference]
)
def test_odds_are_compared_where_both_rates_are_there(difference):
    whole = Counts(tp=3, fn=1, fp=1, tn=3)
    for lame in (Counts(tp=3, fn=1), Counts(fp=1, tn=3), Counts()):
        assert difference(whole, lame) is None and difference(lame, whole) is None
    assert difference(whole, whole) == 0


def test_codes_reach_from_none_to_the_last():
    assert count_cells([np.array([0, 2, 2])], [3]).tolist() == [1, 0, 2]
    assert count_cells([np.array([], dtype=int)], [2]).tolist() == [0, 0]
    for bad in ([0, 3], [-1, 2]):
        with pytest.raises(
            DataError, match=rf"^codes reach from {min(bad)} to {max(bad)}; 0 to 2 is expected\.$"
        ):
            count_cells([np.array(bad)], [3])


def test_associations_are_drawn_at_least_ninety_nine_times():
    x, y = (np.array([[np.cos(k + 3 * s), np.sin(k + 3 * s)] for k in range(12)]) for s in (0.1, 0.35))
    for permutations in (98, 0):
        with pytest.raises(UsageError, match=rf"^permutations is {permutations}; 99 or more are expected\.$"):
            weat(x, y, x[:3], y[:3], replicates=50, permutations=permutations)
    made = weat(x, y, x[:3], y[:3], replicates=50, permutations=99)
    assert 0 < made.p <= 1 and round(100 * made.p) == pytest.approx(100 * made.p)
