"""The search of slices: planted ones, other libraries, collapsed rows, clusters, strata, halves, refusals."""

import dataclasses
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import StratifiedTable

from clinometer.bias.intervals import newcombe
from clinometer.bias.slices import slices, slices_of
from clinometer.errors import DataError, UsageError
from clinometer.evidence import from_columns
from clinometer.records import plain
from reference.slice_search import clustered_error

GERMAN = Path(__file__).parents[2].parent / "shared" / "data" / "german_credit" / "german_readable.csv.gz"


def table(n=2000, seed=0, n_columns=4):
    generator = np.random.default_rng(seed)
    return {f"c{j}": generator.choice(["u", "v", "w"], size=n, p=[0.5, 0.3, 0.2]) for j in range(n_columns)}


def planted(n=2000, seed=0, rate=0.1, bad=0.45):
    columns = table(n, seed)
    worse = (columns["c0"] == "v") & (columns["c1"] == "w")
    return columns, np.random.default_rng(seed + 1).random(n) < np.where(worse, bad, rate)


def by_name(found):
    return {one.name: one for one in found.slices}


def test_the_planted_slice_leads_and_is_told_with_all_its_numbers():
    columns, value = planted()
    found = slices_of(columns, value, permutations=999)
    leader = found.leaders[0]
    assert leader is found.slices[0] and leader.name == "c0=v & c1=w"
    inside = (columns["c0"] == "v") & (columns["c1"] == "w")
    assert (leader.n, leader.n_complement, leader.k) == (inside.sum(), (~inside).sum(), value[inside].sum())
    assert leader.effect == pytest.approx(value[inside].mean() - value[~inside].mean())
    assert leader.estimate - leader.complement == pytest.approx(leader.effect)
    assert sum(leader.contributions) == pytest.approx(leader.estimate - found.overall)
    shorter = by_name(found)
    name = "".join(str(item) for item in leader.parent)
    assert leader.parent_effect == pytest.approx(shorter[name].effect)
    assert leader.incremental_effect == pytest.approx(leader.estimate - shorter[name].estimate)
    assert {str(one.item) for one in found.importance[:2]} == {"c0=v", "c1=w"}
    assert found.n_searched == found.n_tested and found.permutations == 999
    assert found.n_found == sum(one.found for one in found.slices)
    assert json.loads(json.dumps(plain(found)))["slices"][0]["items"][0]["column"] == "c0"
    assert "found of" in repr(found)


def test_statistics_are_those_of_other_libraries():
    columns, value = planted(800, 3)
    found = by_name(slices_of(columns, value, permutations=99, most=1000))
    inside = columns["c2"] == "u"
    cells = np.array(
        [[value[inside].sum(), (~value[inside]).sum()], [value[~inside].sum(), (~value[~inside]).sum()]]
    )
    chi_squared = stats.chi2_contingency(cells, correction=False).statistic
    assert found["c2=u"].z ** 2 == pytest.approx(chi_squared * 799 / 800, rel=1e-9)
    numbers = np.random.default_rng(0).normal(size=800) + inside
    means = by_name(slices_of(columns, numbers, permutations=99, most=1000))
    r = stats.pearsonr(inside.astype(float), numbers).statistic
    assert means["c2=u"].z == pytest.approx(r * np.sqrt(799), rel=1e-9)
    stratum = np.arange(800) % 3
    within = by_name(slices_of(columns, value, stratum=stratum, permutations=99, most=1000))
    tables = [
        [
            [np.sum(value & inside & (stratum == s)), np.sum(~value & inside & (stratum == s))],
            [np.sum(value & ~inside & (stratum == s)), np.sum(~value & ~inside & (stratum == s))],
        ]
        for s in range(3)
    ]
    expected = StratifiedTable([np.array(t, dtype=float) for t in tables]).test_null_odds().statistic
    assert within["c2=u"].z ** 2 == pytest.approx(expected, rel=1e-9)


def test_intervals_are_newcombes_at_the_critical_value_and_hold_together():
    columns, value = planted(1000, 5)
    found = slices_of(columns, value, permutations=399)
    confidence = 1 - 2 * stats.norm.sf(found.critical)
    for one in found.slices[:20]:
        ends = newcombe(one.k, one.n, int(value.sum()) - one.k, one.n_complement, confidence)
        assert (one.low, one.high) == pytest.approx((ends.low, ends.high), rel=1e-9)
    assert 2.5 < found.critical < 4.5, "far beyond 1.96: many are looked at"


