"""The four-fifths rule: ratio, significance and small numbers of each group, kept apart (29 CFR 1607.4 D)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from scipy import stats

from ..errors import DataError, UsageError, did_you_mean
from ..evidence import Evidence
from ..records import Status, plain
from .gaps import adverse_impact
from .groups import members
from .multiplicity import holm
from .ratios import RatioInterval, koopman
from .row_roles import row_counts

RULE = Fraction(4, 5)
FEW_MOVES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    """A group's selection beside the reference's. The three findings stand apart; none of them decides alone."""

    group: str
    reference: str
    n: int
    k: int  # selected
    n_reference: int
    k_reference: int
    rate: float | None
    ratio: float | None
    low: float | None  # Koopman's interval of the ratio
    high: float | None
    below_four_fifths: bool | None  # in exact fractions: 80 % is not below 80 %
    z: float | None  # pooled two-proportion statistic; negative where the group is selected less
    p: float | None  # Fisher's exact test, two-sided, of equal rates
    p_adjusted: float | None  # Holm over the groups compared
    shortfall_to_rule: int | None  # selections more that would reach four fifths, to the nearest whole one
    shortfall_to_parity: int | None
    moves_to_rule: (
        int | None
    )  # selections moved from the reference to the group until the ratio is no longer below
    moves_to_parity: int | None  # ... until the group's rate is at least the reference's
    small_numbers: bool | None  # below four fifths, and few moves undo it
    status: Status
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdverseImpact:
    """Selection of every group beside the reference: ratio, significance, small numbers and shortfall. No verdict."""

    attribute: str
    reference: str
    n: int
    n_unknown: int
    groups: tuple[Impact, ...]
    few_moves: int
    confidence: float
    alpha: float
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def frame(self) -> Any:
        """Every group as a row of a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame([plain(one) for one in self.groups])

    def of(self, group: str) -> Impact:
        """One group.

        Raises:
            UsageError: there is none of this name.
        """
        for one in self.groups:
            if one.group == group:
                return one
        raise UsageError(
            f"there is no group {group!r}: {did_you_mean(group, [g.group for g in self.groups])}"
        )

    def __repr__(self) -> str:
        below = [one.group for one in self.groups if one.below_four_fifths]
        said = (
            f"below four fifths of {self.reference}: {', '.join(below)}"
            if below
            else "none below four fifths"
        )
        return f"AdverseImpact({self.attribute}, {self.n} rows: {said})"


def four_fifths(
    evidence: Evidence,
    attribute: str,
    *,
    reference: str | None = None,
    groups: Sequence[str] = (),
    few_moves: int = FEW_MOVES,
    confidence: float = 0.95,
    alpha: float = 0.05,
) -> AdverseImpact:
    """Selection rates of the groups of a column beside the highest one, as 29 CFR 1607.4(D) reads them.

    Args:
        evidence: applicants with a prediction, selected or not.
        attribute: the group column.
        reference: whom to compare with; None is the group with the highest rate, as the Guidelines have it.
        groups: groups that appear even with nobody in them.
        few_moves: how many moved selections still count as small numbers; 1 is the agencies' own example.
        confidence: of the interval of the ratio.
        alpha: below which an adjusted p is called significant in the notes.

    Raises:
        DataError: no prediction, fewer than two groups with rows, or nobody selected in the reference.
        UsageError: the reference is no group; a number out of range.
    """
    if evidence.prediction is None:
        raise DataError("the four-fifths rule compares selection rates: name a prediction column.")
    if few_moves < 1:
        raise UsageError(f"few_moves is {few_moves}; 1 or more is expected.")
    selected = evidence.binary(evidence.prediction)
    counted = row_counts(evidence)
    times = np.ones(len(evidence), dtype=np.int64) if counted is None else counted
    column = evidence.group(attribute)
    who = members(column, tuple(groups))
    unknown = list(who)[-1] if any(group is None for group in column) else None
    counts: dict[str, tuple[int, int]] = {}
    for name, rows in who.items():
        index = np.asarray(rows, dtype=np.int64)
        counts[name] = (int(times[index][selected[index]].sum()), int(times[index].sum()))
    n_unknown = counts.pop(unknown)[1] if unknown is not None else 0
    made = impact_of(
        counts, reference=reference, few_moves=few_moves, confidence=confidence, attribute=attribute
    )
    return AdverseImpact(
        attribute=attribute,
        reference=made[0].reference,
        n=int(times.sum()),
        n_unknown=n_unknown,
        groups=made,
        few_moves=few_moves,
        confidence=confidence,
        alpha=alpha,
        notes=_notes(made, attribute, n_unknown, few_moves, alpha, given=reference is not None),
        provenance=dict(evidence.provenance),
    )


