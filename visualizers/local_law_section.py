"""The tables of New York City's Local Law 144 as a section of a page, or as Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from .card import name as in_markdown
from .phrases import Phrases, english
from .wording import NONE, number, worded


class CategoryLike(Protocol):
    """What is shown of one category (`bias.local_law_144.Category`)."""

    @property
    def table(self) -> str: ...
    @property
    def category(self) -> str: ...
    @property
    def n_applicants(self) -> int: ...
    @property
    def n_selected(self) -> int: ...
    @property
    def rate(self) -> float | None: ...
    @property
    def impact_ratio(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...
    @property
    def status(self) -> str: ...
    @property
    def note(self) -> str: ...


class UnknownLike(Protocol):
    """Applicants of no category (`bias.local_law_144.Unknown`)."""

    @property
    def table(self) -> str: ...
    @property
    def n_applicants(self) -> int: ...


class LawLike(Protocol):
    """The result of such an audit (`bias.local_law_144.LocalLaw144`)."""

    @property
    def rate(self) -> str: ...
    @property
    def median(self) -> float | None: ...
    @property
    def n(self) -> int: ...
    @property
    def categories(self) -> Sequence[CategoryLike]: ...
    @property
    def unknown(self) -> Sequence[UnknownLike]: ...
    @property
    def confidence(self) -> float: ...
    @property
    def notes(self) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What 6 RCNY 5-303 has published beside the tables; what nobody said is shown as not said."""

    audited: str = ""  # date of the audit
    distributed: str = ""  # date on which the tool was first used
    source: str = ""  # of the data, and what they are
    auditor: str = ""  # who is independent of the tool


def section(made: LawLike, publication: Publication | None = None, say: Phrases | None = None) -> Markup:
    """The section as HTML in the style of the report: a table by sex, one by race, one of both. It has no verdict.

    Every name is escaped; every number comes from the record. The id of the section is `local-law-144`.
    """
    return Markup(_rendered("local_law_144.html.j2", made, publication, say or english(), escape=True))


def markdown(made: LawLike, publication: Publication | None = None) -> str:
    """The same as Markdown, from a heading of the second level on."""
    return _rendered("local_law_144.md.j2", made, publication, english(), escape=False)


def _rendered(
    template: str, made: LawLike, publication: Publication | None, say: Phrases, *, escape: bool
) -> str:
    environment = Environment(
        loader=PackageLoader("clinometer.visualizers"),
        autoescape=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(number=number, name=in_markdown, ratio=number, worded=partial(worded, say=say))
    environment.globals.update(t=say)
    said = publication or Publication()
    not_said = say.plain("local-law-144.not_said")
    rate = say.plain("word.selection_rate" if made.rate == "selection rate" else "word.scoring_rate")
    facts: Mapping[str, str] = {
        say.plain("local-law-144.audited"): said.audited or not_said,
        say.plain("local-law-144.auditor"): said.auditor or not_said,
        say.plain("local-law-144.distributed"): said.distributed or not_said,
        say.plain("local-law-144.source"): said.source or not_said,
        say.plain("local-law-144.applicants"): number(made.n),
        say.plain("local-law-144.rate"): rate
        if made.median is None
        else say.plain("local-law-144.above_the_median", rate=rate, median=f"{made.median:g}"),
    }
    tables = [
        {
            "name": table,
            "rows": [one for one in made.categories if one.table == table],
            "unknown": sum(one.n_applicants for one in made.unknown if one.table == table),
        }
        for table in dict.fromkeys(one.table for one in made.categories)
    ]
    return environment.get_template(template).render(
        law=made, rate=rate, tables=tables, facts=facts, selecting=made.rate == "selection rate", NONE=NONE
    )
