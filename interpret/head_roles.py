"""What a head does, in words, where the statistics of its maps pass a stated threshold."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import UsageError
from ..records import Floats, HeadSummary
from .reductions import Statistics

NO_ROLE = "no role under the stated thresholds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A role, the number that decides it, and the threshold it has to reach."""

    role: str
    measure: str  # in words, with its unit
    direction: Literal["at least", "at most"]
    threshold: float
    value: Callable[
        [Statistics], Floats | None
    ]  # (example, head, query), NaN where undefined; None without data

    def passed(self, mean: float) -> bool:
        """Whether a mean over queries reaches the threshold."""
        return mean >= self.threshold if self.direction == "at least" else mean <= self.threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadRole:
    """A role that a head has, or that it has none: `value` is the mean over queries that are no padding."""

    layer: str
    head: int
    role: str
    value: float | None
    direction: str
    threshold: float | None
    n_examples: int
    n_queries: int  # counted in the mean, over all examples


def _class(*names: str) -> Callable[[Statistics], Floats | None]:
    def value(statistics: Statistics) -> Floats | None:
        return next((statistics.shares[name] for name in names if name in statistics.shares), None)

    return value


def _evenness(statistics: Statistics) -> Floats:
    """Entropy / ln(keys allowed); undefined where at most one key is."""
    n_allowed = statistics.n_allowed.astype(float)
    some = n_allowed > 1
    return np.where(some, statistics.entropy / np.log(np.where(some, n_allowed, math.e)), np.nan)


def _nearness(statistics: Statistics) -> Floats:
    """Mean distance / (number of keys allowed - 1); undefined where at most two keys are."""
    n_allowed = statistics.n_allowed
    return np.where(n_allowed > 2, statistics.distance / np.maximum(n_allowed - 1, 1), np.nan)


def _lift(name: str) -> Callable[[Statistics], Floats | None]:
    """Share on a class / the class's part of the keys; undefined in examples without the class."""

    def value(statistics: Statistics) -> Floats | None:
        if name not in statistics.shares:
            return None
        part = np.asarray(statistics.class_sizes[name], dtype=float)[:, None, None]
        return np.where(part > 0, statistics.shares[name] / np.where(part > 0, part, 1.0), np.nan)

    return value


# Thresholds are conventions, not truths: a share of one half says that no other place gets more. "previous token" and
# its like follow Clark et al. 2019 ("What Does BERT Look At?"), who report heads by their mean attention to the previous,
# next and separator token; "rare word" follows Voita et al. 2019 ("Analyzing Multi-Head Self-Attention").
RULES: tuple[Rule, ...] = (
    Rule(
        role="previous token",
        measure="share",
        direction="at least",
        threshold=0.5,
        value=lambda s: s.previous,
    ),
    Rule(
        role="next token", measure="share", direction="at least", threshold=0.5, value=lambda s: s.following
    ),
    Rule(role="itself", measure="share", direction="at least", threshold=0.5, value=lambda s: s.itself),
    Rule(
        role="first-token sink", measure="share", direction="at least", threshold=0.5, value=lambda s: s.first
    ),
    Rule(role="separator", measure="share", direction="at least", threshold=0.5, value=_class("separator")),
    Rule(
        role="special tokens",
        measure="share",
        direction="at least",
        threshold=0.5,
        value=_class("special tokens"),
    ),
    Rule(role="broad", measure="entropy / ln(keys)", direction="at least", threshold=0.9, value=_evenness),
    Rule(role="local", measure="mean distance / keys", direction="at most", threshold=0.1, value=_nearness),
    Rule(
        role="rare word",
        measure="share / part of keys",
        direction="at least",
        threshold=3.0,
        value=_lift("rare"),
    ),
)


def roles(statistics: Sequence[Statistics], rules: Sequence[Rule] = RULES) -> tuple[HeadRole, ...]:
    """The roles of every head of every call, in order; one line with `NO_ROLE` for a head that has none.

    A value is the mean over the queries that are no padding and for which it is defined, all of a batch alike. The
    roles "separator", "special tokens" and "rare word" need the classes "separator", "special tokens" and "rare" in
    `Statistics.shares`, and are not looked for without them; those of positions are not in cross-attention. A role
    names where a head looks, which is not what it does to the output.

    Args:
        statistics: one per call; several with the same layer (batches) are taken together.
        rules: what to look for.

    Raises:
        UsageError: statistics of one layer differ in their number of heads.
    """
    layers = list(dict.fromkeys(one.layer for one in statistics))
    found: list[HeadRole] = []
    for layer in layers:
        parts = [one for one in statistics if one.layer == layer]
        heads = {one.n_heads for one in parts}
        if len(heads) > 1:
            raise UsageError(f"{layer}: statistics with {sorted(heads)} heads; expected those of one model.")
        for head in range(parts[0].n_heads):
            found += _of_head(layer, head, parts, rules)
    return tuple(found)


