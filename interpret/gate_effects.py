"""The derivative of every row's score by a gate on each head or feed-forward block, at 1 or along a path."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..errors import CaptureError, DataError, UsageError, did_you_mean, first
from ..records import Floats, Rows
from .attributions import allowed, rounding
from .batches import backing_off, bucketed, repeated
from .feed_forward import feed_forward_blocks, gated
from .float64 import in_float64
from .last_call import LastCall
from .mean_outputs import mean_outputs
from .models import Batch, Subject, check_finite
from .observer import Spot
from .quadrature import gauss, nested
from .tap import tap

TOWARD = ("zero", "mean")
LAST = ("first order", "exact")


class Unit(NamedTuple):
    """A head of an attention call, or a feed-forward block (head None)."""

    layer: str
    head: int | None

    def __str__(self) -> str:
        return self.layer if self.head is None else f"{self.layer} head {self.head}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UnitEffects:
    """Derivatives of each row's score by the gate of each unit: of any contrast, its own follows by weighting rows."""

    target: str
    unit: str
    toward: str  # what a gate of 0 means: "zero", or "mean", the head's mean output
    ids: tuple[str, ...]
    units: tuple[Unit, ...]
    value: Floats  # (row,) the score with all gates at 1
    gradient: Floats  # (row, unit) d score / d gate, with all gates at 1
    closing: Floats  # (row, unit) score with the unit closed less value: -gradient, or exact
    exact: npt.NDArray[np.bool_]  # (unit,) whether closing is exact: heads of the last call, where asked for
    closed: Floats | None  # (row,) the score with all gates at 0; None without integration
    integrated: (
        Floats | None
    )  # (row, unit) integral of d score / d gate, all gates going from 0 to 1 together
    n_nodes: npt.NDArray[np.int64]  # (row,) nodes of the integral; 0 without
    converged: npt.NDArray[np.bool_]  # (row,) whether the integrals add up to value - closed


def unit_effects(
    subject: Subject,
    rows: Rows,
    *,
    toward: str = "zero",
    last: str = "first order",
    integrated: bool = False,
    feed_forward: bool = False,
    batch_size: int = 32,
    nodes: int = 8,
    most_nodes: int = 129,
    progress: bool = False,
) -> UnitEffects:
    """The derivative of every row's score by every gate; rows of about one length run together.

    Args, Raises: as `screen`.
    """
    if not len(rows):
        raise DataError("there are no rows to screen.")
    if toward not in TOWARD:
        raise UsageError(f"toward is {toward!r}; {did_you_mean(toward, TOWARD)}")
    if last not in LAST:
        raise UsageError(f"last is {last!r}; {did_you_mean(last, LAST)}")
    if toward == "mean" and feed_forward:
        raise UsageError("feed-forward blocks are closed toward zero only: use toward='zero' with them.")
    if nodes < 2 or most_nodes < nodes:
        raise UsageError(f"{nodes} nodes, at most {most_nodes}: expected 2 or more, and at most no fewer.")
    lengths = [len(names) for names in subject.names(rows)]
    blocks = feed_forward_blocks(subject, subject.encode(rows.take([0]))) if feed_forward else ()
    means = mean_outputs(subject, rows, batch_size=batch_size) if toward == "mean" else {}
    gate = _Gated(subject, blocks, means, LastCall(subject) if last == "exact" else None)
    n = len(rows)
    parts: list[tuple[npt.NDArray[np.intp], _Found]] = []
    with tqdm(total=n, desc="screening", unit="row", disable=not progress) as bar:
        for index in bucketed(lengths, batch_size):
            batch = subject.encode(rows.take(index))
            parts.append((index, _batch(gate, batch, len(index), batch_size)))
            bar.update(len(index))
        value = _joined(n, parts, lambda one: one.value)
        check_finite(value, rows.ids, subject.name)
        gradient = _joined(n, parts, lambda one: one.gradient)
        check_finite(gradient.sum(axis=1), rows.ids, subject.name)
        exact = gate.exact()
        closing = -gradient
        if gate.last is not None:
            closing[:, exact] = _joined(n, parts, lambda one: one.alone) - value[:, None]
            check_finite(closing.sum(axis=1), rows.ids, f"{subject.name} with a head closed")
            gate.last = None  # what follows needs derivatives alone
        closed = path = None
        used, converged = np.zeros(n, dtype=np.int64), np.ones(n, dtype=np.bool_)
        if integrated:
            spread = float(np.std(value))
            closed, path = np.zeros(n), np.zeros_like(gradient)
            bar.reset(total=n)
            for index in bucketed(lengths, batch_size):
                batch = subject.encode(rows.take(index))
                with torch.no_grad():
                    closed[index] = gate.run(batch, len(index), 0.0)[0].cpu().double().numpy()
                tolerance = allowed(value[index], closed[index], spread) + rounding(value[index])
                change = value[index] - closed[index]
                found = _integrated(gate, batch, change, tolerance, nodes, most_nodes, batch_size)
                path[index], used[index] = found
                converged[index] = np.abs(change - found[0].sum(axis=1)) <= tolerance
                bar.update(len(index))
            check_finite(closed, rows.ids, f"{subject.name} with all gates at 0")
    return UnitEffects(
        target=subject.target,
        unit=subject.unit,
        toward=toward,
        ids=rows.ids,
        units=gate.units,
        value=value,
        gradient=gradient,
        closing=closing,
        exact=exact,
        closed=closed,
        integrated=path,
        n_nodes=used,
        converged=converged,
    )


