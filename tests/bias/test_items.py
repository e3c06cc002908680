"""Columns and terms as items: names, unknown, and what is too much for a group."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from clinometer.bias.items import code_columns, code_evidence
from clinometer.errors import DataError
from clinometer.evidence import from_columns


def test_values_are_named_as_groups_are_and_missing_is_a_value():
    coded = code_columns(
        {"sex": ["f", None, "m", "f"], "age": [1.0, 2.0, float("nan"), 1.0], "old": [True, False] * 2}
    )
    assert coded.names == ("sex", "age", "old") and len(coded) == 4
    assert coded.values == (("f", "m", "unknown"), ("1", "2", "unknown"), ("False", "True"))
    assert [codes.tolist() for codes in coded.codes] == [[0, 2, 1, 0], [0, 1, 2, 0], [1, 0, 1, 0]]
    assert [str(item) for item in coded.items[:3]] == ["sex=f", "sex=m", "sex=unknown"]


def test_a_group_that_is_called_unknown_stays_apart_from_missing():
    coded = code_columns({"sex": ["unknown", None, "f"]})
    assert coded.values == (("f", "unknown", "unknown (missing)"),)


def test_a_term_is_one_item_and_its_absence_none():
    coded = code_columns({"sex": ["f", "m"]}, {"gay": np.array([True, False])})
    assert [str(item) for item in coded.items] == ["sex=f", "sex=m", "gay"]
    assert coded.items[2].term and not coded.items[0].term
    assert code_columns({}, {"gay": np.array([True, False])}).keys == [(0, 1)]


@pytest.mark.parametrize(
    "kind", [list, np.array, pd.Series, pa.array, lambda v: pa.chunked_array([v[:1], v[1:]])]
)
def test_kinds_of_columns_are_read_alike(kind):
    assert code_columns({"c": kind(["b", "a", "b"])}).codes[0].tolist() == [1, 0, 1]


def test_evidence_is_read_as_its_groups_are():
    evidence = from_columns({"g": ["b", None, "a"], "n": [1, 2, 2]}, groups=["g"])
    coded = code_evidence(evidence, ("g", "n"))
    assert coded.values == (("a", "b", "unknown"), ("1", "2"))
    assert [coded.values[0][code] for code in coded.codes[0]] == ["b", "unknown", "a"]


def test_what_is_no_group_is_refused_by_name():
    with pytest.raises(DataError, match=r"'income' holds 60 different numbers; at most 50 .* cm\.bins"):
        code_columns({"sex": ["f"] * 60, "income": np.linspace(0, 1, 60)})
    with pytest.raises(DataError, match="'person' has 5,000 values; at most 200"):
        code_columns({"person": [f"p{i}" for i in range(5000)]})
    assert len(code_columns({"ten": np.arange(100) / 10 // 1}).values[0]) == 10, "few numbers are groups"


def test_what_cannot_be_read_is_refused():
    with pytest.raises(DataError, match="no column to search"):
        code_columns({})
    with pytest.raises(DataError, match="different lengths: a 2, b 3"):
        code_columns({"a": [1, 2], "b": [1, 2, 3]})
    with pytest.raises(DataError, match="'a' names a column and a term"):
        code_columns({"a": [1, 2]}, {"a": np.array([True, False])})
    with pytest.raises(DataError, match="the term 't' is no array of truth values"):
        code_columns({"a": [1, 2]}, {"t": np.array([1, 0])})
    with pytest.raises(DataError, match="terms of 2 rows have other lengths: 't 3'"):
        code_columns({"a": [1, 2]}, {"t": np.array([True, False, True])})
    with pytest.raises(DataError, match="column 'a' is no list of values of one kind"):
        code_columns({"a": [1, "x"]})
