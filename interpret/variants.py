"""Ready variants of a model: other number types, 8 bits, low rank."""

import dataclasses
from pathlib import Path
from typing import Any

import torch

from ..errors import ModelError, UsageError, did_you_mean
from ..records import Rows
from .copying import copied
from .edits import SETTINGS, read
from .low_rank import low_rank
from .low_rank_folders import is_low_rank, load_low_rank, writer
from .models import Subject, load, without_gradients
from .weights import DTYPES, QUANTISERS, quantised

LOW_RANK = "low-rank"
VARIANTS = (*DTYPES, *QUANTISERS, LOW_RANK)
ENERGY = 0.9  # of each layer's squared singular values, where nothing else is asked for


def variant(
    subject: Subject, rows: Rows, how: str, *, energy: float | None = None, rank: int | None = None
) -> Subject:
    """A variant of a Subject over a copy of its model, which stays as it was.

    Args:
        rows: one or more; the first shows that the copy is one and that the variant runs.
        how: a number type ("bfloat16", "float16", "float32", "float64"), "int8" (torch, CPU, no gradients),
            "int8-weights" (torchao), or "low-rank" (truncated SVD of every Linear layer that becomes smaller).
        energy, rank: what "low-rank" keeps; .9 of the energy where neither is given. See `low_rank.low_rank`.

    Raises:
        UsageError: an unknown variant, or energy and rank of another one than "low-rank".
        ModelError: the model cannot be copied, quantised or factorised, or does not run in this number type.
    """
    if how not in VARIANTS:
        raise UsageError(f"there is no variant {how!r}: {did_you_mean(how, VARIANTS)}")
    if how != LOW_RANK and (energy is not None or rank is not None):
        raise UsageError(f"energy and rank are of {LOW_RANK!r}, and the variant asked for is {how!r}.")
    made = copied(subject, rows)
    words = how
    if how in DTYPES:
        made.module.to(DTYPES[how])
    elif how in QUANTISERS:
        module, words = quantised(made.module, how)
        if module is not made.module:
            raise ModelError(
                f"{subject.name} is a single layer, which quantisation would replace. Wrap a module that holds it."
            )
        made = without_gradients(made) if how == "int8" else made
    else:
        share = ENERGY if energy is None and rank is None else energy
        ranks = low_rank(made.module, energy=share, rank=rank)
        kept = f"rank {rank}" if rank is not None else f"{share:g} of the energy of each"
        words = f"low rank in {len(ranks)} Linear layers, {kept}"
        made = dataclasses.replace(made, write=writer(made.write))
    provenance = {
        **{key: value for key, value in subject.provenance.items() if key != "weights_sha256"},
        "variant": words,
        "variant of": subject.name,
        "variant of weights_sha256": subject.provenance.get("weights_sha256"),
    }
    if how in DTYPES:
        provenance["dtype"] = how
    elif how in QUANTISERS:
        provenance["quantisation"] = words
    made = dataclasses.replace(made, name=f"{subject.name} {how}", provenance=provenance)
    _runs(made, rows.take([0]))
    return made


def _runs(subject: Subject, row: Rows) -> None:
    try:
        with torch.no_grad():
            subject.select(subject.forward(subject.encode(row), None))
    except RuntimeError as error:
        raise ModelError(
            f"{subject.name} does not run on {subject.device}: {str(error).splitlines()[0]}. Likely causes: (a) its "
            "encode() makes tensors of another number type, (b) this device has no such kernel."
        ) from error


def load_as(
    folder: str | Path, how: str = "float32", *, device: str = "cpu", positive: str | None = None
) -> Subject:
    """The Subject of any model's folder, factorised ones too, in a number type or in 8 bits.

    Raises:
        UsageError: an unknown way; "low-rank" is written once by `save_low_rank`, and then loaded as it is.
        ModelError: see `models.load`.
    """
    if how not in (*DTYPES, *QUANTISERS):
        raise UsageError(f"a model cannot be loaded as {how!r}: {did_you_mean(how, (*DTYPES, *QUANTISERS))}")
    dtype, quantise = (how, None) if how in DTYPES else ("float32", how)
    if not is_low_rank(folder):
        return load(folder, device=device, dtype=dtype, quantise=quantise, positive=positive)
    made = load_low_rank(folder, device=device, dtype=dtype, positive=positive, quantise=quantise)
    return read(Path(folder)).applied(made) if (Path(folder) / SETTINGS).exists() else made


def has_gradients(subject: Subject) -> bool:
    """Whether scores can be followed back: not through torch's int8 layers, which drop gradients without an error."""
    dynamic: Any = torch.ao.nn.quantized.dynamic.Linear
    return not any(isinstance(part, dynamic) for part in subject.module.modules())
