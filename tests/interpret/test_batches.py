"""Rows run together by length and memory, fewer where it runs out; and tokens taken away change only themselves."""

import numpy as np
import pytest
import torch

from clinometer.errors import ModelError
from clinometer.interpret.batches import backing_off, bucketed, repeated, rows_at_once, storages
from clinometer.interpret.methods import attribute
from clinometer.interpret.models import load, score
from clinometer.interpret.players import players
from clinometer.records import Rows
from reference.model_folders import CORPUS, labelled, text_folder


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reader")
    text_folder(folder, "BertForSequenceClassification", **labelled("bad", "good"))
    return load(folder, dtype="float64")


ROWS = Rows(
    ids=("a", "b", "c"), inputs={"text": np.array([CORPUS[0], "a film", "is it good?"], dtype=object)}
)


def test_rows_of_about_one_length_go_together_and_each_goes_once():
    made = bucketed([5, 1, 9, 1, 5, 20, 24, 26], 2)
    assert [list(part) for part in made] == [[1, 3], [0, 4], [2], [5, 6], [7]]
    alike = bucketed([20, 25, 26, 21, 20], 64)
    assert [list(part) for part in alike] == [[0, 4, 3, 1], [2]], (
        "no row is padded by more than 15 % and two tokens"
    )
    assert sorted(int(i) for part in made for i in part) == list(range(8))
    with pytest.raises(ModelError, match="batch_size is 0"):
        bucketed([1], 0)


def test_what_is_kept_grows_with_length_and_the_plan_shrinks_with_it(subject):
    short = subject.encode(ROWS.take([1]))
    long = subject.encode(ROWS.take([0]))
    some = rows_at_once(subject, short, 10**7), rows_at_once(subject, long, 10**7)
    assert some[0] > some[1] > 1
    assert rows_at_once(subject, long, 2 * 10**7) == pytest.approx(2 * some[1], abs=1)
    assert rows_at_once(subject, long, 1) == 1, "one row at least"
    assert rows_at_once(subject, subject.encode(ROWS), 10**7) == rows_at_once(
        subject, subject.encode(ROWS), 10**7
    )


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("full"),
        MemoryError("full"),
        RuntimeError("not enough memory: tried 9 GB"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"),
    ],
)
def test_half_as_many_rows_until_it_fits(error):
    tried = []

    def run(at_once):
        tried.append(at_once)
        if at_once > 3:
            raise error
        return at_once

    assert backing_off(run, 16, "a method") == 2
    assert tried == [16, 8, 4, 2]


def test_one_row_that_does_not_fit_and_any_other_error_are_not_hidden():
    def never(at_once):
        raise MemoryError("full")

    with pytest.raises(ModelError, match="one row at a time"):
        backing_off(never, 4, "a method")

    def broken(at_once):
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        backing_off(broken, 4, "a method")


def test_memory_decides_the_speed_and_not_the_answer(subject):
    plenty = attribute(subject, ROWS)
    little = attribute(subject, ROWS, max_memory=1)
    np.testing.assert_allclose(little.scores, plenty.scores, atol=1e-9)


def test_memory_that_runs_out_within_a_method_is_survived(subject, monkeypatch):
    expected = attribute(subject, ROWS, "gradient x input").scores
    import captum.attr

    original, failed = captum.attr.InputXGradient.attribute, []

    def short_of_memory(self, inputs, **more):
        if len(inputs) > 1:
            failed.append(len(inputs))
            raise torch.OutOfMemoryError("full")
        return original(self, inputs, **more)

    monkeypatch.setattr(captum.attr.InputXGradient, "attribute", short_of_memory)
    np.testing.assert_allclose(attribute(subject, ROWS, "gradient x input").scores, expected, atol=1e-9)
    assert failed, "it did run out of memory"


def test_a_batch_is_repeated_row_by_row(subject):
    batch = subject.encode(ROWS)
    again = repeated(batch, [2, 0, 2])
    assert torch.equal(again["input_ids"], batch["input_ids"][[2, 0, 2]])


def test_tokens_taken_away_are_the_baselines_and_the_rest_stay(subject):
    names = subject.names(ROWS)
    for group in players(subject, ROWS, names):
        which = np.arange(len(group.index))
        whole = group.scores(which, group.all_kept())
        np.testing.assert_allclose(whole, score(subject, ROWS)[group.index], atol=1e-9)
        for i, places in zip(group.index, group.places, strict=True):
            inside = [at for at, name in enumerate(names[i]) if name not in ("[CLS]", "[SEP]")]
            assert list(places) == inside, "markers and padding are no players"
        with torch.no_grad():
            nothing = subject.select(subject.forward(group.batch, group.reference)).numpy()
        np.testing.assert_allclose(group.scores(which, group.none_kept()), nothing, atol=1e-9)
        one = group.all_kept()[:1]
        one[0, group.places[0][0]] = False
        assert abs(group.scores([0], one)[0] - whole[0]) > 1e-6


def test_the_memory_of_a_tensor_that_stands_for_others_is_theirs() -> None:
    """Weights in 8 bits are such: their own storage has no address."""
    from torch.testing._internal.two_tensor import TwoTensor

    one, other = torch.ones(3), torch.ones(5, dtype=torch.int8)
    both = TwoTensor(one, torch.ones(3))
    with pytest.raises(RuntimeError, match="storage"):
        both.untyped_storage().data_ptr()
    assert [storage.data_ptr() for storage in storages(both)] == [both.a.data_ptr(), both.b.data_ptr()]
    assert [storage.nbytes() for storage in storages(other)] == [5]
