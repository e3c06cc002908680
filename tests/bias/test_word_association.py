"""WEAT: its plain twin, its extremes, the size of its test, refusals."""

import numpy as np
import pytest

from clinometer.bias.word_association import weat
from clinometer.errors import DataError, UsageError
from reference import stereotype_scores as slow


def sets(seed=0, n=5, m=4, lean=0.0):
    generator = np.random.default_rng(seed)
    a, b = generator.normal(size=(m, 6)), generator.normal(size=(m, 6))
    x = generator.normal(size=(n, 6)) + lean * a.mean(axis=0)
    y = generator.normal(size=(n, 6)) + lean * b.mean(axis=0)
    return x, y, a, b


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_its_plain_twin(seed):
    made = weat(*sets(seed), replicates=200)
    effect, p = slow.weat(*(one.tolist() for one in sets(seed)))
    assert made.estimate == pytest.approx(effect, abs=1e-9) and made.p == pytest.approx(p, abs=1e-9)
    assert made.test == "all 252 divisions, one-sided" and made.ideal == 0
    assert made.low <= made.high and -2 < made.estimate < 2


def test_laws():
    x, y, a, b = sets(1)
    made = weat(x, y, a, b, replicates=50)
    assert weat(y, x, a, b, replicates=50).estimate == pytest.approx(-made.estimate)
    assert weat(x, y, b, a, replicates=50).estimate == pytest.approx(-made.estimate)
    assert weat(7 * x, y, a, 3 * b, replicates=50).estimate == pytest.approx(made.estimate), (
        "cosines have no length"
    )


def test_words_that_lean_are_found_and_those_that_do_not_are_not():
    leaning = weat(*sets(2, n=8, lean=4.0), replicates=300)
    assert leaning.estimate > 1.5 and leaning.p < 0.001 and leaning.low > 1
    p = [weat(*sets(seed), replicates=50).p for seed in range(60)]
    assert np.mean(np.array(p) < 0.05) < 0.15 and 0.3 < np.mean(p) < 0.7


def test_drawn_divisions_come_near_to_all_of_them():
    given = sets(3, n=9)
    drawn = weat(*given, replicates=50, permutations=4000)
    assert drawn.test.startswith("4000 divisions drawn")
    assert drawn.p == pytest.approx(slow.weat(*(one.tolist() for one in given))[1], abs=0.03)
    assert weat(*given, replicates=50, permutations=4000) == drawn


def test_refusals():
    x, y, a, b = sets()
    with pytest.raises(DataError, match=r"X has shape \(1, 6\); 2 vectors or more"):
        weat(x[:1], y, a, b)
    with pytest.raises(DataError, match="vectors '0' of A are zero"):
        weat(x, y, np.zeros((1, 6)), b)
    with pytest.raises(DataError, match="dimensions; one number"):
        weat(x[:, :5], y, a, b)
    with pytest.raises(DataError, match="undefined, 0 by 0"):
        weat(x, y, a, a)
    with pytest.raises(UsageError, match="permutations is 9"):
        weat(*sets(3, n=9), replicates=50, permutations=9)
