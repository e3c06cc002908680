"""From a user's columns to tensors' arrays, learned from training rows and saved as plain JSON."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import DataError, ModelError, did_you_mean, first

Columns = Mapping[str, Any]
Arrays = dict[str, np.ndarray]

MISSING, OTHER = 0, 1  # category numbers: no value; a value that the training rows did not have
PAD, UNKNOWN_WORD, MASK = 0, 1, 2
LARGEST = 1e100  # of a mean or a spread that is read: what is divided by it stays a number
WORD = r"\w+|[^\w\s]"


def _column(columns: Columns, name: str) -> Any:
    if name not in columns:
        raise DataError(
            f"the model reads the column {name!r}, which is missing: {did_you_mean(name, columns)}"
        )
    return columns[name]


def _missing(value: Any) -> bool:
    """None, NaN, pandas' NA and NaT, and a text of nothing but blanks."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or type(value).__name__ == "NAType" or bool(value != value)


def _numbers(name: str, values: Any) -> np.ndarray:
    numbers, strange = [], []
    for value in np.asarray(values).tolist():
        try:
            numbers.append(math.nan if _missing(value) else float(value))
        except (TypeError, ValueError):
            strange.append(value)
    if strange:
        raise DataError(
            f"column {name!r} should hold numbers; {len(strange)} values are none, first ones: {first(strange)}. "
            "Missing values are empty or NaN; words belong into a categorical feature."
        )
    return _finite(name, np.array(numbers, dtype=np.float64))


def _finite(name: str, numbers: np.ndarray) -> np.ndarray:
    infinite = np.flatnonzero(np.isinf(numbers).any(axis=tuple(range(1, numbers.ndim))))
    if infinite.size:
        raise DataError(f"column {name!r} holds infinite values; first row positions: {first(infinite)}.")
    return numbers


def _spread(values: np.ndarray) -> float:
    """The standard deviation; 1 where it is nothing but rounding, so that a constant is not blown up."""
    spread = float(np.nanstd(values))
    return spread if spread > 1e-12 * float(np.nanmax(np.abs(values))) else 1.0


def category(value: Any) -> str | None:
    """A category's name: 1, 1.0 and "1" are one category; missing and empty are None."""
    if _missing(value):
        return None
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()