class _Found(NamedTuple):
    value: Floats  # (row,)
    gradient: Floats  # (row, unit)
    alone: Floats  # (row, head) the score with this head of the last call closed; no head where not asked for


class _Gated:
    """Runs a subject with one gate per row and unit, all at the same place between closed and open."""

    def __init__(
        self, subject: Subject, blocks: tuple[str, ...], means: Mapping[str, Tensor], last: LastCall | None
    ) -> None:
        self.subject, self.blocks, self.means, self.last = subject, blocks, means, last
        self.units: tuple[Unit, ...] = ()
        self.gates: list[tuple[Unit, Tensor]] = []  # the layer, with head 0 for heads; (row, ..., head)
        self.at, self.n = 1.0, 0

    def cut(self, spot: Spot) -> None:
        """No pair is forbidden."""
        return

    def change(self, spot: Spot, output: Tensor) -> Tensor:
        """The output of each head times its gate; toward its mean, where one is known."""
        if self.last is not None:
            self.last.note(spot)
        if spot.n_examples % self.n:
            raise CaptureError(
                f"{spot.layer}: {self.n} rows became {spot.n_examples} examples of attention, which do not belong to one "
                "row each. Its heads cannot be screened."
            )
        gate = self._gate(Unit(spot.layer, 0), output, (spot.n_examples, spot.n_heads))[:, :, None, None]
        if not self.means:
            return output * gate
        mean = self.means[spot.layer].to(output)
        at = torch.arange(spot.n_queries, device=mean.device).clamp(max=mean.shape[1] - 1)
        middle = mean[:, at]
        return middle + gate * (output - middle)

    def block(self, name: str, output: Tensor) -> Tensor:
        """The output of a feed-forward block times its gate; tokens may come in rows or in one line."""
        if output.shape[0] % self.n:
            raise CaptureError(
                f"{name}: {self.n} rows became {output.shape[0]} in a feed-forward block, which do not belong to one row "
                "each. It cannot be screened: feed_forward=False."
            )
        gate = self._gate(Unit(name, None), output, (output.shape[0],))
        return output * gate.reshape(-1, *[1] * (output.dim() - 1))

    def _gate(self, unit: Unit, like: Tensor, shape: tuple[int, ...]) -> Tensor:
        gate = torch.full(shape, self.at, dtype=like.dtype, device=like.device)
        gate.requires_grad_(torch.is_grad_enabled())
        self.gates.append((unit, gate))
        return gate

    def run(self, batch: Batch, n: int, at: float) -> tuple[Tensor, list[tuple[Unit, Tensor]]]:
        """Scores (row,) and the gates they depend on."""
        self.at, self.n, self.gates = at, n, []
        module = self.subject.module
        with tap(module, editor=self), gated(module, self.blocks, self.block):
            target = self.subject.select(self.subject.forward(batch, None))
        found, self.gates = self.gates, []
        units = tuple(
            Unit(unit.layer, head)
            for unit, gate in found
            for head in (range(gate.shape[1]) if unit.head is not None else (None,))
        )
        if self.units and units != self.units:
            raise CaptureError(
                f"{self.subject.name} has {len(units)} units on some rows and {len(self.units)} on others: "
                f"{first(str(one) for one in set(units) ^ set(self.units))} differ. Screen rows that run the same layers."
            )
        self.units = units
        return target, found

    def gradients(self, batch: Batch, n: int, at: float) -> _Found:
        """Scores, their derivatives by the gates at `at`, and scores with each head of the last call closed."""
        with torch.enable_grad(), self.last.kept() if self.last is not None else nullcontext():
            target, gates = self.run(batch, n, at)
            found: tuple[Tensor | None, ...] = torch.autograd.grad(
                target.sum(), [gate for _, gate in gates], allow_unused=True
            )
        columns = [
            in_float64(torch.zeros_like(gate) if gradient is None else gradient).reshape(
                n, -1, *gate.shape[1:]
            )
            for (_, gate), gradient in zip(gates, found, strict=True)
        ]
        joined = torch.cat([part.sum(dim=1).reshape(n, -1).cpu() for part in columns], dim=1)
        value = target.detach().cpu().double().numpy()
        alone = np.zeros((n, 0)) if self.last is None else self.last.closed(batch, n, self.means)
        return _Found(value, joined.numpy(), alone)

    def exact(self) -> npt.NDArray[np.bool_]:
        """Which units are closed for certain: heads of the last call, in their order; (unit,)."""
        layer = None if self.last is None else self.last.layer
        return np.array([unit.layer == layer and unit.head is not None for unit in self.units])


