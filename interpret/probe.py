"""A model's attention proved on a few rows: its maps, its certificates, and that a gate changes something."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from ..errors import CaptureError, DataError
from ..records import Rows
from .gates import gates
from .models import Subject, score
from .tracing import trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What was found of a model's attention, or why nothing can be seen of it."""

    n: int  # rows
    layers: tuple[str, ...]  # attention calls; none where it cannot be seen
    certificate: Mapping[str, float]  # ||A V - O|| / ||O||, exact
    row_sums: float | None  # largest |sum of a row - 1|, over rows that attend to something; sinks left out
    closing: float | None  # largest |change of a row's score| with all heads closed; None where none can be
    refusal: str = ""

    def __str__(self) -> str:
        if self.refusal:
            return f"not seen: {self.refusal}"
        worst = max(self.certificate.values(), default=None)
        proof = "no certificate" if worst is None else f"||A V - O|| / ||O|| at most {worst:.0e}"
        shut = (
            "cannot be gated"
            if self.closing is None
            else f"closing all heads moves the score by {self.closing:.1g}"
        )
        return f"{len(self.layers)} attention calls, {proof}; {shut} (n = {self.n})"


def probe(subject: Subject, rows: Rows) -> Probe:
    """Prove that the attention of a model is seen as it is, on a few rows.

    Every map is computed whole: its rows sum to one, and it reproduces the output of its call. With all heads
    closed the score changes. A model whose attention cannot be seen is no error here: `refusal` says why, and
    scores and attributions do not need it.

    Raises:
        DataError: there are no rows.
    """
    if not len(rows):
        raise DataError("there are no rows to probe with.")
    try:
        made = trace(subject, rows, certify="exact")
    except CaptureError as error:
        return Probe(n=len(rows), layers=(), certificate={}, row_sums=None, closing=None, refusal=str(error))
    sums: list[float] = []
    for call, (_, maps) in zip(made.calls, made.each(), strict=True):
        if call.sinks is None:
            total = maps.sum(dim=-1)
            sums.append(float((total[total > 0] - 1).abs().max()) if bool((total > 0).any()) else 0.0)
    closing = None
    if all(call.can_gate for call in made.calls):
        open_ = score(subject, rows)
        with torch.no_grad(), gates(subject, {(layer, None): 0.0 for layer in made.layers}):
            closing = float(np.abs(score(subject, rows) - open_).max())
    return Probe(
        n=len(rows),
        layers=made.layers,
        certificate=made.certificate(),
        row_sums=max(sums, default=None),
        closing=closing,
    )
