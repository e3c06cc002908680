"""Calibration of probabilities bin by bin: slower and less complicated than what they check."""

import math
from collections.abc import Sequence


def binned(
    probability: Sequence[float], label: Sequence[bool], edges: Sequence[float]
) -> list[list[tuple[float, bool]]]:
    """The rows of each bin [low, high), the last with its upper edge."""
    made: list[list[tuple[float, bool]]] = [[] for _ in edges[1:]]
    for p, y in zip(probability, label, strict=True):
        inside = [i for i in range(len(made)) if edges[i] <= p < edges[i + 1]]
        made[inside[0] if inside else len(made) - 1].append((p, y))
    return made


def plain_error(bins: Sequence[Sequence[tuple[float, bool]]]) -> float:
    """Guo et al. 2017, eq. 3."""
    n = sum(map(len, bins))
    return sum(abs(sum(p - y for p, y in rows)) for rows in bins) / n


def expected_if_calibrated(bins: Sequence[Sequence[tuple[float, bool]]]) -> float:
    """The mean of the plain error where each label is a coin with its own probability, by the normal curve."""
    n = sum(map(len, bins))
    return sum(math.sqrt(2 / math.pi * sum(p * (1 - p) for p, _ in rows)) for rows in bins) / n


def squared_error(bins: Sequence[Sequence[tuple[float, bool]]], *, of_label_alone: bool) -> float:
    """Debiased squared error over bins of two rows or more; with the variance of y alone, Kumar et al. 2019, 5.2."""
    kept = [rows for rows in bins if len(rows) > 1]
    n = sum(map(len, kept))
    total = 0.0
    for rows in kept:
        size = len(rows)
        excess = [p - y for p, y in rows]
        values = [float(y) for _, y in rows] if of_label_alone else excess
        mean = sum(values) / size
        variance = sum((value - mean) ** 2 for value in values) / (size - 1)
        total += size / n * ((sum(excess) / size) ** 2 - variance / size)
    return total
