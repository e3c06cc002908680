"""The frozen decomposition adds up by proof, equals what DecompX carries forward, and says when it fails."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import clinometer
from clinometer.errors import DataError, ModelError
from clinometer.interpret import rules
from clinometer.interpret.decomposition import frozen, frozen_decomposition, head_decomposition
from clinometer.interpret.frozen_functions import norm_of
from clinometer.interpret.gradients import gradient_x_input
from clinometer.interpret.head_effects import head_effects
from clinometer.interpret.lrp import attn_lrp
from clinometer.interpret.models import Subject, load, ours, score, wrap
from clinometer.interpret.preprocessing import TextPreprocessor
from clinometer.interpret.tracing import gradient_trace
from clinometer.interpret.transformer import Architecture, Classifier, MultiHeadAttention
from clinometer.records import Rows
from reference.subjects import applicants, fitted

pytest.importorskip("transformers", reason="transformers is not installed")
from reference.decompx import decomposition
from reference.model_folders import image_folder, labelled, text_folder

SHARED = Path(__file__).parents[3] / "shared"
LINES = ("a very good film about a dull man", "the answer is no", "yes")


def texts(*lines: str) -> Rows:
    return Rows(ids=tuple(f"t{i}" for i in range(len(lines))), inputs={"text": np.array(lines, object)})


def own(
    outputs: int = 2, *, constant: bool = False, dtype: torch.dtype = torch.float32, **settings
) -> Subject:
    """A small Transformer of ours over words, with random weights."""
    preprocessor = TextPreprocessor.fit(texts(" ".join(f"word{i}" for i in range(40))).inputs, longest=512)
    torch.manual_seed(0)
    shape = {"width": 8, "layers": 2, "heads": 2, "feed_forward": 16, "dropout": 0.0, **settings}
    model = Classifier(Architecture(kind="text", outputs=outputs, **shape, **preprocessor.shape()))
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.3)
    if constant:
        nn.init.zeros_(model.head.weight)
    return ours(model.to(dtype), preprocessor, labels=("bad", "good") if outputs == 2 else ("price",))


WORDS = texts("word1 word2 word3 word4 word5", "word6", "word7 word8")


def adds_up(subject: Subject, rows: Rows, tolerance: float):
    """The attribution, whose promise holds far within its tolerance."""
    made = frozen_decomposition(subject, rows)
    np.testing.assert_allclose(made.value, score(subject, rows), atol=1e-5, rtol=1e-5)
    assert np.abs(made.residual).max() < tolerance * max(1.0, np.abs(made.value).max())
    assert made.converged.all() and made.adds_up and len(made.notes) == 1
    assert np.abs(made.scores).max() > 1e-3
    assert all(not made.scores[i, len(tokens) :].any() for i, tokens in enumerate(made.tokens))
    return made


# It adds up.

FOLDERS = {
    "BertForSequenceClassification": {},
    "RobertaForSequenceClassification": {},
    "DistilBertForSequenceClassification": {},
    "BertForMaskedLM": {},
    "BertForTokenClassification": {},
    "GPT2ForSequenceClassification": {},
    "GPT2LMHeadModel": {},
    "LlamaForSequenceClassification": {},
    "LlamaForCausalLM": {},
    "T5ForSequenceClassification": {},
    "T5ForConditionalGeneration": {"feed_forward_proj": "gated-gelu"},
    "BartForSequenceClassification": {},
    "BartForConditionalGeneration": {},
}
LABELLED = ("SequenceClassification", "TokenClassification")


def folder(path: Path, architecture: str) -> Path:
    settings = labelled("bad", "fair", "good") if architecture.endswith(LABELLED) else {}
    return text_folder(path, architecture, **settings, **FOLDERS[architecture])


@pytest.mark.parametrize("architecture", FOLDERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tokens_and_base_are_the_target(architecture, dtype, tmp_path):
    subject = load(folder(tmp_path, architecture), dtype=dtype)
    rows = (
        texts("a very good [MASK] about a man", "no [MASK]") if "MaskedLM" in architecture else texts(*LINES)
    )
    tolerance = (
        1e-10 if dtype == "float64" and not architecture.startswith("Llama") else 1e-5
    )  # its norms are float32
    made = adds_up(subject, rows, tolerance)
    if dtype == "float64":
        plain = gradient_x_input(subject, rows)
        control = np.abs(made.value - made.base_value - plain.scores.sum(axis=1))
        assert control.max() > 1e-3, "negative control: without rules the sum is another one"


def test_images_are_divided_among_patches(tmp_path):
    subject = load(image_folder(tmp_path), dtype="float64")
    pixels = np.random.default_rng(0).integers(0, 255, size=(3, 12, 18, 3)).astype(np.uint8)
    made = adds_up(subject, Rows(ids=("a", "b", "c"), inputs={"pixels": pixels}), 1e-10)
    assert made.scores.shape == (3, 6)


@pytest.mark.parametrize(
    "settings", [{}, {"norm": "post", "activation": "relu"}, {"positions": "learned", "window": 2}], ids=str
)
def test_our_transformer_over_texts(settings):
    adds_up(own(**settings), WORDS, 1e-5)
    adds_up(own(dtype=torch.float64, **settings), WORDS, 1e-12)


def test_our_transformer_over_tables():
    rows = applicants(60)
    adds_up(fitted(rows, epochs=2), rows, 1e-5)
    made = adds_up(fitted(rows, epochs=2, dtype=torch.float64), rows, 1e-12)
    assert made.features == ("income", "debt", "noise", "home")


@pytest.mark.parametrize("name", ["tiny-sst2", "minilm-hatexplain"])
def test_trained_models(name):
    if not (SHARED / "models" / name).is_dir():
        pytest.skip(f"{name} is not beside this checkout")
    rows = texts("a wonderful, warm and funny film", "dull", "no good jokes in it")
    subject = clinometer.load(SHARED / "models" / name)
    made = adds_up(subject, rows, 1e-5)
    if name == "tiny-sst2":
        assert made.tokens[0][2] == "wonderful" and made.scores[0].argmax() == 2 and made.scores[1, 1] < 0


# It is DecompX.


def test_equal_to_the_decomposition_carried_forward_in_loops(tmp_path):
    subject = load(folder(tmp_path, "BertForSequenceClassification"), dtype="float64")
    rows = texts(*LINES)
    made = frozen_decomposition(subject, rows)
    encoded = subject.encode(rows)
    for i, names in enumerate(made.tokens):
        parts = decomposition(subject.module, encoded["input_ids"][i, : len(names)].tolist())
        shares = parts[:, 2] - parts[:, :2].mean(axis=1)  # the last label against the mean of the others
        np.testing.assert_allclose(made.scores[i, : len(names)], shares[:-1], atol=1e-9)
        np.testing.assert_allclose(made.base_value[i], shares[-1], atol=1e-9)
        np.testing.assert_allclose(made.value[i], shares.sum(), atol=1e-9)
    plain = gradient_x_input(subject, rows).scores
    assert np.abs(plain - made.scores).max() > 1e-2, "negative control"


def test_known_answer_of_one_attention_and_one_activation():
    """f = w . gelu(A V x)_0 + b: with A and the slope held, token j has slope A_0j v_j x_j."""
    torch.manual_seed(3)
    x = torch.randn(2, 4, 3, dtype=torch.float64)
    module = nn.Linear(3, 1, dtype=torch.float64)
    query, value = (torch.randn(3, 3, dtype=torch.float64) for _ in range(2))

    def forward(batch, embedded):
        e = batch["x"] if embedded is None else embedded
        attended = F.scaled_dot_product_attention(e @ query, e, e @ value)
        return module(F.gelu(attended[:, 0]))

    subject = wrapped(module, forward, x)
    made = adds_up(subject, numbered(2), 1e-12)
    weights = torch.softmax(torch.einsum("bd,bkd->bk", x[:, 0] @ query, x) / 3**0.5, dim=1)
    z = torch.einsum("bk,bkd->bd", weights, x @ value)
    parts = weights[:, :, None] * (x @ value) * (F.gelu(z) / z)[:, None] @ module.weight[0]
    np.testing.assert_allclose(made.scores, parts.detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(made.base_value, module.bias.item())


def numbered(n: int) -> Rows:
    return Rows(ids=tuple(f"r{i}" for i in range(n)), inputs={"row": np.arange(n)})


def wrapped(module: nn.Module, forward, x: torch.Tensor, names: int | None = None) -> Subject:
    """A Subject whose rows are the rows of a tensor (example, token, width)."""
    return wrap(
        module.eval(),
        forward,
        encode=lambda rows: {"x": x[torch.from_numpy(np.asarray(rows.inputs["row"]))]},
        embed=lambda batch: batch["x"],
        reference=lambda batch: torch.zeros_like(batch["x"]),
        names=lambda rows: (tuple(f"token {i}" for i in range(names or x.shape[1])),) * len(rows),
        baseline="zeros",
    )


# It says when it does not hold.


def recurrent() -> nn.Module:
    torch.manual_seed(2)
    return nn.LSTM(4, 4, batch_first=True, dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("exp", torch.exp),
        ("mul", lambda y: y * y.flip(-1)),
        ("log_softmax", lambda y: y.log_softmax(-1)),
        ("lstm", lambda y: recurrent()(y)[0]),
    ],
)
def test_a_model_beyond_the_rules_does_not_converge_and_says_why(name, function):
    torch.manual_seed(0)
    module, x = nn.Linear(4, 1, dtype=torch.float64), torch.randn(5, 3, 4, dtype=torch.float64)

    def forward(batch, embedded):
        return module(function(batch["x"] if embedded is None else embedded).sum(dim=1))

    made = frozen_decomposition(wrapped(module, forward, x), numbered(5))
    assert not made.converged.any()
    assert (np.abs(made.residual) > made.tolerance).all()
    assert len(made.notes) == 2 and name in made.notes[1]


def test_a_target_that_is_a_probability_does_not_converge(tmp_path):
    subject = load(folder(tmp_path, "BertForSequenceClassification"), dtype="float64")
    chances = dataclasses.replace(
        subject, forward=lambda batch, embedded: subject.forward(batch, embedded).softmax(dim=1)
    )
    made = frozen_decomposition(chances, texts(*LINES))
    assert not made.converged.any() and "softmax" in made.notes[1]


def test_bias_terms_that_are_forgotten_are_found_missing(monkeypatch):
    """Negative control of the certificate: it is no difference that comes out right whatever is done."""

    def without(*given):
        made = norm_of(*given)
        made.bias_term = None
        return made

    whole = frozen_decomposition(own(), WORDS)
    monkeypatch.setattr(rules, "norm_of", without)
    found = frozen_decomposition(own(), WORDS)
    np.testing.assert_allclose(found.scores, whole.scores)
    assert whole.converged.all() and not found.converged.any()


def test_a_function_that_is_not_torchs_is_found(monkeypatch):
    subject = own()
    part = subject.module.encoder.layers[1].feed_forward.inner
    monkeypatch.setattr(part, "forward", lambda x: Foreign.apply(F.linear(x, part.weight), part.bias))
    assert not frozen_decomposition(subject, WORDS).converged.any()


class Foreign(torch.autograd.Function):
    """Adds a bias term where torch's functions are not called."""

    @staticmethod
    def forward(ctx, x, bias):
        return x + bias

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


