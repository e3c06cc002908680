"""Rows by units as sparse matrices: how often each unit is in a row, with its attribution there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from ..errors import DataError, did_you_mean, first
from ..records import Attribution

Units = Mapping[str, str] | Callable[[str], str] | None


@dataclass(frozen=True, slots=True, eq=False)
class UnitRows:
    """Occurrences of every unit in every row, and the attributions of these occurrences added up."""

    units: tuple[str, ...]  # in the order in which they are first met
    n: Any  # sparse (row, unit): how often
    summed: Any  # sparse (row, unit): attribution of all occurrences in the row

    @property
    def holds(self) -> Any:
        """Sparse (row, unit): 1 where a row holds the unit."""
        made = self.n.copy()
        made.data = np.ones_like(made.data)
        return made

    def support(self, taken: npt.NDArray[Any], cluster: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        """(unit,) in how many of the rows taken (or in how many clusters of them) a unit occurs.

        Args:
            taken: (row,) how often each row counts; 0 or False leaves it out.
        """
        if cluster is None:
            return np.asarray(np.asarray(taken, dtype=np.float64) @ self.holds)
        codes = np.unique(cluster, return_inverse=True)[1]
        kept = np.flatnonzero(taken)
        adding = sparse.csr_array(
            (np.ones(len(kept)), (codes[kept], kept)), shape=(int(codes.max()) + 1, len(codes))
        )
        return np.asarray(((adding @ self.holds) > 0).sum(axis=0)).ravel()

    def joined(self, column: npt.NDArray[np.intp], units: tuple[str, ...]) -> "UnitRows":
        """The same with unit i added to the unit `column[i]` of the names given: no sum changes."""
        adding = sparse.csr_array(
            (np.ones(len(column)), (np.arange(len(column)), column)), shape=(len(column), len(units))
        )
        return UnitRows(units, sparse.csr_array(self.n @ adding), sparse.csr_array(self.summed @ adding))


def unit_rows(attribution: Attribution, units: Units = None, *, fold_case: bool = True) -> UnitRows:
    """The units of an attribution, whose rows may have different tokens.

    Args:
        units: what each token counts as: a mapping (tokens that it does not name stay as they are) or a function, for
            instance a lemma for each word. It is asked for the token after its case was folded.
        fold_case: count "Film" and "film" as one.

    Raises:
        DataError: a mapping names a token that is nowhere, or there is no token at all.
    """
    codes: dict[str, int] = {}
    tokens: dict[str, int] = {}
    row_of, place, values = [], [], []
    for row, names in enumerate(attribution.tokens):
        place += [tokens.setdefault(name, len(tokens)) for name in names]
        row_of.append(np.full(len(names), row))
        values.append(attribution.scores[row, : len(names)])
    if not tokens:
        raise DataError("the attribution has no tokens: there is nothing to divide a gap among.")
    folded = [name.casefold() if fold_case else name for name in tokens]
    if isinstance(units, Mapping):
        known = set(folded)
        absent = [name for name in units if name not in known]
        if absent:
            raise DataError(f"there is no token {first(absent)}: {did_you_mean(absent[0], known)}")
        folded = [units.get(name, name) for name in folded]
    elif units is not None:
        asked: list[Any] = [units(name) for name in folded]
        wrong = [name for name, unit in zip(tokens, asked, strict=True) if not isinstance(unit, str)]
        folded = asked
        if wrong:
            raise DataError(f"units gives no text for {first(wrong)}; the name of a unit is expected.")
    column = np.array([codes.setdefault(name, len(codes)) for name in folded])
    at = (np.concatenate(row_of), column[np.asarray(place, dtype=np.intp)])
    shape = (len(attribution), len(codes))
    n = sparse.csr_array((np.ones(len(place)), at), shape=shape)
    summed = sparse.csr_array((np.concatenate(values).astype(np.float64), at), shape=shape)
    n.sum_duplicates()
    summed.sum_duplicates()
    return UnitRows(tuple(codes), n, summed)
