"""Orders of tokens: the rank correlation of two attributions, and scores by chance."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

from ..records import Floats
from .draws import row_seed

FEWEST = 3  # tokens: of two, every rank correlation is 1 or -1


def rank_correlation(one: Float[np.ndarray, " token"], other: Float[np.ndarray, " token"]) -> float:
    """Spearman's rank correlation, ties given their mean rank; NaN for fewer than three tokens or a constant."""
    if len(one) < FEWEST:
        return float("nan")
    a, b = rankdata(one), rankdata(other)
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / scale if scale > 0 else float("nan")


def row_generator(seed: int, name: str, purpose: str) -> np.random.Generator:
    """Random numbers of one row: the same for its id and the seed, whatever rows stand beside it."""
    return np.random.default_rng(row_seed(seed, name, purpose))


def random_scores(
    seed: int, ids: Sequence[str], lengths: Sequence[int], draw: int = 0
) -> Float[np.ndarray, "example token"]:
    """Standard normal scores that know nothing of the model, 0 beyond an example's last token."""
    made: Floats = np.zeros((len(ids), max(lengths)))
    for i, (name, n) in enumerate(zip(ids, lengths, strict=True)):
        made[i, :n] = row_generator(seed, name, f"random scores {draw}").normal(size=n)
    return made
