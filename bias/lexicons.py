"""Identity lexicons: words of one meaning for each group, ready to be swapped for one another.

Every lexicon has a name, a version and a source, which a report states. Those built in are lists of our own
(`identity_terms`); anybody else's are read from a file (`lexicon_files`).
"""

import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from ..errors import DataError, UsageError, did_you_mean, first
from .grammar import ROLES, resolvable
from .word_signs import APOSTROPHES, HYPHENS, LETTERS, in_word, spelt

SHORTEST = 2  # letters of a word: single letters are never swapped


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Words of one meaning by group: the first of a group is what is written, all of them are recognised."""

    forms: Mapping[str, tuple[str, ...]]  # group -> words or phrases
    role: str = ""  # what it is in a sentence, where a word can be several: see `grammar.ROLES`
    capitalised: bool = False  # recognised only where its first letter is a capital, as names are

    @property
    def one_to_one(self) -> bool:
        """Whether a swap there and back gives the original: one word per group, all capitalised alike."""
        words = [form for forms in self.forms.values() for form in forms]
        return len(words) == len(self.forms) and len({word[:1].isupper() for word in words}) == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapLexicon:
    """Entries that can be swapped between the groups of one attribute."""

    name: str
    version: str
    source: str  # who made it, from what
    attribute: str  # what the groups are groups of, e.g. "gender"
    groups: tuple[str, ...]
    entries: tuple[Entry, ...]
    written_only: tuple[str, ...] = ()  # groups whose words are written and never recognised
    plural: tuple[str, ...] = ()  # groups whose subject pronoun takes the verb of a plural
    left_out: tuple[str, ...] = ()  # words of the lists that stand for several groups: never swapped

    def __post_init__(self) -> None:
        for key in ("name", "version", "source", "attribute"):
            value = getattr(self, key)
            if not isinstance(value, str) or not value.strip():
                raise DataError(f"a lexicon's {key} is {value!r}; a text is expected.")
        if len(self.groups) < 2 or len(set(self.groups)) != len(self.groups):
            raise DataError(
                f"the lexicon {self.name!r} has the groups {first(self.groups) or 'none'}; two different ones or more "
                "are needed to swap between."
            )
        if not self.entries:
            raise DataError(f"the lexicon {self.name!r} has no entries.")
        for key in ("written_only", "plural"):
            unknown = [name for name in getattr(self, key) if name not in self.groups]
            if unknown:
                raise DataError(
                    f"{key} of the lexicon {self.name!r} names {first(unknown)}: {did_you_mean(unknown[0], self.groups)}"
                )
        for entry in self.entries:
            self._check(entry)
        self._check_index()

    def _check(self, entry: Entry) -> None:
        shown = {name: list(forms) for name, forms in entry.forms.items()}
        unknown = [name for name in entry.forms if name not in self.groups]
        if unknown:
            raise DataError(
                f"an entry of the lexicon {self.name!r} has words of {first(unknown)}: "
                f"{did_you_mean(unknown[0], self.groups)}"
            )
        if len(entry.forms) < 2 or not all(entry.forms.values()):
            raise DataError(
                f"an entry of the lexicon {self.name!r} is {shown}; words of two groups or more are expected."
            )
        bad = [w for forms in entry.forms.values() for w in forms if not _is_word(w)]
        if bad:
            raise DataError(
                f"the lexicon {self.name!r} has words that cannot be found in a text: {first(bad)}. A word begins and "
                f"ends with a letter or digit and has {SHORTEST} of them or more."
            )
        if entry.role and entry.role not in ROLES:
            raise DataError(
                f"an entry of the lexicon {self.name!r} has the role {entry.role!r}: {did_you_mean(entry.role, ROLES)}"
            )

    def _check_index(self) -> None:
        """A word belongs to one group; to several entries only where grammar tells them apart."""
        for word, places in index(self).items():
            groups = {group for _, group in places}
            if len(groups) > 1:
                raise DataError(
                    f"the lexicon {self.name!r} has {word!r} in the groups {first(sorted(groups))}: nobody can say which "
                    "one a text means. Leave the word out (names_lexicon does so by itself)."
                )
            roles = [entry.role for entry, _ in places]
            if len(places) > 1 and not resolvable(roles):
                raise DataError(
                    f"the lexicon {self.name!r} has {word!r} in {len(places)} entries of one group, with the roles "
                    f"{first(roles)}; only object with determiner, determiner with possessive and adjective with noun "
                    "can be told apart in a text."
                )

    @property
    def recognised(self) -> tuple[str, ...]:
        """Groups whose words are found in texts."""
        return tuple(group for group in self.groups if group not in self.written_only)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of groups, words, roles and flags, in hexadecimal: equal for equal lists."""
        listed = [
            [entry.role, entry.capitalised, {g: list(f) for g, f in sorted(entry.forms.items())}]
            for entry in self.entries
        ]
        all_of_it = [self.groups, self.written_only, self.plural, listed]
        return hashlib.sha256(json.dumps(all_of_it, ensure_ascii=False).encode()).hexdigest()

    @property
    def provenance(self) -> dict[str, str]:
        """What a report states: name, version, source, fingerprint."""
        return {
            "lexicon": self.name,
            "version": self.version,
            "source": self.source,
            "sha256": self.fingerprint,
        }

    def like(self, word: str) -> Entry:
        """The entry that holds this word.

        Raises:
            UsageError: none does, or several.
        """
        places = index(self).get(key(word), [])
        if len(places) != 1:
            known = [form for entry in self.entries for forms in entry.forms.values() for form in forms]
            raise UsageError(
                f"{word!r} is in {len(places)} entries of the lexicon {self.name!r}, one is expected: "
                f"{did_you_mean(word, known)}"
            )
        return places[0][0]

    def __repr__(self) -> str:
        return f"SwapLexicon({self.name} {self.version}: {len(self.entries)} entries, groups {list(self.groups)})"


