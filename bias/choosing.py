"""One fix chosen of several by a rule declared before, on rows that do not judge it."""

import dataclasses
from dataclasses import dataclass

from ..errors import DataError, UsageError
from .mitigation import Mitigation
from .pareto_records import Pareto, Point
from .seen_rows import Seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The fix that was chosen, by what rule, and all rows that it must not be judged on."""

    name: str
    floor: float
    rule: str
    open_to: tuple[str, ...]  # those that kept the floor
    seen: tuple[Seen, ...]

    def kept_in(self, mitigation: Mitigation) -> Mitigation:
        """The chosen mitigation, which remembers the rows that chose it, for `Mitigation.save`.

        Raises:
            UsageError: it is another one.
        """
        if mitigation.name != self.name:
            raise UsageError(f"{self.name!r} was chosen, and {mitigation.name!r} was given.")
        return dataclasses.replace(mitigation, seen=self.seen)


def choose(points: Pareto, floor: float, *, beyond_noise: bool = False) -> Choice:
    """The fix with the smallest gap among those that keep the floor; of equals the one with more utility.

    The unmitigated takes part: nothing is changed where no fix makes the gap smaller.

    Args:
        points: made on rows that choose.
        floor: the least utility accepted; where lower is better (a loss, a cost), the most.
        beyond_noise: the end of the interval, not the estimate, has to keep the floor.

    Raises:
        DataError: the rows judge: nothing is chosen on them. UsageError: nothing keeps the floor.
    """
    if points.purpose == "judge":
        raise DataError(
            f"these {points.n} rows judge: a fix chosen on them would be judged by the rows that made it look best. "
            'Choose on other rows (pareto with purpose="choose"), and judge the one chosen here.'
        )
    sign = -1.0 if points.better == "lower" else 1.0

    def kept(point: Point) -> float | None:
        end = point.utility_low if sign > 0 else point.utility_high
        value = end if beyond_noise else point.utility
        return None if value is None or point.reason or point.gap is None else sign * value

    open_to = [p for p in points.points if (value := kept(p)) is not None and value >= sign * floor]
    if not open_to:
        known = [value for p in points.points if (value := kept(p)) is not None]
        best = f"the best is {sign * max(known):.4g}" if known else "none has a utility and a gap"
        raise UsageError(
            f"no fix keeps a {points.utility_metric} of {floor:g}, nor do the rows as they are: {best}. Name another floor."
        )
    best_of = min(open_to, key=lambda p: (p.gap or 0.0, -sign * (p.utility or 0.0)))
    return Choice(
        name=best_of.name,
        floor=float(floor),
        rule=f"smallest gap in {points.gap_metric} by {points.attribute} among those that keep {points.utility_metric} "
        + ("beyond noise" if beyond_noise else "in the estimate"),
        open_to=tuple(p.name for p in open_to),
        seen=(*dict(points.seen)[best_of.name], points.rows),
    )
