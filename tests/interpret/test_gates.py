"""A gate does to a head what it says, at every way in, and nothing else."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clinometer.errors import CaptureError, UsageError
from clinometer.interpret.capture import attention_gradient, trace
from clinometer.interpret.gates import Edge, Mean, Patch, Resample, gates
from clinometer.interpret.trace import Trace
from reference.attention import HandMade

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
SMALL: dict[str, Any] = {"hidden_size": 16, "num_attention_heads": 2, "vocab_size": 30}
IDS = torch.tensor([[5, 6, 7, 8, 9], [3, 4, 5, 0, 0]])
MASK = (IDS > 0).long()


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def bert(**how: Any) -> nn.Module:
    config = transformers.BertConfig(**SMALL, num_hidden_layers=2, intermediate_size=16, **how)
    return transformers.BertModel(config).double().eval()


def hand() -> nn.Module:
    model = HandMade().double().eval()
    model.first.explicit = model.second.explicit = True
    return model


def multi_head(need_weights: bool) -> nn.Module:
    class Stack(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.MultiheadAttention(8, 2, batch_first=True) for _ in range(2))

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers:
                x = x + layer(x, x, x, need_weights=need_weights)[0]
            return x

    return Stack().double().eval()


def cases() -> dict[str, Callable[[], tuple[nn.Module, Callable[[], Tensor]]]]:
    """Ways in: a model and how to run it, in float64."""

    def of(model: nn.Module, run: Callable[[nn.Module], Tensor]) -> tuple[nn.Module, Callable[[], Tensor]]:
        return model, lambda: run(model)

    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 5, 8, dtype=torch.float64, generator=generator)
    text: Callable[[nn.Module], Tensor] = lambda m: m(input_ids=IDS, attention_mask=MASK).last_hidden_state  # noqa: E731
    return {
        "sdpa": lambda: of(HandMade().double().eval(), lambda m: m(x)),
        "by hand": lambda: of(hand(), lambda m: m(x)),
        "interface, sdpa": lambda: of(bert(), text),
        "interface, eager": lambda: of(bert(attn_implementation="eager"), text),
        "multi-head, fused": lambda: of(multi_head(False), lambda m: m(x)),
        "multi-head, weights": lambda: of(multi_head(True), lambda m: m(x)),
        "causal": lambda: of(
            transformers.GPT2Model(
                transformers.GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=30, n_positions=8)
            )
            .double()
            .eval(),
            text,
        ),
        "grouped": lambda: of(
            transformers.LlamaModel(
                transformers.LlamaConfig(
                    **{**SMALL, "num_attention_heads": 4},
                    num_key_value_heads=2,
                    num_hidden_layers=2,
                    intermediate_size=16,
                )
            )
            .double()
            .eval(),
            text,
        ),
    }


every = pytest.mark.parametrize("name", list(cases()))


def traced(run: Callable[[], Tensor], model: nn.Module) -> Trace:
    with torch.no_grad():
        return trace(run, model)


@every
def test_a_gate_of_one_and_a_patch_with_the_same_run_change_nothing(name: str) -> None:
    model, run = cases()[name]()
    plain = traced(run, model)
    for value in (1.0, Patch(plain)):
        with gates(model, {(0, None): value, (plain.layers[1], 1): value}), torch.no_grad():
            assert torch.equal(run(), plain.output)
    with gates(model, {(0, 1): 0.999}), torch.no_grad():  # control
        assert not torch.allclose(run(), plain.output, atol=1e-9, rtol=0)


@every
def test_closing_heads_removes_their_output_and_nothing_else(name: str) -> None:
    """Against a model whose projection of the values of these heads is set to zero."""
    model, run = cases()[name]()
    plain = traced(run, model)
    size = plain.calls[0].value.shape[3]  # type: ignore[union-attr]
    n_heads = plain.calls[0].n_heads
    for heads in (list(range(n_heads)), [n_heads - 1]):
        with gates(model, {(0, head): 0.0 for head in heads}), torch.no_grad():
            closed = run()
        with torch.no_grad(), WithoutColumns(model, [(head * size, (head + 1) * size) for head in heads]):
            expected = run()
        assert torch.allclose(closed, expected, atol=1e-12, rtol=0)
        assert not torch.allclose(closed, plain.output, atol=1e-6, rtol=0)


class WithoutColumns:
    """The model with columns of the first attention's output projection set to zero."""

    def __init__(self, model: nn.Module, columns: list[tuple[int, int]]) -> None:
        self.columns = columns
        names = {"o", "out_proj", "dense", "o_proj", "c_proj"}
        found = [part for name, part in model.named_modules() if name.split(".")[-1] in names]
        self.part: Any = found[0]
        self.across = type(self.part).__name__ == "Conv1D"

    def __enter__(self) -> None:
        self.before = self.part.weight.data.clone()
        for start, stop in self.columns:
            if self.across:
                self.part.weight.data[start:stop] = 0.0
            else:
                self.part.weight.data[:, start:stop] = 0.0

    def __exit__(self, *_: object) -> None:
        self.part.weight.data = self.before


