"""A group attribute or intersection, resolved: who is in which group, and which pairs are compared."""

from dataclasses import dataclass
from itertools import combinations, product
from typing import Literal

import numpy as np

from ..errors import DataError, PolicyError, did_you_mean, first
from ..evidence import Evidence
from .bins import bin_names, bins
from .groups import ALL, JOINT, OTHERS, Ints, declared_joint, joint_codes, members_of
from .policy import GroupRule, Policy

MOST_GROUPS = 200
Compare = Literal["pairs", "reference", "complement", "overall"]
LARGEST, BEST = "(largest)", "(best)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One attribute or intersection, resolved: who is in which group, and who is compared with whom."""

    name: str
    members: dict[str, Ints]  # positions of each group's rows
    unknown: str | None
    reference: str | None
    exclude: dict[str, str]
    compare: Compare = "pairs"

    @property
    def compared(self) -> list[str]:
        return [name for name in self.members if name != self.unknown and name not in self.exclude]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """(group, reference) of every comparison, the declared reference always second."""
        if self.compare == "complement":
            return [(name, OTHERS) for name in self.compared] if len(self.compared) > 1 else []
        if self.compare == "overall":
            return [(name, ALL) for name in self.compared] if len(self.compared) > 1 else []
        ordered = sorted(self.compared, key=lambda name: name == self.reference)
        if self.compare == "reference":
            return [(name, ordered[-1]) for name in ordered[:-1]]
        return list(combinations(ordered, 2))

    def rows(self, name: str, but: str | None = None) -> Ints:
        """Positions of a group's rows; of everybody's; or of those of all compared groups but one."""
        if name in self.members:
            return self.members[name]
        taken = self.members.values() if name == ALL else (self.members[g] for g in self.compared if g != but)
        made: Ints = np.sort(np.concatenate(list(taken)))
        return made


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
        codes, found = _coded(evidence, name, rule)
        declared = rule.values or (found if rule.bins else ())
        made.append(_resolve(name, codes, found, declared, rule, evidence.counts))
    for joint in rules.intersections:
        coded = [_coded(evidence, name, rules.groups.get(name, GroupRule())) for name in joint]
        split = sorted({value for _, found in coded for value in found if JOINT in value})
        if split:
            raise DataError(
                f"{JOINT.join(joint)}: the group {first(split)} holds {JOINT!r}, which joins names. Rename it."
            )
        values_of = [rules.groups[name].values if name in rules.groups else () for name in joint]
        references = [rules.groups[name].reference if name in rules.groups else None for name in joint]
        reference = JOINT.join(str(r) for r in references) if all(references) else None
        codes, found = joint_codes([codes for codes, _ in coded], [found for _, found in coded])
        exclude = {
            JOINT.join(parts): reason
            for i, name in enumerate(joint)
            if name in rules.groups
            for value, reason in rules.groups[name].exclude.items()
            for parts in {*(tuple(group.split(JOINT)) for group in found), *product(*values_of)}
            if parts[i] == value
        }
        values = declared_joint(values_of) if all(values_of) else ()
        modes = {rules.groups[name].compare for name in joint if name in rules.groups} or {"pairs"}
        compare = modes.pop() if len(modes) == 1 else "pairs"
        known = reference if reference in {*values, *found} else None
        if known is None and all(r in {LARGEST, BEST} for r in references):
            known = references[0]
        rule = GroupRule(
            reference=known,
            exclude=exclude,
            compare="pairs" if compare == "reference" and known is None else compare,
        )
        made.append(_resolve(JOINT.join(joint), codes, found, values, rule, evidence.counts))
    return made


def _coded(evidence: Evidence, name: str, rule: GroupRule) -> tuple[Ints, tuple[str, ...]]:
    """Codes and names of a column's groups; of a column of numbers with stated edges, its bins."""
    if not rule.bins:
        codes, names = evidence.codes(name)
        return codes.astype(np.int64), names
    groups = bins(evidence.column(name), rule.bins)
    names = bin_names(rule.bins)
    place = {group: i for i, group in enumerate(names)}
    return np.array([-1 if group is None else place[group] for group in groups], dtype=np.int64), names


def _resolve(
    name: str, codes: Ints, found: tuple[str, ...], values: tuple[str, ...], rule: GroupRule, counts: Ints
) -> Attribute:
    if len(found) > MOST_GROUPS:
        raise DataError(
            f"the column {name!r} has {len(found)} groups; at most {MOST_GROUPS} are compared. "
            "Bin the values, or name another column."
        )
    who = members_of(codes, found, values)
    unknown = list(who)[-1] if bool((codes < 0).any()) else None
    known = [group for group in who if group != unknown]
    taken = [group for group in known if group in {ALL, OTHERS, LARGEST, BEST}]
    if taken:
        raise DataError(
            f"{name} has a group called {taken[0]!r}, a name that means something else here. Rename it."
        )
    for key, group in [("reference", rule.reference), *(("exclude", group) for group in rule.exclude)]:
        if group is not None and group not in {*known, LARGEST, BEST}:
            raise PolicyError(f"groups.{name}.{key} names the group {group!r}: {did_you_mean(group, known)}")
    reference = rule.reference
    if reference == LARGEST:
        open_to = [group for group in known if group not in rule.exclude]
        reference = max(open_to, key=lambda group: (int(counts[who[group]].sum()), group), default=None)
    return Attribute(
        name=name,
        members=who,
        unknown=unknown,
        reference=reference,
        exclude=dict(rule.exclude),
        compare=rule.compare,
    )
