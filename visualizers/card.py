"""The model card of a review: front matter, and "Bias, Risks and Limitations" with intervals and n."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ..records import PRECEDENCE, Audit, Finding, Review
from .fonts import shorten, width_of
from .front_matter import EVERYBODY, metadata, shown_metrics, yaml
from .palette import MARKS
from .wording import interval, number, p_value, signed, spoken

IN_TABLE = 80  # columns of a name in a table
MOST_PAIRS = 6  # of one metric and attribute
MOST_SHARES = 5
MOST_SLICES = 5
# Characters that mean something to Markdown, or to what GitHub and the Hub add to it (mathematics, mentions, HTML).
ESCAPED = frozenset("\\`*_{}[]#!|~")
ENTITIES: Mapping[str, str] = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;", "@": "&#64;"}
ADDRESSES: Mapping[str, str] = {"://": "&#58;//", "www.": "www&#46;"}  # what would become a link by itself
JOINERS = "\u200c\u200d"  # they shape Arabic, Indic scripts and emoji, and steer nothing


def card(review: Review) -> str:
    """The card as Markdown with YAML front matter: what was audited, whom it fails, how sure that is, and the limits.

    Every number has its n, its interval and its status or verdict. Names from the data are escaped: none of them is
    markup, a link, a mention or mathematics. The card says of itself that it is no approval.
    """
    environment = Environment(
        loader=PackageLoader("clinometer.visualizers"),
        autoescape=False,  # Markdown: names pass through `name`, below
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(name=name, number=number, signed=signed, p=p_value, said=said)
    environment.globals.update(interval=interval, MARKS=MARKS, EVERYBODY=EVERYBODY)
    audit = review.audit
    metrics = shown_metrics(audit)
    policy = audit.plan.get("policy")
    search = review.slices
    findings, left_out = _findings(audit, metrics)
    return environment.get_template("card.md.j2").render(
        front=yaml(metadata(review)),
        review=review,
        audit=audit,
        policy=policy if isinstance(policy, Mapping) else {},
        metrics=metrics,
        findings=findings,
        left_out=left_out,
        cells=[c for c in audit.cells if c.metric in metrics],
        ledgers=review.ledgers,
        most_shares=MOST_SHARES,
        slices=() if search is None or isinstance(search, str) else search.leaders[:MOST_SLICES],
        search=None if isinstance(search, str) else search,
        answers=list(_answers(review)),
        facts=_facts(review),
        command=_command(),
    )


def _findings(audit: Audit, metrics: list[str]) -> tuple[list[Finding], int]:
    """Of each metric and attribute the pairs that decide, widest first, and how many gated pairs are left out.

    Of a metric that is not gated, the one pair whose gap is largest.
    """
    sets: dict[tuple[str, str], list[Finding]] = {}
    for f in audit.findings:
        if f.metric in metrics:
            sets.setdefault((f.attribute, f.metric), []).append(f)
    shown, left = [], 0
    for pairs in sets.values():
        most = MOST_PAIRS if pairs[0].tolerance is not None else 1
        ranked = sorted(
            pairs,
            key=lambda f: (
                len(PRECEDENCE) if f.verdict is None else PRECEDENCE.index(f.verdict),
                -abs(f.estimate or 0.0),
            ),
        )
        shown += ranked[:most]
        left += len(ranked[most:]) if most > 1 else 0
    return shown, left


def _answers(review: Review) -> Iterator[tuple[str, Sequence[str]]]:
    """What a review was asked beyond its audit, in its own sentences: as records, or as objects of a saved review."""
    for answer in review.why:
        yield (
            "Why there is a gap: what is associated with it, and which heads were tested",
            _sentences(answer),
        )
    if review.mitigated is not None:
        yield "The fix that was tried", _sentences(review.mitigated)


def _sentences(answer: Any) -> Sequence[str]:
    found: Sequence[str] = answer["sentences"] if isinstance(answer, Mapping) else answer.sentences
    return found


def _facts(review: Review) -> list[tuple[str, str]]:
    model, data = review.model, review.data
    facts: list[tuple[str, Any]] = [
        ("Model", model.get("name")),
        ("Class", model.get("class")),
        ("Parameters", model.get("parameters")),
        ("Labels", model.get("labels")),
        ("Decision", model.get("target")),
        ("Threshold", model.get("threshold")),
        ("SHA-256 of the weights", model.get("weights_sha256")),
        ("Data", data.get("name")),
        ("Split", data.get("split")),
        ("Rows", data.get("rows", review.audit.n)),
        ("SHA-256 of the rows", data.get("rows_sha256")),
        ("Reviewed", f"{review.created} (UTC)"),
    ]
    return [(key, said(value)) for key, value in facts if value is not None]


def _command() -> str:
    return shlex.join(["clinometer", "audit", "evidence.parquet", "--policy", "policy.toml"])


def said(value: Any) -> str:
    """A fact in words; a list with commas between."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(said, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return name(f"{value:.6g}" if isinstance(value, float) else str(value))


def name(text: str, limit: int = IN_TABLE) -> str:
    """A name as Markdown that shows the name and does nothing else; metrics without underscores, long ones shortened."""
    made = []
    whole = " ".join(spoken(text).split())
    for c in whole if width_of(whole) <= limit else shorten(whole, limit):
        if c in ESCAPED:
            made.append("\\" + c)
        elif c in ENTITIES:
            made.append(ENTITIES[c])
        elif c.isprintable() or c in JOINERS:
            made.append(c)
        else:
            made.append("\\" + c.encode("unicode_escape").decode())
    written = "".join(made)
    for start, harmless in ADDRESSES.items():
        written = re.sub(re.escape(start), harmless, written, flags=re.IGNORECASE)
    return written
