"""Laws over the whole table of attribution methods, and the inputs on which none may fail."""

import functools

import numpy as np
import pytest
import torch

from clinometer.errors import CaptureError, ClinometerError, DataError, UsageError
from clinometer.interpret.methods import METHODS, attribute, method_named
from clinometer.interpret.models import load, score, wrap
from clinometer.records import Rows
from reference.model_folders import CORPUS, labelled, text_folder

NAMES = [method.name for method in METHODS]
# So that a law costs seconds: few samples, and long rows for methods that refuse them by default.
QUICK = {
    "Shapley values": {"pairs": 2},
    "KernelSHAP": {"samples": 64},
    "GradientSHAP": {"samples": 8},
    "SmoothGrad": {"samples": 4},
}


def options(name):
    known = method_named(name).function.__kwdefaults__ or {}
    return {key: value for key, value in QUICK.get(name, {}).items() if key in known}


def texts(*given):
    return Rows(ids=tuple(f"t{i}" for i in range(len(given))), inputs={"text": np.array(given, dtype=object)})


ROWS = texts(CORPUS[0], "a film", "is it good? yes", CORPUS[1])


@functools.cache
def folder(kind, *labels, length=40):
    import tempfile
    from pathlib import Path

    made = Path(tempfile.mkdtemp(prefix="methods-"))
    more = {"max_position_embeddings": length} if kind.startswith("Bert") else {}
    return text_folder(made, kind, **labelled(*labels), **more)


@pytest.fixture(scope="module")
def subject():
    return load(folder("BertForSequenceClassification", "bad", "fair", "good"), dtype="float64")


@pytest.fixture(scope="module")
def whole(subject):
    @functools.cache
    def made(name):
        return attribute(subject, ROWS, name, seed=3, **options(name))

    return made


@pytest.mark.parametrize("name", NAMES)
def test_the_record_is_what_the_table_says(subject, whole, name):
    method, record = method_named(name), whole(name)
    assert record.method == name and record.ids == ROWS.ids
    assert record.tokens == subject.names(ROWS)
    assert record.unit == (subject.unit if method.unit else "")
    assert bool(method.adds_up) == record.adds_up
    assert bool(record.baseline) == method.compares
    for i, tokens in enumerate(record.tokens):
        assert (record.scores[i, len(tokens) :] == 0).all()
    assert np.abs(record.scores).max() > 0
    if not method.signed:
        assert (record.scores >= -1e-12).all()
    np.testing.assert_allclose(record.value, score(subject, ROWS), atol=1e-9)
    if record.adds_up:
        within = np.abs(record.residual) <= record.tolerance + 1e-6 * np.maximum(1, np.abs(record.value))
        np.testing.assert_array_equal(record.converged, within)
    else:
        assert record.converged.all() and np.isnan(record.tolerance).all()


@pytest.mark.parametrize("name", NAMES)
def test_batches_and_padding_change_nothing(subject, whole, name):
    record = whole(name)
    scale = max(1.0, float(np.abs(record.scores).max()))
    for size in (1, 3):
        other = attribute(subject, ROWS, name, batch_size=size, seed=3, **options(name))
        np.testing.assert_allclose(other.scores, record.scores, atol=1e-5 * scale)
    backwards = attribute(subject, ROWS.take([3, 2, 1, 0]), name, seed=3, **options(name))
    np.testing.assert_allclose(backwards.scores, record.scores[::-1], atol=1e-5 * scale)


@pytest.mark.parametrize("name", NAMES)
def test_one_seed_one_answer_and_the_generators_of_others_are_left_alone(subject, whole, name):
    torch.manual_seed(11)
    np.random.seed(11)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    again = attribute(subject, ROWS, name, seed=3, **options(name))
    np.testing.assert_array_equal(again.scores, whole(name).scores)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()


