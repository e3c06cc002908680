"""Edges of monitoring: which date is said, how late is missing, how many alarms are named, horizons."""

import math
from datetime import date, timedelta

import pytest

from clinometer.bias.monitor import monitor
from clinometer.bias.periods import date_of, missing_dates, periods_in_a_year, spacing, split_by_date
from clinometer.bias.policy import parse_policy
from clinometer.errors import DataError, UsageError
from clinometer.evidence import from_columns


def month(i, day=1):
    return date(2024 + i // 12, i % 12 + 1, day)


def later(n, step):
    """Two dates so far apart, and the days from the expected date to the second."""
    first = date(2026, 1, 1)
    return [first, first + timedelta(days=n)], step


@pytest.mark.parametrize(
    ("days", "step", "missing"),
    [
        # The first of February is 31 days on; fifteen days late it counts as missing, fourteen as late.
        (31, (1, 0), []),
        (31 + 14, (1, 0), []),
        (31 + 15, (1, 0), [date(2026, 2, 1)]),
        (90 + 44, (3, 0), []),
        (90 + 45, (3, 0), [date(2026, 4, 1)]),
        (365 + 179, (12, 0), []),
        (365 + 180, (12, 0), [date(2027, 1, 1)]),
        # Of days, half a step and half a day.
        (1, (0, 1), []),
        (2, (0, 1), [date(2026, 1, 2)]),
        (3, (0, 2), [date(2026, 1, 3)]),
        (2, (0, 2), []),
        (4, (0, 3), []),
        (5, (0, 3), [date(2026, 1, 4)]),
        (10, (0, 7), []),
        (11, (0, 7), [date(2026, 1, 8)]),
        (17, (0, 7), [date(2026, 1, 8)]),
        (18, (0, 7), [date(2026, 1, 8), date(2026, 1, 15)]),
        (14, (0, 10), []),
        (15, (0, 10), [date(2026, 1, 11)]),
        (3, (0, 10), []),  # early is not missing
    ],
)
def test_how_late_a_date_is_missing(days, step, missing):
    assert missing_dates(*later(days, step)) == missing


def test_the_last_day_of_a_month_is_followed_by_that_of_the_next():
    ends = [date(2027, 10, 31), date(2028, 4, 30)]
    assert missing_dates(ends, (1, 0)) == [
        date(2027, 11, 30),
        date(2027, 12, 31),
        date(2028, 1, 31),
        date(2028, 2, 29),
        date(2028, 3, 31),
    ]
    assert missing_dates([date(2026, 12, 28), date(2027, 3, 28)], (1, 0)) == [
        date(2027, 1, 28),
        date(2027, 2, 28),
    ]
    assert missing_dates([], (1, 0)) == missing_dates([date(2026, 1, 1)], (1, 0)) == []


@pytest.mark.parametrize(
    ("days", "step"),
    [
        (1, (0, 1)),
        (7, (0, 7)),
        (27, (0, 27)),
        (28, (1, 0)),
        (31, (1, 0)),
        (32, (0, 32)),
        (88, (0, 88)),
        (89, (3, 0)),
        (92, (3, 0)),
        (93, (0, 93)),
        (364, (0, 364)),
        (365, (12, 0)),
        (366, (12, 0)),
        (367, (0, 367)),
    ],
)
def test_steps_that_are_months_and_steps_that_are_days(days, step):
    assert spacing([date(2026, 1, 1), date(2026, 1, 1) + timedelta(days=days)]) == step


def test_a_step_is_the_median_of_steps_and_never_nothing():
    begin = date(2026, 1, 1)
    assert spacing([begin, begin]) == (0, 1)
    assert spacing([begin + timedelta(days=n) for n in (0, 3, 4, 11)]) == (0, 3)
    assert spacing([begin + timedelta(days=n) for n in (0, 3, 8)]) == (0, 4)
    for n in (0, 1):
        with pytest.raises(DataError, match=rf"^{n} dates have no spacing; two are needed\.$"):
            spacing([begin] * n)


@pytest.mark.parametrize(
    ("step", "n"),
    [((1, 0), 12), ((2, 0), 6), ((5, 0), 2), ((0, 1), 365), ((0, 30), 12), ((0, 365), 1), ((0, 1000), 1)],
)
def test_how_many_steps_make_a_year(step, n):
    assert periods_in_a_year(step) == n


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("2026-11", date(2026, 11, 1)),
        ("202611", date(2026, 11, 1)),
        ("2026_11_30", date(2026, 11, 30)),
        ("2026-11-31", None),
        ("2026-00-10", None),
        ("12026-11-03", None),
        ("a2026-11-03b", date(2026, 11, 3)),
        ("2026-11-03 and 2026-11-03", date(2026, 11, 3)),  # the same twice
        ("2026-11-03 and 2026-99-03", date(2026, 11, 3)),  # the other is no date
        ("2026-11-03 and 2026-11-04", None),
        ("2026-11-3", None),  # rather than the first of November
        ("2026-11-035", None),
        ("2026-11-03_2", date(2026, 11, 3)),
        ("", None),
    ],
)
def test_dates_in_names(name, found):
    assert date_of(name) == found


