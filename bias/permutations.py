"""The largest statistic over all slices, permutation after permutation (Westfall and Young's max-T)."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from .exchangeable import Units
from .slice_masks import Masks

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
MAX_MEMORY = 2**29
TIE = 1e-4  # statistics are summed in float32: one that comes so near counts as large as the observed one
MOST_AT_ONCE = 1024  # permutations of a block
DRAWN = 500  # units of a stratum of true and false from which on the rarer are drawn: below, all are shuffled
MANY_ALIKE = (
    200  # units per cell from which on whole cells are drawn from, by the hypergeometric distribution
)
MOST_DRAWN = 5_000_000  # units of a stratum beyond which they are too
MOST_ROWS = 512  # slices of a block
COUNTED = 2**15  # drawn units counted in one call
EXACT = 2**24  # sums of whole numbers below this are exact in float32


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Null:
    """Statistics where nothing differs, by permutation."""

    largest: Floats  # (permutation,) the largest |z| over all slices, ascending
    beyond: Ints  # (slice,) permutations in which the slice's own |z| is as large as observed

    @property
    def permutations(self) -> int:
        """How many."""
        return len(self.largest)

    def adjusted(self, z: Floats) -> Floats:
        """Adjusted p-values, single-step max-T: the share of permutations whose largest |z| is as large."""
        as_large = len(self.largest) - np.searchsorted(self.largest, np.abs(z) - TIE, side="left")
        return np.asarray((1 + as_large) / (1 + len(self.largest)))

    @property
    def alone(self) -> Floats:
        """Each slice's own p-value, never to be shown for one of many."""
        return np.asarray((1 + self.beyond) / (1 + len(self.largest)))

    def critical(self, alpha: float) -> float:
        """The |z| beyond which an adjusted p-value is at most alpha; infinite with too few permutations."""
        k = math.floor(alpha * (1 + len(self.largest)) + 1e-9)
        return float(self.largest[-k]) if k else math.inf


