"""Tango's score test: equal to a search of the likelihood, to McNemar at 0, and of its nominal size."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clinometer.bias.paired import PairedCounts, mcnemar_exact, newcombe_paired
from clinometer.bias.paired_scores import paired_surpasses_p, tango, tango_statistic
from clinometer.errors import UsageError
from reference.paired_rates import tango_by_search


def cells(b, c, n):
    return PairedCounts(both=0, first_only=b, second_only=c, neither=n - b - c)


@pytest.mark.parametrize(
    ("b", "c", "n", "difference"),
    [
        (8, 3, 40, 0.1),
        (8, 3, 40, -0.2),
        (0, 0, 25, 0.05),
        (5, 0, 20, 0.3),
        (0, 7, 30, 0.1),
        (12, 12, 24, 0.4),
    ],
)
def test_slow_twin(b, c, n, difference):
    assert tango_statistic(cells(b, c, n), difference) == pytest.approx(
        tango_by_search(b, c, n, difference), rel=1e-3, abs=1e-4
    )


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 60))
def test_at_no_margin_it_is_mcnemars_statistic(b, c, rest):
    statistic = tango_statistic(cells(b, c, b + c + rest), 0.0)
    assert statistic == pytest.approx((b - c) / math.sqrt(b + c) if b + c else 0.0)


@settings(max_examples=50)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 40), st.sampled_from([0.8, 0.9, 0.95]))
def test_the_ends_are_where_the_test_stops_rejecting(b, c, rest, confidence):
    if b + c + rest == 0:
        return
    table = cells(b, c, b + c + rest)
    low, high = tango(table, confidence)
    z = stats.norm.ppf(0.5 + confidence / 2)
    assert -1 <= low <= table.difference <= high <= 1
    for end, sign in ((low, 1), (high, -1)):
        if abs(end) < 1 - 1e-9:
            assert sign * tango_statistic(table, end) == pytest.approx(z, rel=1e-4)
    mirrored = tango(cells(c, b, b + c + rest), confidence)
    assert (-mirrored.high, -mirrored.low) == pytest.approx((low, high), abs=1e-9)


def test_perfect_agreement_proves_less_than_newcombes_interval_says():
    table = PairedCounts(both=50, first_only=0, second_only=0, neither=50)
    low, high = tango(table)
    z2 = stats.norm.ppf(0.975) ** 2
    assert (low, high) == pytest.approx((-z2 / (100 + z2), z2 / (100 + z2)))
    assert newcombe_paired(table).high < high
    # One row in fifty that only one side has is missed by 100 rows more often than once in ten.
    assert 0.98**100 > 0.1 and newcombe_paired(table).high < 0.02 < high


def test_p_is_exact_without_a_margin_and_never_smaller_with_one():
    table = cells(9, 2, 60)
    assert paired_surpasses_p(table) == pytest.approx(stats.binomtest(9, 11, alternative="greater").pvalue)
    assert 2 * paired_surpasses_p(table) == pytest.approx(mcnemar_exact(table).p)
    previous = 0.0
    for margin in (0.0, 0.01, 0.05, 0.1, 0.3):
        p = paired_surpasses_p(table, margin)
        assert p >= previous
        previous = p
    assert paired_surpasses_p(cells(0, 0, 10)) == 1.0


def test_size_and_coverage_by_enumeration():
    # All tables of 40 rows at a few truths: the chance that a one-sided 5 % bound or test is wrong.
    n = 40
    tables = [(b, c) for b in range(n + 1) for c in range(n + 1 - b)]
    ends = {table: tango(cells(*table, n), 0.9) for table in tables}
    for b, c in ((0.05, 0.05), (0.15, 0.05), (0.3, 0.1)):
        chance = stats.multinomial.pmf([(x, y, n - x - y) for x, y in tables], n, [b, c, 1 - b - c])
        above = sum(p for p, t in zip(chance, tables, strict=True) if ends[t].high < b - c)
        rejected = sum(
            p for p, t in zip(chance, tables, strict=True) if paired_surpasses_p(cells(*t, n), b - c) < 0.05
        )
        assert above < 0.065
        assert rejected < 0.065
    power = sum(
        p
        for p, t in zip(
            stats.multinomial.pmf([(x, y, n - x - y) for x, y in tables], n, [0.4, 0.05, 0.55]),
            tables,
            strict=True,
        )
        if paired_surpasses_p(cells(*t, n), 0.05) < 0.05
    )
    assert power > 0.7


def test_refusals():
    with pytest.raises(UsageError, match=r"the margin is -0\.1"):
        paired_surpasses_p(cells(1, 1, 5), -0.1)
    with pytest.raises(UsageError, match="confidence is 1"):
        tango(cells(1, 1, 5), 1.0)
    assert tango(cells(5, 0, 5)).high == 1.0
    assert np.isfinite(tango_statistic(cells(5, 0, 5), 0.5))
