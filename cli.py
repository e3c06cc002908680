"""The commands: arguments in, printed words and exit codes out.

Exit code 1 means "the policy is not met" and nothing else, so every way out passes through `main`.
Everything heavy is imported inside the command that needs it: `--help` and `audit` load no torch.
"""

import math
import os
import shlex
import sys
import tempfile
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from .errors import ClinometerError, OutputError, UsageError

INTERNAL, INTERRUPTED = 5, 130
try:
    import typer
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text
except ImportError as broken:  # a console entry imports this file before main() can give the failure its code
    print(f"error: the installation is broken: {broken}. Install clinometer again.", file=sys.stderr)
    raise SystemExit(INTERNAL) from broken

if TYPE_CHECKING:
    from .bias.policy import Policy
    from .records import Audit, Finding, Review

EXIT_CODES = """\
Exit codes:

0  the policy is met, or no tolerance was declared and nothing was gated

1  the policy is not met: never anything else

2  usage: a flag, an argument or the policy is wrong

3  input: the data or the model cannot be used, or the result cannot be written

4  inconclusive, or not assessed

5  internal error: please report it

130  interrupted"""
SHORT = {"special tokens": "special", "separator": "separators"}
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

app = typer.Typer(
    name="clinometer",
    help="See where a Transformer leans, what makes it lean, and prove the fix.",
    epilog=EXIT_CODES,
    add_completion=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        _emit(f"clinometer {version('clinometer')}\n")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error (or set CLINOMETER_DEBUG=1).")
    ] = False,
) -> None:
    pass


@app.command(epilog=EXIT_CODES)
def audit(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or Parquet, one row per example.")],
    label: Annotated[str | None, typer.Option(help="Column of the truth.")] = None,
    prediction: Annotated[str | None, typer.Option(help="Column of the decision.")] = None,
    score: Annotated[str | None, typer.Option(help="Column of the score behind the decision.")] = None,
    group: Annotated[
        list[str] | None, typer.Option(help="Column of a sensitive attribute; may be repeated.")
    ] = None,
    measure: Annotated[
        list[str] | None, typer.Option(help="Column of numbers to be audited like a score; may be repeated.")
    ] = None,
    id: Annotated[str | None, typer.Option("--id", help="Column that names a row.")] = None,
    positive: Annotated[
        str | None, typer.Option(metavar="VALUE", help="The positive value of label and prediction.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What is judged: a policy.toml.")
    ] = None,
    tolerance: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC=VALUE", help="Largest difference allowed between any two groups; may be repeated."
        ),
    ] = None,
    set_by: Annotated[str | None, typer.Option(metavar="WHO", help="Who set the tolerances.")] = None,
    confidence: Annotated[
        float | None, typer.Option(help="Of the intervals shown; 0.95 unless said.")
    ] = None,
    min_group: Annotated[
        int | None, typer.Option(help="Smallest denominator that is judged; 1 unless said.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the audit as JSON instead of tables.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the verdict only.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the audit as JSON, too.")] = None,
) -> int:
    """Whom does a model fail? Rates, gaps and verdicts from a file of predictions: no model, no torch."""
    from .bias.audit import audit as run_audit
    from .evidence import read

    if out is not None and out.resolve() in {p.resolve() for p in (file, policy) if p is not None}:
        raise UsageError(f"--out {out} would overwrite what is read. Name another file.")
    rules = _policy(
        policy, group or [], _tolerances(tolerance or []), set_by, confidence, min_group, positive
    )
    named = dict.fromkeys([*rules.groups, *(name for joint in rules.intersections for name in joint)])
    evidence = read(
        file,
        label=label,
        prediction=prediction,
        score=score,
        groups=tuple(named) or None,
        measures=tuple(measure) if measure else None,
        id=id,
        positive=positive,
    )
    made = run_audit(evidence, rules, title=f"audit of {file.name}")
    text = _json(made)
    if out is not None:
        _write(out, text)
    if json:
        _emit_json(text)
    elif quiet:
        _emit(f"{_verdict(made.verdict)}\n")
    else:
        _emit(_tables(made))
    return made.exit_code


