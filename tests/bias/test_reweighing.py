"""Kamiran and Calders' weights: the paper's own example, independence under them, what no weight can mend."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinometer.bias.reweighing import reweighing
from clinometer.errors import DataError, UsageError
from reference.fixing import reweighed

# Ten applicants, five women of whom two are accepted, five men of whom four are.
WOMEN_AND_MEN = ["f"] * 5 + ["m"] * 5
ACCEPTED = np.array([True] * 2 + [False] * 3 + [True] * 4 + [False])


def test_ten_applicants_by_hand():
    made = reweighing(ACCEPTED, WOMEN_AND_MEN)
    assert made.groups == ("f", "m")
    assert made.weight == pytest.approx(np.array([[2 / 3, 1.5], [2.0, 0.75]]))
    assert made.frame.loc["f", "positive"] == pytest.approx(1.5)
    assert made.rows(ACCEPTED, WOMEN_AND_MEN) == pytest.approx(
        reweighed(list(zip(WOMEN_AND_MEN, ACCEPTED.tolist(), strict=True)))
    )


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), min_size=1, max_size=60))
def test_label_and_group_are_independent_under_the_weights(rows):
    rows = [*rows, *((g, y) for g in "abc" for y in (False, True))]
    group = np.array([g for g, _ in rows])
    label = np.array([y for _, y in rows])
    weight = reweighing(label, group.tolist()).rows(label, group.tolist())
    assert weight == pytest.approx(reweighed(rows), rel=1e-9)
    for g in "abc":
        here = group == g
        assert weight[here].sum() == pytest.approx(here.sum())  # each group weighs what it did
        assert weight[here & label].sum() / weight[here].sum() == pytest.approx(label.mean())
    assert weight[label].sum() == pytest.approx(label.sum())


def test_negative_control_without_weights_they_are_not():
    here = np.array(WOMEN_AND_MEN) == "f"
    assert ACCEPTED[here].mean() < ACCEPTED.mean() - 0.1


def test_counts_are_rows_written_out():
    label, group = np.array([True, False, True, False]), ["a", "a", "b", "b"]
    count = np.array([3, 1, 2, 5])
    together = reweighing(label, group, weight=count)
    apart = reweighing(np.repeat(label, count), np.repeat(group, count).tolist())
    assert together.weight == pytest.approx(apart.weight, rel=1e-12)


def test_unknown_rows_are_counted_in_nothing_and_keep_1():
    label = np.append(ACCEPTED, [True, True])
    group = [*WOMEN_AND_MEN, None, None]
    made = reweighing(label, group)
    assert made.weight == pytest.approx(reweighing(ACCEPTED, WOMEN_AND_MEN).weight)
    assert made.rows(label, group)[-2:].tolist() == [1.0, 1.0]


def test_refusals():
    with pytest.raises(DataError, match=r"no rows of 'f, positive'.*no weight makes"):
        reweighing(np.array([False, True, False]), ["f", "m", "m"])
    with pytest.raises(DataError, match="no row has a known group"):
        reweighing(np.array([True]), [None])
    with pytest.raises(UsageError, match=r"negative or no number in rows '1'"):
        reweighing(np.array([True, False]), ["a", "a"], weight=[1.0, -1.0])
    with pytest.raises(DataError, match="one truth value per row"):
        reweighing(np.array([1, 0]), ["a", "a"])
    with pytest.raises(DataError, match="no weight for the group 'x'"):
        reweighing(ACCEPTED, WOMEN_AND_MEN).rows(np.array([True]), ["x"])
