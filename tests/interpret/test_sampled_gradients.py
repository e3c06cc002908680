"""GradientSHAP and SmoothGrad: captum's numbers, the same in any batch, with errors that are honest."""

import numpy as np
import pytest
import torch

from clinometer.errors import DataError, ModelError
from clinometer.interpret.draws import drawing, row_seed
from clinometer.interpret.gradients import Target, gradient_x_input, integrated_gradients
from clinometer.interpret.models import load, score
from clinometer.interpret.sampled_gradients import gradient_shap, smooth_grad
from clinometer.records import Rows
from reference.functions import numbers, subject_of
from reference.integrated import integrated_gradients as slowly
from reference.model_folders import labelled, text_folder

LINES = ("the film is a very good and great film", "dull", "is it good? yes", "a great man")
BOTH = (gradient_shap, smooth_grad)


def texts(*lines):
    return Rows(ids=tuple(f"t{i}" for i in range(len(lines))), inputs={"text": np.array(lines, object)})


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    return load(
        text_folder(folder, "BertForSequenceClassification", **labelled("bad", "fair", "good")),
        dtype="float64",
    )


def curved(x):
    flat = x[:, :, 0]
    return torch.sin(flat[:, 0] * flat[:, 1]) + flat[:, 0] ** 2


def test_of_a_straight_target_every_draw_is_right():
    rows = numbers()
    subject = subject_of(lambda x: 3 * x[:, 0, 0] - 2 * x[:, 1, 0], reference=0.5)
    x = np.asarray(rows.inputs["x"])
    shap, smooth = gradient_shap(subject, rows, samples=3), smooth_grad(subject, rows, samples=3)
    np.testing.assert_allclose(shap.scores, np.array([3, -2, 0]) * (x - 0.5), atol=1e-7)
    np.testing.assert_allclose(smooth.scores, np.array([3, -2, 0]) * x, atol=1e-7)
    for result in (shap, smooth):
        assert result.errors.max() < 1e-7
        assert np.all(result.scores[:, 2] == 0), "a number that the target does not use gets nothing"
        assert result.converged.all()
    np.testing.assert_allclose(shap.residual, 0, atol=1e-6)
    assert not smooth.adds_up and (smooth.baseline, shap.baseline) == ("", "0.5 everywhere")


def test_gradient_shap_is_integrated_gradients_in_expectation_and_says_how_nearly():
    rows = numbers(40, seed=1)
    subject = subject_of(curved, reference=0.5)
    exact = slowly(subject, rows, 64)
    few, many = (gradient_shap(subject, rows, samples=samples) for samples in (25, 400))
    for result in (few, many):
        distance = np.abs(result.scores - exact)[:, :2] / result.errors[:, :2]
        assert 0.55 < np.mean(distance < 1) < 0.8, "about two thirds within one standard error"
        assert np.mean(distance < 2) > 0.9
    assert 3 < few.errors.mean() / many.errors.mean() < 5, "sixteen times the draws, a quarter of the error"
    assert np.abs(many.residual).mean() < np.abs(few.residual).mean()
    assert not few.converged.all(), "it adds up in expectation only"
    loose = np.abs(few.residual) > few.tolerance + 1e-5
    assert not few.converged[loose].any()


def test_the_smoothed_gradient_of_a_square_and_a_cube():
    rows = Rows(ids=("one",), inputs={"x": np.array([[1.0, -2.0, 4.0]])})
    spread = 0.5 * np.std([1.0, -2.0, 4.0])
    square = smooth_grad(subject_of(lambda x: (x**2).sum(dim=(1, 2))), rows, samples=2000, noise=0.5)
    cube = smooth_grad(subject_of(lambda x: (x**3).sum(dim=(1, 2))), rows, samples=2000, noise=0.5)
    x = np.array([1.0, -2.0, 4.0])
    for result, expected in ((square, 2 * x**2), (cube, x * 3 * (x**2 + spread**2))):
        assert np.all(np.abs(result.scores[0] - expected) < 4 * result.errors[0])
    assert np.all(np.abs(cube.scores[0] - 3 * x**3) > 4 * cube.errors[0]), "the noise has its known effect"


