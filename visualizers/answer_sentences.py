"""What was found of a gap and of a fix, in sentences of the page's language; in English those of the records."""

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Any

from .phrases import Phrases

SHARES, TOKENS = 3, 5  # named in a sentence
PARTS = {
    "identity": "part.identity",
    "proxies": "part.proxies",
    "treatment": "part.treatment",
    "too rare to divide": "part.too_rare_to_divide",
    "baseline": "part.baseline",
}
# What records say in words of their own, and the phrases that make the same of it.
GAPS = (
    "record.gap_in_mean_score",
    "record.gap_in_mean_score_of_positives",
    "record.gap_in_mean_score_of_negatives",
)
METRICS = ("record.difference_in_mean_score", "record.difference_in_rate")
RULES = ("record.rule_in_the_estimate", "record.rule_beyond_noise")
REASONS = (
    "record.no_direction",
    "record.no_resample_changes_it",
    "record.in_no_resample",
    "record.does_not_exclude_zero",
    "record.effect_asked_for",
    "record.no_other_set",
    "record.others_as_far",
)
SETS = ("record.the_same_layers", "record.the_whole_model")
HOW = ("record.mean", "record.zero", "record.resample")


def head_name(layer: Any, head: int, say: Phrases) -> str:
    """A head as sentences call it."""
    return say.plain("heads-out.head_name", layer=layer, head=head)


def part_name(name: str, say: Phrases) -> str:
    """A part of a gap; a name that the page does not know stays as it is."""
    return say.plain(PARTS[name]) if name in PARTS else name


def metric_name(metric: str, say: Phrases) -> str:
    """What heads were tested on."""
    return say.resaid(metric, METRICS)


def reason(text: str, say: Phrases) -> str:
    """Why a set of heads is not verified: one reason or several."""
    return "; ".join(say.resaid(one, REASONS) for one in text.split("; ")) if text else ""


def rule(text: str, say: Phrases) -> str:
    """The rule that a fix was chosen by."""
    return say.resaid(text, RULES)


def of_a_gap(found: Any, say: Phrases) -> tuple[list[str], list[str]]:
    """The findings of a gap, and those of heads that are not verified."""
    lines = [say.plain("said.gap", words=say.resaid(found.words, GAPS))]
    if found.ledger is not None:
        one = found.ledger
        lines.append(
            say.plain(
                "said.ledger",
                score=one.score,
                gap=f"{one.gap:+.3g}",
                shares=", ".join(_estimate(s.unit, s) for s in one.ranked[:SHARES]),
                residual=f"{one.residual:+.2g}",
            )
        )
    if found.parts is not None:
        parts = ", ".join(_estimate(part_name(p.name, say), p) for p in found.parts.parts)
        lines.append(say.plain("said.divided", parts=parts))
    lines.append(_verification(found.mediation.verification, say))
    unsure = []
    for test in found.mediation.verification.tests:
        if test.verified:
            lines.append(_moved(found.mediation, test, say))
        else:
            unsure.append(_associated(found.mediation, test, say))
    return lines, unsure


def of_a_fix(found: Any, say: Phrases) -> list[str]:
    """What was tried, chosen and found."""
    undefined = say.plain("word.undefined")

    def number(value: float | None) -> str:
        return undefined if value is None else f"{value:.3f}"

    def span(*values: float | None) -> str:
        known = [f"{value:+.3f}" for value in values if value is not None]
        return f"{known[0]} [{known[1]}, {known[2]}]" if len(known) == len(values) else undefined

    points = {point.name: point for point in found.judged_on.points}
    before = points["unmitigated"]
    lines = [
        say.plain(
            "said.without_a_fix",
            gap=found.gap,
            attribute=found.attribute,
            n=found.n_judge,
            value=number(before.gap),
            utility=found.utility,
            utility_value=number(before.utility),
        ),
        say.plain(
            "said.fixes_fitted",
            n=len(found.fixes),
            n_fit=found.n_fit,
            name=found.choice.name,
            n_choose=found.n_choose,
            rule=rule(found.choice.rule, say),
        ),
    ]
    if found.again is not None:
        after = points[found.choice.name]
        lines.append(
            say.plain(
                "said.after_the_fix",
                value=number(after.gap),
                moved=span(after.gap_change, after.gap_change_low, after.gap_change_high),
                utility=found.utility,
                utility_value=number(after.utility),
                cost=span(after.utility_change, after.utility_change_low, after.utility_change_high),
            )
        )
        lines.append(_worse(found.again.worse_off, say))
    return [*lines, *(say.plain("fix.not_made", fix=fix, reason=why) for fix, why in found.skipped.items())]


def _worse(changes: Iterable[Any], say: Phrases) -> str:
    named = [
        say.plain("said.metric_of", metric=one.metric, attribute=one.attribute, group=one.group)
        for one in changes
    ]
    return say.plain("said.worse", worse=", ".join(named)) if named else say.plain("said.nothing_worse")


def _verification(found: Any, say: Phrases) -> str:
    """Which sets of heads were verified, or how large an effect would have been."""
    sure = [test for test in found.tests if test.verified]
    if found.together is not None and found.together.verified:
        sure.append(found.together)
    fields = {
        "n": len(found.ids),
        "metric": metric_name(found.metric, say),
        "before": f"{found.before:.4g}",
        "unit": found.unit,
    }
    if not sure and found.detectable is None:
        return say.plain("said.none_verified", **fields)
    if not sure:
        return say.plain("said.none_verified_power", **fields, detectable=f"{found.detectable:.3g}")
    moved = [
        say.plain(
            "said.moves_it",
            heads=_heads(test.heads, say),
            change=f"{-test.removed:+.4g}",
            low=f"{-test.high:+.4g}",
            high=f"{-test.low:+.4g}",
        )
        for test in sure
    ]
    how, confidence = say.resaid(found.how, HOW), f"{found.confidence:.0%}"
    return say.plain("said.verified", **fields, sets="; ".join(moved), how=how, confidence=confidence)


def _heads(heads: Sequence[tuple[Any, int]], say: Phrases) -> str:
    names = [head_name(layer, head, say) for layer, head in heads]
    return reduce(lambda heads, head: say.plain("said.and_head", heads=heads, head=head), names)


def _moved(found: Any, test: Any, say: Phrases) -> str:
    """What a verified head does to the gap: "carries" is said where the gap is smaller without it."""
    layer, head = test.heads[0]
    path = next(one for one in found.paths if (one.layer, one.head) == (layer, head))
    fields = {
        "head": head_name(layer, head, say),
        "size": f"{abs(test.removed):.3g}",
        "unit": found.verification.unit,
        "tokens": ", ".join(f"{one.token} ({one.share:+.3g})" for one in path.tokens[:TOKENS]),
    }
    if test.carries:
        return say.plain("said.carries", **fields)
    against = test.removed * test.before < 0
    return say.plain("said.counteracts" if against else "said.moves", **fields)


def _associated(found: Any, test: Any, say: Phrases) -> str:
    """What a head that is not verified is associated with."""
    layer, head = test.heads[0]
    share = next(one for one in found.screening.shares if (one.unit.layer, one.unit.head) == (layer, head))
    return say.plain(
        "said.associated",
        head=head_name(layer, head, say),
        share=f"{-share.closing:+.3g}",
        unit=found.screening.unit,
        reason=reason(test.reason, say),
    )


def _estimate(name: str, one: Any) -> str:
    return f"{name} {one.estimate:+.3g} [{one.low:+.3g}, {one.high:+.3g}]"
