"""Reading safely: what is refused and how to convert it; number types, 8 bits, device maps and adapters."""

import importlib.util
import json
import warnings

import numpy as np
import pytest
import torch

from clinometer.errors import ModelError
from clinometer.interpret import texts as texts_module
from clinometer.interpret.folders import save
from clinometer.interpret.head_effects import head_effects
from clinometer.interpret.methods import attribute
from clinometer.interpret.models import load, score
from clinometer.interpret.preprocessing import TablePreprocessor
from clinometer.interpret.tracing import certify, trace
from clinometer.interpret.transformer import Architecture, Classifier
from clinometer.records import Rows
from reference.model_folders import bert_tokenizer, image_folder, labelled, speech_folder, text_folder
from reference.subjects import applicants

KINDS = labelled("negative", "positive")
ROWS = Rows(
    ids=("t0", "t1", "t2"),
    inputs={"text": np.array(["the film is a very good film", "dull", "is it good? yes"], dtype=object)},
)


def classifier(tmp_path, **settings):
    return text_folder(tmp_path, "BertForSequenceClassification", **KINDS, **settings)


def edit(file, **changes):
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def needs(package):
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"{package} is not installed")


def test_pickled_weights_are_refused_with_the_way_to_convert_them(tmp_path):
    path = classifier(tmp_path)
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    with pytest.raises(
        ModelError,
        match=r"'pytorch_model\.bin'.*can run code.*BertForSequenceClassification\.from_pretrained\(old\)\.save_pretrained",
    ):
        load(path)


def test_an_index_that_points_to_pickles_is_refused(tmp_path):
    path = classifier(tmp_path)
    index = {"metadata": {}, "weight_map": {"bert.x": "evil.bin", "bert.y": "model.safetensors"}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"points to 'evil\.bin'"):
        load(path)


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_of_the_folder_is_refused(tmp_path, file):
    path = classifier(tmp_path)
    edit(path / file, auto_map={"AutoModel": "modeling_evil.Evil"})
    (path / "modeling_evil.py").write_text("raise SystemExit('this was run')")
    with pytest.raises(ModelError, match=r"auto_map: 'modeling_evil\.Evil'.*never run"):
        load(path)


def test_code_of_an_image_processor_is_refused(tmp_path):
    path = image_folder(tmp_path)
    edit(path / "preprocessor_config.json", auto_map={"AutoImageProcessor": "evil.Evil"})
    with pytest.raises(ModelError, match="never run"):
        load(path)


def test_a_kernel_from_a_hub_is_refused(tmp_path):
    path = classifier(tmp_path)
    edit(path / "config.json", attn_implementation="somebody/kernel")
    with pytest.raises(ModelError, match=r"somebody/kernel.*downloaded and run"):
        load(path)


@pytest.mark.parametrize("damage", ["cut", "empty", "header"])
def test_damaged_weights_are_one_paragraph(tmp_path, damage):
    path = classifier(tmp_path)
    file = path / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "header": b"\xff" * 64}[damage])
    with pytest.raises(ModelError, match="cut short") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_weights_of_another_shape_are_refused(tmp_path):
    path = classifier(tmp_path)
    edit(path / "config.json", intermediate_size=64)
    with pytest.raises(ModelError):
        load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: [f.unlink() for f in path.glob("tokenizer*")], "has no tokenizer"),
        (lambda path: (path / "tokenizer.json").write_text("{"), "cannot be loaded by transformers"),
        (lambda path: (path / "tokenizer_config.json").write_text("[]"), "a JSON object"),
        (lambda path: (path / "config.json").write_text("[1]"), "holds a list"),
    ],
)
def test_damaged_settings_and_tokenizers_are_one_paragraph(tmp_path, change, message):
    path = classifier(tmp_path)
    change(path)
    with pytest.raises(ModelError, match=message) as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_larger_than_any_vocabulary_is_refused_unread(tmp_path, monkeypatch):
    path = classifier(tmp_path)
    monkeypatch.setattr(texts_module, "LARGEST_FILE", 100)
    with pytest.raises(ModelError, match=r"'tokenizer\.json'.*larger than"):
        load(path)


def test_an_adapter_is_not_taken_for_a_model(tmp_path):
    path = classifier(tmp_path)
    (path / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="holds an adapter"):
        load(path)


@pytest.mark.parametrize(("dtype", "allowed"), [("float64", 1e-5), ("bfloat16", 0.1), ("float16", 0.02)])
def test_other_number_types_score_nearly_the_same_and_are_certified(tmp_path, dtype, allowed):
    path = classifier(tmp_path)
    plain, other = load(path), load(path, dtype=dtype)
    assert next(other.module.parameters()).dtype is getattr(torch, dtype)
    full = score(plain, ROWS)
    np.testing.assert_allclose(score(other, ROWS), full, atol=allowed * np.abs(full).max())
    assert not np.array_equal(score(other, ROWS), full)
    certify(other, ROWS)
    assert other.provenance["dtype"] == dtype
    trace(other, ROWS).certify()


