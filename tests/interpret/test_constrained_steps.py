"""A step goes down as far as it may, and no further than its constraint lets it to first order."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from clinometer.interpret.constrained_steps import constrained_step


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_by_hand():
    open_ = numbers(1.0, 1.0)
    free = constrained_step(open_, numbers(2.0, 1.0), numbers(0.0, 0.0), room=0.0, reach=0.2)
    assert free[0].tolist() == pytest.approx([0.8, 0.9])
    assert free[1] == 0.0
    # Each 0.1 of the first costs 0.1, and 0.05 may be spent; the second costs nothing and goes as far as it may.
    held = constrained_step(open_, numbers(2.0, 1.0), numbers(-1.0, 0.0), room=0.05, reach=0.2)
    assert held[0].tolist() == pytest.approx([0.95, 0.8])
    # Where too much is lost already, what is to be won has to wait.
    back = constrained_step(numbers(0.5, 0.5), numbers(1.0, 0.0), numbers(-1.0, 0.0), room=-0.1, reach=0.2)
    assert back[0].tolist() == pytest.approx([0.6, 0.5])
    assert back[1] > 1.0
    stuck = constrained_step(numbers(0.5), numbers(0.0), numbers(0.0), room=0.0, reach=0.2)
    assert stuck[0].tolist() == [0.5]


@given(seed=st.integers(0, 10**6), n=st.integers(1, 6), reach=st.floats(0.01, 0.5), room=st.floats(0.0, 0.3))
def test_it_keeps_to_the_box_to_its_reach_and_to_the_constraint(seed, n, reach, room):
    generator = torch.Generator().manual_seed(seed)
    point, slope, cost = (torch.rand(n, generator=generator, dtype=torch.float64) for _ in range(3))
    slope, cost = slope - 0.5, cost - 0.5
    moved, price = constrained_step(point, slope, cost, room=room, reach=reach)
    step = moved - point
    assert bool(((moved >= 0) & (moved <= 1)).all())
    assert float(step.abs().max()) <= reach + 1e-12
    assert float(cost @ step) <= room + 1e-6
    assert float(slope @ step) <= 1e-9
    assert price >= 0
    # No step of the same bounds goes further down than the linear programme's, and this one goes down where that does.
    bounds = [(max(-reach, -p), min(reach, 1 - p)) for p in point.tolist()]
    best = linprog(slope.numpy(), A_ub=cost.numpy()[None], b_ub=[room], bounds=bounds).fun
    assert float(slope @ step) >= best - 1e-9
    assert best > -1e-6 or float(slope @ step) < 0
