"""One head's map A beside its A x dA: what it attends to, and what of that matters to the target."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from ..records import Floats, View
from .fonts import label, shorten
from .palette import DIVERGING, MUTED, RULE, SEQUENTIAL, drawing, sheet
from .phrases import said
from .wording import IN_SENTENCE, number, signed

MOST_LABELS = 40
# Left, bottom, width and height of a map drawn alone, and of its scale. Measured once here: finding them anew
# for each of a page's many maps would take half its time.
ALONE = (0.25, 0.355, 0.73, 0.585)
ALONE_SCALE = (0.36, 0.1, 0.51, 0.016)


def map_pair(view: View, layer: int, head: int) -> Figure:
    """A beside A x dA of one head: the same tokens along both, each on a colour scale of its own."""
    with drawing():
        side = min(7.2, max(3.3, 0.125 * min(MOST_LABELS, len(view.labels))))  # inches: names stay legible
        figure = sheet(1.0 + 2 * side, 1.0 + side)
        left, right = figure.subplots(1, 2, sharey=True)
        _attention(left, view, layer, head)
        _contribution(right, view, layer, head, named=False)
        title = said("figure.map_title", layer=layer, head=head, title=label(view.title, 70))
        figure.suptitle(title, x=0.01, ha="left", fontsize=9)
    return figure


def attention_map(view: View, layer: int, head: int) -> Figure:
    """A of one head alone: rows are queries and sum to one."""
    with drawing():
        figure = sheet(4.4, 4.6, None)
        _attention(figure.add_axes(ALONE), view, layer, head, figure.add_axes(ALONE_SCALE))
    return figure


def contribution_map(view: View, layer: int, head: int) -> Figure:
    """A x dA of one head alone, signed, in logits."""
    with drawing():
        figure = sheet(4.4, 4.6, None)
        _contribution(figure.add_axes(ALONE), view, layer, head, figure.add_axes(ALONE_SCALE))
    return figure


def series(
    view: View, heads: Sequence[tuple[int, int]], part: Literal["attends", "matters"], *, dpi: int
) -> Iterator[npt.NDArray[np.uint8]]:
    """The maps of many heads as pixels: those of `attention_map` or `contribution_map`, several times faster.

    The names along both sides, most of the work, are drawn once; only the map and its scale change.
    """
    if not heads:
        return
    attends = part == "attends"
    figure = (attention_map if attends else contribution_map)(view, *heads[0])
    figure.set_dpi(dpi)
    canvas: Any = FigureCanvasAgg(figure)
    axes, scale = figure.axes
    (image,) = axes.images
    changing = [image, *axes.spines.values(), scale]
    for artist in changing:
        artist.set_animated(True)
    canvas.draw()
    ground = canvas.copy_from_bbox(figure.bbox)
    with drawing():
        for layer, head in heads:
            values, low, top = _values(view, layer, head, attends=attends)
            image.set_data(values)
            image.set_clim(low, top)
            if image.colorbar is not None:
                _mark(image.colorbar, low, top)
            canvas.restore_region(ground)
            for artist in changing:
                figure.draw_artist(artist)
            yield np.array(canvas.buffer_rgba())


def named_map(values: Floats, *, queries: Sequence[str], keys: Sequence[str], title: str) -> Figure:
    """A of one head where queries and keys are different tokens: generated text over what came before, or cross-attention.

    Raises:
        ValueError: the names are not as many as rows and columns.
    """
    if values.shape != (len(queries), len(keys)):
        raise ValueError(f"a map of {values.shape} was given {len(queries)} queries and {len(keys)} keys")
    with drawing():
        figure = sheet(min(7.2, 1.6 + 0.3 * len(keys)), min(7.2, 1.5 + 0.28 * len(queries)))
        axes = figure.add_subplot()
        top = float(values.max(initial=0.0)) or 1.0
        image = axes.imshow(values, cmap=SEQUENTIAL, vmin=0, vmax=top, interpolation="nearest", aspect="auto")
        for axis, names in ((axes.xaxis, keys), (axes.yaxis, queries)):
            step = -(-len(names) // MOST_LABELS)
            axis.set_ticks(range(0, len(names), step), [label(name, 16) for name in names[::step]])
        axes.tick_params(axis="x", rotation=90)
        axes.set_xlabel(said("figure.map_key"))
        axes.set_ylabel(said("figure.map_query"))
        axes.set_title(label(title, 90), loc="left")
        _scale(axes, image, 0.0, top, None)
    return figure


def describe(view: View, layer: int, head: int) -> str:
    """One sentence: the key attended to most, the key that matters most, and the head's effect."""
    attended = view.attention[layer, head].mean(axis=0)
    moved = view.contribution[layer, head].sum(axis=0)
    effect = signed(float(moved.sum()))
    if not len(view.labels):
        return said("figure.map_no_tokens", layer=layer, head=head)
    most, matters = int(np.argmax(attended)), int(np.argmax(np.abs(moved)))
    seen, used = (shorten(view.labels[i], IN_SENTENCE) for i in (most, matters))
    return said(
        "figure.map_said",
        layer=layer,
        head=head,
        seen=seen,
        weight=number(float(attended[most])),
        used=used,
        moved=signed(float(moved[matters])),
        effect=effect,
    )


