"""Model weights read safely: safetensors only, and no code of the folder is ever run."""

import hashlib
import importlib
import importlib.util
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from ..bounded_files import read_json
from ..errors import ModelError, did_you_mean, first

DTYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
QUANTISERS = ("int8", "int8-weights")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
MOST_LAYERS = 1024  # that are built without as many weights: some models share one layer's among all
DeviceMap = str | dict[str, Any]


def dtype_named(name: str) -> torch.dtype:
    """The torch number type called `name`.

    Raises:
        ModelError: there is none.
    """
    if name not in DTYPES:
        raise ModelError(
            f"dtype {name!r} is not known: {did_you_mean(name, DTYPES)} For int8 use quantise='int8'."
        )
    return DTYPES[name]


def digest(files: Iterable[Path]) -> str:
    """SHA-256 over the names and bytes of these files, in the order of their names."""
    total = hashlib.sha256()
    for file in sorted(set(files)):
        total.update(file.name.encode() + b"\0")
        with file.open("rb") as opened:
            while block := opened.read(2**20):
                total.update(block)
    return total.hexdigest()


def read_settings(file: Path) -> dict[str, Any]:
    """A folder's JSON settings, refused where they name code that came with the folder.

    Raises:
        ModelError: the file is missing, is no JSON object, or names code (`auto_map`, a kernel of a hub).
    """
    if not file.exists():
        raise ModelError(f"{file.parent} has no {file.name}: the folder is not whole. Save the model again.")
    settings = read_json(file, ModelError, way_out="Save or copy the model again.")
    if not isinstance(settings, dict):
        raise ModelError(f"{file} holds a {type(settings).__name__}; a JSON object of settings is expected.")
    if settings.get("auto_map"):
        raise ModelError(
            f"{file} names code of its own (auto_map: {first(_named(settings['auto_map']))}), which is never run. If "
            "transformers has the class itself, delete the key auto_map and load again; otherwise import the "
            "class yourself and hand the module to clinometer.wrap()."
        )
    kernel = settings.get("attn_implementation") or settings.get("_attn_implementation")
    if isinstance(kernel, str) and "/" in kernel:
        raise ModelError(
            f"{file} asks for an attention kernel from a hub ({kernel!r}), which would be downloaded and run. Delete "
            "the key attn_implementation: torch's own attention gives the same numbers."
        )
    return settings


def _named(auto_map: Any) -> list[str]:
    return [str(value) for value in auto_map.values()] if isinstance(auto_map, Mapping) else [str(auto_map)]


def check_weights(path: Path, *, architecture: str = "AutoModel") -> None:
    """Refuse a folder whose weights are pickles, or point to pickles.

    Raises:
        ModelError: with the way to convert them.
    """
    held = sorted(item.name for pattern in PICKLES for item in path.glob(pattern))
    convert = (
        "Pickled weights can run code when read and are refused. Convert them once, where that can do no harm: "
        f"transformers.{architecture}.from_pretrained(old).save_pretrained(new) writes safetensors; then copy the "
        "tokenizer's or processor's files beside them."
    )
    if not list(path.glob("*.safetensors")):
        raise ModelError(
            f"{path} has no .safetensors weights{' (it has ' + first(held) + ')' if held else ''}. {convert}"
        )
    for index in path.glob("*.safetensors.index.json"):
        shards = read_settings(index).get("weight_map")
        if not isinstance(shards, dict):
            raise ModelError(
                f"{index} has no weight_map: the list of weight files is damaged. Copy it again."
            )
        others = sorted({str(name) for name in shards.values() if not str(name).endswith(".safetensors")})
        if others:
            raise ModelError(f"{index} points to {first(others)}. {convert}")
        outside = sorted({str(name) for name in shards.values() if Path(str(name)).name != str(name)})
        if outside:
            raise ModelError(
                f"{index} points to {first(outside)}, which is no name of a file beside it. Weights are read from the "
                "folder itself: copy the model again."
            )
        absent = sorted({str(name) for name in shards.values() if not (path / str(name)).is_file()})
        if absent:
            raise ModelError(f"{path} lacks {first(absent)}, which {index.name} names. Copy the model again.")
    if (path / ".metadata").exists():
        raise ModelError(f"{path} is a distributed checkpoint, whose index is a pickle. {convert}")
    if (path / "adapter_config.json").exists():
        raise ModelError(
            f"{path} holds an adapter beside or instead of a model. Name the base model's folder, and the adapter "
            f"apart: load(base, adapter='{path.name}')."
        )


