"""Output projections of attention are found whatever they are called, proved, or refused by name."""

import pytest
import torch
from torch import nn

from clinometer.errors import CaptureError
from clinometer.interpret.projections import merged, projections
from clinometer.interpret.tracing import gradient_trace
from clinometer.interpret.value_norms import value_weighted_norms
from reference.readers import LINES, WIDTH, Attention, Block, Reader, loaded, reader, texts, vectors


def test_what_is_added_is_what_the_projection_gives() -> None:
    module = Reader()
    subject, rows = reader(module), vectors(5)
    gave = []
    hooks = [
        block.attention.out.register_forward_hook(lambda m, a, o: gave.append(o[0]))
        for block in module.blocks
    ]
    traced = gradient_trace(subject, subject.encode(rows))
    for hook in hooks:
        hook.remove()
    for call, output, block in zip(traced.calls, gave, module.blocks, strict=True):
        weight = projections(subject, rows)[call.layer]
        parts = torch.einsum("hij,hjw,hwo->ijo", traced.maps(call.layer)[0], call.value[0], weight)
        torch.testing.assert_close(parts.sum(dim=1) + block.attention.out.bias, output)


class MultiHead(nn.Module):
    """torch's own encoder, read at its first position."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True, dropout=0.0)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, x: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(x, src_key_padding_mask=~real)[:, 0])


def test_of_torch_s_multi_head_attention() -> None:
    subject, rows = reader(MultiHead()), vectors(4, 3)
    found = projections(subject, rows)
    attention = subject.module.encoder.layers[1].self_attn
    assert torch.equal(
        found["encoder.layers.1.self_attn"].flatten(0, 1), attention.out_proj.weight.detach().T
    )
    traced = gradient_trace(subject, subject.encode(rows))
    (call, weight) = traced.calls[1], found["encoder.layers.1.self_attn"]
    with torch.no_grad():
        given = []
        hook = attention.register_forward_hook(lambda m, a, o: given.append(o[0]))
        subject.forward(subject.encode(rows), None)
        hook.remove()
    again = merged(call.output) @ weight.flatten(0, 1) + attention.out_proj.bias
    torch.testing.assert_close(again[0], given[0][0])
    assert value_weighted_norms(subject, rows).scores[0].min() > 0


# Ways out of attention


def leaving(**parts):
    """An Attention that leaves by other modules than one linear layer."""

    class Leaving(Attention):
        def __init__(self) -> None:
            super().__init__()
            self.dropout = nn.Dropout(0.1)
            self.steps = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Dropout(0.1))
            self.down, self.up = nn.Linear(WIDTH, 2, bias=False), nn.Linear(2, WIDTH, bias=False)
            self.norm, self.gate = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH)
            self.adapted = Adapted(self.out, self.down, self.up)
            self.bare = nn.Parameter(torch.eye(WIDTH))

        def leave(self, joined):
            return parts["leave"](self, joined)

    return lambda: Block(Leaving)


class Adapted(nn.Module):
    """A linear layer and one of low rank beside it."""

    def __init__(self, base: nn.Module, down: nn.Module, up: nn.Module) -> None:
        super().__init__()
        self.base, self.down, self.up = base, down, up

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + self.up(self.down(x))


FOUND = {
    "dropout before it": (lambda self, x: self.out(self.dropout(x)), lambda a: a.out.weight.T),
    "a sequence": (lambda self, x: self.steps(x), lambda a: a.steps[0].weight.T),
    "an adapter": (
        lambda self, x: self.adapted(x),
        lambda a: a.out.weight.T + a.down.weight.T @ a.up.weight.T,
    ),
}
NOT_FOUND = {
    "a norm before it": lambda self, x: self.out(self.norm(x)),
    "a gate beside it": lambda self, x: self.out(x) * torch.sigmoid(self.gate(x)),
    "an adapter beside it": lambda self, x: self.out(x) + self.up(self.down(x)),
    "no module": lambda self, x: x @ self.bare,
    "not linear": lambda self, x: nn.Sequential(self.norm, self.out)(x),
}


@pytest.mark.parametrize("name", FOUND)
def test_a_projection_is_found_whatever_it_is_called(name) -> None:
    leave, weight = FOUND[name]
    module = Reader(block=leaving(leave=leave))
    subject = reader(module)
    found = projections(subject, vectors(4))
    for i, block in enumerate(module.blocks):
        want = weight(block.attention).detach()
        torch.testing.assert_close(found[f"blocks.{i}.attention"].flatten(0, 1), want)


@pytest.mark.parametrize("name", NOT_FOUND)
def test_where_there_is_no_one_linear_way_out_the_layers_are_named(name) -> None:
    subject = reader(Reader(block=leaving(leave=NOT_FOUND[name])))
    with pytest.raises(CaptureError, match=r"'blocks.0.attention', 'blocks.1.attention'.*'value zeroing'"):
        value_weighted_norms(subject, vectors(4))


def test_a_product_written_as_einsum_is_refused(tmp_path) -> None:
    subject = loaded(tmp_path, "XLNetForSequenceClassification", dtype="float32")
    with pytest.raises(CaptureError, match="no linear output projection was found"):
        value_weighted_norms(subject, texts(*LINES[:1]))


def test_a_shared_layer_has_a_projection_for_each_call() -> None:
    module = Reader()
    module.blocks[1] = module.blocks[0]
    subject = reader(module)
    found = projections(subject, vectors(3))
    assert list(found) == ["blocks.0.attention", "blocks.0.attention#2"]
