"""The benchmark of variants: who is of a community, which posts are toxic, how a change is written."""

import importlib
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from project_files import ROOT


@pytest.fixture(scope="module")
def variants() -> Iterator[Any]:
    """The script as a module, found beside the one it borrows from."""
    folder = str(ROOT / "benchmarks")
    sys.path.insert(0, folder)
    try:
        yield importlib.import_module("variants")
    finally:
        sys.path.remove(folder)
        for name in [n for n in sys.modules if n.split(".")[0] in ("variants", "hatexplain", "measuring")]:
            del sys.modules[name]


def test_posts_are_labelled_and_grouped(variants: Any) -> None:
    rows = variants.labelled(
        [
            {"post_id": "a", "post_tokens": ["one", "two"], "label": "normal", "majority_targets": ["None"]},
            {
                "post_id": "b",
                "post_tokens": ["three"],
                "label": "offensive",
                "majority_targets": ["Women", "Arab"],
            },
        ]
    )
    assert rows.ids == ("a", "b") and rows.labels.tolist() == [0, 1]
    assert rows.inputs["text"].tolist() == ["one two", "three"]
    assert rows.groups["Women"] == rows.groups["Arab"] == ("not named", "named")
    assert rows.groups["Jewish"] == ("not named", "not named") and len(rows.groups) == 10


def test_a_change_is_written_with_its_interval_or_the_reason_there_is_none(variants: Any) -> None:
    made = SimpleNamespace(change=-0.5, low=-0.75, high=0.25, reason="")
    assert variants.change(made) == "-0.5000 [-0.7500, +0.2500]"
    none = SimpleNamespace(change=None, low=None, high=None, reason="nobody")
    assert variants.change(none) == "undefined: nobody"
