"""What each task makes of labels and predictions: known answers by hand or another library, and refusals."""

import numpy as np
import pytest
from sklearn import metrics as sk

from clinometer.bias.audit import audit
from clinometer.bias.policy import parse_policy
from clinometer.errors import DataError, PolicyError, UsageError
from clinometer.evidence import from_columns


def policy(**values):
    return parse_policy({"set_by": "the test", **values}, where="test")


def cell(made, group, metric):
    return next(c for c in made.cells if (c.group, c.metric) == (group, metric))


# Multiclass: rows by hand. Group a: cat right 2 of 3, dog right 1 of 1, one dog said for a cat. Group b: all wrong.
ANIMALS = {
    "group": ["a", "a", "a", "a", "b", "b", "b"],
    "label": ["cat", "cat", "cat", "dog", "cat", "dog", "owl"],
    "said": ["cat", "cat", "dog", "dog", "dog", "cat", "cat"],
}


def animals(**columns):
    return from_columns({**ANIMALS, **columns}, label="label", prediction="said", groups=["group"])


def test_multiclass_counts_each_class_against_the_rest():
    made = audit(animals(), policy(task="multiclass"))
    assert (cell(made, "a", "accuracy").k, cell(made, "a", "accuracy").n) == (3, 4)
    assert (cell(made, "b", "error_rate").k, cell(made, "b", "error_rate").n) == (3, 3)
    assert (cell(made, "a", "true_positive_rate[cat]").k, cell(made, "a", "true_positive_rate[cat]").n) == (
        2,
        3,
    )
    assert (
        cell(made, "a", "positive_predictive_value[dog]").k,
        cell(made, "a", "positive_predictive_value[dog]").n,
    ) == (1, 2)
    assert (cell(made, "b", "false_positive_rate[cat]").k, cell(made, "b", "false_positive_rate[cat]").n) == (
        2,
        2,
    )
    nobody = cell(made, "a", "true_positive_rate[owl]")
    assert (nobody.n, nobody.estimate, nobody.status) == (0, None, "insufficient")
    assert not any(c.metric == "accuracy[cat]" for c in made.cells), "accuracy is of the whole"


def test_a_tolerance_of_a_rate_is_one_for_every_class():
    generator = np.random.default_rng(0)
    n = 3000
    label = generator.choice(["cat", "dog", "owl"], n)
    group = generator.choice(["a", "b"], n)
    wrong = generator.random(n) < np.where((group == "b") & (label == "owl"), 0.4, 0.05)
    said = np.where(wrong, np.roll(label, 1), label)
    rows = from_columns(
        {"g": group, "label": label, "said": said}, label="label", prediction="said", groups=["g"]
    )
    made = audit(rows, policy(task="multiclass", tolerance={"true_positive_rate": 0.1}))
    verdicts = {entry["metric"]: entry["verdict"] for entry in made.verdicts}
    assert verdicts["true_positive_rate[owl]"] == "exceeds tolerance"
    assert verdicts["true_positive_rate[cat]"] == "within tolerance"
    assert made.exit_code == 1
    one = audit(rows, policy(task="multiclass", tolerance={"true_positive_rate[cat]": 0.1}))
    assert [entry["metric"] for entry in one.verdicts] == ["true_positive_rate[cat]"]
    assert one.exit_code == 0


def test_multiclass_refusals():
    with pytest.raises(UsageError, match="label and a prediction"):
        audit(from_columns(ANIMALS, label="label", groups=["group"]), policy(task="multiclass"))
    with pytest.raises(DataError, match="missing classes"):
        audit(animals(label=["cat", None, *ANIMALS["label"][2:]]), policy(task="multiclass"))
    many = [str(i) for i in range(150)]
    columns = {"g": ["a", "b"] * 75, "label": many, "said": many[::-1]}
    with pytest.raises(DataError, match="150 classes"):
        audit(
            from_columns(columns, label="label", prediction="said", groups=["g"]), policy(task="multiclass")
        )
    same = {"g": ["a", "b"] * 15, "label": ["x", "y", "z"] * 10, "said": ["x", "y", "z"] * 10}
    with pytest.raises(DataError, match="likely the label itself"):
        audit(from_columns(same, label="label", prediction="said", groups=["g"]), policy(task="multiclass"))


