"""The benchmark of start-up measures fresh processes and says whether the promise is kept."""

import importlib.util
import sys

import pytest
from project_files import ROOT


@pytest.fixture(scope="module")
def start_up():
    spec = importlib.util.spec_from_file_location("start_up", ROOT / "benchmarks" / "start_up.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_way_runs(start_up, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["start_up.py", "--rounds", "1"])
    start_up.main()
    out = capsys.readouterr().out
    for way in start_up.WAYS:
        assert f"| {way} |" in out
    assert "1 rounds; the promise of at most 2 is" in out


def test_a_ratio_is_that_within_a_round(start_up):
    found = {"typer and rich": [1.0, 2.0, 4.0], "clinometer --help": [1.5, 4.2, 8.0]}
    assert "| clinometer --help | 4200 ms | 2.00 [1.50, 2.10] |" in start_up.table(found)
    assert start_up.kept(found)
    assert not start_up.kept({**found, "clinometer --help": [2.5, 4.2, 8.0]})


def test_what_fails_stops_the_measuring(start_up):
    with pytest.raises(Exception, match="returned non-zero"):
        start_up.seconds("raise SystemExit(3)")
    assert start_up.seconds("sum(range(10**6))") > 0
