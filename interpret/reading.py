"""The attention a target is read through: rows traced with their gradients, and from which positions it is read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from ..errors import DataError, ModelError, UsageError, first
from ..records import Attribution, Floats, Rows
from .attributions import attributed
from .batches import backing_off, bucketed, repeated
from .models import Batch, Subject, check_finite
from .rollout import streams
from .trace import Trace
from .tracing import gradient_trace

POOLED = "the positions' rows weigh alike, though the model pools them by attention of its own"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """Some rows' attention calls with dO, the calls that count, and the positions the target is read from.

    A position is read where dO, the target's gradient at the output of the last self-attention, is not zero: what
    comes after that call takes every position by itself, up to what the target picks or pools. One position is read
    of a model with a class token, of a language model, of a mask; several where positions are pooled. `share` weighs
    them alike; it is all zero for a row whose target no position moves.
    """

    subject: Subject
    rows: Rows
    trace: Trace
    n_tokens: tuple[int, ...]  # per example, without prefix and padding
    own: tuple[int, ...]  # calls of self-attention over the tokens, in order: one stack, a pair's encoder
    crossing: tuple[int, ...]  # calls whose keys are the tokens and whose queries are others
    last: int  # the last self-attention before the target: of `own`, or of the decoder
    share: Float[np.ndarray, "example position"]  # of each query of `last`, summing to one or to zero
    kept: int  # bytes that one row keeps for its backward pass

    @property
    def is_pair(self) -> bool:
        """Whether the tokens are read by an encoder and the target by a decoder."""
        return self.last not in self.own

    @property
    def pools(self) -> bool:
        """Whether the target reads the positions of the stack through cross-attention without a decoder."""
        gradients = self.trace.gradients or ()
        return not self.is_pair and any(bool(gradients[place].any()) for place in self.crossing)

    def one_stack(self, what: str) -> None:
        """Refuse an encoder-decoder.

        Raises:
            ModelError: the subject is one.
        """
        if self.is_pair:
            raise ModelError(
                f"{self.subject.name} is an encoder-decoder, and {what} is defined within one stack of self-attention: "
                "there is no rule that leads it through cross-attention. 'gradient-weighted relevance' and 'attention x "
                "gradient' have one."
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """What a method gives some rows."""

    scores: Float[np.ndarray, "example position"]  # prefix and padding included
    elsewhere: Float[np.ndarray, " example"] | None = None  # absolute mass on the decoder's own tokens
    pooled: bool = False  # rows of positions were averaged that the model pools by attention


Compute = Callable[[Reading], Found]


def read(
    method: str,
    subject: Subject,
    rows: Rows,
    compute: Compute,
    *,
    batch_size: int,
    max_memory: int,
    progress: bool,
    notes: Sequence[str] = (),
    unit: str | None = "",
) -> Attribution:
    """The attribution that `compute` makes of each batch's reading, with what fell on no token told in its notes.

    Args:
        method: its name in the table of methods.
        compute: reading -> scores over positions; those of the tokens are kept.
        batch_size: rows encoded together, of about one length.
        max_memory: bytes that one pass may keep for its backward pass; fewer rows run together accordingly.
        unit: of the scores; None for the subject's.

    Raises:
        DataError: no rows, a row without a token or with padding alone, or a score that is not finite.
        ModelError: positions of attention cannot be told to be the tokens', or memory that one row alone exceeds.
        CaptureError: attention that cannot be seen, or that carries no gradient back.
    """
    if not len(rows):
        raise DataError("there are no rows to attribute.")
    names = subject.names(rows)
    lengths = [len(tokens) for tokens in names]
    empty = [rows.ids[i] for i, n in enumerate(lengths) if not n]
    if empty:
        raise DataError(
            f"{len(empty)} rows have no token, only padding; first rows: {first(empty)}. Leave out empty rows."
        )
    scores, value = np.zeros((len(rows), max(lengths))), np.zeros(len(rows))
    marked, beside, unread = np.zeros(len(rows)), np.zeros(len(rows)), np.zeros(len(rows), dtype=np.bool_)
    before, pooled = len(subject.prefix), False
    with tqdm(total=len(rows), desc=method, unit="row", disable=not progress) as bar:
        for index in bucketed(lengths, batch_size):
            part = rows.take(index)
            batch = subject.encode(part)
            kept = bytes_kept(subject, batch)
            some = partial(_some, subject, part, batch, [lengths[i] for i in index], kept, compute)
            for places, output, share, found in backing_off(some, max(1, max_memory // kept), method):
                at = index[places]
                value[at] = output
                size = np.abs(found.scores).sum(axis=1)
                aside = np.zeros(len(at)) if found.elsewhere is None else found.elsewhere
                total = size + aside
                unread[at] = (total == 0) & (share.sum(axis=1) == 0)
                whole = np.where(total > 0, total, 1.0)
                marked[at] = np.abs(found.scores[:, :before]).sum(axis=1) / whole
                beside[at] = aside / whole
                pooled = pooled or found.pooled
                for row, i in enumerate(at):
                    scores[i, : lengths[i]] = found.scores[row, before : before + lengths[i]]
            bar.update(len(index))
    check_finite(value, rows.ids, subject.name)
    told = [*notes, *([POOLED] if pooled else []), *_told(subject, rows, marked, beside, unread)]
    return attributed(method, subject, rows, names, scores, value=value, unit=unit, baseline="", notes=told)


def bytes_kept(subject: Subject, batch: Batch) -> int:
    """What autograd and a trace keep of one row as long as the batch's longest, parameters left out; one at least.

    Unlike `batches.rows_at_once` it needs no embeddings, so that a module wrapped without them can be read.
    """
    known = {parameter.untyped_storage().data_ptr() for parameter in subject.module.parameters()}
    # Held until they are counted: memory that is freed and used again would be counted once, or twice.
    kept: dict[int, torch.UntypedStorage] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        traced = gradient_trace(subject, {key: value[:1] for key, value in batch.items()})
    for gradient in traced.gradients or ():
        count(gradient)
    return max(1, sum(storage.nbytes() for storage in kept.values()))


def _some(
    subject: Subject,
    rows: Rows,
    batch: Batch,
    lengths: Sequence[int],
    kept: int,
    compute: Compute,
    at_once: int,
) -> list[tuple[np.ndarray, Floats, Floats, Found]]:
    """Places among these rows, target and shares there, and what was computed, so many rows at once."""
    made = []
    for begin in range(0, len(rows), at_once):
        places = np.arange(begin, min(begin + at_once, len(rows)))
        reading = reading_of(
            subject, rows.take(places), repeated(batch, places), [lengths[int(i)] for i in places], kept
        )
        output: Any = reading.trace.output
        made.append((places, output.cpu().double().numpy(), reading.share, compute(reading)))
    return made


def reading_of(subject: Subject, rows: Rows, batch: Batch, lengths: Sequence[int], kept: int = 1) -> Reading:
    """One batch's trace with gradients, and the positions its target is read from.

    Raises:
        DataError: a row that is padding alone.
        ModelError: positions cannot be told to be the tokens'; the target is read from padding.
        CaptureError: see `capture.attention_gradient`.
    """
    traced = gradient_trace(subject, batch)
    own, crossing, last = _layers(subject, traced)
    valid = _same_positions(subject, rows, traced, own, lengths)
    call = traced.calls[last]
    if last not in own:
        valid = call.valid()
    gradients: Any = traced.gradients
    moved, valid = gradients[last].ne(0).any(dim=3).any(dim=1).cpu(), valid.cpu()
    read_from = (moved & valid).double()
    astray = moved.any(dim=1) & ~read_from.any(dim=1).to(torch.bool)
    if bool(astray.any()):
        some = [rows.ids[i] for i in astray.nonzero()[:, 0].tolist()]
        raise ModelError(
            f"{subject.name} reads its target from padding alone in {len(some)} rows, first {first(some)}. Give the "
            "module the mask of its tokens, and let it read a token that is one."
        )
    share = read_from / read_from.sum(dim=1, keepdim=True).clamp(min=1.0)
    return Reading(
        subject=subject,
        rows=rows,
        trace=traced,
        n_tokens=tuple(lengths),
        own=own,
        crossing=crossing,
        last=last,
        share=share.numpy(),
        kept=kept,
    )


def _layers(subject: Subject, traced: Trace) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Calls over the tokens, calls that look at the tokens from elsewhere, and the last one before the target."""
    own = tuple(i for i, kind in enumerate(traced.kinds) if kind == "self")
    if not own:
        raise ModelError(
            f"{subject.name} has no self-attention, only {first(traced.layers)}: no position stands for a token."
        )
    if len(own) == len(traced.kinds):
        return own, (), own[-1]
    try:
        reading, writing = streams(traced)
    except UsageError as error:
        raise ModelError(
            f"{subject.name} has cross-attention, and which of its layers read the tokens cannot be told: {error}"
        ) from error
    source = tuple(i for i in reading if traced.kinds[i] == "self")
    crossing = tuple(i for i in writing if traced.kinds[i] == "cross")
    deciding = [i for i in writing if traced.kinds[i] == "self"]
    if not source:
        raise ModelError(f"{subject.name} has no self-attention over its tokens: {first(traced.layers)}.")
    return source, crossing, deciding[-1] if deciding else source[-1]


