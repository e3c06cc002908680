"""A language that is English between brackets: what stands outside them was said by no phrase of it."""

import dataclasses
import json
import re
from itertools import chain
from pathlib import Path

from clinometer.visualizers.fonts import shorten
from clinometer.visualizers.phrases import english
from clinometer.visualizers.wording import opening, spoken

WORD = re.compile(r"[^\W\d_]{2,}")
PARTS = re.compile(r", |; |: | − | & |\s·\s|\n|\(|\)")


def bracketed(folder: Path) -> Path:
    """A language whose every phrase is the English one between brackets."""
    file = folder / "report.xx.json"
    texts = {key: f"⟦{text}⟧" for key, text in english().texts.items()}
    file.write_text(json.dumps({**texts, "page.language": "xx"}), encoding="utf-8")
    return file


def outside_brackets(pieces: list[str]) -> list[str]:
    """What is in no bracket, a piece for each line; pieces may open in one element and close in another."""
    text, depth, kept = "\n".join(pieces), 0, []
    for character in text:
        depth += character == "⟦"
        if depth == 0:
            kept.append(character)
        depth -= character == "⟧"
        assert depth >= 0
    assert depth == 0
    return [line.strip() for line in "".join(kept).splitlines()]


def said_by(value: object) -> set[str]:
    """Every text in a JSON value, keys included, as a page may print it."""
    if isinstance(value, dict):
        return set(chain(*(said_by(key) | said_by(item) for key, item in value.items())))
    if isinstance(value, list):
        return set(chain(*map(said_by, value)))
    if not isinstance(value, str):
        return set()
    forms = {
        value,
        spoken(value),
        opening(value),
        opening(spoken(value)),
        shorten(value, 40),
        shorten(value, 48),
    }
    return forms | {part.strip(" .") for one in forms for part in PARTS.split(one)}


def everything(value: object) -> object:
    """A record as JSON types, fields that are not saved included."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: everything(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): everything(item) for key, item in value.items()}
    return [everything(item) for item in value] if isinstance(value, (list, tuple)) else str(value)
