"""--figures: files beside the tables, clean JSON, early refusals, and what could not be drawn."""

import json
import subprocess
import sys

import numpy as np
import pytest

import clinometer.cli as cli
from reference.pictured import people

AUDIT = ["audit", "p.csv", "--label", "approved", "--prediction", "predicted", "--group", "sex"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    frame = people(200, 0)
    frame.assign(who=np.arange(200) // 2).to_csv(tmp_path / "p.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_json_stays_json_and_tables_stay_tables(place, capsys):
    assert cli.main(AUDIT) == 0
    plain = capsys.readouterr().out
    assert cli.main([*AUDIT, "--show", "accuracy", "--figures", "a", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert cli.main([*AUDIT, "--json"]) == 0
    assert printed == json.loads(capsys.readouterr().out)
    names = {path.name for path in (place / "a").iterdir()}
    assert names == {f"{kind}-accuracy.{end}" for kind in ("rates", "gaps") for end in ("png", "svg")} | {
        "figures.md"
    }
    assert "figures" not in plain


def test_quiet_prints_the_verdict_alone(place, capsys):
    assert cli.main([*AUDIT, "--show", "accuracy", "--figures", "b", "--quiet"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 and (place / "b" / "figures.md").is_file()


def test_what_cannot_be_drawn_is_said_in_the_folder(place, capsys):
    arguments = [*AUDIT, "--score", "probability", "--cluster", "who", "--show", "accuracy", "--figures", "c"]
    assert cli.main(arguments) == 0, capsys.readouterr().err
    page = (place / "c" / "figures.md").read_text(encoding="utf-8")
    assert "## Not drawn" in page and "rows come in clusters" in page and "calibration by sex" in page


@pytest.mark.parametrize("command", ["audit", "slices", "compare", "monitor"])
def test_a_folder_that_holds_something_is_refused_at_once(command, place, capsys):
    (place / "full").mkdir()
    (place / "full" / "kept.txt").write_text("kept", encoding="utf-8")
    others = {
        "slices": ["slices", "p.csv"],
        "compare": ["compare", "p.csv", "p.csv"],
        "monitor": ["monitor", "."],
    }
    for folder, said in (("full", "is not empty"), ("p.csv", "is a file")):
        assert cli.main([*others.get(command, AUDIT), "--figures", folder]) == 3
        heard = capsys.readouterr()
        assert said in heard.err and not heard.out
    assert [path.name for path in (place / "full").iterdir()] == ["kept.txt"]


def test_a_preset_has_no_figure(place, capsys):
    assert cli.main([*AUDIT, "--preset", "four-fifths", "--figures", "d"]) == 2
    assert "the tables of --preset have no figure" in capsys.readouterr().err
    assert not (place / "d").exists()


def test_no_folder_is_left_where_the_command_fails(place, capsys):
    arguments = ["slices", "p.csv", "--label", "approved", "--prediction", "predicted", "--column", "sex"]
    assert cli.main([*arguments, "--min-count", "190", "--permutations", "99", "--figures", "e"]) == 3
    assert "no slice holds 190" in capsys.readouterr().err
    assert not (place / "e").exists()


def test_without_the_flag_no_matplotlib_is_loaded(place):
    code = f"import sys, clinometer.cli as c; c.main({AUDIT!r}); sys.exit('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
