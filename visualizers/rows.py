"""A figure's lines of words: its headline, the name beside a row, and the numbers at the row's other end."""

import functools
import unicodedata
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from .fonts import fonts, label
from .palette import INK, MUTED, WIDTH, bare
from .phrases import said

HEAD, FOOT = 9.5, 8.0  # points
ACROSS = WIDTH - 0.36  # inches of a line; hinting makes letters a little wider at some resolutions
LONGEST = 200  # columns of a name that is measured
LEFT_TO_RIGHT = "\u200e"  # a mark without width
NAME = 2.1  # inches that the names of rows may take


@functools.lru_cache(maxsize=20_000)
def inches(text: str, size: float, bold: bool = False) -> float:
    """How wide a text is drawn."""
    font = FontProperties(family=list(fonts()), size=size, weight="bold" if bold else "normal")
    return float(_measuring().get_text_width_height_descent(text, font, False)[0]) / 100


@functools.cache
def _measuring() -> Any:
    canvas: Any = FigureCanvasAgg(Figure(dpi=100))
    return canvas.get_renderer()


def fitted(text: str, room: float, size: float, *, bold: bool = False) -> str:
    """A name in at most so many inches, its middle left out where it is longer.

    A name of a script that runs from right to left ends with a mark that says so: a number written after it stays there.
    """
    columns = LONGEST
    made = label(text, columns)
    while inches(made, size, bold) > room and columns > 4:
        columns = max(4, min(columns - 1, int(len(made) * room / inches(made, size, bold)) + 1))
        made = label(text, columns)
    rightwards = any(unicodedata.bidirectional(c) in {"R", "AL"} for c in made)
    return f"{LEFT_TO_RIGHT}{made}{LEFT_TO_RIGHT}" if rightwards else made


def wrapped(text: str, room: float, size: float, *, lines: int = 4, bold: bool = False) -> str:
    """A text in lines of at most so many inches, broken at spaces; of what is beyond the last line the middle is cut."""
    made: list[str] = []
    line = ""
    for word in label(text, 3 * LONGEST).split(" "):
        longer = f"{line} {word}" if line else word
        if inches(longer, size, bold) <= room:
            line = longer
            continue
        if line:
            made.append(line)
        line = fitted(word, room, size, bold=bold)
    made.append(line)
    if len(made) > lines:
        made = [*made[: lines - 1], fitted(" ".join(made[lines - 1 :]), room, size, bold=bold)]
    return "\n".join(made)


def headline(figure: Figure, text: str) -> None:
    """The figure's title, at the left, in as many lines as it needs."""
    figure.suptitle(
        wrapped(text, ACROSS, HEAD, lines=3, bold=True),
        x=0.01,
        ha="left",
        fontsize=HEAD,
        fontweight="bold",
        linespacing=1.25,
    )


def note(figure: Figure, text: str) -> None:
    """What stands under the picture: how to read it, what was left out, what it does not say."""
    figure.supxlabel(
        wrapped(text, ACROSS, FOOT),
        fontsize=FOOT,
        color=MUTED,
        linespacing=1.3,
        x=0.01,
        ha="left",
        va="bottom",
    )


def with_headings(attributes: Sequence[str]) -> list[int | str]:
    """What stands in each line, downwards: the position of a row, or the name of the attribute that follows."""
    lines: list[int | str] = []
    for i, attribute in enumerate(attributes):
        if attribute and (i == 0 or attribute != attributes[i - 1]):
            lines.append(attribute)
        lines.append(i)
    return lines


def row_names(axes: Axes, lines: Sequence[int | str], names: Sequence[str], room: float = NAME) -> None:
    """Names at the left: of rows in ink, of the attribute that they belong to in italics."""
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_yticks(
        range(len(lines)),
        [fitted(line if isinstance(line, str) else names[line], room, 8) for line in lines],
    )
    for text, line in zip(axes.get_yticklabels(), lines, strict=True):
        text.set_color(MUTED if isinstance(line, str) else INK)
        text.set_fontstyle("italic" if isinstance(line, str) else "normal")
    bare(axes)


def aside(axes: Axes, y: float, text: str, *, colour: str = INK, size: float = 8) -> None:
    """Numbers at the right of a row."""
    axes.text(1.02, y, text, transform=axes.get_yaxis_transform(), va="center", fontsize=size, color=colour)


def more(left_out: int, what: str) -> str:
    """ "; 3 more groups are in the table", or nothing where none was left out."""
    return said("figure.more_not_drawn", n=left_out, what=what) if left_out else ""
