"""Notebook 06: swaps find what was planted, the ledger names the word, flips are shown."""

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="the notebook extra is not installed")
pytest.importorskip("nbclient", reason="the notebook extra is not installed")
from reference.notebook_runs import claims  # noqa: E402

PATH = next((Path(__file__).parents[1] / "notebooks").glob("06_*.ipynb"))


def test_swaps_find_what_was_planted(tmp_path):
    notebook = nbformat.read(PATH, as_version=4)
    steps = (
        "print('learned', right.mean() > 0.9)",
        "print('judged', compared.verdict, compared.exit_code)",
        "ways = {one.direction: one for one in compared.directions}\n"
        "print('directions', ways['female -> male'].shift.mean > 0.5, ways['male -> female'].shift.mean < -0.5)",
        "planted = np.array(['ambitious' in text for text in pairs.originals.inputs['text']])\n"
        "moved = np.abs(after - before)\n"
        "print('word', moved[planted].mean() > 1.5 * moved[~planted].mean(), bool(compared.flipped[planted].any()))",
        "print('along', abs(along.gap - beside.gap) < 1e-2, all('->' in s.unit for s in along.ranked[:4]),\n"
        "      abs(along.residual) < 0.05 * abs(along.gap))",
        "most = beside.ranked[0]\nprint('beside', most.unit, most.high < -0.5)",
        "flips = dict(zip([*pairs.originals.ids, *pairs.rows.ids], [*compared.flipped, *compared.flipped]))\n"
        "print('explorer', len(seen.scenes), all(flips[one.id] for one in seen.scenes),\n"
        "      all(seen.scenes[i].partner == seen.scenes[i + 1].id for i in range(0, 12, 2)))",
        "now = (seen.gap.estimate - beside.gap, seen.gap.closings, seen.gap.shares)\n"
        "print('gap', abs(now[0]) < 1e-3, float(np.abs(now[1] - seen.gap.estimate).max()) > 0.2)",
    )
    notebook, printed = claims(notebook, steps, tmp_path)
    assert printed == [
        "learned True",
        "judged exceeds tolerance 1",
        "directions True True",
        "word True True",
        "along True True True",
        "beside ambitious True",
        "explorer 12 True True",
        "gap True True",
    ]
    cell = next(cell for cell in notebook.cells if "cm.explore(" in cell.source)
    kinds = {kind for output in cell.outputs for kind in output.get("data", {})}
    assert {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"} <= kinds
