"""Pruned heads give nothing, or their mean, and the scores are those of a gate; where possible, in the weights."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from clinometer.errors import DataError, UsageError
from clinometer.interpret.edits import AT_RUN_TIME, IN_WEIGHTS
from clinometer.interpret.folding import heads_of, scale_heads
from clinometer.interpret.gates import Mean, gates
from clinometer.interpret.hugging_face import hugging_face
from clinometer.interpret.models import Subject, load, score, wrap
from clinometer.interpret.pruning import mean_outputs, prune_heads
from clinometer.interpret.tracing import trace
from clinometer.records import Rows
from reference.edit_subjects import NAMES, subject_and_rows, text_rows
from reference.model_folders import bert_settings, bert_tokenizer, labelled, text_folder

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
WAYS = (("weights", IN_WEIGHTS), ("run time", AT_RUN_TIME))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Subject, Rows]]:
    folder = tmp_path_factory.mktemp("pruned")
    return {name: subject_and_rows(name, folder) for name in NAMES}


def largest(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("way", "found"), WAYS)
def test_gates_that_are_all_one_change_nothing_bit_for_bit(made, name, way, found):
    subject, rows = made[name]
    stage = {
        layer: (torch.ones(n, dtype=torch.float64), None) for layer, n in heads_of(subject, rows).items()
    }
    same = scale_heads(subject, rows, stage, kind="head gates", parameters={}, way=way)
    assert same.edits[0].way == found
    assert np.array_equal(score(same, rows), score(subject, rows))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("way", "found"), WAYS)
def test_a_closed_head_is_a_gate_of_zero_and_the_model_given_stays_as_it_was(made, name, way, found):
    subject, rows = made[name]
    layers = list(heads_of(subject, rows))
    before = score(subject, rows)
    pruned = prune_heads(subject, [(layers[0], 1), (1, 0)], rows, way=way)
    with gates(subject, {(layers[0], 1): 0.0, (layers[1], 0): 0.0}):
        gated = score(subject, rows)
    assert pruned.edits[0].way == found
    assert largest(score(pruned, rows), gated) < 1e-6
    assert largest(gated, before) > 1e-2  # negative control: these heads matter
    assert np.array_equal(score(subject, rows), before)
    assert subject.edits == ()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", ["weights", "run time"])
def test_a_head_at_its_mean_is_a_gate_of_the_mean(made, name, way):
    subject, rows = made[name]
    layer = list(heads_of(subject, rows))[1]
    pruned = prune_heads(subject, [(layer, 0)], rows, instead="mean", way=way, batch_size=3)
    with gates(subject, {(layer, 0): Mean(trace(subject, rows))}):
        gated = score(subject, rows)
    assert largest(score(pruned, rows), gated) < 1e-5
    assert largest(score(prune_heads(subject, [(layer, 0)], rows), rows), gated) > 1e-3


def test_means_are_over_queries_that_are_no_padding(made):
    subject, rows = made["bert"]
    layer = next(iter(heads_of(subject, rows)))
    total, count = torch.zeros(2, 8, dtype=torch.float64), 0
    for i in range(len(rows)):  # one row at a time: there is no padding
        output = trace(subject, rows.take([i])).call(layer).output
        total, count = total + output.double().sum(dim=(0, 2)), count + output.shape[2]
    assert torch.allclose(mean_outputs(subject, rows)[layer], total / count, atol=1e-6)


def test_a_projection_without_a_bias_takes_no_means_and_says_so(tmp_path):
    subject = load(text_folder(tmp_path / "t5", "T5ForConditionalGeneration"), candidates=("yes", "no"))
    rows = text_rows()
    layer = "decoder.block.1.layer.1.EncDecAttention"
    closed = prune_heads(subject, [(layer, 0)], rows)
    assert closed.edits[0].way == IN_WEIGHTS
    with gates(subject, {(layer, 0): 0.0}):
        assert largest(score(closed, rows), score(subject, rows)) < 1e-6
    held = prune_heads(subject, [(layer, 0)], rows, instead="mean")
    assert held.edits[0].way == AT_RUN_TIME
    assert "no bias" in held.edits[0].parameters["why_not_in_the_weights"]
    with pytest.raises(
        UsageError, match=r"cannot be folded into weights, for the projection behind .* has no bias"
    ):
        prune_heads(subject, [(layer, 0)], rows, instead="mean", way="weights")


def test_layers_that_share_their_weights_are_gated_one_by_one(tmp_path):
    tokenizer = bert_tokenizer()
    torch.manual_seed(0)
    settings = {**bert_settings(tokenizer), "embedding_size": 8, **labelled("bad", "good")}
    model = transformers.AlbertForSequenceClassification(transformers.AlbertConfig(**settings))
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim >= 2:
                weight.normal_(0.0, 0.4)
    subject, rows = hugging_face(model, tokenizer), text_rows()
    first, second = heads_of(subject, rows)
    assert second == f"{first}#2"
    pruned = prune_heads(subject, [(second, 0)], rows)
    assert pruned.edits[0].way == AT_RUN_TIME
    assert "serves several attention calls" in pruned.edits[0].parameters["why_not_in_the_weights"]
    with gates(subject, {(second, 0): 0.0}):
        gated = score(subject, rows)
    assert largest(score(pruned, rows), gated) < 1e-6
    assert largest(score(prune_heads(subject, [(first, 0)], rows), rows), gated) > 1e-3


class Stack(nn.Module):
    """Torch's multi-head attention, or heads that leave by two doors."""

    def __init__(self, *, doors: int) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
        self.out, self.doors = nn.Linear(8, 8), doors
        self.query = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        if self.doors == 1:
            return self.attend(x, x, x, need_weights=False)[0].sum(dim=(1, 2), keepdim=True)[:, 0]
        heads = self.query(x).unflatten(2, (2, 4)).transpose(1, 2)
        given = nn.functional.scaled_dot_product_attention(heads, heads, heads).transpose(1, 2).flatten(2)
        return (self.out(given) + given.tanh()).sum(dim=(1, 2), keepdim=True)[:, 0]


