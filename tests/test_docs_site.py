"""The site builds without a warning, its links lead somewhere, and the tour's lines run."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from project_files import ROOT

import clinometer as cm
import clinometer.cli as cli
from clinometer.bias.metrics import METRICS
from clinometer.interpret.methods import METHODS

DOCS = sorted((ROOT / "docs").glob("*.md"))
TOUR = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", TOUR, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("myst_nb", reason="the docs extra is not installed")
    made = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "sphinx",
            "-q",
            "-W",
            "--keep-going",
            "-d",
            str(made / "read"),
            "docs",
            str(made / "html"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr == ""
    return made / "html"


def test_every_page_is_in_the_site_and_reached_from_its_first(site):
    index = (site / "index.html").read_text(encoding="utf-8")
    for page in DOCS:
        assert (site / f"{page.stem}.html").is_file()
        assert page.stem == "index" or f'href="{page.stem}.html"' in index, page
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        assert f'href="generated/{notebook.stem}.html"' in index


def test_references_hold_the_whole_tables(site):
    methods = (site / "generated" / "methods.html").read_text(encoding="utf-8")
    metrics = (site / "generated" / "metrics.html").read_text(encoding="utf-8")
    api = (site / "generated" / "api.html").read_text(encoding="utf-8")
    for method in METHODS:
        assert " ".join(f'<span class="pre">{word}</span>' for word in method.name.split()) in methods
    for metric in METRICS:
        assert f'<span class="pre">{metric.name}</span>' in metrics
    for name in cm.__all__:
        assert f"cm.{name}" in api
    assert "Raises" in api and "residual" in api


def test_the_site_asks_for_nothing_outside(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        found = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?:[^"]+)"', text)
        assert found == [], page.name


def test_the_tour_runs_in_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    known = {}
    for block in blocks("python"):
        exec(block, known)
    assert capsys.readouterr().out.startswith("exceeds tolerance 1\n")
    assert abs(known["attribution"].residual).max() < 0.01
    known["people"].to_csv(tmp_path / "predictions.csv", index=False)
    (line,) = [
        line for block in blocks("sh") for line in block.splitlines() if line.startswith("clinometer audit")
    ]
    assert cli.main(shlex.split(line)[1:]) == 1
    assert "exceeds tolerance" in capsys.readouterr().out


def test_reviewers_find_every_preset_and_the_first_three_verdicts():
    page = (ROOT / "docs" / "reviewers.md").read_text(encoding="utf-8")
    from clinometer.bias.presets import PRESETS

    for preset in PRESETS:
        assert f"--preset {preset.name}" in page
    for words in ("within tolerance", "exceeds tolerance", "inconclusive", "not assessed"):
        assert words in page


def test_generated_pages_are_not_stored():
    from project_files import project_files

    assert not [path for path in project_files() if path.is_relative_to(Path("docs") / "generated")]
