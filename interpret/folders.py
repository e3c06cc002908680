"""A trained model as one folder: safetensors weights and a JSON file, loaded again bit for bit. No pickle."""

import dataclasses
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from ..bounded_files import read_json
from ..errors import ModelError, OutputError
from ..whole_files import put
from .preprocessing import Preprocessor, from_state
from .transformer import Architecture, Classifier

SCHEMA_VERSION = 1
SETTINGS, WEIGHTS = "clinometer.json", "model.safetensors"
PLACES = {"longest", "window", "stride"}  # sizes that no weight has to have
MOST_PLACES = 2**27  # numbers in the table of sinusoids, which is made and not read


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
    except SafetensorError as error:  # of a disk that is full, too
        raise OutputError(f"{target} cannot be written: {error}.") from error
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
    held = described(path)
    try:
        check_fit(held.architecture, path)
        model = Classifier(held.architecture).to(held.dtype)
        weights = load_file(path / WEIGHTS)
        model.load_state_dict(weights)
        for name, tensor in weights.items():
            if tensor.dtype != held.dtype:  # loading would round them without a word
                raise RuntimeError(f"{name} is {tensor.dtype}, its settings say {held.dtype}")
    except (SafetensorError, RuntimeError, OSError) as error:
        raise ModelError(
            f"{path / WEIGHTS} does not fit its settings: {str(error).splitlines()[0]}"
        ) from error
    except (TypeError, ValueError) as error:
        raise ModelError(f"{path / SETTINGS} cannot be read: {type(error).__name__} {error}.") from error
    metadata = {"labels": held.labels, "extra": held.extra, "schema_version": SCHEMA_VERSION}
    return model.eval(), held.preprocessor, metadata


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What a model folder's settings say, each part of the kind that it has to be."""

    architecture: Architecture
    preprocessor: Preprocessor
    dtype: torch.dtype
    labels: list[str]
    extra: dict[str, Any]


def described(path: Path) -> Described:
    """The settings of a model folder, without its weights.

    Raises:
        ModelError: the file is missing, damaged, of another version, or does not fit together.
    """
    settings = read_json(path / SETTINGS, ModelError, way_out="Save the model again.")
    try:
        version = settings["schema_version"]
        if version != SCHEMA_VERSION:
            raise ModelError(f"it has schema version {version!r}; this Clinometer reads {SCHEMA_VERSION}.")
        shape = dict(settings["architecture"])
        shape["categories"] = tuple(shape["categories"])
        architecture = Architecture(**shape)
        preprocessor = from_state(settings["preprocessing"])
        dtype = getattr(torch, settings["dtype"])
        labels, extra = settings["labels"], settings["extra"]
        if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
            raise TypeError(f"{settings['dtype']!r} is no dtype of floating-point numbers")
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise TypeError("labels are not a list of texts")
        if not isinstance(extra, dict):
            raise TypeError(f"extra is a {type(extra).__name__}, not an object")
        _check_extra(extra)
        if len(labels) != architecture.outputs:
            raise ValueError(f"{len(labels)} labels for {architecture.outputs} outputs")
        for name, told in preprocessor.shape().items():
            if getattr(architecture, name) != told:
                raise ValueError(
                    f"the architecture has {name} {getattr(architecture, name)!r}, the preprocessing {told!r}"
                )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{path / SETTINGS} cannot be read: {type(error).__name__} {error}.") from error
    except ModelError as error:
        raise ModelError(f"{path / SETTINGS}: {error}") from error
    return Described(
        architecture=architecture, preprocessor=preprocessor, dtype=dtype, labels=labels, extra=extra
    )


def _check_extra(extra: Mapping[str, Any]) -> None:
    threshold = extra.get("threshold", 0.0)
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not math.isfinite(threshold):
        raise TypeError(f"extra.threshold is {threshold!r}, no finite number")
    for name in ("positive", "name"):
        if not isinstance(extra.get(name, ""), str):
            raise TypeError(f"extra.{name} is {extra[name]!r}, no text")


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the weights, from the head of their file."""
    with safe_open(path / WEIGHTS, framework="pt") as opened:
        return {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118


def check_size(model: nn.Module, path: Path) -> None:
    """Refuse a model, built without memory, that is of far more numbers than the weights, which it may share out.

    Raises:
        RuntimeError: it is.
    """
    numbers = sum(math.prod(shape) for shape in _shapes(path).values())
    wanted = sum(part.numel() for part in model.parameters())
    if wanted > 16 * numbers + 2**24:
        raise RuntimeError(f"the settings are of {wanted:,} numbers, the file holds {numbers:,}")


def check_fit(
    architecture: Architecture, path: Path, made: Callable[[nn.Module], nn.Module] | None = None
) -> None:
    """Refuse settings of another or a larger model than the weights are of, before memory is taken for it.

    Args:
        made: what is made of the Classifier before it has these weights, which then may share what they hold.

    Raises:
        RuntimeError: a size is beyond anything that these weights can be of, or parts differ in shape.
    """
    shapes = _shapes(path)
    numbers = sum(math.prod(shape) for shape in shapes.values())
    sizes = {field.name: getattr(architecture, field.name) for field in dataclasses.fields(architecture)}
    sizes = {name: size for name, size in sizes.items() if type(size) is int and name not in PLACES}
    beyond = [name for name, size in sizes.items() if size > numbers]
    beyond += ["layers"] if architecture.layers > len(shapes) else []
    beyond += ["longest"] if architecture.longest * architecture.width > MOST_PLACES else []
    if beyond:
        name = beyond[0]
        raise RuntimeError(
            f"{name} is {getattr(architecture, name):,}, and the weights are {numbers:,} numbers in {len(shapes)} parts"
        )
    with torch.device("meta"):
        model: nn.Module = Classifier(architecture)
        if made is not None:
            check_size(made(model), path)
            return
    expected = {name: tuple(part.shape) for name, part in model.state_dict().items()}
    differ = sorted(
        name for name in expected.keys() | shapes.keys() if expected.get(name) != shapes.get(name)
    )
    if differ:
        raise RuntimeError(
            f"{len(differ)} parts are of another shape, {differ[0]}: {shapes.get(differ[0])} in the file, "
            f"{expected.get(differ[0])} by the settings"
        )
