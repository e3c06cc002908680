"""A logistic head on frozen features, of rows that may weigh differently."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import DataError, UsageError, did_you_mean, first
from ..evidence import Evidence
from .decision_rules import Heads
from .mitigation import Mitigation
from .reweighing import LABELS, reweighing
from .seen_rows import seen_rows

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


class Scale(NamedTuple):
    """What features are measured by: their mean and standard deviation on the rows that fit."""

    centre: Floats  # (feature,)
    width: Floats  # (feature,) 1 where a feature never varies

    def to(self, features: Floats) -> Floats:
        """Features with mean 0 and deviation 1, (row, feature)."""
        made: Floats = (features - self.centre) / self.width
        return made

    def back(self, coefficients: Floats, intercept: float) -> tuple[Floats, float]:
        """A head on scaled features as one on the features themselves."""
        plain = coefficients / self.width
        return plain, float(intercept - plain @ self.centre)


def logistic_head(
    evidence: Evidence,
    features: Floats,
    *,
    attribute: str | None = None,
    ridge: float = 1.0,
    name: str | None = None,
) -> Mitigation:
    """A logistic head fitted anew; with `attribute` on rows reweighed so that the label is independent of the group.

    Without `attribute` this mitigates nothing: it is what reweighing and reductions are compared with. No group is asked
    for when it decides. Source of the weights: Kamiran & Calders 2012.

    Args:
        evidence: rows to fit on, with a label, and groups for `attribute`; counts and sampling weights multiply.
        features: (row, feature) what the model computes of these rows, in their order.
        attribute: the group column of the weights.
        ridge: penalty: half the squared length of the coefficients of features scaled to deviation 1.
        name: of the mitigation.

    Raises:
        UsageError: no label, an unknown column, a penalty that is not above 0. DataError: features of other rows or no
            finite numbers, one label only, or a group without a row of one label.
    """
    label, matrix, times = fitting_rows(evidence, features)
    settings: dict[str, Any] = {"ridge": float(ridge), "attribute": attribute}
    if attribute is not None:
        if attribute not in evidence.groups:
            raise UsageError(f"{attribute!r} is no group column: {did_you_mean(attribute, evidence.groups)}")
        groups = evidence.group(attribute)
        found = reweighing(label, groups, weight=times)
        times = times * found.rows(label, groups)
        settings["weights"] = {
            g: dict(zip(LABELS, w, strict=True))
            for g, w in zip(found.groups, found.weight.tolist(), strict=True)
        }
    scale = scaling(matrix)
    model = logistic_regression(ridge)
    with fitting():
        model.fit(scale.to(matrix), label.astype(np.int64), sample_weight=times)
    coefficients, intercept = scale.back(model.coef_[0].astype(np.float64), float(model.intercept_[0]))
    return Mitigation(
        name=name or ("logistic head" if attribute is None else f"reweighed by {attribute}"),
        rule=Heads(coefficients=coefficients[None, :], intercepts=np.array([intercept]), weights=np.ones(1)),
        settings=settings,
        seen=(seen_rows(evidence, "fit"),),
    )


def fitting_rows(evidence: Evidence, features: Floats) -> tuple[Bools, Floats, Floats]:
    """Label, features and how much each row weighs, checked to be of the same rows."""
    if evidence.label is None:
        raise UsageError("a head needs a label to be fitted: name the column.")
    matrix = np.asarray(features, dtype=np.float64)
    if matrix.ndim != 2 or len(matrix) != len(evidence) or not matrix.shape[1]:
        raise DataError(
            f"features have shape {matrix.shape}; ({len(evidence)}, feature) is expected, the evidence's rows in order."
        )
    bad = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if bad.size:
        ids = evidence.ids
        raise DataError(f"features are no finite numbers in {bad.size} rows: {first(ids[i] for i in bad)}.")
    label = evidence.binary(evidence.label)
    if label.all() or not label.any():
        raise DataError(f"all {len(label)} rows have the same label: there is nothing to tell apart.")
    return label, matrix, evidence.counts * evidence.weights


def scaling(features: Floats) -> Scale:
    """Mean and standard deviation of each feature."""
    width = features.std(axis=0)
    width = np.where(width > 1e-12 * np.maximum(1.0, np.abs(features).max(axis=0)), width, 1.0)
    return Scale(features.mean(axis=0), width)


def logistic_regression(ridge: float) -> Any:
    """scikit-learn's, which fairlearn brings along, fitted by Newton's method to a tight tolerance.

    Raises:
        UsageError: a penalty that is not above 0.
    """
    from sklearn.linear_model import LogisticRegression

    if not 0 < ridge < np.inf:
        raise UsageError(f"ridge is {ridge}; a number above 0 is expected.")
    return LogisticRegression(C=1 / ridge, solver="newton-cholesky", tol=1e-8, max_iter=200)


@contextmanager
def fitting() -> Iterator[None]:
    """Inside, a fit that does not converge is an error and no warning beside a number that is not the answer.

    Raises:
        DataError: it did not converge.
    """
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            yield
        except ConvergenceWarning as error:
            raise DataError(
                f"the logistic head did not converge: {str(error).splitlines()[0]} Likely causes: (a) features that "
                "nearly repeat one another, (b) too small a ridge where one feature tells the labels apart. Raise ridge."
            ) from error
