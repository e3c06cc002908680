"""Planted heads get their role, heads just under a threshold do not, and a head without one says so."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from clinometer.errors import UsageError
from clinometer.interpret.calls import Call
from clinometer.interpret.head_roles import NO_ROLE, RULES, HeadRole, roles, summaries
from clinometer.interpret.reductions import Statistics, reduce

N = 40
SEPARATORS = np.arange(N)[None, :] % 10 == 9
RARE = np.arange(N)[None, :] % 20 == 5  # 2 of 40 keys
SPECIAL = np.arange(N)[None, :] % 8 == 3
CLASSES = {"separator": SEPARATORS, "rare": RARE, "special tokens": SPECIAL}
EVEN = np.full((N, N), 1 / N)


def planted(share: float, targets: np.ndarray, rest: np.ndarray | None = None) -> np.ndarray:
    """Rows with `share` evenly on the targets of each query and the rest as `rest` has it beside the targets."""
    rest = np.ones((N, N)) if rest is None else rest
    on = targets / np.maximum(targets.sum(axis=1, keepdims=True), 1)
    off = rest * ~targets
    return share * on + (1 - share) * off / off.sum(axis=1, keepdims=True)


def shifted(by: int) -> np.ndarray:
    """True at the key `by` after each query; queries at the border keep none."""
    return np.eye(N, k=by, dtype=bool)


def columns(members: np.ndarray) -> np.ndarray:
    return np.broadcast_to(members, (N, N)).copy()


def statistics(*maps: np.ndarray, layer: str = "layer", classes: Any = CLASSES, **rest: Any) -> Statistics:
    """Statistics of given maps, one per head."""
    call: dict[str, Any] = {
        "layer": layer,
        "kind": "self",
        "way": "by hand",
        "query": None,
        "key": None,
        "value": None,
        "output": None,
        "scale": 1.0,
        "given": torch.from_numpy(np.stack(maps)[None]),
    }
    return reduce(Call(**{**call, **rest}), classes=classes)


def names(found: tuple[HeadRole, ...], head: int = 0) -> set[str]:
    return {one.role for one in found if one.head == head}


FAR = np.abs(np.arange(N)[:, None] - np.arange(N)[None, :]) > 12  # a rest that is neither local nor broad

PLANTED: dict[str, np.ndarray] = {
    "previous token": shifted(-1),
    "next token": shifted(1),
    "itself": shifted(0),
    "first-token sink": columns(np.arange(N) == 0),
    "separator": columns(SEPARATORS[0]),
    "special tokens": columns(SPECIAL[0]),
}


@pytest.mark.parametrize("role", PLANTED)
def test_a_planted_share_is_named_and_one_just_under_it_is_not(role: str) -> None:
    targets = PLANTED[role]
    threshold = next(rule.threshold for rule in RULES if rule.role == role)
    # One query of 40 has no previous (or next) token: its share is none.
    reached = targets.any(axis=1).mean()
    over = planted(threshold / reached + 0.01, targets, FAR)
    under = planted(threshold / reached - 0.01, targets, FAR)
    found = roles([statistics(over, under)])
    assert role in names(found, 0)
    assert role not in names(found, 1)
    (one,) = [entry for entry in found if entry.role == role]
    assert (one.layer, one.head, one.n_examples, one.n_queries) == ("layer", 0, 1, N)
    assert one.threshold == threshold
    assert one.value == pytest.approx(threshold + 0.01 * reached, abs=1e-9)


def sharpened(level: float) -> np.ndarray:
    """Rows over all keys whose entropy is `level` of ln N, found by bisection on a slope."""
    keys = np.random.default_rng(0).permuted(np.tile(np.arange(N), (N, 1)), axis=1) / N
    low, high = 0.0, 200.0
    for _ in range(200):
        slope = (low + high) / 2
        rows = np.exp(-slope * keys)
        rows /= rows.sum(axis=1, keepdims=True)
        entropy = -(rows * np.log(np.maximum(rows, 1e-300))).sum(axis=1).mean() / np.log(N)
        low, high = (slope, high) if entropy > level else (low, slope)
    return rows


def test_broad_is_entropy_near_its_largest() -> None:
    found = roles([statistics(sharpened(0.91), sharpened(0.89), EVEN)])
    assert "broad" in names(found, 0) and "broad" not in names(found, 1)
    assert next(one.value for one in found if one.head == 2 and one.role == "broad") == pytest.approx(1.0)


def at_distance(mean: float) -> np.ndarray:
    """Each row on two keys whose mean distance from the query is `mean`."""
    rows = np.zeros((N, N))
    whole = int(mean)
    for i in range(N):
        side = 1 if i < N // 2 else -1
        rows[i, i + side * whole] += 1 - (mean - whole)
        rows[i, i + side * (whole + 1)] += mean - whole
    return rows


def test_local_is_a_small_distance_for_the_number_of_keys() -> None:
    # Two keys get weight in each row, and a given map allows just the keys with weight: ask with a full one.
    over, under = 0.999 * at_distance(0.11 * (N - 1)), 0.999 * at_distance(0.09 * (N - 1))
    far, near = (rows + 0.001 / N for rows in (over, under))
    found = roles([statistics(near, far)])
    assert "local" in names(found, 0)
    assert "local" not in names(found, 1)


def test_rare_word_is_a_share_well_above_the_part_of_the_keys() -> None:
    part = RARE.mean()
    over = planted(3.1 * part, columns(RARE[0]), FAR | columns(RARE[0]))
    under = planted(2.9 * part, columns(RARE[0]), FAR | columns(RARE[0]))
    found = roles([statistics(over, under)])
    assert "rare word" in names(found, 0) and "rare word" not in names(found, 1)
    assert next(one.value for one in found if one.role == "rare word") == pytest.approx(3.1)


def test_a_head_may_have_several_roles_or_none() -> None:
    itself = planted(0.95, shifted(0), FAR)
    found = roles([statistics(itself, sharpened(0.6))])
    assert names(found, 0) == {"itself", "local"}
    assert names(found, 1) == {NO_ROLE}
    (none,) = [one for one in found if one.role == NO_ROLE]
    assert none.value is None and none.threshold is None and none.n_queries == N


def test_classes_that_are_not_given_and_positions_that_do_not_exist_are_not_looked_for() -> None:
    separator = planted(0.99, columns(SEPARATORS[0]), FAR)
    assert "separator" in names(roles([statistics(separator)]))
    assert "separator" not in names(roles([statistics(separator, classes={})]))
    itself = planted(0.99, shifted(0), FAR)
    assert "itself" in names(roles([statistics(itself)]))
    assert names(roles([statistics(itself, kind="cross")])) == {NO_ROLE}


def test_batches_of_a_layer_are_taken_together_and_padding_is_left_out() -> None:
    sharp, even = planted(0.9, shifted(0), FAR), planted(0.02, shifted(0), FAR)
    one, other = statistics(sharp), statistics(even)
    together = roles([one, other, other])
    assert "itself" not in names(together) and "itself" in names(roles([one, one, other]))
    padded = dataclasses.replace(other, valid=np.zeros((1, N), dtype=bool))
    (kept,) = [entry for entry in roles([one, padded]) if entry.role == "itself"]
    assert (kept.n_examples, kept.n_queries) == (2, N)


def test_layers_keep_their_order_and_differing_heads_are_refused() -> None:
    assert [one.layer for one in roles([statistics(EVEN, layer="b"), statistics(EVEN, layer="a")])] == [
        "b",
        "a",
    ]
    with pytest.raises(UsageError, match=r"layer: statistics with \[1, 2\] heads"):
        roles([statistics(EVEN), statistics(EVEN, EVEN)])


def test_summaries_are_means_over_all_batches_with_their_n() -> None:
    """Against a mean written out over the queries that are no padding, of two batches of different length."""
    torch.manual_seed(0)
    parts = []
    for n, length in ((2, 5), (1, 9)):
        pad = torch.zeros(n, length, dtype=torch.bool)
        pad[0, length - 2 :] = True
        call = Call(
            layer="layer",
            kind="self",
            way="sdpa",
            query=torch.randn(n, 2, length, 4),
            key=torch.randn(n, 2, length, 4),
            value=None,
            output=None,
            scale=1.0,
            mask=~pad[:, None, None, :],
        )
        parts.append(reduce(call, classes={"some": np.arange(length)[None].repeat(n, 0) % 2 == 0}))
    found = summaries(parts)
    assert [(one.layer, one.head, one.n_examples, one.n_queries) for one in found] == [
        ("layer", head, 3, (3 + 5) + 7) for head in (0, 1)
    ]
    for one in found:
        rows = [
            (float(part.entropy[i, one.head, q]), float(part.shares["some"][i, one.head, q]))
            for part in parts
            for i in range(part.n_examples)
            for q in range(part.n_queries)
            if part.valid[i, q]
        ]
        assert one.entropy == pytest.approx(sum(row[0] for row in rows) / len(rows), abs=1e-6)
        assert one.shares["some"] == pytest.approx(sum(row[1] for row in rows) / len(rows), abs=1e-6)
        assert set(one.roles) == {
            role.role for role in roles(parts) if role.head == one.head and role.role != NO_ROLE
        }
