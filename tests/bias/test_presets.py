"""Presets: each names its source, what it decides and what not; equalized odds is a policy of the audit."""

import importlib

import pytest

from clinometer.bias.audit import audit
from clinometer.bias.policy import GroupRule, Policy
from clinometer.bias.presets import BY_NAME, PRESETS, equalized_odds
from clinometer.errors import PolicyError
from clinometer.evidence import from_columns


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_each_preset_says_what_it_is_and_its_function_is_there(preset):
    module, _, name = preset.function.rpartition(".")
    assert callable(getattr(importlib.import_module(f"clinometer.{module}"), name))
    assert preset.source and preset.decides and preset.does_not_decide
    assert BY_NAME[preset.name] is preset


def compas_like(fpr_a, fpr_b, n=1000):
    """Two groups with a true-positive rate of .7 and these false-positive rates."""
    columns = {"group": [], "label": [], "prediction": []}
    for group, fpr in (("a", fpr_a), ("b", fpr_b)):
        for label, rate in ((1, 0.7), (0, fpr)):
            for i in range(n):
                columns["group"].append(group)
                columns["label"].append(label)
                columns["prediction"].append(int(i < rate * n))
    return from_columns(columns, label="label", prediction="prediction", groups=["group"])


@pytest.mark.parametrize(("rates", "code"), [((0.3, 0.3), 0), ((0.2, 0.45), 1), ((0.3, 0.35), 4)])
def test_equalized_odds_is_gated_in_both_rates(rates, code):
    rules = equalized_odds(0.08, "the test", ["group"])
    assert isinstance(rules, Policy)
    made = audit(compas_like(*rates), rules)
    assert made.exit_code == code
    assert {entry["metric"] for entry in made.verdicts} == {"true_positive_rate", "false_positive_rate"}


def test_equalized_odds_of_compas_tests_each_rate_in_its_own_denominator():
    columns = {"race": [], "label": [], "prediction": [], "n": []}
    for race, counts in {
        "African-American": (990, 805, 532, 1369),
        "Caucasian": (1139, 349, 461, 505),
    }.items():
        for (label, said), n in zip(((0, 0), (0, 1), (1, 0), (1, 1)), counts, strict=True):
            for name, value in zip(columns, (race, label, said, n), strict=True):
                columns[name].append(value)
    evidence = from_columns(columns, label="label", prediction="prediction", groups=["race"], count="n")
    made = audit(evidence, equalized_odds(0.05, "the test", {"race": {"reference": "Caucasian"}}))
    assert made.verdict == "exceeds tolerance"
    found = {one.metric: one for one in made.findings}
    fpr, fdr = found["false_positive_rate"], found["false_discovery_rate"]
    assert (fpr.n_group, fpr.n_reference) == (
        1795,
        1488,
    )  # those labelled negative, not those predicted positive
    assert (fdr.n_group, fdr.n_reference) == (2174, 854)
    assert fpr.estimate == pytest.approx(0.2139, abs=1e-4) and fpr.p_adjusted < 1e-10
    assert fdr.estimate == pytest.approx(0.370 - 0.409, abs=1e-3)


def test_groups_may_be_rules_and_other_keys_go_through():
    rules = equalized_odds(
        0.1, "me", {"group": GroupRule(reference="a"), "sex": {"values": ["f"]}}, alpha=0.01
    )
    assert rules.groups["group"].reference == "a"
    assert rules.groups["sex"].values == ("f",)
    assert rules.alpha == 0.01


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((1.5, "me"), "at most 1"),
        ((-0.1, "me"), "0 or more"),
        ((0.1, ""), "nobody is named"),
    ],
)
def test_impossible_tolerances_are_refused(arguments, said):
    with pytest.raises(PolicyError, match=said):
        equalized_odds(*arguments)
    with pytest.raises(PolicyError, match="did you mean 'alpha'"):
        equalized_odds(0.1, "me", alhpa=0.1)
