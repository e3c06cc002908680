"""Generation: the tokens are generate's own, and each step's row is the row of one pass over the whole sequence."""

import json

import numpy as np
import pytest
import torch

from clinometer.errors import CaptureError, DataError, ModelError, UsageError
from clinometer.interpret import generation
from clinometer.interpret.capture import trace
from clinometer.interpret.generation import trace_generation
from clinometer.interpret.models import load
from clinometer.records import Rows
from reference.model_folders import SETTINGS, TOKENIZERS, labelled, llama_settings, text_folder

SETTINGS["Mistral"] = lambda tokenizer, **more: llama_settings(tokenizer, sliding_window=4, **more)
TOKENIZERS["Mistral"] = TOKENIZERS["Llama"]
CAUSAL = ("GPT2LMHeadModel", "LlamaForCausalLM", "MistralForCausalLM")
PAIRED = ("T5ForConditionalGeneration", "BartForConditionalGeneration")


def texts(*lines, **columns):
    inputs = {"text": np.array(lines, dtype=object)}
    inputs |= {name: np.array(values, dtype=object) for name, values in columns.items()}
    return Rows(ids=tuple(f"t{i}" for i in range(len(lines))), inputs=inputs)


ROWS = texts("the film is a very good and great", "dull", "is it good?")


def model_folder(path, architecture):
    """A model that goes on for as long as it is let, unless the end token is the likeliest."""
    return text_folder(path, architecture, seed=3)


@pytest.fixture(scope="module", params=CAUSAL + PAIRED)
def made(request, tmp_path_factory):
    subject = load(model_folder(tmp_path_factory.mktemp("model"), request.param))
    return subject, trace_generation(subject, ROWS, max_new_tokens=7)


def alone(subject, i, n=7, rows=ROWS):
    """What the untapped model generates for one row without padding, and its prompt."""
    batch = subject.encode(rows.take([i]))
    names = [name for name in ("input_ids", "attention_mask", "decoder_input_ids") if name in batch]
    settings = subject.module.generation_config
    with torch.no_grad():
        sequence = subject.module.generate(
            **{name: batch[name] for name in names},
            max_new_tokens=n,
            do_sample=False,
            num_beams=1,
            pad_token_id=subject.module.config.pad_token_id,
            eos_token_id=settings.eos_token_id,
        )[0]
    prompt = batch.get("decoder_input_ids", batch["input_ids"])
    return batch, prompt, sequence[prompt.shape[1] :]


def whole(subject, batch, prompt, generated):
    """The maps of one pass over prompt and generated tokens."""
    full = torch.cat([prompt[0], generated])[None]

    def run():
        with torch.no_grad():
            if "decoder_input_ids" in batch:
                return subject.module(
                    input_ids=batch["input_ids"], decoder_input_ids=full, use_cache=False
                ).logits
            return subject.module(input_ids=full, use_cache=False).logits

    return trace(run, subject.module)


def test_the_tokens_are_those_of_untapped_generate(made):
    subject, result = made
    for i in range(len(ROWS)):
        _, _, generated = alone(subject, i)
        assert list(result.numbers[i]) == generated.tolist()
        assert result.tokens[i] == subject.decode(generated.tolist())
    assert len({len(prompt) for prompt in result.prompts}) > 1 or subject.decoder_names
    assert len(result.steps) == max(map(len, result.numbers))


def test_each_step_is_a_row_of_one_pass_over_the_whole_sequence(made):
    subject, result = made
    compared = 0
    for i in range(len(ROWS)):
        batch, prompt, generated = alone(subject, i)
        full = whole(subject, batch, prompt, generated)
        n_prompt = prompt.shape[1]
        for layer in result.layers:
            for head in range(full.n_heads(layer)):
                got = result.attention(layer, head, i)
                expected = full.map(layer, head, 0)[n_prompt - 1 : n_prompt - 1 + len(generated)]
                expected = expected[:, : got.shape[1]]
                np.testing.assert_allclose(got, expected, atol=1e-5)
                np.testing.assert_allclose(got.sum(axis=1), 1.0, atol=1e-5)
                assert got.shape == (len(result.tokens[i]), len(result.keys(layer, i)))
                compared += len(got)
    assert compared > 50
    assert any(np.ptp(result.attention(layer, 0, 0)) > 0.1 for layer in result.layers), "maps are not flat"


def test_log_probabilities_are_the_models_own(made):
    subject, result = made
    for i in range(len(ROWS)):
        batch, prompt, generated = alone(subject, i)
        logits = whole(subject, batch, prompt, generated).output[0, prompt.shape[1] - 1 : -1].double()
        expected = logits.log_softmax(dim=1)[torch.arange(len(generated)), generated]
        np.testing.assert_allclose(result.log_probabilities[i], expected.numpy(), atol=1e-5)
    frame = result.frame
    assert list(frame.columns) == ["id", "step", "token", "log_probability"]
    assert len(frame) == sum(map(len, result.tokens))


def test_the_prompt_and_the_encoder_are_kept_whole(made):
    subject, result = made
    assert (result.encoder is not None) == (subject.decoder_names is not None)
    for call in result.prompt.calls:
        longest = max(map(len, result.prompts))
        assert call.n_queries == longest
    if result.encoder is not None:
        assert result.sources == subject.names(ROWS)
        assert {step.kinds for step in result.steps} == {result.prompt.kinds}
        assert "cross" in result.prompt.kinds
    assert all(step.layers == result.layers for step in result.steps)
    assert "#" not in "".join(result.layers)