# Edges.

BOTH = pytest.mark.parametrize("method", [frozen_decomposition, attn_lrp], ids=["frozen", "AttnLRP"])


@BOTH
def test_one_token(method):
    made = method(own(), texts("word3"))
    assert made.scores.shape == (1, 1) and made.scores[0, 0] != 0


@BOTH
def test_a_long_row_beside_short_ones_and_any_batch(method):
    generator = np.random.default_rng(0)
    lines = [" ".join(f"word{k}" for k in generator.integers(0, 40, size=n)) for n in (5, 512, 5)]
    rows, subject = texts(*lines), own()
    whole = method(subject, rows)
    assert [len(tokens) for tokens in whole.tokens] == [5, 512, 5]
    for i, n in enumerate((5, 512, 5)):
        alone = method(subject, rows.take([i]), batch_size=1)
        np.testing.assert_allclose(whole.scores[i, :n], alone.scores[0], atol=1e-5)
        assert np.all(whole.scores[i, n:] == 0) and np.any(whole.scores[i, :n] != 0)
    if method is frozen_decomposition:
        assert np.abs(whole.residual).max() < 1e-5


@BOTH
@pytest.mark.parametrize(
    "architecture",
    ["BertForSequenceClassification", "GPT2ForSequenceClassification", "T5ForSequenceClassification"],
)
def test_padding_and_batches_do_not_matter(method, architecture, tmp_path):
    subject, rows = load(folder(tmp_path, architecture)), texts(*LINES, "it is a great film")
    whole, single = method(subject, rows), method(subject, rows, batch_size=1)
    np.testing.assert_allclose(whole.scores, single.scores, atol=1e-5 * max(1.0, np.abs(whole.scores).max()))
    again = method(subject, rows, seed=5)
    np.testing.assert_array_equal(whole.scores, again.scores)


