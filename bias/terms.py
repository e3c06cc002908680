"""Texts as groups: which terms of a lexicon a text holds, whole words only.

Letters are compared without case (Unicode case folding) after canonical composition; accents count. A word is an
unbroken run of letters, marks and digits, so that "women" is in "women's" and not in "womenfolk". The words of a
term of several may be parted by spaces, hyphens or apostrophes: "african american" is in "African-American",
and not in "African. American". Scripts that put no space between words: a Han or kana character is a word
of its own, so that a term there is found wherever its characters follow each other; texts in Thai, Lao, Khmer or Burmese
have to be divided by spaces first.
"""

import dataclasses
import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from ..bounded_files import read_toml
from ..errors import DataError, UsageError, did_you_mean, first
from ..evidence import Evidence

YES, NO = "yes", "no"
JOINERS = "-‐‑‒–'’ʼ"  # hyphens and apostrophes: they part words and leave a term whole
INSIDE = "\u200c\u200d"  # joiners of letters, which belong to a word
BREAK = " | "  # whatever else parts words, and ends a term


@dataclass(frozen=True, slots=True, kw_only=True)
class Lexicon:
    """Named groups of terms, with the version and the source that a report has to state."""

    name: str
    version: str
    source: str  # who wrote it, from what
    terms: Mapping[str, tuple[str, ...]]  # group -> words and phrases
    language: str | None = None

    def __post_init__(self) -> None:
        for key in ("name", "version", "source"):
            value = getattr(self, key)
            if not isinstance(value, str) or not value.strip():
                raise DataError(f"a lexicon's {key} is {value!r}; a text is expected.")
        if not self.terms:
            raise DataError(f"the lexicon {self.name!r} has no terms: add [terms] with at least one group.")
        for group, words in self.terms.items():
            empty = [word for word in words if not canonical(word).strip(" |")]
            if not words or empty:
                raise DataError(
                    f"the group {group!r} of the lexicon {self.name!r} has "
                    + (f"terms without a letter or digit: {first(empty)}." if empty else "no terms.")
                )
            broken = [word for word in words if "|" in canonical(word)]
            if broken:
                raise DataError(
                    f"terms of {group!r} hold a sign that ends a term: {first(broken)}. "
                    "Use letters, digits, spaces, hyphens and apostrophes."
                )

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the terms as they are compared, in hexadecimal: equal for equal groups and words."""
        compared = {group: sorted({canonical(w) for w in words}) for group, words in self.terms.items()}
        return hashlib.sha256(json.dumps(compared, sort_keys=True).encode()).hexdigest()


def read_lexicon(path: str | Path) -> Lexicon:
    """The lexicon of a TOML file: name, version, source, perhaps language, and a table [terms].

    Each key of [terms] is a group and its value a list of words and phrases.

    Raises:
        DataError: the file is missing, no UTF-8, no TOML, or says something else than that.
    """
    file = Path(path)
    values = read_toml(file, DataError, way_out="Name a lexicon's TOML file.")
    known = [field.name for field in dataclasses.fields(Lexicon)]
    for key in values:
        if key not in known:
            raise DataError(f"{file}: there is no key {key!r}: {did_you_mean(key, known)}")
    absent = [key for key in ("name", "version", "source", "terms") if key not in values]
    if absent:
        raise DataError(f"{file} lacks {first(absent)}. A lexicon says its name, version, source and terms.")
    terms: Any = values["terms"]
    if not isinstance(terms, dict) or not all(
        isinstance(words, list) and all(isinstance(word, str) for word in words) for words in terms.values()
    ):
        raise DataError(f'{file}: [terms] is a table of lists of texts, e.g. women = ["woman", "women"].')
    try:
        return Lexicon(**{**values, "terms": {group: tuple(words) for group, words in terms.items()}})
    except DataError as error:
        raise DataError(f"{file}: {error}") from error


def lexicon_toml(lexicon: Lexicon) -> str:
    """A lexicon as the text of a TOML file that reads back to the same lexicon."""

    def quote(text: str) -> str:
        return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")

    lines = [f"{key} = {quote(getattr(lexicon, key))}" for key in ("name", "version", "source")]
    if lexicon.language is not None:
        lines.append(f"language = {quote(lexicon.language)}")
    lines += ["", "[terms]"]
    lines += [f"{quote(g)} = [{', '.join(map(quote, words))}]" for g, words in lexicon.terms.items()]
    return "\n".join(lines) + "\n"


def term_groups(texts: Sequence[str | None], lexicon: Lexicon) -> dict[str, tuple[str | None, ...]]:
    """For each group of the lexicon "yes" or "no" per text; a text may be in several, or in none.

    Args:
        texts: (example,) None is missing: it is in no group and out of none.
        lexicon: groups of terms.

    Returns:
        group -> (example,) "yes", "no" or None.

    Raises:
        DataError: a text is something else.
    """
    words = {group: [f" {canonical(word)} " for word in terms] for group, terms in lexicon.terms.items()}
    prepared = [None if text is None else f" {canonical(text)} " for text in _texts(texts)]
    return {
        group: tuple(
            None if text is None else (YES if any(term in text for term in terms) else NO)
            for text in prepared
        )
        for group, terms in words.items()
    }


def add_terms(evidence: Evidence, text: str, lexicon: Lexicon, *, language: str | None = None) -> Evidence:
    """Evidence with one group column per group of the lexicon, "religions: jewish", yes or no.

    The lexicon's name, version, source and fingerprint go into the provenance.

    Args:
        evidence: rows with a column of texts.
        text: its name.
        lexicon: groups of terms.
        language: the column that says each text's language. Where it is not the lexicon's, membership is unknown:
            that no English term is in a Spanish text says nothing of whom it mentions.

    Raises:
        DataError: there is no such column, or a column of a group's name is there already.
        UsageError: a language column, and a lexicon that does not say its language.
    """
    for column in (text, language):
        if column is not None and column not in evidence.table.column_names:
            raise DataError(
                f"there is no column {column!r}: {did_you_mean(column, evidence.table.column_names)}"
            )
    table, names = evidence.table, []
    texts = table.column(text).to_pylist()
    if language is not None:
        if lexicon.language is None:
            raise UsageError(
                f"the lexicon {lexicon.name!r} does not say its language: add language = ... to it."
            )
        spoken = evidence.group(language)
        texts = [t if said == lexicon.language else None for t, said in zip(texts, spoken, strict=True)]
    for group, members in term_groups(texts, lexicon).items():
        name = f"{lexicon.name}: {group}"
        if name in table.column_names:
            raise DataError(f"the column {name!r} is there already. Name the lexicon otherwise.")
        table = table.append_column(name, pa.array(members, type=pa.string()))
        names.append(name)
    said = {
        "version": lexicon.version,
        "source": lexicon.source,
        "terms_sha256": lexicon.fingerprint,
        "of": text,
    }
    lexicons = {**dict(evidence.provenance.get("lexicons", {})), lexicon.name: said}
    return dataclasses.replace(
        evidence,
        table=table,
        groups=(*evidence.groups, *names),
        provenance={**evidence.provenance, "lexicons": lexicons},
    )


def text_lengths(
    texts: Sequence[str | None], unit: Literal["words", "characters"] = "words"
) -> tuple[int | None, ...]:
    """The length of each text, None where it is missing; `bins.bins` makes groups of it.

    Words are those that terms are made of. Characters are code points after canonical composition, with spaces.

    Raises:
        UsageError: another unit.
        DataError: a text is something else.
    """
    if unit not in {"words", "characters"}:
        raise UsageError(f"the unit is {unit!r}: {did_you_mean(str(unit), ('words', 'characters'))}")
    checked = _texts(texts)
    if unit == "words":
        return tuple(
            None if text is None else sum(part != "|" for part in canonical(text).split()) for text in checked
        )
    return tuple(None if text is None else len(unicodedata.normalize("NFC", text)) for text in checked)


def canonical(text: str) -> str:
    """Words without case, parted by one space; " | " stands where a sign ends a term."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return " ".join(folded.translate(_TABLE).split())


class _Characters(dict[int, str]):
    """What becomes of each character, worked out when it is first met."""

    def __missing__(self, code: int) -> str:
        made = self[code] = _character(chr(code))
        return made


def _character(sign: str) -> str:
    if sign in INSIDE:
        return sign
    if sign.isspace() or sign in JOINERS:
        return " "
    if unicodedata.category(sign)[0] not in "LMN":
        return BREAK
    name = unicodedata.name(sign, "")
    alone = name.startswith(
        ("CJK UNIFIED", "CJK COMPATIBILITY IDEOGRAPH", "HIRAGANA LETTER", "KATAKANA LETTER")
    )
    return f" {sign} " if alone else sign


_TABLE = _Characters()


def _texts(texts: Sequence[str | None]) -> list[str | None]:
    made: list[str | None] = []
    bad = []
    for i, text in enumerate(texts):
        missing = text is None or type(text).__name__ == "NAType" or text != text
        if not missing and not isinstance(text, str):
            bad.append(i)
        made.append(None if missing else text)
    if bad:
        raise DataError(
            f"{len(bad)} texts are no text, e.g. {texts[bad[0]]!r}; first rows, counted from 0: {first(bad)}."
        )
    return made