def test_intervals_of_all_slices_miss_together_as_rarely_as_they_say():
    generator = np.random.default_rng(7)
    missed = runs = 0
    columns = table(600, 8, 3)
    truth = 0.2 + 0.25 * (columns["c0"] == "v")
    for seed in range(120):
        found = slices_of(
            columns, generator.random(600) < truth, permutations=99, seed=seed, min_count=40, most=500
        )
        runs += 1
        off = False
        for one in found.slices:
            inside = np.all([columns[item.column] == item.value for item in one.items], axis=0)
            effect = truth[inside].mean() - truth[~inside].mean()
            off |= not one.low <= effect <= one.high
        missed += off
    assert missed <= stats.binom.ppf(0.999, runs, 0.05)


def test_rows_outside_the_denominator_take_no_part():
    columns, value = planted(1500, 9)
    generator = np.random.default_rng(109)
    label = generator.random(1500) < 0.4
    data = {**columns, "label": label, "prediction": np.where(label, generator.random(1500) < 0.5, value)}
    evidence = from_columns(data, label="label", prediction="prediction", groups=list(columns))
    found = slices(evidence, of="false_positive_rate", permutations=199)
    negative = {name: column[~label] for name, column in columns.items()}
    alone = slices_of(negative, value[~label], permutations=199)
    assert found.n == (~label).sum() and found.words == "predicted positive, of those labelled negative"
    assert [dataclasses.replace(one) for one in found.slices] == list(alone.slices)
    assert found.leaders[0].name == "c0=v & c1=w"
    positive = slices(evidence, of="false_negative_rate", permutations=199)
    assert positive.n == label.sum() and positive.n_found == 0


@pytest.mark.parametrize("kind", ["rate", "mean", "strata"])
def test_rows_collapsed_with_counts_are_the_same_rows(kind):
    columns, value = planted(900, 11)
    value = value if kind == "rate" else np.round(value * 3.0 + np.random.default_rng(0).integers(0, 2, 900))
    roles = {"stratum": np.random.default_rng(1).integers(0, 4, 900)} if kind == "strata" else {}
    keys = np.stack([*(np.unique(c, return_inverse=True)[1] for c in columns.values()), value.astype(int)])
    keys = np.vstack([keys, *roles.values()]) if roles else keys
    _, where, count = np.unique(keys, axis=1, return_index=True, return_counts=True)
    assert len(where) < 900
    whole = slices_of(columns, value, permutations=199, **roles)
    fewer = slices_of(
        {name: column[where] for name, column in columns.items()},
        value[where],
        count=count,
        permutations=199,
        **{name: role[where] for name, role in roles.items()},
    )
    assert whole.n == fewer.n == 900 and whole.critical == pytest.approx(fewer.critical, rel=1e-9)
    for one, other in zip(whole.slices, fewer.slices, strict=True):
        assert (one.name, one.n, one.k, one.p_adjusted) == (other.name, other.n, other.k, other.p_adjusted)
        assert (one.low, one.high, one.z) == pytest.approx((other.low, other.high, other.z), rel=1e-9)


def test_a_rate_is_the_mean_of_ones_and_weights_of_one_change_nothing():
    columns, value = planted(900, 12)
    rate = by_name(slices_of(columns, value, permutations=199, most=500))
    mean = by_name(slices_of(columns, value.astype(float), permutations=199, most=500))
    weighed = slices_of(columns, value, weight=np.full(900, 2.5), permutations=199, most=500)
    single = by_name(slices_of(columns, value, cluster=np.arange(900), permutations=199, most=500))
    assert weighed.weighted and weighed.slices[0].k is None
    for name, one in rate.items():
        for other in (mean[name], by_name(weighed)[name], single[name]):
            assert (one.z, one.effect, one.estimate) == pytest.approx(
                (other.z, other.effect, other.estimate), abs=1e-9
            )
            assert abs(one.p_adjusted - other.p_adjusted) < 0.12


