"""A review without personal text: ids under other names, tokens and words of texts left out."""

import dataclasses
import hashlib
import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence

from .records import Faithfulness, Ledger, Review, View

NOTE = (
    "Personal text is left out of this copy: rows have names drawn for it alone, and tokens and words of texts are "
    "numbered. Groups, features, slices and every number are those of the review."
)
FIELDS: Mapping[str, str] = {
    # Every saved field of a review, and what becomes of it. A test holds this list complete.
    "title": "kept",
    "schema_version": "kept",
    "created": "kept",
    "audit": "kept: groups, metrics, counts",
    "measures": "kept: names of features and heads, means by group",
    "ledgers": "words of texts numbered",
    "views": "ids under other names, tokens of texts numbered",
    "attribution": "ids under other names",
    "certificate": "kept",
    "model": "kept",
    "data": "kept: names of files and columns, hashes, counts of groups; rows that could not be used are left out",
    "heads": "kept",
    "faithfulness": "ids under other names",
    "slices": "kept: values of group columns, and terms that somebody named",
    "curves": "kept: groups, counts, and values of the score at which rates are counted",
    "law": "kept: categories and counts, and what was published beside them",
    "why": "left out, and said to be: words and tokens of rows are in its findings",
    "mitigated": "left out, and said to be",
    "feature_notes": "kept",
    "limits": "kept, but for the rows that they name, and one is added",
    "provenance": "kept",
    "sign_off": "kept: who signed",
}
MEASURE = re.compile(r"attribution\[(.*)\]", re.DOTALL)
NAMED_ROWS = re.compile(r"(first rows?[^:]*|are in no number here): .*", re.DOTALL)
Alias = Callable[[str], str]


def without_text(made: Review, *, salt: str | None = None) -> Review:
    """The review with nothing in it that a person wrote or is known by; every number stays.

    Left out: ids of rows (each gets a name that is the same throughout this copy and tells nothing: a hash with a
    salt), tokens in maps of attention, words in ledgers of texts, and the evidence. Kept: names of features, of
    groups and of slices, which are columns and values of columns that somebody declared to be groups, and who signed.

    Args:
        made: the review.
        salt: of the hashes; drawn anew and kept nowhere unless given, so that no id can be tried out.
    """
    drawn = secrets.token_hex(16) if salt is None else salt
    names: dict[str, str] = {}

    def alias(id: str) -> str:
        if id not in names:
            salted = f"{drawn}/{id}".encode(errors="backslashreplace")
            names[id] = f"row {hashlib.sha256(salted).hexdigest()[:10]}"
        return names[id]

    features = _features(made)
    attribution = dict(made.attribution)
    if "not_converged" in attribution:
        attribution["not_converged"] = [alias(str(id)) for id in attribution["not_converged"]]
    return dataclasses.replace(
        made,
        ledgers=tuple(_ledger(one, features) for one in made.ledgers),
        views=tuple(_view(one, features, alias) for one in made.views),
        attribution=attribution,
        faithfulness=None if made.faithfulness is None else _faithfulness(made.faithfulness, alias),
        why=(),
        mitigated=None,
        data={key: value for key, value in made.data.items() if key != "left_out"},
        slices=_unnamed(made.slices) if isinstance(made.slices, str) else made.slices,
        curves=_unnamed(made.curves) if isinstance(made.curves, str) else made.curves,
        limits=tuple(dict.fromkeys([*map(_unnamed, made.limits), NOTE, *_left_out(made)])),
        evidence=None,
        explorer=None,
    )


def _unnamed(text: str) -> str:
    """A sentence without the rows that it names at its end."""
    return NAMED_ROWS.sub(r"\1: left out of this copy.", text)


def _left_out(made: Review) -> Iterable[str]:
    """What a reader of the copy has to know is missing."""
    if made.why:
        yield f"Answers to why there is a gap ({len(made.why)}) are left out of this copy: they quote words of rows."
    if made.mitigated is not None:
        yield "The fix that was tried is left out of this copy: its file names rows."


def _features(made: Review) -> frozenset[str]:
    """Names of the model's input columns: they are measured for all rows, which words of texts are not."""
    measured = () if made.measures is None else (cell.metric for cell in made.measures.cells)
    found = {match[1] for name in measured if (match := MEASURE.fullmatch(name))}
    return frozenset(found | {note["feature"] for note in made.feature_notes if "feature" in note})


def _ledger(made: Ledger, features: frozenset[str]) -> Ledger:
    if all(share.unit in features for share in made.shares):
        return made
    shares = tuple(
        dataclasses.replace(share, unit=share.unit if share.unit in features else f"word {place}")
        for place, share in enumerate(made.shares, 1)
    )
    return dataclasses.replace(made, shares=shares)


def _view(made: View, features: frozenset[str], alias: Alias) -> View:
    return dataclasses.replace(
        made,
        title=_title(made, alias),
        ids=tuple(map(alias, made.ids)),
        labels=tuple(_labels(made.labels, features)),
    )


def _labels(labels: Sequence[str], features: frozenset[str]) -> Iterable[str]:
    """Names of features, with the tokens that the model itself puts beside them; tokens of a text are numbered."""
    named = [label in features for label in labels]
    of_table = any(named) and all(
        is_feature or (label.startswith("[") and label.endswith("]"))
        for label, is_feature in zip(labels, named, strict=True)
    )
    return labels if of_table else [f"token {place}" for place in range(1, len(labels) + 1)]


def _title(made: View, alias: Alias) -> str:
    """The title names a row only where the view is of one row."""
    if len(made.ids) != 1:
        return made.title
    (id,) = made.ids
    front, found, score = made.title.rpartition(f", {id} (")
    if found:
        return f"{front}, {alias(id)} ({score}"
    return f"one row, {alias(id)}" if id in made.title else made.title


def _faithfulness(made: Faithfulness, alias: Alias) -> Faithfulness:
    return dataclasses.replace(made, ids=tuple(map(alias, made.ids)))