@every
def test_a_patch_brings_the_other_runs_output(name: str) -> None:
    """All heads of all layers patched from another input: each layer adds what it added there."""
    model, run = cases()[name]()
    plain = traced(run, model)
    with gates(model, {(0, None): 0.5}), torch.no_grad():
        scaled = traced(run, model)
    with gates(model, {(0, 0): Patch(scaled)}), torch.no_grad():
        found = traced(run, model)
    # The first layer computed what it computed before; only what the model went on with has changed.
    assert torch.equal(found.calls[0].output, plain.calls[0].output)  # type: ignore[arg-type]
    assert torch.equal(found.output, plain.output)
    with gates(model, {(1, 0): Patch(scaled)}), torch.no_grad():  # control: there the other run differs
        assert not torch.allclose(run(), plain.output, atol=1e-9, rtol=0)


@every
def test_a_cut_edge_gets_no_attention_and_the_rest_gets_its_share(name: str) -> None:
    model, run = cases()[name]()
    plain = traced(run, model)
    with gates(model, cut=[Edge(layer=0, head=1, query=3, key=1)]), torch.no_grad():
        found = traced(run, model)
    found.certify()
    before, after = plain.map(0, 1, 0), found.map(0, 1, 0)
    assert before[3, 1] > 0 and after[3, 1] == 0.0
    expected = before[3].copy()
    expected[1] = 0.0
    assert abs(after[3] - expected / expected.sum()).max() < 1e-12
    assert abs(after[[0, 1, 2, 4]] - before[[0, 1, 2, 4]]).max() < 1e-12
    assert abs(found.map(0, 0, 0) - plain.map(0, 0, 0)).max() < 1e-12
    assert not torch.allclose(found.output, plain.output, atol=1e-9, rtol=0)
    with gates(model, cut=[Edge(layer=0, key=1)]), torch.no_grad():
        everywhere = traced(run, model)
    assert float(everywhere.maps(0)[:, :, 2:, 1].abs().max()) == 0.0


@every
def test_the_derivative_of_a_gate_is_the_heads_contribution(name: str) -> None:
    """d target / d gate = <O, dO> (Michel et al. 2019), for all heads by one backward pass."""
    model, run = cases()[name]()
    found = attention_gradient(lambda: run().reshape(2, -1).tanh().sum(1), model)
    gate = torch.ones((), dtype=torch.float64, requires_grad=True)
    with gates(model, {(1, 1): gate}):
        run().tanh().sum().backward()
    assert gate.grad is not None
    assert abs(float(gate.grad) - found.head_contribution()[:, 1, 1].sum()) < 1e-9


