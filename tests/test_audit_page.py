"""The page on audits: its table of metrics is the code's, its examples and commands run in order."""

import re
import shlex
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from project_files import ROOT

import clinometer as cm
import clinometer.cli as cli
from clinometer.bias.metrics import METRICS

PAGE = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_every_metric_is_a_row_that_says_what_the_code_says():
    lines = [line for line in PAGE.splitlines() if line.startswith("| `") and line.count("|") == 6]
    found = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]
    assert found == [
        [m.name, m.better, ", ".join(m.needs), m.words.replace("|", "/"), m.source] for m in METRICS
    ]


def people(n, seed, shift=0.0):
    generator = np.random.default_rng(seed)
    race = generator.choice(["Asian", "Black", "White"], n)
    score = np.round(generator.beta(2, 2, n), 3)
    frame = pd.DataFrame(
        {
            "id": [f"r{i}" for i in range(n)],
            "race": race,
            "sex": generator.choice(["F", "M"], n),
            "probability": score,
            "approved": (generator.random(n) < score).astype(int),
            "predicted": (score - shift * (race == "Black") > 0.5).astype(int),
        }
    )
    return frame


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the files that the page names, to stand in."""
    frame = people(1200, 0, shift=0.1)
    frame.to_csv(tmp_path / "predictions.csv", index=False)
    frame.to_csv(tmp_path / "old.csv", index=False)
    frame.assign(
        predicted=np.where(np.arange(1200) % 60 == 0, 1 - frame["predicted"], frame["predicted"])
    ).to_csv(tmp_path / "new.csv", index=False)
    frame.rename(columns={"predicted": "selected"}).to_csv(tmp_path / "applicants.csv", index=False)
    policy = "[tolerance]\nselection_rate = 0.05\n\n[groups.race]\n\n[groups.sex]\n"
    (tmp_path / "policy.toml").write_text('name = "page"\nset_by = "the test"\n' + policy, encoding="utf-8")
    for folder in ("months", "dated"):
        (tmp_path / folder).mkdir()
    for i in range(3):
        people(300, i).to_parquet(tmp_path / "months" / f"part-{i}.parquet")
    for i in range(9):
        day = date(2026, 1, 5) + timedelta(weeks=i)
        people(600, 100 + i).to_csv(tmp_path / "dated" / f"{day}.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_examples_run_in_order(place):
    known = {}
    for block in blocks("python"):
        exec(block, known)
    assert known["audit"].verdict == "exceeds tolerance"
    assert known["counted"].n == 900
    assert "Impact Ratio" in known["city"].tables["sex"].columns
    assert known["policy"].tolerance == {"true_positive_rate": 0.05, "false_positive_rate": 0.05}
    assert known["found"].n_searched > 5
    assert known["change"].n == 1200 and known["change"].decision is not None
    assert known["charts"].outcome == "no alarm"


def test_the_commands_run(place, capsys):
    commands = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(commands) == 8
    for line in commands:
        program, *arguments = shlex.split(line)
        assert program == "clinometer"
        arguments = [str(p) for a in arguments for p in (sorted(place.glob(a)) if "*" in a else [a])]
        assert cli.main(arguments) == 0, capsys.readouterr().err
        assert capsys.readouterr().out
    assert cm.read_evidence(place / "counts.parquet").n == 900
