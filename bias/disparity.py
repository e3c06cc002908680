"""A group's share of the refused against its share of the accepted, over all rows or stratum by stratum."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .group_rows import Bools, Ints, positions, same_length, whole_counts
from .influence import Influenced
from .scored import Undefined
from .strata import checked


def demographic_disparity(
    selected: Bools, member: Bools, *, count: Ints | None = None
) -> Influenced | Undefined:
    """DD: the group's share of those not selected minus its share of the selected; above 0 is to its disadvantage.

    Undefined where everybody is selected, or nobody (Das et al. 2021, "Fairness measures for machine learning in
    finance").
    """
    return conditional_demographic_disparity(selected, member, ["all"] * len(selected), count=count).overall


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionalDisparity:
    """CDD: the mean of the strata's demographic disparities, each weighed by its rows."""

    overall: Influenced | Undefined
    strata: Mapping[str, float | None]  # None: everybody in it is selected, or nobody
    n: int  # rows in strata that have one
    left_out: Mapping[str, int]  # stratum without one -> its rows


def conditional_demographic_disparity(
    selected: Bools, member: Bools, stratum: Sequence[str | None], *, count: Ints | None = None
) -> ConditionalDisparity:
    """Conditional demographic disparity, sum(n_s DD_s) / n (Wachter, Mittelstadt & Russell 2021).

    Departure from tools that take 0 / 0 for 0: a stratum in which everybody or nobody is selected has no disparity;
    it is left out of sum and n, and named with its rows. The influence takes the strata's shares as estimated too.

    Args:
        selected: (row,) the favourable decision.
        member: (row,) in the group.
        stratum: (row,) value of the column that is held fixed.
        count: (row,) how often each row counts.
    """
    checked(selected, member, stratum)
    times = np.ones(len(selected)) if count is None else whole_counts(count).astype(np.float64)
    same_length({"selected": selected, "count": times})
    found: dict[str, float | None] = {}
    left_out: dict[str, int] = {}
    used = []
    for name, rows in positions(stratum).items():
        chosen = rows[selected[rows]]
        denied = rows[~selected[rows]]
        n_chosen, n_denied = float(times[chosen].sum()), float(times[denied].sum())
        if n_chosen == 0 or n_denied == 0:
            found[name] = None
            left_out[name] = int(n_chosen + n_denied)
            continue
        share_chosen = float(times[chosen] @ member[chosen]) / n_chosen
        share_denied = float(times[denied] @ member[denied]) / n_denied
        found[name] = share_denied - share_chosen
        used.append((rows, chosen, denied, n_chosen, n_denied, share_chosen, share_denied))
    n = sum(part[3] + part[4] for part in used)
    if not used:
        nothing = Undefined(
            reason="in each stratum everybody or nobody is selected", n=sum(left_out.values())
        )
        return ConditionalDisparity(overall=nothing, strata=found, n=0, left_out=left_out)
    disparities = [(part[3] + part[4], part[6] - part[5]) for part in used]
    overall = math.fsum(size * value for size, value in disparities) / n
    influence = np.zeros(len(selected))
    for rows, chosen, denied, n_chosen, n_denied, share_chosen, share_denied in used:
        size = n_chosen + n_denied
        influence[rows] = share_denied - share_chosen - overall
        influence[denied] += size / n_denied * (member[denied] - share_denied)
        influence[chosen] -= size / n_chosen * (member[chosen] - share_chosen)
    taken = np.sort(np.concatenate([part[0] for part in used]))
    return ConditionalDisparity(
        overall=Influenced(
            estimate=overall,
            influence=influence[taken],
            rows=taken,
            count=None if count is None else whole_counts(count)[taken],
        ),
        strata=found,
        n=int(n),
        left_out=left_out,
    )
