"""The command that says whether a review's files, model and data are still what they were: verify."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .output import emit, emit_json

if TYPE_CHECKING:
    from .signature import Check
    from .verified_reviews import Verification

MARKS = {"matches": "✓", "differs": "▲", "not there": "▲", "not recorded": "·", "not checked": "–"}


def verify(
    review: Annotated[
        Path, typer.Argument(metavar="REVIEW", help="Folder that `clinometer review` or `demo` wrote.")
    ],
    model: Annotated[
        Path | None, typer.Argument(metavar="MODEL", help="Folder of the model that was reviewed.")
    ] = None,
    data: Annotated[
        Path | None, typer.Argument(metavar="DATA", help="File of the rows that were reviewed.")
    ] = None,
    adapter: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="The adapter that was merged into the model, where it is neither in nor beside the model's folder.",
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print what differs or is missing only.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print every comparison as JSON.")] = False,
) -> int:
    """Compute the hashes of a review's files, model and rows again.

    Exit code 0: all that was named was compared, and matches. 3: something differs or is missing, or MODEL or DATA was
    named and not checked, since the review does not say what they were (`unchecked` with --json).
    """
    from .verified_reviews import as_json
    from .verified_reviews import verify as verified

    made = verified(review, model, data, adapter=adapter)
    if json:
        emit_json(as_json(made))
    else:
        emit(_said(made, quiet))
    return made.exit_code


def _said(made: "Verification", quiet: bool) -> str:
    from .terminal import printable
    from .verified_reviews import FAILED

    shown = [one for one in made.checks if not quiet or one.outcome in FAILED or _left(one, made)]
    lines = [
        f"{MARKS[one.outcome]} {one.what}{f' {one.name}' if one.name != one.what else ''}: "
        f"{one.outcome}{f' ({one.note})' if one.note else ''}"
        for one in shown
    ]
    failed = sum(one.outcome in FAILED for one in made.checks)
    matched = sum(one.outcome == "matches" for one in made.checks)
    left = f"; named and NOT checked: {', '.join(made.unchecked)}" if made.unchecked else ""
    lines.append(f"{matched} match, {failed} differ or are missing{left}")
    if made.seal is not None:
        lines.append(f"seal:   {made.seal} (SHA-256 of hashes.json: note it where this folder cannot reach)")
    return "".join(f"{printable(line)}\n" for line in lines)


def _left(one: "Check", made: "Verification") -> bool:
    """Whether it says why something that was named was not checked."""
    return one.outcome == "not checked" and bool({one.what, one.name} & set(made.unchecked))
