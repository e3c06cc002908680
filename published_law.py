"""The tables of New York City's Local Law 144 in a review: who asks for them, and what is published beside them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .bias.local_law_144 import LocalLaw144, Rate, local_law_144
from .bias.policy import Policy
from .errors import DataError, UsageError, did_you_mean
from .evidence import Evidence
from .records import Review

PRESET = "local-law-144"


@dataclass(frozen=True, slots=True, kw_only=True)
class LawQuestion:
    """Which columns hold the rule's categories, and what 6 RCNY 5-303 has published with the tables."""

    sex: str
    race_ethnicity: str
    rate: Rate = "selection rate"
    sexes: tuple[str, ...] = ()  # categories that appear even with nobody in them
    races: tuple[str, ...] = ()
    leave_out: Mapping[str, str] = field(default_factory=dict)  # category -> why, in writing
    audited: str = ""  # date of the audit; by default the day of the review
    distributed: str = ""  # date on which the tool was first used
    source: str = ""  # of the data, and what they are
    auditor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedLaw:
    """The tables, and what is published beside them; an empty text was not said."""

    tables: LocalLaw144
    audited: str  # where it was not said, the day of the review
    distributed: str
    source: str
    auditor: str


def law_question(asked: "LawQuestion | str | None", policy: Policy) -> LawQuestion | None:
    """What was asked, as "SEX:RACE" or a `LawQuestion`; a policy called local-law-144 asks too.

    Raises:
        UsageError: another number of columns than two.
    """
    if isinstance(asked, LawQuestion):
        return asked
    if asked is not None:
        return _of_columns(asked)
    if policy.name != PRESET:
        return None
    if len(policy.groups) != 2:
        raise UsageError(
            f"the policy is called {PRESET} and has {len(policy.groups)} groups; two are expected, first that of sex, then "
            "that of race or ethnicity. Declare [groups.SEX] and [groups.RACE], or give the policy another name."
        )
    sex, race = policy.groups
    rules = (policy.groups[sex], policy.groups[race])
    return LawQuestion(sex=sex, race_ethnicity=race, sexes=rules[0].values, races=rules[1].values)


def known_columns(question: LawQuestion, groups: Mapping[str, Any]) -> LawQuestion:
    """The question, where the rows have its columns.

    Raises:
        DataError: they lack one.
    """
    for name in (question.sex, question.race_ethnicity):
        if name not in groups:
            raise DataError(f"{PRESET}: there is no group column {name!r}: {did_you_mean(name, groups)}")
    return question


def with_law(made: Review, asked: str) -> Review:
    """A review that was read back, with the tables counted from the evidence that was saved with it.

    Args:
        asked: "SEX:RACE", two of its group columns.

    Raises:
        UsageError: it has its tables already, or another number of columns than two is named.
        DataError: there is no evidence, it lacks a column, or nobody in it has a known category.
    """
    if made.law is not None:
        raise UsageError(
            f"this review has its tables of {PRESET} already: its page and review.json hold them."
        )
    if made.evidence is None:
        raise DataError(
            f"there is no evidence.parquet beside the review, and the tables of {PRESET} are counted from it. Name the "
            f"folder that holds it, or make the review with --{PRESET}."
        )
    known = known_columns(_of_columns(asked), dict.fromkeys(made.evidence.groups))
    return replace(made, law=published(made.evidence, known, source=named_source(made.data)))


def named_source(data: Mapping[str, Any]) -> str:
    """What a review says of where its rows are from."""
    return "; ".join(str(data[name]) for name in ("name", "source") if data.get(name))


def published(evidence: Evidence, question: LawQuestion, *, source: str = "") -> PublishedLaw:
    """The tables of these rows, with what was said to be published.

    Args:
        evidence: a row for each applicant.
        question: what was asked.
        source: of the data, where the question does not say it.

    Raises:
        UsageError: a category left out is unknown, too large, or unjustified. DataError: nobody has a known category.
    """
    tables = local_law_144(
        evidence,
        sex=question.sex,
        race_ethnicity=question.race_ethnicity,
        rate=question.rate,
        sexes=question.sexes,
        races=question.races,
        leave_out=question.leave_out,
    )
    return PublishedLaw(
        tables=tables,
        audited=question.audited,
        distributed=question.distributed,
        source=question.source or source,
        auditor=question.auditor,
    )


def _of_columns(asked: str) -> LawQuestion:
    columns = asked.split(":")
    if len(columns) != 2 or not all(columns):
        raise UsageError(
            f"{PRESET} {asked!r}: two columns are expected, SEX:RACE, e.g. sex:race. A name that holds a colon is "
            "given in Python, as a LawQuestion."
        )
    return LawQuestion(sex=columns[0], race_ethnicity=columns[1])
