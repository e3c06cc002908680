"""Commands on gaps of a model: swapped words, suites of templates, what carries a gap, and what takes it away."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from .errors import OutputError, UsageError, first
from .file_tables import counterfactual_tables, suite_tables
from .fix_tables import mitigation_tables, why_tables
from .flags import DATA, MODEL, tolerances
from .output import as_json, emit, emit_json
from .terminal import verdict_line


def swap(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a saved model of texts.")],
    data: Annotated[Path, typer.Argument(metavar="DATA", help="CSV or Parquet with the texts.")],
    lexicon: Annotated[
        str,
        typer.Option(help="gender, religion, nationality, race, age, disability, orientation, or a file."),
    ] = "gender",
    group: Annotated[
        str | None, typer.Option(help="Column of a group: every direction by group too.")
    ] = None,
    rows: Annotated[
        int | None, typer.Option(min=1, help="So many of the first rows; all unless said.")
    ] = None,
    tolerance: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MEASURE=VALUE", help="flip_rate, mean_shift, mean_absolute_shift: the most allowed."
        ),
    ] = None,
    set_by: Annotated[str | None, typer.Option(metavar="WHO", help="Who set the tolerances.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps.")] = "cpu",
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the verdict only.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> int:
    """Exchange identity words in texts and score both: how often does the decision flip, how far do scores move?"""
    if not quiet and not json:
        emit(f"reading {data.name}, loading {model.name} ...\n")
    from .bias.counterfactuals import compare_pairs, swapped
    from .bias.lexicon_files import read_lexicon
    from .interpret.models import load, score
    from .review import read_rows

    wanted = tolerances(tolerance or [])
    subject = load(model, device=device)
    everyone = read_rows(
        data, columns=subject.columns, groups=(group,) if group else (), optional=subject.optional
    )
    chosen = everyone if rows is None else everyone.take(range(min(rows, len(everyone))))
    words = read_lexicon(lexicon) if Path(lexicon).is_file() else lexicon
    made = swapped(chosen, words, column=_text_column(subject.columns))
    found = compare_pairs(
        made,
        score(subject, made.original),
        score(subject, made.rows),
        threshold=subject.threshold,
        by=group,
        tolerance=wanted,
        set_by=set_by or ("whoever typed the command" if wanted else None),
    )
    return _judged(found, counterfactual_tables, quiet=quiet, json=json)


def suite(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a saved model of texts.")],
    file: Annotated[
        Path, typer.Argument(metavar="SUITE", help="Templates and what is expected: a TOML file.")
    ],
    device: Annotated[str, typer.Option(help="cpu, cuda or mps.")] = "cpu",
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the verdict only.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> int:
    """Run a suite of templates: minimum function, invariance and direction tests, with intervals."""
    import numpy as np

    from .bias.suite_results import check
    from .bias.suite_rows import expand
    from .bias.suites import read_suite

    asked = expand(read_suite(file))
    if not quiet and not json:
        emit(f"{len(asked.rows)} texts; loading {model.name} ...\n")
    from .interpret.models import load, score

    subject = load(model, device=device)
    column = _text_column(subject.columns)
    texts = (
        asked.rows if column == "text" else replace(asked.rows, inputs={column: asked.rows.inputs["text"]})
    )
    values = score(subject, texts)
    labels = None
    if len(subject.labels) == 2:
        other = subject.labels[1 - subject.positive]
        labels = np.where(values > subject.threshold, subject.labels[subject.positive], other)
    found = check(
        asked, score=values, prediction=labels, threshold=None if labels is not None else subject.threshold
    )
    return _judged(found, suite_tables, quiet=quiet, json=json)


def why(
    model: MODEL,
    data: DATA,
    attribute: Annotated[str, typer.Option("--group", help="Column of the group.")],
    of: Annotated[str, typer.Option(metavar="VALUE", help="The group whose rate comes first.")],
    reference: Annotated[
        str | None, typer.Option(metavar="VALUE", help="Whose is taken off; everyone else's unless said.")
    ] = None,
    metric: Annotated[
        str, typer.Option(help="selection_rate, true_positive_rate, false_positive_rate or mean_score.")
    ] = "selection_rate",
    label: Annotated[str | None, typer.Option(help="Column of the truth, 0 and 1.")] = None,
    identity: Annotated[
        list[str] | None,
        typer.Option(help="A word that names a group, or a lexicon (gender, ...); repeated."),
    ] = None,
    rows: Annotated[
        int | None, typer.Option(min=8, help="So many of the first rows; all unless said.")
    ] = None,
    candidates: Annotated[int, typer.Option(min=1, help="Heads that are tested.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="One seed, one result.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps.")] = "cpu",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars, and fewer words.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> int:
    """Why a gap: divided among words or features, and heads that are verified on rows that were not screened."""
    if not quiet and not json:
        emit(f"reading {data.name}, loading {model.name} ...\n")
    from .bias.lexicons import lexicon, names
    from .explained_gap import why as explain
    from .interpret.models import load
    from .review import read_rows

    subject = load(model, device=device)
    everyone = read_rows(
        data, columns=subject.columns, groups=(attribute,), label=label, optional=subject.optional
    )
    chosen = everyone if rows is None else everyone.take(range(min(rows, len(everyone))))
    words: Any = tuple(identity or ())
    if len(words) == 1 and words[0] in names():
        words = lexicon(words[0])
    made = explain(
        subject,
        chosen,
        attribute,
        of,
        reference,
        metric=metric,  # type: ignore[arg-type]
        identity=words,
        n_candidates=candidates,
        seed=seed,
        progress=not quiet and not json,
    )
    if json:
        emit_json(as_json(made))
    else:
        emit(why_tables(made))
    return 0


def mitigate(
    model: MODEL,
    data: DATA,
    label: Annotated[str, typer.Option(help="Column of the truth, 0 and 1.")],
    attribute: Annotated[str, typer.Option("--group", help="Column of the group whose gap is closed.")],
    policy: Annotated[
        Path, typer.Option(metavar="FILE", help="What is judged before and after: a policy.toml.")
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The chosen fix, and all numbers of it.")],
    gap: Annotated[
        str, typer.Option(help="selection_rate, true_positive_rate or false_positive_rate.")
    ] = "true_positive_rate",
    utility: Annotated[str, typer.Option(help="What a fix may cost.")] = "accuracy",
    accepted_loss: Annotated[float, typer.Option(help="Of utility, on the rows that choose.")] = 0.01,
    fix: Annotated[
        list[str] | None,
        typer.Option(
            help="threshold, group thresholds, learned gates, erasure, exponentiated gradient; repeated, all unless said."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="One seed, one result.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps.")] = "cpu",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars, and fewer words.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a folder that holds something.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> int:
    """Fit fixes for a gap, choose one on other rows, and audit again on rows that neither saw."""
    if out.exists() and any(out.iterdir()) and not force:
        raise OutputError(f"{out} exists and is not empty. Name another folder, or replace it with --force.")
    if not quiet and not json:
        emit(f"reading {data.name}, loading {model.name} ...\n")
    from .bias.policy import read_policy
    from .interpret.models import load
    from .mitigating import FIXES
    from .mitigating import mitigate as run
    from .review import read_rows

    rules = read_policy(policy)
    subject = load(model, device=device)
    groups = tuple(dict.fromkeys([attribute, *rules.groups]))
    everyone = read_rows(data, columns=subject.columns, groups=groups, label=label, optional=subject.optional)
    made = run(
        subject,
        everyone,
        rules,
        attribute,
        gap=gap,
        utility=utility,
        accepted_loss=accepted_loss,
        fixes=tuple(fix) if fix else FIXES,
        seed=seed,
        progress=not quiet and not json,
    )
    saved = made.save(out) if made.chosen is not None else ()
    if json:
        emit_json(as_json(replace(made, fixes={})))
    else:
        emit(mitigation_tables(made))
        for path in saved:
            emit(f"saved:  {path}\n")
    return 0 if made.again is None else made.again.after.exit_code


def _judged(found: Any, tables: Callable[[Any], Any], *, quiet: bool, json: bool) -> int:
    """Print what was found, or its verdict alone; the exit code that goes with it."""
    if json:
        emit_json(as_json(found))
    else:
        emit(f"{verdict_line(found.verdict)}\n" if quiet else tables(found))
    return int(found.exit_code)


def _text_column(columns: Sequence[str]) -> str:
    """The one input of a model of texts."""
    if len(columns) != 1:
        raise UsageError(
            f"the model reads {first(columns)}; texts are swapped in models that read one column of text."
        )
    return columns[0]
