"""Edges of an audit: numbers too large, few clusters, twenty equal rows, gaps as wide as rounding, notes."""

import math

import numpy as np
import pytest
from scipy import stats

from clinometer.bias.audit import LARGEST, audit
from clinometer.bias.estimates import Counted, Moments, Resampled
from clinometer.bias.intervals import exceeds_p, mean_rows_needed, newcombe, rows_needed
from clinometer.bias.pairs import FLAT, _gap
from clinometer.bias.policy import Policy, parse_policy
from clinometer.errors import DataError, PolicyError
from clinometer.evidence import from_columns

BEYOND = math.nextafter(LARGEST, math.inf)


def policy(**values):
    return parse_policy({"set_by": "the test", **values}, where="test")


def groups_of(n):
    return ["a", "b"] * (n // 2) + ["a"] * (n % 2)


def rows_of(n=8, *, roles=(), **columns):
    """Rows of two groups with a prediction, and columns with their roles."""
    said = {"prediction": [i % 3 == 0 for i in range(n)], "g": groups_of(n)}
    return from_columns({**said, **columns}, prediction="prediction", groups=["g"], **dict(roles))


def of(made, metric, group="a"):
    return next(one for one in made.findings if (one.metric, one.group) == (metric, group))


@pytest.mark.parametrize(
    ("role", "column"), [("score", "s"), ("measures", ("s",)), ("weight", "s")], ids=lambda value: str(value)
)
def test_the_largest_number_is_taken_and_the_next_is_not(role, column):
    sign = 1 if role == "weight" else -1
    values = [1.0, LARGEST, 2.0, sign * LARGEST, 3.0, 4.0, 5.0, 6.0]
    made = audit(rows_of(s=values, roles={role: column}))
    assert all(math.isfinite(cell.estimate) for cell in made.cells)
    values[1], values[3] = BEYOND, sign * BEYOND
    with pytest.raises(DataError) as refused:
        audit(rows_of(s=values, roles={role: column}))
    assert str(refused.value) == (
        "column 's' has 2 values beyond 1e+100; first rows: '1', '3'. Give them in another unit, or leave these rows "
        "out."
    )


@pytest.mark.parametrize(("n", "warned"), [(2, True), (9, True), (10, False), (11, False)])
def test_fewer_than_ten_clusters_are_said_to_be_few(n, warned):
    made = audit(rows_of(44, c=[f"c{i // 2 % n}" for i in range(44)], roles={"cluster": "c"}))
    said = next(note for note in made.notes if "clusters" in note)
    assert said == f"Rows come in {n} clusters ('c'): errors are cluster-robust, n counts rows." + (
        " Fewer than 10 clusters make intervals too narrow." if warned else ""
    )


def test_notes_are_there_where_they_belong_and_nowhere_else():
    gated = "No tolerance is declared: nothing is gated, and p is of the hypothesis that there is no gap."
    zero = "A tolerance of 0 can never be shown to be met: only exceeded, or inconclusive."
    assert audit(rows_of()).notes == (gated,)
    assert audit(rows_of(), policy(tolerance={"selection_rate": 0.1})).notes == ()
    assert audit(rows_of(), policy(tolerance={"selection_rate": 0.0})).notes == (zero,)
    assert audit(rows_of(w=[1.0, 2.0] * 4, roles={"weight": "w"})).notes == (
        gated,
        "Rows are weighted by 'w': estimates are of the weighted rows, counts n are of the rows there are, and intervals "
        "follow the effective number of rows (Kish 1965).",
    )
    declared = policy(groups={"g": {"values": ["a", "b", "c", "d"], "exclude": {"b": "too few"}}})
    assert audit(rows_of(), declared).notes == (
        gated,
        "g: no rows of 'c', 'd'.",
        "g: b is compared with nobody; the policy's reason: too few",
    )
    some = from_columns(
        {"p": [0, 1, 1, 0, 1], "g": ["a", "a", "b", "b", None], "n": [1, 2, 3, 4, 5]},
        prediction="p",
        groups=["g"],
        count="n",
    )
    made = audit(some)
    assert made.notes == (gated, "g: 5 rows have no recorded group; they are shown and compared with nobody.")
    assert made.n == 15


def test_everyone_else_is_nobody_where_one_group_has_the_whole_denominator():
    columns = {"y": [1, 1, 0, 0, 0, 0], "p": [1, 0, 1, 0, 0, 1], "g": list("aabbab")}
    rows = from_columns(columns, label="y", prediction="p", groups=["g"])
    made = audit(rows, policy(groups={"g": {"compare": "complement"}}))
    alone = of(made, "true_positive_rate")
    assert (alone.n_group, alone.n_reference, alone.estimate, alone.status) == (2, 0, None, "insufficient")
    assert alone.reason == "everyone else: nobody in the denominator"
    other = of(made, "false_positive_rate")
    assert (other.n_group, other.n_reference) == (1, 3) and other.estimate == pytest.approx(-2 / 3)


def test_a_tolerance_of_what_cannot_be_computed_says_what_is_missing():
    with pytest.raises(PolicyError) as refused:
        audit(rows_of(), policy(tolerance={"true_positive_rate": 0.1}))
    assert str(refused.value) == (
        "a tolerance is declared for 'true_positive_rate', which cannot be computed here: it needs prediction and label"
    )
    with pytest.raises(PolicyError, match=r"for 'selection', which cannot be computed here: "):
        audit(rows_of(), policy(tolerance={"selection": 0.1}))


# Tasks


def equal(n, values, *, task, **changed):
    label = [values[i % len(values)] for i in range(n)]
    columns = {"y": label, "p": [changed.get(str(i), one) for i, one in enumerate(label)], "g": groups_of(n)}
    return audit(from_columns(columns, label="y", prediction="p", groups=["g"]), policy(task=task))


@pytest.mark.parametrize(
    ("task", "values", "said"),
    [
        ("binary", [True, False], r"^the prediction 'p' is the label 'y' in all (20|21) rows \(first: '0', '1', '2'\)"),
        ("multiclass", ["x", "y"], r"^the prediction 'p' is the label 'y' in all (20|21) rows\. Name another column: "),
        ("multiclass", ["x", "y", "z"], r"^the prediction 'p' is the label 'y' in all (20|21) rows\. Name another "),
        ("regression", [0.0, 1.0], r"^the prediction 'p' is the label 'y' in all (20|21) rows\. Name another column: "),
    ],
)  # fmt: skip
def test_twenty_equal_rows_are_one_column_named_twice(task, values, said):
    equal(19, values, task=task)
    equal(20, values, task=task, **{"7": values[0] if values[7 % len(values)] != values[0] else values[1]})
    equal(20, values[:1], task=task)  # of one value alone nothing follows
    if task == "binary":
        equal(20, [False], task=task)
    for n in (20, 21):
        with pytest.raises(DataError, match=said):
            equal(n, values, task=task)


def test_a_hundred_classes_are_audited_and_one_more_is_not():
    def classes(n):
        names = [f"c{i:03}" for i in range(n)]
        columns = {"y": names * 2, "p": names[1:] + names[:1] + names, "g": ["a"] * n + ["b"] * n}
        return audit(
            from_columns(columns, label="y", prediction="p", groups=["g"]), Policy(task="multiclass")
        )

    assert sum(cell.metric.startswith("true_positive_rate[") for cell in classes(100).cells) == 300
    with pytest.raises(DataError) as refused:
        classes(101)
    assert str(refused.value) == (
        "'y' and 'p' have 101 classes; at most 100 are audited one by one. Is this a column of numbers? Then task = "
        '"regression".'
    )


def test_a_class_that_is_only_predicted_is_told():
    columns = {"y": list("xxyy"), "p": list("xzyw"), "g": list("abab")}
    made = audit(from_columns(columns, label="y", prediction="p", groups=["g"]), Policy(task="multiclass"))
    assert "Predicted and never labelled: 'w', 'z'." in made.notes
    columns["p"] = list("xyyx")
    made = audit(from_columns(columns, label="y", prediction="p", groups=["g"]), Policy(task="multiclass"))
    assert not any("never labelled" in note for note in made.notes)


@pytest.mark.parametrize(
    ("low", "high", "probability"),
    [(0.0, 1.0, True), (1e-9, 1.0, True), (-1e-12, 1.0, False), (0.0, 1 + 1e-12, False)],
)
def test_a_score_from_none_to_all_is_a_probability(low, high, probability):
    columns = {"y": [0, 1, 1, 0] * 3, "s": [low, high, 0.5, 0.25] * 3, "g": groups_of(12)}
    made = audit(from_columns(columns, label="y", score="s", groups=["g"]))
    assert ("brier_score" in {cell.metric for cell in made.cells}) is probability
    note = "'s' is no probability (it leaves [0, 1]): calibration, Brier score and log loss are left out."
    assert (note in made.notes) is not probability


def test_costs_go_to_the_four_cells():
    columns = {"y": [1, 1, 0, 0], "p": [1, 0, 1, 0], "g": list("abcd")}
    rule = {
        "unit": "h",
        "true_positive": 1,
        "false_negative": 20,
        "false_positive": 300,
        "true_negative": 4000,
    }
    made = audit(from_columns(columns, label="y", prediction="p", groups=["g"]), policy(costs=rule))
    costs = {cell.group: cell.estimate for cell in made.cells if cell.metric == "expected_cost"}
    assert costs == {"(all)": 4321 / 4, "a": 1, "b": 20, "c": 300, "d": 4000}


# Pairs


def moments(mean, squares):
    return Moments(2, mean, squares)


RULES = Policy()
WIDTH = 1e-9


@pytest.mark.parametrize(
    ("means", "largest"),
    [
        ((1.0, 1.0), 1.0),
        ((-1.0, 0.25), 1.0),
        ((0.25, -1.0), 1.0),
        ((0.0, 1000.0), 1000.0),
        ((1e-3, 0.0), 1e-3),
    ],
)
def test_a_gap_is_settled_where_its_error_is_more_than_rounding(means, largest):
    """Two rows each, of variance s: the error of the gap is the root of s."""
    for factor, settled in ((0.5, False), (0.999, False), (1.001, True), (2.0, True)):
        a, b = (moments(mean, (factor * WIDTH * largest) ** 2) for mean in means)
        made = _gap(a, b, None, RULES, 0.05, None)
        assert (made is not None) is settled
        if made is not None:
            assert made.estimate == means[0] - means[1] and made.needed is None


def test_a_gap_of_nothing_at_all_is_settled_by_the_smallest_error():
    made = _gap(moments(0.0, 1e-24), moments(0.0, 1e-24), 0.1, RULES, 0.05, None)
    assert made is not None and made.estimate == 0.0 and made.shown.high == pytest.approx(4.30265272991e-12)
    assert _gap(moments(0.0, 0.0), moments(0.0, 0.0), 0.1, RULES, 0.05, None) is None
    flat = audit(from_columns({"s": [1.0, 1.0, 2.0, 2.0], "g": list("aabb")}, score="s", groups=["g"]))
    assert flat.findings[0].reason == FLAT and flat.findings[0].status == "insufficient"


def resampled(estimate, se, n, units, rows=()):
    return Resampled(
        estimate=estimate, se=se, ends=(estimate - se, estimate + se), n=n, units=units, rows=np.array(rows, dtype=int)
    )  # fmt: skip


def test_metrics_of_ones_own_are_compared_with_the_fewer_units():
    a, b = resampled(0.5, 0.3, 90, 9), resampled(0.2, 0.4, 50, 5)
    made = _gap(a, b, 0.1, RULES, 0.01, None)
    assert made.estimate == pytest.approx(0.3)
    half = stats.t.ppf(0.975, 4) * 0.5
    assert made.shown == pytest.approx((0.3 - half, 0.3 + half))
    half = stats.t.ppf(0.95, 4) * 0.5
    assert made.bounds == pytest.approx((0.3 - half, 0.3 + half))
    assert made.p == pytest.approx(stats.t.sf(0.4, 4) + stats.t.sf(0.8, 4))
    assert made.detectable == pytest.approx((stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * 0.5)
    assert made.needed == mean_rows_needed(made.estimate, (0.09 * 90, 0.16 * 50), (90, 50), 0.1, alpha=0.01)
    assert _gap(b, a, 0.1, RULES, 0.01, None).shown == pytest.approx((-made.shown.high, -made.shown.low))
    assert _gap(a, b, None, RULES, 0.01, None).p == pytest.approx(2 * stats.t.sf(0.6, 4))


def test_metrics_of_ones_own_may_not_share_a_cluster():
    a, b = resampled(0.5, 0.3, 2, 2, [0, 1]), resampled(0.2, 0.4, 2, 2, [2, 3])
    assert _gap(a, b, None, RULES, 0.05, np.array([0, 1, 2, 3])) is not None
    assert _gap(a, b, None, RULES, 0.05, None) is not None
    with pytest.raises(
        DataError, match=r"^two groups share clusters, so that a metric of your own has no error of "
    ):
        _gap(a, b, None, RULES, 0.05, np.array([0, 1, 1, 3]))


def test_counted_rows_are_compared_at_the_levels_of_the_policy():
    counts = (30, 100, 60, 150)
    rules = Policy(alpha=0.1, confidence=0.9)
    made = _gap(Counted(30, 100), Counted(60, 150), 0.05, rules, 0.02, None)
    assert made.estimate == pytest.approx(-0.1)
    assert made.shown == newcombe(*counts, 0.9) and made.bounds == newcombe(*counts, 0.8)
    assert made.needed == rows_needed(*counts, 0.05, alpha=0.02)
    plain = _gap(Counted(30, 100), Counted(60, 150), None, rules, 0.02, None)
    assert plain.p == exceeds_p(*counts, 0.0) and plain.needed is None


def test_why_a_pair_is_not_settled_names_each_side():
    made = audit(rows_of(8, s=[1.0, 2.0] * 4, roles={"score": "s"}), policy(min_group=5))
    assert of(made, "selection_rate").reason == (
        "a: 4 in the denominator, the policy asks for 5; b: 4 in the denominator, the policy asks for 5"
    )
    assert of(audit(rows_of(8), policy(min_group=4)), "selection_rate").status == "ok"
    everybody = audit(rows_of(8), policy(min_group=9, groups={"g": {"compare": "overall"}}))
    assert of(everybody, "selection_rate").reason.endswith(
        "everybody: 8 in the denominator, the policy asks for 9"
    )


# Summaries


def summaries(made, name):
    return [one for one in made.summaries if one.metric == name]


def scored(names, *, without=(), rows=8, step=7, **rules):
    """Rows of each group; of some none that is positive."""
    label = [int(i % 2 and name not in without) for name in names for i in range(rows)]
    score = [(step * i % 29) / 29 for i in range(len(label))]
    columns = {"y": label, "s": score, "g": [name for name in names for _ in range(rows)]}
    return audit(from_columns(columns, label="y", score="s", groups=["g"]), policy(**rules))


def test_an_area_that_is_not_there_says_why_and_one_that_is_says_nothing():
    made = scored("abc")
    for name in (
        "subgroup_auc",
        "background_positive_subgroup_negative_auc",
        "background_negative_subgroup_positive_auc",
    ):
        (one,) = summaries(made, f"power mean of {name}")
        assert one.note == "" and one.n == 24 and one.low < one.estimate < one.high
    lame = scored("abc", without="b")
    for name in ("subgroup_auc", "background_negative_subgroup_positive_auc"):
        (one,) = summaries(lame, f"power mean of {name}")
        assert (one.estimate, one.low, one.high) == (None, None, None)
        assert one.note == "the area of subgroup 'b': no positives: nothing to rank"
    notes = {one.group: one.note for one in summaries(lame, "background_negative_subgroup_positive_auc")}
    assert [bool(notes[name]) for name in "abc"] == [False, True, False]
    none = scored("abc", rows=2, step=28)  # every positive below every negative of its group
    (one,) = summaries(none, "power mean of subgroup_auc")
    assert one.note == "an area is 0: its power mean is 0 and has no derivative" and one.estimate is None
    errors = summaries(made, "expected_calibration_error")
    assert [one.note for one in errors] == [""] * 3 and all(one.estimate is not None for one in errors)


def test_areas_are_shown_of_twenty_five_groups_and_of_no_more():
    names = [f"g{i:02}" for i in range(26)]
    one_way = {"groups": {"g": {"compare": "reference", "reference": "g00"}}}
    assert len(summaries(scored(names[:25], rows=4, **one_way), "abroca")) == 25
    many = scored(names, rows=4, **one_way)
    assert not summaries(many, "abroca") and summaries(many, "expected_calibration_error")
