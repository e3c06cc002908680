"""Rows divided in three: even in each stratum, whole clusters, the same whatever the order, fair to every row."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from clinometer.bias.id_draws import id_draws, id_words
from clinometer.bias.splitting import PARTS, _home, split
from clinometer.errors import DataError, UsageError
from clinometer.evidence import from_columns
from reference.fixing import dealt, drawn
from reference.leaning import leaning


def parts_of(evidence, made):
    return {evidence.ids[i]: k for k, part in enumerate(PARTS) for i in getattr(made, part)}


def test_every_stratum_has_its_shares_within_a_row():
    evidence, _ = leaning(997, groups="abc")
    made = split(evidence, shares=(0.5, 0.2, 0.3), seed=3)
    whole = np.sort(np.concatenate([made.fit, made.choose, made.judge]))
    assert whole.tolist() == list(range(997))
    for row in made.counts:
        assert np.abs(row - row.sum() * np.array([0.5, 0.2, 0.3])).max() < 1
    assert made.strata == tuple(f"{g} & label {y}" for g in "abc" for y in (False, True))
    assert made.frame.to_numpy().sum() == 997
    assert not made.thin


def test_it_is_dealt_as_the_slow_twin_deals():
    evidence, _ = leaning(60)
    made = split(evidence, shares=(0.5, 0.25, 0.25), seed=11)
    for k, name in enumerate(made.strata):
        group, label = name.split(" & ")
        ids = [
            one
            for one, g, y in zip(evidence.ids, evidence.group("group"), evidence.group("label"), strict=True)
            if g == group and f"label {y}" == label
        ]
        expected = dealt(ids, name, (0.5, 0.25, 0.25), 11)
        got = parts_of(evidence, made)
        assert {one: got[one] for one in ids} == expected
        assert made.counts[k].tolist() == [list(expected.values()).count(part) for part in range(3)]


def test_numbers_of_names_are_the_slow_twins_and_differ_by_purpose():
    names = [f"n{i}" for i in range(200)]
    for purpose in ("split", "decision"):
        assert id_draws(names, purpose, 5).tolist() == [drawn(name, purpose, 5) for name in names]
    one, two = id_draws(names, "split"), id_draws(names, "decision")
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.2
    assert len(set(id_words(names, "row").tolist())) == 200
    assert not np.array_equal(one, id_draws(names, "split", seed=1))


def test_the_order_of_rows_plays_no_part_and_the_seed_does():
    evidence, _ = leaning(300)
    order = np.random.default_rng(0).permutation(300)
    turned = dataclasses.replace(evidence, table=evidence.table.take(pa.array(order)))
    assert parts_of(evidence, split(evidence)) == parts_of(turned, split(turned))
    assert parts_of(evidence, split(evidence)) != parts_of(evidence, split(evidence, seed=1))


def test_settled_rows_are_never_moved_by_later_ones_and_dealt_ones_can_be():
    evidence, _ = leaning(400)
    early = dataclasses.replace(evidence, table=evidence.table.slice(0, 300))
    first, all_of_them = (parts_of(one, split(one, settled=True)) for one in (early, evidence))
    assert all(all_of_them[name] == part for name, part in first.items())
    dealt_first, dealt_all = (parts_of(one, split(one)) for one in (early, evidence))
    assert any(dealt_all[name] != part for name, part in dealt_first.items())  # negative control


def test_each_row_has_its_chance_of_each_part():
    evidence, _ = leaning(10)  # strata of one to four rows
    seen = np.zeros((10, 3))
    n = 0
    for seed in range(600):
        try:
            made = split(evidence, seed=seed)
        except DataError:
            continue
        n += 1
        for k, part in enumerate(PARTS):
            seen[getattr(made, part), k] += 1
    assert n > 500
    assert np.abs(seen / n - [0.5, 0.25, 0.25]).max() < 0.09


def test_clusters_stay_together():
    draw = np.random.default_rng(2)
    evidence, _ = leaning(600)
    person = [f"p{i}" for i in draw.integers(0, 120, 600)]
    table = evidence.table.append_column("person", pa.array(person))
    evidence = dataclasses.replace(evidence, table=table, cluster="person")
    for settled in (False, True):
        made = split(evidence, settled=settled)
        of = {}
        for part in PARTS:
            for i in getattr(made, part):
                of.setdefault(person[i], set()).add(part)
        assert all(len(parts) == 1 for parts in of.values())
    made = split(evidence)
    for part, share in zip(PARTS, (0.5, 0.25, 0.25), strict=True):
        assert len(getattr(made, part)) / 600 == pytest.approx(share, abs=0.06)


def test_take_keeps_the_roles_and_unknown_is_a_stratum():
    made = from_columns(
        {"id": [f"i{k}" for k in range(40)], "y": [0, 1] * 20, "g": ["a", "b", None, "a"] * 10},
        label="y",
        groups=["g"],
    )
    parts = split(made)
    assert any("unknown" in name for name in parts.strata)
    taken = parts.take(made, "judge")
    assert taken.groups == ("g",) and taken.label == "y" and len(taken) == len(parts.judge)
    assert set(taken.ids) == {made.ids[i] for i in parts.judge}


def test_refusals():
    evidence, _ = leaning(50)
    with pytest.raises(UsageError, match="three numbers above 0 that add up to 1"):
        split(evidence, shares=(0.5, 0.5, 0.5))
    with pytest.raises(UsageError, match="there is no part 'test'"):
        split(evidence).take(evidence, "test")
    with pytest.raises(DataError, match="the split is of 50 rows"):
        split(evidence).take(leaning(20)[0], "fit")
    with pytest.raises(DataError, match="none is left to"):
        split(dataclasses.replace(evidence, table=evidence.table.slice(0, 2)))


def test_a_split_of_fewer_rows_than_the_evidence_is_refused_too():
    evidence, _ = leaning(50)
    fewer = dataclasses.replace(evidence, table=evidence.table.slice(0, 40))
    with pytest.raises(DataError, match="the split is of 40 rows, the evidence has 50"):
        split(fewer).take(evidence, "fit")


def test_a_split_says_how_it_was_made():
    evidence, _ = leaning(50)
    made = split(evidence, shares=(0.6, 0.3, 0.1), seed=4)
    assert (made.shares, made.seed) == ((0.6, 0.3, 0.1), 4)
    sizes = [len(getattr(made, part)) for part in PARTS]
    assert repr(made) == f"Split(fit {sizes[0]}, choose {sizes[1]}, judge {sizes[2]} rows, 4 strata, seed 4)"
    assert made.frame.columns.tolist() == list(PARTS) and made.frame.to_numpy().sum(axis=0).tolist() == sizes
    # A stratum that is missing from one part is thin, one that is in all three is not.
    thin = dataclasses.replace(made, strata=("a", "b"), counts=np.array([[3, 0, 1], [2, 1, 1]]))
    assert thin.thin == ("a",)
    for shares in ((1.0, 0.0, 0.0), (0.5, 0.6, -0.1), (0.5, 0.25, 0.2499)):
        with pytest.raises(UsageError, match="add up to 1"):
            split(evidence, shares=shares)


def test_a_cluster_is_dealt_with_the_stratum_most_of_its_rows_are_in():
    codes = [0, 0, 0, 1, 1, 2], [0, 1, 1, 1, 0, 2]  # cluster 1 has one row of each: the first
    assert _home(np.array(codes[0]), np.array(codes[1]), 3, 3).tolist() == [1, 0, 2]
