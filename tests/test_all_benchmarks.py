"""The one command for all benchmarks: each script has its line, and each line only flags that the script knows."""

import importlib.util
import re
import sys
from typing import Any

import pytest
from project_files import ROOT

FOLDER = ROOT / "benchmarks"


def command() -> Any:
    found = importlib.util.spec_from_file_location("all_benchmarks", FOLDER / "__main__.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules["all_benchmarks"] = module
    found.loader.exec_module(module)
    return module


COMMAND = command()
# What is no benchmark to be run with others: it changes files, and needs what nothing else does.
ALONE = {"__main__", "mutation"}


def test_every_script_has_its_line() -> None:
    assert set(COMMAND.LINES) == {path.stem for path in FOLDER.glob("*.py")} - ALONE


@pytest.mark.parametrize("name", list(COMMAND.LINES))
def test_a_line_has_only_flags_that_its_script_knows(name: str) -> None:
    source, line = (FOLDER / f"{name}.py").read_text("utf-8"), COMMAND.LINES[name]
    flags = re.findall(r"--[a-z-]+", f"{line.arguments} {line.quick}")
    assert all(f'"{flag}"' in source for flag in flags), flags
    assert line.quick or line.arguments == "", "a short version is shorter"


def test_what_fails_is_reported_and_the_others_go_on(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "good.py").write_text("print('| a | b |')\n")
    (tmp_path / "bad.py").write_text("raise SystemExit('no such model')\n")
    lines = {n: COMMAND.Line(arguments="", quick="", minutes=1) for n in ("bad", "good")}
    far = COMMAND.Line(arguments="", quick="", minutes=1, needs="data/nowhere")
    monkeypatch.setattr(COMMAND, "HERE", tmp_path)
    monkeypatch.setattr(COMMAND, "LINES", {**lines, "far": far})
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--out", str(tmp_path / "results.md")])
    assert COMMAND.main() == 1
    written = (tmp_path / "results.md").read_text("utf-8")
    assert "Failed with 1:" in written and "no such model" in written
    assert "| a | b |" in written and "Left out: ../shared/data/nowhere is not there." in written
    assert re.search(r"^# Benchmarks, \d{4}-\d\d-\d\d\n\n\d+ processors .*torch ", written)
    assert "OMP_NUM_THREADS=1 python benchmarks/good.py" in written


def test_the_list_runs_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--list"])
    assert COMMAND.main() == 0
    assert len(capsys.readouterr().out.splitlines()) == len(COMMAND.LINES)
