"""Divide a gap among features: shares that add up to it, each with an interval."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError, did_you_mean, first
from ..evidence import Evidence
from ..records import Attribution, Contrast, Ledger, Share
from .bootstrap_t import Critical, bootstrap_t
from .gap_contrast import GapContrast, meant, values_of

Matrix = npt.NDArray[np.float64]
EVERYONE_ELSE = "everyone else"


def contrast(evidence: Evidence, attribute: str, group: str, reference: str | None = None) -> Contrast:
    """Row weights w with gap = sum of w * score: the difference in mean score of two groups.

    Rows of the group weigh 1 / n, rows of the reference -1 / n, all others 0.

    Args:
        evidence: rows with the group column `attribute`.
        attribute: the group column.
        group: whose mean comes first.
        reference: whose mean is taken off; None is everyone else whose group is known.

    Raises:
        DataError: a group has fewer than two rows.
    """
    return contrast_of(evidence.ids, evidence.group(attribute), attribute, group, reference)


def contrast_of(
    ids: tuple[str, ...],
    groups: Sequence[str | None],
    attribute: str,
    group: str,
    reference: str | None = None,
) -> Contrast:
    """The same from a plain sequence of groups, one per row."""
    if len(ids) != len(groups):
        raise DataError(f"{len(ids)} ids and {len(groups)} groups were given; one group per row is expected.")
    inside = np.array([name == group for name in groups])
    outside = np.array(
        [name is not None and name != group if reference is None else name == reference for name in groups]
    )
    if reference == group:
        raise DataError(f"the group {group!r} cannot be compared with itself.")
    for name, rows in ((group, inside), (reference or EVERYONE_ELSE, outside)):
        if rows.sum() < 2:
            known = sorted({value for value in groups if value is not None})
            hint = "" if name in known or name == EVERYONE_ELSE else f" {did_you_mean(name, known)}"
            raise DataError(
                f"{attribute}: {int(rows.sum())} rows of {name!r}; at least two are needed.{hint}"
            )
    n_group, n_reference = int(inside.sum()), int(outside.sum())
    return Contrast(
        attribute=attribute,
        group=group,
        reference=reference or EVERYONE_ELSE,
        ids=ids,
        weights=inside / n_group - outside / n_reference,
        n_group=n_group,
        n_reference=n_reference,
    )


def ledger(
    attribution: Attribution,
    contrast: Contrast | GapContrast,
    *,
    units: Mapping[str, str] | None = None,
    confidence: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
) -> Ledger:
    """The gap in mean score divided among units: share = sum of w * attribution, so that shares + residual = gap.

    Intervals are bootstrap-t (Efron & Tibshirani 1993, section 12.5): rows are drawn again within each of the two
    groups (clusters where the contrast names them), each replicate is studentised by its own standard error (Welch's,
    where rows weigh alike), and the interval is the share plus or minus a critical value times its standard error. The
    pointwise critical value is a unit's own quantile of |t|, the simultaneous one the quantile of the largest |t|
    over all units. Where a contrast was matched, what varies between strata is taken out of the errors, and the mix is
    taken as given.

    Args:
        attribution: scores per row and feature; all rows have the same features. Texts: `word_ledger`.
        contrast: over the same rows, in the same order.
        units: feature -> unit, to add features up; features not named stay units of their own.
        confidence: of every interval.
        replicates: bootstrap replicates, 50 or more.
        seed: of the draws.

    Raises:
        DataError: the rows differ, or `units` names a feature that is not there.
    """
    asked = meant(contrast)
    value = values_of(attribution, asked)
    names, scores = grouped(attribution, units)
    result = bootstrap_t(
        np.column_stack([scores, value]) * signs(asked)[:, None],
        drawn_weights(asked),
        cluster=asked.cluster,
        count=asked.count,
        stratum=asked.stratum,
        family=len(names),
        confidence=confidence,
        replicates=replicates,
        seed=seed,
    )
    shares = [math.fsum((asked.weights * scores[:, i]).tolist()) for i in range(len(names))]
    return assembled(attribution, asked, value, names, shares, result, confidence, replicates, seed)


def signs(contrast: GapContrast) -> Matrix:
    """(example,) by what a row's values are multiplied before they are averaged: 1, or the sign of a change."""
    made: Matrix = np.sign(contrast.weights) if contrast.changes else np.ones(len(contrast.ids))
    return made


