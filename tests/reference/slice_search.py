"""Slices the slow way: every conjunction counted, every effect by a loop, every permutation in turn."""

import math
from itertools import combinations, permutations, product


def conjunctions(columns, minimum, depth, count=None, marked=None):
    """{frozenset of (column, value): (rows, marked rows)} of all that hold for `minimum` rows."""
    n = len(next(iter(columns.values())))
    count = [1] * n if count is None else count
    found = {}
    for size in range(1, depth + 1):
        for names in combinations(columns, size):
            for values in product(*(sorted(set(columns[name])) for name in names)):
                rows = [
                    i for i in range(n) if all(columns[c][i] == v for c, v in zip(names, values, strict=True))
                ]
                support = sum(count[i] for i in rows)
                if support >= minimum:
                    hits = None if marked is None else sum(count[i] for i in rows if marked[i])
                    found[frozenset(zip(names, values, strict=True))] = (support, hits)
    return found


def within_strata(member, value, stratum):
    """Mantel and Haenszel's difference of means, slice minus complement, and the sum it is made of."""
    above = weights = 0.0
    for name in set(stratum):
        inside = [value[i] for i in range(len(value)) if stratum[i] == name and member[i]]
        outside = [value[i] for i in range(len(value)) if stratum[i] == name and not member[i]]
        if inside and outside:
            weight = len(inside) * len(outside) / (len(inside) + len(outside))
            above += weight * (sum(inside) / len(inside) - sum(outside) / len(outside))
            weights += weight
    return above / weights, above


def all_orders(value, stratum):
    """The values in every order that exchanges them within strata."""
    places = [[i for i in range(len(value)) if stratum[i] == name] for name in sorted(set(stratum))]
    for orders in product(*(permutations(place) for place in places)):
        made = list(value)
        for place, order in zip(places, orders, strict=True):
            for to, source in zip(place, order, strict=True):
                made[to] = value[source]
        yield made


def max_t(members, value, stratum):
    """z of each slice and its adjusted p-value, over every permutation there is."""
    observed = [within_strata(member, value, stratum)[1] for member in members]
    drawn = [
        [within_strata(member, made, stratum)[1] for member in members] for made in all_orders(value, stratum)
    ]
    sds = [math.sqrt(sum(row[j] ** 2 for row in drawn) / len(drawn)) for j in range(len(members))]
    z = [above / sd for above, sd in zip(observed, sds, strict=True)]
    largest = [max(abs(x) / sd for x, sd in zip(row, sds, strict=True)) for row in drawn]
    return z, [sum(most >= abs(one) - 1e-9 for most in largest) / len(largest) for one in z]


def shapley(items, divergence):
    """Contribution of each item: its gain averaged over every order in which items can come."""
    orders = list(permutations(items))
    return {
        item: sum(
            divergence[frozenset(order[: order.index(item) + 1])]
            - divergence[frozenset(order[: order.index(item)])]
            for order in orders
        )
        / len(orders)
        for item in items
    }


def global_divergence(item, divergence, n_values):
    """Pastor et al.'s global divergence of an item (column, value), by its definition.

    `divergence` of every conjunction that was found, the empty one included.
    """
    a = len(n_values)
    others = [name for name in n_values if name != item[0]]
    total = 0.0
    for size in range(len(others) + 1):
        for b in combinations(others, size):
            m = math.prod(n_values[name] for name in (*b, item[0]))
            factor = math.factorial(size) * math.factorial(a - size - 1) / (math.factorial(a) * m)
            for j in divergence:
                if {name for name, _ in j} == set(b) and j | {item} in divergence:
                    total += factor * (divergence[j | {item}] - divergence[j])
    return total


def clustered_error(member, value, cluster):
    """Standard error of the difference of two means, clusters independent: the sandwich, G / (G - 1) in each."""
    total = 0.0
    for side in (True, False):
        rows = [i for i in range(len(value)) if bool(member[i]) == side]
        mean = sum(value[i] for i in rows) / len(rows)
        sums = {}
        for i in rows:
            sums[cluster[i]] = sums.get(cluster[i], 0.0) + value[i] - mean
        g = len(sums)
        total += g / (g - 1) * sum(s * s for s in sums.values()) / len(rows) ** 2
    return math.sqrt(total)
