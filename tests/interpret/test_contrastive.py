"""Shares along a swap add up to the change of the score; equal words get nothing; texts are aligned or refused."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from clinometer.bias.swapped_contrasts import change_gap, pair_rows, swapped_gap
from clinometer.bias.swapped_rows import swapped
from clinometer.bias.word_ledger import word_ledger
from clinometer.errors import DataError, ModelError, UsageError
from clinometer.interpret.aligned_texts import aligned
from clinometer.interpret.contrastive import FILLING, along_swaps
from clinometer.interpret.gradients import integrated_gradients
from clinometer.interpret.models import ours, score, wrap
from clinometer.interpret.preprocessing import SeriesPreprocessor
from clinometer.interpret.soft_targets import softened
from clinometer.interpret.transformer import Architecture, Classifier
from clinometer.records import Rows
from reference.dividing import along
from reference.sentences import bert_classifier, own_classifier, sentences, texts
from reference.subjects import applicants, fitted

BEFORE = texts(
    "the film was a good story", "one actor was bad", "a dull actor", "the scene was awful and a film"
)
AFTER = texts(
    "the film was a bad story",
    "one actor was great",
    "a great fine film with actor",
    "the scene was fine and a film",
)


@pytest.fixture(scope="module", params=["own", "bert"])
def subject(request):
    return own_classifier(sentences(80), epochs=2) if request.param == "own" else bert_classifier()


def named(record, row):
    return dict(zip(record.tokens[row], record.scores[row], strict=False))


def test_shares_are_the_change_of_the_score(subject):
    made = along_swaps(subject, BEFORE, AFTER)
    assert made.ids == AFTER.ids and made.converged.all()
    np.testing.assert_allclose(made.value, score(subject, AFTER), atol=1e-5)
    np.testing.assert_allclose(made.base_value, score(subject, BEFORE), atol=1e-5)
    np.testing.assert_array_less(np.abs(made.residual), made.tolerance + 1e-5)
    assert np.abs(made.value - made.base_value).max() > 10 * np.abs(made.residual).max()
    assert made.target == subject.target and "before the swap" in made.baseline


def test_a_word_that_stays_gets_nothing_and_the_replaced_one_everything(subject):
    made = along_swaps(subject, BEFORE, AFTER)
    first = named(made, 0)
    assert {token for token, share in first.items() if share} == {"good -> bad"}
    assert first["good -> bad"] == pytest.approx(
        made.value[0] - made.base_value[0], abs=made.tolerance[0] + 1e-5
    )


def test_it_is_integrated_gradients_with_the_original_as_baseline(subject):
    """One pair at a time, against the method itself with that row in the baseline's place."""
    from clinometer.interpret.baselines import compared

    (against,) = compared(subject, BEFORE.take([3]))
    expected = integrated_gradients(against, AFTER.take([3]))
    made = along_swaps(subject, BEFORE.take([3]), AFTER.take([3]))
    width = expected.scores.shape[1]
    np.testing.assert_allclose(made.scores[0, :width], expected.scores[0], atol=1e-5)


def test_slow_twin():
    """A small model in float64, the path walked in many steps with a gradient by hand."""
    torch.manual_seed(0)
    weight = torch.randn(3, dtype=torch.float64)
    subject = wrap(
        nn.Linear(1, 1).eval(),
        lambda batch, embedded: (
            torch.tanh(((batch["x"] if embedded is None else embedded) * weight).sum(dim=2)).sum(
                dim=1, keepdim=True
            )
            ** 2
        ),
        encode=lambda rows: {"x": torch.from_numpy(rows.inputs["x"])},
        embed=lambda batch: batch["x"],
        reference=lambda batch: torch.zeros_like(batch["x"]),
        baseline="zero",
    )
    generator = np.random.default_rng(0)
    start, end = generator.normal(size=(2, 4, 5, 3))
    rows = [Rows(ids=tuple("abcd"), inputs={"x": x}) for x in (start, end)]
    made = along_swaps(subject, *rows)

    def gradient(x):
        inner = np.tanh(x @ weight.numpy())
        return 2 * inner.sum() * (1 - inner**2)[:, None] * weight.numpy()

    for row in range(4):
        expected = along(None, start[row], end[row], gradient)
        np.testing.assert_allclose(made.scores[row, :5], expected, atol=made.tolerance[row])
    exact = along_swaps(subject, *rows, nodes=60)
    np.testing.assert_allclose(exact.scores[0, :5], along(None, start[0], end[0], gradient), atol=1e-6)


