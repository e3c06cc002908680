"""A small, honest training loop: AdamW, warm-up, early stopping on a validation split, seeds."""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from ..errors import DataError, ModelError, UsageError

Inputs = Mapping[str, Tensor]
Split = tuple[Inputs, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Mean losses per epoch, and the epoch whose weights were kept (counted from 0)."""

    training_loss: tuple[float, ...]
    validation_loss: tuple[float, ...]
    best_epoch: int


def train(
    model: nn.Module,
    inputs: Inputs,
    labels: Tensor,
    *,
    validation: Split,
    seed: int = 0,
    epochs: int = 50,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.01,
    warm_up: int = 20,
    patience: int = 8,
    device: str = "cpu",
    progress: bool = False,
    class_weights: Tensor | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> History:
    """Train a model whose forward takes `inputs`, and leave it with the weights of its best validation epoch.

    Integer labels are classes (cross-entropy); floating-point labels a regression (mean squared error). The
    learning rate rises linearly over `warm_up` steps and then falls as 1 / sqrt(step) (Vaswani et al. 2017,
    eq. 3, without its width factor). Sets the seed of torch. One seed, same weights, on one
    kind of device and number of threads.

    Args:
        model: is trained in place, and left in evaluation mode on `device`.
        inputs: tensors with the example first.
        labels: (example,).
        validation: inputs and labels that decide when to stop and which weights to keep.
        patience: epochs without a better validation loss after which training stops.
        class_weights: weight of each class in the loss.
        loss: of outputs and labels, their mean over rows, in place of the two above; it takes no class weights.

    Raises:
        UsageError: `epochs` or `batch_size` is less than 1.
        DataError: no rows, or inputs and labels of different length.
        ModelError: the loss is not finite; the weights are then those of the best epoch before.
    """
    n = len(labels)
    if epochs < 1 or batch_size < 1:
        raise UsageError(f"epochs is {epochs} and batch_size {batch_size}; 1 or more is expected.")
    if n == 0 or len(validation[1]) == 0:
        raise DataError("training and validation need at least one row each.")
    for part, (tensors, wanted) in {"training": (inputs, labels), "validation": validation}.items():
        rows = {name: len(tensor) for name, tensor in tensors.items()}
        if any(length != len(wanted) for length in rows.values()):
            raise DataError(f"{part} inputs have {rows} rows and labels {len(wanted)}; the same is expected.")
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model.to(device)
    weights = None if class_weights is None else class_weights.to(device)
    loss_of = loss or _loss(labels, weights)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / max(warm_up, 1), math.sqrt(max(warm_up, 1) / (step + 1)))
    )
    best, best_epoch, kept = math.inf, 0, copy.deepcopy(model.state_dict())
    training: list[float] = []
    validating: list[float] = []
    with tqdm(range(epochs), desc="training", unit="epoch", disable=not progress) as bar:
        for epoch in bar:
            model.train()
            total = 0.0
            for index in torch.split(torch.randperm(n, generator=generator), batch_size):
                batch = {name: tensor[index].to(device) for name, tensor in inputs.items()}
                batch_loss = loss_of(model(batch), labels[index].to(device))
                optimizer.zero_grad()
                batch_loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                total += float(batch_loss.detach()) * len(index)
            training.append(total / n)
            validating.append(
                evaluate(model, *validation, loss_of=loss_of, batch_size=batch_size, device=device)
            )
            if not math.isfinite(training[-1]) or not math.isfinite(validating[-1]):
                model.load_state_dict(kept)
                raise ModelError(
                    f"the loss is {training[-1]} in training and {validating[-1]} in validation after epoch "
                    f"{epoch + 1}; finite numbers are expected. Likely causes: (a) a learning rate of "
                    f"{learning_rate} is too high, (b) inputs that are not finite."
                )
            bar.set_postfix(training=f"{training[-1]:.3f}", validation=f"{validating[-1]:.3f}")
            if validating[-1] < best:
                best, best_epoch, kept = validating[-1], epoch, copy.deepcopy(model.state_dict())
            elif epoch - best_epoch >= patience:
                break
    model.load_state_dict(kept)
    model.eval()
    return History(training_loss=tuple(training), validation_loss=tuple(validating), best_epoch=best_epoch)


def _loss(labels: Tensor, weights: Tensor | None) -> Callable[[Tensor, Tensor], Tensor]:
    if labels.is_floating_point():
        return lambda outputs, wanted: F.mse_loss(outputs.reshape(wanted.shape), wanted)
    return lambda outputs, wanted: F.cross_entropy(outputs, wanted, weight=weights)


@torch.no_grad()
def evaluate(
    model: nn.Module,
    inputs: Inputs,
    labels: Tensor,
    *,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    batch_size: int,
    device: str,
) -> float:
    """The mean loss over the rows, in evaluation mode."""
    model.eval()
    total = 0.0
    for index in torch.split(torch.arange(len(labels)), batch_size):
        batch = {name: tensor[index].to(device) for name, tensor in inputs.items()}
        total += float(loss_of(model(batch), labels[index].to(device))) * len(index)
    return total / len(labels)