@pytest.mark.parametrize(
    ("every", "starts"),
    [
        ("week", [date(2026, 3, 30), date(2026, 4, 6), date(2026, 12, 28)]),
        ("month", [date(2026, 4, 1), date(2027, 1, 1)]),
        ("quarter", [date(2026, 4, 1), date(2027, 1, 1)]),
        ("year", [date(2026, 1, 1), date(2027, 1, 1)]),
    ],
)
def test_a_period_begins_on_its_first_day(every, starts):
    days = ["2026-04-05", "2026-04-06", "2027-01-01"]  # a Sunday, a Monday, a Friday
    rows = from_columns({"p": [1, 0, 1], "day": days}, prediction="p")
    assert [at for at, _ in split_by_date(rows, "day", every)] == starts


def test_what_is_no_date_is_counted_and_the_first_is_shown():
    days = ["2026-01-01", "soon", "2026-13-01", "2026-01-0", "2026-01-01T99"]
    rows = from_columns({"p": [1, 0, 1, 0, 1], "day": days}, prediction="p")
    with pytest.raises(DataError) as refused:
        split_by_date(rows, "day")
    assert str(refused.value) == (
        "column 'day' has 3 values that are no date, e.g. 'soon'; first rows: '1', '2', '3'. Dates as 2026-11-03 are "
        "expected."
    )


# Charts: rates made exactly, without chance.


