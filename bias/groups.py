"""Who belongs to which group; unknown stays unknown."""

from collections.abc import Mapping, Sequence

UNKNOWN = "unknown"
ALL = "(all)"
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
