"""The commands: arguments in, printed words and exit codes out.

Exit code 1 means "the policy is not met" and nothing else, so every way out passes through `main`.
Everything heavy is imported inside the command that needs it: `--help` and `audit` load no torch.
"""

import os
import shlex
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from .errors import ClinometerError, OutputError, UsageError

INTERNAL, INTERRUPTED = 5, 130
try:
    import typer

    from .terminal import (
        audit_tables,
        faithfulness_table,
        head_table,
        marked_texts,
        method_table,
        printable,
        review_summary,
        verdict_line,
        word_table,
    )
except ImportError as broken:  # a console entry imports this file before main() can give the failure its code
    print(f"error: the installation is broken: {broken}. Install clinometer again.", file=sys.stderr)
    raise SystemExit(INTERNAL) from broken

if TYPE_CHECKING:
    from .bias.policy import Policy

EXIT_CODES = """\
Exit codes:

0  the policy is met, or no tolerance was declared and nothing was gated

1  the policy is not met: never anything else

2  usage: a flag, an argument or the policy is wrong

3  input: the data or the model cannot be used, or the result cannot be written

4  inconclusive, or not assessed

5  internal error: please report it

130  interrupted"""

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
        _emit(f"{verdict_line(made.verdict)}\n")
    else:
        _emit(audit_tables(made))
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
    _emit(review_summary(made, out, quiet=quiet))
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
    faithful_rows: Annotated[
        int, typer.Option(min=0, help="On so many rows, measure how faithful attributions are; 0: not.")
    ] = 0,
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
        faithful_rows=faithful_rows,
    )
    if json:
        _emit_json(to_json(made))
    else:
        _emit(review_summary(made, out, quiet=quiet))
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
    everyone = read_rows(data, columns=subject.columns, groups=(), optional=subject.optional)
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
    _emit(head_table(heads))
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


@app.command(epilog=EXIT_CODES)
def attribute(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a saved model.")],
    data: Annotated[Path, typer.Argument(metavar="DATA", help="CSV or Parquet with the model's columns.")],
    method: Annotated[
        str, typer.Option(help="A name that `clinometer methods` lists.")
    ] = "integrated gradients",
    target: Annotated[
        str | None,
        typer.Option(
            help="logit difference, logit, log-probability, probability; by default the model's own."
        ),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="The label explained, where not the positive one.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="mask, padding, unknown, end-of-text, mean or zero.")
    ] = None,
    candidate: Annotated[
        list[str] | None, typer.Option(help="Language models: a word to compare; repeated.")
    ] = None,
    by: Annotated[str, typer.Option(help="words, sentences or tokens.")] = "words",
    rows: Annotated[int, typer.Option(min=1, help="So many of the first rows.")] = 64,
    show: Annotated[int, typer.Option(min=0, help="So many rows are printed as text.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Of methods that sample.")] = 0,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write marked texts as one HTML page.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps.")] = "cpu",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars, and fewer words.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a page that is there.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON instead of text.")] = False,
) -> int:
    """What each word or feature adds to the model's score, and whether the sum holds."""
    if by not in ("words", "sentences", "tokens"):
        raise UsageError(f"--by {by}: words, sentences or tokens is expected.")
    if out is not None and out.exists() and not force:
        raise OutputError(f"{out} exists. Name another file, or replace it with --force.")
    if not quiet and not json:
        _emit(f"reading {data.name}, loading {model.name} ...\n")
    from .bias.words import word_effects
    from .errors import DataError
    from .interpret.methods import attribute as explain
    from .interpret.methods import method_named
    from .interpret.models import load
    from .interpret.spans import in_sentences, in_words
    from .review import read_rows

    method_named(method)
    subject = load(model, device=device, candidates=candidate or None)
    everyone = read_rows(data, columns=subject.columns, groups=(), optional=subject.optional)
    chosen = everyone.take(range(min(rows, len(everyone))))
    made = explain(
        subject,
        chosen,
        method,
        target=target,
        label=label,
        baseline=baseline,
        background=everyone if baseline == "mean" else None,
        seed=seed,
        progress=not quiet and not json,
    )
    if subject.characters is not None and by != "tokens":
        made = (in_words if by == "words" else in_sentences)(subject, chosen, made)
    if out is not None:
        from .visualizers.highlights import highlights

        highlights(made).save(out, force=force)
    if json:
        _emit_json(_json(made))
        return 0
    _emit(marked_texts(made, 0 if quiet else show))
    try:
        _emit(word_table(word_effects(made, seed=seed), made.unit, 12))
    except DataError as few:
        _emit(f"words over all rows: {few}\n")
    proof = f"{int(made.converged.sum())} of {len(made)} rows add up within their tolerance"
    _emit(
        f"method: {made.method} of {made.target}{f'; compared with {made.baseline}' if made.baseline else ''}\n"
        f"rows:   the first {len(chosen)} of {len(everyone)}\n"
        f"proof:  {proof if made.adds_up else 'none: these scores add up to nothing'}\n"
    )
    for note in made.notes:
        _emit(f"note:   {printable(note)}\n")
    if out is not None:
        _emit(f"saved:  {out}\n")
    return 0


