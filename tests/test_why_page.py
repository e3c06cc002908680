"""The page on why and fixes: its examples run in order, its table of fixes is the code's."""

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
from project_files import ROOT

from clinometer.interpret import folders
from clinometer.interpret.preprocessing import TablePreprocessor
from clinometer.mitigating import FIXES
from reference.subjects import applicants, fitted

PAGE = (ROOT / "docs" / "why.md").read_text(encoding="utf-8")


@pytest.fixture
def place(tmp_path, monkeypatch):
    rows = applicants(300)
    income = np.asarray(rows.inputs["income"], dtype=float)
    side = tuple("rich" if value > np.median(income) else "poor" for value in income)
    rows = dataclasses.replace(rows, groups={"side": side})
    table = TablePreprocessor.fit(rows.inputs, numeric=["income", "debt", "noise"], categorical=["home"])
    module = fitted(rows, epochs=2).module
    folders.save(tmp_path / "model", module, table, labels=("denied", "approved"))
    pd.DataFrame({**dict(rows.inputs), "side": side, "approved": rows.labels}).to_csv(
        tmp_path / "people.csv", index=False
    )
    monkeypatch.chdir(tmp_path)


def test_the_examples_run_in_order(place):
    known = {}
    for block in re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL):
        exec(block, known)
    assert known["found"].n_held_out > 100
    assert known["fixed"].n_judge > 50


def test_every_fix_has_its_row():
    rows = re.findall(r"^\| `([a-z ]+)` \|", PAGE, flags=re.MULTILINE)
    assert tuple(rows) == FIXES
