"""Faithfulness ranks the true attribution first and its opposite last, with intervals and reasons."""

import dataclasses
import gzip
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from clinometer.errors import DataError, ModelError, UsageError
from clinometer.interpret import compared_methods, recommendation
from clinometer.interpret.faithfulness import faithfulness
from clinometer.interpret.measures import CHANCE, MEASURES
from clinometer.interpret.methods import BY_NAME, Method, attribute
from clinometer.interpret.models import load, score
from clinometer.interpret.ranks import random_scores, rank_correlation
from clinometer.records import Measured
from reference.functions import numbers, subject_of
from reference.model_folders import text_folder
from reference.sentences import bert_classifier, own_classifier, sentences, texts

SHARED = Path(__file__).parents[3] / "shared"
AREA = "area_between_curves"
WEIGHTS = torch.tensor([2.0, -1.5, 1.0, 0.7, -0.4, 0.2], dtype=torch.float64)
NAMES = tuple("abcdef")

USUAL = [name for name, method in BY_NAME.items() if not method.on_request]


def linear(points):
    return (points[:, :, 0] * WEIGHTS).sum(dim=1)


@pytest.fixture(scope="module")
def additive():
    return subject_of(linear, names=NAMES)


@pytest.fixture(scope="module")
def points():
    made = numbers(40, tokens=6)
    return dataclasses.replace(made, groups={"site": tuple(("a", "b", None, "")[i % 4] for i in range(40))})


@pytest.fixture(scope="module")
def truth(additive, points):
    """Integrated gradients of an additive model are its terms."""
    made = attribute(additive, points)
    np.testing.assert_allclose(made.scores, np.asarray(points.inputs["x"]) * WEIGHTS.numpy(), atol=1e-9)
    return made


def with_scores(attribution, scores, **more):
    return dataclasses.replace(attribution, scores=scores, **more)


@pytest.fixture(scope="module")
def rows():
    return sentences(40, seed=2)


@pytest.fixture(scope="module")
def subject(rows):
    return own_classifier(rows)


def check(subject, rows, **more):
    return faithfulness(subject, rows, **{"replicates": 200, **more})


# Known answers


def test_the_terms_of_an_additive_model_are_best_and_their_opposite_is_worst(additive, points, truth):
    generator = np.random.default_rng(0)
    others = {f"order {i}": with_scores(truth, generator.normal(size=(40, 6))) for i in range(12)}
    made = check(
        additive,
        points,
        attributions={"truth": truth, "opposite": with_scores(truth, -truth.scores), **others},
        random_draws=20,
    )
    assert made.ranking[0] == "truth" and made.ranking[-1] == "opposite"
    value = made.values[:, made.measures.index(AREA)]
    assert (value[0] >= value - 1e-9).all()  # in every single row, of every order
    np.testing.assert_allclose(value[1], -value[0], atol=1e-9)  # negated, the sign turns
    floor = made.of(CHANCE, AREA)
    assert floor.low < 0 < floor.high
    assert made.of("truth", AREA).low > 0 > made.of("opposite", AREA).high
    assert made.recommended == "truth"


def test_the_true_order_is_best_of_all_orders(additive, points, truth):
    few = points.take(range(3))
    one = with_scores(truth, truth.scores[:3], ids=few.ids, tokens=truth.tokens[:3])
    one = dataclasses.replace(
        one, **{f: getattr(truth, f)[:3] for f in ("value", "base_value", "nodes", "converged", "tolerance")}
    )
    every = {
        str(o): with_scores(one, np.tile(np.array(o, float), (3, 1)))
        for o in itertools.permutations(range(6))
    }
    chosen = dict(list(every.items())[::7])
    made = check(additive, few, attributions={"truth": one, **chosen}, perturbations=2)
    value = made.values[:, made.measures.index(AREA)]
    np.testing.assert_allclose(value[:-1].max(axis=0), value[0], atol=1e-9)