def check_layers(path: Path, settings: Mapping[str, Any]) -> None:
    """Refuse settings of more layers than there are weights: building them would not end.

    Raises:
        ModelError: with the key.
    """
    try:
        parts = 0
        for file in path.glob("*.safetensors"):
            with safe_open(file, framework="pt") as opened:
                parts += len(opened.keys())
    except (SafetensorError, OSError) as error:
        raise unreadable(path, error) from error
    within = [settings, *(value for value in settings.values() if isinstance(value, dict))]
    for held in within:
        for key, value in held.items():
            if "layer" in key and type(value) is int and value > max(parts, MOST_LAYERS):
                raise ModelError(
                    f"{path} has {key} = {value:,} in its settings, and {parts} weights. The settings are of another "
                    "model, or damaged: copy it again."
                )


def read_model(path: Path, auto: Any, *, dtype: torch.dtype, device_map: DeviceMap | None) -> nn.Module:
    """The model of a checked folder, in evaluation mode, with every weight from the folder.

    Args:
        path: the folder, checked by `check_weights`.
        auto: transformers' class for the task.
        dtype: the number type of the weights.
        device_map: where which part goes, as accelerate understands it; None for one device.

    Raises:
        ModelError: the weights are damaged, do not fit the settings, or lack a part of the model.
    """
    if device_map is not None:
        _check_map(device_map)
    try:
        with bar_on_a_terminal_only():
            model, report = auto.from_pretrained(
                path,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=dtype,
                device_map=device_map,
                output_loading_info=True,
            )
    except Exception as error:
        raise unreadable(path, error) from error
    absent = sorted({*report["missing_keys"], *map(str, report["mismatched_keys"])})
    if absent:
        raise ModelError(
            f"{path} lacks {first(absent)} of {type(model).__name__}, which would be filled with random numbers. "
            "Likely causes: (a) a base model whose head was never trained, (b) a task that is not the folder's "
            "own. Load the folder that was saved after training."
        )
    evaluated: nn.Module = model.eval()
    return evaluated


@contextmanager
def bar_on_a_terminal_only() -> Iterator[None]:
    """transformers' bar of weights, left out of files and pipes; its setting is put back."""
    logging: Any = importlib.import_module("transformers.utils.logging")

    silenced = logging.is_progress_bar_enabled() and not sys.stderr.isatty()
    if silenced:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if silenced:
            logging.enable_progress_bar()


def unreadable(path: Path, error: Exception) -> ModelError:
    """What to say where somebody else's code could not read a folder."""
    told = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
    return ModelError(
        f"{path} cannot be loaded by transformers ({type(error).__name__}: {told[:300]}). Likely causes: (a) a file was "
        "cut short in copying: compare sizes and copy it again, (b) files of different models in one folder, (c) a "
        "package that this model needs is not installed."
    )


@contextmanager
def panics_refused(name: str) -> Iterator[None]:
    """An error of ours in place of what tokenizers raise: a bare Exception, no end of calls, or a panic, which is neither.

    Raises:
        ModelError: the tokenizer's files do not fit together.
    """
    try:
        yield
    except BaseException as error:
        known = type(error) is Exception or isinstance(error, RecursionError)
        if not known and type(error).__name__ != "PanicException":
            raise
        raise ModelError(
            f"the tokenizer of {name} broke down over a text ({str(error)[:200]}): its files do not fit together. Save "
            "the tokenizer again beside the model."
        ) from error


def needs(package: str, purpose: str) -> None:
    """Refuse where an optional package is absent, naming it.

    Raises:
        ModelError: with the command that installs it.
    """
    if importlib.util.find_spec(package) is None:
        raise ModelError(
            f"{purpose} needs the package {package}, which is not installed: pip install {package}."
        )


def _check_map(device_map: DeviceMap) -> None:
    needs("accelerate", f"device_map={device_map!r}")
    if isinstance(device_map, dict) and "disk" in device_map.values():
        raise ModelError(
            "device_map puts a part on 'disk': weights would be read from disk at every pass. Use more memory or a "
            "smaller dtype (dtype='bfloat16')."
        )


