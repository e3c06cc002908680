"""Learned gates reach the constrained optimum, keep to the utility floor, and say so where there is none."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

from clinometer.errors import DataError, UsageError
from clinometer.interpret.edits import AT_RUN_TIME, IN_WEIGHTS, save
from clinometer.interpret.folding import heads_of
from clinometer.interpret.gates import gates
from clinometer.interpret.held_out import split
from clinometer.interpret.learned_gates import learn_head_gates
from clinometer.interpret.models import Subject, load, score, wrap
from clinometer.records import Floats, Rows
from reference.edit_subjects import race_weights, subject_and_rows
from reference.subjects import applicants, fitted


@pytest.fixture(scope="module")
def subject() -> Subject:
    return fitted(applicants(200), epochs=6)


@pytest.fixture(scope="module")
def rows() -> Rows:
    return applicants(240, seed=3)


def slow(subject: Subject, rows: Rows, weights: Floats, gate: Floats) -> tuple[float, float]:
    """Gap and loss with these gates, from scores under `gates`: no gradient, none of the code that learns them."""
    heads = [(layer, head) for layer, n in heads_of(subject, rows).items() for head in range(n)]
    with gates(subject, {head: float(g) for head, g in zip(heads, gate, strict=True)}):
        scores = score(subject, rows)
    signs = np.where(np.asarray(rows.labels) == 1, -1.0, 1.0)
    return float(weights @ scores), float(np.logaddexp(0, signs * scores).mean())


def test_the_path_ends_at_the_constrained_optimum(subject, rows):
    weights = race_weights(rows)
    learned = learn_head_gates(subject, rows, weights, allowed=0.02, steps=24, patience=24)
    told = learned.edits[0].parameters
    last = [one for one in told["path"] if one["forward"]][-1]
    trained, _ = split(rows, np.sign(weights), np.asarray(rows.labels), held=0.3, clusters=None, seed=0)
    part = rows.take(trained)
    own = race_weights(part)
    gap, loss = slow(subject, part, own, np.ones(4))
    assert told["path"][0]["gap"] == pytest.approx(gap, abs=1e-5)
    assert told["path"][0]["loss"] == pytest.approx(loss, abs=1e-5)
    known: dict[bytes, tuple[float, float]] = {}

    def at(gate: Floats) -> tuple[float, float]:
        key = gate.tobytes()
        if key not in known:
            known[key] = slow(subject, part, own, gate)
        return known[key]

    found = minimize(
        lambda g: (at(g)[0] / gap) ** 2,
        np.array([0.6, 0.3, 0.3, 0.9]),
        bounds=[(0, 1)] * 4,
        method="SLSQP",
        options={"eps": 1e-3},
        constraints={"type": "ineq", "fun": lambda g: loss + 0.02 - at(g)[1]},
    )
    best, lost = at(found.x)
    assert lost <= loss + 0.02 + 1e-4
    assert abs(best) < 0.6 * abs(gap)  # negative control: there is something to gain
    assert abs(last["gap"]) == pytest.approx(abs(best), abs=0.01)
    assert last["loss"] <= loss + 0.02 + 1e-3


class TwoHeads(nn.Module):
    """One token, two heads: the first hands on the group, the second the merit, and the score is their sum."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor) -> Tensor:
        heads = (x * self.scale)[:, :, None, None]  # (example, head, token, width)
        return nn.functional.scaled_dot_product_attention(heads, heads, heads).sum(dim=(1, 2))


def test_of_two_heads_the_guilty_one_is_shut_and_the_other_stays_open():
    generator = np.random.default_rng(0)
    group, merit = np.tile([1.0, -1.0], 60), np.repeat(generator.normal(size=60) * 3, 2)
    rows = Rows(
        ids=tuple(map(str, range(120))),
        inputs={"x": np.column_stack([group, merit])},
        labels=(merit > 0).astype(np.int64),
    )
    subject = wrap(TwoHeads().eval(), columns=("x",))
    pairs = [f"pair {i // 2}" for i in range(120)]
    learned = learn_head_gates(subject, rows, group / 60, clusters=pairs, steps=20, patience=20)
    told = learned.edits[0].parameters
    (shut, open_) = told["gates"]["TwoHeads"]
    assert shut == pytest.approx(0.0, abs=0.01)
    assert open_ == 1.0
    assert told["gap"] == [pytest.approx(2.0), pytest.approx(0.0, abs=0.02)]
    assert learned.edits[0].way == AT_RUN_TIME  # there is no projection to fold a gate into
    assert np.abs(score(learned, rows) - merit).max() < 0.02


def test_more_may_be_lost_and_more_is_gained_and_the_floor_holds(subject, rows):
    weights = race_weights(rows)
    before = score(subject, rows)
    gaps = []
    for allowed in (0.0, 0.1, 1.0):
        learned = learn_head_gates(subject, rows, weights, allowed=allowed, steps=12)
        told = learned.edits[0].parameters
        kept = told["path"][told["kept_step"]]
        assert told["gap"] == [told["path"][0]["held_gap"], kept["held_gap"]]
        assert kept["held_loss"] <= told["path"][0]["held_loss"] + allowed
        assert all(0.0 <= gate <= 1.0 for layer in told["gates"].values() for gate in layer)
        gaps.append(abs(float(weights @ score(learned, rows))))
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[0] < abs(float(weights @ before))
    assert np.array_equal(score(subject, rows), before)


