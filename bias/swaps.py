"""Identity words of a text, swapped for those of another group: what was replaced where, and what is uncertain."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import UsageError, did_you_mean, first
from .grammar import Word, agreement, article_before, listed, resolvable, role_of
from .lexicons import Entry, SwapLexicon, index, key
from .word_signs import APOSTROPHES, ENDINGS, HYPHENS, in_word, spelt
from .word_spans import cased, spans, with_gaps

_APART = frozenset(APOSTROPHES)
SENTENCE_STARTS = re.compile(r"(?:^|[.!?:;…]|\n)[\s\"'“‘«(\[]*$")
# Names and titles that are ordinary words: at the start of a sentence their capital says nothing.
ORDINARY = listed("""
    will may mark bill grace rose rob jack frank hope faith joy dawn june april august summer art gene pat sue drew
    chase grant guy dean earl miss josh wade cliff dale glen heath jay lance max miles nick norm penny pierce
    ray reed rich rusty skip violet victor wren young angel autumn bliss brook candy carol charity clay crystal
    daisy destiny eve ginger harmony hazel heather holly iris ivy jewel lily melody merry mercy olive opal pearl
    poppy prudence ruby sandy star sunny willow
    """)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """One piece of a text that was replaced; characters are counted from 0, ends are excluded."""

    start: int  # in the original
    end: int
    new_start: int  # in the new text
    old: str
    new: str
    source: str  # the group that the old word is of; "" for an article or a verb that had to follow
    target: str
    uncertain: str = ""  # what the text leaves open; "" where the swap is sure


@dataclass(frozen=True, slots=True, kw_only=True)
class SwappedText:
    """A text before and after a swap."""

    original: str
    text: str
    replacements: tuple[Replacement, ...]
    no_word: tuple[str, ...]  # words of the lexicon that have no counterpart in the group asked for

    @property
    def uncertain(self) -> tuple[str, ...]:
        """What the text leaves open, in words; empty where every swap is sure."""
        return tuple(dict.fromkeys(one.uncertain for one in self.replacements if one.uncertain))

    @property
    def direction(self) -> str:
        """Which groups became which, e.g. "male -> female"; several where the text named several."""
        kinds = {(one.source, one.target) for one in self.replacements if one.source}
        return " & ".join(f"{source} -> {target}" for source, target in sorted(kinds))


def swap(
    text: str, lexicon: SwapLexicon, *, to: str | None = None, between: tuple[str, str] | None = None
) -> SwappedText:
    """The text with the words of one group in place of another's.

    Words are found whole, without regard to case, and not inside a hyphenated compound ("man-made") unless the lexicon
    has the compound; the longest of several matches is taken. Capitals are kept (he, He, HE), a possessive ending
    stays ("mother's"), "a" and "an" follow their new word. Grammar and its limits: `grammar.role_of`. Apostrophes and
    hyphens are those of `word_signs`, however they are typed; a word with anything but 's, 'd, 'll, 're, 've or 'm
    after its apostrophe is uncertain: it may be a part of another word.

    With `between`, words of either group become the other's: where every entry is one-to-one and nothing is
    uncertain, the same swap again gives the original. With `to`, words of all other groups become that group's.

    Args:
        to: a group of the lexicon.
        between: two groups that it recognises; by default its two groups where it has no more.

    Raises:
        UsageError: both or neither of `to` and `between`, or a group that the lexicon does not have.
    """
    return Swapper(lexicon, to=to, between=between)(text)


class Swapper:
    """One swap, ready to be applied to many texts."""

    def __init__(
        self, lexicon: SwapLexicon, *, to: str | None = None, between: tuple[str, str] | None = None
    ) -> None:
        self.lexicon = lexicon
        self.targets = _targets(lexicon, to, between)
        self.name = f"to {to}" if to is not None else " <-> ".join(self.targets)
        self.index = index(lexicon)
        self.nouns = frozenset(
            word
            for word, places in self.index.items()
            if all(entry.role in ("", "noun") for entry, _ in places)
        )
        self.longest = max((len(spans(word)) for word in self.index), default=1)

    def __call__(self, text: str) -> SwappedText:
        """The text swapped; see `swap`."""
        places = spans(text)
        words = with_gaps(text, places)
        edits: dict[int, _Edit] = {}
        missing: list[str] = []
        at = 0
        while at < len(places):
            found = self._longest_at(text, places, at)
            if found is None:
                at += 1
                continue
            size, bounds, candidates = found
            made = self._edit(text, bounds, words, at, size, candidates)
            if isinstance(made, str):
                missing.append(made)
            elif made is not None:
                edits[made.start] = made
                self._follow(text, places, words, at, size, made, edits)
            at += size
        return _applied(
            text, sorted(edits.values(), key=lambda edit: edit.start), tuple(dict.fromkeys(missing))
        )

    def _longest_at(
        self, text: str, places: list[tuple[int, int]], at: int
    ) -> tuple[int, tuple[int, int], list[tuple[Entry, str]]] | None:
        """How many words the longest match from here has, where it stands, and its entries.

        An apostrophe at an end is of the match where the lexicon has the word with it, as languages do that write
        a sound so.
        """
        start = places[at][0]
        if _glued_before(text, start):
            return None
        for size in range(min(self.longest, len(places) - at), 0, -1):
            end = places[at + size - 1][1]
            if _glued_after(text, end):
                continue
            before = start > 0 and text[start - 1] in _APART
            after = text[end : end + 1] in _APART and not in_word(text[end + 1 : end + 2] or " ")
            for bounds in _around(start, end, before, after):
                candidates = self.index.get(key(text[slice(*bounds)]), [])
                if candidates and not (candidates[0][0].capitalised and not text[start].isupper()):
                    return size, bounds, candidates
        return None

    def _edit(
        self,
        text: str,
        bounds: tuple[int, int],
        words: list[Word],
        at: int,
        size: int,
        candidates: list[tuple[Entry, str]],
    ) -> "_Edit | str | None":
        """The replacement of one match; None where its group stays, the word where the other group has none."""
        start, end = bounds
        old, source = text[start:end], candidates[0][1]
        target = self.targets.get(source)
        if target is None:
            return None
        able = [entry for entry, _ in candidates if target in entry.forms]
        if not able:
            return old
        why = ""
        entry = able[0]
        if len({one.forms[target][0] for one in able}) > 1 and resolvable([one.role for one in able]):
            last = at + size - 1
            roles = [one.role for one in able]
            role = role_of(roles, words[:at], words[last], words[last + 1 :], self.nouns)
            entry = next(one for one in able if one.role == role.name)
            why = role.why
        lexical = next(form for form in entry.forms[source] if key(form) == key(old))
        opening = bool(SENTENCE_STARTS.search(text[max(0, start - 20) : start]))
        if not why and entry.capitalised and opening and key(old) in ORDINARY:
            why = f'"{old}" begins a sentence and may be an ordinary word'
        new = cased(spelt(old), spelt(lexical), entry.forms[target][0], opening=opening)
        why = why or _after_apostrophe(text, end, old, new, words[at + size :])
        return _Edit(start=start, end=end, new=new, source=source, target=target, why=why, entry=entry)

    def _follow(
        self,
        text: str,
        places: list[tuple[int, int]],
        words: list[Word],
        at: int,
        size: int,
        made: "_Edit",
        edits: "dict[int, _Edit]",
    ) -> None:
        """The article before, and the verb after, that have to go with the new word."""
        if at > 0 and words[at - 1].text in {"a", "an"} and not words[at - 1].gap.strip():
            start, end = places[at - 1]
            article = article_before(text[start:end], text[made.start : made.end], made.new)
            if article is not None and start not in edits:
                edits[start] = _Edit(start=start, end=end, new=article)
        if made.target in self.lexicon.plural and made.entry is not None and made.entry.role == "subject":
            last = at + size - 1
            verb = agreement(words[:at], words[last], words[last + 1 :])
            if verb is None:
                return
            if verb.place == 0:
                made.why = made.why or verb.why
                return
            place = last + verb.place if verb.place > 0 else at + verb.place
            start, end = places[place]
            new = cased(text[start:end], words[place].text, verb.new, opening=False)
            edits[start] = _Edit(start=start, end=end, new=new, why=verb.why)


@dataclass(slots=True, kw_only=True)
class _Edit:
    start: int
    end: int
    new: str
    source: str = ""
    target: str = ""
    why: str = ""
    entry: Entry | None = None


def _targets(lexicon: SwapLexicon, to: str | None, between: tuple[str, str] | None) -> Mapping[str, str]:
    """Which group's words become which group's."""
    recognised = lexicon.recognised
    if to is not None and between is not None:
        raise UsageError(f"to={to!r} and between={between!r}: give one of them.")
    if to is not None:
        if to not in lexicon.groups:
            raise UsageError(
                f"the lexicon {lexicon.name!r} has no group {to!r}: {did_you_mean(to, lexicon.groups)}"
            )
        return {group: to for group in recognised if group != to}
    if between is None:
        if len(recognised) != 2 or len(lexicon.groups) != 2:
            raise UsageError(
                f"the lexicon {lexicon.name!r} has the groups {first(lexicon.groups, 30)}: say to='...' or "
                "between=('...', '...')."
            )
        between = (recognised[0], recognised[1])
    unknown = [group for group in between if group not in recognised]
    if unknown or len(set(between)) != 2:
        raise UsageError(
            f"between={between!r}: two different groups that {lexicon.name!r} finds in texts are expected, of "
            f"{first(recognised, 30)}."
        )
    return {between[0]: between[1], between[1]: between[0]}


def _glued_before(text: str, start: int) -> bool:
    """Whether a hyphen or an apostrophe ties the word to the one before it."""
    return start > 1 and text[start - 1] in HYPHENS + APOSTROPHES and in_word(text[start - 2])


def _glued_after(text: str, end: int) -> bool:
    return end + 1 < len(text) and text[end] in HYPHENS and in_word(text[end + 1])


def _around(start: int, end: int, before: bool, after: bool) -> list[tuple[int, int]]:
    """A match with the apostrophes at its ends, where there are any, and without: the longest first."""
    bounds = [(start - 1, end + 1)] if before and after else []
    return [
        *bounds,
        *([(start - 1, end)] if before else []),
        *([(start, end + 1)] if after else []),
        (start, end),
    ]


def _after_apostrophe(text: str, end: int, old: str, new: str, following: Sequence[Word]) -> str:
    """What an apostrophe after the word leaves open; "" where there is none, or it settles all."""
    sign, then = text[end : end + 1], text[end + 1 : end + 2]
    if sign == "" or sign not in APOSTROPHES:
        return ""
    if then and in_word(then):
        rest = following[0].text if following else ""
        return "" if spelt(rest) in ENDINGS else f'"{old}{sign}{rest}" may be one word'
    if old[-1:].casefold() == "s" and new[-1:].casefold() != "s":
        return f'"{old}{sign}" may be a possessive, which "{new}" forms otherwise'
    return ""


def _applied(text: str, edits: Sequence[_Edit], missing: tuple[str, ...]) -> SwappedText:
    parts: list[str] = []
    made: list[Replacement] = []
    reached, length = 0, 0
    for edit in edits:
        kept = text[reached : edit.start]
        length += len(kept)
        made.append(
            Replacement(
                start=edit.start,
                end=edit.end,
                new_start=length,
                old=text[edit.start : edit.end],
                new=edit.new,
                source=edit.source,
                target=edit.target,
                uncertain=edit.why,
            )
        )
        parts += [kept, edit.new]
        length += len(edit.new)
        reached = edit.end
    parts.append(text[reached:])
    return SwappedText(original=text, text="".join(parts), replacements=tuple(made), no_word=missing)
