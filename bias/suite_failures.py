"""Which cases of a suite fail, by how much, and what was expected of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError, UsageError, first
from .suite_rows import Case
from .suites import SuiteTest

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


def failures(
    test: SuiteTest, cases: Sequence[Case], score: Floats | None, decided: npt.NDArray[Any] | None
) -> tuple[Bools, Floats, str, list[str]]:
    """Which cases fail, by how much (infinite where labels are compared), what was expected, what came.

    Raises:
        DataError: an expected label of another type than every prediction.
        UsageError: the test needs scores or decisions that are not there.
    """
    rows = np.array([case.row for case in cases])
    by_label = test.kind == "MFT" or (test.kind == "INV" and test.delta is None)
    if by_label and decided is None:
        raise UsageError(
            f"the test {test.name!r} ({test.kind}) compares decisions: give prediction= or threshold=."
        )
    if not by_label and score is None:
        raise UsageError(f"the test {test.name!r} ({test.kind}) compares scores: give score=.")
    references = np.array([case.row if case.reference is None else case.reference for case in cases])
    if decided is not None and by_label:
        came = decided[rows]
        wanted = decided[references]
        if test.kind == "MFT":
            _same_form(test, decided)
            wanted = np.full(len(rows), test.expect, dtype=object)
        failed = np.array(
            [a != b for a, b in zip(came.tolist(), wanted.tolist(), strict=True)], dtype=np.bool_
        )
        said = f"{test.expect}" if test.kind == "MFT" else "the same decision"
        return failed, np.full(len(rows), np.inf), said, [str(value) for value in came.tolist()]
    if score is None:
        raise UsageError(f"the test {test.name!r} compares scores: give score=.")
    moved = score[rows] - score[references]
    if test.kind == "INV" and test.delta is not None:
        missed = np.abs(moved) - test.delta
        return missed > 0, missed, f"a change of at most {test.delta:g}", [f"{value:+.4g}" for value in moved]
    forward = moved if test.direction == "up" else -moved
    missed = test.margin - forward
    said = f"{test.direction} by more than {test.margin:g}"
    return missed >= 0, missed, said, [f"{value:+.4g}" for value in moved]


def _same_form(test: SuiteTest, decided: npt.NDArray[Any]) -> None:
    held = set(decided.tolist())
    kinds = {type(value) for value in held}
    if type(test.expect) not in kinds:
        raise DataError(
            f"the test {test.name!r} expects {test.expect!r} ({type(test.expect).__name__}), predictions are "
            f"{first(held)} ({first(sorted(kind.__name__ for kind in kinds))}): nothing could be equal. Write the label as "
            "the model names it."
        )