def test_multilabel_has_the_rates_of_every_output():
    columns = {
        "g": list("aabb"),
        "toxic": [1, 0, 1, 0],
        "toxic_said": [1, 1, 0, 0],
        "insult": [0, 0, 1, 1],
        "insult_said": [0, 1, 1, 1],
    }
    outputs = {name: {"label": name, "prediction": f"{name}_said"} for name in ("toxic", "insult")}
    made = audit(from_columns(columns, groups=["g"]), policy(task="multilabel", outputs=outputs))
    assert cell(made, "a", "true_positive_rate[toxic]").estimate == 1
    assert cell(made, "b", "true_positive_rate[toxic]").estimate == 0
    assert cell(made, "a", "true_positive_rate[insult]").status == "insufficient"
    assert cell(made, "b", "accuracy[insult]").estimate == 1
    with pytest.raises(PolicyError, match="did you mean 'toxic'"):
        audit(
            from_columns(columns, groups=["g"]),
            policy(task="multilabel", outputs={"toxic": {"label": "toxicc", "prediction": "toxic_said"}}),
        )
    with pytest.raises(PolicyError, match="go together"):
        policy(task="multilabel")


def test_regression_errors_are_those_of_scikit_learn():
    generator = np.random.default_rng(1)
    group = generator.choice(["a", "b"], 300)
    y = generator.normal(10, 3, 300)
    f = y + generator.normal(0, 1, 300) + (group == "b") * 0.8
    rows = from_columns({"g": group, "y": y, "f": f}, label="y", prediction="f", groups=["g"])
    made = audit(
        rows, policy(task="regression", tolerance={"mean_residual": 0.3, "root_mean_squared_error": 5})
    )
    for name in "ab":
        at = group == name
        assert cell(made, name, "mean_absolute_error").estimate == pytest.approx(
            sk.mean_absolute_error(y[at], f[at])
        )
        assert cell(made, name, "root_mean_squared_error").estimate == pytest.approx(
            sk.root_mean_squared_error(y[at], f[at])
        )
        assert cell(made, name, "explained_variance").estimate == pytest.approx(sk.r2_score(y[at], f[at]))
    gap = next(f for f in made.findings if f.metric == "mean_residual")
    assert (gap.group, gap.reference) == ("a", "b")
    assert gap.estimate == pytest.approx(0.8, abs=0.3) and gap.verdict == "exceeds tolerance"
    assert {e["metric"]: e["verdict"] for e in made.verdicts}["root_mean_squared_error"] == "within tolerance"


def test_regression_refusals():
    base = {"g": ["a", "b"] * 15, "y": list(range(30)), "f": [v + 1.0 for v in range(30)]}

    def run(**changed):
        return audit(
            from_columns({**base, **changed}, label="y", prediction="f", groups=["g"]),
            policy(task="regression"),
        )

    run()
    with pytest.raises(DataError, match=r"missing or not finite.*'3'"):
        run(f=[None if i == 3 else 1.0 for i in range(30)])
    with pytest.raises(DataError, match="likely the label itself"):
        run(f=base["y"])
    with pytest.raises(DataError, match="no numbers"):
        run(f=["high"] * 30)
    with pytest.raises(UsageError, match="name both"):
        audit(from_columns(base, prediction="f", groups=["g"]), policy(task="regression"))


