"""Notebook 07's cockpit in real JupyterLab: a slider that the browser moves changes the verdict in Python."""

import json
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="the notebook extra is not installed")
pytest.importorskip("jupyterlab", reason="the notebook extra is not installed")
pytest.importorskip("ipywidgets", reason="the notebook extra is not installed")
from reference.lab import MARKS, opened, run_all, run_cell  # noqa: E402

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "07_report_card_and_ci_gate.ipynb"
pytestmark = MARKS
READ = (
    "import json\n"
    "print(json.dumps([board.threshold, board.tolerance, board.audit.verdict, board.audit.exit_code,\n"
    "                  board.policy.set_by, review.verdict]))"
)
ROW = ".jupyter-widgets.widget-slider:has(.widget-label:text-is('%s'))"


def until_the_cockpit() -> Any:
    """The notebook up to the cell that shows the cockpit, and a cell that reads it."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    last = next(i for i, cell in enumerate(notebook.cells) if "cm.cockpit(" in cell.source)
    notebook.cells = [*notebook.cells[: last + 1], nbformat.v4.new_code_cell(READ)]
    return notebook


def moved(tab: Any, name: str, key: str) -> None:
    """A key on a slider's handle, and the table that the answer of Python draws anew."""
    shown = tab.locator(".jp-OutputArea-output .widget-html-content img")
    before = shown.get_attribute("src")
    tab.locator(ROW % name).locator(".noUi-handle").focus()
    tab.keyboard.press(key)
    tab.wait_for_function(
        "before => { const now = document.querySelector('.jp-OutputArea-output .widget-html-content img');"
        " return now && now.src !== before }",
        arg=before,
        timeout=30_000,
    )


def test_a_slider_of_the_browser_changes_what_python_reads(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    notebook = until_the_cockpit()
    nbformat.write(notebook, work / NOTEBOOK.name)
    count = sum(cell.cell_type == "code" for cell in notebook.cells)
    with opened(work, tmp_path, NOTEBOOK.name) as (tab, wrong, outside):
        run_all(tab, count)
        tab.wait_for_selector(".widget-html-content img[alt]", timeout=30_000)
        threshold, tolerance, verdict, code, _, reviewed = json.loads(run_cell(tab, count - 1))
        assert (tolerance, verdict, code) == (0.1, "exceeds tolerance", 1)
        assert "exceeds tolerance" in tab.locator(".widget-html-content").inner_text()

        moved(tab, "tolerance", "End")
        same, tolerance, verdict, code, who, still = json.loads(run_cell(tab, count - 1))
        assert (same, tolerance, verdict, code) == (threshold, 1.0, "within tolerance", 0)
        assert "whoever moves this slider" in who and still == reviewed == "exceeds tolerance"
        assert "within tolerance" in tab.locator(".widget-html-content").inner_text()

        moved(tab, "decide above", "ArrowRight")
        assert json.loads(run_cell(tab, count - 1))[0] > threshold
    assert wrong == []
    assert outside == []
