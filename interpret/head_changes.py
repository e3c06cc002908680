"""Which heads behave differently in another version of a model: where they look, and how much they count."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from tqdm.auto import tqdm

from ..errors import DataError, UsageError, did_you_mean
from ..records import Floats, Rows, plain
from .bootstrap import estimates
from .float64 import in_float64
from .head_effects import head_effects
from .interventions import every_head, intervene
from .keeping import Keep
from .models import Subject, chunks, score
from .trace import Trace
from .tracing import trace
from .variants import has_gradients

COUNTING = {
    "gradients": "A * dA of the head, first order (Michel et al. 2019)",
    "closing": "score minus the score with the head closed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadChange:
    """One head of one version beside the same head of another; intervals are over rows, pointwise."""

    layer: str
    layer_after: str
    head: int
    n: int
    divergence: float  # mean total variation between both maps, over queries (no padding), then rows: 0 to 1
    low: float
    high: float
    effect_before: float | None  # mean effect on the score, signed, in its unit
    effect_after: float | None
    share_before: float | None  # of the mean |effect| of all heads
    share_after: float | None
    share_change: float | None
    share_low: float | None
    share_high: float | None
    correlation: float | None  # of both effects over rows; None where one of them is constant
    correlation_low: float | None
    correlation_high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadChanges:
    """How the heads of two versions differ on the same rows. `heads` is empty where there are no same heads."""

    n: int
    heads: tuple[HeadChange, ...]
    reason: str  # why heads, or what they count, could not be compared; "" where all could
    received: (
        tuple[float, float, float] | None
    )  # total variation of attention received by tokens, averaged over all heads: estimate, low, high
    counted: str  # what an effect is, in words; "" where none was measured
    confidence: float
    replicates: int
    seed: int

    @property
    def frame(self) -> Any:
        """Every head as a row of a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame([plain(one) for one in self.heads])

    @property
    def ranked(self) -> tuple[HeadChange, ...]:
        """Heads by divergence, the largest first."""
        return tuple(sorted(self.heads, key=lambda one: -one.divergence))


def head_changes(
    before: Subject,
    after: Subject,
    rows: Rows,
    *,
    counting: str = "gradients",
    batch_size: int = 32,
    confidence: float = 0.95,
    replicates: int = 1000,
    seed: int = 0,
    progress: bool = False,
) -> HeadChanges:
    """Where each head looks and how much it counts, before and after.

    Heads are the same where both models make as many self-attention calls with as many heads, in their order; of
    models of other shapes only the attention that tokens receive on average is compared, and of other tokens nothing.

    Args:
        counting: "gradients" is A * dA, from one backward pass of each; "closing" closes each head exactly, one by one,
            and is all there is for int8, which has no gradients.

    Raises:
        UsageError: an unknown way to count.
        DataError: fewer than two rows, of which there is no interval.
    """
    if counting not in COUNTING:
        raise UsageError(f"counting={counting!r} is not known: {did_you_mean(counting, COUNTING)}")
    if len(rows) < 2:
        raise DataError(f"{len(rows)} row(s): heads are compared with intervals, which need 2 or more.")
    kept = {"n": len(rows), "confidence": confidence, "replicates": replicates, "seed": seed}
    settings = {"confidence": confidence, "replicates": replicates, "seed": seed}
    names = [[(*one.prefix, *row) for row in one.names(rows)] for one in (before, after)]
    if names[0] != names[1]:
        n = sum(mine != theirs for mine, theirs in zip(*names, strict=True))
        reason = f"the two split {n} of {len(rows)} rows into other tokens: no map has a counterpart"
        return HeadChanges(heads=(), reason=reason, received=None, counted="", **kept)  # type: ignore[arg-type]
    layers, shapes, divergence, received = _looked(before, after, rows, batch_size, progress)
    made = estimates(received[:, None], **settings)  # type: ignore[arg-type]
    overall = (float(made.estimate[0]), float(made.low[0]), float(made.high[0]))
    if divergence is None:
        reason = (
            f"{before.name} has {_words(shapes[0])} and {after.name} {_words(shapes[1])}: no head has a counterpart; the "
            "attention that tokens receive, averaged over all heads, is compared"
        )
        return HeadChanges(heads=(), reason=reason, received=overall, counted="", **kept)  # type: ignore[arg-type]
    reason, counted = "", COUNTING[counting]
    without = [one.name for one in (before, after) if not has_gradients(one)]
    if counting == "gradients" and without:
        reason = f"{without[0]} has int8 layers, through which no gradient comes: counting='closing' measures what heads do"
        counted = ""
    effects = [
        _effects(one, rows, counting, batch_size, progress) for one in ((before, after) if counted else ())
    ]
    heads = _heads(layers, divergence, effects, settings)
    return HeadChanges(heads=heads, reason=reason, received=overall, counted=counted, **kept)  # type: ignore[arg-type]


