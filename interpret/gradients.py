"""Gradient attributions with their own proof: integrated gradients, and attention combined with gradients."""

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..errors import DataError, ModelError
from ..records import Attribution, Floats, HeadEffect, Rows, View
from .models import Subject, check_finite, score
from .tracing import gradient_traces

RELATIVE_TOLERANCE = 0.01  # completeness error allowed, as a part of |f(x) - f(b)|
FLOOR = 0.05  # ... or of this many standard deviations of the scores, where |f(x) - f(b)| is smaller
MOST_NODES = 320


def attribute(
    subject: Subject,
    rows: Rows,
    *,
    nodes: int = 20,
    most_nodes: int = MOST_NODES,
    batch_size: int = 64,
    progress: bool = False,
) -> Attribution:
    """Integrated gradients of the subject's target, signed and summed over the embedding, per token.

    The path is the straight line from the baseline's embedding to the input's (Sundararajan et al. 2017,
    eq. 1), integrated by captum with Gauss-Legendre nodes. Rows whose completeness error
    |f(x) - f(b) - sum of scores| exceeds 1 % of max(|f(x) - f(b)|, .05 standard deviations of the scores)
    are run again with twice as many nodes, until they pass or `most_nodes` is reached; a row that never
    passes is marked `converged = False` and keeps its last scores.

    Args:
        nodes: integration nodes of the first run, 1 or more.
        most_nodes: where doubling stops.
        batch_size: rows encoded together; it also bounds the rows x nodes held at once.
        progress: show a bar.

    Returns:
        Scores (example, token) in the subject's unit, float64, 0 beyond an example's last token.

    Raises:
        DataError: no rows, or a score that is not finite.
    """
    if nodes < 1 or most_nodes < nodes:
        raise ModelError(f"nodes is {nodes} and most_nodes {most_nodes}; expected 1 <= nodes <= most_nodes.")
    value = score(subject, rows, batch_size=batch_size)
    spread = float(np.std(value))
    names = subject.names(rows)
    scores = np.zeros((len(rows), max(len(tokens) for tokens in names)))
    base = np.zeros(len(rows))
    tolerance = np.zeros(len(rows))
    used = np.zeros(len(rows), dtype=np.int64)
    pending = np.arange(len(rows))
    step = nodes
    with tqdm(total=len(rows), desc="integrated gradients", unit="row", disable=not progress) as bar:
        while pending.size:
            left = []
            for start in range(0, len(pending), batch_size):
                index = pending[start : start + batch_size]
                part, base[index] = _integrate(subject, rows.take(index), step, batch_size)
                scores[index] = 0.0
                scores[index, : part.shape[1]] = part[:, : scores.shape[1]]
                used[index] = step
                moved = np.abs(value[index] - base[index])
                tolerance[index] = RELATIVE_TOLERANCE * np.maximum(moved, FLOOR * spread)
                error = np.abs(value[index] - base[index] - scores[index].sum(axis=1))
                failed = index[error > tolerance[index] + _rounding(value[index])]
                left.append(failed)
                bar.update(len(index) - len(failed))
            pending = np.concatenate(left)
            if step * 2 > most_nodes:
                break
            step *= 2
        bar.update(len(pending))
    converged = np.ones(len(rows), dtype=np.bool_)
    converged[pending] = False
    check_finite(scores.sum(axis=1), rows.ids, subject.name)
    return Attribution(
        method="integrated gradients",
        target=subject.target,
        unit=subject.unit,
        baseline=subject.baseline,
        ids=rows.ids,
        tokens=names,
        scores=scores,
        value=value,
        base_value=base,
        nodes=used,
        converged=converged,
        tolerance=tolerance,
    )


def _rounding(value: Floats) -> Floats:
    """What float32 arithmetic alone may add to a completeness error."""
    return 1e-6 * np.maximum(1.0, np.abs(value))


