"""Maps equal eager attention, certify themselves, and carry signed gradients."""

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from packaging.version import Version
from torch import Tensor, nn

from clinometer.errors import CaptureError, UsageError
from clinometer.interpret import calls as calls_module
from clinometer.interpret.capture import attention_gradient, trace
from clinometer.interpret.trace import Trace
from clinometer.interpret.transformer import Architecture, Classifier, EncoderDecoder
from reference.attention import HandMade, attention_map

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

SMALL = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}
FEED = {"intermediate_size": 16}
GROUPED = {"num_key_value_heads": 2, "pad_token_id": 0}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", {**SMALL, **FEED}),
    "gpt2": ("GPT2", {"vocab_size": 30, "n_embd": 16, "n_layer": 2, "n_head": 4}),
    "llama": ("Llama", {**SMALL, **FEED, **GROUPED}),
    "mistral": ("Mistral", {**SMALL, **FEED, **GROUPED, "sliding_window": 3}),
    "distilbert": (
        "DistilBert",
        {"vocab_size": 30, "dim": 16, "n_layers": 2, "n_heads": 4, "hidden_dim": 16},
    ),
    "t5": ("T5", {"vocab_size": 30, "d_model": 16, "d_kv": 4, "d_ff": 16, "num_layers": 2, "num_heads": 4}),
}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def build(name: str, attention: str = "sdpa", *, dtype: torch.dtype = torch.float32) -> nn.Module:
    prefix, config = MODELS[name]
    model = getattr(transformers, f"{prefix}Model")(getattr(transformers, f"{prefix}Config")(**config))
    with torch.no_grad():
        for parameter in model.parameters():
            # Maps far from uniform, so that an error would show; T5 does not scale, and has them.
            parameter.mul_(1.0 if name == "t5" else 3.0)
    model.set_attn_implementation(attention)
    return model.to(dtype).eval()


def batch(name: str) -> dict[str, Any]:
    mask = torch.ones(2, 7, dtype=torch.long)
    mask[1, 4:] = 0
    inputs: dict[str, Any] = {"input_ids": torch.randint(1, 30, (2, 7)), "attention_mask": mask}
    if name == "t5":
        inputs["decoder_input_ids"] = torch.randint(1, 30, (2, 7))  # as long as the source, on purpose
    if name != "bert" and name != "distilbert":
        inputs["use_cache"] = False
    return inputs


def eager_maps(model: nn.Module, inputs: dict[str, Any]) -> list[Tensor]:
    eager = copy.deepcopy(model)
    eager.set_attn_implementation("eager")
    with torch.no_grad():
        out = eager(**inputs, output_attentions=True)
    if "encoder_attentions" not in out:
        return list(out.attentions)
    pairs = zip(out.decoder_attentions, out.cross_attentions, strict=True)
    return [*out.encoder_attentions, *(part for pair in pairs for part in pair)]


@pytest.mark.parametrize("name", MODELS)
def test_maps_equal_eager_weights_on_padded_batches(name: str) -> None:
    model, inputs = build(name), batch(name)
    with torch.no_grad():
        plain = model(**inputs).last_hidden_state
        captured = trace(lambda: model(**inputs), model)
    assert torch.equal(captured.output.last_hidden_state, plain)
    expected = eager_maps(model, inputs)
    if not expected and Version(transformers.__version__) < Version("5.23"):
        pytest.skip("this transformers returns no attention of its own of such a model")
    assert len(captured) == len(expected)
    if name == "t5":
        assert captured.kinds == ("self", "self", "self", "cross", "self", "cross")
    else:
        assert set(captured.kinds) == {"self"}
    for layer, want in enumerate(expected):
        maps, valid = captured.maps(layer), captured.call(layer).valid()
        assert maps.shape == want.shape
        error = (maps - want).abs().amax(dim=(1, 3))
        assert error[valid].max() < 1e-5
        assert torch.allclose(maps.sum(-1).transpose(1, 2)[valid], torch.ones(()), atol=1e-6)
        if captured.call(layer).kind == "cross" or not captured.layers[layer].startswith("decoder"):
            assert torch.all(maps[1, :, :4, 4:] == 0)
        assert (
            maps - maps.roll(1, 1)
        ).abs().max() > 1e-3  # control: heads differ, so the comparison can fail
    captured.certify()
    assert max(captured.certificate().values()) < 1e-6


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_eager_attention_is_seen_through_the_same_door(name: str) -> None:
    model, inputs = build(name, "eager"), batch(name)
    with torch.no_grad():
        captured = trace(lambda: model(**inputs), model)
    for layer, want in enumerate(eager_maps(model, inputs)):
        valid = captured.call(layer).valid()
        assert (captured.maps(layer) - want).abs().amax(dim=(1, 3))[valid].max() < 1e-5
    captured.certify()


