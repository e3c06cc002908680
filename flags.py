"""Values of flags that name a metric: METRIC=VALUE."""

from collections.abc import Sequence

from .errors import UsageError


def tolerances(given: Sequence[str], flag: str = "--tolerance") -> dict[str, float]:
    """Metric -> value, each given once.

    Raises:
        UsageError: something else than METRIC=VALUE, or a metric given twice.
    """
    made: dict[str, float] = {}
    for item in given:
        metric, equals, value = item.rpartition("=")
        try:
            number = float(value)
        except ValueError:
            number = None
        if not equals or not metric or number is None:
            raise UsageError(f"{flag} {item}: METRIC=VALUE is expected, e.g. false_positive_rate=0.05.")
        if metric in made:
            raise UsageError(f"{flag} {metric} is given twice. Give each metric once.")
        made[metric] = number
    return made