def test_a_score_alone_is_compared_by_its_mean_and_refused_where_it_is_nothing():
    rows = from_columns({"g": list("aabb"), "s": [1.0, 2.0, 5.0, 7.0]}, score="s", groups=["g"])
    made = audit(rows)
    assert {c.metric for c in made.cells} == {"s"}
    assert made.findings[0].estimate == pytest.approx(1.5 - 6)
    with pytest.raises(DataError, match="nothing to audit"):
        audit(from_columns({"g": list("aabb")}, groups=["g"]))
    with pytest.raises(DataError, match="missing or not finite"):
        from_columns({"g": list("ab"), "s": [1.0, float("inf")]}, score="s", groups=["g"])


def test_a_score_that_is_no_probability_has_an_area_and_no_calibration():
    generator = np.random.default_rng(2)
    columns = {"g": list("ab") * 50, "y": generator.integers(0, 2, 100), "s": generator.normal(size=100) * 3}
    made = audit(from_columns(columns, label="y", score="s", groups=["g"]))
    metrics = {c.metric for c in made.cells}
    assert "roc_auc" in metrics and "brier_score" not in metrics
    assert "is no probability" in " ".join(made.notes)
    at = np.array(columns["g"]) == "a"
    assert cell(made, "a", "roc_auc").estimate == pytest.approx(
        sk.roc_auc_score(columns["y"][at], columns["s"][at]), abs=1e-12
    )


def test_an_area_of_one_is_never_known_exactly():
    columns = {"g": list("ab") * 8, "y": [0, 0, 1, 1] * 4, "s": [0.1, 0.2, 0.8, 0.9] * 4}
    made = audit(from_columns(columns, label="y", score="s", groups=["g"]))
    found = cell(made, "a", "roc_auc")
    assert found.estimate == 1 and found.low < 1
    precision = cell(made, "a", "average_precision")
    assert (precision.estimate, precision.low, precision.high) == (1, None, None), (
        "no interval is better than [1, 1]"
    )


def test_costs_speak_in_the_unit_of_the_policy():
    columns = {"g": list("aaaabbbb"), "y": [1, 0, 1, 0, 1, 0, 1, 0], "p": [1, 1, 0, 0, 0, 0, 0, 1]}
    rows = from_columns(columns, label="y", prediction="p", groups=["g"])
    rule = {"unit": "EUR", "false_positive": 10, "false_negative": 100, "true_positive": -5}
    made = audit(rows, policy(costs=rule))
    assert cell(made, "a", "expected_cost").estimate == pytest.approx((-5 + 10 + 100 + 0) / 4)
    assert cell(made, "b", "expected_cost").estimate == pytest.approx((100 + 0 + 100 + 10) / 4)
    assert made.plan["policy"]["costs"]["unit"] == "EUR"
    with pytest.raises(PolicyError, match="need a label"):
        audit(from_columns(columns, prediction="p", groups=["g"]), policy(costs=rule))
    with pytest.raises(PolicyError, match="unit"):
        policy(costs={"false_positive": 1})


def test_every_table_reads_back_from_toml(tmp_path):
    from clinometer.bias.policy import read_policy

    made = policy(
        task="multilabel",
        outputs={"x": {"label": "a", "prediction": "b"}},
        costs={"unit": "h", "false_positive": 2},
        family="gatekeeping",
        groups={"age": {"bins": [0, 20, 40], "compare": "complement"}},
    )
    (tmp_path / "policy.toml").write_text(made.to_toml(), encoding="utf-8")
    assert read_policy(tmp_path / "policy.toml") == made


