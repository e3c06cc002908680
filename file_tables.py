"""What the commands that judge files print: comparisons, control charts, slices, published rules."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .terminal import SYMBOLS, chance, console, interval, number, printable, table, verdict_line

if TYPE_CHECKING:
    from .bias.compared import Change, Comparison
    from .bias.counterfactuals import Counterfactuals
    from .bias.four_fifths import AdverseImpact
    from .bias.local_law_144 import LocalLaw144
    from .bias.monitored import Monitoring
    from .bias.slice_records import SliceSearch
    from .bias.suite_results import SuiteResult
    from .records import Audit

CHANGED = {
    "worse": ("exceeds tolerance", "worse: the declared margin is not kept"),
    "no worse": ("within tolerance", "no worse: every declared margin is kept"),
    "inconclusive": ("inconclusive", "inconclusive: these rows do not settle it"),
    "not assessed": ("not assessed", "not assessed: a declared question could not be asked"),
    None: (None, "no margin declared: nothing is judged"),
}
CHARTED = {
    "alarm": ("exceeds tolerance", "alarm: a declared gap grew beyond its limits"),
    "no alarm": ("within tolerance", "no alarm: no declared gap grew beyond its limits"),
    "not assessed": ("not assessed", "not assessed: a declared gap could not be charted"),
}
MOST_POINTS = 12


def summary_table(made: "Audit", most: int = 40) -> str:
    """What each attribute shows beside its pairs; nothing is gated on it."""
    if not made.summaries:
        return ""
    rows = (
        (
            one.metric,
            one.attribute if one.group == "(all)" else f"{one.attribute}: {one.group}",
            f"{one.n}",
            number(one.estimate),
            interval(one.low, one.high),
            one.note or one.words,
        )
        for one in made.summaries[:most]
    )
    title = "summaries: nothing is gated on them"
    left = len(made.summaries) - most
    if left > 0:
        title += f" ({left} more with --json)"
    return printed(title, ["metric", "of", "n", "rate", "interval", "what it says"], rows)


def comparison_tables(made: "Comparison") -> str:
    """What moved between two models, and the decision."""
    judged = [one for one in made.changes if one.margin is not None]
    shown = judged or list(made.changes)
    text = printed(
        f"{made.title}: what changed on the same {made.n} rows"
        + ("" if judged else ", nothing judged as no margin was declared"),
        ["metric", "of", "n", "before", "after", "change", "interval", "margin", "p", "decision"],
        (
            (
                one.metric,
                _whom(one),
                f"{one.n_before}" if one.n_before == one.n_after else f"{one.n_before}, {one.n_after}",
                number(one.before),
                number(one.after),
                number(one.change, "+"),
                interval(one.low, one.high, "+"),
                "–" if one.margin is None else f"{one.margin:g}",
                chance(one.p_adjusted),
                _said(one),
            )
            for one in shown
        ),
    )
    left = len(made.changes) - len(shown)
    if left:
        text += f"{left} more changes were computed and not judged: see --json\n"
    symbol, words = CHANGED[made.decision]
    return text + _lines(made.notes) + f"{SYMBOLS[symbol]} {words}\n"


def comparison_line(made: "Comparison") -> str:
    symbol, words = CHANGED[made.decision]
    return f"{SYMBOLS[symbol]} {words}\n"


def monitoring_tables(made: "Monitoring") -> str:
    """The charts of declared gaps: the last dates of each, and what was decided."""
    text = ""
    for one in made.charts:
        title = f"{one.metric} by {one.attribute}: {one.group} minus {one.reference}"
        if one.chart.centre is not None and one.chart.dispersion is not None:
            title += f", usually {one.chart.centre:+.3f} (dispersion {one.chart.dispersion:.2f})"
        points = one.chart.points[-MOST_POINTS:]
        text += printed(
            f"{title}, the last {len(points)} of {len(one.chart.points)} dates",
            ["date", "n", "gap", "limits", "status"],
            (
                (
                    str(point.date),
                    f"{point.n_group:.0f}, {point.n_reference:.0f}",
                    number(point.estimate, "+"),
                    interval(point.low, point.high, "+"),
                    f"{point.status}: {point.note}" if point.note else point.status,
                )
                for point in points
            ),
        )
        text += f"{SYMBOLS[CHARTED[one.outcome][0]]} {one.outcome}{f': {printable(one.reason)}' if one.reason else ''}\n"
    return text + _lines(made.notes) + monitoring_line(made)


def monitoring_line(made: "Monitoring") -> str:
    symbol, words = CHARTED[made.outcome]
    return f"{SYMBOLS[symbol]} {words}\n"


def slice_table(made: "SliceSearch", most: int = 20) -> str:
    """The slices that survived the search, one of each group of nested ones, and how the search was made."""
    leaders = made.leaders[:most]
    text = printed(
        f"slices whose {made.of} differs from everybody else's ({made.n:,} rows, {number(made.overall)} overall)",
        ["slice", "n", "rate", "others", "difference", "interval", "p", "the last item adds"],
        (
            (
                one.name,
                f"{one.n}",
                number(one.estimate),
                number(one.complement),
                number(one.effect, "+"),
                interval(one.low, one.high, "+"),
                chance(one.p_adjusted),
                number(one.incremental_effect, "+"),
            )
            for one in leaders
        ),
    )
    if not leaders:
        text = f"no slice differs from everybody else by more than the search itself explains ({made.of})\n"
    return text + (
        f"searched: {made.n_searched:,} conjunctions of {len(made.columns)} columns"
        f"{f' and {len(made.terms)} terms' if made.terms else ''}, up to {made.depth} items, {made.min_support:.1%} "
        "support\n"
        f"found:    {made.n_found:,} of {made.n_tested:,} tested, in {len(made.leaders)} nested families; "
        f"{made.method}, {made.permutations:,} permutations, |z| beyond {made.critical:.2f}\n"
        "note:     p and intervals account for the whole search; slices chosen by looking are no declared groups\n"
    )


def impact_table(made: "AdverseImpact") -> str:
    """The four-fifths rule's findings, apart: ratio, significance, small numbers, shortfall."""
    text = printed(
        f"{made.attribute}: selection beside {made.reference} ({made.n} rows; 29 CFR 1607.4(D))",
        ["group", "k of n", "rate", "ratio", "interval", "below 4/5", "p", "small numbers", "shortfall"],
        (
            (
                one.group,
                f"{one.k} of {one.n}",
                number(one.rate),
                number(one.ratio),
                interval(one.low, one.high),
                _yes(one.below_four_fifths),
                chance(one.p_adjusted),
                _yes(one.small_numbers),
                "–" if one.shortfall_to_rule is None else f"{one.shortfall_to_rule}",
            )
            for one in made.groups
        ),
    )
    return text + _lines(made.notes)


