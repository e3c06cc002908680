"""Commands that write a saved review in other forms, without the model: report, card."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import DataError, OutputError, UsageError, did_you_mean
from .flags import LOCAL_LAW_144, SUPPRESS
from .output import emit, emit_json, write

if TYPE_CHECKING:
    from .records import Review

REVIEW = Annotated[
    Path, typer.Argument(metavar="REVIEW", help="Folder that `clinometer review` or `demo` wrote.")
]
NO_TEXT = Annotated[
    bool, typer.Option("--no-text", help="Leave out ids, tokens and words of texts; every number stays.")
]
FORCE = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]
EXPLORER = "explorer.html"
NAMES = {
    "html": "report.html",
    "pdf": "report.pdf",
    "md": "card.md",
    "junit": "junit.xml",
    "json": "review.json",
}


def report(
    review: REVIEW,
    format: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FORMAT", help="html, pdf, md (a model card), junit, json; commas between, or repeated."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where to write; beside the review unless said.")
    ] = None,
    no_text: NO_TEXT = False,
    suppress_below: SUPPRESS = None,
    language: Annotated[
        str,
        typer.Option(metavar="NAME", help="Of the page and its figures: en, or a JSON file of all phrases."),
    ] = "en",
    local_law_144: LOCAL_LAW_144 = None,
    open: Annotated[
        bool, typer.Option("--open", help="Show the page, or the PDF, when it is written.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars, and fewer words.")] = False,
    force: FORCE = False,
    json: Annotated[bool, typer.Option("--json", help="Print the files written as JSON.")] = False,
) -> int:
    """A saved review as a page, a tagged PDF, a model card or JUnit XML, without the model. Gates nothing: exit code 0.

    Groups, tolerances and tables are those of the review. --local-law-144 adds New York City's where it has none, counted
    from its evidence.parquet; that copy needs a folder of its own.
    """
    wanted = _formats(format or ["pdf"])
    if open and not {"html", "pdf"} & set(wanted):
        raise UsageError("--open shows a page or a PDF: ask for one with --format html or --format pdf.")
    if language != "en":
        if not {"html", "pdf"} & set(wanted):
            raise UsageError("--language is of the page: ask for one with --format html or --format pdf.")
        from .visualizers.phrases import phrases

        phrases(language)  # before anything is read or drawn
    target = review if out is None else out
    if out is not None and out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file; a folder is expected.")
    withheld = no_text or suppress_below is not None
    if out is None or _same(review, out):
        _refuse_own_folder(no_text, suppress_below, local_law_144)
    if local_law_144 is not None and not {"html", "pdf", "json"} & set(wanted):
        raise UsageError("--local-law-144 adds tables to a page, a PDF or JSON: ask for one with --format.")
    files = {kind: target / NAMES[kind] for kind in wanted}
    beside = None if withheld else _explorer(review)
    if "html" in wanted and beside is not None and not _same(beside.parent, target):
        files["explorer"] = target / beside.name  # the page links to it
    _refuse(files.values(), force)
    from .pdf_files import needed_printer, save_pdf
    from .saved_reviews import read_review

    if "pdf" in wanted:
        needed_printer()  # before anything is read or drawn
    made = read_review(review)
    if local_law_144 is not None:
        from .published_law import with_law

        made = with_law(made, local_law_144)
    made = _withheld(made, no_text, suppress_below)
    drawn = ""
    if {"html", "pdf"} & set(wanted):
        anew = withheld or language != "en" or local_law_144 is not None
        saved = None if anew else review
        drawn = _page(made, saved, not quiet and not json, beside, language)
    _folder(target)
    printed = ""
    for kind, file in files.items():
        if kind == "pdf":
            printed = f" (printed by {save_pdf(drawn, file)})"
        elif kind == "explorer" and beside is not None:
            write(file, beside.read_text(encoding="utf-8"))
        else:
            write(file, drawn if kind == "html" else _TEXTS[kind](made))
        if not json:
            emit(f"saved:  {file}{printed if kind == 'pdf' else ''}\n")
    if json:
        from json import dumps

        emit_json(dumps({kind: str(file) for kind, file in files.items()}, indent=1) + "\n")
    if open:
        _show(files)
    return 0


def card(
    review: REVIEW,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to write; card.md beside the review unless said."),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="OWNER/NAME", help="Data set on the Hub that was reviewed: eval_results.yaml, too."
        ),
    ] = None,
    task: Annotated[str, typer.Option(metavar="TASK", help="Its task, in eval_results.yaml.")] = "default",
    revision: Annotated[
        str | None, typer.Option(metavar="COMMIT", help="Its commit, in eval_results.yaml.")
    ] = None,
    no_text: NO_TEXT = False,
    suppress_below: SUPPRESS = None,
    force: FORCE = False,
    json: Annotated[bool, typer.Option("--json", help="Print the files written as JSON.")] = False,
) -> int:
    """A model card: Hugging Face metadata, and Bias, Risks and Limitations with intervals. Gates nothing: exit code 0."""
    target = (review if review.is_dir() else review.parent) / "card.md" if out is None else out
    files = [target] if dataset is None else [target, target.parent / "eval_results.yaml"]
    if dataset is not None and dataset.count("/") != 1:
        raise UsageError(f"--dataset {dataset}: a data set's id on the Hub is expected, as owner/name.")
    _refuse(files, force)
    from .saved_reviews import read_review
    from .visualizers.card import card as written
    from .visualizers.front_matter import eval_results, yaml

    made = read_review(review)
    made = _withheld(made, no_text, suppress_below)
    results = [] if dataset is None else eval_results(made, dataset, task, revision)
    if dataset is not None and not results:
        raise DataError(
            "this review has no value of everybody that could be an eval result. Leave out --dataset."
        )
    _folder(target.parent)
    write(target, written(made))
    if dataset is not None:
        write(files[1], yaml(results))
    if json:
        from json import dumps

        emit_json(dumps([str(file) for file in files], indent=1) + "\n")
    else:
        emit("".join(f"saved:  {file}\n" for file in files))
        if dataset is not None:
            emit("next:   in a model repository, eval_results.yaml belongs into the folder .eval_results\n")
    return 0


def _withheld(made: "Review", text: bool, fewer_than: int | None) -> "Review":
    """The copy that is to be shared: without small cells, without text, or all of it."""
    from .small_cells import without_small_cells
    from .withheld_text import without_text

    made = made if fewer_than is None else without_small_cells(made, fewer_than)
    return without_text(made) if text else made


def _formats(given: Sequence[str]) -> list[str]:
    wanted = list(dict.fromkeys(name.strip() for item in given for name in item.split(",") if name.strip()))
    for name in wanted:
        if name not in NAMES:
            raise UsageError(f"--format {name}: {did_you_mean(name, NAMES)}")
    if not wanted:
        raise UsageError(f"--format names none of {', '.join(NAMES)}.")
    return wanted


def _refuse(files: Iterable[Path], force: bool) -> None:
    there = [file for file in files if file.exists()]
    if there and not force:
        raise OutputError(f"{there[0]} exists. Name another place with --out, or replace it with --force.")


def _refuse_own_folder(no_text: bool, suppress_below: int | None, local_law_144: str | None) -> None:
    """Refuse to write a copy that differs from the review into the review's own folder."""
    differs = {
        "--no-text": (no_text, "the texts in its other files"),
        "--suppress-below": (suppress_below is not None, "the counts in its other files"),
        "--local-law-144": (local_law_144 is not None, "a review without these tables"),
    }
    for flag, (given, held) in differs.items():
        if given:
            raise UsageError(f"{flag} needs another folder (--out FOLDER): the review's own holds {held}.")


