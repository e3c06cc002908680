"""Smoothed empirical differential fairness: a known answer, a slow twin, and no false gap among many groups."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinometer.bias.counts import Counts
from clinometer.bias.differential_fairness import decisions, differential_fairness
from clinometer.errors import DataError, UsageError
from reference import group_metrics


def test_known_answer():
    made = differential_fairness({"a": {"yes": 1, "no": 1}, "b": {"yes": 3, "no": 1}})
    # (1 + .5) / (2 + 1) = .5 against (3 + .5) / (4 + 1) = .7, and .5 against .3.
    assert made.epsilon == pytest.approx(math.log(0.5 / 0.3), abs=1e-12)
    assert (made.outcome, made.likelier, made.less_likely) == ("no", "a", "b")
    assert made.n_comparisons == 2


def test_a_total_concentration_of_one_is_a_half_for_each_of_two_outcomes():
    counts = {"a": Counts(tp=2, fp=1, fn=4, tn=3), "b": Counts(tp=0, fp=6, fn=1, tn=1)}
    made = differential_fairness(decisions(counts), concentration=0.5)
    rates = [(3 + 1 / 2) / (10 + 1), (6 + 1 / 2) / (8 + 1)]
    by_hand = max(abs(math.log(rates[0] / rates[1])), abs(math.log((1 - rates[0]) / (1 - rates[1]))))
    assert made.epsilon == pytest.approx(by_hand, abs=1e-12)


@given(
    st.dictionaries(
        st.sampled_from("abcd"),
        st.fixed_dictionaries({name: st.integers(0, 9) for name in ("x", "y", "z")}),
        min_size=2,
    ),
    st.sampled_from([0.5, 1.0, 3.0]),
)
def test_slow_twin(outcomes, concentration):
    filled = {group: of for group, of in outcomes.items() if sum(of.values())}
    made = differential_fairness(outcomes, concentration=concentration)
    if len(filled) < 2:
        assert made.epsilon is None
    else:
        assert made.epsilon == pytest.approx(
            group_metrics.differential_fairness(filled, concentration), abs=1e-9
        )
        assert made.low <= made.epsilon <= made.high
    assert set(made.without_rows) == set(outcomes) - set(filled)


def test_mistake_a_percentile_bootstrap_of_the_largest_gap_excludes_no_gap():
    generator = np.random.default_rng(0)
    ours, percentile = 0, 0
    for _ in range(100):
        k = generator.binomial(50, 0.3, size=8)
        made = differential_fairness({f"g{i}": {"yes": int(x), "no": 50 - int(x)} for i, x in enumerate(k)})
        ours += made.low == 0
        p = (generator.binomial(50, k / 50, size=(200, 8)) + 0.5) / 51
        gaps = [np.log(rates).max(axis=1) - np.log(rates).min(axis=1) for rates in (p, 1 - p)]
        percentile += np.quantile(np.maximum(*gaps), 0.025) <= 0
    assert ours >= 95 and percentile == 0


def test_the_interval_holds_the_truth_and_finds_a_true_gap():
    generator = np.random.default_rng(1)
    rates = np.array([0.2, 0.4, 0.5])
    truth = max(math.log(0.5 / 0.2), math.log(0.8 / 0.5))
    held = found = 0
    for _ in range(200):
        k = generator.binomial(300, rates)
        made = differential_fairness({f"g{i}": {"yes": int(x), "no": 300 - int(x)} for i, x in enumerate(k)})
        held += made.low <= truth <= made.high
        found += made.low > 0
    assert held >= 190 and found >= 190


def test_a_group_without_rows_is_named_and_never_spoken_for_by_the_prior():
    some = {"a": {"yes": 1, "no": 99}, "b": {"yes": 2, "no": 98}}
    made = differential_fairness({**some, "c": {"yes": 0, "no": 0}})
    assert made.without_rows == ("c",)
    assert made.epsilon == differential_fairness(some).epsilon


def test_refusals():
    with pytest.raises(UsageError, match="concentration is 0"):
        differential_fairness({"a": {"yes": 1, "no": 0}}, concentration=0)
    with pytest.raises(DataError, match="two are expected"):
        differential_fairness({"a": {"yes": 1}, "b": {"yes": 2}})
    with pytest.raises(DataError, match="groups 'a' have a negative"):
        differential_fairness({"a": {"yes": -1, "no": 3}, "b": {"yes": 1, "no": 1}})
    with pytest.raises(UsageError, match="confidence is 2"):
        differential_fairness({"a": {"yes": 1, "no": 0}}, confidence=2)


def test_the_interval_by_hand():
    made = differential_fairness({"a": {"yes": 1, "no": 1}, "b": {"yes": 3, "no": 1}})
    # Two comparisons: z is the upper 1.25 % of the normal curve. var ln p = 1 / (k + a) - 1 / (n + 2 a).
    # "no": ln(.5 / .3), var 1/1.5 - 1/3 + 1/1.5 - 1/5 = .8; "yes": ln(.7 / .5), var 1/3 + 1/3.5 - 1/5 = .419.
    assert made.low == 0.0
    assert made.high == pytest.approx(math.log(0.5 / 0.3) + 2.2414027 * math.sqrt(0.8), abs=1e-6)
    # Of many rows the lower end is above 0: 900 of 1000 beside 100 of 1000, "yes" and "no" alike.
    made = differential_fairness(
        {"a": {"yes": 900, "no": 100}, "b": {"yes": 100, "no": 900}}, concentration=1.0, confidence=0.9
    )
    half = 1.959964 * math.sqrt(1 / 901 + 1 / 101 - 2 / 1002)  # 5 % in two comparisons on two sides
    assert made.epsilon == pytest.approx(math.log(901 / 101))
    assert (made.low, made.high) == pytest.approx((made.epsilon - half, made.epsilon + half), abs=1e-6)
    assert (made.confidence, made.concentration, made.n_comparisons) == (0.9, 1.0, 2)


def test_one_group_alone_and_levels_at_the_edge():
    alone = differential_fairness({"a": {"yes": 1, "no": 0}, "b": {"yes": 0, "no": 0}})
    assert (alone.epsilon, alone.low, alone.high, alone.outcome, alone.likelier) == (None,) * 5
    assert alone.n_comparisons == 0 and alone.without_rows == ("b",)
    tied = differential_fairness({"a": {"yes": 2, "no": 2}, "b": {"yes": 3, "no": 3}})
    assert tied.epsilon == 0.0 and tied.outcome is not None, "no gap is a finding, too"
    with pytest.raises(DataError, match="there is the outcome 'yes'"):
        differential_fairness({"a": {"yes": 1}})
    for confidence in (0.0, 1.0):
        with pytest.raises(UsageError, match="expected between 0 and 1"):
            differential_fairness({"a": {"yes": 1, "no": 0}}, confidence=confidence)
    for concentration in (-1.0, math.inf, math.nan):
        with pytest.raises(UsageError, match="a number above 0"):
            differential_fairness({"a": {"yes": 1, "no": 0}}, concentration=concentration)
