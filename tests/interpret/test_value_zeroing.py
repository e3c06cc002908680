"""Value zeroing equals running the whole model with one row of values zeroed by a hook, block by block."""

import numpy as np
import pytest
import torch
import transformers
from torch import nn

from clinometer.errors import CaptureError
from clinometer.interpret.models import wrap
from clinometer.interpret.tracing import trace
from clinometer.interpret.value_zeroing import mixings, value_zeroing
from clinometer.records import Rows
from reference import mixing as slow
from reference.readers import LINES, WIDTH, Block, Pooling, Reader, loaded, reader, texts, vectors


def twin(subject, row, blocks, columns=slice(None)):
    """C of every block, from runs of the whole model. `blocks`: (block, module that projects to values)."""
    batch = subject.encode(row)
    n = len(subject.prefix) + len(subject.names(row)[0])
    return [
        slow.zeroed(lambda: subject.forward(batch, None), block, value, columns, n) for block, value in blocks
    ]


def bert_blocks(model):
    return [(layer, layer.attention.self.value) for layer in model.bert.encoder.layer]


FAMILIES = {
    "BertForSequenceClassification": (bert_blocks, slice(None), 0),
    "GPT2ForSequenceClassification": (
        lambda model: [(layer, layer.attn.c_attn) for layer in model.transformer.h],
        slice(32, 48),
        -1,
    ),
    "LlamaForSequenceClassification": (
        lambda model: [(layer, layer.self_attn.v_proj) for layer in model.model.layers],
        slice(None),
        -1,
    ),
}


@pytest.mark.parametrize("architecture", FAMILIES)
@pytest.mark.parametrize("at_once", [3, 64])
def test_equal_to_zeroing_by_hooks(tmp_path, architecture, at_once) -> None:
    blocks, columns, query = FAMILIES[architecture]
    subject, rows = loaded(tmp_path, architecture), texts(*LINES[:2])
    made = value_zeroing(subject, rows)
    for i in range(2):
        row = rows.take([i])
        want = twin(subject, row, blocks(subject.module), columns)
        got = mixings(subject, row, trace(subject, row).layers, at_once)
        for one, other in zip(got, want, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-7)
        product = want[1] @ want[0]
        np.testing.assert_allclose(made.scores[i, : len(product)], product[query], atol=1e-7)
    np.testing.assert_allclose(made.scores.sum(axis=1), 1.0, atol=1e-9)
    assert np.abs(want[0] - np.eye(len(want[0]))).max() > 0.1
    if query == -1:
        assert (np.triu(got[0], 1) == 0).all(), "no position sees a later one"


def test_several_read_positions_give_the_mean_of_their_rows() -> None:
    module = Reader("mean")
    subject, rows = reader(module), vectors(4, 2)
    made = value_zeroing(subject, rows)
    for i, n in enumerate((4, 2)):
        first, second = twin(
            subject, rows.take([i]), [(block, block.attention.value) for block in module.blocks]
        )
        np.testing.assert_allclose(made.scores[i, :n], (second @ first).mean(axis=0), atol=1e-8)
    assert (made.scores[1, 2:] == 0).all()
    assert made.unit == "" and any("no sign and no target" in note for note in made.notes)


def test_a_position_that_no_value_moves_keeps_what_it_has() -> None:
    module = Reader("first")
    subject = reader(module)
    with torch.no_grad():
        for block in module.blocks:
            block.attention.value.weight.zero_()
            block.attention.value.bias.zero_()
    np.testing.assert_array_equal(value_zeroing(subject, vectors(3)).scores, [[1, 0, 0]])


def test_a_block_that_runs_twice_is_two_blocks() -> None:
    module = Reader()
    module.blocks[1] = module.blocks[0]
    subject, rows = reader(module), vectors(4)
    one, other = mixings(subject, rows, trace(subject, rows).layers)
    assert np.abs(one - other).max() > 1e-3

    shared = module.blocks[0]
    states = []
    hook = shared.register_forward_pre_hook(lambda m, args: states.append(args))
    subject.forward(subject.encode(rows), None)
    hook.remove()
    for args, got in zip(states, (one, other), strict=True):
        want = slow.zeroed(lambda args=args: shared(*args), shared, shared.attention.value, slice(None), 4)
        np.testing.assert_allclose(got, want, atol=1e-9)


def test_attention_that_pools_is_no_block_to_be_compared() -> None:
    subject, rows = reader(Pooling()), vectors(3)
    blocks = subject.module.encoder.blocks
    first, second = twin(subject, rows, [(block, block.attention.value) for block in blocks])
    np.testing.assert_allclose(
        value_zeroing(subject, rows).scores[0], (second @ first).mean(axis=0), atol=1e-8
    )


def test_weights_and_hooks_are_left_as_they_were() -> None:
    module = Reader()
    subject, rows = reader(module), vectors(3, 2)
    before = [parameter.clone() for parameter in module.parameters()]
    value_zeroing(subject, rows)
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


# Refusals


class Counting(Block):
    """A block that adds how often it has run."""

    def __init__(self) -> None:
        super().__init__()
        self.runs = 0

    def forward(self, x, real):
        self.runs += 1
        return super().forward(x, real) + self.runs


def test_a_block_that_remembers_is_refused() -> None:
    with pytest.raises(CaptureError, match=r"'blocks.0' gives something else when it is run again"):
        value_zeroing(reader(Reader(block=Counting)), vectors(3))


def test_a_cache_is_refused_and_without_it_the_model_is_read() -> None:
    torch.manual_seed(0)
    model = transformers.GPT2Model(
        transformers.GPT2Config(n_embd=8, n_head=2, n_layer=2, vocab_size=11, bos_token_id=0, eos_token_id=0)
    ).eval()
    rows = Rows(ids=("r",), inputs={"input_ids": np.array([[3, 1, 4]])})

    def subject(**more):
        return wrap(
            model,
            lambda batch: model(batch["input_ids"], **more).last_hidden_state[:, -1, :1],
            names=lambda rows: (("a", "b", "c"),),
        )

    with pytest.raises(CaptureError, match="use_cache=False"):
        value_zeroing(subject(use_cache=True), rows)
    np.testing.assert_allclose(value_zeroing(subject(use_cache=False), rows).scores.sum(), 1.0)


class Bare(nn.Module):
    """Attention in the model's own forward: no block has an output for each position."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, x, real):
        x = nn.functional.scaled_dot_product_attention(x, x, x, attn_mask=real[:, None, :])
        return self.head(x[:, 0])


def test_a_model_without_blocks_is_refused() -> None:
    with pytest.raises(CaptureError, match=r"the block 'Bare' gives \(1, 1\); \(1, 3, width\) is expected"):
        value_zeroing(reader(Bare()), vectors(3))
