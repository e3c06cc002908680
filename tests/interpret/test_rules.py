"""Rules change no forward pass, make it linear in its tokens, leave nothing behind, and say where they end."""

import functools
import threading

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clinometer.interpret.rules import ATTN_LRP, FROZEN, Rules, following

pytest.importorskip("transformers", reason="transformers is not installed")
from transformers.activations import ACT2CLS, ACT2FN
from transformers.models.bloom.modeling_bloom import BloomGelu

from reference.architectures import ARCHITECTURES, REFUSED, Architecture
from reference.attending import run
from reference.padded import VOCABULARY, Batch

DOUBLE = torch.float64
SINGLE_ONLY = ("Gemma 2", "XGLM")  # no number in float64
PRODUCTS = (
    "CLIP, both towers",
    "SigLIP, both towers",
)  # of what comes from a text with what comes from an image
FOLLOWED = [each for each in ARCHITECTURES if not each.needs]
LINEAR = [each for each in FOLLOWED if each.name not in PRODUCTS]


class Closed:
    """A target under rules, on random tensors: value, tokens, rest, and what was not made linear."""

    def __init__(
        self, function, *tensors: Tensor, rules: Rules = FROZEN, module: nn.Module | None = None
    ) -> None:
        leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
        with following(module or nn.Module(), rules) as follow:
            result = function(*(follow.start(leaf) for leaf in leaves))
            rest = follow.rest(result)
        torch.manual_seed(9)
        weights = torch.randn_like(result)
        self.result = result.detach()
        self.value = float((result * weights).sum().detach())
        self.rest = float((rest * weights).sum())
        if result.requires_grad:
            found = torch.autograd.grad((result * weights).sum(), leaves, allow_unused=True)
        else:
            found = (None,) * len(leaves)
        self.gradients = found
        self.tokens = sum(
            float((leaf * gradient).sum().detach())
            for leaf, gradient in zip(leaves, found, strict=True)
            if gradient is not None
        )
        self.curved = tuple(follow.curved)

    @property
    def residual(self) -> float:
        return abs(self.value - self.rest - self.tokens)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


# Every architecture.


def target(result: Tensor, real: Tensor | None) -> Tensor:
    """One number, a fixed mixture of what is no padding."""
    flat = (result if real is None else result * real[..., None]).flatten()
    return (flat * torch.linspace(-3.0, 2.0, flat.numel(), dtype=flat.dtype).sin()).sum()


BY_NAME = {each.name: each for each in (*ARCHITECTURES, *REFUSED)}


@functools.cache
def ruled(name: str, rules: Rules) -> tuple[Tensor, Tensor, Tensor, Tensor, tuple[str, ...]]:
    """The result without and with rules, and the target's tokens and rest."""
    architecture = BY_NAME[name]
    if not isinstance(architecture, Architecture):
        architecture = Architecture(name=name, make=architecture.make, batch=architecture.batch, layers=())
    dtype = torch.float32 if name in SINGLE_ONLY else DOUBLE
    model, batch = architecture.build(dtype), architecture.inputs(dtype)
    with torch.no_grad():
        plain = architecture.result(run(model, batch))
    leaves: list[Tensor] = []
    with following(model, rules) as follow:

        def start(x: Tensor) -> Tensor:
            leaves.append(x.detach().clone().requires_grad_())
            return follow.start(leaves[-1])

        tables = [
            part
            for part in model.modules()
            if isinstance(part, nn.Embedding) and part.num_embeddings == VOCABULARY
        ]
        hooks = [table.register_forward_hook(lambda _, __, output: start(output)) for table in tables]
        given: Batch = {
            name: start(part)
            if isinstance(part, Tensor) and part.is_floating_point() and part.dim() > 1
            else part
            for name, part in batch.items()
        }
        result = architecture.result(run(model, given))
        real = architecture.real(batch, "")
        value = target(result, real)
        rest = follow.rest(value)
        for hook in hooks:
            hook.remove()
    found = torch.autograd.grad(value, leaves, allow_unused=True)
    tokens = sum(
        (leaf.detach() * each).sum() for leaf, each in zip(leaves, found, strict=True) if each is not None
    )
    return (
        plain,
        result.detach(),
        torch.as_tensor(tokens),
        torch.stack([value.detach(), rest]),
        tuple(follow.curved),
    )


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype")
@pytest.mark.parametrize("architecture", FOLLOWED, ids=lambda each: each.name)
@pytest.mark.parametrize("rules", [FROZEN, ATTN_LRP], ids=["frozen", "AttnLRP"])
def test_rules_do_not_change_the_forward_pass(architecture, rules):
    plain, result, *_ = ruled(architecture.name, rules)
    batch = architecture.inputs()
    real = architecture.real(batch, "")
    one, other = (plain, result) if real is None else (plain[real], result[real])
    atol = 1e-5 if architecture.name in SINGLE_ONLY else 1e-10
    torch.testing.assert_close(other, one, atol=atol, rtol=atol)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype")
