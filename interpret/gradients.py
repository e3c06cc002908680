"""Attributions from gradients of the target in the input, by captum, each with its certificate."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from ..errors import ModelError, did_you_mean
from ..records import Attribution, Floats, Rows
from .attributions import allowed, attributed, rounding
from .batches import MAX_MEMORY, backing_off, bucketed, repeated, rows_of_length, scored
from .models import Batch, Subject

MOST_NODES = 320
Aggregate = Literal["sum", "norm"]
AGGREGATES = ("sum", "norm")
# What torch says where the target hangs together with no parameter, or with parameters and not with the embeddings.
NO_GRADIENT = ("does not require grad", "not have been used in the graph")
NORM = "the norm has no sign and adds up to nothing; signed sums ranked tokens better in every measurement of ours"


class Target(nn.Module):
    """A subject's target as a module of the embeddings and the batch's tensors, as captum calls it.

    Captum repeats every tensor with the embeddings, example by example in an order of its own, so that each row
    of embeddings meets its own row of the batch.
    """

    def __init__(self, subject: Subject, batch: Batch) -> None:
        super().__init__()
        self.module = subject.module  # so that methods that hook modules find them
        self.subject, self.keys = subject, tuple(batch)

    def forward(self, points: Tensor, *tensors: Tensor) -> Tensor:
        """(example,) the target at these embeddings (example, token, width)."""
        batch = dict(zip(self.keys, tensors, strict=True))
        return self.subject.select(self.subject.forward(batch, points))


# What captum is asked for one batch: target, embeddings, references, tensors of the batch -> (example, token, width).
Asked = Callable[[Target, Tensor, Tensor, tuple[Tensor, ...]], Tensor]


def integrated_gradients(
    subject: Subject,
    rows: Rows,
    *,
    nodes: int = 20,
    most_nodes: int = MOST_NODES,
    aggregate: Aggregate = "sum",
    batch_size: int = 64,
    max_memory: int = MAX_MEMORY,
    seed: int = 0,
    progress: bool = False,
) -> Attribution:
    """Integrated gradients of the subject's target, signed and summed over the embedding, per token.

    The path is the straight line from the baseline's embedding to the input's (Sundararajan et al. 2017,
    eq. 1), integrated by captum with Gauss-Legendre nodes. Rows whose completeness error
    |f(x) - f(b) - sum of scores| exceeds 1 % of max(|f(x) - f(b)|, .05 standard deviations of the scores)
    are run again with twice as many nodes, until they pass or `most_nodes` is reached; a row that never
    passes is marked `converged = False` and keeps its last scores. `Attribution.nodes` counts what a row cost:
    nodes of earlier runs included, as Gauss-Legendre nodes are not nested.

    Args:
        nodes: integration nodes of the first run, 1 or more.
        most_nodes: where doubling stops.
        aggregate: "sum" over the embedding, or its "norm", which has no sign and no certificate.
        batch_size: rows encoded together, of about one length.
        max_memory: bytes that one pass may keep for its backward pass; rows x nodes run together accordingly.
        seed: not used; every method takes one.
        progress: show a bar.

    Returns:
        Scores (example, token) in the subject's unit, float64, 0 beyond an example's last token.

    Raises:
        DataError: no rows, or a score that is not finite.
        ModelError: nodes or a batch size out of range, or memory that one row alone exceeds.
    """
    if nodes < 1 or most_nodes < nodes:
        raise ModelError(f"nodes is {nodes} and most_nodes {most_nodes}; expected 1 <= nodes <= most_nodes.")
    _known(aggregate)
    names = subject.names(rows)
    lengths = np.array([len(tokens) for tokens in names])
    value = scored(subject, rows, lengths.tolist(), batch_size)
    spread = float(np.std(value))
    scores = np.zeros((len(rows), int(lengths.max())))
    shown = np.zeros_like(scores)
    base = np.zeros(len(rows))
    used = np.zeros(len(rows), dtype=np.int64)
    pending = np.arange(len(rows))
    step = nodes
    at_once = rows_of_length(subject, rows, lengths.tolist(), max_memory)
    with tqdm(total=len(rows), desc="integrated gradients", unit="row", disable=not progress) as bar:
        while pending.size:
            left = []
            for places in bucketed(lengths[pending].tolist(), batch_size):
                index = pending[places]
                signed, normed, base[index] = _integrate(
                    subject, rows.take(index), step, at_once(int(lengths[index].max()))
                )
                for target, part in ((scores, signed), (shown, normed)):
                    target[index] = 0.0
                    target[index, : part.shape[1]] = part[:, : scores.shape[1]]
                used[index] += step
                error = np.abs(value[index] - base[index] - scores[index].sum(axis=1))
                enough = allowed(value[index], base[index], spread) + rounding(value[index])
                failed = index[error > enough]
                left.append(failed)
                bar.update(len(index) - len(failed))
            pending = np.sort(np.concatenate(left))
            if step * 2 > most_nodes:
                break
            step *= 2
        bar.update(len(pending))
    if aggregate == "norm":
        return attributed(
            "integrated gradients", subject, rows, names, shown, value=value, nodes=used, notes=(NORM,)
        )
    return attributed(
        "integrated gradients", subject, rows, names, scores, value=value, base_value=base, nodes=used
    )


def _integrate(subject: Subject, rows: Rows, nodes: int, at_once: int) -> tuple[Floats, Floats, Floats]:
    """Signed sums and norms per token, and the target at the baseline."""
    from captum.attr import IntegratedGradients

    def ask(target: Target, embedded: Tensor, reference: Tensor, tensors: tuple[Tensor, ...]) -> Tensor:
        made: Tensor = IntegratedGradients(target).attribute(
            embedded,
            baselines=reference,
            additional_forward_args=tensors,
            n_steps=nodes,
            method="gausslegendre",
            internal_batch_size=min(at_once, len(embedded) * nodes),
        )
        return made

    batch = subject.encode(rows)
    parts, start = _asked(subject, batch, ask, min(at_once, len(rows)), "integrated gradients")
    return *_tokens(parts), start


def _asked(
    subject: Subject, batch: Batch, ask: Asked, rows_together: int, what: str, *, start: bool = True
) -> tuple[Tensor, Floats]:
    """What captum gives (example, token, width), and the target at the baseline; zeros where that is not wanted."""
    n = len(next(iter(batch.values())))

    def run(at_once: int) -> tuple[Tensor, Floats]:
        parts, starts = [], []
        for begin in range(0, n, at_once):
            some = repeated(batch, np.arange(begin, min(begin + at_once, n)))
            with torch.no_grad():
                embedded, reference = subject.embed(some), subject.reference(some)
                begun = (
                    subject.select(subject.forward(some, reference)) if start else torch.zeros(len(embedded))
                )
                starts.append(begun.double().cpu().numpy())
            try:
                part = ask(Target(subject, some), embedded, reference, tuple(some.values()))
            except RuntimeError as error:
                part = without_gradient(subject, some, error)
            parts.append(part.detach())
        return torch.cat(parts), np.concatenate(starts)

    return backing_off(run, rows_together, what)


def without_gradient(subject: Subject, batch: Batch, error: RuntimeError) -> Tensor:
    """Zeros, (example, token, width), for a target that has no gradient because it is the same at the baseline.

    Raises:
        ModelError: the target does differ there, so that its gradient was lost on the way.
        RuntimeError: the error given, where it is about something else.
    """
    if not any(said in str(error) for said in NO_GRADIENT):
        raise error
    with torch.no_grad():
        embedded, reference = subject.embed(batch), subject.reference(batch)
        value, base = (subject.select(subject.forward(batch, point)) for point in (embedded, reference))
    if not torch.equal(value, base):
        raise ModelError(
            f"no gradient reaches the embeddings of {subject.name}, though its target depends on them. Its forward leaves "
            "torch's record of operations: look for no_grad, detach, NumPy or whole numbers on the way. Occlusion and "
            "Shapley values need no gradient."
        ) from error
    return torch.zeros_like(embedded)


def _tokens(parts: Tensor) -> tuple[Floats, Floats]:
    """Sums over the embedding, and Euclidean norms: (example, token) each."""
    wide = parts.double()
    return wide.sum(dim=-1).cpu().numpy(), wide.norm(dim=-1).cpu().numpy()


def _known(aggregate: str) -> None:
    if aggregate not in AGGREGATES:
        raise ModelError(f"aggregate is {aggregate!r}; {did_you_mean(aggregate, AGGREGATES)}")


def once(
    method: str,
    subject: Subject,
    rows: Rows,
    ask: Asked,
    *,
    cost: int,
    complete: bool,
    aggregate: Aggregate,
    batch_size: int,
    max_memory: int,
    progress: bool,
    **record: Any,
) -> Attribution:
    """An attribution from one call of captum for each batch."""
    _known(aggregate)
    promised = complete and aggregate == "sum"
    names = subject.names(rows)
    lengths = [len(tokens) for tokens in names]
    value = scored(subject, rows, lengths, batch_size)
    scores = np.zeros((len(rows), max(lengths)))
    base = np.zeros(len(rows))
    at_once = rows_of_length(subject, rows, lengths, max_memory)
    with tqdm(total=len(rows), desc=method, unit="row", disable=not progress) as bar:
        for index in bucketed(lengths, batch_size):
            batch = subject.encode(rows.take(index))
            together = max(1, min(len(index), at_once(max(lengths[i] for i in index)) // cost))
            parts, base[index] = _asked(subject, batch, ask, together, method, start=promised)
            signed, normed = _tokens(parts)
            made = signed if aggregate == "sum" else normed
            scores[index, : made.shape[1]] = made[:, : scores.shape[1]]
            bar.update(len(index))
    notes = record.pop("notes", ()) + ((NORM,) if aggregate == "norm" else ())
    return attributed(
        method,
        subject,
        rows,
        names,
        scores,
        value=value,
        base_value=base if promised else None,
        notes=notes,
        **record,
    )


def gradient_x_input(
    subject: Subject,
    rows: Rows,
    *,
    aggregate: Aggregate = "sum",
    batch_size: int = 64,
    max_memory: int = MAX_MEMORY,
    seed: int = 0,
    progress: bool = False,
) -> Attribution:
    """The gradient in each token's embedding times that embedding, x . df/dx, in the subject's unit.

    First order and without a baseline: wrong wherever the model saturates, and layer norms take the scale out
    of it. Adds up to nothing. For arguments and errors see `integrated_gradients`.
    """
    from captum.attr import InputXGradient

    def ask(target: Target, embedded: Tensor, _: Tensor, tensors: tuple[Tensor, ...]) -> Tensor:
        made: Tensor = InputXGradient(target).attribute(
            embedded.requires_grad_(), additional_forward_args=tensors
        )
        return made

    given: Mapping[str, Any] = {"batch_size": batch_size, "max_memory": max_memory, "progress": progress}
    return once(
        "gradient x input",
        subject,
        rows,
        ask,
        cost=1,
        complete=False,
        aggregate=aggregate,
        baseline="",
        **given,
    )


def saliency(
    subject: Subject,
    rows: Rows,
    *,
    batch_size: int = 64,
    max_memory: int = MAX_MEMORY,
    seed: int = 0,
    progress: bool = False,
) -> Attribution:
    """The Euclidean norm of the gradient in each token's embedding (Simonyan et al. 2014; Li et al. 2016).

    How sensitive the target is, in target units per embedding unit; not what a token adds. For arguments and
    errors see `integrated_gradients`.
    """
    from captum.attr import Saliency

    def ask(target: Target, embedded: Tensor, _: Tensor, tensors: tuple[Tensor, ...]) -> Tensor:
        made: Tensor = Saliency(target).attribute(
            embedded.requires_grad_(), abs=False, additional_forward_args=tensors
        )
        return made

    given: Mapping[str, Any] = {"batch_size": batch_size, "max_memory": max_memory, "progress": progress}
    return once(
        "saliency",
        subject,
        rows,
        ask,
        cost=1,
        complete=False,
        aggregate="norm",
        unit="",
        baseline="",
        **given,
    )
