"""How a subgroup's scores lie against everybody else's: the areas of Borkan et al., jointly estimated."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import t

from ..errors import DataError, UsageError, did_you_mean
from .areas import Area, area
from .curves import steps
from .group_rows import Bools, Floats, Ints, truth
from .influence import Influenced
from .intervals import Interval
from .scored import Scored, Undefined, scored

POWER = -5.0  # of the competition: the worst subgroups weigh most
WEIGHT = 0.25  # of each of the four parts of the competition's score
AREAS = (
    "subgroup_auc",
    "background_positive_subgroup_negative_auc",
    "background_negative_subgroup_positive_auc",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BiasAreas:
    """One subgroup's scores against the background's, the rows outside it. Areas are in [0, 1], 1 is best.

    Source: Borkan, Dixon, Sorensen, Thain & Vasserman 2019, "Nuanced metrics for measuring unintended bias with
    real data for text classification", section 4. The estimates share rows: `influence.covariance` of their
    values is DeLong's joint covariance. Pinned AUC (Dixon et al. 2018) is not offered: its own authors marked it
    as deprecated, since it moves with the composition of the data where no score does.
    """

    subgroup: str
    n: int  # rows of the subgroup
    n_background: int
    subgroup_auc: Area | Undefined  # within the subgroup
    background_positive_subgroup_negative_auc: Area | Undefined  # low: false positives in the subgroup
    background_negative_subgroup_positive_auc: Area | Undefined  # low: false negatives in the subgroup
    negative_equality_gap: Area | Undefined  # in [-1/2, 1/2], above 0: negatives score higher in the subgroup
    positive_equality_gap: Area | Undefined  # ... positives score higher in the subgroup
    negative_squared_equality_gap: float | Undefined  # in [0, 1/3], 0 is best
    positive_squared_equality_gap: float | Undefined


def bias_areas(
    score: npt.ArrayLike,
    label: npt.ArrayLike,
    subgroups: Mapping[str, npt.ArrayLike],
    *,
    count: npt.ArrayLike | None = None,
    weight: npt.ArrayLike | None = None,
) -> tuple[BiasAreas, ...]:
    """The metrics of each subgroup, in the order given. Subgroups may overlap, as words in texts do.

    Args:
        score: (row,) larger is more likely positive.
        label: (row,) True is positive (toxic).
        subgroups: name -> (row,) True where a row belongs to it.
        count: (row,) how many equal rows each stands for.
        weight: (row,) sampling weights.

    Raises:
        DataError: see `scored.scored`; a subgroup of another length, or not boolean.
    """
    given = scored(score, label, count=count, weight=weight)
    return tuple(_of_subgroup(given, name, _member(given, name, mask)) for name, mask in subgroups.items())


def _member(given: Scored, name: str, mask: npt.ArrayLike) -> Bools:
    member = truth(mask, f"subgroup {name!r}")
    if len(member) != len(given.score):
        raise DataError(f"subgroup {name!r} has {len(member)} rows, the score {len(given.score)}.")
    return member


def _of_subgroup(given: Scored, name: str, member: Bools) -> BiasAreas:
    inside, outside = given.among(member), given.among(~member)
    negatives, positives = given.among(~given.label, member), given.among(given.label, member)
    return BiasAreas(
        subgroup=name,
        n=inside.n,
        n_background=outside.n,
        subgroup_auc=area(inside),
        background_positive_subgroup_negative_auc=area(given.among(member != given.label)),
        background_negative_subgroup_positive_auc=area(given.among(member == given.label)),
        negative_equality_gap=_equality_gap(negatives, "negatives"),
        positive_equality_gap=_equality_gap(positives, "positives"),
        negative_squared_equality_gap=_squared_gap(negatives, "negatives"),
        positive_squared_equality_gap=_squared_gap(positives, "positives"),
    )


def _nobody(given: Scored, name: str) -> Undefined | None:
    """`given` are rows of one label, with membership of the subgroup in the place of the label."""
    inside, outside = float(given.mass[given.label].sum()), float(given.mass[~given.label].sum())
    if inside > 0 and outside > 0:
        return None
    where = "anywhere" if inside == outside else "in the subgroup" if inside == 0 else "outside the subgroup"
    return Undefined(reason=f"no {name} {where}", n=given.n)


def _equality_gap(given: Scored, name: str) -> Area | Undefined:
    """P(subgroup > background) + P(equal) / 2 - 1/2: the paper's 1/2 - MWU(background, subgroup) / (n n_g)."""
    return _nobody(given, name) or area(given, shift=0.5)


