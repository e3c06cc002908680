"""The figures of the table draw the numbers of their records: marks, whiskers, limits and words."""

import dataclasses

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from clinometer.bias.group_reliability import group_reliability
from clinometer.bias.group_thresholds import group_thresholds
from clinometer.errors import DataError, UsageError
from clinometer.records import Audit
from clinometer.visualizers import (
    calibration_curves,
    control_chart,
    dumbbells,
    intersections,
    layer_flow,
    slice_table,
    slope_chart,
    threshold_sweep,
    token_strip,
)
from clinometer.visualizers.figures import figure
from clinometer.visualizers.wording import interval, number, signed
from reference.pictured import attributed, evidence_of, monitored, people, records


def words(drawn: Figure) -> str:
    drawn.draw_without_rendering()
    return "\n".join(artist.get_text() for artist in drawn.findobj(Text))


def marks(drawn: Figure, at: int = 0) -> list[tuple[float, float]]:
    """Every single mark of an axes, as (x, y)."""
    lines = drawn.axes[at].get_lines()
    return [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in lines
        if len(line.get_xdata()) == 1
    ]


def spans(drawn: Figure, at: int = 0) -> list[tuple[float, float]]:
    """Every level line of an axes: its two ends along x."""
    found = []
    for line in drawn.axes[at].get_lines():
        x, y = list(line.get_xdata()), list(line.get_ydata())
        if len(x) == 2 and y[0] == y[1]:
            found.append((float(x[0]), float(x[1])))
    return found


# Intersections.


def test_every_cell_holds_its_own_numbers() -> None:
    audit = records()["intersections"]
    metric = "true_positive_rate"
    drawn = figure(audit, "intersections", metric=metric)
    said = words(drawn)
    cells = [c for c in audit.cells if c.attribute == "race & sex" and c.metric == metric]
    inside = [c for c in cells if c.group.count(" & ") == 1]
    assert len(inside) >= 4
    for cell in inside:
        assert f"{cell.k}/{cell.n}" in said and number(cell.estimate) in said
        assert cell.status != "ok" or interval(cell.low, cell.high) in said
    hatched = [p for p in drawn.axes[0].patches if isinstance(p, Rectangle) and p.get_hatch()]
    assert len(hatched) == sum(c.status != "ok" or c.estimate is None for c in inside if c.n_rows)
    unknown = sum(c.n_rows for c in cells if c.group.startswith("unknown"))
    assert unknown and f"{unknown} rows with an unknown part" in said


def _with_small_cells(audit: Audit) -> Audit:
    cells = tuple(
        dataclasses.replace(c, status="insufficient") if c.group == "black & male" else c for c in audit.cells
    )
    return dataclasses.replace(audit, cells=cells)


def test_a_cell_with_too_few_rows_is_hatched_and_no_end_of_the_shade() -> None:
    audit = records()["intersections"]
    few = _with_small_cells(audit)

    def hatched(one: Audit) -> int:
        return sum(bool(p.get_hatch()) for p in intersections.intersections(one).axes[0].patches)

    assert hatched(few) == hatched(audit) + 1
    assert "black & male" not in intersections.describe(few)


def test_many_rows_are_counted() -> None:
    audit = records()["intersections"]
    one = next(c for c in audit.cells if c.group == "black & male")
    many = tuple(dataclasses.replace(one, group=f"g{i} & h{j}") for i in range(40) for j in range(14))
    said = words(intersections.intersections(dataclasses.replace(audit, cells=many)))
    assert "16 more rows" in said.replace("\n", " ") and "4 more columns" in said.replace("\n", " ")


def test_an_audit_without_intersections_says_how_to_have_one() -> None:
    audit = records()["intersections"]
    alone = tuple(c for c in audit.cells if "&" not in c.attribute)
    with pytest.raises(UsageError, match=r"no intersection: it has none. Declare one in the policy"):
        intersections.intersections(dataclasses.replace(audit, cells=alone))
    with pytest.raises(UsageError, match=r"no intersection 'age & sex': it has 'race & sex'"):
        intersections.intersections(audit, attribute="age & sex")
    with pytest.raises(UsageError, match="'nothing' was not audited by race & sex"):
        intersections.intersections(audit, "nothing")