@BOTH
def test_little_memory_changes_nothing(method):
    subject, rows = own(), texts(*(" ".join(f"word{k + i}" for k in range(6)) for i in range(9)))
    np.testing.assert_allclose(
        method(subject, rows, max_memory=1).scores, method(subject, rows).scores, atol=1e-6
    )


@BOTH
def test_one_output(method):
    made = method(own(outputs=1), WORDS)
    assert made.unit == "output" and np.any(made.scores != 0) and made.converged.all()


@BOTH
def test_a_constant_model(method):
    made = method(own(constant=True), WORDS)
    assert not made.scores.any() and made.converged.all()
    if method is frozen_decomposition:
        np.testing.assert_allclose(made.base_value, made.value)


@BOTH
def test_a_model_that_reads_no_embedding(method):
    module, x = nn.Linear(4, 1), torch.randn(3, 2, 4)
    made = method(wrapped(module, lambda batch, _: module(batch["x"][:, 0]), x), numbered(3))
    assert not made.scores.any() and made.converged.all()


@BOTH
@pytest.mark.parametrize(("dtype", "width"), [(torch.float16, 0.02), (torch.bfloat16, 0.2)])
def test_half_precision(method, dtype, width):
    half, full = method(own(dtype=dtype), WORDS), method(own(), WORDS)
    np.testing.assert_allclose(half.scores, full.scores, atol=width * np.abs(full.scores).max())
    assert np.abs(half.scores - full.scores).max() > 0, "it did run in half precision"