def test_large_numbers_lose_no_digits():
    columns, _ = planted(900, 12)
    value = np.random.default_rng(0).normal(size=900)
    near, far = (slices_of(columns, value + shift, permutations=99, most=500) for shift in (0.0, 1e9))
    assert [one.name for one in near.slices] == [one.name for one in far.slices]
    assert [one.z for one in far.slices] == pytest.approx([one.z for one in near.slices], abs=1e-5)
    assert far.slices[0].estimate == pytest.approx(1e9) and far.epsilon == pytest.approx(
        near.epsilon, rel=1e-5
    )


def test_rows_that_weigh_nothing_take_no_part():
    columns, value = planted(900, 12)
    weight = np.where(np.arange(900) < 600, 1.0, 0.0)
    some = slices_of(columns, value, weight=weight, permutations=99)
    first = slices_of(
        {name: c[:600] for name, c in columns.items()}, value[:600], weight=weight[:600], permutations=99
    )
    assert some.n == 600 and some.slices == first.slices


def test_weights_move_the_estimate():
    columns, value = planted(900, 13)
    weight = np.where(value, 3.0, 1.0)
    found = by_name(slices_of(columns, value, weight=weight, permutations=99, most=500))
    inside = columns["c0"] == "v"
    assert found["c0=v"].estimate == pytest.approx(np.average(value[inside], weights=weight[inside]))
    assert found["c0=v"].n == inside.sum()


def test_repeated_people_count_once():
    columns, value = planted(300, 14, bad=0.3)
    times = np.repeat(np.arange(300), 6)
    repeated = {name: column[times] for name, column in columns.items()}
    once = slices_of(columns, value, permutations=199, min_count=10)
    people = slices_of(repeated, value[times], cluster=times, permutations=199, min_count=60)
    fooled = slices_of(repeated, value[times], permutations=199, min_count=60)
    assert people.n_clusters == 300 and people.n == 1800 and people.cluster == "cluster"
    assert [one.z for one in people.slices] == pytest.approx([one.z for one in once.slices], rel=1e-9)
    assert people.n_found <= once.n_found + 1 and fooled.n_found > 3 * max(1, once.n_found)
    some = people.slices[0]
    inside = np.all([repeated[item.column] == item.value for item in some.items], axis=0)
    robust = clustered_error(inside, value[times].astype(float), times)
    assert (some.effect - some.low) / people.critical >= robust - 1e-12


def test_what_a_stratum_explains_is_not_found_within_strata():
    """Berkeley 1973 in small: everybody of one group applies where few are admitted."""
    generator = np.random.default_rng(15)
    hard = generator.random(3000) < 0.5
    sex = np.where(generator.random(3000) < np.where(hard, 0.85, 0.15), "f", "m")
    refused = generator.random(3000) < np.where(hard, 0.7, 0.2)
    data = {"sex": sex, "other": generator.choice(["x", "y"], size=3000), "department": np.where(hard, "A", "B"),
            "refused": refused}  # fmt: skip
    evidence = from_columns(data, prediction="refused", groups=["sex", "other"])
    marginal = by_name(slices(evidence, of="selection_rate", permutations=199))
    within = slices(evidence, of="selection_rate", strata=["department"], permutations=199)
    assert marginal["sex=f"].found and marginal["sex=f"].effect > 0.3
    assert within.n_found == 0 and within.n_strata == 2 and within.strata == ("department",)
    assert abs(by_name(within)["sex=f"].effect) < 0.08
    named = dataclasses.replace(evidence, strata=("department",))
    assert slices(named, of="selection_rate", permutations=199).slices == within.slices


def test_errors_of_a_regression_and_measures():
    columns = table(1500, 16)
    generator = np.random.default_rng(16)
    wide = (columns["c2"] == "w") & (columns["c3"] == "v")
    actual = generator.normal(size=1500)
    predicted = actual + generator.normal(size=1500) * np.where(wide, 3.0, 1.0)
    data = {**columns, "actual": actual, "predicted": predicted, "loss": np.abs(actual - predicted)}
    evidence = from_columns(
        data, label="actual", prediction="predicted", groups=list(columns), measures=["loss"]
    )
    found = slices(evidence, of="mean_absolute_error", permutations=199)
    assert found.kind == "mean" and found.leaders[0].name == "c2=w & c3=v"
    assert found.slices[0].estimate == pytest.approx(np.abs(actual - predicted)[wide].mean())
    assert slices(evidence, of="loss", permutations=199).slices == found.slices
    assert slices(evidence, of="mean_residual", permutations=199).n_found == 0, "wide is not shifted"


