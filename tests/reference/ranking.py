"""Areas under curves pair by pair and threshold by threshold: slower and less complicated than what they check."""

import math
from collections.abc import Sequence


def beats(x: float, y: float) -> float:
    """1 where a positive scores above a negative, 1/2 where they tie, else 0 (DeLong et al. 1988, eq. 2)."""
    return 1.0 if x > y else 0.5 if x == y else 0.0


def components(positives: Sequence[float], negatives: Sequence[float]) -> tuple[list[float], list[float]]:
    """V10 of each positive, V01 of each negative."""
    v10 = [sum(beats(x, y) for y in negatives) / len(negatives) for x in positives]
    v01 = [sum(beats(x, y) for x in positives) / len(positives) for y in negatives]
    return v10, v01


def spread(a: Sequence[float], b: Sequence[float]) -> float:
    """The covariance of two columns, with n - 1."""
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    return sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True)) / (len(a) - 1)


def delong(positives: Sequence[float], negatives: Sequence[float]) -> tuple[float, float]:
    """The area and its variance S10 / m + S01 / n."""
    v10, v01 = components(positives, negatives)
    area = sum(v10) / len(v10)
    return area, spread(v10, v10) / len(positives) + spread(v01, v01) / len(negatives)


def delong_covariance(
    first: tuple[Sequence[float], Sequence[float]], second: tuple[Sequence[float], Sequence[float]]
) -> float:
    """Joint covariance of the areas of two scores of the same positives and negatives (their eq. 6)."""
    a10, a01 = components(*first)
    b10, b01 = components(*second)
    return spread(a10, b10) / len(a10) + spread(a01, b01) / len(a01)


def bias_covariance(rows: Sequence[tuple[float, bool, bool]]) -> list[list[float]]:
    """Joint covariance of subgroup, BPSN and BNSP areas of (score, label, member): each term over shared rows."""

    def chosen(label: bool, member: bool) -> list[int]:
        return [i for i, (_, y, g) in enumerate(rows) if y == label and g == member]

    sets = [
        (chosen(True, True), chosen(False, True)),
        (chosen(True, False), chosen(False, True)),
        (chosen(True, True), chosen(False, False)),
    ]
    parts = []
    for positives, negatives in sets:
        v10, v01 = components([rows[i][0] for i in positives], [rows[i][0] for i in negatives])
        mean = sum(v10) / len(v10)
        parts.append(
            (
                {i: v - mean for i, v in zip(positives, v10, strict=True)},
                {i: v - mean for i, v in zip(negatives, v01, strict=True)},
            )
        )
    made = []
    for a10, a01 in parts:
        row = []
        for b10, b01 in parts:
            total = 0.0
            for a, b in ((a10, b10), (a01, b01)):
                shared = set(a) & set(b)
                if shared:
                    total += sum(a[i] * b[i] for i in shared) / (len(shared) * (len(shared) - 1))
            row.append(total)
        made.append(row)
    return made


def average_precision(scores: Sequence[float], labels: Sequence[bool]) -> float:
    """Over positives, the precision among those that score as high or higher."""
    found = []
    for score, label in zip(scores, labels, strict=True):
        if label:
            above = [y for s, y in zip(scores, labels, strict=True) if s >= score]
            found.append(sum(above) / len(above))
    return sum(found) / len(found)


def height(scores: Sequence[float], labels: Sequence[bool], at: float) -> float:
    """The straight-lined ROC curve at a false positive rate that is none of its corners."""
    positives, negatives = sum(labels), len(labels) - sum(labels)
    x, y = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        picked = [label for s, label in zip(scores, labels, strict=True) if s >= threshold]
        next_x, next_y = (len(picked) - sum(picked)) / negatives, sum(picked) / positives
        if next_x > at:
            return y + (next_y - y) * (at - x) / (next_x - x)
        x, y = next_x, next_y
    raise AssertionError("the curve ends at 1")


def newcombe(area: float, m: int, n: int, z: float) -> tuple[float, float]:
    """Newcombe 2006, method 5: ends by bisection from his equation."""
    equal = (m + n) / 2 - 1

    def inside(at: float) -> bool:
        variance = at * (1 - at) / (m * n)
        variance *= 1 + equal * (1 - at) / (2 - at) + equal * at / (1 + at)
        return abs(area - at) <= z * math.sqrt(variance)

    def end(good: float, bad: float) -> float:
        for _ in range(200):
            middle = (good + bad) / 2
            good, bad = (middle, bad) if inside(middle) else (good, middle)
        return good

    low = 0.0 if area == 0 else end(area - 1e-12, 0.0)
    high = 1.0 if area == 1 else end(area + 1e-12, 1.0)
    return low, high
