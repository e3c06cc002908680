"""Weights drawn anew take attributions with them, in a copy; what ignores the model is found out."""

import dataclasses
import functools

import numpy as np
import pytest
import torch

from clinometer.errors import DataError, ModelError, UsageError
from clinometer.interpret import compared_methods, sanity
from clinometer.interpret.copying import copied
from clinometer.interpret.methods import attribute
from clinometer.interpret.models import score, wrap
from clinometer.interpret.sanity import parts, randomisation
from clinometer.interpret.targets import aimed
from reference.functions import numbers, subject_of
from reference.sentences import bert_classifier, own_classifier, sentences
from reference.subjects import applicants, fitted


@pytest.fixture(scope="module")
def rows():
    return sentences(16, seed=3)


@pytest.fixture(scope="module")
def subject(rows):
    return own_classifier(rows)


@pytest.fixture(scope="module")
def made(subject, rows):
    return randomisation(subject, rows, methods=["integrated gradients", "saliency"], replicates=100)


def of(made, method, kind="cascading"):
    return [one for one in made.randomised if one.method == method and one.kind == kind]


# Randomisation


def test_attributions_do_not_survive_a_model_of_random_weights(made):
    last = of(made, "integrated gradients")[-1]
    assert last.high < 0.7 and last.of_sizes < 0.7
    assert last.moved > 0.1 and last.n == 16
    assert last.low <= last.correlation <= last.high


def test_what_ignores_the_model_is_found_out(subject, rows, monkeypatch):
    def fixed(subject, rows, name, **more):
        """Scores that depend on the text alone."""
        real = attribute(subject, rows, name, **more)
        lengths = [[len(token) for token in tokens] for tokens in real.tokens]
        scores = np.zeros_like(real.scores)
        for i, one in enumerate(lengths):
            scores[i, : len(one)] = one + np.arange(len(one)) / 100
        return dataclasses.replace(real, scores=scores)

    for module in (compared_methods, sanity):
        monkeypatch.setattr(module, "attribute", fixed)
    made = randomisation(subject, rows, methods=["saliency"], replicates=100)
    assert made.randomised
    for one in made.randomised:
        assert one.correlation == one.of_sizes == pytest.approx(1)
    assert of(made, "saliency")[-1].moved > 0.1  # and the model did change


def test_both_kinds_begin_alike_and_then_part(made):
    together, alone = (of(made, "saliency", kind) for kind in ("cascading", "independent"))
    assert [one.part for one in together] == [one.part for one in alone]
    assert dataclasses.replace(together[0], kind="") == dataclasses.replace(alone[0], kind="")
    assert together[-1].correlation != alone[-1].correlation
    assert [one.place for one in together] == list(range(1, len(together) + 1))


def test_the_users_model_is_not_touched(subject, rows):
    before = {name: value.clone() for name, value in subject.module.state_dict().items()}
    true = score(subject, rows)
    randomisation(subject, rows, methods=["saliency"], kinds=["independent"], replicates=100)
    for name, value in subject.module.state_dict().items():
        assert torch.equal(value, before[name])
    np.testing.assert_array_equal(score(subject, rows), true)
    assert not any(part._forward_pre_hooks for part in subject.module.modules())


def test_one_seed_one_answer(subject, rows):
    few = rows.take(range(6))
    how = {"methods": ["saliency"], "kinds": ["cascading"], "replicates": 100}
    one, same, other = (randomisation(subject, few, seed=seed, **how) for seed in (1, 1, 2))
    assert one.randomised == same.randomised
    assert one.randomised != other.randomised


def test_a_table_and_a_transformers_model_too():
    rows = applicants(12)
    made = randomisation(fitted(rows, epochs=2), rows, methods=["saliency"], replicates=100)
    assert made.randomised[0].part == "head"
    made = randomisation(bert_classifier(), sentences(6), methods=["gradient x input"], replicates=100)
    assert made.randomised[0].part == "classifier"
    assert made.randomised[2].part == "bert.encoder.layer.1"


def test_parts_are_ordered_from_the_output_down(subject, rows):
    found = parts(subject, rows.take([0]))
    names = [part.name for part in found]
    assert names == [
        "head",
        "encoder.norm",
        "encoder.layers.1",
        "encoder.layers.0",
        "embedding.tokens",
        "Classifier (own weights)",  # [CLS], which runs in no module
    ]
    weights = [name for part in found for name, _ in part.weights]
    assert sorted(weights) == sorted(name for name, _ in subject.module.named_parameters())


def test_new_weights_have_the_old_ones_mean_and_spread(subject, rows):
    copy = copied(subject, rows)
    (layer,) = [part for part in parts(copy, rows.take([0])) if part.name == "encoder.layers.0"]
    old = {name: weight.detach().clone() for name, weight in layer.weights}
    sanity._draw(layer, 0)
    new = {name: weight.detach() for name, weight in layer.weights}
    name = "encoder.layers.0.feed_forward.inner.weight"
    assert torch.corrcoef(torch.stack([old[name].flatten(), new[name].flatten()]))[0, 1].abs() < 0.2
    assert abs(float(old[name].std() - new[name].std())) < 0.1 * float(old[name].std())


