"""What rows are predicted to be: the place of each row's most likely label."""

from collections import Counter

import numpy as np
import torch
from jaxtyping import Int

from ..errors import DataError, UsageError, first
from ..records import Rows
from .models import Subject, chunks
from .text_subjects import WAYS


def distinct(rows: Rows) -> None:
    """Refuse rows that share an id, to which random numbers belong.

    Raises:
        DataError: two rows share an id.
    """
    twice = [name for name, times in Counter(rows.ids).items() if times > 1]
    if twice:
        raise DataError(
            f"{len(twice)} ids stand for several rows, first {first(twice)}; each row needs one of its own."
        )


def has_labels(subject: Subject, rows: Rows) -> bool:
    """Whether the outputs are the logits of all labels, which compete; found by running the first row.

    They are not where there is one output, and of language models, whose outputs are a part of their vocabulary.
    """
    if subject.labels == WAYS or subject.whole is not None:
        return False
    with torch.no_grad():
        outputs = subject.forward(subject.encode(rows.take([0])), None)
    subject.select(outputs)  # refuses outputs that are not one per label
    return outputs.ndim == 2 and outputs.shape[1] > 1


def predicted(subject: Subject, rows: Rows, *, batch_size: int = 64) -> Int[np.ndarray, " example"]:
    """The place, among the subject's labels, of the label with the largest logit of each row.

    Raises:
        UsageError: the outputs are not the logits of labels that compete.
    """
    if not has_labels(subject, rows):
        raise UsageError(
            f"{subject.name} has no labels that compete ({subject.target}): nothing is predicted."
        )
    with torch.no_grad():
        parts = [
            subject.forward(subject.encode(part), None).argmax(dim=1).cpu().numpy()
            for part in chunks(rows, batch_size)
        ]
    return np.concatenate(parts).astype(np.int64)
