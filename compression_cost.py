"""What did compression cost, and whom: the record of two versions of a model, as a table and in words."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .bias.attributes import Attribute
from .bias.compared import Change, Comparison, Decision
from .bias.groups import ALL
from .bias.intervals import wilson

if TYPE_CHECKING:
    from .interpret.head_changes import HeadChanges
    from .interpret.latency import Latency

Bools = npt.NDArray[np.bool_]
FRAME = (
    "about",
    "measure",
    "attribute",
    "group",
    "reference",
    "n",
    "before",
    "after",
    "change",
    "low",
    "high",
    "margin",
    "decision",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What one version takes."""

    name: str
    module: str
    provenance: Mapping[str, Any]
    weight_bytes: int  # of parameters and buffers in memory
    disk_bytes: int | None  # of the folder's weight files; None where it came from no folder
    latency: "Latency | None"  # None where it was not asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Affected:
    """How many of a group's decisions are no longer the same (Hooker et al. 2020 ask this of compressed models)."""

    attribute: str  # "" for everybody
    group: str
    n: int
    changed: int
    share: float
    low: float  # Wilson's interval of the share
    high: float
    newly_wrong: int | None  # None without labels
    newly_right: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantComparison:
    """Two versions of a model on the same rows: what was lost, by whom, and what was gained for it."""

    title: str
    n: int
    before: Footprint
    after: Footprint
    comparison: Comparison  # accuracy and the like of everybody and each group, and every gap, paired
    affected: tuple[Affected, ...]
    heads: "HeadChanges | None"  # None where it was not asked for
    data: Mapping[str, Any]
    notes: tuple[str, ...]

    @property
    def decision(self) -> Decision | None:
        """Worse, no worse, ... beyond the margins declared; None where none is."""
        return self.comparison.decision

    @property
    def exit_code(self) -> int:
        """0 no worse or nothing declared, 1 worse, 4 inconclusive or not assessed."""
        return self.comparison.exit_code

    @property
    def worse(self) -> tuple[Change, ...]:
        """The changes that are worse beyond their margin: of what, and of whom."""
        return tuple(one for one in self.comparison.changes if one.decision == "worse")

    @property
    def frame(self) -> Any:
        """What it costs and whom as one pandas DataFrame: footprints, changed decisions, then every metric and gap."""
        import pandas as pd

        lines = [*_footprint_lines(self), *_affected_lines(self), *_change_lines(self)]
        return pd.DataFrame(lines, columns=FRAME)

    @property
    def words(self) -> tuple[str, ...]:
        """The same in sentences, for a reader: what did compression cost, and whom."""
        return (*_cost(self), *_whom(self), *_heads(self), *self.notes)

    def __repr__(self) -> str:
        return f"VariantComparison({self.title}: {self.n} rows, {self.decision or 'no margin declared'})"


def affected(
    before: Bools,
    after: Bools,
    truth: Bools | None,
    attributes: Sequence[Attribute],
    confidence: float,
) -> tuple[Affected, ...]:
    """Changed decisions of everybody, then of each group of each attribute; a group without rows is left out.

    Args:
        before, after: (row,) decisions of the two versions.
        truth: (row,) labels, if there are any.
        attributes: as `bias.attributes.resolve_attributes` gives them: unknown is a group of its own.
    """
    members = [("", ALL, np.arange(len(before)))]
    members += [
        (one.name, group, rows) for one in attributes for group, rows in one.members.items() if len(rows)
    ]
    made = []
    for attribute, group, rows in members:
        moved = before[rows] != after[rows]
        changed = int(moved.sum())
        low, high = wilson(changed, len(rows), confidence)
        wrong = None if truth is None else int((moved & (after[rows] != truth[rows])).sum())
        made.append(
            Affected(
                attribute=attribute,
                group=group,
                n=len(rows),
                changed=changed,
                share=changed / len(rows),
                low=low,
                high=high,
                newly_wrong=wrong,
                newly_right=None if wrong is None else changed - wrong,
            )
        )
    return tuple(made)


def _footprint_lines(made: VariantComparison) -> Iterator[dict[str, Any]]:
    one, two = made.before, made.after
    sizes = [("bytes of weights in memory", one.weight_bytes, two.weight_bytes)]
    if one.disk_bytes is not None and two.disk_bytes is not None:
        sizes.append(("bytes of weights on disk", one.disk_bytes, two.disk_bytes))
    for measure, before, after in sizes:
        yield {
            "about": "cost",
            "measure": measure,
            "before": before,
            "after": after,
            "change": after - before,
        }
    if one.latency is not None and two.latency is not None:
        yield {
            "about": "cost",
            "measure": "milliseconds per row",
            "n": one.latency.n_rows,
            "before": one.latency.median,
            "after": two.latency.median,
            "change": two.latency.median - one.latency.median,
        }


