"""Monitoring at its limits: how few dates, rows and expected counts are enough, and what a date's tally holds."""

import math
from datetime import date, timedelta

import numpy as np
import pytest
from scipy import stats

from clinometer.bias.control_charts import Tally, control_chart
from clinometer.bias.monitor import monitor
from clinometer.bias.policy import parse_policy
from clinometer.bias.tallies import tallied
from clinometer.errors import PolicyError, UsageError
from clinometer.evidence import from_columns

AT = date(2024, 1, 1)


def days(n):
    return [AT + timedelta(days=7 * i) for i in range(n)]


def tally(k, n):
    return Tally(float(n), k / n if n else 0.0, 0.0)


def charted(groups, references, **settings):
    given = {"baseline": 12, "level": 0.01, "is_rate": True, **settings}
    return control_chart(days(len(groups)), groups, references, **given)


def gate(**extra):
    return parse_policy(
        {"name": "t", "set_by": "the test", "tolerance": {"selection_rate": 0.1}, **extra}, where="the test"
    )


def table(yes, n, **extra):
    """Groups a, b, ... of n rows each, of which the first `yes` are positive."""
    group = np.repeat(list("abcdef")[: len(yes)], n)
    said = np.concatenate([(np.arange(n) < k).astype(int) for k in yes])
    return from_columns(
        {"prediction": said, "group": group, **extra}, prediction="prediction", groups=["group"]
    )


# Control charts


@pytest.mark.parametrize(("usable", "found"), [(4, False), (5, True), (6, True)])
def test_five_usable_dates_make_limits_and_four_do_not(usable, found):
    groups = [tally(0, 0)] * (12 - usable) + [tally(60, 200)] * (usable + 2)
    chart = charted(groups, [tally(80, 200)] * 14)
    assert chart.n_baseline == usable
    assert (chart.centre is not None, chart.dispersion is not None, chart.limit is not None) == (found,) * 3
    assert all((point.low is not None) is found for point in chart.points[12:])
    if found:
        assert chart.reason == "" and chart.centre == pytest.approx(-0.1)
        assert chart.limit == pytest.approx(stats.t.isf(0.005, usable - 1))
    else:
        assert chart.reason == "4 of the first 12 dates are large enough; 5 are needed for limits"


def test_numbers_asked_for_at_their_limits():
    sides = [tally(60, 200)] * 8, [tally(80, 200)] * 8
    assert charted(*sides, baseline=5).n_baseline == 5
    with pytest.raises(UsageError) as raised:
        charted(*sides, baseline=4)
    assert str(raised.value) == "the baseline is 4 dates; 5 or more are needed for limits."
    plain = charted(*sides, baseline=5)
    smooth = charted(*sides, baseline=5, kind="ewma", smoothing=1.0)
    assert [p.statistic for p in smooth.points] == pytest.approx([p.statistic for p in plain.points])
    refused = [(level, 0.2) for level in (-0.1, 0.0, 1.0, 1.1, math.nan)]
    refused += [(0.1, smoothing) for smoothing in (-0.1, 0.0, 1.001, math.nan)]
    for level, smoothing in refused:
        with pytest.raises(UsageError) as raised:
            charted(*sides, baseline=5, level=level, smoothing=smoothing)
        assert str(raised.value) == (
            f"the level is {level} and the smoothing {smoothing}; both lie between 0 and 1."
        )
    assert charted(*sides, baseline=5, level=1 - 1e-9).limit == pytest.approx(0, abs=1e-8)


def test_a_date_is_large_enough_with_five_yes_and_five_no_expected():
    groups = [tally(50, 200)] * 12 + [tally(5, 20), tally(5, 19)]
    chart = charted(groups, [tally(100, 200)] * 14)
    assert [point.status for point in chart.points[12:]] == ["in control", "too small"]
    assert chart.points[13].note == (
        "19 and 200 in the denominators: fewer than 5 of yes or of no are expected at the baseline's rates"
    )
    # Of a rate above a half it is the no that are few.
    turned = charted([tally(150, 200)] * 12 + [tally(15, 20), tally(15, 19)], [tally(100, 200)] * 14)
    assert [point.status for point in turned.points[12:]] == ["in control", "too small"]
    # Of independent rows 20 are asked for, and `least` says another number.
    groups = [tally(50, 200)] * 12 + [tally(20, 80), tally(20, 79)]
    binomial = charted(groups, [tally(100, 200)] * 14, binomial=True)
    assert [point.status for point in binomial.points[12:]] == ["in control", "too small"]
    assert binomial.dispersion == 1.0 and binomial.limit == pytest.approx(stats.norm.isf(0.005))
    groups = [tally(50, 200)] * 12 + [tally(2, 8), tally(1, 7)]
    fewer = charted(groups, [tally(100, 200)] * 14, least=2.0)
    assert [point.status for point in fewer.points[12:]] == ["in control", "too small"]


