"""Heads taken out: the gap that is left with each set of them out, beside what other heads leave of it."""

import math
from collections.abc import Sequence
from typing import Protocol

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .answer_sentences import metric_name
from .fonts import label
from .palette import BAND, BLUE, INK, MUTED, ORANGE, RULE, WIDTH, bare, drawing, sheet, ticks_along
from .phrases import Phrases, current, said
from .wording import interval, number, opening, signed

ROW = 0.44  # inches
Heads = tuple[tuple[str, int], ...]


class UnitLike(Protocol):
    """A head, or a block without heads."""

    @property
    def layer(self) -> str: ...
    @property
    def head(self) -> int | None: ...


class ShareLike(Protocol):
    """What is drawn of one head's screening."""

    @property
    def unit(self) -> UnitLike: ...
    @property
    def closing(self) -> float: ...
    @property
    def error(self) -> float: ...


class ScreeningLike(Protocol):
    """What is drawn of the screening."""

    @property
    def unit(self) -> str: ...
    @property
    def ids(self) -> tuple[str, ...]: ...
    @property
    def shares(self) -> Sequence[ShareLike]: ...


class TestLike(Protocol):
    """What is drawn of one set of heads. Where it has `random_effects`, those of other sets are drawn too."""

    @property
    def heads(self) -> Heads: ...
    @property
    def before(self) -> float: ...
    @property
    def after(self) -> float: ...
    @property
    def removed(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def n_random(self) -> int: ...
    @property
    def random_rank(self) -> float | None: ...
    @property
    def verified(self) -> bool: ...


class VerificationLike(Protocol):
    """What is drawn of the verification."""

    @property
    def metric(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def ids(self) -> tuple[str, ...]: ...
    @property
    def before(self) -> float: ...
    @property
    def before_low(self) -> float: ...
    @property
    def before_high(self) -> float: ...
    @property
    def tests(self) -> Sequence[TestLike]: ...
    @property
    def together(self) -> TestLike | None: ...
    @property
    def confidence(self) -> float: ...
    @property
    def detectable(self) -> float | None: ...


class MediationLike(Protocol):
    """What is drawn of both."""

    @property
    def screening(self) -> ScreeningLike: ...
    @property
    def verification(self) -> VerificationLike: ...


def head_sets(found: MediationLike) -> list[TestLike]:
    """The sets in the order of the chart: each candidate alone, then all together."""
    together = found.verification.together
    return [*found.verification.tests, *([together] if together is not None else [])]


def short(found: MediationLike, heads: Heads) -> str:
    """L2.H1, as the measures of a review call a head: the position of its layer among those screened, and the head."""
    layers = list(
        dict.fromkeys(one.unit.layer for one in found.screening.shares if one.unit.head is not None)
    )
    return " + ".join(f"L{layers.index(layer)}.H{head}" for layer, head in heads)


def further(test: TestLike, say: Phrases | None = None) -> str:
    """How many other sets of as many heads move the metric at least as far."""
    tell = (say or current()).plain
    if test.random_rank is None:
        return tell("heads-out.no_other_set")
    as_far = round(test.random_rank * (1 + test.n_random)) - 1
    return tell("heads-out.as_far", n=as_far, all=test.n_random)


def head_chart(found: MediationLike) -> Figure:
    """Per set of heads: left its share on the screened rows, right the gap that is left without it.

    Right, on rows that were not screened: the broken line is the gap with all heads in; a mark is the gap with the set
    out, its whisker a simultaneous interval of the change; a full mark is verified. The grey band spans what is left
    with other sets of as many heads out, a tick each.
    """
    tests = head_sets(found)
    verification = found.verification
    with drawing():
        figure = sheet(WIDTH, 1.5 + ROW * len(tests))
        screened, tested = figure.subplots(1, 2, sharey=True, width_ratios=[1.0, 1.7])
        for y, test in enumerate(tests):
            _screened(screened, found, test, y)
            _tested(tested, test, y)
        screened.axvline(0, color=MUTED, linewidth=0.8, zorder=0)
        tested.axvline(0, color=MUTED, linewidth=0.8, zorder=0)
        tested.axvline(verification.before, color=INK, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
        tested.annotate(
            f"{said('figure.heads_all_in')}\n{signed(verification.before)}",
            (verification.before, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=7.5,
            color=INK,
        )
        for axes in (screened, tested):
            bare(axes)
            axes.margins(x=0.08)
            ticks_along(axes, 4)
        names = [short(found, test.heads) for test in tests]
        screened.set_yticks(
            range(len(tests)),
            [
                name if len(test.heads) == 1 else said("figure.heads_all_of_them")
                for name, test in zip(names, tests, strict=True)
            ],
        )
        screened.set_ylim(len(tests) - 0.45, -0.55)
        share = said("figure.heads_share", unit=label(found.screening.unit, 16))
        rows = said("figure.heads_share_rows", n=number(len(found.screening.ids)))
        screened.set_xlabel(f"{share}\n{rows}")
        left = said("figure.heads_left", unit=label(verification.unit, 16))
        rows = said("figure.heads_left_rows", n=number(len(verification.ids)))
        tested.set_xlabel(f"{left}\n{rows}")
        figure.suptitle(
            label(said("figure.heads_out", metric=metric_name(verification.metric, current())), 110),
            x=0.01,
            ha="left",
            fontsize=9.5,
            fontweight="bold",
        )
    return figure


def describe(found: MediationLike) -> str:
    """One sentence: what the verified sets leave of the gap, or how large an effect would have been found."""
    verification = found.verification
    sure = [test for test in head_sets(found) if test.verified]
    fields = {
        "metric": opening(metric_name(verification.metric, current())),
        "n": number(len(verification.ids)),
        "value": signed(verification.before),
    }
    if not sure:
        power = (
            said("figure.heads_no_power")
            if verification.detectable is None
            else said("figure.heads_power", detectable=number(verification.detectable))
        )
        return said("figure.heads_none", **fields, power=power)
    sets = [
        said(
            "figure.heads_set",
            left=signed(test.after),
            heads=short(found, test.heads),
            change=signed(-test.removed),
            interval=interval(-test.high, -test.low, sign=True),
            further=further(test),
        )
        for test in sure
    ]
    return said("figure.heads_verified", **fields, sets=", ".join(sets))


def _screened(axes: Axes, found: MediationLike, test: TestLike, y: int) -> None:
    """The shares of a set on the screened rows; of several heads their sum, without an interval."""
    shares = [one for one in found.screening.shares if (one.unit.layer, one.unit.head) in set(test.heads)]
    value = -math.fsum(one.closing for one in shares)
    if len(shares) == 1:
        width = 1.96 * shares[0].error
        axes.plot([value - width, value + width], [y, y], color=MUTED, linewidth=1.3, solid_capstyle="butt")
    axes.plot([value], [y], marker="s", markersize=4.5, color=MUTED, markerfacecolor="white")


def _tested(axes: Axes, test: TestLike, y: int) -> None:
    """The gap that is left, its interval, what other sets leave, and the words beside it."""
    others = [test.before - float(one) for one in getattr(test, "random_effects", ())]
    if others:
        low, high = min(others), max(others)
        axes.add_patch(
            Rectangle(
                (low, y - 0.32), high - low, 0.64, facecolor=BAND, edgecolor=RULE, linewidth=0.6, zorder=0
            )
        )
        axes.vlines(others, y - 0.32, y - 0.12, color=MUTED, linewidth=0.7, zorder=1)
    colour = BLUE if test.verified else ORANGE
    ends = [test.before - test.high, test.before - test.low]
    axes.plot(ends, [y, y], color=colour, linewidth=1.7, solid_capstyle="butt", zorder=2)
    axes.plot(
        [test.after],
        [y],
        marker="o" if test.verified else "s",
        markersize=6,
        color=colour,
        markerfacecolor=colour if test.verified else "white",
        zorder=3,
    )
    verdict = said("figure.heads_is_verified" if test.verified else "figure.heads_not_verified")
    for place, text, quiet in (
        (-0.17, f"{signed(test.after)} {interval(*ends, sign=True)}  {verdict}", False),
        (0.17, further(test), True),
    ):
        axes.text(
            1.02,
            y + place,
            text,
            transform=axes.get_yaxis_transform(),
            va="center",
            fontsize=7.5,
            color=MUTED if quiet else INK,
            fontweight="bold" if test.verified and not quiet else "normal",
        )
