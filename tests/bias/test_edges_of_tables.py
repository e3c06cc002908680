"""Edges of labels, confusions, divided rows, inequality, slices: empty parts, flat values, a row too few."""

import math

import numpy as np
import pytest

from clinometer.bias.classes import Confusion
from clinometer.bias.confusion_tests import (
    chi_squared,
    clustered_total_variation,
    permuted_chi_squared,
    total_variation,
)
from clinometer.bias.counts import Counts
from clinometer.bias.exchangeable import gather
from clinometer.bias.inequality import (
    benefits,
    coefficient_of_variation,
    decompose_entropy,
    entropy_interval,
    generalized_entropy,
    theil_index,
)
from clinometer.bias.items import code_columns
from clinometer.bias.itemsets import find_itemsets
from clinometer.bias.multilabel import hamming_loss, label_gaps, subset_accuracy
from clinometer.bias.slice_effects import bonferroni, compare
from clinometer.bias.slice_masks import Masks
from clinometer.bias.splitting import PARTS, split
from clinometer.errors import DataError, UsageError
from clinometer.evidence import from_columns
from reference.fixing import dealt, drawn

# Labels: one true positive, two false positives, three false negatives, four true negatives.
LABEL = np.array([1, *[0] * 2, *[1] * 3, *[0] * 4], dtype=bool)
SAID = np.array([1, *[1] * 2, *[0] * 3, *[0] * 4], dtype=bool)


def test_each_cell_of_a_label_is_counted_as_itself():
    twice = {"x": (np.tile(LABEL, 2), np.tile(SAID, 2))}
    (made,) = label_gaps(twice, ["g"] * 10 + ["h"] * 10, replicates=9)
    assert made.counts["g"] == made.counts["h"] == Counts(tp=1, fp=2, fn=3, tn=4)
    assert made.rates == {"g": 0.25, "h": 0.25} and (made.gap, made.p) == (0.0, 1.0)
    (counted,) = label_gaps(
        {"x": (LABEL, SAID)}, ["g"] * 10, replicates=9, count=np.array([5, 0, 1, 1, 1, 1, 2, 0, 0, 0])
    )
    assert counted.counts["g"] == Counts(tp=5, fp=1, fn=3, tn=2)
    assert (counted.gap, counted.p, counted.p_adjusted) == (None, None, None)  # one group: nothing to compare


def test_labels_are_drawn_for_with_seeds_of_their_own():
    label, said = (np.tile(one, 4) for one in (LABEL, SAID))
    group = ["g"] * 13 + ["h"] * 27
    pairs = {"x": (label, said), "y": (label, ~said), "z": (label, said)}
    together = label_gaps(pairs, group, "selection_rate", replicates=99, seed=5)
    for i, name in enumerate(pairs):
        alone = label_gaps({name: pairs[name]}, group, "selection_rate", replicates=99, seed=5 + i)[0]
        assert (together[i].p, together[i].rates) == (alone.p, alone.rates)
        assert alone.p_adjusted == alone.p  # of one label nothing is adjusted


def test_losses_of_labels_by_hand():
    pairs = {"x": (LABEL, SAID), "y": (LABEL, LABEL)}
    assert hamming_loss(pairs).estimate == pytest.approx(5 / 20)
    assert subset_accuracy(pairs).estimate == pytest.approx(5 / 10)
    assert hamming_loss(pairs, rows=np.array([0, 1])).estimate == pytest.approx(1 / 4)
    nobody = subset_accuracy(pairs, rows=np.array([], dtype=int))
    assert (nobody.reason, nobody.n) == ("nobody in the denominator", 0)


# Confusions


def table_of(counts):
    return Confusion(classes=("a", "b"), counts=np.array(counts, dtype=np.int64))