def test_measures_of_an_additive_model_in_closed_form(additive, points, truth):
    made = check(additive, points, attributions={"truth": truth}, shares=(0.5,), eraser_shares=(1 / 6, 1 / 3))
    terms = truth.scores
    side = np.where(terms.sum(axis=1) >= 0, 1.0, -1.0)
    ordered = -np.sort(-terms * side[:, None], axis=1)  # the strongest support first
    value = {name: made.values[0, i] for i, name in enumerate(made.measures)}
    np.testing.assert_allclose(value["most_relevant_first"], ordered[:, :3].sum(axis=1))
    np.testing.assert_allclose(value["least_relevant_first"], ordered[:, 3:].sum(axis=1))
    np.testing.assert_allclose(value[AREA], ordered[:, :3].sum(axis=1) - ordered[:, 3:].sum(axis=1))
    np.testing.assert_allclose(value["insertion"], ordered[:, :3].sum(axis=1))
    both = (ordered[:, :1].sum(axis=1) + ordered[:, :2].sum(axis=1)) / 2
    np.testing.assert_allclose(value["comprehensiveness"], both)
    np.testing.assert_allclose(value["sufficiency"], ordered.sum(axis=1) - both)
    np.testing.assert_allclose(value["infidelity"], 0, atol=1e-9)
    np.testing.assert_allclose(value["relative_infidelity"], 0, atol=1e-9)


def test_curves_start_where_the_measures_say(additive, points, truth):
    made = check(additive, points, attributions={"truth": truth})
    by_kind = {(c.method, c.kind): c for c in made.curves}
    most = by_kind["truth", "most relevant first"]
    assert most.shares == (0.1, 0.2, 0.3, 0.4, 0.5)
    np.testing.assert_allclose(np.mean(most.estimate), made.of("truth", "most_relevant_first").estimate)
    assert all(a <= b <= c for a, b, c in zip(most.low, most.estimate, most.high, strict=True))
    assert (CHANCE, "insertion") in by_kind and len(made.curves) == 6


def test_a_probability_is_watched_where_there_are_labels(subject, rows):
    made = check(subject, rows, methods=["saliency"], eraser_shares=(1.0,))
    assert made.outcome == "probability of the row's own predicted label"
    logit = np.abs(score(subject, rows))
    with torch.no_grad():
        batch = subject.encode(rows)
        base = subject.select(subject.forward(batch, subject.reference(batch))).double().numpy()
    side = np.sign(score(subject, rows))
    fall = 1 / (1 + np.exp(-logit)) - 1 / (1 + np.exp(-side * base))
    np.testing.assert_allclose(made.values[0, made.measures.index("comprehensiveness")], fall, atol=1e-5)


# Laws


def test_a_positive_factor_changes_no_order_and_the_batch_size_nothing(additive, points, truth):
    scaled = with_scores(truth, truth.scores * 7.5)
    one = check(additive, points, attributions={"m": truth})
    other = check(additive, points, attributions={"m": scaled}, batch_size=7)
    for i, name in enumerate(one.measures):
        if name != "infidelity":
            np.testing.assert_allclose(one.values[:, i], other.values[:, i], atol=1e-9, err_msg=name)
    plain = one.measures.index("infidelity")
    assert (other.values[0, plain] > one.values[0, plain] + 0.1).any()  # it is in the target's unit


def test_one_seed_one_answer(additive, points, truth):
    one, same, other = (check(additive, points, attributions={"m": truth}, seed=seed) for seed in (3, 3, 4))
    assert one.measured == same.measured and one.curves == same.curves
    np.testing.assert_array_equal(one.values, same.values)
    assert one.of("m", AREA).estimate == other.of("m", AREA).estimate
    assert one.of("m", AREA).low != other.of("m", AREA).low
    assert one.of(CHANCE, AREA).estimate != other.of(CHANCE, AREA).estimate


def test_attributions_made_before_measure_as_those_made_here(subject, rows):
    here = check(subject, rows, methods=["integrated gradients", "saliency"])
    predicted = attribute(subject, rows, label="predicted")
    own = attribute(
        subject, rows
    )  # of the subject's own target: its sign is turned where the row is negative
    given = check(subject, rows, attributions={"predicted": predicted, "own": own}, methods=["saliency"])
    assert (own.scores * predicted.scores < 0).any()
    assert set(given.methods) == {"predicted", "own", "saliency", CHANCE}
    for name in here.measures:
        for method in ("predicted", "own"):
            assert given.of(method, name).estimate == pytest.approx(
                here.of("integrated gradients", name).estimate, abs=1e-4
            )
        assert given.of("saliency", name).estimate == here.of("saliency", name).estimate


