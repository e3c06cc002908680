"""The linear map that leads from a layer's heads out of its attention, found by watching and proved."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import CaptureError, first
from ..records import Rows
from .calls import Call
from .models import Subject
from .observer import Observer
from .tap import tap


@dataclass(slots=True)
class _Seen:
    """One attention call, and the modules that were given its output with heads side by side."""

    call: Call
    owner: nn.Module  # the module it was made in
    followers: list[tuple[nn.Module, Tensor]] = field(default_factory=list)  # with what each gave


def projections(subject: Subject, rows: Rows) -> dict[str, Float[Tensor, "head width output"]]:
    """W_O of every attention call by its layer, head by head, in float64 on the CPU: found on the first row.

    A module is the projection where it is called, with one tensor and nothing else, on the call's output with its
    heads side by side (of torch's multi-head attention: its `out_proj`), and three proofs hold on that row: it is no
    identity; it is affine, f(O) = O W + f(0), with W read off f(I) - f(0); and nothing leaves attention beside it,
    dO = dY W^T with dY the target's gradient at what it gave. No architecture is known by name.

    Raises:
        CaptureError: a layer for which no module stands all three.
    """
    batch = subject.encode(rows.take([0]))
    seen: list[_Seen] = []
    with ExitStack() as stack:
        for part in subject.module.modules():
            stack.callback(part.register_forward_hook(_following(seen)).remove)
        state = stack.enter_context(
            tap(subject.module, lambda call: _note(seen, call, state), gradients=True)
        )
        with torch.enable_grad():
            target = subject.select(subject.forward(batch, None)).sum()
    found: dict[str, Tensor] = {}
    missing: list[str] = []
    for one in seen:
        made = _projection(one, target)
        if made is None:
            missing.append(one.call.layer)
        else:
            found[one.call.layer] = made
    if missing:
        raise CaptureError(
            f"{subject.name}: no linear output projection was found behind {first(missing)}: no module was called on "
            "the heads side by side that is linear and the only way out (either (a) the product is written without a "
            "module, as with einsum, (b) heads are gated, scaled or normalised first). Norms of what each head adds are not "
            "known there. 'value zeroing' needs no projection; or let the model call torch.nn.Linear on the heads."
        )
    return found


def _note(seen: list[_Seen], call: Call, state: Observer) -> None:
    name = call.layer.partition("#")[0]
    owner = next((frame.module for frame in reversed(state.stack) if frame.name == name), state.module)
    seen.append(_Seen(call, owner))


def _following(seen: list[_Seen]) -> Callable[..., None]:
    """A hook that notes a module whose one argument is the last call's output with its heads side by side."""

    def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        given = args[0] if len(args) == 1 else None
        if not seen or not isinstance(given, Tensor) or not isinstance(output, Tensor):
            return
        call = seen[-1].call
        if call.output is None or given.numel() != call.output.numel():
            return
        with torch.no_grad():
            side_by_side = merged(call.output)
            if given.shape[-1] == side_by_side.shape[-1] and torch.equal(
                given.detach().reshape(side_by_side.shape), side_by_side
            ):
                seen[-1].followers.append((module, output))

    return hook


def merged(heads: Float[Tensor, "example head query width"]) -> Float[Tensor, "example query joined"]:
    """Heads side by side."""
    return heads.transpose(1, 2).flatten(2)


def _projection(one: _Seen, target: Tensor) -> Tensor | None:
    call = one.call
    if call.source is None or call.output is None:
        return None
    if call.way == "multi-head" and isinstance(one.owner, nn.MultiheadAttention):
        return _by_head(one.owner.out_proj.weight.detach().T, call)
    # Modules leave in the order innermost first; the outermost that stands the proofs is the whole projection.
    for module, output in reversed(one.followers):
        weight = _linear(module, call)
        if weight is not None and _only_way(call, call.source, output, target, weight):
            return _by_head(weight, call)
    return None


def _by_head(weight: Float[Tensor, "joined output"], call: Call) -> Float[Tensor, "head width output"]:
    return weight.cpu().double().reshape(call.n_heads, -1, weight.shape[1])


@torch.no_grad()
def _linear(module: nn.Module, call: Call) -> Tensor | None:
    """W with f(O) = O W + f(0), (joined, output); None where the module is not so, or changes nothing."""
    if call.output is None:
        return None
    heads = merged(call.output)
    unit = torch.eye(heads.shape[-1], dtype=heads.dtype, device=heads.device)[None]
    nothing = module(torch.zeros_like(unit[:, :1]))
    weight = module(unit)[0] - nothing[0]
    if torch.equal(weight, unit[0]):
        return None
    made, again = module(heads), heads @ weight + nothing
    return weight if made.shape == again.shape and _close(made, again, call.tolerance) else None


def _only_way(call: Call, source: Tensor, output: Tensor, target: Tensor, weight: Tensor) -> bool:
    """Whether all of the target's gradient at the heads comes back through this projection."""
    found: tuple[Tensor | None, ...] = torch.autograd.grad(
        target, [source, output], retain_graph=True, allow_unused=True
    )
    before, after = found
    if before is None or after is None:
        return before is None
    came = after.reshape(-1, after.shape[-1]) @ weight.T
    had = merged(call.shaper(before)).reshape(came.shape)
    return _close(had, came, 10 * call.tolerance)


def _close(one: Tensor, other: Tensor, tolerance: float) -> bool:
    one, other = one.cpu().double(), other.cpu().double()
    return float((one - other).norm()) <= tolerance * float(other.norm())
