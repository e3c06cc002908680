"""Utility against gap: comparison's own numbers, who dominates whom, no choice on the rows that judge."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from clinometer.bias import pareto_points
from clinometer.bias.choosing import choose
from clinometer.bias.comparison import compare
from clinometer.bias.decision_rules import CommonThreshold
from clinometer.bias.intervals import newcombe, wilson
from clinometer.bias.mitigation import Mitigation, read_mitigation
from clinometer.bias.pareto import candidate, pareto
from clinometer.bias.pareto_records import Candidate
from clinometer.bias.policy import parse_policy
from clinometer.bias.splitting import split
from clinometer.bias.threshold_rules import common_threshold, group_thresholds, move_threshold
from clinometer.errors import DataError, PolicyError, UsageError
from clinometer.evidence import from_columns
from reference.leaning import leaning, rate


@pytest.fixture(scope="module")
def parts():
    evidence, _ = leaning(3000, seed=5)
    made = split(evidence)
    return {part: made.take(evidence, part) for part in ("fit", "choose", "judge")}


@pytest.fixture(scope="module")
def fixes(parts):
    return [
        group_thresholds(parts["fit"], "group", name="by group"),
        move_threshold(parts["fit"], "group", floor=0.7, name="one for all"),
        common_threshold(0.97, name="strict"),
    ]


def drawn(parts, fixes, part="choose", **settings):
    rows = parts[part]
    return pareto(rows, [candidate(fix, rows) for fix in fixes], attribute="group", purpose=part, **settings)


# Numbers


def test_points_hold_the_rates_counted_by_hand(parts, fixes):
    made = drawn(parts, fixes)
    rows = parts["choose"]
    for name, evidence in [("unmitigated", rows), *((fix.name, fix.apply(rows)) for fix in fixes)]:
        point = made.of(name)
        said, label = evidence.binary("said"), evidence.binary("label")
        assert point.utility == pytest.approx((said == label).mean())
        assert (point.utility_low, point.utility_high) == pytest.approx(
            tuple(wilson(int((said == label).sum()), len(rows)))
        )
        assert point.gap == pytest.approx(abs(rate(evidence, "a") - rate(evidence, "b")))
        group = np.array(evidence.group("group"))
        counts = [
            int(x) for g in "ab" for x in ((said & label & (group == g)).sum(), (label & (group == g)).sum())
        ]
        low, high = newcombe(*counts)
        assert (point.gap_low, point.gap_high) == pytest.approx(
            (max(0, low, -high), max(abs(low), abs(high)))
        )
        assert point.n == len(rows)


def test_changes_are_those_of_comparison(parts, fixes):
    made = drawn(parts, fixes, "judge")
    rows = parts["judge"]
    for fix in fixes:
        point = made.of(fix.name)
        found = compare(rows, fix.apply(rows), metrics=["accuracy", "true_positive_rate"])
        accuracy = found.of("accuracy")
        assert (point.utility_change, point.utility_change_low, point.utility_change_high) == pytest.approx(
            (accuracy.change, accuracy.low, accuracy.high)
        )
        strict = parse_policy({"alpha": 0.025}, where="the test")
        one = compare(rows, fix.apply(rows), strict, metrics=["true_positive_rate"])
        back = compare(fix.apply(rows), rows, strict, metrics=["true_positive_rate"])
        assert point.gap_change == pytest.approx(one.of("true_positive_rate", "a", "b").worsening)
        assert point.gap_change_high == pytest.approx(one.of("true_positive_rate", "a", "b").upper_bound)
        assert point.gap_change_low == pytest.approx(-back.of("true_positive_rate", "a", "b").upper_bound)
        assert point.gap_change_low <= point.gap_change <= point.gap_change_high
    none = made.of("unmitigated")
    assert none.gap_change is None and none.utility_change is None


def test_of_many_groups_the_largest_gap_is_shown_with_bounds_over_all_pairs():
    evidence, _ = leaning(2000, groups="abcd", seed=6)
    two, _ = leaning(2000, groups="ab", seed=6)
    many = pareto(evidence, [], attribute="group", purpose="choose").points[0]
    rates = {g: rate(evidence, g) for g in "abcd"}
    assert many.gap == pytest.approx(max(rates.values()) - min(rates.values()))
    assert {many.group, many.reference} == {min(rates, key=rates.get), max(rates, key=rates.get)}
    alone = pareto(two, [], attribute="group", purpose="choose").points[0]
    assert many.gap_high - many.gap > alone.gap_high - alone.gap


@pytest.mark.parametrize(
    ("before", "after"),
    [((0.6, 0.75, 0.8), (0.72, 0.74, 0.78)), ((0.5, 0.9, 0.9), (0.8, 0.9, 0.6))],
    ids=["narrower", "another pair"],
)
def test_intervals_of_the_largest_gap_and_its_change_hold_the_truth(before, after):
    held = np.zeros(3)
    n_runs, n = 25, 900
    for seed in range(n_runs):
        draw = np.random.default_rng(seed)
        group, label, chance = draw.integers(0, 3, n), draw.random(n) < 0.6, draw.random(n)
        again = np.where(draw.random(n) < 0.7, chance, draw.random(n))
        wrong = draw.random(n) < 0.2
        said = [
            np.where(label, u < np.array(rates)[group], wrong)
            for u, rates in ((chance, before), (again, after))
        ]
        rows = from_columns(
            {"y": label, "said": said[0], "group": np.array(list("abc"))[group]},
            label="y",
            prediction="said",
            groups=["group"],
        )
        fixed = dataclasses.replace(rows, table=rows.table.set_column(2, "said", pa.array(said[1])))
        point = pareto(
            rows, [Candidate(name="f", evidence=fixed, seen=())], attribute="group", purpose="judge"
        ).of("f")
        gap = max(after) - min(after)
        change = gap - (max(before) - min(before))
        accuracy = 0.6 * (np.mean(after) - np.mean(before))
        held += [
            point.gap_low <= gap <= point.gap_high,
            point.gap_change_low <= change <= point.gap_change_high,
            point.utility_change_low <= accuracy <= point.utility_change_high,
        ]
    assert (held >= 21).all()  # of 25: less than 21 has chance .01 at 95 %


def test_pairs_that_cannot_have_the_largest_gap_do_not_widen_its_change(monkeypatch):
    rows, _ = leaning(8000, groups="abcdefgh", seed=3, lean=3.0)
    draw = np.random.default_rng(0).random(8000)
    fix = decided(rows, "f", (draw < 0.05) | ((np.array(rows.group("group")) == "a") & (draw < 0.3)))
    point = pareto(rows, [fix], attribute="group", purpose="judge").of("f")
    monkeypatch.setattr(pareto_points, "SCREENED", 0.0)  # every pair may have it
    wide = pareto(rows, [fix], attribute="group", purpose="judge").of("f")
    assert point.gap_change == wide.gap_change and "a" in {point.group, point.reference}
    assert point.gap_change_high < 0 < wide.gap_change_high
    assert point.gap_change_high - point.gap_change_low < (wide.gap_change_high - wide.gap_change_low) / 2


def test_a_cost_is_a_utility_of_which_less_is_better(parts, fixes):
    policy = parse_policy(
        {"costs": {"unit": "EUR", "false_positive": 5, "false_negative": 1}}, where="the test"
    )
    made = drawn(parts, fixes, policy=policy, utility="expected_cost")
    assert made.better == "lower"
    rows = parts["choose"]
    said, label = rows.binary("said"), rows.binary("label")
    cost = 5 * (said & ~label).mean() + (~said & label).mean()
    assert made.of("unmitigated").utility == pytest.approx(cost)
    chosen = choose(made, floor=cost + 0.02)
    assert made.of(chosen.name).utility <= cost + 0.02
    with pytest.raises(UsageError, match="no fix keeps a expected_cost of 0"):
        choose(made, floor=0.0)


# Who is ahead of whom


def decided(rows, name, wrong):
    """The rows with the label for a decision but where `wrong` says."""
    label = rows.binary("label")
    table = rows.table.set_column(rows.table.column_names.index("said"), "said", pa.array(label ^ wrong))
    return Candidate(name=name, evidence=dataclasses.replace(rows, table=table), seen=())


def test_dominated_beyond_noise_and_merely_behind():
    rows, _ = leaning(4000, seed=8)
    draw = np.random.default_rng(0).random(4000)
    a = np.array(rows.group("group")) == "a"
    good = decided(rows, "good", draw < 0.05)
    alike = decided(rows, "alike", (draw < 0.05) | (draw > 0.999))
    bad = decided(rows, "bad", draw < np.where(a, 0.35, 0.15))
    made = pareto(rows, [good, alike, bad], attribute="group", purpose="judge")
    assert "good" in made.of("bad").dominated_by
    assert made.of("good").dominated_by == ()
    assert made.of("alike").dominated_by == ()  # a few rows apart: noise
    assert "bad" not in made.front and {"good", "alike"} <= set(made.front)


def test_fixes_that_are_alike_are_seldom_called_dominated():
    false = 0
    for seed in range(20):
        rows, _ = leaning(400, seed=seed)
        draw = np.random.default_rng(1000 + seed).random((3, 400))
        made = pareto(
            rows,
            [decided(rows, f"f{k}", draw[k] < 0.2) for k in range(3)],
            attribute="group",
            purpose="judge",
        )
        false += any("unmitigated" not in (*p.dominated_by, p.name) and p.dominated_by for p in made.points)
    assert false <= 3


def test_a_gap_that_is_undefined_is_named_and_never_chosen():
    rows = from_columns(
        {"y": [1, 0, 0, 0] * 10, "p": [1, 0, 1, 0] * 10, "g": ["a", "a", "b", "b"] * 10},
        label="y",
        prediction="p",
        groups=["g"],
    )
    made = pareto(rows, [], attribute="g", purpose="choose")
    point = made.points[0]
    assert (point.gap, point.utility) == (None, None) and "nobody in the denominator" in point.reason
    assert made.front == ()
    with pytest.raises(UsageError, match="none has a utility and a gap"):
        choose(made, floor=0.0)


# Choosing


def test_the_smallest_gap_that_keeps_the_floor(parts, fixes):
    made = drawn(parts, fixes)
    chosen = choose(made, floor=0.75)
    open_to = [p for p in made.points if p.utility >= 0.75]
    assert chosen.name == min(open_to, key=lambda p: p.gap).name == "by group"
    assert set(chosen.open_to) == {p.name for p in open_to}
    assert {one.role for one in chosen.seen} == {"fit", "choose"}
    best = max(p.utility for p in made.points)
    assert choose(made, floor=best).name == max(made.points, key=lambda p: p.utility).name
    with pytest.raises(UsageError, match=r"no fix keeps a accuracy of 0.99.*the best is"):
        choose(made, floor=0.99)


def test_the_chosen_one_remembers_the_rows_that_chose_it(parts, fixes, tmp_path):
    chosen = choose(drawn(parts, fixes), floor=0.75)
    kept = chosen.kept_in(fixes[0])
    kept.save(tmp_path / "fix.json")
    back = read_mitigation(tmp_path / "fix.json")
    assert [one.role for one in back.seen] == ["fit", "choose"]
    rows = parts["choose"]
    with pytest.raises(DataError, match="are rows that it was chosen on"):
        pareto(rows, [candidate(back, rows)], attribute="group", purpose="judge")
    with pytest.raises(UsageError, match="'by group' was chosen, and 'strict' was given"):
        chosen.kept_in(fixes[2])


def test_beyond_noise_the_end_of_the_interval_has_to_keep_the_floor(parts, fixes):
    made = drawn(parts, fixes)
    point = made.of("by group")
    between = (point.utility + point.utility_low) / 2
    assert "by group" in choose(made, floor=between).open_to
    with pytest.raises(UsageError, match="no fix keeps"):
        choose(made, floor=max(p.utility_low for p in made.points) + 1e-6, beyond_noise=True)


def test_nothing_is_chosen_on_the_rows_that_judge(parts, fixes):
    with pytest.raises(DataError, match=r"750 rows judge: a fix chosen on them"):
        choose(drawn(parts, fixes, "judge"), floor=0.5)


@pytest.mark.parametrize("part", ["choose", "judge"])
def test_rows_that_a_fix_was_fitted_on_neither_choose_nor_judge(parts, fixes, part):
    rows = parts["fit"]
    with pytest.raises(DataError, match=rf"should {part} 'by group' are rows that it was fitted on"):
        pareto(rows, [candidate(fixes[0], rows)], attribute="group", purpose=part)
    unfitted = Mitigation(name="free", rule=CommonThreshold(threshold=0.4))  # negative control
    assert pareto(rows, [candidate(unfitted, rows)], attribute="group", purpose=part).points


def test_rows_that_chose_a_fix_do_not_judge_it(parts, fixes):
    rows = parts["choose"]
    chosen = fixes[2].after(rows, "choose")
    with pytest.raises(DataError, match="are rows that it was chosen on"):
        pareto(rows, [candidate(chosen, rows)], attribute="group", purpose="judge")
    assert pareto(rows, [candidate(chosen, rows)], attribute="group", purpose="choose").points


def test_what_is_chosen_looks_better_on_the_rows_that_chose_it_and_not_on_others():
    """Six fixes with the same true gap of .3: the smallest one seen flatters, the same one seen again does not."""
    chose, judged = [], []
    for seed in range(30):
        gaps = []
        for k, part in enumerate(("choose", "judge")):
            rows, _ = leaning(400, seed=2 * seed + k, share=0.5, prefix=part)
            draw = np.random.default_rng((seed, k)).random((6, 400))
            a = np.array(rows.group("group")) == "a"
            fixes = [decided(rows, f"f{i}", draw[i] < np.where(a, 0.4, 0.1)) for i in range(6)]
            gaps.append((rows, fixes))
        rows, fixes = gaps[0]
        made = pareto(rows, fixes, attribute="group", purpose="choose")
        only = dataclasses.replace(made, points=made.points[1:])
        chosen = choose(only, floor=0.0)
        chose.append(made.of(chosen.name).gap)
        rows, fixes = gaps[1]
        again = [fix for fix in fixes if fix.name == chosen.name]
        judged.append(pareto(rows, again, attribute="group", purpose="judge").of(chosen.name).gap)
    error = np.std(judged, ddof=1) / np.sqrt(len(judged))
    assert abs(np.mean(judged) - 0.3) < 3.5 * error
    assert np.mean(chose) - 0.3 < -6 * np.std(chose, ddof=1) / np.sqrt(len(chose))  # the winner's curse


# Refusals


def test_refusals(parts, fixes):
    rows = parts["choose"]
    one = candidate(fixes[2], rows)
    with pytest.raises(UsageError, match="two fixes are called 'strict'"):
        pareto(rows, [one, one], attribute="group", purpose="choose")
    with pytest.raises(UsageError, match="purpose is 'test'"):
        pareto(rows, [one], attribute="group", purpose="test")
    with pytest.raises(PolicyError, match="there is no attribute 'sex'"):
        pareto(rows, [one], attribute="sex", purpose="choose")
    with pytest.raises(UsageError, match="did you mean 'true_positive_rate'"):
        pareto(rows, [one], attribute="group", gap="true_positive", purpose="choose")
    with pytest.raises(UsageError, match="selection_rate is better neither"):
        pareto(rows, [one], attribute="group", utility="selection_rate", purpose="choose")
    with pytest.raises(UsageError, match="0 or more"):
        pareto(rows, [one], attribute="group", accepted_loss=-1, purpose="choose")
    short = dataclasses.replace(one.evidence, table=one.evidence.table.slice(0, 10))
    with pytest.raises(DataError, match="A comparison is of the same rows"):
        pareto(rows, [dataclasses.replace(one, evidence=short)], attribute="group", purpose="choose")
    best = parse_policy({"groups": {"group": {"reference": "(best)"}}}, where="the test")
    with pytest.raises(PolicyError, match="the best group can be another one"):
        pareto(rows, [one], best, attribute="group", purpose="choose")
    with pytest.raises(UsageError, match="there is no fix 'stric': did you mean 'strict'"):
        pareto(rows, [one], attribute="group", purpose="choose").of("stric")


@pytest.mark.parametrize(("part", "notes"), [("choose", 1), ("judge", 0)])
def test_rows_that_choose_are_said_to_flatter(parts, fixes, part, notes):
    made = drawn(parts, fixes, part)
    assert len(made.notes) == notes and made.purpose == part and made.n == len(parts[part])
    assert all("flatters" in note for note in made.notes)
    assert [name for name, _ in made.seen] == ["unmitigated", "by group", "one for all", "strict"]
    for name in ("strict", "one for all"):
        assert made.of(name).name == name
