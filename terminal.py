"""What the commands print: tables, verdicts and summaries, safe for any terminal."""

import math
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .errors import first

if TYPE_CHECKING:
    from .records import Attribution, Audit, Faithfulness, Finding, Measured, Review, WordEffect

SHORT = {"special tokens": "special", "separator": "separators"}
PARTS_OF_CURVES = ("most_relevant_first", "least_relevant_first", "insertion", "infidelity")
SYMBOLS = {
    "within tolerance": "✓",
    "exceeds tolerance": "▲",
    "inconclusive": "?",
    "not assessed": "–",
    None: "·",
}
MEANING = {
    "within tolerance": "within tolerance: the policy is met",
    "exceeds tolerance": "exceeds tolerance: the policy is not met",
    "inconclusive": "inconclusive: these rows do not settle it",
    "not assessed": "not assessed: a declared question could not be asked",
    None: "no tolerance declared: nothing is gated",
}


def printable(text: str) -> str:
    """Names come from files: nothing in them may steer the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def verdict_line(verdict: str | None) -> str:
    return f"{SYMBOLS[verdict]} {MEANING[verdict]}"


def number(value: float | None, sign: str = "") -> str:
    """Three decimals, or a dash."""
    return "–" if value is None else f"{value:{sign}.3f}"


def interval(low: float | None, high: float | None, sign: str = "") -> str:
    """Both ends, or a dash."""
    return "–" if low is None or high is None else f"[{low:{sign}.3f}, {high:{sign}.3f}]"


def chance(p: float | None) -> str:
    """A p-value, never 0."""
    return "–" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


COUNTS = "n,k of n,applicants,selected,shortfall"
RATES = (
    "rate,gap,tolerance,p,before,after,change,margin,others,difference,ratio,impact ratio,the last item adds"
)
SHIFTS = "flipped,flip rate,mean shift,mean |shift|"
NUMERIC = frozenset(f"{COUNTS},{RATES},{SHIFTS}".split(","))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    made = Table(title=Text(printable(title)), title_justify="left")
    for name in columns:
        numeric = name in NUMERIC
        whole = numeric or name in {"metric", "interval", "verdict", "previous", "separators", "special"}
        made.add_column(name, justify="right" if numeric else "left", overflow="fold", no_wrap=whole)
    for row in rows:
        made.add_row(*(Text(printable(cell)) for cell in row))
    return made


def console() -> Console:
    """A console as wide as the terminal, 120 characters where there is none."""
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(file=sys.stdout, highlight=False, width=None if known else 120)


def head_table(heads: Any) -> str:
    """The table of heads, layers by number, and the layers' names."""
    names = [name for name in heads.columns if name not in ("layer", "head", "roles", "queries")]
    layers = list(dict.fromkeys(heads["layer"]))
    screen = console()
    with screen.capture() as captured:
        screen.print(
            table(
                f"heads: means over {heads['queries'].max()} queries (no padding); entropy in nats, distance in tokens, "
                "else shares",
                ["layer", "head", *(SHORT.get(name, name) for name in names), "roles"],
                (
                    (
                        f"{layers.index(line['layer'])}",
                        f"{line['head']}",
                        *(
                            "–" if line[name] is None or math.isnan(line[name]) else f"{line[name]:.2f}"
                            for name in names
                        ),
                        line["roles"] or "–",
                    )
                    for line in heads.to_dict(orient="records")
                ),
            )
        )
        for number, layer in enumerate(layers):
            screen.print(Text(printable(f"layer {number}: {layer}")))
    return captured.get()


def audit_tables(made: "Audit", more: str = "") -> str:
    """Cells and findings as tables, `more` as it is, verdicts and notes as lines."""
    screen = console()
    with screen.capture() as captured:
        for attribute in dict.fromkeys(cell.attribute for cell in made.cells):
            screen.print(
                table(
                    f"{attribute}: rates and means ({made.n} rows)",
                    ["metric", "group", "k of n", "rate", "interval", "status"],
                    (
                        (
                            cell.metric,
                            cell.group,
                            f"{cell.n}" if cell.k is None else f"{cell.k} of {cell.n}",
                            number(cell.estimate),
                            interval(cell.low, cell.high),
                            f"{cell.status}: {cell.note}" if cell.note else cell.status,
                        )
                        for cell in made.cells
                        if cell.attribute == attribute
                    ),
                )
            )
        if made.findings:
            screen.print(
                table(
                    "gaps between groups: every pair of a metric that is gated, the largest of one that is not",
                    ["metric", "between", "gap", "interval", "n", "tolerance", "p", "verdict"],
                    map(_row, _shown(made.findings)),
                )
            )
        if more:
            screen.print(Text(more), end="")
        for entry in made.verdicts:
            line = (
                f"{SYMBOLS[entry['verdict']]} {entry['verdict']}: {entry['metric']} by {entry['attribute']}"
            )
            line += f" (tolerance {entry['tolerance']:g}): {entry['reason']}"
            screen.print(Text(printable(line)))
        for note in made.notes:
            screen.print(Text(printable(f"note: {note}")))
        style = "bold" if made.verdict is None else "bold reverse"
        screen.print(Text(verdict_line(made.verdict), style=style))
    return captured.get()


