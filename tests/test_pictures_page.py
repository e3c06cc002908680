"""The page on pictures: its table is the code's, its examples and commands run in order."""

import re
import shlex
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from project_files import ROOT

import clinometer.cli as cli
from clinometer.interpret import folders
from clinometer.interpret.preprocessing import TextPreprocessor
from clinometer.visualizers.figures import FIGURES
from reference.pictured import people
from reference.sentences import LABELS, SPARE, own_classifier, sentences

PAGE = (ROOT / "docs" / "pictures.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_every_kind_is_a_row_that_says_what_the_code_says():
    rows = [line.strip("|").split(" | ") for line in PAGE.splitlines() if line.startswith("| `")]
    found = [(row[0].strip(" `"), row[2].strip(" |")) for row in rows]
    assert found == [(name, kind.caption) for name, kind in FIGURES.items()]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the files and the model that the page names, to stand in."""
    frame = people(900, 0)
    frame.to_csv(tmp_path / "predictions.csv", index=False)
    frame.to_csv(tmp_path / "old.csv", index=False)
    flipped = np.where(np.arange(900) % 60 == 0, 1 - frame["predicted"], frame["predicted"])
    frame.assign(predicted=flipped).to_csv(tmp_path / "new.csv", index=False)
    (tmp_path / "policy.toml").write_text(
        'name = "page"\nset_by = "the test"\nintersections = [["race", "sex"]]\n'
        "[tolerance]\nselection_rate = 0.1\n[groups.race]\n[groups.sex]\n",
        encoding="utf-8",
    )
    (tmp_path / "dated").mkdir()
    for i in range(9):
        day = date(2026, 1, 5) + timedelta(weeks=i)
        people(600, 100 + i).to_csv(tmp_path / "dated" / f"{day}.csv", index=False)
    rows = sentences(60)
    texts = TextPreprocessor.fit({"text": np.append(rows.inputs["text"], SPARE)}, longest=512)
    folders.save(tmp_path / "models/reviews", own_classifier(rows).module, texts, labels=LABELS)
    pd.DataFrame({"text": rows.inputs["text"], "region": rows.groups["region"]}).to_csv(
        tmp_path / "reviews.csv"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_examples_run_in_order(place):
    known = {}
    for block in blocks("python"):
        exec(block, known)
    assert (place / "rates.svg").stat().st_size > 500
    assert isinstance(known["picture"], Figure)
    assert known["kinds"](known["audit"]) == ("rates", "gaps", "intersections", "errors")
    assert known["sweep"].groups[0] == "(all)" and known["reliability"].groups[0].n == 900
    # Rows of rollout, taken layer by layer, are the shares that a view of the same example has.
    from clinometer.visualizers.layer_flow import flow

    assert known["back"].shares == pytest.approx(flow(known["view"], 0).shares, abs=1e-6)


def test_the_commands_run_and_write_what_they_say(place, capsys):
    commands = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(commands) == 4
    for line in commands:
        program, *arguments = shlex.split(line)
        assert program == "clinometer"
        assert cli.main(arguments) == 0, capsys.readouterr().err
        assert "as PNG and SVG in out/" in capsys.readouterr().out
    made = {folder.name: {path.name for path in folder.iterdir()} for folder in (place / "out").iterdir()}
    assert {"errors.png", "calibration-race.svg", "thresholds-race-selection-rate.png"} <= made["audit"]
    assert made["change"] == {"slopes-accuracy.png", "slopes-accuracy.svg", "figures.md"}
    assert "control-selection-rate.png" in made["dates"] and "slices.png" in made["slices"]
