"""The audit: four verdicts, unknown rows, intersections, laws, calibration by simulation, refusals."""

import dataclasses
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from clinometer.bias.audit import audit
from clinometer.bias.estimates import Resampled
from clinometer.bias.impossibility import not_both
from clinometer.bias.metrics import METRICS
from clinometer.bias.pairs import _gap
from clinometer.bias.policy import Policy, parse_policy, policy_from_flags, read_policy
from clinometer.bias.upper_quantiles import UpperQuantiles
from clinometer.errors import DataError, PolicyError, UsageError
from clinometer.evidence import from_columns
from clinometer.records import Finding, plain


def evidence(rates, n, *, seed=0, labels=True, **extra):
    """Rows of groups a, b, ... with these selection rates, exact to rounding."""
    generator = np.random.default_rng(seed)
    groups = np.repeat(list("abcdefgh")[: len(rates)], n)
    prediction = np.concatenate([np.arange(n) < round(rate * n) for rate in rates]).astype(int)
    columns = {
        "group": groups,
        "prediction": prediction,
        "label": generator.integers(0, 2, len(groups)),
        **extra,
    }
    return from_columns(
        columns,
        prediction="prediction",
        label="label" if labels else None,
        groups=["group"],
        measures=tuple(extra),
    )


def gate(value=0.05, **extra):
    return parse_policy(
        {"name": "test", "set_by": "the test", "tolerance": {"selection_rate": value}, **extra}, where="test"
    )


@pytest.mark.parametrize(
    ("rates", "n", "verdict", "code"),
    [
        ((0.5, 0.5, 0.51), 5000, "within tolerance", 0),
        ((0.5, 0.5, 0.65), 2000, "exceeds tolerance", 1),
        ((0.5, 0.52, 0.5), 100, "inconclusive", 4),
    ],
)
def test_verdicts(rates, n, verdict, code):
    made = audit(evidence(rates, n), gate())
    assert made.verdict == verdict
    assert made.exit_code == code
    pair = max((f for f in made.findings if f.metric == "selection_rate"), key=lambda f: abs(f.estimate))
    assert pair.verdict == verdict
    assert (pair.n_needed is not None) == (verdict == "inconclusive")
    if verdict == "within tolerance":
        assert pair.upper_bound <= 0.05


def test_a_group_with_nobody_is_shown_and_not_assessed():
    made = audit(evidence((0.5, 0.5), 4000), gate(groups={"group": {"values": ["a", "b", "z"]}}))
    cell = next(c for c in made.cells if c.group == "z" and c.metric == "selection_rate")
    assert (cell.n, cell.estimate, cell.status) == (0, None, "insufficient")
    assert made.verdict == "not assessed"
    assert "z" in next(f.reason for f in made.findings if f.verdict == "not assessed")


def test_without_tolerance_nothing_is_gated_and_it_is_said():
    made = audit(evidence((0.5, 0.9), 500))
    assert made.verdict is None
    assert made.exit_code == 0
    assert "nothing is gated" in " ".join(made.notes)
    assert all(f.verdict is None for f in made.findings)


def test_unknown_is_a_row_of_its_own_and_in_no_comparison():
    base = evidence((0.5, 0.6), 200)
    groups = [None if i % 10 == 0 else g for i, g in enumerate(base.group("group"))]
    columns = {"group": groups, "prediction": base.column("prediction").astype(int)}
    made = audit(from_columns(columns, prediction="prediction", groups=["group"]), gate())
    unknown = next(c for c in made.cells if c.group == "unknown")
    everybody = next(c for c in made.cells if c.group == "(all)")
    assert unknown.n == 40
    assert everybody.n == 400
    assert {(f.group, f.reference) for f in made.findings} == {("a", "b")}
    assert "40 rows" in " ".join(made.notes)


def test_intersections_are_audited_like_attributes():
    base = evidence((0.5, 0.6), 200)
    sex = ["f", "m"] * 200
    columns = {"group": base.group("group"), "sex": sex, "p": base.column("prediction").astype(int)}
    made = audit(
        from_columns(columns, prediction="p", groups=["group", "sex"]),
        gate(
            intersections=[["group", "sex"]], groups={"group": {"reference": "b"}, "sex": {"reference": "m"}}
        ),
    )
    joint = [c for c in made.cells if c.attribute == "group & sex"]
    assert {c.group for c in joint} == {"(all)", "a & f", "a & m", "b & f", "b & m"}
    assert sum(c.n for c in joint if c.group != "(all)") == 400
    signed = {(f.group, f.reference) for f in made.findings if f.attribute == "group & sex"}
    assert ("a & f", "b & m") in signed
    assert len(signed) == 6


