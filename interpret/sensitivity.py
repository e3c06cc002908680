"""How far an attribution moves when embeddings are shaken a little: max-sensitivity (Yeh et al. 2019)."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import UsageError
from ..records import Attribution, Floats, Rows
from .carrying import carrying
from .compared_methods import Options
from .float64 import in_float64
from .methods import attribute
from .models import Batch, Subject
from .ranks import row_generator

NOISE = "noise"  # key of a batch


def shaken(subject: Subject, *, radius: float, draw: int, seed: int = 0) -> Subject:
    """The same model, with even noise added to the embeddings of tokens that can be taken away.

    The noise lies within `radius` times the root mean square of the row's embeddings, in each coordinate. It
    belongs to the row's id, the seed and the draw. Padding and markers stay as they are.
    """

    def made(rows: Rows, batch: Batch) -> Tensor:
        with torch.no_grad():
            embedded, reference = subject.embed(batch), subject.reference(batch)
        moved = (embedded != reference).any(dim=2)
        noise = torch.zeros(embedded.shape, dtype=torch.float64)
        for i, name in enumerate(rows.ids):
            places = moved[i].nonzero()[:, 0].cpu()
            if len(places):
                size = float(in_float64(embedded[i, moved[i]]).square().mean().sqrt())
                generator = row_generator(seed, name, f"noise {draw}")
                drawn = generator.uniform(-radius, radius, size=(len(places), embedded.shape[2])) * size
                noise[i, places] = torch.from_numpy(drawn)
        return noise.to(dtype=embedded.dtype).to(embedded.device)

    carried = carrying(subject, NOISE, made)

    def embed(batch: Batch) -> Tensor:
        return carried.embed(batch) + batch[NOISE]

    def forward(batch: Batch, embedded: Tensor | None) -> Tensor:
        return carried.forward(batch, embed(batch) if embedded is None else embedded)

    return dataclasses.replace(carried, embed=embed, forward=forward)


def max_sensitivity(
    subject: Subject,
    rows: Rows,
    before: Float[np.ndarray, "example token"],
    again: Callable[[Subject], Attribution],
    *,
    radius: float = 0.02,
    draws: int = 4,
    seed: int = 0,
) -> Float[np.ndarray, " example"]:
    """The largest relative change of each row's scores over a few small shakes of its embeddings, (example,).

    max over draws of |scores(x + noise) - scores(x)| / |scores(x)|, Euclidean norms over tokens (Yeh et al. 2019,
    SENS_MAX, sampled; there noise is added to the input, and nothing is divided by a norm). See `shaken` for the
    noise. NaN where all scores of a row are 0.

    Args:
        before: the scores of these rows as they are.
        again: a Subject -> the attribution of the same rows.
        radius: of the noise, relative to the embeddings.

    Raises:
        UsageError: a radius that is not positive, or no draws.
    """
    if not radius > 0 or draws < 1:
        raise UsageError(f"radius is {radius} and draws {draws}; expected more than 0 and 1 or more.")
    size = np.linalg.norm(before, axis=1)
    largest: Floats = np.zeros(len(rows))
    for draw in range(draws):
        after = again(shaken(subject, radius=radius, draw=draw, seed=seed)).scores
        largest = np.maximum(largest, np.linalg.norm(after - before[:, : after.shape[1]], axis=1))
    made: Floats = np.full(len(rows), np.nan)
    np.divide(largest, size, out=made, where=size > 0)
    return made


def on_some(
    subject: Subject,
    rows: Rows,
    attributions: Mapping[str, Attribution],
    asked: Sequence[str],
    options: Options | None,
    some: npt.NDArray[np.intp],
    *,
    seed: int = 0,
    batch_size: int = 64,
) -> Float[np.ndarray, "method example"]:
    """`max_sensitivity` of the methods asked for, on some of the rows; NaN for other rows and methods."""
    made: Floats = np.full((len(attributions), len(rows)), np.nan)
    few = rows.take(some)
    for place, (name, one) in enumerate(attributions.items()):
        if name in asked:
            own = dict((options or {}).get(name, {}))

            def again(shaken: Subject, name: str = name, own: dict[str, Any] = own) -> Attribution:
                return attribute(shaken, few, name, batch_size=batch_size, seed=seed, **own)

            made[place, some] = max_sensitivity(subject, few, one.scores[some], again, seed=seed)
    return made
