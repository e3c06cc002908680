"""A trained model as one folder: safetensors weights and a JSON file, loaded again bit for bit. No pickle."""

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ..errors import ModelError, OutputError
from .preprocessing import Preprocessor, from_state
from .transformer import Architecture, Classifier

SCHEMA_VERSION = 1
SETTINGS, WEIGHTS = "clinometer.json", "model.safetensors"


def save(
    folder: str | Path,
    model: Classifier,
    preprocessor: Preprocessor,
    *,
    labels: Sequence[str],
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write the model's folder: whole or not at all. A model's folder that is there is replaced.

    Raises:
        ModelError: the number of labels is not the model's, or `extra` holds what JSON cannot.
        OutputError: the folder cannot be written, or is there and holds something other than a model.
    """
    target = Path(folder).absolute()
    if len(labels) != model.architecture.outputs:
        raise ModelError(f"{len(labels)} labels were named for {model.architecture.outputs} outputs.")
    settings = {
        "schema_version": SCHEMA_VERSION,
        "architecture": dataclasses.asdict(model.architecture),
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "preprocessing": preprocessor.state(),
        "labels": list(labels),
        "extra": dict(extra or {}),
    }
    try:
        text = json.dumps(settings, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"{SETTINGS} cannot hold `extra`: {error}. Texts, finite numbers, lists and objects are expected."
        ) from error
    temporary: Path | None = None
    try:
        if target.is_dir() and any(target.iterdir()) and not (target / SETTINGS).is_file():
            raise OutputError(
                f"{target} holds something other than a saved model, and would be replaced. Name another folder."
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        os.chmod(temporary, 0o755)
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        save_file(weights, temporary / WEIGHTS)
        (temporary / SETTINGS).write_text(text + "\n", encoding="utf-8")
        put(temporary, target)
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror or error}.") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def put(made: Path, target: Path) -> None:
    """Rename the folder made to the target; one that is there is set aside, and comes back if that fails."""
    if not target.is_dir():
        made.rename(target)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}-before-", dir=target.parent))
    target.rename(aside / "before")
    try:
        made.rename(target)
    except OSError:
        (aside / "before").rename(target)
        aside.rmdir()
        raise
    shutil.rmtree(aside, ignore_errors=True)


def load(folder: str | Path) -> tuple[Classifier, Preprocessor, dict[str, Any]]:
    """The model in evaluation mode, its preprocessor, and {"labels", "extra", ...}.

    Raises:
        ModelError: a file is missing or cannot be read, or the weights do not fit the architecture.
    """
    path = Path(folder)
    for name in (SETTINGS, WEIGHTS):
        if not (path / name).is_file():
            raise ModelError(f"{path} has no {name}: it is not a whole model folder. Save the model again.")
    try:
        settings = json.loads((path / SETTINGS).read_text(encoding="utf-8"))
        version = settings["schema_version"]
        if version != SCHEMA_VERSION:
            raise ModelError(f"{path} has schema version {version}; this Clinometer reads {SCHEMA_VERSION}.")
        shape = dict(settings["architecture"])
        shape["categories"] = tuple(shape["categories"])
        architecture = Architecture(**shape)
        preprocessor = from_state(settings["preprocessing"])
        dtype = getattr(torch, settings["dtype"])
        labels, extra = settings["labels"], settings["extra"]
        if not isinstance(dtype, torch.dtype):
            raise TypeError(f"{settings['dtype']!r} is no dtype")
        if len(labels) != architecture.outputs:
            raise ValueError(f"{len(labels)} labels for {architecture.outputs} outputs")
    except (
        UnicodeDecodeError,
        json.JSONDecodeError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:
        raise ModelError(f"{path / SETTINGS} cannot be read: {type(error).__name__} {error}.") from error
    model = Classifier(architecture).to(dtype)
    try:
        weights = load_file(path / WEIGHTS)
        model.load_state_dict(weights)
        for name, tensor in weights.items():
            if tensor.dtype != dtype:  # loading would round them without a word
                raise RuntimeError(f"{name} is {tensor.dtype}, its settings say {dtype}")
    except (SafetensorError, RuntimeError, OSError) as error:
        raise ModelError(
            f"{path / WEIGHTS} does not fit its settings: {str(error).splitlines()[0]}"
        ) from error
    return model.eval(), preprocessor, {"labels": labels, "extra": extra, "schema_version": version}
