"""Integrated gradients along an identity swap: which tokens the score moves with, from one text to its twin."""

import dataclasses
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..errors import DataError, ModelError, UsageError, first
from ..records import Attribution, Floats, Rows
from .aligned_texts import Aligned, aligned
from .attributions import allowed, attributed, rounding
from .batches import MAX_MEMORY, Places, bucketed, rows_of_length, scored
from .gradients import MOST_NODES, NO_GRADIENT
from .models import Batch, Subject
from .path import integrate

METHOD = "integrated gradients along the swap"
FILLING = "(filling up)"


def along_swaps(
    subject: Subject,
    originals: Rows,
    swapped: Rows,
    *,
    unit: str = "token",
    nodes: int = 20,
    most_nodes: int = MOST_NODES,
    batch_size: int = 64,
    max_memory: int = MAX_MEMORY,
    seed: int = 0,
    progress: bool = False,
) -> Attribution:
    """Shares of each token in the change of the score from a row to its swapped twin; they add up to that change.

    The path is the straight line from the original's embedding to the swapped one's, in place of a baseline's
    (Sundararajan et al. 2017, eq. 1; Aumann-Shapley shares of the change). A token that both have alike does not move
    along the path and gets 0: what is divided is the swap, and a share of a replaced word holds all that the other
    words make of it.

    Texts are aligned word by word. Where one has more tokens, the other is filled up with the baseline's token; what
    this filling does to the two scores is measured, not divided, and is the token "(filling up)" of its row. Other
    inputs (tables, series, images) have the same tokens in both.

    Args:
        originals: a row of each pair, or of each swap of it, in the order of `swapped`.
        swapped: their twins.
        unit: "token", or "word": replaced pieces whole, "he -> she".
        nodes, most_nodes, batch_size, max_memory, progress: as `integrated_gradients`.
        seed: not used; every method takes one.

    Returns:
        A record with the ids of `swapped`, `value` the score of the twin and `base_value` that of the original.

    Raises:
        DataError: no pairs, numbers of rows that differ, or rows that cannot be aligned by name.
        ModelError: nodes out of range, no baseline token to fill up with, or a model whose score is changed by
            something else than its embeddings (a mask).
        UsageError: another unit.
    """
    if unit not in ("token", "word"):
        raise UsageError(f"unit is {unit!r}; 'token' or 'word' is expected.")
    if nodes < 1 or most_nodes < nodes:
        raise ModelError(f"nodes is {nodes} and most_nodes {most_nodes}; expected 1 <= nodes <= most_nodes.")
    if len(originals) != len(swapped) or not len(swapped):
        raise DataError(
            f"{len(originals)} originals and {len(swapped)} swapped rows were given; the same number, above 0, is expected."
        )
    value, base = (
        scored(subject, rows, [len(one) for one in subject.names(rows)], batch_size)
        for rows in (swapped, originals)
    )
    pairs = _pairs(subject, originals, swapped)
    fill = _fill(subject, pairs)
    ends = [_with_texts(rows, pairs, side) for side, rows in enumerate((originals, swapped))]
    names = tuple(pair.names for pair in pairs)
    lengths = [len(one) for one in names]
    width = max(lengths)
    scores: Floats = np.zeros((len(swapped), width + 1))
    used = np.zeros(len(swapped), dtype=np.int64)
    along = np.zeros((2, len(swapped)))  # scores at the ends of the path
    spread = float(np.std(value))
    at_once = rows_of_length(subject, ends[1], lengths, max_memory)
    with tqdm(total=len(swapped), desc=METHOD, unit="row", disable=not progress) as bar:
        for index in bucketed(lengths, batch_size):
            some = [pairs[i] for i in index]
            batches = [subject.encode(rows.take(index)) for rows in ends]
            start, end = (
                _embedded(subject, batch, [pair.fills[side] for pair in some], fill)
                for side, batch in enumerate(batches)
            )
            path = dataclasses.replace(subject, embed=partial(_given, end), reference=partial(_given, start))
            for side, point in enumerate((start, end)):
                along[side, index] = _score(subject, batches[1], point)
            change = along[1, index] - along[0, index]
            tolerance = allowed(value[index], base[index], spread) + rounding(value[index])

            def enough(
                sums: Floats, left: Places, change: Floats = change, tolerance: Floats = tolerance
            ) -> Any:
                return np.abs(change[left] - sums[0]) <= tolerance[left]

            made, used[index] = integrate(
                path,
                batches[1],
                partial(_gradient, path),
                enough,
                nodes=nodes,
                most_nodes=most_nodes,
                at_once=at_once(max(lengths[i] for i in index)),
                what=METHOD,
            )
            scores[index, : min(width, made.shape[2])] = made[0][:, :width]
            bar.update(len(index))
    filled = np.array([pair.filled for pair in pairs])
    filling = (value - along[1]) - (base - along[0])
    _same_ends(swapped, filling, filled, value, spread)
    if unit == "word":
        names, scores = _by_word(pairs, scores)
    scores = _closed(names, scores, filling, filled)
    return attributed(
        METHOD,
        subject,
        swapped,
        tuple((*one, FILLING) if more else one for one, more in zip(names, filled, strict=True)),
        scores,
        value=value,
        base_value=base,
        baseline="the same row before the swap",
        nodes=used,
        notes=_notes(filled, filling),
    )


