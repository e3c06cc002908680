"""Each declared gap over dates as a control chart, with false alarms kept at a stated rate over all of them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from ..errors import DataError, UsageError, first
from ..evidence import Evidence
from .control_charts import Chart, Kind, control_chart
from .monitored import OUTCOMES, GapChart, Monitoring, Outcome
from .periods import missing_dates, periods_in_a_year, read_dated, spacing
from .policy import Policy, read_policy
from .tallies import NOBODY, Period, tallied


def monitor(
    source: str | Path | Iterable[tuple[date, Evidence]],
    policy: Policy | str | Path | None = None,
    *,
    baseline: int | date = 12,
    false_alarms: float | None = None,
    horizon: int | None = None,
    kind: Kind = "shewhart",
    smoothing: float = 0.2,
    binomial: bool = False,
    since: date | None = None,
    metrics: Sequence[str] | None = None,
    least: float | None = None,
    title: str = "monitoring",
    **roles: Any,
) -> Monitoring:
    """A chart of every declared gap: where it left the limits that the first dates set, and whether it grew.

    Args:
        source: a folder of dated files, or (date, Evidence) pairs, as `periods.split_by_date` makes them from a column.
        policy: groups and metrics. The gaps of the metrics in its tolerances are charted.
        baseline: how many of the first dates set the limits, or the last date that does.
        false_alarms: expected number of alarms on changes that are none, over all charts and `horizon` dates: an upper
            bound of the chance of any. The policy's alpha where it is not given.
        horizon: over how many dates; None is a year, by the usual step between dates of the baseline, so that limits
            do not move as files are added.
        kind, smoothing, binomial, least: see `control_charts.control_chart`.
        since: an alarm decides the outcome from this date on.
        metrics: in place of the policy's.
        title: what the monitoring calls itself.
        roles: for a folder, as in `evidence.read`: label, prediction, groups and so on.

    Raises:
        DataError: no files or dates, two of one date, or nothing after the baseline has been read at all.
        PolicyError: groups or metrics that are not there, a comparison with everybody or the best group.
        UsageError: nothing is declared, or a number out of range.
    """
    rules = read_policy(policy) if isinstance(policy, (str, Path)) else policy or Policy()
    names = list(metrics) if metrics is not None else list(rules.tolerance)
    if not names:
        raise UsageError("nothing is declared: name metrics, or a policy with tolerances.")
    if isinstance(source, (str, Path)):
        source = read_dated(source, **roles)
    elif roles:
        raise UsageError(f"{first(roles)} names roles of columns in files; evidence in hand has its own.")
    read: dict[date, Period] = {}
    for at, evidence in source:
        if at in read:
            raise DataError(f"{at} is given twice. One table for each date is expected.")
        read[at] = tallied(evidence, rules, names, at)
    dates = sorted(read)
    if len(dates) < 2:
        raise DataError(
            f"{len(dates)} dates were given; a chart takes a baseline and at least one date after it."
        )
    n_baseline = baseline if isinstance(baseline, int) else sum(at <= baseline for at in dates)
    step = spacing(dates[:n_baseline] if n_baseline > 1 else dates)
    over = horizon if horizon is not None else periods_in_a_year(step)
    expected = rules.alpha if false_alarms is None else false_alarms
    pairs = _pairs(read, dates[:n_baseline], names)
    if over < 1 or not expected > 0:
        raise UsageError(f"false_alarms is {expected} and horizon {over}; positive numbers are expected.")
    level = expected / (len(pairs) * over)
    if not level < 1:
        raise UsageError(
            f"{expected:g} false alarms over {len(pairs)} charts and {over} dates are one at every date: ask for fewer."
        )
    charts = []
    for attribute, metric, group, reference in pairs:
        key = (attribute, metric)
        chart = control_chart(
            dates,
            [read[at].tallies.get((*key, group, reference), (NOBODY, NOBODY))[0] for at in dates],
            [read[at].tallies.get((*key, group, reference), (NOBODY, NOBODY))[1] for at in dates],
            baseline=n_baseline,
            level=level,
            is_rate=any(metric in read[at].rates for at in dates),
            kind=kind,
            smoothing=smoothing,
            binomial=binomial,
            least=least,
            smallest=rules.min_group,
        )
        outcome, reason = _outcome(chart, n_baseline, since)
        charts.append(
            GapChart(
                attribute=attribute,
                metric=metric,
                group=group,
                reference=reference,
                chart=chart,
                outcome=outcome,
                reason=reason,
            )
        )
    missing = missing_dates(dates, step)
    return Monitoring(
        title=title,
        dates=tuple(dates),
        missing=tuple(missing),
        since=since,
        plan={
            "policy": rules.model_dump(mode="json"),
            "metrics": names,
            "baseline": [str(dates[0]), str(dates[min(n_baseline, len(dates)) - 1])],
            "false_alarms": expected,
            "horizon": over,
            "charts": len(pairs),
            "level": level,
            "kind": kind,
            "smoothing": smoothing if kind == "ewma" else None,
            "dispersion": "that of independent rows" if binomial else "estimated from the baseline",
            "step": {"months": step[0], "days": step[1]},
        },
        charts=tuple(charts),
        outcome=next(o for o in OUTCOMES if any(one.outcome == o for one in charts)),
        notes=tuple(_notes(read, dates, n_baseline, missing, pairs, binomial)),
    )


def _pairs(
    read: Mapping[date, Period], baseline: Sequence[date], names: Sequence[str]
) -> list[tuple[str, str, str, str]]:
    """Every gap that the baseline knows, or the policy declares."""
    found = dict.fromkeys(key for at in baseline for key in read[at].tallies)
    made = [key for name in names for key in found if key[1] == name]
    if not made:
        raise DataError("the baseline has no two groups to compare.")
    return made


def _outcome(chart: Chart, n_baseline: int, since: date | None) -> tuple[Outcome, str]:
    if chart.centre is None:
        return "not assessed", chart.reason
    after = [point for point in chart.points[n_baseline:] if since is None or point.date >= since]
    grew = [point for point in after if point.status == "grew"]
    if grew:
        last = grew[-1]
        when = ", ".join(str(point.date) for point in grew[:5]) + (
            f" and {len(grew) - 5} more" if len(grew) > 5 else ""
        )
        return "alarm", f"grew at {when}; {last.estimate:+.3f}, usually {chart.centre:+.3f}"
    if not after:
        return "not assessed", "no date after the baseline"
    if after[-1].status == "too small":
        return "not assessed", f"{after[-1].date}: {after[-1].note}"
    return "no alarm", ""


def _notes(
    read: Mapping[date, Period],
    dates: Sequence[date],
    n_baseline: int,
    missing: Sequence[date],
    pairs: Sequence[tuple[str, str, str, str]],
    binomial: bool,
) -> list[str]:
    notes = []
    if missing:
        notes.append(f"{len(missing)} dates are missing: {first(missing, 8)}.")
    late = dict.fromkeys(
        key for at in dates[n_baseline:] for key in read[at].tallies if key not in set(pairs)
    )
    if late:
        shown = [f"{group} minus {reference} ({metric})" for _, metric, group, reference in late]
        notes.append(f"Not charted, since the baseline has them nowhere: {first(shown)}.")
    if any(period.clustered for period in read.values()):
        notes.append(
            "Rows come in clusters: the noise of a date is taken from how dates of the baseline differ."
            if not binomial
            else "Rows come in clusters, and the noise is taken to be that of independent rows: alarms will be too many."
        )
    return notes
