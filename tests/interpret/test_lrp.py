"""AttnLRP equals the numbers of its authors' package, halves products, and carries its licence's note."""

import json

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clinometer.errors import DataError
from clinometer.interpret.gradients import gradient_x_input
from clinometer.interpret.lrp import attn_lrp
from clinometer.interpret.models import load
from clinometer.interpret.rules import ATTN_LRP, FROZEN, following
from clinometer.records import Rows

pytest.importorskip("transformers", reason="transformers is not installed")
from reference.model_folders import labelled, text_folder
from reference.relevance_models import IDS, MODELS, RULES, STORED, build, target

NUMBERS = json.loads(STORED.read_text(encoding="utf-8"))
OURS = {"attnLRP": ATTN_LRP, "cp_LRP": FROZEN}
STORED_ONES = [(name, rules) for name in MODELS for rules in RULES if rules in NUMBERS[name]]


def test_the_stored_numbers_are_of_the_models_and_rules_named():
    assert [name for name, _ in STORED_ONES if _ == "attnLRP"] == list(MODELS)
    assert {"LlamaForCausalLM", "GPT2LMHeadModel", "Qwen2ForCausalLM", "Qwen3ForCausalLM"} <= set(MODELS)
    assert NUMBERS["lxt"] == "2.1"


@pytest.mark.parametrize(("name", "rules"), STORED_ONES)
def test_equal_to_the_authors_package(name, rules):
    """Of the package's CP-LRP, the frozen decomposition."""
    model = build(name)
    embedded = model.get_input_embeddings()(torch.tensor([IDS])).detach().requires_grad_()
    with following(model, OURS[rules]) as follow:
        value = target(model, follow.start(embedded))
    (gradient,) = torch.autograd.grad(value, embedded)
    assert float(value.detach()) == pytest.approx(NUMBERS[name]["value"], abs=1e-9), "the same model"
    found = (embedded * gradient).sum(dim=2)[0].detach().numpy()
    np.testing.assert_allclose(found, NUMBERS[name][rules], atol=1e-8)
    plain = embedded.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(target(model, plain), plain)
    control = (plain * gradient).sum(dim=2)[0].detach().numpy()
    assert np.abs(control - NUMBERS[name][rules]).max() > 1e-2, "negative control: gradients without rules"


def test_a_subject_is_explained_as_the_model_is(tmp_path):
    subject = load(
        text_folder(tmp_path, "LlamaForSequenceClassification", **labelled("bad", "good")), dtype="float64"
    )
    rows = Rows(ids=("a", "b"), inputs={"text": np.array(["a good film", "the answer is no"], object)})
    made = attn_lrp(subject, rows)
    for i, names in enumerate(made.tokens):
        batch = subject.encode(rows.take([i]))
        embedded = subject.embed(batch).detach().requires_grad_()
        with following(subject.module, ATTN_LRP) as follow:
            value = subject.select(subject.forward(batch, follow.start(embedded)))
        (gradient,) = torch.autograd.grad(value.sum(), embedded)
        expected = (embedded * gradient).sum(dim=2)[0].detach().numpy()
        np.testing.assert_allclose(made.scores[i, : len(names)], expected, atol=1e-10)
    assert np.abs(made.scores - gradient_x_input(subject, rows).scores).max() > 1e-3, "negative control"


def test_it_promises_no_sum_and_carries_the_licences_note(tmp_path):
    subject = load(text_folder(tmp_path, "BertForSequenceClassification", **labelled("bad", "good")))
    made = attn_lrp(subject, Rows(ids=("a",), inputs={"text": np.array(["a good film"], object)}))
    assert not made.adds_up and np.isnan(made.residual).all()
    assert any("patent" in note and note.startswith("licence") for note in made.notes)
    assert "patent" in (attn_lrp.__doc__ or "")
    assert made.method == "AttnLRP" and made.baseline == "" and made.unit == "logit"


def relevance(function, *tensors: Tensor) -> tuple[Tensor, list[Tensor]]:
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    with following(nn.Module(), ATTN_LRP) as follow:
        result = function(*(follow.start(leaf) for leaf in leaves))
    found = torch.autograd.grad(result.sum(), leaves)
    return result.detach(), [(leaf * gradient).detach() for leaf, gradient in zip(leaves, found, strict=True)]


@pytest.mark.parametrize(
    "function",
    [
        lambda a, b: a * b,
        lambda a, b: a @ b,
        lambda a, b: torch.einsum("ij,jk->ik", a, b),
        lambda a, b: F.silu(a) * b,
    ],
    ids=["mul", "matmul", "einsum", "gated"],
)
def test_a_product_gives_half_of_its_relevance_to_each_factor(function):
    torch.manual_seed(0)
    result, (one, other) = relevance(function, *(torch.randn(3, 3, dtype=torch.float64) for _ in range(2)))
    torch.testing.assert_close(one.sum(), result.sum() / 2)
    torch.testing.assert_close(other.sum(), result.sum() / 2)


def test_softmax_passes_on_what_its_derivative_says():
    """R_i = x_i (R_i' - s_i sum of R'), proposition 3.1 of the paper; in the sum, what is lost."""
    torch.manual_seed(0)
    x, weights = torch.randn(5, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    _, (found,) = relevance(lambda y: torch.softmax(y, dim=0) * weights, x)
    soft = torch.softmax(x, dim=0)
    received = soft * weights
    torch.testing.assert_close(found, x * (received - soft * received.sum()))


def test_no_rows_are_refused(tmp_path):
    subject = load(text_folder(tmp_path, "BertForSequenceClassification", **labelled("bad", "good")))
    with pytest.raises(DataError, match="no rows"):
        attn_lrp(subject, Rows(ids=(), inputs={"text": np.array([], object)}))
