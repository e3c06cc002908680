"""Integrated gradients of every label at once: one forward pass for each node, one backward pass for each label."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from tqdm.auto import tqdm

from ..errors import DataError, ModelError, UsageError
from ..records import Attribution, Floats, Rows
from .attributions import allowed, attributed, rounding
from .batches import MAX_MEMORY, Places, backing_off, bucketed, repeated, rows_at_once
from .gradients import MOST_NODES
from .models import Subject
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

    The path and the Gauss-Legendre nodes are those of `gradients.integrated_gradients`. The gradients of all logits are
    taken from the same forward pass; logit differences are sums of them, as scores are linear in the target. With K
    labels a node costs f + K b in place of K (f + b). A row is run again with twice as many nodes until every label
    is within its tolerance, or `most_nodes` is reached; `converged` is each label's own.

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
    lengths = np.array([len(tokens) for tokens in names])
    n, k = len(rows), len(subject.labels)
    scores = np.zeros((k, n, int(lengths.max())))
    value, base = np.zeros((k, n)), np.zeros((k, n))
    used = np.zeros(n, dtype=np.int64)
    pending, step = np.arange(n), nodes
    with tqdm(total=n, desc="integrated gradients of every label", unit="row", disable=not progress) as bar:
        while pending.size:
            for places in bucketed(lengths[pending].tolist(), batch_size):
                index = pending[places]
                part, value[:, index], base[:, index] = _integrate(
                    subject, rows.take(index), step, max_memory
                )
                scores[:, index] = 0.0
                scores[:, index, : part.shape[2]] = part[:, :, : scores.shape[2]]
                used[index] += step
            error = np.abs(_differences(value - base - scores.sum(axis=2)))
            ends = _differences(value), _differences(base)
            enough = [allowed(v, b, float(np.std(v))) + rounding(v) for v, b in zip(*ends, strict=True)]
            failed = pending[(error > np.stack(enough))[:, pending].any(axis=0)]
            bar.update(len(pending) - len(failed))
            pending = failed
            if step * 2 > most_nodes:
                break
            step *= 2
    divided, ends = _differences(scores), (_differences(value), _differences(base))
    return {
        label: attributed(
            "integrated gradients",
            aimed(subject, label=label),
            rows,
            names,
            divided[i],
            value=ends[0][i],
            base_value=ends[1][i],
            nodes=used,
        )
        for i, label in enumerate(subject.labels)
    }


def _differences(of_logits: Floats) -> Floats:
    """Each label's against the mean of the others, along the first axis."""
    k = len(of_logits)
    made: Floats = of_logits - (of_logits.sum(axis=0) - of_logits) / (k - 1)
    return made


def _integrate(
    subject: Subject, rows: Rows, nodes: int, max_memory: int
) -> tuple[
    Float[np.ndarray, "label example token"],
    Float[np.ndarray, "label example"],
    Float[np.ndarray, "label example"],
]:
    """Scores of every logit, and the logits at the input and at the baseline."""
    batch = subject.encode(rows)
    with torch.no_grad():
        embedded, reference = subject.embed(batch), subject.reference(batch)
        ends = [subject.forward(batch, point) for point in (embedded, reference)]
    subject.select(ends[0])  # refuses outputs that are not one per label
    places, weights = np.polynomial.legendre.leggauss(nodes)
    points, weights = (places + 1) / 2, weights / 2
    runs: Places = np.repeat(np.arange(len(rows)), nodes)
    moved = (embedded - reference).double()

    def run(at_once: int) -> Floats:
        made = np.zeros((len(subject.labels), *embedded.shape[:2]))
        for start in range(0, len(runs), at_once):
            which = runs[start : start + at_once]
            at = np.arange(start, start + len(which)) % nodes
            along = torch.from_numpy(points[at]).to(embedded)[:, None, None]
            some = (reference[which] + along * (embedded[which] - reference[which])).requires_grad_()
            with torch.enable_grad():
                logits = subject.forward(repeated(batch, which), some)
            for label in range(logits.shape[1]):
                last = label == logits.shape[1] - 1
                (gradient,) = torch.autograd.grad(logits[:, label].sum(), some, retain_graph=not last)
                share = (gradient.double() * moved[which]).sum(dim=2).cpu().numpy() * weights[at, None]
                np.add.at(made[label], which, share)
        return made

    together = min(rows_at_once(subject, batch, max_memory), len(runs))
    scores = backing_off(run, together, "integrated gradients of every label")
    value, base = (end.double().T.cpu().numpy() for end in ends)
    return scores, value, base
