"""What a module of somebody's own is taken to mean where its owner did not say."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import DataError, ModelError, first
from ..records import Rows
from .calls import Call
from .models import Batch, Subject
from .placing import placed
from .tap import tap


def wrapped(
    module: nn.Module,
    forward: Callable[..., Any] | None,
    *,
    encode: Callable[[Rows], Batch] | None,
    embed: Callable[[Batch], Tensor] | None,
    reference: Callable[[Batch], Tensor] | None,
    names: Callable[[Rows], tuple[tuple[str, ...], ...]] | None,
    baseline: str | None,
    name: str,
    **given: Any,
) -> Subject:
    """What `clinometer.wrap` returns, with its defaults filled in."""
    kind = type(getattr(module, "_orig_mod", module))
    training = [part or kind.__name__ for part, child in module.named_modules() if child.training]
    if training:
        raise ModelError(
            f"{kind.__name__} is in training mode ({first(training, 3)}), so that dropout would change every run: call "
            "module.eval() first."
        )
    run, from_embeddings = _runner(module, forward)
    asked = {
        "embed": embed is not None,
        "reference": reference is not None,
        "baseline": baseline is not None,
        "a forward(batch, embedded)": from_embeddings,
    }
    missing = [part for part, there in asked.items() if not there]
    if missing and any((embed, reference, baseline)):
        raise ModelError(
            f"wrap() was given a part of what attributions need and lacks {first(missing)}. Give all of embed, reference, "
            "baseline and a forward(batch, embedded), or none of them to score and trace only."
        )

    def absent(_: Batch) -> Tensor:
        raise ModelError(
            f"{name} was wrapped without {first(missing)}, so it can be scored and traced and not attributed. Give wrap() "
            "embed (batch -> (example, token, width)), reference (the same, of the input compared with), baseline (that "
            "input in words) and a forward(batch, embedded) that runs from embeddings."
        )

    device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    columns = given.pop("columns")

    def read(rows: Rows) -> Batch:
        chosen = columns or tuple(rows.inputs)
        return {column: _tensor(column, rows, device, dtype) for column in chosen}

    encoder = encode or read
    return Subject(
        name=name,
        module=module,
        baseline=baseline or "none was given",
        columns=columns,
        encode=encoder,
        names=names or _numbered(module, encoder, embed, run, given["prefix"]),
        embed=embed or absent,
        reference=reference or absent,
        forward=run,
        device=device,
        task="wrapped",
        provenance={"kind": "wrapped", "class": f"{kind.__module__}.{kind.__qualname__}"},
        **given,
    )


def _runner(
    module: nn.Module, forward: Callable[..., Any] | None
) -> tuple[Callable[[Batch, Tensor | None], Tensor], bool]:
    """A forward of two arguments, and whether it can run from embeddings."""
    if forward is None:
        return lambda batch, _: _outputs(module(**batch)), False
    parameters = inspect.signature(forward).parameters.values()
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(places) >= 2 or any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return lambda batch, embedded: _outputs(forward(batch, embedded)), True
    if not places:
        raise ModelError(
            "forward takes no argument; forward(batch) or forward(batch, embedded) is expected, where batch is what encode "
            "returns."
        )
    return lambda batch, _: _outputs(forward(batch)), False


def _outputs(made: Any) -> Tensor:
    found = getattr(made, "logits", made)
    if isinstance(found, (tuple, list)) and found:
        found = found[0]
    if not isinstance(found, Tensor):
        raise ModelError(
            f"forward returned a {type(made).__name__}; a tensor (example, label), or a record with logits, is expected."
        )
    return found


def _tensor(column: str, rows: Rows, device: torch.device, dtype: torch.dtype) -> Tensor:
    """A column as a tensor, where it is made of numbers."""
    if column not in rows.inputs:
        raise DataError(f"the rows lack the column {column!r}; they have {first(rows.inputs)}.")
    values = np.asarray(rows.inputs[column])
    if values.dtype.kind not in "biuf":
        raise DataError(
            f"the column {column!r} holds {values.dtype}, which is no tensor of numbers. Give wrap() an encode: rows -> "
            "{name: tensor}."
        )
    made = torch.from_numpy(np.ascontiguousarray(values))
    return placed(made, device, dtype if values.dtype.kind == "f" else None)


def _numbered(
    module: nn.Module,
    encode: Callable[[Rows], Batch],
    embed: Callable[[Batch], Tensor] | None,
    run: Callable[[Batch, Tensor | None], Tensor],
    prefix: tuple[str, ...],
) -> Callable[[Rows], tuple[tuple[str, ...], ...]]:
    """Positions as names: of what is embedded, else of the keys of the first attention call. Padding counts too."""

    @torch.no_grad()
    def names(rows: Rows) -> tuple[tuple[str, ...], ...]:
        batch = encode(rows)
        if embed is not None:
            n = embed(batch).shape[1]
        else:
            calls: list[Call] = []
            with tap(module, calls.append):
                run(batch, None)
            n = calls[0].n_keys - len(prefix)
        return (tuple(str(i) for i in range(n)),) * len(rows)

    return names
