"""A classifier fine-tuned on its rows and on copies of them with identity swapped."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..errors import DataError, UsageError, first
from ..records import Rows, plain
from .copying import copied
from .edits import IN_WEIGHTS, Edit, tensor_sha256, with_edit
from .float64 import in_float64
from .held_out import split
from .label_losses import label_losses, label_tensor, right
from .models import Subject, score
from .training import evaluate, train

OWN, COPY = "own.", "copy."  # before the keys of a batch


class Pairs(nn.Module):
    """A Subject's model as a module of pairs: each row and its copy, to be trained."""

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        self.module, self.subject = subject.module, subject

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """(example, 2, label) outputs of the row and of its copy."""
        own = {key.removeprefix(OWN): value for key, value in batch.items() if key.startswith(OWN)}
        joined = {key: torch.cat([value, batch[COPY + key]]) for key, value in own.items()}
        outputs = self.subject.forward(joined, None)
        return torch.stack([part.reshape(len(part), -1) for part in outputs.chunk(2)], dim=1)


def tune_on_copies(
    subject: Subject,
    rows: Rows,
    copies: Rows,
    originals: Sequence[str],
    *,
    learning_rate: float,
    epochs: int = 4,
    consistency: float = 0.0,
    held: float = 0.25,
    clusters: Sequence[str] | None = None,
    train_batch: int = 16,
    seed: int = 0,
    progress: bool = False,
) -> Subject:
    """A new Subject fine-tuned on rows and their swapped copies; the old one stays as it is.

    Counterfactual data augmentation (Lu et al. 2018; Zmigrod et al. 2019): a copy has its row's label. Each row runs beside
    its copy (beside each of them, where there are several; beside itself, where there is none), and the loss is the
    mean of the two, plus `consistency` times the mean |f(x) - f(x')| of the scores (counterfactual logit
    pairing, Garg et al. 2019). The epoch with the least such loss on pairs held out is kept; where none is below that of
    the model as it was, so are its weights. All weights are trained, by AdamW. Torch's random numbers are left as they were.

    Args:
        rows: examples with labels (`label_tensor` says which), not those that judge the result.
        copies: the same with identity swapped, as many as could be made.
        originals: the id in `rows` of the row that each copy was made of.
        learning_rate: e.g. 2e-5 for a pretrained model, 1e-3 for a small one.
        consistency: weight of |f(x) - f(x')|, per unit of the score.
        held: the part of the rows held out, with their copies; drawn with the seed, by label.
        clusters: one per row of `rows`: rows of one cluster go into one part.
        train_batch: pairs per step.

    Raises:
        DataError: there are no rows, labels or copies, ids repeat, or a copy is of no row.
        UsageError: `consistency` is below zero, or `held` is no part.
        ModelError: the loss is not finite, or the model cannot be copied.
    """
    if not 0 <= consistency < 1e6:
        raise UsageError(f"consistency is {consistency}; a finite number, zero or more, is expected.")
    labels = label_tensor(subject, rows)
    at = {name: i for i, name in enumerate(rows.ids)}
    unknown = [name for name in originals if name not in at]
    if not len(copies) or len(originals) != len(copies) or unknown or len(at) < len(rows):
        raise DataError(
            f"{len(copies)} copies name {len(originals)} originals, {len(unknown)} of them unknown "
            f"({first(unknown) or 'none'}), of {len(rows)} rows with {len(at)} different ids; one known row for every copy, "
            "and one copy at least, is expected."
        )
    place = np.array([at[name] for name in originals], dtype=np.intp)
    alone = np.setdiff1d(np.arange(len(rows)), place)
    own = np.concatenate([place, alone])
    everything = _joined(rows, copies, subject)
    other = np.concatenate([len(rows) + np.arange(len(copies)), alone])
    strata = (np.zeros(len(rows)) if labels.is_floating_point() else labels.cpu().numpy(),)
    parts = split(rows, *strata, held=held, clusters=clusters, seed=seed)
    made = copied(subject, rows)
    if any(p.dtype in (torch.float16, torch.bfloat16) for p in made.module.parameters()):
        made.module.float()
        made = dataclasses.replace(made, provenance={**made.provenance, "dtype": "float32"})
    for weight in made.module.parameters():
        weight.requires_grad_(weight.is_floating_point())
    splits = []
    for part in parts:
        here = np.flatnonzero(np.isin(own, part))
        batch = made.encode(everything.take(np.concatenate([own[here], other[here]])))
        halves = {OWN + key: value[: len(here)] for key, value in batch.items()}
        halves |= {COPY + key: value[len(here) :] for key, value in batch.items()}
        splits.append((halves, labels[torch.from_numpy(own[here]).to(labels.device)]))
    (inputs, wanted), validation = splits

    def loss(outputs: Tensor, wanted: Tensor) -> Tensor:
        one, two = outputs[:, 0], outputs[:, 1]
        lost = (label_losses(made, one, wanted).mean() + label_losses(made, two, wanted).mean()) / 2
        return lost + consistency * (made.select(one) - made.select(two)).abs().mean()

    before = {name: value.detach().clone() for name, value in made.module.state_dict().items()}
    device = str(subject.device)
    start = evaluate(Pairs(made), *validation, loss_of=loss, batch_size=train_batch, device=device)
    cuda = [subject.device.index or 0] if subject.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        history = train(
            Pairs(made),
            inputs,
            wanted,
            validation=validation,
            loss=loss,
            seed=seed,
            epochs=epochs,
            batch_size=train_batch,
            learning_rate=learning_rate,
            warm_up=max(1, epochs * -(-len(wanted) // train_batch) // 4),
            patience=epochs,
            device=device,
            progress=progress,
        )
    improved = history.validation_loss[history.best_epoch] < start
    if not improved:
        made.module.load_state_dict(before)
    pairs = np.flatnonzero(np.isin(place, parts[1]))
    checked = [measured(one, rows, copies, labels, parts[1], pairs, place) for one in (subject, made)]
    parameters: dict[str, Any] = {
        "target": subject.target,
        "n_copies": len(copies),
        "n_without_copy": len(alone),
        "n_held_out": len(parts[1]),
        "n_pairs_held_out": len(pairs),
        "consistency": consistency,
        "learning_rate": learning_rate,
        "epochs": epochs,
        "seed": seed,
        "training_loss": history.training_loss,
        "validation_loss": history.validation_loss,
        "validation_loss_before": start,
        "kept_epoch": history.best_epoch if improved else None,  # None: the weights as they were
        **{name: [one[name] for one in checked] for name in checked[0]},
    }
    after = made.module.state_dict()
    changed = {
        name: tensor_sha256(after[name]) for name in after if not torch.equal(after[name], before[name])
    }
    edit = Edit(
        kind="counterfactual fine-tuning",
        way=IN_WEIGHTS,
        n_rows=len(rows),
        parameters=plain(parameters),
        changed=changed,
    )
    return with_edit(made, edit)


def measured(
    subject: Subject,
    rows: Rows,
    copies: Rows,
    labels: Tensor,
    held: npt.NDArray[np.intp],
    pairs: npt.NDArray[np.intp],
    place: npt.NDArray[np.intp],
) -> dict[str, float | None]:
    """On rows held out: accuracy, and over their pairs the mean |f(x) - f(x')| in the score's unit; None of nothing."""
    hits: list[Tensor] = []
    with torch.no_grad():
        for start in range(0, len(held), 64):
            some = held[start : start + 64]
            outputs = subject.forward(subject.encode(rows.take(some)), None)
            found = right(subject, outputs, labels[torch.from_numpy(some).to(labels.device)])
            hits += [] if found is None else [found]
    moved = None
    if len(pairs):
        moved = float(
            np.abs(score(subject, rows.take(place[pairs])) - score(subject, copies.take(pairs))).mean()
        )
    return {
        "accuracy_held_out": float(in_float64(torch.cat(hits)).mean()) if hits else None,
        "pair_difference_held_out": moved,
    }


def _joined(rows: Rows, copies: Rows, subject: Subject) -> Rows:
    """Rows, then copies, in the columns that the model reads."""
    missing = [name for name in subject.columns if name not in rows.inputs or name not in copies.inputs]
    if missing:
        raise DataError(f"rows or copies lack the column(s) {first(missing)} that {subject.name} reads.")
    columns = [name for name in rows.inputs if name in copies.inputs]
    return Rows(
        ids=(*(f"row {name}" for name in rows.ids), *(f"copy {name}" for name in copies.ids)),
        inputs={name: np.concatenate([rows.inputs[name], copies.inputs[name]]) for name in columns},
    )