@dataclass(frozen=True, kw_only=True)
class TablePreprocessor:
    """Numbers standardised by the training rows' mean and spread, categories numbered; missing stays missing.

    Of a feature in `logarithms`, sign(x) * log(1 + |x|) is taken first. A category that the training rows did
    not have becomes "other".
    """

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    logarithms: tuple[str, ...]
    mean: Mapping[str, float]
    spread: Mapping[str, float]
    median: Mapping[str, float]
    categories: Mapping[str, tuple[str, ...]]
    most_frequent: Mapping[str, str | None]
    kind: str = field(default="table", init=False)

    @classmethod
    def fit(
        cls,
        columns: Columns,
        *,
        numeric: Sequence[str],
        categorical: Sequence[str],
        logarithms: Sequence[str] = (),
    ) -> "TablePreprocessor":
        """Learn from training columns.

        Raises:
            DataError: there is no feature, one is named twice, a column is missing, a number is none, or a
                numeric column has no value at all.
        """
        names = [*numeric, *categorical]
        if not names:
            raise DataError("no feature was named; at least one numeric or categorical column is expected.")
        twice = [name for name, n in Counter(names).items() if n > 1]
        if twice:
            raise DataError(f"{first(twice)} is named more than once among the features; once is expected.")
        strange = [name for name in logarithms if name not in numeric]
        if strange:
            raise DataError(
                f"the logarithm of {first(strange)} was asked for: {did_you_mean(strange[0], numeric)}"
            )
        mean, spread, median = {}, {}, {}
        for name in numeric:
            raw = _numbers(name, _column(columns, name))
            if np.isnan(raw).all():
                raise DataError(f"column {name!r} has no value in the training rows; leave it out.")
            values = _logarithm(raw) if name in logarithms else raw
            mean[name] = float(np.nanmean(values))
            spread[name] = _spread(values)
            median[name] = float(np.nanmedian(raw))
        categories, most = {}, {}
        for name in categorical:
            named = [category(value) for value in np.asarray(_column(columns, name), dtype=object).tolist()]
            counted = Counter(value for value in named if value is not None)
            categories[name] = tuple(sorted(counted))
            # Of equally frequent categories the first in alphabetical order, whatever the order of the rows.
            most[name] = max(categories[name], key=lambda value: counted[value], default=None)
        return cls(
            numeric=tuple(numeric),
            categorical=tuple(categorical),
            logarithms=tuple(logarithms),
            mean=mean,
            spread=spread,
            median=median,
            categories=categories,
            most_frequent=most,
        )

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Features in the order of the model's tokens."""
        return (*self.numeric, *self.categorical)

    @property
    def columns(self) -> tuple[str, ...]:
        """The input columns read."""
        return self.feature_names

    def transform(self, columns: Columns) -> Arrays:
        """`numeric` (example, feature) float32, NaN where missing, and `categorical` (example, feature) int64.

        Raises:
            DataError: a column is missing, columns differ in length, or a number is none or infinite.
        """
        lengths = {name: len(_column(columns, name)) for name in self.feature_names}
        n = lengths[self.feature_names[0]]
        if len(set(lengths.values())) > 1:
            odd = next(name for name in lengths if lengths[name] != n)
            raise DataError(
                f"column {self.feature_names[0]!r} has {n} rows and column {odd!r} {lengths[odd]}; "
                "the same is expected."
            )
        numbers, codes = [], []
        for name in self.numeric:
            raw = _numbers(name, _column(columns, name))
            values = _logarithm(raw) if name in self.logarithms else raw
            numbers.append((values - self.mean[name]) / self.spread[name])
        for name in self.categorical:
            known = {value: i + 2 for i, value in enumerate(self.categories[name])}
            named = (category(value) for value in np.asarray(_column(columns, name), dtype=object).tolist())
            codes.append([MISSING if value is None else known.get(value, OTHER) for value in named])
        return {
            "numeric": np.array(numbers, dtype=np.float32).T.reshape(n, len(self.numeric)).copy(),
            "categorical": np.array(codes, dtype=np.int64).T.reshape(n, len(self.categorical)).copy(),
        }

    def reference(self) -> dict[str, np.ndarray]:
        """The training distribution's reference row: medians, and the most frequent categories."""
        row: dict[str, np.ndarray] = {name: np.array([self.median[name]]) for name in self.numeric}
        row.update({name: np.array([self.most_frequent[name]], dtype=object) for name in self.categorical})
        return row

    def shape(self) -> dict[str, Any]:
        """What an Architecture needs to know of these inputs."""
        return {
            "numeric": len(self.numeric),
            "categories": tuple(len(self.categories[n]) + 2 for n in self.categorical),
        }

    def state(self) -> dict[str, Any]:
        """Everything learned, as JSON types."""
        return {
            "kind": self.kind,
            "numeric": list(self.numeric),
            "categorical": list(self.categorical),
            "logarithms": list(self.logarithms),
            "mean": dict(self.mean),
            "spread": dict(self.spread),
            "median": dict(self.median),
            "categories": {name: list(values) for name, values in self.categories.items()},
            "most_frequent": dict(self.most_frequent),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "TablePreprocessor":
        """The preprocessor that `state` was taken from."""
        return cls(
            numeric=tuple(state["numeric"]),
            categorical=tuple(state["categorical"]),
            logarithms=tuple(state["logarithms"]),
            mean=dict(state["mean"]),
            spread=dict(state["spread"]),
            median=dict(state["median"]),
            categories={name: tuple(values) for name, values in state["categories"].items()},
            most_frequent=dict(state["most_frequent"]),
        )


def _logarithm(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)))


