"""The notebook on long inputs: its look thins out with length, where its decisions fail."""

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="the notebook extra is not installed")
pytest.importorskip("nbclient", reason="the notebook extra is not installed")
from reference.notebook_runs import claims, pictures  # noqa: E402

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "09_long_inputs_and_gpus.ipynb"


def test_a_long_log_is_read_without_its_maps(tmp_path):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    steps = (
        "print('learned', right > 0.95)",
        "print('planned', plan.choice, plan.needs('maps') > 2e9, plan.needs('queries and keys') < 5e8)",
        "print('certified', max(trace.certificate().values()) < 1e-4)",
        "print('row', abs(trace.row(trace.layers[0], 1, 0, 0).sum() - 1) < 1e-4)",
        "share = by_length['most of a head on the word']\n"
        "print('thins', share.is_monotonic_decreasing, by_length.right.iloc[0] == 1, by_length.right.iloc[-1] < 0.7)",
        "print('window', part.shape, float(part.min()) >= 0)",
        "print('owes', rank > 1, found.value[0] < 0 and names[place] == 'recovered')",
    )
    notebook, printed = claims(notebook, steps, tmp_path)
    assert printed == [
        "learned True",
        "planned queries and keys True True",
        "certified True",
        "row True",
        "thins True True True",
        "window (25, 25) True",
        "owes True True",
    ]
    assert len(pictures(notebook)) == 1
