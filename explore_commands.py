"""The command that makes an explorer of a model and rows: one page that needs no network."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .errors import OutputError, UsageError
from .flags import MODEL, POLICY
from .output import as_json, emit, emit_json
from .terminal import printable

if TYPE_CHECKING:
    from .explored_gaps import Named
    from .visualizers.explorer import Explorer


def explain(
    model: MODEL,
    data: Annotated[
        Path | None, typer.Argument(metavar="[DATA]", help="CSV or Parquet with the model's columns.")
    ] = None,
    text: Annotated[str | None, typer.Option(help="One text to be explained, in place of a file.")] = None,
    id: Annotated[list[str] | None, typer.Option("--id", help="An example to show; may be repeated.")] = None,
    id_column: Annotated[str | None, typer.Option(help="Column that names a row.")] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="So many are drawn where no --id is given.")] = 24,
    group: Annotated[
        list[str] | None,
        typer.Option(
            help="Column of a sensitive attribute; may be repeated. --gap watches one in the first."
        ),
    ] = None,
    label: Annotated[str | None, typer.Option(help="Column of the truth, 0 or 1.")] = None,
    gap: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC",
            help="Watch a gap: mean_score, selection_rate, true_positive_rate or false_positive_rate.",
        ),
    ] = None,
    of: Annotated[str | None, typer.Option(metavar="GROUP", help="The group of the gap.")] = None,
    minus: Annotated[
        str | None,
        typer.Option(metavar="GROUP", help="The group it is compared with; everyone else unless said."),
    ] = None,
    policy: POLICY = None,
    against: Annotated[
        Path | None, typer.Option(metavar="MODEL2", help="A second model, shown beside.")
    ] = None,
    swap: Annotated[
        str | None,
        typer.Option(
            metavar="LEXICON",
            help="Show texts beside their swapped copies: gender, religion, ..., or a file.",
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(help="A label, predicted, or a scale such as probability; may be repeated."),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(help="mask, padding, unknown, end-of-text, mean or zero; may be repeated."),
    ] = None,
    generate: Annotated[
        int | None,
        typer.Option(min=1, help="Let a language model write so many tokens, and show each."),
    ] = None,
    candidate: Annotated[
        list[str] | None, typer.Option(help="Language models: a word to compare; repeated.")
    ] = None,
    closings: Annotated[
        bool, typer.Option("--closings", help="Close every head one by one, however long it takes.")
    ] = False,
    max_memory: Annotated[
        str, typer.Option(metavar="SIZE", help="What maps may take; longer examples keep none.")
    ] = "512 MB",
    seed: Annotated[int, typer.Option(min=0, help="One seed, one result.")] = 0,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The page to write.")] = Path("explorer.html"),
    device: Annotated[str, typer.Option(help="cpu, cuda or mps.")] = "cpu",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars, and fewer words.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a page that is there.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print what is shown as JSON instead of words.")
    ] = False,
) -> int:
    """Examples head by head, as one page: words, maps, what each head does, and a gap beside them."""
    watched = _gap(gap, tuple(group or ()), of, minus)
    if (data is None) == (text is None):
        raise UsageError("give a file with rows, or one text with --text.")
    if out.exists() and not force:
        raise OutputError(f"{out} exists. Name another file with --out, or replace it with --force.")
    if not quiet and not json:
        emit(f"{'' if data is None else f'reading {data.name}, '}loading {model.name} ...\n")
    from .explored_rows import one_row
    from .exploring import explore
    from .interpret.models import load
    from .review import read_rows

    options: dict[str, Any] = {"device": device, "candidates": candidate or None}
    subject = load(model, **options)
    if data is not None:
        columns = {"columns": subject.columns, "optional": subject.optional, "groups": tuple(group or ())}
        rows = read_rows(data, label=label, id=id_column, **columns)
    else:
        rows = one_row(subject, text or "")
    pairs = None
    if swap is not None:
        from .bias.lexicon_files import read_lexicon
        from .bias.swapped_rows import swapped

        pairs = swapped(rows, read_lexicon(swap) if Path(swap).is_file() else swap)
    made = explore(
        subject,
        rows,
        ids=tuple(id) if id else None,
        n=n,
        targets=tuple(target) if target else None,
        baselines=tuple(baseline) if baseline else None,
        background=rows if baseline and "mean" in baseline else None,
        gap=watched,
        policy=policy,
        against=None if against is None else load(against, **options),
        pairs=pairs,
        generate=generate,
        closings=True if closings else "auto",
        max_memory=max_memory,
        seed=seed,
        progress=not quiet and not json,
    )
    made.save(out, force=force)
    if json:
        emit_json(as_json(_summary(made, out)))
    else:
        emit(_words(made, out))
    return 0


def _gap(metric: str | None, groups: tuple[str, ...], of: str | None, minus: str | None) -> "Named | None":
    if metric is None:
        if of is not None or minus is not None:
            raise UsageError("--of and --minus say whose gap is watched; which one says --gap METRIC.")
        return None
    if not groups or of is None:
        raise UsageError(
            f"--gap {metric} needs a column and a group: --group race --gap {metric} --of black --minus white."
        )
    return groups[0], of, minus, metric


def _summary(made: "Explorer", out: Path) -> dict[str, Any]:
    """What is shown, for a program."""
    gap = made.gap
    return {
        "title": made.title,
        "page": out.name,
        "examples": [
            {
                "id": one.id,
                "value": dict(zip(one.targets, one.value.tolist(), strict=True)),
                "largest_residual": float(abs(one.residual).max()),
                "wrong": one.wrong,
                "partner": one.partner,
            }
            for one in made.scenes
        ],
        "gap": None
        if gap is None
        else {"words": gap.words, "estimate": gap.estimate, "low": gap.low, "high": gap.high, "n": gap.n},
    }


def _words(made: "Explorer", out: Path) -> str:
    gap = made.gap
    lines = [f"shown:  {printable(made.title)}\n"]
    if gap is not None:
        lines.append(
            f"gap:    {printable(gap.words)}: {gap.estimate:+.3g} [{gap.low:+.3g}, {gap.high:+.3g}] at 95 %, n = {gap.n}\n"
        )
    lines.append(f"saved:  {out} ({out.stat().st_size / 1e6:.2f} MB)\n")
    return "".join(lines)