@BOTH
@pytest.mark.parametrize("architecture", ["BertForSequenceClassification", "LlamaForSequenceClassification"])
def test_a_transformers_model_in_half_precision(method, architecture, tmp_path):
    path = folder(tmp_path, architecture)
    half, full = (method(load(path, dtype=dtype), texts(*LINES)) for dtype in ("float16", "float32"))
    np.testing.assert_allclose(half.scores, full.scores, atol=0.05 * np.abs(full.scores).max())


@BOTH
def test_a_row_of_nothing_but_padding_is_refused_by_name(method):
    module = nn.Linear(1, 1)
    x = torch.tensor([[[1.0], [2.0]], [[torch.nan], [torch.nan]]])

    def forward(batch, embedded):
        given = torch.nan_to_num(batch["x"] if embedded is None else embedded)
        weights = torch.softmax(torch.where(batch["x"].isnan(), -torch.inf, module(given)), dim=1)
        return (weights * given).sum(dim=1)

    subject = wrapped(module, forward, x)
    with pytest.raises(DataError, match="first rows: 'r1'"):
        method(subject, numbered(2))
    method(subject, numbered(1))


@BOTH
def test_an_empty_text_without_markers_is_refused_by_name(method, tmp_path):
    subject = load(folder(tmp_path, "GPT2ForSequenceClassification"))
    with pytest.raises(DataError, match="no token at all; first rows: 't1'"):
        method(subject, texts("a great man", ""))


