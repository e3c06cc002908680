"""Two tables of evidence joined row by row: the same ids, the same truth, the same groups."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from ..errors import DataError, UsageError, first
from ..evidence import Evidence

ROLES = ("count", "weight", "cluster")


class Matched(NamedTuple):
    """The rows that both have, in the order of the first, and what each had alone."""

    before: Evidence
    after: Evidence
    only_before: tuple[str, ...]  # ids
    only_after: tuple[str, ...]


def match(before: Evidence, after: Evidence, *, intersect: bool = False) -> Matched:
    """The rows of both, by id. Labels and groups are the first one's where the second has none.

    Args:
        before, after: what two models, or one on two dates, said of the same rows.
        intersect: leave out rows that only one of them has; without it such rows are refused.

    Raises:
        DataError: rows on one side only, none in common, or groups, counts, weights or clusters that differ between the two.
        UsageError: one has a prediction, a score or a measure that the other lacks, so that nothing can be compared.
    """
    place = {name: i for i, name in enumerate(after.ids)}
    ids = before.ids
    here = [i for i, name in enumerate(ids) if name in place]
    known = set(ids)
    only_before = tuple(name for name in ids if name not in place)
    only_after = tuple(name for name in place if name not in known)
    if not here:
        raise DataError(
            f"the two have no row in common: ids are {first(ids, 3)} and {first(place, 3)}. "
            "Name the column by which rows are known (--id) in both."
        )
    if (only_before or only_after) and not intersect:
        raise DataError(
            f"{len(only_before)} rows are only before ({first(only_before)}) and {len(only_after)} only after "
            f"({first(only_after)}). A comparison is of the same rows: score them all, or compare those in common "
            "(--intersect), and ask why the others are missing."
        )
    one = _take(before, here)
    two = _take(after, [place[ids[i]] for i in here])
    two = _completed(one, two)
    _same_roles(one, two)
    return Matched(one, two, only_before, only_after)


def _take(evidence: Evidence, rows: list[int]) -> Evidence:
    return dataclasses.replace(evidence, table=evidence.table.take(pa.array(rows, type=pa.int64())))


def _completed(one: Evidence, two: Evidence) -> Evidence:
    """The second with the label, groups and row roles of the first where it does not carry them."""
    table = two.table
    roles: dict[str, Any] = {}
    wanted: list[tuple[str, str]] = []
    for role in ("label", *ROLES):
        name = getattr(one, role)
        if name is not None and getattr(two, role) is None:
            wanted.append((role, name))
    for name in one.groups:
        if name not in two.groups:
            wanted.append(("groups", name))
    for role, name in wanted:
        if name not in table.column_names:
            table = table.append_column(name, one.table.column(name))
        if role != "groups":
            roles[role] = name
    groups = (*two.groups, *(name for role, name in wanted if role == "groups"))
    positive = two.positive if two.positive is not None else one.positive
    return dataclasses.replace(two, table=table, groups=groups, positive=positive, **roles)


def _same_roles(one: Evidence, two: Evidence) -> None:
    for role in ("prediction", "score"):
        if (getattr(one, role) is None) != (getattr(two, role) is None):
            side = "before" if getattr(one, role) is None else "after"
            raise UsageError(
                f"there is no {role} {side}, and one on the other side: name it in both, or in neither."
            )
    if set(one.measures) != set(two.measures):
        odd = set(one.measures) ^ set(two.measures)
        raise UsageError(
            f"the measures {first(sorted(odd))} are on one side only: name them in both, or in neither."
        )
    for name in one.groups:
        same_values(f"the group {name!r}", one, one.group(name), two.group(name))
    for role in ROLES:
        name, other = getattr(one, role), getattr(two, role)
        if name is not None and other is not None:
            same_values(f"the {role}", one, one.group(name), two.group(other))


def same_values(what: str, one: Evidence, mine: Sequence[Any], theirs: Sequence[Any]) -> None:
    """Refuse values that differ between the two.

    Raises:
        DataError: with the first rows concerned.
    """
    ids, n = one.ids, len(one)
    rows = [ids[i] for i in range(n) if mine[i] != theirs[i]]
    if rows:
        raise DataError(
            f"{what} differs in {len(rows)} of {n} rows between before and after: {first(rows)}. "
            "Two models are compared on the same rows with the same truth; correct one of the two."
        )
