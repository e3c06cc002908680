"""The tap sees every call, once, under its name, and leaves no trace on the model."""

import gc
import threading

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from clinometer.errors import CaptureError
from clinometer.interpret.calls import Call
from clinometer.interpret.capture import attention_gradient, trace
from clinometer.interpret.tap import tap
from reference.attention import HandMade

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
from transformers.modeling_utils import AttentionInterface  # noqa: E402


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def padded(n: int = 5, width: int = 8) -> tuple[Tensor, Tensor]:
    pad = torch.zeros(2, n, dtype=torch.bool)
    pad[1, 3:] = True
    return torch.randn(2, n, width, dtype=torch.float64), pad


def hand_made(**how: bool) -> HandMade:
    return HandMade(**how).double().eval()


def tiny_bert(**how: object) -> nn.Module:
    config = transformers.BertConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, vocab_size=20, **how
    )
    return transformers.BertModel(config).eval()


def n_hooks(module: nn.Module) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


def names(model: nn.Module, *args: object) -> list[str]:
    calls: list[Call] = []
    with tap(model, calls.append):
        model(*args)
    return [call.layer for call in calls]


def test_layers_are_named_as_in_named_modules_and_nothing_is_seen_twice() -> None:
    x, pad = padded()
    assert names(hand_made(), x, pad) == ["first", "second"]
    assert names(tiny_bert(), torch.arange(4)[None]) == [f"encoder.layer.{i}.attention.self" for i in (0, 1)]


def test_a_shared_module_is_named_by_call_order() -> None:
    model = hand_made()
    model.second = model.first
    x, pad = padded()
    assert names(model, x, pad) == ["first", "first#2"]


def test_self_and_cross_are_told_apart_at_equal_length() -> None:
    model = hand_made()
    x, _ = padded()
    assert trace(lambda: model(x, None, torch.randn_like(x)), model).kinds == ("self", "cross")
    assert trace(lambda: model(x), model).kinds == ("self", "self")


@pytest.mark.parametrize("causal", [False, True])
def test_outputs_are_bit_for_bit_those_of_the_untapped_model(causal: bool) -> None:
    x, pad = padded()
    model, bert = hand_made(causal=causal), tiny_bert()
    ids, mask = torch.randint(0, 20, (2, 5)), (~pad).long()
    plain = model(x, pad), bert(ids, attention_mask=mask).last_hidden_state
    with tap(model, lambda _: None), tap(bert, lambda _: None):
        tapped = model(x, pad), bert(ids, attention_mask=mask).last_hidden_state
    assert all(torch.equal(one, other) for one, other in zip(plain, tapped, strict=True))
    assert not torch.equal(plain[0], model(x + 1e-9, pad))  # control: the comparison can fail
    found = attention_gradient(lambda: model(x, pad), model)
    assert torch.equal(found.output, plain[0])


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("how", ["none", "key_padding", "bool", "float"])
def test_torch_multi_head_attention(need_weights: bool, how: str) -> None:
    mha = nn.MultiheadAttention(8, 2, batch_first=True).double().eval()
    x, pad = padded()
    masks: dict[str, dict[str, Tensor]] = {
        "none": {},
        "key_padding": {"key_padding_mask": pad},
        "bool": {"attn_mask": torch.ones(5, 5, dtype=torch.bool).triu(1)},
        "float": {"attn_mask": torch.randn(4, 5, 5, dtype=torch.float64)},
    }
    _, weights = mha(x, x, x, need_weights=True, average_attn_weights=False, **masks[how])
    unseen = mha(x, x, x, need_weights=need_weights, **masks[how])[0]
    captured = trace(lambda: mha(x, x, x, need_weights=need_weights, **masks[how]), mha)
    assert captured.layers == ("MultiheadAttention",)
    assert captured.kinds == ("self",)
    assert torch.equal(captured.output[0], unseen)
    assert torch.allclose(captured.maps(0), weights, atol=1e-12, rtol=0)
    captured.certify()


def test_torch_encoder_layers_fast_path_included() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.1)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).double().eval()
    x, pad = padded()
    with torch.no_grad():
        plain = model(x, src_key_padding_mask=pad)
        captured = trace(lambda: model(x, src_key_padding_mask=pad), model)
    assert captured.layers == ("layers.0.self_attn", "layers.1.self_attn")
    assert torch.allclose(captured.output[~pad], plain[~pad], atol=1e-5, rtol=0)
    captured.certify()
    with pytest.raises(CaptureError, match=r"layers.0.self_attn: attention dropout .* \.eval\(\)"):
        trace(lambda: model.train()(x), model)


