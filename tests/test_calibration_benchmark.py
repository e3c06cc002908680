"""The benchmark of calibration: its enumeration beside plain loops, its verdicts beside the audit's, its tables."""

import importlib
import json
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from project_files import ROOT
from scipy import stats

from clinometer.bias.intervals import clopper_pearson, newcombe, wilson
from clinometer.bias.paired import PairedCounts, newcombe_paired
from clinometer.bias.ratios import koopman


@pytest.fixture(scope="module")
def calibration() -> Iterator[Any]:
    """The script as a module, found beside its own parts."""
    folder = str(ROOT / "benchmarks")
    sys.path.insert(0, folder)
    try:
        yield importlib.import_module("calibration")
    finally:
        sys.path.remove(folder)
        for name in [n for n in sys.modules if n.split(".")[0] in ("calibration", "measuring")]:
            del sys.modules[name]


@pytest.mark.parametrize("interval", [wilson, clopper_pearson])
def test_coverage_of_a_rate_is_the_sum_over_every_count(calibration: Any, interval: Any) -> None:
    rates = np.asarray([0.03, 0.25, 0.5, 0.9])
    got = calibration.coverage_of_rate(*calibration.ends(interval, 30, 0.95), rates)
    for rate, coverage in zip(rates, got, strict=True):
        plain = 0.0
        for k in range(31):
            low, high = interval(k, 30)
            plain += stats.binom.pmf(k, 30, rate) * (low <= rate <= high)
        assert coverage == pytest.approx(plain, abs=1e-9)


@pytest.mark.parametrize(("p1", "p2"), [(0.3, 0.3), (0.1, 0.6), (0.95, 0.9)])
def test_coverage_of_two_rates_is_the_sum_over_every_table(calibration: Any, p1: float, p2: float) -> None:
    got = calibration.coverages(12, p1, 9, p2)
    difference = ratio = defined = 0.0
    for a in range(13):
        for b in range(10):
            chance = stats.binom.pmf(a, 12, p1) * stats.binom.pmf(b, 9, p2)
            low, high = newcombe(a, 12, b, 9)
            difference += chance * (low <= p1 - p2 <= high)
            if a + b:
                defined += chance
                least, most = koopman(a, 12, b, 9)
                ratio += chance * (least <= p1 / p2 <= (np.inf if most is None else most))
    assert got["Newcombe"] == pytest.approx((1.0, difference), abs=1e-9)
    assert got["Koopman"] == pytest.approx((defined, ratio), abs=1e-9)


def test_paired_intervals_are_the_packages(calibration: Any) -> None:
    tables = np.random.default_rng(0).multinomial(25, [0.4, 0.2, 0.1, 0.3], size=40)
    _, low, high = calibration.paired_ends(tables)
    for i, (a, b, c, d) in enumerate(tables.tolist()):
        expected = newcombe_paired(PairedCounts(both=a, first_only=b, second_only=c, neither=d))
        assert (low[i], high[i]) == pytest.approx(expected, abs=1e-9)


def test_verdicts_are_the_audits(calibration: Any) -> None:
    generator = np.random.default_rng(0)
    seen = set()
    for rates, n in (([0.3, 0.3, 0.3], 2000), ([0.3, 0.3, 0.6], 40), ([0.3, 0.4, 0.35], 60)):
        for _ in range(4):
            rows = np.full(3, n)
            k = generator.binomial(rows, rates)
            verdict = calibration.gate(k, rows, 0.1)
            assert verdict == calibration.audited(k, rows, 0.1)
            seen.add(verdict)
    assert seen == {"within tolerance", "exceeds tolerance", "inconclusive"}


def test_tables_are_printed_and_kept(calibration: Any, tmp_path: Any, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(calibration, "SIZES", (20, 50))
    calibration.main(["--quick", "--only", "rate", "--json", str(tmp_path / "kept.json")])
    printed = capsys.readouterr().out
    kept = json.loads((tmp_path / "kept.json").read_text(encoding="utf-8"))["tables"]["rate"]["rows"]
    assert [row[:2] for row in kept[:2]] == [["Wilson", "20"], ["Clopper-Pearson", "20"]]
    assert "| Wald (naive)    | 50 |" in printed
    wilson_mean, naive_mean = float(kept[0][2]), float(kept[2][2])
    assert wilson_mean > 0.935 > naive_mean
