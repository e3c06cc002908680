"""Attention rollout as a flow: from one position back through the layers to the tokens it can have come from."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from ..errors import UsageError, did_you_mean
from ..records import View
from .fonts import label, shorten
from .palette import BLUE, INK, MUTED, RULE, SEQUENTIAL, WIDTH, drawing, sheet
from .rows import fitted, headline, note
from .wording import IN_SENTENCE, number

MOST_TOKENS = 32
MOST_LAYERS = 48
FAINT = 0.004  # of the flow: thinner lines are not drawn
ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Flow:
    """Shares of one position's content at the entry of every layer, the first layer first; each row sums to one.

    `shares[k]` is what `interpret.rollout` returns for one example with `layers=range(k, n)`: of which positions, as
    they enter layer k, the position read from at the end is made. `carried[k, i, j]` is the part of it that goes from
    position j at the entry of layer k to position i at its exit; None where it is not known, and no line is drawn.
    """

    title: str
    tokens: tuple[str, ...]
    layers: tuple[str, ...]
    query: int  # the position read from at the end
    shares: Float[np.ndarray, "layer key"]
    carried: Float[np.ndarray, "layer query key"] | None = None
    n: int = 1  # examples whose maps were averaged before


def flow(view: View, query: int | str = 0, *, residual: float = 0.5) -> Flow:
    """Rollout of a view's maps from one position: the shares at every layer, and what every line carries.

    Per layer: the mean of the heads, times (1 - residual), plus residual times the identity, rows divided by their
    sums (Abnar & Zuidema 2020, section 3). Departure: of a view of several examples the maps were averaged first,
    which is not the average of their rollouts; `n` says so.

    Args:
        view: maps of all layers over the same positions.
        query: the position read from, negative from the end, or its label.
        residual: the share of a position that skips attention, from 0 to 1.

    Raises:
        UsageError: no such position, or a residual out of range.
    """
    size = len(view.labels)
    if not 0 <= residual <= 1:
        raise UsageError(f"residual is {residual}; expected a share of the token, from 0 to 1.")
    if isinstance(query, str):
        if query not in view.labels:
            raise UsageError(f"there is no position {query!r}: {did_you_mean(query, view.labels)}")
        query = view.labels.index(query)
    if not -size <= query < size:
        raise UsageError(f"position {query} does not exist: the view has {size}, so 0 to {size - 1}.")
    mixed = (1 - residual) * view.attention.mean(axis=1, dtype=np.float64) + residual * np.eye(size)
    sums = mixed.sum(axis=2, keepdims=True)
    # A position that attends to nothing keeps what it has.
    mixed = np.where(sums > 0, mixed / np.where(sums > 0, sums, 1.0), np.eye(size))
    row = np.zeros(size)
    row[query] = 1.0
    shares, carried = np.zeros(mixed.shape[:2]), np.zeros(mixed.shape)
    for layer in reversed(range(len(mixed))):
        carried[layer] = row[:, None] * mixed[layer]
        row = shares[layer] = carried[layer].sum(axis=0)
    return Flow(
        title=view.title,
        tokens=view.labels,
        layers=view.layers,
        query=query % size,
        shares=shares,
        carried=carried,
        n=len(view.ids),
    )


def layer_flow(record: Flow) -> Figure:
    """Layers from the output, above, to the input, below; a mark's area and shade is its share of what is read at the top.

    Of more tokens than can be told apart those with the largest shares at the input are kept; the figure says how
    much flows elsewhere.

    Raises:
        UsageError: no tokens, or shares that do not fit them.
    """
    _checked(record)
    n = len(record.layers)
    kept = _kept(record)
    place = {token: x for x, token in enumerate(kept)}
    step = min(0.5, max(0.2, 6.0 / (n + 1)))
    with drawing():
        figure = sheet(WIDTH, 1.75 + step * (n + 1))
        axes = figure.add_subplot()
        if record.carried is not None:
            _lines(axes, record, place)
        width = (WIDTH - 1.4) / len(kept)
        largest = (72 * min(step, width) * 0.72) ** 2
        for k in range(n + 1):
            y = n - k  # the entry of the first layer is lowest
            values = record.shares[k][kept] if k < n else np.array([i == record.query for i in kept], float)
            axes.scatter(
                range(len(kept)),
                [y] * len(kept),
                s=np.maximum(largest * values, 2.0),
                c=[SEQUENTIAL(0.25 + 0.75 * v) for v in values],
                edgecolors=np.where(values > FAINT, MUTED, RULE).tolist(),
                linewidths=0.5,
                zorder=3,
            )
        _axes(axes, record, kept)
        headline(figure, f"rollout from {record.tokens[record.query]}: {record.title}")
        _below(figure, record, kept)
    return figure


def describe(record: Flow, top: int = 3) -> str:
    """Two sentences: the tokens with the largest shares at the input, and what rollout is not."""
    _checked(record)
    shares = record.shares[0]
    said = [
        f"{shorten(record.tokens[i], IN_SENTENCE)} {number(float(shares[i]))}"
        for i in np.argsort(-shares, kind="stable")[:top].tolist()
    ]
    averaged = "" if record.n == 1 else f" (maps averaged over n = {number(record.n)} examples first)"
    return (
        f"Rollout from {shorten(record.tokens[record.query], IN_SENTENCE)} through {len(record.layers)} layers, n = "
        f"{number(record.n)} example{'s' if record.n != 1 else ''} of {len(record.tokens)} tokens: largest shares at the "
        f"input {', '.join(said)}{averaged}. It shows where content could have come from, and is no explanation: values "
        "and feed-forward layers are not in it."
    )


def _checked(record: Flow) -> None:
    size, n = len(record.tokens), len(record.layers)
    if not size or not n:
        raise UsageError(f"a flow of {n} layers over {size} tokens: there is nothing to draw.")
    if record.shares.shape != (n, size) or not 0 <= record.query < size:
        raise UsageError(
            f"shares are {record.shares.shape} and the position is {record.query}; expected ({n}, {size}) for the layers "
            f"and tokens, and a position from 0 to {size - 1}."
        )
    if not np.isfinite(record.shares).all() or (np.abs(record.shares.sum(axis=1) - 1) > ROUNDING).any():
        raise UsageError(
            "shares of a layer do not sum to one. Hand in rows of rollout with one query, as they are returned."
        )
    if record.carried is not None and record.carried.shape != (n, size, size):
        raise UsageError(f"carried is {record.carried.shape}; expected ({n}, {size}, {size}).")


def _kept(record: Flow) -> list[int]:
    """The tokens drawn, in their order: all, or the one read from and those with the largest shares at the input."""
    size = len(record.tokens)
    if size <= MOST_TOKENS:
        return list(range(size))
    order = np.argsort(-record.shares[0], kind="stable").tolist()
    chosen = [record.query, *(i for i in order if i != record.query)][:MOST_TOKENS]
    return sorted(chosen)


def _lines(axes: Axes, record: Flow, place: dict[int, int]) -> None:
    assert record.carried is not None
    n = len(record.layers)
    kept = np.array(list(place))
    parts, widths, shades = [], [], []
    for k in range(n):
        part = record.carried[k][np.ix_(kept, kept)]
        for i, j in np.argwhere(part > FAINT).tolist():
            parts.append([(j, n - k), (i, n - k - 1)])
            widths.append(0.6 + 7.0 * float(part[i, j]))
            shades.append((*_rgb(BLUE), min(1.0, 0.3 + 0.6 * float(part[i, j]))))
    axes.add_collection(
        LineCollection(parts, linewidths=widths, colors=shades, capstyle="round", zorder=1), autolim=False
    )


def _rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def _axes(axes: Axes, record: Flow, kept: list[int]) -> None:
    n = len(record.layers)
    axes.set_xlim(-0.6, len(kept) - 0.4)
    axes.set_ylim(n + 0.5, -0.5)
    axes.set_xticks(
        range(len(kept)), [fitted(record.tokens[i], 1.0, 7.5) for i in kept], rotation=90, fontsize=7.5
    )
    for text, i in zip(axes.get_xticklabels(), kept, strict=True):
        text.set_color(INK)
        text.set_fontweight("bold" if i == record.query else "normal")
    names = ["output", *(f"into {fitted(name, 1.4, 7.5)}" for name in reversed(_short(record.layers)))]
    every = -(-len(names) // MOST_LAYERS)
    axes.set_yticks(range(0, len(names), every), names[::every], fontsize=7.5)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _short(names: tuple[str, ...]) -> list[str]:
    """Names of layers without what all of them begin and end with, so that they are told apart when shortened."""
    parts = [name.split(".") for name in names]
    least = min(len(one) for one in parts)
    if len(names) < 2 or least < 2:
        return list(names)
    front = next((i for i in range(least - 1) if len({one[i] for one in parts}) > 1), least - 1)
    back = next(
        (i for i in range(least - front - 1) if len({one[-1 - i] for one in parts}) > 1), least - front - 1
    )
    # The last word that all begin with stays: "layer 3" says more than "3".
    return [" ".join(one[max(0, front - 1) : len(one) - back]) for one in parts]


def _below(figure: Figure, record: Flow, kept: list[int]) -> None:
    shares = record.shares[0]
    largest = np.argsort(-shares, kind="stable")[:3].tolist()
    said = ", ".join(f"{label(record.tokens[i], 16)} {number(float(shares[i]))}" for i in largest)
    left_out = [i for i in range(len(record.tokens)) if i not in set(kept)]
    rest = (
        f"; {len(left_out)} more tokens are not drawn, {number(float(shares[left_out].sum()))} of the whole"
        if left_out
        else ""
    )
    averaged = "" if record.n == 1 else "; maps averaged over examples first"
    examples = f"; n = {record.n} example{'s' if record.n != 1 else ''} of {len(record.tokens)} tokens"
    note(
        figure,
        f"at the input: {said}{rest}{averaged}{examples}. Lines thinner than {number(FAINT)} of the whole are left out. "
        "It shows where content could have flowed, not what mattered.",
    )