def test_everything_is_removed_when_the_body_raises() -> None:
    model = tiny_bert()
    before = AttentionInterface.get_interface, AttentionInterface.__getitem__, n_hooks(model)

    def fail() -> None:
        with tap(model, lambda _: None), tap(model, lambda _: None):
            assert n_hooks(model) > 0
            model(torch.tensor([[999]]))

    with pytest.raises(IndexError):
        fail()
    assert before == (AttentionInterface.get_interface, AttentionInterface.__getitem__, n_hooks(model))
    assert "__getitem__" not in vars(AttentionInterface)
    F.scaled_dot_product_attention(*torch.randn(3, 1, 2, 3, 4))  # no mode is left to see it
    assert len(names(model, torch.arange(4)[None])) == 2


def test_an_error_caught_by_the_model_does_not_shift_names() -> None:
    class Catching(HandMade):
        def forward(self, x: Tensor, pad: Tensor | None = None, memory: Tensor | None = None) -> Tensor:
            with pytest.raises(RuntimeError):
                self.first(x[..., :3])
            return super().forward(x, pad, memory)

    assert names(Catching().double(), padded()[0]) == ["first", "second"]


def test_nested_taps_each_see_every_call_of_their_own_module() -> None:
    model, bert, ids = hand_made(), tiny_bert(), torch.arange(4)[None]
    outer: list[Call] = []
    inner: list[Call] = []
    part: list[Call] = []
    with tap(model, outer.append):
        with tap(model, inner.append), tap(model.second, part.append), tap(bert, part.append):
            model(padded()[0])
            bert(ids)
        model(padded()[0])
    assert [call.layer for call in outer] == ["first", "second", "first#2", "second#2"]
    assert [call.layer for call in inner] == ["first", "second"]
    assert [call.layer for call in part] == [
        "Attending",
        *(f"encoder.layer.{i}.attention.self" for i in (0, 1)),
    ]


def test_another_thread_and_another_model_pass_through() -> None:
    model, other, ids = tiny_bert(), tiny_bert(), torch.arange(4)[None]
    calls: list[Call] = []
    seen: list[object] = []

    def elsewhere() -> None:
        seen.append(AttentionInterface().get_interface("sdpa", None))
        model(ids)

    with tap(model, calls.append):
        model(ids)
        other(ids)
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert len(calls) == 2
    assert seen == [AttentionInterface().get_interface("sdpa", None)]


