"""doctor says what is here without loading it; init proposes a policy that reads back and gates nothing."""

import dataclasses
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import clinometer.cli as cli
import clinometer.machine as machines
from clinometer.bias.policy import read_policy
from clinometer.errors import DataError
from clinometer.machine import Device, Extra, Machine, Package, machine, size
from clinometer.proposed_policy import propose, to_toml

SCRIPT = "]\n[tolerance]\nselection_rate = 0.0 #"
HOSTILE = (SCRIPT, 'quo"te\\', "\x7f\x1b[2J", "信用 🏠", "</script>", "a = 1")


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("CLINOMETER_")]:
        monkeypatch.delenv(name)

    def run(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


# doctor


def here(**changes) -> Machine:
    """A machine on which nothing is slow."""
    made = Machine(
        clinometer="1",
        python="3.11",
        platform="Linux x86_64",
        packages=(Package(name="torch", version="2.13", asked=">=2.13"),),
        extras=(
            Extra(name="fast", packages=(Package(name="numba", version="1", asked=">=0.6"),), install="pip"),
        ),
        cpus=4.0,
        cpus_of_machine=4,
        threads_asked=None,
        memory=64 * 1024**3,
        memory_free=32 * 1024**3,
        disk_free={"temporary files": 100 * 1024**3},
        devices=(Device(name="cuda:0", what="a card", memory=1),),
        driver=True,
        browser="chromium",
        fonts={"Arabic": True, "emoji": None},
    )
    return dataclasses.replace(made, **changes)


def without(name, **more):
    package = Package(name=name, version=None, asked=">=1")
    return {"extras": (Extra(name="x", packages=(package,), install="pip"),), **more}


def test_nothing_is_said_of_a_machine_on_which_nothing_is_slow():
    assert here().slow == ()
    assert here(threads_asked="4").slow == ()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"packages": (Package(name="torch", version=None, asked=">=2"),)},
            "torch: missing; what needs them stops",
        ),
        ({"devices": (), "driver": False}, "no accelerator was found"),
        ({"devices": None, "driver": False}, "no accelerator was found"),
        (
            {"devices": None, "packages": (Package(name="torch", version="2.13+cpu", asked=">=2"),)},
            "torch 2.13+cpu was built without CUDA",
        ),
        ({"cpus": 1.5}, "set OMP_NUM_THREADS=1"),
        ({"threads_asked": "1"}, "OMP_NUM_THREADS is 1, and 4 CPUs may be used"),
        ({"threads_asked": "64"}, "threads wait for one another"),
        (without("numba"), 'pip install "clinometer[fast]"'),
        ({"memory_free": 1024**3}, "1.0 GiB of memory are free"),
        ({"disk_free": {"temporary files": 5 * 1024**2}}, "5 MiB of disk are free for temporary files"),
        (without("weasyprint", browser=None), "no PDF can be printed: install Chromium"),
        ({"fonts": {"Arabic": False, "emoji": False}}, "Arabic, emoji are drawn as boxes: install fonts"),
    ],
    ids=[
        *(
            "package",
            "cpu",
            "not asked",
            "cpu torch",
            "share",
            "few threads",
            "many threads",
            "numba",
            "memory",
        ),
        *("disk", "printer", "fonts"),
    ],
)
def test_what_is_slow_is_said_with_the_reason(changes, says):
    (said,) = here(**changes).slow
    assert says in said


def test_this_machine_is_described_in_words_and_in_json(call):
    code, out, err = call("doctor")
    assert (code, err) == (0, "")
    for part in ("clinometer ", "torch ", "extras", "OMP_NUM_THREADS", "memory", "disk", "fonts", "PDF"):
        assert part in out
    code, out, _ = call("doctor", "--json")
    made = json.loads(out)
    assert code == 0
    assert {one["name"] for one in made["packages"]} >= {"torch", "typer", "numpy"}
    extras = {one["name"] for one in made["extras"]}
    assert extras >= {"pdf", "notebook"} and not extras & {"dev", "docs"}
    assert made["devices"] is None and isinstance(made["slow"], list)


def test_devices_are_asked_of_torch_only_when_they_are_wanted(tmp_path):
    code = "import sys, clinometer.cli as c; c.main(['doctor', *sys.argv[1:]]); print('torch' in sys.modules)"
    for flags, loaded in ((), "False"), (("--devices",), "True"):
        ran = subprocess.run(
            [sys.executable, "-c", code, *flags], capture_output=True, text=True, cwd=tmp_path, check=True
        )
        assert ran.stdout.splitlines()[-1] == loaded
        assert ("cpu: " in ran.stdout) is bool(flags)


