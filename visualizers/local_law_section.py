"""The tables of New York City's Local Law 144 as a section of a page, or as Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from .card import name as in_markdown
from .wording import NONE, number

NOT_SAID = "not said"


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


def section(made: LawLike, publication: Publication | None = None) -> Markup:
    """The section as HTML in the style of the report: a table by sex, one by race, one of both. It has no verdict.

    Every name is escaped; every number comes from the record. The id of the section is `local-law-144`.
    """
    return Markup(_rendered("local_law_144.html.j2", made, publication, escape=True))


def markdown(made: LawLike, publication: Publication | None = None) -> str:
    """The same as Markdown, from a heading of the second level on."""
    return _rendered("local_law_144.md.j2", made, publication, escape=False)


def _rendered(template: str, made: LawLike, publication: Publication | None, *, escape: bool) -> str:
    environment = Environment(
        loader=PackageLoader("clinometer.visualizers"),
        autoescape=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(number=number, name=in_markdown, ratio=number)
    said = publication or Publication()
    facts: Mapping[str, str] = {
        "Date of the audit": said.audited or NOT_SAID,
        "Audited by": said.auditor or NOT_SAID,
        "Date on which the tool was first used": said.distributed or NOT_SAID,
        "Source and explanation of the data": said.source or NOT_SAID,
        "Applicants": number(made.n),
        "Rate": made.rate
        + (
            "" if made.median is None else f": share strictly above {made.median:g}, the median of all scores"
        ),
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
        law=made, tables=tables, facts=facts, selecting=made.rate == "selection rate", NONE=NONE
    )
