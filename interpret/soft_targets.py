"""A Subject whose score is a smooth stand-in for "score above the threshold", for rates that need shares."""

import dataclasses
import math

import torch
from torch import Tensor

from ..errors import UsageError
from .models import Batch, Subject


def softened(subject: Subject, *, threshold: float | None = None, temperature: float = 1.0) -> Subject:
    """The same model, scored by 1 / (1 + exp(-(score - threshold) / temperature)).

    A surrogate: its mean over rows is no selection rate, and what it shows is to be proved on decisions.

    Args:
        threshold: of the decision, in units of the score; by default the subject's own.
        temperature: in units of the score; the smaller, the nearer to the step, and the steeper.

    Raises:
        UsageError: a temperature of 0 or less, or no finite threshold.
    """
    at = subject.threshold if threshold is None else threshold
    if not (math.isfinite(at) and 0 < temperature < math.inf):
        raise UsageError(
            f"threshold {at} and temperature {temperature}: a finite threshold and a temperature above 0 are expected."
        )

    def forward(batch: Batch, embedded: Tensor | None) -> Tensor:
        score = subject.select(subject.forward(batch, embedded))
        return torch.sigmoid((score - at) / temperature)[:, None]

    return dataclasses.replace(
        subject,
        forward=forward,
        says=f"sigmoid(({subject.target} - {at:g}) / {temperature:g})",
        measured_in="soft decision",
        threshold=0.5,
    )
