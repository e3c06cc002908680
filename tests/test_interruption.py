"""Ctrl-C in the middle of a long verb: exit code 130, one line on what is left, and nothing half written."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from clinometer.interpret.folders import save
from clinometer.interpret.preprocessing import TablePreprocessor
from clinometer.interpret.transformer import Architecture, Classifier
from clinometer.whole_files import put

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
# The signal comes right after this function has done its work: a moment that no clock has to hit.
STOPPED = """
import os, signal, sys
from importlib import import_module
module, name = sys.argv.pop(1).split(":")
owner = import_module(module)
real = getattr(owner, name)
def stopped(*given, **named):
    made = real(*given, **named)
    os.kill(os.getpid(), signal.SIGINT)
    return made
setattr(owner, name, stopped)
from clinometer.cli import main
sys.exit(main(sys.argv[1:]))
"""
SAVED = "interrupted: no file is half written, and the same line may be typed again."


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with a small model and rows for it."""
    folder = tmp_path_factory.mktemp("work")
    draw = np.random.default_rng(0)
    n = 120
    columns = {"income": draw.normal(size=n).round(3), "debt": draw.normal(size=n).round(3)}
    preprocessor = TablePreprocessor.fit(columns, numeric=("income", "debt"), categorical=())
    torch.manual_seed(0)
    shape = {"width": 8, "layers": 1, "heads": 2, "feed_forward": 8}
    model = Classifier(Architecture(kind="table", **shape, **preprocessor.shape()))
    extra = {"name": "small", "positive": "yes", "threshold": 0.0}
    save(folder / "model", model, preprocessor, labels=("no", "yes"), extra=extra)
    rows = {"id": [f"r{i}" for i in range(n)], **columns}
    rows |= {"label": draw.integers(0, 2, n), "sex": draw.choice(["f", "m"], n)}
    pd.DataFrame(rows).to_csv(folder / "rows.csv", index=False)
    return folder


def kept(folder):
    """What is said of a run whose shards are all done."""
    return f"interrupted: 1 of 1 shards are done and kept in {folder}; the same command goes on from there."


def stop(work, at, *arguments):
    command = [sys.executable, "-c", STOPPED, at, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=work, timeout=120, check=False)


def last_line(ran):
    assert ran.returncode == 130, ran.stderr
    assert "Traceback" not in ran.stderr and ran.stderr.count("interrupted:") == 1
    return ran.stderr.splitlines()[-1]


def hidden(work):
    return [path.name for path in work.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("at", "arguments"),
    [
        ("clinometer.interpret.trace_files:_written", ["trace", "model", "rows.csv", "--out", "traces"]),
        (
            "clinometer.interpret.methods:attribute",
            ["attribute", "model", "rows.csv", "--out", "marked.html"],
        ),
    ],
    ids=["trace", "attribute"],
)
def test_a_verb_that_is_stopped_leaves_nothing(work, at, arguments):
    before = sorted(path.name for path in work.iterdir())
    assert last_line(stop(work, at, *arguments)) == SAVED
    assert sorted(path.name for path in work.iterdir()) == before


def test_a_review_that_is_stopped_while_it_writes_leaves_the_one_before(work):
    """Stopped with its new folder all but done: the review that --force would have replaced is as it was."""
    there = work / "review"
    there.mkdir(exist_ok=True)
    (there / "review.json").write_text("the one before", encoding="utf-8")
    asked = [
        "review",
        "model",
        "rows.csv",
        "--label",
        "label",
        "--group",
        "sex",
        "--out",
        "review",
        "--force",
    ]
    ran = stop(work, "clinometer.visualizers.plates:save_figures", *asked, "--quiet")
    assert last_line(ran) == kept("review.unfinished")
    assert [path.name for path in there.iterdir()] == ["review.json"]
    assert (there / "review.json").read_text(encoding="utf-8") == "the one before"
    assert hidden(work) == []


@pytest.mark.parametrize(
    "at", ["sharded_evidence:from_table", "sharded_evidence:file_hash", "sharded_evidence:write_note"]
)
def test_evidence_that_is_stopped_while_its_shards_are_put_together_says_what_is_kept(work, tmp_path, at):
    """All rows are scored: the same command has only to put them together, and it makes the same file."""
    asked = ["evidence", "model", "rows.csv", "--label", "label", "--group", "sex"]
    out, whole = tmp_path / "stopped", tmp_path / "whole"
    ran = stop(work, f"clinometer.{at}", *asked, "--out", str(out))
    assert last_line(ran) == kept(out / "unfinished")
    command = [sys.executable, "-m", "clinometer.cli", *asked, "--out"]
    for folder in (out, whole):
        again = subprocess.run(
            [*command, str(folder)], capture_output=True, text=True, cwd=work, timeout=120, check=False
        )
        assert again.returncode == 0, again.stderr
    assert (out / "evidence.parquet").read_bytes() == (whole / "evidence.parquet").read_bytes()
    assert not (out / "unfinished").exists()


def test_a_signal_from_outside_in_the_middle_of_a_progress_bar(work):
    command = [
        sys.executable,
        "-c",
        "import sys; from clinometer.cli import main; sys.exit(main(sys.argv[1:]))",
    ]
    asked = ["attribute", "model", "rows.csv", "--rows", "120"]
    with subprocess.Popen(
        [*command, *asked], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=work
    ) as running:
        seen = b""
        while b"row/s" not in seen:
            more = os.read(running.stderr.fileno(), 4096)
            assert more, f"it ended before it was stopped: {seen.decode()}"
            seen += more
        running.send_signal(signal.SIGINT)
        _, rest = running.communicate(timeout=120)
    assert running.returncode == 130
    assert rest.decode().splitlines()[-1] == SAVED  # on a line of its own, below the bar


def folder_with(path, text):
    path.mkdir()
    (path / "one").write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("stopped_at", [1, 2])
def test_a_folder_that_is_replaced_comes_back_when_that_is_stopped(tmp_path, monkeypatch, stopped_at):
    made, target = folder_with(tmp_path / "made", "new"), folder_with(tmp_path / "target", "old")
    real, calls = Path.rename, []

    def rename(self, to):
        calls.append(to)
        if len(calls) == stopped_at:
            raise KeyboardInterrupt
        return real(self, to)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(KeyboardInterrupt):
        put(made, target)
    assert (target / "one").read_text(encoding="utf-8") == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "target"]
    put(made, target)
    assert (target / "one").read_text(encoding="utf-8") == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["target"]
