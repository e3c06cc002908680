"""Features of a table as units of their values, "income in [20, 30)": how often a value occurs can be told."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import DataError, UsageError, did_you_mean, first
from ..records import Attribution
from .bins import bins as binned

MOST_VALUES = 200  # of a column that is no number; more are names, not values


class ByValue(NamedTuple):
    """An attribution whose tokens are values of features, and the feature of each value (`into` of `parts_of_gap`)."""

    attribution: Attribution
    features: Mapping[str, str]


def by_value(attribution: Attribution, columns: Mapping[str, npt.ArrayLike], *, bins: int = 5) -> ByValue:
    """The attribution with each feature named by the value that it has in the row.

    Every row of a table has every feature, so that none is more frequent in one group: its values are. Categories are
    units as they stand; numbers are put into bins of about equal size, fewer where values repeat. Scores stay what
    they are, so every sum does. Where groups differ in value within a bin, a part that depends on the value is booked
    as treatment; more bins make this smaller.

    Args:
        attribution: of a table; all rows have the same features.
        columns: feature -> (example,) its values. Features without a column stay one unit.
        bins: of numbers with more different values than this.

    Raises:
        DataError: rows with other features, a column of another length or of no feature, more than 200 categories.
        UsageError: fewer than two bins.
    """
    if bins < 2:
        raise UsageError(f"bins is {bins}; two or more are expected.")
    try:
        features = attribution.features
    except ValueError as error:
        raise DataError(f"values are told apart in tables only: {error}.") from error
    strange = [name for name in columns if name not in features]
    if strange:
        raise DataError(f"there is no feature {first(strange)}: {did_you_mean(strange[0], features)}")
    named: list[list[str]] = []
    owner: dict[str, str] = {}
    for feature in features:
        if feature not in columns:
            units = [feature] * len(attribution)
        else:
            values = np.asarray(columns[feature])
            if values.shape != (len(attribution),):
                raise DataError(
                    f"column {feature!r} has shape {values.shape}; {len(attribution)} values are expected."
                )
            units = _units(feature, values, bins)
        named.append(units)
        owner.update(dict.fromkeys(units, feature))
    tokens = tuple(zip(*named, strict=True))
    return ByValue(dataclasses.replace(attribution, tokens=tokens), owner)


def _units(feature: str, values: npt.NDArray[Any], bins: int) -> list[str]:
    numbers = _numbers(values)
    if numbers is not None:
        known = numbers[np.isfinite(numbers)]
        if len(np.unique(known)) > bins:
            edges = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)))
            names = binned(np.where(np.isfinite(numbers), numbers, np.nan), edges.tolist())
            return [f"{feature} missing" if one is None else f"{feature} in {one}" for one in names]
    made = [_text(one) for one in values.tolist()]
    distinct = {one for one in made if one is not None}
    if len(distinct) > MOST_VALUES:
        raise DataError(
            f"column {feature!r} has {len(distinct):,} values; at most {MOST_VALUES} are units. Join them to fewer."
        )
    return [f"{feature} missing" if one is None else f"{feature} = {one}" for one in made]


def _numbers(values: npt.NDArray[Any]) -> npt.NDArray[np.float64] | None:
    """The values as numbers, NaN where missing; None where one is something else (truth values are categories)."""
    if values.dtype.kind in "iuf":
        return values.astype(np.float64)
    listed = values.tolist()
    if all(one is None or (isinstance(one, (int, float)) and not isinstance(one, bool)) for one in listed):
        return np.array([np.nan if one is None else float(one) for one in listed])
    return None


def _text(value: Any) -> str | None:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return None
    return f"{value:g}" if isinstance(value, float) else str(value)
