"""A student agrees with its teacher on rows never seen, more than one taught by few labels; seeded, saved."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from clinometer.errors import DataError, UsageError
from clinometer.interpret.distillation import Lesson, distil, divergence
from clinometer.interpret.edits import save
from clinometer.interpret.models import load, score
from clinometer.interpret.preprocessing import TablePreprocessor, TextPreprocessor
from clinometer.interpret.tracing import certify
from reference.sentences import bert_classifier, sentences
from reference.subjects import applicants, fitted

ROWS = applicants(700, seed=1)
TAUGHT, HELD, TEST = (ROWS.take(range(a, b)) for a, b in ((300, 500), (500, 560), (560, 700)))
SMALL = {"layers": 1, "heads": 1, "width": 8, "batch_size": 50, "learning_rate": 1e-2, "warm_up": 5}


def reader():
    numeric = [name for name, column in ROWS.inputs.items() if column.dtype.kind == "f"]
    return TablePreprocessor.fit(
        ROWS.inputs, numeric=numeric, categorical=[name for name in ROWS.inputs if name not in numeric]
    )


@pytest.fixture(scope="module")
def teacher():
    return fitted(ROWS.take(range(300)), epochs=8)


def outputs(subject, rows=TEST):
    with torch.no_grad():
        return subject.forward(subject.encode(rows), None)


def agreement(one, other):
    return float(((score(one, TEST) > 0) == (score(other, TEST) > 0)).mean())


@pytest.mark.parametrize("seed", [0, 1])
def test_a_student_of_unlabelled_rows_is_nearer_to_the_teacher_than_one_of_few_labels(teacher, seed):
    unlabelled = [dataclasses.replace(rows, labels=None) for rows in (TAUGHT, HELD)]
    student = distil(teacher, *unlabelled, reader(), lesson=Lesson(hard=0), seed=seed, epochs=12, **SMALL)
    few = TAUGHT.take(range(30)), TAUGHT.take(range(30, 60))
    scratch = distil(teacher, *few, reader(), lesson=Lesson(hard=1), seed=seed, epochs=30, **SMALL)
    far = float(divergence(outputs(teacher), outputs(scratch)))
    assert float(divergence(outputs(teacher), outputs(student))) < far / 2
    assert agreement(teacher, student) > agreement(teacher, scratch)
    assert agreement(teacher, student) > 0.93
    assert sum(p.numel() for p in student.module.parameters()) < sum(
        p.numel() for p in teacher.module.parameters()
    )


def test_more_epochs_bring_the_student_nearer(teacher):
    apart = []
    for epochs in (1, 3, 10):
        student = distil(teacher, TAUGHT, HELD, reader(), epochs=epochs, **SMALL)
        apart.append(float(divergence(outputs(teacher), outputs(student))))
    assert apart[0] > apart[1] > apart[2]


def test_one_seed_one_student_and_torch_is_left_as_it_was(teacher):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    settings = {"epochs": 2, **SMALL}
    one, two, other = (distil(teacher, TAUGHT, HELD, reader(), seed=seed, **settings) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(score(one, TEST), score(two, TEST))
    assert not np.array_equal(score(one, TEST), score(other, TEST))


def test_a_student_is_saved_and_loaded_bit_for_bit_and_traced_like_any_other(teacher, tmp_path):
    threshold = dataclasses.replace(teacher, threshold=0.25)
    student = distil(threshold, TAUGHT, HELD, reader(), epochs=2, **SMALL)
    assert (student.labels, student.positive, student.threshold) == (teacher.labels, teacher.positive, 0.25)
    save(student, tmp_path / "student")
    again = load(tmp_path / "student")
    np.testing.assert_array_equal(score(again, TEST), score(student, TEST))
    assert again.threshold == 0.25 and again.target == teacher.target
    told = again.provenance["training"]
    assert told["distilled from"] == "planted" and told["rows"] == 200 and told["epochs"] == 2
    assert max(certify(again, TEST)["layers"].values()) < 1e-5


def test_a_model_of_another_kind_can_teach():
    rows = sentences(60)
    student = distil(
        bert_classifier(),
        rows.take(range(40)),
        rows.take(range(40, 60)),
        TextPreprocessor.fit(rows.inputs),
        lesson=Lesson(hard=0),
        epochs=1,
        **SMALL,
    )
    assert student.labels == ("negative", "positive") and score(student, rows).shape == (60,)


def test_the_loss_is_the_one_of_the_paper():
    student = torch.tensor([[0.2, -0.4, 1.0], [0.5, 0.1, -0.3]], dtype=torch.float64)
    teacher = torch.tensor([[1.0, 0.0, -1.0], [0.3, 0.2, 0.1]], dtype=torch.float64)
    truth = [2, 0]

    def softmax(row, t=1.0):
        powers = [math.exp(value / t) for value in row]
        return [power / sum(powers) for power in powers]

    soft = hard = 0.0
    for s, p, label in zip(student.tolist(), teacher.tolist(), truth, strict=True):
        wanted, given = softmax(p, 3.0), softmax(s, 3.0)
        soft += 9 * sum(w * math.log(w / g) for w, g in zip(wanted, given, strict=True)) / 2
        hard += -math.log(softmax(s)[label]) / 2
    wanted = torch.cat([teacher, torch.tensor(truth, dtype=torch.float64)[:, None]], dim=1)
    for weight in (0.0, 0.3, 1.0):
        made = float(Lesson(temperature=3.0, hard=weight).loss(student, wanted))
        assert made == pytest.approx((1 - weight) * soft + weight * hard, abs=1e-12)


def test_one_output_is_taught_by_squared_errors():
    wanted = torch.tensor([[1.0, 3.0], [2.0, 2.0]])
    made = Lesson(hard=0.25).loss(torch.tensor([[0.0], [2.0]]), wanted)
    assert float(made) == pytest.approx(0.75 * 0.5 + 0.25 * 4.5)


def test_what_cannot_be_taught_is_refused(teacher):
    with pytest.raises(UsageError, match="temperature is 0"):
        Lesson(temperature=0)
    with pytest.raises(UsageError, match="hard is 2"):
        Lesson(hard=2)
    without = dataclasses.replace(TAUGHT, labels=None)
    with pytest.raises(DataError, match=r"training rows have no labels.*Lesson\(hard=0\)"):
        distil(teacher, without, HELD, reader(), **SMALL)
    strange = dataclasses.replace(HELD, labels=np.full(len(HELD), 7))
    with pytest.raises(DataError, match=r"60 validation labels .* 'a0500: 7'"):
        distil(teacher, TAUGHT, strange, reader(), **SMALL)
    with pytest.raises(DataError, match="no training rows"):
        distil(teacher, TAUGHT.take([]), HELD, reader(), **SMALL)
    with pytest.raises(UsageError, match="not a multiple of 3 heads"):
        distil(teacher, TAUGHT, HELD, reader(), **{**SMALL, "heads": 3})
