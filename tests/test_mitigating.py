"""Fixes: fitted, chosen and judged on three parts of the rows; saved and loaded; through the command as well."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

import clinometer.cli as cli
from clinometer.bias.mitigation import Mitigation, read_mitigation
from clinometer.bias.policy import parse_policy
from clinometer.bias.splitting import split
from clinometer.errors import DataError, UsageError
from clinometer.interpret import folders
from clinometer.interpret.models import load, score
from clinometer.interpret.preprocessing import TablePreprocessor
from clinometer.mitigating import FIXES, mitigate
from clinometer.scored_rows import evidence_of
from reference.subjects import applicants, fitted

POLICY = parse_policy(
    {"set_by": "the test", "tolerance": {"selection_rate": 0.1}, "groups": {"side": {}}}, where="test"
)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """A model that leans on income, and groups that differ in it."""
    rows = applicants(600)
    income = np.asarray(rows.inputs["income"], dtype=float)
    generator = np.random.default_rng(0)
    likely = np.where(income > np.median(income), 0.8, 0.2)
    side = tuple("rich" if hit else "poor" for hit in generator.random(len(rows)) < likely)
    folder = tmp_path_factory.mktemp("mitigating") / "model"
    table = TablePreprocessor.fit(rows.inputs, numeric=["income", "debt", "noise"], categorical=["home"])
    folders.save(folder, fitted(rows, epochs=3).module, table, labels=("denied", "approved"))
    return load(folder), dataclasses.replace(rows, groups={"side": side}), folder


@pytest.fixture(scope="module")
def made(people):
    subject, rows, _ = people
    return mitigate(subject, rows, POLICY, "side", gap="selection_rate", accepted_loss=0.2)


def test_every_fix_is_made_or_said_not_to_be(made):
    assert set(made.fixes) | set(made.skipped) == set(FIXES)
    assert len(made.fixes) >= 4, made.skipped
    assert {point.name for point in made.judged_on.points} == {"unmitigated", *made.fixes}


def test_a_fix_closes_the_gap_on_rows_that_had_no_part_in_it(made):
    before, after = made.judged_on.of("unmitigated"), made.judged_on.of(made.choice.name)
    assert before.gap > 0.2
    assert after.gap < before.gap - 0.1
    assert made.again.before.n == made.again.after.n == made.n_judge
    rates = {c.group: c.estimate for c in made.again.after.cells if c.metric == "selection_rate"}
    assert abs(rates["poor"] - rates["rich"]) == pytest.approx(after.gap)


def test_the_three_parts_share_no_row(made, people):
    assert made.n_fit + made.n_choose + made.n_judge == len(people[1])
    seen = {(one.role, one.n) for one in made.choice.seen}
    assert {role for role, _ in seen} == {"fit", "choose"}
    assert ("choose", made.n_choose) in seen


def test_the_choice_keeps_the_floor_and_has_the_smallest_gap(made):
    open_to = [made.chosen_on.of(name) for name in made.choice.open_to]
    assert all(point.utility >= made.floor - 1e-12 for point in open_to)
    assert made.chosen_on.of(made.choice.name).gap == min(point.gap for point in open_to)


@pytest.mark.parametrize("name", ["threshold", "erasure", "learned gates"])
def test_a_chosen_fix_is_saved_and_decides_the_same(people, tmp_path, name):
    subject, rows, _ = people
    one = mitigate(
        subject, rows, POLICY, "side", gap="selection_rate", accepted_loss=0.5, fixes=[name], allowed=0.2
    )
    assert one.choice.name == name
    where, report = one.save(tmp_path / "out")
    held = json.loads(report.read_text(encoding="utf-8"))
    assert held["choice"]["name"] == name and held["again"]["before"]["n"] == one.n_judge
    if isinstance(one.chosen, Mitigation):
        again = read_mitigation(where)
        scores = score(subject, rows)
        np.testing.assert_array_equal(
            again.decide(ids=rows.ids, score=scores), one.chosen.decide(ids=rows.ids, score=scores)
        )
    else:
        np.testing.assert_array_equal(score(load(where), rows), score(one.chosen, rows))


def test_parts_that_are_given_are_kept(people, made):
    subject, rows, _ = people
    scored = evidence_of(subject, rows, score(subject, rows))
    dealt = split(scored, None, shares=(0.5, 0.25, 0.25), seed=0)
    parts = tuple(rows.take(places) for places in (dealt.fit, dealt.choose, dealt.judge))
    again = mitigate(
        subject,
        parts,
        POLICY,
        "side",
        gap="selection_rate",
        accepted_loss=0.2,
        fixes=["threshold", "erasure"],
    )
    assert (again.n_fit, again.n_choose, again.n_judge) == tuple(len(part) for part in parts)
    for name in again.fixes:
        assert again.judged_on.of(name).gap == made.judged_on.of(name).gap
    other = (parts[2], parts[1], parts[0])
    turned = mitigate(
        subject, other, POLICY, "side", gap="selection_rate", accepted_loss=0.2, fixes=["threshold"]
    )
    assert (turned.n_fit, turned.n_judge) == (len(parts[2]), len(parts[0]))


def test_parts_that_share_rows_are_refused(people):
    subject, rows, _ = people
    one, two = rows.take(range(200)), rows.take(range(199, 400))
    with pytest.raises(DataError, match=r"1 rows are in two parts: 'a0199'"):
        mitigate(subject, (one, two, rows.take(range(400, 600))), POLICY, "side", gap="selection_rate")
    with pytest.raises(UsageError, match="2 parts of rows"):
        mitigate(subject, (one, two), POLICY, "side", gap="selection_rate")
    bare = dataclasses.replace(one, labels=None)
    with pytest.raises(UsageError, match="give rows with labels"):
        mitigate(subject, (bare, two, rows.take(range(400, 600))), POLICY, "side", gap="selection_rate")


def test_refusals(people):
    subject, rows, _ = people
    with pytest.raises(UsageError, match="did you mean 'threshold'"):
        mitigate(subject, rows, POLICY, "side", fixes=["treshold"])
    with pytest.raises(UsageError, match="give rows with labels"):
        mitigate(subject, dataclasses.replace(rows, labels=None), POLICY, "side")
    with pytest.raises(UsageError, match="selection_rate"):
        mitigate(subject, rows, POLICY, "side", gap="selection rate")


def test_the_commands_say_why_and_fix(people, tmp_path, capsys, monkeypatch):
    _, rows, folder = people
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame({**dict(rows.inputs), "side": rows.groups["side"], "approved": rows.labels}).head(
        240
    )
    frame.to_csv("people.csv", index=False)
    (tmp_path / "policy.toml").write_text(POLICY.to_toml(), encoding="utf-8")
    common = [str(folder), "people.csv", "--label", "approved", "--group", "side"]
    code = cli.main(["why", *common, "--of", "poor", "--reference", "rich", "--candidates", "1", "--quiet"])
    said = capsys.readouterr()
    assert code == 0, said.err
    assert "income" in said.out and "not screened" in said.out and "verified" in said.out
    fix = [
        "--policy",
        "policy.toml",
        "--gap",
        "selection_rate",
        "--fix",
        "threshold",
        "--accepted-loss",
        "0.5",
    ]
    code = cli.main(["mitigate", *common, *fix, "--out", "fixed", "--quiet"])
    said = capsys.readouterr()
    assert code in {0, 1, 4}, said.err
    assert "rows that judge" in said.out and "unmitigated" in said.out
    assert (tmp_path / "fixed" / "mitigated.json").exists()
    assert cli.main(["mitigate", *common, *fix, "--out", "fixed", "--quiet"]) == 3
    capsys.readouterr()
    assert cli.main(["why", *common, "--of", "pour", "--quiet"]) == 3
    assert "pour" in capsys.readouterr().err
