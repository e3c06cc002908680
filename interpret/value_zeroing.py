"""How far each position's output moves in a block when another position's value is taken away there."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..errors import CaptureError
from ..records import Attribution, Floats, Rows
from .batches import MAX_MEMORY, backing_off
from .calls import Call
from .interventions import parts_of
from .models import Subject
from .observer import Spot
from .reading import Found, Reading, read
from .tap import tap

UNSIGNED = (
    "no sign and no target: it measures that a token's value moved a position, not whether towards the target; in our "
    "measurements it ranked tokens poorly (rank correlation with Shapley values .30, integrated gradients .79)"
)


@dataclass(slots=True)
class _Run:
    """One run of a block: what it was given and gave, and the attention calls made in it."""

    module: nn.Module
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any = None
    calls: list[Call] = field(default_factory=list)


def value_zeroing(
    subject: Subject,
    rows: Rows,
    *,
    batch_size: int = 64,
    max_memory: int = MAX_MEMORY,
    seed: int = 0,
    progress: bool = False,
) -> Attribution:
    """How much the position the target is read from depends on each token's values, block by block, rolled out.

    In one block at a time, with all others as they were, C_ij = 1 - cos(y_i, y_i without v_j), where y is the block's
    output (feed-forward layer, residuals and norms included) and v_j the values of position j in all heads, set to
    zero after the value projection (Mohebbi et al. 2023, section 3). Rows of C are divided by their sums, and the
    blocks rolled out: the reading position's row of the product of all C, without a residual of its own, which is in
    y already; where several positions are read, the mean of their rows. A position that no value moves keeps what it
    has.

    The attention output without v_j is O_i - A_ij v_j, so that a block is run again from what it was given, its
    attention output changed, many j in one batch. Each block must first give what it gave before, unchanged. A block is
    the member of a list of modules in which the call is made, as for `interventions.intervene`; without such
    lists the part of the model.

    Args:
        batch_size: rows traced together; blocks are run again row by row, without padding.
        max_memory: bytes that one pass may keep; fewer tokens are taken away together accordingly.
        seed: not used; every method takes one.
        progress: show a bar.

    Returns:
        Scores (example, token), not negative, without a unit, float64, 0 beyond an example's last token; they sum to
        one together with what falls on the model's own first tokens. In float16 and bfloat16 effects below their
        rounding are noise. As many runs of each block as a row has tokens.

    Raises:
        CaptureError: a block that does not give the same again, or gives no vector per position; see also
            `attention_methods.attention_x_gradient`.
        ModelError: an encoder-decoder, for which this is not defined.
    """

    def compute(reading: Reading) -> Found:
        reading.one_stack("rolling out value zeroing")
        scores = np.zeros_like(reading.share)
        layers = [reading.trace.layers[place] for place in reading.own]
        at_once = max(1, max_memory * len(layers) // reading.kept)
        for i, n_tokens in enumerate(reading.n_tokens):
            n = len(subject.prefix) + n_tokens
            row: Floats = reading.share[i, :n]
            for mixing in reversed(mixings(subject, reading.rows.take([i]), layers, at_once)):
                row = row @ mixing[:n, :n]
            scores[i, :n] = row
        return Found(scores=scores, pooled=reading.pools)

    return read(
        "value zeroing",
        subject,
        rows,
        compute,
        batch_size=batch_size,
        max_memory=max_memory,
        progress=progress,
        notes=(UNSIGNED,),
    )


@torch.no_grad()
def mixings(
    subject: Subject, row: Rows, layers: Sequence[str], at_once: int = 64
) -> list[Float[np.ndarray, "position position"]]:
    """C of one row, each of its rows summing to one, for each of these attention calls.

    Args:
        row: one example.
        at_once: positions whose values are taken away in one batch.

    Raises:
        CaptureError: see `value_zeroing`.
    """
    made = {}
    for run in _runs(subject, row):
        wanted = [(place, call) for place, call in enumerate(run.calls) if call.layer in layers]
        if wanted:
            _same_again(run, _states(run.output, 1, run))
        for place, call in wanted:
            made[call.layer] = _mixing(run, place, call, at_once)
    return [made[layer] for layer in layers]


def _runs(subject: Subject, row: Rows) -> list[_Run]:
    """The runs of blocks in which attention calls are made, in order, with copies of what they were given and gave."""
    done: list[_Run] = []
    running: list[_Run] = []

    def enter(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            running.append(_Run(module, name, *_copied((args, kwargs))))

        return hook

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        run = running.pop()
        if run.calls:
            run.output = _copied(output)
            done.append(run)

    def note(call: Call) -> None:
        if not running:
            raise CaptureError(
                f"{call.layer}: this call is made in no part of {subject.name} that runs as a module: no block can be run "
                "again. Call modules by module(...), not module.forward(...)."
            )
        running[-1].calls.append(call)

    batch = subject.encode(row)
    blocks = {type(subject.module).__name__: subject.module, **parts_of(subject.module)}
    with ExitStack() as stack:
        for name, block in blocks.items():
            stack.callback(block.register_forward_pre_hook(enter(name), with_kwargs=True).remove)
            stack.callback(block.register_forward_hook(leave).remove)
        stack.enter_context(tap(subject.module, note))
        subject.forward(batch, None)
    return done


def _mixing(run: _Run, place: int, call: Call, at_once: int) -> Floats:
    """1 - cos(y_i, y_i without v_j) of one call, (position i, position j), rows divided by their sums."""
    n = call.n_keys
    weights = call.weights(slice(0, call.n_queries))[0]
    if call.value is None:
        raise CaptureError(
            f"{call.layer}: the values are not known ({call.way}), which are to be taken away."
        )
    value = call.repeated(call.value.to(weights.dtype))[0]

    def moved(together: int) -> Floats:
        found = np.zeros((n, n))
        for start in range(0, n, together):
            some = slice(start, min(start + together, n))
            # The first copy is left as it is, so that what is compared was computed in one batch.
            gone = torch.einsum("hqk,hkw->khqw", weights[:, :, some], value[:, some])
            without = _Without(place, call, torch.cat([torch.zeros_like(gone[:1]), gone]))
            with tap(run.module, editor=without):
                output = run.module(
                    *_repeated(run.args, len(gone) + 1), **_repeated(run.kwargs, len(gone) + 1)
                )
            states = torch.nn.functional.normalize(_states(output, len(gone) + 1, run).cpu().double(), dim=2)
            # 1 - cos = |u - u'|^2 / 2 of unit vectors, which is exactly zero where nothing moved.
            found[:, some] = (states[1:] - states[:1]).square().sum(dim=2).div(2).T.numpy()
        return found

    found = backing_off(moved, min(at_once, n), f"value zeroing in {run.name}")
    sums = found.sum(axis=1, keepdims=True)
    mixing: Floats = np.where(sums > 0, found / np.where(sums > 0, sums, 1.0), np.eye(n))
    return mixing


class _Without:
    """An editor that takes a tensor from the output of one attention call."""

    def __init__(self, place: int, call: Call, gone: Float[Tensor, "copy head query width"]) -> None:
        self.place, self.call, self.gone = place, call, gone

    def cut(self, spot: Spot) -> Bool[Tensor, "#example #head #query #key"] | None:
        """No pair is cut: the weights stay as they are."""
        return None

    def change(
        self, spot: Spot, output: Float[Tensor, "example head query width"]
    ) -> Float[Tensor, "example head query width"]:
        """The output without what one position's values give to it, another one in each copy.

        Raises:
            CaptureError: it is another call than the one the values are of.
        """
        if spot.index != self.place:
            return output
        known = self.call.output
        if (
            known is None
            or output.shape != self.gone.shape
            or not _close(output[:1], known, self.call.tolerance)
        ):
            raise CaptureError(
                f"{self.call.layer}: the attention call that comes at its place when its block is run again gives something "
                "else, so that no value can be taken away in it alone."
            )
        return output - self.gone.to(output.dtype)


def _same_again(run: _Run, before: Float[Tensor, "example position width"]) -> None:
    """Refuse a block that does not give from what it was given what it gave.

    Raises:
        CaptureError: it keeps something from run to run, or reads more than its arguments.
    """
    calls: list[Call] = []
    with tap(run.module, calls.append):
        output = run.module(*_repeated(run.args, 1), **_repeated(run.kwargs, 1))
    # Keys that a cache holds twice may leave the output as it was.
    grown = [(call.n_queries, call.n_keys) for call in calls] != [
        (call.n_queries, call.n_keys) for call in run.calls
    ]
    if grown or not _close(_states(output, 1, run), before, run.calls[0].tolerance):
        raise CaptureError(
            f"the block {run.name!r} gives something else when it is run again on what it was given, so that no value can "
            "be taken away in it alone. Likely causes: (a) a cache that grows with each run: call the model with "
            "use_cache=False; (b) it reads what others left in it, or draws random numbers."
        )


def _close(one: Tensor, other: Tensor, tolerance: float) -> bool:
    if one.shape != other.shape:
        return False
    one, other = one.cpu().double(), other.cpu().double()
    return float((one - other).norm()) <= tolerance * float(other.norm())


def _states(output: Any, n: int, run: _Run) -> Float[Tensor, "example position width"]:
    """The first tensor of what a block gave, one vector per example and position.

    Raises:
        CaptureError: it is no such tensor.
    """
    first = next((leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)), None)
    length = run.calls[0].n_queries
    if first is None or first.dim() != 3 or first.shape[0] != n or first.shape[1] != length:
        got = "no tensor" if first is None else str(tuple(first.shape))
        raise CaptureError(
            f"the block {run.name!r} gives {got}; ({n}, {length}, width) is expected, a vector for each position attended "
            "from, examples first. Value zeroing compares these: put each layer of the model into a module of its own, in a "
            "ModuleList, or use 'value-weighted norms'."
        )
    return first


def _repeated(given: Any, times: int) -> Any:
    """Arguments for so many copies of one example, copied, as a block may write on them."""

    def one(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        if leaf.dim() < 2 or leaf.shape[0] != 1:
            return leaf.clone()
        return leaf.repeat(times, *[1] * (leaf.dim() - 1))

    return pytree.tree_map(one, given)


def _copied(given: Any) -> Any:
    return pytree.tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, given)
