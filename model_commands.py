"""Commands that load a model: the demo, reviews, traces, attributions, faithfulness."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from .errors import OutputError, UsageError
from .fix_tables import answer_lines
from .flags import BATCH_SIZE, DATA, ENGINE, LOCAL_LAW_144, MODEL, ON_BAD_ROW, SHARD_ROWS, THREADS, WORKERS
from .output import as_json, emit, emit_json
from .terminal import (
    faithfulness_table,
    head_table,
    left_out_line,
    marked_texts,
    method_table,
    printable,
    review_summary,
    word_table,
)


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
    emit(review_summary(made, out, quiet=quiet))
    if not quiet:
        emit(answer_lines(made))
        emit(f"next:   {following}\n")
    emit(f"`clinometer review` would have returned exit code {made.exit_code}; a demo returns 0.\n")
    return 0


def review(
    model: MODEL,
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
    why: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ATTRIBUTE:GROUP[:REFERENCE[:METRIC]]",
            help="Divide this gap, screen heads on half of the rows and test them on the others; may be repeated.",
        ),
    ] = None,
    mitigate: Annotated[
        str | None,
        typer.Option(
            metavar="ATTRIBUTE[:GAP]",
            help="Fit fixes for this gap, choose one, and audit again on other rows.",
        ),
    ] = None,
    local_law_144: LOCAL_LAW_144 = None,
    explorer: Annotated[
        bool,
        typer.Option("--explorer", help="Write explorer.html too: eight examples head by head, and a gap."),
    ] = False,
    engine: ENGINE = "local",
    workers: WORKERS = 1,
    threads: THREADS = None,
    shard_rows: SHARD_ROWS = 1024,
    batch_size: BATCH_SIZE = 64,
    on_bad_row: ON_BAD_ROW = "stop",
    json: Annotated[bool, typer.Option("--json", help="Print the review as JSON instead of words.")] = False,
) -> int:
    """Whom does a model fail, what did it use, and why: a folder to be signed."""
    from .review import to_json
    from .reviewed_files import review_files
    from .shard_runs import Work

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
        why=tuple(why or ()),
        mitigate=mitigate,
        law=local_law_144,
        explorer=explorer,
        work=Work(
            engine=engine,
            workers=workers,
            threads=threads,
            shard_rows=shard_rows,
            batch_size=batch_size,
            on_bad_row=on_bad_row,
        ),
    )
    if made is None:  # a process of torchrun that is not the first
        return 0
    if json:
        emit_json(to_json(made))
    else:
        emit(review_summary(made, out, quiet=quiet))
        if made.data.get("left_out"):
            emit(left_out_line(made.data["left_out"], out / "review.json"))
        if not quiet:
            emit(answer_lines(made))
    return made.exit_code


def trace(
    model: MODEL,
    data: DATA,
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
        emit(f"reading {data.name}, loading {model.name} ...\n")
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
        emit_json(dumps({**found, "heads": loads(heads.to_json(orient="records"))}, indent=1) + "\n")
        return 0
    emit(head_table(heads))
    if not quiet:
        worst = max(made.sampled.values(), default=None)
        kept = made.plan.choice if made.plan else "queries and keys"
        proof = "no layer could be certified" if worst is None else f"largest error of a layer {worst:.1e}"
        emit(
            f"rows:   the first {len(chosen)} of {len(everyone)}; kept: {kept}\n"
            f"proof:  ||A V - O|| / ||O|| on 32 queries of each call: {proof}\n"
            "roles:  where a head looks, under the thresholds of the user guide; not what matters to the output\n"
        )
        if out is not None:
            emit(f"saved:  {out}\n")
    return 0


def attribute(
    model: MODEL,
    data: DATA,
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
        emit(f"reading {data.name}, loading {model.name} ...\n")
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
        emit_json(as_json(made))
        return 0
    emit(marked_texts(made, 0 if quiet else show))
    try:
        emit(word_table(word_effects(made, seed=seed), made.unit, 12))
    except DataError as few:
        emit(f"words over all rows: {few}\n")
    proof = f"{int(made.converged.sum())} of {len(made)} rows add up within their tolerance"
    emit(
        f"method: {made.method} of {made.target}{f'; compared with {made.baseline}' if made.baseline else ''}\n"
        f"rows:   the first {len(chosen)} of {len(everyone)}\n"
        f"proof:  {proof if made.adds_up else 'none: these scores add up to nothing'}\n"
    )
    for note in made.notes:
        emit(f"note:   {printable(note)}\n")
    if out is not None:
        emit(f"saved:  {out}\n")
    return 0


def methods() -> int:
    """The attribution methods: what each promises, what it costs, and where it comes from."""
    from .interpret.methods import METHODS

    emit(method_table(METHODS))
    return 0


def faithfulness(
    model: MODEL,
    data: DATA,
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
        emit(f"reading {data.name}, loading {model.name} ...\n")
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
        emit_json(as_json(found))
        return 0
    for value in dict.fromkeys(one.group for one in found.measured):
        emit(faithfulness_table(found, value))
    for name, reason in found.failed:
        emit(f"not measured: {printable(name)}: {printable(reason)}\n")
    emit(f"recommended: {found.recommended or 'none'}: {found.reason}\n")
    if not quiet:
        for note in found.notes:
            emit(f"note:   {printable(note)}\n")
    return 0


def _quote(path: Path) -> str:
    return shlex.quote(str(path))