def _words(shape: Sequence[int]) -> str:
    if len(set(shape)) == 1:
        return f"{len(shape)} layer{'s' * (len(shape) > 1)} of {shape[0]} head{'s' * (shape[0] > 1)}"
    return f"layers of {', '.join(map(str, shape))} heads"


def _looked(
    before: Subject, after: Subject, rows: Rows, batch_size: int, progress: bool
) -> tuple[list[tuple[str, str]], list[list[int]], Floats | None, Floats]:
    """Layers, heads per layer, divergence (example, head of all layers) or None, and of attention received (example,)."""
    maps: list[Floats] = []
    received: list[Floats] = []
    layers: list[tuple[str, str]] = []
    shapes: list[list[int]] = []
    for part in tqdm(chunks(rows, batch_size), desc="maps", unit="batch", disable=not progress):
        one, two = (
            trace(subject, part, keep=Keep(values=False, outputs=False)) for subject in (before, after)
        )
        places = [[i for i, kind in enumerate(t.kinds) if kind == "self"] for t in (one, two)]
        shapes = [[t.n_heads(i) for i in some] for t, some in zip((one, two), places, strict=True)]
        received.append(_total_variation(_received(one, places[0]), _received(two, places[1])))
        if shapes[0] != shapes[1]:
            continue
        layers = [(one.layers[i], two.layers[k]) for i, k in zip(*places, strict=True)]
        maps.append(np.concatenate([_diverged(one, i, two, k) for i, k in zip(*places, strict=True)], axis=1))
    return layers, shapes, np.concatenate(maps) if maps else None, np.concatenate(received)


def _diverged(one: Trace, i: int, two: Trace, k: int) -> Float[np.ndarray, "example head"]:
    """Total variation between the rows of both maps, averaged over the queries that are no padding."""
    mine = in_float64(one.maps(i))
    theirs, valid = (part.to(mine.device) for part in (two.maps(k), one.call(i).valid()))
    apart = (mine - theirs.double()).abs().sum(dim=3) / 2
    total = apart.masked_fill(~valid[:, None, :], 0.0).sum(dim=2)
    mean: Floats = (total / valid.sum(dim=1).clamp(min=1)[:, None]).cpu().numpy()
    return mean


def _received(made: Trace, places: Sequence[int]) -> Float[np.ndarray, "example key"]:
    """Attention received by each token, averaged over the heads of all layers."""
    per_layer = [made.received(i) for i in places]
    heads = sum(part.shape[1] for part in per_layer)
    total: Floats = sum((part.sum(axis=1) for part in per_layer), np.zeros(1)) / heads
    return total


def _total_variation(
    one: Float[np.ndarray, "example key"], two: Float[np.ndarray, "example key"]
) -> Float[np.ndarray, " example"]:
    width = max(one.shape[1], two.shape[1])
    a, b = (np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in (one, two))
    made: Floats = np.abs(a - b).sum(axis=1) / 2
    return made