def test_a_method_that_fails_on_the_way_is_named_and_left_out(subject, rows, monkeypatch):
    def failing(subject, rows, name, **more):
        if name == "saliency":
            raise ModelError("random weights overflow")
        return attribute(subject, rows, name, **more)

    monkeypatch.setattr(sanity, "attribute", failing)
    made = randomisation(
        subject, rows.take(range(4)), methods=["saliency", "gradient x input"], replicates=100
    )
    assert made.failed == (("saliency", "head drawn anew: random weights overflow"),)
    assert {one.method for one in made.randomised} == {"gradient x input"}


def test_what_does_not_fit_is_refused(subject, rows):
    with pytest.raises(UsageError, match="no kind 'both'"):
        randomisation(subject, rows, kinds=["both"])
    with pytest.raises(UsageError, match="did you mean 'saliency'"):
        randomisation(subject, rows, methods=["salience"])
    with pytest.raises(DataError, match="no rows"):
        randomisation(subject, rows.take([]))
    with pytest.raises(DataError, match="several rows"):
        randomisation(subject, rows.take([1, 1]))
    with pytest.raises(ModelError, match="no weights"):
        parts(subject_of(lambda points: points.sum(dim=(1, 2))), numbers(1))


# Copies


def moved(copy):
    with torch.no_grad():
        for weight in copy.module.parameters():
            weight.add_(0.3)


@pytest.mark.parametrize("kind", ["text", "table", "bert", "aimed"])
def test_a_copy_scores_alike_and_moves_alone(kind, subject, rows):
    if kind == "table":
        rows = applicants(8)
        subject = fitted(rows, epochs=1)
    elif kind == "bert":
        subject = bert_classifier()
    elif kind == "aimed":
        subject = aimed(subject, "probability", label="predicted")
    true = score(subject, rows)
    copy = copied(subject, rows)
    np.testing.assert_array_equal(score(copy, rows), true)
    ours, theirs = ({p.data_ptr() for p in one.module.parameters()} for one in (subject, copy))
    assert not ours & theirs
    moved(copy)
    assert np.abs(score(copy, rows) - true).max() > 1e-4
    np.testing.assert_array_equal(score(subject, rows), true)
    batch = subject.encode(rows)
    assert not torch.equal(copy.embed(batch), subject.embed(batch))
    assert not torch.equal(copy.reference(batch), subject.reference(batch))


class Holder:
    """An object of a user's that holds the module."""

    def __init__(self, module):
        self.module = module

    def run(self, batch, embedded, scale=1.0):
        return scale * self.module(batch["x"][:, :, 0] if embedded is None else embedded[:, :, 0])


LINEAR = torch.nn.Linear(3, 1)


def around(module, forward):
    return wrap(
        module.eval(),
        forward,
        encode=lambda rows: {"x": torch.from_numpy(np.asarray(rows.inputs["x"], np.float32))[:, :, None]},
        embed=lambda batch: batch["x"],
        reference=lambda batch: torch.zeros_like(batch["x"]),
        baseline="zero",
        names=lambda rows: (("a", "b", "c"),) * len(rows),
    )


@pytest.mark.parametrize("kind", ["method", "partial", "default", "closure"])
def test_functions_that_hold_the_module_are_copied(kind):
    torch.manual_seed(0)
    module = torch.nn.Linear(3, 1)
    holder = Holder(module)

    def by_default(batch, embedded, module=module):
        return module(batch["x"][:, :, 0] if embedded is None else embedded[:, :, 0])

    def by_closure(batch, embedded):
        return by_default(batch, embedded)

    def scaled(batch, embedded):
        return functools.partial(holder.run, scale=2.0)(batch, embedded)

    forward = {"method": holder.run, "partial": scaled, "default": by_default, "closure": by_closure}[kind]
    subject, rows = around(module, forward), numbers(4)
    true = score(subject, rows)
    copy = copied(subject, rows)
    np.testing.assert_array_equal(score(copy, rows), true)
    moved(copy)
    assert np.abs(score(copy, rows) - true).max() > 0.01
    np.testing.assert_array_equal(score(subject, rows), true)


def test_a_module_found_by_a_global_name_is_refused():
    def by_global(batch, embedded):
        return LINEAR(batch["x"][:, :, 0] if embedded is None else embedded[:, :, 0])

    with pytest.raises(ModelError, match="still runs the original"):
        copied(around(LINEAR, by_global), numbers(2))

    def weights_by_global(batch, embedded):
        points = batch["x"] if embedded is None else embedded
        return points[:, :, 0] @ LINEAR.weight.T

    with pytest.raises(ModelError, match="half the copy's weights give the same score"):
        copied(around(LINEAR, weights_by_global), numbers(2))
