"""The explorer where nothing runs: marked words and one picture, as plain HTML that every notebook viewer keeps."""

import base64
import unicodedata
from html import escape

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..records import Floats
from ..scenes import Scene
from .explorer_bytes import thumbnails
from .explorer_payload import WHOLE, full_map
from .fonts import label
from .palette import BLUE, DIVERGING, MUTED, ORANGE, RULE, SEQUENTIAL, compact, drawing, encoded, sheet
from .wording import number, signed

MOST_TOKENS = 120
LONGEST = 40  # characters of a token
COARSE = 96  # rows and columns of a map in the picture
NAMED = 24  # tokens that have their names beside a map
FULL_AT = 0.98
SHADES = {
    True: ("#e4f0f8", "#cbe3f2", "#aed3ea", "#8fc3e3"),
    False: ("#fceee2", "#f9dcc5", "#f6caa8", "#f2b98c"),
}


def fallback(scene: Scene, layer: int, head: int, *, target: int = 0, title: str = "") -> str:
    """Title, words shaded by their scores, and the picture of the heads, with inline styles and a PNG alone.

    A notebook that was opened without its kernel, or is shown by a site, removes scripts, style sheets and drawings
    in SVG; this is what it keeps. While the live view stands in the same output, its style sheet hides the picture.
    """
    target = min(target, len(scene.targets) - 1)
    scores = np.asarray(scene.scores)[target, 0]
    total = float(np.nansum(scores))
    with drawing():
        png = compact(encoded(picture(scene, layer, head, target=target), "png", dpi=120))
    soft = "color:#535b66;font-size:.86em;margin:.3em 0"
    facts = " · ".join(
        f"{_text(name)} {'unknown' if value is None else _text(value)}" for name, value in scene.facts.items()
    )
    value, base = float(scene.value[target]), float(scene.base_value[target, 0])
    return (
        '<div class="clino-still" style="background:#fff;color:#1d2127;padding:.8em 1em;max-width:60em;'
        'overflow-wrap:anywhere">'
        f'<p style="font-weight:600;margin:.2em 0">{_text(title) or "Explorer of heads"}: {_text(scene.id)}</p>'
        + (f'<p style="{soft}">{facts}</p>' if facts else "")
        + f'<p style="{soft}">What each token adds to {_text(scene.targets[target])}, in {_text(scene.unit)}: blue with '
        "a solid line towards it, orange with a dotted line away from it.</p>"
        f'<p style="line-height:2">{_words(scene, scores)}</p>'
        f'<p style="{soft}">target {signed(value)} = baseline {signed(base)} + scores {signed(total)} + residual '
        f"{signed(float(scene.residual[target, 0]))}; compared with {_text(scene.baselines[0])}</p>"
        f'<img alt="{escape(describe(scene, layer, head, target=target), quote=True)}" style="max-width:100%" '
        f'src="data:image/png;base64,{base64.b64encode(png).decode()}">'
        f'<p style="{soft}">A: where the head looks. A × dA: what of it moves the target, first order. Attention is '
        "not an explanation. Run the cell for the live view.</p></div>"
    )


def describe(scene: Scene, layer: int, head: int, *, target: int = 0) -> str:
    """The picture in words: the chosen head's importance and rank, and the largest heads."""
    values = np.nan_to_num(np.asarray(scene.importance)[target])
    order = np.argsort(-np.abs(values), axis=None, kind="stable")
    rank = int(np.flatnonzero(order == layer * scene.n_heads + head)[0]) + 1
    largest = ", ".join(
        f"L{at // scene.n_heads}.H{at % scene.n_heads} {signed(float(values.flat[at]))}" for at in order[:3]
    )
    return (
        f"Importance of {len(scene.layers)} layers of {scene.n_heads} heads for {_plain(scene.targets[target])} "
        f"(largest: {largest} {_plain(scene.unit)}), and the maps of layer {layer}, head {head}: importance "
        f"{signed(float(values[layer, head]))}, {rank} of {values.size} by size."
    )


