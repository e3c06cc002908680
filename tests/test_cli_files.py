"""The commands that judge files: what they print, their exit codes, and what they refuse."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import clinometer.cli as cli
from clinometer.saved_reviews import review_schema

ROLES = ["--label", "label", "--prediction", "prediction", "--group", "race"]


def people(n=2000, *, seed=0, flip=0.0, flip_of="", shift=0.0):
    """Rows with a decision of about 70 % accuracy; a part of the decisions flipped, of one group where named."""
    generator = np.random.default_rng(seed)
    race = generator.choice(["Black", "White"], n)
    score = generator.beta(2, 2, n)
    label = (generator.random(n) < score).astype(int)
    prediction = (score - shift * (race == "Black") > 0.5).astype(int)
    drawn = np.random.default_rng(seed + 1).random(n) < flip
    wrong = drawn & ((race == flip_of) if flip_of else True)
    return pd.DataFrame(
        {
            "id": [f"p{i}" for i in range(n)],
            "race": race,
            "label": label,
            "prediction": np.where(wrong, 1 - prediction, prediction),
            "score": score,
        }
    )


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def saved(name, frame):
    frame.to_csv(name, index=False)
    return name


@pytest.mark.parametrize(
    ("changed", "margin", "code", "words"),
    [
        ({}, 0.02, 0, "no worse: every declared margin is kept"),
        ({"flip": 0.2}, 0.02, 1, "worse: the declared margin is not kept"),
        ({"n": 60, "flip": 0.15}, 0.02, 4, "these rows do not settle it"),
    ],
)
def test_compare_exits_0_1_or_4(run, changed, margin, code, words):
    old = saved("old.csv", people(n=changed.get("n", 2000)))
    new = saved("new.csv", people(**changed))
    got, out, _ = run("compare", old, new, *ROLES, "--worsening", f"accuracy={margin}", "--out", "c.json")
    assert (got, words in out) == (code, True), out
    assert "everybody" in out and "race: Black" in out
    kept = json.loads(Path("c.json").read_text(encoding="utf-8"))
    assert len(kept["changes"]) > 3
    got, out, _ = run("compare", old, new, *ROLES, "--worsening", f"accuracy={margin}", "--quiet")
    assert got == code and len(out.splitlines()) == 1


def test_compare_says_for_whom_it_is_worse(run):
    old, new = saved("old.csv", people(4000)), saved("new.csv", people(4000, flip=0.25, flip_of="Black"))
    code, out, _ = run("compare", old, new, *ROLES, "--worsening", "accuracy=0.03", "--json")
    decided = {(c["group"], c["decision"]) for c in json.loads(out)["changes"] if c["margin"] is not None}
    assert code == 1
    assert {("Black", "worse"), ("White", "no worse")} <= decided


def test_compare_refuses_other_rows_and_margins_of_nothing(run):
    old, new = saved("old.csv", people(110).head(100)), saved("new.csv", people(110))
    code, _, err = run("compare", old, new, *ROLES)
    assert code == 3 and "'p100'" in err
    assert run("compare", old, new, *ROLES, "--intersect")[0] == 0
    code, _, err = run("compare", old, old, *ROLES, "--worsening", "acuracy=0.1")
    assert code == 2 and "accuracy" in err
    code, _, err = run("compare", old, old, *ROLES, "--worsening", "accuracy")
    assert code == 2 and "--worsening accuracy: METRIC=VALUE" in err
    code, _, err = run("compare", old, old, *ROLES, "--out", old)
    assert code == 2 and "overwrite" in err


def dated(folder, *, last=0.0, n=12):
    for i in range(n):
        day = date(2026, 1, 5) + timedelta(weeks=i)
        people(800, seed=10 + i, shift=last if i == n - 1 else 0.0).to_csv(folder / f"{day}.csv", index=False)


def test_monitor_alarms_where_a_gap_grew_and_is_quiet_where_none_did(run, tmp_path):
    for name, last in (("quiet", 0.0), ("loud", 0.3)):
        (tmp_path / name).mkdir()
        dated(tmp_path / name, last=last)
    common = [*ROLES, "--metric", "selection_rate", "--baseline", "8"]
    code, out, _ = run("monitor", "quiet", *common)
    assert code == 0 and "no alarm" in out and "in control" in out
    code, out, _ = run("monitor", "loud", *common)
    assert code == 1 and "2026-03-23" in out and "grew" in out
    code, out, _ = run("monitor", "loud", *common, "--since", "2026-03-24", "--quiet")
    assert code == 4 and len(out.splitlines()) == 1
    code, _, err = run("monitor", "loud", *common, "--since", "yesterday")
    assert code == 2 and "2026-11-03" in err
    code, _, err = run("monitor", "loud", *ROLES)
    assert code == 2 and "nothing is declared" in err


def test_slices_names_the_combination_and_gates_nothing(run):
    frame = people(3000)
    frame["site"] = np.random.default_rng(5).choice(["north", "south"], 3000)
    hit = (frame["race"] == "Black") & (frame["site"] == "south")
    frame.loc[hit & (np.arange(3000) % 2 == 0), "prediction"] = 1 - frame["label"]
    saved("p.csv", frame)
    common = ["--label", "label", "--prediction", "prediction", "--column", "race", "--column", "site"]
    code, out, _ = run("slices", "p.csv", *common, "--permutations", "499")
    assert code == 0
    assert "race=Black & site=south" in out and "max-T" in out and "no declared groups" in out
    code, out, _ = run("slices", "p.csv", *common, "--permutations", "499", "--json")
    assert json.loads(out)["n_searched"] == 8
    code, _, err = run("slices", "p.csv", *common, "--of", "eror_rate")
    assert code == 2 and "error_rate" in err


def test_presets_print_the_published_tables_and_no_verdict(run):
    counts = {"male": (1390, 667), "female": (1181, 555)}
    rows = [(sex, "x", int(i < k)) for sex, (n, k) in counts.items() for i in range(n)]
    saved("hired.csv", pd.DataFrame([*rows, (None, "x", 1)], columns=["sex", "race", "selected"]))
    common = ["audit", "hired.csv", "--prediction", "selected", "--group", "sex"]
    code, out, _ = run(*common, "--group", "race", "--preset", "local-law-144")
    assert code == 0 and "0.979" in out and "unknown: 1 applicants" in out
    code, out, _ = run(*common, "--preset", "four-fifths")
    assert code == 0 and "0.979" in out and "shortfall" in out
    assert run(*common, "--preset", "local-law-144")[0] == 2
    code, _, err = run(*common, "--preset", "four-fifth")
    assert code == 2 and "did you mean 'four-fifths'" in err
    code, _, err = run(*common, "--preset", "equalized-odds")
    assert code == 2 and "--tolerance true_positive_rate=VALUE" in err


def test_counts_of_parts_are_audited_like_the_whole(run):
    whole = people(900)
    for i in range(3):
        saved(f"part-{i}.csv", whole[i * 300 : (i + 1) * 300])
    saved("whole.csv", whole)
    code, out, _ = run("count", "part-0.csv", "part-1.csv", "part-2.csv", *ROLES, "--out", "counts.parquet")
    assert code == 0 and "900 rows" in out
    code, _, err = run("count", "part-0.csv", *ROLES, "--out", "counts.parquet")
    assert code == 3 and "--force" in err
    audits = [json.loads(run("audit", name, *ROLES, "--json")[1]) for name in ("whole.csv", "part-*.csv")]
    audits.append(json.loads(run("audit", "counts.parquet", "--json")[1]))
    cells = [{(c["group"], c["metric"]): (c["k"], c["n"]) for c in made["cells"]} for made in audits]
    shared = set(cells[2])
    assert len(shared) > 30
    assert all(cells[0][key] == cells[1][key] == cells[2][key] for key in shared if key in cells[0])


def test_show_leaves_the_rest_out_of_the_print_only(run):
    saved("p.csv", people(300))
    code, out, _ = run("audit", "p.csv", *ROLES, "--show", "accuracy")
    assert code == 0 and "accuracy" in out and "selection_rate" not in out
    code, _, err = run("audit", "p.csv", *ROLES, "--show", "acuracy")
    assert code == 2 and "did you mean 'accuracy'" in err


def test_weights_clusters_strata_and_tasks_are_flags(run):
    frame = people(400)
    frame["w"], frame["who"], frame["dept"] = 1.5, np.arange(400) // 2, np.arange(400) % 3
    frame["kind"] = np.array(["cat", "dog", "owl"])[np.arange(400) % 3]
    frame["said"] = np.array(["cat", "dog", "owl"])[(np.arange(400) // 7) % 3]
    saved("p.csv", frame)
    code, out, _ = run("audit", "p.csv", *ROLES, "--weight", "w", "--cluster", "who")
    assert code == 0 and "Kish" in out and "200 clusters" in out
    code, out, _ = run("audit", "p.csv", *ROLES, "--strata", "dept", "--json")
    assert any("dept held fixed" in s["metric"] for s in json.loads(out)["summaries"])
    code, out, _ = run(
        "audit", "p.csv", "--label", "kind", "--prediction", "said", "--group", "race", "--task", "multiclass"
    )
    assert code == 0 and "true_positive_rate[owl]" in out


POLICY = """\
set_by = "the authors of the tests"
intersections = [["race", "site"]]
[tolerance]
selection_rate = 0.05
[groups.race]
reference = "White"
"""


def of_sites(name, **changed):
    """Rows with two attributes, of which the policy names one alone and one in an intersection."""
    frame = people(**changed)
    frame["site"] = np.random.default_rng(5).choice(["north", "south"], len(frame))
    return saved(name, frame)


def test_compare_takes_the_groups_of_the_policy_as_audit_does(run):
    old, new = of_sites("old.csv"), of_sites("new.csv", flip=0.2, flip_of="Black")
    Path("policy.toml").write_text(POLICY, encoding="utf-8")
    asked = [*ROLES[:4], "--policy", "policy.toml", "--json"]
    alone = json.loads(run("compare", old, new, *asked)[1])
    assert alone["plan"]["attributes"] == ["race", "race & site"]
    assert {"Black", "White"} <= {one["group"] for one in alone["changes"]}
    audited = json.loads(run("audit", new, *asked)[1])
    assert audited["plan"]["attributes"] == alone["plan"]["attributes"]
    for command in (["compare", old, new], ["audit", new]):  # a flag adds, and drops nothing
        added = json.loads(run(*command, *asked, "--group", "site")[1])
        assert added["plan"]["attributes"] == ["race", "site", "race & site"]
    code, _, err = run("compare", old, saved("other.csv", people()), *asked)
    assert code == 2 and "site" in err


def test_monitor_takes_the_groups_of_the_policy(run, tmp_path):
    (tmp_path / "dated").mkdir()
    dated(tmp_path / "dated")
    rules = POLICY.replace('intersections = [["race", "site"]]\n', "")
    Path("policy.toml").write_text(rules, encoding="utf-8")
    code, out, _ = run("monitor", "dated", *ROLES[:4], "--policy", "policy.toml", "--baseline", "8")
    assert code == 0 and "selection_rate by race: Black minus White" in out


def test_junit_of_every_command_that_judges_files(run, tmp_path):
    old, new = saved("old.csv", people()), saved("new.csv", people(flip=0.25, flip_of="Black"))
    (tmp_path / "dated").mkdir()
    dated(tmp_path / "dated", last=0.3)
    calls = {
        "audit": [saved("far.csv", people(shift=0.3)), *ROLES, "--tolerance", "selection_rate=0.05"],
        "compare": [old, new, *ROLES, "--worsening", "accuracy=0.03"],
        "monitor": ["dated", *ROLES, "--metric", "selection_rate", "--baseline", "8"],
    }
    for command, arguments in calls.items():
        plain_code, plain, _ = run(command, *arguments)
        code, out, err = run(command, *arguments, "--junit", f"{command}.xml")
        assert (code, out, err) == (plain_code, plain, "") and code == 1
        root = ET.parse(f"{command}.xml").getroot()
        assert int(root.get("tests")) >= 1 and int(root.get("failures")) >= 1
        assert [case.tag for case in root.iter("failure")] == ["failure"] * int(root.get("failures"))
    failed = {case.get("name") for case in root.iter("testcase") if case.find("failure") is not None}
    assert failed == {"chart of selection_rate of Black minus White"}


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (["--junit", "p.csv"], 2, "--junit p.csv would overwrite what is read"),
        (["--junit", "a.xml", "--out", "a.xml"], 2, "--junit and --out are both a.xml"),
        (["--junit", "a.xml", "--preset", "four-fifths"], 2, "gate nothing"),
        (["--junit", "nowhere/a.xml"], 3, "Name another with --junit"),
    ],
    ids=["read", "out", "preset", "folder"],
)
def test_junit_is_refused_where_it_would_harm_or_say_nothing(run, more, code, says):
    saved("p.csv", people(60))
    got, out, err = run("audit", "p.csv", *ROLES, *more)
    assert (got, out) == (code, "") and says in err
    assert not Path("a.xml").exists() and pd.read_csv("p.csv").shape[0] == 60


def test_the_schema_of_a_review_is_that_of_the_records(run):
    code, out, _ = run("schema", "--of", "review")
    assert code == 0 and json.loads(out) == review_schema()
    assert json.loads(run("schema", "--of", "policy")[1]) == json.loads(run("schema")[1])
    code, out, err = run("schema", "--of", "reviews")
    assert (code, out) == (2, "") and "did you mean 'review'" in err


def test_the_schema_checks_a_policy(run):
    import jsonschema

    code, out, _ = run("schema")
    assert code == 0
    schema = json.loads(out)
    jsonschema.validate({"set_by": "x", "tolerance": {"accuracy": 0.1}}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"tolerancee": {}}, schema)


@pytest.mark.parametrize("command", ["compare", "monitor", "slices", "count", "schema", "schema of a review"])
def test_judging_files_loads_no_torch(tmp_path, command):
    arguments = {
        "compare": ["old.csv", "old.csv", *ROLES],
        "monitor": ["dated", *ROLES, "--metric", "accuracy", "--baseline", "6"],
        "slices": ["old.csv", *ROLES[:4], "--column", "race", "--permutations", "99"],
        "count": ["old.csv", *ROLES, "--out", "c.parquet"],
        "schema": [],
        "schema of a review": ["--of", "review"],
    }[command]
    people(300).to_csv(tmp_path / "old.csv", index=False)
    (tmp_path / "dated").mkdir()
    dated(tmp_path / "dated", n=8)
    script = (
        "import sys; from clinometer.cli import main; code = main(sys.argv[1:]); "
        "assert code == 0, code; assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, command.split()[0], *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
