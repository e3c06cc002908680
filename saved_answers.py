"""Answers to why there is a gap, and of a fix, read back from a saved review so that its page can be drawn anew."""

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from .bias.audited_again import AuditedAgain
from .bias.choosing import Choice
from .bias.compared import Change
from .bias.pareto_records import UNMITIGATED, Pareto, Point, Purpose
from .bias.seen_rows import Role, Seen
from .errors import DataError
from .explained_gap import Why
from .mitigating import Mitigated
from .records import Review
from .review_mappings import check_audit
from .review_questions import FixAnswer, FixQuestion, GapAnswer
from .typed_json import rebuild, types_of

NOBODY = np.zeros(0, dtype=np.uint64)  # a review's file says how many rows were used, and not which
ROWS: Mapping[str, Any] = {"role": Role, "n": int, "sha256": str}
CHOSEN: Mapping[str, Any] = {
    **dict.fromkeys(("name", "rule"), str),
    "floor": float,
    "kept_the_floor": tuple[str, ...],
    "fixes": tuple[str, ...],
    "not_made": Mapping[str, str],
    **dict.fromkeys(("n_fit", "n_choose", "n_judge", "seed"), int),
    "seen": tuple[Any, ...],
    "judged_by": Any,
}


def with_answers(made: Review) -> Review:
    """A review that was read back, with its answers as the records that they were; it loads torch where there are any.

    The fixes themselves are in no review's file: `found.fixes` has their names alone, and no row is named.

    Raises:
        DataError: an answer lacks a part, or one is of another kind; the message says where.
    """
    if not made.why and made.mitigated is None:
        return made
    try:
        return dataclasses.replace(
            made,
            why=tuple(_gap_answer(one, f"why[{i}]") for i, one in enumerate(made.why)),
            mitigated=None if made.mitigated is None else _fix_answer(made.mitigated),
        )
    except (TypeError, ValueError, OverflowError) as error:  # of records that check themselves
        raise DataError(f"the answers of this review: {error}. Make the review again.") from error


def _gap_answer(value: Any, where: str) -> GapAnswer:
    from .interpret.mediation import Mediation

    made: GapAnswer = rebuild(GapAnswer, value, {(Why, "mediation"): Mediation}, where)
    found = made.found.mediation
    tests = [*found.verification.tests, *filter(None, [found.verification.together])]
    screened = {(one.unit.layer, one.unit.head) for one in found.screening.shares}
    strange = [test.heads for test in tests if not test.heads or not screened.issuperset(test.heads)]
    if strange:
        raise DataError(f"{where}.found tests {strange[0]}, which nobody screened. Make the review again.")
    followed = {(path.layer, path.head) for path in found.paths}
    lost = [head for head in found.verification.verified if head not in followed]
    if lost:
        raise DataError(
            f"{where}.found has no tokens of {lost[0]}, which is verified. Make the review again."
        )
    return made


def _fix_answer(value: Any) -> FixAnswer:
    held = _parts(types_of(FixAnswer, {}), value, "mitigated")
    chosen = _parts(CHOSEN, held["mitigation"], "mitigated.mitigation")
    seen = tuple(_seen(one, f"mitigated.mitigation.seen[{i}]") for i, one in enumerate(chosen["seen"]))
    judged_by = _seen(chosen["judged_by"], "mitigated.mitigation.judged_by")
    asked: FixQuestion = held["question"]

    def points(name: str, purpose: Purpose) -> Pareto:
        made: tuple[Point, ...] = held[name]
        if not made:
            raise DataError(f"mitigated.{name} holds no points. Make the review again.")
        return Pareto(
            title="",
            attribute=asked.attribute,
            gap_metric=asked.gap,
            utility_metric=asked.utility,
            better=held["better"],
            purpose=purpose,
            confidence=held["confidence"],
            n=made[0].n,
            points=made,
            rows=judged_by if purpose == "judge" else seen[-1] if seen else judged_by,
            seen=(),
        )

    found = Mitigated(
        attribute=asked.attribute,
        gap=asked.gap,
        utility=asked.utility,
        floor=chosen["floor"],
        chosen_on=points("chosen_on", "choose"),
        choice=Choice(
            name=chosen["name"],
            floor=chosen["floor"],
            rule=chosen["rule"],
            open_to=chosen["kept_the_floor"],
            seen=seen,
        ),
        judged_on=points("judged_on", "judge"),
        again=_again(held, chosen["name"], seen, judged_by),
        fixes=cast(Any, dict.fromkeys(chosen["fixes"])),
        skipped=dict(chosen["not_made"]),
        n_fit=chosen["n_fit"],
        n_choose=chosen["n_choose"],
        n_judge=chosen["n_judge"],
        seed=chosen["seed"],
    )
    for name in (UNMITIGATED, found.choice.name):
        if name not in {point.name for point in found.judged_on.points}:
            raise DataError(f"mitigated.judged_on has no point of {name!r}. Make the review again.")
    return FixAnswer(**held, found=found)


def _again(held: Mapping[str, Any], name: str, seen: tuple[Seen, ...], rows: Seen) -> AuditedAgain | None:
    """Before and after the fix; None where nothing was better than no fix."""
    before, after, changes = held["before"], held["after"], held["changes"]
    if before is None or after is None or changes is None:
        return None
    for audit, when in ((before, "before"), (after, "after")):
        check_audit(audit, f"mitigated.{when}")
    places = {(one.attribute, one.group, one.reference, one.metric): one for one in changes.changes}

    def listed(field: str) -> tuple[Change, ...]:
        strange = [key for key in held[field] if key not in places]
        if strange:
            raise DataError(f"mitigated.{field} names {strange[0]}, which is none of its changes.")
        return tuple(places[key] for key in held[field])

    return AuditedAgain(
        name=name,
        n=changes.n,
        before=before,
        after=after,
        comparison=changes,
        gaps=listed("declared"),
        agreement=held["agreement"],
        improved=listed("improved"),
        worsened=listed("worsened"),
        seen=seen,
        rows=rows,
    )


def _seen(value: Any, where: str) -> Seen:
    return Seen(**_parts(ROWS, value, where), rows=NOBODY, clusters=NOBODY)


def _parts(kinds: Mapping[str, Any], value: Any, where: str) -> dict[str, Any]:
    """The parts of an object, each of its kind."""
    held = rebuild(Mapping[str, Any], value, {}, where)
    missing = [name for name in kinds if name not in held]
    if missing:
        raise DataError(
            f"{where} lacks the key {missing[0]!r}: an earlier version wrote it, and it cannot be drawn again. Make the "
            "review again, or take the page that was saved with it."
        )
    return {name: rebuild(kind, held[name], {}, f"{where}.{name}") for name, kind in kinds.items()}