@pytest.mark.parametrize("architecture", LINEAR, ids=lambda each: each.name)
def test_tokens_and_rest_add_up_to_the_target(architecture):
    _, _, tokens, (value, rest), curved = ruled(architecture.name, FROZEN)
    # Norms of several families are taken in float32 whatever the model's dtype.
    assert abs(float(value - rest - tokens)) < 1e-5 * max(1.0, abs(float(value)))
    assert abs(float(tokens)) > 1e-3, "tokens do something"
    assert curved == ()


@pytest.mark.parametrize("name", [*PRODUCTS, "Mamba", "YOSO"])
def test_an_architecture_beyond_the_rules_does_not_add_up(name):
    _, _, tokens, (value, rest), _ = ruled(name, FROZEN)
    assert abs(float(value - rest - tokens)) > 1e-2 * abs(float(value - rest))


def test_the_matrix_is_as_wide_as_it_says():
    assert len(LINEAR) >= 88


# Single functions.

ACTIVATIONS = {
    "relu": F.relu, "gelu": F.gelu, "gelu, tanh": lambda x: F.gelu(x, approximate="tanh"), "silu": F.silu,
    "mish": F.mish, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "method": lambda x: x.sigmoid(), "softplus": F.softplus,
    "elu": F.elu, "selu": F.selu, "celu": F.celu, "leaky": F.leaky_relu, "relu6": F.relu6, "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid, "hardtanh": F.hardtanh, "logsigmoid": F.logsigmoid, "softsign": F.softsign,
    "abs": torch.abs, "clamp": lambda x: x.clamp(min=-0.3, max=0.4), "erf": torch.erf, "operator": torch.ops.aten.gelu,
    "overload": torch.ops.aten.silu.default, "expit": torch.special.expit, "module": nn.GELU(),
    "prelu": lambda x: F.prelu(x, torch.tensor([0.1, 0.4, -0.3], dtype=DOUBLE)),
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("rules", [FROZEN, ATTN_LRP], ids=["frozen", "AttnLRP"])
def test_an_activation_is_the_line_through_its_value_at_zero(name, rules):
    function, z = ACTIVATIONS[name], random(4, 3)
    closed = Closed(function, z, rules=rules)
    torch.testing.assert_close(closed.result, function(z), rtol=0, atol=0)
    weights = _weights(z)
    slope = (function(z) - function(torch.zeros_like(z))) / z
    torch.testing.assert_close(closed.gradients[0], weights * slope)
    if rules is FROZEN:
        assert closed.residual < 1e-12
        plain = torch.autograd.functional.jacobian(lambda r: (function(r) * weights).sum(), z)
        linear = name in ("relu", "relu6", "leaky", "abs", "prelu", "hardsigmoid")  # piece by piece
        assert torch.allclose(plain, closed.gradients[0]) == linear, (
            "negative control: the gradient is another one"
        )


def _weights(like: Tensor) -> Tensor:
    torch.manual_seed(9)
    return torch.randn_like(like)


@pytest.mark.parametrize("name", ["gelu", "silu", "tanh", "sigmoid", "softplus", "relu", "elu"])
def test_at_zero_the_slope_is_the_derivative(name):
    z = torch.tensor([0.0, 0.0, 1e-12, -1e-9], dtype=DOUBLE)
    expected = torch.autograd.functional.jacobian(lambda x: ACTIVATIONS[name](x).sum(), torch.zeros_like(z))
    if name in ("relu", "elu"):  # at a positive z it is 1
        expected[2] = 1.0
    torch.testing.assert_close(
        Closed(ACTIVATIONS[name], z).gradients[0] / _weights(z), expected, rtol=1e-7, atol=1e-7
    )


@pytest.mark.parametrize(
    "function",
    [lambda x: F.relu(x, inplace=True), F.relu_, lambda x: x.tanh_(), F.silu],
    ids=["relu(inplace=True)", "relu_", "tanh_", "silu"],
)
def test_an_activation_in_place(function):
    z = random(4, 3)

    def twice(x: Tensor) -> Tensor:
        y = x * 2.0 + 1.0
        function(y)
        return y + 0.0

    closed = Closed(twice, z)
    torch.testing.assert_close(closed.result, twice(z))
    assert closed.residual < 1e-12


@pytest.mark.parametrize("name", sorted(set(ACT2CLS) - {"prelu", "xielu"}))
def test_activations_of_transformers_are_taken_as_a_whole(name):
    module, z = ACT2FN[name], random(4, 3) * 2.0
    closed = Closed(module, z, module=module)
    torch.testing.assert_close(closed.result, module(z), rtol=0, atol=0)
    slope = (module(z) - module(torch.zeros_like(z))) / z
    torch.testing.assert_close(closed.gradients[0], _weights(z) * slope)
    assert closed.residual < 1e-12


def test_an_activation_with_a_gradient_of_its_own_is_known_by_its_name():
    module, z = BloomGelu(), random(4, 3)
    assert Closed(module, z, module=module).residual < 1e-12
    assert Closed(module, z).residual > 0.1, "negative control: its module is not among those followed"


HAND_WRITTEN = {
    "gelu": lambda x: x * 0.5 * (1.0 + torch.erf(x / 2.0**0.5)),
    "gelu, tanh": lambda x: (
        0.5 * x * (1.0 + torch.tanh(0.7978845608028654 * (x + 0.044715 * torch.pow(x, 3))))
    ),
    "quick gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "mish": lambda x: x * torch.tanh(F.softplus(x)),
    "swish, cast": lambda x: x * torch.sigmoid(x.float()).to(x.dtype),
}


@pytest.mark.parametrize("name", HAND_WRITTEN)
@pytest.mark.parametrize("rules", [FROZEN, ATTN_LRP], ids=["frozen", "AttnLRP"])
def test_activations_written_by_hand_are_frozen_whole(name, rules):
    function, z = HAND_WRITTEN[name], random(4, 3)
    closed = Closed(function, z, rules=rules)
    torch.testing.assert_close(closed.gradients[0], _weights(z) * function(z) / z)
    if rules is FROZEN:
        assert closed.residual < 1e-12 and closed.curved == ()


GAIN, SHIFT = random(6, seed=1), random(6, seed=2)
NORMS = {
    "layer_norm": lambda x: F.layer_norm(x, (6,), GAIN, SHIFT, 1e-5),
    "layer_norm, keywords": lambda x: F.layer_norm(x, normalized_shape=[6], bias=SHIFT, eps=1e-3),
    "layer_norm of torch": lambda x: torch.layer_norm(x, (4, 6)),
    "rms_norm": lambda x: F.rms_norm(x, (6,), GAIN, 1e-6),
    "rms_norm, own eps": lambda x: F.rms_norm(x, (6,)),
    "group_norm": lambda x: F.group_norm(x.transpose(1, 2), 3, GAIN, SHIFT),
    "module": nn.LayerNorm(6, dtype=DOUBLE),
}  # fmt: skip
BY_HAND = {
    "rsqrt": lambda x: GAIN * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)),
    "square and sqrt": lambda x: (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, keepdim=True) + 1e-6) + SHIFT,
    "std": lambda x: (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6),
    "power": lambda x: x * (x * x).mean(-1, keepdim=True).add(1e-6) ** -0.5,
    "reciprocal": lambda x: x * (1.0 / torch.sqrt((x**2).mean(-1, keepdim=True))),
    "in place": lambda x: (x * 1.0).div_(x.norm(dim=-1, keepdim=True)),
    "norm": lambda x: x / x.norm(dim=-1, keepdim=True),
    "linalg": lambda x: x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp(min=1e-6),
    "normalize": lambda x: F.normalize(x, dim=-1),
    "in float32": lambda x: (x.float() * torch.rsqrt(x.float().square().mean(-1, keepdim=True))).to(x.dtype),
}  # fmt: skip