def _folder(target: Path) -> None:
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{target} cannot be made: {error.strerror or error}. Name another with --out."
        ) from error


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


def _explorer(review: Path) -> Path | None:
    """The explorer that lies beside a saved review."""
    file = (review if review.is_dir() else review.parent) / EXPLORER
    return file if file.is_file() else None


def _page(made: "Review", folder: Path | None, progress: bool, beside: Path | None, language: str) -> str:
    """The page that was saved with the review; without one, for a copy with less or in another language, drawn anew.

    It links to an explorer only where there is one. Drawing answers about heads and fixes anew loads torch.
    """
    from .saved_answers import with_answers
    from .saved_reviews import page_of
    from .visualizers.page import render, without_explorer
    from .visualizers.plates import draw

    saved = None if folder is None else page_of(folder, made)
    if saved is not None:
        return saved if beside is not None else without_explorer(saved)
    made = with_answers(made)
    linked = "" if beside is None else beside.name
    return render(made, draw(made, progress=progress, language=language), explorer=linked, language=language)


def _card(made: "Review") -> str:
    from .visualizers.card import card as written

    return written(made)


def _junit(made: "Review") -> str:
    from .junit import junit

    return junit(made.audit)


def _json(made: "Review") -> str:
    from .output import as_json

    return as_json(made)


_TEXTS: "dict[str, Callable[[Review], str]]" = {"md": _card, "junit": _junit, "json": _json}


def _show(files: dict[str, Path]) -> None:
    """Open what a person reads; where there is no browser, say where the file is."""
    import webbrowser

    shown = next(files[kind] for kind in ("html", "pdf") if kind in files)
    if not webbrowser.open(shown.resolve().as_uri()):
        emit(f"open:   {shown} (no browser could be started from here)\n")
