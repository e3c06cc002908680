"""Signed row weights for any audited gap: of means, given the label, matched to one mix."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..errors import DataError, UsageError, did_you_mean, first
from ..evidence import Evidence
from ..records import Contrast
from .bins import bins
from .gap_contrast import GapContrast, Kind, SoftThreshold
from .ledger import EVERYONE_ELSE
from .row_roles import row_clusters, row_counts, row_weights

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Mix = Literal["both", "group", "reference"]
MIXES: tuple[Mix, ...] = ("both", "group", "reference")
RATES = {True: "true_positive_rate (equal opportunity)", False: "false_positive_rate"}


def mean_gap(
    evidence: Evidence,
    attribute: str,
    group: str,
    reference: str | None = None,
    *,
    soft: SoftThreshold | None = None,
) -> GapContrast:
    """The difference in mean score of two groups, each row by its count and sampling weight.

    Args:
        evidence: its counts, weights and clusters are respected.
        attribute: the group column.
        group: whose mean comes first.
        reference: whose mean is taken off; None is everyone else whose group is known.
        soft: weigh this surrogate of the score in its place, for a gap in selection rate.

    Raises:
        DataError: a group has fewer than two rows, or is compared with itself.
    """
    inside, outside = _groups(evidence, attribute, group, reference)
    what = "mean score" if soft is None else surrogate(soft, "selection_rate")
    return weighed(
        evidence, inside, outside, (attribute, group, reference), "mean score", what, soft, left_out={}
    )


def conditional_gap(
    evidence: Evidence,
    attribute: str,
    group: str,
    reference: str | None = None,
    *,
    label: bool,
    soft: SoftThreshold | None = None,
) -> GapContrast:
    """The difference in mean score among rows of one label: with `soft`, of a true- or false-positive rate.

    Args:
        label: True compares rows labelled positive (equal opportunity), False those labelled negative.

    Raises:
        UsageError: the evidence has no label.
        DataError: see `mean_gap`.
    """
    if evidence.label is None:
        raise UsageError("the evidence names no label, which this contrast is conditional on (--label).")
    labelled = evidence.binary(evidence.label) == label
    inside, outside = _groups(evidence, attribute, group, reference)
    side = "positive" if label else "negative"
    what = f"mean score of rows labelled {side}" if soft is None else surrogate(soft, RATES[label])
    other = int(((inside | outside) & ~labelled).sum())
    return weighed(
        evidence,
        inside & labelled,
        outside & labelled,
        (attribute, group, reference),
        "conditional",
        what,
        soft,
        left_out={f"not labelled {side}": other},
    )


def matched_gap(
    evidence: Evidence,
    attribute: str,
    group: str,
    reference: str | None = None,
    *,
    on: Sequence[str] = (),
    bands: Mapping[str, int | Sequence[float]] | None = None,
    mix: Mix = "both",
    soft: SoftThreshold | None = None,
) -> GapContrast:
    """The difference in mean score between rows that are alike: both sides weighed to the same mix of strata.

    A stratum is one combination of the values of `on` and of the bands. Within each, a side's rows share the stratum's
    part of the mix by their counts and weights (direct standardisation; coarsened exact matching: Iacus, King &
    Porro 2012). Rows in a stratum that one side lacks, or whose stratum is unknown, weigh nothing and are counted.

    Args:
        on: columns whose values have to be equal.
        bands: columns of numbers -> how many bands of about equal size, or their edges; the score's name for a score band.
        mix: whose strata set the mix: those of "both", of the "group" or of the "reference", where both have rows.

    Raises:
        UsageError: neither columns nor bands, one that is not there, or another mix.
        DataError: no stratum has both; see also `mean_gap`.
    """
    names = [*on, *(bands or {})]
    absent = [name for name in names if name not in evidence.table.column_names]
    if not names or absent:
        told = f"there is no column {first(absent)}" if absent else "nothing to match on was named"
        near = did_you_mean(absent[0], evidence.table.column_names) if absent else "give on= or bands=."
        raise UsageError(f"{told}: {near}")
    if mix not in MIXES:
        raise UsageError(f"mix is {mix!r}; {did_you_mean(mix, MIXES)}")
    inside, outside = _groups(evidence, attribute, group, reference)
    stratum = _strata(evidence, on, bands or {})
    known = stratum >= 0
    n_strata = int(stratum.max(initial=-1)) + 1
    weight = _per_row(evidence)
    mass = [np.bincount(stratum[side & known], weight[side & known], n_strata) for side in (inside, outside)]
    shared = (mass[0] > 0) & (mass[1] > 0)
    if not shared.any():
        raise DataError(
            f"no stratum of {first(names)} has rows of both {group!r} and {reference or EVERYONE_ELSE!r}: nothing can be "
            "matched. Take fewer columns or wider bands."
        )
    wanted = {"both": mass[0] + mass[1], "group": mass[0], "reference": mass[1]}[mix] * shared
    kept = known & shared[np.maximum(stratum, 0)]
    factor = np.ones(len(evidence))
    for side, held in ((inside, mass[0]), (outside, mass[1])):
        rows = side & kept
        factor[rows] = (wanted / np.where(held > 0, held, 1.0))[stratum[rows]]
    what = "mean score" if soft is None else surrogate(soft, "selection_rate")
    counted = inside | outside
    return weighed(
        evidence,
        inside & kept,
        outside & kept,
        (attribute, group, reference),
        "matched",
        f"{what} of rows alike in {' and '.join(names)} (mix of {mix})",
        soft,
        factor=factor,
        stratum=stratum,
        left_out={
            "of an unknown stratum": int((counted & ~known).sum()),
            "without a counterpart in their stratum": int((counted & known & ~kept).sum()),
        },
    )


def surrogate(soft: SoftThreshold, metric: str) -> str:
    """What a gap in a soft surrogate is called, and of which metric it is one."""
    return f"mean of {soft.words('score')}, a soft surrogate of {metric},"


def _groups(evidence: Evidence, attribute: str, group: str, reference: str | None) -> tuple[Bools, Bools]:
    if group == reference:
        raise DataError(f"the group {group!r} cannot be compared with itself.")
    codes, names = evidence.codes(attribute)
    for name in (group, *(() if reference is None else (reference,))):
        if name not in names:
            raise DataError(f"{attribute}: there is no group {name!r}; {did_you_mean(name, names)}")
    inside = codes == names.index(group)
    outside = (codes >= 0) & ~inside if reference is None else codes == names.index(reference)
    return inside, outside


def _per_row(evidence: Evidence) -> Floats:
    """(example,) what a row weighs: its count times its sampling weight."""
    count, weight = row_counts(evidence), row_weights(evidence)
    made = np.ones(len(evidence))
    made = made if count is None else made * count
    return made if weight is None else made * weight


def weighed(
    evidence: Evidence,
    inside: Bools,
    outside: Bools,
    names: tuple[str, str, str | None],
    kind: Kind,
    what: str,
    soft: SoftThreshold | None,
    *,
    left_out: Mapping[str, int],
    factor: Floats | None = None,
    stratum: npt.NDArray[np.int64] | None = None,
) -> GapContrast:
    """The contrast of rows inside and outside, each by count, sampling weight and factor; both sides sum to one."""
    attribute, group, reference = names
    weight = _per_row(evidence) * (1.0 if factor is None else factor)
    count = row_counts(evidence)
    times = np.ones(len(evidence), dtype=np.int64) if count is None else count
    weights = np.zeros(len(evidence))
    n = []
    for sign, called, rows in ((1, group, inside), (-1, reference or EVERYONE_ELSE, outside)):
        held = int(times[rows & (weight > 0)].sum())
        if held < 2:
            raise DataError(
                f"{attribute}: {held} rows of {called!r} weigh anything ({what}); at least two are needed."
            )
        weights[rows] = sign * weight[rows] / weight[rows].sum()
        n.append(held)
    nothing = int(((inside | outside) & (weight == 0)).sum())
    return GapContrast(
        contrast=Contrast(
            attribute=attribute,
            group=group,
            reference=reference or EVERYONE_ELSE,
            ids=evidence.ids,
            weights=weights,
            n_group=n[0],
            n_reference=n[1],
        ),
        kind=kind,
        words=f"{what}: {group} minus {reference or EVERYONE_ELSE}",
        soft=soft,
        cluster=row_clusters(evidence),
        count=count,
        stratum=stratum,
        left_out={**left_out, **({"of weight 0": nothing} if nothing else {})},
    )


def _strata(
    evidence: Evidence, on: Sequence[str], bands: Mapping[str, int | Sequence[float]]
) -> npt.NDArray[np.int64]:
    """(example,) the stratum's code, -1 where a part of it is unknown."""
    parts = [evidence.codes(name)[0].astype(np.int64) for name in on]
    for name, asked in bands.items():
        values = evidence.column(name)
        made = (
            bins(values, quantiles=asked)
            if isinstance(asked, int)
            else bins(values, asked, below=True, above=True)
        )
        codes = {band: i for i, band in enumerate(sorted({one for one in made if one is not None}))}
        parts.append(np.array([-1 if one is None else codes[one] for one in made], dtype=np.int64))
    stacked = np.stack(parts, axis=1)
    known = (stacked >= 0).all(axis=1)
    stratum = np.full(len(evidence), -1, dtype=np.int64)
    if known.any():
        stratum[known] = np.unique(stacked[known], axis=0, return_inverse=True)[1].reshape(-1)
    return stratum
