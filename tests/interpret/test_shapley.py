"""Shapley values: exact by definition, sampled with honest errors, regressed as captum does; the same laws."""

import itertools

import numpy as np
import pytest
import torch

from clinometer.errors import DataError, ModelError
from clinometer.interpret.draws import row_seed
from clinometer.interpret.models import load, score
from clinometer.interpret.occlusion import occlusion
from clinometer.interpret.players import players
from clinometer.interpret.shapley import (
    every_coalition,
    exact_shares,
    in_place,
    kernel_shap,
    sampled_game,
    shapley_values,
)
from clinometer.records import Rows
from reference.functions import numbers, subject_of
from reference.model_folders import labelled, text_folder
from reference.shapley import as_scores, by_subsets
from reference.shapley import shapley_values as slowly
from reference.subjects import applicants, fitted

LINES = ("the film is a very good and great film", "dull", "is it good? yes", "a great man")
SIX = tuple("abcdef")
WAYS = {
    "exact": shapley_values,
    "sampled": lambda *given, **more: shapley_values(*given, exact_up_to=0, **more),
    "regressed": kernel_shap,
}


def texts(*lines):
    return Rows(ids=tuple(f"t{i}" for i in range(len(lines))), inputs={"text": np.array(lines, object)})


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    return load(
        text_folder(folder, "BertForSequenceClassification", **labelled("bad", "fair", "good")),
        dtype="float64",
    )


def tangled(x):
    """A target in which six numbers interact."""
    flat = x[:, :, 0]
    return (
        torch.sin(flat[:, 0] * flat[:, 1]) + flat[:, 2] * torch.relu(flat[:, 3:].sum(dim=1)) + flat[:, 5] ** 2
    )


@pytest.mark.parametrize("way", WAYS)
def test_of_a_sum_they_are_its_terms_and_equal_occlusion(way):
    rows = numbers()
    subject = subject_of(lambda x: x[:, 0, 0] - 2 * x[:, 1, 0] ** 2, reference=0.5)
    result = WAYS[way](subject, rows)
    x = np.asarray(rows.inputs["x"])
    expected = np.stack([x[:, 0] - 0.5, -2 * (x[:, 1] ** 2 - 0.25), np.zeros(5)], axis=1)
    close = 1e-4 if way == "regressed" else 1e-12  # captum regresses in float32, with weights of 10^6
    np.testing.assert_allclose(result.scores, expected, atol=close)
    np.testing.assert_allclose(result.scores, occlusion(subject, rows).scores, atol=close)
    np.testing.assert_allclose(result.base_value, -0.0 + 0.5 - 2 * 0.25)
    assert result.converged.all()


@pytest.mark.parametrize("way", WAYS)
def test_partners_share_alike_and_a_dummy_gets_nothing(way):
    close = (
        0.05 if way == "regressed" else 1e-12
    )  # a regression on drawn coalitions is symmetric in expectation
    ones = Rows(ids=("one",), inputs={"x": np.ones((1, 3))})
    for function in (lambda x: torch.maximum(x[:, 0, 0], x[:, 1, 0]), lambda x: x[:, 0, 0] * x[:, 1, 0]):
        result = WAYS[way](subject_of(function), ones)
        np.testing.assert_allclose(result.scores, [[0.5, 0.5, 0.0]], atol=close)
    unlike = WAYS[way](subject_of(lambda x: x[:, 0, 0] * (x[:, 1, 0] + 1)), ones)
    np.testing.assert_allclose(unlike.scores, [[1.5, 0.5, 0.0]], atol=close)


def test_exact_equals_the_definition_over_subsets(bert):
    rows = numbers(4, tokens=6)
    subject = subject_of(tangled, names=SIX, reference=0.3)
    expected = as_scores(slowly(subject, rows), 6)
    np.testing.assert_allclose(shapley_values(subject, rows).scores, expected, atol=1e-12)
    people = applicants(5)
    table = fitted(people, epochs=2)
    np.testing.assert_allclose(
        shapley_values(table, people).scores, as_scores(slowly(table, people), 4), atol=2e-6
    )
    lines = texts("dull", "a great man")
    result = shapley_values(bert, lines)
    np.testing.assert_allclose(result.scores, as_scores(slowly(bert, lines), 5), atol=1e-12)
    assert result.nodes.tolist() == [2, 8]
    assert np.all(result.errors == 0)


