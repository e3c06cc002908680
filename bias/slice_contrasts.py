"""Signed row weights of one slice against everybody who is not in it."""

import numpy as np
import numpy.typing as npt

from ..errors import DataError, UsageError, did_you_mean, first
from ..evidence import Evidence
from .contrasts import surrogate, weighed
from .gap_contrast import GapContrast, SoftThreshold
from .group_rows import truth
from .items import code_evidence
from .slice_records import Slice

Bools = npt.NDArray[np.bool_]


def slice_gap(
    evidence: Evidence,
    part: Slice | npt.ArrayLike,
    *,
    name: str | None = None,
    inside: npt.ArrayLike | None = None,
    soft: SoftThreshold | None = None,
) -> GapContrast:
    """One slice against everybody who is not in it.

    Args:
        part: a slice that was found (of columns; of terms give the mask), or (example,) truth values.
        name: what to call the rows of a mask.
        inside: (example,) truth values: the rows compared, as a metric's denominator; None: all.

    Raises:
        UsageError: a slice of terms, or of a value that the evidence does not hold.
        DataError: truth values of another length, fewer than two rows on a side.
    """
    if isinstance(part, Slice):
        called, member = name or part.name, _members(evidence, part)
    else:
        called, member = name or "the slice", truth(part, "part")
    among = np.ones(len(evidence), dtype=np.bool_) if inside is None else truth(inside, "inside")
    for what, mask in (("part", member), ("inside", among)):
        if len(mask) != len(evidence):
            raise DataError(f"{what} has {len(mask)} rows, the evidence has {len(evidence)}.")
    score = "mean score" if soft is None else surrogate(soft, "selection_rate")
    return weighed(
        evidence,
        member & among,
        ~member & among,
        ("slice", called, None),
        "slice",
        score,
        soft,
        left_out={} if inside is None else {"outside the denominator": int((~among).sum())},
    )


def _members(evidence: Evidence, part: Slice) -> Bools:
    terms = [item.column for item in part.items if item.term]
    if terms:
        raise UsageError(
            f"the slice {part.name!r} is of the terms {first(terms)}, which are no columns. Give the truth values of its "
            "rows, and a name."
        )
    columns = [item.column for item in part.items]
    absent = [name for name in columns if name not in evidence.table.column_names]
    if absent:
        raise UsageError(
            f"there is no column {first(absent)}: {did_you_mean(absent[0], evidence.table.column_names)}"
        )
    coded = code_evidence(evidence, columns)
    member = np.ones(len(evidence), dtype=np.bool_)
    for item, values, codes in zip(part.items, coded.values, coded.codes, strict=True):
        if item.value not in values:
            raise UsageError(
                f"column {item.column!r} holds no {item.value!r}: {did_you_mean(item.value, values)}"
            )
        member &= codes == values.index(item.value)
    return member