def key(text: str) -> str:
    """A word or phrase as it is compared: composed, without case, single spaces, all apostrophes and hyphens alike."""
    return " ".join(spelt(unicodedata.normalize("NFC", text).casefold()).split())


def index(lexicon: SwapLexicon, *, with_written: bool = False) -> dict[str, list[tuple[Entry, str]]]:
    """Word -> the entries that hold it, and for which group; without the words that are only written."""
    made: dict[str, list[tuple[Entry, str]]] = {}
    for entry in lexicon.entries:
        for group, forms in entry.forms.items():
            if with_written or group not in lexicon.written_only:
                for form in dict.fromkeys(map(key, forms)):
                    made.setdefault(form, []).append((entry, group))
    return made


def together(*lexicons: SwapLexicon, name: str | None = None) -> SwapLexicon:
    """Several lexicons of the same groups as one, so that a text is swapped by all of them at once.

    Raises:
        UsageError: none is given, or they are of different groups.
        DataError: a word is in two of them.
    """
    if not lexicons:
        raise UsageError("no lexicon is given; one or more are expected.")
    head = lexicons[0]
    for other in lexicons[1:]:
        if set(other.groups) != set(head.groups) or other.attribute != head.attribute:
            raise UsageError(
                f"{head.name!r} is of {head.attribute} ({first(head.groups)}) and {other.name!r} of {other.attribute} "
                f"({first(other.groups)}); lexicons of the same groups can be put together."
            )
    if len(lexicons) == 1 and name is None:
        return head
    return SwapLexicon(
        name=name or " + ".join(one.name for one in lexicons),
        version=" + ".join(dict.fromkeys(one.version for one in lexicons)),
        source="; ".join(dict.fromkeys(one.source for one in lexicons)),
        attribute=head.attribute,
        groups=head.groups,
        entries=tuple(entry for one in lexicons for entry in one.entries),
        written_only=tuple(dict.fromkeys(g for one in lexicons for g in one.written_only)),
        plural=tuple(dict.fromkeys(g for one in lexicons for g in one.plural)),
        left_out=tuple(dict.fromkeys(word for one in lexicons for word in one.left_out)),
    )


def lexicon(name: str) -> SwapLexicon:
    """A lexicon that is built in: see `names`.

    "gender" is pronouns, gendered nouns and names together: what a text needs to stay in one gender.

    Raises:
        UsageError: there is none of this name.
    """
    from . import identity_terms

    if name == "gender":
        parts = (lexicon(part) for part in ("pronouns", "gendered nouns", "names"))
        return together(*parts, name="gender")
    if name not in identity_terms.LISTS:
        raise UsageError(f"there is no lexicon {name!r}: {did_you_mean(name, names())}")
    return _built_in(name)


def names() -> tuple[str, ...]:
    """The lexicons that are built in."""
    from . import identity_terms

    return ("gender", *identity_terms.LISTS)


def lexicon_of(given: "str | SwapLexicon | Sequence[str | SwapLexicon]") -> SwapLexicon:
    """One lexicon from a name, a lexicon, or several of either."""
    if isinstance(given, str):
        return lexicon(given)
    if isinstance(given, SwapLexicon):
        return given
    return together(*(lexicon_of(one) for one in given))


@cache
def _built_in(name: str) -> SwapLexicon:
    from . import identity_terms

    attribute, groups, entries, more = identity_terms.LISTS[name]
    return SwapLexicon(
        name=name,
        version=identity_terms.VERSION,
        source=identity_terms.SOURCE,
        attribute=attribute,
        groups=groups,
        entries=tuple(entries),
        **more,
    )


def _is_word(word: object) -> bool:
    if not isinstance(word, str) or word != word.strip():
        return False
    letters = sum(character.isalnum() and in_word(character) for character in word)
    last = word[-1:]
    ends = not last.isspace() and last not in "." + HYPHENS and (last not in APOSTROPHES or last in LETTERS)
    return letters >= SHORTEST and word[:1].isalnum() and ends
