"""One head's map A beside its A x dA: what it attends to, and what of that matters to the target."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..records import Floats, View
from .palette import DIVERGING, MUTED, RULE, SEQUENTIAL, drawing, label, sheet
from .wording import number, signed

MOST_LABELS = 40


def map_pair(view: View, layer: int, head: int) -> Figure:
    """A beside A x dA of one head: the same tokens along both, each on a colour scale of its own."""
    with drawing():
        figure = sheet(7.2, 4.0)
        left, right = figure.subplots(1, 2, sharey=True)
        _attention(left, view, layer, head)
        _contribution(right, view, layer, head, named=False)
        figure.suptitle(f"layer {layer}, head {head}: {label(view.title, 70)}", x=0.01, ha="left", fontsize=9)
    return figure


def attention_map(view: View, layer: int, head: int) -> Figure:
    """A of one head alone: rows are queries and sum to one."""
    with drawing():
        figure = sheet(4.4, 4.5)
        _attention(figure.add_subplot(), view, layer, head)
    return figure


def contribution_map(view: View, layer: int, head: int) -> Figure:
    """A x dA of one head alone, signed, in logits."""
    with drawing():
        figure = sheet(4.4, 4.5)
        _contribution(figure.add_subplot(), view, layer, head)
    return figure


def describe(view: View, layer: int, head: int) -> str:
    """One sentence: the key attended to most, the key that matters most, and the head's effect."""
    attended = view.attention[layer, head].mean(axis=0)
    moved = view.contribution[layer, head].sum(axis=0)
    effect = signed(float(moved.sum()))
    if not len(view.labels):
        return f"Layer {layer}, head {head}: no tokens."
    most, matters = int(np.argmax(attended)), int(np.argmax(np.abs(moved)))
    return (
        f"Layer {layer}, head {head}: attends most to {view.labels[most]} ({number(float(attended[most]))} of the "
        f"attention, mean over queries); what matters most is {view.labels[matters]} "
        f"({signed(float(moved[matters]))} logit); the head's first-order effect is {effect} logit."
    )


def _attention(axes: Axes, view: View, layer: int, head: int) -> None:
    values = view.attention[layer, head]
    top = float(values.max(initial=0.0)) or 1.0
    image = axes.imshow(values, cmap=SEQUENTIAL, vmin=0, vmax=top, interpolation="nearest", aspect="auto")
    _dress(axes, view.labels)
    axes.set_title("attends to")
    _scale(axes, image, f"A, rows sum to 1; darkest {number(top)}", [0, top])


def _contribution(axes: Axes, view: View, layer: int, head: int, *, named: bool = True) -> None:
    values = view.contribution[layer, head]
    top = float(np.abs(values).max(initial=0.0)) or 1.0
    image = axes.imshow(values, cmap=DIVERGING, vmin=-top, vmax=top, interpolation="nearest", aspect="auto")
    _dress(axes, view.labels, named=named)
    axes.set_title("matters")
    _scale(axes, image, "A × dA, logit", [-top, 0, top])


def _scale(axes: Axes, image: object, name: str, ticks: list[float]) -> None:
    bar = axes.get_figure().colorbar(image, ax=axes, location="bottom", shrink=0.7, aspect=28, pad=0.02)  # type: ignore[union-attr, arg-type]
    bar.set_ticks(ticks, labels=[number(value) for value in ticks])
    bar.set_label(name, fontsize=8)
    bar.outline.set_edgecolor(RULE)  # type: ignore[operator]


def _dress(axes: Axes, labels: tuple[str, ...], *, named: bool = True) -> None:
    step = max(1, -(-len(labels) // MOST_LABELS))
    places = range(0, len(labels), step)
    size = min(7.5, max(4.5, 220 / max(1, len(places)) * 0.8))
    written = [label(labels[i], 13) for i in places]
    axes.set_xticks(places, written, rotation=90, fontsize=size)
    if named:
        axes.set_yticks(places, written, fontsize=size)
        axes.set_ylabel("query (looks)", fontsize=8, color=MUTED)
    axes.tick_params(length=0, pad=2)
    axes.set_xlabel("key (is looked at)", fontsize=8, color=MUTED)
    axes.spines[:].set_edgecolor(RULE)


def thumbnail(values: Floats, size: int) -> Floats:
    """A map made small by taking the largest weight of each block, so that a thin line stays visible."""
    queries, keys = values.shape
    rows = np.array_split(np.arange(queries), min(size, queries))
    columns = np.array_split(np.arange(keys), min(size, keys))
    return np.array([[values[np.ix_(r, c)].max() for c in columns] for r in rows])
