"""Does an attribution depend on the model at all? Weights are drawn anew, part by part (Adebayo et al. 2018)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from ..errors import DataError, ModelError, UsageError
from ..records import Attribution, Floats, Randomised, Rows
from .batches import MAX_MEMORY
from .bootstrap import checked, estimates
from .compared_methods import Options, compare, named
from .copying import copied
from .draws import row_seed
from .methods import attribute
from .models import Subject
from .players import players
from .predictions import distinct
from .ranks import rank_correlation

KINDS = ("cascading", "independent")
OWN = "(own weights)"  # of a module that is no leaf


@dataclass(frozen=True, slots=True, kw_only=True)
class Randomisation:
    """What is left of each method's attributions, and the methods that did not run."""

    randomised: tuple[Randomised, ...]
    failed: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """A part of a model whose weights are drawn anew together."""

    name: str
    weights: tuple[tuple[str, nn.Parameter], ...]


def randomisation(
    subject: Subject,
    rows: Rows,
    *,
    methods: Sequence[str] | None = None,
    options: Options | None = None,
    kinds: Sequence[str] = KINDS,
    seed: int = 0,
    replicates: int = 1000,
    confidence: float = 0.95,
    batch_size: int = 64,
    max_memory: int = MAX_MEMORY,
    progress: bool = False,
) -> Randomisation:
    """Rank correlations of attributions before and after a copy's weights are drawn anew, part by part from the top.

    An attribution that hardly changes when the weights are random explains the input, not the model. "cascading"
    draws the part nearest to the output anew, then the next one too, and so on down to the embeddings;
    "independent" draws one part at a time, the others trained. A part is an element of a list of layers, or a leaf
    module that has weights; parts are ordered by when they first run. The target is the subject's own, whatever the
    copy predicts. The user's model is not touched.

    Departure from Adebayo et al. 2018: weights are not initialised as before training, which only their authors could,
    but drawn from a normal distribution with each tensor's own mean and standard deviation, so that activations keep
    their scale in any architecture.

    Args:
        rows: each with an id of its own; rows with fewer than three tokens that can be taken away have no correlation.
        methods: names of the table; None for all but those on request.
        options: method -> its own options.
        kinds: "cascading", "independent".
        seed: of the new weights and of methods that sample.

    Returns:
        Per method, kind and part: means over rows of Spearman's correlation over the tokens that can be taken away, of
        signed scores and of their absolute values, and how far the target moved. The correlation of signed scores can
        fall to 0 or turn negative; that of sizes says whether the same tokens stand out.

    Raises:
        UsageError: a method, option, kind or number that does not exist or is out of range.
        DataError: no rows, or two rows with one id.
        ModelError: the model cannot be copied, has no weights, or no method can be used with it.
    """
    checked(replicates, confidence)
    if not len(rows):
        raise DataError("there are no rows to attribute.")
    distinct(rows)
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise UsageError(f"there is no kind {unknown[0]!r} of randomisation; expected of {', '.join(KINDS)}.")
    asked = named(methods, options)
    copy = copied(subject, rows)
    how: dict[str, Any] = {"batch_size": batch_size, "seed": seed, "progress": False}
    ran = compare(copy, rows, asked, options, **how)
    tokens = subject.names(rows)
    places: dict[int, Any] = {}
    for some in players(subject, rows, tokens, batch_size=batch_size, max_memory=max_memory):
        places |= dict(zip(some.index.tolist(), some.places, strict=True))
    stages = parts(copy, rows.take([0]))
    trained = {name: value.detach().clone() for name, value in copy.module.state_dict().items()}
    bootstrap = {"replicates": replicates, "confidence": confidence, "seed": seed}
    made: list[Randomised] = []
    failed = list(ran.failed)
    left = dict(ran.attributions)
    with tqdm(total=len(stages) * len(kinds), desc="randomisation", unit="part", disable=not progress) as bar:
        for kind in kinds:
            copy.module.load_state_dict(trained)
            for place, part in enumerate(stages, start=1):
                if kind == "independent":
                    copy.module.load_state_dict(trained)
                _draw(part, seed)
                for name, before in list(left.items()):
                    try:
                        after = attribute(copy, rows, name, **{**how, **(options or {}).get(name, {})})
                    except (ModelError, DataError, RuntimeError) as error:
                        failed.append((name, f"{part.name} drawn anew: {error}".split("\n")[0]))
                        del left[name]
                        continue
                    made.append(_compared(before, after, places, name, kind, part.name, place, bootstrap))
                bar.update()
    return Randomisation(randomised=tuple(one for one in made if one.method in left), failed=tuple(failed))


