"""DeepLIFT: differences from the reference, carried back through the activations by captum's rescale rule."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..errors import DataError, ModelError, first
from ..records import Attribution, Rows
from .batches import MAX_MEMORY
from .gradients import Target, once
from .models import Subject

# Captum's rules of these mix the examples of a batch: softmax subtracts a mean over all of them, and pooling takes the
# first example's gradient where an input equals its reference. Such models are run one row at a time.
MIXING = (nn.Softmax, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
SET_BY_CAPTUM = ("input", "output")  # attributes of the modules it hooks


def deep_lift(
    subject: Subject,
    rows: Rows,
    *,
    batch_size: int = 64,
    max_memory: int = MAX_MEMORY,
    seed: int = 0,
    progress: bool = False,
) -> Attribution:
    """DeepLIFT contributions of the difference from the reference, signed and summed over the embedding, per token.

    The rescale rule (Shrikumar et al. 2017): an activation passes on its gradient times (difference of
    outputs) / (difference of inputs). By captum's DeepLift, which has the rule for modules of torch.nn: ReLU, LeakyReLU,
    ELU, Softplus, Sigmoid, Tanh, max-pooling, and one of its own for Softmax. Everything else that is not linear keeps its
    plain gradient: activations called as functions, GELU, the softmax of attention, products, LayerNorm. On a network of
    linear layers and those modules the scores add up to f(x) - f(b); on Transformers they do not, `residual` says by how
    much, and rows beyond the tolerance are marked `converged = False`. Where no module has a rule this is the gradient
    times (x - b), and a note says so.

    Args:
        batch_size: rows encoded together, of about one length; models with Softmax or max-pooling modules are run row by
            row, since captum's rules for these mix the rows of a batch.
        max_memory: bytes that one pass may keep for its backward pass.
        seed: not used; every method takes one.
        progress: show a bar.

    Returns:
        Scores (example, token) in the subject's unit, float64, 0 beyond an example's last token.

    Raises:
        DataError: no rows, or a score that is not finite.
        ModelError: a module with a rule runs twice in one forward pass, no gradient, a batch size out of range, or memory
            that one row alone exceeds.
    """
    from captum.attr import DeepLift

    if not len(rows):
        raise DataError("there are no rows to score.")

    def ask(target: Target, embedded: Tensor, reference: Tensor, tensors: tuple[Tensor, ...]) -> Tensor:
        with _left_clean(target), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Setting forward, backward hooks")
            made: Tensor = DeepLift(target).attribute(
                embedded.requires_grad_(), baselines=reference, additional_forward_args=tensors
            )
        return made

    ruled = _ruled(subject, rows)
    mixing = any(isinstance(module, MIXING) for module in ruled)
    return once(
        "DeepLIFT",
        subject,
        rows,
        ask,
        cost=2,
        complete=True,
        aggregate="sum",
        batch_size=1 if mixing else batch_size,
        max_memory=max_memory,
        progress=progress,
        notes=(
            "rescale rule at activations that are modules; softmax, products and LayerNorm keep their gradient"
            if ruled
            else "no module that ran has a DeepLIFT rule: this is the gradient times (x - baseline)",
        ),
    )


@torch.no_grad()
def _ruled(subject: Subject, rows: Rows) -> list[nn.Module]:
    """The modules that run and that captum has a rule for.

    Raises:
        ModelError: one of them runs twice in a forward pass.
    """
    from captum.attr._core.deep_lift import SUPPORTED_NON_LINEAR

    runs: dict[str, int] = {}
    modules = {n: m for n, m in subject.module.named_modules() if type(m) in SUPPORTED_NON_LINEAR}

    def counting(name: str) -> Callable[..., None]:
        def count(*_: object) -> None:
            runs[name] = runs.get(name, 0) + 1

        return count

    handles = [module.register_forward_pre_hook(counting(name)) for name, module in modules.items()]
    try:
        batch = subject.encode(rows.take([0]))
        runs.clear()  # what encoding asked of the model is no part of the forward pass
        subject.forward(batch, subject.embed(batch))
    finally:
        for handle in handles:
            handle.remove()
    twice = [f"{name} ({type(modules[name]).__name__})" for name, times in runs.items() if times > 1]
    if twice:
        raise ModelError(
            f"DeepLIFT needs a module of its own for each use of an activation, and these run more than once in one "
            f"forward pass of {subject.name}: {first(twice)}. Give each use its own module, or take integrated gradients, "
            "which need no rules."
        )
    return [modules[name] for name in runs]


@contextmanager
def _left_clean(target: nn.Module) -> Iterator[None]:
    """Takes away the attributes that captum sets on modules and, after an error or an unused output, leaves there."""
    before = {module: set(vars(module)) for module in target.modules()}
    try:
        yield
    finally:
        for module, names in before.items():
            for name in SET_BY_CAPTUM:
                if name in vars(module) and name not in names:
                    delattr(module, name)
