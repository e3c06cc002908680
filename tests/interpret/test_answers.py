"""A whole answer, and each generated token, as the target of a language model."""

import numpy as np
import pytest
import torch

from clinometer.errors import DataError, ModelError, UsageError
from clinometer.interpret.answers import answering, attribute_generation
from clinometer.interpret.generation import trace_generation
from clinometer.interpret.methods import attribute
from clinometer.interpret.models import load, score
from clinometer.records import Rows
from reference.model_folders import CORPUS, text_folder

TEXTS = Rows(
    ids=("a", "b", "c"), inputs={"text": np.array([CORPUS[0], "a film", "is it good?"], dtype=object)}
)
ANSWERS = {"a": " is very dull", "b": " no", "c": " yes it is a great film"}


@pytest.fixture(scope="module", params=["GPT2LMHeadModel", "LlamaForCausalLM", "T5ForConditionalGeneration"])
def writer(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    text_folder(folder, request.param)
    return load(folder, dtype="float64")


def token_by_token(subject, i):
    """log p of an answer from one run of the module per token, without padding."""
    row = TEXTS.take([i])
    batch = subject.encode(row)
    numbers = subject.spell([ANSWERS[row.ids[0]]])[0]
    total, before = 0.0, []
    for number in numbers:
        with torch.no_grad():
            if subject.decoder_names is None:
                ids = torch.cat([batch["input_ids"], torch.tensor([before], dtype=torch.long)], dim=1)
                logits = subject.module(input_ids=ids).logits[0, -1]
            else:
                ids = torch.cat([batch["decoder_input_ids"], torch.tensor([before], dtype=torch.long)], dim=1)
                logits = subject.module(input_ids=batch["input_ids"], decoder_input_ids=ids).logits[0, -1]
        total += float(logits.log_softmax(dim=0)[number])
        before.append(number)
    return total


def test_an_answer_is_as_likely_as_its_tokens_one_by_one(writer):
    asked = answering(writer, ANSWERS)
    found = score(asked, TEXTS)
    np.testing.assert_allclose(found, [token_by_token(writer, i) for i in range(3)], atol=1e-9)
    assert (found < 0).all() and asked.unit == "nat"
    last = score(answering(writer, {**ANSWERS, "a": " is very"}), TEXTS)
    np.testing.assert_allclose(last[1:], found[1:], atol=1e-12)
    assert abs(last[0] - found[0]) > 1e-3
    of_last = score(answering(writer, ANSWERS, last=True), TEXTS)
    assert of_last[1] == pytest.approx(found[1]) and of_last[0] > found[0]


def test_the_text_is_explained_and_the_answer_is_not(writer):
    asked = answering(writer, ANSWERS)
    found = attribute(asked, TEXTS, most_nodes=1280)
    assert found.converged.all()
    n = [len(names) for names in writer.names(TEXTS)]
    for i, names in enumerate(found.tokens):
        assert names[: n[i]] == writer.names(TEXTS)[i]
        assert (found.scores[i, n[i] :] == 0).all()
    assert np.abs(found.scores).max() > 1e-3
    alone = attribute(asked, TEXTS.take([1]), most_nodes=1280)
    np.testing.assert_allclose(alone.scores[0], found.scores[1, : alone.scores.shape[1]], atol=1e-8)


def test_every_generated_token_is_explained_given_those_before_it(writer):
    written = trace_generation(writer, TEXTS, max_new_tokens=3)
    found = attribute_generation(writer, TEXTS, max_new_tokens=3, nodes=40, most_nodes=1280)
    assert len(found) == max(len(row) for row in written.numbers)
    for step, record in enumerate(found):
        reached = [i for i, row in enumerate(written.numbers) if len(row) > step]
        assert record.ids == tuple(TEXTS.ids[i] for i in reached)
        expected = [written.log_probabilities[i][step] for i in reached]
        np.testing.assert_allclose(record.value, expected, atol=1e-6)
        assert f"token {step + 1}" in record.target
        assert record.adds_up and record.unit == "nat"
    if writer.decoder_names is None:
        last = found[-1]
        n = len(writer.names(TEXTS)[0])
        assert last.tokens[0][n:] == written.tokens[0][: len(found) - 1]
        assert np.abs(last.scores[0, n:]).max() > 0, "what was generated before counts as read"
    other = attribute_generation(
        writer, TEXTS, "gradient x input", max_new_tokens=1, target="logit difference"
    )
    assert other[0].unit == "logit" and not other[0].adds_up


def test_what_is_no_answer_is_refused(writer, tmp_path):
    with pytest.raises(DataError, match="no answer; first rows: 'b', 'c'"):
        score(answering(writer, {"a": " no"}), TEXTS)
    with pytest.raises(DataError, match="no token; first rows: 'b'"):
        score(answering(writer, {**ANSWERS, "b": ""}), TEXTS)
    with pytest.raises(UsageError, match="no target 'probability'"):
        answering(writer, ANSWERS, target="probability")
    text_folder(tmp_path, "BertForSequenceClassification")
    with pytest.raises(ModelError, match="an answer is a target of"):
        answering(load(tmp_path), ANSWERS)


def test_an_answer_beyond_the_last_position_is_refused(tmp_path):
    text_folder(tmp_path, "GPT2LMHeadModel")
    subject = load(tmp_path)
    with pytest.raises(DataError, match="tokens together"):
        score(answering(subject, {name: " film" * 60 for name in TEXTS.ids}), TEXTS)
