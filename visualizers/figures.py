"""The table of figures: which there are, what each needs of a record, and the one that suits a record in hand."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from ..errors import UsageError, did_you_mean
from ..records import Attribution, Audit, View
from . import (
    calibration_curves,
    control_chart,
    dumbbells,
    faithful,
    gap_parts,
    gaps,
    heads,
    intersections,
    layer_flow,
    ledger,
    maps,
    mediation,
    pareto,
    slice_table,
    slope_chart,
    threshold_sweep,
    token_strip,
    tokens,
)
from .plates import drawn_metrics


class Kind(NamedTuple):
    """One kind of figure."""

    caption: str
    needs: tuple[str, ...]  # attributes by which a record is known to suit
    draw: Callable[..., Figure]
    describe: Callable[..., str]


def _metric(audit: Audit, metric: str | None) -> str:
    if metric is not None:
        known = dict.fromkeys(cell.metric for cell in audit.cells)
        if metric not in known:
            raise UsageError(f"{metric!r} was not audited: {did_you_mean(metric, known)}")
        return metric
    names = drawn_metrics(audit)
    if not names:
        raise UsageError("the audit holds no metric: there is nothing to draw.")
    return names[0]


def _rates(audit: Audit, metric: str | None = None) -> Figure:
    return gaps.forest(audit, _metric(audit, metric))


def _rates_said(audit: Audit, metric: str | None = None) -> str:
    return gaps.describe_rates(audit, _metric(audit, metric))


def _gaps(audit: Audit, metric: str | None = None) -> Figure:
    return gaps.gap_forest(audit, _metric(audit, metric))


def _gaps_said(audit: Audit, metric: str | None = None) -> str:
    return gaps.describe_gaps(audit, _metric(audit, metric))


def _head(view: View, layer: int | None, head: int | None) -> tuple[int, int]:
    """The head asked for; where none is, the one with the largest effect."""
    largest = heads.most_important(view)
    if not largest:
        raise UsageError("the view holds no head: there is nothing to draw.")
    chosen = (largest[0][0] if layer is None else layer, largest[0][1] if head is None else head)
    n_layers, n_heads = view.importance.shape
    if not (0 <= chosen[0] < n_layers and 0 <= chosen[1] < n_heads):
        raise UsageError(f"layer {chosen[0]}, head {chosen[1]}: the view has {n_layers} layers of {n_heads}.")
    return chosen


def _map(view: View, layer: int | None = None, head: int | None = None) -> Figure:
    return maps.map_pair(view, *_head(view, layer, head))


def _map_said(view: View, layer: int | None = None, head: int | None = None) -> str:
    return maps.describe(view, *_head(view, layer, head))


def _bars(attribution: Attribution, example: int | str = 0) -> Figure:
    at = token_strip.place_of(attribution, example)
    names = attribution.tokens[at]
    return tokens.attribution_bars(
        names,
        attribution.scores[at][: len(names)].tolist(),
        unit=attribution.unit or "no unit",
        title=f"{attribution.method}, {attribution.ids[at]}",
    )


def _bars_said(attribution: Attribution, example: int | str = 0) -> str:
    at = token_strip.place_of(attribution, example)
    names = attribution.tokens[at]
    return tokens.describe(names, attribution.scores[at][: len(names)].tolist(), attribution.unit)


def _flow(view: View, query: int | str = 0, residual: float = 0.5) -> Figure:
    return layer_flow.layer_flow(layer_flow.flow(view, query, residual=residual))


def _flow_said(view: View, query: int | str = 0, residual: float = 0.5) -> str:
    return layer_flow.describe(layer_flow.flow(view, query, residual=residual))


AUDIT = ("cells", "findings", "verdicts")
VIEW = ("attention", "contribution", "importance")
FIGURES: dict[str, Kind] = {
    "rates": Kind("a metric of every group with intervals and counts", AUDIT, _rates, _rates_said),
    "gaps": Kind("differences between groups beside the tolerance, with verdicts", AUDIT, _gaps, _gaps_said),
    "intersections": Kind(
        "a metric of two attributes at once, with n in every cell",
        AUDIT,
        intersections.intersections,
        intersections.describe,
    ),
    "errors": Kind(
        "false positives and false negatives of every group", AUDIT, dumbbells.dumbbells, dumbbells.describe
    ),
    "calibration": Kind(
        "probabilities of every group against what came out",
        ("groups", "binning"),
        calibration_curves.calibration_curves,
        calibration_curves.describe,
    ),
    "thresholds": Kind(
        "a rate of every group, and the gap, against the threshold",
        ("threshold", "gap", "current"),
        threshold_sweep.threshold_sweep,
        threshold_sweep.describe,
    ),
    "slices": Kind(
        "combinations that fare otherwise than everybody else",
        ("slices", "leaders", "n_tested"),
        slice_table.slice_table,
        slice_table.describe,
    ),
    "slopes": Kind(
        "a metric of every group before and after, with paired changes",
        ("changes", "decision"),
        slope_chart.slope_chart,
        slope_chart.describe,
    ),
    "control": Kind(
        "gaps over dates beside their limits",
        ("charts", "outcome", "dates"),
        control_chart.control_chart,
        control_chart.describe,
    ),
    "ledger": Kind(
        "a gap as an account of shares that add up to it",
        ("ranked", "gap"),
        ledger.waterfall,
        ledger.describe,
    ),
    "parts": Kind(
        "a gap in groups' features, outcomes and the rest",
        ("parts", "residual", "gap"),
        gap_parts.parts_chart,
        gap_parts.describe,
    ),
    "heads": Kind("first-order effects of all heads", VIEW, heads.head_grid, heads.describe),
    "map": Kind("where one head looks, and what of it matters", VIEW, _map, _map_said),
    "rollout": Kind("rollout through the layers of a view's maps", VIEW, _flow, _flow_said),
    "flow": Kind(
        "rollout through the layers from one position",
        ("shares", "query", "tokens"),
        layer_flow.layer_flow,
        layer_flow.describe,
    ),
    "mediation": Kind(
        "heads whose removal changes a gap, verified on other rows",
        ("screening", "verification"),
        mediation.head_chart,
        mediation.describe,
    ),
    "tokens": Kind(
        "one example's tokens shaded by their scores",
        ("scores", "tokens", "base_value"),
        token_strip.token_strip,
        token_strip.describe,
    ),
    "bars": Kind(
        "one example's largest scores as bars", ("scores", "tokens", "base_value"), _bars, _bars_said
    ),
    "methods": Kind(
        "how faithful each attribution method is",
        ("measured", "ranking"),
        faithful.methods_forest,
        faithful.describe,
    ),
    "fixes": Kind(
        "utility against gap of several fixes",
        ("points", "gap_metric"),
        pareto.pareto_chart,
        pareto.describe,
    ),
}


def figure(record: Any, kind: str | None = None, **choices: Any) -> Figure:
    """The picture of a record: a matplotlib figure that a notebook shows and that `savefig` writes.

    Args:
        record: an audit, a comparison, a monitoring, a search of slices, a ledger, a view, an attribution, ...
        kind: a name of `FIGURES`; None: the first that suits the record.
        choices: what the kind takes: `metric=` of rates, gaps and slopes, `attribute=` of intersections, `example=` of
            tokens, `query=` of a flow, `layer=` and `head=` of a map.

    Raises:
        UsageError: nothing of this record can be drawn, not this kind of it, or a choice that the kind does not have.
    """
    one = chosen(record, kind).draw
    _known(one, choices)
    return one(record, **choices)


def alt_text(record: Any, kind: str | None = None, **choices: Any) -> str:
    """What the same picture says, in one to three sentences with n and intervals, for those who do not see it.

    Args and errors as `figure`.
    """
    one = chosen(record, kind).describe
    _known(one, choices)
    return one(record, **choices)


def kinds(record: Any) -> tuple[str, ...]:
    """Names of `FIGURES` that suit a record, by its structure."""
    return tuple(name for name, one in FIGURES.items() if all(hasattr(record, part) for part in one.needs))


def chosen(record: Any, kind: str | None) -> Kind:
    """The kind asked for, or the first that suits.

    Raises:
        UsageError: as `figure`.
    """
    suited = kinds(record)
    if not suited:
        raise UsageError(
            f"this {type(record).__name__} cannot be drawn. What can: "
            + "; ".join(f"{name} ({one.caption})" for name, one in FIGURES.items())
            + "."
        )
    if kind is None:
        return FIGURES[suited[0]]
    if kind not in suited:
        listed = "; ".join(f"{name} ({FIGURES[name].caption})" for name in suited)
        raise UsageError(f"this {type(record).__name__} cannot be drawn as {kind!r}. It can as: {listed}.")
    return FIGURES[kind]


def _known(function: Callable[..., Any], choices: dict[str, Any]) -> None:
    known = list(inspect.signature(function).parameters)[1:]
    stray = [name for name in choices if name not in known]
    if stray:
        raise UsageError(
            f"{stray[0]!r} is no choice of this figure: {', '.join(known) if known else 'it has none'}."
        )
