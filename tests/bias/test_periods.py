"""Dates of evidence: from file names, from a column; the usual step and what is missing."""

from datetime import date, datetime

import pytest

from clinometer.bias.periods import (
    date_of,
    dated_files,
    missing_dates,
    periods_in_a_year,
    read_dated,
    spacing,
    split_by_date,
)
from clinometer.errors import DataError, UsageError
from clinometer.evidence import from_columns
from clinometer.evidence_files import write


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("2026-11-03", date(2026, 11, 3)),
        ("scores_2026-11", date(2026, 11, 1)),
        ("20261103_final", date(2026, 11, 3)),
        ("v2_2026.11.03", date(2026, 11, 3)),
        ("2026-13-01", None),
        ("model12345", None),
        ("2026-11-03_to_2026-12-03", None),
        ("none", None),
    ],
)
def test_date_of_a_name(name, expected):
    assert date_of(name) == expected


def small(value=1):
    return from_columns(
        {"prediction": [value, 0], "group": ["a", "b"]}, prediction="prediction", groups=["group"]
    )


def test_files_are_read_in_order_of_their_dates(tmp_path):
    for month in (11, 9, 10):
        write(small(), tmp_path / f"2026-{month:02d}-01.parquet")
    (tmp_path / "notes.txt").write_text("no table", encoding="utf-8")
    (tmp_path / ".2026-01-01.csv").write_text("hidden", encoding="utf-8")
    assert [at.month for at, _ in read_dated(tmp_path)] == [9, 10, 11]
    assert [evidence.groups for _, evidence in read_dated(tmp_path)] == [("group",)] * 3


def test_files_without_a_date_or_of_one_date_are_named(tmp_path):
    with pytest.raises(DataError, match="holds no"):
        dated_files(tmp_path)
    (tmp_path / "latest.csv").write_text("x", encoding="utf-8")
    with pytest.raises(DataError, match=r"no date in their name: 'latest\.csv'"):
        dated_files(tmp_path)
    (tmp_path / "latest.csv").unlink()
    for name in ("2026-11-01.csv", "2026-11.csv"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    with pytest.raises(DataError, match="are both of 2026-11-01"):
        dated_files(tmp_path)
    with pytest.raises(DataError, match="is no folder"):
        dated_files(tmp_path / "none")


@pytest.mark.parametrize(
    ("every", "starts"),
    [
        ("day", ["2026-01-05", "2026-01-11", "2026-02-02", "2026-12-31"]),
        ("week", ["2026-01-05", "2026-02-02", "2026-12-28"]),
        ("month", ["2026-01-01", "2026-02-01", "2026-12-01"]),
        ("quarter", ["2026-01-01", "2026-10-01"]),
        ("year", ["2026-01-01"]),
    ],
)
def test_a_column_of_dates_is_cut_into_periods(every, starts):
    days = ["2026-02-02", date(2026, 1, 5), datetime(2026, 1, 11, 23), "2026-12-31T10:00:00"]
    evidence = from_columns(
        {"p": [1, 0, 1, 0], "day": [str(d) for d in days], "g": list("abab")}, prediction="p", groups=["g"]
    )
    made = split_by_date(evidence, "day", every)
    assert [str(at) for at, _ in made] == starts
    assert sum(len(part) for _, part in made) == 4


def test_values_that_are_no_dates_are_refused():
    evidence = from_columns({"p": [1, 0], "day": ["2026-01-01", "soon"]}, prediction="p")
    with pytest.raises(DataError, match=r"1 values that are no date, e\.g\. 'soon'; first rows: '1'"):
        split_by_date(evidence, "day")
    with pytest.raises(DataError, match="did you mean 'day'"):
        split_by_date(evidence, "dya")
    with pytest.raises(UsageError, match="did you mean 'month'"):
        split_by_date(evidence, "day", "months")


def months(*numbers, day=1):
    return [date(2026 + (n - 1) // 12, (n - 1) % 12 + 1, day) for n in numbers]


def test_the_usual_step_and_what_is_missing():
    monthly = months(1, 2, 3, 5, 6, 9, 10, 11)
    assert spacing(monthly) == (1, 0)
    assert missing_dates(monthly, (1, 0)) == months(4, 7, 8)
    assert missing_dates(months(*range(1, 30)), (1, 0)) == []
    at_the_end = [date(2026, 1, 31), date(2026, 2, 28), date(2026, 3, 31), date(2026, 4, 30)]
    assert spacing(at_the_end) == (1, 0)
    assert missing_dates(at_the_end, (1, 0)) == []
    weekly = [date(2026, 1, d) for d in (1, 8, 15, 29)]
    assert spacing(weekly) == (0, 7)
    assert missing_dates(weekly, (0, 7)) == [date(2026, 1, 22)]
    daily = [date(2026, 1, d) for d in (1, 2, 3, 5, 6)]
    assert missing_dates(daily, spacing(daily)) == [date(2026, 1, 4)]
    with pytest.raises(DataError, match="two are needed"):
        spacing(monthly[:1])


@pytest.mark.parametrize(
    ("step", "number"), [((1, 0), 12), ((3, 0), 4), ((12, 0), 1), ((0, 7), 52), ((0, 1), 365)]
)
def test_periods_in_a_year(step, number):
    assert periods_in_a_year(step) == number
