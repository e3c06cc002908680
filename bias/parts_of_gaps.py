"""A gap as identity terms, proxies and treatment: how often a word is used, and how it counts where it is used."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import sparse

from ..errors import DataError, UsageError
from ..records import Attribution, Contrast
from .bootstrap_t import bootstrap_t
from .gap_contrast import GapContrast, meant, starts_of, values_of
from .identity_units import identity_units
from .lexicons import SwapLexicon
from .unit_rows import UnitRows, Units, unit_rows
from .word_ledger import exact_sums, support_of

Floats = npt.NDArray[np.float64]
Name = Literal["identity", "proxies", "treatment", "too rare to divide", "baseline"]
NAMES: tuple[Name, ...] = ("identity", "proxies", "treatment", "too rare to divide", "baseline")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One of the parts of a gap, with a pointwise interval."""

    name: Name
    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitParts:
    """One unit's share of a gap, divided: share = frequency + treatment. Intervals are simultaneous over all units.

    An identity term is not divided: all of its share is in `frequency`, and `treatment` is 0.
    """

    unit: str
    identity: bool
    share: float
    frequency: (
        float  # of its being more frequent in one group: in "proxies"; of an identity term the whole share
    )
    frequency_low: float
    frequency_high: float
    treatment: float  # of one occurrence counting for more in one group
    treatment_low: float
    treatment_high: float
    per_row_group: float  # occurrences per row
    per_row_reference: float
    mean_group: float | None  # attribution per occurrence; None where there is none
    mean_reference: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GapParts:
    """A gap in parts that add up: the sum of `parts` + residual = gap."""

    attribute: str
    group: str
    reference: str
    n_group: int
    n_reference: int
    words: str  # the gap, in words
    score: str
    unit: str
    gap: float
    gap_low: float
    gap_high: float
    parts: tuple[Part, ...]  # in the order of NAMES
    units: tuple[UnitParts, ...]  # in the order in which they are first met
    residual: float
    n_too_rare: int  # units held by fewer rows than the minimum
    minimum: int
    confidence: float
    replicates: int
    seed: int

    def part(self, name: Name) -> Part:
        """The part of this name."""
        return self.parts[NAMES.index(name)]

    @property
    def ranked(self) -> tuple[UnitParts, ...]:
        """Units, largest share first."""
        return tuple(sorted(self.units, key=lambda one: -abs(one.share)))

    def __repr__(self) -> str:
        shown = ", ".join(f"{part.name} {part.estimate:+.3f}" for part in self.parts)
        return f"GapParts({self.group} - {self.reference}: gap {self.gap:+.3f} = {shown}, residual {self.residual:+.2g})"


