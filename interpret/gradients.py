"""Attributions from gradients of the target in the input, each with its certificate."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from ..errors import DataError, ModelError, did_you_mean
from ..records import Attribution, Floats, Rows
from .attributions import allowed, attributed, rounding
from .batches import MAX_MEMORY, Places, backing_off, bucketed, repeated, rows_of_length, scored
from .float64 import in_float64
from .models import Batch, Subject, check_finite
from .path import integrate

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
        self.last: Tensor | None = None  # (example,) what the last pass gave

    def forward(self, points: Tensor, *tensors: Tensor) -> Tensor:
        """(example,) the target at these embeddings (example, token, width)."""
        batch = dict(zip(self.keys, tensors, strict=True))
        made = self.subject.select(self.subject.forward(batch, points))
        self.last = made.detach()
        return made


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
    eq. 1), with the nodes of Gauss-Legendre. Rows whose completeness error |f(x) - f(b) - sum of scores| exceeds 1 % of
    max(|f(x) - f(b)|, .05 standard deviations of the scores) get more: first the `nodes + 1` that Kronrod's rule adds to
    those already computed, then four times as many anew, and so on, until they pass or `most_nodes` is reached
    (docs/decisions/0005); a row that never passes is marked `converged = False` and keeps its last scores.
    `Attribution.nodes` counts what a row cost. With `most_nodes=nodes` it is captum's IntegratedGradients.

    Args:
        nodes: integration nodes of the first run, 1 or more.
        most_nodes: no rule with more nodes is tried.
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
    base = np.zeros(len(rows))
    used = np.zeros(len(rows), dtype=np.int64)
    at_once = rows_of_length(subject, rows, lengths.tolist(), max_memory)
    with tqdm(total=len(rows), desc="integrated gradients", unit="row", disable=not progress) as bar:
        for index in bucketed(lengths.tolist(), batch_size):
            batch = subject.encode(rows.take(index))
            base[index] = _at_baseline(subject, batch)
            change = value[index] - base[index]
            tolerance = allowed(value[index], base[index], spread) + rounding(value[index])

            def enough(
                sums: Floats, left: Places, change: Floats = change, tolerance: Floats = tolerance
            ) -> Any:
                return np.abs(change[left] - sums[0]) <= tolerance[left]

            made, used[index] = integrate(
                subject,
                batch,
                partial(_gradient, subject),
                enough,
                nodes=nodes,
                most_nodes=most_nodes,
                at_once=at_once(int(lengths[index].max())),
                wide=aggregate == "norm",
            )
            part = made[0] if aggregate == "sum" else np.linalg.norm(made[0], axis=2)
            scores[index, : part.shape[1]] = part[:, : scores.shape[1]]
            bar.update(len(index))
    if aggregate == "norm":
        return attributed(
            "integrated gradients", subject, rows, names, scores, value=value, nodes=used, notes=(NORM,)
        )
    return attributed(
        "integrated gradients", subject, rows, names, scores, value=value, base_value=base, nodes=used
    )


@torch.no_grad()
def _at_baseline(subject: Subject, batch: Batch) -> Floats:
    """(example,) the target where every token is the baseline's."""
    made: Floats = subject.select(subject.forward(batch, subject.reference(batch))).cpu().double().numpy()
    return made


def _gradient(subject: Subject, batch: Batch, points: Tensor) -> list[Tensor]:
    """The target's gradient in the points, (example, token, width)."""
    try:
        with torch.enable_grad():
            (found,) = torch.autograd.grad(subject.select(subject.forward(batch, points)).sum(), points)
    except RuntimeError as error:
        return [without_gradient(subject, batch, error)]
    return [found]


def _asked(
    subject: Subject, batch: Batch, ask: Asked, rows_together: int, what: str, *, start: bool = True
) -> tuple[Tensor, Floats, Floats]:
    """What captum gives (example, token, width), the target at the baseline, and the target of captum's last pass.

    Zeros stand where the baseline is not wanted, NaN where no pass could be made.
    """
    n = len(next(iter(batch.values())))

    def run(at_once: int) -> tuple[Tensor, Floats, Floats]:
        parts, starts, ends = [], [], []
        for begin in range(0, n, at_once):
            some = repeated(batch, np.arange(begin, min(begin + at_once, n)))
            with torch.no_grad():
                embedded, reference = subject.embed(some), subject.reference(some)
                begun = (
                    subject.select(subject.forward(some, reference)) if start else torch.zeros(len(embedded))
                )
                starts.append(begun.cpu().double().numpy())
            target = Target(subject, some)
            try:
                part = ask(target, embedded, reference, tuple(some.values()))
            except RuntimeError as error:
                part = without_gradient(subject, some, error)
            parts.append(part.detach())
            last = torch.full((len(part),), torch.nan) if target.last is None else target.last
            ends.append(last.cpu().double().numpy())
        return torch.cat(parts), np.concatenate(starts), np.concatenate(ends)

    return backing_off(run, rows_together, what)


def same_without_gradient(module: nn.Module) -> bool:
    """Whether a pass that records gradients computes what one without them does.

    torch's encoder layers take another way without gradients, on which padding and rows of padding alone are treated
    otherwise.
    """
    return not any(isinstance(part, nn.TransformerEncoderLayer) for part in module.modules())


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
    exact = in_float64(parts)
    return exact.sum(dim=-1).cpu().numpy(), exact.norm(dim=-1).cpu().numpy()


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
    """An attribution from one call of captum for each batch.

    A method of a single pass without a sum to keep takes the target's value from that pass.
    """
    if not len(rows):
        raise DataError("there are no rows to attribute.")
    _known(aggregate)
    promised = complete and aggregate == "sum"
    names = subject.names(rows)
    lengths = [len(tokens) for tokens in names]
    one_pass = cost == 1 and not promised and same_without_gradient(subject.module)
    value = np.zeros(len(rows)) if one_pass else scored(subject, rows, lengths, batch_size)
    scores = np.zeros((len(rows), max(lengths)))
    base = np.zeros(len(rows))
    at_once = rows_of_length(subject, rows, lengths, max_memory)
    with tqdm(total=len(rows), desc=method, unit="row", disable=not progress) as bar:
        for index in bucketed(lengths, batch_size):
            batch = subject.encode(rows.take(index))
            together = max(1, min(len(index), at_once(max(lengths[i] for i in index)) // cost))
            parts, base[index], ends = _asked(subject, batch, ask, together, method, start=promised)
            if one_pass:
                value[index] = ends
            signed, normed = _tokens(parts)
            made = signed if aggregate == "sum" else normed
            scores[index, : made.shape[1]] = made[:, : scores.shape[1]]
            bar.update(len(index))
    check_finite(value, rows.ids, subject.name)
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
