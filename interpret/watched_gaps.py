"""A gap that gates are watched for: its interval, each head's share in it, and the gap with each head closed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..records import Contrast, Floats, Rows
from ..scenes import Gap
from .audited import Audited, Ints
from .gate_effects import Unit
from .live_gates import Watched, closed_one_by_one
from .models import Subject, score
from .screening import screen

CONFIDENCE = 0.95
BLOCK = 256  # replicates at once


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GapAsked:
    """A gap of some rows: the metric that is recomputed, and the contrast of scores that has gradients."""

    words: str
    rows: Rows
    contrast: Contrast  # of the same rows, in the same order
    metric: Audited
    cluster: Ints | None = None  # (row,) codes of rows that are drawn together


def watch(
    subject: Subject,
    asked: GapAsked,
    layers: Sequence[str],
    n_heads: int,
    *,
    close: bool,
    replicates: int = 1000,
    seed: int = 0,
    progress: bool = False,
) -> tuple[Gap, Watched]:
    """The record of a gap and the way to compute it again.

    Shares are first order and of the gap in mean score of the same contrast: d gap / d gate of each head, from one
    backward pass (Michel et al. 2019, eq. 5, signed). The interval is a percentile bootstrap at 95 % over rows, each side
    among itself, or over clusters.

    Args:
        layers, n_heads: which calls' heads are listed, in the order of the scenes.
        close: also compute the gap with each head alone closed: a forward pass of all rows per head, prefixes shared.

    Raises:
        DataError, UsageError: see `screening.screen`.
    """
    watched = Watched(subject=subject, rows=asked.rows, metric=asked.metric)
    scores = score(subject, asked.rows)
    low, high = _interval(asked, scores, replicates, seed)
    found = {one.unit: one.closing for one in screen(subject, asked.rows, asked.contrast).shares}
    shares = np.array([[-found[Unit(layer, head)] for head in range(n_heads)] for layer in layers])
    closings = None
    if close:
        closed = closed_one_by_one(subject, asked.rows, layers, n_heads, progress=progress)
        closings = np.array([[watched.of(head) for head in layer] for layer in closed])
    weighs = int(np.count_nonzero(asked.contrast.weights))
    made = Gap(
        words=asked.words,
        estimate=watched.of(scores),
        low=low,
        high=high,
        n=weighs,
        shares=shares,
        closings=closings,
    )
    return made, watched


def _interval(asked: GapAsked, scores: Floats, replicates: int, seed: int) -> tuple[float, float]:
    generator = np.random.default_rng(seed)
    n = len(scores)
    drawn = []
    for start in range(0, replicates, BLOCK):
        counts = np.zeros((min(BLOCK, replicates - start), n))
        if asked.cluster is not None:
            _, code = np.unique(asked.cluster, return_inverse=True)
            n_clusters = int(code.max()) + 1
            times = generator.multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters), size=len(counts))
            counts = times[:, code].astype(np.float64)
        else:
            sides = np.zeros(n) if asked.metric.strata is None else asked.metric.strata
            for side in np.unique(sides):
                at = np.flatnonzero(sides == side)
                counts[:, at] = generator.multinomial(
                    len(at), np.full(len(at), 1 / len(at)), size=len(counts)
                )
        drawn.append(asked.metric.values(scores, counts))
    known = np.concatenate(drawn)
    known = known[np.isfinite(known)]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(known, [tail, 1 - tail]) if known.size else (np.nan, np.nan)
    return float(low), float(high)
