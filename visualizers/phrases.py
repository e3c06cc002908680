"""Every phrase of the report's page: one file for each language, with fields in braces."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from ..bounded_files import parsed_json, read_json
from ..errors import UsageError, did_you_mean, first

LANGUAGE = "en"
_FIELD = re.compile(r"\{(\w+)\}")
# What a phrase may hold beside text; anything else in angle brackets is shown as it is written.
_MARKS = re.compile(r"&lt;(/?(?:em|strong|code)|br)&gt;")
_TAGS = re.compile(r"</?(?:em|strong|code)>|<br>")
_SPECIAL = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\u00ad": "&shy;"})


class Phrases:
    """The phrases of one language by their keys. Called with a key and fields, it gives HTML."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = dict(texts)

    def __call__(self, key: str, **fields: Any) -> Markup:
        """A phrase as HTML: its `<em>`, `<strong>`, `<code>` and `<br>` stay, the rest is text, fields are escaped.

        Raises:
            KeyError: there is no such phrase, or no such field: an error of the page, which tests hold complete.
        """
        text = _MARKS.sub(r"<\1>", self._texts[key].translate(_SPECIAL))
        return Markup(_FIELD.sub(lambda found: str(escape(fields[found[1]])), text))

    def plain(self, key: str, **fields: Any) -> str:
        """A phrase as text, for what is escaped later."""
        return _FIELD.sub(lambda found: str(fields[found[1]]), _TAGS.sub(" ", self._texts[key]))

    def resaid(self, text: str, keys: Iterable[str]) -> str:
        """What a record says in English words of its own, as this language says it; another text stays as it is.

        Args:
            keys: of phrases whose English may have made the text.
        """
        known = english()
        for key in keys:
            written = _FIELD.split(known.texts[key])  # text, field, text, ...
            pattern = "".join(f"(?P<{one}>.+)" if i % 2 else re.escape(one) for i, one in enumerate(written))
            found = re.fullmatch(pattern, text, re.DOTALL)
            if found:
                return self.plain(key, **found.groupdict())
        return text

    @property
    def texts(self) -> Mapping[str, str]:
        """All phrases as they are written."""
        return dict(self._texts)


_SPOKEN: ContextVar[Phrases | None] = ContextVar("phrases of figures", default=None)


@cache
def english() -> Phrases:
    """The phrases that the page was written in."""
    return Phrases(json.loads(_file(LANGUAGE).read_text(encoding="utf-8")))


def phrases(language: str = LANGUAGE) -> Phrases:
    """The phrases of a language.

    Args:
        language: a name, of `visualizers/static/report.NAME.json`; or the path of such a file, which ends in .json.

    Raises:
        UsageError: there is no such file, or it lacks a phrase or a field of one, or has one more; the first is named.
    """
    if language == LANGUAGE:
        return english()
    if language.endswith(".json"):
        texts = read_json(Path(language), UsageError, way_out="Name a file of phrases.")
        called = language
    else:
        called = f"report.{language}.json"
        if not re.fullmatch(r"[A-Za-z0-9_-]+", language) or not _file(language).is_file():
            raise UsageError(
                f"the report has no phrases in {language!r}: {did_you_mean(language, languages())} Or name a file of them, "
                "which ends in .json; visualizers/static/report.en.json is one to begin with."
            )
        text = _file(language).read_text(encoding="utf-8")
        texts = parsed_json(text, called, UsageError, way_out="Save it again.")
    _refuse(texts, called)
    return Phrases(texts)


@contextmanager
def speaking(say: Phrases) -> Iterator[None]:
    """Inside, figures and the sentences beside them are drawn and said in these phrases."""
    before = _SPOKEN.set(say)
    try:
        yield
    finally:
        _SPOKEN.reset(before)


def current() -> Phrases:
    """The phrases that figures are drawn in: English, but inside `speaking`."""
    return _SPOKEN.get() or english()


def said(key: str, **fields: Any) -> str:
    """A phrase as text, in the language that figures are drawn in."""
    return current().plain(key, **fields)


def languages() -> list[str]:
    """The languages that have a file here."""
    found = (re.fullmatch(r"report\.([\w-]+)\.json", file.name) for file in _static().iterdir())
    return sorted(match[1] for match in found if match)


def _refuse(texts: Any, called: str) -> None:
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise UsageError(f"{called} holds no phrases: an object is expected, with a text for each key.")
    known = english().texts
    missing = [key for key in known if key not in texts]
    if missing:
        raise UsageError(
            f"{called} lacks the phrase {_and_more(missing)}; its English is {known[missing[0]]!r}."
        )
    more = [key for key in texts if key not in known]
    if more:
        raise UsageError(
            f"{called} has a phrase {_and_more(more)} that no page uses: {did_you_mean(more[0], known)}"
        )
    for key, text in known.items():
        wanted, given = (set(_FIELD.findall(one)) for one in (text, texts[key]))
        if wanted != given:
            what = f"lacks {{{min(wanted - given)}}}" if wanted - given else f"has {{{min(given - wanted)}}}"
            fields = first(sorted(wanted)) if wanted else "no fields"
            raise UsageError(
                f"{called}: the phrase {key!r} {what}; {fields} are expected in it, each by its name."
            )


def _and_more(names: Iterable[str]) -> str:
    one, *others = names
    return f"{one!r}{f' (and {len(others)} more)' if others else ''}"


def _static() -> Any:
    return files("clinometer.visualizers") / "static"


def _file(language: str) -> Any:
    return _static() / f"report.{language}.json"
