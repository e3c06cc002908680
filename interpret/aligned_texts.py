"""Two texts of one pair laid side by side, word by word, so that each place of one has its place in the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np

from ..errors import DataError, first
from ..records import Rows
from .models import Subject
from .spans import words

Offsets = Sequence[tuple[int, int]]
ENOUGH = 0.5  # of the words of the shorter text have to stay, where the two have different numbers of words


@dataclass(frozen=True, slots=True, kw_only=True)
class Aligned:
    """Both texts of a pair, filled up to the same number of tokens."""

    texts: tuple[str, str]  # with stand-ins where the other text has more tokens
    fills: tuple[tuple[int, ...], tuple[int, ...]]  # places of these stand-ins
    names: tuple[str, ...]  # per place: "film", "he -> she"
    units: tuple[int, ...]  # per place: which word, or which replaced piece, it belongs to
    unit_names: tuple[str, ...]

    @property
    def filled(self) -> bool:
        """Whether either text has a stand-in."""
        return bool(self.fills[0] or self.fills[1])


@dataclass(frozen=True, slots=True)
class _Read:
    """One text: its tokens, and its words as tuples of tokens."""

    text: str
    offsets: Offsets
    tokens: tuple[str, ...]
    pieces: tuple[tuple[int, ...], ...]  # per word: places of its tokens
    spelled: tuple[str, ...]  # per word: its characters

    def keys(self) -> list[tuple[str, ...]]:
        return [tuple(self.tokens[i] for i in piece) for piece in self.pieces]


def aligned(subject: Subject, originals: Rows, swapped: Rows) -> tuple[Aligned, ...]:
    """Each pair of texts, place by place.

    Words that both have in the same order lie on one another; a piece that was replaced lies on what replaced it, token
    by token from its first, and the shorter of the two is filled up at its end. A stand-in is a word of one token, which
    the caller replaces by the baseline's embedding.

    Raises:
        DataError: texts that are no swap of one another, or a text that no stand-in can be put into.
    """
    assert subject.characters is not None
    sides = []
    for rows in (originals, swapped):
        names = subject.names(rows)
        sides.append(
            [
                _read(text, offsets, tokens)
                for (text, offsets), tokens in zip(subject.characters(rows), names, strict=True)
            ]
        )
    made = []
    for name, other, one, two in zip(originals.ids, swapped.ids, *sides, strict=True):
        blocks = _blocks(one, two, f"{name!r} and {other!r}")
        made.append(_laid(subject, one, two, blocks, f"{name!r} and {other!r}"))
    return tuple(made)


def _read(text: str, offsets: Offsets, tokens: tuple[str, ...]) -> _Read:
    index, ranges = words(text, offsets)
    pieces: list[list[int]] = [[] for _ in ranges]
    for place, unit in enumerate(index):
        pieces[unit].append(place)
    spelled = [text[a:b] if a < b else tokens[piece[0]] for (a, b), piece in zip(ranges, pieces, strict=True)]
    return _Read(text, offsets, tokens, tuple(map(tuple, pieces)), tuple(spelled))


Block = tuple[bool, range, range]  # whether equal; words of the first text, of the second


def _blocks(one: _Read, two: _Read, pair: str) -> list[Block]:
    """Runs of equal words, one block for each word, and pieces that were replaced."""
    a, b = one.keys(), two.keys()
    blocks: list[Block] = []
    kept = 0
    for what, i1, i2, j1, j2 in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if what == "equal":
            kept += i2 - i1
            blocks += [
                (True, range(i, i + 1), range(j, j + 1))
                for i, j in zip(range(i1, i2), range(j1, j2), strict=True)
            ]
        elif i2 - i1 == j2 - j1:
            blocks += [
                (False, range(i, i + 1), range(j, j + 1))
                for i, j in zip(range(i1, i2), range(j1, j2), strict=True)
            ]
        else:
            blocks.append((False, range(i1, i2), range(j1, j2)))
    if len(a) != len(b) and kept < ENOUGH * min(len(a), len(b)):
        raise DataError(
            f"the texts of {pair} share {kept} words of {len(a)} and {len(b)} in order: they cannot be aligned by name. "
            "Give each original beside its own swap, in the same order."
        )
    return blocks


def _laid(subject: Subject, one: _Read, two: _Read, blocks: list[Block], pair: str) -> Aligned:
    names: list[str] = []
    units: list[int] = []
    unit_names: list[str] = []
    fills: tuple[list[int], list[int]] = ([], [])
    inserts: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])  # (after token, how many)
    seen = [0, 0]  # tokens of each text so far
    for equal, *parts in blocks:
        read = (one, two)
        tokens = [[t for i in part for t in side.pieces[i]] for side, part in zip(read, parts, strict=True)]
        size = max(map(len, tokens))
        spelled = [" ".join(side.spelled[i] for i in part) for side, part in zip(read, parts, strict=True)]
        unit_names.append(spelled[0] if equal else f"{spelled[0] or '-'} -> {spelled[1] or '-'}")
        for k in range(size):
            shown = [
                side.tokens[held[k]] if k < len(held) else "-"
                for side, held in zip(read, tokens, strict=True)
            ]
            for s in (0, 1):
                if k >= len(tokens[s]):
                    fills[s].append(len(names))
            names.append(shown[0] if shown[0] == shown[1] else f"{shown[0]} -> {shown[1]}")
            units.append(len(unit_names) - 1)
        for s in (0, 1):
            seen[s] += len(tokens[s])
            if len(tokens[s]) < size:
                inserts[s].append((seen[s] - 1, size - len(tokens[s])))
    texts = tuple(
        _filled(subject, side, extra, fills[s], pair)
        for s, (side, extra) in enumerate(zip((one, two), inserts, strict=True))
    )
    return Aligned(
        texts=(texts[0], texts[1]),
        fills=(tuple(fills[0]), tuple(fills[1])),
        names=tuple(names),
        units=tuple(units),
        unit_names=tuple(unit_names),
    )


def _filled(
    subject: Subject, side: _Read, inserts: list[tuple[int, int]], fills: list[int], pair: str
) -> str:
    """The text with one-token words put in, tried one after the other until nothing else in it changes."""
    if not inserts:
        return side.text
    wanted = list(side.tokens)
    for place in fills:
        wanted.insert(place, "")
    alone = [side.spelled[i] for i, piece in enumerate(side.pieces) if len(piece) == 1]
    tried = [word for word in dict.fromkeys(alone) if word.isalpha()]
    for word in tried:
        text = side.text
        for after, n in reversed(inserts):
            at = max((end for _, end in side.offsets[: after + 1]), default=0)
            text = f"{text[:at]}{f' {word}' * n} {text[at:].lstrip(' ')}"
        row = Rows(ids=("filled",), inputs={"text": _column(text)})
        (found,) = subject.names(row)
        if len(found) == len(wanted) and all(b in ("", a) for a, b in zip(found, wanted, strict=True)):
            return text
    raise DataError(
        f"the texts of {pair} have different numbers of tokens, and no word of theirs can stand in where one is shorter "
        f"(tried {first(tried) or 'none'}): the text may be cut at the model's longest. Leave the pair out."
    )


def _column(text: str) -> np.ndarray:
    return np.array([text], dtype=object)
