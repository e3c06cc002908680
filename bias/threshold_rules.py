"""Thresholds moved to close a gap: one for everybody, or one for each group.

Moving a common threshold uses nobody's group when it decides. Thresholds per group do, which the law of some
places and uses forbids; nothing here picks them by itself.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from ..errors import DataError, UsageError, did_you_mean, first
from ..evidence import Evidence
from .decision_rules import CommonThreshold, GroupThresholds, Mixed
from .metrics import RATES
from .mitigation import Mitigation
from .seen_rows import seen_rows
from .thresholds import Sweep, sweep

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Constraint = Literal[
    "demographic_parity",
    "equalized_odds",
    "false_negative_rate_parity",
    "false_positive_rate_parity",
    "selection_rate_parity",
    "true_negative_rate_parity",
    "true_positive_rate_parity",
]
Objective = Literal[
    "accuracy_score", "balanced_accuracy_score", "selection_rate", "true_positive_rate", "true_negative_rate"
]
Utility = Literal["accuracy", "balanced_accuracy"]


def common_threshold(threshold: float, *, name: str | None = None) -> Mitigation:
    """One threshold for everybody that somebody names: positive where score >= threshold. It was fitted on no rows."""
    return Mitigation(
        name=name or f"threshold {threshold:.4g} for all",
        rule=CommonThreshold(threshold=float(threshold)),
        settings={"how": "named"},
    )


def move_threshold(
    evidence: Evidence,
    attribute: str,
    *,
    metric: str = "true_positive_rate",
    floor: float,
    utility: Utility = "accuracy",
    name: str | None = None,
) -> Mitigation:
    """The common threshold with the smallest gap among those that keep the utility: no group is used to decide.

    The gap is the largest difference of any two groups in `metric`, on these rows. A threshold lies half way between
    two neighbouring scores; of several with the same gap the one with the most utility is taken, then the lowest.

    Args:
        evidence: rows to fit on, with a score, a label and groups; rows of unknown group count for the utility alone.
        attribute: the group column whose gap is closed.
        metric: a rate of `metrics.METRICS`.
        floor: the smallest utility accepted on these rows. Without one the best threshold selects nobody, or everybody.
        utility: accuracy, or the mean of true positive and true negative rate.
        name: of the mitigation.

    Raises:
        UsageError: no score or label, an unknown metric or column, or a floor that no threshold keeps.
        DataError: weighted rows, or a group for which no threshold defines the metric.
    """
    rates = [rate.name for rate in RATES]
    if metric not in rates:
        raise UsageError(f"there is no rate {metric!r}: {did_you_mean(metric, rates)}")
    if utility not in get_args(Utility):
        raise UsageError(f"utility is {utility!r}; one of {first(get_args(Utility))} is expected.")
    score, label, groups = _columns(evidence, attribute, doing="a common threshold")
    counts = evidence.counts
    swept = sweep(score, label, groups, count=counts)
    known = sorted({g for g in groups if g is not None})
    place = [swept.groups.index(g) for g in known]
    k, n = (part[place] for part in swept.rate(metric))
    never = [g for g, row in zip(known, n, strict=True) if not row.any()]
    if never or len(known) < 2:
        raise DataError(
            f"{attribute}: {metric} has nobody in its denominator for {first(never)} at any threshold."
            if never
            else f"{attribute} has the groups {first(known)}; a gap needs two."
        )
    with np.errstate(invalid="ignore"):
        shown = k / n  # NaN where a group has nobody in the denominator: there the gap is undefined
    gap = shown.max(axis=0) - shown.min(axis=0)
    value = _utility(swept, utility)
    open_to = np.flatnonzero((value >= floor) & np.isfinite(gap))
    if not open_to.size:
        raise UsageError(
            f"no threshold keeps a {utility} of {floor:g} with {metric} defined in every group: the highest is "
            f"{np.nanmax(value):.4g}. Lower the floor."
        )
    best = min(open_to.tolist(), key=lambda i: (round(float(gap[i]), 12), -float(value[i]), i))
    return Mitigation(
        name=name or f"one threshold, {metric}",
        rule=CommonThreshold(threshold=_between(swept.threshold, best)),
        settings={
            "how": "smallest gap that keeps the floor",
            "attribute": attribute,
            "metric": metric,
            "utility": utility,
            "floor": float(floor),
            "gap on the rows it was fitted on": float(gap[best]),
            "utility on the rows it was fitted on": float(value[best]),
            "rows of unknown group": int(counts[[g is None for g in groups]].sum()),
        },
        seen=(seen_rows(evidence, "fit"),),
    )


def group_thresholds(
    evidence: Evidence,
    attribute: str,
    *,
    constraint: Constraint = "true_positive_rate_parity",
    objective: Objective = "accuracy_score",
    allowed_gap: float | None = None,
    randomised: bool = True,
    otherwise: float | None = None,
    grid_size: int = 1000,
    seed: int = 0,
    name: str | None = None,
) -> Mitigation:
    """Thresholds of each group that meet a constraint at the least cost (fairlearn's ThresholdOptimizer).

    Equality is in general met exactly only by a draw between two thresholds (Hardt, Price & Srebro 2016). The draw is
    a hash of the row's id and `seed`, and no random number: a row is decided the same way each time.

    Departure from fairlearn's `predict`: a row of a group that was not there when the rule was fitted, or of an unknown
    one, is refused, or gets the threshold `otherwise`; there it is decided negative without a word.

    Args:
        evidence: rows to fit on, with a score, a label and groups; rows of unknown group are left out.
        attribute: the group column that the rule asks for.
        constraint: what is made equal, as fairlearn names it.
        objective: what is made as large as the constraint allows; for equalized_odds accuracy or balanced accuracy.
        allowed_gap: how far apart the groups may stay; None is not at all. Not for equalized_odds.
        randomised: False takes the likelier of each group's two thresholds, so that nothing is drawn and the constraint
            is met approximately. Not for equalized_odds, which a threshold alone cannot meet.
        otherwise: the threshold (score >= otherwise) of rows of no fitted group; None refuses them.
        grid_size: how finely the values of the constraint are searched.
        seed: of the draws.
        name: of the mitigation.

    Raises:
        UsageError: no score or label, unknown names, options that do not go together.
        DataError: weighted rows, fewer than two groups, or a group with one label only.
    """
    if constraint not in get_args(Constraint):
        raise UsageError(
            f"there is no constraint {constraint!r}: {did_you_mean(constraint, get_args(Constraint))}"
        )
    if objective not in get_args(Objective):
        raise UsageError(
            f"there is no objective {objective!r}: {did_you_mean(objective, get_args(Objective))}"
        )
    if constraint == "equalized_odds":
        if objective not in {"accuracy_score", "balanced_accuracy_score"}:
            raise UsageError(
                f"equalized_odds is not sought for the best {objective}: give accuracy_score or "
                "balanced_accuracy_score."
            )
        if allowed_gap is not None or not randomised:
            raise UsageError(
                "equalized_odds takes no allowed_gap and is met by a draw only: leave allowed_gap and randomised out, "
                "or equalise one of the two rates."
            )
    if allowed_gap is not None and not 0 < allowed_gap < 1:
        raise UsageError(
            f"allowed_gap is {allowed_gap}; a number between 0 and 1, or None for none, is expected."
        )
    score, label, groups = _columns(evidence, attribute, doing="thresholds per group")
    known = np.array([g is not None for g in groups], dtype=np.bool_)
    counts = evidence.counts
    names = np.asarray(groups, dtype=object)[known].astype(str)
    _two_labels(attribute, names, label[known])
    times = counts[known]
    rules = _optimised(
        np.repeat(score[known], times),
        np.repeat(label[known], times),
        np.repeat(names, times),
        constraints=constraint,
        objective=objective,
        tol=allowed_gap,
        grid_size=grid_size,
    )
    return Mitigation(
        name=name or f"thresholds by {attribute}, {constraint}",
        rule=GroupThresholds(
            rules=rules if randomised else {group: rule.settled for group, rule in rules.items()},
            otherwise=otherwise,
        ),
        attribute=attribute,
        seed=seed,
        settings={
            "constraint": constraint,
            "objective": objective,
            "allowed_gap": allowed_gap,
            "randomised": randomised,
            "grid_size": grid_size,
            "rows of unknown group": int(counts[~known].sum()),
        },
        seen=(seen_rows(evidence, "fit"),),
    )


def _optimised(score: Floats, label: Bools, groups: npt.NDArray[Any], **settings: Any) -> dict[str, Mixed]:
    """What fairlearn finds, one rule for each group."""
    from fairlearn.postprocessing import ThresholdOptimizer
    from sklearn.base import BaseEstimator

    class Scored(BaseEstimator):  # type: ignore[misc]
        """A model whose output is already there."""

        def fit(self, x: Any, y: Any) -> "Scored":
            return self

        def predict(self, x: Any) -> Any:
            return x[:, 0]

        def __sklearn_is_fitted__(self) -> bool:
            return True

    optimizer = ThresholdOptimizer(estimator=Scored(), prefit=True, predict_method="predict", **settings)
    optimizer.fit(score[:, None], label.astype(np.int64), sensitive_features=groups)
    made = {}
    for group, found in optimizer.interpolated_thresholder_.interpolation_dict.items():
        made[str(group)] = Mixed(
            p0=float(found.p0),
            operator0=found.operation0.operator,
            threshold0=float(found.operation0.threshold),
            p1=float(found.p1),
            operator1=found.operation1.operator,
            threshold1=float(found.operation1.threshold),
            p_ignore=float(found.get("p_ignore", 0.0)),
            constant=float(found.get("prediction_constant", 0.0)),
        )
    return made


def _columns(
    evidence: Evidence, attribute: str, *, doing: str
) -> tuple[Floats, Bools, tuple[str | None, ...]]:
    if evidence.score is None or evidence.label is None:
        raise UsageError(f"{doing} need a score and a label to be fitted: name both columns.")
    if attribute not in evidence.groups:
        raise UsageError(f"{attribute!r} is no group column: {did_you_mean(attribute, evidence.groups)}")
    if evidence.weight is not None:
        raise DataError(
            f"rows are weighted by {evidence.weight!r}: {doing} are fitted to rows as they are, each once or `count` "
            "times. Fit on unweighted rows; the judgement may weigh them."
        )
    return evidence.column(evidence.score), evidence.binary(evidence.label), evidence.group(attribute)


def _two_labels(attribute: str, groups: npt.NDArray[Any], label: Bools) -> None:
    names = np.unique(groups).tolist()
    if len(names) < 2:
        raise DataError(f"{attribute} has the groups {first(names)}; thresholds per group need two.")
    one = [g for g in names if label[groups == g].all() or not label[groups == g].any()]
    if one:
        raise DataError(
            f"{attribute}: all rows of {first(one)} have the same label, so that one of their error rates is undefined. "
            "Fit on more rows, put small groups together, or leave them out (then give otherwise=)."
        )


def _utility(swept: Sweep, utility: Utility) -> Floats:
    """Of all rows at each threshold; NaN where it is undefined."""
    tp, fp, fn, tn = (part.sum(axis=0) for part in (swept.tp, swept.fp, swept.fn, swept.tn))
    if utility == "accuracy":
        made: Floats = (tp + tn) / (tp + tn + fp + fn)
        return made
    with np.errstate(invalid="ignore"):
        made = (tp / (tp + fn) + tn / (tn + fp)) / 2
    return made


def _between(thresholds: Sequence[float] | Floats, at: int) -> float:
    """Half way from the score under a threshold to the threshold, where a number lies between."""
    threshold = float(thresholds[at])
    if at == 0 or not math.isfinite(threshold):
        return threshold
    below = float(thresholds[at - 1])
    middle = below + (threshold - below) / 2
    return middle if below < middle <= threshold else threshold