def test_without_noise_it_is_gradient_x_input(bert):
    rows = texts(*LINES)
    plain = gradient_x_input(bert, rows).scores
    np.testing.assert_allclose(smooth_grad(bert, rows, noise=0.0, samples=2).scores, plain, atol=1e-10)
    assert np.abs(smooth_grad(bert, rows, samples=2).scores - plain).max() > 1e-3


def row_alone(subject, rows, i):
    batch = subject.encode(rows.take([i]))
    with torch.no_grad():
        return batch, subject.embed(batch), subject.reference(batch)


@pytest.mark.parametrize("i", range(4))
def test_equal_to_captums_gradient_shap_by_hand(bert, i):
    from captum.attr import GradientShap

    rows = texts(*LINES)
    result = gradient_shap(bert, rows, samples=7, seed=5)
    batch, embedded, reference = row_alone(bert, rows, i)
    with drawing(row_seed(5, rows.ids[i], bert.baseline)):
        made = GradientShap(Target(bert, batch)).attribute(
            embedded, reference, n_samples=7, stdevs=0.0, additional_forward_args=tuple(batch.values())
        )
    n = len(result.tokens[i])
    np.testing.assert_allclose(result.scores[i, :n], made[0].sum(dim=1).detach().numpy(), atol=1e-10)


@pytest.mark.parametrize("i", range(4))
def test_equal_to_captums_noise_tunnel_by_hand(bert, i):
    from captum.attr import NoiseTunnel, Saliency

    rows = texts(*LINES)
    result = smooth_grad(bert, rows, samples=7, seed=5, noise=0.2)
    batch, embedded, _ = row_alone(bert, rows, i)
    with drawing(row_seed(5, rows.ids[i])):
        made = NoiseTunnel(Saliency(Target(bert, batch))).attribute(
            embedded,
            nt_samples=7,
            stdevs=0.2 * float(embedded.numpy().std()),
            abs=False,
            additional_forward_args=tuple(batch.values()),
        )
    n = len(result.tokens[i])
    np.testing.assert_allclose(
        result.scores[i, :n], (made * embedded)[0].sum(dim=1).detach().numpy(), atol=1e-10
    )


@pytest.mark.parametrize("method", BOTH)
def test_batches_order_and_memory_do_not_matter(bert, method):
    rows = texts(*LINES)
    whole = method(bert, rows, samples=6)
    for changed in (
        method(bert, rows, samples=6, batch_size=1),
        method(bert, rows, samples=6, max_memory=1),
        method(bert, rows, samples=6, progress=True),
    ):
        np.testing.assert_allclose(changed.scores, whole.scores, atol=1e-10)
        np.testing.assert_allclose(changed.errors, whole.errors, atol=1e-10)
    turned = method(bert, rows.take([3, 2, 1, 0]), samples=6)
    np.testing.assert_allclose(turned.scores[::-1], whole.scores, atol=1e-10)
    alone = method(bert, rows.take([2]), samples=6)
    np.testing.assert_allclose(alone.scores[0], whole.scores[2, : alone.scores.shape[1]], atol=1e-10)
    for tokens, scores, errors in zip(whole.tokens, whole.scores, whole.errors, strict=True):
        assert np.all(scores[len(tokens) :] == 0) and np.all(errors[len(tokens) :] == 0)
        assert np.all(scores[1 : len(tokens) - 1] != 0)


def test_markers_get_nothing_where_the_input_is_compared(bert):
    rows = texts(*LINES)
    result = gradient_shap(bert, rows, samples=3)
    ends = [len(tokens) - 1 for tokens in result.tokens]
    assert np.all(result.scores[:, 0] == 0) and np.all(result.scores[range(4), ends] == 0)
    assert np.all(smooth_grad(bert, rows, samples=3).scores[:, 0] != 0), "here nothing is compared"