@pytest.mark.parametrize(("doors", "way"), [(1, IN_WEIGHTS), (2, AT_RUN_TIME)])
def test_a_module_of_ones_own_is_folded_only_where_that_is_all_a_head_does(doors, way):
    torch.manual_seed(0)
    subject = wrap(Stack(doors=doors).double().eval())
    x = np.random.default_rng(0).normal(size=(6, 5, 8))
    rows = Rows(ids=tuple("abcdef"), inputs={"x": x})
    pruned = prune_heads(subject, [(0, 1)], rows)
    assert pruned.edits[0].way == way
    with gates(subject, {(0, 1): 0.0}):
        gated = score(subject, rows)
    assert largest(score(pruned, rows), gated) < 1e-9
    assert largest(gated, score(subject, rows)) > 1e-3
    if doors == 2:
        assert "others than with gates" in pruned.edits[0].parameters["why_not_in_the_weights"]


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ([("encoder.layers.0.atention", 0)], "did you mean 'encoder.layers.0.attention'"),
        ([(2, 0)], "the model makes 2, so 0 to 1"),
        ([(0, 2)], "has no head 2: it has 2"),
        ([(0, -1)], "has no head -1"),
        ([], "one at least"),
        ([(0, 0), ("encoder.layers.0.attention", 0)], "2 heads were named, 1 of them different"),
    ],
)
def test_heads_that_are_not_there_are_refused(made, heads, message):
    subject, rows = made["own"]
    with pytest.raises(UsageError, match=message):
        prune_heads(subject, heads, rows)


def test_other_arguments_that_make_no_sense_are_refused(made, shapes_unchecked):
    subject, rows = made["own"]
    with pytest.raises(DataError, match="no validation rows"):
        prune_heads(subject, [(0, 0)], rows.take(np.array([], dtype=int)))
    with pytest.raises(UsageError, match="did you mean 'mean'"):
        prune_heads(subject, [(0, 0)], rows, instead="means")
    with pytest.raises(UsageError, match="'auto', 'weights' or 'run time'"):
        prune_heads(subject, [(0, 0)], rows, way="somehow")
