"""Colours, marks and the sheet of every figure, and how a figure becomes the same bytes twice."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import Formatter, MaxNLocator
from PIL import Image

from ..records import Verdict
from .fonts import fonts
from .wording import number

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


@contextmanager
def drawing() -> Iterator[None]:
    """Inside, text is drawn as it is (no mathematics between dollar signs), in fonts that have its script."""
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

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """The PNG with twice the pixels of its size on the page: small names stay sharp."""
        width, height = self.get_size_inches()
        return encoded(self, "png", dpi=200), {"width": round(100 * width), "height": round(100 * height)}


class PlainTicks(Formatter):
    """Numbers along an axis with as many decimals as tell all of them apart, two at least."""

    def __call__(self, value: float, position: int | None = None) -> str:
        """One number by itself."""
        return number(float(f"{value:.6g}"), 2)

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """All numbers of an axis."""
        step = float(np.diff(values).min(initial=1.0)) if len(values) > 1 else 1.0
        enough = (d for d in range(2, 6) if all(abs(round(v, d) - v) < 1e-3 * step for v in values))
        digits = next(enough, 6)
        return [number(float(f"{value:.6g}"), digits) for value in values]


def sheet(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """An empty figure of so many inches. It belongs to no window: nothing to show, nothing to close."""
    figure = Picture(figsize=(width, height), layout=layout, facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def ticks_along(axes: Axes, most: int) -> None:
    """At most so many numbers along the lower side, written as the report writes numbers."""
    axes.xaxis.set_major_locator(MaxNLocator(most))
    axes.xaxis.set_major_formatter(PlainTicks())


def ink_on(colour: tuple[float, ...]) -> str:
    """White or ink, whichever can be read on a colour (relative luminance of WCAG 2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return "white" if 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] < 0.2 else INK


def bare(axes: Axes) -> None:
    """Only the lower line of the frame, and no ticks at the side."""
    axes.spines[["top", "left", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def encoded(figure: Figure, kind: Literal["png", "svg"], *, dpi: int = 150) -> bytes:
    """The figure as a PNG or SVG file; the same bytes for the same figure on one machine."""
    held = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "clinometer", "svg.fonttype": "path"}):
        if kind == "svg":
            figure.savefig(held, format="svg", metadata={"Date": None, "Creator": "clinometer"})
        else:
            figure.savefig(held, format="png", dpi=dpi, metadata={"Software": "clinometer"})
    return held.getvalue()


def compact(png: bytes | npt.NDArray[np.uint8], colours: int = 128) -> bytes:
    """A PNG, or pixels, as a PNG of at most so many colours: a third of the bytes, for a page that holds many."""
    image = Image.open(io.BytesIO(png)) if isinstance(png, bytes) else Image.fromarray(png)
    held = io.BytesIO()
    image.convert("RGB").quantize(colours, dither=Image.Dither.NONE).save(held, format="PNG")
    return held.getvalue()
