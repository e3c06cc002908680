"""The mean output of every head over rows, at each position of a query."""

import torch
from torch import Tensor

from ..errors import DataError
from ..records import Rows
from .batches import bucketed
from .calls import Call
from .float64 import in_float64
from .models import Subject
from .tap import tap


def mean_outputs(subject: Subject, rows: Rows, *, batch_size: int = 32) -> dict[str, Tensor]:
    """Layer -> (head, query + 1, width): means over rows of what heads give out at a query, padding left out.

    The last row is the mean over all queries of all rows. It also stands at positions that no row has.

    Raises:
        DataError: there are no rows.
        CaptureError: an attention call could not be seen.
    """
    if not len(rows):
        raise DataError("there are no rows to take the mean of.")
    lengths = [len(names) for names in subject.names(rows)]
    sums: dict[str, Tensor] = {}
    counts: dict[str, Tensor] = {}

    def add(call: Call) -> None:
        if call.output is None:
            raise DataError(f"{call.layer}: heads of attention whose output is not known have no mean.")
        valid = in_float64(call.valid())
        total = torch.einsum("ehqw,eq->hqw", in_float64(call.output), valid)
        sums[call.layer] = _longer(sums.get(call.layer), total, 1)
        counts[call.layer] = _longer(counts.get(call.layer), valid.sum(dim=0), 0)

    for index in bucketed(lengths, batch_size):
        with torch.no_grad(), tap(subject.module, add):  # one tap per pass: calls are named within it
            subject.forward(subject.encode(rows.take(index)), None)
    return {layer: _means(total, counts[layer]) for layer, total in sums.items()}


def _means(total: Tensor, count: Tensor) -> Tensor:
    whole = total.sum(dim=1, keepdim=True) / count.sum().clamp(min=1)
    each = torch.where(count[:, None] > 0, total / count[:, None].clamp(min=1), whole)
    return torch.cat([each, whole], dim=1)


def _longer(known: Tensor | None, more: Tensor, axis: int) -> Tensor:
    """The sum of two tensors of which one may go on for longer along an axis."""
    if known is None:
        return more
    long, short = (known, more) if known.shape[axis] >= more.shape[axis] else (more, known)
    made = long.clone()
    made.narrow(axis, 0, short.shape[axis]).add_(short)
    return made
