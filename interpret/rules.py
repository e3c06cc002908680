"""Backward rules for any model: what gradients take for constant, and how products share them."""

import re
import threading
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import arguments
from . import function_kinds as kinds
from .arguments import SECOND, VALUES, Args, Named, Place, Step
from .following import GATE, SCALE, SIGMOID, WEIGHTS, Following
from .frozen_functions import Normalised, Scaled, Sloped, norm_of, slope

# Modules that are one activation each, some of them written out in several functions or with a gradient of their own.
WHOLE = "transformers.activations"
WHOLE_BY_NAME = re.compile(r"(gelu|silu|swish|relu|mish)(_?activation)?$", re.IGNORECASE)

Rule = Callable[[Following, Step], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What becomes of gradients at activations, norms and products of two tensors that depend on the tokens.

    In both sets the scale of a norm and the slope f(z) / z of an activation are constants.
    """

    halved: bool  # each factor gets half of its gradient; otherwise the gate, or the attention, is a constant
    rest: bool  # compute what is left of every tensor without the tokens


FROZEN = Rules(halved=False, rest=True)
ATTN_LRP = Rules(halved=True, rest=False)


@contextmanager
def following(module: nn.Module, rules: Rules) -> Iterator[Following]:
    """Apply backward rules, in the body and on this thread, to all that comes from `Following.start`.

    The forward pass gives what it gives without rules. Modules of transformers that are one activation each are
    taken as a whole, also where they are written out in several functions. A compiled module runs its original
    code. Gradients are to be taken in the tokens' embeddings: those in parameters mean nothing under rules.
    """
    mode = Following(HALVED if rules.halved else CONSTANT, rest=rules.rest)
    with ExitStack() as stack:
        compiled = False
        for part in module.modules():
            compiled = compiled or part._compiled_call_impl is not None or "_orig_mod" in part._modules
            if _whole(part):
                enter, leave = partial(_enter, mode), partial(_leave, mode)
                stack.callback(part.register_forward_pre_hook(enter, prepend=True).remove)
                stack.callback(part.register_forward_hook(leave, with_kwargs=True, always_call=True).remove)
        if compiled:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(mode)
        yield mode


def _whole(module: nn.Module) -> bool:
    """Whether a module is one activation. Torch's own are not meant: their functions are known."""
    kind = type(module)
    if kind.__module__.startswith("torch.nn.modules.") or module._modules:
        return False
    return kind.__module__ == WHOLE or bool(WHOLE_BY_NAME.search(kind.__name__))


def _enter(follow: Following, module: nn.Module, args: Args) -> None:
    """A module that is one activation begins: nothing inside it is followed."""
    if threading.get_ident() == follow.thread:
        follow.muted += 1


def _leave(follow: Following, module: nn.Module, args: Args, kwargs: Named, output: Any) -> Any:
    """A module that is one activation has run."""
    if threading.get_ident() != follow.thread:
        return None
    follow.muted -= 1
    z = next(iter((*args, *kwargs.values())), None)
    if follow.muted or not torch.is_grad_enabled() or not isinstance(output, Tensor):
        return None
    if not isinstance(z, Tensor) or z not in follow.parts or z.shape != output.shape:
        return None
    values = output.detach().clone() if output is z else output.detach()
    return _sloped(follow, z, values, module.forward, _zero(z), GATE)


# Activations, norms, and what norms and attention written by hand are made of.


def activation(follow: Following, step: Step) -> Any:
    """f(z) with its slope as a constant."""
    z = step.only
    if z is None or follow.parts[z].rank >= WEIGHTS:
        return follow.plain(step)
    writes = kinds.in_place(step.call) or kinds.writes_on_request(step.call, step.args, step.kwargs)

    def function(x: Tensor) -> Tensor:
        made: Tensor = step.replaced({step.places[0]: x.clone() if writes else x}).run()
        return made

    with torch.no_grad(), torch._C.DisableTorchFunction():
        values = function(z.detach())
        zero = torch.zeros_like(z[:1]) if step.function in kinds.BY_CHANNEL else _zero(z)
    rank = SIGMOID if step.function in kinds.SIGMOIDS else GATE if step.function in kinds.GATES else 0
    made = _sloped(follow, z, values, function, zero, rank)
    return follow.written(z, made) if writes else made


def _sloped(
    follow: Following,
    z: Tensor,
    values: Tensor,
    function: Callable[[Tensor], Tensor],
    zero: Tensor,
    rank: int,
) -> Tensor:
    part = follow.parts[z]
    with torch._C.DisableTorchFunction():
        slopes, start = slope(z.detach(), values, function, zero)
        made: Tensor = Sloped.apply(z, [values, slopes])  # type: ignore[no-untyped-call]
        rest = None if part.rest is None else start + slopes * part.rest
    follow.note(made, rest, rank, part.root)
    return made


def _zero(like: Tensor) -> Tensor:
    return torch.zeros((1,) * like.dim(), dtype=like.dtype, device=like.device)


def norm(follow: Following, step: Step) -> Any:
    """A norm with its scale as a constant; the mean that it takes out stays linear."""
    x = step.only
    if x is None:
        return follow.watched(step, follow.plain(step))
    part = follow.parts[x]
    with torch.no_grad(), torch._C.DisableTorchFunction():
        values, held = step.run(), norm_of(step, x)
        rest = None if part.rest is None else held.of(part.rest)
    made = Normalised.apply(x, (values, held))  # type: ignore[no-untyped-call]
    follow.note(made, rest)
    return made


def scale(follow: Following, step: Step) -> Any:
    """The size of a vector, by which it will be divided."""
    return follow.ranked(follow.plain(step), SCALE)


def power(follow: Following, step: Step) -> Any:
    """A square root, or one over it, is a scale; other powers are nothing in particular."""
    exponent = step.argument("exponent", 1)
    root = isinstance(exponent, (int, float)) and (exponent < 0 or exponent == 0.5)
    return follow.ranked(follow.plain(step), SCALE if root else 0)


def softmax(follow: Following, step: Step) -> Any:
    """Weights, with which values will be multiplied."""
    return follow.ranked(follow.plain(step), WEIGHTS)


# Products of two tensors that depend on the tokens.


def _constant(follow: Following, step: Step, those: list[Place]) -> Any:
    """The function with some of its arguments as constants."""
    return follow.plain(step.replaced({place: step.at(place).detach() for place in those}, constant=True))


def _shared(follow: Following, step: Step, shares: Mapping[Place, float]) -> Any:
    """The function with the gradients of some of its arguments multiplied."""
    new: dict[Place, Tensor] = {}
    for place, share in shares.items():
        given = step.at(place)
        new[place] = follow.like(Scaled.apply(given, share), given)  # type: ignore[no-untyped-call]
    return follow.plain(step.replaced(new))


def _beside(follow: Following, step: Step, function: Callable[..., Any], rule: Rule) -> Any:
    """A function that writes into its first argument, run beside a copy of it and then written."""
    target = step.args[0]
    copied = step.replaced({("args", 0): follow.like(target.clone(), target)})
    return follow.written(target, rule(follow, copied.calling(function)))


def product(follow: Following, step: Step, *, halved: bool) -> Any:
    """A product: the surer factor becomes a constant, or each factor gets half of its gradient.

    The scale of a norm is a constant in any case, and so is what an activation written by hand, as x * sigmoid(x),
    multiplies its argument with.
    """
    added = kinds.added(step.function)
    ranks = {place: follow.parts[step.at(place)].rank for place in step.places if place not in added}
    if len(ranks) < 2:
        return follow.plain(step)
    if kinds.in_place(step.call):
        return _beside(follow, step, torch.mul, partial(product, halved=halved))
    lowest, highest = min(ranks.values()), max(ranks.values())
    if lowest >= WEIGHTS:
        return follow.watched(step, follow.plain(step))
    roots = {follow.parts[step.at(place)].root for place in ranks}
    itself = step.function in kinds.MULTIPLICATIONS and len(roots) == 1
    surer = [place for place, rank in ranks.items() if rank > lowest]
    if len(surer) == len(ranks) - 1 and (itself or highest == SCALE or not halved):
        return follow.ranked(_constant(follow, step, surer), GATE if itself and highest < SCALE else 0)
    if halved:
        return _shared(follow, step, dict.fromkeys(ranks, 1 / len(ranks)))
    return follow.watched(step, follow.plain(step))


def quotient(follow: Following, step: Step, *, halved: bool) -> Any:
    """A vector divided by its size, which is a constant; or weights by their sum."""
    below = next((place for place in step.places if place in SECOND), None)
    if below is None:
        return follow.plain(step)
    if kinds.in_place(step.call) and len(step.places) > 1:
        return _beside(follow, step, torch.div, partial(quotient, halved=halved))
    rank = follow.parts[step.at(below)].rank
    above = [follow.parts[step.at(place)].rank for place in step.places if place != below]
    if above and rank > max(above) and (rank == SCALE or not halved):
        return _constant(follow, step, [below])
    return follow.watched(step, follow.plain(step))


def attention(follow: Following, step: Step, *, halved: bool) -> Any:
    """Torch's fused attention: its weights constant, or the gradients of q and k quartered and of v halved."""
    if not halved:
        tensors = arguments.items(step.args, step.kwargs)
        return _constant(follow, step, [place for place, _ in tensors if place not in VALUES])
    return _shared(follow, step, {place: 0.5 if place in VALUES else 0.25 for place in step.places})


# Functions that are several in one, and choices.


def gated_unit(follow: Following, step: Step) -> Any:
    """a * sigmoid(b), of the two halves of a tensor."""
    dim = step.argument("dim", 1)
    with follow:
        one, other = step.at(step.places[0]).chunk(2, dim=-1 if dim is None else dim)
        return one * torch.sigmoid(other)


def opened(follow: Following, step: Step) -> Any:
    """The body of a function that is written in torch's functions, each of which is then followed."""

    def no(*_: Any) -> bool:
        return False

    whole: Any = step.call
    checks = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
    names = {**vars(F), **dict.fromkeys(checks, no)}
    body = types.FunctionType(whole.__code__, names, whole.__name__, whole.__defaults__)
    body.__kwdefaults__ = whole.__kwdefaults__
    with follow:
        return body(*step.args, **step.kwargs)


def selection(follow: Following, step: Step) -> Any:
    """Values and their places along an axis: of the rest, what lies at these places."""
    x = step.only
    dim = kinds.selected_axis(step)
    if x is None or dim is None:
        return follow.watched(step, follow.plain(step))
    result = step.run()
    values, index = result
    part = follow.parts[x]
    rest = None
    if part.rest is not None:
        with torch.no_grad(), torch._C.DisableTorchFunction():
            kept = values.dim() == x.dim()
            rest = part.rest.gather(dim, index if kept else index.unsqueeze(dim))
            rest = rest if kept else rest.squeeze(dim)
    follow.note(values, rest, follow.rank(step, [part]))
    return result


def _table(halved: bool) -> dict[Any, Rule]:
    rules: tuple[tuple[frozenset[Any], Rule], ...] = (
        (kinds.ACTIVATIONS, activation),
        (kinds.NORMS, norm),
        (kinds.SCALES, scale),
        (kinds.POWERS, power),
        (kinds.SOFTMAXES, softmax),
        (kinds.PRODUCTS, partial(product, halved=halved)),
        (kinds.DIVISIONS, partial(quotient, halved=halved)),
        (kinds.ATTENTION, partial(attention, halved=halved)),
        (kinds.GATED_UNITS, gated_unit),
        (kinds.OPENED, opened),
        (kinds.SELECTIONS, selection),
    )
    return {function: rule for functions, rule in rules for function in functions}


CONSTANT, HALVED = _table(halved=False), _table(halved=True)
