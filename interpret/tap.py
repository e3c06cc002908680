"""Sees every attention call of a PyTorch model while a block of code runs, and may change it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from .by_hand import SOFTMAXES, WATCHED, Follower
from .fused import fused, multi_head
from .observer import ATTENTION_CLASS, Editor, Listener, Observer, active
from .registry import observed_registry

STARTING = SOFTMAXES | {F.scaled_dot_product_attention, F.multi_head_attention_forward}
INTERESTING = WATCHED | {F.scaled_dot_product_attention, F.multi_head_attention_forward}
ATTENDING = ("torch.nn.modules.activation", "torch.nn.modules.transformer")


class _Mode(TorchFunctionMode):
    """Sees the torch functions called on this thread, for every tap that is open."""

    def __init__(self, tap: Observer) -> None:
        super().__init__()
        self.tap = tap
        self.follower = Follower()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func not in (INTERESTING if self.follower.weights else STARTING):
            return func(*args, **kwargs) if kwargs else func(*args)
        open_taps = active()
        if not open_taps or open_taps[-1] is not self.tap:
            return func(*args, **(kwargs or {}))
        taps = [tap for tap in open_taps if tap.listening]
        if not taps:
            return func(*args, **(kwargs or {}))
        if func is F.scaled_dot_product_attention:
            return fused(taps, "sdpa", args, kwargs or {})
        if func is F.multi_head_attention_forward:
            return multi_head(taps, args, kwargs or {})
        return self.follower.call(func, args, kwargs or {})


def _may_attend(module: nn.Module) -> bool:
    """Whether a module is told apart as a place where attention happens.

    Not torch's linear layers, norms and activations, nor a part without parts whose class is not called attention:
    what happens in it is named after the module it belongs to.
    """
    kind: Any = type(module)
    return bool(module._modules and not _of_torch(kind)) or bool(_called_attention(kind))


@lru_cache(maxsize=1024)
def _of_torch(kind: Any) -> bool:
    home: str = kind.__module__
    return home.startswith("torch.nn.modules.") and home not in ATTENDING


@lru_cache(maxsize=1024)
def _called_attention(kind: Any) -> bool:
    return bool(ATTENTION_CLASS.search(kind.__name__))


@contextmanager
def tap(
    module: nn.Module,
    listener: Listener | None = None,
    *,
    editor: Editor | None = None,
    gradients: bool = False,
    unseen: Literal["refuse", "list"] = "refuse",
) -> Iterator[Observer]:
    """Hand every attention call that `module` makes in the body, on this thread, to `listener`.

    Five ways in, one kind of event, nothing reported twice: what transformers' attention registry hands out,
    the body of torch's multi-head attention, torch's fused scaled_dot_product_attention, a softmax over keys
    that the model takes itself and then multiplies with the values, and weights that a module returns (these
    are read only). The model computes what it would have computed, bit for bit; only torch's inference-time
    fused encoder layer is left for the ordinary one (equal on tokens that are no padding). Calls are named
    after the module they are made in, "name#2" from the second call of a module on. Calls repeated by gradient
    checkpointing during backward are not reported. A compiled module runs its original code while the tap is
    open. Taps may be nested; other models and threads pass through.

    Args:
        module: the model, or the part of it, to listen to.
        listener: called once per attention call, in order, right after it.
        editor: may cut pairs before a call and change its output after it. A listener, also that of another
            open tap, sees what attention computed; the model goes on with what the editor made of it.
        gradients: keep each output attached to the graph (`Call.source`), for its gradient.
        unseen: what becomes of modules whose class is called attention, that ran and made no call that was
            seen: "refuse", or "list" in `Observer.unseen`.

    Raises:
        CaptureError: at the call: dropout is on, an argument changes attention in a way that is not understood,
            or an edge cannot be cut. At the end of the body: the module ran and an attention was missed.
    """
    state = Observer(module, listener, editor=editor, gradients=gradients, refuse_unseen=unseen == "refuse")
    with ExitStack() as stack:
        compiled = False
        for part in state.parts.values():
            compiled = compiled or part._compiled_call_impl is not None or "_orig_mod" in part._modules
            if part is module or _may_attend(part):
                stack.callback(
                    part.register_forward_pre_hook(state.enter, with_kwargs=True, prepend=True).remove
                )
                stack.callback(part.register_forward_hook(state.leave, always_call=True).remove)
        if compiled:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(observed_registry())
        active().append(state)
        stack.callback(active().remove, state)
        stack.enter_context(_Mode(state))
        yield state
    state.close()