def drawn_weights(contrast: GapContrast) -> Matrix:
    """(example,) the weights that rows are drawn with: of changes all on one side, since the sign is in the value."""
    return np.abs(contrast.weights) if contrast.changes else contrast.weights


def assembled(
    attribution: Attribution,
    contrast: GapContrast,
    value: Matrix,
    names: Sequence[str],
    shares: Sequence[float],
    result: Critical,
    confidence: float,
    replicates: int,
    seed: int,
) -> Ledger:
    """The record of shares with their intervals; the last column of `result` is the gap's."""
    near, far = result.near.tolist(), result.far.tolist()
    gap = contrast.contrast.gap(value)
    taken = contrast.weights != 0
    plain: Contrast = contrast.contrast
    return Ledger(
        attribute=plain.attribute,
        group=plain.group,
        reference=plain.reference,
        n_group=plain.n_group,
        n_reference=plain.n_reference,
        score=f"change of {attribution.target}" if contrast.changes else attribution.target,
        unit=attribution.unit,
        gap=gap,
        gap_low=gap - near[-1],
        gap_high=gap + near[-1],
        shares=tuple(
            Share(
                unit=name,
                estimate=shares[i],
                low=shares[i] - near[i],
                high=shares[i] + near[i],
                simultaneous_low=shares[i] - far[i],
                simultaneous_high=shares[i] + far[i],
            )
            for i, name in enumerate(names)
        ),
        residual=gap - math.fsum(shares),
        mean_absolute_shift=float(np.abs(attribution.value - attribution.base_value)[taken].mean()),
        confidence=confidence,
        replicates=replicates,
        seed=seed,
        baseline=attribution.baseline,
        n_not_converged=int(np.count_nonzero(~attribution.converged[taken])),
    )


def grouped(attribution: Attribution, units: Mapping[str, str] | None) -> tuple[tuple[str, ...], Matrix]:
    """Unit names in order of first appearance, and scores (example, unit) with every sum kept."""
    try:
        features = attribution.features
    except ValueError as error:
        raise DataError(f"a ledger by feature needs one list of features: {error}.") from error
    absent = [name for name in units or {} if name not in features]
    if absent:
        raise DataError(f"there is no feature {first(absent)}: {did_you_mean(absent[0], features)}")
    names: dict[str, int] = {}
    columns = [names.setdefault((units or {}).get(name, name), len(names)) for name in features]
    scores = np.zeros((len(attribution), len(names)))
    for i, column in enumerate(columns):
        scores[:, column] += attribution.scores[:, i]
    return tuple(names), scores


def null_coverage(
    attribution: Attribution,
    contrast: Contrast,
    *,
    units: Mapping[str, str] | None = None,
    permutations: int = 200,
    confidence: float = 0.95,
    replicates: int = 500,
    seed: int = 0,
) -> float:
    """The negative control: how often all simultaneous intervals cover zero when group labels are permuted.

    Among the rows of the contrast, who is in the group is drawn at random, so that every true share is zero. A
    sound interval covers zero in a share `confidence` of permutations, up to the Monte-Carlo error
    sqrt(confidence * (1 - confidence) / permutations).
    """
    _, scores = grouped(attribution, units)
    taken = np.flatnonzero(contrast.weights)
    drawn: Any = {"confidence": confidence, "replicates": replicates}
    generator = np.random.default_rng(seed)
    covered = 0
    for i in range(permutations):
        order = generator.permutation(len(taken))
        inside = np.zeros(len(taken), dtype=np.bool_)
        inside[order[: contrast.n_group]] = True
        weights = np.where(inside, 1 / contrast.n_group, -1 / contrast.n_reference)
        result = bootstrap_t(scores[taken], weights, seed=seed + 1 + i, **drawn)
        covered += bool(np.all(np.abs(weights @ scores[taken]) <= result.far))
    return covered / permutations