@pytest.mark.parametrize("folder", [image_folder, speech_folder])
def test_half_precision_reaches_pixels_and_samples(tmp_path, folder):
    subject = load(folder(tmp_path), dtype="bfloat16")
    rows = (
        Rows(ids=("p",), inputs={"pixels": np.random.default_rng(0).integers(0, 255, (1, 9, 9, 3), np.uint8)})
        if folder is image_folder
        else Rows(ids=("r",), inputs={"audio": np.random.default_rng(0).normal(size=(1, 300))})
    )
    full = score(load(tmp_path), rows)
    np.testing.assert_allclose(score(subject, rows), full, atol=0.1 * np.abs(full).max() + 0.05)


def test_a_number_type_that_the_device_cannot_run_is_an_error(tmp_path, monkeypatch):
    from transformers import BertForSequenceClassification

    path = classifier(tmp_path)

    def fails(*_, **__):
        raise RuntimeError("\"addmm_impl_cpu_\" not implemented for 'Half'")

    monkeypatch.setattr(BertForSequenceClassification, "forward", fails)
    with pytest.raises(ModelError, match=r"does not run in torch\.float16 on cpu.*dtype='float32'"):
        load(path, dtype="float16")


@pytest.mark.parametrize(
    "architecture", ["BertForSequenceClassification", "LlamaForCausalLM", "T5ForConditionalGeneration"]
)
def test_torch_int8_keeps_its_attention_certified(tmp_path, architecture):
    settings = KINDS if "Sequence" in architecture else {}
    path = text_folder(tmp_path, architecture, **settings)
    how = {} if settings else {"candidates": ("yes", "no") if architecture[0] == "T" else (" is", " film")}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        subject = load(path, quantise="int8", **how)
    full = score(load(path, **how), ROWS)
    quantised = score(subject, ROWS)
    assert not np.array_equal(quantised, full), "the weights are other ones"
    np.testing.assert_allclose(quantised, full, atol=0.15 * np.abs(full).max() + 0.3)
    assert subject.provenance["quantisation"].startswith("torch dynamic int8 in ")
    kinds = {type(part).__module__ for part in subject.module.modules()}
    assert any("quantized.dynamic" in kind for kind in kinds)
    assert max(certify(subject, ROWS)["layers"].values()) < 1e-5
    full_trace, seen = trace(load(path, **how), ROWS), trace(subject, ROWS)
    assert seen.layers == full_trace.layers


def test_torch_int8_refuses_gradients_which_it_would_drop(tmp_path):
    subject = load(classifier(tmp_path), quantise="int8")
    with pytest.raises(ModelError, match=r"no gradient.*int8-weights"):
        attribute(subject, ROWS)
    with pytest.raises(ModelError, match="no gradient"):
        head_effects(subject, ROWS)


def test_a_folder_of_ours_in_8_bits_and_in_another_type(tmp_path):
    rows = applicants(12)
    preprocessor = TablePreprocessor.fit(
        rows.inputs, numeric=["income", "debt", "noise"], categorical=["home"]
    )
    torch.manual_seed(1)
    shape = {"kind": "table", "width": 16, "layers": 1, "heads": 2, "feed_forward": 32, "dropout": 0.0}
    model = Classifier(Architecture(**shape, **preprocessor.shape())).eval()
    save(tmp_path / "m", model, preprocessor, labels=("no", "yes"))
    full = score(load(tmp_path / "m"), rows)
    eight = load(tmp_path / "m", quantise="int8")
    np.testing.assert_allclose(score(eight, rows), full, atol=0.1 * np.abs(full).max())
    assert max(certify(eight, rows)["layers"].values()) < 1e-5
    double = load(tmp_path / "m", dtype="float64")
    np.testing.assert_allclose(score(double, rows), full, atol=1e-5)
    assert attribute(double, rows).converged.all()
    with pytest.raises(ModelError, match="'candidates' is for Hugging Face"):
        load(tmp_path / "m", candidates=("a", "b"))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"quantise": "int4"}, "did you mean 'int8'"),
        ({"quantise": "int8", "dtype": "bfloat16"}, "float32 weights"),
        ({"dtype": "half"}, "is not known"),
        ({"device": "auto", "device_map": "auto"}, "give one of them"),
    ],
)
def test_what_cannot_be_combined_is_refused(tmp_path, how, message):
    with pytest.raises(ModelError, match=message):
        load(classifier(tmp_path), **how)


