"""Control charts of a gap: false alarms at the stated rate, a shift found, noise between dates allowed for."""

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clinometer.bias.control_charts import Tally, control_chart
from clinometer.errors import UsageError

START = date(2024, 1, 1)


def days(n):
    return [START + timedelta(days=7 * i) for i in range(n)]


def tally(k, n):
    return Tally(float(n), k / n if n else 0.0, 0.0)


def series(draw, n_dates, rates, sizes, *, between=0.0, shift=0.0, after=20):
    """Tallies of two groups: rates that wander by `between` from date to date, the first shifted from a date on."""
    made = []
    for which, (rate, size) in enumerate(zip(rates, sizes, strict=True)):
        level = rate + between * draw.normal(size=n_dates)
        if which == 0:
            level = level + shift * (np.arange(n_dates) >= after)
        hits = draw.binomial(size, np.clip(level, 0, 1))
        made.append([tally(int(k), size) for k in hits])
    return made


def charted(groups, references, **settings):
    return control_chart(
        days(len(groups)), groups, references, **{"baseline": 12, "level": 0.01, "is_rate": True, **settings}
    )


def alarm_share(runs, seed=0, n_dates=32, **settings):
    """Share of dates after the baseline that alarm, over many series."""
    draw = np.random.default_rng(seed)
    made = {
        name: settings.pop(name)
        for name in ("rates", "sizes", "between", "shift", "after")
        if name in settings
    }
    alarms = dates = 0
    for _ in range(runs):
        chart = charted(*series(draw, n_dates, **made), **settings)
        alarms += len(chart.alarms)
        dates += sum(point.status not in {"baseline", "too small"} for point in chart.points)
    return alarms / dates


STILL = {"rates": (0.3, 0.4), "sizes": (200, 300)}


@pytest.mark.parametrize("kind", ["shewhart", "ewma"])
@pytest.mark.parametrize(
    "noise",
    [
        STILL,
        {**STILL, "between": 0.05},
        {"rates": (0.04, 0.06), "sizes": (150, 2000)},
        {**STILL, "binomial": True},
    ],
    ids=["independent rows", "dates that differ", "rare and uneven", "binomial limits"],
)
def test_a_series_without_a_change_alarms_at_most_at_the_stated_rate(kind, noise):
    # 400 series of 20 dates at a level of 1 %: four standard errors of dates that share a baseline.
    assert alarm_share(400, kind=kind, **noise) <= 0.01 + 4 * np.sqrt(0.01 / 8000 * 3)


def test_binomial_limits_alarm_far_too_often_where_dates_differ():
    assert alarm_share(100, binomial=True, **STILL, between=0.05) > 0.05


@pytest.mark.parametrize(("kind", "least"), [("shewhart", 0.9), ("ewma", 0.95)])
def test_a_shift_is_found(kind, least):
    found = 0
    draw = np.random.default_rng(1)
    for _ in range(40):
        chart = charted(*series(draw, 32, **STILL, shift=-0.2), kind=kind, level=0.001)
        found += any(point.status == "grew" for point in chart.points[20:])
    assert found / 40 >= least


def test_a_small_lasting_shift_is_found_sooner_by_the_smoothed_chart():
    seen = {}
    for kind in ("shewhart", "ewma"):
        draw = np.random.default_rng(2)
        seen[kind] = sum(
            bool(charted(*series(draw, 40, **STILL, shift=-0.08, after=12), kind=kind, level=0.002).alarms)
            for _ in range(60)
        )
    assert seen["ewma"] > seen["shewhart"] + 10


def test_a_gap_that_shrinks_is_told_from_one_that_grows():
    groups = [tally(30, 100)] * 12 + [tally(60, 100), tally(5, 100)]
    references = [tally(60, 100)] * 14
    # Gaps that never vary do not make limits of no width.
    chart = charted(groups, references)
    assert chart.dispersion == pytest.approx(stats.chi2.ppf(0.05, 11) / 11)
    assert chart.centre == pytest.approx(-0.3)
    assert [point.status for point in chart.points[12:]] == ["shrank", "grew"]


