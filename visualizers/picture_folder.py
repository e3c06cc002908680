"""A record's figures as files in one folder: PNG, SVG, and figures.md with their sentences."""

import hashlib
import html
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from shutil import rmtree
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from ..errors import OutputError, UsageError
from .figures import FIGURES, alt_text, figure, kinds
from .intersections import joint_attributes
from .palette import encoded
from .plates import drawn_metrics

MOST_METRICS = 4  # of one kind drawn; the tables hold all
MOST_ATTRIBUTES = 6
PAGE = "figures.md"


class Picture(NamedTuple):
    """One figure with the sentence that says what it shows, and a name for its files."""

    name: str
    kind: str
    figure: Figure
    alt: str


def pictures(record: Any) -> list[Picture]:
    """Everything that can be drawn of a record: metrics with a tolerance or margin, else the first ones.

    Raises:
        UsageError: nothing of it can be drawn.
    """
    made = []
    for kind, choices in _wanted(record):
        name = "-".join([kind, *(_slug(str(value)) for value in choices.values()), *_about(record)])
        made.append(Picture(name, kind, figure(record, kind, **choices), alt_text(record, kind, **choices)))
    return made


def save(
    records: Sequence[Any], folder: str | Path, title: str, notes: Iterable[str] = ()
) -> tuple[Path, ...]:
    """Write the figures of some records into a new folder, which appears whole or not at all.

    Args:
        folder: one that is not there, or empty.
        title: of figures.md.
        notes: what could not be drawn, and why; they are written below the figures.

    Raises:
        OutputError: the folder holds something, or cannot be written. UsageError: a record that cannot be drawn.
    """
    target = Path(folder)
    refuse_full(target)
    drawn = _named_apart([picture for record in records for picture in pictures(record)])
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        for one in drawn:
            (temporary / f"{one.name}.png").write_bytes(encoded(one.figure, "png"))
            (temporary / f"{one.name}.svg").write_bytes(encoded(one.figure, "svg"))
        (temporary / PAGE).write_text(_page(drawn, title, notes), encoding="utf-8")
        temporary.chmod(0o755)
        if target.exists():
            target.rmdir()
        temporary.replace(target)
    except OSError as error:
        raise OutputError(
            f"{target} cannot be written: {error.strerror or error}. Name another folder."
        ) from error
    finally:
        if temporary is not None and temporary.exists():
            rmtree(temporary)
    return tuple(sorted(target.iterdir()))


def refuse_full(folder: Path) -> None:
    """Refuse a folder that holds something, and a file.

    Raises:
        OutputError: it is one.
    """
    if folder.is_file():
        raise OutputError(f"{folder} is a file; figures go into a folder. Name another.")
    if folder.is_dir() and any(folder.iterdir()):
        raise OutputError(
            f"{folder} is not empty: its figures could not be told from these. Name another folder, or remove it."
        )


def _wanted(record: Any) -> list[tuple[str, dict[str, Any]]]:
    """Kinds with their choices, in the order of the table."""
    suited = kinds(record)
    if not suited:
        figure(record)  # says what can be drawn
    made: list[tuple[str, dict[str, Any]]] = []
    for kind in suited:
        if kind in {"rates", "gaps"}:
            made += [(kind, {"metric": metric}) for metric in drawn_metrics(record)]
        elif kind == "intersections":
            joint = joint_attributes(record)[:MOST_ATTRIBUTES]
            made += [
                (kind, {"metric": metric, "attribute": name})
                for name in joint
                for metric in drawn_metrics(record)
            ]
        elif kind == "errors":
            made += [(kind, {})] if _draws(record, kind) else []
        elif kind == "slopes":
            made += [(kind, {"metric": metric}) for metric in _compared(record)]
        elif kind == "control":
            metrics = list(dict.fromkeys(one.metric for one in record.charts))
            made += [(kind, {"metric": metric}) for metric in metrics]
        elif _draws(record, kind):
            made.append((kind, {}))
    return made


def _compared(record: Any) -> list[str]:
    levels = dict.fromkeys(row.metric for row in record.changes if not row.reference)
    gated = [row.metric for row in record.changes if row.margin is not None and row.metric in levels]
    return list(dict.fromkeys(gated or levels))[:MOST_METRICS]


def _draws(record: Any, kind: str) -> bool:
    """Whether the record holds what the kind draws: an audit without labels has no errors."""
    try:
        alt_text(record, kind)
    except UsageError:
        return False
    return True


def _about(record: Any) -> list[str]:
    """Whose curves they are, where the record is of one attribute."""
    parts = [getattr(record, name, None) for name in ("attribute", "metric")]
    return [_slug(part) for part in parts if isinstance(part, str)]


def _named_apart(drawn: list[Picture]) -> list[Picture]:
    made: list[Picture] = []
    taken: set[str] = set()
    for one in drawn:
        name = one.name
        while name in taken:
            name += "-next"
        taken.add(name)
        made.append(one._replace(name=name))
    return made


def _page(drawn: Sequence[Picture], title: str, notes: Iterable[str]) -> str:
    parts = [f"# Figures: {_written(title)}", ""]
    for one in drawn:
        said = _written(one.alt)
        parts += [f"## {FIGURES[one.kind].caption}", "", f"![{said}]({one.name}.png)", "", said, ""]
        parts += [f"As vectors: [{one.name}.svg]({one.name}.svg)", ""]
    left = [_written(note) for note in notes]
    if left:
        parts += ["## Not drawn", "", *[f"- {note}" for note in left], ""]
    return "\n".join(parts)


def _written(text: str) -> str:
    """A text of names from data, as Markdown shows it: no tag, no link, no emphasis comes of it."""
    flat = " ".join(text.split())
    return re.sub(r"([\\`*_\[\]#|~$])", r"\\\1", html.escape(flat, quote=False))


def _slug(name: str) -> str:
    kept = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return kept[:40].strip("-") or "x" + hashlib.sha256(name.encode()).hexdigest()[:8]
