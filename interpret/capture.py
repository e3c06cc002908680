"""One run of a model, and what is kept of its attention calls: plainly, or with the gradient of a target."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import CaptureError, UsageError, first
from .calls import Call, not_reproduced
from .keeping import Keep, Keeper
from .planning import Plan
from .reductions import Statistics, reduce
from .tap import tap
from .trace import Trace

SAMPLED_QUERIES = 32  # certified in each call while tracing


def trace(
    run: Callable[[], Any],
    module: nn.Module,
    *,
    keep_values: bool = True,
    keep: Keep | None = None,
    plan: Plan | None = None,
    reducer: Callable[[Call], Statistics] | None = None,
    certify: Literal["sampled", "exact"] | None = "sampled",
    seed: int = 0,
    unseen: Literal["refuse", "list"] = "refuse",
) -> Trace:
    """Run `run()` once and keep the queries, keys, mask and scale of each attention call of `module` in it.

    Args:
        run: calls the model in any way; what it returns is `Trace.output`.
        module: the model whose attention calls are wanted.
        keep_values: False keeps neither values nor outputs, which exact certificates, contributions and patches need.
        keep: number type, device and parts of what is kept; see `keeping.Keep`.
        plan: keep what a memory plan says, statistics alone if need be; see `planning.plan`.
        reducer: computes the statistics of each call at once. Without `keep` and plan nothing else is kept.
        certify: prove each call as it is seen, on 32 queries drawn with `seed` or on all; None proves nothing
            until a map is asked for.
        unseen: see `tap`.

    Raises:
        CaptureError: see `tap`; also where `run` did not run the module, wrote over what was kept, or a call's
            map does not reproduce its output, and where more comes than was planned.
    """
    if plan is not None:
        keeper = plan.keeper(reduce=(reducer or reduce) if plan.choice == "statistics" else None)
    elif reducer is not None:
        keeper = Keeper(keep, reduce=reducer)
    else:
        keeper = Keeper(keep or Keep(values=keep_values, outputs=keep_values))
    return _listen(run, module, keeper, gradients=False, certify=certify, seed=seed, unseen=unseen, plan=plan)


def attention_gradient(run: Callable[[], Tensor], module: nn.Module) -> Trace:
    """A trace that also knows dO, the gradient of a target at every attention output, from one backward pass.

    Parameters need no gradient and keep theirs: nothing is accumulated. dO is zero where the target does not
    depend on a call.

    Args:
        run: returns the target, one number per example, (example,).
        module: the model whose attention calls are wanted.

    Raises:
        CaptureError: see `tap`; also where the model ran without gradients or the target does not depend on
        attention.
    """
    with torch.enable_grad():
        seen = _listen(run, module, Keeper(Keep()), gradients=True)
    calls, target = seen.calls, seen.output
    if not isinstance(target, Tensor) or target.dim() != 1 or not target.is_floating_point():
        got = tuple(target.shape) if isinstance(target, Tensor) else type(target).__name__
        raise CaptureError(f"the target is {got}; expected one number per example, a tensor (example,).")
    if not target.requires_grad:
        raise CaptureError(
            "the target has no gradient. Run the model without no_grad, detach or NumPy on the way."
        )
    sources = [call.source for call in calls if call.source is not None]
    found: tuple[Tensor | None, ...] = torch.autograd.grad(target.sum(), sources, allow_unused=True)
    if all(gradient is None for gradient in found):
        raise CaptureError(
            "the target does not depend on any attention output; nothing carries a gradient back."
        )
    gradients = [
        call.shaper(torch.zeros_like(source) if gradient is None else gradient).detach()
        for call, source, gradient in zip(calls, sources, found, strict=True)
    ]
    return Trace(
        [dataclasses.replace(call, source=None) for call in calls],
        output=target.detach(),
        gradients=gradients,
        sampled=seen.sampled,
    )


def _listen(
    run: Callable[[], Any],
    module: nn.Module,
    keeper: Keeper,
    *,
    gradients: bool,
    certify: Literal["sampled", "exact"] | None = "sampled",
    seed: int = 0,
    unseen: Literal["refuse", "list"] = "refuse",
    plan: Plan | None = None,
) -> Trace:
    if certify not in ("sampled", "exact", None):
        raise UsageError(f"certify is {certify!r}; expected 'sampled', 'exact' or None.")
    errors: dict[str, float] = {}
    seen: list[str] = []

    def prove(call: Call) -> None:
        seen.append(call.layer)
        if certify is not None:
            sample = SAMPLED_QUERIES if certify == "sampled" else None
            error = call.certificate(sample=sample, seed=seed + len(seen))
            if error is not None:
                errors[call.layer] = error
                if not error <= call.tolerance:
                    raise not_reproduced([call.layer], error, call.tolerance)
        keeper(call)

    with tap(module, prove, gradients=gradients, unseen=unseen) as state:
        output = run()
    calls = keeper.finish()
    if not seen:
        raise CaptureError(
            f"the run made no call of {type(module).__name__}. Hand in the module that it runs, not a copy of it."
        )
    overwritten = [call.layer for call in calls if call.changed_in_place()]
    if overwritten:
        raise CaptureError(
            f"{first(overwritten)}: queries, keys, values or output were changed in place after the call (a static "
            "cache does so), so that what was kept is no longer what was used. Trace one forward pass, without a cache."
        )
    return Trace(
        calls, output=output, sampled=errors, unseen=state.unseen, statistics=keeper.statistics, plan=plan
    )
