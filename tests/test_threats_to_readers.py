"""Threats to those who run and read: names that want to be run, steer a terminal, or call home."""

import ast
import dataclasses
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fuzz.readers import BY_NAME, put
from project_files import ROOT, project_files

import clinometer as cm
import clinometer.cli as cli
from clinometer import evidence_files
from clinometer.bias.audit import audit
from clinometer.interpret.edits import save
from clinometer.review import to_json
from clinometer.visualizers import page, picture_folder, plates
from clinometer.withheld_text import without_text
from reference.reviews import sample_review
from reference.subjects import applicants, fitted

MODULES = [
    f for f in project_files() if f.suffix == ".py" and f.parts[0] in {"bias", "interpret", "visualizers"}
]
MODULES += [f for f in project_files() if f.suffix == ".py" and len(f.parts) == 1]
EXPRESSIONS = (
    "__import__('os').system('touch owned')",
    "{0.__class__.__init__.__globals__}",
    "{{ 7 * 7 }}",
    '"; DROP TABLE rows; --',
    "') OR 1=1; ATTACH 'owned' AS x; --",
    "$(touch owned)",
    "=cmd|' /C calc'!A1",
    "../../owned",
    "%s%n%(x)s",
)


def laid(name: str, folder: Path) -> Path:
    """The valid files of a reader."""
    put(BY_NAME[name].valid(), folder)
    return folder


# Expressions are never evaluated


def renamed(names: dict[str, str]) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    plain = {
        "id": [f"r{i}" for i in range(120)],
        "y": draw.integers(0, 2, 120),
        "p": draw.integers(0, 2, 120),
        "g": draw.choice(["a", "b"], 120),
    }
    frame = pd.DataFrame(plain)
    frame["g"] = frame["g"].map(lambda value: names.get(value, value))
    return frame.rename(columns=names)


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_name_is_never_more_than_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expression: str, suffix: str
) -> None:
    """Columns and groups with names of four languages: the audit, whole and out of core, is that of plain names."""
    monkeypatch.chdir(tmp_path)
    results = []
    for names in ({}, {"g": expression, "a": expression, "p": f"p {expression}"}):
        frame, file = renamed(names), Path(f"rows.{suffix}")
        frame.to_csv(file, index=False) if suffix == "csv" else frame.to_parquet(file, index=False)
        roles: dict[str, Any] = {
            "label": "y",
            "prediction": names.get("p", "p"),
            "groups": (names.get("g", "g"),),
        }
        whole = audit(evidence_files.read(file, **roles))
        counted = audit(cm.scan(file, **roles).counted())
        assert [c.estimate for c in whole.cells] == [c.estimate for c in counted.cells]
        results.append(sorted((c.metric, c.n, c.k) for c in whole.cells))
    assert results[0] == results[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"rows.{suffix}"], "something was run"


DANGEROUS = {"eval", "exec", "compile", "__import__"}
CALLS = {
    *("pickle.load", "pickle.loads", "torch.load", "os.system", "os.popen", "marshal.loads", "yaml.load"),
    *("joblib.load", "np.load", "shutil.unpack_archive"),
}


