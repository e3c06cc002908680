"""`clinometer trace`: what it prints is what the trace holds, and what it refuses leaves nothing behind."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import clinometer.cli as cli

pytest.importorskip("transformers", reason="transformers is not installed")
from clinometer.interpret.models import load
from clinometer.interpret.trace_files import read_trace
from clinometer.interpret.tracing import trace
from clinometer.review import read_rows
from reference.model_folders import text_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return text_folder(tmp_path_factory.mktemp("model") / "small", "BertForSequenceClassification")


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.csv"
    pd.DataFrame({"text": ["a fine film .", "dull", "not bad at all ."]}).to_csv(path, index=False)
    return path


@pytest.fixture
def call(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        code = cli.main(["trace", *(str(argument) for argument in arguments)])
        return code, *capsys.readouterr()

    return run


def test_the_table_is_the_traces(call, folder, texts):
    code, out, err = call(folder, texts, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    subject = load(folder)
    made = trace(subject, read_rows(texts, columns=subject.columns, groups=()))
    assert (found["rows"], found["of"], found["unseen"]) == (3, 3, [])
    assert list(found["certificate"]) == list(made.layers)
    assert max(found["certificate"].values()) < 1e-5
    expected = made.heads()
    assert np.allclose([head["entropy"] for head in found["heads"]], expected["entropy"], atol=1e-6)
    code, out, _ = call(folder, texts, "--rows", 2)
    assert code == 0
    assert "the first 2 of 3; kept: queries and keys" in out
    assert f"layer 1: {made.layers[1]}" in out and "not what matters" in out
    assert call(folder, texts, "--quiet")[1].splitlines()[0].startswith("heads: means over")


def test_a_saved_trace_reads_again(call, folder, texts, tmp_path):
    target = tmp_path / "kept"
    code, out, _ = call(folder, texts, "--out", target)
    assert code == 0 and f"saved:  {target}" in out
    subject = load(folder)
    made = trace(subject, read_rows(texts, columns=subject.columns, groups=()))
    assert np.array_equal(read_trace(target).map(0, 1, 2), made.map(0, 1, 2))
    code, _, err = call(folder, texts, "--out", target)
    assert code == 3 and "--force" in err
    assert call(folder, texts, "--out", target, "--force")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--max-memory", "100"], 2, "The least that works is max_memory="),
        (["--max-memory", "plenty"], 2, "expected bytes, or a text such as '2 GB'"),
        (["--rows", "0"], 2, "--rows"),
        (["--device", "tpu"], 3, "device 'tpu'"),
    ],
)
def test_refusals_leave_nothing(call, folder, texts, tmp_path, arguments, code, said):
    before = sorted(tmp_path.iterdir())
    got, _, err = call(folder, texts, "--out", tmp_path / "kept", *arguments)
    assert got == code
    assert said in " ".join(err.split())
    assert sorted(tmp_path.iterdir()) == before


def test_a_missing_column_or_folder_is_named(call, folder, tmp_path):
    other = tmp_path / "other.csv"
    pd.DataFrame({"txt": ["a"]}).to_csv(other, index=False)
    code, _, err = call(folder, other)
    assert code == 3 and "lacks the model's column 'text'" in err
    code, _, err = call(tmp_path / "nowhere", other)
    assert code == 3 and "nowhere" in err
    assert Path(other).exists()
