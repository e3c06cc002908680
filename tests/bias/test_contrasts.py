"""Weights of every kind of contrast give the gap they are named after, and say who weighs nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinometer.bias.contrasts import conditional_gap, matched_gap, mean_gap
from clinometer.bias.gap_contrast import SoftThreshold, meant
from clinometer.bias.ledger import contrast
from clinometer.bias.slice_contrasts import slice_gap
from clinometer.bias.slices import slices
from clinometer.bias.strata import standardised_gap, stratify
from clinometer.errors import DataError, UsageError
from clinometer.evidence import from_columns


def people(n=240, *, seed=0, **more):
    generator = np.random.default_rng(seed)
    group = generator.choice(["a", "b", "c", ""], size=n, p=[0.3, 0.4, 0.2, 0.1])
    age = generator.normal(40, 10, size=n) + 3 * (group == "a")
    score = generator.normal(size=n) + 0.03 * age
    columns = {
        "score": score,
        "decision": (score > 1.2).astype(int),
        "label": (score + generator.normal(size=n) > 1.2).astype(int),
        "group": group,
        "age": age,
        "region": generator.choice(["north", "south"], size=n),
        "times": generator.integers(1, 4, size=n),
        "weight": generator.uniform(0.5, 2, size=n),
        "person": generator.integers(0, 60, size=n),
    }
    return from_columns(columns, label="label", score="score", groups=("group", "region"), **more)


def weighted(evidence, rows, values):
    weight = evidence.counts * evidence.weights
    return np.average(values[rows], weights=weight[rows])


def masks(evidence):
    group = np.array([name or "" for name in evidence.group("group")])
    return group == "a", group == "b"


def test_known_answer():
    made = from_columns(
        {"score": [1, 3, 2, 6, 9.0], "g": ["x", "x", "y", "y", ""], "n": [1, 3, 1, 1, 5]},
        count="n",
        groups=("g",),
    )
    gap = mean_gap(made, "g", "x", "y")
    np.testing.assert_allclose(gap.weights, [0.25, 0.75, -0.5, -0.5, 0])
    assert gap.gap([1, 3, 2, 6, 9]) == 2.5 - 4
    assert (gap.contrast.n_group, gap.contrast.n_reference) == (4, 2)
    assert gap.words == "mean score: x minus y"


@pytest.mark.parametrize(
    "roles", [{}, {"count": "times"}, {"weight": "weight"}, {"count": "times", "weight": "weight"}]
)
def test_means_and_conditional_means_are_those_of_the_rows(roles):
    evidence = people(**roles)
    a, b = masks(evidence)
    score, label = evidence.column("score"), evidence.column("label") == 1
    expected = weighted(evidence, a, score) - weighted(evidence, b, score)
    assert mean_gap(evidence, "group", "a", "b").gap(score) == pytest.approx(expected, abs=1e-12)
    for positive in (True, False):
        rows = label == positive
        made = conditional_gap(evidence, "group", "a", "b", label=positive)
        expected = weighted(evidence, a & rows, score) - weighted(evidence, b & rows, score)
        assert made.gap(score) == pytest.approx(expected, abs=1e-12)
        assert sum(made.left_out.values()) == np.sum((a | b) & ~rows)


def test_rates_are_the_audits():
    """Weighing decisions in place of scores gives selection, true- and false-positive rates."""
    evidence = people()
    a, b = masks(evidence)
    decided, label = evidence.column("decision"), evidence.column("label") == 1
    assert mean_gap(evidence, "group", "a", "b").gap(decided) == pytest.approx(
        decided[a].mean() - decided[b].mean()
    )
    made = conditional_gap(evidence, "group", "a", "b", label=True)
    assert made.gap(decided) == pytest.approx(decided[a & label].mean() - decided[b & label].mean())


@pytest.mark.parametrize("mix", ["both", "group", "reference"])
def test_a_matched_gap_is_the_standardised_one(mix):
    """Against bias.strata, which computes it from counts."""
    evidence = people(count="times")
    a, b = masks(evidence)
    decided = evidence.column("decision")
    strata = stratify(decided == 1, a, list(evidence.group("region")), reference=b, count=evidence.counts)
    made = matched_gap(evidence, "group", "a", "b", on=["region"], mix=mix)
    assert made.gap(decided) == pytest.approx(standardised_gap(strata, mix).gap, abs=1e-12)
    assert "alike in region" in made.words and mix in made.words


def test_a_matched_contrast_gives_both_sides_one_mix_and_counts_who_has_no_counterpart():
    evidence = people(n=150, seed=3, weight="weight")
    a, b = masks(evidence)
    made = matched_gap(evidence, "group", "a", "b", on=["region"], bands={"age": 6})
    edges = np.quantile(evidence.column("age"), np.linspace(0, 1, 7))
    band = np.clip(np.searchsorted(edges, evidence.column("age"), side="right") - 1, 0, 5)
    region = np.array(evidence.group("region"))
    alone = 0
    for place in {(r, k) for r in ("north", "south") for k in range(6)}:
        inside = (region == place[0]) & (band == place[1])
        up, down = made.weights[inside & a].sum(), -made.weights[inside & b].sum()
        assert up == pytest.approx(down, abs=1e-12)
        if not ((inside & a).any() and (inside & b).any()):
            assert up == down == 0
            alone += int((inside & (a | b)).sum())
    assert made.left_out["without a counterpart in their stratum"] == alone
    assert made.weights[a].sum() == pytest.approx(1) and made.weights[b].sum() == pytest.approx(-1)


def test_matching_takes_away_what_the_covariate_explains():
    """The score depends on age alone: the plain gap is large, the matched one is not."""
    generator = np.random.default_rng(1)
    a = generator.random(4000) < 0.5
    age = np.round(generator.normal(40 + 5 * a, 6))
    made = from_columns(
        {"score": 0.1 * age, "g": np.where(a, "a", "b"), "age": age.astype(int)}, groups=("g",), score="score"
    )
    score = made.column("score")
    assert mean_gap(made, "g", "a", "b").gap(score) > 0.4
    assert matched_gap(made, "g", "a", "b", on=["age"]).gap(score) == pytest.approx(0, abs=1e-9)
    coarse = matched_gap(made, "g", "a", "b", bands={"age": [20, 30, 35, 40, 45, 50, 60]}).gap(score)
    assert 0 < coarse < 0.12
    assert matched_gap(made, "g", "a", "b", bands={"score": 8}).gap(score) == pytest.approx(0, abs=0.1)


def test_rows_of_an_unknown_stratum_weigh_nothing():
    made = from_columns(
        {"score": [1, 2, 3, 4, 5, 6.0], "g": list("aaabbb"), "s": ["x", "x", None, "x", "x", "y"]},
        groups=("g",),
    )
    gap = matched_gap(made, "g", "a", "b", on=["s"])
    np.testing.assert_allclose(gap.weights, [0.5, 0.5, 0, -0.5, -0.5, 0])
    assert dict(gap.left_out) == {"of an unknown stratum": 1, "without a counterpart in their stratum": 1}


def test_a_slice_is_compared_with_its_complement():
    evidence = people(n=400)
    score = evidence.column("score")
    mask = evidence.column("age") > 45
    made = slice_gap(evidence, mask, name="older")
    assert made.gap(score) == pytest.approx(score[mask].mean() - score[~mask].mean())
    found = slices(evidence, columns=["region"], of="score", permutations=99, min_support=0.1).slices[0]
    by_slice = slice_gap(evidence, found)
    assert by_slice.gap(score) == pytest.approx(found.effect, abs=1e-9)
    assert by_slice.contrast.group == found.name
    inside = evidence.column("label") == 0
    among = slice_gap(evidence, mask, inside=inside)
    assert among.gap(score) == pytest.approx(score[mask & inside].mean() - score[~mask & inside].mean())
    assert among.left_out == {"outside the denominator": int((~inside).sum())}


def test_a_soft_surrogate_says_that_it_is_one_and_nears_the_rate():
    evidence = people(n=400)
    score = evidence.column("score")
    rate = mean_gap(evidence, "group", "a", "b").gap(score > 1.2)
    made = [
        mean_gap(evidence, "group", "a", "b", soft=SoftThreshold(threshold=1.2, temperature=t))
        for t in (1, 1e-6)
    ]
    assert made[1].gap(score) == pytest.approx(rate, abs=1e-6)
    assert abs(made[0].gap(score) - rate) > 0.01
    assert all("soft surrogate of selection_rate" in one.words for one in made)
    given = conditional_gap(
        evidence, "group", "a", "b", label=False, soft=SoftThreshold(threshold=0, temperature=1)
    )
    assert "soft surrogate of false_positive_rate" in given.words
    assert SoftThreshold(threshold=0, temperature=1)([-1000, 0, 1000]).tolist() == [0, 0.5, 1]


def test_clusters_and_counts_travel_with_the_contrast():
    evidence = people(count="times", cluster="person")
    made = mean_gap(evidence, "group", "a")
    assert len(np.unique(made.cluster)) == len(np.unique(evidence.column("person")))
    assert np.array_equal(made.count, evidence.counts)
    plain = contrast(people(), "group", "a")
    np.testing.assert_allclose(mean_gap(people(), "group", "a").weights, plain.weights)
    assert meant(plain).words == "mean score: a minus everyone else"


@given(st.integers(0, 2**31), st.sampled_from(["mean", "conditional", "matched"]))
def test_turning_the_groups_turns_the_sign_and_nothing_else(seed, kind):
    evidence = people(n=120, seed=seed, count="times", weight="weight")
    made = {
        "mean": lambda *names: mean_gap(evidence, "group", *names),
        "conditional": lambda *names: conditional_gap(evidence, "group", *names, label=True),
        "matched": lambda *names: matched_gap(evidence, "group", *names, on=["region"]),
    }[kind]
    one, other = made("a", "b"), made("b", "a")
    np.testing.assert_allclose(one.weights, -other.weights, atol=1e-15)
    assert one.weights[one.weights > 0].sum() == pytest.approx(1)


def test_what_cannot_be_compared_is_refused():
    evidence = people()
    with pytest.raises(DataError, match="with itself"):
        mean_gap(evidence, "group", "a", "a")
    with pytest.raises(DataError, match="did you mean 'a'"):
        mean_gap(evidence, "group", "aa")
    with pytest.raises(UsageError, match="no label"):
        conditional_gap(from_columns({"score": [1.0], "g": ["x"]}, groups=("g",)), "g", "x", label=True)
    with pytest.raises(UsageError, match="give on= or bands="):
        matched_gap(evidence, "group", "a", "b")
    with pytest.raises(UsageError, match="did you mean 'region'"):
        matched_gap(evidence, "group", "a", "b", on=["regio"])
    with pytest.raises(UsageError, match="mix is 'all'"):
        matched_gap(evidence, "group", "a", "b", on=["region"], mix="all")
    with pytest.raises(DataError, match="nothing can be matched"):
        matched_gap(evidence, "group", "a", "b", on=["group"])
    with pytest.raises(DataError, match="at least two are needed"):
        slice_gap(evidence, np.arange(240) < 1)
    with pytest.raises(DataError, match="5 rows, the evidence has 240"):
        slice_gap(evidence, np.ones(5, dtype=bool))
    with pytest.raises(UsageError, match="temperature above 0"):
        SoftThreshold(threshold=0, temperature=0)
    found = slices(
        evidence, columns=["region"], terms={"x": evidence.column("age") > 40}, of="score", permutations=99
    )
    of_terms = next(one for one in found.slices if any(item.term for item in one.items))
    with pytest.raises(UsageError, match="no columns"):
        slice_gap(evidence, of_terms)
