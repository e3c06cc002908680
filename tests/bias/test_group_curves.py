"""Curves of a score per group: counted rows give what rows one by one give, bins are those of the group alone."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from clinometer.bias.group_reliability import group_reliability
from clinometer.bias.group_thresholds import group_thresholds, metrics_with_thresholds
from clinometer.bias.intervals import wilson
from clinometer.bias.metrics import METRICS
from clinometer.bias.policy import GroupRule, Policy
from clinometer.bias.reliability import reliability_curve
from clinometer.errors import PolicyError, UsageError
from clinometer.evidence import from_frame
from reference.pictured import evidence_of, people

RULES = Policy(
    name="curves",
    set_by="the authors of the tests",
    min_group=5,
    groups={"race": GroupRule(values=("Asian", "Black", "White", "nobody")), "sex": GroupRule()},
    intersections=(("race", "sex"),),
)


def counted_and_expanded():
    """The same rows twice: alike ones counted together, and one by one."""
    frame = people(400, 1).drop(columns="id")
    frame["probability"] = frame["probability"].round(1)
    frame["predicted"] = (frame["probability"] >= 0.6).astype(int)
    together = frame.groupby(list(frame.columns), as_index=False).size().rename(columns={"size": "times"})
    made = []
    for one, count in ((together, "times"), (frame, None)):
        table = one.assign(id=[f"r{i}" for i in range(len(one))])
        made.append(
            from_frame(
                table,
                id="id",
                label="approved",
                prediction="predicted",
                score="probability",
                groups=("race", "sex"),
                count=count,
            )
        )
    return made


@pytest.mark.parametrize("attribute", ["race", "race & sex"])
def test_rows_counted_together_give_the_curves_of_rows_one_by_one(attribute):
    together, expanded = counted_and_expanded()
    assert len(together) < len(expanded)
    one, other = (group_reliability(e, attribute, RULES) for e in (together, expanded))
    pd.testing.assert_frame_equal(one.frame, other.frame)
    for left, right in zip(one.groups, other.groups, strict=True):
        assert (left.group, left.n) == (right.group, right.n)
        if left.excess is not None:
            assert (left.excess, left.low, left.high) == pytest.approx((right.excess, right.low, right.high))
    first, second = (
        group_thresholds(e, attribute, "true_positive_rate", RULES) for e in (together, expanded)
    )
    pd.testing.assert_frame_equal(first.frame, second.frame)
    assert np.array_equal(first.gap, second.gap, equal_nan=True)
    assert first.current == second.current == 0.6


def test_bins_are_those_of_the_groups_own_rows():
    frame = people(500, 2)
    made = group_reliability(evidence_of(frame), "race", RULES, n_bins=6)
    for one in made.groups[1:]:
        part = frame[frame["race"] == one.group]
        if not len(part):
            assert one.note == "no rows" and one.excess is None and one.bins == ()
            continue
        alone = reliability_curve(part["probability"], part["approved"].to_numpy() == 1, n_bins=6)
        assert one.bins == alone
        assert one.excess == pytest.approx(part["probability"].mean() - part["approved"].mean())
    assert [one.group for one in made.groups] == ["(all)", "Asian", "Black", "White", "nobody"]


def test_rates_and_the_threshold_in_use_by_hand():
    frame = people(300, 4, shift=0.0)
    made = group_thresholds(evidence_of(frame), "sex", "selection_rate", RULES, most=15)
    assert made.current == frame.loc[frame["predicted"] == 1, "probability"].min()
    for i, name in enumerate(made.groups[1:], start=1):
        score = frame.loc[frame["sex"] == name, "probability"]
        for t, at in enumerate(made.threshold):
            k = int((score >= at).sum())
            assert made.estimate[i, t] == k / len(score)
            assert (made.low[i, t], made.high[i, t]) == wilson(k, len(score))
    assert made.compared == ("F", "M")
    assert 15 <= len(made.threshold) + 2 <= 20  # 15 and the one in use, less the ones that coincide


def test_a_gap_is_between_groups_with_enough_rows_alone():
    frame = people(300, 5)
    few = RULES.model_copy(update={"min_group": 60})
    made = group_thresholds(evidence_of(frame), "race", "selection_rate", few, most=10)
    large = frame["race"].value_counts()
    large = [name for name in made.compared if large[name] >= 60]
    assert 1 < len(large) < len(made.compared)
    places = [made.groups.index(name) for name in large]
    assert np.allclose(made.gap, made.estimate[places].max(axis=0) - made.estimate[places].min(axis=0))
    none = group_thresholds(
        evidence_of(frame), "race", "selection_rate", RULES.model_copy(update={"min_group": 999}), most=10
    )
    assert all(math.isnan(value) for value in none.gap.tolist())


@pytest.mark.parametrize(
    ("predicted", "said"),
    [
        (None, "there are no predictions"),
        ("none", "no row is predicted positive"),
        ("random", "follow no single threshold"),
    ],
)
def test_without_a_threshold_in_use_it_is_said_why(predicted, said):
    frame = people(200, 6)
    frame["predicted"] = 0 if predicted == "none" else np.random.default_rng(0).integers(0, 2, 200)
    evidence = evidence_of(frame, prediction=None) if predicted is None else evidence_of(frame, positive="1")
    made = group_thresholds(evidence, "race")
    assert made.current is None and said in made.note


def test_what_moves_with_a_threshold_and_what_is_refused():
    rates = [m.name for m in METRICS if m.kind == "rate"]
    assert set(metrics_with_thresholds([m.name for m in METRICS])) == set(rates) - {"base_rate"}
    evidence = evidence_of(people(200, 6))
    with pytest.raises(UsageError, match="most is 1; two thresholds"):
        group_thresholds(evidence, "race", most=1)
    with pytest.raises(UsageError, match="the task is regression; curves of a score"):
        group_reliability(evidence, "race", Policy(name="x", task="regression"))
    with pytest.raises((PolicyError, UsageError), match="rase"):
        group_reliability(evidence, "rase")
    made = group_reliability(evidence, "sex")  # a column that the policy does not name
    assert [one.group for one in made.groups] == ["(all)", "F", "M"]
    assert dataclasses.is_dataclass(made)
