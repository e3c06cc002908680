"""Subjects: our folder, a Hugging Face folder, anybody's module; and what is refused."""

import numpy as np
import pytest
import torch

from clinometer.errors import DataError, ModelError
from clinometer.interpret.folders import save
from clinometer.interpret.head_effects import head_effects
from clinometer.interpret.methods import attribute
from clinometer.interpret.models import chunks, load, pick_device, score, wrap
from clinometer.interpret.preprocessing import TablePreprocessor
from clinometer.interpret.tracing import certify, trace
from clinometer.interpret.transformer import Architecture, Classifier
from clinometer.records import Rows
from reference.model_folders import text_folder
from reference.subjects import applicants, fitted


def texts(*lines):
    return Rows(ids=tuple(f"t{i}" for i in range(len(lines))), inputs={"text": np.array(lines, dtype=object)})


def test_our_folder_loads_again_with_the_same_scores(tmp_path):
    rows = applicants(40)
    preprocessor = TablePreprocessor.fit(
        rows.inputs, numeric=["income", "debt", "noise"], categorical=["home"]
    )
    torch.manual_seed(1)
    model = Classifier(
        Architecture(
            kind="table", width=16, layers=1, heads=2, feed_forward=32, dropout=0.0, **preprocessor.shape()
        )
    ).eval()
    save(
        tmp_path / "m", model, preprocessor, labels=("no", "yes"), extra={"threshold": 0.25, "positive": "no"}
    )
    first, second = load(tmp_path / "m"), load(tmp_path / "m")
    assert np.array_equal(score(first, rows), score(second, rows))
    assert first.threshold == 0.25
    assert first.target == "logit(no) - logit(yes)"
    np.testing.assert_allclose(
        score(first, rows), -score(load(tmp_path / "m", positive="yes"), rows), atol=1e-6
    )
    assert set(first.columns) == {"income", "debt", "noise", "home"}
    assert len(first.provenance["weights_sha256"]) == 64
    with pytest.raises(ModelError, match="did you mean 'yes'"):
        load(tmp_path / "m", positive="yess")


def test_a_hugging_face_classifier_is_explained_end_to_end(tmp_path):
    subject = load(text_folder(tmp_path, "BertForSequenceClassification"))
    rows = texts("a very good film", "dull", "a bad film")
    result = attribute(subject, rows, most_nodes=1280)
    assert result.tokens[1] == ("[CLS]", "dull", "[SEP]")
    assert np.all(result.scores[1, 3:] == 0), "padding gets nothing"
    assert np.all(np.abs(result.scores[:, 0]) < 1e-12), "special tokens are their own baseline"
    assert result.converged.all()
    assert "mask token" in result.baseline
    alone = attribute(subject, rows.take([1]))
    np.testing.assert_allclose(alone.scores[0], result.scores[1, :3], atol=1e-5)
    effects = head_effects(subject, rows)
    np.testing.assert_allclose(effects.moved.sum(axis=3), effects.contribution, atol=1e-6)
    assert max(certify(subject, rows)["layers"].values()) < 1e-5


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "neither clinometer.json"),
        ({"config.json": "{", "model.safetensors": ""}, "is not JSON"),
        (
            {"config.json": '{"architectures": ["BertModel"]}', "model.safetensors": ""},
            "ForSequenceClassification",
        ),
    ],
)
def test_a_folder_that_is_no_model_is_refused(tmp_path, files, message):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ModelError, match=message):
        load(tmp_path)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(ModelError, match="is not a folder"):
        load(tmp_path / "nowhere")


def test_a_missing_column_is_named(tmp_path):
    rows = applicants(10)
    subject = fitted(rows, epochs=0)
    lacking = Rows(ids=rows.ids, inputs={k: v for k, v in rows.inputs.items() if k != "debt"})
    with pytest.raises(DataError, match="'debt'"):
        score(subject, lacking)
    with pytest.raises(DataError, match="'text'"):
        score(load(text_folder(tmp_path, "BertForSequenceClassification")), applicants(3))


@pytest.mark.parametrize("device", ["cuda:99", "gpu"])
def test_an_unusable_device_is_refused(device):
    if device.startswith("cuda") and torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(ModelError, match="cpu"):
        pick_device(device)


def test_batches_keep_the_order():
    rows = applicants(10)
    assert [len(part) for part in chunks(rows, 4)] == [4, 4, 2]
    assert tuple(i for part in chunks(rows, 4) for i in part.ids) == rows.ids


