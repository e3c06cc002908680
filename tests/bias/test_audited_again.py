"""After a fix, on rows of their own: what closed, who got worse, what agrees, and who is refused as a judge."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from clinometer.bias.audited_again import audit_again
from clinometer.bias.choosing import choose
from clinometer.bias.groups import ALL
from clinometer.bias.intervals import wilson
from clinometer.bias.pareto import candidate, pareto
from clinometer.bias.policy import parse_policy
from clinometer.bias.splitting import split
from clinometer.bias.threshold_rules import common_threshold, group_thresholds
from clinometer.errors import DataError, UsageError
from reference.leaning import leaning, rate

POLICY = parse_policy(
    {"set_by": "the test", "tolerance": {"true_positive_rate": 0.1}, "groups": {"group": {"reference": "b"}}},
    where="the test",
)
MARGINS = {
    "tolerance_change": {"accuracy": 0.05},
    "tolerance_gap_change": {"true_positive_rate": 0.0},
    "set_by": "the test",
}


@pytest.fixture(scope="module")
def parts():
    evidence, _ = leaning(12_000, seed=5, lean=1.4)
    made = split(evidence, shares=(0.25, 0.25, 0.5))
    return {part: made.take(evidence, part) for part in ("fit", "choose", "judge")}


@pytest.fixture(scope="module")
def fix(parts):
    return group_thresholds(parts["fit"], "group")


@pytest.fixture(scope="module")
def closed(parts, fix):
    return audit_again(parts["judge"], fix.apply(parts["judge"]), POLICY, fix=fix, **MARGINS)


def changed(rows, prediction):
    at = rows.table.column_names.index("said")
    return dataclasses.replace(rows, table=rows.table.set_column(at, "said", pa.array(prediction)))


def test_a_gap_that_the_fix_closed(parts, fix, closed):
    rows = parts["judge"]
    assert [(one.group, one.reference, one.metric) for one in closed.closed] == [
        ("a", "b", "true_positive_rate")
    ]
    gap = closed.closed[0]
    assert gap.before == pytest.approx(rate(rows, "a") - rate(rows, "b"))
    assert gap.after == pytest.approx(rate(fix.apply(rows), "a") - rate(fix.apply(rows), "b"))
    assert gap.decision == "no worse" and closed.comparison.decision == "no worse" and closed.exit_code == 0
    assert (closed.before.verdict, closed.after.verdict) == ("exceeds tolerance", "within tolerance")
    assert not closed.grown
    assert {one.role for one in closed.seen} == {"fit"} and closed.rows.role == "judge"


def test_the_side_effects_are_there_and_scores_that_stayed_moved_nothing(closed):
    found = {one.metric: one for one in closed.side_effects}
    assert {"accuracy", "roc_auc", "brier_score", "calibration_in_the_large"} <= set(found)
    assert found["roc_auc"].change == found["brier_score"].change == 0.0
    assert found["accuracy"].decision == "no worse"
    costs = {one.group: one.change for one in closed.cost_by_group("accuracy")}
    assert set(costs) == {"a", "b"}
    with pytest.raises(UsageError, match="'false_discovery_rate' of groups was not compared"):
        closed.cost_by_group("false_discovery_rate")


def test_agreement_is_counted(parts, fix, closed):
    rows = parts["judge"]
    same = rows.binary("said") == fix.apply(rows).binary("said")
    everybody, *groups = closed.agreement
    assert (everybody.group, everybody.n) == (ALL, len(rows))
    assert everybody.rate == pytest.approx(same.mean())
    assert (everybody.low, everybody.high) == pytest.approx(tuple(wilson(int(same.sum()), len(rows))))
    a = np.array(rows.group("group")) == "a"
    assert groups[0].rate == pytest.approx(same[a].mean())


def test_who_paid_is_named_and_levelling_down_too(parts):
    """True positive rates made equal by turning down members of the group that was better off."""
    rows = parts["judge"]
    draw = np.random.default_rng(0).random(len(rows))
    b = np.array(rows.group("group")) == "b"
    said = rows.binary("said")
    share = 1 - rate(rows, "a") / rate(rows, "b")
    lower = audit_again(rows, changed(rows, said & ~(b & (draw < share))), POLICY, fix=())
    assert [(one.group, one.metric) for one in lower.levelled_down] == [("a", "true_positive_rate")]
    assert ("b", "true_positive_rate") in {(one.group, one.metric) for one in lower.worse_off}
    assert ("b", "accuracy") in {(one.group, one.metric) for one in lower.worse_off}
    assert "a" not in {one.group for one in lower.worse_off}
    assert lower.comparison.decision is None and lower.exit_code == 0  # no margin declared
    raised = audit_again(
        rows, changed(rows, said | (~b & rows.binary("label") & (draw < 0.7))), POLICY, fix=()
    )
    assert raised.closed and not raised.levelled_down and not raised.worse_off


def test_another_group_that_got_worse_is_found_though_nobody_declared_it(parts, fix):
    rows = parts["judge"]
    other = np.where(np.arange(len(rows)) % 2 == 0, "old", "young")
    table = rows.table.append_column("age", pa.array(other))
    wider = dataclasses.replace(rows, table=table, groups=("group", "age"))
    draw = np.random.default_rng(1).random(len(rows))
    after = fix.apply(wider)
    hurt = after.binary("said") & ~((other == "old") & (draw < 0.4))
    policy = POLICY.model_copy(update={"groups": {}})
    made = audit_again(wider, changed(after, hurt), policy, fix=fix)
    assert ("age", "old") in {(one.attribute, one.group) for one in made.worse_off}
    assert ("age", "young") not in {
        (one.attribute, one.group) for one in made.worse_off if one.metric == "true_positive_rate"
    }
    assert ("age", "true_positive_rate") in {(one.attribute, one.metric) for one in made.grown}
    unhurt = audit_again(wider, after, policy, fix=fix)  # negative control
    assert not any(one.attribute == "age" for one in unhurt.grown)


def test_a_fix_that_does_nothing_is_said_to_do_nothing(parts):
    rows = parts["judge"]
    draw = np.random.default_rng(2).random(len(rows))
    noise = rows.binary("said") ^ (draw < 0.002)
    made = audit_again(rows, changed(rows, noise), POLICY, fix=())
    assert not made.closed and not made.grown and not made.worse_off and not made.levelled_down


def test_false_alarms_are_rarer_than_alpha():
    alarms = 0
    for seed in range(12):
        rows, _ = leaning(400, seed=seed)
        flips = np.random.default_rng(seed).random(400) < 0.1
        said = np.where(flips, np.random.default_rng(100 + seed).random(400) < 0.5, rows.binary("said"))
        back = np.where(flips, np.random.default_rng(200 + seed).random(400) < 0.5, rows.binary("said"))
        made = audit_again(changed(rows, said), changed(rows, back), POLICY, fix=())
        alarms += bool(made.improved or made.worsened)
    assert alarms <= 2


def test_worse_beyond_the_margin_is_the_comparisons_word_and_exit_code(parts):
    rows = parts["judge"]
    nobody = common_threshold(2.0)
    made = audit_again(rows, nobody.apply(rows), POLICY, fix=nobody, **MARGINS)
    assert made.comparison.decision == "worse" and made.exit_code == 1
    assert made.closed and made.levelled_down  # nobody is selected: the gap is closed, at everybody's cost
    assert {one.group for one in made.worse_off} == {"a", "b"}


def test_the_frame_says_what_each_row_is(closed):
    frame = closed.frame
    assert set(frame["what"]) == {"everybody", "group", "gap"}
    gap = frame[(frame["what"] == "gap") & (frame["metric"] == "true_positive_rate")].iloc[0]
    assert bool(gap["declared"]) and gap["beyond_noise"] == "improved"
    assert len(frame) == len(closed.comparison.changes)
    assert "1 of 1 declared gaps closed" in repr(closed)


# Who may not judge


def test_rows_of_the_fit_or_of_the_choice_are_refused(parts, fix):
    with pytest.raises(DataError, match=r"should judge .* are rows that it was fitted on"):
        audit_again(parts["fit"], fix.apply(parts["fit"]), POLICY, fix=fix)
    rows = parts["choose"]
    points = pareto(rows, [candidate(fix, rows)], attribute="group", purpose="choose")
    chosen = choose(points, floor=0.5)
    assert chosen.name == fix.name
    with pytest.raises(DataError, match="are rows that it was chosen on"):
        audit_again(rows, fix.apply(rows), POLICY, fix=chosen)
    made = audit_again(parts["judge"], fix.apply(parts["judge"]), POLICY, fix=chosen)  # negative control
    assert made.name == fix.name and {one.role for one in made.seen} == {"fit", "choose"}
