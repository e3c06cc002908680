"""`clinometer explain`: a page of examples head by head, and its refusals."""

import json

import numpy as np
import pandas as pd
import pytest

import clinometer.cli as cli
from clinometer import demo
from clinometer.interpret import folders
from clinometer.interpret.preprocessing import TextPreprocessor
from reference.lab import untrained
from reference.sentences import LABELS, SPARE, own_classifier, sentences


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explain")
    rows = sentences(60)
    known = TextPreprocessor.fit({"text": np.append(rows.inputs["text"], SPARE)}, longest=512)
    for name, seed in (("model", 0), ("second", 1)):
        extra = {"name": name, "positive": "positive", "threshold": 0.0}
        subject = own_classifier(rows, epochs=2, seed=seed)
        folders.save(folder / name, subject.module, known, labels=LABELS, extra=extra)
    frame = pd.DataFrame({"id": rows.ids, "text": rows.inputs["text"], "good": rows.labels})
    frame["region"] = [value or "" for value in rows.groups["region"]]
    frame.to_csv(folder / "films.csv", index=False)
    return folder


@pytest.fixture
def run(capsys, tmp_path, monkeypatch, model):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        code = cli.main(["explain", *(str(argument) for argument in arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_a_page_of_named_examples(run, model, tmp_path):
    code, out, _ = run(model / "model", model / "films.csv", "--id", "t3", "--id", "t5", "--json")
    made = json.loads(out)
    assert code == 0 and [one["id"] for one in made["examples"]] == ["t3", "t5"]
    assert made["page"] == "explorer.html" and made["gap"] is None
    page = (tmp_path / "explorer.html").read_text()
    assert "t3" in page and "http://" not in page.replace("http://www.w3.org", "")
    again, _, error = run(model / "model", model / "films.csv", "--id", "t3")
    assert again == 3 and "--force" in error
    assert run(model / "model", model / "films.csv", "--id", "t3", "--force", "--quiet")[0] == 0


def test_a_gap_and_a_second_model(run, model):
    code, out, _ = run(
        model / "model", model / "films.csv", "--n", 3, "--label", "good", "--group", "region", "--gap",
        "selection_rate", "--of", "north", "--minus", "south", "--against", model / "second", "--quiet",
    )  # fmt: skip
    assert code == 0
    assert "shown:  model: 3 of 60 examples, drawn with seed 0, spread over groups and errors" in out
    assert "gap:    selection rate, north minus south:" in out and "at 95 %, n = " in out
    assert "saved:  explorer.html" in out


def test_rows_of_a_table(run, tmp_path):
    untrained(tmp_path / "loanapp")
    some = demo.applications(0)["test"].take([0, 1, 2])
    frame = pd.DataFrame({"id": some.ids, **some.inputs})
    frame.to_csv(tmp_path / "people.csv", index=False)
    code, out, _ = run(tmp_path / "loanapp", tmp_path / "people.csv", "--json")
    assert code == 0
    assert {one["id"] for one in json.loads(out)["examples"]} == set(some.ids)
    code, _, error = run(tmp_path / "loanapp", "--text", "a lovely film", "--out", "other.html")
    assert code == 2 and "a text is given" in error


def test_one_text(run, model):
    code, out, _ = run(model / "model", "--text", "the lovely film", "--out", "one.html", "--json")
    made = json.loads(out)
    assert code == 0 and [one["id"] for one in made["examples"]] == ["example"]
    assert made["examples"][0]["wrong"] is None
    assert made["examples"][0]["largest_residual"] < 0.1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--id", "t99"), 2, "did you mean 't9"),
        (("--gap", "selection_rate"), 2, "--group race"),
        (("--of", "north"), 2, "--gap METRIC"),
        (("--group", "region", "--gap", "luck", "--of", "north"), 2, "the metric is 'luck'"),
        (("--group", "regions"), 2, "regions"),
        (("--text", "both"), 2, "--text"),
        (("--target", "great"), 2, "no target 'great'"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_refusals(run, model, arguments, code, message):
    got, _, error = run(model / "model", model / "films.csv", "--quiet", *arguments)
    assert got == code and message in error
