"""An edited Subject is saved, loaded bit for bit, and works through everything else."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import clinometer as cm
from clinometer.errors import ModelError, OutputError
from clinometer.interpret import edits
from clinometer.interpret.augmentation import tune_on_copies
from clinometer.interpret.copying import copied
from clinometer.interpret.erasure import erase_concept
from clinometer.interpret.folding import heads_of
from clinometer.interpret.models import Subject, load, score, wrap
from clinometer.interpret.pruning import prune_heads
from clinometer.interpret.targets import aimed
from clinometer.records import Rows, plain
from reference.edit_subjects import BLOCKS, NAMES, subject_and_rows
from reference.model_folders import image_folder, labelled, text_folder

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
CONCEPT = ["x", "y"] * 4
KINDS = ("pruned in the weights", "pruned as it runs", "erased first", "erased everywhere", "tuned", "all")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Subject, Rows]]:
    folder = tmp_path_factory.mktemp("edited")
    return {name: subject_and_rows(name, folder) for name in NAMES}


def edited(name: str, kind: str, made: dict[str, tuple[Subject, Rows]]) -> Subject:
    subject, rows = made[name]
    if kind == "pruned in the weights":
        return prune_heads(subject, [(0, 1)], rows, instead="mean", way="weights")
    if kind == "pruned as it runs":
        return prune_heads(subject, [(0, 1)], rows, instead="mean", way="run time")
    if kind == "erased first":
        return erase_concept(subject, rows, CONCEPT, module=BLOCKS[name], pool="first")
    if kind == "erased everywhere":
        return erase_concept(subject, rows, CONCEPT, module=BLOCKS[name], pool="mean")
    if kind == "tuned":
        return tuned(subject, rows, 1e-3 if name == "bert" else 1e-2)
    erased = erase_concept(subject, rows, CONCEPT, module=BLOCKS[name], pool="tokens")
    scaled = prune_heads(erased, [(1, 0)], rows, way="run time")
    return prune_heads(scaled, [(1, 1)], rows, way="run time", instead="mean")


def tuned(subject: Subject, rows: Rows, learning_rate: float) -> Subject:
    copies = dataclasses.replace(rows, ids=tuple(f"{name}'" for name in rows.ids), labels=None)
    return tune_on_copies(
        subject, rows, copies, rows.ids, learning_rate=learning_rate, epochs=3, held=0.5, seed=1
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_it_scores_bit_for_bit_the_same(made, name, kind, tmp_path):
    subject, rows = made[name]
    before = score(subject, rows)
    changed = edited(name, kind, made)
    assert not np.array_equal(score(changed, rows), before)  # negative control: the edit does something
    assert np.array_equal(score(subject, rows), before)
    edits.save(changed, tmp_path / "edited")
    again = load(tmp_path / "edited")
    assert np.array_equal(score(again, rows), score(changed, rows))
    assert [one.sha256 for one in again.edits] == [one.sha256 for one in changed.edits]
    assert again.provenance["edits"] == changed.provenance["edits"]
    json.dumps(plain(again.provenance), allow_nan=False)
    # Saved from what was loaded, it is the same again.
    edits.save(again, tmp_path / "again")
    assert np.array_equal(score(load(tmp_path / "again"), rows), score(changed, rows))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["pruned in the weights", "pruned as it runs", "erased everywhere", "all"])
def test_it_works_through_everything_else(made, name, kind, tmp_path):
    _, rows = made[name]
    changed = edited(name, kind, made)
    edits.save(changed, tmp_path / "edited")
    again = load(tmp_path / "edited")
    some = rows.take([0, 3])
    attribution = cm.attribute(again, some, method="integrated gradients")
    assert np.abs(attribution.value - score(changed, some)).max() < 1e-5  # rows of other lengths ran together
    assert bool(
        np.all(
            np.abs(attribution.residual) < 0.05 * np.abs(attribution.value - attribution.base_value) + 0.01
        )
    )
    assert np.array_equal(
        cm.attribute(changed, some, method="integrated gradients").scores, attribution.scores
    )
    traced = cm.trace(again, some, certify="exact")
    assert max(traced.certificate().values()) < 1e-5
    effects = cm.head_effects(again, some)
    closed = {"erased everywhere": []}.get(kind, [(0, 1)] if kind != "all" else [(1, 0), (1, 1)])
    for layer in range(2):
        for head in range(2):
            moves = bool(np.abs(effects.contribution[:, layer, head]).max() > 1e-9)
            assert moves == ((layer, head) not in closed)
    every = list(cm.every_head(again, some).values())
    shared = cm.intervene(again, some, [cm.Intervention(), *every])
    assert (
        np.abs(shared - cm.intervene(again, some, [cm.Intervention(), *every], share_prefix=False)).max()
        < 1e-4
    )
    assert np.array_equal(shared[0], score(changed, some))
    if kind == "all":
        ranked = cm.faithfulness(again, rows.take([0, 1, 3]), methods=["gradient x input"])
        assert len(ranked.ids) == 3
        assert ranked.failed == ()
    assert np.array_equal(score(copied(again, some), some), score(changed, some))


def test_what_is_in_the_weights_needs_nobody_to_apply_it(made, tmp_path):
    subject, rows = made["bert"]
    pruned = prune_heads(subject, [(0, 0)], rows)
    edits.save(pruned, tmp_path / "edited")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "edited").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "edited")
    with torch.no_grad():
        logits = model(**tokenizer(list(rows.inputs["text"]), return_tensors="pt", padding=True)).logits
    assert np.abs((logits[:, 1] - logits[:, 0]).double().numpy() - score(pruned, rows)).max() < 1e-5
    assert not (tmp_path / "edited" / "edits.safetensors").exists()


def test_it_tells_where_it_comes_from(made, tmp_path):
    subject, rows = made["gpt2"]
    twice = prune_heads(prune_heads(subject, [(0, 0)], rows), [(1, 1)], rows)
    origin = {key: subject.provenance[key] for key in ("weights_sha256", "settings_sha256")}
    assert twice.provenance["edited_from"] == origin
    assert "weights_sha256" not in twice.provenance  # it is in no file yet
    assert [one["kind"] for one in twice.provenance["edits"]] == ["head pruning"] * 2
    assert twice.provenance["edits"][0]["n_rows"] == len(rows)
    assert set(twice.provenance["edits"][0]["changed"]) == {
        "transformer.h.0.attn.c_proj.weight",
        "transformer.h.0.attn.c_proj.bias",
    }
    edits.save(twice, tmp_path / "edited")
    again = load(tmp_path / "edited")
    assert again.provenance["edited_from"] == origin
    assert again.provenance["weights_sha256"] != origin["weights_sha256"]
    assert "edits" not in subject.provenance


def test_a_subject_that_was_not_edited_is_saved_too(made, tmp_path):
    for name in NAMES:
        subject, rows = made[name]
        moved = dataclasses.replace(subject, threshold=0.25)
        edits.save(moved, tmp_path / name)
        again = load(tmp_path / name)
        assert np.array_equal(score(again, rows), score(subject, rows))
        assert (again.threshold, again.edits, again.labels) == (0.25, (), subject.labels)


def test_the_positive_label_the_number_type_and_the_candidates_come_back(made, tmp_path):
    folder = text_folder(
        tmp_path / "bert", "BertForSequenceClassification", **labelled("bad", "good", "none")
    )
    rows = made["bert"][1]
    for how in ({"positive": "bad"}, {"dtype": "float64"}, {"dtype": "bfloat16"}):
        pruned = prune_heads(load(folder, **how), [(0, 0)], rows)
        edits.save(pruned, tmp_path / "edited")
        again = load(tmp_path / "edited", dtype=how.get("dtype", "float32"))
        assert again.target == pruned.target
        assert np.array_equal(score(again, rows), score(pruned, rows))
    folder = text_folder(tmp_path / "masked", "BertForMaskedLM")
    rows = Rows(ids=("a", "b"), inputs={"text": np.array(["a [MASK] film", "is it [MASK]?"], dtype=object)})
    pruned = prune_heads(load(folder, candidates=("good", "bad")), [(0, 0)], rows)
    edits.save(pruned, tmp_path / "words")
    again = load(tmp_path / "words")
    assert again.target == pruned.target
    assert np.array_equal(score(again, rows), score(pruned, rows))


def test_a_module_whose_heads_are_gated_as_it_runs_is_not_run_past_the_gates(made, tmp_path):
    subject, rows = made["bert"]
    pruned = prune_heads(subject, [(0, 0)], rows, way="run time")
    batch = pruned.encode(rows)
    with pytest.raises(ModelError, match="Run it through the Subject"):
        pruned.module(**batch)
    subject.module(**batch)  # the one it was made of has no gates

    # Nor is a text written past them; what is in the weights is there for whatever runs them.
    words = load(text_folder(tmp_path / "gpt2", "GPT2LMHeadModel"))
    gated = prune_heads(words, [(0, 0)], rows, way="run time")
    with pytest.raises(ModelError, match="Run it through the Subject"):
        cm.trace_generation(gated, rows.take([0]), max_new_tokens=2)
    folded = prune_heads(words, [(0, 0)], rows, way="weights")
    cm.trace_generation(folded, rows.take([0]), max_new_tokens=2)


@pytest.mark.parametrize("way", ["weights", "run time"])
def test_taggers_and_models_of_images_are_edited_too(made, way, tmp_path):
    _, rows = made["bert"]
    tagger = load(
        text_folder(tmp_path / "tagger", "BertForTokenClassification", **labelled("O", "PER", "LOC"))
    )
    pixels = np.random.default_rng(0).integers(0, 255, size=(4, 12, 18, 3)).astype(np.uint8)
    images = Rows(ids=tuple("abcd"), inputs={"pixels": pixels})
    for subject, some in ((tagger, rows), (load(image_folder(tmp_path / "vit")), images)):
        pruned = prune_heads(subject, [(0, 1)], some, way=way)
        edits.save(pruned, tmp_path / "edited")
        again = load(tmp_path / "edited")
        assert np.array_equal(score(again, some), score(pruned, some))
        assert not np.array_equal(score(subject, some), score(pruned, some))
        assert again.target == subject.target


# Refusals


def test_what_would_come_back_as_something_else_is_not_saved(made, tmp_path):
    subject, _ = made["own"]
    with pytest.raises(ModelError, match="its target is 'probability of approved'"):
        edits.save(aimed(subject, "probability"), tmp_path / "aimed")
    bert, _ = made["bert"]
    with pytest.raises(ModelError, match="its target is 'probability of good'"):
        edits.save(aimed(bert, "probability"), tmp_path / "aimed")
    assert not (tmp_path / "aimed").exists()
    assert list(tmp_path.iterdir()) == []  # nothing is left lying about
    module = torch.nn.Linear(3, 1).eval()
    with pytest.raises(ModelError, match="was wrapped"):
        edits.save(wrap(module, lambda batch: module(batch["x"])), tmp_path / "wrapped")


def test_a_quantised_subject_is_not_saved(made, tmp_path):
    subject, _ = made["bert"]
    edits.save(subject, tmp_path / "plain")
    small = load(tmp_path / "plain", quantise="int8")
    with pytest.raises(ModelError, match="is quantised"):
        edits.save(small, tmp_path / "small")


def test_an_edit_works_on_quantised_weights(made, tmp_path):
    subject, rows = made["bert"]
    erased = erase_concept(subject, rows, CONCEPT, module=BLOCKS["bert"], pool="tokens")
    edits.save(erased, tmp_path / "erased")
    small = load(tmp_path / "erased", quantise="int8")
    with torch.no_grad():
        assert np.abs(score(small, rows) - score(erased, rows)).max() < 1.0
    assert len(small.edits) == 1


def test_folders_that_hold_something_else_are_left_alone(made, tmp_path):
    subject, rows = made["bert"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    with pytest.raises(OutputError, match="did not write"):
        edits.save(subject, tmp_path / "mine")
    edits.save(subject, tmp_path / "edited")
    edits.save(prune_heads(subject, [(0, 0)], rows), tmp_path / "edited")  # its own is replaced
    assert len(load(tmp_path / "edited").edits) == 1


@pytest.fixture
def folder(made: dict[str, tuple[Subject, Rows]], tmp_path: Path) -> Path:
    subject, rows = made["own"]
    edits.save(erase_concept(subject, rows, CONCEPT, module=BLOCKS["own"], pool="first"), tmp_path / "edited")
    return tmp_path / "edited"


def rewritten(folder: Path, **changes: object) -> None:
    settings = json.loads((folder / "edits.json").read_text())
    (folder / "edits.json").write_text(json.dumps({**settings, **changes}))


def test_a_damaged_folder_is_refused(folder):
    whole = (folder / "edits.json").read_text()
    rewritten(folder, schema_version=99)
    with pytest.raises(ModelError, match="schema version 99"):
        load(folder)
    (folder / "edits.json").write_text(whole[:-20])
    with pytest.raises(ModelError, match="is not JSON"):
        load(folder)
    one = json.loads(whole)["edits"][0]
    (folder / "edits.json").write_text(whole)
    rewritten(folder, edits=[{**one, "n_rows": 7}])
    with pytest.raises(ModelError, match="hash of edit 0"):
        load(folder)
    rewritten(folder, edits=[{**one, "tensors": [*one["tensors"], "more"]}])
    with pytest.raises(ModelError, match="cannot be read: KeyError"):
        load(folder)


def test_tensors_that_were_changed_are_refused(folder):
    tensors = load_file(folder / "edits.safetensors")
    save_file({**tensors, "0/mean": tensors["0/mean"] + 1}, folder / "edits.safetensors")
    with pytest.raises(ModelError, match="hash of edit 0"):
        load(folder)
    (folder / "edits.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        load(folder)


def test_weights_that_were_changed_below_the_edits_are_refused(folder):
    weights = load_file(folder / "model.safetensors")
    save_file({name: weight * 2 for name, weight in weights.items()}, folder / "model.safetensors")
    with pytest.raises(ModelError, match="not those its edits were saved with"):
        load(folder)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (
            {"at": "module output", "module": "encoder.layers.7", "positions": "first"},
            "no module 'encoder.layers.7'",
        ),
        ({"at": "module output", "module": "encoder.layers.0", "positions": "second"}, "cannot be applied"),
        ({"at": "elsewhere"}, "cannot be applied"),
        ({"at": "attention calls", "layers": ["encoder.layers.0.attention"]}, "cannot be applied: KeyError"),
    ],
)
def test_an_edit_that_does_not_fit_the_model_is_refused(made, place, message):
    subject, rows = made["own"]
    tensors = {"left": torch.zeros(16, 1), "right": torch.zeros(1, 16), "mean": torch.zeros(16)}
    edit = edits.Edit(kind="x", way=edits.AT_RUN_TIME, n_rows=1, parameters={}, place=place, tensors=tensors)
    with pytest.raises(ModelError, match=message):
        edits.with_edit(copied(subject, rows), edit)


def test_gates_of_another_number_of_heads_are_refused(made):
    subject, rows = made["own"]
    place = {"at": "attention calls", "layers": ["encoder.layers.0.attention"]}
    edit = edits.Edit(
        kind="x",
        way=edits.AT_RUN_TIME,
        n_rows=1,
        parameters={},
        place=place,
        tensors={"0.factor": torch.ones(3)},
    )
    with pytest.raises(ModelError, match="has 2 heads, and 3 gates"):
        score(edits.with_edit(copied(subject, rows), edit), rows)
    other = dataclasses.replace(edit, place={**place, "layers": ["encoder.layers.9.attention"]})
    with pytest.raises(ModelError, match=r"has no layer 'encoder\.layers\.9\.attention'"):
        edits.with_edit(copied(subject, rows), other)


def test_the_shapes_of_heads_are_found_in_order(made):
    subject, rows = made["bert"]
    names = [f"bert.encoder.layer.{i}.attention.self" for i in range(2)]
    assert heads_of(subject, rows) == dict.fromkeys(names, 2)
