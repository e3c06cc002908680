"""Costs of decisions: by hand, files that agree, intervals by group and cluster, refusals that name the cell."""

import csv
import gzip
import math
from pathlib import Path

import numpy as np
import pytest

from clinometer.bias.cost_matrices import cost_matrix, read_costs
from clinometer.bias.costs import cost_difference, costs_of, expected_cost, group_costs
from clinometer.bias.scored import Undefined
from clinometer.errors import DataError, PolicyError, UsageError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
LOAN = {True: {True: -100.0, False: 400}, False: {True: 2000, False: 0}}


def test_by_hand():
    matrix = cost_matrix(LOAN, "EUR")
    assert matrix.labels == ("true", "false") and matrix.predictions == ("true", "false")
    label = np.array([True, True, False, False, True])
    prediction = np.array([True, False, True, False, True])
    cost = costs_of(label, prediction, matrix)
    assert cost.tolist() == [-100, 400, 2000, 0, -100]
    assert expected_cost(cost).estimate == 440
    made = group_costs(label, prediction, ["a", "a", "b", "b", None], matrix)
    assert [(g.group, g.n, g.per_decision, g.total) for g in made] == [
        ("a", 2, 150, 300),
        ("b", 2, 1000, 2000),
        ("unknown", 1, -100, -100),
    ]
    assert made[0].unit == "EUR" and made[0].low < 150 < made[0].high
    assert made[2].low is None and made[2].note == "one row has no standard error"


def test_intervals_are_students_and_the_difference_welchs():
    from scipy import stats

    generator = np.random.default_rng(0)
    label, prediction = generator.random((2, 80)) < 0.5
    matrix = cost_matrix(LOAN, "EUR")
    cost = costs_of(label, prediction, matrix)
    group = ["a"] * 30 + ["b"] * 50
    a = group_costs(label, prediction, group, matrix)[0]
    peer = stats.ttest_1samp(cost[:30], 0).confidence_interval()
    assert (a.low, a.high) == pytest.approx(tuple(peer), abs=1e-9)
    gap, ends = cost_difference(cost, np.arange(30), np.arange(30, 80))
    test = stats.ttest_ind(cost[:30], cost[30:], equal_var=False)
    assert gap == pytest.approx(cost[:30].mean() - cost[30:].mean())
    assert ends == pytest.approx(tuple(test.confidence_interval()), abs=1e-9)
    assert isinstance(cost_difference(cost, np.arange(0), np.arange(3)), Undefined)
    weight = generator.random(80)
    assert expected_cost(cost, weight=weight).estimate == pytest.approx(np.average(cost, weights=weight))


def test_counts_are_rows():
    matrix = cost_matrix(LOAN, "EUR")
    label, prediction = np.array([True, False, True]), np.array([False, False, True])
    group, count = np.array(["a", "a", "b"]), np.array([3, 2, 4])
    collapsed = group_costs(label, prediction, group.tolist(), matrix, count=count)
    spread = group_costs(
        np.repeat(label, count), np.repeat(prediction, count), np.repeat(group, count).tolist(), matrix
    )
    for one, other in zip(collapsed, spread, strict=True):
        assert (one.group, one.n, one.note) == (other.group, other.n, other.note)
        assert (one.per_decision, one.total) == pytest.approx((other.per_decision, other.total))
    assert (collapsed[0].low, collapsed[0].high) == pytest.approx((spread[0].low, spread[0].high))
    assert collapsed[1].low is None and "costs the same" in collapsed[1].note


def test_a_group_all_of_whose_rows_count_nought_has_no_cost():
    matrix = cost_matrix(LOAN, "EUR")
    label, prediction, count = (
        np.array([True, False, True]),
        np.array([False, False, True]),
        np.array([2, 1, 0]),
    )
    some, none = group_costs(label, prediction, ["a", "a", "b"], matrix, count=count)
    assert some.n == 3 and some.per_decision is not None and some.note == ""
    assert (none.group, none.n, none.per_decision, none.low, none.high) == ("b", 0, None, None, None)
    assert (none.total, none.unit, none.note) == (0.0, "EUR", "nobody in the denominator")
    cost = costs_of(label, prediction, matrix)
    for one, other in (([0, 1], [2]), ([2], [0, 1])):
        gap = cost_difference(cost, np.array(one), np.array(other), count=count)
        assert isinstance(gap, Undefined) and (gap.reason, gap.n) == ("nobody in the denominator", 0)


def test_repeated_people_count_once_for_the_interval():
    matrix = cost_matrix(LOAN, "EUR")
    label, prediction = np.array([True, False, True, False]), np.array([True, True, False, False])
    times = 5
    person = np.repeat(np.arange(4), times)
    many = (np.repeat(label, times), np.repeat(prediction, times), ["a"] * 20, matrix)
    once = group_costs(label, prediction, ["a"] * 4, matrix)[0]
    by_person, naive = group_costs(*many, cluster=person)[0], group_costs(*many)[0]
    assert (by_person.low, by_person.high) == pytest.approx((once.low, once.high))
    assert naive.high - naive.low < (once.high - once.low) / 2
    alone = group_costs(*many, cluster=np.zeros(20, dtype=int))[0]
    assert alone.low is None and "one cluster" in alone.note