def _integrate(subject: Subject, rows: Rows, nodes: int, batch_size: int) -> tuple[Floats, Floats]:
    from captum.attr import IntegratedGradients

    batch = subject.encode(rows)
    keys = tuple(batch)
    with torch.no_grad():
        embedded, baseline = subject.embed(batch), subject.reference(batch)
        start = subject.select(subject.forward(batch, baseline)).double().cpu().numpy()

    def target(points: Tensor, *tensors: Tensor) -> Tensor:
        return subject.select(subject.forward(dict(zip(keys, tensors, strict=True)), points))

    method = IntegratedGradients(target)
    parts: Tensor = method.attribute(
        embedded,
        baselines=baseline,
        additional_forward_args=tuple(batch.values()),
        n_steps=nodes,
        method="gausslegendre",
        internal_batch_size=max(len(rows), batch_size * 8),
    )
    return parts.double().sum(dim=-1).detach().cpu().numpy(), start


def head_effects(subject: Subject, rows: Rows, *, batch_size: int = 64, progress: bool = False) -> HeadEffect:
    """Attention combined with gradients, per head and token: A * dA with dA = dO V^T, signed, in logits.

    Summed over queries and keys, A * dA is <O_h, dO_h>: the first-order change of the target when the head is
    scaled (Michel et al. 2019). `received` is attention received by a token, averaged over queries: what a head
    looks at, which is not what matters. Self-attention calls only.

    Raises:
        ModelError: calls of one model differ in their number of heads.
    """
    names = tuple((*subject.prefix, *tokens) for tokens in subject.names(rows))
    width = max(len(tokens) for tokens in names)
    contribution, received, moved = [], [], []
    layers: tuple[str, ...] = ()
    for part, trace in tqdm(
        gradient_traces(subject, rows, batch_size=batch_size),
        total=-(-len(rows) // batch_size),
        desc="attention x gradient",
        unit="batch",
        disable=not progress,
    ):
        calls = [i for i, kind in enumerate(trace.kinds) if kind == "self"]
        heads = {trace.n_heads(i) for i in calls}
        if len(heads) != 1:
            raise ModelError(f"attention calls have {sorted(heads)} heads; one number for all is expected.")
        layers = tuple(trace.layers[i] for i in calls)
        shape = (len(part), len(calls), heads.pop(), width)
        seen, weight = np.zeros(shape), np.zeros(shape)
        for place, call in enumerate(calls):
            a_times_da = trace.contribution(call)
            weight[:, place, :, : a_times_da.shape[3]] = a_times_da.sum(axis=2)
            got = trace.received(call)
            seen[:, place, :, : got.shape[2]] = got
        received.append(seen)
        moved.append(weight)
        contribution.append(weight.sum(axis=3))
    return HeadEffect(
        target=subject.target,
        ids=rows.ids,
        layers=layers,
        contribution=np.concatenate(contribution),
        received=np.concatenate(received),
        moved=np.concatenate(moved),
        tokens=names,
    )


def view(subject: Subject, rows: Rows, *, title: str, batch_size: int = 64) -> View:
    """The maps A and A * dA of every head, averaged over rows that have the same tokens.

    Raises:
        DataError: the rows have different tokens, so that an average would mix them.
    """
    names = set(subject.names(rows))
    if len(names) != 1:
        raise DataError(
            f"{len(rows)} rows have {len(names)} different token lists; a mean map needs one. View one row at a time."
        )
    attention: Floats | None = None
    contribution: Floats | None = None
    layers: tuple[str, ...] = ()
    for _, trace in gradient_traces(subject, rows, batch_size=batch_size):
        calls = [i for i, kind in enumerate(trace.kinds) if kind == "self"]
        layers = tuple(trace.layers[i] for i in calls)
        a = np.stack([trace.maps(i).double().cpu().numpy().sum(axis=0) for i in calls])
        c = np.stack([trace.contribution(i).sum(axis=0) for i in calls])
        attention = a if attention is None else attention + a
        contribution = c if contribution is None else contribution + c
    if attention is None or contribution is None:
        raise DataError("there are no rows to view.")
    return View(
        title=title,
        target=subject.target,
        ids=rows.ids,
        layers=layers,
        labels=(*subject.prefix, *names.pop()),
        attention=attention / len(rows),
        contribution=contribution / len(rows),
    )
