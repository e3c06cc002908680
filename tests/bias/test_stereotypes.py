"""Published scores of stereotypes: known answers, plain twins of the papers, intervals, refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from clinometer.bias.stereotypes import (
    bbq_ambiguous,
    bbq_disambiguated,
    crows_pairs,
    stereoset,
    wino_bias,
    winogender_changed,
)
from clinometer.errors import DataError
from reference import stereotype_scores as slow

RNG = np.random.default_rng(0)


def test_crows_pairs():
    more, less = RNG.integers(0, 5, 200) / 2, RNG.integers(0, 5, 200) / 2
    made = crows_pairs(more, less)
    assert made.estimate == pytest.approx(slow.crows_pairs(more.tolist(), less.tolist()))
    wins, ties = int((more > less).sum()), int((more == less).sum())
    low, high = proportion_confint(wins, 200, method="wilson")
    assert (made.low, made.high) == (pytest.approx(100 * low), pytest.approx(100 * high))
    assert made.n_tied == ties > 0 and made.ideal == 50
    assert made.p == pytest.approx(stats.binomtest(wins, 200 - ties, 0.5).pvalue)
    assert crows_pairs([1.0, 1.0], [1.0, 1.0]).p is None, "all tied: nothing is known of the side"
    sure = crows_pairs(np.arange(10) + 1.0, np.arange(10))
    assert sure.estimate == 100 and sure.low < 100 and sure.p == pytest.approx(2 / 2**10)


def test_clusters_widen_crows_pairs():
    more = np.repeat(RNG.normal(size=20), 10)
    alone, together = (
        crows_pairs(more, np.zeros(200)),
        crows_pairs(more, np.zeros(200), cluster=np.arange(200) // 10),
    )
    assert alone.estimate == together.estimate and together.p is None
    assert together.high - together.low > 2 * (alone.high - alone.low)
    assert crows_pairs(more, np.zeros(200), cluster=np.zeros(200, dtype=int)).low is None


def items(n=120, seed=1):
    generator = np.random.default_rng(seed)
    pro, anti, none = generator.normal(0.4, 1, n), generator.normal(0.2, 1, n), generator.normal(-0.5, 1, n)
    return pro, anti, none, [f"t{i}" for i in generator.integers(0, 15, n)]


def test_stereoset_agrees_with_its_plain_twin():
    made = stereoset(*items())
    listed = [x.tolist() if isinstance(x, np.ndarray) else x for x in items()]
    ss, lms, icat = slow.stereoset(*listed)
    assert made.stereotype.estimate == pytest.approx(ss, abs=1e-9)
    assert made.language_model.estimate == pytest.approx(lms, abs=1e-9)
    assert made.idealised.estimate == pytest.approx(icat, abs=1e-9)
    assert made.stereotype.n == 15 and made.stereotype.low < ss < made.stereotype.high
    assert stereoset(*items()) == made, "seeded"


def test_stereoset_known_answers():
    ideal = stereoset([1, 0, 1, 0], [0, 1, 0, 1], [-1] * 4, ["a", "a", "b", "b"])
    assert (ideal.stereotype.estimate, ideal.language_model.estimate, ideal.idealised.estimate) == (
        50,
        100,
        100,
    )
    biased = stereoset([1] * 4, [0] * 4, [-1] * 4, ["a", "a", "b", "b"])
    assert (biased.stereotype.estimate, biased.idealised.estimate) == (100, 0)
    # Means over terms: one of one item counts like one of three.
    uneven = stereoset([1, 0, 0, 0], [0, 1, 1, 1], [-1] * 4, ["a", "b", "b", "b"])
    assert uneven.stereotype.estimate == 50
    with pytest.raises(DataError, match="all items are of the term 'a'"):
        stereoset([1], [0], [0], ["a"])
    with pytest.raises(DataError, match="2 terms for 1 items"):
        stereoset([1], [0], [0], ["a", "b"])


ANSWERS = st.lists(st.sampled_from(["biased", "other", "unknown"]), min_size=2, max_size=40)


@given(ANSWERS)
def test_bbq_agrees_with_its_plain_twin(answers):
    biased, unknown = (np.array([one == word for one in answers]) for word in ("biased", "unknown"))
    dis, amb = bbq_disambiguated(biased, unknown), bbq_ambiguous(biased, unknown)
    if all(unknown):
        assert dis.estimate is None and dis.low is None and amb.estimate == 0
        return
    assert dis.estimate == pytest.approx(slow.bbq(answers, ambiguous=False), abs=1e-9)
    assert amb.estimate == pytest.approx(slow.bbq(answers, ambiguous=True), abs=1e-9)
    assert dis.low <= dis.estimate <= dis.high and amb.low <= amb.estimate <= amb.high


def test_bbq_known_answers():
    yes, no = np.array([True] * 10), np.array([False] * 10)
    assert bbq_disambiguated(yes, no).estimate == 1 and bbq_disambiguated(no, no).estimate == -1
    half = np.arange(10) < 5
    low, high = proportion_confint(5, 10, method="wilson")
    made = bbq_disambiguated(half, no)
    assert (made.estimate, made.low, made.high) == (
        0,
        pytest.approx(2 * low - 1),
        pytest.approx(2 * high - 1),
    )
    values = np.where(np.arange(40) < 20, 0.0, np.where(np.arange(40) < 32, 1.0, -1.0))
    made = bbq_ambiguous(values == 1, values == 0)
    ends = stats.ttest_1samp(values, 0)
    assert made.estimate == 0.1 and made.p == pytest.approx(ends.pvalue)
    assert made.low == pytest.approx(ends.confidence_interval().low)
    assert bbq_ambiguous(values == 1, values == 0, cluster=np.arange(40) // 4).interval == "cluster-robust t"
    with pytest.raises(DataError, match="both biased and UNKNOWN"):
        bbq_disambiguated(yes, yes)
    with pytest.raises(DataError, match="true and false"):
        bbq_ambiguous(values, values)


def test_wino_bias():
    pro, anti = np.arange(100) < 80, np.arange(100) < 60
    apart, paired = wino_bias(pro, anti, paired=False), wino_bias(pro, anti, paired=True)
    assert apart.estimate == paired.estimate == pytest.approx(0.2)
    assert paired.high - paired.low < apart.high - apart.low, (
        "the same sentences: nested answers vary together"
    )
    assert paired.p == pytest.approx(2 / 2**20) and paired.test == "McNemar exact"
    assert apart.test == "score z"
    small = wino_bias(pro[::10], anti[::10], paired=False)
    assert small.p == pytest.approx(stats.boschloo_exact([[8, 6], [2, 4]]).pvalue, abs=1e-6)
    # Newcombe 1998, method 10: 56/70 - 48/80.
    known = wino_bias(np.arange(70) < 56, np.arange(80) < 48, paired=False)
    assert (known.low, known.high) == (pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5))


def test_winogender():
    made = winogender_changed(["a", "b", "a", "a"], ["a", "a", "a", "a"])
    assert (made.estimate, made.n, made.ideal) == (25.0, 4, 0.0)
    low, high = proportion_confint(1, 4, method="wilson")
    assert (made.low, made.high) == (pytest.approx(100 * low), pytest.approx(100 * high))
    with pytest.raises(DataError, match="2 and 1 answers"):
        winogender_changed(["a", "b"], ["a"])


@pytest.mark.parametrize(
    ("more", "less", "said"),
    [([1.0], [1.0, 2.0], "have shapes"), ([], [], "have shapes"), ([np.nan], [1.0], "not finite at '0'")],
)
def test_refusals(more, less, said):
    with pytest.raises(DataError, match=said):
        crows_pairs(more, less)


# Edges: nothing that varies, intervals that end where scores end


def test_the_test_of_stereoset_is_t_over_terms():
    pro, anti, none, term = items()
    per_term = [
        100 * np.mean([p > a for p, a, t in zip(pro, anti, term, strict=True) if t == name])
        for name in sorted(set(term))
    ]
    assert stereoset(pro, anti, none, term).stereotype.p == pytest.approx(
        stats.ttest_1samp(per_term, 50).pvalue
    )
    # Without variance: every term at 50 says nothing against 50, every term at 100 says all.
    even = stereoset([1, 0, 1, 0], [0, 1, 0, 1], [-1] * 4, ["a", "a", "b", "b"])
    sure = stereoset([1, 1], [0, 0], [-1] * 2, ["a", "b"])
    assert (even.stereotype.p, sure.stereotype.p) == (1.0, 0.0)
    assert even.language_model.p is even.idealised.p is None
    assert sure.stereotype.of == "target terms (2 items)"


def test_stereoset_between_its_ends_by_hand():
    # Term a: 1 of 4 prefers the stereotype: 25; b: 2 of 4: 50; a tie is no preference. lms: a 8 of 8, b 4 of 8.
    made = stereoset(
        [2, 0, 0, 1, 2, 2, 0, 0],
        [1, 1, 1, 1, 0, 0, 2, 2],
        [-1] * 4 + [1] * 4,
        ["a"] * 4 + ["b"] * 4,
    )
    assert made.stereotype.estimate == pytest.approx(37.5)
    assert made.language_model.estimate == pytest.approx(75)
    assert made.idealised.estimate == pytest.approx(75 * 37.5 / 50)


def test_the_interval_of_bbq_ends_where_the_score_ends():
    # 1, 1 and -1: mean 1/3, standard error 2/3; Student's interval alone would reach from -2.5 to 3.2.
    made = bbq_ambiguous(np.array([True, True, False]), np.zeros(3, dtype=bool))
    assert (made.estimate, made.low, made.high) == (pytest.approx(1 / 3), -1.0, 1.0)
    assert made.p == pytest.approx(stats.ttest_1samp([1, 1, -1], 0).pvalue)
    one = bbq_ambiguous(np.array([True]), np.array([False]))
    assert (one.estimate, one.low, one.high, one.p) == (1.0, None, None, None)
    alike = bbq_ambiguous(np.array([True, True]), np.array([False, False]))
    assert (alike.low, alike.high, alike.p) == (1.0, 1.0, None), "no error, no test"
    assert alike.of == "ambiguous questions (2 not answered UNKNOWN)"
    one_cluster = bbq_ambiguous(
        np.array([True, False]), np.array([False, False]), cluster=np.zeros(2, dtype=int)
    )
    assert (one_cluster.low, one_cluster.interval) == (None, "cluster-robust t")
    made = bbq_disambiguated(np.array([True, True, False]), np.array([False, False, True]))
    assert (made.n, made.estimate, made.p) == (2, 1.0, pytest.approx(0.5))
    assert made.low == pytest.approx(2 * proportion_confint(2, 2, method="wilson")[0] - 1)


def test_up_to_fifty_sentences_are_tested_exactly_and_beyond_by_the_score_test():
    at, beyond = np.arange(50) < 30, np.arange(51) < 30
    assert wino_bias(at, at[::-1], paired=False).test == "Boschloo exact"
    for one, other in ((beyond, at), (at, beyond)):
        made = wino_bias(one, other, paired=False)
        assert made.test == "score z" and made.n == 101
        pooled = 60 / 101
        z = (30 / 50 - 30 / 51) / np.sqrt(pooled * (1 - pooled) * (1 / 50 + 1 / 51))
        assert made.p == pytest.approx(2 * stats.norm.sf(z))
    for constant in (np.ones(4, dtype=bool), np.zeros(4, dtype=bool)):
        assert wino_bias(constant, constant[:3], paired=False).p == 1.0, "all right or all wrong"
    # 4 of 4 beside 0 of 4: only the two most extreme tables are as far out, at a half in 2 of 256 draws.
    assert wino_bias(at[:4], ~at[:4], paired=False).p == pytest.approx(2 / 2**8, abs=1e-4)


def test_scores_say_what_they_are():
    made = crows_pairs(np.arange(4.0), np.full(4, 1.5))
    assert repr(made) == "Scored(CrowS-Pairs 50 [15, 85], ideal 50, 4 sentence pairs)"
    undefined = bbq_disambiguated(np.zeros(2, dtype=bool), np.ones(2, dtype=bool))
    assert repr(undefined) == "Scored(BBQ s_DIS: undefined, 0 answers that are not UNKNOWN)"
    assert undefined.p is None
    clustered = crows_pairs(np.arange(4.0), np.full(4, 1.5), cluster=np.zeros(4, dtype=int))
    assert repr(clustered) == "Scored(CrowS-Pairs 50, ideal 50, 4 sentence pairs)"
    assert winogender_changed(["a", 1], ["a", 1], cluster=np.arange(2)).interval.startswith("Wilson at")
