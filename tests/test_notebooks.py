"""Every notebook runs from top to bottom, and its widgets answer."""

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="the notebook extra is not installed")
pytest.importorskip("nbclient", reason="the notebook extra is not installed")
from reference.notebook_runs import claims, execute, pictures  # noqa: E402

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path):
    for cell in nbformat.read(path, as_version=4).cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None


def test_the_first_picture_follows_its_sliders(tmp_path):
    notebook = nbformat.read(NOTEBOOKS[0], as_version=4)
    # The widget's outputs reach the kernel between two cells, so each step is a cell of its own.
    steps = (
        "again = seen.runs(seen.example, {(seen.layer, seen.head): 0.0})\n"
        "shown = next(one for one in seen.scenes if one.id == seen.example)\n"
        "print('explorer', len(seen.scenes), abs(seen.runs(seen.example, {}).value[0] - shown.value[0]) < 1e-5,\n"
        "      abs(again.gap - seen.gap.closings[seen.layer, seen.head]) < 1e-9)",
        "before = str(picture.outputs)",
        "layer.value, head.value, example.value = 1, 2, rows.ids[3]",
        "shown = sum('image/png' in o.get('data', {}) for o in picture.outputs)\n"
        "print('moved', str(picture.outputs) != before, 'pictures', shown)\n"
        "print('follows', any(rows.ids[3] in o.get('text', '') for o in picture.outputs))",
    )
    notebook.cells += [nbformat.v4.new_code_cell(step) for step in steps]
    notebook = execute(notebook, tmp_path)
    assert "explorer 16 True True" in "".join(one.get("text", "") for one in notebook.cells[-4].outputs)
    printed = "".join(output.get("text", "") for output in notebook.cells[-1].outputs)
    assert "moved True pictures 2" in printed
    assert "follows True" in printed
    assert pictures(notebook), "no picture was shown"
    first = next(cell for cell in notebook.cells if "cm.explore(" in cell.source)
    assert len(first.source.split("\n")) <= 5
    kinds = {kind for output in first.outputs for kind in output.get("data", {})}
    assert {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"} <= kinds


def test_a_head_is_read_three_ways(tmp_path):
    """The notebook's own claims: gates agree with gradients, and a head the text depends on breaks it when closed."""
    notebook = nbformat.read(next(path for path in NOTEBOOKS if path.stem.startswith("02")), as_version=4)
    steps = (
        "print('promised', gate['closing it'].corr(gate['promised'], method='spearman') > 0.8)",
        "print('nobody looks', float(changed.maps(0)[..., 0].max()) == 0.0)",
        "print('writes', right(made) > 0.9, 'breaks', min(broken.values()) < right(made) - 0.3)",
        "print('rows', np.allclose(made.attention(layers[layer], head).sum(axis=1), 1.0, atol=1e-5))",
    )
    notebook, printed = claims(notebook, steps, tmp_path)
    assert printed == [
        "promised True",
        "nobody looks True",
        "writes True breaks True",
        "rows True",
    ]
    assert len(pictures(notebook)) == 2


def test_which_words_finds_what_was_planted(tmp_path):
    """The notebook's own claims: sums hold, both planted habits are found, and methods fall where the prose says."""
    notebook = nbformat.read(next(path for path in NOTEBOOKS if path.stem.startswith("03")), as_version=4)
    steps = (
        "print('learned', right.mean() > 0.9)",
        "left = attribution.value - attribution.base_value - attribution.scores.sum(axis=1)\n"
        "frozen, lift = kept['frozen decomposition'], kept['DeepLIFT']\n"
        "print('sums', bool((abs(left) <= attribution.tolerance + 1e-4).all()), abs(frozen.residual).max() < 1e-3,\n"
        "      lift.converged.mean() < 0.1, (attribution.nodes > 20).any())",
        "print('baselines', agree[['mean', 'zero']].mean().max() < 0.95, agree[['mean', 'zero']].min().min() < 0.5)",
        "strong = {one.unit: one for one in effects[:6]}\n"
        "print('leaning', strong['danish'].high < 0, np.mean(after_not[True]) > np.mean(after_not[False]) + 0.5)",
        "most, *others = between['Polish minus French']\n"
        "print('differs', most.unit, most.p_adjusted < 0.01, most.difference < -0.5,\n"
        "      all(abs(one.difference) < abs(most.difference) for one in others if one.p_adjusted < 0.05),\n"
        "      min(one.p_adjusted for one in between['front minus back']) > 0.05)",
        "best, look, chance = (faithful.of(name, 'area_between_curves')\n"
        "                      for name in ('integrated gradients', 'raw attention', 'random scores'))\n"
        "print('faithful', sorted(faithful.ranking[:2]), look.high < best.low, look.above_chance_low > 0,\n"
        "      abs(chance.estimate) < 0.1)",
        "share = shortcut.frame.set_index('method').share\n"
        "print('shortcut', share[['integrated gradients', 'frozen decomposition']].min() > 0.75,\n"
        "      share['saliency'] < share['integrated gradients'], shortcut.frame.false_share.max() < 0.25)",
        "met = pd.DataFrame(agreement).query(\"method == 'integrated gradients'\").set_index('films')\n"
        "print('people', met.high['Danish'] < met.low['others'])",
        "print('attention', bool((attention.scores >= 0).all()), attention.adds_up)",
    )
    notebook, printed = claims(notebook, steps, tmp_path)
    assert printed == [
        "learned True",
        "sums True True True True",
        "baselines True True",
        "leaning True True",
        "differs moving True True True True",
        "faithful ['frozen decomposition', 'integrated gradients'] True True True",
        "shortcut True True True",
        "people True",
        "attention True False",
    ]
    marked = [
        o
        for cell in notebook.cells
        for o in cell.get("outputs", [])
        if "clino-marks" in o.get("data", {}).get("text/html", "")
    ]
    assert len(marked) == 3


def test_the_audit_finds_what_was_made(tmp_path):
    """The notebook's own claims: the fault is found where it was put, the department explains what it explains."""
    notebook = nbformat.read(next(path for path in NOTEBOOKS if path.stem.startswith("04")), as_version=4)
    steps = (
        "print('exceeds', audit.exit_code, {v['attribute']: v['verdict'] for v in audit.verdicts}['age & branch'])",
        "women = held[(held['attribute'] == 'sex') & (held['group'] == 'female')]\n"
        "gap = next(f for f in audit.findings if (f.attribute, f.metric) == ('sex', 'selection_rate'))\n"
        "inside = women[women['metric'].str.contains('held fixed')].iloc[0]\n"
        "print('department', gap.high < -0.1, abs(inside['estimate']) < 0.05)",
        "print('found', search.leaders[0].name)",
        "print('better', change.decision, change.exit_code)",
        "alarms = [str(point.date) for _, point in charts.alarms]\n"
        "print('alarm', charts.outcome, bool(alarms), set(alarms) <= {'2026-03-30', '2026-04-06'})",
    )
    notebook, printed = claims(notebook, steps, tmp_path)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert output.get("name") != "stderr", output.get("text")
    assert printed == [
        "exceeds 1 exceeds tolerance",
        "department True True",
        "found age=[50, 70] & branch=south",
        "better no worse 0",
        "alarm alarm True True",
    ]
    assert len(pictures(notebook)) == 2
