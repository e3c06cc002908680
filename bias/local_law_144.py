"""New York City's bias audit of hiring tools: rates and impact ratios by sex, race and both (6 RCNY 5-301).

The law sets no ratio that passes or fails, and neither does this: there is no verdict.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import DataError, UsageError, did_you_mean, first
from ..evidence import Evidence
from ..records import Status, plain
from .groups import JOINT, declared_joint, intersect
from .ratios import koopman
from .row_roles import row_counts
from .thresholds import above_median, median

Ints = npt.NDArray[np.int64]
Rate = Literal["selection rate", "scoring rate"]
SMALL = Fraction(2, 100)  # 5-301(d): a category below this share may be left out of the ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """One category of applicants: how many, the rate, and its ratio to the highest rate of its table."""

    table: str  # the column, or both joined with " & "
    category: str
    n_applicants: int
    n_selected: int  # selected; of a scoring tool: scored above the median
    rate: float | None
    impact_ratio: float | None
    low: float | None  # Koopman's interval of the ratio, the highest category taken as fixed
    high: float | None
    share: float  # of all rows, unknown ones included
    status: Status
    note: str = ""  # the written justification where left out of the ratio; otherwise why a number is missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Applicants who fall within no category of a table: in none of its calculations, and counted."""

    table: str
    n_applicants: int
    n_selected: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalLaw144:
    """The tables that 6 RCNY 5-301 asks for and 5-303 has published. The rule has no pass mark; nor is there one here."""

    rate: Rate
    median: float | None  # of all scores, that of unknown categories included; None of a selection rate
    n: int
    categories: tuple[Category, ...]
    unknown: tuple[Unknown, ...]
    confidence: float
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def frame(self) -> Any:
        """Every category of every table with its interval and status, as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame([plain(one) for one in self.categories])

    @property
    def tables(self) -> dict[str, Any]:
        """Each table with the rule's own columns and nothing else, as pandas DataFrames by name.

        A selecting tool: number of applicants, number selected, selection rate, impact ratio. A scoring tool:
        number of applicants, scoring rate, impact ratio. Missing values are ratios that do not exist or were left out.
        """
        import pandas as pd

        made = {}
        for name in dict.fromkeys(one.table for one in self.categories):
            rows = [one for one in self.categories if one.table == name]
            columns: dict[str, Any] = {"# of Applicants": [one.n_applicants for one in rows]}
            if self.rate == "selection rate":
                columns["# Selected"] = [one.n_selected for one in rows]
            columns[self.rate.title()] = [one.rate for one in rows]
            columns["Impact Ratio"] = [one.impact_ratio for one in rows]
            made[name] = pd.DataFrame(columns, index=pd.Index([one.category for one in rows], name=name))
        return made

    def of(self, table: str, category: str) -> Category:
        """One category of one table.

        Raises:
            UsageError: there is none of this name.
        """
        for one in self.categories:
            if (one.table, one.category) == (table, category):
                return one
        known = [f"{one.table}: {one.category}" for one in self.categories]
        raise UsageError(f"there is no category {category!r} of {table!r}: {first(known, 20)}.")

    def __repr__(self) -> str:
        return (
            f"LocalLaw144({self.rate} of {self.n} applicants, {len(self.categories)} categories; "
            "the law has no pass mark)"
        )


def local_law_144(
    evidence: Evidence,
    *,
    sex: str,
    race_ethnicity: str,
    rate: Rate | None = None,
    sexes: Sequence[str] = (),
    races: Sequence[str] = (),
    leave_out: Mapping[str, str] | None = None,
    confidence: float = 0.95,
) -> LocalLaw144:
    """Selection or scoring rates and impact ratios for each sex, race/ethnicity and their intersection.

    Impact ratio = rate of a category / highest rate of its table. A scoring rate is the share of a category that
    scored strictly above the median of all applicants.

    Args:
        evidence: applicants, with a prediction (selected or not) or a score, and both group columns.
        sex: the column of sex categories.
        race_ethnicity: the column of race/ethnicity categories.
        rate: "selection rate" of the prediction or "scoring rate" of the score; None takes the one there is.
        sexes: categories that appear even with no applicants; others are added as they occur.
        races: likewise.
        leave_out: category -> written justification; under 2 % of all rows only. It is shown with its rate, has no ratio
            and is not the highest of its table. An intersection is named "female & Asian".
        confidence: of the intervals of the ratios, which the rule does not ask for.

    Raises:
        UsageError: it is unclear which rate is meant; a category left out is unknown, too large, or unjustified.
        DataError: a column that is not there, or nobody with a known category.
    """
    kind = _kind(evidence, rate)
    chosen, middle = _chosen(evidence, kind)
    counted = row_counts(evidence)
    times = np.ones(len(evidence), dtype=np.int64) if counted is None else counted
    columns = {sex: evidence.group(sex), race_ethnicity: evidence.group(race_ethnicity)}
    declared: dict[str, Sequence[str]] = {sex: sexes, race_ethnicity: races}
    joint = JOINT.join(columns)
    columns[joint] = intersect(list(columns.values()))
    declared[joint] = declared_joint([sexes, races]) if sexes and races else ()
    n = int(times.sum())
    left = dict(leave_out or {})
    _justified(left)
    categories: list[Category] = []
    unknown: list[Unknown] = []
    for name, groups in columns.items():
        tallied = _tally(groups, declared[name], times, chosen)
        n_unknown, k_unknown = tallied.pop(None)
        unknown.append(Unknown(table=name, n_applicants=n_unknown, n_selected=k_unknown))
        categories += _table(name, {str(g): of for g, of in tallied.items()}, n, left, confidence)
    absent = [name for name in left if name not in {one.category for one in categories}]
    if absent:
        raise UsageError(
            f"leave_out names {first(absent)}: {did_you_mean(absent[0], [one.category for one in categories])}"
        )
    return LocalLaw144(
        rate=kind,
        median=middle,
        n=n,
        categories=tuple(categories),
        unknown=tuple(unknown),
        confidence=confidence,
        notes=_notes(kind, middle, unknown),
        provenance=dict(evidence.provenance),
    )


def _kind(evidence: Evidence, rate: Rate | None) -> Rate:
    if rate is None:
        if evidence.prediction is not None and evidence.score is not None:
            raise UsageError(
                'there are a prediction and a score: say rate="selection rate" of a tool that selects or '
                'rate="scoring rate" of one that scores.'
            )
        rate = "selection rate" if evidence.prediction is not None else "scoring rate"
    if rate not in {"selection rate", "scoring rate"}:
        raise UsageError(
            f"the rate is {rate!r}: {did_you_mean(str(rate), ('selection rate', 'scoring rate'))}"
        )
    needed = "prediction" if rate == "selection rate" else "score"
    if getattr(evidence, needed) is None:
        raise UsageError(f"a {rate} takes a {needed} column, and none is named.")
    return rate


def _chosen(evidence: Evidence, kind: Rate) -> tuple[npt.NDArray[np.bool_], float | None]:
    """Who was selected, or scored strictly above the median of everybody."""
    if kind == "selection rate":
        return evidence.binary(str(evidence.prediction)), None
    score, counted = evidence.column(str(evidence.score)), row_counts(evidence)
    return above_median(score, counted), median(score, counted)


def _tally(
    groups: Sequence[str | None], declared: Sequence[str], times: Ints, chosen: npt.NDArray[np.bool_]
) -> dict[str | None, tuple[int, int]]:
    """Applicants and selected of each category, declared ones first; None holds the unknown."""
    made: dict[str | None, list[int]] = {name: [0, 0] for name in declared}
    for name in sorted({name for name in groups if name is not None}):
        made.setdefault(name, [0, 0])
    made[None] = [0, 0]
    for group, often, hit in zip(groups, times.tolist(), chosen.tolist(), strict=True):
        made[group][0] += often
        made[group][1] += often if hit else 0
    return {name: (of[0], of[1]) for name, of in made.items()}


def _table(
    name: str, counts: Mapping[str, tuple[int, int]], n: int, left: Mapping[str, str], confidence: float
) -> list[Category]:
    in_ratio = {group: of for group, of in counts.items() if of[0] and group not in left}
    if not in_ratio:
        raise DataError(f"{name}: nobody has a known category that is in the ratio.")
    for group in left:
        if group in counts and not Fraction(counts[group][0], n) < SMALL:
            raise UsageError(
                f"{name}: {group} is {counts[group][0]} of {n} rows; only a category under 2 % may be left out."
            )
    best = max(in_ratio, key=lambda group: Fraction(in_ratio[group][1], in_ratio[group][0]))
    k_best, n_best = in_ratio[best][1], in_ratio[best][0]
    made = []
    for group, (n_group, k_group) in counts.items():
        ratio = low = high = None
        status: Status = "ok"
        note = ""
        if n_group == 0:
            status, note = "insufficient", "no applicants"
        elif group in left:
            note = f"left out of the ratio: {left[group].strip()}"
        elif k_best == 0:
            status, note = "undefined", "nobody in this table was selected: there is no ratio"
        else:
            ratio = float(Fraction(k_group * n_best, n_group * k_best))
            if group != best:
                low, high = koopman(k_group, n_group, k_best, n_best, confidence)
        made.append(
            Category(
                table=name,
                category=group,
                n_applicants=n_group,
                n_selected=k_group,
                rate=k_group / n_group if n_group else None,
                impact_ratio=ratio,
                low=low,
                high=high,
                share=n_group / n,
                status=status,
                note=note,
            )
        )
    return made


def _justified(left: Mapping[str, str]) -> None:
    bare = [name for name, reason in left.items() if not reason.strip()]
    if bare:
        raise UsageError(
            f"{first(bare)} is left out without a written justification, which the rule asks for."
        )


def _notes(kind: Rate, median: float | None, unknown: Sequence[Unknown]) -> tuple[str, ...]:
    notes = ["Local Law 144 sets no ratio that passes or fails: these numbers carry no verdict."]
    if median is not None:
        notes.append(
            f"Scoring rate: share strictly above {median:g}, the median of all scores, unknown categories included."
        )
    notes.append(
        "Intervals take the highest category of a table as fixed; chance alone puts some category highest."
    )
    for one in unknown:
        if one.n_applicants:
            notes.append(
                f"{one.table}: {one.n_applicants} applicants fall within an unknown category and are in no {kind} here."
            )
    return tuple(notes)
