"""Edited Subjects: what was changed in a model, kept beside its weights, there again when it is loaded."""

import dataclasses
import hashlib
import json
import math
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import ModelError, OutputError, first
from ..records import plain
from ..whole_files import put
from .models import Subject, load
from .runtime_edits import installed
from .weights import DTYPES, digest, read_settings

SCHEMA_VERSION = 1
SETTINGS, TENSORS = "edits.json", "edits.safetensors"
IN_WEIGHTS, AT_RUN_TIME = "in the weights", "as the model runs"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Edit:
    """One change of a model, as it is kept and printed.

    An edit in the weights is nothing but weights: the folder is an ordinary one to whoever reads it. One that works as
    the model runs has a place and tensors (`runtime_edits.installed` says which), and only Clinometer applies it.
    """

    kind: str  # e.g. "head pruning"
    way: str  # IN_WEIGHTS or AT_RUN_TIME
    n_rows: int  # that it was made from
    parameters: Mapping[str, Any]  # plain values: what was asked, chosen, measured
    changed: Mapping[str, str] = field(default_factory=dict)  # weight -> SHA-256 of what it became
    place: Mapping[str, Any] | None = None
    tensors: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Of everything the edit holds."""
        total = hashlib.sha256()
        said = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "tensors"}
        total.update(json.dumps(plain(said), sort_keys=True).encode())
        for name, tensor in sorted(self.tensors.items()):
            total.update(name.encode() + b"\0" + tensor_sha256(tensor).encode())
        return total.hexdigest()

    def said(self) -> dict[str, Any]:
        """The edit in plain values, for a report; tensors stay out, their hash is in."""
        made: dict[str, Any] = plain(
            {
                "kind": self.kind,
                "way": self.way,
                "n_rows": self.n_rows,
                "parameters": self.parameters,
                "changed": self.changed,
                "place": self.place,
                "sha256": self.sha256,
            }
        )
        return made


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Saved:
    """The edits of a folder, and how the folder has to be loaded for them."""

    edits: tuple[Edit, ...]
    edited_from: Mapping[str, Any]
    threshold: float
    task: str | None
    positive: str | None
    candidates: tuple[str, ...] | None

    def applied(self, subject: Subject) -> Subject:
        """The Subject just loaded, with its edits at work and in its provenance.

        Raises:
            ModelError: an edit does not fit the model.
        """
        for edit in self.edits:
            if edit.place is not None:
                subject = installed(subject, edit.place, edit.tensors)
        return _told(dataclasses.replace(subject, threshold=self.threshold), self.edits, self.edited_from)


def tensor_sha256(tensor: Tensor) -> str:
    """SHA-256 of a tensor's number type, shape and bytes."""
    kept = tensor.detach().cpu().contiguous()
    total = hashlib.sha256(f"{kept.dtype} {tuple(kept.shape)} ".encode())
    total.update(kept.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def with_edit(subject: Subject, edit: Edit) -> Subject:
    """The Subject (a copy that is ours to change) with an edit at work, added to those it has.

    Raises:
        ModelError: the edit does not fit the model.
    """
    made = subject if edit.place is None else installed(subject, edit.place, edit.tensors)
    # Of a folder that this model no longer is:
    files = ("weights_sha256", "settings_sha256", "low_rank_sha256")
    known = subject.provenance.get("edited_from")
    origin = known or {key: subject.provenance[key] for key in files if key in subject.provenance}
    kept = {key: value for key, value in subject.provenance.items() if key not in files}
    return _told(dataclasses.replace(made, provenance=kept), (*subject.edits, edit), origin)


def _told(subject: Subject, edits: tuple[Edit, ...], origin: Mapping[str, Any]) -> Subject:
    return dataclasses.replace(
        subject,
        edits=edits,
        provenance={
            **subject.provenance,
            "edited_from": dict(origin),
            "edits": [edit.said() for edit in edits],
        },
    )


def save(subject: Subject, folder: str | Path) -> None:
    """Write a Subject as a folder that `clinometer.load` reads: whole or not at all, and loaded once to prove it.

    The folder is one of ours, or one of transformers' (weights, settings, the tokenizer's or processor's files), with
    `edits.json` and, where an edit works as the model runs, `edits.safetensors` beside the weights. Loaded again in the
    number type it has now, it has the same weights and edits, and so the same scores, bit for bit. A folder that this
    function wrote before is replaced.

    Raises:
        ModelError: the Subject was wrapped, quantised or aimed at another target than its folder would be.
        OutputError: the folder cannot be written, or is there and was not written by Clinometer.
    """
    target = Path(folder).absolute()
    if subject.write is None:
        raise ModelError(
            f"{subject.name} was wrapped: how it is written is known to whoever made it. Save its module, and after loading "
            "apply the edit again, or hand in a model of ours or of transformers."
        )
    if subject.provenance.get("quantisation", "none") != "none":
        raise ModelError(
            f"{subject.name} is quantised ({subject.provenance['quantisation']}), and is not written in that form. Edit and "
            "save the model as it was before, and load that with quantise=."
        )
    ours = any((target / name).is_file() for name in (SETTINGS, "clinometer.json"))
    if target.is_dir() and any(target.iterdir()) and not ours:
        raise OutputError(f"{target} holds something that Clinometer did not write. Name another folder.")
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        made = temporary / "model"
        made.mkdir()
        _write(subject, made)
        _prove(subject, made)
        put(made, target)
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror or error}.") from error
    except (OutputError, SafetensorError) as error:  # of a disk that is full, too
        raise OutputError(f"{target} cannot be written: {error}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _write(subject: Subject, folder: Path) -> None:
    if subject.write is None:
        raise ModelError(f"{subject.name} cannot be written.")
    how = subject.write(subject, folder)
    tensors = {
        f"{i}/{name}": tensor.detach().cpu().contiguous()
        for i, edit in enumerate(subject.edits)
        for name, tensor in edit.tensors.items()
    }
    settings = {
        "schema_version": SCHEMA_VERSION,
        "weights_sha256": digest(folder.glob("*.safetensors")),
        "edited_from": subject.provenance.get("edited_from", {}),
        "threshold": None if math.isnan(subject.threshold) else subject.threshold,
        "load": dict(how),
        "edits": [{**edit.said(), "tensors": sorted(edit.tensors)} for edit in subject.edits],
    }
    if tensors:
        save_file(tensors, folder / TENSORS)
    text = json.dumps(plain(settings), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    (folder / SETTINGS).write_text(text + "\n", encoding="utf-8")


def _prove(subject: Subject, folder: Path) -> None:
    """Load what was written, and compare it with what was to be written.

    Raises:
        ModelError: it is not the same.
    """
    numbers = next((p.dtype for p in subject.module.parameters() if p.is_floating_point()), torch.float32)
    names = {value: key for key, value in DTYPES.items()}
    again = load(folder, device=str(subject.device), dtype=names[numbers])
    for what, mine, theirs in (
        ("target", subject.target, again.target),
        ("unit", subject.unit, again.unit),
        ("labels", subject.labels, again.labels),
        ("threshold", repr(subject.threshold), repr(again.threshold)),
        ("edits", [e.sha256 for e in subject.edits], [e.sha256 for e in again.edits]),
    ):
        if mine != theirs:
            raise ModelError(
                f"{subject.name} would not be loaded as it is: its {what} is {mine!r}, and of what was written {theirs!r}. "
                "Save the Subject it was made of, and aim or relabel that one after loading."
            )
    own, read_again = subject.module.state_dict(), again.module.state_dict()
    other = [name for name in own if name not in read_again or not torch.equal(own[name], read_again[name])]
    if other or len(own) != len(read_again):
        raise ModelError(
            f"{subject.name} would not be loaded as it is: {first(other or set(read_again) - set(own))} differ(s) after "
            "writing and reading. Give all its weights one number type."
        )


def read(folder: Path) -> Saved:
    """The edits kept in a folder, checked against its weights and their own hashes.

    Raises:
        ModelError: a file is damaged, of another version, or does not belong to these weights.
    """
    settings = read_settings(folder / SETTINGS)
    version = settings.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ModelError(
            f"{folder / SETTINGS} has schema version {version}; this Clinometer reads {SCHEMA_VERSION}."
        )
    weights = digest(file for file in folder.glob("*.safetensors") if file.name != TENSORS)
    if weights != settings.get("weights_sha256"):
        raise ModelError(
            f"the weights of {folder} are not those its edits were saved with. Restore them, or delete {SETTINGS} and "
            f"{TENSORS} to have the weights alone, and edit and save again."
        )
    try:
        tensors = load_file(folder / TENSORS) if (folder / TENSORS).is_file() else {}
        edits = tuple(_edit(i, one, tensors) for i, one in enumerate(settings["edits"]))
        how, threshold = settings["load"], settings["threshold"]
        candidates = how.get("candidates")
        return Saved(
            edits=edits,
            edited_from=dict(settings["edited_from"]),
            threshold=float("nan") if threshold is None else float(threshold),
            task=how.get("task"),
            positive=how.get("positive"),
            candidates=None if candidates is None else tuple(candidates),
        )
    except (AttributeError, KeyError, TypeError, ValueError, SafetensorError, OSError) as error:
        raise ModelError(
            f"{folder / SETTINGS} or {TENSORS} cannot be read: {type(error).__name__} {error}. Save the model again."
        ) from error


def _edit(place: int, one: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Edit:
    edit = Edit(
        kind=one["kind"],
        way=one["way"],
        n_rows=one["n_rows"],
        parameters=one["parameters"],
        changed=one["changed"],
        place=one["place"],
        tensors={name: tensors[f"{place}/{name}"] for name in one["tensors"]},
    )
    if edit.sha256 != one["sha256"]:
        raise ValueError(f"the hash of edit {place} ({edit.kind}) is not the one it was saved with")
    return edit
