"""Subjects: our folder, a Hugging Face folder, anybody's module; and what is refused."""

import numpy as np
import pytest
import torch

from clinometer.errors import DataError, ModelError
from clinometer.interpret.folders import save
from clinometer.interpret.gradients import attribute, certify, head_effects
from clinometer.interpret.models import chunks, load, pick_device, score
from clinometer.interpret.preprocessing import TablePreprocessor
from clinometer.interpret.transformer import Architecture, Classifier
from clinometer.records import Rows
from reference.subjects import applicants, fitted

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "a", "very", "dull", "great"]


def hugging_face_folder(folder, *, pickled=False):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        id2label={0: "negative", 1: "positive"},
        label2id={"negative": 0, "positive": 1},
    )
    BertForSequenceClassification(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if pickled:
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    return folder


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
    subject = load(hugging_face_folder(tmp_path))
    rows = texts("a very good film", "dull", "a bad film")
    result = attribute(subject, rows)
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


def test_pickled_weights_are_refused(tmp_path):
    with pytest.raises(ModelError, match=r"pytorch_model\.bin.*can run code"):
        load(hugging_face_folder(tmp_path, pickled=True))


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
        score(load(hugging_face_folder(tmp_path)), applicants(3))


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
