"""Statistics of one attention map, weight by weight: slower and less complicated than the code they check."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np


def map_statistics(
    weights: np.ndarray,
    *,
    valid: Sequence[bool],
    first_key: int,
    shift: int | None,
    classes: dict[str, Sequence[bool]],
    top: int,
) -> dict[str, Any]:
    """Every statistic of one map (query, key) in float64; queries that are padding NaN; `shift` None in cross-attention."""
    n, m = weights.shape
    found: dict[str, Any] = {
        name: np.full(n, math.nan)
        for name in ("entropy", "peak", "distance", "first", "itself", "previous", "following", *classes)
    }
    found["mass"] = np.zeros(n)
    found["received"] = np.zeros(m)
    found["top"] = np.full((n, top), math.nan)
    for i in range(n):
        row = [float(weights[i, j]) for j in range(m)]
        found["mass"][i] = sum(row)
        if not valid[i]:
            continue
        found["entropy"][i] = -sum(w * math.log(w) for w in row if w > 0)
        found["peak"][i] = max(row)
        found["first"][i] = row[first_key]
        found["top"][i] = [*sorted(row, reverse=True), *[0.0] * top][:top]
        for name, members in classes.items():
            found[name][i] = sum(w for w, member in zip(row, members, strict=True) if member)
        for j in range(m):
            found["received"][j] += row[j] / sum(valid)
        if shift is None:
            continue
        at = i + shift
        far = sum(w * abs(at - j) for j, w in enumerate(row))
        found["distance"][i] = far / sum(row) if sum(row) > 0 else 0.0
        for name, j in (("itself", at), ("previous", at - 1), ("following", at + 1)):
            found[name][i] = row[j] if 0 <= j < m else 0.0
    return found


def seen_keys(allowed: np.ndarray) -> list[bool]:
    """Keys that any query may attend to in any head, of (head, query, key)."""
    heads, n, m = allowed.shape
    return [any(allowed[h, i, j] for h in range(heads) for i in range(n)) for j in range(m)]
