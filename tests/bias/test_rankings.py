"""Exposure, skew at the top, divergence: known answers, slow twins, intervals over rankings, refusals."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinometer.bias.rankings import (
    exposure_gap,
    exposure_ratio,
    infeasible_index,
    ndkl,
    ndkl_by_query,
    rankings,
    skew_at,
)
from clinometer.errors import DataError, UsageError
from reference import group_metrics

orders = st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=12), min_size=1, max_size=4)


def laid_out(lists, **more):
    """Rankings from the groups of each one's items, from the top."""
    group = [name for names in lists for name in names]
    query = [i for i, names in enumerate(lists) for _ in names]
    rank = [r + 1 for names in lists for r in range(len(names))]
    return rankings(group, query=query, rank=rank, **more)


def test_one_ranking_by_hand():
    ranked = laid_out(["aabb"])
    every = [1, 1 / math.log2(3), 1 / 2, 1 / math.log2(5)]
    share = (every[0] + every[1]) / sum(every)
    made = exposure_gap(ranked)
    assert made["a"].estimate == pytest.approx(share - 0.5, abs=1e-12)
    assert made["b"].estimate == pytest.approx(0.5 - share, abs=1e-12)
    assert made["a"].low is None and "one ranking" in made["a"].note
    assert exposure_ratio(ranked)["a"].estimate == pytest.approx(2 * share, abs=1e-12)
    assert skew_at(ranked, 2)["a"].estimate == pytest.approx(math.log(2), abs=1e-12)
    assert skew_at(ranked, 3)["b"].estimate == pytest.approx(math.log((1 / 3) / 0.5), abs=1e-12)
    # KL of (1,0), (1,0), (2/3,1/3), (1/2,1/2) from (1/2,1/2).
    third = 2 / 3 * math.log(4 / 3) + 1 / 3 * math.log(2 / 3)
    divergences = [math.log(2), math.log(2), third, 0]
    by_hand = sum(d * e for d, e in zip(divergences, every, strict=True)) / sum(every)
    assert ndkl(ranked).estimate == pytest.approx(by_hand, abs=1e-12)
    # b should have one of the first two, and has none.
    assert infeasible_index(ranked) == {"0": 1} and infeasible_index(ranked, k=1) == {"0": 0}


@given(orders)
def test_slow_twins(lists):
    ranked = laid_out(lists)
    divergence = ndkl_by_query(ranked)
    infeasible = infeasible_index(ranked)
    for i, names in enumerate(lists):
        mix = {name: names.count(name) / len(names) for name in set(names)}
        assert divergence[i] == pytest.approx(group_metrics.ranking_divergence(names, mix), abs=1e-9)
        assert infeasible[str(i)] == group_metrics.infeasible_places(names)
    for name, made in exposure_gap(ranked, replicates=50).items():
        gaps = [
            group_metrics.exposure_share(names, name) - names.count(name) / len(names)
            for names in lists
            if name in names
        ]
        assert made.estimate == pytest.approx(np.mean(gaps), abs=1e-9) and made.n_queries == len(gaps)


@given(orders)
def test_exposure_gaps_of_one_ranking_add_up_to_nothing(lists):
    made = exposure_gap(laid_out(lists[:1]))
    assert sum(part.estimate for part in made.values()) == pytest.approx(0, abs=1e-12)


def test_a_given_mix_counts_those_who_are_not_there():
    ranked = laid_out(["aaaa", "aaaa"], mix={"a": 0.5, "b": 0.5})
    assert exposure_gap(ranked)["b"].estimate == -0.5 and exposure_gap(ranked)["b"].n_queries == 2
    assert exposure_ratio(ranked)["a"].estimate == 2
    assert infeasible_index(ranked) == {"0": 3, "1": 3}
    assert ndkl(ranked).estimate == pytest.approx(math.log(2))
    skew = skew_at(ranked, 2)["b"]
    assert skew.estimate is None and "nobody of the group" in skew.note


def test_a_floor_in_floating_point_is_no_place_short():
    assert math.floor(0.29 * 100) == 28, "the trap"
    names = ["a"] * 71 + ["b"] * 29
    order = np.random.default_rng(0).permutation(100)
    short = infeasible_index(laid_out([[names[i] for i in order]]))
    assert short == {"0": group_metrics.infeasible_places([names[i] for i in order])}
    given_mix = {"a": 0.71, "b": 0.29}
    assert infeasible_index(laid_out([[names[i] for i in order]], mix=given_mix)) == short


def test_scores_are_ranked_from_the_largest_and_items_may_come_in_any_order():
    by_rank = rankings(["a", "b", "a"], query=["q", "q", "q"], rank=[3, 1, 2])
    by_score = rankings(["a", "b", "a"], query=["q", "q", "q"], score=[0.1, 0.9, 0.5])
    assert exposure_gap(by_rank) == exposure_gap(by_score)
    assert by_rank.group.tolist() == by_score.group.tolist()
    mixed = rankings(["a", "b", "b", "a"], query=["q", "r", "q", "r"], rank=[1, 1, 2, 2])
    apart = laid_out(["ab", "ba"])
    assert np.array_equal(ndkl_by_query(mixed), ndkl_by_query(apart))