@pytest.mark.parametrize("name", [*NORMS, *BY_HAND])
def test_the_scale_of_a_norm_is_a_constant(name):
    function, x = (NORMS | BY_HAND)[name], random(2, 4, 6) + 0.5
    closed = Closed(function, x)
    tolerance = 1e-6 if name == "in float32" else 1e-12
    torch.testing.assert_close(closed.result, function(x).detach(), rtol=0, atol=0)
    assert closed.residual < tolerance and closed.curved == ()
    plain = x.clone().requires_grad_()
    result = function(plain)
    (gradient,) = torch.autograd.grad((result * _weights(result)).sum(), plain)
    assert not torch.allclose(gradient, closed.gradients[0], rtol=1e-2), (
        "negative control: the scale has a gradient"
    )
    lrp = Closed(function, x, rules=ATTN_LRP)
    torch.testing.assert_close(lrp.gradients[0], closed.gradients[0])


def test_layer_norm_passes_back_what_its_formula_says():
    x = random(3, 6)
    scale = ((x - x.mean(1, keepdim=True)).square().mean(1, keepdim=True) + 1e-5).rsqrt()
    leaf = x.clone().requires_grad_()
    result = (leaf - leaf.mean(1, keepdim=True)) * scale * GAIN + SHIFT
    (expected,) = torch.autograd.grad((result * _weights(result)).sum(), leaf)
    closed = Closed(lambda y: F.layer_norm(y, (6,), GAIN, SHIFT, 1e-5), x)
    torch.testing.assert_close(closed.gradients[0], expected)
    scaled = F.layer_norm(x, (6,), GAIN, SHIFT, 1e-5)
    rest = (SHIFT * _weights(scaled)).sum()
    assert closed.rest == pytest.approx(float(rest)), "of nothing, a norm makes its bias term"


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.softmax(q @ k.transpose(-1, -2) / 2.0, dim=-1) @ v