class Attending(torch.nn.Module):
    """One attention over a series, pooled into two outputs."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.attention = torch.nn.MultiheadAttention(4, 2, batch_first=True)
        self.drop = torch.nn.Dropout(0.5)
        self.head = torch.nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.drop(self.attention(x, x, x)[0]).mean(dim=1))


def series(n=3):
    return Rows(
        ids=tuple(f"s{i}" for i in range(n)), inputs={"x": np.random.default_rng(0).normal(size=(n, 5, 4))}
    )


def test_a_module_alone_is_enough_to_trace():
    module = Attending().eval()
    seen = trace(wrap(module), series())
    assert seen.layers == ("attention",)
    assert seen.map("attention", 0, 2).shape == (5, 5)
    by_forward = trace(wrap(module, lambda batch: module(batch["x"])), series())
    assert np.array_equal(seen.map(0, 1, 1), by_forward.map(0, 1, 1))
    assert wrap(module).names(series())[0] == ("0", "1", "2", "3", "4")


def test_scores_of_several_outputs_need_their_labels():
    module = Attending().eval()
    with pytest.raises(ModelError, match=r"shape \(3, 2\) and has 1 label.*labels=\(\.\.\.\)"):
        score(wrap(module), series())
    subject = wrap(module, labels=("no", "yes"))
    with torch.no_grad():
        outputs = module(torch.from_numpy(series().inputs["x"]).float()).numpy()
    np.testing.assert_allclose(score(subject, series()), outputs[:, 1] - outputs[:, 0], atol=1e-6)
    one = wrap(module, lambda batch: module(batch["x"])[:, 0])
    np.testing.assert_allclose(score(one, series()), outputs[:, 0], atol=1e-6)
    assert (one.target, one.unit) == ("output", "output")


def test_an_attribution_says_what_was_not_given():
    subject = wrap(Attending().eval(), labels=("no", "yes"))
    with pytest.raises(ModelError, match=r"without 'embed', 'reference', 'baseline'.*not attributed"):
        attribute(subject, series())


def test_an_attribution_works_with_what_it_needs_and_numbers_its_tokens():
    module = Attending().eval()
    subject = wrap(
        module,
        lambda batch, embedded: module(batch["x"] if embedded is None else embedded),
        embed=lambda batch: batch["x"],
        reference=lambda batch: torch.full_like(batch["x"], 0.3),
        baseline="three tenths everywhere",
        labels=("no", "yes"),
    )
    result = attribute(subject, series())
    assert result.converged.all()
    assert result.tokens[0] == ("0", "1", "2", "3", "4")
    assert head_effects(subject, series()).received.shape == (3, 1, 2, 5)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"embed": lambda batch: batch["x"]}, "lacks 'reference', 'baseline', 'a forward"),
        ({"forward": lambda: None}, "takes no argument"),
        ({"positive": "yess", "labels": ("no", "yes")}, "did you mean 'yes'"),
    ],
)
def test_a_wrap_that_cannot_work_is_refused(how, message):
    with pytest.raises(ModelError, match=message):
        wrap(Attending().eval(), **how)


def test_a_forward_that_returns_no_tensor_is_refused():
    with pytest.raises(ModelError, match="returned a dict"):
        score(wrap(Attending().eval(), lambda batch: {}), series())


def test_texts_need_an_encoder():
    rows = Rows(ids=("a",), inputs={"x": np.array(["good"], dtype=object)})
    with pytest.raises(DataError, match="an encode"):
        trace(wrap(Attending().eval()), rows)


def test_a_module_in_training_mode_is_refused_with_the_fix():
    module = Attending().eval()
    module.drop.train()
    with pytest.raises(ModelError, match=r"'drop'.*module\.eval\(\)"):
        wrap(module)


@pytest.mark.usefixtures("shapes_unchecked")
def test_a_compiled_module_is_traced_through_its_original():
    module = Attending().eval()
    compiled = torch.compile(module, backend="eager")
    subject = wrap(compiled, labels=("no", "yes"))
    plain = wrap(module, labels=("no", "yes"))
    assert np.array_equal(trace(subject, series()).map(0, 1, 1), trace(plain, series()).map(0, 1, 1))
    assert trace(subject, series()).layers == ("attention",)
    assert subject.provenance["class"].endswith("Attending")
    np.testing.assert_allclose(score(subject, series()), score(plain, series()), atol=1e-6)