def test_one_half_chooses_and_the_other_confirms():
    columns, value = planted(4000, 17)
    found = slices_of(columns, value, confirm=0.5, permutations=999)
    assert (found.n_discover, found.n_confirm, found.n) == (2000, 2000, 4000)
    assert found.method == "discover and confirm" and found.n_tested <= 20
    first = found.slices[0]
    assert first.name == "c0=v & c1=w" and first.found and first.n + first.n_complement == 2000
    assert first.low < 0.35 < first.high
    null = np.random.default_rng(0).random(4000) < 0.2
    assert slices_of(columns, null, confirm=0.5, permutations=999).n_found == 0
    person = np.arange(4000) // 2
    pairs = {name: column[person] for name, column in columns.items()}
    halves = slices_of(pairs, value, cluster=person, confirm=0.25, permutations=999)
    assert halves.n_confirm == 1000 and halves.n_clusters == 500
    counted = slices_of(columns, value, count=np.full(4000, 3), confirm=0.5, permutations=999)
    assert counted.n_discover == counted.n_confirm == 6000
    with pytest.raises(UsageError, match=r"199 permutations have no p-value below 0.005.* Take 399"):
        slices_of(columns, value, confirm=0.5, permutations=199)


def test_the_half_that_chooses_sends_no_slice_that_a_shorter_one_says():
    columns, value = planted(4000, 17)
    columns["copy"] = columns["c0"]
    found = slices_of(columns, value, confirm=0.5, permutations=999, jaccard=1.0, epsilon=0.02)
    sent = {frozenset(map(str, one.items)) for one in found.slices}
    assert {"c0=v", "c1=w"} in sent or {"copy=v", "c1=w"} in sent
    assert not any({"c0=v", "copy=v"} <= items for items in sent), "a copy adds nothing"


def test_effects_of_the_half_that_chose_are_too_large_and_those_confirmed_are_not():
    columns = table(1200, 18)
    generator = np.random.default_rng(18)
    searched, confirmed = [], []
    for seed in range(25):
        value = generator.random(1200) < 0.2
        searched.append(abs(slices_of(columns, value, permutations=99, seed=seed).slices[0].effect))
        split = slices_of(columns, value, confirm=0.5, permutations=399, seed=seed)
        confirmed.append(np.mean([abs(one.effect) for one in split.slices]))
    assert np.mean(confirmed) < 0.8 * np.mean(searched)


def test_terms_of_texts_are_items():
    generator = np.random.default_rng(19)
    n = 2000
    terms = {name: generator.random(n) < 0.15 for name in ("muslim", "gay", "old")}
    female = generator.random(n) < 0.5
    value = generator.random(n) < np.where(terms["gay"] & female, 0.5, 0.1)
    found = slices_of({"sex": np.where(female, "f", "m")}, value, terms=terms, permutations=199)
    assert found.leaders[0].name == "sex=f & gay" and found.terms == ("muslim", "gay", "old")
    assert found.leaders[0].items[1].term


def test_a_longer_slice_that_adds_nothing_is_redundant_and_in_its_parents_group():
    columns = {name: column[:2000] for name, column in table(2000, 20).items()}
    value = np.random.default_rng(21).random(2000) < np.where(columns["c0"] == "v", 0.5, 0.1)
    columns["copy"] = columns["c0"]
    found = slices_of(columns, value, permutations=199, depth=2, epsilon=0.03)
    names = by_name(found)
    longer = names["c0=v & copy=v"]
    assert (
        longer.redundant and longer.incremental_effect == 0.0 and longer.parent_effect == names["c0=v"].effect
    )
    assert {names[name].group for name in ("c0=v", "copy=v", "c0=v & copy=v", "c0=v & c1=u")} == {0}
    assert (
        found.leaders[0].name in ("c0=v", "copy=v")
        and len([one for one in found.leaders if one.effect > 0]) == 1
    )
    strict = by_name(slices_of(columns, value, permutations=199, depth=2, epsilon=0.0, jaccard=1.0))
    assert strict["c0=v & copy=v"].redundant and not strict["c0=v & c1=u"].redundant
    assert any(one.group != names["c0=v"].group for one in found.found if one.effect < 0), (
        "the other direction is apart"
    )


