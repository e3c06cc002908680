"""Attributions over a whole corpus: what each word adds, how surely, in which contexts, and how groups differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from ..errors import DataError, did_you_mean
from ..records import Attribution, WordDifference, WordEffect

AROUND = 4  # words on either side of a context
CONTEXTS = 3
BLOCK = 256  # permutations or replicates computed at once


@dataclass(frozen=True, slots=True, eq=False)
class _Counted:
    """Occurrences of each unit: sparse (example, unit) matrices of their number and of their summed attribution."""

    units: tuple[str, ...]
    n: Any
    summed: Any


def word_effects(
    attribution: Attribution,
    *,
    minimum: int = 5,
    fold_case: bool = True,
    contexts: int = CONTEXTS,
    confidence: float = 0.95,
    replicates: int = 1000,
    seed: int = 0,
) -> tuple[WordEffect, ...]:
    """What each unit adds to the target over all examples, largest mean magnitude first.

    The mean is over occurrences; its percentile-bootstrap interval draws examples, so that a word repeated in one
    text is not taken for evidence from many. Intervals are pointwise: among many words some miss by chance.
    Examples that did not converge are left out, and counted for each unit.

    Args:
        attribution: of words, features or sentences: see `interpret.spans`.
        minimum: examples a unit has to occur in.
        fold_case: count "Film" and "film" as one.
        contexts: occurrences shown for each unit, those of the largest magnitude, one per example.
        confidence: of every interval.
        replicates: bootstrap replicates, 50 or more.
        seed: of the draws.

    Raises:
        DataError: no unit occurs often enough, or a number is out of range.
    """
    _check(minimum, replicates, confidence)
    attribution, left_out = _converged(attribution, fold_case)
    counted = _count(attribution, fold_case)
    support = np.asarray((counted.n > 0).sum(axis=0)).ravel()
    chosen = np.flatnonzero(support >= minimum)
    if not chosen.size:
        raise DataError(
            f"no unit occurs in {minimum} of the {len(attribution)} examples; the most frequent is in "
            f"{int(support.max(initial=0))}. Lower minimum, or give more rows."
        )
    n, summed = counted.n[:, chosen].tocsr(), counted.summed[:, chosen].tocsr()
    low, high = _intervals(n, summed, confidence, replicates, seed)
    occurrences, totals = np.asarray(n.sum(axis=0)).ravel(), np.asarray(summed.sum(axis=0)).ravel()
    places = _places(attribution, fold_case, {counted.units[i] for i in chosen})
    made = []
    for column, unit in enumerate(counted.units[i] for i in chosen):
        found = places[unit]
        values = np.array([attribution.scores[row, at] for row, at in found])
        made.append(
            WordEffect(
                unit=unit,
                n_examples=int(support[chosen[column]]),
                n_occurrences=int(occurrences[column]),
                mean=float(totals[column] / occurrences[column]),
                low=float(low[column]),
                high=float(high[column]),
                total=float(totals[column]),
                positive=float(np.mean(values > 0)),
                contexts=_contexts(attribution, found, values, contexts),
                n_left_out=left_out.get(unit, 0),
            )
        )
    return tuple(sorted(made, key=lambda effect: (-abs(effect.mean), effect.unit)))


def word_differences(
    attribution: Attribution,
    groups: Sequence[str | None],
    group: str,
    reference: str | None = None,
    *,
    minimum: int = 5,
    fold_case: bool = True,
    permutations: int = 2000,
    seed: int = 0,
) -> tuple[WordDifference, ...]:
    """Which units count differently in two groups, tested over all of them at once; smallest adjusted p first.

    For each unit the mean attribution of the examples that hold it (its occurrences added up) is compared between
    the groups by Welch's t. Groups are permuted among examples, and a unit's adjusted p is the share of
    permutations whose largest |t| over all units is as large (Westfall & Young 1993, single-step max-T): the
    chance of any false find stays below alpha where groups are exchangeable. The statistic is studentised, so that
    unequal variances are tolerated in large samples. How often a unit occurs is another question: see `ledger`.
    Examples that did not converge are left out, and counted for each unit.

    Args:
        groups: one per example; None is in neither group.
        group: whose mean comes first.
        reference: None is everyone else whose group is known.
        minimum: examples of each group that a unit has to occur in, 2 or more.
        permutations: 50 or more; the smallest p is 1 / (permutations + 1).

    Raises:
        DataError: no such group, groups for other rows, or no unit frequent enough in both.
    """
    _check(minimum, permutations, 0.5)
    if len(groups) != len(attribution):
        raise DataError(f"{len(groups)} groups for {len(attribution)} examples; one for each is expected.")
    groups = [name for name, kept in zip(groups, attribution.converged, strict=True) if kept]
    attribution, left_out = _converged(attribution, fold_case)
    known = sorted({name for name in groups if name is not None})
    for name in (group, *(() if reference is None else (reference,))):
        if name not in known:
            raise DataError(f"there is no group {name!r}; {did_you_mean(name, known)}")
    taken = np.array([g is not None and (reference is None or g in (group, reference)) for g in groups])
    inside = np.array([g == group for g in groups])[taken]
    counted = _count(attribution, fold_case)
    holds = (counted.n > 0).astype(np.float64)[taken].tocsc()
    summed = counted.summed[taken].tocsc()
    need = max(minimum, 2)
    in_group = np.asarray(inside @ holds).ravel()
    in_reference = np.asarray(~inside @ holds).ravel()
    chosen = np.flatnonzero((in_group >= need) & (in_reference >= need))
    if not chosen.size:
        raise DataError(
            f"no unit occurs in {need} examples of both {group!r} ({int(inside.sum())} examples) and "
            f"{reference or 'everyone else'!r} ({int((~inside).sum())}). Lower minimum, or give more rows."
        )
    holds, summed = holds[:, chosen], summed[:, chosen]
    squares = summed.multiply(summed).tocsc()
    observed, difference = _welch(inside[None], holds, summed, squares)
    generator = np.random.default_rng(seed)
    beyond, largest = np.zeros(len(chosen)), np.zeros(len(chosen))
    for start in range(0, permutations, BLOCK):
        size = min(BLOCK, permutations - start)
        drawn = np.stack([generator.permutation(inside) for _ in range(size)])
        t = np.abs(_welch(drawn, holds, summed, squares)[0])
        beyond += (t >= np.abs(observed) - 1e-12).sum(axis=0)
        largest += (t.max(axis=1)[:, None] >= np.abs(observed) - 1e-12).sum(axis=0)
    made = [
        WordDifference(
            unit=counted.units[column],
            group=group,
            reference=reference or "everyone else",
            n_group=int(in_group[column]),
            n_reference=int(in_reference[column]),
            difference=float(difference[0, i]),
            t=float(observed[0, i]),
            p=float((1 + beyond[i]) / (1 + permutations)),
            p_adjusted=float((1 + largest[i]) / (1 + permutations)),
            n_left_out=left_out.get(counted.units[column], 0),
        )
        for i, column in enumerate(chosen)
    ]
    return tuple(sorted(made, key=lambda one: (one.p_adjusted, one.p, -abs(one.t), one.unit)))


def _check(minimum: int, draws: int, confidence: float) -> None:
    if minimum < 1 or draws < 50 or not 0 < confidence < 1:
        raise DataError(
            f"minimum is {minimum}, draws {draws}, confidence {confidence}: expected 1 or more, 50 or more, between 0 and 1."
        )


def _converged(attribution: Attribution, fold_case: bool) -> tuple[Attribution, dict[str, int]]:
    """The examples that converged, and how many of the others hold each unit."""
    left: dict[str, int] = {}
    for row in np.flatnonzero(~attribution.converged):
        for unit in {token.casefold() if fold_case else token for token in attribution.tokens[row]}:
            left[unit] = left.get(unit, 0) + 1
    if not attribution.converged.any():
        raise DataError(
            f"none of the {len(attribution)} examples converged, so that no word can be counted on. Give more nodes "
            "(most_nodes=), or another method."
        )
    return (attribution.take(attribution.converged) if left else attribution), left


def _count(attribution: Attribution, fold_case: bool) -> _Counted:
    units: dict[str, int] = {}
    rows, columns, values = [], [], []
    for row, tokens in enumerate(attribution.tokens):
        for at, token in enumerate(tokens):
            name = token.casefold() if fold_case else token
            rows.append(row)
            columns.append(units.setdefault(name, len(units)))
            values.append(attribution.scores[row, at])
    shape = (len(attribution), max(1, len(units)))
    ones = np.ones(len(rows))
    return _Counted(
        units=tuple(units),
        n=sparse.csr_matrix((ones, (rows, columns)), shape=shape),
        summed=sparse.csr_matrix((values, (rows, columns)), shape=shape),
    )


def _places(attribution: Attribution, fold_case: bool, wanted: set[str]) -> dict[str, list[tuple[int, int]]]:
    found: dict[str, list[tuple[int, int]]] = {unit: [] for unit in wanted}
    for row, tokens in enumerate(attribution.tokens):
        for at, token in enumerate(tokens):
            name = token.casefold() if fold_case else token
            if name in found:
                found[name].append((row, at))
    return found


def _contexts(
    attribution: Attribution, found: list[tuple[int, int]], values: npt.NDArray[Any], most: int
) -> tuple[tuple[str, float, str], ...]:
    made: list[tuple[str, float, str]] = []
    seen: set[int] = set()
    for i in np.argsort(-np.abs(values), kind="stable"):
        row, at = found[i]
        if len(made) == most:
            break
        if row not in seen:
            seen.add(row)
            words = attribution.tokens[row]
            around = [*words[max(0, at - AROUND) : at], f"[{words[at]}]", *words[at + 1 : at + 1 + AROUND]]
            made.append((attribution.ids[row], float(values[i]), " ".join(around)))
    return tuple(made)


def _intervals(
    n: Any, summed: Any, confidence: float, replicates: int, seed: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Percentile intervals of total / occurrences over examples drawn again; replicates without the unit are left out."""
    generator = np.random.default_rng(seed)
    size = n.shape[0]
    made = np.full((replicates, n.shape[1]), np.nan)
    for start in range(0, replicates, BLOCK):
        drawn = generator.multinomial(size, np.full(size, 1 / size), size=min(BLOCK, replicates - start))
        counts = drawn @ n
        with np.errstate(invalid="ignore", divide="ignore"):
            made[start : start + len(drawn)] = np.where(counts > 0, (drawn @ summed) / counts, np.nan)
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(made, [tail, 1 - tail], axis=0)
    return low, high


def _welch(
    inside: npt.NDArray[np.bool_], holds: Any, summed: Any, squares: Any
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Welch's t and the difference of means over examples that hold a unit: (permutation, unit) each.

    A unit that fewer than two examples of either group hold, or that does not vary at all, has t = 0.
    """
    means, variances, valid = [], [], True
    for group in (inside.astype(np.float64), (~inside).astype(np.float64)):
        n = group @ holds
        few = np.maximum(n, 2)
        mean = (group @ summed) / np.maximum(n, 1)
        variance = np.maximum((group @ squares) / few - mean**2, 0.0) * few / (few - 1) / few
        means.append(mean)
        variances.append(variance)
        valid = valid & (n >= 2)
    difference = means[0] - means[1]
    error = np.sqrt(variances[0] + variances[1])
    solid = valid & (error > 1e-12 * np.maximum(1.0, np.abs(difference)))
    return np.where(solid, difference / np.where(solid, error, 1.0), 0.0), difference
