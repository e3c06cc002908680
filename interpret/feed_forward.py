"""Where the feed-forward blocks of a model are, found by the shapes of linear layers; gates on their outputs."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError, UsageError, did_you_mean
from .models import Batch, Subject
from .tap import tap

Gate = Callable[[str, Tensor], Tensor]  # (block, output) -> output

_REPEATED = re.compile(r"^(.*?\.)?\d+(?=\.)")  # up to the first numbered member of a list


def feed_forward_blocks(subject: Subject, batch: Batch) -> tuple[str, ...]:
    """Names of the linear layers that end a feed-forward block, in the order they run.

    A feed-forward block widens each token and narrows it again (Vaswani et al. 2017, eq. 2). So its last layer is a
    linear one from a hidden width to a smaller one, which ran after a linear one the other way round (or to twice the
    hidden width, where a gate is computed with it), in the same member of a list of layers and outside attention.

    Raises:
        ModelError: no such layer ran.
    """
    ran: list[str] = []
    attentions: list[str] = []
    parts = dict(subject.module.named_modules())
    linear = {name: _shape(part) or (0, 0) for name, part in linear_layers(subject.module).items()}
    with ExitStack() as stack, torch.no_grad():
        for name in linear:
            note = _noting(name, ran)
            stack.callback(parts[name].register_forward_hook(note).remove)
        stack.enter_context(tap(subject.module, lambda call: attentions.append(call.layer.split("#")[0])))
        subject.forward(batch, None)
    inside = tuple(f"{name}." for name in attentions)
    found: dict[str, None] = {}
    before: dict[str, list[tuple[int, int]]] = {}
    for name in ran:
        place = _REPEATED.match(name)
        if place is None or name.startswith(inside):
            continue
        wide, narrow = linear[name]
        seen = before.setdefault(place[0], [])
        if wide > narrow and any(back == narrow and out in (wide, 2 * wide) for back, out in seen):
            found[name] = None
            seen.clear()
        else:
            seen.append((wide, narrow))
    if not found:
        raise ModelError(
            f"{subject.name}: no feed-forward block is recognised: inside the layers of {type(subject.module).__name__} "
            "no linear layer narrows what another has widened. Either (a) its experts are one fused tensor, (b) the "
            "hidden width is not larger than the model's. Screen the heads alone: feed_forward=False."
        )
    return tuple(found)


@contextmanager
def gated(module: nn.Module, blocks: Sequence[str], gate: Gate) -> Iterator[None]:
    """Change the outputs of feed-forward blocks in the body; of a block that runs again, under "name#2" and so on.

    Raises:
        UsageError: there is no such block.
    """
    parts = dict(module.named_modules())
    absent = [name for name in blocks if name not in parts]
    if absent:
        raise UsageError(f"there is no module {absent[0]!r}; {did_you_mean(absent[0], tuple(parts))}")
    with ExitStack() as stack:
        for name in blocks:
            stack.callback(parts[name].register_forward_hook(_gating(name, gate)).remove)
        yield


@contextmanager
def scaled(module: nn.Module, factors: Mapping[str, float]) -> Iterator[None]:
    """Run a model in the body with the outputs of feed-forward blocks multiplied; 0 closes a block.

    Raises:
        UsageError: there is no such block.
    """
    with gated(module, tuple(factors), lambda name, output: output * factors[name.split("#")[0]]):
        yield


def linear_layers(module: nn.Module) -> dict[str, nn.Module]:
    """The linear layers in a module, Conv1D of transformers among them, by name."""
    return {
        name: part
        for name, part in module.named_modules()
        if name and not part._modules and _shape(part) is not None
    }


def _shape(part: nn.Module) -> tuple[int, int] | None:
    """(width in, width out) of a linear layer; None for what is none."""
    for names in (("in_features", "out_features"), ("nx", "nf")):  # torch; Conv1D of transformers
        wide, narrow = (getattr(part, name, None) for name in names)
        if isinstance(wide, int) and isinstance(narrow, int):
            return wide, narrow
    weight = getattr(part, "weight", None)
    if type(part).__name__ == "Conv1D" and isinstance(weight, Tensor) and weight.dim() == 2:
        return weight.shape[0], weight.shape[1]
    return None


def _noting(name: str, ran: list[str]) -> Callable[..., None]:
    return lambda module, args, output: ran.append(name)


def _gating(name: str, gate: Gate) -> Callable[..., Tensor]:
    count = [0]

    def hook(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        count[0] += 1
        return gate(name if count[0] == 1 else f"{name}#{count[0]}", output)

    return hook
