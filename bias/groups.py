"""Who belongs to which group; unknown stays unknown."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
UNKNOWN = "unknown"
ALL = "(all)"
OTHERS = "everyone else"
JOINT = " & "


def intersect(columns: Sequence[Sequence[str | None]]) -> tuple[str | None, ...]:
    """The joint group of each row, "white & male"; unknown where any part is unknown."""
    return tuple(
        None if any(part is None for part in parts) else JOINT.join(str(part) for part in parts)
        for parts in zip(*columns, strict=True)
    )


def declared_joint(values: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Every combination of declared values, in their order."""
    joint: list[str] = [""]
    for part in values:
        joint = [f"{left}{JOINT if left else ''}{right}" for left in joint for right in part]
    return tuple(joint)


def members(
    groups: Sequence[str | None], declared: Sequence[str] = (), exclude: Mapping[str, str] | None = None
) -> dict[str, list[int]]:
    """Row positions of each group: the declared ones first (also with no rows), then those found; then unknown."""
    found: dict[str, list[int]] = {name: [] for name in declared}
    unknown: list[int] = []
    for i, name in enumerate(groups):
        if name is None:
            unknown.append(i)
        else:
            found.setdefault(name, []).append(i)
    extra = sorted(name for name in found if name not in declared)
    ordered = {name: found[name] for name in (*declared, *extra)}
    if unknown:
        label = UNKNOWN
        while label in ordered:  # a group may really be called "unknown"
            label = f"{label} (missing)"
        ordered[label] = unknown
    return ordered


def joint_codes(
    codes: Sequence[npt.NDArray[np.integer]], names: Sequence[Sequence[str]]
) -> tuple[Ints, tuple[str, ...]]:
    """Codes and names of the joint groups that occur, from those of several columns; -1 where any part is unknown."""
    place = np.zeros(len(codes[0]), dtype=np.int64)
    known = np.ones(len(codes[0]), dtype=np.bool_)
    for code, column in zip(codes, names, strict=True):
        place = place * len(column) + np.maximum(code, 0)
        known &= code >= 0
    seen, inverse = np.unique(place[known], return_inverse=True)
    made = np.full(len(place), -1, dtype=np.int64)
    made[known] = inverse
    labels = []
    for at in seen.tolist():
        parts = []
        for column in reversed(names):
            at, part = divmod(at, len(column))
            parts.append(column[part])
        labels.append(JOINT.join(reversed(parts)))
    return made, tuple(labels)


def members_of(
    codes: npt.NDArray[np.integer], names: Sequence[str], declared: Sequence[str] = ()
) -> dict[str, Ints]:
    """As `members`, from codes (example,) into `names`, -1 for unknown: positions of each group's rows, ascending."""
    order = np.argsort(codes, kind="stable")
    edges = np.searchsorted(codes[order], np.arange(-1, len(names) + 1))
    found = {name: order[edges[i + 1] : edges[i + 2]] for i, name in enumerate(names)}
    found = {name: rows for name, rows in found.items() if rows.size or name in declared}
    none = np.zeros(0, dtype=np.int64)
    extra = sorted(name for name in found if name not in declared)
    ordered = {name: found.get(name, none) for name in (*declared, *extra)}
    if edges[1]:
        label = UNKNOWN
        while label in ordered:
            label = f"{label} (missing)"
        ordered[label] = order[: edges[1]]
    return ordered