# Dumbbells.


def test_both_rates_of_every_group_are_where_the_record_has_them() -> None:
    audit = records()["errors"]
    drawn = dumbbells.dumbbells(audit)
    wanted = {
        (c.estimate, c.low, c.high)
        for c in audit.cells
        if c.metric in dumbbells.BOTH and c.estimate is not None
    }
    found = {x for x, _ in marks(drawn)}
    assert {estimate for estimate, _, _ in wanted} == found
    assert {(low, high) for _, low, high in wanted} <= set(spans(drawn))
    said = words(drawn)
    for cell in audit.cells:
        if cell.metric in dumbbells.BOTH and cell.estimate is not None:
            assert (
                f"{number(cell.estimate)} {interval(cell.low, cell.high)}  {number(cell.k)}/{number(cell.n)}"
                in said
            )


def test_a_rate_without_an_estimate_keeps_its_line_and_errors_need_labels() -> None:
    audit = records()["errors"]
    cells = tuple(
        dataclasses.replace(c, estimate=None, low=None, high=None, n=0, k=0, status="undefined")
        if c.group == "black"
        else c
        for c in audit.cells
    )
    assert "no estimate, n = 0" in words(dumbbells.dumbbells(dataclasses.replace(audit, cells=cells)))
    without = tuple(c for c in audit.cells if c.metric == "selection_rate")
    with pytest.raises(UsageError, match=r"'false_positive_rate', 'false_negative_rate' is not among them"):
        dumbbells.dumbbells(dataclasses.replace(audit, cells=without))
    one = next(c for c in audit.cells if c.metric == "false_positive_rate")
    many = tuple(dataclasses.replace(one, group=f"g{i}") for i in range(40)) + tuple(
        dataclasses.replace(one, group=f"g{i}", metric="false_negative_rate") for i in range(40)
    )
    assert "15 more groups" in words(dumbbells.dumbbells(dataclasses.replace(audit, cells=many)))


# Calibration.


def test_bins_are_drawn_where_they_are() -> None:
    record = records()["calibration"]
    drawn = calibration_curves.calibration_curves(record)
    for axes, one in zip(drawn.axes, record.groups, strict=False):
        places = [tuple(map(float, c.get_offsets()[0])) for c in axes.collections]
        assert places == [(b.mean_probability, b.positive_rate) for b in one.bins]
        whiskers = {
            (float(y[0]), float(y[1]))
            for y in (line.get_ydata() for line in axes.get_lines() if len(line.get_ydata()) == 2)
        }
        assert {tuple(b.interval) for b in one.bins if b.interval} <= whiskers
        said = "\n".join(t.get_text() for t in axes.texts)
        assert f"n = {number(one.n)}" in said
        assert f"excess {signed(one.excess)}\n{interval(one.low, one.high, sign=True)}" in said
    assert sum(one.n for one in record.groups[1:]) == record.groups[0].n == 700


