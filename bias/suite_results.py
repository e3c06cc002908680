"""What a model does with a suite of templates: failure rates, by which words, and the worst cases."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError, UsageError, first
from ..records import EXIT_CODES, PRECEDENCE, Verdict, plain
from .clusters import clustered_rate
from .intervals import Interval, clopper_pearson, wilson
from .multiplicity import holm
from .pair_statistics import FEW_PAIRS, Bound, rate_bound
from .suite_failures import failures
from .suite_rows import Case, Expanded
from .suites import EVERY_CASE, TEMPLATE, SuiteTest

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
MINIMUM = 2  # clusters that a rate needs to be judged


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotRate:
    """How often cases with one value of a slot fail."""

    slot: str
    value: str
    n: int
    n_failed: int
    rate: float
    low: float | None  # None where all of them are in one cluster
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstCase:
    """A failed case to look at, those that miss by most first."""

    id: str
    text: str
    compared_with: str  # the text it is compared with; "" for an MFT
    expected: str
    got: str
    missed_by: float | None  # how far the score is beyond what was allowed; None where labels are compared


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One test: how often it failed."""

    name: str
    kind: str
    n: int  # cases
    n_clusters: int
    n_failed: int
    rate: float
    low: float | None
    high: float | None
    interval: str
    slots: tuple[SlotRate, ...]
    worst: tuple[WorstCase, ...]
    tolerance: float | None
    upper_bound: float | None  # one-sided 1 - alpha
    p: float | None  # of "the failure rate is no more than the tolerance"
    p_adjusted: float | None  # Holm over the tests with a tolerance
    verdict: Verdict | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteResult:
    """Every test of a suite."""

    suite: str
    version: str
    tests: tuple[Outcome, ...]
    verdict: Verdict | None  # None: no test has a tolerance
    set_by: str | None
    confidence: float
    alpha: float

    @property
    def exit_code(self) -> int:
        """0 within tolerance or nothing gated, 1 exceeds, 4 inconclusive or not assessed."""
        return EXIT_CODES[self.verdict]

    @property
    def frame(self) -> Any:
        """Every test as a row of a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame(
            [{k: v for k, v in plain(one).items() if k not in ("slots", "worst")} for one in self.tests]
        )

    def __repr__(self) -> str:
        shown = ", ".join(f"{one.name} {one.n_failed} of {one.n}" for one in self.tests)
        return (
            f"SuiteResult({self.suite}: failed {shown}; verdict: {self.verdict or 'no tolerance declared'})"
        )


def check(
    expanded: Expanded,
    *,
    score: npt.ArrayLike | None = None,
    prediction: npt.ArrayLike | None = None,
    threshold: float | None = None,
    confidence: float = 0.95,
    alpha: float = 0.05,
    n_worst: int = 5,
) -> SuiteResult:
    """Every test of the suite against the scores of its rows.

    An MFT fails where the prediction is not the expected label, an INV where the score differs from the reference's
    by more than delta (without delta: where the decision flips), a DIR where the score does not move the way it should
    by more than its margin. Cases of one template are not independent: intervals and verdicts go by the test's clusters
    (templates by default), so that a test of one template has a rate and no interval.

    Args:
        score: (row,) scores of `expanded.rows`, larger = more positive.
        prediction: (row,) labels or bool; by default the score above `threshold`.

    Raises:
        DataError: lengths that differ, scores that are not finite, an expected label that is never predicted in a form
            that could be equal.
        UsageError: a test needs scores or predictions that are not given.
    """
    if not 0 < alpha < 0.5 or not 0 < confidence < 1 or n_worst < 0:
        raise UsageError(f"alpha {alpha}, confidence {confidence}, n_worst {n_worst} are out of range.")
    values = _numbers(expanded, score)
    decided = _decisions(expanded, values, prediction, threshold)
    made: list[Outcome] = []
    bounds: list[Bound | None] = []
    for at, test in enumerate(expanded.suite.tests):
        cases = [case for case in expanded.cases if case.test == at]
        outcome, bound = _outcome(expanded, test, cases, values, decided, confidence, alpha, n_worst)
        made.append(outcome)
        bounds.append(bound)
    adjusted = iter(holm([bound.p for bound in bounds if bound is not None]).tolist())
    judged = [
        one if bound is None else _judged(one, bound, next(adjusted), alpha)
        for one, bound in zip(made, bounds, strict=True)
    ]
    verdicts = [one.verdict for one in judged if one.verdict is not None]
    return SuiteResult(
        suite=expanded.suite.name,
        version=expanded.suite.version,
        tests=tuple(judged),
        verdict=next((v for v in PRECEDENCE if v in verdicts), None),
        set_by=expanded.suite.set_by,
        confidence=confidence,
        alpha=alpha,
    )


def _numbers(expanded: Expanded, score: npt.ArrayLike | None) -> Floats | None:
    if score is None:
        return None
    try:
        values = np.asarray(score, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"scores are no numbers: {error}.") from error
    _length(expanded, values, "scores")
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise DataError(
            f"{bad.size} scores are not finite; first rows: {first(expanded.rows.ids[i] for i in bad)}."
        )
    return values


def _decisions(
    expanded: Expanded, values: Floats | None, prediction: npt.ArrayLike | None, threshold: float | None
) -> npt.NDArray[Any] | None:
    if prediction is not None and threshold is not None:
        raise UsageError("a threshold and predictions are given: one of them decides.")
    if threshold is not None:
        if values is None:
            raise UsageError("a threshold needs scores.")
        return values > threshold
    if prediction is None:
        return None
    decided = np.asarray(prediction)
    _length(expanded, decided, "predictions")
    return decided


def _length(expanded: Expanded, values: npt.NDArray[Any], what: str) -> None:
    if values.shape != (len(expanded.rows),):
        raise DataError(
            f"{what} have shape {values.shape}; {(len(expanded.rows),)} is expected, one for each row, in order."
        )


def _outcome(
    expanded: Expanded,
    test: SuiteTest,
    cases: Sequence[Case],
    score: Floats | None,
    decided: npt.NDArray[Any] | None,
    confidence: float,
    alpha: float,
    n_worst: int,
) -> tuple[Outcome, Bound | None]:
    failed, missed, expected, got = failures(test, cases, score, decided)
    codes = _codes(test, cases)
    n, k, n_clusters = len(cases), int(np.count_nonzero(failed)), len(np.unique(codes))
    shown, kind = _interval(failed, codes, confidence)
    bound, reason = None, ""
    if test.tolerance is not None:
        if n_clusters < MINIMUM:
            reason = f"all cases are of one {test.cluster}: nothing is known beyond it"
        else:
            cluster = None if n_clusters == n else codes
            bound = rate_bound(failed, test.tolerance, cluster=cluster, alpha=alpha)
    verdict: Verdict | None = "not assessed" if reason else None
    order = [i for i in np.argsort(-missed, kind="stable").tolist() if failed[i]][:n_worst]
    text = expanded.rows.inputs["text"]
    worst = tuple(
        WorstCase(
            id=expanded.rows.ids[cases[i].row],
            text=str(text[cases[i].row]),
            compared_with="" if cases[i].reference is None else str(text[cases[i].reference]),
            expected=expected,
            got=got[i],
            missed_by=float(missed[i]) if np.isfinite(missed[i]) else None,
        )
        for i in order
    )
    outcome = Outcome(
        name=test.name,
        kind=test.kind,
        n=n,
        n_clusters=n_clusters,
        n_failed=k,
        rate=k / n,
        low=None if shown is None else shown.low,
        high=None if shown is None else shown.high,
        interval=kind,
        slots=_by_slot(cases, failed, codes, confidence),
        worst=worst,
        tolerance=test.tolerance,
        upper_bound=None if bound is None else bound.upper,
        p=None if bound is None else bound.p,
        p_adjusted=None,
        verdict=verdict,
        reason=reason,
    )
    return outcome, bound


def _codes(test: SuiteTest, cases: Sequence[Case]) -> Ints:
    if test.cluster == EVERY_CASE:
        return np.arange(len(cases))
    names = [str(case.template) if test.cluster == TEMPLATE else case.values[test.cluster] for case in cases]
    known = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.array([known[name] for name in names], dtype=np.int64)


def _interval(failed: Bools, codes: Ints, confidence: float) -> tuple[Interval | None, str]:
    n, k, n_clusters = len(failed), int(np.count_nonzero(failed)), len(np.unique(codes))
    if n_clusters == n and n > 1:
        if n < FEW_PAIRS or k in (0, n):
            return clopper_pearson(k, n, confidence), "Clopper-Pearson"
        return wilson(k, n, confidence), "Wilson"
    if n_clusters < MINIMUM:
        return None, "none: one cluster"
    return clustered_rate(failed, cluster=codes).interval(confidence), "Wilson at the effective number"


def _by_slot(cases: Sequence[Case], failed: Bools, codes: Ints, confidence: float) -> tuple[SlotRate, ...]:
    made = []
    for slot in dict.fromkeys(name for case in cases for name in case.values):
        values = [case.values.get(slot) for case in cases]
        for value in dict.fromkeys(values):
            if value is None:
                continue
            where = np.array([one == value for one in values])
            part = failed[where]
            shown, _ = _interval(part, codes[where], confidence)
            k = int(np.count_nonzero(part))
            made.append(
                SlotRate(
                    slot=slot,
                    value=value,
                    n=len(part),
                    n_failed=k,
                    rate=k / len(part),
                    low=None if shown is None else shown.low,
                    high=None if shown is None else shown.high,
                )
            )
    return tuple(made)


def _judged(one: Outcome, bound: Bound, adjusted: float, alpha: float) -> Outcome:
    verdict: Verdict = "inconclusive"
    reason = ""
    if adjusted < alpha:
        verdict = "exceeds tolerance"
    elif one.tolerance is not None and bound.upper <= one.tolerance:
        verdict = "within tolerance"
    else:
        more = "cases" if one.n_clusters == one.n else "clusters"
        reason = f"the failure rate may be up to {bound.upper:.3f}: more {more} would settle it"
    return dataclasses.replace(one, p_adjusted=adjusted, verdict=verdict, reason=reason)
