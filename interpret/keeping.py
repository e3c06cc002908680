"""What a trace keeps of each call: in which number type, on which device, and which parts."""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from ..errors import CaptureError, UsageError, did_you_mean, first
from .calls import Call

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
NUMBERS = ("query", "key", "value", "output", "given")  # cast; whether they were written over is watched
BORROWED = ("mask", "position_bias", "sinks")  # shared by calls, never cast

UNITS = {"": 1, "b": 1} | {
    f"{prefix}{unit}": base ** (power + 1)
    for base, unit in ((1000, "b"), (1024, "ib"))
    for power, prefix in enumerate("kmgt")
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """What is kept of a call: in which number type, where, and which parts.

    The certificate's tolerance follows the coarsest number type kept (`Call.tolerance`).

    Raises:
        UsageError: a number type that is none of float64, float32, bfloat16 and float16.
    """

    dtype: torch.dtype | None = None  # parts that take more bytes per number are cast; masks never
    device: str | torch.device | None = None  # where to; from CUDA to pinned memory, without waiting
    values: bool = True  # for `contribution`, relevance and the exact certificate
    outputs: bool = True  # for `head_contribution` and the exact certificate
    maps: Literal["given", "full"] = "given"  # full: the map in place of queries, keys and mask

    def __post_init__(self) -> None:
        if self.dtype is not None and self.dtype not in DTYPES:
            names = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
            raise UsageError(f"calls cannot be kept as {self.dtype}; expected one of {names}.")
        if self.maps not in ("given", "full"):
            raise UsageError(f"maps is {self.maps!r}; {did_you_mean(str(self.maps), ('given', 'full'))}")


class Keeper:
    """A listener for `tap` that keeps of each call what `keep` says, or only what `reduce` makes of it.

    Call `finish` at the end: copies from CUDA are under way until then.
    """

    def __init__(
        self,
        keep: Keep | None = None,
        *,
        reduce: Callable[[Call], Any] | None = None,
        max_memory: int | str | None = None,
    ) -> None:
        """
        Args:
            keep: None keeps no call, only statistics.
            reduce: what is computed of each call at once, before anything is cast or dropped.
            max_memory: a call beyond this is refused; nothing kept is thrown away to make room for it.

        Raises:
            UsageError: nothing would be kept.
        """
        if keep is None and reduce is None:
            raise UsageError(
                "neither calls nor statistics would be kept; give keep=Keep(), reduce=, or both."
            )
        self.keep, self.reduce = keep, reduce
        self.max_memory = None if max_memory is None else memory(max_memory)
        self.statistics: list[Any] = []  # one for each call
        self.n_bytes = 0  # of what is kept of calls, each piece of memory counted once
        self._calls: list[Call] = []
        self._counted: set[tuple[torch.device, int]] = set()
        self._moved: dict[tuple[Any, ...], tuple[StorageWeakRef, Tensor]] = {}
        self._waiting: set[torch.device] = set()
        self._too_large: list[tuple[str, Tensor]] = []

    @torch.no_grad()
    def __call__(self, call: Call) -> None:
        """Take one call.

        Raises:
            CaptureError: it would take more than `max_memory`.
        """
        if self.reduce is not None:
            self.statistics.append(self.reduce(call))
        if self.keep is None:
            return
        if self.keep.maps == "full" and call.given is None:
            number = _map_dtype(call, self.keep.dtype).itemsize
            cells = call.n_examples * call.n_heads * call.n_queries * call.n_keys
            self._refuse_beyond(call, self.n_bytes + cells * number)
        kept = self._kept(call, self.keep)
        for name in (*NUMBERS, *BORROWED):
            part: Tensor | None = getattr(kept, name)
            if part is not None:
                storage = part.untyped_storage()
                place = (part.device, storage.data_ptr())
                self.n_bytes += 0 if place in self._counted else storage.nbytes()
                self._counted.add(place)
        self._refuse_beyond(call, self.n_bytes)
        self._calls.append(kept)

    def finish(self) -> tuple[Call, ...]:
        """The calls, once all copies have arrived; none where only statistics are kept.

        Raises:
            CaptureError: a number is too large for float16.
        """
        for device in self._waiting:
            torch.cuda.synchronize(device)
        self._waiting.clear()
        failed = [name for name, flag in self._too_large if bool(flag)]
        if failed:
            raise CaptureError(
                f"{first(failed)}: numbers beyond 65504 are infinite in float16. Keep them in bfloat16 or float32."
            )
        self._too_large.clear()
        return tuple(self._calls)

    def _refuse_beyond(self, call: Call, n_bytes: int) -> None:
        if self.max_memory is not None and n_bytes > self.max_memory:
            raise CaptureError(
                f"{call.layer}: with it {n_bytes} bytes ({size(n_bytes)}) would be kept after {len(self._calls)} "
                f"calls, max_memory is {size(self.max_memory)}. Give more, keep less (Keep(dtype=torch.bfloat16), "
                "values=False, outputs=False), trace fewer examples, or ask plan() with the shapes of all calls."
            )

    def _kept(self, call: Call, keep: Keep) -> Call:
        seen: dict[str, Tensor | None] = {name: getattr(call, name) for name in (*NUMBERS, *BORROWED)}
        parts = dict(seen)
        if not keep.values:
            parts["value"] = None
        if not keep.outputs:
            parts["output"] = None
        if keep.maps == "full" and call.given is None:
            parts["given"] = _whole_map(call, keep.dtype)
            parts |= {name: None for name in ("query", "key", *BORROWED)}
            if parts["value"] is not None:
                parts["value"] = call.repeated(parts["value"])  # a map has no key heads
        if keep.dtype is not None or keep.device is not None:
            for name in NUMBERS:
                part = parts[name]
                if part is not None:
                    parts[name] = self._moved_to(self._cast(f"{call.layer} ({name})", part, keep), keep)
            for name in BORROWED:
                part = parts[name]
                if part is not None:
                    parts[name] = self._borrowed(part, keep)
        if call.source is None:
            parts |= _freed(
                {name: part for name, part in parts.items() if name in NUMBERS and part is not None}
            )
        before = seen["query" if call.given is None else "given"], seen["key"], seen["value"], seen["output"]
        after = (
            parts["query" if parts["given"] is None else "given"],
            parts["key"],
            parts["value"],
            parts["output"],
        )
        watched = tuple(
            version if was is not None and now is not None and _same_memory(was, now) else None
            for was, now, version in zip(before, after, call.versions, strict=bool(call.versions))
        )
        changed: dict[str, Any] = {name: part for name, part in parts.items() if part is not seen[name]}
        watching = any(version is not None for version in watched)
        return dataclasses.replace(call, **changed, versions=watched if watching else ())

    def _cast(self, name: str, part: Tensor, keep: Keep) -> Tensor:
        if keep.dtype is None or part.element_size() <= keep.dtype.itemsize:
            return part
        cast = part.to(keep.dtype)
        if keep.dtype == torch.float16:
            self._too_large.append((name, (cast.isinf() & part.isfinite()).any()))
        return cast

    def _moved_to(self, part: Tensor, keep: Keep) -> Tensor:
        if keep.device is None:
            return part
        device = torch.device(keep.device)
        if part.device.type == device.type and device.index in (None, part.device.index):
            return part
        if part.device.type == "cuda" and device.type == "cpu":
            # The copy is queued on the stream that made the part, so that whatever reuses its memory comes later.
            pinned = torch.empty(part.shape, dtype=part.dtype, pin_memory=True)
            self._waiting.add(part.device)
            return pinned.copy_(part, non_blocking=True)
        return part.to(device)

    def _borrowed(self, part: Tensor, keep: Keep) -> Tensor:
        """A mask that many calls share is moved once (once for each call in inference mode)."""
        key = None if part.is_inference() else (*place_of(part), part._version)
        if key in self._moved and not self._moved[key][0].expired():  # type: ignore[no-untyped-call]
            return self._moved[key][1]
        narrow = part
        for axis, stride in enumerate(part.stride()):
            narrow = narrow.narrow(axis, 0, 1) if stride == 0 and part.shape[axis] > 1 else narrow
        moved = self._moved_to(narrow, keep)
        if moved is narrow:
            return part
        moved = moved.expand(part.shape)
        if key is not None:
            alive = StorageWeakRef(part.untyped_storage())  # type: ignore[no-untyped-call]
            self._moved[key] = (alive, moved)
        return moved


def _map_dtype(call: Call, dtype: torch.dtype | None) -> torch.dtype:
    computed = call.compute_dtype
    return dtype if dtype is not None and dtype.itemsize < computed.itemsize else computed


@torch.no_grad()
def _whole_map(call: Call, dtype: torch.dtype | None) -> Tensor:
    """All of a map. A key that may be attended to has a weight above zero, however small: see `Call.allowed`."""
    wanted = _map_dtype(call, dtype)
    shape = (call.n_examples, call.n_heads, call.n_queries, call.n_keys)
    whole = torch.empty(shape, dtype=wanted, device=call.device)
    least = 2.0**-24 if wanted == torch.float16 else torch.finfo(wanted).tiny
    for queries in call.blocks():
        block = call.weights(queries).to(wanted)
        whole[:, :, queries] = block.masked_fill_((block == 0) & call.allowed(queries), least)
    return whole


def _freed(parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of parts that would keep more memory alive than all parts of it together are worth."""
    worth: dict[int, int] = {}
    for part in parts.values():
        at = part.untyped_storage().data_ptr()
        worth[at] = worth.get(at, 0) + _own_bytes(part)
    return {
        name: part.clone()
        for name, part in parts.items()
        if part.untyped_storage().nbytes() > worth[part.untyped_storage().data_ptr()]
    }


def _own_bytes(part: Tensor) -> int:
    return math.prod(own_shape(part)) * part.element_size()


def own_shape(part: Tensor) -> tuple[int, ...]:
    """Its shape, with 1 where an axis only repeats."""
    return tuple(1 if stride == 0 else size_ for size_, stride in zip(part.shape, part.stride(), strict=True))


def place_of(part: Tensor) -> tuple[Any, ...]:
    """The same for two tensors that are the same numbers in the same memory, seen in the same way."""
    at = (part.device, part.untyped_storage().data_ptr(), part.storage_offset())
    return (*at, part.dtype, tuple(part.shape), part.stride())


def _same_memory(one: Tensor, other: Tensor) -> bool:
    return (
        one.device == other.device and one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
    )


def memory(said: int | str) -> int:
    """Bytes from a number or a text: "2 GB" is 2 * 1000**3, "2 GiB" 2 * 1024**3.

    Raises:
        UsageError: no positive size of memory.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", str(said).lower())
    n_bytes = int(float(found[1]) * UNITS[found[2]]) if found and found[2] in UNITS else 0
    if n_bytes <= 0:
        raise UsageError(f"max_memory is {said!r}; expected bytes, or a text such as '2 GB' or '512 MiB'.")
    return n_bytes


def size(n_bytes: int) -> str:
    """Bytes for people, in powers of 1000."""
    for power, unit in ((3, "GB"), (2, "MB"), (1, "kB")):
        value = n_bytes / 1000**power
        if value >= 1:
            return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"
    return f"{n_bytes} bytes"
