"""What is watched while tokens are taken away: an outcome, and on which side of it each row is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from ..records import Floats, Rows
from .batches import MAX_MEMORY
from .deletion import ends
from .models import Subject, score
from .predictions import has_labels, predicted
from .targets import PREDICTED, aimed

Of = Literal["prediction", "target"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Watched:
    """A question about rows: what attributions explain, and what is measured to see whether they do."""

    explained: Subject  # whose target attributions explain
    outcome: Subject  # whose target is measured
    names: tuple[tuple[str, ...], ...]
    # 1: tokens that raise the outcome speak for the row; -1: tokens that lower it.
    side: Float[np.ndarray, " example"]
    # The subject's own target times this is the one explained; None where no sign makes it so.
    sign: Float[np.ndarray, " example"] | None
    words: str  # the outcome in words, with its unit


def watched(
    subject: Subject, rows: Rows, of: Of, *, batch_size: int = 64, max_memory: int = MAX_MEMORY
) -> Watched:
    """The question: each row's own predicted label where there are labels and of="prediction", else the target.

    The outcome is the softmax probability of the label in question where there are labels, else the target. The side
    is 1 for a row's own prediction; for a target, 1 where the score is above the subject's threshold and -1
    elsewhere; with one output, or without a threshold, the sign of outcome(x) - outcome(all tokens taken away), 1
    where they are equal.
    """
    labelled = has_labels(subject, rows)
    own = labelled and of == "prediction"
    label = PREDICTED if own else None
    explained = aimed(subject, label=label) if own else subject
    outcome = aimed(subject, "probability", label=label) if labelled else subject
    names = explained.names(rows)
    sign: Floats | None = np.ones(len(rows))
    if own:
        side = np.ones(len(rows))
        sign = None
        if len(subject.labels) == 2:
            sign = np.where(predicted(subject, rows, batch_size=batch_size) == subject.positive, 1.0, -1.0)
    elif len(subject.labels) > 1 and np.isfinite(subject.threshold):
        side = np.where(score(subject, rows, batch_size=batch_size) > subject.threshold, 1.0, -1.0)
    else:
        whole, nothing = ends(outcome, rows, names, batch_size=batch_size, max_memory=max_memory)
        side = np.where(whole >= nothing, 1.0, -1.0)
    return Watched(
        explained=explained,
        outcome=outcome,
        names=names,
        side=side,
        sign=sign,
        words=_words(subject, labelled, own),
    )


def _words(subject: Subject, labelled: bool, own: bool) -> str:
    if own:
        return "probability of the row's own predicted label"
    if labelled:
        return (
            f"probability of {subject.labels[subject.positive]}, or of anything else where that is predicted"
        )
    return f"{subject.target}, in its unit ({subject.unit}), on the side to which the row's tokens moved it"


def supports(
    scores: Sequence[Float[np.ndarray, "example token"]], side: Float[np.ndarray, " example"]
) -> Float[np.ndarray, "order example token"]:
    """Scores times the side of each row; scores that are never negative as they are."""
    return np.stack([one * side[:, None] if (one < 0).any() else one for one in scores])