@pytest.mark.parametrize("name", NAMES)
def test_another_label_matters_where_the_table_says_so(subject, whole, name):
    other = attribute(subject, ROWS, name, label="bad", seed=3, **options(name))
    moved = np.abs(other.scores - whole(name).scores).max()
    if method_named(name).class_specific:
        assert moved > 1e-6
    else:
        assert moved < 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_another_baseline_matters_where_there_is_one(subject, whole, name):
    if not method_named(name).compares:
        with pytest.raises(UsageError, match="compares the input with nothing"):
            attribute(subject, ROWS, name, baseline="padding", **options(name))
        return
    other = attribute(subject, ROWS, name, baseline="padding", seed=3, **options(name))
    assert np.abs(other.scores - whole(name).scores).max() > 1e-6
    assert "[PAD]" in other.baseline


class Dummy(torch.nn.Module):
    """A target that does not read its last token, and in which the first two are symmetric."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([1.0, 1.0, -2.0, 0.0], dtype=torch.float64))

    def forward(self, embedded):
        pooled = torch.tanh((self.weight[:, None] * embedded).sum(dim=(1, 2)))
        return (pooled + 0.3 * embedded[:, 0, 0] * embedded[:, 1, 0])[:, None]


@pytest.mark.parametrize("name", NAMES)
def test_a_dummy_gets_nothing_and_symmetric_tokens_the_same(name):
    module = Dummy().eval()
    made = wrap(
        module,
        lambda batch, embedded: module(batch["x"] if embedded is None else embedded),
        encode=lambda rows: {"x": torch.from_numpy(np.asarray(rows.inputs["x"]))[:, :, None]},
        embed=lambda batch: batch["x"],
        reference=lambda batch: torch.zeros_like(batch["x"]),
        names=lambda rows: (("one", "other", "third", "dummy"),) * len(rows),
        baseline="zero everywhere, on purpose",
        columns=("x",),
    )
    x = np.random.default_rng(0).normal(size=(5, 4))
    x[:, 1] = x[:, 0]
    rows = Rows(ids=tuple("abcde"), inputs={"x": x})
    if name in ATTENDING:
        with pytest.raises(CaptureError, match="attention"):
            attribute(made, rows, name, **options(name))
        return
    found = attribute(made, rows, name, **options(name))
    close = (
        0.05 if name == "KernelSHAP" else 1e-9
    )  # a regression on coalitions that were drawn is only near it
    np.testing.assert_allclose(found.scores[:, 3], 0.0, atol=close)
    if name not in SAMPLED:
        np.testing.assert_allclose(found.scores[:, 0], found.scores[:, 1], atol=1e-7)
    assert np.abs(found.scores[:, 2]).max() > 1e-3


ATTENDING = (
    "attention x gradient",
    "gradient-weighted relevance",
    "attention rollout",
    "attention flow",
    "raw attention",
    "value-weighted norms",
    "value zeroing",
)
SAMPLED = ("GradientSHAP", "SmoothGrad", "KernelSHAP")


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_linear_in_the_target_where_they_should_be(subject, name):
    if name not in LINEAR:
        pytest.skip(f"{name} promises no linearity in the target")
    parts = {
        label: attribute(subject, ROWS, name, target="logit", label=label, seed=3, **LINEAR[name]).scores
        for label in subject.labels
    }
    both = attribute(subject, ROWS, name, label="bad", seed=3, **LINEAR[name]).scores
    expected = parts["bad"] - (parts["fair"] + parts["good"]) / 2
    np.testing.assert_allclose(both, expected, atol=1e-7 * max(1.0, float(np.abs(expected).max())))


LINEAR = {
    "integrated gradients": {"nodes": 8, "most_nodes": 8},
    "gradient x input": {},
    "occlusion": {},
    "Shapley values": {"pairs": 2},
    "attention x gradient": {},
    "frozen decomposition": {},
    "GradientSHAP": {"samples": 4},
    "SmoothGrad": {"samples": 4},
}


# The inputs on which no method may fail.


@pytest.mark.parametrize("name", NAMES)
def test_one_token(name):
    decoder = load(folder("GPT2ForSequenceClassification", "no", "yes"), dtype="float64")
    rows = texts("a")
    assert len(decoder.names(rows)[0]) == 1
    found = attribute(decoder, rows, name, **options(name))
    assert found.scores.shape == (1, 1) and np.isfinite(found.scores).all()
    encoder = load(folder("BertForSequenceClassification", "bad", "fair", "good"), dtype="float64")
    assert np.isfinite(attribute(encoder, texts("film", CORPUS[0]), name, **options(name)).scores).all()


@pytest.mark.parametrize("name", NAMES)
def test_512_tokens_beside_five(name):
    subject = load(folder("BertForSequenceClassification", "no", "yes", length=512))
    rows = texts("a film is", " ".join(["film"] * 255 + ["dull"] * 255), "it is dull")
    assert [len(tokens) for tokens in subject.names(rows)] == [5, 512, 5]
    few = {**options(name), **LONG_OPTIONS.get(name, {})}
    if name in REFUSES_LONG:
        with pytest.raises(DataError, match="more than 128 tokens"):
            attribute(subject, rows, name, **few)
        return
    found = attribute(subject, rows, name, **few)
    assert np.isfinite(found.scores).all()
    alone = attribute(subject, rows.take([0]), name, **few)
    scale = max(1.0, float(np.abs(found.scores).max()))
    np.testing.assert_allclose(found.scores[0, :5], alone.scores[0, :5], atol=1e-4 * scale)


LONG_OPTIONS = {
    "Shapley values": {"pairs": 2},
    "KernelSHAP": {"samples": 520},
    "integrated gradients": {"most_nodes": 20},
}
REFUSES_LONG = ("attention flow",)


@pytest.mark.parametrize("name", NAMES)
def test_float16(name):
    subject = load(folder("BertForSequenceClassification", "bad", "fair", "good"), dtype="float16")
    found = attribute(subject, ROWS, name, **options(name))
    assert np.isfinite(found.scores).all() and found.scores.dtype == np.float64


@pytest.mark.parametrize("name", NAMES)
def test_one_output(name):
    subject = load(folder("BertForSequenceClassification", "rating"), dtype="float64")
    assert len(subject.labels) == 1
    found = attribute(subject, ROWS, name, **options(name))
    assert np.isfinite(found.scores).all() and np.abs(found.scores).max() > 0


@pytest.mark.parametrize("name", NAMES)
def test_a_constant_model(name):
    subject = load(folder("BertForSequenceClassification", "bad", "fair", "good"), dtype="float64")
    with torch.no_grad():
        subject.module.classifier.weight.zero_()
    found = attribute(subject, ROWS, name, **options(name))
    assert np.ptp(found.value) == 0 and np.isfinite(found.scores).all() and found.converged.all()
    if method_named(name).class_specific:
        np.testing.assert_allclose(found.scores, 0.0, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_a_row_of_padding_alone_is_named(name):
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    encoder = torch.nn.TransformerEncoder(layer, 1, enable_nested_tensor=False).eval().double()

    def forward(batch, embedded):
        x = batch["x"] if embedded is None else embedded
        return encoder(x, src_key_padding_mask=batch["padding"]).mean(dim=(1, 2))[:, None]

    def encode(rows):
        x = torch.from_numpy(np.asarray(rows.inputs["x"]))
        return {"x": x, "padding": (x == 0).all(dim=2)}

    made = wrap(
        encoder,
        forward,
        encode=encode,
        embed=lambda batch: batch["x"],
        reference=lambda batch: torch.zeros_like(batch["x"]),
        names=lambda rows: (("a", "b", "c"),) * len(rows),
        baseline="zero",
        columns=("x",),
    )
    x = np.random.default_rng(0).normal(size=(3, 3, 8))
    x[1] = 0.0
    rows = Rows(ids=("first", "empty", "last"), inputs={"x": x})
    with pytest.raises(ClinometerError, match="empty"):
        attribute(made, rows, name, **options(name))


def test_what_the_table_does_not_know_is_refused(subject):
    with pytest.raises(UsageError, match="did you mean 'integrated gradients'"):
        attribute(subject, ROWS, "integrated gradient")
    with pytest.raises(UsageError, match="did you mean 'nodes'"):
        attribute(subject, ROWS, node=3)
    with pytest.raises(DataError, match="no rows"):
        attribute(subject, ROWS.take([]))
    assert len(set(NAMES)) == len(NAMES) and all(method.source and method.cost for method in METHODS)
