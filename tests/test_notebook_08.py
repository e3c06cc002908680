"""Notebook 08: one machine's false alarms are found on simulated and real curves, and seen there."""

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="the notebook extra is not installed")
pytest.importorskip("nbclient", reason="the notebook extra is not installed")
from reference.notebook_runs import claims, pictures  # noqa: E402

PATH = next((Path(__file__).parents[1] / "notebooks").glob("08_*.ipynb"))
REAL = Path(__file__).parents[2] / "shared" / "data" / "nab" / "nab.csv.gz"
STEPS = (
    "print(origin)",
    "print('learned', (alarm == rows.labels).mean() > 0.8)",
    "print('verdict', audit.verdict, audit.exit_code)",
    "print('worst', rates.loc[worst, 'low'] > rates.loc[best, 'estimate'] + 0.05)",
    "free = rows.labels == 0\n"
    "at = np.array(rows.groups['machine']) == worst\n"
    "true = alarm[free & at].mean() - alarm[free & ~at].mean()\n"
    "print('gap', abs(seen.gap.estimate - true) < 1e-9, seen.gap.low > 0, seen.gap.n == free.sum())",
    "alarms = told[:6]\n"
    "print('curve', np.mean([one['from the highest part'] for one in alarms]) > 0.5,\n"
    "      all(abs(one['residual']) < 0.1 for one in told), all(s.wrong for s in seen.scenes[:6]))",
    "one = seen.scenes[0]\n"
    "print('boxes', one.kind, one.picture.channels, len(one.picture.boxes) == len(one.tokens) == 9)",
)


def found(folder):
    notebook, printed = claims(nbformat.read(PATH, as_version=4), STEPS, folder)
    shown = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]
    assert len(pictures(notebook)) == 1
    assert sum("application/vnd.jupyter.widget-view+json" in data for data in shown) == 1
    return printed


HELD = [
    "learned True",
    "verdict exceeds tolerance 1",
    "worst True",
    "gap True True True",
    "curve True True True",
    "boxes series ('load', 'change') True",
]


def test_one_machine_of_a_simulated_line(tmp_path):
    assert found(tmp_path) == ["simulated", *HELD]


@pytest.mark.skipif(not REAL.is_file(), reason="no ../shared/data/nab beside the checkout")
def test_one_machine_of_a_real_line(tmp_path):
    (tmp_path / "shared").symlink_to(REAL.parents[2])
    (tmp_path / "notebooks").mkdir()
    assert found(tmp_path / "notebooks") == ["real, of the Numenta Anomaly Benchmark", *HELD]