@app.command()
def methods() -> int:
    """The attribution methods: what each promises, what it costs, and where it comes from."""
    from .interpret.methods import METHODS

    _emit(method_table(METHODS))
    return 0


@app.command(epilog=EXIT_CODES)
def faithfulness(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a saved model.")],
    data: Annotated[Path, typer.Argument(metavar="DATA", help="CSV or Parquet with the model's columns.")],
    method: Annotated[
        list[str] | None,
        typer.Option(help="A method to measure; may be repeated. By default all but those on request."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All methods: the slow ones, and AttnLRP, too.")
    ] = False,
    group: Annotated[str | None, typer.Option(help="Column of a group: every measure by group too.")] = None,
    rows: Annotated[int, typer.Option(min=2, help="So many of the first rows.")] = 64,
    shapley_rows: Annotated[
        int, typer.Option(min=0, help="Rank agreement with Shapley values on so many rows.")
    ] = 0,
    randomised_rows: Annotated[
        int, typer.Option(min=0, help="Draw weights anew, part by part, on so many rows.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="One seed, one result.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps.")] = "cpu",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars, and fewer words.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> int:
    """Which attribution method is faithful to this model? Curves, ERASER's measures, beside random scores."""
    if method and every:
        raise UsageError("--method and --all both say what is measured; give one of them.")
    if not quiet and not json:
        _emit(f"reading {data.name}, loading {model.name} ...\n")
    from .interpret.faithfulness import faithfulness as measure
    from .interpret.methods import METHODS, method_named
    from .interpret.models import load
    from .review import read_rows

    chosen = list(method or [one.name for one in METHODS if every or not one.on_request])
    for name in chosen:
        method_named(name)
    subject = load(model, device=device)
    groups = () if group is None else (group,)
    everyone = read_rows(data, columns=subject.columns, groups=groups, optional=subject.optional)
    found = measure(
        subject,
        everyone.take(range(min(rows, len(everyone)))),
        methods=chosen,
        group=group,
        shapley_rows=shapley_rows,
        randomised_rows=randomised_rows,
        seed=seed,
        progress=not quiet and not json,
    )
    if json:
        _emit_json(_json(found))
        return 0
    for value in dict.fromkeys(one.group for one in found.measured):
        _emit(faithfulness_table(found, value))
    for name, reason in found.failed:
        _emit(f"not measured: {printable(name)}: {printable(reason)}\n")
    _emit(f"recommended: {found.recommended or 'none'}: {found.reason}\n")
    if not quiet:
        for note in found.notes:
            _emit(f"note:   {printable(note)}\n")
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


def _json(made: Any) -> str:
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


def _quote(path: Path) -> str:
    return shlex.quote(str(path))


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
    print(f"error: {printable(' '.join(message.split()))}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
