"""The notebook on why a gap: words and heads it names were planted, and the fix leaves what was not."""

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="the notebook extra is not installed")
pytest.importorskip("nbclient", reason="the notebook extra is not installed")

from reference.notebook_runs import claims, pictures  # noqa: E402

PATH = Path(__file__).parents[1] / "notebooks" / "05_why_the_gap.ipynb"
STEPS = (
    "print('fault', audit.exit_code, audit.verdicts[0]['verdict'])",
    "parts = {part.name: part for part in found.parts.parts}\n"
    "print('words', {share.unit for share in found.ledger.ranked[:2]} == set(VILLAGES),\n"
    "      abs(sum(part.estimate for part in parts.values()) + found.parts.residual - found.parts.gap) < 1e-6)\n"
    "print('proxies', parts['proxies'].low <= written <= parts['proxies'].high, 'identity', parts['identity'].low > 0)",
    "accounts = [abs(one.part('identity').estimate / planted - 1) for one in (found.parts, frozen_parts)]\n"
    "print('accounting', min(accounts) > 0.1, abs(change.scores.sum(axis=1).mean() / planted - 1) < 0.1)",
    "print('head', carrying == [GUILTY], 'innocent', other.verified == ())",
    "left = {name: next(f.estimate for f in report.findings if f.metric == 'selection_rate')\n"
    "        for name, report in (('mended', audit_after), ('innocent', audited(innocent)[1]))}\n"
    "print('mended', audit_after.exit_code, audit_after.verdicts[0]['verdict'],\n"
    "      abs(left['mended'] - left['innocent']) < 0.05)",
)


def test_what_is_said_is_what_was_planted(tmp_path):
    """The notebook's own claims, each against what is true by construction."""
    notebook = nbformat.read(PATH, as_version=4)
    n_pictures = sum(cell.cell_type == "code" and "_chart(" in cell.source for cell in notebook.cells)
    notebook, printed = claims(notebook, STEPS, tmp_path)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert output.get("name") != "stderr", output.get("text")
    assert printed == [
        "fault 1 exceeds tolerance",
        "words True True",
        "proxies True identity True",
        "accounting True True",
        "head True innocent True",
        "mended 0 within tolerance True",
    ]
    assert n_pictures == 2 and len(pictures(notebook)) == 5
    said = "".join(o.get("text", "") for cell in notebook.cells for o in cell.get("outputs", []))
    assert said.count(" carries ") == 1 and "No head set verified" in said
