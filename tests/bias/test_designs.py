"""Rows that are counted together, weighed, clustered; groups against a reference; attributes before pairs."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from clinometer.bias.audit import audit
from clinometer.bias.policy import parse_policy
from clinometer.errors import DataError, PolicyError
from clinometer.evidence import from_columns


def table(n=400, *, seed=0, groups="abc", **roles):
    generator = np.random.default_rng(seed)
    group = generator.choice(list(groups), n)
    score = np.round(generator.uniform(0.05, 0.95, n), 2)
    label = (generator.random(n) < score).astype(int)
    prediction = (score + (group == "a") * 0.1 > 0.5).astype(int)
    columns = {"group": group, "label": label, "prediction": prediction, "score": score}
    columns["person"] = [f"p{i // 4}" for i in range(n)]
    columns["w"] = generator.uniform(0.5, 2.0, n)
    columns["stratum"] = generator.choice(["x", "y"], n)
    named = {"label": "label", "prediction": "prediction", "score": "score", "groups": ["group"]}
    return from_columns(columns, **{**named, **roles})


def policy(**values):
    return parse_policy({"set_by": "the test", **values}, where="test")


def numbers(made, *names):
    return {(c.attribute, c.group, c.metric): tuple(getattr(c, name) for name in names) for c in made.cells}


def test_rows_counted_together_say_what_the_rows_said():
    rows = table()
    frame = rows.frame.groupby(["group", "label", "prediction", "score"], as_index=False).size()
    together = from_columns(
        {name: frame[name].to_numpy() for name in frame.columns},
        label="label",
        prediction="prediction",
        score="score",
        groups=["group"],
        count="size",
    )
    assert len(together) < len(rows)
    gate = policy(tolerance={"selection_rate": 0.05, "roc_auc": 0.1, "brier_score": 0.02})
    one, other = audit(rows, gate), audit(together, gate)
    assert one.n == other.n == 400
    assert {k: v[:3] for k, v in numbers(one, "n_rows", "n", "k").items()} == numbers(
        other, "n_rows", "n", "k"
    )
    ours, theirs = numbers(one, "estimate", "low", "high"), numbers(other, "estimate", "low", "high")
    for key, values in ours.items():
        np.testing.assert_allclose(values, theirs[key], atol=1e-9, err_msg=str(key))
    for a, b in zip(one.findings, other.findings, strict=True):
        np.testing.assert_allclose(
            (a.estimate, a.low, a.high, a.p), (b.estimate, b.low, b.high, b.p), atol=1e-9
        )
    summaries = {(s.group, s.metric): (s.estimate, s.low, s.high) for s in other.summaries}
    assert len(summaries) > 20
    for s in one.summaries:
        for got, wanted in zip(summaries[s.group, s.metric], (s.estimate, s.low, s.high), strict=True):
            assert got == (None if wanted is None else pytest.approx(wanted, abs=1e-9)), s


def test_equal_weights_change_no_estimate_and_unequal_ones_do():
    rows = table()
    equal = from_columns({**rows.frame.to_dict("list"), "w": [2.0] * 400}, **roles(rows), weight="w")
    plain, weighed, unequal = (numbers(audit(made), "estimate") for made in (rows, equal, table(weight="w")))
    for key, (value,) in plain.items():
        if key in weighed and value is not None and weighed[key][0] is not None:
            assert weighed[key][0] == pytest.approx(value, abs=1e-12), key
    moved = [key for key in plain if plain[key] != unequal[key]]
    assert len(moved) > 20, "the control"


def roles(rows):
    return {
        "label": rows.label,
        "prediction": rows.prediction,
        "score": rows.score,
        "groups": rows.groups,
    }


def test_a_weighted_rate_is_the_ratio_of_weights_with_kish_s_interval():
    rows = table(weight="w")
    made = audit(rows)
    cell = next(c for c in made.cells if (c.group, c.metric) == ("a", "selection_rate"))
    frame = rows.frame[rows.frame["group"] == "a"]
    rate = np.average(frame["prediction"], weights=frame["w"])
    assert cell.estimate == pytest.approx(rate, abs=1e-12)
    effective = frame["w"].sum() ** 2 / (frame["w"] ** 2).sum()
    z = stats.norm.ppf(0.975)
    centre = (rate + z * z / (2 * effective)) / (1 + z * z / effective)
    half = z / (1 + z * z / effective) * np.sqrt(rate * (1 - rate) / effective + z * z / (4 * effective**2))
    assert (cell.low, cell.high) == pytest.approx((centre - half, centre + half), abs=1e-9)
    assert cell.k is None and cell.n == len(frame)
    assert "Kish" in " ".join(made.notes)


def test_people_seen_four_times_are_not_four_people():
    """Four copies of every row, named as clusters, have the errors of the rows; unnamed they look surer."""
    once = table(100)
    frame = once.frame.loc[np.repeat(np.arange(100), 4)].reset_index(drop=True)
    columns = {name: frame[name].tolist() for name in ("group", "label", "prediction", "score")}
    columns["who"] = np.repeat(np.arange(100), 4)
    kinds = {"label": "label", "prediction": "prediction", "groups": ["group"]}
    naive = audit(from_columns(columns, **kinds))
    clustered = audit(from_columns(columns, **kinds, cluster="who"))
    single = audit(dataclasses.replace(once, score=None))

    def width(made):
        cell = next(c for c in made.cells if (c.group, c.metric) == ("(all)", "accuracy"))
        return cell.high - cell.low

    assert width(clustered) == pytest.approx(width(single), rel=0.05)
    assert width(naive) < 0.6 * width(single)
    pair = [
        next(f for f in made.findings if (f.group, f.metric) == ("a", "selection_rate"))
        for made in (clustered, single, naive)
    ]
    assert pair[0].high - pair[0].low == pytest.approx(pair[1].high - pair[1].low, rel=0.08)
    assert pair[0].p > pair[2].p


def test_one_cluster_and_weights_below_zero_are_refused():
    columns = {"group": list("ab") * 10, "prediction": [0, 1, 1, 0] * 5, "who": ["x"] * 20, "w": [-1.0] * 20}
    with pytest.raises(DataError, match=r"cluster"):
        audit(from_columns(columns, prediction="prediction", groups=["group"], cluster="who"))
    with pytest.raises(DataError, match=r"below 0|negative"):
        audit(from_columns(columns, prediction="prediction", groups=["group"], weight="w"))


@pytest.mark.parametrize("what", ["prediction", "score"])
def test_a_label_that_leaks_is_refused(what):
    label = [0, 1, 1, 0] * 10
    columns = {"group": list("ab") * 20, "label": label, what: label}
    with pytest.raises(DataError, match="is the label"):
        audit(from_columns(columns, label="label", groups=["group"], **{what: what}))
    columns[what] = [1 - label[0], *label[1:]]
    audit(from_columns(columns, label="label", groups=["group"], **{what: what}))


def test_each_group_against_everyone_else_and_against_everybody():
    rows = table()
    parts = {
        mode: audit(rows, policy(groups={"group": {"compare": mode}}))
        for mode in ("pairs", "complement", "overall")
    }
    frame = rows.frame
    inside = frame["group"] == "b"
    complement = next(
        f for f in parts["complement"].findings if (f.group, f.metric) == ("b", "selection_rate")
    )
    overall = next(f for f in parts["overall"].findings if (f.group, f.metric) == ("b", "selection_rate"))
    gap = frame[inside]["prediction"].mean() - frame[~inside]["prediction"].mean()
    assert complement.estimate == pytest.approx(gap)
    assert complement.reference == "everyone else"
    # b - everybody = (1 - n_b / n) (b - everyone else), and so is its standard error, to the order of 1 / n.
    part = 1 - inside.mean()
    assert overall.estimate == pytest.approx(part * gap)
    assert overall.high - overall.low == pytest.approx(part * (complement.high - complement.low), rel=0.05)
    assert overall.p == pytest.approx(complement.p, rel=0.15)
    assert {len([f for f in p.findings if f.metric == "accuracy"]) for p in parts.values()} == {3}


def test_the_reference_may_be_the_largest_or_the_best_group_and_is_named():
    rows = table(groups="aabc")
    largest = audit(rows, policy(groups={"group": {"reference": "(largest)", "compare": "reference"}}))
    assert {f.reference for f in largest.findings} == {"a"}
    assert len([f for f in largest.findings if f.metric == "accuracy"]) == 2
    best = audit(rows, policy(groups={"group": {"reference": "(best)", "compare": "reference"}}))
    for metric in ("accuracy", "false_positive_rate"):
        cells = [c for c in best.cells if c.metric == metric and c.group != "(all)"]
        chosen = (max if metric == "accuracy" else min)(cells, key=lambda c: c.estimate).group
        assert {f.reference for f in best.findings if f.metric == metric} == {chosen}
    with pytest.raises(PolicyError, match="needs a reference"):
        policy(groups={"group": {"compare": "reference"}})


def test_numbers_become_groups_by_stated_edges():
    generator = np.random.default_rng(0)
    columns = {"age": [*generator.integers(18, 80, 198), 18, 80], "p": generator.integers(0, 2, 200)}
    rows = from_columns(columns, prediction="p", groups=["age"])
    made = audit(rows, policy(groups={"age": {"bins": [18, 30, 50, 80]}}))
    assert {c.group for c in made.cells} == {"(all)", "[18, 30)", "[30, 50)", "[50, 80]"}
    empty = audit(rows, policy(groups={"age": {"bins": [0, 18, 30, 80]}}))
    assert next(c for c in empty.cells if c.group == "[0, 18)").n == 0
    with pytest.raises(DataError, match="outside"):
        audit(rows, policy(groups={"age": {"bins": [30, 50]}}))
    with pytest.raises(PolicyError, match="ascending"):
        policy(groups={"age": {"bins": [30, 20]}})


def test_gatekeeping_asks_the_attribute_first():
    rows = table(1500, seed=3)
    flat = policy(tolerance={"selection_rate": 0.0}, family="gatekeeping")
    made = audit(rows, flat)
    frame = rows.frame
    crossed = np.array(
        [[g["prediction"].sum(), (1 - g["prediction"]).sum()] for _, g in frame.groupby("group")]
    )
    p = stats.chi2_contingency(crossed, correction=False)[1]
    gated = [f for f in made.findings if f.tolerance is not None]
    assert all(f.p_adjusted >= p - 1e-12 for f in gated)
    holm = audit(rows, policy(tolerance={"selection_rate": 0.0}))
    assert [f.p for f in holm.findings] == [f.p for f in made.findings]
    assert made.plan["family"] != holm.plan["family"]


def test_berkeley_is_reversed_when_departments_are_held_fixed():
    """Admissions to Berkeley, 1973, departments A to F (Bickel, Hammel & O'Connell 1975; R's UCBAdmissions)."""
    counts = {
        "A": (512, 313, 89, 19),
        "B": (353, 207, 17, 8),
        "C": (120, 205, 202, 391),
        "D": (138, 279, 131, 244),
        "E": (53, 138, 94, 299),
        "F": (22, 351, 24, 317),
    }
    columns = {"dept": [], "sex": [], "admitted": [], "n": []}
    for dept, cells in counts.items():
        for sex, admitted, n in zip("MMFF", (1, 0, 1, 0), cells, strict=True):
            for name, value in zip(columns, (dept, sex, admitted, n), strict=True):
                columns[name].append(value)
    made = audit(
        from_columns(columns, prediction="admitted", groups=["sex"], strata=["dept"], count="n"),
        policy(groups={"sex": {"reference": "M"}}),
    )
    gap = next(f for f in made.findings if f.metric == "selection_rate")
    assert (gap.group, gap.reference) == ("F", "M")
    assert gap.estimate == pytest.approx(557 / 1835 - 1198 / 2691, abs=1e-12)
    assert gap.high < 0
    held = next(s for s in made.summaries if s.group == "F" and "held fixed" in s.metric)
    assert held.estimate > 0
    assert "reverses" in held.words
    assert "dept" in held.metric


@pytest.mark.parametrize("design", [{}, {"weight": "w"}, {"cluster": "who"}])
def test_a_measure_of_rows_counted_together_has_the_errors_of_the_rows(design):
    import clinometer as cm

    generator = np.random.default_rng(0)
    columns = {
        "group": generator.choice(["a", "b"], 300),
        "w": generator.choice([1.0, 2.0], 300),
        "who": generator.integers(0, 40, 300),
        "m": generator.normal(size=300) + generator.integers(0, 2, 300),
    }
    rows = from_columns(columns, groups=["group"], measures=["m"], **design)
    together = cm.scan(rows).counted()
    assert len(together) < 200 and together.squares
    one, other = audit(rows), audit(together)
    for a, b in zip(one.findings, other.findings, strict=True):
        np.testing.assert_allclose(
            (a.estimate, a.low, a.high, a.p), (b.estimate, b.low, b.high, b.p), atol=1e-9
        )
    for a, b in zip(one.cells, other.cells, strict=True):
        np.testing.assert_allclose(
            (a.n, a.estimate, a.low, a.high), (b.n, b.estimate, b.low, b.high), atol=1e-9
        )
    if "weight" in design:
        everybody = policy(groups={"group": {"compare": "overall"}})
        with pytest.raises(DataError, match="complement"):
            audit(together, everybody)