def _shown(findings: Iterable["Finding"]) -> list["Finding"]:
    shown: list[Finding] = []
    largest: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        key = (finding.attribute, finding.metric)
        if finding.tolerance is not None:
            shown.append(finding)
        elif key not in largest or abs(finding.estimate or 0.0) > abs(largest[key].estimate or 0.0):
            largest[key] = finding
    return shown + list(largest.values())


def _row(finding: "Finding") -> tuple[str, ...]:
    if finding.verdict is None:
        verdict = "not gated" if finding.status == "ok" else f"{finding.status}: {finding.reason}"
    else:
        verdict = f"{SYMBOLS[finding.verdict]} {finding.verdict}"
    return (
        finding.metric,
        f"{finding.attribute}: {finding.group} minus {finding.reference}",
        number(finding.estimate, "+"),
        interval(finding.low, finding.high, "+"),
        f"{finding.n_group}, {finding.n_reference}",
        "–" if finding.tolerance is None else f"{finding.tolerance:g}",
        chance(finding.p_adjusted),
        verdict,
    )


def review_summary(made: "Review", out: Path, *, quiet: bool) -> str:
    """A review in at most a dozen lines: the verdict, whom, why, the check, and the files."""
    lines = [verdict_line(made.verdict)]
    if quiet:
        return "\n".join([*lines, f"open:   {out / 'report.html'}", ""])
    findings = [f for f in made.audit.findings if f.estimate is not None]
    gated = [f for f in findings if f.tolerance is not None] or findings
    if gated:
        deciding = [f for f in gated if f.verdict == made.verdict] or gated
        if made.verdict == "exceeds tolerance":  # the surest of the gaps, which need not be the widest
            worst = min(deciding, key=lambda f: 1.0 if f.p_adjusted is None else f.p_adjusted)
        else:
            worst = max(deciding, key=lambda f: abs(f.estimate or 0.0))
        lines.append(
            f"whom:   {worst.metric}, {worst.attribute}: {worst.group} minus {worst.reference} "
            f"{number(worst.estimate, '+')} {interval(worst.low, worst.high, '+')}, "
            f"n = {worst.n_group} and {worst.n_reference}"
        )
    if made.ledgers:
        entry = max(made.ledgers, key=lambda ledger: abs(ledger.gap))
        ranked = ", ".join(f"{share.unit} {share.estimate:+.2f}" for share in entry.ranked[:3])
        lines.append(
            f"why:    mean score of {entry.group} minus {entry.reference} {entry.gap:+.2f} {entry.unit}; "
            f"largest shares {ranked}; residual {entry.residual:+.1e}"
        )
    if made.attribution:
        proof = made.attribution
        lines.append(
            f"check:  {proof['n_converged']} of {proof['n']} attributions add up within their tolerance; "
            f"largest error {proof['largest_completeness_error']:.2g}"
        )
    names = sorted(f"{path.name}/" if path.is_dir() else path.name for path in out.iterdir())
    lines.append(f"open:   {out / 'report.html'}")
    lines.append(f"files:  {', '.join(name for name in names if name != 'report.html')} in {out}")
    return "".join(f"{printable(line)}\n" for line in lines)


def left_out_line(rows: Sequence[Sequence[Any]], listed_in: Path) -> str:
    """How many rows could not be used, the first of them with the reason, and where all are listed.

    Args:
        rows: of each its place, its id and why.
        listed_in: the file that lists them all.
    """
    shown = first([f"{name} ({why})" for _, name, why in rows], 3)
    return f"left out: {len(rows)} rows, listed in {printable(str(listed_in))}: {printable(shown)}\n"