def _squared_gap(given: Scored, name: str) -> float | Undefined:
    """The average squared equality gap: the integral of (y - x)^2 dx along the curve of the share of the subgroup
    at or above a threshold (y) against that of the background (x).

    Exact for the straight-lined curve through every distinct score. Departure: the authors' code takes 1000
    thresholds in [0, 1] and the trapezoidal rule on the squares, so that it needs scores in [0, 1].
    """
    missing = _nobody(given, name)
    if missing is not None:
        return missing
    made = steps(given)
    y = np.concatenate([[0.0], np.cumsum(made.positive[::-1]) / made.positive.sum()])
    x = np.concatenate([[0.0], np.cumsum(made.negative[::-1]) / made.negative.sum()])
    gap = y - x
    a, b = gap[:-1], gap[1:]
    return float(np.diff(x) @ ((a * a + a * b + b * b) / 3))


@dataclass(frozen=True, slots=True, kw_only=True)
class Composite:
    """A smooth function of several areas of one table, by the delta method on their joint covariance."""

    value: Influenced
    areas: tuple[Area, ...]
    gradient: tuple[float, ...]  # of the value by each area

    @property
    def estimate(self) -> float:
        """The value, in (0, 1]."""
        return self.value.estimate

    def se(self, cluster: Ints | None = None) -> float:
        """Standard error from the joint covariance, and from `Area.se` of areas whose variance is 0 or unknown.

        The latter are added as if they all erred together: nothing is known of their correlation.
        """
        together = sum(
            abs(slope) * part.se(cluster)
            for slope, part in zip(self.gradient, self.areas, strict=True)
            if part.means(cluster) is None
        )
        return math.hypot(self.value.se(cluster), together)

    def df(self, cluster: Ints | None = None) -> float:
        """Degrees of freedom: the fewest of any area's, as for areas that share all of their rows."""
        known = [made.df for made in (part.means(cluster) for part in self.areas) if made is not None]
        return min(known, default=self.value.means(cluster).df)

    def interval(self, confidence: float = 0.95, *, cluster: Ints | None = None) -> Interval:
        """Interval on the logit scale; at exactly 1, the lower end is 1 less the half-width and the upper 1."""
        half = float(t.ppf(0.5 + confidence / 2, self.df(cluster))) * self.se(cluster)
        at = self.estimate
        if at >= 1:
            return Interval(max(0.0, 1 - half), 1.0)
        middle, half = math.log(at / (1 - at)), half / (at * (1 - at))
        return Interval(_expit(middle - half), _expit(middle + half))


def power_mean(
    areas: Sequence[Area | Undefined], p: float = POWER, *, names: Sequence[str] | None = None
) -> Composite | Undefined:
    """(mean of area^p)^(1/p) over subgroups, with its interval from the joint covariance of the areas.

    Source: Borkan et al. 2019; p of -5 from the competition built on them. A very negative p comes near the smallest.

    Args:
        areas: of one table, one for each subgroup.
        p: not 0.
        names: of the subgroups, in the same order, for the reason of an `Undefined`; None: it counts them from 1.

    Returns:
        In (0, 1]; `Undefined` where an area is undefined (a subgroup is never left out unseen) or is 0 with p < 0.

    Raises:
        UsageError: p is 0 or not finite, there are no areas, they are equality gaps, or names of another number.
    """
    if p == 0 or not math.isfinite(p):
        raise UsageError(f"p is {p}; a finite number other than 0 is expected.")
    known = _known(areas, names)
    if isinstance(known, Undefined):
        return known
    values = np.array([part.area for part in known])
    if p < 0 and values.min() <= 0:
        return Undefined(reason="an area is 0: its power mean is 0 and has no derivative", n=known[0].value.n)
    mean = float(np.mean(values**p) ** (1 / p))
    slopes = values ** (p - 1) * mean ** (1 - p) / len(values)
    return _combined(min(mean, 1.0), known, slopes)