def test_only_the_given_are_measured_where_no_methods_are_named(additive, points, truth):
    assert check(additive, points, attributions={"mine": truth}).methods == ("mine", CHANCE)


def test_by_subgroup_each_value_is_the_mean_of_its_rows(additive, points, truth):
    made = check(additive, points, attributions={"m": truth}, group="site")
    place = made.measures.index(AREA)
    for name, rows in {"a": [0], "b": [1], "unknown": [2, 3]}.items():
        chosen = [i for i in range(40) if i % 4 in rows]
        one = made.of("m", AREA, name)
        assert one.n == len(chosen)
        assert one.estimate == pytest.approx(made.values[0, place, chosen].mean())
        assert one.low < one.estimate < one.high
    assert made.grouped_by == "site"
    assert sum(made.of("m", AREA, name).n for name in ("a", "b", "unknown")) == 40
    assert {one.group for one in made.measured} == {"", "a", "b", "unknown"}


def test_a_group_of_one_row_has_no_interval(additive, points, truth):
    lonely = dataclasses.replace(points, groups={"site": ("x", *("y",) * 39)})
    one = check(additive, lonely, attributions={"m": truth}, group="site").of("m", AREA, "x")
    assert one.n == 1 and one.estimate is not None and one.low is None


def test_for_several_labels_the_row_s_own_label_is_explained():
    rows = texts("good film", "a bad story", "the dull actor was fine", "one lovely scene with a film")
    subject = bert_classifier(labels=("x", "y", "z"))
    with torch.no_grad():
        chosen = subject.forward(subject.encode(rows), None).softmax(dim=1).max(dim=1).values.numpy()
        batch = subject.encode(rows)
        label = subject.forward(batch, None).argmax(dim=1)
        base = subject.forward(batch, subject.reference(batch)).softmax(dim=1)[range(4), label].numpy()
    made = check(subject, rows, methods=["integrated gradients"], eraser_shares=(1.0,))
    np.testing.assert_allclose(
        made.values[0, made.measures.index("comprehensiveness")], chosen - base, atol=1e-5
    )
    own = attribute(subject, rows)
    with pytest.raises(UsageError, match="label='predicted'"):
        check(subject, rows, attributions={"own": own})
    assert "anything else" in check(subject, rows, attributions={"own": own}, of="target").outcome


# Checks that cost more


def test_agreement_with_shapley_values_of_an_additive_model(additive, points, truth):
    given = {"truth": truth, "opposite": with_scores(truth, -truth.scores)}
    made = check(additive, points, attributions=given, shapley_rows=7)
    assert made.of("truth", "shapley_correlation").n == 7
    assert made.of("truth", "shapley_correlation").estimate == pytest.approx(1)
    assert made.of("opposite", "shapley_correlation").estimate == pytest.approx(-1)
    known = {**given, "theirs": dataclasses.replace(truth, method="Shapley values")}
    again = check(additive, points, attributions=known, shapley_rows=7)
    assert again.of("theirs", "shapley_correlation").n == 0  # not compared with themselves
    assert again.of("opposite", "shapley_correlation").estimate == pytest.approx(-1)


def test_max_sensitivity_of_a_linear_model(additive, points):
    made = check(additive, points, methods=["saliency", "integrated gradients"], shaken_rows=5)
    steady, moved = (made.of(name, "max_sensitivity") for name in ("saliency", "integrated gradients"))
    assert steady.n == moved.n == 5
    assert steady.estimate == pytest.approx(0, abs=1e-9)  # the gradient of a linear model does not move
    x = np.asarray(points.inputs["x"])
    size = np.sqrt((x**2).mean(axis=1))
    terms = np.abs(x * WEIGHTS.numpy())
    most = 0.02 * size * np.sqrt((WEIGHTS.numpy() ** 2).sum()) / np.linalg.norm(terms, axis=1)
    value = made.values[made.methods.index("integrated gradients"), made.measures.index("max_sensitivity")]
    there = np.isfinite(value)
    assert (value[there] > 0).all() and (value[there] <= most[there] + 1e-9).all()