def _batch(gate: _Gated, batch: Batch, n: int, at_once: int, at: float = 1.0) -> _Found:
    """`gradients` of a batch, in as many pieces as memory wants."""

    def run(together: int) -> _Found:
        made = []
        for start in range(0, n, together):
            some = np.arange(start, min(start + together, n))
            made.append(gate.gradients(batch if len(some) == n else repeated(batch, some), len(some), at))
        return _Found(*(np.concatenate(parts) for parts in zip(*made, strict=True)))

    return backing_off(run, at_once, "screening")


def _integrated(
    gate: _Gated, batch: Batch, change: Floats, tolerance: Floats, nodes: int, most_nodes: int, at_once: int
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """The integral of the derivatives over the gates, (row, unit), and the nodes each row was given.

    Gauss's rule first, Kronrod's for rows that do not add up yet, then anew with four times the nodes.
    """
    n = len(change)
    made, used = np.zeros((n, len(gate.units))), np.zeros(n, dtype=np.int64)
    left = np.arange(n)

    def gradients(which: npt.NDArray[np.intp], points: Floats) -> Floats:
        """(point, row, unit)"""
        some = batch if len(which) == n else repeated(batch, which)
        return np.stack([_batch(gate, some, len(which), at_once, float(at)).gradient for at in points])

    def settle(found: Floats) -> npt.NDArray[np.bool_]:
        """Keep what was found; which rows it is not enough for."""
        made[left] = found
        return np.asarray(np.abs(change[left] - found.sum(axis=1)) > tolerance[left])

    while True:
        points, weights = gauss(nodes)
        seen = gradients(left, points)
        used[left] += nodes
        todo = settle(np.tensordot(weights, seen, 1))
        left = left[todo]
        if not left.size or 2 * nodes + 1 > most_nodes:
            break
        rule = nested(nodes)
        kept = np.tensordot(rule.kept, seen[:, todo], 1)
        used[left] += nodes + 1
        left = left[settle(kept + np.tensordot(rule.added_weights, gradients(left, rule.added), 1))]
        nodes *= 4
        if not left.size or nodes > most_nodes:
            break
    return made, used


def _joined(
    n: int, parts: list[tuple[npt.NDArray[np.intp], _Found]], pick: Callable[[_Found], Floats]
) -> Floats:
    made = np.zeros((n, *pick(parts[0][1]).shape[1:]))
    for index, found in parts:
        made[index] = pick(found)
    return made
