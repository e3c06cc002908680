"""Integrated gradients add up, agree with closed forms and captum, and say when they do not converge."""

import numpy as np
import pytest
import torch

from clinometer.errors import DataError, ModelError
from clinometer.interpret.head_effects import head_effects, view
from clinometer.interpret.methods import attribute
from clinometer.interpret.models import score, wrap
from clinometer.interpret.tracing import certify, trace
from clinometer.records import Rows
from reference.integrated import integrated_gradients
from reference.subjects import applicants, fitted


@pytest.fixture(scope="module")
def rows():
    return applicants(96)


@pytest.fixture(scope="module")
def subject(rows):
    return fitted(rows)


class Polynomial(torch.nn.Module):
    """f(x) = sum over tokens and dimensions of c_t x^p: its integrated gradients are known in closed form."""

    def __init__(self, coefficients, power):
        super().__init__()
        self.coefficients = torch.nn.Parameter(torch.tensor(coefficients, dtype=torch.float64))
        self.power = power

    def forward(self, embedded):
        return (self.coefficients[:, None] * embedded**self.power).sum(dim=(1, 2))[:, None]


def polynomial(power, baseline=0.5, kink=None):
    module = Polynomial([1.0, -2.0, 0.0], power).eval()

    def forward(batch, embedded):
        points = batch["x"] if embedded is None else embedded
        if kink is not None:
            return torch.sigmoid(kink * (points.sum(dim=(1, 2)) - 1.2))[:, None]
        return module(points)

    return wrap(
        module,
        encode=lambda rows: {"x": torch.from_numpy(np.asarray(rows.inputs["x"]))[:, :, None]},
        embed=lambda batch: batch["x"],
        forward=forward,
        reference=lambda batch: torch.full_like(batch["x"], baseline),
        names=lambda rows: (("first", "second", "dummy"),) * len(rows),
        labels=("output",),
        baseline="one half everywhere",
        columns=("x",),
    )


def points(n=5, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, 3))
    return Rows(ids=tuple(f"p{i}" for i in range(n)), inputs={"x": x})


@pytest.mark.parametrize("power", [1, 2, 5])
def test_known_answer_of_a_polynomial(power):
    rows = points()
    result = attribute(polynomial(power), rows)
    x = np.asarray(rows.inputs["x"])
    expected = np.array([1.0, -2.0, 0.0]) * (x**power - 0.5**power)
    np.testing.assert_allclose(result.scores, expected, atol=1e-6)
    assert np.all(result.scores[:, 2] == 0), "a feature the model does not use gets nothing"
    assert result.converged.all()
    assert (result.nodes == 20).all()


def test_scores_add_up_to_the_difference_from_the_baseline(subject, rows):
    result = attribute(subject, rows)
    np.testing.assert_allclose(result.value, score(subject, rows))
    shift = result.value - result.base_value
    np.testing.assert_allclose(result.scores.sum(axis=1) + result.residual, shift, atol=1e-12)
    assert result.converged.all()
    assert (np.abs(result.residual) <= result.tolerance + 1e-5).all()
    assert np.ptp(result.base_value) < 1e-5, "one reference row for everybody"


def test_the_baseline_itself_gets_nothing(subject, rows):
    reference = {"income": 0.0, "debt": 0.0, "noise": 0.0, "home": "own"}
    medians = {
        name: np.array([np.nanmedian(column)])
        if column.dtype.kind == "f"
        else np.array([reference[name]], object)
        for name, column in rows.inputs.items()
    }
    mode = max(set(rows.inputs["home"]), key=list(rows.inputs["home"]).count)
    medians["home"] = np.array([mode], dtype=object)
    result = attribute(subject, Rows(ids=("reference",), inputs=medians))
    np.testing.assert_allclose(result.scores, 0.0, atol=1e-5)