def marked_texts(made: "Attribution", most: int, *, width: int = 8) -> str:
    """The first examples as coloured text, each with its largest scores and the sum they have to reach."""
    screen = console()
    full = max((abs(float(score)) for row in made.scores for score in row), default=0.0)
    with screen.capture() as captured:
        for row, tokens in enumerate(made.tokens[:most]):
            scores = made.scores[row, : len(tokens)]
            line = Text(printable(made.ids[row]) + "  ", style="bold")
            for token, score in zip(tokens, scores, strict=True):
                share = 0.0 if full == 0 else abs(float(score)) / full
                colour = "" if share < 0.05 else "blue" if score > 0 else "dark_orange"
                style = f"{colour} {'bold reverse' if share > 0.5 else 'bold' if share > 0.2 else ''}".strip()
                line.append(printable(token) + " ", style=style or "none")
            screen.print(line)
            ranked = sorted(zip(tokens, scores, strict=True), key=lambda pair: -abs(pair[1]))[:width]
            said = ", ".join(f"{printable(token)} {score:+.3f}" for token, score in ranked)
            screen.print(Text(f"    largest: {said}"))
            screen.print(Text(f"    {_sum_line(made, row)}"))
    return captured.get()


def _sum_line(made: "Attribution", row: int) -> str:
    value, base, total = made.value[row], made.base_value[row], float(made.scores[row].sum())
    if not made.adds_up:
        return f"target {value:+.3f}; the scores add up to nothing"
    line = f"target {value:+.3f} = baseline {base:+.3f} + scores {total:+.3f} + residual {made.residual[row]:+.1e}"
    return line if made.converged[row] else f"{line}: NOT CONVERGED, do not rely on these scores"


def word_table(effects: Sequence["WordEffect"], unit: str, most: int, confidence: float = 0.95) -> str:
    """The words that add most over all examples, with intervals and support."""
    screen = console()
    with screen.capture() as captured:
        screen.print(
            table(
                f"words over all rows: mean attribution per occurrence{f' in {unit}' if unit else ''}, "
                f"{confidence:.0%} bootstrap interval over rows (pointwise)",
                ["word", "mean", "interval", "n", "rows", "for", "where it weighs most"],
                (
                    (
                        effect.unit,
                        f"{effect.mean:+.3f}",
                        interval(effect.low, effect.high, "+"),
                        f"{effect.n_occurrences}",
                        f"{effect.n_examples}",
                        f"{effect.positive:.0%}",
                        effect.contexts[0][2] if effect.contexts else "",
                    )
                    for effect in effects[:most]
                ),
            )
        )
    return captured.get()


def method_table(methods: Iterable[Any]) -> str:
    """The table of attribution methods, one line each."""
    screen = console()
    with screen.capture() as captured:
        screen.print(
            table(
                "attribution methods",
                [
                    "method",
                    "unit",
                    "adds up to",
                    "passes per row",
                    "signed",
                    "of a class",
                    "baseline",
                    "source",
                ],
                (
                    (
                        f"{method.name} (on request)" if method.on_request else method.name,
                        method.unit or "–",
                        method.adds_up or "nothing",
                        method.cost,
                        "yes" if method.signed else "no",
                        "yes" if method.class_specific else "no",
                        "yes" if method.compares else "no",
                        method.source,
                    )
                    for method in methods
                ),
            )
        )
        for method in methods:
            if method.note:
                screen.print(Text(printable(f"{method.name}: {method.note}")))
    return captured.get()


def faithfulness_table(found: "Faithfulness", group: str = "") -> str:
    """Every method with its measures, best first, of all rows or of one group; the parts of curves are left to --json."""
    shown = [measure for measure in found.measures if measure not in PARTS_OF_CURVES]
    names = [*found.ranking, *(name for name in found.methods if name not in found.ranking)]
    n = max(found.of(name, measure, group).n for name in names for measure in shown)
    screen = console()
    with screen.capture() as captured:
        screen.print(
            table(
                (f"{found.grouped_by} {group}: " if group else "")
                + f"faithfulness: {found.outcome}; means over {n} rows at most, {found.confidence:.0%} bootstrap intervals",
                ["method", *(name.replace("_", " ") for name in shown)],
                (
                    (
                        f"{name} *" if name == found.recommended else name,
                        *(_measured(found.of(name, measure, group)) for measure in shown),
                    )
                    for name in names
                ),
            )
        )
    return captured.get()


def _measured(one: "Measured") -> str:
    if one.estimate is None:
        return "–"
    span = "" if one.low is None or one.high is None else f" [{one.low:.2f}, {one.high:.2f}]"
    return f"{one.estimate:.3f}{span}"
