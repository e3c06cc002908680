"""The table of attribution methods: what each promises, what it costs, and one call for all of them."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import DataError, UsageError, did_you_mean, first
from ..records import Attribution, Rows
from . import (
    attention_methods,
    decomposition,
    deep_lift,
    flow,
    gradients,
    lrp,
    occlusion,
    sampled_gradients,
    shapley,
    value_norms,
    value_zeroing,
)
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
    on_request: bool = (
        False  # left out where many methods are compared, unless it is asked for: slow, or for its licence
    )


METHODS: tuple[Method, ...] = (
    Method(
        name="integrated gradients", function=gradients.integrated_gradients, unit="target",
        adds_up="target - target at the baseline", cost="20 (f + b), 41 and more where the certificate fails",
        signed=True, class_specific=True, compares=True, source="Sundararajan et al. 2017, eq. 1 (captum)",
    ),
    Method(
        name="frozen decomposition", function=decomposition.frozen_decomposition, unit="target",
        adds_up="target - what the frozen model makes of its constants (bias terms, positions)", cost="3 f + b",
        signed=True, class_specific=True, compares=False, source="Modarressi et al. 2023 (DecompX), section 3",
        note="attention held fixed: tokens that act only through where heads look get no credit",
    ),
    Method(
        name="Shapley values", function=shapley.shapley_values, unit="target",
        adds_up="target - target at the baseline", cost="2^n f up to 10 tokens, else about 50 n f",
        signed=True, class_specific=True, compares=True, source="Shapley 1953; Castro et al. 2009", on_request=True,
    ),
    Method(
        name="KernelSHAP", function=shapley.kernel_shap, unit="target", adds_up="target - target at the baseline",
        cost="about 2 n + 2048 f", signed=True, class_specific=True, compares=True,
        source="Lundberg & Lee 2017 (captum)",
        note="a float32 regression without standard errors; Shapley values are exact for few tokens and give errors",
        on_request=True,
    ),
    Method(
        name="occlusion", function=occlusion.occlusion, unit="target", adds_up="", cost="(n + 1) f",
        signed=True, class_specific=True, compares=True, source="Zeiler & Fergus 2014; Li et al. 2016",
        note="blind to evidence that is there twice",
    ),
    Method(
        name="DeepLIFT", function=deep_lift.deep_lift, unit="target", adds_up="target - target at the baseline",
        cost="2 (f + b)", signed=True, class_specific=True, compares=True,
        source="Shrikumar et al. 2017, rescale rule (captum)",
        note="softmax, norms and functional activations have no rule: the residual tells",
    ),
    Method(
        name="GradientSHAP", function=sampled_gradients.gradient_shap, unit="target",
        adds_up="target - target at the baseline, in expectation", cost="50 (f + b)", signed=True,
        class_specific=True, compares=True, source="Erion et al. 2021; Lundberg & Lee 2017 (captum)",
        note="against one baseline integrated gradients need fewer passes",
    ),
    Method(
        name="SmoothGrad", function=sampled_gradients.smooth_grad, unit="target", adds_up="",
        cost="50 (f + b)", signed=True, class_specific=True, compares=False,
        source="Smilkov et al. 2017 (captum)", note="noise of one standard deviation of the row's embeddings",
    ),
    Method(
        name="gradient x input", function=gradients.gradient_x_input, unit="target", adds_up="", cost="f + b",
        signed=True, class_specific=True, compares=False, source="Shrikumar et al. 2016 (captum)",
    ),
    Method(
        name="saliency", function=gradients.saliency, unit="", adds_up="", cost="f + b", signed=False,
        class_specific=True, compares=False, source="Simonyan et al. 2014 (captum)",
    ),
    Method(
        name="attention x gradient", function=attention_methods.attention_x_gradient, unit="target", adds_up="",
        cost="f + b", signed=True, class_specific=True, compares=False,
        source="Michel et al. 2019, eq. 2, per key token", note="first order, through attention alone",
    ),
    Method(
        name="gradient-weighted relevance", function=attention_methods.gradient_weighted_relevance, unit="",
        adds_up="", cost="f + b", signed=False, class_specific=True, compares=False,
        source="Chefer et al. 2021b, eq. 5-10", note="only what speaks for the target",
    ),
    Method(
        name="AttnLRP", function=lrp.attn_lrp, unit="target", adds_up="", cost="2 f + b", signed=True,
        class_specific=True, compares=False,
        source="Achtibat et al. 2024, eq. 8 and 9, propositions 3.1 to 3.4",
        note="on request only; its authors call LRP patented, free for personal and scientific use only", on_request=True,
    ),
    Method(
        name="value zeroing", function=value_zeroing.value_zeroing, unit="", adds_up="", cost="(n + 2) f + b",
        signed=False, class_specific=False, compares=False, source="Mohebbi et al. 2023, section 3",
        note="no sign, no target", on_request=True,
    ),
    Method(
        name="value-weighted norms", function=value_norms.value_weighted_norms, unit="", adds_up="", cost="f + b",
        signed=False, class_specific=False, compares=False,
        source="Kobayashi et al. 2020, section 3, rolled out", note="no sign, no target",
    ),
    Method(
        name="attention flow", function=flow.attention_flow, unit="", adds_up="", cost="f + b, n maximum flows",
        signed=False, class_specific=False, compares=False, source="Abnar & Zuidema 2020, section 3",
        note="short rows only; a baseline", on_request=True,
    ),
    Method(
        name="attention rollout", function=attention_methods.attention_rollout, unit="", adds_up="", cost="f + b",
        signed=False, class_specific=False, compares=False, source="Abnar & Zuidema 2020, section 3",
        note="no explanation, a baseline: hardly better than chance in our measurements",
    ),
    Method(
        name="raw attention", function=attention_methods.raw_attention, unit="", adds_up="", cost="f + b",
        signed=False, class_specific=False, compares=False, source="the last layer's map, mean over heads",
        note="no explanation, a baseline: hardly better than chance in our measurements",
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
    empty = [name for name, tokens in zip(rows.ids, subject.names(rows), strict=True) if not tokens]
    if empty:
        raise DataError(
            f"{len(empty)} rows have no token to attribute to; first rows: {first(empty)}. Leave them out."
        )
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
