"""What a search of slices found, as rows: combination, rate, n, and its difference as a bar."""

from collections.abc import Sequence
from typing import Protocol

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..errors import UsageError
from .fonts import shorten
from .palette import BLUE, INK, MUTED, ORANGE, WIDTH, drawing, sheet, ticks_along
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
        headline(figure, f"{spoken(search.of)}: combinations of {', '.join(search.columns)}")
    return figure


def describe(search: SearchLike) -> str:
    """Two sentences: how many combinations differ of how many, and the strongest with its interval."""
    rows, _ = _rows(search)
    one = rows[0]
    said = (
        f"{shorten(one.name, IN_SENTENCE)}: {number(one.estimate)} beside {number(one.complement)}, difference "
        f"{signed(one.effect)} {interval(one.low, one.high, sign=True)}, n = {number(one.n)}, adjusted p "
        f"{p_value(one.p_adjusted)}"
    )
    shown = "The strongest" if one.found else "None is shown to; the strongest"
    return (
        f"{opening(spoken(search.of))}: {search.n_found} of {number(search.n_tested)} combinations differ from everybody "
        f"else in n = {number(search.n)} rows. {shown}: {said}. What a search finds is a question for the next data."
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
    more = f"; {left_out} more are in the table" if left_out else ""
    counted = f"{search.n_found} of {number(search.n_tested)} combinations differ"
    return (
        f"bars: difference in {spoken(search.of)} from everybody else (orange above, blue below), whose value is "
        f"after “beside”; overall {number(search.overall)}, n = {number(search.n)}; {counted} at {number(search.alpha)} "
        f"after the search ({search.method}); hollow: not shown to{more}. A question for the next data, not a verdict."
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
        f"{number(one.estimate)} ({counted}) beside {number(one.complement)}",
        colour=MUTED,
        size=7.5,
    )
