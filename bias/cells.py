"""A metric in every group: its estimate out of its own denominator, with its interval and its status."""

from collections.abc import Mapping

from ..records import Cell, Status
from .areas import Area
from .attributes import Attribute
from .estimates import Counted, Design, Estimate, interval_of, units, value_of
from .groups import ALL, Ints
from .influence import Influenced, Scale
from .intervals import Interval
from .policy import Policy
from .scored import Undefined

NOBODY = "nobody in the denominator"


def status_of(made: Estimate | Area, rules: Policy, cluster: Ints | None) -> tuple[Status, str]:
    """Whether an estimate may be judged under the policy, and the words for it where it may not."""
    n = size_of(made)
    if isinstance(made, Undefined):
        return ("insufficient" if n == 0 or made.reason == NOBODY else "undefined"), made.reason
    if n < rules.min_group:
        return "insufficient", f"{n} in the denominator, the policy asks for {rules.min_group}"
    if isinstance(made, Counted | Area):
        return "ok", ""
    independent = units(made, cluster)
    if independent < 2:
        one = "one row has" if cluster is None else f"{n} rows of one cluster have"
        return "insufficient", f"{one} no standard error"
    return "ok", ""


def size_of(made: Estimate | Area) -> int:
    """Rows in the denominator."""
    return made.value.n if isinstance(made, Area) else made.n


def cells_of(
    attribute: Attribute,
    metric: str,
    estimates: Mapping[str, Estimate | Area],
    design: Design,
    rules: Policy,
    *,
    scale: Scale = "identity",
) -> list[Cell]:
    """One metric of everybody and of each group."""
    made = []
    for group in (ALL, *attribute.members):
        estimate = estimates[group]
        status, note = status_of(estimate, rules, design.cluster)
        ends = _ends(estimate, rules.confidence, design.cluster, scale)
        made.append(
            Cell(
                attribute=attribute.name,
                group=group,
                metric=metric,
                n_rows=design.rows(attribute.rows(group)),
                n=size_of(estimate),
                k=estimate.k if isinstance(estimate, Counted) else None,
                estimate=estimate.estimate if isinstance(estimate, Area) else value_of(estimate),
                low=ends.low if ends else None,
                high=ends.high if ends else None,
                status=status,
                note=attribute.exclude.get(group, note),
            )
        )
    return made


def _ends(made: Estimate | Area, confidence: float, cluster: Ints | None, scale: Scale) -> Interval | None:
    if isinstance(made, Area):
        return made.interval(confidence, cluster=cluster)
    if isinstance(made, Influenced) and scale == "logit":
        inside = 0 < made.estimate < 1 and units(made, cluster) > 1 and made.se(cluster) > 1e-12
        return made.interval(confidence, cluster=cluster, scale=scale) if inside else None
    return interval_of(made, confidence, cluster, scale)
