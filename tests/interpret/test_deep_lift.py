"""DeepLIFT: complete on networks of modules with rules, captum's numbers elsewhere, told where rules lack."""

import numpy as np
import pytest
import torch
from torch import nn

from clinometer.errors import DataError, ModelError
from clinometer.interpret.deep_lift import deep_lift
from clinometer.interpret.gradients import Target
from clinometer.interpret.models import load
from clinometer.records import Rows
from reference.deep_lift import deep_lift as slowly
from reference.functions import numbers, subject_of
from reference.model_folders import labelled, text_folder

LINES = ("the film is a very good and great film", "dull", "is it good? yes", "a great man")
FIVE = tuple("abcde")


def texts(*lines):
    return Rows(ids=tuple(f"t{i}" for i in range(len(lines))), inputs={"text": np.array(lines, object)})


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    return load(
        text_folder(folder, "BertForSequenceClassification", **labelled("bad", "good")), dtype="float64"
    )


class Network(nn.Module):
    """Numbers (example, token, 1) -> the layers -> (example,)."""

    def __init__(self, *layers, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.Sequential(*(layer() for layer in layers)).double()

    def forward(self, points):
        return self.layers(points.flatten(1))[:, 0]


def deep():
    return Network(
        lambda: nn.Linear(5, 16),
        nn.ReLU,
        lambda: nn.Linear(16, 8),
        nn.Tanh,
        lambda: nn.Linear(8, 8),
        nn.Softplus,
        lambda: nn.Linear(8, 1),
    )


def test_complete_on_a_network_of_modules_and_equal_to_a_slow_twin():
    rows = numbers(20, tokens=5)
    network = deep()
    result = deep_lift(subject_of(network, names=FIVE, reference=0.2), rows)
    assert np.abs(result.residual).max() < 1e-12 and result.converged.all()
    assert np.abs(result.scores).max() > 0.01
    x, b = torch.from_numpy(np.asarray(rows.inputs["x"])), torch.full((5,), 0.2, dtype=torch.float64)
    twin = np.stack([slowly(network.layers, row, b) for row in x])
    np.testing.assert_allclose(result.scores, twin, atol=1e-9)
    assert result.notes[0].startswith("rescale rule")


def test_complete_in_float32_to_a_hundred_thousandth():
    rows = numbers(20, tokens=5)
    network = deep().float()
    result = deep_lift(subject_of(network, names=FIVE, reference=0.2, dtype=torch.float32), rows)
    assert np.abs(result.residual).max() < 1e-5 and result.converged.all()


def test_saturated_units_keep_their_difference():
    """The paper's example: y = 1 - relu(1 - a - b) has no gradient at a = b = 1, and a difference of 1."""

    class Saturating(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.ReLU()

        def forward(self, x):
            return 1 - self.act(1 - x[:, 0, 0] - x[:, 1, 0])

    ones = Rows(ids=("one",), inputs={"x": np.array([[1.0, 1.0, 5.0]])})
    result = deep_lift(subject_of(Saturating()), ones)
    np.testing.assert_allclose(result.scores, [[0.5, 0.5, 0.0]])


def test_activations_called_as_functions_are_not_covered_and_the_residual_shows_it():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.first, self.second = nn.Linear(5, 16).double(), nn.Linear(16, 1).double()

        def forward(self, x):
            return self.second(torch.tanh(3 * self.first(x.flatten(1))))[:, 0]

    result = deep_lift(subject_of(Functional(), names=FIVE), numbers(20, tokens=5))
    assert not result.converged.all()
    assert np.all(np.abs(result.residual[~result.converged]) > result.tolerance[~result.converged])
    assert result.notes == (
        "no module that ran has a DeepLIFT rule: this is the gradient times (x - baseline)",
    )


def test_equal_to_captum_by_hand(bert):
    from captum.attr import DeepLift

    rows = texts(*LINES)
    result = deep_lift(bert, rows)
    for i, tokens in enumerate(result.tokens):
        batch = bert.encode(rows.take([i]))
        x, b = bert.embed(batch).detach().requires_grad_(), bert.reference(batch).detach()
        with pytest.warns(UserWarning, match="Setting forward, backward hooks"):
            made = DeepLift(Target(bert, batch)).attribute(
                x, b, additional_forward_args=tuple(batch.values())
            )
        np.testing.assert_allclose(
            result.scores[i, : len(tokens)], made[0].sum(dim=1).detach().numpy(), atol=1e-10
        )
    assert not result.converged.all(), "attention and layer norms have no rules"


def test_batches_order_and_memory_do_not_matter(bert):
    rows = texts(*LINES)
    whole = deep_lift(bert, rows).scores
    for changed in (
        deep_lift(bert, rows, batch_size=1),
        deep_lift(bert, rows, max_memory=1),
        deep_lift(bert, rows, progress=True),
    ):
        np.testing.assert_allclose(changed.scores, whole, atol=1e-10)
    np.testing.assert_allclose(deep_lift(bert, rows.take([3, 2, 1, 0])).scores[::-1], whole, atol=1e-10)
    for tokens, scores in zip(deep_lift(bert, rows).tokens, whole, strict=True):
        assert scores[0] == 0 and np.all(scores[len(tokens) - 1 :] == 0)
        assert np.all(scores[1 : len(tokens) - 1] != 0)


class Mixing(nn.Module):
    """A softmax or a pooling module, whose rules in captum mix the rows of a batch."""

    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(1)
        self.first, self.last = nn.Linear(6, 6).double(), nn.Linear(6 if kind == "softmax" else 3, 1).double()
        self.middle = nn.Softmax(dim=2) if kind == "softmax" else nn.MaxPool1d(2)
        # The pooling rule takes the first row's gradient where a unit equals its reference: unit 0, if x0 = x1.
        self.first.weight.data[0] = torch.tensor([1.0, -1.0, 0.0, 0.0, 0.0, 0.0])
        self.first.bias.data[0] = -0.05  # the larger of its window in some rows only

    def forward(self, x):
        return self.last(self.middle(self.first(x.flatten(1))[:, None]))[:, 0, 0]


@pytest.mark.parametrize("kind", ["softmax", "pooling"])
def test_rules_that_mix_rows_are_kept_from_doing_so(kind):
    from captum.attr import DeepLift

    x = np.random.default_rng(0).normal(size=(6, 6))
    x[:, 1] = x[:, 0]
    rows = Rows(ids=tuple("abcdef"), inputs={"x": x})
    subject = subject_of(Mixing(kind), names=tuple("uvwxyz"))
    whole = deep_lift(subject, rows).scores
    alone = np.concatenate([deep_lift(subject, rows.take([i])).scores for i in range(6)])
    np.testing.assert_array_equal(whole, alone)
    batch = subject.encode(rows)
    with pytest.warns(UserWarning, match="Setting forward, backward hooks"):
        mixed = DeepLift(Target(subject, batch)).attribute(
            subject.embed(batch).requires_grad_(),
            subject.reference(batch),
            additional_forward_args=tuple(batch.values()),
        )
    assert np.abs(mixed.detach().sum(dim=2).numpy() - whole).max() > 1e-3, "captum does mix a batch"


class Reused(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.act = nn.Linear(5, 5).double(), nn.Linear(5, 1).double(), nn.ReLU()

    def forward(self, x):
        return self.act(self.second(self.act(self.first(x.flatten(1)))))[:, 0]


def test_a_module_that_runs_twice_is_refused_by_name():
    with pytest.raises(
        ModelError, match=r"run more than once in one forward pass of function: 'act \(ReLU\)'"
    ):
        deep_lift(subject_of(Reused(), names=FIVE), numbers(tokens=5))


def test_nothing_is_left_on_the_modules():
    class Aside(nn.Module):
        """An activation whose output the target does not use, and one that fails when asked to."""

        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Tanh(), nn.ReLU()
            self.fail = False

        def forward(self, x):
            self.unused(x)
            if self.fail and x.requires_grad:
                raise RuntimeError("a cable came loose")
            return self.used(x.sum(dim=1))[:, 0]

    module = Aside()
    subject = subject_of(module)
    rows = numbers()
    assert np.abs(deep_lift(subject, rows).residual).max() < 1e-12
    module.fail = True
    with pytest.raises(RuntimeError, match="a cable came loose"):
        deep_lift(subject, rows)
    for part in (module, module.used, module.unused):
        assert not {"input", "output", "input_ref"} & set(vars(part))
        assert not part._forward_hooks and not part._forward_pre_hooks and not part._backward_hooks


def test_linear_in_the_target():
    rows = numbers(tokens=5)
    one, other = deep(), deep()
    other.layers[6].weight.data.mul_(-0.5)

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other = deep(), deep()
            self.other.load_state_dict(other.state_dict())

        def forward(self, x):
            return 3 * self.one(x) - self.other(x)

    both = deep_lift(subject_of(Both(), names=FIVE), rows).scores
    apart = [deep_lift(subject_of(module, names=FIVE), rows).scores for module in (one, other)]
    np.testing.assert_allclose(both, 3 * apart[0] - apart[1], atol=1e-12)


def test_rows_that_cannot_be_used_are_refused():
    rows = numbers(tokens=5)
    broken = Rows(ids=rows.ids, inputs={"x": np.where(np.arange(5)[:, None] == 3, np.nan, rows.inputs["x"])})
    subject = subject_of(deep(), names=FIVE)
    with pytest.raises(DataError, match="'p3'"):
        deep_lift(subject, broken)
    with pytest.raises(DataError, match="no rows"):
        deep_lift(subject, rows.take([]))
    with pytest.raises(ModelError, match="batch_size is 0"):
        deep_lift(subject, rows, batch_size=0)