def picture(scene: Scene, layer: int, head: int, *, target: int = 0) -> Figure:
    """All heads' importance as squares (filled for more, hollow for less), and the chosen head's two maps."""
    figure = sheet(9.6, 3.3)
    grid, attends, matters = figure.subplots(1, 3)
    _squares(grid, np.asarray(scene.importance)[target], layer, head, scene.unit)
    there = scene.attention is not None or (
        scene.detail is not None and len(scene.queries) * len(scene.tokens) <= WHOLE
    )
    attention, contribution = full_map(scene, layer, head) if there else (None, None)
    if attention is None and scene.overview is not None:
        attention = np.asarray(scene.overview)[layer, head]
    _map(attends, scene, attention, f"A of L{layer}.H{head}: where it looks", two_signs=False)
    _map(matters, scene, contribution, "A × dA: what of it moves the target", two_signs=True)
    return figure


def _squares(axes: Axes, values: Floats, layer: int, head: int, unit: str) -> None:
    top = float(np.nanmax(np.abs(values), initial=0.0)) or 1.0
    for (row, column), value in np.ndenumerate(values):
        if not np.isfinite(value):
            continue
        side = 0.9 * float(np.sqrt(abs(value) / top))
        colour = BLUE if value >= 0 else ORANGE
        corner = (column - side / 2, row - side / 2)
        axes.add_patch(
            Rectangle(
                corner,
                side,
                side,
                facecolor=colour if value >= 0 else "none",
                edgecolor=colour,
                linewidth=1.2,
            )
        )
    axes.add_patch(
        Rectangle((head - 0.5, layer - 0.5), 1, 1, fill=False, edgecolor="#1d2127", linewidth=1.4, zorder=3)
    )
    axes.set(
        xlim=(-0.6, values.shape[1] - 0.4),
        ylim=(values.shape[0] - 0.4, -0.6),
        aspect="equal",
        xlabel="head",
        ylabel="layer",
        title=f"importance, largest {number(top)} {label(unit, 14)}",
    )
    axes.spines[:].set_color(RULE)


def _map(axes: Axes, scene: Scene, values: Floats | None, title: str, *, two_signs: bool) -> None:
    axes.set_title(title)
    axes.spines[:].set_color(RULE)
    if values is None:
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, "not held", transform=axes.transAxes, ha="center", va="center", color=MUTED)
        return
    rows, columns = values.shape
    shown = np.asarray(thumbnails(values, COARSE), dtype=float)
    share = np.sign(shown) * np.sqrt(np.abs(shown) / (float(np.nanmax(np.abs(shown), initial=0.0)) or 1.0))
    limits = (-1, 1) if two_signs else (0, 1)
    axes.imshow(
        share,
        cmap=DIVERGING if two_signs else SEQUENTIAL,
        vmin=limits[0],
        vmax=limits[1],
        aspect="auto",
        interpolation="nearest",
    )
    if rows == len(scene.queries) <= NAMED and columns == len(scene.tokens) <= NAMED:
        axes.set_xticks(range(columns), [label(token, 10) for token in scene.tokens], rotation=60, ha="right")
        axes.set_yticks(range(rows), [label(token, 10) for token in scene.queries])
        axes.tick_params(labelsize=6, length=0)
    else:
        axes.set(xticks=[], yticks=[], xlabel="keys", ylabel="queries")


def _words(scene: Scene, scores: Floats) -> str:
    sizes = np.abs(np.nan_to_num(scores))
    full = float(np.quantile(sizes, FULL_AT)) if sizes.size else 0.0
    made = []
    for at, token in enumerate(scene.tokens[:MOST_TOKENS]):
        score = float(scores[at])
        step = 0 if full <= 0 or not np.isfinite(score) else min(4, round(4 * abs(score) / full))
        style = "padding:.1em .2em;unicode-bidi:isolate"
        if step:
            line = f"solid {BLUE}" if score >= 0 else f"dotted {ORANGE}"
            style += f";background:{SHADES[score >= 0][step - 1]};border-bottom:3px {line}"
        value = f" {_text(scene.values[at])}" if at < len(scene.values) and scene.values[at] else ""
        made.append(f'<span style="{style}" title="{signed(score)}">{_text(token)}{value}</span>')
    more = len(scene.tokens) - MOST_TOKENS
    return " ".join(made) + (f" … and {more:,} more" if more > 0 else "")


def _plain(text: str) -> str:
    """Text whose invisible characters are named, so that none of them can turn what stands around it."""
    clipped = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    return "".join(
        f"⟨U+{ord(c):04X}⟩"
        if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") and c not in "\u200c\u200d"
        else c
        for c in clipped
    )


def _text(text: str) -> str:
    return escape(_plain(text), quote=True)
