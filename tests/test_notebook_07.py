"""Notebook 07: the planted fault stops the gate, exit codes are real ones, a saved review answers later."""

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="the notebook extra is not installed")
pytest.importorskip("nbclient", reason="the notebook extra is not installed")
from reference.notebook_runs import claims  # noqa: E402

PATH = next((Path(__file__).parents[1] / "notebooks").glob("07_*.ipynb"))


def test_a_review_is_followed_through_its_life(tmp_path):
    notebook = nbformat.read(PATH, as_version=4)
    steps = (
        "print('learned', (granted == rows.labels).mean() > 0.75)",
        "print('review', review.verdict, review.exit_code, gap.high < -0.1)",
        "most = ledger.ranked[0]\n"
        "print('ledger', most.unit, most.high < 0, abs(sum(s.estimate for s in ledger.shares) - ledger.gap) < 0.02)",
        "before = board.audit.verdict\nboard.tolerance = 0.5\n"
        "print('cockpit', before, '->', board.audit.verdict, '|', review.verdict)",
        "page = (folder / 'review' / 'report.html').read_text()\n"
        "print('saved', all(limit.split('`')[0][:40] in page for limit in review.limits), 'http' not in card[:200])",
        "print('forms', written, [case[0].tag for case in cases])",
        "print('private', not any(one in (folder / 'to-be-shared' / 'report.html').read_text() for one in rows.ids))",
        "print('codes', list(codes.values()))",
        "suites = [ET.parse(folder / name).getroot() for name in ('audit.xml', 'change.xml')]\n"
        "print('tests', [int(one.get('failures')) for one in suites], int(suites[1].get('tests')) > 1)",
        "print('later', found == gap, then.audit == review.audit, again.verdict, again.exit_code)",
    )
    notebook, printed = claims(notebook, steps, tmp_path)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert output.get("name") != "stderr", output.get("text")
    assert printed == [
        "learned True",
        "review exceeds tolerance 1 True",
        "ledger months without work True True",
        "cockpit exceeds tolerance -> within tolerance | exceeds tolerance",
        "saved True True",
        "forms [0, 0] ['failure', 'system-out']",
        "private True",
        "codes [1, 2, 3, 4, 0, 0]",
        "tests [1, 0] True",
        "later True True exceeds tolerance 1",
    ]
    said = "".join(o.get("text", "") for cell in notebook.cells for o in cell.get("outputs", []))
    assert "inconclusive: these rows do not settle it" in said and "the job goes on: 0" in said
    assert list(tmp_path.iterdir()) == [], "the notebook writes beside itself"
