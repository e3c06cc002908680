"""How much each head or feed-forward block is associated with a contrast, first order or along a path."""

from dataclasses import dataclass

import numpy as np

from ..errors import DataError, UsageError, did_you_mean, first
from ..records import Contrast, Floats, Rows
from .gate_effects import Unit, UnitEffects, unit_effects
from .models import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitShare:
    """What one unit is associated with in a contrast, first order and along the path of its gates."""

    unit: Unit
    closing: float  # change of the contrast when the unit is closed: -(d contrast / d gate), or exact
    error: float  # its standard error over rows
    share: float | None  # of contrast(gates 1) - contrast(gates 0); None without integration
    exact: bool = False  # whether closing is what closing the unit does, and not its first order


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
        """The units by the size of what closing them does, largest first."""
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
    last: str = "first order",
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

    With last="exact" the heads of the last attention call are closed one by one instead, which runs only what comes
    after that call: the scores are those of `ablation.ablated`. Heads before it stay first order. This departs from
    Michel et al., who take derivatives everywhere. In MiniLM on HateXplain first order misses most in the last call;
    `benchmarks/heads.py` measures what closing its heads costs and gains. A model whose blocks share their weights is
    run whole for each of these heads.

    Args:
        contrast: over the same rows, in the same order; rows of weight 0 are not run.
        toward: a gate of 0 closes a head ("zero"), or leaves it its mean output over these rows ("mean").
        last: of heads of the last attention call, "first order" or "exact". Exact ones are marked, and the error is
            theirs; derivatives and shares along the path are the same in both.
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
        last=last,
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
    closing = effects.closing[at]
    change, error = w @ closing, weighted_error(w, closing)
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
                exact=bool(effects.exact[i]),
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
