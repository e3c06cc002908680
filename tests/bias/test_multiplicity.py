"""Adjusted p-values: order does not matter, statsmodels agrees, gates hold their error rate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinometer.bias.multiplicity import benjamini_hochberg, benjamini_yekutieli, gatekeeping, holm
from clinometer.errors import UsageError

PAPER = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344]
PAPER += [0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1]


@given(st.permutations(range(15)))
def test_mistake_positions_taken_for_ranks(order):
    # Benjamini & Hochberg 1995, section 3.2: 4 are rejected, by Bonferroni 3, in whatever order they come.
    p = np.asarray(PAPER)[order]
    assert sorted(p[benjamini_hochberg(p) <= 0.05]) == PAPER[:4]
    assert sorted(p[p * 15 <= 0.05]) == PAPER[:3]
    assert benjamini_hochberg(p) == pytest.approx(benjamini_hochberg(PAPER)[order], abs=1e-15)
    assert holm(p) == pytest.approx(holm(PAPER)[order], abs=1e-15)


def test_the_mistake_rejects_others_in_almost_every_order():
    generator = np.random.default_rng(0)
    wrong = 0
    for _ in range(200):
        p = generator.permutation(PAPER)
        adjusted = p * 15 / (np.argsort(p) + 1)  # argsort() + 1 is a place, no rank
        wrong += set(p[adjusted <= 0.05]) != set(PAPER[:4])
    assert wrong > 150


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_agreement_with_statsmodels(p):
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    for ours, method in ((holm, "holm"), (benjamini_hochberg, "fdr_bh"), (benjamini_yekutieli, "fdr_by")):
        assert ours(p) == pytest.approx(multitest.multipletests(p, method=method)[1], abs=1e-12)


def test_nothing_is_significant_behind_a_closed_gate():
    made = gatekeeping({"race": 0.4, "sex": 0.001}, {"race": [1e-9, 0.5], "sex": [0.002, 0.8]})
    assert made["race"].any_difference == 0.8 and made["race"].members.min() == 0.8
    assert made["sex"].any_difference == pytest.approx(0.002)
    assert made["sex"].members == pytest.approx([0.008, 1.0])


def test_gates_hold_the_chance_of_any_false_rejection():
    # Three attributes of four groups, one of them with a real difference: 60 rows each.
    from clinometer.bias.intervals import exceeds_p
    from clinometer.bias.tests_of_rates import homogeneity

    generator = np.random.default_rng(0)
    pairs = [(i, j) for i in range(4) for j in range(i)]
    runs, false, found, ungated = 250, 0, 0, 0
    for _ in range(runs):
        counts = {
            "a": generator.binomial(60, 0.3, 4),
            "b": generator.binomial(60, 0.5, 4),
            "c": generator.binomial(60, [0.3, 0.3, 0.3, 0.65]),
        }
        gates = {name: homogeneity(k.tolist(), [60] * 4).p for name, k in counts.items()}
        members = {
            name: [exceeds_p(int(k[i]), 60, int(k[j]), 60) for i, j in pairs] for name, k in counts.items()
        }
        made = gatekeeping(gates, members)
        true_null = [j for j, (i, _) in enumerate(pairs) if i != 3]
        false += bool(
            made["a"].any_difference <= 0.05
            or made["b"].any_difference <= 0.05
            or np.any(made["c"].members[true_null] <= 0.05)
        )
        ungated += any(min(members[name]) <= 0.05 for name in "ab")
        found += bool(np.any(made["c"].members <= 0.05))
    assert false <= 0.07 * runs
    assert found > 0.7 * runs
    assert ungated > 0.25 * runs  # the control


def test_refusals():
    with pytest.raises(UsageError, match="'sex', 'sexx' is in one of"):
        gatekeeping({"sex": 0.1}, {"sexx": [0.1]})
    with pytest.raises(ValueError, match="between 0 and 1"):
        gatekeeping({"sex": 1.2}, {"sex": [0.1]})
