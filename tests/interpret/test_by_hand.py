"""Attention that a model computes itself is followed from softmax to product, in every way people write it."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clinometer.errors import CaptureError
from clinometer.interpret.capture import attention_gradient, trace
from clinometer.interpret.trace import Trace

HEADS, WIDTH = 2, 8


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def split(x: Tensor) -> Tensor:
    return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)


def flat(x: Tensor) -> Tensor:
    return split(x).reshape(-1, x.shape[1], WIDTH // HEADS)


def joined(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)


def four_axes(q: Tensor, k: Tensor, v: Tensor, drop: nn.Module) -> tuple[Tensor, Tensor]:
    a = torch.softmax(split(q) @ split(k).transpose(2, 3), dim=-1)
    return joined(drop(a) @ split(v)), a


def functional(q: Tensor, k: Tensor, v: Tensor, drop: nn.Module) -> tuple[Tensor, Tensor]:
    a = F.softmax(split(q) @ split(k).transpose(2, 3), -1, dtype=torch.float32).to(v.dtype)
    return joined(torch.matmul(F.dropout(a, 0.1, False), split(v))), a


def module_softmax(q: Tensor, k: Tensor, v: Tensor, drop: nn.Module) -> tuple[Tensor, Tensor]:
    a = nn.Softmax(dim=-1)(split(q) @ split(k).transpose(2, 3))
    return joined(torch.matmul(drop(a), split(v))), a


def merged(q: Tensor, k: Tensor, v: Tensor, drop: nn.Module) -> tuple[Tensor, Tensor]:
    a = torch.bmm(flat(q), flat(k).transpose(1, 2)).softmax(-1)
    out = torch.bmm(drop(a), flat(v)).reshape(q.shape[0], HEADS, q.shape[1], -1)
    return joined(out), a


def merged_after(q: Tensor, k: Tensor, v: Tensor, drop: nn.Module) -> tuple[Tensor, Tensor]:
    a = (split(q) @ split(k).transpose(2, 3)).softmax(-1)
    out = torch.bmm(drop(a).view(-1, *a.shape[2:]), flat(v)).view(q.shape[0], HEADS, q.shape[1], -1)
    return joined(out), a


def einsum_heads_last(q: Tensor, k: Tensor, v: Tensor, drop: nn.Module) -> tuple[Tensor, Tensor]:
    q, k, v = (part.unflatten(-1, (HEADS, -1)) for part in (q, k, v))
    a = torch.einsum("bqhd,bkhd->bhqk", q, k).softmax(dim=-1)
    return torch.einsum("bhqk,bkhd->bqhd", drop(a), v).flatten(2), a


def einsum_length_first(q: Tensor, k: Tensor, v: Tensor, drop: nn.Module) -> tuple[Tensor, Tensor]:
    q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(0, 1) for part in (q, k, v))
    a = torch.einsum("ibnd,jbnd->ijbn", q, k).softmax(dim=1)
    return torch.einsum("ijbn,jbnd->ibnd", drop(a), v).transpose(0, 1).flatten(2), a


def head_axis_third(q: Tensor, k: Tensor, v: Tensor, drop: nn.Module) -> tuple[Tensor, Tensor]:
    q, k, v = (part.unflatten(-1, (HEADS, -1)) for part in (q, k, v))
    a = torch.einsum("bqhd,bkhd->bqhk", q, k).softmax(dim=-1)
    return torch.einsum("bqhk,bkhd->bqhd", drop(a), v).flatten(2), a


def values_from_the_left(q: Tensor, k: Tensor, v: Tensor, drop: nn.Module) -> tuple[Tensor, Tensor]:
    a = (split(q) @ split(k).transpose(2, 3)).softmax(-1)
    return joined((split(v).transpose(2, 3) @ drop(a).transpose(2, 3)).transpose(2, 3)), a


def masked_afterwards(q: Tensor, k: Tensor, v: Tensor, drop: nn.Module) -> tuple[Tensor, Tensor]:
    a = (split(q) @ split(k).transpose(2, 3)).softmax(-1)
    a = a.masked_fill(torch.arange(k.shape[1]) == 0, 0.0) * torch.tensor([1.0, 0.5])[:, None, None]
    return joined(drop(a) @ split(v)), a


def shared_values(q: Tensor, k: Tensor, v: Tensor, drop: nn.Module) -> tuple[Tensor, Tensor]:
    a = (split(q) @ split(k)[:, :1].transpose(2, 3)).softmax(-1)
    return joined(drop(a) @ split(v)[:, :1]), a


WAYS = [
    four_axes,
    functional,
    module_softmax,
    merged,
    merged_after,
    einsum_heads_last,
    einsum_length_first,
    head_axis_third,
    values_from_the_left,
    masked_afterwards,
    shared_values,
]
ARRANGED: dict[
    str, Callable[[Tensor], Tensor]
] = {  # the map's axes, where it is not (example, head, query, key)
    "merged": lambda a: a.unflatten(0, (-1, HEADS)),
    "einsum_length_first": lambda a: a.permute(2, 3, 0, 1),
    "head_axis_third": lambda a: a.transpose(1, 2),
}
Attend = Callable[[Tensor, Tensor, Tensor, nn.Module], tuple[Tensor, Tensor]]


class HomeMade(nn.Module):
    """One attention written out by hand, of which the class name tells nothing."""

    def __init__(self, attend: Attend) -> None:
        super().__init__()
        self.attend, self.n_heads = attend, HEADS
        self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.drop = nn.Dropout(0.1)
        self.map: Tensor | None = None
        self.eval()

    def forward(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
        source = x if memory is None else memory
        out, self.map = self.attend(self.q(x), self.k(source), self.v(source), self.drop)
        if self.map.requires_grad:
            self.map.retain_grad()
        return out


@pytest.mark.parametrize("attend", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("cross", [False, True])
def test_every_way_of_writing_it(attend: Attend, cross: bool) -> None:
    model, x, memory = HomeMade(attend), torch.randn(3, 5, WIDTH), torch.randn(3, 4, WIDTH)
    inputs = (x, memory) if cross else (x,)
    plain = model(*inputs)
    found = trace(lambda: model(*inputs), model, certify="exact")
    call = found.calls[0]
    assert model.map is not None
    arranged = ARRANGED.get(attend.__name__, lambda a: a)
    assert torch.equal(found.output, plain)
    assert (len(found), call.way, call.kind, call.n_heads) == (
        1,
        "by hand",
        "cross" if cross else "self",
        HEADS,
    )
    assert torch.equal(found.maps(0), arranged(model.map.detach()))
    assert found.certificate()[call.layer] < 1e-6


@pytest.mark.parametrize("attend", WAYS, ids=lambda way: way.__name__)
def test_its_gradient_is_autograds(attend: Attend) -> None:
    model, x = HomeMade(attend).double(), torch.randn(3, 5, WIDTH, dtype=torch.float64)
    target = torch.randn(5, WIDTH, dtype=torch.float64)
    found = attention_gradient(lambda: (model(x).tanh() * target).sum((1, 2)), model)
    (model(x).tanh() * target).sum().backward()
    assert model.map is not None and model.map.grad is not None
    want = ARRANGED.get(attend.__name__, lambda a: a)((model.map * model.map.grad).detach()).numpy()
    assert abs(found.contribution(0) - want).max() < (1e-6 if attend is functional else 1e-12)
    assert abs(want).max() > 1e-3


def test_one_head_and_no_example_axis() -> None:
    class TutorialAttention(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.softmax(x @ x.transpose(-2, -1) / math.sqrt(x.shape[-1]), dim=-1) @ x

    model = TutorialAttention()
    for x in (torch.randn(5, WIDTH), torch.randn(3, 5, WIDTH)):
        found: Trace = trace(lambda x=x: model(x), model)
        assert found.maps(0).shape == (1 if x.dim() == 2 else 3, 1, 5, 5)
        found.certify()


def test_a_softmax_that_is_no_attention_is_left_alone() -> None:
    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attend, self.gate = HomeMade(four_axes), nn.Linear(WIDTH, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.attend(x)
            chosen = self.gate(x).softmax(dim=-1)  # over experts, not followed by a product with values
            return (chosen.max(dim=-1).values[..., None] * x).softmax(dim=-1)

    model, x = Experts(), torch.randn(3, 5, WIDTH)
    assert trace(lambda: model(x), model).layers == ("attend",)


@pytest.mark.parametrize("how", ["sliced", "mixed", "banded"])
def test_weights_that_do_not_reach_the_product_whole_are_refused_by_name(how: str) -> None:
    class BlockAttention(HomeMade):
        def forward(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
            a = (split(x) @ split(x).transpose(2, 3)).softmax(-1)
            if how == "sliced":
                out = a[..., :2] @ split(x)[:, :, :2] + a[..., 2:] @ split(x)[:, :, 2:]
            elif how == "mixed":
                out = torch.einsum("bhqk,hg->bgqk", a, torch.rand(HEADS, HEADS)) @ split(x)
            else:
                out = a.unfold(-1, 2, 1).sum(-1) @ split(x)[:, :, 1:]
            return joined(out)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.good, self.bad = HomeMade(four_axes), BlockAttention(four_axes)

        def forward(self, x: Tensor) -> Tensor:
            return self.bad(self.good(x))

    model, x = Model(), torch.randn(3, 5, WIDTH)
    with pytest.raises(
        CaptureError, match=r"'bad \(BlockAttention\)' compute\(s\) attention by hand in a way"
    ):
        trace(lambda: model(x), model)


def test_dropout_is_refused_in_training() -> None:
    model, x = HomeMade(four_axes), torch.randn(3, 5, WIDTH)
    with pytest.raises(CaptureError, match=r"dropout is on \(rate 0.1\)"):
        trace(lambda: model.train()(x), model)


def test_heads_that_cannot_be_told_from_examples_are_not_guessed() -> None:
    class MergedAttention(HomeMade):
        pass

    model, x = MergedAttention(merged), torch.randn(3, 5, WIDTH)
    assert len(trace(lambda: model(x), model)) == 1  # control: with the number of heads it can be told
    del model.n_heads
    with pytest.raises(CaptureError, match=r"MergedAttention \(MergedAttention\)"):
        trace(lambda: model(x), model)