def test_a_missing_package_is_an_exit_code_of_its_own(call, monkeypatch):
    broken = here(packages=(Package(name="torch", version=None, asked=">=2"),))
    monkeypatch.setattr(machines, "machine", lambda devices: broken)
    code, out, _ = call("doctor")
    assert code == 3 and "MISSING (>=2 is asked for)" in out


def test_requirements_are_read_as_they_are_written(monkeypatch):
    lines = [
        "one>=1",
        'two[a,b] (>=2); extra == "x"',
        "three~=3 ; extra == 'x'",
        'clinometer[x]; extra == "dev"',
        'four; extra == "dev"',
        'five>=5; python_version < "3.12"',
    ]
    monkeypatch.setattr(machines.importlib.metadata, "requires", lambda name: lines)
    monkeypatch.setattr(machines, "_version", lambda name: None)
    core, extras = machines._packages()
    assert [(one.name, one.asked) for one in core] == [("one", ">=1"), ("five", ">=5")]
    (extra,) = extras
    assert (extra.name, extra.missing, extra.install) == (
        "x",
        ("two", "three"),
        'pip install "clinometer[x]"',
    )
    assert extra.packages[0].asked == ">=2"


def test_fonts_are_not_known_where_nothing_lists_them(monkeypatch):
    monkeypatch.setattr(machines.shutil, "which", lambda name: None)
    assert machine().fonts == dict.fromkeys(machines.SCRIPTS)


def test_sizes_as_a_person_reads_them():
    assert [size(n) for n in (None, 3 * 1024**2, 1536 * 1024**2)] == ["unknown", "3 MiB", "1.5 GiB"]


# init


def people(n=400, *, seed=0) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "id": [f"p{i}" for i in range(n)],
            "age": draw.integers(18, 80, n),
            "race": draw.choice(["White", "Black", "Asian"], n, p=[0.6, 0.3, 0.1]),
            "sex": draw.integers(0, 2, n),
            "approved": draw.integers(0, 2, n),
            "predicted": draw.integers(0, 2, n),
            "risk": draw.random(n),
            "income": draw.normal(30_000, 9_000, n),
            "note": [f"text {i}" for i in range(n)],
            "constant": 1,
        }
    )


def saved(frame, name="people.csv"):
    frame.to_parquet(name) if name.endswith(".parquet") else frame.to_csv(name, index=False)
    return name


@pytest.mark.parametrize("name", ["people.csv", "people.parquet"])
def test_roles_are_proposed_from_content_and_the_next_command_runs(call, name):
    frame = people()
    frame.loc[3, "race"] = None
    code, out, err = call("init", saved(frame, name))
    assert (code, err) == (0, "")
    rules = read_policy("policy.toml")
    assert list(rules.groups) == ["age", "race", "sex"], "attributes of people come first"
    assert rules.tolerance == {} and rules.set_by is None
    assert rules.groups["age"].bins[0] == 18 and rules.groups["age"].bins[-1] >= frame["age"].max()
    following = shlex.split(out.splitlines()[-1].removeprefix("next:   "))
    assert following == [
        *("clinometer", "audit", name, "--label", "approved", "--prediction", "predicted"),
        *("--score", "risk", "--policy", "policy.toml"),
    ]
    code, out, err = call(*following[1:], "--json")
    made = json.loads(out)
    assert (code, err) == (0, "")
    assert made["verdict"] is None, "nothing is gated"
    assert {cell["attribute"] for cell in made["cells"]} == {"age", "race", "sex"}


def test_every_line_says_why(call):
    _, out, _ = call("init", saved(people()))
    text = Path("policy.toml").read_text(encoding="utf-8")
    for column, reason in {
        "approved": "label: two values, '0' and '1'",
        "risk": "score: numbers from 0 to 1",
        "income": "no role: numbers, 400 of them different",
        "note": "no role: 400 values, too many for groups",
        "constant": "no role: one value",
    }.items():
        assert f'#   "{column}": {reason}' in text
        assert reason in next(line for line in out.splitlines() if line.split()[0] == column)
    assert "# [tolerance]" in text and "# true_positive_rate = LARGEST_DIFFERENCE" in text
    assert '# reference = "White"' in text


def test_a_tolerance_that_is_only_uncommented_is_refused(call):
    call("init", saved(people()))
    text = Path("policy.toml").read_text(encoding="utf-8")
    lines = [
        line.removeprefix("# ") if line.startswith(("# [tol", "# selection_rate")) else line
        for line in text.splitlines()
    ]
    Path("policy.toml").write_text("\n".join(lines), encoding="utf-8")
    code, _, err = call("audit", "people.csv", "--prediction", "predicted", "--policy", "policy.toml")
    assert code == 2 and "is not TOML" in err


