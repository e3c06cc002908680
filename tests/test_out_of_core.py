"""The benchmark of many rows: its truth, its comparison of engines, its memory in a process of its own."""

import argparse
import importlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from project_files import ROOT

from clinometer import sources


@pytest.fixture(scope="module")
def out_of_core() -> Iterator[Any]:
    """The script as a module."""
    folder = str(ROOT / "benchmarks")
    sys.path.insert(0, folder)
    try:
        yield importlib.import_module("out_of_core")
    finally:
        sys.path.remove(folder)
        sys.modules.pop("out_of_core", None)


@pytest.fixture
def small(out_of_core: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(out_of_core, "PIECE", 2_000)
    return out_of_core


def test_rows_have_twelve_columns_and_known_counts(small: Any, tmp_path: Any) -> None:
    truth = small.generate(tmp_path, 5_000)
    assert sum(truth.values()) == 5_000 and len(list(tmp_path.iterdir())) == 3
    table = small.piece(0, 10)[0]
    assert table.num_columns == 12
    assert table.equals(small.piece(0, 10)[0]) and not table.equals(small.piece(1, 10)[0])
    roles = small.PLANS[next(iter(small.PLANS))][0]
    assert small.totals(sources.scan(tmp_path / "*.parquet", **roles).counted()) == truth


def test_a_disk_without_room_is_refused(small: Any, tmp_path: Any) -> None:
    with pytest.raises(SystemExit, match=r"GB free; about .* GB are needed"):
        small.generate(tmp_path, 10**13)


def test_engines_and_parts_are_compared(small: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    small.generate(tmp_path, 5_000)
    plan = next(iter(small.PLANS))
    lines = small.compared(tmp_path, plan)
    assert len(lines) == 6 and lines[-1]["measures apart by"] < 1e-12
    held = small.engines(tmp_path)
    fewer = {**held, "polars": lambda: held["polars"]().head(4_999)}
    monkeypatch.setattr(small, "engines", lambda _: fewer)
    with pytest.raises(SystemExit, match="polars gives another table than DuckDB"):
        small.compared(tmp_path, plan)


def test_memory_is_that_of_a_process_of_its_own(small: Any, tmp_path: Any) -> None:
    truth = small.generate(tmp_path, 5_000)
    arguments = argparse.Namespace(memory_limit="200MB", threads=1)
    found = small.measured(arguments, tmp_path, next(iter(small.PLANS)))
    assert found["rows"] == 5_000 and found["totals"] == truth
    assert 50e6 < found["peak"] < 2e9
