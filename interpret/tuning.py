"""A copy of a classifier, fine-tuned on given rows; the user's model stays as it was."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..records import Rows
from .copying import copied
from .models import Batch, Subject
from .training import train

SPARED = "spared"  # key of a training batch: tokens that are never taken away


class Tuned(nn.Module):
    """A Subject's model as a module of its batches, to be trained, with tokens taken away at random while it is."""

    def __init__(self, subject: Subject, masked: float) -> None:
        super().__init__()
        self.module = subject.module
        self.subject, self.masked = subject, masked

    def forward(self, batch: Batch) -> Tensor:
        """(example, label) logits."""
        inputs = {key: value for key, value in batch.items() if key != SPARED}
        if not self.training or self.masked == 0:
            return self.subject.forward(inputs, None)
        embedded, reference = self.subject.embed(inputs), self.subject.reference(inputs)
        n, n_tokens = embedded.shape[:2]
        share = torch.rand(n, 1) * (torch.rand(n, 1) < self.masked)
        gone = (torch.rand(n, n_tokens) < share).to(embedded.device) & ~batch[SPARED]
        return self.subject.forward(inputs, torch.where(gone[:, :, None], reference, embedded))


def tuned(
    subject: Subject,
    rows: Rows,
    labels: npt.NDArray[np.int64],
    validation: npt.NDArray[np.bool_],
    spared: Sequence[tuple[int, int]],
    *,
    epochs: int,
    learning_rate: float,
    masked: float = 0.5,
    train_batch: int = 16,
    seed: int = 0,
    progress: bool = False,
) -> Subject:
    """A copy of the Subject with all weights trained on the rows; the epoch with the least validation loss is kept.

    In a part of the training examples each token is taken away (given the baseline's embedding) with a probability
    drawn evenly from 0 to 1, so that the copy knows inputs like these (Madsen et al. 2024). Labels weigh in the loss by
    the inverse of how often they occur, so that the frequent one is not favoured by habit. Weights in half precision
    are widened first. Torch's random numbers are left as they were.

    Args:
        labels: (example,) places among the subject's labels.
        validation: (example,) True for rows that are not trained on and decide which epoch is kept.
        spared: per example, tokens [start, end) that are never taken away.
        masked: the part of the examples, from 0 to 1.
    """
    copy = copied(subject, rows)
    if any(p.dtype in (torch.float16, torch.bfloat16) for p in copy.module.parameters()):
        copy.module.float()
    for weight in copy.module.parameters():
        weight.requires_grad_(weight.is_floating_point())
    splits = []
    for part in (~validation, validation):
        places = np.flatnonzero(part)
        batch = copy.encode(rows.take(places))
        kept = torch.zeros(copy.embed(batch).shape[:2], dtype=torch.bool, device=subject.device)
        for i, place in enumerate(places.tolist()):
            kept[i, slice(*spared[place])] = True
        splits.append(({**batch, SPARED: kept}, torch.from_numpy(labels[places])))
    (inputs, wanted), held = splits
    counts = np.bincount(labels[~validation], minlength=len(subject.labels)).clip(min=1)
    weights = torch.from_numpy(counts.sum() / (len(counts) * counts))
    cuda = [subject.device.index or 0] if subject.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        train(
            Tuned(copy, masked),
            inputs,
            wanted,
            validation=held,
            seed=seed,
            epochs=epochs,
            batch_size=train_batch,
            learning_rate=learning_rate,
            warm_up=epochs * -(-len(wanted) // train_batch) // 4,
            patience=epochs,
            device=str(subject.device),
            progress=progress,
            class_weights=weights.to(next(copy.module.parameters()).dtype),
        )
    return copy
