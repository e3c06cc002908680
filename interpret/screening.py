"""How much each head and feed-forward block is associated with a contrast: gradients of gates, from one pass."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..errors import CaptureError, DataError, UsageError, did_you_mean, first
from ..records import Contrast, Floats, Rows
from .attributions import allowed, rounding
from .batches import backing_off, bucketed, repeated
from .feed_forward import feed_forward_blocks, gated
from .mean_outputs import mean_outputs
from .models import Batch, Subject, check_finite
from .observer import Spot
from .quadrature import gauss, nested
from .tap import tap

TOWARD = ("zero", "mean")


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
    closed: Floats | None  # (row,) the score with all gates at 0; None without integration
    integrated: (
        Floats | None
    )  # (row, unit) integral of d score / d gate, all gates going from 0 to 1 together
    n_nodes: npt.NDArray[np.int64]  # (row,) nodes of the integral; 0 without
    converged: npt.NDArray[np.bool_]  # (row,) whether the integrals add up to value - closed


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitShare:
    """What one unit is associated with in a contrast, first order and along the path of its gates."""

    unit: Unit
    closing: float  # first-order change of the contrast when the unit is closed: -(d contrast / d gate)
    error: float  # its standard error over rows
    share: float | None  # of contrast(gates 1) - contrast(gates 0); None without integration


@dataclass(frozen=True, slots=True, kw_only=True)
class Screening:
    """All units' shares of one contrast. Shares add up to value - closed, but for the residual."""

    attribute: str
    group: str
    reference: str
    target: str
    unit: str
    toward: str
    ids: tuple[str, ...]  # rows that weigh something
    value: float  # the contrast
    closed: float | None  # ... with all gates at 0
    shares: tuple[UnitShare, ...]
    residual: float | None  # value - closed - sum of shares
    n_not_converged: int

    def ranked(self, *, heads_only: bool = True) -> tuple[UnitShare, ...]:
        """The units by the size of their first-order effect, largest first."""
        chosen = [one for one in self.shares if one.unit.head is not None or not heads_only]
        return tuple(sorted(chosen, key=lambda one: -abs(one.closing)))

    def of(self, layer: str, head: int | None) -> UnitShare:
        """The share of one unit.

        Raises:
            UsageError: it was not screened.
        """
        for one in self.shares:
            if one.unit == (layer, head):
                return one
        names = tuple(dict.fromkeys(one.unit.layer for one in self.shares))
        wrong = f"{layer!r} has no head {head}" if layer in names else did_you_mean(layer, names)
        raise UsageError(f"there is no unit ({layer!r}, {head}) in the screening: {wrong}")


def screen(
    subject: Subject,
    rows: Rows,
    contrast: Contrast,
    *,
    toward: str = "zero",
    integrated: bool = False,
    feed_forward: bool = False,
    batch_size: int = 32,
    nodes: int = 8,
    most_nodes: int = 129,
    progress: bool = False,
) -> Screening:
    """The share of every head in a contrast sum_i w_i f(x_i), from one forward and one backward pass over its rows.

    A head's output is out * gate. The derivative of the contrast by a gate at 1, with its sign turned, is the
    first-order effect of closing that head (Michel et al. 2019, eq. 5, here signed). The integral of the derivative
    while all gates go from 0 to 1 together adds up over units (Hao et al. 2021 apply the same to maps).

    Args:
        contrast: over the same rows, in the same order; rows of weight 0 are not run.
        toward: a gate of 0 closes a head ("zero"), or leaves it its mean output over these rows ("mean").
        integrated: also integrate over the gates, 8 nodes per row and more where needed.
        feed_forward: feed-forward blocks have gates too; toward "zero" only.
        nodes, most_nodes: of the integral, at first and at most.

    Raises:
        DataError: the contrast is of other rows, or weighs none.
        UsageError: an argument that is not known.
        CaptureError, ModelError: heads cannot be gated, or feed-forward blocks are not recognised.
    """
    check_contrast(rows, contrast)
    taken = rows.take(np.flatnonzero(contrast.weights))
    effects = unit_effects(
        subject,
        taken,
        toward=toward,
        integrated=integrated,
        feed_forward=feed_forward,
        batch_size=batch_size,
        nodes=nodes,
        most_nodes=most_nodes,
        progress=progress,
    )
    return screening_of(effects, contrast)


def check_contrast(rows: Rows, contrast: Contrast) -> None:
    """Refuse a contrast that is not of these rows, or weighs none of them."""
    weights = np.asarray(contrast.weights)
    if contrast.ids != rows.ids or weights.shape != (len(rows),):
        odd = [a for a, b in zip(rows.ids, contrast.ids, strict=False) if a != b]
        raise DataError(
            f"the contrast is of {len(contrast.ids)} rows with {weights.size} weights and {len(rows)} rows are given"
            + (f", in another order: {first(odd)} differ(s) first" if odd else "")
            + ". Make the contrast from the rows that are screened."
        )
    if not np.all(np.isfinite(weights)):
        raise DataError(
            f"weights are not finite in {first(rows.ids[i] for i in np.flatnonzero(~np.isfinite(weights)))}."
        )
    if not np.any(weights):
        raise DataError("every weight of the contrast is 0: it compares nothing.")


