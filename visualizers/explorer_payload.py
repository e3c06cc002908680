"""Examples as the explorer's script reads them: words as JSON, numbers as bytes, within a budget."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError
from ..records import Floats, plain
from ..scenes import Gap, Scene
from .explorer_bytes import (
    ALIGNED,
    Array,
    Packed,
    attention_bytes,
    contribution_bytes,
    image_uri,
    largest,
    packed,
    thumbnails,
)

BUDGET = 8_000_000  # bytes of numbers in one view or one page, before they are compressed
LIGHT = 2_500_000  # compressed bytes from which on A x dA is kept in fewer steps
LEVELS = (127, 31, 15)  # steps of A x dA on each side of zero
SNIPPET = 140  # characters of an example in the table of examples
WHOLE = 2_000_000  # cells of the largest map that is sent whole
FIRST_SHARE = 0.6  # of a page's budget for the maps of its first example


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedScene:
    """One example: what is drawn at once, and the maps that come after."""

    words: dict[str, Any]
    first: Packed
    maps: Packed

    @property
    def raw(self) -> int:
        """Bytes of numbers before compression."""
        return self.first.raw + self.maps.raw

    @property
    def compressed(self) -> int:
        """Bytes of numbers as they travel."""
        return len(self.first.data) + len(self.maps.data)


def full_map(scene: Scene, layer: int, head: int) -> tuple[Floats, Floats | None]:
    """One head's attention and contribution at every query and key, from wherever the example has them."""
    if scene.attention is not None:
        held = None if scene.contribution is None else np.asarray(scene.contribution[layer, head])
        return np.asarray(scene.attention[layer, head]), held
    window = (0, len(scene.queries), 0, len(scene.tokens))
    return detail(scene, layer, head, window)


def detail(
    scene: Scene, layer: int, head: int, window: tuple[int, int, int, int]
) -> tuple[Floats, Floats | None]:
    """A window (first and last query + 1, first and last key + 1) of one head.

    Raises:
        DataError: there is no such head or window, or the example has no maps to take it from.
    """
    rows, columns, (q0, q1, k0, k1) = len(scene.queries), len(scene.tokens), window
    if not (0 <= layer < len(scene.layers) and 0 <= head < scene.n_heads):
        raise DataError(
            f"there is no head L{layer}.H{head} in {scene.id!r}: "
            f"{len(scene.layers)} layers of {scene.n_heads} heads, counted from 0."
        )
    if not (0 <= q0 < q1 <= rows and 0 <= k0 < k1 <= columns):
        raise DataError(f"the window {window} is outside of {rows} queries and {columns} keys.")
    if (q1 - q0) * (k1 - k0) > WHOLE:
        raise DataError(f"the window {window} has more than {WHOLE:,} cells; ask for a smaller one.")
    if scene.attention is not None:
        held = scene.contribution
        return (
            np.asarray(scene.attention[layer, head, q0:q1, k0:k1]),
            None if held is None else np.asarray(held[layer, head, q0:q1, k0:k1]),
        )
    if scene.detail is None:
        raise DataError(f"the example {scene.id!r} holds no maps and no way to them.")
    return scene.detail(layer, head, q0, q1, k0, k1)


def window_bytes(scene: Scene, layer: int, head: int, window: tuple[int, int, int, int]) -> Packed:
    """A window of one head as it travels.

    Raises:
        DataError: see `detail`.
    """
    attends, matters = detail(scene, layer, head, window)
    full = largest(attends)
    arrays: dict[str, Array] = {
        "attention": attention_bytes(attends, full),
        "attention_full": np.array([full], dtype=np.float32),
    }
    if matters is not None:
        top = largest(matters)
        arrays["contribution"] = contribution_bytes(matters, top, LEVELS[0])
        arrays["contribution_full"] = np.array([top], dtype=np.float32)
    return packed(arrays)


def listed(scene: Scene, model: int = 0) -> dict[str, Any]:
    """One example in the table of examples."""
    text = _snippet(scene)
    return {
        "id": scene.id,
        "model": model,
        "kind": scene.kind,
        "text": text if len(text) <= SNIPPET else text[: SNIPPET - 1] + "…",
        "facts": dict(scene.facts),
        "wrong": scene.wrong,
        "partner": scene.partner,
        "value": plain(float(scene.value[0])) if len(scene.value) else None,
        "unit": scene.unit,
    }


