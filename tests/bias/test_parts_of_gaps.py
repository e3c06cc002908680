"""Identity, proxies and treatment add up to the gap, and each planted cause is found under its own name alone."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinometer.bias.ledger import contrast_of
from clinometer.bias.lexicons import Entry, SwapLexicon
from clinometer.bias.parts_of_gaps import parts_of_gap
from clinometer.bias.value_units import by_value
from clinometer.errors import DataError, UsageError
from reference.dividing import attributed, corpus, parts, shares


def compared(made, n_group=100, names=("a", "b")):
    groups = ["a"] * n_group + ["b"] * (len(made) - n_group)
    return contrast_of(made.ids, groups, "group", *names)


def estimates(found):
    return {part.name: part.estimate for part in found.parts}


def total(found):
    return sum(part.estimate for part in found.parts) + found.residual


def test_known_answer():
    """Two units; the group has "w" twice as often, and the reference has "v" count for less."""
    made = attributed([["w", "v"], ["w", "v"], ["w", "v"], ["v"]], [[1, 3], [1, 3], [1, 1], [1.0]])
    found = parts_of_gap(made, compared(made, 2), minimum=2, replicates=50)
    units = {one.unit: one for one in found.units}
    assert (units["w"].frequency, units["w"].treatment) == (pytest.approx(0.5), pytest.approx(0.0))
    assert (units["v"].frequency, units["v"].treatment) == (pytest.approx(0.0), pytest.approx(2.0))
    assert (units["w"].per_row_group, units["w"].per_row_reference) == (1.0, 0.5)
    assert (units["v"].mean_group, units["v"].mean_reference) == (3.0, 1.0)
    assert estimates(found) == pytest.approx(
        {"identity": 0, "proxies": 0.5, "treatment": 2.0, "too rare to divide": 0, "baseline": 0}
    )


@given(st.integers(0, 2**31))
@settings(max_examples=25)
def test_slow_twin_and_the_sum(seed):
    generator = np.random.default_rng(seed)
    made = corpus(70, seed=seed, n_group=30, frequency=0.3, treatment=0.5)
    pair = compared(made, 30)
    weights = pair.weights * generator.uniform(0.5, 2, size=70)
    weights[weights > 0] /= weights[weights > 0].sum()
    weights[weights < 0] /= -weights[weights < 0].sum()
    pair = dataclasses.replace(pair, weights=weights)
    found = parts_of_gap(made, pair, identity=["w0"], minimum=5, replicates=50)
    expected, whole = parts(made, pair.weights), shares(made, pair.weights)
    for one in found.units:
        if one.identity:
            assert (one.unit, one.treatment) == ("w0", 0.0)
            assert one.frequency == pytest.approx(whole["w0"], abs=1e-12)
        else:
            assert (one.frequency, one.treatment) == pytest.approx(expected[one.unit], abs=1e-12)
        assert one.share == pytest.approx(whole[one.unit], abs=1e-12)
    assert total(found) == pytest.approx(found.gap, abs=1e-12)
    assert found.residual == pytest.approx(pair.gap(made.residual), abs=1e-9)


def test_turning_the_groups_turns_signs_and_moves_nothing_between_parts():
    made = corpus(200, n_group=80, frequency=0.3, treatment=0.5)
    one = parts_of_gap(made, compared(made, 80), replicates=50)
    other = parts_of_gap(made, compared(made, 80, ("b", "a")), replicates=50)
    for a, b in zip(one.parts, other.parts, strict=True):
        assert a.estimate == pytest.approx(-b.estimate, abs=1e-12)


@pytest.mark.parametrize(("planted", "silent"), [("proxies", "treatment"), ("treatment", "proxies")])
def test_only_what_was_planted_is_found(planted, silent):
    """The truth is known: .4 more often times 1, or half the rows times .8."""
    more = {"frequency": 0.4} if planted == "proxies" else {"treatment": 0.8}
    made = corpus(900, seed=3, n_group=450, noise=0.02, words=10, **more)
    found = parts_of_gap(made, compared(made, 450), replicates=300)
    guilty, clean = found.part(planted), found.part(silent)
    assert guilty.estimate == pytest.approx(0.4, rel=0.2) and guilty.low < 0.4 < guilty.high
    assert guilty.low > 0.2
    assert clean.low < 0 < clean.high and abs(clean.estimate) < 0.1
    name = "proxy" if planted == "proxies" else "same"
    field = "frequency" if planted == "proxies" else "treatment"
    assert [one.unit for one in found.units if getattr(one, f"{field}_low") > 0] == [name]
    other = "treatment" if planted == "proxies" else "frequency"
    assert all(getattr(one, f"{other}_low") <= 0 <= getattr(one, f"{other}_high") for one in found.units)


def test_identity_terms_take_their_whole_share_by_hand_or_from_a_lexicon():
    made = corpus(300, n_group=100, frequency=0.3)
    turned = {"proxy": "woman", "same": "man"}
    made = dataclasses.replace(
        made, tokens=tuple(tuple(turned.get(t, t) for t in row) for row in made.tokens)
    )
    by_hand = parts_of_gap(made, compared(made), identity=["Woman", "man"], replicates=60)
    lexicon = SwapLexicon(
        name="few",
        version="1",
        source="here",
        attribute="gender",
        groups=("female", "male"),
        entries=(
            Entry(forms={"female": ("woman",), "male": ("man",)}),
            Entry(forms={"female": ("her own",), "male": ("his own",)}),
        ),
    )
    by_lexicon = parts_of_gap(made, compared(made), identity=lexicon, replicates=60)
    built_in = parts_of_gap(made, compared(made), identity="gendered nouns", replicates=60)
    assert estimates(by_hand) == estimates(by_lexicon) == estimates(built_in)
    whole = shares(made, compared(made).weights)
    assert by_hand.part("identity").estimate == pytest.approx(whole["woman"] + whole["man"], abs=1e-12)
    assert sorted(one.unit for one in by_hand.units if one.identity) == ["man", "woman"]
    none = parts_of_gap(made, compared(made), replicates=60)
    assert none.part("identity").estimate == 0 and none.gap == by_hand.gap


def test_rare_words_are_not_divided_and_stay_in_the_sum():
    made = corpus(120, n_group=50, words=200)
    fine = parts_of_gap(made, compared(made, 50), minimum=2, replicates=50)
    coarse = parts_of_gap(made, compared(made, 50), minimum=20, replicates=50)
    assert coarse.n_too_rare > fine.n_too_rare > 0
    kept = {one.unit for one in coarse.units}
    whole = shares(made, compared(made, 50).weights)
    rest = sum(value for unit, value in whole.items() if unit not in kept)
    assert coarse.part("too rare to divide").estimate == pytest.approx(rest, abs=1e-12)
    assert total(coarse) == pytest.approx(coarse.gap, abs=1e-12)


def test_intervals_cover_zero_at_their_rate_where_groups_are_drawn():
    made = corpus(240, seed=9, words=15)
    generator = np.random.default_rng(1)
    runs = 80
    covered = {"proxies": 0, "treatment": 0, "units": 0}
    for i in range(runs):
        groups = np.where(generator.permutation(240) < 120, "a", "b").tolist()
        pair = contrast_of(made.ids, groups, "g", "a", "b")
        found = parts_of_gap(made, pair, replicates=150, seed=i)
        for name in ("proxies", "treatment"):
            covered[name] += found.part(name).low <= 0 <= found.part(name).high
        covered["units"] += all(
            one.frequency_low <= 0 <= one.frequency_high and one.treatment_low <= 0 <= one.treatment_high
            for one in found.units
        )
    error = np.sqrt(0.95 * 0.05 / runs)
    assert all(count / runs >= 0.95 - 3 * error for count in covered.values()), covered
    assert covered["proxies"] < runs or covered["treatment"] < runs  # intervals are not endless


def table(n=400, *, seed=0, inside=0.5, treated=0.0):
    """Applicants: `home` is rented more often in the group by `inside` - .5; renting counts 1, less `treated` there."""
    generator = np.random.default_rng(seed)
    group = np.arange(n) < n // 2
    rents = generator.random(n) < np.where(group, inside, 0.5)
    income = generator.normal(size=n)
    home = -1.0 * rents - treated * (rents & group)
    scores = np.column_stack([0.5 * income, home, np.zeros(n)])
    columns = {"income": income, "home": np.where(rents, "rent", "own")}
    made = attributed([["income", "home", "[CLS]"]] * n, scores)
    return made, columns


@pytest.mark.parametrize(("planted", "inside", "treated"), [("proxies", 0.9, 0.0), ("treatment", 0.5, 0.8)])
def test_of_a_table_the_values_are_what_is_more_frequent(planted, inside, treated):
    made, columns = table(inside=inside, treated=treated)
    valued = by_value(made, columns, bins=4)
    pair = compared(made, 200)
    found = parts_of_gap(valued.attribution, pair, into=valued.features, fold_case=False, replicates=200)
    assert total(found) == pytest.approx(found.gap, abs=1e-12)
    units = {one.unit: one for one in found.units}
    assert list(units) == ["income", "home", "[CLS]"]
    for column, unit in enumerate(units):  # a feature's parts are its share, as in the plain ledger
        assert units[unit].share == pytest.approx(pair.weights @ made.scores[:, column], abs=1e-12)
    guilty, other = ("frequency", "treatment") if planted == "proxies" else ("treatment", "frequency")
    assert getattr(units["home"], f"{guilty}_high") < -0.2
    assert getattr(units["home"], f"{other}_low") <= 1e-9 and getattr(units["home"], f"{other}_high") >= -1e-9
    assert abs(units["income"].treatment) < 0.05
    by_identity = parts_of_gap(
        valued.attribution, pair, identity=["home"], into=valued.features, fold_case=False, replicates=50
    )
    assert by_identity.part("identity").estimate == pytest.approx(units["home"].share, abs=1e-12)


def test_values_are_named_and_binned():
    made = attributed([["age", "home", "n"]] * 6, np.arange(18.0).reshape(6, 3))
    valued = by_value(
        made,
        {
            "age": [20, 30, 40, 50, None, 60.0],
            "home": ["x", "y", None, "x", "y", "y"],
            "n": [1, 2, 1, 2, 1, 1],
        },
        bins=2,
    )
    assert [row[0] for row in valued.attribution.tokens] == [
        "age in [20, 40)", "age in [20, 40)", "age in [40, 60]", "age in [40, 60]", "age missing", "age in [40, 60]",
    ]  # fmt: skip
    assert [row[1] for row in valued.attribution.tokens][:3] == ["home = x", "home = y", "home missing"]
    assert {row[2] for row in valued.attribution.tokens} == {"n = 1", "n = 2"}
    assert set(valued.features.values()) == {"age", "home", "n"}
    np.testing.assert_array_equal(valued.attribution.scores, made.scores)


def test_what_cannot_be_divided_is_refused():
    made = corpus(60, n_group=30)
    pair = compared(made, 30)
    with pytest.raises(DataError, match="no unit 'womn' to be an identity term"):
        parts_of_gap(made, pair, identity=["womn"])
    with pytest.raises(DataError, match="into names 'x', no unit"):
        parts_of_gap(made, pair, into={"x": "y"})
    with pytest.raises(UsageError, match="2 rows or more"):
        parts_of_gap(made, pair, minimum=1)
    with pytest.raises(DataError, match="nothing can be divided"):
        parts_of_gap(made, pair, minimum=10_000)
    with pytest.raises(UsageError, match="no two sides"):
        parts_of_gap(made, dataclasses.replace(pair, weights=np.abs(pair.weights)))
    with pytest.raises(DataError, match="in tables only"):
        by_value(made, {})
    whole, columns = table(20)
    with pytest.raises(DataError, match="no feature 'incom': did you mean 'income'"):
        by_value(whole, {"incom": columns["income"]})
    with pytest.raises(DataError, match="20 values are expected"):
        by_value(whole, {"home": columns["home"][:3]})
    with pytest.raises(UsageError, match="two or more"):
        by_value(whole, columns, bins=1)
    wide, _ = table(500)
    with pytest.raises(DataError, match="at most 200 are units"):
        by_value(wide, {"home": [f"street {i}" for i in range(500)]})


def test_every_interval_holds_its_estimate_in_its_middle():
    made = corpus(200, n_group=80, frequency=0.3, treatment=0.5)
    found = parts_of_gap(made, compared(made, 80), replicates=50)
    ends = [(found.gap, found.gap_low, found.gap_high)]
    ends += [(one.estimate, one.low, one.high) for one in found.parts]
    for one in found.units:
        ends.append((one.frequency, one.frequency_low, one.frequency_high))
        ends.append((one.treatment, one.treatment_low, one.treatment_high))
    for estimate, low, high in ends:
        assert low <= estimate <= high and estimate - low == pytest.approx(high - estimate)
    assert found.gap_low < found.gap < found.gap_high
    assert (found.n_group, found.n_reference, found.replicates) == (80, 120, 50)


def test_more_confidence_reaches_further():
    made = corpus(400, n_group=200, frequency=0.3, treatment=0.5, words=10)
    pair = compared(made, 200)
    less, more = (parts_of_gap(made, pair, confidence=c, replicates=300) for c in (0.8, 0.99))
    assert less.gap == more.gap and less.gap_high < more.gap_high
    for one, other in zip(less.parts, more.parts, strict=True):
        assert one.high <= other.high
