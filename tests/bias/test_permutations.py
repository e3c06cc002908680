"""Max-T over slices: exact enumeration, what permuting keeps, memory, false finds."""

import tracemalloc

import numpy as np
import pytest
from scipy import stats

from clinometer.bias.exchangeable import gather
from clinometer.bias.items import code_columns
from clinometer.bias.itemsets import find_itemsets
from clinometer.bias.permutations import Null, _Shuffle, max_t
from clinometer.bias.slice_effects import bonferroni, compare
from clinometer.bias.slice_masks import Masks
from clinometer.errors import DataError, UsageError
from reference.slice_search import max_t as slow_max_t
from reference.slice_search import within_strata


def searched(columns, value, depth=2, minimum=1, **roles):
    coded = code_columns(columns)
    units = gather(coded, value, **roles)
    itemsets = find_itemsets(coded, minimum=minimum, depth=depth, count=roles.get("count"))
    compared = compare(Masks.of(itemsets, units.coded), units)
    chosen = np.flatnonzero(compared.testable)
    return itemsets, units, compared, chosen


def permuted(itemsets, units, compared, chosen, permutations=999, **settings):
    return max_t(
        Masks.of(itemsets, units.coded, chosen),
        units,
        compared.z[chosen],
        compared.expected[chosen],
        compared.sd[chosen],
        permutations=permutations,
        **{"seed": 0, **settings},
    )


def member_of(itemsets, at, columns):
    n = len(next(iter(columns.values())))
    return [all(columns[item.column][i] == item.value for item in itemsets.named(at)) for i in range(n)]


@pytest.mark.parametrize("kind", ["rate", "mean"])
@pytest.mark.parametrize("strata", [1, 2])
def test_every_permutation_there_is(kind, strata):
    columns = {"a": list("xxyyyxy"), "b": list("uvuvvuu")}
    value = np.array([1, 1, 0, 0, 0, 1, 0], dtype=bool)
    if kind == "mean":
        value = np.array([3.0, 2.5, 0.0, 1.0, 2.0, 7.0, -1.0])
    stratum = np.array([0, 1, 0, 1, 0, 0, 0]) if strata == 2 else np.zeros(7, dtype=int)
    itemsets, units, compared, chosen = searched(columns, value, stratum=stratum)
    members = [member_of(itemsets, at, columns) for at in chosen]
    z, p = slow_max_t(members, value.astype(float).tolist(), stratum.tolist())
    assert compared.z[chosen] == pytest.approx(z, rel=1e-9)
    for at, member in zip(chosen, members, strict=True):
        effect, _ = within_strata(member, value.astype(float).tolist(), stratum.tolist())
        assert compared.effect[at] == pytest.approx(effect, rel=1e-9)
    null = permuted(itemsets, units, compared, chosen, permutations=20_000)
    assert null.adjusted(compared.z[chosen]) == pytest.approx(p, abs=0.015)
    assert np.all(null.alone <= null.adjusted(compared.z[chosen]) + 1e-12)
    assert min(p) < 0.3, "something is not simply 1"


# The four ways in which units are exchanged: drawn, drawn by cells, shuffled alone, shuffled with strata of their size
WAYS = {
    "drawn": {"n": 1200, "columns": 3, "strata": 2, "real": False},
    "by cells": {"n": 3000, "columns": 1, "strata": 1, "real": False},
    "alone": {"n": 900, "columns": 3, "strata": 0, "real": True},
    "alone, in cells": {"n": 900, "columns": 1, "strata": 1, "real": True},
    "together": {"n": 240, "columns": 2, "strata": 60, "real": True},
    "together, true and false": {"n": 240, "columns": 2, "strata": 30, "real": False},
    "some of both": {"n": 1500, "columns": 2, "strata": 0, "real": False},
}