def test_the_registry_read_by_name_is_seen() -> None:
    class Direct(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return AttentionInterface()["sdpa"](self, x, x, x, None, is_causal=False, scaling=0.3)[0]

    model = Direct()
    captured = trace(lambda: model(torch.randn(1, 2, 3, 4)), model)
    assert [call.way for call in captured.calls] == ["interface"]
    captured.certify()


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_does_not_double_calls(reentrant: bool) -> None:
    model = hand_made()
    x = padded()[0].requires_grad_()
    calls: list[Call] = []
    with tap(model, calls.append):
        checkpoint(model, x, use_reentrant=reentrant).sum().backward()
    assert [call.layer for call in calls] == ["first", "second"]
    assert x.grad is not None
    if reentrant:
        with pytest.raises(CaptureError, match="gradients off"):
            attention_gradient(lambda: checkpoint(model, x, use_reentrant=True), model)
    else:
        found = attention_gradient(lambda: checkpoint(model, x, use_reentrant=False), model)
        assert len(found) == 2


def test_a_compiled_module_is_traced_through_its_original() -> None:
    model = hand_made()
    x, pad = padded()
    compiled = torch.compile(model, backend="eager")
    compiled(x, pad)
    captured = trace(lambda: compiled(x, pad), compiled)
    assert captured.layers == ("first", "second")
    assert torch.equal(captured.output, model(x, pad))


def test_refusals() -> None:
    mlp = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    with pytest.raises(CaptureError, match="Sequential ran, but no attention call was seen"):
        trace(lambda: mlp(torch.randn(2, 4)), mlp)
    model = hand_made()
    with pytest.raises(CaptureError, match="made no call of HandMade"):
        trace(lambda: mlp(torch.randn(2, 4)), model)
    model.first.dropout = 0.1
    assert (
        len(trace(lambda: model(padded()[0]), model)) == 2
    )  # control: in eval mode the rate does not matter
    with pytest.raises(CaptureError, match=r"first: attention dropout is on \(rate 0.1\).*\.eval\(\)"):
        trace(lambda: model.train()(padded()[0]), model)
    bert = tiny_bert()
    with pytest.raises(CaptureError, match=r"self: attention dropout is on"):
        trace(lambda: bert.train()(torch.arange(4)[None]), bert)


def test_a_module_that_is_attention_by_name_and_was_not_seen_is_refused_or_listed() -> None:
    class LinearAttention(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x) @ (torch.relu(x).transpose(1, 2) @ x)

    class Mixed(HandMade):
        def __init__(self) -> None:
            super().__init__()
            self.extra = LinearAttention()

        def forward(self, x: Tensor, pad: Tensor | None = None, memory: Tensor | None = None) -> Tensor:
            return super().forward(self.extra(x), pad, memory)

    model = Mixed().double()
    with pytest.raises(CaptureError, match=r"Mixed: 'extra \(LinearAttention\)' ran and no attention call"):
        trace(lambda: model(padded()[0]), model)
    found = trace(lambda: model(padded()[0]), model, unseen="list")
    assert found.layers == ("first", "second")
    assert found.unseen == ("extra (LinearAttention)",)
    control = hand_made()
    assert trace(lambda: control(padded()[0]), control, unseen="list").unseen == ()


class Returning(nn.Module):
    """A module whose attention happens out of sight (a custom operation), and that returns its weights."""

    num_heads = 2

    def forward(self, hidden: Tensor, wrong: bool = False) -> tuple[Tensor, Tensor]:
        with torch._C.DisableTorchFunction():
            q = hidden.unflatten(-1, (2, -1)).transpose(1, 2)
            weights = (q @ q.transpose(2, 3)).softmax(-1)
            out = (weights @ q).transpose(1, 2).flatten(2)
        return out, weights * 2 if wrong else weights


class ReturningAttention(Returning):
    pass


def test_weights_that_a_module_returns_are_read_and_cannot_be_changed() -> None:
    model, x = ReturningAttention(), torch.randn(2, 5, 8)
    found = trace(lambda: model(x), model)
    assert [(call.way, call.can_gate) for call in found.calls] == [("returned", False)]
    assert torch.equal(found.maps(0), model(x)[1])
    assert found.certificate() == {}  # no values, no certificate
    found.certify()
    with pytest.raises(CaptureError, match="ran and no attention call was seen"):
        trace(lambda: model(x, wrong=True), model)
    with pytest.raises(CaptureError, match="known only by the weights it returns"):
        attention_gradient(lambda: model(x.requires_grad_())[0].sum((1, 2)), model)


def test_an_argument_that_changes_attention_is_refused_and_an_idle_one_is_not() -> None:
    class OddAttention(nn.Module):
        def forward(self, x: Tensor, **how: object) -> Tensor:
            def odd_attention(
                module: nn.Module,
                query: Tensor,
                key: Tensor,
                value: Tensor,
                attention_mask: None,
                **kwargs: object,
            ) -> tuple[Tensor, None]:
                tilt = torch.arange(3.0) if kwargs.get("tilt") else torch.zeros(3)
                weights = (query @ key.transpose(2, 3) * query.shape[-1] ** -0.5 + tilt).softmax(-1)
                return (weights @ value).transpose(1, 2), None

            return AttentionInterface().get_interface("eager", odd_attention)(self, x, x, x, None, **how)[0]

    model, x = OddAttention(), torch.randn(1, 2, 3, 4)
    assert len(trace(lambda: model(x, colour="red"), model)) == 1
    with pytest.raises(CaptureError, match="'tilt', which changes attention"):
        trace(lambda: model(x, tilt=True), model)


def test_a_tensor_written_over_after_the_call_is_refused() -> None:
    class Overwriting(HandMade):
        def forward(self, x: Tensor, pad: Tensor | None = None, memory: Tensor | None = None) -> Tensor:
            out = F.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None])
            return out.mul_(2.0)

    model = Overwriting().double()
    with pytest.raises(CaptureError, match="changed in place"), torch.no_grad():
        trace(lambda: model(padded()[0]), model)


class Watched(nn.Module):
    """Attention in one of the ways, that remembers without holding on which values and outputs it had."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.num_heads, self.memory = way, 2, list[StorageWeakRef]()
        self.inner = nn.MultiheadAttention(8, 2, batch_first=True).eval()

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (x.unflatten(-1, (2, -1)).transpose(1, 2) * i for i in (1, 2, 3))
        if self.way == "sdpa":
            out = F.scaled_dot_product_attention(q, k, v)
        elif self.way == "by hand":
            out = (q @ k.transpose(2, 3)).softmax(-1) @ v
        elif self.way == "interface":
            function = AttentionInterface().get_interface("sdpa", None)
            out = function(self, q, k, v, None, is_causal=False)[0].transpose(1, 2)
        else:
            out = (
                self.inner(x, x, x, need_weights=self.way == "weights")[0]
                .unflatten(-1, (2, -1))
                .transpose(1, 2)
            )
        self.memory += [StorageWeakRef(part.untyped_storage()) for part in (v, out)]
        return out.transpose(1, 2).flatten(2).sum(-1)


@pytest.mark.parametrize("way", ["sdpa", "by hand", "interface", "fused", "weights"])
def test_what_is_not_kept_is_let_go(way: str) -> None:
    """A tensor that a closure holds on to would be kept for every layer, unseen."""
    model, x = Watched(way), torch.randn(2, 5, 8)
    with torch.no_grad():
        found = trace(lambda: model(x), model, keep_values=False)
    gc.collect()
    assert len(found) == 1 and [piece.expired() for piece in model.memory] == [True, True]
    model.memory.clear()
    with torch.no_grad():
        found = trace(lambda: model(x), model)
    assert way in ("fused", "weights") or not model.memory[0].expired()  # control: with values kept they stay
