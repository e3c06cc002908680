"""Thresholds moved: true positive rates made equal, fairlearn's own chances, every cut tried, rows of nobody."""

import dataclasses
import sys

import numpy as np
import pyarrow as pa
import pytest

from clinometer.bias.threshold_rules import common_threshold, group_thresholds, move_threshold
from clinometer.errors import DataError, UsageError
from clinometer.evidence import from_columns
from reference.fixing import best_common_threshold
from reference.leaning import leaning, rate

postprocessing = pytest.importorskip("fairlearn.postprocessing")


def scored(score, label, group, **extra):
    columns = {"id": [f"i{k}" for k in range(len(score))], "y": label, "s": score, "g": group, **extra}
    return from_columns(columns, label="y", score="s", groups=["g"])


def theirs(evidence, *, constraint, objective="accuracy_score", **settings):
    """fairlearn's own optimizer on the same scores, through an estimator that hands the column on."""
    from sklearn.linear_model import LinearRegression

    score = evidence.column(evidence.score)
    line = LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
    line.coef_, line.intercept_ = np.array([1.0]), 0.0  # predict(x) is x
    made = postprocessing.ThresholdOptimizer(
        estimator=line, prefit=True, predict_method="predict", constraints=constraint, objective=objective, **settings
    )  # fmt: skip
    groups = np.array(evidence.group(evidence.groups[0]), dtype=str)
    made.fit(score[:, None], evidence.binary(evidence.label).astype(int), sensitive_features=groups)
    return made, score[:, None], groups


@pytest.mark.parametrize(
    ("constraint", "objective", "allowed"),
    [
        ("true_positive_rate_parity", "accuracy_score", None),
        ("false_positive_rate_parity", "balanced_accuracy_score", None),
        ("demographic_parity", "accuracy_score", 0.05),
        ("equalized_odds", "balanced_accuracy_score", None),
    ],
)
def test_the_chances_are_fairlearns(constraint, objective, allowed):
    evidence, _ = leaning(400, groups="abc")
    made = group_thresholds(
        evidence, "group", constraint=constraint, objective=objective, allowed_gap=allowed, grid_size=100
    )
    optimizer, x, groups = theirs(
        evidence, constraint=constraint, objective=objective, tol=allowed, grid_size=100
    )
    expected = optimizer._pmf_predict(x, sensitive_features=groups)[:, 1]
    chance = made.chance(score=x[:, 0], groups=groups.tolist())
    assert chance == pytest.approx(expected, abs=1e-12)
    drawn = optimizer.predict(x, sensitive_features=groups, random_state=0)
    said = made.decide(ids=evidence.ids, score=x[:, 0], groups=groups.tolist())
    certain = (expected == 0) | (expected == 1)
    assert certain.mean() > 0.2 and np.array_equal(said[certain], drawn[certain].astype(bool))


def test_constructed_scores_get_equal_true_positive_rates_at_thresholds_known_by_hand():
    # Group b is group a with every score lowered by .3: thresholds .3 apart treat both alike.
    ladder = np.arange(1, 21) / 40 + 0.4  # .425 ... .9
    label = np.array([False] * 8 + [True] * 12)
    evidence = scored(
        np.concatenate([ladder, ladder - 0.3]), np.tile(label, 2), ["a"] * 20 + ["b"] * 20
    )  # fmt: skip
    made = group_thresholds(evidence, "g", randomised=False)
    rules = made.rule.rules
    assert rules["a"].threshold0 == pytest.approx(0.6125)  # between the last negative and the first positive
    assert rules["b"].threshold0 == pytest.approx(0.3125)
    after = made.apply(evidence)
    assert after.binary(after.prediction).tolist() == np.tile(label, 2).tolist()
    unmoved = evidence.column("s") >= 0.6125
    assert unmoved[label.tolist() + [False] * 20].mean() == 1.0
    assert unmoved[20:][label].mean() < 0.3  # negative control: one threshold leaves b behind


def test_the_gap_closes_on_rows_that_were_not_fitted():
    fitted, _ = leaning(6000, seed=1)
    fresh, _ = leaning(6000, seed=2, prefix="n")
    before = rate(fresh, "b") - rate(fresh, "a")
    after = group_thresholds(fitted, "group").apply(fresh)
    assert before > 0.1
    assert abs(rate(after, "b") - rate(after, "a")) < 0.04
    right = [(e.binary(e.prediction) == e.binary("label")).mean() for e in (fresh, after)]
    assert right[1] > right[0] - 0.03


def test_settled_rules_draw_nothing():
    evidence, _ = leaning(500)
    made = group_thresholds(evidence, "group", randomised=False)
    chance = made.chance(score=evidence.column("score"), groups=evidence.group("group"))
    assert set(chance.tolist()) == {0.0, 1.0}
    assert made.decide(score=evidence.column("score"), groups=evidence.group("group")).any()  # without ids
    drawn = group_thresholds(evidence, "group").chance(
        score=evidence.column("score"), groups=evidence.group("group")
    )
    assert np.any((drawn > 0) & (drawn < 1))  # negative control


def test_unknown_rows_are_left_out_of_the_fit_and_refused_where_fairlearn_refuses_them_without_a_word():
    evidence, _ = leaning(300)
    groups = [None if i % 10 == 0 else g for i, g in enumerate(evidence.group("group"))]
    some = dataclasses.replace(
        evidence, table=evidence.table.set_column(4, "group", pa.array(groups, type=pa.string()))
    )
    made = group_thresholds(some, "group")
    assert made.settings["rows of unknown group"] == 30
    with pytest.raises(DataError, match=r"30 rows are of no group.*'unknown'"):
        made.apply(some)
    kept = group_thresholds(some, "group", otherwise=0.5).apply(some)
    unknown = np.arange(0, 300, 10)
    assert kept.binary("said")[unknown].tolist() == (some.column("score")[unknown] >= 0.5).tolist()
    optimizer, x, _ = theirs(evidence, constraint="true_positive_rate_parity")
    stray = optimizer.predict(x, sensitive_features=np.full(300, "z"), random_state=0)
    assert not stray.any() and (x > 0.9).any()  # everybody of an unseen group is turned down


