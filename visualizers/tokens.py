"""Signed attribution per token or feature, as bars that point where they push."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from .fonts import label, shorten
from .palette import BLUE, INK, MUTED, ORANGE, WIDTH, bare, drawing, sheet, ticks_along
from .phrases import said
from .wording import IN_SENTENCE, interval, signed

Interval = tuple[float | None, float | None]


def attribution_bars(
    names: Sequence[str],
    scores: Sequence[float],
    *,
    intervals: Sequence[Interval] | None = None,
    unit: str = "logit",
    title: str = "attribution",
    top: int = 15,
    ordered: bool = True,
) -> Figure:
    """Bars of signed scores, blue for more of the target and orange for less.

    Args:
        names: one per score.
        scores: signed, in `unit`.
        intervals: low and high of each score, drawn as whiskers.
        unit: of the scores.
        title: the headline.
        top: how many are drawn, the largest magnitudes; the others are counted below.
        ordered: largest first; False keeps the order given (words of a text).
    """
    rows = _largest(scores, top)
    if not ordered:
        rows = sorted(rows)
    with drawing():
        figure = sheet(WIDTH, 0.95 + 0.25 * len(rows))
        axes = figure.add_subplot()
        for y, i in enumerate(rows):
            axes.barh(y, scores[i], height=0.62, color=BLUE if scores[i] >= 0 else ORANGE)
            written = signed(scores[i])
            if intervals is not None:
                low, high = intervals[i]
                written += f" {interval(low, high, sign=True)}"
                if low is not None and high is not None:
                    axes.plot([low, high], [y, y], color=INK, linewidth=1.1)
            axes.text(1.02, y, written, transform=axes.get_yaxis_transform(), va="center", fontsize=8)
        axes.axvline(0, color=MUTED, linewidth=0.8)
        axes.set_yticks(range(len(rows)), [label(names[i]) for i in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        ticks_along(axes, 6)
        left = len(scores) - len(rows)
        along = label(unit, 40)
        axes.set_xlabel(said("figure.smaller_not_drawn", unit=along, n=left) if left else along)
        bare(axes)
        figure.suptitle(label(title, 100), x=0.01, ha="left", fontsize=9.5, fontweight="bold")
    return figure


def describe(names: Sequence[str], scores: Sequence[float], unit: str = "logit", top: int = 3) -> str:
    """One sentence: the largest scores with their signs."""
    made = [f"{shorten(names[i], IN_SENTENCE)} {signed(scores[i])}" for i in _largest(scores, top)]
    if not made:
        return said("figure.no_scores")
    return said("figure.largest_of", n=len(scores), scores=", ".join(made), unit=unit)


def _largest(scores: Sequence[float], top: int) -> list[int]:
    return sorted(range(len(scores)), key=lambda i: (-abs(scores[i]), i))[:top]
