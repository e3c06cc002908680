"""A Subject: any model as rows -> scores, differentiable from its embeddings.

Three ways to one: `load` a folder of ours, `load` a Hugging Face folder, or `wrap` a module of your own.
Everything downstream (scores, attributions, attention) asks a Subject for the same few things and knows no
architecture.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import DataError, InputError, ModelError, did_you_mean, first
from ..records import Floats, Rows
from .placing import placed
from .preprocessing import MASK, UNKNOWN_WORD
from .weights import DeviceMap, digest, dtype_named, quantised

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
    optional: tuple[str, ...] = ()  # ... and those it reads where the rows have them
    task: str = "classification"
    says: str = ""  # the target in words, where the labels alone do not say it
    measured_in: str = ""  # the unit of the score, where it is no logit
    # Of subjects whose outputs are a part of all labels: the logits of all of them, (example, label) or, where the
    # batch asks at several positions per row, (example, position, label), and which of them the labels are; none
    # where it is the row's own choice, in the batch as "chosen".
    whole: Callable[[Batch, Tensor | None], Tensor] | None = None
    numbers: tuple[int, ...] = ()
    spell: Callable[[Sequence[str]], list[list[int]]] | None = None  # texts -> token numbers, no markers
    # Texts: each row's, with the characters [start, end) of each of its names; an empty range for markers.
    characters: Callable[[Rows], tuple[tuple[str, tuple[tuple[int, int], ...]], ...]] | None = None
    # ... the embeddings of a batch with one token number everywhere, and the numbers that could stand for nothing.
    filled: Callable[[Batch, int], Tensor] | None = None
    fillers: Mapping[str, int] = field(default_factory=dict)
    # Names of what a decoder reads, beside an encoder; positions of its attention maps.
    decoder_names: Callable[[Rows], tuple[tuple[str, ...], ...]] | None = None
    decode: Callable[[Sequence[int]], tuple[str, ...]] | None = None  # token numbers -> names
    special: tuple[str, ...] = ()  # names of tokens that belong to no text: markers of begin, end, padding
    provenance: Mapping[str, Any] = field(default_factory=dict)
    # Writes a folder for `load`, without edits, and returns the arguments it has to be loaded with.
    write: Callable[[Any, Path], Mapping[str, Any]] | None = None
    edits: tuple[Any, ...] = ()  # what was changed in the model, in order: `edits.Edit`

    @property
    def target(self) -> str:
        """The scalar being scored and explained, in words."""
        return self.says or difference(self.labels, self.positive)

    @property
    def unit(self) -> str:
        """The unit of the score."""
        return self.measured_in or ("logit" if len(self.labels) > 1 else "output")

    def select(self, outputs: Tensor) -> Tensor:
        """The target of each example from the model's outputs (example, label) -> (example,).

        Raises:
            ModelError: the number of outputs is not the number of labels.
        """
        if outputs.ndim == 1 or outputs.shape[1] == 1:
            return outputs.reshape(len(outputs))
        if outputs.ndim != 2 or outputs.shape[1] != len(self.labels):
            raise ModelError(
                f"{self.name} gives outputs of shape {tuple(outputs.shape)} and has {len(self.labels)} label(s) "
                f"({first(self.labels)}); (example, label) is expected. Name one label per output: labels=(...)."
            )
        others = outputs.sum(dim=1) - outputs[:, self.positive]
        return outputs[:, self.positive] - others / (outputs.shape[1] - 1)

    def __repr__(self) -> str:
        size = sum(parameter.numel() for parameter in self.module.parameters())
        return (
            f"Subject({self.name}: {type(self.module).__name__}, {size:,} parameters, target {self.target})"
        )


def difference(labels: tuple[str, ...], positive: int) -> str:
    """A logit difference in words: one label against the mean of the others."""
    if len(labels) == 1:
        return labels[0]
    others = [label for i, label in enumerate(labels) if i != positive]
    if len(others) == 1:
        return f"logit({labels[positive]}) - logit({others[0]})"
    shown = ", ".join(others) if len(others) <= 12 else f"the other {len(others)} labels"
    return f"logit({labels[positive]}) - mean logit of {shown}"


def label_index(labels: tuple[str, ...], positive: str | None) -> int:
    """The place of the positive label; the last where none is named.

    Raises:
        ModelError: there is no such label.
    """
    if positive is None:
        return len(labels) - 1
    if positive not in labels:
        raise ModelError(f"the model has no label {positive!r}: {did_you_mean(positive, labels)}")
    return labels.index(positive)


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
            parts.append(subject.select(subject.forward(subject.encode(part), None)).cpu().double().numpy())
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


def load(
    folder: str | Path,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    task: str | None = None,
    positive: str | None = None,
    candidates: Sequence[str] | None = None,
    device_map: DeviceMap | None = None,
    quantise: str | None = None,
    adapter: str | Path | None = None,
) -> Subject:
    """A Subject from a folder: one saved by Clinometer, or a Hugging Face model for one of eight tasks.

    Only safetensors weights are read and no code of the folder is run. `docs/models.md` says of each task what is
    scored, which columns the rows need, and what is refused. A folder that `edits.save` wrote comes back with its edits.

    Args:
        folder: holds `clinometer.json` (ours) or `config.json` (Hugging Face).
        device: "cpu", "cuda", "mps" or "auto".
        dtype: "float32", "float64", "bfloat16" or "float16". Scores are float64 numbers of whatever this gives.
        task: which head to load, where config.json names no architecture.
        positive: the label whose logit counts as positive; by default the one the folder names, else the last.
            Of candidates, the first.
        candidates: for language models: words, one token each, whose logits are compared.
        device_map: puts parts of a large model on several devices ("auto", or module name -> device); needs
            accelerate.
        quantise: "int8" (torch, CPU, no gradients) or "int8-weights" (torchao).
        adapter: the folder of a PEFT adapter, merged into the weights; needs peft.

    Raises:
        ModelError: the folder is missing, incomplete, damaged or unsafe, is of another kind, or names a label it
            does not have.
    """
    path = Path(folder)
    if not path.is_dir():
        raise ModelError(f"{path} is not a folder. Name the folder that holds the model's files.")
    if isinstance(candidates, str):
        raise ModelError(f"candidates={candidates!r} is one text; several words are expected: ('yes', 'no').")
    if device_map is not None and device != "cpu":
        raise ModelError("device and device_map both say where the model goes: give one of them.")
    where = pick_device(device)
    saved = None
    if (path / "edits.json").exists():
        from .edits import read

        saved = read(path)
        task, positive = task or saved.task, positive or saved.positive
        candidates = saved.candidates if candidates is None else candidates
    try:
        subject = _load_unedited(
            path,
            where,
            dtype,
            task,
            positive,
            candidates,
            device_map,
            quantise,
            None if adapter is None else Path(adapter),
        )
        return subject if saved is None else saved.applied(subject)
    except InputError as error:
        if str(path) in str(error):
            raise
        raise type(error)(f"{path}: {error}") from error


def _load_unedited(
    path: Path,
    where: torch.device,
    dtype: str,
    task: str | None,
    positive: str | None,
    candidates: Sequence[str] | None,
    device_map: DeviceMap | None,
    quantise: str | None,
    adapter: Path | None,
) -> Subject:
    from .low_rank_folders import is_low_rank, load_low_rank

    factorised = is_low_rank(path)
    if factorised or (path / "clinometer.json").exists():
        only = {"task": task, "candidates": candidates, "device_map": device_map, "adapter": adapter}
        given = [name for name, value in only.items() if value is not None]
        if given:
            what = "holds factorised layers" if factorised else "was saved by Clinometer"
            raise ModelError(f"{path} {what}; {first(given)} is for Hugging Face folders only.")
        if factorised:
            return load_low_rank(path, device=str(where), dtype=dtype, positive=positive, quantise=quantise)
        return _load_ours(path, where, dtype, positive, quantise)
    if (path / "config.json").exists():
        from .hugging_face import load_hugging_face

        return load_hugging_face(
            path,
            device=where,
            dtype=dtype,
            task=task,
            positive=positive,
            candidates=None if candidates is None else tuple(candidates),
            device_map=device_map,
            quantise=quantise,
            adapter=adapter,
        )
    raise ModelError(
        f"{path} holds neither clinometer.json (a model saved by Clinometer) nor config.json (Hugging Face). "
        f"It holds: {first(sorted(item.name for item in path.iterdir())) or 'nothing'}."
    )


def _load_ours(
    path: Path, device: torch.device, dtype: str, positive: str | None, quantise: str | None
) -> Subject:
    from .folders import load as load_folder

    model, preprocessor, metadata = load_folder(path)
    extra: Mapping[str, Any] = metadata["extra"]
    module: nn.Module = model.to(device, dtype_named(dtype))
    words = "none"
    if quantise is not None:
        module, words = quantised(module, quantise)
    subject = ours(
        module,
        preprocessor,
        labels=tuple(metadata["labels"]),
        positive=positive or extra.get("positive"),
        threshold=float(extra.get("threshold", 0.0)),
        name=str(extra.get("name", path.name)),
        device=device,
        provenance={
            "kind": "clinometer",
            "weights_sha256": digest(path.glob("*.safetensors")),
            "settings_sha256": digest([path / "clinometer.json"]),
            "dtype": dtype,
            "quantisation": words,
            **{key: extra[key] for key in ("data", "training", "groups") if key in extra},
        },
    )
    return without_gradients(subject) if quantise == "int8" else subject


def without_gradients(subject: Subject) -> Subject:
    """The Subject, refusing gradients: torch's int8 layers drop them without an error."""
    forward = subject.forward

    def guarded(batch: Batch, embedded: Tensor | None) -> Tensor:
        if torch.is_grad_enabled():
            raise ModelError(
                f"{subject.name} is quantised to int8, whose layers have no gradient. Scores and traces work; for "
                "attributions load it with quantise='int8-weights' (torchao) or without quantise."
            )
        return forward(batch, embedded)

    return dataclasses.replace(subject, forward=guarded)


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
        return {key: placed(torch.from_numpy(value), where) for key, value in arrays.items()}

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

    def filled(batch: Batch, number: int) -> Tensor:
        made: Tensor = model.embed({"tokens": torch.full_like(batch["tokens"], number)})
        return made

    def write(subject: Subject, folder: Path) -> Mapping[str, Any]:
        from .folders import save

        known = {
            key: subject.provenance[key]
            for key in ("data", "training", "groups")
            if key in subject.provenance
        }
        extra = {
            "positive": labels[subject.positive],
            "threshold": 0.0 if np.isnan(subject.threshold) else subject.threshold,
            "name": subject.name,
            **known,
        }
        module: Any = subject.module
        save(folder, module, preprocessor, labels=labels, extra=extra)
        return {}

    words = {
        "table": "the training distribution's reference row (medians and most frequent values)",
        "text": "the mask token at every word",
        "series": "the training mean of every channel",
    }
    return Subject(
        name=name,
        module=model,
        labels=labels,
        positive=label_index(labels, positive),
        threshold=threshold,
        baseline=words[preprocessor.kind],
        prefix=("[CLS]",),
        special=("[CLS]",),
        columns=tuple(preprocessor.columns),
        encode=encode,
        names=names,
        embed=model.embed,
        filled=filled if preprocessor.kind == "text" else None,
        fillers={"mask": MASK, "unknown": UNKNOWN_WORD} if preprocessor.kind == "text" else {},
        characters=(lambda rows: preprocessor.characters(rows.inputs))
        if preprocessor.kind == "text"
        else None,
        reference=reference,
        forward=forward,
        device=where,
        provenance=provenance or {},
        write=write,
    )