def test_curves_are_refused_where_they_would_mislead() -> None:
    frame = people(200, 3)
    logits = evidence_of(frame.assign(probability=4 * frame["probability"] - 2))
    with pytest.raises(DataError, match=r"leaves \[0, 1\]: it is no probability"):
        group_reliability(logits, "race")
    together = evidence_of(frame.assign(who=np.arange(200) // 2), cluster="who")
    with pytest.raises(DataError, match="rows come in clusters"):
        group_reliability(together, "race")
    with pytest.raises(DataError, match="no plain counts at a threshold"):
        group_thresholds(together, "race")
    with pytest.raises(DataError, match="the evidence has no score"):
        group_reliability(evidence_of(frame, score=None), "race")
    with pytest.raises(UsageError, match="there is no attribute 'rase': did you mean 'race'"):
        group_thresholds(evidence_of(frame), "rase")
    with pytest.raises(UsageError, match="there is no rate 'nothing'"):
        group_thresholds(evidence_of(frame), "race", "nothing")
    empty = dataclasses.replace(records()["calibration"], groups=())
    with pytest.raises(UsageError, match="no group of 'race' has a row"):
        calibration_curves.calibration_curves(empty)


# Thresholds.


def test_rates_over_thresholds_are_counted_by_hand() -> None:
    record = records()["thresholds"]
    frame = people(700, 0)
    for i, name in enumerate(record.groups):
        part = frame if name == "(all)" else frame[frame["race"] == name]
        positive = part[part["approved"] == 1]
        for t, at in enumerate(record.threshold):
            k = int((positive["probability"] >= at).sum())
            assert (int(record.k[i, t]), int(record.denominator[i, t])) == (k, len(positive))
    by_group = record.estimate[[record.groups.index(name) for name in record.compared]]
    assert np.allclose(record.gap, by_group.max(axis=0) - by_group.min(axis=0))
    assert (record.gap_low <= record.gap + 1e-12).all() and (record.gap <= record.gap_high).all()
    assert record.current is None and record.note == "the predictions follow no single threshold of the score"


def test_lines_and_the_threshold_in_use_are_those_of_the_record() -> None:
    record = group_thresholds(evidence_of(people(700, 0, shift=0.0)), "race", "selection_rate", most=20)
    assert record.current is not None and 0.5 < record.current < 0.51
    drawn = threshold_sweep.threshold_sweep(record)
    above, under = drawn.axes
    curves = [line for line in above.get_lines() if len(line.get_xdata()) == len(record.threshold)]
    assert len(curves) == len(record.groups) - 1
    for line, i in zip(curves, range(1, len(record.groups)), strict=True):
        assert np.array_equal(np.asarray(line.get_ydata()), record.estimate[i], equal_nan=True)
    at = int(np.flatnonzero(record.threshold == record.current)[0])
    assert (float(record.current), float(record.gap[at])) in marks(drawn, 1)
    assert any(np.array_equal(np.asarray(line.get_ydata()), record.gap) for line in under.get_lines())
    assert f"in use {number(record.current)}" in words(drawn)
    nothing = dataclasses.replace(record, groups=record.groups[:1], denominator=record.denominator[:1])
    with pytest.raises(UsageError, match=r"20? ?\d* thresholds and 0 groups"):
        threshold_sweep.threshold_sweep(nothing)


def test_a_group_with_too_few_rows_has_no_line_and_is_not_compared() -> None:
    record = dataclasses.replace(records()["thresholds"], min_group=10_000)
    drawn = threshold_sweep.threshold_sweep(record)
    assert words(drawn).count("too few") == 3
    assert not [line for line in drawn.axes[0].get_lines() if len(line.get_xdata()) > 2]


# Slices.


def test_bars_are_the_differences_of_the_search() -> None:
    search = records()["slices"]
    drawn = slice_table.slice_table(search)
    shown = list(search.leaders) or list(search.slices)[: slice_table.MOST_ROWS]
    bars = [p for p in drawn.axes[0].patches if isinstance(p, Rectangle)]
    widths = [bar.get_width() for bar in bars]
    assert widths == pytest.approx([one.effect for one in shown])
    assert spans(drawn) == [(one.low, one.high) for one in shown]
    said = words(drawn)
    for one in shown:
        assert f"{number(one.k)}/{number(one.n)}" in said
    with pytest.raises(UsageError, match="holds none: there is nothing to draw"):
        slice_table.slice_table(dataclasses.replace(search, slices=()))


def test_what_was_not_found_is_hollow_and_said() -> None:
    search = records()["slices"]
    nothing = dataclasses.replace(
        search, n_found=0, slices=tuple(dataclasses.replace(one, found=False) for one in search.slices)
    )
    bars = [p for p in slice_table.slice_table(nothing).axes[0].patches if isinstance(p, Rectangle)]
    assert bars and all(bar.get_facecolor()[:3] == (1.0, 1.0, 1.0) for bar in bars)
    assert "None is shown to; the strongest" in slice_table.describe(nothing)
    many = dataclasses.replace(nothing, slices=nothing.slices * 30)
    assert "more are in the table" in words(slice_table.slice_table(many)).replace("\n", " ")


# Slopes.


def test_slopes_and_changes_are_those_of_the_comparison() -> None:
    record = records()["slopes"]
    drawn = slope_chart.slope_chart(record)
    changes = [c for c in record.changes if c.metric == "true_positive_rate" and not c.reference]
    known = [c for c in changes if c.change is not None]
    lines = {
        tuple(map(float, line.get_ydata()))
        for line in drawn.axes[0].get_lines()
        if line.get_marker() != "None"
    }
    assert lines == {(c.before, c.after) for c in known}
    assert {x for x, _ in marks(drawn, 1)} == {c.change for c in known}
    assert {(c.low, c.high) for c in known if c.low is not None} <= set(spans(drawn, 1))
    said = words(drawn)
    for one in known:
        assert f"{signed(one.change)} {interval(one.low, one.high, sign=True)}" in said
    with pytest.raises(UsageError, match="'nothing' was not compared"):
        slope_chart.slope_chart(record, "nothing")
    with pytest.raises(UsageError, match="holds no metric of a group"):
        slope_chart.slope_chart(dataclasses.replace(record, changes=()))


@pytest.mark.parametrize("seed", range(5))
def test_words_beside_slopes_are_apart_and_in_order(seed: int) -> None:
    draw = np.random.default_rng(seed)
    values = np.round(draw.random(12) ** 3, 2).tolist()
    made = slope_chart._apart(values, 0.06)
    order = np.argsort(values, kind="stable")
    assert (np.diff(np.array(made)[order]) >= 0.06 - 1e-9).all()
    assert sum(made) == pytest.approx(sum(values))  # pushed apart around where they were
    assert slope_chart._apart([0.0, 1.0], 0.06) == [0.0, 1.0]


# Control charts.


def test_dates_limits_and_alarms_are_those_of_the_chart() -> None:
    record = records()["control"]
    drawn = control_chart.control_chart(record)
    assert record.outcome == "alarm"
    ordered = control_chart._charts(record, None)
    assert ordered[0].outcome == "alarm"
    for axes, one in zip(drawn.axes, ordered, strict=True):
        points = [p for p in one.chart.points if p.estimate is not None]
        single = [line for line in axes.get_lines() if len(line.get_xdata()) == 1]
        assert [float(line.get_ydata()[0]) for line in single] == [p.estimate for p in points]
        shapes = {p.status: line.get_marker() for p, line in zip(points, single, strict=True)}
        assert shapes.get("grew", "^") == "^" and shapes.get("shrank", "v") == "v"
        limits = [line for line in axes.get_lines() if len(line.get_xdata()) > 2]
        assert [p.low for p in points] in [[float(v) for v in line.get_ydata()] for line in limits]
        assert [p.high for p in points] in [[float(v) for v in line.get_ydata()] for line in limits]
    assert "grew" in control_chart.describe(record) or "alarm" in control_chart.describe(record)
    with pytest.raises(UsageError, match=r"no chart of 'nothing'.*'selection_rate'"):
        control_chart.control_chart(record, "nothing")
    with pytest.raises(UsageError, match="no chart: there is nothing to draw"):
        control_chart.control_chart(dataclasses.replace(record, charts=()))


def test_a_smoothed_chart_shows_its_statistic_beside_its_limit() -> None:
    record = monitored(kind="ewma")
    drawn = control_chart.control_chart(record)
    one = control_chart._charts(record, None)[0]
    heights = [float(line.get_ydata()[0]) for line in drawn.axes[0].get_lines() if len(line.get_xdata()) == 1]
    assert heights == [p.statistic for p in one.chart.points if p.statistic is not None]
    assert "limit ±" in control_chart.describe(record)


def test_many_charts_are_counted() -> None:
    record = records()["control"]
    many = dataclasses.replace(record, charts=record.charts * 4)
    drawn = control_chart.control_chart(many)
    assert len(drawn.axes) == control_chart.MOST_CHARTS
    assert f"{len(many.charts) - control_chart.MOST_CHARTS} more charts are not drawn" in words(
        drawn
    ).replace("\n", " ")


# Tokens.


def test_chips_carry_word_sign_and_score() -> None:
    made = attributed(("good", "bad", "film"))
    drawn = token_strip.token_strip(made)
    said = words(drawn)
    for token, score in zip(made.tokens[0], made.scores[0], strict=True):
        assert token in said and signed(float(score)) in said
    written = [text.get_text() for text in drawn.axes[0].texts]
    assert [w for w in written if w in {"▲", "▼"}] == ["▲" if s > 0 else "▼" for s in made.scores[0]]
    total = float(made.scores[0].sum())
    assert f"Baseline −0.500, scores {signed(total)}" in said.replace("\n", " ")
    assert "add up to nothing" in token_strip.describe(attributed(("a", "b"), adds_up=False))


def test_many_tokens_wrap_and_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_strip, "MOST_TOKENS", 40)
    long = attributed(tuple(f"word{i}" for i in range(47)))
    drawn = token_strip.token_strip(long)
    said = words(drawn)
    assert "7 more are not drawn" in said.replace("\n", " ")
    assert "word39" in said and "word40" not in said
    tops = {round(p.get_y(), 3) for p in drawn.axes[0].patches}
    assert len(tops) > 2  # lines
    with pytest.raises(UsageError, match="'r1' has no token"):
        token_strip.token_strip(long, 1)
    with pytest.raises(UsageError, match="example 9 does not exist: the attribution has 2"):
        token_strip.token_strip(long, 9)
    with pytest.raises(UsageError, match="there is no example 'r7'"):
        token_strip.token_strip(long, "r7")


# Flow.


@pytest.mark.parametrize("residual", [0.0, 0.3, 1.0])
def test_the_flow_is_the_product_of_the_layers(residual: float) -> None:
    view = records()["heads"]
    made = layer_flow.flow(view, 2, residual=residual)
    # The slow way: matrices written out and multiplied, as in Abnar & Zuidema.
    size = len(view.labels)
    product = np.eye(size)
    for k in reversed(range(len(view.layers))):
        mixed = (1 - residual) * view.attention[k].mean(axis=0) + residual * np.eye(size)
        product = product @ (mixed / mixed.sum(axis=1, keepdims=True))
        assert made.shares[k] == pytest.approx(product[2])
        assert made.carried is not None
        assert made.carried[k].sum(axis=0) == pytest.approx(made.shares[k])
    assert made.shares.sum(axis=1) == pytest.approx(np.ones(len(view.layers)))


def test_the_marks_have_the_areas_of_the_shares() -> None:
    record = records()["flow"]
    drawn = layer_flow.layer_flow(record)
    clouds = [c for c in drawn.axes[0].collections if hasattr(c, "get_sizes") and len(c.get_sizes())]
    assert len(clouds) == len(record.layers) + 1
    for cloud, shares in zip(clouds, record.shares, strict=False):
        sizes = np.asarray(cloud.get_sizes())
        assert sizes == pytest.approx(np.maximum(sizes.max() / shares.max() * shares, 2.0), rel=1e-6)
    with pytest.raises(UsageError, match="do not sum to one"):
        layer_flow.layer_flow(dataclasses.replace(record, shares=2 * record.shares))
    with pytest.raises(UsageError, match="a flow of 0 layers"):
        layer_flow.layer_flow(dataclasses.replace(record, layers=()))
    with pytest.raises(UsageError, match="position 99 does not exist"):
        layer_flow.flow(records()["heads"], 99)
    with pytest.raises(UsageError, match="residual is 2"):
        layer_flow.flow(records()["heads"], 0, residual=2)


def test_many_tokens_keep_the_largest_and_say_what_the_others_hold() -> None:
    size = 60
    shares = np.full((3, size), 0.5 / (size - 1))
    shares[:, 7] = 0.5
    record = layer_flow.Flow(
        title="rows of rollout",
        tokens=tuple(f"t{i}" for i in range(size)),
        layers=("a.0.x", "a.1.x", "a.2.x"),
        query=59,
        shares=shares,
    )
    said = words(layer_flow.layer_flow(record))
    assert "28 more tokens are not drawn, 0.237 of the whole" in said.replace("\n", " ")
    assert "t59" in said and "t7" in said and "into a 2" in said
