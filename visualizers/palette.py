"""Colours, marks and fonts of every figure, and how a figure becomes the same bytes twice."""

import functools
import io
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from PIL import Image

from ..records import Verdict

BLUE = "#0072B2"  # Okabe and Ito's blue and vermillion: told apart by every kind of colour vision
ORANGE = "#D55E00"
INK = "#1d2127"
MUTED = "#5b636e"
RULE = "#d5d9de"
BAND = "#e9edf1"
PAPER = "#ffffff"
DIVERGING = LinearSegmentedColormap.from_list(
    "clinometer_signed", ["#8f3b00", ORANGE, "#f2b98c", "#fbfbfa", "#8fc3e3", BLUE, "#00426b"]
)
SEQUENTIAL = LinearSegmentedColormap.from_list(
    "clinometer_weight", ["#ffffff", "#d3d9e3", "#8b97ad", "#485673", "#141c33"]
)
MARKS: dict[Verdict | None, str] = {
    "within tolerance": "✓",
    "exceeds tolerance": "▲",
    "inconclusive": "?",
    "not assessed": "–",
    None: "○",
}
WIDTH = 7.2  # inches: the width of the report's text
MISSING = "□"
CJK = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Source Han Sans",
    "WenQuanYi Zen Hei",
    "Hiragino Sans",
    "Yu Gothic",
    "Microsoft YaHei",
)


@functools.cache
def fonts() -> tuple[str, ...]:
    """DejaVu Sans, which comes with matplotlib, and the first font of this machine that has Chinese characters."""
    here = {entry.name for entry in font_manager.fontManager.ttflist}
    return ("DejaVu Sans", *[name for name in CJK if name in here][:1])


@functools.cache
def _drawable() -> frozenset[int]:
    found: set[int] = set()
    for name in fonts():
        path = font_manager.findfont(font_manager.FontProperties(family=name))
        found |= set(font_manager.get_font(path).get_charmap())
    return frozenset(found)


def width_of(text: str) -> int:
    """Columns that a text takes: wide characters count twice, combining ones not at all."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def shorten(text: str, limit: int = 28) -> str:
    """A name that fits, its middle left out: names differ at their ends. Control characters become spaces."""
    flat = "".join(" " if unicodedata.category(c)[0] == "C" else c for c in text[: 4 * limit])
    tail = "".join(" " if unicodedata.category(c)[0] == "C" else c for c in text[-4 * limit :])
    if len(text) <= 4 * limit and width_of(flat) <= limit:
        return flat
    front, back = "", ""
    for c in flat:
        if width_of(front + c) > limit // 2:
            break
        front += c
    for c in reversed(tail):
        if width_of(c + back) > limit - limit // 2 - 1:
            break
        back = c + back
    return f"{front}…{back}"


def label(text: str, limit: int = 28) -> str:
    """A name as a figure can draw it: short, and a box for each character that no font here has."""
    return "".join(c if ord(c) in _drawable() else MISSING for c in shorten(text, limit))


@contextmanager
def drawing() -> Iterator[None]:
    """Inside, text is drawn as it is (no mathematics between dollar signs), in the fonts above."""
    style: dict[Any, Any] = {
        "font.family": list(fonts()),
        "font.size": 8.5,
        "text.parse_math": False,
        "text.usetex": False,
        "text.color": INK,
        "axes.edgecolor": RULE,
        "axes.labelcolor": MUTED,
        "axes.titlecolor": INK,
        "axes.titlesize": 9.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.linewidth": 0.8,
        "axes.unicode_minus": True,
        "axes.formatter.use_mathtext": False,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "hatch.linewidth": 0.5,
    }
    with mpl.rc_context(style):
        yield


class Picture(Figure):
    """A figure that a notebook shows by itself, once, whether or not pyplot was ever imported."""

    def _repr_png_(self) -> bytes:
        return encoded(self, "png", dpi=100)


def sheet(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """An empty figure of so many inches. It belongs to no window: nothing to show, nothing to close."""
    figure = Picture(figsize=(width, height), layout=layout, facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def bare(axes: Axes) -> None:
    """Only the lower line of the frame, and no ticks at the side."""
    axes.spines[["top", "left", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def encoded(figure: Figure, kind: Literal["png", "svg"], *, dpi: int = 150, colours: int = 0) -> bytes:
    """The figure as a PNG or SVG file; the same bytes for the same figure on one machine.

    `colours` is the size of the PNG's palette: a third of the bytes, for a page that holds many. 0 keeps all.
    """
    held = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "clinometer", "svg.fonttype": "path"}):
        if kind == "svg":
            figure.savefig(held, format="svg", metadata={"Date": None, "Creator": "clinometer"})
        else:
            figure.savefig(held, format="png", dpi=dpi, metadata={"Software": "clinometer"})
    if kind == "png" and colours:
        flat = (
            Image.open(io.BytesIO(held.getvalue())).convert("RGB").quantize(colours, dither=Image.Dither.NONE)
        )
        held = io.BytesIO()
        flat.save(held, format="PNG", optimize=True)
    return held.getvalue()
