"""A smaller Transformer taught by a larger model: its softened outputs, beside the true labels."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..errors import DataError, ModelError, UsageError, first
from ..records import Rows
from .models import Subject, chunks, ours
from .preprocessing import Preprocessor
from .training import Split, train
from .transformer import Architecture, Classifier


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What a student is taught with: (1 - hard) T^2 KL(teacher_T, student_T) + hard CE(label, student).

    Hinton, Vinyals & Dean 2015, section 2: probabilities at temperature T are softmax(logits / T); T^2 keeps the
    size of the gradients of the first part. A model with one output has no probabilities: both parts are squared errors.
    """

    temperature: float = 2.0
    hard: float = 0.1  # weight of the true labels, from 0 (none are needed) to 1 (no teacher)

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise UsageError(f"temperature is {self.temperature}; a number above 0 is expected, as 2.")
        if not 0 <= self.hard <= 1:
            raise UsageError(f"hard is {self.hard}; a weight from 0 to 1 is expected.")

    def loss(
        self, student: Float[Tensor, "example label"], wanted: Float[Tensor, "example taught"]
    ) -> Float[Tensor, ""]:
        """The mean loss. `wanted` holds the teacher's logits and, as its last column, the place of the true label."""
        teacher, truth = wanted[:, :-1], wanted[:, -1]
        if student.shape[1] == 1:
            soft, hard = (F.mse_loss(student[:, 0], one) for one in (teacher[:, 0], truth))
        else:
            t = self.temperature
            soft = t * t * divergence(teacher / t, student / t)
            hard = F.cross_entropy(student, truth.long())
        return (1 - self.hard) * soft + self.hard * hard if self.hard else soft


def divergence(
    teacher: Float[Tensor, "example label"], student: Float[Tensor, "example label"]
) -> Float[Tensor, ""]:
    """KL(teacher, student) of the probabilities that two sets of logits stand for: nats, the mean over examples."""
    return F.kl_div(student.log_softmax(1), teacher.log_softmax(1), reduction="batchmean", log_target=True)


def distil(
    teacher: Subject,
    rows: Rows,
    validation: Rows,
    preprocessor: Preprocessor,
    *,
    layers: int = 1,
    heads: int = 2,
    width: int = 32,
    feed_forward: int | None = None,
    dropout: float = 0.0,
    lesson: Lesson | None = None,
    epochs: int = 50,
    batch_size: int = 64,
    learning_rate: float = 2e-3,
    weight_decay: float = 0.01,
    warm_up: int = 20,
    patience: int = 8,
    seed: int = 0,
    progress: bool = False,
) -> Subject:
    """Our Transformer, of the size asked for, taught to answer as the teacher does: a Subject like any other.

    The weights kept are those of the epoch with the least loss on the validation rows, of which training stops
    when `patience` epochs brought none less; see `training.train`. One seed, same weights, on one kind of device and
    number of threads; torch's random numbers are left as they were. The student keeps the
    teacher's labels, positive label and threshold, and learns on its device.

    Args:
        teacher: any model, also of another kind; it is only asked for its outputs, once.
        rows: what the student learns from. Labels, places among the teacher's labels, are needed unless `lesson.hard` is 0.
        validation: other rows that decide when to stop.
        preprocessor: how the student reads the rows: the teacher's own (`folders.load(folder)[1]`), or one fitted
            on them.
        layers, heads, width: of the student; `feed_forward` is twice the width where it is not given.
        lesson: temperature and the weight of the true labels.

    Raises:
        DataError: no rows, labels that are missing or no label of the teacher, or a teacher's output that is not finite.
        UsageError: an impossible size, temperature or weight.
        ModelError: the loss is not finite.
    """
    taught = lesson or Lesson()
    device = teacher.device
    splits = [
        _split(teacher, part, preprocessor, taught, what, batch_size)
        for what, part in (("training", rows), ("validation", validation))
    ]
    try:
        shape = Architecture(
            kind=preprocessor.kind,  # type: ignore[arg-type]
            layers=layers,
            heads=heads,
            width=width,
            feed_forward=feed_forward or 2 * width,
            dropout=dropout,
            outputs=len(teacher.labels),
            **preprocessor.shape(),
        )
    except ValueError as error:
        raise UsageError(f"the student cannot be made: {error}.") from error
    cuda = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        student = Classifier(shape)
        history = train(
            student,
            *splits[0],
            validation=splits[1],
            seed=seed,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            warm_up=warm_up,
            patience=patience,
            device=str(device),
            progress=progress,
            loss=taught.loss,
        )
    made = ours(
        student,
        preprocessor,
        labels=teacher.labels,
        positive=teacher.labels[teacher.positive],
        threshold=teacher.threshold,
        name=f"{teacher.name} distilled",
        device=device,
    )
    told = {
        "distilled from": teacher.name,
        "teacher's weights_sha256": teacher.provenance.get("weights_sha256"),
        "temperature": taught.temperature,
        "weight of true labels": taught.hard,
        "rows": len(rows),
        "validation rows": len(validation),
        "epochs": len(history.validation_loss),
        "best epoch": history.best_epoch,
        "validation loss": history.validation_loss[history.best_epoch],
        "seed": seed,
    }
    return dataclasses.replace(made, provenance={"kind": "clinometer", "training": told})


@torch.no_grad()
def _split(
    teacher: Subject, rows: Rows, preprocessor: Preprocessor, lesson: Lesson, what: str, batch_size: int
) -> Split:
    """The student's inputs, and beside them the teacher's logits and the true label, on the teacher's device."""
    if not len(rows):
        raise DataError(f"there are no {what} rows.")
    logits = torch.cat(
        [teacher.forward(teacher.encode(part), None).float() for part in chunks(rows, batch_size)]
    )
    if logits.ndim != 2 or logits.shape[1] != len(teacher.labels):
        raise ModelError(
            f"{teacher.name} gives outputs of shape {tuple(logits.shape)} for {len(teacher.labels)} label(s); one output "
            "per label is expected of a teacher."
        )
    bad = torch.nonzero(~logits.isfinite().all(dim=1)).flatten().tolist()
    if bad:
        raise DataError(
            f"the teacher's outputs of {len(bad)} {what} rows are not finite, first {first(rows.ids[i] for i in bad)}."
        )
    truth = _truth(teacher, rows, lesson, what).to(logits.device)
    arrays: Mapping[str, Any] = preprocessor.transform(rows.inputs)
    inputs = {name: torch.from_numpy(value).to(logits.device) for name, value in arrays.items()}
    return inputs, torch.cat([logits, truth[:, None]], dim=1)


def _truth(teacher: Subject, rows: Rows, lesson: Lesson, what: str) -> Tensor:
    if lesson.hard == 0:
        return torch.zeros(len(rows))
    if rows.labels is None:
        raise DataError(
            f"the {what} rows have no labels, which have a weight of {lesson.hard}. Give them, or learn from the teacher "
            "alone: lesson=Lesson(hard=0)."
        )
    labels = np.asarray(rows.labels, dtype=np.float64)
    places = range(len(teacher.labels))
    wrong = np.flatnonzero(~np.isfinite(labels) if len(places) == 1 else ~np.isin(labels, places))
    if wrong.size:
        raise DataError(
            f"{wrong.size} {what} labels are none of the teacher's {len(places)} (0 to {len(places) - 1}), first "
            f"{first(f'{rows.ids[i]}: {labels[i]:g}' for i in wrong)}."
        )
    return torch.from_numpy(labels).float()