@app.command(epilog=EXIT_CODES)
def demo(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where to write.")] = Path("clinometer-demo"),
    seed: Annotated[int, typer.Option(min=0, help="One seed, one result.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps.")] = "cpu",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars, and fewer words.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a folder that holds something.")] = False,
) -> int:
    """Train a small Transformer on real mortgage applications and review it, in about two minutes."""
    from .demo import run

    made = run(out, seed=seed, device=device, quiet=quiet, force=force)
    following = f"clinometer review {_quote(out / 'model')} {_quote(out / 'applications-test.csv')}"
    following += f" --policy {_quote(out / 'policy.toml')} --label approved"
    _emit(_summary(made, out, quiet=quiet))
    if not quiet:
        _emit(f"next:   {following}\n")
    _emit(f"`clinometer review` would have returned exit code {made.exit_code}; a demo returns 0.\n")
    return 0


@app.command(epilog=EXIT_CODES)
def review(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a saved model.")],
    data: Annotated[Path, typer.Argument(metavar="DATA", help="CSV or Parquet that it was not trained on.")],
    policy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What is judged: a policy.toml.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Column of the truth, 0 or 1.")] = None,
    group: Annotated[
        list[str] | None, typer.Option(help="Column of a sensitive attribute; may be repeated.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where to write.")] = Path("clinometer-review"),
    seed: Annotated[int, typer.Option(min=0, help="One seed, one result.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps.")] = "cpu",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars, and fewer words.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a folder that holds something.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the review as JSON instead of words.")] = False,
) -> int:
    """Whom does a model fail, what did it use, and why: a folder to be signed."""
    from .review import review_files, to_json

    made = review_files(
        model,
        data,
        policy=policy,
        label=label,
        groups=tuple(group or ()),
        out=out,
        seed=seed,
        device=device,
        quiet=quiet,
        force=force,
    )
    if json:
        _emit_json(to_json(made))
    else:
        _emit(_summary(made, out, quiet=quiet))
    return made.exit_code


