"""Total, direct and indirect effects of swapping a text, with heads patched from one version into the other."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from tqdm.auto import tqdm

from ..errors import DataError, first
from ..records import Floats, Rows
from .ablation import of_one_length
from .capture import attention_gradient
from .float64 import in_float64
from .gates import Intervention, Patch
from .interventions import intervene
from .models import Batch, Subject
from .trace import Trace


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatchEffects:
    """What swapping did to each pair's score, and how much of it each head and each layer passes on.

    With f(x, z) the score of input x while a mediator's output is z, and a prime for the swapped row:
    total = f(x', z') - f(x, z), indirect = f(x, z') - f(x, z), direct = f(x', z) - f(x, z). They are the total, natural
    indirect and natural direct effect (Pearl 2001; Vig et al. 2020, section 3, as differences in place of their
    ratios). total = direct - (indirect effect of swapping back), which is direct + indirect only where the two do not
    interact. `estimated` ones are first order: the gradient at every output times the difference of outputs.
    """

    target: str
    unit: str
    ids: tuple[str, ...]  # of the original rows
    swapped_ids: tuple[str, ...]
    layers: tuple[str, ...]
    heads: tuple[tuple[str, int], ...]
    total: Floats  # (pair,)
    indirect: Floats | None  # (pair, head); None where only estimates were asked for
    direct: Floats | None  # (pair, head)
    layer_indirect: Floats | None  # (pair, layer), all heads of a layer together
    layer_direct: Floats | None
    estimated_indirect: Floats  # (pair, head)
    estimated_direct: Floats  # (pair, head)

    def mean(self, values: Floats) -> tuple[Floats, Floats]:
        """The mean over pairs of one of the effects and its standard error, one number per column."""
        n = len(values)
        error = values.std(axis=0, ddof=1) / np.sqrt(n) if n > 1 else np.full(values.shape[1:], np.inf)
        return values.mean(axis=0), error


def patch_effects(
    subject: Subject,
    original: Rows,
    swapped: Rows,
    *,
    exact: bool = True,
    batch_size: int = 16,
    together: int = 4,
    progress: bool = False,
) -> PatchEffects:
    """Effects of swapping each row for its partner through every head and every layer.

    Estimates take one forward and one backward pass over both versions (attribution patching: Nanda 2023; Syed et al.
    2023). Exact effects (activation patching) take two runs per head and per layer, with shared prefixes.

    Args:
        original, swapped: pairs, row by row; both of a pair have as many tokens.
        exact: False gives estimates alone.
        batch_size: pairs of one length that run together.
        together: interventions in one batch.

    Raises:
        DataError: there are no pairs, not as many of both, or a pair whose texts have different numbers of tokens.
    """
    if len(original) != len(swapped) or not len(original):
        raise DataError(
            f"{len(original)} original and {len(swapped)} swapped rows; as many, and one or more, are expected."
        )
    lengths = [len(names) for names in subject.names(original)]
    others = [len(names) for names in subject.names(swapped)]
    uneven = [i for i, (a, b) in enumerate(zip(lengths, others, strict=True)) if a != b]
    if uneven:
        shown = first(f"{original.ids[i]} ({lengths[i]} and {others[i]})" for i in uneven)
        raise DataError(
            f"{len(uneven)} of {len(lengths)} pairs have different numbers of tokens, so that no position of one is the "
            f"same of the other: {shown}. Leave them out, or swap for words of as many tokens."
        )
    n = len(original)
    found: list[tuple[Any, _Part]] = []
    for index in tqdm(
        of_one_length(lengths, batch_size), desc="patching", unit="batch", disable=not progress
    ):
        found.append((index, _pairs(subject, original.take(index), swapped.take(index), exact, together)))
    layers, heads = found[0][1].layers, found[0][1].heads

    def joined(name: str) -> Floats:
        made = np.zeros((n, *getattr(found[0][1], name).shape[1:]))
        for index, part in found:
            made[index] = getattr(part, name)
        return made

    return PatchEffects(
        target=subject.target,
        unit=subject.unit,
        ids=original.ids,
        swapped_ids=swapped.ids,
        layers=layers,
        heads=heads,
        total=joined("total"),
        indirect=joined("indirect") if exact else None,
        direct=joined("direct") if exact else None,
        layer_indirect=joined("layer_indirect") if exact else None,
        layer_direct=joined("layer_direct") if exact else None,
        estimated_indirect=joined("estimated_indirect"),
        estimated_direct=joined("estimated_direct"),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    """The effects of pairs of one length."""

    layers: tuple[str, ...]
    heads: tuple[tuple[str, int], ...]
    total: Floats
    estimated_indirect: Floats
    estimated_direct: Floats
    indirect: Floats | None = None
    direct: Floats | None = None
    layer_indirect: Floats | None = None
    layer_direct: Floats | None = None


def _pairs(subject: Subject, original: Rows, swapped: Rows, exact: bool, together: int) -> _Part:
    before, after = (_gradient(subject, subject.encode(rows)) for rows in (original, swapped))
    if before.layers != after.layers:
        raise DataError(
            f"the two versions of {first(original.ids)} run different layers: their heads cannot be exchanged."
        )
    f, swapped_f = (_numbers(seen.output) for seen in (before, after))
    total = swapped_f - f
    layers = before.layers
    heads = tuple((layer, head) for i, layer in enumerate(layers) for head in range(before.n_heads(i)))
    made = {
        "total": total,
        "estimated_indirect": _first_order(before, after),
        "estimated_direct": total[:, None] + _first_order(after, before),
    }
    if exact:
        n = len(original)
        units: list[tuple[str, int | None]] = [*heads, *((layer, None) for layer in layers)]
        put, keep = (
            intervene(
                subject,
                rows,
                [Intervention(heads={unit: Patch(donor)}) for unit in units],
                batch_size=n,
                together=together,
            ).T
            for rows, donor in ((original, after), (swapped, before))
        )
        indirect, direct = put - f[:, None], keep - f[:, None]
        cut = len(heads)
        made |= {
            "indirect": indirect[:, :cut],
            "direct": direct[:, :cut],
            "layer_indirect": indirect[:, cut:],
            "layer_direct": direct[:, cut:],
        }
    return _Part(layers=layers, heads=heads, **made)


def _gradient(subject: Subject, batch: Batch) -> Trace:
    return attention_gradient(lambda: subject.select(subject.forward(batch, None)), subject.module)


def _first_order(here: Trace, there: Trace) -> Float[np.ndarray, "pair head"]:
    """sum over queries and width of dO . (O' - O), for every head of every layer."""
    columns = []
    for place, (one, other) in enumerate(zip(here.calls, there.calls, strict=True)):
        if one.output is None or other.output is None or here.gradients is None:
            raise DataError(f"{one.layer}: the outputs or gradients of its heads are not known.")
        moved = in_float64(other.output - one.output) * in_float64(here.gradients[place])
        columns.append(moved.sum(dim=(2, 3)).cpu().numpy())
    return np.concatenate(columns, axis=1)


def _numbers(output: Any) -> Floats:
    made: Floats = torch.as_tensor(output).cpu().double().numpy()
    return made