@pytest.mark.parametrize("method", BOTH)
def test_one_seed_one_result_and_the_global_generators_go_on(bert, method):
    rows = texts(*LINES)
    torch.manual_seed(11)
    np.random.seed(11)
    before = torch.get_rng_state(), np.random.get_state()
    one = method(bert, rows, samples=3, seed=1)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_equal(np.random.get_state(), before[1])
    torch.rand(3)
    again, other = method(bert, rows, samples=3, seed=1), method(bert, rows, samples=3, seed=2)
    np.testing.assert_array_equal(one.scores, again.scores)
    assert np.abs(one.scores - other.scores).max() > 1e-6
    assert one.seed == 1 and (one.nodes == 3).all()


@pytest.mark.parametrize("method", BOTH)
def test_linear_in_the_target(method):
    rows = numbers()

    def other(x):
        return torch.exp(0.3 * x.sum(dim=(1, 2)))

    def attributed(function):
        return method(subject_of(function), rows, samples=4).scores

    both = attributed(lambda x: 3 * curved(x) - other(x))
    np.testing.assert_allclose(both, 3 * attributed(curved) - attributed(other), atol=1e-6)


def test_the_draws_of_one_row_see_no_other_and_the_body_may_fail():
    with drawing(5):
        one = torch.rand(2), np.random.rand(2)
    with pytest.raises(ZeroDivisionError), drawing(5):
        _ = 1 / 0
    with drawing(5):
        again = torch.rand(2), np.random.rand(2)
    assert torch.equal(one[0], again[0]) and np.array_equal(one[1], again[1])
    seeds = {row_seed(seed, row) for seed in (0, 1, -1) for row in ("a", "b", "")}
    assert len(seeds) == 9 and all(0 <= seed < 2**63 for seed in seeds)
    assert row_seed(0, "a", "b") != row_seed(0, "ab")


@pytest.mark.parametrize("method", [*BOTH, gradient_x_input, integrated_gradients])
def test_a_target_without_a_gradient_is_told_from_a_constant_one(method):
    rows = numbers()
    with pytest.raises(ModelError, match="no gradient reaches the embeddings of function"):
        method(subject_of(lambda x: x.detach().sum(dim=(1, 2))), rows)
    weight = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    for function in (lambda x: torch.ones(len(x), dtype=x.dtype), lambda x: weight.expand(len(x))):
        result = method(subject_of(function), rows)
        assert np.all(result.scores == 0) and np.all(result.value == 1)


def test_an_error_of_the_model_itself_is_not_taken_for_a_missing_gradient():
    def broken(x):
        if x.requires_grad:
            raise RuntimeError("a cable came loose")
        return x.sum(dim=(1, 2))

    with pytest.raises(RuntimeError, match="a cable came loose"):
        gradient_shap(subject_of(broken), numbers())


@pytest.mark.parametrize(
    ("method", "asked", "said"),
    [
        (gradient_shap, {"samples": 1}, "samples is 1"),
        (smooth_grad, {"samples": 1}, "samples is 1"),
        (smooth_grad, {"noise": -0.1}, "noise is -0.1"),
        (smooth_grad, {"noise": float("nan")}, "noise is nan"),
        (gradient_shap, {"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_impossible_settings_are_refused(method, asked, said):
    with pytest.raises(ModelError, match=said):
        method(subject_of(curved), numbers(), **asked)


@pytest.mark.parametrize("method", BOTH)
def test_rows_that_cannot_be_used_are_refused(method):
    rows = numbers()
    broken = Rows(ids=rows.ids, inputs={"x": np.where(np.arange(5)[:, None] == 3, np.nan, rows.inputs["x"])})
    with pytest.raises(DataError, match="'p3'"):
        method(subject_of(curved), broken)
    with pytest.raises(DataError, match="no rows"):
        method(subject_of(curved), rows.take([]))


def test_the_value_is_the_models_score(bert):
    rows = texts(*LINES)
    np.testing.assert_allclose(gradient_shap(bert, rows, samples=2).value, score(bert, rows))
