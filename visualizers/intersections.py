"""Two attributes at once: a metric of every combination with n, hatched where it is not assessed."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..errors import UsageError, first
from ..records import Audit, Cell
from .fonts import label, shorten
from .gaps import EVERYBODY
from .palette import BAND, INK, MUTED, PAPER, RULE, SEQUENTIAL, WIDTH, drawing, ink_on, sheet
from .phrases import said
from .rows import fitted, headline, more, note
from .wording import IN_SENTENCE, interval, number, opening, spoken

JOINT = " & "  # joins the names of attributes, and of their groups
MOST_ROWS, MOST_COLUMNS = 24, 10
WITH_INTERVAL = 6  # columns up to which a cell has room for its interval
HATCH = "////"
Parts = tuple[str, str]


def joint_attributes(audit: Audit) -> tuple[str, ...]:
    """The intersections that an audit holds, in order."""
    names = dict.fromkeys(cell.attribute for cell in audit.cells if JOINT in cell.attribute)
    return tuple(name for name in names if _grid(audit.cells, name, None))


def intersections(audit: Audit, metric: str | None = None, attribute: str | None = None) -> Figure:
    """Rows are groups of the first attribute, columns those of the others; the shade is the metric's value.

    A hatched cell has too few rows for the policy, or no estimate; a dot stands where nobody is. Rows with an
    unknown part are counted below.

    Args:
        metric: the one drawn; None: the first with a tolerance, else the first audited.
        attribute: "race & sex"; None: the first intersection.

    Raises:
        UsageError: the audit has no such intersection or metric.
    """
    attribute, metric, grid, aside = _asked(audit, metric, attribute)
    rows = list(dict.fromkeys(parts[0] for parts in grid))
    columns = list(dict.fromkeys(parts[1] for parts in grid))
    shown_rows, shown_columns = rows[:MOST_ROWS], columns[:MOST_COLUMNS]
    known = [c.estimate for c in grid.values() if c.estimate is not None and c.status == "ok"]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    spacious = len(shown_columns) <= WITH_INTERVAL
    with drawing():
        figure = sheet(WIDTH, 1.35 + (0.52 if spacious else 0.36) * len(shown_rows))
        axes = figure.add_subplot()
        for y, row in enumerate(shown_rows):
            for x, column in enumerate(shown_columns):
                _cell(axes, x, y, grid.get((row, column)), low, high, spacious)
        _dress(axes, attribute, shown_rows, shown_columns)
        confidence = audit.plan.get("policy", {}).get("confidence")
        named = {"metric": spoken(metric), "attribute": attribute}
        if spacious and isinstance(confidence, float):
            headline(figure, said("figure.intersection_intervals", **named, confidence=f"{confidence:.0%}"))
        else:
            headline(figure, said("figure.intersection", **named))
        left_out = more(len(rows) - len(shown_rows), said("figure.rows"))
        left_out += more(len(columns) - len(shown_columns), said("figure.columns"))
        shades = (
            said("figure.intersection_shades", low=number(low), high=number(high))
            if known
            else said("figure.intersection_no_shades")
        )
        note(figure, said("figure.intersection_note", shades=shades, unknown=_unknown(aside), more=left_out))
    return figure


def describe(audit: Audit, metric: str | None = None, attribute: str | None = None) -> str:
    """Two sentences: the lowest and the highest combination with enough rows, and how many have too few."""
    attribute, metric, grid, aside = _asked(audit, metric, attribute)
    cells = [c for c in grid.values() if c.estimate is not None and c.status == "ok"]
    few = said("figure.intersection_few", few=len(grid) - len(cells), n=len(grid), unknown=_unknown(aside))
    if not cells:
        total = sum(c.n_rows for c in grid.values())
        return said(
            "figure.intersection_none",
            metric=opening(spoken(metric)),
            attribute=attribute,
            n=number(total),
        )
    ends = [min(cells, key=lambda c: c.estimate or 0.0), max(cells, key=lambda c: c.estimate or 0.0)]
    low, high = (
        f"{shorten(c.group, IN_SENTENCE)} {number(c.estimate)} {interval(c.low, c.high)} (n = {number(c.n)})"
        for c in ends
    )
    return said(
        "figure.intersection_from_to",
        metric=opening(spoken(metric)),
        attribute=shorten(attribute, IN_SENTENCE),
        low=low,
        high=high,
        few=few,
    )


def _asked(
    audit: Audit, metric: str | None, attribute: str | None
) -> tuple[str, str, dict[Parts, Cell], list[Cell]]:
    known = joint_attributes(audit)
    if attribute is None and known:
        attribute = known[0]
    if attribute is None or attribute not in known:
        asked = "" if attribute is None else f" {attribute!r}"
        have = f"it has {first(known)}" if known else "it has none"
        raise UsageError(
            f"the audit has no intersection{asked}: {have}. Declare one in the policy, "
            'intersections = [["race", "sex"]].'
        )
    metrics = list(dict.fromkeys(c.metric for c in audit.cells if c.attribute == attribute))
    gated = dict.fromkeys(f.metric for f in audit.findings if f.tolerance is not None)
    if metric is None:
        metric = next((m for m in gated if m in metrics), metrics[0])
    if metric not in metrics:
        raise UsageError(f"{metric!r} was not audited by {attribute}: {first(metrics, 12)} were.")
    aside = [
        c
        for c in audit.cells
        if c.attribute == attribute and c.metric == metric and c.group != EVERYBODY and _parts(c) is None
    ]
    return attribute, metric, _grid(audit.cells, attribute, metric), aside


def _parts(cell: Cell) -> Parts | None:
    """A joint group as row and column; None where it is no combination of all attributes (unknown, everybody)."""
    names, wanted = cell.group.split(JOINT), len(cell.attribute.split(JOINT))
    return (names[0], JOINT.join(names[1:])) if len(names) == wanted > 1 else None


def _grid(cells: Sequence[Cell], attribute: str, metric: str | None) -> dict[Parts, Cell]:
    found: dict[Parts, Cell] = {}
    for cell in cells:
        parts = _parts(cell) if cell.attribute == attribute and metric in {None, cell.metric} else None
        if parts is not None:
            found.setdefault(parts, cell)
    return found


def _cell(axes: Axes, x: int, y: int, cell: Cell | None, low: float, high: float, spacious: bool) -> None:
    if cell is None or cell.n_rows == 0:
        axes.add_patch(Rectangle((x, y), 1, 1, facecolor=PAPER, edgecolor=RULE, linewidth=0.8))
        axes.text(x + 0.5, y + 0.5, "·" if cell is None else "· n = 0", ha="center", va="center", color=MUTED)
        return
    judged = cell.estimate is not None and cell.status == "ok"
    if judged and cell.estimate is not None:
        share = 0.0 if math.isclose(high, low) else (cell.estimate - low) / (high - low)
        colour = SEQUENTIAL(0.06 + 0.79 * share)
        box = Rectangle((x, y), 1, 1, facecolor=colour, edgecolor=PAPER, linewidth=1.5)
    else:
        colour = (0.97, 0.975, 0.98, 1.0)
        box = Rectangle((x, y), 1, 1, facecolor=colour, edgecolor="#b3bac3", hatch=HATCH, linewidth=0.8)
    axes.add_patch(box)
    ink = ink_on(colour) if judged else INK
    counted = f"{number(cell.k)}/{number(cell.n)}" if cell.k is not None else f"n = {number(cell.n)}"
    estimate = number(cell.estimate) if cell.estimate is not None else said("figure.no_estimate")
    lines = [(estimate, 9.0), (interval(cell.low, cell.high), 7.0), (counted, 7.5)]
    if not spacious or cell.low is None:
        lines = [lines[0], lines[2]]
    for i, (text, size) in enumerate(lines):
        axes.text(
            x + 0.5,
            y + (i + 1) / (len(lines) + 1),
            text,
            ha="center",
            va="center",
            fontsize=size,
            color=ink,
            fontweight="bold" if i == 0 and judged else "normal",
            bbox=None if judged else {"facecolor": BAND, "edgecolor": "none", "pad": 0.6},
        )


def _dress(axes: Axes, attribute: str, rows: list[str], columns: list[str]) -> None:
    names = attribute.split(JOINT)
    axes.set_xlim(0, len(columns))
    axes.set_ylim(len(rows), 0)
    axes.set_xticks(
        [x + 0.5 for x in range(len(columns))],
        [fitted(name, (WIDTH - 2.6) / max(1, len(columns)), 8) for name in columns],
    )
    axes.set_yticks([y + 0.5 for y in range(len(rows))], [fitted(name, 1.7, 8) for name in rows])
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel(label(JOINT.join(names[1:]), 60), fontstyle="italic", fontsize=8)
    axes.set_ylabel(label(names[0], 30), fontstyle="italic", fontsize=8)
    axes.tick_params(length=0, labelcolor=INK)
    axes.spines[:].set_visible(False)


def _unknown(aside: Sequence[Cell]) -> str:
    n = sum(cell.n_rows for cell in aside)
    return said("figure.intersection_unknown", n=number(n)) if n else ""