def own(causal: bool = False, pad: bool = True, cross: bool = False) -> tuple[HandMade, tuple[Any, ...]]:
    padding = torch.zeros(2, 6, dtype=torch.bool)
    padding[1, 4:] = True
    memory = torch.randn(2, 3, 8, dtype=torch.float64) if cross else None
    x = torch.randn(2, 6, 8, dtype=torch.float64)
    return HandMade(causal=causal).double().eval(), (x, padding if pad else None, memory)


@pytest.mark.parametrize("pad", [False, True])
@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_maps_of_a_hand_made_model_equal_the_slow_twin(causal: bool, pad: bool, cross: bool) -> None:
    model, inputs = own(causal, pad, cross)
    captured = trace(lambda: model(*inputs), model)
    captured.certify()
    for layer, call in enumerate(captured.calls):
        allowed = torch.ones(call.n_queries, call.n_keys, dtype=torch.bool)
        if causal and layer == 0:
            allowed = allowed.tril()
        for example in range(2):
            visible = allowed.clone()
            if pad and call.n_keys == 6 and example == 1:
                visible[:, 4:] = False
            for head in range(4):
                want = attention_map(
                    call.query[example, head], call.key[example, head // 2], scale=2**-0.5, allowed=visible
                ).numpy()
                got = captured.map(layer, head, example)
                assert got.dtype == np.float64
                np.testing.assert_allclose(got, want, atol=1e-12, rtol=0)
                np.testing.assert_allclose(captured.row(layer, head, example, 2), want[2], atol=1e-12, rtol=0)


def test_blocks_do_not_change_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = own(causal=True)
    whole = attention_gradient(lambda: model(*inputs), model)
    want = [
        whole.maps(0),
        whole.entropy(0),
        whole.received(0),
        whole.contribution(0),
        whole.certificate()["first"],
    ]
    monkeypatch.setattr(calls_module, "BLOCK_BYTES", 1)
    whole._certificate = None
    got = [
        whole.maps(0),
        whole.entropy(0),
        whole.received(0),
        whole.contribution(0),
        whole.certificate()["first"],
    ]
    for one, other in zip(want, got, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12, rtol=0)


@pytest.mark.parametrize("causal", [False, True])
def test_statistics_equal_those_of_whole_maps(causal: bool) -> None:
    model, inputs = own(causal)
    captured = trace(lambda: model(*inputs), model)
    entropy, received = captured.statistic("entropy"), captured.statistic("received")
    assert entropy.shape == received.shape == (2, 2, 4, 6)
    for example, n in ((0, 6), (1, 4)):
        for layer in range(2):
            for head in range(4):
                full = captured.map(layer, head, example)[:n]
                logs = np.log(np.where(full > 0, full, 1.0))
                np.testing.assert_allclose(
                    entropy[example, layer, head, :n], -(full * logs).sum(1), atol=1e-12
                )
                np.testing.assert_allclose(received[example, layer, head], full.mean(0), atol=1e-12)
    assert np.isnan(entropy[1, :, :, 4:]).all()
    assert (received[1, :, :, 4:] == 0).all()
    np.testing.assert_allclose(received.sum(-1), 1.0, atol=1e-12)


def test_layers_of_different_length_are_padded_with_nan() -> None:
    model, inputs = own(cross=True)
    received = trace(lambda: model(*inputs), model).statistic("received")
    assert received.shape == (2, 2, 4, 6)
    assert np.isnan(received[:, 1, :, 3:]).all()
    assert trace(lambda: model(*inputs), model).statistic("received", "second").shape == (2, 4, 3)


@pytest.mark.parametrize("corrupt", ["mask", "scale", "key", "head order"])
def test_a_wrong_map_does_not_certify(corrupt: str) -> None:
    model, inputs = own()
    good = trace(lambda: model(*inputs), model)
    good.certify()
    call = good.calls[1]
    change: dict[str, Any] = {
        "mask": {"mask": None},
        "scale": {"scale": call.scale * 1.1},
        "key": {"key": call.key + 1e-3 * torch.randn_like(call.key)},
        "head order": {"query": call.query.roll(1, 1)},
    }[corrupt]
    bad = Trace([good.calls[0], dataclasses.replace(call, versions=(), **change)])
    with pytest.raises(CaptureError, match="'second': the attention map does not reproduce"):
        bad.certify()


def test_queries_that_may_attend_to_nothing_are_zero_and_left_out() -> None:
    class Bare(nn.Module):
        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            return torch.nn.functional.scaled_dot_product_attention(x, x, x, attn_mask=mask)

    model, x = Bare(), torch.randn(1, 2, 4, 3)
    mask = torch.ones(4, 4, dtype=torch.bool)
    mask[2] = False
    for given in (mask, torch.zeros(4, 4).masked_fill(~mask, torch.finfo(torch.float32).min)):
        captured = trace(lambda given=given: model(x, given), model)
        captured.certify()
        assert np.all(captured.map(0, 1, 0)[2] == 0)
        assert captured.call(0).valid().tolist() == [[True, True, False, True]]
        assert np.isnan(captured.entropy(0)[0, 0, 2])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_the_certificate_holds_in_every_precision(dtype: torch.dtype) -> None:
    model, inputs = build("llama", dtype=dtype), batch("llama")
    with torch.no_grad():
        captured = trace(lambda: model(**inputs), model)
    captured.certify()
    assert captured.map(0, 0, 0).dtype == (np.float64 if dtype == torch.float64 else np.float32)


def bert_target() -> tuple[nn.Module, Any]:
    model, inputs = build("bert", dtype=torch.float64), batch("bert")
    weight = torch.randn(16, dtype=torch.float64)
    return model, lambda subject: subject(**inputs, output_attentions=True).last_hidden_state[:, 0] @ weight


def test_attention_gradients_equal_autograd_through_eager_bert() -> None:
    model, target = bert_target()
    found = attention_gradient(lambda: target(model), model)
    eager = copy.deepcopy(model)
    eager.set_attn_implementation("eager")
    maps: list[Tensor] = []
    hooks = [
        layer.attention.self.register_forward_hook(lambda _module, _args, out: maps.append(out[1]))
        for layer in eager.encoder.layer
    ]
    wanted = torch.autograd.grad(target(eager).sum(), maps)
    for hook in hooks:
        hook.remove()
    for layer, (weights, gradient) in enumerate(zip(maps, wanted, strict=True)):
        want = (weights * gradient).detach().numpy()
        assert np.abs(want).max() > 1e-4
        np.testing.assert_allclose(found.contribution(layer), want, atol=1e-6, rtol=0)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_gradients_equal_autograd_through_the_hand_made_model(frozen: bool, causal: bool) -> None:
    model, inputs = own(causal)
    explicit = copy.deepcopy(model)
    explicit.first.explicit = explicit.second.explicit = True
    model.requires_grad_(not frozen)
    found = attention_gradient(lambda: model(*inputs), model)
    value = explicit(*inputs)
    maps = [part.seen for part in (explicit.first, explicit.second)]
    for layer, gradient in enumerate(torch.autograd.grad(value.sum(), maps)):
        want = (maps[layer] * gradient).detach().numpy()
        np.testing.assert_allclose(found.contribution(layer), want, atol=1e-12, rtol=0)
    summed = np.stack([found.contribution(i).sum(axis=(2, 3)) for i in range(2)], axis=1)
    np.testing.assert_allclose(found.head_contribution(), summed, atol=1e-10, rtol=0)
    assert np.abs(summed).max() > 1e-3
    assert summed.min() < 0 < summed.max()


def test_gradients_of_torch_multi_head_attention() -> None:
    mha = nn.MultiheadAttention(8, 2, batch_first=True).double().eval()
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    kept = [
        attention_gradient(lambda need=need: mha(x, x, x, need_weights=need)[0][:, 0, :3].sum(-1), mha)
        for need in (False, True)
    ]
    np.testing.assert_allclose(kept[0].contribution(0), kept[1].contribution(0), atol=1e-12, rtol=0)
    np.testing.assert_allclose(
        kept[1].head_contribution()[:, 0], kept[1].contribution(0).sum(axis=(2, 3)), atol=1e-10, rtol=0
    )


def test_gradient_refusals() -> None:
    model, inputs = own()
    with pytest.raises(UsageError, match="attention_gradient"):
        trace(lambda: model(*inputs), model).contribution(0)
    with pytest.raises(CaptureError, match="one number per example"):
        attention_gradient(lambda: model(*inputs).sum(), model)
    with pytest.raises(CaptureError, match="no gradient"):
        attention_gradient(lambda: model(*inputs).detach(), model)
    with pytest.raises(CaptureError, match="gradients off"):
        attention_gradient(torch.no_grad()(lambda: model(*inputs)), model)


def test_asking_for_what_does_not_exist() -> None:
    model, inputs = own()
    captured = trace(lambda: model(*inputs), model, keep_values=False, certify=None)
    assert captured.n_heads("first") == captured.n_heads(-1) == 4
    for bad, message in (
        (lambda: captured.maps("frist"), "did you mean 'first'"),
        (lambda: captured.maps(2), "layer 2 does not exist: the trace has 2"),
        (lambda: captured.map(0, 4, 0), "head 4 does not exist: first has 4"),
        (lambda: captured.map(0, 0, -3), "example -3 does not exist"),
        (lambda: captured.row(0, 0, 0, 6), "query 6 does not exist"),
        (lambda: captured.statistic("entrpy"), "did you mean 'entropy'"),
    ):
        with pytest.raises(UsageError, match=message):
            bad()
    with pytest.raises(CaptureError, match="keep_values=True"):
        captured.certify()
    assert "2 attention calls" in repr(captured)
    assert list(captured.summary()["layer"]) == ["first", "second"]
    assert trace(lambda: model(*inputs), model).summary()["certificate"].max() < 1e-9


SHAPE: dict[str, Any] = {"width": 8, "heads": 2, "feed_forward": 8, "positions": "learned", "vocabulary": 12}


def texts() -> Tensor:
    tokens = torch.randint(1, 12, (2, 6))
    tokens[1, 3:] = 0
    return tokens


@pytest.mark.parametrize("window", [None, 1])
def test_our_classifier(window: int | None) -> None:
    model = Classifier(Architecture(kind="text", window=window, **SHAPE)).double().eval()
    inputs = {"tokens": texts()}
    plain = model(inputs)
    found = attention_gradient(lambda: model(inputs) @ torch.tensor([-1.0, 1.0]).double(), model)
    assert torch.equal(found.output, plain @ torch.tensor([-1.0, 1.0]).double())
    assert set(found.layers) <= set(dict(model.named_modules()))
    assert found.kinds == ("self", "self")
    found.certify()
    for layer, call in enumerate(found.calls):
        assert call.valid().tolist() == [[True] * 7, [True] * 4 + [False] * 3]  # [CLS] in front
        for example, n in ((0, 7), (1, 4)):
            place = torch.arange(n)
            near = (place[:, None] - place[None, :]).abs() <= (n if window is None else window)
            q, k = call.query[example, 1, :n], call.key[example, 1, :n]
            want = attention_map(q, k, scale=4**-0.5, allowed=near).numpy()
            got = found.map(layer, 1, example)
            np.testing.assert_allclose(got[:n, :n], want, atol=1e-12, rtol=0)
            assert (got[:n, n:] == 0).all()
    summed = np.stack([found.contribution(i).sum(axis=(2, 3)) for i in range(2)], axis=1)
    np.testing.assert_allclose(found.head_contribution(), summed, atol=1e-10, rtol=0)


def test_our_encoder_decoder_tells_self_from_cross() -> None:
    model = EncoderDecoder(Architecture(kind="text", **SHAPE)).double().eval()
    source, target = texts(), texts()
    captured = trace(lambda: model(source, target), model)
    assert captured.kinds == ("self", "self", "self", "cross", "self", "cross")
    assert torch.equal(captured.output, model(source, target))
    captured.certify()
    assert (captured.map(3, 0, 1)[:, 3:] == 0).all()
    assert np.triu(captured.map(2, 0, 0), 1).max() == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda_in_bfloat16_maps_statistics_and_gates_are_those_of_the_processor() -> None:
    from clinometer.interpret.gates import gates
    from clinometer.interpret.reductions import reduce

    config = transformers.BertConfig(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, vocab_size=50
    )
    model = transformers.BertModel(config).eval().to("cuda", torch.bfloat16)
    ids = torch.randint(1, 50, (2, 40), device="cuda")
    mask = torch.ones_like(ids)
    mask[1, 25:] = 0
    with torch.no_grad():
        found = trace(lambda: model(input_ids=ids, attention_mask=mask).last_hidden_state, model)
        found.certify()
        for call in found.calls:
            moved = {
                name: part.cpu()
                for name in ("query", "key", "value", "output", "mask")
                if (part := getattr(call, name)) is not None
            }
            there, here = (
                reduce(call),
                reduce(dataclasses.replace(call, **moved, versions=()), engine="torch"),
            )
            for name in ("entropy", "received", "first", "previous", "peak"):
                assert np.allclose(getattr(there, name), getattr(here, name), atol=1e-3, equal_nan=True)
        with gates(model, {(0, None): 0.0}):
            assert not torch.equal(model(input_ids=ids, attention_mask=mask).last_hidden_state, found.output)
