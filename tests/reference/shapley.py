"""Removal-based attributions the slow way: one forward pass at a time, straight from the definitions."""

from itertools import chain, combinations
from math import factorial

import numpy as np
import torch


def games(subject, rows):
    """Per example: its players (places that the reference changes), and what a set of them in place is worth."""
    for i in range(len(rows)):
        batch = subject.encode(rows.take([i]))
        x, b = subject.embed(batch).detach(), subject.reference(batch).detach()
        n = len(subject.names(rows.take([i]))[0])
        players = [place for place in range(n) if not torch.equal(x[0, place], b[0, place])]

        def worth(coalition, batch=batch, x=x, b=b, players=players):
            points = x.clone()
            for place in players:
                if place not in coalition:
                    points[0, place] = b[0, place]
            with torch.no_grad():
                return float(subject.select(subject.forward(batch, points)).double())

        yield players, worth


def leave_one_out(subject, rows):
    """Per example {place: f(x) - f(x without it)}."""
    return [
        {player: worth(set(players)) - worth(set(players) - {player}) for player in players}
        for players, worth in games(subject, rows)
    ]


def shapley_values(subject, rows):
    """Per example {place: Shapley value}, a sum over subsets (Lundberg & Lee 2017, eq. 4)."""
    return [by_subsets(players, worth) for players, worth in games(subject, rows)]


def by_subsets(players, worth):
    """{player: sum over subsets S of the others of |S|! (n - |S| - 1)! / n! (worth(S + player) - worth(S))}."""
    n, made = len(players), {}
    for player in players:
        others = [other for other in players if other != player]
        subsets = chain.from_iterable(combinations(others, size) for size in range(n))
        made[player] = sum(
            factorial(len(s))
            * factorial(n - len(s) - 1)
            / factorial(n)
            * (worth({*s, player}) - worth(set(s)))
            for s in subsets
        )
    return made


def as_scores(per_example, tokens):
    """The same as an array (example, token)."""
    made = np.zeros((len(per_example), tokens))
    for i, values in enumerate(per_example):
        for place, value in values.items():
            made[i, place] = value
    return made
