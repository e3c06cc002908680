"""Embedding times gradient under backward rules, per token, in batches of about one length."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from ..errors import DataError
from ..records import Floats, Rows
from .batches import MAX_MEMORY, backing_off, bucketed, repeated, rows_at_once
from .models import Batch, Subject, check_finite
from .rules import Rules, following


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Propagated:
    """What came back to the tokens of each example, and what did not come from them."""

    names: tuple[tuple[str, ...], ...]  # of the tokens, per example
    scores: Floats  # (example, token) the sum over the embedding of e * dtarget/de under the rules
    value: Floats  # (example,) the target, from a forward pass without rules
    rest: Floats  # (example,) what the frozen model makes of its constants alone
    curved: tuple[str, ...]  # functions a gradient passed that no rule makes linear


def propagated(
    subject: Subject,
    rows: Rows,
    rules: Rules,
    what: str,
    *,
    batch_size: int = 64,
    max_memory: int = MAX_MEMORY,
    progress: bool = False,
) -> Propagated:
    """Run the subject once with and once without rules on every row, and the target back to the embeddings.

    Args:
        what: the method's name, for the bar and for errors.
        batch_size: rows encoded together, of about one length.
        max_memory: bytes that one pass may keep for its backward pass.

    Raises:
        DataError: no rows, or a score that is not finite.
        ModelError: a batch size below one, or memory that one row alone exceeds.
    """
    if not len(rows):
        raise DataError("there are no rows to score.")
    names = subject.names(rows)
    lengths = [len(tokens) for tokens in names]
    scores = np.zeros((len(rows), max(lengths)))
    value, rest = np.zeros(len(rows)), np.zeros(len(rows))
    curved: dict[str, None] = {}
    with tqdm(total=len(rows), desc=what, unit="row", disable=not progress) as bar:
        for index in bucketed(lengths, batch_size):
            batch = subject.encode(rows.take(index))
            together = rows_at_once(subject, batch, max_memory // (2 if rules.rest else 1))

            def run(at_once: int, batch: Batch = batch, n: int = len(index)) -> tuple[Floats, Floats, Floats]:
                parts = [
                    _propagate(subject, repeated(batch, np.arange(i, min(i + at_once, n))), rules, curved)
                    for i in range(0, n, at_once)
                ]
                tokens, values, rests = (np.concatenate(part) for part in zip(*parts, strict=True))
                return tokens, values, rests

            tokens, value[index], rest[index] = backing_off(run, min(together, len(index)), what)
            scores[index, : tokens.shape[1]] = tokens[:, : scores.shape[1]]
            bar.update(len(index))
    check_finite(value, rows.ids, subject.name)
    for i, n in enumerate(lengths):
        scores[i, n:] = 0.0
    return Propagated(names=names, scores=scores, value=value, rest=rest, curved=tuple(curved))


def _propagate(
    subject: Subject, batch: Batch, rules: Rules, curved: dict[str, None]
) -> tuple[Float[np.ndarray, "example token"], Float[np.ndarray, " example"], Float[np.ndarray, " example"]]:
    with torch.no_grad():
        embedded = subject.embed(batch)
        value = subject.select(subject.forward(batch, embedded))
    embedded = embedded.detach().requires_grad_()
    with torch.enable_grad(), following(subject.module, rules) as run:
        target = subject.select(subject.forward(batch, run.start(embedded)))
        rest = run.rest(target)
        run.forget()
    gradient: Tensor | None = None
    if target.requires_grad:
        (gradient,) = torch.autograd.grad(target.sum(), embedded, allow_unused=True)
    curved.update(run.curved)
    tokens = torch.zeros(embedded.shape[:2], dtype=torch.float64)
    if gradient is not None:
        tokens = (embedded.detach().cpu().double() * gradient.cpu().double()).sum(dim=2)
    return tokens.numpy(), value.cpu().double().numpy(), rest.cpu().double().numpy()