@app.command(epilog=EXIT_CODES)
def trace(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a saved model.")],
    data: Annotated[Path, typer.Argument(metavar="DATA", help="CSV or Parquet with the model's columns.")],
    rows: Annotated[int, typer.Option(min=1, help="So many of the first rows.")] = 64,
    max_memory: Annotated[
        str,
        typer.Option(metavar="SIZE", help="What may be kept; maps, queries and keys, or statistics fit in."),
    ] = "2 GB",
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Save the trace: safetensors and JSON.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps.")] = "cpu",
    quiet: Annotated[bool, typer.Option("--quiet", help="The table alone.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a trace that is there.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> int:
    """What each attention head looks at: statistics of its maps, and the proof that they are the model's."""
    if out is not None and out.exists() and any(out.iterdir()) and not force:
        raise OutputError(f"{out} exists and is not empty. Name another folder, or replace it with --force.")
    if not quiet and not json:
        _emit(f"reading {data.name}, loading {model.name} ...\n")
    from .interpret.models import load
    from .interpret.planning import Choice
    from .interpret.tracing import trace as trace_rows
    from .review import read_rows

    subject = load(model, device=device)
    everyone = read_rows(data, columns=subject.columns, groups=())
    chosen = everyone.take(range(min(rows, len(everyone))))
    allow: tuple[Choice, ...] = (
        ("queries and keys",) if out is not None else ("queries and keys", "statistics")
    )
    made = trace_rows(subject, chosen, max_memory=max_memory, allow=allow)
    heads = made.heads()
    if out is not None:
        made.save(out, force=force)
    if json:
        from json import dumps, loads

        certificate = {name: made.sampled.get(name) for name in made.layers}
        found = {
            "rows": len(chosen),
            "of": len(everyone),
            "certificate": certificate,
            "unseen": list(made.unseen),
        }
        _emit_json(dumps({**found, "heads": loads(heads.to_json(orient="records"))}, indent=1) + "\n")
        return 0
    _emit(_heads(heads))
    if not quiet:
        worst = max(made.sampled.values(), default=None)
        kept = made.plan.choice if made.plan else "queries and keys"
        proof = "no layer could be certified" if worst is None else f"largest error of a layer {worst:.1e}"
        _emit(
            f"rows:   the first {len(chosen)} of {len(everyone)}; kept: {kept}\n"
            f"proof:  ||A V - O|| / ||O|| on 32 queries of each call: {proof}\n"
            "roles:  where a head looks, under the thresholds of the user guide; not what matters to the output\n"
        )
        if out is not None:
            _emit(f"saved:  {out}\n")
    return 0


def _tolerances(given: Sequence[str]) -> dict[str, float]:
    made: dict[str, float] = {}
    for item in given:
        metric, equals, value = item.rpartition("=")
        try:
            number = float(value)
        except ValueError:
            number = None
        if not equals or not metric or number is None:
            raise UsageError(f"--tolerance {item}: METRIC=VALUE is expected, e.g. false_positive_rate=0.05.")
        if metric in made:
            raise UsageError(f"--tolerance {metric} is given twice. Give each metric once.")
        made[metric] = number
    return made


def _policy(
    path: Path | None,
    groups: Sequence[str],
    tolerances: dict[str, float],
    set_by: str | None,
    confidence: float | None,
    min_group: int | None,
    positive: str | None,
) -> "Policy":
    """The policy file, if any, with the flags over it; the result says so where they change a tolerance."""
    from .bias.policy import parse_policy, policy_from_flags, read_policy

    settings = {"confidence": confidence, "min_group": min_group, "positive": positive}
    given: dict[str, Any] = {name: value for name, value in settings.items() if value is not None}
    if path is None:
        return policy_from_flags(groups, tolerances, set_by=set_by, **given)
    rules = read_policy(path)
    values = rules.model_dump(mode="json")
    if rules.groups or groups:
        # A flag adds an attribute; it drops none that the policy declares.
        values["groups"] = {**values["groups"], **{name: {} for name in groups if name not in rules.groups}}
    if tolerances:
        values["tolerance"] = {**values["tolerance"], **tolerances}
        given["set_by"] = set_by or f"whoever typed the command, over {rules.set_by or 'nobody'}"
    elif set_by is not None:
        given["set_by"] = set_by
    return parse_policy({**values, **given}, where=f"{path} with the command's flags")


def _json(made: "Audit") -> str:
    import json

    from .records import plain

    return json.dumps(plain(made), ensure_ascii=False, sort_keys=True, indent=1, allow_nan=False) + "\n"


def _write(path: Path, text: str) -> None:
    """The file appears whole or not at all."""
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        temporary = Path(name)
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}. Name another with --out."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _emit(text: str) -> None:
    """Print; a reader that went away (`| head`) changes no exit code."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _emit_json(text: str) -> None:
    """Print JSON; where the terminal or pipe has no Unicode, with JSON's own escapes."""
    import json

    if not (sys.stdout.encoding or "").lower().startswith("utf"):
        text = json.dumps(json.loads(text), sort_keys=True, indent=1) + "\n"
    _emit(text)


def _printable(text: str) -> str:
    """Names come from files: nothing in them may steer the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _quote(path: Path) -> str:
    return shlex.quote(str(path))


def _verdict(verdict: str | None) -> str:
    return f"{SYMBOLS[verdict]} {MEANING[verdict]}"


def _number(value: float | None, sign: str = "") -> str:
    return "–" if value is None else f"{value:{sign}.3f}"


def _interval(low: float | None, high: float | None, sign: str = "") -> str:
    return "–" if low is None or high is None else f"[{low:{sign}.3f}, {high:{sign}.3f}]"


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(title=Text(_printable(title)), title_justify="left")
    for name in columns:
        numeric = name in {"n", "k of n", "rate", "gap", "tolerance", "p"}
        whole = numeric or name in {"metric", "interval", "verdict", "previous", "separators", "special"}
        table.add_column(name, justify="right" if numeric else "left", overflow="fold", no_wrap=whole)
    for row in rows:
        table.add_row(*(Text(_printable(cell)) for cell in row))
    return table


def _console() -> Console:
    """A console as wide as the terminal, 120 characters where there is none."""
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(file=sys.stdout, highlight=False, width=None if known else 120)


def _heads(heads: Any) -> str:
    """The table of heads, layers by number, and the layers' names."""
    names = [name for name in heads.columns if name not in ("layer", "head", "roles", "queries")]
    layers = list(dict.fromkeys(heads["layer"]))
    console = _console()
    with console.capture() as captured:
        console.print(
            _table(
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
            console.print(Text(_printable(f"layer {number}: {layer}")))
    return captured.get()


def _tables(made: "Audit") -> str:
    """Cells and findings as tables, verdicts and notes as lines."""
    console = _console()
    with console.capture() as captured:
        for attribute in dict.fromkeys(cell.attribute for cell in made.cells):
            console.print(
                _table(
                    f"{attribute}: rates and means ({made.n} rows)",
                    ["metric", "group", "k of n", "rate", "interval", "status"],
                    (
                        (
                            cell.metric,
                            cell.group,
                            f"{cell.n}" if cell.k is None else f"{cell.k} of {cell.n}",
                            _number(cell.estimate),
                            _interval(cell.low, cell.high),
                            f"{cell.status}: {cell.note}" if cell.note else cell.status,
                        )
                        for cell in made.cells
                        if cell.attribute == attribute
                    ),
                )
            )
        if made.findings:
            console.print(
                _table(
                    "gaps between groups: every pair of a metric that is gated, the largest of one that is not",
                    ["metric", "between", "gap", "interval", "n", "tolerance", "p", "verdict"],
                    map(_row, _shown(made.findings)),
                )
            )
        for entry in made.verdicts:
            line = (
                f"{SYMBOLS[entry['verdict']]} {entry['verdict']}: {entry['metric']} by {entry['attribute']}"
            )
            line += f" (tolerance {entry['tolerance']:g}): {entry['reason']}"
            console.print(Text(_printable(line)))
        for note in made.notes:
            console.print(Text(_printable(f"note: {note}")))
        style = "bold" if made.verdict is None else "bold reverse"
        console.print(Text(_verdict(made.verdict), style=style))
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
        _number(finding.estimate, "+"),
        _interval(finding.low, finding.high, "+"),
        f"{finding.n_group}, {finding.n_reference}",
        "–" if finding.tolerance is None else f"{finding.tolerance:g}",
        _number(finding.p_adjusted),
        verdict,
    )


def _summary(made: "Review", out: Path, *, quiet: bool) -> str:
    """A review in at most a dozen lines: the verdict, whom, why, the check, and the files."""
    lines = [_verdict(made.verdict)]
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
            f"{_number(worst.estimate, '+')} {_interval(worst.low, worst.high, '+')}, "
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
    return "".join(f"{_printable(line)}\n" for line in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; every error becomes one paragraph on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given or os.environ.get("CLINOMETER_DEBUG", "") not in {"", "0"}
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(
                errors="backslashreplace"
            )  # a symbol that a terminal cannot show must not stop a gate
    command = typer.main.get_command(app)
    # BadParameter, UsageError, ClickException: typer has them from click, or from a copy of its own.
    click_error: Any = typer.BadParameter.__mro__[2]
    try:
        code = command.main(
            [item for item in given if item != "--debug"] or ["--help"],
            prog_name="clinometer",
            standalone_mode=False,
        )
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except SystemExit as leave:  # typer and rich leave with 1 where a pipe is broken: 1 has one meaning here
        return INTERNAL if leave.code else 0
    except ClinometerError as error:
        return _fail(str(error), error.exit_code, debug)
    except click_error as error:
        said = error.format_message().strip().rstrip(".")
        return _fail(f"{said}. See clinometer --help.", UsageError.exit_code, debug)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return _fail(
            f"something this project did not foresee: {reason}. Run it again with --debug to see where, "
            "and please report it.",
            INTERNAL,
            debug,
        )
    return code if isinstance(code, int) else 0


def _fail(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"error: {_printable(' '.join(message.split()))}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
