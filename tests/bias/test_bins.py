"""Bins of numbers: names that say their edges, missing stays missing, what lies outside is refused or named."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinometer.bias.bins import bin_names, bins, quantile_edges
from clinometer.errors import DataError, UsageError

AGES = [20, 29.999, 30, 45, 60, None, float("nan")]


def test_an_edge_belongs_to_the_bin_above_it_and_the_last_edge_to_the_last_bin():
    assert bins(AGES, [20, 30, 60]) == (
        "[20, 30)",
        "[20, 30)",
        "[30, 60]",
        "[30, 60]",
        "[30, 60]",
        None,
        None,
    )


def test_values_outside_have_a_bin_where_asked_and_are_refused_where_not():
    assert bins([3, 20, 90, 91], [20, 90], below=True, above=True) == ("< 20", "[20, 90)", ">= 90", ">= 90")
    assert bins([19, 20], [20], below=True, above=True) == ("< 20", ">= 20")
    with pytest.raises(DataError, match="2 values lie outside 20 to 90: '3 in row 0', '91 in row 2'"):
        bins([3, 20, 91], [20, 90])
    with pytest.raises(DataError, match="'3 in row 0', counted from 0"):
        bins([3, 20, 91], [20, 90], above=True)


def test_all_bins_are_named_in_order_also_those_without_rows():
    assert bin_names([0, 0.5, 1], above=True) == ("[0, 0.5)", "[0.5, 1)", ">= 1")
    assert set(bins([0.1], [0, 0.5, 1])) < set(bin_names([0, 0.5, 1]))


def test_labels_stand_in_for_the_names():
    assert bins([1, 5, None], [0, 3, 6], labels=["young", "old"]) == ("young", "old", None)
    with pytest.raises(
        UsageError, match=r"2 different names are expected, one for each of \[0, 3\), \[3, 6\]"
    ):
        bins([1], [0, 3, 6], labels=["young"])
    with pytest.raises(UsageError, match="2 different names"):
        bins([1], [0, 3, 6], labels=["same", "same"])


def test_quantiles_name_the_edges_they_came_to():
    values = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert quantile_edges(values, 2) == (1.0, 5.5, 10.0)
    made = bins(values, quantiles=2)
    assert made.count("[1, 5.5)") == made.count("[5.5, 10]") == 5
    assert bins(values, quantiles=[0.5]) == made
    assert bins([100, 1], quantile_edges(values, 2), above=True) == (">= 10", "[1, 5.5)")


def test_many_equal_values_make_no_quantiles():
    with pytest.raises(DataError, match="so many values are 3 that two quantiles fall together"):
        bins([3, 3, 3, 3, 4], quantiles=4)


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"edges": [3, 3]}, UsageError, "numbers that ascend"),
        ({"edges": [3]}, UsageError, "at least 2 finite numbers"),
        ({"edges": [0, float("inf")]}, UsageError, "below=True and above=True"),
        ({}, UsageError, "edges or from quantiles"),
        ({"edges": [0, 9], "quantiles": 2}, UsageError, "one of the two"),
        ({"quantiles": 1}, UsageError, "two bins or more"),
        ({"quantiles": [0.5, 0.5]}, UsageError, "ascend between 0 and 1"),
        ({"quantiles": [1.5]}, UsageError, "ascend between 0 and 1"),
    ],
)
def test_impossible_bins_are_refused(arguments, error, said):
    with pytest.raises(error, match=said):
        bins([1, 2], **arguments)


def test_text_is_no_number():
    with pytest.raises(
        DataError, match=r"1 values are no numbers, e\.g\. '40'; first rows, counted from 0: '1'"
    ):
        bins([1, "40"], [0, 50])
    with pytest.raises(DataError, match="all are missing"):
        bins([None], quantiles=2)


@given(
    st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=1, max_size=40),
    st.lists(st.integers(-1000, 1000), min_size=2, max_size=6, unique=True).map(sorted),
)
def test_each_value_lies_between_the_edges_its_bin_names(values, edges):
    made = bins(values, edges, below=True, above=True)
    for value, name in zip(values, made, strict=True):
        if value is None:
            assert name is None
        elif name.startswith("<"):
            assert value < float(name[2:])
        elif name.startswith(">="):
            assert value >= float(name[3:])
        else:
            low, high = (float(part) for part in name[1:-1].split(", "))
            assert low <= value < high


def test_arrays_are_taken_as_they_are():
    assert bins(np.array([1, 2], dtype=np.int32), [0, 2]) == ("[0, 2]", "[0, 2]")
    pandas = pytest.importorskip("pandas")
    assert bins(pandas.Series([1, None], dtype="Int64"), [0, 2]) == ("[0, 2]", None)
