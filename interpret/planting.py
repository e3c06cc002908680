"""A token put into texts at random places, and where it then stands among the model's tokens."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ..errors import DataError, UsageError
from ..records import Rows
from .models import Subject
from .ranks import row_generator

COLUMN = "text"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Planted:
    """Rows of texts twice, as they are and with the token, and which tokens of the second are the planted ones."""

    plain: Rows
    with_token: Rows
    spans: tuple[tuple[int, int], ...]  # per row: [start, end) among the names of `with_token`
    n_left_out: int  # rows that hold the token already, or in which it could not be located

    def __len__(self) -> int:
        return len(self.plain)


def planted(subject: Subject, rows: Rows, token: str, *, seed: int = 0) -> Planted:
    """Each text with the token between two of its words, or at an end, at a place drawn by the row's id and the seed.

    Texts are split at white space and joined by single spaces, in both versions. Rows whose text holds the token in
    any case are left out, and rows whose other tokens the planted one changes (a text that is cut at the end).

    Raises:
        UsageError: the model reads no column "text", the token is no single word, or the model does not know it.
        DataError: the column is missing, or no row is left.
    """
    if COLUMN not in subject.columns:
        raise UsageError(
            f"a token is planted in texts; {subject.name} reads {', '.join(subject.columns) or 'no named column'} and no "
            f"column {COLUMN!r}. Planting a feature's value in tables or series is not offered."
        )
    if COLUMN not in rows.inputs:
        raise DataError(f"the rows have no column {COLUMN!r}, into which the token is to be planted.")
    if len(token.split()) != 1 or token != token.strip():
        raise UsageError(f"the token {token!r} is no single word without white space.")
    words = [str(text).split() for text in rows.inputs[COLUMN]]
    able = [i for i, one in enumerate(words) if one and token.lower() not in " ".join(one).lower()]
    if not able:
        raise DataError(
            f"every row is empty or holds {token!r} already; plant a word that the texts do not have."
        )
    some = rows.take(able)
    plain = [words[i] for i in able]
    places = [
        row_generator(seed, name, "planted").integers(0, len(one) + 1)
        for name, one in zip(some.ids, plain, strict=True)
    ]
    full = [[*one[:place], token, *one[place:]] for one, place in zip(plain, places, strict=True)]
    before, after = _texts(some, plain), _texts(some, full)
    spans = [_span(a, b) for a, b in zip(subject.names(before), subject.names(after), strict=True)]
    kept = [i for i, span in enumerate(spans) if span is not None]
    if not kept:
        raise DataError(
            f"the token {token!r} could not be located in any row: it changes the tokens beside it."
        )
    made = Planted(
        plain=before.take(kept),
        with_token=after.take(kept),
        spans=tuple(span for span in spans if span is not None),
        n_left_out=len(rows) - len(kept),
    )
    _known(subject, made, token)
    return made


def _texts(rows: Rows, words: Sequence[Sequence[str]]) -> Rows:
    made = np.empty(len(words), dtype=object)
    made[:] = [" ".join(one) for one in words]
    return dataclasses.replace(rows, inputs={**rows.inputs, COLUMN: made})


def _span(before: Sequence[str], after: Sequence[str]) -> tuple[int, int] | None:
    """Where `after` holds what `before` lacks; None where it is not `before` with one piece put in."""
    n = len(after) - len(before)
    start = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), len(before))
    if n < 1 or [*after[:start], *after[start + n :]] != list(before):
        return None
    return start, start + n


def _known(subject: Subject, made: Planted, token: str) -> None:
    """Refuse a token that the model reads as any unknown word."""
    row, (start, end) = made.with_token.take([0]), made.spans[0]
    names = subject.names(row)[0][start:end]
    unknown = bool(set(names) & set(subject.special))
    if subject.filled is not None and "unknown" in subject.fillers and not unknown:
        with torch.no_grad():
            batch = subject.encode(row)
            embedded, filled = subject.embed(batch), subject.filled(batch, subject.fillers["unknown"])
        unknown = bool(torch.equal(embedded[0, start:end], filled[0, start:end]))
    if unknown:
        raise UsageError(
            f"{subject.name} does not know {token!r}: it reads it as {', '.join(names)}, like any unknown word. Plant a "
            "word of its vocabulary that the rows do not hold."
        )


def first_in(scores: npt.NDArray[np.floating], places: npt.NDArray[np.intp], span: tuple[int, int]) -> bool:
    """Whether the highest score among the places is in the span, and no other score is as high."""
    inside = (places >= span[0]) & (places < span[1])
    if not inside.any():
        return False
    others = scores[places[~inside]]
    return bool(scores[places[inside]].max() > others.max(initial=-np.inf))
