"""What a comparison of two models says: one record of each change, and one of all."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import UsageError, first
from ..records import EXIT_CODES, Status, Verdict, plain
from .changes import Better
from .groups import ALL

Decision = Literal["no worse", "worse", "inconclusive", "not assessed"]
DECISIONS: tuple[Decision, ...] = ("worse", "not assessed", "inconclusive", "no worse")  # of all: the first
AS_VERDICT: Mapping[Decision, Verdict] = {
    "worse": "exceeds tolerance",
    "not assessed": "not assessed",
    "inconclusive": "inconclusive",
    "no worse": "within tolerance",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One metric of one group, or one gap of two, before and after, and what the declared margin makes of it."""

    attribute: str  # "" for everybody
    group: str
    reference: str  # whose value is taken off, of a gap; "" otherwise
    metric: str
    better: Better
    n_before: int  # denominators, of a gap the smaller of the two groups'
    n_after: int
    before: float | None
    after: float | None
    change: float | None  # after - before
    low: float | None  # two-sided interval of the change, for reading
    high: float | None
    n_gained: int | None  # rows that the rate counts after and not before; None where denominators moved
    n_lost: int | None
    worsening: float | None  # in the direction that is worse; |change| where neither is; growth of |gap|
    upper_bound: float | None  # one-sided 1 - alpha bound of the worsening: what "no worse" is decided by
    margin: float | None
    p: float | None  # of "worsening <= margin"; of "no change" where none is declared
    p_adjusted: float | None  # Holm over all that is declared, or over all where nothing is
    method: str
    status: Status
    decision: Decision | None  # None: no margin declared
    reason: str = ""

    @property
    def is_gap(self) -> bool:
        """Whether this is of two groups."""
        return bool(self.reference)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What changed between two models, or two dates, on the same rows. `decision` is None where nothing was declared."""

    title: str
    n: int  # rows in common, each as often as it counts
    only_before: tuple[str, ...]  # ids left out
    only_after: tuple[str, ...]
    plan: Mapping[str, Any]
    changes: tuple[Change, ...]
    decision: Decision | None
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 no worse or nothing declared, 1 worse, 4 inconclusive or not assessed."""
        return EXIT_CODES[None if self.decision is None else AS_VERDICT[self.decision]]

    @property
    def frame(self) -> Any:
        """Every change as a row of a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame([plain(one) for one in self.changes])

    def of(self, metric: str, group: str = ALL, reference: str = "", attribute: str | None = None) -> Change:
        """One change: of everybody, of a group, or of the gap of a group and a reference.

        Raises:
            UsageError: it was not compared.
        """
        for one in self.changes:
            if (one.metric, one.group, one.reference) == (metric, group, reference) and attribute in {
                None,
                one.attribute,
            }:
                return one
        raise UsageError(
            f"{metric!r} of {group!r}{f' and {reference!r}' if reference else ''} was not compared. Metrics: "
            f"{first(dict.fromkeys(c.metric for c in self.changes), 20)}; groups: "
            f"{first(dict.fromkeys(c.group for c in self.changes), 20)}."
        )

    def __repr__(self) -> str:
        declared = [one for one in self.changes if one.margin is not None]
        said = self.decision or "no margin declared"
        return f"Comparison({self.title}: {self.n} rows, {len(declared)} of {len(self.changes)} changes judged: {said})"