def _effects(
    subject: Subject, rows: Rows, counting: str, batch_size: int, progress: bool
) -> Float[np.ndarray, "example head"]:
    """What each head does to the score of each row, heads of all layers side by side."""
    if counting == "gradients":
        found = head_effects(subject, rows, batch_size=batch_size, progress=progress).contribution
        flat: Floats = found.reshape(len(rows), -1)
        return flat
    closed = intervene(
        subject, rows, list(every_head(subject, rows).values()), batch_size=batch_size, progress=progress
    )
    effect: Floats = (score(subject, rows, batch_size=batch_size)[None, :] - closed).T
    return effect


def _heads(
    layers: Sequence[tuple[str, str]],
    divergence: Floats,
    effects: Sequence[Floats],
    settings: dict[str, Any],
) -> tuple[HeadChange, ...]:
    n, n_heads = divergence.shape
    looked = estimates(divergence, **settings)
    counts: dict[str, list[float | None]] = {}
    if effects:
        counts = _counts(effects[0], effects[1], settings)
    per_layer = n_heads // len(layers)
    return tuple(
        HeadChange(
            layer=layers[place // per_layer][0],
            layer_after=layers[place // per_layer][1],
            head=place % per_layer,
            n=n,
            divergence=float(looked.estimate[place]),
            low=float(looked.low[place]),
            high=float(looked.high[place]),
            **{name: counts[name][place] if counts else None for name in COUNTS},
        )
        for place in range(n_heads)
    )


COUNTS = (
    "effect_before",
    "effect_after",
    "share_before",
    "share_after",
    "share_change",
    "share_low",
    "share_high",
    "correlation",
    "correlation_low",
    "correlation_high",
)


def _counts(before: Floats, after: Floats, settings: dict[str, Any]) -> dict[str, list[float | None]]:
    """Effects, shares of |effect| and correlations of every head, with intervals that draw rows for both at once."""
    n_heads = before.shape[1]

    def change(means: Floats) -> Floats:
        return shares(means[..., n_heads:]) - shares(means[..., :n_heads])

    def shares(means: Floats) -> Floats:
        total = means.sum(axis=-1, keepdims=True)
        made: Floats = np.divide(means, total, out=np.full_like(means, np.nan), where=total > 0)
        return made

    def correlation(means: Floats) -> Floats:
        x, y, xx, yy, xy = np.split(means, 5, axis=-1)
        spread = (xx - x * x) * (yy - y * y)
        made: Floats = np.divide(
            xy - x * y, np.sqrt(np.maximum(spread, 0)), out=np.full_like(x, np.nan), where=spread > 1e-12
        )
        return np.clip(made, -1, 1)

    absolute = np.concatenate([np.abs(before), np.abs(after)], axis=1)
    moved = estimates(absolute, statistic=change, **settings)
    a, b = (_standardised(one) for one in (before, after))
    joint = estimates(np.concatenate([a, b, a * a, b * b, a * b], axis=1), statistic=correlation, **settings)
    means = np.abs(before).mean(axis=0), np.abs(after).mean(axis=0)
    found = {
        "effect_before": before.mean(axis=0),
        "effect_after": after.mean(axis=0),
        "share_before": shares(means[0]),
        "share_after": shares(means[1]),
        "share_change": moved.estimate,
        "share_low": moved.low,
        "share_high": moved.high,
        "correlation": joint.estimate,
        "correlation_low": joint.low,
        "correlation_high": joint.high,
    }
    return {name: [float(v) if np.isfinite(v) else None for v in values] for name, values in found.items()}


def _standardised(values: Floats) -> Floats:
    """Columns with mean 0 and standard deviation 1, which leaves correlations as they are; zeros where constant."""
    middle, spread = values.mean(axis=0), values.std(axis=0)
    rounding = 1e-12 * np.abs(values).max(axis=0, initial=0.0)
    constant = spread <= rounding
    made: Floats = np.where(constant, 0.0, (values - middle) / np.where(constant, 1.0, spread))
    return made
