"""Statistics of attention maps, computed block by block: no map is ever held whole."""

import importlib.util
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..errors import UsageError, did_you_mean
from ..records import Floats
from .calls import Call
from .positions import Positions
from .torch_reductions import ROWS, Reduced, by_torch

Engine = Literal["auto", "torch", "numba", "triton"]
ENGINES: tuple[Engine, ...] = ("auto", "torch", "numba", "triton")
BY_POSITION = ("distance", "itself", "previous", "following")  # undefined in cross-attention

SMALL = 2**16  # pairs (example, head, query, key) below which loading the compiled kernel is not worth it


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Statistics:
    """What the rows and columns of a call's maps say, per head; queries that are padding are NaN.

    Positions: query i of self-attention stands at key position i, moved by the causal offset of a causal call
    and, where there are more keys than queries (a cache, a prefix), so that the last query stands at the last
    key it may attend to. In cross-attention queries and keys share no positions: `distance`, `itself`,
    `previous` and `following` are NaN. A key that does not exist or may not be attended to has share 0.

    With sinks the weights of a row sum to `mass` < 1: shares and entropy are of the weights as they are,
    `distance` of the weights divided by their sum.
    """

    layer: str
    kind: str
    valid: Bool[np.ndarray, "example query"]  # no padding, as far as the mask tells
    n_allowed: Int[np.ndarray, "example head query"]  # keys that the query may attend to
    entropy: Float[np.ndarray, "example head query"]  # -sum w ln w, in nats, 0 to ln(n_allowed)
    peak: Float[np.ndarray, "example head query"]  # the largest weight, in [0, 1]
    distance: Float[np.ndarray, "example head query"]  # mean |query position - key position|, in keys
    first: Float[np.ndarray, "example head query"]  # share on the first key that is no padding
    itself: Float[np.ndarray, "example head query"]  # ... on the query's own position
    previous: Float[np.ndarray, "example head query"]  # ... on the position before
    following: Float[np.ndarray, "example head query"]  # ... on the position after
    received: Float[np.ndarray, "example head key"]  # mean of the column over valid queries
    shares: Mapping[str, Float[np.ndarray, "example head query"]]  # class of keys -> share on its keys
    class_sizes: Mapping[
        str, Float[np.ndarray, " example"]
    ]  # class -> its part of the keys that are no padding
    mass: Float[
        np.ndarray, "example head query"
    ]  # sum of the row; 0 where nothing may be attended to, never NaN
    top: tuple[Int[np.ndarray, "example head query k"], Float[np.ndarray, "example head query k"]] | None
    engine: str  # "torch", "numba" or "triton": what computed it

    @property
    def n_examples(self) -> int:
        """Examples in the call."""
        return int(self.entropy.shape[0])

    @property
    def n_heads(self) -> int:
        """Query heads."""
        return int(self.entropy.shape[1])

    @property
    def n_queries(self) -> int:
        """Query positions, padding included."""
        return int(self.entropy.shape[2])

    @property
    def n_keys(self) -> int:
        """Key positions, padding included."""
        return int(self.received.shape[2])

    @property
    def n_valid(self) -> Int[np.ndarray, " example"]:
        """Queries of each example that are no padding."""
        return np.asarray(self.valid.sum(axis=1))

    def __repr__(self) -> str:
        return (
            f"Statistics({self.layer}, {self.kind}: {self.n_examples} examples, {self.n_heads} heads, "
            f"{int(self.valid.sum())} of {self.valid.size} queries no padding, {self.n_keys} keys, "
            f"by {self.engine})"
        )