def parts_of_gap(
    attribution: Attribution,
    contrast: Contrast | GapContrast,
    *,
    identity: Iterable[str] | SwapLexicon = (),
    units: Units = None,
    into: Mapping[str, str] | None = None,
    fold_case: bool = True,
    minimum: int = 10,
    confidence: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
) -> GapParts:
    """The gap divided into identity terms, proxies and treatment, each with its interval; they add up.

    With f(s) how often a unit occurs per row of side s, m(s) its mean attribution per occurrence there, both by the
    weights of the contrast, and m = (f(a) m(a) + f(b) m(b)) / (f(a) + f(b)) the pooled mean, a unit's share is

        f(a) m(a) - f(b) m(b)  =  (f(a) - f(b)) m  +  2 f(a) f(b) / (f(a) + f(b)) (m(a) - m(b)),

    the first its *frequency* part, the second its *treatment* part; swapping the sides turns both signs and nothing else.
    Proxies are the frequency parts of all units that are no identity terms, treatment their treatment parts. The
    form is that of Oaxaca (1973) and Blinder (1973) with a pooled structure in place of one side's (Reimers 1983 takes
    the plain mean of both, Neumark 1988 the pooled one, as here); each side counts equally, whatever its size. A unit
    that one side never uses has no treatment part. Known of pooled structures: where frequency and meaning differ
    at once, the pooled mean leans to the side that uses the unit more, and some of the treatment is booked as
    frequency (Jann 2008, Stata Journal 8, section 2).

    Two parts are none of the three, and 0 where they do not arise: words too rare to be divided, and the difference in
    score of the rows' own baselines, "baseline" (`gap_contrast.starts_of`).

    Intervals are bootstrap-t as in `word_ledger`, of the parts' linearisations in f and f * m (delta method), which
    add up to the parts exactly.

    Args:
        attribution: of words (`interpret.spans.in_words`), any tokens, or values of features (`value_units.by_value`).
        contrast: of two sides, over the same rows, in the same order.
        identity: units that name a group, or a lexicon (or its name) whose single words do. Of a lexicon those that
            occur count; a unit named by hand has to occur.
        units: token -> unit, as in `word_ledger`.
        into: unit -> the name under which its parts are added up, after dividing: values -> features.
        fold_case: count "Film" and "film" as one; identity terms are compared alike.
        minimum: rows (clusters) of the contrast that hold a unit, 2 or more. What fewer hold is not divided, since one
            side may lack it by chance; it is one part, "too rare to divide". Identity terms are never too rare.

    Raises:
        DataError: the rows differ, a name is nowhere, or no unit is held often enough.
        UsageError: the contrast has one side only, or a minimum below 2.
    """
    asked = meant(contrast)
    value = values_of(attribution, asked)
    if asked.changes or not (asked.weights < 0).any():
        raise UsageError(
            "a change along swaps has no two sides whose words could be counted. Give the texts themselves: "
            "contrasts.swapped_gap over contrasts.pair_rows."
        )
    if minimum < 2:
        raise UsageError(f"minimum is {minimum}; 2 rows or more are needed for an interval.")
    table = unit_rows(attribution, units, fold_case=fold_case)
    named = identity_units(table, identity, units, into, fold_case)
    rare = (support_of(table, asked) < minimum) & ~named
    if rare.all():
        raise DataError(
            f"no unit is in {minimum} rows of the contrast: nothing can be divided. Lower minimum, give more rows, or join "
            "units (units=)."
        )
    divided = _divided(table, asked.weights, named, np.flatnonzero(~rare), into)
    undivided = np.asarray(table.summed[:, np.flatnonzero(rare)].sum(axis=1)).reshape(-1)
    given = starts_of(attribution, asked)
    starts = np.zeros(len(value)) if given is None else given
    totals = np.column_stack(
        [
            *divided.by_part,
            np.asarray(divided.treatment.sum(axis=1)).reshape(-1),
            undivided,
            starts,
            value,
        ]
    )
    held = divided.n.copy()
    held.data = np.ones_like(held.data)
    result = bootstrap_t(
        sparse.hstack([divided.frequency, divided.treatment, totals], format="csr"),
        asked.weights,
        cluster=asked.cluster,
        count=asked.count,
        stratum=asked.stratum,
        family=2 * len(divided.names),
        holds=sparse.hstack([held, held, np.ones(totals.shape)], format="csr"),
        minimum=minimum,
        confidence=confidence,
        replicates=replicates,
        seed=seed,
    )
    made = _units(divided, asked.weights, result.far)
    estimates = [
        *divided.estimates,
        math.fsum(one.treatment for one in made),
        math.fsum((asked.weights * undivided).tolist()),
        math.fsum((asked.weights * starts).tolist()),
    ]
    gap = asked.contrast.gap(value)
    last = [float(one) for one in result.near[-6:]]
    plain: Contrast = asked.contrast
    return GapParts(
        attribute=plain.attribute,
        group=plain.group,
        reference=plain.reference,
        n_group=plain.n_group,
        n_reference=plain.n_reference,
        words=asked.words,
        score=attribution.target,
        unit=attribution.unit,
        gap=gap,
        gap_low=gap - last[5],
        gap_high=gap + last[5],
        parts=tuple(
            Part(name=name, estimate=at, low=at - width, high=at + width)
            for name, at, width in zip(NAMES, estimates, last, strict=False)
        ),
        units=made,
        residual=gap - math.fsum(estimates),
        n_too_rare=int(rare.sum()),
        minimum=minimum,
        confidence=confidence,
        replicates=replicates,
        seed=seed,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Divided:
    """What is divided, unit by unit, under the names of the report: sparse (row, name) values."""

    names: tuple[str, ...]
    identity: npt.NDArray[np.bool_]
    frequency: Any  # whose weighted differences are the frequency parts
    treatment: Any
    n: Any  # occurrences
    summed: Any  # attribution
    by_part: tuple[Floats, Floats]  # the frequency parts of each row: of identity terms, and of all others
    estimates: tuple[float, float]  # the weighted differences of these


def _divided(
    table: UnitRows,
    weights: Floats,
    named: npt.NDArray[np.bool_],
    kept: npt.NDArray[np.intp],
    into: Mapping[str, str] | None,
) -> _Divided:
    """Divide each unit, then add units up that share a name."""
    frequency, treatment = _linear(table, weights, named, kept)
    fine, is_named = np.asarray(exact_sums(weights, frequency)), named[kept]
    names, owner = _owners([table.units[i] for i in kept], into)
    joining = sparse.csr_array((np.ones(len(owner)), (np.arange(len(owner)), owner)))
    identity = np.zeros(len(names), dtype=np.bool_)
    identity[owner[is_named]] = True
    return _Divided(
        names=names,
        identity=identity,
        frequency=sparse.csr_array(frequency @ joining),
        treatment=sparse.csr_array(treatment @ joining),
        n=sparse.csr_array(table.n[:, kept] @ joining),
        summed=sparse.csr_array(table.summed[:, kept] @ joining),
        by_part=(frequency @ is_named.astype(np.float64), frequency @ (~is_named).astype(np.float64)),
        estimates=(math.fsum(fine[is_named].tolist()), math.fsum(fine[~is_named].tolist())),
    )


def _units(divided: _Divided, weights: Floats, far: Floats) -> tuple[UnitParts, ...]:
    """The share of each name, divided; `far` are half widths of all frequency parts, then of all treatment parts."""
    shares, of_frequency = exact_sums(weights, divided.summed), exact_sums(weights, divided.frequency)
    counts, sums = _sides(weights, divided.n), _sides(weights, divided.summed)
    n = len(divided.names)
    return tuple(
        UnitParts(
            unit=name,
            identity=bool(divided.identity[i]),
            share=shares[i],
            frequency=of_frequency[i],
            frequency_low=of_frequency[i] - float(far[i]),
            frequency_high=of_frequency[i] + float(far[i]),
            treatment=shares[i] - of_frequency[i],
            treatment_low=shares[i] - of_frequency[i] - float(far[n + i]),
            treatment_high=shares[i] - of_frequency[i] + float(far[n + i]),
            per_row_group=float(counts[0][i]),
            per_row_reference=float(counts[1][i]),
            mean_group=_ratio(sums[0][i], counts[0][i]),
            mean_reference=_ratio(sums[1][i], counts[1][i]),
        )
        for i, name in enumerate(divided.names)
    )


def _linear(
    table: UnitRows, weights: Floats, named: npt.NDArray[np.bool_], kept: npt.NDArray[np.intp]
) -> tuple[Any, Any]:
    """Sparse (row, unit kept) values whose weighted differences are the frequency and the treatment parts.

    The frequency part is homogeneous of degree one in f(a), f(b), f(a) m(a), f(b) m(b), so that it is the sum of its
    derivatives times these (Euler), and its linearisation adds up to itself.
    """
    n, summed = table.n[:, kept], table.summed[:, kept]
    (fa, fb), (aa, ab) = _sides(weights, n), _sides(weights, summed)
    both = fa + fb
    whole = np.where(both > 0, both, 1.0)
    pooled = (aa + ab) / whole
    tilt = np.where(named[kept], 1.0, (fa - fb) / whole)
    of_counts = [np.where(named[kept], 0.0, 2 * pooled * other / whole) for other in (fb, fa)]
    inside = sparse.diags_array((weights > 0).astype(np.float64))
    outside = sparse.diags_array((weights < 0).astype(np.float64))
    frequency = (
        inside @ n @ sparse.diags_array(of_counts[0])
        + inside @ summed @ sparse.diags_array(tilt)
        + outside @ n @ sparse.diags_array(of_counts[1])
        + outside @ summed @ sparse.diags_array(np.where(named[kept], 1.0, -tilt))
    )
    taken = inside @ summed + outside @ summed
    treatment = (taken - frequency) @ sparse.diags_array((~named[kept]).astype(np.float64))
    return sparse.csr_array(frequency), sparse.csr_array(treatment)


def _sides(weights: Floats, columns: Any) -> tuple[Floats, Floats]:
    """Weighted means per row of the two sides, (unit,) each."""
    up, down = np.maximum(weights, 0.0), np.maximum(-weights, 0.0)
    return np.asarray(up @ columns) / up.sum(), np.asarray(down @ columns) / down.sum()


def _ratio(total: float, n: float) -> float | None:
    return float(total / n) if n > 0 else None


def _owners(units: list[str], into: Mapping[str, str] | None) -> tuple[tuple[str, ...], npt.NDArray[np.intp]]:
    """The names under which parts are reported, and for each unit which one."""
    names: dict[str, int] = {}
    owner = [names.setdefault((into or {}).get(unit, unit), len(names)) for unit in units]
    return tuple(names), np.asarray(owner, dtype=np.intp)
