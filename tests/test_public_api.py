"""What is public is written down: a name, a parameter, a verb or a flag changes only with docs/api.txt."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from project_files import ROOT
from public_names import public

import clinometer

KEPT = ROOT / "docs" / "api.txt"


def test_what_is_public_is_what_is_written_down() -> None:
    """Where this fails on purpose: python tests/public_names.py > docs/api.txt, and say it in a fragment of changes/."""
    assert public().splitlines() == KEPT.read_text(encoding="utf-8").splitlines()


def test_every_public_name_and_verb_has_a_line() -> None:
    text = KEPT.read_text(encoding="utf-8")
    names, verbs = text.split("# clinometer VERB\n")
    for name in clinometer.__all__:
        assert re.search(rf"^(class )?{name}[(:]", names, flags=re.MULTILINE), name
    for verb in ("audit", "review", "report", "verify"):
        assert re.search(rf"^{verb}\b", verbs, flags=re.MULTILINE), verb


def test_the_list_holds_no_address_and_no_folder() -> None:
    text = KEPT.read_text(encoding="utf-8")
    assert " at 0x" not in text and str(Path.home()) not in text and str(ROOT) not in text


def test_the_command_that_writes_it_down(tmp_path: Path) -> None:
    """In an interpreter of its own, where no shapes are checked: what is public does not depend on pytest."""
    ran = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "public_names.py")],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=tmp_path,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == public()


def test_a_change_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def audit(evidence: object, policy: object = None, *, harshly: bool = False) -> None:
        """Another audit."""

    before = public()
    monkeypatch.setattr(clinometer, "audit", audit)
    changed = set(public().splitlines()) - set(before.splitlines())
    assert changed == {"audit(evidence, policy=None, *, harshly=False)"}
