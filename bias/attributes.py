"""A group attribute or intersection, resolved: who is in which group, and which pairs are compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product

from ..errors import DataError, PolicyError, did_you_mean, first
from ..evidence import Evidence
from .groups import ALL, JOINT, declared_joint, intersect, members
from .policy import GroupRule, Policy

MOST_GROUPS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One attribute or intersection, resolved: who is in which group, and who is compared."""

    name: str
    members: dict[str, list[int]]
    unknown: str | None
    reference: str | None
    exclude: dict[str, str]

    @property
    def compared(self) -> list[str]:
        return [name for name in self.members if name != self.unknown and name not in self.exclude]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """(group, reference) of every pair, the declared reference always second."""
        ordered = sorted(self.compared, key=lambda name: name == self.reference)
        return list(combinations(ordered, 2))


def resolve_attributes(evidence: Evidence, rules: Policy) -> list[Attribute]:
    """The attributes that a policy declares (without any: the evidence's own), then its intersections.

    Raises:
        DataError: there is no group column, or a group's name cannot be told from a joint or the total's name.
        PolicyError: the policy names a column or a group that the evidence does not have.
    """
    names = tuple(rules.groups) or evidence.groups
    if not names:
        raise DataError("there is no group column: name at least one (--group).")
    absent = [
        n for n in (*names, *(n for joint in rules.intersections for n in joint)) if n not in evidence.groups
    ]
    if absent:
        raise PolicyError(
            f"the policy names the group column {first(absent)}, which the evidence does not have: "
            f"{did_you_mean(absent[0], evidence.groups)}"
        )
    made = []
    for name in names:
        rule = rules.groups.get(name, GroupRule())
        groups = evidence.group(name)
        made.append(_resolve(name, groups, rule.values, rule))
    for joint in rules.intersections:
        columns = [evidence.group(name) for name in joint]
        split = sorted(
            {value for column in columns for value in column if value is not None and JOINT in value}
        )
        if split:
            raise DataError(
                f"{JOINT.join(joint)}: the group {first(split)} holds {JOINT!r}, which joins names. Rename it."
            )
        declared = [rules.groups[name].values if name in rules.groups else () for name in joint]
        references = [rules.groups[name].reference if name in rules.groups else None for name in joint]
        reference = JOINT.join(str(r) for r in references) if all(references) else None
        exclude = {
            JOINT.join(parts): reason
            for i, name in enumerate(joint)
            if name in rules.groups
            for value, reason in rules.groups[name].exclude.items()
            for parts in {*zip(*columns, strict=True), *product(*declared)}
            if None not in parts and parts[i] == value
        }
        values = declared_joint(declared) if all(declared) else ()
        groups = intersect(columns)
        rule = GroupRule(reference=reference if reference in {*values, *groups} else None, exclude=exclude)
        made.append(_resolve(JOINT.join(joint), groups, values, rule))
    return made


def _resolve(name: str, groups: Sequence[str | None], values: Sequence[str], rule: GroupRule) -> Attribute:
    who = members(groups, values)
    unknown = list(who)[-1] if any(group is None for group in groups) else None
    known = [group for group in who if group != unknown]
    if ALL in known:
        raise DataError(f"{name} has a group called {ALL!r}, the name of everybody's row. Rename it.")
    if len(known) > MOST_GROUPS:
        raise DataError(
            f"the column {name!r} has {len(known)} groups; at most {MOST_GROUPS} are compared. "
            "Bin the values, or name another column."
        )
    for key, group in [("reference", rule.reference), *(("exclude", group) for group in rule.exclude)]:
        if group is not None and group not in known:
            raise PolicyError(f"groups.{name}.{key} names the group {group!r}: {did_you_mean(group, known)}")
    return Attribute(
        name=name, members=who, unknown=unknown, reference=rule.reference, exclude=dict(rule.exclude)
    )