def pack_scene(scene: Scene, *, budget: int = BUDGET, live: bool = False, side: int = 32) -> PackedScene:
    """One example within a budget.

    All maps where they fit. Else thumbnails of all heads; beside them the maps of the most important heads until the
    budget is used, or none where Python answers for each map asked (`live`).

    Raises:
        DataError: not even scores and thumbnails fit.
    """
    words, first = _before_maps(scene, side)
    if first.raw > budget:
        raise DataError(
            f"the example {scene.id!r} needs {first.raw:,} bytes before any map, more than {budget:,}: explain "
            "fewer targets or baselines at once, or give a coarser overview."
        )
    return _with_maps(scene, words, first, _heads_within(scene, budget - first.raw, live))


def pack_page(scenes: Sequence[Scene], *, budget: int = BUDGET) -> list[PackedScene]:
    """All examples of a page within one budget: scores of all, then the maps of the heads that matter most.

    Raises:
        DataError: not even scores and thumbnails fit.
    """
    side = 32 if len(scenes) == 1 else 16 if len(scenes) < 25 else 8
    least = [_before_maps(scene, side) for scene in scenes]
    left = budget - sum(first.raw for _, first in least)
    if left < 0:
        raise DataError(
            f"{len(scenes)} examples need {budget - left:,} bytes before any map, more than {budget:,}: save "
            "fewer examples in one page."
        )
    made = []
    for place, (scene, (words, first)) in enumerate(zip(scenes, least, strict=True)):
        waiting = len(scenes) - place
        share = int(FIRST_SHARE * left) if place == 0 and waiting > 1 else left // waiting
        one = _with_maps(scene, words, first, _heads_within(scene, share, live=False))
        left -= one.maps.raw
        made.append(one)
    return made


def index(
    scenes: Sequence[Scene],
    others: Sequence[Scene],
    *,
    gap: Gap | None,
    names: tuple[str, str],
    title: str,
    live: bool,
    phrases: Mapping[str, str],
) -> dict[str, Any]:
    """What the script needs before the first example: the table of examples, the gap, and every phrase."""
    watched = None
    if gap is not None:
        watched = {
            "words": gap.words,
            "estimate": gap.estimate,
            "low": gap.low,
            "high": gap.high,
            "n": gap.n,
            "shares": _nested(gap.shares),
            "closings": _nested(gap.closings),
        }
    known = [listed(scene, 0) for scene in scenes] + [listed(scene, 1) for scene in others]
    whole: dict[str, Any] = plain(
        {
            "title": title,
            "names": list(names),
            "live": live,
            "gap": watched,
            "index": known,
            "phrases": dict(phrases),
        }
    )
    return whole


def _before_maps(scene: Scene, side: int) -> tuple[dict[str, Any], Packed]:
    """Words and small arrays: all that the first paint needs."""
    arrays: dict[str, Array] = {
        "scores": np.asarray(scene.scores, dtype=np.float32),
        "importance": np.asarray(scene.importance, dtype=np.float32),
    }
    if scene.closings is not None:
        arrays["closings"] = np.asarray(scene.closings, dtype=np.float32)
    for place, values in enumerate(scene.statistics.values()):
        arrays[f"statistic_{place}"] = np.asarray(values, dtype=np.float32)
    for name, maps in (("attention", scene.attention), ("contribution", scene.contribution)):
        if maps is not None:
            arrays[f"{name}_full"] = np.abs(maps).max(axis=(-1, -2)).astype(np.float32)
    if scene.attention is not None:
        full = arrays["attention_full"][..., None, None]
        arrays["attention_small"] = attention_bytes(thumbnails(scene.attention, side), full)
    elif scene.overview is not None:
        arrays["attention_full"] = np.abs(scene.overview).max(axis=(-1, -2)).astype(np.float32)
        full = arrays["attention_full"][..., None, None]
        arrays["overview"] = attention_bytes(scene.overview, full)
        arrays["attention_small"] = attention_bytes(thumbnails(scene.overview, side), full)
    if scene.contribution is not None:
        full = arrays["contribution_full"][..., None, None]
        small = thumbnails(scene.contribution, side)
        arrays["contribution_small"] = contribution_bytes(small, full, LEVELS[0])
    words = plain(
        {
            "id": scene.id,
            "kind": scene.kind,
            "attends": scene.attends,
            "tokens": scene.tokens,
            "queries": None if scene.attends == "self" else scene.queries,
            "words": scene.words,
            "values": scene.values,
            "targets": scene.targets,
            "unit": scene.unit,
            "baselines": scene.baselines,
            "value": scene.value,
            "base_value": scene.base_value,
            "residual": scene.residual,
            "layers": scene.layers,
            "n_heads": scene.n_heads,
            "statistics": list(scene.statistics),
            "facts": scene.facts,
            "wrong": scene.wrong,
            "partner": scene.partner,
            "picture": _picture(scene),
            "levels": LEVELS[0],  # of thumbnails and windows
            "detail": scene.attention is not None or scene.detail is not None,
        }
    )
    one = packed(arrays)
    return {**words, "layout": one.layout}, one


