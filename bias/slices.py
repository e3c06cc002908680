"""The search for subgroups that fare otherwise than everybody else; what it finds survives the searching."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError, UsageError, did_you_mean, first
from ..evidence import Evidence
from .counts import Bools
from .group_rows import column, truth, whole_counts
from .items import code_columns, code_evidence
from .itemsets import Engine
from .permutations import MAX_MEMORY
from .row_roles import row_clusters, row_counts, row_weights
from .slice_asked import Asked
from .slice_outcomes import outcome
from .slice_records import SliceSearch
from .slice_search import search
from .slice_table import Table

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def slices(
    evidence: Evidence,
    *,
    columns: Sequence[str] | None = None,
    of: str = "error_rate",
    terms: Mapping[str, npt.ArrayLike] | None = None,
    min_support: float = 0.01,
    min_count: int = 30,
    depth: int = 3,
    permutations: int = 2000,
    strata: Sequence[str] | None = None,
    confirm: float | None = None,
    alpha: float = 0.05,
    epsilon: float | None = None,
    jaccard: float = 0.8,
    most: int = 100,
    engine: Engine = "auto",
    seed: int = 0,
    max_memory: int = MAX_MEMORY,
) -> SliceSearch:
    """Conjunctions of groups and terms that fare otherwise than everybody else, each against its complement.

    Each slice has one adjusted p-value, which accounts for the whole search: Westfall and Young's max-T (1993) over all
    slices, the rows' values permuted within strata; whole clusters where the evidence has them. Or, with `confirm`,
    a part of the rows chooses at most 20 slices and the rest tests them, by permutation and Holm's correction, so
    that effects are free of the choice. Intervals hold for all tested slices at once. Rows outside the metric's
    denominator (for a false-positive rate those labelled positive) take no part: support is counted without them.

    Args:
        evidence: with counts, weights, clusters and strata as far as it names them.
        columns: columns of the table; None: the evidence's groups. A missing value is a group of its own.
        of: a rate or a mean loss of the table of metrics, the score, or a measure.
        terms: (example,) truth values by name: whether the text of a row holds the term.
        min_support: smallest share of the denominator that is a slice.
        min_count: smallest number of rows of a slice, and of its complement.
        depth: items of a slice.
        permutations: 99 or more, and enough that 1 / (permutations + 1) is at most alpha.
        strata: columns within which rows are compared and permuted; None: the evidence's. Unknown is a stratum.
        confirm: share of the rows (clusters) kept apart to confirm, e.g. 0.5; None: all rows do both, by max-T.
        alpha: the chance that anything is found where nothing differs.
        epsilon: in units of the metric: an item that adds no more to a shorter slice makes it redundant; None: 0.05
            standard deviations of a row's value.
        jaccard: slices whose rows overlap so much are shown as one group.
        most: slices in the record, strongest first; all count.
        engine: of the search for conjunctions, "numpy", "numba" (the `fast` extra) or "auto".
        seed: of permutations and of the split.
        max_memory: bytes of working memory of the permutations.

    Raises:
        UsageError: a column, metric or engine that is not there, a number out of range, too many conjunctions.
        DataError: a column of too many values (named; of numbers: bin them first), no slice large enough, values that
            do not vary, clusters that a column divides.
    """
    names = evidence.groups if columns is None else tuple(dict.fromkeys(columns))
    absent = [name for name in (*names, *(strata or ())) if name not in evidence.table.column_names]
    if absent:
        raise UsageError(
            f"there is no column {first(absent)}: {did_you_mean(absent[0], evidence.table.column_names)}"
        )
    if strata is not None:
        evidence = replace(evidence, strata=tuple(strata))
    coded = code_evidence(evidence, names, terms)
    if len(coded) != len(evidence):
        raise DataError(f"terms have {len(coded)} rows, the evidence has {len(evidence)}.")
    found, stratum = outcome(evidence, of), evidence.stratum
    table = Table(
        coded=coded,
        value=found.value,
        count=row_counts(evidence),
        weight=row_weights(evidence),
        cluster=row_clusters(evidence),
        stratum=None if stratum is None else stratum[0].astype(np.int64),
    )
    asked = Asked(
        of=of,
        words=found.words,
        columns=names,
        terms=tuple(terms or ()),
        strata=evidence.strata,
        cluster=evidence.cluster,
        min_support=min_support,
        min_count=min_count,
        depth=depth,
        permutations=permutations,
        confirm=confirm,
        alpha=alpha,
        epsilon=epsilon,
        jaccard=jaccard,
        most=most,
        engine=engine,
        seed=seed,
        max_memory=max_memory,
    )
    return search(table.inside(found.inside), asked)


def slices_of(
    columns: Mapping[str, Any],
    value: npt.ArrayLike,
    *,
    inside: npt.ArrayLike | None = None,
    terms: Mapping[str, npt.ArrayLike] | None = None,
    count: npt.ArrayLike | None = None,
    weight: npt.ArrayLike | None = None,
    cluster: npt.ArrayLike | None = None,
    stratum: npt.ArrayLike | None = None,
    of: str = "value",
    min_support: float = 0.01,
    min_count: int = 30,
    depth: int = 3,
    permutations: int = 2000,
    confirm: float | None = None,
    alpha: float = 0.05,
    epsilon: float | None = None,
    jaccard: float = 0.8,
    most: int = 100,
    engine: Engine = "auto",
    seed: int = 0,
    max_memory: int = MAX_MEMORY,
) -> SliceSearch:
    """The same search over arrays: `slices` says what it does.

    Args:
        columns: (row,) values of each column, by name.
        value: (row,) truth values, whose rate is compared, or numbers, whose mean is.
        inside: (row,) the rows of the denominator; None: all.
        terms: (row,) truth values by name.
        count: (row,) how often each row counts.
        weight: (row,) sampling weights, 0 or more.
        cluster: (row,) a whole number that names its cluster.
        stratum: (row,) a whole number that names its stratum.
        of: what to call the value.

    Raises:
        UsageError: a number out of range, too many conjunctions.
        DataError: arrays of several lengths or kinds, and all that `slices` refuses.
    """
    values = column(value, "value")
    coded = code_columns(columns, terms)
    given: dict[str, npt.NDArray[Any] | None] = {
        "count": None if count is None else whole_counts(count),
        "weight": None if weight is None else _weights(weight),
        "cluster": None if cluster is None else _names(cluster, "cluster"),
        "stratum": None if stratum is None else _names(stratum, "stratum"),
    }
    part: Bools = np.ones(len(values), dtype=np.bool_) if inside is None else truth(inside, "inside")
    for name, array in {"value": values, "inside": part, **given}.items():
        if array is not None and len(array) != len(coded):
            raise DataError(f"{name} has {len(array)} rows, the columns have {len(coded)}.")
    if not part.any():
        raise DataError("inside is False in every row: nobody is in the denominator.")
    kind = "rate" if values.dtype == np.bool_ else "mean"
    asked = Asked(
        of=of,
        words=f"{kind} of {of}, of {'all' if inside is None else 'those inside'}",
        columns=tuple(columns),
        terms=tuple(terms or ()),
        strata=() if stratum is None else ("stratum",),
        cluster=None if cluster is None else "cluster",
        min_support=min_support,
        min_count=min_count,
        depth=depth,
        permutations=permutations,
        confirm=confirm,
        alpha=alpha,
        epsilon=epsilon,
        jaccard=jaccard,
        most=most,
        engine=engine,
        seed=seed,
        max_memory=max_memory,
    )
    return search(Table(coded=coded, value=values, **given).inside(part), asked)


def _weights(values: npt.ArrayLike) -> Floats:
    weights = column(values, "weight").astype(np.float64)
    bad = np.flatnonzero(weights < 0)
    if bad.size or not weights.any():
        raise DataError(
            f"weight is negative in {bad.size} rows ({first(bad)}) or 0 in all; expected 0 or more."
        )
    return weights


def _names(values: npt.ArrayLike, name: str) -> Ints:
    array = np.asarray(values)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise DataError(
            f"{name} has shape {array.shape} and type {array.dtype}; one whole number per row is expected."
        )
    return array.astype(np.int64)
