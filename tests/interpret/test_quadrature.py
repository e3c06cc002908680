"""Gauss's and Kronrod's rules: published nodes, the degrees they are exact to, and that nodes are kept."""

import numpy as np
import pytest

from clinometer.interpret.quadrature import gauss, nested


@pytest.mark.parametrize("n", [1, 2, 3, 7, 10, 20, 41, 160])
def test_kronrod_is_exact_to_degree_3n_plus_1_and_gauss_to_2n_minus_1(n):
    rule = nested(n)
    points = np.concatenate([rule.points, rule.added])
    weights = np.concatenate([rule.kept, rule.added_weights])
    for degree in range(3 * n + 2):
        assert weights @ points**degree == pytest.approx(1 / (degree + 1), abs=1e-14)
    for degree in range(2 * n):
        assert rule.weights @ rule.points**degree == pytest.approx(1 / (degree + 1), abs=1e-14)
    assert abs(rule.weights @ (rule.points - 0.5) ** (2 * n) - 0.25**n / (2 * n + 1)) > 0, "and no further"
    assert (weights > 0).all() and (points > 0).all() and (points < 1).all()
    between = np.searchsorted(np.sort(rule.added), np.sort(rule.points))
    assert between.tolist() == list(range(1, n + 1)), "one of Gauss's between each two that are added"


def test_the_nodes_are_those_published():
    """QUADPACK (Piessens et al. 1983), qk21: the outermost abscissa and its weight; qk15 likewise."""
    rule = nested(10)
    at = rule.added.argmax()
    assert 2 * rule.added[at] - 1 == pytest.approx(0.995657163025808080735527280689003, abs=1e-14)
    assert 2 * rule.added_weights[at] == pytest.approx(0.011694638867371874278064396062192, abs=1e-14)
    assert (2 * nested(7).added - 1).max() == pytest.approx(0.991455371120812639206854697526329, abs=1e-14)


def test_gauss_is_the_first_part_of_the_nested_rule():
    points, weights = gauss(20)
    np.testing.assert_array_equal(points, nested(20).points)
    np.testing.assert_array_equal(weights, nested(20).weights)