@pytest.mark.parametrize(
    ("how", "package"),
    [
        ({"device_map": "auto"}, "accelerate"),
        ({"quantise": "int8-weights"}, "torchao"),
        ({"adapter": "adapter"}, "peft"),
    ],
)
def test_an_absent_package_is_named(tmp_path, monkeypatch, how, package):
    path = classifier(tmp_path / "m")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (adapter / "adapter_model.safetensors").write_bytes(b"")
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == package else find(name, *rest)
    )
    if "adapter" in how:
        how = {"adapter": adapter}
    with pytest.raises(ModelError, match=f"pip install {package}"):
        load(path, **how)


@needs("accelerate")
def test_a_device_map_puts_parts_where_it_says(tmp_path):
    path = classifier(tmp_path)
    mapped = load(path, device_map={"bert.embeddings": "cpu", "bert": "cpu", "classifier": "cpu"})
    np.testing.assert_allclose(score(mapped, ROWS), score(load(path), ROWS), atol=1e-6)
    assert json.loads(mapped.provenance["device_map"])["classifier"] == "cpu"
    assert max(certify(mapped, ROWS)["layers"].values()) < 1e-5
    assert attribute(mapped, ROWS, most_nodes=1280).converged.all()
    assert np.isfinite(score(load(path, device_map="auto"), ROWS)).all()
    with pytest.raises(ModelError, match="'disk'"):
        load(path, device_map={"bert": "disk", "classifier": "cpu"})


@needs("torchao")
def test_torchao_weights_keep_gradients(tmp_path):
    path = classifier(tmp_path)
    subject = load(path, quantise="int8-weights")
    full = score(load(path), ROWS)
    np.testing.assert_allclose(score(subject, ROWS), full, atol=0.15 * np.abs(full).max())
    assert not np.array_equal(score(subject, ROWS), full)
    assert subject.provenance["quantisation"].startswith("torchao weight-only int8 in ")
    assert max(certify(subject, ROWS)["layers"].values()) < 1e-5
    assert attribute(subject, ROWS, most_nodes=1280).converged.all()


def adapter_of(path, folder, **settings):
    """A random adapter of the model in `path`, saved; returns the model with it, unmerged."""
    from peft import LoraConfig, get_peft_model
    from transformers import BertForSequenceClassification

    base = BertForSequenceClassification.from_pretrained(path)
    model = get_peft_model(base, LoraConfig(r=4, target_modules=["query", "value"], **settings))
    torch.manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(0.0, 0.3)
    model.save_pretrained(folder)
    return model.eval()


@needs("peft")
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_an_adapter_is_merged_and_scores_as_peft_does(tmp_path):
    path, folder = classifier(tmp_path / "m"), tmp_path / "adapter"
    model = adapter_of(path, folder)
    subject = load(path, adapter=folder)
    tokenizer = bert_tokenizer()
    for i, line in enumerate(ROWS.inputs["text"]):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([tokenizer(line)["input_ids"]])).logits[0]
        assert score(subject, ROWS)[i] == pytest.approx(float(logits[1] - logits[0]), abs=1e-5)
    assert not np.allclose(score(subject, ROWS), score(load(path), ROWS), atol=1e-2)
    assert len(subject.provenance["adapter_sha256"]) == 64 and subject.provenance["adapter"] == "adapter"
    assert "adapter" not in load(path).provenance
    assert subject.provenance["class"] == "BertForSequenceClassification"
    assert trace(subject, ROWS).layers == trace(load(path), ROWS).layers
    eight = load(path, adapter=folder, quantise="int8")
    assert max(certify(eight, ROWS)["layers"].values()) < 1e-5


@needs("peft")
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_adapters_that_are_unsafe_or_add_tokens_are_refused(tmp_path):
    from peft import PromptTuningConfig, get_peft_model
    from transformers import BertForSequenceClassification

    path, folder = classifier(tmp_path / "m"), tmp_path / "adapter"
    adapter_of(path, folder)
    edit(folder / "adapter_config.json", megatron_config={"a": 1})
    with pytest.raises(ModelError, match="megatron"):
        load(path, adapter=folder)
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(ModelError, match=r"'adapter_model\.bin'.*can run code"):
        load(path, adapter=folder)
    base = BertForSequenceClassification.from_pretrained(path)
    settings = PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=2, token_dim=16, num_layers=2)
    get_peft_model(base, settings).save_pretrained(tmp_path / "prompt")
    with pytest.raises(ModelError, match="PROMPT_TUNING adapter, which adds tokens"):
        load(path, adapter=tmp_path / "prompt")


def test_hashes_tell_what_was_loaded(tmp_path):
    one = load(classifier(tmp_path / "a")).provenance
    same = load(classifier(tmp_path / "b")).provenance
    other = load(classifier(tmp_path / "c", seed=1)).provenance
    assert one["weights_sha256"] == same["weights_sha256"] != other["weights_sha256"]
    assert one["tokenizer_sha256"] == other["tokenizer_sha256"]
    image = load(image_folder(tmp_path / "d")).provenance
    assert len(image["processor_sha256"]) == 64 and image["task"] == "image classification"
