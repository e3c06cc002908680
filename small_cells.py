"""A copy of an audit or a review in which groups of few rows are withheld, with what would give them away.

Withheld are, for a threshold N: every group with 1 to N - 1 rows; the smallest other group of its attribute where the
rest and the total would tell its size, or that all those withheld are fewer than N; a whole intersection with such a group;
and, of a group that is shown, every metric with a denominator of its own where one of them is 1 to N - 1. With these go the
pairs they are in, summaries and notes of the attribute, and the parts of a review that count its rows in another way.
Verdicts stay: they are what was decided.

Not withheld is how many of the rows of a group that is shown were selected or failed (k), which may be few.
"""

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

from .errors import UsageError
from .records import Audit, Cell, Faithfulness, Finding, Review

ALL, JOINT = "(all)", " & "
Made = TypeVar("Made", Audit, Review)
Withheld = Mapping[str, Collection[str]]  # attribute -> groups


def without_small_cells(made: Made, fewer_than: int) -> Made:
    """The audit or review without the numbers of groups with fewer rows than that; status "suppressed" says which.

    Args:
        made: an Audit, or a Review.
        fewer_than: N, at least 2. A group of no rows at all stays as it is: there is nobody in it.

    Raises:
        UsageError: N is below 2.
    """
    if fewer_than < 2:
        raise UsageError(f"groups of fewer than {fewer_than} rows are to be withheld; 2 or more is expected.")
    if isinstance(made, Audit):
        return _audit(made, _withheld(made, fewer_than), fewer_than)
    return _review(made, fewer_than)


def _withheld(made: Audit, fewer_than: int) -> dict[str, set[str]]:
    """The groups of each attribute that are withheld, the smallest other one among them where it has to be."""
    sizes: dict[str, dict[str, int]] = {}
    for cell in made.cells:
        if cell.group != ALL:
            sizes.setdefault(cell.attribute, {})[cell.group] = cell.n_rows
    found: dict[str, set[str]] = {}
    for attribute, groups in sizes.items():
        small = {name for name, n in groups.items() if 0 < n < fewer_than}
        if not small:
            continue
        others = sorted((n, name) for name, n in groups.items() if n >= fewer_than)
        if JOINT in attribute:  # sums along both of its sides are known: one alone cannot be hidden
            small |= {name for _, name in others}
            others = []
        while others and (len(small) < 2 or sum(groups[name] for name in small) < fewer_than):
            small.add(others.pop(0)[1])
        found[attribute] = small
    return found


def _audit(made: Audit, withheld: Withheld, fewer_than: int) -> Audit:
    few = {
        (cell.attribute, cell.group)
        for cell in made.cells
        if cell.group != ALL and 0 < cell.n < fewer_than and cell.n != cell.n_rows
    }
    hidden = {
        (cell.attribute, cell.group, cell.metric)
        for cell in made.cells
        if cell.group in withheld.get(cell.attribute, ())
        or ((cell.attribute, cell.group) in few and cell.n != cell.n_rows)
    }
    touched = {attribute for attribute, _, _ in hidden}
    return dataclasses.replace(
        made,
        cells=tuple(
            _cell(cell, withheld, fewer_than) if (cell.attribute, cell.group, cell.metric) in hidden else cell
            for cell in made.cells
        ),
        findings=tuple(
            _finding(one, fewer_than)
            if (one.attribute, one.group, one.metric) in hidden
            or (one.attribute, one.reference, one.metric) in hidden
            else one
            for one in made.findings
        ),
        verdicts=tuple(_verdict(one, touched, fewer_than) for one in made.verdicts),
        summaries=tuple(one for one in made.summaries if one.attribute not in touched),
        notes=(
            *(one for one in made.notes if not any(one.startswith(f"{name}: ") for name in touched)),
            *_said(touched, fewer_than),
        ),
    )


def _said(touched: Collection[str], fewer_than: int) -> Iterable[str]:
    if not touched:
        yield f"No group has fewer than {fewer_than} rows, and no metric of a group so few: nothing is withheld."
        return
    yield (
        f"Groups of fewer than {fewer_than} rows are withheld in this copy, and what would give them away, in "
        f"{', '.join(sorted(touched))}: their status is 'suppressed' and their counts are written as 0. Verdicts are those "
        "of all rows."
    )


