"""Examples for the explorer made from a seed: of every kind, of any size, and with hostile text."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from clinometer.scenes import Gap, Picture, Rerun, Scene

WORDS = "The nurse told the engineer that she had fixed the un ##believ ##able machine before the night shift began ."
SENTENCE = WORDS.split()
HOSTILE = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(2)>",
    "\"quoted\" 'twice'",
    "שלום עולם",
    "\u202eevil",
    "zero\u200bwidth",
    "x" * 10_000,
    "👩‍👩‍👧‍👦",
    "漢字",
    "{{ 7 * 7 }} ${7*7}",
    " ",
    "",
    "\n",
    "می‌خواهم",
)


def attention_maps(rng: np.random.Generator, shape: tuple[int, int, int, int]) -> np.ndarray:
    """Rows that sum to one, some heads near their own place, some at the first token, some spread."""
    layers, heads, queries, keys = shape
    sharp = np.linspace(0.5, 3.5, layers)[:, None, None, None]
    logits = rng.normal(size=shape).astype(np.float32) * sharp.astype(np.float32)
    apart = np.abs(np.arange(queries)[:, None] * keys / queries - np.arange(keys)[None])
    logits -= (apart * rng.uniform(0, 0.4, (layers, heads, 1, 1))).astype(np.float32)
    logits[..., 0] += rng.uniform(0, 4, (layers, heads, 1)).astype(np.float32)
    logits = np.exp(logits - logits.max(-1, keepdims=True))
    return logits / logits.sum(-1, keepdims=True)


def text_scene(
    id: str = "sentence-1",
    *,
    tokens: tuple[str, ...] | None = None,
    queries: tuple[str, ...] | None = None,
    layers: int = 4,
    heads: int = 4,
    seed: int = 0,
    targets: tuple[str, ...] = ("toxic", "not toxic"),
    **more: Any,
) -> Scene:
    """A text with whole maps."""
    rng = np.random.default_rng(seed)
    tokens = tokens or ("[CLS]", *SENTENCE, "[SEP]")
    own = queries or tokens
    attention = attention_maps(rng, (layers, heads, len(own), len(tokens)))
    strength = rng.normal(size=(layers, heads, 1, 1)) ** 3 * 0.1 / len(own)
    contribution = (attention * rng.normal(0.1, 1, size=attention.shape) * strength).astype(np.float32)
    scores = rng.normal(size=(len(targets), 2, len(tokens))) ** 3 * 0.1
    base = rng.normal(size=(len(targets), 2))
    residual = rng.normal(size=base.shape) * 1e-3
    importance = rng.normal(size=(len(targets), layers, heads)) ** 3 * 0.1
    importance[0] = contribution.sum(axis=(-1, -2))
    value = base[:, 0] + scores[:, 0].sum(-1) + residual[:, 0]
    base[:, 1] = value - scores[:, 1].sum(-1) - residual[:, 1]
    words, word = [], -1
    for token in tokens:
        special = token.startswith("[") and token.endswith("]")
        word += not special and not token.startswith("##")
        words.append(-1 if special else word)
    given: dict[str, Any] = {
        "id": id,
        "kind": "text",
        "attends": "cross" if queries else "self",
        "tokens": tokens,
        "queries": own,
        "words": tuple(words),
        "targets": targets,
        "unit": "logit",
        "baselines": ("[MASK] in place of every word", "zero embeddings"),
        "scores": scores,
        "value": value,
        "base_value": base,
        "residual": residual,
        "layers": tuple(f"encoder.layer.{i}" for i in range(layers)),
        "importance": importance,
        "statistics": {
            "entropy": -(attention * np.log(attention + 1e-12)).sum(-1).mean(-1),
            "attention_to_first": attention[..., 0].mean(-1),
        },
        "attention": attention,
        "contribution": contribution,
        "closings": value[0] - importance[0] * rng.uniform(0.5, 1.5, (layers, heads)),
        "facts": {"label": "toxic", "prediction": "not toxic", "gender": "women"},
        "wrong": True,
    }
    return Scene(**{**given, **more})


def long_scene(
    n: int = 32_768, *, layers: int = 24, heads: int = 16, blocks: int = 64, seed: int = 0
) -> Scene:
    """A text too long for maps: means over blocks, and windows of one head when they are asked for."""
    rng = np.random.default_rng(seed)
    small = text_scene("long-1", tokens=("one", "two"), layers=layers, heads=heads, seed=seed)
    tokens = tuple(f"w{i % 997}" for i in range(n))
    overview = attention_maps(rng, (layers, heads, blocks, blocks)) * (blocks / n)

    def detail(layer: int, head: int, q0: int, q1: int, k0: int, k1: int) -> tuple[np.ndarray, np.ndarray]:
        own = np.random.default_rng([layer, head, q0, k0])
        weights = own.dirichlet(np.full(k1 - k0, 0.2), size=q1 - q0)
        return weights, weights * own.normal(size=weights.shape)

    given = {name: getattr(small, name) for name in Scene.__dataclass_fields__}
    scores = rng.normal(size=(2, 2, n)) ** 3 * 0.01
    given |= {
        "tokens": tokens,
        "queries": tokens,
        "words": tuple(range(n)),
        "scores": scores,
        "attention": None,
        "contribution": None,
        "overview": overview.astype(np.float32),
        "detail": detail,
    }
    return Scene(**given)


def image_scene() -> Scene:
    """A picture of 7 by 7 patches and a first token that is none."""
    rng = np.random.default_rng(1)
    across, down = np.meshgrid(np.linspace(0, 1, 224), np.linspace(0, 1, 224))
    disc = ((across - 0.6) ** 2 + (down - 0.4) ** 2 < 0.06) * 120
    pixels = np.stack([80 + 90 * down + disc, 90 + 60 * across, 140 - 60 * down + disc / 2], axis=-1)
    held = io.BytesIO()
    Image.fromarray(np.clip(pixels + rng.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8)).save(
        held, "PNG"
    )
    side = 7
    boxes = [(0.0, 0.0, 0.0, 0.0)]
    boxes += [(c / side, r / side, (c + 1) / side, (r + 1) / side) for r in range(side) for c in range(side)]
    tokens = ("[CLS]", *(f"patch {r + 1},{c + 1}" for r in range(side) for c in range(side)))
    picture = Picture(png=held.getvalue(), boxes=np.array(boxes))
    return text_scene(
        "image-1", tokens=tokens, kind="image", picture=picture, words=(-1, *range(side * side))
    )


def series_scene() -> Scene:
    """Three sensors of a machine over 240 times, in windows of 12."""
    rng = np.random.default_rng(2)
    times = np.arange(240)
    curves = np.stack(
        [np.sin(times / 17), np.cumsum(rng.normal(size=240)) / 6, np.where(times > 150, 1.5, 0.2)], axis=-1
    ) + rng.normal(0, 0.08, (240, 3))
    tokens = tuple(f"{12 * i}–{12 * i + 11}" for i in range(20))
    boxes = np.array([(i / 20, 0.0, (i + 1) / 20, 1.0) for i in range(20)])
    picture = Picture(series=curves, channels=("vibration", "drift", "valve"), boxes=boxes)
    return text_scene(
        "series-1",
        tokens=tokens,
        kind="series",
        picture=picture,
        words=tuple(range(20)),
        targets=("failure",),
    )


def table_scene(id: str = "row-17") -> Scene:
    """A row of a table."""
    names = ("age", "income", "months employed", "loan amount", "purpose", "region", "marital status")
    values = ("41", "52,300", "18", "120,000", "renovation", "north", "single")
    return text_scene(
        id,
        tokens=("[CLS]", *names),
        kind="table",
        values=("", *values),
        words=(-1, *range(len(names))),
        targets=("approved",),
    )


def hostile_scene() -> Scene:
    """Text that would break a page that is put together carelessly, everywhere."""
    words = tuple(range(len(HOSTILE)))
    return text_scene(
        HOSTILE[0],
        tokens=HOSTILE,
        words=words,
        targets=(HOSTILE[1], "\u202ereversed"),
        baselines=(HOSTILE[1], HOSTILE[2]),
        facts={HOSTILE[0]: HOSTILE[1], "group": HOSTILE[3]},
        unit="</script>",
        layers=2,
        heads=3,
    )


def sample_gap(layers: int = 4, heads: int = 4) -> Gap:
    """A gap with each head's share, and with each head closed."""
    rng = np.random.default_rng(5)
    shares = rng.normal(size=(layers, heads)) * 0.02
    return Gap(
        words="selection rate, women minus men",
        estimate=-0.12,
        low=-0.19,
        high=-0.05,
        n=640,
        shares=shares,
        closings=-0.12 - shares,
    )


def sample_runs(id: str, gates: Mapping[tuple[int, int], float]) -> Rerun:
    """A model that answers at once: each closed head takes a tenth away."""
    taken = sum(0.1 * (1 - factor) for factor in gates.values())
    return Rerun(id=id, value=np.array([1.0 - taken, taken]), gap=-0.12 + taken / 10)
