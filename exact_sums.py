"""Sums of numbers as sums of integers, so that no order of adding changes them.

A number is cut into two integers of at most 31 bits, relative to a power of two that no number exceeds. Sums of
these are exact in 64 bits on any engine, in any order and in any number of threads. What is cut off is at most
2**-60 of the largest number (for fewer than 2**31 rows). The idea is that of reproducible summation by fixed
binades (Demmel and Nguyen 2013, section III), with the binade known beforehand.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

LARGEST = 2.0**500  # its square is finite


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Two integers per number: `first` in steps of 2**(exponent - bits), `second` in steps of 2**(exponent - 2 bits)."""

    exponent: int
    bits: int

    @classmethod
    def of(cls, largest: float, n: int) -> "Grid":
        """The grid on which n numbers of at most this size are added up without overflow."""
        exponent = max(math.frexp(largest)[1], -400)
        return cls(exponent=exponent, bits=min(31, 62 - max(n, 1).bit_length()))

    @property
    def squared(self) -> "Grid":
        """The grid of the squares of these numbers."""
        return Grid(exponent=2 * self.exponent, bits=self.bits)

    @property
    def steps(self) -> tuple[float, float]:
        """What one unit of the first and of the second integer is worth."""
        return math.ldexp(1.0, self.exponent - self.bits), math.ldexp(1.0, self.exponent - 2 * self.bits)

    def cut(self, number: Any) -> tuple[Any, Any]:
        """The two integers of a narwhals expression (or of anything with `floor`), as whole floating numbers."""
        first, second = self.steps
        high = (number * (1.0 / first)).floor()
        return high, ((number - high * first) * (1.0 / second) + 0.5).floor()

    def total(self, high: npt.NDArray[np.int64], low: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """The sums of the numbers from the sums of their integers."""
        first, second = self.steps
        return np.asarray(high * first + low * second, dtype=np.float64)


def nearby(low: float, high: float) -> float:
    """What can be taken from all numbers between low and high without rounding, to keep their squares small.

    Two numbers within a factor of two are subtracted exactly (Sterbenz 1974, theorem 4.3.1).
    """
    if low > 0 and high <= 2 * low:
        return low
    if high < 0 and low >= 2 * high:
        return high
    return 0.0
