"""One example's tokens as chips in reading order, each shaded and marked by its signed score."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from ..errors import UsageError, did_you_mean
from ..records import Attribution
from .fonts import shorten
from .palette import DIVERGING, INK, MUTED, RULE, WIDTH, drawing, ink_on, sheet
from .rows import fitted, headline, inches, note
from .wording import IN_SENTENCE, number, signed

MOST_TOKENS = 240
WITH_NUMBERS = 90  # tokens up to which each chip has its score below it
TOKEN = 2.2  # inches that a token may take
ADDS, TAKES_OFF = "▲", "▼"
SIZE, SMALL = 9.0, 6.4  # points
PAD, GAP = 0.055, 0.05  # inches: inside a chip, between chips
MARGIN = 0.08


class _Chip(NamedTuple):
    place: int
    left: float  # inches
    line: int
    width: float
    word: str
    mark: float  # inches: the width of the sign and the space after it
    content: float  # of sign and word together


def token_strip(attribution: Attribution, example: int | str = 0) -> Figure:
    """The tokens of one example in their order, wrapped as a text: blue and ▲ add to the target, orange and ▼ take off.

    The shade is full at the example's largest score. Scores are printed under the tokens where there are few enough
    of them. Of a method that promises a sum the figure says what the scores add up to.

    Args:
        example: its place, negative from the end, or its id.

    Raises:
        UsageError: there is no such example, or it has no token.
    """
    at = place_of(attribution, example)
    names = attribution.tokens[at]
    scores = _scores(attribution, at)
    shown = min(len(names), MOST_TOKENS)
    top = float(np.abs(scores).max(initial=0.0)) or 1.0
    printed = len(names) <= WITH_NUMBERS
    with drawing():
        chips = _laid_out([_drawable(name) for name in names[:shown]], scores, printed)
        lines = 1 + max(chip.line for chip in chips)
        height = 0.27 + (0.16 if printed else 0.03)
        figure = sheet(WIDTH, 1.05 + height * lines)
        axes = figure.add_subplot()
        axes.set_axis_off()
        axes.set_xlim(0, WIDTH - 2 * MARGIN)
        axes.set_ylim(lines * height, 0)
        for chip in chips:
            _draw(axes, chip, float(scores[chip.place]), top, height, printed)
        unit = f" {attribution.unit}" if attribution.unit else ""
        headline(figure, f"{attribution.method}, {attribution.ids[at]}: {attribution.target}")
        left_out = len(names) - shown
        note(
            figure,
            f"{ADDS} adds to the target, {TAKES_OFF} takes off; full shade = ±{number(top)}{unit}; n = {number(len(names))} "
            f"tokens of 1 example{f'; {left_out} more are not drawn' if left_out else ''}. {_account(attribution, at)}",
        )
    return figure


def describe(attribution: Attribution, example: int | str = 0, top: int = 3) -> str:
    """Two sentences: the largest scores with their signs, and what they add up to."""
    at = place_of(attribution, example)
    scores = _scores(attribution, at)
    order = sorted(range(len(scores)), key=lambda i: (-abs(scores[i]), i))[:top]
    said = []
    for i in order:
        error = "" if attribution.errors is None else f" ± {number(float(attribution.errors[at, i]))}"
        said.append(f"{shorten(attribution.tokens[at][i], 24)} {signed(float(scores[i]))}{error}")
    unit = f" {attribution.unit}" if attribution.unit else ""
    sampled = "" if attribution.errors is None else " (± standard error of sampling)"
    return (
        f"{attribution.method} of {shorten(attribution.target, IN_SENTENCE)} for "
        f"{shorten(attribution.ids[at], IN_SENTENCE)}, n = {number(len(scores))} tokens of 1 example. Largest: "
        f"{', '.join(said)}{unit}{sampled}. {_account(attribution, at)}"
    )


def place_of(attribution: Attribution, example: int | str) -> int:
    """The place of an example that has tokens.

    Raises:
        UsageError: there is no such example, or it has no token.
    """
    n = len(attribution)
    if isinstance(example, str):
        if example not in attribution.ids:
            raise UsageError(f"there is no example {example!r}: {did_you_mean(example, attribution.ids)}")
        at = attribution.ids.index(example)
    else:
        if not -n <= example < n:
            raise UsageError(
                f"example {example} does not exist: the attribution has {n}. Name a place or an id."
            )
        at = example % n
    if not attribution.tokens[at]:
        raise UsageError(f"the example {attribution.ids[at]!r} has no token: there is nothing to draw.")
    return at


def _scores(attribution: Attribution, at: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return np.asarray(attribution.scores[at][: len(attribution.tokens[at])], dtype=np.float64)


def _account(attribution: Attribution, at: int) -> str:
    if math.isnan(float(attribution.base_value[at])):
        return "The scores add up to nothing by definition: read them as an order, not as amounts."
    total = float(attribution.scores[at].sum())
    kept = "" if attribution.converged[at] else ", beyond the tolerance: not converged"
    return (
        f"Baseline {signed(float(attribution.base_value[at]))}, scores {signed(total)}, residual "
        f"{signed(float(attribution.residual[at]))}{kept}: together {signed(float(attribution.value[at]))}, the target; "
        "another baseline divides it otherwise."
    )


def _drawable(token: str) -> str:
    return fitted(token, TOKEN, SIZE) if token.strip() else "␣"


def _laid_out(words: Sequence[str], scores: Sequence[float] | np.ndarray, printed: bool) -> list[_Chip]:
    """Chips from left to right, in lines as wide as the sheet."""
    room = WIDTH - 2 * MARGIN
    made, left, line = [], 0.0, 0
    for i, word in enumerate(words):
        mark = inches(f"{ADDS} ", SMALL) if scores[i] else 0.0
        content = mark + inches(word, SIZE)
        width = content + 2 * PAD
        if printed:
            width = max(width, inches(signed(float(scores[i])), SMALL) + PAD)
        if left and left + width > room:
            left, line = 0.0, line + 1
        made.append(_Chip(i, left, line, min(width, room), word, mark, content))
        left += width + GAP
    return made


def _draw(axes: Axes, chip: _Chip, score: float, top: float, height: float, printed: bool) -> None:
    colour = DIVERGING(0.5 + 0.5 * score / top)
    y = chip.line * height
    box = FancyBboxPatch(
        (chip.left + 0.02, y + 0.03),
        chip.width - 0.04,
        0.2,
        boxstyle="round,pad=0,rounding_size=0.03",
        facecolor=colour,
        edgecolor=RULE,
        linewidth=0.6,
    )
    axes.add_patch(box)
    ink = ink_on(colour)
    mark = ADDS if score > 0 else TAKES_OFF if score < 0 else ""
    start = chip.left + max(0.0, (chip.width - chip.content) / 2)
    axes.text(start, y + 0.13, mark, fontsize=SMALL, color=ink, va="center", ha="left")
    axes.text(
        start + chip.mark, y + 0.13, chip.word, fontsize=SIZE, color=ink, va="center_baseline", ha="left"
    )
    if printed:
        axes.text(
            chip.left + chip.width / 2,
            y + 0.245,
            signed(score),
            fontsize=SMALL,
            color=INK if abs(score) >= 0.5 * top else MUTED,
            va="top",
            ha="center",
        )
