"""Gaps divided among units in plain loops over rows and places, and attributions made by hand."""

import numpy as np

from clinometer.records import Attribution


def attributed(tokens, scores, *, base=0.5, residual=None, target="logit(yes) - logit(no)", ids=None):
    """A record of ragged tokens and the scores of each, adding up but for the residual given."""
    width = max(map(len, tokens))
    padded = np.zeros((len(tokens), width))
    for row, values in enumerate(scores):
        padded[row, : len(values)] = values
    n = len(tokens)
    left = np.zeros(n) if residual is None else np.asarray(residual, dtype=float)
    start = np.full(n, base)
    return Attribution(
        method="integrated gradients",
        target=target,
        unit="logit",
        baseline="the mask token",
        ids=tuple(f"r{i}" for i in range(n)) if ids is None else ids,
        tokens=tuple(map(tuple, tokens)),
        scores=padded,
        value=start + padded.sum(axis=1) + left,
        base_value=start,
        nodes=np.full(n, 20),
        converged=np.ones(n, dtype=bool),
        tolerance=np.full(n, 0.01),
    )


def corpus(n=300, *, seed=0, n_group=100, frequency=0.0, treatment=0.0, noise=0.05, words=40, length=8):
    """Texts of Zipf words with an effect each. In the group's rows, the first `n_group`, the word "proxy" is more
    frequent by `frequency` and the word "same", equally frequent, counts for more by `treatment`. Both have rate .5
    elsewhere, and "proxy" counts 1 wherever it stands."""
    generator = np.random.default_rng(seed)
    p = 1 / np.arange(1, words + 1)
    p /= p.sum()
    effect = generator.normal(size=words) * 0.1
    tokens, scores = [], []
    for row in range(n):
        inside = row < n_group
        drawn = generator.choice(words, size=length, p=p)
        names = [f"w{word}" for word in drawn]
        values = list(effect[drawn] + noise * generator.normal(size=length))
        if generator.random() < 0.4 + (frequency if inside else 0.0):
            names.append("proxy")
            values.append(1.0 + noise * generator.normal())
        if generator.random() < 0.5:
            names.append("same")
            values.append(0.3 + (treatment if inside else 0.0) + noise * generator.normal())
        tokens.append(names)
        scores.append(values)
    return attributed(tokens, scores, residual=1e-4 * generator.normal(size=n))


def shares(attribution, weights, fold=str.casefold):
    """unit -> sum of weight * attribution, one place after the other."""
    made = {}
    for row, names in enumerate(attribution.tokens):
        for at, name in enumerate(names):
            made[fold(name)] = made.get(fold(name), 0.0) + weights[row] * attribution.scores[row, at]
    return made


def parts(attribution, weights, fold=str.casefold):
    """unit -> (frequency part, treatment part), from counts and means of each side written out."""
    counts, totals = ({}, {}), ({}, {})
    for row, names in enumerate(attribution.tokens):
        side = 0 if weights[row] > 0 else 1
        if weights[row] == 0:
            continue
        for at, name in enumerate(names):
            unit = fold(name)
            counts[side][unit] = counts[side].get(unit, 0.0) + abs(weights[row])
            totals[side][unit] = totals[side].get(unit, 0.0) + abs(weights[row]) * attribution.scores[row, at]
    made = {}
    for unit in {**counts[0], **counts[1]}:
        fa, fb = counts[0].get(unit, 0.0), counts[1].get(unit, 0.0)
        ta, tb = totals[0].get(unit, 0.0), totals[1].get(unit, 0.0)
        if fa == 0 or fb == 0:
            made[unit] = (ta - tb, 0.0)
            continue
        ma, mb = ta / fa, tb / fb
        pooled = (fa * ma + fb * mb) / (fa + fb)
        made[unit] = ((fa - fb) * pooled, fa * (ma - pooled) + fb * (pooled - mb))
    return made


def along(score, start, end, gradient, steps=2_000):
    """Aumann-Shapley shares of score(end) - score(start) along the straight line, by the midpoint rule."""
    total = np.zeros_like(start)
    for step in range(steps):
        total += gradient(start + (step + 0.5) / steps * (end - start)) / steps
    return (total * (end - start)).sum(axis=-1)