def test_equal_to_captum_with_the_same_baseline(subject, rows):
    from captum.attr import IntegratedGradients

    few = rows.take(range(4))
    batch = subject.encode(few)
    embedded = subject.embed(batch).detach()
    one_by_one = [
        IntegratedGradients(
            lambda e, i=i: subject.select(subject.forward({k: v[[i] * len(e)] for k, v in batch.items()}, e))
        ).attribute(embedded[[i]], baselines=subject.reference(batch)[[i]].detach(), n_steps=20)
        for i in range(4)
    ]
    np.testing.assert_allclose(
        attribute(subject, few, most_nodes=20).scores,
        torch.cat(one_by_one).sum(dim=2).detach().numpy(),
        atol=1e-5,
    )


def test_equal_to_a_slow_twin_that_loops_over_nodes(subject, rows):
    few = rows.take(range(5))
    fast = attribute(subject, few, nodes=12, most_nodes=12).scores
    np.testing.assert_allclose(fast, integrated_gradients(subject, few, 12), atol=1e-5)


def test_batch_composition_does_not_matter(subject, rows):
    whole = attribute(subject, rows, batch_size=96)
    small = attribute(subject, rows, batch_size=7)
    np.testing.assert_allclose(whole.scores, small.scores, atol=1e-4)


def test_nodes_are_added_only_where_needed_and_given_up_loudly():
    rows = points(6)
    easy = attribute(polynomial(2), rows, nodes=1)
    assert easy.converged.all() and (easy.nodes == 1).all()
    hard = attribute(polynomial(1, kink=400.0), rows, nodes=2, most_nodes=8)
    assert not hard.converged.all()
    assert (np.abs(hard.residual[~hard.converged]) > hard.tolerance[~hard.converged]).all()
    assert (hard.nodes[~hard.converged] == 2 + 3 + 8).all(), "Gauss, what Kronrod adds, and Gauss anew"
    assert (
        attribute(polynomial(1, kink=400.0), rows, nodes=2, most_nodes=5).nodes[~hard.converged] == 5
    ).all()
    assert "converged" in repr(hard)


@pytest.mark.parametrize(("nodes", "most"), [(0, 10), (8, 4)])
def test_impossible_numbers_of_nodes_are_refused(nodes, most):
    with pytest.raises(ModelError, match="1 <= nodes <= most_nodes"):
        attribute(polynomial(1), points(), nodes=nodes, most_nodes=most)


def test_a_score_that_is_not_finite_names_its_rows():
    rows = points()
    broken = Rows(ids=rows.ids, inputs={"x": np.where(np.arange(5)[:, None] == 3, np.nan, rows.inputs["x"])})
    with pytest.raises(DataError, match="'p3'"):
        attribute(polynomial(1), broken)


def test_head_effects_are_the_sum_of_a_times_da(subject, rows):
    few = rows.take(range(10))
    effects = head_effects(subject, few, batch_size=4)
    assert effects.contribution.shape == (10, 2, 2)
    np.testing.assert_allclose(effects.moved.sum(axis=3), effects.contribution, atol=1e-6)
    np.testing.assert_allclose(effects.received.sum(axis=3), 1.0, atol=1e-5)
    picture = view(subject, few, title="mean")
    np.testing.assert_allclose(picture.importance, effects.contribution.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(picture.attention.sum(axis=3), 1.0, atol=1e-5)
    assert picture.labels == ("[CLS]", "income", "debt", "noise", "home")


def test_every_map_is_certified(subject, rows):
    proof = certify(subject, rows, batch_size=32)
    assert proof["n"] == 96
    assert set(proof["layers"].values()) and max(proof["layers"].values()) < 1e-5
    captured = trace(subject, rows.take(range(3)))
    assert len(captured.layers) == 2


def test_no_rows_are_refused(subject, rows):
    with pytest.raises(DataError, match="no rows"):
        attribute(subject, rows.take([]))
    with pytest.raises(DataError, match="no rows"):
        trace(subject, rows.take([]))
