"""Gaps within strata of another column: what is left of a difference of rates once like is compared with like."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import DataError, UsageError, first
from .group_rows import Bools, Ints, positions, same_length, truth, whole_counts
from .intervals import Interval, newcombe
from .mantel_haenszel import PooledOdds, mantel_haenszel

Relation = Literal["reversed", "removed", "kept", "appears", "not shown", "not assessed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """Selected rows out of all, of a group and of its reference, where the other column has one value."""

    name: str
    k_group: int
    n_group: int
    k_reference: int
    n_reference: int

    @property
    def n(self) -> int:
        """Rows of both."""
        return self.n_group + self.n_reference

    @property
    def gap(self) -> float | None:
        """Rate of the group minus rate of the reference; None where one has nobody."""
        if not self.n_group or not self.n_reference:
            return None
        return self.k_group / self.n_group - self.k_reference / self.n_reference


def stratify(
    selected: Bools,
    member: Bools,
    stratum: Sequence[str | None],
    *,
    reference: Bools | None = None,
    count: Ints | None = None,
) -> tuple[Stratum, ...]:
    """The two-by-two table of every stratum, in order of name; rows without a stratum are one, unknown, last.

    Args:
        selected: (row,) the outcome whose rate is compared, e.g. a positive prediction.
        member: (row,) in the group.
        stratum: (row,) value of the column that is held fixed.
        reference: (row,) in the reference; None: everybody who is not in the group.
        count: (row,) how often each row counts.

    Raises:
        DataError: columns of several lengths, or a row that is in the group and in its reference.
    """
    checked(selected, member, stratum)
    other = ~member if reference is None else truth(reference, "reference")
    times = np.ones(len(selected), dtype=np.int64) if count is None else whole_counts(count)
    same_length({"selected": selected, "reference": other, "count": times})
    both = np.flatnonzero(member & other)
    if both.size:
        raise DataError(f"rows {first(both)} are in the group and in its reference.")
    return tuple(
        Stratum(
            name=name,
            k_group=int(times[rows[selected[rows] & member[rows]]].sum()),
            n_group=int(times[rows[member[rows]]].sum()),
            k_reference=int(times[rows[selected[rows] & other[rows]]].sum()),
            n_reference=int(times[rows[other[rows]]].sum()),
        )
        for name, rows in positions(stratum).items()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StandardisedGap:
    """Rates that the group and its reference would have with the same mix of strata, and their difference."""

    rate_group: float | None  # None where no stratum has both
    rate_reference: float | None
    gap: float | None
    low: float | None
    high: float | None
    weights: Mapping[str, float]  # stratum -> its weight; they sum to one
    weights_are: str  # where they are from
    left_out: Mapping[str, int]  # strata in which one of the two has nobody -> their rows
    confidence: float


def standardised_gap(
    strata: Sequence[Stratum],
    weights: Literal["both", "group", "reference"] | Mapping[str, float] = "both",
    *,
    confidence: float = 0.95,
) -> StandardisedGap:
    """Directly standardised rates and their gap: sums of w_s times the stratum's rates.

    The interval carries Newcombe's over the strata with fixed weights: the squared distances of each stratum's gap
    from its ends, times w_s^2, add up (MOVER: Zou & Donner 2008; Yan & Su 2010). With one stratum it is Newcombe's.
    Rows are taken to be independent.

    Args:
        strata: of `stratify`.
        weights: the mix of strata: that of `both` together, of the `group`, of the `reference`, or numbers of zero or
            more for every stratum. Weights of strata without both groups are given to the others in proportion.
        confidence: of the interval.

    Raises:
        DataError: no strata.
        UsageError: a weight is missing, negative, not finite, for no stratum, or they are all zero.
    """
    if not strata:
        raise DataError("there are no strata.")
    if not 0 < confidence < 1:
        raise UsageError(f"confidence is {confidence}; expected between 0 and 1.")
    mix, told = _weights(strata, weights)
    left_out = {s.name: s.n for s in strata if s.gap is None}
    kept = [s for s in strata if s.gap is not None]
    total = math.fsum(mix[s.name] for s in kept)
    if total == 0:
        return StandardisedGap(
            rate_group=None,
            rate_reference=None,
            gap=None,
            low=None,
            high=None,
            weights={},
            weights_are=told,
            left_out=left_out,
            confidence=confidence,
        )
    shares = {s.name: mix[s.name] / total for s in kept}
    rate_group = math.fsum(shares[s.name] * s.k_group / s.n_group for s in kept)
    rate_reference = math.fsum(shares[s.name] * s.k_reference / s.n_reference for s in kept)
    gap = rate_group - rate_reference
    below, above = 0.0, 0.0
    for s in kept:
        ends = newcombe(s.k_group, s.n_group, s.k_reference, s.n_reference, confidence)
        at = s.k_group / s.n_group - s.k_reference / s.n_reference
        below += (shares[s.name] * (at - ends.low)) ** 2
        above += (shares[s.name] * (ends.high - at)) ** 2
    return StandardisedGap(
        rate_group=rate_group,
        rate_reference=rate_reference,
        gap=gap,
        low=gap - math.sqrt(below),
        high=gap + math.sqrt(above),
        weights=shares,
        weights_are=told,
        left_out=left_out,
        confidence=confidence,
    )


def checked(selected: Bools, member: Bools, stratum: Sequence[str | None]) -> int:
    """The number of rows of three columns that lie side by side, two of them truth values.

    Raises:
        DataError: columns of several lengths, or of other values.
    """
    n = same_length({"selected": truth(selected, "selected"), "member": truth(member, "member")})
    if len(stratum) != n:
        raise DataError(f"stratum names {len(stratum)} rows, selected has {n}: one stratum a row.")
    return n


def _weights(
    strata: Sequence[Stratum], weights: Literal["both", "group", "reference"] | Mapping[str, float]
) -> tuple[dict[str, float], str]:
    if isinstance(weights, str):
        if weights not in {"both", "group", "reference"}:
            raise UsageError(f"weights is {weights!r}; 'both', 'group', 'reference' or numbers are expected.")
        size = {"both": lambda s: s.n, "group": lambda s: s.n_group, "reference": lambda s: s.n_reference}
        words = "the group and the reference together" if weights == "both" else f"the {weights}"
        return {s.name: float(size[weights](s)) for s in strata}, f"rows of {words}"
    names = [s.name for s in strata]
    missing = [name for name in names if name not in weights]
    strange = [name for name in weights if name not in names]
    if missing or strange:
        raise UsageError(
            f"weights are missing for {first(missing) or 'no stratum'} and given for {first(strange) or 'nothing'} "
            "that is no stratum: name every stratum once."
        )
    bad = [name for name in names if not (math.isfinite(weights[name]) and weights[name] >= 0)]
    if bad or not any(weights[name] > 0 for name in names):
        raise UsageError(
            f"weights of {first(bad) or 'all strata'} are negative, not finite or all zero; give numbers of zero or more."
        )
    return {name: float(weights[name]) for name in names}, "given"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditioning:
    """A gap before and after a column is held fixed, and by name what became of it."""

    relation: Relation
    marginal_gap: float | None  # rate of the group minus rate of the reference, all strata together
    marginal: Interval | None
    standardised: StandardisedGap
    odds: PooledOdds
    marginal_odds_ratio: float | None
    n_group_ahead: int  # strata in which the group's rate is the higher
    n_reference_ahead: int
    strata: tuple[Stratum, ...]
    words: str

    @property
    def sign_changes(self) -> bool:
        """The estimates lie on different sides of 0, whatever their intervals."""
        inside = self.standardised.gap
        return self.marginal_gap is not None and inside is not None and self.marginal_gap * inside < 0


def condition(
    strata: Sequence[Stratum],
    weights: Literal["both", "group", "reference"] | Mapping[str, float] = "both",
    *,
    confidence: float = 0.95,
) -> Conditioning:
    """What holding a column fixed does to a gap (Simpson 1951; Bickel, Hammel & O'Connell 1975).

    `reversed`: the intervals of both gaps leave out 0, on different sides. `kept`: on the same side. `removed`: only
    the marginal one does; that is no proof that nothing is left. `appears`: only the standardised one does. `not
    shown`: neither. `not assessed`: the group or the reference has no rows, or no stratum has both.
    """
    inside = standardised_gap(strata, weights, confidence=confidence)
    k1, n1 = sum(s.k_group for s in strata), sum(s.n_group for s in strata)
    k2, n2 = sum(s.k_reference for s in strata), sum(s.n_reference for s in strata)
    ends = newcombe(k1, n1, k2, n2, confidence) if n1 and n2 else None
    gap = k1 / n1 - k2 / n2 if n1 and n2 else None
    product = k2 * (n1 - k1)
    ahead = [s.gap for s in strata if s.gap is not None]
    relation = _relation(ends, inside)
    return Conditioning(
        relation=relation,
        marginal_gap=gap,
        marginal=ends,
        standardised=inside,
        odds=mantel_haenszel(
            [s.k_group for s in strata],
            [s.n_group for s in strata],
            [s.k_reference for s in strata],
            [s.n_reference for s in strata],
            confidence=confidence,
        ),
        marginal_odds_ratio=k1 * (n2 - k2) / product if product else None,
        n_group_ahead=sum(value > 0 for value in ahead),
        n_reference_ahead=sum(value < 0 for value in ahead),
        strata=tuple(strata),
        words=_words(relation, gap, inside),
    )


def _side(low: float | None, high: float | None) -> int:
    if low is None or high is None:
        return 0
    return 1 if low > 0 else -1 if high < 0 else 0


def _relation(ends: Interval | None, inside: StandardisedGap) -> Relation:
    if ends is None or inside.gap is None:
        return "not assessed"
    before, after = _side(ends.low, ends.high), _side(inside.low, inside.high)
    if before and after:
        return "kept" if before == after else "reversed"
    return "removed" if before else "appears" if after else "not shown"


def _words(relation: Relation, gap: float | None, inside: StandardisedGap) -> str:
    if relation == "not assessed" or gap is None or inside.gap is None:
        return "No stratum has rows of both, or one of the two has none at all: nothing can be compared."
    told = {
        "reversed": "Holding the strata fixed reverses the gap",
        "removed": "Holding the strata fixed, a gap is no longer shown (which does not prove that there is none)",
        "kept": "The gap remains when the strata are held fixed",
        "appears": "A gap is shown only when the strata are held fixed",
        "not shown": "No gap is shown, with or without holding the strata fixed (which does not prove that there is none)",
    }[relation]
    return f"{told}: {gap:+.3f} over all rows, {inside.gap:+.3f} with weights from {inside.weights_are}."