def test_names_of_a_file_stay_names_in_the_policy(call):
    frame = people()
    frame["race"] = [HOSTILE[i % len(HOSTILE)] for i in range(len(frame))]
    frame = frame.rename(columns={"sex": f"sex {SCRIPT}"})
    code, out, _ = call("init", saved(frame, "people.parquet"))
    assert code == 0 and "\x1b" not in out
    rules = read_policy("policy.toml")
    assert rules.tolerance == {} and list(rules.groups) == ["age", "race", f"sex {SCRIPT}"]
    text = Path("policy.toml").read_text(encoding="utf-8")
    assert "\x1b" not in text and "\x7f" not in text
    for line in text.splitlines():
        assert not line.startswith("selection_rate")


def test_texts_of_two_values_need_the_positive_one(call):
    frame = people()
    frame["approved"] = np.where(frame["approved"] == 1, "granted", "denied")
    frame["predicted"] = np.where(frame["predicted"] == 1, "granted", "denied")
    call("init", saved(frame))
    assert read_policy("policy.toml").positive == "granted"
    frame["approved"] = np.where(frame["approved"] == "granted", "yes", "no")
    frame["predicted"] = np.where(frame["predicted"] == "granted", "yes", "no")
    call("init", saved(frame), "--force")
    assert read_policy("policy.toml").positive is None, "yes and no say it themselves"


@pytest.mark.parametrize(
    ("label", "task"),
    [
        (lambda d, n: d.choice(["cat", "dog", "cow"], n), "multiclass"),
        (lambda d, n: d.normal(0, 1, n), "regression"),
        (lambda d, n: d.integers(0, 2, n), "binary"),
    ],
    ids=["classes", "numbers", "two"],
)
def test_the_task_follows_from_the_label(tmp_path, label, task):
    draw = np.random.default_rng(1)
    frame = pd.DataFrame({"label": label(draw, 200), "race": draw.choice(["a", "b"], 200)})
    frame.to_csv(tmp_path / "t.csv", index=False)
    made = propose(tmp_path / "t.csv")
    assert (made.label, made.task) == ("label", task)
    (tmp_path / "policy.toml").write_text(to_toml(made), encoding="utf-8")
    assert read_policy(tmp_path / "policy.toml").task == task


def test_a_sensitive_column_of_two_values_is_no_label(tmp_path):
    draw = np.random.default_rng(2)
    pd.DataFrame({"gender": draw.integers(0, 2, 90), "y": draw.integers(0, 2, 90)}).to_csv(
        tmp_path / "t.csv", index=False
    )
    made = propose(tmp_path / "t.csv")
    assert made.label == "y" and [group.column for group in made.groups] == ["gender"]
    assert made.groups[0].sizes.keys() == {"0", "1"}


def test_words_within_words_are_not_taken_for_attributes(tmp_path):
    """ "page" holds "age", "essex" holds "sex": neither is one."""
    draw = np.random.default_rng(3)
    columns = {
        "page": draw.integers(0, 500, 300),
        "essex": draw.normal(0, 9, 300),
        "race": draw.choice(["a", "b"], 300),
    }
    pd.DataFrame(columns).to_csv(tmp_path / "t.csv", index=False)
    assert [group.column for group in propose(tmp_path / "t.csv").groups] == ["race"]


def test_json_is_the_proposal(call):
    code, out, _ = call("init", saved(people()), "--json", "--out", "rules.toml")
    made = json.loads(out)
    assert code == 0 and made["policy"] == "rules.toml" and made["next"].endswith("--policy rules.toml")
    race = next(group for group in made["proposal"]["groups"] if group["column"] == "race")
    assert sum(race["sizes"].values()) == 400 and race["missing"] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["people.csv"], 3, "policy.toml exists. Name another file with --out"),
        (["people.csv", "--out", "people.csv", "--force"], 2, "is the file that is read"),
        (["absent.csv", "--out", "p.toml"], 3, "absent.csv is not a file"),
        (["people.csv", "--out", "none/p.toml"], 3, "cannot be written"),
    ],
    ids=["exists", "itself", "absent", "folder"],
)
def test_a_policy_that_is_there_stays(call, tmp_path, arguments, code, says):
    saved(people(20))
    Path("policy.toml").write_text("kept")
    got, _, err = call("init", *arguments)
    assert got == code and says in err
    assert Path("policy.toml").read_text() == "kept"


def test_a_file_without_groups_is_refused(tmp_path):
    pd.DataFrame({"y": [0, 1] * 20, "p": np.linspace(0, 1, 40)}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match="no column that could be a group"):
        propose(tmp_path / "t.csv")
