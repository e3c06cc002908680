"""What every method must bear: one token, 512 beside 5, float16, one output, a constant, padding alone."""

from pathlib import Path

import numpy as np
import pytest
import torch

from clinometer.errors import DataError
from clinometer.interpret.deep_lift import deep_lift
from clinometer.interpret.models import load, ours, wrap
from clinometer.interpret.occlusion import occlusion
from clinometer.interpret.preprocessing import TextPreprocessor
from clinometer.interpret.sampled_gradients import gradient_shap, smooth_grad
from clinometer.interpret.shapley import kernel_shap, shapley_values
from clinometer.interpret.transformer import Architecture, Classifier
from clinometer.records import Rows
from reference.model_folders import labelled, text_folder

METHODS = {
    "occlusion": (occlusion, {}),
    "Shapley values": (shapley_values, {"pairs": 2}),
    "KernelSHAP": (kernel_shap, {"samples": 560}),
    "GradientSHAP": (gradient_shap, {"samples": 3}),
    "SmoothGrad": (smooth_grad, {"samples": 3}),
    "DeepLIFT": (deep_lift, {}),
}
TRAINED = Path(__file__).parents[3] / "shared" / "models" / "tiny-sst2"
every = pytest.mark.parametrize("name", METHODS)


def run(name, subject, rows, **more):
    method, options = METHODS[name]
    result = method(subject, rows, **options, **more)
    assert result.method == name
    assert result.scores.shape == (len(rows), max(map(len, result.tokens)))
    assert np.isfinite(result.scores).all() and result.scores.dtype == np.float64
    return result


def texts(*lines):
    return Rows(ids=tuple(f"t{i}" for i in range(len(lines))), inputs={"text": np.array(lines, object)})


def own(outputs=2, *, constant=False, dtype=torch.float32):
    """A small Transformer of ours over words, with random weights."""
    words = texts(" ".join(f"word{i}" for i in range(40)))
    preprocessor = TextPreprocessor.fit(words.inputs, longest=512)
    torch.manual_seed(0)
    model = Classifier(
        Architecture(
            kind="text",
            width=8,
            layers=1,
            heads=2,
            feed_forward=16,
            dropout=0.0,
            outputs=outputs,
            **preprocessor.shape(),
        )
    )
    if constant:
        torch.nn.init.zeros_(model.head.weight)
    return ours(model.to(dtype), preprocessor, labels=("bad", "good") if outputs == 2 else ("price",))


@every
def test_a_long_row_beside_short_ones(name):
    generator = np.random.default_rng(0)
    lines = [" ".join(f"word{k}" for k in generator.integers(0, 40, size=n)) for n in (5, 512, 5)]
    rows, subject = texts(*lines), own()
    whole = run(name, subject, rows)
    assert [len(tokens) for tokens in whole.tokens] == [5, 512, 5]
    for i, n in enumerate((5, 512, 5)):
        alone = run(name, subject, rows.take([i]))
        np.testing.assert_allclose(whole.scores[i, :n], alone.scores[0], atol=1e-5)
        assert np.all(whole.scores[i, n:] == 0) and np.any(whole.scores[i, :n] != 0)


@every
def test_one_token(name):
    result = run(name, own(), texts("word3"))
    assert result.scores.shape == (1, 1) and result.scores[0, 0] != 0
    if name in ("Shapley values", "KernelSHAP"):
        np.testing.assert_allclose(result.scores.sum(axis=1), result.value - result.base_value, atol=1e-6)


@every
def test_markers_and_no_word(name, tmp_path):
    subject = load(text_folder(tmp_path, "BertForSequenceClassification", **labelled("bad", "good")))
    result = run(name, subject, texts("", "a great man"))
    assert result.tokens[0] == ("[CLS]", "[SEP]")
    if name != "SmoothGrad":
        assert np.all(result.scores[0] == 0), "there is nothing to take away"
        assert result.converged[0]


@every
def test_one_output(name):
    result = run(name, own(outputs=1), texts("word1 word2 word3", "word4"))
    assert result.unit == "output" and np.any(result.scores != 0)


@every
def test_a_constant_model(name):
    result = run(name, own(constant=True), texts("word1 word2 word3", "word4"))
    np.testing.assert_allclose(result.scores, 0, atol=1e-6)
    assert result.converged.all()


@every
@pytest.mark.parametrize(("dtype", "width"), [(torch.float16, 0.02), (torch.bfloat16, 0.2)])
def test_half_precision(name, dtype, width):
    rows = texts("word1 word2 word3 word4 word5", "word6")
    half, full = run(name, own(dtype=dtype), rows), run(name, own(), rows)
    np.testing.assert_allclose(half.scores, full.scores, atol=width * np.abs(full.scores).max())
    assert np.abs(half.scores - full.scores).max() > 0, "it did run in half precision"


@every
def test_a_transformers_model_in_half_precision(name, tmp_path):
    folder = text_folder(tmp_path, "BertForSequenceClassification", **labelled("bad", "good"))
    result = run(name, load(folder, dtype="float16"), texts("the film is a very good film", "dull"))
    assert np.any(result.scores[1] != 0)


@every
def test_a_row_of_nothing_but_padding_is_refused_by_name(name):
    module = torch.nn.Linear(1, 1).eval()

    def forward(batch, embedded):
        x = batch["x"][:, :, None] if embedded is None else embedded
        scores = torch.where(batch["x"].isnan()[:, :, None], -torch.inf, module(x))
        return (torch.softmax(scores, dim=1) * torch.nan_to_num(x)).sum(dim=1)

    subject = wrap(
        module,
        encode=lambda rows: {"x": torch.from_numpy(np.asarray(rows.inputs["x"], dtype=np.float32))},
        embed=lambda batch: torch.nan_to_num(batch["x"])[:, :, None],
        forward=forward,
        reference=lambda batch: torch.zeros_like(batch["x"])[:, :, None],
        names=lambda rows: (("a", "b"),) * len(rows),
        baseline="zeros",
    )
    rows = Rows(ids=("full", "void"), inputs={"x": np.array([[1.0, 2.0], [np.nan, np.nan]])})
    with pytest.raises(DataError, match="first rows: 'void'"):
        run(name, subject, rows)
    run(name, subject, rows.take([0]))


@every
def test_an_empty_text_of_a_model_without_markers_is_refused_by_name(name, tmp_path):
    subject = load(text_folder(tmp_path, "GPT2ForSequenceClassification", **labelled("bad", "good")))
    with pytest.raises(DataError, match="no token at all; first rows: 't1'"):
        run(name, subject, texts("a great man", ""))


@every
def test_a_trained_model_in_any_batch(name):
    if not TRAINED.is_dir():
        pytest.skip("the trained model tiny-sst2 is not beside this checkout")
    rows, subject = texts("a wonderful, warm and funny film", "dull", "no good jokes in it"), load(TRAINED)
    whole, single = run(name, subject, rows), run(name, subject, rows, batch_size=1)
    np.testing.assert_allclose(whole.scores, single.scores, atol=1e-5)
    if name in ("occlusion", "Shapley values", "KernelSHAP"):
        assert whole.tokens[0][2] == "wonderful" and whole.scores[0].argmax() == 2
        assert whole.scores[1, 1] < 0
