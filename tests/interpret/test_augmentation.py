"""Tuned on copies with identity swapped, a model tells a row from its copy less, and nothing leaks."""

import dataclasses

import numpy as np
import pytest
import torch

from clinometer.errors import DataError, UsageError
from clinometer.interpret.augmentation import tune_on_copies
from clinometer.interpret.edits import IN_WEIGHTS, save
from clinometer.interpret.held_out import split
from clinometer.interpret.models import Subject, load, score
from clinometer.records import Rows
from reference.edit_subjects import subject_and_rows
from reference.subjects import applicants, fitted

SWAPPED = {"rent": "own", "own": "rent"}


def with_copies(rows: Rows) -> tuple[Rows, tuple[str, ...]]:
    """Rows that rent or own, with the two exchanged, and the ids of the rows they were made of."""
    home = rows.inputs["home"]
    able = rows.take(np.flatnonzero(np.isin(home, list(SWAPPED))))
    swapped = np.array([SWAPPED[value] for value in able.inputs["home"]], dtype=object)
    copies = dataclasses.replace(
        able, ids=tuple(f"{name}'" for name in able.ids), inputs={**able.inputs, "home": swapped}, labels=None
    )
    return copies, able.ids


@pytest.fixture(scope="module")
def subject() -> Subject:
    return fitted(applicants(200), epochs=6)


@pytest.fixture(scope="module")
def rows() -> Rows:
    return applicants(300, seed=3)


def pair_difference(subject: Subject, rows: Rows) -> float:
    copies, originals = with_copies(rows)
    at = {name: i for i, name in enumerate(rows.ids)}
    own = score(subject, rows.take([at[name] for name in originals]))
    return float(np.abs(own - score(subject, copies)).mean())


def test_rows_and_copies_are_told_apart_less_on_rows_never_seen(subject, rows, tmp_path):
    copies, originals = with_copies(rows)
    fresh = applicants(300, seed=11)
    before = pair_difference(subject, fresh)
    scores = score(subject, fresh)
    found = []
    for consistency in (0.0, 1.0):
        tuned = tune_on_copies(
            subject, rows, copies, originals, learning_rate=3e-3, consistency=consistency, train_batch=64
        )
        found.append(pair_difference(tuned, fresh))
        told = tuned.edits[0]
        assert (told.way, told.n_rows, told.parameters["n_copies"]) == (IN_WEIGHTS, 300, len(copies))
        assert told.parameters["n_without_copy"] == 300 - len(copies)
        assert told.parameters["pair_difference_held_out"][1] < told.parameters["pair_difference_held_out"][0]
        assert len(told.parameters["validation_loss"]) == 4
    assert before > 2 * found[0] > 4 * found[1]
    assert np.array_equal(score(subject, fresh), scores)
    save(tuned, tmp_path / "tuned")
    again = load(tmp_path / "tuned")
    assert np.array_equal(score(again, fresh), score(tuned, fresh))
    assert again.provenance["edits"] == tuned.provenance["edits"]


def test_one_seed_gives_the_same_weights_and_leaves_random_numbers_alone(subject, rows):
    copies, originals = with_copies(rows)
    state = torch.get_rng_state()
    made = [
        tune_on_copies(
            subject, rows, copies, originals, learning_rate=1e-3, epochs=1, train_batch=64, seed=seed
        )
        for seed in (4, 4, 5)
    ]
    assert torch.equal(torch.get_rng_state(), state)
    assert made[0].edits[0].changed == made[1].edits[0].changed
    assert made[0].edits[0].changed != made[2].edits[0].changed
    assert made[0].edits[0].sha256 == made[1].edits[0].sha256


def test_where_no_epoch_is_better_the_weights_stay_as_they_were(subject, rows):
    copies, originals = with_copies(rows)
    tuned = tune_on_copies(subject, rows, copies, originals, learning_rate=0.0, epochs=1, train_batch=64)
    assert tuned.edits[0].parameters["kept_epoch"] is None
    assert tuned.edits[0].changed == {}
    assert np.array_equal(score(tuned, rows), score(subject, rows))


