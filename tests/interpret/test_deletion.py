"""Tokens taken away and put back: the fast way equals a loop over rows and sets, and infidelity equals captum's."""

import numpy as np
import pytest
import torch

from clinometer.errors import UsageError
from clinometer.interpret.deletion import ends, n_taken, removals
from clinometer.interpret.infidelity import drops, infidelity
from clinometer.interpret.measures import of_removals
from clinometer.interpret.outcomes import supports, watched
from reference.functions import numbers, subject_of
from reference.removing import measures, players
from reference.sentences import own_classifier, sentences

SHARES, ERASER = (0.1, 0.3, 0.5), (0.01, 0.2, 0.5)


@pytest.fixture(scope="module")
def rows():
    return sentences(24, seed=1)


@pytest.fixture(scope="module")
def subject(rows):
    return own_classifier(rows)


def scored(subject, rows, n_orders=2, seed=0):
    names = subject.names(rows)
    width = max(len(tokens) for tokens in names)
    return names, np.random.default_rng(seed).normal(size=(n_orders, len(rows), width))


def test_equal_to_a_slow_twin_that_runs_one_set_at_a_time(subject, rows):
    question = watched(subject, rows, "prediction")
    names, scores = scored(subject, rows)
    made = removals(question.outcome, rows, names, scores, (0.01, 0.1, 0.2, 0.3, 0.5))
    found = of_removals(made, question.side, SHARES, ERASER)
    with torch.no_grad():
        chosen = subject.forward(subject.encode(rows), None).argmax(dim=1)
    for i in range(0, len(rows), 5):
        assert made.places[i].tolist() == players(subject, rows, i)

        def probability(outputs, label=int(chosen[i])):
            return float(outputs.softmax(dim=0)[label])

        for order in range(2):
            slow = measures(subject, rows, i, scores[order, i], probability, SHARES, ERASER)
            for name, value in slow.items():
                np.testing.assert_allclose(found[name][order, i], value, atol=1e-6, err_msg=name)


def test_rows_beside_a_row_and_the_size_of_batches_change_nothing(subject, rows):
    names, scores = scored(subject, rows)
    whole = removals(subject, rows, names, scores, SHARES)
    small = removals(subject, rows, names, scores, SHARES, batch_size=5)
    few = removals(subject, rows.take([3, 8]), [names[3], names[8]], scores[:, [3, 8]], SHARES)
    for part in ("whole", "nothing", "without_first", "without_last", "only_first"):
        np.testing.assert_allclose(getattr(whole, part), getattr(small, part), atol=1e-5)
    np.testing.assert_allclose(whole.without_first[:, [3, 8]], few.without_first, atol=1e-5)


def test_equal_scores_are_ordered_by_chance_that_belongs_to_the_row(subject, rows):
    names, scores = scored(subject, rows)
    level = np.zeros_like(scores)
    one, again = (removals(subject, rows, names, level, (0.5,), batch_size=size) for size in (64, 5))
    other = removals(subject, rows, names, level, (0.5,), seed=1)
    np.testing.assert_allclose(one.without_first, again.without_first, atol=1e-5)
    assert np.abs(one.without_first - other.without_first).max() > 1e-3
    np.testing.assert_array_equal(one.without_first[0], one.without_first[1])  # the same for all orders


def test_no_set_of_tokens_is_run_twice(subject, rows):
    names, scores = scored(subject, rows, n_orders=1)
    one = removals(subject, rows, names, scores, SHARES)
    twice = removals(subject, rows, names, np.concatenate([scores, scores * 3]), SHARES)
    assert twice.n_runs == one.n_runs
    other = removals(subject, rows, names, np.concatenate([scores, -scores]), SHARES)
    assert other.n_runs > one.n_runs


def test_markers_are_never_taken_away_and_a_row_of_markers_has_no_measure():
    subject = subject_of(lambda points: points.sum(dim=(1, 2)), keep=(0, 2))
    rows = numbers(3)
    made = removals(subject, rows, subject.names(rows), np.ones((1, 3, 3)), (0.5, 1.0))
    assert [places.tolist() for places in made.places] == [[1]] * 3
    x = np.asarray(rows.inputs["x"])
    np.testing.assert_allclose(made.nothing, x[:, 0] + x[:, 2])
    np.testing.assert_allclose(made.without_first[0, :, 0], made.nothing)
    none = subject_of(lambda points: points.sum(dim=(1, 2)), keep=(0, 1, 2))
    left = removals(none, rows, none.names(rows), np.ones((1, 3, 3)), (0.5,))
    np.testing.assert_allclose(left.whole, x.sum(axis=1))
    assert np.isnan(left.without_first).all() and np.isnan(left.nothing).all()


def test_both_ends(subject, rows):
    names, scores = scored(subject, rows)
    whole, nothing = ends(subject, rows, names, batch_size=7)
    made = removals(subject, rows, names, scores, (1.0,))
    np.testing.assert_allclose(whole, made.whole, atol=1e-5)
    np.testing.assert_allclose(nothing, made.nothing, atol=1e-5)
    np.testing.assert_allclose(made.without_first[0, :, 0], made.nothing, atol=1e-5)
    np.testing.assert_allclose(made.only_first[0, :, 0], made.whole, atol=1e-5)


