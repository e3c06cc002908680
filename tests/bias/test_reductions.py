"""Heads on frozen features: fairlearn's reduction, reweighed fits, and scikit-learn's own coefficients."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from clinometer.bias.logistic_heads import logistic_head, logistic_regression, scaling
from clinometer.bias.mitigation import read_mitigation
from clinometer.bias.reductions import exponentiated_gradient
from clinometer.errors import DataError, UsageError
from reference.fixing import reweighed
from reference.leaning import leaning, rate

reductions = pytest.importorskip("fairlearn.reductions")
pytestmark = pytest.mark.filterwarnings("ignore:Setting an? :DeprecationWarning")  # inside fairlearn


@pytest.fixture(scope="module")
def rows():
    return leaning(600, seed=3, lean=1.2)


@pytest.mark.parametrize("constraint", ["true_positive_rate_parity", "equalized_odds", "demographic_parity"])
def test_the_chances_are_fairlearns(rows, constraint):
    evidence, features = rows
    made = exponentiated_gradient(evidence, features, "group", constraint=constraint, max_iter=8)
    moment = {
        "true_positive_rate_parity": reductions.TruePositiveRateParity,
        "equalized_odds": reductions.EqualizedOdds,
        "demographic_parity": reductions.DemographicParity,
    }[constraint](difference_bound=0.01)
    scale = scaling(features)
    theirs = reductions.ExponentiatedGradient(logistic_regression(1.0), moment, eps=0.01, max_iter=8)
    theirs.fit(
        scale.to(features),
        evidence.binary("label").astype(int),
        sensitive_features=np.array(evidence.group("group")),
    )
    expected = theirs._pmf_predict(scale.to(features))[:, 1]
    assert made.chance(features=features) == pytest.approx(expected, abs=1e-9)
    assert made.settings["rounds"] == theirs.last_iter_ + 1
    assert len(made.rule.weights) > 1 and ((expected > 0) & (expected < 1)).any()  # a draw takes part


def test_the_constraint_holds_in_the_mean_and_no_group_is_asked_for(rows, tmp_path):
    evidence, features = rows
    made = exponentiated_gradient(evidence, features, "group", max_iter=15)
    chance = made.chance(features=features)
    label, group = evidence.binary("label"), np.array(evidence.group("group"))
    rates = [chance[label & (group == g)].mean() for g in "ab"]
    assert abs(rates[0] - rates[1]) < 0.03
    assert rate(evidence, "b") - rate(evidence, "a") > 0.15  # negative control: before
    assert made.attribute == ""
    nobody = dataclasses.replace(evidence, groups=())
    assert np.array_equal(
        made.apply(nobody, features).binary("said"), made.apply(evidence, features).binary("said")
    )
    made.save(tmp_path / "fix.json")
    back = read_mitigation(tmp_path / "fix.json")
    assert np.array_equal(back.chance(features=features), chance)


def test_a_constant_answer_is_a_head_without_coefficients():
    from types import SimpleNamespace

    import pandas as pd
    from sklearn.dummy import DummyClassifier

    from clinometer.bias.reductions import _heads

    x = np.array([[0.0, 2.0], [4.0, 6.0]])
    yes, no = (DummyClassifier(strategy="constant", constant=v).fit(x, [v, v]) for v in (1, 0))
    found = SimpleNamespace(weights_=pd.Series([0.25, 0.75, 0.0]), predictors_=pd.Series([yes, no, yes]))
    heads = _heads(found, scaling(x))
    assert heads.weights.tolist() == [0.25, 0.75]
    assert heads.coefficients.tolist() == [[0.0, 0.0], [0.0, 0.0]] and heads.intercepts.tolist() == [
        1.0,
        -1.0,
    ]


def test_a_head_is_scikit_learns_on_scaled_features(rows):
    evidence, features = rows
    made = logistic_head(evidence, features * [1.0, 100.0, 1e-3] + [0.0, 50.0, 0.0])
    scale = scaling(features)
    theirs = logistic_regression(1.0).fit(scale.to(features), evidence.binary("label"))
    wide = features * [1.0, 100.0, 1e-3] + [0.0, 50.0, 0.0]
    said = made.decide(features=wide)
    assert np.array_equal(said, theirs.predict(scale.to(features)))
    score = made.apply(evidence, wide).column("score")
    assert score == pytest.approx(theirs.predict_proba(scale.to(features))[:, 1], abs=1e-9)


def test_the_head_is_where_its_own_penalised_likelihood_is_flat(rows):
    evidence, features = rows
    made = logistic_head(evidence, features, attribute="group", ridge=2.0)
    label = evidence.binary("label")
    weight = np.array(reweighed(list(zip(evidence.group("group"), label.tolist(), strict=True))))
    scale = scaling(features)
    p = 1 / (1 + np.exp(-made.rule.margins(_given(features))[:, 0]))
    pull = weight * (p - label)
    scaled = made.rule.coefficients[0] * scale.width
    assert scale.to(features).T @ pull + 2.0 * scaled == pytest.approx(np.zeros(3), abs=1e-4)
    assert pull.sum() == pytest.approx(0, abs=1e-4)


def test_reweighing_narrows_the_selection_of_a_biased_label():
    """Labels of group a were turned down by a clerk; weights give both groups one base rate to learn from."""
    draw = np.random.default_rng(0)
    evidence, features = leaning(3000, seed=9, lean=0.0)
    group = np.array(evidence.group("group"))
    spoiled = evidence.binary("label") & ~((group == "a") & (draw.random(3000) < 0.6))
    known = np.column_stack([features, group == "a"]).astype(float)
    table = evidence.table.set_column(1, "label", pa.array(spoiled))
    learned = dataclasses.replace(evidence, table=table)
    gaps = []
    for attribute in (None, "group"):
        said = logistic_head(learned, known, attribute=attribute).decide(features=known)
        gaps.append(said[group == "b"].mean() - said[group == "a"].mean())
    assert gaps[0] > 0.25  # negative control: without weights
    assert abs(gaps[1]) < gaps[0] / 2


def test_counts_are_rows_written_out(rows):
    evidence, features = rows
    count = np.random.default_rng(1).integers(1, 4, 600)
    table = evidence.table.append_column("n", pa.array(count))
    counted = dataclasses.replace(evidence, table=table, count="n")
    apart = dataclasses.replace(
        evidence, table=evidence.table.take(pa.array(np.repeat(np.arange(600), count)))
    )
    for attribute in (None, "group"):
        one = logistic_head(counted, features, attribute=attribute, ridge=1e-9).rule.coefficients
        two = logistic_head(
            apart, np.repeat(features, count, axis=0), attribute=attribute, ridge=1e-9
        ).rule.coefficients
        assert one == pytest.approx(two, rel=1e-5)


def test_refusals(rows):
    evidence, features = rows
    with pytest.raises(UsageError, match="did you mean 'equalized_odds'"):
        exponentiated_gradient(evidence, features, "group", constraint="equal_odds")
    with pytest.raises(UsageError, match="allowed_gap is 0"):
        exponentiated_gradient(evidence, features, "group", allowed_gap=0)
    with pytest.raises(UsageError, match="max_iter is 0"):
        exponentiated_gradient(evidence, features, "group", max_iter=0)
    with pytest.raises(UsageError, match="'sex' is no group column"):
        exponentiated_gradient(evidence, features, "sex")
    with pytest.raises(UsageError, match="'sex' is no group column"):
        logistic_head(evidence, features, attribute="sex")
    with pytest.raises(UsageError, match="ridge is 0"):
        logistic_head(evidence, features, ridge=0)
    with pytest.raises(DataError, match=r"shape \(599, 3\); \(600, feature\)"):
        logistic_head(evidence, features[:599])
    spoiled = features.copy()
    spoiled[3, 1] = np.inf
    with pytest.raises(DataError, match="no finite numbers in 1 rows: 'r3'"):
        logistic_head(evidence, spoiled)
    with pytest.raises(DataError, match="the reduction sets weights of its own"):
        exponentiated_gradient(dataclasses.replace(evidence, weight="score"), features, "group")
    label = evidence.binary("label")
    group = np.array(evidence.group("group"))
    kept = np.flatnonzero(~((group == "a") & label))
    some = dataclasses.replace(evidence, table=evidence.table.take(pa.array(kept)))
    with pytest.raises(DataError, match="'a' has no row labelled positive"):
        exponentiated_gradient(some, features[kept], "group")
    one = dataclasses.replace(evidence, table=evidence.table.take(pa.array(np.flatnonzero(label))))
    with pytest.raises(DataError, match="same label"):
        logistic_head(one, features[label])


def _given(features):
    from clinometer.bias.decision_rules import Given

    return Given(features=features)
