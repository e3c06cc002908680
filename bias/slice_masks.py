"""Which cells lie in which slices, a block of slices at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .items import Coded
from .itemsets import Itemsets


@dataclass(frozen=True, slots=True, eq=False)
class Masks:
    """A matrix of slices and cells, 1 where the cell lies in the slice, of which a block is made when it is asked for."""

    members: npt.NDArray[np.int32]  # (slice, depth): numbers of items, -1 where there are fewer
    bits: npt.NDArray[np.uint8]  # (item, byte): cells by bit, and a last row of ones for -1
    n_cells: int

    @classmethod
    def of(cls, itemsets: Itemsets, coded: Coded, chosen: npt.NDArray[Any] | None = None) -> "Masks":
        """The chosen itemsets (None: all), shorter ones first, over the cells of `coded`."""
        held = [np.packbits(coded.codes[column] == code, bitorder="little") for column, code in itemsets.keys]
        bits = np.stack([*held, np.packbits(np.ones(len(coded), dtype=np.bool_), bitorder="little")])
        return cls(itemsets.members if chosen is None else itemsets.members[chosen], bits, len(coded))

    def __len__(self) -> int:
        return len(self.members)

    def rows(self, low: int, high: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Slices `low` to `high`, (slice, cell)."""
        members = self.members[low:high]
        joined = self.bits[members[:, 0]]
        for column in members.T[1:]:
            if column.size and column.max() >= 0:
                joined &= self.bits[column]
        return np.unpackbits(joined, axis=1, count=self.n_cells, bitorder="little").astype(dtype, copy=False)

    def blocks(self, size: int, dtype: npt.DTypeLike) -> Iterator[tuple[int, int, npt.NDArray[Any]]]:
        """Every block of at most `size` slices: its first slice, the one after its last, and its rows."""
        for low in range(0, len(self), size):
            high = min(low + size, len(self))
            yield low, high, self.rows(low, high, dtype)