def table(rates, n=100, **columns):
    said = [i * rate // n != (i - 1) * rate // n for rate in rates for i in range(n)]
    group = [name for name, _ in zip("abcdef", rates, strict=False) for _ in range(n)]
    return from_columns({"p": said, "g": group, **columns}, prediction="p", groups=["g"])


RATES = [30, 34, 27, 31, 29, 33]  # of a hundred, in turn


def dated(n, *, moved=(), small=(), first=0):
    """Dates with two groups; at some the first group is far below, at some there are four rows of each."""
    made = []
    for i in range(first, first + n):
        rates = [1 if i in moved else RATES[i % 6], RATES[(i + 2) % 6]]
        made.append((month(i), table(rates, n=4 if i in small else 100)))
    return made


def gate(**extra):
    return parse_policy(
        {"name": "t", "set_by": "the test", "tolerance": {"selection_rate": 0.1}, **extra}, where="t"
    )


def test_the_newest_date_decides_whether_anything_is_assessed():
    last = monitor(dated(17, small=[16]), gate()).charts[0]
    assert last.outcome == "not assessed"
    said = "4 and 4 in the denominators: fewer than 5 of yes or of no are expected at the baseline's rates"
    assert last.reason == f"2025-05-01: {said}"
    for small in ([15], [12], [12, 13, 14, 15]):
        assert monitor(dated(17, small=small), gate()).charts[0].outcome == "no alarm"
    only = monitor(dated(13, small=[12]), gate()).charts[0]
    assert only.outcome == "not assessed" and only.reason == f"2025-01-01: {said}"


@pytest.mark.parametrize(("n", "more"), [(1, ""), (4, ""), (5, ""), (6, " and 1 more"), (8, " and 3 more")])
def test_five_alarms_are_named_and_of_more_their_number(n, more):
    made = monitor(dated(13 + n, moved=range(13, 13 + n)), gate()).charts[0]
    listed = ", ".join(str(month(13 + i)) for i in range(min(n, 5)))
    last = [point for point in made.chart.points if point.status == "grew"][-1]
    assert made.reason == (f"grew at {listed}{more}; {last.estimate:+.3f}, usually {made.chart.centre:+.3f}")
    assert last.date == month(12 + n)


def test_an_alarm_on_the_day_itself_counts_since_that_day():
    rows = dated(18, moved=[14])
    assert monitor(rows, gate(), since=month(14)).outcome == "alarm"
    assert monitor(rows, gate(), since=month(15)).outcome == "no alarm"
    late = monitor(rows, gate(), since=month(18))
    assert (late.charts[0].outcome, late.charts[0].reason) == ("not assessed", "no date after the baseline")


def test_a_baseline_in_dates_is_up_to_and_with_the_last():
    rows = dated(16)
    for baseline in (10, month(9), month(9, day=30)):
        made = monitor(rows, gate(), baseline=baseline)
        assert made.plan["baseline"] == ["2024-01-01", "2024-10-01"]
        assert made.charts[0].chart.n_baseline == 10
    assert monitor(rows, gate(), baseline=99).plan["baseline"] == ["2024-01-01", "2025-04-01"]
    with pytest.raises(UsageError, match="5 or more"):
        monitor(rows, gate(), baseline=4)
    assert monitor(rows, gate(), baseline=5).charts[0].chart.n_baseline == 5


def test_the_level_is_shared_out_over_charts_and_dates():
    made = monitor(dated(14), gate(), false_alarms=0.3, horizon=1)
    assert (made.plan["level"], made.plan["horizon"], made.plan["charts"]) == (pytest.approx(0.3), 1, 1)
    assert monitor(dated(14), gate(alpha=0.2)).plan["level"] == pytest.approx(0.2 / 12)
    just = math.nextafter(1.0, 0.0)
    assert monitor(dated(14), gate(), false_alarms=just, horizon=1).plan["level"] == just
    with pytest.raises(UsageError) as refused:
        monitor(dated(14), gate(), false_alarms=2.0, horizon=2)
    assert str(refused.value) == (
        "2 false alarms over 1 charts and 2 dates are one at every date: ask for fewer."
    )
    for alarms, horizon in ((0.0, 1), (-0.1, 1), (0.1, 0), (0.1, -1), (math.nan, 1)):
        with pytest.raises(UsageError) as refused:
            monitor(dated(14), gate(), false_alarms=alarms, horizon=horizon)
        assert str(refused.value) == (
            f"false_alarms is {alarms} and horizon {horizon}; positive numbers are expected."
        )


def test_two_dates_are_the_fewest():
    for n in (0, 1):
        with pytest.raises(
            DataError,
            match=rf"^{n} dates were given; a chart takes a baseline and at least one date after it\.$",
        ):
            monitor(dated(n), gate())
    with pytest.raises(UsageError, match="5 or more"):
        monitor(dated(2), gate(), baseline=1)


def test_eight_missing_dates_are_named_and_of_more_their_number():
    for gone, said in ((8, ""), (9, " and 1 more")):
        rows = dated(14) + dated(1, first=14 + gone)
        made = monitor(rows, gate())
        assert made.missing == tuple(month(14 + i) for i in range(gone))
        listed = ", ".join(f"'{month(14 + i)}'" for i in range(8))
        assert made.notes == (f"{gone} dates are missing: {listed}{said}.",)
    assert monitor(dated(14), gate()).notes == ()


def test_clusters_are_told_in_one_of_two_ways():
    rows = [
        (month(i), from_columns(
            {**{name: table([RATES[i % 6], RATES[(i + 2) % 6]]).table.column(name).to_pylist() for name in "pg"},
             "c": [j % 40 for j in range(200)]}, prediction="p", groups=["g"], cluster="c"))
        for i in range(14)
    ]  # fmt: skip
    assert monitor(rows, gate()).notes == (
        "Rows come in clusters: the noise of a date is taken from how dates of the baseline differ.",
    )
    assert monitor(rows, gate(), binomial=True).notes == (
        "Rows come in clusters, and the noise is taken to be that of independent rows: alarms will be too many.",
    )


def test_the_plan_says_what_was_asked():
    made = monitor(dated(14), gate(), kind="ewma", smoothing=0.3, binomial=True, title="own")
    assert made.title == "own" and made.plan["smoothing"] == 0.3 and made.plan["kind"] == "ewma"
    assert made.plan["dispersion"] == "that of independent rows"
    plain = monitor(dated(14), gate())
    assert plain.title == "monitoring" and plain.plan["smoothing"] is None
    assert plain.plan["dispersion"] == "estimated from the baseline"
    assert plain.plan["step"] == {"months": 1, "days": 0} and plain.plan["false_alarms"] == 0.05
