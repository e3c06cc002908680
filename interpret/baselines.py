"""What an input is compared with: a stand-in for every token, a mean, one row, or an expectation over rows."""

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import DataError, UsageError, did_you_mean, first
from ..records import Rows
from .float64 import in_float64
from .models import Batch, Subject

NAMED = ("mask", "padding", "unknown", "end-of-text", "mean", "zero")


def compared(
    subject: Subject, baseline: str | Rows | None = None, *, background: Rows | None = None
) -> tuple[Subject, ...]:
    """The same model, compared with another input: one Subject, or one for each of several rows.

    Only what the subject's own baseline replaces is replaced: padding, markers and what a model is asked at stay.
    The choice is in `Subject.baseline`, in words, and is printed with every result. There is no silent zero vector.

    Args:
        baseline: None keeps the subject's own. For texts "mask", "padding", "unknown" or "end-of-text": that token
            everywhere, as far as the tokenizer has it. "mean": the mean embedding over the background's tokens (of
            each feature apart, where rows have the same features). "zero": the zero vector, which is nobody's
            input and misled in our measurements. Rows: each of them a reference; attributions against several are
            averaged, which is the expectation over them.
        background: the rows of a mean.

    Raises:
        UsageError: there is no such baseline for this subject, or no background for a mean.
        DataError: a reference row has another number of tokens than the row compared with it.
    """
    if baseline is None:
        return (subject,)
    if isinstance(baseline, Rows):
        if not len(baseline):
            raise DataError("the baseline has no rows.")
        return tuple(_row(subject, baseline.take([i])) for i in range(len(baseline)))
    if baseline not in NAMED:
        raise UsageError(f"there is no baseline {baseline!r}; {did_you_mean(baseline, NAMED)}")
    if baseline == "zero":
        return (_with(subject, lambda batch, own: torch.zeros_like(own), "the zero vector at"),)
    if baseline == "mean":
        return (_mean(subject, background),)
    fill = subject.filled
    if fill is None or baseline not in subject.fillers:
        raise UsageError(
            f"{subject.name} has no {baseline} token to compare with; it has {first(subject.fillers) or 'none'}. Give a "
            "reference row (baseline=rows.take([0])), or 'mean' with background=rows."
        )
    number = subject.fillers[baseline]
    name = subject.decode([number])[0] if subject.decode is not None else f"number {number}"
    return (_with(subject, lambda batch, own: fill(batch, number), f"the {baseline} token {name} at"),)


def _with(subject: Subject, other: Callable[[Batch, Tensor], Tensor], words: str) -> Subject:
    """The subject with `other` wherever its own reference differs from the input."""

    def reference(batch: Batch) -> Tensor:
        own, embedded = subject.reference(batch), subject.embed(batch)
        moved = (own != embedded).any(dim=2, keepdim=True)
        return torch.where(moved, other(batch, own).to(own.dtype), own)

    return dataclasses.replace(
        subject, reference=reference, baseline=f"{words} every token that is no marker and no padding"
    )


def _row(subject: Subject, row: Rows) -> Subject:
    with torch.no_grad():
        given = subject.embed(subject.encode(row))

    def reference(batch: Batch) -> Tensor:
        embedded = subject.embed(batch)
        if embedded.shape[1:] != given.shape[1:]:
            raise DataError(
                f"the reference row {row.ids[0]!r} has {given.shape[1]} tokens, and rows compared with it have "
                f"{embedded.shape[1]}. Rows are a baseline where all inputs have the same features; for texts name a token "
                "('mask', 'padding') or 'mean'."
            )
        return given.expand_as(embedded)

    return dataclasses.replace(subject, reference=reference, baseline=f"the row {row.ids[0]}")


def _mean(subject: Subject, background: Rows | None) -> Subject:
    if background is None or not len(background):
        raise UsageError("baseline='mean' is the mean over rows: give them, background=rows.")
    with torch.no_grad():
        batch = subject.encode(background)
        embedded, own = in_float64(subject.embed(batch)), subject.reference(batch)
        moved = (embedded != own.to(embedded.device)).any(dim=2)
    names = subject.names(background)
    if len(set(names)) == 1 and subject.filled is None:
        mean, words = embedded.mean(dim=0), "the mean embedding, feature by feature,"
    else:
        mean, words = embedded[moved].mean(dim=0), "the mean embedding of a token"
    made = mean.to(own)
    if not torch.isfinite(made).all():
        raise DataError("no token of the background differs from the subject's own baseline: it has no mean.")

    def other(batch: Batch, own: Tensor) -> Tensor:
        if made.dim() == 2 and made.shape[0] != own.shape[1]:
            raise DataError(
                f"the background has {made.shape[0]} tokens per row, and a row has {own.shape[1]}."
            )
        return made.expand_as(own)

    return _with(subject, other, f"{words} over {len(background)} rows at")
