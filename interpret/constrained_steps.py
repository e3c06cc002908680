"""One step down a slope, inside a box, with a second function that may rise by so much and no more."""

from jaxtyping import Float
from torch import Tensor

SHORTEST, DOUBLINGS, HALVINGS = 0.9, 12, 50


def constrained_step(
    point: Float[Tensor, " number"],
    slope: Float[Tensor, " number"],
    cost_slope: Float[Tensor, " number"],
    *,
    room: float,
    reach: float,
) -> tuple[Float[Tensor, " number"], float]:
    """The next point, and the price of the cost there.

    From numbers in [0, 1] down `slope + price * cost_slope`, none by more than `reach` or out of [0, 1], one by about as
    much. The price is the least for which the cost has risen by no more than `room` to first order, found by bisection
    (the rise falls with the price); where no price brings that about, the one that lowers the cost most. With the merit
    that `learn_head_gates` judges a step by, this is sequential linear programming in a trust region with an exact
    penalty (Nocedal & Wright 2006, sections 18.5 and 18.8), its linear programme with a proximal term.
    """
    low, high = (point - reach).clamp(min=0.0), (point + reach).clamp(max=1.0)
    steepest, costliest = float(slope.abs().max()), float(cost_slope.abs().max())
    if steepest == 0 and costliest == 0:
        return point, 0.0
    length = reach / steepest if steepest > 0 else reach / costliest
    moved, price = _priced(point, slope, cost_slope, low, high, length, room)
    # Along the constraint the slope is small, and so is the step, however far there is to go.
    for _ in range(DOUBLINGS):
        if float((moved - point).abs().max()) >= SHORTEST * reach:
            break
        length *= 2
        moved, price = _priced(point, slope, cost_slope, low, high, length, room)
    return moved, price


def _priced(
    point: Tensor, slope: Tensor, cost_slope: Tensor, low: Tensor, high: Tensor, length: float, room: float
) -> tuple[Tensor, float]:
    def at(price: float) -> Tensor:
        return (point - length * (slope + price * cost_slope)).clamp(low, high)

    def beyond(price: float) -> float:
        return float(cost_slope @ (at(price) - point)) - room

    costliest = float(cost_slope.abs().max())
    if beyond(0.0) <= 0 or costliest == 0:
        return at(0.0), 0.0
    unit = max(float(slope.abs().max()), 1e-12) / costliest
    below, above = 0.0, unit
    while beyond(above) > 0 and above < 1e6 * unit:
        below, above = above, 2 * above
    for _ in range(HALVINGS):
        middle = (below + above) / 2
        below, above = (middle, above) if beyond(middle) > 0 else (below, middle)
    return at(above), above
