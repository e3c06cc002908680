"""A trace as one folder: safetensors and a JSON file, read back bit for bit, mapped into memory. No pickle."""

import dataclasses
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..bounded_files import read_json
from ..errors import CaptureError, DataError, OutputError, UsageError, first
from ..whole_files import put
from .calls import Call, Kind, Way
from .folders import SETTINGS as MODEL_SETTINGS
from .trace import Trace

SCHEMA_VERSION = 1
KIND = "clinometer trace"
SETTINGS = "trace.json"
PACKAGES = ("clinometer", "torch", "transformers", "safetensors")
# Of a call, what only makes sense while it is traced.
MOST_NUMBERS = 2**36  # of one tensor, axes that only repeat included
NOT_STORED = frozenset({"source", "shaper", "versions"})
# What a field of a call may be where it is no tensor; any other field is a tensor, or nothing.
KINDS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("layer", "kind", "way"), (str,)),
    "scale": (float,),
    "causal": (bool,),
    "causal_offset": (int,),
    "window": (int, type(None)),
    "softcap": (float, type(None)),
    "rounded": (torch.dtype, type(None)),
}


def save_trace(
    trace: Trace,
    folder: str | Path,
    *,
    tokens: Sequence[Sequence[str]] | None = None,
    force: bool = False,
) -> None:
    """Write a trace's folder: whole or not at all.

    A tensor that several calls share, a mask for one, is stored once; axes that only repeat are not written
    out. `Trace.output` is stored if it is a tensor; any other output is left out, and is None when read.
    Certificates that are known are stored; none is computed.

    Args:
        trace: what is stored. Tensors on another device are copied to the CPU, one call at a time.
        folder: to be made.
        tokens: the names of the positions, one list for each example; `trace_settings` gives them back.
        force: replace a saved trace that is there. A folder of anything else is never replaced.

    Raises:
        OutputError: the folder is there and not empty, or cannot be written.
        UsageError: tokens of more or fewer examples than the trace has.
        CaptureError: a tensor was written over by the model since, or cannot be stored.
    """
    target = Path(folder).absolute()
    if not trace.calls:
        raise UsageError("only statistics of this trace were kept; there are no calls to save.")
    _may_write(target, force)
    if tokens is not None and len(tokens) != trace.calls[0].n_examples:
        raise UsageError(
            f"tokens of {len(tokens)} examples were given, the trace has {trace.calls[0].n_examples}."
        )
    overwritten = [call.layer for call in trace.calls if call.changed_in_place()]
    if overwritten:
        raise CaptureError(
            f"{first(overwritten)}: the model wrote over what was kept; this is no trace any more."
        )
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        os.chmod(temporary, 0o755)
        settings = _written(trace, temporary)
        settings["tokens"] = None if tokens is None else [list(names) for names in tokens]
        settings["special"] = sorted(trace.special)
        settings["decoder_tokens"] = trace.decoder_tokens and [list(names) for names in trace.decoder_tokens]
        text = json.dumps(settings, indent=1, ensure_ascii=False, allow_nan=False)
        (temporary / SETTINGS).write_text(text + "\n", encoding="utf-8")
        _may_write(target, force)
        put(temporary, target)
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror or error}.") from error
    except SafetensorError as error:
        raise OutputError(f"{target} cannot be written: {error}.") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _may_write(target: Path, force: bool) -> None:
    if not target.is_dir() or not any(target.iterdir()):
        return
    if not (target / SETTINGS).is_file():
        raise OutputError(f"{target} holds something other than a saved trace. Name another folder.")
    if not force:
        raise OutputError(
            f"{target} holds a saved trace. Name another folder, or replace it with force=True."
        )


def _written(trace: Trace, folder: Path) -> dict[str, Any]:
    """Write all tensors; what the settings have to say."""
    store = _Store(folder)
    calls = []
    for place, call in enumerate(trace.calls):
        parts: dict[str, Tensor] = {}
        said: dict[str, Any] = {}
        for field in dataclasses.fields(call):
            value = getattr(call, field.name)
            if field.name in NOT_STORED:
                continue
            if isinstance(value, Tensor):
                parts[field.name] = value
            elif value is None or isinstance(value, str | bool | int | float):
                said[field.name] = value
            elif isinstance(value, torch.dtype):
                said[field.name] = {"dtype": _name(value)}
            else:
                raise CaptureError(
                    f"{call.layer}: {field.name} is a {type(value).__name__}, which cannot be stored."
                )
        if trace.gradients is not None:
            parts["gradient"] = trace.gradients[place]
        calls.append({**said, "tensors": store.put(f"{place:03d}", parts)})
    kept = isinstance(trace.output, Tensor)
    return {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "versions": {name: _version(name) for name in PACKAGES},
        "calls": calls,
        "gradients": trace.gradients is not None,
        "output": store.put("output", {"output": trace.output})["output"] if kept else None,
        "output_type": None if trace.output is None else type(trace.output).__name__,
        "sampled": _figures(trace.sampled),
        "certificate": None if trace._certificate is None else _figures(trace._certificate),
        "unseen": list(trace.unseen),
        "tensors": store.tensors,
        "files": store.files,
    }


