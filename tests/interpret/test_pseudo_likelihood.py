"""Pseudo-log-likelihoods: a plain loop over tokens agrees, batches change nothing, pairs share tokens."""

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from clinometer.bias.stereotypes import crows_pairs
from clinometer.errors import DataError, ModelError
from clinometer.interpret.pseudo_likelihood import masked_language_model, pair_scores, pseudo_log_likelihood
from reference.model_folders import bert_settings, gpt_tokenizer, text_folder
from reference.word_models import masked_model, saved, word_tokenizer

SENTENCES = [
    "The nurse said that she was late.",
    "The nurse said that he was late.",
    "He called.",
    "The driver told the nurse that she could pay, and the nurse paid.",
]


@pytest.fixture(scope="module")
def pair_in_memory():
    return masked_model(SENTENCES)


@pytest.fixture(scope="module")
def ready(pair_in_memory):
    return masked_language_model(pair_in_memory)


def plainly(model, tokenizer, text, kept=None):
    """One token masked, one forward pass, one log-probability added, after another."""
    ids = tokenizer(text)["input_ids"]
    total = 0.0
    for place in range(1, len(ids) - 1) if kept is None else kept:
        hidden = list(ids)
        hidden[place] = tokenizer.mask_token_id
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([hidden])).logits[0, place].double()
        total += float(logits[ids[place]] - torch.logsumexp(logits, dim=0))
    return total


def test_a_plain_loop_agrees(pair_in_memory, ready):
    made = pseudo_log_likelihood(ready, SENTENCES)
    np.testing.assert_allclose(made, [plainly(*pair_in_memory, text) for text in SENTENCES], atol=1e-4)
    assert np.ptp(made) > 1, "the control: sentences differ"


@pytest.mark.parametrize("batch_size", [1, 3, 1000])
def test_batches_change_nothing(ready, batch_size):
    made = pseudo_log_likelihood(ready, SENTENCES, batch_size=batch_size)
    np.testing.assert_allclose(made, pseudo_log_likelihood(ready, SENTENCES), atol=1e-4)
    order = [2, 0, 3, 1]
    again = pseudo_log_likelihood(ready, [SENTENCES[i] for i in order], batch_size=batch_size)
    np.testing.assert_allclose(again, made[order], atol=1e-4)


def test_pairs_are_scored_on_the_tokens_they_share(pair_in_memory, ready):
    one, other = pair_scores(ready, SENTENCES[:1], SENTENCES[1:2])
    # [CLS] the nurse said that she was late . [SEP]: all but token 5.
    kept = [1, 2, 3, 4, 6, 7, 8]
    assert one[0] == pytest.approx(plainly(*pair_in_memory, SENTENCES[0], kept), abs=1e-4)
    assert other[0] == pytest.approx(plainly(*pair_in_memory, SENTENCES[1], kept), abs=1e-4)
    whole = pseudo_log_likelihood(ready, SENTENCES[:1])
    assert one[0] > whole[0], "the control: the changed token is left out"
    swapped = pair_scores(ready, SENTENCES[1:2], SENTENCES[:1])
    np.testing.assert_allclose(swapped[0], other, atol=1e-5)


def test_changed_words_may_have_other_numbers_of_tokens(pair_in_memory, ready):
    one, other = pair_scores(ready, ["The nurse called."], ["The nurse, the driver called."])
    assert one[0] == pytest.approx(plainly(*pair_in_memory, "The nurse called."), abs=1e-4)
    assert other[0] == pytest.approx(
        plainly(*pair_in_memory, "The nurse, the driver called.", [1, 2, 6, 7]), abs=1e-4
    )


def test_a_folder_scores_as_the_model_in_memory(pair_in_memory, ready, tmp_path):
    folder = saved(*pair_in_memory, tmp_path / "model")
    made = pseudo_log_likelihood(masked_language_model(folder), SENTENCES)
    np.testing.assert_allclose(made, pseudo_log_likelihood(ready, SENTENCES), atol=1e-5)
    double = pseudo_log_likelihood(masked_language_model(folder, dtype="float64"), SENTENCES)
    np.testing.assert_allclose(made, double, atol=1e-3)


def test_a_trained_model_prefers_what_it_was_trained_on():
    stereotype = [
        f"The {job} said that {word} was late." for job, word in (("nurse", "she"), ("driver", "he"))
    ]
    other = [f"The {job} said that {word} was late." for job, word in (("nurse", "he"), ("driver", "she"))]
    fill = ("nurse", "driver", "she", "he")
    trained = masked_language_model(masked_model(stereotype * 4, steps=120, fill=fill))
    known = crows_pairs(*pair_scores(trained, stereotype, other))
    assert known.estimate == 100
    balanced = masked_language_model(masked_model((stereotype + other) * 2, steps=120, fill=fill))
    sure = np.subtract(*pair_scores(trained, stereotype, other))
    unsure = np.subtract(*pair_scores(balanced, stereotype, other))
    assert np.abs(unsure).max() < 0.5 * sure.min(), "the control: trained on both, it prefers neither as much"


def test_refusals(pair_in_memory, ready, tmp_path):
    model, tokenizer = pair_in_memory
    with pytest.raises(ModelError, match="is not a folder"):
        masked_language_model(tmp_path / "none")
    with pytest.raises(ModelError, match="is a model for causal language model; a masked language model is"):
        masked_language_model(text_folder(tmp_path / "gpt2", "GPT2LMHeadModel"))
    with pytest.raises(ModelError, match="has no mask token"):
        masked_language_model((model, gpt_tokenizer()))
    classifier = BertForSequenceClassification(BertConfig(**bert_settings(tokenizer)))
    with pytest.raises(ModelError, match="is no masked language model"):
        masked_language_model((classifier, tokenizer))
    with pytest.raises(DataError, match="a list of sentences"):
        pseudo_log_likelihood(ready, "The nurse")
    with pytest.raises(DataError, match="1 sentences are empty, at '1'"):
        pseudo_log_likelihood(ready, ["The nurse", " "])
    with pytest.raises(DataError, match="more than the 40 tokens"):
        pseudo_log_likelihood(ready, ["the nurse " * 30])
    with pytest.raises(DataError, match="1 and 2 sentences"):
        pair_scores(ready, ["The nurse"], ["The nurse", "He"])
    with pytest.raises(DataError, match="hold the same tokens twice, at '0'"):
        pair_scores(ready, ["The nurse"], ["the NURSE"])
    with pytest.raises(DataError, match="share no token, at '0'"):
        pair_scores(ready, ["nurse"], ["driver"])
    with pytest.raises(ModelError, match="batch_size is 0"):
        pseudo_log_likelihood(ready, ["The nurse"], batch_size=0)
    assert word_tokenizer(SENTENCES).mask_token == "[MASK]" and model.training is False