def test_exact_shares_of_a_game_without_players_and_of_a_known_one():
    assert exact_shares(np.array([3.0])).shape == (0,)
    # A glove game: the third player holds a right glove, the first two a left one each.
    coalitions = every_coalition(3)
    worth = (coalitions[:, 2] & (coalitions[:, 0] | coalitions[:, 1])).astype(float)
    np.testing.assert_allclose(exact_shares(worth), [1 / 6, 1 / 6, 2 / 3])


@pytest.mark.parametrize("way", WAYS)
def test_they_add_up_to_the_difference_from_the_baseline(bert, way):
    rows = texts(*LINES)
    result = WAYS[way](bert, rows)
    with torch.no_grad():
        batch = bert.encode(rows)
        base = bert.select(bert.forward(batch, bert.reference(batch))).numpy()
    np.testing.assert_allclose(result.base_value, base, atol=1e-12)
    np.testing.assert_allclose(result.value, score(bert, rows))
    assert np.abs(result.residual).max() < (1e-4 if way == "regressed" else 1e-12)
    assert result.converged.all()
    assert np.abs(result.scores).max() > 0.1, "there is something to add up"


def test_standard_errors_are_honest_and_shrink():
    rows = numbers(40, tokens=6, seed=2)
    subject = subject_of(tangled, names=SIX, reference=0.3)
    exact = shapley_values(subject, rows).scores
    few, many = (shapley_values(subject, rows, exact_up_to=0, pairs=pairs) for pairs in (20, 320))
    for result in (few, many):
        moved = result.errors > 1e-9
        distance = np.abs(result.scores - exact)[moved] / result.errors[moved]
        assert 0.5 < np.mean(distance < 1) < 0.85, "about two thirds within one standard error"
        assert np.mean(distance < 2) > 0.9
        np.testing.assert_allclose(result.scores[~moved], exact[~moved], atol=1e-9)
    assert 3 < few.errors.mean() / many.errors.mean() < 5, "sixteen times the draws, a quarter of the error"
    assert np.abs(few.residual).max() < 1e-12, "which the residual cannot show"


def test_of_pairwise_interactions_antithetic_pairs_have_no_error():
    def pairwise(x):
        flat = x[:, :, 0]
        return (flat[:, :-1] * flat[:, 1:]).sum(dim=1)

    rows = numbers(5, tokens=6)
    subject = subject_of(pairwise, names=SIX)
    result = shapley_values(subject, rows, exact_up_to=0, pairs=2)
    np.testing.assert_allclose(result.scores, shapley_values(subject, rows).scores, atol=1e-12)
    assert result.errors.max() < 1e-12


def test_sampled_coalitions_are_those_along_permutations_each_once():
    game = sampled_game(5, 3, seed=7)
    assert game.permutations.shape == (6, 5) and game.steps.shape == (6, 6)
    assert len(np.unique(game.coalitions, axis=0)) == len(game.coalitions) <= 6 * 4 + 2
    np.testing.assert_array_equal(game.permutations[:3, ::-1], game.permutations[3:])
    for permutation, steps in zip(game.permutations, game.steps, strict=True):
        for size, place in enumerate(steps):
            assert set(np.flatnonzero(game.coalitions[place])) == set(permutation[:size])


def of_one_example(subject, rows):
    """The players of one example, and its target as a function of binary vectors, as captum calls it."""
    (group,) = players(subject, rows, subject.names(rows))

    def worth(vectors):
        flags = in_place(group, 0, vectors.numpy() > 0.5)
        return torch.from_numpy(group.scores(np.zeros(len(flags), dtype=np.int64), flags))

    return group.places[0], worth


def test_exact_equals_captum_over_all_permutations(bert):
    from captum.attr import ShapleyValues

    rows = texts("a great man film")
    places, worth = of_one_example(bert, rows)
    n = len(places)
    made = ShapleyValues(worth).attribute(torch.ones(1, n, dtype=torch.float64), baselines=0.0)
    np.testing.assert_allclose(shapley_values(bert, rows).scores[0, places], made[0].numpy(), atol=1e-6)


