"""Rows of the report's tables on why and on a fix: heads screened and tested, fixes judged, who got worse."""

from collections.abc import Iterator, Sequence
from typing import Any

from ..records import Review
from . import answer_sentences, mediation
from .phrases import Phrases, english
from .plates import divided_anew
from .wording import spoken

MOST_UNITS = 12  # of a divided gap, before "all"
SHOWN_TOKENS = 8


def asked(review: Review, say: Phrases | None = None) -> list[dict[str, Any]]:
    """Each question with the rows of its tables."""
    return [_asked(review, answer, i, say or english()) for i, answer in enumerate(review.why)]


def _asked(review: Review, answer: Any, place: int, say: Phrases) -> dict[str, Any]:
    found = answer.found

    def named(layer: Any, head: int) -> str:
        return answer_sentences.head_name(layer, head, say)

    # Of a head that is not verified its row of the table says it again.
    sentences, not_verified = answer_sentences.of_a_gap(found, say)
    screening, verification = found.mediation.screening, found.mediation.verification
    sets: list[Any] = list(mediation.head_sets(found.mediation))
    tests = [
        {
            "test": test,
            "names": [named(layer, head) for layer, head in test.heads],
            "short": mediation.short(found.mediation, test.heads),
            "share": -sum(
                one.closing for one in screening.shares if (one.unit.layer, one.unit.head) in set(test.heads)
            ),
            "further": mediation.further(test, say),
            "random_from": say.resaid(test.random_from, answer_sentences.SETS),
            "reason": answer_sentences.reason(test.reason, say),
        }
        for test in sets
    ]
    return {
        "place": str(place),
        "found": found,
        "title": f"{found.group} − {found.reference}",
        "metric": spoken(found.metric),
        "sentences": sentences,
        "not_verified": not_verified,
        "tested_on": answer_sentences.metric_name(verification.metric, say),
        "how": say.resaid(verification.how, answer_sentences.HOW),
        "toward": say.resaid(screening.toward, answer_sentences.HOW),
        "parts": []
        if found.parts is None
        else [{"part": one, "name": answer_sentences.part_name(one.name, say)} for one in found.parts.parts],
        "screening": screening,
        "verification": verification,
        "any_verified": any(row["test"].verified for row in tests),
        "tests": tests,
        "screened": [
            {"name": named(one.unit.layer, one.unit.head), "share": one} for one in screening.ranked()
        ],
        "paths": [
            {"name": named(path.layer, path.head), "path": path, "tokens": path.tokens[:SHOWN_TOKENS]}
            for path in found.mediation.paths
        ],
        "ledger": found.ledger if found.ledger is not None and divided_anew(review, found.ledger) else None,
        "units": [] if found.parts is None else found.parts.ranked[:MOST_UNITS],
    }


def fixed(review: Review, phrases: Phrases | None = None) -> dict[str, Any] | None:
    """The fix with the rows of its tables; None where none was asked for."""
    answer = review.mitigated
    if answer is None:
        return None
    say = phrases or english()
    found = answer.found
    again = found.again
    own = [] if again is None else _own_gaps(again, found)
    others = [] if again is None else [one for one in again.gaps if one not in own]
    return {
        "sentences": answer_sentences.of_a_fix(found, say),
        "rule": answer_sentences.rule(found.choice.rule, say),
        "found": found,
        "again": again,
        "points": [
            {"judged": one, "chosen_on": _named(found.chosen_on.points, one.name)}
            for one in found.judged_on.points
        ],
        "verdicts": [] if again is None else list(_verdicts(again)),
        "gaps": [{"change": one, "said": _way(again, one, say)} for one in own],
        "more_gaps": [{"change": one, "said": _way(again, one, say)} for one in others],
        "worse": [] if again is None else [*again.worse_off, *again.grown],
        "levelled_down": () if again is None else again.levelled_down,
        "groups": [
            {"change": one, "said": _way(again, one, say), "agreement": _agreement(again, one)}
            for one in answer.cost_by_group()
        ],
        "everybody": []
        if again is None
        else [{"change": one, "said": _way(again, one, say)} for one in again.side_effects],
    }


def _own_gaps(again: Any, found: Any) -> list[Any]:
    """The gaps that the fix is for, whether or not a tolerance is declared of them."""
    return [
        one
        for one in again.comparison.changes
        if one.is_gap and one.metric == found.gap and one.attribute == found.attribute
    ]


def _verdicts(again: Any) -> Iterator[dict[str, Any]]:
    after = {(one["attribute"], one["metric"]): one for one in again.after.verdicts}
    for one in again.before.verdicts:
        then = after.get((one["attribute"], one["metric"]))
        yield {"before": one, "after": then}


def _way(again: Any, one: Any, say: Phrases) -> str:
    """What is known of a change, in words."""
    if one in again.improved:
        return say.plain("fix.smaller_beyond_noise" if one.is_gap else "fix.better_beyond_noise")
    if one in again.worsened or one.decision == "worse":
        return say.plain("fix.larger_beyond_noise" if one.is_gap else "fix.worse_beyond_noise")
    return one.reason or say.plain("fix.not_beyond_noise")


def _agreement(again: Any, change: Any) -> Any:
    return next(
        (one for one in again.agreement if (one.attribute, one.group) == (change.attribute, change.group)),
        None,
    )


def _named(points: Sequence[Any], name: str) -> Any:
    return next((one for one in points if one.name == name), None)
