"""The scalar that is explained: a Subject aimed at another label, or measured on another scale."""

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import ModelError, UsageError, did_you_mean, first
from ..records import Rows
from .carrying import carrying
from .models import Batch, Subject, difference, label_index

UNITS = {
    "logit difference": "logit",
    "logit": "logit",
    "log-probability": "nat",
    "probability": "probability",
    "output": "output",
}


PREDICTED = "predicted"
OWN_CHOICE = "own choice"  # an entry of the batch that the model never sees


def aimed(subject: Subject, target: str = "logit difference", *, label: str | None = None) -> Subject:
    """The same model, with another scalar to be scored and explained.

    A probability is the softmax over all labels of the model: over its whole vocabulary where it is a language
    model, also when a few candidates are compared. Differences of logits are what attributions divide best: a
    probability saturates, and a logit alone moves with all others at once.

    Args:
        target: "logit difference" (the label against the mean of the others), "logit", "log-probability" (nats),
            "probability", or "output" (of a subject with one output: regression).
        label: which label; by default the subject's positive one. "predicted" is each row's own most likely label,
            chosen once on the true input.

    Returns:
        A Subject whose `threshold` is kept where it still means the same, and NaN elsewhere.

    Raises:
        UsageError: there is no such target, or it has no meaning for this subject.
        ModelError: there is no such label.
    """
    if target not in UNITS:
        raise UsageError(f"there is no target {target!r}; {did_you_mean(target, UNITS)}")
    single = len(subject.labels) == 1
    if single != (target == "output") and not (single and target == "logit difference" and label is None):
        raise UsageError(
            f"{subject.name} has {'one output' if single else f'the labels {first(subject.labels)}'}, of which {target!r} "
            f"means nothing; expected {'output' if single else 'one of ' + first([t for t in UNITS if t != 'output'])}."
        )
    if single:
        return subject
    if label == PREDICTED and PREDICTED not in subject.labels:
        return _of_own_choice(subject, target)
    at = subject.positive if label is None else label_index(subject.labels, label)
    place = _place(subject)
    if target == "logit difference":
        moved = at != subject.positive
        threshold = -subject.threshold if moved and len(subject.labels) == 2 else subject.threshold
        return dataclasses.replace(
            subject,
            positive=at,
            says=difference(subject.labels, at) + place if moved or subject.says else "",
            threshold=float("nan") if moved and len(subject.labels) > 2 else threshold,
        )
    name = subject.labels[at]
    return dataclasses.replace(
        subject,
        positive=at,
        says=f"{target} of {name}{place}" if target != "logit" else f"logit({name}){place}",
        measured_in=UNITS[target],
        forward=_measured(subject, at, target),
        threshold=float("nan"),
    )


def _of_own_choice(subject: Subject, target: str) -> Subject:
    """The label of each row with the largest logit, on the scale asked for."""
    if subject.whole is not None:
        raise UsageError(
            f"{subject.name} is asked for a part of its labels only; load it without candidates, and its target is its own "
            "choice."
        )

    @torch.no_grad()
    def choice(rows: Rows, batch: Batch) -> Tensor:
        return subject.forward(batch, None).argmax(dim=1)

    carried = carrying(subject, OWN_CHOICE, choice)

    def forward(batch: Batch, embedded: Tensor | None) -> Tensor:
        logits = carried.forward(batch, embedded)
        chosen = batch[OWN_CHOICE].to(logits.device)[:, None]
        if target in ("log-probability", "probability"):
            one = logits.log_softmax(dim=1).gather(1, chosen)
            return one.exp() if target == "probability" else one
        one = logits.gather(1, chosen)
        if target == "logit":
            return one
        return one - (logits.sum(dim=1, keepdim=True) - one) / (logits.shape[1] - 1)

    return dataclasses.replace(
        carried,
        forward=forward,
        says=f"{target} of each row's predicted label",
        measured_in=UNITS[target],
        threshold=float("nan"),
    )


def _place(subject: Subject) -> str:
    """What the words of a target say after the labels: where a language model is asked."""
    labels = difference(subject.labels, subject.positive)
    if subject.says.startswith(labels):
        return subject.says[len(labels) :]
    return f", {subject.says.rsplit(', ', 1)[1]}" if ", " in subject.says else ""


def _measured(subject: Subject, at: int, target: str) -> Callable[[Batch, Tensor | None], Tensor]:
    """A forward whose only output, (example, 1), is the target."""
    whole = subject.whole

    def forward(batch: Batch, embedded: Tensor | None) -> Tensor:
        if whole is None:
            logits = subject.forward(batch, embedded)
            chosen = torch.full((len(logits),), at, device=logits.device)
            if logits.ndim != 2 or logits.shape[1] != len(subject.labels):
                subject.select(logits)  # says what is wrong with this shape
                raise ModelError(f"{subject.name} gives one output, of which {target!r} means nothing.")
        else:
            logits = whole(batch, embedded)
            chosen = _chosen(subject, at, batch, len(logits)).to(logits.device)
        scaled = logits if target == "logit" else logits.log_softmax(dim=1)
        one = scaled.gather(1, chosen[:, None])
        return one.exp() if target == "probability" else one

    return forward


def _chosen(subject: Subject, at: int, batch: Batch, n: int) -> Tensor:
    if subject.numbers:
        return torch.full((n,), subject.numbers[at])
    if at != 0:
        raise UsageError(
            f"{subject.name} is asked for its own choice; {subject.labels[at]!r} is no label that it could choose. Load it "
            "with candidates=(...), or ask for the label by positive=."
        )
    return batch["chosen"]
