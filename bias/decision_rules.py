"""Rules that turn scores or features into decisions, as numbers that can be saved."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from ..errors import DataError, UsageError, first

Floats = npt.NDArray[np.float64]
Groups = Sequence[str | None]


class Given(NamedTuple):
    """What is known of the rows that are decided; None where a column was not handed over."""

    score: Floats | None = None  # (row,)
    groups: Groups | None = None  # (row,) of the attribute that the rule was fitted for
    features: Floats | None = None  # (row, feature)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonThreshold:
    """Positive from one score on, for everybody: score >= threshold. No group is asked for."""

    kind: ClassVar[str] = "common_threshold"
    threshold: float  # infinity selects nobody

    def __post_init__(self) -> None:
        if math.isnan(self.threshold):
            raise UsageError("the threshold is no number; give one, or infinity for nobody.")

    @property
    def uses_group(self) -> bool:
        """Whether a row's group is needed to decide on it."""
        return False

    def chance(self, given: Given) -> Floats:
        """The chance of a positive decision, 0 or 1, (row,)."""
        made: Floats = (_score(given) >= self.threshold).astype(np.float64)
        return made

    def plain(self) -> dict[str, Any]:
        """As JSON types."""
        return {"threshold": _written(self.threshold)}

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "CommonThreshold":
        """From what `plain` wrote."""
        return cls(threshold=float(values["threshold"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """Two thresholds that a draw decides between, and a constant that a second one may put in their place.

    Positive with chance p0 [score op0 t0] + p1 [score op1 t1]; with `p_ignore` that share of the chance is replaced
    by `constant` (Hardt, Price & Srebro 2016, thresholds derived from a score; the form fairlearn's optimizer gives).
    """

    p0: float
    operator0: Literal[">", "<"]
    threshold0: float
    p1: float
    operator1: Literal[">", "<"]
    threshold1: float
    p_ignore: float = 0.0
    constant: float = 0.0

    def __post_init__(self) -> None:
        chances = (self.p0, self.p1, self.p_ignore, self.constant)
        if not all(-1e-12 <= p <= 1 + 1e-12 for p in chances) or abs(self.p0 + self.p1 - 1) > 1e-9:
            raise UsageError(
                f"chances are {chances}; numbers in [0, 1] are expected, the first two adding up to 1."
            )
        if not {self.operator0, self.operator1} <= {">", "<"}:
            raise UsageError(
                f"operators are {self.operator0!r} and {self.operator1!r}; '>' or '<' is expected."
            )
        if math.isnan(self.threshold0) or math.isnan(self.threshold1):
            raise UsageError("a threshold is no number.")

    def chance(self, score: Floats) -> Floats:
        """The chance of a positive decision at each score, (row,)."""
        made = self.p0 * _passes(score, self.operator0, self.threshold0).astype(np.float64)
        made = made + self.p1 * _passes(score, self.operator1, self.threshold1)
        if self.p_ignore:
            made = self.p_ignore * self.constant + (1 - self.p_ignore) * made
        return np.asarray(np.clip(made, 0.0, 1.0), dtype=np.float64)

    @property
    def settled(self) -> "Mixed":
        """The likelier of the two thresholds alone: nothing is drawn."""
        later = self.p1 > self.p0
        operator = self.operator1 if later else self.operator0
        threshold = self.threshold1 if later else self.threshold0
        return Mixed(
            p0=1.0, operator0=operator, threshold0=threshold, p1=0.0, operator1=operator, threshold1=threshold
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupThresholds:
    """Thresholds of each group. A row's group has to be known to decide on it.

    `otherwise` is the threshold (score >= otherwise) of rows whose group is unknown, or was not there when the rule
    was fitted. None refuses such rows: a rule that was not made for somebody decides nothing about them in silence.
    """

    kind: ClassVar[str] = "group_thresholds"
    rules: Mapping[str, Mixed]
    otherwise: float | None = None

    def __post_init__(self) -> None:
        if not self.rules:
            raise UsageError("there is no group: thresholds per group need one at least.")

    @property
    def uses_group(self) -> bool:
        """Whether a row's group is needed to decide on it."""
        return True

    def chance(self, given: Given) -> Floats:
        """The chance of a positive decision, (row,).

        Raises:
            UsageError: no scores or groups. DataError: a row of no fitted group, where nothing says what of those.
        """
        score = _score(given)
        if given.groups is None:
            raise UsageError("thresholds per group need the groups of the rows: give groups.")
        groups = np.asarray(given.groups, dtype=object)
        if groups.shape != score.shape:
            raise DataError(
                f"there are {len(groups)} groups for {len(score)} scores; one for each is expected."
            )
        made = np.zeros(len(score))
        stray = np.ones(len(score), dtype=np.bool_)
        for name, rule in self.rules.items():
            here = groups == name
            made[here] = rule.chance(score[here])
            stray &= ~here
        if stray.any():
            if self.otherwise is None:
                rows = np.flatnonzero(stray)
                met = dict.fromkeys("unknown" if g is None else str(g) for g in groups[rows])
                raise DataError(
                    f"{len(rows)} rows are of no group that the thresholds were fitted for: {first(met)}; first rows, "
                    f"counted from 0: {first(rows)}. Fitted: {first(self.rules, 12)}. Decide on them elsewhere, or fit "
                    "with otherwise= the threshold that such rows get."
                )
            made[stray] = score[stray] >= self.otherwise
        return made

    def plain(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "otherwise": None if self.otherwise is None else _written(self.otherwise),
            "groups": {
                name: {
                    field: _written(value) if isinstance(value := getattr(rule, field), float) else value
                    for field in Mixed.__slots__
                }
                for name, rule in self.rules.items()
            },
        }

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "GroupThresholds":
        """From what `plain` wrote."""
        rules = {}
        for name, rule in values["groups"].items():
            numbers: dict[str, Any] = {
                key: value if key.startswith("operator") else float(value) for key, value in rule.items()
            }
            rules[str(name)] = Mixed(**numbers)
        otherwise = values["otherwise"]
        return cls(rules=rules, otherwise=None if otherwise is None else float(otherwise))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Heads:
    """Linear heads on features that a model computes: one, or several that a draw decides between.

    A head says yes where features @ coefficients + intercept > 0. No group is asked for.
    """

    kind: ClassVar[str] = "heads"
    coefficients: Floats  # (head, feature)
    intercepts: Floats  # (head,)
    weights: Floats  # (head,) how likely each is taken; they add up to 1

    def __post_init__(self) -> None:
        shapes = (self.coefficients.shape, self.intercepts.shape, self.weights.shape)
        size = len(self.intercepts)
        if (
            self.coefficients.ndim != 2
            or shapes[0][0] != size
            or shapes[1:] != ((size,), (size,))
            or not size
        ):
            raise UsageError(
                f"coefficients, intercepts and weights have shapes {shapes}; (head, feature), (head,), (head,) expected."
            )
        if not all(np.isfinite(part).all() for part in (self.coefficients, self.intercepts)):
            raise UsageError("a coefficient or intercept is no finite number.")
        if not np.all(self.weights >= 0) or abs(float(self.weights.sum()) - 1) > 1e-9:
            raise UsageError(f"weights are {self.weights.tolist()}; 0 or more, adding up to 1, are expected.")

    @property
    def uses_group(self) -> bool:
        """Whether a row's group is needed to decide on it."""
        return False

    def margins(self, given: Given) -> Floats:
        """features @ coefficients + intercept, (row, head). A row's numbers do not depend on the rows beside it.

        Raises:
            UsageError: no features. DataError: features of another number, or no finite numbers.
        """
        if given.features is None:
            raise UsageError("this rule decides on the model's features: give features, (row, feature).")
        features = np.ascontiguousarray(given.features, dtype=np.float64)
        if features.ndim != 2 or features.shape[1] != self.coefficients.shape[1]:
            raise DataError(
                f"features have shape {features.shape}; (row, {self.coefficients.shape[1]}) as fitted is expected."
            )
        bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
        if bad.size:
            raise DataError(
                f"features are no finite numbers in {bad.size} rows, counted from 0: {first(bad)}."
            )
        # Not a matrix product, whose last bits depend on how many rows there are.
        columns = [
            (features * c).sum(axis=1) + b for c, b in zip(self.coefficients, self.intercepts, strict=True)
        ]
        return np.stack(columns, axis=1)

    def chance(self, given: Given) -> Floats:
        """The chance of a positive decision: the weights of the heads that say yes, (row,)."""
        yes = self.margins(given) > 0
        yes = yes[:, self.weights > 0]
        made: Floats = (yes * self.weights[self.weights > 0]).sum(axis=1)
        return np.where(yes.all(axis=1), 1.0, np.where(yes.any(axis=1), np.clip(made, 0.0, 1.0), 0.0))

    def score(self, given: Given) -> Floats:
        """The mean of the heads' probabilities, (row,): a score, whose calibration has yet to be shown."""
        made: Floats = np.clip((expit(self.margins(given)) * self.weights).sum(axis=1), 0.0, 1.0)
        return made

    def plain(self) -> dict[str, Any]:
        """As JSON types."""
        return {name: getattr(self, name).tolist() for name in ("coefficients", "intercepts", "weights")}

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "Heads":
        """From what `plain` wrote."""
        arrays = {
            name: np.array(values[name], dtype=np.float64)
            for name in ("coefficients", "intercepts", "weights")
        }
        return cls(**arrays)


Rule = CommonThreshold | GroupThresholds | Heads
KINDS: Mapping[str, type[CommonThreshold] | type[GroupThresholds] | type[Heads]] = {
    "common_threshold": CommonThreshold,
    "group_thresholds": GroupThresholds,
    "heads": Heads,
}


def _passes(score: Floats, operator: str, threshold: float) -> npt.NDArray[np.bool_]:
    made: npt.NDArray[np.bool_] = score > threshold if operator == ">" else score < threshold
    return made


def _score(given: Given) -> Floats:
    if given.score is None:
        raise UsageError("this rule decides on scores: give score.")
    score = np.asarray(given.score, dtype=np.float64)
    if score.ndim != 1:
        raise DataError(f"score has shape {score.shape}; one number for each row is expected.")
    bad = np.flatnonzero(~np.isfinite(score))
    if bad.size:
        raise DataError(
            f"score has {bad.size} values that are missing or not finite; first rows, counted from 0: {first(bad)}. "
            "Score these rows again, or leave them out."
        )
    return score


def _written(value: float) -> float | str:
    """A number as JSON knows it: infinities as words."""
    return value if math.isfinite(value) else ("inf" if value > 0 else "-inf")