@dataclass(frozen=True, kw_only=True)
class TextPreprocessor:
    """Lower-cased words, numbered by their frequency in the training texts."""

    words: tuple[str, ...]
    longest: int
    kind: str = field(default="text", init=False)

    @classmethod
    def fit(cls, columns: Columns, *, most: int = 20_000, longest: int = 512) -> "TextPreprocessor":
        """Learn the vocabulary of the column `text`."""
        counted: dict[str, int] = {}
        for text in np.asarray(_column(columns, "text"), dtype=object).tolist():
            for word in split(text):
                counted[word] = counted.get(word, 0) + 1
        ordered = sorted(counted, key=lambda word: (-counted[word], word))[:most]
        return cls(words=tuple(ordered), longest=longest)

    @property
    def columns(self) -> tuple[str, ...]:
        """The input columns read."""
        return ("text",)

    def token_names(self, columns: Columns) -> list[list[str]]:
        """The words of each text, cut to the longest the model takes; an empty or missing text is one [UNK]."""
        texts = np.asarray(_column(columns, "text"), dtype=object).tolist()
        return [split(text)[: self.longest] or ["[UNK]"] for text in texts]

    def characters(self, columns: Columns) -> tuple[tuple[str, tuple[tuple[int, int], ...]], ...]:
        """Each text, lower-cased, with the characters [start, end) of its words; none for an [UNK] of no word."""
        made = []
        for text in np.asarray(_column(columns, "text"), dtype=object).tolist():
            lower = "" if _missing(text) else str(text).lower()
            places = tuple(match.span() for match in re.finditer(WORD, lower))[: self.longest]
            made.append((lower, places or ((0, 0),)))
        return tuple(made)

    def transform(self, columns: Columns) -> Arrays:
        """`tokens` (example, token) int64, padded with 0."""
        known = {word: i + 3 for i, word in enumerate(self.words)}
        lists = self.token_names(columns)
        tokens = np.full((len(lists), max(map(len, lists), default=1)), PAD, dtype=np.int64)
        for i, words in enumerate(lists):
            tokens[i, : len(words)] = [known.get(word, UNKNOWN_WORD) for word in words]
        return {"tokens": tokens}

    def neutral(self, arrays: Mapping[str, np.ndarray]) -> Arrays:
        """The same texts with [MASK] for every word."""
        tokens = arrays["tokens"]
        return {"tokens": np.where(tokens == PAD, PAD, MASK).astype(np.int64)}

    def shape(self) -> dict[str, Any]:
        """What an Architecture needs to know of these inputs."""
        return {"vocabulary": len(self.words) + 3, "longest": self.longest}

    def state(self) -> dict[str, Any]:
        """Everything learned, as JSON types."""
        return {"kind": self.kind, "words": list(self.words), "longest": self.longest}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "TextPreprocessor":
        """The preprocessor that `state` was taken from."""
        return cls(words=tuple(state["words"]), longest=int(state["longest"]))


def split(text: Any) -> list[str]:
    """Lower-cased words and punctuation marks; none of a missing text (None, NaN)."""
    return [] if _missing(text) else re.findall(WORD, str(text).lower())


