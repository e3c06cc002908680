"""A Subject whose batches carry one more tensor, which its model never sees."""

import dataclasses
from collections.abc import Callable
from typing import Any

from torch import Tensor

from ..records import Rows
from .models import Batch, Subject


def carrying(subject: Subject, name: str, made: Callable[[Rows, Batch], Tensor], **changes: Any) -> Subject:
    """The same Subject, with `made(rows, batch)` under `name` in every batch it encodes.

    Whatever repeats, cuts or reorders a batch does so to this tensor too, so that each row keeps its own part.
    The functions that were there before are given batches without it.

    Args:
        name: no key of the subject's own batches.
        made: rows and their batch -> a tensor with the example first.
        changes: other fields of the Subject; their functions are given batches with the tensor.
    """

    def encode(rows: Rows) -> Batch:
        batch = subject.encode(rows)
        return {**batch, name: made(rows, batch)}

    def without(batch: Batch) -> Batch:
        return {key: value for key, value in batch.items() if key != name}

    filled, whole = subject.filled, subject.whole
    hidden: dict[str, Any] = {
        "encode": encode,
        "embed": lambda batch: subject.embed(without(batch)),
        "reference": lambda batch: subject.reference(without(batch)),
        "forward": lambda batch, embedded: subject.forward(without(batch), embedded),
        "filled": None if filled is None else lambda batch, number: filled(without(batch), number),
        "whole": None if whole is None else lambda batch, embedded: whole(without(batch), embedded),
    }
    return dataclasses.replace(subject, **{**hidden, **changes})
