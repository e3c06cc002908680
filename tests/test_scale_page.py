"""The page on more rows: its example runs, and every flag it names is one."""

import re

import pytest
from project_files import ROOT

from clinometer.cli import built
from reference.sharding import planted

OF_EVIDENCE = {"--device-map", "--dtype", "--rounding"}  # a review explains, in float32

PAGE = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")


def test_the_example_runs(tmp_path, monkeypatch):
    import pandas as pd

    planted(tmp_path, 150)
    frame = pd.read_csv(tmp_path / "rows.csv")
    frame["side"] = ["rich" if i % 2 else "poor" for i in range(len(frame))]
    frame.drop(columns=["race", "sex"]).to_csv(tmp_path / "people.csv", index=False)
    monkeypatch.chdir(tmp_path)
    known = {}
    for block in re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL):
        exec(block, known)
    assert known["made"].n == 150 and known["audit"].cells


@pytest.mark.parametrize("verb", ["evidence", "review"])
def test_every_flag_of_the_page_is_one_of_both_commands(verb):
    named = {flag for flag in re.findall(r"`(--[a-z-]+)", PAGE)}
    known = {option for parameter in built().commands[verb].params for option in parameter.opts}
    assert named and named - (OF_EVIDENCE if verb == "review" else set()) <= known
