"""JUnit XML of an audit: one test case for each metric and attribute that is gated, for CI that shows those."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence

from .records import Audit, Finding, Verdict

# A verdict under each `fail_on` of a policy: a failed test, one that was skipped, or one that passed.
FAILED: Mapping[str, frozenset[Verdict]] = {
    "exceeds": frozenset({"exceeds tolerance"}),
    "any": frozenset({"exceeds tolerance", "inconclusive", "not assessed"}),
    "never": frozenset(),
}

UNWRITABLE = re.compile("[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(*audits: Audit) -> str:
    """Audits as JUnit XML: a suite each, a test case for each gated metric of each attribute.

    A case fails where the policy's `fail_on` says so ("exceeds" unless it says otherwise). What these rows do not
    settle is skipped, with the reason: the command's exit code 4 still stops a job. Nothing is a case that no
    tolerance was declared for.

    Returns:
        UTF-8 text that any XML reader takes: characters that XML has no way to write are written as escapes.
    """
    root = ET.Element("testsuites", {"name": "clinometer"})
    totals = {"tests": 0, "failures": 0, "skipped": 0}
    for made in audits:
        suite, counts = _suite(made)
        root.append(suite)
        totals = {name: totals[name] + counts[name] for name in totals}
    root.attrib.update({name: str(count) for name, count in totals.items()} | {"errors": "0"})
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(made: Audit) -> tuple[ET.Element, dict[str, int]]:
    policy = made.plan.get("policy", {})
    failing = FAILED[policy.get("fail_on", "exceeds")]
    suite = ET.Element("testsuite", {"name": writable(made.title)})
    kept = ET.SubElement(suite, "properties")
    about = {
        "rows": made.n,
        "policy": policy.get("name", ""),
        "tolerances set by": policy.get("set_by") or "nobody",
        "verdict": made.verdict or "no tolerance declared",
        "exit code": made.exit_code,
    }
    for name, value in about.items():
        ET.SubElement(kept, "property", {"name": name, "value": writable(str(value))})
    counts = {"tests": 0, "failures": 0, "skipped": 0}
    for entry in made.verdicts:
        counts["tests"] += 1
        case = ET.SubElement(
            suite,
            "testcase",
            {
                "classname": writable(f"{made.title}.{entry['attribute']}"),
                "name": writable(f"{entry['metric']} by {entry['attribute']}"),
                "time": "0",
            },
        )
        pairs = [f for f in made.findings if (f.attribute, f.metric) == (entry["attribute"], entry["metric"])]
        message = f"{entry['verdict']} (tolerance {entry['tolerance']:g}): {entry['reason']}"
        if entry["verdict"] in failing:
            counts["failures"] += 1
            failure = ET.SubElement(case, "failure", {"type": entry["verdict"], "message": writable(message)})
            failure.text = writable(_sentences(pairs))
        elif entry["verdict"] in {"inconclusive", "not assessed"}:
            counts["skipped"] += 1
            ET.SubElement(case, "skipped", {"message": writable(message)})
            ET.SubElement(case, "system-out").text = writable(_sentences(pairs))
        else:
            ET.SubElement(case, "system-out").text = writable(f"{message}\n{_sentences(pairs)}")
    suite.attrib.update({name: str(count) for name, count in counts.items()} | {"errors": "0"})
    return suite, counts


def _sentences(pairs: Sequence[Finding]) -> str:
    """Every pair of groups with its gap, interval, denominators and status, one a line."""
    return "\n".join(map(sentence, pairs))


def sentence(pair: Finding) -> str:
    """One comparison in words, whatever is known of it."""
    said = f"{pair.metric}, {pair.attribute}: {pair.group} minus {pair.reference}: "
    if pair.estimate is None:
        return f"{said}no estimate, n = {pair.n_group} and {pair.n_reference}, {pair.status}: {pair.reason}"
    said += f"{pair.estimate:+.4f}"
    if pair.low is not None and pair.high is not None:
        said += f" [{pair.low:+.4f}, {pair.high:+.4f}]"
    said += f", n = {pair.n_group} and {pair.n_reference}, status {pair.status}"
    if pair.verdict is not None:
        said += f": {pair.verdict}"
    return f"{said} ({pair.reason})" if pair.reason else said


def writable(text: str) -> str:
    """The text with escapes for what XML 1.0 cannot hold: control characters, halves of pairs, U+FFFE and U+FFFF."""
    return UNWRITABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