def quantised(model: nn.Module, how: str) -> tuple[nn.Module, str]:
    """The model with its Linear layers in 8 bits, and what was done in words.

    "int8" is torch's dynamic quantisation (CPU): weights and, per batch, activations in 8 bits; no gradients, and a
    score depends a little on the other rows of its batch, whose range sets the scale. "int8-weights" is
    torchao's weight-only quantisation: gradients to the input are kept.

    Raises:
        ModelError: there is no Linear layer to quantise, or torchao is not installed.
    """
    if how not in QUANTISERS:
        raise ModelError(f"quantise={how!r} is not known: {did_you_mean(how, QUANTISERS)}")
    places = [name for name, part in model.named_modules() if type(part) is nn.Linear]
    if not places:
        raise ModelError(f"{type(model).__name__} has no Linear layer to quantise. Load it without quantise.")
    if how == "int8":
        _check_engine(model)
        with warnings.catch_warnings():
            # torch's own, deprecated in favour of torchao and still in torch 2.13; the second comes from inside it.
            warnings.filterwarnings("ignore", message=r"torch\.ao\.quantization is deprecated")
            warnings.filterwarnings(
                "ignore", message=r"torch\.quantize_per_tensor, torch\.quantize_per_channel"
            )
            dynamic: Any = torch.ao.quantization.quantize_dynamic
            model = dynamic(model, {nn.Linear}, dtype=torch.qint8, inplace=True)
        return model, f"torch dynamic int8 in {len(places)} Linear layers"
    needs("torchao", "quantise='int8-weights'")
    torchao: Any = importlib.import_module("torchao.quantization")
    torchao.quantize_(model, torchao.Int8WeightOnlyConfig())
    return model, f"torchao weight-only int8 in {len(places)} Linear layers"


def _check_engine(model: nn.Module) -> None:
    kinds = {(parameter.device.type, parameter.dtype) for parameter in model.parameters()}
    if any(device != "cpu" or dtype != torch.float32 for device, dtype in kinds):
        raise ModelError(
            "quantise='int8' is torch's CPU quantisation of float32 weights: use device='cpu' and dtype='float32'. On "
            "other devices use quantise='int8-weights' (torchao) or dtype='bfloat16'."
        )
    if torch.backends.quantized.engine == "none":
        raise ModelError("this torch was built without a quantisation engine: load without quantise.")


def adapted(model: nn.Module, folder: Path) -> nn.Module:
    """The model with a PEFT adapter merged into its weights: the same modules under the same names.

    Raises:
        ModelError: the adapter is pickled, cannot be merged (prompt tuning), does not fit, or peft is absent.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder} is not a folder. Name the folder that holds the adapter.")
    settings = read_settings(folder / "adapter_config.json")
    kind = str(settings.get("peft_type"))
    if not (folder / "adapter_model.safetensors").is_file():
        held = sorted(item.name for pattern in PICKLES for item in folder.glob(pattern))
        raise ModelError(
            f"{folder} has no adapter_model.safetensors{' (it has ' + first(held) + ')' if held else ''}. Pickled "
            "adapters can run code when read and are refused: save it again with PeftModel.save_pretrained(folder)."
        )
    if settings.get("megatron_config") is not None:
        raise ModelError(
            f"{folder / 'adapter_config.json'} names a module to import (megatron), which is refused."
        )
    needs("peft", f"the adapter {folder.name}")
    peft: Any = importlib.import_module("peft")
    before = {name for name, _ in model.named_modules()}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=r"Found missing adapter keys")
            # peft 0.21 asks transformers 5.23 for an attribute by its old name.
            warnings.filterwarnings("ignore", message=r"`is_gradient_checkpointing` is deprecated")
            whole = peft.PeftModel.from_pretrained(
                model, str(folder), is_trainable=False, local_files_only=True
            )
        mergeable = not whole.active_peft_config.is_prompt_learning
        merged: nn.Module = whole.merge_and_unload(safe_merge=True) if mergeable else model
    except Exception as error:
        raise unreadable(folder, error) from error
    if not mergeable:
        raise ModelError(
            f"{folder} is a {kind} adapter, which adds tokens instead of changing weights and cannot be merged. Wrap "
            "the PeftModel with clinometer.wrap()."
        )
    if {name for name, _ in merged.named_modules()} - before:
        raise ModelError(
            f"{folder}: merging the {kind} adapter left parts behind. Merge it with peft and save it."
        )
    return merged.eval()
