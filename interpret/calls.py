"""One attention call: what it was asked, and its map computed again from the queries and keys it had."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import CaptureError, first
from .float64 import in_float64

Kind = Literal["self", "cross"]
Way = Literal["interface", "sdpa", "multi-head", "by hand", "returned"]
Shaper = Callable[[Tensor], Tensor]

BLOCK_BYTES = 32 * 2**20  # the largest piece of a map that is held at once while it is reduced
CACHE_LINE = 64  # bytes
NEVER = -1e9  # an additive mask at or below this forbids the pair


def unchanged(output: Tensor) -> Tensor:
    """The output as it came: (example, head, query, width) already."""
    return output


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Call:
    """One call of attention, as seen by the tap. Tensors are detached, but for `source`.

    The map is softmax(cap(scale * q k^T) + position_bias + mask) over the keys the mask, the causal rule and
    the window allow, with one extra column per head where there are sinks. A model that takes the softmax
    itself, or returns its weights, has the map already: it is kept as `given`, and there is no query or key.
    """

    layer: str  # as in named_modules(); "name#2" for the second call of the same module
    kind: Kind
    way: Way
    query: Float[Tensor, "example head query width"] | None
    key: Float[Tensor, "example key_head key width"] | None
    value: Float[Tensor, "example key_head key value_width"] | None
    output: Float[Tensor, "example head query value_width"] | None
    scale: float
    given: Float[Tensor, "example head query key"] | None = field(default=None, repr=False)
    mask: Tensor | None = None  # 4-D, True = may attend, or additive
    position_bias: Tensor | None = None  # 4-D, additive
    causal: bool = False
    causal_offset: int = 0  # query i may see keys up to i + offset
    window: int | None = None  # ... and from i + offset - window + 1 on
    softcap: float | None = None
    sinks: Tensor | None = None  # (head,)
    rounded: torch.dtype | None = None  # the softmax was rounded to this number type, where it is coarser
    source: Tensor | None = field(default=None, repr=False)  # the very tensor the model went on with
    shaper: Shaper = field(default=unchanged, repr=False)  # source's layout -> (example, head, query, width)
    versions: tuple[int | None, ...] = field(default=(), repr=False)

    @property
    def n_examples(self) -> int:
        """Examples in the batch of this call."""
        return self._shaped.shape[0]

    @property
    def n_heads(self) -> int:
        """Query heads."""
        return self._shaped.shape[1]

    @property
    def n_queries(self) -> int:
        """Query positions, padding included."""
        return self._shaped.shape[2]

    @property
    def n_keys(self) -> int:
        """Key positions, padding included."""
        return self.given.shape[3] if self.given is not None else self.pair[1].shape[2]

    @property
    def n_key_heads(self) -> int:
        """Heads of keys and values (fewer than query heads with grouped queries)."""
        return self.given.shape[1] if self.given is not None else self.pair[1].shape[1]

    @property
    def can_gate(self) -> bool:
        """Whether heads of this call can be changed: not where the weights are only returned."""
        return self.way != "returned"

    @property
    def group_size(self) -> int:
        """Query heads that share one key head (1 without grouped queries)."""
        return self.n_heads // self.n_key_heads

    @property
    def pair(self) -> tuple[Tensor, Tensor]:
        """Query and key.

        Raises:
            CaptureError: the model takes its softmax itself, or returns weights, so that only the map is known.
        """
        if self.query is None or self.key is None:
            raise CaptureError(
                f"{self.layer}: attention was seen {self.way}, so that its map is known and its queries and keys are not."
            )
        return self.query, self.key

    @property
    def _shaped(self) -> Tensor:
        return self.given if self.given is not None else self.pair[0]

    @property
    def device(self) -> torch.device:
        """Where the call was kept."""
        return self._shaped.device

    @property
    def dtype(self) -> torch.dtype:
        """The number type the model attended in."""
        return self._shaped.dtype

    @property
    def compute_dtype(self) -> torch.dtype:
        """The precision maps are computed in: float64 for a float64 model, float32 for every other."""
        return torch.float64 if self.dtype == torch.float64 else torch.float32

    @property
    def tolerance(self) -> float:
        """The largest certificate accepted for the coarsest number type of this call."""
        parts = [self.given, self.query, self.key, self.value, self.output]
        kinds = [part.dtype for part in parts if part is not None]
        coarsest = max(torch.finfo(kind).eps for kind in (*kinds, self.rounded) if kind is not None)
        if coarsest <= torch.finfo(torch.float64).eps:
            return 1e-9
        return 1e-4 if coarsest <= torch.finfo(torch.float32).eps else 2e-2

    def repeated(self, keys: Tensor) -> Tensor:
        """Keys or values with one head per query head."""
        times = self.n_heads // keys.shape[1]
        return keys.repeat_interleave(times, dim=1) if times > 1 else keys

    def part(self, example: int, head: int) -> "Call":
        """The same call for one example and one head, without copying."""
        at, shared = slice(example, example + 1), head // self.group_size
        held = 0 if self.value is None else head * self.value.shape[1] // self.n_heads

        def cut(tensor: Tensor | None) -> Tensor | None:
            if tensor is None:
                return None
            tensor = tensor if tensor.shape[0] == 1 else tensor[at]
            return tensor if tensor.shape[1] == 1 else tensor[:, head : head + 1]

        return Call(
            layer=self.layer,
            kind=self.kind,
            way=self.way,
            query=None if self.query is None else self.query[at, head : head + 1],
            key=None if self.key is None else self.key[at, shared : shared + 1],
            given=cut(self.given),
            value=None if self.value is None else self.value[at, held : held + 1],
            output=None if self.output is None else self.output[at, head : head + 1],
            scale=self.scale,
            mask=cut(self.mask),
            position_bias=cut(self.position_bias),
            causal=self.causal,
            causal_offset=self.causal_offset,
            window=self.window,
            softcap=self.softcap,
            sinks=None if self.sinks is None else self.sinks[head : head + 1],
            rounded=self.rounded,
        )

    def blocks(self) -> Iterator[slice]:
        """Query ranges whose part of the map fits into BLOCK_BYTES."""
        size = 8 if self.compute_dtype == torch.float64 else 4
        step = max(1, BLOCK_BYTES // max(1, self.n_examples * self.n_heads * self.n_keys * size))
        for start in range(0, self.n_queries, step):
            yield slice(start, min(start + step, self.n_queries))

    def allowed(self, queries: slice | Tensor) -> Bool[Tensor, "#example #head query key"]:
        """Which keys each query may attend to; of a given map, the keys that got any weight."""
        if self.given is not None:
            return self.given[:, :, queries] > 0
        rows = _places(queries, self.device)[:, None]
        columns = torch.arange(self.n_keys, device=self.device)[None, :]
        last = rows + self.causal_offset
        open_ = torch.ones_like(last * columns, dtype=torch.bool)
        if self.causal:
            open_ = open_ & (columns <= last)
        if self.window is not None:
            open_ = open_ & (columns > last - self.window)
            if not self.causal:
                open_ = open_ & (columns < last + self.window)
        result = open_[None, None]
        for extra in (self.mask, self.position_bias):
            if extra is not None:
                result = result & may_attend(_rows(extra, queries))
        return result

    @torch.no_grad()
    def weights(self, queries: slice | Tensor) -> Float[Tensor, "example head query key"]:
        """The map for a range of queries, or for chosen ones: rows sum to one; rows that may attend to nothing are zero."""
        if self.given is not None:
            return self.given[:, :, queries].to(self.compute_dtype)
        query, key = self.pair
        with torch.autocast(self.device.type, enabled=False):
            q = _settled(query[:, :, queries].to(self.compute_dtype))
            k = self.repeated(_settled(key.to(self.compute_dtype)))
            scores = torch.matmul(q, k.transpose(2, 3)).mul_(self.scale)
            if self.softcap is not None:
                scores = scores.div_(self.softcap).tanh_().mul_(self.softcap)
            for extra in (self.position_bias, self.mask):
                if extra is not None and extra.is_floating_point():
                    scores = scores + _rows(extra, queries).to(scores.dtype)
            scores = scores.masked_fill(~self.allowed(queries), -math.inf)
            if self.sinks is not None:
                column = self.sinks.to(scores.dtype).view(1, -1, 1, 1).expand(*scores.shape[:3], 1)
                return torch.cat([scores, column], dim=-1).softmax(dim=-1)[..., :-1]
            # A row that may attend to nothing has no softmax; torch's fused kernels return zero for it.
            return scores.softmax(dim=-1).masked_fill(scores.isneginf().all(dim=-1, keepdim=True), 0.0)

    def live(self, queries: slice | Tensor) -> Bool[Tensor, "#example #head query"]:
        """Queries that may attend to at least one key."""
        return self.allowed(queries).any(dim=-1).expand(self.n_examples, -1, -1)

    def valid(self) -> Bool[Tensor, "example query"]:
        """Queries that are no padding, as far as the mask tells.

        A query is left out where it may attend to nothing, and, in self-attention over one set of positions,
        where nobody may attend to it. A mask says nothing of padded queries in cross-attention: they count.
        """
        alive = torch.zeros(self.n_examples, self.n_queries, dtype=torch.bool, device=self.device)
        seen = torch.zeros(self.n_examples, self.n_keys, dtype=torch.bool, device=self.device)
        for queries in self.blocks():
            allowed = self.allowed(queries)
            alive[:, queries] = allowed.any(dim=-1).any(dim=1)
            seen |= allowed.any(dim=2).any(dim=1)
        same_positions = self.kind == "self" and self.n_queries == self.n_keys
        return alive & seen if same_positions else alive

    @torch.no_grad()
    def certificate(self, *, sample: int | None = None, seed: int = 0) -> float | None:
        """||A V - O|| / ||O|| over queries that may attend to something; None where no values were kept.

        Args:
            sample: so many queries, drawn with the seed, in place of all of them.
        """
        if self.value is None or self.output is None:
            return None
        wrong = size = 0.0
        value = self.repeated(self.value.to(self.compute_dtype))
        with torch.autocast(self.device.type, enabled=False):
            for queries in self.blocks() if sample is None else self._sampled(sample, seed):
                seen = self.output[:, :, queries].to(self.compute_dtype)
                live = self.live(queries)[..., None]
                again = torch.matmul(self.weights(queries), value)
                wrong += float(in_float64((again - seen).masked_fill(~live, 0.0)).square().sum())
                size += float(in_float64(seen.masked_fill(~live, 0.0)).square().sum())
        if size == 0.0:
            return 0.0 if wrong == 0.0 else math.inf
        return math.sqrt(wrong / size)

    def _sampled(self, sample: int, seed: int) -> Iterator[slice | Tensor]:
        if sample >= self.n_queries:
            yield from self.blocks()
            return
        drawn = torch.randperm(self.n_queries, generator=torch.Generator().manual_seed(seed))[:sample]
        yield drawn.sort().values.to(self.device)

    def changed_in_place(self) -> bool:
        """Whether the model has written over a tensor that was kept."""
        kept = (self._shaped, self.key, self.value, self.output)
        return bool(self.versions) and any(
            then is not None and part is not None and part._version != then
            for part, then in zip(kept, self.versions, strict=True)
        )


def not_reproduced(layers: Sequence[str], error: float, tolerance: float) -> CaptureError:
    """The refusal of calls whose maps are not what the model used."""
    return CaptureError(
        f"{first(layers)}: the attention map does not reproduce the layer's output: ||A V - O|| / ||O|| is "
        f"{error:.2g}, at most {tolerance:.0e} is expected. Either (a) the model changes attention in a way that is not "
        "understood (mask, bias, scale), or (b) its output is not finite. Maps of this layer would be wrong; load the "
        "model with attn_implementation='eager' and compare."
    )


def may_attend(mask: Tensor) -> Bool[Tensor, "..."]:
    """Where a mask, boolean or additive, lets a query attend."""
    if mask.dtype == torch.bool:
        return mask
    return mask > max(NEVER, torch.finfo(mask.dtype).min / 2)


def _places(queries: slice | Tensor, device: torch.device) -> Tensor:
    return torch.arange(queries.start, queries.stop, device=device) if isinstance(queries, slice) else queries


def _settled(tensor: Tensor) -> Tensor:
    """Dense and beginning at a full cache line: on some processors a product's last bits depend on where numbers lie."""
    dense = tensor.contiguous()
    return dense if dense.data_ptr() % CACHE_LINE == 0 else dense.clone()


def _rows(extra: Tensor, queries: slice | Tensor) -> Tensor:
    return extra if extra.shape[2] == 1 else extra[:, :, queries]
