"""Head gates learned to shrink a contrast, while the loss may rise by no more than a stated amount."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..errors import DataError, UsageError, first
from ..records import Floats, Rows, plain
from .constrained_steps import constrained_step
from .copying import copied
from .float64 import float64_device, in_float64
from .folding import Way, heads_of, scale_heads
from .held_out import Places, split
from .label_losses import label_losses, label_tensor, right
from .models import Batch, Subject, check_finite
from .runtime_edits import HeadScales
from .tap import tap

SHORTEST = 1e-4  # a reach below which the search has arrived


@dataclass(frozen=True, slots=True, kw_only=True)
class GateStep:
    """One step of the path: gap and utility on the rows trained on, and on those held out to choose the step."""

    step: int  # 0 is the model as it was
    gap: float  # sum of weight * score, in the score's unit
    loss: float  # mean, in nats
    held_gap: float
    held_loss: float
    held_accuracy: float | None  # None where rows are not predicted
    least_gate: float
    price: float  # the Lagrange multiplier of the loss
    forward: bool  # False: no better than the step before, and tried again nearer


def learn_head_gates(
    subject: Subject,
    rows: Rows,
    weights: Floats,
    *,
    allowed: float = 0.01,
    clusters: Sequence[str] | None = None,
    held: float = 0.3,
    steps: int = 60,
    rate: float = 0.15,
    patience: int = 15,
    seed: int = 0,
    way: Way = "auto",
    batch_size: int = 64,
    progress: bool = False,
) -> Subject:
    """A new Subject with every head scaled by a factor from 0 to 1 that was learned; the old one stays as it is.

    The gap is sum of weight * score. Its square, as a part of what it was, is made smaller step by step from all gates
    open, while the mean loss rises by no more than `allowed` (`constrained_step`: to first order in each step, at a price
    that is solved for). Both gradients are exact, over all rows trained on. A step that leads no further is tried again
    nearer. The one kept has the smallest |gap| on the rows held out, among those that keep to `allowed` there; no
    step at all where none is better. That gap is the best of many: judge the Subject on rows that were given to
    neither part.

    The gates are an edit like pruned heads (`prune_heads`), and the whole path is in its parameters.

    Args:
        rows: validation rows with labels (`label_tensor` says which).
        weights: (example,) signed; what is positive adds to the gap, what is negative is subtracted. Rows of weight zero
            count in the loss only. In each part the positive and the negative ones are rescaled to their totals.
        allowed: by how much the mean loss may rise, in nats (of a regression: squared units). Less than zero asks
            for a model that is better.
        clusters: rows of one cluster (a person, a pair) go into one part.
        held: the part of the rows held out; drawn with the seed, by sign of the weight and label where rows
            stand for themselves.
        steps: at most.
        rate: by how much one gate moves in a step, at most.
        patience: steps without a better one after which the search ends.

    Raises:
        DataError: there are no rows or labels, or a part has no positive or no negative weight.
        UsageError: weights are not finite or not one per row, the gap is zero already, or no step keeps to
            `allowed` on the rows held out.
        CaptureError: an attention call could not be seen.
    """
    labels = label_tensor(subject, rows)
    signed = _checked(weights, rows)
    if steps < 1 or patience < 1 or not 0 < rate <= 1:
        raise UsageError(
            f"steps {steps}, patience {patience}, rate {rate}: 1 or more, 1 or more, (0, 1] are expected."
        )
    trained, kept_out = split(
        rows, np.sign(signed), labels.cpu().numpy(), held=held, clusters=clusters, seed=seed
    )
    work = copied(subject, rows)
    asked = [(p, p.requires_grad) for p in work.module.parameters()]
    for parameter, _ in asked:
        parameter.requires_grad_(False)
    parts = [
        _Part.of(work, rows, labels, signed, which, what, batch_size)
        for which, what in ((trained, "trained on"), (kept_out, "held out"))
    ]
    heads = heads_of(work, rows)
    path, gates = _descend(
        work, parts, heads, allowed=allowed, steps=steps, rate=rate, patience=patience, bar=progress
    )
    within = [one for one in path if one.held_loss <= path[0].held_loss + allowed]
    if not within:
        least = min(path, key=lambda one: one.held_loss)
        raise UsageError(
            f"the utility floor is out of reach: the mean loss held out is {path[0].held_loss:.4g} with all gates open and "
            f"may be {path[0].held_loss + allowed:.4g} (allowed={allowed:g}); the least in {len(path) - 1} steps is "
            f"{least.held_loss:.4g} at step {least.step}. Allow more, or train a better model first."
        )
    best = min(within, key=lambda one: (abs(one.held_gap), one.step))
    stage = {layer: (gates[best.step][layer], None) for layer in heads}
    parameters = {
        "target": subject.target,
        "allowed": allowed,
        "gates": {layer: gates[best.step][layer].tolist() for layer in heads},
        "kept_step": best.step,
        "gap": [path[0].held_gap, best.held_gap],
        "loss": [path[0].held_loss, best.held_loss],
        "accuracy": [path[0].held_accuracy, best.held_accuracy],
        "n_trained_on": len(trained),
        "n_held_out": len(kept_out),
        "seed": seed,
        "rate": rate,
        "path": [dataclasses.asdict(one) for one in path],
    }
    return scale_heads(
        subject,
        rows,
        stage,
        kind="learned head gates",
        parameters=plain(parameters),
        way=way,
        n_rows=len(rows),
    )


def _checked(weights: Floats, rows: Rows) -> Floats:
    signed = np.asarray(weights, dtype=np.float64)
    if signed.shape != (len(rows),) or not np.isfinite(signed).all():
        raise UsageError(
            f"weights have the shape {signed.shape} and {int((~np.isfinite(signed)).sum())} that are not finite; one finite "
            f"number for each of {len(rows)} rows is expected."
        )
    if not (signed > 0).any() or not (signed < 0).any():
        raise DataError(
            f"{int((signed > 0).sum())} weights are positive and {int((signed < 0).sum())} negative; a contrast has both."
        )
    return signed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    """Rows in batches, with their labels and rescaled weights."""

    batches: tuple[tuple[Batch, Tensor, Tensor], ...]  # with labels and weights
    ids: tuple[str, ...]
    name: str

    @classmethod
    def of(
        cls,
        subject: Subject,
        rows: Rows,
        labels: Tensor,
        weights: Floats,
        which: Places,
        what: str,
        batch_size: int,
    ) -> "_Part":
        own = weights[which].copy()
        for sign in (1, -1):
            there = np.sign(own) == sign
            if not there.any():
                raise DataError(
                    f"no row {what} has a {'positive' if sign > 0 else 'negative'} weight ({len(which)} rows: "
                    f"{first(rows.ids[i] for i in which)}). Give more rows, or another seed."
                )
            own[there] *= weights[np.sign(weights) == sign].sum() / own[there].sum()
        made = []
        for start in range(0, len(which), batch_size):
            some = which[start : start + batch_size]
            made.append(
                (
                    subject.encode(rows.take(some)),
                    labels[torch.from_numpy(some).to(labels.device)],
                    torch.from_numpy(own[start : start + batch_size]),
                )
            )
        return cls(batches=tuple(made), ids=tuple(rows.ids[i] for i in which), name=subject.name)

    def measured(
        self, subject: Subject, gates: dict[str, Tensor] | None, slopes: bool
    ) -> tuple[float, float, float | None, Tensor | None, Tensor | None]:
        """Gap, mean loss, accuracy, and the gradients of the first two by all gates in order, where asked for."""
        gap, loss, hits, done, predicted = 0.0, 0.0, 0, 0, True
        of_gap: Tensor | None = None
        of_loss: Tensor | None = None
        leaves = list((gates or {}).values())
        editor = None if gates is None else HeadScales({layer: (gate, None) for layer, gate in gates.items()})
        for batch, labels, weights in self.batches:
            with torch.set_grad_enabled(slopes), tap(subject.module, editor=editor):
                outputs = subject.forward(batch, None)
                score = in_float64(subject.select(outputs))
                check_finite(score.detach().cpu().numpy(), self.ids[done : done + len(score)], self.name)
                part = (weights.to(score.device) * score).sum()
                lost = in_float64(label_losses(subject, outputs, labels)).sum() / len(self.ids)
                found = right(subject, outputs, labels)
            if slopes:
                one = torch.autograd.grad(part, leaves, retain_graph=True)
                two = torch.autograd.grad(lost, leaves)
                flat_gap, flat_loss = (
                    torch.cat([g.reshape(-1) for g in grads]).cpu() for grads in (one, two)
                )
                of_gap = flat_gap if of_gap is None else of_gap + flat_gap
                of_loss = flat_loss if of_loss is None else of_loss + flat_loss
            gap, loss = gap + float(part.detach()), loss + float(lost.detach())
            done += len(score)
            predicted = predicted and found is not None
            hits += 0 if found is None else int(found.sum())
        return gap, loss, hits / len(self.ids) if predicted else None, of_gap, of_loss


def _descend(
    subject: Subject,
    parts: Sequence[_Part],
    heads: dict[str, int],
    *,
    allowed: float,
    steps: int,
    rate: float,
    patience: int,
    bar: bool,
) -> tuple[list[GateStep], list[dict[str, Tensor]]]:
    """The path, and the gates at each of its steps by layer."""
    flat = torch.ones(sum(heads.values()), dtype=torch.float64)
    path: list[GateStep] = []
    kept: list[dict[str, Tensor]] = []
    stood: list[_Point] = []  # points that were steps forward
    price, penalty, reach, best = 0.0, 0.0, rate, 0
    for step in tqdm(range(steps + 1), desc="head gates", unit="step", disable=not bar):
        gates = dict(zip(heads, torch.split(flat.clone(), list(heads.values())), strict=True))
        where = float64_device(subject.device)
        leaves = {layer: gate.clone().to(where).requires_grad_() for layer, gate in gates.items()}
        gap, loss, _, of_gap, of_loss = parts[0].measured(subject, leaves, True)
        held_gap, held_loss, held_accuracy, _, _ = parts[1].measured(subject, gates, False)
        if of_gap is None or of_loss is None:
            raise DataError("there are no rows to train on.")
        if step == 0 and (gap == 0 or held_gap == 0):
            raise UsageError("the gap is zero already on these rows: there is nothing to shrink.")
        first_gap, limit = (path[0].gap, path[0].loss + allowed) if path else (gap, loss + allowed)
        here = _Point(
            flat=flat, gap=gap / first_gap, loss=loss - limit, of_gap=of_gap / first_gap, of_loss=of_loss
        )
        forward = not stood or here.merit(penalty) < stood[-1].merit(penalty)
        path.append(
            GateStep(
                step=step,
                gap=gap,
                loss=loss,
                held_gap=held_gap,
                held_loss=held_loss,
                held_accuracy=held_accuracy,
                least_gate=float(flat.min()),
                price=price,
                forward=forward,
            )
        )
        kept.append(gates)
        floor = path[0].held_loss + allowed
        better = abs(held_gap) < abs(path[best].held_gap) or path[best].held_loss > floor
        if held_loss <= floor and better:
            best = step
        elif step - best >= patience:
            break
        if forward:
            stood.append(here)
            reach = min(rate, 1.5 * reach)
        else:
            reach *= 0.4
        now = stood[-1]
        flat, price = constrained_step(
            now.flat, 2 * now.gap * now.of_gap, now.of_loss, room=-now.loss, reach=reach
        )
        penalty = max(penalty, 2 * price)
        if reach < SHORTEST or torch.equal(flat, now.flat):
            break
    return path, kept


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Point:
    """Gates with the gap as a part of the first one, the loss beyond its limit, and both gradients."""

    flat: Tensor
    gap: float
    loss: float
    of_gap: Tensor
    of_loss: Tensor

    def merit(self, penalty: float) -> float:
        return self.gap**2 + penalty * max(0.0, self.loss)