def dangerous(tree: ast.AST) -> list[str]:
    """Calls that run what they are given, or read a format that can."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func
            if isinstance(name, ast.Name) and name.id in DANGEROUS:
                found.append(name.id)
            if isinstance(name, ast.Attribute) and isinstance(name.value, ast.Name):
                called = f"{name.value.id}.{name.attr}"
                found += [called] if called in CALLS else []
            for keyword in node.keywords:
                if keyword.arg in {"shell", "trust_remote_code"} and not (
                    isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                ):
                    found.append(f"{keyword.arg}=")
    return found


def test_no_module_runs_what_it_reads() -> None:
    found = {str(path): dangerous(ast.parse((ROOT / path).read_text(encoding="utf-8"))) for path in MODULES}
    assert len(found) > 200
    assert {path: calls for path, calls in found.items() if calls} == {}


def test_negative_control_of_the_search_for_dangerous_calls() -> None:
    code = (
        "eval(x); pickle.loads(x); f(trust_remote_code=True); run(c, shell=flag); torch.load(p); model.eval()"
    )
    found = dangerous(ast.parse(code))
    assert found == ["eval", "pickle.loads", "trust_remote_code=", "shell=", "torch.load"]
    assert dangerous(ast.parse("f(trust_remote_code=False); model.eval(); json.loads(x)")) == []


def test_no_table_for_spreadsheets_is_written() -> None:
    """A cell that begins with = is a formula there. Only the demo writes a CSV, of its own data."""
    signs = (".to_csv(", "csv.writer", "write_csv", "DictWriter")
    texts = {str(path): (ROOT / path).read_text(encoding="utf-8") for path in MODULES}
    writers = [path for path, text in texts.items() if any(sign in text for sign in signs)]
    assert writers == ["demo.py"]


# A hostile reader: what is printed and written


@pytest.mark.parametrize("verb", ["audit", "slices", "count"])
def test_names_do_not_steer_the_terminal(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    hostile = "\x1b]0;owned\x07\x1b[2J\u202e"
    frame = renamed({"a": hostile})
    frame["h"] = np.where(np.arange(120) % 2, hostile, "x")
    frame.to_parquet("rows.parquet", index=False)
    flags = {
        "audit": ["--prediction", "p", "--group", "g"],
        "slices": ["--prediction", "p", "--column", "g", "--column", "h", "--permutations", "99"],
        "count": ["--prediction", "p", "--group", "g", "--out", "counts.parquet"],
    }
    assert cli.main([verb, "rows.parquet", "--label", "y", *flags[verb]]) in {0, 4}
    said = capsys.readouterr()
    for sign in "\x1b\x07\u202e":
        assert sign not in said.out + said.err
    assert cli.main([verb, f"{hostile}.parquet", *flags[verb]]) == 3
    assert not set("\x1b\x07\u202e") & set(capsys.readouterr().err)


@pytest.mark.parametrize("slug", [plates._slug, picture_folder._slug], ids=["plates", "pictures"])
@pytest.mark.parametrize(
    "name", [*EXPRESSIONS, "..", "/", "", "\x00", "a/../../b", "日本", "C:\\x", "n" * 5000]
)
def test_a_figure_is_named_so_that_it_stays_in_its_folder(slug: Callable[[str], str], name: str) -> None:
    made = slug(name)
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,60}", made), "no dot, no slash, no blank, and short"


def test_a_copy_without_text_names_no_row_that_could_not_be_used() -> None:
    made = sample_review(rows=60, layers=1, heads=1)
    told = "1 of 61 rows could not be used and are in no number here: 'Ada Lovelace (the label is Ada)'. All are listed."
    other = "The gap of a and b (g) is not divided: 2 rows have no word; first rows: 'Ada Lovelace', 'x'. Leave them out."
    made = dataclasses.replace(
        made,
        data={**made.data, "left_out": [[3, "Ada Lovelace", "the label is 'Ada'"]]},
        limits=(*made.limits, told, other),
        slices="2 rows have no group; first rows: 'Ada Lovelace'",
    )
    copy = without_text(made)
    assert "Ada" in to_json(made) and "Ada" not in to_json(copy)
    assert "1 of 61 rows could not be used and are in no number here: left out of this copy." in copy.limits
    assert set(made.limits[:-2]) <= set(copy.limits)


# Nothing is sent


@pytest.fixture
def unplugged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whatever asks for a network fails, and is noted."""
    asked: list[str] = []

    def refuse(*arguments: Any, **_: Any) -> Any:
        asked.append(repr(arguments[1:2] or arguments))
        raise OSError("no network in this test")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("create_connection", "getaddrinfo", "gethostbyname"):
        monkeypatch.setattr(socket, name, refuse)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.delenv(name, raising=False)
    return asked


def test_nothing_is_asked_of_a_network(
    tmp_path: Path, unplugged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = applicants(60, seed=1)
    save(fitted(applicants(60), epochs=0), tmp_path / "model")
    pd.DataFrame({**rows.inputs, "approved": rows.labels, **rows.groups, "id": rows.ids}).to_csv(
        "rows.csv", index=False
    )
    renamed({}).to_csv("predictions.csv", index=False)
    theirs = laid("transformers-model", tmp_path / "theirs") / "model"
    pd.DataFrame({"text": ["a good film", "no"], "id": ["a", "b"]}).to_csv("texts.csv", index=False)
    with monkeypatch.context() as patch:
        patch.setattr(page, "render", lambda made, *_, **__: f"<html>{page.report_id(made)}</html>")
        patch.setattr(plates, "draw", lambda *_, **__: None)
        patch.setattr(plates, "save_figures", lambda *_, **__: ())
        review_line = ["review", "model", "rows.csv", "--label", "approved", "--group", "race", "--out", "r"]
        assert cli.main([*review_line, "--quiet"]) == 0
    audit_line = ["audit", "predictions.csv", "--label", "y", "--prediction", "p", "--group", "g", "--quiet"]
    assert cli.main(audit_line) == 0
    assert cli.main(["trace", str(theirs), "texts.csv", "--rows", "2", "--out", "traces"]) == 0
    assert cli.main(["card", "r"]) == 0
    assert cli.main(["verify", "r", "model", "rows.csv"]) == 0
    assert unplugged == []
    with pytest.raises(OSError, match="no network"):  # control: the fixture notices
        socket.create_connection(("localhost", 9))
    assert len(unplugged) == 1


def test_the_environment_of_tests_is_put_back() -> None:
    assert os.environ["HF_HUB_OFFLINE"] == "1"
