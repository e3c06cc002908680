"""Every head at once: what it adds to the target, to first order, over a small picture of where it looks."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..records import View
from .fonts import label
from .maps import thumbnail
from .palette import DIVERGING, MUTED, RULE, SEQUENTIAL, WIDTH, drawing, ink_on, sheet
from .phrases import said
from .wording import number, signed

MOST_THUMBNAILS = 200
STRIP = 0.34  # of a cell's height, for the number


def head_grid(view: View) -> Figure:
    """Layer x head: the first-order effect in logits, signed and printed, above the map A made small.

    Blue heads push the target up, orange ones down. A grid of more than 200 heads has no small maps, one of
    more than 16 heads a layer no numbers.
    """
    importance = view.importance
    layers, heads = importance.shape
    top = float(np.abs(importance).max(initial=0.0)) or 1.0
    small = layers * heads <= MOST_THUMBNAILS and view.attention.shape[2] > 1
    strip = STRIP if small else 1.0
    cell = min(1.35, (WIDTH - 0.9) / max(1, heads))
    height = cell * (1.15 if small else 0.6)
    with drawing():
        figure = sheet(WIDTH, 1.05 + max(0.9, layers * max(0.2, height)))
        axes = figure.add_subplot()
        for layer in range(layers):
            for head in range(heads):
                value = float(importance[layer, head])
                colour = DIVERGING(0.5 + 0.5 * value / top)
                axes.add_patch(Rectangle((head + 0.04, layer + 0.04), 0.92, strip - 0.06, facecolor=colour))
                if heads <= 16:
                    axes.text(
                        head + 0.5,
                        layer + strip / 2 + 0.01,
                        signed(value, 3 if heads <= 8 else 2),
                        ha="center",
                        va="center",
                        fontsize=8.5 if heads <= 8 else 6,
                        color=ink_on(colour),
                    )
                if small:
                    picture = thumbnail(view.attention[layer, head], 36 if heads <= 8 else 16)
                    axes.imshow(
                        picture,
                        cmap=SEQUENTIAL,
                        vmin=0,
                        vmax=float(picture.max()) or 1.0,
                        extent=(head + 0.04, head + 0.96, layer + 0.97, layer + strip + 0.02),
                        interpolation="nearest",
                        aspect="auto",
                    )
                    axes.add_patch(
                        Rectangle(
                            (head + 0.04, layer + strip + 0.02),
                            0.92,
                            0.95 - strip,
                            fill=False,
                            edgecolor=RULE,
                        )
                    )
        axes.set_xlim(0, max(1, heads))
        axes.set_ylim(max(1, layers), 0)
        axes.set_aspect("auto")
        axes.set_xticks(
            [h + 0.5 for h in range(heads)],
            [said("figure.head_of", head=h) if heads <= 8 else str(h) for h in range(heads)],
        )
        axes.set_yticks(
            [y + 0.5 for y in range(layers)], [said("figure.layer_of", layer=y) for y in range(layers)]
        )
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        below = said("figure.heads_small" if small else "figure.heads_largest", largest=number(top))
        axes.set_xlabel(
            f"{said('figure.heads_number')}\n{below}",
            color=MUTED,
            fontsize=8,
        )
        figure.suptitle(
            said("figure.heads", title=label(view.title, 60)),
            x=0.01,
            ha="left",
            fontsize=9.5,
            fontweight="bold",
        )
    return figure


def most_important(view: View, count: int = 1) -> list[tuple[int, int]]:
    """(layer, head) of the largest effects in magnitude, largest first."""
    importance = np.abs(view.importance)
    order = np.argsort(-importance, axis=None, kind="stable")[:count]
    return [(int(i) // importance.shape[1], int(i) % importance.shape[1]) for i in order]


def describe(view: View) -> str:
    """One sentence: the heads with the largest effects, and how many there are."""
    importance = view.importance
    heads = [
        said("figure.heads_effect", layer=layer, head=head, effect=signed(float(importance[layer, head])))
        for layer, head in most_important(view, 3)
    ]
    return said("figure.heads_said", n=importance.size, target=view.target, heads=", ".join(heads))
