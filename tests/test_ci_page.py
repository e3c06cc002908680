"""The job that the page on CI shows: YAML that is one, and lines that run as they stand."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from project_files import ROOT

from clinometer.cli import built

PAGE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
POLICY = """\
name = "invented"
set_by = "the authors of the tests"
[tolerance]
selection_rate = {tolerance}
[groups.race]
"""


def job():
    (block,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    return yaml.safe_load(block)


def lines():
    """Every `run:` of the job but the installation."""
    found = [step["run"] for step in job()["jobs"]["gate"]["steps"] if "run" in step]
    assert found[0].startswith("pip install")
    return found[1:]


@pytest.fixture
def runner(tmp_path):
    """A folder with invented rows, and bash with this interpreter's command on its PATH."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash, which runs the steps of a job")
    if not (Path(sys.executable).parent / "clinometer").is_file():
        pytest.skip("the command is not installed beside this interpreter")
    draw = np.random.default_rng(0)
    n = 3000
    table = pd.DataFrame(
        {
            "id": [f"p{i}" for i in range(n)],
            "label": draw.integers(0, 2, n),
            "prediction": draw.integers(0, 2, n),
            "race": draw.choice(["a", "b"], n),
        }
    )
    table.to_csv(tmp_path / "predictions.csv", index=False)
    table.to_csv(tmp_path / "previous.csv", index=False)

    def run(line, tolerance):
        (tmp_path / "policy.toml").write_text(POLICY.format(tolerance=tolerance), encoding="utf-8")
        path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        command = [bash, "-eo", "pipefail", "-c", line]  # as the runner of GitHub calls it
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={"PATH": path},
            check=False,
            timeout=120,
        )

    return run


def test_the_job_is_yaml_with_rights_to_read_alone():
    made = job()
    assert made["permissions"] == {"contents": "read"}
    assert list(made["jobs"]) == ["gate"]
    assert len(lines()) == 4


def test_every_line_runs_and_writes_what_is_kept(runner, tmp_path):
    for line in lines():
        ran = runner(line, 0.2)
        assert ran.returncode == 0, f"{line}\n{ran.stderr}"
    upload = job()["jobs"]["gate"]["steps"][-1]["with"]["path"]
    for name in upload.split():
        assert (tmp_path / name).stat().st_size > 100
    assert "within tolerance" in (tmp_path / "audit.txt").read_text(encoding="utf-8")


def test_the_step_that_judges_stops_the_job_and_the_next_one_tells_in_words(runner, tmp_path):
    judging = next(line for line in lines() if "--out audit.json" in line)
    assert runner(judging, 0.0).returncode in {1, 4}
    in_words = lines()[-1]
    assert runner(in_words, 0.0).returncode == 0
    assert re.search(r"exit code [14]$", (tmp_path / "audit.txt").read_text(encoding="utf-8").strip())


def test_the_lines_of_the_review_parse_and_keep_its_exit_code():
    (block,) = re.findall(r"^```sh\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    for line in block.splitlines()[:2]:
        words = shlex.split(line.split(" || ")[0])
        assert built().commands[words[1]].make_context(words[1], words[2:]).args == []
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    stand_in = re.sub(r"^clinometer report.*$", "true", block, flags=re.MULTILINE)
    for code in (4, 0):
        script = re.sub(r"^clinometer review[^|\n]*", f"(exit {code}) ", stand_in, flags=re.MULTILINE)
        assert subprocess.run([bash, "-e", "-c", script], check=False).returncode == code
