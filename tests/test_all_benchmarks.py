"""The one command for all benchmarks: each script has its line, and each line only flags that the script knows."""

import importlib.util
import re
import sys
from itertools import pairwise
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


def _measuring(name: str) -> Any:
    found = importlib.util.spec_from_file_location(f"one_{name}", FOLDER / "measuring" / f"{name}.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[f"one_{name}"] = module
    found.loader.exec_module(module)
    return module


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_the_slope_of_a_power_is_the_power(power: float) -> None:
    sizes = [10, 100, 1_000, 10_000]
    found = _measuring("powers").growth(sizes, [3.0 * size**power for size in sizes])
    assert [found.slope, found.last, found.low, found.high] == pytest.approx([power] * 4, abs=1e-9)
    assert found.found == pytest.approx(1_000**power) and (found.linear, found.quadratic) == (1_000, 10**6)


def test_what_is_fixed_flattens_the_whole_slope_more_than_the_last_step() -> None:
    powers = _measuring("powers")
    sizes = [10, 100, 1_000, 10_000]
    costs = [500.0 + size for size in sizes]
    found = powers.growth(sizes, costs)
    assert found.low < found.slope < found.last < 1
    lasts = [powers.growth([a, b], [500.0 + a, 500.0 + b]) for a, b in pairwise(sizes)]
    assert [one.slope for one in lasts] == pytest.approx(sorted(one.last for one in lasts))
    assert lasts[0].low is None


@pytest.mark.parametrize(
    ("sizes", "costs", "said"),
    [([5], [1.0], "two or more"), ([5, 5], [1.0, 2.0], "ascending"), ([5, 6], [0.0, 2.0], "above 0")],
)
def test_what_has_no_slope_is_refused(sizes: list[int], costs: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        _measuring("powers").growth(sizes, costs)
