"""Examples as the explorer shows them: tokens, scores for each target, and every head's maps or the way to them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from .errors import DataError, first
from .records import Floats

Kind = Literal["text", "table", "image", "series"]
Attends = Literal["self", "cross"]
# layer, head, first and last query + 1, first and last key + 1 -> (attention, contribution), each (query, key)
Detail = Callable[[int, int, int, int, int, int], tuple[Floats, Floats]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What the tokens of an image or of a series stand on. Places of tokens in it are in `boxes`."""

    png: bytes = b""  # an image
    series: Floats = field(default_factory=lambda: np.zeros((0, 0)))  # (time, channel)
    channels: tuple[str, ...] = ()
    boxes: Floats = field(
        default_factory=lambda: np.zeros((0, 4))
    )  # (token, left top right bottom), of the whole 0..1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """One example: what the model saw, what each token adds to each target, and what each head does.

    Long examples have no maps of their own: `attention` is None, `overview` holds every head's map averaged over
    blocks, and `detail` gives a window of one head when it is asked for.
    """

    id: str
    kind: Kind
    attends: Attends = "self"
    tokens: tuple[str, ...]  # along keys; as they are to be read
    queries: tuple[str, ...]  # along queries; the same as `tokens` where a text attends to itself
    words: tuple[int, ...]  # of each token the word it is a part of; -1 where it is none
    values: tuple[
        str, ...
    ] = ()  # of a table: each feature's value as text, "" for tokens that are no feature
    targets: tuple[str, ...]  # what is explained, the first by default
    unit: str
    baselines: tuple[str, ...]  # what the example is compared with, in words
    scores: Floats  # (target, baseline, token)
    value: Floats  # (target,) at the example
    base_value: Floats  # (target, baseline)
    residual: Floats  # (target, baseline): value - base_value - sum of scores
    layers: tuple[str, ...]
    importance: Floats  # (target, layer, head): A x dA summed over queries and keys, first order
    statistics: Mapping[str, Floats] = field(default_factory=dict)  # name -> (layer, head)
    attention: Floats | None = None  # (layer, head, query, key), rows sum to one
    contribution: Floats | None = None  # (layer, head, query, key) of the first target, signed: A x dA
    overview: Floats | None = None  # (layer, head, block, block) means of attention
    detail: Detail | None = field(default=None, compare=False, repr=False)
    closings: Floats | None = None  # (layer, head): the first target with that head alone closed
    facts: Mapping[str, str | None] = field(
        default_factory=dict
    )  # label, prediction, each group; None: unknown
    wrong: bool | None = None  # is the prediction another than the label; None where there is no label
    partner: str | None = None  # the id of the same example with another group's words
    picture: Picture | None = None

    def __post_init__(self) -> None:
        shapes = {
            "words": (len(self.words), len(self.tokens)),
            "scores": (np.shape(self.scores), (len(self.targets), len(self.baselines), len(self.tokens))),
            "importance": (np.shape(self.importance)[:2], (len(self.targets), len(self.layers))),
            "attention": (
                None if self.attention is None else np.shape(self.attention)[2:],
                None if self.attention is None else (len(self.queries), len(self.tokens)),
            ),
        }
        wrong = [
            f"{name} {got} (expected {wanted})" for name, (got, wanted) in shapes.items() if got != wanted
        ]
        if wrong:
            raise DataError(f"the example {self.id!r} does not fit together: {first(wrong)}.")

    @property
    def n_heads(self) -> int:
        """Heads of each layer."""
        return int(np.shape(self.importance)[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """The difference between two groups that gates are watched for, and each head's share in it."""

    words: str  # e.g. "selection rate, women minus men"
    estimate: float
    low: float
    high: float
    n: int
    shares: Floats | None = None  # (layer, head): first order, of the gap in mean score
    closings: Floats | None = None  # (layer, head): the gap with that head alone closed


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerun:
    """What the model says with some heads scaled."""

    id: str
    value: Floats  # (target,)
    gap: float | None  # None where no gap is watched


# (id of an example, {(layer, head): factor}) -> the model's answer
Runs = Callable[[str, Mapping[tuple[int, int], float]], Rerun]


def distinct(scenes: Sequence[Scene]) -> None:
    """Raise where two examples have one id, or there are none.

    Raises:
        DataError: see above.
    """
    if not scenes:
        raise DataError("there is no example to explore; give at least one row.")
    seen: dict[str, int] = {}
    for scene in scenes:
        seen[scene.id] = seen.get(scene.id, 0) + 1
    twice = [name for name, count in seen.items() if count > 1]
    if twice:
        raise DataError(f"the ids {first(twice)} name more than one example each; give each row its own.")