def test_holm_is_taken_over_all_pairs_and_declared_metrics():
    from statsmodels.stats.multitest import multipletests

    made = audit(
        evidence((0.5, 0.56, 0.6), 700),
        parse_policy(
            {"set_by": "x", "tolerance": {"selection_rate": 0.02, "true_positive_rate": 0.02}}, where="test"
        ),
    )
    family = [f for f in made.findings if f.tolerance is not None]
    assert len(family) == 6
    expected = multipletests([f.p for f in family], method="holm")[1]
    np.testing.assert_allclose([f.p_adjusted for f in family], expected)
    assert all(f.p_adjusted is None for f in made.findings if f.tolerance is None)


def test_a_measure_is_audited_like_a_score():
    generator = np.random.default_rng(0)
    leans = np.concatenate([generator.normal(1.0, 0.2, 300), generator.normal(2.0, 0.2, 300)])
    rows = evidence((0.5, 0.5), 300, **{"attribution[dep]": leans})
    policy = parse_policy({"set_by": "x", "tolerance": {"attribution[dep]": 0.5}}, where="test")
    made = audit(rows, policy)
    assert made.verdict == "exceeds tolerance"
    finding = next(f for f in made.findings if f.metric == "attribution[dep]")
    assert finding.estimate == pytest.approx(-1.0, abs=0.05)
    from scipy import stats

    expected = stats.ttest_ind(leans[:300], leans[300:], equal_var=False).confidence_interval(0.95)
    assert (finding.low, finding.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_the_order_of_rows_changes_nothing():
    base = evidence((0.4, 0.6, 0.5), 100)
    order = np.random.default_rng(3).permutation(len(base))
    columns = {
        name: np.array(base.table.column(name).to_pylist())[order]
        for name in ("group", "prediction", "label")
    }
    turned = from_columns(columns, prediction="prediction", label="label", groups=["group"])
    assert plain(audit(turned, gate()).findings) == plain(audit(base, gate()).findings)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_rates_equal_fairlearn_wherever_they_are_defined(rows):
    from fairlearn import metrics as fl
    from sklearn.metrics import accuracy_score

    groups, label, prediction = (np.array(column) for column in zip(*rows, strict=True))
    made = audit(
        from_columns({"g": groups, "y": label, "p": prediction}, label="y", prediction="p", groups=["g"])
    )
    functions = {
        "selection_rate": fl.selection_rate,
        "true_positive_rate": fl.true_positive_rate,
        "false_positive_rate": fl.false_positive_rate,
        "true_negative_rate": fl.true_negative_rate,
        "false_negative_rate": fl.false_negative_rate,
        "accuracy": accuracy_score,
    }
    cells = {(c.metric, c.group): c for c in made.cells}
    for group in set(groups.tolist()):
        part = groups == group
        defined = {name: f for name, f in functions.items() if cells[name, group].estimate is not None}
        frame = fl.MetricFrame(
            metrics=defined,
            y_true=label[part].astype(int),
            y_pred=prediction[part].astype(int),
            sensitive_features=pd.Series(groups[part], name="g"),
        )
        for name in defined:
            assert cells[name, group].estimate == pytest.approx(float(frame.by_group[name].iloc[0]))
    for cell in made.cells:
        assert (cell.estimate is None) == (cell.n == 0)


def test_every_metric_of_the_table_is_shown():
    made = audit(evidence((0.4, 0.6), 50))
    rates = {metric.name for metric in METRICS if metric.kind == "rate"}
    assert {c.metric for c in made.cells} == rates
    generator = np.random.default_rng(0)
    scored = evidence((0.4, 0.6), 50, **{"p": generator.uniform(0.01, 0.99, 100)})
    policy = parse_policy({"costs": {"unit": "EUR", "false_positive": 1, "false_negative": 5}}, where="test")
    binary = audit(dataclasses.replace(scored, score="p", measures=()), policy)
    columns = {"group": list("ab") * 20, "y": generator.normal(size=40), "f": generator.normal(size=40)}
    numbers = from_columns(columns, label="y", prediction="f", groups=["group"])
    regression = audit(numbers, parse_policy({"task": "regression"}, where="test"))
    shown = {c.metric for c in (*binary.cells, *regression.cells)}
    assert shown == {metric.name for metric in METRICS} | {"p"}
    only = audit(evidence((0.4, 0.6), 50, labels=False))
    assert {c.metric for c in only.cells} == {"selection_rate"}


def test_false_verdicts_stay_below_their_rate():
    """Five equal groups of 2,000 at rate .5: with no gap `within` is reached in 46 % of runs, and a
    gap that is exactly the tolerance is called exceeding, or within, in no more than 5 % of them."""
    runs, generator = 200, np.random.default_rng(0)

    def verdicts(rates):
        made = []
        for _ in range(runs):
            drawn = [generator.binomial(2000, rate) / 2000 for rate in rates]
            made.append(audit(evidence(drawn, 2000, labels=False), gate()).verdict)
        return made

    null = verdicts([0.5] * 5)
    assert 0.35 <= null.count("within tolerance") / runs <= 0.60
    assert null.count("exceeds tolerance") == 0
    edge = verdicts([0.5, 0.5, 0.5, 0.5, 0.55])
    margin = 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
    assert edge.count("exceeds tolerance") / runs <= margin
    assert edge.count("within tolerance") / runs <= margin


def test_exit_codes_follow_the_precedence():
    both = audit(evidence((0.5, 0.9), 300), gate(groups={"group": {"values": ["a", "b", "z"]}}))
    assert {v["verdict"] for v in both.verdicts} == {"exceeds tolerance"}
    assert both.exit_code == 1


def test_an_excluded_group_needs_a_reason_and_is_compared_with_nobody():
    made = audit(evidence((0.5, 0.9), 300), gate(groups={"group": {"exclude": {"b": "a pilot"}}}))
    assert made.verdict == "not assessed"
    assert "a pilot" in " ".join(made.notes)
    with pytest.raises(PolicyError, match="written reason"):
        gate(groups={"group": {"exclude": {"b": " "}}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("toleranse = 1", "did you mean 'tolerance'"),
        ("[groups.race]\nreferense = 'a'", "did you mean 'reference'"),
        ("[tolerance]\nselection_rate = -0.1", "0 or more"),
        ("set_by = 'x'\n[tolerance]\nselection_rate = 5", "at most 1"),
        ("[tolerance]\nselection_rate = 0.1", "set_by"),
        ("alpha = 'small'", "alpha"),
        ("name = ", "is not TOML"),
        ("intersections = [['race']]", "two different attributes"),
    ],
)
def test_a_policy_that_says_something_impossible_is_refused(tmp_path, text, message):
    (tmp_path / "policy.toml").write_text(text)
    with pytest.raises(PolicyError, match=message):
        read_policy(tmp_path / "policy.toml")


def test_a_policy_of_another_encoding_or_none_is_refused(tmp_path):
    (tmp_path / "policy.toml").write_bytes('name = "Prüfung"'.encode("latin-1"))
    with pytest.raises(PolicyError, match=r"not UTF-8: byte 10 in line 1"):
        read_policy(tmp_path / "policy.toml")
    with pytest.raises(PolicyError, match="cannot be read"):
        read_policy(tmp_path / "nothing.toml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": {"grup": {}}}, "did you mean 'group'"),
        ({"groups": {"group": {"reference": "aa"}}}, "did you mean 'a'|names the group 'aa'"),
        ({"groups": {"group": {"exclude": {"q": "why"}}}}, "names the group 'q'"),
        ({"tolerance": {"selection_rat": 0.1}}, "did you mean 'selection_rate'"),
        ({"intersections": [["group", "sex"]]}, "'sex'"),
    ],
)
def test_a_policy_that_names_what_is_not_there_is_refused(changes, message):
    with pytest.raises(PolicyError, match=message):
        audit(evidence((0.5, 0.5), 20), gate(**changes))


