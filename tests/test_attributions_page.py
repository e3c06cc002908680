"""The page on attributions: its tables are those of the code, its examples and commands run in order."""

import re
import shlex

import numpy as np
import pandas as pd
import pytest
from project_files import ROOT

import clinometer as cm
import clinometer.cli as cli
from clinometer.interpret import folders
from clinometer.interpret.measures import MEASURES
from clinometer.interpret.preprocessing import TablePreprocessor, TextPreprocessor
from reference.model_folders import CORPUS, text_folder
from reference.sentences import LABELS, SPARE, own_classifier, sentences
from reference.subjects import applicants, fitted

PAGE = (ROOT / "docs" / "attributions.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def tables():
    """Every table of the page: its column names, and its rows as lists of cells."""
    found = []
    for text in re.findall(r"(?:^\|.*\|\n)+", PAGE, flags=re.MULTILINE):
        head, _, *rows = (
            [cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines()
        )
        found.append((head, rows))
    return found


def promised(method):
    """The row of a method, as the page has it."""
    marks = (method.signed, method.class_specific, method.compares, method.on_request)
    flags = ["yes" if one else "no" for one in marks]
    unit = "the target's" if method.unit else "none"
    return [method.name, method.adds_up or "nothing", unit, method.cost, *flags]


def test_every_method_is_a_row_that_promises_what_the_code_promises():
    (rows,) = (rows for head, rows in tables() if "adds up to" in head)
    assert rows == [promised(method) for method in cm.METHODS]


def test_every_method_has_its_source_and_a_place_where_it_fails():
    (rows,) = (rows for head, rows in tables() if "source" in head)
    assert [row[:2] for row in rows] == [[method.name, method.source] for method in cm.METHODS]
    assert all(len(row) == 3 and row[2] for row in rows)


def test_every_measure_is_explained_with_the_side_that_is_better():
    (rows,) = (rows for head, rows in tables() if "measure" in head)
    said = {
        name: better
        for names, betters, _ in rows
        for name, better in zip(re.findall(r"`(\w+)`", names), betters.split(", "), strict=True)
    }
    assert said == {one.name: {"higher": "high", "lower": "low"}[one.better] for one in MEASURES}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the models and the data that the page names, to stand in."""
    rows = sentences(200)
    texts = TextPreprocessor.fit({"text": np.append(rows.inputs["text"], SPARE)}, longest=512)
    folders.save(tmp_path / "models/sentiment", own_classifier(rows).module, texts, labels=LABELS)
    pd.DataFrame({"text": rows.inputs["text"], "region": rows.groups["region"]}).to_csv(
        tmp_path / "texts.csv"
    )
    people = applicants(200)
    table = TablePreprocessor.fit(people.inputs, numeric=["income", "debt", "noise"], categorical=["home"])
    folders.save(
        tmp_path / "models/loans", fitted(people, epochs=1).module, table, labels=("denied", "approved")
    )
    pd.DataFrame(dict(people.inputs)).head(20).to_csv(tmp_path / "people.csv", index=False)
    text_folder(tmp_path / "models/writer", "GPT2LMHeadModel")
    pd.DataFrame({"text": [*CORPUS]}).to_csv(tmp_path / "prompts.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_examples_run_in_order(place):
    known = {}
    for block in blocks("python"):
        exec(block, known)
    attribution = known["attribution"]
    assert attribution.converged.all() and known["kept"].ids == known["rows"].ids
    assert "integrated gradients" in (place / "words.html").read_text(encoding="utf-8")
    assert known["found"].recommended == "integrated gradients"
    assert len(known["steps"]) == 3 and "token 2" in known["steps"][1].target
    assert known["planted"].frame["share"].iloc[0] > known["planted"].by_chance
    assert known["effects"][0].contexts and known["differences"]


def test_the_commands_run(place, capsys):
    commands = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(commands) == 3
    for line in commands:
        program, *arguments = shlex.split(line)
        assert program == "clinometer"
        assert cli.main(arguments) == 0, capsys.readouterr().err
        assert capsys.readouterr().out
    assert (place / "words.html").exists()
