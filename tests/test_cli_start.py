"""The command: what its help costs and shows, what a slip of the finger gets, where settings come from."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from project_files import ROOT

import clinometer.cli as cli
from clinometer.command_examples import EXAMPLES

VERBS = cli.built().commands
HEAVY = (
    *("torch", "transformers", "captum", "fairlearn", "matplotlib", "pandas", "scipy", "pyarrow", "duckdb"),
    *("jinja2", "narwhals", "safetensors", "huggingface_hub", "tqdm"),
)  # not pydantic: typer itself reads values with it, and it is loaded where a flag is read


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for name in [name for name in os.environ if name.startswith("CLINOMETER_")]:
        monkeypatch.delenv(name)

    def run(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def table(tmp_path):
    rows = "".join(f"{i % 2},{i % 3 % 2},{'ab'[i % 2]},{'cd'[i % 3 == 0]}\n" for i in range(60))
    (tmp_path / "t.csv").write_text("label,prediction,race,sex\n" + rows, encoding="utf-8")
    return "t.csv"


# What it costs


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["audit", "--help"], ["report", "--help"]], ids=" ".join
)
def test_help_loads_nothing_heavy(arguments, tmp_path):
    code = f"import sys, clinometer.cli as c; c.main({arguments!r}); print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert ran.stdout.splitlines()[-1] == "[]"


def test_negative_control_of_what_is_loaded(tmp_path):
    code = f"import sys, clinometer.evidence; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert "pyarrow" in ran.stdout


# Examples


def test_every_verb_has_examples_in_its_help(call):
    assert list(VERBS) and set(EXAMPLES) == set(VERBS)
    for verb in VERBS:
        code, out, _ = call(verb, "--help")
        shown = " ".join(out.split())
        assert code == 0 and "Examples:" in shown and "Exit codes:" in shown
        for line in EXAMPLES[verb]:
            assert " ".join(line.split()) in shown


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_every_example_parses(line):
    """Flags, values and arguments are what the verb takes: the parser reads them all, and nothing is run."""
    words = shlex.split(line.split(" > ")[0])
    words = words[words.index("clinometer") :]  # torchrun may stand before it
    assert words[1] in VERBS
    context = VERBS[words[1]].make_context(words[1], words[2:])
    assert context.args == []
    assert bool(context.params) == bool(VERBS[words[1]].params)


def test_negative_control_of_the_examples():
    error = typer.BadParameter.__mro__[2]
    with pytest.raises(error, match="--gruop"):
        VERBS["audit"].make_context("audit", ["t.csv", "--gruop", "race"])
    with pytest.raises(error, match=r"labell|unexpected"):
        VERBS["audit"].make_context("audit", ["t.csv", "labell"])


def test_help_names_no_variable_at_each_flag_and_says_the_rule_once(call):
    assert "CLINOMETER_AUDIT" not in call("audit", "--help")[1]
    assert "CLINOMETER_VERB_FLAG" in " ".join(call("--help")[1].split())


# A slip of the finger


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["audti", "x"], "No such command 'audti'. Did you mean 'audit'? See clinometer --help."),
        (["mitgate"], "Did you mean 'mitigate'?"),
        (
            ["audit", "x", "--gruop", "a"],
            "--gruop: did you mean --group or --min-group? See clinometer audit --help.",
        ),
        (["--versoin"], "did you mean --version? See clinometer --help."),
        (["audit"], "Missing argument 'FILE'. See clinometer audit --help."),
        (["xyzzy"], "No such command 'xyzzy'. See clinometer --help."),
        (["audit", "x", "--xyzzy"], "No such option: --xyzzy. See clinometer audit --help."),
        (
            ["audit", "x", "--min-group", "few"],
            "Invalid value for '--min-group': ",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_misspelt_word_gets_its_neighbour(call, arguments, says):
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1
    assert says in err


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ("toleranse = 1\n", "no key 'toleranse': did you mean 'tolerance'?"),
        ("[groups.race]\nreferense = 'a'\n", "no key 'groups.race.referense': did you mean 'reference'?"),
    ],
    ids=["key", "inner key"],
)
def test_a_misspelt_key_of_a_policy_gets_its_neighbour(call, table, tmp_path, policy, says):
    (tmp_path / "policy.toml").write_text(policy)
    code, _, err = call("audit", table, "--prediction", "prediction", "--policy", "policy.toml")
    assert code == 2 and says in err


# Settings


def attributes(out):
    import json

    return json.loads(out)["plan"]["attributes"]


def test_the_command_line_goes_before_the_environment_before_the_file(call, table, tmp_path, monkeypatch):
    (tmp_path / "run.toml").write_text(
        '[audit]\ngroup = ["race", "sex"]\nprediction = "prediction"\nmin-group = 7\n'
    )
    arguments = ["--config", "run.toml", "audit", table, "--json"]
    code, out, _ = call(*arguments)
    assert code == 0 and attributes(out) == ["race", "sex"] and '"min_group": 7' in out
    monkeypatch.setenv("CLINOMETER_AUDIT_GROUP", "sex")
    assert attributes(call(*arguments)[1]) == ["sex"]
    assert attributes(call(*arguments, "--group", "race")[1]) == ["race"]
    monkeypatch.setenv("CLINOMETER_CONFIG", "run.toml")
    assert '"min_group": 7' in call("audit", table, "--json")[1]


def test_a_required_flag_may_come_from_the_file(call, table, tmp_path):
    (tmp_path / "run.toml").write_text(
        '[count]\nout = "counts.parquet"\nprediction = "prediction"\ngroup = ["race"]\n'
    )
    code, _, _ = call("--config", "run.toml", "count", table)
    assert code == 0 and Path("counts.parquet").is_file()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[audti]\n", "there is no verb 'audti': did you mean 'audit'?"),
        (b"[audit]\ngruop = 'a'\n", "audit has no flag 'gruop': did you mean 'group'?"),
        (b"[audit]\nhelp = true\n", "audit has no flag 'help'"),
        (b"audit = 1\n", "a table [audit] of flags is expected"),
        (b"[audit.group]\na = 1\n", "audit.group is a table"),
        (b"[audit\n", "is not TOML"),
        (b"\xff", "is not UTF-8"),
        (None, "cannot be read"),
    ],
    ids=["verb", "flag", "help", "value", "table", "toml", "encoding", "absent"],
)
def test_settings_that_say_nothing_known_are_refused(call, table, tmp_path, content, says):
    if content is not None:
        (tmp_path / "run.toml").write_bytes(content)
    code, out, err = call("--config", "run.toml", "audit", table)
    assert (code, out) == (2, "")
    assert says in err


@pytest.mark.parametrize("name", ["CLINOMETER_VERSION", "CLINOMETER_DEBUG"])
def test_a_variable_that_others_use_for_themselves_stops_nothing(call, table, monkeypatch, name):
    monkeypatch.setenv(name, "0.1.0")
    code, out, _ = call("audit", table, "--prediction", "prediction", "--group", "race", "--quiet")
    assert code == 0 and "nothing is gated" in out


# Completion and interruption


@pytest.mark.parametrize(
    ("typed", "offers"),
    [
        ("clinometer aud", {"audit"}),
        ("clinometer audit --gro", {"--group"}),
        ("clinometer re", {"review", "report"}),
    ],
    ids=["verb", "flag", "two verbs"],
)
def test_the_shell_completes_verbs_and_flags(tmp_path, typed, offers):
    environment = {
        **os.environ,
        "_CLINOMETER_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
    }
    command = [sys.executable, "-c", "import sys; from clinometer.cli import main; sys.exit(main([]))"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert ran.returncode == 0, ran.stderr
    assert set(ran.stdout.split()) == offers


def test_completion_can_be_shown_and_installed(call):
    shown = call("--help")[1]
    assert "--install-completion" in shown and "--show-completion" in shown


def test_an_interruption_is_130_and_one_may_begin_again(tmp_path):
    """Ctrl-C while a command reads: no traceback, exit code 130, nothing half written."""
    if os.name == "nt":
        pytest.skip("Windows has no SIGINT for one process")
    code = (
        "import sys, clinometer.cli as c, clinometer.machine as m\n"
        "def wait(**_):\n    print('waiting', flush=True)\n    import time\n    time.sleep(60)\n"
        "m.machine = wait\nsys.exit(c.main(['doctor']))\n"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert running.stdout.readline() == "waiting\n"
    time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Traceback" not in err


# The page of commands


def test_every_verb_is_on_the_page_of_commands():
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z]+)` \|", page, flags=re.MULTILINE)
    assert rows == list(VERBS)
    for code in (0, 1, 2, 3, 4, 5, 130):
        assert re.search(rf"^\| {code} \|", page, flags=re.MULTILINE)


@pytest.mark.parametrize(
    "line",
    re.findall(
        r"^clinometer (?!\[).*$",
        (ROOT / "docs" / "commands.md").read_text(encoding="utf-8"),
        flags=re.MULTILINE,
    )
    if (ROOT / "docs" / "commands.md").is_file()
    else [],
)
def test_every_line_of_the_page_parses(line):
    words = shlex.split(line.split(" #")[0].split(" > ")[0])[1:]
    while words[0].startswith("--"):
        words = words[1:] if words[0] == "--version" or words[0].endswith("completion") else words[2:]
        if not words:
            return
    assert VERBS[words[0]].make_context(words[0], words[1:]).args == []
