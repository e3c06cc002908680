"""What an edited model does beyond its weights: heads scaled as it attends, a module's output mapped."""

import dataclasses
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..errors import ModelError, did_you_mean, first
from .models import Subject
from .observer import Spot
from .tap import tap

HEADS, OUTPUT = "attention calls", "module output"
POSITIONS = ("first", "every")


class HeadScales:
    """An editor that makes every head's output O * factor + put, stage after stage.

    Hung on a model as a hook, it is also what keeps the model from being run without them.
    """

    def __init__(self, *stages: Mapping[str, tuple[Tensor, Tensor | None]]) -> None:
        self.stages = [dict(stage) for stage in stages]  # layer -> factor (head,), put (head, width)
        self.open: set[int] = set()  # threads on which heads are being scaled

    def cut(self, spot: Spot) -> Bool[Tensor, "#example #head query key"] | None:
        """No pair is cut."""
        return None

    def change(
        self, spot: Spot, output: Float[Tensor, "example head query width"]
    ) -> Float[Tensor, "example head query width"]:
        """The output with every head of this layer scaled.

        Raises:
            ModelError: the layer has another number of heads.
        """
        for stage in self.stages:
            if spot.layer not in stage:
                continue
            factor, put = stage[spot.layer]
            if len(factor) != spot.n_heads:
                raise ModelError(
                    f"{spot.layer} has {spot.n_heads} heads, and {len(factor)} gates were kept for it."
                )
            output = output * factor.to(output)[None, :, None, None]
            if put is not None:
                output = output + put.to(output)[None, :, None, :]
        return output

    def __call__(self, module: nn.Module, args: Any) -> None:
        """A hook before the model runs: it has to run inside `scaled`.

        Raises:
            ModelError: it does not.
        """
        if threading.get_ident() not in self.open:
            raise ModelError(
                f"heads of this {type(module).__name__} are gated as it attends, which its Subject sees to, and the module "
                "was run by itself. Run it through the Subject (scores, attributions, traces)."
            )


class OutputMap:
    """A hook after a module: its output x becomes x - L R (x - mean), in float32 at least."""

    def __init__(self, left: Tensor, right: Tensor, mean: Tensor, positions: str) -> None:
        self.left, self.right, self.mean, self.positions = left, right, mean, positions

    def __call__(self, module: nn.Module, args: Any, output: Any) -> Any:
        """The module's output, mapped; of several outputs, the first."""
        if isinstance(output, tuple):
            return (self.mapped(states_of(module, output)), *output[1:])
        return self.mapped(states_of(module, output))

    def mapped(self, states: Float[Tensor, "*axes width"]) -> Float[Tensor, "*axes width"]:
        """The states, mapped: (example, width), or (example, token, width) at the first token or at every one."""
        if states.dim() == 3 and self.positions == "first":
            return torch.cat([self._map(states[:, :1]), states[:, 1:]], dim=1)
        return self._map(states)

    def _map(self, states: Tensor) -> Tensor:
        wide = states.float() if states.dtype in (torch.float16, torch.bfloat16) else states
        left, right, mean = (part.to(wide) for part in (self.left, self.right, self.mean))
        return (wide - ((wide - mean) @ right.T) @ left.T).to(states.dtype)


def states_of(module: nn.Module, output: Any) -> Tensor:
    """The tensor (example, width) or (example, token, width) that a module gives; of several, the first.

    Raises:
        ModelError: it gives none.
    """
    found = output[0] if isinstance(output, tuple) and output else output
    if not isinstance(found, Tensor) or found.dim() not in (2, 3) or not found.is_floating_point():
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ModelError(
            f"{type(module).__name__} gives {shape}; a tensor (example, width) or (example, token, width) is expected. "
            "Name a layer, or a part of one."
        )
    return found


def module_named(subject: Subject, name: str) -> nn.Module:
    """The part of a Subject's model called `name`.

    Raises:
        ModelError: there is none.
    """
    parts: dict[str, nn.Module] = dict(subject.module.named_modules())
    if name not in parts or not name:
        raise ModelError(
            f"{subject.name} has no module {name!r}: {did_you_mean(name, [part for part in parts if part])}"
        )
    return parts[name]


def heads_scaled(subject: Subject, stage: Mapping[str, tuple[Tensor, Tensor | None]]) -> Subject:
    """The Subject (a copy that is ours to change) with heads scaled whenever it runs.

    Raises:
        ModelError: the model has no module in which these attention calls could be made.
    """
    names = {name or type(part).__name__ for name, part in subject.module.named_modules()}
    unknown = [layer for layer in stage if layer.partition("#")[0] not in names]
    if unknown:
        raise ModelError(f"{subject.name} has no layer {first(unknown)}: {did_you_mean(unknown[0], names)}")
    hung = scales_of(subject.module)
    if hung is not None:
        hung.stages.append(dict(stage))
        return subject
    subject.module.register_forward_pre_hook(HeadScales(stage))
    module = subject.module
    return dataclasses.replace(
        subject,
        encode=_inside(module, subject.encode),
        forward=_inside(module, subject.forward),
        whole=None if subject.whole is None else _inside(module, subject.whole),
    )


def scales_of(module: nn.Module) -> HeadScales | None:
    """What scales the heads of a model whenever it runs, if anything."""
    return next((hook for hook in module._forward_pre_hooks.values() if isinstance(hook, HeadScales)), None)


def _inside(module: nn.Module, function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any) -> Any:
        with scaled(module):
            return function(*args)

    return run


@contextmanager
def scaled(module: nn.Module) -> Iterator[None]:
    """Heads of the model are scaled in the body as its hook says; once, also where bodies are nested."""
    hung, thread = scales_of(module), threading.get_ident()
    if hung is None or thread in hung.open:
        yield
        return
    hung.open.add(thread)
    try:
        with tap(module, editor=hung, unseen="list"):
            yield
    finally:
        hung.open.discard(thread)


def installed(subject: Subject, place: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Subject:
    """The Subject (a copy that is ours to change) with one edit at work whenever it runs.

    Args:
        place: {"at": "attention calls", "layers": [...]} with tensors "0.factor", "0.put" (where there is one), ...
            by place of the layer; or {"at": "module output", "module": ..., "positions": "first" or "every"}
            with tensors "left" (width, rank), "right" (rank, width) and "mean" (width,).

    Raises:
        ModelError: the model has no such part, or tensors are missing or of other shapes.
    """
    try:
        if place["at"] == HEADS:
            layers: list[str] = list(place["layers"])
            stage = {
                layer: (tensors[f"{i}.factor"], tensors.get(f"{i}.put")) for i, layer in enumerate(layers)
            }
            if any(factor.dim() != 1 for factor, _ in stage.values()):
                raise ValueError("a factor per head is expected")
            return heads_scaled(subject, stage)
        if place["at"] != OUTPUT or place["positions"] not in POSITIONS:
            raise ValueError(f"unknown place {dict(place)}")
        left, right, mean = tensors["left"], tensors["right"], tensors["mean"]
        if left.shape != right.T.shape or mean.shape != left.shape[:1]:
            raise ValueError(f"shapes {tuple(left.shape)}, {tuple(right.shape)}, {tuple(mean.shape)}")
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"an edit of {subject.name} cannot be applied: {type(error).__name__} {error}. Make the edit again."
        ) from error
    module = module_named(subject, str(place["module"]))
    module.register_forward_hook(OutputMap(left, right, mean, str(place["positions"])))
    return subject
