"""Heads on frozen features that meet a constraint on groups: the exponentiated gradient reduction."""

import warnings
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from ..errors import DataError, UsageError, did_you_mean, first
from ..evidence import Evidence
from .decision_rules import Heads
from .logistic_heads import Scale, fitting, fitting_rows, logistic_regression, scaling
from .mitigation import Mitigation
from .seen_rows import seen_rows

Floats = npt.NDArray[np.float64]
Constraint = Literal[
    "demographic_parity",
    "equalized_odds",
    "true_positive_rate_parity",
    "false_positive_rate_parity",
    "error_rate_parity",
]
MOMENTS = {
    "demographic_parity": "DemographicParity",
    "equalized_odds": "EqualizedOdds",
    "true_positive_rate_parity": "TruePositiveRateParity",
    "false_positive_rate_parity": "FalsePositiveRateParity",
    "error_rate_parity": "ErrorRateParity",
}


def exponentiated_gradient(
    evidence: Evidence,
    features: Floats,
    attribute: str,
    *,
    constraint: Constraint = "true_positive_rate_parity",
    allowed_gap: float = 0.01,
    max_iter: int = 50,
    ridge: float = 1.0,
    seed: int = 0,
    name: str | None = None,
) -> Mitigation:
    """Logistic heads that together come within a bound of equality, at the least error (Agarwal et al. 2018).

    The result is in general a draw between several heads, made by a hash of the row's id and `seed`. No group is asked
    for when it decides: groups play a part in fitting alone. The scores that it brings are a mean of the heads'
    probabilities; heads are fitted to weighted and partly reversed labels, so that nothing says they are calibrated.

    Args:
        evidence: rows to fit on, with a label and groups; rows of unknown group are left out. Counted rows are repeated.
        features: (row, feature) what the model computes of these rows, in their order.
        attribute: the group column.
        constraint: what is made equal.
        allowed_gap: how far each group may be from all (fairlearn's difference bound), which is also its `eps`.
        max_iter: rounds at most.
        ridge: penalty of the heads, see `logistic_heads.logistic_head`.
        seed: of the draws.
        name: of the mitigation.

    Raises:
        UsageError: no label, an unknown column or constraint, numbers out of range.
        DataError: features of other rows, weighted rows, fewer than two groups, a group without a row that the
            constraint is about, or a head that does not converge.
    """
    if constraint not in get_args(Constraint):
        raise UsageError(
            f"there is no constraint {constraint!r}: {did_you_mean(constraint, get_args(Constraint))}"
        )
    if not 0 < allowed_gap < 1:
        raise UsageError(f"allowed_gap is {allowed_gap}; a number between 0 and 1 is expected.")
    if max_iter < 1:
        raise UsageError(f"max_iter is {max_iter}; 1 or more is expected.")
    if attribute not in evidence.groups:
        raise UsageError(f"{attribute!r} is no group column: {did_you_mean(attribute, evidence.groups)}")
    if evidence.weight is not None:
        raise DataError(
            f"rows are weighted by {evidence.weight!r}: the reduction sets weights of its own, and is fitted to rows as "
            "they are. Fit on unweighted rows; the judgement may weigh them."
        )
    label, matrix, _ = fitting_rows(evidence, features)
    groups = np.asarray(evidence.group(attribute), dtype=object)
    known = np.array([g is not None for g in groups.tolist()], dtype=np.bool_)
    _enough(attribute, groups[known].tolist(), label[known], constraint)
    times = evidence.counts[known]
    scale = scaling(matrix[known])
    found = _reduced(
        np.repeat(scale.to(matrix[known]), times, axis=0),
        np.repeat(label[known], times).astype(np.int64),
        np.repeat(groups[known].astype(str), times),
        constraint=constraint,
        allowed_gap=allowed_gap,
        max_iter=max_iter,
        ridge=ridge,
    )
    return Mitigation(
        name=name or f"reduction, {constraint}",
        rule=_heads(found, scale),
        seed=seed,
        settings={
            "constraint": constraint,
            "attribute": attribute,
            "allowed_gap": allowed_gap,
            "max_iter": max_iter,
            "ridge": float(ridge),
            "rounds": int(found.last_iter_) + 1,
            "duality gap": float(found.best_gap_),
            "converged": bool(found.best_gap_ < found.nu),
            "rows of unknown group": int(evidence.counts[~known].sum()),
        },
        seen=(seen_rows(evidence, "fit"),),
    )


def _reduced(
    features: Floats,
    label: npt.NDArray[np.int64],
    groups: npt.NDArray[Any],
    *,
    constraint: str,
    allowed_gap: float,
    max_iter: int,
    ridge: float,
) -> Any:
    """What fairlearn finds."""
    from fairlearn import reductions

    moment = getattr(reductions, MOMENTS[constraint])(difference_bound=allowed_gap)
    made = reductions.ExponentiatedGradient(
        logistic_regression(ridge), moment, eps=allowed_gap, max_iter=max_iter
    )
    with fitting():
        # fairlearn 0.15 writes into pandas Series in a way that pandas 4 will refuse; it is right under pandas 3.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="fairlearn")
        made.fit(features, label, sensitive_features=groups)
    return made


def _heads(found: Any, scale: Scale) -> Heads:
    """The heads that have a weight, on the features as they are. A constant answer is a head without coefficients."""
    weights = found.weights_
    kept = [i for i in weights.index if weights[i] > 0]
    coefficients, intercepts = [], []
    for i in kept:
        predictor = found.predictors_[i]
        if hasattr(predictor, "coef_"):
            plain, intercept = scale.back(
                predictor.coef_[0].astype(np.float64), float(predictor.intercept_[0])
            )
        else:
            plain, intercept = np.zeros(len(scale.centre)), 1.0 if int(predictor.constant) == 1 else -1.0
        coefficients.append(plain)
        intercepts.append(intercept)
    shares = np.array([float(weights[i]) for i in kept])
    return Heads(
        coefficients=np.stack(coefficients), intercepts=np.array(intercepts), weights=shares / shares.sum()
    )


def _enough(attribute: str, groups: list[str], label: npt.NDArray[np.bool_], constraint: str) -> None:
    """Refuse groups whose rate is undefined on these rows."""
    names = sorted(set(groups))
    if len(names) < 2:
        raise DataError(f"{attribute} has the groups {first(names)}; a constraint needs two.")
    who = np.asarray(groups, dtype=object)
    wanted = {
        "true_positive_rate_parity": (True,),
        "false_positive_rate_parity": (False,),
        "equalized_odds": (True, False),
    }.get(constraint, ())
    for kind in wanted:
        without = [g for g in names if not np.any(label[who == g] == kind)]
        if without:
            raise DataError(
                f"{attribute}: {first(without)} has no row labelled {'positive' if kind else 'negative'}, which "
                f"{constraint} is about. Fit on more rows, or put small groups together."
            )
