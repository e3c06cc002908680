"""Attributions from attention: what each is, laws that hold for all of them, and the edges of their inputs."""

import dataclasses
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import clinometer
from clinometer.errors import DataError, ModelError, UsageError
from clinometer.interpret.attention_methods import (
    attention_rollout,
    attention_x_gradient,
    gradient_weighted_relevance,
    raw_attention,
)
from clinometer.interpret.flow import attention_flow
from clinometer.interpret.gates import gates
from clinometer.interpret.head_effects import head_effects
from clinometer.interpret.models import score
from clinometer.interpret.value_norms import value_weighted_norms
from clinometer.interpret.value_zeroing import value_zeroing
from reference import rollout as slow
from reference.readers import LINES, Reader, loaded, reader, texts, vectors, whole
from reference.subjects import applicants, fitted

METHODS = {
    "attention x gradient": attention_x_gradient,
    "gradient-weighted relevance": gradient_weighted_relevance,
    "attention rollout": attention_rollout,
    "raw attention": raw_attention,
    "attention flow": attention_flow,
    "value-weighted norms": value_weighted_norms,
    "value zeroing": value_zeroing,
}
FROM_GRADIENTS = ("attention x gradient", "gradient-weighted relevance")
ONE_STACK = ("attention rollout", "attention flow", "value-weighted norms", "value zeroing")
each = pytest.mark.parametrize("name", METHODS)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return loaded(tmp_path_factory.mktemp("bert"), "BertForSequenceClassification")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("t5")
    return loaded(folder, "T5ForConditionalGeneration", load={"candidates": ("good", "bad")})


# What each method is


def test_attention_x_gradient_is_the_sum_of_what_each_head_moved(bert) -> None:
    rows = texts(*LINES)
    made = attention_x_gradient(bert, rows)
    moved = head_effects(bert, rows).moved.sum(axis=(1, 2))
    np.testing.assert_allclose(made.scores, moved[:, : made.scores.shape[1]], atol=1e-12)
    for i, layers in enumerate(whole(bert, rows)):
        want = sum((a * da).sum(axis=(0, 1)) for _, a, da in layers)
        np.testing.assert_allclose(made.scores[i, : len(want)], want, atol=1e-10)
    assert made.unit == bert.unit and not made.adds_up
    assert (made.scores < 0).any() and (made.scores > 0).any()


def test_attention_x_gradient_sums_to_the_slope_of_a_gate_on_all_heads() -> None:
    subject, rows = reader(Reader()), vectors(5, 3)
    step = 1e-5

    def at(factor):
        with gates(subject, {(0, None): factor, (1, None): factor}):
            return score(subject, rows)

    slope = (at(1 + step) - at(1 - step)) / (2 * step)
    np.testing.assert_allclose(attention_x_gradient(subject, rows).scores.sum(axis=1), slope, atol=1e-7)
    assert np.abs(slope).min() > 1e-3


def test_relevance_is_the_read_row_of_whole_matrices(bert) -> None:
    rows = texts(*LINES)
    made = gradient_weighted_relevance(bert, rows)
    for i, layers in enumerate(whole(bert, rows)):
        want = slow.relevance([(a, da) for _, a, da in layers])[0]
        np.testing.assert_allclose(made.scores[i, : len(want)], want, atol=1e-10)
    assert made.unit == "" and made.scores.max() > 1e-3


@pytest.mark.parametrize("name", ["gradient-weighted relevance", "attention rollout", "raw attention"])
def test_several_read_positions_give_the_mean_of_their_rows(name) -> None:
    subject, rows = reader(Reader("mean")), vectors(5, 3, 1)
    made = METHODS[name](subject, rows)
    for i, layers in enumerate(whole(subject, rows)):
        if name == "attention rollout":
            full = slow.rollout([a for _, a, _ in layers])
        elif name == "raw attention":
            full = layers[-1][1].mean(axis=0)
        else:
            full = slow.relevance([(a, da) for _, a, da in layers])
        np.testing.assert_allclose(made.scores[i, : len(full)], full.mean(axis=0), atol=1e-10)
        assert len(full) == 1 or np.ptp(full, axis=0).max() > 1e-3, "rows differ, so that a mean is no row"


def test_rollout_and_raw_attention_are_the_class_token_s_row(bert) -> None:
    rows = texts(*LINES)
    rolled, raw = attention_rollout(bert, rows, residual=0.3, heads="max"), raw_attention(bert, rows)
    for i, layers in enumerate(whole(bert, rows)):
        n = len(layers[0][1][0])
        want = slow.rollout([a for _, a, _ in layers], residual=0.3, heads="max")[0]
        np.testing.assert_allclose(rolled.scores[i, :n], want, atol=1e-10)
        np.testing.assert_allclose(raw.scores[i, :n], layers[-1][1].mean(axis=0)[0], atol=1e-10)
    np.testing.assert_allclose(rolled.scores.sum(axis=1), 1.0, atol=1e-10)
    np.testing.assert_allclose(raw.scores.sum(axis=1), 1.0, atol=1e-10)


