"""Rates of groups at each threshold, row by row: slower and less complicated than what they check."""

from collections.abc import Sequence


def confusion(
    score: Sequence[float], label: Sequence[bool], group: Sequence[str | None], who: str, threshold: float
) -> tuple[int, int, int, int]:
    """tp, fp, fn, tn of one group where rows from the threshold on are predicted positive."""
    cells = [0, 0, 0, 0]
    for s, y, g in zip(score, label, group, strict=True):
        if (g or "unknown") == who:
            cells[(0 if y else 1) if s >= threshold else (2 if y else 3)] += 1
    return cells[0], cells[1], cells[2], cells[3]


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the middle two."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