GERMAN = SHARED / "german_credit" / "german_readable.csv.gz"


@pytest.mark.skipif(not GERMAN.is_file(), reason="no ../shared/data/german_credit beside the checkout")
def test_german_credit_with_the_costs_that_it_was_published_with():
    # Statlog: a bad risk taken for a good one costs 5, a good one for a bad one 1. 300 of the 1000 are bad.
    with gzip.open(GERMAN, "rt", encoding="utf-8") as lines:
        people = list(csv.DictReader(lines))
    matrix = cost_matrix({"1": {"1": 0, "0": 1}, "0": {"1": 5, "0": 0}}, "points")
    risk, sex = [row["risk"] for row in people], [row["sex"] for row in people]
    granted = group_costs(risk, ["1"] * 1000, sex, matrix)
    assert sum(group.total for group in granted) == 1500
    female, male = granted
    assert female.per_decision == pytest.approx(5 * 109 / 310) and male.per_decision == pytest.approx(
        5 * 191 / 690
    )
    assert expected_cost(costs_of(risk, ["0"] * 1000, matrix)).estimate == pytest.approx(0.7)


def test_several_classes_and_names_of_numbers():
    matrix = cost_matrix({0: {0: 0, 1: 1, 2: 4}, 1: {0: 2, 1: 0, 2: 1}, 2: {0: 9, 1: 3, 2: 0}}, "hours")
    assert costs_of([2, 0.0, "1"], [0, 2, 2], matrix).tolist() == [9, 4, 1]


def test_files_say_what_the_dictionary_says(tmp_path):
    expected = cost_matrix({"yes": {"yes": -100, "no": 400}, "no": {"yes": 2000, "no": 0.5}}, "EUR")
    (tmp_path / "c.toml").write_text(
        'unit = "EUR"\n[cost.yes]\nyes = -100\nno = 400\n[cost.no]\nyes = 2000\nno = 0.5\n'
    )
    (tmp_path / "c.json").write_text(
        '{"unit": "EUR", "cost": {"yes": {"yes": -100, "no": 400}, "no": {"yes": 2000, "no": 0.5}}}'
    )
    (tmp_path / "c.csv").write_text(
        "label,prediction,cost\nyes,yes,-100\nyes,no,400\nno,yes,2000\nno,no,.5\n"
    )
    assert read_costs(tmp_path / "c.toml") == expected
    assert read_costs(tmp_path / "c.json") == expected
    assert read_costs(tmp_path / "c.csv", "EUR") == expected


@pytest.mark.parametrize(
    ("cells", "unit", "message"),
    [
        ({"y": {"y": 0, "n": 1}, "n": {"y": 1}}, "EUR", "1 costs are missing: 'label n, prediction n'"),
        ({"y": {"y": math.nan}}, "EUR", "label 'y', prediction 'y' is nan; a finite number"),
        ({"y": {"y": "5"}}, "EUR", "is '5'; a number is expected"),
        ({"y": {"y": True}}, "EUR", "is True; a number is expected"),
        ({"y": {"y": 1}}, " ", "the unit of the costs is ' '"),
        ({}, "EUR", "there are no costs"),
        ({"y": 5}, "EUR", "the costs of label 'y' are 5"),
        ({1: {1: 0}, "1": {1: 0}}, "EUR", "label '1' is given twice"),
        ({"y": {1: 0, 1.5: 2, "1": 0}}, "EUR", "gives prediction '1' twice"),
    ],
)
def test_matrices_that_are_refused(cells, unit, message):
    with pytest.raises(PolicyError, match=message):
        cost_matrix(cells, unit)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.toml", "unit = ", "cannot be read"),
        ("c.json", "[1]", "no table"),
        ("c.toml", 'unit = "EUR"\ncosts = 1', "holds 'costs'"),
        ("c.csv", "label,cost\ny,1\n", "its columns are 'label', 'cost'"),
        ("c.csv", "label,prediction,cost\ny,y,much\n", "line 2: the cost is 'much'"),
        ("c.csv", "label,prediction,cost\ny,y,1\ny,y,2\n", "line 3 gives label 'y', prediction 'y' again"),
        ("c.csv", "label,prediction,cost\ny,y,1\n", "the unit of the costs is ''"),
        ("c.txt", "", "its suffix is '.txt'"),
    ],
)
def test_files_that_are_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(PolicyError, match=message):
        read_costs(tmp_path / name)


def test_refusals():
    matrix = cost_matrix(LOAN, "EUR")
    with pytest.raises(PolicyError, match="is not a file"):
        read_costs("nowhere.toml")
    with pytest.raises(DataError, match="label 'maybe' has no cost; 1 rows, first, counted from 0: '1'"):
        costs_of(["true", "maybe"], ["true", "true"], matrix)
    with pytest.raises(DataError, match="2 labels and 1 predictions"):
        costs_of([True, True], [True], matrix)
    with pytest.raises(DataError, match="one group a row"):
        group_costs([True, True], [True, True], ["a"], matrix)
    with pytest.raises(UsageError, match="confidence is 95"):
        group_costs([True], [True], ["a"], matrix, confidence=95)
