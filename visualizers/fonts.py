"""Names as a figure can draw them: in a font that has their script, shortened, and a box where there is none."""

import functools
import logging
import unicodedata
from collections.abc import Iterable

from matplotlib import font_manager

MISSING = "□"
# One font for each script, the first of each line that this machine has: Noto where it is installed, else what
# Windows and macOS bring. Fonts of coloured emoji are bitmaps, which matplotlib cannot draw.
FAMILIES = (
    (
        "Noto Sans CJK JP",
        "Noto Sans CJK SC",
        "Source Han Sans",
        "WenQuanYi Zen Hei",
        "Hiragino Sans",
        "Yu Gothic",
        "Microsoft YaHei",
    ),
    ("Noto Sans CJK KR", "Malgun Gothic", "Apple SD Gothic Neo"),
    ("Noto Sans Arabic", "Segoe UI", "Geeza Pro", "Arial"),
    ("Noto Sans Hebrew", "Arial Hebrew", "Arial"),
    ("Noto Sans Devanagari", "Nirmala UI", "Kohinoor Devanagari"),
    ("Noto Sans Bengali", "Nirmala UI", "Kohinoor Bangla"),
    ("Noto Sans Gurmukhi", "Nirmala UI", "Gurmukhi MN"),
    ("Noto Sans Gujarati", "Nirmala UI", "Kohinoor Gujarati"),
    ("Noto Sans Tamil", "Nirmala UI", "Tamil Sangam MN"),
    ("Noto Sans Telugu", "Nirmala UI", "Kohinoor Telugu"),
    ("Noto Sans Kannada", "Nirmala UI", "Kannada Sangam MN"),
    ("Noto Sans Malayalam", "Nirmala UI", "Malayalam Sangam MN"),
    ("Noto Sans Sinhala", "Nirmala UI", "Sinhala Sangam MN"),
    ("Noto Sans Thai", "Leelawadee UI", "Thonburi"),
    ("Noto Sans Lao", "Leelawadee UI", "Lao Sangam MN"),
    ("Noto Sans Khmer", "Leelawadee UI", "Khmer Sangam MN"),
    ("Noto Sans Myanmar", "Myanmar Text", "Myanmar Sangam MN"),
    ("Noto Sans Ethiopic", "Ebrima", "Kefa"),
    ("Noto Sans Georgian", "Sylfaen"),
    ("Noto Sans Armenian", "Sylfaen"),
    ("Noto Emoji", "Segoe UI Emoji", "Symbola"),
    ("Noto Sans Symbols2", "Noto Sans Symbols 2", "Segoe UI Symbol", "Apple Symbols"),
)


@functools.cache
def fonts() -> tuple[str, ...]:
    """DejaVu Sans, which comes with matplotlib, then one font of this machine for each script of `FAMILIES`.

    matplotlib keeps a list of fonts and does not look again: fonts installed since are added to it here.
    """
    known = {entry.fname for entry in font_manager.fontManager.ttflist}
    for path in sorted(font_manager.findSystemFonts()):
        if path not in known:
            try:
                font_manager.fontManager.addfont(path)
            except (OSError, RuntimeError):
                continue  # no outlines, or no font: it can draw nothing for us
    logging.getLogger("matplotlib.font_manager").addFilter(_tells_something)
    here = {entry.name for entry in font_manager.fontManager.ttflist}
    found = [next((name for name in family if name in here), None) for family in FAMILIES]
    return tuple(dict.fromkeys(["DejaVu Sans", *[name for name in found if name is not None]]))


def _tells_something(record: logging.LogRecord) -> bool:
    """False for the remark that a font of another script has no bold face: its regular one is what is wanted."""
    return not (
        str(record.msg).startswith("findfont: Failed to find font weight")
        and "DejaVu" not in str(record.args)
    )


@functools.cache
def _drawable() -> frozenset[int]:
    found: set[int] = set()
    for name in fonts():
        path = font_manager.findfont(font_manager.FontProperties(family=name))
        found |= set(font_manager.get_font(path).get_charmap())
    return frozenset(found)


def width_of(text: str) -> int:
    """Columns that a text takes: wide characters count twice, combining ones not at all."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def shorten(text: str, limit: int = 28) -> str:
    """A name that fits, its middle left out: names differ at their ends. Control characters become spaces."""
    flat = "".join(" " if unicodedata.category(c)[0] == "C" else c for c in text[: 4 * limit])
    tail = "".join(" " if unicodedata.category(c)[0] == "C" else c for c in text[-4 * limit :])
    if len(text) <= 4 * limit and width_of(flat) <= limit:
        return flat
    front, back = "", ""
    for c in flat:
        if width_of(front + c) > limit // 2:
            break
        front += c
    for c in reversed(tail):
        if width_of(c + back) > limit - limit // 2 - 1:
            break
        back = c + back
    return f"{front}…{back}"


def label(text: str, limit: int = 28) -> str:
    """A name as a figure can draw it: short, and a box for each character that no font here has."""
    return "".join(c if ord(c) in _drawable() else MISSING for c in shorten(text, limit) if not _variant(c))


def undrawable(names: Iterable[str]) -> tuple[str, ...]:
    """The characters of some names that figures drawn on this machine show as a box, in their order."""
    seen = dict.fromkeys(c for name in names for c in name)
    return tuple(
        c for c in seen if unicodedata.category(c)[0] != "C" and not _variant(c) and ord(c) not in _drawable()
    )


def _variant(c: str) -> bool:
    """A variation selector: it asks for another look of the character before it, and draws nothing itself."""
    return "\ufe00" <= c <= "\ufe0f"