def test_distances_of_clustered_rows_by_hand():
    cell, member = np.array([0, 0, 3, 3, 3, 7]), np.array([1, 1, 1, 0, 0, 0], dtype=bool)
    made = clustered_total_variation(cell, member, np.arange(6), replicates=19)
    # Shares 2/3, 1/3, 0 beside 0, 2/3, 1/3.
    assert made.estimate == pytest.approx((2 / 3 + 1 / 3 + 1 / 3) / 2)
    assert (made.kind, made.groups, made.n) == ("total_variation", ("group", "everybody else"), (3, 3))
    assert (made.replicates, made.seed, made.without_rows) == (19, 0, ())
    assert made.p == pytest.approx(round(20 * made.p) / 20)
    lone = clustered_total_variation(cell, np.arange(6) == 0, np.arange(6), replicates=1)
    assert lone.n == (1, 5) and lone.estimate == pytest.approx(4 / 5)
    for nobody in (np.zeros(6, dtype=bool), np.ones(6, dtype=bool)):
        assert clustered_total_variation(cell, nobody, np.arange(6)) is None
    for shapes in ((5, 6, 6), (6, 5, 6), (6, 6, 5)):
        with pytest.raises(
            DataError, match=r"^cell, member, cluster have shapes \(\d,\), \(\d,\), \(\d,\)\.$"
        ):
            clustered_total_variation(*(one[:n] for one, n in zip((cell, member, cell), shapes, strict=True)))


def test_one_permutation_is_enough_and_none_is_not():
    one, other = table_of([[5, 1], [0, 4]]), table_of([[2, 2], [3, 3]])
    assert total_variation(one, other, replicates=1).p in (0.5, 1.0)
    for replicates in (0, -1):
        for asked in (
            lambda n: total_variation(one, other, replicates=n),
            lambda n: chi_squared({"g": one, "h": other}, replicates=n),
            lambda n: clustered_total_variation(
                np.array([0, 1]), np.array([True, False]), np.array([0, 1]), replicates=n
            ),
        ):
            with pytest.raises(UsageError, match=rf"^{replicates} permutations; 1 or more are expected\.$"):
                asked(replicates)


def test_tables_of_one_cell_do_not_differ():
    same = chi_squared({"g": table_of([[3, 0], [0, 0]]), "h": table_of([[9, 0], [0, 0]])})
    assert (same.estimate, same.p, same.n) == (0.0, 1.0, (3, 9))
    assert permuted_chi_squared(np.array([[3, 1]])) is None  # one group
    assert permuted_chi_squared(np.array([[3, 1], [0, 0]])) is None
    found = permuted_chi_squared(np.array([[3, 1], [1, 3]]), replicates=9)
    assert found[0] == pytest.approx(2.0)


# Rows divided in three


def people(n, cluster=None):
    columns = {"id": [f"i{k}" for k in range(n)], "p": [k % 2 for k in range(n)]}
    more = {} if cluster is None else {"c": cluster}
    return from_columns(
        {**columns, **more}, id="id", prediction="p", cluster=None if cluster is None else "c"
    )


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_parts_that_nobody_is_left_to_are_named(n):
    seen = set()
    for seed in range(40):
        evidence = people(n)
        parts = dealt(list(evidence.ids), "all", (0.5, 0.25, 0.25), seed)
        empty = [name for i, name in enumerate(PARTS) if i not in parts.values()]
        seen.add(tuple(empty))
        if not empty:
            assert sum(len(getattr(split(evidence, seed=seed), part)) for part in PARTS) == n
            continue
        with pytest.raises(DataError) as refused:
            split(evidence, seed=seed)
        assert str(refused.value) == (
            f"of {n} rows in {n} units none is left to {', '.join(map(repr, empty))}: there are too few to divide in "
            "three. Give more rows, or larger shares."
        )
    missing = {1: {2}, 2: {1}, 3: {0, 1}, 4: {0}}
    assert {len(empty) for empty in seen} == missing[n]


def test_of_clusters_their_number_is_told():
    with pytest.raises(DataError, match=r"^of 6 rows in 2 clusters none is left to '"):
        split(people(6, cluster=["x", "y"] * 3))
    with pytest.raises(DataError, match=r"^of 6 rows in 1 clusters none is left to '\w+', '\w+': "):
        split(people(6, cluster=["x"] * 6))


def test_rows_that_are_settled_go_where_their_own_number_says():
    evidence = people(60)
    made = split(evidence, shares=(0.3, 0.3, 0.4), seed=2, settled=True)
    numbers = np.array([drawn(name, "split", 2) for name in evidence.ids])
    assert made.fit.tolist() == np.flatnonzero(numbers < 0.3).tolist()
    assert made.choose.tolist() == np.flatnonzero((numbers >= 0.3) & (numbers < 0.6)).tolist()
    assert made.judge.tolist() == np.flatnonzero(numbers >= 0.6).tolist()
    assert made.strata == ("all",) and made.counts.sum() == 60


