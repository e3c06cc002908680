"""Who is running on this thread, and what was seen of its attention: the one event all ways in report to."""

import dataclasses
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..errors import CaptureError, first
from .calls import Call, Kind, Way, unchanged
from .frames import Frame, kind_of
from .returned import returned_weights

Listener = Callable[[Call], None]

ATTENTION_CLASS = re.compile(r"attention|attn", re.IGNORECASE)
ATTENTION_ITSELF = re.compile(r"(attention|attn)(v\d+)?$", re.IGNORECASE)
_local = threading.local()


@dataclass(frozen=True, slots=True)
class Layout:
    """From the layout of the tensor a model goes on with to (example, head, query, width), and back."""

    there: Callable[[Tensor], Tensor]
    back: Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """Where an attention call is being made."""

    layer: str
    index: int  # the call's place in the run, from 0
    kind: Kind
    n_examples: int
    n_heads: int
    n_queries: int
    n_keys: int
    device: torch.device


@runtime_checkable
class Editor(Protocol):
    """Changes what a model does at its attention calls."""

    def cut(self, spot: Spot) -> Bool[Tensor, "#example #head #query #key"] | None:
        """Pairs that may not attend, beyond those the model forbids."""

    def change(
        self, spot: Spot, output: Float[Tensor, "example head query width"]
    ) -> Float[Tensor, "example head query width"]:
        """The output the model goes on with; the one given where nothing changes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """What a model asked of one attention call. Tensors as the model has them, of two to four axes."""

    way: Way
    value: Tensor
    query: Tensor | None = None
    key: Tensor | None = None
    given: Tensor | None = None
    mask: Tensor | None = None
    scale: float = 1.0
    causal: bool = False
    causal_offset: int = 0
    window: int | None = None
    softcap: float | None = None
    sinks: Tensor | None = None
    position_bias: Tensor | None = None
    prove: str = ""  # arguments that are not known: the call is proved on the spot
    rounded: torch.dtype | None = None  # the number type of the softmax, where it may be coarser
    fixed_mask: bool = False  # the way in cannot be given another mask

    def without(self, cut: Tensor, where: str) -> "Asked":
        """The same call with more pairs forbidden; causality becomes a part of the mask.

        Raises:
            CaptureError: the kernel takes no such mask.
        """
        if self.query is None or self.key is None or self.fixed_mask or self.window is not None:
            raise CaptureError(
                f"{where}: no edge can be cut in this call, whose kernel takes no mask per query. Load the model with "
                "attn_implementation='sdpa'."
            )
        n_queries, n_keys = self.query.shape[-2], self.key.shape[-2]
        given = None if self.mask is None else _mask_axes(self.mask, self.query.dim() == 3)
        whole = torch.zeros(1, 1, n_queries, n_keys, dtype=torch.bool, device=cut.device) | cut
        whole = whole if given is None else whole | torch.zeros_like(given, dtype=torch.bool)
        shape = whole.shape
        forbidden = cut.expand(shape)
        if self.causal:
            rows = torch.arange(n_queries, device=cut.device)[:, None] + self.causal_offset
            forbidden = forbidden | (torch.arange(n_keys, device=cut.device) > rows)
        mask = None if given is None else given.expand(shape)
        if mask is None or mask.dtype == torch.bool:
            mask = ~forbidden if mask is None else mask & ~forbidden
        else:
            mask = mask.masked_fill(forbidden, torch.finfo(mask.dtype).min)
        return dataclasses.replace(
            self, mask=mask[:, 0] if self.query.dim() == 3 else mask, causal=False, causal_offset=0
        )


class Observer:
    """One open tap: its module, who is running in it, and what was seen."""

    def __init__(
        self,
        module: nn.Module,
        listener: Listener | None = None,
        *,
        editor: Editor | None = None,
        gradients: bool = False,
        refuse_unseen: bool = True,
    ) -> None:
        self.module, self.listener, self.editor, self.gradients = module, listener, editor, gradients
        self.refuse_unseen = refuse_unseen
        self.thread = threading.get_ident()
        self.parts = dict(module.named_modules())
        self.names = {
            id(part): name.replace("_orig_mod.", "").removesuffix("_orig_mod").strip(".")
            or type(part).__name__
            for name, part in self.parts.items()
        }
        self.stack: list[Frame] = []
        self.counts: dict[str, int] = {}
        self.n_seen = 0
        self.first = 0  # calls seen before this forward pass, where passes are counted apart
        self.unseen: list[str] = []  # modules that are attention by name, ran, and made no call that was seen
        self.by_hand: dict[int, str] = {}  # softmaxes taken by hand whose product was not found (yet)
        self.ran = False

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note that a module begins to run."""
        if threading.get_ident() == self.thread:
            if not self.stack:
                self._begin_run()
            self.ran = True
            self.stack.append(
                Frame(self.names[id(module)], module, args, kwargs, self.n_seen, len(self.unseen))
            )

    def _begin_run(self) -> None:
        """An editor means the calls of one forward pass: it counts them anew in each."""
        if self.editor is not None:
            self.counts, self.first = {}, self.n_seen

    def leave(self, module: nn.Module, args: Any, output: Any) -> None:
        """Note that a module has run; an attention module nobody saw may have returned its weights."""
        if threading.get_ident() != self.thread or not self.stack:
            return
        frame = self.stack[-1]
        if (
            output is not None  # None: its forward has raised
            and frame.n_seen == self.n_seen
            and frame.n_unseen == len(self.unseen)
            and ATTENTION_ITSELF.search(type(module).__name__)
            and self.listening
        ):
            with torch._C.DisableTorchFunction():
                self._returned(frame, output)
        self.stack.pop()

    def _returned(self, frame: Frame, output: Any) -> None:
        weights = returned_weights(frame, output)
        if weights is None:
            self.unseen.append(f"{frame.name} ({type(frame.module).__name__})")
            return
        if self.gradients or self.editor is not None:
            raise CaptureError(
                f"{frame.name}: this attention is known only by the weights it returns, so that it can be read and "
                "neither changed nor followed backward. Let it call "
                "torch.nn.functional.scaled_dot_product_attention."
            )
        spot = self.spot(
            frame.name, weights.shape[0], weights.shape[1], weights.shape[2], weights.shape[3], weights
        )
        self._count(frame.name)
        if self.listener is not None:
            self.listener(
                Call(
                    layer=spot.layer,
                    kind=spot.kind,
                    way="returned",
                    query=None,
                    key=None,
                    value=None,
                    output=None,
                    scale=1.0,
                    given=weights.detach(),
                )
            )

    @property
    def listening(self) -> bool:
        """False outside the model, inside a call seen already, and while a checkpoint is recomputed."""
        if not self.stack or vars(_local).get("muted", 0):
            return False
        recomputed = torch._C._current_graph_task_id() != -1
        if recomputed and self.editor is not None:
            raise CaptureError(
                f"{type(self.module).__name__}: attention is recomputed by gradient checkpointing, where a gate would be "
                "forgotten. Turn checkpointing off first."
            )
        return not recomputed

    @property
    def where(self) -> str:
        """The name of the module that is running."""
        return self.stack[-1].name

    def layer(self, where: str) -> str:
        """What the next call made in a module is called."""
        count = self.counts.get(where, 0) + 1
        return where if count == 1 else f"{where}#{count}"

    def _count(self, where: str) -> None:
        self.counts[where] = self.counts.get(where, 0) + 1
        self.n_seen += 1

    def spot(
        self, where: str, n_examples: int, n_heads: int, n_queries: int, n_keys: int, on: Tensor
    ) -> Spot:
        """Where the next call is made."""
        return Spot(
            layer=self.layer(where),
            index=self.n_seen - self.first,
            kind=kind_of(self.stack, n_queries, n_keys),
            n_examples=n_examples,
            n_heads=n_heads,
            n_queries=n_queries,
            n_keys=n_keys,
            device=on.device,
        )

    def report(self, where: str, spot: Spot, asked: Asked, source: Tensor, layout: Layout) -> None:
        """Hand one call to the listener, on four axes, with proof where an argument is not known."""
        self._count(where)
        if self.listener is None:
            return
        if self.gradients:
            if not torch.is_grad_enabled() or torch.is_inference_mode_enabled():
                raise CaptureError(
                    f"{where}: attention ran with gradients off, so that its gradient is unknown. Run the model without "
                    "torch.no_grad, inference_mode or reentrant checkpointing (use_reentrant=False)."
                )
            if not source.requires_grad:
                source.requires_grad_()
        out = layout.there(source).detach()
        value = four_axes(asked.value.detach())
        parts = [
            None if part is None else four_axes(part.detach())
            for part in (asked.query, asked.key, asked.given)
        ]
        n = max(part.shape[0] for part in (*parts, value) if part is not None)
        q, k, given = (None if part is None else part.expand(n, -1, -1, -1) for part in parts)
        value = value.expand(n, -1, -1, -1)
        if out.shape != (spot.n_examples, spot.n_heads, spot.n_queries, value.shape[3]):
            raise CaptureError(
                f"{where}: attention over {spot.n_queries} queries and {spot.n_keys} keys in {spot.n_heads} heads gave an "
                f"output of {tuple(out.shape)}; expected "
                f"{(spot.n_examples, spot.n_heads, spot.n_queries, value.shape[3])}. This call cannot be read as attention."
            )
        q, k, given = (None if part is None else _kept(part) for part in (q, k, given))
        value, out = _kept(value), _kept(out)
        mask = None if asked.mask is None else _mask_axes(asked.mask.detach(), asked.value.dim() == 3)
        if mask is not None and mask.shape[3] > 1:
            mask = mask[..., : spot.n_keys]
        call = Call(
            layer=spot.layer,
            kind=spot.kind,
            way=asked.way,
            query=q,
            key=k,
            value=value,
            output=out,
            given=given,
            scale=asked.scale,
            mask=mask,
            position_bias=None if asked.position_bias is None else asked.position_bias.detach(),
            causal=asked.causal,
            causal_offset=asked.causal_offset,
            window=asked.window,
            softcap=asked.softcap,
            sinks=None if asked.sinks is None else asked.sinks.detach(),
            rounded=asked.rounded,
            source=source if self.gradients else None,
            shaper=layout.there if self.gradients else unchanged,  # it may hold on to tensors
            versions=tuple(
                None if part is None or part.is_inference() else part._version
                for part in (given if given is not None else q, k, value, out)
            ),
        )
        if asked.prove and not (call.certificate() or 0.0) <= call.tolerance:
            raise CaptureError(
                f"{call.layer}: the attention function was given {asked.prove}, which changes attention in a way that this "
                "version cannot recompute. Load the model with attn_implementation='sdpa', or leave the argument out."
            )
        self.listener(call)

    def close(self) -> None:
        """Refuse what would otherwise be missing without a word."""
        name = type(self.module).__name__
        if self.by_hand:
            raise CaptureError(
                f"{name}: {first(dict.fromkeys(self.by_hand.values()))} compute(s) attention by hand in a way that cannot "
                "be followed: a softmax whose weights do not reach one product with the values whole (sliced, banded or "
                "mixed between heads). Let it call torch.nn.functional.scaled_dot_product_attention, or switch to full "
                "attention where the model offers it (BigBird: attention_type='original_full')."
            )
        if self.unseen and self.refuse_unseen:
            raise CaptureError(
                f"{name}: {first(dict.fromkeys(self.unseen))} ran and no attention call was seen in it. Either (a) it calls "
                "a kernel by name (flash-attn, xformers, flex_attention), (b) it runs compiled code or TorchScript, "
                "(c) it is attention by name only, or linear attention, which has no map. For (a) let it call "
                "torch.nn.functional.scaled_dot_product_attention; for (c) say so with unseen='list'."
            )
        if self.ran and not self.n_seen:
            raise CaptureError(
                f"{name} ran, but no attention call was seen. Either (a) it has no attention, (b) it calls a kernel by "
                "name (flash-attn, xformers) or a softmax of its own, (c) it runs compiled code, TorchScript or another "
                "thread. Call torch.nn.functional.scaled_dot_product_attention or torch.nn.MultiheadAttention in it, load "
                "a transformers model with attn_implementation='sdpa', and hand in the module as it was before compiling."
            )