def _affected_lines(made: VariantComparison) -> Iterator[dict[str, Any]]:
    for one in made.affected:
        yield {
            "about": "decisions",
            "measure": "share of decisions changed",
            "attribute": one.attribute,
            "group": one.group,
            "n": one.n,
            "change": one.share,
            "low": one.low,
            "high": one.high,
        }


def _change_lines(made: VariantComparison) -> Iterator[dict[str, Any]]:
    for one in made.comparison.changes:
        yield {
            "about": "gap" if one.is_gap else "level",
            "measure": one.metric,
            "attribute": one.attribute,
            "group": one.group,
            "reference": one.reference,
            "n": min(one.n_before, one.n_after),
            "before": one.before,
            "after": one.after,
            "change": one.change,
            "low": one.low,
            "high": one.high,
            "margin": one.margin,
            "decision": one.decision,
        }


def _cost(made: VariantComparison) -> Iterator[str]:
    one, two = made.before, made.after
    yield f"What did it cost: {two.name} in place of {one.name}, on the same {made.n:,} rows."
    names = dict.fromkeys(change.metric for change in made.comparison.changes)
    for metric in ("accuracy", "roc_auc", "selection_rate"):
        if metric in names:
            yield f"{metric} of everybody: {_moved(made.comparison.of(metric))}."
    everybody = made.affected[0]
    yield f"Changed: {_share(everybody)}."
    if one.latency is not None and two.latency is not None:
        yield (
            f"Milliseconds per row, median of {one.latency.rounds} interleaved passes over {one.latency.n_rows} rows with "
            f"quartiles: {_time(one.latency)}, then {_time(two.latency)}."
        )
    yield f"Weights in memory: {_size(one.weight_bytes)}, then {_size(two.weight_bytes)}."
    if one.disk_bytes is not None and two.disk_bytes is not None:
        yield f"Weights on disk: {_size(one.disk_bytes)}, then {_size(two.disk_bytes)}."


def _whom(made: VariantComparison) -> Iterator[str]:
    shares = sorted(made.affected[1:], key=lambda one: -one.share)
    for one in shares:
        yield f"Whom: {one.attribute} {one.group}: {_share(one)}."
    for change in made.worse:
        yield f"Worse beyond the margin of {change.margin:g}: {change.metric} of {_of(change)}: {_moved(change)}."
    judged = Counter(str(one.decision) for one in made.comparison.changes if one.decision is not None)
    if judged:
        yield f"Of what has a margin: {', '.join(f'{n} {decision}' for decision, n in sorted(judged.items()))}."


def _heads(made: VariantComparison) -> Iterator[str]:
    found = made.heads
    if found is None:
        return
    if found.received is not None:
        middle, low, high = found.received
        yield (
            f"Attention that tokens receive, averaged over all heads, differs by {middle:.3f} [{low:.3f}, {high:.3f}] in "
            f"total variation ({found.n} rows)."
        )
    for head in found.ranked[:3]:
        yield (
            f"{head.layer} head {head.head}: its map differs by {head.divergence:.3f} [{head.low:.3f}, {head.high:.3f}] in "
            f"total variation{_counts(head)}."
        )
    if found.reason:
        yield f"Heads: {found.reason}."


def _counts(head: Any) -> str:
    if head.share_change is None or head.share_low is None:
        return ""
    return (
        f"; its share of the effect of all heads: {head.share_before:.3f}, then {head.share_after:.3f} "
        f"({head.share_change:+.3f} [{head.share_low:+.3f}, {head.share_high:+.3f}])"
    )


def _of(change: Change) -> str:
    if change.is_gap:
        return f"{change.attribute} {change.group} against {change.reference}"
    return f"{change.attribute} {change.group}" if change.attribute else "everybody"


def _moved(change: Change) -> str:
    if change.before is None or change.after is None or change.change is None:
        return f"undefined ({change.reason})" if change.reason else "undefined"
    ends = "" if change.low is None or change.high is None else f" [{change.low:+.4f}, {change.high:+.4f}]"
    return f"{change.before:.4f}, then {change.after:.4f} ({change.change:+.4f}{ends})"


def _share(one: Affected) -> str:
    text = f"{one.changed:,} of {one.n:,} decisions ({one.share:.2%} [{one.low:.2%}, {one.high:.2%}])"
    return (
        text
        if one.newly_wrong is None
        else f"{text}, {one.newly_wrong} newly wrong and {one.newly_right} newly right"
    )


def _time(one: "Latency") -> str:
    return f"{one.median:.3g} [{one.low:.3g}, {one.high:.3g}]"


def _size(n: int) -> str:
    return f"{n / 1e6:,.2f} MB" if n >= 10_000 else f"{n:,} bytes"
