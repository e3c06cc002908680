"""Another device: every number that a subject is asked for is that of the processor, and is where it should be.

No GPU is needed. What `reference.other_device` shows of one, and what it does not, stands in its docstring.
"""

import dataclasses
import functools
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from clinometer.interpret import edits, latency, mediation, tuning
from clinometer.interpret.ablation import HOWS, ablated
from clinometer.interpret.answers import answering, attribute_generation
from clinometer.interpret.augmentation import tune_on_copies
from clinometer.interpret.copying import copied
from clinometer.interpret.distillation import distil
from clinometer.interpret.erasure import erase_concept
from clinometer.interpret.every_label import attribute_every_label
from clinometer.interpret.faithfulness import faithfulness
from clinometer.interpret.folders import load as load_ours
from clinometer.interpret.gates import Edge, Intervention, Mean, Patch, Resample, gates
from clinometer.interpret.generation import trace_generation
from clinometer.interpret.head_changes import head_changes
from clinometer.interpret.head_effects import head_effects, view
from clinometer.interpret.interventions import intervene
from clinometer.interpret.keeping import Keep
from clinometer.interpret.learned_gates import learn_head_gates
from clinometer.interpret.low_rank import low_rank
from clinometer.interpret.low_rank_folders import save_low_rank
from clinometer.interpret.methods import METHODS, attribute
from clinometer.interpret.models import Subject, load, ours, score, wrap
from clinometer.interpret.patching import patch_effects
from clinometer.interpret.preprocessing import SeriesPreprocessor, TextPreprocessor
from clinometer.interpret.pruning import prune_heads
from clinometer.interpret.pseudo_likelihood import masked_language_model, pseudo_log_likelihood
from clinometer.interpret.sanity import randomisation
from clinometer.interpret.scene_maps import seen
from clinometer.interpret.screening import screen
from clinometer.interpret.targets import aimed
from clinometer.interpret.trace_files import read_trace
from clinometer.interpret.tracing import gradient_trace, trace
from clinometer.interpret.training import train
from clinometer.interpret.transformer import Architecture, Classifier, EncoderDecoder
from clinometer.records import Contrast, Rows
from clinometer.shard_work import score_rows
from reference import other_device
from reference.attention import HandMade
from reference.edit_subjects import TEXTS
from reference.model_folders import image_folder, labelled, speech_folder, text_folder, whisper_folder
from reference.other_device import apart
from reference.subjects import applicants, fitted

ROOM = Path(__file__).parents[2] / "interpret"
CLASSES = labelled("bad", "good")
TEXT_KINDS = {
    "bert": ("BertForSequenceClassification", CLASSES, {}),
    "masked": ("BertForMaskedLM", {}, {"candidates": ("good", "bad")}),
    "gpt2": ("GPT2LMHeadModel", {}, {"candidates": (" is", " film")}),
    "llama": ("LlamaForSequenceClassification", CLASSES, {}),
    "t5": ("T5ForConditionalGeneration", {}, {"candidates": ("yes", "no")}),
}
OURS = ("text", "table", "series")
KINDS = (*OURS, *TEXT_KINDS, "image", "speech", "whisper")
FEW_TOKENS = ("text", "bert")


def texts(n: int = 6, **inputs: Any) -> Rows:
    lines = [TEXTS[i % len(TEXTS)] for i in range(n)]
    return Rows(
        ids=tuple(f"t{i}" for i in range(n)),
        inputs={"text": np.array(lines, dtype=object), **inputs},
        labels=np.arange(n) % 2,
        groups={"sex": tuple("fm"[i % 2] for i in range(n))},
    )


