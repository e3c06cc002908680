"""What `why` and `mitigate` print, and a review of them: shares, head tests, fixes, and the audit after."""

from typing import TYPE_CHECKING

from .file_tables import printed
from .terminal import SYMBOLS, chance, interval, number, printable, verdict_line

if TYPE_CHECKING:
    from .bias.pareto_records import Pareto
    from .explained_gap import Why
    from .mitigating import Mitigated
    from .records import Review

MOST = 12


def why_tables(made: "Why") -> str:
    """The shares of the gap, its parts, the heads that were tested, and the findings in words."""
    text = ""
    if made.ledger is not None:
        text += printed(
            f"{made.words}: {number(made.ledger.gap, '+')} {made.ledger.unit} in {made.ledger.score}, divided "
            f"(n = {made.ledger.n_group} and {made.ledger.n_reference})",
            ["unit", "share", "interval", "all at once"],
            (
                (
                    one.unit,
                    number(one.estimate, "+"),
                    interval(one.low, one.high, "+"),
                    interval(one.simultaneous_low, one.simultaneous_high, "+"),
                )
                for one in made.ledger.ranked[:MOST]
            ),
        )
        text += f"residual: {made.ledger.residual:+.2g}; baseline: {printable(made.ledger.baseline)}\n"
    elif made.no_ledger:
        text += f"not divided: {printable(made.no_ledger)}\n"
    found = made.mediation.verification
    tests = [*found.tests, *([found.together] if found.together is not None else [])]
    text += printed(
        f"heads taken out on {made.n_held_out} rows that were not screened: {found.metric}",
        ["head", "before", "after", "removed", "interval, all at once", "p", "verified"],
        (
            (
                " and ".join(f"{layer} head {head}" for layer, head in test.heads),
                number(test.before, "+"),
                number(test.after, "+"),
                number(test.removed, "+"),
                interval(test.low, test.high, "+"),
                chance(test.p),
                "yes" if test.verified else f"no: {test.reason}",
            )
            for test in tests
        ),
    )
    return text + "".join(f"{printable(line)}\n" for line in made.sentences)


def mitigation_tables(made: "Mitigated") -> str:
    """The fixes on the rows that choose and on those that judge, the audit after, and the findings in words."""
    text = _points(
        made.chosen_on, f"on {made.n_choose} rows that choose (floor: {made.utility} {number(made.floor)})"
    )
    text += _points(made.judged_on, f"on {made.n_judge} rows that judge")
    if made.again is not None:
        for entry in made.again.after.verdicts:
            line = (
                f"{SYMBOLS[entry['verdict']]} {entry['verdict']}: {entry['metric']} by {entry['attribute']}"
            )
            text += f"{printable(line)}: {printable(entry['reason'])}\n"
        before, after = made.again.before.verdict, made.again.after.verdict
        text += f"before: {verdict_line(before)}\nafter:  {verdict_line(after)}\n"
    return text + "".join(f"{printable(line)}\n" for line in made.sentences)


def answer_lines(made: "Review") -> str:
    """What a review found of heads and of a fix, a line each."""
    said = [f"heads:  {answer.found.mediation.verification.sentence()}" for answer in made.why]
    if made.mitigated is not None:
        found = made.mitigated.found
        after = found.judged_on.of(found.choice.name)
        said.append(
            f"fix:    {found.choice.name}, judged on {found.n_judge} rows: largest gap in {found.gap} by {found.attribute} "
            f"{number(after.gap)} {interval(after.gap_low, after.gap_high)}, change {number(after.gap_change, '+')} "
            f"{interval(after.gap_change_low, after.gap_change_high, '+')}"
        )
    return "".join(f"{printable(line)}\n" for line in said)


def _points(points: "Pareto", where: str) -> str:
    return printed(
        f"fixes for the gap in {points.gap_metric} by {points.attribute}, {where}",
        ["fix", points.utility_metric, "interval", "largest gap", "interval of the gap", "dominated by"],
        (
            (
                one.name,
                number(one.utility),
                interval(one.utility_low, one.utility_high),
                number(one.gap),
                interval(one.gap_low, one.gap_high),
                ", ".join(one.dominated_by) or "–",
            )
            for one in points.points
        ),
    )