def einsum(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = torch.einsum("bqd,bkd->bqk", q, k).div(2.0).softmax(-1)
    return torch.einsum("bqk,bkd->bqd", [weights, v])


def exponentials(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    powers = torch.exp(q @ k.transpose(-1, -2) / 2.0)
    return (
        torch.softmax(powers.log(), dim=-1).masked_fill(torch.zeros(1, dtype=torch.bool), 0.0).to(v.dtype) @ v
    )


@pytest.mark.parametrize(
    "way", [attention, einsum, exponentials, F.scaled_dot_product_attention], ids=lambda way: way.__name__
)
def test_attention_is_a_constant_when_frozen_and_shared_in_attn_lrp(way):
    q, k, v = (random(2, 3, 4, seed=seed) for seed in range(3))
    result = way(q, k, v)
    frozen = Closed(way, q, k, v)
    assert frozen.residual < 1e-12 and frozen.curved == ()
    assert frozen.gradients[:2] == (None, None) or all(
        not gradient.any() for gradient in frozen.gradients[:2]
    )
    leaves = [tensor.clone().requires_grad_() for tensor in (q, k, v)]
    plain = torch.autograd.grad((way(*leaves) * _weights(result)).sum(), leaves)
    torch.testing.assert_close(frozen.gradients[2], plain[2])
    shared = Closed(way, q, k, v, rules=ATTN_LRP)
    for gradient, whole, factor in zip(shared.gradients, plain, (0.25, 0.25, 0.5), strict=True):
        if way is not exponentials:
            torch.testing.assert_close(gradient, whole * factor)


def test_attention_of_torch_is_opened():
    module = nn.MultiheadAttention(8, 2, batch_first=True, dtype=DOUBLE).eval()
    x = random(2, 5, 8)
    for weights in (True, False):
        closed = Closed(lambda y, weights=weights: module(y, y, y, need_weights=weights)[0], x, module=module)
        assert closed.residual < 1e-12 and abs(closed.tokens) > 0.1


GATED = {
    "silu": lambda g, u: F.silu(g) * u,
    "other way round": lambda g, u: torch.mul(u, F.gelu(g)),
    "in place": lambda g, u: F.silu(g).mul_(u),
    "into the other": lambda g, u: _multiplied(u * 1.0, F.silu(g)),
    "into a part": lambda g, u: _multiplied((u * 1.0).view(4, 2).view(2, 4)[:, :4], torch.sigmoid(g)),
    "sigmoid of one number": lambda g, u: torch.sigmoid(g[..., :1]) * torch.tanh(u),
    "cast and dropped out": lambda g, u: F.dropout(F.relu(g).float().to(u.dtype), training=False) * u,
}


def _multiplied(x: Tensor, factor: Tensor) -> Tensor:
    x *= factor
    return x


@pytest.mark.parametrize("name", GATED)
def test_a_gate_is_a_constant_when_frozen_and_halved_in_attn_lrp(name):
    function, (g, u) = GATED[name], (random(2, 4, seed=1), random(2, 4, seed=2))
    frozen = Closed(function, g, u)
    assert frozen.residual < 1e-12 and frozen.curved == ()
    assert frozen.gradients[0] is None or not frozen.gradients[0].any(), "the gate is a constant"
    shared = Closed(function, g, u, rules=ATTN_LRP)
    torch.testing.assert_close(shared.gradients[1], frozen.gradients[1] / 2)
    if name not in ("sigmoid of one number", "into a part"):
        value = function(g, u) * _weights(u)
        torch.testing.assert_close(shared.gradients[0] * g, value / 2)
        torch.testing.assert_close(shared.gradients[1] * u, value / 2)


def test_a_gated_linear_unit_of_torch():
    x = random(3, 8)
    closed = Closed(F.glu, x)
    torch.testing.assert_close(closed.result, F.glu(x))
    assert closed.residual < 1e-12 and not closed.gradients[0][:, 4:].any()


ROUTED = {
    "topk": lambda x: x.topk(2, dim=1).values,
    "max": lambda x: x.max(dim=1).values,
    "sorted": lambda x: torch.sort(x, dim=0, descending=True)[0],
    "written into constants": lambda x: torch.zeros(5, 4, dtype=DOUBLE).index_add_(
        0, torch.tensor([1, 1, 4]), x
    ),
    "into a part of constants": lambda x: _copied(x),
    "experts": lambda x: _experts(x),
    "joined": lambda x: torch.cat([torch.ones(1, 4, dtype=DOUBLE), x, x[:1]]),
    "where": lambda x: torch.where(x > 0, x, torch.full_like(x, 0.7)),
    "added in place": lambda x: (x * 2.0).add_(3.0).mul_(2.0),
    "unbound": lambda x: torch.stack([row + i for i, row in enumerate(x.unbind(0))]),
    "stopped": lambda x: x + x.detach().exp(),
}


def _copied(x: Tensor) -> Tensor:
    made = x.new_ones(4, 8)
    made[:3, :4].copy_(x)
    made[1:, 4:] = x * 2.0
    return made


def _experts(x: Tensor) -> Tensor:
    scores = torch.softmax(x @ random(4, 3, seed=3), dim=-1)
    weights, chosen = scores.topk(2, dim=-1)
    weights = weights / weights.sum(dim=-1, keepdim=True)
    made = torch.zeros_like(x)
    for expert in range(3):
        rows, place = torch.where(chosen == expert)
        made.index_add_(0, rows, F.silu(x[rows]) * x[rows] * weights[rows, place, None] + expert)
    return made


@pytest.mark.parametrize("name", ROUTED)
def test_what_is_picked_and_put_together_stays_linear(name):
    x = random(3, 4)
    closed = Closed(ROUTED[name], x)
    torch.testing.assert_close(closed.result, ROUTED[name](x))
    assert closed.residual < 1e-12 and closed.curved == ()


# What no rule reaches.


class Cubed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 3 * ctx.saved_tensors[0] ** 2


CURVED = {
    "exp": torch.exp, "square": torch.square, "mul": lambda x: x * x.flip(0), "log_softmax": lambda x: x.log_softmax(-1),
    "softmax": lambda x: x.softmax(-1), "matmul": lambda x: x @ x.t(), "cumprod": lambda x: x.cumprod(0),
    "amax": lambda x: (x + torch.tensor([0.1, 0.2, 0.3, 0.4])).amax(1),
    "div": lambda x: x / (x.flip(0) + 9.0), "rsqrt": lambda x: (x.square() + 1.0).rsqrt(),
}  # fmt: skip


@pytest.mark.parametrize("name", CURVED)
def test_a_function_that_no_rule_knows_does_not_add_up_and_is_named(name):
    closed = Closed(CURVED[name], random(3, 4))
    assert closed.residual > 1e-3
    assert name in closed.curved


def test_a_function_of_somebodys_own_does_not_add_up():
    assert Closed(Cubed.apply, random(3, 4)).residual > 0.1


def test_a_function_that_no_gradient_passes_is_not_named():
    assert Closed(lambda x: x + torch.exp(x).detach(), random(3, 4)).curved == ()


# Nothing is left behind.


def hooks(module: nn.Module) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


def test_everything_is_removed_also_after_an_error():
    module = nn.Sequential(nn.Linear(4, 4, dtype=DOUBLE), ACT2FN["gelu_new"])
    x = random(2, 4).requires_grad_()
    (before,) = torch.autograd.grad(module(x).sum(), x)
    during = []

    def broken() -> None:
        with following(module, FROZEN) as follow:
            assert hooks(module) == 2
            during.extend(torch.autograd.grad(module(follow.start(x)).sum(), x))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert hooks(module) == 0
    assert torch._C._len_torch_function_stack() == 0
    (after,) = torch.autograd.grad(module(x).sum(), x)
    assert torch.equal(before, after)
    assert not torch.allclose(before, during[0]), "negative control: the rules did something"


def test_an_activation_that_raises_leaves_the_rules_in_force():
    class Broken(nn.Module):
        def forward(self, x):
            if bool(x.isnan().any()):
                raise ZeroDivisionError
            return x * torch.sigmoid(x)

    Broken.__name__ = "BrokenSwish"
    module, x = Broken(), random(2, 4).requires_grad_()
    with following(module, FROZEN) as follow:
        with pytest.raises(ZeroDivisionError):
            module(follow.start(x * torch.nan))
        result = module(follow.start(x))
        rest = follow.rest(result)
    (gradient,) = torch.autograd.grad(result.sum(), x)
    torch.testing.assert_close(gradient * x, result - rest)


def test_other_threads_and_other_models_pass_through():
    module, other = (
        ACT2FN["quick_gelu"],
        nn.Sequential(nn.Linear(4, 4, dtype=DOUBLE), nn.LayerNorm(4, dtype=DOUBLE), nn.Tanh()),
    )
    x = random(2, 4)

    def gradient(part: nn.Module) -> Tensor:
        leaf = x.clone().requires_grad_()
        return torch.autograd.grad(part(leaf).sum(), leaf)[0]

    plain, elsewhere = [gradient(part) for part in (module, other)], []
    with following(module, FROZEN) as follow:
        thread = threading.Thread(target=lambda: elsewhere.extend(gradient(part) for part in (module, other)))
        thread.start()
        thread.join()
        beside = gradient(other)  # on this thread, of tensors that are not followed
        leaf = x.clone().requires_grad_()
        (ruled_one,) = torch.autograd.grad(other(follow.start(leaf)).sum(), leaf)
    for one, two in zip(plain, elsewhere, strict=True):
        assert torch.equal(one, two)
    assert torch.equal(plain[1], beside)
    assert not torch.allclose(plain[1], ruled_one)


def test_parameters_may_ask_for_no_gradient_and_keep_theirs():
    module = nn.Sequential(nn.Linear(4, 4, dtype=DOUBLE), nn.LayerNorm(4, dtype=DOUBLE))
    x = random(2, 4)
    asking = Closed(module, x, module=module)
    for parameter in module.parameters():
        assert parameter.grad is None
        parameter.requires_grad_(False)
    silent = Closed(module, x, module=module)
    assert torch.equal(asking.gradients[0], silent.gradients[0]) and silent.residual < 1e-12


def test_a_compiled_model_runs_its_original_code(shapes_unchecked):
    module = nn.Sequential(nn.Linear(4, 4, dtype=DOUBLE), nn.GELU(), nn.LayerNorm(4, dtype=DOUBLE)).eval()
    compiled, x = torch.compile(module), random(2, 4)
    expected = Closed(module, x, module=module)
    got = Closed(compiled, x, module=compiled)
    torch.testing.assert_close(got.gradients[0], expected.gradients[0])
    assert got.residual < 1e-12