def test_the_loss_is_that_of_rows_and_copies_alike(subject, rows):
    """With no step taken the loss held out is what the scores say it is, by another way to reckon."""
    copies, originals = with_copies(rows)
    told = (
        tune_on_copies(
            subject, rows, copies, originals, learning_rate=0.0, epochs=1, consistency=2.0, held=0.5
        )
        .edits[0]
        .parameters
    )
    _, held = split(rows, np.asarray(rows.labels), held=0.5, clusters=None, seed=0)
    own, copy = score(subject, rows), dict(zip(originals, score(subject, copies), strict=True))
    losses, moved = [], []
    for i in held:
        sign = -1 if rows.labels[i] == 1 else 1
        other = copy.get(rows.ids[i], own[i])
        losses.append(
            (np.logaddexp(0, sign * own[i]) + np.logaddexp(0, sign * other)) / 2 + 2 * abs(own[i] - other)
        )
        moved += [abs(own[i] - other)] if rows.ids[i] in copy else []
    assert told["validation_loss_before"] == pytest.approx(float(np.mean(losses)), rel=1e-5)
    assert told["pair_difference_held_out"][0] == pytest.approx(float(np.mean(moved)), rel=1e-5)
    assert told["n_pairs_held_out"] == len(moved)


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_texts_of_other_lengths_than_their_copies_are_no_trouble(name, tmp_path):
    subject, rows = subject_and_rows(name, tmp_path)
    longer = np.array([f"{text} and a very good man" for text in rows.inputs["text"]], dtype=object)
    copies = Rows(ids=tuple(f"{i}'" for i in rows.ids), inputs={"text": longer})
    tuned = tune_on_copies(
        subject,
        rows,
        copies,
        rows.ids,
        learning_rate=3e-3,
        epochs=3,
        consistency=1.0,
        held=0.5,
        train_batch=4,
    )
    told = tuned.edits[0].parameters
    assert told["validation_loss"][told["kept_epoch"]] < told["validation_loss_before"]
    save(tuned, tmp_path / "tuned")
    assert np.array_equal(score(load(tmp_path / "tuned"), rows), score(tuned, rows))


# Refusals


def test_copies_that_belong_to_no_row_are_refused(subject, rows):
    copies, originals = with_copies(rows)
    with pytest.raises(DataError, match="1 of them unknown \\('nobody'\\)"):
        tune_on_copies(subject, rows, copies, ("nobody", *originals[1:]), learning_rate=1e-3)
    with pytest.raises(DataError, match="copies name 1 originals"):
        tune_on_copies(subject, rows, copies, originals[:1], learning_rate=1e-3)
    with pytest.raises(DataError, match="0 copies name 0 originals"):
        tune_on_copies(subject, rows, copies.take(np.array([], dtype=int)), (), learning_rate=1e-3)
    lacking = dataclasses.replace(copies, inputs={"home": copies.inputs["home"]})
    with pytest.raises(DataError, match="lack the column"):
        tune_on_copies(subject, rows, lacking, originals, learning_rate=1e-3)


def test_rows_and_settings_that_make_no_sense_are_refused(subject, rows):
    copies, originals = with_copies(rows)
    with pytest.raises(DataError, match="no validation rows"):
        tune_on_copies(subject, rows.take(np.array([], dtype=int)), copies, originals, learning_rate=1e-3)
    with pytest.raises(DataError, match="no labels"):
        tune_on_copies(subject, dataclasses.replace(rows, labels=None), copies, originals, learning_rate=1e-3)
    with pytest.raises(UsageError, match="consistency is -1"):
        tune_on_copies(subject, rows, copies, originals, learning_rate=1e-3, consistency=-1.0)
    with pytest.raises(UsageError, match="between 0 and 1"):
        tune_on_copies(subject, rows, copies, originals, learning_rate=1e-3, held=0.0)
    with pytest.raises(UsageError, match="epochs is 0"):
        tune_on_copies(subject, rows, copies, originals, learning_rate=1e-3, epochs=0)