def _known(areas: Sequence[Area | Undefined], names: Sequence[str] | None) -> tuple[Area, ...] | Undefined:
    if not areas:
        raise UsageError("there are no areas: a mean needs one subgroup or more.")
    if names is not None and len(names) != len(areas):
        raise UsageError(f"{len(names)} names of {len(areas)} areas: one name for each is expected.")
    known = []
    for i, part in enumerate(areas):
        if isinstance(part, Undefined):
            which = f"{i + 1} of {len(areas)}" if names is None else repr(names[i])
            return Undefined(reason=f"the area of subgroup {which}: {part.reason}", n=part.n)
        if part.shift:
            raise UsageError("an equality gap is no area: it can be negative, and has no power mean.")
        known.append(part)
    return tuple(known)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompetitionScore:
    """The competition's score with its four parts, each in (0, 1]."""

    score: Composite
    overall_auc: Area
    power_means: Mapping[str, Composite]  # of each name in `AREAS`


def competition_score(
    score: npt.ArrayLike,
    label: npt.ArrayLike,
    subgroups: Mapping[str, npt.ArrayLike],
    *,
    p: float = POWER,
    count: npt.ArrayLike | None = None,
    weight: npt.ArrayLike | None = None,
) -> CompetitionScore | Undefined:
    """A quarter of the overall AUC and a quarter of each of the three power means over subgroups.

    Source: the evaluation page of the Kaggle competition "Jigsaw Unintended Bias in Toxicity Classification" (2019):
    all four weights are .25; its authors' benchmark kernel computes the same.

    Raises:
        DataError, UsageError: see `bias_areas` and `power_mean`.
    """
    overall = area(scored(score, label, count=count, weight=weight))
    if isinstance(overall, Undefined):
        return overall
    found = bias_areas(score, label, subgroups, count=count, weight=weight)
    means: dict[str, Composite] = {}
    for name in AREAS:
        mean = power_mean([area_named(each, name) for each in found], p, names=list(subgroups))
        if isinstance(mean, Undefined):
            return Undefined(reason=f"{name}: {mean.reason}", n=mean.n)
        means[name] = mean
    parts: list[Area] = [overall]
    slopes = [WEIGHT]
    for mean in means.values():
        parts += mean.areas
        slopes += [WEIGHT * slope for slope in mean.gradient]
    total = WEIGHT * (overall.area + sum(mean.estimate for mean in means.values()))
    return CompetitionScore(
        score=_combined(min(total, 1.0), tuple(parts), np.array(slopes)),
        overall_auc=overall,
        power_means=means,
    )


def area_named(of: BiasAreas, name: str) -> Area | Undefined:
    """One of the three areas of a subgroup by its name."""
    if name not in AREAS:
        raise UsageError(f"there is no area {name!r}: {did_you_mean(name, AREAS)}")
    found: Area | Undefined = getattr(of, name)
    return found


def _combined(estimate: float, areas: tuple[Area, ...], gradient: Floats) -> Composite:
    """The delta method row by row: the influence on a function is the gradient times the influences on its parts.

    Each part's small-sample factor goes with it, so that the variance is gradient @ covariance @ gradient exactly.
    """
    size = max(_size(part.value) for part in areas)
    share, count = np.zeros(size), np.zeros(size, dtype=np.int64)
    for slope, part in zip(gradient, areas, strict=True):
        value = part.value
        where = np.arange(len(value.influence)) if value.rows is None else value.rows
        share[where] += value.influence * (slope / math.sqrt(value.n * (value.n - 1)))
        count[where] = 1 if value.count is None else value.count
    n = int(count.sum())
    return Composite(
        value=Influenced(estimate=estimate, influence=share * math.sqrt(n * (n - 1)), rows=None, count=count),
        areas=areas,
        gradient=tuple(float(slope) for slope in gradient),
    )


def _size(value: Influenced) -> int:
    return len(value.influence) if value.rows is None else int(value.rows.max(initial=-1)) + 1


def _expit(x: float) -> float:
    return 1 / (1 + math.exp(-x))
