"""Whether one set of heads is verified, and if not, why."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ..records import Floats
from .ablation import Head
from .paired_effects import Paired
from .screening import Screening

POWER = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadTest:
    """What taking one set of heads out did to the metric on held-out rows, and whether that is verified."""

    heads: tuple[Head, ...]
    claimed: int  # the sign of `removed` that screening claims; 0: it claims nothing
    before: float
    after: float
    removed: float  # before - after
    error: float  # standard error over resamples of rows, paired
    low: float  # simultaneous over all sets tested
    high: float
    p: float  # max-T adjusted, two-sided
    n_random: int  # other sets of as many heads
    random_from: str  # "the same layers" or "the whole model"
    random_rank: (
        float | None
    )  # share of sets that move the metric as far, this one counted; None without others
    random_level: float  # what that share may be at most
    detectable: (
        float | None
    )  # the effect that would be verified with a probability of 80 %; None: no row changed
    verified: bool
    reason: str  # why not; "" where it is
    random_effects: tuple[float, ...] = ()  # before - after of each of the other sets

    @property
    def carries(self) -> bool:
        """Whether it is verified that the metric is nearer to 0 without these heads."""
        return self.verified and abs(self.after) < abs(self.before)


def claim(screening: Screening, heads: Sequence[Head], follows: int) -> int:
    """The sign that screening claims `before - after` to have; 0 where it claims none.

    Args:
        follows: see `Audited`.
    """
    closing = math.fsum(screening.of(layer, head).closing for layer, head in heads)
    along = follows or int(np.sign(screening.value))
    return -int(np.sign(closing)) * along


def tested(
    heads: tuple[Head, ...],
    judged: Paired,
    place: int,
    others: Floats,
    source: str,
    claimed: int,
    least: float,
    level: float,
) -> HeadTest:
    """Whether a set of heads is verified: its own interval, and its rank among other sets.

    Args:
        place: of the set among those tested.
        others: effects of other sets, (set,).
        source: where they are from.
        least: the smallest effect that matters.
        level: the rank that an effect may have at most, as a share of sets; less where fewer exist.
    """
    run = judged.tested[place]
    removed, error = float(judged.removed[run]), float(judged.error[place])
    low, high = removed - judged.critical * error, removed + judged.critical * error
    n = len(others)
    rank = None if not n else (1 + int(np.count_nonzero(np.abs(others) >= claimed * removed))) / (1 + n)
    allowed = max(level, 1 / (1 + n))
    detectable = None
    if error > 0:
        may_be_further = int(allowed * (1 + n) + 1e-9) - 1  # other sets
        bar = float(np.sort(np.abs(others))[::-1][may_be_further]) if n > may_be_further else 0.0
        detectable = max((judged.critical + float(stats.norm.ppf(POWER))) * error, bar, least)
    reasons = []
    if claimed == 0:
        reasons.append("screening claims no direction")
    elif error == 0:
        reasons.append(
            "no resample changes it" if removed else "taking it out changes the metric in no resample"
        )
    elif not (low > 0 if claimed > 0 else high < 0):
        reasons.append("the interval of its effect does not exclude 0 on the claimed side")
    if abs(removed) < least:
        reasons.append(f"an effect of {least:g} was asked for")
    if rank is None:
        reasons.append("there is no other set of as many heads to compare with")
    elif rank > allowed + 1e-12:
        reasons.append(f"other heads move the metric as far ({rank:.3g} of sets, at most {allowed:.3g})")
    return HeadTest(
        heads=heads,
        claimed=claimed,
        before=judged.before,
        after=judged.before - removed,
        removed=removed,
        error=error,
        low=low,
        high=high,
        p=float(judged.p[place]),
        n_random=n,
        random_from=source,
        random_rank=rank,
        random_level=allowed,
        detectable=detectable,
        verified=not reasons,
        reason="; ".join(reasons),
        random_effects=tuple(float(one) for one in others),
    )
