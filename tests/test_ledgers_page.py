"""The page on ledgers: its examples run in order, its tables name what there is, and what it prints adds up."""

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
from project_files import ROOT

from clinometer.bias import contrasts, slice_contrasts, swapped_contrasts
from clinometer.bias.parts_of_gaps import NAMES
from clinometer.bias.word_ledger import BASELINE, OTHER
from clinometer.interpret import folders
from clinometer.interpret.contrastive import FILLING
from clinometer.interpret.preprocessing import TablePreprocessor, TextPreprocessor
from reference.sentences import LABELS, own_classifier, sentences
from reference.subjects import applicants, fitted

PAGE = (ROOT / "docs" / "ledgers.md").read_text(encoding="utf-8")


def firsts(head):
    """First cells of the table whose header begins so."""
    table = re.search(rf"^\| {head} \|.*\n(?:\|.*\|\n)+", PAGE, flags=re.MULTILINE)
    return [line.split("|")[1].strip() for line in table.group().splitlines()[2:]]


def test_every_contrast_of_the_table_is_a_function_and_every_function_is_there():
    named = {re.match(r"`(\w+)", cell).group(1) for cell in firsts("contrast")}
    public = {
        name
        for module in (contrasts, slice_contrasts, swapped_contrasts)
        for name, value in vars(module).items()
        if name.endswith("_gap") and callable(value)
    }
    assert named == public


def test_every_part_is_explained_and_every_name_is_the_codes():
    assert tuple(firsts("part")) == NAMES
    assert all(name in PAGE for name in (OTHER, BASELINE, FILLING))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the models and the data that the page names, to stand in."""
    rows = sentences(160)
    lines = [
        line.replace("actor", "actress") if i % 2 else line for i, line in enumerate(rows.inputs["text"])
    ]
    lines = [f"{line} with one {'actress' if i % 2 else 'actor'}" for i, line in enumerate(lines)]
    rows = dataclasses.replace(rows, inputs={"text": np.array(lines, dtype=object)})
    texts = TextPreprocessor.fit({"text": np.append(rows.inputs["text"], "marker")}, longest=512)
    folders.save(tmp_path / "models/reviews", own_classifier(rows, epochs=3).module, texts, labels=LABELS)
    region = ["north" if i % 3 else "south" for i in range(160)]
    pd.DataFrame({"text": lines, "liked": rows.labels, "region": region}).to_csv(
        tmp_path / "reviews.csv", index=False
    )
    people = applicants(120)
    table = TablePreprocessor.fit(people.inputs, numeric=["income", "debt", "noise"], categorical=["home"])
    folders.save(
        tmp_path / "models/loans", fitted(people, epochs=1).module, table, labels=("denied", "approved")
    )
    pd.DataFrame({**people.inputs, "sex": people.groups["sex"]}).to_csv(tmp_path / "people.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_examples_run_in_order_and_add_up(place, capsys):
    known = {}
    for block in re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL):
        exec(block, known)
    printed = capsys.readouterr().out
    assert "soft surrogate of true_positive_rate" in printed and "alike in score" in printed
    for name in ("entry", "of_a_rate", "along", "beside"):
        entry = known[name]
        assert sum(s.estimate for s in entry.shares) + entry.residual == pytest.approx(entry.gap, abs=1e-9)
    for name in ("parts", "table"):
        found = known[name]
        assert sum(p.estimate for p in found.parts) + found.residual == pytest.approx(found.gap, abs=1e-9)
    assert {one.unit for one in known["parts"].units if one.identity} == {"actor", "actress"}
    assert {one.unit for one in known["table"].units} >= {"income", "debt", "home"}
    assert known["along"].gap == pytest.approx(known["beside"].gap, abs=1e-5)
    assert known["along"].ranked[0].unit in ("actor -> actress", "actress -> actor")
