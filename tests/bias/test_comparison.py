"""Two models on the same rows: worse, no worse, too few to tell; for whom; who may be compared."""

import dataclasses

import numpy as np
import pytest

from clinometer.bias.changes import Moved
from clinometer.bias.comparison import compare
from clinometer.bias.group_changes import _planned
from clinometer.bias.groups import ALL
from clinometer.bias.matching import match
from clinometer.bias.metrics import RATES
from clinometer.bias.paired import newcombe_paired, pair
from clinometer.bias.policy import parse_policy
from clinometer.errors import DataError, PolicyError, UsageError
from clinometer.evidence import from_columns
from reference.paired_rates import paired_gap_change


def models(n, *, seed=0, drop=0.0, drop_a=0.0, flips=0.02, groups="ab", **extra):
    """Two models, right in 85 % of rows; the second loses `drop` of the right rows of all, `drop_a` more of group a."""
    draw = np.random.default_rng(seed)
    group = draw.choice(list(groups), n)
    label = draw.random(n) < 0.5
    right = draw.random(n) < 0.85
    lost = right & (draw.random(n) < drop + np.where(group == "a", drop_a, 0.0))
    noise = draw.random(n) < flips
    after_right = np.where(noise, draw.random(n) < 0.85, right & ~lost)
    made = []
    for correct in (right, after_right):
        prediction = np.where(correct, label, ~label)
        made.append(
            from_columns(
                {
                    "id": [f"r{i}" for i in range(n)],
                    "label": label.astype(int),
                    "prediction": prediction.astype(int),
                    "group": group,
                    **{name: values for name, values in extra.items()},
                },
                label="label",
                prediction="prediction",
                groups=["group"],
                cluster="cluster" if "cluster" in extra else None,
                weight="weight" if "weight" in extra else None,
            )
        )
    return made


def judged(pair, **margins):
    return compare(*pair, set_by="the test", **margins)


# The three answers


@pytest.mark.parametrize(
    ("settings", "decision", "code"),
    [
        ({"n": 8000, "drop": 0.08}, "worse", 1),
        ({"n": 8000}, "no worse", 0),
        ({"n": 60, "drop": 0.03}, "inconclusive", 4),
    ],
)
def test_accuracy_truly_worse_truly_as_good_and_too_few(settings, decision, code):
    made = judged(models(**settings), tolerance_change={"accuracy": 0.02})
    assert made.decision == decision
    assert made.exit_code == code
    if decision == "inconclusive":
        assert "more rows" in " ".join(one.reason for one in made.changes if one.decision == "inconclusive")


def test_a_gap_that_grew_is_found_where_accuracy_of_all_hardly_moved():
    made = judged(
        models(12_000, drop_a=0.2, groups="abbbbbbb"),
        tolerance_change={"accuracy": 0.05},
        tolerance_gap_change={"accuracy": 0.03},
    )
    assert made.of("accuracy").decision == "no worse"
    assert made.of("accuracy", "b").decision == "no worse"
    assert made.of("accuracy", "a").decision == "worse"
    assert made.of("accuracy", "a", "b").decision == "worse"
    assert made.of("accuracy", "a", "b").worsening > 0.1
    assert made.exit_code == 1


def test_a_gap_that_shrank_is_no_worse():
    before, after = models(12_000, drop_a=0.15)
    made = judged((after, before), tolerance_gap_change={"accuracy": 0.02})
    gap = made.of("accuracy", "a", "b")
    assert abs(gap.after) < abs(gap.before) - 0.05
    assert gap.decision == "no worse"
    # The signed change alone is far outside the margin: the bound is of the growth.
    assert abs(gap.change) > 0.05


