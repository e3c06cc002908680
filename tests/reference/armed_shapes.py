"""Two functions whose shapes are broken on purpose, to prove that shape checks are armed."""

import numpy as np
from jaxtyping import Float


def rows_sum(
    attention: Float[np.ndarray, "query key"], value: Float[np.ndarray, "key feature"]
) -> Float[np.ndarray, "query feature"]:
    """Attention applied to values: `key` has to be one number."""
    return np.einsum("qk,kf->qf", attention, value[: attention.shape[1]])


def transposed(values: Float[np.ndarray, "row column"]) -> Float[np.ndarray, "row column"]:
    """Wrong on purpose: what comes back has the axes exchanged."""
    return values.T


def scaled(values: Float[np.ndarray, "row column"], factor: float) -> Float[np.ndarray, "row column"]:
    """A float argument, to which an int may be given and a string may not."""
    return values * factor
