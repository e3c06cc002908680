"""A contrast with what it means: the gap in words, who weighs nothing, and which rows belong together."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from ..errors import DataError, UsageError, first
from ..records import Attribution, Contrast

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
OPENS = "sigmoid(("
ALIKE = 1e-6  # what float32 arithmetic alone may part
Kind = Literal["mean score", "conditional", "matched", "slice", "swapped pairs", "change along swaps"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftThreshold:
    """A smooth stand-in for "score above the threshold": 1 / (1 + exp(-(score - threshold) / temperature)).

    A surrogate: its mean is no selection rate. It exists so that a thresholded metric has a gradient and shares; the
    metric itself is to be computed from decisions.
    """

    threshold: float
    temperature: float  # in units of the score; the smaller, the nearer to the step, and the steeper

    def __post_init__(self) -> None:
        if not (math.isfinite(self.threshold) and 0 < self.temperature < math.inf):
            raise UsageError(
                f"threshold {self.threshold} and temperature {self.temperature}: a finite threshold and a temperature "
                "above 0 are expected."
            )

    def __call__(self, score: npt.ArrayLike) -> Floats:
        """The surrogate of each score, between 0 and 1."""
        made: Floats = expit((np.asarray(score, dtype=np.float64) - self.threshold) / self.temperature)
        return made

    def words(self, score: str) -> str:
        """What the surrogate is called, given what the score is called."""
        return f"{OPENS}{score} - {self.threshold:g}) / {self.temperature:g})"

    def is_of(self, target: str) -> bool:
        """Whether a target, in words, is this surrogate of some score."""
        return target.startswith(OPENS) and target.endswith(self.words("").removeprefix(OPENS))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GapContrast:
    """Row weights of a gap, `contrast`, with everything that is needed to read it and to draw rows again.

    Weights are positive for the group and negative for the reference, and each side's sum to one: the gap is a
    difference of two weighted means. Where `changes`, a row is a pair of texts and its value the change of the score
    from one to the other; weights then carry the sign with which the change is counted.
    """

    contrast: Contrast
    kind: Kind
    words: str  # "mean score of rows labelled positive: a minus b"
    soft: SoftThreshold | None = None  # what is done to a score before it is weighed
    cluster: Ints | None = None  # (example,) codes of rows that are drawn together; None: each by itself
    count: Ints | None = None  # (example,) how many equal rows each stands for; None: one
    stratum: Ints | None = None  # (example,) codes of what was matched on; None: not matched
    changes: bool = False
    left_out: Mapping[str, int] = field(default_factory=dict)  # why rows weigh nothing -> how many

    @property
    def ids(self) -> tuple[str, ...]:
        """The name of every row."""
        return self.contrast.ids

    @property
    def weights(self) -> Floats:
        """(example,) signed weights."""
        return np.asarray(self.contrast.weights, dtype=np.float64)

    def gap(self, score: npt.ArrayLike) -> float:
        """The gap of a score given per row (of its surrogate where there is one; of its change along swaps)."""
        given = np.asarray(score, dtype=np.float64)
        return self.contrast.gap(given if self.soft is None else self.soft(given))

    def __repr__(self) -> str:
        left = ", ".join(f"{n} {why}" for why, n in self.left_out.items() if n)
        return f"GapContrast({self.words}; n = {self.contrast.n_group} and {self.contrast.n_reference}" + (
            f"; weigh nothing: {left})" if left else ")"
        )


def meant(contrast: Contrast | GapContrast) -> GapContrast:
    """The contrast with its meaning; a bare one is a difference in mean score of rows drawn each by itself."""
    if isinstance(contrast, GapContrast):
        return contrast
    words = f"mean score: {contrast.group} minus {contrast.reference}"
    return GapContrast(contrast=contrast, kind="mean score", words=words)


def values_of(attribution: Attribution, contrast: GapContrast) -> Floats:
    """(example,) what the gap is a gap of: the target, or its change from base to value along swaps.

    Raises:
        DataError: the rows differ, or are in another order; the attribution is of another score than the contrast;
            a change is asked of a method that starts nowhere.
    """
    if attribution.ids != contrast.ids:
        odd = [a for a, b in zip(attribution.ids, contrast.ids, strict=False) if a != b]
        raise DataError(
            f"the attribution has {len(attribution)} rows and the contrast {len(contrast.ids)}, or another order"
            + (f"; first difference: {first(odd)}" if odd else "")
            + ". Make both from the same rows."
        )
    if contrast.soft is not None and not contrast.soft.is_of(attribution.target):
        raise DataError(
            f"the contrast weighs {contrast.soft.words('score')} and the attribution is of {attribution.target}. "
            "Attribute the surrogate itself (interpret.soft_targets.softened), or leave the surrogate out."
        )
    if not contrast.changes:
        return np.asarray(attribution.value, dtype=np.float64)
    if not attribution.adds_up:
        raise DataError(
            f"{attribution.method} starts from no other text, so that there is no change to divide. Take "
            "interpret.contrastive.along_swaps."
        )
    return np.asarray(attribution.value - attribution.base_value, dtype=np.float64)


def starts_of(attribution: Attribution, contrast: GapContrast) -> Floats | None:
    """(example,) the score of each row's baseline, where rows start from different ones; None where that is no part.

    A long text's baseline is a long row of stand-ins, and a model may score that otherwise than a short one: what the
    two sides differ in before any word counts. It is no part where rows start alike, where nothing is promised, and
    along swaps.
    """
    if contrast.changes or not attribution.adds_up:
        return None
    base = np.asarray(attribution.base_value, dtype=np.float64)
    used = base[contrast.weights != 0]
    alike = np.ptp(used) <= ALIKE * max(1.0, float(np.abs(used).max()))
    return None if alike else base
