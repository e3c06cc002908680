"""Metadata of a model card as Hugging Face reads it: results of an audit as model-index, and as eval results."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..records import Audit, Cell, Review
from .wording import spoken

EVERYBODY = "(all)"
USUAL = ("accuracy", "selection_rate", "true_positive_rate", "false_positive_rate")


def shown_metrics(audit: Audit) -> list[str]:
    """The metrics that a card gives: those gated, with accuracy; without any gate the usual ones, or all there are."""
    known = list(dict.fromkeys(cell.metric for cell in audit.cells))
    gated = [name for name in known if any(entry["metric"] == name for entry in audit.verdicts)]
    if gated:
        return [*gated, *(["accuracy"] if "accuracy" in known and "accuracy" not in gated else [])]
    return [name for name in USUAL if name in known] or known


def metadata(review: Review) -> dict[str, Any]:
    """The front matter of the card: name, tags, and a model-index with everybody and every group.

    Each value has its denominator, interval and status in `args`. A group whose value is unknown is left out of the
    index, which has no way to say so; the card's tables have it.
    """
    name = str(review.model.get("name") or "model")
    made: dict[str, Any] = {"tags": ["clinometer", "bias-audit"]}
    results = _results(review)
    if results:
        made["model-index"] = [{"name": name, "results": results}]
    return made


def _results(review: Review) -> list[dict[str, Any]]:
    audit = review.audit
    named = str(review.data.get("name") or "the reviewed rows")
    wanted = shown_metrics(audit)
    confidence = audit.plan.get("policy", {}).get("confidence")
    cells = [c for c in audit.cells if c.metric in wanted and c.estimate is not None and c.status == "ok"]
    configurations: dict[str, dict[str, Any]] = {}
    for cell in cells:
        of = "everybody" if cell.group == EVERYBODY else f"{cell.attribute}: {cell.group}"
        entry = configurations.setdefault(
            of,
            {
                "task": {"type": str(review.model.get("task") or "classification")},
                "dataset": {"name": named, "type": "reviewed-rows", "config": of},
                "metrics": {},
            },
        )
        digest = review.data.get("rows_sha256")
        if digest:
            entry["dataset"]["args"] = {"rows_sha256": str(digest)}
        entry["metrics"].setdefault(cell.metric, _metric(cell, of, confidence))
    return [{**entry, "metrics": list(entry["metrics"].values())} for entry in configurations.values()]


def _metric(cell: Cell, of: str, confidence: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {"n": cell.n, "low": cell.low, "high": cell.high, "status": cell.status}
    if cell.k is not None:
        arguments["k"] = cell.k
    if confidence is not None:
        arguments["confidence"] = confidence
    return {
        "type": cell.metric,
        "name": f"{spoken(cell.metric)}, {of}",
        "value": cell.estimate,
        "args": arguments,
    }


def eval_results(
    review: Review, dataset: str, task: str, revision: str | None = None
) -> list[dict[str, Any]]:
    """The values of everybody as a model repository keeps them in `.eval_results/`, newest form of the Hub.

    Only for data that lie on the Hub: the form names a data set there and has no other way.

    Args:
        review: the review.
        dataset: the data set's id on the Hub, as in "owner/name".
        task: its task.
        revision: the commit of the data set.
    """
    source = {"id": dataset, "task_id": task, **({"revision": revision} if revision else {})}
    wanted = shown_metrics(review.audit)
    made = []
    for cell in review.audit.cells:
        if cell.metric in wanted and cell.group == EVERYBODY and cell.estimate is not None:
            wanted = [
                name for name in wanted if name != cell.metric
            ]  # everybody is the same in every attribute
            notes = f"{spoken(cell.metric)}, n = {cell.n}"
            if cell.low is not None and cell.high is not None:
                notes += f", interval [{cell.low:.4f}, {cell.high:.4f}]"
            made.append(
                {"dataset": dict(source), "value": cell.estimate, "date": review.created, "notes": notes}
            )
    return made


def yaml(value: Any) -> str:
    """Mappings, lists, texts and numbers as YAML that any reader takes: block style, every text between quotes."""
    return "\n".join(_lines(value)) + "\n"


def _lines(value: Any, indent: str = "") -> list[str]:
    made = []
    if isinstance(value, Mapping):
        for key, item in value.items():
            made += _entry(f"{indent}{key if _bare(key) else _text(key)}:", item, indent + "  ")
        return made
    for item in value:
        if _nested(item):
            inner = _lines(item, indent + "  ")
            made += [f"{indent}- {inner[0].lstrip()}", *inner[1:]]
        else:
            made.append(f"{indent}- {_scalar(item)}")
    return made


def _entry(head: str, item: Any, indent: str) -> list[str]:
    return [head, *_lines(item, indent)] if _nested(item) else [f"{head} {_scalar(item)}"]


def _nested(item: Any) -> bool:
    return isinstance(item, (Mapping, Sequence)) and not isinstance(item, str) and bool(item)


def _scalar(item: Any) -> str:
    if item is None or (isinstance(item, float) and not math.isfinite(item)):
        return "null"
    if isinstance(item, (Mapping, list, tuple)):
        return "{}" if isinstance(item, Mapping) else "[]"
    if isinstance(item, float):
        written = repr(item)
        return written.replace("e", ".0e") if "e" in written and "." not in written else written
    return _text(item) if isinstance(item, str) else json.dumps(item)


def _bare(key: Any) -> bool:
    """A key that no reader takes for a truth value (n, no, off) or a number."""
    return (
        isinstance(key, str)
        and len(key) > 3
        and key.isascii()
        and key.replace("_", "").replace("-", "").isalpha()
        and key.lower() not in {"true", "false", "null"}
    )


def _text(text: str) -> str:
    """Between double quotes; what YAML does not print is escaped as YAML does it."""
    made = []
    for c in text:
        code = ord(c)
        if c in '"\\':
            made.append("\\" + c)
        elif c.isprintable() and code not in (0x85, 0x2028, 0x2029, 0xFEFF):
            made.append(c)
        elif code <= 0xFF:
            made.append(f"\\x{code:02x}")
        elif 0xD800 <= code <= 0xDFFF:
            made.append(f"\\\\u{code:04x}")  # half of a pair is no character: its name stands for it
        else:
            made.append(f"\\U{code:08x}")
    return '"' + "".join(made) + '"'