def wrap(
    module: nn.Module,
    forward: Callable[..., Any] | None = None,
    *,
    encode: Callable[[Rows], Batch] | None = None,
    embed: Callable[[Batch], Tensor] | None = None,
    reference: Callable[[Batch], Tensor] | None = None,
    names: Callable[[Rows], tuple[tuple[str, ...], ...]] | None = None,
    labels: tuple[str, ...] = ("output",),
    baseline: str | None = None,
    positive: str | None = None,
    threshold: float = 0.0,
    prefix: tuple[str, ...] = (),
    columns: tuple[str, ...] = (),
    name: str = "model",
) -> Subject:
    """A Subject from any module of your own.

    The module alone is enough to trace it: `wrap(module)`, or `wrap(module, forward)` where it is not called as
    `module(**batch)`. Scores of several outputs need `labels`. Attributions need `embed`, `reference`, `baseline` and a
    forward that runs from embeddings, and say so.

    Args:
        module: the module, in evaluation mode; attention is captured inside it. A compiled module is traced through
            its original code.
        forward: tensors -> outputs, or (tensors, embeddings or None) -> outputs (example, label). By default
            `module(**batch)`; of a record with `logits`, these; of a tuple, the first.
        encode: rows -> tensors, each with the example as first axis. By default every column as a tensor on the
            module's device, floating-point columns in its number type.
        embed: tensors -> embeddings (example, token, width).
        reference: tensors -> the embeddings compared with, of the same shape. There is no default: a zero
            vector is nobody's input.
        names: rows -> token names per example. By default numbers "0", "1", ... along what `embed` returns, or along
            the keys of the first attention call.
        labels: one name per output.
        baseline: what `reference` is, in words; it is printed in reports.
        positive: the label whose logit is scored; by default the last.
        threshold: a row whose score is above it is predicted positive.
        prefix: names of tokens that the module itself puts first.
        columns: the input columns that `encode` reads, for rows that come from a file.
        name: what reports call the model.

    Raises:
        ModelError: the module is in training mode, some arguments of an attribution are given and others not, or
            `forward` takes no tensors.
    """
    from .wrapping import wrapped

    return wrapped(
        module,
        forward,
        encode=encode,
        embed=embed,
        reference=reference,
        names=names,
        labels=tuple(labels),
        baseline=baseline,
        positive=label_index(tuple(labels), positive),
        threshold=threshold,
        prefix=prefix,
        columns=columns,
        name=name,
    )
