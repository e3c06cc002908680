"""The benchmark of attention: its intervals, its rounds, what it leaves out and what it refuses to compare."""

import importlib
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from project_files import ROOT


@pytest.fixture(scope="module")
def attention() -> Iterator[Any]:
    """The script as a module, found beside its own parts."""
    folder = str(ROOT / "benchmarks")
    sys.path.insert(0, folder)
    try:
        yield importlib.import_module("attention")
    finally:
        sys.path.remove(folder)
        for name in [n for n in sys.modules if n.split(".")[0] in ("attention", "measuring")]:
            del sys.modules[name]


@pytest.mark.parametrize(
    ("n", "low", "high"), [(5, None, None), (6, 1, 6), (20, 6, 15), (25, 8, 18), (100, 40, 61)]
)
def test_interval_of_the_median_is_that_of_the_printed_tables(
    attention: Any, n: int, low: int | None, high: int | None
) -> None:
    found = attention.rounds.middle([float(value) for value in range(n, 0, -1)])
    assert (found.median, found.low, found.high) == ((n + 1) / 2, low, high)


def test_interval_holds_the_median_as_often_as_it_says(attention: Any) -> None:
    generator = np.random.default_rng(0)
    intervals = [attention.rounds.middle(list(generator.exponential(size=20))) for _ in range(2000)]
    held = np.mean([found.low <= np.log(2) <= found.high for found in intervals])
    assert 0.94 < held < 0.975  # exactly 0.9586


def test_every_way_runs_in_every_round_and_a_slow_one_in_few(
    attention: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    now = SimpleNamespace(wall=0.0)

    def takes(name: str, seconds: float) -> Any:
        def run() -> None:
            ran.append(name)
            now.wall += seconds

        return run

    clock = SimpleNamespace(perf_counter=lambda: now.wall, process_time=lambda: 2 * now.wall)
    monkeypatch.setattr(attention.rounds, "time", clock)
    runs = {"plain": takes("plain", 1.0), "double": takes("double", 2.0), "slow": takes("slow", 40.0)}
    times = attention.rounds.interleaved(runs, 8, cuda=False, said="")
    assert {name: len(found.wall) for name, found in times.items()} == {"plain": 8, "double": 8, "slow": 6}
    assert {name: ran.count(name) for name in runs} == {"plain": 10, "double": 10, "slow": 8}
    assert times["double"].processor == pytest.approx([4.0] * 8)
    assert attention.rounds.ratios(times["slow"].wall, times["plain"].wall).median == pytest.approx(40.0)


def test_a_way_is_left_out_where_it_does_not_fit(attention: Any) -> None:
    setting = attention.Setting(length=8192, layers=2)
    assert attention.too_large("statistics", setting, 2e9) is None
    left_out = attention.too_large("eager", setting, 2e9)
    assert left_out is not None and "13.3 GB, 2.0 GB may be used" in left_out["skipped"]


def test_ways_that_tell_different_things_are_not_compared(attention: Any) -> None:
    setting = attention.Setting(length=8, layers=1)
    right = torch.full((1, 12, 8, 8), 1 / 8)
    wrong = right.clone()
    wrong[0, 0, 0, 0] += 0.02
    attention.check(setting, {"eager": lambda _: [right], "nnsight": lambda _: [right.clone()]})
    with pytest.raises(SystemExit, match=r"nnsight, saved weights and eager.* differ by 0\.0025"):
        attention.check(setting, {"eager": lambda _: [right], "nnsight": lambda _: [wrong]})


def test_ways_share_their_weights_and_agree(attention: Any) -> None:
    setting = attention.Setting(length=24, layers=1, padded=True)
    plain = attention.model(setting)
    twin = importlib.import_module("measuring.settings").eager_twin(plain)
    shared = {parameter.data_ptr() for parameter in plain.parameters()}
    assert {parameter.data_ptr() for parameter in twin.parameters()} == shared
    with torch.no_grad():
        keys = ("plain", "capture", "certified", "torch", "eager")
        attention.check(setting, {key: attention.WAYS[key].prepare(setting, plain) for key in keys})
