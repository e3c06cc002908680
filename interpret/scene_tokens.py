"""What the tokens of an example are to a reader: pieces of a text, features with values, windows, patches."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError, UsageError
from ..records import Floats, Rows
from ..scenes import Kind, Picture
from .models import Batch, Subject
from .spans import words as words_of

LONGEST_VALUE = 60  # characters of a feature's value
MOST_SAMPLES = 4000  # of a recording that are drawn; longer ones are thinned out evenly


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The tokens along the keys of an example's maps, the model's own prefix included."""

    kind: Kind
    tokens: tuple[str, ...]
    words: tuple[int, ...]  # the word each is a part of; -1 where it is none
    values: tuple[str, ...] = ()  # of a table
    picture: Picture | None = None


def kind_of(subject: Subject) -> Kind:
    """What a subject reads, as far as it tells; a module of one's own over numbered tokens counts as text."""
    if "pixels" in subject.columns:
        return "image"
    if "series" in subject.columns or "audio" in subject.columns:
        return "series"
    architecture: Any = getattr(subject.module, "architecture", None)
    return "table" if getattr(architecture, "kind", "") == "table" else "text"


def shown(subject: Subject, row: Rows, *, channels: Sequence[str] = ()) -> Shown:
    """The tokens of one row, readable.

    Texts: each token as the characters that it stands for, but for markers and unknown words, which keep their names.
    Images: the picture as the model reads it, its values stretched to the full range. Series and recordings: the curve,
    and the window of each token in it; where a model reads a spectrogram, that as a picture.

    Args:
        row: one row.
        channels: names of a series' channels, where they are known.

    Raises:
        DataError: more than one row.
        UsageError: other channels than the series has.
    """
    if len(row) != 1:
        raise DataError(f"{len(row)} rows are given; one is expected.")
    names = subject.names(row)[0]
    before = len(subject.prefix)
    kind = kind_of(subject)
    if kind == "image":
        return _patches(subject, row, names)
    if kind == "series":
        batch = {} if "series" in subject.columns else subject.encode(row)
        if "input_features" in batch:
            return _frames(subject, batch, names)
        return _windows(subject, row, names, channels)
    if kind == "table":
        values = tuple(_value(row.inputs.get(name)) for name in names)
        return Shown(
            kind=kind,
            tokens=(*subject.prefix, *names),
            words=(*[-1] * before, *range(len(names))),
            values=(*[""] * before, *values),
        )
    if subject.characters is None:
        return Shown(kind=kind, tokens=(*subject.prefix, *names), words=(*[-1] * before, *range(len(names))))
    pieces, words = _pieces(subject, row, names)
    return Shown(kind=kind, tokens=(*subject.prefix, *pieces), words=(*[-1] * before, *words))


def _pieces(subject: Subject, row: Rows, names: Sequence[str]) -> tuple[list[str], list[int]]:
    """Each token as its characters, and its word."""
    if subject.characters is None:
        return list(names), list(range(len(names)))
    text, offsets = subject.characters(row)[0]
    index, ranges = words_of(text, offsets)
    kept = {*subject.special, *_unknown(subject)}
    pieces = [
        name if name in kept or start == end or not text[start:end].strip() else text[start:end].strip()
        for name, (start, end) in zip(names, offsets, strict=True)
    ]
    marked = [start == end for start, end in ranges]
    return pieces, [-1 if marked[i] else i for i in index]


def _unknown(subject: Subject) -> tuple[str, ...]:
    number = subject.fillers.get("unknown")
    return () if number is None or subject.decode is None else subject.decode([number])


def _value(column: Any) -> str:
    if column is None:
        return ""
    value = np.asarray(column)[0]
    if isinstance(value, (float, np.floating)):
        return "missing" if np.isnan(value) else f"{value:.6g}"
    said = "missing" if value is None else str(value)
    return said if len(said) <= LONGEST_VALUE else said[: LONGEST_VALUE - 1] + "…"


