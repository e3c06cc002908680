"""What words add over a corpus, and where groups differ: known answers, a slow twin, false finds."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from clinometer.bias.words import word_differences, word_effects
from clinometer.errors import DataError
from clinometer.records import Attribution


def attributed(examples):
    """A record from lists of (word, score)."""
    width = max(len(example) for example in examples)
    scores = np.zeros((len(examples), width))
    for i, example in enumerate(examples):
        scores[i, : len(example)] = [score for _, score in example]
    n = len(examples)
    return Attribution(
        method="planted",
        target="logit(yes) - logit(no)",
        unit="logit",
        baseline="nothing",
        ids=tuple(f"t{i}" for i in range(n)),
        tokens=tuple(tuple(word for word, _ in example) for example in examples),
        scores=scores,
        value=scores.sum(axis=1),
        base_value=np.zeros(n),
        nodes=np.zeros(n, dtype=int),
        converged=np.ones(n, dtype=bool),
        tolerance=np.full(n, 0.01),
    )


def planted(n=120, seed=0, effect=1.0):
    """Texts of two groups in which `burden` counts `effect` more in the first; all else is alike."""
    generator = np.random.default_rng(seed)
    groups = generator.choice(["one", "two"], size=n)
    examples = []
    for group in groups:
        words = [(str(word), generator.normal()) for word in generator.choice(["a", "b", "c", "d"], size=6)]
        if generator.random() < 0.7:
            words.append(("burden", generator.normal() + effect * (group == "one")))
        examples.append(words)
    return attributed(examples), [str(group) for group in groups]


def test_known_answer():
    record = attributed(
        [
            [("Good", 2.0), ("film", 0.0), ("good", 1.0)],
            [("bad", -3.0), ("film", 1.0)],
            [("good", 3.0), ("film", -1.0)],
        ]
    )
    found = {effect.unit: effect for effect in word_effects(record, minimum=1, replicates=200)}
    assert found["good"].n_examples == 2 and found["good"].n_occurrences == 3
    assert found["good"].mean == pytest.approx(2.0) and found["good"].total == pytest.approx(6.0)
    assert found["good"].positive == 1.0 and found["film"].positive == pytest.approx(1 / 3)
    assert found["good"].contexts[0] == ("t2", 3.0, "[good] film")
    assert [context[0] for context in found["good"].contexts] == ["t2", "t0"], "one context per example"
    assert next(iter(found)) == "bad", "largest magnitude first"
    split = {effect.unit for effect in word_effects(record, minimum=1, fold_case=False, replicates=50)}
    assert {"Good", "good"} <= split
    assert {effect.unit for effect in word_effects(record, minimum=3, replicates=50)} == {"film"}


def test_the_interval_is_that_of_examples_drawn_again():
    record, _ = planted(60)
    effect = next(e for e in word_effects(record, minimum=5, replicates=4000, seed=1) if e.unit == "a")
    generator = np.random.default_rng(7)
    means = []
    for _ in range(4000):
        values = [
            record.scores[row, at]
            for row in generator.integers(0, 60, size=60)
            for at, word in enumerate(record.tokens[row])
            if word == "a"
        ]
        means.append(np.mean(values))
    low, high = np.quantile(means, [0.025, 0.975])
    assert effect.low == pytest.approx(low, abs=0.03) and effect.high == pytest.approx(high, abs=0.03)
    again = next(e for e in word_effects(record, minimum=5, replicates=4000, seed=1) if e.unit == "a")
    assert again == effect


def test_the_statistic_is_welchs_and_the_planted_word_is_found_alone():
    record, groups = planted(200, effect=1.5)
    found = word_differences(record, groups, "one", permutations=999)
    assert found[0].unit == "burden" and found[0].p_adjusted < 0.01
    assert all(other.p_adjusted > 0.05 for other in found[1:])
    for one in found:
        values = {"one": [], "two": []}
        for row, words in enumerate(record.tokens):
            places = [at for at, word in enumerate(words) if word == one.unit]
            if places:
                values[groups[row]].append(record.scores[row, places].sum())
        expected = stats.ttest_ind(values["one"], values["two"], equal_var=False)
        assert one.t == pytest.approx(expected.statistic)
        assert one.difference == pytest.approx(np.mean(values["one"]) - np.mean(values["two"]))
        assert (one.n_group, one.n_reference) == (len(values["one"]), len(values["two"]))
        assert one.p <= one.p_adjusted
        assert one.p == pytest.approx(expected.pvalue, abs=0.06)
    backwards = word_differences(record, groups, "two", "one", permutations=99)
    mirrored = {one.unit: one.difference for one in backwards}
    assert mirrored["burden"] == pytest.approx(-found[0].difference)


def test_false_finds_over_all_words_stay_below_alpha():
    record, groups = planted(80, effect=0.0)
    generator = np.random.default_rng(3)
    false = 0
    for i in range(200):
        shuffled = [str(group) for group in generator.permutation(groups)]
        false += word_differences(record, shuffled, "one", permutations=99, seed=i)[0].p_adjusted <= 0.1
    assert false <= stats.binom.ppf(0.999, 200, 0.1)
    unadjusted = word_differences(record, groups, "one", permutations=99)
    assert any(one.p < one.p_adjusted for one in unadjusted), "the adjustment does something"


def test_rows_of_no_group_and_of_a_third_are_left_out():
    record, groups = planted(90)
    some = [None if i % 9 == 0 else "three" if i % 9 == 1 else group for i, group in enumerate(groups)]
    found = word_differences(record, some, "one", "two", permutations=99)
    held = sum("a" in words for words, group in zip(record.tokens, some, strict=True) if group == "one")
    assert next(one for one in found if one.unit == "a").n_group == held
    everyone = word_differences(record, some, "one", permutations=99)
    assert everyone[0].reference == "everyone else"


def test_what_cannot_be_compared_is_refused():
    record, groups = planted(40)
    with pytest.raises(DataError, match="did you mean 'one'"):
        word_differences(record, groups, "oen")
    with pytest.raises(DataError, match="3 groups for 40"):
        word_differences(record, groups[:3], "one")
    with pytest.raises(DataError, match="Lower minimum"):
        word_differences(record, groups, "one", minimum=39)
    with pytest.raises(DataError, match="no unit occurs in 41"):
        word_effects(record, minimum=41)
    with pytest.raises(DataError, match="minimum is 0"):
        word_effects(record, minimum=0)


def test_examples_that_did_not_converge_are_left_out_and_counted():
    record, groups = planted(120, effect=1.5)
    kept = np.ones(120, dtype=bool)
    kept[::4] = False
    some = dataclasses.replace(record, converged=kept, scores=np.where(kept[:, None], record.scores, 1e6))
    effects = {effect.unit: effect for effect in word_effects(some, replicates=50)}
    assert all(abs(effect.mean) < 5 for effect in effects.values()), "what was left out moves nothing"
    held = sum("a" in words for words, inside in zip(record.tokens, kept, strict=True) if not inside)
    assert effects["a"].n_left_out == held > 0
    clean = word_effects(record.take(kept), replicates=50)
    assert [e.mean for e in clean] == [effects[e.unit].mean for e in clean]
    found = word_differences(some, groups, "one", permutations=99)
    assert found[0].unit == "burden" and found[0].n_left_out > 0
    with pytest.raises(DataError, match="none of the 120 examples converged"):
        word_effects(dataclasses.replace(record, converged=np.zeros(120, dtype=bool)))
