"""What a model loses on labelled rows: the utility that a change of the model is held to."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import DataError, first
from ..records import Rows
from .float64 import float64_device
from .models import Subject


def label_tensor(subject: Subject, rows: Rows) -> Tensor:
    """The labels of rows as a tensor (example,): whole numbers of classes, or numbers to be met by a single output.

    Up to two labels, 1 is the subject's positive label and 0 the other; of more, a number is a place among them. Of a
    single output, floating-point labels are a regression.

    Raises:
        DataError: there are no rows or no labels, or a label is none of these.
    """
    if not len(rows):
        raise DataError(
            "there are no validation rows; rows with labels that the model was not trained on are expected."
        )
    if rows.labels is None:
        raise DataError("the rows have no labels, by which utility could be measured.")
    values = np.asarray(rows.labels)
    if values.dtype.kind == "f" and len(subject.labels) == 1:
        known = np.isfinite(values)
        if not known.all():
            raise DataError(
                f"rows without a finite label: {first(rows.ids[i] for i in np.flatnonzero(~known))}."
            )
        return torch.from_numpy(values.astype(np.float64)).to(float64_device(subject.device))
    n = max(2, len(subject.labels))
    ok = values.dtype.kind in "biuf"
    whole = values.astype(np.float64) if ok else np.full(len(values), -1.0)
    wrong = np.flatnonzero(~((whole >= 0) & (whole < n) & (whole == np.floor(whole))))
    if wrong.size:
        raise DataError(
            f"{wrong.size} labels are no whole number from 0 to {n - 1}; first rows: {first(rows.ids[i] for i in wrong)} "
            f"({first(values[wrong], 3)}). "
            f"{'1 is the positive label.' if n == 2 else 'Places among ' + first(subject.labels)}"
        )
    return torch.from_numpy(whole.astype(np.int64)).to(subject.device)


def label_losses(subject: Subject, outputs: Tensor, labels: Tensor) -> Float[Tensor, " example"]:
    """The loss of every row in nats: cross-entropy; of a regression the squared error.

    Up to two labels the cross-entropy is that of the subject's score s, log(1 + exp(-s)) where the label is 1 and
    log(1 + exp(s)) where it is 0, which for two logits is their softmax's.
    """
    if labels.is_floating_point():
        return (outputs.reshape(len(outputs)) - labels.to(outputs)) ** 2
    wanted = labels.to(outputs.device)
    if len(subject.labels) > 2:
        return F.cross_entropy(outputs, wanted, reduction="none")
    score = subject.select(outputs)
    return F.softplus(torch.where(wanted == 1, -score, score))


def right(subject: Subject, outputs: Tensor, labels: Tensor) -> Bool[Tensor, " example"] | None:
    """Which rows are predicted as labelled; None for a regression or where the subject has no threshold."""
    wanted = labels.to(outputs.device)
    if labels.is_floating_point():
        return None
    if len(subject.labels) > 2:
        return outputs.argmax(dim=1) == wanted
    if subject.threshold != subject.threshold:
        return None
    return (subject.select(outputs) > subject.threshold) == (wanted == 1)
