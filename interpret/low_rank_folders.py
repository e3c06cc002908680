"""Models with factorised layers as folders: written from a model's folder, loaded again bit for bit."""

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

from ..errors import ModelError, OutputError, first
from . import folders
from .low_rank import low_rank, shaped
from .models import Subject, ours, pick_device
from .preprocessing import from_state
from .transformer import Architecture, Classifier
from .weights import PICKLES, check_weights, digest, dtype_named, read_model, read_settings

SETTINGS = "low_rank.json"
SCHEMA_VERSION = 1


def is_low_rank(folder: str | Path) -> bool:
    """Whether a folder holds a model saved by `save_low_rank`."""
    return (Path(folder) / SETTINGS).is_file()


def save_low_rank(
    source: str | Path, target: str | Path, *, energy: float | None = None, rank: int | None = None
) -> dict[str, int]:
    """Write the model of a folder with factorised layers as a folder of its own, whole or not at all.

    Args:
        source: a folder saved by Clinometer, or a Hugging Face classifier of texts.
        target: is made, or replaced where it holds such a model; tokenizer and settings are copied.
        energy, rank: see `low_rank`.

    Returns:
        Name of each factorised layer -> its rank.

    Raises:
        ModelError: the source cannot be loaded, is of another kind, or has nothing to factorise.
        OutputError: the target cannot be written, or holds something else.
    """
    old, new = Path(source).absolute(), Path(target).absolute()
    module = _read_dense(old)
    ranks = low_rank(module, energy=energy, rank=rank)
    if new.is_dir() and any(new.iterdir()) and not is_low_rank(new):
        raise OutputError(
            f"{new} holds something other than a factorised model, and would be replaced. Name another folder."
        )
    settings = {
        "schema_version": SCHEMA_VERSION,
        "ranks": ranks,
        "energy": energy,
        "rank": rank,
        "source_sha256": digest(old.glob("*.safetensors")),
    }
    temporary: Path | None = None
    try:
        new.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{new.name}-", dir=new.parent))
        os.chmod(temporary, 0o755)
        for file in sorted(old.iterdir()):
            weights = ".safetensors" in file.name or any(file.match(pattern) for pattern in PICKLES)
            if file.is_file() and not weights:
                shutil.copyfile(file, temporary / file.name)
        save_model(module, str(temporary / folders.WEIGHTS))
        text = json.dumps(settings, indent=1, sort_keys=True) + "\n"
        (temporary / SETTINGS).write_text(text, encoding="utf-8")
        folders.put(temporary, new)
    except OSError as error:
        raise OutputError(f"{new} cannot be written: {error.strerror or error}.") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return ranks


def _read_dense(path: Path) -> nn.Module:
    if is_low_rank(path):
        raise ModelError(f"{path} is factorised already. Name the folder of the model it was made from.")
    if (path / folders.SETTINGS).is_file():
        return folders.load(path)[0]
    import transformers

    _only_classifiers(path)
    check_weights(path)
    auto: Any = transformers.AutoModelForSequenceClassification
    return read_model(path, auto, dtype=torch.float32, device_map=None)


def _only_classifiers(path: Path) -> None:
    from .hugging_face import task_of

    named = [str(name) for name in read_settings(path / "config.json").get("architectures") or []]
    kind = task_of(path, named, None)
    if kind.name != "sequence classification":
        raise ModelError(
            f"{path} is a model for {kind.name}; factorised folders are written of classifiers of texts and of models "
            "saved by Clinometer. Load it and factorise it in memory: variant(subject, rows, 'low-rank')."
        )


def load_low_rank(
    folder: str | Path, *, device: str = "cpu", dtype: str = "float32", positive: str | None = None
) -> Subject:
    """The Subject of a folder written by `save_low_rank`: the weights bit for bit, in `dtype`.

    Raises:
        ModelError: a file is missing or damaged, or the weights do not fit the settings.
    """
    path = Path(folder)
    settings = read_settings(path / SETTINGS)
    if settings.get("schema_version") != SCHEMA_VERSION or not isinstance(settings.get("ranks"), dict):
        raise ModelError(
            f"{path / SETTINGS} has schema version {settings.get('schema_version')!r} and ranks of type "
            f"{type(settings.get('ranks')).__name__}; this Clinometer reads version {SCHEMA_VERSION}, name -> rank."
        )
    check_weights(path)
    where, numbers = pick_device(device), dtype_named(dtype)
    provenance = {
        "weights_sha256": digest(path.glob("*.safetensors")),
        "dtype": dtype,
        "quantisation": "none",
        "low_rank": f"{len(settings['ranks'])} Linear layers, {_kept(settings)}",
    }
    if (path / folders.SETTINGS).is_file():
        return _load_ours(path, settings["ranks"], where, numbers, positive, provenance)
    import transformers

    from .hugging_face import hugging_face
    from .texts import read_tokenizer

    _only_classifiers(path)
    config: Any = transformers.AutoConfig.from_pretrained(
        path, local_files_only=True, trust_remote_code=False
    )
    auto: Any = transformers.AutoModelForSequenceClassification
    model = _filled(shaped(auto.from_config(config), settings["ranks"]), path)
    subject = hugging_face(model.to(where, numbers), read_tokenizer(path), positive=positive, name=path.name)
    return _told(subject, {"kind": "transformers", **provenance})


def _load_ours(
    path: Path,
    ranks: Mapping[str, int],
    device: torch.device,
    dtype: torch.dtype,
    positive: str | None,
    provenance: Mapping[str, Any],
) -> Subject:
    held = read_settings(path / folders.SETTINGS)
    try:
        shape = {**held["architecture"], "categories": tuple(held["architecture"]["categories"])}
        model: nn.Module = Classifier(Architecture(**shape)).to(dtype_named(str(held["dtype"])))
        preprocessor = from_state(held["preprocessing"])
        labels, extra = tuple(held["labels"]), dict(held["extra"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path / folders.SETTINGS} cannot be read: {type(error).__name__} {error}."
        ) from error
    model = _filled(shaped(model, ranks), path).to(device, dtype)
    subject = ours(
        model,
        preprocessor,
        labels=labels,
        positive=positive or extra.get("positive"),
        threshold=float(extra.get("threshold", 0.0)),
        name=path.name,
        device=device,
    )
    return _told(subject, {"kind": "clinometer", **provenance})


def _filled(model: nn.Module, path: Path) -> nn.Module:
    """The model with the saved weights, each of which has a place in it and every place a weight."""
    try:
        absent, left = load_model(model, str(path / folders.WEIGHTS), strict=False)
    except (SafetensorError, RuntimeError, OSError) as error:
        raise ModelError(
            f"{path / folders.WEIGHTS} does not fit its settings: {str(error).splitlines()[0]}"
        ) from error
    if absent or left:
        raise ModelError(
            f"{path / folders.WEIGHTS} does not fit its settings: missing {first(sorted(absent)) or 'nothing'}, beyond "
            f"them {first(sorted(left)) or 'nothing'}. Write the folder again."
        )
    return model.eval()


def _kept(settings: Mapping[str, Any]) -> str:
    energy, rank = settings.get("energy"), settings.get("rank")
    return f"rank {rank}" if energy is None else f"{energy} of the energy of each"


def _told(subject: Subject, provenance: Mapping[str, Any]) -> Subject:
    return dataclasses.replace(subject, provenance={**subject.provenance, **provenance})
