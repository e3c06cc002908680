"""Intervals, tests and resampling in plain loops, each written from its paper."""

import itertools
import math

from scipy import stats
from scipy.optimize import minimize_scalar


def likeliest_under_ratio(k1, n1, k2, n2, ratio):
    """Rates of largest likelihood with first = ratio * second, found by search (Koopman 1984, section 2)."""

    def term(k, p):
        return 0.0 if k == 0 else k * math.log(p)

    def cost(second):
        first = ratio * second
        return -(term(k1, first) + term(n1 - k1, 1 - first) + term(k2, second) + term(n2 - k2, 1 - second))

    top = min(1.0, 1 / ratio)
    second = minimize_scalar(cost, bounds=(1e-12, top - 1e-12), method="bounded", options={"xatol": 1e-13}).x
    return ratio * second, second


def pearson_of_ratio(k1, n1, k2, n2, ratio):
    """Koopman's chi-square: squared residuals of both groups over their variances."""
    p1, p2 = likeliest_under_ratio(k1, n1, k2, n2, ratio)
    return (k1 - n1 * p1) ** 2 / (n1 * p1 * (1 - p1)) + (k2 - n2 * p2) ** 2 / (n2 * p2 * (1 - p2))


def paired_newcombe(a, b, c, d, confidence=0.95):
    """Newcombe 1998 (paired), method 10, written out as in his section 2.10."""
    z = stats.norm.ppf(0.5 + confidence / 2)
    n = a + b + c + d

    def ends(k):
        # Roots of (p - k / n)^2 = z^2 p (1 - p) / n.
        middle = (2 * k + z * z) / (2 * (n + z * z))
        half = z * math.sqrt(z * z + 4 * k * (1 - k / n)) / (2 * (n + z * z))
        return middle - half, middle + half

    first, second = (a + b) / n, (a + c) / n
    l2, u2 = ends(a + b)
    l3, u3 = ends(a + c)
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    phi = 0.0
    if margins:
        numerator = a * d - b * c
        if numerator > n / 2:
            phi = (numerator - n / 2) / math.sqrt(margins)
        elif numerator < 0:
            phi = numerator / math.sqrt(margins)
    dl2, du2, dl3, du3 = first - l2, u2 - first, second - l3, u3 - second
    delta = math.sqrt(dl2**2 - 2 * phi * dl2 * du3 + du3**2)
    epsilon = math.sqrt(du2**2 - 2 * phi * du2 * dl3 + dl3**2)
    return (b - c) / n - delta, (b - c) / n + epsilon


def homogeneity_p(k, n):
    """Chance, given both margins, of Pearson's statistic at least as large: every table counted."""
    total, rows = sum(k), sum(n)

    def statistic(table):
        rate = total / rows
        return sum((x - m * rate) ** 2 / (m * rate * (1 - rate)) for x, m in zip(table, n, strict=True))

    seen = statistic(k)
    further = everything = 0
    for table in itertools.product(*(range(m + 1) for m in n)):
        if sum(table) != total:
            continue
        ways = math.prod(math.comb(m, x) for x, m in zip(table, n, strict=True))
        everything += ways
        if statistic(table) >= seen - 1e-9:
            further += ways
    return further / everything


def clustered_difference(values, group, reference, cluster):
    """Difference of two means and its standard error: what each cluster does to both, added up by hand."""
    a = [v for v, inside in zip(values, group, strict=True) if inside]
    b = [v for v, inside in zip(values, reference, strict=True) if inside]
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    codes = sorted(set(cluster))
    there_a = len({c for c, inside in zip(cluster, group, strict=True) if inside})
    there_b = len({c for c, inside in zip(cluster, reference, strict=True) if inside})
    variance = 0.0
    for code in codes:
        moved = 0.0
        for value, in_a, in_b, c in zip(values, group, reference, cluster, strict=True):
            if c != code:
                continue
            if in_a:
                moved += math.sqrt(there_a / (there_a - 1)) * (value - mean_a) / len(a)
            if in_b:
                moved -= math.sqrt(there_b / (there_b - 1)) * (value - mean_b) / len(b)
        variance += moved**2
    return mean_a - mean_b, math.sqrt(variance)


def largest_gap(k, n, confidence=0.95):
    """Bounds of the largest gap from Newcombe's interval of every ordered pair at error alpha / pairs."""
    pairs = len(k) * (len(k) - 1) // 2
    z = stats.norm.ppf(1 - (1 - confidence) / (2 * pairs))

    def ends(x, m):
        middle = (2 * x + z * z) / (2 * (m + z * z))
        half = z * math.sqrt(z * z + 4 * x * (1 - x / m)) / (2 * (m + z * z))
        return middle - half, middle + half

    low, high = 0.0, -1.0
    for i, j in itertools.permutations(range(len(k)), 2):
        p, q = k[i] / n[i], k[j] / n[j]
        (l1, u1), (l2, u2) = ends(k[i], n[i]), ends(k[j], n[j])
        low = max(low, p - q - math.sqrt((p - l1) ** 2 + (u2 - q) ** 2))
        high = max(high, p - q + math.sqrt((u1 - p) ** 2 + (q - l2) ** 2))
    return low, high


def bca(estimate, draws, left_out, confidence=0.95):
    """Efron's BCa interval (1987, eq. 2.3), values left out given one by one."""
    below = sum((d < estimate) + 0.5 * (d == estimate) for d in draws) / len(draws)
    z0 = stats.norm.ppf(below)
    centre = sum(left_out) / len(left_out)
    cubes = sum((centre - x) ** 3 for x in left_out)
    squares = sum((centre - x) ** 2 for x in left_out)
    a = cubes / (6 * squares**1.5)
    ends = []
    ordered = sorted(draws)
    for tail in ((1 - confidence) / 2, (1 + confidence) / 2):
        z = z0 + stats.norm.ppf(tail)
        level = stats.norm.cdf(z0 + z / (1 - a * z))
        at = level * (len(ordered) - 1)
        i = math.floor(at)
        j = min(i + 1, len(ordered) - 1)
        ends.append(ordered[i] + (at - i) * (ordered[j] - ordered[i]))
    return tuple(ends)