def screening_of(effects: UnitEffects, contrast: Contrast) -> Screening:
    """The screening of a contrast from derivatives that are known, without running the model again.

    Raises:
        DataError: a row that weighs something is not among those whose derivatives are known.
    """
    place = {name: i for i, name in enumerate(effects.ids)}
    weighed = [(name, w) for name, w in zip(contrast.ids, contrast.weights, strict=True) if w]
    absent = [name for name, _ in weighed if name not in place]
    if absent or not weighed:
        raise DataError(
            f"{len(absent)} rows of the contrast have no derivatives: {first(absent)}."
            if absent
            else "every weight of the contrast is 0: it compares nothing."
        )
    at = np.array([place[name] for name, _ in weighed])
    w = np.array([weight for _, weight in weighed])
    gradient = effects.gradient[at]
    change, error = -(w @ gradient), weighted_error(w, gradient)
    shares = None if effects.integrated is None else w @ effects.integrated[at]
    value = float(w @ effects.value[at])
    closed = None if effects.closed is None else float(w @ effects.closed[at])
    return Screening(
        attribute=contrast.attribute,
        group=contrast.group,
        reference=contrast.reference,
        target=effects.target,
        unit=effects.unit,
        toward=effects.toward,
        ids=tuple(name for name, _ in weighed),
        value=value,
        closed=closed,
        shares=tuple(
            UnitShare(
                unit=one,
                closing=float(change[i]),
                error=float(error[i]),
                share=None if shares is None else float(shares[i]),
            )
            for i, one in enumerate(effects.units)
        ),
        residual=None if shares is None or closed is None else value - closed - float(shares.sum()),
        n_not_converged=int(np.count_nonzero(~effects.converged[at])),
    )


def weighted_error(weights: Floats, values: Floats) -> Floats:
    """The standard error of sum_i w_i v_i over rows, (column,): rows vary about the mean of their side."""
    variance = np.zeros(values.shape[1])
    for side in (weights > 0, weights < 0):
        n = int(side.sum())
        if n > 1:
            off = values[side] - values[side].mean(axis=0)
            variance += (weights[side] ** 2) @ off**2 * n / (n - 1)
    return np.asarray(np.sqrt(variance), dtype=np.float64)


def unit_effects(
    subject: Subject,
    rows: Rows,
    *,
    toward: str = "zero",
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
    if toward == "mean" and feed_forward:
        raise UsageError("feed-forward blocks are closed toward zero only: use toward='zero' with them.")
    if nodes < 2 or most_nodes < nodes:
        raise UsageError(f"{nodes} nodes, at most {most_nodes}: expected 2 or more, and at most no fewer.")
    lengths = [len(names) for names in subject.names(rows)]
    blocks = feed_forward_blocks(subject, subject.encode(rows.take([0]))) if feed_forward else ()
    means = mean_outputs(subject, rows, batch_size=batch_size) if toward == "mean" else {}
    gate = _Gated(subject, blocks, means)
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
        closed = path = None
        used, converged = np.zeros(n, dtype=np.int64), np.ones(n, dtype=np.bool_)
        if integrated:
            spread = float(np.std(value))
            closed, path = np.zeros(n), np.zeros_like(gradient)
            bar.reset(total=n)
            for index in bucketed(lengths, batch_size):
                batch = subject.encode(rows.take(index))
                with torch.no_grad():
                    closed[index] = gate.run(batch, len(index), 0.0)[0].double().cpu().numpy()
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
        closed=closed,
        integrated=path,
        n_nodes=used,
        converged=converged,
    )


class _Found(NamedTuple):
    value: Floats  # (row,)
    gradient: Floats  # (row, unit)


class _Gated:
    """Runs a subject with one gate per row and unit, all at the same place between closed and open."""

    def __init__(self, subject: Subject, blocks: tuple[str, ...], means: Mapping[str, Tensor]) -> None:
        self.subject, self.blocks, self.means = subject, blocks, means
        self.units: tuple[Unit, ...] = ()
        self.gates: list[tuple[Unit, Tensor]] = []  # the layer, with head 0 for heads; (row, ..., head)
        self.at, self.n = 1.0, 0

    def cut(self, spot: Spot) -> None:
        """No pair is forbidden."""
        return

    def change(self, spot: Spot, output: Tensor) -> Tensor:
        """The output of each head times its gate; toward its mean, where one is known."""
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
        """Scores, and their derivatives by the gates at `at`."""
        with torch.enable_grad():
            target, gates = self.run(batch, n, at)
            found: tuple[Tensor | None, ...] = torch.autograd.grad(
                target.sum(), [gate for _, gate in gates], allow_unused=True
            )
        columns = [
            (torch.zeros_like(gate) if gradient is None else gradient)
            .double()
            .reshape(n, -1, *gate.shape[1:])
            for (_, gate), gradient in zip(gates, found, strict=True)
        ]
        joined = torch.cat([part.sum(dim=1).reshape(n, -1).cpu() for part in columns], dim=1)
        return _Found(target.detach().double().cpu().numpy(), joined.numpy())


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
