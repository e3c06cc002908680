"""Monitoring: a folder of dated files, alarms at the stated rate over all charts, exit codes, what is missing."""

from datetime import date

import numpy as np
import pytest

from clinometer.bias.monitor import monitor
from clinometer.bias.periods import split_by_date
from clinometer.bias.policy import parse_policy
from clinometer.errors import DataError, PolicyError, UsageError
from clinometer.evidence import from_columns
from clinometer.evidence_files import write


def month(i):
    return date(2024 + i // 12, i % 12 + 1, 1)


def table(draw, rates, n=400, **extra):
    group = np.repeat(list("abcdef")[: len(rates)], n)
    hit = draw.random(len(group)) < np.repeat(rates, n)
    return from_columns(
        {"prediction": hit.astype(int), "group": group, **extra}, prediction="prediction", groups=["group"]
    )


def gate(**extra):
    return parse_policy(
        {"name": "t", "set_by": "the test", "tolerance": {"selection_rate": 0.1}, **extra}, where="test"
    )


def year(seed, *, dates=18, rates=(0.3, 0.4, 0.35), shift=0.0, after=15, n=400):
    draw = np.random.default_rng(seed)
    return [
        (month(i), table(draw, [rates[0] - (shift if i >= after else 0), *rates[1:]], n))
        for i in range(dates)
    ]


def test_no_change_no_alarm():
    made = monitor(year(0), gate())
    assert made.outcome == "no alarm"
    assert made.exit_code == 0
    assert len(made.charts) == 3
    assert made.plan["level"] == pytest.approx(0.05 / (3 * 12))
    assert made.plan["horizon"] == 12


def test_a_shift_is_found_and_said_where_and_when():
    made = monitor(year(1, shift=0.2), gate())
    assert made.exit_code == 1
    chart = made.of("selection_rate", "a", "b")
    assert chart.outcome == "alarm"
    assert chart.reason.startswith("grew at 2025-04-01, 2025-05-01")
    assert made.of("selection_rate", "b", "c").outcome == "no alarm"
    assert {point.date for _, point in made.alarms} <= {month(15), month(16), month(17)}


def test_a_gap_that_closes_is_shown_and_is_no_alarm():
    made = monitor(year(2, rates=(0.15, 0.4), shift=-0.25), gate())
    assert made.outcome == "no alarm" and made.exit_code == 0
    assert {point.status for _, point in made.alarms} == {"shrank"}


def test_family_wise_false_alarms_over_charts_and_dates():
    # 100 years of 12 dates and 3 charts each at 20 % of years: 4 standard errors are 16 years.
    alarms = sum(
        bool(monitor(year(seed, dates=24, n=120), gate(), false_alarms=0.2).alarms)
        for seed in range(100, 200)
    )
    assert alarms <= 36


def test_an_alarm_before_since_decides_nothing():
    rows = year(3, dates=20, shift=0.25, after=13)
    calm = year(4, dates=20)
    mixed = rows[:14] + calm[14:]
    assert monitor(mixed, gate()).exit_code == 1
    later = monitor(mixed, gate(), since=month(16))
    assert later.exit_code == 0
    assert later.alarms


def test_a_folder_gives_what_its_tables_give(tmp_path):
    rows = year(5, shift=0.2)
    for at, evidence in rows:
        write(evidence, tmp_path / f"{at}.parquet")
    made = monitor(tmp_path, gate())
    assert made.charts == monitor(rows, gate()).charts
    assert len(made.frame) == 3 * 18
    assert made.frame["date"].iloc[0] == month(0)


def test_a_column_of_dates_gives_what_separate_tables_give():
    rows = year(6, shift=0.2)
    columns = {"prediction": [], "group": [], "day": []}
    for at, evidence in rows:
        columns["prediction"] += evidence.table.column("prediction").to_pylist()
        columns["group"] += evidence.table.column("group").to_pylist()
        columns["day"] += [str(at)] * len(evidence)
    together = from_columns(columns, prediction="prediction", groups=["group"])
    made = monitor(split_by_date(together, "day"), gate())
    assert made.charts == monitor(rows, gate()).charts


def test_counted_rows_give_what_the_rows_give():
    rows = year(7)
    counted = []
    for at, evidence in rows:
        keys = list(
            zip(
                evidence.table.column("prediction").to_pylist(),
                evidence.table.column("group").to_pylist(),
                strict=True,
            )
        )
        distinct = sorted(set(keys))
        counted.append(
            (
                at,
                from_columns(
                    {
                        "prediction": [k[0] for k in distinct],
                        "group": [k[1] for k in distinct],
                        "n": [keys.count(k) for k in distinct],
                    },
                    prediction="prediction",
                    groups=["group"],
                    count="n",
                ),
            )
        )
    assert monitor(counted, gate()).charts == monitor(rows, gate()).charts


def test_missing_and_small_dates_are_said():
    rows = year(8)
    del rows[14]
    draw = np.random.default_rng(0)
    rows[15] = (rows[15][0], table(draw, (0.3, 0.4, 0.35), 4))
    made = monitor(rows, gate())
    assert made.missing == (month(14),)
    assert "1 dates are missing: '2025-03-01'" in " ".join(made.notes)
    assert {
        point.status for one in made.charts for point in one.chart.points if point.date == rows[15][0]
    } == {"too small"}
    assert made.outcome == "no alarm"


def test_the_policys_smallest_group_holds_at_each_date():
    assert monitor(year(8, n=40), gate(min_group=41)).exit_code == 4
    made = monitor(year(8, n=40), gate(min_group=40))
    assert made.exit_code == 0
    assert "40 and 40 in the denominators: fewer than 41 in one" in {
        point.note for one in monitor(year(8, n=40), gate(min_group=41)).charts for point in one.chart.points
    }


def test_a_newest_date_that_is_too_small_is_not_assessed():
    rows = year(9)
    rows[-1] = (rows[-1][0], table(np.random.default_rng(0), (0.3, 0.4, 0.35), 4))
    made = monitor(rows, gate())
    assert made.outcome == "not assessed" and made.exit_code == 4


def test_a_baseline_without_dates_after_it_is_not_assessed():
    made = monitor(year(10, dates=12), gate())
    assert made.exit_code == 4
    assert {one.reason for one in made.charts} == {"no date after the baseline"}


def test_a_baseline_may_be_a_date_and_limits_do_not_move_as_files_are_added():
    rows = year(11, dates=24)
    short, long = monitor(rows[:16], gate(), baseline=month(11)), monitor(rows, gate())
    for a, b in zip(short.charts, long.charts, strict=True):
        assert a.chart.points == b.chart.points[:16]


def test_a_group_that_appears_later_is_said():
    rows = year(12, rates=(0.3, 0.4), dates=16)
    late = year(12, rates=(0.3, 0.4, 0.35), dates=18)[16:]
    made = monitor(rows + late, gate())
    assert [(one.group, one.reference) for one in made.charts] == [("a", "b")]
    assert "Not charted, since the baseline has them nowhere" in " ".join(made.notes)


def test_a_declared_group_that_is_never_there_is_not_assessed():
    made = monitor(year(13), gate(groups={"group": {"values": ["a", "b", "c", "z"]}}))
    assert made.exit_code == 4
    assert "0 of the first 12 dates are large enough" in made.of("selection_rate", "a", "z").reason


def test_scores_and_weights():
    draw = np.random.default_rng(14)
    rows = []
    for i in range(18):
        group = np.tile(["a", "b"], 300)
        score = draw.normal(size=600) + np.where((group == "a") & (i >= 15), -1.0, 0.0)
        weight = draw.choice([0.5, 2.0], 600)
        rows.append(
            (
                month(i),
                from_columns({"s": score, "g": group, "w": weight}, score="s", groups=["g"], weight="w"),
            )
        )
    made = monitor(rows, metrics=["s"])
    assert made.exit_code == 1
    point = made.of("s", "a", "b").chart.points[0]
    w = np.array(rows[0][1].table.column("w").to_pylist())[::2]
    assert point.n_group == pytest.approx(w.sum() ** 2 / (w**2).sum())


@pytest.mark.parametrize(
    ("rules", "settings", "error", "said"),
    [
        ({}, {"metrics": []}, UsageError, "nothing is declared"),
        ({}, {"metrics": ["selection"]}, PolicyError, "2024-01-01: 'selection' cannot be charted"),
        ({}, {"false_alarms": -1.0}, UsageError, "positive numbers"),
        ({}, {"false_alarms": 100.0}, UsageError, "ask for fewer"),
        ({}, {"baseline": 3}, UsageError, "5 or more"),
        ({}, {"label": "y"}, UsageError, "'label' names roles"),
        ({"groups": {"group": {"compare": "overall"}}}, {}, PolicyError, "counts its rows twice"),
        ({"groups": {"group": {"reference": "(best)"}}}, {}, PolicyError, "another group at each date"),
        ({"groups": {"grup": {}}}, {}, PolicyError, "did you mean 'group'"),
    ],
)
def test_refusals(rules, settings, error, said):
    with pytest.raises(error, match=said):
        monitor(year(15, n=20), gate(**rules), **settings)


def test_dates_twice_or_alone_are_refused():
    rows = year(16, n=20)
    with pytest.raises(DataError, match="2024-01-01 is given twice"):
        monitor([*rows, rows[0]], gate())
    with pytest.raises(DataError, match="at least one date after it"):
        monitor(rows[:1], gate())


def test_everybody_else_is_a_reference():
    made = monitor(year(17, shift=0.2), gate(groups={"group": {"compare": "complement"}}))
    assert len(made.charts) == 3
    assert made.of("selection_rate", "a", "everyone else").outcome == "alarm"
