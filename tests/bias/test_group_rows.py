"""Columns taken for a group: positions kept, counts and weights followed, bad ones refused by name."""

import numpy as np
import pytest

from clinometer.bias.group_rows import numbers, positions, take, truth, whole_counts
from clinometer.errors import DataError


def test_rows_keep_their_positions_and_counts():
    part = take(rows=np.array([2, 0]), count=np.array([3, 1, 2]), x=[1.0, 5.0, 9.0], y=[True, False, False])
    assert part.numbers("x").tolist() == [9, 1] and part.columns["y"].dtype == np.bool_
    assert part.rows.tolist() == [2, 0] and part.count.tolist() == [2, 3] and part.n == 5
    assert part.mean(part.numbers("x")) == pytest.approx((9 * 2 + 1 * 3) / 5)
    made = part.influenced(4.2, np.array([1.0, 2.0]))
    assert made.rows.tolist() == [2, 0] and made.n == 5


def test_weights_pull_about_one_and_nothing_pulls_without_any():
    part = take(rows=None, count=np.array([1, 3]), x=[1.0, 2.0], weight=[0.5, 2.0])
    assert part.times @ part.pull == pytest.approx(4), "they sum to the rows"
    assert part.pull[1] / part.pull[0] == pytest.approx(4) and not part.weightless
    assert take(rows=None, count=None, x=[1.0]).pull.tolist() == [1]
    assert take(rows=None, count=None, x=[1.0], weight=[0.0]).weightless
    assert take(rows=np.array([], dtype=int), count=None, x=[1.0]).weightless


def test_groups_are_in_order_and_unknown_is_last():
    made = positions(["b", None, "a", "b"])
    assert {name: rows.tolist() for name, rows in made.items()} == {"a": [2], "b": [0, 3], "unknown": [1]}
    assert list(made) == ["a", "b", "unknown"]


def test_refusals():
    with pytest.raises(DataError, match="different lengths: x 2, y 1"):
        take(rows=None, count=None, x=[1.0, 2.0], y=[1.0])
    with pytest.raises(DataError, match="rows names '-1'; the columns have rows 0 to 1"):
        take(rows=np.array([-1]), count=None, x=[1.0, 2.0])
    with pytest.raises(DataError, match="x has shape"):
        numbers([[1.0]], "x")
    with pytest.raises(
        DataError, match=r"x has 2 values that are missing or not finite; first rows, .*: '0', '2'"
    ):
        numbers([np.nan, 1.0, np.inf], "x")
    with pytest.raises(DataError, match="type complex128; numbers are expected"):
        numbers(np.array([1j]), "x")
    with pytest.raises(DataError, match="Sampling weights are no counts"):
        whole_counts([0.5])
    with pytest.raises(DataError, match="count is negative in rows '1'"):
        whole_counts([1, -1])
    with pytest.raises(DataError, match="one truth value per row"):
        truth([0, 1], "label")
