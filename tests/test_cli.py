"""The commands: what they print, what they write, and exit codes that mean one thing each."""

import contextlib
import json
import os
import subprocess
import sys
import types

import pyarrow as pa
import pytest

import clinometer.cli as cli
import clinometer.terminal as terminal
from clinometer.errors import CaptureError, ClinometerError, OutputError
from clinometer.records import Audit, Finding, Ledger, Review, Share
from clinometer.shard_runs import Work

ENVIRONMENT = {**os.environ, "COLUMNS": "200"}


def predictions(path, *, black=0.45, white=0.5, n=2000, header="id,approved,predicted,race"):
    """A file in which exactly these shares are predicted positive; every second row is labelled positive."""
    lines = [header]
    for race, share in (("black", black), ("white", white)):
        lines += [f"{race}{i},{i % 2},{int((i * 7919) % n < share * n)},{race}" for i in range(n)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def table(tmp_path):
    return predictions(tmp_path / "predictions.csv")


@pytest.fixture
def call(capsys, monkeypatch):
    """Run the command in this process: (exit code, stdout, stderr)."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("CLINOMETER_DEBUG", raising=False)

    def run(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


def roles(table):
    return ["audit", table, "--label", "approved", "--prediction", "predicted", "--group", "race"]


def replace_module(monkeypatch, name, **members):
    module = types.ModuleType(f"clinometer.{name}")
    module.__dict__.update(members)
    monkeypatch.setitem(sys.modules, f"clinometer.{name}", module)


# audit


@pytest.mark.parametrize(
    ("tolerance", "code", "symbol"),
    [("0.2", 0, "✓ within"), ("0.01", 1, "▲ exceeds"), ("0.05", 4, "? inconclusive")],
)
def test_the_verdict_is_the_exit_code(call, table, tolerance, code, symbol):
    got, out, err = call(*roles(table), "--tolerance", f"selection_rate={tolerance}")
    assert got == code
    assert symbol in out.splitlines()[-1]
    assert err == ""


def test_without_a_tolerance_nothing_is_gated(call, table):
    code, out, _ = call(*roles(table))
    assert code == 0
    assert out.splitlines()[-1] == "· no tolerance declared: nothing is gated"


def test_a_group_too_small_is_not_assessed(call, table):
    code, out, _ = call(*roles(table), "--tolerance", "selection_rate=0.2", "--min-group", "3000")
    assert code == 4
    assert "– not assessed" in out.splitlines()[-1]


def test_rates_are_printed_with_counts_and_intervals(call, table):
    _, out, _ = call(*roles(table), "--tolerance", "selection_rate=0.2")
    row = next(line for line in out.splitlines() if {"selection_rate", "black"} <= set(line.split()))
    assert "900 of 2000" in row
    assert "0.450" in row and "[0.428, 0.472]" in row
    assert "-0.050" in out, "black minus white"


def test_quiet_prints_the_verdict_only(call, table):
    code, out, _ = call(*roles(table), "--quiet", "--tolerance", "selection_rate=0.01")
    assert (code, out) == (1, "▲ exceeds tolerance: the policy is not met\n")


def test_json_is_the_whole_audit_and_out_is_the_same(call, table, tmp_path):
    target = tmp_path / "audit.json"
    code, out, _ = call(
        *roles(table), "--json", "--out", target, "--tolerance", "selection_rate=0.2", "--set-by", "us"
    )
    assert code == 0
    assert target.read_text(encoding="utf-8") == out
    made = json.loads(out)
    assert made["verdict"] == "within tolerance"
    assert made["plan"]["policy"]["set_by"] == "us"
    cells = {(c["group"], c["metric"]): c for c in made["cells"]}
    assert (cells["black", "selection_rate"]["k"], cells["black", "selection_rate"]["n"]) == (900, 2000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.json", "predictions.csv"]


def test_a_policy_names_groups_and_flags_go_over_it(call, table, tmp_path):
    policy = tmp_path / "policy.toml"
    policy.write_text(
        'set_by = "the board"\n[tolerance]\nselection_rate = 0.2\n[groups.race]\nreference = "white"\n'
    )
    flags = ["audit", table, "--prediction", "predicted", "--label", "approved", "--policy", policy, "--json"]
    code, out, _ = call(*flags)
    assert code == 0
    assert json.loads(out)["plan"]["policy"]["set_by"] == "the board"
    code, out, _ = call(*flags, "--tolerance", "selection_rate=0.01", "--confidence", "0.9")
    resolved = json.loads(out)["plan"]["policy"]
    assert code == 1
    assert resolved["tolerance"] == {"selection_rate": 0.01}
    assert resolved["confidence"] == 0.9
    assert resolved["groups"]["race"]["reference"] == "white"
    assert resolved["set_by"] == "whoever typed the command, over the board"


def test_a_flag_adds_a_group_and_drops_none(call, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("p,race,sex\n" + "1,a,f\n0,b,m\n1,b,f\n0,a,m\n" * 20)
    policy = tmp_path / "policy.toml"
    policy.write_text("[groups.race]\n")
    _, out, _ = call("audit", table, "--prediction", "p", "--policy", policy, "--group", "sex", "--json")
    assert json.loads(out)["plan"]["attributes"] == ["race", "sex"]


def test_measures_are_audited_like_a_score(call, tmp_path):
    table = tmp_path / "t.parquet"
    import pyarrow.parquet as pa_parquet

    columns = {"lean": [0.1, 0.2, 0.3, 0.9, 0.8, 0.7] * 10, "race": (["a"] * 3 + ["b"] * 3) * 10}
    pa_parquet.write_table(pa.table(columns), table)
    code, out, _ = call("audit", table, "--measure", "lean", "--group", "race", "--tolerance", "lean=0.1")
    assert code == 1
    assert "+0.600" in out or "-0.600" in out


def test_names_from_a_file_neither_style_nor_steer_the_terminal(call, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("p,g\n" + "1,[red]x[/red]\n0,\x1b[2Jy\n" * 20, encoding="utf-8")
    code, out, _ = call("audit", table, "--prediction", "p", "--group", "g")
    assert code == 0
    assert "[red]x[/red]" in out
    assert "\x1b" not in out and "\\x1b[2Jy" in out


# Refusals


@pytest.mark.parametrize(
    ("flags", "code", "says"),
    [
        (["--group", "rase"], 2, "no column 'rase': did you mean 'race'?"),
        (["--tolerance", "selektion_rate=0.1"], 2, "did you mean 'selection_rate'?"),
        (["--tolerance", "selection_rate"], 2, "METRIC=VALUE is expected"),
        (["--tolerance", "selection_rate=x"], 2, "METRIC=VALUE is expected"),
        (["--tolerance", "selection_rate=0.1", "--tolerance", "selection_rate=0.2"], 2, "given twice"),
        (["--tolerance", "selection_rate=nan"], 2, "0 or more is expected"),
        (["--confidence", "95"], 2, "less than 1"),
        (["--confidence", "high"], 2, "--confidence"),
        (["--tollerance", "selection_rate=0.1"], 2, "--tolerance"),
        (["--policy", "absent.toml"], 2, "absent.toml"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_wrong_flag_is_refused_in_one_paragraph(call, table, flags, code, says):
    got, out, err = call(*roles(table), *flags)
    assert got == code
    assert out == ""
    assert err.startswith("error: ") and err.count("\n") == 1
    assert says in err


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"id,approved,predicted,race\n", "no rows"),
        ("id,approved,predicted,race\n1,1,1,métis\n".encode("latin-1"), "not UTF-8"),
        (b"id,approved,predicted,race\n1,1,1,a\n2,0,0,b\n3,2,1,a\n", "3 values"),
        (b"id,approved,predicted,race\n1,1,1,a\n1,0,0,b\n", "twice"),
    ],
    ids=["empty", "header", "encoding", "third value", "ids"],
)
def test_a_file_that_cannot_be_used_is_refused_and_nothing_is_written(call, tmp_path, content, says):
    table = tmp_path / "predictions.csv"
    table.write_bytes(content)
    code, out, err = call(*roles(table), "--out", tmp_path / "audit.json")
    assert (code, out) == (3, "")
    assert err.startswith("error: ") and err.count("\n") == 1
    assert says in err
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.csv"]


def test_a_misspelt_key_and_a_group_that_is_not_there_are_refused(call, table, tmp_path):
    policy = tmp_path / "policy.toml"
    policy.write_text("tolerence = {}\n")
    code, _, err = call(*roles(table), "--policy", policy)
    assert code == 2 and "did you mean 'tolerance'?" in err
    policy.write_text('[groups.race]\nreference = "wite"\n')
    code, _, err = call(*roles(table), "--policy", policy)
    assert code == 2 and "did you mean 'white'?" in err


def test_out_neither_overwrites_the_input_nor_hides_a_failure(call, table, tmp_path):
    before = table.read_bytes()
    code, _, err = call(*roles(table), "--out", table)
    assert code == 2 and "would overwrite" in err
    assert table.read_bytes() == before
    code, _, err = call(*roles(table), "--out", tmp_path / "absent" / "audit.json")
    assert code == 3 and "cannot be written" in err


def test_a_misspelt_command_is_refused(call):
    code, _, err = call("adit")
    assert code == 2
    assert "adit" in err


# Exit codes


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (ClinometerError("odd"), 5, "error: odd"),
        (OutputError("full"), 3, "error: full"),
        (CaptureError("unseen"), 3, "error: unseen"),
        (RuntimeError("boom"), 5, "RuntimeError: boom"),
        (ImportError("No module named 'x'"), 5, "No module named 'x'"),
        (KeyError("k"), 5, "KeyError"),
        (AssertionError(), 5, "AssertionError"),
        (MemoryError(), 5, "MemoryError"),
        (OSError(5, "Input/output error"), 5, "Input/output"),
        (BrokenPipeError(32, "Broken pipe"), 5, ""),
        (KeyboardInterrupt(), 130, ""),
        (SystemExit(1), 5, ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_no_error_is_taken_for_a_verdict(call, monkeypatch, error, code, says):
    def run(*_, **__):
        raise error

    replace_module(monkeypatch, "demo", run=run)
    got, _, err = call("demo")
    assert got == code
    assert says in err
    assert "Traceback" not in err


def test_an_import_that_fails_is_an_internal_error(call, table, monkeypatch):
    monkeypatch.setitem(sys.modules, "clinometer.bias.audit", None)
    code, _, err = call(*roles(table))
    assert code == 5
    assert err.startswith("error: ") and err.count("\n") == 1


@pytest.mark.parametrize("how", ["flag", "environment"])
def test_debug_shows_the_traceback(call, monkeypatch, tmp_path, how):
    flags = ["--debug"] if how == "flag" else []
    if how == "environment":
        monkeypatch.setenv("CLINOMETER_DEBUG", "1")
    code, _, err = call(*flags, "audit", tmp_path / "absent.csv", "--group", "g")
    assert code == 3
    assert "Traceback" in err and err.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["audit", "--help"], ["demo", "--help"], ["review", "--help"]]
)
def test_help_lists_the_exit_codes(call, arguments):
    code, out, _ = call(*arguments)
    assert code == 0
    for line in ("0  the policy is met", "1  the policy is not met", "4  inconclusive", "130  interrupted"):
        assert line in out


# demo and review


def reviewed(verdict="exceeds tolerance"):
    finding = Finding(
        attribute="race",
        metric="selection_rate",
        group="black",
        reference="white",
        n_group=79,
        n_reference=672,
        estimate=-0.25,
        low=-0.35,
        high=-0.15,
        upper_bound=0.33,
        tolerance=0.1,
        p=0.001,
        p_adjusted=0.002,
        minimum_detectable_effect=0.1,
        n_needed=None,
        status="ok",
        verdict=verdict,
    )
    share = Share(
        unit="chist", estimate=-0.9, low=-1, high=-0.8, simultaneous_low=-1.2, simultaneous_high=-0.6
    )
    entry = Ledger(
        attribute="race",
        group="black",
        reference="white",
        n_group=79,
        n_reference=672,
        score="logit(approved) - logit(denied)",
        unit="logit",
        gap=-2.1,
        gap_low=-2.5,
        gap_high=-1.7,
        shares=(share,),
        residual=0.002,
        mean_absolute_shift=2.0,
        confidence=0.95,
        replicates=2000,
        seed=0,
        baseline="the reference row",
        n_not_converged=0,
    )
    audit = Audit(title="t", n=751, plan={}, cells=(), findings=(finding,), verdicts=(), verdict=verdict)
    return Review(
        title="t",
        schema_version="1",
        created="2026-01-01T00:00:00+00:00",
        audit=audit,
        measures=None,
        ledgers=(entry,),
        views=(),
        attribution={"n_converged": 751, "n": 751, "largest_completeness_error": 0.004},
        certificate={},
        model={},
        data={},
    )


def saver(calls, verdict="exceeds tolerance"):
    def run(*arguments, **named):
        out = named.get("out") or arguments[0]
        for folder in ("figures", "model"):
            (out / folder).mkdir(parents=True)
        for name in ("report.html", "review.json", "evidence.parquet", "policy.toml"):
            (out / name).write_text("x")
        calls.append((arguments, named))
        return reviewed(verdict)

    return run


def test_the_demo_says_what_review_would_return_and_returns_0(call, monkeypatch, tmp_path):
    calls = []
    replace_module(monkeypatch, "demo", run=saver(calls))
    target = tmp_path / "with space"
    code, out, err = call("demo", "--out", target, "--seed", 3, "--device", "cpu", "--force")
    assert (code, err) == (0, "")
    assert calls == [((target,), {"seed": 3, "device": "cpu", "quiet": False, "force": True})]
    assert len(out.splitlines()) <= 15
    for piece in (
        "▲ exceeds tolerance",
        "-0.250 [-0.350, -0.150], n = 79 and 672",
        "-2.10 logit",
        "chist -0.90",
        "751 of 751",
        "report.html",
        "evidence.parquet, figures/, model/, policy.toml, review.json in",
        f"clinometer review '{target}/model'",
        "would have returned exit code 1",
    ):
        assert piece in out
    code, out, _ = call("demo", "--out", tmp_path / "b", "--quiet")
    assert code == 0
    assert len(out.splitlines()) <= 3


@pytest.mark.parametrize(
    ("verdict", "code"),
    [("within tolerance", 0), ("exceeds tolerance", 1), ("inconclusive", 4), ("not assessed", 4), (None, 0)],
)
def test_a_review_returns_its_verdict(call, monkeypatch, tmp_path, verdict, code):
    calls = []
    replace_module(monkeypatch, "review", to_json=lambda made: f'"{made.title}"\n')
    replace_module(monkeypatch, "reviewed_files", review_files=saver(calls, verdict))
    arguments = [
        "review",
        tmp_path / "m",
        tmp_path / "d.csv",
        "--out",
        tmp_path / "out",
        "--group",
        "a",
        "--group",
        "b",
    ]
    got, out, _ = call(*arguments)
    assert got == code
    assert terminal.MEANING[verdict] in out
    assert calls[0] == (
        (tmp_path / "m", tmp_path / "d.csv"),
        {
            "policy": None,
            "label": None,
            "groups": ("a", "b"),
            "out": tmp_path / "out",
            "seed": 0,
            "device": "cpu",
            "quiet": False,
            "force": False,
            "faithful_rows": 0,
            "why": (),
            "mitigate": None,
            "law": None,
            "explorer": False,
            "work": Work(),
        },
    )
    got, out, _ = call(*arguments[:4], tmp_path / "other", "--json")
    assert (got, out) == (code, '"t"\n')


# As a process


def test_the_module_runs_and_its_process_ends_with_the_code(table):
    command = [
        sys.executable,
        "-m",
        "clinometer.cli",
        *map(str, roles(table)),
        "--tolerance",
        "selection_rate=0.01",
    ]
    ran = subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", env=ENVIRONMENT, check=False
    )
    assert ran.returncode == 1, ran.stderr
    assert "▲ exceeds tolerance" in ran.stdout


def test_a_terminal_without_the_symbols_still_gets_the_code(table):
    command = [
        sys.executable,
        "-m",
        "clinometer.cli",
        *map(str, roles(table)),
        "--tolerance",
        "selection_rate=0.2",
    ]
    environment = {**ENVIRONMENT, "PYTHONIOENCODING": "ascii"}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "within tolerance: the policy is met" in ran.stdout
    assert "?" not in ran.stdout.splitlines()[-1], "the symbol of another verdict"


def test_json_survives_a_pipe_without_unicode(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("p,g\n" + "1,métis\n0,b\n" * 20, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "clinometer.cli",
        "audit",
        str(path),
        "--prediction",
        "p",
        "--group",
        "g",
        "--json",
    ]
    environment = {**ENVIRONMENT, "PYTHONIOENCODING": "ascii"}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "métis" in {cell["group"] for cell in json.loads(ran.stdout)["cells"]}


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
@pytest.mark.parametrize(("tolerance", "code"), [("0.2", 0), ("0.01", 1)])
def test_a_reader_that_leaves_changes_no_exit_code(table, tolerance, code):
    command = [sys.executable, "-m", "clinometer.cli", *map(str, roles(table)), "--tolerance"]
    source, sink = os.pipe()
    os.close(source)
    with contextlib.closing(os.fdopen(sink, "wb")) as stdout:
        ran = subprocess.run(
            [*command, f"selection_rate={tolerance}"],
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            check=False,
        )
    assert ran.returncode == code, ran.stderr


def test_audit_loads_no_torch(table):
    code = (
        "import sys; from clinometer.cli import main; code = main(sys.argv[1:]);"
        "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules; sys.exit(code)"
    )
    command = [
        sys.executable,
        "-c",
        code,
        *map(str, roles(table)),
        "--quiet",
        "--tolerance",
        "selection_rate=0.01",
    ]
    ran = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert ran.returncode == 1, ran.stderr


def test_a_broken_installation_has_the_code_of_an_internal_error(tmp_path):
    (tmp_path / "typer.py").write_text("raise ImportError('typer is broken')\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    ran = subprocess.run(
        [sys.executable, "-m", "clinometer.cli", "--version"],
        capture_output=True,
        text=True,
        env={**ENVIRONMENT, "PYTHONPATH": path},
        cwd=tmp_path,
        check=False,
    )
    assert ran.returncode == 5
    assert "typer is broken" in ran.stderr and "Traceback" not in ran.stderr