def _series(columns: Columns) -> np.ndarray:
    values = _column(columns, "series")
    try:
        return _finite("series", np.asarray(values, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise DataError(
            f"column 'series' should hold numbers, (example, time, channel): {error}. Series of different "
            "lengths are padded with NaN at the end."
        ) from error


@dataclass(frozen=True, kw_only=True)
class SeriesPreprocessor:
    """Sensor series, each channel standardised by the training rows.

    A patch is `patch` time steps, the next one begins `stride` steps later; steps after the last whole patch
    are not seen by the model.
    """

    channels: tuple[str, ...]
    patch: int
    stride: int
    longest: int  # patches
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    kind: str = field(default="series", init=False)

    @classmethod
    def fit(
        cls, columns: Columns, *, channels: Sequence[str], patch: int = 8, stride: int = 8
    ) -> "SeriesPreprocessor":
        """Learn from the column `series`, (example, time, channel).

        Raises:
            DataError: the column is missing, has another shape, infinite values, or a channel without any value.
        """
        if patch < 1 or stride < 1:
            raise DataError(f"patch is {patch} and stride {stride}; 1 or more time steps are expected.")
        series = _series(columns)
        if series.ndim != 3 or series.shape[2] != len(channels) or series.shape[1] < patch:
            raise DataError(
                f"series of shape {series.shape} were given; (example, time, {len(channels)}) with at least "
                f"{patch} time steps is expected."
            )
        empty = [name for i, name in enumerate(channels) if np.isnan(series[:, :, i]).all()]
        if empty:
            raise DataError(f"channels {first(empty)} have no value in the training rows; leave them out.")
        return cls(
            channels=tuple(channels),
            patch=patch,
            stride=stride,
            longest=(series.shape[1] - patch) // stride + 1,
            mean=tuple(np.nanmean(series, axis=(0, 1)).tolist()),
            spread=tuple(_spread(series[:, :, i]) for i in range(len(channels))),
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The input columns read."""
        return ("series",)

    def token_names(self, columns: Columns) -> list[list[str]]:
        """The time window of each patch, "t0-7"."""
        series = np.asarray(_column(columns, "series"))
        starts = range(0, series.shape[1] - self.patch + 1, self.stride)
        return [[f"t{start}-{start + self.patch - 1}" for start in starts]] * len(series)

    def transform(self, columns: Columns) -> Arrays:
        """`series` (example, time, channel) float32, NaN where missing.

        Raises:
            DataError: the column is missing, has another shape, infinite values, or too few or too many time steps.
        """
        series = _series(columns)
        most = (self.longest - 1) * self.stride + self.patch + self.stride - 1
        if (
            series.ndim != 3
            or series.shape[2] != len(self.channels)
            or not self.patch <= series.shape[1] <= most
        ):
            raise DataError(
                f"series of shape {series.shape} were given; (example, time, {len(self.channels)}) with "
                f"{self.patch} to {most} time steps is expected, as in training."
            )
        return {"series": ((series - self.mean) / self.spread).astype(np.float32)}

    def neutral(self, arrays: Mapping[str, np.ndarray]) -> Arrays:
        """The same series at the training mean of every channel."""
        series = arrays["series"]
        return {"series": np.where(np.isnan(series), series, 0.0).astype(np.float32)}

    def shape(self) -> dict[str, Any]:
        """What an Architecture needs to know of these inputs."""
        return {
            "channels": len(self.channels),
            "patch": self.patch,
            "stride": self.stride,
            "longest": self.longest,
        }

    def state(self) -> dict[str, Any]:
        """Everything learned, as JSON types."""
        return {
            "kind": self.kind,
            "channels": list(self.channels),
            "patch": self.patch,
            "stride": self.stride,
            "longest": self.longest,
            "mean": list(self.mean),
            "spread": list(self.spread),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "SeriesPreprocessor":
        """The preprocessor that `state` was taken from."""
        return cls(
            channels=tuple(state["channels"]),
            patch=int(state["patch"]),
            stride=int(state["stride"]),
            longest=int(state["longest"]),
            mean=tuple(state["mean"]),
            spread=tuple(state["spread"]),
        )


Preprocessor = TablePreprocessor | TextPreprocessor | SeriesPreprocessor
KINDS: Mapping[str, type[Preprocessor]] = {
    "table": TablePreprocessor,
    "text": TextPreprocessor,
    "series": SeriesPreprocessor,
}


def _check(state: Mapping[str, Any]) -> None:
    """Refuse a state whose parts are of another kind, of which nothing would be said before rows are read.

    Raises:
        KeyError, TypeError, ValueError: with the first part.
    """
    texts: dict[str, Any] = {name: state.get(name, []) for name in ("numeric", "categorical", "logarithms")}
    texts |= {name: state.get(name, []) for name in ("words", "channels")}
    if state["kind"] == "table":
        texts |= {f"categories.{name}": state["categories"][name] for name in state["categorical"]}
        features = [*state["numeric"], *state["categorical"]]
        if not features or len(set(features)) != len(features) or set(state["logarithms"]) - set(features):
            raise ValueError(
                f"the features {first(features)} are none, are named twice, or are not those used"
            )
        numbers = {
            f"{part}.{name}": state[part][name]
            for part in ("mean", "spread", "median")
            for name in state["numeric"]
        }
        most = {f"most_frequent.{name}": state["most_frequent"][name] for name in state["categorical"]}
        strange = [name for name, value in most.items() if not (value is None or isinstance(value, str))]
    else:
        wanted = ("longest",) if state["kind"] == "text" else ("longest", "patch", "stride")
        strange = [name for name in wanted if type(state[name]) is not int or state[name] < 1]
        parts = ("mean", "spread") if state["kind"] == "series" else ()
        numbers = {f"{part}[{i}]": value for part in parts for i, value in enumerate(state[part])}
        if len(numbers) != len(parts) * len(state.get("channels", [])):
            raise ValueError(f"{len(numbers)} means and spreads of {len(state['channels'])} channels")
    strange += [
        name
        for name, value in texts.items()
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value)
    ]
    strange += [
        name
        for name, value in numbers.items()
        if isinstance(value, bool)
        or not isinstance(value, int | float)
        or not abs(value) <= LARGEST
        or (name.startswith("spread") and value < 1 / LARGEST)
    ]
    if strange:
        raise TypeError(f"{first(strange)}: a value of another kind, or a number out of range")


def from_state(state: Mapping[str, Any]) -> Preprocessor:
    """The preprocessor of a saved state.

    Raises:
        ModelError: the state is of an unknown kind, or lacks something.
    """
    try:
        _check(state)
        return KINDS[state["kind"]].from_state(state)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"the saved preprocessing cannot be read: {type(error).__name__} {error}."
        ) from error
