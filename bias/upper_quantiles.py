"""An upper quantile of each column of many replicates, of which only the largest are kept."""

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class UpperQuantiles:
    """The largest values of every column, as many as a quantile needs, and how many there were; NaN is none."""

    def __init__(self, columns: int, replicates: int, confidence: float) -> None:
        self.confidence = confidence
        self.kept = math.floor((1 - confidence) * (replicates - 1)) + 2
        self.values = np.full((0, columns), -np.inf)
        self.n = np.zeros(columns, dtype=np.int64)

    def add(self, t: Floats) -> None:
        """Take in further replicates, (replicate, column)."""
        seen = ~np.isnan(t)
        self.n += seen.sum(axis=0)
        both = np.concatenate([self.values, np.where(seen, t, -np.inf)])
        if len(both) > self.kept:
            both = np.partition(both, len(both) - self.kept, axis=0)[-self.kept :]
        self.values = both

    def quantile(self, otherwise: float) -> Floats:
        """(column,) the quantile as numpy's method "higher"; `otherwise` where no replicate counted."""
        ranked = -np.sort(-self.values, axis=0)
        place = self.n - 1 - np.ceil(self.confidence * (self.n - 1)).astype(np.int64)
        found = np.take_along_axis(ranked, np.clip(place, 0, len(ranked) - 1)[None], axis=0)[0]
        made: Floats = np.where(self.n > 0, found, otherwise)
        return made
