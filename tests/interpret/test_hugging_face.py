"""Folders of every supported task: padded rows score as they do alone, targets are what they say, refusals help."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from clinometer.errors import DataError, ModelError
from clinometer.interpret.head_effects import head_effects
from clinometer.interpret.hugging_face import hugging_face
from clinometer.interpret.methods import attribute
from clinometer.interpret.models import load, score
from clinometer.interpret.tracing import certify, trace
from clinometer.records import Rows
from reference.model_folders import labelled, text_folder

TAGS = labelled("O", "NAME", "PLACE")
KINDS = labelled("negative", "neutral", "positive")
LINES = ("the film is a very good and great film", "dull", "is it good? yes")
MASKED = ("the [MASK] is a very good and great film", "[MASK] dull", "is it [MASK]?")
FOLDERS = [
    ("BertForSequenceClassification", KINDS, LINES, {}),
    ("RobertaForSequenceClassification", KINDS, LINES, {}),
    ("DistilBertForSequenceClassification", KINDS, LINES, {}),
    ("GPT2ForSequenceClassification", KINDS, LINES, {}),
    ("LlamaForSequenceClassification", KINDS, LINES, {}),
    ("BartForSequenceClassification", KINDS, LINES, {}),
    ("T5ForSequenceClassification", KINDS, LINES, {}),
    ("BertForTokenClassification", TAGS, LINES, {}),
    ("DistilBertForTokenClassification", TAGS, LINES, {"positive": "PLACE"}),
    ("BertForMaskedLM", {}, MASKED, {}),
    ("RobertaForMaskedLM", {}, MASKED, {"candidates": ("good", "dull")}),
    ("GPT2LMHeadModel", {}, LINES, {}),
    ("GPT2LMHeadModel", {}, LINES, {"candidates": (" is", " film")}),
    ("LlamaForCausalLM", {}, LINES, {"candidates": (" is", " film"), "positive": " film"}),
    ("T5ForConditionalGeneration", {}, LINES, {}),
    ("T5ForConditionalGeneration", {}, LINES, {"candidates": ("yes", "no")}),
    ("BartForConditionalGeneration", {}, LINES, {"candidates": ("yes", "no")}),
]


def texts(*lines, **columns):
    inputs = {"text": np.array(lines, dtype=object)}
    inputs |= {name: np.array(values) for name, values in columns.items()}
    return Rows(ids=tuple(f"t{i}" for i in range(len(lines))), inputs=inputs)


def name_of(folder):
    return f"{folder[0]}{'-' + '-'.join(folder[3]) if folder[3] else ''}"


@pytest.fixture(scope="module", params=FOLDERS, ids=name_of)
def loaded(request, tmp_path_factory):
    architecture, settings, lines, how = request.param
    path = text_folder(tmp_path_factory.mktemp("model"), architecture, **settings)
    return architecture, load(path, **how), texts(*lines)


def test_a_padded_row_scores_as_it_does_alone(loaded):
    _, subject, rows = loaded
    together = score(subject, rows)
    alone = [score(subject, rows.take([i]))[0] for i in range(len(rows))]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert np.ptp(together) > 1e-3, "the control: different texts have different scores"
    assert "padding" not in subject.provenance


def test_names_are_the_positions_of_the_maps(loaded):
    architecture, subject, rows = loaded
    names = subject.names(rows)
    for i in range(len(rows)):
        seen = trace(subject, rows.take([i]))
        decoder = subject.decoder_names(rows)[i] if subject.decoder_names else names[i]
        for call in seen.calls:
            in_decoder = "decoder" in call.layer
            queries = decoder if in_decoder else names[i]
            keys = names[i] if call.kind == "cross" else queries
            assert (call.n_queries, call.n_keys) == (len(queries), len(keys)), call.layer
    assert max(certify(subject, rows)["layers"].values()) < 1e-5
    assert (subject.decoder_names is not None) == architecture.startswith(("T5", "Bart"))


def test_running_from_its_own_embeddings_changes_nothing(loaded):
    _, subject, rows = loaded
    batch = subject.encode(rows)
    with torch.no_grad():
        plain = subject.forward(batch, None)
        again = subject.forward(batch, subject.embed(batch))
        moved = subject.forward(batch, subject.reference(batch))
    assert torch.equal(plain, again)
    assert not torch.allclose(plain, moved, atol=1e-4), "the control: the baseline scores otherwise"


def test_integrated_gradients_add_up(loaded):
    _, subject, rows = loaded
    result = attribute(
        subject, rows, most_nodes=5120
    )  # another version of transformers draws steeper random models
    assert result.converged.all()
    for i, names in enumerate(subject.names(rows)):
        assert np.all(result.scores[i, len(names) :] == 0), "padding gets nothing"
    fixed = {"nodes": 40, "most_nodes": 40}
    together, alone = (attribute(subject, some, **fixed) for some in (rows, rows.take([1])))
    width = alone.scores.shape[1]
    np.testing.assert_allclose(alone.scores[0], together.scores[1, :width], atol=2e-4)


@pytest.mark.parametrize(
    "folder", [f for f in FOLDERS if f[0].endswith("SequenceClassification")], ids=name_of
)
def test_the_score_of_a_classifier_is_the_difference_it_names(tmp_path, folder):
    subject = load(text_folder(tmp_path, folder[0], **folder[1]))
    rows = texts(*LINES)
    assert subject.target == "logit(positive) - mean logit of negative, neutral"
    for i in range(len(rows)):
        with torch.no_grad():
            logits = subject.module(**subject.encode(rows.take([i]))).logits[0].numpy()
        expected = logits[2] - (logits[0] + logits[1]) / 2
        assert score(subject, rows)[i] == pytest.approx(expected, abs=1e-5)


def test_the_candidates_of_a_language_model_are_compared_where_it_is_asked(tmp_path):
    subject = load(text_folder(tmp_path, "GPT2LMHeadModel"), candidates=(" is", " film"))
    rows = texts("the very good", "it")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    yes, no = (tokenizer(word)["input_ids"][0] for word in (" is", " film"))
    for i, line in enumerate(rows.inputs["text"]):
        with torch.no_grad():
            logits = subject.module(torch.tensor([tokenizer(line)["input_ids"]])).logits[0, -1]
        assert score(subject, rows)[i] == pytest.approx(float(logits[yes] - logits[no]), abs=1e-5)
    assert subject.target == "logit( is) - logit( film), next token after the text"
    assert subject.labels == (" is", " film")


def test_without_candidates_it_is_the_models_own_token_against_the_rest(tmp_path):
    subject = load(text_folder(tmp_path, "BertForMaskedLM"))
    rows = texts("the [MASK] is good", "[MASK]")
    batch = subject.encode(rows)
    with torch.no_grad():
        logits = subject.module(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[
            torch.arange(2), batch["position"]
        ]
    best = logits.max(dim=1).values
    others = (logits.sum(dim=1) - best) / (logits.shape[1] - 1)
    np.testing.assert_allclose(score(subject, rows), (best - others).numpy(), atol=1e-4)
    assert "most likely token - mean logit of the other" in subject.target
    assert "[MASK]" in subject.target
    assert list(batch["position"]) == [2, 1]


def test_the_choice_of_a_model_is_made_once_on_the_true_input(tmp_path):
    subject = load(text_folder(tmp_path, "GPT2LMHeadModel"))
    rows = texts("the very good film", "dull")
    batch = subject.encode(rows)
    other = {**batch, "chosen": (batch["chosen"] + 1) % 100}
    with torch.no_grad():
        at_baseline = subject.forward(batch, subject.reference(batch))
        assert not torch.equal(at_baseline, subject.forward(other, subject.reference(batch)))
    assert attribute(subject, rows).base_value == pytest.approx(subject.select(at_baseline).numpy(), abs=1e-5)


def test_a_tagger_is_asked_at_a_position_or_at_its_first_name(tmp_path):
    path = text_folder(tmp_path, "BertForTokenClassification", **TAGS)
    named, own = load(path, positive="PLACE"), load(path)
    rows = texts("the film is good", "dull", position=[2, 1])
    logits = []
    for i in range(2):
        batch = named.encode(rows.take([i]))
        with torch.no_grad():
            logits.append(
                named.module(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[0]
            )
    expected = [float(x[p, 2] - (x[p, 0] + x[p, 1]) / 2) for x, p in zip(logits, (2, 1), strict=True)]
    np.testing.assert_allclose(score(named, rows), expected, atol=1e-5)
    best = [x[p].max() - (x[p].sum() - x[p].max()) / 2 for x, p in zip(logits, (2, 1), strict=True)]
    np.testing.assert_allclose(score(own, rows), best, atol=1e-5)

    free = texts("the film is good and dull", "dull film")
    positions = own.encode(free)["position"]
    for i in range(2):
        batch = own.encode(free.take([i]))
        with torch.no_grad():
            labels = (
                own.module(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
                .logits[0]
                .argmax(dim=1)
            )
        words = range(1, len(labels) - 1)  # between [CLS] and [SEP]
        first = next((k for k in words if labels[k] != 0), 1)
        assert int(positions[i]) == first
    assert "first token labelled other than O" in own.target


@pytest.mark.parametrize(
    ("positions", "message"),
    [([9, 1], r"'t0' asks for 9 and has tokens 0 to"), ([-1, 1], "asks for -1"), ([1.5, 1.0], "float64")],
)
def test_a_position_that_is_not_there_is_refused(tmp_path, positions, message):
    subject = load(text_folder(tmp_path, "BertForTokenClassification", **TAGS))
    with pytest.raises(DataError, match=message):
        score(subject, texts("good film", "dull", position=positions))


def test_the_decoder_reads_its_prefix(tmp_path):
    subject = load(text_folder(tmp_path, "T5ForConditionalGeneration"), candidates=("yes", "no"))
    rows = texts("is the film good", "dull", target_text=["the answer is", "no"])
    assert subject.decoder_names(rows) == (("<pad>", "the", "answer", "is"), ("<pad>", "no"))
    alone = [score(subject, rows.take([i]))[0] for i in range(2)]
    np.testing.assert_allclose(score(subject, rows), alone, atol=1e-5)
    plain = texts("is the film good", "dull")
    assert not np.allclose(score(subject, plain), score(subject, rows), atol=1e-3)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    yes, no = tokenizer.convert_tokens_to_ids(["yes", "no"])
    with torch.no_grad():
        logits = subject.module(
            input_ids=torch.tensor([tokenizer("dull")["input_ids"]]),
            decoder_input_ids=torch.tensor([[0, no]]),
        ).logits[0, -1]
    assert score(subject, rows)[1] == pytest.approx(float(logits[yes] - logits[no]), abs=1e-5)


def test_a_decoder_begins_with_the_token_that_generate_forces(tmp_path):
    path = text_folder(tmp_path, "BartForConditionalGeneration")
    settings = json.loads((path / "generation_config.json").read_text())
    assert load(path).decoder_names(texts("dull")) == (("</s>",),)
    (path / "generation_config.json").write_text(json.dumps({**settings, "forced_bos_token_id": 3}))
    subject = load(path)
    assert subject.decoder_names(texts("dull")) == (("</s>", "<s>"),)


def test_a_model_that_padding_changes_takes_one_length_per_batch(tmp_path):
    subject = load(text_folder(tmp_path, "XLNetForSequenceClassification", **KINDS))
    rows = texts(*LINES)
    assert "refused" in subject.provenance["padding"]
    with pytest.raises(DataError, match="batch_size=1"):
        score(subject, rows)
    assert len(score(subject, rows, batch_size=1)) == 3


@pytest.mark.parametrize(
    ("architecture", "lines", "message"),
    [
        ("BertForMaskedLM", ["no mask at all", "[MASK]"], r"\[MASK\] exactly once.*'t0'"),
        ("BertForMaskedLM", ["[MASK] [MASK]"], "exactly once"),
        ("GPT2LMHeadModel", ["good", ""], "no token at all.*'t1'"),
        ("GPT2LMHeadModel", ["film " * 200], "48 tokens"),
    ],
)
def test_texts_that_cannot_be_asked_are_named(tmp_path, architecture, lines, message):
    subject = load(text_folder(tmp_path, architecture))
    with pytest.raises(DataError, match=message):
        score(subject, texts(*lines))


def test_a_tokenizer_of_another_model_is_noticed(tmp_path):
    subject = load(text_folder(tmp_path, "BertForSequenceClassification", vocab_size=20, **KINDS))
    with pytest.raises(DataError, match="belongs to another model"):
        score(subject, texts(*LINES))


@pytest.mark.parametrize(
    ("architecture", "how", "message"),
    [
        ("GPT2LMHeadModel", {"candidates": (" is",)}, "two or more"),
        ("GPT2LMHeadModel", {"candidates": (" is", " is")}, "two or more"),
        ("GPT2LMHeadModel", {"candidates": (" is", " incomprehensible")}, r"' incomprehensible' is \["),
        ("GPT2LMHeadModel", {"candidates": (" is", " film"), "positive": " fil"}, "did you mean ' film'"),
        ("GPT2LMHeadModel", {"positive": "yes"}, r"candidates=\('yes'"),
        ("GPT2LMHeadModel", {"candidates": " is"}, "one text"),
        ("T5ForConditionalGeneration", {"candidates": ("yes", "zebra")}, "one known token"),
        ("BertForTokenClassification", {"candidates": ("a", "b")}, "no candidates"),
        ("BertForTokenClassification", {"positive": "PLACES"}, "did you mean 'PLACE'"),
        (
            "BertForTokenClassification",
            {"task": "tokenclassification"},
            "did you mean 'token classification'",
        ),
        ("BertForTokenClassification", {"dtype": "float"}, "did you mean 'float"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(tmp_path, architecture, how, message):
    path = text_folder(tmp_path, architecture, **(TAGS if "Token" in architecture else {}))
    with pytest.raises(ModelError, match=message):
        load(path, **how)


def test_another_kind_of_folder_says_what_is_supported(tmp_path):
    path = text_folder(tmp_path, "BertForQuestionAnswering")
    with pytest.raises(ModelError, match=r"BertForQuestionAnswering.*causal language model.*wrap\(\)"):
        load(path)


def test_a_head_that_was_never_trained_is_refused(tmp_path):
    path = text_folder(tmp_path, "BertForMaskedLM")
    with pytest.raises(ModelError, match=r"classifier\.bias.*random numbers"):
        load(path, task="sequence classification")


def test_heads_and_provenance_of_a_causal_model(tmp_path):
    subject = load(text_folder(tmp_path, "GPT2LMHeadModel"))
    effects = head_effects(subject, texts(*LINES))
    np.testing.assert_allclose(effects.moved.sum(axis=3), effects.contribution, atol=1e-5)
    known = subject.provenance
    assert (known["class"], known["task"]) == ("GPT2LMHeadModel", "causal language model")
    assert (known["dtype"], known["quantisation"], known["adapter_sha256"]) == ("float32", "none", None)
    assert all(len(known[f"{name}_sha256"]) == 64 for name in ("weights", "settings", "tokenizer"))
    assert subject.task == "causal language model"


def test_a_classifier_in_memory_scores_as_its_folder_does(tmp_path):
    from transformers import AutoModelForSequenceClassification

    path = text_folder(tmp_path, "BertForSequenceClassification", **KINDS)
    model = AutoModelForSequenceClassification.from_pretrained(path)
    subject = hugging_face(model, AutoTokenizer.from_pretrained(path), positive="neutral", name="mine")
    rows = texts(*LINES)
    assert np.array_equal(score(subject, rows), score(load(path, positive="neutral"), rows))
    assert subject.labels == ("negative", "neutral", "positive")
    with pytest.raises(ModelError, match="did you mean 'neutral'"):
        hugging_face(model, AutoTokenizer.from_pretrained(path), positive="neutra")


SHARED = Path(__file__).parents[3] / "shared" / "models"


@pytest.mark.parametrize(
    ("folder", "labels"),
    [("tiny-sst2", ("negative", "positive")), ("minilm-hatexplain", ("normal", "offensive", "hatespeech"))],
)
def test_trained_models_load_and_padding_leaves_their_scores(folder, labels):
    if not (SHARED / folder).is_dir():
        pytest.skip(f"{folder} is not beside this checkout")
    subject = load(SHARED / folder)
    rows = texts("a wonderful, warm and funny film", "dull", "this is the worst hateful garbage i ever saw")
    assert subject.labels == labels
    alone = [score(subject, rows.take([i]))[0] for i in range(3)]
    np.testing.assert_allclose(score(subject, rows), alone, atol=1e-5)
    assert max(certify(subject, rows)["layers"].values()) < 1e-5
    if folder == "tiny-sst2":
        assert alone[0] > 0 > alone[2]
