"""How faithful each attribution method is to one model: measures with intervals beside random scores."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from ..records import Faithfulness, Measured
from .fonts import label
from .palette import BAND, BLUE, INK, MUTED, ORANGE, WIDTH, bare, drawing, sheet, ticks_along
from .phrases import said
from .wording import interval, number, signed

SHOWN = ("area_between_curves", "comprehensiveness")


def methods_forest(found: Faithfulness, measures: Sequence[str] = SHOWN) -> Figure:
    """One panel for each measure, one row for each method in the order of the ranking, with intervals over rows.

    The band is the interval of random scores: a method inside it was not shown to rank tokens better than chance. The
    recommended method is in bold.
    """
    shown = [measure for measure in measures if measure in found.measures]
    names = ordered(found)
    with drawing():
        figure = sheet(WIDTH, 1.15 + 0.26 * len(names))
        panels = figure.subplots(1, max(1, len(shown)), sharey=True, squeeze=False)[0]
        for axes, measure in zip(panels, shown, strict=False):
            chance = found.of(found.methods[-1], measure)
            if chance.low is not None and chance.high is not None:
                axes.axvspan(chance.low, chance.high, color=BAND, zorder=0)
            for y, name in enumerate(names):
                one = found.of(name, measure)
                if one.estimate is None:
                    continue
                colour = MUTED if name == found.methods[-1] else BLUE if _better(one) else ORANGE
                if one.low is not None and one.high is not None:
                    axes.plot([one.low, one.high], [y, y], color=colour, linewidth=1.4)
                axes.plot(one.estimate, y, "o" if colour == BLUE else "s", color=colour, markersize=4.5)
            axes.axvline(0, color=MUTED, linewidth=0.8)
            axes.set_title(label(measure.replace("_", " "), 40))
            ticks_along(axes, 5)
            bare(axes)
        panels[0].set_yticks(range(len(names)), [label(name, 34) for name in names])
        panels[0].set_ylim(len(names) - 0.4, -0.6)
        for text, name in zip(panels[0].get_yticklabels(), names, strict=True):
            text.set_color(INK)
            if name == found.recommended:
                text.set_fontweight("bold")
        figure.supxlabel(
            said("figure.faithful_note", outcome=label(found.outcome, 90), n=number(len(found.ids))),
            color=MUTED,
            fontsize=8,
        )
        figure.suptitle(
            said("figure.faithful", subject=label(found.subject, 40)),
            x=0.01,
            ha="left",
            fontsize=9.5,
            fontweight="bold",
        )
    return figure


def ordered(found: Faithfulness) -> list[str]:
    """The methods of the ranking, then any that have no place in it, random scores included."""
    return [*found.ranking, *(name for name in found.methods if name not in found.ranking)]


def describe(found: Faithfulness) -> str:
    """One sentence: what is recommended and why, and which methods are not shown to beat random scores."""
    weak = [
        name
        for name in found.methods[:-1]
        if SHOWN[0] in found.measures and not _better(found.of(name, SHOWN[0]))
    ]
    best = found.recommended or said("figure.faithful_no_method")
    made = [said("figure.faithful_recommended", subject=found.subject, method=best, reason=found.reason)]
    if found.recommended is not None:
        one = found.of(found.recommended, SHOWN[0])
        span = interval(one.low, one.high, sign=True)
        made.append(said("figure.faithful_area", area=signed(one.estimate), interval=span, n=number(one.n)))
    if weak:
        made.append(said("figure.faithful_weak", methods=", ".join(weak)))
    return " ".join(made)


def _better(one: Measured) -> bool:
    return one.above_chance_low is not None and one.above_chance_low > 0
