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
    """Write the model's folder: whole or not at all. A folder that is there is replaced.

    Raises:
        ModelError: the number of labels is not the model's.
        OutputError: the folder cannot be written.
    """
    target = Path(folder)
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
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        os.chmod(temporary, 0o755)
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        save_file(weights, temporary / WEIGHTS)
        text = json.dumps(settings, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        (temporary / SETTINGS).write_text(text + "\n", encoding="utf-8")
        if target.exists():
            shutil.rmtree(target)
        temporary.rename(target)
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror or error}.") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


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
        model.load_state_dict(load_file(path / WEIGHTS))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise ModelError(
            f"{path / WEIGHTS} does not fit its settings: {str(error).splitlines()[0]}"
        ) from error
    return model.eval(), preprocessor, {"labels": labels, "extra": extra, "schema_version": version}
