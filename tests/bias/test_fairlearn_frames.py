"""fairlearn's MetricFrame in and out: the same numbers, undefined stays undefined, groups keep their names."""

import math

import numpy as np
import pytest

from clinometer.bias.fairlearn_frames import from_metric_frame, to_metric_frame
from clinometer.bias.groups import ALL
from clinometer.bias.intervals import wilson
from clinometer.errors import DataError, UsageError
from clinometer.evidence import from_columns

fairlearn = pytest.importorskip("fairlearn.metrics")

TRUE = [0, 1, 1, 1, 1, 0, 1, 0, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1]
SAID = [0, 0, 1, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1, 0]
GROUP = list("bbabbcccaacabccbcc")


def guide():
    return from_columns(
        {"label": TRUE, "said": SAID, "group": GROUP}, label="label", prediction="said", groups=["group"]
    )


def test_the_documentations_example_goes_out():
    made = to_metric_frame(guide(), ["true_positive_rate", "false_positive_rate", "selection_rate"])
    theirs = fairlearn.MetricFrame(
        metrics={
            "true_positive_rate": fairlearn.true_positive_rate,
            "false_positive_rate": fairlearn.false_positive_rate,
            "selection_rate": fairlearn.selection_rate,
        },
        y_true=TRUE,
        y_pred=SAID,
        sensitive_features={"group": GROUP},
    )
    for name in theirs.by_group.columns:
        assert list(made.by_group[name]) == pytest.approx(list(theirs.by_group[name]), abs=1e-12)
        assert made.overall[name] == pytest.approx(theirs.overall[name], abs=1e-12)
    assert made.by_group["count"].to_dict() == {"a": 4, "b": 6, "c": 8}
    assert made.difference()["selection_rate"] == pytest.approx(0.25)
    assert max(made.difference()[["true_positive_rate", "false_positive_rate"]]) == 1.0


def test_an_empty_denominator_stays_undefined_where_fairlearn_gives_0():
    evidence = from_columns(
        {"y": [1, 0, 0, 0], "p": [1, 0, 1, 0], "g": ["a", "a", "b", "b"]},
        label="y",
        prediction="p",
        groups=["g"],
    )
    made = to_metric_frame(evidence, ["true_positive_rate"])
    assert math.isnan(made.by_group["true_positive_rate"]["b"])
    theirs = fairlearn.MetricFrame(
        metrics=fairlearn.true_positive_rate,
        y_true=[1, 0, 0, 0],
        y_pred=[1, 0, 1, 0],
        sensitive_features=list("aabb"),
    )
    assert theirs.by_group["b"] == 0
    cell = next(c for c in from_metric_frame(made) if c.group == "b")
    assert (cell.estimate, cell.status) == (None, "undefined")


def test_rates_of_whole_groups_come_back_with_their_interval():
    cells = {(c.group, c.metric): c for c in from_metric_frame(to_metric_frame(guide()))}
    one = cells["c", "selection_rate"]
    assert (one.k, one.n, one.n_rows, one.attribute) == (4, 8, 8, "group")
    assert (one.low, one.high) == tuple(wilson(4, 8))
    assert cells[ALL, "selection_rate"].k == 10
    conditional = cells["c", "true_positive_rate"]
    assert conditional.estimate == pytest.approx(0.4)
    assert (conditional.n, conditional.low, conditional.status) == (0, None, "undefined")
    assert "out of how many" in conditional.note
    assert not any(metric == "count" for _, metric in cells)


def test_without_counts_nothing_has_an_interval():
    theirs = fairlearn.MetricFrame(
        metrics=fairlearn.selection_rate, y_true=TRUE, y_pred=SAID, sensitive_features=GROUP
    )
    cells = from_metric_frame(theirs)
    assert len(cells) == 4
    assert all(c.k is None and c.low is None and c.status == "undefined" for c in cells)
    assert {c.group: c.estimate for c in cells}["a"] == pytest.approx(0.75)


def test_groups_0_and_2_keep_their_names():
    theirs = fairlearn.MetricFrame(
        metrics={"selection_rate": fairlearn.selection_rate, "count": fairlearn.count},
        y_true=TRUE,
        y_pred=SAID,
        sensitive_features=[0, 2] * 9,
    )
    assert [c.group for c in from_metric_frame(theirs)] == [ALL, "0", "2"]
    two = fairlearn.MetricFrame(
        metrics={"count": fairlearn.count, "accuracy": lambda y, p: float(np.mean(np.equal(y, p)))},
        y_true=TRUE,
        y_pred=SAID,
        sensitive_features={"x": [0, 2] * 9, "g": GROUP},
    )
    assert {c.attribute for c in from_metric_frame(two)} == {"x & g"}
    assert "0 & b" in {c.group for c in from_metric_frame(two)}


def test_unknown_is_a_group_and_counts_are_repeated():
    evidence = from_columns(
        {"p": [1, 0, 1], "g": ["a", None, "unknown"], "n": [3, 2, 1]}, prediction="p", groups=["g"], count="n"
    )
    made = to_metric_frame(evidence)
    assert made.by_group["count"].to_dict() == {"a": 3, "unknown (missing)": 2, "unknown": 1}
    assert made.overall["count"] == 6


def test_weighted_rates_are_no_counts():
    theirs = fairlearn.MetricFrame(
        metrics={"selection_rate": fairlearn.selection_rate, "count": fairlearn.count},
        y_true=TRUE,
        y_pred=SAID,
        sensitive_features=GROUP,
        sample_params={"selection_rate": {"sample_weight": np.linspace(0.1, 2, 18)}},
    )
    assert all(c.k is None for c in from_metric_frame(theirs))


def test_refusals():
    with pytest.raises(DataError, match="dict is no MetricFrame"):
        from_metric_frame({})
    strata = fairlearn.MetricFrame(
        metrics=fairlearn.selection_rate,
        y_true=TRUE,
        y_pred=SAID,
        sensitive_features=GROUP,
        control_features={"s": [0, 1] * 9},
    )
    with pytest.raises(DataError, match="control features"):
        from_metric_frame(strata)
    with pytest.raises(UsageError, match="did you mean 'true_positive_rate'"):
        to_metric_frame(guide(), ["true_positive_rat"])
    unlabelled = from_columns({"p": [1, 0], "g": ["a", "b"]}, prediction="p", groups=["g"])
    with pytest.raises(UsageError, match="accuracy needs a label"):
        to_metric_frame(unlabelled, ["accuracy"])
    with pytest.raises(DataError, match="takes a prediction"):
        to_metric_frame(from_columns({"g": ["a"]}, groups=["g"]))
    with pytest.raises(DataError, match="no group column"):
        to_metric_frame(unlabelled, groups=[])
