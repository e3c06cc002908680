"""What a comparison of means, of paired decisions or of clusters could detect: planning, never a verdict."""

import math

from scipy import stats

from ..errors import UsageError
from .intervals import MOST_ROWS


def detectable_difference_of_means(
    variance_1: float, n_1: int, variance_2: float, n_2: int, *, alpha: float = 0.05, power: float = 0.8
) -> float:
    """The smallest difference of two means that Welch's test finds with this power, in units of the values.

    From the noncentral t distribution, without the chance of rejecting on the wrong side.
    """
    _levels(alpha, power)
    if n_1 < 2 or n_2 < 2:
        raise UsageError(f"{n_1} and {n_2} rows: two in each group are needed for a standard error.")
    v1, v2 = variance_1 / n_1, variance_2 / n_2
    total = v1 + v2
    part = v1 / total if total > 0 else 0.5
    df = 1 / (part**2 / (n_1 - 1) + (1 - part) ** 2 / (n_2 - 1))
    return math.sqrt(total) * _noncentrality(df, alpha, power)


def detectable_paired_difference_of_means(
    variance: float, n: int, *, alpha: float = 0.05, power: float = 0.8
) -> float:
    """The smallest mean change that the paired t test finds with this power; `variance` is of the changes."""
    _levels(alpha, power)
    if n < 2:
        raise UsageError(f"{n} rows: two are needed for a standard error.")
    return math.sqrt(variance / n) * _noncentrality(n - 1.0, alpha, power)


def detectable_paired_difference(
    changed: float, n: int, *, alpha: float = 0.05, power: float = 0.8
) -> float | None:
    """The smallest difference of two rates on the same rows that McNemar's test finds with this power.

    Miettinen's unconditional approximation (1968, eq. 5.2) for a share `changed` of rows that change either way:
    sqrt(n) difference = z sqrt(changed) + z_power sqrt(changed - difference^2).

    Returns:
        The difference; None where even all changes in one direction would not be found.

    Raises:
        UsageError: a share outside 0 to 1, no rows, or impossible levels.
    """
    _levels(alpha, power)
    if not 0 <= changed <= 1 or n < 1:
        raise UsageError(f"{changed} of {n} rows change: a share between 0 and 1, and rows, are expected.")
    z, target = float(stats.norm.ppf(1 - alpha / 2)), float(stats.norm.ppf(power))
    low, high = 0.0, changed

    def found(difference: float) -> bool:
        spread = math.sqrt(max(0.0, changed - difference**2))
        return math.sqrt(n) * difference >= z * math.sqrt(changed) + target * spread

    if changed == 0 or not found(high):
        return None
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high


def paired_rows_needed(
    changed: float, difference: float, *, alpha: float = 0.05, power: float = 0.8
) -> int | None:
    """Rows in all with which McNemar's test finds this difference; as `detectable_paired_difference`.

    None for a difference so small that a billion rows would not do.

    Raises:
        UsageError: a difference larger than the share that changes, or impossible levels.
    """
    _levels(alpha, power)
    gap = abs(difference)
    if not 0 < changed <= 1 or gap > changed:
        raise UsageError(f"a difference of {gap} cannot come from a share of {changed} of rows that change.")
    if gap == 0:
        return None
    z, target = float(stats.norm.ppf(1 - alpha / 2)), float(stats.norm.ppf(power))
    rows = ((z * math.sqrt(changed) + target * math.sqrt(changed - gap**2)) / gap) ** 2
    return math.ceil(rows) if rows <= MOST_ROWS else None


def design_effect(rows_per_cluster: float, intraclass_correlation: float) -> float:
    """How many times more rows clusters take than independent rows: 1 + (m - 1) rho (Kish 1965, section 5.4)."""
    if rows_per_cluster < 1 or not -1 <= intraclass_correlation <= 1:
        raise UsageError(
            f"{rows_per_cluster} rows in a cluster, correlation {intraclass_correlation}: expected 1 or more, and -1 to 1."
        )
    return 1 + (rows_per_cluster - 1) * intraclass_correlation


def _noncentrality(df: float, alpha: float, power: float) -> float:
    """The noncentrality at which t passes its critical value with this power."""
    critical = float(stats.t.ppf(1 - alpha / 2, df))
    low, high = 0.0, 2 * critical + 10.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (low, middle) if stats.nct.sf(critical, df, middle) >= power else (middle, high)
    return high


def _levels(alpha: float, power: float) -> None:
    if not 0 < alpha < 1 or not alpha < power < 1:
        raise UsageError(f"alpha {alpha} and power {power}: expected 0 < alpha < power < 1.")
