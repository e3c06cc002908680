"""The table of measures of faithfulness, and their means over rows, beside the best method's and beside chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from jaxtyping import Float

from ..records import Curve, Floats, Measured
from .bootstrap import Estimates, estimates
from .deletion import Removals

CHANCE = "random scores"
AREA, COMPREHENSIVENESS = "area_between_curves", "comprehensiveness"
UNKNOWN = "unknown"  # rows without a group


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One measure of faithfulness, for each example."""

    name: str
    better: Literal["higher", "lower"]
    unit: str  # "outcome": that of the outcome; "target": the target's, squared; "": none
    says: str
    source: str


MEASURES: tuple[Measure, ...] = (
    Measure(
        name=AREA, better="higher", unit="outcome",
        says="ABPC: fall with the most relevant tokens taken away first - fall with the least relevant first",
        source="Achtibat et al. 2024; curves of Samek et al. 2017",
    ),
    Measure(
        name="most_relevant_first", better="higher", unit="outcome",
        says="AOPC of MoRF: mean fall of the outcome over shares of tokens, the most relevant taken away first",
        source="Samek et al. 2017, over shares of tokens and without the step 0",
    ),
    Measure(
        name="least_relevant_first", better="lower", unit="outcome",
        says="AOPC of LeRF: mean fall of the outcome over shares of tokens, the least relevant taken away first",
        source="Samek et al. 2017",
    ),
    Measure(
        name="insertion", better="higher", unit="outcome",
        says="mean rise of the outcome over shares of tokens put back, the most relevant first, from none at all",
        source="Petsiuk et al. 2018, insertion",
    ),
    Measure(
        name=COMPREHENSIVENESS, better="higher", unit="outcome",
        says="mean fall of the outcome without the most relevant tokens, over ERASER's shares",
        source="DeYoung et al. 2020, eq. 1, mean over shares",
    ),
    Measure(
        name="sufficiency", better="lower", unit="outcome",
        says="mean fall of the outcome with the most relevant tokens alone, over ERASER's shares",
        source="DeYoung et al. 2020, eq. 2, mean over shares",
    ),
    Measure(
        name="infidelity", better="lower", unit="target",
        says="mean squared error of sums of scores as predictions of falls, random sets of tokens taken away",
        source="Yeh et al. 2019, eq. 1",
    ),
    Measure(
        name="relative_infidelity", better="lower", unit="",
        says="share of these falls, squared, that the scores do not predict at any positive scale: 0 to 1",
        source="Yeh et al. 2019, with the best scale of each row",
    ),
    Measure(
        name="shapley_correlation", better="higher", unit="",
        says="rank correlation with Shapley values over an example's tokens",
        source="Spearman; Shapley values exact for up to 10 tokens, else sampled",
    ),
    Measure(
        name="max_sensitivity", better="lower", unit="",
        says="largest relative change of the scores under small noise on the embeddings",
        source="Yeh et al. 2019, SENS_MAX, relative",
    ),
)  # fmt: skip
BY_NAME: Mapping[str, Measure] = {measure.name: measure for measure in MEASURES}


def of_removals(
    made: Removals,
    side: Float[np.ndarray, " example"],
    shares: Sequence[float],
    eraser: Sequence[float],
) -> dict[str, Float[np.ndarray, "order example"]]:
    """The measures that follow from removals, each (order, example).

    Args:
        side: 1 where the outcome speaks for the row as it is, -1 where it speaks against.
    """
    turned = side[:, None]
    fall = turned * (made.whole[:, None] - made.without_first)
    least = turned * (made.whole[:, None] - made.without_last)
    alone = turned * (made.whole[:, None] - made.only_first)
    rise = turned * (made.only_first - made.nothing[:, None])
    curve, ratios = _places(made, shares), _places(made, eraser)
    most, fewest = fall[..., curve].mean(axis=2), least[..., curve].mean(axis=2)
    return {
        AREA: most - fewest,
        "most_relevant_first": most,
        "least_relevant_first": fewest,
        "insertion": rise[..., curve].mean(axis=2),
        COMPREHENSIVENESS: fall[..., ratios].mean(axis=2),
        "sufficiency": alone[..., ratios].mean(axis=2),
    }


