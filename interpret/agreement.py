"""How far the orders of attributions agree with Shapley values, on a few rows."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int

from ..records import Attribution, Floats, Rows
from .batches import MAX_MEMORY
from .draws import row_seed
from .models import Subject
from .ranks import FEWEST, rank_correlation
from .shapley import shapley_values

SHAPLEY = "Shapley values"
MOST = 50  # tokens of a row on which Shapley values are sampled


def some_rows(
    ids: Sequence[str],
    n_tokens: Int[np.ndarray, " example"],
    n: int,
    seed: int,
    purpose: str,
    most: int | None = None,
) -> npt.NDArray[np.intp]:
    """The places of n rows of three tokens or more, drawn by the seed, in their order; fewer where there are fewer."""
    able = [i for i, count in enumerate(n_tokens) if count >= FEWEST and (most is None or count <= most)]
    drawn = sorted(able, key=lambda i: row_seed(seed, ids[i], purpose))[:n]
    return np.sort(np.array(drawn, dtype=np.intp))


def shapley_agreement(
    subject: Subject,
    rows: Rows,
    attributions: Mapping[str, Attribution],
    support: Float[np.ndarray, "order example token"],
    side: Float[np.ndarray, " example"],
    places: Sequence[npt.NDArray[np.intp]],
    n_rows: int,
    *,
    seed: int = 0,
    batch_size: int = 64,
    max_memory: int = MAX_MEMORY,
    progress: bool = False,
) -> Float[np.ndarray, "order example"]:
    """Rank correlation of each order with the Shapley values' order, over the tokens that can be taken away.

    Measured on `n_rows` rows of 3 to 50 such tokens, drawn by the seed. Shapley values that are among the
    attributions are used, and not compared with themselves. NaN elsewhere, and where an order is constant.

    Args:
        support: per order; the first orders are the attributions', in their order.
        places: per example, the tokens that can be taken away.
    """
    some = some_rows(rows.ids, np.array([len(p) for p in places]), n_rows, seed, "Shapley values", MOST)
    made: Floats = np.full(support.shape[:2], np.nan)
    known = next((i for i, one in enumerate(attributions.values()) if one.method == SHAPLEY), None)
    if not len(some):
        return made
    if known is not None:
        truth = support[known][some]
    else:
        found = shapley_values(
            subject,
            rows.take(some),
            seed=seed,
            batch_size=batch_size,
            max_memory=max_memory,
            progress=progress,
        )
        truth = found.scores * side[some, None]
    for order in range(len(support)):
        if order != known:
            for i, row in enumerate(some):
                at = places[row]
                made[order, row] = rank_correlation(support[order, row, at], truth[i, at])
    return made