def test_weights_drawn_anew_are_part_of_it_where_asked_for(subject, rows):
    made = check(subject, rows, methods=["gradient x input"], randomised_rows=6)
    assert {one.kind for one in made.randomised} == {"cascading", "independent"}
    assert made.randomised[0].part == "head" and made.randomised[0].n <= 6
    assert check(subject, rows, methods=["saliency"]).randomised == ()


# What is recommended


def one(method, measure, estimate, behind=0.0, behind_low=0.0, above_low=0.1):
    return Measured(
        method=method,
        measure=measure,
        group="",
        n=9,
        estimate=estimate,
        low=None,
        high=None,
        behind=behind,
        behind_low=behind_low,
        behind_high=None,
        above_chance=0.2,
        above_chance_low=above_low,
    )


def both(method, area, **more):
    return [one(method, AREA, area, **more), one(method, "comprehensiveness", area, **more)]


@pytest.fixture
def attributions(truth):
    sums_not = dataclasses.replace(truth, base_value=np.full(len(truth), np.nan))
    return {"adds": truth, "plain": sums_not, "low": truth}


def test_a_method_that_adds_up_goes_before_one_it_cannot_be_told_from(attributions):
    found = [*both("plain", 0.5), *both("adds", 0.48, behind=0.02, behind_low=-0.01)]
    chosen, why = recommendation.recommended(found, attributions)
    assert chosen == "adds" and "with the first (plain)" in why


def test_a_method_that_adds_up_and_is_behind_is_not_recommended(attributions):
    found = [*both("plain", 0.5), *both("adds", 0.3, behind=0.2, behind_low=0.1)]
    chosen, why = recommendation.recommended(found, attributions)
    assert chosen == "plain" and "no method that adds up is with it" in why


def test_a_promised_sum_that_is_not_kept_is_none(attributions):
    broken = dataclasses.replace(attributions["adds"], converged=np.arange(40) % 10 > 0)
    found = [*both("plain", 0.5), *both("adds", 0.48, behind=0.02, behind_low=-0.01)]
    chosen, _ = recommendation.recommended(found, {**attributions, "adds": broken})
    assert chosen == "plain"


def test_none_is_recommended_where_none_beats_chance(attributions):
    chosen, why = recommendation.recommended(both("plain", 0.5, above_low=-0.01), attributions)
    assert chosen is None and "better than random scores" in why


def test_the_first_by_area_where_nobody_is_first_on_both(attributions):
    found = [
        one("plain", AREA, 0.5),
        one("plain", "comprehensiveness", 0.2, behind=0.2, behind_low=0.1),
        one("adds", AREA, 0.3, behind=0.2, behind_low=0.1),
        one("adds", "comprehensiveness", 0.4),
    ]
    chosen, why = recommendation.recommended(found, attributions)
    assert chosen == "plain" and "comprehensiveness too" in why


def test_a_constant_model_recommends_nothing_by_any_method():
    made = check(subject_of(lambda points: 0 * points.sum(dim=(1, 2)) + 2.0), numbers(8))
    assert set(made.methods) | {name for name, _ in made.failed} == {*USUAL, CHANCE}
    assert made.recommended is None
    assert made.of("integrated gradients", AREA).estimate == 0
    assert made.of("saliency", "relative_infidelity").n == 0  # nothing falls
    assert "none recommended" in repr(made)


def test_attention_is_labelled_for_what_it_is(truth, monkeypatch):
    def method(name):
        return Method(
            name=name, function=attribute, unit="", adds_up="", cost="", signed=False, class_specific=False,
            compares=False, source="",
        )  # fmt: skip

    for name in ("attention rollout", "value zeroing", "saliency"):
        known = {} if name == "saliency" else {name: method(name)}
        monkeypatch.setattr(recommendation, "BY_NAME", {**recommendation.BY_NAME, **known})
    made = {
        name: dataclasses.replace(truth, method=name)
        for name in ("attention rollout", "value zeroing", "saliency")
    }
    notes = recommendation.labels(made)
    assert "attention is not an explanation" in notes[0] and notes[0].startswith("attention rollout")
    assert "does not depend on the target" in notes[1]
    assert len(notes) == 2
    failed = with_scores(truth, truth.scores, converged=np.zeros(40, dtype=bool))
    assert "40 of 40 rows did not converge" in recommendation.labels({"m": failed})[0]


