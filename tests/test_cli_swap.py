"""`clinometer swap` and `clinometer suite`: a model of texts, asked what an identity changes."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import clinometer.cli as cli
from clinometer.interpret import folders
from clinometer.interpret.preprocessing import TextPreprocessor
from reference.sentences import LABELS, SPARE, own_classifier, sentences

SUITE = """
name = "places"
version = "1"
source = "written for this test"
set_by = "the test"

[slots]
person = ["he", "she"]
word = ["good", "bad"]

[[test]]
name = "who says it"
kind = "INV"
templates = ["{person} was {word} here"]
vary = "person"
delta = 100.0
tolerance = 0.9
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("swap") / "model"
    rows = sentences(200)
    words = np.append(rows.inputs["text"], "he she his her said here")
    rows = replace(
        rows,
        ids=(*rows.ids, "spare"),
        inputs={"text": words},
        labels=np.append(rows.labels, 0),
        groups={},
    )
    known = TextPreprocessor.fit({"text": np.append(words, SPARE)}, longest=512)
    folders.save(folder, own_classifier(rows).module, known, labels=LABELS)
    return folder


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def texts(path, n=40):
    made = [f"{('he', 'she')[i % 2]} said the film was {('good', 'bad')[i // 2 % 2]}" for i in range(n - 1)]
    region = ["north", "south"] * (n // 2)
    pd.DataFrame({"text": [*made, "the film"], "region": region}).to_csv(path, index=False)
    return path


def test_swap_shows_directions_worst_pairs_and_what_was_left_out(run, model):
    code, out, _ = run("swap", model, texts("t.csv"), "--group", "region")
    assert code == 0
    assert "39 swapped copies of 40 rows" in out
    assert "male -> female" in out and "female -> male" in out
    assert "left out: 1 rows: nothing to swap" in out
    assert "no tolerance declared" in out
    code, out, _ = run("swap", model, "t.csv", "--json", "--tolerance", "mean_absolute_shift=1000")
    found = json.loads(out)
    assert code == 0 and found["verdict"] == "within tolerance" and found["n"] == 39
    code, out, _ = run("swap", model, "t.csv", "--quiet", "--tolerance", "mean_absolute_shift=0")
    assert (code, len(out.splitlines())) in {(1, 1), (4, 1)}


def test_swap_takes_a_lexicon_of_the_users_own(run, model, tmp_path):
    words = 'name = "verdicts"\nversion = "1"\nsource = "the test"\nattribute = "verdict"\n'
    (tmp_path / "own.toml").write_text(
        words + '[[entry]]\nforms = { praise = "good", blame = "bad" }\n', encoding="utf-8"
    )
    code, out, err = run("swap", model, texts("t.csv"), "--lexicon", "own.toml")
    assert code == 0, err
    assert "praise -> blame" in out


def test_swap_refuses_what_it_does_not_know(run, model):
    code, _, err = run("swap", model, texts("t.csv"), "--lexicon", "gendr")
    assert code == 2 and "gender" in err
    code, _, err = run("swap", model, "t.csv", "--tolerance", "flips=0.1")
    assert code == 2 and "flip_rate" in err


def test_a_suite_is_run_and_gates(run, model, tmp_path):
    (tmp_path / "suite.toml").write_text(SUITE, encoding="utf-8")
    code, out, err = run("suite", model, "suite.toml")
    assert code in {0, 4}, err
    assert "who says it" in out and "0 of 2" in out
    code, out, _ = run("suite", model, "suite.toml", "--json")
    assert json.loads(out)["tests"][0]["n_failed"] == 0
    (tmp_path / "broken.toml").write_text(SUITE.replace("INV", "INVV"), encoding="utf-8")
    assert run("suite", model, "broken.toml")[0] == 2
