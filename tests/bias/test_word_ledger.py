"""A gap among words adds up, rare words stay in the sum, intervals hold their rate for all words at once."""

import dataclasses
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinometer.bias.contrasts import conditional_gap, matched_gap, mean_gap
from clinometer.bias.gap_contrast import SoftThreshold
from clinometer.bias.ledger import contrast_of, ledger
from clinometer.bias.parts_of_gaps import parts_of_gap
from clinometer.bias.unit_rows import unit_rows
from clinometer.bias.word_ledger import BASELINE, OTHER, word_ledger
from clinometer.errors import DataError
from clinometer.evidence import from_columns
from reference.dividing import attributed, corpus, shares


def compared(made, n_group=100):
    return contrast_of(made.ids, ["a"] * n_group + ["b"] * (len(made) - n_group), "group", "a", "b")


def total(entry):
    return sum(share.estimate for share in entry.shares) + entry.residual


def test_known_answer():
    made = attributed([["Good", "film"], ["good", "good"], ["film"], ["bad"]], [[1, 2], [3, 4], [5], [-6.0]])
    entry = word_ledger(
        made, contrast_of(made.ids, ["a", "a", "b", "b"], "g", "a", "b"), minimum=2, replicates=50
    )
    found = {share.unit: share.estimate for share in entry.shares}
    assert found == {"good": 4.0, "film": 1.0 - 2.5, f"{OTHER} (1)": 3.0}
    assert entry.gap == pytest.approx(5.0 - -0.5) and entry.residual == pytest.approx(0, abs=1e-12)


@given(st.integers(0, 2**31), st.integers(2, 40))
@settings(max_examples=25)
def test_slow_twin_and_the_sum(seed, minimum):
    made = corpus(80, seed=seed, n_group=30)
    pair = compared(made, 30)
    entry = word_ledger(made, pair, minimum=minimum, replicates=50)
    expected = shares(made, pair.weights)
    kept = {share.unit: share.estimate for share in entry.shares if not share.unit.startswith(OTHER)}
    assert all(kept[unit] == pytest.approx(expected[unit], abs=1e-12) for unit in kept)
    rest = [share.estimate for share in entry.shares if share.unit.startswith(OTHER)]
    assert sum(rest) == pytest.approx(sum(v for k, v in expected.items() if k not in kept), abs=1e-12)
    assert total(entry) == pytest.approx(entry.gap, abs=1e-12)
    assert entry.residual == pytest.approx(pair.gap(made.residual), abs=1e-12)


def test_of_one_list_of_features_it_is_the_ledger():
    generator = np.random.default_rng(0)
    made = attributed([["f0", "f1", "f2"]] * 60, generator.normal(size=(60, 3)))
    one = ledger(made, compared(made, 20), replicates=200)
    other = word_ledger(made, compared(made, 20), replicates=200)
    for a, b in zip(one.shares, other.shares, strict=True):
        assert (a.unit, a.estimate) == (b.unit, pytest.approx(b.estimate, abs=1e-12))
        assert a.simultaneous_low == pytest.approx(b.simultaneous_low, rel=1e-6)


@pytest.mark.parametrize("kind", ["mean", "conditional", "matched", "weights", "counts"])
def test_every_contrast_adds_up(kind):
    made = corpus(240, seed=1, n_group=90)
    generator = np.random.default_rng(0)
    evidence = from_columns(
        {
            "id": made.ids,
            "g": ["a"] * 90 + ["b"] * 150,
            "label": generator.integers(0, 2, 240),
            "region": generator.choice(["x", "y"], 240),
            "weight": generator.uniform(1, 2, 240),
            "times": generator.integers(1, 4, 240),
            "person": generator.integers(0, 80, 240),
        },
        label="label",
        groups=("g",),
        cluster="person",
        weight="weight" if kind == "weights" else None,
        count="times" if kind == "counts" else None,
    )
    pair = {
        "conditional": lambda: conditional_gap(evidence, "g", "a", "b", label=True),
        "matched": lambda: matched_gap(evidence, "g", "a", "b", on=["region"]),
    }.get(kind, lambda: mean_gap(evidence, "g", "a", "b"))()
    entry = word_ledger(made, pair, replicates=100)
    assert total(entry) == pytest.approx(entry.gap, abs=1e-12)
    assert entry.gap == pytest.approx(pair.gap(made.value), abs=1e-12)
    assert abs(entry.residual) < 1e-4


def test_lemmas_join_words_and_keep_the_sum():
    made = corpus(120, seed=2, n_group=50)
    fine = word_ledger(made, compared(made, 50), minimum=2, replicates=50)
    by_function = word_ledger(made, compared(made, 50), units=lambda word: word[:2], minimum=2, replicates=50)
    mapping = {
        f"w{i}": f"w{str(i)[0]}" for i in range(40) if f"w{i}" in {t for row in made.tokens for t in row}
    }
    by_mapping = word_ledger(made, compared(made, 50), units=mapping, minimum=2, replicates=50)
    found = {share.unit: share.estimate for share in by_mapping.shares}
    ones = {share.unit: share.estimate for share in by_function.shares}
    assert found["w1"] == pytest.approx(ones["w1"])
    assert total(by_mapping) == pytest.approx(fine.gap) == pytest.approx(total(by_function))
    assert by_mapping.residual == pytest.approx(fine.residual, abs=1e-12)


