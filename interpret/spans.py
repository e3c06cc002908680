"""Units people read: sub-tokens added up to words, sentences, marked spans, windows or groups; sums are kept."""

import dataclasses
import re
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import DataError, ModelError, UsageError, first
from ..records import Attribution, Rows
from .models import Subject

Offsets = Sequence[tuple[int, int]]  # characters [start, end) of each token; an empty range where it has none

SENTENCE_END = re.compile(r"[.!?\u2026]+[\"'\u201d\u2019)\]]*\s+|[\u3002\uff01\uff1f]+|\n+")
# Written without spaces between words: there a token is as good a unit as any.
UNSPACED = ("CJK ", "HIRAGANA ", "KATAKANA ", "THAI ", "LAO ", "KHMER ", "MYANMAR ", "TIBETAN ")
APOSTROPHES = "'\u2019"
JOINERS = "\u200d"  # zero-width joiner, within one emoji or ligature
ALONE = "alone"  # the unit of what belongs to no span


def in_words(subject: Subject, rows: Rows, attribution: Attribution) -> Attribution:
    """The attribution with sub-tokens added up to words, as they stand in the text.

    A word goes on over letters, digits, combining marks and apostrophes between letters, and ends at white space
    and punctuation. In scripts without spaces (Chinese, Japanese, Thai and others) each token is a unit of its own,
    and so is each marker ([CLS]). Tokens that share a character (the bytes of one emoji) are never parted.

    Raises:
        ModelError: the subject does not read texts, or its tokenizer does not say where tokens stand.
        DataError: the rows are others than those of the attribution.
    """
    made = []
    for text, offsets, names in _read(subject, rows, attribution):
        index, ranges = words(text, offsets)
        made.append((index, _named(text, ranges, index, names)))
    return _added(attribution, made)


def in_sentences(subject: Subject, rows: Rows, attribution: Attribution) -> Attribution:
    """The attribution with tokens added up to sentences; markers stay apart. For errors see `in_words`.

    A sentence ends at . ! ? or an ellipsis before white space, at their ideographic forms, and at a line's end.
    Abbreviations end sentences too: there is no dictionary behind it.
    """
    made = []
    for text, offsets, names in _read(subject, rows, attribution):
        ends = [match.end() for match in SENTENCE_END.finditer(text)]
        bounds = [(a, b) for a, b in zip([0, *ends], [*ends, len(text)], strict=True) if text[a:b].strip()]
        marked = [(a, b, " ".join(text[a:b].split())) for a, b in bounds]
        made.append(_marked(text, offsets, names, marked))
    return _added(attribution, made)


def in_spans(
    subject: Subject,
    rows: Rows,
    attribution: Attribution,
    spans: Mapping[str, Sequence[tuple[int, int, str]]],
) -> Attribution:
    """The attribution with tokens added up to marked spans of the text; everything else is one unit, "alone".

    A token belongs to the span that holds its first character that is no white space.

    Args:
        spans: row id -> (start, end, name), characters [start, end) of the text; a row may have none.

    Raises:
        UsageError: a span that is empty, beyond its text, overlaps another, or is of a row that is not there.
        ModelError, DataError: see `in_words`.
    """
    unknown = [name for name in spans if name not in attribution.ids]
    if unknown:
        raise UsageError(f"spans are given for rows that are not there: {first(unknown)}.")
    made = []
    for name, (text, offsets, tokens) in zip(attribution.ids, _read(subject, rows, attribution), strict=True):
        marked = sorted(spans.get(name, ()))
        for (a, b, word), after in zip(marked, [*marked[1:], (len(text), 0, "")], strict=bool(marked)):
            if not 0 <= a < b <= min(len(text), after[0]):
                raise UsageError(
                    f"row {name!r}: the span {word!r} from {a} to {b} is empty, overlaps the next or is beyond the text of "
                    f"{len(text)} characters."
                )
        made.append(_marked(text, offsets, tokens, marked, ALONE))
    return _added(attribution, made)


