"""The record of a method: who converged, what adds up, and the mean over references."""

import numpy as np
import pytest

from clinometer.errors import DataError, ModelError
from clinometer.interpret.attributions import allowed, attributed, averaged
from reference.subjects import applicants, fitted

ROWS = applicants(4)
SCORES = np.array([[1.0, 0.5, 0.0, 0.0]] * 4)


@pytest.fixture(scope="module")
def subject():
    return fitted(ROWS, epochs=1)


def record(subject, value, base=None, scores=SCORES, **more):
    return attributed(
        "made up",
        subject,
        ROWS,
        subject.names(ROWS),
        scores,
        value=np.asarray(value),
        base_value=base,
        **more,
    )


def test_the_tolerance_is_one_percent_or_a_part_of_the_spread():
    made = allowed(np.array([10.0, 0.1]), np.array([0.0, 0.0]), spread=4.0)
    np.testing.assert_allclose(made, [0.1, 0.01 * 0.2])


def test_who_converged_follows_from_the_sum(subject):
    value = np.array([1.5, 1.51, 1.6, 3.0])
    made = record(subject, value, np.zeros(4))
    np.testing.assert_array_equal(made.converged, [True, True, False, False])
    np.testing.assert_allclose(made.residual, value - 1.5)
    assert made.adds_up and "2 converged" in repr(made)


def test_without_a_promise_nothing_is_proved_and_it_says_so(subject):
    made = record(subject, np.ones(4), unit="", baseline="")
    assert not made.adds_up and np.isnan(made.residual).all() and np.isnan(made.tolerance).all()
    assert "adds up to nothing" in repr(made)


def test_the_mean_over_references_keeps_the_promise(subject):
    parts = [
        record(subject, np.full(4, 1.5), np.zeros(4), errors=np.full((4, 4), 0.3)),
        record(subject, np.full(4, 1.5), np.full(4, 0.9), SCORES * 0.4, errors=np.full((4, 4), 0.4)),
    ]
    mean = averaged(parts, "both")
    np.testing.assert_allclose(mean.base_value, 0.45)
    np.testing.assert_allclose(mean.scores, SCORES * 0.7)
    np.testing.assert_allclose(mean.residual, 0.0, atol=1e-12)
    np.testing.assert_allclose(mean.errors, 0.25)
    assert mean.baseline == "both"
    other = record(subject, np.full(4, 1.5), np.zeros(4))
    assert averaged([parts[0], other], "x").errors is None
    with pytest.raises(ModelError, match="have no mean"):
        averaged([], "nothing")


def test_a_score_that_is_not_finite_names_its_row(subject):
    broken = SCORES.copy()
    broken[2, 1] = np.nan
    with pytest.raises(DataError, match="'a0002'"):
        record(subject, np.ones(4), scores=broken)