def reduce(
    call: Call,
    *,
    classes: Mapping[str, np.ndarray] | None = None,
    top: int = 0,
    engine: str = "auto",
    max_memory: int | None = None,
) -> Statistics:
    """The statistics of every map of a call, exact, in memory that grows with the length and not its square.

    Args:
        call: as the tap kept it.
        classes: named sets of keys, (example, key) booleans each; the share of attention on each is counted.
        top: how many of the largest weights of each row to keep, with their keys: largest first; where fewer
            keys have weight the rest is -1 and 0. Which of equal weights come first is not promised.
        engine: "torch" runs on every device and call; "numba" is one compiled pass over float32 calls on the CPU
            (the `fast` extra); "auto" takes the second where it can, since they agree to float32 rounding. "triton" is
            two passes of a GPU kernel over calls on CUDA devices, without `top`; it is taken where it is asked for.
        max_memory: bytes of working memory beside what is returned; None lets blocks be as large as they are fast.

    Raises:
        UsageError: a class of another shape or type, an impossible `top`, `max_memory` or engine, or
            `engine="numba"` or `"triton"` where the package is missing or the call is not one it can do.
    """
    named = classes or {}
    for name, chosen in named.items():
        if chosen.dtype != bool or chosen.shape != (call.n_examples, call.n_keys):
            raise UsageError(
                f"{call.layer}: class {name!r} is {chosen.dtype} {chosen.shape}; expected one boolean per example "
                f"and key, {(call.n_examples, call.n_keys)}."
            )
    if top < 0:
        raise UsageError(f"top is {top}; expected 0 (none) or the number of keys to keep per query.")
    if engine not in ENGINES:
        raise UsageError(f"no engine is named {engine!r}; {did_you_mean(engine, ENGINES)}")
    members = torch.zeros(call.n_examples, len(named), call.n_keys, device=call.device)
    for i, chosen in enumerate(named.values()):
        members[:, i] = torch.from_numpy(np.ascontiguousarray(chosen))
    obstacle = _obstacle(call, engine, top)
    if engine in ("numba", "triton") and obstacle is not None:
        raise UsageError(
            f"{call.layer}: engine={engine!r} cannot be used: {obstacle}. Use engine='torch' or 'auto'."
        )
    n_pairs = call.n_examples * call.n_heads * call.n_queries * call.n_keys
    positions = Positions.of(call)
    if engine == "numba" or (engine == "auto" and obstacle is None and n_pairs >= SMALL):
        from .kernel_calls import by_numba  # numba is an extra, and loading it takes a while

        found = by_numba(call, positions, members, top=top, max_memory=max_memory)
        return _statistics(call, positions, tuple(named), members, found, "numba")
    if engine == "triton":
        from .triton_calls import by_triton  # so is Triton

        return _statistics(
            call, positions, tuple(named), members, by_triton(call, positions, members), "triton"
        )
    found = by_torch(call, positions, members, top=top, max_memory=max_memory)
    return _statistics(call, positions, tuple(named), members, found, "torch")


def _obstacle(call: Call, engine: str, top: int) -> str | None:
    """Why this engine's pass, the compiled one of "auto", cannot take this call; None where it can."""
    if engine == "torch":
        return None
    if engine == "triton":
        from .triton_calls import obstacle

        return "it keeps no largest weights (top)" if top else obstacle(call)
    if importlib.util.find_spec("numba") is None:
        return "numba is not installed (pip install 'clinometer[fast]')"
    if call.given is not None:
        return "the model handed out its map, so that there are no queries and keys"
    if call.device.type != "cpu":
        return f"the call was kept on {call.device}, and it runs on the CPU"
    if call.compute_dtype != torch.float32:
        return "the call is computed in float64, and it computes in float32"
    extras = [extra for extra in (call.mask, call.position_bias) if extra is not None]
    if any(extra.dtype not in (torch.bool, torch.float32) for extra in extras):
        return "a mask or position bias is neither boolean nor float32"
    if sum(extra.dtype == torch.float32 for extra in extras) == 2:
        return "mask and position bias are both additive"
    if call.sinks is not None and not bool(call.sinks.isfinite().all()):
        return "a sink is not finite"
    # A sum is finite only where every term is; it is eight times as fast as asking each.
    if any(not math.isfinite(float(part.sum())) and not bool(part.isfinite().all()) for part in call.pair):
        return "queries or keys are not finite"
    return None


def _statistics(
    call: Call,
    positions: Positions,
    classes: tuple[str, ...],
    members: Float[Tensor, "example class key"],
    found: Reduced,
    engine: str,
) -> Statistics:
    """Name the numbers, and mark queries that are padding."""
    valid = positions.valid.cpu().numpy()
    n_valid = valid.sum(axis=1)
    rows = dict(zip(ROWS, found.rows.cpu().numpy(), strict=True))
    shares = dict(zip(classes, found.shares.cpu().numpy(), strict=True))
    weights = found.top_weights.cpu().numpy()
    keys = found.top_keys.cpu().numpy()
    if not valid.all():
        padding = np.broadcast_to(~valid[:, None, :], rows["mass"].shape)
        for values in (*(rows[name] for name in ROWS if name != "mass"), *shares.values(), weights):
            values[padding] = np.nan
        keys[padding] = -1
    if call.kind == "cross":
        for name in BY_POSITION:
            rows[name][:] = np.nan
    received: Floats = found.received.cpu().numpy() / np.maximum(n_valid, 1)[:, None, None]
    seen = positions.seen[:, None, :]
    sizes = (members * seen).sum(dim=2) / seen.sum(dim=2).clamp(min=1)
    return Statistics(
        layer=call.layer,
        kind=call.kind,
        valid=valid,
        n_allowed=positions.n_allowed.cpu().numpy(),
        received=received,
        shares=shares,
        class_sizes=dict(zip(classes, sizes.T.cpu().numpy(), strict=True)),
        top=(keys, weights) if keys.shape[3] else None,
        engine=engine,
        **rows,
    )