def local_law_table(made: "LocalLaw144") -> str:
    """The tables of 6 RCNY 5-301, with intervals that the rule does not ask for."""
    text = ""
    for name in dict.fromkeys(one.table for one in made.categories):
        rows = [one for one in made.categories if one.table == name]
        text += printed(
            f"{name}: {made.rate} ({made.n} applicants; New York City Local Law 144)",
            [name, "applicants", "selected", "rate", "impact ratio", "interval", "status"],
            (
                (
                    one.category,
                    f"{one.n_applicants}",
                    f"{one.n_selected}",
                    number(one.rate),
                    number(one.impact_ratio),
                    interval(one.low, one.high),
                    f"{one.status}: {one.note}" if one.note else one.status,
                )
                for one in rows
            ),
        )
    for one in made.unknown:
        text += f"unknown: {one.n_applicants} applicants have no category of {printable(one.table)}; "
        text += f"{one.n_selected} selected\n"
    return text + _lines(made.notes)


def counterfactual_tables(made: "Counterfactuals", worst: int = 5) -> str:
    """Swapped copies beside their originals: flips, shifts, the worst pairs."""
    rows = [made.overall, *made.directions] if len(made.directions) > 1 else [*made.directions]
    text = printed(
        f"{made.n} swapped copies of {made.n_rows} rows beside their originals",
        [
            "direction",
            "n",
            "flipped",
            "flip rate",
            "interval",
            "mean shift",
            "interval of the shift",
            "mean |shift|",
        ],
        (
            (
                one.direction,
                f"{one.n}",
                "–" if one.flips is None else f"{one.flips.n_flipped}",
                "–" if one.flips is None else number(one.flips.rate),
                "–" if one.flips is None else interval(one.flips.low, one.flips.high),
                "–" if one.shift is None or one.direction == "all" else number(one.shift.mean, "+"),
                "–"
                if one.shift is None or one.direction == "all"
                else interval(one.shift.low, one.shift.high, "+"),
                "–" if one.shift is None else number(one.shift.mean_absolute),
            )
            for one in rows
        ),
    )
    for pair in made.worst[:worst]:
        text += f"{printable(pair.id)} {number(pair.score_before, '+')}: {printable(pair.before)}\n"
        text += f"  {printable(pair.direction)} {number(pair.score_after, '+')}: {printable(pair.after)}\n"
    for reason, n in made.not_swapped.items():
        text += f"left out: {n} rows: {printable(reason)}\n"
    for one in made.judged:
        text += f"{SYMBOLS[one.verdict]} {one.verdict}: {one.measure} {one.direction}, tolerance {one.tolerance:g}"
        text += f"{f': {printable(one.reason)}' if one.reason else ''}\n"
    return text + _lines(made.notes) + f"{verdict_line(made.verdict)}\n"


def suite_tables(made: "SuiteResult", worst: int = 3) -> str:
    """Every test of a suite with its failure rate, and the worst cases."""
    text = printed(
        f"{made.suite}, version {made.version}",
        ["test", "kind", "k of n", "rate", "interval", "tolerance", "verdict"],
        (
            (
                one.name,
                one.kind,
                f"{one.n_failed} of {one.n}",
                number(one.rate),
                interval(one.low, one.high),
                "–" if one.tolerance is None else f"{one.tolerance:g}",
                "not gated" if one.verdict is None else f"{SYMBOLS[one.verdict]} {one.verdict}",
            )
            for one in made.tests
        ),
    )
    for one in made.tests:
        for case in one.worst[:worst]:
            text += (
                f"{printable(one.name)}: {printable(case.text)} (expected {printable(case.expected)}, got "
            )
            text += f"{printable(case.got)})\n"
        if one.reason:
            text += f"{printable(one.name)}: {printable(one.reason)}\n"
    return text + f"{verdict_line(made.verdict)}\n"


def _whom(one: "Change") -> str:
    if one.is_gap:
        return f"gap: {one.group} minus {one.reference}"
    return "everybody" if not one.attribute else f"{one.attribute}: {one.group}"


def _said(one: "Change") -> str:
    if one.decision is None:
        return "not judged" if one.status == "ok" else f"{one.status}: {one.reason}"
    words = f"{SYMBOLS[CHANGED[one.decision][0]]} {one.decision}"
    return f"{words}: {one.reason}" if one.reason and one.decision != "no worse" else words


def _yes(value: bool | None) -> str:
    return "–" if value is None else "yes" if value else "no"


def _lines(notes: Iterable[str]) -> str:
    return "".join(f"note: {printable(note)}\n" for note in notes)


def printed(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as text."""
    screen = console()
    with screen.capture() as captured:
        screen.print(table(title, columns, rows))
    return captured.get()