@pytest.mark.parametrize(
    ("share", "n", "taken"), [(0.01, 8, 1), (0.1, 30, 3), (0.1, 31, 4), (0.3, 10, 3), (1.0, 7, 7)]
)
def test_shares_are_rounded_up(share, n, taken):
    assert n_taken(share, n) == taken


@pytest.mark.parametrize("shares", [(), (0.0,), (0.5, 1.2), (-0.1,)])
def test_impossible_shares_are_refused(subject, rows, shares):
    names, scores = scored(subject, rows)
    with pytest.raises(UsageError, match="above 0 and up to 1"):
        removals(subject, rows, names, scores, shares)


# Sides


def test_the_side_of_a_target_is_its_thresholds(subject, rows):
    question = watched(subject, rows, "target")
    with torch.no_grad():
        logits = subject.forward(subject.encode(rows), None).double()
    np.testing.assert_array_equal(question.side, np.where((logits[:, 1] > logits[:, 0]).numpy(), 1, -1))
    assert question.explained is subject and set(question.side) == {1.0, -1.0}
    own = watched(subject, rows, "prediction")
    np.testing.assert_array_equal(own.sign, question.side)
    np.testing.assert_array_equal(own.side, 1)


def test_the_side_of_one_output_is_where_its_tokens_moved_it():
    subject = subject_of(lambda points: 100 + points.sum(dim=(1, 2)))
    rows = numbers(20)
    question = watched(subject, rows, "prediction")
    np.testing.assert_array_equal(question.side, np.sign(np.asarray(rows.inputs["x"]).sum(axis=1)))
    assert "in its unit (output)" in question.words


def test_scores_that_are_never_negative_are_taken_as_they_are():
    side = np.array([1.0, -1.0])
    signed, plain = np.array([[1.0, -2.0], [3.0, 4.0]]), np.array([[1.0, 2.0], [3.0, 4.0]])
    made = supports([signed, plain], side)
    np.testing.assert_array_equal(made, [[[1, -2], [-3, -4]], [[1, 2], [3, 4]]])


# Infidelity


def linear(points):
    return (points[:, :, 0] * torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)).sum(dim=1)


def squared(points):
    return linear(points) ** 2


def test_infidelity_of_an_additive_model_is_zero_for_its_terms():
    subject, rows = subject_of(linear), numbers(6)
    terms = np.asarray(rows.inputs["x"]) * [1.0, -2.0, 0.5]
    fallen = drops(subject, rows, subject.names(rows))
    plain, relative = infidelity(terms, fallen)
    np.testing.assert_allclose(plain, 0, atol=1e-12)
    np.testing.assert_allclose(relative, 0, atol=1e-12)
    plain, relative = infidelity(3 * terms, fallen)
    assert (plain > 0.01).all()
    np.testing.assert_allclose(relative, 0, atol=1e-12)  # a positive factor changes nothing
    np.testing.assert_allclose(infidelity(-terms, fallen)[1], 1)
    np.testing.assert_allclose(infidelity(0 * terms, fallen)[1], 1)


@pytest.mark.parametrize("normalize", [False, True])
def test_infidelity_is_captums_on_the_same_perturbations(normalize):
    from captum.metrics import infidelity as captums

    subject, rows = subject_of(squared), numbers(5)
    scores = np.random.default_rng(1).normal(size=(5, 3)) + np.asarray(rows.inputs["x"])
    fallen = drops(subject, rows, subject.names(rows), perturbations=16)
    x = torch.from_numpy(np.asarray(rows.inputs["x"]))[:, :, None]
    taken = torch.from_numpy(fallen.taken)

    def perturbed(inputs):
        gone = taken.reshape(-1, 3)[
            :, :, None
        ]  # captum repeats each example, one perturbation after the other
        return gone.double(), torch.where(gone, 0.0, inputs)

    theirs = captums(
        squared, perturbed, x, torch.from_numpy(scores)[:, :, None], n_perturb_samples=16, normalize=normalize
    ).numpy()
    plain, relative = infidelity(scores, fallen)
    if not normalize:
        np.testing.assert_allclose(plain, theirs, rtol=1e-9)
        return
    power = (fallen.drop**2).mean(axis=1)
    upright = np.einsum("est,et->es", fallen.taken, scores)
    same_sign = (upright * fallen.drop).mean(axis=1) > 0  # captum allows a negative scale
    assert same_sign.any()
    np.testing.assert_allclose((relative * power)[same_sign], theirs[same_sign], rtol=1e-9)


def test_sets_belong_to_the_row_and_the_seed(subject, rows):
    names = subject.names(rows)
    whole = drops(subject, rows, names, perturbations=8)
    few = drops(subject, rows.take([2, 9]), [names[2], names[9]], perturbations=8, batch_size=1)
    width = few.taken.shape[2]
    np.testing.assert_array_equal(whole.taken[[2, 9], :, :width], few.taken)
    np.testing.assert_allclose(whole.drop[[2, 9]], few.drop, atol=1e-5)
    other = drops(subject, rows, names, perturbations=8, seed=1)
    assert (whole.taken != other.taken).any()
    assert whole.taken.any(axis=2).all()  # at least one token


def test_one_perturbation_is_refused(subject, rows):
    with pytest.raises(UsageError, match="expected 2 or more"):
        drops(subject, rows, subject.names(rows), perturbations=1)
