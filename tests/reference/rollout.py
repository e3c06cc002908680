"""Rollout and gradient-weighted relevance from whole matrices, written from the papers, one example at a time."""

import numpy as np

Matrix = np.ndarray


def fused(maps: Matrix, how: str = "mean") -> Matrix:
    """(query, key) from (head, query, key)."""
    n_heads, n, m = maps.shape
    made = np.zeros((n, m))
    for i in range(n):
        for j in range(m):
            weights = [float(maps[h, i, j]) for h in range(n_heads)]
            made[i, j] = {"mean": sum(weights) / n_heads, "max": max(weights), "min": min(weights)}[how]
    return made


def rollout(layers: list[Matrix], *, residual: float = 0.5, heads: str = "mean") -> Matrix:
    """Abnar & Zuidema 2020: the product of all layers' mixed and normalised maps, (query, key)."""
    n = layers[0].shape[1]
    joint = np.eye(n)
    for maps in layers:
        mixed = (1 - residual) * fused(maps, heads) + residual * np.eye(n)
        for i in range(n):
            mixed[i] = mixed[i] / mixed[i].sum() if mixed[i].sum() > 0 else np.eye(n)[i]
        joint = mixed @ joint
    return joint


def weighted(maps: Matrix, gradients: Matrix) -> Matrix:
    """Chefer et al. 2021b, equation 5: the mean over heads of what is positive in A * dA."""
    return fused(np.maximum(maps * gradients, 0.0))


def relevance(layers: list[tuple[Matrix, Matrix]]) -> Matrix:
    """Equation 6 from R = I on; without what each token began with."""
    n = layers[0][0].shape[1]
    r = np.eye(n)
    for maps, gradients in layers:
        r = r + weighted(maps, gradients) @ r
    return r - np.eye(n)


def normalised(r: Matrix) -> Matrix:
    """Equations 8 and 9."""
    n = len(r)
    rest = r - np.eye(n)
    for i in range(n):
        if rest[i].sum() > 0:
            rest[i] = rest[i] / rest[i].sum()
    return rest + np.eye(n)


def two_streams(
    encoder: list[tuple[Matrix, Matrix]], decoder: list[tuple[str, Matrix, Matrix]]
) -> tuple[Matrix, Matrix]:
    """Equations 6, 7 and 10 in the order the layers run: R_tt - I and R_ts."""
    n_source, n_target = encoder[0][0].shape[1], decoder[0][1].shape[1]
    r_ss, r_tt, r_ts = np.eye(n_source), np.eye(n_target), np.zeros((n_target, n_source))
    for maps, gradients in encoder:
        r_ss = r_ss + weighted(maps, gradients) @ r_ss
    for kind, maps, gradients in decoder:
        c = weighted(maps, gradients)
        if kind == "self":
            r_tt, r_ts = r_tt + c @ r_tt, r_ts + c @ r_ts
        else:
            r_ts = r_ts + normalised(r_tt).T @ c @ normalised(r_ss)
    return r_tt - np.eye(n_target), r_ts
