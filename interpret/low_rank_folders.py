"""Models with factorised layers as folders: written from a model's folder, loaded again bit for bit."""

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

from ..errors import ModelError, OutputError, first
from ..whole_files import put
from . import folders
from .low_rank import low_rank, ranks_of, shaped
from .models import Subject, load, ours, pick_device, without_gradients
from .transformer import Classifier
from .weights import (
    check_layers,
    check_weights,
    digest,
    dtype_named,
    panics_refused,
    quantised,
    read_settings,
    unreadable,
)

SETTINGS = "low_rank.json"
SCHEMA_VERSION = 1
Write = Callable[[Any, Path], Mapping[str, Any]]


def is_low_rank(folder: str | Path) -> bool:
    """Whether a folder holds a model saved by `save_low_rank`."""
    return (Path(folder) / SETTINGS).is_file()


def writer(write: Write | None) -> Write | None:
    """The way to write a factorised Subject, from the way its unfactorised one is written (`Subject.write`)."""
    if write is None:
        return None

    def written(subject: Subject, folder: Path) -> Mapping[str, Any]:
        arguments = write(subject, folder)
        for file in list(folder.glob("*.safetensors*")):
            file.unlink()
        save_model(subject.module, str(folder / folders.WEIGHTS))
        settings = {"schema_version": SCHEMA_VERSION, "ranks": ranks_of(subject.module)}
        (folder / SETTINGS).write_text(
            json.dumps(settings, indent=1, sort_keys=True) + "\n", encoding="utf-8"
        )
        return arguments

    return written


def save_low_rank(
    source: str | Path, target: str | Path, *, energy: float | None = None, rank: int | None = None
) -> dict[str, int]:
    """Write the model of a folder with factorised layers as a folder of its own, whole or not at all.

    Args:
        source: a folder saved by Clinometer, or a Hugging Face classifier of texts.
        target: is made, or replaced where it holds such a model.
        energy, rank: see `low_rank`.

    Returns:
        Name of each factorised layer -> its rank.

    Raises:
        ModelError: the source cannot be loaded, is of another kind, or has nothing to factorise.
        OutputError: the target cannot be written, or holds something else.
    """
    old, new = Path(source).absolute(), Path(target).absolute()
    if is_low_rank(old):
        raise ModelError(f"{old} is factorised already. Name the folder of the model it was made from.")
    if not (old / folders.SETTINGS).is_file():
        _only_classifiers(old)
    subject = load(old)
    ranks = low_rank(subject.module, energy=energy, rank=rank)
    write = writer(subject.write)
    if write is None:
        raise ModelError(f"{old} was loaded in a way that nothing writes again.")
    if new.is_dir() and any(new.iterdir()) and not is_low_rank(new):
        raise OutputError(
            f"{new} holds something other than a factorised model, and would be replaced. Name another folder."
        )
    temporary: Path | None = None
    try:
        new.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{new.name}-", dir=new.parent))
        write(subject, temporary / "made")
        put(temporary / "made", new)
    except OSError as error:
        raise OutputError(f"{new} cannot be written: {error.strerror or error}.") from error
    except (OutputError, SafetensorError) as error:  # of a disk that is full, too
        raise OutputError(f"{new} cannot be written: {error}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return ranks


def _only_classifiers(path: Path) -> None:
    from .hugging_face import architectures_of, task_of

    named = architectures_of(path, read_settings(path / "config.json"))
    kind = task_of(path, named, None)
    if kind.name != "sequence classification":
        raise ModelError(
            f"{path} is a model for {kind.name}; factorised folders are written of classifiers of texts and of models "
            "saved by Clinometer. Load it and factorise it in memory: variant(subject, rows, 'low-rank')."
        )


def load_low_rank(
    folder: str | Path,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    positive: str | None = None,
    quantise: str | None = None,
) -> Subject:
    """The Subject of a folder written by `save_low_rank`: the weights bit for bit, in `dtype`, then in 8 bits if asked.

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
    for name, rank in settings["ranks"].items():
        if type(rank) is not int:
            raise ModelError(
                f"{path / SETTINGS} says that {name!r} has the rank {rank!r}; a whole number is expected. Write the folder "
                "again."
            )
    check_weights(path)
    where, numbers = pick_device(device), dtype_named(dtype)
    of_ours = (path / folders.SETTINGS).is_file()
    read = _read_ours if of_ours else _read_hugging_face
    subject = read(path, settings["ranks"], where, numbers, positive)
    provenance = {
        "weights_sha256": digest(path.glob("*.safetensors")),
        "settings_sha256": digest([path / (folders.SETTINGS if of_ours else "config.json")]),
        "low_rank_sha256": digest([path / SETTINGS]),
        "dtype": dtype,
        "quantisation": "none",
        "low_rank": f"{len(settings['ranks'])} Linear layers",
    }
    write = writer(subject.write)
    if quantise is not None:
        provenance["quantisation"] = quantised(subject.module, quantise)[1]
    subject = dataclasses.replace(subject, provenance={**subject.provenance, **provenance}, write=write)
    return without_gradients(subject) if quantise == "int8" else subject


def _read_hugging_face(
    path: Path, ranks: Mapping[str, int], device: torch.device, dtype: torch.dtype, positive: str | None
) -> Subject:
    import transformers

    from .hugging_face import TOKENIZER_FILES, hugging_face, padding_proved
    from .texts import Texts, read_tokenizer

    _only_classifiers(path)
    check_layers(path, read_settings(path / "config.json"))
    auto: Any = transformers.AutoModelForSequenceClassification
    try:
        config: Any = transformers.AutoConfig.from_pretrained(
            path, local_files_only=True, trust_remote_code=False
        )
        with torch.device("meta"):
            folders.check_size(shaped(auto.from_config(config), ranks), path)
        model = shaped(auto.from_config(config), ranks)
    except ModelError:
        raise
    except Exception as error:  # of transformers, whatever it says of settings that do not fit
        raise unreadable(path, error) from error
    model = _filled(model, path)
    tokenizer = read_tokenizer(path)
    subject = hugging_face(model.to(device, dtype), tokenizer, positive=positive, name=path.name)
    files = [file for pattern in TOKENIZER_FILES for file in path.glob(pattern) if file.is_file()]
    subject = dataclasses.replace(
        subject, provenance={**subject.provenance, "tokenizer_sha256": digest(files)}
    )
    with panics_refused(path.name):
        return padding_proved(subject, Texts(tokenizer, model, path.name, cut=True), dtype)


def _read_ours(
    path: Path, ranks: Mapping[str, int], device: torch.device, dtype: torch.dtype, positive: str | None
) -> Subject:
    held = folders.described(path)
    preprocessor, labels, extra = held.preprocessor, tuple(held.labels), held.extra
    try:
        folders.check_fit(held.architecture, path, made=lambda model: shaped(model, ranks))
        model: nn.Module = Classifier(held.architecture).to(held.dtype)
    except (SafetensorError, RuntimeError, OSError) as error:
        raise ModelError(
            f"{path / folders.WEIGHTS} does not fit its settings: {str(error).splitlines()[0]}"
        ) from error
    model = _filled(shaped(model, ranks), path).to(device, dtype)
    return ours(
        model,
        preprocessor,
        labels=labels,
        positive=positive or extra.get("positive"),
        threshold=float(extra.get("threshold", 0.0)),
        name=path.name,
        device=device,
        provenance={
            "kind": "clinometer",
            **{k: extra[k] for k in ("data", "training", "groups") if k in extra},
        },
    )


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
