"""Every way to see attention that is compared, each on the same weights and the same example."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clinometer.interpret.capture import trace
from clinometer.interpret.reductions import reduce

from . import peers
from .settings import HEADS, WIDTH, Inputs, Setting, eager_twin

Run = Callable[[Inputs], Any]
PLAIN = "plain"
JSON_BYTES = (
    230  # per weight, found at 25 million: a float in a list, its digits and their copies in the page
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to see attention."""

    name: str
    prepare: Callable[[Setting, Any], Run]  # imports and builds; neither is measured
    estimate: Callable[[Setting], int]  # bytes it holds at once beside the model, about
    received: Callable[[Any], list[Any]] | None = (
        None  # attention received by each key, per layer, to compare
    )
    needs: str | None = None  # the package without which there is no such way
    only_on: str | None = None  # the kind of device without which there is no such way
    peer: bool = False

    def missing(self, device: str) -> str | None:
        """Why it cannot run on this device; None where it can."""
        if self.only_on is not None and not device.startswith(self.only_on):
            return f"it runs on {self.only_on} alone"
        if self.needs is not None and importlib.util.find_spec(self.needs) is None:
            return f"{self.needs} is not installed"
        return None


def _plain(_: Setting, plain: Any) -> Run:
    return lambda given: plain(**given.named).logits


def _capture(certify: Any) -> Callable[[Setting, Any], Run]:
    def prepare(_: Setting, plain: Any) -> Run:
        return lambda given: trace(
            lambda: plain(**given.named).logits, plain, keep_values=False, certify=certify
        )

    return prepare


def _statistics(engine: str, top: int = 0) -> Callable[[Setting, Any], Run]:
    """Every statistic of every layer with two classes of tokens, each call reduced as it is seen.

    The compiled engine runs on processors; on other devices "auto" takes the fastest that there is.
    """

    def prepare(setting: Setting, plain: Any) -> Run:
        chosen: Any = "auto" if engine == "numba" and setting.device != "cpu" else engine

        def run(given: Inputs) -> Any:
            places = np.arange(given.tokens.shape[1])[None, :]
            classes = {"separator": places % 50 == 49, "rare": places % 7 == 3}
            reducer = partial(reduce, classes=classes, engine=chosen, top=top)
            seen = trace(lambda: plain(**given.named).logits, plain, reducer=reducer, certify=None)
            return seen.statistics()

        return run

    return prepare


def _eager(_: Setting, plain: Any) -> Run:
    eager = eager_twin(plain)
    return lambda given: eager(**given.named, output_attentions=True).attentions


def _of_maps(maps: Any) -> list[Tensor]:
    return [of_layer.double().mean(dim=2).cpu() for of_layer in maps]


def _captured_bytes(setting: Setting) -> int:
    return setting.forward_bytes + setting.layers * 2 * setting.length * WIDTH * setting.item_bytes


def _statistics_bytes(setting: Setting) -> int:
    rows = setting.layers * HEADS * setting.length * 4
    return _captured_bytes(setting) + 40 * rows + 2**28


def _maps_bytes(setting: Setting) -> int:
    return setting.forward_bytes + (setting.layers + 2) * setting.map_bytes


def _page_bytes(setting: Setting) -> int:
    weights = setting.layers * HEADS * setting.length**2
    return setting.forward_bytes + 2 * setting.layers * setting.map_bytes + weights * JSON_BYTES


def _of_statistics(found: Any) -> list[Any]:
    return [statistics.received for statistics in found]


WAYS = {
    PLAIN: Way(name="plain forward", prepare=_plain, estimate=lambda s: s.forward_bytes),
    "again": Way(name="plain forward again (control)", prepare=_plain, estimate=lambda s: s.forward_bytes),
    "capture": Way(
        name="capture (q and k kept)",
        prepare=_capture(None),
        estimate=_captured_bytes,
        received=lambda seen: [seen.received(layer) for layer in seen.layers],
    ),
    "certified": Way(
        name="capture with sampled certificate",
        prepare=_capture("sampled"),
        estimate=_captured_bytes,
        received=lambda seen: [seen.received(layer) for layer in seen.layers],
    ),
    "statistics": Way(
        name="all statistics but top-k",
        prepare=_statistics("numba"),
        estimate=_statistics_bytes,
        received=_of_statistics,
        needs="numba",
    ),
    "top": Way(
        name="all statistics and top-8",
        prepare=_statistics("numba", top=8),
        estimate=_statistics_bytes,
        received=_of_statistics,
        needs="numba",
    ),
    "torch": Way(
        name="all statistics but top-k, pure torch",
        prepare=_statistics("torch"),
        estimate=_statistics_bytes,
        received=_of_statistics,
    ),
    "triton": Way(
        name="all statistics but top-k, Triton (CUDA)",
        prepare=_statistics("triton"),
        estimate=_statistics_bytes,
        received=_of_statistics,
        needs="triton",
        only_on="cuda",
    ),
    "eager": Way(
        name="eager, output_attentions", prepare=_eager, estimate=_maps_bytes, received=_of_maps
    ),
    "bertviz": Way(
        name="BertViz, head_view not shown",
        prepare=peers.bertviz,
        estimate=_page_bytes,
        needs="bertviz",
        peer=True,
    ),
    "transformer_lens": Way(
        name="TransformerLens, cached patterns",
        prepare=peers.transformer_lens,
        estimate=_maps_bytes,
        received=_of_maps,
        needs="transformer_lens",
        peer=True,
    ),
    "nnsight": Way(
        name="nnsight, saved weights",
        prepare=peers.nnsight,
        estimate=_maps_bytes,
        received=_of_maps,
        needs="nnsight",
        peer=True,
    ),
}  # fmt: skip


def disagreement(one: list[Any], other: list[Any], mask: Tensor) -> float:
    """The largest difference of two accounts of attention received, over keys that are no padding."""
    counted = mask[0].bool().cpu()
    if len(one) != len(other):
        return float("inf")
    return max(
        float((torch.as_tensor(a).double() - torch.as_tensor(b).double())[..., counted].abs().max())
        for a, b in zip(one, other, strict=True)
    )
