"""Which tokens a head moves toward the output: A * dA added up by token, weighted by a contrast."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import UsageError, did_you_mean
from ..records import Contrast, Floats, Rows
from .ablation import Head
from .head_effects import head_effects
from .models import Subject
from .screening import check_contrast
from .spans import words


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What a head moves of one token (a word, a feature): its part of the head's first-order share of the contrast."""

    token: str
    share: float  # sum over rows of w * A * dA, in the unit of the score
    n_rows: int  # rows that hold the token
    per_row: float  # mean A * dA of a row that holds it


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadPath:
    """The tokens one head reads, and what it writes of each to the target, first order. Shares add up to `total`."""

    layer: str
    head: int
    target: str
    unit: str
    total: float  # d contrast / d gate of this head: its effect when it is closed, with the sign turned
    tokens: tuple[Moved, ...]  # by the size of their share


def head_paths(
    subject: Subject, rows: Rows, contrast: Contrast, heads: Sequence[Head], *, batch_size: int = 32
) -> tuple[HeadPath, ...]:
    """For each head the tokens whose values it moves to the target, over the rows of a contrast.

    The part of a key token is the sum over queries of A * dA (`head_effects`). Sub-tokens are added up to words where
    the tokenizer says where they stand, in lower case; other inputs keep their names. Self-attention only.

    Raises:
        UsageError: a head does not exist.
        DataError: the contrast is of other rows.
        ModelError: see `head_effects`.
    """
    check_contrast(rows, contrast)
    kept = np.flatnonzero(contrast.weights)
    some, weights = rows.take(kept), np.asarray(contrast.weights)[kept]
    effects = head_effects(subject, some, batch_size=batch_size)
    names = _names(subject, some, effects.tokens)
    made = []
    for layer, head in heads:
        if layer not in effects.layers:
            raise UsageError(f"there is no layer {layer!r}; {did_you_mean(layer, effects.layers)}")
        n_heads = effects.moved.shape[2]
        if not 0 <= head < n_heads:
            raise UsageError(f"{layer} has {n_heads} heads, counted from 0; there is no head {head}.")
        moved = effects.moved[:, effects.layers.index(layer), head]
        made.append(_path(subject, layer, head, moved, names, weights))
    return tuple(made)


def _path(
    subject: Subject, layer: str, head: int, moved: Floats, names: Sequence[Sequence[str]], weights: Floats
) -> HeadPath:
    shares: dict[str, float] = {}
    seen: dict[str, int] = {}
    plain: dict[str, float] = {}
    for row, weight, tokens in zip(moved, weights, names, strict=True):
        own: dict[str, float] = {}
        for value, token in zip(row, tokens, strict=False):
            own[token] = own.get(token, 0.0) + float(value)
        for token, value in own.items():
            shares[token] = shares.get(token, 0.0) + float(weight) * value
            plain[token] = plain.get(token, 0.0) + value
            seen[token] = seen.get(token, 0) + 1
    ranked = sorted(shares, key=lambda token: (-abs(shares[token]), token))
    return HeadPath(
        layer=layer,
        head=head,
        target=subject.target,
        unit=subject.unit,
        total=float(weights @ moved.sum(axis=1)),
        tokens=tuple(
            Moved(token=token, share=shares[token], n_rows=seen[token], per_row=plain[token] / seen[token])
            for token in ranked
        ),
    )


def _names(subject: Subject, rows: Rows, tokens: Sequence[tuple[str, ...]]) -> list[list[str]]:
    """For each token of each row what it is added up as."""
    if subject.characters is None:
        return [list(row) for row in tokens]
    made = []
    for row, (text, offsets) in zip(tokens, subject.characters(rows), strict=True):
        before = len(row) - len(offsets)  # tokens that the model itself puts first
        index, ranges = words(text, offsets)
        after = [
            text[slice(*ranges[unit])].lower() if ranges[unit][0] < ranges[unit][1] else row[before + i]
            for i, unit in enumerate(index)
        ]
        made.append([*row[:before], *after])
    return made
