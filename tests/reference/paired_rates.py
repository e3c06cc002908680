"""Tango's score statistic by brute force: the likelihood of a paired table searched under the hypothesis."""

import math


def tango_by_search(
    first_only: int, second_only: int, n: int, difference: float, steps: int = 200_000
) -> float:
    """(b - c - n d) / sqrt(n (p12 + p21 - d^2)) at the likeliest p21 with p12 = p21 + d, searched on a grid."""
    b, c, rest = first_only, second_only, n - first_only - second_only
    least, most = max(0.0, -difference), (1 - difference) / 2
    best, at = -math.inf, least
    for i in range(steps + 1):
        p21 = least + (most - least) * i / steps
        p12, other = p21 + difference, 1 - 2 * p21 - difference
        total = 0.0
        for count, chance in ((b, p12), (c, p21), (rest, other)):
            if count:
                total += count * math.log(chance) if chance > 0 else -math.inf
        if total > best:
            best, at = total, p21
    variance = n * (2 * at + difference - difference**2)
    return (b - c - n * difference) / math.sqrt(variance)


def paired_gap_change(
    rows: list[tuple[str, bool, bool]], group: str, reference: str
) -> tuple[float, float, float]:
    """Gap before, gap after, and the squared standard error of the change, row by row.

    `rows` are (group, before, after); a rate of all. The error of each group's mean difference is s^2 / n, plus that
    of two rows more that moved either way, 2 / n^2.
    """
    gaps, variance = [], 0.0
    means = {}
    for name in (group, reference):
        mine = [(a, b) for g, a, b in rows if g == name]
        n = len(mine)
        means[name] = (sum(a for a, _ in mine) / n, sum(b for _, b in mine) / n)
        differences = [int(b) - int(a) for a, b in mine]
        centre = sum(differences) / n
        variance += sum((d - centre) ** 2 for d in differences) / (n - 1) / n + 2 / n**2
    for when in (0, 1):
        gaps.append(means[group][when] - means[reference][when])
    return gaps[0], gaps[1], variance
