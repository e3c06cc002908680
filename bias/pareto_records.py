"""What is known of several fixes on the same rows: utility, largest gap, and who dominates whom."""

from dataclasses import dataclass
from typing import Any, Literal

from ..errors import UsageError, did_you_mean
from ..evidence import Evidence
from ..records import plain
from .changes import Better
from .seen_rows import Seen

UNMITIGATED = "unmitigated"
Purpose = Literal["choose", "judge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What a fix makes of the rows, and the rows that it must not be judged on."""

    name: str
    evidence: Evidence
    seen: tuple[Seen, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One fix: its utility, its largest gap of any two groups, and how both differ from the unmitigated."""

    name: str
    n: int  # rows, each as often as it counts
    utility: float | None
    utility_low: float | None
    utility_high: float | None
    gap: float | None  # the largest absolute difference of the pairs compared
    gap_low: float | None  # simultaneous over the pairs
    gap_high: float | None
    group: str  # the pair that has it
    reference: str
    utility_change: float | None  # fix minus unmitigated, on the same rows
    utility_change_low: float | None
    utility_change_high: float | None
    gap_change: float | None  # of the largest gap
    gap_change_low: float | None
    gap_change_high: float | None
    dominated_by: tuple[str, ...]  # no worse in both and better in one, beyond noise
    behind: tuple[str, ...]  # at least as good in both estimates, which shows nothing beyond noise
    reason: str = ""  # why there is no utility or no gap


@dataclass(frozen=True, slots=True, kw_only=True)
class Pareto:
    """Fixes beside one another on the same rows, the unmitigated first."""

    title: str
    attribute: str
    gap_metric: str
    utility_metric: str
    better: Better  # which way utility is better
    purpose: Purpose  # what these rows are for
    confidence: float
    n: int
    points: tuple[Point, ...]
    rows: Seen
    seen: tuple[tuple[str, tuple[Seen, ...]], ...]  # name -> the rows each was fitted and chosen on
    notes: tuple[str, ...] = ()

    def of(self, name: str) -> Point:
        """One point.

        Raises:
            UsageError: there is none of this name.
        """
        for point in self.points:
            if point.name == name:
                return point
        raise UsageError(f"there is no fix {name!r}: {did_you_mean(name, [p.name for p in self.points])}")

    @property
    def front(self) -> tuple[str, ...]:
        """The fixes that no other dominates beyond noise."""
        return tuple(p.name for p in self.points if not p.dominated_by and not p.reason)

    @property
    def frame(self) -> Any:
        """Every point as a row of a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame([plain(point) for point in self.points])

    def __repr__(self) -> str:
        return (
            f"Pareto({self.title}: {len(self.points)} points, {self.utility_metric} against {self.gap_metric} by "
            f"{self.attribute}, {self.n} rows to {self.purpose})"
        )