def _of_head(layer: str, head: int, parts: Sequence[Statistics], rules: Sequence[Rule]) -> list[HeadRole]:
    n_examples = sum(one.n_examples for one in parts)
    found = []
    for rule in rules:
        total, n = _summed(parts, rule.value, head)
        if n and rule.passed(total / n):
            found.append(
                HeadRole(
                    layer=layer,
                    head=head,
                    role=rule.role,
                    value=total / n,
                    direction=rule.direction,
                    threshold=rule.threshold,
                    n_examples=n_examples,
                    n_queries=n,
                )
            )
    n_valid = sum(int(one.valid.sum()) for one in parts)
    nothing = HeadRole(
        layer=layer, head=head, role=NO_ROLE, value=None, direction="", threshold=None,
        n_examples=n_examples, n_queries=n_valid,
    )  # fmt: skip
    return found or [nothing]


MEASURES: dict[str, Callable[[Statistics], Floats | None]] = {
    "entropy": lambda one: one.entropy,
    "distance": lambda one: one.distance,
    "largest": lambda one: one.peak,
    "first": lambda one: one.first,
    "itself": lambda one: one.itself,
    "previous": lambda one: one.previous,
    "next": lambda one: one.following,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadTally:
    """Sums over the queries of one head that are no padding, from which means over any number of rows are made.

    `measures`, `classes` and `rules` hold, by name, the sum of what is defined and over how many queries.
    """

    layer: str
    head: int
    n_examples: int
    n_queries: int
    measures: Mapping[str, tuple[float, int]]
    classes: Mapping[str, tuple[float, int]]  # shares on classes of tokens that were counted
    rules: Mapping[str, tuple[float, int]]


def summaries(statistics: Sequence[Statistics], rules: Sequence[Rule] = RULES) -> tuple[HeadSummary, ...]:
    """One line per head: means over queries that are no padding, all batches of a layer alike, and roles.

    Shares are of attention: on the key with the largest weight, the first key, the token itself, the one before and
    the one after, and each class of tokens that was counted. None where nothing is defined (positions in
    cross-attention).
    """
    return summaries_of(tallies(statistics, rules), rules)


def tallies(statistics: Sequence[Statistics], rules: Sequence[Rule] = RULES) -> tuple[HeadTally, ...]:
    """What `summaries` needs of these statistics, a few numbers per head: see `summaries_of`."""
    found = []
    for layer in dict.fromkeys(one.layer for one in statistics):
        parts = [one for one in statistics if one.layer == layer]
        classes = list(dict.fromkeys(name for one in parts for name in one.shares))

        def counted(
            measures: Mapping[str, Callable[[Statistics], Floats | None]],
            head: int,
            parts: Sequence[Statistics] = parts,
        ) -> dict[str, tuple[float, int]]:
            return {name: _summed(parts, measure, head) for name, measure in measures.items()}

        for head in range(parts[0].n_heads):
            found.append(
                HeadTally(
                    layer=layer,
                    head=head,
                    n_examples=sum(one.n_examples for one in parts),
                    n_queries=sum(int(one.valid.sum()) for one in parts),
                    measures=counted(MEASURES, head),
                    classes=counted({name: _class(name) for name in classes}, head),
                    rules=counted({rule.role: rule.value for rule in rules}, head),
                )
            )
    return tuple(found)


def _summed(
    parts: Sequence[Statistics], measure: Callable[[Statistics], Floats | None], head: int
) -> tuple[float, int]:
    arrays = [(measure(one), one.valid) for one in parts]
    counted = [array[:, head][valid] for array, valid in arrays if array is not None]
    joined = np.concatenate(counted) if counted else np.zeros(0)
    joined = joined[~np.isnan(joined)]
    return float(joined.sum(dtype=np.float64)), int(joined.size)


def summaries_of(counted: Sequence[HeadTally], rules: Sequence[Rule] = RULES) -> tuple[HeadSummary, ...]:
    """The summaries of heads from tallies of any parts of the rows, in the order of the parts."""
    heads: dict[tuple[str, int], list[HeadTally]] = {}
    for one in counted:
        heads.setdefault((one.layer, one.head), []).append(one)
    found = []
    for (layer, head), parts in heads.items():
        means = {name: _mean([part.measures[name] for part in parts]) for name in MEASURES}
        classes = dict.fromkeys(name for part in parts for name in part.classes)
        passed = []
        for rule in rules:
            mean = _mean([part.rules[rule.role] for part in parts])
            if mean is not None and rule.passed(mean):
                passed.append(rule.role)
        found.append(
            HeadSummary(
                layer=layer,
                head=head,
                n_examples=sum(part.n_examples for part in parts),
                n_queries=sum(part.n_queries for part in parts),
                entropy=means.pop("entropy"),
                distance=means.pop("distance"),
                shares={
                    **means,
                    **{name: _mean([part.classes.get(name, (0.0, 0)) for part in parts]) for name in classes},
                },
                roles=tuple(passed),
            )
        )
    return tuple(found)


def _mean(sums: Sequence[tuple[float, int]]) -> float | None:
    n = sum(many for _, many in sums)
    return math.fsum(total for total, _ in sums) / n if n else None