@pytest.mark.parametrize(
    ("shares", "taken"),
    [
        ((0.5, 0.25, 0.25 + 0.9e-9), True),
        ((0.5, 0.25, 0.25 - 0.9e-9), True),
        ((0.5, 0.25, 0.25 + 1.1e-9), False),
        ((0.5, 0.25, 0.25 - 1.1e-9), False),
        ((0.5, 0.5, 0.0), False),
        ((0.0, 0.5, 0.5), False),
        ((1.5, -0.25, -0.25), False),
        ((0.2, 0.2, 0.6), True),
    ],
)
def test_shares_add_up_to_one(shares, taken):
    if taken:
        assert split(people(50), shares=shares).shares == shares
        return
    with pytest.raises(UsageError) as refused:
        split(people(50), shares=shares)
    assert str(refused.value) == f"shares are {shares}; three numbers above 0 that add up to 1 are expected."


# Inequality


def test_a_group_has_an_index_where_anybody_in_it_has_a_benefit():
    benefit = [0.0, 0.0, 0.0, 0.1, 0.0, 2.0, 0.5, 2.5]
    parts = decompose_entropy(benefit, list("aabbccdd"))
    # Of two benefits x and y: (x - y)^2 / (x + y)^2 / 2.
    by_hand = {"a": None, "b": 0.5, "c": 0.5, "d": (2 / 3) ** 2 / 2}
    means = {"a": 0.0, "b": 0.05, "c": 1.0, "d": 1.5}
    mu = sum(benefit) / 8
    for part in parts.groups:
        assert part.mean == pytest.approx(means[part.group]) and part.n == 2
        expected = by_hand[part.group]
        assert part.index == (None if expected is None else pytest.approx(expected))
        assert part.contribution == pytest.approx(0.25 * (part.mean / mu) ** 2 * (expected or 0.0))
    assert parts.between == pytest.approx((sum(m**2 for m in means.values()) / 4 / mu**2 - 1) / 2)
    assert parts.total == pytest.approx(parts.between + parts.within)
    assert parts.alpha == 2.0


def test_indices_of_one_and_three_by_hand():
    values = [1.0, 3.0]
    shares = [0.5, 1.5]
    assert generalized_entropy(values).estimate == pytest.approx(0.125)
    assert generalized_entropy(values, 3.0).estimate == pytest.approx((sum(s**3 for s in shares) / 2 - 1) / 6)
    assert generalized_entropy(values, -1.0).estimate == pytest.approx(
        (sum(1 / s for s in shares) / 2 - 1) / 2
    )
    assert generalized_entropy(values, 0.0).estimate == pytest.approx(-sum(map(math.log, shares)) / 2)
    assert theil_index(values).estimate == pytest.approx(sum(s * math.log(s) for s in shares) / 2)
    assert coefficient_of_variation(values).estimate == pytest.approx(0.5)
    assert benefits(np.array([1, 1, 0, 0], dtype=bool), np.array([0, 1, 0, 1], dtype=bool)).tolist() == [
        0,
        1,
        1,
        2,
    ]
    low, high = entropy_interval(generalized_entropy([1.0, 2.0, 4.0]), 0.5)
    assert low * high == pytest.approx(generalized_entropy([1.0, 2.0, 4.0]).estimate ** 2)


@pytest.mark.parametrize("alpha", [0.0, -0.5, -3.0])
def test_without_a_benefit_the_index_of_a_low_alpha_is_infinite(alpha):
    with pytest.raises(DataError) as refused:
        generalized_entropy([0.0, 1.0, 0.0], alpha)
    assert str(refused.value) == (
        f"2 rows have no benefit, and at alpha {alpha:g} the index is infinite. Take an alpha above 0."
    )
    assert (
        generalized_entropy([0.0, 1.0, 2.0], alpha, count=np.array([0, 1, 1])).estimate > 0
    )  # nobody has it
    assert math.isfinite(generalized_entropy([0.0, 1.0], 1e-6).estimate)


