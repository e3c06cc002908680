"""A gap in parts that add up to it: identity terms, proxies, treatment, and what is none of the three."""

from collections.abc import Sequence
from typing import Protocol

from matplotlib.figure import Figure

from .accounts import Row, account
from .answer_sentences import part_name
from .fonts import label, shorten
from .phrases import current, said
from .wording import IN_SENTENCE, interval, number, signed

MEANING = {
    "identity": "figure.part_identity",
    "proxies": "figure.part_proxies",
    "treatment": "figure.part_treatment",
    "too rare to divide": "figure.part_too_rare",
    "baseline": "figure.part_baseline",
}
ALWAYS = ("identity", "proxies", "treatment")  # the others are drawn where they are not 0


class PartLike(Protocol):
    """What is drawn of one part."""

    @property
    def name(self) -> str: ...
    @property
    def estimate(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


class PartsLike(Protocol):
    """What is drawn of a divided gap."""

    @property
    def attribute(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def reference(self) -> str: ...
    @property
    def n_group(self) -> int: ...
    @property
    def n_reference(self) -> int: ...
    @property
    def unit(self) -> str: ...
    @property
    def gap(self) -> float: ...
    @property
    def gap_low(self) -> float: ...
    @property
    def gap_high(self) -> float: ...
    @property
    def parts(self) -> Sequence[PartLike]: ...
    @property
    def residual(self) -> float: ...
    @property
    def confidence(self) -> float: ...


def shown_parts(divided: PartsLike) -> list[PartLike]:
    """The three parts, and of the others those that are not 0."""
    return [part for part in divided.parts if part.name in ALWAYS or part.estimate or part.low or part.high]


def parts_chart(divided: PartsLike) -> Figure:
    """Each part from where the one before it ended, the residual, and the gap that they add up to.

    Whiskers are pointwise intervals, at the end of each bar; that of the gap is its own.
    """
    rows: list[Row] = [(_named(part), part.estimate, (part.low, part.high)) for part in shown_parts(divided)]
    rows.append((said("figure.residual"), divided.residual, None))
    return account(
        rows,
        (said("figure.gap"), divided.gap, (divided.gap_low, divided.gap_high)),
        unit=divided.unit,
        title=said("figure.parts", group=label(divided.group, 24), reference=label(divided.reference, 24)),
        row_height=0.32,
        least_height=0.95,
        ticks=5,
    )


def _named(part: PartLike) -> str:
    if part.name == "identity" and not (part.estimate or part.low or part.high):
        return said("figure.part_no_identity")
    return said(MEANING[part.name]) if part.name in MEANING else part.name


def describe(divided: PartsLike) -> str:
    """One sentence: the gap with its interval, and its parts."""
    names = [shorten(name, IN_SENTENCE) for name in (divided.group, divided.reference, divided.attribute)]
    parts = ", ".join(
        f"{part_name(part.name, current())} {signed(part.estimate)} {interval(part.low, part.high, sign=True)}"
        for part in shown_parts(divided)
    )
    return said(
        "figure.parts_said",
        **dict(zip(("group", "reference", "attribute"), names, strict=True)),
        gap=signed(divided.gap),
        interval=interval(divided.gap_low, divided.gap_high, sign=True),
        unit=divided.unit,
        n_group=number(divided.n_group),
        n_reference=number(divided.n_reference),
        parts=parts,
        confidence=f"{divided.confidence:.0%}",
    )
