"""Spans from tags of tokens in the BIO scheme: B- begins one, I- goes on, O is outside."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from ..errors import DataError, UsageError

Illegal = Literal["begin", "refuse"]


class Span(NamedTuple):
    """A typed stretch of a document: positions `start` up to, not including, `end`."""

    document: str
    start: int
    end: int
    type: str


def spans_of(
    document: str, tags: Sequence[str], *, illegal: Illegal = "begin"
) -> tuple[tuple[Span, ...], int]:
    """The spans of one document's tags, and how many I- tags had nothing to go on from.

    Such a tag follows O, the start, or a span of another type. `begin` lets it begin a span, as the CoNLL-2000 scorer
    does: models write such tags. `refuse` is for labels made by people.

    Args:
        document: its name.
        tags: (token,) "O", "B-type" or "I-type".
        illegal: what an I- tag without a beginning does.

    Raises:
        DataError: a tag of another form, or an illegal one that is to be refused.
    """
    if illegal not in {"begin", "refuse"}:
        raise UsageError(f"illegal is {illegal!r}; 'begin' or 'refuse' is expected.")
    found: list[Span] = []
    n_illegal = 0
    start, kind = 0, ""
    for i, tag in enumerate((*tags, "O")):
        mark, _, name = tag.partition("-")
        if not (tag == "O" or (mark in {"B", "I"} and name)):
            raise DataError(
                f"document {document!r}, token {i} (counted from 0): the tag {tag!r} is none of O, B-type, I-type."
            )
        goes_on = mark == "I" and kind == name
        if mark == "I" and not goes_on:
            if illegal == "refuse":
                raise DataError(
                    f"document {document!r}, token {i} (counted from 0): {tag!r} goes on from no span of its type. "
                    "Write B- where a span begins."
                )
            n_illegal += 1
        if kind and not goes_on:
            found.append(Span(document, start, i, kind))
            kind = ""
        if mark in {"B", "I"} and not goes_on:
            start, kind = i, name
    return tuple(found), n_illegal