def active() -> list[Observer]:
    """The taps open on this thread, outermost first."""
    if not hasattr(_local, "taps"):
        _local.taps = []
    taps: list[Observer] = _local.taps
    return taps


@contextmanager
def muted() -> Iterator[None]:
    """No tap of this thread listens in the body, which belongs to a call that is seen as a whole."""
    _local.muted = vars(_local).get("muted", 0) + 1
    try:
        yield
    finally:
        _local.muted -= 1


@dataclass(slots=True)
class Seen:
    """One attention call between its question and its answer."""

    asked: Asked  # with the edges cut that editors want cut
    places: list[tuple[Observer, str, Spot]] = field(default_factory=list)

    def finish(self, source: Tensor, layout: Layout) -> Tensor:
        """Report the output to every tap; return what the model goes on with.

        A trace sees what attention computed; a gate changes what the model goes on with.
        """
        with torch._C.DisableTorchFunction():
            for observer, where, spot in self.places:
                observer.report(where, spot, self.asked, source, layout)
            result = source
            for observer, _, spot in self.places:
                if observer.editor is not None:
                    before = layout.there(result)
                    after = observer.editor.change(spot, before)
                    result = result if after is before else layout.back(after)
            return result


def begin(asked: Asked, places: Sequence[tuple[Observer, str]]) -> Seen:
    """Announce an attention call to the taps that listen, each with the name of the module it is made in.

    Raises:
        CaptureError: the tensors are not those of one attention call, or an edge cannot be cut here.
    """
    with torch._C.DisableTorchFunction():
        n_examples, n_heads, n_queries, n_keys = _sizes(asked, places[0][1])
        seen = Seen(asked)
        for observer, where in places:
            spot = observer.spot(where, n_examples, n_heads, n_queries, n_keys, asked.value)
            seen.places.append((observer, where, spot))
            if observer.editor is not None and asked.given is None:
                cut = observer.editor.cut(spot)
                if cut is not None:
                    seen.asked = seen.asked.without(cut, where)
        return seen