@BOTH
def test_no_rows_and_impossible_batches_are_refused(method):
    with pytest.raises(DataError, match="no rows"):
        method(own(), WORDS.take([]))
    with pytest.raises(ModelError, match="batch_size is 0"):
        method(own(), WORDS, batch_size=0)


@BOTH
def test_nothing_is_left_behind(method, tmp_path):
    subject, rows = load(folder(tmp_path, "GPT2ForSequenceClassification")), texts(*LINES)
    before, gradients = score(subject, rows), gradient_x_input(subject, rows).scores
    asked = {name: parameter.requires_grad for name, parameter in subject.module.named_parameters()}
    method(subject, rows)
    np.testing.assert_array_equal(score(subject, rows), before)
    np.testing.assert_array_equal(gradient_x_input(subject, rows).scores, gradients)
    assert all(parameter.grad is None for parameter in subject.module.parameters())
    assert asked == {name: parameter.requires_grad for name, parameter in subject.module.named_parameters()}
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in subject.module.modules())


# Heads.


class ByHandAttention(nn.Module):
    """Two heads, with a softmax of its own."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(8, 24)

    def forward(self, x):
        q, k, v = (part.unflatten(-1, (2, 4)).transpose(1, 2) for part in self.inner(x).chunk(3, dim=-1))
        return (torch.softmax(q @ k.transpose(-1, -2) / 2, dim=-1) @ v).transpose(1, 2).flatten(2)


class OfTorch(nn.Module):
    """Torch's multi-head attention, from a tensor to a tensor."""

    def __init__(self, weights):
        super().__init__()
        self.inner, self.weights = nn.MultiheadAttention(8, 2, batch_first=True), weights

    def forward(self, x):
        return self.inner(x, x, x, need_weights=self.weights)[0]


ATTENTIONS = {
    "ours": (lambda: MultiHeadAttention(8, 2), lambda module: module.out.bias),
    "by hand": (ByHandAttention, None),
    "torch": (lambda: OfTorch(False), lambda module: module.inner.out_proj.bias),
    "torch, with weights": (lambda: OfTorch(True), lambda module: module.inner.out_proj.bias),
}


@pytest.mark.parametrize("name", ATTENTIONS)
def test_heads_add_up_where_all_passes_them(name):
    torch.manual_seed(1)
    make, after = ATTENTIONS[name]
    module, x = nn.Sequential(make(), nn.Linear(8, 1)).double(), torch.randn(3, 4, 8, dtype=torch.float64)
    constant = module[1].bias
    if after is not None:
        constant = constant + module[1].weight @ nn.init.normal_(after(module[0]))
    subject = wrapped(module, lambda batch, e: module(batch["x"] if e is None else e)[:, 0], x)
    rows = numbered(3)
    effect, made = head_decomposition(subject, rows), frozen_decomposition(subject, rows)
    assert effect.contribution.shape == (3, 1, 2)
    np.testing.assert_allclose(effect.contribution.sum(axis=(1, 2)) + constant.item(), made.value, atol=1e-12)
    np.testing.assert_allclose(effect.moved.sum(axis=3), effect.contribution, atol=1e-12)


def test_heads_of_a_model_are_what_the_formula_says(tmp_path):
    """C_ij = A_ij <v_j, g_i>, summed to <O_h, g_h>, with g of the frozen model."""
    subject = load(folder(tmp_path, "BertForSequenceClassification"), dtype="float64")
    rows = texts(LINES[0], LINES[0])
    effect = head_decomposition(subject, rows)
    trace = gradient_trace(frozen(subject), subject.encode(rows))
    for layer, call in enumerate(trace.calls):
        product = (call.output * trace.gradients[layer]).sum(dim=(2, 3))
        np.testing.assert_allclose(effect.contribution[:, layer], product.numpy(), atol=1e-10)
    assert not np.allclose(effect.contribution, head_effects(subject, rows).contribution), "negative control"


def test_a_frozen_subject_scores_as_before(tmp_path):
    subject = load(folder(tmp_path, "LlamaForSequenceClassification"))
    rows = texts(*LINES)
    np.testing.assert_array_equal(score(frozen(subject), rows), score(subject, rows))