def test_mean_and_resample() -> None:
    model, run = cases()["interface, sdpa"]()
    plain = traced(run, model)
    call = plain.calls[1]
    assert call.output is not None
    valid = call.valid()
    mean = torch.stack([call.output[b, 0, q] for b, q in valid.nonzero()]).mean(0)
    seen: list[Tensor] = []
    projection = model.encoder.layer[1].attention.output.dense
    hook = projection.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with gates(model, {(1, 0): Mean(plain)}), torch.no_grad():
        run()
    assert torch.allclose(seen[-1][..., :8], mean.expand(2, 5, 8), atol=1e-12)
    with gates(model, {(1, 0): Resample(plain)}), torch.no_grad():
        run()
    assert torch.equal(seen[-1][..., :8], call.output[:, 0].flip(0))  # two examples: each gets the other's
    assert torch.equal(seen[-1][..., 8:], call.output[:, 1])
    hook.remove()


def test_gates_hold_in_every_forward_pass_and_go_with_the_block() -> None:
    model, run = cases()["interface, sdpa"]()
    with torch.no_grad():
        plain = run()
        with gates(model, {(0, 0): 0.0, ("encoder.layer.1.attention.self", 1): 0.5}):
            one, two = run(), run()
        assert torch.equal(one, two) and not torch.equal(one, plain)
        assert torch.equal(run(), plain)
        with pytest.raises(RuntimeError, match="stop"), gates(model, {(0, 0): 0.0}):
            raise RuntimeError("stop")
        assert torch.equal(run(), plain)


def test_a_trace_inside_sees_what_attention_computed_before_the_gate() -> None:
    model, run = cases()["interface, sdpa"]()
    plain = traced(run, model)
    with gates(model, {(0, None): 0.0}):
        found = traced(run, model)
    found.certify()
    assert torch.equal(found.calls[0].output, plain.calls[0].output)  # type: ignore[arg-type]
    assert not torch.equal(found.output, plain.output)


def test_refusals() -> None:
    model, run = cases()["interface, sdpa"]()
    plain = traced(run, model)
    for heads, message in (
        ({("encoder.layer.0.attention.slef", 0): 0.0}, "did you mean 'encoder.layer.0.attention.self'"),
        ({(7, 0): 0.0}, "no attention call was made at '7'"),
        ({(0, 2): 0.0}, "head 2 does not exist; there are 2"),
        ({(-1, 0): 0.0}, "counts from the end"),
        ({(0, 0): float("nan")}, "a finite factor is expected"),
        ({(0, 0): torch.ones(2)}, "a gate is one factor"),
    ):
        with pytest.raises(UsageError, match=message), gates(model, heads), torch.no_grad():
            run()
    with pytest.raises(UsageError, match="key 9 does not exist"), gates(model, cut=[Edge(layer=0, key=9)]):
        run()
    short = traced(lambda: model(input_ids=IDS[:, :3]), model)
    with pytest.raises(UsageError, match="inputs of the same length"), gates(model, {(0, 0): Patch(short)}):
        run()
    three = traced(lambda: model(input_ids=IDS[[0, 1, 0]], attention_mask=MASK[[0, 1, 0]]), model)
    with (
        pytest.raises(UsageError, match="has 3 examples and this run 2"),
        gates(model, {(0, 0): Patch(three)}),
    ):
        run()
    one = traced(lambda: model(input_ids=IDS[:1]), model)
    with pytest.raises(UsageError, match="two examples or more"), gates(model, {(0, 0): Resample(one)}):
        run()
    assert len(plain) == 2


def test_a_gate_is_not_forgotten_by_gradient_checkpointing() -> None:
    model = transformers.BertModel(
        transformers.BertConfig(
            **SMALL,
            num_hidden_layers=1,
            intermediate_size=16,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    ).train()
    earlier = "gradient_checkpointing_enable"  # the name before transformers 5.23
    getattr(
        model,
        "activation_checkpointing_enable" if hasattr(model, "activation_checkpointing_enable") else earlier,
    )()
    with pytest.raises(CaptureError, match="Turn checkpointing off"), gates(model, {(0, 0): 0.0}):
        model(input_ids=IDS).last_hidden_state.sum().backward()