def test_a_metric_of_ones_own_is_bootstrapped_and_gated():
    generator = np.random.default_rng(0)
    n = 400
    group = generator.choice(["a", "b"], n)
    label = generator.integers(0, 2, n)
    prediction = np.where(generator.random(n) < np.where(group == "a", 0.1, 0.4), 1 - label, label)
    rows = from_columns({"g": group, "y": label, "p": prediction}, label="y", prediction="p", groups=["g"])

    def f1(columns):
        return sk.f1_score(columns["label"], columns["prediction"])

    made = audit(rows, policy(tolerance={"F1": 0.1}), own={"F1": f1})
    found = cell(made, "a", "F1")
    at = group == "a"
    assert found.estimate == pytest.approx(sk.f1_score(label[at], prediction[at]))
    assert found.low < found.estimate < found.high
    assert made.verdict == "exceeds tolerance"
    # The interval is about that of the error rate, of which F1 is nearly a multiple here.
    gap = next(f for f in made.findings if f.metric == "F1")
    rates = next(f for f in made.findings if f.metric == "error_rate")
    assert gap.high - gap.low == pytest.approx(rates.high - rates.low, rel=0.35)
    with pytest.raises(UsageError, match="is the name of a metric"):
        audit(rows, own={"accuracy": f1})
    with pytest.raises(UsageError, match=r"'broken' failed on 400 rows.*KeyError"):
        audit(rows, own={"broken": lambda columns: columns["nothing"]})
    nowhere = audit(rows, own={"none": lambda columns: float("nan")})
    assert cell(nowhere, "a", "none").status == "undefined"


@pytest.mark.parametrize(
    ("fail_on", "codes"), [("exceeds", (0, 4, 1)), ("any", (0, 1, 1)), ("never", (0, 0, 0))]
)
def test_what_fails_is_the_policys_to_say(fail_on, codes):
    made = []
    for rate, n in ((0.5, 5000), (0.56, 200), (0.8, 2000)):
        columns = {"g": ["a"] * n + ["b"] * n}
        columns["p"] = [int(i < n // 2) for i in range(n)] + [int(i < rate * n) for i in range(n)]
        rows = from_columns(columns, prediction="p", groups=["g"])
        made.append(audit(rows, policy(tolerance={"selection_rate": 0.05}, fail_on=fail_on)).exit_code)
    assert tuple(made) == codes


def test_compas_is_calibrated_within_groups_and_errs_unequally_and_both_are_said():
    """ProPublica 2016, score text other than Low: TN, FP, FN, TP of two groups."""
    counts = {"African-American": (990, 805, 532, 1369), "Caucasian": (1139, 349, 461, 505)}
    columns = {"race": [], "recidivated": [], "predicted": [], "n": []}
    for race, cells in counts.items():
        for (label, prediction), n in zip(((0, 0), (0, 1), (1, 0), (1, 1)), cells, strict=True):
            for name, value in zip(columns, (race, label, prediction, n), strict=True):
                columns[name].append(value)
    rows = from_columns(columns, label="recidivated", prediction="predicted", groups=["race"], count="n")
    made = audit(rows)
    by_name = {f.metric: f for f in made.findings}
    assert by_name["false_positive_rate"].estimate == pytest.approx(0.2139, abs=5e-5)
    assert by_name["false_positive_rate"].low > 0.18 and by_name["false_negative_rate"].high < -0.15
    precision = by_name["positive_predictive_value"]
    assert precision.low < 0 < precision.high
    said = next(note for note in made.notes if "error rates differ" in note)
    assert "false_positive_rate +0.214" in said and "positive_predictive_value +0.038" in said
    assert "could not both hold" in said
    even = {**columns, "n": [700, 300, 300, 700, 700, 300, 300, 700]}
    equal = audit(from_columns(even, label="recidivated", prediction="predicted", groups=["race"], count="n"))
    assert not any("could not both hold" in note for note in equal.notes)


def test_five_rows_are_the_fewest_that_are_drawn_again():
    columns = {"g": ["a"] * 4 + ["b"] * 5 + ["c"] * 9, "p": [0, 1] * 9}
    rows = from_columns(columns, prediction="p", groups=["g"])

    def constant(given):
        return 1.0

    made = audit(rows, policy(min_group=1), own={"one": constant})
    few, enough = cell(made, "a", "one"), cell(made, "b", "one")
    assert few.estimate is None and "4 rows or clusters are too few to be drawn again" in few.note
    assert enough.estimate == 1.0