def _notes(filled: npt.NDArray[np.bool_], filling: Floats) -> tuple[str, ...]:
    if not filled.any():
        return ()
    most = float(np.abs(filling[filled]).max())
    return (
        f"{int(filled.sum())} of {len(filled)} pairs were filled up to the same number of tokens; the filling itself "
        f"changes a score by up to {most:.3g}, which is the share of {FILLING!r}",
    )


def _pairs(subject: Subject, originals: Rows, swapped: Rows) -> tuple[Aligned, ...]:
    if subject.characters is not None:
        return aligned(subject, originals, swapped)
    made = []
    odd = []
    for name, one, two in zip(swapped.ids, subject.names(originals), subject.names(swapped), strict=True):
        if one != two:
            odd.append(name)
        places = tuple(range(len(two)))
        made.append(Aligned(texts=("", ""), fills=((), ()), names=two, units=places, unit_names=two))
    if odd:
        raise DataError(
            f"{len(odd)} rows have other tokens than their originals and are no texts, so that they cannot be aligned by "
            f"name; first rows: {first(odd)}. Give pairs with the same features, steps or patches."
        )
    return tuple(made)


def _with_texts(rows: Rows, pairs: tuple[Aligned, ...], side: int) -> Rows:
    """The rows with the texts that were filled up; the others as they are."""
    if not any(pair.filled for pair in pairs):
        return rows
    texts = [
        pair.texts[side] if pair.filled else text
        for pair, text in zip(pairs, rows.inputs["text"], strict=True)
    ]
    return dataclasses.replace(rows, inputs={**rows.inputs, "text": np.array(texts, dtype=object)})


def _fill(subject: Subject, pairs: tuple[Aligned, ...]) -> int | None:
    """The number of the token that stands for nothing; None where none is needed."""
    if not any(pair.filled for pair in pairs):
        return None
    if subject.filled is None or not subject.fillers:
        raise ModelError(
            f"{subject.name} has no token that stands for nothing, to fill the shorter text of a pair up with. Leave out "
            "pairs with different numbers of tokens."
        )
    return next(
        subject.fillers[name]
        for name in ("mask", "padding", "unknown", "end-of-text", *subject.fillers)
        if name in subject.fillers
    )


@torch.no_grad()
def _embedded(subject: Subject, batch: Batch, fills: list[tuple[int, ...]], number: int | None) -> Tensor:
    """Embeddings of a batch, with the filling token's at the stand-ins. (example, token, width)"""
    embedded = subject.embed(batch)
    if number is None or not any(fills):
        return embedded
    assert subject.filled is not None
    other = subject.filled(batch, number)
    at = torch.zeros(embedded.shape[:2], dtype=torch.bool)
    for row, places in enumerate(fills):
        at[row, list(places)] = True
    return torch.where(at.to(embedded.device)[:, :, None], other, embedded)


def _gradient(subject: Subject, batch: Batch, points: Tensor) -> list[Tensor]:
    """The target's gradient in the points, (example, token, width)."""
    try:
        with torch.enable_grad():
            return list(torch.autograd.grad(subject.select(subject.forward(batch, points)).sum(), points))
    except RuntimeError as error:
        if not any(said in str(error) for said in NO_GRADIENT):
            raise
        raise ModelError(
            f"no gradient reaches the embeddings of {subject.name}: its target does not depend on them, or its forward "
            "leaves torch's record of operations (no_grad, detach, NumPy, whole numbers)."
        ) from error


def _given(tensor: Tensor, _: Batch) -> Tensor:
    return tensor


@torch.no_grad()
def _score(subject: Subject, batch: Batch, point: Tensor) -> Floats:
    made: Floats = subject.select(subject.forward(batch, point)).cpu().double().numpy()
    return made


def _same_ends(
    rows: Rows, filling: Floats, filled: npt.NDArray[np.bool_], value: Floats, spread: float
) -> None:
    """Refuse pairs that differ in something else than embeddings, so that the path ends at no twin's score."""
    allowance = 10 * rounding(value) + 1e-3 * spread
    bad = np.flatnonzero(~filled & (np.abs(filling) > allowance))
    if bad.size:
        raise ModelError(
            f"{bad.size} pairs differ in more than their embeddings: between them the score changes by up to "
            f"{np.abs(filling[bad]).max():.3g} that no token has; first rows: {first(rows.ids[i] for i in bad)}. Likely "
            "causes: (a) one series ends earlier, (b) the target is each row's own label: name one (label=)."
        )


def _by_word(pairs: tuple[Aligned, ...], scores: Floats) -> tuple[tuple[tuple[str, ...], ...], Floats]:
    made = np.zeros((len(pairs), max(len(pair.unit_names) for pair in pairs) + 1))
    for row, pair in enumerate(pairs):
        np.add.at(made[row], np.asarray(pair.units), scores[row, : len(pair.units)])
    return tuple(pair.unit_names for pair in pairs), made


def _closed(
    names: tuple[tuple[str, ...], ...], scores: Floats, filling: Floats, filled: npt.NDArray[np.bool_]
) -> Floats:
    """Scores with the filling's effect behind each row's last token, as wide as the longest row."""
    made = scores.copy()
    for row, one in enumerate(names):
        made[row, len(one)] = filling[row] if filled[row] else 0.0
    longest = max(len(one) + bool(filled[row]) for row, one in enumerate(names))
    return made[:, :longest]
