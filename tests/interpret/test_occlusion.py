"""Occlusion: the target without one token, by its definition and by known answers; 0 where nothing is removed."""

import numpy as np
import pytest
import torch

from clinometer.errors import DataError, ModelError
from clinometer.interpret.models import load, score
from clinometer.interpret.occlusion import occlusion
from clinometer.records import Rows
from reference.functions import numbers, subject_of
from reference.model_folders import labelled, text_folder
from reference.shapley import as_scores, leave_one_out
from reference.subjects import applicants, fitted

LINES = ("the film is a very good and great film", "dull", "is it good? yes", "a great man")


def texts(*lines):
    return Rows(ids=tuple(f"t{i}" for i in range(len(lines))), inputs={"text": np.array(lines, object)})


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    return load(
        text_folder(folder, "BertForSequenceClassification", **labelled("bad", "fair", "good")),
        dtype="float64",
    )


def test_known_answer_of_a_sum():
    rows = numbers()
    result = occlusion(subject_of(lambda x: x[:, 0, 0] - 2 * x[:, 1, 0] ** 2, reference=0.5), rows)
    x = np.asarray(rows.inputs["x"])
    expected = np.stack([x[:, 0] - 0.5, -2 * (x[:, 1] ** 2 - 0.25), np.zeros(5)], axis=1)
    np.testing.assert_allclose(result.scores, expected, atol=1e-12)
    assert np.all(result.scores[:, 2] == 0), "a number that the target does not use gets nothing"
    assert (result.unit, result.method, result.baseline) == ("output", "occlusion", "0.5 everywhere")


def test_redundant_tokens_get_nothing_and_partners_get_everything_twice():
    ones = Rows(ids=("one",), inputs={"x": np.ones((1, 3))})
    either = occlusion(subject_of(lambda x: torch.maximum(x[:, 0, 0], x[:, 1, 0])), ones)
    both = occlusion(subject_of(lambda x: x[:, 0, 0] * x[:, 1, 0]), ones)
    assert either.scores.tolist() == [[0.0, 0.0, 0.0]]
    assert both.scores.tolist() == [[1.0, 1.0, 0.0]]
    assert not either.adds_up and np.isnan(either.residual).all() and either.converged.all()


def test_equal_to_a_slow_twin_that_removes_one_token_at_a_time(bert):
    rows = applicants(12)
    subject = fitted(rows, epochs=2)
    expected = as_scores(leave_one_out(subject, rows), 4)
    np.testing.assert_allclose(occlusion(subject, rows).scores, expected, atol=2e-6)
    lines = texts(*LINES)
    result = occlusion(bert, lines)
    expected = as_scores(leave_one_out(bert, lines), result.scores.shape[1])
    np.testing.assert_allclose(result.scores, expected, atol=1e-12)


def test_padding_and_markers_get_exactly_nothing(bert):
    rows = texts(*LINES)
    result = occlusion(bert, rows)
    for tokens, scores in zip(result.tokens, result.scores, strict=True):
        assert (tokens[0], tokens[-1]) == ("[CLS]", "[SEP]")
        assert scores[0] == 0 and np.all(scores[len(tokens) - 1 :] == 0)
        assert np.all(scores[1 : len(tokens) - 1] != 0), "words are removed and matter"


def test_a_marker_that_matters_gets_nothing_all_the_same():
    rows = numbers()

    def function(x):
        return x[:, 0, 0] + x[:, 1, 0] * x[:, 2, 0]

    kept = occlusion(subject_of(function, keep=(0,)), rows)
    free = occlusion(subject_of(function), rows)
    assert np.all(kept.scores[:, 0] == 0) and np.all(free.scores[:, 0] != 0)
    np.testing.assert_array_equal(kept.scores[:, 1:], free.scores[:, 1:])


def test_batches_order_and_memory_do_not_matter(bert):
    rows = texts(*LINES)
    whole = occlusion(bert, rows).scores
    for changed in (
        occlusion(bert, rows, batch_size=1),
        occlusion(bert, rows, max_memory=1),
        occlusion(bert, rows, progress=True),
    ):
        np.testing.assert_allclose(changed.scores, whole, atol=1e-12)
    turned = occlusion(bert, rows.take([3, 2, 1, 0])).scores
    np.testing.assert_allclose(turned[::-1], whole, atol=1e-12)


def test_linear_in_the_target():
    rows = numbers()

    def one(x):
        return torch.sin(x[:, 0, 0]) * x[:, 1, 0]

    def other(x):
        return torch.exp(x.sum(dim=(1, 2)))

    both = occlusion(subject_of(lambda x: 3 * one(x) - other(x)), rows).scores
    apart = 3 * occlusion(subject_of(one), rows).scores - occlusion(subject_of(other), rows).scores
    np.testing.assert_allclose(both, apart, atol=1e-12)


def test_the_value_is_the_models_score(bert):
    rows = texts(*LINES)
    np.testing.assert_allclose(occlusion(bert, rows).value, score(bert, rows))


def test_rows_that_cannot_be_used_are_refused(bert):
    rows = numbers()
    broken = Rows(ids=rows.ids, inputs={"x": np.where(np.arange(5)[:, None] == 3, np.nan, rows.inputs["x"])})
    subject = subject_of(lambda x: x.sum(dim=(1, 2)))
    with pytest.raises(DataError, match="'p3'"):
        occlusion(subject, broken)
    with pytest.raises(DataError, match="no rows"):
        occlusion(subject, rows.take([]))
    with pytest.raises(ModelError, match="batch_size is 0"):
        occlusion(subject, rows, batch_size=0)


def test_a_removal_that_has_no_finite_score_names_its_row():
    rows = numbers()
    with pytest.raises(DataError, match="5 of 5 rows"):
        occlusion(subject_of(lambda x: 1 / x[:, 0, 0]), rows)
