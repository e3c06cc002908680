"""A Subject: any model as rows -> scores, differentiable from its embeddings.

Three ways to one: `load` a folder of ours, `load` a Hugging Face folder with a sequence-classification
head, or `wrap` a module of your own. Everything downstream (scores, attributions, attention) asks a
Subject for the same five things and knows no architecture.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import DataError, ModelError, did_you_mean, first
from ..records import Floats, Rows

Batch = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """A model under review.

    The target explained and scored is a logit difference: `labels[positive]` minus the mean of the
    other labels' logits (minus the other one, for two labels); the output itself where there is one.
    A row is predicted positive when its score is above `threshold`, in the unit of the score.
    """

    name: str
    module: nn.Module
    labels: tuple[str, ...]
    positive: int
    threshold: float
    baseline: str  # the reference input, in words
    prefix: tuple[str, ...]  # tokens that the model puts before the ones it is given
    columns: tuple[str, ...]  # the input columns it reads
    encode: Callable[[Rows], Batch]  # rows -> tensors, each with the example first
    names: Callable[[Rows], tuple[tuple[str, ...], ...]]  # token names per example, no padding
    embed: Callable[[Batch], Tensor]  # -> (example, token, width)
    reference: Callable[[Batch], Tensor]  # -> (example, token, width), what the input is compared with
    forward: Callable[[Batch, Tensor | None], Tensor]  # logits, from these embeddings where given
    device: torch.device
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """The scalar being scored and explained, in words."""
        if len(self.labels) == 1:
            return self.labels[0]
        positive = f"logit({self.labels[self.positive]})"
        others = [label for i, label in enumerate(self.labels) if i != self.positive]
        if len(others) == 1:
            return f"{positive} - logit({others[0]})"
        return f"{positive} - mean logit of {', '.join(others)}"

    @property
    def unit(self) -> str:
        """The unit of the score."""
        return "logit" if len(self.labels) > 1 else "output"

    def select(self, outputs: Tensor) -> Tensor:
        """The target of each example from the model's outputs (example, label) -> (example,)."""
        if outputs.ndim == 1 or outputs.shape[1] == 1:
            return outputs.reshape(len(outputs))
        others = outputs.sum(dim=1) - outputs[:, self.positive]
        return outputs[:, self.positive] - others / (outputs.shape[1] - 1)

    def __repr__(self) -> str:
        size = sum(parameter.numel() for parameter in self.module.parameters())
        return (
            f"Subject({self.name}: {type(self.module).__name__}, {size:,} parameters, target {self.target})"
        )


def chunks(rows: Rows, batch_size: int) -> list[Rows]:
    """The rows in consecutive batches: the composition depends on nothing but the order and the size."""
    if batch_size < 1:
        raise ModelError(f"batch_size is {batch_size}, expected 1 or more.")
    return [
        rows.take(range(start, min(start + batch_size, len(rows))))
        for start in range(0, len(rows), batch_size)
    ]


def score(subject: Subject, rows: Rows, *, batch_size: int = 64) -> Floats:
    """The target of every row, (example,), as float64 in the subject's unit.

    Raises:
        DataError: there are no rows, or the model's score of some row is not finite.
    """
    if not len(rows):
        raise DataError("there are no rows to score.")
    parts = []
    with torch.no_grad():
        for part in chunks(rows, batch_size):
            parts.append(subject.select(subject.forward(subject.encode(part), None)).double().cpu().numpy())
    scores = np.concatenate(parts)
    check_finite(scores, rows.ids, subject.name)
    return scores


def check_finite(scores: Floats, ids: tuple[str, ...], name: str) -> None:
    """Refuse scores that are not numbers, naming the first rows."""
    bad = np.flatnonzero(~np.isfinite(scores))
    if bad.size:
        raise DataError(
            f"the model {name} gives {bad.size} of {len(ids)} rows a score that is not finite; first rows: "
            f"{first(ids[i] for i in bad)}. Likely causes: (a) an input far outside the training range, (b) "
            "weights that overflowed in half precision: load with dtype='float32'."
        )


