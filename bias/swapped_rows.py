"""Rows with identity words swapped, ready to be scored, each beside the row that it came from."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import DataError, UsageError, did_you_mean, first
from ..records import Rows
from .lexicons import SwapLexicon, lexicon_of
from .swaps import Replacement, SwappedText, Swapper

Ambiguous = Literal["leave out", "keep"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """One swapped row: of which row, into what, by which replacements."""

    id: str  # of the swapped row
    original: str  # id of the row it was made of
    variant: str  # the swap that was asked for, e.g. "female <-> male", "to muslim"
    direction: str  # what became what in this row, e.g. "male -> female"
    replacements: tuple[Replacement, ...] = ()  # of a text
    changes: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # of a table: column -> (old, new)
    n_alike: int | None = None  # of a table: real rows that share the new combination; None where not counted
    warning: str = ""  # why the swapped row may be no plausible one


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSwapped:
    """One row that a swap left out, with the reason."""

    id: str
    variant: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Swapped:
    """Original rows and their swapped copies; `place[i]` is the original row of `rows` i.

    Score `original` and `rows` by the same model, then hand both scores to `compare_pairs`.
    """

    original: Rows
    rows: Rows
    swaps: tuple[Swap, ...]  # one per row of `rows`, in order
    place: npt.NDArray[np.int64]  # (swapped row,) position in `original`
    not_swapped: tuple[NotSwapped, ...]
    column: str | None  # the column of texts; None for a table
    provenance: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def originals(self) -> Rows:
        """The original row of every copy, in their order: one that has two copies is in it twice."""
        return self.original.take(self.place)

    @property
    def directions(self) -> tuple[str, ...]:
        """What became what, most frequent first."""
        return tuple(name for name, _ in Counter(one.direction for one in self.swaps).most_common())

    @property
    def reasons(self) -> dict[str, int]:
        """Why rows were left out, and how many, most frequent first."""
        return dict(Counter(one.reason for one in self.not_swapped).most_common())

    @property
    def frame(self) -> Any:
        """Every swapped row as a pandas DataFrame: ids, direction, old and new words or values."""
        import pandas as pd

        listed = []
        for one in self.swaps:
            words = {r.old: r.new for r in one.replacements} or {k: v[1] for k, v in one.changes.items()}
            shown = ", ".join(f"{old} -> {new}" for old, new in words.items())
            listed.append((one.id, one.original, one.variant, one.direction, shown, one.n_alike, one.warning))
        return pd.DataFrame(
            listed, columns=["id", "original", "variant", "direction", "changes", "n_alike", "warning"]
        )

    def __repr__(self) -> str:
        left = ", ".join(f"{n} {reason}" for reason, n in self.reasons.items())
        return (
            f"Swapped({len(self)} copies of {len(set(self.place.tolist()))} of {len(self.original)} rows: "
            f"{', '.join(self.directions[:6])}{f'; left out: {left}' if left else ''})"
        )


def swapped(
    rows: Rows,
    lexicon: str | SwapLexicon | Sequence[str | SwapLexicon],
    *,
    column: str = "text",
    to: str | Sequence[str] | None = None,
    between: tuple[str, str] | None = None,
    ambiguous: Ambiguous = "leave out",
) -> Swapped:
    """Copies of the rows with identity words swapped in their texts; see `swaps.swap` for how.

    Rows without a word to swap are left out and listed, like those that the words around leave open.

    Args:
        lexicon: the name of a built-in one ("gender", "religion", ...), one of your own, or several of one attribute.
        column: the input that holds the texts.
        to: groups; one copy for each, with the words of all other groups turned into that group's. By default every
            group of the lexicon, where it has more than two.
        between: two groups whose words are exchanged; one copy. The default of a lexicon of two groups.
        ambiguous: what to do with a text where a swap is uncertain: "leave out", or "keep" and mark it.

    Raises:
        DataError: the column is missing or holds something else than texts, ids stand for several rows, or no row has
            anything to swap.
        UsageError: an unknown lexicon or group.
    """
    if ambiguous not in ("leave out", "keep"):
        raise UsageError(f"ambiguous={ambiguous!r}: 'leave out' or 'keep' is expected.")
    chosen = lexicon_of(lexicon)
    texts = texts_of(rows, column)
    unique_ids(rows.ids)
    swappers = [Swapper(chosen, between=between, to=one) for one in _to(chosen, to, between)]
    made: list[Swap] = []
    new_texts: list[str] = []
    place: list[int] = []
    left: list[NotSwapped] = []
    for swapper in swappers:
        for i, text in enumerate(texts):
            result = swapper(text)
            reason = _left_out(result, swapper, ambiguous)
            if reason is not None:
                left.append(
                    NotSwapped(id=rows.ids[i], variant=swapper.name, reason=reason[0], detail=reason[1])
                )
                continue
            place.append(i)
            new_texts.append(result.text)
            made.append(
                Swap(
                    id=f"{rows.ids[i]} [{swapper.name}]",
                    original=rows.ids[i],
                    variant=swapper.name,
                    direction=result.direction,
                    replacements=result.replacements,
                    warning="; ".join(result.uncertain),
                )
            )
    if not made:
        raise DataError(
            f"none of {len(rows)} texts can be swapped ({_reasons(left)}); first rows: {first(rows.ids)}. Give another "
            f"lexicon than {chosen.name!r}, other groups, or ambiguous='keep'."
        )
    return assemble(
        rows,
        {column: np.array(new_texts, dtype=object)},
        made,
        place,
        left,
        column=column,
        provenance={**chosen.provenance, "attribute": chosen.attribute, "ambiguous": ambiguous},
        notes=_notes(made, left, chosen),
    )


def assemble(
    rows: Rows,
    new: Mapping[str, npt.NDArray[Any]],
    made: Sequence[Swap],
    place: Sequence[int],
    left: Sequence[NotSwapped],
    *,
    column: str | None,
    provenance: Mapping[str, Any],
    notes: tuple[str, ...],
) -> Swapped:
    """The record: the rows at `place` under new ids and with the new columns, beside the originals."""
    copies = rows.take(place)
    ids = tuple(one.id for one in made)
    unique_ids((*rows.ids, *ids))
    return Swapped(
        original=rows,
        rows=Rows(ids=ids, inputs={**copies.inputs, **new}, labels=copies.labels, groups=copies.groups),
        swaps=tuple(made),
        place=np.asarray(place, dtype=np.int64),
        not_swapped=tuple(left),
        column=column,
        provenance=provenance,
        notes=notes,
    )


def texts_of(rows: Rows, column: str) -> list[str]:
    """A column of texts.

    Raises:
        DataError: there are no rows, no such column, or something that is no text.
    """
    if not len(rows):
        raise DataError("there are no rows to swap.")
    if column not in rows.inputs:
        raise DataError(f"the rows have no column {column!r}: {did_you_mean(column, rows.inputs)}")
    values = list(rows.inputs[column])
    wrong = [rows.ids[i] for i, value in enumerate(values) if not isinstance(value, str)]
    if wrong:
        raise DataError(
            f"column {column!r} holds {len(wrong)} values that are no texts; first rows: {first(wrong)}. Leave these rows "
            "out, or name the column of texts."
        )
    return [str(value) for value in values]


def unique_ids(ids: Sequence[str]) -> None:
    """Refuse ids that stand for several rows, since pairs are named by them."""
    twice = [name for name, times in Counter(ids).items() if times > 1]
    if twice:
        raise DataError(
            f"{len(twice)} ids stand for several rows, first {first(twice)}; each row needs its own."
        )


def _to(
    lexicon: SwapLexicon, to: str | Sequence[str] | None, between: tuple[str, str] | None
) -> tuple[str | None, ...]:
    if to is not None:
        return (to,) if isinstance(to, str) else tuple(dict.fromkeys(to))
    if between is not None or (len(lexicon.groups) == 2 and len(lexicon.recognised) == 2):
        return (None,)
    return lexicon.groups


def _left_out(result: SwappedText, swapper: Swapper, ambiguous: Ambiguous) -> tuple[str, str] | None:
    if result.no_word:
        return "no counterpart", f"{first(result.no_word)} has none ({swapper.name})"
    if not result.replacements:
        return "nothing to swap", ""
    if result.uncertain and ambiguous == "leave out":
        return "ambiguous", "; ".join(result.uncertain)
    return None


def _reasons(left: Sequence[NotSwapped]) -> str:
    return ", ".join(f"{n} {reason}" for reason, n in Counter(one.reason for one in left).most_common())


def _notes(made: Sequence[Swap], left: Sequence[NotSwapped], lexicon: SwapLexicon) -> tuple[str, ...]:
    notes = []
    unsure = sum(bool(one.warning) for one in made)
    if unsure:
        notes.append(f"{unsure} of {len(made)} swapped texts are uncertain and were kept")
    if left:
        notes.append(f"left out: {_reasons(left)}")
    if lexicon.left_out:
        notes.append(
            f"{len(lexicon.left_out)} words stand for several groups and are never swapped: {first(lexicon.left_out)}"
        )
    return tuple(notes)
