"""How well sums of scores predict what taking tokens away does: infidelity (Yeh et al. 2019)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from tqdm.auto import tqdm

from ..errors import UsageError
from ..records import Floats, Rows
from .batches import MAX_MEMORY
from .models import Subject
from .players import players
from .ranks import row_generator


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drops:
    """How far the target falls when random sets of tokens are taken away; NaN where a row has none to take."""

    taken: Bool[np.ndarray, "example perturbation token"]
    drop: Float[np.ndarray, "example perturbation"]  # f(x) - f(x without the set)


def drops(
    subject: Subject,
    rows: Rows,
    names: Sequence[Sequence[str]],
    *,
    perturbations: int = 32,
    seed: int = 0,
    batch_size: int = 64,
    max_memory: int = MAX_MEMORY,
    progress: bool = False,
) -> Drops:
    """The fall of the target for random sets of each row's tokens.

    A set's size is drawn evenly from one token to all that can be taken away, then its tokens evenly. A token taken
    away has the baseline's embedding. The sets belong to the row's id and the seed.

    Raises:
        UsageError: fewer than two perturbations.
    """
    if perturbations < 2:
        raise UsageError(f"perturbations is {perturbations}, expected 2 or more.")
    n, width = len(rows), max(len(tokens) for tokens in names)
    taken = np.zeros((n, perturbations, width), dtype=np.bool_)
    drop = np.full((n, perturbations), np.nan)
    with tqdm(total=n, desc="infidelity", unit="row", disable=not progress) as bar:
        for some in players(subject, rows, names, batch_size=batch_size, max_memory=max_memory):
            movable = [local for local in range(len(some.index)) if len(some.places[local])]
            for local in movable:
                row, places = some.index[local], some.places[local]
                generator = row_generator(seed, rows.ids[row], "infidelity")
                for i, size in enumerate(generator.integers(1, len(places) + 1, size=perturbations)):
                    taken[row, i, generator.choice(places, size=size, replace=False)] = True
            bar.update(len(some.index))
            if not movable:
                continue
            index = some.index[movable]
            whole = some.scores(movable, np.ones((len(movable), width), dtype=np.bool_), "infidelity")
            kept = ~taken[index].reshape(-1, width)
            without = some.scores(np.repeat(movable, perturbations), kept, "infidelity")
            drop[index] = whole[:, None] - without.reshape(len(index), perturbations)
    return Drops(taken=taken, drop=drop)


def infidelity(
    scores: Float[np.ndarray, "example token"], drops: Drops
) -> tuple[Float[np.ndarray, " example"], Float[np.ndarray, " example"]]:
    """Mean squared error of the predicted falls, and the share of the falls that no scale of the scores predicts.

    The first is eq. 1 of Yeh et al. 2019 with I the tokens taken away: the mean over sets S of
    (sum of scores in S - (f(x) - f(x without S)))^2, in the target's unit squared. It means something for scores in
    the target's unit.

    The second is that of beta * scores with the best beta >= 0 of the row, divided by the mean of
    (f(x) - f(x without S))^2: 0 where falls are proportional to sums of scores, 1 where scores predict nothing or
    the opposite. Any positive factor leaves it as it is. Departures from the paper: beta is not negative, so that an
    attribution with its signs turned is no good one, and the error is relative.

    Returns:
        (example,) each; NaN where a row has no token that can be taken away, or, the second, where nothing falls.
    """
    width = drops.taken.shape[2]
    predicted = np.einsum("est,et->es", drops.taken, scores[:, :width])
    plain = ((predicted - drops.drop) ** 2).mean(axis=1)
    square, power = (predicted**2).mean(axis=1), (drops.drop**2).mean(axis=1)
    cross = np.maximum((predicted * drops.drop).mean(axis=1), 0.0)
    explained = np.divide(cross**2, square, out=np.zeros_like(square), where=square > 0)
    left: Floats = np.full_like(power, np.nan)
    np.divide(power - explained, power, out=left, where=power > 0)
    return plain, np.clip(left, 0.0, 1.0)
