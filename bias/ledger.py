"""Divide a gap among features: shares that add up to it, each with an interval."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import DataError, did_you_mean, first
from ..evidence import Evidence
from ..records import Attribution, Contrast, Ledger, Share

Matrix = npt.NDArray[np.float64]
EVERYONE_ELSE = "everyone else"
BLOCK = 256  # replicates drawn at once


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
    contrast: Contrast,
    *,
    units: Mapping[str, str] | None = None,
    confidence: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
) -> Ledger:
    """The gap in mean score divided among units: share = sum of w * attribution, so that shares + residual = gap.

    Intervals are bootstrap-t (Efron & Tibshirani 1993, section 12.5): rows are drawn again within each of the two
    groups, each replicate is studentised by its own Welch standard error, and the interval is the share plus or
    minus a critical value times its standard error. The pointwise critical value is a unit's own quantile of |t|,
    the simultaneous one the quantile of the largest |t| over all units.

    Args:
        attribution: scores per row and feature; all rows have the same features.
        contrast: over the same rows, in the same order.
        units: feature -> unit, to add features up; features not named stay units of their own.
        confidence: of every interval.
        replicates: bootstrap replicates, 50 or more.
        seed: of the draws.

    Raises:
        DataError: the rows differ, or `units` names a feature that is not there.
    """
    if attribution.ids != contrast.ids:
        odd = [a for a, b in zip(attribution.ids, contrast.ids, strict=False) if a != b]
        raise DataError(
            f"the attribution has {len(attribution)} rows and the contrast {len(contrast.ids)}, or another order"
            + (f"; first difference: {first(odd)}" if odd else "")
            + ". Make both from the same rows."
        )
    if replicates < 50 or not 0 < confidence < 1:
        raise DataError(
            f"{replicates} replicates at confidence {confidence}: expected 50 or more, between 0 and 1."
        )
    names, scores = grouped(attribution, units)
    inside, outside = contrast.weights > 0, contrast.weights < 0
    both = np.column_stack([scores, attribution.value])
    result = _intervals(both[inside], both[outside], confidence, replicates, seed)
    near = (result.pointwise * result.error).tolist()
    far = (result.simultaneous * result.error).tolist()
    shares = [math.fsum((contrast.weights * scores[:, i]).tolist()) for i in range(len(names))]
    gap = contrast.gap(attribution.value)
    taken = inside | outside
    return Ledger(
        attribute=contrast.attribute,
        group=contrast.group,
        reference=contrast.reference,
        n_group=contrast.n_group,
        n_reference=contrast.n_reference,
        score=attribution.target,
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


class _Intervals(NamedTuple):
    error: Matrix  # (unit,) Welch standard error
    pointwise: Matrix  # (unit,) critical value of |t|
    simultaneous: float  # critical value of the largest |t| over units; the last column (the gap) is no unit


def _intervals(group: Matrix, reference: Matrix, confidence: float, replicates: int, seed: int) -> _Intervals:
    """Bootstrap-t critical values for differences of means of every column; the last column is the gap."""
    generator = np.random.default_rng(seed)
    # Centred on its own mean, a resampled mean is its deviation, and squares lose no digits.
    parts = [part - part.mean(axis=0) for part in (group, reference)]
    error = np.sqrt(sum(part.var(axis=0, ddof=1) / len(part) for part in parts))
    tiny = np.maximum(error * 1e-9, np.finfo(np.float64).tiny)
    t = np.empty((replicates, group.shape[1]))
    for start in range(0, replicates, BLOCK):
        size = min(BLOCK, replicates - start)
        deviation: Matrix = np.zeros((size, group.shape[1]))
        variance: Matrix = np.zeros((size, group.shape[1]))
        for sign, part in zip((1.0, -1.0), parts, strict=True):
            n = len(part)
            drawn = generator.multinomial(n, np.full(n, 1 / n), size=size) / n
            mean = drawn @ part
            deviation += sign * mean
            variance += np.maximum(drawn @ part**2 - mean**2, 0.0) / (n - 1)
        t[start : start + size] = np.abs(deviation) / np.maximum(np.sqrt(variance), tiny)
    t[:, error == 0] = 0.0
    return _Intervals(
        error=error,
        pointwise=np.quantile(t, confidence, axis=0, method="higher"),
        simultaneous=float(np.quantile(t[:, :-1].max(axis=1), confidence, method="higher")),
    )


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
    both = np.column_stack([scores, attribution.value])[taken]
    generator = np.random.default_rng(seed)
    covered = 0
    for i in range(permutations):
        order = generator.permutation(len(taken))
        group, reference = both[order[: contrast.n_group]], both[order[contrast.n_group :]]
        result = _intervals(group, reference, confidence, replicates, seed + 1 + i)
        share = (group.mean(axis=0) - reference.mean(axis=0))[:-1]
        covered += bool(np.all(np.abs(share) <= result.simultaneous * result.error[:-1]))
    return covered / permutations
