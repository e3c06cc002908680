"""Maps as few bytes: square roots in 256 steps, thumbnails, and many arrays as one compressed run."""

import base64
import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..records import Floats

Array = npt.NDArray[Any]
ALIGNED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Arrays as one run of bytes, and where each of them lies in it."""

    layout: list[dict[str, Any]]
    data: bytes  # compressed
    raw: int  # bytes before that


def packed(arrays: Mapping[str, Array]) -> Packed:
    """Named arrays one after another, each at a multiple of eight bytes, compressed to the same bytes each time."""
    layout: list[dict[str, Any]] = []
    parts: list[bytes] = []
    at = 0
    for name, array in arrays.items():
        data = np.ascontiguousarray(array).tobytes()
        layout.append({"name": name, "type": array.dtype.name, "shape": list(array.shape), "at": at})
        gap = -len(data) % ALIGNED
        parts += [data, b"\0" * gap]
        at += len(data) + gap
    return Packed(layout=layout, data=gzip.compress(b"".join(parts), 6, mtime=0), raw=at)


def attention_bytes(weights: Floats, full: Floats | float = 1.0) -> npt.NDArray[np.uint8]:
    """Square roots of attention weights in 256 steps of the root of `full`: small weights survive."""
    share = np.clip(np.asarray(weights) / np.maximum(full, 1e-30), 0.0, 1.0)
    made: npt.NDArray[np.uint8] = np.rint(255 * np.sqrt(np.nan_to_num(share))).astype(np.uint8)
    return made


def contribution_bytes(values: Floats, full: Floats | float, levels: int) -> npt.NDArray[np.int8]:
    """Signed square roots of contributions, as so many steps of the root of `full` on each side of zero."""
    share = np.clip(np.nan_to_num(np.asarray(values)) / np.maximum(full, 1e-30), -1.0, 1.0)
    made: npt.NDArray[np.int8] = np.rint(levels * np.sign(share) * np.sqrt(np.abs(share))).astype(np.int8)
    return made


def thumbnails(maps: Floats, side: int) -> Floats:
    """Each map's value of largest size in a square of blocks: (..., query, key) to (..., side, side) at most."""
    values = np.asarray(maps)
    for axis in (-2, -1):
        length = values.shape[axis]
        if length > side:
            starts = np.arange(side) * length // side
            high = np.maximum.reduceat(values, starts, axis=axis)
            low = np.minimum.reduceat(values, starts, axis=axis)
            values = np.where(high >= -low, high, low)
    return values


def largest(values: Floats) -> float:
    """The largest size in an array, 0 where there is none."""
    return float(np.abs(np.nan_to_num(values)).max(initial=0.0))


def image_uri(png: bytes) -> str:
    """A picture as an address that holds it whole."""
    kind = "jpeg" if png[:2] == b"\xff\xd8" else "png"
    return f"data:image/{kind};base64,{base64.b64encode(png).decode()}"
