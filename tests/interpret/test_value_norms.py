"""Norms of weighted values equal a loop over pairs of positions, rolled out from the read position."""

import numpy as np
import pytest
import torch

from clinometer.errors import UsageError
from clinometer.interpret.projections import projections
from clinometer.interpret.tracing import gradient_trace
from clinometer.interpret.value_norms import value_weighted_norms
from reference import mixing as slow
from reference import rollout as slow_rollout
from reference.readers import LINES, Reader, loaded, reader, texts, vectors

FAMILIES = {
    "BertForSequenceClassification": lambda model, i: (
        model.bert.encoder.layer[i].attention.output.dense.weight.T
    ),
    "GPT2ForSequenceClassification": lambda model, i: model.transformer.h[i].attn.c_proj.weight,
    "LlamaForSequenceClassification": lambda model, i: model.model.layers[i].self_attn.o_proj.weight.T,
    "DistilBertForSequenceClassification": lambda model, i: (
        model.distilbert.transformer.layer[i].attention.out_lin.weight.T
    ),
}


@pytest.mark.parametrize("architecture", FAMILIES)
def test_equal_to_a_loop_over_pairs_of_positions(tmp_path, architecture) -> None:
    subject, rows = loaded(tmp_path, architecture), texts(*LINES[:3])
    found = projections(subject, rows)
    made = value_weighted_norms(subject, rows, residual=0.4)
    for i in range(3):
        traced = gradient_trace(subject, subject.encode(rows.take([i])))
        layers = []
        for place, call in enumerate(traced.calls):
            weight = FAMILIES[architecture](subject.module, place).detach()
            np.testing.assert_allclose(found[call.layer].flatten(0, 1), weight, atol=1e-12)
            heads = weight.reshape(call.n_heads, -1, weight.shape[1]).numpy()
            layers.append(slow.norms(traced.maps(place)[0].numpy(), call.value[0].numpy(), heads)[None])
        n = layers[0].shape[1]
        query = n - 1 if architecture[0] in "GL" else 0
        want = slow_rollout.rollout(layers, residual=0.4)[query]
        np.testing.assert_allclose(made.scores[i, :n], want, atol=1e-9)
    np.testing.assert_allclose(made.scores.sum(axis=1), 1.0, atol=1e-9)
    assert made.unit == "" and any("no sign and no target" in note for note in made.notes)


def test_an_impossible_residual_is_refused() -> None:
    with pytest.raises(UsageError, match="residual is 2"):
        value_weighted_norms(reader(Reader()), vectors(2), residual=2)


def test_a_position_to_which_nothing_is_added_keeps_what_it_has() -> None:
    module = Reader("first")
    subject = reader(module)
    with torch.no_grad():
        for block in module.blocks:
            block.attention.value.weight.zero_()
            block.attention.value.bias.zero_()
    np.testing.assert_array_equal(value_weighted_norms(subject, vectors(3)).scores, [[1, 0, 0]])
