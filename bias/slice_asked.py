"""What a search of slices is asked for."""

import math
from dataclasses import dataclass

from ..errors import UsageError
from .itemsets import Engine

CONFIRMED = 20  # slices that go from one part of the rows to the other


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a search was asked for: see `slices.slices`."""

    of: str
    words: str
    columns: tuple[str, ...]
    terms: tuple[str, ...]
    strata: tuple[str, ...]
    cluster: str | None
    min_support: float
    min_count: int
    depth: int
    permutations: int
    confirm: float | None
    alpha: float
    epsilon: float | None
    jaccard: float
    most: int
    engine: Engine
    seed: int
    max_memory: int

    def check(self) -> None:
        """Refuse a number out of range."""
        shares = {
            "min_support": self.min_support,
            "alpha": self.alpha,
            "confirm": self.confirm,
            "jaccard": self.jaccard,
        }
        for name, value in shares.items():
            if value is not None and not 0 < value < (1 if name != "jaccard" else 1 + 1e-9):
                raise UsageError(f"{name} is {value}; a share between 0 and 1 is expected.")
        for name, number, least in (
            ("min_count", self.min_count, 2),
            ("depth", self.depth, 1),
            ("most", self.most, 1),
            ("permutations", self.permutations, 99),
        ):
            if number < least:
                raise UsageError(f"{name} is {number}; {least} or more are expected.")
        if self.epsilon is not None and not self.epsilon >= 0:
            raise UsageError(f"epsilon is {self.epsilon}; 0 or more is expected, in units of {self.of}.")
        tests = 1 if self.confirm is None else CONFIRMED  # that Holm's correction multiplies by
        if self.alpha * (1 + self.permutations) < tests - 1e-9:
            raise UsageError(
                f"{self.permutations} permutations have no p-value below {1 / (1 + self.permutations):.2g}, too few for "
                f"alpha {self.alpha}. Take {math.ceil(tests / self.alpha) - 1:,} permutations or more."
            )