def test_counted_rows_are_rows_written_out():
    evidence, _ = leaning(120)
    count = np.random.default_rng(3).integers(1, 5, 120)
    counted = dataclasses.replace(
        evidence, table=evidence.table.append_column("n", pa.array(count)), count="n"
    )
    apart = scored(
        np.repeat(evidence.column("score"), count),
        np.repeat(evidence.binary("label"), count),
        np.repeat(np.array(evidence.group("group")), count).tolist(),
    )
    for fit in (
        lambda e, g: group_thresholds(e, g).rule.plain(),
        lambda e, g: move_threshold(e, g, floor=0.7).rule.plain(),
    ):
        assert fit(counted, "group") == fit(apart, "g")


# One threshold for all


@pytest.mark.parametrize("floor", [0.0, 0.6, 0.8])
def test_the_common_threshold_is_the_best_of_every_cut(floor):
    evidence, _ = leaning(150, seed=4, groups="abc")
    rows = list(
        zip(
            evidence.column("score").tolist(),
            evidence.binary("label").tolist(),
            evidence.group("group"),
            strict=True,
        )
    )
    made = move_threshold(evidence, "group", floor=floor)
    gap, said = best_common_threshold(rows, floor)
    assert made.settings["gap on the rows it was fitted on"] == pytest.approx(gap, abs=1e-12)
    assert made.apply(evidence).binary("said").tolist() == said
    assert made.attribute == "" and not made.rule.uses_group
    assert made.decide(score=np.array([0.0, 1.0])) is not None  # nobody's group is asked


def test_balanced_accuracy_is_the_mean_of_both_rates():
    evidence, _ = leaning(300)
    made = move_threshold(
        evidence, "group", metric="false_positive_rate", floor=0.75, utility="balanced_accuracy"
    )
    after = made.apply(evidence)
    said, label = after.binary("said"), after.binary("label")
    balanced = (said[label].mean() + (~said[~label]).mean()) / 2
    assert made.settings["utility on the rows it was fitted on"] == pytest.approx(balanced)
    assert balanced >= 0.75


def test_a_named_threshold_was_fitted_on_nothing():
    made = common_threshold(0.25)
    assert made.seen == () and made.name == "threshold 0.25 for all"
    assert made.decide(score=np.array([0.25, 0.2])).tolist() == [True, False]


# Refusals


def test_refusals():
    evidence, _ = leaning(80)
    with pytest.raises(UsageError, match="did you mean 'true_positive_rate_parity'"):
        group_thresholds(evidence, "group", constraint="true_positive_rate")
    with pytest.raises(UsageError, match="there is no objective"):
        group_thresholds(evidence, "group", objective="accuracy")
    with pytest.raises(UsageError, match="takes no allowed_gap"):
        group_thresholds(evidence, "group", constraint="equalized_odds", allowed_gap=0.1)
    with pytest.raises(UsageError, match="met by a draw only"):
        group_thresholds(evidence, "group", constraint="equalized_odds", randomised=False)
    with pytest.raises(UsageError, match="is not sought for the best selection_rate"):
        group_thresholds(evidence, "group", constraint="equalized_odds", objective="selection_rate")
    with pytest.raises(UsageError, match="allowed_gap is 2"):
        group_thresholds(evidence, "group", allowed_gap=2)
    with pytest.raises(UsageError, match="'grop' is no group column"):
        group_thresholds(evidence, "grop")
    with pytest.raises(UsageError, match="need a score and a label"):
        group_thresholds(dataclasses.replace(evidence, score=None), "group")
    with pytest.raises(UsageError, match=r"no threshold keeps a accuracy of 1.*Lower the floor"):
        move_threshold(evidence, "group", floor=1.0)
    with pytest.raises(UsageError, match="there is no rate 'roc_auc'"):
        move_threshold(evidence, "group", metric="roc_auc", floor=0.5)
    with pytest.raises(UsageError, match="utility is 'f1'"):
        move_threshold(evidence, "group", floor=0.5, utility="f1")
    weighted = dataclasses.replace(evidence, weight="score")
    with pytest.raises(DataError, match="rows are weighted by 'score'"):
        group_thresholds(weighted, "group")
    with pytest.raises(DataError, match=r"all rows of 'b' have the same label"):
        group_thresholds(scored([0.1, 0.9, 0.3], [0, 1, 1], ["a", "a", "b"]), "g")
    with pytest.raises(DataError, match="thresholds per group need two"):
        group_thresholds(scored([0.1, 0.9], [0, 1], ["a", "a"]), "g")
    with pytest.raises(DataError, match="nobody in its denominator for 'b'"):
        move_threshold(scored([0.1, 0.9, 0.3], [0, 1, 0], ["a", "a", "b"]), "g", floor=0.1)


def test_fairlearn_is_imported_where_it_is_needed_and_not_before(tmp_path):
    import subprocess

    code = (
        "import sys, clinometer.bias.threshold_rules, clinometer.bias.reductions, clinometer.bias.logistic_heads;"
        "assert not {'fairlearn', 'sklearn', 'torch', 'matplotlib', 'pandas'} & set(sys.modules), 'loaded'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