def test_evidence_that_cannot_be_audited_is_refused():
    rows = evidence((0.5, 0.5), 20)
    with pytest.raises(DataError, match="nothing to audit"):
        audit(dataclasses.replace(rows, prediction=None, label=None))
    with pytest.raises(DataError, match="no group column"):
        audit(dataclasses.replace(rows, groups=()))
    many = from_columns({"g": np.arange(400), "p": np.zeros(400, int)}, prediction="p", groups=["g"])
    with pytest.raises(DataError, match="400 groups"):
        audit(many)
    three = from_columns({"g": list("aab"), "p": [0, 1, 2]}, prediction="p", groups=["g"])
    with pytest.raises(DataError, match="3 values"):
        audit(three)
    with pytest.raises(UsageError, match="did you mean 'p'"):
        from_columns({"p": [1]}, prediction="pp")


def test_a_policy_reads_back_from_its_own_text(tmp_path):
    policy = parse_policy(
        {
            "name": 'quotes " and \\ and 日本',
            "set_by": "me",
            "intersections": [["race", "sex"]],
            "tolerance": {"attribution[dep]": 0.25, "selection_rate": 0},
            "groups": {"race": {"values": ["a", "b"], "reference": "a", "exclude": {"b": "why"}}, "sex": {}},
        },
        where="test",
    )
    (tmp_path / "p.toml").write_text(policy.to_toml(), encoding="utf-8")
    assert read_policy(tmp_path / "p.toml") == policy
    assert Policy.model_validate(policy.model_dump(mode="json")) == policy
    assert policy_from_flags(["race"], {"selection_rate": 0.1}).set_by == "whoever typed the command"


