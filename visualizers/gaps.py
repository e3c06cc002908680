"""Rates and gaps as forest plots: a mark, its interval, its counts and its verdict in words."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..records import Audit, Cell, Finding
from .fonts import label, shorten
from .palette import BAND, BLUE, INK, MARKS, MUTED, ORANGE, RULE, WIDTH, bare, drawing, sheet, ticks_along
from .phrases import said
from .rows import with_headings
from .wording import IN_SENTENCE, drawn_word, gap_sentence, interval, number, opening, signed, spoken

EVERYBODY = "(all)"
MOST_ROWS = 40
ROW = 0.24  # inches


def rate_cells(audit: Audit, metric: str) -> list[Cell]:
    """The cells a forest plot shows: everybody once, then each attribute's groups in order."""
    cells = [cell for cell in audit.cells if cell.metric == metric]
    everybody = [cell for cell in cells if cell.group == EVERYBODY][:1]
    return everybody + [cell for cell in cells if cell.group != EVERYBODY]


def gap_findings(audit: Audit, metric: str) -> list[Finding]:
    """The comparisons on one metric, in order."""
    return [finding for finding in audit.findings if finding.metric == metric]


def forest(audit: Audit, metric: str) -> Figure:
    """Rates of one metric per group, each with its interval and k / n.

    A hollow mark is a group with too few rows for the policy; a group without an estimate keeps its row.
    """
    cells = rate_cells(audit, metric)
    shown = cells[:MOST_ROWS]
    lines = with_headings([("" if cell.group == EVERYBODY else cell.attribute) for cell in shown])
    with drawing():
        figure = sheet(WIDTH, 0.9 + ROW * len(lines))
        axes = figure.add_subplot()
        _rows(
            axes, lines, [label(said("word.everybody") if c.group == EVERYBODY else c.group) for c in shown]
        )
        for y, line in enumerate(lines):
            if isinstance(line, str):
                continue
            cell = shown[line]
            if cell.estimate is None:
                _aside(axes, y, said("figure.no_estimate_n", n=number(cell.n)), quiet=True)
                continue
            whole = cell.group == EVERYBODY
            colour = INK if whole else BLUE if cell.status == "ok" else MUTED
            if cell.low is not None and cell.high is not None:
                axes.plot([cell.low, cell.high], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt")
            axes.plot(
                [cell.estimate],
                [y],
                marker="D" if whole else "o",
                markersize=5.5,
                color=colour,
                markerfacecolor=colour if cell.status == "ok" else "white",
            )
            if whole:
                axes.axvline(cell.estimate, color=RULE, linewidth=1, zorder=0)
            counted = f"{number(cell.k)}/{number(cell.n)}" if cell.k is not None else f"n = {number(cell.n)}"
            flag = "" if cell.status == "ok" else f"  {drawn_word(cell.status)}"
            _aside(axes, y, f"{number(cell.estimate)} {interval(cell.low, cell.high)}  {counted}{flag}")
        _finish(
            axes,
            lines,
            said("figure.rates", metric=spoken(metric), confidence=_confidence(audit)),
            len(cells) - len(shown),
        )
    return figure


def gap_forest(audit: Audit, metric: str) -> Figure:
    """Differences between two groups with intervals, the tolerance as a band, the verdict as mark and word.

    The verdict follows a test, not the interval drawn; where the two seem to differ, the test counts.
    """
    findings = gap_findings(audit, metric)
    shown = findings
    if len(findings) > MOST_ROWS:
        largest = sorted(range(len(findings)), key=lambda i: -abs(findings[i].estimate or 0.0))[:MOST_ROWS]
        shown = [findings[i] for i in sorted(largest)]
    lines = with_headings([finding.attribute for finding in shown])
    tolerance = next((f.tolerance for f in findings if f.tolerance is not None), None)
    with drawing():
        figure = sheet(WIDTH, 0.95 + ROW * len(lines))
        axes = figure.add_subplot()
        if tolerance is not None:
            axes.axvspan(-tolerance, tolerance, facecolor=BAND, edgecolor=RULE, hatch="///", zorder=0)
        axes.axvline(0, color=MUTED, linewidth=0.8, zorder=1)
        _rows(axes, lines, [f"{label(f.group, 20)} − {label(f.reference, 20)}" for f in shown])
        for y, line in enumerate(lines):
            if isinstance(line, str):
                continue
            finding = shown[line]
            word = (
                "" if finding.verdict is None else f"  {MARKS[finding.verdict]} {drawn_word(finding.verdict)}"
            )
            if finding.estimate is None:
                _aside(axes, y, f"{said('figure.no_estimate')}{word}", quiet=True)
                continue
            colour = ORANGE if finding.verdict == "exceeds tolerance" else BLUE
            if finding.low is not None and finding.high is not None:
                axes.plot(
                    [finding.low, finding.high], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt"
                )
            axes.plot(
                [finding.estimate],
                [y],
                marker={"exceeds tolerance": "^", "within tolerance": "o"}.get(str(finding.verdict), "s"),
                markersize=5.5,
                color=colour,
                markerfacecolor="white" if finding.verdict == "inconclusive" else colour,
            )
            _aside(
                axes,
                y,
                f"{signed(finding.estimate)} {interval(finding.low, finding.high, sign=True)}  "
                f"n {number(finding.n_group)}, {number(finding.n_reference)}{word}",
            )
        band = "" if tolerance is None else said("figure.gaps_tolerance", tolerance=number(tolerance))
        title = said("figure.gaps", metric=spoken(metric), confidence=_confidence(audit)) + band
        _finish(axes, lines, title, len(findings) - len(shown))
    return figure


def describe_rates(audit: Audit, metric: str) -> str:
    """One sentence: the lowest and the highest rate among the groups compared that have enough rows."""
    compared = {(f.attribute, g) for f in audit.findings for g in (f.group, f.reference)}
    cells = [
        c
        for c in rate_cells(audit, metric)
        if (c.attribute, c.group) in compared and c.estimate is not None and c.status == "ok"
    ]
    if not cells:
        return said("figure.rates_none", metric=opening(spoken(metric)))
    ends = [min(cells, key=lambda c: c.estimate or 0.0), max(cells, key=lambda c: c.estimate or 0.0)]
    low, high = (
        f"{shorten(c.group, IN_SENTENCE)} {number(c.estimate)} {interval(c.low, c.high)} (n = {number(c.n)})"
        for c in ends
    )
    return said("figure.rates_from_to", metric=opening(spoken(metric)), low=low, high=high)


def describe_gaps(audit: Audit, metric: str) -> str:
    """One sentence: the largest difference between two groups, and how many pairs have which verdict."""
    findings = gap_findings(audit, metric)
    known = [f for f in findings if f.estimate is not None]
    if not known:
        return said("figure.gaps_none", metric=spoken(metric))
    largest = max(known, key=lambda f: abs(f.estimate or 0.0))
    verdicts = [f.verdict for f in findings if f.verdict is not None]
    tally = ", ".join(f"{verdicts.count(v)} {drawn_word(v)}" for v in dict.fromkeys(verdicts))
    made = said("figure.gaps_largest", sentence=gap_sentence(largest))
    return f"{made} {said('figure.gaps_pairs', tally=tally)}" if tally else made


def _confidence(audit: Audit) -> str:
    policy = audit.plan.get("policy", {})
    value = policy.get("confidence") if isinstance(policy, dict) else None
    return f"{value:.0%}" if isinstance(value, float) else said("figure.two_sided")


def _rows(axes: Axes, lines: Sequence[int | str], names: Sequence[str]) -> None:
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_yticks(
        range(len(lines)), [label(line) if isinstance(line, str) else names[line] for line in lines]
    )
    for text, line in zip(axes.get_yticklabels(), lines, strict=True):
        text.set_color(MUTED if isinstance(line, str) else INK)
        text.set_fontstyle("italic" if isinstance(line, str) else "normal")


def _aside(axes: Axes, y: float, text: str, *, quiet: bool = False) -> None:
    axes.text(
        1.02,
        y,
        text,
        transform=axes.get_yaxis_transform(),
        va="center",
        fontsize=8,
        color=MUTED if quiet else INK,
    )


def _finish(axes: Axes, lines: Sequence[int | str], title: str, left_out: int) -> None:
    bare(axes)
    ticks_along(axes, 5)
    axes.margins(x=0.06)
    if not lines:
        axes.set_xticks([])
        axes.text(
            0.5, 0.5, said("figure.nothing_to_draw"), transform=axes.transAxes, ha="center", color=MUTED
        )
    if left_out:
        axes.set_xlabel(said("figure.more_in_the_table", n=left_out), fontsize=8)
    axes.figure.suptitle(label(title, 110), x=0.01, ha="left", fontsize=9.5, fontweight="bold")
