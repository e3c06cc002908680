"""Adjusted p-values for several tests, in the order in which the tests were given."""

import numpy as np
import numpy.typing as npt


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
