"""JUnit XML of what was judged: what fails, what is skipped, and names that XML cannot hold."""

import dataclasses
import xml.etree.ElementTree as ET
from datetime import date, timedelta

import numpy as np
import pytest

from clinometer.bias.audit import audit
from clinometer.bias.comparison import compare
from clinometer.bias.monitor import monitor
from clinometer.bias.policy import Policy
from clinometer.evidence import from_columns
from clinometer.junit import FAILED, junit, sentence, writable
from clinometer.records import PRECEDENCE

HOSTILE = 'a<b>&"c\x1b[2J\x00\ufffe\ud800]]>'


def audited(*, fail_on="exceeds", names=("a", "b", "c"), tolerance=0.1, n=600):
    """Selection rates of 0.5, 0.5 and 0.9; only the last group is far away, and the third is small."""
    group = [names[i % 2] if i < n - 12 else names[2] for i in range(n)]
    decided = [i // 2 % 2 if i < n - 12 else 1 for i in range(n)]
    made = from_columns(
        {"id": [str(i) for i in range(n)], "p": decided, "g": group}, id="id", prediction="p", groups=("g",)
    )
    rules = Policy(
        set_by="the authors of the tests",
        tolerance={"selection_rate": tolerance},
        fail_on=fail_on,
        min_group=5,
    )
    return audit(made, rules, title="decisions")


def parsed(*audits):
    text = junit(*audits)
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n')
    return ET.fromstring(text.encode("utf-8"))


def test_a_gate_that_is_exceeded_is_a_failed_case_with_its_numbers():
    made = audited()
    root = parsed(made)
    (case,) = root.iter("testcase")
    assert (case.get("classname"), case.get("name")) == ("decisions.g", "selection_rate by g")
    (failure,) = case
    assert (failure.tag, failure.get("type")) == ("failure", "exceeds tolerance")
    assert failure.get("message").startswith("exceeds tolerance (tolerance 0.1): 2 of 3 pairs")
    assert len(failure.text.splitlines()) == len(made.findings) == 3
    assert "n = 294 and 12" in failure.text and "status ok" in failure.text
    assert (root.get("tests"), root.get("failures"), root.get("skipped"), root.get("errors")) == (
        "1",
        "1",
        "0",
        "0",
    )
    kept = {one.get("name"): one.get("value") for one in root.iter("property")}
    assert kept["rows"] == "600" and kept["exit code"] == "1" and kept["verdict"] == "exceeds tolerance"


@pytest.mark.parametrize(
    ("tolerance", "fail_on", "tag", "code"),
    [
        (0.1, "exceeds", "failure", 1),
        (0.1, "never", "system-out", 0),
        (0.47, "exceeds", "skipped", 4),
        (0.47, "any", "failure", 1),
        (0.9, "any", "system-out", 0),
        (0.9, "exceeds", "system-out", 0),
    ],
    ids=lambda value: str(value),
)
def test_what_fails_is_what_the_policy_says(tolerance, fail_on, tag, code):
    made = audited(tolerance=tolerance, fail_on=fail_on)
    root = parsed(made)
    (case,) = root.iter("testcase")
    assert case[0].tag == tag
    assert made.exit_code == code
    assert int(root.get("failures")) == (tag == "failure")
    assert int(root.get("skipped")) == (tag == "skipped")


def test_not_assessed_is_skipped_with_the_reason():
    made = audited()
    entry = {**made.verdicts[0], "verdict": "not assessed", "reason": "5 of 15 pairs"}
    root = parsed(dataclasses.replace(made, verdicts=(entry,), verdict="not assessed"))
    (case,) = root.iter("testcase")
    assert [child.tag for child in case] == ["skipped", "system-out"]
    assert case[0].get("message") == "not assessed (tolerance 0.1): 5 of 15 pairs"


def test_nothing_gated_is_no_case_and_no_failure():
    made = dataclasses.replace(audited(), verdicts=(), verdict=None)
    root = parsed(made)
    assert list(root.iter("testcase")) == []
    assert root.get("tests") == "0"
    assert {one.get("value") for one in root.iter("property")} >= {"no tolerance declared"}


def test_several_audits_are_suites_that_add_up():
    root = parsed(audited(), audited(tolerance=0.47), audited(tolerance=0.9))
    assert [suite.get("tests") for suite in root] == ["1", "1", "1"]
    assert (root.get("tests"), root.get("failures"), root.get("skipped")) == ("3", "1", "1")


def compared(*, margin=0.03, n=600, worse=0):
    """The same rows of two models; the second decides `worse` of the "a" otherwise."""
    truth = [i // 2 % 2 for i in range(n)]
    tables = []
    for wrong in (6, 6 + worse):
        decided = [1 - t if i % 2 == 0 and i < 2 * wrong else t for i, t in enumerate(truth)]
        columns = {"id": list(map(str, range(n))), "y": truth, "p": decided, "g": ["a", "b"] * (n // 2)}
        tables.append(from_columns(columns, id="id", label="y", prediction="p", groups=("g",)))
    margins = {} if margin is None else {"tolerance_change": {"accuracy": margin}, "set_by": "the tests"}
    return compare(*tables, title="two models", **margins)


def test_a_change_with_a_margin_is_a_case_and_others_are_none():
    made = compared(worse=60)
    root = parsed(made)
    declared = [one for one in made.changes if one.margin is not None]
    assert len(list(root.iter("testcase"))) == len(declared) == 3
    failed = [case.get("name") for case in root.iter("testcase") if case.find("failure") is not None]
    assert failed == [
        "change of accuracy of everybody" if not one.attribute else f"change of accuracy of {one.group}"
        for one in declared
        if one.decision == "worse"
    ]
    assert "change of accuracy of a" in failed and made.exit_code == 1
    said = next(root.iter("failure"))
    assert said.get("type") == "exceeds tolerance" and said.get("message").startswith("worse (margin 0.03)")
    assert "0.9900 before" in said.text and "n = 600 and 600, status ok" in said.text
    kept = {one.get("name"): one.get("value") for one in root.iter("property")}
    assert kept["margins set by"] == "the tests" and kept["decision"] == "worse" and kept["rows"] == "600"
    assert list(parsed(compared(margin=None, worse=60)).iter("testcase")) == []
    assert parsed(compared()).get("failures") == "0"


def test_a_chart_is_a_case():
    charts = {"quiet": 0, "loud": 1}
    found = {}
    for name, last in charts.items():
        dates = []
        for week in range(12):
            away = 90 if last and week == 11 else 0
            decided = [1 if i < away else i // 2 % 2 for i in range(0, 400)]
            columns = {"id": list(map(str, range(400))), "p": decided, "g": ["a"] * 200 + ["b"] * 200}
            table = from_columns(columns, id="id", prediction="p", groups=("g",))
            dates.append((date(2026, 1, 5) + timedelta(weeks=week), table))
        made = monitor(dates, metrics=["selection_rate"], baseline=8, title=name, binomial=True)
        found[name] = (made, parsed(made))
    made, root = found["quiet"]
    assert (root.get("tests"), root.get("failures"), made.exit_code) == ("1", "0", 0)
    made, root = found["loud"]
    (case,) = root.iter("testcase")
    assert made.exit_code == 1 and case[0].tag == "failure" and case.get("classname") == "loud.g"
    assert "2026-03-23" in case[0].text and "grew" in case[0].text and "limits [" in case[0].text


def test_names_that_xml_cannot_hold_are_escaped_and_steer_nothing():
    shown = 'a<b>&"c\\x1b[2J\\x00\\ufffe\\ud800]]>'
    assert writable(HOSTILE) == shown
    made = audited(names=("a", "b", HOSTILE.replace("\ud800", "")))
    made = dataclasses.replace(made, title=HOSTILE)
    root = parsed(made)
    assert root[0].get("name") == shown
    assert "\\x1b[2J\\x00\\ufffe]]>" in next(root.iter("failure")).text
    assert writable("é 信用 🏠\n\tx") == "é 信用 🏠\n\tx"


@pytest.mark.parametrize("code", [0, 8, 0xB, 0x1F, 0x7F, 0x85, 0x9F, 0xD800, 0xDFFF, 0xFFFE, 0xFFFF], ids=hex)
def test_every_character_outside_xml_is_escaped(code):
    written = writable(chr(code))
    assert written.startswith("\\") and written.isascii()
    ET.fromstring(f"<a>{written}</a>")


def test_a_pair_without_an_estimate_says_why():
    one = dataclasses.replace(audited().findings[0], estimate=None, status="insufficient", reason="3 rows")
    assert sentence(one).endswith("no estimate, n = 294 and 294, insufficient: 3 rows")


def test_every_verdict_is_decided_on():
    assert frozenset().union(*FAILED.values()) | {"within tolerance"} == set(PRECEDENCE)
    assert np.all([verdicts <= FAILED["any"] for verdicts in FAILED.values()])
