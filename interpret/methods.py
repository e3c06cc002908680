"""The table of attribution methods: what each promises, what it costs, and one call for all of them."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import DataError, UsageError, did_you_mean
from ..records import Attribution, Rows
from . import gradients
from .attributions import averaged
from .baselines import compared
from .models import Subject
from .targets import aimed

DEFAULT = "integrated gradients"


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One attribution method."""

    name: str
    function: Callable[..., Attribution]  # (subject, rows, *, batch_size, seed, progress, ...) -> Attribution
    unit: str  # "target": the target's; "": none
    adds_up: str  # what the scores of an example add up to; "": to nothing
    cost: str  # forward (f) and backward (b) passes per example of n tokens
    signed: bool
    class_specific: bool  # whether the scores depend on the target
    compares: bool  # whether a baseline is part of it
    source: str
    note: str = ""


METHODS: tuple[Method, ...] = (
    Method(
        name="integrated gradients", function=gradients.integrated_gradients, unit="target",
        adds_up="target - target at the baseline", cost="20 (f + b), doubled where the certificate fails",
        signed=True, class_specific=True, compares=True, source="Sundararajan et al. 2017, eq. 1 (captum)",
    ),
    Method(
        name="gradient x input", function=gradients.gradient_x_input, unit="target", adds_up="", cost="f + b",
        signed=True, class_specific=True, compares=False, source="Shrikumar et al. 2016 (captum)",
    ),
    Method(
        name="saliency", function=gradients.saliency, unit="", adds_up="", cost="f + b", signed=False,
        class_specific=True, compares=False, source="Simonyan et al. 2014 (captum)",
    ),
)  # fmt: skip
BY_NAME: Mapping[str, Method] = {method.name: method for method in METHODS}


def method_named(name: str) -> Method:
    """The method of the table.

    Raises:
        UsageError: there is none of this name.
    """
    if name not in BY_NAME:
        raise UsageError(f"there is no attribution method {name!r}; {did_you_mean(name, BY_NAME)}")
    return BY_NAME[name]


def attribute(
    subject: Subject,
    rows: Rows,
    method: str = DEFAULT,
    *,
    target: str | None = None,
    label: str | None = None,
    baseline: str | Rows | None = None,
    background: Rows | None = None,
    batch_size: int = 64,
    seed: int = 0,
    progress: bool = False,
    **options: Any,
) -> Attribution:
    """What each token (feature, patch, time step) has to do with the target, by a method of the table.

    Args:
        method: a name of `clinometer.interpret.methods.METHODS`; `docs/attributions.md` says which promise what.
        target, label: what is explained, where it is not the subject's own target; see `targets.aimed`.
        baseline, background: what the input is compared with, where it is not the subject's own reference; see
            `baselines.compared`. Against several rows the attributions are averaged.
        batch_size: rows encoded together. Results do not depend on it beyond rounding.
        seed: of methods that sample.
        progress: show a bar.
        options: the method's own, for example `nodes=40` of integrated gradients.

    Returns:
        Scores per example and token, with what they add up to and by how much they miss it (`residual`).

    Raises:
        UsageError: no such method or option.
        DataError: no rows, or a score that is not finite.
        ModelError: the method cannot be used with this model.
    """
    chosen = method_named(method)
    known = [
        name for name in inspect.signature(chosen.function).parameters if name not in ("subject", "rows")
    ]
    for name in options:
        if name not in known:
            raise UsageError(f"{method} has no option {name!r}; {did_you_mean(name, known)}")
    if not len(rows):
        raise DataError("there are no rows to attribute.")
    if baseline is not None and not chosen.compares:
        raise UsageError(
            f"{method} compares the input with nothing, so that a baseline would change nothing."
        )
    if target is not None or label is not None:
        subject = aimed(subject, target or "logit difference", label=label)
    options |= {"batch_size": batch_size, "seed": seed, "progress": progress}
    parts = [
        chosen.function(one, rows, **options) for one in compared(subject, baseline, background=background)
    ]
    return parts[0] if len(parts) == 1 else averaged(parts, f"each of {len(parts)} rows, averaged")
