"""A factor per head folded into the projection behind the heads, where that projection is known exactly."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import DataError, UsageError, did_you_mean, first
from ..records import Rows
from .calls import Call
from .copying import copied
from .edits import AT_RUN_TIME, IN_WEIGHTS, Edit, tensor_sha256, with_edit
from .float64 import in_float64
from .gates import Layer
from .interventions import every_head
from .models import Subject, score
from .projections import merged
from .runtime_edits import HEADS, HeadScales
from .tap import tap

Way = Literal["auto", "weights", "run time"]
Stage = Mapping[str, tuple[Tensor, Tensor | None]]  # layer -> factor (head,), put (head, width) in float64
PROVED_ON = 16  # rows
TOLERANCE: Mapping[torch.dtype, float] = {torch.float64: 1e-9, torch.float32: 1e-5}


class _NotFolded(Exception):
    """Why a factor per head cannot be folded into weights."""


def heads_of(subject: Subject, rows: Rows) -> dict[str, int]:
    """The number of heads of every attention call, in the order of the calls on the first row.

    Raises:
        DataError: there are no rows.
        CaptureError: an attention call could not be seen.
    """
    if not len(rows):
        raise DataError("there are no rows to find the model's heads with.")
    found: dict[str, int] = {}
    for layer, _ in every_head(subject, rows):
        found[layer] = found.get(layer, 0) + 1
    return found


def layer_and_head(heads: Mapping[str, int], layer: Layer, head: int) -> tuple[str, int]:
    """A head by its layer's name and its place in it.

    Raises:
        UsageError: there is no such layer or head.
    """
    names = list(heads)
    if isinstance(layer, int):
        if not 0 <= layer < len(names):
            raise UsageError(
                f"there is no attention call {layer}: the model makes {len(names)}, so 0 to {len(names) - 1}."
            )
        layer = names[layer]
    if layer not in heads:
        raise UsageError(f"no attention call is named {layer!r}: {did_you_mean(layer, names)}")
    if not 0 <= head < heads[layer]:
        raise UsageError(f"{layer} has no head {head}: it has {heads[layer]}, so 0 to {heads[layer] - 1}.")
    return layer, head


def scale_heads(
    subject: Subject,
    rows: Rows,
    stage: Stage,
    *,
    kind: str,
    parameters: Mapping[str, Any],
    way: Way = "auto",
    n_rows: int | None = None,
) -> Subject:
    """A copy of the Subject whose heads give O * factor + put, as an edit.

    A factor scales the rows of W_O that belong to its head, and what is put in adds to the bias. This is done where on
    the first row exactly one linear module is given the heads side by side, is run once and shares no weight, and
    where on up to 16 rows the scores are then those of the gates. Elsewhere the heads are scaled as the
    model runs. Which it was, and why, is in the edit.

    Raises:
        UsageError: `way` is "weights" and they cannot be folded in, or there is no such way.
    """
    if way not in ("auto", "weights", "run time"):
        raise UsageError(f"way is {way!r}; 'auto', 'weights' or 'run time' is expected.")
    n = len(rows) if n_rows is None else n_rows
    said: dict[str, Any] = dict(parameters)
    if way != "run time":
        made = copied(subject, rows)
        try:
            changed = _folded(made, rows, stage)
            said |= {"largest_score_difference": _proved(subject, made, rows, stage)}
            return with_edit(
                made, Edit(kind=kind, way=IN_WEIGHTS, n_rows=n, parameters=said, changed=changed)
            )
        except _NotFolded as reason:
            if way == "weights":
                raise UsageError(
                    f"{subject.name}: the heads cannot be folded into weights, for {reason}."
                ) from reason
            said |= {"why_not_in_the_weights": str(reason)}
    tensors: dict[str, Tensor] = {}
    for i, (factor, put) in enumerate(stage.values()):
        tensors |= {f"{i}.factor": factor.detach().clone()} | (
            {} if put is None else {f"{i}.put": put.detach().clone()}
        )
    edit = Edit(
        kind=kind,
        way=AT_RUN_TIME,
        n_rows=n,
        parameters=said,
        place={"at": HEADS, "layers": list(stage)},
        tensors=tensors,
    )
    return with_edit(copied(subject, rows), edit)


@torch.no_grad()
def _folded(subject: Subject, rows: Rows, stage: Stage) -> dict[str, str]:
    """Fold into the weights of a copy; the names of those changed, and their hashes."""
    behind = _projections(subject, rows, tuple(stage))
    for layer, (_, put) in stage.items():
        module = behind[layer]
        if put is not None and bool((put != 0).any()) and module.bias is None:
            raise _NotFolded(f"the projection behind {layer} has no bias to hold the means")
    names: dict[int, str] = {}
    for name, part in subject.module.named_parameters(remove_duplicate=False):
        if id(part) in names and any(id(part) in (id(m.weight), id(m.bias)) for m in behind.values()):
            raise _NotFolded(f"{names[id(part)]} and {name} are one weight")
        names[id(part)] = name
    for layer, (factor, put) in stage.items():
        module = behind[layer]
        weight: Tensor = module.weight if _is_conv(module) else module.weight.T  # (joined, output)
        by_head = weight.unflatten(0, (len(factor), -1))  # type: ignore[no-untyped-call]
        if put is not None and module.bias is not None:
            exact = in_float64(by_head)
            added = torch.einsum("hw,hwo->o", put.to(exact.device), exact)
            module.bias.copy_(in_float64(module.bias) + added)
        by_head.mul_(factor.to(by_head)[:, None, None])
    touched = {id(part) for layer in stage for part in (behind[layer].weight, behind[layer].bias)}
    return {
        name: tensor_sha256(part) for name, part in subject.module.named_parameters() if id(part) in touched
    }


def _is_conv(module: Any) -> bool:
    """transformers' Conv1D: a linear map kept as (input, output)."""
    kind = type(module)
    return kind.__name__ == "Conv1D" and kind.__module__ == "transformers.pytorch_utils"


