"""Rows that are alike, kept once with how many there were; partial counts add up exactly.

Whatever engine grouped the rows, and in however many parts, the result is the same table: one spelling of each
value, rows in the order of their values, integer counts. The two numbers kept of a measure, its mean and the sum
of squared deviations, are the same on every engine; merged from parts they agree to 1e-12.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .errors import UsageError, did_you_mean, first
from .evidence import Evidence, check_names, check_squares, fresh

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]

MOST_EXACT = 100_000
SCORE_BINS = 65_536
MOST_BINS = 2**24


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """What each column is for, before there is evidence."""

    id: str | None = None
    label: str | None = None
    prediction: str | None = None
    score: str | None = None
    groups: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    positive: str | None = None
    count: str | None = None
    weight: str | None = None
    cluster: str | None = None
    strata: tuple[str, ...] = ()
    squares: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Roles":
        """Roles by name; what is None or no role is left out."""
        made: dict[str, Any] = {}
        for role in fields(cls):
            value = given.get(role.name)
            if value is not None:
                made[role.name] = tuple(value) if role.name in {"groups", "measures", "strata"} else value
        return cls(**made)

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns whose values are names, each once, in the order in which counted rows are sorted."""
        named = (*self.groups, *self.strata, self.cluster, self.label, self.prediction)
        return tuple(dict.fromkeys(name for name in named if name is not None))

    @property
    def numbers(self) -> tuple[str, ...]:
        """The columns that are numbers, each once."""
        named = (self.count, self.weight, self.score, *self.measures, *self.squares.values())
        return tuple(dict.fromkeys(name for name in named if name is not None))

    def check(self, columns: Sequence[str]) -> None:
        """Refuse roles of absent columns, and those that cannot be counted together.

        Raises:
            UsageError: what does not go together, and the way out.
        """
        check_names(columns, (self.id, *self.texts, *self.numbers))
        check_squares(self.measures, self.count, self.weight, self.squares)
        both = [name for name in self.numbers if name in self.texts]
        if both:
            raise UsageError(
                f"column {first(both)} is named both as a number and as a label, prediction, group, stratum or "
                "cluster. Name a copy of the column for one of the two."
            )
        single = [name for name in (self.count, self.weight, self.score, *self.squares.values()) if name]
        twice = sorted(
            {name for name in (*single, *self.measures) if (*single, *self.measures).count(name) > 1}
        )
        if twice:
            raise UsageError(f"column {first(twice)} has two roles as a number. Name it in one of them.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRule:
    """How scores are kept: exactly up to so many distinct ones, beyond that in equal bins between two edges."""

    most_exact: int = MOST_EXACT
    bins: int = SCORE_BINS
    edges: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.most_exact < 0:
            raise UsageError(f"most_exact is {self.most_exact}; 0 (always bins) or more is expected.")
        if not 2 <= self.bins <= MOST_BINS:
            raise UsageError(f"score_bins is {self.bins}; 2 to {MOST_BINS:,} are expected.")
        if self.edges is not None:
            low, high = self.edges
            if not (math.isfinite(low) and math.isfinite(high) and low < high and math.isfinite(high - low)):
                raise UsageError(
                    f"score_edges are {low} and {high}; two numbers, the lower first, are expected."
                )

    def edges_of(self, low: float, high: float) -> tuple[float, float]:
        """The stated edges; without any 0 and 1 where all scores are between them, otherwise the extremes."""
        if self.edges is not None:
            return self.edges
        if low >= 0 and high <= 1:
            return 0.0, 1.0
        return (low, high) if low < high else (low, math.nextafter(low, math.inf))


@dataclass(frozen=True, slots=True, kw_only=True)
class Binned:
    """Equal bins of a score, each closed below; the last one closed on both sides."""

    low: float
    high: float
    bins: int

    @property
    def factor(self) -> float:
        """Bins per unit of score: one multiplication, so that every engine rounds alike."""
        return self.bins / (self.high - self.low)

    def middles(self, position: Ints) -> Floats:
        """The middle of each bin, (example,)."""
        inside = np.minimum(position, self.bins - 1)
        return np.asarray(self.low + (inside + 0.5) * ((self.high - self.low) / self.bins), dtype=np.float64)

    def of(self, scores: Floats) -> Floats:
        """The middle of the bin of each score, (example,)."""
        return self.middles(np.floor((scores - self.low) * self.factor).astype(np.int64))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Grouped rows as they come from an engine or from parts: a combination of values may still occur twice.

    `texts` are codes into names, -1 for unknown; `measures` the arrays that `join` makes the mean and the sum of
    squared deviations of: it is given the arrays and the counts in the rows' new order, where each combination
    starts, and how many rows each has.
    """

    texts: Mapping[str, tuple[Codes, tuple[str, ...]]]
    weight: Floats | None
    score: Floats | None
    counts: Ints
    measures: Mapping[str, tuple[npt.NDArray[Any], ...]]
    join: Callable[[str, tuple[npt.NDArray[Any], ...], Ints, Ints, Ints], tuple[Floats, Floats]]


def evidence_of(tally: Tally, roles: Roles, binned: Binned | None, provenance: Mapping[str, Any]) -> Evidence:
    """Counted evidence: each combination of values once, sorted, unknown last.

    Args:
        tally: rows in any order; combinations that occur twice are added up.
        roles: of the columns; `count` and `squares` are named here where they have no name yet.
        binned: how the scores were binned; None where they are exact.
        provenance: kept beside what is said of the counting.
    """
    keys = [_last(codes, len(names)) for codes, names in tally.texts.values()]
    sizes = [len(names) + 1 for _, names in tally.texts.values()]
    for values in (tally.weight, tally.score):
        if values is not None:
            distinct, position = np.unique(values + 0.0, return_inverse=True)  # -0.0 is 0.0
            keys.append(position.astype(np.int64))
            sizes.append(len(distinct))
    order, starts = _runs(keys, sizes, [array for arrays in tally.measures.values() for array in arrays])
    counts = np.add.reduceat(tally.counts[order], starts)
    kept = order[starts]
    columns: dict[str, Any] = {}
    for name, (codes, names) in tally.texts.items():
        columns[name] = _dictionary(codes[kept], names)
    if tally.weight is not None and roles.weight is not None:
        columns[roles.weight] = pa.array(tally.weight[kept] + 0.0)
    if tally.score is not None and roles.score is not None:
        columns[roles.score] = pa.array(tally.score[kept] + 0.0)
    taken = [*columns, *roles.measures, *roles.squares.values()]
    named = {"count": roles.count or fresh("count", taken)}
    columns[named["count"]] = pa.array(counts)
    squares: dict[str, str] = {}
    for name, arrays in tally.measures.items():
        ordered = tuple(array[order] for array in arrays)
        mean, spread = tally.join(name, ordered, tally.counts[order], starts, counts)
        columns[name] = pa.array(mean)
        squares[name] = roles.squares.get(name) or fresh(f"{name} (squares)", [*taken, *columns])
        columns[squares[name]] = pa.array(spread)
    id = fresh("id", list(columns))
    said = _said(columns.get(roles.score) if roles.score else None, binned)
    return Evidence(
        table=pa.table({id: pa.array(np.arange(len(kept), dtype=np.int64)), **columns}),
        id=id,
        label=roles.label,
        prediction=roles.prediction,
        score=roles.score,
        groups=roles.groups,
        measures=roles.measures,
        positive=roles.positive,
        count=named["count"],
        weight=roles.weight,
        cluster=roles.cluster,
        strata=roles.strata,
        squares=squares,
        provenance={
            **provenance,
            "counted": {"n": int(counts.sum()), "distinct": len(kept), "score": said[0]},
            "notes": said[1],
        },
    )


def binned_before(provenance: Mapping[str, Any]) -> Binned | None:
    """The bins that counted evidence says its scores are in; None where they are exact."""
    said = (provenance.get("counted") or {}).get("score") or {}
    if said.get("kept") != "binned":
        return None
    return Binned(low=said["low"], high=said["high"], bins=said["bins"])


def _said(score: pa.Array | None, binned: Binned | None) -> tuple[dict[str, Any] | None, list[str]]:
    if score is None:
        return None, []
    if binned is None:
        distinct = len(np.unique(score.to_numpy()))
        return {"kept": "exact"}, [f"Scores keep their exact values: {distinct:,} distinct ones."]
    note = (
        f"Scores are kept in {binned.bins:,} equal bins between {binned.low:g} and {binned.high:g}, each at its "
        "middle. Scores in one bin count as ties."
    )
    return {"kept": "binned", "bins": binned.bins, "low": binned.low, "high": binned.high}, [note]


def _last(codes: Codes, n_names: int) -> Ints:
    """Codes in which unknown comes last."""
    return np.where(codes < 0, n_names, codes).astype(np.int64)


def _dictionary(codes: Codes, names: tuple[str, ...]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), pa.array(list(names), pa.string()))


def _runs(keys: Sequence[Ints], sizes: Sequence[int], ties: Sequence[npt.NDArray[Any]]) -> tuple[Ints, Ints]:
    """The order of rows by their keys, the first key first; where in it each distinct combination starts.

    Rows of one combination are ordered by `ties`, so that sums do not depend on the order of the parts.
    """
    packed: list[Ints] = []
    room = 1
    for key, size in zip(keys, sizes, strict=True):
        if packed and room * size < 2**62:
            packed[-1] = packed[-1] * size + key
            room *= size
        else:
            packed.append(key)
            room = size
    order = np.lexsort([*reversed(ties), *reversed(packed)])
    new = np.zeros(len(order), dtype=np.bool_)
    new[:1] = True
    for key in packed:
        ordered = key[order]
        new[1:] |= ordered[1:] != ordered[:-1]
    return order, np.flatnonzero(new)


def keep_roles(roles: Roles, keys: Sequence[str] | None) -> Roles:
    """The roles without the groups, strata, label, prediction and score that are not among the keys.

    Weight and cluster stay: to leave them out would change every interval.

    Raises:
        UsageError: a key has no role, or nothing is left to count by.
    """
    kept = roles
    if keys is not None:
        known = [
            *roles.texts,
            *([roles.score] if roles.score else []),
            *([roles.weight] if roles.weight else []),
        ]
        stray = [key for key in keys if key not in known]
        if stray:
            raise UsageError(f"the key {first(stray)} has no role: {did_you_mean(stray[0], known)}")
        kept = replace(
            roles,
            label=roles.label if roles.label in keys else None,
            prediction=roles.prediction if roles.prediction in keys else None,
            score=roles.score if roles.score in keys else None,
            groups=tuple(name for name in roles.groups if name in keys),
            strata=tuple(name for name in roles.strata if name in keys),
        )
    if not (kept.texts or kept.score or kept.weight):
        raise UsageError(
            "there is nothing to count by: name a group, label, prediction, score, stratum or cluster."
        )
    return kept