# What is said


def test_masking_out_of_distribution_is_said(additive, points, truth):
    def notes(**more):
        return " ".join(check(additive, points, attributions={"m": truth}, **more).notes)

    assert "is not known" in notes()
    assert "out of its training distribution" in notes(trained_with_masks=False)
    assert "was trained with" in notes(trained_with_masks=True)
    assert "with every token taken away (0.0 everywhere)" in notes()


def test_rows_of_one_token_and_of_none_are_counted():
    subject = subject_of(lambda points: points.sum(dim=(1, 2)), keep=(0, 1))
    made = check(subject, numbers(4), methods=["saliency"])
    assert "4 of 4 rows have one such token" in " ".join(made.notes)
    none = subject_of(lambda points: points.sum(dim=(1, 2)), keep=(0, 1, 2))
    made = check(none, numbers(4), methods=["saliency"])
    assert "4 of 4 rows have no token" in " ".join(made.notes)
    assert made.of("saliency", AREA).n == 0 and made.of("saliency", AREA).estimate is None
    assert made.recommended is None


def test_a_method_that_fails_is_named_with_its_reason(additive, points, monkeypatch):
    def failing(subject, rows, name, **more):
        if name == "saliency":
            raise ModelError("no gradients here")
        return attribute(subject, rows, name, **more)

    monkeypatch.setattr(compared_methods, "attribute", failing)
    made = check(additive, points, methods=["saliency", "integrated gradients"])
    assert made.failed == (("saliency", "ModelError: no gradients here"),)
    assert made.methods == ("integrated gradients", CHANCE)
    with pytest.raises(ModelError, match="none of 1 methods ran; saliency: ModelError: no gradients"):
        check(additive, points, methods=["saliency"])


def test_the_frame_holds_every_number(additive, points, truth):
    made = check(additive, points, attributions={"m": truth}, group="site")
    frame = made.frame
    assert len(frame) == 2 * len(made.measures) * 4
    assert {"method", "measure", "group", "n", "estimate", "low", "high", "behind"} <= set(frame.columns)
    assert [measure.name for measure in MEASURES if measure.name in made.measures] == list(made.measures)
    with pytest.raises(UsageError, match="was not measured"):
        made.of("m", "comprehensivenes")


# Refusals


def test_what_does_not_fit_is_refused(additive, points, truth, shapes_unchecked):
    def refused(error, match, **more):
        with pytest.raises(error, match=match):
            check(additive, points, **more)

    refused(UsageError, "did you mean 'saliency'", methods=["salience"])
    refused(UsageError, "is one text", methods="saliency")
    refused(UsageError, "nothing to measure", methods=())
    refused(UsageError, "options are given for", methods=["saliency"], options={"integrated gradients": {}})
    refused(
        UsageError,
        "has no option 'node'",
        methods=["integrated gradients"],
        options={"integrated gradients": {"node": 3}},
    )
    refused(UsageError, "no group column 'sites'; did you mean 'site'", group="sites")
    refused(UsageError, "of is 'predictions'", of="predictions")
    refused(UsageError, "needs 1 or more", random_draws=0)
    refused(UsageError, "50 or more", replicates=10)
    refused(UsageError, "above 0", shares=(0.0,))
    refused(UsageError, "perturbations is 1", perturbations=1)
    refused(UsageError, "give each name once", attributions={"saliency": truth}, methods=["saliency"])
    refused(UsageError, "give each name once", attributions={CHANCE: truth})
    refused(
        UsageError, "explains 'something'", attributions={"m": dataclasses.replace(truth, target="something")}
    )
    refused(
        DataError, "other tokens", attributions={"m": dataclasses.replace(truth, tokens=(("a",) * 6,) * 40)}
    )
    other = dataclasses.replace(truth, ids=tuple(reversed(truth.ids)))
    refused(DataError, "another order", attributions={"m": other})
    with pytest.raises(DataError, match="no rows"):
        check(additive, points.take([]))
    with pytest.raises(DataError, match="stand for several rows, first 'p0'"):
        check(additive, points.take([0, 0, 1]))


