"""JUnit XML of what was judged: a test case for each question that was declared, for CI that shows those."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from .records import Audit, Finding, Verdict

if TYPE_CHECKING:
    from .bias.compared import Change, Comparison
    from .bias.monitored import GapChart, Monitoring

    Judged: TypeAlias = Audit | Comparison | Monitoring

# A verdict under each `fail_on` of a policy: a failed test, one that was skipped, or one that passed.
FAILED: Mapping[str, frozenset[Verdict]] = {
    "exceeds": frozenset({"exceeds tolerance"}),
    "any": frozenset({"exceeds tolerance", "inconclusive", "not assessed"}),
    "never": frozenset(),
}
SKIPPED = frozenset({"inconclusive", "not assessed"})

UNWRITABLE = re.compile("[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Case(NamedTuple):
    """One question that was declared, and what was decided."""

    of: str  # the attribute
    name: str
    verdict: Verdict  # what decides whether it fails
    message: str
    numbers: str  # every comparison behind it, one a line


def junit(*judged: "Judged") -> str:
    """Audits, comparisons and monitorings as JUnit XML: a suite each, a test case for each question declared.

    A case is a gated metric of an attribute, a change with a declared margin, or a chart. A case of an audit fails where
    the policy's `fail_on` says so ("exceeds" unless it says otherwise), a change where it is worse, a chart where it
    alarms. What these rows do not settle is skipped, with the reason: the command's exit code 4 still stops a job.
    Nothing is a case that nobody declared.

    Returns:
        UTF-8 text that any XML reader takes: characters that XML has no way to write are written as escapes.
    """
    root = ET.Element("testsuites", {"name": "clinometer"})
    totals = {"tests": 0, "failures": 0, "skipped": 0}
    for made in judged:
        suite, counts = _suite(made)
        root.append(suite)
        totals = {name: totals[name] + counts[name] for name in totals}
    root.attrib.update({name: str(count) for name, count in totals.items()} | {"errors": "0"})
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(made: "Judged") -> tuple[ET.Element, dict[str, int]]:
    about, cases = _asked(made)
    failing = FAILED[about.pop("fail_on")]
    suite = ET.Element("testsuite", {"name": writable(made.title)})
    kept = ET.SubElement(suite, "properties")
    for name, value in {**about, "exit code": made.exit_code}.items():
        ET.SubElement(kept, "property", {"name": name, "value": writable(str(value))})
    counts = {"tests": 0, "failures": 0, "skipped": 0}
    for one in cases:
        counts["tests"] += 1
        named = {"classname": writable(f"{made.title}.{one.of}"), "name": writable(one.name), "time": "0"}
        case = ET.SubElement(suite, "testcase", named)
        if one.verdict in failing:
            counts["failures"] += 1
            said = {"type": one.verdict, "message": writable(one.message)}
            ET.SubElement(case, "failure", said).text = writable(one.numbers)
        elif one.verdict in SKIPPED:
            counts["skipped"] += 1
            ET.SubElement(case, "skipped", {"message": writable(one.message)})
            ET.SubElement(case, "system-out").text = writable(one.numbers)
        else:
            ET.SubElement(case, "system-out").text = writable(f"{one.message}\n{one.numbers}")
    suite.attrib.update({name: str(count) for name, count in counts.items()} | {"errors": "0"})
    return suite, counts


def _asked(made: "Judged") -> tuple[dict[str, Any], list[Case]]:
    """What is known of the whole, and its questions."""
    policy = made.plan.get("policy", {})
    owner = made.plan.get("set_by") or policy.get("set_by") or "nobody"
    if isinstance(made, Audit):
        about = {
            "rows": made.n,
            "policy": policy.get("name", ""),
            "tolerances set by": owner,
            "verdict": made.verdict or "no tolerance declared",
            "fail_on": policy.get("fail_on", "exceeds"),
        }
        return about, list(_gates(made))
    from .bias.compared import Comparison

    about = {"policy": policy.get("name", ""), "fail_on": "exceeds"}
    if isinstance(made, Comparison):
        more = {
            "rows": made.n,
            "margins set by": owner,
            "decision": made.decision or "no margin declared",
        }
        return about | more, [_changed(one) for one in made.changes if one.decision is not None]
    more = {"dates": len(made.dates), "outcome": made.outcome}
    return about | more, [_charted(one) for one in made.charts]


def _gates(made: Audit) -> Iterator[Case]:
    for entry in made.verdicts:
        attribute, metric = entry["attribute"], entry["metric"]
        pairs = [f for f in made.findings if (f.attribute, f.metric) == (attribute, metric)]
        message = f"{entry['verdict']} (tolerance {entry['tolerance']:g}): {entry['reason']}"
        yield Case(attribute, f"{metric} by {attribute}", entry["verdict"], message, _sentences(pairs))


def _changed(one: "Change") -> Case:
    """A change with its margin: what "no worse" is decided by, and what to read."""
    from .bias.compared import AS_VERDICT

    if one.decision is None:
        raise ValueError("a change without a margin is no test case")
    whom = f"{one.group} minus {one.reference}" if one.is_gap else one.group if one.attribute else "everybody"
    message = f"{one.decision} (margin {one.margin:g})" + (f": {one.reason}" if one.reason else "")
    numbers = f"{one.metric}, {whom}: {_number(one.before, '')} before, {_number(one.after, '')} after"
    if one.change is not None:
        numbers += f", change {one.change:+.4f}{_interval(one.low, one.high)}"
    numbers += f", n = {one.n_before} and {one.n_after}, status {one.status}"
    of = one.attribute or "everybody"
    return Case(of, f"change of {one.metric} of {whom}", AS_VERDICT[one.decision], message, numbers)


def _charted(one: "GapChart") -> Case:
    """A chart: its outcome, and every date out of control; without one its last date."""
    from .bias.monitored import AS_VERDICT

    pair = f"{one.metric}, {one.attribute}: {one.group} minus {one.reference}"
    message = one.outcome + (f": {one.reason}" if one.reason else "")
    numbers = "\n".join(
        f"{pair}, {point.date}: {_number(point.estimate, '+')}, limits{_interval(point.low, point.high) or ' unknown'}, "
        f"n = {point.n_group:.0f} and {point.n_reference:.0f}, {point.status}"
        for point in one.chart.alarms or one.chart.points[-1:]
    )
    name = f"chart of {one.metric} of {one.group} minus {one.reference}"
    return Case(one.attribute, name, AS_VERDICT[one.outcome], message, numbers)


def _number(value: float | None, sign: str) -> str:
    return "unknown" if value is None else f"{value:{sign}.4f}"


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{low:+.4f}, {high:+.4f}]"


def _sentences(pairs: Sequence[Finding]) -> str:
    """Every pair of groups with its gap, interval, denominators and status, one a line."""
    return "\n".join(map(sentence, pairs))


def sentence(pair: Finding) -> str:
    """One comparison in words, whatever is known of it."""
    said = f"{pair.metric}, {pair.attribute}: {pair.group} minus {pair.reference}: "
    if pair.estimate is None:
        return f"{said}no estimate, n = {pair.n_group} and {pair.n_reference}, {pair.status}: {pair.reason}"
    said += f"{pair.estimate:+.4f}{_interval(pair.low, pair.high)}"
    said += f", n = {pair.n_group} and {pair.n_reference}, status {pair.status}"
    if pair.verdict is not None:
        said += f": {pair.verdict}"
    return f"{said} ({pair.reason})" if pair.reason else said


def writable(text: str) -> str:
    """The text with escapes for what XML 1.0 cannot hold: control characters, halves of pairs, U+FFFE and U+FFFF."""
    return UNWRITABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