class _Store:
    """Tensors written to a folder, each once however often it is put, one file for each call."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tensors: dict[str, dict[str, Any]] = {}
        self.files: dict[str, dict[str, Any]] = {}
        self.names: dict[tuple[Any, ...], str] = {}

    def put(self, label: str, parts: Mapping[str, Tensor]) -> dict[str, str]:
        """Under which name each part is stored."""
        file, found, new = f"{label}.safetensors", {}, {}
        for part, tensor in parts.items():
            if tensor.layout != torch.strided or tensor.is_quantized:
                raise CaptureError(
                    f"{label}.{part} is {tensor.layout} of {tensor.dtype}, which cannot be stored."
                )
            key = _identity(tensor)
            if key not in self.names:
                name = f"{label}.{part}"
                new[name], how = _packed(tensor)
                self.names[key], self.tensors[name] = name, {"file": file, **how}
            found[part] = self.names[key]
        if new:
            save_file(new, self.folder / file)
            (self.folder / file).chmod(0o644)
            size = (self.folder / file).stat().st_size
            self.files[file] = {"bytes": size, "sha256": _sha256(self.folder / file)}
        return found


def _identity(tensor: Tensor) -> tuple[Any, ...]:
    """The same for two tensors that are the same numbers in the same place, seen in the same way."""
    place = (tensor.device, tensor.untyped_storage().data_ptr(), tensor.storage_offset())
    return (*place, tensor.dtype, tuple(tensor.shape), tensor.stride())


def _packed(tensor: Tensor) -> tuple[Tensor, dict[str, Any]]:
    """A dense tensor with its axes in the order they have in memory, so that maps come out the same to the bit."""
    plain, shape = tensor.detach(), list(tensor.shape)
    for axis, (size, stride) in enumerate(zip(shape, tensor.stride(), strict=True)):
        if stride == 0 and size > 1:
            plain = plain.narrow(axis, 0, 1)
    strides = plain.stride()
    order = sorted(range(plain.dim()), key=lambda axis: -strides[axis])
    dense = plain.permute(order).contiguous().cpu()
    if dense.untyped_storage().nbytes() != dense.numel() * dense.element_size():
        dense = dense.clone()
    return dense, {"shape": shape, "order": order, "dtype": _name(tensor.dtype)}


def trace_settings(folder: str | Path) -> dict[str, Any]:
    """What a saved trace says of itself: calls, tokens, certificates, versions. No tensor is opened.

    Raises:
        DataError: it is no saved trace, was written by a newer Clinometer, or its settings are damaged.
    """
    path = Path(folder)
    if not (path / SETTINGS).is_file():
        if not path.is_dir():
            raise DataError(f"there is no folder {path}.")
        other = " It is a saved model: use load()." if (path / MODEL_SETTINGS).is_file() else ""
        raise DataError(f"{path} has no {SETTINGS}: it is not a saved trace, or not a whole one.{other}")
    settings = read_json(path / SETTINGS, DataError, way_out="Save the trace again.")
    if not isinstance(settings, dict) or settings.get("kind") != KIND:
        raise DataError(f"{path / SETTINGS} is not the settings of a saved trace.")
    got = settings.get("schema_version")
    if not isinstance(got, int) or got < 1:
        raise DataError(f"{path / SETTINGS} has schema version {got!r}; expected 1 to {SCHEMA_VERSION}.")
    if got > SCHEMA_VERSION:
        raise DataError(
            f"{path} has schema version {got}; this Clinometer reads up to {SCHEMA_VERSION}. "
            f"It was written by Clinometer {_written_by(settings)}: install that, or a newer one."
        )
    return settings


def read_trace(folder: str | Path, *, verify: bool = True) -> Trace:
    """The trace that was saved: the same numbers in the same order in memory, so that maps are equal to the bit.

    Tensors are on the CPU and mapped from their files: reading takes no memory for them until they are
    used. The folder may be removed meanwhile, not changed.

    Args:
        folder: as given to `save_trace`.
        verify: compare each file with its checksum, which reads it once. File sizes, names, shapes and number
            types are compared in any case.

    Raises:
        DataError: see `trace_settings`; also where a file is missing, damaged or of another trace.
    """
    path, settings = Path(folder), trace_settings(folder)
    try:
        tensors = dict(_opened(path, settings, verify))
        calls, gradients = [], []
        for said in settings["calls"]:
            parts: dict[str, Any] = {part: tensors[name] for part, name in said["tensors"].items()}
            if settings["gradients"]:
                gradients.append(parts.pop("gradient"))
            fields = {name: _value(value) for name, value in said.items() if name != "tensors"}
            _check_kinds(fields)
            calls.append(Call(**fields, **parts))
        if not calls:
            raise ValueError("it has no calls")
        trace = Trace(
            calls,
            output=None if settings["output"] is None else tensors[settings["output"]],
            gradients=gradients if settings["gradients"] else None,
            sampled=_numbers(settings["sampled"]),
            unseen=settings["unseen"],
            tokens=settings["tokens"],
            special=settings["special"],
        )
        if settings["decoder_tokens"] is not None:
            trace.decoder_tokens = tuple(tuple(names) for names in settings["decoder_tokens"])
        if settings["certificate"] is not None:
            trace._certificate = _numbers(settings["certificate"])
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        raise DataError(
            f"{path / SETTINGS} is damaged: {type(error).__name__} {error}. Save the trace again."
        ) from error
    return trace


def _opened(path: Path, settings: Mapping[str, Any], verify: bool) -> Iterator[tuple[str, Tensor]]:
    """Every tensor by its name, in the shape it was seen in."""
    missing = [name for name in settings["files"] if not (path / Path(name).name).is_file()]
    if missing:
        raise DataError(f"{path} is incomplete: {first(missing)} missing. Save or copy the trace again.")
    for name, expected in settings["files"].items():
        file = path / Path(name).name
        size = file.stat().st_size
        if size != expected["bytes"]:
            raise DataError(
                f"{file} has {size} bytes, {expected['bytes']} were written. Save or copy it again."
            )
        if verify and _sha256(file) != expected["sha256"]:
            raise DataError(f"{file} is damaged: its checksum is not the one written. Save or copy it again.")
        inside = {key: how for key, how in settings["tensors"].items() if how["file"] == name}
        try:
            with safe_open(file, framework="pt") as opened:
                found = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise DataError(f"{file} cannot be read: {error}. Save or copy it again.") from error
        if found.keys() != inside.keys():
            odd = sorted(found.keys() ^ inside.keys())
            raise DataError(
                f"{file} is of another trace: {first(odd)} is in it or in {SETTINGS}, not in both."
            )
        for key, how in inside.items():
            yield key, _unpacked(found[key], how, file, key)


def _unpacked(dense: Tensor, how: Mapping[str, Any], file: Path, key: str) -> Tensor:
    plain = dense.permute([how["order"].index(axis) for axis in range(dense.dim())])
    shape = list(how["shape"])
    fits = len(shape) == plain.dim() and all(
        size in (1, wanted) for size, wanted in zip(plain.shape, shape, strict=True)
    )
    if not fits or str(dense.dtype) != f"torch.{how['dtype']}":
        raise DataError(
            f"{file} is of another trace: {key} is {dense.dtype} {list(plain.shape)}, "
            f"{SETTINGS} says {how['dtype']} {shape}."
        )
    if math.prod(shape) > MOST_NUMBERS:
        raise DataError(
            f"{file} cannot be used: {key} is {dense.dtype} {list(plain.shape)}, and {SETTINGS} repeats it to {shape}, "
            "which no call was of. Save the trace again."
        )
    return plain.expand(shape)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _value(said: Any) -> Any:
    """A field of a call: as JSON has it, or a number type."""
    if not isinstance(said, dict):
        return said
    found = getattr(torch, said["dtype"])
    if not isinstance(found, torch.dtype):
        raise ValueError(f"{said['dtype']!r} is no number type")
    return found


def _check_kinds(fields: Mapping[str, Any]) -> None:
    """Refuse a field of a call that is of another kind than a call has, and a tensor that was written as JSON.

    Raises:
        ValueError: naming it.
    """
    for name, value in fields.items():
        allowed = KINDS.get(name, (type(None),))
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (isinstance(value, allowed) or (float in allowed and number)) or (
            isinstance(value, bool) and bool not in allowed
        ):
            raise ValueError(f"{name} is {value!r}, which no call has")
    for name, among in (("kind", get_args(Kind)), ("way", get_args(Way))):
        if fields[name] not in among:
            raise ValueError(f"{name} is {fields[name]!r}; one of {', '.join(among)} is expected")


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _written_by(settings: Mapping[str, Any]) -> str:
    versions = settings.get("versions")
    return str(versions.get("clinometer")) if isinstance(versions, dict) else "of unknown version"


def _figures(numbers: Mapping[str, float]) -> dict[str, float | str]:
    """JSON knows no infinity: what is not finite is a text."""
    return {name: number if abs(number) < float("inf") else str(number) for name, number in numbers.items()}


def _numbers(figures: Mapping[str, float | str]) -> dict[str, float]:
    return {name: float(figure) for name, figure in figures.items()}
