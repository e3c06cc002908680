"""Sweeps over thresholds, thresholds that meet a rate, medians and selections from the top."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from clinometer.bias.counts import Counts
from clinometer.bias.metrics import METRICS
from clinometer.bias.thresholds import (
    FALLS,
    RISES,
    above_median,
    median,
    scoring_rate,
    select_top,
    sweep,
)
from clinometer.errors import DataError, UsageError
from reference import sweeping

SCORE = np.array([0.1, 0.4, 0.35, 0.8, 0.8, 0.2, 0.9, 0.35])
LABEL = np.array([False, False, True, True, False, False, True, True])
GROUP = ["a", "a", "b", "b", "a", None, "a", "b"]
tables = st.lists(
    st.tuples(st.integers(0, 4), st.booleans(), st.sampled_from(["a", "b", None]), st.integers(0, 3)),
    min_size=1,
    max_size=14,
).filter(lambda rows: sum(count for *_, count in rows) > 0)


@given(tables)
def test_counts_are_those_of_each_row_at_each_threshold(rows):
    score, label, group, count = zip(*rows, strict=True)
    made = sweep(np.array(score, float), np.array(label), group, count=np.array(count))
    listed = [
        [value for value, times in zip(column, count, strict=True) for _ in range(times)]
        for column in (score, label, group)
    ]
    for who in made.groups:
        for i, threshold in enumerate(made.threshold):
            tp, fp, fn, tn = sweeping.confusion(*listed, who, threshold)
            assert made.counts(who, i) == Counts(tp=tp, fp=fp, fn=fn, tn=tn)
    assert made.threshold[-1] == np.inf and made.tp[:, -1].sum() + made.fp[:, -1].sum() == 0


def test_rates_of_a_group_are_the_points_of_its_roc_curve():
    made = sweep(SCORE, LABEL, GROUP)
    assert made.groups == ("a", "b", "unknown")
    k, n = made.rate("false_positive_rate")
    mine = np.array([g == "a" for g in GROUP])
    false, true, threshold = roc_curve(LABEL[mine], SCORE[mine], drop_intermediate=False)
    for x, y, at in zip(false, true, threshold, strict=True):
        i = int(np.flatnonzero(made.threshold == at)[0])
        assert k[0, i] / n[0, i] == pytest.approx(x)
        tp = made.counts("a", i)
        assert tp.tp / (tp.tp + tp.fn) == pytest.approx(y)
    assert n[1].tolist() == [0] * len(made.threshold)  # no negatives in b: undefined, and said by n


def test_every_metric_has_its_k_and_n_and_a_direction_or_none():
    made = sweep(SCORE, LABEL, GROUP)
    rates = [metric for metric in METRICS if metric.kind == "rate"]
    for metric in rates:
        k, n = made.rate(metric.name)
        for i in range(len(made.threshold)):
            assert (k[0, i], n[0, i]) == metric.of(made.counts("a", i))
        if metric.name in {"true_positive_rate", "false_positive_rate", "selection_rate"}:
            assert np.all(np.diff(k[0]) <= 0)
    assert not FALLS & RISES
    assert {metric.name for metric in rates} - FALLS - RISES == {"base_rate", "accuracy", "error_rate"}


@given(
    tables, st.sampled_from(sorted(FALLS | RISES)), st.sampled_from([0.0, 0.25, 0.5, 0.8, 1.0]), st.booleans()
)
def test_threshold_that_meets_a_rate_has_the_least_to_spare(rows, metric, bound, least):
    score, label, _, count = (np.array(column) for column in zip(*rows, strict=True))
    made = sweep(score.astype(float), label, ["a"] * len(score), count=count)
    at = made.threshold_where(metric, "a", **{"at_least" if least else "at_most": bound})
    k, n = (part[0] for part in made.rate(metric))
    met = [
        t
        for t, x, of in zip(made.threshold, k, n, strict=True)
        if of and (x / of >= bound if least else x / of <= bound)
    ]
    expected = (max(met) if (metric in FALLS) == least else min(met)) if met else None
    assert at == expected


def test_bound_is_exact():
    made = sweep(np.arange(10.0), np.ones(10, bool), ["a"] * 10)
    assert (
        made.threshold_where("true_positive_rate", "a", at_least=0.7) == 3
    )  # .7 * 10 is 7, not 7.000000000000001
    assert made.threshold_where("true_positive_rate", "a", at_most=0.3) == 7
    assert made.threshold_where("false_positive_rate", "a", at_most=0.3) is None  # no negatives


def test_given_thresholds_and_no_labels():
    made = sweep(SCORE, None, GROUP, thresholds=[0.35, 0.8])
    k, n = made.rate("selection_rate")
    assert (k[0] / n[0]).tolist() == [0.75, 0.5]
    assert made.counts("b", 0) == Counts(fp=3, tn=0, labelled=False)
    with pytest.raises(UsageError, match="needs labels"):
        made.rate("true_positive_rate")


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=12).filter(
        lambda r: sum(c for _, c in r)
    )
)
def test_median_of_counted_rows(rows):
    score, count = (np.array(column) for column in zip(*rows, strict=True))
    listed = np.repeat(score, count).astype(float)
    assert median(score, count) == median(listed) == np.median(listed) == sweeping.median(listed.tolist())
    k, n = scoring_rate(score, count)
    assert (k, n) == (int((listed > np.median(listed)).sum()), len(listed))
    assert k <= n / 2


def test_scoring_rate_is_against_the_full_sample_and_strictly_above():
    score = np.array([1, 2, 3, 3, 3, 4, 5, 9.0])  # median 3: rows at 3 are not above it
    assert above_median(score).tolist() == [False] * 5 + [True] * 3
    assert scoring_rate(score, rows=[0, 1, 5]) == (1, 3)
    assert scoring_rate(score, rows=[5, 6, 7]) == (3, 3)  # their own median would leave one
    assert scoring_rate(np.ones(6)) == (0, 6)
    with pytest.raises(DataError, match="no median"):
        median([1.0], np.array([0]))


def test_top_share():
    score = np.array([5, 4, 4, 4, 1.0])
    made = select_top(score, 0.4)
    assert (made.n_wanted, made.n_selected, made.n_tied, made.threshold) == (2, 4, 3, 4)
    left = select_top(score, 0.4, ties="none")
    assert (left.n_selected, left.n_tied, left.threshold) == (1, 3, 5)
    whole = select_top(score, 0.8)
    assert (whole.n_selected, whole.n_tied, whole.selected.tolist()) == (4, 0, [True] * 4 + [False])
    nobody = select_top(score, 0.1)
    assert (nobody.n_wanted, nobody.n_selected, nobody.threshold) == (0, 0, np.inf)
    assert select_top(score, 1.0).n_selected == 5
    assert select_top(np.arange(100.0), 0.29).n_selected == 29  # 0.29 * 100 is 28.999999999999996


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=10),
    st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
    st.sampled_from(["all", "none"]),
)
def test_top_share_of_counted_rows(rows, share, ties):
    score, count = (np.array(column) for column in zip(*rows, strict=True))
    counted = select_top(score, share, ties=ties, count=count)
    listed_score = np.repeat(score, count)
    if not len(listed_score):
        assert counted.n_selected == 0
        return
    listed = select_top(listed_score, share, ties=ties)
    assert np.repeat(counted.selected, count).tolist() == listed.selected.tolist()
    assert (counted.n_selected, counted.n_tied) == (listed.n_selected, listed.n_tied)
    wanted = listed.n_wanted
    assert listed.n_selected >= wanted if ties == "all" else listed.n_selected <= wanted
    assert listed.n_tied or listed.n_selected == wanted


def test_refusals():
    with pytest.raises(DataError, match=r"score has 1 values that are missing or not finite.*'0'"):
        sweep([np.nan, 1.0], [True, False], ["a", "b"])
    with pytest.raises(DataError, match="different lengths"):
        sweep(SCORE, LABEL, GROUP[:3])
    with pytest.raises(DataError, match="no rows"):
        sweep([], np.array([], bool), [])
    with pytest.raises(UsageError, match="each larger than the one before"):
        sweep(SCORE, LABEL, GROUP, thresholds=[0.5, 0.2])
    made = sweep(SCORE, LABEL, GROUP)
    with pytest.raises(UsageError, match="did you mean 'selection_rate'"):
        made.rate("selection_rat")
    with pytest.raises(UsageError, match="there is no rate 'roc_auc'"):
        made.rate("roc_auc")
    with pytest.raises(UsageError, match="no group 'c'"):
        made.counts("c", 0)
    with pytest.raises(UsageError, match="one of the two"):
        made.threshold_where("selection_rate", "a")
    with pytest.raises(UsageError, match="accuracy neither rises nor falls"):
        made.threshold_where("accuracy", "a", at_least=0.5)
    with pytest.raises(UsageError, match="no rate 'precision'"):
        made.threshold_where("precision", "a", at_least=0.5)
    with pytest.raises(UsageError, match="share is 2"):
        select_top(SCORE, 2)
    with pytest.raises(UsageError, match="'all' or 'none'"):
        select_top(SCORE, 0.5, ties="some")