def test_keys_are_kept_once_where_the_cache_only_grows(tmp_path):
    result = trace_generation(load(model_folder(tmp_path, "GPT2LMHeadModel")), ROWS, max_new_tokens=6)
    storages = {step.calls[0].key.untyped_storage().data_ptr() for step in result.steps}
    assert len(storages) == 1
    longest = max(map(len, result.prompts))
    assert [step.calls[0].n_keys for step in result.steps] == list(range(longest, longest + 6))


def test_an_end_token_ends_its_example_only(tmp_path):
    path = model_folder(tmp_path, "GPT2LMHeadModel")
    first = trace_generation(load(path), ROWS, max_new_tokens=7)
    third = first.numbers[0][2]
    expected = [list(numbers) for numbers in first.numbers]
    expected = [row[: row.index(third) + 1] if third in row else row for row in expected]
    settings = json.loads((path / "generation_config.json").read_text())
    (path / "generation_config.json").write_text(json.dumps({**settings, "eos_token_id": [third]}))
    result = trace_generation(load(path), ROWS, max_new_tokens=7)
    assert [list(numbers) for numbers in result.numbers] == expected
    assert len(result.numbers[0]) <= 3
    assert result.attention(0, 0, 0).shape[0] == len(result.numbers[0])


def test_a_folders_own_beams_sampling_and_static_cache_are_left_out(tmp_path):
    path = model_folder(tmp_path, "LlamaForCausalLM")
    plain = trace_generation(load(path), ROWS, max_new_tokens=5)
    settings = json.loads((path / "generation_config.json").read_text())
    other = {"num_beams": 3, "do_sample": True, "temperature": 0.3, "cache_implementation": "static"}
    (path / "generation_config.json").write_text(json.dumps({**settings, **other}))
    again = trace_generation(load(path), ROWS, max_new_tokens=5)
    assert again.numbers == plain.numbers
    assert np.array_equal(again.attention(-1, 0, 1), plain.attention(-1, 0, 1))


def test_a_folder_that_asks_for_another_way_to_decode_is_refused(tmp_path):
    path = model_folder(tmp_path, "LlamaForCausalLM")
    settings = json.loads((path / "generation_config.json").read_text())
    (path / "generation_config.json").write_text(json.dumps({**settings, "prompt_lookup_num_tokens": 3}))
    with pytest.raises(ModelError, match="prompt_lookup_num_tokens"):
        trace_generation(load(path), ROWS)


def test_a_static_cache_is_refused_never_wrong(tmp_path, monkeypatch):
    subject = load(model_folder(tmp_path, "LlamaForCausalLM"))
    monkeypatch.setitem(generation.GREEDY, "cache_implementation", "static")
    with pytest.raises(CaptureError, match=r"written over.*static cache"):
        trace_generation(subject, ROWS, max_new_tokens=4)


def test_a_decoder_goes_on_from_its_prefix(tmp_path):
    subject = load(model_folder(tmp_path, "T5ForConditionalGeneration"))
    rows = texts("is it good", "dull", target_text=["the answer", "it is"])
    result = trace_generation(subject, rows, max_new_tokens=4)
    assert result.prompts == (("<pad>", "the", "answer"), ("<pad>", "it", "is"))
    for i in range(2):
        _, _, generated = alone(subject, i, n=4, rows=rows)
        assert list(result.numbers[i]) == generated.tolist()
    self_layer = next(
        layer for layer, kind in zip(result.layers, result.prompt.kinds, strict=True) if kind == "self"
    )
    assert result.keys(self_layer, 0) == (*result.prompts[0], *result.tokens[0][:-1])
    ragged = texts("is it good", "dull", target_text=["the answer", "it"])
    with pytest.raises(DataError, match="different lengths; 't1'"):
        trace_generation(subject, ragged, max_new_tokens=4)


def test_int8_weights_generate_with_certified_steps(tmp_path):
    subject = load(model_folder(tmp_path, "LlamaForCausalLM"), quantise="int8")
    result = trace_generation(subject, ROWS.take([0]), max_new_tokens=4)
    assert max(max(step.certificate().values()) for step in result.steps) < 1e-4


def test_what_cannot_generate_is_refused(tmp_path):
    subject = load(text_folder(tmp_path / "a", "BertForSequenceClassification", **labelled("a", "b")))
    with pytest.raises(ModelError, match="sequence classification"):
        trace_generation(subject, ROWS)
    causal = load(model_folder(tmp_path / "b", "GPT2LMHeadModel"))
    with pytest.raises(DataError, match="no rows"):
        trace_generation(causal, ROWS.take([]))
    with pytest.raises(UsageError, match="max_new_tokens is 0"):
        trace_generation(causal, ROWS, max_new_tokens=0)
    with pytest.raises(DataError, match="leave no room for 45 tokens in the 48 positions"):
        trace_generation(causal, ROWS, max_new_tokens=45)
    result = trace_generation(causal, ROWS.take([1]), max_new_tokens=2)
    with pytest.raises(UsageError, match="example 1 does not exist"):
        result.attention(0, 0, 1)
