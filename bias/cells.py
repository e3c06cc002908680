"""Rates and means of every group: each out of its own denominator, with its interval and its status."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ..records import Cell, Status
from .attributes import Attribute
from .counts import Counts
from .groups import ALL
from .intervals import mean_interval, wilson
from .metrics import METRICS
from .policy import Policy


def status_of(n: int, rules: Policy) -> tuple[Status, str]:
    """Whether n rows in a denominator are enough for the policy, and the words for it where they are not."""
    if n == 0:
        return "insufficient", "nobody in the denominator"
    if n < rules.min_group:
        return "insufficient", f"{n} in the denominator, the policy asks for {rules.min_group}"
    return "ok", ""


def rate_cells(
    attribute: Attribute, counts: Mapping[str, Counts], everybody: Counts, rates: Sequence[str], rules: Policy
) -> list[Cell]:
    """Each available rate of everybody and of each group: k of n, Wilson's interval, status."""
    made = []
    for metric in METRICS:
        if metric.name not in rates:
            continue
        for group, counted in {ALL: everybody, **counts}.items():
            k, n = metric.of(counted)
            status, note = status_of(n, rules)
            ends = wilson(k, n, rules.confidence) if n else None
            made.append(
                Cell(
                    attribute=attribute.name,
                    group=group,
                    metric=metric.name,
                    n_rows=counted.n,
                    n=n,
                    k=k,
                    estimate=k / n if n else None,
                    low=ends.low if ends else None,
                    high=ends.high if ends else None,
                    status=status,
                    note=attribute.exclude.get(group, note),
                )
            )
    return made


def mean_cells(
    attribute: Attribute, means: Mapping[str, npt.NDArray[np.float64]], rules: Policy
) -> list[Cell]:
    """The mean of each score and measure, of everybody and of each group: n, Student's interval, status."""
    made = []
    everybody = {ALL: list(range(sum(map(len, attribute.members.values()))))}
    for name, values in means.items():
        for group, rows in {**everybody, **attribute.members}.items():
            part = values[np.asarray(rows, dtype=int)]
            status, note = status_of(len(part), rules)
            ends = mean_interval(part, rules.confidence) if len(part) > 1 else None
            if status == "ok" and ends is None:
                status, note = "insufficient", "one row has no standard error"
            made.append(
                Cell(
                    attribute=attribute.name,
                    group=group,
                    metric=name,
                    n_rows=len(part),
                    n=len(part),
                    k=None,
                    estimate=float(part.mean()) if len(part) else None,
                    low=ends.low if ends else None,
                    high=ends.high if ends else None,
                    status=status,
                    note=attribute.exclude.get(group, note),
                )
            )
    return made