def test_the_smallest_denominator_is_asked_of_both_sides():
    large = [tally(50, 200)] * 12
    for short, status in ((40, "in control"), (39, "too small")):
        for sides in (
            ([*large, tally(10, short)], [*large, tally(50, 200)]),
            ([*large, tally(50, 200)], [*large, tally(10, short)]),
        ):
            point = charted(*sides, smallest=40).points[-1]
            assert point.status == status
            if status == "too small":
                assert point.note.endswith("in the denominators: fewer than 40 in one")


def test_a_mean_takes_five_rows_and_a_spread():
    values = Tally(100.0, 1.0, 99.0 * 4)
    chart = charted(
        [values] * 12 + [Tally(5.0, 1.0, 16.0), Tally(4.0, 1.0, 12.0)], [values] * 14, is_rate=False
    )
    assert [point.status for point in chart.points[12:]] == ["in control", "too small"]
    assert chart.points[13].note == (
        "4 and 100 in the denominators: fewer than 5 in one, or values that never vary"
    )
    # 12 dates of 99 degrees of freedom each: a variance of 4 for each row, on either side.
    error = math.sqrt(chart.dispersion * 4 * (2 / 100) * (1 + 1 / 12))
    assert chart.points[0].high == pytest.approx(chart.limit * error)
    still = Tally(100.0, 1.0, 0.0)
    assert charted([still] * 14, [values] * 14, is_rate=False).centre is None


def test_a_gap_grew_where_it_is_further_from_0_on_either_side():
    references = [tally(500, 1000)] * 13
    for last, status in ((650, "shrank"), (500, "shrank"), (300, "shrank"), (200, "grew"), (850, "grew")):
        chart = charted([tally(750, 1000)] * 12 + [tally(last, 1000)], references)
        assert chart.points[-1].status == status, last
        assert chart.alarms == (chart.points[-1],)
    none = charted([tally(500, 1000)] * 12 + [tally(400, 1000)], references)
    assert none.centre == 0 and none.points[-1].status == "grew"


def test_defaults_are_shewharts_chart_of_every_date_that_has_rows():
    sides = [tally(60, 200)] * 13, [tally(80, 200)] * 13
    assert charted(*sides) == charted(
        *sides, kind="shewhart", smoothing=0.2, binomial=False, least=None, smallest=1
    )


# Monitoring