def _picture(scene: Scene) -> dict[str, Any] | None:
    if scene.picture is None:
        return None
    return {
        "png": image_uri(scene.picture.png) if scene.picture.png else "",
        "series": scene.picture.series,
        "channels": scene.picture.channels,
        "boxes": scene.picture.boxes,
    }


def _heads_within(scene: Scene, budget: int, live: bool) -> list[int]:
    """The heads whose maps are sent along, by number (layer x heads + head), the most important first."""
    cells = len(scene.queries) * len(scene.tokens)
    kinds = 2 if scene.attention is None or scene.contribution is not None else 1
    each = cells * kinds + 4 * ALIGNED
    n = len(scene.layers) * scene.n_heads
    there = scene.attention is not None or scene.detail is not None
    if not there or cells > WHOLE:
        return []
    if n * each <= budget:
        return list(range(n)) if scene.attention is not None or not live else []
    ranked = np.argsort(-np.abs(np.nan_to_num(scene.importance[0])).ravel(), kind="stable")
    return [] if live else sorted(int(head) for head in ranked[: max(0, budget // each)])


def _with_maps(scene: Scene, words: dict[str, Any], first: Packed, heads: list[int]) -> PackedScene:
    """The example with whole maps of these heads, A x dA in as many steps as stay light."""
    maps, levels = Packed(layout=[], data=b"", raw=0), LEVELS[0]
    if heads:
        pairs = [full_map(scene, head // scene.n_heads, head % scene.n_heads) for head in heads]
        full = np.array([largest(attends) for attends, _ in pairs], dtype=np.float32)
        arrays: dict[str, Array] = {
            "attention": np.stack([attention_bytes(a, f) for (a, _), f in zip(pairs, full, strict=True)]),
            "attention_full": full,
        }
        matters = [m for _, m in pairs if m is not None]
        if len(matters) == len(pairs):
            arrays["contribution_full"] = np.array([largest(m) for m in matters], dtype=np.float32)
        for levels in LEVELS:
            if "contribution_full" in arrays:
                fulls = arrays["contribution_full"]
                arrays["contribution"] = np.stack(
                    [contribution_bytes(m, f, levels) for m, f in zip(matters, fulls, strict=True)]
                )
            maps = packed(arrays)
            if len(maps.data) + len(first.data) <= LIGHT or "contribution" not in arrays:
                break
    held = {"layout": maps.layout, "heads": heads, "levels": levels}
    return PackedScene(words={**words, "maps": held}, first=first, maps=maps)


def _nested(values: Floats | None) -> Any:
    return None if values is None else plain(np.asarray(values, dtype=float))


def _snippet(scene: Scene) -> str:
    """The first words of an example, as text."""
    if scene.kind == "table":
        pairs = [f"{t} {v}" for t, v in zip(scene.tokens, scene.values, strict=False) if v]
        return ", ".join(pairs[:12])
    if scene.kind in ("image", "series"):
        return ""
    made: list[str] = []
    before = None
    for token, word in zip(scene.tokens[:SNIPPET], scene.words[:SNIPPET], strict=True):
        if word < 0:
            continue
        piece = token.removeprefix("##").strip("▁Ġ ")
        if word == before and made:
            made[-1] += piece
        else:
            made.append(piece)
        before = word
    return " ".join(made)