def _is_linear(module: Any) -> bool:
    """A linear map of one plain weight: no subclass, no quantised tensor, nothing that runs beside it."""
    known = type(module) in (nn.Linear, nn.modules.linear.NonDynamicallyQuantizableLinear) or _is_conv(module)
    return known and type(module.weight) is nn.Parameter and module.weight.is_floating_point()


@dataclasses.dataclass(slots=True)
class _Seen:
    call: Call
    followers: list[nn.Module]


@torch.no_grad()
def _projections(subject: Subject, rows: Rows, layers: Sequence[str]) -> dict[str, Any]:
    """The linear module that each layer's heads are given to, side by side and unchanged, on the first row."""
    seen: list[_Seen] = []
    parts = dict(subject.module.named_modules())

    def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        given = args[0] if args else None
        if not seen or not isinstance(given, Tensor) or seen[-1].call.output is None:
            return
        heads = merged(seen[-1].call.output)
        fits = given.numel() == heads.numel() and given.shape[-1] == heads.shape[-1]
        if fits and torch.equal(given.reshape(heads.shape), heads):
            seen[-1].followers.append(module)

    handles = [part.register_forward_hook(hook) for part in parts.values() if _is_linear(part)]
    try:
        batch = subject.encode(rows.take([0]))
        with tap(subject.module, lambda call: seen.append(_Seen(call, [])), unseen="list"):
            subject.forward(batch, None)
    finally:
        for handle in handles:
            handle.remove()
    found: dict[str, Any] = {}
    for one in seen:
        owner = parts.get(one.call.layer.partition("#")[0])
        if (
            one.call.way == "multi-head"
            and isinstance(owner, nn.MultiheadAttention)
            and _is_linear(owner.out_proj)
        ):
            one.followers = [owner.out_proj]
        if len(one.followers) == 1:
            found[one.call.layer] = one.followers[0]
    missing = [layer for layer in layers if layer not in found]
    if missing:
        raise _NotFolded(f"no one linear module is given the heads of {first(missing)} side by side")
    every = [module for one in seen for module in one.followers]
    for layer in layers:
        if sum(module is found[layer] for module in every) > 1:
            raise _NotFolded(f"the projection behind {layer} serves several attention calls")
    return found


def _proved(subject: Subject, made: Subject, rows: Rows, stage: Stage) -> float:
    """The largest difference between scores with folded weights and with gates, as numbers of the scores' unit."""
    some = rows.take(np.arange(min(len(rows), PROVED_ON)))
    with torch.no_grad(), tap(subject.module, editor=HeadScales(stage), unseen="list"):
        gated = score(subject, some)
    folded = score(made, some)
    numbers = next((p.dtype for p in subject.module.parameters() if p.is_floating_point()), torch.float32)
    allowed = TOLERANCE.get(numbers, 5e-2) * max(1.0, float(np.abs(gated).max()))
    moved = float(np.abs(folded - gated).max())
    if not moved <= allowed:
        raise _NotFolded(f"the scores are then others than with gates (by {moved:.2g} on {len(some)} rows)")
    return moved
