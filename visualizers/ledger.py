"""A gap drawn as an account: shares that add up to it, largest first, with simultaneous intervals."""

import math

from matplotlib.figure import Figure

from ..records import Ledger
from .accounts import Row, account
from .fonts import label, shorten
from .phrases import said
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
    rows: list[Row] = [
        (label(share.unit), share.estimate, (share.simultaneous_low, share.simultaneous_high))
        for share in ledger.ranked[:top]
    ]
    if rest:
        rows.append((said("figure.other_features", n=rest), rest_sum, None))
    rows.append((said("figure.residual"), ledger.residual, None))
    return account(
        rows,
        (said("figure.gap"), ledger.gap, (ledger.gap_low, ledger.gap_high)),
        unit=ledger.unit,
        title=said("figure.ledger", group=label(ledger.group, 24), reference=label(ledger.reference, 24)),
        row_height=0.27,
        least_height=1.0,
        ticks=6,
    )


def describe(ledger: Ledger, top: int = 3) -> str:
    """One sentence: the gap with its interval, and the shares it is associated with most."""
    names = [shorten(name, IN_SENTENCE) for name in (ledger.group, ledger.reference, ledger.attribute)]
    gap = said(
        "figure.ledger_said",
        **dict(zip(("group", "reference", "attribute"), names, strict=True)),
        gap=signed(ledger.gap),
        interval=interval(ledger.gap_low, ledger.gap_high, sign=True),
        unit=ledger.unit,
        n_group=number(ledger.n_group),
        n_reference=number(ledger.n_reference),
    )
    shares = [
        f"{shorten(s.unit, IN_SENTENCE)} {signed(s.estimate)} {interval(s.simultaneous_low, s.simultaneous_high, sign=True)}"
        for s in ledger.ranked[:top]
    ]
    return f"{gap} {said('figure.ledger_shares', shares=', '.join(shares))}" if shares else gap
