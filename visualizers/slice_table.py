"""What a search of slices found, as rows: combination, rate, n, and its difference as a bar."""

from collections.abc import Sequence
from typing import Protocol

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..errors import UsageError
from .fonts import shorten
from .palette import BLUE, INK, MUTED, ORANGE, WIDTH, drawing, sheet, ticks_along
from .phrases import said
from .rows import aside, headline, note, row_names
from .wording import IN_SENTENCE, interval, number, opening, p_value, signed, spoken

MOST_ROWS = 20
ROW = 0.37  # inches


class SliceLike(Protocol):
    """What is drawn of one slice."""

    @property
    def name(self) -> str: ...
    @property
    def n(self) -> int: ...
    @property
    def k(self) -> int | None: ...
    @property
    def estimate(self) -> float: ...
    @property
    def complement(self) -> float: ...
    @property
    def effect(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def p_adjusted(self) -> float: ...
    @property
    def found(self) -> bool: ...


class SearchLike(Protocol):
    """What is drawn of a search: `bias.slice_records.SliceSearch` is the real one."""

    @property
    def of(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def slices(self) -> Sequence[SliceLike]: ...
    @property
    def leaders(self) -> Sequence[SliceLike]: ...
    @property
    def columns(self) -> Sequence[str]: ...
    @property
    def overall(self) -> float: ...
    @property
    def n(self) -> int: ...
    @property
    def n_tested(self) -> int: ...
    @property
    def n_found(self) -> int: ...
    @property
    def alpha(self) -> float: ...


def slice_table(search: SearchLike) -> Figure:
    """The combinations that differ from everybody else, one of each nested family; where none does, the strongest.

    A filled bar was found, beyond what the search itself explains; a hollow one was not. Whiskers hold for all slices
    that were tested at once.

    Raises:
        UsageError: no combination was large enough to be tested.
    """
    rows, left_out = _rows(search)
    with drawing():
        figure = sheet(WIDTH, 1.15 + ROW * len(rows))
        axes = figure.add_subplot()
        row_names(axes, list(range(len(rows))), [one.name for one in rows], room=2.6)
        axes.axvline(0, color=MUTED, linewidth=0.8, zorder=1)
        for y, one in enumerate(rows):
            _bar(axes, y, one)
        ticks_along(axes, 5)
        axes.margins(x=0.06)
        note(figure, _foot(search, left_out))
        headline(figure, said("figure.slices", metric=spoken(search.of), columns=", ".join(search.columns)))
    return figure


def describe(search: SearchLike) -> str:
    """Two sentences: how many combinations differ of how many, and the strongest with its interval."""
    rows, _ = _rows(search)
    one = rows[0]
    strongest = said(
        "figure.slices_strongest",
        name=shorten(one.name, IN_SENTENCE),
        estimate=number(one.estimate),
        complement=number(one.complement),
        effect=signed(one.effect),
        interval=interval(one.low, one.high, sign=True),
        n=number(one.n),
        p=p_value(one.p_adjusted),
    )
    return said(
        "figure.slices_found" if one.found else "figure.slices_none_found",
        metric=opening(spoken(search.of)),
        n_found=search.n_found,
        n_tested=number(search.n_tested),
        n=number(search.n),
        strongest=strongest,
    )


def _rows(search: SearchLike) -> tuple[list[SliceLike], int]:
    """The leaders; where nothing was found the strongest of all. And how many found ones are not drawn."""
    if not search.slices:
        raise UsageError(
            f"the search compared {number(search.n_tested)} combinations and holds none: there is nothing to draw. Lower "
            "min_support or min_count, or name more columns."
        )
    rows = list(search.leaders) or list(search.slices)
    return rows[:MOST_ROWS], len(rows) - min(len(rows), MOST_ROWS)


def _foot(search: SearchLike, left_out: int) -> str:
    return said(
        "figure.slices_note",
        metric=spoken(search.of),
        overall=number(search.overall),
        n=number(search.n),
        n_found=search.n_found,
        n_tested=number(search.n_tested),
        alpha=number(search.alpha),
        method=search.method,
        more=said("figure.slices_more", n=left_out) if left_out else "",
    )


def _bar(axes: Axes, y: float, one: SliceLike) -> None:
    colour = ORANGE if one.effect > 0 else BLUE
    axes.barh(
        y,
        one.effect,
        height=0.42,
        facecolor=colour if one.found else "white",
        edgecolor=colour,
        linewidth=1.0,
        zorder=2,
    )
    axes.plot([one.low, one.high], [y, y], color=INK, linewidth=1.1, zorder=3)
    counted = f"{number(one.k)}/{number(one.n)}" if one.k is not None else f"n = {number(one.n)}"
    aside(
        axes,
        y - 0.19,
        f"{signed(one.effect)} {interval(one.low, one.high, sign=True)}  p {p_value(one.p_adjusted)}",
        size=7.5,
    )
    aside(
        axes,
        y + 0.2,
        said(
            "figure.slices_beside",
            estimate=number(one.estimate),
            counted=counted,
            complement=number(one.complement),
        ),
        colour=MUTED,
        size=7.5,
    )
