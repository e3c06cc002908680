"""A saved review read back: the same record that was saved, from review.json, without the model."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .bias.score_curves import ScoreCurves
from .bias.slice_records import SliceSearch
from .bounded_files import read_json
from .errors import DataError, first
from .evidence_files import read as read_evidence
from .published_law import PublishedLaw
from .records import Review
from .review_mappings import check_mappings
from .typed_json import rebuild, schema_of

SCHEMA_VERSION = "1"
NAME = "review.json"
LARGEST = 2**30  # bytes of review.json: maps of attention are in it
# The record names no other room's records; these are what its fields hold.
TYPES: Mapping[tuple[type, str], Any] = {
    (Review, "slices"): SliceSearch | str | None,
    (Review, "curves"): ScoreCurves | str | None,
    (Review, "law"): PublishedLaw | None,
}


def read_review(folder: str | Path) -> Review:
    """A review that `Review.save` or `clinometer review` has written, as the record it was.

    Every number is the one that was saved. Its evidence is read where evidence.parquet lies beside it. Answers to why
    there is a gap, and of a fix, stay as the objects of the file: their records belong to rooms that load torch, and
    `saved_answers.with_answers` makes them of it.

    Args:
        folder: the folder, or the review.json in it.

    Raises:
        DataError: there is no review.json, it is not JSON, another version wrote it, or a value is of another kind.
    """
    given = Path(folder)
    file = given / NAME if given.is_dir() else given
    values = _values(file)
    try:
        made: Review = rebuild(Review, values, TYPES)
        check_mappings(made)
    except (
        DataError,
        TypeError,
        ValueError,
        OverflowError,
    ) as error:  # of records that check themselves, too
        raise DataError(f"{file}: {error}") from error
    evidence = file.parent / "evidence.parquet"
    return replace(made, evidence=read_evidence(evidence) if evidence.is_file() else None, writer=_write)


def _write(made: Review, target: Path) -> tuple[Path, ...]:
    from .review import save_review
    from .saved_answers import with_answers

    if made.evidence is None:
        raise DataError("this review has no evidence beside it: `clinometer report` writes its page alone.")
    return save_review(with_answers(made), target)


def page_of(folder: Path, made: Review) -> str | None:
    """The page that was saved with a review, or None where there is none.

    Raises:
        DataError: the page is of another review than review.json.
    """
    from .visualizers.page import report_id

    file = (folder if folder.is_dir() else folder.parent) / "report.html"
    if not file.is_file():
        return None
    text = file.read_text(encoding="utf-8")
    if report_id(made) not in text:
        raise DataError(f"{file} is not the page of the review.json beside it. Make the review again.")
    return text


def _values(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise DataError(f"{file} is not a file. Name the folder that `clinometer review` wrote.")
    values = read_json(file, DataError, way_out="Make the review again.", largest=LARGEST)
    if not isinstance(values, dict) or "audit" not in values:
        keys = first(values) if isinstance(values, dict) else type(values).__name__
        raise DataError(f"{file} is no review: got {keys}; an object with 'audit' and 'ledgers' is expected.")
    if values.get("schema_version") != SCHEMA_VERSION:
        raise DataError(
            f"{file} has the schema version {values.get('schema_version')!r}; {SCHEMA_VERSION!r} is expected. "
            "Make the review again with this version of clinometer."
        )
    return values


def review_schema() -> dict[str, Any]:
    """The JSON schema of review.json (draft 2020-12), from the records themselves."""
    made = schema_of(Review, TYPES, title="A review by clinometer: review.json")
    properties = made["$defs"]["Review"]["properties"]
    properties["schema_version"] = {"const": SCHEMA_VERSION}
    # Their records belong to rooms that load torch: the schema says that they are objects, and what all of them have.
    properties["why"] = {
        "type": "array",
        "items": {"type": "object", "required": ["found", "question", "sentences"]},
    }
    properties["mitigated"] = {
        "anyOf": [{"type": "object", "required": ["question", "sentences"]}, {"type": "null"}]
    }
    return made


if __name__ == "__main__":
    from .output import emit

    emit(json.dumps(review_schema(), indent=1, sort_keys=True) + "\n")
