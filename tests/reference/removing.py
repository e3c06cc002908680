"""Measures of faithfulness the slow way: one row, one set of tokens and one forward pass at a time."""

import math

import numpy as np
import torch


def outcome(subject, rows, i, kept, measure):
    """`measure` of the outputs of row i with only the tokens that `kept` names in place."""
    batch = subject.encode(rows.take([i]))
    with torch.no_grad():
        mixed = subject.reference(batch).clone()
        embedded = subject.embed(batch)
        for token in kept:
            mixed[0, token] = embedded[0, token]
        return measure(subject.forward(batch, mixed)[0].double())


def players(subject, rows, i):
    """Tokens of row i whose embedding the reference changes."""
    batch = subject.encode(rows.take([i]))
    with torch.no_grad():
        embedded, reference = subject.embed(batch), subject.reference(batch)
    n = len(subject.names(rows.take([i]))[0])
    return [t for t in range(n) if not torch.equal(embedded[0, t], reference[0, t])]


def measures(subject, rows, i, scores, measure, shares, eraser):
    """The measures of row i that follow from removals (Samek et al. 2017; DeYoung et al. 2020). No ties in scores."""
    tokens = players(subject, rows, i)
    order = sorted(tokens, key=lambda t: -scores[t])
    n = len(order)

    def f(kept):
        return outcome(subject, rows, i, kept, measure)

    def k(share):
        return max(1, math.ceil(share * n - 1e-9))

    whole, nothing = f(order), f([])
    most = np.mean([whole - f(order[k(s) :]) for s in shares])
    least = np.mean([whole - f(order[: n - k(s)]) for s in shares])
    return {
        "area_between_curves": most - least,
        "most_relevant_first": most,
        "least_relevant_first": least,
        "insertion": np.mean([f(order[: k(s)]) - nothing for s in shares]),
        "comprehensiveness": np.mean([whole - f(order[k(s) :]) for s in eraser]),
        "sufficiency": np.mean([whole - f(order[: k(s)]) for s in eraser]),
    }