def _patches(subject: Subject, row: Rows, names: Sequence[str]) -> Shown:
    """A grid of patches, row by row, over the picture."""
    places = [tuple(int(part.split()[1]) for part in name.split(", ")) for name in names]
    n_rows, n_columns = (1 + max(place[axis] for place in places) for axis in (0, 1))
    boxes = np.zeros((len(subject.prefix) + len(names), 4))
    for i, (down, across) in enumerate(places):
        boxes[len(subject.prefix) + i] = (
            across / n_columns,
            down / n_rows,
            (across + 1) / n_columns,
            (down + 1) / n_rows,
        )
    seen = subject.encode(row)["pixel_values"][0].detach().float().cpu().numpy().transpose(1, 2, 0)
    return Shown(
        kind="image",
        tokens=(*subject.prefix, *names),
        words=(-1,) * len(boxes),
        picture=Picture(png=png(_stretched(seen)), boxes=boxes),
    )


def _stretched(image: Floats) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    low, high = float(image.min()), float(image.max())
    scaled = (image - low) / (high - low) if high > low else np.full_like(image, 0.5)
    whole = np.round(255 * scaled).astype(np.uint8)
    return np.repeat(whole, 3, axis=2) if whole.shape[2] == 1 else whole


def png(pixels: "np.ndarray[Any, np.dtype[np.uint8]]") -> bytes:
    """Pixels (height, width, red green blue) as a PNG (W3C Recommendation of 2003, one IDAT, no filter)."""
    height, width, _ = pixels.shape
    lines = b"".join(b"\x00" + pixels[i].tobytes() for i in range(height))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(lines, 6))
        + chunk(b"IEND", b"")
    )


def _frames(subject: Subject, batch: Batch, names: Sequence[str]) -> Shown:
    """A spectrogram, high tones on top, and each token's stretch of it."""
    mel = batch["input_features"][0].detach().float().cpu().numpy()[::-1, :, None]
    before, n = len(subject.prefix), len(names)
    boxes = np.zeros((before + n, 4))
    boxes[before:, 0], boxes[before:, 2], boxes[before:, 3] = np.arange(n) / n, (np.arange(n) + 1) / n, 1.0
    return Shown(
        kind="image",
        tokens=(*subject.prefix, *names),
        words=(-1,) * len(boxes),
        picture=Picture(png=png(_stretched(mel)), boxes=boxes),
    )


def _windows(subject: Subject, row: Rows, names: Sequence[str], channels: Sequence[str]) -> Shown:
    """Windows of a series, or the stretches of a recording."""
    recorded = "series" not in subject.columns
    column = "audio" if recorded else "series"
    curve = np.asarray(np.asarray(row.inputs[column])[0], dtype=np.float64)
    curve = curve[:, None] if curve.ndim == 1 else curve
    names_of = tuple(channels) or (
        ("recording",) if recorded else tuple(f"channel {i}" for i in range(curve.shape[1]))
    )
    if len(names_of) != curve.shape[1]:
        raise UsageError(f"{len(names_of)} channels are named and the series has {curve.shape[1]}.")
    n = len(names)
    if recorded:
        starts, ends = np.arange(n) / n, (np.arange(n) + 1) / n
    else:
        architecture: Any = subject.module.architecture
        starts = np.arange(n) * architecture.stride / len(curve)
        ends = starts + architecture.patch / len(curve)
    step = -(-len(curve) // MOST_SAMPLES)
    before = len(subject.prefix)
    boxes = np.zeros((before + n, 4))
    boxes[before:, 0], boxes[before:, 2], boxes[before:, 3] = starts, ends, 1.0
    return Shown(
        kind="series",
        tokens=(*subject.prefix, *names),
        words=(-1,) * len(boxes),
        picture=Picture(series=curve[::step], channels=names_of, boxes=boxes),
    )
