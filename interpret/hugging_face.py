"""A Hugging Face folder as a Subject: which task it was trained for, and who reads it."""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import DataError, ModelError, did_you_mean, first
from ..records import Rows
from . import language_subjects, text_subjects
from .models import Batch, Subject, label_index, without_gradients
from .probe import probe
from .texts import Texts, read_tokenizer
from .weights import (
    DeviceMap,
    adapted,
    bar_on_a_terminal_only,
    check_layers,
    check_weights,
    digest,
    dtype_named,
    panics_refused,
    quantised,
    read_model,
    read_settings,
)

TOKENIZER_FILES = (
    "tokenizer*",
    "vocab*",
    "merges*",
    "special_tokens_map.json",
    "added_tokens.json",
    "*.model",
    "*.spm",
)
ADAPTER_FILES = ("adapter_*",)
PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json", "feature_extractor_config.json")
PADDING_TOLERANCE: Mapping[torch.dtype, float] = {torch.float64: 1e-9, torch.float32: 1e-4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One kind of folder: what transformers calls it, and what its rows hold."""

    name: str
    auto: str  # transformers' class that loads it
    table: str  # transformers' table of the architectures it loads
    reads: str  # "text", "pixels" or "audio"
    has_labels: bool


TASKS = (
    Task(
        name="sequence classification",
        auto="AutoModelForSequenceClassification",
        table="MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
        reads="text",
        has_labels=True,
    ),
    Task(
        name="token classification",
        auto="AutoModelForTokenClassification",
        table="MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES",
        reads="text",
        has_labels=True,
    ),
    Task(
        name="speech to text",
        auto="AutoModelForSpeechSeq2Seq",
        table="MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES",
        reads="audio",
        has_labels=False,
    ),
    Task(
        name="sequence to sequence",
        auto="AutoModelForSeq2SeqLM",
        table="MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
        reads="text",
        has_labels=False,
    ),
    Task(
        name="masked language model",
        auto="AutoModelForMaskedLM",
        table="MODEL_FOR_MASKED_LM_MAPPING_NAMES",
        reads="text",
        has_labels=False,
    ),
    Task(
        name="causal language model",
        auto="AutoModelForCausalLM",
        table="MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
        reads="text",
        has_labels=False,
    ),
    Task(
        name="image classification",
        auto="AutoModelForImageClassification",
        table="MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES",
        reads="pixels",
        has_labels=True,
    ),
    Task(
        name="audio classification",
        auto="AutoModelForAudioClassification",
        table="MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES",
        reads="audio",
        has_labels=True,
    ),
)
READERS: Mapping[str, Callable[..., Subject]] = {
    "sequence classification": text_subjects.sequence_classifier,
    "token classification": text_subjects.token_classifier,
    "masked language model": language_subjects.masked_model,
    "sequence to sequence": language_subjects.sequence_to_sequence,
    "causal language model": language_subjects.causal_model,
}


def task_of(path: Path, architectures: list[str], asked: str | None) -> Task:
    """The task of a folder: the one asked for, else the one its architecture was made for.

    Raises:
        ModelError: the task is unknown, or the architecture is of another kind.
    """
    from transformers.models.auto import modeling_auto

    names = [task.name for task in TASKS]
    if asked is not None:
        if asked not in names:
            raise ModelError(f"task {asked!r} is not known: {did_you_mean(asked, names)}")
        return TASKS[names.index(asked)]
    for task in TASKS:
        table: Mapping[str, Any] = getattr(modeling_auto, task.table)
        known = {
            name for value in table.values() for name in (value if isinstance(value, tuple) else (value,))
        }
        if known & set(architectures):
            return task
    raise ModelError(
        f"{path} holds {first(architectures) or 'no named architecture'}. Supported are {', '.join(names)} (classes "
        "like BertForSequenceClassification, GPT2LMHeadModel, T5ForConditionalGeneration, ViTForImageClassification). "
        "Name the task where the settings do not (task='...'); for another module use clinometer.wrap()."
    )


def architectures_of(path: Path, settings: Mapping[str, Any]) -> list[str]:
    """The classes that the settings of a folder name.

    Raises:
        ModelError: they are no list.
    """
    named = settings.get("architectures") or []
    if not isinstance(named, list):
        raise ModelError(f"{path / 'config.json'} has architectures {named!r}; a list of names is expected.")
    return [str(name) for name in named]


def load_hugging_face(
    path: Path,
    *,
    device: torch.device,
    dtype: str,
    task: str | None,
    positive: str | None,
    candidates: tuple[str, ...] | None,
    device_map: DeviceMap | None,
    quantise: str | None,
    adapter: Path | None,
) -> Subject:
    """A Subject from a folder that transformers saved; see `clinometer.load` for the arguments."""
    import transformers

    settings = read_settings(path / "config.json")
    architectures = architectures_of(path, settings)
    check_weights(path, architecture=(architectures or ["AutoModel"])[0])
    kind = task_of(path, architectures, task)
    check_layers(path, settings)
    for file in ("tokenizer_config.json", *PROCESSOR_FILES):
        if (path / file).exists():
            read_settings(path / file)
    if candidates is not None and kind.has_labels:
        raise ModelError(
            f"{path} is a model for {kind.name}, which has labels and no candidates. Name a label: positive='...'."
        )
    numbers = dtype_named(dtype)
    model: Any = read_model(path, getattr(transformers, kind.auto), dtype=numbers, device_map=device_map)
    if adapter is not None:
        model = adapted(model, adapter)
    if device_map is None:
        model = model.to(device)
    words = "none"
    if quantise is not None:
        model, words = quantised(model, quantise)
    provenance: dict[str, Any] = {
        "kind": "transformers",
        "class": type(model).__qualname__,
        "task": kind.name,
        "weights_sha256": digest(path.glob("*.safetensors")),
        "settings_sha256": digest([path / "config.json"]),
        "dtype": dtype,
        "quantisation": _own_quantisation(settings) or words,
        "device_map": None if device_map is None else json.dumps(device_map),
        "adapter_sha256": None if adapter is None else digest(_files(adapter, ADAPTER_FILES)),
    }
    if adapter is not None:
        # The name alone: `verify` looks for it in and beside the model's folder.
        provenance["adapter"] = os.path.basename(os.path.abspath(adapter))
    common = {
        "name": path.name,
        "task": kind.name,
        "device": model.device,
        "provenance": provenance,
    }
    how = {"labels": _labels(model), "positive": positive}
    if not kind.has_labels:
        how = {"candidates": candidates, "positive": positive}
    if kind.reads == "text":
        tokenizer = read_tokenizer(path)
        with panics_refused(path.name):
            texts = Texts(tokenizer, model, path.name, cut=kind.name == "sequence classification")
        provenance["tokenizer_sha256"] = digest(_files(path, TOKENIZER_FILES))
        provenance["longest_text"] = texts.longest
        subject = READERS[kind.name](model, texts, **how, **common)
        subject = padding_proved(subject, texts, numbers)
        together = range(1 if "padding" in subject.provenance else 2)
        attention = str(probe(subject, _two_texts(texts).take(together)))
        subject = dataclasses.replace(subject, provenance={**subject.provenance, "attention": attention})
    else:
        provenance["processor_sha256"] = digest(_files(path, (*PROCESSOR_FILES, *TOKENIZER_FILES)))
        subject = _signal_subject(kind, path, model, how, common)
    subject = dataclasses.replace(subject, write=_writer(kind, path, positive, candidates))
    return without_gradients(subject) if quantise == "int8" else subject


def _writer(
    kind: Task, path: Path, positive: str | None, candidates: tuple[str, ...] | None
) -> Callable[[Any, Path], Mapping[str, Any]]:
    """Writes a folder of the same kind: the module's weights and settings, all else as it is in the folder read."""

    def write(subject: Subject, folder: Path) -> Mapping[str, Any]:
        module: Any = subject.module
        with bar_on_a_terminal_only():
            module.save_pretrained(folder)
        for file in _files(path, (*TOKENIZER_FILES, *PROCESSOR_FILES, "tekken.json", "*.jinja")):
            shutil.copyfile(file, folder / file.name)
        # The positive label may have been chosen since; a tagger has it only where it was asked for.
        named = kind.has_labels and kind.name != "token classification"
        return {
            "task": kind.name,
            "positive": subject.labels[subject.positive] if named else positive,
            "candidates": None if candidates is None else list(candidates),
        }

    return write


def _signal_subject(
    kind: Task, path: Path, model: Any, how: dict[str, Any], common: dict[str, Any]
) -> Subject:
    if kind.reads == "pixels":
        from .image_subjects import image_classifier

        return image_classifier(path, model, **how, **common)
    from .audio_subjects import audio_classifier, speech_to_text

    return (audio_classifier if kind.has_labels else speech_to_text)(path, model, **how, **common)


def _labels(model: Any) -> tuple[str, ...]:
    return tuple(str(model.config.id2label[i]) for i in range(model.config.num_labels))


def _files(path: Path, patterns: tuple[str, ...]) -> list[Path]:
    return [file for pattern in patterns for file in path.glob(pattern) if file.is_file()]


def _own_quantisation(settings: Mapping[str, Any]) -> str | None:
    """What the folder itself says of its weights, where they were saved quantised."""
    given = settings.get("quantization_config")
    return None if not isinstance(given, Mapping) else f"the folder's own: {given.get('quant_method')}"


def _outputs(subject: Subject, rows: Rows) -> np.ndarray:
    with torch.no_grad():
        outputs: np.ndarray = subject.forward(subject.encode(rows), None).cpu().double().numpy()
    return outputs


def _two_texts(texts: Texts) -> Rows:
    """A short and a longer text, to prove a model with."""
    mask = texts.tokenizer.mask_token or ""
    return Rows(
        ids=("short", "long"),
        inputs={"text": np.array([f"a {mask}", f"{mask} a b c a b c a"], dtype=object)},
    )


def padding_proved(subject: Subject, texts: Texts, dtype: torch.dtype) -> Subject:
    """The Subject, once two texts of different lengths score in one batch as they do alone.

    Otherwise (recurrence, pooling at the end) the Subject takes only texts of one length per batch. Dynamic int8 is
    left out: its scores depend on the batch by design.

    Raises:
        ModelError: the model does not run in this number type on this device.
    """
    rows = _two_texts(texts)
    try:
        together = _outputs(subject, rows)
        alone = np.concatenate([_outputs(subject, rows.take([i])) for i in range(2)])
    except RuntimeError as error:
        raise ModelError(
            f"{subject.name} does not run in {dtype} on {subject.device}: {str(error).splitlines()[0]}. Load it with "
            "dtype='float32' or dtype='bfloat16'."
        ) from error
    except IndexError as error:
        raise ModelError(
            f"{subject.name} does not run on two short texts: its tokenizer gives numbers beyond the model's tables "
            f"({error}). The tokenizer belongs to another model."
        ) from error
    if subject.provenance.get("quantisation", "none").startswith("torch dynamic"):
        return subject
    allowed = PADDING_TOLERANCE.get(dtype, 5e-2) * max(float(np.abs(alone).max()), 1e-6)
    moved = float(np.abs(together - alone).max())
    if moved <= allowed:
        return subject
    encode = subject.encode

    def one_length(rows: Rows) -> Batch:
        batch = encode(rows)
        if not bool((batch["attention_mask"] == 1).all()):
            raise DataError(
                f"{subject.name} scores a text otherwise when it is padded (by {moved:.2g} on a probe), and this batch "
                "has texts of different lengths. Use batch_size=1, or rows of one length."
            )
        return batch

    return dataclasses.replace(
        subject,
        encode=one_length,
        provenance={**subject.provenance, "padding": "refused: it changes this model's scores"},
    )


def hugging_face(
    model: Any,
    tokenizer: Any,
    *,
    labels: tuple[str, ...] | None = None,
    positive: str | None = None,
    name: str = "model",
) -> Subject:
    """A Subject from a sequence classifier of transformers and its tokenizer that are in memory already.

    Inputs are in the column `text`. The module stays where it is, in its own number type.
    """
    chosen = labels or _labels(model)
    label_index(chosen, positive)

    def write(subject: Subject, folder: Path) -> Mapping[str, Any]:
        module: Any = subject.module
        with bar_on_a_terminal_only():
            module.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return {"task": "sequence classification", "positive": chosen[subject.positive]}

    return text_subjects.sequence_classifier(
        model.eval(),
        Texts(tokenizer, model, name, cut=True),
        labels=chosen,
        positive=positive,
        name=name,
        task="sequence classification",
        device=model.device,
        provenance={"kind": "transformers", "class": type(model).__qualname__},
        write=write,
    )
