"""Where the words of a text stand, in any script, and how they are capitalised."""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache

from .grammar import Word
from .word_signs import LETTERS, UNSEEN

MARKS_END = 0x20000  # combining marks lie below, but for the variation selectors of the last plane
SELECTORS = "\U000e0100-\U000e01ef"


def spans(text: str) -> list[tuple[int, int]]:
    """Characters [start, end) of every unbroken run of letters, digits, underscores and their marks.

    Apostrophes part words, also those that Unicode counts among the letters: "Mary" stands in "Maryʼs" as in "Mary's".
    What nobody sees (a soft hyphen, a joiner) is of a word where letters stand on both sides of it.
    """
    return [match.span() for match in _pattern().finditer(text)]


def with_gaps(text: str, places: Sequence[tuple[int, int]]) -> list[Word]:
    """Each word without case, and what stands between it and the next one, or the end."""
    ends = [start for start, _ in [*places, (len(text), 0)][1:]]
    return [
        Word(text[start:end].casefold(), text[end:following])
        for (start, end), following in zip(places, ends, strict=True)
    ]


def cased(found: str, old: str, new: str, *, opening: bool) -> str:
    """The new word with the capitals of the one found, which the lexicon writes as `old`.

    Args:
        opening: the word begins a sentence, where a capital is no part of the word.
    """
    if found == old:
        return capital(new) if opening and found[:1].isupper() else new
    if found.isupper():
        return new.upper()
    if found.islower():
        return new.lower()
    if found == capital(old):
        return capital(new)
    if found.istitle():
        return " ".join(capital(part) for part in new.split(" "))
    return new


def capital(word: str) -> str:
    """The word with its first letter a capital."""
    return word[:1].upper() + word[1:]


@cache
def _pattern() -> re.Pattern[str]:
    """A word, where `\\w` alone would part a letter from its combining marks and keep some apostrophes."""
    ranges: list[list[int]] = []
    for code in range(MARKS_END):
        if unicodedata.category(chr(code))[0] == "M":
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    marks = "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in ranges)
    letters = f"(?:(?![{LETTERS}])[\\w{SELECTORS}{marks}])+"
    return re.compile(f"{letters}(?:[{UNSEEN}]+{letters})*")
