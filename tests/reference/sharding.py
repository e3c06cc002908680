"""A small model in a folder, a file of rows for it, and every moment at which writing may stop."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import clinometer.shards as shards
import clinometer.whole_files as whole_files
from clinometer.interpret.edits import save
from reference.subjects import applicants, fitted

GROUPS = ("race", "sex")


def planted(folder: Path, n: int = 200) -> tuple[Path, Path]:
    """A saved model, and a CSV file of applicants for it with their label and groups."""
    rows = applicants(n, seed=1)
    save(fitted(applicants(200), epochs=3), folder / "model")
    columns: dict[str, Any] = {name: np.asarray(column) for name, column in rows.inputs.items()}
    columns |= {name: list(column) for name, column in rows.groups.items()}
    pd.DataFrame({**columns, "approved": np.asarray(rows.labels)}).to_csv(folder / "rows.csv", index=False)
    return folder / "model", folder / "rows.csv"


class Killed(BaseException):
    """What a process that is gone would not even raise."""


@contextmanager
def killed_at(moment: int, patch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Within, the run dies at the `moment`-th step of writing a file: before it is renamed, or just after."""
    steps: list[str] = []
    real = whole_files.whole

    @contextmanager
    def dying(path: Path, *, durable: bool = False) -> Iterator[Path]:
        with real(path, durable=durable) as temporary:
            yield temporary
            steps.append(f"before {path.name}")
            if len(steps) == moment:
                shutil.copy(
                    temporary, path.with_name(f".{path.name}-left")
                )  # a process that is gone removes nothing
                raise Killed
        steps.append(f"after {path.name}")
        if len(steps) == moment:
            raise Killed

    import clinometer.sealed_notes as sealed_notes
    import clinometer.sharded_evidence as sharded_evidence
    import clinometer.staged_rows as staged_rows

    with patch.context() as patched:
        for module in (shards, sharded_evidence, sealed_notes, staged_rows):
            patched.setattr(module, "whole", dying)
        yield steps