def test_items_of_nobody_known_are_a_group():
    made = exposure_gap(rankings(["a", None], rank=[1, 2]))
    assert list(made) == ["a", "unknown"]


def test_intervals_over_rankings_cover_and_narrow():
    generator = np.random.default_rng(0)

    def drawn(n):
        return laid_out([generator.permutation(["a"] * 4 + ["b"] * 6).tolist() for _ in range(n)])

    held = 0
    for seed in range(100):
        made = exposure_gap(drawn(40), replicates=400, seed=seed)["a"]
        held += made.low <= 0 <= made.high
    assert held >= 87
    wide, narrow = (ndkl(drawn(n)) for n in (20, 500))
    assert narrow.high - narrow.low < (wide.high - wide.low) / 3
    pushed = laid_out([["b"] * 6 + ["a"] * 4 for _ in range(30)])
    assert exposure_gap(pushed)["a"].high < 0, "and a true one is found"
    assert ndkl(pushed).low > narrow.high


def test_draws_without_the_group_leave_the_lower_end_open():
    made = skew_at(laid_out(["ab", "ba", "ba", "ba"]), 1)["a"]
    assert made.estimate == pytest.approx(math.log(0.25 / 0.5))
    assert made.low is None and made.high is not None and "no lower end" in made.note


def test_refusals():
    with pytest.raises(UsageError, match="either the rank of each item or its score"):
        rankings(["a"], rank=[1], score=[0.5])
    with pytest.raises(DataError, match="no items"):
        rankings([], rank=[])
    with pytest.raises(DataError, match=r"1 rankings are not ranked 1, 2, 3.*'q'"):
        rankings(["a", "b", "a"], query=["q", "q", "r"], rank=[1, 3, 1])
    with pytest.raises(DataError, match="not ranked 1, 2, 3"):
        rankings(["a", "b"], rank=[1, 1])
    with pytest.raises(DataError, match="two items with the same score"):
        rankings(["a", "b"], score=[0.5, 0.5])
    with pytest.raises(DataError, match="no share for 'b'"):
        rankings(["a", "b"], rank=[1, 2], mix={"a": 1.0})
    with pytest.raises(UsageError, match="not above 0 and 1 in all"):
        rankings(["a", "b"], rank=[1, 2], mix={"a": 0.5, "b": 0.6})
    with pytest.raises(DataError, match="group names 2 items, query 1"):
        rankings(["a", "b"], query=["q"], rank=[1, 2])
    with pytest.raises(UsageError, match="k is 0"):
        skew_at(laid_out(["ab"]), 0)
    with pytest.raises(UsageError, match="k is 0"):
        infeasible_index(laid_out(["ab"]), k=0)
    with pytest.raises(UsageError, match="10 replicates"):
        ndkl(laid_out(["ab"]), replicates=10)


def test_exposure_falls_with_the_logarithm_of_the_place_below_the_second_too():
    # Six places: 1, 1/log2(3), 1/2, 1/log2(5), 1/log2(6), 1/3, of which "a" has the last three.
    every = [1 / math.log2(1 + r) for r in range(1, 7)]
    share = sum(every[3:]) / sum(every)
    ranked = laid_out(["bbbaaa", "aaabbb"])
    made = exposure_gap(ranked)["a"]
    assert made.estimate == pytest.approx(((share - 0.5) + (0.5 - share)) / 2, abs=1e-12)
    assert made.n_queries == 2 and made.n_items == 6
    alone = laid_out(["bbbaaa"])
    assert exposure_gap(alone)["a"].estimate == pytest.approx(share - 0.5)
    assert exposure_ratio(alone)["a"].estimate == pytest.approx(2 * share)
    # Two rankings of unlike size: gaps are averaged over rankings, ratios are of sums over them.
    two = laid_out(["bbbaaa", "ab"])
    first = 1 / (1 + 1 / math.log2(3))
    assert exposure_gap(two)["a"].estimate == pytest.approx(((share - 0.5) + (first - 0.5)) / 2)
    assert exposure_ratio(two)["a"].estimate == pytest.approx(share + first)


def test_a_single_place_and_the_first_of_all():
    ranked = laid_out(["ab"])
    assert skew_at(ranked, 1)["a"].estimate == pytest.approx(math.log(2))
    assert skew_at(ranked, 9)["a"].estimate == pytest.approx(0.0), (
        "a short ranking has all of its items as its first"
    )
    with pytest.raises(UsageError, match="first place or more"):
        infeasible_index(ranked, k=-1)
    with pytest.raises(DataError, match="1 rankings are not ranked"):
        rankings(["a", "b"], rank=[2, 3])