def in_windows(attribution: Attribution, size: int) -> Attribution:
    """The attribution with neighbouring tokens (time steps, patches) added up, `size` at a time.

    Raises:
        UsageError: a size below one.
    """
    if size < 1:
        raise UsageError(f"a window of {size} tokens was asked for, expected 1 or more.")
    made = []
    for names in attribution.tokens:
        index = [i // size for i in range(len(names))]
        parts = [names[i : i + size] for i in range(0, len(names), size)]
        made.append((index, [p[0] if len(p) == 1 else f"{p[0]} to {p[-1]}" for p in parts]))
    return _added(attribution, made)


def in_groups(attribution: Attribution, groups: Mapping[str, Sequence[str]]) -> Attribution:
    """The attribution with features added up to named groups of features; the others stay as they are.

    Args:
        groups: name -> tokens (features), each in one group only. All of a token's places in an example count.

    Raises:
        UsageError: a token in two groups, or in no example.
    """
    owner: dict[str, str] = {}
    for name, tokens in groups.items():
        for token in tokens:
            if token in owner:
                raise UsageError(f"{token!r} is in two groups, {owner[token]!r} and {name!r}.")
            owner[token] = name
    known = {token for tokens in attribution.tokens for token in tokens}
    unknown = [token for token in owner if token not in known]
    if unknown:
        raise UsageError(
            f"there is no {first(unknown)} among the tokens; there are {first(sorted(known), 12)}."
        )
    made = []
    for tokens in attribution.tokens:
        places: dict[str, int] = {}
        index: list[int] = []
        names: list[str] = []
        for i, token in enumerate(tokens):
            key = f"g{owner[token]}" if token in owner else f"t{i}"
            if key not in places:
                places[key] = len(names)
                names.append(owner.get(token, token))
            index.append(places[key])
        made.append((index, names))
    return _added(attribution, made)


def words(text: str, offsets: Offsets) -> tuple[list[int], list[tuple[int, int]]]:
    """Which unit each token belongs to, and the characters [start, end) of each unit.

    Tokens without characters are units of their own, with an empty range. A token of white space alone belongs
    to the next unit that has characters, or to the last where none follows.
    """
    index: list[int] = []
    ranges: list[tuple[int, int]] = []
    waiting: list[int] = []  # tokens of white space
    current: int | None = None  # the last unit with characters
    for token, (start, end) in enumerate(offsets):
        a, b = _trimmed(text, start, end)
        index.append(-1)
        if start == end:
            index[token] = len(ranges)
            ranges.append((start, start))
            current = None
            continue
        if a == b:
            waiting.append(token)
            continue
        if current is None or not _continues(text, ranges[current], a):
            current = len(ranges)
            ranges.append((a, b))
        ranges[current] = (min(ranges[current][0], a), max(ranges[current][1], b))
        for place in (token, *waiting):
            index[place] = current
        waiting.clear()
    for place in waiting:
        if current is None:
            current = len(ranges)
            ranges.append((offsets[place][0], offsets[place][1]))
        index[place] = current
    return index, ranges


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _continues(text: str, unit: tuple[int, int], start: int) -> bool:
    """Whether a token that starts here goes on with the unit before it."""
    if start < unit[1]:
        return True  # it shares a character: bytes of one
    return start == unit[1] and _joined(text, start)


def _joined(text: str, at: int) -> bool:
    """Whether the characters before and at a place belong to one word."""
    left, right = text[at - 1], text[at]
    if _attached(right) or left in JOINERS:
        return True
    if right in APOSTROPHES or left in APOSTROPHES:
        before = left if right in APOSTROPHES else text[at - 2] if at > 1 else " "
        after = right if left in APOSTROPHES else text[at + 1] if at + 1 < len(text) else " "
        return _letter(before) and _letter(after)
    return _letter(left) and _letter(right) and not (_unspaced(left) or _unspaced(right))


def _letter(character: str) -> bool:
    return character == "_" or unicodedata.category(character)[0] in "LNM"


def _attached(character: str) -> bool:
    """Marks, joiners and modifiers, which belong to the character before them."""
    kind = unicodedata.category(character)
    return kind[0] == "M" or character in JOINERS or (kind == "Sk" and ord(character) > 0x1F000)


def _unspaced(character: str) -> bool:
    return unicodedata.name(character, "").startswith(UNSPACED)


def _named(
    text: str, ranges: Sequence[tuple[int, int]], index: Sequence[int], names: Sequence[str]
) -> list[str]:
    """What each unit is called: its characters, or its token's name where it has none."""
    made = [text[a:b] for a, b in ranges]
    for token, unit in enumerate(index):
        if not made[unit].strip():
            made[unit] = names[token]
    return made


def _marked(
    text: str,
    offsets: Offsets,
    names: Sequence[str],
    marked: Sequence[tuple[int, int, str]],
    rest: str | None = None,
) -> tuple[list[int], list[str]]:
    """Units of marked spans in the order they are met; tokens in none are alone each, or together as `rest`."""
    places: dict[tuple[str, int], int] = {}
    index: list[int] = []
    made: list[str] = []
    for token, (start, end) in enumerate(offsets):
        a, _ = _trimmed(text, start, end)
        span = next((i for i, (low, high, _) in enumerate(marked) if start < end and low <= a < high), None)
        if span is not None:
            key, name = ("span", span), marked[span][2]
        elif rest is not None:
            key, name = ("rest", 0), rest
        else:
            key, name = ("token", token), names[token]
        if key not in places:
            places[key] = len(made)
            made.append(name)
        index.append(places[key])
    return index, made


def _read(
    subject: Subject, rows: Rows, attribution: Attribution
) -> list[tuple[str, Offsets, tuple[str, ...]]]:
    if subject.characters is None:
        raise ModelError(
            f"{subject.name} does not read texts whose tokens have places in them. Add up features with in_groups, steps or "
            "patches with in_windows."
        )
    if rows.ids != attribution.ids:
        raise DataError("the rows are not those of the attribution: their ids differ.")
    read = subject.characters(rows)
    for name, (_, offsets), tokens in zip(rows.ids, read, attribution.tokens, strict=True):
        if len(offsets) != len(tokens):
            raise DataError(
                f"row {name!r} has {len(tokens)} tokens in the attribution and {len(offsets)} in its text: it was "
                "attributed with another text or after adding up."
            )
    return [(text, offsets, tokens) for (text, offsets), tokens in zip(read, attribution.tokens, strict=True)]


def _added(attribution: Attribution, made: Sequence[tuple[Sequence[int], Sequence[str]]]) -> Attribution:
    """The record with scores added up by unit. Sums per example stay what they were."""
    scores = np.zeros((len(made), max((len(names) for _, names in made), default=0)))
    for row, (index, _) in enumerate(made):
        np.add.at(scores[row], np.asarray(index, dtype=np.intp), attribution.scores[row, : len(index)])
    notes = attribution.notes
    if attribution.errors is not None:
        notes = (*notes, "standard errors of tokens do not add up and were left out")
    return dataclasses.replace(
        attribution,
        tokens=tuple(tuple(names) for _, names in made),
        scores=scores,
        errors=None,
        notes=notes,
    )
