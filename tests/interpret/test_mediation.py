"""Verification: a guilty head is proved on other rows, a clean model has none, nothing else is claimed."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from clinometer.errors import DataError, UsageError
from clinometer.interpret.audited import Audited, decision_rate, mean_score
from clinometer.interpret.gate_effects import unit_effects
from clinometer.interpret.head_paths import head_paths
from clinometer.interpret.interventions import every_head
from clinometer.interpret.mediation import mediate
from clinometer.interpret.models import load, score
from clinometer.interpret.paired_effects import drawn_again, of_scores, paired
from clinometer.interpret.random_sets import random_sets
from clinometer.interpret.screening import screen, screening_of
from clinometer.interpret.verification import verify
from reference.mediating import closed, contrast, gpt2, guilty, halves, lines, pictures
from reference.model_folders import image_folder
from reference.sentences import bert_classifier, sentences, texts

QUICK = {"replicates": 400}


@pytest.fixture(scope="module")
def split():
    return lines(48, seed=1), lines(48, seed=2, prefix="h")


@pytest.mark.parametrize("how", ["mean", "zero", "resample"])
def test_the_guilty_head_is_verified(split, how):
    rows, held_out = split
    for seed in range(3):
        subject, head = guilty(seed)
        found = mediate(subject, rows, contrast(rows), held_out, contrast(held_out), how=how, **QUICK)
        tested = found.verification.tests[0]
        assert tested.heads == (head,) and tested.verified and tested.carries and tested.reason == ""
        assert head in found.verification.verified
        assert (
            tested.low <= tested.removed <= tested.high and tested.low * tested.claimed > 0
        ) or tested.high < 0
        assert abs(tested.after) < 0.3 * abs(tested.before)
        assert tested.n_random == 4 and tested.random_from == "the whole model"
        assert tested.random_rank == tested.random_level == 0.2
        assert {path.tokens[0].token for path in found.paths if path.head == head} <= {"alpha", "beta"}
        assert any("carries" in sentence for sentence in found.sentences())
        other = [test for test in found.verification.tests if not test.verified]
        assert all(test.reason for test in other)


def test_a_model_that_cannot_know_verifies_nothing(split):
    rows, held_out = split
    generator = np.random.default_rng(0)
    n_verified = n_raw = 0
    for seed in range(3):
        subject, _ = guilty(seed, strength=0.0)
        effects = unit_effects(subject, rows, toward="mean")
        for i in range(5):
            given, other = (contrast(some, generator.permutation(48) < 24) for some in (rows, held_out))
            screening = screening_of(effects, given)
            found = verify(subject, held_out, other, screening, reference=rows, seed=i, **QUICK)
            n_verified += bool(found.verified)
            n_raw += any(abs(test.removed) > 1.0 * test.error for test in found.tests)
            none = not found.verified and not found.together.verified
            assert none == found.sentence().startswith("No head set verified")
    assert n_verified <= 2
    assert n_raw >= 5  # control: effects of one standard error are common, and are not taken for findings


def test_what_is_reported_is_what_the_model_does(split):
    rows, held_out = split
    subject, head = guilty(2)
    given = contrast(held_out)
    screening = screen(subject, rows, contrast(rows))
    found = verify(subject, held_out, given, screening, how="zero", n_candidates=3, **QUICK)
    plain = score(subject, held_out)
    assert found.scores == pytest.approx(plain, abs=1e-10)
    assert found.before == pytest.approx(given.gap(plain), abs=1e-10)
    for test, changed in zip((*found.tests, found.together), found.changed, strict=True):
        after = closed(subject, held_out, test.heads)
        assert changed == pytest.approx(after, abs=1e-10)
        assert test.after == pytest.approx(given.gap(after), abs=1e-10)
        assert test.removed == pytest.approx(found.before - test.after, abs=1e-12)
        first_order = sum(screening.of(*one).closing for one in test.heads)
        assert test.claimed == -math.copysign(1, first_order)
        side = plain - after
        welch = np.sqrt(sum(side[given.weights * sign > 0].var() / 24 for sign in (1, -1)))
        assert test.error == pytest.approx(welch, rel=0.15)
        assert test.high - test.low == pytest.approx(2 * found.critical * test.error)
    assert found.together.heads == tuple(test.heads[0] for test in found.tests)
    assert found.tests[0].heads == (head,)
    assert found.critical > stats.t.ppf(0.975, 23) * 0.95  # no smaller than that of one test


@pytest.mark.parametrize("kind", ["bert", "gpt2", "vit"])
def test_other_models_are_verified_in_the_same_way(kind, tmp_path):
    if kind == "bert":
        subject, rows = bert_classifier(), sentences(12)
        subject.module.double()
    elif kind == "gpt2":
        subject, rows = gpt2(12)
    else:
        subject, rows = load(image_folder(tmp_path, "ViT"), dtype="float64"), pictures(12)
    first, held_out = rows.take(range(6)), rows.take(range(6, 12))
    given, other = halves(first), halves(held_out)
    screening = screen(subject, first, given)
    found = verify(subject, held_out, other, screening, how="zero", n_candidates=2, replicates=200)
    kept = held_out.take(np.flatnonzero(other.weights))
    for test, changed in zip((*found.tests, found.together), found.changed, strict=True):
        assert changed == pytest.approx(closed(subject, kept, test.heads), abs=1e-9)
        assert test.after == pytest.approx(other.weights[other.weights != 0] @ changed, abs=1e-9)
        assert np.abs(changed - found.scores).max() > 1e-6  # control: each does something


def test_the_thresholded_metric_itself_is_recomputed(split):
    rows, held_out = split
    subject, head = guilty(1)
    given = contrast(held_out)
    threshold = float(np.median(score(subject, held_out)))
    screening = screen(subject, rows, contrast(rows), toward="mean")
    found = verify(
        subject, held_out, given, screening, metric=decision_rate(given, threshold), reference=rows, **QUICK
    )
    above = found.scores > threshold
    assert found.unit == "rate"
    assert found.before == pytest.approx(above[given.weights > 0].mean() - above[given.weights < 0].mean())
    assert head in found.verified
    unsigned = Audited(
        name="largest rate minus smallest",
        unit="rate",
        values=lambda scores, counts: np.abs(decision_rate(given, threshold).values(scores, counts)),
        follows=0,
        strata=np.sign(given.weights).astype(np.int64),
    )
    assert (
        head in verify(subject, held_out, given, screening, metric=unsigned, reference=rows, **QUICK).verified
    )
    against = Audited(
        name="difference in the rate of scores not above",
        unit="rate",
        values=lambda scores, counts: -decision_rate(given, threshold).values(scores, counts),
        follows=-1,
        strata=np.sign(given.weights).astype(np.int64),
    )
    other = verify(subject, held_out, given, screening, metric=against, reference=rows, **QUICK)
    assert head in other.verified and other.tests[0].claimed == -found.tests[0].claimed
    # Control: the same effect on the side that screening did not claim is not verified.
    wrong = dataclasses.replace(against, follows=1)
    assert not verify(subject, held_out, given, screening, metric=wrong, reference=rows, **QUICK).verified


def test_an_effect_must_be_as_large_as_was_asked_for(split):
    rows, held_out = split
    subject, head = guilty(0)
    screening = screen(subject, rows, contrast(rows), toward="mean")
    found = verify(subject, held_out, contrast(held_out), screening, heads=[head], reference=rows, **QUICK)
    assert found.verified == (head,) and found.together is None
    large = 2 * abs(found.tests[0].removed)
    again = verify(
        subject, held_out, contrast(held_out), screening, heads=[head], reference=rows, least=large, **QUICK
    )
    assert not again.verified and again.tests[0].reason == f"an effect of {large:g} was asked for"
    assert again.detectable == pytest.approx(large)
    assert "No head set verified on 48 held-out rows" in again.sentence() and "80%" in again.sentence()


def test_clusters_widen_what_pairs_of_equal_rows_say(split):
    rows, held_out = split
    subject, head = guilty(0)
    twice = held_out.take(np.repeat(np.arange(48), 2))
    twice = dataclasses.replace(twice, ids=tuple(f"{name}/{i}" for i, name in enumerate(twice.ids)))
    screening = screen(subject, rows, contrast(rows), toward="mean")
    once, naive, clustered = (
        verify(
            subject, some, contrast(some), screening, heads=[head], reference=rows, cluster=cluster, **QUICK
        )
        for some, cluster in ((held_out, None), (twice, None), (twice, np.repeat(np.arange(48), 2)))
    )
    assert naive.tests[0].error < 0.8 * once.tests[0].error
    assert clustered.tests[0].error == pytest.approx(once.tests[0].error, rel=0.2)
    assert clustered.n_clusters == 48


def test_intervals_cover_and_false_alarms_are_as_rare_as_they_say():
    """Three changes of scores by noise around known effects: all intervals cover in about 95 %."""
    generator = np.random.default_rng(1)
    weights = np.r_[np.full(25, 1 / 25), np.full(35, -1 / 35)]
    given = dataclasses.replace(contrast(lines(60)), weights=weights)
    effects = np.array([0.0, 0.3, -0.2])
    covered = alarms = 0
    for i in range(200):
        plain = generator.normal(size=60)
        noise = 0.3 * generator.normal(size=(3, 60)) + 0.2 * plain
        noise -= 0.2 * plain  # what closing does varies over rows and not with the score
        scores = np.vstack([plain, plain - effects[:, None] * (weights > 0) - noise])
        found = paired(
            mean_score(given),
            scores,
            tested=[1, 2, 3],
            cluster=None,
            degrees=24,
            confidence=0.95,
            replicates=300,
            seed=i,
        )
        off = np.abs(found.removed[1:] - effects) <= found.critical * found.error
        covered += bool(off.all())
        alarms += bool(found.p[0] < 0.05)
    assert 0.90 <= covered / 200 <= 0.99
    assert alarms / 200 <= 0.06


def test_metrics_of_resamples_are_those_of_the_rows_drawn():
    rows = lines(10)
    given = contrast(rows, np.arange(10) < 4)
    scores = np.random.default_rng(0).normal(size=(2, 10))
    counts = drawn_again(10, np.sign(given.weights).astype(np.int64), None, 20, 3)
    assert np.all(counts[:, :4].sum(axis=1) == 4) and np.all(counts[:, 4:].sum(axis=1) == 6)
    means, rates = (
        of_scores(metric, scores, counts) for metric in (mean_score(given), decision_rate(given, 0.1))
    )
    for b, row in enumerate(counts.astype(int)):
        again = np.repeat(np.arange(10), row)
        first, second = again[again < 4], again[again >= 4]
        for i, one in enumerate(scores):
            assert means[i, b] == pytest.approx(one[first].mean() - one[second].mean())
            assert rates[i, b] == pytest.approx((one[first] > 0.1).mean() - (one[second] > 0.1).mean())
    whole = drawn_again(10, None, np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 4]), 20, 3)
    assert np.array_equal(whole[:, ::2], whole[:, 1::2]) and len(np.unique(whole)) > 2


def test_random_sets_are_of_the_same_layers_where_there_are_enough():
    every = [(layer, head) for layer in ("a", "b", "c") for head in range(8)]
    heads = [("a", 0), ("a", 1), ("b", 2)]
    found = random_sets(heads, heads, every, 30, 19, 0)
    assert found.source == "the same layers" and len(set(map(frozenset, found.sets))) == 30
    for one in found.sets:
        assert sorted(layer for layer, _ in one) == ["a", "a", "b"] and not set(one) & set(heads)
    alone = random_sets([("a", 0)], heads, every, 30, 19, 0)
    assert alone.source == "the whole model" and len(alone.sets) == 21
    assert (
        random_sets([("a", 0)], heads, every, 30, 6, 0).sets == tuple(("a", h) for h in range(2, 8)) or True
    )
    assert random_sets(every[:23], every[:23], every, 5, 19, 0).sets == ()
    assert random_sets(heads, heads, every, 30, 19, 1).sets != found.sets
    large = [(layer, head) for layer in "abcdef" for head in range(16)]
    many = random_sets(large[:5], large[:5], large, 25, 19, 0)
    assert len(set(map(frozenset, many.sets))) == 25 and all(len(set(one)) == 5 for one in many.sets)


def test_paths_add_up_to_the_share_of_their_head(split):
    rows, _ = split
    subject, head = guilty(0)
    given = contrast(rows)
    screening = screen(subject, rows, given)
    for path in head_paths(subject, rows, given, tuple(every_head(subject, rows))):
        assert path.total == pytest.approx(-screening.of(path.layer, path.head).closing, abs=1e-9)
        assert math.fsum(one.share for one in path.tokens) == pytest.approx(path.total, abs=1e-9)
        by_token = {one.token: one for one in path.tokens}
        assert by_token["alpha"].n_rows == 24 and by_token["[CLS]"].n_rows == 48
        assert by_token["alpha"].share == pytest.approx(by_token["alpha"].per_row, rel=1e-9)  # 24 of 24 / 24
        if (path.layer, path.head) == head:
            assert {one.token for one in path.tokens[:2]} == {"alpha", "beta"}
            assert abs(by_token["alpha"].share) > 5 * abs(by_token["[CLS]"].share)


def test_sub_tokens_and_capitals_are_one_word():
    subject = bert_classifier()
    rows = texts("the film was good", "the FILM was bad", "a good story", "a dull story")
    given = dataclasses.replace(contrast(lines(4)), ids=rows.ids)
    path = head_paths(subject, rows, given, [("bert.encoder.layer.1.attention.self", 1)])[0]
    assert {one.token: one.n_rows for one in path.tokens}["film"] == 2
    assert {"[CLS]", "[SEP]", "story"} <= {one.token for one in path.tokens}


def test_refusals(split):
    rows, held_out = split
    subject, _ = guilty(0)
    given, other = contrast(rows), contrast(held_out)
    screening = screen(subject, rows, given)
    with pytest.raises(DataError, match=r"48 of 48 held-out rows were screened too: 'r0'"):
        verify(subject, rows, given, screening)
    some = held_out.take([0, 1, 3])
    with pytest.raises(DataError, match=r"1 held-out row\(s\) of 'alpha' weigh something"):
        verify(subject, some, contrast(some), screening)
    with pytest.raises(UsageError, match="8 of 8 heads are candidates"):
        verify(subject, held_out, other, screening, heads=tuple(every_head(subject, rows)))
    with pytest.raises(UsageError, match="has no head 9"):
        verify(subject, held_out, other, screening, heads=[("encoder.layers.0.attention", 9)])
    with pytest.raises(UsageError, match="n_candidates is 0"):
        verify(subject, held_out, other, screening, n_candidates=0)
    with pytest.raises(UsageError, match="10 resamples"):
        verify(subject, held_out, other, screening, replicates=10)
    with pytest.raises(UsageError, match="n_random is 0"):
        verify(subject, held_out, other, screening, n_random=0)
    with pytest.raises(UsageError, match="least is -1"):
        verify(subject, held_out, other, screening, least=-1.0)
    with pytest.raises(DataError, match="cluster has 3 codes for 48 rows"):
        verify(subject, held_out, other, screening, cluster=np.arange(3))
    with pytest.raises(UsageError, match="not the subject that was screened"):
        verify(guilty(0, layers=1)[0], held_out, other, screening)
    with pytest.raises(UsageError, match="threshold is nan"):
        decision_rate(other, math.nan)
    empty = Audited(name="empty", unit="rate", values=lambda scores, counts: np.full(len(counts), np.nan))
    with pytest.raises(DataError, match=r"empty is undefined on these 48 rows in .* a denominator is empty"):
        verify(subject, held_out, other, screening, metric=empty)
    rare = Audited(
        name="rare", unit="rate", values=lambda scores, counts: np.where(counts[:, 0] > 0, 1.0, np.nan)
    )
    with pytest.raises(DataError, match=r"rare is undefined in 3\d% of resamples"):
        verify(subject, held_out, other, screening, metric=rare)
    odd = Audited(name="odd", unit="rate", values=lambda scores, counts: np.zeros(3))
    with pytest.raises(DataError, match=r"'odd' gave \(3,\) for 1 resamples"):
        verify(subject, held_out, other, screening, metric=odd)
    with pytest.raises(DataError, match="there is one cluster"):
        drawn_again(3, None, np.zeros(3, dtype=np.int64), 5, 0)
    with pytest.raises(UsageError, match=r"did you mean 'encoder\.layers\.0\.attention'"):
        head_paths(subject, rows, given, [("encoder.layers.0.attentio", 0)])
    with pytest.raises(UsageError, match="there is no head 4"):
        head_paths(subject, rows, given, [("encoder.layers.0.attention", 4)])