def test_clusters_widen_what_repeats_within_them():
    made = corpus(60, seed=3, n_group=30)
    again = made.take(np.repeat(np.arange(60), 4))
    again = dataclasses.replace(again, ids=tuple(f"c{i}" for i in range(240)))
    pair = compared(again, 120)
    evidence = from_columns(
        {"id": again.ids, "g": ["a"] * 120 + ["b"] * 120, "text": np.repeat(np.arange(60), 4)},
        groups=("g",),
        cluster="text",
    )
    apart = word_ledger(again, pair, replicates=400)
    together = word_ledger(again, mean_gap(evidence, "g", "a", "b"), replicates=400)
    one = {share.unit: share for share in apart.shares}["proxy"]
    other = {share.unit: share for share in together.shares}["proxy"]
    assert one.estimate == pytest.approx(other.estimate)
    assert 1.7 < (other.high - other.low) / (one.high - one.low) < 2.4  # four copies: twice as wide


def test_intervals_cover_zero_for_all_words_at_once_under_permuted_groups():
    made = corpus(200, seed=4, words=60)
    generator = np.random.default_rng(5)
    covered = pointwise = 0
    runs = 60
    for i in range(runs):
        groups = np.where(generator.permutation(200) < 80, "a", "b").tolist()
        entry = word_ledger(made, contrast_of(made.ids, groups, "g", "a", "b"), replicates=150, seed=i)
        covered += all(s.simultaneous_low <= 0 <= s.simultaneous_high for s in entry.shares)
        pointwise += all(s.low <= 0 <= s.high for s in entry.shares)
    assert len(entry.shares) > 20
    assert covered / runs >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / runs)
    assert pointwise / runs < 0.7  # the control: word by word something is always found


def test_a_planted_word_is_found():
    made = corpus(400, seed=6, n_group=200, frequency=0.4)
    entry = word_ledger(made, compared(made, 200), replicates=300)
    assert entry.ranked[0].unit == "proxy" and entry.ranked[0].simultaneous_low > 0.2
    assert entry.ranked[0].estimate == pytest.approx(0.4, abs=0.12)


def test_thousands_of_words_in_bounded_memory():
    generator = np.random.default_rng(8)
    n, words = 1500, 6000
    drawn = generator.integers(0, words, size=(n, 30))
    made = attributed([[f"w{i}" for i in row] for row in drawn], generator.normal(size=(n, 30)))
    pair = compared(made, 700)
    tracemalloc.start()
    entry = word_ledger(made, pair, minimum=3, replicates=50)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(entry.shares) > 5000
    assert total(entry) == pytest.approx(entry.gap, abs=1e-12)
    assert (
        peak < 500 * 2**20
    )  # one dense (row, unit) matrix of the six in use would be 70 MiB, one of draws 600


def test_case_is_folded_where_asked():
    made = attributed([["Film", "film"]] * 4, np.ones((4, 2)))
    assert unit_rows(made).units == ("film",)
    assert unit_rows(made, fold_case=False).units == ("Film", "film")
    assert unit_rows(made).n.toarray().tolist() == [[2]] * 4


def test_a_unit_may_be_called_like_the_rest():
    names = [[OTHER, "rare"]] + [[OTHER]] * 5
    made = attributed(names, [[1.0, 2.0]] + [[1.0]] * 5)
    entry = word_ledger(made, compared(made, 3), minimum=2, replicates=50)
    assert [share.unit for share in entry.shares] == [OTHER, f"{OTHER} than these (1)"]


def test_what_cannot_be_divided_is_refused():
    made = corpus(40, n_group=20)
    with pytest.raises(DataError, match="Lower minimum"):
        word_ledger(made, compared(made, 20), minimum=1000)
    with pytest.raises(DataError, match="2 rows or more"):
        word_ledger(made, compared(made, 20), minimum=1)
    with pytest.raises(DataError, match="there is no token 'proxi': did you mean 'proxy'"):
        word_ledger(made, compared(made, 20), units={"proxi": "x"})
    with pytest.raises(DataError, match="gives no text"):
        word_ledger(made, compared(made, 20), units=lambda word: 3)
    with pytest.raises(DataError, match="another order"):
        word_ledger(made, dataclasses.replace(compared(made, 20), ids=made.ids[::-1]))
    evidence = from_columns({"id": made.ids, "g": ["a", "b"] * 20}, groups=("g",))
    soft = mean_gap(evidence, "g", "a", "b", soft=SoftThreshold(threshold=0, temperature=2))
    with pytest.raises(DataError, match="Attribute the surrogate itself"):
        word_ledger(made, soft)
    right = dataclasses.replace(made, target=soft.soft.words(made.target))
    assert word_ledger(right, soft, minimum=2, replicates=50).gap == pytest.approx(
        soft.contrast.gap(made.value)
    )


def test_baselines_of_different_scores_are_a_share_of_their_own():
    made = corpus(60, n_group=30)
    long = np.array([len(row) for row in made.tokens]) > 9
    moved = dataclasses.replace(made, base_value=made.base_value + 0.3 * long, value=made.value + 0.3 * long)
    pair = compared(made, 30)
    one, other = (word_ledger(m, pair, replicates=60) for m in (made, moved))
    assert all(share.unit != BASELINE for share in one.shares)
    assert other.shares[-1].unit == BASELINE
    assert other.shares[-1].estimate == pytest.approx(0.3 * pair.gap(long), abs=1e-12)
    assert other.residual == pytest.approx(one.residual, abs=1e-12)
    assert total(other) == pytest.approx(other.gap, abs=1e-12)
    found = parts_of_gap(moved, pair, replicates=60)
    assert found.part("baseline").estimate == pytest.approx(other.shares[-1].estimate, abs=1e-12)
    assert found.residual == pytest.approx(one.residual, abs=1e-9)