def parts(subject: Subject, row: Rows) -> tuple[Part, ...]:
    """The parts of a model, the one nearest to the output first; parts that never run as modules are last.

    Raises:
        ModelError: the model has no weights.
    """
    found: list[tuple[str, nn.Module, Part]] = []

    def walk(name: str, module: nn.Module, whole: bool) -> None:
        own = dict(module.named_parameters(recurse=whole))
        label = name or type(module).__name__
        weights = tuple((f"{name}.{key}" if name else key, value) for key, value in own.items())
        deeper = [] if whole else list(module.named_children())
        if weights:
            found.append((label, module, Part(name=f"{label} {OWN}" if deeper else label, weights=weights)))
        listed = isinstance(module, (nn.ModuleList, nn.ModuleDict, nn.Sequential))
        for key, child in deeper:
            walk(f"{name}.{key}" if name else key, child, whole=listed)

    walk("", subject.module, whole=False)
    if not found:
        raise ModelError(f"{subject.name} has no weights that could be drawn anew.")
    order: dict[int, int] = {}

    def note(module: nn.Module, _: Any) -> None:
        order.setdefault(id(module), len(order))

    handles = [module.register_forward_pre_hook(note) for _, module, _ in found]
    try:
        with torch.no_grad():
            subject.forward(subject.encode(row), None)
    finally:
        for handle in handles:
            handle.remove()
    ordered = sorted(range(len(found)), key=lambda i: (-order.get(id(found[i][1]), -1), -i))
    return tuple(found[i][2] for i in ordered)


@torch.no_grad()
def _draw(part: Part, seed: int) -> None:
    """New weights, normal with each tensor's own mean and standard deviation."""
    for name, weight in part.weights:
        if not weight.is_floating_point():
            continue
        generator = torch.Generator().manual_seed(row_seed(seed, "weights", name))
        drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        wide = weight.detach().cpu().double()
        spread = float(wide.std(correction=0)) if wide.numel() > 1 else 0.0
        weight.copy_((drawn * spread + wide.mean()).to(weight.dtype))


def _compared(
    before: Attribution,
    after: Attribution,
    places: dict[int, Any],
    name: str,
    kind: str,
    part: str,
    place: int,
    bootstrap: dict[str, Any],
) -> Randomised:
    correlations: Floats = np.full((len(before), 2), np.nan)
    for row, at in places.items():
        one, other = before.scores[row, at], after.scores[row, at]
        correlations[row] = rank_correlation(one, other), rank_correlation(np.abs(one), np.abs(other))
    made = estimates(correlations, **bootstrap)

    def number(values: Floats, column: int) -> float | None:
        return float(values[column]) if np.isfinite(values[column]) else None

    return Randomised(
        method=name,
        kind=kind,
        part=part,
        place=place,
        n=int(made.n[0]),
        correlation=number(made.estimate, 0),
        low=number(made.low, 0),
        high=number(made.high, 0),
        of_sizes=number(made.estimate, 1),
        of_sizes_low=number(made.low, 1),
        of_sizes_high=number(made.high, 1),
        moved=float(np.abs(after.value - before.value).mean()),
    )