def test_a_gap_that_changed_sides_is_judged_by_its_size():
    n = 4000
    group = np.repeat(["a", "b"], n // 2)
    rates = {"before": (0.3, 0.4), "after": (0.6, 0.4)}
    position = np.tile(np.arange(n // 2) / (n // 2), 2)
    pair_of = [
        from_columns(
            {"prediction": (position < np.where(group == "a", a, b)).astype(int), "group": group},
            prediction="prediction",
            groups=["group"],
        )
        for a, b in rates.values()
    ]
    made = judged(pair_of, tolerance_gap_change={"selection_rate": 0.02}).of("selection_rate", "a", "b")
    assert (made.before, made.after) == pytest.approx((-0.1, 0.2))
    assert made.worsening == pytest.approx(0.1)
    assert made.decision == "worse"


def test_without_a_margin_nothing_is_gated():
    made = compare(*models(500, drop=0.3))
    assert made.decision is None and made.exit_code == 0
    assert "No margin is declared" in made.notes[0]
    assert all(one.decision is None for one in made.changes)
    assert made.of("accuracy").p_adjusted < 0.05
    assert "base_rate" not in set(made.frame["metric"])


# Numbers


def test_rates_of_one_denominator_have_newcombes_paired_interval():
    before, after = models(300, drop=0.1)
    one = compare(before, after).of("true_positive_rate", "a")
    label, group = before.binary("label"), np.array(before.group("group"))
    inside = label & (group == "a")
    cells = pair(after.binary("prediction")[inside], before.binary("prediction")[inside])
    assert (one.low, one.high) == pytest.approx(tuple(newcombe_paired(cells)))
    assert (one.n_gained, one.n_lost, one.n_before) == (cells.first_only, cells.second_only, cells.n)
    assert one.change == pytest.approx(cells.difference)


def test_slow_twin_of_a_gaps_change():
    before, after = models(200, drop_a=0.2)
    said = before.binary("prediction"), after.binary("prediction")
    rows = list(zip(before.group("group"), *(p.tolist() for p in said), strict=True))
    made = compare(before, after, metrics=["selection_rate"]).of("selection_rate", "a", "b")
    gap_before, gap_after, variance = paired_gap_change(rows, "a", "b")
    assert (made.before, made.after) == pytest.approx((gap_before, gap_after), abs=1e-12)
    sizes = [before.group("group").count(g) for g in "ab"]
    from scipy import stats

    half = stats.t.ppf(0.975, min(sizes) - 1) * np.sqrt(variance)
    assert made.high - made.change == pytest.approx(half, rel=1e-9)


def test_predictive_values_have_two_denominators():
    made = compare(*models(4000, drop=0.1)).of("positive_predictive_value")
    assert made.n_before != made.n_after
    assert made.n_gained is None
    assert made.low < made.change < made.high
    assert made.change < 0


def test_scores_and_areas_are_compared_too():
    draw = np.random.default_rng(1)
    n = 1500
    label = draw.random(n) < 0.4
    signal = label + draw.normal(size=n)
    sides = [
        from_columns(
            {
                "y": label.astype(int),
                "s": values,
                "g": draw.choice(["a", "b"], n) if i < 0 else np.tile(["a", "b"], n // 2),
            },
            label="y",
            score="s",
            groups=["g"],
        )
        for i, values in enumerate((signal, signal + draw.normal(size=n)))
    ]
    made = judged(sides, tolerance_change={"roc_auc": 0.01})
    assert made.of("roc_auc").decision == "worse"
    assert made.of("roc_auc").better == "higher"
    assert compare(*sides).of("s").better == "neither"


def test_counted_rows_give_what_the_rows_give():
    before, after = models(400, drop=0.1, groups="abc")
    keys = list(
        zip(
            before.group("group"),
            *(before.binary("label"), before.binary("prediction"), after.binary("prediction")),
            strict=True,
        )
    )
    distinct = sorted(set(keys))
    counted = [
        from_columns(
            {
                "id": [f"d{i}" for i in range(len(distinct))],
                "label": [int(k[1]) for k in distinct],
                "prediction": [int(k[place]) for k in distinct],
                "group": [k[0] for k in distinct],
                "n": [keys.count(k) for k in distinct],
            },
            label="label",
            prediction="prediction",
            groups=["group"],
            count="n",
        )
        for place in (2, 3)
    ]
    rows, together = compare(before, after), compare(*counted)
    assert together.n == rows.n == 400
    for a, b in zip(rows.changes, together.changes, strict=True):
        assert (a.metric, a.group, a.reference, a.n_before, a.n_gained) == (
            b.metric,
            b.group,
            b.reference,
            b.n_before,
            b.n_gained,
        )
        if a.p is not None:
            assert (b.change, b.low, b.high, b.p) == pytest.approx((a.change, a.low, a.high, a.p), abs=1e-9)


def test_repeated_people_make_wider_intervals_than_rows_would():
    draw = np.random.default_rng(3)
    n, people = 2000, 40
    person = draw.integers(0, people, n)
    bad = draw.random(people) < 0.3
    label = draw.random(n) < 0.5
    after = np.where(bad[person] & (draw.random(n) < 0.8), ~label, label)
    after[:5] = ~label[:5]
    columns = {
        "id": [str(i) for i in range(n)],
        "label": label.astype(int),
        "group": np.tile(["a", "b"], n // 2),
        "person": person,
    }
    wrong = label.copy()
    wrong[:3] = ~wrong[:3]
    widths = {}
    for cluster in (None, "person"):
        sides = [
            from_columns(
                {**columns, "prediction": p.astype(int)},
                label="label",
                prediction="prediction",
                groups=["group"],
                cluster=cluster,
            )
            for p in (wrong, after)
        ]
        made = compare(*sides).of("accuracy")
        widths[cluster] = made.high - made.low
    assert widths["person"] > 3 * widths[None]


def test_weights_change_the_rates():
    weight = np.where(np.arange(600) % 2, 3.0, 1.0)
    before, after = models(600, drop=0.2, weight=weight)
    made = compare(before, after).of("accuracy")
    right = before.binary("label") == after.binary("prediction")
    assert made.after == pytest.approx(np.average(right, weights=weight))
    assert made.method.startswith("paired t")


def test_several_classes_and_numbers():
    draw = np.random.default_rng(5)
    n = 900
    truth, group = draw.choice(["cat", "dog", "owl"], n), draw.choice(["a", "b"], n)
    said = [
        np.where(draw.random(n) < share, truth, draw.choice(["cat", "dog", "owl"], n)) for share in (0.9, 0.5)
    ]
    sides = [
        from_columns({"y": truth, "p": p, "g": group}, label="y", prediction="p", groups=["g"]) for p in said
    ]
    rules = parse_policy({"task": "multiclass"}, where="test")
    made = compare(*sides, rules, tolerance_change={"accuracy": 0.05}, set_by="test")
    assert made.decision == "worse"
    one = compare(*sides, rules).of("true_positive_rate[owl]")
    assert one.before == pytest.approx(np.mean(said[0][truth == "owl"] == "owl"))
    assert one.n_before == np.sum(truth == "owl")
    actual = draw.normal(size=n)
    sides = [
        from_columns(
            {"y": actual, "p": actual + spread * draw.normal(size=n), "g": group},
            label="y",
            prediction="p",
            groups=["g"],
        )
        for spread in (0.5, 1.0)
    ]
    rules = parse_policy({"task": "regression"}, where="test")
    made = compare(*sides, rules, tolerance_change={"mean_absolute_error": 0.1}, set_by="test")
    assert made.of("mean_absolute_error").decision == "worse"
    same = compare(sides[0], sides[0], rules, tolerance_change={"mean_absolute_error": 0.05}, set_by="test")
    assert same.of("mean_absolute_error").decision == "no worse"
    few = [dataclasses.replace(side, table=side.table.slice(0, 4)) for side in sides[:1] * 2]
    assert compare(*few, rules, tolerance_change={"mean_absolute_error": 0.05}, set_by="test").exit_code == 4


def test_a_mean_moves_as_in_the_paired_t_test():
    from scipy import stats

    draw = np.random.default_rng(6)
    a, b = draw.normal(size=(2, 80))
    sides = [
        from_columns({"s": values, "g": np.tile(["a", "b"], 40)}, score="s", groups=["g"])
        for values in (a, b)
    ]
    one = compare(*sides).of("s")
    expected = stats.ttest_rel(b, a)
    assert one.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert (one.low, one.high) == pytest.approx(tuple(expected.confidence_interval()), rel=1e-9)


def test_a_group_beside_everybody_counts_its_rows_once():
    before, after = models(600, drop_a=0.2)
    rules = parse_policy({"groups": {"group": {"compare": "overall"}}}, where="test")
    overall = compare(before, after, rules, metrics=["accuracy"]).of("accuracy", "a", ALL)
    rules = parse_policy({"groups": {"group": {"compare": "complement"}}}, where="test")
    others = compare(before, after, rules, metrics=["accuracy"]).of("accuracy", "a", "everyone else")
    share = 1 - before.group("group").count("a") / 600
    assert overall.change == pytest.approx(share * others.change)
    # a - everybody = share of the others * (a - others), and so for its error, up to the rows added to each.
    assert overall.high - overall.change == pytest.approx(share * (others.high - others.change), rel=0.1)


def test_people_in_both_groups_are_counted_together():
    draw = np.random.default_rng(8)
    n = 1200
    person = np.repeat(np.arange(n // 2), 2)
    group = np.tile(["a", "b"], n // 2)
    label = draw.random(n) < 0.5
    lost = np.repeat(
        draw.random(n // 2) < 0.3, 2
    )  # both rows of a person change together: the gap never does
    before = np.where(draw.random(n) < 0.9, label, ~label)
    columns = {"id": [str(i) for i in range(n)], "y": label.astype(int), "g": group, "who": person}
    widths = {}
    for cluster in (None, "who"):
        sides = [
            from_columns(
                {**columns, "p": p.astype(int)}, label="y", prediction="p", groups=["g"], cluster=cluster
            )
            for p in (before, np.where(lost, ~label, before))
        ]
        one = compare(*sides, metrics=["accuracy"]).of("accuracy", "a", "b")
        widths[cluster] = one.high - one.low
    assert widths["who"] < 0.9 * widths[None]


# How often it is wrong, by simulation


def decisions(n, runs, *, margin, kind, **settings):
    found = []
    for seed in range(runs):
        made = judged(models(n, seed=seed, **settings), **{kind: {"accuracy": margin}})
        found.append(made.decision)
    return found


@pytest.mark.parametrize("kind", ["tolerance_change", "tolerance_gap_change"])
def test_models_that_agree_are_called_worse_in_at_most_alpha_of_runs(kind):
    found = decisions(150, 120, margin=0.0, kind=kind, flips=0.3)
    assert found.count("worse") <= 12  # 5 % of 120 is 6; the chance of more than 12 at 5 % is .004
    assert "no worse" not in found


def test_models_at_the_margin_are_called_no_worse_in_at_most_alpha_of_runs():
    # One group, so that one claim alone has to be wrong: the true worsening is the margin, .85 * .06.
    rules = parse_policy({"groups": {"group": {"exclude": {"b": "left out"}}}}, where="test")
    found = [
        compare(
            *models(400, seed=seed, drop=0.06, flips=0.0),
            rules,
            tolerance_change={"accuracy": 0.051},
            set_by="test",
        )
        .of("accuracy")
        .decision
        for seed in range(200)
    ]
    assert found.count("no worse") <= 19  # 5 % of 200 is 10; the chance of more than 19 at 5 % is .003
    assert found.count("worse") <= 19


def test_a_true_difference_is_found():
    found = decisions(1500, 15, margin=0.02, kind="tolerance_gap_change", drop_a=0.15)
    assert found.count("worse") >= 12


# Rows


def test_rows_on_one_side_are_refused_or_counted():
    before, after = models(50)
    short = dataclasses.replace(after, table=after.table.slice(3))
    with pytest.raises(DataError, match=r"3 rows are only before \('r0', 'r1', 'r2'\) and 0 only after"):
        compare(before, short)
    made = compare(before, short, intersect=True)
    assert made.n == 47
    assert made.only_before == ("r0", "r1", "r2")
    assert "3 are only before" in " ".join(made.notes)
    other = from_columns(
        {"id": ["x"], "prediction": [1], "group": ["a"]}, prediction="prediction", groups=["group"]
    )
    with pytest.raises(DataError, match="no row in common"):
        compare(before, other, intersect=True)


def test_the_order_of_rows_does_not_matter():
    before, after = models(200, drop=0.1)
    turned = dataclasses.replace(after, table=after.table.take(list(range(199, -1, -1))))
    assert compare(before, turned).changes == compare(before, after).changes


def test_another_truth_or_another_group_is_refused():
    before, after = models(50)
    relabelled = from_columns(
        {**after.table.to_pydict(), "label": [1 - v for v in after.table.column("label").to_pylist()]},
        label="label",
        prediction="prediction",
        groups=["group"],
    )
    with pytest.raises(DataError, match="the label differs in 50 of 50 rows"):
        compare(before, relabelled)
    moved = from_columns(
        {**after.table.to_pydict(), "group": ["a"] * 50},
        label="label",
        prediction="prediction",
        groups=["group"],
    )
    with pytest.raises(DataError, match="the group 'group' differs in"):
        compare(before, moved)


def test_truth_and_groups_may_stand_in_one_of_the_two():
    before, after = models(300, drop=0.1)
    bare = from_columns(
        {
            "id": after.table.column("id").to_pylist(),
            "prediction": after.table.column("prediction").to_pylist(),
        },
        prediction="prediction",
    )
    assert compare(before, bare).changes == compare(before, after).changes
    assert match(before, bare).after.groups == ("group",)


def test_unknown_groups_are_shown_and_judged_in_nothing():
    before, after = models(300, drop=0.4)
    for i, side in enumerate((before, after)):
        table = side.table.to_pydict()
        table["group"] = [None if j % 10 == 0 else g for j, g in enumerate(table["group"])]
        made = from_columns(table, label="label", prediction="prediction", groups=["group"])
        before, after = (made, after) if i == 0 else (before, made)
    made = judged((before, after), tolerance_change={"accuracy": 0.02})
    unknown = made.of("accuracy", "unknown")
    assert unknown.decision is None and unknown.change < 0
    assert not any("unknown" in (one.group, one.reference) for one in made.changes if one.is_gap)
    assert "30 rows have no recorded group" in " ".join(made.notes)


def test_a_group_with_nobody_is_not_assessed():
    rules = parse_policy({"groups": {"group": {"values": ["a", "b", "z"]}}}, where="test")
    made = compare(*models(4000), rules, tolerance_change={"accuracy": 0.05}, set_by="test")
    assert made.of("accuracy", "z").decision == "not assessed"
    assert "nobody in the denominator" in made.of("accuracy", "z").reason
    assert made.exit_code == 4


def test_one_denominator_for_each_rate():
    # FPR and FDR of COMPAS lie on opposite sides: a test of one is no test of the other.
    counts = {"African-American": (990, 805, 532, 1369), "Caucasian": (1139, 349, 461, 505)}
    columns = {"id": [], "label": [], "prediction": [], "race": []}
    for race, (tn, fp, fn, tp) in counts.items():
        for label, said, often in ((0, 0, tn), (0, 1, fp), (1, 0, fn), (1, 1, tp)):
            for _ in range(often):
                columns["id"].append(str(len(columns["id"])))
                columns["label"].append(label)
                columns["prediction"].append(said)
                columns["race"].append(race)
    roles = {"label": "label", "prediction": "prediction", "groups": ["race"]}
    before = from_columns(columns, **roles)
    after = from_columns(
        {**columns, "prediction": [1 if i % 97 == 0 else p for i, p in enumerate(columns["prediction"])]},
        **roles,
    )
    made = compare(before, after)
    fpr = made.of("false_positive_rate", "African-American", "Caucasian")
    fdr = made.of("false_discovery_rate", "African-American", "Caucasian")
    assert fpr.before == pytest.approx(0.4485 - 0.2345, abs=1e-4)
    assert fdr.before == pytest.approx(0.370 - 0.409, abs=1e-3)
    assert made.of("false_positive_rate", "African-American").n_before == 1795
    assert made.of("false_discovery_rate", "African-American").n_before == 2174


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"tolerance_change": {"accuracy": -0.1}, "set_by": "me"}, UsageError, "0 or more"),
        ({"tolerance_change": {"accuracy": 0.1}}, UsageError, "nobody is named"),
        ({"tolerance_change": {"acuracy": 0.1}, "set_by": "me"}, UsageError, "did you mean 'accuracy'"),
        ({"metrics": ["base_rate"]}, UsageError, "cannot be compared"),
        ({"better": {"nothing": "higher"}}, UsageError, "which is not compared"),
    ],
)
def test_margins_that_cannot_be_are_refused(settings, error, said):
    with pytest.raises(error, match=said):
        compare(*models(50), **settings)


def test_the_best_group_is_no_reference_here():
    rules = parse_policy({"groups": {"group": {"reference": "(best)", "compare": "reference"}}}, where="test")
    with pytest.raises(PolicyError, match="can be another one after"):
        compare(*models(50), rules)


def test_of_says_what_was_compared():
    made = compare(*models(50))
    with pytest.raises(UsageError, match=r"was not compared. Metrics: .*'accuracy'"):
        made.of("accuracy", "x")
    assert made.of("accuracy", ALL).group == ALL
    assert "no margin declared" in repr(made)


def test_the_interval_of_a_rate_s_change_ends_where_rates_end():
    """Two rows of a group: Student's interval alone would reach to nine."""
    columns = {"id": list("abcdef"), "g": ["x"] * 2 + ["y"] * 4, "label": [1, 0, 1, 0, 1, 0]}
    before, after = (
        from_columns({**columns, "p": p}, id="id", label="label", prediction="p", groups=["g"])
        for p in ([1, 0, 1, 0, 1, 1], [0, 0, 1, 1, 1, 0])
    )
    made = compare(before, after)
    for one in made.changes:
        if one.low is not None and one.metric in {metric.name for metric in RATES}:
            end = 2 if one.is_gap else 1
            assert -end <= one.low <= one.high <= end, one


def test_rows_that_would_settle_a_change_by_hand():
    # (1.644854 + .841621)^2 .05^2 / .02^2 times 100 rows are 3,864.0: 3,764.1 more, whichever side of the margin.
    for worsening in (0.03, 0.07):
        moved = Moved(0.5, 0.5, None, None, worsening, 0.0, 0.5, 0.05, "t")
        said = _planned(moved, 0.05, 100)
        assert said == "about 3765 more rows in each denominator would settle a change of this size"
    near = Moved(0.5, 0.5, None, None, 1.05, 0.0, 0.5, 0.05, "t")
    assert _planned(near, 0.05, 100).startswith("about 1 more"), "one is the fewest that is said"
    at = Moved(0.5, 0.5, None, None, 0.05, 0.0, 0.5, 0.05, "t")
    assert _planned(at, 0.05, 100) == "the worsening is the margin: no number of rows settles it"


def test_a_positive_value_of_the_second_is_its_own_and_else_the_first_ones():
    columns = {"id": list("abcd"), "label": ["y", "n", "y", "n"], "p": ["y", "y", "n", "n"]}
    roles = {"id": "id", "label": "label", "prediction": "p"}
    own = from_columns(columns, positive="y", **roles)
    none = from_columns(columns, **roles)
    assert match(own, none).after.positive == "y"
    assert match(none, own).after.positive == "y"
    other = from_columns(columns, positive="n", **roles)
    assert match(own, other).after.positive == "n"


def test_p_of_a_gaps_change_without_a_margin_is_students():
    from scipy import stats

    before, after = models(200, seed=3, drop_a=0.1)
    said = before.binary("prediction"), after.binary("prediction")
    rows = list(zip(before.group("group"), *(p.tolist() for p in said), strict=True))
    made = compare(before, after, metrics=["selection_rate"]).of("selection_rate", "a", "b")
    gap_before, gap_after, variance = paired_gap_change(rows, "a", "b")
    df = min(before.group("group").count(g) for g in "ab") - 1
    p = 2 * stats.t.sf(abs(gap_after - gap_before) / np.sqrt(variance), df)
    assert made.p == pytest.approx(p, rel=1e-9) and 0.001 < p < 0.999
    half = stats.t.ppf(0.975, df) * np.sqrt(variance)
    assert (made.low, made.high) == pytest.approx((made.change - half, made.change + half), rel=1e-9)
