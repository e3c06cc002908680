"""Sums as integers: the same in any order, and as exact as stated."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinometer.exact_sums import Grid, nearby


class Array(np.ndarray):
    """An array with the method that expressions have."""

    def floor(self):
        return np.floor(self)


def summed(values, n=None):
    values = np.asarray(values, dtype=np.float64)
    grid = Grid.of(float(np.abs(values).max()), n or len(values))
    high, low = grid.cut(values.view(Array))
    first, second = np.asarray(high).astype(np.int64), np.asarray(low).astype(np.int64)
    assert np.abs(np.asarray(high)).max() <= 2**grid.bits and np.asarray(low).min() >= 0
    return first.sum(keepdims=True), second.sum(keepdims=True), grid


finite = st.floats(-1e100, 1e100)


@given(st.lists(finite, min_size=1, max_size=40), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_no_order_changes_a_sum(values, random):
    first, second, grid = summed(values)
    shuffled = list(values)
    random.shuffle(shuffled)
    again = summed(shuffled)
    assert (first, second, grid) == again


@given(st.lists(finite, min_size=1, max_size=40))
@settings(max_examples=60)
def test_a_sum_is_exact_to_its_last_place(values):
    first, second, grid = summed(values)
    exact = sum(map(Fraction, values))
    largest = max(abs(Fraction(value)) for value in values)
    allowed = largest * len(values) / 2**60 + abs(exact) / 2**51 + Fraction(1, 10**150)
    assert abs(Fraction(float(grid.total(first, second)[0])) - exact) <= allowed


def test_what_floating_addition_loses_is_kept():
    values = [1.0, 1e-16, 1e-16, 1e-16, -1.0]
    assert np.add.reduce(values) == 0.0
    first, second, grid = summed(values)
    assert grid.total(first, second)[0] == pytest.approx(3e-16, rel=1e-2)


@pytest.mark.parametrize("n", [1, 1000, 10**8, 2**31 - 1, 2**40])
def test_sums_of_many_rows_fit_into_64_bits(n):
    grid = Grid.of(7.5, n)
    assert n * 2**grid.bits < 2**62
    assert grid.bits == 31 or n >= 2**31 - 1
    assert grid.squared.bits == grid.bits and grid.squared.exponent == 6


@given(st.floats(1e-3, 1e9), st.floats(0, 1))
def test_what_is_taken_off_is_taken_off_exactly(low, share):
    high = low * (1 + share)
    for one, other in ((low, high), (-high, -low)):
        off = nearby(one, other)
        middle = one + (other - one) / 2
        for value in (one, middle, other):
            assert Fraction(value - off) == Fraction(value) - Fraction(off)
    assert nearby(low, low * 2.1) == 0.0 and nearby(-low, low) == 0.0
