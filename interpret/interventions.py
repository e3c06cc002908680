"""Many interventions on the same rows at once: what comes before the first change is computed once."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from ..errors import DataError, UsageError, did_you_mean
from ..records import Floats, Rows
from .feed_forward import linear_layers
from .gates import Edge, Gates, Heads, Intervention, Layer, Value
from .models import Batch, Subject, check_finite, chunks
from .observer import Observer
from .standing_parts import by_row, outermost, repeated_rows, standing_in
from .tap import tap


@dataclass(slots=True)
class _Clean:
    """One unchanged run: its calls, and what each part of the model outside them gave."""

    layers: tuple[str, ...]  # of the calls, in order
    blocks: tuple[str, ...]  # the block each call was made in
    parts: dict[
        str, Any
    ]  # name -> output of parts that ran once, and of linear layers before a call in their block
    finished: tuple[tuple[str, ...], ...]  # before each call: the parts that had run whole


def intervene(
    subject: Subject,
    rows: Rows,
    interventions: Sequence[Intervention],
    *,
    batch_size: int = 32,
    together: int = 12,
    share_prefix: bool = True,
    progress: bool = False,
) -> Floats:
    """The score of every row under every intervention, (intervention, example), in the subject's unit.

    Interventions that begin in the same block of the model run in one batch, and the blocks before it are not
    run again, nor in that block the linear layers before the first call that is changed: their outputs are those of
    the unchanged model, computed once. The scores are those of one
    intervention at a time, up to the rounding that another batch size brings.

    Args:
        interventions: what is changed; an empty one gives the unchanged score.
        batch_size: rows encoded together.
        together: interventions run in one batch; the batch then holds `together` x `batch_size` rows.
        share_prefix: False runs every part of the model for every intervention.
        progress: show a bar.

    Raises:
        UsageError: a layer, head or position does not exist, or a patch does not fit.
        DataError: there are no rows, or a score is not finite.
    """
    if not len(rows):
        raise DataError("there are no rows to intervene on.")
    if together < 1:
        raise UsageError(f"together is {together}, expected 1 or more.")
    scores = np.zeros((len(interventions), len(rows)))
    start = 0
    with tqdm(
        total=len(interventions) * len(rows), desc="interventions", unit="row", disable=not progress
    ) as bar:
        for part in chunks(rows, batch_size):
            batch = subject.encode(part)
            clean = _run_clean(subject, batch, len(part))
            for group in _groups(interventions, clean):
                for begin in range(0, len(group), together):
                    chosen = group[begin : begin + together]
                    some = [interventions[i] for i in chosen]
                    found = _run_changed(subject, batch, len(part), some, clean, share_prefix)
                    scores[chosen, start : start + len(part)] = found
                    bar.update(found.size)
            start += len(part)
    check_finite(scores.sum(axis=0), rows.ids, subject.name)
    return scores


def every_head(subject: Subject, rows: Rows, value: Value = 0.0) -> dict[tuple[str, int], Intervention]:
    """One intervention per head of the subject: (layer, head) -> that head set to `value`, by default closed.

    The heads are those seen on the first row.
    """
    shapes: list[tuple[str, int]] = []
    batch = subject.encode(rows.take([0]))
    with torch.no_grad(), tap(subject.module, lambda call: shapes.append((call.layer, call.n_heads))):
        subject.forward(batch, None)
    return {
        (layer, head): Intervention(heads={(layer, head): value})
        for layer, n_heads in shapes
        for head in range(n_heads)
    }


def _run_clean(subject: Subject, batch: Batch, n_rows: int) -> _Clean:
    stacks: list[tuple[str, list[str]]] = []
    done: list[str] = []
    finished: list[tuple[str, ...]] = []
    outputs: dict[str, Any] = {}
    runs: dict[str, int] = {}
    state: list[Observer] = []
    needed: set[str] = set()  # what had run before some call

    def note(call: Any) -> None:
        stacks.append((call.layer, [frame.name for frame in state[0].stack]))
        finished.append(tuple(done))
        needed.update(done)

    def keep(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            runs[name] = runs.get(name, 0) + 1
            outputs[name] = output
            done.append(name)
            for one in inside.get(name, ()):  # what ran after the last call of a block stands for nothing
                if one not in needed:
                    outputs.pop(one, None)

        return hook

    parts = parts_of(subject.module)
    linear = {name: part for name, part in linear_layers(subject.module).items() if name not in parts}
    inside = {name: [one for one in linear if one.startswith(f"{name}.")] for name in parts}
    with torch.no_grad(), ExitStack() as stack:
        for name, module in (parts | linear).items():
            stack.callback(module.register_forward_hook(keep(name)).remove)
        state.append(stack.enter_context(tap(subject.module, note)))
        subject.forward(batch, None)
    once = {
        name: output
        for name, output in outputs.items()
        if runs[name] == 1 and (name in parts or by_row(output, n_rows))
    }
    blocks = []
    for _, names in stacks:
        blocks.append(next((name for name in reversed(names) if name in parts), names[0]))
    return _Clean(
        layers=tuple(layer for layer, _ in stacks),
        blocks=tuple(blocks),
        parts=once,
        finished=tuple(tuple(name for name in names if name in once) for names in finished),
    )


def parts_of(module: nn.Module) -> dict[str, nn.Module]:
    """Parts whose output may stand for them: members of lists (blocks), and parts outside of blocks."""
    found: dict[str, nn.Module] = {}

    def walk(parent: nn.Module, prefix: str) -> None:
        for name, child in parent.named_children():
            full = f"{prefix}{name}"
            if isinstance(child, (nn.ModuleList, nn.Sequential, nn.ModuleDict)) or any(
                isinstance(inner, (nn.ModuleList, nn.Sequential)) for inner in child.modules()
            ):
                if isinstance(parent, (nn.ModuleList, nn.Sequential)):
                    found[full] = child  # a block, whatever lists it holds inside
                    continue
                if not isinstance(child, (nn.ModuleList, nn.Sequential, nn.ModuleDict)):
                    found[full] = child  # an encoder as a whole, and its parts
                walk(child, f"{full}.")
            else:
                found[full] = child

    walk(module, "")
    return found


def _groups(interventions: Sequence[Intervention], clean: _Clean) -> list[list[int]]:
    """Places of interventions that begin in the same block, earliest block first."""
    order = {block: i for i, block in reversed(list(enumerate(clean.blocks)))}
    keyed: dict[int, list[int]] = {}
    for place, one in enumerate(interventions):
        firsts = [_call(layer, clean) for layer in one.layers]
        block = order[clean.blocks[min(firsts)]] if firsts else len(clean.layers)
        keyed.setdefault(block, []).append(place)
    return [keyed[key] for key in sorted(keyed)]


def _call(layer: Layer, clean: _Clean) -> int:
    if isinstance(layer, str):
        if layer not in clean.layers:
            raise UsageError(f"no attention call is named {layer!r}; {did_you_mean(layer, clean.layers)}")
        return clean.layers.index(layer)
    if not 0 <= layer < len(clean.layers):
        raise UsageError(
            f"call {layer} does not exist: the model makes {len(clean.layers)}, so 0 to {len(clean.layers) - 1}."
        )
    return layer


def _named(one: Intervention, clean: _Clean) -> Intervention:
    """The same intervention with its layers by name, since calls that are not run are not counted."""
    heads: Heads = {
        (clean.layers[_call(layer, clean)], head): value for (layer, head), value in one.heads.items()
    }
    cut = tuple(
        Edge(layer=clean.layers[_call(edge.layer, clean)], key=edge.key, query=edge.query, head=edge.head)
        for edge in one.cut
    )
    return Intervention(heads=heads, cut=cut)


def _run_changed(
    subject: Subject,
    batch: Batch,
    n_rows: int,
    interventions: Sequence[Intervention],
    clean: _Clean,
    share_prefix: bool,
) -> Floats:
    n = len(interventions)
    named = [_named(one, clean) for one in interventions]
    repeated = {key: value.repeat(n, *[1] * (value.dim() - 1)) for key, value in batch.items()}
    firsts = [clean.layers.index(str(layer)) for one in named for layer in one.layers]
    done: tuple[str, ...] = ()
    if share_prefix and firsts:
        done = clean.finished[min(firsts)]
    shared = outermost(done)
    editor = Gates(named)
    stands = {name: repeated_rows(clean.parts[name], n_rows, n) for name in shared}
    with (
        torch.no_grad(),
        standing_in(dict(subject.module.named_modules()), stands),
        tap(subject.module, editor=editor),
    ):
        scores = subject.select(subject.forward(repeated, None))
    return scores.cpu().double().numpy().reshape(n, n_rows)