def test_raw_attention_and_rollout_carry_the_warning_and_no_unit(bert) -> None:
    rows = texts(*LINES[:2])
    for name, rho in (("raw attention", ".12"), ("attention rollout", ".19")):
        made = METHODS[name](bert, rows)
        assert made.unit == "" and made.baseline == ""
        assert any("hardly better than chance" in note and rho in note for note in made.notes)
    assert any("hardly better than chance" in note for note in attention_flow(bert, rows).notes)
    assert not any("chance" in note for note in attention_x_gradient(bert, rows).notes)


# Encoder-decoders


def test_of_an_encoder_decoder_the_source_is_scored(pair) -> None:
    rows = texts(*LINES[:3], target_text=["a film", "a", "is it"])
    relevance, moved = gradient_weighted_relevance(pair, rows), attention_x_gradient(pair, rows)
    raw = raw_attention(pair, rows)
    for i, layers in enumerate(whole(pair, rows)):
        encoder, decoder = [(a, da) for _, a, da in layers[:2]], layers[2:]
        target, source = slow.two_streams(encoder, decoder)
        n = source.shape[1]
        np.testing.assert_allclose(relevance.scores[i, :n], source[-1], atol=1e-9)
        crossing = [(a, da) for kind, a, da in decoder if kind == "cross"]
        want = sum((a * da).sum(axis=(0, 1)) for a, da in (*encoder, *crossing))
        np.testing.assert_allclose(moved.scores[i, :n], want, atol=1e-9)
        np.testing.assert_allclose(raw.scores[i, :n], crossing[-1][0].mean(axis=0)[-1], atol=1e-9)
        assert target[-1].sum() > 0
    assert relevance.scores.max() > 1e-6
    for made in (relevance, moved):
        assert any("what the decoder reads" in note for note in made.notes)


@pytest.mark.parametrize("name", ONE_STACK)
def test_what_is_defined_within_one_stack_refuses_an_encoder_decoder(pair, name) -> None:
    with pytest.raises(ModelError, match=r"is an encoder-decoder, and .* within one stack"):
        METHODS[name](pair, texts(*LINES[:2]))


# Laws


@each
def test_padding_gets_nothing_and_the_batch_does_not_matter(bert, name) -> None:
    rows = texts(*LINES)
    together = METHODS[name](bert, rows)
    lengths = [len(tokens) for tokens in bert.names(rows)]
    for i, n in enumerate(lengths):
        assert (together.scores[i, n:] == 0).all()
        alone = METHODS[name](bert, rows.take([i]))
        np.testing.assert_allclose(together.scores[i, :n], alone.scores[0], atol=1e-8)
        np.testing.assert_allclose(together.value[i], alone.value[0], atol=1e-8)
    assert min(lengths) < max(lengths)
    turned = METHODS[name](bert, rows.take([3, 2, 1, 0]), batch_size=2)
    np.testing.assert_allclose(turned.scores, together.scores[::-1], atol=1e-8)
    np.testing.assert_array_equal(METHODS[name](bert, rows).scores, together.scores)
    assert np.abs(together.scores[0]).max() > 1e-4
    other = METHODS[name](bert, texts(LINES[2]))  # control: another text has other scores
    assert np.abs(other.scores[0, :5] - together.scores[0, :5]).max() > 1e-4


@each
def test_little_memory_changes_nothing(bert, name) -> None:
    rows = texts(*LINES)
    np.testing.assert_allclose(
        METHODS[name](bert, rows, max_memory=1).scores, METHODS[name](bert, rows).scores, atol=1e-8
    )


@each
def test_only_what_comes_from_gradients_depends_on_the_label(bert, name) -> None:
    rows = texts(*LINES)
    other = dataclasses.replace(bert, positive=1 - bert.positive)
    one, two = METHODS[name](bert, rows).scores, METHODS[name](other, rows).scores
    if name == "attention x gradient":
        np.testing.assert_allclose(two, -one, atol=1e-10)
    if name in FROM_GRADIENTS:
        assert np.abs(one - two).max() > 1e-3
    else:
        np.testing.assert_allclose(one, two, atol=1e-12)