def _values(view: View, layer: int, head: int, *, attends: bool) -> tuple[Floats, float, float]:
    """A map, and the ends of its scale: 0 and the largest weight, or the largest magnitude either way."""
    values = (view.attention if attends else view.contribution)[layer, head]
    top = float(np.abs(values).max(initial=0.0)) or 1.0
    return values, 0.0 if attends else -top, top


def _attention(axes: Axes, view: View, layer: int, head: int, below: Axes | None = None) -> None:
    values, low, top = _values(view, layer, head, attends=True)
    image = axes.imshow(values, cmap=SEQUENTIAL, vmin=low, vmax=top, interpolation="nearest", aspect="auto")
    _dress(axes, view.labels)
    axes.set_title(said("figure.map_attends"))
    _scale(axes, image, low, top, below)


def _contribution(
    axes: Axes, view: View, layer: int, head: int, below: Axes | None = None, *, named: bool = True
) -> None:
    values, low, top = _values(view, layer, head, attends=False)
    image = axes.imshow(values, cmap=DIVERGING, vmin=low, vmax=top, interpolation="nearest", aspect="auto")
    _dress(axes, view.labels, named=named)
    axes.set_title(said("figure.map_matters"))
    _scale(axes, image, low, top, below)


def _scale(axes: Axes, image: AxesImage, low: float, top: float, below: Axes | None) -> None:
    """The colour scale: in its own axes where they are given, else in room taken from the map's."""
    figure = axes.get_figure(root=True)
    if figure is None:
        return
    if below is not None:
        bar = figure.colorbar(image, cax=below, orientation="horizontal")
    else:
        bar = figure.colorbar(image, ax=axes, location="bottom", shrink=0.7, aspect=28, pad=0.02)
    bar.outline.set_edgecolor(RULE)
    _mark(bar, low, top)


def _mark(bar: Colorbar, low: float, top: float) -> None:
    ticks = [low, top] if low == 0 else [low, 0.0, top]
    bar.set_ticks(ticks, labels=[number(value) for value in ticks])
    scale = said("figure.map_scale", largest=number(top)) if low == 0 else said("figure.map_scale_matters")
    bar.set_label(scale, fontsize=8)


def _dress(axes: Axes, labels: tuple[str, ...], *, named: bool = True) -> None:
    figure = axes.get_figure(root=True)
    room = axes.get_position().height * (
        figure.get_size_inches()[1] if figure else 1.0
    )  # inches for the names
    step = max(1, -(-len(labels) // MOST_LABELS))
    places = range(0, len(labels), step)
    size = min(7.5, max(4.5, room * 72 / max(1, len(places)) * 0.8))
    written = [label(labels[i], 13) for i in places]
    axes.set_xticks(places, written, rotation=90, fontsize=size)
    if named:
        axes.set_yticks(places, written, fontsize=size)
        axes.set_ylabel(said("figure.map_query"), fontsize=8, color=MUTED)
    axes.tick_params(length=0, pad=2)
    axes.set_xlabel(said("figure.map_key"), fontsize=8, color=MUTED)
    axes.spines[:].set_edgecolor(RULE)


def thumbnail(values: Floats, size: int) -> Floats:
    """A map made small by taking the largest weight of each block, so that a thin line stays visible."""
    queries, keys = values.shape
    rows = np.array_split(np.arange(queries), min(size, queries))
    columns = np.array_split(np.arange(keys), min(size, keys))
    return np.array([[values[np.ix_(r, c)].max() for c in columns] for r in rows])