def months(rows):
    return [(date(2024 + i // 12, i % 12 + 1, 1), one) for i, one in enumerate(rows)]


def test_the_last_date_that_grew_gives_the_number():
    still = [table((120, 200), 400)] * 12
    after = [table((k, 200), 400) for k in (40, 20, 30, 44, 36, 28)]
    five, six = monitor(months(still + after[:5]), gate()), monitor(months(still + after), gate())
    dates = "2025-01-01, 2025-02-01, 2025-03-01, 2025-04-01, 2025-05-01"
    assert five.charts[0].reason == f"grew at {dates}; -0.410, usually -0.200"
    assert six.charts[0].reason == f"grew at {dates} and 1 more; -0.430, usually -0.200"
    one = monitor(months(still + after[:1]), gate())
    assert one.charts[0].reason == "grew at 2025-01-01; -0.400, usually -0.200"
    # An alarm on the date itself counts, and one before it does not.
    assert monitor(months(still + after[:2]), gate(), since=date(2025, 2, 1)).charts[0].reason == (
        "grew at 2025-02-01; -0.450, usually -0.200"
    )
    late = monitor(months(still + after[:1] + still[:1]), gate(), since=date(2025, 2, 1))
    assert (late.charts[0].outcome, late.charts[0].reason) == ("no alarm", "")


def test_the_newest_date_says_why_it_is_too_small():
    still = [table((120, 200), 400)] * 13
    made = monitor(months([*still, table((3, 5), 9)]), gate(min_group=10))
    assert made.charts[0].outcome == "not assessed"
    assert made.charts[0].reason == "2025-02-01: 9 and 9 in the denominators: fewer than 10 in one"
    # An older one that is too small changes nothing.
    assert monitor(months([*still, table((3, 5), 9), still[0]]), gate(min_group=10)).outcome == "no alarm"


# What a date's tally holds


def test_a_tally_holds_rows_their_mean_and_their_squared_deviations():
    evidence = from_columns(
        {
            "said": [1, 1, 1, 0, 1, 0],
            "label": [0, 0, 0, 0, 1, 0],
            "score": [1.0, 2.0, 3.0, 6.0, 5.0, 7.0],
            "group": list("aaaabb"),
        },
        label="label",
        prediction="said",
        score="score",
        groups=["group"],
    )
    rules = parse_policy({"groups": {"group": {"values": ["a", "b", "z"]}}}, where="the test")
    made = tallied(evidence, rules, ["selection_rate", "score", "true_positive_rate"], AT)
    nobody = (0.0, 0.0, 0.0)
    assert made.tallies["group", "selection_rate", "a", "b"] == ((4.0, 0.75, 0.75), (2.0, 0.5, 0.5))
    assert made.tallies["group", "selection_rate", "a", "z"] == ((4.0, 0.75, 0.75), nobody)
    assert made.tallies["group", "score", "a", "b"] == ((4.0, 3.0, 14.0), (2.0, 6.0, 2.0))
    assert made.tallies["group", "score", "b", "z"] == ((2.0, 6.0, 2.0), nobody)
    # No row of a has a positive label: the rate is undefined there, and nobody is in its denominator.
    assert made.tallies["group", "true_positive_rate", "a", "b"] == (nobody, (1.0, 1.0, 0.0))
    assert made.rates == {"selection_rate", "true_positive_rate"} and made.clustered is False


def test_a_group_that_is_never_there_is_shown_with_nobody_and_no_gap():
    made = monitor(months([table((120, 200), 400)] * 13), gate(groups={"group": {"values": ["a", "b", "z"]}}))
    for point in made.of("selection_rate", "a", "z").chart.points:
        assert (point.n_group, point.n_reference, point.estimate) == (400.0, 0.0, None)


@pytest.mark.parametrize(
    ("own", "asked", "rate"),
    [
        (None, None, 0.75),
        (None, "no", 0.25),
        (None, "yes", 0.75),
        ("yes", None, 0.75),
        ("no", None, 0.25),
        ("no", "yes", 0.25),
        ("yes", "no", 0.75),
    ],
)
def test_the_policys_positive_value_holds_where_the_evidence_names_none(own, asked, rate):
    evidence = from_columns(
        {"said": ["yes", "yes", "yes", "no", "yes", "no"], "group": list("aaaabb")},
        prediction="said",
        groups=["group"],
        positive=own,
    )
    rules = parse_policy({} if asked is None else {"positive": asked}, where="the test")
    made = tallied(evidence, rules, ["selection_rate"], AT)
    assert made.tallies["group", "selection_rate", "a", "b"][0] == pytest.approx((4.0, rate, 0.75))


def test_weights_count_as_kish_says_and_one_row_has_no_spread():
    evidence = from_columns(
        {"said": [1, 0, 1, 1], "w": [1.0, 3.0, 2.0, 2.0], "group": list("aaab")},
        prediction="said",
        groups=["group"],
        weight="w",
    )
    made = tallied(evidence, parse_policy({}, where="the test"), ["selection_rate"], AT)
    first, second = made.tallies["group", "selection_rate", "a", "b"]
    assert (first.n, first.mean) == pytest.approx((36 / 14, 0.5))
    # Influence 3 w (y - .5) / 6: .25, .75 and .5 in size; its variance over 3 rows, times Kish's n twice.
    se2 = (0.5**2 + 1.5**2 + 1.0**2) / 4 / 3 / 2
    assert first.squares == pytest.approx(se2 * (36 / 14) ** 2)
    assert second[:2] == (1.0, 1.0) and math.isnan(second.squares)


def test_what_cannot_be_charted_is_said_with_its_date():
    with pytest.raises(
        PolicyError, match=r"^2024-01-01: 'selection_rat' cannot be charted here: did you mean"
    ):
        tallied(table((3, 4), 9), gate(), ["selection_rat"], AT)
    with pytest.raises(PolicyError, match=r"groups.group: \(largest\) can be another group at each date"):
        tallied(table((3, 4), 9), gate(groups={"group": {"reference": "(largest)"}}), ["selection_rate"], AT)
