"""The figures that a command writes beside its tables, where they are asked for, into a folder of their own."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .errors import OutputError

if TYPE_CHECKING:
    from .bias.policy import Policy
    from .evidence import Evidence
    from .records import Audit

FIGURES = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Write figures, too: PNG, SVG, and their sentences in figures.md."),
]


def refuse_full(folder: Path | None) -> None:
    """Refuse a folder that holds something before anything is computed; no matplotlib is loaded for it.

    Raises:
        OutputError: it holds something, or is a file.
    """
    if folder is not None and (folder.is_file() or (folder.is_dir() and any(folder.iterdir()))):
        raise OutputError(
            f"--figures {folder} is {'a file' if folder.is_file() else 'not empty'}. Name a new folder, or remove what "
            "is there."
        )


def draw_into(
    folder: Path | None, records: Sequence[Any], title: str, notes: Sequence[str] = ()
) -> tuple[Path, ...]:
    """The figures of some records, where a folder was named; the files written."""
    if folder is None:
        return ()
    from .visualizers.picture_folder import save

    return save(records, folder, title, notes)


def said(folder: Path | None, written: Sequence[Path]) -> str:
    """The line that says where the figures are; nothing where none were asked for."""
    if folder is None:
        return ""
    drawn = sum(path.suffix == ".png" for path in written)
    return f"figures: {drawn} as PNG and SVG in {folder}, their sentences in figures.md\n"


def curves_of(evidence: "Evidence", rules: "Policy", made: "Audit") -> tuple[list[Any], list[str]]:
    """Calibration and thresholds of the single attributes of an audit, and what could not be drawn with its reason.

    Nothing, and no reason, where the evidence has no score with labels.
    """
    from .bias.score_curves import score_curves

    if evidence.label is None or evidence.score is None or rules.task != "binary":
        return [], []
    found = score_curves(evidence, rules, made)
    return found.by_attribute, list(found.notes)