def test_sampled_equals_captum_along_the_same_permutations(bert):
    from captum.attr import ShapleyValueSampling

    rows = texts("the film is a very good and great film, is it not so?")
    places, worth = of_one_example(bert, rows)
    n = len(places)
    assert n > 10
    result = shapley_values(bert, rows, pairs=4)
    drawn = sampled_game(n, 4, row_seed(0, "t0", bert.baseline)).permutations
    explainer = ShapleyValueSampling(worth)
    explainer.permutation_generator = lambda n_features, n_samples: drawn.tolist()
    made = explainer.attribute(torch.ones(1, n, dtype=torch.float64), baselines=0.0, n_samples=len(drawn))
    np.testing.assert_allclose(result.scores[0, places], made[0].numpy(), atol=1e-6)


def test_sampled_agrees_with_captums_own_draws_within_the_errors(bert):
    from captum.attr import ShapleyValueSampling

    rows = texts("the film is a very good and great film, is it not so?")
    places, worth = of_one_example(bert, rows)
    result = shapley_values(bert, rows, pairs=60)
    torch.manual_seed(0)
    made = ShapleyValueSampling(worth).attribute(
        torch.ones(1, len(places), dtype=torch.float64),
        baselines=0.0,
        n_samples=240,
        perturbations_per_eval=240,
    )
    distance = np.abs(result.scores[0, places] - made[0].numpy())
    assert np.all(distance < 5 * result.errors[0, places] + 1e-9)
    assert np.all(result.errors[0, places] > 0)


def test_regression_equals_captum_by_hand(bert):
    from captum.attr import KernelShap

    rows = texts("the film is good")
    places, worth = of_one_example(bert, rows)
    result = kernel_shap(bert, rows, samples=60, seed=3)
    torch.manual_seed(row_seed(3, "t0", bert.baseline))
    made = KernelShap(worth).attribute(
        torch.ones(1, len(places)), baselines=torch.zeros(1, len(places)), n_samples=60
    )
    np.testing.assert_allclose(result.scores[0, places], made[0].numpy(), atol=1e-6)


def test_regression_nears_the_exact_values_with_more_samples():
    rows = numbers(1, tokens=6)
    subject = subject_of(tangled, names=SIX, reference=0.3)
    exact = shapley_values(subject, rows).scores
    close = kernel_shap(subject, rows, samples=8000).scores
    far = kernel_shap(subject, rows, samples=40).scores
    assert np.abs(close - exact).max() < 0.02 < np.abs(far - exact).max()


@pytest.mark.parametrize("way", WAYS)
def test_padding_and_markers_get_exactly_nothing(bert, way):
    result = WAYS[way](bert, texts(*LINES))
    for tokens, scores in zip(result.tokens, result.scores, strict=True):
        assert scores[0] == 0 and np.all(scores[len(tokens) - 1 :] == 0)
        assert np.all(scores[1 : len(tokens) - 1] != 0), "words are players"


@pytest.mark.parametrize("way", WAYS)
def test_batches_order_and_memory_do_not_matter(bert, way):
    rows = texts(*LINES)
    few = {"samples": 40} if way == "regressed" else {}
    whole = WAYS[way](bert, rows, **few)
    close = 1e-5 if way == "regressed" else 1e-12
    for changed in (
        WAYS[way](bert, rows, batch_size=1, **few),
        WAYS[way](bert, rows, max_memory=1, **few),
        WAYS[way](bert, rows, progress=True, **few),
    ):
        np.testing.assert_allclose(changed.scores, whole.scores, atol=close)
        np.testing.assert_array_equal(changed.nodes, whole.nodes)
    turned = WAYS[way](bert, rows.take([3, 2, 1, 0]), **few)
    np.testing.assert_allclose(turned.scores[::-1], whole.scores, atol=close)
    alone = WAYS[way](bert, rows.take([2]), **few)
    np.testing.assert_allclose(alone.scores[0], whole.scores[2, : alone.scores.shape[1]], atol=close)