def our_subject(kind: str) -> tuple[Subject, Rows]:
    """A small Transformer of ours with random weights, and rows of its kind."""
    if kind == "table":
        rows = applicants(12)
        return fitted(rows, epochs=0), rows.take(range(6))
    rows = texts()
    prepared: Any = TextPreprocessor.fit({"text": np.array([" ".join(TEXTS)], dtype=object)})
    if kind == "series":
        rows = dataclasses.replace(rows, inputs={"series": np.random.default_rng(0).normal(size=(6, 20, 2))})
        prepared = SeriesPreprocessor.fit(rows.inputs, channels=("force", "heat"), patch=6, stride=4)
    torch.manual_seed(0)
    shape = Architecture(kind=kind, width=16, layers=2, heads=2, feed_forward=32, **prepared.shape())
    return ours(Classifier(shape), prepared, labels=("bad", "good")), rows


@functools.cache
def made(kind: str) -> tuple[str, Rows, dict[str, Any]]:
    """A folder with a model of this kind, rows for it, and what else it is loaded with."""
    folder = Path(tempfile.mkdtemp()) / kind
    if kind in OURS:
        subject, rows = our_subject(kind)
        edits.save(subject, folder)
        return str(folder), rows, {}
    if kind in TEXT_KINDS:
        architecture, settings, how = TEXT_KINDS[kind]
        rows = texts()
        if kind == "masked":
            rows = texts(
                text=np.array([line.replace(" ", " [MASK] ", 1) for line in TEXTS[:6]], dtype=object)
            )
        return str(text_folder(folder, architecture, **settings)), rows, how
    generator = np.random.default_rng(0)
    if kind == "image":
        pixels = generator.integers(0, 256, (3, 12, 18, 3), dtype=np.uint8)
        return str(image_folder(folder)), Rows(ids=("a", "b", "c"), inputs={"pixels": pixels}), {}
    sounds = np.empty(3, dtype=object)
    for i, n in enumerate((900, 533, 400) if kind == "speech" else (16000, 9000, 4001)):
        sounds[i] = generator.normal(size=n).astype(np.float32)
    rows = Rows(ids=("a", "b", "c"), inputs={"audio": sounds})
    if kind == "speech":
        return str(speech_folder(folder)), rows, {}
    return str(whisper_folder(folder)), rows, {"candidates": ("yes", "no")}


@functools.cache
def pair(kind: str, dtype: str = "float64") -> tuple[Subject, Subject, Rows]:
    """The model on the processor, the same on the other device, and rows."""
    folder, rows, how = made(kind)
    here = load(folder, dtype=dtype, **how)
    there = load(folder, dtype=dtype, device=other_device.NAME, **how)
    assert {parameter.device.type for parameter in there.module.parameters()} == {other_device.NAME}
    assert all(tensor.device.type == other_device.NAME for tensor in there.encode(rows).values())
    return here, there, rows