def max_t(
    masks: Masks,
    units: Units,
    z: Floats,
    expected: Floats,
    sd: Floats,
    *,
    permutations: int,
    seed: int,
    max_memory: int = MAX_MEMORY,
) -> Null:
    """The null distribution of the largest |z| over slices, units permuted within strata (Westfall and Young 1993).

    Single-step max-T: a matrix product of slices and cells with cells and permutations, in blocks. Where all units are
    exchangeable the chance of any false find is at most alpha, however the slices overlap. Where some slices truly
    differ this holds for the others approximately, as far as values vary alike within and without a slice.

    Args:
        masks: of the slices that are compared.
        units: what is exchanged.
        z: (slice,) observed statistics.
        expected: (slice,) mean of a slice's sum over permutations (`slice_effects.compare`).
        sd: (slice,) its standard deviation over permutations, above 0.
        permutations: 99 or more.
        seed: of the draws.
        max_memory: bytes of working memory; blocks are made so large.

    Raises:
        UsageError: too few permutations, or memory for not even one.
    """
    if permutations < 99:
        raise UsageError(f"permutations is {permutations}; 99 or more are expected, 2,000 for a report.")
    generator = np.random.default_rng(seed)
    shuffle = _Shuffle(units, generator)
    n_cells = len(units)
    item = np.dtype(shuffle.number).itemsize
    each = shuffle.bytes_of_one
    fixed = masks.bits.nbytes + 16 * shuffle.most_drawn + 16 * shuffle.n_shuffled + 16 * COUNTED
    least = fixed + 2 * each + 2 * (2 + item) * n_cells
    if max_memory < least:
        raise UsageError(
            f"max_memory is {max_memory:,} bytes; {least:,} are needed for one permutation of "
            f"{int(units.n_units.sum()):,} units in {n_cells:,} cells. Raise it."
        )
    left = (max_memory - fixed) // 2
    at_once = int(min(permutations, MOST_AT_ONCE, max(1, left // each)))
    number = shuffle.number
    block = int(min(len(masks), MOST_ROWS, max(1, left // ((2 + item) * n_cells + 2 * item * at_once))))
    whole = np.rint(expected)
    scale, rest = 1 / (sd / shuffle.scale), (expected - whole) / sd
    of_slice = [column[:, None].astype(number) for column in (whole, scale, rest, np.abs(z) - TIE)]
    kept = masks.rows(0, len(masks), number) if block >= len(masks) else None
    largest, beyond = np.zeros(permutations), np.zeros(len(masks), dtype=np.int64)
    for start in range(0, permutations, at_once):
        size = min(at_once, permutations - start)
        drawn = shuffle.draw(size).T  # (cell, permutation)
        most = np.zeros(size, dtype=number)
        for low, high, rows in [(0, len(masks), kept)] if kept is not None else masks.blocks(block, number):
            middle, factor, fraction, threshold = (column[low:high] for column in of_slice)
            sums = rows @ drawn
            sums -= middle
            sums *= factor
            sums -= fraction
            np.abs(sums, out=sums)
            np.maximum(most, sums.max(axis=0), out=most)
            beyond[low:high] += np.count_nonzero(sums >= threshold, axis=1)
            del rows, sums  # before the next are made
        largest[start : start + size] = most
        del drawn
    return Null(largest=np.sort(largest), beyond=beyond)


class _Shuffle:
    """Sums of cells with the units exchanged within strata.

    Of a large stratum of true and false the rarer are drawn; the units of other strata are shuffled, those of all
    strata of one size in one call.
    """

    def __init__(self, units: Units, generator: np.random.Generator) -> None:
        self.units, self.generator = units, generator
        higher = units.higher
        self.drawn: list[
            tuple[int, int, int]
        ] = []  # strata to draw from: first cell, the one after the last, units
        shuffled: list[tuple[int, int, int]] = []
        for low, high in units.strata:
            n = int(units.n_units[low:high].sum())
            (self.drawn if higher is not None and n >= DRAWN else shuffled).append((low, high, n))
        self.most_drawn = max((n for *_, n in self.drawn if n <= MOST_DRAWN), default=0)
        cells = [np.arange(low, high) for low, high, _ in shuffled]
        self.cells = np.concatenate(
            [np.zeros(0, dtype=np.int64), *cells]
        )  # those of strata that are shuffled
        often = units.n_units[self.cells]
        self.n_shuffled = int(often.sum())
        self.ends = np.cumsum(often) - 1  # the last unit of each of these cells
        self.number: type[np.floating] = np.float32
        self.scale = 1.0
        if higher is not None:
            if int(higher.sum()) >= EXACT:
                self.number = np.float64
            pairs = np.stack([often - higher[self.cells], higher[self.cells]], axis=1).ravel()
            values = np.repeat(np.tile(np.array([0.0, 1.0]), len(self.cells)), pairs)
        else:
            values = np.zeros(0) if units.residual is None else units.residual
            self.scale = float(np.sqrt(np.mean(values**2))) or 1.0
        self.values = values / self.scale  # of 8 bytes each, which NumPy shuffles fastest
        starts: dict[int, list[int]] = {}
        at = 0
        for _, _, n in shuffled:
            starts.setdefault(n, []).append(at)
            at += n
        self.alone = [(first[0], first[0] + n) for n, first in starts.items() if n > 1 and len(first) == 1]
        self.together = [
            np.array(first)[:, None] + np.arange(n) for n, first in starts.items() if n > 1 and len(first) > 1
        ]

    @property
    def bytes_of_one(self) -> int:
        """What one permutation takes at once."""
        item = np.dtype(self.number).itemsize
        beside = max((where.size for where in self.together), default=0)
        moved = self.n_shuffled if self.n_shuffled != len(self.units) else 0
        return item * (len(self.units) + 2 * moved) + 16 * beside

    def draw(self, size: int) -> npt.NDArray[Any]:
        """(permutation, cell) sums of the cells, divided by `scale`."""
        moved = self._moved(size)
        if self.n_shuffled == len(self.units):
            return moved
        out = np.zeros((size, len(self.units)), dtype=self.number)
        if self.n_shuffled:
            for row, values in zip(out, moved, strict=True):
                upto = np.cumsum(values, dtype=np.float64)[self.ends]  # faster than np.add.reduceat
                row[self.cells] = np.diff(upto, prepend=0.0)
        for low, high, n in self.drawn:
            self._draw(out[:, low:high], self.units.n_units[low:high], low, high, n)
        return out

    def _moved(self, size: int) -> npt.NDArray[Any]:
        """Values of the units of shuffled strata, (permutation, unit)."""
        moved = np.empty((size, self.n_shuffled), dtype=self.number)
        if self.alone or not self.together:
            for row in moved:
                for low, high in self.alone:
                    self.generator.shuffle(self.values[low:high])
                row[:] = self.values
        for where in self.together:
            block = np.tile(self.values[where], (size, 1, 1))
            self.generator.permuted(block, axis=2, out=block)
            moved[:, where] = block
        return moved

    def _draw(self, out: npt.NDArray[Any], often: Ints, low: int, high: int, n: int) -> None:
        """Which units of one stratum are true, (permutation, cell), into `out`."""
        n_true = 0 if self.units.higher is None else int(self.units.higher[low:high].sum())
        if n > MOST_DRAWN or n > MANY_ALIKE * len(often):
            out[:] = self.generator.multivariate_hypergeometric(often, n_true, size=len(out))
            return
        rarer = min(n_true, n - n_true)
        cell = np.repeat(np.arange(len(often)), often)
        step = max(1, COUNTED // max(rarer, len(often), 1))
        for start in range(0, len(out), step):
            part = out[start : start + step]
            hit = np.empty((len(part), rarer), dtype=np.int64)
            for i in range(len(part)):
                drawn = self.generator.choice(n, rarer, replace=False, shuffle=False)
                np.add(cell[drawn], i * len(often), out=hit[i])
            got = np.bincount(hit.ravel(), minlength=part.size).reshape(part.shape)
            part[:] = got if rarer == n_true else often - got
