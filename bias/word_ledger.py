"""Divide a gap among words: shares that add up to it, of rows that have different words."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import sparse

from ..errors import DataError
from ..records import Attribution, Contrast, Ledger
from .bootstrap_t import bootstrap_t
from .gap_contrast import GapContrast, meant, starts_of, values_of
from .ledger import assembled, drawn_weights, signs
from .unit_rows import UnitRows, Units, unit_rows

OTHER = "all other words"
BASELINE = "(baseline alone)"


def word_ledger(
    attribution: Attribution,
    contrast: Contrast | GapContrast,
    *,
    units: Units = None,
    fold_case: bool = True,
    minimum: int = 10,
    confidence: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
) -> Ledger:
    """The gap divided among words, lemmas, time windows or patches: shares + residual = gap, exactly.

    A share is the sum over rows of w times the attribution of all places of the unit in the row. It is large because a
    unit counts differently in the two groups, or because one of them has it more often: `parts_of_gap` tells these
    apart. Units that fewer than `minimum` rows hold are added up as "all other words", so that no sum changes.
    Intervals are those of `ledger`, with one thing more: a replicate in which a unit would not have been listed says
    nothing about its interval (`bootstrap_t.bootstrap_t`).

    Where rows start from baselines of different scores, as texts of different lengths do, the difference of these
    scores is the share "(baseline alone)": it is in no word.

    Args:
        attribution: of words (`interpret.spans.in_words`), or of any tokens.
        contrast: over the same rows, in the same order.
        units: token -> unit, a mapping or a function, as a lemma for each word.
        fold_case: count "Film" and "film" as one.
        minimum: rows (clusters, where the contrast has them) that hold a unit of its own, 2 or more.
        confidence: of every interval.
        replicates: bootstrap replicates, 50 or more.
        seed: of the draws.

    Raises:
        DataError: the rows differ, a mapping names a token that is nowhere, or a number is out of range.
    """
    asked = meant(contrast)
    value = values_of(attribution, asked)
    table, n_rare = listed(unit_rows(attribution, units, fold_case=fold_case), asked, minimum)
    sign = signs(asked)
    starts = starts_of(attribution, asked)
    further = np.column_stack([value] if starts is None else [starts, value])
    both = sparse.hstack([sparse.diags_array(sign) @ table.summed, sign[:, None] * further], format="csr")
    held = sparse.hstack([table.holds, np.ones(further.shape)], format="csr")
    result = bootstrap_t(
        both,
        drawn_weights(asked),
        cluster=asked.cluster,
        count=asked.count,
        stratum=asked.stratum,
        family=both.shape[1] - 1,
        holds=held,
        minimum=minimum,
        confidence=confidence,
        replicates=replicates,
        seed=seed,
    )
    names = table.units if not n_rare else (*table.units[:-1], f"{table.units[-1]} ({n_rare:,})")
    shares = list(exact_sums(asked.weights, table.summed))
    if starts is not None:
        names = (*names, BASELINE)
        shares.append(math.fsum((asked.weights * starts).tolist()))
    return assembled(attribution, asked, value, names, shares, result, confidence, replicates, seed)


def listed(table: UnitRows, contrast: GapContrast, minimum: int) -> tuple[UnitRows, int]:
    """The units that `minimum` rows or clusters of the contrast hold; the others, and how many, as one unit at the end.

    Raises:
        DataError: a minimum below 2, or no unit that often.
    """
    if minimum < 2:
        raise DataError(f"minimum is {minimum}; 2 rows or more are needed for an interval.")
    support = support_of(table, contrast)
    rare = support < minimum
    if rare.all():
        raise DataError(
            f"no unit is in {minimum} rows of the contrast; the most frequent is in {int(support.max(initial=0))}. Lower "
            "minimum, give more rows, or join units (units=)."
        )
    if not rare.any():
        return table, 0
    kept = [name for name, one in zip(table.units, rare, strict=True) if not one]
    other = OTHER
    while other in kept:
        other = f"{other} than these"
    column = np.where(rare, len(kept), np.cumsum(~rare) - 1)
    return table.joined(column, (*kept, other)), int(rare.sum())


def support_of(table: UnitRows, contrast: GapContrast) -> npt.NDArray[np.float64]:
    """(unit,) rows of the contrast, each as often as it counts, or clusters of them, that hold each unit."""
    taken = contrast.weights != 0
    if contrast.cluster is None and contrast.count is not None:
        return np.asarray(table.support(taken * contrast.count), dtype=np.float64)
    return np.asarray(table.support(taken, contrast.cluster), dtype=np.float64)


def exact_sums(weights: npt.NDArray[np.float64], columns: sparse.csr_array) -> Sequence[float]:
    """Correctly rounded sums of weight * value of each column of a sparse matrix."""
    turned = sparse.csc_array(sparse.diags_array(weights) @ columns)
    ends = turned.indptr
    return [math.fsum(turned.data[a:b].tolist()) for a, b in pairwise(ends.tolist())]