# Edges


def test_one_long_text_among_short_ones():
    rows = sentences(6)
    long = texts("good " + "film " * 510 + "bad", *rows.inputs["text"])
    subject = own_classifier(rows, epochs=1, width=8)
    made = check(
        subject,
        long,
        methods=["gradient x input"],
        perturbations=2,
        random_draws=1,
        shares=(0.5,),
        eraser_shares=(0.5,),
    )
    alone = check(
        subject, long.take(range(1, 7)), methods=["gradient x input"], perturbations=2, random_draws=1, shares=(0.5,),
        eraser_shares=(0.5,),
    )  # fmt: skip
    np.testing.assert_allclose(made.values[:, :, 1:], alone.values, atol=1e-4, equal_nan=True)


def test_a_model_in_half_precision(rows):
    subject = own_classifier(rows, epochs=2)
    half = dataclasses.replace(subject)
    half.module.half()
    made = check(half, rows.take(range(8)), methods=["gradient x input"])
    assert np.isfinite(made.of("gradient x input", AREA).estimate)


def test_a_trained_model_ranks_the_signed_method_over_the_norm(subject, rows):
    names = ["saliency", "integrated gradients"]
    made = check(subject, rows, methods=names, options={"integrated gradients": {"nodes": 20}})
    assert made.of("integrated gradients", AREA).above_chance_low > 0
    assert made.ranking.index("integrated gradients") < made.ranking.index("saliency")
    assert made.of("saliency", "infidelity").n == 0  # a norm is in no unit of the target


def test_the_default_is_recommended_on_a_real_classifier():
    if not (SHARED / "models" / "tiny-sst2").is_dir():
        pytest.skip("tiny-sst2 is not beside this checkout")
    subject = load(SHARED / "models" / "tiny-sst2")
    with gzip.open(SHARED / "data" / "sst2" / "test.tsv.gz", "rt", encoding="utf-8") as file:
        lines = [line.rstrip("\n").split("\t")[0] for line in file][1:41]
    names = ["integrated gradients", "gradient x input", "saliency"]
    made = check(subject, texts(*lines), methods=names)
    assert made.recommended == "integrated gradients"
    assert made.ranking == ("integrated gradients", "gradient x input", "saliency", CHANCE)
    assert made.of(CHANCE, AREA).low < 0.1


# Ranks


def test_rank_correlation_is_scipys():
    from scipy.stats import spearmanr

    generator = np.random.default_rng(0)
    for n in (3, 8, 30):
        a, b = generator.integers(0, 6, size=n) * 1.0, generator.normal(size=n)
        assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert np.isnan(rank_correlation(np.ones(4), np.arange(4.0)))
    assert np.isnan(rank_correlation(np.arange(2.0), np.arange(2.0)))


def test_random_scores_belong_to_the_row():
    whole = random_scores(0, ("a", "b", "c"), [3, 5, 2])
    assert (whole[0, 3:] == 0).all() and (whole[1] != 0).all()
    np.testing.assert_array_equal(random_scores(0, ("b",), [5]), whole[1:2])
    assert (random_scores(1, ("b",), [5]) != whole[1:2]).all()
    assert (random_scores(0, ("b",), [5], draw=1) != whole[1:2]).all()


@pytest.mark.parametrize("candidates", [None, (" is", " film")])
def test_a_language_model_is_watched_by_its_target(candidates, tmp_path):
    folder = text_folder(tmp_path, "GPT2LMHeadModel")
    subject = load(folder, candidates=candidates)
    rows = texts("a very good film about a man", "the film is bad", "is it good? yes")
    made = check(subject, rows, methods=["gradient x input"], perturbations=4)
    assert subject.target in made.outcome and "(logit)" in made.outcome
    value = made.values[0, made.measures.index("most_relevant_first")]
    assert np.isfinite(value).all() and made.target == subject.target
