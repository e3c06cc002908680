"""What rows lose is cross-entropy or a squared error, and labels that mean nothing are refused."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from clinometer.errors import DataError
from clinometer.interpret.label_losses import label_losses, label_tensor, right
from clinometer.interpret.models import Subject, wrap
from clinometer.records import Rows


def subject_of(*labels: str, positive: str | None = None) -> Subject:
    module = torch.nn.Linear(2, len(labels)).eval()
    return wrap(module, lambda batch: module(batch["x"]), labels=labels, positive=positive)


def rows_with(labels: object) -> Rows:
    n = len(labels)
    return Rows(ids=tuple(f"r{i}" for i in range(n)), inputs={"x": np.zeros((n, 2))}, labels=labels)


def test_two_labels_lose_their_cross_entropy():
    outputs = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 1, 0, 1])
    found = label_losses(subject_of("no", "yes"), outputs, labels)
    assert torch.allclose(found, F.cross_entropy(outputs, labels, reduction="none"))
    turned = label_losses(subject_of("yes", "no", positive="yes"), outputs.flip(1), labels)
    assert torch.allclose(turned, found)
    assert torch.equal(right(subject_of("no", "yes"), outputs, labels), outputs.argmax(dim=1) == labels)


def test_more_labels_lose_theirs_and_a_regression_its_square():
    outputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([2, 0, 1, 1])
    many = subject_of("a", "b", "c")
    assert torch.allclose(
        label_losses(many, outputs, labels), F.cross_entropy(outputs, labels, reduction="none")
    )
    assert torch.equal(right(many, outputs, labels), outputs.argmax(dim=1) == labels)
    one = subject_of("price")
    numbers = label_tensor(one, rows_with(np.array([0.5, 2.0])))
    assert label_losses(one, torch.tensor([[1.5], [2.0]]), numbers).tolist() == [1.0, 0.0]
    assert right(one, torch.tensor([[1.5], [2.0]]), numbers) is None
    classes = label_tensor(one, rows_with(np.array([1, 0])))
    assert label_losses(one, torch.zeros(2, 1), classes).tolist() == pytest.approx([np.log(2)] * 2)


def test_without_a_threshold_nothing_is_right_or_wrong():
    none = dataclasses.replace(subject_of("no", "yes"), threshold=float("nan"))
    assert right(none, torch.zeros(1, 2), torch.tensor([1])) is None


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            np.array([0, 1, 2]),
            r"1 labels are no whole number from 0 to 1; first rows: 'r2' \('2'\). 1 is the positive",
        ),
        (np.array([0.0, 0.5]), "1 labels are no whole number"),
        (np.array(["no", "yes"]), "2 labels are no whole number"),
        (np.array([0, -1]), "no whole number"),
    ],
)
def test_labels_that_are_no_classes_are_refused(labels, message):
    with pytest.raises(DataError, match=message):
        label_tensor(subject_of("no", "yes"), rows_with(labels))


def test_missing_rows_labels_and_numbers_are_refused():
    subject = subject_of("no", "yes")
    with pytest.raises(DataError, match="no validation rows"):
        label_tensor(subject, rows_with(np.array([], dtype=np.int64)))
    with pytest.raises(DataError, match="the rows have no labels"):
        label_tensor(subject, dataclasses.replace(rows_with(np.array([1])), labels=None))
    with pytest.raises(DataError, match="without a finite label: 'r1'"):
        label_tensor(subject_of("price"), rows_with(np.array([1.0, np.nan])))
    with pytest.raises(DataError, match="Places among 'a', 'b', 'c'"):
        label_tensor(subject_of("a", "b", "c"), rows_with(np.array([3])))
