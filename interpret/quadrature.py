"""Nodes and weights on [0, 1]: Gauss's, and Kronrod's, which keep Gauss's nodes and add others between them."""

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.polynomial import legendre

Numbers = npt.NDArray[np.float64]


class Nested(NamedTuple):
    """A Gauss rule of n nodes, and the Kronrod rule of 2 n + 1 nodes that contains it."""

    points: Numbers  # (n,) Gauss's nodes
    weights: Numbers  # (n,) their weights in Gauss's rule
    kept: Numbers  # (n,) their weights in Kronrod's rule
    added: Numbers  # (n + 1,) Kronrod's other nodes
    added_weights: Numbers  # (n + 1,)


@cache
def gauss(n: int) -> tuple[Numbers, Numbers]:
    """Points and weights of Gauss-Legendre, (n,) each: exact for polynomials up to degree 2 n - 1."""
    x, w = legendre.leggauss(n)
    return (x + 1) / 2, w / 2


@cache
def nested(n: int) -> Nested:
    """Gauss-Legendre of n nodes with its Kronrod extension (Kronrod 1965; Monegato 1982, section 2).

    The nodes added are the zeros of Stieltjes' polynomial E of degree n + 1, for which P_n E is orthogonal to all
    polynomials up to degree n. Its coefficients in Legendre's basis solve a triangular system; the weights follow from
    the integrals of the first 2 n + 1 Legendre polynomials. Gauss is exact to degree 2 n - 1, Kronrod to 3 n + 1.
    """
    x, w = legendre.leggauss(n)
    dense, dense_weights = legendre.leggauss(2 * n + 2)
    basis = legendre.legvander(dense, n + 1)
    free = np.arange(n - 1, -1, -2)  # E has the parity of n + 1
    tested = np.arange(1, n + 1, 2)
    products = (basis * (dense_weights * basis[:, n])[:, None]).T @ basis
    coefficients = np.zeros(n + 2)
    coefficients[n + 1] = 1.0
    coefficients[free] = np.linalg.solve(products[np.ix_(tested, free)], -products[tested, n + 1])
    added = legendre.legroots(coefficients).real
    slope = legendre.legder(coefficients)
    for _ in range(3):  # Newton: the eigenvalues that legroots takes are a few digits short
        added = added - legendre.legval(added, coefficients) / legendre.legval(added, slope)
    everything = np.concatenate([x, added])
    integrals = np.zeros(2 * n + 1)
    integrals[0] = 2.0
    both = np.linalg.solve(legendre.legvander(everything, 2 * n).T, integrals) / 2
    made = Nested((x + 1) / 2, w / 2, both[:n], (added + 1) / 2, both[n:])
    for array in made:
        array.setflags(write=False)
    return made
