"""Signed weights over identity-swapped pairs: of both texts as rows, or of the change from one to the other."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError, did_you_mean
from ..records import Contrast, Rows
from .gap_contrast import GapContrast, Kind, SoftThreshold
from .swapped_rows import Swapped

ATTRIBUTE = "swapped"


def pair_rows(swapped: Swapped) -> Rows:
    """All original rows, then all swapped ones: what `swapped_gap` weighs, to be scored and attributed once."""
    one, other = swapped.original, swapped.rows
    labels = None
    if one.labels is not None and other.labels is not None:
        labels = np.concatenate([np.asarray(one.labels), np.asarray(other.labels)])
    return Rows(
        ids=(*one.ids, *other.ids),
        inputs={
            name: np.concatenate([np.asarray(one.inputs[name]), np.asarray(other.inputs[name])])
            for name in one.inputs
        },
        labels=labels,
        groups={name: (*one.groups[name], *other.groups[name]) for name in one.groups},
    )


def swapped_gap(
    swapped: Swapped,
    group: str,
    reference: str,
    *,
    cluster: npt.ArrayLike | None = None,
    soft: SoftThreshold | None = None,
) -> GapContrast:
    """The mean score of the texts that name `group` minus that of their twins that name `reference`, over `pair_rows`.

    Pairs of both directions count: whichever text was written first. The two texts of a pair are drawn together.

    Args:
        swapped: of one attribute; pairs of other directions weigh nothing and are counted.
        group, reference: as the directions name them, "reference -> group" or the other way round.
        cluster: (original row,) codes of originals that belong together, as sentences of a document.

    Raises:
        DataError: fewer than two pairs, or a row that is on both sides.
    """
    sign = _signs(swapped, group, reference)
    n, pairs = len(swapped.original), int(np.count_nonzero(sign))
    weights = np.zeros(n + len(swapped))
    weights[n:] = sign / pairs
    np.add.at(weights, swapped.place, -sign / pairs)
    originals = np.unique(swapped.place[sign != 0])
    mixed = [int(i) for i in originals if len(set(np.sign(sign[(swapped.place == i) & (sign != 0)]))) > 1]
    if mixed:
        raise DataError(
            f"{len(mixed)} rows are swapped in both directions between {group!r} and {reference!r}; the first is "
            f"{swapped.original.ids[mixed[0]]!r}. Weigh changes instead: change_gap."
        )
    own = _clusters(cluster, n)
    return _made(
        swapped,
        (*swapped.original.ids, *swapped.rows.ids),
        weights,
        (group, reference),
        "swapped pairs",
        sign,
        np.concatenate([own, own[swapped.place]]),
        soft,
        originals_without=n - len(originals),
    )


def change_gap(
    swapped: Swapped,
    group: str,
    reference: str,
    *,
    cluster: npt.ArrayLike | None = None,
    soft: SoftThreshold | None = None,
) -> GapContrast:
    """The same gap as a mean change along swaps: for attributions that start at the original text, one row per pair.

    The change of a pair from `group` to `reference` counts with the other sign.

    Args, Raises: as `swapped_gap`.
    """
    sign = _signs(swapped, group, reference)
    own = _clusters(cluster, len(swapped.original))
    weights = sign / np.count_nonzero(sign)
    return _made(
        swapped,
        swapped.rows.ids,
        weights,
        (group, reference),
        "change along swaps",
        sign,
        own[swapped.place],
        soft,
        originals_without=0,
    )


def _signs(swapped: Swapped, group: str, reference: str) -> npt.NDArray[np.float64]:
    """(pair,) 1 where a text of the reference became one of the group, -1 the other way round, 0 elsewhere."""
    value = {f"{reference} -> {group}": 1.0, f"{group} -> {reference}": -1.0}
    made = np.array([value.get(one.direction, 0.0) for one in swapped.swaps])
    if np.count_nonzero(made) < 2:
        asked = f"{reference} -> {group}"
        raise DataError(
            f"{np.count_nonzero(made)} pairs are of {asked!r} or back; at least two are needed: "
            f"{did_you_mean(asked, swapped.directions)}"
        )
    return made


def _clusters(cluster: npt.ArrayLike | None, n: int) -> npt.NDArray[np.int64]:
    if cluster is None:
        return np.arange(n)
    codes = np.unique(np.asarray(cluster), return_inverse=True)[1].astype(np.int64)
    if codes.shape != (n,):
        raise DataError(
            f"cluster has shape {codes.shape}; one code for each of {n} original rows is expected."
        )
    return codes


def _made(
    swapped: Swapped,
    ids: tuple[str, ...],
    weights: npt.NDArray[np.float64],
    names: tuple[str, str],
    kind: Kind,
    sign: npt.NDArray[np.float64],
    cluster: npt.NDArray[Any],
    soft: SoftThreshold | None,
    *,
    originals_without: int,
) -> GapContrast:
    group, reference = names
    pairs = int(np.count_nonzero(sign))
    score = "score" if soft is None else f"{soft.words('score')} (a soft surrogate of selection_rate)"
    return GapContrast(
        contrast=Contrast(
            attribute=ATTRIBUTE,
            group=group,
            reference=reference,
            ids=ids,
            weights=weights,
            n_group=pairs,
            n_reference=pairs,
        ),
        kind=kind,
        words=f"mean {score} of one text, its words for {group} minus its words for {reference} ({pairs} pairs)",
        soft=soft,
        cluster=cluster,
        changes=kind == "change along swaps",
        left_out={
            "of another direction": len(sign) - pairs,
            "originals without a swap": originals_without,
        },
    )