def _sizes(asked: Asked, where: str) -> tuple[int, int, int, int]:
    if asked.given is not None:
        n_examples, n_heads, n_queries, n_keys = four_axes(asked.given).shape
        return n_examples, n_heads, n_queries, n_keys
    query, key, value = asked.query, asked.key, asked.value
    if query is None or key is None:
        raise CaptureError(f"{where}: an attention call has neither queries and keys nor a map.")
    n_axes = query.dim()
    if n_axes not in (2, 3, 4) or key.dim() != n_axes or value.dim() != n_axes:
        raise CaptureError(
            f"{where}: queries, keys and values have {query.dim()}, {key.dim()} and {value.dim()} axes; expected "
            "(example, head, position, width). Flatten further axes into the first one."
        )
    q, k, v = four_axes(query), four_axes(key), four_axes(value)
    if q.shape[1] % k.shape[1] or k.shape[2] != v.shape[2] or k.shape[1] % v.shape[1]:
        raise CaptureError(
            f"{where}: queries {tuple(q.shape)}, keys {tuple(k.shape)} and values {tuple(v.shape)} do not belong "
            "together; expected (example, head, position, width), with heads of the keys dividing those of the queries."
        )
    return max(q.shape[0], k.shape[0], v.shape[0]), q.shape[1], q.shape[2], k.shape[2]


def four_axes(tensor: Tensor) -> Tensor:
    """(example, head, position, width) from a tensor with no head axis, or neither head nor example."""
    return tensor if tensor.dim() == 4 else tensor[:, None] if tensor.dim() == 3 else tensor[None, None]


def _mask_axes(mask: Tensor, example_first: bool) -> Tensor:
    mask = mask[:, None] if example_first and mask.dim() == 3 else mask
    return mask[(None,) * (4 - mask.dim())]


def _kept(tensor: Tensor) -> Tensor:
    """The tensor itself; a copy where torch would not tell that it was written over."""
    return tensor.clone() if tensor.is_inference() else tensor


def dropout_error(where: str, rate: float) -> CaptureError:
    """The refusal of attention with dropout on."""
    return CaptureError(
        f"{where}: attention dropout is on (rate {rate:g}), so that a map would differ from run to run and from the "
        "output. Call .eval() on the model first."
    )