def test_an_audit_loads_no_torch(tmp_path):
    pd.DataFrame({"g": list("ab") * 20, "p": [0, 1, 1, 0] * 10}).to_csv(tmp_path / "p.csv", index=False)
    code = (
        "import sys; import clinometer as cm;"
        "cm.audit(cm.read_evidence('p.csv', prediction='p', groups=['g']));"
        "sys.exit(str([m for m in ('torch', 'transformers', 'captum', 'fairlearn', 'matplotlib') if m in sys.modules]))"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert ran.stderr.strip() == "[]"


def test_what_never_varies_is_not_assessed():
    rows = evidence((0.5, 0.5), 30, measured=np.full(60, 0.1))
    made = audit(rows, parse_policy({"set_by": "x", "tolerance": {"measured": 0.2}}, where="test"))
    assert made.verdict == "not assessed"
    assert "no standard error" in made.verdicts[0]["reason"]


def test_rows_needed_are_enough():
    made = audit(evidence((0.50, 0.52), 200, labels=False), gate())
    finding = made.findings[0]
    assert made.verdict == "inconclusive"
    assert 1000 < finding.n_needed < 20_000
    assert (
        audit(evidence((0.50, 0.52), 200 + finding.n_needed, labels=False), gate()).verdict
        == "within tolerance"
    )
    none = audit(evidence((0.0, 0.0), 20, labels=False), gate())
    assert none.verdict == "inconclusive"
    assert none.findings[0].n_needed > 20


def test_names_that_would_collide_are_refused():
    for columns, changes, message in (
        ({"g": ["(all)", "b"] * 5}, {}, "called '\\(all\\)'"),
        ({"g": ["a & b", "b"] * 5, "s": list("ab") * 5}, {"intersections": [["g", "s"]]}, "joins names"),
    ):
        rows = from_columns({**columns, "p": [0, 1] * 5}, prediction="p", groups=list(columns))
        with pytest.raises(DataError, match=message):
            audit(rows, gate(**changes))
    with pytest.raises(PolicyError, match="both reference and excluded"):
        gate(groups={"g": {"reference": "a", "exclude": {"a": "why"}}})


# A gap of a user's metric, and of weighted rows


def test_what_a_gap_of_resampled_values_could_detect_and_needs_by_hand():
    rules = Policy()
    rows = np.arange(50)
    a = Resampled(estimate=0.5, se=0.06, ends=(), n=50, units=50, rows=rows)
    b = Resampled(estimate=0.3, se=0.08, ends=(), n=80, units=80, rows=rows + 50)
    made = _gap(a, b, 0.05, rules, 0.05, None)
    # The error is .1, with 49 degrees of freedom; 1.959964 + .841621 of them are found in four of five draws.
    assert made.estimate == pytest.approx(0.2) and made.detectable == pytest.approx(0.2801585, abs=1e-6)
    half = stats.t.ppf(0.975, 49) * 0.1
    assert made.shown == pytest.approx((0.2 - half, 0.2 + half))
    assert made.p == pytest.approx(stats.t.sf(1.5, 49) + stats.t.sf(2.5, 49))
    # One row varies by .06^2 50 = .18 and .08^2 80 = .512: the fewest that bring the error to .15 / 2.486475.
    wanted = (0.15 / (stats.norm.ppf(0.95) + stats.norm.ppf(0.8))) ** 2
    fewest = next(m for m in range(1, 1000) if 0.18 / (50 + m) + 0.512 / (80 + m) < wanted)
    assert made.needed == fewest
    assert _gap(a, b, None, rules, 0.05, None).needed is None
    still = dataclasses.replace(a, se=0.0), dataclasses.replace(b, se=0.0)
    assert _gap(*still, 0.05, rules, 0.05, None) is None, "nothing varies: there is no standard error"
    together = np.zeros(130, dtype=np.int64)
    with pytest.raises(DataError, match="two groups share clusters"):
        _gap(a, b, 0.05, rules, 0.05, together)
    assert _gap(a, b, 0.05, rules, 0.05, np.arange(130)).needed == fewest


def test_an_upper_quantile_is_numpys_higher_one():
    values = np.random.default_rng(0).normal(size=(101, 3))
    values[:40, 1] = np.nan
    values[:, 2] = np.nan
    for confidence in (0.5, 0.9, 0.95, 0.99):
        kept = UpperQuantiles(3, 101, confidence)
        for start in range(0, 101, 17):
            kept.add(values[start : start + 17])
        expected = [
            np.quantile(values[:, 0], confidence, method="higher"),
            np.quantile(values[40:, 1], confidence, method="higher"),
            7.0,
        ]
        assert kept.quantile(7.0) == pytest.approx(expected)
        assert kept.n.tolist() == [101, 61, 0]


def asked(group, metric, estimate, half):
    return Finding(
        attribute="g",
        metric=metric,
        group=group,
        reference="r",
        n_group=100,
        n_reference=100,
        estimate=estimate,
        low=estimate - half,
        high=estimate + half,
        upper_bound=None,
        tolerance=None,
        p=None,
        p_adjusted=None,
        minimum_detectable_effect=None,
        n_needed=None,
        status="ok",
        verdict=None,
    )


def impossible(group, base=0.2, errors=0.1, values=0.01):
    return [
        asked(group, "base_rate", base, 0.05),
        asked(group, "false_positive_rate", errors, 0.05),
        asked(group, "false_negative_rate", -errors, 0.05),
        asked(group, "positive_predictive_value", values, 0.05),
        asked(group, "negative_predictive_value", -values, 0.05),
    ]


def test_error_rates_apart_and_predictive_values_alike_are_said_for_five_groups_at_most():
    (said,) = not_both(impossible("a"))
    assert said.startswith("g, a minus r: error rates differ (false_positive_rate +0.100 [+0.050, +0.150];")
    assert "no difference is shown in positive_predictive_value +0.010 [-0.040, +0.060]" in said
    (turned,) = not_both(impossible("a", errors=0.01, values=0.1))
    assert "predictive values differ (positive_predictive_value +0.100" in turned
    assert not_both(impossible("a", base=0.02)) == [], "base rates are not shown to differ"
    assert not_both(impossible("a", values=0.2)) == [] == not_both(impossible("a", errors=0.0))
    for n, more in ((5, None), (6, "1 more comparisons are of this kind."), (8, "3 more comparisons")):
        made = not_both([one for i in range(n) for one in impossible(f"g{i}")])
        assert len(made) == (5 if more is None else 6)
        assert more is None or made[-1].startswith(more)


def test_weighted_rows_that_are_all_alike_have_no_standard_error():
    columns = {"g": ["a"] * 40 + ["b"] * 40, "p": [1] * 80, "w": [1.0, 2.0] * 40}
    rows = from_columns(columns, prediction="p", weight="w", groups=["g"])
    (one,) = [f for f in audit(rows).findings if f.metric == "selection_rate"]
    assert one.estimate is None and one.status == "insufficient"
    assert one.reason == "the values are the same in every row: there is no standard error"


@pytest.mark.parametrize("compare", ["overall", "complement", "pairs", "reference"])
def test_one_group_is_compared_with_nobody_and_two_are(compare):
    settings = {"groups": {"g": {"compare": compare, "reference": "a"}}}
    rules = parse_policy(settings, where="test")
    for groups, n in ((["a"] * 80, 0), (["a", "b"] * 40, 2 if compare in ("overall", "complement") else 1)):
        rows = from_columns({"g": groups, "p": [0, 1, 1, 0] * 20}, prediction="p", groups=["g"])
        found = [f for f in audit(rows, rules).findings if f.metric == "selection_rate"]
        assert len(found) == n
