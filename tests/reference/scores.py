"""The score test of a difference of two rates, the slow way: the likelihood is maximised by search."""

import math

from scipy import stats
from scipy.optimize import minimize_scalar


def score_p(k1, n1, k2, n2, tolerance):
    """p of |p1 - p2| <= tolerance from the statistic at the restricted maximum, both tails."""
    if k1 / n1 < k2 / n2:
        k1, n1, k2, n2 = k2, n2, k1, n1

    def cost(q):
        return -(
            k1 * math.log(q)
            + (n1 - k1) * math.log(1 - q)
            + k2 * math.log(q - tolerance)
            + (n2 - k2) * math.log(1 - q + tolerance)
        )

    q = minimize_scalar(
        cost, bounds=(tolerance + 1e-9, 1 - 1e-9), method="bounded", options={"xatol": 1e-12}
    ).x
    se = math.sqrt(q * (1 - q) / n1 + (q - tolerance) * (1 - q + tolerance) / n2)
    gap = k1 / n1 - k2 / n2
    return stats.norm.sf((gap - tolerance) / se) + stats.norm.sf((gap + tolerance) / se)