def _cell(cell: Cell, withheld: Withheld, fewer_than: int) -> Cell:
    whole = cell.group in withheld.get(cell.attribute, ())
    return dataclasses.replace(
        cell,
        n_rows=0 if whole else cell.n_rows,
        n=0,
        k=None,
        estimate=None,
        low=None,
        high=None,
        status="suppressed",
        note=f"withheld in this copy: fewer than {fewer_than}, or it would give away who are",
    )


def _finding(one: Finding, fewer_than: int) -> Finding:
    return dataclasses.replace(
        one,
        n_group=0,
        n_reference=0,
        estimate=None,
        low=None,
        high=None,
        upper_bound=None,
        p=None,
        p_adjusted=None,
        minimum_detectable_effect=None,
        n_needed=None,
        status="suppressed",
        reason=f"withheld in this copy: one side has fewer than {fewer_than} rows, or would give them away",
    )


def _verdict(one: Mapping[str, Any], touched: Collection[str], fewer_than: int) -> Mapping[str, Any]:
    if one["attribute"] not in touched:
        return one
    return {**one, "reason": f"numbers of groups with fewer than {fewer_than} rows are withheld in this copy"}


def _review(made: Review, fewer_than: int) -> Review:
    withheld: dict[str, set[str]] = {}
    for part in (made.audit, made.measures):
        for name, groups in ({} if part is None else _withheld(part, fewer_than)).items():
            withheld.setdefault(name, set()).update(groups)
    audit = _audit(made.audit, withheld, fewer_than)
    measures = None if made.measures is None else _audit(made.measures, withheld, fewer_than)
    before = [cell for part in (made.audit, made.measures) if part is not None for cell in part.cells]
    after = [cell for part in (audit, measures) if part is not None for cell in part.cells]
    touched = {new.attribute for old, new in zip(before, after, strict=True) if old is not new}
    gone = list(_left_out(made, touched))
    counts = made.data.get("groups")
    data = dict(made.data)
    if isinstance(counts, Mapping):
        data["groups"] = {
            name: {group: n for group, n in sizes.items() if group not in withheld.get(name, ())}
            for name, sizes in counts.items()
        }
    return dataclasses.replace(
        made,
        audit=audit,
        measures=measures,
        ledgers=tuple(one for one in made.ledgers if one.attribute not in touched),
        slices=_slices(made.slices, touched),
        curves=_curves(made.curves, touched),
        law=None if touched else made.law,
        why=() if touched else made.why,
        mitigated=None if touched else made.mitigated,
        faithfulness=_faithfulness(made.faithfulness, withheld),
        data=data,
        limits=(*made.limits, *_said(touched, fewer_than), *gone),
        evidence=None,
        explorer=None,
    )


def _left_out(made: Review, touched: Collection[str]) -> Iterable[str]:
    """What a reader of the copy has to know is missing."""
    if not touched:
        return
    divided = [one for one in made.ledgers if one.attribute in touched]
    parts = {
        f"{len(divided)} divisions of gaps": bool(divided),
        "the search for combinations of groups": made.slices is not None and not isinstance(made.slices, str),
        "curves of these attributes": made.curves is not None and not isinstance(made.curves, str),
        "the tables of Local Law 144": made.law is not None,
        "answers to why there is a gap": bool(made.why),
        "the fix that was tried": made.mitigated is not None,
    }
    names = [name for name, there in parts.items() if there]
    if names:
        yield f"They count the same rows in another way and are left out of this copy: {', '.join(names)}."


def _slices(found: Any, touched: Collection[str]) -> Any:
    if not touched or found is None or isinstance(found, str):
        return found
    return "combinations of groups are left out of this copy: groups of few rows are withheld"


def _curves(found: Any, touched: Collection[str]) -> Any:
    if not touched or found is None or isinstance(found, str):
        return found
    return dataclasses.replace(
        found,
        reliability=tuple(one for one in found.reliability if one.attribute not in touched),
        thresholds=tuple(one for one in found.thresholds if one.attribute not in touched),
        notes=tuple(one for one in found.notes if not any(name in one for name in touched)),
    )


def _faithfulness(made: Faithfulness | None, withheld: Withheld) -> Faithfulness | None:
    if made is None or made.grouped_by not in withheld:
        return made
    hidden = withheld[made.grouped_by]
    return dataclasses.replace(made, measured=tuple(one for one in made.measured if one.group not in hidden))
