"""Adjusted p-values for several tests, in the order in which the tests were given."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import UsageError, did_you_mean, first


def holm(p: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Holm's adjusted p-values (1979): the chance of any false rejection stays below alpha."""
    values = _checked(p)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    return _back(np.minimum(stepped, 1.0), order)


def benjamini_hochberg(p: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Benjamini & Hochberg's adjusted p-values (1995): for exploration, never for a gate."""
    return _step_up(_checked(p), 1.0)


def benjamini_yekutieli(p: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Benjamini & Yekutieli's adjusted p-values (2001), valid under any dependence."""
    values = _checked(p)
    return _step_up(values, float(np.sum(1.0 / np.arange(1, len(values) + 1))))


class Gate(NamedTuple):
    """Adjusted p-values of one attribute: that its groups differ at all, and of each of its comparisons."""

    any_difference: float
    members: npt.NDArray[np.float64]


def gatekeeping(homogeneity: Mapping[str, float], members: Mapping[str, npt.ArrayLike]) -> dict[str, Gate]:
    """Adjusted p-values of attributes first, of their comparisons only behind them.

    A member's is the larger of its attribute's p and its own Holm-adjusted one among the attribute's, times the
    number of attributes. So a comparison is never significant where its attribute is not. The chance of any false
    rejection, of attributes and comparisons together, stays below alpha under any dependence: an attribute whose
    groups do not differ has to pass its own test at alpha / attributes; in one whose groups differ, Holm holds its
    comparisons to alpha / attributes (Dmitrienko, Offen & Westfall 2003, gatekeeping, with equal shares).

    Args:
        homogeneity: attribute -> p of the hypothesis that none of its groups differ.
        members: attribute -> p of its comparisons, in any order.

    Raises:
        UsageError: the two name different attributes.
        ValueError: something that is no p-value.
    """
    missing = [name for name in homogeneity if name not in members]
    missing += [name for name in members if name not in homogeneity]
    if missing:
        hint = did_you_mean(missing[0], [name for name in (*homogeneity, *members) if name not in missing])
        raise UsageError(f"{first(missing)} is in one of homogeneity and members alone: {hint}")
    shares = len(homogeneity)
    made = {}
    for name, p in homogeneity.items():
        gate = float(_checked([p])[0])
        own = np.maximum(gate, holm(members[name]))
        made[name] = Gate(min(1.0, gate * shares), np.minimum(1.0, own * shares))
    return made


def _checked(p: npt.ArrayLike) -> npt.NDArray[np.float64]:
    values = np.asarray(p, dtype=np.float64)
    if values.ndim != 1 or np.any(~((values >= 0) & (values <= 1))):
        raise ValueError("p-values between 0 and 1 in one row are expected")
    return values


def _step_up(values: npt.NDArray[np.float64], factor: float) -> npt.NDArray[np.float64]:
    m = len(values)
    order = np.argsort(values, kind="stable")
    scaled = values[order] * m * factor / np.arange(1, m + 1)
    stepped = np.minimum.accumulate(scaled[::-1])[::-1]
    return _back(np.minimum(stepped, 1.0), order)


def _back(sorted_values: npt.NDArray[np.float64], order: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    made = np.empty_like(sorted_values)
    made[order] = sorted_values
    return made