def _same_positions(
    subject: Subject, rows: Rows, traced: Trace, own: Sequence[int], lengths: Sequence[int]
) -> Tensor:
    """Which positions are no padding, once those of every call are known to be the prefix, the tokens, then padding."""
    before, longest = len(subject.prefix), max(lengths)
    shapes: dict[tuple[int, int, int], str] = {}
    for call in (traced.calls[i] for i in own):
        shapes.setdefault((call.n_examples, call.n_queries, call.n_keys), call.layer)
    (n, n_queries, n_keys), layer = next(iter(shapes.items()))
    if len(shapes) > 1 or n != len(rows) or n_queries != n_keys or n_keys < before + longest:
        shown = "; ".join(f"{name!r}: {shape}" for shape, name in shapes.items())
        raise ModelError(
            f"{subject.name} attends over other positions than its {longest} tokens"
            f"{f' and {before} before them' if before else ''}, or not over the same in each layer; examples, queries and "
            f"keys are {shown}. No layer's map tells of tokens there: use a method that asks the model's inputs."
        )
    valid = traced.calls[own[0]].valid()
    nothing = [rows.ids[i] for i in (~valid.any(dim=1)).nonzero()[:, 0].tolist()]
    if nothing:
        raise DataError(
            f"{len(nothing)} rows are padding alone, no position may be attended to; first rows: {first(nothing)}. Leave "
            "out empty rows."
        )
    real = torch.tensor([before + n for n in lengths], device=valid.device)[:, None]
    beyond = valid & (torch.arange(n_keys, device=valid.device) >= real)
    if bool(beyond.any()):
        i = int(beyond.any(dim=1).nonzero()[0, 0])
        raise ModelError(
            f"{layer} attends over {int(valid[i].sum())} positions of row {rows.ids[i]!r} that are no padding, and the row "
            f"has {lengths[i]} tokens{f' after {before}' if before else ''}: which position is which token is not known. "
            "Name the positions that the module puts first, wrap(prefix=...), and give it the mask of its padding."
        )
    return valid


def _told(
    subject: Subject,
    rows: Rows,
    marked: Floats,
    beside: Floats,
    unread: np.ndarray,
) -> list[str]:
    """What a reader has to know of mass that fell on no token, and of rows without any."""
    notes = []
    if marked.any():
        notes.append(
            f"{marked.mean():.1%} of the scores' absolute sum fell on {first(subject.prefix)}, which the model itself "
            "puts before the tokens, and is left out (mean over rows)"
        )
    if beside.any():
        notes.append(
            f"{beside.mean():.1%} of the scores' absolute sum fell on what the decoder reads, and is left out (mean over "
            "rows)"
        )
    if unread.any():
        ids = [rows.ids[i] for i in np.flatnonzero(unread)]
        notes.append(
            f"{len(ids)} row(s) have no score at all, as no position of the last layer moves their target: {first(ids)}"
        )
    return notes