@pytest.mark.parametrize("way", ["sampled", "regressed"])
def test_one_seed_one_result_and_the_global_generators_go_on(bert, way):
    rows = texts(*LINES)
    few = {"samples": 40} if way == "regressed" else {"pairs": 3}
    torch.manual_seed(11)
    np.random.seed(11)
    before = torch.get_rng_state(), np.random.get_state()
    one = WAYS[way](bert, rows, seed=1, **few)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_equal(np.random.get_state(), before[1])
    torch.rand(3)
    again = WAYS[way](bert, rows, seed=1, **few)
    other = WAYS[way](bert, rows, seed=2, **few)
    np.testing.assert_array_equal(one.scores, again.scores)
    assert np.abs(one.scores - other.scores).max() > 1e-6
    assert one.seed == 1


@pytest.mark.parametrize("way", ["exact", "sampled"])
def test_linear_in_the_target(way):
    rows = numbers(tokens=6)

    def other(x):
        return torch.exp(0.3 * x.sum(dim=(1, 2)))

    def attributed(function):
        return WAYS[way](subject_of(function, names=SIX), rows).scores

    both = attributed(lambda x: 3 * tangled(x) - other(x))
    np.testing.assert_allclose(both, 3 * attributed(tangled) - attributed(other), atol=1e-12)


def test_small_and_large_examples_in_one_batch_are_told_apart(bert):
    rows = texts("dull", "the film is a very good and great film, is it not so?", "a great man")
    result = shapley_values(bert, rows, pairs=2)
    assert result.notes == ("2 examples by all coalitions, 1 by 2 pairs of permutations",)
    assert np.all(result.errors[[0, 2]] == 0) and result.errors[1].max() > 0
    assert result.nodes[0] == 2 and result.nodes[2] == 8


def test_many_small_games_run_in_parts_all_the_same(bert, monkeypatch):
    rows = texts(*LINES)
    whole = shapley_values(bert, rows).scores
    monkeypatch.setattr("clinometer.interpret.shapley.TOGETHER", 3)
    np.testing.assert_allclose(shapley_values(bert, rows).scores, whole, atol=1e-12)


def test_every_ordering_counts_alike():
    """The definition once more, over orderings: the mean gain of a player over all n! of them."""
    rows = numbers(1, tokens=4, seed=5)
    subject = subject_of(lambda x: torch.sin(x.prod(dim=1)).sum(dim=1) + x[:, 0, 0], names=tuple("abcd"))
    x = torch.from_numpy(np.asarray(rows.inputs["x"]))[:, :, None]

    def worth(coalition):
        kept = torch.zeros(1, 4, 1, dtype=torch.float64)
        kept[:, list(coalition)] = 1
        return float(subject.select(subject.forward({}, x * kept)))

    gains = np.zeros(4)
    for order in itertools.permutations(range(4)):
        for place, player in enumerate(order):
            gains[player] += worth(order[: place + 1]) - worth(order[:place])
    np.testing.assert_allclose(shapley_values(subject, rows).scores[0], gains / 24, atol=1e-12)
    assert by_subsets(range(4), worth) == pytest.approx(dict(enumerate(gains / 24)))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"pairs": 1}, "pairs is 1"),
        ({"exact_up_to": -1}, "0 to 20"),
        ({"exact_up_to": 21}, "2\\^n coalitions"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_impossible_settings_are_refused(asked, said):
    with pytest.raises(ModelError, match=said):
        shapley_values(subject_of(tangled, names=SIX), numbers(tokens=6), **asked)


def test_too_few_samples_for_a_regression_are_refused_with_the_rows(bert):
    rows = texts("dull", "the film is a very good and great film")
    with pytest.raises(ModelError, match="1 rows have up to 9 players, first 't1'"):
        kernel_shap(bert, rows, samples=10)
    assert kernel_shap(bert, rows, samples=11).converged.all()


@pytest.mark.parametrize("way", WAYS)
def test_rows_that_cannot_be_used_are_refused(way):
    rows = numbers()
    broken = Rows(ids=rows.ids, inputs={"x": np.where(np.arange(5)[:, None] == 3, np.nan, rows.inputs["x"])})
    subject = subject_of(lambda x: x.sum(dim=(1, 2)))
    with pytest.raises(DataError, match="'p3'"):
        WAYS[way](subject, broken)
    with pytest.raises(DataError, match="no rows"):
        WAYS[way](subject, rows.take([]))
