"""More than two classes: scikit-learn's numbers, fairlearn's gaps, groups without a class, refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinometer.bias.classes import (
    Confusion,
    accuracy,
    averaged,
    balanced_accuracy,
    class_gaps,
    confusion,
    confusion_by_group,
    matthews_correlation,
    one_vs_rest,
)
from clinometer.bias.counts import Counts, count
from clinometer.bias.gaps import (
    average_absolute_odds_difference,
    average_odds_difference,
    equalized_odds_difference,
    rate,
)
from clinometer.errors import DataError, UsageError

rows = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from("gh")), min_size=1, max_size=40
)
LABEL = ["cat", "cat", "dog", "dog", "fox", "fox", "fox"]
PREDICTION = ["cat", "dog", "dog", "dog", "fox", "cat", "fox"]


def test_by_hand():
    table = confusion(LABEL, PREDICTION)
    assert table.classes == ("cat", "dog", "fox")
    assert table.counts.tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 2]]
    assert table.against_rest("cat") == Counts(tp=1, fp=1, fn=1, tn=4)
    assert accuracy(table) == pytest.approx(5 / 7)
    assert balanced_accuracy(table) == pytest.approx((1 / 2 + 1 + 2 / 3) / 3)
    assert averaged(table, "precision") == pytest.approx((1 / 2 + 2 / 3 + 1) / 3)


@given(rows)
def test_agrees_with_scikit_learn(drawn):
    from sklearn import metrics

    y, f, _ = (list(part) for part in zip(*drawn, strict=True))
    table = confusion(y, f)
    if len(table.classes) > 1:  # of one alone it warns
        assert np.array_equal(table.counts, metrics.confusion_matrix(y, f))
    assert accuracy(table) == pytest.approx(metrics.accuracy_score(y, f), abs=1e-12)
    for average in ("macro", "micro", "weighted"):
        assert averaged(table, "f1", average) == pytest.approx(
            metrics.f1_score(y, f, average=average), abs=1e-12
        )
        for quantity, peer in (("precision", metrics.precision_score), ("recall", metrics.recall_score)):
            ours = averaged(table, quantity, average)
            if ours is None:
                assert set(y) != set(f)
            else:
                assert ours == pytest.approx(peer(y, f, average=average, zero_division=0), abs=1e-12)
    if set(f) <= set(y) and len(set(y)) > 1:
        assert balanced_accuracy(table) == pytest.approx(metrics.balanced_accuracy_score(y, f), abs=1e-12)
    if len(set(y)) > 1 and len(set(f)) > 1:
        assert matthews_correlation(table) == pytest.approx(metrics.matthews_corrcoef(y, f), abs=1e-12)
    else:
        assert matthews_correlation(table) is None


@given(rows)
def test_one_against_the_rest_is_counted_alike_both_ways(drawn):
    y, f, _ = (np.array(part) for part in zip(*drawn, strict=True))
    table = confusion(y, f)
    for name in table.classes:
        truth, taken = one_vs_rest(y, f, name)
        assert table.against_rest(name) == count(taken, truth)


@given(rows)
def test_groups_add_up_to_the_whole(drawn):
    y, f, group = (list(part) for part in zip(*drawn, strict=True))
    tables = list(confusion_by_group(y, f, group).values())
    whole = tables[0]
    for table in tables[1:]:
        whole = whole + table
    assert np.array_equal(whole.counts, confusion(y, f).counts)


@given(rows, st.integers(1, 3))
def test_counts_are_rows(drawn, times):
    y, f, _ = (np.array(part) for part in zip(*drawn, strict=True))
    count_ = np.arange(len(y)) % (times + 1)
    collapsed = confusion(y, f, classes=range(4), count=count_)
    spread = confusion(np.repeat(y, count_), np.repeat(f, count_), classes=range(4))
    assert np.array_equal(collapsed.counts, spread.counts)


@settings(max_examples=15)
@given(rows)
def test_gaps_of_each_class_are_fairlearns(drawn):
    from fairlearn.metrics import MetricFrame, false_positive_rate, selection_rate

    y, f, group = (np.array(part) for part in zip(*drawn, strict=True))
    for metric, peer in (("selection_rate", selection_rate), ("false_positive_rate", false_positive_rate)):
        made = class_gaps(confusion_by_group(y, f, group.tolist()), metric)
        for name in made.gaps:
            truth, taken = one_vs_rest(y, f, name)
            if made.gaps[name] is None or any(who[1] == name for who in made.undefined):
                continue
            frame = MetricFrame(metrics=peer, y_true=truth, y_pred=taken, sensitive_features=group)
            assert made.gaps[name] == pytest.approx(frame.difference(), abs=1e-12)


def test_mistake_a_group_with_no_positives_has_no_rate_and_no_gap_of_one():
    label = np.array([True, True, False, False, False])
    prediction = np.array([True, True, False, False, False])
    members = np.array([True, True, True, False, False])
    one, other = count(prediction[members], label[members]), count(prediction[~members], label[~members])
    assert rate("true_positive_rate", one) == 1 and rate("true_positive_rate", other) is None
    assert equalized_odds_difference(one, other) is None
    made = class_gaps(
        confusion_by_group(
            ["a", "a", "b", "b", "b"],
            ["a", "a", "b", "b", "b"],
            ["g", "g", "g", "h", "h"],
            classes=("a", "b"),
        )
    )
    assert made.gaps == {"a": None, "b": 0.0} and made.macro == 0
    assert made.undefined == (("h", "a"),) and made.rates["h"]["a"] is None
    # The same with a positive in the second group that is missed: now there is a gap of 1, and it is one.
    missed = class_gaps(confusion_by_group(["a", "a", "b", "a"], ["a", "a", "b", "b"], ["g", "g", "h", "h"]))
    assert missed.gaps["a"] == 1 and missed.widest == "a"


def test_mistake_average_odds_hides_opposite_gaps():
    one, other = (
        count(np.array(f, dtype=bool), np.array(y, dtype=bool))
        for y, f in (([1, 0], [1, 0]), ([1, 0], [0, 1]))
    )
    assert average_odds_difference(one, other) == 0
    assert average_absolute_odds_difference(one, other) == 1
    assert equalized_odds_difference(one, other) == 1
    tables = confusion_by_group([1, 0, 1, 0], [1, 0, 0, 1], ["g", "g", "h", "h"])
    assert [class_gaps(tables, m).gaps[1] for m in ("true_positive_rate", "false_positive_rate")] == [1, 1]


def test_groups_keep_their_names():
    tables = confusion_by_group([1, 1], [1, 1], ["0", "2"])
    assert list(tables) == ["0", "2"]


def test_undefined_averages_are_none():
    never = confusion(["a", "b"], ["a", "a"])
    assert averaged(never, "precision") is None, "b is never predicted"
    assert averaged(never, "recall") == 0.5 and averaged(never, "f1") == pytest.approx(1 / 3)
    assert matthews_correlation(never) is None
    empty = Confusion(classes=("a",), counts=np.zeros((1, 1), dtype=np.int64))
    assert accuracy(empty) is None and balanced_accuracy(empty) is None and averaged(empty, "f1") is None
    spare = confusion(["a", "b"], ["a", "b"], classes=("a", "b", "c"))
    assert averaged(spare, "precision") == 1, "a class that nobody has weighs nothing"


def test_refusals():
    with pytest.raises(DataError, match="labelled or predicted 'cow': "):
        one_vs_rest(LABEL, PREDICTION, "cow")
    with pytest.raises(DataError, match="one class per row"):
        confusion(["a"], ["a", "b"])
    with pytest.raises(DataError, match="label is missing in 1 rows, first, counted from 0: '1'"):
        confusion(["a", None], ["a", "b"])
    with pytest.raises(DataError, match="prediction is missing in 1 rows"):
        confusion([1.0, 2.0], [1.0, float("nan")])
    with pytest.raises(DataError, match="no class of one can be one of the other"):
        confusion(["1", "2"], [1, 2])
    with pytest.raises(DataError, match="both texts and other values"):
        confusion(["1", 1], ["1", "1"])
    with pytest.raises(DataError, match="the classes 'fox' occur"):
        confusion(LABEL, PREDICTION, classes=("cat", "dog"))
    with pytest.raises(UsageError, match="names one twice"):
        confusion(LABEL, PREDICTION, classes=("cat", "dog", "fox", "cat"))
    with pytest.raises(DataError, match="there is no class 'cow'"):
        confusion(LABEL, PREDICTION).against_rest("cow")
    with pytest.raises(UsageError, match="no rate 'mean_absolute_error'"):
        class_gaps({"g": confusion(LABEL, PREDICTION)}, "mean_absolute_error")
    with pytest.raises(UsageError, match="no rate 'sensitivity'"):
        class_gaps({"g": confusion(LABEL, PREDICTION)}, "sensitivity")
    with pytest.raises(DataError, match="one group a row"):
        confusion_by_group(LABEL, PREDICTION, ["g"])
    with pytest.raises(UsageError, match="precision, recall or f1"):
        averaged(confusion(LABEL, PREDICTION), "accuracy")
    with pytest.raises(DataError, match="7 rows and 2 counts"):
        confusion(LABEL, PREDICTION, count=np.array([1, 2]))