def curves(
    made: Removals,
    side: Float[np.ndarray, " example"],
    shares: Sequence[float],
    methods: Mapping[str, Sequence[int]],
    *,
    replicates: int,
    confidence: float,
    seed: int,
) -> tuple[Curve, ...]:
    """Mean curves of every method; `methods` says which orders are a method's, to be averaged."""
    at = _places(made, shares)
    turned = side[:, None]
    kinds = {
        "most relevant first": turned * (made.whole[:, None] - made.without_first),
        "least relevant first": turned * (made.whole[:, None] - made.without_last),
        "insertion": turned * (made.only_first - made.nothing[:, None]),
    }
    found = []
    for method, orders in methods.items():
        for kind, values in kinds.items():
            mean = values[list(orders)].mean(axis=0)[:, at]
            e = estimates(mean, replicates=replicates, confidence=confidence, seed=seed)
            found.append(
                Curve(
                    method=method,
                    kind=kind,
                    shares=tuple(shares),
                    estimate=tuple(e.estimate.tolist()),
                    low=tuple(e.low.tolist()),
                    high=tuple(e.high.tolist()),
                )
            )
    return tuple(found)


def _places(made: Removals, shares: Sequence[float]) -> list[int]:
    return [made.shares.index(float(share)) for share in shares]


def summarised(
    values: Float[np.ndarray, "method measure example"],
    methods: Sequence[str],
    measures: Sequence[str],
    groups: Sequence[str | None] | None,
    *,
    replicates: int,
    confidence: float,
    seed: int,
) -> tuple[Measured, ...]:
    """Means of all rows, then of each group in alphabetical order, rows without one last as "unknown"."""
    chosen: dict[str, npt.NDArray[np.intp]] = {"": np.arange(values.shape[2])}
    if groups is not None:
        named = np.array([UNKNOWN if group in (None, "") else group for group in groups], dtype=object)
        for name in sorted(set(named.tolist()), key=lambda name: (name == UNKNOWN, name)):
            chosen[name] = np.flatnonzero(named == name)
    made: list[Measured] = []
    for group, rows in chosen.items():
        for place, measure in enumerate(measures):
            made.extend(
                _one_measure(
                    values[:, place, rows],
                    methods,
                    measure,
                    group,
                    replicates=replicates,
                    confidence=confidence,
                    seed=seed,
                )
            )
    return tuple(made)


def _one_measure(
    values: Float[np.ndarray, "method example"],
    methods: Sequence[str],
    measure: str,
    group: str,
    **how: float,
) -> list[Measured]:
    """One measure of every method, in one group of rows."""
    sign = 1.0 if BY_NAME[measure].better == "higher" else -1.0
    means = [float(one[np.isfinite(one)].mean()) if np.isfinite(one).any() else np.nan for one in values]
    chance = methods.index(CHANCE) if CHANCE in methods else None
    real = [i for i, mean in enumerate(means) if i != chance and np.isfinite(mean)]
    best = max(real, key=lambda i: sign * means[i]) if real else None
    nothing = np.full_like(values, np.nan)
    behind = nothing if best is None else sign * (values[best] - values)
    above = nothing if chance is None else sign * (values - values[chance])
    columns = np.concatenate([values, behind, above]).T
    made = estimates(
        columns, replicates=int(how["replicates"]), confidence=how["confidence"], seed=int(how["seed"])
    )
    n = len(methods)
    return [
        Measured(
            method=method,
            measure=measure,
            group=group,
            n=int(made.n[i]),
            **_named(made, i, ("estimate", "low", "high")),
            **_named(made, n + i, ("behind", "behind_low", "behind_high") if i != chance else ()),
            **_named(
                made,
                2 * n + i,
                ("above_chance", "above_chance_low", "above_chance_high") if i != chance else (),
            ),
        )
        for i, method in enumerate(methods)
    ]


def _named(made: Estimates, place: int, names: Sequence[str]) -> dict[str, float | None]:
    found: tuple[Floats, ...] = (made.estimate, made.low, made.high)
    return {
        name: float(part[place]) if np.isfinite(part[place]) else None
        for name, part in zip(names, found, strict=False)
    }
