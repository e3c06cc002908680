"""Judging at its limits: margins of 0, joint groups, one attribute among several, sentences, worst cases, costs."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from clinometer.bias.attributes import Attribute, resolve_attributes
from clinometer.bias.audited_again import audit_again
from clinometer.bias.comparison import compare
from clinometer.bias.cost_matrices import cost_matrix
from clinometer.bias.costs import expected_cost, group_costs
from clinometer.bias.fairlearn_frames import from_metric_frame
from clinometer.bias.intervals import wilson
from clinometer.bias.logistic_heads import scaling
from clinometer.bias.pareto import candidate, pareto
from clinometer.bias.policy import parse_policy
from clinometer.bias.suite_results import check
from clinometer.bias.suite_rows import expand
from clinometer.bias.suites import parse_suite
from clinometer.bias.threshold_rules import common_threshold
from clinometer.bias.verdicts import verdicts_of
from clinometer.errors import DataError, PolicyError, UsageError
from clinometer.evidence import from_columns
from clinometer.records import Finding


def decided(n=120, **extra):
    """Rows of three attributes whose gaps differ, with a label, a score and a decision."""
    at = np.arange(n)
    columns = {
        "label": (at % 2 == 0).astype(int),
        "said": (at % 3 != 0).astype(int),
        "score": (at % 7) / 7,
        "ending": np.where(at % 6 < 3, "a", "b"),
        "middle": np.where(at % 4 < 2, "a", "b"),
        "start": np.where(at % 9 < 6, "a", "b"),
        **extra,
    }
    return from_columns(
        columns, label="label", prediction="said", score="score", groups=["ending", "middle", "start"]
    )


def policy(**given):
    return parse_policy(given, where="the test")


# Comparison


def test_only_margins_of_exactly_0_are_said_to_be_hard_to_keep():
    pair = decided(), decided()

    def notes(levels, gaps):
        made = compare(*pair, tolerance_change=levels, tolerance_gap_change=gaps, set_by="the test")
        return [note for note in made.notes if note.startswith("A margin of 0")]

    said = "A margin of 0 ({}) can hardly ever be shown to be kept: only passed, or inconclusive."
    assert notes({"accuracy": 0.05}, {"selection_rate": 1e-9}) == []
    assert notes({"accuracy": 0.0}, {"selection_rate": 0.05}) == [said.format("'accuracy'")]
    assert notes({"accuracy": 1.0}, {"selection_rate": 0}) == [said.format("'selection_rate'")]
    assert notes({"accuracy": 0.0}, {"selection_rate": 0.0}) == [said.format("'accuracy', 'selection_rate'")]
    assert not any(
        note.startswith("No margin")
        for note in compare(*pair, tolerance_change={"accuracy": 0.0}, set_by="the test").notes
    )
    none = compare(*pair)
    assert none.notes == (
        "No margin is declared: nothing is gated, and p is of the hypothesis that nothing changed.",
    )


def test_margins_below_0_and_without_end_are_refused():
    pair = decided(), decided()
    for key in ("tolerance_change", "tolerance_gap_change"):
        for value in (-1e-9, math.inf, math.nan):
            with pytest.raises(UsageError) as raised:
                compare(*pair, **{key: {"accuracy": value}}, set_by="the test")
            assert str(raised.value) == f"{key} of accuracy is {value}; a number of 0 or more is expected."
        for owner in (None, "", " "):
            with pytest.raises(UsageError, match="margins are declared and nobody is named"):
                compare(*pair, **{key: {"accuracy": 0.1}}, set_by=owner)


# One attribute among several


ALL_THREE = {"ending": {}, "middle": {}, "start": {}}


@pytest.mark.parametrize("name", ["ending", "middle", "start"])
@pytest.mark.parametrize("declared", [ALL_THREE, {}, {"middle": {}}])
def test_a_chart_is_of_the_attribute_asked_for_and_of_no_other(name, declared):
    rows = decided()
    fix = common_threshold(0.5, name="half")
    asked = "".join([name[:2], name[2:]])  # the same name, not the same string
    made = pareto(
        rows,
        [candidate(fix, rows)],
        policy(groups=declared),
        attribute=asked,
        gap="selection_rate",
        purpose="judge",
    )
    assert made.attribute == name
    said, group = rows.binary("said"), np.array(rows.group(name))
    gap = said[group == "a"].mean() - said[group == "b"].mean()
    assert made.of("unmitigated").gap == pytest.approx(abs(gap))


def test_a_chart_of_an_intersection_and_of_what_cannot_be_drawn():
    rows = decided(alone=["x"] * 120)
    fixes = [candidate(common_threshold(0.5, name="half"), rows)]

    def drawn(attribute, given, **settings):
        settings = {"gap": "selection_rate", "purpose": "judge", **settings}
        return pareto(rows, fixes, policy(**given), attribute=attribute, **settings)

    joint = {"groups": ALL_THREE, "intersections": [["ending", "start"]]}
    assert drawn("ending & start", joint).attribute == "ending & start"
    with pytest.raises(PolicyError, match="there is no attribute 'ending & midle': did you mean"):
        drawn("ending & midle", joint)
    with pytest.raises(PolicyError, match=r"groups\.middle: the best group can be another one with a fix"):
        drawn("middle", {"groups": {**ALL_THREE, "middle": {"reference": "(best)"}}})
    with pytest.raises(DataError, match="middle has fewer than two groups to compare: 'a'"):
        drawn("middle", {"groups": {**ALL_THREE, "middle": {"exclude": {"b": "a test"}}}})
    assert drawn("middle", {}, accepted_loss=0, accepted_growth=0).points
    for settings in ({"accepted_loss": -1e-9}, {"accepted_growth": -1e-9}, {"accepted_loss": math.nan}):
        with pytest.raises(UsageError, match="accepted_loss and accepted_growth are 0 or more"):
            drawn("middle", {}, **settings)


# Joint groups


def joint(**groups):
    made = resolve_attributes(decided(), policy(groups=groups, intersections=[["ending", "middle"]]))
    return next(one for one in made if one.name == "ending & middle")


A, B = {"reference": "a"}, {"reference": "b"}
BY_REFERENCE = {"reference": "a", "compare": "reference"}


@pytest.mark.parametrize(
    ("groups", "reference"),
    [
        ({"ending": A, "middle": B}, "a & b"),
        ({"ending": B, "middle": B}, "b & b"),
        ({"ending": A, "middle": {}}, None),
        ({"ending": A}, None),
        ({"middle": B}, None),
        ({"ending": {"reference": "(largest)"}, "middle": {"reference": "(best)"}}, "(largest)"),
        ({"ending": {"reference": "(best)"}, "middle": {"reference": "(largest)"}}, "(best)"),
        ({"ending": {"reference": "(largest)"}, "middle": A}, None),
    ],
)
def test_the_reference_of_joint_groups_is_that_of_every_column(groups, reference):
    made = joint(**groups)
    if reference == "(largest)":
        assert made.reference == max(made.members, key=lambda name: (len(made.members[name]), name))
    else:
        assert made.reference == reference
    if reference in made.members:
        assert [two for one, two in made.pairs if reference in (one, two)] == [reference] * 3


@pytest.mark.parametrize(
    ("groups", "compare"),
    [
        ({"ending": BY_REFERENCE, "middle": BY_REFERENCE}, "reference"),
        ({"ending": BY_REFERENCE, "middle": A}, "pairs"),
        ({"ending": {"compare": "complement"}, "middle": {"compare": "complement"}}, "complement"),
        ({"ending": {"compare": "overall"}, "middle": {"compare": "overall"}}, "overall"),
        ({"ending": {"compare": "overall"}, "middle": {"compare": "complement"}}, "pairs"),
        ({"ending": {"compare": "complement"}}, "complement"),
        ({"ending": BY_REFERENCE}, "pairs"),  # without a joint reference there is nobody to compare with
        ({"ending": {}, "middle": {}}, "pairs"),
        ({"start": {"compare": "complement"}}, "pairs"),
    ],
)
def test_joint_groups_are_compared_as_every_declared_column_is(groups, compare):
    made = joint(**groups)
    assert made.compare == compare
    assert len(made.pairs) == {"pairs": 6, "reference": 3, "complement": 4, "overall": 4}[compare]


def test_joint_groups_leave_out_what_a_column_leaves_out():
    made = joint(ending={"exclude": {"b": "few rows"}}, middle={})
    assert made.exclude == {"b & a": "few rows", "b & b": "few rows"}
    assert made.compared == ["a & a", "a & b"]


# Sentences of verdicts


def finding(**given):
    full = {
        "attribute": "group",
        "metric": "accuracy",
        "group": "a",
        "reference": "b",
        "n_group": 5,
        "n_reference": 9,
        "estimate": 0.25,
        "low": -0.125,
        "high": 0.5,
        "upper_bound": None,
        "tolerance": 0.1,
        "p": None,
        "p_adjusted": None,
        "minimum_detectable_effect": None,
        "n_needed": None,
        "status": "ok",
        "verdict": "inconclusive",
        "reason": "",
    }
    return Finding(**{**full, **given})


GROUP = Attribute(name="group", members={}, unknown=None, reference=None, exclude={})


def sentence(*findings):
    made = verdicts_of(findings, [GROUP], {"accuracy": 0.1})
    assert [(one["attribute"], one["metric"], one["tolerance"]) for one in made] == [
        ("group", "accuracy", 0.1)
    ]
    return made[0]["verdict"], made[0]["reason"]


def test_a_verdict_is_told_with_its_numbers_or_with_why_there_are_none():
    told = "1 of 1 pairs; a minus b +0.250 [-0.125, +0.500] (n = 5 and 9)"
    assert sentence(finding()) == ("inconclusive", told)
    assert sentence(finding(reason="too few")) == ("inconclusive", f"{told}; too few")
    for missing in ("estimate", "low", "high"):
        one = finding(**{missing: None}, reason="one row", verdict="not assessed")
        assert sentence(one) == ("not assessed", "1 of 1 pairs; a minus b: one row")
    assert sentence() == ("not assessed", "group has fewer than two groups to compare")
    assert sentence(finding(metric="selection_rate"), finding(attribute="other"))[0] == "not assessed"


def test_a_verdict_is_the_gravest_and_told_of_the_widest_gap_of_that_kind():
    made = sentence(
        finding(verdict="within tolerance", estimate=0.9),
        finding(verdict="exceeds tolerance", estimate=0.2),
        finding(verdict="exceeds tolerance", estimate=-0.3, group="c"),
        finding(verdict="exceeds tolerance", estimate=None),
    )
    assert made == (
        "exceeds tolerance",
        "3 of 4 pairs; c minus b -0.300 [-0.125, +0.500] (n = 5 and 9)",
    )


# Audited again


def test_agreement_is_of_decisions_and_of_nothing_else():
    at = np.arange(200)
    columns = {
        "y": (at % 2).astype(int),
        "s": (at % 11) / 11,
        "p": (at % 3 == 0).astype(int),
        "g": np.where(at % 5, "a", "b"),
    }
    scored = from_columns(columns, label="y", score="s", groups=["g"])
    both = from_columns(columns, label="y", score="s", prediction="p", groups=["g"])
    assert audit_again(scored, scored, policy(), fix=()).agreement == ()
    made = audit_again(both, both, policy(), fix=()).agreement
    assert [(one.attribute, one.group, one.n, one.rate) for one in made] == [
        ("", "(all)", 200, 1.0),
        ("g", "a", 160, 1.0),
        ("g", "b", 40, 1.0),
    ]
    amounts = from_columns(
        {"y": at / 7, "p": at / 7 + at % 3, "g": columns["g"]}, label="y", prediction="p", groups=["g"]
    )
    numbers = audit_again(
        amounts, amounts, policy(task="regression"), fix=(), metrics=["mean_absolute_error"]
    )
    assert numbers.agreement == () and numbers.comparison.of("mean_absolute_error").change == 0.0
    classes = audit_again(both, both, policy(task="multiclass"), fix=(), metrics=["accuracy"])
    assert [(one.group, one.n, one.rate) for one in classes.agreement] == [
        ("(all)", 200, 1.0),
        ("a", 160, 1.0),
        ("b", 40, 1.0),
    ]
    for before, after in ((both, scored), (scored, both)):
        with pytest.raises(UsageError, match="there is no prediction"):
            audit_again(before, after, policy(), fix=())


# Suites


SUITE = {
    "name": "own",
    "version": "1",
    "source": "a test",
    "slots": {"faith": ["muslim", "jew", "hindu", "sikh"], "mild": ["good", "bad"]},
    "test": [
        {
            "name": "same",
            "kind": "INV",
            "templates": ["a {faith} is {mild}."],
            "vary": "faith",
            "reference": "muslim",
            "delta": 0.125,
        },
    ],
}
EXPANDED = expand(parse_suite(SUITE))
MOVES = {"jew": 0.5, "hindu": 0.25, "sikh": 0.75}


def checked(moves, **settings):
    texts = [str(text).lower() for text in EXPANDED.rows.inputs["text"]]
    score = [sum(by for word, by in moves.items() if word in text) for text in texts]
    return check(EXPANDED, score=score, **settings).tests[0]


def test_the_worst_cases_come_first_and_as_many_as_asked_for():
    made = checked(MOVES)
    assert (made.n, made.n_failed, len(made.worst)) == (6, 6, 5)
    assert [one.missed_by for one in made.worst] == [0.625, 0.625, 0.375, 0.375, 0.125]
    words = ["sikh is good", "sikh is bad", "jew is good", "jew is bad", "hindu is good"]
    for one, word in zip(made.worst, words, strict=True):  # of equal ones the first first
        assert word in one.text.lower() and "muslim" in one.compared_with.lower()
    assert [len(checked(MOVES, n_worst=n).worst) for n in (0, 1, 6, 7)] == [0, 1, 6, 6]
    assert checked(MOVES, n_worst=1).worst == made.worst[:1]


def test_a_change_of_exactly_what_is_allowed_is_no_failure():
    made = checked({"jew": 0.125, "hindu": -0.125, "sikh": 0.126})
    assert made.n_failed == 2 and [round(one.missed_by, 9) for one in made.worst] == [0.001, 0.001]
    assert checked({}).worst == () and checked({}).n_failed == 0


@pytest.mark.parametrize(
    ("settings", "fine"),
    [
        ({"alpha": 0.0}, False),
        ({"alpha": 0.5}, False),
        ({"alpha": 0.499}, True),
        ({"confidence": 0.0}, False),
        ({"confidence": 1.0}, False),
        ({"confidence": 0.999}, True),
        ({"n_worst": -1}, False),
        ({"n_worst": 0}, True),
    ],
)
def test_numbers_of_a_check_at_their_limits(settings, fine):
    if fine:
        assert checked(MOVES, **settings).n_failed == 6
        return
    full = {"alpha": 0.05, "confidence": 0.95, "n_worst": 5, **settings}
    with pytest.raises(UsageError) as raised:
        checked(MOVES, **settings)
    assert str(raised.value) == (
        f"alpha {full['alpha']}, confidence {full['confidence']}, n_worst {full['n_worst']} are out of range."
    )


# MetricFrames


@pytest.mark.parametrize(
    ("estimate", "rows", "k"),
    [
        (1e-6, 1, 0),
        (1.5e-6, 1, None),
        (1 - 0.9e-6, 1, 1),
        (1.9e-6, 2, None),
        (0.9e-6, 2, 0),
        (0.5 + 0.9e-6, 100, 50),
        (0.5 - 0.9e-6, 100, 50),
        (0.5 + 1.1e-6, 100, None),
        (0.5 - 1.1e-6, 100, None),
        (0.5, 3, None),
        (2 / 3, 3, 2),
        (0.25, 0, None),
        (math.nan, 4, None),
    ],
)
def test_a_rate_is_a_count_where_it_is_one_within_a_millionth_of_a_row(estimate, rows, k):
    frame = SimpleNamespace(
        by_group=pd.DataFrame({"selection_rate": [estimate], "count": [rows]}, index=["a"]),
        overall=pd.Series({"selection_rate": 0.5, "count": 10}),
        sensitive_levels=["group"],
        control_levels=None,
    )
    whole, cell = from_metric_frame(frame)
    assert (whole.k, whole.n, whole.low, whole.high) == (5, 10, *wilson(5, 10))
    assert cell.k == k and cell.n_rows == rows
    if k is None:
        assert (cell.n, cell.low, cell.high, cell.status) == (0, None, None, "undefined")
        assert cell.note == (
            "undefined in the MetricFrame"
            if math.isnan(estimate)
            else "the MetricFrame does not say out of how many"
        )
    else:
        assert (cell.n, cell.low, cell.high, cell.status) == (rows, *wilson(k, rows), "ok")


# Costs


def test_why_a_cost_has_no_interval():
    matrix = cost_matrix({True: {True: 0, False: 3}, False: {True: 5, False: 0}}, "EUR")

    def one(label, said, **given):
        made = group_costs(label, said, ["a"] * len(label), matrix, **given)
        return made[0].note, made[0].low is None, made[0].high is None

    yes, no = np.array([True, True]), np.array([True, False])
    assert one(yes[:1], no[1:]) == ("one row has no standard error", True, True)
    assert one(yes, yes) == ("every decision costs the same: there is no standard error", True, True)
    assert one(yes, no) == ("", False, False)
    codes = np.array([0, 1])
    assert one(yes, no, cluster=codes) == ("", False, False)
    alone = "all rows are in one cluster: their standard error is unknown"
    assert one(yes, no, cluster=np.array([4, 4])) == (alone, True, True)
    # A row that counts 0 times is of no cluster.
    three = np.array([True, True, True]), np.array([True, False, False])
    apart = np.array([0, 0, 1])
    assert one(*three, cluster=apart, count=np.array([1, 1, 0])) == (alone, True, True)
    assert one(*three, cluster=apart, count=np.array([1, 1, 1])) == ("", False, False)
    assert one(*three, cluster=np.arange(3)) == ("", False, False)
    assert one(yes, no, count=np.array([1, 0])) == ("one row has no standard error", True, True)


def test_clusters_are_those_of_the_groups_own_rows():
    matrix = cost_matrix({True: {True: 0, False: 3}, False: {True: 5, False: 0}}, "EUR")
    four = np.array([True] * 4), np.array([True, False, True, False]), list("aabb"), matrix
    alone = "all rows are in one cluster: their standard error is unknown"
    for cluster, notes in (
        ([0, 1, 2, 2], ("", alone)),
        ([0, 0, 1, 2], (alone, "")),
        ([0, 1, 0, 1], ("", "")),
    ):
        made = group_costs(*four, cluster=np.array(cluster))
        assert tuple(group.note for group in made) == notes
        assert [group.low is None for group in made] == [note == alone for note in notes]


@pytest.mark.parametrize("confidence", [0.0, 1.0, math.nan])
def test_confidences_of_costs_are_between_0_and_1(confidence):
    matrix = cost_matrix({True: {True: 0, False: 3}, False: {True: 5, False: 0}}, "EUR")
    yes, no, group = np.array([True, True]), np.array([True, False]), ["a", "a"]
    with pytest.raises(UsageError, match=f"^confidence is {confidence}; expected between 0 and 1"):
        group_costs(yes, no, group, matrix, confidence=confidence)
    assert group_costs(yes, no, group, matrix) == group_costs(yes, no, group, matrix, confidence=0.95)
    assert expected_cost(np.array([1.0, 3.0])).estimate == 2.0


# Features of a head


def test_a_feature_that_hardly_varies_is_left_at_its_own_scale():
    columns = {
        "constant": ([3.0, 3.0], 1.0),
        "plain": ([0.0, 4.0], 2.0),
        "beyond rounding": ([0.0, 3e-12], 1.5e-12),
        "rounding": ([0.0, 1.9e-12], 1.0),
        "beyond rounding of a large one": ([1e6, 1e6 + 4e-6], 2e-6),
        "exactly rounding": ([-1e-12, 1e-12], 1.0),
        "rounding of a large one": ([1e6, 1e6 + 1e-6], 1.0),
        "rounding of a large negative one": ([-1e6, -1e6 + 1e-6], 1.0),
    }
    made = scaling(np.array([values for values, _ in columns.values()]).T)
    for (name, (values, width)), centre, got in zip(columns.items(), made.centre, made.width, strict=True):
        assert got == pytest.approx(width, rel=1e-3), name
        assert centre == pytest.approx(np.mean(values))
    assert made.to(np.array([[3.0, 4.0] + [0.0] * 6]))[0, :2].tolist() == [0.0, 1.0]