def test_the_scores_are_those_of_the_gates_learned(subject, rows, tmp_path):
    weights = race_weights(rows)
    one = learn_head_gates(subject, rows, weights, allowed=0.1, steps=8)
    other = learn_head_gates(subject, rows, weights, allowed=0.1, steps=8, way="run time")
    assert (one.edits[0].way, other.edits[0].way) == (IN_WEIGHTS, AT_RUN_TIME)
    learned = {
        (layer, head): gate
        for layer, values in one.edits[0].parameters["gates"].items()
        for head, gate in enumerate(values)
    }
    assert min(learned.values()) < 0.9  # negative control: the gates did move
    with gates(subject, learned):
        gated = score(subject, rows)
    assert np.abs(score(one, rows) - gated).max() < 1e-5
    assert np.abs(score(other, rows) - gated).max() < 1e-5
    for made in (one, other):
        save(made, tmp_path / "learned")
        again = load(tmp_path / "learned")
        assert np.array_equal(score(again, rows), score(made, rows))
        assert again.provenance["edits"][0]["parameters"]["path"] == made.edits[0].parameters["path"]


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_models_of_transformers_learn_gates_too(name, tmp_path):
    subject, rows = subject_and_rows(name, tmp_path)
    weights = np.array([1.0, 1, -1, -1, 1, 1, -1, -1]) / 4
    learned = learn_head_gates(subject, rows, weights, allowed=5.0, steps=6, held=0.5, seed=1)
    told = learned.edits[0].parameters
    assert abs(told["path"][-1]["gap"]) < abs(told["path"][0]["gap"])
    save(learned, tmp_path / "learned")
    assert np.array_equal(score(load(tmp_path / "learned"), rows), score(learned, rows))


def test_one_seed_gives_the_same_gates_and_leaves_random_numbers_alone(subject, rows):
    weights = race_weights(rows)
    state = torch.get_rng_state()
    one = learn_head_gates(subject, rows, weights, steps=4, seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    again = learn_head_gates(subject, rows, weights, steps=4, seed=2, batch_size=64)
    other = learn_head_gates(subject, rows, weights, steps=4, seed=3)
    assert one.edits[0].sha256 == again.edits[0].sha256
    assert one.edits[0].sha256 != other.edits[0].sha256
    assert all(p.requires_grad for p in one.module.parameters())
    small = learn_head_gates(subject, rows, weights, steps=4, seed=2, batch_size=50)
    assert np.allclose(score(small, rows), score(one, rows), atol=1e-3)


def test_a_part_keeps_the_totals_of_the_weights(subject, rows):
    weights = race_weights(rows)
    told = learn_head_gates(subject, rows, 3 * weights, steps=1).edits[0].parameters
    single = learn_head_gates(subject, rows, weights, steps=1).edits[0].parameters
    assert told["gap"][0] == pytest.approx(3 * single["gap"][0], rel=1e-6)


def test_clusters_are_not_torn_apart(rows):
    clusters = [f"person {i // 4}" for i in range(len(rows))]
    trained, held = split(rows, np.zeros(len(rows)), held=0.3, clusters=clusters, seed=0)
    assert not {clusters[i] for i in trained} & {clusters[i] for i in held}
    assert len(held) == pytest.approx(0.3 * len(rows), abs=4)
    assert sorted([*trained, *held]) == list(range(len(rows)))
    alone, _ = split(rows, np.zeros(len(rows)), held=0.3, clusters=None, seed=0)
    assert {clusters[i] for i in alone} & {clusters[i] for i in set(range(len(rows))) - set(alone)}


# Refusals


def test_a_floor_out_of_reach_is_said_to_be(subject, rows):
    with pytest.raises(
        UsageError, match=r"the utility floor is out of reach: the mean loss held out is .* the least in"
    ):
        learn_head_gates(subject, rows, race_weights(rows), allowed=-1.0, steps=3)


def test_rows_that_cannot_say_are_refused(subject, rows):
    weights = race_weights(rows)
    with pytest.raises(DataError, match="no validation rows"):
        learn_head_gates(subject, rows.take(np.array([], dtype=int)), np.zeros(0))
    with pytest.raises(DataError, match="no labels"):
        learn_head_gates(subject, dataclasses.replace(rows, labels=None), weights)
    with pytest.raises(UsageError, match="one finite number for each of 240"):
        learn_head_gates(subject, rows, weights[:-1])
    with pytest.raises(UsageError, match="1 that are not finite"):
        learn_head_gates(subject, rows, np.where(np.arange(240) == 5, np.nan, weights))
    with pytest.raises(DataError, match="a contrast has both"):
        learn_head_gates(subject, rows, np.abs(weights))
    with pytest.raises(DataError, match="both parts need some"):
        learn_head_gates(subject, rows.take([0, 1]), np.array([1.0, -1.0]), held=0.3)
    with pytest.raises(DataError, match=r"no row (trained on|held out) has a"):
        learn_head_gates(subject, rows.take([0, 1]), np.array([1.0, -1.0]), held=0.5, clusters=["a", "b"])
    with pytest.raises(UsageError, match="between 0 and 1"):
        learn_head_gates(subject, rows, weights, held=1.0)
    with pytest.raises(UsageError, match="clusters were named for 240 rows"):
        learn_head_gates(subject, rows, weights, clusters=["a"])
    with pytest.raises(UsageError, match="steps 0"):
        learn_head_gates(subject, rows, weights, steps=0)


def test_a_gap_of_zero_has_nothing_to_shrink(subject, rows):
    twins = Rows(
        ids=tuple(f"t{i}" for i in range(8)),
        inputs={name: np.repeat(values[:1], 8) for name, values in rows.inputs.items()},
        labels=np.array([1, 1, 1, 1, 1, 1, 1, 1]),
    )
    with pytest.raises(UsageError, match="zero already"):
        learn_head_gates(subject, twins, np.array([1.0, -1.0] * 4), held=0.5)