def test_negative_benefits_are_refused_and_none_at_all_is_taken():
    with pytest.raises(DataError) as refused:
        generalized_entropy([0.0, -1e-12, 1.0, -2.0])
    assert str(refused.value) == "2 benefits are negative; first rows: '1', '3'. A benefit is 0 or more."
    with pytest.raises(DataError, match=r"^every benefit is 0: shares of nothing cannot be unequal\. "):
        generalized_entropy([0.0, 5.0], count=np.array([3, 0]))
    with pytest.raises(DataError, match=r"^group names 1 rows, benefit has 2: one group a row\.$"):
        decompose_entropy([1.0, 2.0], ["a"])


# Slices


def effects(value, **settings):
    n = len(value)
    columns = {"u": [str(i % 2) for i in range(n)], "v": [str(i % 3) for i in range(n)]}
    coded = code_columns(columns)
    units = gather(coded, np.asarray(value), **settings)
    found = find_itemsets(units.coded, minimum=1, depth=2, count=units.n_units)
    return compare(Masks.of(found, units.coded), units)


VALUES = np.array([((7 * i * i + 3 * i) % 31) / 31 for i in range(36)])


@pytest.mark.parametrize("scale", [1e-140, 1e-9, 1e-6, 1e6, 1e9, 1e140])
@pytest.mark.parametrize("stratum", [None, np.arange(36) // 12])
def test_the_unit_of_a_value_changes_no_statistic(scale, stratum):
    plain, scaled = effects(VALUES, stratum=stratum), effects(VALUES * scale, stratum=stratum)
    assert plain.testable.all() and scaled.testable.all()
    assert scaled.z == pytest.approx(plain.z, rel=1e-9)
    assert scaled.effect / scale == pytest.approx(plain.effect, rel=1e-9)
    assert scaled.error / scale == pytest.approx(plain.error, rel=1e-9)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_only_ratios_of_weights_count_and_rows_without_weight_are_no_slice(scale):
    weight = 0.5 + (np.arange(36) * 5 % 7) / 7
    plain, scaled = effects(VALUES, weight=weight), effects(VALUES, weight=scale * weight)
    assert scaled.testable.all() and scaled.z == pytest.approx(plain.z, rel=1e-9)
    assert scaled.effect == pytest.approx(plain.effect, rel=1e-9)
    # The first slice, u=0, has no weight at all, and so the second, its complement, has nobody beside it.
    made = effects(VALUES, weight=scale * np.where(np.arange(36) % 2, weight, 0.0))
    assert made.testable.tolist()[:2] == [False, False] and made.testable[2:5].all()
    assert np.isnan(made.mean[0]) and np.isnan(made.complement[1]) and np.isnan(made.effect[:2]).all()


@pytest.mark.parametrize(("noise", "testable"), [(0.0, False), (1e-8, False), (1e-4, True), (1.0, True)])
def test_what_varies_within_strata_by_no_more_than_rounding_is_not_tested(noise, testable):
    stratum = np.arange(36) // 12
    value = np.array([0.1, 0.7, 1.9])[stratum] + noise * (VALUES - 0.5)
    made = effects(value, stratum=stratum)
    assert made.testable.tolist() == [testable] * len(made.z)
    assert effects(np.full(36, 0.1)).testable.sum() == 0


def test_effects_of_a_slice_by_hand():
    value = np.array([1.0, 0.0, 1.0, 0.0, 0.0, 1.0]) == 1
    made = effects(value)  # u=0: rows 0, 2, 4: 2 of 3; u=1: 1 of 3
    assert (made.n[0], made.hits[0], made.mean[0], made.complement[0]) == (3, 2, 2 / 3, pytest.approx(1 / 3))
    assert made.effect[0] == pytest.approx(1 / 3)
    assert made.sd[0] == pytest.approx(math.sqrt(3 * 3 / (6 * 5) * 6 * 0.25))
    assert made.z[0] == pytest.approx(0.5 / made.sd[0])
    assert (made.total, made.total_units, made.overall) == (6, 6, 0.5)
    own = 2 * (2 / 9 / 2)  # both have the variance 1/3 over 3 rows
    assert made.error[0] == pytest.approx(max(math.sqrt(own), made.sd[0] / 1.5))


def test_bonferroni_is_a_normal_quantile():
    assert bonferroni(0.05, 1) == pytest.approx(1.959963984540054)
    assert bonferroni(0.05, 0) == bonferroni(0.05, 1)
    assert bonferroni(0.05, 10) == pytest.approx(2.807033768343811)
    assert bonferroni(0.0, 5) == math.inf
