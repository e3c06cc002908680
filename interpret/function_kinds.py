"""What torch's functions are to a backward rule: activations, scales, products, what leaves a factor one."""

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .arguments import BIAS, INPUT, Args, Named, Place, Step, argument

Function = Callable[..., Any]
HOMES = (torch, Tensor, F, torch.special, torch.linalg, torch.ops.aten)


def named(names: str) -> frozenset[Function]:
    """Every function that torch has under these names: as a function, a method, in nn.functional or as an operator."""
    found = [getattr(home, name, None) for home in HOMES for name in names.split()]
    return frozenset(function for function in found if callable(function))


# Elementwise; the gates among them open and close what they are multiplied with.
SIGMOIDS = named("sigmoid sigmoid_ expit hardsigmoid hardsigmoid_")
GATES = SIGMOIDS | named(
    "relu relu_ relu6 gelu silu silu_ swish mish mish_ tanh tanh_ erf hardswish hardswish_ leaky_relu leaky_relu_ "
    "elu elu_ selu selu_ celu celu_ prelu softsign"
)
ACTIVATIONS = GATES | named(
    "softplus logsigmoid tanhshrink hardshrink softshrink threshold threshold_ hardtanh hardtanh_ abs abs_ absolute "
    "clamp clamp_ clip clip_ clamp_min clamp_min_ clamp_max clamp_max_"
)
BY_CHANNEL = named("prelu")  # not the same function at every place
# The size of a vector, as norms written by hand compute it.
SCALES = named("rsqrt rsqrt_ sqrt sqrt_ std norm vector_norm linalg_vector_norm linalg_norm")
POWERS = named("pow pow_ __pow__ float_power")
SOFTMAXES = named("softmax _softmax")

MULTIPLICATIONS = named("mul mul_ multiply multiply_ __mul__ __rmul__ __imul__")
DIVISIONS = named("div div_ divide divide_ true_divide true_divide_ __truediv__ __itruediv__")
MATRIX_PRODUCTS = named("matmul __matmul__ __rmatmul__ bmm mm mv dot vdot inner outer tensordot einsum")
WEIGHTED = named(
    "linear conv1d conv2d conv3d"
)  # products too, where the weight depends on the tokens as well
ADDED_PRODUCTS = named("baddbmm addmm addbmm addmv addcmul")  # the first tensor is added
PRODUCTS = MULTIPLICATIONS | MATRIX_PRODUCTS | WEIGHTED | ADDED_PRODUCTS
ATTENTION = named("scaled_dot_product_attention")
LAYER_NORMS = named("layer_norm")
RMS_NORMS = named("rms_norm")
GROUP_NORMS = named("group_norm")
NORMS = LAYER_NORMS | RMS_NORMS | GROUP_NORMS
GATED_UNITS = named("glu")
# Written in Python over functions of these tables: their bodies are run, and seen, instead of them.
OPENED = frozenset({F.multi_head_attention_forward, F.normalize})
COUNTED = named("topk kthvalue")
LAST_AXIS = COUNTED | named("sort mode")  # by default
SELECTIONS = LAST_AXIS | named("median max min cummax cummin")  # values beside their places

# Each element of the result comes from the same element of the arguments.
ELEMENTWISE = (
    ACTIVATIONS
    | MULTIPLICATIONS
    | DIVISIONS
    | POWERS
    | named(
        "add add_ __add__ __radd__ __iadd__ sub sub_ subtract rsub __sub__ __rsub__ __isub__ neg neg_ __neg__ square "
        "square_ exp exp_ expm1 log log1p reciprocal __rdiv__ __rtruediv__ to type type_as float double half bfloat16 "
        "contiguous clone dropout dropout_ alpha_dropout feature_dropout native_dropout nan_to_num"
    )
)
# What leaves a factor a factor: moved, picked, cast, scaled or shifted by constants, divided by its sum.
CARRYING = ELEMENTWISE | named(
    "view reshape view_as reshape_as flatten unflatten squeeze unsqueeze transpose swapaxes swapdims permute movedim t "
    "expand expand_as repeat tile repeat_interleave broadcast_to __getitem__ narrow select index_select gather "
    "take_along_dim chunk split "
    "tensor_split unbind masked_fill masked_fill_ masked_select where cat concat stack roll flip sum mean topk sort"
)
# Neither linear nor any of the above: where the gradient passes one of these, nothing is proved to add up.
CURVED = (
    SOFTMAXES
    | SCALES
    | POWERS
    | named(
        "exp exp_ expm1 log log1p log2 log10 log_softmax _log_softmax logsumexp softmin square square_ sin cos prod cumprod "
        "reciprocal __rdiv__ __rtruediv__ var maximum minimum amax amin max_pool1d max_pool2d adaptive_max_pool1d "
        "adaptive_max_pool2d cdist cosine_similarity lstm gru rnn_tanh rnn_relu"
    )
)

IN_PLACE = named("__setitem__ __iadd__ __isub__ __imul__ __itruediv__")
# Of the first argument alone: the others lend their type or their shape.
LENDING = named("type_as to view_as reshape_as expand_as")
# About a tensor, not of it.
BESIDE = named(
    "requires_grad_ register_hook register_post_accumulate_grad_hook retain_grad backward __repr__"
)


def in_place(function: Function) -> bool:
    """Whether a function writes into its first argument."""
    name = getattr(function, "__name__", "")
    return function in IN_PLACE or (name.endswith("_") and not name.endswith("__"))


def same(function: Function) -> Function:
    """The function itself; of an operator's overload, the operator."""
    packet: Function = getattr(function, "overloadpacket", function)
    return packet


def added(function: Function) -> frozenset[Place]:
    """The places of what a product adds, which is no factor."""
    if function in ADDED_PRODUCTS:
        return INPUT
    return BIAS if function in WEIGHTED else frozenset()


def writes_on_request(function: Function, args: Args, kwargs: Named) -> bool:
    """Whether an activation of torch.nn.functional was asked to work in place."""
    place = _place_of_request(function)
    return place is not None and bool(argument("inplace", args, kwargs, place))


@lru_cache(maxsize=256)
def _place_of_request(function: Any) -> int | None:
    names = list(inspect.signature(function).parameters) if inspect.isfunction(function) else []
    return names.index("inplace") if "inplace" in names else None


def selected_axis(step: Step) -> int | None:
    """The axis along which a selection is made; None for the largest of all, or of two tensors."""
    dim = step.argument("dim", 2 if step.function in COUNTED else 1)
    if isinstance(dim, int) and not isinstance(dim, bool):
        return dim
    return -1 if dim is None and step.function in LAST_AXIS else None
