"""Numbers beside marks, where nothing covers them: near the mark where there is room, else at a line's end."""

import itertools
import math
from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from .palette import INK, MUTED, PAPER

SIZE = 8.0  # points of a number
DIGIT, TALL = (
    0.64 * SIZE,
    1.2 * SIZE,
)  # points that a digit takes; at 72 dots an inch its height is rounded up
NEAR = 10.5  # points between the middles of a mark and a number that needs no line
STEP = 3.5  # points between two rings of places
MARK = 4.5  # points from a mark's middle that no number may touch
DIRECTIONS = 16
FIRST = 45.0  # degrees: up and to the right, where a reader looks first

Box = tuple[float, float, float, float]  # left, bottom, right, top in points


def number_marks(figure: Figure, axes: Axes, places: Sequence[tuple[int, float, float]]) -> None:
    """Write the number of each mark so that no two numbers overlap and none lies on a mark.

    A number goes to the nearest free place around its mark, up and to the right first; one that is pushed away gets a
    line to its mark. Widths are those of figures in DejaVu Sans; a place is free where neither a mark nor a number that
    was placed before lies. Marks in one place are told apart by their lines alone. The figure's layout is final after it.

    Args:
        places: (number, x, y) in the units of the axes, in the order in which they choose.
    """
    for _ in range(2):  # the second time, what the first has moved is taken into account
        figure.draw_without_rendering()
    figure.set_layout_engine("none")  # what is free now stays free, whatever is saved
    scale = 72.0 / figure.dpi
    frame = axes.get_window_extent()
    inside = (frame.x0 * scale, frame.y0 * scale, frame.x1 * scale, frame.y1 * scale)
    middles = [tuple(scale * axes.transData.transform((x, y))) for _, x, y in places]
    taken = [(x - MARK, y - MARK, x + MARK, y + MARK) for x, y in middles]
    for (number, x, y), (across, up) in zip(places, middles, strict=True):
        half = (0.5 * DIGIT * len(str(number)) + 1.0, 0.5 * TALL)
        right, high, box = _free(across, up, half, taken, inside)
        taken.append(box)
        pushed = math.hypot(right, high) > NEAR + 0.5 * STEP
        line = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 2}
        axes.annotate(
            str(number),
            (x, y),
            xytext=(right, high),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=SIZE,
            color=INK,
            zorder=6,
            annotation_clip=False,
            arrowprops=line if pushed else None,
            path_effects=[withStroke(linewidth=2.0, foreground=PAPER)],
        )


def _free(
    x: float, y: float, half: tuple[float, float], taken: Sequence[Box], inside: Box
) -> tuple[float, float, Box]:
    """Offsets to the nearest free place and the box of the number there."""
    widest = math.hypot(inside[2] - inside[0], inside[3] - inside[1])
    for right, high in _offsets():
        middle = (x + right, y + high)
        box = (middle[0] - half[0], middle[1] - half[1], middle[0] + half[0], middle[1] + half[1])
        # Past the frame's own width every place inside has been tried: then one outside will do.
        fits = _within(box, inside) or math.hypot(right, high) > widest
        if fits and not any(_touch(box, other) for other in taken):
            break
    return right, high, box


def _offsets() -> Iterator[tuple[float, float]]:
    """Ring after ring of places around a mark, without an end: a wide one has a place that is outside all others."""
    for ring in itertools.count():
        radius = NEAR + STEP * ring
        for turn in range(DIRECTIONS):
            # 0, 1, -1, 2, -2 ... sixteenths of a circle from the first direction
            angle = math.radians(FIRST) + (turn + 1) // 2 * (-1) ** turn * 2 * math.pi / DIRECTIONS
            yield radius * math.cos(angle), radius * math.sin(angle)


def _touch(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _within(box: Box, frame: Box) -> bool:
    return box[0] >= frame[0] and box[1] >= frame[1] and box[2] <= frame[2] and box[3] <= frame[3]