def _digest(*files: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def pick_device(device: str) -> torch.device:
    """The torch device called `device`; "auto" takes CUDA, then MPS, then the CPU."""
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ModelError(
            f"device {device!r} is not one torch knows. Use cpu, cuda, cuda:0, mps or auto."
        ) from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(f"device {device!r} was asked for and this torch sees no CUDA. Use --device cpu.")
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise ModelError(f"device {device!r} was asked for and this torch sees no MPS. Use --device cpu.")
    return chosen


def load(folder: str | Path, *, device: str = "cpu", positive: str | None = None) -> Subject:
    """A Subject from a folder: one saved by Clinometer, or a Hugging Face sequence classifier.

    Only safetensors weights are read and no code of the folder is run.

    Args:
        folder: holds `clinometer.json` (ours) or `config.json` (Hugging Face).
        device: "cpu", "cuda", "mps" or "auto".
        positive: the label whose logit counts as positive; by default the one the folder names, else the last.

    Raises:
        ModelError: the folder is missing or incomplete, or names a label it does not have.
    """
    path = Path(folder)
    if not path.is_dir():
        raise ModelError(f"{path} is not a folder. Name the folder that holds the model's files.")
    where = pick_device(device)
    if (path / "clinometer.json").exists():
        return _load_ours(path, where, positive)
    if (path / "config.json").exists():
        return _load_hugging_face(path, where, positive)
    raise ModelError(
        f"{path} holds neither clinometer.json (a model saved by Clinometer) nor config.json (Hugging Face). "
        f"It holds: {first(sorted(item.name for item in path.iterdir())) or 'nothing'}."
    )


def _positive_index(labels: tuple[str, ...], positive: str | None) -> int:
    if positive is None:
        return len(labels) - 1
    if positive not in labels:
        raise ModelError(f"the model has no label {positive!r}: {did_you_mean(positive, labels)}")
    return labels.index(positive)


def _load_ours(path: Path, device: torch.device, positive: str | None) -> Subject:
    from .folders import load as load_folder

    model, preprocessor, metadata = load_folder(path)
    extra: Mapping[str, Any] = metadata["extra"]
    return ours(
        model,
        preprocessor,
        labels=tuple(metadata["labels"]),
        positive=positive or extra.get("positive"),
        threshold=float(extra.get("threshold", 0.0)),
        name=str(extra.get("name", path.name)),
        device=device,
        provenance={
            "kind": "clinometer",
            "weights_sha256": _digest(*path.glob("*.safetensors")),
            "settings_sha256": _digest(path / "clinometer.json"),
            **{key: extra[key] for key in ("data", "training", "groups") if key in extra},
        },
    )


def ours(
    model: Any,
    preprocessor: Any,
    *,
    labels: tuple[str, ...],
    positive: str | None = None,
    threshold: float = 0.0,
    name: str = "model",
    device: torch.device | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Subject:
    """A Subject from our own Classifier and its preprocessor.

    Tables are compared with the training distribution's reference row (median or most frequent value of each
    feature), texts with their mask token, series with the training mean of each channel.
    """
    where = device or torch.device("cpu")
    model = model.to(where).eval()

    def encode(rows: Rows) -> Batch:
        arrays: Mapping[str, np.ndarray] = preprocessor.transform(rows.inputs)
        return {key: torch.from_numpy(value).to(where) for key, value in arrays.items()}

    def names(rows: Rows) -> tuple[tuple[str, ...], ...]:
        if preprocessor.kind == "table":
            return (tuple(preprocessor.feature_names),) * len(rows)
        return tuple(tuple(tokens) for tokens in preprocessor.token_names(rows.inputs))

    def reference(batch: Batch) -> Tensor:
        arrays: Mapping[str, np.ndarray]
        if preprocessor.kind == "table":
            arrays = preprocessor.transform(preprocessor.reference())
            one = model.embed({key: torch.from_numpy(value).to(where) for key, value in arrays.items()})
            n = len(next(iter(batch.values())))
            row: Tensor = one.expand(n, *one.shape[1:])
            return row
        neutral = preprocessor.neutral({key: value.cpu().numpy() for key, value in batch.items()})
        masked: Tensor = model.embed(
            {key: torch.from_numpy(value).to(where) for key, value in neutral.items()}
        )
        return masked

    def forward(batch: Batch, embedded: Tensor | None) -> Tensor:
        start = model.embed(batch) if embedded is None else embedded
        logits: Tensor = model.forward_embedded(start, model.mask(batch))
        return logits

    words = {
        "table": "the training distribution's reference row (medians and most frequent values)",
        "text": "the mask token at every word",
        "series": "the training mean of every channel",
    }
    return Subject(
        name=name,
        module=model,
        labels=labels,
        positive=_positive_index(labels, positive),
        threshold=threshold,
        baseline=words[preprocessor.kind],
        prefix=("[CLS]",),
        columns=tuple(preprocessor.columns),
        encode=encode,
        names=names,
        embed=model.embed,
        reference=reference,
        forward=forward,
        device=where,
        provenance=provenance or {},
    )


def _load_hugging_face(path: Path, device: torch.device, positive: str | None) -> Subject:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    if not list(path.glob("*.safetensors")):
        pickles = first(sorted(item.name for item in path.glob("*.bin")))
        raise ModelError(
            f"{path} has no .safetensors weights{' (it has ' + pickles + ')' if pickles else ''}. Pickled weights "
            "can run code when read and are refused: save the model again with save_pretrained()."
        )
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelError(f"{path / 'config.json'} is not JSON: {error}.") from error
    architectures = config.get("architectures") or []
    if not any("SequenceClassification" in str(name) for name in architectures):
        raise ModelError(
            f"{path} holds {first(architectures) or 'no named architecture'}; a model with a "
            "ForSequenceClassification head is expected. For another module use clinometer.wrap()."
        )
    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            path, local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype=torch.float32
        )
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{path} cannot be loaded by transformers: {str(error).splitlines()[0]}") from error
    labels = tuple(str(model.config.id2label[i]) for i in range(model.config.num_labels))
    return hugging_face(
        model,
        tokenizer,
        labels=labels,
        positive=positive,
        name=path.name,
        device=device,
        provenance={
            "kind": "transformers",
            "weights_sha256": _digest(*path.glob("*.safetensors")),
            "settings_sha256": _digest(path / "config.json"),
            "tokenizer_sha256": _digest(*path.glob("tokenizer*"), *path.glob("vocab*")),
        },
    )


def hugging_face(
    model: Any,
    tokenizer: Any,
    *,
    labels: tuple[str, ...],
    positive: str | None = None,
    name: str = "model",
    device: torch.device | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Subject:
    """A Subject from a Hugging Face sequence classifier and its tokenizer; inputs are in the column `text`.

    The baseline is the mask token at every token but special ones and padding; a tokenizer without a mask
    token gives the padding token, then the unknown token, in that order.
    """
    where = device or torch.device("cpu")
    model = model.to(where).eval()
    substitutes = (
        ("mask", tokenizer.mask_token_id),
        ("padding", tokenizer.pad_token_id),
        ("unknown", tokenizer.unk_token_id),
    )
    chosen = next(((word, number) for word, number in substitutes if number is not None), None)
    if chosen is None:
        raise ModelError(
            f"the tokenizer of {name} has no mask, padding or unknown token to compare a text with. Name one: "
            "tokenizer.pad_token = tokenizer.eos_token."
        )
    word, substitute = chosen
    special = torch.tensor(sorted(set(tokenizer.all_special_ids)), device=where)
    embedding = model.get_input_embeddings()

    def tokenize(rows: Rows, **kwargs: Any) -> Any:
        if "text" not in rows.inputs:
            raise DataError(
                f"the model {name} reads the column 'text', which is missing: {did_you_mean('text', rows.inputs)}"
            )
        texts = [str(text) for text in rows.inputs["text"]]
        return tokenizer(texts, truncation=True, max_length=_longest(model, tokenizer), **kwargs)

    def encode(rows: Rows) -> Batch:
        encoded = tokenize(rows, padding=True, return_tensors="pt")
        return {key: value.to(where) for key, value in encoded.items()}

    def names(rows: Rows) -> tuple[tuple[str, ...], ...]:
        ids = tokenize(rows)["input_ids"]
        return tuple(tuple(tokenizer.convert_ids_to_tokens(row)) for row in ids)

    def reference(batch: Batch) -> Tensor:
        ids = batch["input_ids"]
        kept = torch.isin(ids, special) | (batch["attention_mask"] == 0)
        embedded: Tensor = embedding(torch.where(kept, ids, torch.full_like(ids, substitute)))
        return embedded

    def forward(batch: Batch, embedded: Tensor | None) -> Tensor:
        inputs = {key: value for key, value in batch.items() if key != "input_ids"}
        start = embedding(batch["input_ids"]) if embedded is None else embedded
        logits: Tensor = model(inputs_embeds=start, **inputs).logits
        return logits

    return Subject(
        name=name,
        module=model,
        labels=labels,
        positive=_positive_index(labels, positive),
        threshold=0.0,
        baseline=f"the {word} token at every token but special ones",
        prefix=(),
        columns=("text",),
        encode=encode,
        names=names,
        embed=lambda batch: embedding(batch["input_ids"]),
        reference=reference,
        forward=forward,
        device=where,
        provenance=provenance or {},
    )


def _longest(model: Any, tokenizer: Any) -> int:
    places = getattr(model.config, "max_position_embeddings", None) or tokenizer.model_max_length
    return int(min(places, tokenizer.model_max_length))


def wrap(
    module: nn.Module,
    *,
    encode: Callable[[Rows], Batch],
    embed: Callable[[Batch], Tensor],
    forward: Callable[[Batch, Tensor | None], Tensor],
    reference: Callable[[Batch], Tensor],
    names: Callable[[Rows], tuple[tuple[str, ...], ...]],
    labels: tuple[str, ...],
    baseline: str,
    positive: str | None = None,
    threshold: float = 0.0,
    prefix: tuple[str, ...] = (),
    columns: tuple[str, ...] = (),
    name: str = "model",
) -> Subject:
    """A Subject from any module of your own.

    Args:
        module: the module, in evaluation mode; attention is captured inside it.
        encode: rows -> tensors, each with the example as first axis.
        embed: tensors -> embeddings (example, token, width).
        forward: (tensors, embeddings or None) -> outputs (example, label).
        reference: tensors -> the embeddings compared with, of the same shape. There is no default: a zero
            vector is nobody's input.
        names: rows -> token names per example.
        labels: one name per output.
        baseline: what `reference` is, in words; it is printed in reports.
        positive: the label whose logit is scored; by default the last.
        threshold: a row whose score is above it is predicted positive.
        prefix: names of tokens that the module itself puts first.
        columns: the input columns that `encode` reads, for rows that come from a file.
        name: what reports call the model.
    """
    if module.training:
        raise ModelError(f"{type(module).__name__} is in training mode: call module.eval() first.")
    device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
    return Subject(
        name=name,
        module=module,
        labels=labels,
        positive=_positive_index(labels, positive),
        threshold=threshold,
        baseline=baseline,
        prefix=prefix,
        columns=columns,
        encode=encode,
        names=names,
        embed=embed,
        reference=reference,
        forward=forward,
        device=device,
        provenance={"kind": "wrapped", "class": f"{type(module).__module__}.{type(module).__qualname__}"},
    )
