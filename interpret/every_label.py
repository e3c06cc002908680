"""Integrated gradients of every label at once: one forward pass for each node, one backward pass for each label."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from ..errors import DataError, ModelError, UsageError
from ..records import Attribution, Floats, Rows
from .attributions import allowed, attributed, rounding
from .batches import MAX_MEMORY, Places, bucketed, rows_of_length
from .gradients import MOST_NODES
from .models import Batch, Subject
from .path import integrate
from .targets import aimed


def attribute_every_label(
    subject: Subject,
    rows: Rows,
    *,
    nodes: int = 20,
    most_nodes: int = MOST_NODES,
    batch_size: int = 64,
    max_memory: int = MAX_MEMORY,
    progress: bool = False,
) -> Mapping[str, Attribution]:
    """What `attribute(..., label=...)` gives for each label, from one forward pass per node for all of them.

    The path and its nodes are those of `gradients.integrated_gradients`. The gradients of all logits are
    taken from the same forward pass; logit differences are sums of them, as scores are linear in the target. With K
    labels a node costs f + K b in place of K (f + b). A row gets more nodes until every label is within its
    tolerance, or `most_nodes` is reached; `converged` is each label's own.

    Returns:
        Label -> the attribution of its logit against the mean of the others.

    Raises:
        UsageError: the model has one output, or is asked for a part of its labels (a language model's candidates).
        DataError: no rows, or a score that is not finite.
        ModelError: nodes or a batch size out of range, or memory that one row alone exceeds.
    """
    if len(subject.labels) < 2 or subject.whole is not None:
        raise UsageError(
            f"{subject.name} has no labels of its own to go through ({subject.target}); use attribute() for its target."
        )
    if nodes < 1 or most_nodes < nodes:
        raise ModelError(f"nodes is {nodes} and most_nodes {most_nodes}; expected 1 <= nodes <= most_nodes.")
    if not len(rows):
        raise DataError("there are no rows to attribute.")
    names = subject.names(rows)
    lengths = [len(tokens) for tokens in names]
    n, k = len(rows), len(subject.labels)
    together = bucketed(lengths, batch_size)
    value = np.zeros((k, n))
    for index in together:
        value[:, index] = _logits(subject, subject.encode(rows.take(index)), None)
    of_label = _differences(value)
    spread = of_label.std(axis=1)
    scores = np.zeros((k, n, max(lengths)))
    base = np.zeros((k, n))
    used = np.zeros(n, dtype=np.int64)
    at_once = rows_of_length(subject, rows, lengths, max_memory)
    with tqdm(total=n, desc="integrated gradients of every label", unit="row", disable=not progress) as bar:
        for index in together:
            batch = subject.encode(rows.take(index))
            base[:, index] = _logits(subject, batch, subject.reference(batch))
            ends, starts = of_label[:, index], _differences(base[:, index])
            tolerance = np.stack(
                [allowed(v, b, s) + rounding(v) for v, b, s in zip(ends, starts, spread, strict=True)]
            )

            def enough(
                sums: Floats, left: Places, change: Floats = ends - starts, tolerance: Floats = tolerance
            ) -> Any:
                return (np.abs(change[:, left] - _differences(sums)) <= tolerance[:, left]).all(axis=0)

            part, used[index] = integrate(
                subject,
                batch,
                partial(_gradients, subject),
                enough,
                nodes=nodes,
                most_nodes=most_nodes,
                at_once=at_once(max(lengths[i] for i in index)),
                what="integrated gradients of every label",
            )
            scores[:, index, : part.shape[2]] = part[:, :, : scores.shape[2]]
            bar.update(len(index))
    divided, starting = _differences(scores), _differences(base)
    return {
        label: attributed(
            "integrated gradients",
            aimed(subject, label=label),
            rows,
            names,
            divided[i],
            value=of_label[i],
            base_value=starting[i],
            nodes=used,
        )
        for i, label in enumerate(subject.labels)
    }


def _differences(of_logits: Floats) -> Floats:
    """Each label's against the mean of the others, along the first axis."""
    k = len(of_logits)
    made: Floats = of_logits - (of_logits.sum(axis=0) - of_logits) / (k - 1)
    return made


@torch.no_grad()
def _logits(subject: Subject, batch: Batch, embedded: Tensor | None) -> Float[np.ndarray, "label example"]:
    logits = subject.forward(batch, embedded)
    subject.select(logits)  # refuses outputs that are not one per label
    made: Floats = logits.cpu().double().T.numpy()
    return made


def _gradients(subject: Subject, batch: Batch, points: Tensor) -> list[Tensor]:
    """Of every logit, from one forward pass."""
    with torch.enable_grad():
        logits = subject.forward(batch, points)
    last = logits.shape[1] - 1
    return [
        torch.autograd.grad(logits[:, label].sum(), points, retain_graph=label < last)[0]
        for label in range(last + 1)
    ]