def test_slices_that_have_no_complement_are_searched_and_not_tested():
    columns = {**table(500, 22, 2), "all": np.array(["x"] * 500)}
    found = slices_of(columns, np.random.default_rng(0).random(500) < 0.3, permutations=99, depth=2)
    assert found.n_tested < found.n_searched
    assert "all=x" not in by_name(found) and "c0=u & all=x" in by_name(found)
    assert by_name(found)["c0=u & all=x"].parent is not None


def test_the_settings_are_in_the_record_and_the_seed_decides():
    columns, value = planted(600, 23, bad=0.2)
    one = slices_of(columns, value, permutations=99, seed=4, depth=2, min_support=0.05, min_count=31)
    assert (one.min_support, one.min_count, one.depth, one.seed, one.engine) == (0.05, 31, 2, 4, "numpy")
    assert all(s.n >= 31 and s.support >= 0.05 and len(s.items) <= 2 for s in one.slices)
    again = slices_of(columns, value, permutations=99, seed=4, depth=2, min_support=0.05, min_count=31)
    other = slices_of(columns, value, permutations=99, seed=5, depth=2, min_support=0.05, min_count=31)
    assert again == one and other.critical != one.critical
    assert len(slices_of(columns, value, permutations=99, most=3).slices) == 3
    wide = slices_of(columns, value, permutations=99, epsilon=None)
    assert wide.epsilon == pytest.approx(0.05 * value.std())


def test_german_credit_is_searched_with_its_missing_values():
    if not GERMAN.is_file():
        pytest.skip("the German credit data are not beside the checkout")
    with gzip.open(GERMAN, "rt", encoding="utf-8") as file:
        header, *lines = [line.strip().split(",") for line in file]
    columns = {name.strip('"'): [line[i].strip('"') for line in lines] for i, name in enumerate(header)}
    bad = np.array([value in {"0", "bad"} for value in columns["risk"]])
    chosen = {
        name: columns[name] for name in ("sex", "job", "housing", "saving_accounts", "checking_account")
    }
    found = slices_of(chosen, bad, permutations=199)
    assert found.n == 1000 and 0 < found.n_found < found.n_tested
    assert found.slices[0].items[0].column in chosen


def evidence_of(**more):
    columns, value = planted(300, 24)
    data = {**columns, "label": np.zeros(300, dtype=bool), "prediction": value, **more}
    return from_columns(data, label="label", prediction="prediction", groups=list(columns))


