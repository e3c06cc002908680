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
