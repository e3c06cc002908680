"""Why and a fix within a review: asked in words, refused before anything runs, kept in review.json whole."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

import clinometer as cm
import clinometer.cli as cli
from clinometer.bias.policy import parse_policy
from clinometer.errors import DataError, UsageError
from clinometer.interpret import folders
from clinometer.interpret.preprocessing import TablePreprocessor
from clinometer.review import to_json
from clinometer.review_questions import (
    FixQuestion,
    GapQuestion,
    fix_question,
    gap_question,
    questions,
)
from clinometer.saved_answers import with_answers
from clinometer.saved_reviews import read_review
from reference.subjects import applicants, fitted

POLICY = parse_policy(
    {"set_by": "the test", "tolerance": {"selection_rate": 0.1}, "groups": {"side": {}}}, where="test"
)
WHY = GapQuestion(
    attribute="side",
    group="poor",
    reference="rich",
    metric="mean_score",
    n_candidates=2,
    n_random=9,
    minimum=5,
)
FIX = FixQuestion(
    attribute="side", gap="selection_rate", accepted_loss=0.3, fixes=("threshold", "learned gates")
)
QUICK = {"replicates": 200, "slice_permutations": 0}


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    rows = applicants(240)
    income = np.asarray(rows.inputs["income"], dtype=float)
    side = tuple("rich" if value > np.median(income) else "poor" for value in income)
    rows = dataclasses.replace(rows, groups={"side": side})
    folder = tmp_path_factory.mktemp("asked") / "model"
    table = TablePreprocessor.fit(rows.inputs, numeric=["income", "debt", "noise"], categorical=["home"])
    folders.save(folder, fitted(rows, epochs=3).module, table, labels=("denied", "approved"))
    return cm.load(folder), rows, folder


@pytest.fixture(scope="module")
def made(people):
    return cm.review(*people[:2], policy=POLICY, why=[WHY], mitigate=FIX, **QUICK)


@pytest.fixture(scope="module")
def twin(made):
    return json.loads(to_json(made))


# Asking


@pytest.mark.parametrize(
    ("said", "parts"),
    [
        ("race:black", ("race", "black", None, "selection_rate")),
        ("race:black:white", ("race", "black", "white", "selection_rate")),
        ("race:black::mean_score", ("race", "black", None, "mean_score")),
        ("race:black:white:true_positive_rate", ("race", "black", "white", "true_positive_rate")),
    ],
)
def test_a_question_is_read_as_it_is_said(said, parts):
    asked = gap_question(said)
    assert (asked.attribute, asked.group, asked.reference, asked.metric) == parts
    assert gap_question(asked) is asked


def test_a_fix_is_asked_for_by_its_group_and_its_gap():
    assert fix_question("race") == FixQuestion(attribute="race")
    assert fix_question("race:selection_rate").gap == "selection_rate"


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ("race", "ATTRIBUTE:GROUP"),
        (":black", "ATTRIBUTE:GROUP"),
        ("race:", "ATTRIBUTE:GROUP"),
        ("a:b:c:mean_score:e", "a GapQuestion"),
        ("race:black:white:selection_rates", "did you mean 'selection_rate'"),
    ],
)
def test_a_question_that_cannot_be_read_is_refused(said, match):
    with pytest.raises(UsageError, match=match):
        gap_question(said)


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ("a:b:c", r"ATTRIBUTE\[:GAP\]"),
        ("", r"ATTRIBUTE\[:GAP\]"),
        ("side:selection_rat", "did you mean 'selection_rate'"),
        (FixQuestion(attribute="side", fixes=("treshold",)), "did you mean 'threshold'"),
    ],
    ids=["three parts", "nothing", "gap", "fix"],
)
def test_a_fix_that_cannot_be_read_is_refused(said, match):
    with pytest.raises(UsageError, match=match):
        fix_question(said)


def test_rows_that_cannot_answer_are_refused(people):
    rows = people[1]
    with pytest.raises(DataError, match="did you mean 'side'"):
        questions(rows, ["sid:poor"], None)
    with pytest.raises(DataError, match="no group 'pour': did you mean 'poor'"):
        questions(rows, ["side:pour:rich"], None)
    with pytest.raises(DataError, match="no group 'ric': did you mean 'rich'"):
        questions(rows, ["side:poor:ric"], None)
    with pytest.raises(DataError, match="mitigate: the rows have no group column 'sid'"):
        questions(rows, [], "sid")
    with pytest.raises(UsageError, match="a sequence of questions"):
        questions(rows, "side:poor", None)
    unlabelled = dataclasses.replace(rows, labels=None)
    with pytest.raises(UsageError, match="true_positive_rate needs labels"):
        questions(unlabelled, ["side:poor:rich:true_positive_rate"], None)
    with pytest.raises(UsageError, match="fitted to labels"):
        questions(unlabelled, [], "side")


def test_refused_before_the_model_runs(people, monkeypatch):
    subject, rows, _ = people

    def never(*_, **__):
        raise AssertionError("the model ran")

    monkeypatch.setattr("clinometer.interpret.methods.attribute", never)
    with pytest.raises(DataError, match="did you mean 'poor'"):
        cm.review(subject, rows, policy=POLICY, why=["side:pour"], **QUICK)
    with pytest.raises(AssertionError, match="the model ran"):
        cm.review(subject, rows, policy=POLICY, **QUICK)


# What is kept


def test_the_answers_are_those_of_why_and_mitigate(people, made):
    subject, rows, _ = people
    alone = cm.why(
        subject, rows, "side", "poor", "rich", metric="mean_score", n_candidates=2, n_random=9, minimum=5,
        replicates=200, batch_size=64,
    )  # fmt: skip
    (answer,) = made.why
    assert answer.sentences == alone.sentences and answer.verified == alone.verified
    fixed = cm.mitigate(
        subject, rows, POLICY, "side", gap="selection_rate", accepted_loss=0.3, fixes=FIX.fixes
    )
    assert made.mitigated.sentences == fixed.sentences
    assert made.mitigated.found.choice.name == fixed.choice.name
    assert made.mitigated.found.chosen is not None


def test_the_verdict_is_that_of_the_model_without_a_fix(people, made):
    plain = cm.review(*people[:2], policy=POLICY, **QUICK)
    assert made.verdict == plain.verdict
    assert made.audit == plain.audit
    assert plain.why == () and plain.mitigated is None


KEYS = {
    ("why", 0): {"question", "sentences", "verified", "found"},
    ("why", 0, "found"): {"ledger", "parts", "mediation", "metric", "words", "n_screened", "n_held_out", "seed"},
    ("why", 0, "found", "mediation"): {"screening", "verification", "paths"},
    ("why", 0, "found", "mediation", "verification"): {
        "before", "before_low", "before_high", "tests", "together", "confidence", "metric", "unit", "how", "ids",
    },
    ("why", 0, "found", "mediation", "verification", "tests", 0): {
        "heads", "before", "after", "removed", "low", "high", "p", "n_random", "random_rank", "random_level",
        "detectable", "verified", "reason",
    },
    ("mitigated",): {
        "question", "sentences", "before", "mitigation", "after", "changes", "improved", "worsened", "chosen_on",
        "judged_on",
    },
    ("mitigated", "before"): {"cells", "findings", "verdicts", "verdict", "n", "plan"},
    ("mitigated", "after"): {"cells", "findings", "verdicts", "verdict", "n", "plan"},
    ("mitigated", "mitigation"): {
        "name", "kind", "settings", "rule", "floor", "kept_the_floor", "fixes", "not_made", "n_fit", "n_choose",
        "n_judge", "seen", "judged_by", "seed",
    },
    ("mitigated", "judged_on", 0): {
        "name", "n", "utility", "utility_low", "utility_high", "gap", "gap_low", "gap_high", "gap_change",
        "dominated_by",
    },
}  # fmt: skip


@pytest.mark.parametrize("path", KEYS, ids=lambda path: ".".join(map(str, path)))
def test_review_json_has_before_mitigation_and_after(twin, path):
    at = twin
    for step in path:
        at = at[step]
    missing = KEYS[path] - set(at)
    assert not missing


def test_what_review_json_says_is_what_was_found(made, twin):
    fix, found = twin["mitigated"], made.mitigated.found
    assert fix["mitigation"]["name"] == found.choice.name in FIX.fixes
    assert fix["mitigation"]["n_judge"] == fix["before"]["n"] == fix["after"]["n"] == found.n_judge
    assert {one["role"] for one in fix["mitigation"]["seen"]} == {"fit", "choose"}
    assert fix["mitigation"]["judged_by"]["role"] == "judge"
    assert "found" not in fix and "object at 0x" not in json.dumps(twin)
    cells = {c["group"]: c["estimate"] for c in fix["after"]["cells"] if c["metric"] == "selection_rate"}
    assert abs(cells["poor"] - cells["rich"]) == pytest.approx(found.judged_on.of(found.choice.name).gap)


def test_the_same_bytes_but_for_the_time(people, made):
    again = cm.review(*people[:2], policy=POLICY, why=[WHY], mitigate=FIX, **QUICK)
    one, two = (to_json(dataclasses.replace(x, created="")) for x in (made, again))
    assert one == two


def test_a_tolerance_of_a_measure_is_no_matter_of_the_fix(people):
    policy = parse_policy(
        {
            "set_by": "the test",
            "tolerance": {"selection_rate": 0.1, "attribution[income]": 5.0},
            "groups": {"side": {}},
        },
        where="test",
    )
    one = dataclasses.replace(FIX, fixes=("threshold",))
    made = cm.review(*people[:2], policy=policy, mitigate=one, **QUICK)
    assert "attribution[income]" in {f.metric for f in made.audit.findings}
    assert {f.metric for f in made.mitigated.after.findings if f.tolerance is not None} == {"selection_rate"}


# The command


def test_the_command_asks_both_and_says_both(people, tmp_path, capsys):
    _, rows, folder = people
    data = tmp_path / "people.csv"
    frame = pd.DataFrame(
        {"id": rows.ids, **rows.inputs, "side": rows.groups["side"], "approved": rows.labels}
    )
    frame.head(160).to_csv(data, index=False)
    (tmp_path / "policy.toml").write_text(POLICY.to_toml(), encoding="utf-8")
    out = tmp_path / "out"
    command = ["review", str(folder), str(data), "--label", "approved", "--group", "side"]
    command += ["--policy", str(tmp_path / "policy.toml"), "--out", str(out)]
    asked = ["--why", "side:poor:rich", "--mitigate", "side:selection_rate"]
    code = cli.main([*command, *asked])
    said = capsys.readouterr()
    assert code in {0, 1, 4}, said.err
    assert "heads:  " in said.out and "fix:    " in said.out and "judged on" in said.out
    held = json.loads((out / "review.json").read_text(encoding="utf-8"))
    assert held["why"][0]["question"]["group"] == "poor" and held["mitigated"]["judged_on"]
    html = (out / "report.html").read_text(encoding="utf-8")
    assert "A fix, judged on rows it never saw" in html and "heads-out-side-poor-rich" in html
    assert cli.main([*command, "--force", "--why", "side:pour"]) == 3
    assert "did you mean 'poor'" in capsys.readouterr().err
    assert cli.main([*command, "--force", "--mitigate", "side:selection"]) == 2
    assert "selection_rate" in capsys.readouterr().err


def test_a_real_review_is_read_back_with_its_answers(made, tmp_path):
    (tmp_path / "review.json").write_text(to_json(made), encoding="utf-8")
    back = with_answers(read_review(tmp_path))
    assert to_json(back) == to_json(made)
    assert back.why[0].found.sentences == made.why[0].found.sentences
    assert back.mitigated.found.sentences == made.mitigated.found.sentences
    assert back.mitigated.found.judged_on.n == made.mitigated.found.judged_on.n
    assert back.mitigated.found.judged_on.front == made.mitigated.found.judged_on.front