def test_what_cannot_be_searched_is_refused():
    columns, value = planted(300, 24)
    with pytest.raises(DataError, match="'person' has 5,000 values"):
        slices_of({"person": [f"p{i}" for i in range(5000)]}, np.arange(5000) % 3 == 0)
    with pytest.raises(DataError, match=r"'income' holds 300 different numbers.*cm\.bins"):
        slices(evidence_of(income=np.linspace(0, 1, 300)), columns=["income"])
    with pytest.raises(UsageError, match="there is no column 'c9'"):
        slices(evidence_of(), columns=["c9"])
    with pytest.raises(UsageError, match="did you mean 'error_rate'"):
        slices(evidence_of(), of="eror_rate")
    with pytest.raises(UsageError, match="cannot be searched by 'roc_auc'"):
        slices(evidence_of(), of="roc_auc")
    with pytest.raises(DataError, match=r"true_positive_rate is .* nobody is in its denominator"):
        slices(evidence_of(), of="true_positive_rate")
    with pytest.raises(DataError, match="the evidence has no label"):
        slices(dataclasses.replace(evidence_of(), label=None))
    with pytest.raises(DataError, match="value does not vary"):
        slices_of(columns, np.zeros(300, dtype=bool))
    with pytest.raises(DataError, match=r"no slice holds 200 of the 300 rows"):
        slices_of(columns, value, min_count=200)
    with pytest.raises(DataError, match="terms have 2 rows, the evidence has 300"):
        slices(evidence_of(), columns=[], terms={"t": np.array([True, False])})
    with pytest.raises(DataError, match="inside is False in every row"):
        slices_of(columns, value, inside=np.zeros(300, dtype=bool))
    with pytest.raises(DataError, match="value has 299 rows, the columns have 300"):
        slices_of(columns, value[:299])
    with pytest.raises(DataError, match="weight is negative in 1 rows"):
        slices_of(columns, value, weight=np.r_[-1.0, np.ones(299)])
    with pytest.raises(DataError, match=r"cluster has .* one whole number per row"):
        slices_of(columns, value, cluster=["a"] * 300)
    with pytest.raises(DataError, match="all rows are of one cluster"):
        slices_of(columns, value, cluster=np.zeros(300, dtype=int))
    with pytest.raises(
        DataError, match=r"'c0' differs within .* Leave that column out; or compare within clusters"
    ):
        slices_of(columns, value, cluster=np.arange(300) // 3)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"alpha": 0.0}, "alpha is 0.0"),
        ({"min_support": 1.5}, "min_support is 1.5"),
        ({"confirm": 1.0}, "confirm is 1.0"),
        ({"min_count": 1}, "min_count is 1; 2 or more"),
        ({"depth": 0}, "depth is 0"),
        ({"most": 0}, "most is 0"),
        ({"permutations": 50}, "permutations is 50"),
        ({"epsilon": -1.0}, "epsilon is -1.0"),
        ({"alpha": 0.001, "permutations": 99}, "99 permutations have no p-value below 0.01.* Take 999"),
        ({"engine": "fortran"}, "no engine is named 'fortran'"),
        ({"max_memory": 10}, "max_memory is 10 bytes"),
    ],
)
def test_settings_out_of_range_are_refused(setting, said):
    columns, value = planted(300, 24)
    with pytest.raises(UsageError, match=said):
        slices_of(columns, value, **setting)


def test_means_of_several_rows_are_refused():
    data = {"g": ["a", "b"] * 50, "loss": np.arange(100.0), "n": [3] * 100, "s": [1.0] * 100}
    evidence = from_columns(data, groups=["g"], measures=["loss"], count="n", squares={"loss": "s"})
    with pytest.raises(DataError, match="'loss' holds means of several rows"):
        slices(evidence, of="loss")


def test_intervals_of_rates_within_strata_end_where_differences_of_rates_end():
    # All of the slice and none of the rest, 6 of 12 rows in each of two strata: no error of its own, but sd's.
    value = np.arange(24) % 2 == 0
    columns = {"c": np.where(value, "u", "v")}
    stratum = np.arange(24) // 12
    found = by_name(slices_of(columns, value, stratum=stratum, permutations=99, min_count=2, most=10))
    assert found["c=u"].effect == pytest.approx(1.0) and found["c=v"].effect == pytest.approx(-1.0)
    assert (found["c=u"].high, found["c=v"].low) == (1.0, -1.0)
    assert 0 < found["c=u"].low < 1.0 and found["c=v"].high == pytest.approx(-found["c=u"].low)
    # Numbers have no such end: the same values as numbers reach beyond it.
    numbers = by_name(
        slices_of(columns, value.astype(float), stratum=stratum, permutations=99, min_count=2, most=10)
    )
    assert numbers["c=u"].high > 1.0 and numbers["c=v"].low < -1.0
    assert numbers["c=u"].high - 1.0 == pytest.approx(1.0 - found["c=u"].low)


def test_a_slice_of_nearly_all_rows_of_a_shorter_one_says_the_same():
    # "c=u & d=x" has 8 of the 10 rows of "c=u": four fifths, at which it says the same; at .81 it does not.
    c = np.array(["u"] * 10 + ["v"] * 30)
    d = np.array(["x"] * 8 + ["y"] * 2 + ["x"] * 10 + ["y"] * 20)
    value = np.concatenate([np.arange(10) < 7, np.arange(30) < 3])
    for jaccard, redundant in ((0.8, True), (0.81, False)):
        found = by_name(
            slices_of(
                {"c": c, "d": d}, value, permutations=99, min_count=2, epsilon=0.0, jaccard=jaccard, most=99
            )
        )
        one = found["c=u & d=x"]
        assert one.n == 8 and one.parent == found["c=u"].items
        assert one.redundant is redundant
        assert one.incremental_effect == pytest.approx(7 / 8 - 7 / 10)