def test_turning_the_pair_turns_the_signs(subject):
    there, back = along_swaps(subject, BEFORE, AFTER), along_swaps(subject, AFTER, BEFORE)
    for row in (0, 1, 3):
        np.testing.assert_allclose(there.scores[row], -back.scores[row], atol=2e-3)


def test_words_are_tokens_added_up_and_pieces_stay_whole(subject):
    tokens, pieces = along_swaps(subject, BEFORE, AFTER), along_swaps(subject, BEFORE, AFTER, unit="word")
    np.testing.assert_allclose(tokens.scores.sum(axis=1), pieces.scores.sum(axis=1), atol=1e-9)
    assert "dull -> great fine film with" in pieces.tokens[2]
    assert "dull -> great" in tokens.tokens[2] and "- -> fine" in tokens.tokens[2]


def test_the_shorter_text_is_filled_up_and_what_that_does_is_a_share_of_its_own(subject):
    made = along_swaps(subject, BEFORE, AFTER)
    assert [row[-1] == FILLING for row in made.tokens] == [False, False, True, False]
    assert "1 of 4 pairs were filled up" in made.notes[0]
    laid = aligned(subject, BEFORE, AFTER)[2]
    assert len(laid.fills[0]) == 3 and not laid.fills[1]
    assert len(subject.names(texts(laid.texts[0]))[0]) == len(laid.names)
    # Where the texts are filled, the ends of the path are other texts: the share is what is measured between them.
    assert abs(named(made, 2)[FILLING]) > 0
    assert named(made, 2).keys() >= {"dull -> great", "- -> with", FILLING}


def test_two_replaced_pieces_that_make_up_for_one_another_are_each_aligned(subject):
    laid = aligned(subject, texts("a good film was fine"), texts("a great lovely film was"))[0]
    shown = [name for name in laid.names if "->" in name]
    assert shown == ["good -> great", "- -> lovely", "fine -> -"]
    assert [len(part) for part in laid.fills] == [1, 1]
    made = along_swaps(subject, texts("a good film was fine"), texts("a great lovely film was"))
    assert made.converged.all()


def test_a_soft_decision_is_divided_too(subject):
    soft = softened(subject, temperature=0.5)
    made = along_swaps(soft, BEFORE, AFTER, nodes=40)
    assert made.converged.all() and made.unit == "soft decision" and made.target.startswith("sigmoid((")
    assert ((made.value > 0) & (made.value < 1)).all()
    np.testing.assert_allclose(made.value, 1 / (1 + np.exp(-score(subject, AFTER) / 0.5)), atol=1e-5)


def test_tables_series_and_ledgers_of_changes_add_up():
    people = applicants(60, see_race=True)
    table = fitted(people, epochs=1)
    other = people.take(range(60))
    race = people.inputs["race"]
    other = dataclasses.replace(
        other, inputs={**other.inputs, "race": np.where(race == "black", "white", "black").astype(object)}
    )
    made = along_swaps(table, people, other)
    assert made.converged.all()
    assert {
        n for n, share in zip(made.tokens[0], np.abs(made.scores).sum(axis=0), strict=False) if share
    } == {"race"}
    generator = np.random.default_rng(0)
    series = generator.normal(size=(6, 12, 2))
    preprocessor = SeriesPreprocessor.fit({"series": series}, channels=["x", "y"], patch=4, stride=4)
    torch.manual_seed(0)
    model = Classifier(
        Architecture(
            kind="series", width=8, layers=1, heads=2, feed_forward=16, dropout=0.0, **preprocessor.shape()
        )
    )
    moving = ours(model, preprocessor, labels=("no", "yes"))
    shifted = series.copy()
    shifted[:, 4:8] += 2.0
    rows = [Rows(ids=tuple("abcdef"), inputs={"series": x}) for x in (series, shifted)]
    found = along_swaps(moving, *rows)
    assert found.converged.all() and np.abs(found.scores[:, 1]).min() > 0
    assert np.abs(found.scores[:, [0, 2]]).max() == 0


