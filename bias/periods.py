"""Evidence by date: from the names of files, or from a column; and the periods that are missing."""

import dataclasses
import itertools
import re
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from ..errors import DataError, UsageError, did_you_mean, first
from ..evidence import Evidence
from ..evidence_files import read

Every = Literal["day", "week", "month", "quarter", "year"]
EVERY: tuple[Every, ...] = ("day", "week", "month", "quarter", "year")
SUFFIXES = {".parquet", ".pq", ".csv"}
# Without a day no digit may follow: 2026-11-3 and 2026-11-035 are no dates, rather than a first of November.
IN_A_NAME = re.compile(r"(?<!\d)(\d{4})[-_.]?(\d{2})(?:[-_.]?(\d{2})(?!\d)|(?![-_.]?\d))")
MONTHS = {"month": 1, "quarter": 3, "year": 12}
DAYS = {"day": 1, "week": 7}


def dated_files(folder: str | Path) -> list[tuple[date, Path]]:
    """CSV and Parquet files of a folder in order of the date in their names: 2026-11-03.parquet, scores_2026-11.csv.

    A name without a day is of the first of its month. Files whose name begins with a dot do not count.

    Raises:
        DataError: no such folder, no file in it, a file without a date, or two of one date.
    """
    place = Path(folder)
    if not place.is_dir():
        raise DataError(f"{place} is no folder. Name a folder of dated files, as 2026-11-03.parquet.")
    files = sorted(f for f in place.iterdir() if f.suffix.lower() in SUFFIXES and not f.name.startswith("."))
    if not files:
        raise DataError(
            f"{place} holds no .csv or .parquet file. Dated files are expected, as 2026-11-03.parquet."
        )
    found: dict[date, Path] = {}
    nameless = []
    for file in files:
        at = date_of(file.stem)
        if at is None:
            nameless.append(file.name)
        elif at in found:
            raise DataError(
                f"{found[at].name} and {file.name} are both of {at}. One file for each date is expected."
            )
        else:
            found[at] = file
    if nameless:
        raise DataError(
            f"{len(nameless)} files have no date in their name: {first(nameless)}. Name them as 2026-11-03.parquet, "
            "or move them elsewhere."
        )
    return sorted(found.items())


def date_of(name: str) -> date | None:
    """The date in a name, year first; None where there is none, or more than one."""
    found = set()
    for year, month, day in IN_A_NAME.findall(name):
        try:
            found.add(date(int(year), int(month), int(day or 1)))
        except ValueError:
            continue
    return found.pop() if len(found) == 1 else None


def read_dated(folder: str | Path, **roles: Any) -> Iterator[tuple[date, Evidence]]:
    """Each dated file of a folder, read when its turn comes; roles as in `evidence.read`."""
    for at, file in dated_files(folder):
        yield at, read(file, **roles)


def split_by_date(evidence: Evidence, column: str, every: Every = "month") -> list[tuple[date, Evidence]]:
    """The rows of each period by a column of dates, in order; a period is called by its first day.

    Args:
        evidence: rows of all dates.
        column: dates, times, or texts that begin with a date, 2026-11-03.
        every: how long a period is; weeks begin on Monday.

    Raises:
        DataError: no such column, or a value that is no date.
        UsageError: another length.
    """
    if every not in EVERY:
        raise UsageError(f"a period of a {every!r} is unknown: {did_you_mean(str(every), EVERY)}")
    if column not in evidence.table.column_names:
        raise DataError(f"there is no column {column!r}: {did_you_mean(column, evidence.table.column_names)}")
    values = evidence.table.column(column).to_pylist()
    starts: list[date] = []
    bad = []
    for i, value in enumerate(values):
        at = _as_date(value)
        if at is None:
            bad.append(i)
        else:
            starts.append(_start(at, every))
    if bad:
        ids = evidence.ids
        raise DataError(
            f"column {column!r} has {len(bad)} values that are no date, e.g. {values[bad[0]]!r}; first rows: "
            f"{first(ids[i] for i in bad)}. Dates as 2026-11-03 are expected."
        )
    code = np.array([start.toordinal() for start in starts])
    return [
        (
            date.fromordinal(int(at)),
            dataclasses.replace(evidence, table=evidence.table.take(pa.array(np.flatnonzero(code == at)))),
        )
        for at in np.unique(code)
    ]


def spacing(dates: Sequence[date]) -> tuple[int, int]:
    """The usual step from one date to the next, as (months, days), one of which is 0.

    Raises:
        DataError: fewer than two dates.
    """
    if len(dates) < 2:
        raise DataError(f"{len(dates)} dates have no spacing; two are needed.")
    days = median((b - a).days for a, b in itertools.pairwise(dates))
    for months, least, most in ((1, 28, 31), (3, 89, 92), (12, 365, 366)):
        if least <= days <= most:
            return months, 0
    return 0, max(1, round(days))


def periods_in_a_year(step: tuple[int, int]) -> int:
    """How many such steps make a year, at least one."""
    months, days = step
    return 12 // months if months else max(1, round(365.25 / days))


def missing_dates(dates: Sequence[date], step: tuple[int, int]) -> list[date]:
    """Dates that the usual step leads to and nothing was given for."""
    months, days = step
    made = []
    for a, b in itertools.pairwise(dates):
        for k in range(1, 10_000):
            expected = _months_later(a, months * k) if months else a + timedelta(days=days * k)
            ahead = (b - expected).days
            if ahead < (15 * months if months else max(1, (days + 1) // 2)):
                break
            made.append(expected)
    return made


def _as_date(value: Any) -> date | None:
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value)[:10])
    except ValueError:
        return None


def _start(at: date, every: Every) -> date:
    if every == "day":
        return at
    if every == "week":
        return at - timedelta(days=at.weekday())
    months = MONTHS[every]
    return date(at.year, (at.month - 1) // months * months + 1, 1)


def _months_later(at: date, months: int) -> date:
    year, month = divmod(at.year * 12 + at.month - 1 + months, 12)
    for day in range(at.day, 27, -1):
        try:
            return date(year, month + 1, day)
        except ValueError:
            continue
    return date(year, month + 1, min(at.day, 28))