def test_slow_twin_of_the_limits():
    draw = np.random.default_rng(3)
    groups, references = series(draw, 20, (0.2, 0.5), (120, 240), between=0.06)
    chart = charted(groups, references)
    m = 12
    p = [sum(t.n * t.mean for t in side[:m]) / sum(t.n for t in side[:m]) for side in (groups, references)]
    v = [p[0] * (1 - p[0]) / a.n + p[1] * (1 - p[1]) / b.n for a, b in zip(groups, references, strict=True)]
    d = [a.mean - b.mean for a, b in zip(groups, references, strict=True)]
    centre = sum(x / y for x, y in zip(d[:m], v[:m], strict=True)) / sum(1 / y for y in v[:m])
    dispersion = max(
        stats.chi2.ppf(0.05, 11) / 11,
        sum((x - centre) ** 2 / y for x, y in zip(d[:m], v[:m], strict=True)) / (m - 1),
    )
    assert chart.dispersion == pytest.approx(dispersion, rel=1e-12)
    assert dispersion > 1
    limit = stats.t.ppf(1 - 0.005, m - 1)
    for i, point in enumerate(chart.points):
        error = np.sqrt(dispersion * (v[i] + 1 / sum(1 / y for y in v[:m])))
        assert (point.low, point.high) == pytest.approx(
            (centre - limit * error, centre + limit * error), rel=1e-12
        )
        assert point.statistic == pytest.approx((d[i] - centre) / error, rel=1e-9)


def test_slow_twin_of_the_smoothed_statistic():
    draw = np.random.default_rng(4)
    groups, references = series(draw, 18, (0.2, 0.5), (120, 240), between=0.06)
    plain = charted(groups, references)
    chart = charted(groups, references, kind="ewma", smoothing=0.3)
    p = [sum(t.mean for t in side[:12]) / 12 for side in (groups, references)]
    v = p[0] * (1 - p[0]) / 120 + p[1] * (1 - p[1]) / 240
    for last in range(12, 18):
        weights = [0.3 * 0.7 ** (last - k) for k in range(12, last + 1)]
        shifts = [
            (groups[k].mean - references[k].mean - plain.centre) / np.sqrt(v) for k in range(12, last + 1)
        ]
        value = sum(w * s for w, s in zip(weights, shifts, strict=True))
        # The centre's error, of variance v / 12, enters each of them.
        variance = plain.dispersion * (sum(w * w for w in weights) + sum(weights) ** 2 / 12)
        assert chart.points[last].statistic == pytest.approx(value / np.sqrt(variance), rel=1e-9)


def test_means_are_charted_with_their_own_spread():
    draw = np.random.default_rng(5)
    sides = []
    for centre in (1.0, 2.0):
        values = [draw.normal(centre, 3.0, 400) for _ in range(20)]
        sides.append([Tally(400.0, float(x.mean()), float(((x - x.mean()) ** 2).sum())) for x in values])
    chart = charted(*sides, is_rate=False, level=1e-4)
    width = chart.points[-1].high - chart.points[-1].low
    assert width == pytest.approx(
        2 * chart.limit * np.sqrt(chart.dispersion * 18 / 400 * (1 + 1 / 12)), rel=0.05
    )
    assert not chart.alarms


def test_dates_that_are_too_small_are_said_and_decide_nothing():
    groups = [tally(60, 200)] * 12 + [tally(5, 5), tally(0, 0), tally(60, 200)]
    chart = charted(groups, [tally(80, 200)] * 15)
    assert [point.status for point in chart.points[12:]] == ["too small", "too small", "in control"]
    assert "5 and 200 in the denominators" in chart.points[12].note
    assert chart.points[13].estimate is None
    assert not chart.alarms


def test_too_few_usable_dates_make_no_limits():
    groups = [tally(1, 3)] * 9 + [tally(60, 200)] * 6
    chart = charted(groups, [tally(80, 200)] * 15)
    assert chart.centre is None
    assert "3 of the first 12 dates are large enough" in chart.reason
    assert all(point.low is None for point in chart.points)
    never = charted([tally(0, 200)] * 15, [tally(80, 200)] * 15)
    assert never.centre is None


def test_a_date_outside_the_limits_that_it_helped_to_set_is_said():
    groups = [tally(60, 200)] * 11 + [tally(190, 200)] + [tally(60, 200)] * 3
    chart = charted(groups, [tally(80, 200)] * 15, level=0.2)
    assert "helped to set" in chart.points[11].note
    assert not any(point.status in {"grew", "shrank"} for point in chart.points[:12])


@settings(max_examples=25)
@given(st.permutations(range(12)))
def test_the_order_of_the_baseline_does_not_matter(order):
    draw = np.random.default_rng(6)
    groups, references = series(draw, 15, (0.3, 0.5), (150, 250), between=0.05)
    plain = charted(groups, references)
    turned = charted(
        [groups[i] for i in order] + groups[12:], [references[i] for i in order] + references[12:]
    )
    assert turned.centre == pytest.approx(plain.centre)
    assert [p.statistic for p in turned.points[12:]] == pytest.approx(
        [p.statistic for p in plain.points[12:]]
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"baseline": 4}, "5 or more"),
        ({"level": 0.0}, "between 0 and 1"),
        ({"smoothing": 0.0}, "between 0 and 1"),
    ],
)
def test_refusals(arguments, said):
    with pytest.raises(UsageError, match=said):
        charted([tally(60, 200)] * 15, [tally(80, 200)] * 15, **arguments)
