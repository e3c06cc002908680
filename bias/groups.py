"""Who belongs to which group; unknown stays unknown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
import numpy.typing as npt

from ..errors import DataError, PolicyError, did_you_mean, first
from ..evidence import Evidence
from .policy import GroupRule, Policy

UNKNOWN = "unknown"
ALL = "(all)"
JOINT = " & "
MOST_GROUPS = 200

Positions = npt.NDArray[np.intp]


def joint_name(parts: Sequence[str]) -> str:
    """"white & male". A part that itself holds " & " is quoted, so that two joint groups never share a name."""
    return JOINT.join(f'"{part}"' if JOINT in part else part for part in parts)


def intersect(columns: Sequence[Sequence[str | None]]) -> tuple[str | None, ...]:
    """The joint group of each row, "white & male"; unknown where any part is unknown."""
    return tuple(
        None if any(part is None for part in parts) else joint_name([str(part) for part in parts])
        for parts in zip(*columns, strict=True)
    )


def declared_joint(values: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Every combination of declared values, in their order."""
    return tuple(joint_name(parts) for parts in product(*values))


def members(groups: Sequence[str | None], declared: Sequence[str] = ()) -> dict[str, Positions]:
    """Row positions of each group: the declared ones first (also with no rows), then those found; then unknown."""
    found: dict[str, list[int]] = {name: [] for name in declared}
    unknown: list[int] = []
    for i, name in enumerate(groups):
        if name is None:
            unknown.append(i)
        else:
            found.setdefault(name, []).append(i)
    extra = sorted(name for name in found if name not in declared)
    ordered = {name: found[name] for name in (*dict.fromkeys(declared), *extra)}
    if unknown:
        label = UNKNOWN
        while label in ordered:  # a group may really be called "unknown"
            label = f"{label} (missing)"
        ordered[label] = unknown
    return {name: np.array(rows, dtype=np.intp) for name, rows in ordered.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One attribute or intersection, resolved: who is in which group, and who is compared."""

    name: str
    members: dict[str, Positions]
    unknown: str | None
    reference: str | None
    exclude: dict[str, str]
    gate_unknown: bool = False

    @property
    def compared(self) -> list[str]:
        """Groups that are compared: neither excluded nor, unless the policy asks for it, unknown."""
        shown = [name for name in self.members if name != self.unknown or self.gate_unknown]
        return [name for name in shown if name not in self.exclude]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """(group, reference) of every pair, the declared reference always second."""
        ordered = sorted(self.compared, key=lambda name: name == self.reference)
        return list(combinations(ordered, 2))


def resolve(evidence: Evidence, rules: Policy) -> list[Attribute]:
    """Every attribute and intersection that the policy declares; all of the evidence's where it declares none.

    Raises:
        DataError: no group column, too many groups, or a group called like the row for everybody.
        PolicyError: the policy names a column or a group that is not there.
    """
    names = tuple(rules.groups) or evidence.groups
    if not names:
        raise DataError("there is no group column: name at least one (--group).")
    named = (*names, *(name for joint in rules.intersections for name in joint))
    absent = [name for name in named if name not in evidence.groups]
    if absent:
        raise PolicyError(
            f"the policy names the group column {first(absent)}, which the evidence does not have: "
            f"{did_you_mean(absent[0], evidence.groups)}"
        )
    made = []
    for name in names:
        rule = rules.groups.get(name, GroupRule())
        made.append(_one(name, evidence.group(name), rule.values, rule.reference, rule.exclude, rules))
    return made + [_joint(evidence, joint, rules) for joint in rules.intersections]


def _joint(evidence: Evidence, joint: tuple[str, ...], rules: Policy) -> Attribute:
    columns = [evidence.group(name) for name in joint]
    parts = [rules.groups.get(name, GroupRule()) for name in joint]
    declared = list(product(*(rule.values for rule in parts))) if all(rule.values for rule in parts) else []
    found = {tuple(str(v) for v in row) for row in zip(*columns, strict=True) if None not in row}
    known = {values: joint_name(values) for values in (*declared, *sorted(found - set(declared)))}
    exclude = {
        label: rule.exclude[value]
        for values, label in known.items()
        for rule, value in zip(parts, values, strict=True)
        if value in rule.exclude
    }
    references = [rule.reference for rule in parts if rule.reference is not None]
    reference = joint_name(references) if len(references) == len(parts) else None
    if reference not in known.values():
        reference = None
    values = [known[row] for row in declared]
    return _one(JOINT.join(joint), intersect(columns), values, reference, exclude, rules)


def _one(
    name: str,
    groups: Sequence[str | None],
    values: Sequence[str],
    reference: str | None,
    exclude: Mapping[str, str],
    rules: Policy,
) -> Attribute:
    who = members(groups, values)
    unknown = list(who)[-1] if any(group is None for group in groups) else None
    known = [group for group in who if group != unknown]
    if len(known) > MOST_GROUPS:
        raise DataError(
            f"the column {name!r} has {len(known)} groups; at most {MOST_GROUPS} are compared. "
            "Bin the values, or name another column."
        )
    if ALL in known:
        raise DataError(
            f"the column {name!r} has a group called {ALL!r}, the name of the row for everybody. "
            "Give the group another name."
        )
    for key, group in [("reference", reference), *(("exclude", group) for group in exclude)]:
        if group is not None and group not in known:
            raise PolicyError(f"groups.{name}.{key} names the group {group!r}: {did_you_mean(group, known)}")
    return Attribute(
        name=name,
        members=who,
        unknown=unknown,
        reference=reference,
        exclude=dict(exclude),
        gate_unknown=rules.gate_unknown,
    )
