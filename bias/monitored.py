"""What monitoring says: a chart of each declared gap, and the outcome of all."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

from ..errors import UsageError, first
from ..records import EXIT_CODES, Verdict, plain
from .control_charts import Chart, Point

Outcome = Literal["no alarm", "alarm", "not assessed"]
OUTCOMES: tuple[Outcome, ...] = ("alarm", "not assessed", "no alarm")  # of all: the first
AS_VERDICT: Mapping[Outcome, Verdict] = {
    "alarm": "exceeds tolerance",
    "not assessed": "not assessed",
    "no alarm": "within tolerance",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GapChart:
    """One declared gap with its chart. An alarm is a gap that grew; one that shrank is shown."""

    attribute: str
    metric: str
    group: str
    reference: str
    chart: Chart
    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitoring:
    """Charts of all declared gaps over dates. The policy's tolerances judge one date; here only a change is judged."""

    title: str
    dates: tuple[date, ...]
    missing: tuple[date, ...]  # dates that the usual step leads to and nothing was given for
    since: date | None  # alarms before it are shown and decide nothing
    plan: Mapping[str, Any]
    charts: tuple[GapChart, ...]
    outcome: Outcome
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 no alarm, 1 a gap grew, 4 a chart that could not be judged."""
        return EXIT_CODES[AS_VERDICT[self.outcome]]

    @property
    def alarms(self) -> tuple[tuple[GapChart, Point], ...]:
        """Every date of every chart out of control, in order of date; those that shrank too."""
        found = [(one, point) for one in self.charts for point in one.chart.alarms]
        return tuple(sorted(found, key=lambda pair: pair[1].date))

    @property
    def frame(self) -> Any:
        """Every chart x date as a row of a pandas DataFrame."""
        import pandas as pd

        rows = []
        for one in self.charts:
            named = {
                "attribute": one.attribute,
                "metric": one.metric,
                "group": one.group,
                "reference": one.reference,
                "centre": one.chart.centre,
            }
            rows += [{**named, **plain(point), "date": point.date} for point in one.chart.points]
        return pd.DataFrame(rows)

    def of(self, metric: str, group: str, reference: str) -> GapChart:
        """One chart.

        Raises:
            UsageError: there is none of these two groups.
        """
        for one in self.charts:
            if (one.metric, one.group, one.reference) == (metric, group, reference):
                return one
        known = [f"{c.metric}: {c.group} minus {c.reference}" for c in self.charts]
        raise UsageError(
            f"there is no chart of {metric!r}, {group!r} minus {reference!r}: {first(known, 20)}."
        )

    def __repr__(self) -> str:
        return (
            f"Monitoring({self.title}: {len(self.charts)} charts of {len(self.dates)} dates: {self.outcome})"
        )