def told(value: Any) -> list[np.ndarray]:
    """Every array and number of a result, in order; a tensor among them is refused by NumPy where it is elsewhere."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [getattr(value, field.name) for field in dataclasses.fields(value)]
        return [one for field in fields for one in told(field)]
    if isinstance(value, dict):
        return [one for key in value for one in told(value[key])]
    if isinstance(value, (tuple, list)):
        return [one for item in value for one in told(item)]
    if isinstance(value, (int, float, np.ndarray, np.generic, torch.Tensor)):
        array = np.asarray(value)
        return [array.astype(np.float64)] if array.dtype.kind in "bif" else []
    return []


def alike(
    kind: str,
    ask: Callable[[Subject, Rows], Any],
    *,
    rows: Rows | None = None,
    atol: float = 1e-8,
    rtol: float = 1e-6,
    dtype: str = "float64",
) -> None:
    """What is asked of both subjects is the same, and is something."""
    here, there, own = pair(kind, dtype)
    given = own if rows is None else rows
    expected, found = told(ask(here, given)), told(ask(there, given))
    assert len(expected) == len(found) > 0
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other, one, atol=atol, rtol=rtol, equal_nan=True)
    assert any(array.size and np.isfinite(array).any() for array in expected)


def weights_of(rows: Rows) -> np.ndarray:
    """A contrast: rows at even places less the others."""
    even = np.arange(len(rows)) % 2 == 0
    return np.where(even, 1 / even.sum(), -1 / (~even).sum())


def contrast_of(rows: Rows) -> Contrast:
    n = (len(rows) + 1) // 2
    return Contrast(
        attribute="sex", group="f", reference="m", ids=rows.ids, weights=weights_of(rows), n_group=n,
        n_reference=len(rows) - n,
    )  # fmt: skip


# The stand-in itself


@apart
def test_what_a_gpu_refuses_is_refused() -> None:
    here, there = torch.arange(6.0).reshape(2, 3), torch.arange(6.0, device=other_device.DEVICE).reshape(2, 3)
    index = torch.tensor([1])
    for wrong in (
        lambda: here + there,
        lambda: there @ here.T,
        lambda: here.add_(there),
        lambda: here + there[0, 0],
        lambda: torch.cat([here, there]),
        lambda: there.gather(1, torch.zeros(2, 1, dtype=torch.long)),
        lambda: there.masked_fill(here > 2, 0.0),
        lambda: nn.functional.embedding(index, there),
    ):
        with pytest.raises(RuntimeError, match="same device"):
            wrong()
    with pytest.raises(RuntimeError, match="indices should be"):
        here[index.to(other_device.DEVICE)]
    with pytest.raises(RuntimeError, match="generator"):
        torch.rand(2, device=other_device.DEVICE, generator=torch.Generator())
    for unreadable in (there.numpy, lambda: np.asarray(there)):
        with pytest.raises(TypeError, match=r"Use Tensor\.cpu"):
            unreadable()
    assert torch.device(other_device.NAME) != there.device


@apart
def test_what_a_gpu_allows_is_allowed_and_the_values_are_real() -> None:
    here, there = torch.arange(6.0).reshape(2, 3), torch.arange(6.0, device=other_device.DEVICE).reshape(2, 3)
    assert torch.equal((there * torch.tensor(2.0)).cpu(), here * 2)
    assert torch.equal((torch.tensor(2.0) * there).cpu(), here * 2)
    assert torch.equal(there[torch.tensor([1, 0])].cpu(), here[[1, 0]])
    there.t()[1].mul_(10.0)  # a view shares its memory
    here.t()[1].mul_(10.0)
    assert torch.equal(there.cpu(), here) and there.tolist() == here.tolist()
    assert there.untyped_storage().data_ptr() == there.t().untyped_storage().data_ptr() != here.data_ptr()
    here.requires_grad_()
    moved = here.detach().to(other_device.DEVICE).requires_grad_()
    for one in (here, moved):
        (one.softmax(dim=1)[:, 1] ** 2).sum().backward()
    assert moved.grad is not None and here.grad is not None and moved.grad.device == moved.device
    assert torch.equal(moved.grad.cpu(), here.grad)


# Scores, traces


@pytest.mark.parametrize("kind", KINDS)
@apart
def test_scores(kind: str) -> None:
    alike(kind, score)
    alike(kind, lambda subject, rows: score_rows(subject, rows, 2))


@pytest.mark.parametrize("kind", KINDS)
@apart
def test_a_certified_trace_and_what_is_read_off_it(kind: str) -> None:
    def ask(subject: Subject, rows: Rows) -> Any:
        found = trace(subject, rows, certify="exact")
        found.certify()
        places = [place for place, call in enumerate(found.calls) if call.kind == "self"]
        by_layer = [
            (found.received(i), found.entropy(i), found.map(i, 0, 0)) for i in range(len(found.calls))
        ]
        first = [places[0]] if kind in ("t5", "whisper") else None
        rolled = found.rollout(query=0, layers=first) if first else found.rollout(query=0)
        measured = found.statistics(top=2)
        return by_layer, rolled, measured, tuple(found.certificate().values())

    alike(kind, ask, atol=1e-7)


@pytest.mark.parametrize(
    "keep", [Keep(device="cpu"), Keep(dtype=torch.float32, device="cpu", values=False), Keep(maps="full")]
)
@apart
def test_what_is_kept_is_where_it_was_asked_for_and_can_be_saved(keep: Keep, tmp_path: Path) -> None:
    here, there, rows = pair("bert")
    found = trace(there, rows, keep=keep)
    where = keep.device or other_device.NAME
    for call in found.calls:
        parts = (call.query, call.key, call.value, call.output, call.mask, call.given)
        assert {part.device.type for part in parts if part is not None} == {str(where)}
    plain = trace(here, rows)
    np.testing.assert_allclose(found.received(1), plain.received(1), atol=1e-5)
    found.save(tmp_path / "kept")
    np.testing.assert_allclose(read_trace(tmp_path / "kept").received(1), plain.received(1), atol=1e-5)
    small = trace(there, rows, max_memory=10**6)
    np.testing.assert_allclose(small.received(1), plain.received(1), atol=1e-5)


@pytest.mark.parametrize("kind", ["text", "gpt2", "t5"])
@apart
def test_attention_gradients_and_relevance(kind: str) -> None:
    def ask(subject: Subject, rows: Rows) -> Any:
        found = gradient_trace(subject, subject.encode(rows))
        if kind == "t5":
            return found.head_contribution(), found.cross_relevance(query=0)
        return found.head_contribution(), found.contribution(0), found.relevance(query=0)

    alike(kind, ask)


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
@apart
def test_generation(kind: str) -> None:
    def ask(subject: Subject, rows: Rows) -> Any:
        made = trace_generation(subject, rows.take([0, 1]), max_new_tokens=3)
        rows_of = [made.attention(place, 0, 0) for place in range(2)]
        answers = {name: " good film" for name in rows.ids}
        attributed = attribute_generation(subject, rows.take([0]), "gradient x input", max_new_tokens=2)
        return rows_of, score(answering(subject, answers), rows), attributed

    alike(kind, ask)


# Attributions


FEWER = {  # draws and steps, where a method asks for many
    "KernelSHAP": {"samples": 32},
    "Shapley values": {"pairs": 4},
    "GradientSHAP": {"samples": 4},
    "SmoothGrad": {"samples": 4},
}


@pytest.mark.parametrize("method", [method.name for method in METHODS])
@apart
def test_attribution_methods(method: str) -> None:
    rows = pair("text")[2].take([0, 1, 5])
    alike(
        "text",
        lambda subject, some: attribute(subject, some, method, **FEWER.get(method, {})),
        rows=rows,
        atol=1e-6,
    )


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "text"])
@apart
def test_attributions_of_every_kind_of_model(kind: str) -> None:
    methods = ["gradient x input", "attention x gradient"]
    methods += ["occlusion"] if kind in ("table", "gpt2", "image") else []
    methods += ["integrated gradients", "frozen decomposition", "AttnLRP"] if kind == "bert" else []
    alike(kind, lambda subject, rows: [attribute(subject, rows.take([0, 1]), method) for method in methods])


@apart
def test_every_label_other_targets_and_pseudo_likelihoods() -> None:
    alike("bert", attribute_every_label)
    alike("image", attribute_every_label)
    alike("bert", lambda subject, rows: score(aimed(subject, "probability"), rows))
    found = [
        pseudo_log_likelihood(
            masked_language_model(made("masked")[0], device=device, dtype="float64"), TEXTS[:3]
        )
        for device in ("cpu", other_device.NAME)
    ]
    np.testing.assert_allclose(found[1], found[0], atol=1e-8)


@apart
def test_faithfulness_and_randomisation() -> None:
    def ask(subject: Subject, rows: Rows) -> Any:
        few, methods = rows.take([1, 6 - 1]), ("gradient x input",)
        more: Any = {
            "shapley_rows": 1,
            "shaken_rows": 1,
            "perturbations": 2,
            "random_draws": 1,
            "replicates": 60,
        }
        measured = faithfulness(subject, few, methods=methods, shares=(0.5,), eraser_shares=(0.5,), **more)
        drawn = randomisation(subject, few, methods=methods, kinds=("independent",), replicates=60)
        return measured, drawn

    alike("text", ask, atol=1e-6)


# Heads: changed, measured, removed


@pytest.mark.parametrize("kind", ["table", "bert", "gpt2", "t5"])
@apart
def test_heads_are_changed_and_measured(kind: str) -> None:
    def ask(subject: Subject, rows: Rows) -> Any:
        few = rows.take([0, 1, 2])
        donor = trace(subject, few)
        layer = donor.layers[0]
        tried = [
            Intervention(heads={(layer, 0): 0.0}),
            Intervention(heads={(layer, 1): Mean(donor)}),
            Intervention(heads={(layer, None): Resample(donor, seed=1)}),
            Intervention(cut=(Edge(layer=layer, head=0, query=0, key=1),)),
        ]
        effects = None if kind == "t5" else head_effects(subject, few)
        return intervene(subject, few, tried), effects

    alike(kind, ask)


@pytest.mark.parametrize("how", HOWS)
@apart
def test_heads_are_taken_out(how: str) -> None:
    def ask(subject: Subject, rows: Rows) -> Any:
        layers = trace(subject, rows).layers
        sets = [[], [(layers[0], 0)], [(layers[0], 1), (layers[1], 0)]]
        return ablated(subject, rows, sets, how=how)

    alike("table", ask)


@apart
def test_a_patch_from_a_trace_kept_on_the_processor() -> None:
    def ask(subject: Subject, rows: Rows) -> Any:
        donor = trace(subject, rows.take([1]), keep=Keep(device="cpu"))
        batch = subject.encode(rows.take([0]))
        with torch.no_grad(), gates(subject.module, {(0, 0): Patch(donor)}):
            return subject.select(subject.forward(batch, None)).cpu().numpy()

    alike("table", ask)


@apart
def test_screening_mediation_and_patching() -> None:
    def ask(subject: Subject, rows: Rows) -> Any:
        wanted = contrast_of(rows)
        shares = screen(subject, rows, wanted, integrated=True, feed_forward=True)
        closed = screen(subject, rows, wanted, last="exact")
        others = applicants(12).take(range(6, 12))
        carried = mediation.mediate(
            subject, rows, wanted, others, contrast_of(others), n_random=2, n_candidates=1, replicates=200
        )
        order = rows.take([1, 0, 3, 2])
        patched = patch_effects(subject, rows.take(range(4)), dataclasses.replace(order, ids=tuple("abcd")))
        return shares, closed, carried, patched

    alike("table", ask, atol=1e-7)


# Edits, which are saved and come back


@pytest.mark.parametrize("kind", ["table", "gpt2"])
@apart
def test_edited_subjects_are_saved_and_come_back(kind: str, tmp_path: Path) -> None:
    folders = iter(range(9))

    def ask(subject: Subject, rows: Rows) -> Any:
        changed = prune_heads(subject, [(0, 1)], rows, instead="mean")
        if kind == "table":
            changed = prune_heads(changed, [(1, 0)], rows, way="run time")
            changed = erase_concept(changed, rows, ["a", "b"] * 3, module="encoder.layers.0", pool="tokens")
        folder = tmp_path / str(next(folders))
        edits.save(changed, folder)
        again = load(folder, device=str(subject.device), dtype="float64", **made(kind)[2])
        assert next(again.module.parameters()).device.type == subject.device.type
        return score(changed, rows), score(again, rows)

    alike(kind, ask, atol=1e-7)


@apart
def test_learned_gates() -> None:
    def ask(subject: Subject, rows: Rows) -> Any:
        return score(learn_head_gates(subject, rows, weights_of(rows), steps=3, allowed=1.0), rows)

    alike("table", ask, rows=applicants(24))


# Training


@apart
def test_training_tuning_distilling_and_copies() -> None:
    folder, _, _ = made("table")
    rows = applicants(40)

    def ask(subject: Subject, _: Rows) -> Any:
        copy = copied(subject, rows)
        labels = np.asarray(rows.labels)
        held = np.arange(40) >= 30
        spared = [(0, 1)] * 40
        taught = tuning.tuned(subject, rows, labels, held, spared, epochs=1, learning_rate=1e-3)
        swapped = dataclasses.replace(rows.take(range(8)), ids=tuple(f"c{i}" for i in range(8)))
        augmented = tune_on_copies(
            subject, rows, swapped, rows.ids[:8], learning_rate=1e-3, epochs=1, consistency=0.5
        )
        student = distil(
            subject, rows.take(range(30)), rows.take(range(30, 40)), load_ours(folder)[1], width=16, epochs=1
        )
        for one in (copy, taught, augmented, student):
            assert {weight.device.type for weight in one.module.parameters()} == {subject.device.type}
        return [score(one, rows) for one in (copy, taught, augmented, student)]

    alike("table", ask, atol=1e-5)


@apart
def test_a_module_is_trained_on_its_device() -> None:
    losses = []
    for device in ("cpu", other_device.NAME):
        subject, rows = our_subject("table")
        inputs = {name: tensor.cpu() for name, tensor in subject.encode(rows).items()}
        tensors = inputs, torch.from_numpy(np.asarray(rows.labels))
        history = train(
            subject.module, *tensors, validation=tensors, epochs=2, batch_size=4, seed=0, device=device,
            progress=False, class_weights=torch.tensor([1.0, 2.0]),
        )  # fmt: skip
        losses.append((history.training_loss, history.validation_loss))
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)


# Modules of one's own, latency


@apart
def test_a_wrapped_module_takes_its_own_device() -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = HandMade(causal=True)

        def forward(self, x: torch.Tensor, pad: torch.Tensor) -> torch.Tensor:
            return self.inner(x, pad)[:, None]

    torch.manual_seed(0)
    module = Wrapped().double().eval()
    rows = Rows(
        ids=("a", "b"),
        inputs={
            "x": np.random.default_rng(0).normal(size=(2, 6, 8)),
            "pad": np.array([[False] * 6, [False] * 4 + [True] * 2]),
        },
    )
    found = []
    for device in ("cpu", other_device.NAME):
        subject = wrap(module.to(device), columns=("x", "pad"))
        assert subject.device.type == device
        seen_there = trace(subject, rows, certify="exact")
        found.append((score(subject, rows), seen_there.received(0), seen_there.received(1)))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-9)


@apart
def test_scenes_and_latency() -> None:
    def ask(subject: Subject, rows: Rows) -> Any:
        row = rows.take([0])
        scene = seen(subject, row, n_tokens=len(subject.names(row)[0]) + len(subject.prefix))
        parts = scene.importance(), scene.attention(), scene.contribution(), scene.overview()
        return parts, scene.window(1, 0, 0, 3, 1, 4), view(subject, row, title="one")

    alike("bert", ask, atol=1e-6)
    _, there, rows = pair("bert")
    assert latency.latencies({"there": there}, rows, rounds=3)["there"].device.startswith(other_device.NAME)


@apart
def test_own_choices_positions_means_and_thin_layers(tmp_path: Path) -> None:
    tagger = text_folder(tmp_path / "tagger", "BertForTokenClassification", **labelled("O", "NAME"))
    save_low_rank(made("bert")[0], tmp_path / "thin", rank=3)
    save_low_rank(made("table")[0], tmp_path / "own", rank=3)
    table = pair("table")[2]
    asked = (
        (made("gpt2")[0], texts(), {}),
        (tagger, texts(), {}),
        (tagger, texts(position=np.arange(1, 7)), {"positive": "NAME"}),
        (tmp_path / "thin", texts(), {}),
        (tmp_path / "own", table, {}),
    )
    for folder, rows, how in asked:
        here, there = (load(folder, dtype="float64", device=d, **how) for d in ("cpu", other_device.NAME))
        np.testing.assert_allclose(score(there, rows), score(here, rows), atol=1e-8)
    alike(
        "text",
        lambda subject, rows: attribute(subject, rows, "occlusion", baseline="mean", background=texts(8)),
    )
    pair_of_ours = []
    for device in ("cpu", other_device.NAME):
        torch.manual_seed(0)
        shape = Architecture(kind="text", vocabulary=9, longest=8, width=8, layers=1, heads=2, feed_forward=8)
        model = EncoderDecoder(shape).eval().to(device)
        source = torch.tensor([[1, 2, 3], [4, 5, 0]], device=device)
        pair_of_ours.append(model.generate(source, start=1, end=2, longest=4).tolist())
    assert pair_of_ours[0] == pair_of_ours[1]


@apart
def test_a_device_without_float64() -> None:
    def ask(subject: Subject, rows: Rows) -> Any:
        few = rows.take([0, 1, 2, 3])
        found = gradient_trace(subject, subject.encode(few))
        found.certify()
        read = found.received(0), found.statistics(), found.map(0, 0, 0), found.head_contribution()
        methods = ("integrated gradients", "occlusion", "attention x gradient", "value-weighted norms")
        explained = [attribute(subject, few.take([0]), method) for method in methods]
        explained.append(attribute(subject, few.take([0]), "occlusion", baseline="mean", background=rows))
        out = ablated(subject, few, [[(found.layers[0], 0)]])
        shares = screen(subject, few, contrast_of(few), last="exact", toward="mean")
        pruned = prune_heads(subject, [(0, 1)], few, instead="mean")
        erased = erase_concept(subject, few, ["a", "b"] * 2, module="encoder.layers.0")
        gated = learn_head_gates(subject, rows, weights_of(rows), steps=1, allowed=1.0)
        changed = [score(one, few) for one in (pruned, erased, gated)]
        return read, explained, out, shares, changed, head_changes(subject, pruned, few, replicates=60)

    with other_device.without_float64():
        with pytest.raises(TypeError, match="does not support"):
            torch.zeros(1, device=other_device.DEVICE).double()
        alike("table", ask, dtype="float32", rows=applicants(16), atol=1e-3, rtol=1e-2)
        alike("bert", score, dtype="float32", atol=1e-4)
        masked = masked_language_model(made("masked")[0], device=other_device.NAME)
        assert np.isfinite(pseudo_log_likelihood(masked, TEXTS[:2])).all()


# Where 64 bits are asked for of tensors that are on the processor, counted per file. Elsewhere: `interpret/float64.py`.
ON_THE_PROCESSOR = {
    "head_changes": 1,
    "reading": 1,
    "rollout": 1,
    "sampled_gradients": 1,
    "shapley": 1,
    "value_norms": 1,
}


MADE_THERE = "|".join(
    (
        r"sum\([^()]*torch\.float64\)",
        r"torch\.float64, device=(?!float64_device)",
        r"np\.float64\)\)\.to\((?!float64_device)",
    )
)


def test_numbers_of_64_bits_are_asked_for_where_there_are_some() -> None:
    counted, made = {}, []
    for file in sorted(ROOM.glob("*.py")):
        text = file.read_text(encoding="utf-8")
        n = len(re.findall(r"\.double\(\)", text)) - len(re.findall(r"\.cpu\(\)\.double\(\)", text))
        if n and file.stem != "float64":
            counted[file.stem] = n
        if file.stem not in ("float64", "triton_calls"):  # Triton has CUDA devices alone
            made += re.findall(MADE_THERE, text)
    assert counted == ON_THE_PROCESSOR and not made


@apart
def test_heads_of_models_on_two_devices_are_compared() -> None:
    here, there, rows = pair("bert")
    few = rows.take([0, 1])
    for one, other in ((here, there), (there, here)):
        changes = head_changes(one, other, few, replicates=60)
        assert told(changes) and max(change.divergence for change in changes.heads) < 1e-9


@apart
def test_half_precision() -> None:
    _, there, rows = pair("bert", "bfloat16")
    expected = score(pair("bert")[0], rows)
    found = score(there, rows)
    assert 0 < np.abs(found - expected).max() < 0.2 * np.abs(expected).max() + 0.1
    trace(there, rows, certify="exact").certify()
    low_rank(there.module, rank=4)
    assert np.isfinite(score(there, rows)).all() and json.dumps(found.tolist())