@each
def test_a_grouped_causal_decoder(tmp_path, name) -> None:
    llama = loaded(tmp_path, "LlamaForCausalLM", load={"candidates": (" good", " bad")})
    rows = texts("the film is", "it is a very")
    made = METHODS[name](llama, rows)
    assert np.isfinite(made.scores).all() and np.abs(made.scores).sum(axis=1).min() > 0
    np.testing.assert_allclose(made.value, score(llama, rows), atol=1e-9)


@each
def test_our_transformer_on_a_table(name) -> None:
    rows = applicants(12)
    subject = fitted(rows, epochs=0)
    made = METHODS[name](subject, rows, batch_size=5)
    assert made.scores.shape == (12, 4)
    assert any("'[CLS]'" in note and "left out" in note for note in made.notes)
    if name not in (*FROM_GRADIENTS, "attention flow"):
        assert (made.scores.sum(axis=1) < 1 - 1e-3).all(), "the rest fell on the class token"
    if name == "attention rollout":
        for i, layers in enumerate(whole(subject, rows)):
            np.testing.assert_allclose(
                made.scores[i], slow.rollout([a for _, a, _ in layers])[0, 1:], atol=1e-6
            )


# Edges


@each
def test_one_token(name) -> None:
    made = METHODS[name](reader(Reader()), vectors(1))
    assert made.scores.shape == (1, 1)
    if name not in FROM_GRADIENTS:
        np.testing.assert_allclose(made.scores, 1.0)


@each
def test_a_long_row_beside_short_ones(name) -> None:
    subject = reader(Reader("first"), dtype=torch.float32)
    rows = vectors(5, 512, 5)
    method = partial(attention_flow, most_tokens=512) if name == "attention flow" else METHODS[name]
    if name == "attention flow":
        rows = vectors(5, 80, 5)
    made = method(subject, rows)
    for i in (0, 2):
        np.testing.assert_allclose(made.scores[i, :5], method(subject, rows.take([i])).scores[0], atol=1e-5)
        assert (made.scores[i, 5:] == 0).all()
    assert np.abs(made.scores[1, 5:]).max() > 0


@each
def test_float16_on_the_cpu(name) -> None:
    rows = vectors(4, 3)
    exact = METHODS[name](reader(Reader()), rows).scores
    made = METHODS[name](reader(Reader(), dtype=torch.float16), rows)
    np.testing.assert_allclose(made.scores, exact, atol=0.02 * np.abs(exact).max())


@each
def test_a_constant_model_gives_gradients_nothing(name) -> None:
    module = Reader("mean")
    subject, rows = reader(module), vectors(3, 2)
    with torch.no_grad():
        module.head.weight.zero_()
    made = METHODS[name](subject, rows)
    assert (made.scores == 0).all()
    assert any("2 row(s) have no score at all" in note and "'v0', 'v1'" in note for note in made.notes)


@each
def test_a_subject_with_one_output_and_one_with_three(name) -> None:
    rows = vectors(4, 2)
    assert METHODS[name](reader(Reader(outputs=1)), rows).target == "output"
    made = METHODS[name](reader(Reader(outputs=3), labels=("a", "b", "c"), positive="b"), rows)
    assert np.abs(made.scores[0]).max() > 0


@each
def test_a_target_that_is_not_finite_names_its_rows(name) -> None:
    module = Reader("mean")
    subject, rows = reader(module), vectors(3, 2)
    with torch.no_grad():
        module.head.bias.fill_(torch.nan)
    with pytest.raises(DataError, match="score that is not finite; first rows: 'v0', 'v1'"):
        METHODS[name](subject, rows)


@pytest.mark.parametrize("options", [{"residual": 1.5}, {"heads": "median"}])
def test_impossible_options_of_rollout_are_refused(options, shapes_unchecked) -> None:
    with pytest.raises(UsageError, match=r"residual is 1.5|'median'"):
        attention_rollout(reader(Reader()), vectors(2), **options)


SHARED = Path(__file__).parents[3] / "shared" / "models"


@each
@pytest.mark.parametrize("folder", ["tiny-sst2", "minilm-hatexplain"])
def test_trained_models(folder, name) -> None:
    if not (SHARED / folder).is_dir():
        pytest.skip(f"{folder} is not beside this checkout")
    subject = clinometer.load(SHARED / folder)
    rows = texts(
        "a wonderful, warm and funny film", "dull", "this is the worst garbage i ever saw, and long too"
    )
    made = METHODS[name](subject, rows)
    assert np.isfinite(made.scores).all() and np.abs(made.scores).sum(axis=1).min() > 0
    for i in range(3):
        alone = METHODS[name](subject, rows.take([i])).scores[0]
        np.testing.assert_allclose(
            made.scores[i, : len(alone)], alone, atol=1e-5 * max(1, np.abs(alone).max())
        )
