"""Another scalar to explain: the label, the scale, the words, and what has no meaning."""

import numpy as np
import pytest
import torch

from clinometer.errors import ModelError, UsageError
from clinometer.interpret.methods import attribute
from clinometer.interpret.models import load, score
from clinometer.interpret.targets import aimed
from clinometer.records import Rows
from reference.model_folders import CORPUS, labelled, text_folder
from reference.subjects import applicants, fitted

TEXTS = Rows(ids=("a", "b", "c"), inputs={"text": np.array([*CORPUS[:2], "a film"], dtype=object)})


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    folder = tmp_path_factory.mktemp("three")
    text_folder(folder, "BertForSequenceClassification", **labelled("bad", "fair", "good"))
    return load(folder, dtype="float64")


def logits(subject, rows):
    with torch.no_grad():
        return subject.forward(subject.encode(rows), None)


def test_every_scale_is_what_its_name_says(three):
    raw = logits(three, TEXTS)
    expected = {
        "logit difference": raw[:, 0] - raw[:, 1:].mean(dim=1),
        "logit": raw[:, 0],
        "log-probability": raw.log_softmax(dim=1)[:, 0],
        "probability": raw.softmax(dim=1)[:, 0],
    }
    for target, values in expected.items():
        other = aimed(three, target, label="bad")
        np.testing.assert_allclose(score(other, TEXTS), values.numpy(), atol=1e-12)
        assert "bad" in other.target
    assert aimed(three, "probability").unit == "probability"
    assert aimed(three, "log-probability").unit == "nat"
    assert aimed(three, "logit").unit == "logit"


def test_attributions_add_up_to_every_target_and_are_linear_in_it(three):
    logit = {name: attribute(three, TEXTS, target="logit", label=name, nodes=64) for name in three.labels}
    probability = attribute(three, TEXTS, target="probability", label="bad", most_nodes=1280)
    assert probability.unit == "probability" and probability.converged.all()
    assert (probability.value < 1).all() and (np.abs(probability.base_value) < 1).all()
    difference = attribute(three, TEXTS, label="bad", nodes=64)
    combined = logit["bad"].scores - (logit["fair"].scores + logit["good"].scores) / 2
    np.testing.assert_allclose(difference.scores, combined, atol=1e-9)
    assert np.abs(logit["bad"].scores - logit["good"].scores).max() > 1e-2, "another label is another answer"


def test_the_other_label_of_two_is_the_negative():
    rows = applicants(40)
    subject = fitted(rows, epochs=2)
    other = aimed(subject, label="denied")
    np.testing.assert_allclose(score(other, rows), -score(subject, rows), atol=1e-6)
    assert other.threshold == -subject.threshold
    assert other.target == "logit(denied) - logit(approved)"


def test_a_threshold_that_no_longer_means_the_same_is_no_number(three):
    assert np.isnan(aimed(three, "probability").threshold)
    assert np.isnan(aimed(three, label="bad").threshold)
    assert aimed(three).threshold == three.threshold


def test_a_probability_of_a_language_model_is_over_its_whole_vocabulary(tmp_path):
    text_folder(tmp_path, "GPT2LMHeadModel")
    subject = load(tmp_path, candidates=(" film", " dog"), dtype="float64")
    batch = subject.encode(TEXTS)
    with torch.no_grad():
        everything = subject.whole(batch, None)
    other = aimed(subject, "probability", label=" dog")
    expected = everything.softmax(dim=1)[:, subject.numbers[1]].numpy()
    np.testing.assert_allclose(score(other, TEXTS), expected, atol=1e-12)
    assert everything.shape[1] > 100 and (expected < 0.5).all()
    assert other.target == "probability of  dog, next token after the text"
    own = load(tmp_path, dtype="float64")
    sure = score(aimed(own, "log-probability"), TEXTS)
    np.testing.assert_allclose(sure, everything.log_softmax(dim=1).max(dim=1).values.numpy(), atol=1e-12)
    with pytest.raises(UsageError, match="own choice"):
        score(aimed(own, "probability", label="mean of the others"), TEXTS)


def test_what_has_no_meaning_is_refused(three):
    with pytest.raises(UsageError, match="did you mean 'probability'"):
        aimed(three, "probabilty")
    with pytest.raises(ModelError, match="did you mean 'good'"):
        aimed(three, label="god")
    with pytest.raises(UsageError, match="means nothing"):
        aimed(three, "output")


def test_each_row_by_its_own_prediction(three):
    raw = logits(three, TEXTS)
    chosen = raw.argmax(dim=1)
    assert len(chosen.unique()) > 1, "the rows differ in their prediction"
    other = aimed(three, "probability", label="predicted")
    np.testing.assert_allclose(score(other, TEXTS), raw.softmax(dim=1).max(dim=1).values.numpy(), atol=1e-12)
    whole = attribute(three, TEXTS, label="predicted", nodes=64)
    for i, label in enumerate(chosen.tolist()):
        alone = attribute(three, TEXTS.take([i]), label=three.labels[label], nodes=64)
        np.testing.assert_allclose(whole.scores[i, : alone.scores.shape[1]], alone.scores[0], atol=1e-9)
    assert whole.target == "logit difference of each row's predicted label" and whole.converged.all()
