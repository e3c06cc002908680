"""What an input is compared with: only what the subject's own reference replaces, and said in words."""

import numpy as np
import pytest
import torch

from clinometer.errors import DataError, UsageError
from clinometer.interpret.baselines import compared
from clinometer.interpret.methods import attribute
from clinometer.interpret.models import load
from clinometer.records import Rows
from reference.model_folders import CORPUS, text_folder
from reference.subjects import applicants, fitted

TEXTS = Rows(ids=("a", "b"), inputs={"text": np.array([CORPUS[0], "a film"], dtype=object)})


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reader")
    text_folder(folder, "BertForSequenceClassification")
    return load(folder, dtype="float64")


@pytest.fixture(scope="module")
def table():
    rows = applicants(64)
    return fitted(rows, epochs=3, dtype=torch.float64), rows


def moved(subject, rows):
    batch = subject.encode(rows)
    with torch.no_grad():
        return subject.embed(batch), subject.reference(batch)


def test_a_named_token_stands_where_the_mask_stood_and_nowhere_else(reader):
    embedded, own = moved(reader, TEXTS)
    (other,) = compared(reader, "padding")
    _, padding = moved(other, TEXTS)
    replaced = (embedded != own).any(dim=2)
    assert replaced.sum() == len(reader.names(TEXTS)[0]) - 2 + 2, "all but [CLS], [SEP] and padding"
    pad = reader.module.get_input_embeddings().weight[reader.fillers["padding"]]
    torch.testing.assert_close(padding[replaced], pad.expand(int(replaced.sum()), -1))
    assert torch.equal(padding[~replaced], embedded[~replaced])
    assert "[PAD]" in other.baseline
    assert (
        np.abs(attribute(reader, TEXTS, baseline="padding").scores - attribute(reader, TEXTS).scores).max()
        > 1e-3
    )


def test_zero_is_zero_and_says_so(reader):
    (other,) = compared(reader, "zero")
    embedded, made = moved(other, TEXTS)
    assert (made == 0).all(dim=2).sum() == (embedded != made).any(dim=2).sum() > 0
    assert "zero vector" in other.baseline


def test_the_mean_is_the_mean(reader, table):
    subject, rows = table
    (other,) = compared(subject, "mean", background=rows)
    embedded, made = moved(other, rows)
    _, own = moved(subject, rows)
    changed = (embedded != own).any(dim=2)
    mean = embedded.mean(dim=0).expand_as(embedded)
    torch.testing.assert_close(made[changed], mean[changed])
    (of_texts,) = compared(reader, "mean", background=TEXTS)
    embedded, made = moved(of_texts, TEXTS)
    _, own = moved(reader, TEXTS)
    changed = (embedded != own).any(dim=2)
    torch.testing.assert_close(made[changed][0], embedded[changed].mean(dim=0))


def test_several_rows_are_an_expectation(table):
    subject, rows = table
    few, references = rows.take(range(6)), rows.take([10, 11, 12])
    together = attribute(subject, few, baseline=references)
    apart = [attribute(subject, few, baseline=references.take([i])) for i in range(3)]
    np.testing.assert_allclose(together.scores, np.mean([one.scores for one in apart], axis=0))
    np.testing.assert_allclose(together.base_value, np.mean([one.base_value for one in apart], axis=0))
    np.testing.assert_allclose(
        together.residual, np.mean([one.residual for one in apart], axis=0), atol=1e-12
    )
    assert together.converged.all() and (together.nodes >= 60).all(), "the cost of all three is counted"
    assert together.baseline == "each of 3 rows, averaged"
    itself = attribute(subject, rows.take([10]), baseline=rows.take([10]))
    np.testing.assert_array_equal(itself.scores, 0.0)


def test_what_cannot_be_compared_is_refused(reader, table):
    subject, rows = table
    with pytest.raises(UsageError, match="no mask token"):
        compared(subject, "mask")
    with pytest.raises(UsageError, match="background=rows"):
        compared(subject, "mean")
    with pytest.raises(UsageError, match="did you mean 'padding'"):
        compared(reader, "pading")
    with pytest.raises(DataError, match="'b' has 4 tokens"):
        attribute(reader, TEXTS.take([0]), baseline=TEXTS.take([1]))
    with pytest.raises(UsageError, match="compares the input with nothing"):
        attribute(reader, TEXTS, "gradient x input", baseline="mask")
    with pytest.raises(DataError, match="no rows"):
        compared(subject, rows.take([]))