@pytest.mark.parametrize("way", WAYS)
def test_what_permuting_keeps_and_how_it_varies(way):
    asked = WAYS[way]
    generator = np.random.default_rng(len(way))
    n = asked["n"]
    columns = {f"c{j}": generator.choice(["u", "v", "w"], size=n) for j in range(asked["columns"])}
    uneven = np.minimum(np.arange(n) // 30, 10)  # ten of 30, and the rest
    stratum = np.arange(n) % asked["strata"] if asked["strata"] else uneven
    value = (
        generator.normal(size=n) + stratum
        if asked["real"]
        else generator.random(n) < 0.2 + 0.1 * (stratum % 3)
    )
    itemsets, units, compared, chosen = searched(columns, value, stratum=stratum)
    shuffle = _Shuffle(units, np.random.default_rng(0))
    drawn = shuffle.draw(2000).astype(float) * shuffle.scale
    for low, high in units.strata:
        kept = drawn[:, low:high].sum(axis=1)
        expected = units.higher[low:high].sum() if units.higher is not None else 0.0
        assert kept == pytest.approx(np.full(2000, float(expected)), abs=1e-3 * n)
        if units.higher is not None:
            assert np.all(drawn[:, low:high] <= units.n_units[low:high]), "no more true units than there are"
    sums = drawn @ Masks.of(itemsets, units.coded, chosen).rows(0, len(chosen), float).T
    assert sums.mean(axis=0) == pytest.approx(
        compared.expected[chosen], abs=5 * compared.sd[chosen].max() / np.sqrt(2000)
    )
    assert sums.std(axis=0) == pytest.approx(compared.sd[chosen], rel=0.12)
    reached = {"alone": shuffle.alone, "together": shuffle.together, "drawn": shuffle.drawn, "by cells": shuffle.drawn,
               "some of both": shuffle.drawn and shuffle.together}  # fmt: skip
    assert reached[way.split(",")[0]], "the way that the name says is taken"


def test_memory_is_bounded_and_changes_nothing():
    generator = np.random.default_rng(0)
    columns = {f"c{j}": generator.choice(list("uvwxyz"), size=5000) for j in range(5)}
    for value in (generator.random(5000) < 0.2, generator.normal(size=5000)):
        parts = searched(columns, value, minimum=50, depth=2)
        roomy = permuted(*parts, permutations=199)
        limit = 3_000_000
        tracemalloc.start()
        tight = permuted(*parts, permutations=199, max_memory=limit)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < limit
        assert tight.largest == pytest.approx(roomy.largest, rel=1e-5)
        assert np.abs(tight.beyond - roomy.beyond).max() <= 1
        with pytest.raises(UsageError, match=r"max_memory is 1,000 bytes; [\d,]+ are needed .* 5,000 units"):
            permuted(*parts, permutations=199, max_memory=1000)


def test_false_finds_stay_below_alpha_where_raw_p_finds_something_nearly_always():
    generator = np.random.default_rng(1)
    columns = {f"c{j}": generator.choice(["u", "v", "w"], size=400, p=[0.6, 0.3, 0.1]) for j in range(5)}
    runs, alpha = 200, 0.1
    adjusted = raw = 0
    for i in range(runs):
        parts = searched(columns, generator.random(400) < 0.3, minimum=20, depth=2)
        null = permuted(*parts, permutations=199, seed=i)
        z = parts[2].z[parts[3]]
        adjusted += null.adjusted(z).min() <= alpha
        raw += 2 * stats.norm.sf(np.abs(z)).min() <= alpha
    assert adjusted <= stats.binom.ppf(0.999, runs, alpha)
    assert adjusted >= stats.binom.ppf(0.001, runs, alpha), "and it is not simply never"
    assert raw > 0.9 * runs


def test_the_critical_value_and_the_adjusted_p_say_the_same():
    generator = np.random.default_rng(2)
    columns = {f"c{j}": generator.choice(["u", "v", "w"], size=600) for j in range(3)}
    value = generator.normal(size=600) + 0.3 * (columns["c0"] == "u") + 0.2 * (columns["c1"] == "v")
    parts = searched(columns, value, minimum=30, depth=3)
    z = parts[2].z[parts[3]]
    for permutations, alpha in ((99, 0.05), (999, 0.05), (400, 0.013)):
        null = permuted(*parts, permutations=permutations)
        found = null.adjusted(z) <= alpha
        assert np.array_equal(found, np.abs(z) > null.critical(alpha))
        assert 0 < found.sum() < len(found)
    assert permuted(*parts, permutations=99).critical(0.001) == np.inf


def test_a_cluster_is_exchanged_whole():
    generator = np.random.default_rng(3)
    person = np.repeat(np.arange(60), 5)
    columns = {"c": np.repeat(generator.choice(["u", "v"], size=60), 5)}
    value = np.repeat(generator.normal(size=60), 5)
    _, _, compared, _ = searched(columns, value, cluster=person)
    _, _, rows, _ = searched(columns, value)
    _, _, once, _ = searched({"c": columns["c"][::5]}, value[::5])
    assert compared.z == pytest.approx(once.z) and compared.total_units == 60 and compared.total == 300
    assert rows.z == pytest.approx(once.z * np.sqrt(299 / 59)), (
        "rows by themselves would count everything five times"
    )
    assert compared.error == pytest.approx(once.error) and compared.effect == pytest.approx(rows.effect)
    moved = np.repeat(["u"] * 60, 5)
    moved[36] = "v"
    with pytest.raises(DataError, match=r"'d' differs within 1 clusters, the first being '7'"):
        gather(code_columns({**columns, "d": moved}), value, cluster=person)
    with pytest.raises(DataError, match="'the strata' differs within"):
        gather(code_columns(columns), value, cluster=person, stratum=np.arange(300) % 2)
    with pytest.raises(DataError, match="all rows are of one cluster"):
        gather(code_columns(columns), value, cluster=np.zeros(300, dtype=int))


def test_too_few_permutations_are_refused():
    parts = searched({"c": list("uuvv")}, np.array([True, False, True, True]))
    with pytest.raises(UsageError, match="permutations is 98; 99 or more"):
        permuted(*parts, permutations=98)


def test_adjusted_p_and_critical_value_by_hand():
    null = Null(largest=np.arange(1.0, 100.0), beyond=np.array([0, 9, 99]))  # 99 permutations: 1, 2, ... 99
    assert null.permutations == 99
    # (1 + as large) / (1 + 99): nothing is as large as 200; 99 itself is; 50 to 99 are; all are.
    z = np.array([200.0, 99.0, -99.0, 50.0, 49.5, 0.0])
    assert null.adjusted(z) == pytest.approx([0.01, 0.02, 0.02, 0.51, 0.51, 1.0])
    assert null.alone == pytest.approx([0.01, 0.1, 1.0])
    # At 5 % of 100 four permutations may be as large: beyond 95 are 96 to 99.
    assert (null.critical(0.05), null.critical(0.01), null.critical(0.009)) == (95.0, 99.0, np.inf)
    # A statistic summed in float32 that comes within a ten-thousandth counts as a tie.
    assert null.adjusted(np.array([99.00005, 99.001])) == pytest.approx([0.02, 0.01])


def test_ninety_nine_permutations_are_enough():
    parts = searched({"c": list("uuvv")}, np.array([True, False, True, True]))
    assert permuted(*parts, permutations=99).permutations == 99


def test_two_units_are_exchanged_in_two_ways():
    # One of two units is in the slice: its value less the mean is +-.5, whose variance is .25, at every draw.
    _, _, compared, chosen = searched({"c": list("uv")}, np.array([1.0, 0.0]))
    assert compared.sd[chosen] == pytest.approx([0.5, 0.5]) and compared.z[chosen] == pytest.approx([1, -1])
    assert compared.effect[chosen] == pytest.approx([1, -1])
    assert compared.error[chosen] == pytest.approx([1, 1]), "sd over the weight 1 * 1 / 2"
    # Four units, two in: sums of squares 1, so 2 * 2 / (4 * 3) = 1/3.
    _, _, compared, chosen = searched({"c": list("uuvv")}, np.array([1.0, 1.0, 0.0, 0.0]))
    assert compared.sd[chosen] == pytest.approx([np.sqrt(1 / 3)] * 2)
    assert compared.z[chosen] == pytest.approx([np.sqrt(3), -np.sqrt(3)])


def test_a_stratum_of_one_unit_says_nothing():
    value = np.array([3.0, 2.5, 0.0, 1.0, 9.0])
    columns = {"c": list("uuvvu")}
    _, _, alone, chosen = searched({"c": list("uuvv")}, value[:4])
    _, _, beside, also = searched(columns, value, stratum=np.array([0, 0, 0, 0, 1]))
    assert beside.effect[also] == pytest.approx(alone.effect[chosen])
    assert beside.z[also] == pytest.approx(alone.z[chosen])
    assert beside.error[also] == pytest.approx(alone.error[chosen])


def test_bonferronis_quantile():
    assert bonferroni(0.05, 1) == pytest.approx(1.959964, abs=1e-6)
    assert bonferroni(0.05, 10) == pytest.approx(2.807034, abs=1e-6)
    assert bonferroni(0.05, 0) == bonferroni(0.05, 1), "no test is asked of as of one"
    assert bonferroni(0.05, 3) == pytest.approx(stats.norm.isf(0.05 / 6))
    assert bonferroni(0.0, 3) == np.inf
