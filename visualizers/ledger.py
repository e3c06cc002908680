"""A gap drawn as an account: shares that add up to it, largest first, with simultaneous intervals."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..records import Ledger
from .fonts import label, shorten
from .palette import BLUE, INK, MUTED, ORANGE, RULE, WIDTH, bare, drawing, sheet, ticks_along
from .wording import IN_SENTENCE, interval, number, signed


def other(ledger: Ledger, top: int) -> tuple[int, float]:
    """How many shares are beyond the first `top`, and what they add up to."""
    rest = ledger.ranked[top:]
    return len(rest), math.fsum(share.estimate for share in rest)


def shares_total(ledger: Ledger) -> float:
    """The sum of all shares; with the residual it is the gap."""
    return math.fsum(share.estimate for share in ledger.shares)


def waterfall(ledger: Ledger, top: int = 12) -> Figure:
    """Shares from zero to the gap, the small ones as one row, the residual and the gap itself at the end.

    Whiskers are simultaneous intervals of the shares (bootstrap over rows), set at the end of each bar; the
    row of small shares has none. The gap's whisker is its own interval.
    """
    top = max(0, top)
    rest, rest_sum = other(ledger, top)
    rows: list[tuple[str, float, tuple[float, float] | None]] = [
        (label(share.unit), share.estimate, (share.simultaneous_low, share.simultaneous_high))
        for share in ledger.ranked[:top]
    ]
    if rest:
        rows.append((f"other features ({rest})", rest_sum, None))
    rows.append(("residual", ledger.residual, None))
    with drawing():
        figure = sheet(WIDTH, 1.0 + 0.27 * (len(rows) + 1))
        axes = figure.add_subplot()
        level = 0.0
        for y, (_, value, ends) in enumerate(rows):
            axes.barh(y, value, left=level, height=0.62, color=BLUE if value >= 0 else ORANGE)
            if ends is not None:
                axes.plot([level + ends[0], level + ends[1]], [y, y], color=INK, linewidth=1.1)
            axes.plot([level + value] * 2, [y - 0.31, y + 1.31], color=MUTED, linewidth=0.6)
            said = signed(value) + ("" if ends is None else f" {interval(*ends, sign=True)}")
            _aside(axes, y, said)
            level += value
        last = len(rows)
        axes.barh(last, ledger.gap, height=0.62, facecolor="#3c4450")
        axes.plot([ledger.gap_low, ledger.gap_high], [last, last], color=ORANGE, linewidth=1.4)
        _aside(
            axes,
            last,
            f"{signed(ledger.gap)} {interval(ledger.gap_low, ledger.gap_high, sign=True)}",
            bold=True,
        )
        axes.axvline(0, color=MUTED, linewidth=0.8, zorder=0)
        axes.axhline(last - 0.5, color=RULE, linewidth=0.8)
        axes.set_yticks(range(last + 1), [*[name for name, _, _ in rows], "gap"])
        axes.get_yticklabels()[-1].set_fontweight("bold")
        axes.set_ylim(last + 0.6, -0.6)
        ticks_along(axes, 6)
        axes.set_xlabel(label(f"{ledger.unit}, cumulated; blue adds, orange takes off", 80))
        bare(axes)
        figure.suptitle(
            f"gap in mean score, {label(ledger.group, 24)} − {label(ledger.reference, 24)}, by feature",
            x=0.01,
            ha="left",
            fontsize=9.5,
            fontweight="bold",
        )
    return figure


def describe(ledger: Ledger, top: int = 3) -> str:
    """One sentence: the gap with its interval, and the shares it is associated with most."""
    names = [shorten(name, IN_SENTENCE) for name in (ledger.group, ledger.reference, ledger.attribute)]
    gap = (
        f"{names[0]} minus {names[1]} ({names[2]}): the mean score differs by "
        f"{signed(ledger.gap)} {interval(ledger.gap_low, ledger.gap_high, sign=True)} {ledger.unit}, "
        f"n = {number(ledger.n_group)} and {number(ledger.n_reference)}"
    )
    said = [
        f"{shorten(s.unit, IN_SENTENCE)} {signed(s.estimate)} {interval(s.simultaneous_low, s.simultaneous_high, sign=True)}"
        for s in ledger.ranked[:top]
    ]
    return f"{gap}." + (f" Largest shares: {', '.join(said)}." if said else "")


def _aside(axes: Axes, y: float, text: str, *, bold: bool = False) -> None:
    axes.text(
        1.02,
        y,
        text,
        transform=axes.get_yaxis_transform(),
        va="center",
        fontsize=8,
        fontweight="bold" if bold else "normal",
    )
