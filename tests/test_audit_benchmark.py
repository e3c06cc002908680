"""The benchmark of the audit: its rates and areas are right, and ways that disagree are not compared."""

import importlib
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from project_files import ROOT

from clinometer.bias.counts import count
from clinometer.bias.metrics import BY_NAME


@pytest.fixture(scope="module")
def audit() -> Iterator[Any]:
    """The script as a module, found beside its own parts."""
    folder = str(ROOT / "benchmarks")
    sys.path.insert(0, folder)
    try:
        yield importlib.import_module("audit")
    finally:
        sys.path.remove(folder)
        for name in [n for n in sys.modules if n.split(".")[0] in ("audit", "measuring")]:
            del sys.modules[name]


def test_its_rates_are_the_audits_rates(audit: Any) -> None:
    rows = audit.invented(1000)
    found, _ = audit.resampled_rates(rows, 10)
    estimates = np.array([one.estimate for one in found]).reshape(4, 8)
    for i, name in enumerate(audit.RATES):
        for group in range(8):
            mine = rows.group == group
            k, n = BY_NAME[name.replace(" ", "_")].of(count(rows.prediction[mine], rows.label[mine]))
            assert estimates[i, group] == pytest.approx(k / n, abs=1e-15)


def test_ways_that_tell_different_rates_are_not_compared(audit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = audit.invented(1000)
    audit.check_rates(rows)
    other = audit.invented(2000)
    right = audit.fairlearn_frame
    monkeypatch.setattr(audit, "fairlearn_frame", lambda _, replicates: right(other, replicates))
    with pytest.raises(SystemExit, match="rates differ from fairlearn's"):
        audit.check_rates(rows)


def test_areas_that_are_not_scikit_learns_are_not_compared(
    audit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = audit.invented(2000)
    monkeypatch.setattr(audit, "AGREEMENT", 40)
    assert 0.8 < audit.check_areas(rows) < 1.2
    wrong = audit.delong_areas(audit.invented(1000))
    monkeypatch.setattr(audit, "delong_areas", lambda _: wrong)
    with pytest.raises(SystemExit, match="the area is not scikit-learn's"):
        audit.check_areas(rows)


def test_tables_state_what_was_run_and_what_was_multiplied(
    audit: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = SimpleNamespace(wall=0.0)

    def takes(seconds: float) -> Any:
        def run(*_: Any) -> None:
            now.wall += seconds

        return run

    clock = SimpleNamespace(perf_counter=lambda: now.wall, process_time=lambda: now.wall)
    monkeypatch.setattr(audit.rounds, "time", clock)
    for name in ("check_rates", "check_areas"):
        monkeypatch.setattr(audit, name, lambda _: 1.0)
    monkeypatch.setattr(audit, "resampled_rates", takes(0.5))
    monkeypatch.setattr(
        audit, "fairlearn_frame", lambda _, few: takes(1.0 if few is None else 1.0 + 2 * few)()
    )
    kept = audit.bootstrap([10_000], 6)
    assert len(kept[10_000]["ours"]["wall"]) == 6
    line = capsys.readouterr().out.splitlines()[-1]
    assert (
        "2,000 (4 run)" in line and line.count("4,000 [4,000, 4,000]") == 2
    )  # 1000 times 2 s, over half a second
    monkeypatch.setattr(audit, "delong_areas", takes(0.25))
    monkeypatch.setattr(audit, "sklearn_areas", takes(2.5))
    audit.areas([10_000], 6)
    line = capsys.readouterr().out.splitlines()[-1]
    assert "250.00" in line and "500.0 (5 run)" in line and line.count("2,000 [2,000, 2,000]") == 2