def impact_of(
    counts: Mapping[str, tuple[int, int]],
    *,
    reference: str | None = None,
    few_moves: int = FEW_MOVES,
    confidence: float = 0.95,
    attribute: str = "groups",
) -> tuple[Impact, ...]:
    """The same from counts: group -> (selected, all). See `four_fifths`."""
    filled = {name: of for name, of in counts.items() if of[1]}
    if len(filled) < 2:
        raise DataError(f"{attribute} has {len(filled)} groups with anybody in them; two are compared.")
    if reference is None:
        reference = max(filled, key=lambda name: Fraction(*filled[name]))
    elif reference not in filled:
        raise UsageError(f"the reference {reference!r} has no rows: {did_you_mean(reference, filled)}")
    k_reference, n_reference = filled[reference]
    if k_reference == 0:
        raise DataError(
            f"nobody of {reference} was selected: there is no ratio to it. Name another reference, or compare differences."
        )
    compared = [name for name in filled if name != reference]
    tests = [_fisher(*filled[name], k_reference, n_reference) for name in compared]
    adjusted = dict(zip(compared, holm(tests).tolist(), strict=True))
    p_values = dict(zip(compared, tests, strict=True))
    made = []
    for name, (k, n) in counts.items():
        itself, empty = name == reference, n == 0
        impact = None if itself or empty else adverse_impact(k, n, k_reference, n_reference)
        ends = (
            RatioInterval(math.nan, None)
            if impact is None
            else koopman(k, n, k_reference, n_reference, confidence)
        )
        rule, parity = (
            (None, None)
            if impact is None
            else (_moves(k, n, k_reference, n_reference, part) for part in (RULE, Fraction(1)))
        )
        small = None
        if impact is not None:
            small = impact.below_four_fifths and rule is not None and rule <= few_moves
        made.append(
            Impact(
                group=name,
                reference=reference,
                n=n,
                k=k,
                n_reference=n_reference,
                k_reference=k_reference,
                rate=k / n if n else None,
                ratio=1.0 if itself else (impact.ratio if impact else None),
                low=ends.low if impact else None,
                high=ends.high if impact else None,
                below_four_fifths=False if itself else (impact.below_four_fifths if impact else None),
                z=impact.z if impact else None,
                p=p_values.get(name),
                p_adjusted=adjusted.get(name),
                shortfall_to_rule=impact.shortfall_to_rule if impact else None,
                shortfall_to_parity=impact.shortfall_to_parity if impact else None,
                moves_to_rule=rule,
                moves_to_parity=parity,
                small_numbers=small,
                status="insufficient" if empty else "ok",
                note="the reference" if itself else ("nobody in the group" if empty else ""),
            )
        )
    return tuple(made)


def _fisher(k: int, n: int, k_reference: int, n_reference: int) -> float:
    table = [[k, n - k], [k_reference, n_reference - k_reference]]
    return min(1.0, float(stats.fisher_exact(table).pvalue))


def _moves(k: int, n: int, k_reference: int, n_reference: int, part: Fraction) -> int | None:
    """Fewest selections taken from the reference and given to the group for a ratio of at least `part`.

    None where the group has too few people for that.
    """
    # (k + m) / n >= part * (k_reference - m) / n_reference, solved for m in whole numbers.
    short = part * Fraction(k_reference, n_reference) - Fraction(k, n)
    if short <= 0:
        return 0
    m = math.ceil(short / (Fraction(1, n) + part / n_reference))
    return m if k + m <= n and m <= k_reference else None


def _notes(
    made: Sequence[Impact], attribute: str, n_unknown: int, few_moves: int, alpha: float, *, given: bool
) -> tuple[str, ...]:
    notes = [
        "The Guidelines read three things together: the ratio, its significance, and how small the numbers are. "
        "None of them is a verdict here.",
        f"Small numbers, the rule used: {few_moves} selections or fewer, moved from the reference to the group, "
        "bring the ratio to four fifths. The agencies' own example (Question and Answer 21) is one person selected in "
        "another's place, after which the group has the higher rate: moves_to_parity says how many it takes.",
    ]
    if not given:
        notes.append(f"The reference is {made[0].reference}, the group with the highest rate in these rows.")
    for one in made:
        if one.below_four_fifths:
            significant = one.p_adjusted is not None and one.p_adjusted < alpha
            notes.append(
                f"{one.group}: below four fifths; the difference is {'' if significant else 'not '}significant at {alpha:g} "
                f"(Holm); numbers are {'' if one.small_numbers else 'not '}small by the rule above."
            )
    if n_unknown:
        notes.append(f"{attribute}: {n_unknown} rows have no recorded group and are in no rate.")
    return tuple(notes)
