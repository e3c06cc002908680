"""Every label at once gives what each label alone gives, and runs the model once for all of them."""

import numpy as np
import pytest
import torch

from clinometer.errors import DataError, ModelError, UsageError
from clinometer.interpret.every_label import attribute_every_label
from clinometer.interpret.methods import attribute
from clinometer.interpret.models import load
from clinometer.records import Rows
from reference.model_folders import CORPUS, labelled, text_folder
from reference.subjects import applicants, fitted

TEXTS = Rows(ids=("a", "b", "c"), inputs={"text": np.array([*CORPUS[:2], "a film"], dtype=object)})


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    folder = tmp_path_factory.mktemp("three")
    text_folder(folder, "BertForSequenceClassification", **labelled("bad", "fair", "good"))
    return load(folder, dtype="float64")


def test_each_label_is_as_it_is_alone(subject):
    found = attribute_every_label(subject, TEXTS, nodes=40, most_nodes=40)
    assert list(found) == ["bad", "fair", "good"]
    for label, record in found.items():
        alone = attribute(subject, TEXTS, label=label, nodes=40, most_nodes=40)
        np.testing.assert_allclose(
            record.scores, alone.scores, atol=1e-7
        )  # captum keeps its nodes in float32
        np.testing.assert_allclose(record.value, alone.value, atol=1e-9)
        np.testing.assert_allclose(record.base_value, alone.base_value, atol=1e-9)
        assert (record.target, record.unit, record.method) == (alone.target, alone.unit, alone.method)
        np.testing.assert_array_equal(record.converged, alone.converged)
    np.testing.assert_allclose(sum(record.scores for record in found.values()), 0.0, atol=1e-9)
    assert np.abs(found["bad"].scores).max() > 1e-3


def test_the_model_runs_once_for_all_labels(subject):
    ran = []
    handle = subject.module.register_forward_hook(lambda module, args, output: ran.append(len(output.logits)))
    try:
        attribute_every_label(subject, TEXTS, nodes=10, most_nodes=10)
        together = sum(ran)
        ran.clear()
        for label in subject.labels:
            attribute(subject, TEXTS, label=label, nodes=10, most_nodes=10)
        apart = sum(ran)
    finally:
        handle.remove()
    assert together < 0.5 * apart


def test_rows_are_doubled_until_every_label_is_within_its_tolerance(subject):
    few = attribute_every_label(subject, TEXTS, nodes=2)
    assert all(record.converged.all() for record in few.values())
    assert (few["bad"].nodes > 2).any()
    stopped = attribute_every_label(subject, TEXTS, nodes=1, most_nodes=1)
    assert not all(record.converged.all() for record in stopped.values())


def test_batches_and_memory_change_nothing(subject):
    whole = attribute_every_label(subject, TEXTS)
    small = attribute_every_label(subject, TEXTS, batch_size=1, max_memory=1)
    for label in subject.labels:
        np.testing.assert_allclose(small[label].scores, whole[label].scores, atol=1e-9)


def test_tables_too():
    rows = applicants(20)
    table = fitted(rows, epochs=2, dtype=torch.float64)
    found = attribute_every_label(table, rows)
    np.testing.assert_allclose(found["denied"].scores, -found["approved"].scores, atol=1e-12)
    np.testing.assert_allclose(found["approved"].scores, attribute(table, rows).scores, atol=1e-8)


def test_what_has_no_labels_is_refused(subject, tmp_path):
    text_folder(tmp_path, "BertForSequenceClassification", **labelled("rating"))
    with pytest.raises(UsageError, match="no labels of its own"):
        attribute_every_label(load(tmp_path), TEXTS)
    with pytest.raises(ModelError, match="1 <= nodes"):
        attribute_every_label(subject, TEXTS, nodes=0)
    with pytest.raises(DataError, match="no rows"):
        attribute_every_label(subject, TEXTS.take([]))
