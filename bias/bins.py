"""Numbers as groups: bins whose names say their edges.

A bin holds its lower edge and not its upper one, "[20, 30)". The last bin holds its upper edge too, "[80, 90]",
unless values above it have a bin of their own, ">= 90".
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError, UsageError, first

Floats = npt.NDArray[np.float64]
WAY_OUT = "Widen the edges, or give those outside a bin of their own (below=True, above=True)."


def bins(
    values: Sequence[Any] | npt.NDArray[Any],
    edges: Sequence[float] | None = None,
    *,
    quantiles: int | Sequence[float] | None = None,
    labels: Sequence[str] | None = None,
    below: bool = False,
    above: bool = False,
) -> tuple[str | None, ...]:
    """The bin of each value, by name; None where the value is missing.

    Args:
        values: (example,) numbers; None and NaN are missing.
        edges: ascending edges, two or more (one where `below` or `above`).
        quantiles: in place of edges: how many bins of about equal size, or the inner shares that divide them. Edges
            are then these quantiles of the values given, and differ from one data set to the next: to bin
            other rows alike, take `quantile_edges` once and give its edges.
        labels: names in place of the edges, lowest bin first.
        below: whether values under the first edge get a bin, "< 20"; otherwise they are refused.
        above: whether values from the last edge on get a bin, ">= 90"; otherwise they are refused.

    Returns:
        (example,) names of bins. `bin_names` lists them in order, those that are empty included.

    Raises:
        UsageError: no edges, edges that do not ascend, a number of labels that is not that of bins.
        DataError: a value that is no number, or lies outside.
    """
    numbers = _numbers(values)
    if (edges is None) == (quantiles is None):
        raise UsageError("bins are made from edges or from quantiles: give one of the two.")
    cut = _edges(edges, below, above) if edges is not None else _quantile_edges(numbers, quantiles or 0)
    names = bin_names(cut, below=below, above=above) if labels is None else _labels(labels, cut, below, above)
    known = ~np.isnan(numbers)
    low, high = numbers < cut[0], numbers > cut[-1]
    outside = np.flatnonzero((low & (not below)) | (high & (not above)))
    if outside.size:
        shown = first(f"{numbers[i]:g} in row {i}" for i in outside)
        raise DataError(
            f"{outside.size} values lie outside {_number(cut[0])} to {_number(cut[-1])}: {shown}, counted from 0. {WAY_OUT}"
        )
    place = np.searchsorted(np.asarray(cut), numbers, side="right") - 1
    if not above:
        place = np.minimum(place, len(cut) - 2)
    place += 1 if below else 0
    return tuple(names[int(at)] if there else None for at, there in zip(place, known, strict=True))


def bin_names(edges: Sequence[float], *, below: bool = False, above: bool = False) -> tuple[str, ...]:
    """The names of all bins, lowest first: what a policy declares, so that empty ones appear.

    Raises:
        UsageError: edges that do not ascend.
    """
    cut = _edges(edges, below, above)
    written = [_number(edge) for edge in cut]
    inner = [f"[{a}, {b})" for a, b in itertools.pairwise(written)]
    if inner and not above:
        inner[-1] = f"{inner[-1][:-1]}]"
    return (
        *([f"< {written[0]}"] if below else []),
        *inner,
        *([f">= {written[-1]}"] if above else []),
    )


def quantile_edges(
    values: Sequence[Any] | npt.NDArray[Any], quantiles: int | Sequence[float]
) -> tuple[float, ...]:
    """Edges at quantiles of the values, the smallest and the largest value included.

    Args:
        values: (example,) numbers; missing ones do not count.
        quantiles: how many bins, or the shares between 0 and 1 that divide them.

    Raises:
        UsageError: fewer than two bins, or shares that do not ascend between 0 and 1.
        DataError: no values, or so many equal ones that two edges fall together.
    """
    return _quantile_edges(_numbers(values), quantiles)


def _quantile_edges(numbers: Floats, quantiles: int | Sequence[float]) -> tuple[float, ...]:
    if isinstance(quantiles, int):
        if quantiles < 2:
            raise UsageError(f"quantiles is {quantiles}; two bins or more are expected.")
        shares = [i / quantiles for i in range(1, quantiles)]
    else:
        shares = [float(share) for share in quantiles]
        rising = all(a < b for a, b in itertools.pairwise(shares))
        if not shares or not rising or not 0 < shares[0] <= shares[-1] < 1:
            raise UsageError(f"quantiles are {shares}; shares that ascend between 0 and 1 are expected.")
    known = numbers[~np.isnan(numbers)]
    if not known.size:
        raise DataError("there is no value to take quantiles of: all are missing.")
    cut = [float(edge) for edge in np.quantile(known, [0.0, *shares, 1.0])]
    equal = [i for i in range(len(cut) - 1) if cut[i] == cut[i + 1]]
    if equal:
        at = _number(cut[equal[0]])
        raise DataError(
            f"so many values are {at} that two quantiles fall together there. Take fewer bins, or name edges."
        )
    return tuple(cut)


def _numbers(values: Sequence[Any] | npt.NDArray[Any]) -> Floats:
    listed = values.tolist() if isinstance(values, np.ndarray) else list(values)
    made = np.empty(len(listed))
    bad = []
    for i, value in enumerate(listed):
        if value is None or type(value).__name__ in {"NAType", "NaTType"}:
            made[i] = math.nan
            continue
        if isinstance(value, str):
            bad.append(i)
            continue
        try:
            made[i] = float(value)
        except (TypeError, ValueError):
            bad.append(i)
    if bad:
        raise DataError(
            f"{len(bad)} values are no numbers, e.g. {listed[bad[0]]!r}; first rows, counted from 0: {first(bad)}. "
            "Bins are of numbers; text is a group already."
        )
    return made


def _edges(edges: Sequence[float], below: bool, above: bool) -> tuple[float, ...]:
    cut = tuple(float(edge) for edge in edges)
    least = 1 if below and above else 2
    rising = all(a < b for a, b in itertools.pairwise(cut))
    if len(cut) < least or not rising or not all(math.isfinite(edge) for edge in cut):
        raise UsageError(
            f"edges are {list(cut)}; at least {least} finite numbers that ascend are expected. "
            "Ends without limit are below=True and above=True."
        )
    return cut


def _labels(labels: Sequence[str], edges: Sequence[float], below: bool, above: bool) -> tuple[str, ...]:
    made = tuple(labels)
    plain = bin_names(edges, below=below, above=above)
    if len(made) != len(plain) or len(set(made)) != len(made) or not all(name.strip() for name in made):
        raise UsageError(
            f"labels are {list(made)}; {len(plain)} different names are expected, one for each of {', '.join(plain)}."
        )
    return made


def _number(value: float) -> str:
    """A number as written by hand: 20 for 20.0, otherwise as many digits as tell it from any other."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
