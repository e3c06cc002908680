"""Rows divided in three: those that fit a fix, those that choose one, those that judge it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..errors import DataError, UsageError, first
from ..evidence import Evidence
from .groups import UNKNOWN, joint_codes
from .id_draws import id_draws

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Part = Literal["fit", "choose", "judge"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """Positions of the rows of each part, ascending, and how even the parts are."""

    fit: Ints
    choose: Ints
    judge: Ints
    shares: tuple[float, float, float]
    seed: int
    strata: tuple[str, ...]  # "female, label 1", ...
    counts: Ints  # (stratum, part) rows

    def take(self, evidence: Evidence, part: Part) -> Evidence:
        """The rows of one part.

        Raises:
            DataError: evidence of another number of rows. UsageError: there is no such part.
        """
        if part not in PARTS:
            raise UsageError(f"there is no part {part!r}: {first(PARTS)} are the three.")
        if len(evidence) != int(self.counts.sum()):
            raise DataError(
                f"the split is of {int(self.counts.sum())} rows, the evidence has {len(evidence)}."
            )
        from dataclasses import replace

        rows: Ints = getattr(self, part)
        return replace(evidence, table=evidence.table.take(pa.array(rows, type=pa.int64())))

    @property
    def thin(self) -> tuple[str, ...]:
        """Strata that are missing from a part: there nothing can be said of them."""
        return tuple(name for name, row in zip(self.strata, self.counts, strict=True) if not row.all())

    @property
    def frame(self) -> Any:
        """Rows of each stratum in each part, as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.counts, index=pd.Index(self.strata, name="stratum"), columns=list(PARTS))

    def __repr__(self) -> str:
        sizes = ", ".join(f"{part} {len(getattr(self, part))}" for part in PARTS)
        return f"Split({sizes} rows, {len(self.strata)} strata, seed {self.seed})"


def split(
    evidence: Evidence,
    attributes: Sequence[str] | None = None,
    *,
    shares: tuple[float, float, float] = (0.5, 0.25, 0.25),
    seed: int = 0,
    settled: bool = False,
) -> Split:
    """Rows to fit, to choose and to judge, by a seeded hash of each id; the order of rows plays no part.

    Within every stratum, a joint group with a label, rows are put in the order of their hash and dealt out
    systematically from a start that the seed sets: each row has exactly the chance `shares` of a part, and each
    stratum's numbers differ from its shares by less than one row (Madow & Madow 1944).

    Rows of one cluster (person, document) stay together. A cluster is dealt with the stratum most of its rows are in,
    so that with large clusters strata are only about even; `Split.frame` says how even.

    Args:
        evidence: rows with ids; label and cluster are used where it names them.
        attributes: group columns whose joint groups are kept even; None takes the evidence's.
        shares: of the rows, to fit, choose and judge; they add up to 1.
        seed: of the hash. Another seed gives another split.
        settled: a row's part depends on its own id (or cluster) and the seed alone, so that rows that come later move
            none of those that were there. Strata are then even only on average.

    Raises:
        UsageError: shares that are no three positive numbers that add up to 1, or a column that is not there.
        DataError: a part without a row.
    """
    if not all(share > 0 for share in shares) or abs(sum(shares) - 1) > 1e-9:
        raise UsageError(f"shares are {shares}; three numbers above 0 that add up to 1 are expected.")
    edges = np.cumsum(shares)[:2]
    stratum, names = _strata(evidence, tuple(evidence.groups if attributes is None else attributes))
    unit, units = _units(evidence)
    size = np.bincount(unit, minlength=len(units)).astype(np.float64)
    at = id_draws(units, "split", seed)
    if settled:
        part_of_unit = np.searchsorted(edges, at, side="right")
    else:
        part_of_unit = np.zeros(len(units), dtype=np.int64)
        home = _home(unit, stratum, len(units), len(names))
        starts = id_draws(names, "stratum", seed)
        for k in np.unique(home):
            here = np.flatnonzero(home == k)
            here = here[np.argsort(at[here], kind="stable")]
            reached = np.cumsum(size[here])
            place = ((reached - size[here] / 2) / reached[-1] + starts[k]) % 1.0
            part_of_unit[here] = np.searchsorted(edges, place, side="right")
    part = part_of_unit[unit]
    empty = [name for i, name in enumerate(PARTS) if not (part == i).any()]
    if empty:
        raise DataError(
            f"of {len(evidence)} rows in {len(units)} {'clusters' if evidence.cluster else 'units'} none is left to "
            f"{first(empty)}: there are too few to divide in three. Give more rows, or larger shares."
        )
    counts = np.zeros((len(names), 3), dtype=np.int64)
    np.add.at(counts, (stratum, part), 1)
    return Split(
        fit=np.flatnonzero(part == 0),
        choose=np.flatnonzero(part == 1),
        judge=np.flatnonzero(part == 2),
        shares=(float(shares[0]), float(shares[1]), float(shares[2])),
        seed=seed,
        strata=names,
        counts=counts,
    )


def _strata(evidence: Evidence, attributes: tuple[str, ...]) -> tuple[Ints, tuple[str, ...]]:
    """The joint group with the label of every row, as a code into names; unknown is a group of its own."""
    columns = []
    for name in (*attributes, *([evidence.label] if evidence.label else [])):
        codes, values = evidence.codes(name)
        shown = (
            (*values, UNKNOWN) if name != evidence.label else tuple(f"label {v}" for v in (*values, UNKNOWN))
        )
        columns.append((np.where(codes < 0, len(values), codes).astype(np.int64), shown))
    if not columns:
        return np.zeros(len(evidence), dtype=np.int64), ("all",)
    return joint_codes([codes for codes, _ in columns], [names for _, names in columns])


def _units(evidence: Evidence) -> tuple[Ints, tuple[str, ...]]:
    """What stays together: the cluster of every row, or the row itself, as a code into names."""
    if evidence.cluster is None:
        return np.arange(len(evidence)), evidence.ids
    codes, names = evidence.codes(evidence.cluster)
    return codes.astype(np.int64), names


def _home(unit: Ints, stratum: Ints, n_units: int, n_strata: int) -> Ints:
    """The stratum that most rows of each unit are in; of equals the first."""
    pairs, often = np.unique(unit * n_strata + stratum, return_counts=True)
    order = np.lexsort((pairs % n_strata, -often, pairs // n_strata))
    owners = (pairs // n_strata)[order]
    begin = np.searchsorted(owners, np.arange(n_units))
    made: Ints = (pairs % n_strata)[order][begin]
    return made
