"""How several lines in one picture are told apart: by colour, dash and mark together, never by colour alone."""

from typing import Literal, NamedTuple

from .palette import BLUE, INK, MUTED, ORANGE

Dash = Literal["solid"] | tuple[float, tuple[float, ...]]


class Line(NamedTuple):
    """One line's look."""

    colour: str
    dash: Dash
    mark: str


# Okabe and Ito's colours that are dark enough on white (3 : 1), each with a dash and a mark of its own.
LINES = (
    Line(BLUE, "solid", "o"),
    Line(ORANGE, (0, (5, 2)), "s"),
    Line(INK, (0, (1, 1.4)), "D"),
    Line("#8a5a8f", (0, (7, 2, 1, 2)), "^"),
    Line("#007a5e", (0, (3, 1)), "v"),
    Line(MUTED, (0, (1, 3)), "P"),
)