def test_both_ledgers_of_swapped_texts_have_one_gap(subject):
    lines = [f"{noun} {verb} a {word} film" for noun in ("actor", "actress") for verb in ("was", "and") for word in
             ("good", "bad", "fine", "dull")]  # fmt: skip
    pairs = swapped(texts(*lines), "gendered nouns")
    changed = along_swaps(subject, pairs.originals, pairs.rows, unit="word")
    by_change = ledger_of(changed, change_gap(pairs, "female", "male"))
    both = integrated_gradients(subject, pair_rows(pairs), nodes=40)
    by_rows = word_ledger(both, swapped_gap(pairs, "female", "male"), minimum=2, replicates=60)
    assert by_change.gap == pytest.approx(by_rows.gap, abs=1e-5)
    for entry in (by_change, by_rows):
        assert sum(s.estimate for s in entry.shares) + entry.residual == pytest.approx(entry.gap, abs=1e-12)
    assert abs(by_change.residual) <= changed.tolerance.mean() + 1e-5


def ledger_of(changed, gap):
    return word_ledger(changed, gap, minimum=2, replicates=60)


def test_what_cannot_be_aligned_is_refused(subject):
    with pytest.raises(DataError, match="2 originals and 4 swapped"):
        along_swaps(subject, BEFORE.take([0, 1]), AFTER)
    with pytest.raises(DataError, match="the same number, above 0"):
        along_swaps(subject, BEFORE.take([]), AFTER.take([]))
    with pytest.raises(UsageError, match="'token' or 'word'"):
        along_swaps(subject, BEFORE, AFTER, unit="sentence")
    with pytest.raises(ModelError, match="nodes is 0"):
        along_swaps(subject, BEFORE, AFTER, nodes=0)
    with pytest.raises(DataError, match="cannot be aligned by name"):
        along_swaps(subject, texts("the film was good"), texts("one actor and a dull poor story with scene"))
    bare = dataclasses.replace(subject, fillers={})
    with pytest.raises(ModelError, match="no token that stands for nothing"):
        along_swaps(bare, BEFORE, AFTER)
    with pytest.raises(UsageError, match="temperature above 0"):
        softened(subject, temperature=0)


def test_pairs_that_differ_in_more_than_embeddings_are_refused():
    def forward(batch, embedded):
        x = batch["x"] if embedded is None else embedded
        return (x.sum(dim=(1, 2)) + batch["mask"].sum(dim=1))[:, None]

    subject = wrap(
        nn.Linear(1, 1).eval(),
        forward,
        encode=lambda rows: {
            "x": torch.from_numpy(rows.inputs["x"]),
            "mask": torch.from_numpy(rows.inputs["mask"]),
        },
        embed=lambda batch: batch["x"],
        reference=lambda batch: torch.zeros_like(batch["x"]),
        baseline="zero",
    )
    x, masks = np.random.default_rng(0).normal(size=(2, 3, 4, 2)), np.ones((2, 3, 4))
    rows = [Rows(ids=tuple("abc"), inputs={"x": a, "mask": m}) for a, m in zip(x, masks, strict=True)]
    assert along_swaps(subject, *rows).converged.all()
    masks[1, 2] = 0
    with pytest.raises(ModelError, match="1 pairs differ in more than their embeddings"):
        along_swaps(subject, *rows)
    wide = dataclasses.replace(rows[1], inputs={"x": x[1][:, :3], "mask": masks[1][:, :3]})
    with pytest.raises(DataError, match="other tokens than their originals"):
        along_swaps(subject, rows[0], wide)
