"""The rows of a denominator, whole or divided by chance."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .counts import Bools
from .exchangeable import Units, gather
from .items import Coded

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """Rows that are searched, all of them in the denominator."""

    coded: Coded
    value: Bools | Floats
    count: Ints | None = None
    weight: Floats | None = None
    cluster: Ints | None = None
    stratum: Ints | None = None

    @property
    def n(self) -> int:
        """Rows, each as often as it counts."""
        return len(self.value) if self.count is None else int(self.count.sum())

    def inside(self, rows: Bools) -> "Table":
        """Those of some rows that count, and weigh, anything at all."""
        chosen = rows if self.count is None else rows & (self.count > 0)
        chosen = chosen if self.weight is None else chosen & (self.weight > 0)
        return Table(
            coded=self.coded.take(chosen),
            value=self.value[chosen],
            count=None if self.count is None else self.count[chosen],
            weight=None if self.weight is None else self.weight[chosen],
            cluster=None if self.cluster is None else self.cluster[chosen],
            stratum=None if self.stratum is None else self.stratum[chosen],
        )

    def units(self) -> Units:
        """What is exchanged."""
        return gather(
            self.coded,
            self.value,
            count=self.count,
            weight=self.weight,
            cluster=self.cluster,
            stratum=self.stratum,
        )

    def split(self, share: float, seed: int) -> tuple["Table", "Table"]:
        """Two parts by chance, the second with this share of the rows, or of the clusters."""
        generator = np.random.default_rng([seed, 1])
        everybody = np.ones(len(self.value), dtype=np.bool_)
        if self.cluster is not None:
            names, codes = np.unique(self.cluster, return_inverse=True)
            second = generator.permutation(len(names)) < round(share * len(names))
            return self.inside(~second[codes]), self.inside(second[codes])
        if self.count is None:
            chosen = generator.permutation(len(self.value)) < round(share * len(self.value))
            return self.inside(~chosen), self.inside(chosen)
        there = generator.multivariate_hypergeometric(self.count, round(share * self.n))
        return (
            replace(self, count=self.count - there).inside(everybody),
            replace(self, count=there).inside(everybody),
        )
