"""Functions that compute what they always compute and send gradients back by a rule of their own."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from . import function_kinds as kinds
from .arguments import Step


def slope(
    z: Tensor, values: Tensor, function: Callable[[Tensor], Tensor], zero: Tensor
) -> tuple[Tensor, Tensor]:
    """An activation's slopes (f(z) - f(0)) / z, and f(0): f(z) = f(0) + slope z.

    At z = 0 the slope is the derivative. Where f(0) is not 0 it is that near 0 too, at |z| below the square root of the
    machine's precision, where the quotient would be made of rounding errors.

    Args:
        values: f(z).
        function: f, by which f(0) and the derivative there are found.
        zero: zeros of a shape that f takes and that goes with z's.
    """
    with torch.enable_grad():
        at = zero.detach().requires_grad_()
        start = function(at)
        (derivative,) = torch.autograd.grad(start.sum(), at)
    start = start.detach()
    near = (start != 0) * torch.finfo(z.dtype).eps ** 0.5
    return torch.where(z.abs() <= near, derivative, (values - start) / z), start


class Sloped(torch.autograd.Function):
    """An activation whose slope is a constant."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, made: list[Tensor]) -> Tensor:
        """`made` holds the values and the slopes; in a list, so that they are no inputs to autograd."""
        values, slopes = made
        ctx.save_for_backward(slopes)
        return values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (slopes,) = ctx.saved_tensors
        return gradient * slopes, None


class Norm:
    """The norm of groups of numbers, with its scale as it was for one tensor: linear, but for its bias term.

    Args:
        x: the tensor whose scale it is.
        shape: x's shape with each group along the last axis.
        centred: whether the mean is taken out before the scale is computed.
        weight: goes with x's shape; None for 1.
        bias_term: goes with x's shape; None for 0.
    """

    def __init__(
        self,
        x: Tensor,
        shape: tuple[int, ...],
        eps: float,
        *,
        centred: bool,
        weight: Tensor | None,
        bias_term: Tensor | None,
    ) -> None:
        self.shape, self.centred, self.weight, self.bias_term = shape, centred, weight, bias_term
        groups = x.detach().reshape(shape)
        groups = groups.float() if groups.dtype in (torch.float16, torch.bfloat16) else groups
        if centred:
            groups = groups - groups.mean(dim=-1, keepdim=True)
        self.scale = (groups.square().mean(dim=-1, keepdim=True) + eps).rsqrt()

    def of(self, x: Tensor) -> Tensor:
        """The norm of another tensor of the shape, with this scale."""
        made = self._scaled(x) if self.weight is None else self._scaled(x) * self.weight
        made = made if self.bias_term is None else made + self.bias_term
        return made.to(x.dtype)

    def back(self, gradient: Tensor) -> Tensor:
        """The gradient in the argument from the gradient in the result. Taking out a mean is its own transpose."""
        return self._scaled(gradient if self.weight is None else gradient * self.weight).to(gradient.dtype)

    def _scaled(self, x: Tensor) -> Tensor:
        groups = x.reshape(self.shape)
        if self.centred:
            groups = groups - groups.mean(dim=-1, keepdim=True)
        made: Tensor = (groups * self.scale).reshape(x.shape)
        return made


def norm_of(step: Step, x: Tensor) -> Norm:
    """The norm that a call of torch's layer_norm, rms_norm or group_norm takes of x."""
    rms = step.function in kinds.RMS_NORMS
    weight, bias_term = step.argument("weight", 2), None if rms else step.argument("bias", 3)
    eps = step.argument("eps", 3 if rms else 4)
    if eps is None:
        eps = torch.finfo(x.dtype).eps if rms else 1e-5
    if step.function in kinds.GROUP_NORMS:
        shape: tuple[int, ...] = (x.shape[0], step.argument("num_groups", 1), -1)
        channels = (1, -1, *(1 for _ in range(x.dim() - 2)))
        weight = None if weight is None else weight.reshape(channels)
        bias_term = None if bias_term is None else bias_term.reshape(channels)
    else:
        n = step.argument("normalized_shape", 1)
        shape = (*x.shape[: x.dim() - (1 if isinstance(n, int) else len(n))], -1)
    return Norm(x, shape, eps, centred=not rms, weight=weight, bias_term=bias_term)


class Normalised(torch.autograd.Function):
    """A norm whose scale is a constant."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, made: tuple[Tensor, Norm]) -> Tensor:
        """`made` holds the values and the norm."""
        values, ctx.norm = made
        return values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        norm: Norm = ctx.norm
        return norm.back(gradient), None


class Scaled(torch.autograd.Function):
    """The tensor itself, whose gradient is multiplied by a number."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.factor, None
