"""Heads taken out of a model for good: closed, or held at their mean."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError, UsageError, did_you_mean
from ..records import Rows
from .float64 import in_float64
from .folding import Way, heads_of, layer_and_head, scale_heads
from .gates import Layer
from .models import Subject, chunks
from .tracing import trace

INSTEAD = ("zero", "mean")


def prune_heads(
    subject: Subject,
    heads: Sequence[tuple[Layer, int]],
    rows: Rows,
    *,
    instead: Literal["zero", "mean"] = "zero",
    way: Way = "auto",
    batch_size: int = 32,
) -> Subject:
    """A new Subject without the given heads; the old one stays as it is.

    A head that is closed gives zeros (Michel et al. 2019, eq. 2 with xi_h = 0). One held at its mean gives, at every query
    of every input, the mean of its outputs over the rows and their queries (no padding): what it says of no input in
    particular stays, and later layers see what they are used to.

    The heads are folded into the projection behind them where it is known exactly, so that nothing is left to do as the
    model runs and the folder is an ordinary one; elsewhere they are gated as the model runs. `Subject.edits` says which.

    Args:
        heads: (layer, head) of self- or cross-attention; a layer is a name as in `Trace.layers`, or the place of its call.
        rows: those the heads are found and the change is proved on, and whose mean outputs are kept. They should not be
            the ones that judge the result.
        instead: what is given in place of a head's output: "zero" or "mean".
        way: "weights" refuses where they cannot be folded in, "run time" never does.
        batch_size: rows run together for the mean.

    Raises:
        UsageError: a layer or head does not exist, is named twice, or none is; or `instead` or `way` is unknown.
        DataError: there are no rows.
        CaptureError: an attention call could not be seen.
    """
    if instead not in INSTEAD:
        raise UsageError(f"instead={instead!r} is not known: {did_you_mean(instead, INSTEAD)}")
    if not len(rows):
        raise DataError(
            "there are no validation rows to find and prove the heads on; one or more is expected."
        )
    known = heads_of(subject, rows)
    chosen = [layer_and_head(known, layer, head) for layer, head in heads]
    if not chosen or len(set(chosen)) < len(chosen):
        raise UsageError(
            f"{len(chosen)} heads were named, {len(set(chosen))} of them different; each once is expected, one at least."
        )
    means = mean_outputs(subject, rows, batch_size=batch_size) if instead == "mean" else {}
    stage: dict[str, tuple[Tensor, Tensor | None]] = {}
    for layer in known:
        places = [head for name, head in chosen if name == layer]
        if not places:
            continue
        factor = torch.ones(known[layer], dtype=torch.float64)
        factor[places] = 0.0
        put = None
        if instead == "mean":
            put = torch.zeros_like(means[layer])
            put[places] = means[layer][places]
        stage[layer] = (factor, put)
    parameters: dict[str, Any] = {
        "heads": [[layer, head] for layer, head in chosen],
        "of": sum(known.values()),
        "instead": instead,
    }
    return scale_heads(subject, rows, stage, kind="head pruning", parameters=parameters, way=way)


def mean_outputs(subject: Subject, rows: Rows, *, batch_size: int = 32) -> dict[str, Tensor]:
    """The mean output of every head (head, width) by its layer, over rows and their queries, in float64 on the CPU.

    Raises:
        DataError: there are no rows.
        UsageError: a layer was not called for every batch of rows, or kept no outputs.
    """
    total: dict[str, Tensor] = {}
    count: dict[str, float] = {}
    for part in chunks(rows, batch_size):
        for call in trace(subject, part).calls:
            if call.output is None:
                raise UsageError(
                    f"{call.layer}: no outputs are known there, only weights; its heads have no mean."
                )
            output, valid = in_float64(call.output), in_float64(call.valid())
            summed = (output * valid[:, None, :, None]).sum(dim=(0, 2)).cpu()
            total[call.layer] = total.get(call.layer, torch.zeros_like(summed)) + summed
            count[call.layer] = count.get(call.layer, 0.0) + float(valid.sum())
    empty = [layer for layer, n in count.items() if n == 0]
    if empty or not np.isfinite(sum(float(t.sum()) for t in total.values())):
        raise DataError(
            f"heads of {empty or list(total)} have no finite mean output on these {len(rows)} rows."
        )
    return {layer: total[layer] / count[layer] for layer in total}
